/* Correlation documents: what becomes of them, what they make of the rules they refer to, and what is refused. */
#include "sigma.h"

#define RULE(name, id)                                                                             \
	"title: " name "\nname: " name "\nid: " id "0000000-0000-4000-8000-000000000000\n"         \
	"logsource: {product: linux}\ndetection: {s: {a: x}, condition: s}\n---\n"
#define RULES RULE("fail", "a") RULE("login", "b")
#define ID_A  "a0000000-0000-4000-8000-000000000000"
#define ID_B  "b0000000-0000-4000-8000-000000000000"

static const struct ruleset_options none;

/* Loads RULES and the correlation; there must be no error. */
static struct ruleset *load_good(const char *text)
{
	struct diags d;

	diags_init(&d);
	struct ruleset *set = load_text(text, &d, &none);
	log_diags(&d);
	cr_assert_eq(d.errors, 0);
	diags_release(&d);
	return set;
}

static bool has_field(const struct rule *r, const char *name)
{
	for (size_t i = 0; i < r->group_field_count; i++)
		if (str_eq(r->group_fields[i], str_of(name)))
			return true;
	return false;
}

Test(correlation_rules, event_count)
{
	struct ruleset *set =
		load_good(RULES "title: many\nid: c0000000-0000-4000-8000-000000000000\n"
	                        "level: high\ntags: [attack.t1110]\n"
	                        "correlation:\n  type: event_count\n  rules: [fail]\n"
	                        "  group-by: [src_ip, host]\n  timespan: 15m\n"
	                        "  condition: {gte: 10, lt: 100}\n");

	cr_assert_eq(set->correlation_count, 1);
	const Isod__V1__Correlation *c = set->correlations[0];
	cr_expect_eq(c->type, ISOD__V1__CORRELATION_TYPE__CORRELATION_EVENT_COUNT);
	cr_expect_str_eq(c->id, "c0000000-0000-4000-8000-000000000000");
	cr_expect_str_eq(c->title, "many");
	cr_expect_eq(c->level, ISOD__V1__LEVEL__LEVEL_HIGH);
	cr_assert_eq(c->n_tags, 1);
	cr_expect_str_eq(c->tags[0], "attack.t1110");
	cr_assert_eq(c->n_rules, 1);
	cr_expect_str_eq(c->rules[0], ID_A);
	cr_assert_eq(c->n_group_by, 2);
	cr_expect_str_eq(c->group_by[1], "host");
	cr_expect_eq(c->timespan_ns, UINT64_C(900000000000));
	cr_assert_eq(c->n_bounds, 2);
	cr_expect_eq(c->bounds[0]->comparison, ISOD__V1__COMPARISON__COMPARISON_GTE);
	cr_expect_eq(c->bounds[0]->value, 10);
	cr_expect_eq(c->bounds[1]->comparison, ISOD__V1__COMPARISON__COMPARISON_LT);
	cr_expect_not(c->silent);
	cr_expect(set->rules[0].silent);
	cr_expect_not(set->rules[1].silent);
	cr_expect(has_field(&set->rules[0], "src_ip") && has_field(&set->rules[0], "host"));
	cr_expect_eq(set->rules[1].group_field_count, 0);
	/* It must survive what the ledger does to it. */
	size_t n = isod__v1__correlation__get_packed_size(c);
	uint8_t *packed = xmalloc(n);
	isod__v1__correlation__pack(c, packed);
	Isod__V1__Correlation *again = isod__v1__correlation__unpack(NULL, n, packed);
	cr_assert(again);
	cr_expect_str_eq(again->rules[0], ID_A);
	isod__v1__correlation__free_unpacked(again, NULL);
	free(packed);
	ruleset_free(set);
}

Test(correlation_rules, references_may_come_before_what_they_refer_to)
{
	struct ruleset *set =
		load_good("title: many\ncorrelation: {type: temporal_ordered, "
	                  "rules: [fail, " ID_B "], group-by: [u], timespan: 1h}\n---\n" RULES);

	cr_assert_eq(set->correlation_count, 1);
	const Isod__V1__Correlation *c = set->correlations[0];
	cr_expect_eq(c->type, ISOD__V1__CORRELATION_TYPE__CORRELATION_TEMPORAL_ORDERED);
	cr_expect_str_eq(c->id, "many");
	cr_assert_eq(c->n_rules, 2);
	cr_expect_str_eq(c->rules[0], ID_A);
	cr_expect_str_eq(c->rules[1], ID_B);
	cr_expect_eq(c->n_bounds, 0);
	cr_expect_eq(c->level, ISOD__V1__LEVEL__LEVEL_MEDIUM);
	ruleset_free(set);
}

Test(correlation_rules, aliases_and_the_counted_field)
{
	struct ruleset *set = load_good(
		RULES "title: c\ncorrelation:\n  type: value_count\n  rules: [fail, login]\n"
		      "  group-by: [address]\n  timespan: 1d\n"
		      "  condition: {field: who, gt: 3}\n"
		      "  aliases:\n    address: {fail: src_ip, login: " ID_B "_x}\n"
		      "    who: {fail: user}\n");
	const Isod__V1__Correlation *c = set->correlations[0];

	cr_expect_eq(c->type, ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_COUNT);
	cr_expect_str_eq(c->value_field, "who");
	cr_assert_eq(c->n_bounds, 1);
	cr_assert_eq(c->n_aliases, 3);
	cr_expect_str_eq(c->aliases[0]->name, "address");
	cr_expect_str_eq(c->aliases[0]->rule, ID_A);
	cr_expect_str_eq(c->aliases[0]->field, "src_ip");
	cr_expect_eq(set->rules[0].group_field_count, 2);
	cr_expect(has_field(&set->rules[0], "src_ip") && has_field(&set->rules[0], "user"));
	cr_expect(has_field(&set->rules[1], "who"), "no alias for this rule: by its own name");
	ruleset_free(set);
}

Test(correlation_rules, generate_keeps_rules_loud)
{
	static const char *const forms[] = {
		"title: c\ngenerate: true\ncorrelation: {type: event_count, rules: fail, timespan: "
		"1m, "
		"condition: {gte: 2}}\n",
		"title: c\ncorrelation: {type: event_count, rules: fail, timespan: 1m, condition: "
		"{gte: 2}, "
		"generate: true}\n",
		/* one that says it is enough */
		"title: c\ncorrelation: {type: event_count, rules: fail, timespan: 1m, condition: "
		"{gte: 2}, "
		"generate: true}\n---\ntitle: d\ncorrelation: {type: event_count, rules: fail, "
		"timespan: "
		"1m, condition: {gte: 9}}\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		char *text = xasprintf("%s%s", RULES, forms[i]);
		struct ruleset *set = load_good(text);
		cr_expect_not(set->rules[0].silent, "%s", forms[i]);
		ruleset_free(set);
		free(text);
	}
}

Test(correlation_rules, chains_pass_fields_and_silence_down)
{
	struct ruleset *set = load_good(
		RULES "title: outer\ncorrelation: {type: temporal_ordered, rules: [inner, login], "
		      "group-by: "
		      "[account], timespan: 1h, aliases: {account: {inner: u, login: user}}}\n---\n"
		      "title: inner\nname: inner\ncorrelation: {type: event_count, rules: fail, "
		      "group-by: "
		      "[ip], timespan: 5m, condition: {gte: 3}, aliases: {ip: {fail: src_ip}}}\n");
	const Isod__V1__Correlation *outer = set->correlations[0], *inner = set->correlations[1];

	cr_assert_eq(set->correlation_count, 2);
	cr_expect_str_eq(outer->rules[0], "inner");
	cr_expect_not(outer->silent);
	cr_expect(inner->silent);
	cr_expect(has_field(&set->rules[0], "src_ip") && has_field(&set->rules[0], "u"));
	cr_expect_eq(set->rules[0].group_field_count, 2);
	cr_expect(has_field(&set->rules[1], "user"));
	ruleset_free(set);
}

Test(correlation_rules, timespans)
{
	static const struct {
		const char *text;
		uint64_t seconds; /* 0: refused */
	} cases[] = {
		{"30s", 30},      {"90m", 5400},  {"2h", 7200},
		{"1d", 86400},    {"1w", 604800}, {"1M", 2592000},
		{"1y", 31536000}, {"30", 0},      {"500ms", 0},
		{"0s", 0},        {"m", 0},       {"1.5h", 0},
		{"-1s", 0},       {"1H", 0},      {"99999999999999y", 0},
		{"[1s]", 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct diags d;
		char *text = xasprintf(
			"%stitle: c\ncorrelation: {type: event_count, rules: fail, timespan: "
			"%s, condition: {gte: 2}}\n",
			RULES, cases[i].text);
		diags_init(&d);
		struct ruleset *set = load_text(text, &d, &none);
		cr_expect_eq(d.errors, cases[i].seconds ? 0 : 1, "%s", cases[i].text);
		cr_expect_eq(set->correlation_count, cases[i].seconds ? 1 : 0, "%s", cases[i].text);
		if (set->correlation_count && cases[i].seconds)
			cr_expect_eq(set->correlations[0]->timespan_ns,
			             cases[i].seconds * UINT64_C(1000000000), "%s", cases[i].text);
		ruleset_free(set);
		diags_release(&d);
		free(text);
	}
}

#define COR(inner) "title: c\ncorrelation: {timespan: 1h, " inner "}\n"

static const Isod__V1__Correlation *load_one(const char *text, struct ruleset **ret)
{
	char *all = xasprintf("%s%s", RULES, text);

	*ret = load_good(all);
	free(all);
	cr_assert_eq((*ret)->correlation_count, 1, "%s", text);
	return (*ret)->correlations[0];
}

Test(correlation_rules, types_of_numbers)
{
	static const struct {
		const char *text;
		Isod__V1__CorrelationType type;
		int64_t milli;
		uint64_t percentile;
	} cases[] = {
		{COR("type: value_sum, rules: fail, condition: {field: n, gt: 1000000}"),
	         ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_SUM, 1000000000, 0},
		{COR("type: value_avg, rules: fail, condition: {field: n, gte: -0.5}"),
	         ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_AVG, -500, 0},
		{COR("type: value_min, rules: fail, condition: {field: n, lt: 12.345}"),
	         ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_MIN, 12345, 0},
		{COR("type: value_max, rules: fail, condition: {field: n, neq: 0}"),
	         ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_MAX, 0, 0},
		{COR("type: value_max, rules: fail, condition: {field: n, gt: 1.5e6}"),
	         ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_MAX, 1500000000, 0},
		{COR("type: value_max, rules: fail, condition: {field: n, gt: -.25000}"),
	         ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_MAX, -250, 0},
		{COR("type: value_max, rules: fail, condition: {field: n, gt: +2500E-3}"),
	         ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_MAX, 2500, 0},
		{COR("type: value_median, rules: fail, condition: {field: n, eq: "
	             "9223372036854775.807}"),
	         ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_MEDIAN, INT64_MAX, 0},
		{COR("type: value_percentile, rules: fail, condition: {field: n, percentile: 99.9, "
	             "gte: 5}"),
	         ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_PERCENTILE, 5000, 99900},
		/* the specification's example */
		{COR("type: value_percentile, rules: fail, condition: {field: image, lte: 1}"),
	         ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_SHARE, 1000, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ruleset *set;
		const Isod__V1__Correlation *c = load_one(cases[i].text, &set);
		cr_expect_eq(c->type, cases[i].type, "%s", cases[i].text);
		cr_assert_eq(c->n_bounds, 1);
		cr_expect_eq(c->bounds[0]->value_milli, cases[i].milli, "%s", cases[i].text);
		cr_expect_eq(c->percentile_milli, cases[i].percentile);
		cr_expect_gt(strlen(c->value_field), 0);
		cr_expect_eq(set->rules[0].group_field_count, 1, "the rule carries the field");
		ruleset_free(set);
	}
}

Test(correlation_rules, values_of_several_fields)
{
	struct ruleset *set;
	const Isod__V1__Correlation *c = load_one(
		COR("type: value_count, rules: fail, condition: {field: [user, domain], gte: 3}"),
		&set);

	cr_assert_eq(c->n_value_fields, 2);
	cr_expect_str_eq(c->value_fields[1], "domain");
	cr_expect_str_eq(c->value_field, "");
	cr_expect(has_field(&set->rules[0], "user") && has_field(&set->rules[0], "domain"));
	ruleset_free(set);
}

/* The steps as text: a letter for each rule, - below `not`; ! & | and numbers for what takes parts. */
static void expect_steps(const Isod__V1__Correlation *c, const char *expected)
{
	struct buf text;

	buf_init(&text, 0);
	for (size_t i = 0; i < c->n_condition; i++) {
		const Isod__V1__ConditionStep *s = c->condition[i];
		if (s->operator_ == ISOD__V1__CONDITION_OPERATOR__CONDITION_RULE)
			buf_printf(&text, "%s%c ", s->negated ? "-" : "", 'a' + (int)s->rule);
		else if (s->operator_ == ISOD__V1__CONDITION_OPERATOR__CONDITION_AT_LEAST)
			buf_printf(&text, "%u of %u ", s->need, s->count);
		else
			buf_printf(&text, "%c%u ", " .!&|"[s->operator_], s -> count);
	}
	cr_expect_str_eq(buf_cstr(&text), expected);
	buf_release(&text);
}

Test(correlation_rules, conditions_in_words)
{
	static const struct {
		const char *text, *steps;
	} cases[] = {
		{COR("type: temporal, rules: [fail, login], condition: fail AND login"), "a b &2 "},
		{COR("type: temporal, rules: [fail, login], condition: fail and not login"),
	         "a -b !1 &2 "},
		{COR("type: temporal_ordered, rules: [fail, login], condition: not (not fail or "
	             "login) "
	             "or fail and login"),
	         "a !1 -b |2 !1 a b &2 |2 "},
		{COR("type: temporal, rules: [fail, login], condition: all of them"), "a b &2 "},
		{COR("type: temporal, rules: [fail, login], condition: 1 of them"), "a b |2 "},
		{COR("type: temporal, rules: [" ID_A ", " ID_B "], condition: fail and login"),
	         "a b &2 "},
		/* without `rules`: those that the condition names */
		{COR("type: temporal, condition: login and fail"), "a b &2 "},
		{COR("type: temporal, rules: [fail, login], condition: fail"), "a "},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ruleset *set;
		expect_steps(load_one(cases[i].text, &set), cases[i].steps);
		ruleset_free(set);
	}
	struct ruleset *set;
	const Isod__V1__Correlation *c = load_one(cases[6].text, &set);
	cr_assert_eq(c->n_rules, 2);
	cr_expect_str_eq(c->rules[0], ID_B);
	cr_expect(set->rules[0].silent && set->rules[1].silent);
	ruleset_free(set);
}

Test(correlation_rules, settings_of_isod)
{
	struct ruleset *set;
	const Isod__V1__Correlation *c =
		load_one(COR("type: event_count, rules: fail, condition: {gte: 2}, "
	                     "isod: {session: 10m, suppress: 1d, lateness: 500ms}"),
	                 &set);

	cr_expect_eq(c->session_gap_ns, UINT64_C(600000000000));
	cr_expect_eq(c->suppress_ns, UINT64_C(86400000000000));
	cr_expect_eq(c->lateness_ns, UINT64_C(500000000));
	ruleset_free(set);
	c = load_one(COR("rules: [fail, login], group-by: [host], isod: {type: absence}"), &set);
	cr_expect_eq(c->type, ISOD__V1__CORRELATION_TYPE__CORRELATION_ABSENCE);
	ruleset_free(set);
	c = load_one(COR("rules: fail, group-by: [user], condition: {field: host}, "
	                 "isod: {type: first_seen, learning: 7d}"),
	             &set);
	cr_expect_eq(c->type, ISOD__V1__CORRELATION_TYPE__CORRELATION_FIRST_SEEN);
	cr_expect_str_eq(c->value_field, "host");
	cr_expect_eq(c->learning_ns, UINT64_C(604800000000000));
	ruleset_free(set);
}

/* RULES take 12 lines; what is checked stands behind them. */
static void refused(const char *correlation, int line, int column, const char *part)
{
	struct diags d;
	bool found = false;
	char *text = xasprintf("%s%s", RULES, correlation);

	diags_init(&d);
	struct ruleset *set = load_text(text, &d, &none);
	for (size_t i = 0; i < d.count; i++)
		found |= d.items[i].severity == DIAG_ERROR && d.items[i].line == line + 12 &&
		         d.items[i].column == column && strstr(d.items[i].text, part);
	cr_expect(found, "%s: not told: %d:%d %s", correlation, line + 12, column, part);
	if (!found)
		log_diags(&d);
	cr_expect_eq(set->correlation_count, 0, "%s", correlation);
	cr_expect_eq(set->count, 2, "the rules are good all the same");
	cr_expect_not(set->rules[0].silent, "a broken correlation silences nothing");
	ruleset_free(set);
	diags_release(&d);
	free(text);
}

#define C(type, rest) "title: c\ncorrelation:\n  type: " type "\n  timespan: 1m\n" rest

Test(correlation_rules, errors_have_their_place)
{
	refused(C("event_cuont", "  rules: fail\n  condition: {gte: 2}\n"), 3, 9,
	        "did you mean `event_count`");
	refused(C("event_count", "  rules: fali\n  condition: {gte: 2}\n"), 5, 10,
	        "did you mean `fail`");
	refused(C("event_count", "  rules: [fail, nothing]\n  condition: {gte: 2}\n"), 5, 17,
	        "no rule with the id or name `nothing`");
	refused(C("event_count", "  rules: [fail, " ID_A "]\n  condition: {gte: 2}\n"), 5, 17,
	        "listed twice");
	refused(C("event_count", "  rules: []\n  condition: {gte: 2}\n"), 5, 10,
	        "`rules` is empty");
	refused(C("event_count", "  condition: {gte: 2}\n"), 3, 3, "needs `rules`");
	refused(C("event_count", "  rules: fail\n"), 3, 3, "needs `condition`");
	refused(C("event_count", "  rules: fail\n  condition: 5\n"), 6, 14, "is a map (gte: 10)");
	refused(C("event_count", "  rules: fail\n  condition: {gt: -1}\n"), 6, 19, "whole number");
	refused(C("event_count", "  rules: fail\n  condition: {gtt: 1}\n"), 6, 15,
	        "did you mean `gt");
	refused(C("event_count", "  rules: fail\n  condition: {gt: 5, lt: 6}\n"), 6, 14,
	        "no count");
	refused(C("event_count", "  rules: fail\n  condition: {lt: 0}\n"), 6, 14, "no count");
	refused(C("event_count", "  rules: fail\n  condition: {eq: 3, neq: 3}\n"), 6, 14,
	        "no count");
	refused(C("event_count", "  rules: fail\n  condition: {field: u, gte: 2}\n"), 6, 22,
	        "event_count looks at no `field`");
	refused(C("value_count", "  rules: fail\n  condition: {gte: 2}\n"), 6, 14,
	        "needs the `field`");
	refused(C("temporal", "  rules: [fail, login]\n  condition: {gte: 3}\n"), 1, 1,
	        "more rules");
	refused(C("temporal", "  rules: [fail, login]\n  group-by: [a, a]\n"), 6, 13, "twice");
	refused(C("temporal", "  rules: [fail, login]\n  group_by: [a]\n"), 6, 13, "`group-by`");
	refused(C("temporal", "  rules: [fail, login]\n  group-by: {a: b}\n"), 6, 13,
	        "must be text");
	refused(C("temporal", "  rules: [fail]\n  group-by: [x]\n  aliases: {x: {login: y}}\n"), 7,
	        17, "which `rules` does not list");
	refused(C("temporal", "  rules: [fail]\n  group-by: [x]\n  aliases: {x: y}\n"), 7, 16,
	        "an alias is a map");
	refused("title: c\ncorrelation: nope\n", 2, 14, "must be a map");
	refused("title: c\ncorrelation:\n  type: temporal\n  rules: fail\n", 3, 3,
	        "needs `timespan`");
}

Test(correlation_rules, errors_in_numbers_words_and_settings)
{
	refused(C("value_sum", "  rules: fail\n  condition: {gte: 2}\n"), 6, 14,
	        "needs the `field`");
	refused(C("value_sum", "  rules: fail\n  condition: {field: [a, b], gte: 2}\n"), 6, 22,
	        "takes 1 `field` at most");
	refused(C("value_sum", "  rules: fail\n  condition: {field: a, gte: 1.2345}\n"), 6, 30,
	        "at most 3 decimal places");
	refused(C("value_sum", "  rules: fail\n  condition: {field: a, gte: 1e-4}\n"), 6, 30,
	        "at most 3 decimal places");
	refused(C("value_sum", "  rules: fail\n  condition: {field: a, gte: 1e}\n"), 6, 30,
	        "is a number");
	refused(C("value_sum", "  rules: fail\n  condition: {field: a, gte: 1.2.3}\n"), 6, 30,
	        "is a number");
	refused(C("value_sum", "  rules: fail\n  condition: {field: a, gte: 1e99}\n"), 6, 30,
	        "too large");
	refused(C("value_sum", "  rules: fail\n  condition: {field: a, gte: 9223372036854776}\n"),
	        6, 30, "too large");
	refused(C("value_avg", "  rules: fail\n  condition: {field: a, gt: 1.5, lt: 1.501}\n"), 6,
	        14, "no number can");
	refused(C("value_avg", "  rules: fail\n  condition: {field: a, gt: 1, percentile: 5}\n"), 6,
	        44, "has no `percentile`");
	refused(C("value_percentile",
	          "  rules: fail\n  condition: {field: a, gt: 1, percentile: 0}\n"),
	        6, 44, "above 0 and up to 100");
	refused(C("event_count", "  rules: fail\n  condition: {gte: 1000001}\n"), 6, 20,
	        "counts at most to 1000000");
	refused(C("value_count", "  rules: fail\n  condition: {field: a, gt: 10001}\n"), 6, 29,
	        "counts at most to 10000");
	refused(C("event_count", "  rules: fail\n  condition: fail\n"), 6, 14, "is a map");

	refused(C("temporal", "  rules: [fail, login]\n  condition: fail and\n"), 6, 22,
	        "ends where");
	refused(C("temporal", "  rules: [fail, login]\n  condition: fail and (login\n"), 6, 23,
	        "never closed");
	refused(C("temporal", "  rules: [fail]\n  condition: fail and login\n"), 6, 14,
	        "names `login`, which `rules` does not list");
	refused(C("temporal", "  rules: [fail]\n  condition: fail and lgoin\n"), 6, 14,
	        "names `lgoin`, which `rules` does not list");
	refused(C("temporal", "  condition: fail and lgoin\n"), 5, 14, "did you mean `login`");
	refused(C("temporal", "  rules: [fail, login]\n  condition: not fail\n"), 6, 14,
	        "holds when nothing has happened");
	refused(C("temporal", "  rules: [fail, login]\n  condition: fail and not fail\n"), 6, 14,
	        "no combination");

	refused(C("event_count", "  rules: fail\n  condition: {gte: 2}\n  isod: {supress: 1h}\n"),
	        7, 10, "did you mean `suppress`");
	refused(C("event_count",
	          "  rules: fail\n  condition: {gte: 2}\n  isod: {suppress: soon}\n"),
	        7, 20, "is a duration");
	refused(C("event_count",
	          "  rules: fail\n  condition: {gte: 2}\n  isod: {suppress: 101y}\n"),
	        7, 20, "is a duration");
	refused(C("event_count", "  rules: fail\n  condition: {gte: 2}\n  isod: {session: 2m}\n"),
	        7, 19, "longer than the `timespan`");
	refused(C("event_count",
	          "  rules: fail\n  condition: {gte: 10001}\n  isod: {session: 1m}\n"),
	        7, 19, "a session counts at most to 10000");
	refused(C("event_count", "  rules: fail\n  condition: {gte: 2}\n  isod: {learning: 2m}\n"),
	        7, 20, "only first_seen learns");
	refused(C("event_count", "  rules: fail\n  condition: {gte: 2}\n  isod: {type: absence}\n"),
	        7, 16, "instead of `type`");
	refused(C("event_count", "  rules: fail\n  condition: {gte: 2}\n  isod: 5\n"), 7, 9,
	        "must be a map");
	refused(C("absence", "  rules: fail\n"), 3, 9, "write `isod: {type: absence}`");
	refused("title: c\ncorrelation:\n  timespan: 1m\n  rules: fail\n  isod: {type: absense}\n",
	        5, 16, "did you mean `absence`");
	refused("title: c\ncorrelation:\n  timespan: 1m\n  rules: fail\n  isod: {type: temporal}\n",
	        5, 16, "is Sigma's");
	refused("title: c\ncorrelation:\n  timespan: 1m\n  rules: fail\n  condition: {gte: 1}\n"
	        "  isod: {type: absence}\n",
	        5, 14, "has no condition");
	refused("title: c\ncorrelation:\n  timespan: 1m\n  rules: fail\n  isod: {type: "
	        "first_seen}\n",
	        3, 3, "needs `condition`");
	refused("title: c\ncorrelation:\n  timespan: 1m\n  rules: fail\n  condition: {field: a, "
	        "gte: 1}\n"
	        "  isod: {type: first_seen}\n",
	        5, 14, "compares with nothing");
	refused("title: c\ncorrelation:\n  timespan: 1m\n  rules: fail\n  isod: {type: absence, "
	        "session: 1s}\n",
	        5, 34, "knows no sessions");
	refused("title: c\ncorrelation:\n  timespan: 101y\n  rules: fail\n  isod: {type: "
	        "absence}\n",
	        3, 13, "hundred years");
}

Test(correlation_rules, circles_and_references_to_itself)
{
	refused("title: c\nname: c\ncorrelation: {type: temporal, timespan: 1m, rules: [fail, "
	        "c]}\n",
	        3, 59, "refer to itself");
	refused("title: c\nname: c\ncorrelation: {type: temporal, timespan: 1m, rules: [d]}\n---\n"
	        "title: d\nname: d\ncorrelation: {type: temporal, timespan: 1m, rules: [e]}\n---\n"
	        "title: e\nname: e\ncorrelation: {type: temporal, timespan: 1m, rules: [fail, "
	        "c]}\n",
	        11, 59, "a circle");
	refused("title: c\ncorrelation: {type: temporal, timespan: 1m, rules: [broken]}\n---\n"
	        "title: broken\nname: broken\ncorrelation: {type: temporal, timespan: 0, rules: "
	        "[fail]}\n",
	        2, 53, "errors of its own");
}

Test(correlation_rules, a_chain_that_is_too_long)
{
	struct diags d;
	struct buf text;

	buf_init(&text, 0);
	for (size_t length = CORRELATION_CHAIN_MAX; length <= 3000; length += 2991) {
		diags_init(&d);
		buf_reset(&text);
		buf_printf(&text, "%s", RULES);
		for (size_t i = 0; i < length; i++)
			buf_printf(
				&text,
				"title: c%zu\ncorrelation: {type: temporal, timespan: 1m, rules: "
				"[%s%.0zu]}\n---\n",
				i, i + 1 < length ? "c" : "fail", i + 1 < length ? i + 1 : 0);
		struct ruleset *set = load_text(buf_cstr(&text), &d, &none);
		if (length > CORRELATION_CHAIN_MAX)
			cr_expect_gt(d.errors, 0);
		else
			cr_expect_eq(d.errors, 0);
		cr_expect_leq(set->correlation_count, CORRELATION_CHAIN_MAX);
		ruleset_free(set);
		diags_release(&d);
	}
	buf_release(&text);
}
