/* Sigma's value modifiers (specification 2.1.0, modifier appendix): `field|mod|mod: values`, applied in the order
 * they are written. A table of all of them, with what may stand before each. Only sigma/selection.c uses this. */
#ifndef ISOD_SIGMA_MODIFIERS_H
#define ISOD_SIGMA_MODIFIERS_H

#include "sigma/selection.h"

/* One value of an item while modifiers work on it. */
struct draft_value {
	const struct yaml_node *node; /* for its place */
	struct str text;              /* as written (placeholders filled in) */
	struct sigma_string string;   /* what it has become */
};

/* An item in the making. */
struct draft {
	struct selection_context *c;
	int line, column;           /* of the key */
	bool quoted_key;            /* columns inside it are one further on */
	struct draft_value *values; /* heap: draft_release */
	size_t count, cap;
	uint32_t seen; /* classes of the modifiers so far */
	bool all, negate, cased;
	enum test_kind kind;
	unsigned regex_flags; /* enum regex_flag */
	enum compare_op op;
	enum time_part part;
	enum affix affix;
};

void draft_release(struct draft *d);

/* Applies `chain` ("contains|all"; p == NULL: none), which stands `offset` bytes into the key. 0 or -EINVAL
 * with at least one error. */
int modifiers_apply(struct draft *d, struct str chain, size_t offset);

/* True if any modifier changed what the text is compared by, so that a number is only text any more. */
bool modifiers_touched_text(const struct draft *d);

#endif
