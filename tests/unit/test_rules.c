/* Loading rule files: what is taken over from a document, what is refused and where, that one bad rule harms no other,
 * filters, and the whole of SigmaHQ where it is at hand. */
#include "sigma.h"

#include <errno.h>
#include <sys/stat.h>

#define UUID "10000000-0000-4000-8000-000000000000"
#define BODY "logsource:\n  product: linux\ndetection:\n  s:\n    a: x\n  condition: s\n"

static const struct ruleset_options none;

Test(rules, everything_is_taken_over)
{
	struct diags d;

	diags_init(&d);
	struct ruleset *set =
		load_text("title: Some Title\nid: " UUID "\nname: some_name\n"
	                  "status: test\nlevel: HIGH\ntags:\n  - attack.T1110\n"
	                  "  - attack.credential-access\nfields: [user, src_ip]\n"
	                  "custom: {anything: [goes]}\nfalsepositives: [none]\n"
	                  "logsource: {product: linux, service: sshd, definition: d}\n"
	                  "detection:\n  s:\n    a: x\n  condition: s\n",
	                  &d, &none);
	cr_assert_eq(d.count, 0);
	cr_assert_eq(set->count, 1);
	cr_assert_eq(set->files, 1);
	const struct rule *r = &set->rules[0];
	cr_expect(str_eq(r->id, STR(UUID)));
	cr_expect(str_eq(r->name, STR("some_name")));
	cr_expect(str_eq(r->title, STR("Some Title")));
	cr_expect_eq(r->level, ISOD__V1__LEVEL__LEVEL_HIGH);
	cr_assert_eq(r->tag_count, 2);
	cr_expect(str_eq(r->tags[0], STR("attack.t1110")));
	cr_assert_eq(r->field_count, 2);
	cr_expect(str_eq(r->fields[1], STR("src_ip")));
	cr_expect(str_eq(r->product, STR("linux")));
	cr_expect_null(r->category.p);
	cr_expect(str_eq(r->service, STR("sshd")));
	cr_expect_eq(r->line, 1);
	cr_expect_not(r->silent);
	cr_expect_eq(ruleset_find(set, STR(UUID)), r);
	cr_expect_null(ruleset_find(set, STR("else")));
	ruleset_free(set);
	diags_release(&d);
}

Test(rules, what_is_left_out_has_a_default)
{
	struct diags d;

	diags_init(&d);
	struct ruleset *set = load_text("title: Only A Title\n" BODY, &d, &none);
	cr_assert_eq(set->count, 1);
	cr_expect(str_eq(set->rules[0].id, STR("Only A Title")));
	cr_expect_eq(set->rules[0].level, ISOD__V1__LEVEL__LEVEL_MEDIUM);
	cr_expect_null(set->rules[0].name.p);
	ruleset_free(set);
	diags_release(&d);
}

Test(rules, errors_have_their_place)
{
	static const struct error_case cases[] = {
		{"titel: t\n" BODY, 1, 1, "is `titel` meant to be it"},
		{"title: [a]\n" BODY, 1, 8, "`title` must be text, not a list"},
		{"title: ''\n" BODY, 1, 8, "not empty"},
		{"title: t\nid: [x]\n" BODY, 2, 5, "`id` must be text"},
		{"title: t\nlevel: hihg\n" BODY, 2, 8, "did you mean `high`"},
		{"title: t\nlevel: 7\n" BODY, 2, 8, "informational, low, medium, high or critical"},
		{"title: t\nstatus: stabel\n" BODY, 2, 9, "did you mean `stable`"},
		{"title: t\ntags: [{a: b}]\n" BODY, 2, 8, "a tag must be text"},
		{"title: t\nfields: [[a]]\n" BODY, 2, 10, "must be text"},
		{"title: t\ndetection: {s: {a: x}, condition: s}\n", 1, 1, "needs `logsource`"},
		{"title: t\nlogsorce: {product: p}\ndetection: {s: {a: x}, condition: s}\n", 2, 1,
	         "is `logsorce` meant"},
		{"title: t\nlogsource: x\ndetection: {s: {a: x}, condition: s}\n", 2, 12,
	         "must be a map"},
		{"title: t\nlogsource: {definition: x}\ndetection: {s: {a: x}, condition: s}\n", 2,
	         12, "names no product"},
		{"title: t\nlogsource: {product: [a]}\ndetection: {s: {a: x}, condition: s}\n", 2,
	         22, "must be text, not a list"},
		{"title: t\nlogsource: {product: p}\n", 1, 1, "no `detection`"},
		{"title: t\nlogsource: {product: p}\ndetections: {s: {a: x}, condition: s}\n", 3, 1,
	         "did you mean `detection`"},
		{"title: t\nlogsource: {product: p}\ndetection: [x]\n", 3, 12, "must be a map"},
		{"title: t\nlogsource: {product: p}\ndetection: {s: {}, condition: s}\n", 3, 16,
	         "is empty"},
		{"title: t\nlogsource: {product: p}\ndetection: {s: , condition: s}\n", 3, 13,
	         "is empty"},
		{"action: global\ntitle: t\n", 1, 9, "rule collections"},
		{"action: global\ntitle: t\nlogsource: {product: p}\ndetection: {condition: s}\n",
	         1, 9, "rule collections"},
		{"title: t\nlogsource: {product: p}\ndetection: {s: &s {a: x}, t: {<<: *s, b: y}, "
	         "condition: t}\n",
	         3, 31, "no merge key"},
		{"- a\n- b\n", 1, 1, "must be a map, not a list"},
		{"title: t\ndetection: {s: {a: x}, condition: s}\ncorrelation: {type: temporal}\n",
	         3, 14, "separate them"},
		{"title: t\n\tbad: yaml\n", 2, 1, ""},
	};

	check_errors(cases, ARRAY_LEN(cases), false);
}

Test(rules, warnings_do_not_refuse)
{
	static const struct {
		const char *text, *part;
		int line;
	} cases[] = {
		{"title: t\nid: my-rule\n" BODY, "no UUID", 2},
		{"title: t\ntags: [attack]\n" BODY, "NAMESPACE.NAME", 2},
		{"title: t\nlogsource: {product: Linux}\ndetection: {s: {a: x}, condition: s}\n",
	         "lower case", 2},
		{"title: t\nlogsource: {product: l}\ndetection: {s: {a: x}, f: {b: y}, condition: "
	         "s}\n",
	         "no condition uses the selection `f`", 3},
		{"title: t\nlogsource: {product: l}\ndetection: {s: {a: x}, timeframe: 5m, "
	         "condition: s}\n",
	         "`timeframe`", 3},
		{"title: t\nlogsource: {product: l}\ndetection: {s: {'a|contains|all': x}, "
	         "condition: s}\n",
	         "`all` says nothing", 3},
		{"title: t\nlogsource: {product: l}\ndetection: {s: {'a|cidr': 10.1.2.3/8}, "
	         "condition: s}\n",
	         "behind its prefix", 3},
		{"title: " /* 257 characters */
	         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" BODY,
	         "longer than 256", 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct diags d;
		diags_init(&d);
		struct ruleset *set = load_text(cases[i].text, &d, &none);
		cr_expect_eq(d.errors, 0, "%s", cases[i].text);
		cr_expect_eq(set->count, 1);
		cr_assert_eq(d.warnings, 1, "%s", cases[i].text);
		cr_expect_eq(d.items[0].line, cases[i].line, "%s", cases[i].text);
		cr_expect(strstr(d.items[0].text, cases[i].part), "%s", d.items[0].text);
		ruleset_free(set);
		diags_release(&d);
	}
}

Test(rules, double_ids_and_names_tell_both_places)
{
	struct diags d;

	diags_init(&d);
	struct ruleset *set =
		load_text("title: a\nid: 1000000a-0000-4000-8000-000000000000\n" BODY
	                  "---\ntitle: b\nid: 1000000A-0000-4000-8000-000000000000\n" BODY
	                  "---\ntitle: c\nname: n\n" BODY "---\ntitle: d\nname: n\n" BODY
	                  "---\ntitle: e\n" BODY "---\ntitle: e\n" BODY,
	                  &d, &none);
	cr_expect_eq(set->count, 3);
	cr_assert_eq(d.errors, 3);
	size_t told = 0;
	for (size_t i = 0; i < d.count; i++) {
		const struct diag *g = &d.items[i];
		told += g->line == 11 && strstr(g->text, "is used already") &&
		        strstr(g->text, "x.yml:1");
		told += g->line == 29 && strstr(g->text, "name `n`") && strstr(g->text, "x.yml:19");
		told += g->line == 45 && strstr(g->text, "title `e`") &&
		        strstr(g->text, "x.yml:37");
	}
	cr_expect_eq(told, 3);
	if (told != 3)
		log_diags(&d);
	ruleset_free(set);
	diags_release(&d);
}

Test(rules, a_bad_rule_harms_no_other)
{
	struct diags d;

	diags_init(&d);
	struct ruleset *set =
		load_text("title: a\n" BODY "---\ntitle: b\nlogsource: {product: p}\n"
	                  "detection:\n  s: {'a|nope': x, 'b|re': '('}\n  t: {'c|cidr': x}\n"
	                  "  condition: s and u\n---\ntitle: c\n" BODY,
	                  &d, &none);
	cr_expect_eq(set->count, 2);
	cr_expect_eq(d.errors, 4, "one run tells all");
	ruleset_free(set);
	diags_release(&d);
}

Test(rules, folders_and_files)
{
	struct diags d;
	struct ruleset *set = NULL;
	char dir[] = "/tmp/isod-sigma-XXXXXX";

	diags_init(&d);
	cr_assert(mkdtemp(dir));
	static const struct {
		const char *name, *text;
	} files[] = {
		{"b.yml", "title: b\n" BODY},
		{"a.yaml", "title: a\n" BODY},
		{"c.txt", "no rule"},
		{"d.yml", ""},
		{"sub/e.yml", "title: e\n" BODY},
	};
	char *sub = xasprintf("%s/sub", dir);
	cr_assert_eq(mkdir(sub, 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char *path = xasprintf("%s/%s", dir, files[i].name);
		cr_assert_eq(path_write_atomic(path, str_of(files[i].text), 0600), 0);
		free(path);
	}
	const char *paths[] = {dir};
	cr_assert_eq(ruleset_load(paths, 1, NULL, &d, &set), 0);
	cr_expect_eq(set->files, 4);
	cr_assert_eq(set->count, 3);
	cr_expect(str_eq(set->rules[0].title, STR("a")));
	cr_expect(str_eq(set->rules[2].title, STR("e")));
	cr_expect_eq(d.errors, 0);
	cr_expect_eq(d.warnings, 1, "the empty file");
	ruleset_free(set);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char *path = xasprintf("%s/%s", dir, files[i].name);
		unlink(path);
		free(path);
	}
	rmdir(sub);
	rmdir(dir);
	free(sub);
	diags_release(&d);
}

Test(rules, a_path_that_is_not_there)
{
	struct diags d;
	struct ruleset *set = NULL;
	const char *paths[] = {"/nonexistent/rules"};

	diags_init(&d);
	cr_expect_eq(ruleset_load(paths, 1, NULL, &d, &set), -ENOENT);
	cr_expect_null(set);
	cr_expect_eq(d.errors, 1);
	diags_release(&d);
}

Test(rules, a_file_of_ten_megabytes_is_refused)
{
	struct diags d;
	struct buf text;

	diags_init(&d);
	buf_init(&text, 0);
	buf_printf(&text, "title: t\nlogsource: {product: p}\ndetection:\n  s:\n    a:\n");
	while (text.n < (10u << 20))
		buf_printf(&text, "      - value%zu\n", text.n);
	buf_printf(&text, "  condition: s\n");
	struct ruleset *set = load_text(buf_cstr(&text), &d, &none);
	cr_expect_eq(set->count, 0);
	cr_expect_eq(d.errors, 1);
	ruleset_free(set);
	diags_release(&d);
	buf_release(&text);
}

Test(rules, aliases_are_resolved_and_bounded)
{
	struct diags d;
	struct buf text;

	diags_init(&d);
	struct ruleset *set =
		load_text("title: t\nlogsource: {product: p}\ndetection:\n  s: {a: &v [x, y]}\n"
	                  "  t: {b: *v}\n  condition: s and t\n",
	                  &d, &none);
	cr_expect_eq(set->count, 1);
	cr_expect_eq(d.count, 0);
	ruleset_free(set);
	buf_init(&text, 0);
	buf_printf(&text, "title: t\nlogsource: {product: p}\nx0: &x0 [lol]\n");
	for (int i = 1; i < 12; i++) {
		buf_printf(&text, "x%d: &x%d [", i, i);
		for (int j = 0; j < 10; j++)
			buf_printf(&text, "%s*x%d", j ? "," : "", i - 1);
		buf_printf(&text, "]\n");
	}
	buf_printf(&text, "detection:\n  s: {a: *x11}\n  condition: s\n");
	set = load_text(buf_cstr(&text), &d, &none);
	cr_expect_eq(set->count, 0);
	cr_expect_geq(d.errors, 1);
	ruleset_free(set);
	diags_release(&d);
	buf_release(&text);
}

/* `head`, `count` times `format` with the number, `tail`: refused, with `part` in the first error. */
static void refused_in_bulk(const char *head, size_t count, const char *before, const char *after,
                            const char *tail, const char *part)
{
	struct diags d;
	struct buf text;

	diags_init(&d);
	buf_init(&text, 0);
	buf_printf(&text, "%s", head);
	for (size_t i = 0; i < count; i++)
		buf_printf(&text, "%s%zu%s", before, i, after);
	buf_printf(&text, "%s", tail);
	struct ruleset *set = load_text(buf_cstr(&text), &d, &none);
	cr_expect_eq(set->count + set->correlation_count, 0);
	cr_assert_geq(d.errors, 1, "%s", part);
	bool found = false;
	for (size_t i = 0; i < d.count; i++)
		found |= strstr(d.items[i].text, part) != NULL;
	cr_expect(found, "%s", part);
	ruleset_free(set);
	diags_release(&d);
	buf_release(&text);
}

#define RULE_HEAD "title: t\nlogsource: {product: p}\ndetection:\n"
#define CORRELATION_HEAD                                                                           \
	"title: t\ncorrelation:\n  type: event_count\n  timespan: 1m\n  condition: {gte: 2}\n"

Test(rules, everything_a_file_can_make_large_is_limited)
{
	refused_in_bulk(RULE_HEAD, 1001, "  s", ": {a: x}\n", "  condition: s0\n",
	                "more than 1000 selections");
	refused_in_bulk(RULE_HEAD "  s: {a: x}\n  condition:\n", 1001, "    - s or s # ", "\n", "",
	                "more than 1000 conditions");
	refused_in_bulk(RULE_HEAD "  s: {a: ", 20000, "long", "", "}\n  condition: s\n",
	                "a value of more than 65536 bytes");
	refused_in_bulk(RULE_HEAD "  s:\n    a:\n", 200001, "      - v", "\n", "  condition: s\n",
	                "more than 200000 values");
	refused_in_bulk(RULE_HEAD "  s:\n    a|re:\n", 20001, "      - v", "\n", "  condition: s\n",
	                "more than 20000 regular expressions");
	refused_in_bulk(RULE_HEAD "  s: {a: x}\n  condition: s", 10000, " or s", "", " and s\n",
	                "longer than 65536 bytes");
	refused_in_bulk(RULE_HEAD "  s: {a|windash|base64: '------'}\n  condition: s", 0, "", "",
	                "\n", "too many dashes");
	refused_in_bulk(CORRELATION_HEAD "  rules:\n", 1001, "    - r", "\n", "",
	                "more than 1000 rules");
	refused_in_bulk(CORRELATION_HEAD "  rules: x\n  group-by:\n", 65, "    - f", "\n", "",
	                "more than 64 fields");
	refused_in_bulk(CORRELATION_HEAD "  rules: x\n  group-by: [g]\n  aliases:\n    g:\n", 1001,
	                "      r", ": f\n", "", "more than 1000 aliases");
}

Test(rules, placeholders_that_multiply_are_limited)
{
	char dir[] = "/tmp/isod-sigma-XXXXXX";
	struct buf table;
	struct diags d;
	struct ruleset_options o = {0};
	struct placeholders *p;

	cr_assert(mkdtemp(dir));
	char *path = xasprintf("%s/p.yaml", dir);
	buf_init(&table, 0);
	buf_printf(&table, "a:\n");
	for (int i = 0; i < 100; i++)
		buf_printf(&table, "  - value%d\n", i);
	cr_assert_eq(path_write_atomic(path, buf_str(&table), 0600), 0);
	diags_init(&d);
	cr_assert_eq(placeholders_load(path, &d, &p), 0);
	o.placeholders = p;
	struct ruleset *set =
		load_text(RULE_HEAD "  s: {a|expand: '%a%%a%%a%%a%'}\n  condition: s\n", &d, &o);
	cr_expect_eq(set->count, 0);
	cr_assert_eq(d.errors, 1);
	cr_expect(strstr(d.items[0].text, "too many combinations"));
	ruleset_free(set);
	set = load_text(RULE_HEAD "  s: {a|expand: '%a%%a%'}\n  condition: s\n", &d, &o);
	cr_expect_eq(set->count, 1);
	ruleset_free(set);
	unlink(path);
	rmdir(dir);
	free(path);
	buf_release(&table);
	placeholders_free(p);
	diags_release(&d);
}

/* ---- filters ---- */

#define RULE_A "title: a\nid: a0000000-0000-4000-8000-000000000000\nname: rule_a\n" BODY
#define RULE_B "title: b\nid: b0000000-0000-4000-8000-000000000000\n" BODY
#define FILTER(rules, product)                                                                     \
	"---\ntitle: f\nlogsource: {product: " product "}\nfilter:\n  rules: " rules               \
	"\n  adm: {user|startswith: adm_}\n  condition: not adm\n"

static size_t hits_on(const char *rules, const char *user, struct diags *d)
{
	struct event e;
	const struct rule *const *hits;

	struct ruleset *set = load_text(rules, d, &none);
	struct matcher *m = matcher_new(set);
	event_setup(&e);
	event_reset(&e);
	event_put(&e, STR("a"), STR("x"), VALUE_STRING);
	event_put(&e, STR("user"), str_of(user), VALUE_STRING);
	size_t n = matcher_run(m, &e, NULL, &hits);
	event_release(&e);
	matcher_free(m);
	ruleset_free(set);
	return n;
}

Test(rules, filters_are_joined_to_the_rules_they_name)
{
	static const struct {
		const char *text;
		size_t hits, filtered; /* for an ordinary user, for adm_x */
	} cases[] = {
		{RULE_A "---\n" RULE_B FILTER("[rule_a]", "linux"), 2, 1},
		{RULE_A "---\n" RULE_B FILTER("[a0000000-0000-4000-8000-000000000000]", "linux"), 2,
	         1},
		{RULE_A "---\n" RULE_B FILTER("any", "linux"), 2, 0},
		{RULE_A "---\n" RULE_B FILTER("any", "windows"), 2, 2},
	};
	struct diags d;

	diags_init(&d);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cr_expect_eq(hits_on(cases[i].text, "joe", &d), cases[i].hits, "%s", cases[i].text);
		cr_expect_eq(hits_on(cases[i].text, "adm_x", &d), cases[i].filtered, "%s",
		             cases[i].text);
	}
	cr_expect_eq(d.count, 0);
	hits_on(RULE_A FILTER("[gone]", "linux"), "joe", &d);
	cr_expect_eq(d.warnings, 1, "a filter for a rule that is not there");
	cr_expect_eq(d.errors, 0);
	diags_release(&d);
}

/* ---- the real thing ---- */

Test(rules, every_rule_of_sigmahq_loads)
{
	const char *shared = getenv("ISOD_SHARED");
	char *dir = xasprintf("%s/corpus/sigma", shared ? shared : "../shared");
	struct diags d;
	struct ruleset *set = NULL;

	if (access(dir, R_OK) != 0) {
		free(dir);
		cr_skip_test("../shared is not here");
	}
	diags_init(&d);
	const char *paths[] = {dir};
	cr_assert_eq(ruleset_load(paths, 1, NULL, &d, &set), 0);
	if (d.errors)
		log_diags(&d);
	cr_expect_eq(d.errors, 0);
	cr_expect_eq(set->count, set->files);
	cr_expect_geq(set->count, 3754);
	ruleset_free(set);
	diags_release(&d);
	free(dir);
}
