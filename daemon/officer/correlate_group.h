/* The open groups of one correlation: found by a 128-bit hash of what they are grouped by, in order of their last
 * change, and (those that wait for something) by when they are due. Only for officer/correlate*.c. */
#ifndef ISOD_OFFICER_CORRELATE_GROUP_H
#define ISOD_OFFICER_CORRELATE_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GROUP_NONE UINT32_MAX

/* One match in a window. */
struct entry {
	uint64_t time_ns;
	uint64_t
		value; /* by type: hash of the value, number in thousandths (as int64_t), place of the rule */
	uint64_t origin; /* entry_origin() */
};

/* Evidence sequence (48 bits), worker (15 bits), and whether the event's clock was wild. */
static inline uint64_t entry_origin(uint64_t sequence, uint32_t worker, bool wild)
{
	return sequence << 16 | (uint64_t)(worker & 0x7fff) << 1 | wild;
}

static inline uint64_t entry_sequence(const struct entry *e)
{
	return e->origin >> 16;
}

static inline uint32_t entry_worker(const struct entry *e)
{
	return (uint32_t)(e->origin >> 1 & 0x7fff);
}

static inline bool entry_wild(const struct entry *e)
{
	return e->origin & 1;
}

/* What few groups have. */
struct group_extra {
	uint64_t newest_ns; /* while the window is empty */
	uint64_t quiet_ns;  /* silent (or learning) before this time */
	uint32_t heap;      /* its place in the heap + 1; 0: not due */
	uint32_t kept_size;
	void *kept; /* absence: the packed match that the group waits on */
};

/* One line of the processor's cache; a million of them are what is measured. */
struct group {
	uint64_t hash[2];
	uint32_t older, newer; /* by last change */
	uint32_t count;        /* entries in the window */
	uint32_t cap;          /* of `many`; 0: at most one entry, in place */
	union {
		struct entry one;
		struct {
			struct entry *many;
			uint32_t head; /* of the first entry */
		};
	};
	struct group_extra *extra; /* NULL while it has none */
};

struct group_slot {
	uint32_t tag; /* high bits of hash[0] */
	uint32_t id;  /* GROUP_NONE: empty */
};

struct group_due {
	uint64_t due_ns;
	uint32_t id;
};

#define GROUP_CHUNKS_MAX 28 /* 16, 32, 64 … groups: more than a uint32_t of them */

struct groups {
	struct group *chunks[GROUP_CHUNKS_MAX];
	uint32_t made; /* groups ever made; ids below it are in use or free */
	uint32_t free; /* first of the free ones, linked by `newer` */
	uint32_t count;
	uint32_t oldest, newest;
	struct group_slot *slots;
	uint32_t slot_count; /* a power of two, 0 before the first group */
	struct group_due *heap;
	size_t heap_count, heap_cap;
	size_t bytes; /* charged for groups, entries and extras */
};

/* What is charged for each: not sizeof, so that limits bind alike on every machine. A group with its slots, */
#define GROUP_COST 80
#define ENTRY_COST 24
#define EXTRA_COST 64

void groups_init(struct groups *t);
void groups_release(struct groups *t);

struct group *groups_at(const struct groups *t, uint32_t id);
/* The group with that hash, or GROUP_NONE. */
uint32_t groups_find(const struct groups *t, const uint64_t hash[2]);
/* What a look-up will touch, fetched ahead in three steps with other work between them: the slot; the group, whose
 * number (or GROUP_NONE) is returned unproved; its neighbours and the ends of its window. They change nothing. */
void groups_fetch_slot(const struct groups *t, const uint64_t hash[2]);
uint32_t groups_fetch_group(const struct groups *t, const uint64_t hash[2]);
void groups_fetch_around(const struct groups *t, uint32_t id);
/* Adds an empty group as the newest; there must be none with that hash. */
uint32_t groups_add(struct groups *t, const uint64_t hash[2]);
void groups_remove(struct groups *t, uint32_t id);
/* Makes it the newest. */
void groups_touch(struct groups *t, uint32_t id);
/* ---- for loading: groups with the numbers and the room that they had ---- */

/* Into an empty table: numbers below `made` were in use. */
void groups_restore(struct groups *t, uint32_t made);
/* Adds the group with that number and hash as the newest. The caller proves that both are not there yet. `cap`, `head`
 * and `count` of its window, whose entries are filled in by the caller. */
struct group *groups_restore_group(struct groups *t, uint32_t id, const uint64_t hash[2],
                                   uint32_t cap, uint32_t head, uint32_t count);
/* A number that is free, to be used after those that were restored before it. */
void groups_restore_free(struct groups *t, uint32_t id, uint32_t *last);

/* The group's extra, made when it has none. */
struct group_extra *groups_extra(struct groups *t, struct group *g);
/* Copies `size` bytes into the extra's `kept`. */
void groups_keep(struct groups *t, struct group *g, const void *data, size_t size);

/* When the group is due; UINT64_MAX: never. The group must have an extra. */
void groups_due_at(struct groups *t, uint32_t id, uint64_t due_ns);
/* The group that is due first (of equal ones that with the lowest id), or GROUP_NONE. */
uint32_t groups_due_first(const struct groups *t, uint64_t *ret_due_ns);

/* ---- a group's window: entries by time ---- */

static inline struct entry *group_entries(struct group *g)
{
	return g->cap ? g->many + g->head : &g->one;
}

/* Puts the entry behind those of its time and before later ones; returns its place. */
uint32_t group_insert(struct groups *t, struct group *g, const struct entry *e);
/* Drops the first `n`. */
void group_drop_first(struct group *g, uint32_t n);
/* Drops the one at `at`. */
void group_drop_at(struct group *g, uint32_t at);
/* Drops all and gives their memory back. */
void group_clear(struct groups *t, struct group *g);

#endif
