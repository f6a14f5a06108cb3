/* Each modifier on real events, their combinations, and the ones that are refused. */
#include "sigma.h"
#include "sigma/encode.h"
#include "sigma/values.h"

#define SEL(item) "  s:\n    " item "\n  condition: s\n"

Test(modifiers, text)
{
	static const struct match_case cases[] = {
		{SEL("a|contains: oo"), "{\"a\":\"fOOt\"}", true},
		{SEL("a|contains: ox"), "{\"a\":\"foot\"}", false},
		{SEL("a|startswith: fo"), "{\"a\":\"Foot\"}", true},
		{SEL("a|startswith: oo"), "{\"a\":\"foot\"}", false},
		{SEL("a|endswith: ot"), "{\"a\":\"foOT\"}", true},
		{SEL("a|endswith: oo"), "{\"a\":\"foot\"}", false},
		{SEL("a|contains: 'f*t'"), "{\"a\":\"a foot b\"}", true},
		{SEL("a|endswith: '\\x'"), "{\"a\":\"C:\\\\x\"}", true},
		{SEL("a|contains: ''"), "{\"a\":\"foot\"}", true},
		{SEL("a|contains: ''"), "{\"b\":\"foot\"}", false},
		{SEL("a|contains: [x, oo]"), "{\"a\":\"foot\"}", true},
		{SEL("a|contains|all: [f, oo]"), "{\"a\":\"foot\"}", true},
		{SEL("a|contains|all: [f, x]"), "{\"a\":\"foot\"}", false},
		{SEL("a|all|contains: [f, oo]"), "{\"a\":\"foot\"}", true},
		{SEL("a|all: [x, y]"), "{\"a\":[\"x\",\"y\"]}", true},
		{SEL("a|all: [x, z]"), "{\"a\":[\"x\",\"y\"]}", false},
		{SEL("a|cased: Foot"), "{\"a\":\"Foot\"}", true},
		{SEL("a|cased: Foot"), "{\"a\":\"foot\"}", false},
		{SEL("a|contains|cased: OO"), "{\"a\":\"fOOt\"}", true},
		{SEL("a|cased|contains: OO"), "{\"a\":\"foot\"}", false},
		{SEL("a|CONTAINS: oo"), "{\"a\":\"foot\"}", true},
		{SEL("a|contains: 44"), "{\"a\":4444}", true},
		{SEL("a|contains|windash: ' -enc'"), "{\"a\":\"ps /enc x\"}", true},
		{SEL("a|windash|contains: ' /enc'"), "{\"a\":\"ps -enc x\"}", true},
		{SEL("a|contains|windash: ' -enc'"),
	         "{\"a\":\"ps \xe2\x80\x95"
	         "enc x\"}",
	         true},
		{SEL("a|contains: ' -enc'"), "{\"a\":\"ps /enc x\"}", false},
		{SEL("a|windash|contains|all: [-a, -b]"), "{\"a\":\"/b /a\"}", true},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

/* What an encoding makes of one value are forms of it: `all` wants one of them for each value. */
Test(modifiers, all_wants_one_form_of_each_value)
{
	static const struct match_case cases[] = {
		/* "foobarhello", and with a space before it. */
		{SEL("a|base64offset|contains|all: [foobar, hello]"),
	         "{\"a\":\"Zm9vYmFyaGVsbG8=\"}", true},
		{SEL("a|base64offset|contains|all: [foobar, hello]"),
	         "{\"a\":\"IGZvb2JhcmhlbGxv\"}", true},
		{SEL("a|base64offset|contains|all: [foobar, hallo]"),
	         "{\"a\":\"Zm9vYmFyaGVsbG8=\"}", false},
		{SEL("a|base64offset|contains|all|neq: [foobar, hello]"),
	         "{\"a\":\"Zm9vYmFyaGVsbG8=\"}", false},
		{SEL("a|base64offset|contains|all|neq: [foobar, hallo]"),
	         "{\"a\":\"Zm9vYmFyaGVsbG8=\"}", true},
		{SEL("a|all|windash|utf16be|base64|contains: ['-a', b]"),
	         "{\"a\":\"AC8AYQ== AGI=\"}", true},
		{SEL("a|all|windash|utf16be|base64|contains: ['-a', b]"),
	         "{\"a\":\"AC8AYQ== AGM=\"}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(modifiers, neq_is_the_opposite)
{
	static const struct match_case cases[] = {
		{SEL("a|neq: x"), "{\"a\":\"y\"}", true},
		{SEL("a|neq: x"), "{\"a\":\"X\"}", false},
		{SEL("a|neq: [x, y]"), "{\"a\":\"y\"}", false},
		{SEL("a|neq: [x, y]"), "{\"a\":\"z\"}", true},
		{SEL("a|neq: x"), "{\"b\":\"x\"}", true},
		{SEL("a|neq: 5"), "{\"a\":5.0}", false},
		{SEL("a|neq: x"), "{\"a\":[\"x\",\"y\"]}", false},
		{SEL("a|contains|neq: x"), "{\"a\":\"axb\"}", false},
		{SEL("a|fieldref|neq: b"), "{\"a\":\"x\",\"b\":\"y\"}", true},
		{SEL("a|fieldref|neq: b"), "{\"a\":\"x\",\"b\":\"X\"}", false},
		{SEL("a|neq: null"), "{\"a\":\"x\"}", true},
		{SEL("a|neq: null"), "{\"b\":\"x\"}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(modifiers, regular_expressions)
{
	static const struct match_case cases[] = {
		{SEL("a|re: '^f.+t$'"), "{\"a\":\"foot\"}", true},
		{SEL("a|re: 'oo'"), "{\"a\":\"foot\"}", true},
		{SEL("a|re: 'OO'"), "{\"a\":\"foot\"}", false},
		{SEL("a|re|cased: 'OO'"), "{\"a\":\"foot\"}", false},
		{SEL("a|cased|re|s: 'f.o'"), "{\"a\":\"f\\no\"}", true},
		{SEL("a|re|i: 'OO'"), "{\"a\":\"foot\"}", true},
		{SEL("a|re: '(?i)OO'"), "{\"a\":\"foot\"}", true},
		{SEL("a|re: '^b'"), "{\"a\":\"a\\nb\"}", false},
		{SEL("a|re|m: '^b'"), "{\"a\":\"a\\nb\"}", true},
		{SEL("a|re: 'a.b'"), "{\"a\":\"a\\nb\"}", false},
		{SEL("a|re|s: 'a.b'"), "{\"a\":\"a\\nb\"}", true},
		{SEL("a|re|i|m|s: 'A.^B'"), "{\"a\":\"a\\nb\"}", true},
		{SEL("a|re: ['x', 'o{2}']"), "{\"a\":\"foot\"}", true},
		{SEL("a|re|all: ['f', 'o{2}']"), "{\"a\":\"foot\"}", true},
		{SEL("a|re|startswith: 'f|x'"), "{\"a\":\"foot\"}", true},
		{SEL("a|re|startswith: 'o'"), "{\"a\":\"foot\"}", false},
		{SEL("a|re|endswith: 'x|o.'"), "{\"a\":\"foot\"}", true},
		{SEL("a|re|contains: 'o'"), "{\"a\":\"foot\"}", true},
		{SEL("a|re: '^.$'"), "{\"a\":\"\xc3\xa9\"}", true},
		{SEL("a|re: '\\\\x'"), "{\"a\":\"\\\\x\"}", true},
		{SEL("a|re: '^$'"), "{\"a\":\"\"}", true},
		{SEL("a|re: '.*'"), "{\"b\":\"\"}", false},
		{SEL("a|re: 42"), "{\"a\":1427}", true},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(modifiers, networks)
{
	static const struct match_case cases[] = {
		{SEL("a|cidr: 10.0.0.0/8"), "{\"a\":\"10.255.0.1\"}", true},
		{SEL("a|cidr: 10.0.0.0/8"), "{\"a\":\"11.0.0.1\"}", false},
		{SEL("a|cidr: 10.0.0.0/8"), "{\"a\":\"::ffff:10.1.2.3\"}", true},
		{SEL("a|cidr: 10.0.0.0/8"), "{\"a\":\"10.1.2.3.example\"}", false},
		{SEL("a|cidr: 10.0.0.0/8"), "{\"a\":\"10.1.2\"}", false},
		{SEL("a|cidr: [192.168.0.0/16, 172.16.0.0/12]"), "{\"a\":\"172.31.255.255\"}",
	         true},
		{SEL("a|cidr: 172.16.0.0/12"), "{\"a\":\"172.32.0.0\"}", false},
		{SEL("a|cidr: '::1/128'"), "{\"a\":\"::1\"}", true},
		{SEL("a|cidr: '::1/128'"), "{\"a\":\"0:0:0:0:0:0:0:1\"}", true},
		{SEL("a|cidr: 'fe80::/10'"), "{\"a\":\"fe80::1%eth0\"}", true},
		{SEL("a|cidr: 'fe80::/10'"), "{\"a\":\"FEC0::1\"}", false},
		{SEL("a|cidr: '2001:db8::/33'"), "{\"a\":\"2001:db8:7fff::\"}", true},
		{SEL("a|cidr: '2001:db8::/33'"), "{\"a\":\"2001:db8:8000::\"}", false},
		{SEL("a|cidr: 0.0.0.0/0"), "{\"a\":\"8.8.8.8\"}", true},
		{SEL("a|cidr: 0.0.0.0/0"), "{\"a\":\"2001:db8::1\"}", false},
		{SEL("a|cidr: '::/0'"), "{\"a\":\"2001:db8::1\"}", true},
		{SEL("a|cidr: '::/0'"), "{\"a\":\"8.8.8.8\"}", false},
		{SEL("a|cidr: 192.0.2.7"), "{\"a\":\"192.0.2.7\"}", true},
		{SEL("a|cidr: 192.0.2.7"), "{\"a\":\"192.0.2.8\"}", false},
		{SEL("a|cidr: 10.0.0.0/8"), "{\"a\":\"\"}", false},
		{SEL("a|cidr|neq: 10.0.0.0/8"), "{\"a\":\"11.0.0.1\"}", true},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(modifiers, numbers)
{
	static const struct match_case cases[] = {
		{SEL("a|gt: 5"), "{\"a\":6}", true},
		{SEL("a|gt: 5"), "{\"a\":5}", false},
		{SEL("a|gte: 5"), "{\"a\":5}", true},
		{SEL("a|lt: 5"), "{\"a\":\"4\"}", true},
		{SEL("a|lt: 5"), "{\"a\":5}", false},
		{SEL("a|lte: 5"), "{\"a\":5.0}", true},
		{SEL("a|lt: 10"), "{\"a\":9}", true}, /* as numbers, not as text */
		{SEL("a|lt: 5"), "{\"a\":\"x\"}", false},
		{SEL("a|lt: 5"), "{\"b\":1}", false},
		{SEL("a|lt: -1.5"), "{\"a\":-2}", true},
		{SEL("a|gt: 1e3"), "{\"a\":1001}", true},
		{SEL("a|gt: 9007199254740992"), "{\"a\":9007199254740993}", true},
		{SEL("a|gte: '5'"), "{\"a\":5}", true},
		{SEL("a|gt: 5"), "{\"a\":[1,9]}", true},
		{SEL("a|gt: 15"), "{\"a\":\"0x10\"}", true},
		{SEL("a|gt: 1"), "{\"a\":\"inf\"}", false},
		{SEL("a: 4688"), "{\"a\":4688}", true},
		{SEL("a: 4688"), "{\"a\":\"4688\"}", true},
		{SEL("a: 4688"), "{\"a\":4688.0}", true},
		{SEL("a: '4688'"), "{\"a\":4688}", true},
		{SEL("a: '4688'"), "{\"a\":4688.0}", false},
		{SEL("a: 0x17"), "{\"a\":\"0x17\"}", true},
		{SEL("a: 0x17"), "{\"a\":23}", true},
		{SEL("a: true"), "{\"a\":true}", true},
		{SEL("a: true"), "{\"a\":\"True\"}", true},
		{SEL("a: 'true'"), "{\"a\":true}", true},
		{SEL("a: false"), "{\"a\":true}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(modifiers, dates)
{
	static const struct match_case cases[] = {
		{SEL("t|minute: 5"), "{\"t\":\"2026-01-02T03:05:59Z\"}", true},
		{SEL("t|hour: 3"), "{\"t\":\"2026-01-02 03:05:59.123\"}", true},
		{SEL("t|hour: 3"), "{\"t\":\"2026-01-02T03:05:59+09:00\"}", true}, /* as written */
		{SEL("t|hour|gte: 22"), "{\"t\":\"2026-01-02T23:00:00Z\"}", true},
		{SEL("t|hour|gte: 22"), "{\"t\":\"2026-01-02T21:59:00Z\"}", false},
		{SEL("t|hour|neq: 3"), "{\"t\":\"2026-01-02T04:00:00Z\"}", true},
		{SEL("t|day: 2"), "{\"t\":\"2026-01-02\"}", true},
		{SEL("t|month: [1, 12]"), "{\"t\":\"2026-12-02\"}", true},
		{SEL("t|year: 2026"), "{\"t\":\"2026-12-02\"}", true},
		{SEL("t|year|lt: 2026"), "{\"t\":\"2026-12-02\"}", false},
		{SEL("t|week: 1"), "{\"t\":\"2026-01-01\"}", true},
		{SEL("t|week: 53"), "{\"t\":\"2021-01-03\"}", true},
		{SEL("t|week: 1"), "{\"t\":\"2021-01-04\"}", true},
		{SEL("t|week: 1"), "{\"t\":\"2024-12-30\"}", true},
		{SEL("t|week: 52"), "{\"t\":\"2023-01-01\"}", true},
		{SEL("t|hour: 3"), "{\"t\":\"2026-01-02\"}", false},
		{SEL("t|hour: 3"), "{\"t\":\"2026-01-02\\u000003:05:00Z\"}", false},
		{SEL("t|hour: 3"), "{\"t\":\"yesterday\"}", false},
		{SEL("t|month: 1"), "{\"t\":\"2026-13-02\"}", false},
		{SEL("t|hour: 3"), "{\"t\":\"\"}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(modifiers, encodings)
{
	/* "cmd" in UTF-16LE is c.m.d. (dots for NUL): YwBtAGQA */
	static const struct match_case cases[] = {
		{SEL("a|base64: foobar"), "{\"a\":\"Zm9vYmFy\"}", true},
		{SEL("a|base64|contains: foobar"), "{\"a\":\"x Zm9vYmFy y\"}", true},
		{SEL("a|base64: fo"), "{\"a\":\"Zm8=\"}", true},
		{SEL("a|wide|base64: cmd"), "{\"a\":\"YwBtAGQA\"}", true},
		{SEL("a|utf16le|base64: cmd"), "{\"a\":\"YwBtAGQA\"}", true},
		{SEL("a|utf16be|base64: cmd"), "{\"a\":\"AGMAbQBk\"}", true},
		{SEL("a|utf16|base64: cmd"), "{\"a\":\"//5jAG0AZAA=\"}", true},
		{SEL("a|base64offset|contains: foobar"), "{\"a\":\"Zm9vYmFy\"}", true},
		/* "xfoobar" and "xxfoobar" */
		{SEL("a|base64offset|contains: foobar"), "{\"a\":\"eGZvb2Jhcg==\"}", true},
		{SEL("a|base64offset|contains: foobar"), "{\"a\":\"eHhmb29iYXI=\"}", true},
		{SEL("a|base64offset|contains: foobar"), "{\"a\":\"eHhmb29xYXI=\"}", false},
		{SEL("a|wide|base64offset|contains: cmd"), "{\"a\":\"eGMAbQBkAHk=\"}", true},
		/* "/a" and "-a": the dash is written out before it is encoded */
		{SEL("a|windash|base64: -a"), "{\"a\":\"L2E=\"}", true},
		{SEL("a|windash|base64: -a"), "{\"a\":\"LWE=\"}", true},
		{SEL("a|wide: cmd"), "{\"a\":\"c\\u0000m\\u0000d\\u0000\"}", true},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(modifiers, base64_offset_finds_its_text_wherever_it_stands)
{
	struct arena a;
	char text[64], inner[] = "s3cret-Text!";

	arena_init(&a, 0);
	for (size_t before = 0; before < 7; before++)
		for (size_t length = 3; length < sizeof(inner); length++)
			for (size_t after = 0; after < 4; after++) {
				memset(text, 'z', sizeof(text));
				memcpy(text + before, inner, length);
				struct str all =
					encode_base64(&a, str_make(text, before + length + after));
				struct str part = encode_base64_offset(&a, str_make(inner, length),
				                                       (unsigned)before % 3);
				cr_assert_geq(str_search(all, part), 0, "%zu %zu %zu: %.*s in %.*s",
				              before, length, after, STR_FMT(part), STR_FMT(all));
				cr_assert_geq(part.n * 6 + 16, length * 8, "cut too much");
			}
	arena_release(&a);
}

Test(modifiers, field_references)
{
	static const struct match_case cases[] = {
		{SEL("a|fieldref: b"), "{\"a\":\"X\",\"b\":\"x\"}", true},
		{SEL("a|fieldref: b"), "{\"a\":\"X\",\"b\":\"y\"}", false},
		{SEL("a|fieldref: b"), "{\"a\":\"X\"}", false},
		{SEL("a|fieldref: b"), "{\"b\":\"X\"}", false},
		{SEL("a|fieldref: b"), "{}", false},
		{SEL("a|fieldref: b"), "{\"a\":[\"p\",\"q\"],\"b\":[\"r\",\"q\"]}", true},
		{SEL("a|fieldref|startswith: b"), "{\"a\":\"abc\",\"b\":\"AB\"}", true},
		{SEL("a|fieldref|endswith: b"), "{\"a\":\"abc\",\"b\":\"bc\"}", true},
		{SEL("a|fieldref|contains: b"), "{\"a\":\"abc\",\"b\":\"b\"}", true},
		{SEL("a|contains|fieldref: b"), "{\"a\":\"abc\",\"b\":\"b\"}", true},
		{SEL("a|fieldref|startswith: b"), "{\"a\":\"abc\",\"b\":\"bc\"}", false},
		{SEL("a|fieldref|cased: b"), "{\"a\":\"X\",\"b\":\"x\"}", false},
		{SEL("a|fieldref: b"), "{\"a\":null,\"b\":null}", false},
		{SEL("a|fieldref: [b, c]"), "{\"a\":\"x\",\"b\":\"y\",\"c\":\"x\"}", true},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

Test(modifiers, existence)
{
	static const struct match_case cases[] = {
		{SEL("a|exists: true"), "{\"a\":\"\"}", true},
		{SEL("a|exists: true"), "{\"a\":null}", true},
		{SEL("a|exists: true"), "{\"b\":1}", false},
		{SEL("a|exists: false"), "{\"b\":1}", true},
		{SEL("a|exists: no"), "{\"a\":1}", false},
	};

	check_cases(cases, ARRAY_LEN(cases));
}

#define ONE(item) "  s:\n    " item "\n  condition: s\n"

Test(modifiers, errors_name_the_modifier_and_its_place)
{
	static const struct error_case cases[] = {
		{ONE("a|contians: x"), 2, 7, "did you mean `contains`"},
		{ONE("a|contains|al: x"), 2, 16, "did you mean `all`"},
		{ONE("a|not: x"), 2, 7, "negate in the condition"},
		{ONE("a|regex: x"), 2, 7, "the modifier is re"},
		{ONE("a|in: [x]"), 2, 7, "leave it out"},
		{ONE("a|frobnicate: x"), 2, 7, "unknown modifier `frobnicate`"},
		{ONE("a|: x"), 2, 7, "missing behind `|`"},
		{ONE("a||re: x"), 2, 7, "missing behind `|`"},
		{ONE("a|i: x"), 2, 7, "behind re"},
		{ONE("a|contains|re: x"), 2, 16, "`re` cannot stand behind `contains`"},
		{ONE("a|contains|startswith: x"), 2, 16, "cannot stand behind `contains`"},
		{ONE("a|contains|base64: x"), 2, 16, "base64|contains"},
		{ONE("a|re|windash: x"), 2, 10, "cannot stand behind `re`"},
		{ONE("a|re|i|cased: x"), 2, 12, "cannot stand behind `i`"},
		{ONE("a|cased|re|i: x"), 2, 16, "cannot stand behind `cased`"},
		{ONE("a|cidr|cased: 10.0.0.0/8"), 2, 12, "letter cases"},
		{ONE("a|re|re: x"), 2, 10, "cannot stand behind `re`"},
		{ONE("a|cidr|contains: 10.0.0.0/8"), 2, 12, "cannot stand behind `cidr`"},
		{ONE("a|gt|contains: 5"), 2, 10, "cannot stand behind `gt`"},
		{ONE("a|exists|contains: true"), 2, 14, "cannot stand behind `exists`"},
		{ONE("a|all|exists: true"), 2, 11, "it stands alone"},
		{ONE("a|gt|lt: 5"), 2, 10, "cannot stand behind `gt`"},
		{ONE("a|gt|hour: 5"), 2, 10, "hour|gte"},
		{ONE("a|hour|day: 5"), 2, 12, "cannot stand behind `hour`"},
		{ONE("a|re: '('"), 2, 11, "not a regular expression"},
		{ONE("a|re: ['x', '[z-a]']"), 2, 17, "not a regular expression"},
		{ONE("a|cidr: 10.0.0.0/33"), 2, 13, "no network"},
		{ONE("a|cidr: 10.0.0"), 2, 13, "no network"},
		{ONE("a|cidr: '*'"), 2, 13, "no network"},
		{ONE("a|cidr: fe80::/129"), 2, 13, "no network"},
		{ONE("a|gt: five"), 2, 11, "`five` is no number"},
		{ONE("a|hour: 24"), 2, 13, "from 0 to 23"},
		{ONE("a|month|gt: 1.5"), 2, 17, "a whole number"},
		{ONE("a|exists: maybe"), 2, 15, "true or false"},
		{ONE("a|exists: [true, false]"), 2, 16, "one value"},
		{ONE("a|contains: null"), 2, 17, "needs text, not null"},
		{ONE("a|re: null"), 2, 11, "needs text, not null"},
		{ONE("a|base64: 'x*'"), 2, 15, "wildcards cannot be encoded"},
		{ONE("a|base64offset: 'x'"), 2, 21, "too short"},
		{ONE("a|fieldref: ''"), 2, 17, "name of a field"},
		{ONE("'|cidr': 10.0.0.0/8"), 2, 14, "needs a field"},
		{ONE("'|exists': true"), 2, 16, "needs a field"},
		{ONE("'|contians': x"), 2, 7, "did you mean `contains`"},
		{ONE("a: []"), 2, 8, "empty list"},
		{ONE("a: {b: c}"), 2, 8, "not a map"},
		{ONE("a: [[b]]"), 2, 9, "not a list"},
	};

	check_errors(cases, ARRAY_LEN(cases), true);
}

Test(modifiers, placeholders)
{
	char dir[] = "/tmp/isod-sigma-XXXXXX";
	struct diags d;
	struct ruleset_options o = {0};
	struct placeholders *p;

	cr_assert(mkdtemp(dir));
	char *path = xasprintf("%s/p.yaml", dir);
	static const char text[] = "admins: [root, 'adm_*']\nhost: web1\n";
	cr_assert_eq(path_write_atomic(path, str_of(text), 0600), 0);
	diags_init(&d);
	cr_assert_eq(placeholders_load(path, &d, &p), 0);
	unlink(path);
	rmdir(dir);
	free(path);
	o.placeholders = p;
	cr_expect(holds_with(SEL("a|expand: '%admins%'"), "{\"a\":\"ROOT\"}", &o));
	cr_expect(holds_with(SEL("a|expand: '%admins%'"), "{\"a\":\"adm_joe\"}", &o));
	cr_expect_not(holds_with(SEL("a|expand: '%admins%'"), "{\"a\":\"joe\"}", &o));
	cr_expect(holds_with(SEL("a|expand: '%admins%@%host%'"), "{\"a\":\"root@web1\"}", &o));
	cr_expect(holds_with(SEL("a|contains|expand: '%host%'"), "{\"a\":\"x web1 y\"}", &o));
	cr_expect(holds_with(SEL("a|re|expand: '^%host%$'"), "{\"a\":\"web1\"}", &o));
	cr_expect(holds_with(SEL("a: '%host%'"), "{\"a\":\"%host%\"}", &o), "only with expand");
	cr_expect(holds_with(SEL("a|expand: '\\%host%'"), "{\"a\":\"%host%\"}", &o));
	cr_expect(holds_with(SEL("a|expand: '100%'"), "{\"a\":\"100%\"}", &o));
	placeholders_free(p);
	diags_release(&d);
}

Test(modifiers, unknown_placeholders_are_told_and_compared_as_written)
{
	const struct ruleset_options o = {0};
	struct diags d;
	char *text = rule_text(SEL("a|expand: '%who%'"));

	diags_init(&d);
	struct ruleset *set = load_text(text, &d, &o);
	cr_assert_eq(d.errors, 0);
	cr_assert_eq(d.warnings, 1);
	cr_expect(strstr(d.items[0].text, "%who%"));
	cr_expect_eq(d.items[0].line, 7);
	ruleset_free(set);
	diags_release(&d);
	free(text);
	cr_expect(holds(SEL("a|expand: '%who%'"), "{\"a\":\"%who%\"}"));
}

Test(modifiers, numbers_are_read_whole_or_not_at_all)
{
	static const char *const good[] = {"0",    "-1",   "+5",
	                                   "1.5",  ".5",   "1e9",
	                                   "0xff", "-0x1", "123456789012345678901234567890"};
	static const char *const bad[] = {"",    "-",     "+",   ".",   "e5",    "1e",
	                                  "1 ",  " 1",    "0x",  "0xg", "1.2.3", "inf",
	                                  "nan", "1e999", "--1", "+-1", "1-1"};
	struct number n;

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		cr_expect_eq(number_parse(str_of(good[i]), &n), 0, "%s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_lt(number_parse(str_of(bad[i]), &n), 0, "%s", bad[i]);
}

Test(modifiers, a_regular_expression_that_explodes_is_bounded_and_counted)
{
	struct diags d;
	struct event e;
	const struct rule *const *hits;
	const struct ruleset_options o = {0};
	char *text = rule_text(SEL("a|re: '^(a+)+$'"));

	diags_init(&d);
	struct ruleset *set = load_text(text, &d, &o);
	cr_assert_eq(d.errors, 0);
	struct matcher *m = matcher_new(set);
	char *value = xmalloc(60001);
	memset(value, 'a', 60000);
	value[60000] = 'b';
	event_setup(&e);
	event_reset(&e);
	event_put(&e, STR("a"), str_make(value, 60001), VALUE_STRING);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 0);
	cr_expect_eq(matcher_limited(m), 1);
	event_reset(&e);
	event_put(&e, STR("a"), str_make(value, 60000), VALUE_STRING);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 1);
	free(value);
	event_release(&e);
	matcher_free(m);
	ruleset_free(set);
	diags_release(&d);
	free(text);
}
