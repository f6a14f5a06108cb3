/* When snapshots are taken and by whom: a forked child writes what memory holds at that moment, while the officer goes
 * on (copy-on-write). Where processes cannot be forked (under ThreadSanitizer) the officer writes itself. */
#ifndef ISOD_OFFICER_SNAPSHOT_KEEPER_H
#define ISOD_OFFICER_SNAPSHOT_KEEPER_H

#include "base/clock.h"
#include "officer/snapshot.h"

#define SNAPSHOT_RETRY_NS NS_PER_MINUTE
#define SNAPSHOTS_KEPT    2 /* the newest, and the one that is fallen back to */

struct event_base;
struct snapshot_keeper;

struct snapshot_options {
	const char *dir;
	uint64_t interval_ns; /* a new one after so long, if there are new records */
	uint64_t records;     /* or after so many new records; 0: the time alone counts */
	uint64_t retry_ns;    /* after one that failed, at least so long; 0: SNAPSHOT_RETRY_NS */
	struct event_base *base;
	/* It came to an end: 0 or -errno. */
	void (*done)(void *arg, uint64_t sequence, int error);
	void *arg;
};

struct snapshot_counts {
	uint64_t written, failed;
	uint64_t sequence; /* of the newest */
	uint64_t bytes;
	uint64_t pause_ns; /* the longest that the officer stood still for one */
};

/* `newest`: the sequence of the snapshot that the start went by; 0: none. */
struct snapshot_keeper *snapshot_keeper_new(const struct snapshot_options *o, uint64_t newest);
/* Ends a child that still writes. NULL is allowed. */
void snapshot_keeper_free(struct snapshot_keeper *k);

/* Begins a snapshot if one is due. The chain value is that after the state's last record, which is durable. To be called
 * whenever that is so; costs nothing when none is due. */
void snapshot_keeper_consider(struct snapshot_keeper *k, const struct state *s,
                              const uint8_t chain[static SHA256_BYTES]);
/* Writes one here and now unless the newest has the same sequence. 0 or -errno. */
int snapshot_keeper_now(struct snapshot_keeper *k, const struct state *s,
                        const uint8_t chain[static SHA256_BYTES]);

/* Up to this sequence the ledger is needed by no kept snapshot: 0 while there are not SNAPSHOTS_KEPT of them. The record
 * itself that the older one ends with is needed, to see that it fits. */
uint64_t snapshot_keeper_floor(const struct snapshot_keeper *k);
const struct snapshot_counts *snapshot_keeper_counts(const struct snapshot_keeper *k);

#endif
