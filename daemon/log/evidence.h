/* Evidence: every raw frame exactly as it arrived, with who sent it and when. One log per worker, in
 * STATE/evidence/WORKER/. The body of a record (daemon/log/segment.h has the frame around it):
 *
 *   0  1  version: 1; 2 when EVIDENCE_NUMBERED, EVIDENCE_LOSS or EVIDENCE_META is set, 3 with EVIDENCE_PEER, so that an
 *         older isod refuses what it would misread
 *   1  1  flags: EVIDENCE_*
 *   2  2  length s of the source, little-endian
 *   4  s  source: LISTENER/PEER
 * 4+s  8  only with EVIDENCE_NUMBERED: the frame's sequence by its producer's count, little-endian; the source then is
 *         that of a producer (log/producer.h), which tells whose count it is
 *   …  2  only with EVIDENCE_PEER: how many records ago the identity of the peer was told, little-endian; 0: here it is:
 *   …  2  … its length i, little-endian, 1 to EVIDENCE_IDENTITY_MAX
 *   …  i  … the identity (event/origin.h)
 *   …  2  only with EVIDENCE_META: length m of what follows, little-endian
 *   …  m  the same: what came around the frame and tells how to read it (event/hec.h)
 *   …     the raw frame
 * 4+s 12  only with EVIDENCE_LOSS, instead: enum evidence_loss (4 bytes) and how many frames (8), little-endian. So that
 *         the account of what could not be taken in survives a crash as well as the frames themselves, and is counted as
 *         exactly.
 *
 * What a peer's certificate says of it belongs to the evidence: rules look at it. But it is longer than most frames, and the
 * same for all of a connection, so it is told once per connection, and again when the last time is in an older segment (which
 * will be removed before this one) or EVIDENCE_BACK_MAX records ago. So whoever begins to read at the start of a segment, or
 * that many records before what it wants, misses nothing, and the rest costs two bytes a frame. */
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
	EVIDENCE_PEER = 1 << 4,      /* the peer showed who it is */
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

#define EVIDENCE_IDENTITY_MAX 2048
#define EVIDENCE_BACK_MAX     4095

/* Who stands behind a connection to a worker, for all the frames that come in by it. */
struct evidence_peer {
	struct str identity; /* not empty */
	uint64_t told;       /* in the record of that sequence last; 0: not yet */
};

struct evidence {
	struct str source;
	uint8_t flags;
	struct str frame;
	uint64_t sequence; /* by the producer's count; 0 unless EVIDENCE_NUMBERED */
	enum evidence_loss loss;
	uint64_t lost;
	struct str meta;            /* at most EVIDENCE_META_MAX bytes; none unless EVIDENCE_META */
	struct evidence_peer *peer; /* to append: who sent it; NULL: nobody knows */
	/* As parsed, with EVIDENCE_PEER: the identity, or how many records ago it was told. */
	struct str identity;
	uint16_t back;
};

/* Appends to the worker's log; returns the sequence. The source is cut at 255 bytes. With a peer EVIDENCE_PEER is set and the
 * peer's `told` kept up. */
uint64_t evidence_append(struct segment_log *l, uint64_t received_ns, const struct evidence *e);
/* Takes a record's body apart; slices point into it. 0 or -EBADMSG. */
int evidence_parse(struct str body, struct evidence *ret);

/* What a reader knows of identities: those of the last EVIDENCE_BACK_MAX records. */
struct evidence_peers;
struct evidence_peers *evidence_peers_new(void);
void evidence_peers_free(struct evidence_peers *p); /* NULL is allowed */
/* For each record that was parsed, in order: keeps its identity, or fills in e->identity from the one before (valid until the
 * next call). It stays empty when that was not read. */
void evidence_peers_note(struct evidence_peers *p, uint64_t sequence, struct evidence *e);
/* Where reading of the folder must begin for nothing to be missing from record `from` on. */
uint64_t evidence_peers_begin(const char *dir, uint64_t from);

#endif
