#include "sigma/fold.h"

#include "base/mem.h"

/* Upper-case letters first…last, each `step` apart, and what is added to get the lower-case one. */
struct fold_range {
	uint16_t first, last;
	uint8_t step;
	int16_t delta;
};

static const struct fold_range ranges[] = {
	{0x00b5, 0x00b5, 1, 0x3bc - 0xb5}, /* micro sign → mu */
	{0x00c0, 0x00d6, 1, 32},
	{0x00d8, 0x00de, 1, 32},
	{0x0100, 0x012e, 2, 1},
	{0x0132, 0x0136, 2, 1},
	{0x0139, 0x0147, 2, 1},
	{0x014a, 0x0176, 2, 1},
	{0x0178, 0x0178, 1, 0xff - 0x178},
	{0x0179, 0x017d, 2, 1},
	{0x01cd, 0x01db, 2, 1},
	{0x01de, 0x01ee, 2, 1},
	{0x01f8, 0x021e, 2, 1},
	{0x0222, 0x0232, 2, 1},
	{0x0370, 0x0372, 2, 1},
	{0x0376, 0x0376, 1, 1},
	{0x0386, 0x0386, 1, 38},
	{0x0388, 0x038a, 1, 37},
	{0x038c, 0x038c, 1, 64},
	{0x038e, 0x038f, 1, 63},
	{0x0391, 0x03a1, 1, 32},
	{0x03a3, 0x03ab, 1, 32},
	{0x03c2, 0x03c2, 1, 1}, /* final sigma → sigma */
	{0x03d8, 0x03ee, 2, 1},
	{0x0400, 0x040f, 1, 80},
	{0x0410, 0x042f, 1, 32},
	{0x0460, 0x0480, 2, 1},
	{0x048a, 0x04be, 2, 1},
	{0x04c0, 0x04c0, 1, 15},
	{0x04c1, 0x04cd, 2, 1},
	{0x04d0, 0x052e, 2, 1},
	{0x0531, 0x0556, 1, 48},
};

static unsigned fold_code(unsigned code)
{
	size_t low = 0, high = ARRAY_LEN(ranges);

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct fold_range *r = &ranges[mid];
		if (code < r->first)
			high = mid;
		else if (code > r->last)
			low = mid + 1;
		else
			return (code - r->first) % r->step ? code
			                                   : (unsigned)((int)code + r->delta);
	}
	return code;
}

/* Sixteen bytes at once, on whatever vectors the processor has. */
typedef unsigned char chunk __attribute__((vector_size(16)));

/* Folds as many whole chunks from `from` on as are ASCII; returns where it stopped. */
static size_t fold_chunks(struct str in, char *out, size_t from)
{
	chunk c;

	for (; from + sizeof(c) <= in.n; from += sizeof(c)) {
		uint64_t high[2];
		memcpy(&c, in.p + from, sizeof(c));
		memcpy(high, &c, sizeof(high));
		if ((high[0] | high[1]) & 0x8080808080808080)
			break;
		c += (chunk)((c >= 'A') & (c <= 'Z')) & 32;
		memcpy(out + from, &c, sizeof(c));
	}
	return from;
}

void fold_text(struct str in, char *out)
{
	for (size_t i = fold_chunks(in, out, 0); i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		if (c < 0x80) {
			out[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
			continue;
		}
		out[i] = (char)c;
		if (c < 0xc2 || c > 0xdf || i + 1 == in.n)
			continue;
		unsigned char d = (unsigned char)in.p[i + 1];
		if ((d & 0xc0) != 0x80)
			continue;
		unsigned code = fold_code((c & 0x1fu) << 6 | (d & 0x3fu));
		out[i] = (char)(0xc0 | code >> 6);
		out[++i] = (char)(0x80 | (code & 0x3f));
	}
}
