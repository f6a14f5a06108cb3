/* For the tests of the protobuf socket: a real officer on a real ledger, a real unix socket. Clients are plain sockets;
 * they and the daemon's loop take turns in this one process. Each test program names the suite itself:
 * TestSuite(api, .init = setup, .fini = teardown). */
#ifndef ISOD_TESTS_API_RIG_H
#define ISOD_TESTS_API_RIG_H

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "base/log.h"
#include "base/wire.h"
#include "folder.h"
#include "steps.h"

#define REQUEST_MAX 4096
#define ASK(name)   ISOD__V1__REQUEST__ASK_##name
#define GOT(name)   ISOD__V1__RESPONSE__ANSWER_##name
#define ERR(name)   ISOD__V1__ERROR_CODE__ERROR_##name

typedef Isod__V1__Request Request;
typedef Isod__V1__Response Response;

static struct {
	char dir[FOLDER_BYTES];
	struct config config;
	struct role_config roles[4];
	struct event_base *base;
	struct inbox inbox;
	struct officer *officer;
	struct api *api;
	struct world world;            /* only a counter of evidence */
	uint64_t reloads;              /* asked for */
	const struct content *content; /* NULL: none runs */
	int (*ingest)(void *arg, struct producer_batch *b);
	size_t refused;
	char last_refused[64];
	char error[512];
} rig;

/* ---- the daemon's side ---- */

static inline void on_incident(void *arg, const Isod__V1__Incident *i)
{
	(void)arg;
	api_incident_changed(rig.api, i);
}

static inline void on_status(void *arg, Isod__V1__Status *s)
{
	(void)arg;
	pb_set_text(&s->version, "test");
	s->rules = 7;
}

static inline uint64_t on_reload(void *arg)
{
	(void)arg;
	return ++rig.reloads;
}

static inline const struct content *on_content(void *arg)
{
	(void)arg;
	return rig.content;
}

static inline void on_refused(void *arg, const Isod__V1__Refusal *r)
{
	(void)arg;
	rig.refused++;
	snprintf(rig.last_refused, sizeof(rig.last_refused), "%s", r->request);
}

static inline int try_api(struct api **ret)
{
	const struct api_options o = {.config = &rig.config,
	                              .base = rig.base,
	                              .officer = rig.officer,
	                              .status = on_status,
	                              .reload = on_reload,
	                              .content = on_content,
	                              .ingest = rig.ingest,
	                              .refused = on_refused};
	rig.error[0] = '\0';
	return api_open(&o, ret, rig.error, sizeof(rig.error));
}

static inline void open_api(void)
{
	cr_assert_eq(try_api(&rig.api), 0, "%s", rig.error);
}

static inline void open_officer(void)
{
	Isod__V1__Started started = ISOD__V1__STARTED__INIT;
	Isod__V1__Settings *settings = settings_new();
	char *ledger = xasprintf("%s/ledger", rig.dir);
	const struct officer_options o = {.ledger_dir = ledger,
	                                  .segment_bytes = 1 << 20,
	                                  .base = rig.base,
	                                  .inbox = &rig.inbox,
	                                  .effects = {.incident = on_incident}};

	cr_assert_eq(officer_open(&o, &rig.officer, rig.error, sizeof(rig.error)), 0, "%s",
	             rig.error);
	officer_start(rig.officer, &started, settings);
	isod__v1__settings__free_unpacked(settings, NULL);
	free(ledger);
}

static inline void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_TO_STDERR, LOG_EMERG, "test_api");
	folder_new(rig.dir, "api");
	cr_assert_eq(chmod(rig.dir, 0755), 0);
	rig.world.now = T0;
	rig.config.state_dir = rig.dir;
	rig.config.api.mode = 0666;
	rig.config.api.request_max = REQUEST_MAX;
	rig.config.api.roles = rig.roles;
	rig.base = event_base_new();
	cr_assert_eq(inbox_init(&rig.inbox, 1, 1 << 20), 0);
	open_officer();
	open_api();
}

static inline void teardown(void)
{
	api_close(rig.api);
	rig.api = NULL; /* the officer may still have something to tell */
	officer_close(rig.officer);
	inbox_release(&rig.inbox);
	event_base_free(rig.base);
	folder_remove(rig.dir);
}

static inline void reopen_api(void)
{
	api_close(rig.api);
	open_api();
}

static inline void turn(void)
{
	event_base_loop(rig.base, EVLOOP_NONBLOCK);
}

/* One match of the rule, so one incident for each rule and address. */
static inline void match(const char *rule, Isod__V1__Level level, const char *address)
{
	Isod__V1__Match *m = match_new(&rig.world, rule, level, address, NULL, "web1");
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	record.body_case = ISOD__V1__RECORD__BODY_MATCH;
	record.match = m;
	cr_assert_eq(officer_record(rig.officer, &record), 0);
	match_free(m);
}

static inline void incidents(unsigned count)
{
	char address[32], rule[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(address, sizeof(address), "192.0.%u.%u", i / 200, 1 + i % 200);
		snprintf(rule, sizeof(rule), "rule %u", i);
		match(rule, i % 2 ? HIGH : LOW, address);
	}
	cr_assert_eq(officer_state(rig.officer)->incident.count, count);
}

/* ---- the client's side ---- */

struct client {
	int fd;
	struct buf in;
	bool eof;
};

static inline struct client client_new(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct client c = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/isod.sock", rig.dir);
	cr_assert_eq(connect(c.fd, (struct sockaddr *)&sa, sizeof(sa)), 0, "%s", strerror(errno));
	fcntl(c.fd, F_SETFL, O_NONBLOCK);
	turn();
	return c;
}

static inline void client_free(struct client *c)
{
	close(c->fd);
	buf_release(&c->in);
	turn();
}

static inline void client_write(struct client *c, const char *p, size_t n)
{
	while (n) {
		ssize_t r = write(c->fd, p, n);
		if (r < 0 && errno == EAGAIN) {
			turn();
			continue;
		}
		cr_assert_gt(r, 0, "%s", strerror(errno));
		p += r;
		n -= (size_t)r;
	}
}

static inline void client_send(struct client *c, const Request *q)
{
	struct buf b;

	buf_init(&b, 0);
	wire_append(&b, &q->base);
	client_write(c, b.p, b.n);
	buf_release(&b);
}

/* Takes in what is there. */
static inline void client_pull(struct client *c)
{
	char chunk[65536];

	turn();
	ssize_t n = read(c->fd, chunk, sizeof(chunk));
	if (n > 0)
		buf_append(&c->in, chunk, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		c->eof = true;
	else
		usleep(500);
}

/* The next answer, or NULL at the end of the stream. Waits as long as it takes, within the test's own limit. */
static inline Response *client_next(struct client *c)
{
	struct str body;
	size_t used;

	for (;;) {
		if (wire_next(buf_str(&c->in), 64 << 20, &body, &used) == 0) {
			Response *r =
				isod__v1__response__unpack(NULL, body.n, (const uint8_t *)body.p);
			cr_assert(r);
			buf_consume(&c->in, used);
			return r;
		}
		if (c->eof)
			return NULL;
		client_pull(c);
	}
}

static inline void answer_free(Response *r)
{
	isod__v1__response__free_unpacked(r, NULL);
}

static inline Response *ask(struct client *c, Request *q)
{
	static uint64_t id = 100;

	q->id = ++id;
	client_send(c, q);
	Response *r = client_next(c);
	cr_assert(r, "closed");
	cr_assert_eq(r->id, id);
	return r;
}

/* Asks, and wants that error. */
static inline void ask_error(struct client *c, Request *q, Isod__V1__ErrorCode code)
{
	Response *r = ask(c, q);

	cr_assert_eq(r->answer_case, GOT(ERROR));
	cr_assert_eq(r->error->code, code, "%d: %s", r->error->code, r->error->message);
	answer_free(r);
}

static inline void wait_eof(struct client *c)
{
	Response *r = client_next(c);
	cr_assert_null(r);
}

static inline Response *list(struct client *c, Isod__V1__ListIncidentsRequest *l)
{
	Request q = ISOD__V1__REQUEST__INIT;

	q.ask_case = ASK(LIST_INCIDENTS);
	q.list_incidents = l;
	Response *r = ask(c, &q);
	cr_assert_eq(r->answer_case, GOT(INCIDENTS));
	return r;
}

static inline Request acknowledge(Isod__V1__AcknowledgeIncident *a, uint64_t id, char *note)
{
	Request q = ISOD__V1__REQUEST__INIT;

	isod__v1__acknowledge_incident__init(a);
	a->incident = id;
	a->note = note;
	q.ask_case = ASK(ACKNOWLEDGE);
	q.acknowledge = a;
	return q;
}

static inline Request close_as(Isod__V1__CloseIncident *a, uint64_t id, int disposition)
{
	Request q = ISOD__V1__REQUEST__INIT;

	isod__v1__close_incident__init(a);
	a->incident = id;
	a->disposition = (Isod__V1__Disposition)disposition;
	q.ask_case = ASK(CLOSE);
	q.close = a;
	return q;
}

static inline Request status_request(Isod__V1__StatusRequest *s)
{
	Request q = ISOD__V1__REQUEST__INIT;

	isod__v1__status_request__init(s);
	q.ask_case = ASK(STATUS);
	q.status = s;
	return q;
}

static inline Request watch_request(Isod__V1__WatchRequest *w, Isod__V1__Level level, bool snapshot)
{
	Request q = ISOD__V1__REQUEST__INIT;

	isod__v1__watch_request__init(w);
	w->min_severity = level;
	w->snapshot = snapshot;
	q.ask_case = ASK(WATCH);
	q.watch = w;
	return q;
}

static inline void watch(struct client *c, Isod__V1__Level level, bool snapshot)
{
	Isod__V1__WatchRequest w;
	Request q = watch_request(&w, level, snapshot);
	Response *r = ask(c, &q);

	cr_assert_eq(r->answer_case, GOT(WATCHING));
	answer_free(r);
}

static struct {
	const char *name;
	uint64_t value;
} wanted_counter;

static inline void on_counter(void *arg, const char *name, uint64_t value)
{
	(void)arg;
	if (strcmp(name, wanted_counter.name) == 0)
		wanted_counter.value = value;
}

static inline uint64_t counter(const char *name)
{
	wanted_counter.name = name;
	wanted_counter.value = UINT64_MAX;
	api_counters(rig.api, on_counter, NULL);
	cr_assert_neq(wanted_counter.value, UINT64_MAX, "no counter %s", name);
	return wanted_counter.value;
}

#endif
