/* The officer's shell: takes records from the inbox and from commands, appends them to the ledger in batches, folds
 * them into the state, and runs the effects once the batch is durable. One thread; owns state and ledger. */
#ifndef ISOD_OFFICER_OFFICER_H
#define ISOD_OFFICER_OFFICER_H

#include "base/clock.h"
#include "base/histogram.h"
#include "log/ledger.h"
#include "officer/inbox.h"
#include "officer/state.h"

struct event_base;
struct officer;

struct officer_options {
	/* isod's own clock, which arrivals are stamped with too. It is told not to fall behind the ledger. NULL: the
	 * system's, and while that is behind the ledger time stands still. */
	struct clock_steady *clock;
	const char *ledger_dir;
	uint64_t segment_bytes;
	/* Group commit of what the inbox brings: a batch becomes durable at once, but no sooner than commit_ns (0: never
	 * waits) after the begin of the one before, or with commit_bytes of records. Commands and ticks wait for nothing
	 * and take along what has gathered. */
	uint64_t commit_ns, commit_bytes;
	struct event_base *base; /* the loop it runs in */
	struct inbox *inbox;
	struct effects effects;   /* what to do in the world; arg is the caller's */
	const char *snapshot_dir; /* NULL: no snapshots are taken or looked for */
	uint64_t snapshot_interval_ns, snapshot_records; /* officer/snapshot_keeper.h */
	/* A snapshot was not written, or one was refused at the start: what is wrong. */
	void (*snapshot_trouble)(void *arg, const char *what);
	/* The ledger cannot be written (disk full, EIO): called once when it begins and once when it ends. */
	void (*stalled)(void *arg, bool stalled);
};

/* Opens the ledger and folds it. 0 and *ret, or -errno with the reason in `error`. */
int officer_open(const struct officer_options *o, struct officer **ret, char *error,
                 size_t error_size);
/* Writes a last snapshot if it can. NULL is allowed. */
void officer_close(struct officer *o);

/* Begins to take from the inbox: writes Started, and Settings if they differ from the ledger's. */
void officer_start(struct officer *o, const Isod__V1__Started *started,
                   const Isod__V1__Settings *settings);

/* Other settings: takes everything that is in the inbox now, then writes them if they differ from what holds. What was
 * found before them (it is in the inbox) is folded under the old ones, everything later under the new ones; groups of
 * correlations that are in both go on. 0, or -EAGAIN while the ledger is stalled: nothing was written, call again. */
int officer_settings(struct officer *o, const Isod__V1__Settings *settings);

const struct state *officer_state(const struct officer *o);
/* 0, or the negative errno with which the ledger cannot be written. *ret_broken: not even later (segment_sync). */
int officer_storage(const struct officer *o, bool *ret_broken);
/* The chain's head after the last durable record. */
const uint8_t *officer_head(const struct officer *o);

/* The ledger up to this sequence is covered by both kept snapshots; 0: it is needed whole. */
uint64_t officer_snapshot_floor(const struct officer *o);
/* How long matches took from their frame's arrival until they were durable. */
const struct histogram *officer_latency(const struct officer *o);
/* While effects run: when the first frame arrived of those whose matches the batch holds; 0: it holds none. */
uint64_t officer_folding_since(const struct officer *o);
/* Snapshots written, failed and refused, and the like, by name. */
void officer_counters(const struct officer *o,
                      void (*count)(void *arg, const char *name, uint64_t value), void *arg);

/* The last durable record and the chain value after it: 0; -ENODATA while the ledger is empty. */
int officer_anchor(const struct officer *o, uint64_t *ret_sequence, const uint8_t **ret_head);

/* Appends an operator's command or a refusal, makes it durable and folds it before returning: what the caller then
 * reads from the state is the outcome. 0; -EAGAIN when the ledger is stalled (nothing was changed); another -errno
 * when writing failed just now (it takes effect when the ledger can be written again). */
int officer_record(struct officer *o, const Isod__V1__Record *record);

/* The same for what must not be lost and nobody waits for (plugin results): it waits while the ledger is stalled. */
void officer_post(struct officer *o, const Isod__V1__Record *record);

/* Takes everything that is in the inbox now and makes it durable: at stop, while the workers end. */
void officer_drain(struct officer *o);

#endif
