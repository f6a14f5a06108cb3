/* Real sockets against real workers: whatever peers send, every frame is counted once, what is wrong is counted and told,
 * and nobody else is harmed. */
#include "ingest_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/tls.h"
#include "ingest/framing.h"

#define EVERYTHING                                                                                 \
	"title: everything\nid: 11111111-1111-4111-8111-111111111111\nstatus: test\n"              \
	"logsource:\n  product: anything\ndetection:\n  selection:\n    nothing: none\n"           \
	"  condition: not selection\nlevel: low\n"

static char *repeat(char c, size_t n)
{
	char *s = xmalloc(n + 1);

	memset(s, c, n);
	s[n] = '\0';
	return s;
}

/* ---- plain TCP ---- */

Test(ingest, both_framings_on_one_connection)
{
	struct bed b;

	bed_init(&b, NULL);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, STR("<13>one\n7 <13>two<13>three\r\n\n11 <13>fo\nur\0\0\n2026-11-23 five\n"));
	BED_WAIT(&b, bed_count(&b, "tcp/127.0.0.1").received == 5);
	bed_send(fd, STR("<13>half a li"));
	close(fd);
	BED_WAIT(&b, bed_count(&b, "tcp/127.0.0.1").received == 6);
	cr_expect_eq(bed_find(&b, "tcp/127.0.0.1", STR("<13>two"), 0), 1);
	cr_expect_eq(bed_find(&b, "tcp/127.0.0.1", STR("<13>three"), 0), 1);
	cr_expect_eq(bed_find(&b, "tcp/127.0.0.1", STR("<13>fo\nur"), 0), 1);
	cr_expect_eq(bed_find(&b, "tcp/127.0.0.1", STR("<13>half a li"), 0), 1);
	cr_expect_eq(bed_status(&b, "tcp").accepted, 1);
	bed_finish(&b);
}

Test(ingest, both_families_on_a_wildcard)
{
	static const char *const kinds[] = {"tcp", "udp"};
	struct bed b;

	bed_init(&b, NULL);
	bed_listener(&b, LISTENER_TCP, "tcp", "*:0");
	bed_listener(&b, LISTENER_UDP, "udp", "*:0");
	bed_listener(&b, LISTENER_TCP, "six", "[::1]:0");
	bed_start(&b);
	for (size_t i = 0; i < 2; i++) {
		int type = i ? SOCK_DGRAM : SOCK_STREAM;
		int four = bed_connect(&b, kinds[i], type, "127.0.0.1");
		int six = bed_connect(&b, kinds[i], type, "[::1]");
		bed_send(four, STR("<13>four\n"));
		bed_send(six, STR("<13>six\n"));
		close(four);
		close(six);
	}
	int fd = bed_connect(&b, "six", SOCK_STREAM, "[::1]");
	bed_send(fd, STR("<13>six\n"));
	close(fd);
	BED_WAIT(&b, bed_count(&b, "").received == 5);
	cr_expect_eq(bed_count(&b, "tcp/127.0.0.1").received, 1);
	cr_expect_eq(bed_count(&b, "udp/127.0.0.1").received, 1);
	cr_expect_eq(bed_count(&b, "tcp/::1").received, 1);
	cr_expect_eq(bed_count(&b, "udp/::1").received, 1);
	cr_expect_eq(bed_count(&b, "six/::1").received, 1);
	bed_finish(&b);
}

Test(ingest, odd_bytes_are_kept_as_they_are)
{
	static const char odd[] = "<13>\xff\xfe\xc0\x80 \x1b[31m \xed\xa0\x80\x01 {\"a\":";
	struct bed b;
	struct str frame = {odd, sizeof(odd) - 1};
	char header[16];

	bed_init(&b, EVERYTHING);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	snprintf(header, sizeof(header), "%zu ", frame.n + 4);
	bed_send(fd, str_of(header));
	bed_send(fd, frame);
	bed_send(fd, STR("\0\0ab"));
	bed_send(fd, frame);
	bed_send(fd, STR("\n"));
	close(fd);
	BED_WAIT(&b, bed_count(&b, "tcp/").received == 2);
	cr_expect_eq(bed_find(&b, "tcp/127.0.0.1", frame, 0), 1);
	cr_expect_eq(bed_count(&b, "tcp/").bytes, frame.n * 2 + 4);
	bed_finish(&b);
}

Test(ingest, long_frames_are_cut_marked_and_counted)
{
	struct bed b;
	char *long_line = repeat('x', 100000), header[32];
	struct str cut = {long_line, 4096};

	bed_init(&b, NULL);
	b.config.frame_max = 4096;
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_listener(&b, LISTENER_UDP, "udp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, str_of(long_line));
	bed_send(fd, STR("\n<13>after\n"));
	snprintf(header, sizeof(header), "%d ", 100000);
	bed_send(fd, str_of(header));
	bed_send(fd, str_of(long_line));
	bed_send(fd, STR("9 <13>after"));
	close(fd);
	fd = bed_connect(&b, "udp", SOCK_DGRAM, "127.0.0.1");
	bed_send(fd, str_make(long_line, 5000));
	bed_send(fd, str_make(long_line, 4096));
	close(fd);
	BED_WAIT(&b, bed_count(&b, "").received == 6);
	cr_expect_eq(bed_count(&b, "tcp/").truncated, 2);
	cr_expect_eq(bed_count(&b, "udp/").truncated, 1);
	cr_expect_eq(bed_find(&b, "tcp/127.0.0.1", cut, EVIDENCE_TRUNCATED), 2);
	cr_expect_eq(bed_find(&b, "udp/127.0.0.1", cut, EVIDENCE_TRUNCATED), 1);
	cr_expect_eq(bed_find(&b, "udp/127.0.0.1", cut, 0), 1);
	cr_expect_eq(bed_find(&b, "tcp/127.0.0.1", STR("<13>after"), 0), 2);
	free(long_line);
	bed_finish(&b);
}

Test(ingest, frames_in_small_pieces)
{
	struct bed b;
	char *line = repeat('y', 20001);

	line[20000] = '\n';
	bed_init(&b, NULL);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1"), on = 1;
	setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof(on));
	for (size_t at = 0; at < 20001; at += 37) {
		bed_send(fd, str_make(line + at, at + 37 < 20001 ? 37 : 20001 - at));
		if (at % (37 * 8) == 0)
			usleep(1);
	}
	BED_WAIT(&b, bed_count(&b, "tcp/").received == 1);
	cr_expect_eq(bed_find(&b, "tcp/127.0.0.1", str_make(line, 20000), 0), 1);
	close(fd);
	free(line);
	bed_finish(&b);
}

Test(ingest, lost_framing_closes_that_connection_only)
{
	struct bed b;

	bed_init(&b, NULL);
	b.config.workers = 1;
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	int good = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	int bad = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	bed_send(good, STR("<13>a\n"));
	bed_send(bad, STR("<13>before\n999999999 <13>lie"));
	cr_expect(bed_is_closed(bad));
	bed_send(good, STR("<13>b\n"));
	BED_WAIT(&b, bed_count(&b, "tcp/").received == 3 && bed_count(&b, "isod/").received == 1);
	cr_expect_eq(bed_count(&b, "tcp/127.0.0.1").refused, 1);
	cr_expect_eq(bed_status(&b, "tcp").refused, 1);
	cr_expect_eq(bed_find(&b, "tcp/127.0.0.1", STR("<13>before"), 0), 1);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "\"event\":\"framing_lost\""), 1);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "999999999"), 1);
	close(good);
	close(bad);
	bed_finish(&b);
}

Test(ingest, connection_limit_is_told_and_counted)
{
	struct bed b;
	int fds[3];

	bed_init(&b, NULL);
	b.config.connections_max = 2;
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	for (size_t i = 0; i < 2; i++)
		fds[i] = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	BED_WAIT(&b, bed_status(&b, "tcp").connections == 2);
	fds[2] = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	cr_expect(bed_is_closed(fds[2]));
	cr_expect_eq(bed_status(&b, "tcp").refused, 1);
	close(fds[0]);
	BED_WAIT(&b, bed_status(&b, "tcp").connections == 1);
	fds[0] = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	bed_send(fds[0], STR("<13>in again\n"));
	BED_WAIT(&b, bed_count(&b, "tcp/").received == 1);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "connection_refused"), 1);
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
	bed_finish(&b);
}

Test(ingest, silent_connections_are_closed)
{
	struct bed b;

	bed_init(&b, NULL);
	b.config.idle_timeout_ns = 100 * NS_PER_MS;
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, STR("<13>last words"));
	cr_expect(bed_is_closed(fd));
	BED_WAIT(&b, bed_count(&b, "tcp/").received == 1);
	close(fd);
	bed_finish(&b);
}

Test(ingest, many_connections_at_once)
{
	enum { CONNECTIONS = 200, FRAMES = 50 };
	struct bed b;
	int fds[CONNECTIONS];
	char line[64];

	bed_init(&b, EVERYTHING);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	for (size_t i = 0; i < CONNECTIONS; i++)
		fds[i] = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	for (size_t n = 0; n < FRAMES; n++)
		for (size_t i = 0; i < CONNECTIONS; i++) {
			snprintf(line, sizeof(line), "<13>frame %zu of %zu\n", n, i);
			bed_send(fds[i], str_of(line));
		}
	for (size_t i = 0; i < CONNECTIONS; i++)
		close(fds[i]);
	BED_WAIT(&b, bed_count(&b, "tcp/").received == CONNECTIONS * FRAMES);
	BED_WAIT(&b, bed_status(&b, "tcp").connections == 0);
	cr_expect_eq(b.match_count, CONNECTIONS * FRAMES);
	cr_expect_eq(bed_count(&b, "tcp/").matched, CONNECTIONS * FRAMES);
	bed_finish(&b);
}

/* What the kernel has taken from the peers is not lost when the daemon stops. */
Test(ingest, stopping_reads_what_has_arrived)
{
	struct bed b;
	char *lines = xmalloc(10 * 20000 + 1);

	for (size_t i = 0; i < 20000; i++)
		memcpy(lines + 10 * i, "<13>12345\n", 10);
	bed_init(&b, NULL);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	BED_WAIT(&b, bed_status(&b, "tcp").accepted == 1);
	bed_send(fd, str_make(lines, 200000));
	bed_stop(&b);
	cr_expect_eq(bed_count(&b, "tcp/").received, 20000);
	close(fd);
	free(lines);
	bed_finish(&b);
}

/* ---- back-pressure ---- */

Test(ingest, full_inbox_stops_reading_and_loses_nothing)
{
	enum { FRAMES = 60000 };
	struct bed b;
	char line[32];
	size_t sent = 0;

	bed_init(&b, EVERYTHING);
	b.config.workers = 1;
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_open(&b, 2 * PIPELINE_RECORD_MAX, NULL, 0);
	cr_assert_eq(ingest_start(b.ingest), 0);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	/* Nobody drains: in the end the sender's own buffer is full, or all is sent and the worker hangs. */
	for (struct pollfd p = {.fd = fd, .events = POLLOUT};
	     sent < FRAMES && poll(&p, 1, 2000) > 0; sent++) {
		int n = snprintf(line, sizeof(line), "<13>frame %08zu\n", sent);
		cr_assert_eq(send(fd, line, (size_t)n, MSG_NOSIGNAL), n);
	}
	uint64_t frames = bed_status(&b, "tcp").frames;
	usleep(20000);
	cr_expect_lt(bed_status(&b, "tcp").frames, sent);
	cr_expect_leq(bed_status(&b, "tcp").frames - frames, sent - frames);
	close(fd);
	BED_WAIT(&b, bed_count(&b, "tcp/").received == sent);
	cr_expect_eq(b.match_count, sent);
	bed_finish(&b);
}

Test(ingest, a_full_disk_stops_reading_and_loses_nothing)
{
	enum { FRAMES = 20000 };
	struct rlimit limit = {.rlim_cur = 100000, .rlim_max = RLIM_INFINITY};
	struct bed b;
	struct buf lines;

	signal(SIGXFSZ, SIG_IGN);
	bed_init(&b, EVERYTHING);
	b.config.workers = 1;
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	buf_init(&lines, 0);
	for (size_t i = 0; i < FRAMES; i++)
		buf_printf(&lines, "<13>frame %zu\n", i);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, buf_str(&lines));
	BED_WAIT(&b, bed_counter(&b, "ingest_stalls") > 0);
	bed_drain(&b);
	/* No match is published of a frame that is not written. */
	cr_expect_lt(b.match_count, 100000 / sizeof("<13>frame 1"));
	limit.rlim_cur = RLIM_INFINITY;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	close(fd);
	BED_WAIT(&b, bed_count(&b, "tcp/").received == FRAMES);
	cr_expect_eq(b.match_count, FRAMES);
	buf_release(&lines);
	bed_finish(&b);
}

Test(ingest, a_flood_of_failures_does_not_fill_evidence)
{
	enum { PEERS = 300 };
	struct bed b;

	bed_init(&b, NULL);
	b.config.workers = 1;
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	for (size_t i = 0; i < PEERS; i++) {
		int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
		bed_send(fd, STR("999999999 <13>lie"));
		close(fd);
	}
	BED_WAIT(&b, bed_count(&b, "tcp/").refused == PEERS);
	BED_WAIT(&b,
	         bed_count(&b, "isod/").received + bed_counter(&b, "ingest_own_events_dropped") ==
	                 PEERS);
	cr_expect_eq(bed_status(&b, "tcp").refused, PEERS);
	bed_finish(&b);
}

/* ---- datagrams ---- */

Test(ingest, every_datagram_is_received_or_counted_as_refused)
{
	enum { DATAGRAMS = 20000 };
	struct bed b;
	char line[64];
	uint64_t sent = DATAGRAMS;

	bed_init(&b, NULL);
	b.config.workers = 1;
	bed_listener(&b, LISTENER_UDP, "udp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "udp", SOCK_DGRAM, "127.0.0.1");
	for (size_t i = 0; i < DATAGRAMS; i++) {
		int n = snprintf(line, sizeof(line), "<13>datagram %zu\n", i);
		cr_assert_eq(send(fd, line, (size_t)n, 0), n);
	}
	/* The kernel tells of what it dropped with the next datagram it takes. */
	for (uint64_t counted = 0; counted + 1 < sent; usleep(20000)) {
		bed_send(fd, STR("<13>x"));
		sent++;
		counted = bed_count(&b, "udp/").received + bed_count(&b, "udp/").refused;
	}
	BED_WAIT(&b, bed_count(&b, "udp/").received + bed_count(&b, "udp/").refused == sent);
	cr_expect_gt(bed_count(&b, "udp/127.0.0.1").received, 0);
	close(fd);
	bed_finish(&b);
}

Test(ingest, empty_datagrams_are_no_frames)
{
	struct bed b;

	bed_init(&b, NULL);
	bed_listener(&b, LISTENER_UDP, "udp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "udp", SOCK_DGRAM, "127.0.0.1");
	cr_assert_eq(send(fd, "", 0, 0), 0);
	bed_send(fd, STR("\n\0"));
	bed_send(fd, STR("<13>a\nb\r\n\0"));
	BED_WAIT(&b, bed_count(&b, "udp/").received == 1);
	cr_expect_eq(bed_find(&b, "udp/127.0.0.1", STR("<13>a\nb"), 0), 1);
	close(fd);
	bed_finish(&b);
}

static int unix_client(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	memcpy(sa.sun_path, path, strlen(path) + 1);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

Test(ingest, unix_senders_are_known_by_their_uid)
{
	struct bed b;
	struct stat st;
	char path[128], source[64], *large = repeat('z', 70000);

	bed_init(&b, NULL);
	snprintf(path, sizeof(path), "%s/log", b.dir);
	bed_listener(&b, LISTENER_UNIX, "local", path)->mode = 0622;
	bed_start(&b);
	cr_expect_str_eq(bed_status(&b, "local").address, path);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0622);
	snprintf(source, sizeof(source), "local/uid:%u", getuid());
	int fd = unix_client(path);
	for (size_t i = 0; i < 3000; i++)
		bed_send(fd, STR("<13>local words\n"));
	bed_send(fd, str_make(large, 70000));
	BED_WAIT(&b, bed_count(&b, "").received == 3001);
	cr_expect_eq(bed_count(&b, source).received, 3001);
	cr_expect_eq(bed_find(&b, source, str_make(large, 65536), EVIDENCE_TRUNCATED), 1);
	close(fd);
	free(large);
	bed_stop(&b);
	bed_close(&b);
	cr_expect_lt(stat(path, &st), 0);
	bed_release(&b);
}

/* ---- TLS ---- */

/* PEM files made with openssl(1): ca, server, client, and a client of another CA. */
static void make_certificates(const struct bed *b)
{
	char *command = xasprintf(
		"cd %s && ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'; for ca "
		"in ca "
		"other; do openssl req -x509 $ec -keyout $ca.key -out $ca.pem -subj /CN=$ca; done; "
		"sign() { openssl req -x509 $ec -CA $1.pem -CAkey $1.key -keyout $2.key -out "
		"$2.pem "
		"-subj /CN=$2 -addext basicConstraints=critical,CA:FALSE -addext "
		"subjectAltName=IP:127.0.0.1; }; sign ca server; sign ca client; sign other "
		"stranger",
		b->dir);
	char *quiet = xasprintf("(%s) >/dev/null 2>&1", command);

	cr_assert_eq(system(quiet), 0);
	free(quiet);
	free(command);
}

static char *pem(const struct bed *b, const char *name)
{
	return xasprintf("%s/%s", b->dir, name);
}

static void tls_bed(struct bed *b, enum tls_peer_check peers)
{
	bed_init(b, NULL);
	make_certificates(b);
	struct listener_config *l = bed_listener(b, LISTENER_TLS, "tls", "127.0.0.1:0");
	l->certificate = pem(b, "server.pem");
	l->key = pem(b, "server.key");
	l->ca = pem(b, "ca.pem");
	l->peers = peers;
}

struct client {
	int fd;
	struct tls_context *context;
	struct tls *tls;
};

static void wait_tls(const struct client *c)
{
	struct pollfd p = {.fd = c->fd, .events = tls_wants(c->tls) == 4 ? POLLOUT : POLLIN};

	cr_assert_gt(poll(&p, 1, BED_PATIENCE_S * 1000), 0);
}

/* `identity`: NULL, "client" or "stranger". Returns what the handshake gives. */
static int client_open(struct client *c, struct bed *b, const char *identity)
{
	char *ca = pem(b, "ca.pem"), error[256] = "";
	char *certificate = identity ? xasprintf("%s/%s.pem", b->dir, identity) : NULL;
	char *key = identity ? xasprintf("%s/%s.key", b->dir, identity) : NULL;
	const struct tls_settings settings = {.ca = ca, .certificate = certificate, .key = key};
	int r;

	cr_assert_eq(tls_context_new(false, &settings, &c->context, error, sizeof(error)), 0, "%s",
	             error);
	c->fd = bed_connect(b, "tls", SOCK_STREAM, "127.0.0.1");
	cr_assert_eq(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
	c->tls = tls_new(c->context, c->fd, "127.0.0.1");
	while ((r = tls_handshake(c->tls)) == -EAGAIN)
		wait_tls(c);
	free(ca);
	free(certificate);
	free(key);
	return r;
}

static void client_send(struct client *c, struct str data)
{
	while (data.n) {
		ssize_t n = tls_write(c->tls, data.p, data.n);
		if (n == -EAGAIN)
			wait_tls(c);
		else
			cr_assert_gt(n, 0, "%s", tls_error(c->tls));
		data = str_skip(data, n > 0 ? (size_t)n : 0);
	}
}

/* What reading ends with. */
static ssize_t client_end(struct client *c)
{
	char rest[256];
	ssize_t n;

	while ((n = tls_read(c->tls, rest, sizeof(rest))) > 0 || n == -EAGAIN)
		if (n == -EAGAIN)
			wait_tls(c);
	return n;
}

static void client_close(struct client *c)
{
	tls_free(c->tls);
	tls_context_unref(c->context);
	close(c->fd);
}

Test(ingest, frames_over_tls)
{
	enum { FRAMES = 30000 };
	struct bed b;
	struct client c;
	struct buf out;

	tls_bed(&b, TLS_PEER_NONE);
	bed_start(&b);
	cr_assert_eq(client_open(&c, &b, NULL), 0);
	buf_init(&out, 0);
	for (size_t i = 0; i < FRAMES; i++) {
		char line[64];
		snprintf(line, sizeof(line), "<13>1 - - - - - - frame %zu", i);
		buf_printf(&out, "%zu %s", strlen(line), line);
	}
	client_send(&c, buf_str(&out));
	cr_expect_eq(tls_shutdown(c.tls), 0);
	cr_expect_eq(client_end(&c), -EPIPE, "%s", tls_error(c.tls));
	client_close(&c);
	buf_release(&out);
	BED_WAIT(&b, bed_count(&b, "tls/127.0.0.1").received == FRAMES);
	cr_expect_eq(bed_status(&b, "tls").tls_failures, 0);
	bed_finish(&b);
}

Test(ingest, client_certificates_are_demanded)
{
	struct bed b;
	struct client none, stranger, good;

	tls_bed(&b, TLS_PEER_REQUIRED);
	bed_start(&b);
	/* With TLS 1.3 the client learns of its refusal only when it reads. */
	if (client_open(&none, &b, NULL) == 0)
		cr_expect_eq(client_end(&none), -EPROTO);
	if (client_open(&stranger, &b, "stranger") == 0)
		cr_expect_eq(client_end(&stranger), -EPROTO);
	cr_assert_eq(client_open(&good, &b, "client"), 0);
	client_send(&good, STR("<13>trusted\n"));
	BED_WAIT(&b, bed_count(&b, "tls/").received == 1 && bed_count(&b, "isod/").received == 2);
	cr_expect_eq(bed_status(&b, "tls").tls_failures, 2);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "\"event\":\"tls_failed\""), 2);
	client_close(&none);
	client_close(&stranger);
	client_close(&good);
	bed_finish(&b);
}

Test(ingest, tls_cut_off_keeps_what_arrived)
{
	struct bed b;
	struct client c;

	tls_bed(&b, TLS_PEER_NONE);
	bed_start(&b);
	cr_assert_eq(client_open(&c, &b, NULL), 0);
	client_send(&c, STR("<13>whole\n<13>par"));
	shutdown(c.fd, SHUT_RDWR);
	BED_WAIT(&b, bed_count(&b, "tls/").received == 2);
	cr_expect_eq(bed_find(&b, "tls/127.0.0.1", STR("<13>whole"), 0), 1);
	cr_expect_eq(bed_find(&b, "tls/127.0.0.1", STR("<13>par"), EVIDENCE_TRUNCATED), 1);
	client_close(&c);
	bed_finish(&b);
}

Test(ingest, other_protocols_on_the_tls_port)
{
	struct bed b;
	struct client c;

	tls_bed(&b, TLS_PEER_NONE);
	b.config.workers = 1;
	bed_start(&b);
	cr_assert_eq(client_open(&c, &b, NULL), 0);
	int plain = bed_connect(&b, "tls", SOCK_STREAM, "127.0.0.1");
	bed_send(plain, STR("<13>plain text on the TLS port\n"));
	cr_expect(bed_is_closed(plain));
	int gone = bed_connect(&b, "tls", SOCK_STREAM, "127.0.0.1");
	close(gone);
	BED_WAIT(&b, bed_status(&b, "tls").tls_failures == 2);
	client_send(&c, STR("<13>unharmed\n"));
	BED_WAIT(&b, bed_count(&b, "tls/").received == 1 && bed_count(&b, "isod/").received == 2);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "plain text"), 1);
	client_close(&c);
	close(plain);
	bed_finish(&b);
}

Test(ingest, handshakes_that_never_end_are_ended)
{
	struct bed b;

	tls_bed(&b, TLS_PEER_NONE);
	b.config.handshake_timeout_ns = 100 * NS_PER_MS;
	bed_start(&b);
	int fd = bed_connect(&b, "tls", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, STR("\x16\x03\x01"));
	cr_expect(bed_is_closed(fd));
	BED_WAIT(&b, bed_status(&b, "tls").tls_failures == 1);
	close(fd);
	bed_finish(&b);
}

/* ---- opening ---- */

static void expect_refusal(struct bed *b, const char *part)
{
	char error[512] = "";

	cr_expect_lt(bed_try_open(b, BED_RING, NULL, 0, error, sizeof(error)), 0);
	cr_expect_not_null(strstr(error, part), "\"%s\" does not tell of \"%s\"", error, part);
	cr_expect_not_null(strstr(error, "listener second"), "%s", error);
	inbox_release(&b->inbox);
	bed_release(b);
}

Test(ingest, an_address_in_use_is_refused)
{
	static const int kinds[] = {LISTENER_TCP, LISTENER_UDP};

	for (size_t i = 0; i < 2; i++) {
		struct bed first, second;
		bed_init(&first, NULL);
		bed_listener(&first, kinds[i], "first", "127.0.0.1:0");
		bed_start(&first);
		bed_init(&second, NULL);
		bed_listener(&second, kinds[i], "second", bed_status(&first, "first").address);
		expect_refusal(&second, "in use");
		bed_finish(&first);
	}
}

Test(ingest, bad_addresses_and_files_are_refused)
{
	struct bed b;
	char path[128];

	bed_init(&b, NULL);
	bed_listener(&b, LISTENER_TCP, "first", "127.0.0.1:0");
	bed_listener(&b, LISTENER_TCP, "second", "localhost");
	expect_refusal(&b, "localhost");
	bed_init(&b, NULL);
	struct listener_config *l = bed_listener(&b, LISTENER_TLS, "second", "127.0.0.1:0");
	l->certificate = xstrdup("/nonexistent/server.pem");
	l->key = xstrdup("/nonexistent/server.key");
	expect_refusal(&b, "/nonexistent/server.pem");
	bed_init(&b, NULL);
	bed_write(&b, "file", "precious");
	snprintf(path, sizeof(path), "%s/file", b.dir);
	bed_listener(&b, LISTENER_UNIX, "second", path);
	expect_refusal(&b, "no socket");
}

Test(ingest, a_socket_left_behind_is_replaced_one_in_use_is_not)
{
	struct bed b, second;
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct stat st;

	bed_init(&b, NULL);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/log", b.dir);
	int stale = socket(AF_UNIX, SOCK_DGRAM, 0);
	cr_assert_eq(bind(stale, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(stale);
	bed_listener(&b, LISTENER_UNIX, "local", sa.sun_path);
	bed_start(&b);
	bed_init(&second, NULL);
	bed_listener(&second, LISTENER_UNIX, "second", sa.sun_path);
	expect_refusal(&second, "in use");
	cr_expect_eq(stat(sa.sun_path, &st), 0);
	bed_finish(&b);
}

/* ---- own events ---- */

Test(ingest, own_events_wait_for_the_start_and_a_flood_is_counted)
{
	struct bed b;

	bed_init(&b, NULL);
	bed_open(&b, BED_RING, NULL, 0);
	for (size_t i = 0; i < 1500; i++)
		ingest_own_event(b.ingest, STR("{\"product\":\"isod\",\"event\":\"test\"}"));
	cr_expect_eq(bed_counter(&b, "ingest_own_events_dropped"), 500);
	cr_assert_eq(ingest_start(b.ingest), 0);
	BED_WAIT(&b, bed_count(&b, "isod/testnode").received == 1000);
	bed_stop(&b);
	bed_close(&b);
	bed_release(&b);
}

/* ---- after a crash ---- */

/* Evidence as a killed worker leaves it: frames and no tally. */
static void leave_evidence(const struct bed *b, size_t worker, size_t frames)
{
	const struct segment_options options = {.kind = SEGMENT_EVIDENCE, .segment_bytes = 1 << 20};
	char *dir = xasprintf("%s/evidence/%zu", b->dir, worker), error[256], text[64];
	struct segment_log *log;

	cr_assert_eq(path_make_dirs(dir, 0700), 0);
	cr_assert_eq(segment_open(dir, &options, &log, error, sizeof(error)), 0, "%s", error);
	for (size_t i = 0; i < frames; i++) {
		snprintf(text, sizeof(text), "<13>old frame %zu of %zu", i, worker);
		const struct evidence e = {.source = STR("tcp/192.0.2.1"), .frame = str_of(text)};
		evidence_append(log, (i + 1) * NS_PER_SECOND, &e);
	}
	cr_assert_eq(segment_sync(log), 0);
	segment_close(log);
	free(dir);
}

Test(ingest, evidence_past_the_cursor_is_detected_again)
{
	struct bed b;
	struct cursor cursors[3] = {{.upto = 40, .seen_max = 60}, {.upto = 0}, {.upto = 5}};

	bed_init(&b, EVERYTHING);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	leave_evidence(&b, 0, 1000);
	leave_evidence(&b, 2, 10); /* there were more workers once */
	leave_evidence(&b, 3, 700);
	bed_open(&b, BED_RING, cursors, 3);
	cr_assert_eq(ingest_start(b.ingest), 0);
	BED_WAIT(&b, bed_count(&b, "tcp/192.0.2.1").received == 960 + 5 + 700);
	cr_expect_eq(b.match_count, 960 + 5 + 700);
	cr_expect_eq(b.upto[0], 1000);
	cr_expect_eq(b.upto[1], 0);
	cr_expect_eq(b.upto[2], 10);
	cr_expect_eq(b.upto[3], 700);
	bed_stop(&b);
	bed_close(&b);
	bed_release(&b);
}

Test(ingest, sequences_that_the_ledger_has_seen_are_not_used_again)
{
	struct bed b;
	struct cursor cursors[1] = {{.upto = 40, .seen_max = 500}};

	bed_init(&b, EVERYTHING);
	b.config.workers = 1;
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	leave_evidence(&b, 0, 100); /* a power cut took 400 */
	bed_open(&b, BED_RING, cursors, 1);
	cr_assert_eq(ingest_start(b.ingest), 0);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, STR("<13>new\n"));
	BED_WAIT(&b, bed_count(&b, "tcp/").received == 61);
	cr_expect_eq(b.upto[0], 501);
	close(fd);
	bed_stop(&b);
	bed_close(&b);
	bed_release(&b);
}
