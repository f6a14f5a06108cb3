/* What compile.c builds, candidates.c walks and nobody else sees.
 *
 * Every field that guards ask for is a slot. Atoms that are found by a hash (values, prefixes, suffixes, numbers,
 * networks) stand in one table for all slots; patterns have a database per slot. An atom leads to the rules that it is
 * in the guard of. */
#ifndef ISOD_SIGMA_COMPILED_H
#define ISOD_SIGMA_COMPILED_H

#include "sigma/compile.h"
#include "sigma/guard.h"
#include "sigma/patterns_db.h"

/* Rules whose log sources are the same set. */
struct group {
	const struct rule *first;
	const uint32_t *always; /* its rules without a guard */
	size_t always_count;
};

#define NO_ATOM UINT32_MAX /* a free place among the probes */

struct probe {
	uint32_t tag; /* the upper half of the hash */
	uint32_t atom;
};

struct bound {
	double at;
	uint32_t atom;
};

/* The ways in which a slot is looked at, a bit each in a route. */
enum look {
	LOOK_PRESENT = 1 << 0,
	LOOK_VALUE = 1 << 1,
	LOOK_PREFIX = 1 << 2,
	LOOK_SUFFIX = 1 << 3,
	LOOK_NUMBER = 1 << 4, /* numbers and bounds */
	LOOK_NETWORK = 1 << 5,
	LOOK_TEXT = 1 << 6,  /* CONTAINS */
	LOOK_REGEX = 1 << 7, /* REGEX */
};
#define LOOK_FOLDED (LOOK_VALUE | LOOK_PREFIX | LOOK_SUFFIX | LOOK_TEXT)
#define LOOKS       8

/* Lengths that occur among the atoms of a slot, ascending. */
struct lengths {
	const uint8_t *items;
	size_t count;
};

struct slot {
	struct str name;
	uint32_t hash;
	uint64_t *groups
		[LOOKS]; /* bit sets: whose rules each look can make candidates; NULL: no such atom */
	const uint32_t *present; /* PRESENT, and patterns that no database searches for */
	size_t present_count;
	size_t value_max;                            /* bytes of the longest VALUE */
	struct lengths prefixes, suffixes, networks; /* networks: bits */
	const struct bound *lower, *upper;           /* AT_LEAST, AT_MOST, by `at` ascending */
	size_t lower_count, upper_count;
	struct pattern_db *texts, *regexes;
	const uint32_t *regex_atoms; /* REGEX, for values that are not ASCII */
	size_t regex_count;
};

struct compiled {
	struct arena arena;
	const struct ruleset *rules;
	struct guards guards;
	uint32_t *group_of; /* rule → group */
	struct group *groups;
	size_t group_count;
	struct slot *slots; /* SLOT_KEYWORDS first */
	size_t slot_count;
	uint32_t *slot_index; /* by hash of the name: slot; 0: free */
	size_t slot_index_size;
	struct probe *probes;
	size_t probe_size; /* power of two */
	struct compiled_facts facts;
};

/* ---- hashing, the same while building and while looking ---- */

static inline uint64_t probe_seed(uint32_t slot, enum atom_kind kind)
{
	return (slot + 1) * 0x9e3779b97f4a7c15 + (uint64_t)kind * 0xc2b2ae3d27d4eb4f;
}

static inline uint64_t probe_byte(uint64_t h, char c)
{
	return (h ^ (unsigned char)c) * 0x100000001b3;
}

static inline uint64_t probe_end(uint64_t h)
{
	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9;
	return h ^ h >> 32;
}

static inline uint64_t probe_word(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0xff51afd7ed558ccd;
	return h ^ h >> 32;
}

/* Of a whole value, eight bytes a step. */
static inline uint64_t probe_value(uint64_t h, struct str s)
{
	uint64_t word;
	size_t i = 0;

	for (; i + 8 <= s.n; i += 8) {
		memcpy(&word, s.p + i, 8);
		h = probe_word(h, word);
	}
	word = 0;
	if (i < s.n)
		memcpy(&word, s.p + i, s.n - i);
	return probe_word(h, word ^ (uint64_t)s.n << 56);
}

static inline uint64_t probe_number(uint64_t h, double number)
{
	uint64_t word;

	memcpy(&word, &number, sizeof(word));
	return probe_word(h, word);
}

static inline uint64_t probe_network(uint64_t h, const struct network *n)
{
	uint64_t halves[2];

	memcpy(halves, n->address, sizeof(halves));
	return probe_word(probe_word(probe_word(h, halves[0]), halves[1]), n->prefix);
}

#endif
