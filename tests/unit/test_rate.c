/* base/rate: token buckets. Time is an argument. */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/rate.h"

static const struct rate_limit ten = {.per_second = 10, .burst_ns = NS_PER_SECOND};

Test(rate, a_burst_is_taken_at_once_and_comes_back_with_time)
{
	struct rate r = {0};
	uint64_t now = 1000 * NS_PER_SECOND;
	int taken = 0;

	while (rate_take(&r, &ten, 1, now))
		taken++;
	cr_expect_eq(taken, 11, "ten of the burst, and the one that uses it up: %d", taken);
	cr_expect(!rate_take(&r, &ten, 1, now + NS_PER_SECOND / 20));
	cr_expect(rate_take(&r, &ten, 1, now + NS_PER_SECOND / 5));
	taken = 0;
	while (rate_take(&r, &ten, 1, now + 60 * NS_PER_SECOND))
		taken++;
	cr_expect_eq(taken, 11, "an hour of silence is not saved up: %d", taken);
}

Test(rate, what_was_refused_costs_nothing)
{
	struct rate r = {0};

	for (int i = 0; i < 1000; i++)
		rate_take(&r, &ten, 1, 1);
	cr_expect(rate_take(&r, &ten, 1, 1 + NS_PER_SECOND / 5));
}

Test(rate, what_has_arrived_is_charged_and_waited_for)
{
	struct rate r = {0};
	uint64_t now = 5 * NS_PER_SECOND;

	cr_expect_eq(rate_charge(&r, &ten, 10, now), 0);
	cr_expect_eq(rate_charge(&r, &ten, 5, now), NS_PER_SECOND / 2);
	cr_expect_eq(rate_charge(&r, &ten, 0, now + NS_PER_SECOND / 2), 0);
	cr_expect(!rate_is_idle(&r, now + NS_PER_SECOND));
	cr_expect(rate_is_idle(&r, now + 3 * NS_PER_SECOND / 2));
}

Test(rate, the_long_run_is_the_rate)
{
	const struct rate_limit fast = {.per_second = 1000003, .burst_ns = NS_PER_SECOND / 10};
	struct rate r = {0};
	uint64_t now = 0, sent = 0;

	while (now < 100 * NS_PER_SECOND) {
		now += rate_charge(&r, &fast, 777, now);
		sent += 777;
	}
	cr_expect(sent > 99 * fast.per_second && sent < 101 * fast.per_second, "%llu",
	          (unsigned long long)sent);
}

Test(rate, no_limit_is_none)
{
	const struct rate_limit none = {0};
	struct rate r = {0};

	cr_expect_eq(rate_charge(&r, &none, UINT64_MAX, 1), 0);
	cr_expect(rate_take(&r, &none, UINT64_MAX, 1));
	cr_expect(rate_is_idle(&r, 1));
}

Test(rate, absurd_amounts_do_not_wrap_around)
{
	struct rate r = {0};

	cr_expect_gt(rate_charge(&r, &ten, UINT64_MAX, 1), UINT64_MAX / 8);
	cr_expect(!rate_take(&r, &ten, 1, NS_PER_DAY));
}
