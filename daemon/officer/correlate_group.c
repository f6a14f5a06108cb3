/* Groups live in chunks that double in size, so that they never move and a correlation with ten groups costs
 * kilobytes, and are known by number: half the size of a pointer, and freed numbers are reused in an order that
 * depends only on what was added and removed. The table is open addressing with linear probing and a 32-bit tag per
 * slot, so that a look-up touches one line of slots and one group; removal shifts back instead of leaving stones.
 * Nothing here is walked in hash order: the hash's seed is random and must not show. */
#include "officer/correlate_group.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#define FIRST_CHUNK 16
#define SLOTS_MIN   32
#define ENTRIES_MIN 4
#define LINE_BYTES  64
#define HUGE_BYTES  ((size_t)2 << 20)

_Static_assert(sizeof(struct group) <= LINE_BYTES, "a group fills one line of the cache");
_Static_assert(sizeof(struct entry) == ENTRY_COST, "an entry is charged what it takes");

/* Aligned memory that is not set. What is large is asked for in huge pages: a million groups at random would otherwise
 * cost a walk through the page table each. */
static void *table_alloc(size_t size)
{
	size_t align = size >= HUGE_BYTES ? HUGE_BYTES : LINE_BYTES;
	void *p = aligned_alloc(align, size);

	if (!p)
		abort();
	if (align == HUGE_BYTES)
		madvise(p, size,
		        MADV_HUGEPAGE); /* only advice: without it, it works all the same */
	return p;
}

/* ---- chunks ---- */

static unsigned chunk_of(uint32_t id, uint32_t *ret_at)
{
	uint32_t n = id + FIRST_CHUNK;
	unsigned high = 31 - (unsigned)__builtin_clz(n);

	*ret_at = n - (UINT32_C(1) << high);
	return high - 4; /* FIRST_CHUNK is 2^4 */
}

struct group *groups_at(const struct groups *t, uint32_t id)
{
	uint32_t at;
	unsigned chunk = chunk_of(id, &at);

	return &t->chunks[chunk][at];
}

static uint32_t take_id(struct groups *t)
{
	uint32_t id = t->free, at;

	if (id != GROUP_NONE) {
		t->free = groups_at(t, id)->newer;
		return id;
	}
	id = t->made++;
	unsigned chunk = chunk_of(id, &at);
	if (at == 0)
		t->chunks[chunk] =
			table_alloc(((size_t)FIRST_CHUNK << chunk) * sizeof(struct group));
	return id;
}

void groups_init(struct groups *t)
{
	*t = (struct groups){.free = GROUP_NONE, .oldest = GROUP_NONE, .newest = GROUP_NONE};
}

static void free_contents(struct group *g)
{
	if (g->cap)
		free(g->many);
	if (g->extra)
		free(g->extra->kept);
	free(g->extra);
}

void groups_release(struct groups *t)
{
	for (uint32_t id = t->oldest; id != GROUP_NONE; id = groups_at(t, id)->newer)
		free_contents(groups_at(t, id));
	for (size_t i = 0; i < GROUP_CHUNKS_MAX; i++)
		free(t->chunks[i]);
	free(t->slots);
	free(t->heap);
	groups_init(t);
}

/* ---- the table ---- */

static uint32_t slot_home(const struct groups *t, const uint64_t hash[2])
{
	return (uint32_t)hash[0] & (t->slot_count - 1);
}

static uint32_t slot_tag(const uint64_t hash[2])
{
	return (uint32_t)(hash[0] >> 32);
}

static bool same(const struct group *g, const uint64_t hash[2])
{
	return g->hash[0] == hash[0] && g->hash[1] == hash[1];
}

uint32_t groups_find(const struct groups *t, const uint64_t hash[2])
{
	uint32_t tag = slot_tag(hash);

	if (!t->slot_count)
		return GROUP_NONE;
	for (uint32_t i = slot_home(t, hash);; i = (i + 1) & (t->slot_count - 1)) {
		const struct group_slot *s = &t->slots[i];
		if (s->id == GROUP_NONE)
			return GROUP_NONE;
		if (s->tag == tag && same(groups_at(t, s->id), hash))
			return s->id;
	}
}

void groups_fetch_slot(const struct groups *t, const uint64_t hash[2])
{
	if (t->slot_count)
		__builtin_prefetch(&t->slots[slot_home(t, hash)]);
}

uint32_t groups_fetch_group(const struct groups *t, const uint64_t hash[2])
{
	uint32_t tag = slot_tag(hash);

	if (!t->slot_count)
		return GROUP_NONE;
	for (uint32_t i = slot_home(t, hash); t->slots[i].id != GROUP_NONE;
	     i = (i + 1) & (t->slot_count - 1)) {
		if (t->slots[i].tag != tag)
			continue;
		__builtin_prefetch(groups_at(t, t->slots[i].id), 1);
		return t->slots[i].id;
	}
	return GROUP_NONE;
}

void groups_fetch_around(const struct groups *t, uint32_t id)
{
	const struct group *g = groups_at(t, id);

	if (g->older != GROUP_NONE)
		__builtin_prefetch(groups_at(t, g->older), 1);
	if (g->newer != GROUP_NONE)
		__builtin_prefetch(groups_at(t, g->newer), 1);
	if (g->cap) {
		__builtin_prefetch(g->many + g->head, 1);
		__builtin_prefetch(g->many + g->head + g->count, 1);
	}
}

static void slot_put(struct groups *t, uint32_t id)
{
	const uint64_t *hash = groups_at(t, id)->hash;
	uint32_t i = slot_home(t, hash);

	while (t->slots[i].id != GROUP_NONE)
		i = (i + 1) & (t->slot_count - 1);
	t->slots[i] = (struct group_slot){slot_tag(hash), id};
}

/* At most three quarters full. */
static void slots_reserve(struct groups *t)
{
	uint32_t want = t->slot_count ? t->slot_count : SLOTS_MIN;

	if (t->slot_count && (uint64_t)(t->count + 1) * 4 <= (uint64_t)t->slot_count * 3)
		return;
	if (t->slot_count)
		want *= 2;
	free(t->slots);
	t->slots = table_alloc(want * sizeof(*t->slots));
	memset(t->slots, 0xff, want * sizeof(*t->slots)); /* GROUP_NONE */
	t->slot_count = want;
	for (uint32_t id = t->oldest; id != GROUP_NONE; id = groups_at(t, id)->newer)
		slot_put(t, id);
}

static void slot_remove(struct groups *t, uint32_t id)
{
	uint32_t mask = t->slot_count - 1, hole = slot_home(t, groups_at(t, id)->hash);

	while (t->slots[hole].id != id)
		hole = (hole + 1) & mask;
	/* What stands behind the hole moves into it unless it would come before its home. */
	for (uint32_t i = (hole + 1) & mask; t->slots[i].id != GROUP_NONE; i = (i + 1) & mask) {
		uint32_t home = slot_home(t, groups_at(t, t->slots[i].id)->hash);
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	t->slots[hole].id = GROUP_NONE;
}

/* ---- by last change ---- */

static void unlink_group(struct groups *t, struct group *g)
{
	*(g->older != GROUP_NONE ? &groups_at(t, g->older)->newer : &t->oldest) = g->newer;
	*(g->newer != GROUP_NONE ? &groups_at(t, g->newer)->older : &t->newest) = g->older;
}

static void link_newest(struct groups *t, struct group *g, uint32_t id)
{
	g->older = t->newest;
	g->newer = GROUP_NONE;
	*(t->newest != GROUP_NONE ? &groups_at(t, t->newest)->newer : &t->oldest) = id;
	t->newest = id;
}

void groups_touch(struct groups *t, uint32_t id)
{
	struct group *g = groups_at(t, id);

	if (t->newest == id)
		return;
	groups_fetch_around(t, id);
	unlink_group(t, g);
	link_newest(t, g, id);
}

uint32_t groups_add(struct groups *t, const uint64_t hash[2])
{
	slots_reserve(t);
	uint32_t id = take_id(t);
	struct group *g = groups_at(t, id);
	*g = (struct group){.hash = {hash[0], hash[1]}};
	link_newest(t, g, id);
	slot_put(t, id);
	t->count++;
	t->bytes += GROUP_COST;
	return id;
}

void groups_remove(struct groups *t, uint32_t id)
{
	struct group *g = groups_at(t, id);

	if (g->extra) {
		groups_due_at(t, id, UINT64_MAX);
		t->bytes -= EXTRA_COST + g->extra->kept_size;
	}
	t->bytes -= GROUP_COST + (size_t)g->cap * ENTRY_COST;
	free_contents(g);
	slot_remove(t, id);
	unlink_group(t, g);
	g->newer = t->free;
	t->free = id;
	t->count--;
}

/* ---- loading ---- */

void groups_restore(struct groups *t, uint32_t made)
{
	unsigned chunks = 0;
	uint32_t at;

	if (made)
		chunks = chunk_of(made - 1, &at) + 1;
	for (unsigned chunk = 0; chunk < chunks; chunk++)
		t->chunks[chunk] =
			table_alloc(((size_t)FIRST_CHUNK << chunk) * sizeof(struct group));
	t->made = made;
}

struct group *groups_restore_group(struct groups *t, uint32_t id, const uint64_t hash[2],
                                   uint32_t cap, uint32_t head, uint32_t count)
{
	struct group *g = groups_at(t, id);

	slots_reserve(t);
	*g = (struct group){.hash = {hash[0], hash[1]}, .count = count, .cap = cap};
	if (cap) {
		g->many = xmalloc(cap * sizeof(*g->many));
		g->head = head;
	}
	link_newest(t, g, id);
	slot_put(t, id);
	t->count++;
	t->bytes += GROUP_COST + (size_t)cap * ENTRY_COST;
	return g;
}

void groups_restore_free(struct groups *t, uint32_t id, uint32_t *last)
{
	groups_at(t, id)->newer = GROUP_NONE;
	if (t->free == GROUP_NONE)
		t->free = id;
	else
		groups_at(t, *last)->newer = id;
	*last = id;
}

/* ---- extras ---- */

struct group_extra *groups_extra(struct groups *t, struct group *g)
{
	if (!g->extra) {
		g->extra = xcalloc(1, sizeof(*g->extra));
		t->bytes += EXTRA_COST;
	}
	return g->extra;
}

void groups_keep(struct groups *t, struct group *g, const void *data, size_t size)
{
	struct group_extra *x = groups_extra(t, g);

	if (x->kept_size != size)
		x->kept = xrealloc(x->kept, size);
	memcpy(x->kept, data, size);
	t->bytes += size - x->kept_size;
	x->kept_size = (uint32_t)size;
}

/* ---- by when they are due: a binary heap that knows each group's place ---- */

static bool before(const struct group_due *a, const struct group_due *b)
{
	return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->id < b->id);
}

static void heap_set(struct groups *t, size_t at, struct group_due d)
{
	t->heap[at] = d;
	groups_at(t, d.id)->extra->heap = (uint32_t)at + 1;
}

static void heap_up(struct groups *t, size_t at, struct group_due d)
{
	while (at && before(&d, &t->heap[(at - 1) / 2])) {
		heap_set(t, at, t->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_set(t, at, d);
}

static void heap_down(struct groups *t, size_t at, struct group_due d)
{
	for (size_t child; (child = 2 * at + 1) < t->heap_count; at = child) {
		if (child + 1 < t->heap_count && before(&t->heap[child + 1], &t->heap[child]))
			child++;
		if (!before(&t->heap[child], &d))
			break;
		heap_set(t, at, t->heap[child]);
	}
	heap_set(t, at, d);
}

static void heap_place(struct groups *t, size_t at, struct group_due d)
{
	if (at && before(&d, &t->heap[(at - 1) / 2]))
		heap_up(t, at, d);
	else
		heap_down(t, at, d);
}

static void heap_remove(struct groups *t, size_t at)
{
	struct group_due last = t->heap[--t->heap_count];

	groups_at(t, t->heap[at].id)->extra->heap = 0;
	if (at < t->heap_count)
		heap_place(t, at, last);
}

void groups_due_at(struct groups *t, uint32_t id, uint64_t due_ns)
{
	uint32_t heap = groups_at(t, id)->extra->heap;

	if (due_ns == UINT64_MAX) {
		if (heap)
			heap_remove(t, heap - 1);
		return;
	}
	if (!heap) {
		xgrow(&t->heap, &t->heap_cap, t->heap_count + 1, sizeof(*t->heap));
		heap = (uint32_t)++t->heap_count;
	}
	heap_place(t, heap - 1, (struct group_due){due_ns, id});
}

uint32_t groups_due_first(const struct groups *t, uint64_t *ret_due_ns)
{
	if (!t->heap_count)
		return GROUP_NONE;
	*ret_due_ns = t->heap[0].due_ns;
	return t->heap[0].id;
}

/* ---- windows ---- */

/* Room for one more: the free space before `head` is used before there is more of it. */
static void window_grow(struct groups *t, struct group *g)
{
	if (g->head >= g->cap / 2 && g->cap) {
		memmove(g->many, g->many + g->head, g->count * sizeof(*g->many));
		g->head = 0;
		return;
	}
	uint32_t cap = g->cap ? g->cap * 2 : ENTRIES_MIN;
	struct entry *grown = xmalloc(cap * sizeof(*grown));
	memcpy(grown, group_entries(g), g->count * sizeof(*grown));
	if (g->cap)
		free(g->many);
	t->bytes += (size_t)(cap - g->cap) * ENTRY_COST;
	g->many = grown;
	g->head = 0;
	g->cap = cap;
}

uint32_t group_insert(struct groups *t, struct group *g, const struct entry *e)
{
	uint32_t at = g->count;

	if (g->count == 0 && !g->cap) {
		g->one = *e;
		g->count = 1;
		return 0;
	}
	if (!g->cap || g->head + g->count == g->cap)
		window_grow(t, g);
	struct entry *entries = group_entries(g);
	while (at > 0 && entries[at - 1].time_ns > e->time_ns)
		at--;
	memmove(entries + at + 1, entries + at, (g->count - at) * sizeof(*entries));
	entries[at] = *e;
	g->count++;
	return at;
}

void group_drop_first(struct group *g, uint32_t n)
{
	g->count -= n;
	if (g->cap)
		g->head = g->count ? g->head + n : 0;
}

void group_drop_at(struct group *g, uint32_t at)
{
	struct entry *entries = group_entries(g);

	memmove(entries + at, entries + at + 1, (g->count - at - 1) * sizeof(*entries));
	g->count--;
}

void group_clear(struct groups *t, struct group *g)
{
	t->bytes -= (size_t)g->cap * ENTRY_COST;
	if (g->cap)
		free(g->many);
	g->cap = g->count = 0;
}
