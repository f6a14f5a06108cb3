/* Evidence: every raw frame exactly as it arrived, with who sent it and when. One log per worker, in
 * STATE/evidence/WORKER/. The body of a record (daemon/log/segment.h has the frame around it):
 *
 *   0  1  version: 1
 *   1  1  flags: EVIDENCE_*
 *   2  2  length s of the source, little-endian
 *   4  s  source: LISTENER/PEER
 * 4+s     the raw frame */
#ifndef ISOD_LOG_EVIDENCE_H
#define ISOD_LOG_EVIDENCE_H

#include "log/segment.h"

enum evidence_flag {
	EVIDENCE_TRUNCATED = 1 << 0, /* the frame was longer than the limit */
};

struct evidence {
	struct str source;
	uint8_t flags;
	struct str frame;
};

/* Appends to the worker's log; returns the sequence. The source is cut at 255 bytes. */
uint64_t evidence_append(struct segment_log *l, uint64_t received_ns, const struct evidence *e);
/* Takes a record's body apart; slices point into it. 0 or -EBADMSG. */
int evidence_parse(struct str body, struct evidence *ret);

#endif
