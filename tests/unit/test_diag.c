/* Messages about files: shape, escaping, order, the limit, and the nearest word. */
#include <criterion/criterion.h>

#include "base/diag.h"
#include "base/mem.h"

Test(diag, the_shape_that_editors_know)
{
	struct diags d;
	char out[200];

	diags_init(&d);
	diag_add(&d, DIAG_ERROR, "a.yml", 3, 7, "no %s", "good");
	diag_add(&d, DIAG_WARNING, "a.yml", 3, 0, "hm");
	diag_add(&d, DIAG_ERROR, "a.yml", 0, 0, "gone");
	diag_add(&d, DIAG_ERROR, NULL, 0, 0, "what file");
	cr_assert_str_eq(diag_format(&d.items[0], out, sizeof(out)), "a.yml:3:7: error: no good");
	cr_assert_str_eq(diag_format(&d.items[1], out, sizeof(out)), "a.yml:3: warning: hm");
	cr_assert_str_eq(diag_format(&d.items[2], out, sizeof(out)), "a.yml: error: gone");
	cr_assert_str_eq(diag_format(&d.items[3], out, sizeof(out)), ": error: what file");
	cr_assert_eq(d.errors, 3);
	cr_assert_eq(d.warnings, 1);
	diags_release(&d);
	cr_assert_eq(d.count, 0);
	diags_release(&d);
}

Test(diag, what_a_file_says_cannot_steer_a_terminal)
{
	struct diags d;
	char out[200];

	diags_init(&d);
	diag_add(&d, DIAG_ERROR, "a\n.yml", 1, 1, "unknown key `%s`", "\x1b[31m\xff");
	cr_assert_str_eq(diag_format(&d.items[0], out, sizeof(out)),
	                 "a\\x0a.yml:1:1: error: unknown key `\\x1b[31m\\xff`");
	diag_format(&d.items[0], out, 20);
	cr_assert_lt(strlen(out), 20, "cut to fit");
	diags_release(&d);
}

Test(diag, past_the_limit_they_are_counted_only)
{
	struct diags d;

	diags_init(&d);
	for (size_t i = 0; i < DIAGS_MAX + 10; i++)
		diag_add(&d, DIAG_ERROR, "f", 1, 1, "x");
	cr_assert_eq(d.count, DIAGS_MAX);
	cr_assert_eq(d.errors, DIAGS_MAX + 10);
	diags_release(&d);
}

Test(diag, sorting_orders_by_place_from_an_index_on)
{
	struct diags d;
	static const int want[] = {9, 1, 2, 3, 4};

	diags_init(&d);
	diag_add(&d, DIAG_ERROR, "z", 9, 1, "stays first");
	diag_add(&d, DIAG_ERROR, "b", 4, 1, "x");
	diag_add(&d, DIAG_ERROR, "a", 2, 1, "x");
	diag_add(&d, DIAG_ERROR, "b", 3, 9, "x");
	diag_add(&d, DIAG_ERROR, "a", 1, 5, "x");
	diags_sort(&d, 1);
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		cr_assert_eq(d.items[i].line, want[i]);
	diags_sort(&d, 99);
	diags_release(&d);
}

Test(diag, the_nearest_word_is_suggested_if_it_is_near)
{
	static const char *const words[] = {"address", "certificate", "key", "kind", "name",
	                                    "ca",      "mode",        "tls", "tcp"};
	static const struct {
		const char *typed, *want;
	} cases[] = {
		{"adress", "address"},
		{"ADDRESS", "address"},
		{"kye", "key"},
		{"tsl", "tls"},
		{"cerificat", "certificate"},
		{"nmae", "name"},
		{"modes", "mode"},
		{"knd", "kind"},
		{"something", NULL},
		{"x", NULL},
		{"", NULL},
		{"zzz", NULL},
		{"", NULL},
		{"cb", "ca"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *got = diag_suggest(cases[i].typed, words, ARRAY_LEN(words));
		if (!cases[i].want)
			cr_assert_null(got, "'%s' is near nothing, not '%s'", cases[i].typed, got);
		else
			cr_assert_str_eq(got ? got : "(none)", cases[i].want, "'%s' → '%s'",
			                 cases[i].typed, got);
	}
	cr_assert_null(diag_suggest("x", NULL, 0));
	char long_word[500];
	memset(long_word, 'a', sizeof(long_word) - 1);
	long_word[sizeof(long_word) - 1] = '\0';
	cr_assert_null(diag_suggest(long_word, words, ARRAY_LEN(words)));
}
