/* What waits for detection: whatever is written, however little of it fits into memory and whenever somebody asks, every
 * record is given exactly once and in order. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "folder.h"
#include "ingest/backlog.h"

struct rig {
	char dir[FOLDER_BYTES];
	struct segment_log *log;
	struct backlog backlog;
	uint64_t next, seed; /* the next sequence that must be given */
	char error[512];
};

static void rig_open(struct rig *r, size_t memory_max, uint64_t segment_bytes)
{
	const struct segment_options o = {.kind = SEGMENT_EVIDENCE, .segment_bytes = segment_bytes};

	*r = (struct rig){.next = 1, .seed = 88172645463325252};
	folder_new(r->dir, "backlog");
	cr_assert_eq(segment_open(r->dir, &o, &r->log, r->error, sizeof(r->error)), 0);
	backlog_init(&r->backlog, r->log, memory_max);
}

static void rig_close(struct rig *r)
{
	backlog_release(&r->backlog);
	segment_close(r->log);
	folder_remove(r->dir);
}

static uint64_t random_below(struct rig *r, uint64_t n)
{
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 7;
	r->seed ^= r->seed << 17;
	return r->seed % n;
}

/* A record that tells its sequence at its end. */
static void put(struct rig *r, size_t filling)
{
	char number[24], *body = xcalloc(1, filling + 1);
	int n = snprintf(number, sizeof(number), "%" PRIu64, segment_next(r->log));
	const struct str parts[] = {{body, filling}, {number, (size_t)n}};

	segment_append(r->log, segment_next(r->log) * 10, parts, 2);
	free(body);
}

static void put_many(struct rig *r, size_t count, size_t filling)
{
	for (size_t i = 0; i < count; i++)
		put(r, filling);
	cr_assert_eq(segment_flush(r->log), 0);
}

/* Asks once; true if that gave the record that must come next. */
static bool take(struct rig *r)
{
	struct record record;
	char number[24];
	int e;

	while ((e = backlog_next(&r->backlog, &record, r->error, sizeof(r->error))) == -EAGAIN)
		continue;
	cr_assert_geq(e, 0, "%s", r->error);
	if (e == 0)
		return false;
	int n = snprintf(number, sizeof(number), "%" PRIu64, r->next);
	cr_assert_eq(record.sequence, r->next);
	cr_assert_eq(record.time_ns, r->next * 10);
	cr_assert_eq(r->backlog.oldest_ns, r->next * 10);
	cr_assert_geq(record.body.n, (size_t)n);
	cr_assert_eq(memcmp(record.body.p + record.body.n - n, number, (size_t)n), 0);
	r->next++;
	return true;
}

static void take_all(struct rig *r)
{
	while (take(r))
		continue;
	cr_expect_eq(r->next, segment_next(r->log));
	cr_expect(backlog_is_empty(&r->backlog));
	cr_expect_eq(r->backlog.bytes, 0);
	cr_expect_eq(r->backlog.oldest_ns, 0);
	cr_expect_not(r->backlog.on_disk);
}

Test(backlog, what_is_written_is_given_from_memory)
{
	struct rig r;

	rig_open(&r, 1 << 20, 1 << 24);
	cr_expect_not(take(&r));
	put(&r, 10);
	cr_expect_not(take(&r), "it is not written");
	cr_assert_eq(segment_flush(r.log), 0);
	cr_expect_eq(r.backlog.oldest_ns, 10);
	cr_expect_gt(r.backlog.bytes, 10);
	take_all(&r);
	put_many(&r, 1000, 100);
	cr_assert_eq(segment_sync(r.log), 0); /* a seal is nobody's record */
	put_many(&r, 1, 100);
	cr_expect_not(r.backlog.on_disk);
	take_all(&r);
	cr_expect_null(r.backlog.reader);
	rig_close(&r);
}

Test(backlog, what_memory_has_no_room_for_comes_from_the_disk_and_then_from_memory_again)
{
	struct rig r;

	rig_open(&r, 256 << 10, 1 << 20);
	for (size_t i = 0; i < 100; i++)
		put_many(&r, 100, 1000);
	cr_expect(r.backlog.on_disk);
	cr_expect_leq(r.backlog.memory, 256 << 10);
	cr_expect_geq(r.backlog.bytes, 10000 * 1000);
	for (size_t i = 0; i < 5000; i++)
		cr_assert(take(&r));
	cr_expect_not_null(r.backlog.reader);
	put_many(&r, 100, 1000);
	take_all(&r);
	put_many(&r, 10, 1000);
	cr_expect_not(r.backlog.on_disk);
	take_all(&r);
	cr_expect_null(r.backlog.reader);
	rig_close(&r);
}

Test(backlog, small_writes_share_a_buffer)
{
	struct rig r;

	rig_open(&r, 1 << 20, 1 << 24);
	put_many(&r, 1000, 100);
	for (size_t i = 0; i < 200; i++)
		put_many(&r, 1, 100);
	cr_expect_not(r.backlog.on_disk);
	cr_expect_lt(r.backlog.memory, 512 << 10);
	take_all(&r);
	rig_close(&r);
}

/* Any sizes, in any order, against what must come: the one true order. */
Test(backlog, at_random_nothing_is_lost_and_nothing_comes_twice)
{
	static const size_t memories[] = {0, 1, 4096, 100000, 4 << 20};

	for (size_t m = 0; m < sizeof(memories) / sizeof(memories[0]); m++) {
		struct rig r;
		rig_open(&r, memories[m], 300000);
		r.seed += m;
		for (size_t i = 0; i < 3000; i++) {
			uint64_t n = random_below(&r, 60);
			for (uint64_t k = 0; k < n; k++)
				put(&r, random_below(&r, random_below(&r, 20) ? 300 : 100000));
			if (random_below(&r, 3) == 0)
				cr_assert_eq(segment_sync(r.log), 0);
			else if (random_below(&r, 4))
				cr_assert_eq(segment_flush(r.log), 0);
			n = random_below(&r, random_below(&r, 10) ? 40 : 1000);
			while (n-- && take(&r))
				continue;
		}
		cr_assert_eq(segment_flush(r.log), 0);
		take_all(&r);
		rig_close(&r);
	}
}

Test(backlog, damage_is_told_and_the_next_segment_goes_on)
{
	struct rig r;
	struct record record;
	char path[FOLDER_BYTES + 32];
	size_t given = 0;
	int e, told = 0;

	rig_open(&r, 0, 64 << 10);
	put_many(&r, 1, 10); /* in memory: what follows is not */
	for (size_t i = 0; i < 300; i++)
		put_many(&r, 10, 100);
	uint64_t *firsts = NULL;
	size_t count = 0;
	cr_assert_eq(segment_firsts(r.dir, &firsts, &count), 0);
	cr_assert_geq(count, 3);
	snprintf(path, sizeof(path), "%s/%020" PRIu64 ".log", r.dir, firsts[1]);
	int fd = open(path, O_WRONLY);
	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, "flipped", 7, 20000), 7);
	close(fd);
	uint64_t last = 0;
	while ((e = backlog_next(&r.backlog, &record, r.error, sizeof(r.error))) != 0) {
		if (e == -EBADMSG) {
			told++;
			cr_expect_eq(record.sequence, last);
			cr_expect_not_null(strstr(r.error, "checksum"), "%s", r.error);
		}
		if (e != 1)
			continue;
		cr_assert_gt(record.sequence, last);
		cr_expect(record.sequence == last + 1 || record.sequence == firsts[2]);
		last = record.sequence;
		given++;
	}
	cr_expect_eq(told, 1);
	cr_expect_eq(last, 3001);
	cr_expect_lt(given, 3001);
	cr_expect_gt(given, 3001 - (firsts[2] - firsts[1]));
	free(firsts);
	rig_close(&r);
}
