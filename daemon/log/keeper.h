/* What becomes of finished segments: they are compressed, kept as long as somebody wants them, and removed.
 *
 * Removed are only a log's oldest whole segments, and never one with a record behind `counted`: of evidence that is what
 * the ledger has not counted yet, of a ledger what no snapshot covers yet. Then
 *   - by age: when everything in it is older than keep_ns, and nothing in it is wanted (`held`: an open incident refers
 *     to it);
 *   - by size: when all logs of the kind together are larger than keep_bytes, the oldest first, wanted or not, old
 *     enough or not: a full disk would stop everything. This is told apart ("early").
 *
 * The wall clock may jump. Forward by more than an hour it is not believed for a day, so that a wrong clock does not
 * empty the books; records that carry a wrong time from the future are kept. */
#ifndef ISOD_LOG_KEEPER_H
#define ISOD_LOG_KEEPER_H

#include "log/segment.h"

struct keeper_policy {
	int level;           /* zstd, 1 to 19; 0: nothing is compressed */
	uint64_t at_hand_ns; /* … and only what is older than this */
	uint64_t keep_ns;    /* 0: for ever */
	uint64_t keep_bytes; /* 0: no limit */
};

struct keeper_log {
	char *dir; /* the job's */
	enum segment_kind kind;
	uint64_t counted; /* 0: nothing may be removed */
	uint64_t held;    /* wanted are sequences from this one on; UINT64_MAX: none */
};

/* What one pass did to one log. */
struct keeper_outcome {
	uint64_t packed, bytes_before, bytes_after;
	uint64_t removed, removed_bytes; /* segments, and their size on disk */
	uint64_t removed_early;          /* … of them for their size only */
	uint64_t first, last;            /* sequences that were removed */
	uint64_t damaged;                /* segments that were found damaged for the first time */
	uint64_t failed;                 /* attempts that will be repeated */
	bool held;                       /* something is old enough to go, but wanted */
	char error[512];                 /* of the last that was damaged or failed; "" if none */
};

struct keeper_job {
	struct keeper_log *logs; /* by keeper_job_add */
	struct keeper_outcome *outcomes;
	size_t count;
	bool limits;       /* `counted` and `held` are known */
	bool wants_limits; /* answer: something could be removed if they were */
	bool over[SEGMENT_LEDGER +
	          1]; /* answer, by kind: larger than keep_bytes, and nothing may be removed */
};

struct keeper;

struct keeper_options {
	struct keeper_policy policies[SEGMENT_LEDGER + 1]; /* by kind */
	void (*done)(void *arg,
	             struct keeper_job
	                     *job); /* from the keeper's thread; the job is the caller's again */
	void *arg;
};

/* Starts the thread; it does nothing until it is given a job. 0 and *ret, or -errno. */
int keeper_new(const struct keeper_options *o, struct keeper **ret);
/* Gives up what it is doing, and ends the thread. A job that was not done is freed. NULL is allowed. */
void keeper_free(struct keeper *k);
/* Hands the job over: one pass over its logs. False when the last one is not done: then it stays the caller's. */
bool keeper_run(struct keeper *k, struct keeper_job *job);

/* An empty job; logs are added to it. NULL is allowed in keeper_job_free. */
struct keeper_job *keeper_job_new(void);
void keeper_job_add(struct keeper_job *j, enum segment_kind kind, char *dir, uint64_t counted,
                    uint64_t held);
void keeper_job_free(struct keeper_job *j);

/* The pass itself, without a thread, at the given times of the wall clock and the monotonic one. */
void keeper_pass(struct keeper *k, struct keeper_job *job, uint64_t now_ns, uint64_t mono_ns);

#endif
