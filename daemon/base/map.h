/* A hash map from byte strings to pointers that remembers the order of insertion, so that walking it
 * gives the same order on every machine whatever the hash seed (folded state depends on that). The seed
 * is random per map: a peer cannot choose names that collide. Layout: a dense array of entries in
 * insertion order and an index over it (Python's dict), whose slots hold half of the hash, so that
 * a look-up touches one entry, its own. */
#ifndef ISOD_BASE_MAP_H
#define ISOD_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct map_entry {
	struct str key; /* the map's own copy; key.p == NULL marks a removed entry */
	uint64_t hash;
	void *value;
};

struct map_slot {
	uint32_t tag; /* the upper half of the entry's hash */
	uint32_t at;  /* its place + 1; 0: never used, UINT32_MAX: removed */
};

struct map {
	struct map_entry *entries;
	size_t used; /* entries in the array, removed ones included */
	size_t count;
	size_t cap;
	struct map_slot *index;
	size_t index_size; /* power of two, 0 before the first insert */
	uint64_t seed;
};

void map_init(struct map *m);
/* With a seed of the caller's (from map_seed()): for maps that are asked for the same keys, whose
 * hash is then worked out once. */
void map_init_seed(struct map *m, uint64_t seed);
/* Frees keys and tables; `free_value` (may be NULL) is called for each value in order. */
void map_release(struct map *m, void (*free_value)(void *));

/* The value, or NULL. */
void *map_get(const struct map *m, struct str key);
/* Copies the key; replaces the value of an existing key, which keeps its place. Returns the old value
 * or NULL. `value` must not be NULL. */
void *map_put(struct map *m, struct str key, void *value);
/* Returns the removed value or NULL. */
void *map_remove(struct map *m, struct str key);

/* Removes all, `free_value` as above, and keeps the room for as many. */
void map_clear(struct map *m, void (*free_value)(void *));

/* The same with map_hash(m->seed, key) at hand. */
void *map_get_at(const struct map *m, struct str key, uint64_t hash);
void *map_put_at(struct map *m, struct str key, uint64_t hash, void *value);

/* What a look-up will touch, fetched ahead into the processor's cache in two steps with other work
 * between them: the slot; the entry, which is returned (its key and value are still to be fetched) or
 * NULL. By hash alone: it may turn out to be another key's. They only read. */
void map_fetch_slot(const struct map *m, uint64_t hash);
const struct map_entry *map_fetch_entry(const struct map *m, uint64_t hash);

/* Walks in insertion order: start with *at = 0; NULL at the end. The current entry may be removed
 * during a walk, others may not, nothing may be added. */
const struct map_entry *map_next(const struct map *m, size_t *at);

/* The seeded hash itself, for tables of one's own. Snapshots hold its results (officer/save.h): whoever changes the
 * function makes a new SAVE_FORMAT. */
uint64_t map_hash(uint64_t seed, struct str key);
/* Two of them at once, in little more time than one: *hash are the seeds, and become the hashes. */
void map_hash_pair(uint64_t hash[2], struct str key);
/* A seed from the kernel's random source. */
uint64_t map_seed(void);

#endif
