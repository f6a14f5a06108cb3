/* What is known of producers: the table that all workers share, and what a worker tells the ledger with its next tally. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "ingest/marks.h"
#include "ingest/producers.h"

/* ---- the table ---- */

Test(producers, a_mark_rises_and_never_falls)
{
	struct producers p;

	producers_init(&p);
	cr_expect_eq(producers_ask(&p, STR("web")), 0);
	cr_expect_eq(producers_count(&p), 0, "asking makes nobody known");
	producers_note(&p, STR("web"), 10);
	producers_note(&p, STR("web"), 7);
	cr_expect_eq(producers_ask(&p, STR("web")), 10);
	producers_note(&p, STR("web"), UINT64_MAX - 1);
	cr_expect_eq(producers_ask(&p, STR("web")), UINT64_MAX - 1);
	cr_expect_eq(producers_ask(&p, STR("we")), 0);
	cr_expect_eq(producers_count(&p), 1);
	producers_release(&p);
}

Test(producers, only_so_many_find_room_but_what_stands_in_the_books_does)
{
	struct producers p;
	char id[PRODUCER_ID_MAX + 1];

	producers_init(&p);
	for (size_t i = 0; i < PRODUCERS_MAX; i++) {
		snprintf(id, sizeof(id), "p%zu", i);
		cr_assert(producers_has_room(&p, str_of(id)));
		producers_note(&p, str_of(id), i + 1);
	}
	cr_expect_not(producers_has_room(&p, STR("more")));
	cr_expect(producers_has_room(&p, STR("p77")), "it is known");
	producers_note(&p, STR("more"), 5);
	cr_expect_eq(producers_ask(&p, STR("more")), 5, "evidence has it");
	cr_expect_eq(producers_count(&p), PRODUCERS_MAX + 1);
	cr_assert(producers_forget(&p, STR("more"), 5));
	cr_assert(producers_forget(&p, STR("p77"), 78));
	cr_expect(producers_has_room(&p, STR("more")));
	producers_release(&p);
}

Test(producers, one_of_whom_more_came_than_was_counted_is_not_forgotten)
{
	struct producers p;

	producers_init(&p);
	producers_note(&p, STR("web"), 10);
	cr_expect_not(producers_forget(&p, STR("web"), 9));
	cr_expect_not(producers_forget(&p, STR("web"), 0));
	cr_expect_eq(producers_ask(&p, STR("web")), 10);
	cr_expect(producers_forget(&p, STR("web"), 10));
	cr_expect_eq(producers_ask(&p, STR("web")), 0);
	cr_expect_eq(producers_count(&p), 0);
	cr_expect_not(producers_forget(&p, STR("web"), 10), "it is gone");
	cr_expect(producers_forget(&p, STR("bound"), 0), "nothing ever came of it");
	producers_release(&p);
}

Test(producers, all_of_one_go_to_one_worker_and_many_to_all)
{
	size_t hits[4] = {0};
	char id[PRODUCER_ID_MAX + 1];

	for (size_t i = 0; i < 400; i++) {
		snprintf(id, sizeof(id), "host%zu", i);
		size_t w = producers_worker(str_of(id), 4);
		cr_assert_lt(w, 4);
		cr_assert_eq(w, producers_worker(str_of(id), 4));
		cr_assert_eq(producers_worker(str_of(id), 1), 0);
		hits[w]++;
	}
	for (size_t w = 0; w < 4; w++)
		cr_expect_gt(hits[w], 40, "worker %zu has %zu of 400", w, hits[w]);
}

/* ---- what is told with a tally ---- */

static uint64_t told(const struct marks *m, const char *id)
{
	struct arena a;
	Isod__V1__Tally t = ISOD__V1__TALLY__INIT;
	uint64_t upto = 0;

	arena_init(&a, 0);
	marks_tally(m, &a, &t);
	for (size_t i = 0; i < t.n_producers; i++)
		if (strcmp(t.producers[i]->producer, id) == 0)
			upto = t.producers[i]->upto;
	arena_release(&a);
	return upto;
}

Test(marks, the_highest_number_of_each_is_told_once)
{
	struct marks m;

	marks_init(&m);
	marks_note(&m, STR("a"), 1);
	marks_note(&m, STR("a"), 3);
	marks_note(&m, STR("b"), 9);
	marks_note(&m, STR("a"), 2);
	marks_note(&m, STR_NONE, 100);
	cr_expect_eq(m.map.count, 2);
	cr_expect_eq(told(&m, "a"), 3);
	cr_expect_eq(told(&m, "b"), 9);
	marks_reset(&m);
	cr_expect_eq(told(&m, "a"), 0);
	cr_expect_eq(m.bytes, 0);
	marks_note(&m, STR("a"), 4);
	cr_expect_eq(told(&m, "a"), 4);
	marks_release(&m);
}

Test(marks, what_they_take_in_a_tally_is_bounded)
{
	struct marks m;
	struct arena a;
	Isod__V1__Tally t = ISOD__V1__TALLY__INIT;
	char id[PRODUCER_ID_MAX + 8];
	size_t empty = isod__v1__tally__get_packed_size(&t);

	marks_init(&m);
	arena_init(&a, 0);
	for (int i = 0; i < 50; i++) {
		snprintf(id, sizeof(id), "%0*d", PRODUCER_ID_MAX, i);
		marks_note(&m, str_of(id), UINT64_MAX - 1);
	}
	memset(id, 'x', sizeof(id));
	marks_note(&m, str_make(id, PRODUCER_ID_MAX + 1), 1);
	marks_tally(&m, &a, &t);
	cr_expect_eq(t.n_producers, 50, "no valid id, not told");
	cr_expect_leq(isod__v1__tally__get_packed_size(&t) - empty, m.bytes);
	arena_release(&a);
	marks_release(&m);
}
