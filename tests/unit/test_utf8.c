/* UTF-8 against a naive decoder that decodes and then asks whether the code point was allowed and the form the shortest. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"

static size_t naive_sequence(struct str s)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *p = (const unsigned char *)s.p;
	uint32_t code;
	size_t n;

	if (s.n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc0 && p[0] < 0xe0)
		n = 2, code = p[0] & 0x1f;
	else if (p[0] >= 0xe0 && p[0] < 0xf0)
		n = 3, code = p[0] & 0x0f;
	else if (p[0] >= 0xf0 && p[0] < 0xf8)
		n = 4, code = p[0] & 0x07;
	else
		return 0;
	if (s.n < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return n;
}

static bool naive_valid(struct str s)
{
	while (s.n) {
		size_t n = naive_sequence(s);
		if (n == 0)
			return false;
		s = str_skip(s, n);
	}
	return true;
}

static void naive_repair(struct buf *out, struct str s)
{
	while (s.n) {
		size_t n = naive_sequence(s);
		if (n == 0 || s.p[0] == '\0') {
			buf_add(out, STR("\xef\xbf\xbd"));
			n = 1;
		} else {
			buf_append(out, s.p, n);
		}
		s = str_skip(s, n);
	}
}

Test(utf8, all_sequences_of_two_bytes)
{
	for (unsigned a = 0; a < 256; a++)
		for (unsigned b = 0; b < 256; b++) {
			char c[] = {(char)a, (char)b};
			struct str s = str_make(c, 2);
			cr_assert_eq(utf8_sequence(s), naive_sequence(s), "%02x %02x", a, b);
			cr_assert_eq(utf8_valid(s), naive_valid(s), "%02x %02x", a, b);
		}
}

Test(utf8, every_code_point_is_taken_and_given_back)
{
	struct buf b;

	buf_init(&b, 0);
	for (uint32_t code = 0; code < 0x110400; code++) {
		bool good = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
		buf_reset(&b);
		cr_assert_eq(utf8_encode(&b, code), good ? 0 : -EINVAL, "%x", code);
		cr_assert_eq(utf8_sequence(buf_str(&b)), b.n);
		cr_assert_eq(naive_sequence(buf_str(&b)), b.n);
	}
	cr_assert_eq(utf8_encode(&b, UINT32_MAX), -EINVAL);
	buf_release(&b);
}

Test(utf8, random_bytes_agree_with_the_naive_decoder)
{
	/* Bytes that begin, go on and break sequences, more often than chance would give them. */
	static const unsigned char likely[] = {0x00, 'a',  0x7f, 0x80, 0xbf, 0xc0, 0xc2, 0xdf,
	                                       0xe0, 0xa0, 0x9f, 0xed, 0xef, 0xf0, 0x90, 0x8f,
	                                       0xf4, 0xf5, 0xff, 'z',  'y',  'x',  'w',  'v'};
	unsigned random = 12345;
	struct buf fast, slow;

	buf_init(&fast, 0);
	buf_init(&slow, 0);
	for (size_t round = 0; round < 100000; round++) {
		size_t n = round % 40;
		char *text = xmalloc(n); /* exactly as long: a read past it would be seen */
		for (size_t i = 0; i < n; i++) {
			random = random * 1103515245u + 12345u;
			text[i] = (char)((random >> 30) == 0
			                         ? random >> 16
			                         : likely[(random >> 16) % sizeof(likely)]);
		}
		struct str s = str_make(text, n);
		cr_assert_eq(utf8_valid(s), naive_valid(s));
		buf_reset(&fast);
		buf_reset(&slow);
		cr_assert_eq(utf8_repair(&fast, s), 0);
		naive_repair(&slow, s);
		cr_assert(str_eq(buf_str(&fast), buf_str(&slow)));
		cr_assert(utf8_valid(buf_str(&fast)));
		for (size_t max = 0; max < n; max++) {
			struct str cut = utf8_cut(s, max);
			cr_assert_leq(cut.n, max);
			cr_assert_geq(cut.n + 4, max);
			if (utf8_valid(s))
				cr_assert(utf8_valid(cut));
		}
		free(text);
	}
	buf_release(&fast);
	buf_release(&slow);
}

Test(utf8, repair_keeps_what_is_good)
{
	struct buf b;

	buf_init(&b, 0);
	cr_assert_eq(utf8_repair(&b, STR("gr\xc3\xbc\xc3\x9f\x65 \xff \0 \xe2\x82")), 0);
	cr_assert(str_eq(buf_str(&b), STR("gr\xc3\xbc\xc3\x9f\x65 \xef\xbf\xbd \xef\xbf\xbd "
	                                  "\xef\xbf\xbd\xef\xbf\xbd")));
	buf_release(&b);
	buf_init(&b, 4);
	cr_assert_eq(utf8_repair(&b, STR("ab\xff\xff")), -ENOBUFS);
	cr_assert(str_eq(buf_str(&b), STR("ab")), "what fitted was added");
	buf_release(&b);
}

Test(utf8, cut_never_parts_a_sequence)
{
	struct str s = STR("a\xe2\x82\xac\xf0\x9f\x98\x80");

	cr_assert_eq(utf8_cut(s, 99).n, 8);
	cr_assert_eq(utf8_cut(s, 8).n, 8);
	cr_assert_eq(utf8_cut(s, 7).n, 4);
	cr_assert_eq(utf8_cut(s, 5).n, 4);
	cr_assert_eq(utf8_cut(s, 4).n, 4);
	cr_assert_eq(utf8_cut(s, 3).n, 1);
	cr_assert_eq(utf8_cut(s, 1).n, 1);
	cr_assert_eq(utf8_cut(s, 0).n, 0);
	cr_assert_eq(utf8_cut(STR_NONE, 0).n, 0);
}
