/* Peers choose how many sources there are (a UDP sender may invent one per datagram), so the table has a limit, and
 * what comes past it is still counted, only no longer apart. */
#include "ingest/source.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"

#define OTHER "/(other)"

void sources_init(struct sources *s, size_t max)
{
	*s = (struct sources){.max = max};
	map_init(&s->map);
}

static void source_free(void *p)
{
	struct source *source = p;

	free(source->name);
	free(source);
}

void sources_release(struct sources *s)
{
	map_release(&s->map, source_free);
	*s = (struct sources){.max = s->max, .map = s->map};
}

void sources_forget(struct sources *s)
{
	sources_release(s);
}

static struct source *source_new(struct str name)
{
	struct source *source = xcalloc(1, sizeof(*source));
	struct buf text;

	buf_init(&text, 0);
	utf8_repair(&text, name);
	source->name = xstrdup(buf_cstr(&text));
	buf_release(&text);
	isod__v1__source_count__init(&source->counts);
	source->counts.source = source->name;
	return source;
}

static struct source *find_or_add(struct sources *s, struct str name)
{
	char other[SOURCE_NAME_MAX + sizeof(OTHER)];
	struct source *source = map_get(&s->map, name);

	if (!source && s->map.count >= s->max) {
		ptrdiff_t slash = str_find(name, '/');
		size_t n = slash < 0 ? name.n : (size_t)slash;
		memcpy(other, name.p, n);
		memcpy(other + n, OTHER, sizeof(OTHER));
		name = str_make(other, n + sizeof(OTHER) - 1);
		source = map_get(&s->map, name);
	}
	if (!source) {
		source = source_new(name);
		map_put(&s->map, name, source);
	}
	return source;
}

Isod__V1__SourceCount *sources_count(struct sources *s, struct str name)
{
	name = str_head(name, SOURCE_NAME_MAX);
	if (!s->last || !str_eq(s->last_key, name)) {
		s->last = find_or_add(s, name);
		/* Of "(other)" too: a run of unknown ones is looked up each time. */
		s->last_key = str_of(s->last->name);
	}
	if (!s->last->active) {
		s->last->active = true;
		s->active++;
		s->active_bytes += strlen(s->last->name) + SOURCE_COUNT_BYTES;
	}
	return &s->last->counts;
}

void sources_lost(struct sources *s, struct str name, enum evidence_loss loss, uint64_t lost)
{
	Isod__V1__SourceCount *c = sources_count(s, name);
	const struct {
		enum evidence_loss loss;
		uint64_t *count;
	} reasons[] = {
		{LOSS_FRAMING, &c->refused_framing}, {LOSS_EMPTY, &c->refused_empty},
		{LOSS_KERNEL, &c->shed_kernel},      {LOSS_OWN_EVENTS, &c->shed_own_events},
		{LOSS_RATE, &c->shed_rate},
	};

	*(loss_is_shed(loss) ? &c->shed : &c->refused) += lost;
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].loss == loss)
			*reasons[i].count += lost;
}

void sources_tally(struct sources *s, struct arena *arena, Isod__V1__Tally *t)
{
	const struct map_entry *e;
	size_t at = 0;

	t->sources = arena_alloc(arena, (s->active ? s->active : 1) * sizeof(*t->sources));
	t->n_sources = 0;
	while ((e = map_next(&s->map, &at))) {
		struct source *source = e->value;
		if (source->active)
			t->sources[t->n_sources++] = &source->counts;
	}
}

void sources_reset(struct sources *s)
{
	const struct map_entry *e;
	size_t at = 0;

	while ((e = map_next(&s->map, &at))) {
		struct source *source = e->value;
		isod__v1__source_count__init(&source->counts);
		source->counts.source = source->name;
		source->active = false;
	}
	s->active = 0;
	s->active_bytes = 0;
}
