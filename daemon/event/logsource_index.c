/* The last step of loading: the hash index over the names, and for each job (a source or a derived field) the fields
 * and values that its condition cannot do without, its triggers. A job is looked at only for events that have one.
 *
 * Of a condition of several parts the part that selects best is taken: the one whose values the fewest conditions
 * mention (of "Channel: Sysmon" and "EventID: 255" that is the second). Alternatives need the triggers of each. */
#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "event/logsource_table.h"

/* How badly a test selects, beside the number of conditions that mention a value. */
#define AFFIX_COST    100    /* each beginning or end of a value */
#define CONTAINS_COST 200    /* each text within one */
#define PRESENCE_COST 100000 /* "the field is there" selects worse than any value */
#define ALWAYS_COST   UINT32_MAX

static void index_names(struct logsources *l)
{
	l->index_size = 16;
	while (l->index_size < l->name_count * 2)
		l->index_size *= 2;
	l->index = xcalloc(l->index_size, sizeof(*l->index));
	for (size_t i = 0; i < l->name_count; i++) {
		size_t at = l->names[i].hash & (l->index_size - 1);
		while (l->index[at])
			at = (at + 1) & (l->index_size - 1);
		l->index[at] = (l->names[i].hash & LOGSOURCE_INDEX_TAG) | (uint32_t)(i + 1);
	}
}

/* Calls `visit` for every comparison with whole values in the condition. */
static void each_equals(struct logsources *l, const struct when *w,
                        void (*visit)(struct field_name *, const struct when *))
{
	for (size_t i = 0; i < w->count; i++)
		each_equals(l, w->parts[i], visit);
	if (w->kind == WHEN_FIELD && w->test == FIELD_EQUALS)
		visit(&l->names[w->slot], w);
}

static void count_values(struct field_name *n, const struct when *w)
{
	n->value_count += w->value_count;
}

static void mention_values(struct field_name *n, const struct when *w)
{
	if (!n->values) {
		n->value_size = 4;
		while (n->value_size < n->value_count * 2)
			n->value_size *= 2;
		n->values = xcalloc(n->value_size, sizeof(*n->values));
	}
	for (size_t i = 0; i < w->value_count; i++) {
		uint32_t hash = logsource_value_hash(w->values[i]);
		struct value_jobs *v = logsource_value(n, w->values[i], hash);
		v->text = w->values[i];
		v->hash = hash;
		v->mentions++;
		if (v->text.n > n->longest)
			n->longest = v->text.n;
	}
}

static uint32_t cost_add(uint32_t a, uint32_t b)
{
	return a > ALWAYS_COST - b ? ALWAYS_COST : a + b;
}

static uint32_t cost_of(const struct logsources *l, const struct when *w);

/* The shortest text of a test that can be a trigger; of less than that, the field's presence is. */
static size_t trigger_min(enum field_test test)
{
	return test == FIELD_CONTAINS ? NEEDLE_MIN : 1;
}

/* By what a test triggers: its own kind, or FIELD_EXISTS, the field's presence. */
static enum field_test trigger_of(const struct when *w)
{
	for (size_t i = 0; w->test != FIELD_EQUALS && i < w->value_count; i++)
		if (w->values[i].n < trigger_min(w->test))
			return FIELD_EXISTS;
	return w->test;
}

static uint32_t cost_of_field(const struct field_name *n, const struct when *w)
{
	uint32_t cost = 0;

	if (w->test == FIELD_EXISTS && !w->present)
		return ALWAYS_COST;
	switch (trigger_of(w)) {
	case FIELD_EXISTS: return PRESENCE_COST;
	case FIELD_STARTS:
	case FIELD_ENDS: return (uint32_t)w->value_count * AFFIX_COST;
	case FIELD_CONTAINS: return (uint32_t)w->value_count * CONTAINS_COST;
	case FIELD_EQUALS: break;
	}
	for (size_t i = 0; i < w->value_count; i++)
		cost = cost_add(cost,
		                logsource_value(n, w->values[i], logsource_value_hash(w->values[i]))
		                        ->mentions);
	return cost;
}

/* The part of an ALL that selects best. */
static const struct when *best_part(const struct logsources *l, const struct when *w)
{
	const struct when *best = w->parts[0];
	uint32_t least = cost_of(l, best);

	for (size_t i = 1; i < w->count; i++) {
		uint32_t cost = cost_of(l, w->parts[i]);
		if (cost >= least)
			continue;
		least = cost;
		best = w->parts[i];
	}
	return best;
}

static uint32_t cost_of(const struct logsources *l, const struct when *w)
{
	uint32_t cost = 0;

	switch (w->kind) {
	case WHEN_ALL: return cost_of(l, best_part(l, w));
	case WHEN_ANY:
		for (size_t i = 0; i < w->count; i++)
			cost = cost_add(cost, cost_of(l, w->parts[i]));
		return cost;
	case WHEN_NOT:
	case WHEN_SOURCE: return ALWAYS_COST;
	case WHEN_FIELD: return cost_of_field(&l->names[w->slot], w);
	}
	return ALWAYS_COST;
}

static void add_number(uint16_t **list, size_t *count, size_t *cap, uint16_t number)
{
	if (*count && (*list)[*count - 1] == number)
		return;
	xgrow(list, cap, *count + 1, sizeof(**list));
	(*list)[(*count)++] = number;
}

/* The place of the text among the beginnings or ends. */
static struct value_jobs *affix(struct affix_jobs *a, struct str text, bool at_end)
{
	unsigned char byte = (unsigned char)tolower((unsigned char)text.p[at_end ? text.n - 1 : 0]);
	size_t i = 0;

	while (i < a->count && !str_ieq(a->items[i].text, text))
		i++;
	if (i == a->count) {
		xgrow(&a->items, &a->cap, a->count + 1, sizeof(*a->items));
		a->items[a->count++] = (struct value_jobs){.text = text};
		a->bytes[byte / 64] |= (uint64_t)1 << byte % 64;
	}
	return &a->items[i];
}

static struct value_jobs *needle(struct field_name *n, struct str text)
{
	size_t i = 0;

	while (i < n->needles.count && !str_ieq(n->needles.texts[i], text))
		i++;
	if (i == n->needles.count) {
		xgrow(&n->contains, &n->contains_cap, i + 1, sizeof(*n->contains));
		n->contains[i] = (struct value_jobs){.text = text};
		needles_add(&n->needles, text);
	}
	return &n->contains[i];
}

/* Where a text that a test asks for stands; added if it is new. */
static struct value_jobs *place_of(struct field_name *n, enum field_test test, struct str text)
{
	n->within |= test != FIELD_EQUALS;
	switch (test) {
	case FIELD_STARTS: return affix(&n->starts, text, false);
	case FIELD_ENDS: return affix(&n->ends, text, true);
	case FIELD_CONTAINS: return needle(n, text);
	case FIELD_EQUALS:
	case FIELD_EXISTS: break;
	}
	return logsource_value(n, text, logsource_value_hash(text));
}

/* The texts of tests that are no trigger of their condition: the memo tells events apart by them too. */
static void note_tests(struct logsources *l, const struct when *w)
{
	for (size_t i = 0; i < w->count; i++)
		note_tests(l, w->parts[i]);
	if (w->kind == WHEN_SOURCE) {
		xgrow(&l->source_tests, &l->source_test_cap, l->source_test_count + 1,
		      sizeof(*l->source_tests));
		l->source_tests[l->source_test_count++] = w;
	}
	if (w->kind != WHEN_FIELD || w->test == FIELD_EXISTS)
		return;
	struct field_name *n = &l->names[w->slot];
	n->opaque |= trigger_of(w) == FIELD_EXISTS;
	for (size_t i = 0; trigger_of(w) != FIELD_EXISTS && i < w->value_count; i++)
		place_of(n, w->test, w->values[i]);
}

/* Hangs job `number` on the triggers of `w`, whose cost is less than ALWAYS_COST. */
static void hang(struct logsources *l, const struct when *w, uint16_t number)
{
	if (w->kind == WHEN_ALL) {
		hang(l, best_part(l, w), number);
		return;
	}
	for (size_t i = 0; i < w->count; i++)
		hang(l, w->parts[i], number);
	if (w->kind != WHEN_FIELD)
		return;
	struct field_name *n = &l->names[w->slot];
	enum field_test trigger = trigger_of(w);
	if (trigger == FIELD_EXISTS)
		add_number(&n->present, &n->present_count, &n->present_cap, number);
	for (size_t i = 0; trigger != FIELD_EXISTS && i < w->value_count; i++) {
		struct value_jobs *v = place_of(n, trigger, w->values[i]);
		add_number(&v->jobs, &v->count, &v->cap, number);
	}
}

static void set_always(struct logsources *l, size_t job)
{
	l->always[job / 64] |= (uint64_t)1 << (job % 64);
}

static void hang_when(struct logsources *l, const struct when *w, size_t job)
{
	if (cost_of(l, w) == ALWAYS_COST)
		set_always(l, job);
	else
		hang(l, w, (uint16_t)job);
}

/* A derived field without a condition needs a field that one of its templates begins with. */
static void hang_templates(struct logsources *l, const struct derive *d, size_t job)
{
	for (size_t i = 0; i < d->from_count; i++) {
		const struct candidate *c = &d->from[i];
		size_t first = 0;
		while (first < c->count && c->parts[first].kind == PART_TEXT)
			first++;
		if (first == c->count) {
			set_always(l, job);
			continue;
		}
		struct field_name *n = &l->names[c->parts[first].slot];
		add_number(&n->present, &n->present_count, &n->present_cap, (uint16_t)job);
	}
}

void logsources_index(struct logsources *l)
{
	index_names(l);
	for (size_t i = 0; i < l->derive_count; i++)
		if (l->derives[i].when)
			each_equals(l, l->derives[i].when, count_values);
	for (size_t i = 0; i < l->source_count; i++)
		each_equals(l, l->sources[i].when, count_values);
	for (size_t i = 0; i < l->derive_count; i++)
		if (l->derives[i].when)
			each_equals(l, l->derives[i].when, mention_values);
	for (size_t i = 0; i < l->source_count; i++)
		each_equals(l, l->sources[i].when, mention_values);
	for (size_t i = 0; i < l->derive_count; i++) {
		if (l->derives[i].when)
			hang_when(l, l->derives[i].when, i);
		else
			hang_templates(l, &l->derives[i], i);
	}
	for (size_t i = 0; i < l->source_count; i++)
		hang_when(l, l->sources[i].when, LOGSOURCE_DERIVES_MAX + i);
	for (size_t i = 0; i < l->derive_count; i++)
		if (l->derives[i].when)
			note_tests(l, l->derives[i].when);
	for (size_t i = 0; i < l->source_count; i++)
		note_tests(l, l->sources[i].when);
	for (size_t i = 0; i < l->name_count; i++)
		needles_build(&l->names[i].needles);
}
