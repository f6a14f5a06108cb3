/* Tests reduced to what is cheap to look for, atoms: an atom may fit more often than the test it comes from, never less
 * often. Equal ones of all rules are one. Only for sigma/guard.c and sigma/compile.c. */
#ifndef ISOD_SIGMA_ATOMS_H
#define ISOD_SIGMA_ATOMS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "sigma/selection.h"

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
	uint32_t
		mentions; /* tests, of whatever field, that have the same text or number: what many rules ask for is
	                      likely to be there */
	uint32_t *refs; /* heap: what it guards, ascending: guard_ref() */
	size_t count, cap;
};

/* A field that rules ask for. */
struct slot_name {
	struct str text;
	uint32_t hash; /* event_name_hash() */
};

struct atoms {
	struct arena arena; /* texts */
	struct atom *items;
	size_t count, cap;
	struct map index;    /* what an atom is, as bytes → its number + 1 */
	struct map mentions; /* the same without kind and slot → how often */
	struct slot_name *slots;
	size_t slot_count, slot_cap;
	struct map slot_index; /* name → slot */
	uint32_t *tails;       /* how often rules mention four bytes of such classes in a row */
	struct buf key;
};

/* Longer texts are looked for by their first (a suffix: last) bytes. */
#define ATOM_TEXT_MAX 64

/* True if the text, when some value has it, stands in a JSON frame just so: nothing in it is ever written with an escape
 * (but \u, which the decoder tells: EVENT_JSON). */
bool atom_text_is_verbatim(struct str text);

void atoms_init(struct atoms *g);
void atoms_release(struct atoms *g);

/* The atom that fits whenever the test of an item that is not negated does, or NULL: it can fit when nothing is there.
 * Valid until the next call. */
struct atom *atom_of(struct atoms *g, const struct item *item, const struct test *t);

/* Counts a mention of the atom; when all are counted, atoms_counted(), which fills in `mentions`. */
void atom_mention(struct atoms *g, const struct atom *a);
void atoms_counted(struct atoms *g);

/* The part of a CONTAINS atom's text that is to be searched for: see atoms.c. */
struct str atom_searched(const struct atoms *g, const struct atom *a);

/* How likely a value is to have it, 0 to 1: a guess. */
double atom_chance(const struct atom *a);

#endif
