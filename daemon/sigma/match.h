/* Which rules hold for an event. One matcher per thread. This is the plain tree evaluator: it tries every rule
 * whose log source fits, selection by selection, exactly as the specification reads. */
#ifndef ISOD_SIGMA_MATCH_H
#define ISOD_SIGMA_MATCH_H

#include "sigma/rules.h"

struct matcher;
struct match_counts; /* sigma/counts.h */

/* `rules` must outlive it. */
struct matcher *matcher_new(const struct ruleset *rules);
void matcher_free(struct matcher *m);

/* From now on counts what the rules cost and how often they hold; `counts` must have a place for every rule of the set,
 * and no other writer. */
void matcher_count(struct matcher *m, struct match_counts *counts);

/* Tries the rules for which the event's log sources fit (`sources` NULL, or a set loaded without a log-source
 * table: all of them). *ret_hits: the rules that hold, in the set's order,
 * valid until the next call. Returns how many. */
size_t matcher_run(struct matcher *m, const struct event *e, const struct logsource_set *sources,
                   const struct rule *const **ret_hits);

/* Do the event's log sources fit the rule, as matcher_run has it? */
bool rule_is_tried(const struct ruleset *rules, const struct rule *rule,
                   const struct logsource_set *sources);

/* How many tests so far were cut short by a bound: a regular expression that took too many steps or a value too long
 * for one (sigma/regex.h), or a value for which there was no room to fold. Such a test counts as not holding, or in the
 * last case as case-sensitive. */
uint64_t matcher_limited(const struct matcher *m);

#endif
