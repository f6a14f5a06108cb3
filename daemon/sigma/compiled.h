/* What compile.c builds, candidates.c walks and nobody else sees.
 *
 * Every field that guards ask for is a slot. Triggers that are found by a hash (values, prefixes, suffixes, numbers,
 * networks) stand in one table for all slots; patterns have a database per slot. A trigger leads to the rules
 * that it guards. */
#ifndef ISOD_SIGMA_COMPILED_H
#define ISOD_SIGMA_COMPILED_H

#include "base/mem.h"
#include "sigma/compile.h"
#include "sigma/guard.h"
#include "sigma/patterns_db.h"

/* Rules whose log sources are the same set. */
struct group {
	const struct rule *first;
	const uint32_t *always; /* its rules without a guard */
	size_t always_count;
};

#define NO_TRIGGER UINT32_MAX /* a free place among the probes */

/* An atom as it is used. */
struct trigger {
	enum atom_kind kind;
	uint32_t slot;
	struct str text;
	double number;
	const struct regex *regex;
	const struct network *network;
	uint32_t first, count; /* of its references */
};

struct reference {
	uint32_t ref; /* guard_ref() */
	uint32_t group;
};

struct probe {
	uint32_t tag; /* the upper half of the hash */
	uint32_t trigger;
};

struct bound {
	double at;
	uint32_t trigger;
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

/* Beginnings and ends are hashed by as many bytes as a step of this ladder; what is found is then compared whole. So a
 * value is hashed a few times, however many lengths there are. */
static inline size_t affix_key(size_t n)
{
	return n >= 32 ? 32 : n >= 16 ? 16 : n >= 8 ? 8 : n >= 4 ? 4 : n;
}

/* Lengths that occur among the keys of a slot, ascending. */
struct lengths {
	const uint8_t *items;
	size_t count;
};

/* What a database searches in. */
enum scan_sort {
	SCAN_FRAME, /* the raw frame for keywords, whose values it has too: EVENT_JSON; else each value */
	SCAN_TEXT,  /* the folded value */
	SCAN_REGEX, /* the value as it is */
};

#define SLOT_FILTER_SPARSE                                                                         \
	16 /* bits of a slot's filter for each of its hashes: one in so many is set */

/* One database: what rules of one group look for in one slot. */
struct scan {
	uint32_t slot, group;
	enum scan_sort sort;
	struct pattern_db *db;
};

struct slot {
	struct str name;
	uint32_t hash;
	/* A bit for each hash under which something of the slot stands among the probes: most values are seen to be
	   nothing without a look there. */
	uint64_t *filter;
	size_t filter_mask; /* its bits - 1 */
	uint64_t *groups
		[LOOKS]; /* bit sets: whose rules each look can make candidates; NULL: no such atom */
	const uint32_t *present; /* PRESENT, and patterns that no database searches for */
	size_t present_count;
	size_t value_max;                            /* bytes of the longest VALUE */
	struct lengths prefixes, suffixes, networks; /* networks: bits */
	const struct bound *lower, *upper;           /* AT_LEAST, AT_MOST, by `at` ascending */
	size_t lower_count, upper_count;
	size_t scan_first, scan_count; /* among the scans of the set */
	const uint32_t *texts;         /* CONTAINS */
	size_t text_count;
	const uint32_t *regex_atoms; /* REGEX, for values that are not ASCII */
	size_t regex_count;
};

struct compiled {
	struct arena arena;
	const struct ruleset *rules;
	struct trigger *triggers;
	size_t trigger_count;
	struct reference *references;
	uint64_t *single;   /* bit set: rules with one guard */
	uint32_t *group_of; /* rule → group */
	struct group *groups;
	size_t group_count;
	struct slot *slots; /* SLOT_KEYWORDS first */
	size_t slot_count;
	/* By hash of the name: its upper half (never 0; 0 is a free place), and the slot. Apart, so that the first, where
	   nearly all fields of an event end, is small. */
	uint16_t *slot_tags;
	uint32_t *slot_numbers;
	size_t slot_index_size;
	struct scan *scans; /* by slot */
	size_t scan_count;
	struct probe *probes;
	size_t probe_size; /* power of two */
	struct compiled_facts facts;
};

/* A list of numbers that grows. */
struct numbers {
	uint32_t *items;
	size_t count, cap;
};

void numbers_add(struct numbers *n, uint32_t number);

/* Makes c->scans. The triggers that no database searches for are added to `refused`. 0 or -ECANCELED. */
int compile_patterns(struct compiled *c, const struct compile_options *o, struct diags *diags,
                     struct numbers *refused);

/* ---- hashing, the same while building and while looking ---- */

static inline uint16_t slot_tag(uint32_t hash)
{
	return (uint16_t)(hash >> 16 | 1);
}

static inline void slot_filter_add(struct slot *s, uint64_t h)
{
	size_t bit = (h >> 32) & s->filter_mask;

	s->filter[bit / 64] |= (uint64_t)1 << bit % 64;
}

static inline bool slot_filter_has(const struct slot *s, uint64_t h)
{
	size_t bit = (h >> 32) & s->filter_mask;

	return s->filter[bit / 64] >> bit % 64 & 1;
}

static inline uint64_t probe_seed(uint32_t slot, enum atom_kind kind)
{
	return (slot + 1) * 0x9e3779b97f4a7c15 + (uint64_t)kind * 0xc2b2ae3d27d4eb4f;
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
	return probe_word(h, str_word(str_skip(s, i)) ^ (uint64_t)s.n << 56);
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
