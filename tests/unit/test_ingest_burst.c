/* A burst that detection cannot keep up with: here the officer takes nothing, so detection stands still for as long as the
 * test wants. What is sent is in evidence and acknowledged all the same, the lag shows, and then every frame is counted
 * once. */
#include "ingest_bed.h"

#include <fcntl.h>

#define RING (2 * PIPELINE_RECORD_MAX)

static Isod__V1__WorkerStatus worker_status(struct bed *b)
{
	Isod__V1__WorkerStatus **list, found = ISOD__V1__WORKER_STATUS__INIT;
	static char stalled[128];
	size_t count;

	ingest_workers(b->ingest, &list, &count);
	for (size_t i = 0; i < count; i++) {
		if (i == 0) {
			found = *list[0];
			snprintf(stalled, sizeof(stalled), "%s", list[0]->stalled);
			found.stalled = stalled;
		}
		isod__v1__worker_status__free_unpacked(list[i], NULL);
	}
	free(list);
	return found;
}

/* As BED_WAIT, while nobody drains. */
#define WAIT(condition)                                                                            \
	do {                                                                                       \
		uint64_t end_ = clock_mono() + BED_PATIENCE_S * NS_PER_SECOND;                     \
		while (!(condition)) {                                                             \
			cr_assert_lt(clock_mono(), end_, "%s never came true", #condition);        \
			usleep(1000);                                                              \
		}                                                                                  \
	} while (0)

static void open_bed(struct bed *b)
{
	bed_init(b, BED_ANY_RULE);
	b->config.workers = 1;
	b->config.backlog_memory = 64 << 10;
	bed_listener(b, LISTENER_RELP, "relp", "127.0.0.1:0");
	bed_listener(b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_listener(b, LISTENER_UDP, "udp", "127.0.0.1:0");
}

static void start(struct bed *b)
{
	bed_open(b, RING, NULL, 0);
	cr_assert_eq(ingest_start(b->ingest), 0);
}

/* Sends `frames` of them over RELP and reads every answer. */
static void send_relp(int fd, size_t frames)
{
	size_t sent = 0, answers = 0;
	char in[65536], text[128];

	bed_send(fd, STR("1 open 30 relp_version=0\ncommands=syslog\n"));
	while (answers < frames + 1) {
		struct pollfd p = {.fd = fd,
		                   .events = (short)(POLLIN | (sent < frames ? POLLOUT : 0))};
		cr_assert_gt(poll(&p, 1, BED_PATIENCE_S * 1000), 0, "%zu of %zu answered", answers,
		             frames);
		if (p.revents & POLLOUT) {
			char frame[64];
			int n = snprintf(frame, sizeof(frame), "<13>event %zu of the burst", sent);
			int k = snprintf(text, sizeof(text), "%zu syslog %d %s\n", sent + 2, n,
			                 frame);
			bed_send(fd, str_make(text, (size_t)k));
			sent++;
		}
		if (!(p.revents & POLLIN))
			continue;
		ssize_t n = recv(fd, in, sizeof(in), 0);
		cr_assert_gt(n, 0);
		for (struct str s = str_make(in, (size_t)n); s.n; s = str_skip(s, 1))
			answers += s.n >= 5 && memcmp(s.p, " rsp ", 5) == 0;
	}
}

Test(ingest_burst, a_burst_is_acknowledged_while_detection_stands_still)
{
	enum { FRAMES = 20000 };
	struct bed b;

	open_bed(&b);
	start(&b);
	int fd = bed_connect(&b, "relp", SOCK_STREAM, "127.0.0.1");
	send_relp(fd, FRAMES);
	/* All is acknowledged, and the ring holds some hundred matches. */
	WAIT(worker_status(&b).held_up);
	Isod__V1__WorkerStatus s = worker_status(&b);
	cr_expect_eq(s.evidence, FRAMES);
	cr_expect_lt(s.detected, FRAMES);
	cr_expect_gt(s.lag_bytes, 0);
	cr_expect(s.lag_on_disk);
	cr_expect_gt(s.lag_oldest_ns, 0);
	cr_expect_str_eq(s.stalled, "");
	cr_expect_geq(bed_counter(&b, "ingest_frames_untallied"), FRAMES - s.detected);
	BED_WAIT(&b, bed_count(&b, "relp/").received == FRAMES);
	BED_WAIT(&b, bed_counter(&b, "ingest_frames_untallied") == 0);
	BED_WAIT(&b, worker_status(&b).lag_bytes == 0);
	s = worker_status(&b);
	cr_expect_eq(s.detected, FRAMES);
	cr_expect_eq(s.lag_oldest_ns, 0);
	cr_expect_not(s.lag_on_disk);
	cr_expect_not(s.held_up);
	cr_expect_eq(b.match_count, FRAMES);
	uint64_t next = 1;
	for (const struct bed_match *m = b.matches; m; m = m->next)
		cr_assert_eq(m->record->match->evidence->sequence, next++);
	close(fd);
	bed_finish(&b);
}

Test(ingest_burst, past_the_limit_streams_wait_and_datagrams_do_not)
{
	struct bed b;
	char *lines = xmalloc(100 * 10000);

	for (size_t i = 0; i < 10000; i++) {
		memset(lines + 100 * i, 'x', 99);
		lines[100 * i + 99] = '\n';
	}
	open_bed(&b);
	b.config.lag_max = 1 << 20;
	b.config.idle_timeout_ns = 100 * NS_PER_MS;
	start(&b);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	/* Sends until the sender's own buffer is full because nobody reads. */
	size_t sent = 0;
	while (worker_status(&b).stalled[0] == '\0') {
		size_t at = sent % (100 * 10000);
		ssize_t n = send(fd, lines + at, 100 * 10000 - at, MSG_NOSIGNAL);
		cr_assert(n > 0 || errno == EAGAIN);
		sent += n > 0 ? (size_t)n : 0;
		cr_assert_lt(sent, (size_t)1 << 30);
	}
	cr_expect_not_null(strstr(worker_status(&b).stalled, "lag_max"));
	for (ssize_t n = 1; n > 0 || errno == EINTR; sent += n > 0 ? (size_t)n : 0)
		n = send(fd, lines + sent % 1000000, 1000000 - sent % 1000000, MSG_NOSIGNAL);
	uint64_t frames = bed_status(&b, "tcp").frames;
	cr_expect_lt(frames, sent / 100);
	/* A datagram is taken in, and the stream that is not read is not taken for a silent one. */
	int udp = bed_connect(&b, "udp", SOCK_DGRAM, "127.0.0.1");
	for (size_t i = 0; i < 500; i++)
		bed_send(udp, STR("<13>a datagram"));
	WAIT(bed_status(&b, "udp").frames == 500);
	usleep(300000);
	cr_expect_eq(bed_status(&b, "tcp").frames, frames);
	cr_expect_eq(bed_status(&b, "tcp").connections, 1);
	/* The officer is there again. */
	BED_WAIT(&b, bed_count(&b, "tcp/").received >= sent / 100);
	cr_expect_eq(bed_count(&b, "udp/").received, 500);
	BED_WAIT(&b, worker_status(&b).stalled[0] == '\0');
	close(fd);
	close(udp);
	free(lines);
	BED_WAIT(&b, bed_status(&b, "tcp").connections == 0);
	bed_finish(&b);
}

/* What a stop leaves is the next start's: nothing of it is lost or counted twice. */
Test(ingest_burst, a_stop_in_the_middle_leaves_the_rest_to_the_next_start)
{
	enum { FRAMES = 20000 };
	struct cursor cursor = {0};
	struct bed b;

	open_bed(&b);
	start(&b);
	int fd = bed_connect(&b, "relp", SOCK_STREAM, "127.0.0.1");
	send_relp(fd, FRAMES);
	close(fd);
	WAIT(worker_status(&b).held_up);
	/* What is in the ring now is all that the ledger will have of this life. */
	bed_drain(&b);
	cursor.upto = b.upto[0];
	size_t seen = 0;
	for (const struct bed_match *m = b.matches; m; m = m->next)
		seen += m->record->match->evidence->sequence <= cursor.upto;
	Isod__V1__SourceCount first = bed_count(&b, "relp/");
	cr_expect_lt(cursor.upto, FRAMES);
	cr_expect_eq(first.received, cursor.upto);
	bed_stop(&b);
	bed_close(&b);
	bed_forget(&b);
	bed_open(&b, BED_RING, &cursor, 1);
	cr_assert_eq(ingest_start(b.ingest), 0);
	BED_WAIT(&b, bed_counter(&b, "ingest_workers_redetecting") == 0);
	BED_WAIT(&b, bed_count(&b, "relp/").received + first.received == FRAMES);
	cr_expect_eq(b.match_count + seen, FRAMES);
	bed_stop(&b);
	bed_close(&b);
	bed_release(&b);
}
