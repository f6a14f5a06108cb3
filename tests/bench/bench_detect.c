/* How fast rules are matched, beside what the same events cost in parts: bench_detect EVENTS FOLDER CACHE RULES…
 *
 * EVENTS: JSON lines. FOLDER: where what matched is written, see struct output. CACHE: a folder for compiled patterns.
 * Every stage runs over all events a number of times in turn, and of each the best round counts: other work on the
 * machine can only make one slower. ROUNDS=0 only loads; STAGE=name runs one stage and compares nothing. Time is that
 * of this thread on a processor. Prints one line a stage: its name, nanoseconds an event with all stages before it,
 * events a second; and facts about the rules. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/path.h"
#include "event/decode.h"
#include "parse_only.h"
#include "sigma/candidates.h"
#include "sigma/match.h"

#define ROUNDS_DEFAULT 7
#define EVENTS_BYTES   ((size_t)4 << 30)

struct bench {
	struct buf text;
	struct str *lines;
	size_t count, cap;
	struct logsources *logsources;
	struct patterns *patterns;
	struct ruleset *rules;
	struct compiled *compiled;
	struct decoder *decoder;
	struct event event;
	struct logsource_set sources;
	struct parse_only *parser;
	struct evaluator evaluator;
	struct candidates *candidates;
	struct matcher *plain, *fast;
	size_t work; /* what the stages find, so that nothing is left out */
};

/* ---- stages: each does one event ---- */

static void do_parse(struct bench *b, struct str line)
{
	b->work += (size_t)parse_only_walk(b->parser, line);
}

static void do_decode(struct bench *b, struct str line)
{
	event_reset(&b->event);
	b->event.received_ns = NS_PER_DAY;
	event_decode(b->decoder, &b->event, line);
	b->work += b->event.count;
}

static void do_classify(struct bench *b, struct str line)
{
	do_decode(b, line);
	logsources_classify(b->logsources, &b->event, &b->sources);
}

static void do_scan(struct bench *b, struct str line)
{
	size_t rule;

	do_classify(b, line);
	evaluator_begin(&b->evaluator, &b->event);
	candidates_find(b->candidates, &b->evaluator, &b->sources);
	while (candidates_next(b->candidates, &rule))
		b->work++;
}

static void do_match(struct bench *b, struct str line)
{
	const struct rule *const *hits;

	do_classify(b, line);
	b->work += matcher_run(b->fast, &b->event, &b->sources, &hits);
}

static void do_naive(struct bench *b, struct str line)
{
	const struct rule *const *hits;

	do_classify(b, line);
	b->work += matcher_run(b->plain, &b->event, &b->sources, &hits);
}

struct stage {
	const char *name;
	void (*run)(struct bench *b, struct str line);
	bool slow; /* a third of the rounds is enough */
	uint64_t best_ns;
};

static struct stage stages[] = {
	{.name = "parse", .run = do_parse},       {.name = "decode", .run = do_decode},
	{.name = "classify", .run = do_classify}, {.name = "scan", .run = do_scan},
	{.name = "match", .run = do_match},       {.name = "naive", .run = do_naive, .slow = true},
};

static uint64_t thread_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

static void run_stage(struct bench *b, struct stage *s)
{
	uint64_t begin = thread_time();

	for (size_t i = 0; i < b->count; i++)
		s->run(b, b->lines[i]);
	uint64_t took = thread_time() - begin;
	if (!s->best_ns || took < s->best_ns)
		s->best_ns = took;
}

/* All of them, unless STAGE names the one that a profiler is to see. */
static bool is_run(const struct stage *s)
{
	const char *only = getenv("STAGE");

	return !only || strcmp(only, s->name) == 0;
}

static void run_all(struct bench *b, unsigned rounds)
{
	for (unsigned round = 0; round < rounds; round++)
		for (size_t i = 0; i < ARRAY_LEN(stages); i++)
			if (is_run(&stages[i]) && (!stages[i].slow || round % 3 == 0))
				run_stage(b, &stages[i]);
	for (size_t i = 0; rounds && i < ARRAY_LEN(stages); i++)
		if (is_run(&stages[i]))
			printf("stage\t%s\t%.0f\t%.0f\n", stages[i].name,
			       (double)stages[i].best_ns / (double)b->count,
			       (double)b->count * 1e9 / (double)stages[i].best_ns);
}

/* ---- the same answers ---- */

/* Files for whoever compares: what the events look like to rules, one JSON a line; what matched if log sources do not
 * count, LINE<tab>RULE<tab>1 or 0: whether they let it in; each event's kind, which is its set of log sources, with its
 * product, category and service where there is only one; and the rules that are let in for a kind, KIND<tab>RULE. */
struct output {
	FILE *events, *matches, *kinds, *tried;
	struct map known; /* set of log sources → kind + 1 */
	struct buf json;
};

static FILE *create(const char *folder, const char *name)
{
	char *path = xasprintf("%s/%s", folder, name);
	FILE *f = fopen(path, "we");

	if (!f)
		perror(path);
	free(path);
	return f;
}

static bool output_open(struct output *o, const char *folder)
{
	*o = (struct output){
		.events = create(folder, "events"),
		.matches = create(folder, "matches"),
		.kinds = create(folder, "kinds"),
		.tried = create(folder, "tried"),
	};
	map_init(&o->known);
	buf_init(&o->json, EVENTS_BYTES);
	return o->events && o->matches && o->kinds && o->tried;
}

static bool output_close(struct output *o)
{
	FILE *const files[] = {o->events, o->matches, o->kinds, o->tried};
	bool good = true;

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		good &= files[i] && fclose(files[i]) == 0;
	map_release(&o->known, NULL);
	buf_release(&o->json);
	return good;
}

enum part { PART_PRODUCT, PART_CATEGORY, PART_SERVICE };

/* What all log sources of the event that name such a part have there; none if they differ. */
static struct str common_part(const struct bench *b, enum part part)
{
	struct str common = STR_NONE;

	for (size_t i = 0; i < logsources_count(b->logsources); i++) {
		struct logsource_entry e = logsources_entry(b->logsources, i);
		const struct str parts[] = {e.product, e.category, e.service};
		if (!logsource_has(&b->sources, i) || !parts[part].n)
			continue;
		if (common.n && !str_eq(common, parts[part]))
			return STR_NONE;
		common = parts[part];
	}
	return common;
}

static void write_kind(struct bench *b, struct output *o)
{
	struct str key = str_make((const char *)&b->sources.bits, sizeof(b->sources.bits));
	uintptr_t kind = (uintptr_t)map_get(&o->known, key);

	if (!kind) {
		kind = o->known.count + 1;
		map_put(&o->known, key, (void *)kind);
		for (size_t i = 0; i < b->rules->count; i++)
			if (rule_is_tried(b->rules, &b->rules->rules[i], &b->sources))
				fprintf(o->tried, "%zu\t%s\n", (size_t)kind,
				        b->rules->rules[i].id.p);
	}
	fprintf(o->kinds, "%zu", (size_t)kind);
	for (enum part part = PART_PRODUCT; part <= PART_SERVICE; part++) {
		struct str only = common_part(b, part);
		fprintf(o->kinds, "\t%.*s", STR_FMT(only));
	}
	fputc('\n', o->kinds);
}

static void write_event(struct bench *b, struct output *o, size_t line)
{
	const struct rule *const *hits;
	size_t n = matcher_run(b->fast, &b->event, NULL, &hits);

	for (size_t i = 0; i < n; i++)
		fprintf(o->matches, "%zu\t%s\t%d\n", line, hits[i]->id.p,
		        rule_is_tried(b->rules, hits[i], &b->sources));
	buf_reset(&o->json);
	event_to_json(&b->event, &o->json);
	fprintf(o->events, "%.*s\n", STR_FMT(buf_str(&o->json)));
	write_kind(b, o);
}

/* Both matchers on all events, once. */
static int compare_matchers(struct bench *b, const char *folder)
{
	size_t matches = 0, differ = 0;
	uint64_t tried = matcher_tried(b->fast), naive = matcher_tried(b->plain);
	struct output o;

	for (size_t i = 0; i < b->count; i++) {
		const struct rule *const *fast, *const *plain;
		do_classify(b, b->lines[i]);
		size_t n = matcher_run(b->fast, &b->event, &b->sources, &fast);
		size_t m = matcher_run(b->plain, &b->event, &b->sources, &plain);
		differ += n != m || (n && memcmp(fast, plain, n * sizeof(struct rule *)) != 0);
		matches += n;
	}
	printf("fact\tmatches\t%zu\nfact\tevents that differ\t%zu\n"
	       "fact\trules tried an event\t%.2f\nfact\trules tried an event, naive\t%.2f\n",
	       matches, differ, (double)(matcher_tried(b->fast) - tried) / (double)b->count,
	       (double)(matcher_tried(b->plain) - naive) / (double)b->count);
	bool good = output_open(&o, folder);
	for (size_t i = 0; good && i < b->count; i++) {
		do_classify(b, b->lines[i]);
		write_event(b, &o, i + 1);
	}
	return output_close(&o) && !differ ? 0 : 1;
}

/* ---- loading ---- */

static void split_lines(struct bench *b)
{
	struct str rest = buf_str(&b->text);

	while (rest.n) {
		struct str line = str_split(&rest, '\n');
		if (!line.n)
			continue;
		xgrow(&b->lines, &b->cap, b->count + 1, sizeof(*b->lines));
		b->lines[b->count++] = line;
	}
}

static void tell(const struct diags *d)
{
	char line[1024];

	for (size_t i = 0; i < d->count; i++)
		if (d->items[i].severity == DIAG_ERROR || d->items[i].file == NULL)
			fprintf(stderr, "%s\n", diag_format(&d->items[i], line, sizeof(line)));
}

static int load_rules(struct bench *b, const char *cache, char **paths, int count)
{
	const struct compile_options o = {.cache_dir = cache};
	struct ruleset_options options = {0};
	struct compiled_facts facts;
	struct diags d;
	uint64_t begin = clock_mono(), loaded;

	diags_init(&d);
	int r = logsources_load("conf/logsources.yaml", &d, &b->logsources);
	if (r == 0)
		r = patterns_load("conf/patterns.yaml", &d, &b->patterns);
	options.logsources = b->logsources;
	if (r == 0)
		r = ruleset_load_with((const char *const *)paths, (size_t)count, &options, &d,
		                      &b->rules);
	loaded = clock_mono();
	if (r == 0)
		r = compiled_new(b->rules, &o, &d, &b->compiled);
	tell(&d);
	diags_release(&d);
	if (r < 0)
		return r;
	compiled_facts(b->compiled, &facts);
	printf("fact\trules\t%zu\nfact\tguards\t%zu\nfact\tpatterns\t%zu\nfact\trefused\t%zu\n"
	       "fact\talways\t%zu\nfact\tdatabase bytes\t%zu\nfact\tcached\t%d\n"
	       "fact\tload ms\t%.0f\nfact\tcompile ms\t%.0f\n",
	       facts.rules, facts.predicates, facts.patterns, facts.refused, facts.always,
	       facts.bytes, facts.cached, (double)(loaded - begin) / 1e6,
	       (double)(clock_mono() - loaded) / 1e6);
	return 0;
}

static void tell_memory(const char *what)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	printf("fact\t%s KiB\t%ld\n", what, use.ru_maxrss);
}

int main(int argc, char **argv)
{
	const char *rounds = getenv("ROUNDS");
	struct bench b = {0};

	if (argc < 5) {
		fprintf(stderr, "usage: bench_detect EVENTS FOLDER CACHE RULES…\n");
		return 2;
	}
	buf_init(&b.text, EVENTS_BYTES);
	if (load_rules(&b, argv[3], argv + 4, argc - 4) < 0)
		return 1;
	b.decoder = decoder_new(b.patterns);
	event_setup(&b.event);
	evaluator_init(&b.evaluator);
	b.candidates = candidates_new(b.compiled);
	b.fast = matcher_new_with(b.rules, b.compiled);
	b.plain = matcher_new(b.rules);
	b.parser = parse_only_new();
	tell_memory("resident with the rules");
	if (path_read(argv[1], &b.text) < 0 || buf_reserve(&b.text, PARSE_PADDING) < 0) {
		fprintf(stderr, "bench_detect: %s cannot be read\n", argv[1]);
		return 1;
	}
	split_lines(&b);
	printf("fact\tevents\t%zu\nfact\tbytes\t%zu\n", b.count, b.text.n);
	run_all(&b, rounds ? (unsigned)atoi(rounds) : ROUNDS_DEFAULT);
	bool partial = getenv("STAGE") || (rounds && atoi(rounds) == 0);
	int r = partial ? 0 : compare_matchers(&b, argv[2]);
	parse_only_free(b.parser);
	matcher_free(b.plain);
	matcher_free(b.fast);
	candidates_free(b.candidates);
	evaluator_release(&b.evaluator);
	event_release(&b.event);
	decoder_free(b.decoder);
	compiled_free(b.compiled);
	ruleset_free(b.rules);
	patterns_free(b.patterns);
	logsources_free(b.logsources);
	free(b.lines);
	buf_release(&b.text);
	return r;
}
