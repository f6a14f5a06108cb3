/* The wiring. Stages do not know each other: what flows from one to a sibling passes through a callback set here.
 *
 *   ingest threads ─▶ inbox ─▶ officer ─▶ effects ─▶ view_mark, api_incident_changed, escalate_send
 *   plugin answers ─▶ officer_post            refused requests, plugin trouble … ─▶ ingest_own_event
 *
 * Everything but the ingest threads runs in one loop on the main thread. */
#include "daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "alarm.h"
#include "api/api.h"
#include "base/activation.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"
#include "books.h"
#include "certificates.h"
#include "escalate/escalate.h"
#include "forget.h"
#include "ingest/ingest.h"
#include "ingest/own_event.h"
#include "load.h"
#include "officer/officer.h"
#include "reload.h"
#include "settings.h"
#include "sigma/compile.h"
#include "sigma/content.h"
#include "sigma/rules.h"
#include "status.h"
#include "view/view.h"
#include "watch.h"

#define RING_BYTES                                                                                 \
	((size_t)4 << 20) /* a worker's matches while the officer syncs: some ten thousand */
#define ERROR_TEXT      512
#define OWN_EVENT_BYTES 8192 /* names and reasons are cut far below */
#define PROBLEMS_LOGGED 10   /* of a refused set of rules; isoctl is told more */

struct isod {
	struct config *config;
	int lock_fd;
	struct activation *passed; /* sockets, until every door has asked for its own */
	struct event_base *base;
	struct event *signals[3];
	struct event *answers; /* producers' batches are done with */
	struct content *content;
	struct inbox inbox;
	bool inbox_open;
	struct clock_steady clock; /* of arrivals and of the ledger */
	struct officer *officer;
	struct view *view;
	struct escalate *escalate;
	struct api *api;
	struct ingest *ingest;
	struct reload *reload;
	struct alarm *alarm;
	struct event *storage; /* made active by workers */
	bool evidence_stalled;
	struct books *books;
	struct watch *watch;
	struct forget *forget;
	struct certificates *certificates;
	uint64_t rules_loaded, rules_refused; /* reloads */
	char *rules_error;                    /* of the last one; NULL: it was good */
	uint64_t started_ns;
};

/* ---- isod's own events ---- */

/* A JSON event about isod itself; `pairs` is name, value, name, value …, NULL. */
static void own_event(struct isod *d, const char *event, const char *const *pairs)
{
	struct buf out;

	if (!d->ingest)
		return;
	buf_init(&out, OWN_EVENT_BYTES);
	if (own_event_write(&out, d->config->node, clock_now(), event, pairs) == 0)
		ingest_own_event(d->ingest, buf_str(&out));
	buf_release(&out);
}

/* ---- callbacks between the stages ---- */

static void on_dirty(void *arg, enum view_kind kind, struct str key)
{
	struct isod *d = arg;
	view_mark(d->view, kind, key);
}

static void on_incident(void *arg, const Isod__V1__Incident *incident)
{
	struct isod *d = arg;
	api_incident_changed(d->api, incident);
}

static void on_notify(void *arg, const Isod__V1__Notification *n,
                      const Isod__V1__Incident *incident)
{
	struct isod *d = arg;
	uint64_t arrived = n->attempts == 1 ? officer_folding_since(d->officer) : 0;
	uint64_t now = clock_steady(&d->clock), since = 0;

	/* Arrivals are told by the wall clock, latencies by the other. */
	if (arrived && arrived <= now && now - arrived < clock_mono())
		since = clock_mono() - (now - arrived);
	escalate_send_since(d->escalate, n, incident, since);
}

static void on_evicted(void *arg, const char *correlation, uint64_t count)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
	log_warning("correlation %s is full: %s of its groups had to make room", correlation, text);
	own_event(arg, "correlation_full",
	          (const char *const[]){"correlation", correlation, "groups", text, NULL});
}

/* ---- storage that fails ---- */

static void on_stalled(void *arg, bool stalled)
{
	struct isod *d = arg;
	bool broken;
	int error = officer_storage(d->officer, &broken);

	own_event(d, stalled ? "ledger_stalled" : "ledger_resumed", (const char *const[]){NULL});
	if (stalled && d->alarm)
		alarm_storage(d->alarm, "the ledger", error, broken);
}

static void on_snapshot_trouble(void *arg, const char *what)
{
	own_event(arg, "snapshot_trouble", (const char *const[]){"detail", what, NULL});
}

/* From a worker's thread: looked at in this one. */
static void on_storage(void *arg)
{
	struct isod *d = arg;
	event_active(d->storage, EV_READ, 0);
}

static void on_storage_here(evutil_socket_t fd, short what, void *arg)
{
	struct isod *d = arg;
	bool broken;
	int r = ingest_storage(d->ingest, &broken);

	(void)fd;
	(void)what;
	if (broken || (r && !d->evidence_stalled))
		alarm_storage(d->alarm, "evidence", r, broken);
	d->evidence_stalled = r != 0;
}

static void on_alarm(void *arg, const Isod__V1__Notification *n, const Isod__V1__Incident *incident)
{
	struct isod *d = arg;
	escalate_send(d->escalate, n, incident);
}

static void open_forget(struct isod *d)
{
	const struct forget_options o = {.config = d->config,
	                                 .base = d->base,
	                                 .clock = &d->clock,
	                                 .officer = d->officer,
	                                 .ingest = d->ingest};

	d->forget = forget_new(&o);
}

static void open_alarm(struct isod *d)
{
	const struct alarm_options o = {
		.config = d->config, .base = d->base, .send = on_alarm, .arg = d};

	d->alarm = alarm_new(&o);
	d->storage = event_new(d->base, -1, 0, on_storage_here, d);
	if (!d->storage)
		abort();
}

/* ---- more callbacks between the stages ---- */

static void on_view(void *arg, bool connected, const char *reason)
{
	struct isod *d = arg;

	if (connected)
		log_notice("view: connected to %s", view_address(d->view));
	else
		log_warning("view: %s", reason);
	own_event(d, connected ? "view_back" : "view_lost",
	          (const char *const[]){"detail", reason ? reason : "", NULL});
}

static void on_plugin_result(void *arg, const Isod__V1__PluginResult *result)
{
	struct isod *d = arg;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	if (alarm_result(d->alarm, result))
		return;
	record.body_case = ISOD__V1__RECORD__BODY_PLUGIN_RESULT;
	record.plugin_result = (Isod__V1__PluginResult *)(uintptr_t)result;
	officer_post(d->officer, &record);
}

static void on_plugin_trouble(void *arg, const char *plugin, const char *what)
{
	log_warning("plugin %s: %s", plugin, what);
	own_event(arg, "plugin_trouble",
	          (const char *const[]){"plugin", plugin, "detail", what, NULL});
}

static void on_refused(void *arg, const Isod__V1__Refusal *refusal)
{
	log_notice("refused %s to %s: %s", refusal->request, refusal->user, refusal->reason);
	own_event(arg, "access_refused",
	          (const char *const[]){"user", refusal->user, "request", refusal->request,
	                                "detail", refusal->reason, "outcome", "failure", NULL});
}

static int on_anchor_head(void *arg, uint64_t *ret_sequence, const uint8_t **ret_head)
{
	struct isod *d = arg;
	return officer_anchor(d->officer, ret_sequence, ret_head);
}

static uint64_t on_snapshot_floor(void *arg)
{
	struct isod *d = arg;
	return officer_snapshot_floor(d->officer);
}

static void on_books_event(void *arg, const char *event, const char *const *pairs)
{
	own_event(arg, event, pairs);
}

/* From a worker's thread; the first may come before the rest of isod is there, which then looks by itself. */
static void on_certificate(void *arg)
{
	struct isod *d = arg;

	if (d->certificates)
		certificates_look(d->certificates);
}

static void open_certificates(struct isod *d)
{
	const struct certificates_options o = {.config = d->config,
	                                       .base = d->base,
	                                       .ingest = d->ingest,
	                                       .api = d->api,
	                                       .event = on_books_event,
	                                       .arg = d};

	d->certificates = certificates_new(&o);
}

/* ---- producers: from the API through a worker of ingest and back ---- */

static int on_ingest(void *arg, struct producer_batch *b)
{
	struct isod *d = arg;
	return ingest_take(d->ingest, b);
}

static void on_answered(void *arg, struct producer_batch *b)
{
	struct isod *d = arg;
	api_ingest_answered(d->api, b);
}

static void on_answers(evutil_socket_t fd, short what, void *arg)
{
	struct isod *d = arg;
	(void)fd;
	(void)what;

	ingest_answers(d->ingest, on_answered, d);
}

static int open_answers(struct isod *d)
{
	d->answers = event_new(d->base, ingest_answers_fd(d->ingest), EV_READ | EV_PERSIST,
	                       on_answers, d);
	return d->answers && event_add(d->answers, NULL) == 0 ? 0 : -ENOMEM;
}

/* ---- rules loaded anew: see reload.c ---- */

static uint64_t on_reload_asked(void *arg)
{
	struct isod *d = arg;
	return reload_ask(d->reload);
}

static const struct content *on_content(void *arg)
{
	struct isod *d = arg;
	return d->content;
}

static void on_park(void *arg, struct content *content)
{
	struct isod *d = arg;
	ingest_swap(d->ingest, content);
}

static void on_parked(void *arg)
{
	struct isod *d = arg;
	reload_parked(d->reload);
}

static void on_compiled(void *arg)
{
	struct isod *d = arg;
	struct compiled_facts facts;
	const struct compiled *compiled = atomic_load(&d->content->compiled);

	if (!compiled)
		return; /* given up for a reload */
	compiled_facts(compiled, &facts);
	log_notice("%zu rules compiled%s: %zu predicates, %zu patterns", facts.rules,
	           facts.cached ? " from the cache" : "", facts.predicates, facts.patterns);
	ingest_refresh(d->ingest);
}

static int on_install(void *arg, struct content *content)
{
	struct isod *d = arg;
	struct settings settings;

	settings_init(&settings, d->config, content);
	int r = officer_settings(d->officer, &settings.message);
	settings_release(&settings);
	if (r < 0)
		return r;
	ingest_swap_finish(d->ingest);
	content_unref(d->content);
	d->content = content_ref(content);
	return 0;
}

static void tell_loaded(struct isod *d, const Isod__V1__RulesReloaded *o)
{
	char *text = xasprintf("%llu rules, %llu correlations, %llu warnings",
	                       (unsigned long long)o->rules, (unsigned long long)o->correlations,
	                       (unsigned long long)o->warnings);

	d->rules_loaded++;
	d->rules_error = NULL;
	log_notice("rules loaded anew: %s", text);
	own_event(d, "rules_loaded", (const char *const[]){"detail", text, NULL});
	free(text);
}

static void tell_refused(struct isod *d, const Isod__V1__RulesReloaded *o)
{
	const Isod__V1__RulesProblem *first = o->n_problems ? o->problems[0] : NULL;

	d->rules_refused++;
	for (size_t i = 0; i < o->n_problems && i < PROBLEMS_LOGGED; i++)
		log_error("%s:%u:%u: %s", o->problems[i]->file, o->problems[i]->line,
		          o->problems[i]->column, o->problems[i]->text);
	log_error("rules refused: %llu errors; the old ones go on", (unsigned long long)o->errors);
	d->rules_error =
		first ? xasprintf("%s:%u:%u: %s (%llu errors)", first->file, first->line,
	                          first->column, first->text, (unsigned long long)o->errors)
		      : xstrdup("they cannot be read");
	own_event(d, "rules_refused",
	          (const char *const[]){"detail", d->rules_error, "outcome", "failure", NULL});
}

static void on_reloaded(void *arg, uint64_t number, const Isod__V1__RulesReloaded *outcome)
{
	struct isod *d = arg;

	free(d->rules_error);
	if (outcome->loaded)
		tell_loaded(d, outcome);
	else
		tell_refused(d, outcome);
	if (outcome->config_changed)
		log_warning("%s or what it names has changed: all but rules, certificates and whom "
		            "listeners allow takes a restart",
		            d->config->file);
	api_rules_reloaded(d->api, number, outcome);
}

static void open_reload(struct isod *d)
{
	const struct reload_options o = {.config = d->config,
	                                 .base = d->base,
	                                 .park = on_park,
	                                 .install = on_install,
	                                 .compiled = on_compiled,
	                                 .done = on_reloaded,
	                                 .arg = d};
	d->reload = reload_new(&o);
}

/* ---- status ---- */

static void on_status(void *arg, Isod__V1__Status *status)
{
	const struct isod *d = arg;
	const struct status_parts parts = {.config = d->config,
	                                   .content = d->content,
	                                   .officer = d->officer,
	                                   .view = d->view,
	                                   .escalate = d->escalate,
	                                   .api = d->api,
	                                   .ingest = d->ingest,
	                                   .books = d->books,
	                                   .forget = d->forget,
	                                   .watch = d->watch,
	                                   .version = ISOD_VERSION,
	                                   .rules_error = d->rules_error,
	                                   .rules_loaded = d->rules_loaded,
	                                   .rules_refused = d->rules_refused,
	                                   .started_ns = d->started_ns};

	status_fill(&parts, status);
	certificates_status(d->certificates, status);
}

/* ---- life ---- */

/* One daemon per state folder. */
static int lock_state(struct isod *d)
{
	int r = path_make_dirs(d->config->state_dir, 0750);

	if (r < 0) {
		log_error("state folder %s: %s", d->config->state_dir, strerror(-r));
		return r;
	}
	char *path = xasprintf("%s/lock", d->config->state_dir);
	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	r = d->lock_fd < 0 || flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
	if (r == -EWOULDBLOCK)
		log_error("another isod runs on the state folder %s", d->config->state_dir);
	else if (r < 0)
		log_error("%s: %s", path, strerror(-r));
	free(path);
	return r;
}

static void on_signal(evutil_socket_t signal, short what, void *arg)
{
	struct isod *d = arg;
	(void)what;

	if (signal == SIGHUP) {
		log_notice("SIGHUP: rules and certificates are loaded anew");
		certificates_reload(d->certificates);
		reload_ask(d->reload);
		return;
	}
	event_base_loopbreak(d->base);
}

static int open_loop(struct isod *d)
{
	static const int wanted[] = {SIGTERM, SIGINT, SIGHUP};

	signal(SIGPIPE, SIG_IGN);
	if (evthread_use_pthreads() < 0 || !(d->base = event_base_new()))
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		d->signals[i] = evsignal_new(d->base, wanted[i], on_signal, d);
		if (!d->signals[i] || event_add(d->signals[i], NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* The ledger is damaged: what a person can do about it. */
static void offer_cut(const char *dir)
{
	struct segment_report report;

	if (segment_verify(dir, SEGMENT_LEDGER, &report) == -EBADMSG && report.records)
		log_error("the ledger is good up to sequence %llu: restore it from a copy, or set "
		          "aside what stands behind that with `isoctl ledger cut --at %llu %s`",
		          (unsigned long long)report.last, (unsigned long long)report.last, dir);
}

static int open_officer(struct isod *d, char *error)
{
	char *dir = xasprintf("%s/ledger", d->config->state_dir);
	char *snapshots = xasprintf("%s/snapshots", d->config->state_dir);
	const struct officer_options o = {
		.clock = &d->clock,
		.snapshot_dir = snapshots,
		.snapshot_interval_ns = d->config->snapshot_interval_ns,
		.snapshot_records = d->config->snapshot_records,
		.snapshot_trouble = on_snapshot_trouble,
		.ledger_dir = dir,
		.segment_bytes = d->config->ledger_segment_bytes,
		.commit_ns = d->config->ledger_commit_ns,
		.commit_bytes = d->config->ledger_commit_bytes,
		.base = d->base,
		.inbox = &d->inbox,
		.effects = {.arg = d,
	                    .dirty = on_dirty,
	                    .incident = on_incident,
	                    .notify = on_notify,
	                    .evicted = on_evicted},
		.stalled = on_stalled,
	};
	int r = path_make_dirs(dir, 0750);

	if (r == 0)
		r = officer_open(&o, &d->officer, error, ERROR_TEXT);
	if (r == -EBADMSG)
		offer_cut(dir);
	free(snapshots);
	free(dir);
	return r;
}

static const uint8_t *ledger_head(void *arg)
{
	struct isod *d = arg;
	return officer_head(d->officer);
}

static int finish_activation(struct isod *d, char *error)
{
	struct activation *passed = d->passed;

	d->passed = NULL;
	return activation_finish(passed, error, ERROR_TEXT);
}

static int open_edges(struct isod *d, char *error)
{
	const struct state *state = officer_state(d->officer);
	const struct view_options view = {.config = d->config,
	                                  .base = d->base,
	                                  .state = state,
	                                  .head = ledger_head,
	                                  .version = ISOD_VERSION,
	                                  .connected = on_view,
	                                  .arg = d};
	const struct escalate_options escalate = {.config = d->config,
	                                          .base = d->base,
	                                          .result = on_plugin_result,
	                                          .trouble = on_plugin_trouble,
	                                          .arg = d};
	const struct api_options api = {.config = d->config,
	                                .base = d->base,
	                                .officer = d->officer,
	                                .status = on_status,
	                                .reload = on_reload_asked,
	                                .content = on_content,
	                                .ingest = on_ingest,
	                                .refused = on_refused,
	                                .passed = d->passed,
	                                .arg = d};
	const struct ingest_options ingest = {.clock = &d->clock,
	                                      .config = d->config,
	                                      .inbox = &d->inbox,
	                                      .content = d->content,
	                                      .parked = on_parked,
	                                      .storage = on_storage,
	                                      .certificate = on_certificate,
	                                      .arg = d,
	                                      .cursors = state->cursors,
	                                      .cursor_count = state->cursor_count,
	                                      .producers = &state->producers,
	                                      .passed = d->passed};

	const struct books_options books = {.config = d->config,
	                                    .base = d->base,
	                                    .state = state,
	                                    .snapshot = on_snapshot_floor,
	                                    .head = on_anchor_head,
	                                    .event = on_books_event,
	                                    .arg = d};

	open_reload(d);
	open_alarm(d);
	int r = ingest_open(&ingest, &d->ingest, error, ERROR_TEXT);

	if (r == 0)
		r = view_open(&view, &d->view, error, ERROR_TEXT);
	if (r == 0)
		r = escalate_open(&escalate, &d->escalate, error, ERROR_TEXT);
	if (r == 0)
		r = api_open(&api, &d->api, error, ERROR_TEXT);
	if (r == 0)
		r = finish_activation(d, error);
	if (r == 0)
		r = books_open(&books, &d->books, error, ERROR_TEXT);
	if (r == 0)
		r = open_answers(d);
	if (r == 0)
		open_forget(d);
	if (r == 0)
		open_certificates(d);
	return r;
}

static int start_officer(struct isod *d)
{
	Isod__V1__Started started = ISOD__V1__STARTED__INIT;
	struct settings settings;
	char version[] = ISOD_VERSION;

	started.version = version;
	started.node = d->config->node;
	started.workers = (uint32_t)d->config->workers;
	settings_init(&settings, d->config, d->content);
	officer_start(d->officer, &started, &settings.message);
	settings_release(&settings);
	reload_compile(d->reload, d->content);
	return ingest_start(d->ingest);
}

static int start_all(struct isod *d)
{
	char error[ERROR_TEXT] = "";
	/* First: what is in the environment must be out of it before there is a thread or a child. */
	int r = activation_open(&d->passed, error, ERROR_TEXT);

	if (r == 0)
		r = load_content(d->config, &d->content);
	if (r == 0)
		r = lock_state(d);
	if (r == 0)
		r = open_loop(d);
	if (r == 0)
		r = watch_open(d->config, d->base, d->passed, "starting: the ledger is read",
		               &d->watch, error, sizeof(error));
	if (r == 0)
		r = inbox_init(&d->inbox, d->config->workers, RING_BYTES);
	d->inbox_open = r == 0;
	if (r == 0)
		r = open_officer(d, error);
	watch_phase(d->watch, "starting: listeners, view and plugins are opened");
	if (r == 0)
		r = open_edges(d, error);
	if (r == 0)
		r = start_officer(d);
	if (r < 0)
		log_error("cannot start: %s", error[0] ? error : strerror(-r));
	return r;
}

int isod_start(struct config *config, struct isod **ret)
{
	struct isod *d = xcalloc(1, sizeof(*d));

	d->config = config;
	d->lock_fd = -1;
	d->started_ns = clock_now();
	if (config->workers == 0)
		config->workers = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	log_setup(config->log_target, config->log_level, "isod");
	int r = start_all(d);
	if (r < 0) {
		isod_stop(d);
		return r;
	}
	log_notice("%s: %zu rules, %zu correlations; state in %s; view in %s", config->node,
	           d->content->parts.rules->count, d->content->parts.rules->correlation_count,
	           config->state_dir, view_address(d->view));
	own_event(d, "started", (const char *const[]){"detail", ISOD_VERSION, NULL});
	*ret = d;
	return 0;
}

void isod_loop(struct isod *d)
{
	const struct watch_parts parts = {.ingest = d->ingest,
	                                  .officer = d->officer,
	                                  .escalate = d->escalate,
	                                  .api = d->api,
	                                  .inbox = &d->inbox};

	watch_begin(d->watch, &parts);
	sd_notify(0, "READY=1");
	event_base_dispatch(d->base);
	watch_end(d->watch, "isod is stopping");
	sd_notify(0, "STOPPING=1");
	log_notice("stopping");
}

static void drain(void *arg)
{
	struct isod *d = arg;
	officer_drain(d->officer);
}

void isod_stop(struct isod *d)
{
	own_event(d, "stopped", (const char *const[]){"detail", ISOD_VERSION, NULL});
	if (d->ingest)
		ingest_stop(d->ingest, drain, d);
	if (d->ingest && d->api)
		ingest_answers(d->ingest, on_answered, d);
	if (d->answers)
		event_free(d->answers);
	if (d->officer)
		officer_drain(d->officer);
	reload_free(d->reload);
	forget_free(d->forget);
	certificates_free(d->certificates);
	books_close(d->books);
	api_close(d->api);
	escalate_close(d->escalate);
	alarm_free(d->alarm);
	d->alarm = NULL;
	activation_free(d->passed);
	view_close(d->view);
	officer_close(d->officer);
	ingest_free(d->ingest);
	if (d->inbox_open)
		inbox_release(&d->inbox);
	watch_close(d->watch);
	for (size_t i = 0; i < ARRAY_LEN(d->signals); i++)
		if (d->signals[i])
			event_free(d->signals[i]);
	if (d->storage)
		event_free(d->storage);
	if (d->base)
		event_base_free(d->base);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	content_unref(d->content);
	free(d->rules_error);
	config_free(d->config);
	free(d);
}
