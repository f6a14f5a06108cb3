/* conf/patterns.yaml and the language it is written in. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/yaml.h"
#include "event/decoders.h"

static struct diags diags;
static struct event e;

static void setup(void)
{
	diags_init(&diags);
	event_setup(&e);
}

static void teardown(void)
{
	diags_release(&diags);
	event_release(&e);
}

TestSuite(patterns, .init = setup, .fini = teardown);

static int load_text(const char *text, struct patterns **ret)
{
	char path[] = "/tmp/isod-patterns-XXXXXX";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	int r = patterns_load(path, &diags, ret);
	unlink(path);
	return r;
}

/* One pattern for program "p", with an example that is the line itself. NULL if it does not fit. */
static const char *fits(const char *pattern, const char *line, const char *field)
{
	static char value[256];
	struct patterns *p = NULL;
	char *text =
		xasprintf("programs:\n  - program: p\n    patterns:\n      - match: '%s'\n"
	                  "        examples:\n          - line: \"%s\"\n            fields: {}\n",
	                  pattern, line);

	int r = load_text(text, &p);
	free(text);
	if (r < 0)
		return NULL;
	event_reset(&e);
	cr_assert(patterns_decode(p, &e, STR("p"), str_of(line)));
	struct str got = event_value(&e, str_of(field));
	snprintf(value, sizeof(value), "%.*s", STR_FMT(got));
	patterns_free(p);
	return got.p ? value : "(none)";
}

/* The one error that a pattern gives. */
static const char *error_of(const char *text)
{
	static char line[1024];
	struct patterns *p = NULL;

	diags_release(&diags);
	diags_init(&diags);
	cr_assert_lt(load_text(text, &p), 0, "loads: %s", text);
	cr_assert_gt(diags.errors, 0);
	snprintf(line, sizeof(line), "%d:%d: %s", diags.items[0].line, diags.items[0].column,
	         diags.items[0].text);
	return line;
}

Test(patterns, the_shipped_file_loads_and_its_examples_hold)
{
	struct patterns *p = NULL;
	char line[512];

	int r = patterns_load("conf/patterns.yaml", &diags, &p);
	for (size_t i = 0; i < diags.count; i++)
		fprintf(stderr, "%s\n", diag_format(&diags.items[i], line, sizeof(line)));
	cr_assert_eq(r, 0);
	cr_assert_eq(diags.errors + diags.warnings, 0);
	patterns_free(p);
}

/* The loader does this too; here it is done by other means: each example through the whole decoder, behind a
 * syslog header. */
Test(patterns, every_example_gives_its_fields_through_the_decoder)
{
	struct arena arena;
	struct yaml_node **docs;
	struct patterns *p = NULL;
	size_t count, examples = 0;

	arena_init(&arena, 0);
	cr_assert_eq(yaml_load(&arena, "conf/patterns.yaml", &diags, &docs, &count), 0);
	cr_assert_eq(patterns_load("conf/patterns.yaml", &diags, &p), 0);
	struct decoder *d = decoder_new(p);
	const struct yaml_node *groups = yaml_get(docs[0], "programs");
	for (size_t g = 0; g < groups->count; g++) {
		const struct yaml_node *name = yaml_get(groups->items[g], "program");
		const struct yaml_node *entries = yaml_get(groups->items[g], "patterns");
		const char *program =
			name->kind == YAML_LIST ? name->items[0]->text.p : name->text.p;
		for (size_t i = 0; i < entries->count; i++) {
			const struct yaml_node *list = yaml_get(entries->items[i], "examples");
			for (size_t k = 0; k < list->count; k++) {
				const struct yaml_node *fields = yaml_get(list->items[k], "fields");
				char *frame = xasprintf("<86>1 2026-11-23T18:00:00Z h %s 1 - - %s",
				                        strcmp(program, "*") ? program : "any",
				                        yaml_text(list->items[k], "line"));
				event_reset(&e);
				event_decode(d, &e, str_of(frame));
				for (size_t f = 0; f < fields->count; f++) {
					struct str want = fields->pairs[f].value->text, got;
					if (fields->pairs[f].value->kind == YAML_NULL)
						continue;
					got = event_value(&e, fields->pairs[f].key);
					cr_expect(str_eq(got, want) ||
					                  event_next(
								  &e,
								  event_find(&e,
					                                     fields->pairs[f].key)),
					          "%s: %.*s is '%.*s'", frame,
					          STR_FMT(fields->pairs[f].key), STR_FMT(got));
				}
				examples++;
				free(frame);
			}
		}
	}
	cr_assert_gt(examples, 100);
	decoder_free(d);
	patterns_free(p);
	arena_release(&arena);
}

Test(patterns, captures_take_what_their_type_says)
{
	cr_expect_str_eq(fits("a {x} b", "a one b", "x"), "one");
	cr_expect_str_eq(fits("{x}:{y}", "a:b:c", "x"), "a");
	cr_expect_str_eq(fits("{x}:{y}", "a:b:c", "y"), "b:c");
	cr_expect_str_eq(fits("u {x:text} from {y}", "u a from b from c", "x"), "a from b");
	cr_expect_str_eq(fits("u {x:until} from {y:rest}", "u a from b from c", "x"), "a");
	cr_expect_str_eq(fits("u {x:text} from {y}", "u  from c", "x"), "");
	cr_expect_str_eq(fits("n {x:int}.", "n -12.", "x"), "-12");
	cr_expect_str_eq(fits("{src_ip}: x", "192.0.2.1: x", "src_ip"), "192.0.2.1");
	cr_expect_str_eq(fits("{src_ip}: x", "2001:db8::1: x", "src_ip"), "2001:db8::1");
	cr_expect_str_eq(fits("{src_ip}", "::ffff:192.0.2.1", "src_ip"), "192.0.2.1");
	cr_expect_str_eq(fits("{src_ip}", "fe80::1%eth0", "src_ip"), "fe80::1");
	cr_expect_str_eq(fits("{src_ip}", "mail.example.org", "src_host"), "mail.example.org");
	cr_expect_str_eq(fits("{src_ip}", "mail.example.org", "src_ip"), "(none)");
	cr_expect_str_eq(fits("{peer_ip}", "mail.example.org", "peer_host"), "mail.example.org");
	cr_expect_null(fits("{x:ip}", "mail.example.org", "x"));
	cr_expect_str_eq(fits("q {x:quoted} z", "q `a b' z", "x"), "a b");
	cr_expect_str_eq(fits("q {x:quoted}", "q 'a'", "x"), "a");
	cr_expect_null(fits("q {x:quoted}", "q 'a", "x"));
	cr_expect_str_eq(fits("a{?b {x}}{?c}", "ab 1", "x"), "1");
	cr_expect_str_eq(fits("a{?b {x}}{?c}", "ac", "x"), "(none)");
	cr_expect_str_eq(fits("a{?b{?c{x}}}", "abc7", "x"), "7");
	cr_expect_str_eq(fits("{{{x}}}", "{7}", "x"), "7");
	cr_expect_str_eq(fits("{:word} {_y} {x}", "a b c", "x"), "c");
	cr_expect_str_eq(fits("{:word} {_y} {x}", "a b c", "_y"), "(none)");
	cr_expect_str_eq(fits("t {:pairs}", "t a=1 b='x y' c=", "b"), "x y");
	cr_expect_str_eq(fits("t {:pairs}", "t a=1 c=", "c"), "(none)");
	cr_expect_null(fits("a {x} b", "a one c", "x"));
	cr_expect_null(fits("a", "ab", "x"));
}

#define HEAD "programs:\n  - program: p\n    patterns:\n      - match: "
#define TAIL "\n        examples: [{line: a, fields: {}}]\n"

Test(patterns, errors_name_the_place_and_the_slip)
{
	cr_expect_str_eq(error_of(HEAD "'a {x:wrd}'" TAIL),
	                 "4:22: no type 'wrd', did you mean 'word'?");
	cr_expect_str_eq(error_of(HEAD "'a {x'" TAIL), "4:19: '{' without its '}'");
	cr_expect_str_eq(error_of(HEAD "'a }'" TAIL),
	                 "4:19: '}' without its '{' (a brace itself is '}}')");
	cr_expect_str_eq(error_of(HEAD "'a {?b'" TAIL), "4:19: '{?' without its '}'");
	cr_expect_str_eq(error_of(HEAD "'a {?}'" TAIL),
	                 "4:19: an optional part with nothing in it");
	cr_expect_str_eq(error_of(HEAD "'{a}{b}'" TAIL),
	                 "4:20: nothing between this and the part before it");
	cr_expect_str_eq(error_of(HEAD "'{a}{?{b}}'" TAIL),
	                 "4:22: nothing between this and the part before it");
	cr_expect_str_eq(error_of(HEAD "'{a b}'" TAIL), "4:18: 'a b' is no name of a field");
	cr_expect_str_eq(error_of(HEAD "'{}'" TAIL),
	                 "4:17: '{}' names no field ('{:word}' takes a word for none)");
	cr_expect_str_eq(error_of(HEAD "'{a:rest} b'" TAIL),
	                 "4:17: 'rest' takes all that is left: nothing can follow it");
	cr_expect_str_eq(error_of(HEAD "a\n        exmples: []\n"),
	                 "5:9: unknown key 'exmples', did you mean "
	                 "'examples'?");
	cr_expect_str_eq(error_of(HEAD "b" TAIL), "5:27: no pattern of 'p' fits this example");
	cr_expect_str_eq(error_of(HEAD "'{x}'\n        examples: [{line: a, fields: {x: b}}]\n"),
	                 "5:42: the example gives x = 'a'");
	cr_expect(strstr(error_of("programs: 7\n"), "a list of groups"));
	cr_expect(strstr(error_of("programs:\n  - patterns: []\n"), "'program' is a name"));
	cr_expect(strstr(error_of("programs:\n  - program: x\n"), "'patterns'"));
	cr_expect(strstr(error_of("programs:\n  - [\n"), ""));
}

Test(patterns, a_missing_file_is_an_error)
{
	struct patterns *p = NULL;

	cr_assert_lt(patterns_load("/nonexistent/patterns.yaml", &diags, &p), 0);
	cr_assert_null(p);
	cr_assert_gt(diags.errors, 0);
}

Test(patterns, a_message_made_to_be_slow_costs_a_bounded_number_of_steps)
{
	struct patterns *p = NULL;
	char *line = xmalloc(60001);

	cr_assert_eq(load_text(HEAD "'a{a:text}a{b:text}a{c:text}a{d:text}a{e:text}b'\n"
	                            "        examples: [{line: aaaaaab, fields: {a: a}}]\n",
	                       &p),
	             0);
	memset(line, 'a', 60000);
	line[60000] = '\0';
	event_reset(&e);
	cr_assert_not(patterns_decode(p, &e, STR("p"), str_of(line)));
	cr_assert_eq(e.count, 0);
	patterns_free(p);
	free(line);
}
