/* Everything that decides what an event is and which rules hold for it, as one thing: the log-source table, the
 * patterns of messages, the placeholders' lists and the rule set that was loaded with them. It is loaded whole or not
 * at all, and what works on an event works with one content from its first byte to its last match; a reload makes
 * another one and leaves this as it is.
 *
 * Read-only and shared by all threads, but for the counts (sigma/counts.h) and `compiled`. Reference counted: the last to let go
 * frees it, in whichever thread that is. */
#ifndef ISOD_SIGMA_CONTENT_H
#define ISOD_SIGMA_CONTENT_H

#include <stddef.h>

#include "base/diag.h"
#include "sigma/counts.h"

/* Only pointers, so that who just passes a content on need not see events (and may see libevent's struct of that
 * name). */
struct logsource_set;
struct logsources;
struct patterns;
struct placeholders;
struct ruleset;

/* Where it is loaded from. */
struct content_files {
	const char *const *rules; /* files and folders */
	size_t rule_count;
	const char *logsources, *patterns;
	const char *placeholders; /* NULL: none */
};

/* What it is made of. Each may be NULL but `rules`. */
struct content_parts {
	struct logsources *logsources;
	struct patterns *patterns;
	struct placeholders *placeholders;
	struct ruleset *rules;
};

struct compiled;        /* sigma/compile.h */
struct compile_options; /* sigma/compile.h */

struct content {
	struct content_parts parts;
	/* The compiled form of the rules, once there is one: until then matchers work without, slower. */
	struct compiled *_Atomic compiled;
	uint64_t loaded_ns;
	struct match_counts *counts; /* one per worker */
	size_t workers;
	atomic_size_t references;
};

/* Takes over the parts; the caller has the first reference. */
struct content *content_new(const struct content_parts *parts, size_t workers);

/* Loads and validates everything. 0 and *ret, or -EINVAL with all that is wrong in `diags`. */
int content_load(const struct content_files *files, size_t workers, struct diags *diags,
                 struct content **ret);

/* Compiles the rules and puts the result in its place, once. Any thread with a reference; threads that match take it up
 * when they look (pipeline_refresh). 0, or -ECANCELED; what could not be compiled is told as warnings. */
int content_compile(struct content *c, const struct compile_options *options, struct diags *diags);

/* From any thread that has a reference, or knows of one that stays meanwhile. Returns `c`. */
struct content *content_ref(struct content *c);
/* NULL is allowed. */
void content_unref(struct content *c);

/* Worker `worker` has found out of which log sources an event is that was received at that time. Its thread only. */
void content_classified(struct content *c, size_t worker, const struct logsource_set *sources,
                        uint64_t received_ns);

/* All workers' counts of rule `i` (of the set's order) added up, as they are now: *ret's members are plain sums. */
struct content_sum {
	uint64_t hits, tried, ns;
};
struct content_sum content_rule_sum(const struct content *c, size_t i);
/* The same of events; *ret_sampled: those on which time was taken. */
uint64_t content_events(const struct content *c, uint64_t *ret_sampled);
/* The same of the log source that is entry `i` of the table, or, with `i` as many as it has, of events of none. */
struct content_source {
	uint64_t events, last_ns;
};
struct content_source content_source_sum(const struct content *c, size_t i);
/* How many entries the table has. */
size_t content_source_count(const struct content *c);

#endif
