/* The match that a correlation yields: what it groups by, the entities that matter, and what it is made of. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pb.h"
#include "officer/correlate_internal.h"

#define CONTRIBUTING_MAX 100 /* evidence references carried by a correlation's match: the newest */
#define NUMBER_TEXT_MAX  24  /* "-9223372036854775.808" */

void results_clear(struct correlate *c)
{
	for (size_t i = 0; i < c->result_count; i++)
		isod__v1__match__free_unpacked(c->results[i], NULL);
	c->result_count = 0;
}

/* True if the entity is what the correlation groups by. A user entity "alice@web1" is also found as "alice". */
static bool entity_grouped(const struct definition *d, uint32_t position, const Isod__V1__Match *m,
                           const Isod__V1__Entity *e)
{
	for (size_t i = 0; i < d->def->n_group_by; i++) {
		struct str value = str_of(definition_value(d, position, i, m)),
			   name = str_of(e->name);
		if (str_eq(value, name))
			return true;
		if (e->kind == ISOD__V1__ENTITY_KIND__ENTITY_USER && str_starts(name, value) &&
		    name.n > value.n && name.p[value.n] == '@')
			return true;
	}
	return false;
}

/* Types that end with one event whose every entity matters. Counts are about what they group by, and happened on a
 * host: the user whose name was tried last says nothing. */
static bool ends_with_event(Isod__V1__CorrelationType type)
{
	return type == CORRELATION(TEMPORAL) || type == CORRELATION(TEMPORAL_ORDERED) ||
	       type == CORRELATION(ABSENCE) || type == CORRELATION(FIRST_SEEN);
}

static void result_entities(Isod__V1__Match *r, const struct definition *d, uint32_t position,
                            const Isod__V1__Match *m)
{
	bool all = d->def->n_group_by == 0 || ends_with_event(d->def->type);

	for (size_t i = 0; i < m->n_entities; i++) {
		const Isod__V1__Entity *e = m->entities[i];
		if (!all && e->kind != ISOD__V1__ENTITY_KIND__ENTITY_HOST &&
		    !entity_grouped(d, position, m, e))
			continue;
		Isod__V1__Entity **at = pb_add(&r->entities, &r->n_entities, sizeof(*at));
		*at = pb_copy(&e->base);
	}
}

static bool has_field(const Isod__V1__Match *m, const char *name)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (strcmp(m->fields[i]->name, name) == 0)
			return true;
	return false;
}

static void add_field(Isod__V1__Match *r, const char *name, const char *value)
{
	if (!value || has_field(r, name))
		return;
	Isod__V1__Field **at = pb_add(&r->fields, &r->n_fields, sizeof(*at));
	*at = xmalloc(sizeof(**at));
	isod__v1__field__init(*at);
	pb_set_text(&(*at)->name, name);
	pb_set_text(&(*at)->value, value);
}

/* What it groups by, under its own names, and the other fields of the event: a correlation that refers to this one has
 * groups of its own, and the rules carry what it needs. */
static void result_fields(Isod__V1__Match *r, const struct definition *d, uint32_t position,
                          const Isod__V1__Match *m)
{
	for (size_t i = 0; i < d->def->n_group_by; i++)
		add_field(r, d->def->group_by[i], definition_value(d, position, i, m));
	for (size_t i = 0; i < m->n_fields; i++)
		add_field(r, m->fields[i]->name, m->fields[i]->value);
}

static void result_contributing(Isod__V1__Match *r, const struct entry *entries,
                                const struct window_span *span)
{
	uint32_t from = span->from;

	for (uint32_t i = span->from; i < span->to; i++)
		r->clock_fallbacks += entry_wild(&entries[i]);
	if (span->to - from > CONTRIBUTING_MAX)
		from = span->to - CONTRIBUTING_MAX;
	for (uint32_t i = from; i < span->to; i++) {
		Isod__V1__EvidenceRef **at =
			pb_add(&r->contributing, &r->n_contributing, sizeof(*at));
		*at = xmalloc(sizeof(**at));
		isod__v1__evidence_ref__init(*at);
		(*at)->worker = entry_worker(&entries[i]);
		(*at)->sequence = entry_sequence(&entries[i]);
	}
}

/* ---- what it says ---- */

static const char *number_text(int64_t milli, char out[static NUMBER_TEXT_MAX])
{
	uint64_t n = milli < 0 ? 0 - (uint64_t)milli : (uint64_t)milli;

	if (n % 1000)
		snprintf(out, NUMBER_TEXT_MAX, "%s%llu.%03llu", milli < 0 ? "-" : "",
		         (unsigned long long)(n / 1000), (unsigned long long)(n % 1000));
	else
		snprintf(out, NUMBER_TEXT_MAX, "%s%llu", milli < 0 ? "-" : "",
		         (unsigned long long)(n / 1000));
	return out;
}

static char *result_summary(const struct definition *d, const Isod__V1__Match *m,
                            const struct window_span *span)
{
	static const char *const words[] = {
		[CORRELATION(VALUE_SUM)] = "a sum of",
		[CORRELATION(VALUE_AVG)] = "an average of",
		[CORRELATION(VALUE_MIN)] = "a minimum of",
		[CORRELATION(VALUE_MAX)] = "a maximum of",
		[CORRELATION(VALUE_MEDIAN)] = "a median of",
		[CORRELATION(VALUE_PERCENTILE)] = "a percentile of",
		[CORRELATION(VALUE_SHARE)] = "a share per cent of",
	};
	Isod__V1__CorrelationType type = d->def->type;
	char number[NUMBER_TEXT_MAX];
	uint32_t events = span->to - span->from;

	if (type == CORRELATION(ABSENCE))
		return xasprintf("nothing followed: %s", m->summary);
	if (type == CORRELATION(FIRST_SEEN))
		return xasprintf("for the first time: %s", m->summary);
	if (type == CORRELATION(VALUE_COUNT))
		return xasprintf("%llu values in %u events, the last: %s",
		                 (unsigned long long)span->count, events, m->summary);
	if ((unsigned)type < ARRAY_LEN(words) && words[type])
		return xasprintf("%s %s in %u events, the last: %s", words[type],
		                 number_text(span->milli, number), events, m->summary);
	return xasprintf("%u events, the last: %s", events, m->summary);
}

void result_add(struct correlate *c, const struct definition *d, uint32_t position,
                const Isod__V1__Match *m, const struct entry *entries,
                const struct window_span *span)
{
	Isod__V1__Match *r = xmalloc(sizeof(*r));

	isod__v1__match__init(r);
	pb_set_text(&r->rule, d->def->id);
	pb_set_text(&r->title, d->def->title);
	pb_set_text(&r->source, m->source);
	pb_set_text(&r->outcome, m->outcome);
	result_contributing(r, entries, span);
	char *summary = result_summary(d, m, span);
	char *marked = r->clock_fallbacks ? xasprintf("(%u by arrival, the clock is wild) %s",
	                                              r->clock_fallbacks, summary)
	                                  : xstrdup(summary);
	pb_set_text(&r->summary, marked);
	free(marked);
	free(summary);
	r->level = d->def->level;
	r->silent = d->def->silent;
	r->event_time_ns = entries[span->to - 1].time_ns;
	r->received_ns = m->received_ns;
	if (m->evidence)
		r->evidence = pb_copy(&m->evidence->base);
	for (size_t i = 0; i < d->def->n_tags; i++)
		pb_add_text(&r->tags, &r->n_tags, d->def->tags[i]);
	result_entities(r, d, position, m);
	result_fields(r, d, position, m);
	xgrow(&c->results, &c->result_cap, c->result_count + 1, sizeof(*c->results));
	c->results[c->result_count++] = r;
}
