/* The arena: alignment, contents that stay, blocks kept over a reset, the limit. */
#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"

Test(arena, pieces_are_aligned_and_do_not_overlap)
{
	struct arena a;
	unsigned char *p[500];

	arena_init(&a, 0);
	for (size_t i = 0; i < 500; i++) {
		p[i] = arena_alloc(&a, i);
		cr_assert_not_null(p[i]);
		cr_assert_eq((uintptr_t)p[i] % alignof(max_align_t), 0);
		memset(p[i], (int)(i & 255), i);
	}
	for (size_t i = 0; i < 500; i++)
		for (size_t j = 0; j < i; j++)
			cr_assert_eq(p[i][j], i & 255);
	arena_release(&a);
}

Test(arena, nothing_more_is_held_after_a_reset)
{
	struct arena a;

	arena_init(&a, 0);
	for (int i = 0; i < 200; i++)
		cr_assert_not_null(arena_alloc(&a, (size_t)i * 17));
	size_t held = a.held;
	for (int round = 0; round < 3; round++) {
		arena_reset(&a);
		for (int i = 0; i < 200; i++)
			cr_assert_not_null(arena_alloc(&a, (size_t)i * 17));
		cr_assert_eq(a.held, held);
	}
	arena_release(&a);
	cr_assert_eq(a.held, 0);
}

Test(arena, a_large_piece_gets_a_block_of_its_own)
{
	struct arena a;

	arena_init(&a, 0);
	char *small = arena_strdup(&a, STR("small"));
	char *large = arena_alloc(&a, 1 << 20);
	cr_assert_not_null(large);
	memset(large, 'x', 1 << 20);
	cr_assert_str_eq(small, "small");
	arena_reset(&a);
	cr_assert_not_null(arena_alloc(&a, 1 << 20));
	cr_assert_lt(a.held, (size_t)(1 << 20) + 70000, "the large block is used again");
	arena_release(&a);
}

Test(arena, the_limit_is_kept_and_used_up)
{
	struct arena a;
	size_t got = 0;

	arena_init(&a, 100000);
	while (arena_alloc(&a, 1000))
		got++;
	cr_assert_geq(got, 90, "most of the limit can be used");
	cr_assert_leq(a.held, 100000);
	cr_assert_null(arena_strdup(&a, str_make((char[2000]){0}, 2000)));
	cr_assert_null(arena_str(&a, str_make((char[2000]){0}, 2000)).p);
	arena_reset(&a);
	cr_assert_not_null(arena_alloc(&a, 1000));
	arena_release(&a);

	arena_init(&a, 100); /* less than a block */
	cr_assert_not_null(arena_alloc(&a, 64));
	cr_assert_null(arena_alloc(&a, 64));
	arena_release(&a);
}

Test(arena, sizes_that_overflow_give_null)
{
	struct arena a;

	arena_init(&a, 1000);
	cr_assert_null(arena_alloc(&a, SIZE_MAX));
	cr_assert_null(arena_alloc(&a, SIZE_MAX - 8));
	cr_assert_null(arena_alloc(&a, SIZE_MAX / 2));
	cr_assert_not_null(arena_alloc(&a, 0));
	arena_release(&a);
}

Test(arena, copies_are_terminated)
{
	struct arena a;

	arena_init(&a, 0);
	struct str s = arena_str(&a, STR("a\0b"));
	cr_assert(str_eq(s, STR("a\0b")));
	cr_assert_eq(s.p[3], '\0');
	cr_assert_str_eq(arena_strdup(&a, STR_NONE), "");
	arena_release(&a);
}
