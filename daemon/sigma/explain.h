/* Why a rule holds for an event or not: its condition as a tree with the verdict of every part, down to the value
 * that decided. The verdicts are sigma/evaluate.h's, asked part by part. */
#ifndef ISOD_SIGMA_EXPLAIN_H
#define ISOD_SIGMA_EXPLAIN_H

#include "event/event.h"
#include "sigma/rules.h"

enum explained_kind {
	EXPLAINED_AND,
	EXPLAINED_OR,
	EXPLAINED_NOT,
	EXPLAINED_AT_LEAST,  /* `need` of the parts */
	EXPLAINED_SELECTION, /* `name`; one part: what stands under it */
	EXPLAINED_MAP,       /* all parts */
	EXPLAINED_LIST,      /* any part */
	EXPLAINED_ITEM,
};

struct explained_test {
	const struct test *test;
	bool holds;
	/* What fits it: a field of the event; NULL with `raw`: the raw frame; NULL without: nothing, or the test is one of
	 * TEST_NULL and TEST_EXISTS. */
	const struct field *field;
	bool raw;
};

struct explained {
	enum explained_kind kind;
	bool holds;
	size_t need;     /* EXPLAINED_AT_LEAST */
	struct str name; /* EXPLAINED_SELECTION */
	struct explained *parts;
	size_t count;
	/* EXPLAINED_ITEM: */
	const struct item *item;
	struct explained_test *tests; /* item->count of them */
	const struct field *field;    /* the first of that name in the event, or NULL */
};

struct explanation {
	bool source_fits; /* the event's log sources are such that the rule is tried */
	bool matches;     /* source_fits, and the condition holds */
	struct explained condition;
};

/* Explains what matcher_run does with the rule. Lives in the arena, refers to the rule and the event. */
void explain_rule(const struct ruleset *set, const struct rule *rule, const struct event *e,
                  const struct logsource_set *sources, struct arena *arena,
                  struct explanation *ret);

#endif
