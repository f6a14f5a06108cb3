/* Two ways to the same answer. The plain one, the oracle, asks sigma/evaluate.c about every rule; rules with the same
 * log sources are let in or left out together. The compiled one asks only about the candidates (sigma/candidates.h),
 * and a rule that holds is always one of them. Should that be in doubt, for an event so large that its text cannot all
 * be folded, the plain way is taken. */
#include "sigma/match.h"

#include <stdlib.h>

#include "base/mem.h"
#include "sigma/candidates.h"
#include "sigma/counts.h"
#include "sigma/evaluate.h"
#include "sigma/rule_groups.h"

struct matcher {
	const struct ruleset *rules;
	const struct rule **firsts; /* of each group of rules */
	bool *fits;                 /* by group: its log sources are the event's */
	size_t group_count;
	uint32_t *group_of; /* rule → its group */
	const struct rule **hits;
	struct evaluator evaluator;
	struct candidates *candidates; /* NULL: not compiled */
	struct match_counts *counts;   /* or NULL */
	uint64_t tried;
};

/* ---- life ---- */

struct matcher *matcher_new_with(const struct ruleset *rules, const struct compiled *compiled)
{
	struct matcher *m = xcalloc(1, sizeof(*m));

	m->rules = rules;
	m->group_of = xcalloc(rules->count, sizeof(*m->group_of));
	m->hits = xcalloc(rules->count, sizeof(*m->hits));
	evaluator_init(&m->evaluator);
	m->group_count = rule_groups_make(rules, m->group_of, &m->firsts);
	m->fits = xcalloc(m->group_count, sizeof(*m->fits));
	m->candidates = compiled ? candidates_new(compiled) : NULL;
	return m;
}

struct matcher *matcher_new(const struct ruleset *rules)
{
	return matcher_new_with(rules, NULL);
}

void matcher_free(struct matcher *m)
{
	if (!m)
		return;
	evaluator_release(&m->evaluator);
	candidates_free(m->candidates);
	free(m->hits);
	free(m->group_of);
	free(m->firsts);
	free(m->fits);
	free(m);
}

uint64_t matcher_limited(const struct matcher *m)
{
	return m->evaluator.limited;
}

uint64_t matcher_tried(const struct matcher *m)
{
	return m->tried;
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
	for (size_t i = 0; i < m->group_count; i++)
		m->fits[i] = rule_is_tried(m->rules, m->firsts[i], sources);
}

/* Evaluates rule `i`; `begin` is NULL unless time is taken. */
static bool try_rule(struct matcher *m, size_t i, uint64_t *begin)
{
	bool holds = evaluate_condition(&m->evaluator, m->rules->rules[i].condition);

	m->tried++;
	if (m->counts && holds)
		counts_add(&m->counts->rules[i].hits, 1);
	if (m->counts && begin)
		counts_tried(&m->counts->rules[i], begin);
	return holds;
}

static size_t run_plain(struct matcher *m, const struct logsource_set *sources, uint64_t *begin)
{
	size_t hits = 0;

	choose_groups(m, sources);
	if (begin)
		*begin = clock_mono();
	for (size_t i = 0; i < m->rules->count; i++)
		if (m->fits[m->group_of[i]] && try_rule(m, i, begin))
			m->hits[hits++] = &m->rules->rules[i];
	return hits;
}

static size_t run_compiled(struct matcher *m, const struct logsource_set *sources, uint64_t *begin)
{
	size_t hits = 0, i;

	candidates_find(m->candidates, &m->evaluator, sources);
	if (begin)
		*begin = clock_mono();
	while (candidates_next(m->candidates, &i))
		if (try_rule(m, i, begin))
			m->hits[hits++] = &m->rules->rules[i];
	return hits;
}

size_t matcher_run(struct matcher *m, const struct event *e, const struct logsource_set *sources,
                   const struct rule *const **ret_hits)
{
	uint64_t begin = 0, *clock = counts_event(m->counts) ? &begin : NULL;

	evaluator_begin(&m->evaluator, e);
	*ret_hits = m->hits;
	return m->candidates && !m->evaluator.crowded ? run_compiled(m, sources, clock)
	                                              : run_plain(m, sources, clock);
}
