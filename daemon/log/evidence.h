/* Evidence: every raw frame exactly as it arrived, with who sent it and when. One log per worker, in
 * STATE/evidence/WORKER/. The body of a record (daemon/log/segment.h has the frame around it):
 *
 *   0  1  version: 1; 2 when EVIDENCE_NUMBERED is set, so that an older isod refuses what it would misread
 *   1  1  flags: EVIDENCE_*
 *   2  2  length s of the source, little-endian
 *   4  s  source: LISTENER/PEER
 * 4+s  8  only with EVIDENCE_NUMBERED: the frame's sequence by its producer's count, little-endian; the source then is
 *         that of a producer (log/producer.h), which tells whose count it is
 *   …     the raw frame */
#ifndef ISOD_LOG_EVIDENCE_H
#define ISOD_LOG_EVIDENCE_H

#include "log/segment.h"

enum evidence_flag {
	EVIDENCE_TRUNCATED = 1 << 0, /* the frame was longer than the limit */
	EVIDENCE_NUMBERED = 1 << 1,  /* `sequence` is set */
};

struct evidence {
	struct str source;
	uint8_t flags;
	struct str frame;
	uint64_t sequence; /* by the producer's count; 0 unless EVIDENCE_NUMBERED */
};

/* Appends to the worker's log; returns the sequence. The source is cut at 255 bytes. */
uint64_t evidence_append(struct segment_log *l, uint64_t received_ns, const struct evidence *e);
/* Takes a record's body apart; slices point into it. 0 or -EBADMSG. */
int evidence_parse(struct str body, struct evidence *ret);

#endif
