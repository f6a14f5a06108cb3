/* Growing arrays and the copies; running out of memory ends the process with a message. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"

Test(mem, an_array_grows_and_keeps_its_items)
{
	uint64_t *items = NULL;
	size_t cap = 0;

	for (uint64_t i = 0; i < 1000; i++) {
		xgrow(&items, &cap, i + 1, sizeof(*items));
		cr_assert_geq(cap, i + 1);
		items[i] = i;
	}
	cr_assert_leq(cap, 1024, "doubles, no more");
	for (uint64_t i = 0; i < 1000; i++)
		cr_assert_eq(items[i], i);
	uint64_t *before = items;
	xgrow(&items, &cap, 10, sizeof(*items));
	cr_assert_eq(items, before, "large enough already");
	free(items);
}

Test(mem, a_size_that_no_memory_holds_ends_the_process, .signal = SIGABRT)
{
	char *p = NULL;
	size_t cap = 0;

	xgrow(&p, &cap, SIZE_MAX - 10, 1);
}

Test(mem, a_product_that_overflows_ends_the_process, .signal = SIGABRT)
{
	uint64_t *p = NULL;
	size_t cap = 0;

	xgrow(&p, &cap, SIZE_MAX / 16 + 1, sizeof(*p));
}

Test(mem, size_zero_gives_memory)
{
	void *a = xmalloc(0), *b = xcalloc(0, 8), *c = xrealloc(NULL, 0);

	cr_assert_not_null(a);
	cr_assert_not_null(b);
	cr_assert_not_null(c);
	free(a);
	free(b);
	free(c);
}

Test(mem, copies_and_formats)
{
	char *a = xstrdup("abc"), *b = xstrndup("abcdef", 2), *c = xasprintf("%s-%d", "x", 7);

	cr_assert_str_eq(a, "abc");
	cr_assert_str_eq(b, "ab");
	cr_assert_str_eq(c, "x-7");
	free(a);
	free(b);
	free(c);
}
