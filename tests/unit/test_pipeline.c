/* Frame by frame through the pipeline, without sockets: what a match carries, that every frame is counted once, and that
 * evidence detected again gives the same records. */
#include "ingest_bed.h"

#include <errno.h>

#include "base/utf8.h"
#include "ingest/match_record.h"

#define LOGON_RULE                                                                                 \
	"title: failed logon\nid: 22222222-2222-4222-8222-222222222222\nstatus: test\n"            \
	"logsource:\n  product: linux\ndetection:\n  selection:\n    outcome: failure\n"           \
	"  condition: selection\nfields:\n  - method\n  - odd\n  - missing\nlevel: high\n"         \
	"tags:\n  - attack.t1110\n"

struct line {
	struct bed bed;
	struct segment_log *evidence;
	struct pipeline *pipeline;
};

static void line_open(struct line *l, const char *rule, size_t ring)
{
	const struct segment_options options = {.kind = SEGMENT_EVIDENCE, .segment_bytes = 1 << 24};
	char dir[128], error[256] = "";

	bed_init(&l->bed, rule);
	l->bed.config.workers = 4;
	cr_assert_eq(inbox_init(&l->bed.inbox, 4, ring), 0);
	snprintf(dir, sizeof(dir), "%s/evidence", l->bed.dir);
	mkdir(dir, 0700);
	snprintf(dir, sizeof(dir), "%s/evidence/1", l->bed.dir);
	cr_assert_eq(segment_open(dir, &options, &l->evidence, error, sizeof(error)), 0, "%s",
	             error);
	const struct pipeline_options o = {.worker = 1,
	                                   .evidence = l->evidence,
	                                   .inbox = &l->bed.inbox,
	                                   .content = l->bed.content,
	                                   .backlog_memory = 1 << 20};
	l->pipeline = pipeline_new(&o);
}

/* What a killed process leaves: evidence that was written, and nothing of it published. */
static void line_reborn(struct line *l)
{
	const struct pipeline_options o = {.worker = 1,
	                                   .evidence = l->evidence,
	                                   .inbox = &l->bed.inbox,
	                                   .content = l->bed.content};

	cr_assert_eq(segment_flush(l->evidence), 0);
	pipeline_free(l->pipeline);
	l->pipeline = pipeline_new(&o);
}

static void line_close(struct line *l)
{
	pipeline_free(l->pipeline);
	segment_close(l->evidence);
	inbox_release(&l->bed.inbox);
	bed_release(&l->bed);
}

static void put_from(struct line *l, const char *source, struct str frame, uint8_t flags)
{
	const struct evidence e = {.source = str_of(source), .flags = flags, .frame = frame};

	pipeline_frame(l->pipeline, 1700000000 * NS_PER_SECOND, &e);
}

static void put(struct line *l, const char *frame)
{
	put_from(l, "tcp/192.0.2.7", str_of(frame), 0);
}

/* What waits for detection, as far as ring and disk allow. */
static int detect(struct line *l)
{
	cr_assert_eq(pipeline_write(l->pipeline), 0);
	return pipeline_detect(l->pipeline, UINT64_MAX);
}

static void commit(struct line *l)
{
	cr_assert_eq(detect(l), 0);
	cr_assert_eq(pipeline_commit(l->pipeline), 0);
	bed_drain(&l->bed);
}

/* The only match that `frame` gives, or NULL. */
static const Isod__V1__Match *match_of(struct line *l, struct str frame)
{
	bed_forget(&l->bed);
	put_from(l, "tcp/192.0.2.7", frame, 0);
	commit(l);
	cr_assert_leq(l->bed.match_count, 1);
	return l->bed.matches ? l->bed.matches->record->match : NULL;
}

static const char *entity(const Isod__V1__Match *m, Isod__V1__EntityKind kind)
{
	for (size_t i = 0; i < m->n_entities; i++)
		if (m->entities[i]->kind == kind)
			return m->entities[i]->name;
	return "";
}

static const char *field(const Isod__V1__Match *m, const char *name)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (strcmp(m->fields[i]->name, name) == 0)
			return m->fields[i]->value;
	return NULL;
}

#define USER    ISOD__V1__ENTITY_KIND__ENTITY_USER
#define HOST    ISOD__V1__ENTITY_KIND__ENTITY_HOST
#define ADDRESS ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS

Test(pipeline, a_match_carries_what_the_officer_needs)
{
	struct line l;

	line_open(&l, LOGON_RULE, BED_RING);
	const Isod__V1__Match *m = match_of(
		&l, STR("{\"@timestamp\":\"2023-11-14T22:13:00Z\",\"host\":\"web1\",\"user\":"
	                "\"eve\",\"src_ip\":\"::ffff:203.0.113.9\",\"outcome\":\"failure\","
	                "\"method\":\"password\",\"odd\":\"\"}"));
	cr_assert_not_null(m);
	cr_expect_eq(m->evidence->worker, 1);
	cr_expect_eq(m->evidence->sequence, 1);
	cr_expect_str_eq(m->rule, "22222222-2222-4222-8222-222222222222");
	cr_expect_str_eq(m->title, "failed logon");
	cr_expect_eq(m->level, ISOD__V1__LEVEL__LEVEL_HIGH);
	cr_expect_eq(m->n_tags, 1);
	cr_expect_str_eq(m->tags[0], "attack.t1110");
	cr_expect_eq(m->received_ns, 1700000000 * NS_PER_SECOND);
	cr_expect_eq(m->event_time_ns, 1699999980 * NS_PER_SECOND);
	cr_expect_str_eq(m->source, "tcp/192.0.2.7");
	cr_expect_str_eq(m->outcome, "failure");
	cr_expect_str_eq(entity(m, USER), "eve@web1");
	cr_expect_str_eq(entity(m, HOST), "web1");
	cr_expect_str_eq(entity(m, ADDRESS), "203.0.113.9");
	cr_expect_str_eq(field(m, "method"), "password");
	cr_expect_str_eq(field(m, "odd"), "");
	cr_expect_null(field(m, "missing"));
	line_close(&l);
}

Test(pipeline, entities_that_name_nobody_are_left_out)
{
	static const struct {
		const char *fields, *user, *host, *address;
	} cases[] = {
		{"", "", "", ""},
		{"\"user\":\"-\",\"host\":\"-\",\"src_ip\":\"-\",", "", "", ""},
		{"\"user\":\"(unknown)\",\"host\":\"h\",", "", "h", ""},
		{"\"user\":\"bob\",", "bob", "", ""},
		{"\"user\":\"CORP\\\\bob\",\"host\":\"h\",", "CORP\\bob", "h", ""},
		{"\"user\":\"bob@corp.example\",\"host\":\"h\",", "bob@corp.example", "h", ""},
		{"\"user\":\"NT AUTHORITY\\\\SYSTEM\",", "", "", ""},
		{"\"user\":\"system\",\"host\":\"h\",", "", "h", ""},
		{"\"user\":\"WEB1$\",", "", "", ""},
		{"\"user\":\"SYSTEM\",\"TargetUserName\":\"amy\",\"Computer\":\"pc\",", "amy@pc",
	         "pc", ""},
		{"\"src_ip\":\"127.0.0.1\",", "", "", ""},
		{"\"src_ip\":\"::1\",", "", "", ""},
		{"\"src_ip\":\"2001:DB8:0:0::0001\",", "", "", "2001:db8::1"},
		{"\"src_ip\":\"evil.example\",", "", "", ""},
	};
	struct line l;
	char frame[256];

	line_open(&l, LOGON_RULE, BED_RING);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(frame, sizeof(frame), "{%s\"outcome\":\"failure\"}", cases[i].fields);
		const Isod__V1__Match *m = match_of(&l, str_of(frame));
		cr_assert_not_null(m, "%s", frame);
		cr_expect_str_eq(entity(m, USER), cases[i].user, "%s", frame);
		cr_expect_str_eq(entity(m, HOST), cases[i].host, "%s", frame);
		cr_expect_str_eq(entity(m, ADDRESS), cases[i].address, "%s", frame);
	}
	line_close(&l);
}

/* protobuf texts must be UTF-8 without NUL and within their limits, whatever a peer sends. */
Test(pipeline, every_text_of_a_match_is_sound)
{
	struct line l;
	struct buf frame;

	line_open(&l, LOGON_RULE, BED_RING);
	buf_init(&frame, 0);
	buf_printf(&frame, "{\"outcome\":\"failure\",\"user\":\"a\\u0000b\",\"host\":\"");
	for (size_t i = 0; i < 400; i++)
		buf_printf(&frame, "ü");
	buf_printf(&frame, "\",\"message\":\"x");
	for (size_t i = 0; i < 1000; i++)
		buf_printf(&frame, "€");
	buf_printf(&frame, "\",\"odd\":\"");
	for (size_t i = 0; i < 1000; i++)
		buf_printf(&frame, "\\u0000ä");
	buf_printf(&frame, "\"}");
	const Isod__V1__Match *m = match_of(&l, buf_str(&frame));
	cr_assert_not_null(m);
	const char *texts[] = {m->summary, entity(m, USER), entity(m, HOST), field(m, "odd")};
	static const size_t limits[] = {MATCH_SUMMARY_MAX, 2 * MATCH_NAME_MAX + 1, MATCH_NAME_MAX,
	                                MATCH_VALUE_MAX};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		cr_assert_not_null(texts[i]);
		cr_expect(utf8_valid(str_of(texts[i])), "%zu: %s", i, texts[i]);
		cr_expect_leq(strlen(texts[i]), limits[i]);
		cr_expect_geq(strlen(texts[i]), limits[i] / 3);
	}
	cr_expect(str_starts(str_of(entity(m, USER)), STR("a\xef\xbf\xbd"
	                                                  "b@")));
	buf_release(&frame);
	line_close(&l);
}

Test(pipeline, raw_bytes_that_are_no_text_still_count_and_match)
{
	struct line l;

	line_open(&l, BED_ANY_RULE, BED_RING);
	const Isod__V1__Match *m = match_of(&l, STR("\xff\x00\xfe garbage"));
	cr_assert_not_null(m);
	cr_expect(utf8_valid(str_of(m->summary)));
	cr_expect_not_null(strstr(m->summary, "garbage"));
	line_close(&l);
}

Test(pipeline, every_frame_is_counted_once)
{
	struct line l;

	line_open(&l, LOGON_RULE, BED_RING);
	cr_expect_not(pipeline_has_tally(l.pipeline));
	pipeline_tally(l.pipeline);
	commit(&l);
	cr_expect_eq(l.bed.tally_count, 0);
	put(&l, "{\"outcome\":\"failure\"}");
	put(&l, "{\"outcome\":\"success\"}");
	put(&l, "\x01\x02");
	put_from(&l, "udp/192.0.2.8", STR("{\"outcome\":\"failure\"}"), EVIDENCE_TRUNCATED);
	pipeline_lost(l.pipeline, NS_PER_SECOND, STR("udp/192.0.2.8"), LOSS_EMPTY, 3);
	cr_expect_eq(pipeline_untallied(l.pipeline), 5);
	cr_expect_not(pipeline_has_tally(l.pipeline));
	cr_expect_eq(detect(&l), 0);
	cr_expect_eq(pipeline_untallied(l.pipeline), 5);
	cr_expect(pipeline_has_tally(l.pipeline));
	pipeline_tally(l.pipeline);
	cr_expect_eq(pipeline_untallied(l.pipeline), 0);
	commit(&l);
	Isod__V1__SourceCount tcp = bed_count(&l.bed, "tcp/"), udp = bed_count(&l.bed, "udp/");
	cr_expect_eq(tcp.received, 3);
	cr_expect_eq(tcp.matched, 1);
	cr_expect_eq(tcp.unmatched, 1);
	cr_expect_eq(tcp.undecoded, 1);
	cr_expect_eq(tcp.bytes, 21 + 21 + 2);
	cr_expect_eq(udp.received, 1);
	cr_expect_eq(udp.matched, 1);
	cr_expect_eq(udp.truncated, 1);
	cr_expect_eq(udp.refused, 3);
	cr_expect_eq(udp.refused_empty, 3);
	cr_expect_eq(l.bed.upto[1], 5);
	cr_expect_eq(l.bed.tally_count, 1);
	cr_expect_eq(l.bed.match_count, 2);
	line_close(&l);
}

Test(pipeline, evidence_is_written_before_matches_are_published)
{
	struct line l;

	line_open(&l, BED_ANY_RULE, BED_RING);
	put(&l, "one");
	bed_drain(&l.bed);
	cr_expect_eq(l.bed.match_count, 0);
	cr_expect_gt(pipeline_pending(l.pipeline), 3);
	commit(&l);
	cr_expect_eq(l.bed.match_count, 1);
	cr_expect_eq(pipeline_pending(l.pipeline), 0);
	line_close(&l);
}

Test(pipeline, what_is_not_on_the_disk_is_not_published)
{
	struct line l;

	line_open(&l, BED_ANY_RULE, BED_RING);
	put(&l, "one");
	put(&l, "two");
	cr_expect_not(pipeline_waits(l.pipeline));
	cr_expect_eq(detect(&l), 0);
	cr_expect(pipeline_waits(l.pipeline));
	cr_assert_eq(pipeline_write(l.pipeline), 0);
	bed_drain(&l.bed);
	cr_expect_eq(l.bed.match_count, 0, "a power cut could take both");
	pipeline_durable(l.pipeline, 1);
	cr_assert_eq(pipeline_write(l.pipeline), 0);
	bed_drain(&l.bed);
	cr_expect_eq(l.bed.match_count, 1);
	put(&l, "three");
	cr_expect_eq(detect(&l), 0);
	pipeline_durable(l.pipeline, 2);
	cr_assert_eq(pipeline_write(l.pipeline), 0);
	bed_drain(&l.bed);
	cr_expect_eq(l.bed.match_count, 2);
	cr_expect(pipeline_waits(l.pipeline));
	pipeline_tally(l.pipeline);
	commit(&l);
	cr_expect_eq(l.bed.match_count, 3);
	cr_expect_eq(l.bed.tally_count, 1);
	cr_expect_not(pipeline_waits(l.pipeline));
	line_close(&l);
}

Test(pipeline, a_full_ring_holds_back_and_loses_nothing)
{
	enum { FRAMES = 20000 };
	struct line l;
	size_t full = 0;

	line_open(&l, BED_ANY_RULE, 2 * PIPELINE_RECORD_MAX);
	for (size_t i = 0; i < FRAMES; i++)
		put(&l, "frame");
	cr_assert_eq(pipeline_write(l.pipeline), 0);
	/* In slices, as a worker does it: what is found must go somewhere. */
	for (int r; (r = pipeline_detect(l.pipeline, 0)) != 0;) {
		cr_assert(r == 1 || r == -EAGAIN);
		int c = pipeline_commit(l.pipeline);
		cr_assert(c == 0 || c == -EAGAIN);
		if (r == 1)
			continue;
		full++;
		cr_expect_lt(pipeline_detected(l.pipeline), FRAMES);
		bed_drain(&l.bed);
		cr_assert_eq(pipeline_write(l.pipeline), 0);
	}
	pipeline_tally(l.pipeline);
	while (pipeline_commit(l.pipeline) == -EAGAIN)
		bed_drain(&l.bed);
	bed_drain(&l.bed);
	cr_expect_gt(full, 2);
	cr_expect_eq(l.bed.match_count, FRAMES);
	cr_expect_eq(bed_count(&l.bed, "tcp/").received, FRAMES);
	/* In order, without gaps. */
	uint64_t next = 1;
	for (const struct bed_match *m = l.bed.matches; m; m = m->next)
		cr_assert_eq(m->record->match->evidence->sequence, next++);
	line_close(&l);
}

/* Sources may be invented by a peer: past the limit they are counted together, still every frame once, and no tally
 * outgrows the ring. */
Test(pipeline, too_many_sources_are_counted_together)
{
	enum { SOURCES = 3 * PIPELINE_SOURCES_MAX };
	struct line l;
	char source[64];

	line_open(&l, NULL, 2 * PIPELINE_RECORD_MAX);
	for (size_t i = 0; i < SOURCES; i++) {
		snprintf(source, sizeof(source), "udp/2001:db8::%zx", i);
		put_from(&l, source, STR("x"), 0);
		if (i % 100 == 0)
			commit(&l);
	}
	cr_expect_eq(detect(&l), 0);
	pipeline_tally(l.pipeline);
	commit(&l);
	cr_expect_eq(bed_count(&l.bed, "").received, SOURCES);
	cr_expect_eq(bed_count(&l.bed, "udp/(other)").received, SOURCES - PIPELINE_SOURCES_MAX);
	cr_expect_gt(l.bed.tally_count, 5);
	cr_expect_eq(l.bed.upto[1], SOURCES);
	/* After a tally they are told apart again. */
	put_from(&l, "udp/192.0.2.1", STR("x"), 0);
	cr_expect_eq(detect(&l), 0);
	pipeline_tally(l.pipeline);
	commit(&l);
	cr_expect_eq(bed_count(&l.bed, "udp/192.0.2.1").received, 1);
	line_close(&l);
}

Test(pipeline, long_source_names_are_cut_alike_live_and_later)
{
	struct line l;
	char source[400], cut[256];

	memset(source, 's', sizeof(source));
	source[sizeof(source) - 1] = '\0';
	memcpy(cut, source, 255);
	cut[255] = '\0';
	line_open(&l, NULL, BED_RING);
	put_from(&l, source, STR("x"), 0);
	cr_expect_eq(detect(&l), 0);
	pipeline_tally(l.pipeline);
	commit(&l);
	cr_expect_eq(bed_count(&l.bed, cut).received, 1);
	line_close(&l);
}

/* ---- evidence once more ---- */

static bool keep_going(void *arg, bool full)
{
	if (full)
		bed_drain(arg);
	return true;
}

static bool give_up(void *arg, bool full)
{
	(void)full;
	return --*(int *)arg > 0;
}

Test(pipeline, evidence_detected_again_gives_the_same_records)
{
	struct line l;
	char frame[128], dir[128], error[256] = "";
	struct bed_match *live;

	line_open(&l, LOGON_RULE, 2 * PIPELINE_RECORD_MAX);
	for (size_t i = 0; i < 5000; i++) {
		snprintf(frame, sizeof(frame), "{\"outcome\":\"%s\",\"user\":\"u%zu\"}",
		         i % 3 ? "failure" : "success", i);
		put_from(&l, "tcp/192.0.2.7", str_of(frame), i % 2 ? EVIDENCE_TRUNCATED : 0);
		if (i % 50 == 0)
			commit(&l);
		if (i % 100 == 0)
			pipeline_lost(l.pipeline, i, STR("tcp/192.0.2.7"),
			              i % 200 ? LOSS_KERNEL : LOSS_FRAMING, i + 1);
	}
	cr_expect_eq(detect(&l), 0);
	pipeline_tally(l.pipeline);
	commit(&l);
	Isod__V1__SourceCount before = bed_count(&l.bed, "tcp/");
	cr_expect_gt(before.refused_framing, 0);
	cr_expect_gt(before.shed_kernel, before.refused_framing);
	live = l.bed.matches;
	size_t count = l.bed.match_count;
	l.bed.matches = NULL;
	bed_forget(&l.bed);
	snprintf(dir, sizeof(dir), "%s/evidence/1", l.bed.dir);
	cr_expect_eq(
		pipeline_redetect(l.pipeline, 1, dir, 1, keep_going, &l.bed, error, sizeof(error)),
		5000, "%s", error);
	bed_drain(&l.bed);
	Isod__V1__SourceCount after = bed_count(&l.bed, "tcp/");
	cr_expect_eq(after.received, before.received);
	cr_expect_eq(after.matched, before.matched);
	cr_expect_eq(after.truncated, before.truncated);
	cr_expect_eq(after.bytes, before.bytes);
	cr_expect_eq(after.refused, before.refused);
	cr_expect_eq(after.refused_framing, before.refused_framing);
	cr_expect_eq(after.shed, before.shed);
	cr_expect_eq(after.shed_kernel, before.shed_kernel);
	cr_expect_eq(l.bed.upto[1], 5050);
	cr_assert_eq(l.bed.match_count, count);
	for (struct bed_match *a = live, *b = l.bed.matches; a;) {
		struct bed_match *next = a->next;
		uint8_t one[2048], two[2048];
		size_t n = isod__v1__record__pack(a->record, one);
		cr_assert_eq(isod__v1__record__pack(b->record, two), n);
		cr_assert_arr_eq(one, two, n);
		isod__v1__record__free_unpacked(a->record, NULL);
		free(a);
		a = next;
		b = b->next;
	}
	line_close(&l);
}

Test(pipeline, re_detection_can_be_given_up_and_goes_on_later)
{
	struct line l;
	char dir[128], error[256] = "";
	int batches = 4;

	line_open(&l, BED_ANY_RULE, BED_RING);
	for (size_t i = 0; i < 5000; i++)
		put_from(&l, "tcp/a", STR("x"), 0);
	line_reborn(&l);
	snprintf(dir, sizeof(dir), "%s/evidence/1", l.bed.dir);
	int64_t n =
		pipeline_redetect(l.pipeline, 1, dir, 1, give_up, &batches, error, sizeof(error));
	bed_drain(&l.bed);
	cr_expect_gt(n, 0);
	cr_expect_lt(n, 5000);
	cr_expect_eq(l.bed.upto[1], (uint64_t)n);
	cr_expect_eq(bed_count(&l.bed, "tcp/").received, (uint64_t)n);
	n += pipeline_redetect(l.pipeline, 1, dir, l.bed.upto[1] + 1, keep_going, &l.bed, error,
	                       sizeof(error));
	bed_drain(&l.bed);
	cr_expect_eq(n, 5000);
	cr_expect_eq(bed_count(&l.bed, "tcp/").received, 5000);
	cr_expect_eq(l.bed.match_count, 5000);
	line_close(&l);
}

Test(pipeline, another_workers_evidence_is_counted_as_that_workers)
{
	struct line l;
	char dir[128], error[256] = "";

	line_open(&l, BED_ANY_RULE, BED_RING);
	put(&l, "x");
	line_reborn(&l);
	snprintf(dir, sizeof(dir), "%s/evidence/1", l.bed.dir);
	/* As if it were folder 3. */
	cr_expect_eq(
		pipeline_redetect(l.pipeline, 3, dir, 1, keep_going, &l.bed, error, sizeof(error)),
		1);
	bed_drain(&l.bed);
	cr_expect_eq(l.bed.upto[3], 1);
	cr_expect_eq(l.bed.matches->record->match->evidence->worker, 3);
	cr_expect_eq(l.bed.match_count, 1);
	cr_expect_eq(pipeline_redetect(l.pipeline, 3, "/nonexistent/evidence", 1, keep_going,
	                               &l.bed, error, sizeof(error)),
	             -ENOENT);
	line_close(&l);
}

/* ---- what is too large ---- */

/* More fields, or levels, than an event may have. */
static char *large_event(unsigned fields, unsigned levels)
{
	struct buf text;

	buf_init(&text, 0);
	buf_printf(&text, "{\"outcome\":\"failure\"");
	for (unsigned i = 0; i < fields; i++)
		buf_printf(&text, ",\"f%u\":1", i);
	buf_printf(&text, ",\"deep\":");
	for (unsigned i = 0; i < levels; i++)
		buf_printf(&text, "{\"a\":");
	buf_printf(&text, "1");
	for (unsigned i = 0; i < levels; i++)
		buf_putc(&text, '}');
	buf_putc(&text, '}');
	char *copy = xstrdup(buf_cstr(&text));
	buf_release(&text);
	return copy;
}

Test(pipeline, events_that_are_cut_by_a_limit_are_counted_and_still_match)
{
	char *wide = large_event(10000, 0), *deep = large_event(0, 200), *fine = large_event(9, 9);
	struct line l;

	line_open(&l, LOGON_RULE, BED_RING);
	cr_expect_not_null(match_of(&l, str_of(fine)));
	cr_expect_eq(pipeline_counts(l.pipeline).incomplete, 0);
	cr_expect_not_null(match_of(&l, str_of(wide)));
	cr_expect_not_null(match_of(&l, str_of(deep)));
	cr_expect_eq(pipeline_counts(l.pipeline).incomplete, 2);
	cr_expect_eq(pipeline_counts(l.pipeline).limited, 0);
	line_close(&l);
	free(wide);
	free(deep);
	free(fine);
}

Test(pipeline, tests_that_a_bound_cuts_short_are_counted)
{
	struct line l;
	char frame[256];

	line_open(&l,
	          "title: explodes\nid: 22222222-2222-4222-8222-222222222222\n"
	          "logsource:\n  product: linux\ndetection:\n  s:\n    a|re: '^(a+)+$(?<!b)'\n"
	          "  condition: s\n",
	          BED_RING);
	snprintf(frame, sizeof(frame), "{\"a\":\"%0100d!\"}", 0);
	for (char *p = frame; *p; p++)
		*p = *p == '0' ? 'a' : *p;
	cr_expect_null(match_of(&l, str_of(frame)));
	cr_expect_eq(pipeline_counts(l.pipeline).limited, 1);
	line_close(&l);
}
