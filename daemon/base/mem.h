/* Allocation that cannot fail: for the small, internal things whose size no peer decides.
 * Running out of memory there ends the process with a message (tmux's xmalloc.c). Whatever a peer can
 * size belongs in a capped buffer (base/buf.h) or a capped arena (base/arena.h) instead. */
#ifndef ISOD_BASE_MEM_H
#define ISOD_BASE_MEM_H

#include <stddef.h>

/* All return memory the caller frees with free(); never NULL, also for size 0. */
void *xmalloc(size_t size) __attribute__((returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((returns_nonnull));
void *xrealloc(void *p, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((returns_nonnull));
char *xasprintf(const char *format, ...) __attribute__((returns_nonnull, format(printf, 1, 2)));

/* Grows `*items` (of `*cap` items of `size` bytes) so that `need` fit; doubles. */
void xgrow(void *items, size_t *cap, size_t need, size_t size);

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
