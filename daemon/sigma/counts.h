/* What the rules of a set cost and how often they hold, counted where they are evaluated: one writer each (a worker's
 * thread), read by any thread. Nothing is locked and nothing allocated. */
#ifndef ISOD_SIGMA_COUNTS_H
#define ISOD_SIGMA_COUNTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/* Time is taken on one of so many events: on the others rules run without a look at the clock. */
#define COUNTS_SAMPLE 64

struct rule_counts {
	_Atomic uint64_t hits;
	_Atomic uint64_t tried; /* how often it was evaluated, on sampled events only */
	_Atomic uint64_t ns;    /* how long that took */
};

struct logsource_counts {
	_Atomic uint64_t events;
	_Atomic uint64_t last_ns; /* when the last of them was received */
};

struct match_counts {
	_Atomic uint64_t events;
	_Atomic uint64_t sampled;  /* of these */
	struct rule_counts *rules; /* in the set's order */
	/* By entry of the log-source table; behind them one for events that are of none of them. */
	struct logsource_counts *sources;
};

static inline void counts_add(_Atomic uint64_t *count, uint64_t n)
{
	/* One writer: no locked instruction needed. */
	uint64_t now = atomic_load_explicit(count, memory_order_relaxed);
	atomic_store_explicit(count, now + n, memory_order_relaxed);
}

static inline uint64_t counts_get(const _Atomic uint64_t *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

/* Counts an event (`c` may be NULL). True if time is to be taken on it. */
static inline bool counts_event(struct match_counts *c)
{
	if (!c)
		return false;
	bool sampled = counts_get(&c->events) % COUNTS_SAMPLE == 0;
	counts_add(&c->events, 1);
	if (sampled)
		counts_add(&c->sampled, 1);
	return sampled;
}

/* A rule was evaluated since *begin; the next one is from now. */
static inline void counts_tried(struct rule_counts *r, uint64_t *begin)
{
	uint64_t now = clock_mono();

	counts_add(&r->tried, 1);
	counts_add(&r->ns, now - *begin);
	*begin = now;
}

#endif
