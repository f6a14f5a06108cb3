/* Which rules hold: fields that repeat, null and missing, keywords, nested selections, and the routing by log
 * source. */
#include "sigma.h"

#define SEL(item) "  s:\n    " item "\n  condition: s\n"

Test(match, values)
{
	static const struct match_case cases[] = {
		{SEL("a: x"), "{\"a\":\"X\"}", true},
		{SEL("a: x"), "{\"a\":\"xx\"}", false},
		{SEL("a: x"), "{\"A\":\"x\"}", false}, /* names are exact */
		{SEL("a: [x, y]"), "{\"a\":\"y\"}", true},
		{SEL("a: x\n    b: y"), "{\"a\":\"x\",\"b\":\"y\"}", true},
		{SEL("a: x\n    b: y"), "{\"a\":\"x\"}", false},
		{SEL("a: x"), "{\"a\":[\"p\",\"x\"]}", true}, /* any value of an array */
		{SEL("a.b: x"), "{\"a\":{\"b\":\"x\"}}", true},
		{SEL("a b: x"), "{\"a b\":\"x\"}", true},
		{SEL("a: x?z*"), "{\"a\":\"xyzzz\"}", true},
		{SEL("a: '*'"), "{\"a\":\"\"}", true},
		{SEL("a: '*'"), "{\"b\":\"\"}", false},
		{SEL("a: '*'"), "{\"a\":null}", false},
		{SEL("a: '?*'"), "{\"a\":\"\"}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(match, null_missing_and_empty)
{
	static const struct match_case cases[] = {
		{SEL("a: null"), "{\"a\":null}", true},
		{SEL("a: null"), "{\"b\":1}", true},
		{SEL("a: null"), "{\"a\":\"\"}", false},
		{SEL("a: null"), "{\"a\":\"null\"}", false},
		{SEL("a: ~"), "{\"b\":1}", true},
		{SEL("a:"), "{\"b\":1}", true},
		{SEL("a: 'null'"), "{\"a\":\"null\"}", true},
		{SEL("a: ''"), "{\"a\":\"\"}", true},
		{SEL("a: ''"), "{\"a\":null}", false},
		{SEL("a: ''"), "{\"b\":1}", false},
		{SEL("a: ''"), "{\"a\":\"x\"}", false},
		{SEL("a: [null, '']"), "{\"a\":\"\"}", true},
		{SEL("a: [null, '']"), "{}", true},
		{SEL("a: [null, x]"), "{\"a\":\"x\"}", true},
		{SEL("a: [null, x]"), "{\"a\":\"y\"}", false},
		{SEL("a: null"), "{\"a\":[1,null]}", true},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(match, selections)
{
	static const struct match_case cases[] = {
		/* a list of maps: any of them */
		{"  s:\n    - a: x\n    - b: y\n      c: z\n  condition: s\n", "{\"a\":\"x\"}",
	         true},
		{"  s:\n    - a: x\n    - b: y\n      c: z\n  condition: s\n", "{\"b\":\"y\"}",
	         false},
		{"  s:\n    - a: x\n    - b: y\n      c: z\n  condition: s\n",
	         "{\"b\":\"y\",\"c\":\"z\"}", true},
		/* keywords among maps, and lists in lists */
		{"  s:\n    - needle\n    - b: y\n  condition: s\n", "{\"q\":\"a needle\"}", true},
		{"  s:\n    - [needle, thread]\n    - b: y\n  condition: s\n", "{\"q\":\"thread\"}",
	         true},
		{"  s:\n    a: x\n  f:\n    b: y\n  condition: s and not f\n", "{\"a\":\"x\"}",
	         true},
		{"  s:\n    a: x\n  f:\n    b: y\n  condition: s and not f\n",
	         "{\"a\":\"x\",\"b\":\"y\"}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(match, keywords)
{
	static const struct match_case cases[] = {
		{"  k:\n    - needle\n    - pin\n  condition: k\n", "{\"a\":\"a Needle b\"}", true},
		{"  k:\n    - needle\n    - pin\n  condition: k\n", "{\"a\":\"hay\",\"b\":\"pin\"}",
	         true},
		{"  k:\n    - needle\n  condition: k\n", "{\"a\":\"hay\"}", false},
		{"  k: needle\n  condition: k\n", "{\"a\":\"needle\"}", true},
		{"  k:\n    - 'n*le'\n  condition: k\n", "{\"a\":\"a needle b\"}", true},
		{"  k:\n    '|all':\n      - needle\n      - pin\n  condition: k\n",
	         "{\"a\":\"needle\",\"b\":\"pin\"}", true},
		{"  k:\n    '|all':\n      - needle\n      - pin\n  condition: k\n",
	         "{\"a\":\"needle\"}", false},
		{"  k:\n    '|re': 'n.{4}e'\n  condition: k\n", "{\"a\":\"a needle b\"}", true},
		{"  k:\n    '|cased': Needle\n  condition: k\n", "{\"a\":\"needle\"}", false},
		{"  k:\n    '|startswith': need\n  condition: k\n", "{\"a\":\"a needle\"}", false},
		{"  k:\n    '|contains|all': [need, dle]\n  condition: k\n", "{\"a\":\"a needle\"}",
	         true},
		{"  k:\n    - 4625\n  condition: k\n", "{\"a\":4625}", true},
		/* the raw frame, also when nothing understood it */
		{"  k:\n    - failed password\n  condition: k\n", "Failed password for root", true},
		/* values as they are, not as JSON writes them */
		{"  k:\n    - 'C:\\Windows'\n  condition: k\n", "{\"a\":\"C:\\\\Windows\\\\x\"}",
	         true},
		{"  k:\n    - needle\n  condition: not k\n", "{\"a\":\"hay\"}", true},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(match, keywords_skip_derived_names)
{
	struct diags d;
	struct event e;
	const struct rule *const *hits;
	const struct ruleset_options o = {0};
	char *text = rule_text("  k:\n    - needle\n  condition: k\n");

	diags_init(&d);
	struct ruleset *set = load_text(text, &d, &o);
	struct matcher *m = matcher_new(set);
	event_setup(&e);
	event_reset(&e);
	event_put_derived(&e, STR("a"), STR("needle"), VALUE_STRING);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 0);
	event_put(&e, STR("b"), STR("needle"), VALUE_STRING);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 1);
	event_release(&e);
	matcher_free(m);
	ruleset_free(set);
	diags_release(&d);
	free(text);
}

static const char three_rules[] = "title: one\nid: 10000000-0000-4000-8000-000000000000\n"
				  "logsource: {product: windows, category: process_creation}\n"
				  "detection: {s: {a: x}, condition: s}\n"
				  "---\n"
				  "title: two\nid: 20000000-0000-4000-8000-000000000000\n"
				  "logsource: {product: linux, service: sshd}\n"
				  "detection: {s: {a: x}, condition: s}\n"
				  "---\n"
				  "title: three\nid: 30000000-0000-4000-8000-000000000000\n"
				  "logsource: {product: no_such_product}\n"
				  "detection: {s: {a: x}, condition: s}\n";

/* The titles of the rules that hold, in order. */
static void run_titles(struct matcher *m, const struct event *e, const struct logsource_set *set,
                       struct buf *out)
{
	const struct rule *const *hits;
	size_t n = matcher_run(m, e, set, &hits);

	buf_reset(out);
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%s%.*s", i ? " " : "", STR_FMT(hits[i]->title));
}

Test(match, log_sources_let_rules_in)
{
	struct diags d;
	struct event e;
	struct buf titles;
	struct logsource_set sources = {0};
	struct logsources *l = NULL;
	struct ruleset_options o = {0};

	diags_init(&d);
	cr_assert_eq(logsources_load("conf/logsources.yaml", &d, &l), 0);
	o.logsources = l;
	struct ruleset *set = load_text(three_rules, &d, &o);
	log_diags(&d);
	cr_assert_eq(set->count, 3);
	cr_assert(set->routed);
	cr_expect_not(set->rules[0].unmapped);
	cr_expect(set->rules[2].unmapped);
	struct matcher *m = matcher_new(set);
	event_setup(&e);
	event_reset(&e);
	event_put(&e, STR("a"), STR("x"), VALUE_STRING);
	buf_init(&titles, 0);
	sources = set->rules[0].sources;
	sources.any = true;
	run_titles(m, &e, &sources, &titles);
	cr_expect_str_eq(buf_cstr(&titles), "one");
	sources = set->rules[1].sources;
	sources.any = true;
	run_titles(m, &e, &sources, &titles);
	cr_expect_str_eq(buf_cstr(&titles), "two");
	run_titles(m, &e, &(struct logsource_set){0}, &titles);
	cr_expect_str_eq(buf_cstr(&titles), "three");
	run_titles(m, &e, NULL, &titles);
	cr_expect_str_eq(buf_cstr(&titles), "one two three");
	matcher_free(m);
	ruleset_free(set);
	o.logsources = NULL;
	set = load_text(three_rules, &d, &o);
	cr_assert_not(set->routed);
	m = matcher_new(set);
	run_titles(m, &e, &sources, &titles);
	cr_expect_str_eq(buf_cstr(&titles), "one two three", "no table: every rule is tried");
	matcher_free(m);
	ruleset_free(set);
	logsources_free(l);
	buf_release(&titles);
	event_release(&e);
	diags_release(&d);
}

Test(match, an_event_with_the_most_fields_there_can_be)
{
	struct diags d;
	struct event e;
	const struct rule *const *hits;
	const struct ruleset_options o = {0};
	char *text = rule_text("  s:\n    f: x\n  k:\n    - needle\n  condition: s or k\n");

	diags_init(&d);
	struct ruleset *set = load_text(text, &d, &o);
	struct matcher *m = matcher_new(set);
	event_setup(&e);
	event_reset(&e);
	while (event_put(&e, STR("f"), STR("Y"), VALUE_STRING))
		;
	cr_expect_eq(e.count, EVENT_FIELDS_MAX);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 0);
	e.fields[EVENT_FIELDS_MAX - 1].value = STR("X");
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 1);
	event_release(&e);
	matcher_free(m);
	ruleset_free(set);
	diags_release(&d);
	free(text);
}
