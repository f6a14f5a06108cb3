/* The delimiting of protobuf messages on a stream: round trips, every cut, bad and huge lengths. */
#include <criterion/criterion.h>
#include <errno.h>

#include "api.pb-c.h"
#include "base/wire.h"

static void make_error(struct buf *out, const char *text)
{
	Isod__V1__Error e = ISOD__V1__ERROR__INIT;
	e.code = ISOD__V1__ERROR_CODE__ERROR_NOT_FOUND;
	e.message = (char *)(uintptr_t)text;
	cr_assert_eq(wire_append(out, &e.base), 0);
}

Test(wire, two_messages_come_back_in_order)
{
	struct buf b;
	struct str body;
	size_t used;

	buf_init(&b, 0);
	make_error(&b, "first");
	make_error(&b, "second");
	const char *const want[] = {"first", "second"};
	for (size_t i = 0; i < 2; i++) {
		cr_assert_eq(wire_next(buf_str(&b), 1000, &body, &used), 0);
		Isod__V1__Error *e = isod__v1__error__unpack(NULL, body.n, (const uint8_t *)body.p);
		cr_assert_not_null(e);
		cr_assert_str_eq(e->message, want[i]);
		cr_assert_eq(e->code, ISOD__V1__ERROR_CODE__ERROR_NOT_FOUND);
		isod__v1__error__free_unpacked(e, NULL);
		buf_consume(&b, used);
	}
	cr_assert_eq(b.n, 0);
	cr_assert_eq(wire_next(buf_str(&b), 1000, &body, &used), -EAGAIN);
	buf_release(&b);
}

Test(wire, every_prefix_asks_for_more)
{
	struct buf b;
	struct str body;
	size_t used = 77;

	buf_init(&b, 0);
	char text[300];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	make_error(&b, text); /* a length of two bytes */
	for (size_t n = 0; n < b.n; n++)
		cr_assert_eq(wire_next(str_make(b.p, n), 1000, &body, &used), -EAGAIN);
	cr_assert_eq(used, 77, "outputs are untouched on failure");
	cr_assert_eq(wire_next(buf_str(&b), 1000, &body, &used), 0);
	cr_assert_eq(used, b.n);
	buf_release(&b);
}

Test(wire, an_empty_message_is_one_zero_byte)
{
	Isod__V1__WatchStarted w = ISOD__V1__WATCH_STARTED__INIT;
	struct buf b;
	struct str body;
	size_t used;

	buf_init(&b, 0);
	cr_assert_eq(wire_append(&b, &w.base), 0);
	cr_assert_eq(b.n, 1);
	cr_assert_eq(b.p[0], 0);
	cr_assert_eq(wire_next(buf_str(&b), 0, &body, &used), 0);
	cr_assert_eq(body.n, 0);
	cr_assert_eq(used, 1);
	buf_release(&b);
}

Test(wire, a_length_over_the_limit_is_refused_before_its_bytes_arrive)
{
	struct str body;
	size_t used;

	cr_assert_eq(wire_next(STR("\x64"), 100, &body, &used), -EAGAIN);
	cr_assert_eq(wire_next(STR("\x65"), 100, &body, &used), -EMSGSIZE);
	/* 2^64 - 1: the largest varint */
	cr_assert_eq(wire_next(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), SIZE_MAX - 1, &body,
	                       &used),
	             -EMSGSIZE);
	cr_assert_eq(
		wire_next(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), SIZE_MAX, &body, &used),
		-EAGAIN);
}

Test(wire, what_is_no_varint_is_bad)
{
	struct str body;
	size_t used;

	cr_assert_eq(wire_next(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), 100, &body, &used),
	             -EBADMSG);
	cr_assert_eq(wire_next(STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"), 100, &body, &used),
	             -EBADMSG);
	cr_assert_eq(wire_next(STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80"), 100, &body, &used),
	             -EAGAIN);
	/* Longer than needed but whole: every runtime takes it. */
	cr_assert_eq(wire_next(STR("\x81\x00x"), 100, &body, &used), 0);
	cr_assert_eq(used, 3);
	cr_assert(str_eq(body, STR("x")));
}

Test(wire, nothing_is_added_past_the_cap)
{
	Isod__V1__Error e = ISOD__V1__ERROR__INIT;
	char text[] = "a message of some length";
	struct buf b;

	e.message = text;
	size_t packed = isod__v1__error__get_packed_size(&e);
	buf_init(&b, packed);
	cr_assert_eq(wire_append(&b, &e.base), -ENOBUFS);
	cr_assert_eq(b.n, 0);
	cr_assert_eq(wire_pack(&b, &e.base), 0);
	cr_assert_eq(b.n, packed);
	cr_assert_eq(wire_pack(&b, &e.base), -ENOBUFS);
	cr_assert_eq(b.n, packed);
	buf_release(&b);
}
