/* The log-source table's file: that a mistake in it is told with its place, and that its conditions, names and templates mean
 * what they say, whatever the index over them does. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "logsource_rig.h"

#define PATH_SIZE 32

/* Into a fresh file, whose name goes to `path`. */
static const char *write_file(const char *text, char path[static PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "/tmp/test_logsource.XXXXXX");
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	return path;
}

static void expect_error(const char *text, const char *want)
{
	struct logsources *l = NULL;
	struct diags d;
	char line[512] = "", path[PATH_SIZE];

	write_file(text, path);
	diags_init(&d);
	cr_expect_lt(logsources_load(path, &d, &l), 0, "accepted: %s", text);
	cr_expect_null(l);
	cr_expect_eq(d.errors, d.count);
	if (d.count)
		diag_format(&d.items[0], line, sizeof(line));
	cr_expect(str_search(str_of(line), str_of(want)) >= 0, "'%s' does not say '%s'", line,
	          want);
	diags_release(&d);
	unlink(path);
}

Test(logsource_file, mistakes_are_told_with_their_place)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"source: []\n", ":1:1: error: unknown key 'source', did you mean 'sources'?"},
		{"[]\n", "the file must be a map"},
		{"", "one YAML document"},
		{"strip: [a.]\n---\nstrip: [a.]\n", "one YAML document"},
		{"strip:\n  - nodot\n", ":2:5: error: a prefix ends in a dot"},
		{"strip: [a.?b.]\n", "'?' stands for one whole element"},
		{"strip: {a: b}\n", "must be text or a list"},
		{"rename: [x]\n", "'rename' must be a map"},
		{"rename: {x: [a, b]}\n", "a field is renamed to one name"},
		{"fields: {x: x}\n", "a second name must be a name, and another one"},
		{"fields: {x: {y: z}}\n", "must be text or a list"},
		{"fields: {x: [[y]]}\n", "must be text, not a list"},
		{"derive: [{from: x}]\n", "needs 'field'"},
		{"derive: [{field: x}]\n", "needs 'from' or 'value'"},
		{"derive: [{field: x, from: a, value: b}]\n", "needs 'from' or 'value'"},
		{"derive: [{field: x, fron: a}]\n", "unknown key 'fron', did you mean 'from'?"},
		{"derive: [{field: x, from: '{a'}]\n", "'{' without '}'"},
		{"derive: [{field: x, from: '{}'}]\n", "name is missing"},
		{"derive: [{field: x, from: '{a:first}'}]\n", "unknown ':first'"},
		{"derive: [{field: x, from: '{a:list}'}]\n", "ends in a number"},
		{"derive: [{field: x, from: a, only: number}]\n", "'only' knows no other"},
		{"derive: [{field: x, from: a, displace: x}]\n", "'displace' takes another"},
		{"derive: [{field: x, from: []}]\n", "must be text or a list"},
		{"sources: [{when: {a: b}}]\n", "needs a product, a category or a service"},
		{"sources: [{product: p}]\n", "needs 'when'"},
		{"sources: [{product: p, when: []}]\n", "not an empty one"},
		{"sources: [{product: p, when: text}]\n", "not text"},
		{"sources: [{product: {a: b}, when: {a: b}}]\n", "must be text or a list"},
		{"sources:\n- product: p\n  when: {a|startwith: b}\n",
	         ":3:10: error: unknown test 'startwith', did you mean 'startswith'?"},
		{"sources: [{product: p, when: {a|exists: maybe}}]\n", "true or false"},
		{"sources: [{product: p, when: {a|contains: ''}}]\n", "part of every value"},
		{"sources: [{product: p, when: {isod.source|exists: true}}]\n",
	         "every event has a source"},
		{"sources: [{product: p, when: {any: {a: b}}}]\n", "'any' takes a list"},
		{"sources: [{product: p, when: {a: {b: c}}}]\n", "must be text or a list"},
		{"sources: [{product: p, when: {not: {not: {not: {not: {not: {not: {not: {not: "
	         "{a: b}}}}}}}}}}]\n",
	         "nested deeper"},
		{"sources: [{product: p, wheen: {a: b}}]\n", "did you mean 'when'?"},
		{"sources: [\n", "error"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_error(cases[i].text, cases[i].want);
}

Test(logsource_file, a_missing_file_is_an_error)
{
	struct logsources *l = NULL;
	struct diags d;

	diags_init(&d);
	cr_expect_eq(logsources_load("/nonexistent/logsources.yaml", &d, &l), -ENOENT);
	cr_expect_eq(d.errors, 1);
	diags_release(&d);
}

Test(logsource_file, too_many_names_and_sources_are_told)
{
	struct buf b;

	buf_init(&b, 0);
	buf_printf(&b, "fields:\n");
	for (int i = 0; i < 2100; i++)
		buf_printf(&b, "  name%d: other\n", i);
	expect_error(buf_cstr(&b), "more than 2048 field names");
	buf_reset(&b);
	buf_printf(&b, "sources:\n");
	for (int i = 0; i < LOGSOURCES_MAX + 1; i++)
		buf_printf(&b, "  - {product: p%d, when: {a: b}}\n", i);
	expect_error(buf_cstr(&b), "more than 1024 log sources");
	buf_release(&b);
}

/* --- the index against plain evaluation --- */

/* A table with every kind of condition; each line of `expect` is an event and the products that must hold. */
Test(logsource_file, conditions_mean_what_they_say)
{
	static const char text[] =
		"sources:\n"
		"  - {product: eq, when: {a: [One, two]}}\n"
		"  - {product: both, when: {a: one, b: x}}\n"
		"  - {product: start, when: {a|startswith: on}}\n"
		"  - {product: end, when: {a|endswith: [ne, WO]}}\n"
		"  - {product: part, when: {a|contains: hre}}\n"
		"  - {product: rare, when: {a|contains: ['ab%Cd', 'x-', ' -y']}}\n"
		"  - {product: there, when: {b|exists: true}}\n"
		"  - {product: gone, when: {b|exists: false}}\n"
		"  - {product: no, when: {not: {a: one}}}\n"
		"  - {product: either, when: [{a: two}, {b: y, c: z}]}\n"
		"  - {product: mixed, when: {c: z, any: [{a: one}, {not: {b: x}}]}}\n"
		"  - {product: never, when: {a: one, not: {a: one}}}\n";
	static const struct {
		const char *fields[8];
		const char *holds;
	} cases[] = {
		{{"a", "ONE"}, " eq start end gone "},
		{{"a", "one", "b", "x"}, " eq both start end there "},
		{{"a", "two"}, " eq end gone no either "},
		{{"a", "three"}, " part gone no "},
		{{"b", "y", "c", "z"}, " there no either mixed "},
		{{"a", "one", "c", "z"}, " eq start end gone mixed "},
		{{"b", "x", "c", "z"}, " there no "},
		{{"q", "q"}, " gone no "},
		/* repeated: any value counts; for `not` none may */
		{{"a", "zzz", "a", "two"}, " eq end gone no either "},
		{{"a", "zzz", "a", "one"}, " eq start end gone "},
		{{"a", "o"}, " gone no "},
		{{"a", "tHReHre"}, " part gone no "},
		{{"a", "hr hRe"}, " part gone no "},
		{{"a", "%ab%aB%cD"}, " rare gone no "},
		{{"a", "ab%c"}, " gone no "},
		{{"a", "-x-"}, " rare gone no "},
		{{"a", "- -Y"}, " rare gone no "},
	};
	static const char *const products[] = {"eq",   "both",   "start", "end",
	                                       "part", "rare",   "there", "gone",
	                                       "no",   "either", "mixed", "never"};
	char path[PATH_SIZE];
	struct diags d;

	write_file(text, path);
	diags_init(&d);
	cr_assert_eq(logsources_load(path, &d, &table), 0);
	unlink(path);
	event_setup(&event);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct logsource_set set = classify(cases[i].fields);
		cr_expect(set.any);
		for (size_t j = 0; j < ARRAY_LEN(products); j++) {
			char word[32];
			snprintf(word, sizeof(word), " %s ", products[j]);
			cr_expect_eq(is(&set, products[j], NULL, NULL),
			             strstr(cases[i].holds, word) != NULL, "event %zu (%s=%s): %s",
			             i, cases[i].fields[0], cases[i].fields[1], products[j]);
		}
	}
	diags_release(&d);
	release();
}

Test(logsource_file, names_and_templates)
{
	static const char text[] =
		"strip: [a.?.b., p.]\n"
		"rename: {old: new}\n"
		"fields: {new: [alias, twin], loop1: loop2, loop2: loop1}\n"
		"derive:\n"
		"  - {field: full, from: ['{dom}\\{name}', name], skip: ['*\\nobody', 'no*']}\n"
		"  - {field: first, from: '{cmd:word}'}\n"
		"  - {field: every, from: '<{tag:all}>'}\n"
		"  - {field: line, from: '{arg0:list}'}\n"
		"  - {field: fixed, when: {full|exists: true}, value: 'yes'}\n"
		"  - {field: peer, from: [ip, other], only: address}\n";
	char path[PATH_SIZE];
	struct diags d;

	write_file(text, path);
	diags_init(&d);
	cr_assert_eq(logsources_load(path, &d, &table), 0);
	unlink(path);
	event_setup(&event);
	CLASSIFY("a.anything.b.old", "1", "dom", "D", "name", "n", "cmd", "ls -l", "tag", "x",
	         "tag", "y", "arg0", "a", "arg1", "b c", "arg3", "lost", "ip", "127.0.0.1", "other",
	         "2001:DB8::0:1", "loop1", "l");
	expect_value("new", "1");
	expect_value("alias", "1");
	expect_value("twin", "1");
	expect_value("full", "D\\n");
	expect_value("first", "ls");
	expect_value("every", "<x y>");
	expect_value("line", "a b c");
	expect_value("fixed", "yes");
	expect_value("peer", "2001:db8::1");
	expect_value("loop2", "l");
	cr_expect(event_find(&event, STR("full"))->derived);
	cr_expect_not(event_find(&event, STR("new"))->derived);
	CLASSIFY("dom", "D", "name", "nobody", "alias", "kept", "p.new", "2", "a..b.x", "3");
	expect_value("full", NULL);
	expect_value("fixed", NULL);
	expect_value("alias", "kept");
	expect_value("a..b.x", "3");
	CLASSIFY("dom", "-", "name", "n", "ip", "nonsense", "other", "0.0.0.0");
	expect_value("full", "n");
	expect_value("peer", NULL);
	diags_release(&d);
	release();
}
