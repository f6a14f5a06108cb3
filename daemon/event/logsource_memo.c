/* What classification gave for events like this one. Log sources of an event follow from which fields it has and from
 * which of the texts that conditions mention its values are, begin or end with, or hold: its facts. Most events of a
 * network are of some dozens of shapes with some facts each, so both are remembered, and an event whose shape and facts
 * are known costs one comparison of its names and one look at each value.
 *
 * Names are compared whole: hashes alone could be made to fit by whoever sends events. What gives fields new names or
 * derives values from values is not remembered. Everything has a fixed size; what does not fit, or falls out, is
 * classified as if there were no memory. */
#include <stdlib.h>

#include "base/mem.h"
#include "event/logsource_table.h"

#define SHAPES      128
#define SHAPE_TRIES 4 /* places where one may stand */
#define NAMES_BYTES 512
#define RESULTS     16 /* of one shape: mostly a few programs that write alike */
#define FACTS_MAX   12

/* A value to look at: field `at`, under the name `slot`. */
struct memo_value {
	uint16_t at, slot;
};

struct memo_facts {
	const void *items[FACTS_MAX];
	size_t count;
	uint64_t hash;
};

struct memo_result {
	struct memo_facts facts;
	struct logsource_set sources;
};

struct memo_shape {
	bool used;
	uint64_t hash;
	size_t count, name_bytes;
	uint16_t lengths[MEMO_FIELDS_MAX];
	bool nulls[MEMO_FIELDS_MAX];
	char names[NAMES_BYTES];
	struct memo_copy copies[MEMO_COPIES_MAX];
	size_t copy_count;
	struct memo_value values[MEMO_FIELDS_MAX + MEMO_COPIES_MAX];
	size_t value_count;
	struct memo_result *results;
	size_t result_count, next_result;
};

struct logsource_memo {
	const struct logsources *l;
	struct memo_shape shapes[SHAPES];
	size_t next_victim;
	/* Of the event at hand, from memo_find to memo_learn: */
	uint64_t hash;
	size_t count;
};

/* ---- life ---- */

struct logsource_memo *logsource_memo_new(const struct logsources *l)
{
	struct logsource_memo *m = xcalloc(1, sizeof(*m));

	m->l = l;
	return m;
}

void logsource_memo_free(struct logsource_memo *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < SHAPES; i++)
		free(m->shapes[i].results);
	free(m);
}

/* ---- shapes ---- */

static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0xff51afd7ed558ccd;
	return h ^ h >> 32;
}

static uint64_t shape_hash(const struct event *e)
{
	uint64_t h = e->count;

	for (size_t i = 0; i < e->count; i++)
		h = mix(h, (uint64_t)e->fields[i].hash << 1 | (e->fields[i].type == VALUE_NULL));
	return h;
}

static bool shape_fits(const struct memo_shape *s, const struct event *e, uint64_t hash)
{
	const char *name = s->names;

	if (!s->used || s->hash != hash || s->count != e->count)
		return false;
	for (size_t i = 0; i < s->count; i++) {
		const struct field *f = &e->fields[i];
		if (f->name.n != s->lengths[i] || (f->type == VALUE_NULL) != s->nulls[i] ||
		    !bytes_equal(f->name.p, name, s->lengths[i]))
			return false;
		name += s->lengths[i];
	}
	return true;
}

static struct memo_shape *shape_find(struct logsource_memo *m, const struct event *e)
{
	for (size_t i = 0; i < SHAPE_TRIES; i++) {
		struct memo_shape *s = &m->shapes[(m->hash + i) % SHAPES];
		if (shape_fits(s, e, m->hash))
			return s;
	}
	return NULL;
}

static void note_value(const struct logsource_memo *m, struct memo_shape *s, const struct event *e,
                       size_t at, uint16_t slot)
{
	const struct field_name *n = &m->l->names[slot];

	if (e->fields[at].type != VALUE_NULL && (n->values || n->within))
		s->values[s->value_count++] = (struct memo_value){(uint16_t)at, slot};
}

/* The first `count` fields of the event, in a place of their own. NULL: they do not fit. */
static struct memo_shape *shape_add(struct logsource_memo *m, const struct event *e,
                                    const struct memo_copy *copies, size_t copy_count)
{
	struct memo_shape *s = NULL;
	size_t bytes = 0;

	for (size_t i = 0; i < m->count; i++)
		bytes += e->fields[i].name.n;
	if (bytes > NAMES_BYTES)
		return NULL;
	for (size_t i = 0; i < SHAPE_TRIES && (!s || s->used); i++)
		s = &m->shapes[(m->hash + i) % SHAPES];
	if (s->used)
		s = &m->shapes[(m->hash + m->next_victim++ % SHAPE_TRIES) % SHAPES];
	struct memo_result *results = s->results;
	*s = (struct memo_shape){.used = true, .hash = m->hash, .count = m->count};
	s->results = results ? results : xcalloc(RESULTS, sizeof(*results));
	for (size_t i = 0; i < m->count; i++) {
		const struct field *f = &e->fields[i];
		uint16_t slot = logsource_slot(m->l, f->name, f->hash);
		memcpy(s->names + s->name_bytes, f->name.p, f->name.n);
		s->name_bytes += f->name.n;
		s->lengths[i] = (uint16_t)f->name.n;
		s->nulls[i] = f->type == VALUE_NULL;
		if (slot != LOGSOURCE_NO_SLOT)
			note_value(m, s, e, i, slot);
	}
	for (size_t i = 0; i < copy_count; i++) {
		s->copies[s->copy_count++] = copies[i];
		note_value(m, s, e, copies[i].at, copies[i].slot);
	}
	return s;
}

/* ---- facts ---- */

static void add_item(struct memo_facts *f, const void *item)
{
	if (f->count < FACTS_MAX)
		f->items[f->count] = item;
	f->count++; /* more than there is room for: these are not remembered */
	f->hash = mix(f->hash, (uintptr_t)item);
}

static void add_fact(void *arg, const struct value_jobs *v)
{
	add_item(arg, v);
}

static void gather_facts(const struct logsource_memo *m, const struct memo_shape *s,
                         const struct event *e, struct memo_facts *ret)
{
	ret->count = 0;
	ret->hash = 0;
	for (size_t i = 0; i < s->value_count; i++)
		logsource_value_facts(&m->l->names[s->values[i].slot],
		                      e->fields[s->values[i].at].value, add_fact, ret);
	for (size_t i = 0; i < m->l->source_test_count; i++)
		if (logsource_value_passes(m->l->source_tests[i], e->source))
			add_item(ret, m->l->source_tests[i]);
}

static bool same_facts(const struct memo_facts *a, const struct memo_facts *b)
{
	return a->hash == b->hash && a->count == b->count &&
	       memcmp(a->items, b->items, a->count * sizeof(*a->items)) == 0;
}

bool logsource_memo_find(struct logsource_memo *m, struct event *e, struct logsource_set *ret)
{
	const struct memo_shape *s;
	struct memo_facts facts;

	m->count = e->count;
	if (e->count > MEMO_FIELDS_MAX)
		return false;
	m->hash = shape_hash(e);
	s = shape_find(m, e);
	if (!s)
		return false;
	gather_facts(m, s, e, &facts);
	if (facts.count > FACTS_MAX)
		return false;
	for (size_t i = 0; i < s->result_count; i++) {
		if (!same_facts(&s->results[i].facts, &facts))
			continue;
		for (size_t j = 0; j < s->copy_count; j++) {
			const struct field *f = &e->fields[s->copies[j].at];
			event_put_derived(e, m->l->names[s->copies[j].slot].text, f->value,
			                  (enum value_type)f->type);
		}
		*ret = s->results[i].sources;
		return true;
	}
	return false;
}

void logsource_memo_learn(struct logsource_memo *m, const struct event *e,
                          const struct memo_copy *copies, size_t copy_count,
                          const struct logsource_set *sources)
{
	struct memo_facts facts;

	if (m->count > MEMO_FIELDS_MAX || copy_count > MEMO_COPIES_MAX)
		return;
	const struct event before = {.fields = e->fields, .count = m->count, .source = e->source};
	struct memo_shape *s = shape_find(m, &before);
	if (!s)
		s = shape_add(m, e, copies, copy_count);
	if (!s)
		return;
	gather_facts(m, s, e, &facts);
	if (facts.count > FACTS_MAX)
		return;
	struct memo_result *r = &s->results[s->next_result++ % RESULTS];
	*r = (struct memo_result){.facts = facts, .sources = *sources};
	if (s->result_count < RESULTS)
		s->result_count++;
}
