/* Many needles at once find exactly what one after the other would. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdlib.h>

#include "event/needles.h"

static bool is_in(struct str text, struct str needle)
{
	for (size_t i = 0; i + needle.n <= text.n; i++)
		if (str_ieq(str_make(text.p + i, needle.n), needle))
			return true;
	return false;
}

static void note(void *arg, size_t number)
{
	bool *found = arg;

	found[number] = true;
}

Test(needles, random_texts_as_one_by_one)
{
	static const char alphabet[] = "aA%e";
	char texts[40][12], text[70];
	size_t hits = 0;

	srand(7);
	for (int round = 0; round < 3000; round++) {
		struct needles n = {0};
		size_t count = (size_t)(rand() % 40) + 1;
		size_t shortest = NEEDLE_MIN + (size_t)(rand() % 5);
		for (size_t i = 0; i < count; i++) {
			size_t size = shortest + (size_t)(rand() % 4);
			for (size_t j = 0; j < size; j++)
				texts[i][j] = alphabet[rand() % 4];
			cr_assert_eq(needles_add(&n, str_make(texts[i], size)), i);
		}
		needles_build(&n);
		for (int again = 0; again < 5; again++) {
			bool found[40] = {false};
			size_t size = (size_t)(rand() % 70);
			for (size_t j = 0; j < size; j++)
				text[j] = alphabet[rand() % 4];
			needles_find(&n, str_make(text, size), note, found);
			for (size_t i = 0; i < count; i++) {
				bool want = is_in(str_make(text, size), n.texts[i]);
				cr_assert_eq(found[i], want);
				hits += want;
			}
		}
		needles_release(&n);
	}
	cr_assert_gt(hits, 1000);
}

Test(needles, at_the_very_beginning_and_end_in_any_case)
{
	struct needles n = {0};
	bool found[2] = {false, false};

	needles_add(&n, STR("%SYS-"));
	needles_add(&n, STR("failed to unmarshal session("));
	needles_build(&n);
	needles_find(&n, STR("%sys-5: FAILED to unmarshal session("), note, found);
	cr_assert(found[0] && found[1]);
	needles_release(&n);
}

Test(needles, none_and_short_texts_find_nothing)
{
	struct needles n = {0};
	bool found[1] = {false};

	needles_build(&n);
	needles_find(&n, STR("anything"), note, found);
	needles_add(&n, STR("four"));
	needles_build(&n);
	needles_find(&n, STR("fou"), note, found);
	needles_find(&n, STR_NONE, note, found);
	cr_assert_not(found[0]);
	needles_release(&n);
}
