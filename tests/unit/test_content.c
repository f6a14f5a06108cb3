/* What decides about events is loaded whole or not at all, shared by references, and counts what its rules do. */
#include <errno.h>

#include "base/buf.h"
#include "event/logsource.h"
#include "folder.h"
#include "sigma.h"
#include "sigma/compile.h"
#include "sigma/content.h"

static char dir[FOLDER_BYTES];

static void make_folder(void)
{
	folder_new(dir, "content");
}

static void remove_folder(void)
{
	folder_remove(dir);
}

TestSuite(content, .init = make_folder, .fini = remove_folder);

static char *put(const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", dir, name);

	cr_assert_eq(path_write_atomic(path, str_of(text), 0600), 0);
	return path;
}

#define RULES                                                                                      \
	"title: A listed value\nid: 11111111-1111-4111-8111-111111111111\nstatus: test\n"          \
	"level: low\nlogsource:\n  product: p\ndetection:\n  s:\n    a|expand: '%list%'\n"         \
	"  condition: s\n"

/* Loads with a content of files that are good but for `name`, which holds `text`. */
static int load_with(const char *name, const char *text, struct diags *diags, struct content **ret)
{
	char *rules = put("rules.yml", RULES), *patterns = put("patterns.yaml", "programs: []\n"),
	     *sources = put("logsources.yaml", "sources:\n  - {product: p, when: {p: yes}}\n"),
	     *lists = put("placeholders.yaml", "list: [x, y]\n");
	const char *paths[] = {rules};
	const struct content_files files = {.rules = paths,
	                                    .rule_count = 1,
	                                    .logsources = sources,
	                                    .patterns = patterns,
	                                    .placeholders = lists};

	if (name)
		free(put(name, text));
	int r = content_load(&files, 2, diags, ret);
	free(rules);
	free(patterns);
	free(sources);
	free(lists);
	return r;
}

static size_t run(struct matcher *m, const char *json)
{
	struct decoder *decoder = decoder_new(NULL);
	const struct rule *const *hits;
	struct event e;

	event_setup(&e);
	event_reset(&e);
	event_decode(decoder, &e, str_of(json));
	size_t n = matcher_run(m, &e, NULL, &hits);
	event_release(&e);
	decoder_free(decoder);
	return n;
}

Test(content, is_loaded_with_its_lists)
{
	struct content *c = NULL;
	struct diags diags;

	diags_init(&diags);
	int r = load_with(NULL, NULL, &diags, &c);
	log_diags(&diags);
	cr_assert_eq(r, 0);
	cr_expect_eq(diags.errors + diags.warnings, 0);
	struct matcher *m = matcher_new(c->parts.rules);
	cr_expect_eq(run(m, "{\"a\":\"y\"}"), 1);
	cr_expect_eq(run(m, "{\"a\":\"z\"}"), 0);
	matcher_free(m);
	content_unref(c);
	diags_release(&diags);
}

Test(content, one_broken_file_breaks_it_whole)
{
	static const char *const broken[][2] = {
		{"rules.yml", "title: [\n"},
		{"patterns.yaml", "programs: 1\n"},
		{"logsources.yaml", "sources: 1\n"},
		{"placeholders.yaml", "list: {a: b}\n"},
	};

	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		struct content *c = NULL;
		struct diags diags;
		diags_init(&diags);
		cr_expect_eq(load_with(broken[i][0], broken[i][1], &diags, &c), -EINVAL, "%s",
		             broken[i][0]);
		cr_expect_null(c);
		cr_assert_gt(diags.errors, 0);
		cr_expect(strstr(diags.items[0].file, broken[i][0]) != NULL, "%s",
		          diags.items[0].file);
		diags_release(&diags);
	}
}

Test(content, an_empty_file_of_lists_is_one_without_lists)
{
	struct content *c = NULL;
	struct diags diags;

	diags_init(&diags);
	cr_assert_eq(load_with("placeholders.yaml", "# nothing yet\n", &diags, &c), 0);
	cr_expect_eq(diags.warnings, 1, "the rule's list is not known");
	content_unref(c);
	diags_release(&diags);
}

Test(content, hits_are_counted_and_time_is_taken_on_a_sample)
{
	struct content *c = NULL;
	uint64_t sampled;
	struct diags diags;

	diags_init(&diags);
	cr_assert_eq(load_with(NULL, NULL, &diags, &c), 0);
	for (size_t w = 0; w < 2; w++) {
		struct matcher *m = matcher_new(c->parts.rules);
		matcher_count(m, &c->counts[w]);
		for (unsigned i = 0; i < 3 * COUNTS_SAMPLE; i++)
			run(m, i % 3 ? "{\"a\":\"z\"}" : "{\"a\":\"x\"}");
		matcher_free(m);
	}
	struct content_sum sum = content_rule_sum(c, 0);
	cr_expect_eq(content_events(c, &sampled), 6 * COUNTS_SAMPLE);
	cr_expect_eq(sampled, 6);
	cr_expect_eq(sum.hits, 2 * COUNTS_SAMPLE);
	cr_expect_eq(sum.tried, 6);
	cr_expect_gt(sum.ns, 0);
	content_unref(c);
	diags_release(&diags);
}

Test(content, the_compiled_form_counts_and_answers_alike)
{
	const struct compile_options o = {0};
	struct content *c = NULL;
	uint64_t sampled;
	struct diags diags;

	diags_init(&diags);
	cr_assert_eq(load_with(NULL, NULL, &diags, &c), 0);
	cr_expect_null(atomic_load(&c->compiled));
	cr_assert_eq(content_compile(c, &o, &diags), 0);
	struct matcher *m = matcher_new_with(c->parts.rules, atomic_load(&c->compiled));
	matcher_count(m, &c->counts[0]);
	cr_expect_eq(run(m, "{\"a\":\"x\"}"), 1);
	cr_expect_eq(run(m, "{\"a\":\"z\"}"), 0);
	cr_expect_eq(content_rule_sum(c, 0).hits, 1);
	cr_expect_eq(content_rule_sum(c, 0).tried, 1);
	cr_expect_eq(content_events(c, &sampled), 2);
	matcher_free(m);
	content_unref(c);
	diags_release(&diags);
}

Test(content, log_sources_are_counted_and_when_they_last_reported)
{
	struct logsource_set first = {.any = true, .bits = {1}}, none = {0};
	struct content *c = NULL;
	struct diags diags;

	diags_init(&diags);
	cr_assert_eq(load_with(NULL, NULL, &diags, &c), 0);
	cr_assert_eq(content_source_count(c), 1);
	cr_expect_eq(content_source_sum(c, 0).events, 0);
	content_classified(c, 0, &first, 50);
	content_classified(c, 1, &first, 40);
	content_classified(c, 1, &none, 60);
	cr_expect_eq(content_source_sum(c, 0).events, 2);
	cr_expect_eq(content_source_sum(c, 0).last_ns, 50);
	cr_expect_eq(content_source_sum(c, 1).events, 1, "of no known log source");
	cr_expect_eq(content_source_sum(c, 1).last_ns, 60);
	content_unref(c);
	diags_release(&diags);
}
