/* isoctl rules explain: why a rule holds for an event or not. The explanation of sigma/explain.h becomes a message, and
 * the message is printed: as JSON, or as a tree in which every line begins with its verdict. */
#include <errno.h>
#include <stdarg.h>

#include "base/clock.h"
#include "base/mem.h"
#include "isoctl_rules.h"
#include "isoctl_table.h"
#include "sigma/explain.h"

#define VALUES_MAX  10   /* of one item, and of one field: past these only counted */
#define VALUE_BYTES 4096 /* of one value: more is nobody's to read */
#define FIELDS_MAX  512  /* of the event, among which a near miss is looked for */
#define LINE_CELLS  80   /* where there is no terminal that says more */
#define DEPTH_MAX   40   /* cells of indentation */

/* ---- the message ---- */

/* Text of a rule or an event as a terminated copy. */
static char *text_of(struct arena *a, struct str s)
{
	return arena_strdup(a, str_head(s, VALUE_BYTES));
}

static Isod__V1__LogSource *source_message(struct arena *a, struct str product, struct str category,
                                           struct str service)
{
	Isod__V1__LogSource *m = arena_alloc(a, sizeof(*m));

	isod__v1__log_source__init(m);
	m->product = text_of(a, product);
	m->category = text_of(a, category);
	m->service = text_of(a, service);
	return m;
}

static Isod__V1__ExplainedLogSource *sources_message(struct arena *a, const struct stages *s,
                                                     const struct rule *rule, bool fits)
{
	Isod__V1__ExplainedLogSource *m = arena_alloc(a, sizeof(*m));
	size_t count = s->logsources ? logsources_count(s->logsources) : 0;

	isod__v1__explained_log_source__init(m);
	m->fits = fits;
	m->rule = source_message(a, rule->product, rule->category, rule->service);
	m->unknown = rule->unmapped;
	m->event = arena_alloc(a, count * sizeof(*m->event));
	for (size_t i = 0; i < count; i++) {
		if (!logsource_has(&s->sources, i))
			continue;
		struct logsource_entry e = logsources_entry(s->logsources, i);
		m->event[m->n_event++] = source_message(a, e.product, e.category, e.service);
	}
	return m;
}

/* A field of the event whose name differs in letter case or by a slip only; or, for a nested one, in what stands
 * before the last dot. */
static const char *similar_field(struct arena *a, const struct event *e, struct str name)
{
	const char *names[FIELDS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < e->count && count < FIELDS_MAX; i++) {
		struct str n = e->fields[i].name;
		if (str_ieq(n, name) ||
		    (n.n > name.n + 1 && str_ends(n, name) && n.p[n.n - name.n - 1] == '.'))
			return text_of(a, n);
		names[count++] = text_of(a, n);
	}
	const char *near = diag_suggest(text_of(a, name), names, count);
	return near ? near : "";
}

static Isod__V1__ExplainedValue *value_message(struct arena *a, const struct event *e,
                                               const struct explained_test *t)
{
	Isod__V1__ExplainedValue *m = arena_alloc(a, sizeof(*m));

	isod__v1__explained_value__init(m);
	m->written = text_of(a, t->test->written);
	m->holds = t->holds;
	if (t->field) {
		m->field = text_of(a, t->field->name);
		m->value = text_of(a, t->field->value);
	} else if (t->raw) {
		m->value = text_of(a, e->raw);
	}
	return m;
}

static Isod__V1__ExplainedItem *item_message(struct arena *a, const struct event *e,
                                             const struct explained *x)
{
	const struct item *item = x->item;
	Isod__V1__ExplainedItem *m = arena_alloc(a, sizeof(*m));

	isod__v1__explained_item__init(m);
	m->key = text_of(a, item->key);
	m->line = (uint32_t)item->line;
	m->column = (uint32_t)item->column;
	m->all = item->all;
	m->present = x->field != NULL;
	m->event_values = arena_alloc(a, VALUES_MAX * sizeof(char *));
	for (const struct field *f = x->field; f && m->n_event_values < VALUES_MAX;
	     f = event_next(e, f))
		m->event_values[m->n_event_values++] =
			text_of(a, f->type == VALUE_NULL ? STR("null") : f->value);
	if (item->field.p && !x->field)
		m->similar_field = (char *)(uintptr_t)similar_field(a, e, item->field);
	m->count = item->count;
	for (size_t i = 0; i < item->count; i++)
		m->held += x->tests[i].holds;
	/* Of "all" the values that fail decide, if there are any. */
	bool shown = item->all ? m->held == m->count : m->held > 0;
	m->values = arena_alloc(a, VALUES_MAX * sizeof(*m->values));
	for (size_t i = 0; i < item->count && m->n_values < VALUES_MAX; i++)
		if (x->tests[i].holds == shown)
			m->values[m->n_values++] = value_message(a, e, &x->tests[i]);
	return m;
}

static Isod__V1__ExplainedPart *part_message(struct arena *a, const struct event *e,
                                             const struct explained *x)
{
	Isod__V1__ExplainedPart *m = arena_alloc(a, sizeof(*m));

	isod__v1__explained_part__init(m);
	m->kind = (Isod__V1__ExplainedKind)(x->kind + ISOD__V1__EXPLAINED_KIND__EXPLAINED_KIND_AND);
	m->holds = x->holds;
	m->name = text_of(a, x->name);
	m->need = (uint32_t)x->need;
	m->parts = arena_alloc(a, x->count * sizeof(*m->parts));
	for (size_t i = 0; i < x->count; i++)
		m->parts[m->n_parts++] = part_message(a, e, &x->parts[i]);
	if (x->item)
		m->item = item_message(a, e, x);
	return m;
}

/* ---- text ---- */

/* A line of the tree: verdict, indentation, text, cut to the line. */
static void line(const char *verdict, unsigned depth, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void line(const char *verdict, unsigned depth, const char *format, ...)
{
	size_t cells = table_width() ? table_width() : LINE_CELLS;
	unsigned indent = depth * 2 < DEPTH_MAX ? depth * 2 : DEPTH_MAX;
	struct buf safe;
	va_list ap;

	buf_init(&safe, 0);
	va_start(ap, format);
	table_vsafe(&safe, cells > indent + 20 ? cells - indent - 5 : 20, format, ap);
	va_end(ap);
	printf("%-5s%*s%s\n", verdict, (int)indent, "", buf_cstr(&safe));
	buf_release(&safe);
}

static const char *verdict(bool holds)
{
	return holds ? "yes" : "no";
}

/* "product linux, service sudo". */
static void add_source(struct buf *out, const Isod__V1__LogSource *s)
{
	const char *parts[] = {"product ",  s->product, "category ",
	                       s->category, "service ", s->service};
	const char *gap = "";

	for (size_t i = 0; i < ARRAY_LEN(parts); i += 2) {
		if (!parts[i + 1][0])
			continue;
		buf_printf(out, "%s%s%s", gap, parts[i], parts[i + 1]);
		gap = ", ";
	}
}

static void print_source(const char *what, const Isod__V1__LogSource *s)
{
	struct buf text;

	buf_init(&text, 0);
	add_source(&text, s);
	line("", 1, "%s%s", what, buf_cstr(&text));
	buf_release(&text);
}

static void print_sources(const Isod__V1__ExplainedLogSource *s)
{
	line(verdict(s->fits), 0, "log source");
	print_source("the rule is for   ", s->rule);
	if (s->unknown)
		line("", 1, "the log-source table knows none such: tried on events of none");
	for (size_t i = 0; i < s->n_event; i++)
		print_source(i ? "                  " : "the event is of   ", s->event[i]);
	if (s->n_event == 0)
		line("", 1, "the event is of   no known log source");
}

/* What the event has in the item's field; keywords have none. */
static void print_event_has(const Isod__V1__ExplainedItem *m, unsigned depth)
{
	struct str field = str_of(m->key);

	field = str_split(&field, '|');
	for (size_t i = 0; i < m->n_event_values; i++)
		line("", depth, "%-10s '%s'", i ? "" : "event has", m->event_values[i]);
	if (m->present || field.n == 0)
		return;
	line("", depth, "%-10s no field %.*s%s%s", "event has", STR_FMT(field),
	     m->similar_field[0] ? ", but " : "", m->similar_field);
}

static void print_value(const Isod__V1__ExplainedValue *v, bool keyword, unsigned depth)
{
	line("", depth, "%-10s '%s'", v->holds ? "fits" : "fits not", v->written);
	if (keyword && v->holds)
		line("", depth, "%-10s '%s'", v->field[0] ? v->field : "in frame", v->value);
}

static void print_item(const Isod__V1__ExplainedItem *m, bool holds, unsigned depth)
{
	const char *key = m->key[0] ? m->key : "keywords";
	bool keyword = !m->key[0] || m->key[0] == '|';

	if (m->count == 1)
		line(verdict(holds), depth, "%s: '%s'", key, m->values[0]->written);
	else
		line(verdict(holds), depth, "%s: %llu of %llu values fit%s", key,
		     (unsigned long long)m->held, (unsigned long long)m->count,
		     m->all ? ", all must" : "");
	for (size_t i = 0; i < m->n_values; i++)
		if (m->count > 1 || keyword)
			print_value(m->values[i], keyword, depth + 1);
	if ((m->values[0]->holds ? m->held : m->count - m->held) > m->n_values)
		line("", depth + 1, "…");
	print_event_has(m, depth + 1);
}

static void print_part(const Isod__V1__ExplainedPart *m, unsigned depth)
{
	static const char *const names[] = {
		[ISOD__V1__EXPLAINED_KIND__EXPLAINED_KIND_AND] = "and",
		[ISOD__V1__EXPLAINED_KIND__EXPLAINED_KIND_OR] = "or",
		[ISOD__V1__EXPLAINED_KIND__EXPLAINED_KIND_NOT] = "not",
		[ISOD__V1__EXPLAINED_KIND__EXPLAINED_KIND_MAP] = "all of",
		[ISOD__V1__EXPLAINED_KIND__EXPLAINED_KIND_LIST] = "any of",
	};

	if (m->item) {
		print_item(m->item, m->holds, depth);
		return;
	}
	if (m->kind == ISOD__V1__EXPLAINED_KIND__EXPLAINED_KIND_SELECTION)
		line(verdict(m->holds), depth, "%s", m->name);
	else if (m->kind == ISOD__V1__EXPLAINED_KIND__EXPLAINED_KIND_AT_LEAST)
		line(verdict(m->holds), depth, "%u of", m->need);
	else
		line(verdict(m->holds), depth, "%s", names[m->kind]);
	for (size_t i = 0; i < m->n_parts; i++)
		print_part(m->parts[i], depth + 1);
}

static void print_text(const Isod__V1__RuleExplanation *m, const struct event *e)
{
	char time[CLOCK_TEXT_MAX];

	line(verdict(m->matches), 0, "%s", m->title);
	line("", 1, "rule   %s", m->rule);
	line("", 1, "in     line %u of %s", m->line, m->file);
	line("", 1, "event  line %llu, read as %s%s%s", (unsigned long long)m->event,
	     e->decoder ? e->decoder : "raw text", e->time_ns ? ", of " : "",
	     e->time_ns ? clock_format(e->time_ns, time) : "");
	if (e->flags & EVENT_INCOMPLETE)
		line("", 1, "       of which fields past a limit were left out");
	print_sources(m->log_source);
	line(verdict(m->condition->holds), 0, "condition");
	print_part(m->condition, 1);
}

/* ---- the command ---- */

/* By id, name or title; a message when there is none. */
static const struct rule *find_rule(const struct ruleset *set, const char *wanted)
{
	struct str text = str_of(wanted);
	const struct rule *r = ruleset_find(set, text);

	for (size_t i = 0; !r && i < set->count; i++)
		if (str_eq(set->rules[i].name, text) || str_ieq(set->rules[i].title, text))
			r = &set->rules[i];
	if (r)
		return r;
	for (size_t i = 0; i < set->correlation_count; i++) {
		const Isod__V1__Correlation *c = set->correlations[i];
		if (!str_ieq(str_of(c->id), text) && !str_ieq(str_of(c->title), text))
			continue;
		fprintf(stderr,
		        "isoctl: %s is a correlation: it sees matches, not events. The rules it "
		        "counts:\n",
		        wanted);
		for (size_t j = 0; j < c->n_rules; j++)
			fprintf(stderr, "  %s\n", c->rules[j]);
		return NULL;
	}
	fprintf(stderr, "isoctl: none of the %zu rules has the id, name or title '%s'\n",
	        set->count, wanted);
	return NULL;
}

static int read_event(struct stages *s, struct lines *lines, uint64_t number)
{
	struct str text = STR_NONE;
	int r = 1;

	while (r > 0 && lines->number < number)
		r = lines_next(lines, &text);
	if (r < 0)
		return r;
	if (r == 0 || text.n == 0) {
		fprintf(stderr, "isoctl: %s: line %llu %s\n", lines->name,
		        (unsigned long long)number, r ? "is empty" : "is past its end");
		return -ENOENT;
	}
	stages_decode(s, text, STAGE_FILE, clock_now());
	return 0;
}

static void explain(const struct isoctl *ctl, struct stages *s, const struct rule *rule,
                    uint64_t number)
{
	Isod__V1__RuleExplanation m = ISOD__V1__RULE_EXPLANATION__INIT;
	struct explanation x;
	struct arena arena;

	arena_init(&arena, 0);
	explain_rule(s->rules, rule, &s->event, s->logsources ? &s->sources : NULL, &arena, &x);
	m.rule = text_of(&arena, rule->id);
	m.title = text_of(&arena, rule->title);
	m.file = (char *)(uintptr_t)rule->file;
	m.line = (uint32_t)rule->line;
	m.event = number;
	m.matches = x.matches;
	m.log_source = sources_message(&arena, s, rule, x.source_fits);
	m.condition = part_message(&arena, &s->event, &x.condition);
	if (ctl->json)
		output_json(&m.base);
	else
		print_text(&m, &s->event);
	arena_release(&arena);
}

int rules_explain(const struct isoctl *ctl, int argc, char **argv)
{
	struct stage_files files = {0};
	const char *file = NULL;
	uint64_t number = 1;
	const struct isoctl_option options[] = {{.name = "--event", .text = &file},
	                                        {.name = "--line", .number = &number},
	                                        STAGE_OPTIONS(files),
	                                        {0}};
	const struct rule *rule = NULL;
	struct lines lines = {0};
	struct stages stages;
	struct diags diags;

	if (rules_arguments("explain", options, 2, &argc, argv) != 0)
		return 2;
	if (!file || number == 0)
		return rules_usage("explain");
	diags_init(&diags);
	int r = stages_load(&stages, &files, argv + 1, argc - 1, &diags);
	rules_print_problems(stderr, &diags, false);
	if (r == 0 && !(rule = find_rule(stages.rules, argv[0])))
		r = -ENOENT;
	if (r == 0)
		r = lines_open(&lines, file);
	if (r == 0)
		r = read_event(&stages, &lines, number);
	if (r == 0)
		explain(ctl, &stages, rule, number);
	lines_close(&lines);
	r = r < 0 || !output_finish();
	stages_release(&stages);
	diags_release(&diags);
	return r;
}
