/* The search identifiers under a rule's `detection` ("selections"): maps (all of their items), lists of maps (any of
 * them), lists of text (keywords: any of them, in any field or the raw message), and the items themselves, a field
 * with modifiers and the values it is tested for. Read-only once parsed; lives in the rule set's arena. */
#ifndef ISOD_SIGMA_SELECTION_H
#define ISOD_SIGMA_SELECTION_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/yaml.h"
#include "sigma/pattern.h"
#include "sigma/placeholders.h"
#include "sigma/regex.h"
#include "sigma/values.h"

enum test_kind {
	TEST_TEXT,   /* the value fits `pattern`; with `numeric` also if it is the same number */
	TEST_NULL,   /* the field is null or not there */
	TEST_EXISTS, /* the field is there (`wanted`) or not */
	TEST_REGEX,  /* `regex` is found in the value */
	TEST_CIDR,   /* the value is an address inside `network` */
	TEST_COMPARE, /* the value is a number, or has the date part `part`, that compares with `number` */
	TEST_FIELD, /* the value is, begins with, ends with or contains a value of the field `other` */
};

enum compare_op { COMPARE_EQ, COMPARE_LT, COMPARE_LTE, COMPARE_GT, COMPARE_GTE };
enum affix { AFFIX_NONE, AFFIX_START, AFFIX_END, AFFIX_ANYWHERE };

struct test {
	enum test_kind kind;
	struct str written; /* the value as the rule has it (placeholders filled in), for people */
	bool numeric;       /* TEST_TEXT */
	bool wanted;        /* TEST_EXISTS */
	union {
		struct pattern pattern;
		const struct regex *regex;
		struct network network;
		struct {
			enum compare_op op;
			enum time_part part;
		} compare;
		struct {
			struct str name;
			uint32_t hash;
			enum affix affix;
		} other;
	};
	struct number number; /* TEST_TEXT with `numeric`, TEST_COMPARE */
};

struct item {
	struct str field; /* p == NULL: a keyword item */
	struct str key;   /* as the rule has it, with modifiers; STR_NONE: keywords without a key */
	uint32_t hash;    /* of the field's name: event_name_hash() */
	bool all;         /* every test must hold, not just one */
	bool negate;      /* neq: it holds when its tests do not */
	bool cased;
	bool texts; /* all tests are TEST_TEXT */
	const struct test *tests;
	size_t count;
	int line, column;
};

enum detection_kind { DETECT_ITEM, DETECT_ALL, DETECT_ANY };

struct detection {
	enum detection_kind kind;
	const struct item *item;              /* DETECT_ITEM */
	const struct detection *const *parts; /* DETECT_ALL, DETECT_ANY */
	size_t count;
};

/* Where compiled expressions are kept to be freed with the set. */
struct regexes {
	struct regex **items;
	size_t count, cap;
};

void regexes_release(struct regexes *r);

/* What parsing needs to know of its surroundings. */
struct selection_context {
	struct arena *arena;   /* of the set */
	struct arena *scratch; /* of this file: for what is not kept */
	const char *file;
	struct diags *diags;
	const struct placeholders *placeholders; /* may be NULL */
	struct regexes *regexes;
};

#define SELECTION_VALUES_MAX 200000 /* values of one item, after placeholders are filled in */
#define SELECTION_VALUE_MAX                                                                        \
	65536 /* bytes of one: no field of a frame is longer (the default frame limit) */
#define SELECTION_BYTES_MAX ((size_t)64 << 20) /* of one item's values, filled in or encoded */
#define REGEXES_MAX         20000 /* of a set, SigmaHQ has 300; compiled ones take kilobytes each */

/* The detection that `node` describes, or NULL with at least one error. `name` is for messages. */
const struct detection *detection_parse(struct selection_context *c, struct str name,
                                        const struct yaml_node *node);

/* Adds an error or a warning at a place; returns -EINVAL for convenience. */
int selection_complain(struct selection_context *c, enum diag_severity severity, int line,
                       int column, const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
