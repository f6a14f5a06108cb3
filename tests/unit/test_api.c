/* The protobuf socket with a real officer on a real ledger, a real unix socket and real TLS. Clients are plain sockets;
 * they and the daemon's loop take turns in this one process. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <grp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "base/log.h"
#include "base/net.h"
#include "base/wire.h"
#include "steps.h"

#define REQUEST_MAX 4096
#define ASK(name)   ISOD__V1__REQUEST__ASK_##name
#define GOT(name)   ISOD__V1__RESPONSE__ANSWER_##name
#define ERR(name)   ISOD__V1__ERROR_CODE__ERROR_##name

typedef Isod__V1__Request Request;
typedef Isod__V1__Response Response;

static struct {
	char dir[64];
	struct config config;
	struct role_config roles[4];
	struct event_base *base;
	struct inbox inbox;
	struct officer *officer;
	struct api *api;
	struct world world; /* only a counter of evidence */
	size_t refused;
	char last_refused[64];
	char error[512];
} rig;

/* ---- the daemon's side ---- */

static void on_incident(void *arg, const Isod__V1__Incident *i)
{
	(void)arg;
	api_incident_changed(rig.api, i);
}

static void on_status(void *arg, Isod__V1__Status *s)
{
	(void)arg;
	pb_set_text(&s->version, "test");
	s->rules = 7;
}

static void on_refused(void *arg, const Isod__V1__Refusal *r)
{
	(void)arg;
	rig.refused++;
	snprintf(rig.last_refused, sizeof(rig.last_refused), "%s", r->request);
}

static int try_api(struct api **ret)
{
	const struct api_options o = {.config = &rig.config,
	                              .base = rig.base,
	                              .officer = rig.officer,
	                              .status = on_status,
	                              .refused = on_refused};
	rig.error[0] = '\0';
	return api_open(&o, ret, rig.error, sizeof(rig.error));
}

static void open_api(void)
{
	cr_assert_eq(try_api(&rig.api), 0, "%s", rig.error);
}

static void open_officer(void)
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

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_TO_STDERR, LOG_EMERG, "test_api");
	strcpy(rig.dir, "/tmp/isod-api-XXXXXX");
	cr_assert(mkdtemp(rig.dir));
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

static void teardown(void)
{
	char *command = xasprintf("rm -rf '%s'", rig.dir);

	api_close(rig.api);
	rig.api = NULL; /* the officer may still have something to tell */
	officer_close(rig.officer);
	inbox_release(&rig.inbox);
	event_base_free(rig.base);
	cr_assert_eq(system(command), 0);
	free(command);
}

TestSuite(api, .init = setup, .fini = teardown);

static void reopen_api(void)
{
	api_close(rig.api);
	open_api();
}

static void turn(void)
{
	event_base_loop(rig.base, EVLOOP_NONBLOCK);
}

/* One match of the rule, so one incident for each rule and address. */
static void match(const char *rule, Isod__V1__Level level, const char *address)
{
	Isod__V1__Match *m = match_new(&rig.world, rule, level, address, NULL, "web1");
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	record.body_case = ISOD__V1__RECORD__BODY_MATCH;
	record.match = m;
	cr_assert_eq(officer_record(rig.officer, &record), 0);
	match_free(m);
}

static void incidents(unsigned count)
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

static struct client client_new(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct client c = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/isod.sock", rig.dir);
	cr_assert_eq(connect(c.fd, (struct sockaddr *)&sa, sizeof(sa)), 0, "%s", strerror(errno));
	fcntl(c.fd, F_SETFL, O_NONBLOCK);
	turn();
	return c;
}

static void client_free(struct client *c)
{
	close(c->fd);
	buf_release(&c->in);
	turn();
}

static void client_write(struct client *c, const char *p, size_t n)
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

static void client_send(struct client *c, const Request *q)
{
	struct buf b;

	buf_init(&b, 0);
	wire_append(&b, &q->base);
	client_write(c, b.p, b.n);
	buf_release(&b);
}

/* Takes in what is there. */
static void client_pull(struct client *c)
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
static Response *client_next(struct client *c)
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

static void answer_free(Response *r)
{
	isod__v1__response__free_unpacked(r, NULL);
}

static Response *ask(struct client *c, Request *q)
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
static void ask_error(struct client *c, Request *q, Isod__V1__ErrorCode code)
{
	Response *r = ask(c, q);

	cr_assert_eq(r->answer_case, GOT(ERROR));
	cr_assert_eq(r->error->code, code, "%d: %s", r->error->code, r->error->message);
	answer_free(r);
}

static void wait_eof(struct client *c)
{
	Response *r = client_next(c);
	cr_assert_null(r);
}

static Response *list(struct client *c, Isod__V1__ListIncidentsRequest *l)
{
	Request q = ISOD__V1__REQUEST__INIT;

	q.ask_case = ASK(LIST_INCIDENTS);
	q.list_incidents = l;
	Response *r = ask(c, &q);
	cr_assert_eq(r->answer_case, GOT(INCIDENTS));
	return r;
}

static Request acknowledge(Isod__V1__AcknowledgeIncident *a, uint64_t id, char *note)
{
	Request q = ISOD__V1__REQUEST__INIT;

	isod__v1__acknowledge_incident__init(a);
	a->incident = id;
	a->note = note;
	q.ask_case = ASK(ACKNOWLEDGE);
	q.acknowledge = a;
	return q;
}

static Request close_as(Isod__V1__CloseIncident *a, uint64_t id, int disposition)
{
	Request q = ISOD__V1__REQUEST__INIT;

	isod__v1__close_incident__init(a);
	a->incident = id;
	a->disposition = (Isod__V1__Disposition)disposition;
	q.ask_case = ASK(CLOSE);
	q.close = a;
	return q;
}

static Request status_request(Isod__V1__StatusRequest *s)
{
	Request q = ISOD__V1__REQUEST__INIT;

	isod__v1__status_request__init(s);
	q.ask_case = ASK(STATUS);
	q.status = s;
	return q;
}

static Request watch_request(Isod__V1__WatchRequest *w, Isod__V1__Level level, bool snapshot)
{
	Request q = ISOD__V1__REQUEST__INIT;

	isod__v1__watch_request__init(w);
	w->min_severity = level;
	w->snapshot = snapshot;
	q.ask_case = ASK(WATCH);
	q.watch = w;
	return q;
}

static void watch(struct client *c, Isod__V1__Level level, bool snapshot)
{
	Isod__V1__WatchRequest w;
	Request q = watch_request(&w, level, snapshot);
	Response *r = ask(c, &q);

	cr_assert_eq(r->answer_case, GOT(WATCHING));
	answer_free(r);
}

static uint64_t counter(const char *name);

static struct {
	const char *name;
	uint64_t value;
} wanted_counter;

static void on_counter(void *arg, const char *name, uint64_t value)
{
	(void)arg;
	if (strcmp(name, wanted_counter.name) == 0)
		wanted_counter.value = value;
}

static uint64_t counter(const char *name)
{
	wanted_counter.name = name;
	wanted_counter.value = UINT64_MAX;
	api_counters(rig.api, on_counter, NULL);
	cr_assert_neq(wanted_counter.value, UINT64_MAX, "no counter %s", name);
	return wanted_counter.value;
}

/* ---- questions ---- */

Test(api, status_tells_the_daemon_and_who_asks)
{
	struct client c = client_new();
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);

	incidents(3);
	Response *r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(STATUS));
	cr_assert_str_eq(r->status->version, "test");
	cr_assert_eq(r->status->rules, 7);
	cr_assert_eq(r->status->matches, 3);
	cr_assert_eq(r->status->incidents_open, 3);
	cr_assert_eq(r->status->ledger_sequence, 5);
	cr_assert_eq(strlen(r->status->ledger_head), 64);
	cr_assert_eq(r->status->your_role, ISOD__V1__ROLE__ROLE_ADMIN);
	cr_assert_neq(r->status->you[0], '\0');
	answer_free(r);
	client_free(&c);
}

Test(api, sources_come_in_pages)
{
	struct client c = client_new();
	Isod__V1__Tally tally = ISOD__V1__TALLY__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	Isod__V1__SourceCount counts[2500], *pointers[2500];
	char names[2500][16];
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);

	for (size_t i = 0; i < 2500; i++) {
		isod__v1__source_count__init(&counts[i]);
		snprintf(names[i], sizeof(names[i]), "tcp/%zu", i);
		counts[i].source = names[i];
		counts[i].received = i + 1;
		pointers[i] = &counts[i];
	}
	tally.upto = 1;
	tally.n_sources = 2500;
	tally.sources = pointers;
	record.body_case = ISOD__V1__RECORD__BODY_TALLY;
	record.tally = &tally;
	cr_assert_eq(officer_record(rig.officer, &record), 0);

	Response *r = ask(&c, &q);
	cr_assert_eq(r->status->n_sources, 0);
	answer_free(r);
	s.sources = true;
	size_t seen = 0;
	char after[16] = "";
	bool more = true;
	while (more) {
		s.sources_after = after;
		r = ask(&c, &q);
		cr_assert_leq(r->status->n_sources, 1000);
		for (size_t i = 0; i < r->status->n_sources; i++)
			cr_assert_str_eq(r->status->sources[i]->source, names[seen++]);
		more = r->status->more_sources;
		strcpy(after, names[seen - 1]);
		answer_free(r);
	}
	cr_assert_eq(seen, 2500);
	client_free(&c);
}

Test(api, incidents_are_listed_newest_first_in_pages)
{
	struct client c = client_new();
	Isod__V1__ListIncidentsRequest l = ISOD__V1__LIST_INCIDENTS_REQUEST__INIT;
	uint64_t expected = 250;
	bool more = true;

	incidents(250);
	Response *r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 100);
	answer_free(r);
	l.limit = 60;
	while (more) {
		r = list(&c, &l);
		cr_assert_leq(r->incidents->n_incidents, 60);
		for (size_t i = 0; i < r->incidents->n_incidents; i++) {
			cr_assert_eq(r->incidents->incidents[i]->id, expected--);
			cr_assert_eq(r->incidents->incidents[i]->n_timeline, 0);
			cr_assert_eq(r->incidents->incidents[i]->n_evidence, 0);
		}
		l.before_id = expected + 1;
		more = r->incidents->more;
		answer_free(r);
	}
	cr_assert_eq(expected, 0);
	l.before_id = 1;
	r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 0);
	cr_assert(!r->incidents->more);
	answer_free(r);
	l.before_id = UINT64_MAX;
	l.limit = UINT32_MAX;
	r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 250);
	answer_free(r);
	client_free(&c);
}

Test(api, incidents_are_filtered)
{
	struct client c = client_new();
	Isod__V1__ListIncidentsRequest l = ISOD__V1__LIST_INCIDENTS_REQUEST__INIT;
	Isod__V1__Entity entity = ISOD__V1__ENTITY__INIT;
	Isod__V1__IncidentState states[] = {ISOD__V1__INCIDENT_STATE__INCIDENT_TRIAGED,
	                                    ISOD__V1__INCIDENT_STATE__INCIDENT_CLOSED};
	Isod__V1__AcknowledgeIncident a;
	char empty[] = "", address[] = "192.0.0.4";

	incidents(10);
	Request q = acknowledge(&a, 3, empty);
	answer_free(ask(&c, &q));

	l.min_severity = HIGH;
	Response *r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 5);
	answer_free(r);

	l.min_severity = 0;
	l.n_states = 2;
	l.states = states;
	r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 1);
	cr_assert_eq(r->incidents->incidents[0]->id, 3);
	uint64_t changed = r->incidents->incidents[0]->changed_ns;
	answer_free(r);

	l.n_states = 0;
	l.since_ns = changed;
	r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 1);
	answer_free(r);
	l.since_ns = changed + 1;
	r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 0);
	answer_free(r);

	l.since_ns = 0;
	l.entity = &entity;
	entity.name = address;
	r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 1);
	cr_assert_eq(r->incidents->incidents[0]->id, 4);
	answer_free(r);
	entity.kind = ISOD__V1__ENTITY_KIND__ENTITY_USER;
	r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 0);
	answer_free(r);
	client_free(&c);
}

Test(api, an_incident_is_shown_whole_or_not_found)
{
	struct client c = client_new();
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__ShowIncidentRequest s = ISOD__V1__SHOW_INCIDENT_REQUEST__INIT;

	incidents(1);
	q.ask_case = ASK(SHOW_INCIDENT);
	q.show_incident = &s;
	s.incident = 1;
	Response *r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(INCIDENT));
	cr_assert_eq(r->incident->n_evidence, 1);
	cr_assert_gt(r->incident->n_timeline, 0);
	answer_free(r);
	const uint64_t none[] = {0, 2, UINT64_MAX};
	for (size_t i = 0; i < 3; i++) {
		s.incident = none[i];
		ask_error(&c, &q, ERR(NOT_FOUND));
	}
	client_free(&c);
}

Test(api, risk_metrics_and_notifications_are_answered)
{
	struct client c = client_new();
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__RiskRequest risk = ISOD__V1__RISK_REQUEST__INIT;
	Isod__V1__MetricsRequest metrics = ISOD__V1__METRICS_REQUEST__INIT;
	Isod__V1__ListNotificationsRequest n = ISOD__V1__LIST_NOTIFICATIONS_REQUEST__INIT;
	char scope[] = "rule", name[] = "rule 3";

	incidents(30);
	q.ask_case = ASK(RISK);
	q.risk = &risk;
	Response *r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(RISK));
	cr_assert_eq(r->risk->n_entities, 20);
	for (size_t i = 1; i < 20; i++)
		cr_assert_geq(r->risk->entities[i - 1]->score_milli,
		              r->risk->entities[i]->score_milli);
	answer_free(r);
	risk.kind = ISOD__V1__ENTITY_KIND__ENTITY_HOST;
	r = ask(&c, &q);
	cr_assert_eq(r->risk->n_entities, 1);
	cr_assert_str_eq(r->risk->entities[0]->entity->name, "web1");
	answer_free(r);

	q.ask_case = ASK(METRICS);
	q.metrics = &metrics;
	metrics.scope = scope;
	metrics.limit = 20;
	r = ask(&c, &q);
	cr_assert_eq(r->metrics->n_series, 20);
	cr_assert(r->metrics->more);
	char *after =
		xasprintf("%s/%s", r->metrics->series[19]->scope, r->metrics->series[19]->name);
	answer_free(r);
	metrics.after = after;
	r = ask(&c, &q);
	cr_assert_eq(r->metrics->n_series, 10);
	cr_assert(!r->metrics->more);
	answer_free(r);
	free(after);
	metrics.after = (char *)(uintptr_t) "";
	metrics.name = name;
	metrics.resolution = ISOD__V1__RESOLUTION__RESOLUTION_DAY;
	metrics.points = UINT32_MAX;
	r = ask(&c, &q);
	cr_assert_eq(r->metrics->n_series, 1);
	cr_assert_eq(r->metrics->series[0]->total, 1);
	cr_assert_eq(r->metrics->series[0]->n_points, 1);
	cr_assert_eq(r->metrics->series[0]->points[0]->count, 1);
	answer_free(r);
	metrics.resolution = (Isod__V1__Resolution)77;
	ask_error(&c, &q, ERR(BAD_REQUEST));

	q.ask_case = ASK(LIST_NOTIFICATIONS);
	q.list_notifications = &n;
	r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(NOTIFICATIONS));
	cr_assert_eq(r->notifications->n_notifications, 0);
	answer_free(r);
	client_free(&c);
}

/* ---- commands ---- */

static int count_commands(void *arg, uint64_t sequence, uint64_t time_ns,
                          const Isod__V1__Record *record)
{
	(void)sequence;
	(void)time_ns;
	*(int *)arg += record->body_case == ISOD__V1__RECORD__BODY_COMMAND;
	return 0;
}

static int commands_in_ledger(void)
{
	char *ledger = xasprintf("%s/ledger", rig.dir);
	int count = 0;

	cr_assert_eq(ledger_read(ledger, 0, count_commands, &count, rig.error, sizeof(rig.error)),
	             0);
	free(ledger);
	return count;
}

Test(api, acknowledging_and_closing_are_durable_when_answered)
{
	struct client c = client_new();
	Isod__V1__AcknowledgeIncident a;
	Isod__V1__CloseIncident x;
	char note[] = "looking \xff\xfe";

	incidents(2);
	Request q = acknowledge(&a, 1, note);
	Response *r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(INCIDENT));
	cr_assert_eq(r->incident->state, ISOD__V1__INCIDENT_STATE__INCIDENT_TRIAGED);
	cr_assert_neq(r->incident->owner[0], '\0');
	cr_assert_gt(r->incident->acknowledged_ns, 0);
	answer_free(r);
	cr_assert_eq(commands_in_ledger(), 1);
	ask_error(&c, &q, ERR(CONFLICT));

	q = close_as(&x, 1, ISOD__V1__DISPOSITION__DISPOSITION_FALSE_POSITIVE);
	r = ask(&c, &q);
	cr_assert_eq(r->incident->state, ISOD__V1__INCIDENT_STATE__INCIDENT_CLOSED);
	cr_assert_eq(r->incident->disposition, ISOD__V1__DISPOSITION__DISPOSITION_FALSE_POSITIVE);
	answer_free(r);
	cr_assert_eq(commands_in_ledger(), 2);
	ask_error(&c, &q, ERR(CONFLICT));
	q = acknowledge(&a, 1, note);
	ask_error(&c, &q, ERR(CONFLICT));
	q = acknowledge(&a, 99, note);
	ask_error(&c, &q, ERR(NOT_FOUND));
	const int nonsense[] = {0, 5, -1, INT32_MAX};
	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
		q = close_as(&x, 2, nonsense[i]);
		ask_error(&c, &q, ERR(BAD_REQUEST));
	}
	char *large = xmalloc(4098);
	memset(large, 'n', 4097);
	large[4097] = '\0';
	client_free(&c);
	rig.config.api.request_max = 8192;
	c = client_new();
	q = acknowledge(&a, 2, large);
	ask_error(&c, &q, ERR(BAD_REQUEST));
	free(large);
	cr_assert_eq(commands_in_ledger(), 2);
	client_free(&c);
}

Test(api, a_ledger_that_cannot_be_written_makes_commands_unavailable)
{
	struct client c = client_new();
	Isod__V1__AcknowledgeIncident a;
	struct rlimit none, now;
	char empty[] = "";
	Request q;

	incidents(2);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &none);
	now = none;
	now.rlim_cur = 10;
	setrlimit(RLIMIT_FSIZE, &now);
	for (uint64_t id = 1; id <= 2; id++) {
		q = acknowledge(&a, id, empty);
		ask_error(&c, &q, ERR(UNAVAILABLE));
	}
	Isod__V1__StatusRequest s;
	q = status_request(&s);
	answer_free(ask(&c, &q));
	setrlimit(RLIMIT_FSIZE, &none);
	client_free(&c);
}

/* ---- bad input ---- */

/* What is sent gets that error, and then the connection ends; the daemon goes on. */
static void expect_end(const char *p, size_t n, Isod__V1__ErrorCode code)
{
	struct client c = client_new(), other = client_new();
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);

	client_write(&c, p, n);
	Response *r = client_next(&c);
	cr_assert(r, "closed without an answer");
	cr_assert_eq(r->answer_case, GOT(ERROR));
	cr_assert_eq(r->error->code, code, "%s", r->error->message);
	answer_free(r);
	wait_eof(&c);
	client_free(&c);
	answer_free(ask(&other, &q));
	client_free(&other);
	cr_assert_eq(counter("api_connections"), 0);
}

Test(api, a_request_over_the_limit_is_refused_by_its_length)
{
	char large[REQUEST_MAX + 100] = "\x81\x20"; /* 4097 */

	expect_end("\x81\x20", 2, ERR(TOO_LARGE));
	expect_end("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, ERR(TOO_LARGE));
	expect_end(large, sizeof(large), ERR(TOO_LARGE));
	cr_assert_eq(counter("api_too_large"), 3);
}

Test(api, what_is_no_request_ends_the_connection)
{
	expect_end("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10, ERR(BAD_REQUEST));
	expect_end("\x03\xff\xff\xff", 4, ERR(BAD_REQUEST));
	expect_end("GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: a client that took the wrong door, "
	           "and says a lot\r\n\r\n",
	           90, ERR(BAD_REQUEST));
	cr_assert_eq(counter("api_bad_requests"), 3);
}

Test(api, an_unknown_request_is_answered_and_the_connection_goes_on)
{
	struct client c = client_new();
	Isod__V1__StatusRequest s;
	Request q = ISOD__V1__REQUEST__INIT, good = status_request(&s);

	ask_error(&c, &q, ERR(BAD_REQUEST));
	/* Field 99, as of a later version. */
	client_write(&c, "\x05\x08\x05\x9a\x06\x00", 6);
	Response *r = client_next(&c);
	cr_assert_eq(r->id, 5);
	cr_assert_eq(r->error->code, ERR(BAD_REQUEST));
	answer_free(r);
	answer_free(ask(&c, &good));
	client_free(&c);
}

Test(api, a_request_byte_by_byte_is_a_request)
{
	struct client c = client_new();
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);
	struct buf b;

	buf_init(&b, 0);
	q.id = 300;
	wire_append(&b, &q.base);
	for (size_t i = 0; i < b.n; i++) {
		client_write(&c, b.p + i, 1);
		turn();
	}
	Response *r = client_next(&c);
	cr_assert_eq(r->id, 300);
	cr_assert_eq(r->answer_case, GOT(STATUS));
	answer_free(r);
	buf_release(&b);
	client_free(&c);
}

Test(api, half_a_request_is_waited_for_only_so_long)
{
	struct client c = client_new(), watcher = client_new(), idle = client_new();

	rig.api->patience[DEADLINE_REQUEST] = (struct timeval){0, 20000};
	watch(&watcher, 0, false);
	client_write(&c, "\x20\x08", 2);
	wait_eof(&c);
	cr_assert_eq(counter("api_timeouts"), 1);
	cr_assert_eq(counter("api_connections"), 2);
	client_free(&c);
	rig.api->patience[DEADLINE_IDLE] = (struct timeval){0, 20000};
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);
	answer_free(ask(&idle, &q));
	wait_eof(&idle);
	cr_assert_eq(counter("api_connections"), 1);
	client_free(&idle);
	incidents(1);
	Response *r = client_next(&watcher);
	cr_assert_eq(r->answer_case, GOT(INCIDENT), "a watcher may be silent for ever");
	answer_free(r);
	client_free(&watcher);
}

Test(api, a_client_that_asks_and_does_not_read_stops_itself)
{
	struct client c = client_new();
	Isod__V1__ListIncidentsRequest l = ISOD__V1__LIST_INCIDENTS_REQUEST__INIT;
	Request q = ISOD__V1__REQUEST__INIT;
	struct buf b;
	size_t at = 0;

	incidents(200);
	q.ask_case = ASK(LIST_INCIDENTS);
	q.list_incidents = &l;
	l.limit = 200;
	buf_init(&b, 0);
	for (q.id = 1; q.id <= 2000; q.id++)
		wire_append(&b, &q.base);
	for (int i = 0; i < 2000 && at < b.n; i++) {
		ssize_t n = write(c.fd, b.p + at, b.n - at);
		at += n > 0 ? (size_t)n : 0;
		turn();
		cr_assert_lt(evbuffer_get_length(bufferevent_get_output(rig.api->connections->bev)),
		             (size_t)1 << 20);
	}
	cr_assert_lt(counter("api_requests"), 500);
	/* Now it reads, and gets every answer, in order. */
	for (uint64_t id = 1; id <= 2000; id++) {
		if (at < b.n) {
			ssize_t n = write(c.fd, b.p + at, b.n - at);
			at += n > 0 ? (size_t)n : 0;
		}
		Response *r = client_next(&c);
		cr_assert(r);
		cr_assert_eq(r->id, id);
		answer_free(r);
	}
	buf_release(&b);
	client_free(&c);
}

Test(api, who_asks_and_shuts_its_side_gets_all_answers)
{
	struct client c = client_new();
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);

	for (q.id = 1; q.id <= 3000; q.id++)
		client_send(&c, &q);
	shutdown(c.fd, SHUT_WR);
	for (uint64_t id = 1; id <= 3000; id++) {
		Response *r = client_next(&c);
		cr_assert(r, "closed before answer %lu", id);
		cr_assert_eq(r->id, id);
		answer_free(r);
	}
	wait_eof(&c);
	cr_assert_eq(counter("api_connections"), 0);
	client_free(&c);
}

Test(api, connections_are_limited)
{
	struct client c[API_CONNECTIONS_MAX];

	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++)
		c[i] = client_new();
	turn();
	cr_assert_eq(counter("api_connections"), API_CONNECTIONS_MAX);
	struct client over = client_new();
	Response *r = client_next(&over);
	cr_assert_eq(r->error->code, ERR(UNAVAILABLE));
	answer_free(r);
	wait_eof(&over);
	client_free(&over);
	cr_assert_eq(counter("api_turned_away"), 1);
	client_free(&c[7]);
	c[7] = client_new();
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);
	answer_free(ask(&c[7], &q));
	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++)
		client_free(&c[i]);
	cr_assert_eq(counter("api_connections"), 0);
}

/* ---- watching ---- */

Test(api, a_watcher_sees_incidents_as_they_change)
{
	struct client c = client_new();
	struct client other = client_new();
	Isod__V1__AcknowledgeIncident a;
	char empty[] = "";

	incidents(4); /* 2 and 4 are high */
	watch(&c, HIGH, true);
	for (uint64_t id = 2; id <= 4; id += 2) {
		Response *r = client_next(&c);
		cr_assert_eq(r->answer_case, GOT(INCIDENT));
		cr_assert_eq(r->incident->id, id);
		cr_assert_eq(r->incident->n_evidence, 0);
		answer_free(r);
	}
	Request q = acknowledge(&a, 1, empty); /* low: not told */
	answer_free(ask(&other, &q));
	q = acknowledge(&a, 4, empty);
	answer_free(ask(&other, &q));
	Response *r = client_next(&c);
	cr_assert_eq(r->incident->id, 4);
	cr_assert_eq(r->incident->state, ISOD__V1__INCIDENT_STATE__INCIDENT_TRIAGED);
	answer_free(r);
	/* A watcher may ask as well. */
	Isod__V1__StatusRequest s;
	q = status_request(&s);
	r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(STATUS));
	answer_free(r);
	client_free(&c);
	cr_assert_eq(counter("api_watchers"), 0);
	client_free(&other);
}

Test(api, a_storm_of_changes_is_told_once_with_its_newest_state)
{
	struct client c = client_new();

	watch(&c, 0, false);
	for (int i = 0; i < 500; i++)
		match("storm", HIGH, "192.0.2.1");
	uint64_t told = 0, last = 0;
	while (last < 500) {
		Response *r = client_next(&c);
		cr_assert_eq(r->incident->id, 1);
		cr_assert_leq(r->incident->n_timeline, 20);
		last = r->incident->matches;
		told++;
		answer_free(r);
	}
	cr_assert_lt(told, 100);
	client_free(&c);
}

Test(api, a_watcher_that_does_not_read_is_closed)
{
	struct client c = client_new(), other = client_new();

	incidents(2000);
	watch(&c, 0, false);
	/* Each turn tells all incidents anew, until the limit. */
	for (int i = 0; i < 1000 && counter("api_watchers"); i++) {
		for (uint64_t id = 1; id <= 2000; id++)
			api_incident_changed(
				rig.api, incident_get(&officer_state(rig.officer)->incident, id));
		event_active(rig.api->telling, EV_TIMEOUT, 0);
		turn();
	}
	cr_assert_eq(counter("api_watchers"), 0);
	cr_assert_eq(counter("api_slow_clients"), 1);
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);
	answer_free(ask(&other, &q));
	client_free(&c);
	client_free(&other);
}

Test(api, a_large_snapshot_reaches_a_watcher_that_reads)
{
	struct client c = client_new();
	uint64_t seen = 0;

	incidents(3000);
	watch(&c, 0, true);
	while (seen < 3000) {
		Response *r = client_next(&c);
		cr_assert(r);
		cr_assert_eq(r->incident->id, ++seen);
		answer_free(r);
	}
	client_free(&c);
}

/* ---- the socket ---- */

Test(api, a_stale_socket_is_replaced_and_a_live_one_is_not)
{
	struct api *second = NULL;
	struct stat st;

	cr_assert_eq(try_api(&second), -EADDRINUSE);
	cr_assert(strstr(rig.error, "another process answers"), "%s", rig.error);
	struct client c = client_new();
	client_free(&c);

	/* What a killed daemon leaves. */
	char *path = xasprintf("%s/isod.sock", rig.dir);
	api_close(rig.api);
	cr_assert_neq(stat(path, &st), 0, "removed at the end");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	strcpy(sa.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	open_api();
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0666);
	c = client_new();
	client_free(&c);

	/* A file in its place is somebody's. */
	api_close(rig.api);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	cr_assert_eq(try_api(&second), -EEXIST);
	cr_assert(strstr(rig.error, path), "%s", rig.error);
	unlink(path);

	char long_path[200];
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[199] = '\0';
	long_path[0] = '/';
	rig.config.api.socket = long_path;
	cr_assert_eq(try_api(&second), -ENAMETOOLONG);
	rig.config.api.socket = NULL;
	open_api();
	free(path);
}

/* ---- roles ---- */

/* A client of another account asks for the status and to acknowledge; exit status: the two error codes (0: none). */
static int ask_as(uid_t uid, gid_t group)
{
	pid_t child = fork();

	if (child == 0) {
		struct sockaddr_un sa = {.sun_family = AF_UNIX};
		Isod__V1__StatusRequest s;
		Isod__V1__AcknowledgeIncident a;
		char empty[] = "";
		Request q[2] = {status_request(&s), acknowledge(&a, 1, empty)};
		int codes[2];
		if (setgroups(1, &group) < 0 || setgid(65534) < 0 || setuid(uid) < 0)
			_exit(255);
		struct client c = {.fd = socket(AF_UNIX, SOCK_STREAM, 0)};
		snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/isod.sock", rig.dir);
		if (connect(c.fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
			_exit(254);
		for (int i = 0; i < 2; i++) {
			struct buf b;
			struct str body;
			size_t used;
			char chunk[4096];
			buf_init(&b, 0);
			wire_append(&b, &q[i].base);
			if (write(c.fd, b.p, b.n) < 0)
				_exit(253);
			while (wire_next(buf_str(&c.in), 1 << 20, &body, &used) < 0) {
				ssize_t n = read(c.fd, chunk, sizeof(chunk));
				if (n <= 0)
					_exit(252);
				buf_append(&c.in, chunk, (size_t)n);
			}
			Response *r =
				isod__v1__response__unpack(NULL, body.n, (const uint8_t *)body.p);
			codes[i] = r->answer_case == GOT(ERROR) ? (int)r->error->code : 0;
			buf_consume(&c.in, used);
		}
		_exit(codes[0] * 10 + codes[1]);
	}
	int status;
	while (waitpid(child, &status, WNOHANG) == 0)
		turn();
	return WEXITSTATUS(status);
}

Test(api, accounts_and_groups_have_the_roles_of_the_configuration)
{
	char nobody[] = "nobody", daemon[] = "daemon", none[] = "no such account here";

	if (geteuid() != 0)
		cr_skip_test("only root can ask as somebody else");
	incidents(1);
	cr_assert_eq(ask_as(65534, 65534), ERR(FORBIDDEN) * 11);
	cr_assert_eq(rig.refused, 2);
	cr_assert_str_eq(rig.last_refused, "acknowledge");
	cr_assert_eq(officer_state(rig.officer)->access.refusals, 2);

	rig.roles[0] = (struct role_config){.user = none, .role = ISOD__V1__ROLE__ROLE_ADMIN};
	rig.roles[1] =
		(struct role_config){.group = daemon, .role = ISOD__V1__ROLE__ROLE_RESPONDER};
	rig.roles[2] = (struct role_config){.user = nobody, .role = ISOD__V1__ROLE__ROLE_VIEWER};
	rig.config.api.role_count = 3;
	reopen_api();
	cr_assert_eq(ask_as(65534, 65534), ERR(FORBIDDEN));
	cr_assert_eq(ask_as(65534, 1), 0, "by a supplementary group, the first line that fits");
	cr_assert_eq(ask_as(12345, 65534), ERR(FORBIDDEN) * 11);
}

/* ---- TLS ---- */

static EVP_PKEY *ca_key;
static X509 *ca_cert;

/* A key and a certificate with that common name into DIR/NAME.pem and DIR/NAME.key, signed by the CA (or being it). */
static void certificate(const char *name, bool server)
{
	static long serial;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	char *pem = xasprintf("%s/%s.pem", rig.dir, name),
	     *file = xasprintf("%s/%s.key", rig.dir, name);
	X509V3_CTX ctx;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
	                           (const unsigned char *)name, -1, -1, 0);
	bool ca = !ca_cert;
	X509_set_issuer_name(x, X509_get_subject_name(ca ? x : ca_cert));
	X509V3_set_ctx(&ctx, ca ? x : ca_cert, x, NULL, NULL, 0);
	const char *values[] = {ca ? "critical,CA:TRUE" : "CA:FALSE",
	                        server ? "IP:127.0.0.1,DNS:localhost" : NULL};
	const int ids[] = {NID_basic_constraints, NID_subject_alt_name};
	for (int i = 0; i < 2; i++) {
		X509_EXTENSION *e =
			values[i] ? X509V3_EXT_conf_nid(NULL, &ctx, ids[i], values[i]) : NULL;
		if (e)
			X509_add_ext(x, e, -1);
		X509_EXTENSION_free(e);
	}
	cr_assert(X509_sign(x, ca ? key : ca_key, EVP_sha256()));
	FILE *f = fopen(pem, "w");
	PEM_write_X509(f, x);
	fclose(f);
	f = fopen(file, "w");
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	free(pem);
	free(file);
	if (ca) {
		ca_key = key;
		ca_cert = x;
	} else {
		EVP_PKEY_free(key);
		X509_free(x);
	}
}

static char *in_dir(const char *name, const char *suffix)
{
	return xasprintf("%s/%s.%s", rig.dir, name, suffix);
}

struct tls_client {
	struct bufferevent *bev;
	struct tls_context *context;
	bool ended;
};

static void on_tls_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (!(what & BEV_EVENT_CONNECTED))
		((struct tls_client *)arg)->ended = true;
}

static void tls_client_open(struct tls_client *c, const char *name)
{
	char *pem = in_dir(name, "pem"), *key = in_dir(name, "key"), *ca = in_dir("ca", "pem");
	const struct tls_settings s = {.certificate = pem, .key = key, .ca = ca};
	struct sockaddr_storage sa;
	socklen_t length = 0;

	*c = (struct tls_client){0};
	cr_assert_eq(tls_context_new(false, &s, &c->context, rig.error, sizeof(rig.error)), 0, "%s",
	             rig.error);
	cr_assert_eq(net_parse(str_of(api_address(rig.api)), &sa, &length), 0);
	c->bev = tls_bufferevent(rig.base, c->context, -1, false, "127.0.0.1");
	bufferevent_setcb(c->bev, NULL, NULL, on_tls_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	cr_assert_eq(bufferevent_socket_connect(c->bev, (struct sockaddr *)&sa, (int)length), 0);
	free(pem);
	free(key);
	free(ca);
}

static void tls_client_close(struct tls_client *c)
{
	tls_bufferevent_free(c->bev);
	tls_context_unref(c->context);
	turn();
}

/* NULL when the connection ended instead. */
static Response *tls_ask(struct tls_client *c, const Request *q)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct buf b;
	struct str body;
	size_t used;

	buf_init(&b, 0);
	wire_append(&b, &q->base);
	bufferevent_write(c->bev, b.p, b.n);
	buf_release(&b);
	for (;;) {
		size_t n = evbuffer_get_length(in);
		const char *p = (const char *)evbuffer_pullup(in, -1);
		if (n && wire_next(str_make(p, n), 1 << 20, &body, &used) == 0) {
			Response *r =
				isod__v1__response__unpack(NULL, body.n, (const uint8_t *)body.p);
			evbuffer_drain(in, used);
			return r;
		}
		if (c->ended)
			return NULL;
		event_base_loop(rig.base, EVLOOP_ONCE);
	}
}

static void open_tls(void)
{
	static char address[] = "127.0.0.1:0", alice[] = "alice", bob[] = "bob";

	certificate("ca", false);
	certificate("server", true);
	certificate("alice", false);
	certificate("bob", false);
	certificate("eve", false);
	rig.config.api.address = address;
	rig.config.api.certificate = in_dir("server", "pem");
	rig.config.api.key = in_dir("server", "key");
	rig.config.api.ca = in_dir("ca", "pem");
	rig.roles[0] =
		(struct role_config){.certificate = alice, .role = ISOD__V1__ROLE__ROLE_RESPONDER};
	rig.roles[1] =
		(struct role_config){.certificate = bob, .role = ISOD__V1__ROLE__ROLE_VIEWER};
	rig.config.api.role_count = 2;
	reopen_api();
}

static void close_tls(void)
{
	EVP_PKEY_free(ca_key);
	X509_free(ca_cert);
	free(rig.config.api.certificate);
	free(rig.config.api.key);
	free(rig.config.api.ca);
}

Test(api, certificates_have_the_roles_of_the_configuration)
{
	struct tls_client c;
	Isod__V1__StatusRequest s;
	Isod__V1__AcknowledgeIncident a;
	char empty[] = "";
	Request status = status_request(&s), ack = acknowledge(&a, 1, empty);

	open_tls();
	incidents(1);
	tls_client_open(&c, "bob");
	Response *r = tls_ask(&c, &status);
	cr_assert(r);
	cr_assert_str_eq(r->status->you, "cert:bob");
	cr_assert_eq(r->status->your_role, ISOD__V1__ROLE__ROLE_VIEWER);
	answer_free(r);
	r = tls_ask(&c, &ack);
	cr_assert_eq(r->error->code, ERR(FORBIDDEN));
	cr_assert(strstr(r->error->message, "responder"), "%s", r->error->message);
	answer_free(r);
	tls_client_close(&c);

	tls_client_open(&c, "eve");
	r = tls_ask(&c, &status);
	cr_assert_eq(r->error->code, ERR(FORBIDDEN));
	answer_free(r);
	tls_client_close(&c);
	cr_assert_eq(rig.refused, 2);

	tls_client_open(&c, "alice");
	r = tls_ask(&c, &ack);
	cr_assert_eq(r->answer_case, GOT(INCIDENT));
	cr_assert_str_eq(r->incident->owner, "cert:alice");
	answer_free(r);
	tls_client_close(&c);
	close_tls();
}

Test(api, who_is_refused_over_and_over_is_cut_off)
{
	struct tls_client c;
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);
	size_t answered = 0, clients = 0;
	Response *r;

	open_tls();
	for (; clients < 8; clients++) {
		tls_client_open(&c, "eve");
		while ((r = tls_ask(&c, &q))) {
			cr_assert_eq(r->error->code, ERR(FORBIDDEN));
			answer_free(r);
			answered++;
		}
		tls_client_close(&c);
	}
	cr_assert_eq(answered, 20 * clients);
	cr_assert_eq(counter("api_refusals"), answered);
	/* Recorded are at most so many a minute; a test that takes longer than one may see a second lot. */
	cr_assert_eq(rig.refused + counter("api_refusals_unrecorded"), answered);
	cr_assert_eq(officer_state(rig.officer)->access.refusals, rig.refused);
	cr_assert_geq(rig.refused, 120);
	close_tls();
}

Test(api, without_a_certificate_there_is_no_connection)
{
	struct tls_client c = {0};
	struct sockaddr_storage sa;
	socklen_t length = 0;
	char chunk[4096];

	open_tls();
	/* Not even TLS. */
	cr_assert_eq(net_parse(str_of(api_address(rig.api)), &sa, &length), 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, length), 0);
	cr_assert_eq(write(fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	ssize_t n;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EAGAIN))
		turn();
	close(fd);
	cr_assert_eq(counter("api_tls_failures"), 1);

	char *ca = in_dir("ca", "pem");
	const struct tls_settings s = {.ca = ca};
	cr_assert_eq(tls_context_new(false, &s, &c.context, rig.error, sizeof(rig.error)), 0);
	c.bev = tls_bufferevent(rig.base, c.context, -1, false, "127.0.0.1");
	bufferevent_setcb(c.bev, NULL, NULL, on_tls_event, &c);
	bufferevent_enable(c.bev, EV_READ | EV_WRITE);
	cr_assert_eq(bufferevent_socket_connect(c.bev, (struct sockaddr *)&sa, (int)length), 0);
	Isod__V1__StatusRequest ask_status;
	Request q = status_request(&ask_status);
	cr_assert_null(tls_ask(&c, &q));
	tls_client_close(&c);
	while (counter("api_tls_failures") < 2)
		turn();
	cr_assert_eq(counter("api_connections"), 0);

	/* A handshake that does not go on. */
	rig.api->patience[DEADLINE_HANDSHAKE] = (struct timeval){0, 20000};
	fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, length), 0);
	while (counter("api_tls_failures") < 3)
		turn();
	close(fd);
	free(ca);
	close_tls();
}
