/* The guard of a condition, from the bottom: a test has one atom (or none, such as null, which fits what is not there);
 * any of several needs the atoms of each; of all of several the one that is least likely to fit is enough; what is
 * negated has none. How likely an atom is to fit is a guess from its kind, its length and how many rules mention it:
 * `\cmd.exe` stands in hundreds of rules because it stands in millions of events. A wrong guess costs time, never an
 * answer. */
#include "sigma/guard.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "event/event.h"
#include "sigma/fold.h"

#define NEVER_RULED_OUT 1e9 /* the cost of having no guard */

/* ---- life ---- */

void guards_init(struct guards *g)
{
	*g = (struct guards){0};
	arena_init(&g->arena, 0);
	map_init(&g->index);
	map_init(&g->slot_index);
	buf_init(&g->key, 0);
	xgrow(&g->slots, &g->slot_cap, 1, sizeof(*g->slots));
	g->slots[g->slot_count++] = (struct slot_name){0}; /* SLOT_KEYWORDS */
}

void guards_release(struct guards *g)
{
	for (size_t i = 0; i < g->count; i++)
		free(g->atoms[i].rules);
	free(g->atoms);
	free(g->slots);
	map_release(&g->index, NULL);
	map_release(&g->slot_index, NULL);
	buf_release(&g->key);
	arena_release(&g->arena);
}

/* ---- atoms ---- */

static uint32_t slot_of(struct guards *g, const struct item *item)
{
	if (!item->field.p)
		return SLOT_KEYWORDS;
	uintptr_t slot = (uintptr_t)map_get(&g->slot_index, item->field);
	if (!slot) {
		slot = g->slot_count;
		xgrow(&g->slots, &g->slot_cap, g->slot_count + 1, sizeof(*g->slots));
		g->slots[g->slot_count++] = (struct slot_name){item->field, item->hash};
		map_put(&g->slot_index, item->field, (void *)slot);
	}
	return (uint32_t)slot;
}

/* What makes two atoms the same. */
static struct str key_of(struct guards *g, const struct atom *a)
{
	struct buf *key = &g->key;

	buf_reset(key);
	buf_putc(key, (char)a->kind);
	buf_append(key, &a->slot, sizeof(a->slot));
	buf_add(key, a->text);
	if (a->kind == ATOM_NUMBER || a->kind == ATOM_AT_LEAST || a->kind == ATOM_AT_MOST)
		buf_append(key, &a->number, sizeof(a->number));
	if (a->network)
		buf_append(key, a->network, sizeof(*a->network));
	if (a->regex) {
		buf_putc(key, (char)regex_flags_of(a->regex));
		buf_add(key, regex_text(a->regex));
	}
	return buf_str(key);
}

/* The one atom that is like `a`; it is added if need be. */
static struct atom *intern(struct guards *g, const struct atom *a)
{
	struct str key = key_of(g, a);
	uintptr_t number = (uintptr_t)map_get(&g->index, key);

	if (!number) {
		xgrow(&g->atoms, &g->cap, g->count + 1, sizeof(*g->atoms));
		g->atoms[g->count] = *a;
		g->atoms[g->count].text = a->text.p ? arena_str(&g->arena, a->text) : STR_NONE;
		number = ++g->count;
		map_put(&g->index, key, (void *)number);
	}
	return &g->atoms[number - 1];
}

/* ---- from tests to atoms ---- */

/* A text that every fitting value has, and where. */
struct literal {
	enum atom_kind kind; /* PREFIX, SUFFIX, CONTAINS; VALUE: it is the whole value */
	struct str text;
	double chance;
};

/* Roughly how many values contain a text of so many bytes that somebody found worth a rule. */
static double text_chance(size_t n)
{
	static const double chances[] = {1, 0.9, 0.6, 0.35, 0.15, 0.08, 0.04, 0.02, 0.01};

	return n < ARRAY_LEN(chances) ? chances[n] : 0.005;
}

static void better_literal(struct literal *best, enum atom_kind kind, struct str text)
{
	/* An anchored text is looked for faster, and fits less often. */
	double chance = text_chance(text.n) * (kind == ATOM_CONTAINS ? 1 : 0.7);

	if (text.n && chance < best->chance)
		*best = (struct literal){kind, text, chance};
}

static bool is_closed(const struct pattern *p)
{
	return !p->open_start && !p->open_end;
}

static bool is_plain(const struct pattern *p)
{
	return is_closed(p) && (p->count == 0 || (p->count == 1 && p->segments[0].count == 1 &&
	                                          p->segments[0].tokens[0].kind == TOKEN_TEXT));
}

static bool best_literal(const struct pattern *p, struct literal *ret)
{
	struct literal best = {.chance = 2};

	if (is_plain(p)) {
		struct str text = p->count ? p->segments[0].tokens[0].text : STR("");
		*ret = (struct literal){ATOM_VALUE, text, 0};
		return true;
	}
	for (size_t i = 0; i < p->count; i++) {
		const struct segment *s = &p->segments[i];
		for (size_t j = 0; j < s->count; j++) {
			bool first = i == 0 && j == 0 && !p->open_start;
			bool last = i + 1 == p->count && j + 1 == s->count && !p->open_end;
			if (s->tokens[j].kind == TOKEN_TEXT)
				better_literal(&best,
				               first  ? ATOM_PREFIX
				               : last ? ATOM_SUFFIX
				                      : ATOM_CONTAINS,
				               s->tokens[j].text);
		}
	}
	*ret = best;
	return best.chance <= 1;
}

/* Folding looks at pairs of bytes, and a text that is no UTF-8 may begin or end inside one: the value's bytes beside it
 * then decide how its own are folded. Without such a byte at either end the text folds the same everywhere. */
static bool trim_edges(struct str *text)
{
	struct str t = *text;

	if (t.n && ((unsigned char)t.p[0] & 0xc0) == 0x80)
		t = str_skip(t, 1);
	if (t.n && (unsigned char)t.p[t.n - 1] >= 0xc2 && (unsigned char)t.p[t.n - 1] <= 0xdf)
		t.n--;
	bool trimmed = t.n < text->n;
	*text = t;
	return trimmed;
}

/* False if there is nothing to look for in it. */
static bool text_atom(struct guards *g, const struct item *item, const struct test *t,
                      struct atom *a)
{
	bool keyword = !item->field.p;
	struct literal l;

	if (!best_literal(&t->pattern, &l) || (keyword && l.kind == ATOM_VALUE))
		return false;
	a->kind = l.kind;
	a->text = l.text;
	if (l.kind != ATOM_VALUE && (item->cased || keyword) && trim_edges(&a->text))
		a->kind = ATOM_CONTAINS;
	if (keyword) /* it may be looked for in the frame that the value is a part of */
		a->kind = ATOM_CONTAINS;
	if (item->cased) {
		char *folded = arena_alloc(&g->arena, a->text.n + 1);
		fold_text(a->text, folded);
		a->text.p = folded;
	}
	if (a->kind == ATOM_SUFFIX && a->text.n > ATOM_TEXT_MAX)
		a->text = str_skip(a->text, a->text.n - ATOM_TEXT_MAX);
	else if (a->kind != ATOM_VALUE)
		a->text = str_head(a->text, ATOM_TEXT_MAX);
	return a->text.n > 0 || a->kind == ATOM_VALUE;
}

static double as_double(const struct number *n)
{
	double d = n->real ? n->d : (double)n->i;

	return d == 0 ? 0 : d; /* not -0 */
}

static enum atom_kind bound_kind(enum compare_op op)
{
	switch (op) {
	case COMPARE_EQ: break;
	case COMPARE_LT:
	case COMPARE_LTE: return ATOM_AT_MOST;
	case COMPARE_GT:
	case COMPARE_GTE: return ATOM_AT_LEAST;
	}
	return ATOM_NUMBER;
}

/* The atom that fits whenever the test does, or NULL. */
static struct atom *test_atom(struct guards *g, const struct item *item, const struct test *t)
{
	struct atom a = {.kind = ATOM_PRESENT, .slot = slot_of(g, item)};

	switch (t->kind) {
	case TEST_TEXT:
		if (t->numeric) { /* the same text is the same number */
			a.kind = ATOM_NUMBER;
			a.number = as_double(&t->number);
		} else if (!text_atom(g, item, t, &a)) {
			a.kind = ATOM_PRESENT;
			a.text = STR_NONE;
		}
		break;
	case TEST_REGEX:
		a.kind = ATOM_REGEX;
		a.regex = t->regex;
		break;
	case TEST_CIDR:
		a.kind = ATOM_NETWORK;
		a.network = &t->network;
		break;
	case TEST_COMPARE:
		if (t->compare.part)
			break;
		a.kind = bound_kind(t->compare.op);
		a.number = as_double(&t->number);
		break;
	case TEST_FIELD: break;
	case TEST_EXISTS:
		if (!t->wanted)
			return NULL;
		break;
	case TEST_NULL: return NULL;
	}
	/* Some value or the frame is always there. */
	if (a.kind == ATOM_PRESENT && a.slot == SLOT_KEYWORDS)
		return NULL;
	return intern(g, &a);
}

/* ---- which of them ---- */

static double atom_chance(const struct atom *a)
{
	double many = a->mentions ? (double)(a->mentions - 1) : 0;

	switch (a->kind) {
	case ATOM_PRESENT: return 1;
	case ATOM_VALUE:
	case ATOM_NUMBER: return fmin(0.8, 0.02 + 0.01 * many);
	case ATOM_AT_LEAST:
	case ATOM_AT_MOST: return 0.5;
	case ATOM_NETWORK: return 0.2;
	case ATOM_PREFIX:
	case ATOM_SUFFIX: return fmin(0.9, 0.7 * text_chance(a->text.n) * (1 + 0.2 * many));
	case ATOM_CONTAINS: return fmin(0.9, text_chance(a->text.n) * (1 + 0.2 * many));
	case ATOM_REGEX: return 0.3;
	}
	return 1;
}

static double test_cost(struct guards *g, const struct item *item, const struct test *t)
{
	const struct atom *a = test_atom(g, item, t);

	return a ? atom_chance(a) : NEVER_RULED_OUT;
}

/* The test of an `all` item that is least likely to fit. */
static const struct test *rarest_test(struct guards *g, const struct item *item, double *ret_cost)
{
	const struct test *best = NULL;

	for (size_t i = 0; i < item->count; i++) {
		double cost = test_cost(g, item, &item->tests[i]);
		if (best && cost >= *ret_cost)
			continue;
		best = &item->tests[i];
		*ret_cost = cost;
	}
	return best;
}

static double item_cost(struct guards *g, const struct item *item)
{
	double cost = NEVER_RULED_OUT;

	if (item->negate || item->count == 0)
		return NEVER_RULED_OUT;
	if (item->all) {
		rarest_test(g, item, &cost);
		return cost;
	}
	cost = 0;
	for (size_t i = 0; i < item->count; i++)
		cost += test_cost(g, item, &item->tests[i]);
	return cost;
}

static void hang_test(struct guards *g, const struct item *item, const struct test *t,
                      uint32_t rule)
{
	struct atom *a = test_atom(g, item, t);

	if (a->count && a->rules[a->count - 1] == rule)
		return;
	xgrow(&a->rules, &a->cap, a->count + 1, sizeof(*a->rules));
	a->rules[a->count++] = rule;
}

static void hang_item(struct guards *g, const struct item *item, uint32_t rule)
{
	double cost;

	if (item->all) {
		hang_test(g, item, rarest_test(g, item, &cost), rule);
		return;
	}
	for (size_t i = 0; i < item->count; i++)
		hang_test(g, item, &item->tests[i], rule);
}

static double detection_cost(struct guards *g, const struct detection *d);

static const struct detection *rarest_detection(struct guards *g, const struct detection *d,
                                                double *ret_cost)
{
	const struct detection *best = NULL;

	for (size_t i = 0; i < d->count; i++) {
		double cost = detection_cost(g, d->parts[i]);
		if (best && cost >= *ret_cost)
			continue;
		best = d->parts[i];
		*ret_cost = cost;
	}
	return best;
}

static double detection_cost(struct guards *g, const struct detection *d)
{
	double cost = 0;

	switch (d->kind) {
	case DETECT_ITEM: return item_cost(g, d->item);
	case DETECT_ALL: return rarest_detection(g, d, &cost) ? cost : NEVER_RULED_OUT;
	case DETECT_ANY:
		for (size_t i = 0; i < d->count; i++)
			cost += detection_cost(g, d->parts[i]);
		return cost;
	}
	return NEVER_RULED_OUT;
}

static void hang_detection(struct guards *g, const struct detection *d, uint32_t rule)
{
	double cost;

	switch (d->kind) {
	case DETECT_ITEM: hang_item(g, d->item, rule); break;
	case DETECT_ALL: hang_detection(g, rarest_detection(g, d, &cost), rule); break;
	case DETECT_ANY:
		for (size_t i = 0; i < d->count; i++)
			hang_detection(g, d->parts[i], rule);
		break;
	}
}

/* Of `count` parts of which `need` must hold, any count - need + 1 include one that holds: the cheapest are taken. */
struct part_cost {
	const struct condition *part;
	double cost;
};

static int by_cost(const void *a, const void *b)
{
	double x = ((const struct part_cost *)a)->cost, y = ((const struct part_cost *)b)->cost;

	return (x > y) - (x < y);
}

static double condition_cost(struct guards *g, const struct condition *c);

/* The parts of which one must hold, and their cost; the caller frees. */
static struct part_cost *needed_parts(struct guards *g, const struct condition *c,
                                      size_t *ret_count, double *ret_cost)
{
	struct part_cost *parts = xcalloc(c->count, sizeof(*parts));
	size_t need = c->kind == CONDITION_AND ? c->count : c->kind == CONDITION_OR ? 1 : c->need;

	for (size_t i = 0; i < c->count; i++)
		parts[i] = (struct part_cost){c->parts[i], condition_cost(g, c->parts[i])};
	qsort(parts, c->count, sizeof(*parts), by_cost);
	/* Of none at least none: that always holds. */
	*ret_count = need && need <= c->count ? c->count - need + 1 : c->count;
	*ret_cost = need ? 0 : NEVER_RULED_OUT;
	for (size_t i = 0; i < *ret_count; i++)
		*ret_cost += parts[i].cost;
	return parts;
}

static double condition_cost(struct guards *g, const struct condition *c)
{
	size_t count;
	double cost;

	if (c->kind == CONDITION_SELECTION)
		return detection_cost(g, c->detection);
	if (c->kind == CONDITION_NOT)
		return NEVER_RULED_OUT;
	free(needed_parts(g, c, &count, &cost));
	return cost;
}

static void hang_condition(struct guards *g, const struct condition *c, uint32_t rule)
{
	size_t count;
	double cost;

	if (c->kind == CONDITION_SELECTION) {
		hang_detection(g, c->detection, rule);
		return;
	}
	struct part_cost *parts = needed_parts(g, c, &count, &cost);
	for (size_t i = 0; i < count; i++)
		hang_condition(g, parts[i].part, rule);
	free(parts);
}

/* ---- all rules ---- */

static void count_detection(struct guards *g, const struct detection *d)
{
	for (size_t i = 0; i < d->count; i++)
		count_detection(g, d->parts[i]);
	if (d->kind != DETECT_ITEM || d->item->negate)
		return;
	for (size_t i = 0; i < d->item->count; i++) {
		struct atom *a = test_atom(g, d->item, &d->item->tests[i]);
		if (a)
			a->mentions++;
	}
}

/* What stands behind `not` tells as well what is often there. */
void guards_count(struct guards *g, const struct condition *c)
{
	for (size_t i = 0; i < c->count; i++)
		guards_count(g, c->parts[i]);
	if (c->kind == CONDITION_SELECTION)
		count_detection(g, c->detection);
}

bool guards_choose(struct guards *g, const struct condition *c, uint32_t rule)
{
	if (condition_cost(g, c) >= NEVER_RULED_OUT)
		return false;
	hang_condition(g, c, rule);
	return true;
}
