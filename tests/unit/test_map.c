/* The ordered hash map: order of insertion, removal (also during a walk), many keys, keys that share slots; a long random
 * run against a naive list. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"

static void *number(size_t n)
{
	return (void *)(uintptr_t)(n + 1);
}

static struct str name(size_t n, char out[static 32])
{
	return str_make(out, (size_t)snprintf(out, 32, "key-%zu", n));
}

Test(map, put_get_replace_remove)
{
	struct map m;
	char key[] = "abc";

	map_init(&m);
	cr_assert_null(map_get(&m, STR("abc")));
	cr_assert_null(map_remove(&m, STR("abc")));
	cr_assert_null(map_put(&m, str_of(key), number(1)));
	key[0] = 'x'; /* the map keeps a copy */
	cr_assert_eq(map_get(&m, STR("abc")), number(1));
	cr_assert_eq(map_put(&m, STR("abc"), number(2)), number(1));
	cr_assert_eq(m.count, 1);
	cr_assert_eq(map_remove(&m, STR("abc")), number(2));
	cr_assert_null(map_get(&m, STR("abc")));
	cr_assert_eq(m.count, 0);
	map_release(&m, NULL);
	cr_assert_null(map_get(&m, STR("abc")));
	map_release(&m, NULL);
}

Test(map, keys_are_bytes)
{
	struct map m;

	map_init(&m);
	map_put(&m, STR(""), number(0));
	map_put(&m, STR("\0"), number(1));
	map_put(&m, STR("\0\0"), number(2));
	map_put(&m, STR("a\0b"), number(3));
	map_put(&m, STR("a\0c"), number(4));
	map_put(&m, STR("12345678"), number(5));
	map_put(&m, STR("12345678\0"), number(6));
	cr_assert_eq(m.count, 7);
	cr_assert_eq(map_get(&m, STR_NONE), number(0));
	cr_assert_eq(map_get(&m, STR("\0")), number(1));
	cr_assert_eq(map_get(&m, STR("\0\0")), number(2));
	cr_assert_eq(map_get(&m, STR("a\0b")), number(3));
	cr_assert_eq(map_get(&m, STR("a\0c")), number(4));
	cr_assert_eq(map_get(&m, STR("12345678")), number(5));
	cr_assert_eq(map_get(&m, STR("12345678\0")), number(6));
	map_release(&m, NULL);
}

Test(map, a_walk_follows_insertion_also_after_growth_and_removal)
{
	struct map m;
	char key[32];

	map_init(&m);
	for (size_t i = 0; i < 10000; i++)
		map_put(&m, name(i, key), number(i));
	for (size_t i = 0; i < 10000; i += 3)
		cr_assert_eq(map_remove(&m, name(i, key)), number(i));
	for (size_t i = 0; i < 10000; i += 3) /* come back at the end */
		map_put(&m, name(i, key), number(i));
	for (size_t i = 1; i < 10000; i += 3) /* a replaced value keeps its place */
		map_put(&m, name(i, key), number(i + 50000));

	const struct map_entry *e;
	size_t at = 0, seen = 0, last = 0;
	while ((e = map_next(&m, &at)) && seen < 6666) {
		size_t value = (uintptr_t)e->value - 1;
		size_t original = value >= 50000 ? value - 50000 : value;
		cr_assert_neq(original % 3, 0);
		cr_assert(seen == 0 || original > last);
		last = original;
		seen++;
	}
	cr_assert_eq(m.count, 10000);
	map_release(&m, NULL);
}

Test(map, the_current_entry_may_be_removed_during_a_walk)
{
	struct map m;
	char key[32];
	const struct map_entry *e;
	size_t at = 0, seen = 0;

	map_init(&m);
	for (size_t i = 0; i < 1000; i++)
		map_put(&m, name(i, key), number(i));
	while ((e = map_next(&m, &at))) {
		cr_assert_eq(e->value, number(seen));
		if (seen % 2 == 0)
			cr_assert_eq(map_remove(&m, e->key), number(seen));
		seen++;
	}
	cr_assert_eq(seen, 1000);
	cr_assert_eq(m.count, 500);
	for (size_t i = 0; i < 1000; i++)
		cr_assert_eq(map_get(&m, name(i, key)), i % 2 ? number(i) : NULL);
	map_release(&m, NULL);
}

Test(map, coming_and_going_does_not_grow_it)
{
	struct map m;
	char key[32];

	map_init(&m);
	for (size_t i = 0; i < 100000; i++) {
		map_put(&m, name(i, key), number(i));
		if (i >= 10)
			cr_assert_eq(map_remove(&m, name(i - 10, key)), number(i - 10));
	}
	cr_assert_eq(m.count, 10);
	cr_assert_leq(m.index_size, 256);
	map_release(&m, NULL);
}

Test(map, keys_that_share_a_slot_are_told_apart)
{
	struct map m;
	char key[32], shared[64][32];
	size_t found = 0;

	map_init(&m);
	/* All in one slot of the smallest index, and in few of the larger ones. */
	for (size_t i = 0; found < 64; i++)
		if ((map_hash(m.seed, name(i, key)) & 255) == 3)
			memcpy(shared[found++], key, sizeof(key));
	for (size_t i = 0; i < 64; i++)
		map_put(&m, str_of(shared[i]), number(i));
	for (size_t i = 0; i < 64; i += 2)
		cr_assert_eq(map_remove(&m, str_of(shared[i])), number(i));
	for (size_t i = 0; i < 64; i++)
		cr_assert_eq(map_get(&m, str_of(shared[i])), i % 2 ? number(i) : NULL);
	map_release(&m, NULL);
}

Test(map, a_random_run_agrees_with_a_naive_list)
{
	struct map m;
	void *naive[300] = {0};
	char key[32];
	unsigned random = 1;
	size_t count = 0;

	map_init(&m);
	for (size_t step = 0; step < 200000; step++) {
		random = random * 1103515245u + 12345u;
		size_t i = (random >> 8) % 300;
		struct str k = name(i, key);
		if (random >> 30 == 0) {
			count -= naive[i] != NULL;
			cr_assert_eq(map_remove(&m, k), naive[i]);
			naive[i] = NULL;
		} else if (random >> 30 == 1) {
			count += naive[i] == NULL;
			cr_assert_eq(map_put(&m, k, number(step)), naive[i]);
			naive[i] = number(step);
		} else {
			cr_assert_eq(map_get(&m, k), naive[i]);
		}
		cr_assert_eq(m.count, count);
	}
	map_release(&m, NULL);
}

Test(map, release_hands_back_every_value_in_order)
{
	struct map m;

	map_init(&m);
	map_put(&m, STR("a"), malloc(10)); /* the leak checker counts them */
	map_put(&m, STR("b"), malloc(10));
	free(map_remove(&m, STR("a")));
	map_release(&m, free);
	cr_assert_eq(m.count, 0);
}

Test(map, seeds_differ_and_change_the_hash)
{
	uint64_t a = map_seed(), b = map_seed();

	cr_assert_neq(a, b);
	cr_assert_neq(map_hash(a, STR("key")), map_hash(b, STR("key")));
	cr_assert_eq(map_hash(a, STR("key")), map_hash(a, STR("key")));
}

Test(map, a_pair_of_hashes_is_that_of_each_alone)
{
	static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz";

	for (size_t n = 0; n < sizeof(text); n++) {
		uint64_t hash[2] = {map_seed(), map_seed()};
		uint64_t a = map_hash(hash[0], str_make(text, n)),
			 b = map_hash(hash[1], str_make(text, n));
		map_hash_pair(hash, str_make(text, n));
		cr_assert_eq(hash[0], a, "%zu bytes", n);
		cr_assert_eq(hash[1], b, "%zu bytes", n);
	}
}
