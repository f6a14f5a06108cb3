/* Numbered things: any may leave, whole pages give their memory back, walks go by number; who leaves is told by time, then
 * number, however they came. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/mem.h"
#include "officer/shelf.h"

static void *thing(uint64_t n)
{
	uint64_t *p = xmalloc(sizeof(*p));
	*p = n;
	return p;
}

Test(shelf, things_are_found_walked_and_taken)
{
	struct shelf s = {0};
	uint64_t at = 0, walked = 0;
	const uint64_t *p;

	cr_assert_null(shelf_get(&s, 0));
	cr_assert_null(shelf_get(&s, 1));
	cr_assert_null(shelf_take(&s, UINT64_MAX));
	cr_assert_null(shelf_next(&s, &at));
	for (uint64_t n = 1; n <= 1000; n++)
		shelf_put(&s, n, thing(n));
	cr_assert_eq(s.held, 1000);
	cr_assert_null(shelf_get(&s, 0));
	cr_assert_null(shelf_get(&s, 1001));
	for (uint64_t n = 1; n <= 1000; n++) {
		if (n % 7 == 0 || n == 600)
			continue;
		p = shelf_take(&s, n);
		cr_assert_eq(*p, n);
		free((void *)(uintptr_t)p);
		cr_assert_null(shelf_take(&s, n));
	}
	for (at = 0; (p = shelf_next(&s, &at)); walked++) {
		cr_assert_eq(*p, at);
		cr_assert(at % 7 == 0 || at == 600);
	}
	cr_assert_eq(walked, 143);
	cr_assert_eq(s.held, 143);
	shelf_release(&s, free);
	cr_assert_eq(s.held, 0);
}

Test(shelf, a_page_that_is_empty_is_given_back)
{
	struct shelf s = {0};
	uint64_t at = 0;

	for (uint64_t n = 1; n <= (uint64_t)3 * SHELF_PAGE; n++)
		shelf_put(&s, n, thing(n));
	for (uint64_t n = SHELF_PAGE + 1; n <= (uint64_t)2 * SHELF_PAGE; n++)
		free(shelf_take(&s, n));
	cr_assert_not_null(s.pages[0]);
	cr_assert_null(s.pages[1]);
	cr_assert_not_null(s.pages[2]);
	at = SHELF_PAGE;
	cr_assert_not_null(shelf_next(&s, &at));
	cr_assert_eq(at, 2 * SHELF_PAGE + 1);
	shelf_put(&s, SHELF_PAGE + 5, thing(1));
	cr_assert_not_null(shelf_get(&s, SHELF_PAGE + 5));
	shelf_release(&s, free);
}

Test(shelf, they_leave_by_time_then_number)
{
	struct departures d = {0};

	cr_assert_eq(departures_next(&d, 100, 1, 1), 0);
	departures_add(&d, 30, 9);
	departures_add(&d, 10, 4);
	departures_add(&d, 30, 2);
	departures_add(&d, 10, 8);
	departures_add(&d, 30, 5);
	cr_assert_eq(departures_next(&d, 1000, 0, 0), 0, "no limit");
	cr_assert_eq(departures_next(&d, 14, 5, 0), 0, "too young");
	cr_assert_eq(departures_next(&d, 15, 5, 0), 4);
	cr_assert_eq(departures_next(&d, 15, 5, 0), 8);
	cr_assert_eq(departures_next(&d, 15, 5, 0), 0);
	cr_assert_eq(departures_next(&d, 30, 5, 2), 2, "too many");
	cr_assert_eq(departures_next(&d, 30, 5, 2), 0);
	departures_add(&d, 31, 1);
	cr_assert_eq(departures_next(&d, 31, 0, 1), 5);
	cr_assert_eq(departures_next(&d, 31, 0, 1), 9);
	cr_assert_eq(departures_next(&d, 31, 0, 1), 0);
	cr_assert_eq(departures_next(&d, 99, 5, 1), 1);
	cr_assert_eq(departures_next(&d, 99, 5, 1), 0, "nobody is left");
	departures_release(&d);
}

Test(shelf, a_list_that_is_used_for_ever_does_not_grow)
{
	struct departures d = {0};

	for (uint64_t n = 1; n <= 100000; n++) {
		departures_add(&d, n / 3, n);
		if (n > 10)
			cr_assert_eq(departures_next(&d, n, 0, 10), n - 10);
	}
	cr_assert_leq(d.cap, 64);
	departures_release(&d);
}
