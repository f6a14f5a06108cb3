/* What stands in evidence and was not detected yet, in order. Evidence takes a burst in at the speed of the disk; this is
 * where detection finds what it still has to look at: the newest in memory, in the very buffers that were written, and when
 * there is more than `memory_max` of it, what follows on the disk. One per worker, its thread only. */
#ifndef ISOD_INGEST_BACKLOG_H
#define ISOD_INGEST_BACKLOG_H

#include <sys/queue.h>

#include "log/segment.h"

struct chunk;
TAILQ_HEAD(chunk_queue, chunk);

struct backlog {
	struct segment_log *evidence;
	size_t memory_max;
	struct chunk_queue chunks, spare; /* that wait, in order; that are empty */
	size_t memory;                    /* bytes that the buffers of `chunks` take */
	size_t spare_count;
	uint64_t written;   /* the newest record that is in the file, and was told by it */
	uint64_t given;     /* the last one that backlog_next gave */
	uint64_t bytes;     /* of the file between the two; an estimate while on_disk */
	uint64_t oldest_ns; /* arrival of the oldest that waits, or a little before; 0: none does */
	bool on_disk;       /* what waits behind `chunks` is on the disk only */
	struct segment_reader *reader;
	uint64_t read_from; /* where it began */
	uint64_t skipped;   /* records on the way to `given`, to go on after each so many */
};

/* From now on `b` follows the log: what it holds already is no part of the backlog. */
void backlog_init(struct backlog *b, struct segment_log *evidence, size_t memory_max);
/* NULL members are allowed: one that was never begun. */
void backlog_release(struct backlog *b);

bool backlog_is_empty(const struct backlog *b);
/* The next record, valid until the next call: 1 and *ret. 0: none waits. -EAGAIN: none yet, ask again (what takes time is
 * done in steps). -EBADMSG: evidence is damaged here; *ret->sequence is the last one before and what could not be read of
 * its segment is left out, so asking again goes on behind it. -errno: it cannot be read now. With `error` for the last two. */
int backlog_next(struct backlog *b, struct record *ret, char *error, size_t error_size);

#endif
