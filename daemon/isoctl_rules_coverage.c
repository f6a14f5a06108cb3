/* isoctl rules coverage: which ATT&CK techniques the rules name, and which of those have a rule whose log source reports.
 * That is told by the running daemon, which counts the events of each log source; or by events at hand; or, when there is
 * neither, by nobody, which is said.
 *
 * Which technique serves which tactic is not in a rule but in the order of its tags: a technique stands under the tactics
 * right before it (initial-access, t1190, persistence, t1505.003), or under all of the rule's when none is before it. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pbjson.h"
#include "isoctl_client.h"
#include "isoctl_rules.h"
#include "isoctl_rules_evidence.h"
#include "isoctl_table.h"
#include "sigma/attack.h"

#define COMMENT_MAX 4000 /* bytes of a technique's comment in a layer: a pop-up in a browser */
#define TACTICS_MAX 32   /* attack_tactics has fewer */
#define NO_TACTIC   31   /* in place of a tactic, for rules that name none */
#define COLOR_LOW   "#d4e9f7"
#define COLOR_HIGH  "#1d6fa5"
#define CHAIN_MAX   CORRELATION_CHAIN_MAX

/* The rules that name a technique under one tactic. */
struct share {
	size_t rules, reporting;
	const char *title; /* of the first */
};

struct technique {
	char *id;                         /* "T1059.001" */
	struct share shares[TACTICS_MAX]; /* by place in attack_tactics */
	size_t rules, reporting;
	const char **titles;
	size_t cap;
};

/* What tells which log sources report. */
enum basis { BASIS_NONE, BASIS_EVENTS, BASIS_DAEMON };
static const char *const basis_names[] = {"", "events", "daemon"};

struct seen {
	uint64_t events, last_ns; /* last_ns: only the daemon tells */
};

struct coverage {
	const struct isoctl *ctl;
	struct stages stages;
	struct map techniques; /* id → struct technique */
	size_t untagged;
	uint32_t tactics;
	enum basis basis;
	/* Of the events, if there are any: */
	uint64_t events;
	struct seen *seen; /* by log-source entry; behind them: of no known log source */
	size_t entries;
	struct logsource_set union_of;
	uint64_t loaded_ns; /* since when the daemon counts */
};

/* ---- events ---- */

static void note_sources(struct coverage *c)
{
	const struct logsource_set *s = &c->stages.sources;

	c->events++;
	c->seen[c->entries].events += !s->any;
	for (size_t i = 0; s->any && i < c->entries; i++)
		c->seen[i].events += logsource_has(s, i);
	for (size_t i = 0; i < ARRAY_LEN(s->bits); i++)
		c->union_of.bits[i] |= s->bits[i];
}

static void on_frame(void *arg, const struct record *r, uint32_t worker, const struct evidence *e)
{
	struct coverage *c = arg;

	(void)worker;
	stages_decode_stored(&c->stages, r, e);
	note_sources(c);
}

static int read_events(struct coverage *c, const char *file)
{
	struct lines lines;
	struct str line;
	uint64_t now = clock_now();
	int r = lines_open(&lines, file);

	if (r < 0)
		return r;
	while ((r = lines_next(&lines, &line)) > 0) {
		if (line.n == 0)
			continue;
		stages_decode(&c->stages, line, STAGE_FILE, now);
		note_sources(c);
	}
	lines_close(&lines);
	return r;
}

/* ---- the daemon ---- */

static void add_seen(struct seen *s, const Isod__V1__LogSourceCount *n)
{
	s->events += n->events;
	s->last_ns = n->last_ns > s->last_ns ? n->last_ns : s->last_ns;
}

/* The daemon's log sources are those of the table here that have the same name. */
static void take_source(struct coverage *c, const Isod__V1__LogSourceCount *n)
{
	bool none = !n->product[0] && !n->category[0] && !n->service[0], known = none;

	if (none)
		add_seen(&c->seen[c->entries], n);
	for (size_t i = 0; !none && i < c->entries; i++) {
		struct logsource_entry e = logsources_entry(c->stages.logsources, i);
		if (!str_eq(e.product, str_of(n->product)) ||
		    !str_eq(e.category, str_of(n->category)) ||
		    !str_eq(e.service, str_of(n->service)))
			continue;
		add_seen(&c->seen[i], n);
		c->union_of.bits[i / 64] |= UINT64_C(1) << i % 64;
		known = true;
	}
	if (!known)
		fprintf(stderr,
		        "isoctl: the daemon's table has a log source that the one here has not: "
		        "%s/%s/%s\n",
		        n->product, n->category, n->service);
}

static int ask_daemon(struct coverage *c)
{
	Isod__V1__RulesStatsRequest ask = ISOD__V1__RULES_STATS_REQUEST__INIT;
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__Response *a;
	struct client *client;
	int r = client_open(c->ctl, &client);

	if (r)
		return r;
	ask.log_sources = true;
	ask.limit = 1;
	q.ask_case = ISOD__V1__REQUEST__ASK_RULES_STATS;
	q.rules_stats = &ask;
	r = client_ask(client, &q, ISOD__V1__RESPONSE__ANSWER_RULES_STATS, &a);
	client_close(client);
	if (r)
		return r;
	const Isod__V1__RulesStats *s = a->rules_stats;
	for (size_t i = 0; i < s->n_log_sources; i++)
		take_source(c, s->log_sources[i]);
	c->events = s->events;
	c->loaded_ns = s->loaded_ns;
	c->basis = BASIS_DAEMON;
	isod__v1__response__free_unpacked(a, NULL);
	return 0;
}

static bool rule_reports(const struct coverage *c, const struct rule *rule)
{
	if (rule->unmapped)
		return c->seen[c->entries].events > 0;
	return logsource_intersects(&rule->sources, &c->union_of);
}

/* A correlation reports when one of its rules does. */
static bool reference_reports(const struct coverage *c, const char *id, unsigned depth)
{
	const struct ruleset *set = c->stages.rules;
	const struct rule *rule = ruleset_find(set, str_of(id));

	if (rule)
		return rule_reports(c, rule);
	for (size_t i = 0; i < set->correlation_count && depth < CHAIN_MAX; i++) {
		const Isod__V1__Correlation *k = set->correlations[i];
		for (size_t j = 0; strcmp(k->id, id) == 0 && j < k->n_rules; j++)
			if (reference_reports(c, k->rules[j], depth + 1))
				return true;
	}
	return false;
}

/* ---- tags ---- */

static struct technique *technique_of(struct coverage *c, struct str tag)
{
	char *id = xstrndup(tag.p + sizeof("attack.") - 1, tag.n - (sizeof("attack.") - 1));

	for (char *p = id; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	struct technique *t = map_get(&c->techniques, str_of(id));
	if (t) {
		free(id);
		return t;
	}
	t = xcalloc(1, sizeof(*t));
	t->id = id;
	map_put(&c->techniques, str_of(id), t);
	return t;
}

static void free_technique(void *technique)
{
	struct technique *t = technique;

	free(t->id);
	free(t->titles);
	free(t);
}

/* The tactics, a bit each, that the technique at `at` stands under. */
static uint32_t tactics_before(const struct str *tags, size_t count, size_t at)
{
	uint32_t tactics = 0;
	size_t tactic;

	for (size_t i = at; i-- > 0;) {
		enum attack_kind kind = attack_tag(tags[i], &tactic);
		if (kind == ATTACK_TACTIC)
			tactics |= (uint32_t)1 << tactic;
		else if (kind == ATTACK_TECHNIQUE && tactics)
			break;
	}
	for (size_t i = at; !tactics && i < count; i++)
		if (attack_tag(tags[i], &tactic) == ATTACK_TACTIC)
			tactics |= (uint32_t)1 << tactic;
	return tactics ? tactics : (uint32_t)1 << NO_TACTIC;
}

static void add_technique(struct coverage *c, struct str tag, uint32_t tactics, const char *title,
                          bool reports)
{
	struct technique *t = technique_of(c, tag);

	/* The same tag twice is one rule. */
	if (t->rules && t->titles[t->rules - 1] == title)
		return;
	xgrow(&t->titles, &t->cap, t->rules + 1, sizeof(char *));
	t->titles[t->rules++] = title;
	t->reporting += reports;
	for (size_t i = 0; i < TACTICS_MAX; i++) {
		struct share *s = &t->shares[i];
		if (!(tactics >> i & 1))
			continue;
		if (s->rules++ == 0)
			s->title = title;
		s->reporting += reports;
	}
}

static void add_rule(struct coverage *c, const char *title, const struct str *tags, size_t count,
                     bool reports)
{
	size_t techniques = 0, tactic;

	for (size_t i = 0; i < count; i++) {
		enum attack_kind kind = attack_tag(tags[i], &tactic);
		if (kind == ATTACK_TACTIC)
			c->tactics |= (uint32_t)1 << tactic;
		if (kind != ATTACK_TECHNIQUE)
			continue;
		add_technique(c, tags[i], tactics_before(tags, count, i), title, reports);
		techniques++;
	}
	c->untagged += techniques == 0;
}

static void add_correlation(struct coverage *c, const Isod__V1__Correlation *k)
{
	struct str *tags = xcalloc(k->n_tags, sizeof(*tags));
	bool reports = false;

	for (size_t i = 0; i < k->n_tags; i++)
		tags[i] = str_of(k->tags[i]);
	for (size_t i = 0; i < k->n_rules && c->basis; i++)
		reports |= reference_reports(c, k->rules[i], 1);
	add_rule(c, k->title, tags, k->n_tags, reports);
	free(tags);
}

static void add_rules(struct coverage *c)
{
	const struct ruleset *set = c->stages.rules;

	for (size_t i = 0; i < set->count; i++) {
		const struct rule *r = &set->rules[i];
		add_rule(c, r->title.p, r->tags, r->tag_count, c->basis && rule_reports(c, r));
	}
	for (size_t i = 0; i < set->correlation_count; i++)
		add_correlation(c, set->correlations[i]);
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(struct technique *const *)a)->id, (*(struct technique *const *)b)->id);
}

/* In order of their ids; the caller frees the array. */
static struct technique **sorted(const struct coverage *c)
{
	struct technique **list = xcalloc(c->techniques.count, sizeof(*list));
	const struct map_entry *e;
	size_t at = 0, count = 0;

	while ((e = map_next(&c->techniques, &at)))
		list[count++] = e->value;
	qsort(list, count, sizeof(*list), by_id);
	return list;
}

/* ---- text ---- */

static void add_rows(struct table *t, const struct coverage *c, const char *tactic, size_t at,
                     struct technique *const *list)
{
	for (size_t i = 0; i < c->techniques.count; i++) {
		const struct share *s = &list[i]->shares[at];
		if (s->rules == 0)
			continue;
		table_add(t, "%s", tactic);
		table_add(t, "%s", list[i]->id);
		table_add(t, "%zu", s->rules);
		if (c->basis)
			table_add(t, "%zu", s->reporting);
		table_add(t, "%s%s", s->title, s->rules > 1 ? ", …" : "");
	}
}

static void print_tactics(const struct coverage *c, struct technique *const *list)
{
	static const struct table_column plain[] = {{"TACTIC", 25, false},
	                                            {"TECHNIQUE", 9, false},
	                                            {"RULES", 6, true},
	                                            {"SUCH AS", 0, false}};
	static const struct table_column asked[] = {{"TACTIC", 25, false},
	                                            {"TECHNIQUE", 9, false},
	                                            {"RULES", 6, true},
	                                            {"REPORTING", 9, true},
	                                            {"SUCH AS", 0, false}};
	struct table t;

	table_init(&t, c->basis ? asked : plain, c->basis ? ARRAY_LEN(asked) : ARRAY_LEN(plain));
	for (size_t i = 0; i < attack_tactic_count; i++)
		add_rows(&t, c, attack_tactics[i].name, i, list);
	add_rows(&t, c, "(no tactic)", NO_TACTIC, list);
	table_print(&t);
}

static void add_source(struct table *t, const struct coverage *c, size_t i)
{
	struct logsource_entry e = {.product = STR("(none known)")};
	char age[24];

	if (i < c->entries)
		e = logsources_entry(c->stages.logsources, i);
	table_add(t, "%llu", (unsigned long long)c->seen[i].events);
	if (c->basis == BASIS_DAEMON)
		table_add(t, "%s", table_age(c->seen[i].last_ns, age));
	table_add(t, "%.*s", STR_FMT(e.product));
	table_add(t, "%.*s", STR_FMT(e.category));
	table_add(t, "%.*s", STR_FMT(e.service));
}

static void print_sources(const struct coverage *c)
{
	static const struct table_column columns[] = {{"EVENTS", 10, true},
	                                              {"LAST", 6, true},
	                                              {"PRODUCT", 16, false},
	                                              {"CATEGORY", 24, false},
	                                              {"SERVICE", 0, false}};
	static const struct table_column ageless[] = {{"EVENTS", 10, true},
	                                              {"PRODUCT", 16, false},
	                                              {"CATEGORY", 24, false},
	                                              {"SERVICE", 0, false}};
	bool ages = c->basis == BASIS_DAEMON;
	struct table t;

	table_init(&t, ages ? columns : ageless, ages ? ARRAY_LEN(columns) : ARRAY_LEN(ageless));
	for (size_t i = 0; i <= c->entries; i++)
		if (c->seen[i].events)
			add_source(&t, c, i);
	printf("\n");
	table_print(&t);
}

static Isod__V1__CoverageTotals totals(const struct coverage *c, struct technique *const *list)
{
	Isod__V1__CoverageTotals m = ISOD__V1__COVERAGE_TOTALS__INIT;

	m.rules = c->stages.rules->count + c->stages.rules->correlation_count;
	m.untagged = c->untagged;
	m.techniques = c->techniques.count;
	for (size_t i = 0; i < c->techniques.count; i++)
		m.techniques_reporting += list[i]->reporting > 0;
	for (uint32_t bits = c->tactics; bits; bits &= bits - 1)
		m.tactics++;
	m.events = c->events;
	m.basis = (char *)(uintptr_t)basis_names[c->basis];
	return m;
}

static void print_text(const struct coverage *c, struct technique *const *list)
{
	Isod__V1__CoverageTotals m = totals(c, list);
	char age[24];

	print_tactics(c, list);
	if (c->basis)
		print_sources(c);
	printf("%s%llu techniques of %llu tactics in %llu rules, of which %llu name no technique\n",
	       c->techniques.count || c->basis ? "\n" : "", (unsigned long long)m.techniques,
	       (unsigned long long)m.tactics, (unsigned long long)m.rules,
	       (unsigned long long)m.untagged);
	if (c->basis)
		printf("%llu techniques have a rule whose log source is among those of the %llu "
		       "events",
		       (unsigned long long)m.techniques_reporting, (unsigned long long)m.events);
	if (c->basis == BASIS_DAEMON)
		printf(" since the daemon loaded its rules %s ago", table_age(c->loaded_ns, age));
	fputs(c->basis ? "\n" : "offline: which log sources report is not known\n", stdout);
}

/* ---- JSON ---- */

static void print_technique(const struct technique *t)
{
	Isod__V1__TechniqueCoverage m = ISOD__V1__TECHNIQUE_COVERAGE__INIT;
	char *tactics[TACTICS_MAX];

	m.technique = t->id;
	m.tactics = tactics;
	for (size_t i = 0; i < attack_tactic_count; i++)
		if (t->shares[i].rules)
			tactics[m.n_tactics++] = (char *)(uintptr_t)attack_tactics[i].tag;
	m.rules = t->rules;
	m.reporting = t->reporting;
	m.n_titles = t->rules;
	m.titles = (char **)(uintptr_t)t->titles;
	output_json(&m.base);
}

static void print_source(struct logsource_entry e, const struct seen *seen)
{
	Isod__V1__LogSource source = ISOD__V1__LOG_SOURCE__INIT;
	Isod__V1__SeenLogSource m = ISOD__V1__SEEN_LOG_SOURCE__INIT;
	char *parts[] = {xstrndup(e.product.n ? e.product.p : "", e.product.n),
	                 xstrndup(e.category.n ? e.category.p : "", e.category.n),
	                 xstrndup(e.service.n ? e.service.p : "", e.service.n)};

	source.product = parts[0];
	source.category = parts[1];
	source.service = parts[2];
	m.source = &source;
	m.events = seen->events;
	m.last_ns = seen->last_ns;
	output_json(&m.base);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		free(parts[i]);
}

static void print_json(const struct coverage *c, struct technique *const *list)
{
	Isod__V1__CoverageTotals m = totals(c, list);

	for (size_t i = 0; i < c->techniques.count; i++)
		print_technique(list[i]);
	for (size_t i = 0; i <= c->entries; i++)
		if (c->seen[i].events)
			print_source(i < c->entries ? logsources_entry(c->stages.logsources, i)
			                            : (struct logsource_entry){0},
			             &c->seen[i]);
	output_json(&m.base);
}

/* ---- the layer ---- */

static char *comment_of(const struct technique *t)
{
	struct buf text;

	buf_init(&text, 0);
	for (size_t i = 0; i < t->rules; i++) {
		if (text.n + strlen(t->titles[i]) > COMMENT_MAX) {
			buf_printf(&text, "\n… and %zu more", t->rules - i);
			break;
		}
		buf_printf(&text, "%s%s", i ? "\n" : "", t->titles[i]);
	}
	char *comment = xstrdup(buf_cstr(&text));
	buf_release(&text);
	return comment;
}

static int write_file(const char *file, const ProtobufCMessage *message)
{
	FILE *out = fopen(file, "we");
	struct buf text;
	int r = 0;

	if (out) {
		buf_init(&text, 0);
		pbjson_append(&text, message);
		buf_putc(&text, '\n');
		fwrite(text.p, 1, text.n, out);
		r = ferror(out) ? -EIO : 0;
		buf_release(&text);
	}
	if (!out || fclose(out) != 0)
		r = -errno;
	if (r < 0)
		fprintf(stderr, "isoctl: %s: %s\n", file, strerror(-r));
	return r;
}

/* Texts in messages are not const. */
#define TEXT(literal) ((char *)(uintptr_t)(literal))

static void fill_technique(const struct coverage *c, const struct technique *k,
                           Isod__V1__NavigatorMetadata **metadata, Isod__V1__NavigatorTechnique *t)
{
	isod__v1__navigator_technique__init(t);
	t->techniqueid = k->id;
	t->score = k->rules;
	t->comment = comment_of(k);
	t->enabled = true;
	t->n_metadata = c->basis != BASIS_NONE;
	t->metadata = &metadata[k->reporting ? 0 : 1];
}

static int write_layer(const struct coverage *c, struct technique *const *list, const char *file)
{
	Isod__V1__NavigatorLayer m = ISOD__V1__NAVIGATOR_LAYER__INIT;
	Isod__V1__NavigatorVersions versions = ISOD__V1__NAVIGATOR_VERSIONS__INIT;
	Isod__V1__NavigatorGradient gradient = ISOD__V1__NAVIGATOR_GRADIENT__INIT;
	Isod__V1__NavigatorMetadata reports = ISOD__V1__NAVIGATOR_METADATA__INIT, silent = reports;
	Isod__V1__NavigatorMetadata *metadata[] = {&reports, &silent};
	char *colors[] = {TEXT(COLOR_LOW), TEXT(COLOR_HIGH)};
	size_t count = c->techniques.count;
	Isod__V1__NavigatorTechnique *techniques = xcalloc(count, sizeof(*techniques));

	reports.name = silent.name = TEXT("log source");
	reports.value = TEXT("reports");
	silent.value = TEXT("does not report");
	versions.navigator = TEXT("4.9.0");
	versions.layer = TEXT("4.5");
	m.name = TEXT("isod rules");
	m.versions = &versions;
	m.domain = TEXT("enterprise-attack");
	m.description = TEXT("Techniques by the number of rules that name them");
	m.techniques = xcalloc(count, sizeof(*m.techniques));
	m.gradient = &gradient;
	gradient.colors = colors;
	gradient.n_colors = ARRAY_LEN(colors);
	gradient.minvalue = 1;
	gradient.maxvalue = 2; /* it must be more than the least */
	for (size_t i = 0; i < count; i++) {
		fill_technique(c, list[i], metadata, &techniques[i]);
		if (techniques[i].score > gradient.maxvalue)
			gradient.maxvalue = techniques[i].score;
		m.techniques[m.n_techniques++] = &techniques[i];
	}
	int r = write_file(file, &m.base);
	for (size_t i = 0; i < count; i++)
		free(techniques[i].comment);
	free(m.techniques);
	free(techniques);
	return r;
}

/* ---- the command ---- */

/* What is to tell which log sources report. */
struct coverage_sources {
	const char *events, *evidence;
	bool offline; /* not the daemon */
};

static int cover(struct coverage *c, const struct coverage_sources *from, const char *layer)
{
	struct walk w = {.dir = from->evidence, .frame = on_frame, .arg = c};
	int r = 0;

	c->entries = c->stages.logsources ? logsources_count(c->stages.logsources) : 0;
	c->seen = xcalloc(c->entries + 1, sizeof(*c->seen));
	c->basis = from->events || from->evidence ? BASIS_EVENTS : BASIS_NONE;
	if (from->events)
		r = read_events(c, from->events);
	if (r == 0 && from->evidence)
		r = walk_evidence(&w);
	if (r < 0)
		return r;
	if (!c->basis && !from->offline && ask_daemon(c) != 0)
		fprintf(stderr, "isoctl: offline: without a daemon, --events or --evidence it is "
		                "not known which log sources report\n");
	add_rules(c);
	struct technique **list = sorted(c);
	if (c->ctl->json)
		print_json(c, list);
	else
		print_text(c, list);
	if (layer)
		r = write_layer(c, list, layer);
	free(list);
	return r < 0 || w.damaged ? -EIO : 0;
}

int rules_coverage(const struct isoctl *ctl, int argc, char **argv)
{
	struct stage_files files = {0};
	struct coverage c = {.ctl = ctl};
	struct coverage_sources from = {0};
	const char *layer = NULL;
	const struct isoctl_option options[] = {{.name = "--events", .text = &from.events},
	                                        {.name = "--evidence", .text = &from.evidence},
	                                        {.name = "--offline", .flag = &from.offline},
	                                        {.name = "--layer", .text = &layer},
	                                        STAGE_OPTIONS(files),
	                                        {0}};
	struct diags diags;

	if (rules_arguments("coverage", options, 1, &argc, argv) != 0)
		return 2;
	diags_init(&diags);
	map_init(&c.techniques);
	int r = stages_load(&c.stages, &files, argv, argc, &diags);
	rules_print_problems(stderr, &diags, false);
	if (r == 0)
		r = cover(&c, &from, layer);
	r = r < 0 || diags.errors || !output_finish();
	map_release(&c.techniques, free_technique);
	free(c.seen);
	stages_release(&c.stages);
	diags_release(&diags);
	return r;
}
