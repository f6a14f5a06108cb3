/* The starter rules in conf/rules, each with samples of its own in tests/data/rules (see the README there), through
 * the real stages: decode, classify, match, correlate. And on real logs: what must be found is, and an ordinary
 * server's lines alarm nobody. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/yaml.h"
#include "event/decode.h"
#include "ingest/match_record.h"
#include "officer/correlate.h"
#include "sigma/match.h"
#include "sigma/rules.h"

#define RULES "conf/rules"
#define DATA  "tests/data/rules"

static const char *const yaml_suffixes[] = {".yml", NULL};

/* The stages, as the daemon wires them. */
static struct {
	struct logsources *logsources;
	struct patterns *patterns;
	struct ruleset *rules;
	struct decoder *decoder;
	struct matcher *matcher;
	struct event event;
	struct match_record record;
	struct correlate *correlate;
	Isod__V1__Settings settings;
	uint64_t now, sequence;
} t;

static void check(struct diags *d, int r, const char *what)
{
	char line[1024];

	for (size_t i = 0; i < d->count; i++)
		cr_log_error("%s", diag_format(&d->items[i], line, sizeof(line)));
	cr_assert_eq(r, 0, "%s", what);
	cr_assert_eq(d->count, 0, "%s", what);
}

static void start_correlating(void)
{
	correlate_free(t.correlate);
	t.correlate = correlate_new();
	correlate_settings(t.correlate, &t.settings);
}

static void setup(void)
{
	const char *const paths[] = {RULES};
	struct diags d;

	diags_init(&d);
	check(&d, logsources_load("conf/logsources.yaml", &d, &t.logsources), "log sources");
	check(&d, patterns_load("conf/patterns.yaml", &d, &t.patterns), "patterns");
	check(&d, ruleset_load(paths, 1, t.logsources, &d, &t.rules), "rules");
	diags_release(&d);
	t.decoder = decoder_new(t.patterns);
	t.matcher = matcher_new(t.rules);
	event_setup(&t.event);
	match_record_init(&t.record);
	isod__v1__settings__init(&t.settings);
	t.settings.correlations = t.rules->correlations;
	t.settings.n_correlations = t.rules->correlation_count;
	t.settings.correlation_skew_ns = 1000 * NS_PER_DAY; /* the samples' own times count */
	cr_assert_eq(clock_parse(STR("2025-12-31T23:00:00Z"), &t.now, NULL), 0);
	start_correlating();
}

static void teardown(void)
{
	correlate_free(t.correlate);
	match_record_release(&t.record);
	event_release(&t.event);
	matcher_free(t.matcher);
	decoder_free(t.decoder);
	ruleset_free(t.rules);
	patterns_free(t.patterns);
	logsources_free(t.logsources);
}

TestSuite(starter_rules, .init = setup, .fini = teardown);

/* The rules that match the frame, up to the next call. */
static size_t run(struct str frame, const struct rule *const **ret)
{
	struct logsource_set sources;

	event_reset(&t.event);
	t.event.received_ns = t.now;
	t.event.source = str_search(frame, STR("\"product\":\"isod\"")) >= 0
	                         ? STR("isod/sec1")
	                         : STR("test/192.0.2.250");
	event_decode(t.decoder, &t.event, frame);
	logsources_classify(t.logsources, &t.event, &sources);
	return matcher_run(t.matcher, &t.event, &sources, ret);
}

static bool matches(const struct rule *rule, struct str frame)
{
	const struct rule *const *hits;
	size_t n = run(frame, &hits);

	for (size_t i = 0; i < n; i++)
		if (hits[i] == rule)
			return true;
	return false;
}

/* Correlations that fire because of the frame are told to `fired`. */
static void correlate_frame(struct str frame, void (*fired)(const Isod__V1__Match *, void *),
                            void *arg)
{
	const struct rule *const *hits;
	size_t n = run(frame, &hits);

	t.sequence++;
	match_record_event(&t.record, &t.event, 0, t.sequence);
	for (size_t i = 0; i < n; i++) {
		const Isod__V1__Record *r = match_record_rule(&t.record, &t.event, hits[i]);
		const struct step step = {.sequence = t.sequence,
		                          .time_ns = t.now,
		                          .record = r,
		                          .settings = &t.settings,
		                          .effects = &(const struct effects){0}};
		const Isod__V1__Match *const *derived;
		size_t count = correlate_on_match(t.correlate, &step, r->match, &derived);
		for (size_t j = 0; j < count; j++)
			fired(derived[j], arg);
	}
}

/* --- samples --- */

struct file {
	struct arena arena;
	struct yaml_node **docs;
	size_t count;
};

static void load(struct file *f, const char *path)
{
	struct diags d;

	arena_init(&f->arena, 0);
	diags_init(&d);
	check(&d, yaml_load(&f->arena, path, &d, &f->docs, &f->count), path);
	diags_release(&d);
}

/* The detection rule of a file of rules, or NULL when it has correlations only. */
static const struct rule *rule_of(const struct file *rules)
{
	for (size_t i = 0; i < rules->count; i++)
		if (!yaml_get(rules->docs[i], "correlation"))
			return ruleset_find(t.rules, str_of(yaml_text(rules->docs[i], "id")));
	return NULL;
}

static void check_samples(const struct rule *rule, const struct yaml_node *data, const char *key,
                          bool wanted)
{
	const struct yaml_node *lines = yaml_get(data, key);

	cr_assert(lines && lines->kind == YAML_LIST && lines->count > 0, "%s has no '%s'",
	          rule->file, key);
	for (size_t i = 0; i < lines->count; i++)
		cr_expect_eq(matches(rule, lines->items[i]->text), wanted, "%s: %s: %s", rule->file,
		             key, lines->items[i]->text.p);
}

static void each_file(void (*visit)(const char *path, const struct file *rules,
                                    const struct file *data))
{
	char **paths;
	size_t count;

	cr_assert_eq(path_list(RULES, yaml_suffixes, &paths, &count), 0);
	cr_assert_gt(count, 0);
	for (size_t i = 0; i < count; i++) {
		char *sample = xasprintf(DATA "%s", paths[i] + strlen(RULES));
		struct file rules, data;
		load(&rules, paths[i]);
		load(&data, sample);
		cr_assert_eq(data.count, 1);
		visit(paths[i], &rules, &data);
		arena_release(&rules.arena);
		arena_release(&data.arena);
		free(sample);
	}
	path_free_list(paths, count);
}

static void visit_samples(const char *path, const struct file *rules, const struct file *data)
{
	const struct rule *rule = rule_of(rules);

	(void)path;
	if (!rule)
		return;
	check_samples(rule, data->docs[0], "match", true);
	check_samples(rule, data->docs[0], "miss", false);
}

Test(starter_rules, each_rule_matches_its_samples_and_nothing_near)
{
	each_file(visit_samples);
}

/* --- sequences --- */

struct expectation {
	const char *title;
	size_t fired;
};

static void count_title(const Isod__V1__Match *m, void *arg)
{
	struct expectation *x = arg;

	if (strcmp(m->title, x->title) == 0)
		x->fired++;
}

static uint64_t number(const struct yaml_node *map, const char *key, uint64_t otherwise)
{
	const char *text = yaml_text(map, key);
	uint64_t n = otherwise;

	if (text)
		cr_assert_eq(str_to_u64(str_of(text), &n), 0, "%s: %s", key, text);
	return n;
}

/* `line` with each %d replaced. */
static void fill_in(struct str line, uint64_t value, struct buf *out)
{
	buf_reset(out);
	for (;;) {
		ptrdiff_t at = str_search(line, STR("%d"));
		if (at < 0)
			break;
		buf_add(out, str_head(line, (size_t)at));
		buf_printf(out, "%llu", (unsigned long long)value);
		line = str_skip(line, (size_t)at + 2);
	}
	buf_add(out, line);
}

static void run_sequence(const struct yaml_node *sequence, const char *path)
{
	const struct yaml_node *lines = yaml_get(sequence, "lines"),
			       *repeat = yaml_get(sequence, "repeat");
	struct expectation x = {.title = yaml_text(sequence, "correlation")};
	uint64_t times = number(repeat, "count", 1), value = number(repeat, "from", 0);
	struct buf frame;

	cr_assert(x.title && lines && lines->kind == YAML_LIST, "%s", path);
	buf_init(&frame, 0);
	start_correlating();
	for (uint64_t n = 0; n < times; n++, value += number(repeat, "step", 1)) {
		for (size_t i = 0; i < lines->count; i++) {
			fill_in(lines->items[i]->text, value, &frame);
			correlate_frame(buf_str(&frame), count_title, &x);
		}
	}
	cr_expect_eq(x.fired, number(sequence, "fires", 1), "%s:%d: %s fired %zu times", path,
	             sequence->line, x.title, x.fired);
	buf_release(&frame);
}

/* Whether some sequence expects the correlation to fire (or not to). */
static bool has_sequence(const struct yaml_node *sequences, const char *title, bool fires)
{
	for (size_t i = 0; sequences && i < sequences->count; i++)
		if (strcmp(yaml_text(sequences->items[i], "correlation"), title) == 0 &&
		    (number(sequences->items[i], "fires", 1) > 0) == fires)
			return true;
	return false;
}

static void visit_sequences(const char *path, const struct file *rules, const struct file *data)
{
	const struct yaml_node *sequences = yaml_get(data->docs[0], "sequences");

	for (size_t i = 0; i < rules->count; i++) {
		const char *title = yaml_text(rules->docs[i], "title");
		if (!yaml_get(rules->docs[i], "correlation"))
			continue;
		cr_expect(has_sequence(sequences, title, true), "%s: %s", path, title);
		cr_expect(has_sequence(sequences, title, false), "%s: %s", path, title);
	}
	for (size_t i = 0; sequences && i < sequences->count; i++)
		run_sequence(sequences->items[i], path);
}

Test(starter_rules, each_correlation_fires_on_its_sequence_and_on_nothing_near)
{
	each_file(visit_sequences);
}

/* --- what every rule must tell --- */

static bool has_tag(const struct yaml_node *tags, const char *prefix, bool technique)
{
	for (size_t i = 0; tags && i < tags->count; i++) {
		struct str tag = tags->items[i]->text, rest = str_skip(tag, strlen(prefix));
		if (str_starts(tag, str_of(prefix)) && rest.n > 1 &&
		    (rest.p[0] == 't' && rest.p[1] >= '0' && rest.p[1] <= '9') == technique)
			return true;
	}
	return false;
}

static void visit_facts(const char *path, const struct file *rules, const struct file *data)
{
	static const char *const wanted[] = {"title", "description", "level",
	                                     "id",    "status",      "author"};

	(void)data;
	for (size_t i = 0; i < rules->count; i++) {
		const struct yaml_node *doc = rules->docs[i];
		const struct yaml_node *tags = yaml_get(doc, "tags"),
				       *positives = yaml_get(doc, "falsepositives");
		for (size_t j = 0; j < ARRAY_LEN(wanted); j++)
			cr_expect(yaml_text(doc, wanted[j]), "%s:%d has no %s", path, doc->line,
			          wanted[j]);
		cr_expect_eq(strlen(yaml_text(doc, "id")), 36, "%s", path);
		cr_expect(positives && positives->count > 0, "%s:%d", path, doc->line);
		cr_expect(has_tag(tags, "attack.", true), "%s:%d has no technique", path,
		          doc->line);
		cr_expect(has_tag(tags, "attack.", false), "%s:%d has no tactic", path, doc->line);
	}
}

Test(starter_rules, every_rule_says_what_it_is)
{
	each_file(visit_facts);
	cr_expect_geq(t.rules->count, 25);
	cr_expect_geq(t.rules->correlation_count, 5);
	for (size_t i = 0; i < t.rules->count; i++)
		cr_expect_not(t.rules->rules[i].unmapped, "%s", t.rules->rules[i].file);
}

/* --- real logs --- */

static char *shared_file(const char *name)
{
	const char *shared = getenv("ISOD_SHARED");
	return xasprintf("%s/corpus/syslog/%s", shared ? shared : "../shared", name);
}

/* The whole file, or skips. */
static void read_log(const char *name, struct buf *out)
{
	char *path = shared_file(name);

	buf_init(out, (size_t)64 << 20);
	int r = path_read(path, out);
	free(path);
	if (r < 0)
		cr_skip("no %s in the shared corpus", name);
}

#define FAILURES_MAX 64
#define WINDOW_NS    (300 * NS_PER_SECOND)
#define THRESHOLD    5

/* An address and its last failures, found without any of the code under test but the clock of the event. */
struct guesser {
	uint64_t times[FAILURES_MAX];
	size_t count;
	bool guessed, caught;
};

static void note_failure(struct map *guessers, struct str line, uint64_t time_ns)
{
	ptrdiff_t at = str_search(line, STR("Failed password for "));
	ptrdiff_t from = str_search(line, STR(" from "));

	if (at < 0 || from < 0)
		return;
	struct str rest = str_skip(line, (size_t)from + 6), address = str_split(&rest, ' ');
	struct guesser *g = map_get(guessers, address);
	if (!g) {
		g = xcalloc(1, sizeof(*g));
		map_put(guessers, address, g);
	}
	g->times[g->count++ % FAILURES_MAX] = time_ns;
	if (g->count >= THRESHOLD &&
	    time_ns - g->times[(g->count - THRESHOLD) % FAILURES_MAX] <= WINDOW_NS)
		g->guessed = true;
}

static void note_caught(const Isod__V1__Match *m, void *arg)
{
	if (strcmp(m->title, "Password Guessing from One Address") != 0)
		return;
	for (size_t i = 0; i < m->n_fields; i++) {
		struct guesser *g = map_get(arg, str_of(m->fields[i]->value));
		if (g && strcmp(m->fields[i]->name, "src_ip") == 0)
			g->caught = true;
	}
}

Test(starter_rules, brute_force_sources_of_a_real_sshd_log_are_caught)
{
	const struct map_entry *m;
	struct map guessers;
	struct buf log;
	size_t at = 0, guessed = 0;

	read_log("OpenSSH_2k.log", &log);
	map_init(&guessers);
	struct str rest = buf_str(&log);
	while (rest.n) {
		struct str line = str_trim(str_split(&rest, '\n'));
		const struct rule *const *hits;
		run(line, &hits);
		note_failure(&guessers, line, t.event.time_ns);
		correlate_frame(line, note_caught, &guessers);
	}
	while ((m = map_next(&guessers, &at))) {
		const struct guesser *g = m->value;
		cr_expect_eq(g->guessed, g->caught, "%.*s: %zu failures", STR_FMT(m->key),
		             g->count);
		guessed += g->guessed;
	}
	cr_expect_gt(guessed, 5);
	map_release(&guessers, free);
	buf_release(&log);
}

static void no_single_line_alarms(const char *name)
{
	struct buf log;

	read_log(name, &log);
	struct str rest = buf_str(&log);
	while (rest.n) {
		struct str line = str_trim(str_split(&rest, '\n'));
		const struct rule *const *hits;
		size_t n = run(line, &hits);
		for (size_t i = 0; i < n; i++)
			cr_expect_lt(hits[i]->level, ISOD__V1__LEVEL__LEVEL_MEDIUM, "%.*s: %.*s",
			             STR_FMT(hits[i]->title), STR_FMT(line));
	}
	buf_release(&log);
}

Test(starter_rules, no_single_line_of_a_real_server_alarms)
{
	no_single_line_alarms("Linux_2k.log");
}

Test(starter_rules, no_single_line_of_a_real_sshd_alarms)
{
	no_single_line_alarms("OpenSSH_2k.log");
}
