/* The rules that run: loading them anew, and what they cost. A reload takes as long as it takes: its answer comes from
 * outside (api_rules_reloaded), and until then the connection takes up nothing else. */
#include <errno.h>
#include <stdlib.h>

#include "api/api_internal.h"
#include "base/mem.h"
#include "event/logsource.h"
#include "sigma/content.h"
#include "sigma/rules.h"

#define STATS_USUAL  20
#define UNAVAILABLE  ISOD__V1__ERROR_CODE__ERROR_UNAVAILABLE
#define ANSWER(name) ISOD__V1__RESPONSE__ANSWER_##name

/* ---- reload ---- */

void ask_reload_rules(struct connection *c, const Isod__V1__Request *q)
{
	const struct api_options *o = &c->api->options;
	Isod__V1__Command command = ISOD__V1__COMMAND__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	if (!o->reload) {
		connection_error(c, q->id, UNAVAILABLE, "rules cannot be loaded anew now");
		return;
	}
	command.user = c->peer.name;
	command.role = c->peer.role;
	command.action_case = ISOD__V1__COMMAND__ACTION_RELOAD_RULES;
	command.reload_rules = q->reload_rules;
	record.body_case = ISOD__V1__RECORD__BODY_COMMAND;
	record.command = &command;
	if (officer_record(o->officer, &record) < 0) {
		connection_error(c, q->id, UNAVAILABLE,
		                 "the ledger cannot be written; the rules stay as they are");
		return;
	}
	c->reload = o->reload(o->arg);
	c->reload_request = q->id;
}

void api_rules_reloaded(struct api *a, uint64_t number, const Isod__V1__RulesReloaded *outcome)
{
	struct connection *next;

	for (struct connection *c = a ? a->connections : NULL; c; c = next) {
		next = c->next;
		connection_reloaded(c, number, outcome);
	}
}

/* ---- stats ---- */

struct cost {
	size_t rule;
	struct content_sum sum;
};

/* The most expensive first, of the equally expensive the one that holds most often. */
static int compare_costs(const void *a, const void *b)
{
	const struct cost *x = a, *y = b;

	if (x->sum.ns != y->sum.ns)
		return x->sum.ns > y->sum.ns ? -1 : 1;
	if (x->sum.hits != y->sum.hits)
		return x->sum.hits > y->sum.hits ? -1 : 1;
	return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static Isod__V1__RuleStats *show_rule(struct connection *c, const struct rule *rule,
                                      const struct content_sum *sum)
{
	Isod__V1__RuleStats *s = answer_take(c, 1, sizeof(*s));

	isod__v1__rule_stats__init(s);
	s->rule = (char *)(uintptr_t)rule->id.p; /* texts of a rule set are terminated */
	s->title = (char *)(uintptr_t)rule->title.p;
	s->level = rule->level;
	s->hits = sum->hits;
	s->sampled_tries = sum->tried;
	s->sampled_ns = sum->ns;
	return s;
}

static char *answer_text(struct connection *c, struct str s)
{
	return arena_strdup(&c->api->arena, s.n ? s : STR(""));
}

/* All that have had an event: a table has LOGSOURCES_MAX entries at most, of short names. */
static void show_sources(struct connection *c, const struct content *content,
                         Isod__V1__RulesStats *stats)
{
	size_t count = content_source_count(content);

	stats->log_sources = answer_take(c, count + 1, sizeof(*stats->log_sources));
	for (size_t i = 0; i <= count; i++) {
		struct content_source sum = content_source_sum(content, i);
		struct logsource_entry e = {0};
		if (sum.events == 0)
			continue;
		if (i < count)
			e = logsources_entry(content->parts.logsources, i);
		Isod__V1__LogSourceCount *n = answer_take(c, 1, sizeof(*n));
		isod__v1__log_source_count__init(n);
		n->product = answer_text(c, e.product);
		n->category = answer_text(c, e.category);
		n->service = answer_text(c, e.service);
		n->events = sum.events;
		n->last_ns = sum.last_ns;
		stats->log_sources[stats->n_log_sources++] = n;
	}
}

void ask_rules_stats(struct connection *c, const Isod__V1__Request *q)
{
	const struct api_options *o = &c->api->options;
	const struct content *content = o->content ? o->content(o->arg) : NULL;
	struct page page = page_of(q->rules_stats->limit, STATS_USUAL);
	Isod__V1__RulesStats stats = ISOD__V1__RULES_STATS__INIT;

	if (!content) {
		connection_error(c, q->id, UNAVAILABLE, "no rules run");
		return;
	}
	const struct ruleset *set = content->parts.rules;
	struct cost *costs = xcalloc(set->count, sizeof(*costs));
	for (size_t i = 0; i < set->count; i++) {
		costs[i] = (struct cost){i, content_rule_sum(content, i)};
		stats.sampled_ns += costs[i].sum.ns;
	}
	qsort(costs, set->count, sizeof(*costs), compare_costs);
	stats.rules = answer_take(c, page.limit, sizeof(*stats.rules));
	for (size_t i = q->rules_stats->skip; i < set->count && page_has_room(&page); i++) {
		stats.rules[page.count] = show_rule(c, &set->rules[costs[i].rule], &costs[i].sum);
		page_count(&page, &stats.rules[page.count]->base);
	}
	free(costs);
	stats.n_rules = page.count;
	stats.more = page.more;
	stats.loaded_ns = content->loaded_ns;
	stats.events = content_events(content, &stats.sampled_events);
	if (q->rules_stats->log_sources)
		show_sources(c, content, &stats);
	Isod__V1__Response a = answer_to(q, ANSWER(RULES_STATS));
	a.rules_stats = &stats;
	connection_send(c, &a);
}
