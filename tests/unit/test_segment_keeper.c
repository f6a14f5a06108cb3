/* The keeper: what is compressed when, what is removed and what never, and that what is left is a sound log. Times are
 * given, nothing waits. */
#include "segment_rig.h"

#include <pthread.h>

#include "base/clock.h"
#include "log/keeper.h"

#define DAY NS_PER_DAY

TestSuite(segment_keeper, .init = begin, .fini = end);

static struct keeper_options options;
static struct keeper *keeper;
static uint64_t counted, held;
static struct keeper_outcome last; /* of the first log */
static bool over;

static void ignore(void *arg, struct keeper_job *job)
{
	(void)arg;
	keeper_job_free(job);
}

/* `days` days of a log, a segment a day, its records at noon. Day 1 is 1970-01-02. */
static void write_days(const char *folder, enum segment_kind kind, unsigned days)
{
	struct segment_log *l = NULL;
	char big[2000] = {0};
	struct str body = str_make(big, sizeof(big));

	cr_assert_eq(segment_open(folder, &(struct segment_options){kind, 4000}, &l, error,
	                          sizeof(error)),
	             0);
	for (unsigned day = 1; day <= days; day++) {
		for (int i = 0; i < 3; i++)
			segment_append(l, day * DAY + DAY / 2, &body, 1);
		cr_assert_eq(segment_sync(l), 0);
	}
	segment_close(l);
}

static void setup(enum segment_kind kind, struct keeper_policy policy)
{
	options = (struct keeper_options){.done = ignore};
	options.policies[kind] = policy;
	keeper_free(keeper);
	cr_assert_eq(keeper_new(&options, &keeper), 0);
	counted = UINT64_MAX;
	held = UINT64_MAX;
}

static void pass_at(enum segment_kind kind, uint64_t now, uint64_t mono, bool limits)
{
	struct keeper_job *job = keeper_job_new();

	job->limits = limits;
	keeper_job_add(job, kind, xstrdup(dir), counted, held);
	keeper_pass(keeper, job, now, mono);
	last = job->outcomes[0];
	over = job->over[kind];
	cr_assert_eq(job->wants_limits && limits, false);
	keeper_job_free(job);
}

/* A pass on day `day`, at noon. */
static void pass(enum segment_kind kind, unsigned day)
{
	pass_at(kind, day * DAY + DAY / 2, day * DAY, true);
}

/* What is left begins at `first` and is sound. */
static void left_from(enum segment_kind kind, uint64_t first)
{
	struct segment_report report;

	cr_assert_eq(segment_verify(dir, kind, &report), 0, "%s", report.error);
	cr_assert_eq(report.first, first, "%" PRIu64, report.first);
}

Test(segment_keeper, what_is_older_than_retention_goes)
{
	write_days(dir, SEGMENT_EVIDENCE, 10);
	setup(SEGMENT_EVIDENCE, (struct keeper_policy){.keep_ns = 5 * DAY});
	pass(SEGMENT_EVIDENCE, 6);
	left_from(SEGMENT_EVIDENCE, 1);
	/* Day 2 began at the noon of day 2: by the noon of day 7 all of day 1 is older than 5 days. */
	pass(SEGMENT_EVIDENCE, 7);
	cr_assert_eq(last.removed, 1);
	cr_assert_eq(last.removed_early, 0);
	cr_assert(last.first == 1 && last.last == 3);
	cr_assert_gt(last.removed_bytes, 6000);
	left_from(SEGMENT_EVIDENCE, 4);
	pass(SEGMENT_EVIDENCE, 10);
	cr_assert_eq(last.removed, 3);
	left_from(SEGMENT_EVIDENCE, 13);
	/* However old it is, the newest stays: the writer has it. */
	pass(SEGMENT_EVIDENCE, 10000);
	left_from(SEGMENT_EVIDENCE, 28);
	keeper_free(keeper);
	struct segment_log *l = open_log(SEGMENT_EVIDENCE, 4000);
	cr_assert_eq(segment_next(l), 31);
	segment_close(l);
}

Test(segment_keeper, what_is_not_counted_never_goes)
{
	write_days(dir, SEGMENT_EVIDENCE, 10);
	setup(SEGMENT_EVIDENCE, (struct keeper_policy){.keep_ns = DAY, .keep_bytes = 1});
	counted = 0;
	pass(SEGMENT_EVIDENCE, 100);
	cr_assert(last.removed == 0 && over);
	/* Day 2 is sequences 4, 5 and 6. */
	counted = 5;
	pass(SEGMENT_EVIDENCE, 100);
	cr_assert(last.removed == 1 && over);
	left_from(SEGMENT_EVIDENCE, 4);
	counted = 6;
	pass(SEGMENT_EVIDENCE, 100);
	left_from(SEGMENT_EVIDENCE, 7);
	pass_at(SEGMENT_EVIDENCE, 101 * DAY, 101 * DAY, false);
	cr_assert_eq(last.removed, 0, "without limits nothing goes");
	keeper_free(keeper);
}

Test(segment_keeper, evidence_of_an_open_incident_outlives_its_age)
{
	write_days(dir, SEGMENT_EVIDENCE, 10);
	setup(SEGMENT_EVIDENCE, (struct keeper_policy){.keep_ns = DAY});
	held = 9; /* the last of day 3 */
	pass(SEGMENT_EVIDENCE, 100);
	cr_assert(last.removed == 2 && last.held);
	left_from(SEGMENT_EVIDENCE, 7);
	held = UINT64_MAX;
	pass(SEGMENT_EVIDENCE, 100);
	cr_assert(last.removed > 2 && !last.held);
	keeper_free(keeper);
}

Test(segment_keeper, size_comes_before_age_and_before_incidents)
{
	write_days(dir, SEGMENT_EVIDENCE, 10);
	setup(SEGMENT_EVIDENCE, (struct keeper_policy){.keep_ns = 365 * DAY, .keep_bytes = 31000});
	held = 2;
	uint64_t stored;
	pass(SEGMENT_EVIDENCE, 11);
	cr_assert_eq(segment_stored(dir, &stored), 0);
	cr_assert_leq(stored, 31000);
	cr_assert_gt(stored, 24000, "and no more than needed");
	cr_assert_eq(last.removed_early, last.removed);
	cr_assert_gt(last.removed, 3);
	cr_assert_not(over);
	left_from(SEGMENT_EVIDENCE, 3 * last.removed + 1);
	keeper_free(keeper);
}

Test(segment_keeper, size_takes_the_oldest_of_all_logs)
{
	char *other = xasprintf("%s-2", dir);
	struct segment_info a, b;

	write_days(dir, SEGMENT_EVIDENCE, 10);
	write_days(other, SEGMENT_EVIDENCE, 6);
	setup(SEGMENT_EVIDENCE, (struct keeper_policy){.keep_bytes = 50000});
	struct keeper_job *job = keeper_job_new();
	job->limits = true;
	keeper_job_add(job, SEGMENT_EVIDENCE, xstrdup(dir), UINT64_MAX, UINT64_MAX);
	keeper_job_add(job, SEGMENT_EVIDENCE, other, UINT64_MAX, UINT64_MAX);
	keeper_pass(keeper, job, 20 * DAY, 20 * DAY);
	cr_assert_gt(job->outcomes[0].removed, 0);
	cr_assert_gt(job->outcomes[1].removed, 0);
	cr_assert_eq(segment_oldest(dir, SEGMENT_EVIDENCE, &a), 1);
	cr_assert_eq(segment_oldest(other, SEGMENT_EVIDENCE, &b), 1);
	int64_t apart = (int64_t)(a.ended_ns - b.ended_ns);
	cr_assert(apart >= -(int64_t)DAY && apart <= (int64_t)DAY);
	keeper_job_free(job);
	keeper_free(keeper);
}

Test(segment_keeper, at_hand_for_so_long_then_compressed)
{
	struct segment_report report;

	write_days(dir, SEGMENT_EVIDENCE, 10);
	setup(SEGMENT_EVIDENCE,
	      (struct keeper_policy){.level = 3, .at_hand_ns = 4 * DAY, .keep_ns = 8 * DAY});
	pass(SEGMENT_EVIDENCE, 5);
	cr_assert_eq(last.packed, 0);
	pass(SEGMENT_EVIDENCE, 8);
	cr_assert_eq(last.packed, 3);
	cr_assert_lt(last.bytes_after * 4, last.bytes_before);
	pass(SEGMENT_EVIDENCE, 11);
	cr_assert(last.packed == 3 && last.removed == 2, "%d %d", (int)last.packed,
	          (int)last.removed);
	cr_assert_eq(segment_verify(dir, SEGMENT_EVIDENCE, &report), 0, "%s", report.error);
	cr_assert_eq(report.compressed, 4);
	keeper_free(keeper);
}

Test(segment_keeper, a_clock_that_jumps_forward_empties_nothing)
{
	write_days(dir, SEGMENT_EVIDENCE, 10);
	setup(SEGMENT_EVIDENCE, (struct keeper_policy){.keep_ns = 30 * DAY});
	pass_at(SEGMENT_EVIDENCE, 11 * DAY, 1000 * NS_PER_SECOND, true);
	pass_at(SEGMENT_EVIDENCE, 5000 * DAY, 1005 * NS_PER_SECOND, true);
	pass_at(SEGMENT_EVIDENCE, 5000 * DAY + 1, 20 * NS_PER_HOUR, true);
	left_from(SEGMENT_EVIDENCE, 1);
	/* Set right again, and jumped again: another day. */
	pass_at(SEGMENT_EVIDENCE, 11 * DAY + 21 * NS_PER_HOUR, 21 * NS_PER_HOUR, true);
	pass_at(SEGMENT_EVIDENCE, 5000 * DAY + 2, 22 * NS_PER_HOUR, true);
	pass_at(SEGMENT_EVIDENCE, 5000 * DAY + 2, 45 * NS_PER_HOUR, true);
	left_from(SEGMENT_EVIDENCE, 1);
	pass_at(SEGMENT_EVIDENCE, 5000 * DAY + 2, 47 * NS_PER_HOUR, true);
	left_from(SEGMENT_EVIDENCE, 28);
	keeper_free(keeper);
}

Test(segment_keeper, a_ledger_tells_where_it_begins)
{
	struct segment_report before, report;
	struct segment_reader *r;
	struct record record;

	write_days(dir, SEGMENT_LEDGER, 10);
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &before), 0);
	setup(SEGMENT_LEDGER, (struct keeper_policy){.level = 3, .keep_ns = DAY});
	counted = 14;
	pass(SEGMENT_LEDGER, 100);
	cr_assert_eq(last.removed, 4);
	left_from(SEGMENT_LEDGER, 13);
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), 0);
	cr_assert_arr_eq(report.chain, before.chain, SHA256_BYTES);
	/* Whoever needs what is gone is told so. */
	for (uint64_t from = 1; from <= 13; from += 12) {
		cr_assert_eq(
			segment_reader_open(dir, SEGMENT_LEDGER, from, &r, error, sizeof(error)),
			0);
		int e = segment_read(r, &record, error, sizeof(error));
		cr_assert_eq(e, from == 1 ? -EBADMSG : 1, "%s", error);
		cr_assert(from == 13 || strstr(error, "was removed"), "%s", error);
		segment_reader_close(r);
	}
	struct segment_log *l = open_log(SEGMENT_LEDGER, 4000);
	append(l, 1);
	segment_close(l);
	left_from(SEGMENT_LEDGER, 13);
	/* What is lost beyond that is damage, and so is another beginning. */
	char *first = packed_path(13), *kept = xasprintf("%s.kept", first);
	cr_assert_eq(rename(first, kept), 0);
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), -EBADMSG);
	cr_assert(strstr(report.error, "the ledger's beginning is missing"), "%s", report.error);
	cr_assert_eq(rename(kept, first), 0);
	char *begins = xasprintf("%s/begins", dir);
	struct buf text = path_content(begins);
	for (size_t i = 0; i < text.n; i++) {
		text.p[i] ^= 1;
		put_path(begins, buf_str(&text));
		text.p[i] ^= 1;
		int e = segment_verify(dir, SEGMENT_LEDGER, &report);
		cr_assert_eq(e, -EBADMSG, "byte %zu", i);
	}
	unlink(begins);
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), -EBADMSG);
	buf_release(&text);
	free(begins);
	free(first);
	free(kept);
	keeper_free(keeper);
}

/* `begins` is on the disk before anything goes. */
Test(segment_keeper, a_crash_while_a_ledger_is_shortened)
{
	struct segment_info info;

	write_days(dir, SEGMENT_LEDGER, 4);
	struct buf content = file_content(1);
	cr_assert_eq(segment_oldest(dir, SEGMENT_LEDGER, &info), 1);
	cr_assert_eq(segment_remove(dir, SEGMENT_LEDGER, &info, error, sizeof(error)), 0);
	left_from(SEGMENT_LEDGER, 4);
	put_file(1, buf_str(&content));
	left_from(SEGMENT_LEDGER, 1);
	buf_release(&content);
}

/* What `begins` tells is held against the segments also while they are all there. */
Test(segment_keeper, a_beginning_that_is_not_there_is_damage)
{
	struct segment_report report;

	write_days(dir, SEGMENT_LEDGER, 4);
	char *begins = xasprintf("%s/begins", dir), *text;
	const struct {
		const char *first, *error;
	} wrong[] = {{"7", "`begins` tells another chain value before it"},
	             {"8", "begins: no segment begins with sequence 8"},
	             {"99", "begins: no segment begins with sequence 99"},
	             {"x", "begins: this is no line"}};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		text = xasprintf("ISODLOG1 begins %s %064d\n", wrong[i].first, 1);
		put_path(begins, str_of(text));
		cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), -EBADMSG, "%s",
		             wrong[i].first);
		cr_assert(strstr(report.error, wrong[i].error), "%s", report.error);
		free(text);
	}
	free(begins);
}

Test(segment_keeper, damage_is_told_once_and_the_rest_goes_on)
{
	write_days(dir, SEGMENT_EVIDENCE, 6);
	struct buf content = file_content(4);
	content.p[500] ^= 4;
	put_file(4, buf_str(&content));
	setup(SEGMENT_EVIDENCE, (struct keeper_policy){.level = 3});
	pass(SEGMENT_EVIDENCE, 10);
	cr_assert_eq(last.damaged, 1);
	cr_assert_geq(last.packed, 4);
	cr_assert(strstr(last.error, "00000000000000000004.log"), "%s", last.error);
	pass(SEGMENT_EVIDENCE, 11);
	cr_assert_eq(last.damaged, 0);
	buf_release(&content);
	keeper_free(keeper);
}

/* ---- the thread ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
static struct keeper_job *finished;

static void finish(void *arg, struct keeper_job *job)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	finished = job;
	pthread_cond_signal(&told);
	pthread_mutex_unlock(&lock);
}

Test(segment_keeper, the_thread_does_its_jobs_and_ends)
{
	const struct keeper_options o = {.policies = {[SEGMENT_EVIDENCE] = {.level = 3}},
	                                 .done = finish};
	struct segment_report report;

	write_days(dir, SEGMENT_EVIDENCE, 6);
	cr_assert_eq(keeper_new(&o, &keeper), 0);
	for (int turn = 0; turn < 3; turn++) {
		struct keeper_job *job = keeper_job_new();
		keeper_job_add(job, SEGMENT_EVIDENCE, xstrdup(dir), 0, 0);
		cr_assert(keeper_run(keeper, job));
		pthread_mutex_lock(&lock);
		while (!finished)
			pthread_cond_wait(&told, &lock);
		cr_assert_eq(finished, job);
		cr_assert_eq(job->outcomes[0].packed > 0, turn == 0);
		finished = NULL;
		pthread_mutex_unlock(&lock);
		keeper_job_free(job);
	}
	/* Ended with a job at hand: nothing is left half-done. */
	struct keeper_job *job = keeper_job_new();
	keeper_job_add(job, SEGMENT_EVIDENCE, xstrdup(dir), 0, 0);
	cr_assert(keeper_run(keeper, job));
	keeper_free(keeper);
	keeper_job_free(finished);
	cr_assert_eq(segment_verify(dir, SEGMENT_EVIDENCE, &report), 0, "%s", report.error);
	cr_assert_eq(report.records, 18);
}
