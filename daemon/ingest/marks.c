#include "ingest/marks.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void marks_init(struct marks *m)
{
	*m = (struct marks){0};
	map_init(&m->map);
}

void marks_release(struct marks *m)
{
	map_release(&m->map, free);
	*m = (struct marks){0};
}

static struct mark *mark_of(struct marks *m, struct str producer)
{
	if (m->last && str_eq(str_of(m->last->id), producer))
		return m->last;
	struct mark *mark = map_get(&m->map, producer);
	if (!mark) {
		mark = xcalloc(1, sizeof(*mark));
		memcpy(mark->id, producer.p, producer.n);
		isod__v1__producer_mark__init(&mark->told);
		mark->told.producer = mark->id;
		map_put(&m->map, producer, mark);
		m->bytes += MARK_BYTES;
	}
	return mark;
}

void marks_note(struct marks *m, struct str producer, uint64_t sequence)
{
	if (producer.n == 0 || producer.n > PRODUCER_ID_MAX)
		return;
	m->last = mark_of(m, producer);
	if (sequence > m->last->told.upto)
		m->last->told.upto = sequence;
}

void marks_tally(const struct marks *m, struct arena *arena, Isod__V1__Tally *t)
{
	const struct map_entry *e;

	t->n_producers = 0;
	if (m->map.count == 0)
		return;
	t->producers = arena_alloc(arena, m->map.count * sizeof(*t->producers));
	for (size_t at = 0; (e = map_next(&m->map, &at));)
		t->producers[t->n_producers++] = &((struct mark *)e->value)->told;
}

void marks_reset(struct marks *m)
{
	if (m->map.count == 0)
		return;
	marks_release(m);
	marks_init(m);
}
