/* The decoders on real input, and how they treat the allocator. The corpora are no part of the repository: they
 * are looked for under $ISOD_SHARED (default ../shared), and the tests are skipped when they are not there. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "allocations.h"
#include "decode_rig.h"

TestSuite(corpus, .init = setup, .fini = teardown);

static FILE *open_corpus(const char *name)
{
	const char *shared = getenv("ISOD_SHARED");
	char path[4096];

	snprintf(path, sizeof(path), "%s/corpus/syslog/%s", shared ? shared : "../shared", name);
	FILE *f = fopen(path, "r");
	if (!f)
		cr_skip_test("no corpus at %s", path);
	return f;
}

struct seen {
	size_t lines, undecoded, failed, failed_complete;
};

static void look(struct seen *s)
{
	s->lines++;
	s->undecoded += !!(e.flags & EVENT_UNDECODED);
	cr_expect(event_find(&e, STR("host")), "%.*s", STR_FMT(e.raw));
	cr_expect(event_find(&e, STR("program")), "%.*s", STR_FMT(e.raw));
	if (str_search(e.message, STR("Failed password")) < 0)
		return;
	s->failed++;
	s->failed_complete += event_find(&e, STR("user")) && event_find(&e, STR("src_ip")) &&
	                      event_find(&e, STR("src_port")) &&
	                      str_eq(event_value(&e, STR("outcome")), STR("failure"));
}

/* `before` is what a shipper puts before each line. */
static struct seen walk(const char *name, const char *before)
{
	FILE *f = open_corpus(name);
	struct seen s = {0};
	char *line = NULL, frame[8192];
	size_t cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, f)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		snprintf(frame, sizeof(frame), "%s%s", before, line);
		decode(str_of(frame));
		look(&s);
		if (*before)
			cr_expect(str_eq(event_value(&e, STR("relay.host")), STR("shipper")), "%s",
			          frame);
	}
	free(line);
	fclose(f);
	return s;
}

#define SHIPPED "<13>1 2026-11-23T18:00:00.1Z shipper joe - - [timeQuality tzKnown=\"1\"] "

Test(corpus, openssh_lines_are_understood)
{
	struct seen bare = walk("OpenSSH_2k.log", ""), shipped = walk("OpenSSH_2k.log", SHIPPED);

	cr_assert_eq(bare.lines, 2000);
	cr_assert_eq(bare.undecoded, 0);
	cr_assert_gt(bare.failed, 500);
	cr_assert_eq(bare.failed_complete, bare.failed);
	cr_assert_eq(shipped.failed_complete, bare.failed);
}

Test(corpus, linux_lines_are_understood)
{
	struct seen bare = walk("Linux_2k.log", ""), shipped = walk("Linux_2k.log", SHIPPED);

	cr_assert_eq(bare.lines, 2000);
	cr_assert_eq(bare.undecoded, 0);
	cr_assert_eq(shipped.undecoded, 0);
}

static const char *const frames[] = {
	"<86>Nov 23 18:00:00 h sshd[1]: Failed password for invalid user x from 2001:db8::1 port 4 "
	"ssh2",
	"<86>Nov 23 18:00:00 h sshd[1]: pam_unix(sshd:auth): authentication failure; logname= "
	"uid=0 rhost=192.0.2.7",
	"<34>1 2003-10-11T22:14:15Z h su - ID47 [a@1 b=\"\\]\" c=\"2\"] text",
	"{\"a\":{\"b\":[1,2,{\"c\":\"\\u00e9\\n\"}]},\"EventData\":{\"Data\":[{\"@Name\":\"x\",\"#"
	"text\":\"y\"}]}}",
	"CEF:0|V|P|1|2|n|5|cs1Label=Rule cs1=my \\= rule src=192.0.2.1",
	"LEEF:2.0|IBM|Q|1|5|x5E|src=192.0.2.7^usrName=joe",
	"type=EXECVE msg=audit(1700000000.123:456): argc=3 a0=\"sh\" a1=\"-c\" a2=6C73202D6C61",
	"time=\"2026-11-23T18:00:00Z\" level=info msg=\"hello \\\"x\\\"\"",
	"nothing at all",
};

Test(corpus, nothing_is_allocated_per_event_once_warm)
{
	if (!COUNTS_ALLOCATIONS)
		cr_skip_test("a sanitizer has its own allocator");
	for (int round = 0; round < 3; round++) {
		size_t before = allocations();
		for (size_t i = 0; i < sizeof(frames) / sizeof(*frames); i++)
			decode(str_of(frames[i]));
		size_t after = allocations();
		if (round == 0)
			cr_assert_gt(after, before, "the count works");
		else
			cr_assert_eq(after, before);
	}
}
