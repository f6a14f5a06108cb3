/* A growing byte buffer with a cap (OpenSSH's sshbuf). Whatever a peer can make longer goes through
 * one of these. */
#ifndef ISOD_BASE_BUF_H
#define ISOD_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf {
	char *p;
	size_t n; /* bytes in use */
	size_t cap;
	size_t max; /* 0: no cap */
};

/* `max`: the most bytes it may hold (0: none). Allocates nothing yet. */
void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b);
static inline void buf_reset(struct buf *b)
{
	b->n = 0;
}

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){b->p, b->n};
}

/* All return 0, or -ENOBUFS when the cap would be passed; then nothing was added. */
int buf_append(struct buf *b, const void *p, size_t n);
int buf_add(struct buf *b, struct str s);
int buf_putc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *format, va_list ap);
/* Makes room for `n` more bytes at b->p + b->n; the caller then adds to b->n. */
int buf_reserve(struct buf *b, size_t n);
/* Removes the first `n` bytes. */
void buf_consume(struct buf *b, size_t n);
/* Terminated contents, valid until the next change; never NULL (an empty buffer gives ""). */
const char *buf_cstr(struct buf *b);

#endif
