/* The compiled form of a rule set: what finds, for an event, the few rules that are worth a look. Read-only once made:
 * it may be made in any thread and shared by the matchers of all threads (sigma/match.h). It refers to the rule set,
 * which must outlive it.
 *
 * Making it takes seconds for thousands of rules, unless the cache folder has it from an earlier run; meanwhile
 * matchers without it give the same answers, slower. */
#ifndef ISOD_SIGMA_COMPILE_H
#define ISOD_SIGMA_COMPILE_H

#include <stdatomic.h>

#include "sigma/rules.h"

struct compiled;

struct compile_options {
	const char *cache_dir;   /* where compiled patterns are kept between runs; NULL: nowhere */
	const atomic_bool *stop; /* set by another thread: give up soon; may be NULL */
};

/* 0 and *ret (compiled_free), or -ECANCELED when `stop` was set: nothing else makes it fail. What it cannot compile or
 * cache is told as warnings in `diags`; the rules it concerns are then simply looked at more often. */
int compiled_new(const struct ruleset *rules, const struct compile_options *options,
                 struct diags *diags, struct compiled **ret);
void compiled_free(struct compiled *c);

struct compiled_facts {
	size_t rules;
	size_t always; /* rules without anything that must be there: looked at whenever their log source fits */
	size_t predicates; /* that make rules worth a look, after deduplication */
	size_t patterns;   /* of these: searched for by Hyperscan */
	size_t refused; /* of these: not taken by Hyperscan, so their rules are looked at more often */
	size_t bytes; /* of the pattern databases */
	bool cached;  /* the pattern databases came from the cache folder */
};
void compiled_facts(const struct compiled *c, struct compiled_facts *ret);

#endif
