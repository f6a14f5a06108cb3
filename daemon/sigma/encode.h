/* The encodings of Sigma's transformation modifiers. Results live in the arena. */
#ifndef ISOD_SIGMA_ENCODE_H
#define ISOD_SIGMA_ENCODE_H

#include "base/arena.h"

/* RFC 4648 section 4, with padding. */
struct str encode_base64(struct arena *a, struct str in);

/* The part of `in`'s Base64 that is the same wherever in a longer text it stands with `offset` (0-2) bytes before it
 * in its group of three: without the characters that also depend on its neighbours. May be empty. */
struct str encode_base64_offset(struct arena *a, struct str in, unsigned offset);

enum utf16_form { UTF16_LE, UTF16_BE, UTF16_BOM /* byte order mark, then little-endian */ };
/* `in` is valid UTF-8. */
struct str encode_utf16(struct arena *a, struct str in, enum utf16_form form);

#endif
