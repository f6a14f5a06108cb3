/* A rule's condition (specification 2.1.0, "Condition") as a tree over its selections.
 *
 *   or   = and { "or" and }          and = not { "and" not }         not = { "not" } term
 *   term = "(" or ")" | ( "1" | "any" | "all" | N ) "of" ( "them" | PATTERN ) | SELECTION
 *
 * Keywords in any case, names of selections in theirs. `them`: all selections whose name does not begin with `_`.
 * PATTERN: a name with `*`. `N of` with N > 1 is an extension: at least so many. */
#ifndef ISOD_SIGMA_CONDITION_H
#define ISOD_SIGMA_CONDITION_H

#include "sigma/selection.h"

#define CONDITION_TEXT_MAX  65536 /* bytes; the longest of SigmaHQ has 542 */
#define CONDITION_LIST_MAX  1000  /* conditions of one rule */
#define CONDITION_DEPTH_MAX 64    /* brackets in brackets */

struct selection {
	struct str name;
	const struct detection *detection; /* NULL: it is there, but has errors of its own */
	int line, column;
	bool used; /* by a condition */
};

enum condition_kind {
	CONDITION_SELECTION,
	CONDITION_NOT, /* of its only part */
	CONDITION_AND,
	CONDITION_OR,
	CONDITION_AT_LEAST, /* `need` of its parts */
};

struct condition {
	enum condition_kind kind;
	size_t need;
	struct str name; /* of CONDITION_SELECTION, to explain a match */
	const struct detection *detection;
	const struct condition *const *parts;
	size_t count;
};

/* Parses `node`, a text or a list of them (any of which may hold), and marks the selections it uses.
 * The tree, or NULL with at least one error; also NULL if a selection it uses has a detection of NULL. */
const struct condition *condition_parse(struct selection_context *c, const struct yaml_node *node,
                                        struct selection *selections, size_t count);

#endif
