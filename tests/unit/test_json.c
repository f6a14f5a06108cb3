/* event/json.h through the real decoder: what JSON becomes, and what is no JSON. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "event/decode.h"

static struct event e;
static struct decoder *d;

static void setup(void)
{
	event_setup(&e);
	d = decoder_new(NULL);
}

static void teardown(void)
{
	decoder_free(d);
	event_release(&e);
}

TestSuite(json, .init = setup, .fini = teardown);

static void decode(struct str frame)
{
	event_reset(&e);
	e.received_ns = UINT64_C(1790000000) * NS_PER_SECOND;
	event_decode(d, &e, frame);
}

/* All fields as JSON text, derived ones included. */
static char *fields(const char *frame)
{
	static char text[65536];
	struct buf out;

	decode(str_of(frame));
	buf_init(&out, 0);
	cr_assert_eq(event_to_json(&e, &out), 0);
	snprintf(text, sizeof(text), "%s", buf_cstr(&out));
	buf_release(&out);
	return text;
}

static void assert_not_json(struct str frame)
{
	decode(frame);
	cr_assert(e.flags & EVENT_UNDECODED, "decoded: %.*s", STR_FMT(frame));
	cr_assert_eq(e.count, 1);
	cr_assert(str_eq(event_value(&e, STR("message")), frame));
}

Test(json, nested_objects_flatten_with_dots)
{
	cr_assert_str_eq(fields("{\"a\":{\"b\":{\"c\":1}},\"d.e\":\"x\"}"),
	                 "{\"a.b.c\":1,\"d.e\":\"x\"}");
	cr_assert_str_eq(e.decoder, "json");
	cr_assert_eq(e.flags, EVENT_NO_TIME | EVENT_JSON);
}

Test(json, arrays_become_repeated_fields)
{
	cr_assert_str_eq(fields(" {\"a\":[\"x\",2,[3,null]],\"b\":[{\"c\":1},{\"c\":2,\"d\":3}],"
	                        "\"e\":[]}\n"),
	                 "{\"a\":\"x\",\"a\":2,\"a\":3,\"a\":null,\"b.c\":1,\"b.c\":2,\"b.d\":3}");
	cr_assert_str_eq(fields("[{\"a\":1},{\"a\":2}]"), "{\"a\":1,\"a\":2}");
}

Test(json, scalars_keep_type_and_text)
{
	cr_assert_str_eq(
		fields("{\"i\":12345678901234567890123,\"f\":1.50e+3,\"t\":true,\"f\":false,\"n\":"
	               "null}"),
		"{\"i\":12345678901234567890123,\"f\":1.50e+3,\"t\":true,\"f\":false,\"n\":null}");
	cr_assert_eq(event_find(&e, STR("i"))->type, VALUE_NUMBER);
	cr_assert_eq(event_find(&e, STR("t"))->type, VALUE_BOOL);
	cr_assert_eq(event_find(&e, STR("n"))->type, VALUE_NULL);
	cr_assert_eq(event_find(&e, STR("n"))->value.n, 0);
}

Test(json, escapes_are_undone_in_names_and_values)
{
	decode(STR("{\"a\\u0062\":\"\\\"\\\\\\/"
	           "\\b\\f\\n\\r\\t\\u00e9\\u20ac\\ud83d\\ude00\\u0000.\"}"));
	cr_assert(str_eq(event_value(&e, STR("ab")),
	                 STR("\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\0.")));
	cr_assert_not(e.flags & EVENT_BAD_UTF8);
	decode(STR("{\"o\":{\"a\\\"b\":{\"\\\\\":1}}}"));
	cr_assert(str_eq(event_value(&e, STR("o.a\"b.\\")), STR("1")));
}

Test(json, lone_surrogates_are_replaced_and_told)
{
	static const struct str frames[] = {
		STR("{\"a\":\"\\ud800\"}"),
		STR("{\"a\":\"\\udc00\"}"),
	};
	for (size_t i = 0; i < 2; i++) {
		decode(frames[i]);
		cr_assert(str_eq(event_value(&e, STR("a")), STR("\xef\xbf\xbd")));
		cr_assert(e.flags & EVENT_BAD_UTF8);
	}
	decode(STR("{\"a\":\"\\ud800\\u0041\"}"));
	cr_assert(str_eq(event_value(&e, STR("a")), STR("\xef\xbf\xbd"
	                                                "A")));
}

Test(json, values_without_escapes_are_slices_of_the_frame)
{
	struct str frame = STR("  {\"name\":\"value\", \"n\": 17 }");
	decode(frame);
	const struct field *f = event_find(&e, STR("name"));
	cr_assert(f->value.p == frame.p + 11);
	cr_assert(f->name.p == frame.p + 4);
	cr_assert(event_find(&e, STR("n"))->value.p > frame.p &&
	          event_find(&e, STR("n"))->value.p < frame.p + frame.n);
}

Test(json, what_is_deeper_than_the_limit_stays_as_text)
{
	char frame[1024];
	size_t n = 0;

	for (int i = 0; i < EVENT_DEPTH_MAX + 5; i++)
		n += (size_t)snprintf(frame + n, sizeof(frame) - n, "{\"k\":");
	n += (size_t)snprintf(frame + n, sizeof(frame) - n, "[1, 2]");
	for (int i = 0; i < EVENT_DEPTH_MAX + 5; i++)
		frame[n++] = '}';
	decode(str_make(frame, n));
	cr_assert_eq(e.count, 1);
	cr_assert_eq(e.flags, EVENT_INCOMPLETE | EVENT_NO_TIME | EVENT_JSON);
	cr_assert(str_eq(e.fields[0].value, STR("{\"k\":{\"k\":{\"k\":{\"k\":{\"k\":[1, 2]}}}}}")),
	          "%.*s", STR_FMT(e.fields[0].value));
}

Test(json, broken_json_stays_raw)
{
	static const struct str frames[] = {
		STR("{"),
		STR("}"),
		STR("{}x"),
		STR("{\"a\":1}{\"b\":2}"),
		STR("{\"a\":1"),
		STR("{\"a\"}"),
		STR("{\"a\":}"),
		STR("{\"a\":1,}"),
		STR("{\"a\":01}"),
		STR("{\"a\":1x}"),
		STR("{\"a\":tru}"),
		STR("{\"a\":nullx}"),
		STR("{\"a\":\"\\q\"}"),
		STR("{\"a\":\"\\u12g4\"}"),
		STR("{\"a\":\"x}"),
		STR("{\"a\":[1,2}"),
		STR("{\"a\":[1 2]}"),
		STR("{\"a\":{\"b\":1}"),
		STR("{\"a\":1 \"b\":2}"),
		STR("{a:1}"),
		STR("{'a':1}"),
		STR("{\"a\":\"\x01\"}"),
		STR("{\"a\":\"\xff\"}"),
		STR("{\"a\":1}}"),
		STR("[{\"a\":1}"),
		STR("[1,2]"),
		STR("{\"a\":1,\"b\":{\"c\":2,]}"),
		STR("{\"a\":\"C:\\Windows\"}"),
		STR("{\"a\":+1}"),
		STR("{\"a\":.5}"),
		STR("{\"a\":1.}"),
		STR("{\"a\":\"x\"\"y\"}"),
		STR("{\"a\":-}"),
		STR("{\"a\":1}\0{"),
		STR("{\"\\q\":1}"),
		STR("{\"a\":\"b\"c}"),
		STR("{,}"),
		STR("{\"a\":,}"),
		STR("[{},]"),
		STR("{\"a\":[,]}"),
	};
	for (size_t i = 0; i < sizeof(frames) / sizeof(*frames); i++)
		assert_not_json(frames[i]);
}

Test(json, an_empty_object_is_json)
{
	decode(STR("{}"));
	cr_assert_eq(e.count, 0);
	cr_assert_str_eq(e.decoder, "json");
}

Test(json, named_data_is_there_under_its_name)
{
	decode(STR("{\"Event\":{\"EventData\":{\"Data\":[{\"@Name\":\"Image\",\"#text\":\"C:\\\\a."
	           "exe\"},"
	           "{\"@Name\":\"Empty\"},{\"#attributes\":{\"Name\":\"Pid\"},\"#text\":7}]}}}"));
	cr_assert(str_eq(event_value(&e, STR("Event.EventData.Image")), STR("C:\\a.exe")));
	cr_assert(event_find(&e, STR("Event.EventData.Image"))->derived);
	cr_assert(str_eq(event_value(&e, STR("Event.EventData.Pid")), STR("7")));
	cr_assert_eq(event_find(&e, STR("Event.EventData.Pid"))->type, VALUE_NUMBER);
	cr_assert(str_eq(event_value(&e, STR("Event.EventData.Data.@Name")), STR("Image")));
	const struct field *f = event_find(&e, STR("Event.EventData.Empty"));
	cr_assert(f && f->value.n == 0);
	decode(STR("{\"Data\":{\"Name\":\"x\",\"text\":\"y\"}}"));
	cr_assert(str_eq(event_value(&e, STR("x")), STR("y")));
	decode(STR("{\"EventData\":{\"Data\":[\"a\",\"b\"]}}"));
	cr_assert(str_eq(event_value(&e, STR("EventData.Data")), STR("a")));
	cr_assert(str_eq(event_next(&e, event_find(&e, STR("EventData.Data")))->value, STR("b")));
}

static void assert_time(const char *frame, uint64_t ns)
{
	decode(str_of(frame));
	cr_assert_eq(e.time_ns, ns, "%s: %llu", frame, (unsigned long long)e.time_ns);
	cr_assert_eq(!!(e.flags & EVENT_NO_TIME), ns == 0);
}

Test(json, time_comes_from_the_usual_members)
{
	const uint64_t t = UINT64_C(1700000000) * NS_PER_SECOND;

	assert_time("{\"@timestamp\":\"2023-11-14T22:13:20Z\",\"time\":5}", t);
	assert_time("{\"timestamp\":\"2023-11-14T22:13:20.5+00:00\"}", t + NS_PER_SECOND / 2);
	assert_time("{\"Event\":{\"System\":{\"TimeCreated\":{\"#attributes\":{\"SystemTime\":"
	            "\"2023-11-14T22:13:20.000000Z\"}}}}}",
	            t);
	assert_time("{\"EventTime\":\"2023-11-14 22:13:20\"}", t);
	assert_time("{\"UtcTime\":\"2023-11-14 22:13:20.123\"}", t + 123 * NS_PER_MS);
	assert_time("{\"time\":1700000000}", t);
	assert_time("{\"time\":1700000000.25}", t + NS_PER_SECOND / 4);
	assert_time("{\"time\":1700000000123}", t + 123 * NS_PER_MS);
	assert_time("{\"time\":1700000000123456}", t + 123456 * 1000);
	assert_time("{\"time\":1700000000123456789}", t + 123456789);
	assert_time("{\"time\":\"1700000000\"}", t);
	assert_time("{\"time\":\"yesterday\",\"a\":1}", 0);
	assert_time("{\"@timestamp\":\"broken\",\"time\":1700000000}", t);
	assert_time("{\"time\":99999999999999999999999}", 0);
}

Test(json, more_fields_than_the_limit_are_left_out)
{
	struct buf b;

	buf_init(&b, 0);
	buf_add(&b, STR("{\"a\":[0"));
	for (int i = 1; i < EVENT_FIELDS_MAX + 10; i++)
		buf_printf(&b, ",%d", i);
	buf_add(&b, STR("]}"));
	decode(buf_str(&b));
	cr_assert_eq(e.count, EVENT_FIELDS_MAX);
	cr_assert(e.flags & EVENT_INCOMPLETE);
	cr_assert_str_eq(e.decoder, "json");
	buf_release(&b);
}

Test(json, an_overlong_name_is_left_out_and_told)
{
	struct buf b;

	buf_init(&b, 0);
	buf_add(&b, STR("{\"x\":1,\"a\":{\""));
	for (int i = 0; i < 20000; i++)
		buf_putc(&b, 'n');
	buf_add(&b, STR("\":2},\"y\":3}"));
	decode(buf_str(&b));
	cr_assert(e.flags & EVENT_INCOMPLETE);
	cr_assert(str_eq(event_value(&e, STR("x")), STR("1")));
	cr_assert(str_eq(event_value(&e, STR("a")), STR("2")));
	cr_assert(str_eq(event_value(&e, STR("y")), STR("3")));
	buf_release(&b);
}

Test(json, a_frame_longer_than_the_first_buffer_decodes)
{
	struct buf b;

	buf_init(&b, 0);
	buf_add(&b, STR("{\"a\":\""));
	for (int i = 0; i < 300000; i++)
		buf_putc(&b, 'v');
	buf_add(&b, STR("\"}"));
	decode(buf_str(&b));
	cr_assert_eq(event_value(&e, STR("a")).n, 300000);
	decode(STR("{\"a\":1}"));
	cr_assert(str_eq(event_value(&e, STR("a")), STR("1")));
	buf_release(&b);
}

/* The flag promises that a text without quotes, slashes and control characters, when a value has it, stands in the
 * frame. */
Test(json, tells_when_values_stand_in_the_frame)
{
	static const struct {
		const char *frame;
		bool promised;
	} cases[] = {
		{"{\"a\":\"x\\n\\\"y\\\\\"}", true},
		{"[{\"a\":1},{\"b\":[\"x\"]}]", true},
		{"@cee:{\"a\":\"x\"}", true},
		{"{\"a\":\"\\u0041\"}", false},
		{"{\"\\u0041\":\"x\"}", false},
		{"<13>1 2024-03-07T10:11:12Z host app - - - {\"a\":\"x\"}", false},
		{"{\"a\":\"x\"} trailing", false},
		{"a=1 b=2 c=3", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		fields(cases[i].frame);
		cr_expect_eq((e.flags & EVENT_JSON) != 0, cases[i].promised, "%s", cases[i].frame);
	}
	event_reset(&e);
	cr_expect_eq(e.flags, 0);
}

/* Longer than what is looked at at once, at every offset. */
/* One letter, two backslashes and the like in every place of names and values of every length. */
Test(json, escapes_and_block_ends_do_not_disturb_each_other)
{
	static const struct {
		const char *written, *means;
	} escapes[] = {{"x", "x"},
	               {"\\\\", "\\"},
	               {"\\\"", "\""},
	               {"\\u00e9", "\xc3\xa9"},
	               {"\\r\\n", "\r\n"}};
	char frame[1024], want[256], filler[101];

	memset(filler, 'a', sizeof(filler));
	for (size_t n = 0; n < 100; n++) {
		for (size_t at = 0; at <= n; at++) {
			for (size_t i = 0; i < ARRAY_LEN(escapes); i++) {
				const char *w = escapes[i].written;
				snprintf(frame, sizeof(frame),
				         "{\"%.*s%s%.*s\":\"%.*s%s%.*s%s\",\"k\":1}", (int)at,
				         filler, w, (int)(n - at), filler, (int)at, filler, w,
				         (int)(n - at), filler, w);
				int size = snprintf(want, sizeof(want), "%.*s%s%.*s%s", (int)at,
				                    filler, escapes[i].means, (int)(n - at), filler,
				                    escapes[i].means);
				size_t tail = strlen(escapes[i].means);
				decode(str_of(frame));
				cr_assert_eq(e.count, 2, "%s", frame);
				cr_assert(str_eq(e.fields[0].value, str_make(want, (size_t)size)),
				          "%s", frame);
				cr_assert(str_eq(e.fields[0].name,
				                 str_make(want, (size_t)size - tail)),
				          "%s", frame);
			}
		}
	}
}

Test(json, escapes_stand_anywhere)
{
	char frame[200], want[200];

	for (int n = 0; n < 70; n++) {
		snprintf(frame, sizeof(frame), "{\"k\":\"%.*s\\\"%.*s\\\\\",\"%.*s\\n\":1}", n,
		         "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg",
		         n / 2, "hhhhhhhhhhiiiiiiiiiijjjjjjjjjjkkkkkkkkkk", n,
		         "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg");
		strcpy(want, frame); /* it is written as it was read */
		cr_assert_str_eq(fields(frame), want);
	}
}
