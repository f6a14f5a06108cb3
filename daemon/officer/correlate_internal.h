/* What the files of the correlation engine share. Only for officer/correlate*.c. */
#ifndef ISOD_OFFICER_CORRELATE_INTERNAL_H
#define ISOD_OFFICER_CORRELATE_INTERNAL_H

#include "officer/correlate.h"
#include "officer/correlate_window.h"

#define CORRELATION(x) ISOD__V1__CORRELATION_TYPE__CORRELATION_##x

struct definition {
	Isod__V1__Correlation *def;
	const char **names; /* by rule, then by group-by and value field: what the rule calls it */
	size_t field_count; /* group-by and value fields of one rule */
	uint64_t lateness_ns, skew_ns;
	uint64_t window_max; /* entries of one group */
	struct groups groups;
	/* told of evictions */
	uint64_t evicted, evicted_told, told_ns;
	bool runs; /* false: no version of isod wrote this, it is let alone */
};

/* Where a rule's matches go, and as which of the definition's rules. */
struct target {
	struct definition *definition;
	uint32_t position;
};

struct feed {
	struct target *targets;
	size_t count, cap;
};

struct correlate {
	struct definition **definitions;
	size_t count;
	size_t bytes_max; /* of one correlation */
	struct map feeds; /* rule id → struct feed */
	uint64_t seeds[2];
	Isod__V1__Match **results;
	size_t result_count, result_cap;
	struct window_scratch scratch;
	struct definition **absences; /* those of them that wait for time to pass */
	size_t absence_count;
	uint64_t arrival_ns; /* the latest that any match was received */
	uint64_t started_ns; /* the last Started record */
	struct correlate_counts counts;
};

/* A match on its way into one correlation. */
struct feeding {
	const struct step *step;
	const Isod__V1__Match *match;
	uint32_t position; /* of its rule in the definition */
	uint32_t id;       /* its group */
	struct group *group;
	struct entry entry;
};

/* ---- correlate.c ---- */

/* The match's value of the definition's i-th field (group-by first), or NULL. `position`: of the match's rule. */
const char *definition_value(const struct definition *d, uint32_t position, size_t i,
                             const Isod__V1__Match *m);
/* Puts the entry into its group's window, dropping what is stale or too much. Returns its place. */
uint32_t definition_insert(struct correlate *c, struct definition *d, struct feeding *f);
/* The time of the group's newest entry, ever. */
uint64_t group_newest(struct group *g);
/* True while the group is silent at that time. */
bool group_quiet(const struct group *g, uint64_t time_ns);

/* ---- correlate_result.c ---- */

/* Adds the match of a correlation that holds. `m`: the match that made it hold. */
void result_add(struct correlate *c, const struct definition *d, uint32_t position,
                const Isod__V1__Match *m, const struct entry *entries,
                const struct window_span *span);
void results_clear(struct correlate *c);

/* ---- correlate_watch.c ---- */

/* The place of a value that the group of a FIRST_SEEN has not had and that is to be told; else UINT32_MAX. */
uint32_t first_seen(struct correlate *c, struct definition *d, struct feeding *f);

/* True while an entry of an absence waits for an answer. */
bool absence_waits(const struct entry *e);
void absence_feed(struct correlate *c, struct definition *d, struct feeding *f);
/* How many of the group's oldest entries nothing needs any more. */
uint32_t absence_stale(const struct definition *d, struct group *g);
/* When the first group of an ABSENCE is due, or NEVER. */
uint64_t absence_due(const struct definition *d);
/* Works out anew when its groups are due. */
void absence_reschedule(const struct correlate *c, struct definition *d);
/* Tells of the group that is due first. */
void absence_tell(struct correlate *c, struct definition *d, const struct step *s);

#endif
