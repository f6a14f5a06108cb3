/* Goals that need all of their parts are taken apart at once, those that need one of them are put off: so most
 * contradictions are met before anything has to be tried. The items of a branch are kept as literals:
 *
 *   positive  one of its tests holds (for `all`: a literal for each test)
 *   negative  none of its tests holds
 *
 * A branch is closed when some positive literal has no test left that could be the one: each is either covered by a
 * test that a negative literal forbids, or fits no value that another positive literal allows. The latter takes a field
 * to have one value, as nearly all have; that such a step was needed is told. `N of` with N > 1 is taken to be
 * satisfiable. */
#include "sigma/prove.h"

#include <stdlib.h>

#include "base/mem.h"
#include "sigma/relation.h"

#define DEPTH_MAX 1000 /* choices inside each other: bounds the stack */

struct literal {
	const struct item *item;
	const struct test *tests; /* of the item: all of them, or one */
	size_t count;
	bool positive;
};

void prover_init(struct prover *p)
{
	*p = (struct prover){.steps = PROVER_STEPS};
	arena_init(&p->arena, 0);
}

void prover_release(struct prover *p)
{
	arena_release(&p->arena);
	free(p->literals);
}

void prover_reset(struct prover *p)
{
	arena_reset(&p->arena);
	p->count = 0;
	p->steps = PROVER_STEPS;
	p->gave_up = false;
}

static const struct goal *new_goal(struct prover *p, struct goal g)
{
	struct goal *copy = arena_alloc(&p->arena, sizeof(*copy));

	*copy = g;
	return copy;
}

const struct goal *goal_condition(struct prover *p, const struct condition *c, bool holds,
                                  const struct goal *next)
{
	return new_goal(p, (struct goal){GOAL_CONDITION, holds, c, NULL, next});
}

const struct goal *goal_detection(struct prover *p, const struct detection *d, bool holds,
                                  const struct goal *next)
{
	return new_goal(p, (struct goal){GOAL_DETECTION, holds, d, NULL, next});
}

static bool step(struct prover *p)
{
	if (p->steps > 0) {
		p->steps--;
		return true;
	}
	p->gave_up = true;
	return false;
}

/* ---- literals ---- */

static bool same_field(const struct literal *a, const struct literal *b)
{
	if (!a->item->field.p || !b->item->field.p)
		return !a->item->field.p && !b->item->field.p;
	return a->item->hash == b->item->hash && str_eq(a->item->field, b->item->field);
}

static void note(struct prover *p, const struct literal *a, const struct literal *b, bool several)
{
	p->covered = !b->positive;
	p->first = a->item;
	p->second = b->item;
	p->several |= several;
}

/* Some negative literal forbids whatever fits the test. */
static const struct literal *forbidden(struct prover *p, const struct literal *of,
                                       const struct test *t)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct literal *l = &p->literals[i];
		if (l->positive || !same_field(l, of))
			continue;
		for (size_t j = 0; j < l->count && step(p); j++)
			if (test_within((struct item_test){of->item, t},
			                (struct item_test){l->item, &l->tests[j]}))
				return l;
	}
	return NULL;
}

/* Some other positive literal allows nothing that fits the test. */
static const struct literal *barred(struct prover *p, const struct literal *of,
                                    const struct test *t)
{
	for (size_t i = 0; i < p->count && of->item->field.p; i++) {
		const struct literal *l = &p->literals[i];
		bool apart = true;
		if (l == of || !l->positive || !same_field(l, of))
			continue;
		for (size_t j = 0; j < l->count && apart; j++)
			apart = step(p) &&
			        tests_disjoint((struct item_test){of->item, t},
			                       (struct item_test){l->item, &l->tests[j]});
		if (apart)
			return l;
	}
	return NULL;
}

/* No test of the positive literal can be the one that holds. */
static bool is_closed(struct prover *p, const struct literal *of)
{
	const struct literal *other = NULL;
	bool several = false;

	for (size_t i = 0; i < of->count; i++) {
		const struct test *t = &of->tests[i];
		const struct literal *why = forbidden(p, of, t);
		if (!why) {
			why = barred(p, of, t);
			/* A field that is not there has no value, however many it could have. */
			several |= why && t->kind != TEST_EXISTS && why->tests->kind != TEST_EXISTS;
		}
		if (!why)
			return false;
		other = why;
	}
	if (other && !p->gave_up)
		note(p, of, other, several);
	return other != NULL && !p->gave_up;
}

/* Adds a literal. False if it closes the branch. */
static bool add_literal(struct prover *p, struct literal l)
{
	xgrow(&p->literals, &p->cap, p->count + 1, sizeof(*p->literals));
	p->literals[p->count++] = l;
	for (size_t i = 0; i < p->count; i++)
		if (p->literals[i].positive && same_field(&p->literals[i], &l) &&
		    is_closed(p, &p->literals[i]))
			return false;
	return true;
}

/* ---- goals ---- */

/* Goals yet to be looked at, and those of them that are choices. */
struct branch {
	const struct goal *now, *choices;
};

static const struct goal *parts_of(struct prover *p, const struct goal *g, const struct goal *next)
{
	const struct condition *c = g->node;
	const struct detection *d = g->node;

	if (g->kind == GOAL_CONDITION)
		for (size_t i = c->count; i-- > 0;)
			next = goal_condition(p, c->parts[i], g->holds, next);
	else
		for (size_t i = d->count; i-- > 0;)
			next = goal_detection(p, d->parts[i], g->holds, next);
	return next;
}

static const struct goal *tests_of(struct prover *p, const struct item *item, bool holds,
                                   const struct goal *next)
{
	for (size_t i = item->count; i-- > 0;)
		next = new_goal(p, (struct goal){GOAL_TEST, holds, item, &item->tests[i], next});
	return next;
}

static void put_off(struct prover *p, struct branch *b, const struct goal *g)
{
	struct goal copy = *g;

	copy.next = b->choices;
	b->choices = new_goal(p, copy);
}

static bool take_item(struct prover *p, struct branch *b, const struct goal *g,
                      const struct item *item)
{
	bool holds = g->holds != item->negate;

	if (!item->all)
		return add_literal(p, (struct literal){item, item->tests, item->count, holds});
	if (holds)
		b->now = tests_of(p, item, true, b->now);
	else
		put_off(p, b, g);
	return true;
}

static bool take_detection(struct prover *p, struct branch *b, const struct goal *g)
{
	const struct detection *d = g->node;

	if (d->kind == DETECT_ITEM)
		return take_item(p, b, g, d->item);
	if ((d->kind == DETECT_ALL) == g->holds)
		b->now = parts_of(p, g, b->now);
	else
		put_off(p, b, g);
	return true;
}

static void take_condition(struct prover *p, struct branch *b, const struct goal *g)
{
	const struct condition *c = g->node;

	switch (c->kind) {
	case CONDITION_SELECTION: b->now = goal_detection(p, c->detection, g->holds, b->now); break;
	case CONDITION_NOT: b->now = goal_condition(p, c->parts[0], !g->holds, b->now); break;
	case CONDITION_AND:
	case CONDITION_OR:
		if ((c->kind == CONDITION_AND) == g->holds)
			b->now = parts_of(p, g, b->now);
		else
			put_off(p, b, g);
		break;
	case CONDITION_AT_LEAST: break;
	}
}

/* Takes the next goal. False if it closes the branch. */
static bool take(struct prover *p, struct branch *b)
{
	const struct goal *g = b->now;

	b->now = g->next;
	switch (g->kind) {
	case GOAL_CONDITION: take_condition(p, b, g); return true;
	case GOAL_DETECTION: return take_detection(p, b, g);
	case GOAL_TEST: return add_literal(p, (struct literal){g->node, g->test, 1, g->holds});
	}
	return true;
}

/* The alternatives of a choice, as a list of which one must be met. */
static const struct goal *alternatives(struct prover *p, const struct goal *g)
{
	const struct detection *d = g->node;

	if (g->kind == GOAL_DETECTION && d->kind == DETECT_ITEM)
		return tests_of(p, d->item, false, NULL);
	return parts_of(p, g, NULL);
}

static bool satisfiable(struct prover *p, struct branch b, unsigned depth)
{
	size_t count = p->count;
	bool found = false;

	while (b.now) {
		if (!step(p) || depth > DEPTH_MAX) {
			p->count = count;
			return true;
		}
		if (!take(p, &b)) {
			p->count = count;
			return false;
		}
	}
	if (b.choices) {
		const struct goal *a = alternatives(p, b.choices);
		for (; a && !found; a = a->next) {
			struct goal one = *a;
			one.next = NULL;
			found = satisfiable(p, (struct branch){&one, b.choices->next}, depth + 1);
		}
	} else {
		found = true;
	}
	p->count = count;
	return found;
}

bool prover_satisfiable(struct prover *p, const struct goal *goals)
{
	p->count = 0;
	p->first = p->second = NULL;
	p->several = false;
	return satisfiable(p, (struct branch){.now = goals}, 0) || p->gave_up;
}
