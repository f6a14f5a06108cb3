#include "ingest/producers.h"

#include <stdlib.h>

#include "base/mem.h"

void producers_init(struct producers *p)
{
	pthread_mutex_init(&p->lock, NULL);
	map_init(&p->map);
}

void producers_release(struct producers *p)
{
	map_release(&p->map, free);
	pthread_mutex_destroy(&p->lock);
}

size_t producers_worker(struct str producer, size_t workers)
{
	return (size_t)(map_hash(0, producer) % workers);
}

static uint64_t *find_or_add(struct producers *p, struct str producer)
{
	uint64_t *mark = map_get(&p->map, producer);

	if (!mark) {
		mark = xcalloc(1, sizeof(*mark));
		map_put(&p->map, producer, mark);
	}
	return mark;
}

void producers_note(struct producers *p, struct str producer, uint64_t upto)
{
	pthread_mutex_lock(&p->lock);
	uint64_t *mark = find_or_add(p, producer);
	if (upto > *mark)
		*mark = upto;
	pthread_mutex_unlock(&p->lock);
}

bool producers_has_room(struct producers *p, struct str producer)
{
	pthread_mutex_lock(&p->lock);
	bool room = p->map.count < PRODUCERS_MAX || map_get(&p->map, producer);
	pthread_mutex_unlock(&p->lock);
	return room;
}

uint64_t producers_ask(struct producers *p, struct str producer)
{
	pthread_mutex_lock(&p->lock);
	const uint64_t *mark = map_get(&p->map, producer);
	uint64_t upto = mark ? *mark : 0;
	pthread_mutex_unlock(&p->lock);
	return upto;
}

size_t producers_count(struct producers *p)
{
	pthread_mutex_lock(&p->lock);
	size_t n = p->map.count;
	pthread_mutex_unlock(&p->lock);
	return n;
}

bool producers_forget(struct producers *p, struct str producer, uint64_t upto)
{
	pthread_mutex_lock(&p->lock);
	const uint64_t *mark = map_get(&p->map, producer);
	bool found = (mark ? *mark : 0) == upto;
	if (mark && found)
		free(map_remove(&p->map, producer));
	pthread_mutex_unlock(&p->lock);
	return found;
}
