/* RFC 6587 framing of a byte stream, told apart message by message, as real senders mix both: a digit 1-9 begins
 * an octet count (RFC 6587 §3.4.1, RFC 5425 §4.3), anything else a message that ends with a newline (or NUL, as some
 * senders do) (§3.4.2). Works in place on whatever bytes have arrived. */
#ifndef ISOD_INGEST_FRAMING_H
#define ISOD_INGEST_FRAMING_H

#include <stdbool.h>

#include "base/str.h"

#define FRAMING_COUNT_DIGITS 9 /* an octet count longer than this is no octet count */

struct framing {
	size_t frame_max; /* a longer frame is cut there; the rest of it is skipped */
	uint64_t skip;    /* octet-counted bytes still to be thrown away of a cut frame */
	bool skip_line;   /* throwing away up to the next newline */
};

enum framing_result {
	FRAMING_FRAME, /* *ret is a frame */
	FRAMING_MORE,  /* no whole frame in `in`: keep the bytes from *ret_used on and read more */
	FRAMING_LOST,  /* not framing that can be followed: close the connection */
};

void framing_init(struct framing *f, size_t frame_max);

/* Looks for the next frame in `in`. *ret_used: bytes of `in` that are done with. For FRAMING_FRAME *ret (a slice of
 * `in`, without count, newline and trailing CR) and *ret_truncated. Empty frames are skipped. The caller's buffer must
 * hold at least frame_max + FRAMING_COUNT_DIGITS + 1 bytes, so that a full one always gives a frame. */
enum framing_result framing_next(struct framing *f, struct str in, size_t *ret_used,
                                 struct str *ret, bool *ret_truncated);

/* The stream ended: what is left of `in` is a last frame without its newline, or (of a cut octet count) a frame
 * cut short. False when nothing is left. */
bool framing_end(struct framing *f, struct str in, struct str *ret, bool *ret_truncated);

#endif
