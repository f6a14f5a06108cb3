#include "sigma/explain.h"

#include "sigma/evaluate.h"
#include "sigma/match.h"

struct tracer {
	struct evaluator evaluator;
	struct arena *arena;
};

static struct explained *new_parts(struct tracer *t, struct explained *of, size_t count)
{
	of->count = count;
	of->parts = arena_alloc(t->arena, count * sizeof(*of->parts));
	return of->parts;
}

/* ---- items ---- */

/* The first value that the test fits. */
static void find_value(struct tracer *t, const struct item *item, struct explained_test *test,
                       const struct field *first)
{
	const struct event *e = t->evaluator.event;
	const struct field *f = item->field.p ? first : e->fields;

	while (f && f < e->fields + e->count) {
		bool looked_at = item->field.p || !f->derived;
		if (looked_at &&
		    evaluate_value(&t->evaluator, item, test->test, (size_t)(f - e->fields))) {
			test->field = f;
			return;
		}
		f = item->field.p ? event_next(e, f) : f + 1;
	}
	test->raw = !item->field.p;
}

static void explain_item(struct tracer *t, const struct item *item, struct explained *ret)
{
	struct explained_test *tests = arena_alloc(t->arena, item->count * sizeof(*tests));
	const struct field *first = evaluate_first(&t->evaluator, item);

	*ret = (struct explained){.kind = EXPLAINED_ITEM,
	                          .holds = evaluate_item(&t->evaluator, item),
	                          .item = item,
	                          .tests = tests,
	                          .field = first};
	for (size_t i = 0; i < item->count; i++) {
		const struct test *test = &item->tests[i];
		tests[i] = (struct explained_test){
			.test = test, .holds = evaluate_test(&t->evaluator, item, test, first)};
		if (tests[i].holds && test->kind != TEST_NULL && test->kind != TEST_EXISTS)
			find_value(t, item, &tests[i], first);
	}
}

/* ---- the tree ---- */

static void explain_detection(struct tracer *t, const struct detection *d, struct explained *ret)
{
	if (d->kind == DETECT_ITEM) {
		explain_item(t, d->item, ret);
		return;
	}
	*ret = (struct explained){.kind = d->kind == DETECT_ALL ? EXPLAINED_MAP : EXPLAINED_LIST,
	                          .holds = evaluate_detection(&t->evaluator, d)};
	new_parts(t, ret, d->count);
	for (size_t i = 0; i < d->count; i++)
		explain_detection(t, d->parts[i], &ret->parts[i]);
}

static void explain_condition(struct tracer *t, const struct condition *c, struct explained *ret)
{
	static const enum explained_kind kinds[] = {
		[CONDITION_SELECTION] = EXPLAINED_SELECTION,
		[CONDITION_NOT] = EXPLAINED_NOT,
		[CONDITION_AND] = EXPLAINED_AND,
		[CONDITION_OR] = EXPLAINED_OR,
		[CONDITION_AT_LEAST] = EXPLAINED_AT_LEAST,
	};

	*ret = (struct explained){.kind = kinds[c->kind],
	                          .holds = evaluate_condition(&t->evaluator, c),
	                          .need = c->need,
	                          .name = c->name};
	if (c->kind == CONDITION_SELECTION) {
		explain_detection(t, c->detection, new_parts(t, ret, 1));
		return;
	}
	new_parts(t, ret, c->count);
	for (size_t i = 0; i < c->count; i++)
		explain_condition(t, c->parts[i], &ret->parts[i]);
}

void explain_rule(const struct ruleset *set, const struct rule *rule, const struct event *e,
                  const struct logsource_set *sources, struct arena *arena, struct explanation *ret)
{
	struct tracer t = {.arena = arena};

	evaluator_init(&t.evaluator);
	evaluator_begin(&t.evaluator, e);
	explain_condition(&t, rule->condition, &ret->condition);
	evaluator_release(&t.evaluator);
	ret->source_fits = rule_is_tried(set, rule, sources);
	ret->matches = ret->source_fits && ret->condition.holds;
}
