#include "base/str.h"

#include <ctype.h>
#include <errno.h>

#include "base/mem.h"

#define DISTANCE_MAX 64 /* option and key names are far shorter; bounds the quadratic table */

/* strncasecmp() would stop at a NUL. */
bool bytes_ieq(const char *p, const char *q, size_t n)
{
	uint64_t x, y;
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		memcpy(&x, p + i, 8);
		memcpy(&y, q + i, 8);
		if (bytes_lower(x) != bytes_lower(y))
			return false;
	}
	return i == n || bytes_lower(str_word(str_make(p + i, n - i))) ==
	                         bytes_lower(str_word(str_make(q + i, n - i)));
}

struct str str_trim(struct str s)
{
	while (s.n && isspace((unsigned char)s.p[0]))
		s = str_skip(s, 1);
	while (s.n && isspace((unsigned char)s.p[s.n - 1]))
		s.n--;
	return s;
}

ptrdiff_t str_find(struct str s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
	return at ? at - s.p : -1;
}

/* Sixteen bytes at once, on whatever vectors the processor has. */
#define CHUNK 16
typedef signed char chunk __attribute__((vector_size(CHUNK)));

/* Longer needles are left to memmem, whose time is linear: the time here is length times needle at worst. */
#define SHORT_NEEDLE_MAX 64

/* The first place among the CHUNK from `i` on where the needle stands, or -1: looks for its first and last byte at their
 * distance, and compares where both are. */
static ptrdiff_t search_chunk(struct str s, size_t i, struct str needle)
{
	uint64_t hits[2];
	chunk a, b;

	memcpy(&a, s.p + i, CHUNK);
	memcpy(&b, s.p + i + needle.n - 1, CHUNK);
	a = (chunk)((a == (signed char)needle.p[0]) & (b == (signed char)needle.p[needle.n - 1]));
	memcpy(hits, &a, sizeof(hits));
	if (!(hits[0] | hits[1]))
		return -1;
	for (size_t j = i; j < i + CHUNK; j++)
		if (s.p[j] == needle.p[0] && bytes_equal(s.p + j, needle.p, needle.n))
			return (ptrdiff_t)j;
	return -1;
}

/* Needles have 2 bytes at least. */
static ptrdiff_t search_short(struct str s, struct str needle)
{
	size_t places = s.n - needle.n + 1;
	ptrdiff_t at = -1;

	if (places < CHUNK) {
		for (size_t i = 0; i < places; i++)
			if (s.p[i] == needle.p[0] && bytes_equal(s.p + i, needle.p, needle.n))
				return (ptrdiff_t)i;
		return -1;
	}
	for (size_t i = 0; at < 0 && i + CHUNK <= places; i += CHUNK)
		at = search_chunk(s, i, needle);
	/* The last ones once more, with those before them. */
	return at < 0 && places % CHUNK ? search_chunk(s, places - CHUNK, needle) : at;
}

ptrdiff_t str_search(struct str s, struct str needle)
{
	if (needle.n == 0)
		return 0;
	if (s.n < needle.n)
		return -1;
	if (needle.n == 1)
		return str_find(s, needle.p[0]);
	if (needle.n <= SHORT_NEEDLE_MAX)
		return search_short(s, needle);
	const char *at = memmem(s.p, s.n, needle.p, needle.n);
	return at ? at - s.p : -1;
}

struct str str_split(struct str *rest, char c)
{
	ptrdiff_t at = str_find(*rest, c);
	struct str head = *rest;

	if (at < 0) {
		*rest = STR_NONE;
		return head;
	}
	head.n = (size_t)at;
	*rest = str_skip(*rest, (size_t)at + 1);
	return head;
}

int str_to_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

int str_to_i64(struct str s, int64_t *ret)
{
	bool negative = s.n && s.p[0] == '-';
	uint64_t v;
	int r = str_to_u64(negative ? str_skip(s, 1) : s, &v);

	if (r < 0)
		return r;
	if (v > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	*ret = (int64_t)(negative ? 0 - v : v);
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

#define SECOND_NS 1000000000ULL

static const struct unit duration_units[] = {
	{"", SECOND_NS},
	{"ms", 1000000ULL},
	{"s", SECOND_NS},
	{"m", 60 * SECOND_NS},
	{"h", 3600 * SECOND_NS},
	{"d", 86400 * SECOND_NS},
	{"w", 7 * 86400 * SECOND_NS},
	{"M", 30 * 86400 * SECOND_NS},
	{"y", 365 * 86400 * SECOND_NS},
};

static const struct unit size_units[] = {
	{"", 1},           {"k", 1ULL << 10},   {"K", 1ULL << 10},   {"KiB", 1ULL << 10},
	{"m", 1ULL << 20}, {"M", 1ULL << 20},   {"MiB", 1ULL << 20}, {"g", 1ULL << 30},
	{"G", 1ULL << 30}, {"GiB", 1ULL << 30}, {"T", 1ULL << 40},   {"TiB", 1ULL << 40},
};

static int to_units(struct str s, const struct unit *units, size_t count, uint64_t *ret)
{
	size_t digits = 0;
	uint64_t v;

	while (digits < s.n && isdigit((unsigned char)s.p[digits]))
		digits++;
	int r = str_to_u64(str_head(s, digits), &v);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		if (!str_eq(str_skip(s, digits), str_of(units[i].name)))
			continue;
		if (__builtin_mul_overflow(v, units[i].factor, &v))
			return -ERANGE;
		*ret = v;
		return 0;
	}
	return -EINVAL;
}

int str_to_duration(struct str s, uint64_t *ret_ns)
{
	return to_units(s, duration_units, ARRAY_LEN(duration_units), ret_ns);
}

int str_to_size(struct str s, uint64_t *ret_bytes)
{
	return to_units(s, size_units, ARRAY_LEN(size_units), ret_bytes);
}

/* Three rows of the table of optimal string alignment: two before the current one, for the swap. */
size_t str_distance(struct str a, struct str b)
{
	size_t rows[3][DISTANCE_MAX + 1];
	size_t *before = rows[0], *last = rows[1], *row = rows[2];

	if (a.n > DISTANCE_MAX || b.n > DISTANCE_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t *spare = before;
		before = last;
		last = row;
		row = spare;
		row[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			size_t best = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);
			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] &&
			    a.p[i - 2] == b.p[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
		}
	}
	return row[b.n];
}
