/* The capped buffer. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>

#include "base/buf.h"

Test(buf, parts_are_appended)
{
	struct buf b;

	buf_init(&b, 0);
	cr_assert_str_eq(buf_cstr(&b), "", "empty is a string too");
	cr_assert_eq(buf_append(&b, "ab", 2), 0);
	cr_assert_eq(buf_add(&b, STR("cd")), 0);
	cr_assert_eq(buf_add(&b, STR_NONE), 0);
	cr_assert_eq(buf_putc(&b, 'e'), 0);
	cr_assert_eq(buf_printf(&b, "-%d-%s", 7, "x"), 0);
	cr_assert_str_eq(buf_cstr(&b), "abcde-7-x");
	cr_assert_eq(b.n, 9, "the terminator is not counted");
	buf_reset(&b);
	cr_assert_str_eq(buf_cstr(&b), "");
	buf_release(&b);
	buf_release(&b);
}

Test(buf, the_cap_holds_and_a_refused_part_leaves_nothing)
{
	struct buf b;

	buf_init(&b, 5);
	cr_assert_eq(buf_append(&b, "abc", 3), 0);
	cr_assert_eq(buf_append(&b, "def", 3), -ENOBUFS);
	cr_assert_eq(buf_printf(&b, "%d", 1234), -ENOBUFS);
	cr_assert_str_eq(buf_cstr(&b), "abc");
	cr_assert_eq(buf_append(&b, "de", 2), 0);
	cr_assert_eq(buf_putc(&b, 'f'), -ENOBUFS);
	cr_assert_eq(buf_reserve(&b, 1), -ENOBUFS);
	cr_assert_eq(buf_reserve(&b, 0), 0);
	cr_assert_eq(buf_reserve(&b, SIZE_MAX), -ENOBUFS, "no overflow");
	cr_assert_str_eq(buf_cstr(&b), "abcde");
	buf_release(&b);
	cr_assert_eq(buf_append(&b, "abcdef", 6), -ENOBUFS, "the cap outlives a release");
}

Test(buf, consume_takes_off_the_front)
{
	struct buf b;

	buf_init(&b, 0);
	buf_consume(&b, 3);
	buf_add(&b, STR("abcdef"));
	buf_consume(&b, 2);
	cr_assert_str_eq(buf_cstr(&b), "cdef");
	buf_consume(&b, 0);
	cr_assert_str_eq(buf_cstr(&b), "cdef");
	buf_consume(&b, 99);
	cr_assert_eq(b.n, 0);
	buf_release(&b);
}

Test(buf, reserved_room_can_be_written)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < 2000; i++) {
		cr_assert_eq(buf_reserve(&b, i), 0);
		memset(b.p + b.n, 'x', i);
		b.n += i;
		cr_assert_eq(strlen(buf_cstr(&b)), b.n, "the terminator has room");
	}
	buf_release(&b);
}
