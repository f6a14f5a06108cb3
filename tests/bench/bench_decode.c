/* What it costs to make an event of a line, kind by kind, beside the least that anything costs that looks at every
 * byte: a copy and a CRC32C of it, in the same run. bench_decode [KIND…]: all kinds, or those alone.
 * ROUNDS=1 for a profiler that counts instructions.
 *
 * Time is that of this thread on a processor; the kinds take turns and the best round of each counts, for other work on
 * the machine can only make one slower. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "event/decode.h"

#define ROUNDS_DEFAULT 15
#define LINES          20000
#define LINES_MAX      8
#define RECEIVED_NS    (UINT64_C(1795460000) * NS_PER_SECOND) /* 2026-11-23T18:53:20Z */

struct kind {
	const char *name;
	const char *lines[LINES_MAX]; /* in turn */
	uint64_t decode_ns, pass_ns;
};

static struct kind kinds[] = {
	{.name = "plain",
         .lines = {"<134>Nov 23 18:00:00 web1 app[4711]: ordinary line of a program 000000017 "
                   "xxxxxxxxxxxxxxxxxxxxxxxxx"
                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                   "<30>Nov  3 08:01:59 db-02.example.org collector[901]: wrote 4096 points of 17 "
                   "series in 12 ms, 3 "
                   "segments are open, next at 08:02:59"}},
	{.name = "plain5424",
         .lines = {"<134>1 2026-11-23T18:00:00.123456+01:00 web1 app 4711 - - ordinary line of a "
                   "program 000000017 xxxx"
                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                   "<30>1 2026-11-23T18:00:00Z db-02.example.org collector 901 WROTE [origin "
                   "ip=\"192.0.2.4\"] wrote "
                   "4096 points of 17 series in 12 ms"}},
	{.name = "sshd",
         .lines = {"<38>Nov 23 18:00:00 bastion-01 sshd[21871]: Failed password for invalid user "
                   "webmaster from "
                   "198.51.100.23 port 38926 ssh2",
                   "<38>Nov 23 18:00:01 bastion-01 sshd[21871]: Accepted publickey for deploy from "
                   "192.0.2.7 port "
                   "49116 ssh2: ED25519 SHA256:x7aGQ",
                   "<38>Nov 23 18:00:02 bastion-01 sshd[21871]: Received disconnect from "
                   "2001:db8::7 port 4711:11: "
                   "disconnected by user [preauth]",
                   "<86>Nov 23 18:00:03 bastion-01 sshd[21871]: pam_unix(sshd:session): session "
                   "opened for user "
                   "deploy(uid=1001) by (uid=0)"}},
	{.name = "sudo",
         .lines = {"<85>Nov 23 18:00:00 web1 sudo[3111]:   joe : TTY=pts/0 ; PWD=/home/joe ; "
                   "USER=root ; "
                   "COMMAND=/usr/bin/systemctl restart nginx.service",
                   "<86>Nov 23 18:00:00 web1 sudo: pam_unix(sudo:session): session closed for user "
                   "root"}},
	{.name = "cron",
         .lines = {"<78>Nov 23 18:00:01 web1 CRON[81242]: (root) CMD (command -v debian-sa1 > "
                   "/dev/null && debian-sa1 1 "
                   "1 && /usr/local/sbin/rotate-all)"}},
	{.name = "kernel",
         .lines = {"<4>Nov 23 18:00:00 fw1 kernel: [12345.678901] DROP IN=eth0 OUT= "
                   "SRC=198.51.100.9 DST=192.0.2.1 "
                   "LEN=60 TTL=52 PROTO=TCP SPT=4444 DPT=22 SYN",
                   "<6>Nov 23 18:00:00 fw1 kernel: [12346.000001] e1000e 0000:00:1f.6 eth0: NIC "
                   "Link is Up 1000 Mbps "
                   "Full Duplex, Flow Control: Rx/Tx"}},
	{.name = "nginx",
         .lines = {"<190>Nov 23 18:00:00 web1 nginx: 198.51.100.9 - - [23/Nov/2026:18:00:00 +0000] "
                   "\"GET "
                   "/index.html?q=1 HTTP/1.1\" 200 612 \"-\" \"curl/7.88.1\""}},
	{.name = "pairs",
         .lines = {"<134>Nov 23 18:00:00 gw1 api[77]: level=info msg=\"request done\" method=GET "
                   "path=/v1/items "
                   "status=200 user=joe remote_addr=192.0.2.9 took=12ms"}},
	{.name = "json",
         .lines = {"{\"@timestamp\":\"2026-11-23T18:00:00.123Z\",\"host\":\"web1\",\"program\":"
                   "\"api\",\"level\":"
                   "\"info\",\"message\":\"request done\",\"status\":200,\"user\":\"joe\"}"}},
	{.name = "cef",
         .lines = {"<134>Nov 23 18:00:00 gw1 CEF:0|Acme|Gate|1.0|100|blocked|5|src=198.51.100.9 "
                   "spt=4444 "
                   "dst=192.0.2.1 dpt=22 proto=TCP act=blocked suser=joe"}},
	{.name = "auditd",
         .lines = {"<13>Nov 23 18:00:00 web1 audispd: type=USER_LOGIN "
                   "msg=audit(1795456800.123:4711): pid=812 uid=0 "
                   "auid=1001 ses=3 msg='op=login id=1001 exe=\"/usr/sbin/sshd\" res=success'"}},
};

struct bench {
	struct patterns *patterns;
	struct decoder *decoder;
	struct event event;
	size_t work; /* what was found, so that nothing is left out */
};

static uint64_t thread_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

static void least(uint64_t *best, uint64_t took)
{
	if (*best == 0 || took < *best)
		*best = took;
}

static size_t split(const struct kind *k, struct str lines[static LINES_MAX])
{
	size_t n = 0;

	for (; n < LINES_MAX && k->lines[n]; n++)
		lines[n] = str_of(k->lines[n]);
	return n;
}

static void decode(struct bench *b, struct kind *k)
{
	struct str lines[LINES_MAX];
	size_t n = split(k, lines);
	uint64_t begin = thread_time();

	for (size_t i = 0, at = 0; i < LINES; i++, at = at + 1 < n ? at + 1 : 0) {
		event_reset(&b->event);
		b->event.received_ns = RECEIVED_NS;
		event_decode(b->decoder, &b->event, lines[at]);
		b->work += b->event.count;
	}
	least(&k->decode_ns, thread_time() - begin);
}

static void pass(struct bench *b, struct kind *k)
{
	static char copy[4096];
	struct str lines[LINES_MAX];
	size_t n = split(k, lines);
	uint64_t begin = thread_time();

	for (size_t i = 0, at = 0; i < LINES; i++, at = at + 1 < n ? at + 1 : 0) {
		memcpy(copy, lines[at].p, lines[at].n);
		b->work += crc32c(0, str_make(copy, lines[at].n));
	}
	least(&k->pass_ns, thread_time() - begin);
}

static bool is_asked(const struct kind *k, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], k->name) == 0)
			return true;
	return argc < 2;
}

static int start(struct bench *b)
{
	struct diags diags;
	char line[1024];

	diags_init(&diags);
	int r = patterns_load("conf/patterns.yaml", &diags, &b->patterns);
	for (size_t i = 0; i < diags.count; i++)
		fprintf(stderr, "%s\n", diag_format(&diags.items[i], line, sizeof(line)));
	diags_release(&diags);
	if (r < 0)
		return r;
	b->decoder = decoder_new(b->patterns);
	event_setup(&b->event);
	return 0;
}

int main(int argc, char **argv)
{
	const char *rounds = getenv("ROUNDS");
	struct bench b = {0};

	if (start(&b) < 0)
		return 1;
	for (int round = rounds ? atoi(rounds) : ROUNDS_DEFAULT; round > 0; round--)
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
			if (!is_asked(&kinds[i], argc, argv))
				continue;
			decode(&b, &kinds[i]);
			pass(&b, &kinds[i]);
		}
	printf("%-10s %10s %16s %8s\n", "kind", "ns a line", "copy and CRC32C", "times");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (is_asked(&kinds[i], argc, argv))
			printf("%-10s %10.0f %16.1f %8.1f\n", kinds[i].name,
			       (double)kinds[i].decode_ns / LINES, (double)kinds[i].pass_ns / LINES,
			       (double)kinds[i].decode_ns / (double)kinds[i].pass_ns);
	decoder_free(b.decoder);
	patterns_free(b.patterns);
	event_release(&b.event);
	return b.work ? 0 : 1;
}
