/* Times as text and back: leap years, offsets, fractions, dates that do not exist; every day against libc. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

static uint64_t parsed(const char *text)
{
	uint64_t ns = 0;
	size_t used = 0;

	cr_assert_eq(clock_parse(str_of(text), &ns, &used), 0, "%s", text);
	cr_assert_eq(used, strlen(text), "%s", text);
	return ns;
}

Test(clock, rfc3339_in_its_forms)
{
	uint64_t at = UINT64_C(1700000000) * NS_PER_SECOND; /* 2023-11-14T22:13:20Z */

	cr_assert_eq(parsed("2023-11-14T22:13:20Z"), at);
	cr_assert_eq(parsed("2023-11-14t22:13:20z"), at);
	cr_assert_eq(parsed("2023-11-14 22:13:20"), at);
	cr_assert_eq(parsed("2023-11-15T03:43:20+05:30"), at);
	cr_assert_eq(parsed("2023-11-15T03:43:20+0530"), at);
	cr_assert_eq(parsed("2023-11-14T17:13:20-05"), at);
	cr_assert_eq(parsed("2023-11-14T22:13:20-00:00"), at);
	cr_assert_eq(parsed("2023-11-14T22:13:20.5Z"), at + 500000000);
	cr_assert_eq(parsed("2023-11-14T22:13:20,003Z"), at + 3000000);
	cr_assert_eq(parsed("2023-11-14T22:13:20.123456789Z"), at + 123456789);
	cr_assert_eq(parsed("2023-11-14T22:13:20.1234567899999Z"), at + 123456789);
	cr_assert_eq(parsed("1970-01-01T00:00:00Z"), 0);
	cr_assert_eq(parsed("2016-12-31T23:59:60Z"), parsed("2016-12-31T23:59:59Z"), "leap second");
	cr_assert_eq(parsed("2024-02-29T00:00:00Z"), parsed("2024-02-28T00:00:00Z") + NS_PER_DAY);
	cr_assert_eq(parsed("2000-02-29T00:00:00Z"), parsed("2000-03-01T00:00:00Z") - NS_PER_DAY);
}

Test(clock, a_time_may_be_followed_by_anything)
{
	uint64_t ns;
	size_t used;

	cr_assert_eq(clock_parse(STR("2023-11-14T22:13:20Z host app"), &ns, &used), 0);
	cr_assert_eq(used, 20);
	cr_assert_eq(clock_parse(STR("2023-11-14 22:13:20. The end"), &ns, &used), 0);
	cr_assert_eq(used, 19);
	cr_assert_eq(clock_parse(STR("2023-11-14 22:13:20 +0000"), &ns, NULL), 0);
}

Test(clock, what_is_no_time)
{
	static const char *const bad[] = {
		"",
		"2023",
		"2023-11-14",
		"2023-11-14T",
		"2023-11-14T22:13",
		"2023-11-14X22:13:20Z",
		"2023/11/14T22:13:20Z",
		"2023-13-01T00:00:00Z",
		"2023-00-01T00:00:00Z",
		"2023-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"2023-04-31T00:00:00Z",
		"2023-01-00T00:00:00Z",
		"2023-11-14T24:00:00Z",
		"2023-11-14T22:60:00Z",
		"2023-11-14T22:13:61Z",
		"2023-11-14T22:13:20+24:00",
		"2023-11-14T22:13:20+05:60",
		"2023-11-14T22:13:20+5",
		"2023-11-14T22:13:20+05:",
		"2023-11-14T22:13:20-x",
		"1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00+00:01",
		"2554-01-01T00:00:00Z",
		"9999-12-31T23:59:59Z",
		"-023-11-14T22:13:20Z",
	};
	uint64_t ns = 7;
	size_t used = 7;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_eq(clock_parse(str_of(bad[i]), &ns, &used), -EINVAL, "'%s'", bad[i]);
	cr_assert_eq(ns, 7, "untouched on failure");
	cr_assert_eq(used, 7);
}

Test(clock, every_prefix_of_a_time_is_harmless)
{
	const char *text = "2023-11-14T22:13:20.123+05:30";

	for (size_t n = 0; n <= strlen(text); n++) {
		char *copy = xstrndup(text, n); /* exactly as long: a read past it would be seen */
		char *exact = xmalloc(n ? n : 1);
		uint64_t ns;
		memcpy(exact, copy, n);
		int r = clock_parse(str_make(exact, n), &ns, NULL);
		cr_assert_eq(r == 0, (n >= 19 && n <= 23) || n == 26 || n == 29, "%zu bytes", n);
		free(copy);
		free(exact);
	}
}

Test(clock, every_day_agrees_with_libc)
{
	for (int64_t day = 0; day < 213503; day++) { /* to 2554 */
		time_t t = (time_t)(day * 86400 + day % 86400);
		struct tm tm;
		uint64_t ns;
		char text[CLOCK_TEXT_MAX];
		gmtime_r(&t, &tm);
		if (tm.tm_year + 1900 > 2553)
			break;
		cr_assert_eq(clock_from_civil(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
		                              tm.tm_hour, tm.tm_min, tm.tm_sec, 0, 0, &ns),
		             0);
		cr_assert_eq(ns, (uint64_t)t * NS_PER_SECOND);
		cr_assert_eq(clock_year(ns), tm.tm_year + 1900);
		if (day % 100 == 0) {
			cr_assert_eq(clock_parse(str_of(clock_format(ns, text)), &ns, NULL), 0);
			cr_assert_eq(ns, (uint64_t)t * NS_PER_SECOND, "%s", text);
		}
	}
}

Test(clock, format)
{
	char out[CLOCK_TEXT_MAX];

	cr_assert_str_eq(clock_format(0, out), "1970-01-01T00:00:00.000Z");
	cr_assert_str_eq(clock_format(UINT64_C(1700000000123999999), out),
	                 "2023-11-14T22:13:20.123Z");
	cr_assert_str_eq(clock_format(UINT64_MAX, out), "2554-07-21T23:34:33.709Z");
}

Test(clock, civil_parts_out_of_range)
{
	uint64_t ns;

	cr_assert_eq(clock_from_civil(2023, 1, 1, 0, 0, 0, 1000000000, 0, &ns), -EINVAL);
	cr_assert_eq(clock_from_civil(2023, 1, 1, 0, 0, 0, 0, 1440, &ns), -EINVAL);
	cr_assert_eq(clock_from_civil(2023, 1, 1, 0, 0, 0, 0, -1440, &ns), -EINVAL);
	cr_assert_eq(clock_from_civil(2023, 1, 1, -1, 0, 0, 0, 0, &ns), -EINVAL);
	cr_assert_eq(clock_from_civil(1970, 1, 1, 0, 0, 0, 0, -1439, &ns), 0);
}

Test(clock, the_clocks_go_forward)
{
	uint64_t a = clock_mono(), b = clock_mono();

	cr_assert_geq(b, a);
	cr_assert_gt(clock_now(), UINT64_C(1700000000) * NS_PER_SECOND);
}

Test(clock, the_steady_clock_is_the_systems_unless_that_was_set_back)
{
	struct clock_steady c = {0};
	uint64_t before = clock_now(), told = clock_steady(&c), last = 0;

	cr_assert(before <= told && told <= clock_now());
	/* As if the system's clock had been set back by a day. */
	uint64_t start = clock_now() + NS_PER_DAY, mono = clock_mono();
	clock_steady_from(&c, start);
	for (; clock_mono() - mono < 40 * NS_PER_MS; last = told) {
		told = clock_steady(&c);
		cr_assert_geq(told + CLOCK_STEP_NS, start);
		cr_assert_geq(told + CLOCK_STEP_NS, last);
	}
	uint64_t passed = clock_mono() - mono;
	cr_assert_geq(told - start, 20 * NS_PER_MS, "it goes on");
	cr_assert_lt(told - start, passed, "and comes nearer to the system's");
	/* It has been caught up with. */
	clock_steady_from(&c, 1);
	cr_assert_geq(clock_steady(&c) + CLOCK_STEP_NS, start, "it is not set back");
	c = (struct clock_steady){0};
	clock_steady_from(&c, clock_now() - NS_PER_MS);
	before = clock_now();
	told = clock_steady(&c);
	cr_assert(before <= told && told <= clock_now());
}

Test(clock, the_steady_clock_comes_back_to_the_systems)
{
	struct clock_steady c = {0};

	clock_steady_from(&c, clock_now() + 2 * NS_PER_MS);
	while (clock_steady(&c) > clock_now())
		;
	uint64_t before = clock_now(), told = clock_steady(&c);
	cr_assert(before <= told + CLOCK_STEP_NS && told <= clock_now() + CLOCK_STEP_NS);
}
