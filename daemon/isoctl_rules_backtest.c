/* isoctl rules backtest: which rules would have held for what isod has stored. Reads the files, asks no daemon and
 * disturbs none. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "isoctl_rules.h"
#include "isoctl_rules_evidence.h"
#include "isoctl_table.h"

struct rule_hits {
	uint64_t count, first_ns, last_ns;
};

struct backtest {
	const struct isoctl *ctl;
	bool summary; /* only the sums */
	struct stages stages;
	struct rule_hits *hits; /* by rule */
	uint64_t matches, first_ns, last_ns;
};

static void print_match(const struct backtest *b, const struct record *r, uint32_t worker,
                        const struct rule *rule)
{
	char level[LEVEL_NAME_MAX], title[512], time[CLOCK_TEXT_MAX];
	Isod__V1__StoredMatch m = ISOD__V1__STORED_MATCH__INIT;

	rules_level(rule, level);
	if (!b->ctl->json) {
		printf("%6u  %10llu  %-24s  %-13s  %s\n", worker, (unsigned long long)r->sequence,
		       clock_format(r->time_ns, time), level,
		       log_escape(rule->title, title, sizeof(title)));
		return;
	}
	m.worker = worker;
	m.sequence = r->sequence;
	m.time_ns = r->time_ns;
	m.source = xstrndup(b->stages.event.source.p, b->stages.event.source.n);
	m.rule = (char *)(uintptr_t)rule->id.p; /* texts of a rule set are terminated */
	m.title = (char *)(uintptr_t)rule->title.p;
	m.level = level;
	m.tags = xcalloc(rule->tag_count, sizeof(char *));
	for (m.n_tags = 0; m.n_tags < rule->tag_count; m.n_tags++)
		m.tags[m.n_tags] = (char *)(uintptr_t)rule->tags[m.n_tags].p;
	output_json(&m.base);
	free(m.source);
	free(m.tags);
}

static void widen(uint64_t *first, uint64_t *last, uint64_t time)
{
	if (*first == 0 || time < *first)
		*first = time;
	if (time > *last)
		*last = time;
}

static void on_frame(void *arg, const struct record *r, uint32_t worker, const struct evidence *e)
{
	struct backtest *b = arg;
	const struct rule *const *hits;

	stages_decode_stored(&b->stages, r, e);
	size_t n = stages_match(&b->stages, &hits);
	widen(&b->first_ns, &b->last_ns, r->time_ns);
	b->matches += n;
	for (size_t i = 0; i < n; i++) {
		struct rule_hits *h = &b->hits[hits[i] - b->stages.rules->rules];
		h->count++;
		widen(&h->first_ns, &h->last_ns, r->time_ns);
		if (!b->summary)
			print_match(b, r, worker, hits[i]);
	}
}

/* ---- sums ---- */

static int more_first(const void *a, const void *b, void *hits)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	const struct rule_hits *h = hits;

	if (h[x].count != h[y].count)
		return h[x].count > h[y].count ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* The rules that held, the most often first. The caller frees. */
static size_t *by_hits(const struct backtest *b, size_t *ret_count)
{
	size_t *order = xcalloc(b->stages.rules->count, sizeof(*order)), count = 0;

	for (size_t i = 0; i < b->stages.rules->count; i++)
		if (b->hits[i].count)
			order[count++] = i;
	qsort_r(order, count, sizeof(*order), more_first, b->hits);
	*ret_count = count;
	return order;
}

static void print_rule_json(const struct rule *rule, const struct rule_hits *h)
{
	char level[LEVEL_NAME_MAX];
	Isod__V1__BacktestRule m = ISOD__V1__BACKTEST_RULE__INIT;

	m.rule = (char *)(uintptr_t)rule->id.p;
	m.title = (char *)(uintptr_t)rule->title.p;
	m.level = (char *)(uintptr_t)rules_level(rule, level);
	m.matches = h->count;
	m.first_ns = h->first_ns;
	m.last_ns = h->last_ns;
	output_json(&m.base);
}

static void print_rules(const struct backtest *b, const size_t *order, size_t count)
{
	static const struct table_column columns[] = {{"MATCHES", 10, true},
	                                              {"LEVEL", 13, false},
	                                              {"FIRST", 24, false},
	                                              {"LAST", 24, false},
	                                              {"RULE", 0, false}};
	char level[LEVEL_NAME_MAX], first[CLOCK_TEXT_MAX], last[CLOCK_TEXT_MAX];
	struct table t;

	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < count; i++) {
		const struct rule *rule = &b->stages.rules->rules[order[i]];
		const struct rule_hits *h = &b->hits[order[i]];
		table_add(&t, "%llu", (unsigned long long)h->count);
		table_add(&t, "%s", rules_level(rule, level));
		table_add(&t, "%s", clock_format(h->first_ns, first));
		table_add(&t, "%s", clock_format(h->last_ns, last));
		table_add(&t, "%.*s", STR_FMT(rule->title));
	}
	if (count && !b->summary)
		printf("\n");
	table_print(&t);
}

static void print_totals(const struct backtest *b, const struct walk *w, size_t matched)
{
	Isod__V1__BacktestTotals m = ISOD__V1__BACKTEST_TOTALS__INIT;
	char first[CLOCK_TEXT_MAX], last[CLOCK_TEXT_MAX];

	if (b->ctl->json) {
		m.frames = w->frames;
		m.workers = w->workers;
		m.rules = b->stages.rules->count;
		m.rules_matched = matched;
		m.matches = b->matches;
		m.first_ns = b->first_ns;
		m.last_ns = b->last_ns;
		m.damaged = w->damaged;
		output_json(&m.base);
		return;
	}
	printf("%llu matches of %zu of %zu rules in %llu frames of %zu workers",
	       (unsigned long long)b->matches, matched, b->stages.rules->count,
	       (unsigned long long)w->frames, w->workers);
	if (w->frames)
		printf(", %s to %s", clock_format(b->first_ns, first),
		       clock_format(b->last_ns, last));
	printf("\n");
}

static int backtest(struct backtest *b, struct walk *w)
{
	size_t count;

	b->hits = xcalloc(b->stages.rules->count, sizeof(*b->hits));
	if (!b->ctl->json && !b->summary)
		printf("%6s  %10s  %-24s  %-13s  %s\n", "WORKER", "SEQUENCE", "ARRIVED", "LEVEL",
		       "RULE");
	int r = walk_evidence(w);
	if (r < 0)
		return r;
	size_t *order = by_hits(b, &count);
	for (size_t i = 0; b->ctl->json && i < count; i++)
		print_rule_json(&b->stages.rules->rules[order[i]], &b->hits[order[i]]);
	if (!b->ctl->json)
		print_rules(b, order, count);
	print_totals(b, w, count);
	free(order);
	return 0;
}

int rules_backtest(const struct isoctl *ctl, int argc, char **argv)
{
	struct stage_files files = {0};
	struct backtest b = {.ctl = ctl};
	struct walk w = {.frame = on_frame, .arg = &b};
	const struct isoctl_option options[] = {{.name = "--evidence", .text = &w.dir},
	                                        {.name = "--from", .time = &w.from_ns},
	                                        {.name = "--to", .time = &w.to_ns},
	                                        {.name = "--summary", .flag = &b.summary},
	                                        STAGE_OPTIONS(files),
	                                        {0}};
	struct diags diags;

	if (rules_arguments("backtest", options, 1, &argc, argv) != 0)
		return 2;
	if (!w.dir)
		return rules_usage("backtest");
	diags_init(&diags);
	int r = stages_load(&b.stages, &files, argv, argc, &diags);
	rules_print_problems(stderr, &diags, false);
	if (r == 0)
		r = backtest(&b, &w);
	r = r < 0 || diags.errors || w.damaged || !output_finish();
	free(b.hits);
	stages_release(&b.stages);
	diags_release(&diags);
	return r;
}
