/* Where the time of a message goes between the socket and the officer: bench_pipeline [RULES…]
 *
 * Over lines of traffic.h, made beforehand: what cannot be saved (copy, SHA-256, CRC32C), and the stages of the pipeline
 * one on top of the other; the last is pipeline_frame itself with all that belongs to it. Each stage runs in turn a number
 * of times, and of each the best round counts. Nanoseconds a message of this thread's time on a processor.
 *
 * BYTES= (137), ROUNDS= (7), STAGE=name: only that one, for a profiler. RULES: folders, else conf/rules. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "event/decode.h"
#include "event/logsource.h"
#include "ingest/framing.h"
#include "ingest/pipeline.h"
#include "sigma/compile.h"
#include "sigma/content.h"
#include "sigma/match.h"
#include "traffic.h"

#define LINES          50000
#define ROUNDS_DEFAULT 7
#define RING_BYTES     ((size_t)16 << 20)
#define BATCH_BYTES    ((size_t)128 << 10) /* what is taken from a socket at once */
#define SOURCE         "tls/192.0.2.7"

struct bench {
	struct buf stream; /* as it comes: newlines between */
	struct str *lines;
	size_t count;
	struct content *content;
	struct decoder *decoder;
	struct logsource_memo *memo;
	struct matcher *matcher;
	struct event event;
	struct logsource_set sources;
	struct segment_log *evidence;
	struct inbox inbox;
	struct pipeline *pipeline;
	char *copy;
	size_t work; /* what the stages find, so that nothing is left out */
};

/* ---- stages: each does all lines ---- */

static void do_floor(struct bench *b)
{
	struct sha256 *h = sha256_new();
	uint8_t digest[SHA256_BYTES];

	for (size_t i = 0, at = 0; i < b->count; i++) {
		struct str line = b->lines[i];
		memcpy(b->copy + at, line.p, line.n);
		b->work += crc32c(0, str_make(b->copy + at, line.n));
		at += line.n;
	}
	sha256_begin(h);
	sha256_add(h, str_make(b->copy, b->stream.n - b->count));
	sha256_end(h, digest);
	b->work += digest[0];
	sha256_free(h);
}

static void do_framing(struct bench *b)
{
	struct str in = buf_str(&b->stream), frame;
	struct framing f;
	bool truncated;
	size_t used;

	framing_init(&f, 65536);
	while (framing_next(&f, in, &used, &frame, &truncated) == FRAMING_FRAME) {
		b->work += frame.n;
		in = str_skip(in, used);
	}
}

static void do_append(struct bench *b)
{
	struct evidence e = {.source = STR(SOURCE)};

	for (size_t i = 0; i < b->count; i++) {
		e.frame = b->lines[i];
		evidence_append(b->evidence, NS_PER_DAY, &e);
		if (segment_pending(b->evidence) > BATCH_BYTES)
			segment_flush(b->evidence);
	}
}

static void decode(struct bench *b, struct str line)
{
	event_reset(&b->event);
	b->event.received_ns = NS_PER_DAY;
	b->event.source = STR(SOURCE);
	event_decode(b->decoder, &b->event, line);
}

static void do_decode(struct bench *b)
{
	for (size_t i = 0; i < b->count; i++) {
		decode(b, b->lines[i]);
		b->work += b->event.count;
	}
}

static void do_classify(struct bench *b)
{
	for (size_t i = 0; i < b->count; i++) {
		decode(b, b->lines[i]);
		logsources_classify_with(b->content->parts.logsources, b->memo, &b->event,
		                         &b->sources);
	}
}

static void do_match(struct bench *b)
{
	const struct rule *const *hits;

	for (size_t i = 0; i < b->count; i++) {
		decode(b, b->lines[i]);
		logsources_classify_with(b->content->parts.logsources, b->memo, &b->event,
		                         &b->sources);
		b->work += matcher_run(b->matcher, &b->event, &b->sources, &hits);
	}
}

static void take(void *arg, size_t worker, struct str packed)
{
	struct bench *b = arg;

	(void)worker;
	b->work += packed.n;
}

static void detect_written(struct bench *b)
{
	pipeline_write(b->pipeline);
	while (pipeline_detect(b->pipeline, UINT64_MAX) != 0) {
		pipeline_commit(b->pipeline);
		while (inbox_drain(&b->inbox, 1000, take, b))
			continue;
	}
}

static void do_pipeline(struct bench *b)
{
	struct evidence e = {.source = STR(SOURCE)};

	for (size_t i = 0; i < b->count; i++) {
		e.frame = b->lines[i];
		pipeline_frame(b->pipeline, NS_PER_DAY, &e);
		if (pipeline_pending(b->pipeline) < BATCH_BYTES)
			continue;
		detect_written(b);
		while (inbox_drain(&b->inbox, 1000, take, b))
			continue;
	}
	detect_written(b);
	pipeline_tally(b->pipeline);
	pipeline_commit(b->pipeline);
	while (inbox_drain(&b->inbox, 1000, take, b))
		continue;
}

static struct stage {
	const char *name, *what;
	void (*run)(struct bench *b);
	uint64_t best_ns;
} stages[] = {
	{"floor", "copy, CRC32C and SHA-256", do_floor, 0},
	{"framing", "frames out of a stream", do_framing, 0},
	{"append", "evidence: append and write", do_append, 0},
	{"decode", "fields", do_decode, 0},
	{"classify", "fields, log sources", do_classify, 0},
	{"match", "fields, log sources, rules", do_match, 0},
	{"pipeline", "all but framing", do_pipeline, 0},
};

static uint64_t thread_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

static void run_all(struct bench *b)
{
	const char *rounds = getenv("ROUNDS"), *only = getenv("STAGE");

	for (long round = rounds ? strtol(rounds, NULL, 10) : ROUNDS_DEFAULT; round > 0; round--)
		for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
			struct stage *s = &stages[i];
			if (only && strcmp(only, s->name) != 0)
				continue;
			uint64_t begin = thread_time();
			s->run(b);
			uint64_t took = thread_time() - begin;
			if (!s->best_ns || took < s->best_ns)
				s->best_ns = took;
		}
	for (size_t i = 0; i < ARRAY_LEN(stages); i++)
		if (stages[i].best_ns)
			printf("%-10s %6.0f ns a message  (%s)\n", stages[i].name,
			       (double)stages[i].best_ns / (double)b->count, stages[i].what);
}

/* ---- before and after ---- */

static void make_lines(struct bench *b)
{
	const char *bytes = getenv("BYTES");
	struct traffic t;

	traffic_init(&t, bytes ? strtoul(bytes, NULL, 10) : 137, 1);
	buf_init(&b->stream, 0);
	b->lines = xcalloc(LINES, sizeof(*b->lines));
	for (; b->count < LINES; b->count++) {
		traffic_line(&t, &b->stream);
		buf_putc(&b->stream, '\n');
	}
	struct str rest = buf_str(&b->stream);
	for (size_t i = 0; i < b->count; i++)
		b->lines[i] = str_split(&rest, '\n');
	b->copy = xmalloc(b->stream.n);
}

static bool load(struct bench *b, const char *const *rules, size_t count)
{
	const struct content_files files = {.rules = rules,
	                                    .rule_count = count,
	                                    .logsources = "conf/logsources.yaml",
	                                    .patterns = "conf/patterns.yaml"};
	const struct compile_options options = {0};
	char line[1024];
	struct diags d;

	diags_init(&d);
	bool good = content_load(&files, 1, &d, &b->content) == 0;
	for (size_t i = 0; !good && i < d.count; i++)
		fprintf(stderr, "%s\n", diag_format(&d.items[i], line, sizeof(line)));
	good = good && content_compile(b->content, &options, &d) == 0;
	diags_release(&d);
	return good;
}

static bool open_pipeline(struct bench *b, const char *dir)
{
	const struct segment_options options = {.kind = SEGMENT_EVIDENCE,
	                                        .segment_bytes = (uint64_t)64 << 20};
	char error[256] = "";

	if (inbox_init(&b->inbox, 1, RING_BYTES) < 0 ||
	    segment_open(dir, &options, &b->evidence, error, sizeof(error)) < 0) {
		fprintf(stderr, "bench_pipeline: %s\n", error);
		return false;
	}
	const struct pipeline_options o = {
		.evidence = b->evidence, .inbox = &b->inbox, .content = b->content};
	b->pipeline = pipeline_new(&o);
	b->decoder = decoder_new(b->content->parts.patterns);
	b->memo = logsource_memo_new(b->content->parts.logsources);
	b->matcher = matcher_new_with(b->content->parts.rules, atomic_load(&b->content->compiled));
	event_setup(&b->event);
	return true;
}

static void close_all(struct bench *b)
{
	pipeline_free(b->pipeline);
	segment_close(b->evidence);
	inbox_release(&b->inbox);
	event_release(&b->event);
	matcher_free(b->matcher);
	logsource_memo_free(b->memo);
	decoder_free(b->decoder);
	content_unref(b->content);
	buf_release(&b->stream);
	free(b->lines);
	free(b->copy);
}

int main(int argc, char **argv)
{
	static const char *const starter[] = {"conf/rules"};
	char dir[] = "/tmp/isod-bench-XXXXXX", command[64];
	struct bench b = {0};

	make_lines(&b);
	if (!load(&b, argc > 1 ? (const char *const *)argv + 1 : starter,
	          argc > 1 ? (size_t)argc - 1 : 1) ||
	    !mkdtemp(dir) || !open_pipeline(&b, dir))
		return 1;
	run_all(&b);
	close_all(&b);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) == 0 ? 0 : 1;
}
