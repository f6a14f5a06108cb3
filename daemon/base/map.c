#include "base/map.h"

#include <endian.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/mem.h"

#define INDEX_MIN  16
#define SLOT_EMPTY 0u
#define SLOT_GONE  UINT32_MAX

uint64_t map_seed(void)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		abort(); /* the kernel's pool cannot fail for 8 bytes once it is seeded (getrandom(2)) */
	return seed;
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The multiply-and-fold construction of wyhash, 8 bytes a step, keyed by the seed. */
#define HASH_BEGIN 0xa0761d6478bd642fULL
#define HASH_STEP  0xe7037ed1a0b428dbULL

/* Up to 8 bytes as a number, the same on every machine. */
static inline uint64_t word_at(const char *p, size_t n)
{
	uint64_t word = 0;

	if (n)
		memcpy(&word, p, n);
	return le64toh(word);
}

uint64_t map_hash(uint64_t seed, struct str key)
{
	uint64_t h = seed ^ HASH_BEGIN, word;
	size_t n = key.n;
	const char *p = key.p;

	for (; n >= 8; p += 8, n -= 8) {
		word = word_at(p, 8);
		h = mix(h ^ word, HASH_STEP);
	}
	word = word_at(p, n);
	h = mix(h ^ word, HASH_STEP ^ key.n);
	return mix(h, HASH_BEGIN);
}

void map_hash_pair(uint64_t hash[2], struct str key)
{
	uint64_t a = hash[0] ^ HASH_BEGIN, b = hash[1] ^ HASH_BEGIN, word;
	size_t n = key.n;
	const char *p = key.p;

	for (; n >= 8; p += 8, n -= 8) {
		word = word_at(p, 8);
		a = mix(a ^ word, HASH_STEP);
		b = mix(b ^ word, HASH_STEP);
	}
	word = word_at(p, n);
	hash[0] = mix(mix(a ^ word, HASH_STEP ^ key.n), HASH_BEGIN);
	hash[1] = mix(mix(b ^ word, HASH_STEP ^ key.n), HASH_BEGIN);
}

void map_init_seed(struct map *m, uint64_t seed)
{
	*m = (struct map){.seed = seed};
}

void map_init(struct map *m)
{
	map_init_seed(m, map_seed());
}

static void free_entries(struct map *m, void (*free_value)(void *))
{
	for (size_t i = 0; i < m->used; i++) {
		if (!m->entries[i].key.p)
			continue;
		free((char *)(uintptr_t)m->entries[i].key.p);
		if (free_value)
			free_value(m->entries[i].value);
	}
}

void map_release(struct map *m, void (*free_value)(void *))
{
	free_entries(m, free_value);
	free(m->entries);
	free(m->index);
	map_init_seed(m, m->seed);
}

void map_clear(struct map *m, void (*free_value)(void *))
{
	free_entries(m, free_value);
	m->used = m->count = 0;
	if (m->index_size)
		memset(m->index, 0, m->index_size * sizeof(*m->index));
}

static inline uint32_t tag_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

/* The slot that holds `key`, or -1. */
static ptrdiff_t map_slot(const struct map *m, struct str key, uint64_t hash)
{
	if (!m->index_size)
		return -1;
	for (size_t i = hash & (m->index_size - 1);; i = (i + 1) & (m->index_size - 1)) {
		struct map_slot slot = m->index[i];
		if (slot.at == SLOT_EMPTY)
			return -1;
		if (slot.tag != tag_of(hash) || slot.at == SLOT_GONE)
			continue;
		const struct map_entry *e = &m->entries[slot.at - 1];
		if (e->hash == hash && str_eq(e->key, key))
			return (ptrdiff_t)i;
	}
}

void map_fetch_slot(const struct map *m, uint64_t hash)
{
	if (m->index_size)
		__builtin_prefetch(&m->index[hash & (m->index_size - 1)]);
}

const struct map_entry *map_fetch_entry(const struct map *m, uint64_t hash)
{
	if (!m->index_size)
		return NULL;
	for (size_t i = hash & (m->index_size - 1); m->index[i].at != SLOT_EMPTY;
	     i = (i + 1) & (m->index_size - 1)) {
		struct map_slot slot = m->index[i];
		if (slot.tag != tag_of(hash) || slot.at == SLOT_GONE)
			continue;
		__builtin_prefetch(&m->entries[slot.at - 1]);
		return &m->entries[slot.at - 1];
	}
	return NULL;
}

static void map_link(struct map *m, uint64_t hash, size_t position)
{
	size_t i = hash & (m->index_size - 1);

	while (m->index[i].at != SLOT_EMPTY && m->index[i].at != SLOT_GONE)
		i = (i + 1) & (m->index_size - 1);
	m->index[i] = (struct map_slot){tag_of(hash), (uint32_t)(position + 1)};
}

/* Squeezes removed entries out (order kept) and builds an index that is at most half full. */
static void map_rebuild(struct map *m)
{
	size_t size = INDEX_MIN, kept = 0;

	for (size_t i = 0; i < m->used; i++)
		if (m->entries[i].key.p)
			m->entries[kept++] = m->entries[i];
	m->used = kept;
	while (size < (m->count + 1) * 4)
		size *= 2;
	free(m->index);
	m->index = xcalloc(size, sizeof(*m->index));
	m->index_size = size;
	for (size_t i = 0; i < m->used; i++)
		map_link(m, m->entries[i].hash, i);
}

void *map_get_at(const struct map *m, struct str key, uint64_t hash)
{
	ptrdiff_t i = map_slot(m, key, hash);
	return i < 0 ? NULL : m->entries[m->index[i].at - 1].value;
}

void *map_get(const struct map *m, struct str key)
{
	return map_get_at(m, key, map_hash(m->seed, key));
}

void *map_put_at(struct map *m, struct str key, uint64_t hash, void *value)
{
	ptrdiff_t i = map_slot(m, key, hash);

	if (i >= 0) {
		struct map_entry *e = &m->entries[m->index[i].at - 1];
		void *old = e->value;
		e->value = value;
		return old;
	}
	if ((m->used + 1) * 2 > m->index_size)
		map_rebuild(m);
	xgrow(&m->entries, &m->cap, m->used + 1, sizeof(*m->entries));
	m->entries[m->used] = (struct map_entry){
		.key = {xstrndup(key.n ? key.p : "", key.n), key.n}, .hash = hash, .value = value};
	map_link(m, hash, m->used);
	m->used++;
	m->count++;
	return NULL;
}

void *map_put(struct map *m, struct str key, void *value)
{
	return map_put_at(m, key, map_hash(m->seed, key), value);
}

void *map_remove(struct map *m, struct str key)
{
	ptrdiff_t i = map_slot(m, key, map_hash(m->seed, key));

	if (i < 0)
		return NULL;
	struct map_entry *e = &m->entries[m->index[i].at - 1];
	void *old = e->value;
	free((char *)(uintptr_t)e->key.p);
	*e = (struct map_entry){0};
	m->index[i].at = SLOT_GONE;
	m->count--;
	return old;
}

const struct map_entry *map_next(const struct map *m, size_t *at)
{
	while (*at < m->used) {
		const struct map_entry *e = &m->entries[(*at)++];
		if (e->key.p)
			return e;
	}
	return NULL;
}
