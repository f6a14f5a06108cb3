/* One scanner for the whole family of "Nov 23 18:00:00": the parts are told apart by their own shape (a month has
 * letters, a year four digits, a time colons), because every vendor has another order. */
#include "event/stamp.h"

#include <errno.h>

#include "base/chars.h"
#include "base/clock.h"
#include "base/mem.h"

#define YEARS_BACK 8 /* 29 February may be that far away */

struct parts {
	int year, month, day; /* year 0: left out */
	int hour, minute, second;
	uint32_t ns;
	int offset_minutes;
};

struct zone {
	struct str name;
	int minutes;
};

/* RFC 822's, and the European, Asian and Pacific ones that devices are set to. What means several zones (IST,
 * BST) is left out or taken as RFC 822 has it: an hour off is better than a host called "CST". */
static const struct zone zones[] = {
	{STR_INIT("UTC"), 0},    {STR_INIT("GMT"), 0},    {STR_INIT("Z"), 0},
	{STR_INIT("EST"), -300}, {STR_INIT("EDT"), -240}, {STR_INIT("CST"), -360},
	{STR_INIT("CDT"), -300}, {STR_INIT("MST"), -420}, {STR_INIT("MDT"), -360},
	{STR_INIT("PST"), -480}, {STR_INIT("PDT"), -420}, {STR_INIT("WET"), 0},
	{STR_INIT("WEST"), 60},  {STR_INIT("CET"), 60},   {STR_INIT("CEST"), 120},
	{STR_INIT("MET"), 60},   {STR_INIT("MEST"), 120}, {STR_INIT("EET"), 120},
	{STR_INIT("EEST"), 180}, {STR_INIT("MSK"), 180},  {STR_INIT("JST"), 540},
	{STR_INIT("KST"), 540},  {STR_INIT("AEST"), 600}, {STR_INIT("AEDT"), 660},
	{STR_INIT("NZST"), 720}, {STR_INIT("NZDT"), 780},
};

/* Three letters as a number, of any case. */
#define LETTERS(a, b, c) ((uint32_t)(((a) << 16 | (b) << 8 | (c)) | 0x202020))

/* Of the name that `s` begins with, when no further letter follows; 0 if three letters do not stand there alone. */
static uint32_t three_letters(struct str s)
{
	if (s.n < 4 || !char_is(s.p[0], CHAR_ALPHA) || !char_is(s.p[1], CHAR_ALPHA) ||
	    !char_is(s.p[2], CHAR_ALPHA) || char_is(s.p[3], CHAR_ALPHA))
		return 0;
	return LETTERS((uint32_t)s.p[0], (uint32_t)s.p[1], (uint32_t)s.p[2]);
}

/* 1 to 12, 0 for none. */
static int month_named(uint32_t letters)
{
	switch (letters) {
	case LETTERS('J', 'a', 'n'): return 1;
	case LETTERS('F', 'e', 'b'): return 2;
	case LETTERS('M', 'a', 'r'): return 3;
	case LETTERS('A', 'p', 'r'): return 4;
	case LETTERS('M', 'a', 'y'): return 5;
	case LETTERS('J', 'u', 'n'): return 6;
	case LETTERS('J', 'u', 'l'): return 7;
	case LETTERS('A', 'u', 'g'): return 8;
	case LETTERS('S', 'e', 'p'): return 9;
	case LETTERS('O', 'c', 't'): return 10;
	case LETTERS('N', 'o', 'v'): return 11;
	case LETTERS('D', 'e', 'c'): return 12;
	default: return 0;
	}
}

static bool is_weekday(uint32_t letters)
{
	switch (letters) {
	case LETTERS('M', 'o', 'n'):
	case LETTERS('T', 'u', 'e'):
	case LETTERS('W', 'e', 'd'):
	case LETTERS('T', 'h', 'u'):
	case LETTERS('F', 'r', 'i'):
	case LETTERS('S', 'a', 't'):
	case LETTERS('S', 'u', 'n'): return true;
	default: return false;
	}
}

static void skip_blanks(struct str *s)
{
	while (s->n && (s->p[0] == ' ' || s->p[0] == '\t'))
		*s = str_skip(*s, 1);
}

static size_t digit_run(struct str s)
{
	return char_run(s, CHAR_DIGIT);
}

/* Between `least` and `most` digits, not followed by another one; -1 otherwise. */
static int number(struct str *s, size_t least, size_t most)
{
	size_t n = digit_run(*s);
	int v = 0;

	if (n < least || n > most)
		return -1;
	for (size_t i = 0; i < n; i++)
		v = v * 10 + (s->p[i] - '0');
	*s = str_skip(*s, n);
	return v;
}

static bool take(struct str *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = str_skip(*s, 1);
	return true;
}

static bool month_of(struct str *s, struct parts *p)
{
	p->month = month_named(three_letters(*s));
	if (!p->month || (s->p[3] != ' ' && s->p[3] != '-' && s->p[3] != '\t'))
		return false;
	*s = str_skip(*s, 4);
	skip_blanks(s);
	return true;
}

static bool year_of(struct str *s, struct parts *p)
{
	struct str at = *s;
	int year = number(&at, 4, 4);

	/* "2001:db8::1" is no year. */
	if (at.n > 1 && at.p[0] == ':' && !char_is(at.p[1], CHAR_SPACE))
		return false;
	if (year < 1970 || (at.n && !char_is(at.p[0], CHAR_SPACE) && at.p[0] != ':'))
		return false;
	skip_blanks(&at);
	p->year = year;
	*s = at;
	return true;
}

/* "23/Nov/2026:", "2026/11/23 " */
static bool slashed_date_of(struct str *s, struct parts *p)
{
	struct str at = *s;
	int first = number(&at, 1, 4), last;

	if (first < 0 || !take(&at, '/'))
		return false;
	bool named = at.n > 3 && at.p[3] == '/';
	if (named) {
		p->month = month_named(three_letters(at));
		at = str_skip(at, 3);
	} else {
		p->month = number(&at, 2, 2);
	}
	if (p->month < 1 || !take(&at, '/'))
		return false;
	last = number(&at, named ? 4 : 2, named ? 4 : 2);
	p->year = named ? last : first;
	p->day = named ? first : last;
	if (p->year < 1970 || p->day < 1 || !take(&at, named ? ':' : ' '))
		return false;
	*s = at;
	return true;
}

/* [Mon[,]] then "Nov 23 [2026]", "23 Nov [2026]", "23-Nov-2026" or "2026 Nov 23". */
static bool date_of(struct str *s, struct parts *p)
{
	if (is_weekday(three_letters(*s))) {
		*s = str_skip(*s, 3);
		take(s, ',');
		skip_blanks(s);
	}
	if (digit_run(*s) == 4 && !year_of(s, p))
		return false;
	if (digit_run(*s)) {
		p->day = number(s, 1, 2);
		if (p->day < 0 || (!take(s, ' ') && !take(s, '-')) || !month_of(s, p))
			return false;
	} else {
		if (!month_of(s, p))
			return false;
		p->day = number(s, 1, 2);
		if (p->day < 0 || (!take(s, ' ') && !take(s, '\t') && !take(s, ',')))
			return false;
	}
	skip_blanks(s);
	if (!p->year)
		year_of(s, p);
	return true;
}

static bool clock_time(struct str *s, struct parts *p)
{
	p->hour = number(s, 1, 2);
	if (p->hour < 0 || !take(s, ':'))
		return false;
	p->minute = number(s, 2, 2);
	if (p->minute < 0)
		return false;
	struct str at = *s;
	if (!take(&at, ':'))
		return true;
	p->second = number(&at, 2, 2);
	if (p->second < 0) {
		p->second = 0;
		return true;
	}
	*s = at;
	if (!take(&at, '.') && !take(&at, ','))
		return true;
	if (digit_run(at) == 0)
		return true;
	for (uint32_t scale = 100000000; at.n && char_is(at.p[0], CHAR_DIGIT); scale /= 10) {
		p->ns += (uint32_t)(at.p[0] - '0') * scale;
		at = str_skip(at, 1);
	}
	*s = at;
	return true;
}

static bool ends_here(struct str s)
{
	return s.n == 0 || char_is(s.p[0], CHAR_SPACE) || s.p[0] == ':';
}

/* "+02:00", "-0500", "TZ-6", "UTC+2". */
static bool numeric_zone(struct str *s, struct parts *p)
{
	struct str at = *s;

	if (str_starts(at, STR("TZ")))
		at = str_skip(at, 2);
	else if (str_starts(at, STR("UTC")) || str_starts(at, STR("GMT")))
		at = str_skip(at, 3);
	bool minus = at.n && at.p[0] == '-';
	if (!take(&at, '+') && !take(&at, '-'))
		return false;
	size_t n = digit_run(at);
	int value = number(&at, 1, 4);
	if (value < 0)
		return false;
	int minutes = n > 2 ? value / 100 * 60 + value % 100 : value * 60;
	struct str after = at;
	if (n <= 2 && take(&after, ':') && digit_run(after) == 2) {
		minutes += number(&after, 2, 2);
		at = after;
	}
	if (!ends_here(at) || minutes > 14 * 60)
		return false;
	p->offset_minutes = minus ? -minutes : minutes;
	*s = at;
	return true;
}

static bool zone_of(struct str *s, struct parts *p)
{
	/* The word behind a time is a host more often than a zone. */
	if (s->n == 0 || (!char_is(s->p[0], CHAR_UPPER) && s->p[0] != '+' && s->p[0] != '-'))
		return false;
	if (numeric_zone(s, p))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
		struct str name = zones[i].name;
		if (!str_starts(*s, name) || !ends_here(str_skip(*s, name.n)))
			continue;
		p->offset_minutes = zones[i].minutes;
		*s = str_skip(*s, name.n);
		return true;
	}
	return false;
}

/* What may stand behind the time: zone and year. */
static void trailer_of(struct str *s, struct parts *p)
{
	struct str at = *s;

	skip_blanks(&at);
	if (zone_of(&at, p)) {
		*s = at;
		skip_blanks(&at);
	}
	if (p->year || digit_run(at) != 4)
		return;
	size_t before = at.n;
	if (!year_of(&at, p))
		return;
	/* year_of takes the blanks behind it too; they are nobody's. */
	*s = str_skip(*s, s->n - before + 4);
}

static uint64_t in_year(const struct parts *p, int year)
{
	uint64_t ns;

	if (clock_from_civil(year, p->month, p->day, p->hour, p->minute, p->second, p->ns,
	                     p->offset_minutes, &ns) < 0)
		return 0;
	return ns;
}

static uint64_t to_ns(const struct parts *p, uint64_t received_ns)
{
	if (p->year)
		return in_year(p, p->year);
	/* A clock that runs ahead on New Year's Eve has the next year, and so may one in another zone. */
	int year = clock_year(received_ns + NS_PER_DAY) + (p->offset_minutes ? 1 : 0);
	for (int i = 0; i <= YEARS_BACK; i++, year--) {
		uint64_t ns = in_year(p, year);
		if (ns && ns <= received_ns + NS_PER_DAY)
			return ns;
	}
	return 0;
}

static bool iso_shape(struct str s)
{
	static const char shape[] = "0000-00-00T00:00";

	if (s.n < sizeof(shape) - 1 || s.p[4] != '-')
		return false;
	for (size_t i = 0; shape[i]; i++) {
		char c = s.p[i];
		if (shape[i] == '0'   ? !char_is(c, CHAR_DIGIT)
		    : shape[i] == 'T' ? (c != 'T' && c != 't' && c != ' ')
		                      : c != shape[i])
			return false;
	}
	return true;
}

static bool parse_iso(struct str text, uint64_t *ret_ns, size_t *ret_used)
{
	if (!iso_shape(text))
		return false;
	if (clock_parse(text, ret_ns, ret_used) == 0) {
		struct str rest = str_skip(text, *ret_used);
		struct parts p = {.year = 1};
		struct str zone = rest;
		skip_blanks(&zone);
		/* "2026-11-23 18:00:00 UTC", "… +0200": clock_parse knows only zones that touch. */
		if (rest.p != zone.p && zone_of(&zone, &p)) {
			*ret_used = text.n - zone.n;
			*ret_ns -= (uint64_t)((int64_t)p.offset_minutes * (int64_t)NS_PER_MINUTE);
		}
		return true;
	}
	*ret_ns = 0;
	*ret_used = 0;
	while (*ret_used < text.n && !char_is(text.p[*ret_used], CHAR_SPACE))
		(*ret_used)++;
	/* A space between date and time: the time is the next word. */
	if (*ret_used == 10)
		for ((*ret_used)++; *ret_used < text.n && !char_is(text.p[*ret_used], CHAR_SPACE);)
			(*ret_used)++;
	return true;
}

bool stamp_parse(struct str text, uint64_t received_ns, uint64_t *ret_ns, size_t *ret_used)
{
	size_t used;
	uint64_t ns;

	/* Asked of much that is no time: the first bytes tell. */
	bool digit = text.n && char_is(text.p[0], CHAR_DIGIT);
	uint32_t letters = digit ? 0 : three_letters(text);
	if (!digit && !month_named(letters) && !is_weekday(letters))
		return false;
	struct parts p = {0};
	struct str s = text;
	if (digit && parse_iso(text, &ns, &used)) {
		*ret_ns = ns;
		if (ret_used)
			*ret_used = used;
		return true;
	}
	if ((!slashed_date_of(&s, &p) && !date_of(&s, &p)) || !clock_time(&s, &p))
		return false;
	if (s.n && !ends_here(s) && s.p[0] != 'Z' && s.p[0] != '+' && s.p[0] != '-')
		return false;
	trailer_of(&s, &p);
	*ret_ns = to_ns(&p, received_ns);
	if (ret_used)
		*ret_used = text.n - s.n;
	return true;
}

bool stamp_epoch(struct str text, uint64_t *ret_ns)
{
	size_t whole = digit_run(text);
	struct str fraction = str_skip(text, whole);
	uint64_t v, unit, scale;

	if (whole < 9 || whole > 19 || str_to_u64(str_head(text, whole), &v) < 0)
		return false;
	if (fraction.n &&
	    (fraction.p[0] != '.' || digit_run(str_skip(fraction, 1)) + 1 != fraction.n))
		return false;
	unit = whole <= 11 ? NS_PER_SECOND : whole <= 14 ? NS_PER_MS : whole <= 17 ? 1000 : 1;
	if (__builtin_mul_overflow(v, unit, &v))
		return false;
	scale = unit;
	for (size_t i = 1; i < fraction.n && scale > 1; i++) {
		scale /= 10;
		v += (uint64_t)(fraction.p[i] - '0') * scale;
	}
	*ret_ns = v;
	return true;
}
