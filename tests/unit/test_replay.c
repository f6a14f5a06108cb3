/* A ledger that is folded from the disk: the same digest every time, wherever it is cut; and what the books' digest
 * takes for the same. */
#include <errno.h>
#include <sys/stat.h>

#include "folder.h"
#include "log/ledger.h"
#include "officer/digest.h"
#include "officer/replay.h"
#include "random_records.h"
#include "steps.h"

static char dir[FOLDER_BYTES], error[512];

static void begin(void)
{
	folder_new(dir, "replay");
}

static void end(void)
{
	folder_remove(dir);
}

TestSuite(replay, .init = begin, .fini = end);

/* Writes `count` random records and folds them as they are written. */
static void write_ledger(struct state *s, uint64_t seed, unsigned count)
{
	struct segment_log *l;
	const struct segment_options options = {.kind = SEGMENT_LEDGER, .segment_bytes = 100000};
	struct random_records r;

	state_init(s);
	random_init(&r, seed, s);
	cr_assert_eq(segment_open(dir, &options, &l, error, sizeof(error)), 0, "%s", error);
	for (unsigned i = 0; i < count; i++) {
		Isod__V1__Record *record = random_next(&r);
		state_apply(s, ledger_append(l, r.now, record), r.now, record, NULL);
		isod__v1__record__free_unpacked(record, NULL);
	}
	cr_assert_eq(segment_sync(l), 0);
	segment_close(l);
}

static void assert_digest(const struct state *a, const struct state *b)
{
	uint8_t x[SHA256_BYTES], y[SHA256_BYTES];

	state_digest(a, x);
	state_digest(b, y);
	cr_assert_arr_eq(x, y, SHA256_BYTES);
	state_books_digest(a, x);
	state_books_digest(b, y);
	cr_assert_arr_eq(x, y, SHA256_BYTES);
}

static uint64_t replay(struct state *s, uint64_t until)
{
	struct replay_facts facts;

	cr_assert_eq(replay_ledger(dir, s, NULL, until, &facts, error, sizeof(error)), 0, "%s",
	             error);
	return facts.records;
}

Test(replay, gives_the_state_that_was_folded_when_the_ledger_was_written)
{
	struct state live, again;

	write_ledger(&live, 1, 3001);
	state_init(&again);
	cr_assert_eq(replay(&again, UINT64_MAX), 3001);
	assert_digest(&live, &again);
	cr_assert_eq(replay(&again, UINT64_MAX), 0, "nothing is left");
	assert_digest(&live, &again);
	state_release(&again);
	state_release(&live);
}

Test(replay, can_be_stopped_anywhere_and_goes_on_from_there)
{
	struct state live, again;

	write_ledger(&live, 2, 1000);
	state_init(&again);
	cr_assert_eq(replay(&again, 0), 0);
	for (uint64_t until = 1; until < 1000; until += 1 + until / 3) {
		uint64_t before = again.sequence;
		cr_assert_eq(replay(&again, until), until - before);
		cr_assert_eq(again.sequence, until);
	}
	replay(&again, UINT64_MAX);
	assert_digest(&live, &again);
	state_release(&again);
	state_release(&live);
}

Test(replay, tells_the_chain_value_after_the_last_record)
{
	struct state live, again;
	struct replay_facts facts;
	struct segment_report report;

	write_ledger(&live, 3, 500);
	state_init(&again);
	cr_assert_eq(replay_ledger(dir, &again, NULL, UINT64_MAX, &facts, error, sizeof(error)), 0);
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), 0);
	cr_assert_arr_eq(facts.chain, report.chain, SHA256_BYTES);
	state_release(&again);
	state_release(&live);
}

Test(replay, stops_before_what_is_no_record_and_names_it)
{
	struct state live, again;
	struct replay_facts facts;
	struct segment_log *l;
	struct str junk = STR("\xff\xff");
	const struct segment_options options = {.kind = SEGMENT_LEDGER, .segment_bytes = 100000};

	write_ledger(&live, 4, 100);
	cr_assert_eq(segment_open(dir, &options, &l, error, sizeof(error)), 0, "%s", error);
	segment_append(l, T0, &junk, 1);
	segment_close(l);
	state_init(&again);
	cr_assert_eq(replay_ledger(dir, &again, NULL, UINT64_MAX, &facts, error, sizeof(error)),
	             -EBADMSG);
	cr_assert_not_null(strstr(error, "sequence 101"), "%s", error);
	cr_assert_eq(facts.records, 100);
	assert_digest(&live, &again);
	state_release(&again);
	state_release(&live);
}

/* ---- the books ---- */

static void books(const struct world *w, uint8_t ret[static SHA256_BYTES])
{
	state_books_digest(&w->state, ret);
}

/* The same matches of three attackers, `late` seconds later in the ledger and the first two in another order; killed
 * means that a Started stands between them. */
static void night(struct world *w, unsigned late, bool swapped, bool killed)
{
	static const char *const attackers[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};
	Isod__V1__Started started = ISOD__V1__STARTED__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	world_init(w);
	for (unsigned i = 0; i < 3; i++) {
		unsigned who = i < 2 && swapped ? 1 - i : i;
		w->now = T0 + NS_PER_MINUTE * who;
		w->evidence = who;
		Isod__V1__Match *m = match_new(w, "r1", HIGH, attackers[who], NULL, "web1");
		w->now = T0 + NS_PER_MINUTE * i + late * NS_PER_SECOND;
		world_match(w, m);
		record.body_case = ISOD__V1__RECORD__BODY_STARTED;
		record.started = &started;
		if (killed)
			world_apply(w, &record);
	}
}

Test(replay, the_books_are_the_same_whatever_the_ledger_did_in_between)
{
	struct world unbroken, broken;
	uint8_t a[SHA256_BYTES], b[SHA256_BYTES];

	night(&unbroken, 0, false, false);
	night(&broken, 100, true, true);
	books(&unbroken, a);
	books(&broken, b);
	cr_assert_arr_eq(a, b, SHA256_BYTES);
	state_digest(&unbroken.state, a);
	state_digest(&broken.state, b);
	cr_assert_neq(memcmp(a, b, SHA256_BYTES), 0);
	state_release(&unbroken.state);
	state_release(&broken.state);
}

Test(replay, the_books_are_others_when_a_match_is_missing_or_counted_twice)
{
	struct world w;
	uint8_t a[SHA256_BYTES], b[SHA256_BYTES], c[SHA256_BYTES];

	night(&w, 0, false, false);
	books(&w, a);
	w.evidence = 2;
	world_match(&w, match_new(&w, "r1", HIGH, "192.0.2.3", NULL, "web1"));
	books(&w, b);
	cr_assert_neq(memcmp(a, b, SHA256_BYTES), 0, "the third match twice");
	w.evidence = 7;
	world_match(&w, match_new(&w, "r1", HIGH, "192.0.2.3", NULL, "web1"));
	books(&w, c);
	cr_assert_neq(memcmp(b, c, SHA256_BYTES), 0, "and another one");
	state_release(&w.state);
}
