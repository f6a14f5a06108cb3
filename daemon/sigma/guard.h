/* What a rule cannot do without. For each rule a small set of tests is chosen of which at least one must fit whenever
 * the rule holds, its guard: a rule is looked at only when one of them has. The tests are reduced to what is cheap to
 * look for, atoms, which may fit more often than the test they come from but never less often.
 *
 * Only for sigma/compile.c and what it builds. */
#ifndef ISOD_SIGMA_GUARD_H
#define ISOD_SIGMA_GUARD_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "sigma/condition.h"

enum atom_kind {
	ATOM_PRESENT,  /* the field is there */
	ATOM_VALUE,    /* the folded value is `text` */
	ATOM_PREFIX,   /* … begins with it */
	ATOM_SUFFIX,   /* … ends with it */
	ATOM_NUMBER,   /* the value is a number equal to `number` */
	ATOM_AT_LEAST, /* … or greater */
	ATOM_AT_MOST,  /* … or less */
	ATOM_NETWORK,  /* the value is an address in `network` */
	ATOM_CONTAINS, /* the folded value contains `text` */
	ATOM_REGEX,    /* `regex` is found in the value */
};
#define ATOM_KINDS (ATOM_REGEX + 1)

#define SLOT_KEYWORDS 0 /* stands for every value and the raw frame; fields begin at 1 */

struct atom {
	enum atom_kind kind;
	uint32_t slot;
	struct str text;
	double number;
	const struct regex *regex;
	const struct network *network;
	uint32_t mentions; /* tests it comes from: what many rules ask for is likely to be there */
	uint32_t *rules;   /* heap: the rules it is in the guard of, ascending */
	size_t count, cap;
};

/* A field that rules ask for. */
struct slot_name {
	struct str text;
	uint32_t hash; /* event_name_hash() */
};

struct guards {
	struct arena arena; /* texts */
	struct atom *atoms;
	size_t count, cap;
	struct map index; /* what an atom is, as bytes → its number + 1 */
	struct slot_name *slots;
	size_t slot_count, slot_cap;
	struct map slot_index; /* name → slot */
	struct buf key;
};

/* Longer texts are looked for by their first (a suffix: last) bytes. */
#define ATOM_TEXT_MAX 64

void guards_init(struct guards *g);
void guards_release(struct guards *g);

/* First for the conditions of all rules, so that guards are chosen by what is rare among them. */
void guards_count(struct guards *g, const struct condition *c);
/* Then: hangs `rule` on the atoms of its guard. False if it has none: it can hold when nothing is there. */
bool guards_choose(struct guards *g, const struct condition *c, uint32_t rule);

#endif
