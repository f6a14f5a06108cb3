/* A condition is taken as one tree of four levels (conditions, detections, items, tests), whose nodes ask for all, any
 * or some of their parts. A guard of a node, from the bottom: a test has its atom; of all parts the one that is least
 * likely to fit is enough; any of several needs the guards of each; what is negated has none. The parts that must all
 * hold give a rule's guards: the least likely one, and perhaps the next, if it is found by hashing. */
#include "sigma/guard.h"

#include <stdlib.h>

#include "base/mem.h"

#define NEVER_RULED_OUT 1e9   /* the cost of having no guard */
#define SELDOM_ENOUGH   0.002 /* of a guard: a second one would cost more than it saves */
#define SECOND_ATOMS    32    /* of a second guard at most */
#define SECOND_CHANCE   0.5

enum level { CONDITION, DETECTION, ITEM, TEST };

struct node {
	enum level level;
	union {
		const struct condition *condition;
		const struct detection *detection;
		const struct item *item; /* also of a test */
	};
	const struct test *test;
};

/* ---- the tree ---- */

/* How many parts there are and how many of them must hold; a test has none. False: it can hold when nothing is there. */
static bool node_parts(const struct node *n, size_t *ret_count, size_t *ret_need)
{
	size_t count = 0, need = 0;

	switch (n->level) {
	case CONDITION:
		count = n->condition->kind == CONDITION_SELECTION ? 1 : n->condition->count;
		need = n->condition->kind == CONDITION_AND        ? count
		       : n->condition->kind == CONDITION_AT_LEAST ? n->condition->need
		                                                  : 1;
		if (n->condition->kind == CONDITION_NOT)
			return false;
		break;
	case DETECTION:
		count = n->detection->kind == DETECT_ITEM ? 1 : n->detection->count;
		need = n->detection->kind == DETECT_ALL ? count : 1;
		break;
	case ITEM:
		count = n->item->count;
		need = n->item->all ? count : 1;
		if (n->item->negate)
			return false;
		break;
	case TEST: need = 1; break;
	}
	*ret_count = count;
	*ret_need = need;
	return need > 0;
}

static struct node node_part(const struct node *n, size_t i)
{
	struct node part = {.level = n->level};

	switch (n->level) {
	case CONDITION:
		if (n->condition->kind == CONDITION_SELECTION) {
			part.level = DETECTION;
			part.detection = n->condition->detection;
		} else {
			part.condition = n->condition->parts[i];
		}
		break;
	case DETECTION:
		if (n->detection->kind == DETECT_ITEM) {
			part.level = ITEM;
			part.item = n->detection->item;
		} else {
			part.detection = n->detection->parts[i];
		}
		break;
	case ITEM:
	case TEST:
		part.level = TEST;
		part.item = n->item;
		part.test = &n->item->tests[i];
		break;
	}
	return part;
}

/* ---- costs: how likely something of a node's guard is to be there ---- */

struct costed {
	struct node node;
	double cost;
};

static int by_cost(const void *a, const void *b)
{
	double x = ((const struct costed *)a)->cost, y = ((const struct costed *)b)->cost;

	return (x > y) - (x < y);
}

static double node_cost(struct atoms *g, const struct node *n);

/* The parts whose guards make the node's, and what they cost together: of `count` parts of which `need` must hold, any
 * count - need + 1 include one that does, so the cheapest are taken. The caller frees. */
static struct costed *guard_parts(struct atoms *g, const struct node *n, size_t *ret_count,
                                  double *ret_cost)
{
	struct costed *parts;
	size_t count = 0, need = 0;

	*ret_count = 0;
	*ret_cost = NEVER_RULED_OUT;
	if (!node_parts(n, &count, &need))
		return NULL;
	parts = xcalloc(count, sizeof(*parts));
	for (size_t i = 0; i < count; i++) {
		parts[i].node = node_part(n, i);
		parts[i].cost = node_cost(g, &parts[i].node);
	}
	qsort(parts, count, sizeof(*parts), by_cost);
	*ret_count = need <= count ? count - need + 1 : 0;
	*ret_cost = 0;
	for (size_t i = 0; i < *ret_count; i++)
		*ret_cost += parts[i].cost;
	return parts;
}

static double node_cost(struct atoms *g, const struct node *n)
{
	size_t count;
	double cost;

	if (n->level == TEST) {
		const struct atom *a = atom_of(g, n->item, n->test);
		return a ? atom_chance(a) : NEVER_RULED_OUT;
	}
	free(guard_parts(g, n, &count, &cost));
	return cost;
}

/* ---- guards ---- */

/* Are the atoms of the node's guard few, and found by hashing? Takes them off *left. */
static bool is_light(struct atoms *g, const struct node *n, size_t *left)
{
	size_t count;
	double cost;

	if (n->level == TEST) {
		const struct atom *a = atom_of(g, n->item, n->test);
		if (!a || a->slot == SLOT_KEYWORDS || a->kind == ATOM_CONTAINS ||
		    a->kind == ATOM_REGEX || *left == 0)
			return false;
		--*left;
		return true;
	}
	struct costed *parts = guard_parts(g, n, &count, &cost);
	bool light = true;
	for (size_t i = 0; light && i < count; i++)
		light = is_light(g, &parts[i].node, left);
	free(parts);
	return light;
}

static void hang(struct atoms *g, const struct node *n, uint32_t ref)
{
	size_t count;
	double cost;

	if (n->level == TEST) {
		struct atom *a = atom_of(g, n->item, n->test);
		if (a->count && a->refs[a->count - 1] == ref)
			return;
		xgrow(&a->refs, &a->cap, a->count + 1, sizeof(*a->refs));
		a->refs[a->count++] = ref;
		return;
	}
	struct costed *parts = guard_parts(g, n, &count, &cost);
	for (size_t i = 0; i < count; i++)
		hang(g, &parts[i].node, ref);
	free(parts);
}

/* The nodes that must all hold. */
struct musts {
	struct costed *items;
	size_t count, cap;
};

static void find_musts(struct atoms *g, const struct node *n, struct musts *m)
{
	size_t count = 0, need = 0;

	if (n->level != TEST && !node_parts(n, &count, &need))
		return;
	if (n->level != TEST && need == count) {
		for (size_t i = 0; i < count; i++) {
			struct node part = node_part(n, i);
			find_musts(g, &part, m);
		}
		return;
	}
	double cost = node_cost(g, n);
	if (cost >= NEVER_RULED_OUT)
		return;
	xgrow(&m->items, &m->cap, m->count + 1, sizeof(*m->items));
	m->items[m->count++] = (struct costed){*n, cost};
}

unsigned guard_choose(struct atoms *g, const struct condition *c, uint32_t rule)
{
	const struct node top = {.level = CONDITION, .condition = c};
	struct musts m = {0};
	unsigned guards = 0;

	find_musts(g, &top, &m);
	if (m.count) {
		qsort(m.items, m.count, sizeof(*m.items), by_cost);
		hang(g, &m.items[0].node, guard_ref(rule, guards++));
	}
	for (size_t i = 1; guards == 1 && i < m.count; i++) {
		size_t left = SECOND_ATOMS;
		if (m.items[0].cost < SELDOM_ENOUGH || m.items[i].cost > SECOND_CHANCE)
			break;
		if (is_light(g, &m.items[i].node, &left))
			hang(g, &m.items[i].node, guard_ref(rule, guards++));
	}
	free(m.items);
	return guards;
}

/* ---- what is rare ---- */

static void count_node(struct atoms *g, const struct node *n)
{
	size_t count = 0, need = 0;

	if (n->level == TEST) {
		const struct atom *a = atom_of(g, n->item, n->test);
		if (a)
			atom_mention(g, a);
		return;
	}
	/* What stands behind `not` tells as well what is often there. */
	if (n->level == CONDITION && n->condition->kind == CONDITION_NOT)
		count = n->condition->count;
	else if (!node_parts(n, &count, &need))
		return;
	for (size_t i = 0; i < count; i++) {
		struct node part = node_part(n, i);
		count_node(g, &part);
	}
}

void guard_count(struct atoms *g, const struct condition *c)
{
	const struct node top = {.level = CONDITION, .condition = c};

	count_node(g, &top);
}
