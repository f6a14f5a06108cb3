/* Sigma strings: escapes exactly as the specification lists them, wildcards against a naive matcher, folding. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "sigma/fold.h"
#include "sigma/pattern.h"

static struct arena arena;

static void setup(void)
{
	arena_init(&arena, 0);
}

static void teardown(void)
{
	arena_release(&arena);
}

TestSuite(pattern, .init = setup, .fini = teardown);

static bool fits(const char *pattern, struct str value, bool cased)
{
	struct sigma_string s;
	struct pattern p;
	char *folded = arena_alloc(&arena, value.n + 1);

	sigma_string_parse(&arena, str_of(pattern), &s);
	pattern_compile(&arena, &s, cased, &p);
	if (!cased) {
		fold_text(value, folded);
		value.p = folded;
	}
	return pattern_match(&p, value);
}

Test(pattern, escapes_as_the_specification_lists_them)
{
	static const struct {
		const char *pattern, *yes, *no;
	} cases[] = {
		{"a\\b", "a\\b", "ab"},       /* a plain backslash, written once */
		{"a\\\\b", "a\\b", "a\\\\b"}, /* or twice */
		{"a\\*", "a*", "ab"},         /* an escaped wildcard */
		{"a\\?", "a?", "ab"},
		{"a\\\\*", "a\\bcd", "a*"},       /* a backslash, then a wildcard */
		{"a\\\\\\*", "a\\*", "a\\b"},     /* both plain */
		{"a\\\\\\b", "a\\\\b", "a\\b"},   /* three are two */
		{"a\\\\\\\\b", "a\\\\b", "a\\b"}, /* four are two */
		{"a\\", "a\\", "a"},              /* one at the end */
		{"C:\\Windows\\*.exe", "C:\\Windows*.exe", "C:\\Windows\\x.exe"},
		{"*\\cmd.exe", "C:\\cmd.exe", "C:cmd.exe"},
		{"\\\\\\\\host\\c$", "\\\\host\\c$", "\\host\\c$"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cr_expect(fits(cases[i].pattern, str_of(cases[i].yes), false), "%s on %s",
		          cases[i].pattern, cases[i].yes);
		cr_expect_not(fits(cases[i].pattern, str_of(cases[i].no), false), "%s on %s",
		              cases[i].pattern, cases[i].no);
	}
}

Test(pattern, wildcards)
{
	static const struct {
		const char *pattern, *value;
		bool fits;
	} cases[] = {
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "abc", true},
		{"?", "", false},
		{"?", "a", true},
		{"?", "ab", false},
		{"??", "ab", true},
		{"a*c", "ac", true},
		{"a*c", "abc", true},
		{"a*c", "abcd", false},
		{"*b*", "abc", true},
		{"*b*", "ac", false},
		{"a**c", "abc", true},
		{"*aab", "aaaab", true},
		{"*a?b", "xaab", true},
		{"a?b*", "axbyyy", true},
		{"*?", "", false},
		{"*?*", "a", true},
		{"*ab*ab", "ab", false},
		{"*ab*ab", "abab", true},
		{"*ab*ba*", "aba", false},
		{"a*b*c", "axxbxxc", true},
		{"a*b*c", "axxcxxb", false},
		{"prog?.exe", "progA.exe", true},
		{"prog?.exe", "prog.exe", false},
		{"PROG?.EXE", "proga.exe", true},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		cr_expect_eq(fits(cases[i].pattern, str_of(cases[i].value), false), cases[i].fits,
		             "%s on %s", cases[i].pattern, cases[i].value);
}

Test(pattern, question_mark_is_one_character_of_any_length)
{
	cr_expect(fits("?", STR("\xc3\xa9"), false));
	cr_expect(fits("a?c",
	               STR("a\xe2\x82\xac"
	                   "c"),
	               false));
	cr_expect(fits("*?", STR("\xf0\x9f\x98\x80"), false));
	cr_expect_not(fits("??", STR("\xc3\xa9"), false));
	cr_expect_not(fits("*??", STR("\xc3\xa9"), false));
	cr_expect(fits("a?", STR("a\xff"), false), "a byte that is no UTF-8");
	cr_expect(fits("a*?z", STR("a\xc3\xa9z"), false));
}

Test(pattern, case_folds_unless_cased)
{
	static const struct {
		const char *pattern, *value;
		bool same, cased;
	} cases[] = {
		{"abc", "ABC", true, false},
		{"ABC", "ABC", true, true},
		{"stra\xc3\x9f"
	         "e",
	         "STRA\xc3\x9f"
	         "E",
	         true, false},
		{"\xc3\x84pfel", "\xc3\xa4PFEL", true, false},         /* Äpfel */
		{"\xce\xa9", "\xcf\x89", true, false},                 /* omega */
		{"\xd0\x90\xd0\x81", "\xd0\xb0\xd1\x91", true, false}, /* АЁ */
		{"\xc3\x97", "\xc3\xb7", false, false},                /* × and ÷ are no pair */
		{"\xc5\xb8", "\xc3\xbf", true, false},                 /* Ÿ */
		{"k", "\xe2\x84\xaa", false, false}, /* kelvin: would change its length */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cr_expect_eq(fits(cases[i].pattern, str_of(cases[i].value), false), cases[i].same,
		             "%s on %s", cases[i].pattern, cases[i].value);
		cr_expect_eq(fits(cases[i].pattern, str_of(cases[i].value), true), cases[i].cased,
		             "cased: %s on %s", cases[i].pattern, cases[i].value);
	}
}

Test(pattern, folding_twice_changes_nothing_more)
{
	char in[2], once[2], twice[2];

	for (unsigned code = 0x80; code < 0x800; code++) {
		in[0] = (char)(0xc0 | code >> 6);
		in[1] = (char)(0x80 | (code & 0x3f));
		fold_text(str_make(in, 2), once);
		fold_text(str_make(once, 2), twice);
		cr_expect_eq(memcmp(once, twice, 2), 0, "U+%04X", code);
		cr_expect(utf8_valid(str_make(once, 2)), "U+%04X", code);
	}
}

Test(pattern, windash_makes_five_dashes_equal)
{
	static const char *const dashes[] = {"-", "/", "\xe2\x80\x93", "\xe2\x80\x94",
	                                     "\xe2\x80\x95"};
	struct sigma_string s;
	struct pattern p;

	sigma_string_parse(&arena, STR("x -a-b"), &s);
	sigma_string_windash(&arena, &s, &s);
	pattern_compile(&arena, &s, false, &p);
	for (size_t i = 0; i < ARRAY_LEN(dashes); i++)
		for (size_t j = 0; j < ARRAY_LEN(dashes); j++) {
			char *text = xasprintf("x %sa%sb", dashes[i], dashes[j]);
			cr_expect(pattern_match(&p, str_of(text)), "%s", text);
			free(text);
		}
	cr_expect_not(pattern_match(&p, STR("x +a-b")));
	cr_expect_not(pattern_match(&p, STR("x a-b")));
	cr_expect_not(pattern_match(&p, STR("x \xe2\x80\x92"
	                                    "a-b")),
	              "a figure dash is none of the five");
}

/* By the definition, one character at a time. */
static bool naive(const char *p, const char *v)
{
	if (*p == '*')
		return naive(p + 1, v) || (*v && naive(p, v + 1));
	if (!*p || !*v)
		return *p == *v;
	return (*p == '?' || *p == *v) && naive(p + 1, v + 1);
}

Test(pattern, agrees_with_the_definition_on_all_short_texts)
{
	static const char letters[] = "ab*?";
	char pattern[7], value[6];

	for (unsigned n = 0; n < 4 * 4 * 4 * 4 * 4; n++) {
		for (unsigned i = 0, m = n; i < 5; i++, m /= 4)
			pattern[i] = letters[m % 4];
		for (unsigned length = 0; length <= 5; length++) {
			char cut[7];
			memcpy(cut, pattern, length);
			cut[length] = '\0';
			for (unsigned v = 0; v < 32; v++) {
				for (unsigned i = 0; i < 5; i++)
					value[i] = v >> i & 1 ? 'a' : 'b';
				value[5] = '\0';
				const char *text = value + v % 3;
				cr_assert_eq(fits(cut, str_of(text), false), naive(cut, text),
				             "%s on %s", cut, text);
			}
		}
		arena_reset(&arena);
	}
}
