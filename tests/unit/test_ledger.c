/* The ledger: records in, the same records out, what is no record is named. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "folder.h"
#include "log/ledger.h"

static char dir[FOLDER_BYTES], error[512];

static void begin(void)
{
	log_setup(LOG_TO_STDERR, LOG_EMERG, "test_ledger");
	folder_new(dir, "ledger");
}

static void end(void)
{
	folder_remove(dir);
}

TestSuite(ledger, .init = begin, .fini = end);

static struct segment_log *open_log(void)
{
	struct segment_log *l;
	int r = segment_open(dir, &(struct segment_options){SEGMENT_LEDGER, 2000}, &l, error,
	                     sizeof(error));
	cr_assert_eq(r, 0, "%s", error);
	return l;
}

static uint64_t append_refusal(struct segment_log *l, uint64_t time_ns, const char *user)
{
	Isod__V1__Refusal refusal = ISOD__V1__REFUSAL__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	refusal.user = (char *)(uintptr_t)user;
	record.body_case = ISOD__V1__RECORD__BODY_REFUSAL;
	record.refusal = &refusal;
	return ledger_append(l, time_ns, &record);
}

struct seen {
	uint64_t count, first, last;
	uint64_t stop_at;
};

static int visit(void *arg, uint64_t sequence, uint64_t time_ns, const Isod__V1__Record *record)
{
	struct seen *s = arg;
	char user[32];

	snprintf(user, sizeof(user), "user %llu", (unsigned long long)sequence);
	cr_assert_eq(time_ns, 10 * sequence);
	cr_assert_eq(record->body_case, ISOD__V1__RECORD__BODY_REFUSAL);
	cr_assert_str_eq(record->refusal->user, user);
	if (s->count++ == 0)
		s->first = sequence;
	s->last = sequence;
	return sequence == s->stop_at ? -ECANCELED : 0;
}

static void fill(unsigned count)
{
	struct segment_log *l = open_log();
	char user[32];

	for (unsigned i = 1; i <= count; i++) {
		snprintf(user, sizeof(user), "user %u", i);
		cr_assert_eq(append_refusal(l, 10 * (uint64_t)i, user), i);
		if (i % 10 == 0)
			cr_assert_eq(segment_sync(l), 0);
	}
	segment_close(l);
}

Test(ledger, records_come_back_in_order_from_any_sequence)
{
	fill(200);
	for (uint64_t from = 0; from <= 201; from += 67) {
		struct seen s = {0};
		cr_assert_eq(ledger_read(dir, from, visit, &s, error, sizeof(error)), 0, "%s",
		             error);
		cr_assert_eq(s.first, from == 201 ? 0 : from == 0 ? 1 : from);
		cr_assert_eq(s.count, from == 201 ? 0 : 201 - s.first);
	}
}

Test(ledger, the_visitor_ends_the_reading)
{
	struct seen s = {.stop_at = 33};

	fill(100);
	cr_assert_eq(ledger_read(dir, 0, visit, &s, error, sizeof(error)), -ECANCELED);
	cr_assert_eq(s.last, 33);
}

Test(ledger, a_missing_folder_is_an_error)
{
	struct seen s = {0};

	cr_assert_eq(ledger_read("/nowhere/ledger", 0, visit, &s, error, sizeof(error)), -ENOENT);
	cr_assert(strstr(error, "/nowhere/ledger"));
}

Test(ledger, a_body_that_is_no_record_is_named)
{
	struct segment_log *l = open_log();
	struct seen s = {0};
	struct str rubbish = STR("\xff\xff\xff");

	append_refusal(l, 10, "user 1");
	segment_append(l, 20, &rubbish, 1);
	append_refusal(l, 30, "user 3");
	segment_close(l);
	cr_assert_eq(ledger_read(dir, 0, visit, &s, error, sizeof(error)), -EBADMSG);
	cr_assert(strstr(error, "sequence 2"), "%s", error);
	cr_assert_eq(s.count, 1);
}

Test(ledger, damage_is_told_after_all_that_is_before_it)
{
	struct seen s = {0};
	char path[128];

	fill(50);
	snprintf(path, sizeof(path), "%s/00000000000000000001.log", dir);
	FILE *f = fopen(path, "r+");
	cr_assert(f);
	fseek(f, 1000, SEEK_SET);
	int c = getc(f);
	fseek(f, 1000, SEEK_SET);
	putc(c ^ 1, f);
	fclose(f);
	cr_assert_eq(ledger_read(dir, 0, visit, &s, error, sizeof(error)), -EBADMSG);
	char sequence[64];
	snprintf(sequence, sizeof(sequence), "sequence %llu:", (unsigned long long)s.last + 1);
	cr_assert(strstr(error, sequence), "%s", error);
}
