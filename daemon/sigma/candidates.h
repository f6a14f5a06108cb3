/* For one event the rules of a compiled set that are worth a look: their log source fits, and something of their guard
 * is there. One per thread. */
#ifndef ISOD_SIGMA_CANDIDATES_H
#define ISOD_SIGMA_CANDIDATES_H

#include "sigma/compile.h"
#include "sigma/evaluate.h"

struct candidates;

/* `c` must outlive it. */
struct candidates *candidates_new(const struct compiled *c);
void candidates_free(struct candidates *x);

/* Finds them for the event at `v`, which must not be crowded. */
void candidates_find(struct candidates *x, struct evaluator *v,
                     const struct logsource_set *sources);
/* Takes the next one, in the set's order; false at the end. To be called until then. */
bool candidates_next(struct candidates *x, size_t *ret_rule);

#endif
