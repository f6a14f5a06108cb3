/* The linter: what it tells, with its place; that rules which make sense are not told about; and, on random conditions
 * and every event of a small world, that what it calls impossible never happens. */
#include "sigma.h"
#include "sigma/attack.h"
#include "sigma/prove.h"

static struct ruleset *lint(const char *text, unsigned flags, struct diags *d)
{
	const struct ruleset_options options = {.lint = flags};

	diags_init(d);
	return load_text(text, d, &options);
}

/* `count` warnings and no error; one of them at the place with that text in it. */
static void check_warning(const char *text, unsigned flags, size_t count, int line, int column,
                          const char *part)
{
	struct diags d;
	bool found = count == 0;

	ruleset_free(lint(text, flags, &d));
	for (size_t i = 0; i < d.count; i++)
		found |= d.items[i].line == line && d.items[i].column == column &&
		         strstr(d.items[i].text, part);
	cr_expect(found, "%s: not told: %d:%d %s", text, line, column, part);
	cr_expect_eq(d.warnings, count, "%s: %zu warnings", text, d.warnings);
	cr_expect_eq(d.errors, 0, "%s", text);
	if (!found || d.warnings != count || d.errors)
		log_diags(&d);
	diags_release(&d);
}

struct lint_case {
	const char *detection; /* its lines count from 1, its columns from 1 */
	size_t count;
	int line, column;
	const char *part;
};

static void check_all(const struct lint_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *text = rule_text(cases[i].detection);
		check_warning(text, LINT_RULES, cases[i].count, cases[i].line + 5, cases[i].column,
		              cases[i].part);
		free(text);
	}
}

Test(lint, tells_conditions_that_never_hold)
{
	static const struct lint_case cases[] = {
		{"  a: {x: 1}\n  condition: a and not a\n", 1, 2, 14,
	         "asked for and excluded at once"},
		{"  a: {x: 1}\n  b: {x: 2}\n  condition: a and b\n", 1, 3, 14,
	         "no value fits both `x` (line 6) and `x` (line 7)"},
		{"  a: {x|endswith: '\\A.exe'}\n  b: {x|endswith: ['\\b.exe', '\\c.exe']}\n"
	         "  condition: all of them\n",
	         1, 3, 14, "no value fits both"},
		{"  a: {x|gt: 5}\n  b: {x|lte: 5}\n  condition: a and b\n", 1, 3, 14, "no value"},
		{"  a: {x|gte: 10}\n  b: {x: [1, 2.5, word]}\n  condition: a and b\n", 1, 3, 14,
	         "no value"},
		{"  a: {x|cidr: 10.0.0.0/8}\n  b: {x|cidr: [192.168.0.0/16, '2001:db8::/32']}\n"
	         "  condition: a and b\n",
	         1, 3, 14, "no value"},
		{"  a: {x|cidr: 10.0.0.0/8}\n  b: {x|cidr: 10.1.0.0/16}\n"
	         "  condition: b and not a\n",
	         1, 3, 14, "`x|cidr` (line 7) is excluded by `x|cidr` (line 6)"},
		{"  a: {x: word}\n  b: {x: null}\n  condition: a and b\n", 1, 3, 14, "no value"},
		{"  a: {x: word}\n  b: {x|exists: false}\n  condition: a and b\n", 1, 3, 14,
	         "no value"},
		{"  a: {x|contains: abc}\n  b: {x|contains: B}\n  condition: a and not b\n", 1, 3,
	         14, "excluded by `x|contains` (line 7)"},
		{"  a: {x|re: 'a+'}\n  condition: a and not a\n", 1, 2, 14, "at once"},
		{"  a: [needle]\n  b: [nee]\n  condition: a and not b\n", 1, 3, 14, "`keywords`"},
		{"  a: {x|contains|all: [a, b]}\n  b: {x|contains: B}\n  condition: a and not b\n",
	         1, 3, 14, "excluded"},
		{"  a: {x|neq: word}\n  b: {x: word}\n  condition: a and b\n", 1, 3, 14,
	         "excluded"},
		{"  a: {x: 1}\n  b: {y: 1}\n  condition: a and b and not (a or b)\n", 1, 3, 14,
	         "at once"},
		{"  a: {x: 1}\n  condition: [a and not a]\n", 1, 2, 14, "never hold"},
	};

	check_all(cases, ARRAY_LEN(cases));
}

Test(lint, tells_parts_that_cannot_matter)
{
	static const struct lint_case cases[] = {
		{"  a: {x|endswith: .exe}\n  filter: {x: word}\n  condition: a and not filter\n", 1,
	         2, 3, "the filter `filter` excludes nothing"},
		{"  a: {x|endswith: .exe}\n  filter_b: {y: 1}\n  filter_c: {x: 'b.dll', y: 2}\n"
	         "  condition: a and not 1 of filter_*\n",
	         1, 3, 3, "`filter_c` excludes nothing"},
		{"  a: {x: 1}\n  filter_b: {y: 'abcd'}\n  filter_c: {y|startswith: 'ab'}\n"
	         "  condition: a and not 1 of filter_*\n",
	         0, 0, 0, ""},
		{"  a: {x: 1}\n  filter_b: {y: 'abcd'}\n  filter_c: {y|startswith: 'ab'}\n"
	         "  condition: a and not filter_b and not filter_c\n",
	         1, 2, 3, "`filter_b` excludes nothing"},
		{"  a: {x: 1}\n  b: {x: 2, y: 1}\n  c: {y: 2}\n  condition: a and (b or c)\n", 1, 2,
	         3, "`b` can never hold together with the rest"},
		{"  a: {x: 1}\n  b:\n    - y: 1\n    - x: 2\n      y: 2\n  condition: a and b\n", 1,
	         4, 7, "entry 2 of this list"},
		{"  a: {x: 1}\n  b: {x: 2}\n  condition: a or not a\n", 2, 3, 14, "every event"},
		{"  a: {x: 1}\n  b: {x: 2}\n  c: {y: 1}\n  condition: (a and b) or c\n", 1, 1, 7,
	         "a part of the condition that begins here"},
		{"  a: {x: 1}\n  b: {y: 1}\n  f: {y: 2}\n  condition: a or (b and not f)\n", 1, 3,
	         3, "`f` excludes nothing"},
		{"  a: {x: 1}\n  b: {x: 2}\n  condition: a\n", 1, 2, 3, "no condition uses"},
	};

	check_all(cases, ARRAY_LEN(cases));
}

Test(lint, is_silent_about_what_makes_sense)
{
	static const struct lint_case cases[] = {
		{"  a: {x: 1}\n  b: {y: 1}\n  condition: a and not b\n", 0, 0, 0, ""},
		{"  a: {x|contains: a}\n  b: {x|contains: b}\n  condition: a and b\n", 0, 0, 0, ""},
		{"  a: {x|contains: a}\n  b: {x|contains: b}\n  condition: a and not b\n", 0, 0, 0,
	         ""},
		{"  a: {x|startswith: a}\n  b: {x|endswith: b}\n  condition: a and not b\n", 0, 0,
	         0, ""},
		{"  a: {x|startswith: ab}\n  b: {x|startswith: ABC}\n  condition: a and b\n", 0, 0,
	         0, ""},
		{"  a: {x|startswith|cased: ab}\n  b: {x|startswith: AB}\n  condition: b and not "
	         "a\n",
	         0, 0, 0, ""},
		{"  a: {x|gt: 5}\n  b: {x|lt: 6}\n  condition: a and b\n", 0, 0, 0, ""},
		{"  a: {x: 4688}\n  b: {x|endswith: '.0'}\n  condition: a and b\n", 0, 0, 0, ""},
		{"  a: {x: 4688}\n  b: {x: '4688.0'}\n  condition: a and b\n", 0, 0, 0, ""},
		{"  a: {x: 4688}\n  b: {x: '4688'}\n  condition: a and not b\n", 0, 0, 0, ""},
		{"  a: {x|re: 'a+'}\n  b: {x|re: 'b+'}\n  condition: a and not b\n", 0, 0, 0, ""},
		{"  a: {x: null}\n  b: {x|exists: true}\n  condition: a and b\n", 0, 0, 0, ""},
		{"  a: {x|exists: false}\n  b: {x: null}\n  condition: a and b\n", 0, 0, 0, ""},
		{"  a: {x: word}\n  b: {x: '????"
	         "'}\n  condition: a and b\n",
	         0, 0, 0, ""},
		{"  a: {x: 'a?c'}\n  b: {x: 'a\xc3\xa9"
	         "c'}\n  condition: a and b\n",
	         0, 0, 0, ""},
		{"  a: {x|windash|contains: ' -enc'}\n  b: {x|contains: ' /ENC'}\n  condition: a "
	         "and b\n",
	         0, 0, 0, ""},
		{"  a: {x|windash|contains: ' -enc'}\n  b: {x|contains: ' /ENC'}\n"
	         "  condition: a and not b\n",
	         0, 0, 0, ""},
		{"  a: [one]\n  b: [two]\n  condition: a and b\n", 0, 0, 0, ""},
		{"  a: {x: 1}\n  b: {x: 2}\n  c: {x: 3}\n  condition: 2 of them\n", 0, 0, 0, ""},
		{"  a: {x|fieldref: y}\n  b: {x: 1}\n  condition: a and not b\n", 0, 0, 0, ""},
		{"  a: {x|hour: 3}\n  b: {x|minute: 4}\n  condition: a and b\n", 0, 0, 0, ""},
	};

	check_all(cases, ARRAY_LEN(cases));
}

#define FILTERED                                                                                   \
	"title: r\nname: r\nlogsource: {product: linux}\ndetection: {s: {a: x}, condition: "       \
	"s}\n---\n"                                                                                \
	"title: f\nlogsource: {product: linux}\nfilter:\n  rules: [r]\n"

/* The specification's own example of a filter does the opposite of what it is for. */
Test(lint, tells_filters_that_let_in_instead_of_leaving_out)
{
	static const struct {
		const char *text;
		bool told;
	} cases[] = {
		{FILTERED "  s: {user|startswith: adm_}\n  condition: s\n", true},
		{FILTERED "  s: [{user: a}, {b: c}]\n  t: {d: e}\n  condition: s or t\n", true},
		{FILTERED "  s: {user|startswith: adm_}\n  condition: not s\n", false},
		{FILTERED "  s: {user: joe}\n  t: {b: c}\n  condition: s and not t\n", false},
		{FILTERED "  s: {user|neq: joe}\n  condition: s\n", false},
		{FILTERED "  s: {user|exists: false}\n  condition: s\n", false},
		{FILTERED "  s: {user: null}\n  condition: s\n", false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_warning(cases[i].text, LINT_RULES, cases[i].told,
		              strstr(cases[i].text, "  t:") ? 12 : 11, 14,
		              "will only find what fits it");
}

Test(lint, tells_the_same_detection_twice)
{
	static const char rule[] =
		"title: %s\nlogsource: {product: %s}\ndetection:\n"
		"  s: {a: [1, 2], b|contains: x}\n  t: {c: 3}\n  condition: s and t\n";
	static const char other[] = "---\ntitle: %s\nlogsource: {product: %s}\ndetection:\n"
				    "  m: {c: 3}\n  n: {b|contains: x, a: [%s, 1]}\n"
				    "  condition: m and n\n";
	char *one = xasprintf(rule, "One", "linux"), *text;

	text = xasprintf("%s---\ntitle: Two\nlogsource: {product: linux}\ndetection:\n"
	                 "  m: {c: 3}\n  n: {b|contains: x, a: [2, 1]}\n  condition: m and n\n",
	                 one);
	check_warning(text, LINT_RULES, 1, 11, 3, "the detection of `One`");
	free(text);
	for (size_t i = 0; i < 3; i++) {
		char *second = xasprintf(other, "Two", i == 0 ? "windows" : "linux",
		                         i == 1   ? "3"
		                         : i == 2 ? "'2'"
		                                  : "2");
		text = xasprintf("%s%s", one, second);
		check_warning(text, LINT_RULES, 0, 0, 0, "");
		free(text);
		free(second);
	}
	free(one);
}

/* ---- attributes ---- */

#define DETECTION "logsource: {product: linux}\ndetection: {a: {x: 1}, condition: a}\n"

Test(lint, tells_attributes_that_the_specification_does_not_allow)
{
	static const struct {
		const char *text;
		int line, column;
		const char *part;
	} cases[] = {
		{"date: 2026/11/23\n", 2, 7, "`date` is a date like"},
		{"date: 2026-02-30\n", 2, 7, "not `2026-02-30`"},
		{"modified: [2026-02-03]\n", 2, 11, "not a list"},
		{"date: 2026-02-03\nmodified: 2026-02-02\n", 3, 11, "before `date`"},
		{"related: {id: x}\n", 2, 10, "a list of maps"},
		{"related: [{id: 10000000-0000-4000-8000-000000000001}]\n", 2, 11,
	         "an `id` and a `type`"},
		{"related: [{id: 10000000-0000-4000-8000-000000000001, type: simular}]\n", 2, 60,
	         "did you mean `similar`"},
		{"related: [{id: 1, type: similar}]\n", 2, 16, "`1` is no UUID"},
		{"falsepositives: Unknown\n", 2, 17, "`falsepositives` is a list"},
		{"references: [a, b, a]\n", 2, 20, "twice"},
		{"references: []\n", 2, 13, "an empty one"},
		{"author: [a, b]\n", 2, 9, "`author` is text, not a list"},
		{"descripton: something\n", 2, 1, "did you mean `description`"},
		{"fields: [a, '']\n", 2, 13, "not empty"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		bool error = strstr(cases[i].text, "fields:") != NULL;
		char *text = xasprintf("title: T\n%s" DETECTION, cases[i].text);
		if (!error)
			check_warning(text, LINT_RULES, 1, cases[i].line, cases[i].column,
			              cases[i].part);
		free(text);
	}
	check_warning("title: T\nlogsource: {product: linux, servcie: x}\n"
	              "detection: {a: {x: 1}, condition: a}\n",
	              LINT_RULES, 1, 2, 29, "did you mean `service`");
	check_warning("title: T\nmy_own: x\nlogsource: {product: linux, definition: x}\n"
	              "detection: {a: {x: 1}, condition: a}\n",
	              LINT_RULES, 0, 0, 0, "");
}

#define GOOD                                                                                       \
	"id: 10000000-0000-4000-8000-000000000001\nstatus: test\n"                                 \
	"description: Detects what it says, and more\nreferences: [x]\nauthor: y\n"                \
	"date: 2026-11-23\nlevel: low\n"

Test(lint, tells_conventions_only_when_asked)
{
	static const struct {
		const char *text;
		int line, column;
		const char *part;
	} cases[] = {
		{"title: A bad title of\ntags: [attack.impact]\nfalsepositives: [Unknown]\n", 1, 8,
	         "`bad` begins with a small letter"},
		{"title: It Ends.\ntags: [attack.impact]\nfalsepositives: [Unknown]\n", 1, 8,
	         "full stop"},
		{"title: Detects It\ntags: [attack.impact]\nfalsepositives: [Unknown]\n", 1, 8,
	         "Detects"},
		{"title: T\ntags: [attack.impatc]\nfalsepositives: [Unknown]\n", 2, 8,
	         "did you mean `attack.impact`"},
		{"title: T\ntags: [attack.t12345, attack.impact]\nfalsepositives: [Unknown]\n", 2,
	         8, "no tactic, technique"},
		{"title: T\ntags: [attack.t1234.001]\nfalsepositives: [Unknown]\n", 2, 7,
	         "no tactic"},
		{"title: T\ntags: [attack.initial_access]\nfalsepositives: [Unknown]\n", 2, 8,
	         "`attack.initial-access`"},
		{"title: T\ntags: [attack.Impact]\nfalsepositives: [Unknown]\n", 2, 8,
	         "lower case"},
		{"title: T\ntags: [attakc.impact]\nfalsepositives: [Unknown]\n", 2, 8, "namespace"},
		{"title: T\ntags: [attack.impact]\n", 1, 1, "no `falsepositives`"},
		{"title: T\ntags: [attack.impact]\nfalsepositives: [None so far]\n", 3, 18,
	         "says nothing"},
		{"title: T\ntags: [attack.impact]\nfalsepositives: [backups]\n", 3, 18, "capital"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *text = xasprintf("%s" GOOD DETECTION, cases[i].text);
		check_warning(text, LINT_RULES | LINT_CONVENTIONS, 1, cases[i].line,
		              cases[i].column, cases[i].part);
		check_warning(text, LINT_RULES, 0, 0, 0, "");
		free(text);
	}
	check_warning(
		"title: Files Named as in etc/passwd - via a Web-Shell\n"
		"tags: [attack.impact, attack.t1059.001, attack.g0032, attack.s0002, cve.2021-1]\n"
		"falsepositives: [Unknown]\n" GOOD DETECTION,
		LINT_RULES | LINT_CONVENTIONS, 0, 0, 0, "");
	check_warning("title: T\n" DETECTION, LINT_RULES | LINT_CONVENTIONS, 9, 1, 1, "no `level`");
}

Test(lint, knows_the_forms_of_attack_tags)
{
	static const struct {
		const char *tag;
		enum attack_kind kind;
	} cases[] = {
		{"attack.execution", ATTACK_TACTIC},
		{"attack.command_and_control", ATTACK_TACTIC},
		{"attack.stealth", ATTACK_TACTIC},
		{"attack.defense-evasion", ATTACK_TACTIC},
		{"attack.t1059", ATTACK_TECHNIQUE},
		{"attack.t1059.001", ATTACK_TECHNIQUE},
		{"attack.t1059.01", ATTACK_UNKNOWN},
		{"attack.t1059.", ATTACK_UNKNOWN},
		{"attack.t105", ATTACK_UNKNOWN},
		{"attack.", ATTACK_UNKNOWN},
		{"attack.s0001", ATTACK_OTHER},
		{"attack.ds0029", ATTACK_OTHER},
		{"attack.g12", ATTACK_UNKNOWN},
		{"car.2013-01-002", ATTACK_NONE},
		{"attack", ATTACK_NONE},
		{"", ATTACK_NONE},
	};
	size_t tactic = 0;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		cr_expect_eq(attack_tag(str_of(cases[i].tag), &tactic), cases[i].kind, "%s",
		             cases[i].tag);
}

/* ---- what is called impossible never happens ---- */

static uint32_t seed;

static uint32_t pick(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* "null" without quotes stands for null, "" for a field that is not there. */
static const char *const world[] = {"",
                                    "null",
                                    "\"\"",
                                    "\"a\"",
                                    "\"A\"",
                                    "\"ab\"",
                                    "\"aXb\"",
                                    "\"1\"",
                                    "1",
                                    "1.0",
                                    "2",
                                    "\"10\"",
                                    "\"1.10\"",
                                    "\"-b\"",
                                    "\"/b\"",
                                    "\"10.1.2.3\"",
                                    "\"\xc3\x89t\xc3\xa9\"",
                                    "[\"a\",\"b\"]",
                                    "[null,\"b\",\"1\"]"};
#define WORLD       ARRAY_LEN(world)
#define LAST_SINGLE (WORLD - 3) /* behind it stand fields with several values */

static void add_random_item(struct buf *out)
{
	static const char *const items[] = {
		"'%c': a",
		"'%c': A",
		"'%c|cased': A",
		"'%c': 'a*'",
		"'%c': '*b'",
		"'%c': '*X*'",
		"'%c': 'a?b'",
		"'%c': 1",
		"'%c': '1'",
		"'%c': [1, 2]",
		"'%c|gt': 1",
		"'%c|gte': 1",
		"'%c|lt': 2",
		"'%c|lte': 1",
		"'%c': null",
		"'%c': ''",
		"'%c|exists': true",
		"'%c|exists': false",
		"'%c|neq': a",
		"'%c|contains|all': [a, b]",
		"'%c': [a, b, '1*']",
		"'%c|re': '^a'",
		"'%c|cidr': 10.0.0.0/8",
		"'%c|cidr': 10.1.0.0/16",
		"'%c|windash|startswith': '-'",
		"'%c|startswith': '/'",
		"'%c|endswith': [b, 't\xc3\xa9']",
		"'%c|contains|cased': X",
		"'%c': '*'",
		"'%c|fieldref': y",
		"'%c|neq|all': [a, b]",
		"'%c|endswith|cased': B",
		"'%c|startswith': '\xc3\xa9'",
	};

	/* The formats are the table's own. */
	const char *format = items[pick(ARRAY_LEN(items))];
	const char *at = strstr(format, "%c");
	buf_add(out, str_make(format, (size_t)(at - format)));
	buf_putc(out, pick(3) ? 'x' : 'y');
	buf_add(out, str_of(at + 2));
}

static void add_random_rule(struct buf *out, size_t number)
{
	static const char *const conditions[] = {
		"a and b",
		"a and not b",
		"a and not b and not c",
		"a and (b or c)",
		"a or b and c",
		"all of them",
		"not (a or b) and c",
		"a and not 1 of b*",
		"not a and not b",
		"(a and not b) or (c and not a)",
		"2 of them",
		"a and b and c and not d",
		"1 of a* and not all of b*",
		"not a or not b",
	};
	buf_printf(out, "---\ntitle: rule %zu\nlogsource: {product: linux}\ndetection:\n", number);
	for (char name = 'a'; name <= 'd'; name++) {
		if (pick(4) == 0) {
			buf_printf(out, "  %c:\n    - {", name);
			add_random_item(out);
			buf_printf(out, "}\n    - {");
		} else {
			buf_printf(out, "  %c: {", name);
		}
		add_random_item(out);
		buf_printf(out, "}\n");
	}
	buf_printf(out, "  condition: %s\n", conditions[pick(ARRAY_LEN(conditions))]);
}

struct world {
	struct event events[WORLD * WORLD];
	char *texts[WORLD * WORLD];
	bool several[WORLD * WORLD]; /* some field has several values */
};

static void make_world(struct world *w, struct decoder *decoder)
{
	for (size_t i = 0; i < WORLD * WORLD; i++) {
		const char *x = world[i / WORLD], *y = world[i % WORLD];
		w->texts[i] = xasprintf("{%s%s%s%s%s,\"z\":0}", *x ? "\"x\":" : "\"w\":0", x,
		                        *y ? ",\"y\":" : "", y, "");
		w->several[i] = i / WORLD > LAST_SINGLE || i % WORLD > LAST_SINGLE;
		event_setup(&w->events[i]);
		event_reset(&w->events[i]);
		event_decode(decoder, &w->events[i], str_of(w->texts[i]));
	}
}

#define RULES 3000

/* How often each rule holds for an event whose fields have one value each, and for any. */
struct tally {
	size_t single[RULES], all[RULES];
};

static void count_matches(const struct world *w, const struct ruleset *set, struct tally *ret)
{
	struct matcher *m = matcher_new(set);
	const struct rule *const *hits;

	for (size_t i = 0; i < WORLD * WORLD; i++) {
		size_t n = matcher_run(m, &w->events[i], NULL, &hits);
		for (size_t j = 0; j < n; j++) {
			ret->single[hits[j] - set->rules] += !w->several[i];
			ret->all[hits[j] - set->rules]++;
		}
	}
	matcher_free(m);
}

static struct ruleset *random_rules(void)
{
	const struct ruleset_options options = {0};
	struct ruleset *set;
	struct diags d;
	struct buf text;

	buf_init(&text, 0);
	diags_init(&d);
	for (size_t i = 0; i < RULES; i++)
		add_random_rule(&text, i);
	set = load_text(buf_cstr(&text), &d, &options);
	cr_assert_eq(set->count, RULES);
	diags_release(&d);
	buf_release(&text);
	return set;
}

static void release_world(struct world *w)
{
	for (size_t i = 0; i < WORLD * WORLD; i++) {
		event_release(&w->events[i]);
		free(w->texts[i]);
	}
	free(w);
}

Test(lint, what_it_calls_impossible_never_happens)
{
	struct decoder *decoder = decoder_new(NULL);
	struct world *w = xcalloc(1, sizeof(*w));
	struct tally *tally = xcalloc(1, sizeof(*tally));
	size_t impossible = 0, certain = 0;
	struct prover p;

	seed = 1;
	make_world(w, decoder);
	prover_init(&p);
	struct ruleset *set = random_rules();
	count_matches(w, set, tally);
	for (size_t i = 0; i < RULES; i++) {
		const struct condition *c = set->rules[i].condition;
		prover_reset(&p);
		if (!prover_satisfiable(&p, goal_condition(&p, c, true, NULL))) {
			impossible++;
			cr_assert_eq(p.several ? tally->single[i] : tally->all[i], 0, "rule %zu",
			             i);
		}
		if (!prover_satisfiable(&p, goal_condition(&p, c, false, NULL))) {
			certain++;
			if (p.several)
				cr_assert_eq(tally->single[i],
				             (LAST_SINGLE + 1) * (LAST_SINGLE + 1));
			else
				cr_assert_eq(tally->all[i], WORLD * WORLD, "rule %zu", i);
		}
		cr_assert_not(p.gave_up, "rule %zu", i);
	}
	/* It must find some, or this shows nothing. */
	cr_expect_gt(impossible, 300);
	cr_expect_gt(certain, 3);
	prover_release(&p);
	ruleset_free(set);
	release_world(w);
	decoder_free(decoder);
	free(tally);
}

/* ---- SigmaHQ ---- */

Test(lint, has_little_to_say_about_sigmahq)
{
	const char *shared = getenv("ISOD_SHARED");
	char *path = xasprintf("%s/corpus/sigma", shared ? shared : "../shared");
	const char *paths[] = {path};
	const struct ruleset_options options = {.lint = LINT_RULES};
	struct ruleset *set = NULL;
	struct diags d;

	if (access(path, R_OK) != 0)
		cr_skip("no SigmaHQ rules in the shared corpus");
	diags_init(&d);
	cr_assert_eq(ruleset_load_with(paths, 1, &options, &d, &set), 0);
	cr_expect_eq(d.errors, 0);
	cr_expect_lt(d.warnings, 60);
	ruleset_free(set);
	diags_release(&d);
	free(path);
}
