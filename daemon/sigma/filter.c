/* Filters (specification 2.1.0, "Sigma Filters"): a selection of its own that is joined to the conditions of many
 * rules. As the reference implementation reads it, a match then needs the rule's condition *and* the filter's, so a
 * filter that is to suppress says `condition: not selection`. A filter applies to the rules it lists (by id or name, or
 * `any`) as far as their log source has what the filter's own asks for. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/lint.h"

static int read_rules(struct loader *l, const struct yaml_node *map, struct draft_filter *f)
{
	const struct yaml_node *rules = loader_require(l, map, "rules", "a filter");

	if (!rules)
		return -EINVAL;
	if (rules->kind == YAML_SCALAR && str_ieq(rules->text, STR("any"))) {
		f->any = true;
		return 0;
	}
	return references_read(l, rules, &f->rules, &f->rule_count);
}

void filter_read(struct loader *l, const struct yaml_node *doc)
{
	static const char *const skip[] = {"rules", NULL};
	const struct yaml_node *map = yaml_get(doc, "filter");
	struct draft_filter *f = arena_alloc(&l->set->arena, sizeof(*f));
	struct attributes a;
	bool good = attributes_read(l, doc, &a) == 0;

	*f = (struct draft_filter){.file = l->file};
	good &= logsource_read(l, doc, &f->product, &f->category, &f->service) == 0;
	if (map->kind != YAML_MAP) {
		loader_error(l, map, "`filter` must be a map, not %s", yaml_kind_name(map));
		good = false;
	} else {
		good &= read_rules(l, map, f) == 0;
		f->condition = detection_read(l, map, skip);
		good &= f->condition != NULL;
		if (f->condition && l->linter)
			lint_filter(l, yaml_get(map, "condition"), f->condition);
	}
	if (loader_register(l, doc, &a, DOCUMENT_FILTER, l->filter_count, !good)->broken)
		return;
	xgrow(&l->filters, &l->filter_cap, l->filter_count + 1, sizeof(struct draft_filter *));
	l->filters[l->filter_count++] = f;
}

static bool part_fits(struct str asked, struct str has)
{
	return !asked.p || str_eq(asked, has);
}

/* The filters of one rule, gathered first so that they become one flat node. */
struct applied {
	const struct condition **items;
	size_t count, cap;
};

/* False when the rule's log source is none of the filter's. */
static bool apply(const struct loader *l, const struct draft_filter *f, size_t rule,
                  struct applied *applied)
{
	const struct rule *r = &l->rules[rule];
	struct applied *a = &applied[rule];

	if (!part_fits(f->product, r->product) || !part_fits(f->category, r->category) ||
	    !part_fits(f->service, r->service))
		return false;
	xgrow(&a->items, &a->cap, a->count + 1, sizeof(*a->items));
	a->items[a->count++] = f->condition;
	return true;
}

static void apply_to_listed(struct loader *l, const struct draft_filter *f, struct applied *applied)
{
	for (size_t i = 0; i < f->rule_count; i++) {
		const struct reference *ref = &f->rules[i];
		const struct known *k = loader_find(l, ref->text);
		/* No error: filters of a site are written for sets that come and go. */
		if (!k)
			diag_add(l->diags, DIAG_WARNING, f->file, ref->line, ref->column,
			         "there is no rule `%.*s` to filter",
			         (int)(ref->text.n < 80 ? ref->text.n : 80), ref->text.p);
		else if (k->kind != DOCUMENT_RULE)
			diag_add(l->diags, DIAG_ERROR, f->file, ref->line, ref->column,
			         "a filter applies to detection rules, `%.*s` is none",
			         (int)(ref->text.n < 80 ? ref->text.n : 80), ref->text.p);
		else if (!k->broken && !apply(l, f, k->index, applied))
			diag_add(l->diags, DIAG_WARNING, f->file, ref->line, ref->column,
			         "the rule `%.*s` has another log source than this filter, which "
			         "therefore does nothing to it",
			         (int)(ref->text.n < 80 ? ref->text.n : 80), ref->text.p);
	}
}

static void join_filters(struct loader *l, struct rule *rule, const struct applied *a)
{
	struct condition *all = arena_alloc(&l->set->arena, sizeof(*all));
	const struct condition **parts =
		arena_alloc(&l->set->arena, (a->count + 1) * sizeof(*parts));

	parts[0] = rule->condition;
	memcpy(parts + 1, a->items, a->count * sizeof(*parts));
	*all = (struct condition){.kind = CONDITION_AND, .parts = parts, .count = a->count + 1};
	rule->condition = all;
}

void filters_finish(struct loader *l)
{
	struct applied *applied = xcalloc(l->rule_count, sizeof(*applied));

	/* All that apply must hold, as the reference implementation has it: a rule's condition *and* each filter's. */
	l->set->filters = l->filter_count;
	for (size_t i = 0; i < l->filter_count; i++) {
		const struct draft_filter *f = l->filters[i];
		if (!f->any)
			apply_to_listed(l, f, applied);
		for (size_t j = 0; f->any && j < l->rule_count; j++)
			apply(l, f, j, applied);
	}
	for (size_t i = 0; i < l->rule_count; i++) {
		if (applied[i].count)
			join_filters(l, &l->rules[i], &applied[i]);
		free(applied[i].items);
	}
	free(applied);
}
