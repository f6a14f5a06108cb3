/* How the values that two tests accept lie to each other: for the linter, which looks for conditions that cannot hold.
 * "No" may also mean "cannot tell": what these say is true, what they do not say may be true as well. */
#ifndef ISOD_SIGMA_RELATION_H
#define ISOD_SIGMA_RELATION_H

#include "sigma/selection.h"

/* A test of an item: letter case counts or not, and the modifiers are part of what it means. */
struct item_test {
	const struct item *item;
	const struct test *test;
};

/* No single value of a field fits both. */
bool tests_disjoint(struct item_test a, struct item_test b);
/* Every value that fits `a` fits `b`. */
bool test_within(struct item_test a, struct item_test b);

#endif
