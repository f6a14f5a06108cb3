/* The body of an evidence record: what goes in comes out, and no bytes harm the parser. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "folder.h"
#include "log/evidence.h"

static char dir[FOLDER_BYTES];

static void begin(void)
{
	folder_new(dir, "evidence");
}

static void end(void)
{
	folder_remove(dir);
}

TestSuite(evidence, .init = begin, .fini = end);

static struct segment_log *open_log(void)
{
	struct segment_log *l;
	char error[256];
	int r = segment_open(dir, &(struct segment_options){SEGMENT_EVIDENCE, 1 << 20}, &l, error,
	                     sizeof(error));
	cr_assert_eq(r, 0, "%s", error);
	return l;
}

Test(evidence, frames_come_back_exactly_as_they_arrived)
{
	static const char nul[] = "<13>a\0b\xff\xfe\n\r\x1b";
	char long_source[400];
	memset(long_source, 's', sizeof(long_source));
	const struct evidence in[] = {
		{STR("tls/192.0.2.1"), 0, STR("<34>1 - - - - - - hello"), 0, 0, 0, STR_NONE, NULL,
	         STR_NONE, 0},
		{STR("hec/t@192.0.2.1"), EVIDENCE_META, STR("{}"), 0, 0, 0, STR("hec/event"), NULL,
	         STR_NONE, 0},
		{STR("hec/t@192.0.2.1"), EVIDENCE_META, STR(""), 0, 0, 0, STR(""), NULL, STR_NONE,
	         0},
		{STR("producer/a"), EVIDENCE_META | EVIDENCE_NUMBERED | EVIDENCE_TRUNCATED,
	         STR("both"), 7, 0, 0, STR("meta"), NULL, STR_NONE, 0},
		{STR("udp/[2001:db8::1]"), EVIDENCE_TRUNCATED, str_make(nul, sizeof(nul)), 0, 0, 0,
	         STR_NONE, NULL, STR_NONE, 0},
		{STR(""), 0, STR(""), 0, 0, 0, STR_NONE, NULL, STR_NONE, 0},
		{STR_NONE, 0, STR_NONE, 0, 0, 0, STR_NONE, NULL, STR_NONE, 0},
		{STR("producer/a"), EVIDENCE_NUMBERED, STR("numbered"), 0x1122334455667788, 0, 0,
	         STR_NONE, NULL, STR_NONE, 0},
		{STR("producer/a"), EVIDENCE_NUMBERED | EVIDENCE_TRUNCATED, STR(""), UINT64_MAX, 0,
	         0, STR_NONE, NULL, STR_NONE, 0},
		{str_make(long_source, sizeof(long_source)), 0, STR("x"), 0, 0, 0, STR_NONE, NULL,
	         STR_NONE, 0},
	};
	struct segment_log *l = open_log();
	struct segment_reader *r;
	struct record record;
	struct evidence out;
	char error[256];

	for (size_t i = 0; i < ARRAY_LEN(in); i++)
		cr_assert_eq(evidence_append(l, 100 + i, &in[i]), i + 1);
	segment_close(l);
	cr_assert_eq(segment_reader_open(dir, SEGMENT_EVIDENCE, 0, &r, error, sizeof(error)), 0);
	for (size_t i = 0; i < ARRAY_LEN(in); i++) {
		cr_assert_eq(segment_read(r, &record, error, sizeof(error)), 1);
		cr_assert_eq(record.time_ns, 100 + i);
		cr_assert_eq(evidence_parse(record.body, &out), 0);
		cr_assert(str_eq(out.source, str_head(in[i].source, 255)));
		cr_assert_eq(out.flags, in[i].flags);
		cr_assert(str_eq(out.frame, in[i].frame));
		cr_assert_eq(out.sequence, in[i].sequence);
		cr_assert(str_eq(out.meta, in[i].meta));
	}
	cr_assert_eq(segment_read(r, &record, error, sizeof(error)), 0);
	segment_reader_close(r);
}

Test(evidence, a_frame_past_the_records_limit_is_cut_and_marked)
{
	size_t n = RECORD_BODY_MAX + 5;
	char *frame = xcalloc(1, n), error[256];
	struct segment_log *l = open_log();
	struct segment_reader *r;
	struct record record;
	struct evidence out;

	evidence_append(l, 1,
	                &(struct evidence){.source = STR("tcp/x"), .frame = str_make(frame, n)});
	segment_close(l);
	free(frame);
	cr_assert_eq(segment_reader_open(dir, SEGMENT_EVIDENCE, 0, &r, error, sizeof(error)), 0);
	cr_assert_eq(segment_read(r, &record, error, sizeof(error)), 1);
	cr_assert_eq(evidence_parse(record.body, &out), 0);
	cr_assert_eq(out.flags, EVIDENCE_TRUNCATED);
	cr_assert_eq(out.frame.n, RECORD_BODY_MAX - 4 - 5);
	segment_reader_close(r);
}

Test(evidence, a_loss_comes_back_with_its_reason_and_nothing_else)
{
	const struct evidence in[] = {
		{.source = STR("udp/(kernel)"),
	         .flags = EVIDENCE_LOSS,
	         .loss = LOSS_KERNEL,
	         .lost = 0x1122334455667788},
		{.source = STR(""), .flags = EVIDENCE_LOSS, .loss = LOSS_UNKNOWN, .lost = 0},
	};
	struct segment_log *l = open_log();
	struct segment_reader *r;
	struct record record;
	struct evidence out;
	char error[256];

	for (size_t i = 0; i < ARRAY_LEN(in); i++)
		evidence_append(l, 100, &in[i]);
	segment_close(l);
	cr_assert_eq(segment_reader_open(dir, SEGMENT_EVIDENCE, 0, &r, error, sizeof(error)), 0);
	for (size_t i = 0; i < ARRAY_LEN(in); i++) {
		cr_assert_eq(segment_read(r, &record, error, sizeof(error)), 1);
		cr_assert_eq(evidence_parse(record.body, &out), 0);
		cr_assert(str_eq(out.source, in[i].source));
		cr_assert_eq(out.flags, EVIDENCE_LOSS);
		cr_assert_eq(out.loss, in[i].loss);
		cr_assert_eq(out.lost, in[i].lost);
		cr_assert_eq(out.frame.n, 0);
	}
	segment_reader_close(r);
	cr_assert(loss_is_shed(LOSS_KERNEL) && loss_is_shed(LOSS_OWN_EVENTS));
	cr_assert(!loss_is_shed(LOSS_FRAMING) && !loss_is_shed(LOSS_UNKNOWN));
}

Test(evidence, what_is_no_evidence_is_refused)
{
	static const struct str bad[] = {
		{NULL, 0},
		{"\1", 1},
		{"\1\0\0", 3},
		{"\2\0\0\0", 4},
		{"\0\0\0\0", 4},
		{"\1\0\1\0", 4},
		{"\1\2\0\0 1234567", 12},
		{"\2\0\0\0 1234567", 12},
		{"\2\2\0\0 234567", 11},
		{"\2\2\1\0 1234567", 12},
		{"\3\2\0\0 1234567", 12},
		{"\1\0\2\0x", 5},
		{"\1\0\xff\xff xxxxxxxxx", 13},
		/* Losses: of version 1, too short, too long, and of a frame with a number. */
		{"\1\4\0\0 123456789012", 16},
		{"\2\4\0\0 1234567890", 15},
		{"\2\4\0\0 123456789012", 17},
		{"\2\6\0\0 12345678901", 16},
		/* What came around it: of version 1, longer than there is, longer than there may be. */
		{"\1\10\0\0\0\0x", 7},
		{"\2\10\0\0\0", 5},
		{"\2\10\0\0\3\0xx", 8},
	};
	struct evidence out = {.flags = 77};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		cr_assert_eq(evidence_parse(bad[i], &out), -EBADMSG, "case %zu", i);
		cr_assert_eq(out.flags, 77);
	}
	cr_assert_eq(evidence_parse(STR("\2\2\0\0\1\0\0\0\0\0\0\0"), &out), 0);
	cr_assert_eq(out.sequence, 1);
	cr_assert_eq(out.frame.n, 0);
	cr_assert_eq(evidence_parse(str_make("\1\0\0\0", 4), &out), 0);
	cr_assert_eq(out.sequence, 0);
	cr_assert_eq(out.frame.n, 0);
	cr_assert_eq(out.source.n, 0);
	cr_assert_eq(evidence_parse(str_make("\2\10\0\0\1\0xy", 8), &out), 0);
	cr_assert(str_eq(out.meta, STR("x")));
	cr_assert(str_eq(out.frame, STR("y")));
}

/* ---- who sent it ---- */

static char first_identity[] = "web-1", other_identity[] = "db-1";

/* Appends `count` frames of the peer, and reads all that there is from `from` on: how many frames of each are known. */
static void append_many(struct segment_log *l, struct evidence_peer *p, size_t count)
{
	for (size_t i = 0; i < count; i++)
		evidence_append(
			l, 1,
			&(struct evidence){.source = STR("tls/x"), .frame = STR("f"), .peer = p});
}

struct known {
	size_t first, other, unknown, told;
};

static struct known read_peers(uint64_t from)
{
	struct evidence_peers *peers = evidence_peers_new();
	struct known k = {0};
	struct segment_reader *r;
	struct record record;
	struct evidence e;
	char error[256];

	cr_assert_eq(segment_reader_open(dir, SEGMENT_EVIDENCE, evidence_peers_begin(dir, from), &r,
	                                 error, sizeof(error)),
	             0);
	while (segment_read(r, &record, error, sizeof(error)) == 1) {
		cr_assert_eq(evidence_parse(record.body, &e), 0);
		cr_assert(str_eq(e.frame, STR("f")));
		cr_assert_eq(e.flags & EVIDENCE_PEER, EVIDENCE_PEER);
		k.told += e.identity.n > 0;
		evidence_peers_note(peers, record.sequence, &e);
		if (record.sequence < from)
			continue;
		k.first += str_eq(e.identity, str_of(first_identity));
		k.other += str_eq(e.identity, str_of(other_identity));
		k.unknown += e.identity.n == 0;
	}
	segment_reader_close(r);
	evidence_peers_free(peers);
	return k;
}

Test(evidence, an_identity_is_told_seldom_and_known_always)
{
	struct evidence_peer first = {.identity = str_of(first_identity)},
			     other = {.identity = str_of(other_identity)};
	struct segment_log *l = open_log();

	for (size_t i = 0; i < 100; i++) {
		append_many(l, &first, 99);
		append_many(l, &other, 1);
	}
	segment_close(l);
	struct known k = read_peers(1);
	cr_expect_eq(k.first, 9900);
	cr_expect_eq(k.other, 100);
	cr_expect_eq(k.unknown, 0);
	cr_expect_leq(k.told, 6, "%zu times in ten thousand frames", k.told);
	/* From anywhere, for instance where the ledger has counted to. */
	for (uint64_t from = 1; from <= 10000; from += 777) {
		k = read_peers(from);
		cr_expect_eq(k.unknown, 0, "from %llu", (unsigned long long)from);
		cr_expect_eq(k.first + k.other, 10000 - from + 1);
	}
}

Test(evidence, an_identity_is_told_again_in_each_segment)
{
	struct evidence_peer first = {.identity = str_of(first_identity)};
	struct segment_log *l = open_log();

	append_many(l, &first, 10);
	cr_assert_eq(segment_skip_to(l, 21), 0);
	append_many(l, &first, 10);
	segment_close(l);
	cr_expect_eq(evidence_peers_begin(dir, 21), 21, "an older segment may be gone");
	cr_expect_eq(evidence_peers_begin(dir, 25), 21);
	cr_expect_eq(evidence_peers_begin(dir, 5), 1);
	struct known k = read_peers(25);
	cr_expect_eq(k.first, 6);
	cr_expect_eq(k.unknown, 0);
}

Test(evidence, what_is_wrong_about_a_peer_is_refused)
{
	static const struct str bad[] = {
		{"\3\x10\0\0", 4},          {"\3\x10\0\0\0", 5},
		{"\3\x10\0\0\0\0", 6},      {"\3\x10\0\0\0\0\0\0", 8}, /* of no length */
		{"\3\x10\0\0\0\0\2\0x", 9}, /* longer than what is there */
		{"\3\x10\0\0\0\x10", 6},    /* 4096 records ago */
		{"\2\x10\0\0\1\0", 6},      /* a version that had none */
		{"\3\0\0\0\1\0", 6},
	};
	struct evidence out = {.flags = 77};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(evidence_parse(bad[i], &out), -EBADMSG, "case %zu", i);
	cr_expect_eq(out.flags, 77);
	cr_expect_eq(evidence_parse(str_make("\3\x18\0\0\xff\x0f\1\0mf", 10), &out), 0);
	cr_expect_eq(out.back, 4095);
	cr_expect(str_eq(out.meta, STR("m")));
	cr_expect(str_eq(out.frame, STR("f")));
}
