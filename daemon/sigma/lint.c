/* What can be told from a rule's detection without an event. */
#include "sigma/lint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/prove.h"

#define PARTS_MAX                                                                                  \
	200 /* of one `and`, `or` or list: SigmaHQ's longest has 40; longer ones are not gone through */
#define DEPTH_MAX 20 /* of a condition */

struct linter {
	struct prover prover;
	struct map
		signatures; /* what a rule detects → the first rule that does, "TITLE in FILE:LINE" */
};

struct linter *linter_new(void)
{
	struct linter *l = xcalloc(1, sizeof(*l));

	prover_init(&l->prover);
	map_init(&l->signatures);
	return l;
}

void linter_free(struct linter *l)
{
	if (!l)
		return;
	prover_release(&l->prover);
	map_release(&l->signatures, free);
	free(l);
}

/* ---- conditions ---- */

struct walk {
	struct loader *l;
	struct prover *p;
	const struct yaml_node *node;
	const struct selection *selections;
	size_t count;
	unsigned depth;
};

#define SHOWN(s) (int)((s).n < 80 ? (s).n : 80), (s).p ? (s).p : ""

/* Why: the two items that cannot be together. */
static const char *reason(const struct prover *p, char *out, size_t size)
{
	const struct item *a = p->first, *b = p->second;

	out[0] = '\0';
	if (!a || !b)
		return out;
	struct str x = a->key.p ? a->key : STR("keywords"), y = b->key.p ? b->key : STR("keywords");
	if (a == b && p->covered)
		snprintf(out, size, ": `%.*s` (line %d) is asked for and excluded at once",
		         SHOWN(x), a->line);
	else if (p->covered)
		snprintf(out, size,
		         ": whatever fits `%.*s` (line %d) is excluded by `%.*s` (line %d)",
		         SHOWN(x), a->line, SHOWN(y), b->line);
	else
		snprintf(out, size, ": no value fits both `%.*s` (line %d) and `%.*s` (line %d)%s",
		         SHOWN(x), a->line, SHOWN(y), b->line,
		         p->several ? ", and few fields have several" : "");
	return out;
}

static const struct selection *find_selection(const struct walk *w, struct str name)
{
	for (size_t i = 0; i < w->count; i++)
		if (str_eq(w->selections[i].name, name))
			return &w->selections[i];
	return NULL;
}

static void warn(const struct walk *w, int line, int column, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void warn(const struct walk *w, int line, int column, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	diag_add(w->l->diags, DIAG_WARNING, w->l->file, line, column, "%s", text);
}

/* The first item below, for its place. */
static const struct item *first_item(const struct detection *d)
{
	while (d->kind != DETECT_ITEM)
		d = d->parts[0];
	return d->item;
}

static const struct item *first_item_of(const struct condition *c)
{
	while (c->kind != CONDITION_SELECTION)
		c = c->parts[0];
	return first_item(c->detection);
}

/* `part` cannot hold together with its surroundings. */
static void tell_dead(const struct walk *w, const struct condition *part, bool filter)
{
	const struct selection *s =
		part->kind == CONDITION_SELECTION ? find_selection(w, part->name) : NULL;
	const struct item *at = first_item_of(part);
	char why[512];

	reason(w->p, why, sizeof(why));
	if (s && filter)
		warn(w, s->line, s->column,
		     "the filter `%.*s` excludes nothing%s: remove or mend it", SHOWN(s->name),
		     why);
	else if (s)
		warn(w, s->line, s->column,
		     "`%.*s` can never hold together with the rest of the condition%s: remove or "
		     "mend it",
		     SHOWN(s->name), why);
	else
		warn(w, at->line, at->column,
		     "a part of the condition that begins here can never hold together with the "
		     "rest%s: remove or mend it",
		     why);
}

/* The maps of a list, each of which should be able to hold. */
static void check_list(const struct walk *w, const struct detection *d, const struct goal *rest)
{
	char why[512];

	for (size_t i = 0; d->kind == DETECT_ANY && d->count <= PARTS_MAX && i < d->count; i++) {
		if (prover_satisfiable(w->p, goal_detection(w->p, d->parts[i], true, rest)))
			continue;
		const struct item *at = first_item(d->parts[i]);
		warn(w, at->line, at->column,
		     "entry %zu of this list can never hold together with the rest of the "
		     "condition%s: remove or mend it",
		     i + 1, reason(w->p, why, sizeof(why)));
	}
}

static void check_part(struct walk *w, const struct condition *part, const struct goal *rest,
                       bool filter);
static void walk(struct walk *w, const struct condition *c, const struct goal *rest);

static void check_parts(struct walk *w, const struct condition *c, const struct goal *rest,
                        bool filter)
{
	for (size_t i = 0; i < c->count && c->count <= PARTS_MAX; i++)
		check_part(w, c->parts[i], rest, filter);
}

/* One of several that may hold, or one that is to exclude something. */
static void check_part(struct walk *w, const struct condition *part, const struct goal *rest,
                       bool filter)
{
	if (++w->depth > DEPTH_MAX) {
		w->depth--;
		return;
	}
	if (part->kind == CONDITION_OR)
		check_parts(w, part, rest, filter);
	else if (!prover_satisfiable(w->p, goal_condition(w->p, part, true, rest)))
		tell_dead(w, part, filter);
	else if (part->kind == CONDITION_SELECTION)
		check_list(w, part->detection, rest);
	else if (!filter)
		walk(w, part, rest);
	w->depth--;
}

/* `c` must hold, as must `rest`, and both can. */
static void walk(struct walk *w, const struct condition *c, const struct goal *rest)
{
	if (++w->depth > DEPTH_MAX) {
		w->depth--;
		return;
	}
	switch (c->kind) {
	case CONDITION_SELECTION: check_list(w, c->detection, rest); break;
	case CONDITION_NOT: check_part(w, c->parts[0], rest, true); break;
	case CONDITION_OR:
	case CONDITION_AT_LEAST: check_parts(w, c, rest, false); break;
	case CONDITION_AND:
		for (size_t i = 0; i < c->count && c->count <= PARTS_MAX; i++) {
			const struct goal *others = rest;
			for (size_t j = c->count; j-- > 0;)
				if (j != i)
					others = goal_condition(w->p, c->parts[j], true, others);
			walk(w, c->parts[i], others);
		}
		break;
	}
	w->depth--;
}

void lint_condition(struct loader *l, const struct yaml_node *node,
                    const struct selection *selections, size_t count,
                    const struct condition *condition)
{
	struct walk w = {l, &l->linter->prover, node, selections, count, 0};
	char why[512];

	prover_reset(w.p);
	if (!prover_satisfiable(w.p, goal_condition(w.p, condition, true, NULL))) {
		warn(&w, node->line, node->column,
		     "this condition can never hold%s: change one of them",
		     reason(w.p, why, sizeof(why)));
		return;
	}
	if (!prover_satisfiable(w.p, goal_condition(w.p, condition, false, NULL)) && !w.p->several)
		warn(&w, node->line, node->column,
		     "this condition holds for every event of its log source%s",
		     reason(w.p, why, sizeof(why)));
	walk(&w, condition, NULL);
}

/* ---- the same detection twice ---- */

static int by_bytes(const void *a, const void *b)
{
	const struct str *x = a, *y = b;
	size_t n = x->n < y->n ? x->n : y->n;
	int order = n ? memcmp(x->p, y->p, n) : 0;

	return order ? order : x->n < y->n ? -1 : x->n > y->n;
}

static void add_text(struct buf *out, struct str s)
{
	buf_printf(out, "%zu:", s.n);
	buf_add(out, s);
}

/* Texts in order, so that how they are arranged does not count; releases them. */
static void add_sorted(struct buf *out, const char *kind, struct buf *texts, size_t count)
{
	struct str *order = xcalloc(count, sizeof(*order));

	for (size_t i = 0; i < count; i++)
		order[i] = buf_str(&texts[i]);
	qsort(order, count, sizeof(*order), by_bytes);
	buf_printf(out, "%s%zu(", kind, count);
	for (size_t i = 0; i < count; i++)
		add_text(out, order[i]);
	buf_putc(out, ')');
	for (size_t i = 0; i < count; i++)
		buf_release(&texts[i]);
	free(order);
	free(texts);
}

static void add_item(struct buf *out, const struct item *item)
{
	struct buf *texts = xcalloc(item->count, sizeof(*texts));

	add_text(out, item->key);
	for (size_t i = 0; i < item->count; i++) {
		const struct test *t = &item->tests[i];
		buf_printf(&texts[i], "%d%d", (int)t->kind, t->numeric);
		buf_add(&texts[i], t->written);
	}
	add_sorted(out, item->all ? "all" : "any", texts, item->count);
}

static void add_detection(struct buf *out, const struct detection *d)
{
	if (d->kind == DETECT_ITEM) {
		add_item(out, d->item);
		return;
	}
	struct buf *texts = xcalloc(d->count, sizeof(*texts));
	for (size_t i = 0; i < d->count; i++)
		add_detection(&texts[i], d->parts[i]);
	add_sorted(out, d->kind == DETECT_ALL ? "and" : "or", texts, d->count);
}

static void add_condition(struct buf *out, const struct condition *c)
{
	static const char *const names[] = {[CONDITION_NOT] = "not",
	                                    [CONDITION_AND] = "and",
	                                    [CONDITION_OR] = "or",
	                                    [CONDITION_AT_LEAST] = "least"};

	if (c->kind == CONDITION_SELECTION) {
		add_detection(out, c->detection);
		return;
	}
	struct buf *texts = xcalloc(c->count, sizeof(*texts));
	for (size_t i = 0; i < c->count; i++)
		add_condition(&texts[i], c->parts[i]);
	buf_printf(out, "%zu", c->need);
	add_sorted(out, names[c->kind], texts, c->count);
}

static void check_duplicate(struct loader *l, const struct yaml_node *doc, const struct rule *rule)
{
	struct map *signatures = &l->linter->signatures;
	struct buf text;

	buf_init(&text, 0);
	add_text(&text, rule->product);
	add_text(&text, rule->category);
	add_text(&text, rule->service);
	add_condition(&text, rule->condition);
	const char *first = map_get(signatures, buf_str(&text));
	if (first)
		loader_warn(l, yaml_get(doc, "detection"),
		            "this is the detection of %s once more: remove one of the two", first);
	else
		map_put(signatures, buf_str(&text),
		        xasprintf("`%.*s` (%s:%d)", SHOWN(rule->title), rule->file, rule->line));
	buf_release(&text);
}

/* ---- rules ---- */

void lint_rule(struct loader *l, const struct yaml_node *doc, const struct rule *rule)
{
	check_duplicate(l, doc, rule);
	if (l->options->logsources && rule->unmapped)
		loader_warn(l, yaml_get(doc, "logsource"),
		            "the log-source table has nothing for this product, category and "
		            "service: the rule is only tried on events of no known log source. "
		            "Mend it, or add it to logsources.yaml");
}

/* ---- filters ---- */

static bool detection_excludes(const struct detection *d)
{
	bool excludes = false;

	if (d->kind == DETECT_ITEM)
		return d->item->negate || d->item->tests[0].kind == TEST_NULL ||
		       (d->item->tests[0].kind == TEST_EXISTS && !d->item->tests[0].wanted);
	for (size_t i = 0; i < d->count; i++)
		excludes |= detection_excludes(d->parts[i]);
	return excludes;
}

static bool condition_excludes(const struct condition *c)
{
	bool excludes = c->kind == CONDITION_NOT;

	if (c->kind == CONDITION_SELECTION)
		return detection_excludes(c->detection);
	for (size_t i = 0; i < c->count; i++)
		excludes |= condition_excludes(c->parts[i]);
	return excludes;
}

void lint_filter(struct loader *l, const struct yaml_node *node, const struct condition *condition)
{
	if (!condition_excludes(condition))
		loader_warn(l, node,
		            "the rules of this filter will only find what fits it; to leave out "
		            "what fits, write `not` before it");
}
