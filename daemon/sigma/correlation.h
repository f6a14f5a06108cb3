/* What the files that load correlations share. Only for sigma/correlation*.c. */
#ifndef ISOD_SIGMA_CORRELATION_H
#define ISOD_SIGMA_CORRELATION_H

#include "sigma/loader.h"

struct correlation_type {
	const char *name;
	Isod__V1__CorrelationType type;
	bool own;      /* isod's: stands under `isod:` */
	bool temporal; /* compares rules; a condition may be absent, or in words */
	bool counts;   /* compares whole numbers from 0, not decimal ones */
	size_t fields; /* how many fields' values it takes at most */
	uint64_t most; /* that can be reached; 0: no limit */
};

/* `condition`. 0 or -EINVAL with errors. */
int correlation_read_condition(struct loader *l, const struct yaml_node *map,
                               struct draft_correlation *d);
/* A condition in words over `rules` (as written; may be NULL). 0 or -EINVAL with errors. */
int correlation_read_words(struct loader *l, const struct yaml_node *node,
                           const struct yaml_node *rules, struct draft_correlation *d);
/* What stands under `isod:` beside the type. 0 or -EINVAL with errors. */
int correlation_read_extension(struct loader *l, const struct yaml_node *map,
                               struct draft_correlation *d);
/* Turns a condition in words into steps over the rules, which are resolved. */
void correlation_finish_condition(struct loader *l, struct draft_correlation *d);

/* An error at a place of the correlation's file. */
void correlation_refuse(struct loader *l, struct draft_correlation *d, int line, int column,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
