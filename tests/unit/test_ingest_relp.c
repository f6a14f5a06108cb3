/* The RELP listener with real sockets: what is answered is on the disk, in the order of the commands; what is wrong is
 * told and counted; a peer that does not read is not read. */
#include "ingest_bed.h"

#include <fcntl.h>

#define HELLO "1 open 30 relp_version=0\ncommands=syslog\n"

static void relp_bed(struct bed *b)
{
	bed_init(b, NULL);
	b->config.workers = 1;
	bed_listener(b, LISTENER_RELP, "relp", "127.0.0.1:0");
}

/* Reads until `text` has come whole; fails when something else comes. */
static void expect(int fd, const char *text)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t n = strlen(text), at = 0;
	char in[4096];

	while (at < n) {
		cr_assert_gt(poll(&p, 1, BED_PATIENCE_S * 1000), 0, "waited for %s", text + at);
		ssize_t r = recv(fd, in, n - at < sizeof(in) ? n - at : sizeof(in), 0);
		cr_assert_gt(r, 0, "closed before %s", text + at);
		cr_assert(memcmp(in, text + at, (size_t)r) == 0, "%.*s instead of %s", (int)r, in,
		          text + at);
		at += (size_t)r;
	}
}

static int hello(struct bed *b)
{
	int fd = bed_connect(b, "relp", SOCK_STREAM, "127.0.0.1");

	bed_send(fd, STR(HELLO));
	expect(fd, "1 rsp 56 200 OK\nrelp_version=0\nrelp_software=isod\ncommands=syslog\n");
	return fd;
}

Test(ingest_relp, a_session_from_open_to_close)
{
	struct bed b;

	relp_bed(&b);
	bed_start(&b);
	int fd = hello(&b);
	bed_send(fd, STR("2 syslog 7 <13>one\n3 syslog 8 <13>two\n\n4 syslog 0\n5 syslog 9 "
	                 "<13>a\n\0\nb\n"));
	expect(fd, "2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 6 200 OK\n5 rsp 6 200 OK\n");
	/* Answered is evidence. */
	cr_expect_eq(bed_find(&b, "relp/127.0.0.1", STR("<13>one"), 0), 1);
	cr_expect_eq(bed_find(&b, "relp/127.0.0.1", STR("<13>two"), 0), 1);
	cr_expect_eq(bed_find(&b, "relp/127.0.0.1", STR("<13>a\n\0\nb"), 0), 1);
	bed_send(fd, STR("0 hint 0\n6 starttls 0\n7 open 0\n8 close 0\n"));
	expect(fd, "6 rsp 19 500 unknown command\n7 rsp 31 500 the session is open already\n8 rsp "
	           "6 200 OK\n");
	cr_expect(bed_is_closed(fd));
	close(fd);
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").received == 3);
	bed_finish(&b);
}

Test(ingest_relp, answers_come_in_the_order_of_the_commands)
{
	struct bed b;
	struct buf in, out;

	relp_bed(&b);
	b.config.evidence_ack_ns = 20 * NS_PER_MS;
	bed_start(&b);
	int fd = hello(&b);
	buf_init(&in, 0);
	buf_init(&out, 0);
	for (unsigned n = 2; n < 5000; n++) {
		if (n % 7 == 0) {
			buf_printf(&in, "%u what 0\n", n);
			buf_printf(&out, "%u rsp 19 500 unknown command\n", n);
		} else {
			buf_printf(&in, "%u syslog 8 <13>%04u\n", n, n);
			buf_printf(&out, "%u rsp 6 200 OK\n", n);
		}
	}
	bed_send(fd, buf_str(&in));
	expect(fd, buf_cstr(&out));
	cr_expect_eq(bed_find(&b, "relp/127.0.0.1", STR("<13>4999"), 0), 1);
	close(fd);
	buf_release(&in);
	buf_release(&out);
	bed_finish(&b);
}

Test(ingest_relp, without_open_nothing_is_taken)
{
	struct bed b;

	relp_bed(&b);
	bed_start(&b);
	int fd = bed_connect(&b, "relp", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, STR("1 syslog 4 <1>x\n"));
	expect(fd, "1 rsp 27 500 the session is not open\n");
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").refused == 1);
	cr_expect_eq(bed_count(&b, "relp/127.0.0.1").received, 0);
	close(fd);
	bed_finish(&b);
}

Test(ingest_relp, a_frame_over_the_limit_is_cut_kept_and_answered_at_its_end)
{
	struct bed b;
	char *text = xcalloc(1, 5000);

	relp_bed(&b);
	b.config.frame_max = 1024;
	bed_start(&b);
	memset(text, 'x', 4999);
	int fd = hello(&b);
	char *frame = xasprintf("2 syslog 4999 %s\n3 syslog 2 ok\n", text);
	bed_send(fd, str_head(str_of(frame), 3000));
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").truncated == 1);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	cr_expect_eq(poll(&p, 1, 50), 0, "not answered before its end");
	bed_send(fd, str_skip(str_of(frame), 3000));
	expect(fd, "2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
	cr_expect_eq(bed_find(&b, "relp/127.0.0.1", str_make(text, 1024), EVIDENCE_TRUNCATED), 1);
	cr_expect_eq(bed_find(&b, "relp/127.0.0.1", STR("ok"), 0), 1);
	close(fd);
	free(frame);
	free(text);
	bed_finish(&b);
}

Test(ingest_relp, what_is_no_relp_ends_the_connection_after_the_answers)
{
	struct bed b;

	relp_bed(&b);
	bed_start(&b);
	int fd = hello(&b);
	bed_send(fd, STR("2 syslog 4 good\n<13>no relp\n3 syslog 4 more\n"));
	expect(fd, "2 rsp 6 200 OK\n0 serverclose 0\n");
	cr_expect(bed_is_closed(fd));
	close(fd);
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").refused == 1);
	cr_expect_eq(bed_count(&b, "relp/127.0.0.1").received, 1);
	BED_WAIT(&b, bed_find_part(&b, "isod/testnode", "framing_lost") == 1);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "a number is missing, at"), 1);
	fd = bed_connect(&b, "relp", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, STR("GET / HTTP/1.1\r\n\r\n"));
	expect(fd, "0 serverclose 0\n");
	cr_expect(bed_is_closed(fd));
	close(fd);
	bed_finish(&b);
}

Test(ingest_relp, a_peer_that_has_said_all_still_gets_its_answers)
{
	struct bed b;

	relp_bed(&b);
	b.config.evidence_ack_ns = 30 * NS_PER_MS;
	bed_start(&b);
	int fd = hello(&b);
	bed_send(fd, STR("2 syslog 3 one\n3 syslog 3 two\n4 syslog 9 unfin"));
	shutdown(fd, SHUT_WR);
	expect(fd, "2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
	cr_expect(bed_is_closed(fd));
	close(fd);
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").received == 2);
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").refused == 1);
	bed_finish(&b);
}

Test(ingest_relp, an_abrupt_end_loses_nothing_that_came)
{
	struct bed b;
	struct linger at_once = {.l_onoff = 1};

	relp_bed(&b);
	bed_start(&b);
	int fd = hello(&b);
	bed_send(fd, STR("2 syslog 3 one\n3 syslog 3 two\n"));
	BED_WAIT(&b, bed_status(&b, "relp").frames == 2);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").received == 2);
	BED_WAIT(&b, bed_status(&b, "relp").connections == 0);
	bed_finish(&b);
}

/* It is read again when it has read its answers. */
Test(ingest_relp, a_peer_that_does_not_read_is_not_read)
{
	struct bed b;
	struct buf in, out;
	int small = 65536;
	size_t sent = 0;

	relp_bed(&b);
	bed_start(&b);
	int fd = hello(&b);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	buf_init(&in, 0);
	buf_init(&out, 0);
	const unsigned frames = 800000;
	for (unsigned n = 2; n < frames; n++) {
		buf_printf(&in, "%u syslog 1 x\n", n);
		buf_printf(&out, "%u rsp 6 200 OK\n", n);
	}
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	/* Until nothing more is taken for a while: far less than all. */
	for (int quiet = 0; quiet < 200;) {
		bed_drain(&b);
		ssize_t n = send(fd, in.p + sent, in.n - sent, MSG_NOSIGNAL);
		quiet = n > 0 ? 0 : quiet + 1;
		sent += n > 0 ? (size_t)n : 0;
		if (n <= 0)
			usleep(2000);
		cr_assert_lt(sent, in.n, "it takes in without end");
	}
	/* What comes now are the answers, all of them and in order. */
	size_t got = 0;
	char buffer[65536];
	while (got < out.n) {
		bed_drain(&b);
		ssize_t n = send(fd, in.p + sent, in.n - sent, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		n = recv(fd, buffer, sizeof(buffer), 0);
		cr_assert(n > 0 || errno == EAGAIN);
		if (n > 0) {
			cr_assert(memcmp(buffer, out.p + got, (size_t)n) == 0);
			got += (size_t)n;
		}
	}
	close(fd);
	buf_release(&in);
	buf_release(&out);
	bed_finish(&b);
}

Test(ingest_relp, a_peer_that_never_reads_is_dropped_when_it_was_silent_for_too_long)
{
	struct bed b;
	struct buf in;

	relp_bed(&b);
	b.config.idle_timeout_ns = 300 * NS_PER_MS;
	bed_start(&b);
	int fd = hello(&b);
	buf_init(&in, 0);
	for (unsigned n = 2; n < 100000; n++)
		buf_printf(&in, "%u syslog 1 x\n", n);
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	size_t sent = 0;
	BED_WAIT(&b, ({
		ssize_t n = send(fd, in.p + sent, in.n - sent, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		bed_status(&b, "relp").connections == 0;
	}));
	close(fd);
	buf_release(&in);
	bed_finish(&b);
}

Test(ingest_relp, at_the_end_what_arrived_is_answered)
{
	struct bed b;

	relp_bed(&b);
	b.config.evidence_ack_ns = 500 * NS_PER_MS;
	bed_start(&b);
	int fd = hello(&b);
	bed_send(fd, STR("2 syslog 3 one\n"));
	expect(fd, "2 rsp 6 200 OK\n");
	bed_send(fd, STR("3 syslog 3 two\n"));
	BED_WAIT(&b, bed_status(&b, "relp").frames == 2);
	bed_finish(&b);
	expect(fd, "3 rsp 6 200 OK\n0 serverclose 0\n");
	cr_expect(bed_is_closed(fd));
	close(fd);
}

Test(ingest_relp, close_comes_after_the_answers_to_what_was_before_it)
{
	struct bed b;

	relp_bed(&b);
	b.config.evidence_ack_ns = 50 * NS_PER_MS;
	bed_start(&b);
	int fd = hello(&b);
	bed_send(fd, STR("2 syslog 3 one\n3 syslog 3 two\n4 close 0\n5 syslog 4 late\n"));
	expect(fd, "2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 6 200 OK\n");
	cr_expect(bed_is_closed(fd));
	close(fd);
	cr_expect_eq(bed_find(&b, "relp/127.0.0.1", STR("two"), 0), 1);
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").received == 2);
	cr_expect_eq(bed_count(&b, "relp/127.0.0.1").refused, 0);
	bed_finish(&b);
}

/* Nothing of a later version, or of another program, keeps a session from being opened. */
Test(ingest_relp, offers_that_are_not_known_are_not_minded)
{
	const struct str offers[] = {
		STR("1 open 0\n"),
		STR("1 open 14 relp_version=9\n"),
		STR("1 open 74 relp_version=1,2\nnonsense\n=\nx=y=z\n"
	            "commands=starttls,batch,syslog,eventlog\n\n"),
		STR("1 open 6 \0\xff\n\n=\n\n"),
	};
	struct bed b;

	relp_bed(&b);
	bed_start(&b);
	for (size_t i = 0; i < ARRAY_LEN(offers); i++) {
		int fd = bed_connect(&b, "relp", SOCK_STREAM, "127.0.0.1");
		bed_send(fd, offers[i]);
		expect(fd,
		       "1 rsp 56 200 OK\nrelp_version=0\nrelp_software=isod\ncommands=syslog\n");
		bed_send(fd, STR("2 syslog 2 ok\n"));
		expect(fd, "2 rsp 6 200 OK\n");
		close(fd);
	}
	bed_finish(&b);
}

/* A number is the sender's own: it is told again with the answer, whatever it is. 0 says that none is wanted. */
Test(ingest_relp, answers_have_the_number_of_the_command_whatever_that_is)
{
	struct bed b;

	relp_bed(&b);
	bed_start(&b);
	int fd = hello(&b);
	bed_send(fd, STR("999999999 syslog 1 a\n1 syslog 1 b\n1 syslog 1 b\n7 syslog 1 c\n"
	                 "007 syslog 1 c\n0 syslog 1 d\n2 syslog 1 e\n"));
	expect(fd, "999999999 rsp 6 200 OK\n1 rsp 6 200 OK\n1 rsp 6 200 OK\n7 rsp 6 200 OK\n"
	           "7 rsp 6 200 OK\n2 rsp 6 200 OK\n");
	cr_expect_eq(bed_find(&b, "relp/127.0.0.1", STR("d"), 0), 1);
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").received == 7);
	bed_send(fd, STR("1000000000 syslog 1 x\n"));
	expect(fd, "0 serverclose 0\n");
	cr_expect(bed_is_closed(fd));
	close(fd);
	bed_finish(&b);
}

/* A session that was refused something goes on. */
Test(ingest_relp, what_only_a_server_says_is_unknown_and_does_no_harm)
{
	struct bed b;

	relp_bed(&b);
	bed_start(&b);
	int fd = bed_connect(&b, "relp", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, STR("5 syslog 1 x\n6 rsp 6 200 OK\n0 serverclose 0\n7 serverclose 0\n"
	                 "8 Syslog 1 x\n9 syslogx 1 x\n10 open 0\n11 syslog 1 x\n"));
	expect(fd, "5 rsp 27 500 the session is not open\n6 rsp 19 500 unknown command\n"
	           "7 rsp 19 500 unknown command\n8 rsp 19 500 unknown command\n"
	           "9 rsp 19 500 unknown command\n"
	           "10 rsp 56 200 OK\nrelp_version=0\nrelp_software=isod\ncommands=syslog\n"
	           "11 rsp 6 200 OK\n");
	close(fd);
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").received == 1);
	BED_WAIT(&b, bed_count(&b, "relp/127.0.0.1").refused == 1);
	bed_finish(&b);
}
