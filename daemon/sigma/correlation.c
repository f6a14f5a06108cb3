/* Correlation documents (specification 2.1.0, "Correlation Rules") into Isod__V1__Correlation, which is what the officer
 * runs. Reading checks what one document can tell by itself (its condition in correlation_condition.c); finishing
 * (correlation_finish.c) does the rest when all files have been read. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/correlation.h"

#define RULES_MAX   1000 /* of one correlation; resolving compares them with each other */
#define GROUP_MAX   64   /* fields of `group-by`, and those whose values count */
#define ALIASES_MAX 1000 /* of one correlation, rule by rule */

#define SHOWN(s) (int)((s).n < 80 ? (s).n : 80), (s).p

#define TYPE(x) ISOD__V1__CORRELATION_TYPE__CORRELATION_##x

/* Sigma's, and behind them isod's own. */
static const struct correlation_type types[] = {
	{"event_count", TYPE(EVENT_COUNT), .counts = true, .most = CORRELATION_EVENTS_MAX},
	{"value_count", TYPE(VALUE_COUNT), .counts = true, .fields = GROUP_MAX,
         .most = CORRELATION_VALUES_MAX},
	{"temporal", TYPE(TEMPORAL), .temporal = true, .counts = true},
	{"temporal_ordered", TYPE(TEMPORAL_ORDERED), .temporal = true, .counts = true},
	{"value_sum", TYPE(VALUE_SUM), .fields = 1},
	{"value_avg", TYPE(VALUE_AVG), .fields = 1},
	{"value_min", TYPE(VALUE_MIN), .fields = 1},
	{"value_max", TYPE(VALUE_MAX), .fields = 1},
	{"value_median", TYPE(VALUE_MEDIAN), .fields = 1},
	{"value_percentile", TYPE(VALUE_PERCENTILE), .fields = 1},
	{"absence", TYPE(ABSENCE), .own = true},
	{"first_seen", TYPE(FIRST_SEEN), .own = true, .fields = GROUP_MAX},
};

/* ---- reading: type, time, group ---- */

/* The type that `node` names, among isod's own or Sigma's. */
static int find_type(struct loader *l, const struct yaml_node *node, bool own,
                     struct draft_correlation *d)
{
	const char *names[ARRAY_LEN(types)], *near;
	size_t count = 0;

	if (node->kind != YAML_SCALAR)
		return loader_error(l, node, "`type` must be text, not %s", yaml_kind_name(node));
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (types[i].own == own)
			names[count++] = types[i].name;
		if (!str_ieq(node->text, str_of(types[i].name)))
			continue;
		if (types[i].own && !own)
			return loader_error(l, node, "`%s` is isod's own: write `isod: {type: %s}`",
			                    types[i].name, types[i].name);
		if (!types[i].own && own)
			return loader_error(l, node,
			                    "`%s` is Sigma's: write it as the `type` of the "
			                    "correlation",
			                    types[i].name);
		d->type = &types[i];
		d->message->type = types[i].type;
		return 0;
	}
	near = diag_suggest(node->text.p, names, count);
	if (near)
		return loader_error(l, node, "unknown correlation type `%.*s`: did you mean `%s`?",
		                    SHOWN(node->text), near);
	return loader_error(l, node, "unknown correlation type `%.*s`", SHOWN(node->text));
}

static int read_type(struct loader *l, const struct yaml_node *map, struct draft_correlation *d)
{
	const struct yaml_node *own = yaml_get(yaml_get(map, "isod"), "type");
	const struct yaml_node *node = yaml_get(map, "type");

	if (own && node)
		return loader_error(l, own, "`isod: type` stands instead of `type`, not beside it");
	if (own)
		return find_type(l, own, true, d);
	node = loader_require(l, map, "type", "a correlation");
	return node ? find_type(l, node, false, d) : -EINVAL;
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
	if (ns > CORRELATION_TIME_MAX)
		return loader_error(l, node, "a `timespan` of more than a hundred years");
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
	for (size_t i = 0; i < d->value_count; i++)
		if (str_eq(d->values[i], name))
			return true;
	return false;
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

/* Without a list, the rules are those that the condition names. */
static int read_rules(struct loader *l, const struct yaml_node *map, struct draft_correlation *d)
{
	const struct yaml_node *rules = yaml_get(map, "rules");

	if (!rules && d->word_count) {
		d->rules = d->words;
		d->rule_count = d->word_count;
		return 0;
	}
	rules = loader_require(l, map, "rules", "a correlation");
	if (!rules || references_read(l, rules, &d->rules, &d->rule_count) < 0)
		return -EINVAL;
	if (d->rule_count <= RULES_MAX)
		return 0;
	d->rule_count = RULES_MAX;
	return loader_error(l, rules, "more than %d rules in one correlation", RULES_MAX);
}

static int read_section(struct loader *l, const struct yaml_node *map, struct draft_correlation *d)
{
	const struct yaml_node *generate = yaml_get(map, "generate");
	int r = read_timespan(l, map, d);

	if (read_group_by(l, map, d) < 0)
		r = -EINVAL;
	if (generate && yaml_bool(generate, &d->attributes.generate) < 0)
		r = loader_error(l, generate, "`generate` is true or false");
	/* What a condition may say depends on the type, and what an alias is for on the condition. */
	if (read_type(l, map, d) < 0 || correlation_read_condition(l, map, d) < 0 ||
	    correlation_read_extension(l, map, d) < 0 || read_aliases(l, map, d) < 0)
		r = -EINVAL;
	return read_rules(l, map, d) < 0 ? -EINVAL : r;
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
