/* Correlation: Sigma's event_count, value_count, temporal and temporal_ordered (specification 2.1.0, correlation
 * rules) over the matches in the ledger, by group and sliding window. Definitions come with the settings record, so
 * that the fold needs no file. A correlation that holds yields a match of its own, which other correlations may
 * refer to, and then starts over for its group (one alert per `timespan`, not one per event). */
#ifndef ISOD_OFFICER_CORRELATE_H
#define ISOD_OFFICER_CORRELATE_H

#include "officer/desk.h"

#define CORRELATE_GROUPS_MAX                                                                       \
	200000 /* of one correlation; past this the group unchanged longest makes room */
#define CORRELATE_WINDOW_MAX 10000 /* matches kept in one group's window; the oldest make room */
#define CORRELATE_CHAIN_MAX  8     /* correlations of correlations */

struct correlate;

struct correlate *correlate_new(void);
void correlate_free(struct correlate *c);
/* New definitions; groups of correlations that did not change are kept. Definitions are copied. */
void correlate_settings(struct correlate *c, const Isod__V1__Settings *settings);

/* Feeds a match. Each correlation that now holds yields a match: *ret (valid until the next call) and its count. */
size_t correlate_on_match(struct correlate *c, const struct step *s, const Isod__V1__Match *m,
                          const Isod__V1__Match *const **ret);

/* Groups open now, and groups that had to make room so far. */
size_t correlate_groups(const struct correlate *c);
uint64_t correlate_evicted(const struct correlate *c);

#endif
