#include "view/dirty.h"

#include <stdlib.h>

#include "base/mem.h"

void dirty_init(struct dirty *d)
{
	*d = (struct dirty){0};
	for (size_t k = 0; k < VIEW_KINDS; k++)
		map_init(&d->by_key[k]);
}

void dirty_release(struct dirty *d)
{
	for (size_t k = 0; k < VIEW_KINDS; k++)
		map_release(&d->by_key[k], free);
	free(d->batch);
	*d = (struct dirty){0};
}

static void list_push(struct dirty_list *l, struct dirty_entry *e)
{
	e->next = NULL;
	if (l->last)
		l->last->next = e;
	else
		l->first = e;
	l->last = e;
	l->count++;
}

/* Moves all of `from` behind `to`. */
static void list_join(struct dirty_list *to, struct dirty_list *from)
{
	if (!from->first)
		return;
	if (to->last)
		to->last->next = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	to->count += from->count;
	*from = (struct dirty_list){0};
}

static struct dirty_entry *entry_at(struct dirty *d, enum view_kind kind, struct str key,
                                    struct dirty_list *list)
{
	struct dirty_entry *e = map_get(&d->by_key[kind], key);

	if (e)
		return e;
	e = xcalloc(1, sizeof(*e) + key.n + 1);
	e->kind = kind;
	e->key_length = key.n;
	if (key.n)
		memcpy(e->key, key.p, key.n);
	map_put(&d->by_key[kind], key, e);
	list_push(list, e);
	d->count++;
	return e;
}

void dirty_mark(struct dirty *d, enum view_kind kind, struct str key)
{
	struct dirty_entry *e = entry_at(d, kind, key, &d->waiting);

	if (e->sent)
		e->again = e->again_tell = true;
	else
		e->tell = true;
}

void dirty_touch(struct dirty *d, enum view_kind kind, struct str key, bool rewrite)
{
	struct dirty_entry *e = entry_at(d, kind, key, &d->flushing);

	if (e->sent)
		e->again = true;
	if (rewrite)
		e->whole = true;
	if (rewrite && !e->rewrite) {
		e->rewrite = true;
		d->rewrite++;
	}
}

void dirty_begin_flush(struct dirty *d)
{
	list_join(&d->flushing, &d->waiting);
}

void dirty_end_flush(struct dirty *d)
{
	list_join(&d->flushing, &d->waiting);
	d->waiting = d->flushing;
	d->flushing = (struct dirty_list){0};
}

struct dirty_entry *dirty_take(struct dirty *d)
{
	struct dirty_entry *e = d->flushing.first;

	if (!e)
		return NULL;
	d->flushing.first = e->next;
	if (!e->next)
		d->flushing.last = NULL;
	d->flushing.count--;
	e->next = NULL;
	e->sent = true;
	xgrow(&d->batch, &d->batch_cap, d->batch_count + 1, sizeof(struct dirty_entry *));
	d->batch[d->batch_count++] = e;
	return e;
}

static void settle_one(struct dirty *d, struct dirty_entry *e)
{
	bool wait = e->failed || e->again;

	if (!wait) {
		d->rewrite -= e->rewrite;
		d->count--;
		free(map_remove(&d->by_key[e->kind], dirty_key(e)));
		return;
	}
	if (!e->failed)
		e->whole = false;
	if (e->again && !e->failed && e->rewrite) {
		e->rewrite =
			false; /* what the rewrite wanted is written; the change since comes by itself */
		d->rewrite--;
	}
	e->whole = e->whole || e->failed;
	e->tell = e->tell || e->again_tell;
	e->sent = e->again = e->again_tell = e->failed = e->resent = false;
	e->sequence = e->n = 0;
	list_push(&d->waiting, e);
}

void dirty_settle(struct dirty *d)
{
	for (size_t i = 0; i < d->batch_count; i++)
		settle_one(d, d->batch[i]);
	d->batch_count = 0;
}

void dirty_doubt(struct dirty *d)
{
	for (size_t i = 0; i < d->batch_count; i++) {
		d->batch[i]->failed = false;
		d->batch[i]->whole = true;
		d->batch[i]->resent = true;
	}
}
