#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdbool.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SECOND + (uint64_t)ts.tv_nsec;
}

uint64_t clock_now(void)
{
	return read_clock(CLOCK_REALTIME);
}

uint64_t clock_mono(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

static int64_t raise(struct clock_steady *c, int64_t least)
{
	int64_t ahead = atomic_load(&c->ahead);

	while (ahead < least && !atomic_compare_exchange_weak(&c->ahead, &ahead, least))
		;
	return ahead < least ? least : ahead;
}

/* One of the threads that come by makes it slower. Returns what it is ahead then. */
static int64_t ease(struct clock_steady *c, int64_t ahead, int64_t least, uint64_t mono)
{
	uint64_t since = atomic_load(&c->eased_mono);

	if (mono - since < CLOCK_STEP_NS ||
	    !atomic_compare_exchange_strong(&c->eased_mono, &since, mono) || since == 0)
		return ahead;
	int64_t step = (int64_t)((mono - since) / CLOCK_SLOWER), over = ahead - least;
	int64_t eased = ahead - (step < over ? step : over);
	/* If somebody raised it meanwhile, there is nothing to ease. */
	return atomic_compare_exchange_strong(&c->ahead, &ahead, eased) ? eased : ahead;
}

uint64_t clock_steady(struct clock_steady *c)
{
	/* In this order, so that a thread which is stopped between the two does not see a jump. */
	uint64_t now = clock_now(), mono = clock_mono();
	int64_t least = (int64_t)(now - mono), ahead = raise(c, least);

	if (ahead == least) {
		atomic_store(&c->eased_mono, mono);
		return now;
	}
	return mono + (uint64_t)ease(c, ahead, least, mono);
}

void clock_steady_from(struct clock_steady *c, uint64_t ns)
{
	raise(c, (int64_t)(ns - clock_mono()));
}

/* Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-Compatible Low-Level
 * Date Algorithms"): years start in March, so the leap day is the last of its year. */
static int64_t days_from_civil(int64_t y, int m, int d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + doe - 719468;
}

static void civil_from_days(int64_t z, int *y, int *m, int *d)
{
	z += 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	*d = (int)(doy - (153 * mp + 2) / 5 + 1);
	*m = (int)(mp < 10 ? mp + 3 : mp - 9);
	*y = (int)(yoe + era * 400 + (*m <= 2));
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return month == 2 && leap ? 29 : days[month - 1];
}

int clock_from_civil(int year, int month, int day, int hour, int minute, int second,
                     uint32_t nanosecond, int offset_minutes, uint64_t *ret_ns)
{
	if (second == 60)
		second = 59;
	if (year < 1970 || year > 2553 || month < 1 || month > 12 || day < 1 ||
	    day > days_in_month(year, month) || hour < 0 || hour > 23 || minute < 0 ||
	    minute > 59 || second < 0 || second > 59 || nanosecond >= NS_PER_SECOND ||
	    offset_minutes <= -24 * 60 || offset_minutes >= 24 * 60)
		return -EINVAL;
	int64_t seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 +
	                  second - (int64_t)offset_minutes * 60;
	if (seconds < 0)
		return -EINVAL;
	*ret_ns = (uint64_t)seconds * NS_PER_SECOND + nanosecond;
	return 0;
}

int clock_year(uint64_t ns)
{
	int y, m, d;
	civil_from_days((int64_t)(ns / NS_PER_DAY), &y, &m, &d);
	return y;
}

/* `count` digits at *at; -1 if they are not all digits. */
static int digits(struct str s, size_t *at, size_t count)
{
	int v = 0;

	if (*at + count > s.n)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (!isdigit((unsigned char)s.p[*at + i]))
			return -1;
		v = v * 10 + (s.p[*at + i] - '0');
	}
	*at += count;
	return v;
}

static bool literal(struct str s, size_t *at, char c)
{
	if (*at >= s.n || s.p[*at] != c)
		return false;
	(*at)++;
	return true;
}

static uint32_t fraction(struct str s, size_t *at)
{
	uint32_t ns = 0, scale = 100000000;

	for (; *at < s.n && isdigit((unsigned char)s.p[*at]); (*at)++) {
		ns += (uint32_t)(s.p[*at] - '0') * scale;
		scale /= 10;
	}
	return ns;
}

static int zone(struct str s, size_t *at, int *ret_minutes)
{
	*ret_minutes = 0;
	if (literal(s, at, 'Z') || literal(s, at, 'z') || *at >= s.n)
		return 0;
	bool minus = s.p[*at] == '-';
	if (!minus && s.p[*at] != '+')
		return 0;
	(*at)++;
	int h = digits(s, at, 2), m = 0;
	bool minutes = literal(s, at, ':');
	if (minutes || (*at < s.n && isdigit((unsigned char)s.p[*at])))
		m = digits(s, at, 2);
	if (h < 0 || m < 0 || h > 23 || m > 59)
		return -EINVAL;
	*ret_minutes = (minus ? -1 : 1) * (h * 60 + m);
	return 0;
}

int clock_parse(struct str text, uint64_t *ret_ns, size_t *ret_used)
{
	size_t at = 0;
	uint32_t ns = 0;
	int offset;

	int year = digits(text, &at, 4);
	bool ok = literal(text, &at, '-');
	int month = digits(text, &at, 2);
	ok = ok && literal(text, &at, '-');
	int day = digits(text, &at, 2);
	ok = ok && (literal(text, &at, 'T') || literal(text, &at, 't') || literal(text, &at, ' '));
	int hour = digits(text, &at, 2);
	ok = ok && literal(text, &at, ':');
	int minute = digits(text, &at, 2);
	ok = ok && literal(text, &at, ':');
	int second = digits(text, &at, 2);
	if (!ok || year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0)
		return -EINVAL;
	if (at < text.n && (text.p[at] == '.' || text.p[at] == ',') && at + 1 < text.n &&
	    isdigit((unsigned char)text.p[at + 1])) {
		at++;
		ns = fraction(text, &at);
	}
	if (zone(text, &at, &offset) < 0)
		return -EINVAL;
	int r = clock_from_civil(year, month, day, hour, minute, second, ns, offset, ret_ns);
	if (r == 0 && ret_used)
		*ret_used = at;
	return r;
}

char *clock_format(uint64_t ns, char out[static CLOCK_TEXT_MAX])
{
	int y, m, d;
	uint64_t in_day = ns % NS_PER_DAY;

	civil_from_days((int64_t)(ns / NS_PER_DAY), &y, &m, &d);
	snprintf(out, CLOCK_TEXT_MAX, "%04d-%02d-%02dT%02u:%02u:%02u.%03uZ", y, m, d,
	         (unsigned)(in_day / NS_PER_HOUR), (unsigned)(in_day / NS_PER_MINUTE % 60),
	         (unsigned)(in_day / NS_PER_SECOND % 60), (unsigned)(in_day / NS_PER_MS % 1000));
	return out;
}
