#include "officer/desk.h"

#include <stdio.h>

#define KIND_MAX 7 /* bytes of the longest kind */

static const char *const kind_names[] = {"unknown", "user", "host", "address"};

struct str entity_key(const Isod__V1__Entity *e, char out[static ENTITY_KEY_MAX])
{
	unsigned kind = e->kind > ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS ? 0 : (unsigned)e->kind;
	struct str name = str_head(str_of(e->name), ENTITY_KEY_MAX - KIND_MAX - 2);
	size_t n = strlen(kind_names[kind]);

	memcpy(out, kind_names[kind], n);
	out[n++] = ':';
	if (name.n)
		memcpy(out + n, name.p, name.n);
	n += name.n;
	out[n] = '\0';
	return str_make(out, n);
}

void step_dirty(const struct step *s, enum view_kind kind, struct str key)
{
	if (s->effects->dirty)
		s->effects->dirty(s->effects->arg, kind, key);
}

void step_dirty_id(const struct step *s, enum view_kind kind, uint64_t id)
{
	char text[24];

	if (!s->effects->dirty)
		return;
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)id);
	step_dirty(s, kind, str_make(text, (size_t)n));
}

uint64_t match_time(const Isod__V1__Match *m, const Isod__V1__Settings *settings)
{
	uint64_t event = m->event_time_ns, arrival = m->received_ns;
	uint64_t apart = event > arrival ? event - arrival : arrival - event;

	return event && apart <= settings->correlation_skew_ns ? event : arrival;
}

const Isod__V1__Entity *match_entity(const Isod__V1__Match *m, Isod__V1__EntityKind kind)
{
	for (size_t i = 0; i < m->n_entities; i++)
		if (m->entities[i]->kind == kind)
			return m->entities[i];
	return NULL;
}
