/* Workers from their opening to what a crash leaves: listeners that cannot be, a full inbox, a full disk, own events,
 * evidence that is detected again. */
#include "ingest_bed.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

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

/* ---- back-pressure ---- */

Test(ingest, full_inbox_stops_reading_and_loses_nothing)
{
	enum { FRAMES = 60000 };
	struct bed b;
	char line[32];
	size_t sent = 0;

	bed_init(&b, BED_ANY_RULE);
	b.config.workers = 1;
	b.config.lag_max = 100000;
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_open(&b, 2 * PIPELINE_RECORD_MAX, NULL, 0);
	cr_assert_eq(ingest_start(b.ingest), 0);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	/* Nobody drains, so nothing is detected any more: in the end the sender's own buffer is full, or all is sent and the worker hangs. */
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
	bed_init(&b, BED_ANY_RULE);
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
	BED_WAIT(&b, bed_count(&b, "isod/").received == 2);
	cr_expect_eq(b.match_count, FRAMES + 2);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "\"event\":\"evidence_stalled\""), 1);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "\"event\":\"evidence_resumed\""), 1);
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

	bed_init(&b, BED_ANY_RULE);
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

	bed_init(&b, BED_ANY_RULE);
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
