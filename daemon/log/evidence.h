/* Evidence: every raw frame exactly as it arrived, with who sent it and when. One log per worker, in
 * STATE/evidence/WORKER/. The body of a record (daemon/log/segment.h has the frame around it):
 *
 *   0  1  version: 1; 2 when EVIDENCE_NUMBERED, EVIDENCE_LOSS or EVIDENCE_META is set, so that an older isod refuses
 *         what it would misread
 *   1  1  flags: EVIDENCE_*
 *   2  2  length s of the source, little-endian
 *   4  s  source: LISTENER/PEER
 * 4+s  8  only with EVIDENCE_NUMBERED: the frame's sequence by its producer's count, little-endian; the source then is
 *         that of a producer (log/producer.h), which tells whose count it is
 *   …  2  only with EVIDENCE_META: length m of what follows, little-endian
 *   …  m  the same: what came around the frame and tells how to read it (event/hec.h)
 *   …     the raw frame
 * 4+s 12  only with EVIDENCE_LOSS, instead: enum evidence_loss (4 bytes) and how many frames (8), little-endian. So that
 *         the account of what could not be taken in survives a crash as well as the frames themselves, and is counted as
 *         exactly. */
#ifndef ISOD_LOG_EVIDENCE_H
#define ISOD_LOG_EVIDENCE_H

#include <stdbool.h>

#include "log/segment.h"

#define EVIDENCE_META_MAX 2048

enum evidence_flag {
	EVIDENCE_TRUNCATED = 1 << 0, /* the frame was longer than the limit */
	EVIDENCE_NUMBERED = 1 << 1,  /* `sequence` is set */
	EVIDENCE_LOSS = 1 << 2,      /* no frame: `lost` frames of the source were, by `loss` */
	EVIDENCE_META = 1 << 3,      /* `meta` is set */
};

/* Why frames did not become events. The numbers are those of the file. */
enum evidence_loss {
	LOSS_UNKNOWN = 0, /* refused */
	LOSS_FRAMING = 1, /* refused: no frame can begin with what came */
	LOSS_EMPTY = 2,   /* refused: a datagram with nothing in it */
	/* Shed from here on. */
	LOSS_KERNEL = 32,     /* the kernel's buffer was full */
	LOSS_OWN_EVENTS = 33, /* too many of isod's own events at once */
	LOSS_RATE = 34,       /* datagrams of a peer that sends more than it may */
};

static inline bool loss_is_shed(enum evidence_loss loss)
{
	return loss >= LOSS_KERNEL;
}

struct evidence {
	struct str source;
	uint8_t flags;
	struct str frame;
	uint64_t sequence; /* by the producer's count; 0 unless EVIDENCE_NUMBERED */
	enum evidence_loss loss;
	uint64_t lost;
	struct str meta; /* at most EVIDENCE_META_MAX bytes; none unless EVIDENCE_META */
};

/* Appends to the worker's log; returns the sequence. The source is cut at 255 bytes. */
uint64_t evidence_append(struct segment_log *l, uint64_t received_ns, const struct evidence *e);
/* Takes a record's body apart; slices point into it. 0 or -EBADMSG. */
int evidence_parse(struct str body, struct evidence *ret);

#endif
