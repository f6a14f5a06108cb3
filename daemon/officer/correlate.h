/* Correlation: Sigma's correlation rules (specification 2.1.0) and isod's extensions to them (conf/rules/README.md)
 * over the matches in the ledger, by group and window. Definitions come with the settings record, so that the fold needs
 * no file. A correlation that holds yields a match of its own, which other correlations may refer to, and then starts
 * over for its group (one alert per window, not one per event).
 *
 * Time is the event's own where its clock can be believed (match_time). A group's watermark stands settings'
 * correlation_lateness (or the correlation's own) behind its newest event: what comes in front of it counts as if it had
 * come in order, what comes behind is late and only counted.
 *
 * Memory: each correlation has its own limits, so that none can starve another. When it reaches one, the group that is
 * unchanged longest makes room; that is counted and told (effects' evicted). */
#ifndef ISOD_OFFICER_CORRELATE_H
#define ISOD_OFFICER_CORRELATE_H

#include <stdbool.h>

#include "officer/desk.h"

#define CORRELATE_GROUPS_MAX (1 << 20) /* of one correlation */
#define CORRELATE_WINDOW_MAX                                                                       \
	10000 /* matches kept in one group's window; the oldest make room. Where the condition counts more */
#define CORRELATE_EVENTS_MAX 1000000 /* events, it is twice what it counts, at most so many */
/* Bytes of groups and entries of all correlations together: each has an equal share, within these */
#define CORRELATE_BYTES_MAX ((size_t)2 << 30)
#define CORRELATE_SHARE_MAX ((size_t)256 << 20) /* two million groups of one entry */
#define CORRELATE_SHARE_MIN ((size_t)32 << 20)  /* holds a window of CORRELATE_EVENTS_MAX */
#define CORRELATE_CHAIN_MAX 8                   /* correlations of correlations */
#define CORRELATE_EVICTED_EVERY                                                                    \
	(60 * UINT64_C(1000000000)) /* evictions of one correlation are told so often at most */

struct correlate;

struct correlate_counts {
	uint64_t evicted;     /* groups that had to make room */
	uint64_t dropped;     /* entries that had to make room in their group's window */
	uint64_t late;        /* matches behind their group's watermark */
	uint64_t wild;        /* matches that count by arrival, their clock being too far off */
	uint64_t not_numeric; /* values that are to be added up, but are no numbers */
	uint64_t saturated;   /* numbers too large: the largest was taken */
	uint64_t suppressed;  /* matches in the silence after a correlation held */
};

struct correlate *correlate_new(void);
void correlate_free(struct correlate *c);
/* New definitions; groups of correlations that did not change are kept. Definitions are copied. */
void correlate_settings(struct correlate *c, const Isod__V1__Settings *settings);

/* What feeding these matches will touch is fetched into the processor's cache, all at once instead of one after the
 * other: to be called for the next CORRELATE_AHEAD before they are fed. It only reads: the result is the same without. */
#define CORRELATE_AHEAD 32
void correlate_prefetch(const struct correlate *c, const Isod__V1__Match *const *matches,
                        size_t count);
/* Feeds a match. Each correlation that now holds yields a match: *ret (valid until the next call) and its count. */
size_t correlate_on_match(struct correlate *c, const struct step *s, const Isod__V1__Match *m,
                          const Isod__V1__Match *const **ret);
/* Hashes of groups and values are keyed, so that no peer can choose names that collide, by seeds that the ledger brings
 * (a Started record), so that a state is the same wherever the ledger is folded. Taken once, before the first group. */
bool correlate_seeded(const struct correlate *c);
/* The daemon came up: what it waits for may have come while it was away, and is given a timespan more. */
void correlate_on_started(struct correlate *c, const struct step *s);
/* Absences that are due at the step's time, like correlate_on_match. Costs nothing while none is. */
size_t correlate_on_clock(struct correlate *c, const struct step *s,
                          const Isod__V1__Match *const **ret);
/* When the next absence is due, or NEVER. */
uint64_t correlate_next_deadline(const struct correlate *c);

/* Saving (officer/save.h): the part of the head, which borrows, then each correlation with all that it holds. */
void correlate_save_head(const struct correlate *c, Isod__V1__SnapshotCorrelate *ret);
void correlate_save(const struct correlate *c, struct saver *to);
/* Loading into one that has its settings and nothing else; the loader remembers which correlation the parts that come
 * belong to. All 0 or -EBADMSG; at the end correlate_loader_done: 0 when nothing is missing. */
int correlate_load_head(struct correlate *c, const Isod__V1__SnapshotCorrelate *from);
struct correlate_loader;
struct correlate_loader *correlate_loader_new(struct correlate *c);
void correlate_loader_free(struct correlate_loader *l);
int correlate_load_definition(struct correlate_loader *l, const Isod__V1__SnapshotDefinition *from);
int correlate_load_groups(struct correlate_loader *l, const Isod__V1__SnapshotGroups *from);
int correlate_load_extra(struct correlate_loader *l, const Isod__V1__SnapshotExtra *from);
int correlate_load_entries(struct correlate_loader *l, const Isod__V1__SnapshotEntries *from);
int correlate_loader_done(struct correlate_loader *l);

/* Groups open now, bytes charged for them, and what was counted so far. */
size_t correlate_groups(const struct correlate *c);
size_t correlate_bytes(const struct correlate *c);
const struct correlate_counts *correlate_counts(const struct correlate *c);
/* counts->evicted. */
uint64_t correlate_evicted(const struct correlate *c);

#endif
