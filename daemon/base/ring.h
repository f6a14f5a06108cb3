/* A ring of byte records between exactly one producing and one consuming thread. No lock, no
 * allocation after init. The producer gathers records and publishes them in one step, so that a batch
 * costs one shared write; the consumer likewise gives space back once per batch. */
#ifndef ISOD_BASE_RING_H
#define ISOD_BASE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdalign.h>

#include "base/str.h"

#define RING_CACHE_LINE 64

struct ring {
	char *data;
	size_t size;                                      /* bytes, a power of two */
	alignas(RING_CACHE_LINE) atomic_size_t published; /* written by the producer */
	size_t written;                                   /* the producer's own */
	size_t seen_consumed;
	alignas(RING_CACHE_LINE) atomic_size_t consumed; /* written by the consumer */
	size_t read;                                     /* the consumer's own */
	size_t seen_published;
};

/* A struct that holds one must be aligned to RING_CACHE_LINE, which malloc() does not do: aligned_alloc().
 * `size` is rounded up to a power of two; a record may take at most half of it. */
void ring_init(struct ring *r, size_t size);
void ring_release(struct ring *r);

/* Producer. ring_put copies one record; false when there is no room now (nothing was added).
 * ring_publish makes all records put so far visible; true if the ring had been empty, so that the
 * consumer may be asleep and wants a wake-up. */
bool ring_put(struct ring *r, struct str record);
bool ring_publish(struct ring *r);

/* Consumer. ring_get gives the next record in place, valid until ring_done; p == NULL when empty.
 * ring_done gives back the space of all records got so far. Before the consumer sleeps it must call
 * ring_done and then see ring_get answer "empty" once more: that closes the race with ring_publish. */
struct str ring_get(struct ring *r);
void ring_done(struct ring *r);

/* Bytes published and not yet given back; may be called from any thread (a gauge). */
size_t ring_backlog(struct ring *r);

#endif
