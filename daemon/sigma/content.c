#include "sigma/content.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "event/decode.h"
#include "event/logsource.h"
#include "sigma/compile.h"
#include "sigma/rules.h"

/* Counts of two workers never share a cache line. */
#define CACHE_LINE 64

static void *alloc_lines(size_t size)
{
	size_t whole = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	void *p = aligned_alloc(CACHE_LINE, whole ? whole : CACHE_LINE);

	if (!p)
		abort();
	memset(p, 0, whole);
	return p;
}

struct content *content_new(const struct content_parts *parts, size_t workers)
{
	struct content *c = xcalloc(1, sizeof(*c));

	c->parts = *parts;
	c->workers = workers;
	c->loaded_ns = clock_now();
	c->counts = xcalloc(workers, sizeof(*c->counts));
	for (size_t i = 0; i < workers; i++) {
		struct match_counts *n = &c->counts[i];
		n->rules = alloc_lines(parts->rules->count * sizeof(*n->rules));
		n->sources = alloc_lines((content_source_count(c) + 1) * sizeof(*n->sources));
	}
	atomic_init(&c->compiled, NULL);
	atomic_init(&c->references, 1);
	return c;
}

static void parts_free(struct content_parts *p)
{
	ruleset_free(p->rules);
	placeholders_free(p->placeholders);
	patterns_free(p->patterns);
	logsources_free(p->logsources);
}

int content_load(const struct content_files *files, size_t workers, struct diags *diags,
                 struct content **ret)
{
	struct content_parts p = {0};
	size_t errors = diags->errors;

	logsources_load(files->logsources, diags, &p.logsources);
	patterns_load(files->patterns, diags, &p.patterns);
	if (files->placeholders)
		placeholders_load(files->placeholders, diags, &p.placeholders);
	const struct ruleset_options o = {.logsources = p.logsources,
	                                  .placeholders = p.placeholders};
	int r = ruleset_load_with(files->rules, files->rule_count, &o, diags, &p.rules);
	if (r < 0 || diags->errors > errors) {
		parts_free(&p);
		return -EINVAL;
	}
	*ret = content_new(&p, workers);
	return 0;
}

int content_compile(struct content *c, const struct compile_options *options, struct diags *diags)
{
	struct compiled *compiled;
	int r = compiled_new(c->parts.rules, options, diags, &compiled);

	if (r == 0)
		atomic_store_explicit(&c->compiled, compiled, memory_order_release);
	return r;
}

struct content *content_ref(struct content *c)
{
	atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
	return c;
}

void content_unref(struct content *c)
{
	/* What others did with it happens before it is freed. */
	if (!c || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < c->workers; i++) {
		free(c->counts[i].rules);
		free(c->counts[i].sources);
	}
	free(c->counts);
	compiled_free(atomic_load_explicit(&c->compiled, memory_order_acquire));
	parts_free(&c->parts);
	free(c);
}

struct content_sum content_rule_sum(const struct content *c, size_t i)
{
	struct content_sum sum = {0};

	for (size_t w = 0; w < c->workers; w++) {
		const struct rule_counts *n = &c->counts[w].rules[i];
		sum.hits += counts_get(&n->hits);
		sum.tried += counts_get(&n->tried);
		sum.ns += counts_get(&n->ns);
	}
	return sum;
}

uint64_t content_events(const struct content *c, uint64_t *ret_sampled)
{
	uint64_t events = 0;

	*ret_sampled = 0;
	for (size_t w = 0; w < c->workers; w++) {
		events += counts_get(&c->counts[w].events);
		*ret_sampled += counts_get(&c->counts[w].sampled);
	}
	return events;
}

/* ---- log sources ---- */

size_t content_source_count(const struct content *c)
{
	return c->parts.logsources ? logsources_count(c->parts.logsources) : 0;
}

static void count_source(struct logsource_counts *n, uint64_t received_ns)
{
	counts_add(&n->events, 1);
	atomic_store_explicit(&n->last_ns, received_ns, memory_order_relaxed);
}

void content_classified(struct content *c, size_t worker, const struct logsource_set *sources,
                        uint64_t received_ns)
{
	struct logsource_counts *counts = c->counts[worker].sources;

	if (!sources->any) {
		count_source(&counts[content_source_count(c)], received_ns);
		return;
	}
	for (size_t word = 0; word < sizeof(sources->bits) / sizeof(*sources->bits); word++)
		for (uint64_t bits = sources->bits[word]; bits; bits &= bits - 1)
			count_source(&counts[word * 64 + (size_t)__builtin_ctzll(bits)],
			             received_ns);
}

struct content_source content_source_sum(const struct content *c, size_t i)
{
	struct content_source sum = {0};

	for (size_t w = 0; w < c->workers; w++) {
		const struct logsource_counts *n = &c->counts[w].sources[i];
		uint64_t last = counts_get(&n->last_ns);
		sum.events += counts_get(&n->events);
		sum.last_ns = last > sum.last_ns ? last : sum.last_ns;
	}
	return sum;
}
