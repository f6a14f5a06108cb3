/* isoctl rules test: runs the tests that stand beside rules, through the real stages: decode, classify, match, and for
 * correlations the officer's own engine. conf/rules/README.md describes the format.
 *
 * Time in a test is the events' own: each arrives when it says it happened, or, when it tells no time or an earlier one,
 * together with the one before. So a test gives the same answer on every day. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/pbjson.h"
#include "ingest/match_record.h"
#include "isoctl_rules.h"
#include "isoctl_rules_test.h"
#include "officer/correlate.h"

#define REPEAT_MAX 1000000 /* times a sequence's lines are sent: seconds of work */
/* When events arrive that tell no time; also gives RFC 3164 its year. */
#define RECEIVED_DEFAULT "2025-12-31T23:00:00Z"

struct tester {
	struct stages stages;
	struct test_report report;
	struct map suites; /* id and title → struct test_suite */
	struct diags *diags;
	const char *tests; /* --tests, or NULL */
	size_t files;      /* of tests */
	/* Of the document at hand: */
	const char *file;
	uint64_t received_ns;
	/* Of the sequence at hand: */
	struct match_record record;
	struct correlate *correlate;
	Isod__V1__Settings settings;
	uint64_t now_ns, sequence;
	const char *wanted; /* id of the correlation */
	uint64_t fired;
};

static int complain(struct tester *t, const struct yaml_node *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int complain(struct tester *t, const struct yaml_node *at, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	diag_add(t->diags, DIAG_ERROR, t->file, at->line, at->column, "%s", text);
	return -EINVAL;
}

/* ---- results ---- */

static void add_result(struct tester *t, struct test_suite *s, const struct yaml_node *at,
                       const char *name, struct str frame, const char *why)
{
	xgrow(&s->cases, &s->cap, s->count + 1, sizeof(*s->cases));
	s->cases[s->count++] = (struct test_case){
		.name = xstrdup(name),
		.file = xstrdup(t->file),
		.line = at->line,
		.frame = frame.p ? xstrndup(frame.p, frame.n) : NULL,
		.why = why ? xstrdup(why) : NULL,
	};
	s->failed += why != NULL;
}

static void enter(struct tester *t, struct str name, struct test_suite *s)
{
	if (name.n && !map_get(&t->suites, name))
		map_put(&t->suites, name, s);
}

static void make_suites(struct tester *t)
{
	const struct ruleset *set = t->stages.rules;
	struct test_report *r = &t->report;

	r->suites = xcalloc(set->count + set->correlation_count, sizeof(*r->suites));
	for (size_t i = 0; i < set->count; i++) {
		const struct rule *rule = &set->rules[i];
		struct test_suite *s = &r->suites[r->count++];
		*s = (struct test_suite){.id = rule->id, .title = rule->title, .file = rule->file};
		enter(t, rule->id, s);
	}
	for (size_t i = 0; i < set->correlation_count; i++) {
		const Isod__V1__Correlation *c = set->correlations[i];
		struct test_suite *s = &r->suites[r->count++];
		*s = (struct test_suite){.id = str_of(c->id), .title = str_of(c->title)};
		enter(t, s->id, s);
	}
	for (size_t i = 0; i < set->count; i++)
		enter(t, set->rules[i].name, &r->suites[i]);
	for (size_t i = 0; i < r->count; i++)
		enter(t, r->suites[i].title, &r->suites[i]);
}

static void release_report(struct test_report *r)
{
	for (size_t i = 0; i < r->count; i++) {
		for (size_t j = 0; j < r->suites[i].count; j++) {
			struct test_case *c = &r->suites[i].cases[j];
			free(c->name);
			free(c->file);
			free(c->frame);
			free(c->why);
		}
		free(r->suites[i].cases);
	}
	free(r->suites);
}

/* ---- events ---- */

/* A YAML tree as JSON. */
static void add_json(struct buf *out, const struct yaml_node *n)
{
	switch (n->kind) {
	case YAML_NULL: buf_add(out, STR("null")); break;
	case YAML_SCALAR:
		if (!n->quoted && (event_is_number(n->text) || str_eq(n->text, STR("true")) ||
		                   str_eq(n->text, STR("false"))))
			buf_add(out, n->text);
		else
			json_quote(out, n->text);
		break;
	case YAML_LIST:
		for (size_t i = 0; i < n->count; i++) {
			buf_putc(out, i ? ',' : '[');
			add_json(out, n->items[i]);
		}
		buf_add(out, n->count ? STR("]") : STR("[]"));
		break;
	case YAML_MAP:
		for (size_t i = 0; i < n->count; i++) {
			buf_putc(out, i ? ',' : '{');
			json_quote(out, n->pairs[i].key);
			buf_putc(out, ':');
			add_json(out, n->pairs[i].value);
		}
		buf_add(out, n->count ? STR("}") : STR("{}"));
		break;
	}
}

/* A frame as it stands, or a map of fields as JSON. 0 or -EINVAL after an error. */
static int frame_of(struct tester *t, const struct yaml_node *n, struct buf *out)
{
	buf_reset(out);
	if (n->kind == YAML_SCALAR)
		return buf_add(out, n->text);
	if (n->kind == YAML_MAP) {
		add_json(out, n);
		return 0;
	}
	return complain(t, n, "an event is a frame's text or a map of fields, not %s",
	                yaml_kind_name(n));
}

static bool rule_holds(struct tester *t, struct str frame, const struct rule *rule)
{
	const struct rule *const *hits;

	stages_decode(&t->stages, frame, STAGE_FILE, t->received_ns);
	size_t n = stages_match(&t->stages, &hits);
	for (size_t i = 0; i < n; i++)
		if (hits[i] == rule)
			return true;
	return false;
}

static void try_frame(struct tester *t, struct test_suite *s, const struct yaml_node *at,
                      const char *name, struct str frame, bool wanted)
{
	const struct rule *rule = ruleset_find(t->stages.rules, s->id);
	const char *why = NULL;
	bool holds = rule_holds(t, frame, rule);

	if (wanted && !holds)
		why = rule_is_tried(t->stages.rules, rule,
		                    t->stages.logsources ? &t->stages.sources : NULL)
		              ? "must match, but the condition does not hold"
		              : "must match, but the event is not of the rule's log source";
	else if (!wanted && holds)
		why = "must not match, but does";
	add_result(t, s, at, name, frame, why);
}

static void try_list(struct tester *t, struct test_suite *s, const struct yaml_node *lines,
                     const char *key, bool wanted)
{
	struct buf frame;
	char name[64];

	if (lines->kind != YAML_LIST || lines->count == 0) {
		complain(t, lines, "`%s` is a list of events", key);
		return;
	}
	buf_init(&frame, 0);
	for (size_t i = 0; i < lines->count; i++) {
		snprintf(name, sizeof(name), "%s %zu", key, i + 1);
		if (frame_of(t, lines->items[i], &frame) == 0)
			try_frame(t, s, lines->items[i], name, buf_str(&frame), wanted);
	}
	buf_release(&frame);
}

/* Every line of the files is an event. */
static void try_files(struct tester *t, struct test_suite *s, const struct yaml_node *files,
                      const char *key, bool wanted)
{
	bool list = files->kind == YAML_LIST;

	for (size_t i = 0; i < (list ? files->count : 1); i++) {
		const struct yaml_node *n = list ? files->items[i] : files;
		struct lines lines = {0};
		struct str line;
		char name[300];
		if (n->kind != YAML_SCALAR) {
			complain(t, n, "`%s` names files, not %s", key, yaml_kind_name(n));
			continue;
		}
		char *path = path_beside(t->file, n->text.p);
		if (access(path, R_OK) != 0)
			complain(t, n, "%s: %s", path, strerror(errno));
		else if (lines_open(&lines, path) == 0)
			while (lines_next(&lines, &line) > 0) {
				snprintf(name, sizeof(name), "%.200s line %llu", n->text.p,
				         (unsigned long long)lines.number);
				if (line.n)
					try_frame(t, s, n, name, line, wanted);
			}
		lines_close(&lines);
		free(path);
	}
}

/* ---- sequences ---- */

static void start_correlating(struct tester *t)
{
	correlate_free(t->correlate);
	t->correlate = correlate_new();
	isod__v1__settings__init(&t->settings);
	t->settings.correlations = t->stages.rules->correlations;
	t->settings.n_correlations = t->stages.rules->correlation_count;
	t->settings.correlation_skew_ns = NS_PER_DAY;
	t->settings.correlation_lateness_ns = 5 * NS_PER_MINUTE;
	correlate_settings(t->correlate, &t->settings);
	t->now_ns = 0;
	t->fired = 0;
}

static struct step step_at(const struct tester *t, uint64_t time_ns, const Isod__V1__Record *record)
{
	static const struct effects none = {0};

	return (struct step){.sequence = t->sequence,
	                     .time_ns = time_ns,
	                     .record = record,
	                     .settings = &t->settings,
	                     .effects = &none};
}

static void count_fired(struct tester *t, const Isod__V1__Match *const *derived, size_t count)
{
	for (size_t i = 0; i < count; i++)
		t->fired += strcmp(derived[i]->rule, t->wanted) == 0;
}

static void feed(struct tester *t, const Isod__V1__Record *record)
{
	const struct step step = step_at(t, t->now_ns, record);
	const Isod__V1__Match *const *derived;
	size_t count = correlate_on_match(t->correlate, &step, record->match, &derived);

	count_fired(t, derived, count);
}

/* What correlations waited for in vain before `until_ns`. */
static void let_time_pass(struct tester *t, uint64_t until_ns)
{
	const Isod__V1__Match *const *derived;
	uint64_t due;

	while ((due = correlate_next_deadline(t->correlate)) < until_ns) {
		const struct step step = step_at(t, due, NULL);
		size_t count = correlate_on_clock(t->correlate, &step, &derived);
		count_fired(t, derived, count);
	}
}

static void correlate_frame(struct tester *t, struct str frame)
{
	const struct rule *const *hits;
	struct event *e = &t->stages.event;

	stages_decode(&t->stages, frame, STAGE_FILE, t->received_ns);
	if (e->time_ns > t->now_ns)
		t->now_ns = e->time_ns;
	if (t->now_ns == 0)
		t->now_ns = t->received_ns;
	let_time_pass(t, t->now_ns);
	e->received_ns = t->now_ns;
	size_t n = stages_match(&t->stages, &hits);
	match_record_event(&t->record, e, 0, ++t->sequence);
	for (size_t i = 0; i < n; i++)
		feed(t, match_record_rule(&t->record, e, hits[i]));
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

static int number(struct tester *t, const struct yaml_node *map, const char *key, uint64_t most,
                  uint64_t *ret)
{
	const struct yaml_node *n = yaml_get(map, key);
	uint64_t value;

	if (!n)
		return 0;
	if (n->kind != YAML_SCALAR || str_to_u64(n->text, &value) < 0 || value > most)
		return complain(t, n, "`%s` is a whole number up to %llu", key,
		                (unsigned long long)most);
	*ret = value;
	return 0;
}

static int check_keys(struct tester *t, const struct yaml_node *map, const char *const *known,
                      size_t count)
{
	int r = 0;

	if (map->kind != YAML_MAP)
		return complain(t, map, "this must be a map, not %s", yaml_kind_name(map));
	for (size_t i = 0; i < map->count; i++) {
		const struct yaml_pair *p = &map->pairs[i];
		bool found = false;
		for (size_t j = 0; j < count; j++)
			found |= str_eq(p->key, str_of(known[j]));
		if (found)
			continue;
		const struct yaml_node at = {.line = p->line, .column = p->column};
		const char *near = diag_suggest(p->key.p, known, count);
		r = complain(t, &at, "unknown key `%.80s`%s%s%s", p->key.p,
		             near ? ": did you mean `" : "", near ? near : "", near ? "`?" : "");
	}
	return r;
}

struct repeat {
	uint64_t count, from, step;
};

static int read_repeat(struct tester *t, const struct yaml_node *sequence, struct repeat *ret)
{
	static const char *const keys[] = {"count", "from", "step"};
	const struct yaml_node *n = yaml_get(sequence, "repeat");

	*ret = (struct repeat){1, 0, 1};
	if (!n)
		return 0;
	if (check_keys(t, n, keys, ARRAY_LEN(keys)) < 0 ||
	    number(t, n, "count", REPEAT_MAX, &ret->count) < 0 ||
	    number(t, n, "from", UINT32_MAX, &ret->from) < 0 ||
	    number(t, n, "step", UINT32_MAX, &ret->step) < 0)
		return -EINVAL;
	return 0;
}

static int send_lines(struct tester *t, const struct yaml_node *lines, const struct repeat *repeat)
{
	struct buf frame, filled;
	int r = 0;

	buf_init(&frame, 0);
	buf_init(&filled, 0);
	for (uint64_t n = 0; n < repeat->count && r == 0; n++)
		for (size_t i = 0; i < lines->count && r == 0; i++) {
			r = frame_of(t, lines->items[i], &frame);
			fill_in(buf_str(&frame), repeat->from + n * repeat->step, &filled);
			if (r == 0)
				correlate_frame(t, buf_str(&filled));
		}
	buf_release(&frame);
	buf_release(&filled);
	return r;
}

static void try_sequence(struct tester *t, const struct yaml_node *n, size_t at)
{
	static const char *const keys[] = {"correlation", "lines", "repeat", "fires"};
	const struct yaml_node *lines = yaml_get(n, "lines");
	const struct yaml_node *correlation = yaml_get(n, "correlation");
	struct test_suite *s;
	struct repeat repeat;
	char name[64], why[128];
	uint64_t fires = 1;

	if (check_keys(t, n, keys, ARRAY_LEN(keys)) < 0 || read_repeat(t, n, &repeat) < 0 ||
	    number(t, n, "fires", UINT32_MAX, &fires) < 0)
		return;
	if (!correlation || correlation->kind != YAML_SCALAR || !lines ||
	    lines->kind != YAML_LIST || lines->count == 0) {
		complain(t, n, "a sequence has a `correlation` and a list of `lines`");
		return;
	}
	s = map_get(&t->suites, correlation->text);
	if (!s || s->file) {
		complain(t, correlation, "no correlation has the id or title `%.100s`",
		         correlation->text.p);
		return;
	}
	start_correlating(t);
	t->wanted = s->id.p;
	if (send_lines(t, lines, &repeat) < 0)
		return;
	let_time_pass(t, NEVER);
	snprintf(name, sizeof(name), "sequence %zu", at);
	snprintf(why, sizeof(why), "must fire %llu times, but fired %llu times",
	         (unsigned long long)fires, (unsigned long long)t->fired);
	add_result(t, s, n, name, STR_NONE, t->fired == fires ? NULL : why);
}

/* ---- files ---- */

/* The rule a document is about: named by `rule`, else the first detection rule of the file of rules. */
static struct test_suite *suite_of(struct tester *t, const struct yaml_node *doc, const char *rules)
{
	const struct yaml_node *rule = yaml_get(doc, "rule");
	struct test_suite *s = NULL;

	if (rule && rule->kind == YAML_SCALAR)
		s = map_get(&t->suites, rule->text);
	for (size_t i = 0; !rule && !s && i < t->report.count; i++)
		if (t->report.suites[i].file && strcmp(t->report.suites[i].file, rules) == 0)
			s = &t->report.suites[i];
	if (s && s->file)
		return s;
	if (rule)
		complain(t, rule, "no detection rule has the id, name or title `%.100s`",
		         rule->text.p ? rule->text.p : "");
	else
		complain(t, doc, "there is no detection rule in %.200s", rules);
	return NULL;
}

static int read_received(struct tester *t, const struct yaml_node *doc)
{
	const struct yaml_node *n = yaml_get(doc, "received");
	struct str text = STR(RECEIVED_DEFAULT);
	size_t used = 0;

	if (n)
		text = n->kind == YAML_SCALAR ? n->text : STR("");
	if (clock_parse(text, &t->received_ns, &used) < 0 || used != text.n)
		return complain(t, n ? n : doc, "`received` is a time like " RECEIVED_DEFAULT);
	return 0;
}

static void run_document(struct tester *t, const struct yaml_node *doc, const char *rules)
{
	static const char *const keys[] = {"rule",        "received",   "match",    "miss",
	                                   "match_files", "miss_files", "sequences"};
	static const struct {
		const char *key;
		void (*run)(struct tester *, struct test_suite *, const struct yaml_node *,
		            const char *, bool);
		bool wanted;
	} kinds[] = {{"match", try_list, true},
	             {"miss", try_list, false},
	             {"match_files", try_files, true},
	             {"miss_files", try_files, false}};
	const struct yaml_node *sequences = yaml_get(doc, "sequences"), *n;
	struct test_suite *s = NULL;

	if (check_keys(t, doc, keys, ARRAY_LEN(keys)) < 0 || read_received(t, doc) < 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!(n = yaml_get(doc, kinds[i].key)))
			continue;
		if (!s && !(s = suite_of(t, doc, rules)))
			return;
		kinds[i].run(t, s, n, kinds[i].key, kinds[i].wanted);
	}
	if (sequences && sequences->kind != YAML_LIST)
		complain(t, sequences, "`sequences` is a list");
	for (size_t i = 0; sequences && sequences->kind == YAML_LIST && i < sequences->count; i++)
		try_sequence(t, sequences->items[i], i + 1);
}

static void run_file(struct tester *t, const char *file, const char *rules)
{
	struct yaml_node **docs;
	struct arena arena;
	size_t count;

	arena_init(&arena, 0);
	t->file = file;
	t->files++;
	if (yaml_load(&arena, file, t->diags, &docs, &count) == 0)
		for (size_t i = 0; i < count; i++)
			run_document(t, docs[i], rules);
	arena_release(&arena);
}

/* Where the tests of the file of rules may be, found below `root`: under --tests, in `tests` beside it, in `tests`
 * under the root, in `tests` beside the root. The first that is there; the caller frees. NULL: nowhere. */
static char *find_tests(const struct tester *t, const char *root, const char *rules)
{
	const char *below = rules + strlen(root);
	const char *slash = strrchr(rules, '/');
	const char *name = slash ? slash + 1 : rules;
	char *places[4] = {0}, *found = NULL;

	while (*below == '/')
		below++;
	if (t->tests) {
		places[0] = xasprintf("%s/%s", t->tests, *below ? below : name);
	} else {
		places[0] = xasprintf("%.*stests/%s", (int)(name - rules), rules, name);
		places[1] = xasprintf("%s/tests/%s", root, below);
		places[2] = xasprintf("%s/../tests/%s", root, below);
	}
	for (size_t i = 0; places[i]; i++) {
		if (!found && access(places[i], F_OK) == 0)
			found = places[i];
		else
			free(places[i]);
	}
	return found;
}

static void run_root(struct tester *t, const char *root)
{
	static const char *const suffixes[] = {".yml", ".yaml", NULL};
	char **files;
	size_t count;

	if (path_list(root, suffixes, &files, &count) < 0)
		return; /* told when the rules were loaded */
	for (size_t i = 0; i < count; i++) {
		char *tests =
			ruleset_is_test(root, files[i]) ? NULL : find_tests(t, root, files[i]);
		if (tests)
			run_file(t, tests, files[i]);
		free(tests);
	}
	path_free_list(files, count);
}

/* ---- the command ---- */

static int report(const struct isoctl *ctl, struct tester *t, const char *junit)
{
	size_t failed = 0;

	for (size_t i = 0; i < t->report.count; i++)
		failed += t->report.suites[i].failed;
	if (ctl->json)
		report_print_json(&t->report);
	else
		report_print(&t->report);
	if (t->files == 0)
		fprintf(stderr, "isoctl: no tests: they are looked for in a folder `tests` beside "
		                "the rules, or where --tests says\n");
	int r = junit ? report_write_junit(&t->report, junit) : 0;
	if (r < 0)
		fprintf(stderr, "isoctl: %s: %s\n", junit, strerror(-r));
	return r < 0 || failed || t->files == 0;
}

static void tester_release(struct tester *t)
{
	correlate_free(t->correlate);
	match_record_release(&t->record);
	map_release(&t->suites, NULL);
	release_report(&t->report);
	stages_release(&t->stages);
}

int rules_test(const struct isoctl *ctl, int argc, char **argv)
{
	struct stage_files files = {0};
	struct tester t = {0};
	const char *junit = NULL;
	const struct isoctl_option options[] = {{.name = "--tests", .text = &t.tests},
	                                        {.name = "--junit", .text = &junit},
	                                        STAGE_OPTIONS(files),
	                                        {0}};
	struct diags diags;
	int failed = 1;

	if (rules_arguments("test", options, 1, &argc, argv) != 0)
		return 2;
	diags_init(&diags);
	t.diags = &diags;
	map_init(&t.suites);
	match_record_init(&t.record);
	int r = stages_load(&t.stages, &files, argv, argc, &diags);
	if (r == 0) {
		make_suites(&t);
		for (int i = 0; i < argc; i++)
			run_root(&t, argv[i]);
	}
	rules_print_problems(stderr, &diags, false);
	if (r == 0)
		failed = report(ctl, &t, junit);
	r = r < 0 || failed || diags.errors || !output_finish();
	tester_release(&t);
	diags_release(&diags);
	return r;
}
