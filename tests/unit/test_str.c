/* Slices: searching, cutting, numbers, durations, sizes, edit distance. */
#include <criterion/criterion.h>
#include <errno.h>

#include "base/str.h"

Test(str, equal_without_case_compares_every_byte)
{
	cr_assert(str_ieq(STR("AbC"), STR("aBc")));
	cr_assert(str_ieq(STR(""), STR_NONE));
	cr_assert_not(str_ieq(STR("abc"), STR("abcd")));
	cr_assert_not(str_ieq(STR("a\0b"), STR("a\0c")), "a NUL ends nothing");
	cr_assert(str_ieq(STR("a\0B"), STR("A\0b")));
	cr_assert_not(str_ieq(STR("\xc3\x84"), STR("\xc3\xa4")), "ASCII only");
	cr_assert_not(str_ieq(STR("@"), STR("`")));
	cr_assert_not(str_ieq(STR("["), STR("{")));
}

Test(str, heads_tails_and_ends)
{
	struct str s = STR("abcdef");

	cr_assert(str_eq(str_skip(s, 2), STR("cdef")));
	cr_assert(str_eq(str_skip(s, 99), STR("")));
	cr_assert_null(str_skip(STR_NONE, 5).p);
	cr_assert(str_eq(str_head(s, 2), STR("ab")));
	cr_assert(str_eq(str_head(s, 99), s));
	cr_assert(str_starts(s, STR("abc")));
	cr_assert(str_starts(s, STR("")));
	cr_assert_not(str_starts(STR("ab"), s));
	cr_assert(str_ends(s, STR("ef")));
	cr_assert_not(str_ends(STR("f"), s));
	cr_assert(str_eq(str_of(NULL), STR("")));
}

Test(str, trim)
{
	cr_assert(str_eq(str_trim(STR(" \t\r\n a b \v\f")), STR("a b")));
	cr_assert_eq(str_trim(STR("   ")).n, 0);
	cr_assert_eq(str_trim(STR_NONE).n, 0);
}

Test(str, find_and_search)
{
	cr_assert_eq(str_find(STR("abcabc"), 'c'), 2);
	cr_assert_eq(str_find(STR("abc"), 'x'), -1);
	cr_assert_eq(str_find(STR_NONE, 'x'), -1);
	cr_assert_eq(str_find(STR("a\0b"), '\0'), 1);
	cr_assert_eq(str_search(STR("abcabd"), STR("abd")), 3);
	cr_assert_eq(str_search(STR("abc"), STR("")), 0);
	cr_assert_eq(str_search(STR_NONE, STR("")), 0);
	cr_assert_eq(str_search(STR_NONE, STR("a")), -1);
	cr_assert_eq(str_search(STR("ab"), STR("abc")), -1);
}

/* Against what reads like the definition, on short texts of few letters: near misses and repeats are frequent. */
Test(str, search_and_equality_agree_with_the_plain_way)
{
	char text[96], needle[80];
	uint64_t state = 1;

	for (int round = 0; round < 200000; round++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		struct str s = {text, state >> 33 & 63}, find = {needle, state >> 40 & 7};
		if (state >> 60 == 0)
			find.n += 64;
		for (size_t i = 0; i < s.n; i++)
			text[i] = "aAb@"[(state >> i % 50) & 3];
		for (size_t i = 0; i < find.n; i++)
			needle[i] = "aAb@"[(state >> (i + 7) % 50) & 3];
		ptrdiff_t at = -1;
		for (size_t i = 0; at < 0 && i + find.n <= s.n; i++)
			if (memcmp(s.p + i, find.p, find.n) == 0)
				at = (ptrdiff_t)i;
		cr_assert_eq(str_search(s, find), at, "%.*s in %.*s", STR_FMT(find), STR_FMT(s));
		struct str head = str_head(s, find.n);
		cr_assert_eq(str_ieq(head, find),
		             head.n == find.n && strncasecmp(head.p, find.p, find.n) == 0);
	}
}

Test(str, split_gives_every_part_and_then_none)
{
	struct str rest = STR("a,,b,");

	cr_assert(str_eq(str_split(&rest, ','), STR("a")));
	cr_assert(str_eq(str_split(&rest, ','), STR("")));
	cr_assert(str_eq(str_split(&rest, ','), STR("b")));
	cr_assert_not_null(rest.p, "an empty part stands behind the last comma");
	cr_assert(str_eq(str_split(&rest, ','), STR("")));
	cr_assert_null(rest.p);
}

Test(str, unsigned_numbers)
{
	uint64_t v = 7;

	cr_assert_eq(str_to_u64(STR("18446744073709551615"), &v), 0);
	cr_assert_eq(v, UINT64_MAX);
	cr_assert_eq(str_to_u64(STR("000"), &v), 0);
	cr_assert_eq(v, 0);
	v = 7;
	cr_assert_eq(str_to_u64(STR("18446744073709551616"), &v), -ERANGE);
	cr_assert_eq(str_to_u64(STR("99999999999999999999999"), &v), -ERANGE);
	static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "a"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(str_to_u64(str_of(bad[i]), &v), -EINVAL, "'%s'", bad[i]);
	cr_assert_eq(v, 7, "untouched on failure");
}

Test(str, signed_numbers)
{
	int64_t v = 7;

	cr_assert_eq(str_to_i64(STR("-9223372036854775808"), &v), 0);
	cr_assert_eq(v, INT64_MIN);
	cr_assert_eq(str_to_i64(STR("9223372036854775807"), &v), 0);
	cr_assert_eq(v, INT64_MAX);
	cr_assert_eq(str_to_i64(STR("-0"), &v), 0);
	cr_assert_eq(v, 0);
	cr_assert_eq(str_to_i64(STR("9223372036854775808"), &v), -ERANGE);
	cr_assert_eq(str_to_i64(STR("-9223372036854775809"), &v), -ERANGE);
	cr_assert_eq(str_to_i64(STR("-"), &v), -EINVAL);
	cr_assert_eq(str_to_i64(STR("--1"), &v), -EINVAL);
}

Test(str, durations)
{
	static const struct {
		const char *text;
		uint64_t seconds;
	} good[] = {{"0", 0},       {"90", 90},     {"90s", 90},     {"15m", 900},    {"2h", 7200},
	            {"7d", 604800}, {"1w", 604800}, {"1M", 2592000}, {"1y", 31536000}};
	static const char *const bad[] = {"", "s", "1.5h", "-1s", "1 s", "1H", "1s ", "1sec"};
	uint64_t ns = 7;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		cr_assert_eq(str_to_duration(str_of(good[i].text), &ns), 0, "%s", good[i].text);
		cr_assert_eq(ns, good[i].seconds * 1000000000u, "%s", good[i].text);
	}
	cr_assert_eq(str_to_duration(STR("500ms"), &ns), 0);
	cr_assert_eq(ns, 500000000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(str_to_duration(str_of(bad[i]), &ns), -EINVAL, "'%s'", bad[i]);
	cr_assert_eq(str_to_duration(STR("18446744074s"), &ns), -ERANGE);
	cr_assert_eq(str_to_duration(STR("9999999999999999999999w"), &ns), -ERANGE);
	cr_assert_eq(ns, 500000000, "untouched on failure");
}

Test(str, sizes)
{
	uint64_t v;

	cr_assert_eq(str_to_size(STR("64k"), &v), 0);
	cr_assert_eq(v, 65536);
	cr_assert_eq(str_to_size(STR("64KiB"), &v), 0);
	cr_assert_eq(v, 65536);
	cr_assert_eq(str_to_size(STR("2GiB"), &v), 0);
	cr_assert_eq(v, UINT64_C(2) << 30);
	cr_assert_eq(str_to_size(STR("1M"), &v), 0);
	cr_assert_eq(v, 1 << 20);
	cr_assert_eq(str_to_size(STR("5"), &v), 0);
	cr_assert_eq(v, 5);
	cr_assert_eq(str_to_size(STR("16777216TiB"), &v), -ERANGE);
	cr_assert_eq(str_to_size(STR("1kb"), &v), -EINVAL);
	cr_assert_eq(str_to_size(STR("k"), &v), -EINVAL);
}

Test(str, distance_counts_edits_and_swaps)
{
	char long_word[66] = {0};

	cr_assert_eq(str_distance(STR("kitten"), STR("sitting")), 3);
	cr_assert_eq(str_distance(STR(""), STR("abc")), 3);
	cr_assert_eq(str_distance(STR("abc"), STR("")), 3);
	cr_assert_eq(str_distance(STR("same"), STR("same")), 0);
	cr_assert_eq(str_distance(STR("tsl"), STR("tls")), 1, "a swap");
	cr_assert_eq(str_distance(STR("adress"), STR("address")), 1);
	cr_assert_eq(str_distance(STR("ca"), STR("abc")), 3, "no edit inside of a swap");
	memset(long_word, 'x', 65);
	cr_assert_eq(str_distance(str_make(long_word, 64), STR("x")), 63);
	cr_assert_eq(str_distance(str_of(long_word), STR("x")), SIZE_MAX);
	cr_assert_eq(str_distance(STR("x"), str_of(long_word)), SIZE_MAX);
}
