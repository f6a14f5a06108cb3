/* Who an event is from, as fields: what the source and the certificate say, that no sender can forge them, and whether the
 * host in a message is one that the certificate names. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "event/decode.h"
#include "event/origin.h"

static struct event e;
static struct decoder *decoder;

static void begin(void)
{
	event_setup(&e);
	decoder = decoder_new(NULL);
}

static void finish(void)
{
	event_release(&e);
	decoder_free(decoder);
}

TestSuite(origin, .init = begin, .fini = finish);

/* `names`: NAME\0NAME\0…, terminated by the literal's own NUL; NULL: the peer showed no certificate. */
static void decode(const char *frame, const char *source, const char *names, size_t names_bytes,
                   bool more)
{
	static char identity[ORIGIN_IDENTITY_MAX];
	struct tls_certificate c = {.more = more, .fingerprint = {0xab, 0xcd}};
	size_t n = 0;

	if (names) {
		memcpy(c.names, names, names_bytes);
		c.names_bytes = names_bytes;
		n = origin_identity(&c, identity);
	}
	event_reset(&e);
	e.source = str_of(source);
	event_decode(decoder, &e, str_of(frame));
	origin_put(&e, str_make(identity, n));
}

static void expect(const char *name, const char *value)
{
	struct str got = event_value(&e, str_of(name));

	cr_expect(value ? str_eq(got, str_of(value)) : !got.p, "%s is \"%.*s\"", name,
	          STR_FMT(got));
}

Test(origin, what_the_source_says)
{
	decode("<13>1 - web1 app - - - hello", "tls/192.0.2.1", NULL, 0, false);
	expect("isod.listener", "tls");
	expect("isod.peer", "192.0.2.1");
	expect("isod.certificate", NULL);
	expect("isod.fingerprint", NULL);
	expect("isod.host", NULL);
	decode("x", "tls", NULL, 0, false);
	expect("isod.listener", "tls");
	expect("isod.peer", NULL);
}

Test(origin, what_the_certificate_says)
{
	static const char names[] = "web1\0web1.example.org";

	decode("<13>1 - web1 app - - - hello", "tls/192.0.2.1", names, sizeof(names), false);
	expect("isod.certificate", "web1");
	const struct field *f = event_find(&e, STR("isod.certificate"));
	f = event_next(&e, f);
	cr_assert_not_null(f);
	cr_expect(str_eq(f->value, STR("web1.example.org")));
	cr_expect(f->derived, "not for keyword searches");
	cr_expect_null(event_next(&e, f));
	cr_expect(str_starts(event_value(&e, STR("isod.fingerprint")), STR("sha-256:AB:CD:00:")));
	expect("isod.host", "agrees");
}

Test(origin, a_sender_cannot_say_it_itself)
{
	static const char names[] = "web1";

	decode("{\"host\":\"db9\",\"isod.host\":\"agrees\",\"isod.certificate\":[\"db9\",\"x\"],"
	       "\"isod\":{\"peer\":\"10.0.0.1\",\"listener\":\"y\",\"other\":\"z\"},"
	       "\"isod.fingerprint\":\"f\"}",
	       "tls/192.0.2.1", names, sizeof(names), false);
	expect("isod.host", "differs");
	expect("isod.peer", "192.0.2.1");
	expect("isod.listener", "tls");
	expect("isod.certificate", "web1");
	cr_expect_null(event_next(&e, event_find(&e, STR("isod.certificate"))));
	cr_expect_null(event_next(&e, event_find(&e, STR("isod.host"))));
	expect("claimed.isod.host", "agrees");
	expect("claimed.isod.peer", "10.0.0.1");
	expect("claimed.isod.certificate", "db9");
	expect("claimed.isod.fingerprint", "f");
	expect("isod.other", "z");
	expect("host", "db9");
	decode("{\"isod.host\":\"agrees\",\"isod.certificate\":\"db9\"}", "tcp/192.0.2.1", NULL, 0,
	       false);
	expect("isod.host", NULL);
	expect("isod.certificate", NULL);
}

#define NAMES(text) text, sizeof(text)

Test(origin, hosts_that_agree_and_hosts_that_differ)
{
	static const struct {
		const char *host, *names;
		size_t bytes;
		bool more;
		const char *verdict;
	} cases[] = {
		{"web1", NAMES("web1"), false, "agrees"},
		{"WEB1", NAMES("web1"), false, "agrees"},
		{"web1", NAMES("web1.example.org"), false, "agrees"},
		{"web1.example.org", NAMES("web1"), false, "agrees"},
		{"web1.example.org.", NAMES("web1.example.org"), false, "agrees"},
		{"web1.example.com", NAMES("web1.example.org"), false, "differs"},
		{"web1", NAMES("x\0y\0web1.example.org"), false, "agrees"},
		{"web2", NAMES("web1"), false, "differs"},
		{"web", NAMES("web1"), false, "differs"},
		{"web1", NAMES("web"), false, "differs"},
		{"a.example.org", NAMES("*.example.org"), false, "agrees"},
		{"a", NAMES("*.example.org"), false, "agrees"},
		{"a.b.example.org", NAMES("*.example.org"), false, "differs"},
		{"a.example.com", NAMES("*.example.org"), false, "differs"},
		{"192.0.2.9",
	         NAMES("web1\0"
	               "192.0.2.9"),
	         false, "agrees"},
		{"192.0.2.1", NAMES("web1"), false, "agrees"}, /* where it comes from */
		{"192.0.2.9", NAMES("192"), false, "differs"},
		{"192", NAMES("192.0.2.9"), false, "differs"},
		{"web2", NAMES("web1"), true, NULL}, /* perhaps by a name that was left out */
		{"web1", NAMES("web1"), true, "agrees"},
		{"-", NAMES("web1"), false, NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char frame[100];
		snprintf(frame, sizeof(frame), "<13>1 - %s app - - - hello", cases[i].host);
		decode(frame, "tls/192.0.2.1", cases[i].names, cases[i].bytes, cases[i].more);
		struct str got = event_value(&e, STR("isod.host"));
		cr_expect(cases[i].verdict ? str_eq(got, str_of(cases[i].verdict)) : !got.p,
		          "%s: \"%.*s\"", cases[i].host, STR_FMT(got));
	}
}

Test(origin, a_certificate_without_names_agrees_with_nobody)
{
	decode("<13>1 - web1 app - - - hello", "tls/192.0.2.1", "", 0, false);
	cr_expect(event_value(&e, STR("isod.fingerprint")).n > 0);
	expect("isod.certificate", NULL);
	expect("isod.host", NULL);
}
