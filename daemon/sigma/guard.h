/* What a rule cannot do without. For each rule a small set of atoms is chosen of which at least one must fit whenever
 * the rule holds, its guard; and, where that is cheap and worth it, a second such set. A rule is looked at only when one
 * of each has been found. Only for sigma/compile.c. */
#ifndef ISOD_SIGMA_GUARD_H
#define ISOD_SIGMA_GUARD_H

#include "sigma/atoms.h"
#include "sigma/condition.h"

#define GUARDS_MAX 2

/* What an atom's `refs` say: which of the guards of which rule. */
static inline uint32_t guard_ref(uint32_t rule, unsigned guard)
{
	return rule * GUARDS_MAX + guard;
}

/* First for the conditions of all rules, so that guards are chosen by what is rare among them; then atoms_counted(). */
void guard_count(struct atoms *g, const struct condition *c);
/* Then: hangs `rule` on the atoms of its guards. How many it has; 0: it can hold when nothing is there. */
unsigned guard_choose(struct atoms *g, const struct condition *c, uint32_t rule);

#endif
