/* RELP, the Reliable Event Logging Protocol, as the specification in librelp's doc/relp has it and librelp and rsyslog
 * speak it: the frames (this file) and what a server answers (relp_session.h).
 *
 *   TXNR SP COMMAND SP DATALEN [SP DATA] LF
 *
 * TXNR and DATALEN are 1 to 9 digits, COMMAND 1 to 32 letters; without data the second space is missing too. A frame
 * that is not that is the end of the connection. Data longer than frame_max is cut there, its rest skipped.
 *
 * Works in place on whatever bytes have arrived; where the reads fall makes no difference to the frames. */
#ifndef ISOD_INGEST_RELP_H
#define ISOD_INGEST_RELP_H

#include <stdbool.h>

#include "base/str.h"

#define RELP_DIGITS_MAX  9
#define RELP_COMMAND_MAX 32
/* More data than this in one frame: no sender makes such a message, and to believe it would swallow that much. */
#define RELP_DATA_MAX (UINT32_C(16) << 20)
/* What a caller's buffer must hold beyond frame_max: header and newline. */
#define RELP_EXTRA (2 * RELP_DIGITS_MAX + RELP_COMMAND_MAX + 3 + 1)

struct relp {
	size_t frame_max;
	bool cut;        /* amid a frame that was cut … */
	uint32_t skip;   /* … so many bytes of its data are still to be thrown away */
	uint32_t txnr;   /* … whose number this is */
	const char *why; /* of RELP_LOST, in words */
};

struct relp_frame {
	uint32_t txnr; /* 0: a hint, not to be answered */
	struct str command, data;
	bool truncated;
};

enum relp_result {
	RELP_FRAME, /* *ret; if it is truncated, it has not ended yet */
	RELP_END,   /* of the truncated one: ret->txnr */
	RELP_MORE,  /* no whole frame in `in`: keep the bytes from *ret_used on and read more */
	RELP_LOST,  /* no RELP: r->why */
};

void relp_init(struct relp *r, size_t frame_max);

/* Looks for the next frame in `in`. *ret_used: bytes of `in` that are done with. *ret holds slices of `in`. The caller's
 * buffer must hold at least frame_max + RELP_EXTRA bytes. */
enum relp_result relp_next(struct relp *r, struct str in, size_t *ret_used, struct relp_frame *ret);

#endif
