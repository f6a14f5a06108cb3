/* JSON from descriptors: every kind of field of the schema, names of enum values, text that a terminal or a JSON reader
 * would trip over. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "api.pb-c.h"
#include "base/pbjson.h"
#include "base/utf8.h"
#include "plugin.pb-c.h"

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static void expect(const ProtobufCMessage *m, const char *want)
{
	struct buf b;

	buf_init(&b, 0);
	cr_assert_eq(pbjson_append(&b, m), 0);
	cr_assert_str_eq(buf_cstr(&b), want);
	buf_release(&b);
}

static void expect_part(const ProtobufCMessage *m, const char *part)
{
	struct buf b;

	buf_init(&b, 0);
	cr_assert_eq(pbjson_append(&b, m), 0);
	cr_assert_geq(str_search(buf_str(&b), str_of(part)), 0, "%s", buf_cstr(&b));
	buf_release(&b);
}

static void expect_quoted(struct str in, const char *want)
{
	struct buf b;

	buf_init(&b, 0);
	cr_assert_eq(json_quote(&b, in), 0);
	cr_assert_str_eq(buf_cstr(&b), want);
	buf_release(&b);
}

Test(pbjson, scalars_and_lists_always_stand_and_messages_only_when_set)
{
	Isod__V1__TimelineEntry t = ISOD__V1__TIMELINE_ENTRY__INIT;
	Isod__V1__EvidenceRef e = ISOD__V1__EVIDENCE_REF__INIT;

	expect(&t.base, "{\"time_ns\":0,\"text\":\"\",\"who\":\"\",\"rule\":\"\",\"count\":0}");
	e.worker = UINT32_MAX;
	e.sequence = UINT64_MAX;
	t.evidence = &e;
	t.text = text("a \"b\"");
	expect(&t.base, "{\"time_ns\":0,\"text\":\"a \\\"b\\\"\",\"who\":\"\",\"evidence\":"
	                "{\"worker\":4294967295,\"sequence\":18446744073709551615},"
	                "\"rule\":\"\",\"count\":0}");
}

Test(pbjson, enums_lists_and_negative_numbers)
{
	Isod__V1__ListIncidentsRequest r = ISOD__V1__LIST_INCIDENTS_REQUEST__INIT;
	Isod__V1__IncidentState states[] = {ISOD__V1__INCIDENT_STATE__INCIDENT_DETECTED,
	                                    ISOD__V1__INCIDENT_STATE__INCIDENT_CLOSED};

	r.states = states;
	r.n_states = 2;
	r.min_severity = ISOD__V1__LEVEL__LEVEL_HIGH;
	expect_part(&r.base, "{\"states\":[\"detected\",\"closed\"],\"min_severity\":\"high\",");

	Isod__V1__SourceCount c = ISOD__V1__SOURCE_COUNT__INIT;
	c.clock_skew_ns = INT64_MIN;
	expect_part(&c.base, "\"clock_skew_ns\":-9223372036854775808");
}

Test(pbjson, a_oneof_shows_its_set_member_only)
{
	Isod__V1__Record r = ISOD__V1__RECORD__INIT;
	Isod__V1__Tick tick = ISOD__V1__TICK__INIT;

	expect(&r.base, "{}");
	r.body_case = ISOD__V1__RECORD__BODY_TICK;
	r.tick = &tick;
	expect(&r.base, "{\"tick\":{}}");
	r.tick = NULL;
	expect(&r.base, "{\"tick\":null}");
}

Test(pbjson, a_map_is_an_object)
{
	Isod__V1__PluginSetup s = ISOD__V1__PLUGIN_SETUP__INIT;
	Isod__V1__PluginSetup__OptionsEntry a = ISOD__V1__PLUGIN_SETUP__OPTIONS_ENTRY__INIT;
	Isod__V1__PluginSetup__OptionsEntry b = ISOD__V1__PLUGIN_SETUP__OPTIONS_ENTRY__INIT;
	Isod__V1__PluginSetup__OptionsEntry *entries[] = {&a, &b};

	s.name = text("hook");
	expect(&s.base, "{\"protocol\":0,\"name\":\"hook\",\"options\":{}}");
	a.key = text("url");
	a.value = text("https://example.org/");
	b.key = text("a \"key\"");
	b.value = text("");
	s.options = entries;
	s.n_options = 2;
	expect(&s.base,
	       "{\"protocol\":0,\"name\":\"hook\",\"options\":{\"url\":\"https://example.org/\","
	       "\"a \\\"key\\\"\":\"\"}}");
}

Test(pbjson, lists_of_messages_and_of_text)
{
	Isod__V1__Match m = ISOD__V1__MATCH__INIT;
	Isod__V1__Entity e = ISOD__V1__ENTITY__INIT;
	Isod__V1__Entity *entities[] = {&e, &e};
	char *tags[] = {text("attack.t1110"), text("")};

	e.kind = ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS;
	e.name = text("192.0.2.1");
	m.entities = entities;
	m.n_entities = 2;
	m.tags = tags;
	m.n_tags = 2;
	expect_part(&m.base, "\"tags\":[\"attack.t1110\",\"\"]");
	expect_part(&m.base, "\"entities\":[{\"kind\":\"address\",\"name\":\"192.0.2.1\"},"
	                     "{\"kind\":\"address\",\"name\":\"192.0.2.1\"}]");
	expect_part(&m.base, "\"silent\":false");
}

Test(pbjson, nothing_is_added_past_the_cap)
{
	Isod__V1__EvidenceRef e = ISOD__V1__EVIDENCE_REF__INIT;
	struct buf b;

	for (size_t max = 1; max < sizeof("{\"worker\":0,\"sequence\":0}") - 1; max++) {
		buf_init(&b, max);
		cr_assert_eq(pbjson_append(&b, &e.base), -ENOBUFS);
		cr_assert_eq(b.n, 0);
		cr_assert_eq(json_quote(&b, STR("0123456789012345678901234567890123456789")),
		             -ENOBUFS);
		cr_assert_eq(b.n, 0);
		buf_release(&b);
	}
}

Test(pbjson, text_is_escaped_and_repaired)
{
	expect_quoted(STR(""), "\"\"");
	expect_quoted(STR_NONE, "\"\"");
	expect_quoted(STR("a\"b\\c/d"), "\"a\\\"b\\\\c/d\"");
	expect_quoted(STR("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"");
	expect_quoted(STR("\0\x01\x1b\x7f"), "\"\\u0000\\u0001\\u001b\\u007f\"");
	expect_quoted(STR("\xc2\x9b"), "\"\\u009b\"");
	expect_quoted(STR("\xc2\xa0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
	              "\"\xc2\xa0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
	expect_quoted(STR("a\xff\x62\xe2\x82"), "\"a\xef\xbf\xbd\x62\xef\xbf\xbd\xef\xbf\xbd\"");
	expect_quoted(STR("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

Test(pbjson, every_byte_gives_valid_utf8_without_control_characters)
{
	struct buf b;

	buf_init(&b, 0);
	for (int i = 0; i < 256; i++) {
		char c[3] = {'x', (char)i, 'y'};
		buf_reset(&b);
		cr_assert_eq(json_quote(&b, str_make(c, 3)), 0);
		cr_assert(utf8_valid(buf_str(&b)));
		for (size_t j = 0; j < b.n; j++)
			cr_assert((unsigned char)b.p[j] >= 0x20 && b.p[j] != 0x7f);
	}
	buf_release(&b);
}

Test(pbjson, enum_values_by_short_and_full_name)
{
	const ProtobufCEnumDescriptor *level = &isod__v1__level__descriptor;
	const ProtobufCEnumDescriptor *state = &isod__v1__incident_state__descriptor;
	char out[32];
	int v = -1;

	cr_assert_str_eq(pbjson_enum(level, ISOD__V1__LEVEL__LEVEL_CRITICAL, out, sizeof(out)),
	                 "critical");
	cr_assert_str_eq(pbjson_enum(state, 0, out, sizeof(out)), "state_unknown");
	cr_assert_str_eq(pbjson_enum(level, 99, out, sizeof(out)), "?");
	cr_assert_str_eq(pbjson_enum(level, 5, out, 4), "cri");
	cr_assert_eq(pbjson_enum_parse(level, STR("High"), &v), 0);
	cr_assert_eq(v, ISOD__V1__LEVEL__LEVEL_HIGH);
	cr_assert_eq(pbjson_enum_parse(level, STR("level_low"), &v), 0);
	cr_assert_eq(v, ISOD__V1__LEVEL__LEVEL_LOW);
	cr_assert_eq(pbjson_enum_parse(level, STR("hig"), &v), -EINVAL);
	cr_assert_eq(pbjson_enum_parse(level, STR(""), &v), -EINVAL);
	cr_assert_eq(pbjson_enum_parse(level, STR("high\0"), &v), -EINVAL);
	cr_assert_eq(v, ISOD__V1__LEVEL__LEVEL_LOW, "untouched on failure");
}
