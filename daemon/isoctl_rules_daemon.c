/* isoctl rules reload, rules stats: the rules that the running daemon works with. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "isoctl_client.h"
#include "isoctl_query.h"
#include "isoctl_rules.h"
#include "isoctl_table.h"

#define STATS_SHOWN 20
#define STATS_PAGE  1000

/* ---- reload ---- */

static void print_problem(const Isod__V1__RulesProblem *p)
{
	char *line = xasprintf("%s:%u:%u: %s: %s", p->file, p->line, p->column,
	                       p->warning ? "warning" : "error", p->text);
	char safe[4096];

	fprintf(stderr, "%s\n", log_escape(str_of(line), safe, sizeof(safe)));
	free(line);
}

static void print_outcome(const Isod__V1__RulesReloaded *o)
{
	uint64_t told = o->n_problems, all = o->loaded ? o->warnings : o->errors;

	for (size_t i = 0; i < o->n_problems; i++)
		print_problem(o->problems[i]);
	if (all > told)
		fprintf(stderr, "… and %" PRIu64 " more\n", all - told);
	if (o->loaded)
		printf("%" PRIu64 " rules, %" PRIu64 " correlations, %" PRIu64
		       " filters in %" PRIu64 " files loaded in %" PRIu64 " ms: %" PRIu64
		       " warnings\n",
		       o->rules, o->correlations, o->filters, o->files, o->took_ns / 1000000,
		       o->warnings);
	else
		fprintf(stderr, "isoctl: refused: %" PRIu64 " errors; the old rules go on\n",
		        o->errors);
	if (o->config_changed)
		fprintf(stderr, "isoctl: the daemon's configuration has changed since it started: "
		                "all but the rules takes a restart\n");
}

int rules_reload(const struct isoctl *ctl, int argc, char **argv)
{
	const struct isoctl_option none[] = {{0}};
	Isod__V1__ReloadRules ask = ISOD__V1__RELOAD_RULES__INIT;
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__Response *a;
	struct client *c;
	int r = isoctl_options(none, &argc, argv, 0);

	if (r == 0)
		r = client_open(ctl, &c);
	if (r)
		return r;
	q.ask_case = ISOD__V1__REQUEST__ASK_RELOAD_RULES;
	q.reload_rules = &ask;
	r = client_ask_patiently(c, &q, ISOD__V1__RESPONSE__ANSWER_RULES_RELOADED, &a);
	if (r == 0) {
		if (ctl->json)
			output_json(&a->rules_reloaded->base);
		else
			print_outcome(a->rules_reloaded);
		r = a->rules_reloaded->loaded && output_finish() ? 0 : ISOCTL_FAILED;
		isod__v1__response__free_unpacked(a, NULL);
	}
	client_close(c);
	return r;
}

/* ---- stats ---- */

static void add_row(struct table *t, const Isod__V1__RulesStats *all, const Isod__V1__RuleStats *s)
{
	char level[QUERY_WORD];
	uint64_t total = all->sampled_ns ? all->sampled_ns : 1;
	uint64_t share = (uint64_t)((double)s->sampled_ns * 1000 / (double)total);

	table_add(t, "%" PRIu64 ".%" PRIu64 "%%", share / 10, share % 10);
	table_add(t, s->sampled_tries ? "%" PRIu64 : "-",
	          s->sampled_tries ? s->sampled_ns / s->sampled_tries : 0);
	table_add(t, "%" PRIu64, s->sampled_tries);
	table_add(t, "%" PRIu64, s->hits);
	table_add(t, "%s", query_enum(&isod__v1__level__descriptor, (int)s->level, level));
	table_add(t, "%s", s->rule);
	table_add(t, "%s", s->title);
}

static void print_totals(const Isod__V1__RulesStats *s)
{
	uint64_t mean = s->sampled_events ? s->sampled_ns / s->sampled_events : 0;
	char age[24];

	printf("\n%" PRIu64 " events since the rules were loaded %s ago; on %" PRIu64
	       " of them time was taken: the rules cost %" PRIu64 " ns an event\n",
	       s->events, table_age(s->loaded_ns, age), s->sampled_events, mean);
}

/* Prints one page; *left is how many are still wanted. True if there is another page to ask for. */
static bool print_page(const struct isoctl *ctl, struct table *t, const Isod__V1__RulesStats *s,
                       uint64_t *left)
{
	for (size_t i = 0; i < s->n_rules && *left; i++, (*left)--) {
		if (ctl->json)
			output_json(&s->rules[i]->base);
		else
			add_row(t, s, s->rules[i]);
	}
	return s->more && s->n_rules && *left;
}

static int stats_pages(const struct isoctl *ctl, struct client *c, uint64_t left)
{
	static const struct table_column columns[] = {{"COST", 7, true},    {"NS EACH", 10, true},
	                                              {"TRIED*", 9, true},  {"HITS", 10, true},
	                                              {"LEVEL", 13, false}, {"RULE", 36, false},
	                                              {"TITLE", 0, false}};
	Isod__V1__RulesStatsRequest ask = ISOD__V1__RULES_STATS_REQUEST__INIT;
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__Response *a = NULL, *next;
	struct table t;
	bool more = true;
	int r = 0;

	q.ask_case = ISOD__V1__REQUEST__ASK_RULES_STATS;
	q.rules_stats = &ask;
	table_init(&t, columns, ARRAY_LEN(columns));
	while (more) {
		ask.limit = left < STATS_PAGE ? (uint32_t)left : STATS_PAGE;
		r = client_ask(c, &q, ISOD__V1__RESPONSE__ANSWER_RULES_STATS, &next);
		if (r)
			break;
		isod__v1__response__free_unpacked(a, NULL);
		a = next;
		more = print_page(ctl, &t, a->rules_stats, &left);
		ask.skip += (uint32_t)a->rules_stats->n_rules;
	}
	table_print(&t);
	if (a && !ctl->json)
		print_totals(a->rules_stats);
	isod__v1__response__free_unpacked(a, NULL);
	return r;
}

int rules_stats(const struct isoctl *ctl, int argc, char **argv)
{
	uint64_t limit = 0;
	const struct isoctl_option options[] = {
		{.name = "--limit", .number = &limit, .most = UINT32_MAX}, {0}};
	struct client *c;
	int r = isoctl_options(options, &argc, argv, 0);

	if (r == 0)
		r = client_open(ctl, &c);
	if (r)
		return r;
	if (limit == 0)
		limit = ctl->json ? UINT32_MAX : STATS_SHOWN;
	r = stats_pages(ctl, c, limit);
	client_close(c);
	if (r == 0 && !output_finish())
		r = ISOCTL_FAILED;
	return r;
}
