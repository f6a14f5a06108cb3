#include "sigma/values.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define NUMBER_TEXT_MAX                                                                            \
	64 /* a double needs 24 characters; longer ones are no numbers that anyone compares */

/* ---- numbers ---- */

static int parse_hex(struct str digits, bool negative, struct number *ret)
{
	uint64_t v = 0;

	if (digits.n == 0 || digits.n > 16)
		return -EINVAL;
	for (size_t i = 0; i < digits.n; i++) {
		int c = tolower((unsigned char)digits.p[i]);
		if (!isxdigit(c))
			return -EINVAL;
		v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	if (v > INT64_MAX)
		*ret = (struct number){.real = true, .d = negative ? -(double)v : (double)v};
	else
		*ret = (struct number){.i = negative ? -(int64_t)v : (int64_t)v};
	return 0;
}

/* strtod takes more than we want (inf, nan, hex floats, leading space): the characters are checked before. */
static int parse_real(struct str text, struct number *ret)
{
	char copy[NUMBER_TEXT_MAX + 1], *end;
	bool digit = false;

	if (text.n > NUMBER_TEXT_MAX)
		return -EINVAL;
	for (size_t i = 0; i < text.n; i++) {
		if (!text.p[i] || !strchr("0123456789+-.eE", text.p[i]))
			return -EINVAL;
		digit |= isdigit((unsigned char)text.p[i]) != 0;
		copy[i] = text.p[i];
	}
	copy[text.n] = '\0';
	double d = strtod(copy, &end);
	if (!digit || *end || !isfinite(d))
		return -EINVAL;
	*ret = (struct number){.real = true, .d = d};
	return 0;
}

int number_parse(struct str text, struct number *ret)
{
	bool sign = text.n && (text.p[0] == '-' || text.p[0] == '+');
	struct str digits = str_skip(text, sign);
	int64_t i;

	if (digits.n == 0 || !(isdigit((unsigned char)digits.p[0]) || digits.p[0] == '.'))
		return -EINVAL;
	if (digits.n > 2 && digits.p[0] == '0' && (digits.p[1] | 32) == 'x')
		return parse_hex(str_skip(digits, 2), sign && text.p[0] == '-', ret);
	if (str_to_i64(digits, &i) == 0) {
		*ret = (struct number){.i = sign && text.p[0] == '-' ? -i : i};
		return 0;
	}
	return parse_real(text, ret);
}

int number_compare(const struct number *a, const struct number *b)
{
	if (!a->real && !b->real)
		return (a->i > b->i) - (a->i < b->i);
	double x = a->real ? a->d : (double)a->i, y = b->real ? b->d : (double)b->i;
	return (x > y) - (x < y);
}

/* ---- networks ---- */

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* *ret_v4: it was written as IPv4. */
static int parse_address(struct str text, uint8_t out[static 16], bool *ret_v4)
{
	char copy[INET6_ADDRSTRLEN + 1];
	ptrdiff_t zone = str_find(text, '%');

	if (zone >= 0)
		text.n = (size_t)zone;
	if (text.n == 0 || text.n >= sizeof(copy) || memchr(text.p, '\0', text.n))
		return -EINVAL;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	*ret_v4 = inet_pton(AF_INET, copy, out + 12) == 1;
	if (*ret_v4)
		memcpy(out, mapped, sizeof(mapped));
	else if (inet_pton(AF_INET6, copy, out) != 1)
		return -EINVAL;
	return 0;
}

/* The bits of byte `byte` of an address that belong to the first `prefix` bits. */
static unsigned prefix_mask(unsigned prefix, unsigned byte)
{
	if (prefix >= 8 * (byte + 1))
		return 0xff;
	return prefix <= 8 * byte ? 0 : 0xff00u >> prefix % 8 & 0xff;
}

int network_parse(struct str text, struct network *ret, bool *ret_stray)
{
	struct str rest = text, address = str_split(&rest, '/');
	struct network n;
	uint64_t prefix;
	bool v4, stray = false;

	if (str_find(address, '%') >= 0 || parse_address(address, n.address, &v4) < 0)
		return -EINVAL;
	prefix = v4 ? 32 : 128;
	if (rest.p && (str_to_u64(rest, &prefix) < 0 || prefix > (v4 ? 32 : 128)))
		return -EINVAL;
	n.prefix = (uint8_t)(prefix + (v4 ? 96 : 0));
	for (unsigned i = 0; i < 16; i++) {
		stray |= (n.address[i] & ~prefix_mask(n.prefix, i)) != 0;
		n.address[i] = (uint8_t)(n.address[i] & prefix_mask(n.prefix, i));
	}
	*ret = n;
	*ret_stray = stray;
	return 0;
}

bool network_contains(const struct network *n, struct str text)
{
	uint8_t address[16];
	bool v4;

	/* Most texts that are no address are seen to be none by their first character. */
	if (text.n < 2 || !(isxdigit((unsigned char)text.p[0]) || text.p[0] == ':'))
		return false;
	if (parse_address(text, address, &v4) < 0 || (v4 && n->prefix < 96))
		return false;
	for (unsigned i = 0; i < 16; i++)
		if ((address[i] & prefix_mask(n->prefix, i)) != n->address[i])
			return false;
	return true;
}

bool address_parse(struct str text, struct network *ret)
{
	struct network n = {.prefix = 128};
	bool v4;

	if (text.n < 2 || !(isxdigit((unsigned char)text.p[0]) || text.p[0] == ':') ||
	    parse_address(text, n.address, &v4) < 0)
		return false;
	*ret = n;
	return true;
}

void network_widen(struct network *n, uint8_t prefix)
{
	n->prefix = prefix;
	for (unsigned i = 0; i < 16; i++)
		n->address[i] = (uint8_t)(n->address[i] & prefix_mask(prefix, i));
}

/* ---- parts of a date ---- */

static int digits_at(struct str text, size_t at, size_t count)
{
	int v = 0;

	if (text.n < at + count)
		return -EINVAL;
	for (size_t i = at; i < at + count; i++) {
		if (!isdigit((unsigned char)text.p[i]))
			return -EINVAL;
		v = v * 10 + (text.p[i] - '0');
	}
	return v;
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int day_of_year(int year, int month, int day)
{
	static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};

	return before[month - 1] + day + (month > 2 && is_leap(year));
}

/* Monday is 1 (Sakamoto's method). */
static int weekday(int year, int month, int day)
{
	static const int offset[] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
	int y = month < 3 ? year - 1 : year;
	int sunday0 = (y + y / 4 - y / 100 + y / 400 + offset[month - 1] + day) % 7;

	return sunday0 ? sunday0 : 7;
}

static int weeks_in(int year)
{
	int first = weekday(year, 1, 1);

	return first == 4 || (first == 3 && is_leap(year)) ? 53 : 52;
}

static int iso_week(int year, int month, int day)
{
	int week = (day_of_year(year, month, day) - weekday(year, month, day) + 10) / 7;

	if (week < 1)
		return weeks_in(year - 1);
	return week > weeks_in(year) ? 1 : week;
}

int time_part_of(struct str text, enum time_part part, int64_t *ret)
{
	int year = digits_at(text, 0, 4), month = digits_at(text, 5, 2),
	    day = digits_at(text, 8, 2);

	if (year < 1 || month < 1 || month > 12 || day < 1 || day > 31 || text.p[4] != '-' ||
	    text.p[7] != '-')
		return -EINVAL;
	switch (part) {
	case TIME_YEAR: *ret = year; return 0;
	case TIME_MONTH: *ret = month; return 0;
	case TIME_WEEK: *ret = iso_week(year, month, day); return 0;
	case TIME_DAY: *ret = day; return 0;
	case TIME_NONE:
	case TIME_HOUR:
	case TIME_MINUTE: break;
	}
	int hour = digits_at(text, 11, 2), minute = digits_at(text, 14, 2);
	if (part == TIME_NONE || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
	    !(text.p[10] == 'T' || text.p[10] == 't' || text.p[10] == ' ') || text.p[13] != ':')
		return -EINVAL;
	*ret = part == TIME_HOUR ? hour : minute;
	return 0;
}
