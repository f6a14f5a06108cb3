/* How long something took, counted in fixed steps. One thread counts, any may read: no lock, no locked instruction. Several
 * of them (one a worker) are added up by who reads. */
#ifndef ISOD_BASE_HISTOGRAM_H
#define ISOD_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_STEPS 17

/* Upper bounds in nanoseconds, inclusive, rising; what is longer counts in the last place of `counts`. 100 µs to a minute,
 * finest where a disk and a plugin are: a fraction of a millisecond to a tenth of a second. */
extern const uint64_t histogram_bounds[HISTOGRAM_STEPS];

struct histogram {
	_Atomic uint64_t counts[HISTOGRAM_STEPS + 1];
	_Atomic uint64_t sum_ns;
};

/* `count` of them took `ns` each. */
void histogram_count(struct histogram *h, uint64_t ns, uint64_t count);
/* Adds what `h` has counted. */
void histogram_add(uint64_t counts[static HISTOGRAM_STEPS + 1], uint64_t *sum_ns,
                   const struct histogram *h);

#endif
