#include "base/utf8.h"

#include <errno.h>

size_t utf8_sequence(struct str s)
{
	if (s.n == 0)
		return 0;
	const unsigned char *p = (const unsigned char *)s.p;
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		len = 2;
	} else if ((p[0] & 0xf0) == 0xe0) {
		len = 3;
		low = p[0] == 0xe0 ? 0xa0 : low;   /* overlong */
		high = p[0] == 0xed ? 0x9f : high; /* surrogates */
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		len = 4;
		low = p[0] == 0xf0 ? 0x90 : low;
		high = p[0] == 0xf4 ? 0x8f : high; /* past U+10FFFF */
	} else {
		return 0;
	}
	if (s.n < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* Bytes from the start that are plain ASCII and not NUL. */
static size_t ascii_run(struct str s)
{
	size_t i = 0;
	uint64_t word;

	for (; i + 8 <= s.n; i += 8) {
		memcpy(&word, s.p + i, 8);
		uint64_t zero = (word - 0x0101010101010101ULL) & ~word;
		if ((word | zero) & 0x8080808080808080ULL)
			break;
	}
	while (i < s.n && (unsigned char)(s.p[i] - 1) < 0x7f)
		i++;
	return i;
}

bool utf8_valid(struct str s)
{
	while (s.n) {
		size_t n = ascii_run(s);
		if (n == 0)
			n = utf8_sequence(s);
		if (n == 0)
			return false;
		s = str_skip(s, n);
	}
	return true;
}

int utf8_repair(struct buf *out, struct str s)
{
	while (s.n) {
		size_t n = ascii_run(s);
		int r;
		if (n == 0 && s.p[0] != '\0')
			n = utf8_sequence(s);
		if (n) {
			r = buf_append(out, s.p, n);
		} else {
			r = buf_append(out, "\xef\xbf\xbd", 3);
			n = 1;
		}
		if (r < 0)
			return r;
		s = str_skip(s, n);
	}
	return 0;
}

struct str utf8_cut(struct str s, size_t max)
{
	if (s.n <= max)
		return s;
	size_t n = max;
	while (n > 0 && max - n < 4 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
		n--;
	return str_head(s, n);
}

int utf8_encode(struct buf *out, uint32_t code)
{
	char b[4];
	size_t n;

	if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return -EINVAL;
	if (code < 0x80) {
		b[0] = (char)code;
		n = 1;
	} else if (code < 0x800) {
		b[0] = (char)(0xc0 | code >> 6);
		n = 2;
	} else if (code < 0x10000) {
		b[0] = (char)(0xe0 | code >> 12);
		n = 3;
	} else {
		b[0] = (char)(0xf0 | code >> 18);
		n = 4;
	}
	for (size_t i = 1; i < n; i++)
		b[i] = (char)(0x80 | ((code >> (6 * (n - 1 - i))) & 0x3f));
	return buf_append(out, b, n);
}
