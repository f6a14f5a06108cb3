/* Whether a correlation's condition holds in a group's window. Only for officer/correlate*.c. */
#ifndef ISOD_OFFICER_CORRELATE_WINDOW_H
#define ISOD_OFFICER_CORRELATE_WINDOW_H

#include "ledger.pb-c.h"
#include "base/str.h"
#include "officer/correlate_group.h"

/* Memory that all evaluations share. */
struct window_scratch {
	struct tally {
		uint64_t value;
		uint32_t count;
	} * tallies;
	size_t tally_size; /* a power of two */
	uint32_t *rules;   /* by place: how often it is in the window */
	size_t rules_cap;
	bool *stack; /* of a condition */
	size_t stack_cap;
};

void window_scratch_release(struct window_scratch *s);
/* Room for what `def` needs; before it is used with any of the functions below. */
void window_scratch_reserve(struct window_scratch *s, const Isod__V1__Correlation *def);

/* The entries that fulfilled it: [from, to), and the number that did. */
struct window_span {
	uint32_t from, to;
	uint64_t count; /* of counts */
	int64_t milli;  /* of sums and the like: thousandths, rounded down */
};

/* True if the condition of a correlation that counts, sums up or orders (not ABSENCE, not FIRST_SEEN) holds in some
 * window that contains the entry at `at`: any stretch of the timespan, or the session it belongs to. */
bool window_holds(const Isod__V1__Correlation *def, struct window_scratch *s,
                  const struct entry *entries, uint32_t count, uint32_t at,
                  struct window_span *ret);

/* True for types whose entries' values are numbers. */
bool window_is_numeric(Isod__V1__CorrelationType type);

/* How many of the oldest entries can be in no window that an entry from `watermark_ns` on is in. */
uint32_t window_stale(const Isod__V1__Correlation *def, const struct entry *entries, uint32_t count,
                      uint64_t watermark_ns);

/* A decimal number ("-12.5", "3e6") in thousandths, rounded half away from zero. 0; -EINVAL when it is none;
 * -ERANGE when it is too large: then *ret is the largest or smallest there is. */
int window_number(struct str text, int64_t *ret);

#endif
