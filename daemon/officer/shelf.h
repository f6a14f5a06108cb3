/* Things that are numbered 1, 2, 3 … as they come, such as incidents, and the order in which they leave. What leaves gives its
 * memory back: of SHELF_PAGE numbers that are all gone, one pointer stays. */
#ifndef ISOD_OFFICER_SHELF_H
#define ISOD_OFFICER_SHELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHELF_PAGE 64

struct shelf_page {
	size_t held;
	void *items[SHELF_PAGE];
};

struct shelf {
	struct shelf_page **pages;
	size_t page_count, page_cap;
	size_t held; /* things that are there */
};

/* `free_item` is called for each thing that is there. */
void shelf_release(struct shelf *s, void (*free_item)(void *));
/* At a number, at least 1, that nothing is at. */
void shelf_put(struct shelf *s, uint64_t number, void *item);
/* The thing, which is no longer there; NULL when there was none. */
void *shelf_take(struct shelf *s, uint64_t number);

/* NULL when there is none. */
static inline void *shelf_get(const struct shelf *s, uint64_t number)
{
	uint64_t at = number - 1; /* 0: past all pages */

	if (at / SHELF_PAGE >= s->page_count || !s->pages[at / SHELF_PAGE])
		return NULL;
	return s->pages[at / SHELF_PAGE]->items[at % SHELF_PAGE];
}

/* The thing with the lowest number above *number, which becomes that; NULL when there is none. */
void *shelf_next(const struct shelf *s, uint64_t *number);

/* ---- who leaves ---- */

struct departure {
	uint64_t time_ns; /* when it was finished */
	uint64_t number;
};

/* In order of time, then number. */
struct departures {
	struct departure *items;
	size_t first, count, cap; /* those from `first` on, up to `count` */
	bool sorted;
};

void departures_release(struct departures *d);
/* Any order will do; rising times cost least. */
void departures_add(struct departures *d, uint64_t time_ns, uint64_t number);
/* The number of one that is to leave now, taken off the list: the first, when it was finished `kept_ns` ago (0: never for
 * its age) or when there are more than `kept_max` (0: any number may stay). 0: none. */
uint64_t departures_next(struct departures *d, uint64_t now_ns, uint64_t kept_ns,
                         uint64_t kept_max);

#endif
