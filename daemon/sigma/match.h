/* Which rules hold for an event. One matcher per thread. Without a compiled rule set it is the plain tree evaluator
 * (sigma/evaluate.h), which tries every rule whose log source fits; with one it tries only those that something in the
 * event speaks for. Both give the same answers. */
#ifndef ISOD_SIGMA_MATCH_H
#define ISOD_SIGMA_MATCH_H

#include "sigma/rules.h"

struct compiled; /* sigma/compile.h */
struct matcher;
struct match_counts; /* sigma/counts.h */

/* `rules` must outlive it. */
struct matcher *matcher_new(const struct ruleset *rules);
/* The same with `compiled`, which was made of `rules` and must outlive it too; NULL: without. */
struct matcher *matcher_new_with(const struct ruleset *rules, const struct compiled *compiled);
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
 * for one (sigma/regex.h): such a test counts as not holding. With a compiled set fewer tests are made, so fewer are cut
 * short. Also how many events had too much text to fold: their tests are case-sensitive. */
uint64_t matcher_limited(const struct matcher *m);
/* How many rules were looked at so far, that is their condition evaluated. */
uint64_t matcher_tried(const struct matcher *m);

#endif
