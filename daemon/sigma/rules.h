/* Sigma rules (specification 2.1.0): detection and correlation rules from YAML files into one read-only rule
 * set that all threads share. A rule that cannot be supported is an error with file, line and column. */
#ifndef ISOD_SIGMA_RULES_H
#define ISOD_SIGMA_RULES_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/map.h"
#include "event/event.h"
#include "event/logsource.h"
#include "ledger.pb-c.h"
#include "sigma/placeholders.h"
#include "sigma/selection.h"

struct condition; /* sigma/condition.h: the parsed condition over the rule's selections */

struct rule {
	struct str id;   /* `id`, or "TITLE" when the rule has none: unique within a set */
	struct str name; /* `name`, for references; STR_NONE if absent */
	struct str title;
	Isod__V1__Level level; /* LEVEL_MEDIUM when the rule names none */
	struct str *tags;      /* as written, lower case */
	size_t tag_count;
	struct str *fields; /* the rule's own `fields` list */
	size_t field_count;
	struct str product, category, service;
	bool unmapped; /* the log-source table knows no such source: see logsources_resolve */
	struct logsource_set sources;
	const struct condition *condition;
	bool silent; /* referred to by a correlation without `generate: true`: opens nothing itself */
	struct str *
		group_fields; /* fields that correlations on this rule group by or count (aliases resolved) */
	size_t group_field_count;
	const char *file;
	int line;
};

struct ruleset {
	struct arena arena;
	struct rule *rules; /* in order of file and document */
	size_t count;
	Isod__V1__Correlation **correlations; /* references resolved to ids; in the arena */
	size_t correlation_count;
	size_t filters; /* filter documents, already worked into the conditions of their rules */
	size_t files;
	bool routed; /* loaded with a log-source table: `sources` and `unmapped` of the rules count */
	struct regexes regexes;
	struct map *index; /* id in lower case → rule */
};

enum lint_flag {
	LINT_RULES =
		1
		<< 0, /* warn of what makes no sense: dead filters, conditions that never hold … */
	LINT_CONVENTIONS = 1 << 1, /* and of what SigmaHQ does not do */
};

struct ruleset_options {
	const struct logsources *logsources;     /* NULL: every rule is tried on every event */
	const struct placeholders *placeholders; /* for `expand`; NULL: none are known */
	unsigned lint;                           /* enum lint_flag */
};

#define CORRELATION_CHAIN_MAX 8 /* correlations of correlations */
#define CORRELATION_EVENTS_MAX                                                                     \
	1000000 /* that an event_count can count; each is kept for its window */
#define CORRELATION_VALUES_MAX 10000 /* that a value_count can count */
#define CORRELATION_ORDERED_MAX                                                                    \
	8 /* rules of a temporal_ordered with a condition in words: all their orders are tried */
#define CORRELATION_TIME_MAX                                                                       \
	(UINT64_C(3155760000) * 1000000000) /* ns: a hundred years; times can be added up */

/* Loads every *.yml and *.yaml under the paths (files or folders) but those in folders named `tests`. All errors are collected in `diags`; rules
 * that are good are in *ret all the same, so that a check can count them; the daemon refuses a set when
 * diags->errors > 0. `logsources` may be NULL (then every rule is tried on every event).
 * 0 with *ret (ruleset_free); -errno only when a path cannot be listed (also in `diags`). */
int ruleset_load(const char *const *paths, size_t count, const struct logsources *logsources,
                 struct diags *diags, struct ruleset **ret);
/* True if `file`, found below the path `root`, lies in a folder named `tests` there: such files are tests of rules, not
 * rules, and are not loaded. */
bool ruleset_is_test(const char *root, const char *file);
/* The same with everything that can be given. */
int ruleset_load_with(const char *const *paths, size_t count, const struct ruleset_options *options,
                      struct diags *diags, struct ruleset **ret);
void ruleset_free(struct ruleset *r);

/* The rule with that id (UUIDs in any case), or NULL. */
const struct rule *ruleset_find(const struct ruleset *r, struct str id);

#endif
