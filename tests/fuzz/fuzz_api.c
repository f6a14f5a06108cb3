/* The bytes of a client through the real socket, connection and requests, with a real officer. The officer's ledger is
 * a real one on a memory file system; it is begun anew after some thousand inputs. Input: the stream; the first byte
 * chooses the client's role and whose producers' ids it uses, the second at which length the stream is sent in pieces.
 * Whatever comes back must be whole answers, and what reaches ingest must be as log/producer.h has it. */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pb.h"
#include "base/utf8.h"
#include "base/wire.h"
#include "log/producer.h"

#define LIVES 5000 /* inputs before everything is begun anew */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	char dir[64];
	struct config config;
	struct event_base *base;
	struct inbox inbox;
	struct officer *officer;
	struct api *api;
	unsigned inputs;
	uint64_t mark; /* one for all producers */
	size_t under_way;
} rig;

/* ---- what stands in for ingest ---- */

static void check_batch(const struct producer_batch *b)
{
	size_t bytes = 0;

	if (!producer_id_is_valid(str_of(b->producer)) || !utf8_valid(str_of(b->from)) ||
	    strlen(b->from) > PRODUCER_FROM_MAX || b->count > PRODUCER_FRAMES_MAX ||
	    (b->first == 0) != (b->count == 0) || b->first > UINT64_MAX - b->count)
		abort();
	for (size_t i = 0; i < b->count; i++)
		bytes += b->frames[i].len;
	if (bytes != b->bytes)
		abort();
}

static void on_taken(evutil_socket_t fd, short what, void *arg)
{
	struct producer_batch *b = arg;
	(void)fd;
	(void)what;

	check_batch(b); /* nobody has touched it meanwhile */
	rig.under_way--;
	b->upto = rig.mark;
	b->result = b->first && b->first > rig.mark + 1 ? -ERANGE : 0;
	if (b->first && b->result == 0) {
		uint64_t known = rig.mark - (b->first - 1);
		b->repeated = known < b->count ? known : b->count;
		b->taken = b->count - b->repeated;
		b->upto = rig.mark += b->taken;
	}
	api_ingest_answered(rig.api, b);
}

static int on_ingest(void *arg, struct producer_batch *b)
{
	const struct timeval now = {0};
	(void)arg;

	check_batch(b);
	if (b->count % 7 == 6)
		return -EAGAIN;
	rig.under_way++;
	return event_base_once(rig.base, -1, EV_TIMEOUT, on_taken, b, &now);
}

/* ---- the daemon ---- */

static void on_incident(void *arg, const Isod__V1__Incident *i)
{
	(void)arg;
	api_incident_changed(rig.api, i);
}

static void add_incident(unsigned n)
{
	Isod__V1__Match match = ISOD__V1__MATCH__INIT;
	Isod__V1__EvidenceRef ref = ISOD__V1__EVIDENCE_REF__INIT;
	Isod__V1__Entity entity = ISOD__V1__ENTITY__INIT, *entities[] = {&entity};
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	char rule[16], address[32];

	snprintf(rule, sizeof(rule), "r%u", n);
	snprintf(address, sizeof(address), "192.0.2.%u", n);
	ref.sequence = n + 1;
	entity.kind = ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS;
	entity.name = address;
	match.evidence = &ref;
	match.rule = match.title = rule;
	match.level = ISOD__V1__LEVEL__LEVEL_HIGH;
	match.received_ns = clock_now();
	match.n_entities = 1;
	match.entities = entities;
	record.body_case = ISOD__V1__RECORD__BODY_MATCH;
	record.match = &match;
	if (officer_record(rig.officer, &record) < 0)
		abort();
}

static void rig_open(void)
{
	const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	Isod__V1__Started started = ISOD__V1__STARTED__INIT;
	Isod__V1__Settings settings = ISOD__V1__SETTINGS__INIT;
	char error[256];

	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_TO_STDERR, LOG_EMERG, "fuzz_api");
	snprintf(rig.dir, sizeof(rig.dir), "%s/isod-fuzz-api-XXXXXX", where);
	if (!mkdtemp(rig.dir))
		abort();
	settings.incident_window_ns = NS_PER_HOUR;
	settings.risk_half_life_ns = NS_PER_DAY;
	rig.config =
		(struct config){.state_dir = rig.dir, .api = {.mode = 0600, .request_max = 512}};
	rig.base = event_base_new();
	rig.mark = 0;
	if (inbox_init(&rig.inbox, 1, 65536) < 0)
		abort();
	const struct officer_options o = {.ledger_dir = rig.dir,
	                                  .segment_bytes = 1 << 20,
	                                  .base = rig.base,
	                                  .inbox = &rig.inbox,
	                                  .effects = {.incident = on_incident}};
	const struct api_options a = {.config = &rig.config, .base = rig.base, .ingest = on_ingest};
	if (officer_open(&o, &rig.officer, error, sizeof(error)) < 0)
		abort();
	struct api_options with = a;
	with.officer = rig.officer;
	if (api_open(&with, &rig.api, error, sizeof(error)) < 0)
		abort();
	officer_start(rig.officer, &started, &settings);
	for (unsigned i = 0; i < 20; i++)
		add_incident(i);
}

static void rig_close(void)
{
	char command[128];

	api_close(rig.api);
	rig.api = NULL;
	officer_close(rig.officer);
	inbox_release(&rig.inbox);
	event_base_free(rig.base);
	snprintf(command, sizeof(command), "rm -rf '%s'", rig.dir);
	if (system(command) != 0)
		abort();
	rig.dir[0] = '\0';
}

/* Reads what the daemon says now and takes whole answers off. False at the end of the stream. */
static bool take_answers(int fd, struct buf *in)
{
	struct str body;
	size_t used;
	char chunk[65536];
	ssize_t n;

	while ((n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT)) > 0)
		buf_append(in, chunk, (size_t)n);
	bool open = n < 0 && errno == EAGAIN;
	for (int r; (r = wire_next(buf_str(in), 64 << 20, &body, &used)) != -EAGAIN;) {
		Isod__V1__Response *answer =
			r < 0 ? NULL
			      : isod__v1__response__unpack(NULL, body.n, (const uint8_t *)body.p);
		if (!answer || answer->answer_case == ISOD__V1__RESPONSE__ANSWER__NOT_SET)
			abort();
		isod__v1__response__free_unpacked(answer, NULL);
		buf_consume(in, used);
	}
	return open;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct peer peer = {.name = "fuzz"};
	struct buf in;
	int ends[2];

	if (size < 2)
		return 0;
	if (rig.inputs++ % LIVES == 0) {
		if (rig.api)
			rig_close();
		else
			atexit(rig_close);
		rig_open();
	}
	peer.role = (Isod__V1__Role)((data[0] & 15) % 5);
	snprintf(peer.owner, sizeof(peer.owner), "uid:%d", data[0] >> 6);
	size_t piece = data[1] ? data[1] : size;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		abort();
	connection_new(rig.api, ends[0], false, &peer);
	buf_init(&in, 0);
	bool open = true;
	for (size_t at = 2; at < size && open; at += piece) {
		size_t n = size - at < piece ? size - at : piece;
		if (send(ends[1], data + at, n, MSG_NOSIGNAL) < 0)
			break;
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
		open = take_answers(ends[1], &in);
	}
	shutdown(ends[1], SHUT_WR);
	for (int i = 0; i < 1000 && open; i++) {
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
		open = take_answers(ends[1], &in);
	}
	if (open || in.n)
		abort(); /* the stream must end, and with a whole answer */
	buf_release(&in);
	close(ends[1]);
	while (rig.api->connections || rig.under_way)
		event_base_loop(rig.base, EVLOOP_ONCE);
	return 0;
}
