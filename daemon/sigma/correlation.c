/* Correlation documents (specification 2.1.0, "Correlation Rules") into Isod__V1__Correlation, which is what the officer
 * runs. Reading checks what one document can tell by itself; finishing resolves references, finds circles and works out
 * what the rules owe their correlations: silence, and the fields that they are grouped by. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/loader.h"

#define RULES_MAX   1000 /* of one correlation; resolving compares them with each other */
#define GROUP_MAX   64   /* fields of `group-by` */
#define ALIASES_MAX 1000 /* of one correlation, rule by rule */
#define CARRIED_MAX                                                                                \
	256 /* fields that all correlations together want from one rule: each match carries them */
#define SUGGESTIONS_MAX 100 /* of a set; each looks at every name */
#define VISIT_DEPTH_MAX 64  /* circles are found long before; bounds the recursion on long chains */

#define SHOWN(s) (int)((s).n < 80 ? (s).n : 80), (s).p

static const struct {
	const char *name;
	Isod__V1__CorrelationType type; /* CORRELATION_UNKNOWN: known, but not supported yet */
} types[] = {
	{"event_count", ISOD__V1__CORRELATION_TYPE__CORRELATION_EVENT_COUNT},
	{"value_count", ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_COUNT},
	{"temporal", ISOD__V1__CORRELATION_TYPE__CORRELATION_TEMPORAL},
	{"temporal_ordered", ISOD__V1__CORRELATION_TYPE__CORRELATION_TEMPORAL_ORDERED},
	{"value_sum", ISOD__V1__CORRELATION_TYPE__CORRELATION_UNKNOWN},
	{"value_avg", ISOD__V1__CORRELATION_TYPE__CORRELATION_UNKNOWN},
	{"value_min", ISOD__V1__CORRELATION_TYPE__CORRELATION_UNKNOWN},
	{"value_max", ISOD__V1__CORRELATION_TYPE__CORRELATION_UNKNOWN},
	{"value_median", ISOD__V1__CORRELATION_TYPE__CORRELATION_UNKNOWN},
	{"value_percentile", ISOD__V1__CORRELATION_TYPE__CORRELATION_UNKNOWN},
};

static const struct {
	const char *name;
	Isod__V1__Comparison comparison;
} comparisons[] = {
	{"gt", ISOD__V1__COMPARISON__COMPARISON_GT}, {"gte", ISOD__V1__COMPARISON__COMPARISON_GTE},
	{"lt", ISOD__V1__COMPARISON__COMPARISON_LT}, {"lte", ISOD__V1__COMPARISON__COMPARISON_LTE},
	{"eq", ISOD__V1__COMPARISON__COMPARISON_EQ}, {"neq", ISOD__V1__COMPARISON__COMPARISON_NEQ},
};

static bool is_temporal(const Isod__V1__Correlation *m)
{
	return m->type == ISOD__V1__CORRELATION_TYPE__CORRELATION_TEMPORAL ||
	       m->type == ISOD__V1__CORRELATION_TYPE__CORRELATION_TEMPORAL_ORDERED;
}

/* ---- reading: type, time, group ---- */

static int read_type(struct loader *l, const struct yaml_node *map, struct draft_correlation *d)
{
	const char *names[ARRAY_LEN(types)], *near;
	const struct yaml_node *node = loader_require(l, map, "type", "a correlation");

	if (!node)
		return -EINVAL;
	if (node->kind != YAML_SCALAR)
		return loader_error(l, node, "`type` must be text, not %s", yaml_kind_name(node));
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		names[i] = types[i].name;
		if (!str_ieq(node->text, str_of(types[i].name)))
			continue;
		d->message->type = types[i].type;
		if (!types[i].type)
			return loader_error(l, node,
			                    "the correlation type `%s` is not supported yet",
			                    types[i].name);
		return 0;
	}
	near = diag_suggest(node->text.p, names, ARRAY_LEN(names));
	if (near)
		return loader_error(l, node, "unknown correlation type `%.*s`: did you mean `%s`?",
		                    SHOWN(node->text), near);
	return loader_error(l, node, "unknown correlation type `%.*s`", SHOWN(node->text));
}

static int read_timespan(struct loader *l, const struct yaml_node *map, struct draft_correlation *d)
{
	const struct yaml_node *node = loader_require(l, map, "timespan", "a correlation");
	struct str text;
	uint64_t ns;

	if (!node)
		return -EINVAL;
	text = node->kind == YAML_SCALAR ? node->text : STR_NONE;
	/* One unit letter behind digits: a bare number and "500ms" are isod's own forms, not Sigma's. */
	if (text.n < 2 || !strchr("smhdwMy", text.p[text.n - 1]) ||
	    !isdigit((unsigned char)text.p[text.n - 2]) || str_to_duration(text, &ns) < 0)
		return loader_error(
			l, node, "`timespan` is a number with s, m, h, d, w, M or y: 30s, 15m, 1h");
	if (ns == 0)
		return loader_error(l, node, "a `timespan` of nothing can never hold");
	d->message->timespan_ns = ns;
	return 0;
}

static int read_group_by(struct loader *l, const struct yaml_node *map, struct draft_correlation *d)
{
	const struct yaml_node *node = yaml_get(map, "group-by");

	if (!node && yaml_get(map, "group_by"))
		return loader_error(l, yaml_get(map, "group_by"), "the key is written `group-by`");
	if (!node || node->kind == YAML_NULL)
		return 0;
	if (loader_texts(l, node, "a field of `group-by`", &d->group_by, &d->group_count) < 0)
		return -EINVAL;
	if (d->group_count > GROUP_MAX)
		return loader_error(l, node, "more than %d fields in `group-by`", GROUP_MAX);
	for (size_t i = 0; i < d->group_count; i++)
		for (size_t j = 0; j < i; j++)
			if (str_eq(d->group_by[i], d->group_by[j]))
				return loader_error(l, node, "`%.*s` stands twice in `group-by`",
				                    SHOWN(d->group_by[i]));
	return 0;
}

/* ---- reading: condition ---- */

static int add_bound(struct loader *l, const struct yaml_pair *p, struct draft_correlation *d)
{
	const char *names[ARRAY_LEN(comparisons)], *near;
	uint64_t value;

	for (size_t i = 0; i < ARRAY_LEN(comparisons); i++) {
		names[i] = comparisons[i].name;
		if (!str_eq(p->key, str_of(names[i])))
			continue;
		if (p->value->kind != YAML_SCALAR || str_to_u64(p->value->text, &value) < 0)
			return loader_error(l, p->value, "`%s` is a whole number from 0", names[i]);
		Isod__V1__Bound *b = arena_alloc(&l->set->arena, sizeof(*b));
		isod__v1__bound__init(b);
		b->comparison = comparisons[i].comparison;
		b->value = value;
		d->message->bounds[d->message->n_bounds++] = b;
		return 0;
	}
	near = diag_suggest(p->key.p, names, ARRAY_LEN(names));
	diag_add(l->diags, DIAG_ERROR, l->file, p->line, p->column,
	         near ? "unknown comparison `%.*s`: did you mean `%s`?"
	              : "unknown comparison `%.*s` (gt, gte, lt, lte, eq, neq)",
	         SHOWN(p->key), near);
	return -EINVAL;
}

static int read_value_field(struct loader *l, const struct yaml_node *node,
                            struct draft_correlation *d)
{
	struct str *fields;
	size_t count;

	if (d->message->type != ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_COUNT)
		return loader_error(l, node, "only value_count counts the values of a `field`");
	if (loader_texts(l, node, "`field`", &fields, &count) < 0)
		return -EINVAL;
	if (count != 1)
		return loader_error(l, node,
		                    "counting the values of several fields is not supported yet");
	d->value_field = fields[0];
	return 0;
}

/* Is there a count that all bounds allow? */
static bool can_hold(const Isod__V1__Correlation *m)
{
	uint64_t low = 0, high = UINT64_MAX;

	for (size_t i = 0; i < m->n_bounds; i++) {
		uint64_t v = m->bounds[i]->value, from = 0, to = UINT64_MAX;
		switch (m->bounds[i]->comparison) {
		case ISOD__V1__COMPARISON__COMPARISON_GT:
			if (v == UINT64_MAX)
				return false;
			from = v + 1;
			break;
		case ISOD__V1__COMPARISON__COMPARISON_LT:
			if (v == 0)
				return false;
			to = v - 1;
			break;
		case ISOD__V1__COMPARISON__COMPARISON_GTE: from = v; break;
		case ISOD__V1__COMPARISON__COMPARISON_LTE: to = v; break;
		case ISOD__V1__COMPARISON__COMPARISON_EQ: from = to = v; break;
		default: break;
		}
		low = from > low ? from : low;
		high = to < high ? to : high;
	}
	for (size_t i = 0; low == high && i < m->n_bounds; i++)
		if (m->bounds[i]->comparison == ISOD__V1__COMPARISON__COMPARISON_NEQ &&
		    m->bounds[i]->value == low)
			return false;
	return low <= high;
}

static int read_bounds(struct loader *l, const struct yaml_node *node, struct draft_correlation *d)
{
	int r = 0;

	d->message->bounds =
		arena_alloc(&l->set->arena, (node->count + 1) * sizeof(Isod__V1__Bound *));
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_pair *p = &node->pairs[i];
		bool field = str_eq(p->key, STR("field"));
		if ((field ? read_value_field(l, p->value, d) : add_bound(l, p, d)) < 0)
			r = -EINVAL;
	}
	if (r == 0 && !can_hold(d->message))
		return loader_error(l, node, "no count can fulfil this condition");
	return r;
}

static int read_condition(struct loader *l, const struct yaml_node *map,
                          struct draft_correlation *d)
{
	const struct yaml_node *node = yaml_get(map, "condition");
	bool counts = d->message->type == ISOD__V1__CORRELATION_TYPE__CORRELATION_VALUE_COUNT;

	if (!node && is_temporal(d->message))
		return 0; /* all of the rules */
	if (!node)
		return loader_require(l, map, "condition", "a correlation") ? 0 : -EINVAL;
	if (node->kind == YAML_SCALAR && is_temporal(d->message))
		return loader_error(l, node,
		                    "a condition over rules in words is not supported yet: write "
		                    "`gte: N` for the number of different rules");
	if (node->kind != YAML_MAP)
		return loader_error(l, node,
		                    "the condition of a correlation is a map (gte: 10), not %s",
		                    yaml_kind_name(node));
	if (read_bounds(l, node, d) < 0)
		return -EINVAL;
	if (d->message->n_bounds == 0 && !is_temporal(d->message))
		return loader_error(l, node, "the condition compares with nothing (gte: 10)");
	if (counts && !d->value_field.p)
		return loader_error(l, node, "value_count needs the `field` whose values count");
	return 0;
}

/* ---- reading: aliases ---- */

static int add_aliases(struct loader *l, const struct yaml_pair *alias, struct draft_correlation *d,
                       size_t *cap)
{
	int r = 0;

	if (alias->value->kind != YAML_MAP || alias->value->count == 0)
		return loader_error(
			l, alias->value,
			"an alias is a map of rules to the field that each calls it by");
	for (size_t i = 0; i < alias->value->count; i++) {
		const struct yaml_pair *p = &alias->value->pairs[i];
		if (p->value->kind != YAML_SCALAR || p->value->text.n == 0) {
			r = loader_error(l, p->value, "an alias leads to the name of a field");
			continue;
		}
		if (d->alias_count == ALIASES_MAX)
			return loader_error(l, p->value, "more than %d aliases", ALIASES_MAX);
		xgrow(&d->aliases, cap, d->alias_count + 1, sizeof(*d->aliases));
		d->aliases[d->alias_count++] = (struct draft_alias){
			.name = loader_keep(l, alias->key, false),
			.rule = loader_keep(l, p->key, false),
			.field = loader_keep(l, p->value->text, false),
			.line = p->line,
			.column = p->column,
		};
	}
	return r;
}

static bool is_grouped_by(const struct draft_correlation *d, struct str name)
{
	for (size_t i = 0; i < d->group_count; i++)
		if (str_eq(d->group_by[i], name))
			return true;
	return d->value_field.p && str_eq(d->value_field, name);
}

static int read_aliases(struct loader *l, const struct yaml_node *map, struct draft_correlation *d)
{
	const struct yaml_node *node = yaml_get(map, "aliases");
	struct draft_alias *grown;
	size_t cap = 0;
	int r = 0;

	if (!node || node->kind == YAML_NULL)
		return 0;
	if (node->kind != YAML_MAP)
		return loader_error(l, node, "`aliases` must be a map, not %s",
		                    yaml_kind_name(node));
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_pair *p = &node->pairs[i];
		if (add_aliases(l, p, d, &cap) < 0)
			r = -EINVAL;
		else if (!is_grouped_by(d, p->key))
			diag_add(l->diags, DIAG_WARNING, l->file, p->line, p->column,
			         "`group-by` does not use the alias `%.*s`", SHOWN(p->key));
	}
	grown = d->aliases; /* from the heap into the arena */
	d->aliases = arena_alloc(&l->set->arena, d->alias_count * sizeof(*grown));
	if (d->alias_count)
		memcpy(d->aliases, grown, d->alias_count * sizeof(*grown));
	free(grown);
	return r;
}

/* ---- reading: the document ---- */

static int read_section(struct loader *l, const struct yaml_node *map, struct draft_correlation *d)
{
	const struct yaml_node *generate = yaml_get(map, "generate");
	const struct yaml_node *rules = loader_require(l, map, "rules", "a correlation");
	int r = rules ? references_read(l, rules, &d->rules, &d->rule_count) : -EINVAL;

	if (d->rule_count > RULES_MAX) {
		d->rule_count = RULES_MAX;
		r = loader_error(l, rules, "more than %d rules in one correlation", RULES_MAX);
	}
	if (read_timespan(l, map, d) < 0)
		r = -EINVAL;
	if (read_group_by(l, map, d) < 0)
		r = -EINVAL;
	if (generate && yaml_bool(generate, &d->attributes.generate) < 0)
		r = loader_error(l, generate, "`generate` is true or false");
	/* What a condition may say depends on the type, and what an alias is for on the condition. */
	if (read_type(l, map, d) < 0 || read_condition(l, map, d) < 0 ||
	    read_aliases(l, map, d) < 0)
		r = -EINVAL;
	return r;
}

void correlation_read(struct loader *l, const struct yaml_node *doc)
{
	const struct yaml_node *map = yaml_get(doc, "correlation");
	struct draft_correlation *d = arena_alloc(&l->set->arena, sizeof(*d));
	bool good;

	*d = (struct draft_correlation){.file = l->file};
	d->message = arena_alloc(&l->set->arena, sizeof(*d->message));
	isod__v1__correlation__init(d->message);
	good = attributes_read(l, doc, &d->attributes) == 0;
	if (map->kind == YAML_MAP)
		good &= read_section(l, map, d) == 0;
	else
		good = loader_error(l, map, "`correlation` must be a map, not %s",
		                    yaml_kind_name(map)) == 0;
	d->known = loader_register(l, doc, &d->attributes, DOCUMENT_CORRELATION,
	                           l->correlation_count, !good);
	xgrow(&l->correlations, &l->correlation_cap, l->correlation_count + 1,
	      sizeof(struct draft_correlation *));
	l->correlations[l->correlation_count++] = d;
}

/* ---- finishing: references and circles ---- */

static void refuse(struct loader *l, struct draft_correlation *d, int line, int column,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

static void refuse(struct loader *l, struct draft_correlation *d, int line, int column,
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
		refuse(l, d, ref->line, ref->column,
		       near ? "there is no rule with the id or name `%.*s`: did you mean `%s`?"
		            : "there is no rule with the id or name `%.*s`",
		       SHOWN(ref->text), near);
		return;
	}
	if (ref->target == d->known)
		refuse(l, d, ref->line, ref->column, "a correlation cannot refer to itself");
	else if (ref->target->kind == DOCUMENT_FILTER)
		refuse(l, d, ref->line, ref->column, "`%.*s` is a filter, not a rule",
		       SHOWN(ref->text));
	for (size_t j = 0; j < i; j++)
		if (d->rules[j].target == ref->target)
			refuse(l, d, ref->line, ref->column, "the rule `%.*s` is listed twice",
			       SHOWN(ref->text));
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
			refuse(l, d, a->line, a->column,
			       "the alias `%.*s` names the rule `%.*s`, which `rules` does not "
			       "list",
			       SHOWN(a->name), SHOWN(a->rule));
	}
}

/* Temporal conditions count different rules: never more than there are. */
static void check_reachable(struct loader *l, struct draft_correlation *d)
{
	const Isod__V1__Correlation *m = d->message;

	for (size_t i = 0; is_temporal(m) && i < m->n_bounds; i++) {
		const Isod__V1__Bound *b = m->bounds[i];
		bool more = b->comparison == ISOD__V1__COMPARISON__COMPARISON_GT
		                    ? b->value >= d->rule_count
		                    : (b->comparison == ISOD__V1__COMPARISON__COMPARISON_GTE ||
		                       b->comparison == ISOD__V1__COMPARISON__COMPARISON_EQ) &&
		                              b->value > d->rule_count;
		if (more)
			refuse(l, d, d->attributes.line, 1,
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
		refuse(l, d, d->attributes.line, 1, "this chain of correlations is too long");
		return;
	}
	d->open = true;
	for (size_t i = 0; i < d->rule_count; i++) {
		const struct reference *ref = &d->rules[i];
		struct draft_correlation *below = target_correlation(l, ref);
		if (below && below != d && below->open) {
			refuse(l, d, ref->line, ref->column,
			       "`%.*s` leads back to this correlation: a circle", SHOWN(ref->text));
			continue;
		}
		if (below && below != d && !below->height)
			visit(l, below, depth + 1, order, count);
		if (below && below != d && below->height >= height)
			height = below->height + 1;
		if (ref->target && ref->target->broken && ref->target != d->known)
			refuse(l, d, ref->line, ref->column, "`%.*s` has errors of its own",
			       SHOWN(ref->text));
	}
	if (height > CORRELATION_CHAIN_MAX && !d->known->broken)
		refuse(l, d, d->attributes.line, 1, "a chain of more than %d correlations",
		       CORRELATION_CHAIN_MAX);
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
	if (d->value_field.p)
		room &= add_name(own, d->value_field);
	for (size_t i = 0; i < d->rule_count; i++) {
		const struct reference *ref = &d->rules[i];
		bool is_rule = ref->target->kind == DOCUMENT_RULE;
		struct names *to =
			is_rule ? &rules[ref->target->index] : &correlations[ref->target->index];
		for (size_t j = 0; j < own->count; j++)
			room &= add_name(to, resolve_alias(d, ref, own->items[j]));
	}
	if (!room)
		refuse(l, d, d->attributes.line, 1,
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
	if (d->value_field.p)
		m->value_field = arena_strdup(a, d->value_field);
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
