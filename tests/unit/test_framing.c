#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "ingest/framing.h"

#define MAX 64

/* Frames as text, one a line: "|" ends each, "~" stands before the "|" of a cut one, "!" for lost framing. */
static void drain(struct framing *f, struct buf *rest, struct buf *out)
{
	for (;;) {
		size_t used = 0;
		struct str frame;
		bool truncated;
		enum framing_result r = framing_next(f, buf_str(rest), &used, &frame, &truncated);
		if (r == FRAMING_FRAME) {
			buf_add(out, frame);
			buf_add(out, truncated ? STR("~|") : STR("|"));
		}
		buf_consume(rest, used);
		if (r == FRAMING_LOST) {
			buf_putc(out, '!');
			buf_reset(rest);
		}
		if (r != FRAMING_FRAME)
			return;
	}
}

static void feed(struct str in, size_t chunk, struct buf *out)
{
	struct framing f;
	struct buf rest;
	struct str frame;
	bool truncated, lost = false;

	framing_init(&f, MAX);
	buf_init(&rest, 0);
	buf_init(out, 0);
	while (in.n && !lost) {
		buf_add(&rest, str_head(in, chunk));
		in = str_skip(in, chunk);
		drain(&f, &rest, out);
		lost = out->n && out->p[out->n - 1] == '!';
		if (chunk == 1)
			cr_assert_leq(rest.n, MAX + FRAMING_EXTRA);
	}
	if (!lost && framing_end(&f, buf_str(&rest), &frame, &truncated)) {
		buf_add(out, frame);
		buf_add(out, truncated ? STR("~|") : STR("|"));
	}
	buf_release(&rest);
}

/* The same frames whether the bytes come at once, one by one or in threes. */
static void check(struct str in, const char *expected)
{
	static const size_t chunks[] = {SIZE_MAX, 1, 3, 7};

	for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		struct buf out;
		feed(in, chunks[i], &out);
		cr_expect_str_eq(buf_cstr(&out), expected,
		                 "chunks of %zu: \"%s\" instead of \"%s\"", chunks[i],
		                 buf_cstr(&out), expected);
		buf_release(&out);
	}
}

static char *repeat(char c, size_t n)
{
	char *s = malloc(n + 1);
	memset(s, c, n);
	s[n] = '\0';
	return s;
}

Test(framing, octet_counted_frames_follow_each_other)
{
	check(STR("5 <1>ab6 <2>cde"), "<1>ab|<2>cde|");
	check(STR("9 two\nlines"), "two\nlines|");
	check(STR("1 x"), "x|");
}

Test(framing, lines_end_with_newline_crlf_or_nul)
{
	check(STR("<1>a\n<2>b\r\n<3>c\0<4>d"), "<1>a|<2>b|<3>c|<4>d|");
	check(STR("<1>a\0<2>b\0c\0\n\0<3>d\0\n"), "<1>a|<2>b|c|<3>d|");
}

Test(framing, other_nuls_are_bytes_of_their_line)
{
	static const char expected[] = "<1>a\0b|<2>c|";
	struct buf out;

	feed(STR("<1>a\0b\0\n<2>c\0\r\n"), 3, &out);
	cr_expect(str_eq(buf_str(&out), str_make(expected, sizeof(expected) - 1)));
	buf_release(&out);
}

Test(framing, both_kinds_mix_on_one_connection)
{
	check(STR("<1>line\n5 <2>ab<3>line\n5 <4>cd"), "<1>line|<2>ab|<3>line|<4>cd|");
	check(STR("5 <2>ab\n5 <4>cd\n<5>e\n"), "<2>ab|<4>cd|<5>e|");
}

Test(framing, counted_line_end_is_not_part_of_the_frame)
{
	check(STR("6 <1>ab\n7 <1>ab\r\n6 <1>ab\0<2>x\n"), "<1>ab|<1>ab|<1>ab|<2>x|");
}

Test(framing, empty_frames_are_skipped)
{
	check(STR("\n\r\n\0\0\n\0\n1 \n<1>a\n\n"), "<1>a|");
	check(STR(""), "");
	check(STR("\r"), "");
}

Test(framing, digits_without_a_space_are_text)
{
	check(STR("2026-11-23T18:00:00Z host app: x\n10.0.0.1 - - GET\n42\n7:8\n"),
	      "2026-11-23T18:00:00Z host app: x|10.0.0.1 - - GET|42|7:8|");
	check(STR("42"), "42|");
}

Test(framing, times_in_front_are_text)
{
	check(STR("1795456800 app: x\n20261123 18:00:00 app\n1795456800000 y\n"),
	      "1795456800 app: x|20261123 18:00:00 app|1795456800000 y|");
	check(STR("1795456800 "), "1795456800 |");
	check(STR("0 errors found\n007 bond\n"), "0 errors found|007 bond|");
	check(STR("1234567890123456789012345678901234567890 <1>a\n"),
	      "1234567890123456789012345678901234567890 <1>a|");
}

Test(framing, counts_that_lie_lose_the_framing)
{
	check(STR("<1>good\n999999999 <1>bad\n"), "<1>good|!");
	check(STR("5 <1>ab99999999999 <1>bad\n"), "<1>ab|!");
	check(STR("0 <1>bad\n"), "!");
	check(STR("005 <1>ab"), "!");
	check(STR("999999999 x"), "!");
	check(STR("20261123 <1>a"), "!");
	check(STR("20269923 a"), "!");
	check(STR("16777217 a"), "!");
}

Test(framing, end_of_stream_gives_what_is_left)
{
	check(STR("<1>a\n<2>half"), "<1>a|<2>half|");
	check(STR("<2>half\r"), "<2>half|");
	check(STR("20 <1>cut short"), "<1>cut short~|");
	check(STR("20 "), "");
}

Test(framing, long_lines_are_cut_and_the_next_is_whole)
{
	char *exact = repeat('a', MAX), in[512], expected[512];

	snprintf(in, sizeof(in), "%s\n%sb\n%sbcdefghijk\r\n<1>x\n%s\r\n%sb\r", exact, exact, exact,
	         exact, exact);
	snprintf(expected, sizeof(expected), "%s|%s~|%s~|<1>x|%s|%s~|", exact, exact, exact, exact,
	         exact);
	check(str_of(in), expected);
	free(exact);
}

Test(framing, long_counted_frames_are_cut_and_the_next_is_whole)
{
	char *exact = repeat('a', MAX), in[512], expected[512];

	snprintf(in, sizeof(in), "%d %s%d %s%s5 <1>ab%d %s", MAX, exact, MAX + MAX, exact, exact,
	         MAX + 1, exact);
	snprintf(expected, sizeof(expected), "%s|%s~|<1>ab|%s~|", exact, exact, exact);
	check(str_of(in), expected);
	free(exact);
}

Test(framing, long_run_of_digits_is_a_long_line)
{
	char *digits = repeat('1', MAX + MAX), in[512], expected[512];

	snprintf(in, sizeof(in), "%s <1>a\n<2>b\n", digits);
	snprintf(expected, sizeof(expected), "%.*s~|<2>b|", MAX, digits);
	check(str_of(in), expected);
	free(digits);
}
