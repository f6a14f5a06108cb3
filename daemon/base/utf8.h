/* UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing past U+10FFFF. */
#ifndef ISOD_BASE_UTF8_H
#define ISOD_BASE_UTF8_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/* Length of the valid sequence `s` begins with (1-4), 0 if it begins with none or is empty. */
size_t utf8_sequence(struct str s);
bool utf8_valid(struct str s);
/* Appends `s` with every byte that belongs to no valid sequence, and every NUL, as U+FFFD.
 * Returns 0 or -ENOBUFS (what fitted was added). */
int utf8_repair(struct buf *out, struct str s);
/* The longest prefix of at most `max` bytes that does not end inside a sequence. */
struct str utf8_cut(struct str s, size_t max);
/* Appends one code point; returns 0, -EINVAL (surrogate or too large) or -ENOBUFS. */
int utf8_encode(struct buf *out, uint32_t code);

#endif
