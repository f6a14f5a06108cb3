/* Ledger records of a test's making. */
#ifndef ISOD_TESTS_RECORDS_H
#define ISOD_TESTS_RECORDS_H

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pb.h"
#include "officer/state.h"

#define T0 (UINT64_C(1700000000) * NS_PER_SECOND)

static inline Isod__V1__Settings *settings_new(void)
{
	Isod__V1__Settings *s = xmalloc(sizeof(*s));

	isod__v1__settings__init(s);
	s->incident_window_ns = NS_PER_HOUR;
	s->incident_open_level = ISOD__V1__LEVEL__LEVEL_LOW;
	s->risk_half_life_ns = NS_PER_DAY;
	s->correlation_skew_ns = NS_PER_DAY;
	return s;
}

static inline void match_entity_add(Isod__V1__Match *m, Isod__V1__EntityKind kind, const char *name)
{
	Isod__V1__Entity **at = pb_add(&m->entities, &m->n_entities, sizeof(*at));

	*at = xmalloc(sizeof(**at));
	isod__v1__entity__init(*at);
	(*at)->kind = kind;
	pb_set_text(&(*at)->name, name);
}

static inline void match_field_add(Isod__V1__Match *m, const char *name, const char *value)
{
	Isod__V1__Field **at = pb_add(&m->fields, &m->n_fields, sizeof(*at));

	*at = xmalloc(sizeof(**at));
	isod__v1__field__init(*at);
	pb_set_text(&(*at)->name, name);
	pb_set_text(&(*at)->value, value);
}

/* A match of `rule` for frame `sequence` of worker 0's evidence, which came at `now`: with the entities that are not
 * NULL, and src_ip and user as fields. Free with match_free. */
static inline Isod__V1__Match *match_of(uint64_t sequence, uint64_t now, const char *rule,
                                        Isod__V1__Level level, const char *address,
                                        const char *user, const char *host)
{
	Isod__V1__Match *m = xmalloc(sizeof(*m));

	isod__v1__match__init(m);
	m->evidence = xmalloc(sizeof(*m->evidence));
	isod__v1__evidence_ref__init(m->evidence);
	m->evidence->sequence = sequence;
	pb_set_text(&m->rule, rule);
	pb_set_text(&m->title, rule);
	m->level = level;
	m->received_ns = m->event_time_ns = now;
	if (user) {
		char *name = host ? xasprintf("%s@%s", user, host) : xstrdup(user);
		match_entity_add(m, ISOD__V1__ENTITY_KIND__ENTITY_USER, name);
		match_field_add(m, "user", user);
		free(name);
	}
	if (host)
		match_entity_add(m, ISOD__V1__ENTITY_KIND__ENTITY_HOST, host);
	if (address) {
		match_entity_add(m, ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS, address);
		match_field_add(m, "src_ip", address);
	}
	return m;
}

static inline void match_free(Isod__V1__Match *m)
{
	isod__v1__match__free_unpacked(m, NULL);
}

static inline Isod__V1__Correlation *correlation_new(const char *id, Isod__V1__CorrelationType type,
                                                     uint64_t timespan_ns, const char *group_by)
{
	Isod__V1__Correlation *c = xmalloc(sizeof(*c));

	isod__v1__correlation__init(c);
	pb_set_text(&c->id, id);
	pb_set_text(&c->title, id);
	c->level = ISOD__V1__LEVEL__LEVEL_HIGH;
	c->type = type;
	c->timespan_ns = timespan_ns;
	if (group_by)
		pb_add_text(&c->group_by, &c->n_group_by, group_by);
	return c;
}

static inline void correlation_bound(Isod__V1__Correlation *c, Isod__V1__Comparison op, uint64_t n)
{
	Isod__V1__Bound **at = pb_add(&c->bounds, &c->n_bounds, sizeof(*at));

	*at = xmalloc(sizeof(**at));
	isod__v1__bound__init(*at);
	(*at)->comparison = op;
	(*at)->value = n;
}

static inline void settings_correlation(Isod__V1__Settings *s, Isod__V1__Correlation *c)
{
	Isod__V1__Correlation **at = pb_add(&s->correlations, &s->n_correlations, sizeof(*at));
	*at = c;
}

#define HIGH   ISOD__V1__LEVEL__LEVEL_HIGH
#define MEDIUM ISOD__V1__LEVEL__LEVEL_MEDIUM
#define LOW    ISOD__V1__LEVEL__LEVEL_LOW
#define CRIT   ISOD__V1__LEVEL__LEVEL_CRITICAL

#endif
