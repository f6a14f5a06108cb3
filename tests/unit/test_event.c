/* event/event.h: fields, their order, limits, reuse. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "event/event.h"

static struct event e;

static void setup(void)
{
	event_setup(&e);
}

static void teardown(void)
{
	event_release(&e);
}

TestSuite(event, .init = setup, .fini = teardown);

Test(event, finds_fields_by_exact_name)
{
	cr_assert(event_put(&e, STR("user"), STR("root"), VALUE_STRING));
	cr_assert(event_put_derived(&e, STR("User"), STR("admin"), VALUE_STRING));
	cr_assert(str_eq(event_value(&e, STR("user")), STR("root")));
	cr_assert(str_eq(event_value(&e, STR("User")), STR("admin")));
	cr_assert_null(event_value(&e, STR("use")).p);
	cr_assert_not(event_find(&e, STR("user"))->derived);
	cr_assert(event_find(&e, STR("User"))->derived);
}

Test(event, a_repeated_name_keeps_all_values_in_order)
{
	event_put(&e, STR("a"), STR("1"), VALUE_NUMBER);
	event_put(&e, STR("b"), STR("x"), VALUE_STRING);
	event_put(&e, STR("a"), STR("2"), VALUE_NUMBER);
	const struct field *f = event_find(&e, STR("a"));
	cr_assert(str_eq(f->value, STR("1")));
	f = event_next(&e, f);
	cr_assert(str_eq(f->value, STR("2")));
	cr_assert_null(event_next(&e, f));
}

Test(event, more_fields_than_the_limit_are_left_out_and_told)
{
	static char names[EVENT_FIELDS_MAX][8];

	for (int i = 0; i < EVENT_FIELDS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "f%d", i);
		cr_assert(event_put(&e, str_of(names[i]), str_of(names[i]), VALUE_STRING));
	}
	cr_assert_eq(e.flags, 0);
	cr_assert_not(event_put(&e, STR("one"), STR("more"), VALUE_STRING));
	cr_assert_eq(e.flags, EVENT_INCOMPLETE);
	cr_assert_eq(e.count, EVENT_FIELDS_MAX);
	for (int i = 0; i < EVENT_FIELDS_MAX; i++)
		cr_assert(str_eq(event_value(&e, str_of(names[i])), str_of(names[i])));
}

Test(event, reset_forgets_everything)
{
	event_put(&e, STR("a"), STR("1"), VALUE_NUMBER);
	e.flags = EVENT_NO_TIME;
	e.time_ns = 5;
	event_reset(&e);
	cr_assert_null(event_find(&e, STR("a")));
	cr_assert_eq(e.count, 0);
	cr_assert_eq(e.flags, 0);
	cr_assert_eq(e.time_ns, 0);
	event_put(&e, STR("b"), STR("2"), VALUE_NUMBER);
	cr_assert(str_eq(event_value(&e, STR("b")), STR("2")));
}

Test(event, rollback_takes_back_the_last_fields_only)
{
	event_put(&e, STR("a"), STR("1"), VALUE_NUMBER);
	event_put(&e, STR("a"), STR("2"), VALUE_NUMBER);
	event_put(&e, STR("b"), STR("3"), VALUE_NUMBER);
	event_rollback(&e, 1);
	cr_assert_eq(e.count, 1);
	cr_assert_null(event_next(&e, event_find(&e, STR("a"))));
	cr_assert_null(event_find(&e, STR("b")));
	event_put(&e, STR("a"), STR("4"), VALUE_NUMBER);
	cr_assert(str_eq(event_next(&e, event_find(&e, STR("a")))->value, STR("4")));
}

Test(event, the_hash_depends_on_every_byte)
{
	const char *name = "Event.EventData.CommandLine";
	char copy[64];

	snprintf(copy, sizeof(copy), "%s", name);
	for (size_t i = 0; name[i]; i++) {
		copy[i] ^= 1;
		cr_assert_neq(event_name_hash(str_of(copy)), event_name_hash(str_of(name)));
		copy[i] ^= 1;
	}
	cr_assert_neq(event_name_hash(STR("a")), event_name_hash(str_make("a\0", 2)));
}

Test(event, json_keeps_types_and_order)
{
	struct buf out;

	buf_init(&out, 0);
	event_put(&e, STR("s"), STR("a\"b"), VALUE_STRING);
	event_put(&e, STR("n"), STR("-1.5e3"), VALUE_NUMBER);
	event_put(&e, STR("n"), STR("007"), VALUE_NUMBER);
	event_put(&e, STR("b"), STR("true"), VALUE_BOOL);
	event_put(&e, STR("z"), STR(""), VALUE_NULL);
	cr_assert_eq(event_to_json(&e, &out), 0);
	cr_assert_str_eq(buf_cstr(&out),
	                 "{\"s\":\"a\\\"b\",\"n\":-1.5e3,\"n\":\"007\",\"b\":true,\"z\":null}");
	buf_release(&out);
}

Test(event, json_respects_the_cap_of_its_buffer)
{
	struct buf out;

	buf_init(&out, 8);
	event_put(&e, STR("name"), STR("value"), VALUE_STRING);
	cr_assert_lt(event_to_json(&e, &out), 0);
	buf_release(&out);
}
