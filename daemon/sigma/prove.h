/* Can a condition hold for any event at all? For the linter. A tableau: goals are taken apart until only items are
 * left, which hold or fail; a branch is closed when the items on one field contradict each other. */
#ifndef ISOD_SIGMA_PROVE_H
#define ISOD_SIGMA_PROVE_H

#include "base/arena.h"
#include "sigma/condition.h"

enum goal_kind { GOAL_CONDITION, GOAL_DETECTION, GOAL_TEST };

/* Something that is to hold, or to fail. A list; lists may share their ends. */
struct goal {
	enum goal_kind kind;
	bool holds;
	const void *node; /* struct condition, struct detection, or the struct item of GOAL_TEST */
	const struct test *test; /* GOAL_TEST */
	const struct goal *next;
};

struct literal;

struct prover {
	struct arena arena; /* goals */
	struct literal *literals;
	size_t count, cap;
	size_t steps; /* left before it gives up, of all questions together */
	bool gave_up;
	/* Why the last goals cannot hold: two items on one field, of which `covered` says that the second excludes what the
	 * first asks for, and not that the two have no value in common. `first` may be NULL: no reason worth telling. */
	const struct item *first, *second;
	bool covered;
	bool several; /* an event that has a field more than once may meet the goals all the same */
};

#define PROVER_STEPS                                                                               \
	2000000 /* for one rule: a fraction of a second; SigmaHQ's worst takes a tenth of it */

void prover_init(struct prover *p);
void prover_release(struct prover *p);
/* For the next rule. */
void prover_reset(struct prover *p);

/* `node` in front of `next`; lives until prover_reset. */
const struct goal *goal_condition(struct prover *p, const struct condition *c, bool holds,
                                  const struct goal *next);
const struct goal *goal_detection(struct prover *p, const struct detection *d, bool holds,
                                  const struct goal *next);

/* False: no event is such that all goals are met. True: there may be one, or it gave up. */
bool prover_satisfiable(struct prover *p, const struct goal *goals);

#endif
