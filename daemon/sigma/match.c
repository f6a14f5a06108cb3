/* The plain matcher, the oracle for any faster one: it asks sigma/evaluate.c about every rule. What it does for speed
 * changes no answer: rules with the same log sources are let in or left out together. */
#include "sigma/match.h"

#include <stdlib.h>

#include "base/mem.h"
#include "sigma/counts.h"
#include "sigma/evaluate.h"

/* Rules whose log sources are the same set. */
struct group {
	const struct rule *first;
	bool fits; /* the event at hand */
};

struct matcher {
	const struct ruleset *rules;
	struct group *groups;
	size_t group_count;
	uint32_t *group_of; /* rule → its group */
	const struct rule **hits;
	struct evaluator evaluator;
	struct match_counts *counts; /* or NULL */
};

/* ---- life ---- */

static void make_groups(struct matcher *m)
{
	const struct ruleset *set = m->rules;
	struct map seen;
	size_t cap = 0;

	map_init(&seen);
	for (size_t i = 0; i < set->count; i++) {
		const struct rule *r = &set->rules[i];
		struct str key = r->unmapped ? STR("unmapped")
		                             : str_make((const char *)r->sources.bits,
		                                        sizeof(r->sources.bits));
		uintptr_t group = (uintptr_t)map_get(&seen, key);
		if (!group) {
			xgrow(&m->groups, &cap, m->group_count + 1, sizeof(*m->groups));
			m->groups[m->group_count++] = (struct group){.first = r};
			group = m->group_count;
			map_put(&seen, key, (void *)group);
		}
		m->group_of[i] = (uint32_t)group - 1;
	}
	map_release(&seen, NULL);
}

struct matcher *matcher_new(const struct ruleset *rules)
{
	struct matcher *m = xcalloc(1, sizeof(*m));

	m->rules = rules;
	m->group_of = xcalloc(rules->count, sizeof(*m->group_of));
	m->hits = xcalloc(rules->count, sizeof(*m->hits));
	evaluator_init(&m->evaluator);
	make_groups(m);
	return m;
}

void matcher_free(struct matcher *m)
{
	if (!m)
		return;
	evaluator_release(&m->evaluator);
	free(m->hits);
	free(m->group_of);
	free(m->groups);
	free(m);
}

uint64_t matcher_limited(const struct matcher *m)
{
	return m->evaluator.limited;
}

void matcher_count(struct matcher *m, struct match_counts *counts)
{
	m->counts = counts;
}

/* ---- running ---- */

bool rule_is_tried(const struct ruleset *rules, const struct rule *rule,
                   const struct logsource_set *sources)
{
	if (!rules->routed || !sources)
		return true;
	if (rule->unmapped)
		return !sources->any;
	return logsource_intersects(&rule->sources, sources);
}

static void choose_groups(struct matcher *m, const struct logsource_set *sources)
{
	for (size_t i = 0; i < m->group_count; i++) {
		struct group *g = &m->groups[i];
		g->fits = rule_is_tried(m->rules, g->first, sources);
	}
}

size_t matcher_run(struct matcher *m, const struct event *e, const struct logsource_set *sources,
                   const struct rule *const **ret_hits)
{
	bool sampled = counts_event(m->counts);
	size_t hits = 0;

	evaluator_begin(&m->evaluator, e);
	choose_groups(m, sources);
	uint64_t begin = sampled ? clock_mono() : 0;
	for (size_t i = 0; i < m->rules->count; i++) {
		const struct rule *r = &m->rules->rules[i];
		if (!m->groups[m->group_of[i]].fits)
			continue;
		if (evaluate_condition(&m->evaluator, r->condition)) {
			m->hits[hits++] = r;
			if (m->counts)
				counts_add(&m->counts->rules[i].hits, 1);
		}
		if (sampled)
			counts_tried(&m->counts->rules[i], &begin);
	}
	*ret_hits = m->hits;
	return hits;
}
