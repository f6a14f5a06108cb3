/* When all files have been read: what correlations refer to, circles among them, and what the rules owe their
 * correlations: silence, and the fields that they are grouped by. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/correlation.h"

#define CARRIED_MAX                                                                                \
	256 /* fields that all correlations together want from one rule: each match carries them */
#define SUGGESTIONS_MAX 100 /* of a set; each looks at every name */
#define VISIT_DEPTH_MAX 64  /* circles are found long before; bounds the recursion on long chains */

#define SHOWN(s) (int)((s).n < 80 ? (s).n : 80), (s).p

/* ---- finishing: references and circles ---- */

void correlation_refuse(struct loader *l, struct draft_correlation *d, int line, int column,
                        const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	diag_add(l->diags, DIAG_ERROR, d->file, line, column, "%s", text);
	d->known->broken = true;
}

static const char *nearest_name(struct loader *l, const char *word)
{
	size_t count = 0, at = 0;
	const struct map_entry *e;

	if (l->suggested++ >= SUGGESTIONS_MAX)
		return NULL;
	const char **names = xcalloc(l->names.count, sizeof(*names)), *near;
	while ((e = map_next(&l->names, &at)))
		names[count++] = e->key.p;
	near = diag_suggest(word, names, count);
	free(names);
	return near;
}

static void resolve_reference(struct loader *l, struct draft_correlation *d, size_t i)
{
	struct reference *ref = &d->rules[i];

	ref->target = loader_find(l, ref->text);
	if (!ref->target) {
		const char *near = nearest_name(l, ref->text.p);
		correlation_refuse(
			l, d, ref->line, ref->column,
			near ? "there is no rule with the id or name `%.*s`: did you mean `%s`?"
			     : "there is no rule with the id or name `%.*s`",
			SHOWN(ref->text), near);
		return;
	}
	if (ref->target == d->known)
		correlation_refuse(l, d, ref->line, ref->column,
		                   "a correlation cannot refer to itself");
	else if (ref->target->kind == DOCUMENT_FILTER)
		correlation_refuse(l, d, ref->line, ref->column, "`%.*s` is a filter, not a rule",
		                   SHOWN(ref->text));
	for (size_t j = 0; j < i; j++)
		if (d->rules[j].target == ref->target)
			correlation_refuse(l, d, ref->line, ref->column,
			                   "the rule `%.*s` is listed twice", SHOWN(ref->text));
}

static void resolve_aliases(struct loader *l, struct draft_correlation *d)
{
	for (size_t i = 0; i < d->alias_count; i++) {
		struct draft_alias *a = &d->aliases[i];
		bool listed = false;
		a->target = loader_find(l, a->rule);
		for (size_t j = 0; j < d->rule_count; j++)
			listed |= a->target && d->rules[j].target == a->target;
		if (!listed)
			correlation_refuse(
				l, d, a->line, a->column,
				"the alias `%.*s` names the rule `%.*s`, which `rules` does not "
				"list",
				SHOWN(a->name), SHOWN(a->rule));
	}
}

/* Temporal conditions count different rules: never more than there are. */
static void check_reachable(struct loader *l, struct draft_correlation *d)
{
	const Isod__V1__Correlation *m = d->message;

	for (size_t i = 0; d->type && d->type->temporal && i < m->n_bounds; i++) {
		const Isod__V1__Bound *b = m->bounds[i];
		bool more = b->comparison == ISOD__V1__COMPARISON__COMPARISON_GT
		                    ? b->value >= d->rule_count
		                    : (b->comparison == ISOD__V1__COMPARISON__COMPARISON_GTE ||
		                       b->comparison == ISOD__V1__COMPARISON__COMPARISON_EQ) &&
		                              b->value > d->rule_count;
		if (more)
			correlation_refuse(
				l, d, d->attributes.line, 1,
				"the condition asks for more rules than the %zu that are listed",
				d->rule_count);
	}
}

static struct draft_correlation *target_correlation(struct loader *l, const struct reference *ref)
{
	if (!ref->target || ref->target->kind != DOCUMENT_CORRELATION)
		return NULL;
	return l->correlations[ref->target->index];
}

/* Appends to `order` after all that it refers to. */
static void visit(struct loader *l, struct draft_correlation *d, unsigned depth,
                  struct draft_correlation **order, size_t *count)
{
	unsigned height = 1;

	if (depth > VISIT_DEPTH_MAX) {
		correlation_refuse(l, d, d->attributes.line, 1,
		                   "this chain of correlations is too long");
		return;
	}
	d->open = true;
	for (size_t i = 0; i < d->rule_count; i++) {
		const struct reference *ref = &d->rules[i];
		struct draft_correlation *below = target_correlation(l, ref);
		if (below && below != d && below->open) {
			correlation_refuse(l, d, ref->line, ref->column,
			                   "`%.*s` leads back to this correlation: a circle",
			                   SHOWN(ref->text));
			continue;
		}
		if (below && below != d && !below->height)
			visit(l, below, depth + 1, order, count);
		if (below && below != d && below->height >= height)
			height = below->height + 1;
		if (ref->target && ref->target->broken && ref->target != d->known)
			correlation_refuse(l, d, ref->line, ref->column,
			                   "`%.*s` has errors of its own", SHOWN(ref->text));
	}
	if (height > CORRELATION_CHAIN_MAX && !d->known->broken)
		correlation_refuse(l, d, d->attributes.line, 1,
		                   "a chain of more than %d correlations", CORRELATION_CHAIN_MAX);
	d->open = false;
	d->height = height;
	order[(*count)++] = d;
}

/* ---- finishing: what the rules owe ---- */

/* Names on their way down: fields that the matches of a rule or correlation must carry. */
struct names {
	struct str *items;
	size_t count, cap;
};

/* False when there is no room. */
static bool add_name(struct names *n, struct str name)
{
	for (size_t i = 0; i < n->count; i++)
		if (str_eq(n->items[i], name))
			return true;
	if (n->count == CARRIED_MAX)
		return false;
	xgrow(&n->items, &n->cap, n->count + 1, sizeof(*n->items));
	n->items[n->count++] = name;
	return true;
}

/* What the rule that `ref` leads to calls `name`. */
static struct str resolve_alias(const struct draft_correlation *d, const struct reference *ref,
                                struct str name)
{
	for (size_t i = 0; i < d->alias_count; i++)
		if (d->aliases[i].target == ref->target && str_eq(d->aliases[i].name, name))
			return d->aliases[i].field;
	return name;
}

static void pass_down(struct loader *l, struct draft_correlation *d, struct names *own,
                      struct names *rules, struct names *correlations)
{
	bool room = true;

	for (size_t i = 0; i < d->group_count; i++)
		room &= add_name(own, d->group_by[i]);
	for (size_t i = 0; i < d->value_count; i++)
		room &= add_name(own, d->values[i]);
	for (size_t i = 0; i < d->rule_count; i++) {
		const struct reference *ref = &d->rules[i];
		bool is_rule = ref->target->kind == DOCUMENT_RULE;
		struct names *to =
			is_rule ? &rules[ref->target->index] : &correlations[ref->target->index];
		for (size_t j = 0; j < own->count; j++)
			room &= add_name(to, resolve_alias(d, ref, own->items[j]));
	}
	if (!room)
		correlation_refuse(
			l, d, d->attributes.line, 1,
			"a rule would have to carry more than %d fields for its correlations",
			CARRIED_MAX);
}

/* From the outermost correlations down, so that a chain's fields arrive at the rules at its end. */
static void fill_group_fields(struct loader *l, struct draft_correlation **order, size_t count)
{
	struct names *rules = xcalloc(l->rule_count, sizeof(*rules));
	struct names *correlations = xcalloc(l->correlation_count, sizeof(*correlations));

	for (size_t i = count; i-- > 0;)
		if (!order[i]->known->broken)
			pass_down(l, order[i], &correlations[order[i]->known->index], rules,
			          correlations);
	for (size_t i = 0; i < l->rule_count; i++) {
		struct rule *r = &l->rules[i];
		r->group_field_count = rules[i].count;
		r->group_fields = arena_alloc(&l->set->arena, rules[i].count * sizeof(struct str));
		if (rules[i].count)
			memcpy(r->group_fields, rules[i].items,
			       rules[i].count * sizeof(struct str));
		free(rules[i].items);
	}
	for (size_t i = 0; i < l->correlation_count; i++)
		free(correlations[i].items);
	free(rules);
	free(correlations);
}

/* A rule is silent if correlations refer to it and none of them says `generate: true`. */
static void fill_silence(struct loader *l)
{
	bool *loud = xcalloc(l->rule_count + l->correlation_count, sizeof(*loud));

	for (size_t i = 0; i < l->correlation_count; i++) {
		const struct draft_correlation *d = l->correlations[i];
		for (size_t j = 0; !d->known->broken && j < d->rule_count; j++) {
			const struct known *k = d->rules[j].target;
			bool is_rule = k->kind == DOCUMENT_RULE;
			loud[k->index + (is_rule ? 0 : l->rule_count)] |= d->attributes.generate;
			if (is_rule)
				l->rules[k->index].silent = true;
			else
				l->correlations[k->index]->silent = true;
		}
	}
	for (size_t i = 0; i < l->rule_count; i++)
		l->rules[i].silent &= !loud[i];
	for (size_t i = 0; i < l->correlation_count; i++)
		l->correlations[i]->silent &= !loud[l->rule_count + i];
	free(loud);
}

/* ---- finishing: the message ---- */

static char **strings(struct loader *l, const struct str *from, size_t count)
{
	char **ret = arena_alloc(&l->set->arena, count * sizeof(char *));

	for (size_t i = 0; i < count; i++)
		ret[i] = arena_strdup(&l->set->arena, from[i]);
	return ret;
}

static void build_message(struct loader *l, struct draft_correlation *d)
{
	struct arena *a = &l->set->arena;
	Isod__V1__Correlation *m = d->message;

	m->id = arena_strdup(a, d->attributes.id);
	m->title = arena_strdup(a, d->attributes.title);
	m->level = d->attributes.level;
	m->silent = d->silent;
	m->tags = strings(l, d->attributes.tags, m->n_tags = d->attributes.tag_count);
	m->group_by = strings(l, d->group_by, m->n_group_by = d->group_count);
	if (d->value_count == 1)
		m->value_field = arena_strdup(a, d->values[0]);
	else if (d->value_count)
		m->value_fields = strings(l, d->values, m->n_value_fields = d->value_count);
	m->n_rules = d->rule_count;
	m->rules = arena_alloc(a, d->rule_count * sizeof(char *));
	for (size_t i = 0; i < d->rule_count; i++)
		m->rules[i] = arena_strdup(a, d->rules[i].target->id);
	m->n_aliases = d->alias_count;
	m->aliases = arena_alloc(a, d->alias_count * sizeof(*m->aliases));
	for (size_t i = 0; i < d->alias_count; i++) {
		m->aliases[i] = arena_alloc(a, sizeof(Isod__V1__Alias));
		isod__v1__alias__init(m->aliases[i]);
		m->aliases[i]->name = arena_strdup(a, d->aliases[i].name);
		m->aliases[i]->rule = arena_strdup(a, d->aliases[i].target->id);
		m->aliases[i]->field = arena_strdup(a, d->aliases[i].field);
	}
	l->set->correlations[l->set->correlation_count++] = m;
}

void correlations_finish(struct loader *l)
{
	size_t n = l->correlation_count, count = 0;
	struct draft_correlation **order = xcalloc(n, sizeof(struct draft_correlation *));

	for (size_t i = 0; i < n; i++) {
		struct draft_correlation *d = l->correlations[i];
		for (size_t j = 0; j < d->rule_count; j++)
			resolve_reference(l, d, j);
		resolve_aliases(l, d);
		check_reachable(l, d);
		correlation_finish_condition(l, d);
	}
	for (size_t i = 0; i < n; i++)
		if (!l->correlations[i]->height)
			visit(l, l->correlations[i], 1, order, &count);
	fill_group_fields(l, order, count);
	fill_silence(l);
	l->set->correlations = arena_alloc(&l->set->arena, n * sizeof(Isod__V1__Correlation *));
	for (size_t i = 0; i < n; i++)
		if (!l->correlations[i]->known->broken)
			build_message(l, l->correlations[i]);
	free(order);
}
