/* The plain evaluator, the oracle for any faster one: it reads like the specification. What it does for speed changes
 * no answer: rules with the same log sources are let in or left out together, a field's value is folded at most once
 * per event, and all memory is kept from one event to the next.
 *
 * A field that repeats fits if any of its values does. null fits a field that is null or not there, and nothing else
 * fits null; '' fits text of no length. neq is the plain opposite of its item without it, so it also holds when the
 * field is not there. Keywords look at every value that is not derived, and at the raw frame. */
#include "sigma/match.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/condition.h"
#include "sigma/fold.h"

/* Rules whose log sources are the same set. */
struct group {
	const struct rule *first;
	bool fits; /* the event at hand */
};

struct matcher {
	const struct ruleset *rules;
	struct group *groups;
	size_t group_count;
	uint32_t *group_of; /* rule → its group */
	const struct rule **hits;
	struct regex_scratch *regex;
	uint64_t limited;
	/* Of the event at hand: */
	const struct event *event;
	size_t *folded; /* of each field and of the raw frame: its place in `text` + 1, or one of the below */
	size_t folded_cap;
	struct buf text; /* where folded values stand */
};

#define NOT_FOLDED  0        /* yet */
#define NOT_FOLDING SIZE_MAX /* there was no room: compared as it is */
/* Folded bytes of one event; its fields have at most EVENT_ARENA_MAX of their own, the rest are second names. */
#define FOLDED_MAX (4 * EVENT_ARENA_MAX)

/* ---- life ---- */

static void make_groups(struct matcher *m)
{
	const struct ruleset *set = m->rules;
	struct map seen;
	size_t cap = 0;

	map_init(&seen);
	for (size_t i = 0; i < set->count; i++) {
		const struct rule *r = &set->rules[i];
		struct str key = r->unmapped ? STR("unmapped")
		                             : str_make((const char *)r->sources.bits,
		                                        sizeof(r->sources.bits));
		uintptr_t group = (uintptr_t)map_get(&seen, key);
		if (!group) {
			xgrow(&m->groups, &cap, m->group_count + 1, sizeof(*m->groups));
			m->groups[m->group_count++] = (struct group){.first = r};
			group = m->group_count;
			map_put(&seen, key, (void *)group);
		}
		m->group_of[i] = (uint32_t)group - 1;
	}
	map_release(&seen, NULL);
}

struct matcher *matcher_new(const struct ruleset *rules)
{
	struct matcher *m = xcalloc(1, sizeof(*m));

	m->rules = rules;
	m->group_of = xcalloc(rules->count, sizeof(*m->group_of));
	m->hits = xcalloc(rules->count, sizeof(*m->hits));
	m->regex = regex_scratch_new();
	buf_init(&m->text, FOLDED_MAX);
	make_groups(m);
	return m;
}

void matcher_free(struct matcher *m)
{
	if (!m)
		return;
	regex_scratch_free(m->regex);
	buf_release(&m->text);
	free(m->folded);
	free(m->hits);
	free(m->group_of);
	free(m->groups);
	free(m);
}

uint64_t matcher_limited(const struct matcher *m)
{
	return m->limited;
}

/* ---- folded values ---- */

/* Field `i`'s value, or for i == event->count the raw frame, as it is compared. Valid until the next call. */
static struct str comparable(struct matcher *m, size_t i, bool cased)
{
	const struct event *e = m->event;
	struct str value = i < e->count ? e->fields[i].value : e->raw;

	if (cased || value.n == 0)
		return value;
	if (m->folded[i] == NOT_FOLDED) {
		m->folded[i] = NOT_FOLDING;
		if (buf_reserve(&m->text, value.n) == 0) {
			fold_text(value, m->text.p + m->text.n);
			m->folded[i] = m->text.n + 1;
			m->text.n += value.n;
		} else {
			m->limited++;
		}
	}
	if (m->folded[i] == NOT_FOLDING)
		return value;
	return str_make(m->text.p + m->folded[i] - 1, value.n);
}

static void begin_event(struct matcher *m, const struct event *e)
{
	m->event = e;
	buf_reset(&m->text);
	xgrow(&m->folded, &m->folded_cap, e->count + 1, sizeof(*m->folded));
	memset(m->folded, 0, (e->count + 1) * sizeof(*m->folded));
}

/* ---- tests ---- */

static bool regex_fits(struct matcher *m, const struct regex *regex, struct str value)
{
	int r = regex_search(regex, m->regex, value);

	m->limited += r == -E2BIG;
	return r > 0;
}

static bool compare_fits(const struct test *t, struct str value)
{
	struct number n = {0};

	if (t->compare.part ? time_part_of(value, t->compare.part, &n.i) < 0
	                    : number_parse(value, &n) < 0)
		return false;
	int order = number_compare(&n, &t->number);
	switch (t->compare.op) {
	case COMPARE_EQ: return order == 0;
	case COMPARE_LT: return order < 0;
	case COMPARE_LTE: return order <= 0;
	case COMPARE_GT: return order > 0;
	case COMPARE_GTE: return order >= 0;
	}
	return false;
}

static bool same_number(const struct test *t, struct str value)
{
	struct number n;

	return t->numeric && number_parse(value, &n) == 0 && number_compare(&n, &t->number) == 0;
}

static bool affix_fits(struct str value, struct str other, enum affix affix)
{
	switch (affix) {
	case AFFIX_NONE: return str_eq(value, other);
	case AFFIX_START: return str_starts(value, other);
	case AFFIX_END: return str_ends(value, other);
	case AFFIX_ANYWHERE: return str_search(value, other) >= 0;
	}
	return false;
}

/* Any value of the other field will do. */
static bool field_fits(struct matcher *m, const struct item *item, const struct test *t, size_t i)
{
	const struct event *e = m->event;
	const struct field *f = event_find_hashed(e, t->other.name, t->other.hash);

	for (; f; f = event_next(e, f)) {
		size_t other = (size_t)(f - e->fields);
		if (f->type == VALUE_NULL)
			continue;
		comparable(m, i, item->cased); /* may move what the next one gave */
		struct str b = comparable(m, other, item->cased);
		struct str a = comparable(m, i, item->cased);
		if (affix_fits(a, b, t->other.affix))
			return true;
	}
	return false;
}

/* Does value `i` (event->count: the raw frame) fit? Not for TEST_NULL and TEST_EXISTS. */
static bool value_fits(struct matcher *m, const struct item *item, const struct test *t, size_t i)
{
	const struct event *e = m->event;
	struct str value = i < e->count ? e->fields[i].value : e->raw;

	if (i < e->count && e->fields[i].type == VALUE_NULL)
		return false;
	switch (t->kind) {
	case TEST_TEXT:
		return pattern_match(&t->pattern, comparable(m, i, item->cased)) ||
		       same_number(t, value);
	case TEST_REGEX: return regex_fits(m, t->regex, value);
	case TEST_CIDR: return network_contains(&t->network, value);
	case TEST_COMPARE: return compare_fits(t, value);
	case TEST_FIELD: return field_fits(m, item, t, i);
	case TEST_NULL:
	case TEST_EXISTS: break;
	}
	return false;
}

/* ---- items ---- */

static bool is_null(const struct event *e, const struct field *f)
{
	if (!f)
		return true;
	for (; f; f = event_next(e, f))
		if (f->type == VALUE_NULL)
			return true;
	return false;
}

static bool field_test_holds(struct matcher *m, const struct item *item, const struct test *t,
                             const struct field *first)
{
	const struct event *e = m->event;

	if (t->kind == TEST_EXISTS)
		return (first != NULL) == t->wanted;
	if (t->kind == TEST_NULL)
		return is_null(e, first);
	for (const struct field *f = first; f; f = event_next(e, f))
		if (value_fits(m, item, t, (size_t)(f - e->fields)))
			return true;
	return false;
}

static bool keyword_test_holds(struct matcher *m, const struct item *item, const struct test *t)
{
	const struct event *e = m->event;

	for (size_t i = 0; i < e->count; i++)
		if (!e->fields[i].derived && value_fits(m, item, t, i))
			return true;
	return value_fits(m, item, t, e->count);
}

static bool item_holds(struct matcher *m, const struct item *item)
{
	const struct field *first =
		item->field.p ? event_find_hashed(m->event, item->field, item->hash) : NULL;
	bool holds = item->all;

	for (size_t i = 0; i < item->count; i++) {
		const struct test *t = &item->tests[i];
		holds = item->field.p ? field_test_holds(m, item, t, first)
		                      : keyword_test_holds(m, item, t);
		if (holds != item->all)
			break;
	}
	return holds != item->negate;
}

/* ---- the tree ---- */

static bool detection_holds(struct matcher *m, const struct detection *d)
{
	if (d->kind == DETECT_ITEM)
		return item_holds(m, d->item);
	for (size_t i = 0; i < d->count; i++)
		if (detection_holds(m, d->parts[i]) != (d->kind == DETECT_ALL))
			return d->kind == DETECT_ANY;
	return d->kind == DETECT_ALL;
}

static bool condition_holds(struct matcher *m, const struct condition *c)
{
	size_t held = 0;

	switch (c->kind) {
	case CONDITION_SELECTION: return detection_holds(m, c->detection);
	case CONDITION_NOT: return !condition_holds(m, c->parts[0]);
	case CONDITION_AND:
		for (size_t i = 0; i < c->count; i++)
			if (!condition_holds(m, c->parts[i]))
				return false;
		return true;
	case CONDITION_OR:
		for (size_t i = 0; i < c->count; i++)
			if (condition_holds(m, c->parts[i]))
				return true;
		return false;
	case CONDITION_AT_LEAST:
		for (size_t i = 0; i < c->count && held < c->need; i++)
			held += condition_holds(m, c->parts[i]);
		return held >= c->need;
	}
	return false;
}

static void choose_groups(struct matcher *m, const struct logsource_set *sources)
{
	for (size_t i = 0; i < m->group_count; i++) {
		struct group *g = &m->groups[i];
		if (!m->rules->routed || !sources)
			g->fits = true;
		else if (g->first->unmapped)
			g->fits = !sources->any;
		else
			g->fits = logsource_intersects(&g->first->sources, sources);
	}
}

size_t matcher_run(struct matcher *m, const struct event *e, const struct logsource_set *sources,
                   const struct rule *const **ret_hits)
{
	size_t hits = 0;

	begin_event(m, e);
	choose_groups(m, sources);
	for (size_t i = 0; i < m->rules->count; i++) {
		const struct rule *r = &m->rules->rules[i];
		if (m->groups[m->group_of[i]].fits && condition_holds(m, r->condition))
			m->hits[hits++] = r;
	}
	*ret_hits = m->hits;
	return hits;
}
