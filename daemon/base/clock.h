/* Time. Everywhere in isod a time is nanoseconds since 1970-01-01 00:00 UTC in a uint64_t, unless its
 * name says `mono`. Only the shell (ingest, daemon.c) reads clocks; the officer gets time on records. */
#ifndef ISOD_BASE_CLOCK_H
#define ISOD_BASE_CLOCK_H

#include <stdint.h>

#include "base/str.h"

#define NS_PER_MS     UINT64_C(1000000)
#define NS_PER_SECOND UINT64_C(1000000000)
#define NS_PER_MINUTE (60 * NS_PER_SECOND)
#define NS_PER_HOUR   (60 * NS_PER_MINUTE)
#define NS_PER_DAY    (24 * NS_PER_HOUR)

uint64_t clock_now(void);
/* Monotonic, for measuring and for time-outs. */
uint64_t clock_mono(void);

/* A wall clock that neither goes back nor stands still when the system's is set back: it then goes on at the monotonic
 * pace, and CLOCK_SLOWER-th of it slower until the two agree again. So whatever waits for a time waits about as long as
 * it should, and what comes in is not taken for old, however wrong the clock was. Zeroed it is the system's clock. From
 * any thread, without a lock; two answers may differ by CLOCK_STEP_NS the wrong way round. */
struct clock_steady {
	_Atomic int64_t ahead;       /* of the monotonic clock */
	_Atomic uint64_t eased_mono; /* when it was last made slower */
};
#define CLOCK_SLOWER  8
#define CLOCK_STEP_NS NS_PER_MS
uint64_t clock_steady(struct clock_steady *c);
/* It tells no time before `ns`. */
void clock_steady_from(struct clock_steady *c, uint64_t ns);

/* Civil UTC date and time to ns; month 1-12, day 1-31. Returns 0 and *ret_ns, -EINVAL when a part is
 * outside its range (a leap second, :60, counts as :59) or the result before 1970 or past 2554. */
int clock_from_civil(int year, int month, int day, int hour, int minute, int second,
                     uint32_t nanosecond, int offset_minutes, uint64_t *ret_ns);
/* The civil UTC year of a time. */
int clock_year(uint64_t ns);

/* RFC 3339 with date, "T" or " ", time, optional fraction (any digits), "Z" or offset (with or without
 * colon, or hours alone) or none (then UTC). On success *ret_ns and *ret_used (bytes taken; may be NULL), returns 0;
 * -EINVAL when the text does not begin with such a time. */
int clock_parse(struct str text, uint64_t *ret_ns, size_t *ret_used);

#define CLOCK_TEXT_MAX 40
/* "2026-11-23T18:26:26.123Z" into `out`; returns `out`. */
char *clock_format(uint64_t ns, char out[static CLOCK_TEXT_MAX]);

#endif
