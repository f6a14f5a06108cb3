/* It reads like the specification. The only thing it does for speed is to fold a field's value at most once per event,
 * and to keep all memory from one event to the next.
 *
 * A field that repeats fits if any of its values does. null fits a field that is null or not there, and nothing else
 * fits null; '' fits text of no length. neq is the plain opposite of its item without it, so it also holds when the
 * field is not there. Keywords look at every value that is not derived, and at the raw frame. */
#include "sigma/evaluate.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/fold.h"

#define NOT_FOLDED 0 /* yet */
/* Values and frame of one event together. Past it nothing of that event is folded, so that what holds does not depend
 * on which rules are looked at first. The longest line isoctl reads has 16 MiB, and its values a second name or two. */
#define FOLDED_MAX ((size_t)128 << 20)

/* ---- life ---- */

void evaluator_init(struct evaluator *v)
{
	*v = (struct evaluator){.regex = regex_scratch_new()};
	buf_init(&v->text, FOLDED_MAX);
}

void evaluator_release(struct evaluator *v)
{
	regex_scratch_free(v->regex);
	buf_release(&v->text);
	free(v->folded);
	*v = (struct evaluator){0};
}

/* ---- folded values ---- */

struct str evaluate_text(struct evaluator *v, size_t i, bool cased)
{
	const struct event *e = v->event;
	struct str value = i < e->count ? e->fields[i].value : e->raw;

	if (cased || value.n == 0 || v->crowded)
		return value;
	if (v->folded[i] == NOT_FOLDED) {
		buf_reserve(&v->text, value.n); /* within FOLDED_MAX: see evaluator_begin */
		fold_text(value, v->text.p + v->text.n);
		v->folded[i] = v->text.n + 1;
		v->text.n += value.n;
	}
	return str_make(v->text.p + v->folded[i] - 1, value.n);
}

void evaluator_begin(struct evaluator *v, const struct event *e)
{
	size_t bytes = e->raw.n;

	for (size_t i = 0; i < e->count; i++)
		bytes += e->fields[i].value.n;
	v->event = e;
	v->crowded = bytes > FOLDED_MAX;
	v->limited += v->crowded;
	buf_reset(&v->text);
	xgrow(&v->folded, &v->folded_cap, e->count + 1, sizeof(*v->folded));
	memset(v->folded, 0, (e->count + 1) * sizeof(*v->folded));
}

/* ---- tests ---- */

static bool regex_fits(struct evaluator *v, const struct regex *regex, struct str value)
{
	int r = regex_search(regex, v->regex, value);

	v->limited += r == -E2BIG;
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
static bool field_fits(struct evaluator *v, const struct item *item, const struct test *t, size_t i)
{
	const struct event *e = v->event;
	const struct field *f = event_find_hashed(e, t->other.name, t->other.hash);

	for (; f; f = event_next(e, f)) {
		size_t other = (size_t)(f - e->fields);
		if (f->type == VALUE_NULL)
			continue;
		evaluate_text(v, i, item->cased); /* may move what the next one gave */
		struct str b = evaluate_text(v, other, item->cased);
		struct str a = evaluate_text(v, i, item->cased);
		if (affix_fits(a, b, t->other.affix))
			return true;
	}
	return false;
}

bool evaluate_value(struct evaluator *v, const struct item *item, const struct test *t, size_t i)
{
	const struct event *e = v->event;
	struct str value = i < e->count ? e->fields[i].value : e->raw;

	if (i < e->count && e->fields[i].type == VALUE_NULL)
		return false;
	switch (t->kind) {
	case TEST_TEXT:
		return pattern_match(&t->pattern, evaluate_text(v, i, item->cased)) ||
		       same_number(t, value);
	case TEST_REGEX: return regex_fits(v, t->regex, value);
	case TEST_CIDR: return network_contains(&t->network, value);
	case TEST_COMPARE: return compare_fits(t, value);
	case TEST_FIELD: return field_fits(v, item, t, i);
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

static bool field_test(struct evaluator *v, const struct item *item, const struct test *t,
                       const struct field *first)
{
	const struct event *e = v->event;

	if (t->kind == TEST_EXISTS)
		return (first != NULL) == t->wanted;
	if (t->kind == TEST_NULL)
		return is_null(e, first);
	for (const struct field *f = first; f; f = event_next(e, f))
		if (evaluate_value(v, item, t, (size_t)(f - e->fields)))
			return true;
	return false;
}

static bool keyword_test(struct evaluator *v, const struct item *item, const struct test *t)
{
	const struct event *e = v->event;

	for (size_t i = 0; i < e->count; i++)
		if (!e->fields[i].derived && evaluate_value(v, item, t, i))
			return true;
	return evaluate_value(v, item, t, e->count);
}

bool evaluate_test(struct evaluator *v, const struct item *item, const struct test *t,
                   const struct field *first)
{
	return item->field.p ? field_test(v, item, t, first) : keyword_test(v, item, t);
}

const struct field *evaluate_first(const struct evaluator *v, const struct item *item)
{
	return item->field.p ? event_find_hashed(v->event, item->field, item->hash) : NULL;
}

/* Any test for any value of a field: the same as test by test, but each value is folded and looked at once. */
static bool any_holds(struct evaluator *v, const struct item *item, const struct field *first)
{
	const struct event *e = v->event;

	for (const struct field *f = first; f; f = event_next(e, f)) {
		size_t at = (size_t)(f - e->fields);
		struct str text = evaluate_text(v, at, item->cased);
		if (f->type == VALUE_NULL)
			continue;
		for (size_t i = 0; i < item->count; i++) {
			const struct test *t = &item->tests[i];
			if (pattern_match(&t->pattern, text) || same_number(t, f->value))
				return true;
		}
	}
	return false;
}

bool evaluate_item(struct evaluator *v, const struct item *item)
{
	const struct field *first = evaluate_first(v, item);
	bool holds = item->all;

	if (item->texts && item->field.p && !item->all)
		return any_holds(v, item, first) != item->negate;
	for (size_t i = 0; i < item->count; i++) {
		holds = evaluate_test(v, item, &item->tests[i], first);
		if (holds != item->all)
			break;
	}
	return holds != item->negate;
}

/* ---- the tree ---- */

bool evaluate_detection(struct evaluator *v, const struct detection *d)
{
	if (d->kind == DETECT_ITEM)
		return evaluate_item(v, d->item);
	for (size_t i = 0; i < d->count; i++)
		if (evaluate_detection(v, d->parts[i]) != (d->kind == DETECT_ALL))
			return d->kind == DETECT_ANY;
	return d->kind == DETECT_ALL;
}

bool evaluate_condition(struct evaluator *v, const struct condition *c)
{
	size_t held = 0;

	switch (c->kind) {
	case CONDITION_SELECTION: return evaluate_detection(v, c->detection);
	case CONDITION_NOT: return !evaluate_condition(v, c->parts[0]);
	case CONDITION_AND:
		for (size_t i = 0; i < c->count; i++)
			if (!evaluate_condition(v, c->parts[i]))
				return false;
		return true;
	case CONDITION_OR:
		for (size_t i = 0; i < c->count; i++)
			if (evaluate_condition(v, c->parts[i]))
				return true;
		return false;
	case CONDITION_AT_LEAST:
		for (size_t i = 0; i < c->count && held < c->need; i++)
			held += evaluate_condition(v, c->parts[i]);
		return held >= c->need;
	}
	return false;
}
