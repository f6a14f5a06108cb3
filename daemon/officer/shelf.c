#include "officer/shelf.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void shelf_release(struct shelf *s, void (*free_item)(void *))
{
	void *item;

	for (uint64_t number = 0; (item = shelf_next(s, &number));)
		free_item(item);
	for (size_t i = 0; i < s->page_count; i++)
		free(s->pages[i]);
	free(s->pages);
	*s = (struct shelf){0};
}

void shelf_put(struct shelf *s, uint64_t number, void *item)
{
	size_t page = (size_t)((number - 1) / SHELF_PAGE);

	if (page >= s->page_count) {
		xgrow(&s->pages, &s->page_cap, page + 1, sizeof(*s->pages));
		memset(s->pages + s->page_count, 0,
		       (page + 1 - s->page_count) * sizeof(struct shelf_page *));
		s->page_count = page + 1;
	}
	if (!s->pages[page])
		s->pages[page] = xcalloc(1, sizeof(**s->pages));
	s->pages[page]->items[(number - 1) % SHELF_PAGE] = item;
	s->pages[page]->held++;
	s->held++;
}

void *shelf_take(struct shelf *s, uint64_t number)
{
	void *item = shelf_get(s, number);
	size_t page = (size_t)((number - 1) / SHELF_PAGE);

	if (!item)
		return NULL;
	s->pages[page]->items[(number - 1) % SHELF_PAGE] = NULL;
	s->held--;
	if (--s->pages[page]->held == 0) {
		free(s->pages[page]);
		s->pages[page] = NULL;
	}
	return item;
}

void *shelf_next(const struct shelf *s, uint64_t *number)
{
	uint64_t at = *number; /* the place behind it */

	while (at / SHELF_PAGE < s->page_count) {
		const struct shelf_page *page = s->pages[at / SHELF_PAGE];
		if (!page) {
			at = (at / SHELF_PAGE + 1) * SHELF_PAGE;
			continue;
		}
		void *item = page->items[at++ % SHELF_PAGE];
		if (item) {
			*number = at;
			return item;
		}
	}
	return NULL;
}

/* ---- who leaves ---- */

void departures_release(struct departures *d)
{
	free(d->items);
	*d = (struct departures){0};
}

static int by_time(const void *a, const void *b)
{
	const struct departure *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

/* Those that left make room for those that come, before there is more of it. */
static void departures_reserve(struct departures *d)
{
	if (d->count == d->cap && d->first > d->count / 2) {
		d->count -= d->first;
		memmove(d->items, d->items + d->first, d->count * sizeof(*d->items));
		d->first = 0;
	}
	xgrow(&d->items, &d->cap, d->count + 1, sizeof(*d->items));
}

void departures_add(struct departures *d, uint64_t time_ns, uint64_t number)
{
	const struct departure item = {time_ns, number};

	departures_reserve(d);
	size_t at = d->count++;
	if (at == d->first)
		d->sorted = true;
	/* Several of one time may come in any order: they are few. Another time may only come while a snapshot is loaded. */
	if (at > d->first && time_ns < d->items[at - 1].time_ns)
		d->sorted = false;
	for (; d->sorted && at > d->first && by_time(&d->items[at - 1], &item) > 0; at--)
		d->items[at] = d->items[at - 1];
	d->items[at] = item;
}

uint64_t departures_next(struct departures *d, uint64_t now_ns, uint64_t kept_ns, uint64_t kept_max)
{
	if (d->first == d->count || (!kept_ns && !kept_max))
		return 0;
	if (!d->sorted)
		qsort(d->items + d->first, d->count - d->first, sizeof(*d->items), by_time);
	d->sorted = true;
	const struct departure *first = &d->items[d->first];
	bool old = kept_ns && now_ns >= first->time_ns && now_ns - first->time_ns >= kept_ns;
	bool many = kept_max && d->count - d->first > kept_max;

	if (!old && !many)
		return 0;
	d->first++;
	return first->number;
}
