/* The frames of RELP: those that come out do not depend on where the reads fall, and what is no RELP is told. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "ingest/relp.h"

#define MAX 64

/* Frames as text: "TXNR command data|", "~" before the "|" of a cut one, "TXNR$" for its end, "!why" for no RELP. */
static bool drain(struct relp *r, struct buf *rest, struct buf *out)
{
	struct relp_frame f;
	enum relp_result result;
	size_t used;

	do {
		used = SIZE_MAX;
		result = relp_next(r, buf_str(rest), &used, &f);
		cr_assert_leq(used, rest->n);
		if (result == RELP_FRAME)
			buf_printf(out, "%u %.*s %.*s%s|", f.txnr, STR_FMT(f.command),
			           STR_FMT(f.data), f.truncated ? "~" : "");
		else if (result == RELP_END)
			buf_printf(out, "%u$", f.txnr);
		else if (result == RELP_LOST)
			buf_printf(out, "!%s", r->why);
		buf_consume(rest, used);
	} while (result < RELP_MORE);
	return result == RELP_MORE;
}

/* In two pieces that part at `split`, or (0) byte by byte. */
static void feed(struct str in, size_t split, struct buf *out)
{
	struct relp r;
	struct buf rest;
	bool good = true;

	relp_init(&r, MAX);
	buf_init(&rest, 0);
	buf_init(out, 0);
	for (bool first = true; in.n && good; first = false) {
		size_t n = split == 0 ? 1 : first ? split : in.n;
		buf_add(&rest, str_head(in, n));
		in = str_skip(in, n);
		good = drain(&r, &rest, out);
		if (good)
			cr_assert_lt(rest.n, MAX + RELP_EXTRA);
	}
	buf_release(&rest);
}

static void check(struct str in, const char *expected)
{
	for (size_t split = 0; split <= in.n; split++) {
		struct buf out;
		feed(in, split, &out);
		cr_assert_str_eq(buf_cstr(&out), expected, "split at %zu", split);
		buf_release(&out);
	}
}

Test(relp, frames_are_taken_apart_wherever_the_reads_fall)
{
	check(STR("1 open 5 a=b\nc\n2 syslog 5 hello\n3 close 0\n"),
	      "1 open a=b\nc|2 syslog hello|3 close |");
	check(STR("999999999 syslog 3 a\nb\n0 hint 1  \n"), "999999999 syslog a\nb|0 hint  |");
	check(STR("007 SysLog 01 x\n"), "7 SysLog x|");
	check(STR("1 abcdefghijklmnopqrstuvwxyzabcdef 0\n"),
	      "1 abcdefghijklmnopqrstuvwxyzabcdef |");
	check(STR("5 syslog 3 a"), "");
}

Test(relp, bytes_of_the_data_are_not_looked_at)
{
	struct relp r;
	struct relp_frame f;
	size_t used;

	relp_init(&r, MAX);
	struct str in = STR("1 syslog 7 \0\n\xff 1 \n\n");
	cr_assert_eq(relp_next(&r, in, &used, &f), RELP_FRAME);
	cr_assert(str_eq(f.data, STR("\0\n\xff 1 \n")));
	cr_assert_eq(used, in.n);
}

Test(relp, a_long_frame_is_cut_and_its_end_is_told)
{
	char in[400], expected[400], data[201];

	memset(data, 'x', 200);
	data[200] = '\0';
	snprintf(in, sizeof(in), "4 syslog 200 %s\n5 syslog 2 ok\n", data);
	snprintf(expected, sizeof(expected), "4 syslog %.64s~|4$5 syslog ok|", data);
	check(str_of(in), expected);
	snprintf(in, sizeof(in), "4 syslog 64 %.64s\n6 syslog 65 %.65s\n", data, data);
	snprintf(expected, sizeof(expected), "4 syslog %.64s|6 syslog %.64s~|6$", data, data);
	check(str_of(in), expected);
	snprintf(in, sizeof(in), "4 syslog 65 %.65s?", data);
	snprintf(expected, sizeof(expected), "4 syslog %.64s~|!a frame does not end with a newline",
	         data);
	check(str_of(in), expected);
}

Test(relp, what_is_no_relp_is_told)
{
	static const struct {
		const char *in, *why;
	} cases[] = {
		{"GET / HTTP/1.1\r\n", "a number is missing"},
		{"\n", "a number is missing"},
		{"<13>text\n", "a number is missing"},
		{"\x16\x03\x01", "a number is missing"},
		{" 1 open 0\n", "a number is missing"},
		{"1234567890 open 0\n", "a number of more than 9 digits"},
		{"1\nopen 0\n", "a space is missing in the header"},
		{"1  open 0\n", "a command is missing"},
		{"1 op3n 0\n", "a space is missing in the header"},
		{"1 abcdefghijklmnopqrstuvwxyzabcdefg 0\n", "a command of more than 32 letters"},
		{"1 open -1\n", "a number is missing"},
		{"1 open 0x\n", "a frame does not end with a newline"},
		{"1 open 0 \n", "a frame does not end with a newline"},
		{"1 open 2\nab\n", "a space is missing in the header"},
		{"1 open 2 abc\n", "a frame does not end with a newline"},
		{"1 syslog 16777217 x", "a frame of more than 16 MiB"},
		{"1 syslog 9999999999 x", "a number of more than 9 digits"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char in[200], expected[200];
		snprintf(expected, sizeof(expected), "!%s", cases[i].why);
		check(str_of(cases[i].in), expected);
		/* What stood before it is not lost with it. */
		snprintf(in, sizeof(in), "8 syslog 4 good\n%s", cases[i].in);
		snprintf(expected, sizeof(expected), "8 syslog good|!%s", cases[i].why);
		check(str_of(in), expected);
	}
}

Test(relp, the_bad_frame_is_still_there_to_be_shown)
{
	struct relp r;
	struct relp_frame f;
	size_t used;

	relp_init(&r, MAX);
	cr_assert_eq(relp_next(&r, STR("GET / HTTP/1.1\r\n"), &used, &f), RELP_LOST);
	cr_assert_eq(used, 0);
}
