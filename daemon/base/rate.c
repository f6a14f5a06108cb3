#include "base/rate.h"

#include "base/clock.h"

#define COST_MAX (UINT64_MAX / 4) /* so that sums do not wrap around */

static uint64_t cost_of(const struct rate_limit *l, uint64_t n)
{
	/* 128 bits: n may be any number of bytes. */
	unsigned __int128 cost = (unsigned __int128)n * NS_PER_SECOND / l->per_second;

	return cost < COST_MAX ? (uint64_t)cost : COST_MAX;
}

static uint64_t begin_of(uint64_t paid, uint64_t now)
{
	return paid > now ? paid : now;
}

uint64_t rate_charge(struct rate *r, const struct rate_limit *l, uint64_t n, uint64_t now_ns)
{
	uint64_t paid = atomic_load_explicit(&r->paid_ns, memory_order_relaxed), next;

	if (l->per_second == 0)
		return 0;
	do
		next = begin_of(paid, now_ns) + cost_of(l, n);
	while (!atomic_compare_exchange_weak_explicit(&r->paid_ns, &paid, next,
	                                              memory_order_relaxed, memory_order_relaxed));
	return next - now_ns > l->burst_ns ? next - now_ns - l->burst_ns : 0;
}

bool rate_take(struct rate *r, const struct rate_limit *l, uint64_t n, uint64_t now_ns)
{
	uint64_t paid = atomic_load_explicit(&r->paid_ns, memory_order_relaxed), next;

	if (l->per_second == 0)
		return true;
	do {
		if (begin_of(paid, now_ns) - now_ns > l->burst_ns)
			return false;
		next = begin_of(paid, now_ns) + cost_of(l, n);
	} while (!atomic_compare_exchange_weak_explicit(
		&r->paid_ns, &paid, next, memory_order_relaxed, memory_order_relaxed));
	return true;
}

bool rate_is_idle(const struct rate *r, uint64_t now_ns)
{
	return atomic_load_explicit(&r->paid_ns, memory_order_relaxed) <= now_ns;
}
