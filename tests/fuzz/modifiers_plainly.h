/* What a Sigma item means (specification 2.1.0, appendix on modifiers), said a second time, plainly and slowly, for
 * fuzz_modifier.c to compare with. Shared with the daemon are only the folding of letters and the table of dashes. What
 * has no second reading here (regular expressions are PCRE2's; numbers that a double cannot tell apart; `?` on what is
 * no UTF-8) is PLAINLY_UNKNOWN. */
#ifndef FUZZ_MODIFIERS_PLAINLY_H
#define FUZZ_MODIFIERS_PLAINLY_H

#include <arpa/inet.h>
#include <ctype.h>
#include <iconv.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "event/event.h"
#include "sigma/fold.h"
#include "sigma/pattern.h"

enum plainly { PLAINLY_NO, PLAINLY_YES, PLAINLY_UNKNOWN };

#define PLAIN_CHAIN_MAX  8
#define PLAIN_VALUES_MAX 8
#define PLAIN_TEXT_MAX   400 /* symbols of a value, bytes of an event's: past it PLAINLY_UNKNOWN */

/* An item as it is written. */
struct plain_item {
	struct str field; /* n == 0: keywords */
	const char *chain[PLAIN_CHAIN_MAX];
	size_t chain_count;
	struct {
		struct str text;
		bool quoted, null;
	} values[PLAIN_VALUES_MAX];
	size_t value_count;
};

static bool plain_has(const struct plain_item *item, const char *modifier)
{
	for (size_t i = 0; i < item->chain_count; i++)
		if (strcmp(item->chain[i], modifier) == 0)
			return true;
	return false;
}

/* ---- texts: symbols, each a byte or one of these ---- */

enum { PLAIN_ANY = 256, PLAIN_ONE, PLAIN_DASH };

struct symbols {
	uint16_t *items; /* in an arena */
	size_t count;
};

static struct symbols plain_symbols(struct arena *a, size_t room)
{
	return (struct symbols){arena_alloc(a, (room + 1) * sizeof(uint16_t)), 0};
}

static void plain_add(struct symbols *s, uint16_t symbol)
{
	s->items[s->count++] = symbol;
}

static void plain_add_text(struct symbols *s, struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		plain_add(s, (unsigned char)text.p[i]);
}

static struct symbols plain_parse(struct arena *a, struct str text)
{
	struct symbols s = plain_symbols(a, text.n);

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i], d = i + 1 < text.n ? text.p[i + 1] : 'x';
		if (c == '\\' && (d == '*' || d == '?' || d == '\\'))
			plain_add(&s, (unsigned char)text.p[++i]);
		else
			plain_add(&s, c == '*'   ? PLAIN_ANY
			              : c == '?' ? PLAIN_ONE
			                         : (unsigned char)c);
	}
	return s;
}

/* Which dash stands at symbol `at`, or -1. */
static int plain_dash_at(const struct symbols *s, size_t at)
{
	for (size_t d = 0; d < DASH_COUNT; d++) {
		size_t n = 0;
		while (n < dash_forms[d].n && at + n < s->count &&
		       s->items[at + n] == (unsigned char)dash_forms[d].p[n])
			n++;
		if (n == dash_forms[d].n)
			return (int)d;
	}
	return -1;
}

static struct symbols plain_windash(struct arena *a, struct symbols in)
{
	struct symbols s = plain_symbols(a, in.count);

	for (size_t i = 0; i < in.count; i++) {
		int dash = plain_dash_at(&in, i);
		plain_add(&s, dash < 0 ? in.items[i] : PLAIN_DASH);
		if (dash >= 0)
			i += dash_forms[dash].n - 1;
	}
	return s;
}

/* ---- encodings ---- */

/* There must be nothing but bytes in it: a wildcard cannot be encoded. */
static struct str plain_bytes(struct arena *a, const struct symbols *s)
{
	char *p = arena_alloc(a, s->count + 1);

	for (size_t i = 0; i < s->count; i++) {
		if (s->items[i] > 255)
			abort();
		p[i] = (char)s->items[i];
	}
	return str_make(p, s->count);
}

static struct symbols plain_utf16(struct arena *a, struct str in, const char *name)
{
	static iconv_t little, big;
	struct symbols s = plain_symbols(a, 2 * in.n + 2);
	size_t room = 2 * in.n + 2, left = in.n;
	char *out = arena_alloc(a, room), *to = out, *from = (char *)(uintptr_t)in.p;

	if (!little) {
		little = iconv_open("UTF-16LE", "UTF-8");
		big = iconv_open("UTF-16BE", "UTF-8");
	}
	if (strcmp(name, "utf16") == 0)
		plain_add_text(&s, STR("\xff\xfe"));
	if (in.n && iconv(strcmp(name, "utf16be") == 0 ? big : little, &from, &left, &to, &room) ==
	                    (size_t)-1)
		abort();
	plain_add_text(&s, str_make(out, (size_t)(to - out)));
	return s;
}

/* With an offset of -1 the code of the text by itself; else those of its characters that are the same whatever stands
 * before (`offset` bytes) and behind it. */
static struct symbols plain_base64(struct arena *a, struct str in, int offset)
{
	size_t shift = offset > 0 ? (size_t)offset : 0, bytes = in.n + shift;
	unsigned char *text = arena_alloc(a, bytes + 1), *code = arena_alloc(a, bytes / 3 * 4 + 6);
	struct symbols s = plain_symbols(a, bytes / 3 * 4 + 6);

	memset(text, 0, shift);
	if (in.n)
		memcpy(text + shift, in.p, in.n);
	size_t n = (size_t)EVP_EncodeBlock(code, text, (int)bytes);
	for (size_t i = 0; i < n; i++)
		if (offset < 0 || (6 * i >= 8 * shift && 6 * (i + 1) <= 8 * bytes))
			plain_add(&s, code[i]);
	return s;
}

/* ---- the steps of a chain: each makes another list of texts ---- */

struct texts {
	struct symbols items[1024];
	size_t count;
};

static bool plain_is_encoding(const char *m)
{
	return strncmp(m, "utf16", 5) == 0 || strncmp(m, "base64", 6) == 0 ||
	       strcmp(m, "wide") == 0;
}

/* Every dash written out in all its forms. False if there are too many. */
static bool plain_write_dashes(struct arena *a, struct texts *t)
{
	for (size_t i = 0; i < t->count; i++) {
		struct symbols s = t->items[i];
		size_t at = 0;
		while (at < s.count && s.items[at] != PLAIN_DASH)
			at++;
		if (at == s.count)
			continue;
		if (t->count + DASH_COUNT > ARRAY_LEN(t->items))
			return false;
		for (size_t d = 0; d < DASH_COUNT; d++) {
			struct symbols one = plain_symbols(a, s.count + 3);
			memcpy(one.items, s.items, at * sizeof(*one.items));
			one.count = at;
			plain_add_text(&one, dash_forms[d]);
			for (size_t j = at + 1; j < s.count; j++)
				plain_add(&one, s.items[j]);
			t->items[d ? t->count++ : i] = one;
		}
		i--; /* the first form may have more of them */
	}
	return true;
}

static void plain_encode(struct arena *a, struct texts *t, const char *m)
{
	size_t count = t->count;

	for (size_t i = 0; i < count; i++) {
		struct str bytes = plain_bytes(a, &t->items[i]);
		if (strncmp(m, "base64", 6) != 0) {
			t->items[i] = plain_utf16(a, bytes, m);
			continue;
		}
		bool offset = m[6] != '\0';
		t->items[i] = plain_base64(a, bytes, offset ? 0 : -1);
		if (offset) {
			t->items[t->count++] = plain_base64(a, bytes, 1);
			t->items[t->count++] = plain_base64(a, bytes, 2);
		}
	}
}

static void plain_wrap(struct arena *a, struct texts *t, bool before, bool after)
{
	for (size_t i = 0; i < t->count; i++) {
		struct symbols from = t->items[i], s = plain_symbols(a, from.count + 2);
		if (before)
			plain_add(&s, PLAIN_ANY);
		memcpy(s.items + s.count, from.items, from.count * sizeof(*s.items));
		s.count += from.count;
		if (after)
			plain_add(&s, PLAIN_ANY);
		t->items[i] = s;
	}
}

static bool plain_affix(const struct plain_item *item)
{
	return plain_has(item, "contains") || plain_has(item, "startswith") ||
	       plain_has(item, "endswith");
}

/* The texts that a value stands for. False if there are too many. */
static bool plain_texts(struct arena *a, const struct plain_item *item, struct str value,
                        struct texts *t)
{
	t->items[0] = plain_parse(a, value);
	t->count = 1;
	for (size_t i = 0; i < item->chain_count; i++) {
		const char *m = item->chain[i];
		if (strcmp(m, "windash") == 0)
			for (size_t j = 0; j < t->count; j++)
				t->items[j] = plain_windash(a, t->items[j]);
		if (plain_is_encoding(m)) {
			if (!plain_write_dashes(a, t) || t->count * 3 > ARRAY_LEN(t->items))
				return false;
			plain_encode(a, t, m);
		}
		if (strcmp(m, "contains") == 0)
			plain_wrap(a, t, true, true);
		if (strcmp(m, "startswith") == 0)
			plain_wrap(a, t, false, true);
		if (strcmp(m, "endswith") == 0)
			plain_wrap(a, t, true, false);
	}
	if (item->field.n == 0 && !plain_affix(item))
		plain_wrap(a, t, true, true);
	return true;
}

/* ---- does a text fit? ---- */

/* Runs of bytes between other symbols are folded, each by itself. */
static void plain_fold(struct arena *a, struct symbols *s)
{
	for (size_t i = 0; i < s->count; i++) {
		size_t n = 0;
		char *bytes = arena_alloc(a, s->count), *folded = arena_alloc(a, s->count);
		while (i + n < s->count && s->items[i + n] < 256) {
			bytes[n] = (char)s->items[i + n];
			n++;
		}
		fold_text(str_make(bytes, n), folded);
		for (size_t j = 0; j < n; j++)
			s->items[i + j] = (unsigned char)folded[j];
		i += n;
	}
}

/* holds[j]: the symbols so far fit the first j bytes. Over characters a `*` ends only between them. */
static void plain_step(bool *holds, uint16_t symbol, struct str value, bool characters)
{
	bool next[PLAIN_TEXT_MAX + 1];

	memset(next, 0, value.n + 1);
	for (size_t j = 0; j <= value.n; j++) {
		struct str rest = str_skip(value, j);
		if (!holds[j])
			continue;
		if (symbol == PLAIN_ANY)
			for (size_t k = j; k <= value.n; k++)
				next[k] |= !characters || k == value.n ||
				           ((unsigned char)value.p[k] & 0xc0) != 0x80;
		else if (symbol == PLAIN_ONE && rest.n)
			next[j + utf8_sequence(rest)] = true;
		else if (symbol == PLAIN_DASH) {
			for (size_t d = 0; d < DASH_COUNT; d++)
				if (str_starts(rest, dash_forms[d]))
					next[j + dash_forms[d].n] = true;
		} else if (rest.n && (unsigned char)rest.p[0] == symbol)
			next[j + 1] = true;
	}
	memcpy(holds, next, value.n + 1);
}

static enum plainly plain_text_fits(struct arena *a, struct symbols s, struct str value, bool cased)
{
	bool holds[PLAIN_TEXT_MAX + 1] = {true}, characters = false;
	struct str pieces;

	if (s.count > PLAIN_TEXT_MAX || value.n > PLAIN_TEXT_MAX)
		return PLAINLY_UNKNOWN;
	for (size_t i = 0; i < s.count; i++)
		characters |= s.items[i] == PLAIN_ONE;
	if (!cased) {
		char *folded = arena_alloc(a, value.n);
		fold_text(value, folded);
		value = str_make(folded, value.n);
		plain_fold(a, &s);
	}
	if (characters) {
		char *bytes = arena_alloc(a, s.count);
		for (size_t i = 0; i < s.count; i++)
			bytes[i] = (char)(s.items[i] < 256 ? s.items[i] : ' ');
		pieces = str_make(bytes, s.count);
		if (!utf8_valid(pieces) || !utf8_valid(value))
			return PLAINLY_UNKNOWN;
	}
	for (size_t i = 0; i < s.count; i++)
		plain_step(holds, s.items[i], value, characters);
	return holds[value.n] ? PLAINLY_YES : PLAINLY_NO;
}

/* ---- numbers, dates, networks ---- */

static size_t plain_digits(const char *p)
{
	return strspn(p, "0123456789");
}

/* PLAINLY_UNKNOWN: it is a number, or may be one, that a double does not tell from its neighbours. */
static enum plainly plain_number(struct str text, double *ret)
{
	char copy[64], *p = copy, *end;

	if (text.n >= sizeof(copy))
		return PLAINLY_UNKNOWN;
	if (text.n == 0 || memchr(text.p, '\0', text.n))
		return PLAINLY_NO;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	p += *p == '-' || *p == '+';
	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		size_t n = strspn(p + 2, "0123456789abcdefABCDEF");
		if (n == 0 || n > 16 || p[2 + n])
			return PLAINLY_NO;
	} else {
		size_t whole = plain_digits(p), part = 0;
		p += whole;
		if (*p == '.') {
			part = plain_digits(++p);
			p += part;
		}
		if (whole + part == 0)
			return PLAINLY_NO;
		if (*p == 'e' || *p == 'E') {
			p += p[1] == '-' || p[1] == '+' ? 2 : 1;
			size_t n = plain_digits(p);
			if (n == 0)
				return PLAINLY_NO;
			p += n;
		}
		if (*p)
			return PLAINLY_NO;
	}
	*ret = strtod(copy, &end);
	if (!isfinite(*ret))
		return PLAINLY_NO;
	return fabs(*ret) < 9e15 ? PLAINLY_YES : PLAINLY_UNKNOWN;
}

static int plain_digit_pair(struct str text, size_t at)
{
	return (text.p[at] - '0') * 10 + text.p[at + 1] - '0';
}

/* Does `text` look like `shape`, in which 0 is any digit? */
static bool plain_shape(struct str text, const char *shape)
{
	size_t n = strlen(shape);

	if (text.n < n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (shape[i] == '0' ? !isdigit((unsigned char)text.p[i]) : text.p[i] != shape[i])
			return false;
	return true;
}

static enum plainly plain_date(struct str text, const char *part, double *ret)
{
	struct tm tm = {0}, same;
	char week[8];

	if (!plain_shape(text, "0000-00-00"))
		return PLAINLY_NO;
	int year = plain_digit_pair(text, 0) * 100 + plain_digit_pair(text, 2);
	tm.tm_year = year - 1900;
	tm.tm_mon = plain_digit_pair(text, 5) - 1;
	tm.tm_mday = plain_digit_pair(text, 8);
	if (year == 0 || tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 || tm.tm_mday > 31)
		return PLAINLY_NO;
	same = tm;
	if (timegm(&same) == -1 || same.tm_mday != tm.tm_mday)
		return PLAINLY_UNKNOWN; /* 31 February */
	strftime(week, sizeof(week), "%V", &same);
	if (strcmp(part, "hour") == 0 || strcmp(part, "minute") == 0) {
		struct str time = str_skip(text, 10);
		if (!plain_shape(time, "T00:00") && !plain_shape(time, "t00:00") &&
		    !plain_shape(time, " 00:00"))
			return PLAINLY_NO;
		int hour = plain_digit_pair(time, 1), minute = plain_digit_pair(time, 4);
		if (hour > 23 || minute > 59)
			return PLAINLY_NO;
		*ret = part[0] == 'h' ? hour : minute;
		return PLAINLY_YES;
	}
	*ret = strcmp(part, "year") == 0    ? year
	       : strcmp(part, "month") == 0 ? tm.tm_mon + 1
	       : strcmp(part, "week") == 0  ? atoi(week)
	                                    : tm.tm_mday;
	return PLAINLY_YES;
}

/* The bits of an address, one a byte. 4, 6 or 0: none. */
static int plain_address(struct str text, unsigned char bits[128])
{
	unsigned char raw[16];
	char copy[64];

	if (text.n == 0 || text.n >= sizeof(copy) || memchr(text.p, '\0', text.n))
		return 0;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	int family = strchr(copy, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, copy, raw) != 1)
		return 0;
	for (size_t i = 0; i < (family == AF_INET ? 32 : 128); i++)
		bits[i] = raw[i / 8] >> (7 - i % 8) & 1;
	return family == AF_INET ? 4 : 6;
}

/* An address that is IPv4 in IPv6's clothes is undressed. */
static int plain_undress(int version, unsigned char bits[128])
{
	for (size_t i = 0; i < 96; i++)
		if (version != 6 || bits[i] != (i >= 80))
			return version;
	memmove(bits, bits + 96, 32);
	return 4;
}

static enum plainly plain_in_network(struct str network, struct str value)
{
	unsigned char a[128], b[128];
	struct str rest = network, base = str_split(&rest, '/');
	ptrdiff_t zone = str_find(value, '%');
	int version = plain_address(base, a);
	int other = plain_address(zone < 0 ? value : str_head(value, (size_t)zone), b);
	size_t bits = version == 4 ? 32 : 128;

	if (!version)
		abort(); /* such a rule must not load */
	if (rest.p) {
		bits = 0;
		for (size_t i = 0; i < rest.n; i++)
			bits = bits * 10 + (size_t)(rest.p[i] - '0');
	}
	if (!other)
		return PLAINLY_NO;
	if (version == 6 && bits >= 96) {
		version = plain_undress(version, a);
		bits -= version == 4 ? 96 : 0;
	}
	if (version == 4)
		other = plain_undress(other, b);
	if (version != other)
		return PLAINLY_NO;
	return memcmp(a, b, bits) == 0 ? PLAINLY_YES : PLAINLY_NO;
}

/* ---- does a value fit? ---- */

static enum plainly plain_operand(const struct plain_item *item, struct str value, double *ret)
{
	static const char *const parts[] = {"minute", "hour", "day", "week", "month", "year"};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (plain_has(item, parts[i]))
			return plain_date(value, parts[i], ret);
	return plain_number(value, ret);
}

static enum plainly plain_compare(const struct plain_item *item, struct str wanted,
                                  struct str value)
{
	double x, y;
	enum plainly a = plain_operand(item, value, &x), b = plain_number(wanted, &y);

	if (b == PLAINLY_NO)
		abort(); /* such a rule must not load */
	if (a != PLAINLY_YES || b != PLAINLY_YES)
		return a == PLAINLY_NO ? a : PLAINLY_UNKNOWN;
	if (plain_has(item, "lt"))
		return x < y;
	if (plain_has(item, "lte"))
		return x <= y;
	if (plain_has(item, "gt"))
		return x > y;
	if (plain_has(item, "gte"))
		return x >= y;
	return !(x < y) && !(x > y);
}

static bool plain_same_part(struct str a, struct str b, const struct plain_item *item)
{
	if (plain_has(item, "contains"))
		return b.n == 0 || memmem(a.p, a.n, b.p, b.n);
	if (a.n < b.n)
		return false;
	if (plain_has(item, "startswith"))
		return memcmp(a.p, b.p, b.n) == 0;
	if (plain_has(item, "endswith"))
		return memcmp(a.p + a.n - b.n, b.p, b.n) == 0;
	return a.n == b.n && memcmp(a.p, b.p, b.n) == 0;
}

static enum plainly plain_field(struct arena *a, const struct plain_item *item, struct str name,
                                const struct event *e, struct str value)
{
	char *x = arena_alloc(a, value.n + 1);
	bool cased = plain_has(item, "cased");

	fold_text(value, x);
	for (size_t i = 0; i < e->count; i++) {
		struct str other = e->fields[i].value;
		if (!str_eq(e->fields[i].name, name) || e->fields[i].type == VALUE_NULL)
			continue;
		char *y = arena_alloc(a, other.n + 1);
		fold_text(other, y);
		if (cased ? plain_same_part(value, other, item)
		          : plain_same_part(str_make(x, value.n), str_make(y, other.n), item))
			return PLAINLY_YES;
	}
	return PLAINLY_NO;
}

static bool plain_is_number_test(const struct plain_item *item, bool quoted)
{
	for (size_t i = 0; i < item->chain_count; i++)
		if (plain_is_encoding(item->chain[i]))
			return false;
	return item->field.n && !quoted && !plain_affix(item) && !plain_has(item, "windash");
}

static bool plain_is_comparison(const struct plain_item *item)
{
	static const char *const all[] = {"lt",   "lte", "gt",   "gte",   "minute",
	                                  "hour", "day", "week", "month", "year"};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (plain_has(item, all[i]))
			return true;
	return false;
}

/* Of a test that looks at values: does this one fit? */
static enum plainly plain_fits(struct arena *a, const struct plain_item *item, struct str wanted,
                               bool quoted, const struct texts *texts, const struct event *e,
                               struct str value)
{
	enum plainly r = PLAINLY_NO;
	double x, y;

	if (plain_has(item, "re"))
		return PLAINLY_UNKNOWN;
	if (plain_has(item, "cidr"))
		return plain_in_network(wanted, value);
	if (plain_has(item, "fieldref"))
		return plain_field(a, item, wanted, e, value);
	if (plain_is_comparison(item))
		return plain_compare(item, wanted, value);
	for (size_t i = 0; i < texts->count && r == PLAINLY_NO; i++)
		r = plain_text_fits(a, texts->items[i], value, plain_has(item, "cased"));
	if (r != PLAINLY_NO || !plain_is_number_test(item, quoted))
		return r;
	enum plainly m = plain_number(wanted, &x), n = plain_number(value, &y);
	if (m == PLAINLY_NO || n == PLAINLY_NO)
		return PLAINLY_NO;
	if (m == PLAINLY_UNKNOWN || n == PLAINLY_UNKNOWN)
		return PLAINLY_UNKNOWN;
	return !(x < y) && !(x > y);
}

/* ---- placeholders ---- */

/* The lists that fuzz_modifier.c loads. */
static const struct {
	const char *name, *values[4];
} plain_lists[] = {
	{"host", {"srv*", "db?", "10.0.0.0/8"}},
	{"word", {"cmd", "a-b", "\\\\x"}},
	{"n", {"7"}},
	{"none", {""}},
};

#define PLAIN_EXPANDED_MAX 64

struct expanded {
	struct str items[PLAIN_EXPANDED_MAX];
	size_t count;
	bool full;
};

/* Where `%name%` stands in `s` from `at` on; false: nowhere. A backslash takes what follows it out of the game. */
static bool plain_placeholder(struct str s, size_t at, size_t *ret_first, size_t *ret_last)
{
	for (; at < s.n; at++) {
		const char *end;
		if (s.p[at] == '\\') {
			at++;
			continue;
		}
		if (s.p[at] != '%' || !(end = memchr(s.p + at + 1, '%', s.n - at - 1)) ||
		    end == s.p + at + 1)
			continue;
		*ret_first = at;
		*ret_last = (size_t)(end - s.p);
		return true;
	}
	return false;
}

/* `done` is finished text, `rest` is not. */
static void plain_expand(struct arena *a, struct str done, struct str rest, struct expanded *out)
{
	size_t first = rest.n, last = rest.n, n = done.n;
	bool found = plain_placeholder(rest, 0, &first, &last);
	char *text = arena_alloc(a, done.n + rest.n + 32);

	if (out->count == PLAIN_EXPANDED_MAX) {
		out->full = true;
		return;
	}
	if (n)
		memcpy(text, done.p, n);
	for (size_t i = 0; i < first; i++) {
		if (rest.p[i] == '\\' && i + 1 < first) {
			if (rest.p[i + 1] != '%')
				text[n++] = '\\';
			i++;
		}
		text[n++] = rest.p[i];
	}
	if (!found) {
		out->items[out->count++] = str_make(text, n);
		return;
	}
	struct str name = str_make(rest.p + first + 1, last - first - 1);
	struct str after = str_skip(rest, last + 1);
	for (size_t i = 0; i < ARRAY_LEN(plain_lists); i++) {
		if (!str_eq(name, str_of(plain_lists[i].name)))
			continue;
		for (const char *const *v = plain_lists[i].values; *v; v++) {
			memcpy(text + n, *v, strlen(*v));
			plain_expand(a, str_make(text, n + strlen(*v)), after, out);
		}
		return;
	}
	memcpy(text + n, rest.p + first, last - first + 1); /* unknown: it stays */
	plain_expand(a, str_make(text, n + last - first + 1), after, out);
}

/* ---- the item ---- */

/* Of one value: does anything in the event fit? */
static enum plainly plain_value_holds(struct arena *a, const struct plain_item *item,
                                      struct str wanted, bool quoted, const struct event *e)
{
	static struct texts texts;
	enum plainly r = PLAINLY_NO;

	if (!plain_texts(a, item, wanted, &texts))
		return PLAINLY_UNKNOWN;
	for (size_t i = 0; i <= e->count && r != PLAINLY_YES; i++) {
		const struct field *f = i < e->count ? &e->fields[i] : NULL;
		enum plainly one;
		if (f && f->type == VALUE_NULL)
			continue;
		if (item->field.n ? !f || !str_eq(f->name, item->field) : f && f->derived)
			continue;
		one = plain_fits(a, item, wanted, quoted, &texts, e, f ? f->value : e->raw);
		r = one == PLAINLY_NO ? r : one;
	}
	return r;
}

static enum plainly plain_is_null(const struct plain_item *item, const struct event *e)
{
	bool found = false;

	for (size_t i = 0; i < e->count; i++) {
		if (!str_eq(e->fields[i].name, item->field))
			continue;
		if (e->fields[i].type == VALUE_NULL)
			return PLAINLY_YES;
		found = true;
	}
	return !found;
}

/* Does the item hold for the event? Only for one that the daemon took. */
static enum plainly plain_item_holds(struct arena *a, const struct plain_item *item,
                                     const struct event *e)
{
	bool all = plain_has(item, "all"), unknown = false, met = all;
	struct expanded values;

	if (plain_has(item, "exists")) {
		bool there = false;
		for (size_t i = 0; i < e->count; i++)
			there |= str_eq(e->fields[i].name, item->field);
		struct str v = item->values[0].text;
		met = there ==
		      (str_ieq(v, STR("true")) || str_ieq(v, STR("yes")) || str_ieq(v, STR("on")));
		return met != plain_has(item, "neq");
	}
	for (size_t i = 0; i < item->value_count; i++) {
		struct str text = item->values[i].text;
		values = (struct expanded){.items = {text}, .count = 1};
		if (plain_has(item, "expand") && !item->values[i].null) {
			values.count = 0;
			plain_expand(a, STR(""), text, &values);
		}
		unknown |= values.full;
		for (size_t j = 0; j < values.count; j++) {
			enum plainly r = item->values[i].null
			                         ? plain_is_null(item, e)
			                         : plain_value_holds(a, item, values.items[j],
			                                             item->values[i].quoted, e);
			if (r == PLAINLY_UNKNOWN)
				unknown = true;
			else if ((r == PLAINLY_YES) != all)
				return !all != plain_has(item, "neq"); /* decided */
		}
	}
	return unknown ? PLAINLY_UNKNOWN : met != plain_has(item, "neq");
}

#endif
