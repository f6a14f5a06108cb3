/* Memory that is given back all at once: one event's fields, one rule set. Blocks are kept over a
 * reset, so that after the first few events nothing is allocated per event. */
#ifndef ISOD_BASE_ARENA_H
#define ISOD_BASE_ARENA_H

#include <stddef.h>

#include "base/str.h"

struct arena_block;

struct arena {
	struct arena_block *first;
	struct arena_block *current;
	size_t limit; /* bytes in all blocks together; 0: none */
	size_t held;
};

/* `limit`: the most bytes it may hold (0: no limit, for what no peer sizes). Allocates nothing yet. */
void arena_init(struct arena *a, size_t limit);
void arena_release(struct arena *a);
/* Forgets all allocations, keeps the blocks. */
void arena_reset(struct arena *a);

/* `size` bytes aligned for any type, uninitialised, valid until reset or release.
 * NULL only when the limit is reached. */
void *arena_alloc(struct arena *a, size_t size);
/* Copies: NULL only when the limit is reached. arena_strdup terminates its copy. */
char *arena_strdup(struct arena *a, struct str s);
struct str arena_str(struct arena *a, struct str s);

#endif
