/* conf/logsources.yaml compiled: what logsource_load.c and logsource_index.c build and logsource.c walks. Private
 * to those three.
 *
 * Every field name that the file mentions has a number, its slot, so that one hash look-up per field of an event
 * answers everything about it, and the rest works on small arrays. Names, values and conditions lie in the arena;
 * arrays that grow while loading do not. */
#ifndef ISOD_EVENT_LOGSOURCE_TABLE_H
#define ISOD_EVENT_LOGSOURCE_TABLE_H

#include "base/arena.h"
#include "event/logsource.h"
#include "event/needles.h"

#define LOGSOURCE_NAMES_MAX                                                                        \
	2048 /* field names in the file: an array of them is on the stack per event */
#define LOGSOURCE_DERIVES_MAX 512           /* derived fields in the file */
#define LOGSOURCE_WHEN_DEPTH  8             /* nested `any` and `not` */
#define LOGSOURCE_PARTS_MAX   16            /* pieces of one template */
#define LOGSOURCE_SOURCE      "isod.source" /* the name that stands for the source in conditions */
#define LOGSOURCE_NO_SLOT     UINT16_MAX
/* What may be to do for an event, a bit each: derived fields first, sources after. */
#define LOGSOURCE_JOBS (LOGSOURCE_DERIVES_MAX + LOGSOURCES_MAX)

enum when_kind {
	WHEN_ALL,
	WHEN_ANY,
	WHEN_NOT, /* one part */
	WHEN_FIELD,
	WHEN_SOURCE, /* where the frame came from (struct event's source), which no sender can choose */
};

enum field_test { FIELD_EQUALS, FIELD_STARTS, FIELD_ENDS, FIELD_CONTAINS, FIELD_EXISTS };

/* A condition on an event. */
struct when {
	enum when_kind kind;
	struct when **parts; /* ALL, ANY, NOT */
	size_t count;
	/* FIELD: any value of the field passes the test with any of `values`; letter case does not count. SOURCE: the
	 * same of the source; no slot, no EXISTS. */
	enum field_test test;
	uint16_t slot;
	bool present; /* EXISTS: whether it must be there or must not */
	struct str *values;
	size_t value_count;
};

/* Jobs worth a look once a field has this value. */
struct value_jobs {
	struct str text; /* as in the file; p == NULL: free place of the table */
	uint32_t hash;
	uint32_t mentions; /* conditions that name this value: the fewer, the better it selects */
	uint16_t *jobs;
	size_t count, cap;
};

/* Tests with beginnings or ends of values, and the jobs worth a look where they hold. */
struct affix_jobs {
	struct value_jobs *items; /* each text once */
	size_t count, cap;
	uint64_t bytes[4]; /* a bit for each byte, in lower case, that a text begins or ends with */
};

struct field_name {
	struct str text;
	uint32_t hash;    /* event_name_hash() */
	uint16_t rename;  /* slot of the name it gets, or LOGSOURCE_NO_SLOT */
	uint16_t *second; /* slots of its second names */
	size_t second_count;
	struct value_jobs *values; /* open addressing; NULL: no condition compares it */
	size_t value_size;         /* power of two */
	size_t value_count;
	size_t longest;    /* bytes of the longest value in the table */
	uint16_t *present; /* jobs worth a look as soon as the field is there */
	size_t present_count, present_cap;
	bool within; /* there are some of those that follow */
	bool opaque; /* some condition tests its values for what none of these tells of */
	struct affix_jobs starts, ends;
	struct needles needles;      /* texts within values … */
	struct value_jobs *contains; /* … and the jobs of each, by its number */
	size_t contains_cap;
};

enum part_kind {
	PART_TEXT,
	PART_FIELD,    /* {name}: the first value */
	PART_WORD,     /* {name:word}: its first word */
	PART_PATH,     /* {name:path}: what stands before the first '?' */
	PART_VALUES,   /* {name:all}: every value, a space between */
	PART_NUMBERED, /* {a0:list}: a0 a1 a2 … while they exist, a space between */
};

struct part {
	enum part_kind kind;
	uint16_t slot;
	struct str text; /* TEXT; NUMBERED: the name without its number */
	unsigned number; /* NUMBERED: the first */
};

struct candidate {
	struct part *parts;
	size_t count;
};

struct derive {
	uint16_t slot;
	uint16_t displace;       /* the name that fields of this name get, or LOGSOURCE_NO_SLOT */
	const struct when *when; /* NULL: always */
	struct candidate *from;  /* the first that gives a value is taken */
	size_t from_count;
	struct str *skip; /* values that say nothing; `*` at either end */
	size_t skip_count;
	bool address; /* only an address of a remote party, in its canonical form */
};

/* "Event.UserData.?.": up to the `?`, and after the path element that stands for it. */
struct prefix {
	struct str head, tail;
	bool element;
	const struct prefix *next; /* that begins with the same byte, as the file has them */
	uint64_t word, mask;       /* of a name, its first eight bytes under the mask are these */
};

/* One item of `sources`: entries first … first + count - 1 share its condition. */
struct source {
	const struct when *when;
	uint16_t first, count;
	bool beside; /* says nothing of what the event is: rules of unknown log sources are tried on it still */
};

struct entry {
	struct str product, category, service;
};

struct logsources {
	struct arena arena;
	struct field_name *names;
	size_t name_count, name_cap;
	uint32_t *index; /* by hash of the name: its upper half, then slot + 1; 0: free */
	size_t index_size;
	struct prefix *prefixes;
	size_t prefix_count;
	const struct prefix *prefix_from[256]; /* the first that begins with the byte, or NULL */
	struct derive *derives;
	size_t derive_count;
	struct source *sources;
	size_t source_count, source_cap;
	uint64_t always[LOGSOURCE_JOBS / 64]; /* jobs that no field's absence can rule out */
	struct entry *entries;
	size_t entry_count, entry_cap;
	const struct when **source_tests; /* those of kind SOURCE, of all conditions */
	size_t source_test_count, source_test_cap;
};

/* Builds `index`, the value tables and the triggers from names and sources. */
void logsources_index(struct logsources *l);

/* Of the bytes in lower case. */
static inline uint32_t logsource_value_hash(struct str s)
{
	uint64_t h = s.n, word;
	size_t i = 0;

	for (; i + 8 <= s.n; i += 8) {
		memcpy(&word, s.p + i, 8);
		h = (h ^ bytes_lower(word)) * 0xff51afd7ed558ccd;
		h ^= h >> 32;
	}
	h = (h ^ bytes_lower(str_word(str_skip(s, i)))) * 0xc4ceb9fe1a85ec53;
	return (uint32_t)(h >> 32);
}

/* Calls `found` for each text that conditions ask for and that the value is, begins or ends with, or holds; for the
 * last kind maybe more than once. */
void logsource_value_facts(const struct field_name *n, struct str value,
                           void (*found)(void *arg, const struct value_jobs *v), void *arg);
/* Whether the value passes a test of kind FIELD or SOURCE. */
bool logsource_value_passes(const struct when *w, struct str value);

/* ---- what was found out before (logsource_memo.c) ---- */

#define MEMO_FIELDS_MAX 32 /* an event with more is not remembered */
#define MEMO_COPIES_MAX 8  /* second names of its fields */

/* Field `at` also got the name `slot`. */
struct memo_copy {
	uint16_t at, slot;
};

/* True when all is done. */
bool logsource_memo_find(struct logsource_memo *m, struct event *e, struct logsource_set *ret);
/* After an unsuccessful memo_find: what came of it. The event has its fields as they were then, and then the copies. */
void logsource_memo_learn(struct logsource_memo *m, const struct event *e,
                          const struct memo_copy *copies, size_t copy_count,
                          const struct logsource_set *sources);

#define LOGSOURCE_INDEX_TAG 0xffff0000u

/* The name's number, or LOGSOURCE_NO_SLOT. */
static inline uint16_t logsource_slot(const struct logsources *l, struct str name, uint32_t hash)
{
	for (size_t i = hash & (l->index_size - 1); l->index[i];
	     i = (i + 1) & (l->index_size - 1)) {
		if ((l->index[i] ^ hash) & LOGSOURCE_INDEX_TAG)
			continue;
		uint16_t slot = (uint16_t)(l->index[i] - 1);
		if (l->names[slot].hash == hash && str_eq(l->names[slot].text, name))
			return slot;
	}
	return LOGSOURCE_NO_SLOT;
}

/* The place of `text` in the name's value table: the value itself or a free one. */
static inline struct value_jobs *logsource_value(const struct field_name *n, struct str text,
                                                 uint32_t hash)
{
	size_t i = hash & (n->value_size - 1);

	while (n->values[i].text.p &&
	       (n->values[i].hash != hash || !str_ieq(n->values[i].text, text)))
		i = (i + 1) & (n->value_size - 1);
	return &n->values[i];
}

#endif
