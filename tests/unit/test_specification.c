/* The specification 2.1.0 clause by clause, in the order of its texts: rules, modifiers, filters, correlations. What each
 * clause means in detail is tested where the part is tested; here each has one case that shows it, and one that shows its
 * limit, so that nothing of the text is forgotten. */
#include "sigma.h"

#define SEL(item) "  s:\n    " item "\n  condition: s\n"
#define EN_DASH   "\xe2\x80\x93"
#define EM_DASH   "\xe2\x80\x94"
#define BAR       "\xe2\x80\x95"

/* ---- rules: values ---- */

Test(specification, values_of_text)
{
	static const struct match_case cases[] = {
		/* letter case does not count, but for regular expressions */
		{SEL("a: FOO"), "{\"a\":\"foo\"}", true},
		{SEL("a|re: FOO"), "{\"a\":\"foo\"}", false},
		/* ? is one character, * any number of them */
		{SEL("a: 'prog?.exe'"), "{\"a\":\"progA.exe\"}", true},
		{SEL("a: 'prog?.exe'"), "{\"a\":\"prog.exe\"}", false},
		{SEL("a: 'prog?.exe'"), "{\"a\":\"progAB.exe\"}", false},
		{SEL("a: 'av_V*.exe'"), "{\"a\":\"av_V21.2.exe\"}", true},
		{SEL("a: 'av_V*.exe'"), "{\"a\":\"av_V.exe\"}", true},
		/* a backslash before anything else is itself, once or twice */
		{SEL("a: 'C:\\x'"), "{\"a\":\"C:\\\\x\"}", true},
		{SEL("a: 'C:\\\\x'"), "{\"a\":\"C:\\\\x\"}", true},
		{SEL("a: 'C:\\\\x'"), "{\"a\":\"C:\\\\\\\\x\"}", false},
		/* an escaped wildcard is a character */
		{SEL("a: 'x\\*'"), "{\"a\":\"x*\"}", true},
		{SEL("a: 'x\\*'"), "{\"a\":\"xy\"}", false},
		{SEL("a: 'x\\?'"), "{\"a\":\"x?\"}", true},
		{SEL("a: 'x\\?'"), "{\"a\":\"xy\"}", false},
		/* two and a wildcard: a backslash and then anything */
		{SEL("a: 'x\\\\*'"), "{\"a\":\"x\\\\yz\"}", true},
		{SEL("a: 'x\\\\*'"), "{\"a\":\"x*\"}", false},
		/* three and a wildcard: a backslash and that character */
		{SEL("a: 'x\\\\\\*'"), "{\"a\":\"x\\\\*\"}", true},
		{SEL("a: 'x\\\\\\*'"), "{\"a\":\"x\\\\y\"}", false},
		/* three or four are two */
		{SEL("a: 'x\\\\\\y'"), "{\"a\":\"x\\\\\\\\y\"}", true},
		{SEL("a: 'x\\\\\\\\y'"), "{\"a\":\"x\\\\\\\\y\"}", true},
		{SEL("a: 'x\\\\\\\\y'"), "{\"a\":\"x\\\\y\"}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(specification, lists_maps_and_keywords)
{
	static const struct match_case cases[] = {
		/* a list of texts: the whole event, any of them */
		{"  k: [event::clear, 'x -n evil']\n  condition: k\n", "{\"m\":\"a EVENT::clear\"}",
	         true},
		{"  k: [event::clear, 'x -n evil']\n  condition: k\n", "{\"m\":\"event\"}", false},
		/* all of them, in whatever field */
		{"  k:\n    '|all': [Oab, -Url]\n  condition: k\n",
	         "{\"m\":\"oab\",\"n\":\"x -url\"}", true},
		{"  k:\n    '|all': [Oab, -Url]\n  condition: k\n", "{\"m\":\"oab\"}", false},
		/* a list of maps: any of them; a map: all of it; a value's list: any */
		{"  s:\n    - a: x\n    - b: y\n  condition: s\n", "{\"b\":\"y\"}", true},
		{"  s:\n    a: x\n    b: y\n  condition: s\n", "{\"b\":\"y\"}", false},
		{"  s:\n    a: Security\n    b: [517, 1102]\n  condition: s\n",
	         "{\"a\":\"security\",\"b\":1102}", true},
		{"  s:\n    a: '0x40810000'\n  condition: s\n", "{\"a\":\"0x40810000\"}", true},
		/* names of fields as they stand in the event */
		{SEL("'New Value': x"), "{\"New Value\":\"x\"}", true},
		{SEL("http.response.status_code: 500"),
	         "{\"http\":{\"response\":{\"status_code\":500}}}", true},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(specification, null_empty_and_existence)
{
	static const struct match_case cases[] = {
		{SEL("a: ''"), "{\"a\":\"\"}", true},
		{SEL("a: ''"), "{\"a\":null}", false},
		{SEL("a: ''"), "{\"b\":1}", false},
		{SEL("a: null"), "{\"a\":null}", true},
		{SEL("a: null"), "{\"b\":1}", true},
		{SEL("a: null"), "{\"a\":\"\"}", false},
		{"  s: {a: x}\n  f: {b: null}\n  condition: s and not f\n", "{\"a\":\"x\",\"b\":1}",
	         true},
		{"  s: {a: x}\n  f: {b: null}\n  condition: s and not f\n", "{\"a\":\"x\"}", false},
		/* existence asks for the field, be it empty or null */
		{SEL("a|exists: true"), "{\"a\":\"\"}", true},
		{SEL("a|exists: true"), "{\"a\":null}", true},
		{SEL("a|exists: true"), "{\"b\":1}", false},
		{SEL("a|exists: false"), "{\"b\":1}", true},
		{SEL("a|exists: false"), "{\"a\":null}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

/* ---- rules: conditions ---- */

#define THREE "  sel_a: {a: x}\n  sel_b: {b: x}\n  _sel_c: {c: x}\n"

Test(specification, conditions)
{
	static const struct match_case cases[] = {
		{THREE "  condition: sel_a or sel_b\n", "{\"b\":\"x\"}", true},
		{THREE "  condition: sel_a and not sel_b\n", "{\"a\":\"x\"}", true},
		{THREE "  condition: sel_a AND NOT sel_b\n", "{\"a\":\"x\",\"b\":\"x\"}", false},
		/* `and` binds closer than `or`, `not` closer than `and` */
		{THREE "  condition: sel_a or sel_b and _sel_c\n", "{\"a\":\"x\"}", true},
		{THREE "  condition: (sel_a or sel_b) and _sel_c\n", "{\"a\":\"x\"}", false},
		{THREE "  condition: not sel_a and sel_b\n", "{\"b\":\"x\"}", true},
		{THREE "  condition: not (sel_a and sel_b)\n", "{\"b\":\"x\"}", true},
		/* what begins with _ is none of them, nor of a pattern that does not say so */
		{THREE "  condition: 1 of them\n", "{\"c\":\"x\"}", false},
		{THREE "  condition: 1 of them\n", "{\"b\":\"x\"}", true},
		{THREE "  condition: all of them\n", "{\"a\":\"x\",\"b\":\"x\"}", true},
		{THREE "  condition: 1 of *\n", "{\"c\":\"x\"}", false},
		{THREE "  condition: 1 of *sel_*\n", "{\"c\":\"x\"}", false},
		{THREE "  condition: all of *sel*\n", "{\"a\":\"x\",\"b\":\"x\"}", true},
		{THREE "  condition: 1 of _sel*\n", "{\"c\":\"x\"}", true},
		{THREE "  condition: sel_a and _sel_c\n", "{\"a\":\"x\",\"c\":\"x\"}", true},
		{THREE "  condition: 1 of sel_* and not _sel_c\n", "{\"a\":\"x\",\"c\":\"x\"}",
	         false},
		{THREE "  condition: all of sel_*\n", "{\"a\":\"x\"}", false},
		/* a list of conditions: any of them */
		{THREE "  condition: [sel_a, sel_b and _sel_c]\n", "{\"b\":\"x\",\"c\":\"x\"}",
	         true},
		{THREE "  condition: [sel_a, sel_b and _sel_c]\n", "{\"b\":\"x\"}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

/* ---- modifiers ---- */

Test(specification, modifiers_of_any_value_and_of_text)
{
	static const struct match_case cases[] = {
		{SEL("a|contains|all: [p1, p2]"), "{\"a\":\"p2 p1\"}", true},
		{SEL("a|contains|all: [p1, p2]"), "{\"a\":\"p2\"}", false},
		{SEL("a|startswith: 12"), "{\"a\":1234}", true},
		{SEL("a|endswith: '\\cmd.exe'"), "{\"a\":\"C:\\\\CMD.exe\"}", true},
		{SEL("a|contains: b"), "{\"a\":\"abc\"}", true},
		{SEL("a|cased: Foo"), "{\"a\":\"foo\"}", false},
		{SEL("a|neq: foo"), "{\"a\":\"bar\"}", true},
		{SEL("a|neq: foo"), "{\"a\":\"FOO\"}", false},
		{SEL("a|neq: 5"), "{\"a\":6}", true},
		{SEL("a|neq: 5"), "{\"a\":5}", false},
		{SEL("a|fieldref: b"), "{\"a\":\"x\",\"b\":\"X\"}", true},
		{SEL("a|fieldref|neq: b"), "{\"a\":\"x\",\"b\":\"y\"}", true},
		/* every dash stands for every other */
		{SEL("a|windash: -x"), "{\"a\":\"/x\"}", true},
		{SEL("a|windash: /x"), "{\"a\":\"-x\"}", true},
		{SEL("a|windash: -x"), "{\"a\":\"" EN_DASH "x\"}", true},
		{SEL("a|windash: -x"), "{\"a\":\"" EM_DASH "x\"}", true},
		{SEL("a|windash: '" EM_DASH "x'"), "{\"a\":\"" BAR "x\"}", true},
		{SEL("a|windash: '-x -y'"), "{\"a\":\"/x " BAR "y\"}", true},
		{SEL("a|windash: -x"), "{\"a\":\"_x\"}", false},
		/* . ^ $ * + ? {n,m} [a-z] [^a-z] () | */
		{SEL("a|re: '^a.c$'"), "{\"a\":\"abc\"}", true},
		{SEL("a|re: '^(ab|c){2,3}[^x-z]+d?$'"), "{\"a\":\"abcabw\"}", true},
		{SEL("a|re: '^(ab|c){2,3}[^x-z]+d?$'"), "{\"a\":\"abx\"}", false},
		{SEL("a|re|i: ABC"), "{\"a\":\"abc\"}", true},
		{SEL("a|re|m: '^b$'"), "{\"a\":\"a\\nb\\nc\"}", true},
		{SEL("a|re|s: 'a.b'"), "{\"a\":\"a\\nb\"}", true},
		{SEL("a|re: 'a.b'"), "{\"a\":\"a\\nb\"}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(specification, modifiers_of_encodings_numbers_times_and_networks)
{
	static const struct match_case cases[] = {
		{SEL("a|base64: foobar"), "{\"a\":\"Zm9vYmFy\"}", true},
		{SEL("a|base64offset|contains: foobar"), "{\"a\":\"eGZvb2Jhcng=\"}", true},
		{SEL("a|base64offset|contains: foobar"), "{\"a\":\"eHhmb29iYXJ4\"}", true},
		{SEL("a|base64offset|contains: foobar"), "{\"a\":\"Zm9v\"}", false},
		{SEL("a|utf16le|base64: cmd"), "{\"a\":\"YwBtAGQA\"}", true},
		{SEL("a|wide|base64: cmd"), "{\"a\":\"YwBtAGQA\"}", true},
		{SEL("a|utf16be|base64: cmd"), "{\"a\":\"AGMAbQBk\"}", true},
		{SEL("a|utf16|base64: cmd"), "{\"a\":\"//5jAG0AZAA=\"}", true},
		{SEL("a|utf16le: cmd"), "{\"a\":\"c\\u0000m\\u0000d\\u0000\"}", true},
		{SEL("a|lt: 5"), "{\"a\":4}", true},
		{SEL("a|lte: 5"), "{\"a\":5}", true},
		{SEL("a|gt: 5"), "{\"a\":5}", false},
		{SEL("a|gte: 5"), "{\"a\":\"5\"}", true},
		{SEL("a|gt: 5"), "{\"a\":\"many\"}", false},
		{SEL("a|minute: 7"), "{\"a\":\"2025-03-09T22:07:59Z\"}", true},
		{SEL("a|hour: 22"), "{\"a\":\"2025-03-09T22:07:59Z\"}", true},
		{SEL("a|hour|gte: 23"), "{\"a\":\"2025-03-09T22:07:59Z\"}", false},
		{SEL("a|day: 9"), "{\"a\":\"2025-03-09\"}", true},
		{SEL("a|week: 10"), "{\"a\":\"2025-03-09\"}", true},
		{SEL("a|month: 3"), "{\"a\":\"2025-03-09\"}", true},
		{SEL("a|year: 2025"), "{\"a\":\"2025-03-09\"}", true},
		{SEL("a|year: 2025"), "{\"a\":\"2025\"}", false},
		{SEL("a|cidr: 10.0.0.0/8"), "{\"a\":\"10.200.0.1\"}", true},
		{SEL("a|cidr: 10.0.0.0/8"), "{\"a\":\"11.0.0.1\"}", false},
		{SEL("a|cidr: '2001:db8::/32'"), "{\"a\":\"2001:DB8:1::7\"}", true},
		{SEL("a|cidr: '2001:db8::/32'"), "{\"a\":\"2001:db9::7\"}", false},
		/* a placeholder only with `expand` */
		{SEL("a: '%name%'"), "{\"a\":\"%name%\"}", true},
		{SEL("a|expand: '\\%plain'"), "{\"a\":\"%plain\"}", true},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

/* ---- what a document says ---- */

#define DETECTION "logsource: {product: linux}\ndetection:\n  s: {a: x}\n  condition: s\n"

/* How many errors and warnings a text brings; the warning's text must have `part`. */
static void check_document(const char *text, size_t errors, size_t warnings, const char *part)
{
	const struct ruleset_options options = {0};
	struct diags d;
	bool found = !part;

	diags_init(&d);
	struct ruleset *set = load_text(text, &d, &options);
	cr_expect_eq(d.errors, errors, "%s", text);
	cr_expect_eq(d.warnings, warnings, "%s", text);
	for (size_t i = 0; i < d.count; i++)
		found |= part && strstr(d.items[i].text, part);
	cr_expect(found, "%s: not told: %s", text, part);
	ruleset_free(set);
	diags_release(&d);
}

Test(specification, attributes)
{
	check_document("title: t\n" DETECTION, 0, 0, NULL);
	check_document("name: t\n" DETECTION, 1, 0, "needs `title`");
	check_document("title: t\nstatus: stable\nlevel: critical\ntaxonomy: sigma\n"
	               "scope: [server]\nfalsepositives: [Unlikely]\nown_key: 1\n" DETECTION,
	               0, 0, NULL);
	check_document("title: t\ntaxonomy: mine\n" DETECTION, 0, 1, "taxonomy");
	check_document("title: t\nstatus: fine\n" DETECTION, 1, 0, "`status`");
	check_document("title: t\nlevel: worst\n" DETECTION, 1, 0, "`level`");
	check_document(
		"title: t\nlogsource: {definition: x}\ndetection: {s: {a: x}, condition: s}\n", 1,
		0, "no product");
	check_document(
		"title: t\nlogsource: {product: a}\ndetection: {s: {a: ['', null]}, condition: "
		"s}\n",
		0, 1, "null only alone");
	check_document(
		"title: t\nlogsource: {product: a}\ndetection: {s: {a|all: x}, condition: s}\n", 0,
		1, "`all`");
	check_document("title: t\nlogsource: {product: a}\ndetection: {s: {a: x}}\n", 1, 0,
	               "needs `condition`");
}

/* ---- filters ---- */

#define RULE_A        "title: a\nid: a0000000-0000-4000-8000-000000000000\nname: rule_a\n" DETECTION
#define FILTER(inner) "---\ntitle: f\nfilter:\n" inner

/* True if the rule, filtered so, holds for user `adm_x`. */
static bool holds_filtered(const char *text, size_t warnings)
{
	const struct ruleset_options options = {0};
	const struct rule *const *hits;
	struct diags d;
	struct event e;

	diags_init(&d);
	struct ruleset *set = load_text(text, &d, &options);
	if (d.errors)
		log_diags(&d);
	cr_assert_eq(d.errors, 0, "%s", text);
	cr_expect_eq(d.warnings, warnings, "%s", text);
	struct matcher *m = matcher_new(set);
	event_setup(&e);
	event_reset(&e);
	event_put(&e, STR("a"), STR("x"), VALUE_STRING);
	event_put(&e, STR("user"), STR("adm_x"), VALUE_STRING);
	event_put(&e, STR("host"), STR("web1"), VALUE_STRING);
	size_t n = matcher_run(m, &e, NULL, &hits);
	event_release(&e);
	matcher_free(m);
	ruleset_free(set);
	diags_release(&d);
	return n == 1;
}

#define LINUX   "  rules: [rule_a]\nlogsource: {product: linux}\n"
#define USER(c) "  s: {user|startswith: adm_}\n  condition: " c "\n"

Test(specification, filters)
{
	static const struct {
		const char *text;
		bool holds;
		size_t warnings;
	} cases[] = {
		/* the filter's condition is asked for as well as the rule's */
		{RULE_A FILTER(USER("not s") LINUX), false, 0},
		{RULE_A FILTER(USER("s") LINUX), true, 0},
		{RULE_A FILTER("  s: {user: joe}\n  condition: s\n" LINUX), false, 0},
		{RULE_A FILTER("  s_a: {user: joe}\n  s_b: {host: web1}\n"
	                       "  condition: not 1 of s_*\n" LINUX),
	         false, 0},
		{RULE_A FILTER("  s_a: {user: joe}\n  s_b: {host: web1}\n"
	                       "  condition: not all of them\n" LINUX),
	         true, 0},
		/* all filters of a rule */
		{RULE_A FILTER(USER("s") LINUX)
	                 FILTER("  t: {host: web1}\n  condition: not t\n" LINUX),
	         false, 0},
		{RULE_A FILTER(USER("s") LINUX)
	                 FILTER("  t: {host: db1}\n  condition: not t\n" LINUX),
	         true, 0},
		/* a selection of the same name as one of the rule's is another one */
		{RULE_A FILTER("  s: {a: y}\n  condition: not s\n" LINUX), true, 0},
		/* by id, by name, any; in whatever order the documents stand */
		{RULE_A FILTER(USER("not s") "  rules: [a0000000-0000-4000-8000-000000000000]\n"
	                                     "logsource: {product: linux}\n"),
	         false, 0},
		{RULE_A FILTER(USER("not s") "  rules: any\nlogsource: {product: linux}\n"), false,
	         0},
		{"title: f\nfilter:\n" USER("not s") LINUX "---\n" RULE_A, false, 0},
		/* only where the log source fits: each part that the filter names */
		{RULE_A FILTER(USER("not s") "  rules: [rule_a]\nlogsource: {product: windows}\n"),
	         true, 1},
		{RULE_A FILTER(USER("not s") "  rules: [rule_a]\n"
	                                     "logsource: {product: linux, service: sshd}\n"),
	         true, 1},
		{RULE_A FILTER(USER("not s") "  rules: any\nlogsource: {product: windows}\n"), true,
	         0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		cr_expect_eq(holds_filtered(cases[i].text, cases[i].warnings), cases[i].holds, "%s",
		             cases[i].text);
	check_document(RULE_A FILTER(USER("not s") "  rules: [rule_a]\n"), 1, 0,
	               "needs `logsource`");
	check_document(RULE_A FILTER(USER("not s") "logsource: {product: linux}\n"), 1, 0,
	               "needs `rules`");
	check_document(RULE_A FILTER("  s: {a: x}\n" LINUX), 1, 0, "needs `condition`");
	check_document(RULE_A FILTER("  condition: s\n" LINUX), 1, 0, "no selection");
}

/* ---- correlations ---- */

#define COR(inner) RULE_A "---\ntitle: c\ncorrelation: {timespan: 5m, " inner "}\n"

Test(specification, correlations)
{
	static const char *const good[] = {
		"type: event_count, rules: [rule_a], group-by: [h], condition: {gte: 100}",
		"type: event_count, rules: [rule_a], group-by: [h], condition: {gt: 100, lte: 200}",
		"type: event_count, rules: [rule_a], condition: {neq: 3}",
		"type: value_count, rules: [rule_a], group-by: [h], condition: {field: u, lt: 9}",
		"type: value_count, rules: [rule_a], condition: {field: [u, v], eq: 9}",
		"type: temporal, rules: [rule_a], group-by: [h]",
		"type: temporal, rules: [rule_a], group-by: [h], condition: {gte: 1}",
		"type: temporal, rules: [rule_a], condition: rule_a AND rule_a",
		"type: temporal_ordered, rules: [rule_a], group-by: [h]",
		"type: temporal_ordered, rules: [rule_a], condition: rule_a",
		"type: value_sum, rules: [rule_a], condition: {field: n, gt: 1000000}",
		"type: value_max, rules: [rule_a], condition: {field: n, gte: 100}",
		"type: value_min, rules: [rule_a], condition: {field: n, lte: 400}",
		"type: value_avg, rules: [rule_a], condition: {field: n, gt: 499.5}",
		"type: value_percentile, rules: [rule_a], condition: {field: n, lte: 1}",
		"type: temporal, rules: [a0000000-0000-4000-8000-000000000000], generate: true",
		"type: temporal, rules: [rule_a], group-by: [ip], aliases: {ip: {rule_a: src.ip}}",
	};
	static const struct {
		const char *text, *part;
	} bad[] = {
		{"rules: [rule_a], condition: {gte: 1}", "needs `type`"},
		{"type: count, rules: [rule_a], condition: {gte: 1}", "unknown correlation type"},
		{"type: event_count, condition: {gte: 1}", "needs `rules`"},
		{"type: event_count, rules: [rule_a]", "needs `condition`"},
		{"type: value_count, rules: [rule_a], condition: {gte: 1}", "needs the `field`"},
		{"type: value_sum, rules: [rule_a], condition: {field: n}",
	         "compares with nothing"},
		{"type: temporal, rules: [rule_b]", "no rule with the id or name"},
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char *text = xasprintf(COR("%s"), good[i]);
		check_document(text, 0, 0, NULL);
		free(text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *text = xasprintf(COR("%s"), bad[i].text);
		check_document(text, 1, 0, bad[i].part);
		free(text);
	}
	check_document(RULE_A "---\ntitle: c\ngenerate: true\ncorrelation: {type: temporal, rules: "
	                      "[rule_a], timespan: 5m}\n",
	               0, 0, NULL);
	check_document(RULE_A "---\ntitle: c\ncorrelation: {type: temporal, rules: [rule_a]}\n", 1,
	               0, "needs `timespan`");
}
