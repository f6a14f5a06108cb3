/* RFC 6587 framing of a byte stream, told apart message by message, as real senders mix both:
 *
 *   octet counting (RFC 6587 §3.4.1, RFC 5425 §4.3): digits, a space, that many bytes;
 *   non-transparent (§3.4.2): bytes up to a newline. Some senders end messages with NUL: a NUL with "<" behind it
 *   shows such a sender, and from there on every NUL ends a message. Any other NUL is just a byte of its line.
 *
 * A message that begins with digits and a space is octet counted if the number can be a count: no leading zero, at
 * most FRAMING_COUNT_DIGITS digits, at most FRAMING_COUNT_MAX. A number that cannot be one is text when it can be a
 * time (20261123, 1795456800) or begins with 0, unless "<" (a syslog priority) follows; else framing is lost.
 * Digits followed by anything but a space ("2026-11-23T…", "10.0.0.1 - -") are text.
 *
 * Works in place on whatever bytes have arrived; where the reads fall makes no difference to the frames. */
#ifndef ISOD_INGEST_FRAMING_H
#define ISOD_INGEST_FRAMING_H

#include <stdbool.h>

#include "base/str.h"

#define FRAMING_COUNT_DIGITS 9 /* an octet count longer than this is no octet count */
/* Nor is a larger number: no sender makes such a message, and to believe it would swallow that much of others. */
#define FRAMING_COUNT_MAX (UINT64_C(16) << 20)
/* What a caller's buffer must hold beyond frame_max, so that a full one always gives a frame. */
#define FRAMING_EXTRA (FRAMING_COUNT_DIGITS + 1)

struct framing {
	size_t frame_max; /* a longer frame is cut there; the rest of it is skipped */
	uint64_t skip;    /* octet-counted bytes still to be thrown away of a cut frame */
	bool skip_line;   /* throwing away up to the next newline */
	bool nul_ends;    /* the sender ends its messages with NUL */
};

enum framing_result {
	FRAMING_FRAME, /* *ret is a frame */
	FRAMING_MORE,  /* no whole frame in `in`: keep the bytes from *ret_used on and read more */
	FRAMING_LOST,  /* not framing that can be followed: close the connection */
};

/* `frame_max`: at least FRAMING_FRAME_MIN. */
#define FRAMING_FRAME_MIN 64
void framing_init(struct framing *f, size_t frame_max);

/* Looks for the next frame in `in`. *ret_used: bytes of `in` that are done with. For FRAMING_FRAME *ret (a slice of
 * `in`, without count, line end and trailing CR) and *ret_truncated. Empty frames are skipped. The caller's buffer
 * must hold at least frame_max + FRAMING_EXTRA bytes. */
enum framing_result framing_next(struct framing *f, struct str in, size_t *ret_used,
                                 struct str *ret, bool *ret_truncated);

/* The stream ended: what is left of `in` (after FRAMING_MORE) is a last frame without its newline, or (of an octet
 * count) a frame cut short, which counts as truncated. False when nothing is left. */
bool framing_end(struct framing *f, struct str in, struct str *ret, bool *ret_truncated);

#endif
