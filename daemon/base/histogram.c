#include "base/histogram.h"

#define US UINT64_C(1000)
#define MS (1000 * US)
#define S  (1000 * MS)

const uint64_t histogram_bounds[HISTOGRAM_STEPS] = {
	100 * US, 250 * US, 500 * US, 1 * MS,    2500 * US, 5 * MS, 10 * MS, 20 * MS, 50 * MS,
	100 * MS, 250 * MS, 500 * MS, 1000 * MS, 2500 * MS, 5 * S,  10 * S,  60 * S,
};

/* Only one thread writes. */
static void add(_Atomic uint64_t *to, uint64_t n)
{
	uint64_t now = atomic_load_explicit(to, memory_order_relaxed);
	atomic_store_explicit(to, now + n, memory_order_relaxed);
}

void histogram_count(struct histogram *h, uint64_t ns, uint64_t count)
{
	size_t i = 0;

	while (i < HISTOGRAM_STEPS && ns > histogram_bounds[i])
		i++;
	add(&h->counts[i], count);
	add(&h->sum_ns, ns * count);
}

void histogram_add(uint64_t counts[static HISTOGRAM_STEPS + 1], uint64_t *sum_ns,
                   const struct histogram *h)
{
	for (size_t i = 0; i <= HISTOGRAM_STEPS; i++)
		counts[i] += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
	*sum_ns += atomic_load_explicit(&h->sum_ns, memory_order_relaxed);
}
