/* Rules whose log sources are the same set are let in or left out together: they are asked about once an event. */
#ifndef ISOD_SIGMA_RULE_GROUPS_H
#define ISOD_SIGMA_RULE_GROUPS_H

#include "sigma/rules.h"

/* Groups the rules of the set: of[i] is the group of rule i, (*ret_first)[g] the first rule of group g (the caller frees
 * the array). Returns how many groups there are; they are in the order of their first rules. */
size_t rule_groups_make(const struct ruleset *set, uint32_t *of, const struct rule ***ret_first);

#endif
