#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/mem.h"

#define BLOCK_MIN ((size_t)16 * 1024) /* a usual event with its fields fits one block */

struct arena_block {
	struct arena_block *next;
	size_t size;
	size_t used;
	alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t limit)
{
	*a = (struct arena){.limit = limit};
}

void arena_release(struct arena *a)
{
	struct arena_block *b = a->first;

	while (b) {
		struct arena_block *next = b->next;
		free(b);
		b = next;
	}
	arena_init(a, a->limit);
}

void arena_reset(struct arena *a)
{
	/* Nothing is used behind the current block; one huge event must not make all later ones walk its blocks. */
	for (struct arena_block *b = a->first; b; b = b == a->current ? NULL : b->next)
		b->used = 0;
	a->current = a->first;
}

static struct arena_block *arena_extend(struct arena *a, size_t size)
{
	struct arena_block *last = a->current;

	while (last && last->next) {
		last = last->next;
		if (last->size - last->used >= size)
			return a->current = last;
	}
	size_t want = size > BLOCK_MIN ? size : BLOCK_MIN;
	if (a->limit && want > a->limit - a->held)
		want = a->limit - a->held; /* the last block is what the limit leaves */
	if (want < size)
		return NULL;
	struct arena_block *b = xmalloc(sizeof(*b) + want);
	*b = (struct arena_block){.size = want};
	a->held += want;
	if (last)
		last->next = b;
	else
		a->first = b;
	return a->current = b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_block *b = a->current;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!b || b->size - b->used < size) {
		b = arena_extend(a, size);
		if (!b)
			return NULL;
	}
	void *p = b->data + b->used;
	b->used += size;
	return p;
}

char *arena_strdup(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);
	if (!p)
		return NULL;
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	char *p = arena_strdup(a, s);
	return p ? str_make(p, s.n) : STR_NONE;
}
