/* Events of an HTTP Event Collector as rules see them: the event itself like a line or a JSON frame that came by itself, what
 * stood around it behind. Told from frame and meta alone. */
#include "decode_rig.h"

#include "event/hec.h"

TestSuite(hec_event, .init = setup, .fini = teardown);

static void decode_hec(const char *meta, const char *frame)
{
	event_reset(&e);
	e.received_ns = 1790000000ull * 1000000000;
	e.meta = str_of(meta);
	event_decode(d, &e, str_of(frame));
}

#define expect(name, text)                                                                         \
	cr_expect(str_eq(event_value(&e, STR(name)), STR(text)), "%s is \"%.*s\"", name,           \
	          STR_FMT(event_value(&e, STR(name))))

static size_t count(const char *name)
{
	size_t n = 0;

	for (const struct field *f = event_find(&e, str_of(name)); f; f = event_next(&e, f))
		n++;
	return n;
}

Test(hec_event, hec_text_is_decoded_like_a_line)
{
	decode_hec(
		HEC_META_EVENT,
		"{\"time\":\"1700000000.25\",\"host\":\"relay1\",\"source\":\"/var/log/auth.log\","
		"\"sourcetype\":\"linux_secure\",\"index\":\"main\",\"fields\":{\"site\":"
		"\"b\\u00e9\",\"n\":1},"
		"\"event\":\"<38>Nov 23 18:00:00 web1 sshd[77]: Failed password for \\\"root\\\" "
		"from "
		"203.0.113.9 port 4711 ssh2\",\"more\":true}");
	expect("program", "sshd");
	expect("pid", "77");
	expect("host", "web1");
	expect("relay.host", "relay1");
	expect("source", "/var/log/auth.log");
	expect("sourcetype", "linux_secure");
	expect("index", "main");
	expect("site", "b\xc3\xa9");
	expect("n", "1");
	expect("more", "true");
	expect("message", "Failed password for \"root\" from 203.0.113.9 port 4711 ssh2");
	cr_expect_eq(count("event"), 0);
	cr_expect_eq(count("fields.site"), 0);
	cr_expect_eq(e.time_ns, 1700000000250000000);
	cr_expect_not(e.flags & (EVENT_UNDECODED | EVENT_JSON | EVENT_NO_TIME));
	cr_expect(str_starts(e.raw, STR("{\"time\"")), "the frame as it came");
}

Test(hec_event, hec_object_is_decoded_like_json)
{
	decode_hec(HEC_META_EVENT,
	           "{\"event\":{\"Image\":\"C:\\\\a.exe\",\"a\":{\"b\":[1,2]},\"host\":"
	           "\"inner\",\"source\":\"s\"},"
	           "\"host\":\"inner\",\"source\":\"outer\",\"time\":1700000000}");
	expect("Image", "C:\\a.exe");
	cr_expect_eq(count("a.b"), 2);
	cr_expect_eq(count("host"), 1);
	expect("source", "s");
	cr_expect_eq(count("source"), 1, "the event's own counts");
	cr_expect_eq(count("relay.host"), 0, "the same host");
	cr_expect_eq(count("time"), 0);
	cr_expect_eq(e.time_ns, 1700000000000000000);
	cr_expect_str_eq(e.decoder, "json");
	decode_hec(HEC_META_EVENT, "{\"event\":{\"@timestamp\":\"2026-01-02T03:04:05Z\",\"Event\":{"
	                           "\"EventData\":{\"Data\":"
	                           "[{\"@Name\":\"CommandLine\",\"#text\":\"whoami\"}]}}}}");
	expect("Event.EventData.CommandLine", "whoami");
	cr_expect_eq(e.time_ns, 1767323045000000000, "its own time where the envelope has none");
}

Test(hec_event, hec_other_events)
{
	decode_hec(HEC_META_EVENT, "{\"event\":\"{\\\"a\\\":\\\"b\\\"}\"}");
	expect("a", "b");
	decode_hec(HEC_META_EVENT,
	           "{\"event\":\"CEF:0|V|P|1|2|n|5|src=192.0.2.1\",\"time\":\"x\"}");
	expect("src_ip", "192.0.2.1");
	decode_hec(HEC_META_EVENT, "{\"event\":17.5}");
	expect("message", "17.5");
	decode_hec(HEC_META_EVENT, "{\"event\":[\"one\",\"two\"]}");
	expect("message", "one");
	expect("event", "two");
	decode_hec(HEC_META_EVENT, "{\"event\":{},\"host\":\"h\"}");
	expect("host", "h");
	decode_hec(HEC_META_EVENT, "{\"event\":[{\"a\":1},{\"a\":2}]}");
	cr_expect_eq(count("a"), 2);
	/* A frame that was cut is a text. */
	decode_hec(HEC_META_EVENT, "{\"event\":\"abc");
	expect("message", "{\"event\":\"abc");
	cr_expect(e.flags & EVENT_UNDECODED);
	/* A meta of a later isod, or none: as it stands. */
	decode_hec("hec/new", "{\"event\":\"abc\"}");
	expect("event", "abc");
	decode_hec("", "{\"event\":\"abc\"}");
	expect("event", "abc");
}

Test(hec_event, hec_raw_lines_with_a_query)
{
	decode_hec(HEC_META_RAW "host=web%202+x&sourcetype=st&time=1700000000&index=&source=%2",
	           "Nov 23 18:00:00 web1 sshd[1]: Accepted publickey for a from 192.0.2.1 port 1 "
	           "ssh2");
	expect("program", "sshd");
	expect("host", "web1");
	expect("relay.host", "web 2 x");
	expect("sourcetype", "st");
	expect("source", "%2");
	cr_expect_eq(count("index"), 0);
	cr_expect_eq(e.time_ns, 1700000000000000000);
	decode_hec(HEC_META_RAW, "{\"a\":\"b\"}");
	expect("a", "b");
}

Test(hec_event, hec_of_the_widest_and_deepest_kind_stays_within_the_limits)
{
	struct buf text;

	buf_init(&text, 0);
	buf_printf(&text, "{\"host\":\"h\",\"event\":{");
	for (int i = 0; i < 6000; i++)
		buf_printf(&text, "\"f%d\":%d,", i, i);
	buf_printf(&text, "\"z\":0}}");
	decode_hec(HEC_META_EVENT, buf_cstr(&text));
	cr_expect(e.flags & EVENT_INCOMPLETE);
	cr_expect_leq(e.count, EVENT_FIELDS_MAX);
	expect("f1", "1");
	buf_release(&text);
}
