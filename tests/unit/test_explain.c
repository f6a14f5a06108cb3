/* The explanation of a verdict: it says the same as the matcher, for every rule and event at hand, and every verdict
 * inside it follows from those below. What it points at is what the event has. */
#include "sigma.h"
#include "sigma/explain.h"

static struct {
	struct logsources *logsources;
	struct patterns *patterns;
	struct ruleset *rules;
	struct decoder *decoder;
	struct matcher *matcher;
	struct event event;
	struct logsource_set sources;
	struct arena arena;
} t;

static void load_stages(const char *rules)
{
	const struct ruleset_options options = {.logsources = t.logsources};
	struct diags d;

	diags_init(&d);
	cr_assert_eq(ruleset_load_with(&rules, 1, &options, &d, &t.rules), 0);
	cr_assert_gt(t.rules->count, 0);
	diags_release(&d);
	t.matcher = matcher_new(t.rules);
}

static void setup(void)
{
	struct diags d;

	diags_init(&d);
	cr_assert_eq(logsources_load("conf/logsources.yaml", &d, &t.logsources), 0);
	cr_assert_eq(patterns_load("conf/patterns.yaml", &d, &t.patterns), 0);
	diags_release(&d);
	t.decoder = decoder_new(t.patterns);
	event_setup(&t.event);
	arena_init(&t.arena, 0);
}

static void teardown(void)
{
	arena_release(&t.arena);
	event_release(&t.event);
	matcher_free(t.matcher);
	decoder_free(t.decoder);
	ruleset_free(t.rules);
	patterns_free(t.patterns);
	logsources_free(t.logsources);
}

TestSuite(explain, .init = setup, .fini = teardown);

/* ---- verdicts follow from each other ---- */

static size_t held_parts(const struct explained *x)
{
	size_t held = 0;

	for (size_t i = 0; i < x->count; i++)
		held += x->parts[i].holds;
	return held;
}

static bool item_follows(const struct explained *x)
{
	size_t held = 0;

	for (size_t i = 0; i < x->item->count; i++) {
		const struct explained_test *test = &x->tests[i];
		bool shown = test->field || test->raw;
		bool of_field = test->test->kind != TEST_NULL && test->test->kind != TEST_EXISTS;
		held += test->holds;
		if (shown != (test->holds && of_field))
			return false;
		if (test->field && x->item->field.p && !str_eq(test->field->name, x->item->field))
			return false;
	}
	bool fits = x->item->all ? held == x->item->count : held > 0;
	return (fits != x->item->negate) == x->holds;
}

static bool follows(const struct explained *x)
{
	size_t held = held_parts(x);

	for (size_t i = 0; i < x->count; i++)
		if (!follows(&x->parts[i]))
			return false;
	switch (x->kind) {
	case EXPLAINED_AND:
	case EXPLAINED_MAP: return x->holds == (held == x->count);
	case EXPLAINED_OR:
	case EXPLAINED_LIST: return x->holds == (held > 0);
	case EXPLAINED_NOT: return x->count == 1 && x->holds == (held == 0);
	case EXPLAINED_AT_LEAST: return x->holds == (held >= x->need);
	case EXPLAINED_SELECTION: return x->count == 1 && x->holds == (held == 1);
	case EXPLAINED_ITEM: return item_follows(x);
	}
	return false;
}

/* ---- the same as the matcher ---- */

static void decode(struct str frame)
{
	event_reset(&t.event);
	t.event.received_ns = UINT64_C(1767222000000000000);
	t.event.source = STR("test");
	event_decode(t.decoder, &t.event, frame);
	logsources_classify(t.logsources, &t.event, &t.sources);
}

/* Every rule whose number is `remainder` modulo `stride`. Returns how many rules held. */
static size_t agree(struct str frame, size_t stride, size_t remainder)
{
	const struct rule *const *hits;
	size_t hit = 0;

	decode(frame);
	size_t count = matcher_run(t.matcher, &t.event, &t.sources, &hits);
	for (size_t i = 0; i < t.rules->count; i++) {
		const struct rule *rule = &t.rules->rules[i];
		struct explanation x;
		while (hit < count && hits[hit] < rule)
			hit++;
		bool holds = hit < count && hits[hit] == rule;
		if (!holds && i % stride != remainder)
			continue;
		arena_reset(&t.arena);
		explain_rule(t.rules, rule, &t.event, &t.sources, &t.arena, &x);
		cr_assert_eq(x.matches, holds, "%.*s on %.*s", STR_FMT(rule->title),
		             STR_FMT(str_head(frame, 200)));
		cr_assert(follows(&x.condition), "%.*s on %.*s", STR_FMT(rule->title),
		          STR_FMT(str_head(frame, 200)));
	}
	return count;
}

static size_t agree_on_sample(const char *path)
{
	static const char *const keys[] = {"match", "miss"};
	struct yaml_node **docs;
	struct arena arena;
	struct diags d;
	size_t count, held = 0;

	arena_init(&arena, 0);
	diags_init(&d);
	cr_assert_eq(yaml_load(&arena, path, &d, &docs, &count), 0);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct yaml_node *lines = yaml_get(docs[0], keys[i]);
		for (size_t j = 0; lines && j < lines->count; j++)
			held += agree(lines->items[j]->text, 1, 0);
	}
	diags_release(&d);
	arena_release(&arena);
	return held;
}

Test(explain, says_what_the_matcher_says_of_the_starter_rules)
{
	static const char *const suffixes[] = {".yml", NULL};
	size_t count, held = 0;
	char **paths;

	load_stages("conf/rules");
	cr_assert_eq(path_list("tests/data/rules", suffixes, &paths, &count), 0);
	for (size_t i = 0; i < count; i++)
		held += agree_on_sample(paths[i]);
	path_free_list(paths, count);
	cr_expect_gt(held, 50);
}

static char *shared_path(const char *name)
{
	const char *shared = getenv("ISOD_SHARED");

	return xasprintf("%s/corpus/%s", shared ? shared : "../shared", name);
}

/* All rules that hold; of the others a different ninetieth for each event, so that the test stays short. */
Test(explain, says_what_the_matcher_says_of_the_regression_corpus)
{
	char *rules = shared_path("sigma"), *events = shared_path("regression/events.ndjson");
	size_t held = 0, number = 0;
	struct buf text;

	buf_init(&text, (size_t)64 << 20);
	if (access(rules, R_OK) != 0 || path_read(events, &text) < 0)
		cr_skip("no SigmaHQ rules in the shared corpus");
	load_stages(rules);
	for (struct str rest = buf_str(&text); rest.n; number++) {
		struct str line = str_split(&rest, '\n');
		if (line.n)
			held += agree(line, 90, number % 90);
	}
	cr_expect_gt(held, 110);
	buf_release(&text);
	free(events);
	free(rules);
}

/* ---- what it points at ---- */

static void explain_text(const char *detection, const char *json, struct explanation *ret)
{
	const struct ruleset_options options = {0};
	char *text = rule_text(detection);
	struct diags d;

	diags_init(&d);
	t.rules = load_text(text, &d, &options);
	cr_assert_eq(d.errors, 0);
	cr_assert_eq(t.rules->count, 1);
	decode(str_of(json));
	explain_rule(t.rules, &t.rules->rules[0], &t.event, NULL, &t.arena, ret);
	diags_release(&d);
	free(text);
}

static void check_value(const struct explained_test *x, const char *written, const char *value)
{
	cr_expect(str_eq(x->test->written, str_of(written)), "%.*s", STR_FMT(x->test->written));
	cr_expect_eq(x->holds, value != NULL);
	if (!value)
		cr_expect_null(x->field);
	else
		cr_expect(x->field && str_eq(x->field->value, str_of(value)), "%s", value);
}

Test(explain, names_the_value_that_decided)
{
	struct explanation x;

	explain_text("  selection:\n"
	             "    image|endswith: ['\\cmd.exe', '\\pwsh.exe']\n"
	             "    missing: 1\n"
	             "  condition: selection\n",
	             "{\"image\":[\"C:\\\\a.exe\",\"C:\\\\PWSH.EXE\"]}", &x);
	cr_assert_eq(x.condition.kind, EXPLAINED_SELECTION);
	cr_expect(str_eq(x.condition.name, STR("selection")));
	cr_expect_not(x.matches);
	cr_expect(x.source_fits);
	const struct explained *map = &x.condition.parts[0];
	cr_assert_eq(map->kind, EXPLAINED_MAP);
	cr_assert_eq(map->count, 2);
	cr_expect(map->parts[0].holds);
	cr_expect(str_eq(map->parts[0].item->key, STR("image|endswith")));
	check_value(&map->parts[0].tests[0], "\\cmd.exe", NULL);
	check_value(&map->parts[0].tests[1], "\\pwsh.exe", "C:\\PWSH.EXE");
	cr_expect_not(map->parts[1].holds);
	cr_expect_null(map->parts[1].field);
	check_value(&map->parts[1].tests[0], "1", NULL);
}

Test(explain, tells_where_a_keyword_stands)
{
	struct explanation x;

	explain_text("  keywords: [needle, '\"b\"']\n  condition: not keywords\n",
	             "{\"a\":\"hay\",\"b\":\"a needle in hay\"}", &x);
	cr_assert_eq(x.condition.kind, EXPLAINED_NOT);
	cr_expect_not(x.condition.holds);
	const struct explained *item = &x.condition.parts[0].parts[0];
	cr_assert_eq(item->kind, EXPLAINED_ITEM);
	cr_expect_null(item->item->key.p);
	check_value(&item->tests[0], "needle", "a needle in hay");
	cr_expect(item->tests[1].raw && item->tests[1].holds, "only the frame has the quotes");
}

Test(explain, tells_a_negated_item_from_its_values)
{
	struct explanation x;

	explain_text("  selection:\n    a|neq: x\n  condition: selection\n", "{\"a\":\"X\"}", &x);
	const struct explained *item = &x.condition.parts[0];
	cr_expect_not(item->holds);
	check_value(&item->tests[0], "x", "X");
}
