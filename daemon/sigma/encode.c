#include "sigma/encode.h"

#include "base/utf8.h"

struct str encode_base64(struct arena *a, struct str in)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = arena_alloc(a, (in.n + 2) / 3 * 4 + 1);
	size_t n = 0;

	for (size_t i = 0; i < in.n; i += 3) {
		uint32_t group = 0;
		for (size_t j = 0; j < 3; j++)
			group = group << 8 | (i + j < in.n ? (unsigned char)in.p[i + j] : 0);
		for (unsigned j = 0; j < 4; j++)
			out[n++] = i + j <= in.n ? digits[group >> (18 - 6 * j) & 63] : '=';
	}
	return str_make(out, n);
}

struct str encode_base64_offset(struct arena *a, struct str in, unsigned offset)
{
	/* The first characters hold bits of the bytes before; the last one bits of the byte after. */
	static const size_t head[] = {0, 2, 3}, tail[] = {0, 3, 2};
	char *shifted = arena_alloc(a, in.n + 3);

	memset(shifted, ' ', offset);
	if (in.n)
		memcpy(shifted + offset, in.p, in.n);
	struct str all = encode_base64(a, str_make(shifted, in.n + offset));
	size_t cut = tail[(in.n + offset) % 3];
	return str_skip(str_head(all, all.n > cut ? all.n - cut : 0), head[offset]);
}

static uint32_t decode_utf8(struct str s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s.p;

	switch (n) {
	case 2: return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
	case 3: return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
	case 4:
		return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 |
		       (p[3] & 0x3fu);
	default: return p[0];
	}
}

static size_t put_unit(char *out, uint32_t unit, enum utf16_form form)
{
	out[form == UTF16_BE] = (char)(unit & 0xff);
	out[form != UTF16_BE] = (char)(unit >> 8);
	return 2;
}

struct str encode_utf16(struct arena *a, struct str in, enum utf16_form form)
{
	char *out = arena_alloc(a, 2 * in.n + 3);
	size_t n = form == UTF16_BOM ? put_unit(out, 0xfeff, form) : 0;

	while (in.n) {
		size_t used = utf8_sequence(in);
		uint32_t code = decode_utf8(in, used);
		if (code > 0xffff) {
			n += put_unit(out + n, 0xd800 + ((code - 0x10000) >> 10), form);
			code = 0xdc00 + ((code - 0x10000) & 0x3ff);
		}
		n += put_unit(out + n, code, form);
		in = str_skip(in, used ? used : 1);
	}
	return str_make(out, n);
}
