/* YAML as trees: what rules and configurations are written in, the place of every node, and files that are wrong or
 * made to hurt. The SigmaHQ rules are read when they are there (ISOD_SHARED, default ../shared). */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/yaml.h"

static struct arena arena;
static struct diags diags;
static struct yaml_node **docs;
static size_t count;

static void setup(void)
{
	arena_init(&arena, 0);
	diags_init(&diags);
	docs = NULL;
	count = 77;
}

static void teardown(void)
{
	arena_release(&arena);
	diags_release(&diags);
}

TestSuite(yaml, .init = setup, .fini = teardown);

/* The parser gets a copy that is exactly as long, so that reading past it is seen. */
static int parse(struct str text)
{
	char *copy = xmalloc(text.n);
	if (text.n)
		memcpy(copy, text.p, text.n);
	int r = yaml_parse(&arena, "f.yml", str_make(copy, text.n), &diags, &docs, &count);
	free(copy);
	return r;
}

static const struct yaml_node *one(const char *text)
{
	cr_assert_eq(parse(str_of(text)), 0, "%s: %s", text,
	             diags.count ? diags.items[0].text : "");
	cr_assert_eq(count, 1);
	cr_assert_eq(diags.count, 0);
	return docs[0];
}

static void expect_error(struct str text, int line, int column, const char *words)
{
	diags_release(&diags);
	docs = NULL;
	cr_assert_eq(parse(text), -EINVAL, "accepted: %.*s", STR_FMT(text));
	cr_assert_null(docs, "untouched on failure");
	cr_assert_geq(diags.errors, 1);
	const struct diag *d = &diags.items[0];
	cr_assert(d->line == line && d->column == column && strstr(d->text, words),
	          "%.*s\ntold f.yml:%d:%d: %s\nexpected %d:%d: %s", STR_FMT(str_head(text, 300)),
	          d->line, d->column, d->text, line, column, words);
}

static void expect_scalar(const struct yaml_node *n, const char *text, bool quoted)
{
	cr_assert_not_null(n);
	cr_assert_eq(n->kind, YAML_SCALAR);
	cr_assert_str_eq(n->text.p, text);
	cr_assert_eq(n->text.n, strlen(text));
	cr_assert_eq(n->quoted, quoted, "%s", text);
}

static void expect_at(const struct yaml_node *n, int line, int column)
{
	cr_assert(n->line == line && n->column == column, "%d:%d, not %d:%d", n->line, n->column,
	          line, column);
}

Test(yaml, maps_lists_and_scalars_with_their_places)
{
	const struct yaml_node *root = one("title: A rule\n"
	                                   "list:\n"
	                                   "    - 'one'\n"
	                                   "    - \"two\"\n"
	                                   "    -   three\n"
	                                   "map: {a: [1, '2'], b: {}}\n"
	                                   "flat:\n"
	                                   "- x\n");

	cr_assert_eq(root->kind, YAML_MAP);
	cr_assert_eq(root->count, 4);
	expect_scalar(yaml_get(root, "title"), "A rule", false);
	expect_at(yaml_get(root, "title"), 1, 8);
	const struct yaml_node *list = yaml_get(root, "list");
	cr_assert_eq(list->kind, YAML_LIST);
	cr_assert_eq(list->count, 3);
	expect_scalar(list->items[0], "one", true);
	expect_at(list->items[0], 3, 7);
	expect_scalar(list->items[1], "two", true);
	expect_at(list->items[1], 4, 7);
	expect_scalar(list->items[2], "three", false);
	expect_at(list->items[2], 5, 9);
	cr_assert(str_eq(root->pairs[2].key, STR("map")));
	cr_assert_eq(root->pairs[2].line, 6);
	cr_assert_eq(root->pairs[2].column, 1);
	const struct yaml_node *a = yaml_get(yaml_get(root, "map"), "a");
	expect_scalar(a->items[0], "1", false);
	expect_at(a->items[0], 6, 11);
	expect_at(a->items[1], 6, 14);
	cr_assert_eq(yaml_get(yaml_get(root, "map"), "b")->count, 0);
	cr_assert_eq(yaml_get(root, "flat")->count, 1);
	cr_assert_null(yaml_get(root, "titl"));
	cr_assert_null(yaml_get(list, "x"));
	cr_assert_null(yaml_get(NULL, "x"));
	cr_assert_str_eq(yaml_text(root, "title"), "A rule");
	cr_assert_null(yaml_text(root, "list"));
	cr_assert_null(yaml_text(root, "none"));
}

Test(yaml, what_sigma_rules_are_written_with)
{
	const struct yaml_node *root = one("a: \\\\*\\foo?*.exe\n"
	                                   "b: C:\\Windows\\System32\n"
	                                   "c: '*odd'\n"
	                                   "d: -enc\n"
	                                   "e: foo#bar # comment\n"
	                                   "f: ' /c \"x\" it''s '\n"
	                                   "g|contains|all: [x]\n"
	                                   "h: \"tab\\t\\x41\\u20ac\"\n"
	                                   "'i j': ?x\n"
	                                   "k: <html>|!%&=\n");

	expect_scalar(yaml_get(root, "a"), "\\\\*\\foo?*.exe", false);
	expect_scalar(yaml_get(root, "b"), "C:\\Windows\\System32", false);
	expect_scalar(yaml_get(root, "c"), "*odd", true);
	expect_scalar(yaml_get(root, "d"), "-enc", false);
	expect_scalar(yaml_get(root, "e"), "foo#bar", false);
	expect_scalar(yaml_get(root, "f"), " /c \"x\" it's ", true);
	cr_assert_eq(yaml_get(root, "g|contains|all")->kind, YAML_LIST);
	expect_scalar(yaml_get(root, "h"), "tab\tA\xe2\x82\xac", true);
	expect_scalar(yaml_get(root, "i j"), "?x", false);
	expect_scalar(yaml_get(root, "k"), "<html>|!%&=", false);
}

Test(yaml, block_scalars_are_text)
{
	const struct yaml_node *root = one("a: |\n"
	                                   "    line 1\n"
	                                   "      line 2\n"
	                                   "\n"
	                                   "b: >-\n"
	                                   "    folded\n"
	                                   "    text\n"
	                                   "c: |+\n"
	                                   "    null\n"
	                                   "\n"
	                                   "d: plain\n"
	                                   "   on two lines\n"
	                                   "e: |-\n"
	                                   "    ~\n");

	expect_scalar(yaml_get(root, "a"), "line 1\n  line 2\n", true);
	expect_scalar(yaml_get(root, "b"), "folded text", true);
	expect_scalar(yaml_get(root, "c"), "null\n\n", true);
	expect_scalar(yaml_get(root, "d"), "plain on two lines", false);
	expect_scalar(yaml_get(root, "e"), "~", true);
}

Test(yaml, nothing_in_its_forms)
{
	const struct yaml_node *root = one("a:\nb: ~\nc: null\nd: NULL\ne: ''\nf: 'null'\n"
	                                   "g: [~, x]\nh: !!str\ni: nil\n");
	static const char *const nulls[] = {"a", "b", "c", "d"};

	for (size_t i = 0; i < ARRAY_LEN(nulls); i++) {
		const struct yaml_node *n = yaml_get(root, nulls[i]);
		cr_assert_eq(n->kind, YAML_NULL, "%s", nulls[i]);
		cr_assert_eq(n->line, (int)i + 1);
		cr_assert_null(yaml_text(root, nulls[i]));
	}
	expect_at(yaml_get(root, "a"), 1, 1);
	expect_at(yaml_get(root, "b"), 2, 4);
	expect_scalar(yaml_get(root, "e"), "", true);
	expect_scalar(yaml_get(root, "f"), "null", true);
	cr_assert_eq(yaml_get(root, "g")->items[0]->kind, YAML_NULL);
	expect_scalar(yaml_get(root, "h"), "", true);
	expect_scalar(yaml_get(root, "i"), "nil", false);
}

Test(yaml, documents)
{
	cr_assert_eq(parse(STR("a: 1\n---\nb: 2\n...\n---\n- c\n")), 0);
	cr_assert_eq(count, 3);
	expect_scalar(yaml_get(docs[0], "a"), "1", false);
	expect_scalar(yaml_get(docs[1], "b"), "2", false);
	expect_at(docs[1], 3, 1);
	cr_assert_eq(docs[2]->kind, YAML_LIST);
	cr_assert_eq(parse(STR("")), 0);
	cr_assert_eq(count, 0);
	cr_assert_eq(parse(STR_NONE), 0);
	cr_assert_eq(count, 0);
	cr_assert_eq(parse(STR("# only a comment\n\n")), 0);
	cr_assert_eq(count, 0);
	cr_assert_eq(parse(STR("\xef\xbb\xbf"
	                       "a: b\r\nc: d\r\n")),
	             0, "BOM and CRLF");
	cr_assert_eq(count, 1);
	expect_scalar(yaml_get(docs[0], "c"), "d", false);
	cr_assert_eq(parse(STR("just text")), 0);
	expect_scalar(docs[0], "just text", false);
}

Test(yaml, aliases_are_resolved)
{
	const struct yaml_node *root = one("a: &x [1, &y {k: v}]\n"
	                                   "b: *x\n"
	                                   "c: *y\n"
	                                   "d: &x new\n"
	                                   "e: *x\n"
	                                   "f: &n\n"
	                                   "g: *n\n"
	                                   "&k key: 1\n");

	cr_assert_eq(yaml_get(root, "b")->count, 2);
	expect_scalar(yaml_get(yaml_get(root, "b")->items[1], "k"), "v", false);
	expect_scalar(yaml_get(yaml_get(root, "c"), "k"), "v", false);
	expect_scalar(yaml_get(root, "e"), "new", false);
	cr_assert_eq(yaml_get(root, "g")->kind, YAML_NULL);
	expect_error(STR("a: *x\n"), 1, 4, "`*x` names no anchor above it");
	expect_error(STR("a: &x [1, *x]\n"), 1, 11, "stands inside of what it names");
	expect_error(STR("a: &x 1\n---\nb: *x\n"), 3, 4, "names no anchor");
}

Test(yaml, duplicate_keys_are_told_all)
{
	struct buf big;

	expect_error(STR("a: 1\nb: 2\n\"a\": 3\nb: 4\n"), 3, 1,
	             "key `a` stands here a second time "
	             "(first in line 1)");
	cr_assert_eq(diags.count, 2);
	cr_assert_eq(diags.items[1].line, 4);
	expect_error(STR("a:\n  b: {c: 1, c: 2}\n"), 2, 13, "key `c`");
	expect_error(STR("~: 1\n'': 2\n~: 3\n"), 3, 1, "a second time");
	buf_init(&big, 0);
	for (int i = 0; i < 1000; i++)
		buf_printf(&big, "k%d: 1\n", i % 999);
	expect_error(buf_str(&big), 1000, 1,
	             "key `k0` stands here a second time (first in line 1)");
	cr_assert_eq(diags.count, 1);
	buf_release(&big);
}

Test(yaml, syntax_errors_have_their_place)
{
	expect_error(STR("a: [1, 2\n"), 2, 1, "bracket");
	expect_error(STR("a: 'x\n"), 1, 5, "quote");
	expect_error(STR("a: b: c\n"), 1, 5, "nested");
	expect_error(STR("a: @x\n"), 1, 4, "'@'");
	expect_error(STR("a: `x\n"), 1, 4, "'`'");
	expect_error(STR("a: %x\n"), 1, 4, "'%'");
	expect_error(STR("a:\n  b: 1\n c: 2\n"), 3, 2, "indentation");
	expect_error(STR("- a\nb: c\n"), 2, 1, "");
	expect_error(STR("ok: 1\n---\nbad: {a\n"), 4, 1, "");
	expect_error(STR("? [a]\n: b\n"), 1, 3, "a key must be text, not a list");
	expect_error(STR("{a: b}: c\n"), 1, 1, "a key must be text, not a map");
	expect_error(STR("a: !secret x\n"), 1, 12, "tag `!secret` is not supported");
	expect_error(STR("a: !!binary aGk=\n"), 1, 13, "not supported");
	expect_error(STR("a: \"\\ud800\"\n"), 1, 5, "invalid");
	expect_error(STR("a: \"\\q\"\n"), 1, 5, "escape");
	expect_error(STR("e:\n- \n- f\n"), 3, 1, "write `- ~`");
}

Test(yaml, tabs_as_indentation_are_named)
{
	expect_error(STR("a:\n\t- b\n"), 2, 1, "tab");
	expect_error(STR("a: b\n\tc: d\n"), 2, 1, "a tab in the indentation");
	expect_error(STR("a: b\n  \tc: d\n"), 2, 3, "a tab in the indentation");
	expect_error(STR("a:\n  b: c\n\td: e\n"), 3, 2, "tab");
	diags_release(&diags);
	const struct yaml_node *root = one("a: |\n  x\n  \ty\nb:\t c\n");
	expect_scalar(yaml_get(root, "a"), "x\n\ty\n", true);
	expect_scalar(yaml_get(root, "b"), "c", false);
}

Test(yaml, bytes_that_are_no_text)
{
	expect_error(STR("a: b\nc: \xff\n"), 2, 4, "byte 0xff is no valid UTF-8");
	expect_error(STR("a: \xe2\x82\xac \xed\xa0\x80"), 1, 6, "byte 0xed");
	expect_error(STR("a: b\n\0c: d\n"), 2, 1, "a NUL byte");
	expect_error(STR("\xff\xfe"
	                 "a\0"),
	             1, 1, "byte 0xff");
	expect_error(STR("a\0:\0"), 1, 2, "a NUL byte");
	expect_error(STR("a: \xe2\x82"), 1, 4, "byte 0xe2");
}

Test(yaml, strings_may_hold_an_escaped_nul)
{
	const struct yaml_node *root = one("a: \"x\\0y\"\n");

	cr_assert(str_eq(yaml_get(root, "a")->text, STR("x\0y")));
}

Test(yaml, tags_that_say_what_is_known_pass)
{
	const struct yaml_node *root = one("a: !!str 12\nb: !!int 12\nc: !!map {x: !!bool true}\n"
	                                   "d: !!seq [!!float 1.5]\ne: ! yes\n");
	bool b;

	expect_scalar(yaml_get(root, "a"), "12", true);
	expect_scalar(yaml_get(root, "b"), "12", false);
	cr_assert_eq(yaml_bool(yaml_get(yaml_get(root, "c"), "x"), &b), 0);
	expect_scalar(yaml_get(root, "e"), "yes", true);
}

Test(yaml, truth)
{
	const struct yaml_node *root =
		one("[true, False, YES, no, on, OFF, 'true', 1, y, ~, [true]]");
	static const int want[] = {1, 0, 1, 0, 1, 0, -1, -1, -1, -1, -1};

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		bool b = i % 2;
		int r = yaml_bool(root->items[i], &b);
		cr_assert_eq(r, want[i] < 0 ? -EINVAL : 0, "%zu", i);
		cr_assert_eq(b, want[i] < 0 ? (int)(i % 2) : want[i], "%zu", i);
	}
	cr_assert_eq(yaml_bool(NULL, NULL), -EINVAL);
}

Test(yaml, names_of_kinds)
{
	const struct yaml_node *root = one("[a, [], {}, ~]");

	cr_assert_str_eq(yaml_kind_name(root->items[0]), "text");
	cr_assert_str_eq(yaml_kind_name(root->items[1]), "a list");
	cr_assert_str_eq(yaml_kind_name(root->items[2]), "a map");
	cr_assert_str_eq(yaml_kind_name(root->items[3]), "nothing");
	cr_assert_str_eq(yaml_kind_name(NULL), "nothing");
}

/* ---- files that are made to hurt ---- */

Test(yaml, an_alias_bomb_ends_early)
{
	struct buf b;

	buf_init(&b, 0);
	buf_add(&b, STR("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"));
	for (int i = 1; i < 40; i++) {
		buf_printf(&b, "a%d: &a%d [", i, i);
		for (int j = 0; j < 10; j++)
			buf_printf(&b, "%s*a%d", j ? ", " : "", i - 1);
		buf_add(&b, STR("]\n"));
	}
	expect_error(buf_str(&b), 6, 45, "more than 1000000 nodes when `*a4` is followed");
	cr_assert_lt(arena.held, (size_t)1 << 20);
	buf_release(&b);
}

Test(yaml, nesting_is_bounded_also_through_aliases)
{
	struct buf b;
	static const char *const openings[] = {"[", "- ", "{a: ", "? "};

	buf_init(&b, 0);
	for (size_t o = 0; o < ARRAY_LEN(openings); o++) {
		buf_reset(&b);
		for (int i = 0; i < 1000; i++)
			buf_add(&b, str_of(openings[o]));
		diags_release(&diags);
		cr_assert_eq(parse(buf_str(&b)), -EINVAL);
		cr_assert_not_null(strstr(diags.items[0].text, "nested deeper than 64"), "%s: %s",
		                   openings[o], diags.items[0].text);
	}
	buf_reset(&b);
	for (int i = 0; i < YAML_DEPTH_MAX; i++)
		buf_add(&b, STR("- "));
	buf_add(&b, STR("x\n"));
	diags_release(&diags);
	cr_assert_eq(parse(buf_str(&b)), 0, "the limit itself is allowed");
	buf_reset(&b);
	buf_add(&b, STR("a0: &a0 [x]\n"));
	for (int i = 1; i < 80; i++)
		buf_printf(&b, "a%d: &a%d [*a%d]\n", i, i, i - 1);
	expect_error(buf_str(&b), 64, 12, "nested deeper than 64 levels when `*a62` is followed");
	buf_release(&b);
}

Test(yaml, nodes_are_bounded)
{
	struct buf b;

	buf_init(&b, 0);
	buf_putc(&b, '[');
	for (int i = 0; i < YAML_NODES_MAX; i++)
		buf_add(&b, STR("a,"));
	buf_putc(&b, ']');
	expect_error(buf_str(&b), 1, 2 * YAML_NODES_MAX, "more than 1000000 nodes");
	buf_release(&b);
}

Test(yaml, an_arena_with_a_limit_ends_in_an_error)
{
	struct buf b;

	buf_init(&b, 0);
	for (int i = 0; i < 10000; i++)
		buf_printf(&b, "key%d: [a, b]\n", i);
	for (size_t limit = 1; limit < 300000; limit = limit * 3 + 50) {
		struct arena small;
		arena_init(&small, limit);
		diags_release(&diags);
		cr_assert_eq(yaml_parse(&small, "f", buf_str(&b), &diags, &docs, &count), -EINVAL);
		cr_assert_not_null(strstr(diags.items[0].text, "more memory than it may"));
		arena_release(&small);
	}
	buf_release(&b);
}

/* ---- files ---- */

Test(yaml, files_that_cannot_be_read)
{
	char path[] = "/tmp/isod-yaml-XXXXXX";
	int fd = mkstemp(path);

	cr_assert_eq(yaml_load(&arena, "/nonexistent.yml", &diags, &docs, &count), -ENOENT);
	cr_assert_not_null(strstr(diags.items[0].text, "No such file"));
	cr_assert_eq(diags.items[0].line, 0);
	cr_assert_eq(ftruncate(fd, (off_t)YAML_FILE_MAX + 1), 0);
	cr_assert_eq(yaml_load(&arena, path, &diags, &docs, &count), -EFBIG);
	cr_assert_not_null(strstr(diags.items[1].text, "larger than 4 MiB"));
	close(fd);
	unlink(path);
}

Test(yaml, every_sigma_rule_parses, .timeout = 300)
{
	static const char *const suffixes[] = {".yml", NULL};
	const char *shared = getenv("ISOD_SHARED");
	char *dir = xasprintf("%s/corpus/sigma", shared ? shared : "../shared");
	char **paths;
	size_t files;

	if (path_list(dir, suffixes, &paths, &files) < 0) {
		fprintf(stderr, "%s is not there: its rules were not read\n", dir);
		free(dir);
		return;
	}
	for (size_t i = 0; i < files; i++) {
		arena_reset(&arena);
		cr_assert_eq(yaml_load(&arena, paths[i], &diags, &docs, &count), 0, "%s: %s",
		             paths[i], diags.count ? diags.items[0].text : "");
		cr_assert_geq(count, 1);
		cr_assert_not_null(yaml_text(docs[0], "title"), "%s", paths[i]);
	}
	path_free_list(paths, files);
	free(dir);
}
