/* Templates with places to fill: {h} host, {p} process id, {a} address outside, {i} address inside, {u} user, {n} number,
 * {x} eight hexadecimal digits, {d} a domain, {w} words enough to come to the mean length. */
#include "traffic.h"

#include <stdlib.h>

#include "base/mem.h"

#define HOSTS     40
#define RARE      100 /* one line in so many is worth a rule's look */
#define LARGE     1000
#define WORDS_MIN 8

struct template
{
	const char *priority, *program; /* program with its process id or without */
	const char *text;
};

static const struct template usual[] = {
	{"86", "sshd[{p}]",
         "pam_unix(sshd:session): session opened for user {u}(uid={n}) by (uid=0)"},
	{"86", "sshd[{p}]", "Received disconnect from {i} port {n}:11: disconnected by user"},
	{"78", "CRON[{p}]",
         "({u}) CMD (test -x /usr/lib/{w} && /usr/bin/run-parts --report /etc/cron.hourly)"},
	{"30", "systemd[1]", "Started session-{n}.scope - Session {n} of User {u}."},
	{"30", "systemd[1]", "{d}-refresh.service: Deactivated successfully after {n} ms: {w}"},
	{"86", "sshd[{p}]", "Connection closed by authenticating user {u} {i} port {n} [preauth]"},
	{"6", "kernel", "[{n}.{p}] audit: backlog limit exceeded by {n}, {w}"},
	{"6", "kernel", "[{n}.{p}] docker0: port 1(veth{x}) entered forwarding state"},
	{"22", "postfix/smtp[{p}]",
         "{x}: to=<{u}@{d}>, relay=mx.{d}[{a}]:25, delay=0.4, dsn=2.0.0, status=sent (250 ok {w})"},
	{"22", "postfix/qmgr[{p}]", "{x}: from=<{u}@{d}>, size={n}, nrcpt=1 (queue active)"},
	{"190", "nginx",
         "{a} - - [23/Nov/2026:18:00:00 +0000] \"GET /static/{w}.js HTTP/1.1\" 200 {n} "
         "\"https://{d}/\" \"Mozilla/5.0 (X11; Linux x86_64)\""},
	{"190", "nginx",
         "{a} - {u} [23/Nov/2026:18:00:01 +0000] \"POST /api/v2/items/{n} HTTP/1.1\" 204 0 \"-\" "
         "\"okhttp/4.9\""},
	{"134", "haproxy[{p}]",
         "{a}:{n} [23/Nov/2026:18:00:00.123] front~ back/srv{p} 0/0/1/8/9 200 {n} - - ---- "
         "12/3/0/0/0 0/0 \"GET /{w} HTTP/1.1\""},
	{"30", "dhclient[{p}]", "DHCPACK of {i} from {i} (xid=0x{x})"},
	{"30", "NetworkManager[{p}]",
         "<info>  [{n}.{p}] dhcp4 (eth0): state changed new lease, address={i}"},
	{"30", "dbus-daemon[{p}]", "[system] Successfully activated service 'org.freedesktop.{w}'"},
	{"30", "named[{p}]", "client @0x{x} {i}#{n} (www.{d}): query: www.{d} IN A +E(0)K ({i})"},
	{"29", "app-server[{p}]",
         "level=info request_id={x}{x} user={u} path=/orders/{n} status=200 took={n}us {w}"},
	{"30", "app-worker[{p}]", "job {x} done in {n} ms: {w}"},
	{"30", "app-worker[{p}]", "reading queue orders.{u}: {n} waiting, {w}"},
	{"30", "telegraf[{p}]", "{n} I! [outputs.file] wrote batch of {n} metrics in {p} us {w}"},
	{"46", "rsyslogd", "[origin software=\"rsyslogd\" x-pid=\"{p}\"] {w}"},
};

static const struct template rare[] = {
	{"86", "sshd[{p}]",
         "Accepted publickey for {u} from {i} port {n} ssh2: ED25519 SHA256:{x}{x}{x}{x}{x}"},
	{"4", "kernel",
         "[{n}.{p}] [UFW BLOCK] IN=eth0 OUT= MAC={x} SRC={a} DST={i} LEN=60 TOS=0x00 TTL=51 ID={n} "
         "PROTO=TCP SPT={n} DPT=23 WINDOW=1024 SYN"},
	{"86", "sshd[{p}]", "Failed password for invalid user {u} from {a} port {n} ssh2"},
	{"85", "sudo", "{u} : TTY=pts/{p} ; PWD=/home/{u} ; USER=root ; COMMAND=/usr/bin/{w}"},
	{"85", "su[{p}]", "FAILED SU (to root) {u} on pts/{p}"},
	{"86", "useradd[{p}]",
         "new user: name={u}, UID={n}, GID={n}, home=/home/{u}, shell=/bin/bash, from=/dev/pts/1"},
	{"190", "nginx",
         "{a} - - [23/Nov/2026:18:00:00 +0000] \"GET /?q=../../../../etc/passwd HTTP/1.1\" 404 {n} "
         "\"-\" \"curl/7.88\""},
};

static const struct template large[] = {
	{"134", "gateway[{p}]",
         "{\"@timestamp\":\"2026-11-23T18:00:00.123Z\",\"log\":{\"level\":\"info\",\"logger\":"
         "\"com.example.http\"},"
         "\"service\":{\"name\":\"gateway\",\"version\":\"1.{n}.0\",\"environment\":\"production\"}"
         ",\"host\":{\"name\":\"{h}\",\"ip\":\"{i}\"},"
         "\"process\":{\"pid\":{p},\"thread\":{\"name\":\"worker-{n}\"}},\"trace\":{\"id\":\"{x}{x}"
         "{x}{x}\"},\"span\":{\"id\":\"{x}{x}\"},"
         "\"http\":{\"version\":\"1.1\",\"request\":{\"method\":\"POST\",\"bytes\":{n},\"mime_"
         "type\":\"application/json\"},\"response\":{\"status_code\":200,\"bytes\":{n}}},"
         "\"url\":{\"path\":\"/api/v2/orders/"
         "{n}\",\"domain\":\"{d}\",\"scheme\":\"https\"},\"client\":{\"address\":\"{a}\",\"port\":{"
         "n}},"
         "\"user\":{\"name\":\"{u}\",\"roles\":[\"customer\",\"reader\"]},\"labels\":{\"team\":"
         "\"shop\",\"zone\":\"b\"},\"event\":{\"duration\":{n}},"
         "\"message\":\"{w}\"}"},
	{"134", "winlogbeat",
         "{\"EventID\":4624,\"Channel\":\"Security\",\"Provider_Name\":\"Microsoft-Windows-"
         "Security-Auditing\",\"Computer\":\"{h}.{d}\","
         "\"EventRecordID\":{n},\"Level\":0,\"Task\":12544,\"Keywords\":\"0x8020000000000000\","
         "\"SubjectUserSid\":\"S-1-5-18\",\"SubjectUserName\":\"{h}$\","
         "\"SubjectLogonId\":\"0x3e7\",\"TargetUserSid\":\"S-1-5-21-{n}-{n}-{n}-{p}\","
         "\"TargetUserName\":\"{u}\",\"TargetDomainName\":\"EXAMPLE\",\"TargetLogonId\":\"0x{x}\","
         "\"LogonType\":3,\"LogonProcessName\":\"Kerberos\",\"AuthenticationPackageName\":"
         "\"Kerberos\",\"LogonGuid\":\"{x}-{x}\",\"ProcessName\":\"-\","
         "\"IpAddress\":\"{i}\",\"IpPort\":\"{n}\",\"ImpersonationLevel\":\"Impersonation\","
         "\"ElevatedToken\":\"No\",\"UtcTime\":\"2026-11-23 18:00:00.123\","
         "\"Message\":\"An account was successfully logged on. {w}\"}"},
	{"131", "app-server[{p}]",
         "java.lang.IllegalStateException: order {n} of {u} was changed meanwhile at "
         "com.example.shop.{w}"},
};

static const char *const users[] = {"alice",  "bob",     "carol",   "deploy",   "www-data",
                                    "backup", "mallory", "jenkins", "postgres", "dave"};
static const char *const domains[] = {"example.com", "example.org", "shop.example.net",
                                      "mail.example.com", "cdn.example.net"};
static const char *const words[] = {"cache",  "session", "order",   "worker", "index",
                                    "stream", "report",  "storage", "update", "account",
                                    "policy", "balance", "region",  "batch",  "message",
                                    "window", "handler", "retry",   "commit", "lookup"};

void traffic_init(struct traffic *t, size_t bytes, uint64_t seed)
{
	*t = (struct traffic){.random = seed * 0x9e3779b97f4a7c15 + 1, .bytes = bytes};
}

/* Below `n` (xorshift64*). */
static uint64_t below(struct traffic *t, uint64_t n)
{
	t->random ^= t->random >> 12;
	t->random ^= t->random << 25;
	t->random ^= t->random >> 27;
	return (t->random * 0x2545f4914f6cdd1d >> 33) % n;
}

static void put_words(struct traffic *t, struct buf *out, size_t n)
{
	size_t end = out->n + n;

	while (out->n < end)
		buf_printf(out, "%s%s", words[below(t, ARRAY_LEN(words))], below(t, 6) ? "." : "_");
	out->n = end;
	out->p[end - 1] = 's';
}

static void put_place(struct traffic *t, struct buf *out, char place)
{
	switch (place) {
	case 'h':
		buf_printf(out, "%s%02d", below(t, 2) ? "web" : "db", (int)below(t, HOSTS));
		break;
	case 'p': buf_printf(out, "%d", (int)below(t, 30000) + 300); break;
	case 'a': buf_printf(out, "203.0.%d.%d", (int)below(t, 256), (int)below(t, 256)); break;
	case 'i': buf_printf(out, "10.1.%d.%d", (int)below(t, 4), (int)below(t, 256)); break;
	case 'u': buf_printf(out, "%s", users[below(t, ARRAY_LEN(users))]); break;
	case 'n': buf_printf(out, "%d", (int)below(t, 60000) + 1); break;
	case 'x': buf_printf(out, "%08x", (unsigned)below(t, UINT32_MAX)); break;
	case 'd': buf_printf(out, "%s", domains[below(t, ARRAY_LEN(domains))]); break;
	default: buf_putc(out, '?'); break;
	}
}

/* Fills the template; returns where its words belong, or the end. */
static size_t fill(struct traffic *t, struct buf *out, const char *text)
{
	size_t at = 0;

	for (; *text; text++) {
		if (text[0] == '{' && text[1] && text[2] == '}') {
			if (text[1] == 'w')
				at = out->n;
			else
				put_place(t, out, text[1]);
			text += 2;
		} else {
			buf_putc(out, *text);
		}
	}
	return at;
}

static void header(struct traffic *t, struct buf *out, const struct template *x)
{
	static const char *const formats[] = {
		"<%s>Nov 23 18:%02d:%02d ", "<%s>Nov 23 18:%02d:%02d ",
		"<%s>2026-11-23T18:%02d:%02d.123456+00:00 ", "<%s>1 2026-11-23T18:%02d:%02d.123Z "};
	size_t which = below(t, ARRAY_LEN(formats));

	buf_printf(out, formats[which], x->priority, (int)below(t, 60), (int)below(t, 60));
	put_place(t, out, 'h');
	buf_putc(out, ' ');
	if (which < 3) {
		fill(t, out, x->program);
		buf_printf(out, ": ");
		return;
	}
	struct str name = str_of(x->program);
	ptrdiff_t bracket = str_find(name, '[');
	buf_add(out, bracket < 0 ? name : str_head(name, (size_t)bracket));
	buf_printf(out, bracket < 0 ? " - - - " : " %d - - ", (int)below(t, 30000));
}

void traffic_line(struct traffic *t, struct buf *out)
{
	size_t begin = out->n;
	const struct template *x = below(t, RARE) == 0 ? &rare[below(t, ARRAY_LEN(rare))]
	                           : t->bytes >= LARGE ? &large[below(t, ARRAY_LEN(large))]
	                                               : &usual[below(t, ARRAY_LEN(usual))];

	header(t, out, x);
	size_t at = fill(t, out, x->text);
	int64_t missing = (int64_t)t->bytes + t->deficit - (int64_t)(out->n - begin);
	if (at) {
		char *tail = xstrndup(out->p + at, out->n - at);
		size_t tail_n = out->n - at;
		out->n = at;
		put_words(t, out, missing > WORDS_MIN ? (size_t)missing : WORDS_MIN);
		buf_add(out, str_make(tail, tail_n));
		free(tail);
	}
	t->deficit += (int64_t)t->bytes - (int64_t)(out->n - begin);
}
