/* Real sockets against real workers: whatever peers send, every frame is counted once, what is wrong is counted and told,
 * and nobody else is harmed. */
#include "ingest_bed.h"

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

	bed_init(&b, BED_ANY_RULE);
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

	bed_init(&b, BED_ANY_RULE);
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

/* ---- datagrams ---- */

Test(ingest, every_datagram_is_received_or_counted_as_shed)
{
	enum { DATAGRAMS = 20000 };
	struct bed b;
	char line[64];

	bed_init(&b, NULL);
	b.config.workers = 1;
	bed_listener(&b, LISTENER_UDP, "udp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "udp", SOCK_DGRAM, "127.0.0.1");
	for (size_t i = 0; i < DATAGRAMS; i++) {
		int n = snprintf(line, sizeof(line), "<13>datagram %zu\n", i);
		cr_assert_eq(send(fd, line, (size_t)n, 0), n);
	}
	BED_WAIT(&b, bed_count(&b, "udp/").received + bed_count(&b, "udp/(kernel)").shed_kernel ==
	                     DATAGRAMS);
	cr_expect_eq(bed_count(&b, "udp/").shed, bed_status(&b, "udp").shed);
	cr_expect_gt(bed_count(&b, "udp/127.0.0.1").received, 0);
	close(fd);
	bed_finish(&b);
}

Test(ingest, empty_datagrams_are_refused)
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
	BED_WAIT(&b, bed_count(&b, "udp/127.0.0.1").refused_empty == 2);
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
