/* Counting in steps, and as Prometheus reads it; and frames from their arrival to the disk. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "base/prometheus.h"
#include "ingest/latency.h"

static uint64_t counts[HISTOGRAM_STEPS + 1], sum;

static uint64_t all(const struct histogram *h)
{
	uint64_t n = 0;

	memset(counts, 0, sizeof(counts));
	sum = 0;
	histogram_add(counts, &sum, h);
	for (size_t i = 0; i <= HISTOGRAM_STEPS; i++)
		n += counts[i];
	return n;
}

Test(histogram, bounds_are_inclusive_and_rise)
{
	struct histogram h = {0};

	for (size_t i = 0; i < HISTOGRAM_STEPS; i++) {
		cr_assert(i == 0 || histogram_bounds[i] > histogram_bounds[i - 1]);
		histogram_count(&h, histogram_bounds[i], 1);
		histogram_count(&h, histogram_bounds[i] + 1, 10);
	}
	histogram_count(&h, 0, 100);
	histogram_count(&h, UINT64_MAX, 0);
	cr_assert_eq(all(&h), 100 + 11 * HISTOGRAM_STEPS);
	cr_expect_eq(counts[0], 101);
	cr_expect_eq(counts[1], 11);
	cr_expect_eq(counts[HISTOGRAM_STEPS], 10);
	histogram_add(counts, &sum, &h);
	cr_expect_eq(counts[0], 202, "several are added up");
}

Test(histogram, as_prometheus_reads_it)
{
	static const uint64_t bounds[] = {2500000, 1000000000, 60000000000};
	static const uint64_t in_steps[] = {1, 0, 3, 2};
	struct buf out;

	buf_init(&out, 0);
	prometheus_histogram(&out, "x", bounds, in_steps, 3, 61000000001);
	cr_assert_str_eq(buf_cstr(&out),
	                 "x_bucket{le=\"0.0025\"} 1\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"60\"} 4\n"
	                 "x_bucket{le=\"+Inf\"} 6\nx_sum 61.000000001\nx_count 6\n");
	buf_release(&out);
}

Test(histogram, frames_count_when_a_sync_covers_them)
{
	static struct latency l;

	for (uint64_t i = 1; i <= 10; i++)
		latency_arrived(&l, i, i <= 5 ? NS_PER_SECOND : 2 * NS_PER_SECOND);
	latency_durable(&l, 4, 3 * NS_PER_SECOND);
	cr_expect_eq(all(&l.durable), 0, "the run is not on the disk as a whole");
	latency_durable(&l, 5, 3 * NS_PER_SECOND);
	cr_expect_eq(all(&l.durable), 5);
	cr_expect_eq(sum, 5 * 2 * NS_PER_SECOND);
	latency_durable(&l, 100, NS_PER_SECOND);
	cr_expect_eq(all(&l.durable), 10, "a clock that was set back makes none negative");
	cr_expect_eq(sum, 5 * 2 * NS_PER_SECOND);
}

Test(histogram, no_number_of_runs_loses_a_frame)
{
	static struct latency l;
	uint64_t n = 3 * LATENCY_RUNS;

	for (uint64_t i = 1; i <= n; i++)
		latency_arrived(&l, i, i);
	latency_durable(&l, n - 1, n);
	latency_arrived(&l, n + 1, n + 1);
	latency_durable(&l, n + 1, n + 2);
	cr_expect_eq(all(&l.durable), n + 1);
	cr_expect_eq(l.count, 0);
}
