/* A token bucket kept as one number: the time at which what was taken so far would be paid off (the theoretical arrival
 * time of the generic cell rate algorithm, ITU-T I.371 Annex A). No timer fills it; any number of threads may share
 * one. Times are clock_mono(), nanoseconds. */
#ifndef ISOD_BASE_RATE_H
#define ISOD_BASE_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rate {
	_Atomic uint64_t paid_ns;
};

/* What a bucket is about: one for many of the kind. */
struct rate_limit {
	uint64_t per_second; /* 0: no limit */
	uint64_t burst_ns;   /* so much time's worth may be taken at once */
};

/* Takes `n`, come what may: they have arrived already. Returns for how long nothing more should be taken. */
uint64_t rate_charge(struct rate *r, const struct rate_limit *l, uint64_t n, uint64_t now_ns);
/* Takes `n` if there is room for them. A burst of nothing has room for one `n` at a time. */
bool rate_take(struct rate *r, const struct rate_limit *l, uint64_t n, uint64_t now_ns);
/* Nothing was taken lately: forgetting the bucket makes no difference. */
bool rate_is_idle(const struct rate *r, uint64_t now_ns);

#endif
