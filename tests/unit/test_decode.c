/* event/decode.h: what each kind of frame becomes. Rows are a frame and the fields it must give; "!name" says that
 * there must be no such field, "@time" is the event's own time, "@decoder" the decoder that understood it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "decode_rig.h"

struct row {
	const char *frame;
	const char *want[24]; /* name, value, name, value …, NULL */
};

TestSuite(decode, .init = setup, .fini = teardown);

static bool has_value(const char *name, const char *value)
{
	for (const struct field *f = event_find(&e, str_of(name)); f; f = event_next(&e, f))
		if (str_eq(f->value, str_of(value)))
			return true;
	return false;
}

static void check_one(const char *frame, const char *name, const char *value)
{
	char text[64] = "none";

	if (strcmp(name, "@time") == 0) {
		if (e.time_ns)
			clock_format(e.time_ns, text);
		cr_expect_str_eq(text, value, "%s", frame);
		cr_expect_eq(e.time_ns == 0, !!(e.flags & EVENT_NO_TIME), "%s", frame);
	} else if (strcmp(name, "@decoder") == 0) {
		cr_expect_str_eq(e.decoder ? e.decoder : "none", value, "%s", frame);
	} else if (name[0] == '!') {
		cr_expect_null(event_find(&e, str_of(name + 1)), "%s: has %s", frame, name + 1);
	} else {
		struct str got = event_value(&e, str_of(name));
		cr_expect(has_value(name, value), "%s: %s is '%.*s', not '%s'", frame, name,
		          STR_FMT(got), value);
	}
}

static void check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		decode(str_of(rows[i].frame));
		cr_expect_not(e.flags & EVENT_UNDECODED, "%s: not decoded", rows[i].frame);
		for (size_t k = 0; rows[i].want[k]; k += 2)
			check_one(rows[i].frame, rows[i].want[k], rows[i].want[k + 1]);
	}
}

#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof(*(rows)))

Test(decode, rfc5424)
{
	static const struct row rows[] = {
		{"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf"
	         "'su root' failed for lonvick on /dev/pts/8",
	         {"@time", "2003-10-11T22:14:15.003Z", "host", "mymachine.example.com", "program",
	          "su", "!pid", "", "msgid", "ID47", "facility", "auth", "severity", "crit",
	          "message", "'su root' failed for lonvick on /dev/pts/8"}},
		{"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% text",
	         {"@time", "2003-08-24T12:14:15.000Z", "host", "192.0.2.1", "pid", "8710",
	          "message", "%% text", "@decoder", "rfc5424"}},
		{"<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [ex@32473 iut=\"3\" "
	         "s=\"A\\\"p\\\\p\\]\\n\" "
	         "iut=\"4\"][prio@32473 class=\"high\"] An entry",
	         {"ex@32473.iut", "3", "ex@32473.iut", "4", "ex@32473.s", "A\"p\\p]\\n",
	          "prio@32473.class", "high", "message", "An entry"}},
		{"<165>1 2003-10-11T22:14:15.003Z h a p m [ex@1 a=\"\"]",
	         {"ex@1.a", "", "message", "", "program", "a"}},
		{"<165>1 - - - - - -",
	         {"@time", "none", "!host", "", "!program", "", "!msgid", "", "severity", "notice",
	          "message", ""}},
		{"<165>1 2003-10-11T22:14:15Z h a p m [broken x=] rest",
	         {"host", "h", "program", "a", "pid", "p", "msgid", "m", "message",
	          "[broken x=] rest"}},
		{"<165>1 2003-10-11T22:14:15Z h a p m [a b=\"1\"][c d=\"2] rest",
	         {"host", "h", "!a.b", "", "message", "[a b=\"1\"][c d=\"2] rest"}},
		{"<165>1 2003-10-11T22:14:15Z h a p m just text",
	         {"msgid", "m", "message", "just text"}},
		{"<165>1 2003-10-11T22:14:15Z h a", {"host", "h", "program", "a", "message", ""}},
		{"<165>1 2003-13-41T99:14:15Z h a p m - text",
	         {"@time", "none", "host", "h", "program", "a", "message", "text"}},
		{"<999>1 2003-10-11T22:14:15Z h a - - - text",
	         {"!severity", "", "!facility", "", "host", "h", "message", "text"}},
		{"<0>1 2003-10-11T22:14:15Z h a - - - two\nlines\r\n",
	         {"facility", "kern", "severity", "emerg", "message", "two\nlines"}},
		{"<191>1 2003-10-11T22:14:15Z h a - - - {\"k\":{\"x\":1}}",
	         {"k.x", "1", "@decoder", "json", "program", "a", "facility", "local7"}},
	};
	CHECK(rows);
}

Test(decode, rfc3164_as_devices_send_it)
{
	static const struct row rows[] = {
		{"<34>Oct 11 22:14:15 mymachine su: 'x' failed",
	         {"@time", "2026-10-11T22:14:15.000Z", "host", "mymachine", "program", "su",
	          "severity", "crit", "message", "'x' failed"}},
		{"<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
	         {"host", "10.0.0.99", "!program", "", "message", "Use the BFG!", "@time",
	          "2026-02-05T17:32:18.000Z"}},
		{"<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: text",
	         {"@time", "1987-08-24T11:34:00.000Z", "host", "mymachine", "program", "myproc",
	          "pid", "10"}},
		{"<0>1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: x",
	         {"@time", "1990-10-22T16:52:01.000Z", "host", "scapegoat.dmz.example.org"}},
		{"<13>Nov 3 08:00:00 h p: one digit",
	         {"@time", "2026-11-03T08:00:00.000Z", "host", "h"}},
		{"<13>Nov 03 08:00:00 h p: two",
	         {"@time", "2026-11-03T08:00:00.000Z", "host", "h"}},
		{"<13>Nov 23 18:00:00 root: no host",
	         {"!host", "", "program", "root", "message", "no host"}},
		{"<13>Nov 23 18:00:00 sshd[12]: no host",
	         {"!host", "", "program", "sshd", "pid", "12"}},
		{"<13>Nov 23 18:00:00 sshd[12]:no blank",
	         {"program", "sshd", "pid", "12", "message", "no blank"}},
		{"<13>Nov 23 18:00:00 h no colon here",
	         {"host", "h", "!program", "", "message", "no colon here"}},
		{"<13>Nov 23 18:00:00 h prog[7] no colon",
	         {"program", "prog", "pid", "7", "message", "no colon"}},
		{"<999>Nov 23 18:00:00 h p: x", {"!severity", "", "host", "h", "program", "p"}},
		{"<4294967296>Nov 23 18:00:00 h p: x", {"!severity", "", "host", "h"}},
		{"Dec 10 06:55:46 LabSZ sshd[24200]: bare",
	         {"@time", "2025-12-10T06:55:46.000Z", "!severity", "", "host", "LabSZ", "program",
	          "sshd"}},
		{"<13>  Nov 23 18:00:00 h p: x \n\0", {"host", "h", "message", "x "}},
		{"   <13>Nov 23 18:00:00 h p: x", {"host", "h", "program", "p"}},
		{"<13>Nov 23 2026 18:00:00 h p: x",
	         {"@time", "2026-11-23T18:00:00.000Z", "host", "h"}},
		{"<13>Nov 23 18:00:00.123456 h p: x",
	         {"@time", "2026-11-23T18:00:00.123Z", "host", "h"}},
		{"<13>Mon Nov 23 18:00:00 2026 h p: x",
	         {"@time", "2026-11-23T18:00:00.000Z", "host", "h"}},
		{"<13>23 Nov 2026 18:00:00 h p: x",
	         {"@time", "2026-11-23T18:00:00.000Z", "host", "h"}},
		{"<13>Nov 23 18:00:00 +02:00 h p: x",
	         {"@time", "2026-11-23T16:00:00.000Z", "host", "h"}},
		{"<13>Nov 23 18:00:00 CEST h p: x",
	         {"@time", "2026-11-23T16:00:00.000Z", "host", "h"}},
		{"<13>Nov 31 28:00:00 h p: x", {"@time", "none", "host", "h", "program", "p"}},
		{"<13>2026-11-23T18:00:00.123+01:00 h p[1]: x",
	         {"@time", "2026-11-23T17:00:00.123Z", "host", "h", "program", "p", "pid", "1"}},
		{"2026-11-23T18:00:00.123+01:00 h p: x",
	         {"@time", "2026-11-23T17:00:00.123Z", "program", "p"}},
		{"<13>2026-11-23 18:00:00,5 +0200 h p: x",
	         {"@time", "2026-11-23T16:00:00.500Z", "host", "h"}},
		{"<13>Nov 23 18:00:00 h su(pam_unix)[123]: x",
	         {"program", "su", "pid", "123", "pam_module", "pam_unix"}},
		{"<13>Nov 23 18:00:00 h /usr/sbin/cron[12]: x",
	         {"program", "cron", "program_path", "/usr/sbin/cron"}},
		{"<13>Nov 23 18:00:00 h postfix/smtpd[1]: x",
	         {"program", "postfix/smtpd", "pid", "1"}},
		{"<13>Nov 23 18:00:00 h My App[12]: hello",
	         {"host", "h", "program", "My App", "pid", "12"}},
		{"<46>Nov 23 18:00:00 h syslogd 1.4.1: x", {"program", "syslogd", "message", "x"}},
		{"<13>Nov 23 18:00:00 h last message repeated 3 times",
	         {"host", "h", "!program", "", "repeated", "3"}},
		{"<13>Nov 23 18:00:00 last message repeated 3 times",
	         {"!host", "", "repeated", "3"}},
		{"<6>Nov 23 18:00:00 h kernel: [12345.678] device eth0 entered promiscuous mode",
	         {"program", "kernel", "interface", "eth0", "message",
	          "[12345.678] device eth0 entered promiscuous mode"}},
		{"<13>Nov 23 18:00:00 fe80::1 p: x", {"host", "fe80::1", "program", "p"}},
		{"<13>Nov 23 18:00:00 2001:db8::1 p: x",
	         {"host", "2001:db8::1", "@time", "2026-11-23T18:00:00.000Z"}},
		{"<13>Nov 23 18:00:00 [192.0.2.1] p: x", {"host", "192.0.2.1", "program", "p"}},
		{"<13>hello world",
	         {"!host", "", "!program", "", "message", "hello world", "@time", "none"}},
		{"<13>prog[12]: hi", {"program", "prog", "pid", "12", "message", "hi"}},
		{"<13>web1 prog[12]: hi", {"host", "web1", "program", "prog", "pid", "12"}},
		{"<13>", {"message", "", "severity", "notice"}},
		{"2026-11-23 18:00:00,123 INFO com.foo.Bar - text",
	         {"!host", "", "message", "INFO com.foo.Bar - text"}},
	};
	CHECK(rows);
}

Test(decode, cisco)
{
	static const struct row rows[] = {
		{"<166>Nov 23 2026 18:00:00 asa01 : %ASA-6-305011: Built x",
	         {"host", "asa01", "program", "%ASA-6-305011", "msgid", "ASA-6-305011", "message",
	          "Built x"}},
		{"<166>Nov 23 2026 18:00:00: %ASA-6-305011: Built x",
	         {"!host", "", "program", "%ASA-6-305011"}},
		{"<166>%ASA-6-305011: Built x", {"program", "%ASA-6-305011", "message", "Built x"}},
		{"<189>29: *Nov 23 18:00:00.123 UTC: %SYS-5-CONFIG_I: Configured",
	         {"@time", "2026-11-23T18:00:00.123Z", "program", "%SYS-5-CONFIG_I", "message",
	          "Configured"}},
		{"<189>29: router1: *Nov 23 18:00:00.123 UTC: %SYS-5-CONFIG_I: Configured",
	         {"host", "router1", "program", "%SYS-5-CONFIG_I"}},
		{"<189>29: 000123: .Nov 23 18:00:00 EST: %SYS-5-CONFIG_I: Configured",
	         {"@time", "2026-11-23T23:00:00.000Z", "program", "%SYS-5-CONFIG_I"}},
		{"<189>45: router1: 000123: Nov 23 18:00:00.123 UTC: %SEC_LOGIN-5-LOGIN_SUCCESS: "
	         "Login Success [user: admin] [Source: 192.0.2.7] [localport: 22] at x",
	         {"host", "router1", "@time", "2026-11-23T18:00:00.123Z", "user", "admin", "src_ip",
	          "192.0.2.7"}},
		{"<165>:Nov 23 18:00:00 UTC: %ASA-config-5-111008: User 'joe' executed the "
	         "'reload' command.",
	         {"program", "%ASA-config-5-111008", "@time", "2026-11-23T18:00:00.000Z", "user",
	          "joe", "command", "reload"}},
		{"<166>%ASA-6-302013: Built inbound TCP connection 88 for outside:192.0.2.7/4711 "
	         "(192.0.2.7/4711) to "
	         "inside:198.51.100.1/22 (198.51.100.1/22)",
	         {"src_ip", "192.0.2.7", "dst_port", "22", "protocol", "TCP", "action", "allow"}},
	};
	CHECK(rows);
}

Test(decode, the_year_that_is_left_out_comes_from_the_arrival)
{
	char text[64];
	static const struct {
		const char *frame;
		uint64_t received;
		const char *time;
	} rows[] = {
		{"<13>Dec 31 23:59:59 h p: x", 1767225600 + 5, "2025-12-31T23:59:59.000Z"},
		{"<13>Jan  1 00:00:05 h p: x", 1767225600 - 10, "2026-01-01T00:00:05.000Z"},
		{"<13>Jan  2 12:00:00 h p: x", 1767225600 - 10, "2025-01-02T12:00:00.000Z"},
		{"<13>Nov 24 18:00:00 h p: x", RECEIVED, "2026-11-24T18:00:00.000Z"},
		{"<13>Nov 25 18:00:00 h p: x", RECEIVED, "2025-11-25T18:00:00.000Z"},
		{"<13>Feb 29 12:00:00 h p: x", RECEIVED, "2024-02-29T12:00:00.000Z"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		decode_at(str_of(rows[i].frame), rows[i].received);
		cr_expect_str_eq(clock_format(e.time_ns, text), rows[i].time, "%s", rows[i].frame);
	}
	decode_at(STR("<13>Nov 24 18:00:00 h p: x"), 0);
	cr_assert(e.flags & EVENT_NO_TIME);
}

Test(decode, a_shipped_log_line_is_unwrapped)
{
	static const struct row rows[] = {
		{"<13>1 2026-11-23T18:00:00.1+00:00 shipper joe - - [timeQuality tzKnown=\"1\"] "
	         "Dec 10 06:55:46 LabSZ sshd[24200]: Failed password for root from 192.0.2.7 port "
	         "4 ssh2",
	         {"host", "LabSZ", "program", "sshd", "pid", "24200", "relay.host", "shipper",
	          "relay.program", "joe", "timeQuality.tzKnown", "1", "user", "root", "@time",
	          "2025-12-10T06:55:46.000Z"}},
		{"<133>Nov 23 18:00:00 relay tag: Dec 10 06:55:46 LabSZ sshd[2]: x",
	         {"host", "LabSZ", "relay.host", "relay", "relay.program", "tag", "message", "x"}},
		{"<133>Nov 23 18:00:00 relay tag Dec 10 06:55:46 LabSZ sshd[2]: x",
	         {"host", "LabSZ", "relay.host", "relay", "relay.program", "tag"}},
		{"<133>Nov 23 18:00:00 relay Dec 10 06:55:46 LabSZ sshd[2]: x",
	         {"host", "LabSZ", "relay.host", "relay"}},
		{"<13>Nov 23 18:00:00 r t: <86>Dec 10 06:55:46 LabSZ sshd[2]: x",
	         {"host", "LabSZ", "facility", "authpriv", "severity", "info"}},
		{"<13>Nov 23 18:00:00 r t: <86>1 2026-11-23T17:00:00Z web sshd 3 - - x",
	         {"host", "web", "facility", "authpriv", "pid", "3", "relay.host", "r"}},
		{"<133>Nov 23 18:00:00 r t: Jun 14 15:16:01 combo sshd(pam_unix)[19939]: "
	         "authentication failure; "
	         "logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=192.0.2.4 ",
	         {"host", "combo", "program", "sshd", "src_ip", "192.0.2.4", "outcome", "failure"}},
		{"<133>Nov 23 18:00:00 r t: Dec 10 06:55:46 is when it happened",
	         {"host", "r", "program", "t", "!relay.host", ""}},
		{"<133>Nov 23 18:00:00 r t: Dec 10 06:55:46 was the time: yes",
	         {"host", "r", "!relay.host", ""}},
		{"<133>Nov 23 18:00:00 r t: LabSZ sshd[2]: x",
	         {"host", "r", "program", "t", "!relay.host", ""}},
		{"<133>Nov 23 18:00:00 r t: Dec 10 06:55:46 sshd[2]: x",
	         {"host", "r", "!relay.host", ""}},
	};
	CHECK(rows);
}

Test(decode, json_bodies)
{
	static const struct row rows[] = {
		{"<13>Nov 23 18:00:00 h p: {\"a\":{\"b\":[1,2]}}",
	         {"a.b", "2", "program", "p", "@decoder", "json", "@time",
	          "2026-11-23T18:00:00.000Z"}},
		{"<13>Nov 23 18:00:00 h p: @cee: {\"a\":1}", {"a", "1", "host", "h"}},
		{"<13>Nov 23 18:00:00 h p: @cee:{\"a\":1}", {"a", "1"}},
		{"<13>Nov 23 18:00:00 h {\"a\":1}", {"a", "1", "host", "h", "!program", ""}},
		{"<13>{\"a\":1}", {"a", "1", "!message", ""}},
		{"@cee:{\"a\":1}", {"a", "1"}},
		{"{\"a\":1}\n", {"a", "1"}},
		{"<13>Nov 23 18:00:00 h p: {\"time\":1700000000}",
	         {"@time", "2023-11-14T22:13:20.000Z"}},
		{"{\"requestReceivedTimestamp\":\"2026-11-23T18:00:00.5Z\",\"verb\":\"get\"}",
	         {"@time", "2026-11-23T18:00:00.500Z"}},
		{"<13>Nov 23 18:00:00 h p: {\"a\":1",
	         {"message", "{\"a\":1", "!a", "", "@decoder", "rfc3164"}},
	};
	CHECK(rows);
}

Test(decode, a_log_line_in_an_object)
{
	static const struct row rows[] = {
		{"{\"__REALTIME_TIMESTAMP\":\"1795459571123456\",\"_HOSTNAME\":\"h\",\"SYSLOG_"
	         "IDENTIFIER\":\"sshd\",\"MESSAGE\":\"Failed password for root from 192.0.2.7 port "
	         "4 ssh2\"}",
	         {"user", "root", "src_ip", "192.0.2.7", "outcome", "failure", "@decoder", "json",
	          "@time", "2026-11-23T18:46:11.123Z"}},
		{"<13>Nov 23 18:00:00 h p: {\"programname\":\"sudo\",\"msg\":\"joe : TTY=pts/0 ; "
	         "PWD=/ ; USER=root ; COMMAND=/bin/sh\"}",
	         {"user", "joe", "target_user", "root", "command", "/bin/sh"}},
		{"{\"process\":{\"name\":\"sshd\"},\"message\":\"Invalid user x from 192.0.2.7 "
	         "port 4\"}",
	         {"user", "x", "src_ip", "192.0.2.7"}},
		{"{\"message\":\"Failed password for root from 192.0.2.7 port 4 ssh2\"}",
	         {"!user", ""}},
		{"{\"program\":\"sshd\",\"message\":{\"a\":1}}", {"message.a", "1", "!user", ""}},
	};
	CHECK(rows);
}

Test(decode, cef)
{
	static const struct row rows[] = {
		{"CEF:0|Sec|threat\\|mgr|1.0|100|worm \\\\ stopped|10|src=10.0.0.1 dst=2.1.2.2 "
	         "spt=1232",
	         {"deviceProduct", "threat|mgr", "name", "worm \\ stopped", "deviceSeverity", "10",
	          "src_ip", "10.0.0.1", "dst_ip", "2.1.2.2", "src_port", "1232", "src",
	          "10.0.0.1"}},
		{"<134>Nov 23 18:00:00 h CEF:1|V|P|1|2|n|Low|msg=a b\\=c\\nd\\r \\\\ e act=blocked "
	         "by rule proto=TCP",
	         {"host", "h", "msg", "a b=c\nd\r \\ e", "act", "blocked by rule", "action",
	          "blocked by rule", "protocol", "TCP"}},
		{"<134>1 2026-11-23T18:00:00Z h app - - - CEF:0|V|P|1|2|n|5|cs1Label=Rule Name "
	         "cs1=my rule "
	         "cn1=7 cn1Label=Count suser=joe duser=root rt=1700000000123",
	         {"Rule Name", "my rule", "Count", "7", "user", "joe", "target_user", "root",
	          "@time", "2023-11-14T22:13:20.123Z", "@decoder", "cef"}},
		{"CEF:0|V|P|1|2|n|5|request=http://x/?a\\=1&b\\=2 requestMethod=GET rt=Nov 23 2026 "
	         "18:00:00",
	         {"request", "http://x/?a=1&b=2", "method", "GET", "@time",
	          "2026-11-23T18:00:00.000Z"}},
		{"CEF:0|V|P|1|2|n|5|", {"name", "n", "deviceSeverity", "5"}},
		{"CEF:0|V|P|1|2|n|5", {"deviceSeverity", "5"}},
		{"CEF:0|V|P|1|2|n|5|src=host.example.org empty= dst=2001:db8::1",
	         {"src_host", "host.example.org", "!src_ip", "", "empty", "", "dst_ip",
	          "2001:db8::1"}},
	};
	CHECK(rows);
	decode(STR("CEF:0|V|P|1"));
	cr_assert(e.flags & EVENT_UNDECODED);
	cr_assert_eq(e.count, 1);
}

Test(decode, leef)
{
	static const struct row rows[] = {
		{"LEEF:1.0|IBM|Q|1.2|login|src=192.0.2.7\tusrName=joe "
	         "b\tdstPort=22\tdevTime=1700000000000",
	         {"deviceEventClassId", "login", "src_ip", "192.0.2.7", "user", "joe b", "dst_port",
	          "22", "@time", "2023-11-14T22:13:20.000Z", "@decoder", "leef"}},
		{"<13>Nov 23 18:00:00 h LEEF:2.0|IBM|Q|1|5|^|src=192.0.2.7^msg=a=b^usrName=joe",
	         {"host", "h", "msg", "a=b", "user", "joe"}},
		{"LEEF:2.0|IBM|Q|1|5|x5E|src=192.0.2.7^usrName=joe",
	         {"src_ip", "192.0.2.7", "user", "joe"}},
		{"LEEF:2.0|IBM|Q|1|5|0x7c|src=192.0.2.7|usrName=joe",
	         {"src_ip", "192.0.2.7", "user", "joe"}},
		{"LEEF:2.0|IBM|Q|1|5||src=192.0.2.7\tusrName=joe", {"user", "joe"}},
		{"LEEF:2.0|IBM|Q|1|5|src=192.0.2.7\tusrName=joe",
	         {"user", "joe", "src_ip", "192.0.2.7"}},
		{"<13>Nov 23 18:00:00 h LEEF:1.0|IBM|Q|1|5|src=192.0.2.7#011usrName=joe",
	         {"user", "joe"}},
		{"LEEF:1.0|IBM|Q|1|5|", {"deviceVendor", "IBM"}},
	};
	CHECK(rows);
}

Test(decode, auditd)
{
	static const struct row rows[] = {
		{"type=SYSCALL msg=audit(1700000000.123:456): arch=c000003e syscall=59 success=yes "
	         "exit=0 a0=55 a1=7F "
	         "pid=2 auid=1000 uid=0 ses=3 comm=\"cat\" exe=\"/usr/bin/cat\" "
	         "key=\"etcpasswd\"\x1d"
	         "ARCH=x86_64 SYSCALL=execve AUID=\"joe\" UID=\"root\"",
	         {"@time", "2023-11-14T22:13:20.123Z", "type", "SYSCALL", "a1", "7F", "key",
	          "etcpasswd", "SYSCALL", "execve", "user", "joe", "outcome", "success", "session",
	          "3"}},
		{"type=EXECVE msg=audit(1700000000.123:456): argc=3 a0=\"sh\" a1=\"-c\" "
	         "a2=6C73202D6C61",
	         {"a2", "ls -la", "CommandLine", "sh -c ls -la", "command", "sh -c ls -la", "a0",
	          "sh"}},
		{"type=EXECVE msg=audit(1.1:4): argc=3 a0=\"sh\" a1_len=4 a1[0]=6162 a1[1]=6364 "
	         "a2=\"x\"",
	         {"a1", "abcd", "CommandLine", "sh abcd x"}},
		{"type=PROCTITLE msg=audit(1700000000.123:456): "
	         "proctitle=2F62696E2F7368002D63006C73",
	         {"proctitle", "/bin/sh -c ls"}},
		{"type=PATH msg=audit(1700000000.123:456): item=0 name=2F746D702F6120E9 "
	         "nametype=CREATE",
	         {"name", "/tmp/a \xe9", "nametype", "CREATE"}},
		{"type=PATH msg=audit(1700000000.123:456): item=0 name=\"/etc/shadow\" comm=CAFE",
	         {"name", "/etc/shadow", "comm", "\xca\xfe"}},
		{"type=PATH msg=audit(1700000000.123:456): name=(null) comm=4142",
	         {"name", "(null)", "comm", "4142"}},
		{"type=SYSCALL msg=audit(1.1:4): success=no key=6B657931016B657932",
	         {"key", "key1", "key", "key2", "outcome", "failure"}},
		{"node=web1 type=USER_AUTH msg=audit(1700000000.123:456): pid=1 uid=0 "
	         "auid=4294967295 ses=4294967295 "
	         "msg='op=PAM:authentication acct=\"root\" exe=\"/usr/sbin/sshd\" "
	         "hostname=192.0.2.7 addr=192.0.2.7 "
	         "terminal=ssh res=failed'",
	         {"host", "web1", "op", "PAM:authentication", "acct", "root", "user", "root",
	          "src_ip", "192.0.2.7", "outcome", "failure", "tty", "ssh"}},
		{"<13>Nov 23 18:00:00 h audispd: type=USER_CMD msg=audit(1.1:4): pid=5 "
	         "msg='cwd=\"/\" "
	         "cmd=636174202F6574632F736861646F77 terminal=pts/0 res=success'",
	         {"host", "h", "command", "cat /etc/shadow", "pid", "5", "outcome", "success"}},
		{"<13>Nov 23 18:00:00 h kernel: [1.5] audit: type=1400 audit(1.1:4): "
	         "apparmor=\"DENIED\" "
	         "operation=\"open\" name=\"/etc/shadow\"",
	         {"type", "AVC", "type", "1400", "name", "/etc/shadow", "outcome", "failure"}},
		{"<13>Nov 23 18:00:00 h kernel: type=1400 audit(1.1:4): avc:  denied  { read write "
	         "} for  pid=12 "
	         "comm=\"y\"",
	         {"avc", "denied", "permission", "write", "pid", "12", "outcome", "failure"}},
		{"<13>Nov 23 18:00:00 h audit[12]: USER_LOGIN pid=77 uid=0 msg='op=login id=0 "
	         "addr=192.0.2.7 res=success'",
	         {"type", "USER_LOGIN", "pid", "77", "src_ip", "192.0.2.7", "outcome", "success"}},
		{"type=SOCKADDR msg=audit(1.1:4): saddr=02000050C00002070000000000000000",
	         {"laddr", "192.0.2.7", "lport", "80"}},
		{"type=USER_LOGIN msg=audit(1.1:4): msg='acct=\"(unknown)\" hostname=?, addr=?, "
	         "res=failed'",
	         {"!user", "", "!src_ip", "", "outcome", "failure"}},
	};
	CHECK(rows);
}

Test(decode, key_value_bodies)
{
	static const struct row rows[] = {
		{"<4>Nov 23 18:00:00 fw filter: IN=eth0 OUT= SRC=192.0.2.7 DST=198.51.100.1 LEN=60 "
	         "DF PROTO=TCP SPT=1 "
	         "DPT=22 SYN URGP=0",
	         {"src_ip", "192.0.2.7", "dst_port", "22", "protocol", "TCP", "flags", "SYN",
	          "flags", "DF", "@decoder", "keyvalue"}},
		{"<4>Nov 23 18:00:00 fw kernel: [12.5] [UFW BLOCK] IN=eth0 OUT= SRC=192.0.2.7 "
	         "DST=198.51.100.1 "
	         "PROTO=TCP SPT=1 DPT=22",
	         {"src_ip", "192.0.2.7", "action", "block", "outcome", "failure"}},
		{"<189>date=2026-11-23 devname=\"fw 1\" srcip=192.0.2.7 action=\"deny\" user='a b'",
	         {"devname", "fw 1", "src_ip", "192.0.2.7", "action", "deny", "user", "a b"}},
		{"time=\"2026-11-23T18:00:00Z\" level=info msg=\"hello \\\"x\\\" \\\\ y\"",
	         {"msg", "hello \"x\" \\ y", "level", "info", "@time", "2026-11-23T18:00:00.000Z"}},
		{"<189>date=2026-11-23 time=18:00:00 devname=fw tz=\"+0100\" action=deny",
	         {"@time", "2026-11-23T17:00:00.000Z"}},
		{"<189>date=2026-11-23 time=18:00:00 eventtime=1795459571123456789 action=deny",
	         {"@time", "2026-11-23T18:46:11.123Z"}},
		{"<189>date=2026-11-23 time=noon devname=fw action=deny",
	         {"@time", "none", "devname", "fw"}},
		{"<134>1 2026-11-23T18:00:00Z gw CheckPoint 1 - [action:\"Drop\"; "
	         "src:\"192.0.2.7\"; dst:\"198.51.100.1\"; s_port:\"4711\"; user:\"a; b:\\\"c\"]",
	         {"action", "Drop", "src_ip", "192.0.2.7", "dst_ip", "198.51.100.1", "src_port",
	          "4711", "user", "a; b:\"c", "@decoder", "keyvalue"}},
		{"<13>Nov 23 18:00:00 h p: [a:\"b\"] is one", {"!a", "", "@decoder", "rfc3164"}},
		{"<13>Nov 23 18:00:00 h p: a=1, b=2; c=3", {"a", "1", "b", "2", "c", "3"}},
		{"<13>Nov 23 18:00:00 h p: the value of a=1 was set by joe with b=2 today",
	         {"!a", "", "!b", "", "@decoder", "rfc3164"}},
		{"<13>Nov 23 18:00:00 h p: see http://x/?a=1&b=2",
	         {"!a", "", "@decoder", "rfc3164"}},
	};
	CHECK(rows);
}

Test(decode, programs)
{
	static const struct row rows[] = {
		{"<86>Nov 23 18:00:00 h sshd[1]: Failed password for invalid user x from 192.0.2.7 "
	         "port 4 ssh2",
	         {"user", "x", "src_ip", "192.0.2.7", "src_port", "4", "outcome", "failure",
	          "@decoder", "patterns"}},
		{"<86>Nov 23 18:00:00 h sshd-session[1]: Accepted publickey for joe from "
	         "2001:db8::1 port 4 ssh2: RSA "
	         "SHA256:x",
	         {"user", "joe", "src_ip", "2001:db8::1", "method", "publickey", "outcome",
	          "success"}},
		{"<86>Nov 23 18:00:00 h sshd[1]: message repeated 2 times: [ Failed password for "
	         "root from 192.0.2.7 "
	         "port 4 ssh2]",
	         {"repeated", "2", "user", "root", "src_ip", "192.0.2.7", "outcome", "failure"}},
		{"<86>Nov 23 18:00:00 h sudo:      joe : TTY=pts/0 ; PWD=/ ; USER=root ; "
	         "COMMAND=/bin/sh",
	         {"user", "joe", "target_user", "root", "command", "/bin/sh", "tty", "pts/0",
	          "!USER", ""}},
		{"<86>Nov 23 18:00:00 h CRON[1]: (root) CMD (  cd / && run-parts)",
	         {"user", "root", "command", "  cd / && run-parts"}},
		{"<86>Nov 23 18:00:00 h /usr/sbin/CRON[1]: (root) CMD (x)",
	         {"program", "CRON", "command", "x"}},
		{"<86>Nov 23 18:00:00 h postfix/submission/smtpd[1]: warning: x[192.0.2.7]: SASL "
	         "PLAIN authentication "
	         "failed: y",
	         {"src_ip", "192.0.2.7", "outcome", "failure"}},
		{"<86>1 2026-11-23T18:00:00Z h su - - - (to root) joe on pts/0",
	         {"user", "joe", "action", "su"}},
		{"<86>Nov 23 18:00:00 h sshd[1]: something nobody wrote a pattern for",
	         {"program", "sshd", "@decoder", "rfc3164"}},
	};
	CHECK(rows);
}

#define SYSTEM                                                                                     \
	"<System><Provider Name=\"Linux-Sysmon\" Guid='{1}'/><EventID "                            \
	"Qualifiers=\"0\">1</EventID>"                                                             \
	"<TimeCreated "                                                                            \
	"SystemTime=\"2026-11-23T18:00:00.5Z\"/><Correlation/><Channel>C/O</Channel></System>"

Test(decode, event_xml)
{
	static const struct row rows[] = {
		{"2026-11-23T18:00:01Z h sysmon: <Event>" SYSTEM
	         "<EventData><Data Name=\"CommandLine\">a &amp;&lt;&#62;&#x41;&#10; &bad; &#233; "
	         "&</Data><Data Name='Empty'></Data><Data "
	         "Name='None'/><Data>x</Data></EventData></Event>",
	         {"@decoder", "eventxml", "@time", "2026-11-23T18:00:00.500Z", "Provider_Name",
	          "Linux-Sysmon", "ProviderGuid", "{1}", "EventID", "1", "Channel", "C/O",
	          "CommandLine", "a &<>A\n &bad; &#233; &", "Empty", ""}},
		{"<14>Nov 23 18:00:00 h <?xml version=\"1.0\"?>\n<Event xmlns='x>y'>\n " SYSTEM
	         "<UserData>\n<n:L "
	         "xmlns:n='y'>\n<n:SubjectUserName>joe</n:SubjectUserName></n:L></"
	         "UserData><RenderingInfo><Message>m</Message><Level>No</Level></RenderingInfo></"
	         "Event>",
	         {"host", "h", "SubjectUserName", "joe", "Message", "m", "!Level", "", "!L", ""}},
		{"<Event><System><EventID>7</EventID><!-- <Channel>no</Channel> "
	         "--><Channel><![CDATA[a<b]]></Channel></System><EventData><Data Name='S'>cut o",
	         {"EventID", "7", "Channel", "a<b", "S", "cut o"}},
		{"<Event><System><EventID>7</EventID></System><EventData><Data Name='S'>cut</Da",
	         {"S", "cut"}},
		{"<13>Nov 23 18:00:00 h p: <Event>nothing</Event>",
	         {"@decoder", "rfc3164", "message", "<Event>nothing</Event>"}},
		{"<13>Nov 23 18:00:00 h p: <Event><System><EventID", {"@decoder", "rfc3164"}},
	};
	CHECK(rows);
}

Test(decode, keywords_find_what_xml_escapes)
{
	decode(STR("<Event>" SYSTEM
	           "<EventData><Data Name='A'>x &amp; y</Data><Data Name='B'>z</Data>"
	           "</EventData></Event>"));
	cr_expect_not(event_find(&e, STR("A"))->derived);
	cr_expect(event_find(&e, STR("B"))->derived, "that one stands in the message");
}

Test(decode, web_servers_relays_and_containers)
{
	static const struct row rows[] = {
		{"192.0.2.7 - joe [23/Nov/2026:18:00:00 +0100] \"GET /a?b=%27 HTTP/1.1\" 404 12 "
	         "\"-\" \"x y\"",
	         {"@time", "2026-11-23T17:00:00.000Z", "src_ip", "192.0.2.7", "user", "joe",
	          "request_uri", "/a?b=%27", "status", "404", "http_user_agent", "x y",
	          "!http_referer", ""}},
		{"<190>Nov 23 18:00:00 h nginx: 192.0.2.7 - - [23/Nov/2026:18:00:01 +0000] \"GET / "
	         "HTTP/1.1\" 200 1 \"-\" \"-\"",
	         {"@time", "2026-11-23T18:00:00.000Z", "program", "nginx", "request_method", "GET",
	          "!user", ""}},
		{"<38>Nov 23 18:00:00 relay Message forwarded from h: sshd[1]: Invalid user x from "
	         "192.0.2.7 port 4",
	         {"host", "h", "program", "sshd", "user", "x", "src_ip", "192.0.2.7"}},
		{"<38>Nov 23 18:00:00 relay Message forwarded from nobody", {"host", "relay"}},
		{"<86>Nov 23 18:00:00 h gdm-password]: pam_unix(gdm-password:auth): check pass; "
	         "user unknown",
	         {"program", "gdm-password", "outcome", "failure"}},
		{"2026-11-23T18:00:00.5Z stderr F login failed",
	         {"!host", "", "message", "stderr F login failed"}},
	};
	CHECK(rows);
}

Test(decode, what_nothing_understands_stays_whole)
{
	static const struct str frames[] = {
		STR(""),
		STR("hello"),
		STR("<html>"),
		STR("<>x"),
		STR("\xff\xfe\x00\x01"),
		STR("{\"a\":1"),
		STR("[1]"),
		STR("<13"),
		STR("Nov 23"),
		STR("=== a"),
		STR("CEF:"),
		STR("LEEF:1.0|"),
		STR("type=x"),
	};
	for (size_t i = 0; i < sizeof(frames) / sizeof(*frames); i++) {
		decode(frames[i]);
		cr_expect(e.flags & EVENT_UNDECODED, "%zu", i);
		cr_expect(e.flags & EVENT_NO_TIME, "%zu", i);
		cr_expect_eq(e.count, 1, "%zu", i);
		cr_expect(str_eq(event_value(&e, STR("message")), frames[i]), "%zu", i);
		cr_expect(str_eq(e.raw, frames[i]), "%zu", i);
		cr_expect(str_eq(e.message, frames[i]), "%zu", i);
	}
}

/* Found by fuzz_decode: a line end between the words of a tag was nobody's, and the loop over them stood still. */
Test(decode, other_white_space_in_a_header_ends_words_too)
{
	static const char *const spaces[] = {"\n", "\r", "\v", "\f", "\t"};
	char frame[128];

	for (size_t i = 0; i < sizeof(spaces) / sizeof(*spaces); i++) {
		snprintf(frame, sizeof(frame), "<13>Nov 23 18:00:00 h a%sb c: x", spaces[i]);
		decode(str_of(frame));
		cr_expect_not(e.flags & EVENT_UNDECODED);
		snprintf(frame, sizeof(frame), "<13>%sa%s%sb[1]%s: x", spaces[i], spaces[i],
		         spaces[i], spaces[i]);
		decode(str_of(frame));
		cr_expect_not(e.flags & EVENT_UNDECODED);
	}
}

Test(decode, bad_bytes_are_kept_and_told)
{
	decode(STR("<13>Nov 23 18:00:00 h p: a\xff\xc0z"));
	cr_assert(e.flags & EVENT_BAD_UTF8);
	cr_assert(str_eq(event_value(&e, STR("message")), STR("a\xff\xc0z")));
	decode(STR("<13>Nov 23 18:00:00 h p: a\0b"));
	cr_assert(e.flags & EVENT_BAD_UTF8);
	cr_assert(str_eq(event_value(&e, STR("message")), STR("a\0b")));
	decode(STR("<13>Nov 23 18:00:00 h p: trailing\0\0"));
	cr_assert_not(e.flags & EVENT_BAD_UTF8);
	cr_assert(str_eq(event_value(&e, STR("message")), STR("trailing")));
	decode(STR("<13>Nov 23 18:00:00 h p: gr\xc3\xbc\xc3\x9f"));
	cr_assert_not(e.flags & EVENT_BAD_UTF8);
}

/* Frames of the largest size that are built to make a decoder go over them again and again. Criterion's time limit
 * is generous on purpose: quadratic work would take minutes here. */
Test(decode, frames_built_to_be_slow_are_not, .timeout = 60)
{
	static const struct {
		const char *start, *again;
	} shapes[] = {
		{"type=X msg=audit(1.1:1): ", "a='b "},
		{"type=X msg=audit(1.1:1): ", "a=\"b "},
		{"CEF:0|V|P|1|2|n|5|", "aLabel=b "},
		{"CEF:0|V|P|1|2|n|5|", "=a\\"},
		{"LEEF:2.0|V|P|1|2|x|", "xa=b"},
		{"<1>1 - - - - - ", "[a b=\"\"]"},
		{"<13>Nov 23 18:00:00 h sshd[1]: Failed password for ", "a from 192.0.2.1 port "},
		{"<13>Nov 23 18:00:00 h sudo: a : ", " ; PWD=a ; USER="},
		{"<13>Nov 23 18:00:00 h named: client ", "1:"},
		{"<13>Nov 23 18:00:00 h p: message repeated 2 times: [ ",
	         "message repeated 2 times: [ "},
		{"<13>", "Nov 23 18:00:00 "},
		{"<13>Nov 23 18:00:00 h ", "a:"},
		{"", "a=\"b "},
		{"", "{\"a\":"},
		{"", "[{\"Data\":"},
	};
	char *frame = malloc(65536);

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		size_t n = strlen(shapes[i].start), m = strlen(shapes[i].again);
		memcpy(frame, shapes[i].start, n);
		for (; n + m <= 65536; n += m)
			memcpy(frame + n, shapes[i].again, m);
		for (int round = 0; round < 20; round++)
			decode(str_make(frame, n));
		cr_expect_eq(e.raw.n, n);
	}
	free(frame);
}

Test(decode, works_without_patterns)
{
	struct decoder *bare = decoder_new(NULL);

	event_reset(&e);
	e.received_ns = RECEIVED * NS_PER_SECOND;
	event_decode(bare, &e, STR("<86>Nov 23 18:00:00 h sshd[1]: Failed password for x"));
	cr_assert(str_eq(event_value(&e, STR("program")), STR("sshd")));
	cr_assert_null(event_value(&e, STR("outcome")).p);
	decoder_free(bare);
}
