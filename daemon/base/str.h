/* A slice of bytes owned by somebody else: pointer and length, not terminated. Frames, fields and
 * patterns are slices of the buffer they came in. */
#ifndef ISOD_BASE_STR_H
#define ISOD_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
/* The same for the elements of static tables, which want constants. */
#define STR_INIT(literal)                                                                          \
	{                                                                                          \
		(literal), sizeof(literal) - 1                                                     \
	}
#define STR_NONE ((struct str){NULL, 0})
/* For printf("%.*s", STR_FMT(s)). */
#define STR_FMT(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_of(const char *s)
{
	return (struct str){s, s ? strlen(s) : 0};
}

static inline struct str str_make(const char *p, size_t n)
{
	return (struct str){p, n};
}

/* memcmp for equality, without a call where most names and values are compared: two words that may overlap. */
static inline bool bytes_equal(const char *p, const char *q, size_t n)
{
	uint64_t a, b, c, d;
	uint32_t e, f, g, h;

	if (n > 16)
		return memcmp(p, q, n) == 0;
	if (n >= 8) {
		memcpy(&a, p, 8);
		memcpy(&b, q, 8);
		memcpy(&c, p + n - 8, 8);
		memcpy(&d, q + n - 8, 8);
		return a == b && c == d;
	}
	if (n >= 4) {
		memcpy(&e, p, 4);
		memcpy(&f, q, 4);
		memcpy(&g, p + n - 4, 4);
		memcpy(&h, q + n - 4, 4);
		return e == f && g == h;
	}
	for (size_t i = 0; i < n; i++)
		if (p[i] != q[i])
			return false;
	return true;
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && bytes_equal(a.p, b.p, a.n);
}

static inline bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && bytes_equal(s.p, prefix.p, prefix.n);
}

static inline bool str_ends(struct str s, struct str suffix)
{
	/* Adding 0 to a null pointer is not defined in C. */
	return s.n >= suffix.n &&
	       (suffix.n == 0 || bytes_equal(s.p + s.n - suffix.n, suffix.p, suffix.n));
}

/* The rest of `s` after its first `n` bytes (all of it if shorter). */
static inline struct str str_skip(struct str s, size_t n)
{
	if (n > s.n)
		n = s.n;
	/* Adding 0 to a null pointer is not defined in C. */
	return (struct str){n ? s.p + n : s.p, s.n - n};
}

static inline struct str str_head(struct str s, size_t n)
{
	return (struct str){s.p, n < s.n ? n : s.n};
}

/* Eight bytes at once: letters A-Z become a-z, all others stay. */
static inline uint64_t bytes_lower(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101, seven = w & 0x7f * ones;
	uint64_t from_a = seven + (0x80 - 'A') * ones, past_z = seven + (0x7f - 'Z') * ones;

	return w | (~w & (from_a ^ past_z) & 0x80 * ones) >> 2;
}

/* Text of less than 8 bytes as a word, the first byte lowest, the rest 0. */
static inline uint64_t str_word(struct str s)
{
	uint64_t w = 0;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	uint32_t low = 0, high = 0;

	if (s.n >= 4) { /* they may overlap */
		memcpy(&low, s.p, 4);
		memcpy(&high, s.p + s.n - 4, 4);
		return low | (uint64_t)high << 8 * (s.n - 4);
	}
#endif
	for (size_t i = 0; i < s.n; i++)
		w |= (uint64_t)(unsigned char)s.p[i] << 8 * i;
	return w;
}

bool bytes_ieq(const char *p, const char *q, size_t n);

/* ASCII only: letters A-Z and a-z compare equal. */
static inline bool str_ieq(struct str a, struct str b)
{
	return a.n == b.n && bytes_ieq(a.p, b.p, a.n);
}
/* Without ASCII white space at both ends. */
struct str str_trim(struct str s);
/* Index of the first `c`, or -1. */
ptrdiff_t str_find(struct str s, char c);
/* Index of the first `needle`, or -1; an empty needle is found at 0. */
ptrdiff_t str_search(struct str s, struct str needle);
/* Cuts `*rest` at the first `c`: returns what stood before it and leaves what stands after it.
 * Without a `c` the whole is returned and `*rest` becomes STR_NONE (p == NULL). */
struct str str_split(struct str *rest, char c);

/* Decimal digits only, the whole slice. Return 0, -EINVAL or -ERANGE; *ret untouched on error. */
int str_to_u64(struct str s, uint64_t *ret);
int str_to_i64(struct str s, int64_t *ret);

/* "90s", "15m", "2h", "7d", "1w", "500ms", Sigma's "1M" (30 days) and "1y" (365 days); a bare number
 * is seconds. In nanoseconds. Return 0, -EINVAL or -ERANGE. */
int str_to_duration(struct str s, uint64_t *ret_ns);
/* "64k", "64KiB", "1M", "2GiB", bare bytes (powers of 1024). Return 0, -EINVAL or -ERANGE. */
int str_to_size(struct str s, uint64_t *ret_bytes);

/* Number of single-character edits between two short words, the swap of two neighbours counting as one
 * (optimal string alignment), for "did you mean".
 * Words longer than 64 bytes count as far apart (SIZE_MAX). */
size_t str_distance(struct str a, struct str b);

#endif
