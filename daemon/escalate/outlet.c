#include "escalate/outlet.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/wire.h"
#include "escalate/escalate.h"
#include "escalate/plugin_process.h"

/* A plugin is handed one alert at a time unless it says at setup that it works on several: then the time-out of an
 * alert measures the plugin and not the queue before it. Whatever changes (an answer, an end, a new alert, a timer)
 * leads to step(), which looks at the whole and does what is due; so there is one place that decides and one timer.
 * Alerts that wait have no deadline while the process is ready, since it takes them one after the other and each of
 * those has one; while it is not, they wait no longer than an alert may take. A process that ends without having become
 * ready (its options are wrong, it is no plugin) fails those that wait at once: the next one will hardly do better, and
 * the route's back-off is the place to wait. After one that worked they wait for its successor. */

#define BACKOFF_MIN_NS (500 * NS_PER_MS)
#define BACKOFF_MAX_NS NS_PER_MINUTE
#define STABLE_NS      NS_PER_MINUTE /* ready for so long: the next end begins the back-off anew */
#define TIMEOUT_NS     (30 * NS_PER_SECOND) /* where the configuration gives none */
#define PARALLEL_MAX   64
#define QUEUE_BYTES_MAX                                                                            \
	((size_t)16 << 20)    /* 1000 ordinary alerts; a few hundred of the largest incidents */
#define STRAY_MAX        1000 /* answers nobody asked for, of one process: past it, it is babbling */
#define ERROR_TEXT_MAX   512
#define PROTOCOL_VERSION 1

enum state {
	DOWN,     /* no process; the next start is at restart_mono */
	STARTING, /* setup was sent */
	READY,
	ENDING, /* stopped, its end is awaited */
};

struct outlet {
	struct outlet_options o;
	char *name, *program, *directory;
	struct buf setup;
	uint64_t timeout_ns;

	enum state state;
	struct plugin_process *process;
	struct event *timer;
	uint64_t
		since_mono; /* when `state` became ready, or last became anything else than ready */
	uint64_t started_mono, restart_mono, backoff_ns;
	uint32_t parallel;
	size_t stray;   /* of this process */
	bool was_ready; /* this process */
	bool closing;

	struct alert_list waiting, flying;
	uint64_t starts, delivered, failed, strays;
	char last_error[ERROR_TEXT_MAX];
};

static void wake(struct outlet *o)
{
	event_active(o->timer, EV_TIMEOUT, 0);
}

static void finish(struct outlet *o, struct alert *a, Isod__V1__PluginOutcome outcome,
                   const char *detail)
{
	if (outcome == ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_DELIVERED)
		o->delivered++;
	else
		o->failed++;
	alert_finish(a, outcome, detail);
	o->o.done(o->o.arg, a);
}

static void finish_all(struct outlet *o, struct alert_list *list, const char *detail)
{
	struct alert *a;

	while ((a = alert_list_take(list)))
		finish(o, a, ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_RETRY, detail);
}

static void remember_error(struct outlet *o, const char *what)
{
	log_escape(str_of(what), o->last_error, sizeof(o->last_error));
}

static void enter(struct outlet *o, enum state state)
{
	if ((state == READY) != (o->state == READY))
		o->since_mono = clock_mono();
	o->state = state;
}

/* Why the process is stopped is told when it has ended (on_gone). */
static void stop(struct outlet *o, const char *why)
{
	if (o->state == ENDING)
		return;
	if (o->state == READY && clock_mono() - o->since_mono >= STABLE_NS)
		o->backoff_ns = 0;
	enter(o, ENDING);
	plugin_process_stop(o->process, why);
}

static void plan_restart(struct outlet *o)
{
	o->backoff_ns = o->backoff_ns ? o->backoff_ns * 2 : BACKOFF_MIN_NS;
	if (o->backoff_ns > BACKOFF_MAX_NS)
		o->backoff_ns = BACKOFF_MAX_NS;
	o->restart_mono = clock_mono() + o->backoff_ns;
	enter(o, DOWN);
	wake(o);
}

static void on_gone(void *arg, const char *why)
{
	struct outlet *o = arg;
	char detail[ERROR_TEXT_MAX];

	o->process = NULL;
	if (o->state == READY && clock_mono() - o->since_mono >= STABLE_NS)
		o->backoff_ns = 0;
	plan_restart(o);
	if (o->closing)
		return;
	remember_error(o, why);
	snprintf(detail, sizeof(detail), "plugin %s", why);
	finish_all(o, &o->flying, detail);
	if (!o->was_ready)
		finish_all(o, &o->waiting, detail);
	o->o.trouble(o->o.arg, o->name, o->last_error);
}

static void on_answer(struct outlet *o, const Isod__V1__PluginAnswer *answer)
{
	struct alert *a = alert_list_remove(&o->flying, answer->key);

	if (!a) {
		o->strays++;
		if (++o->stray > STRAY_MAX)
			stop(o, "broke the protocol: too many answers to alerts it does not have");
		return;
	}
	o->backoff_ns = 0;
	switch (answer->outcome) {
	case ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_DELIVERED:
	case ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_RETRY:
	case ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_FAILED:
		finish(o, a, answer->outcome, answer->detail);
		break;
	default:
		finish(o, a, ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_RETRY,
		       "plugin answered without an outcome");
	}
	wake(o);
}

static void on_ready(struct outlet *o, const Isod__V1__PluginReady *ready)
{
	char why[ERROR_TEXT_MAX];

	if (ready->error[0]) {
		snprintf(why, sizeof(why), "refused its options: %s", ready->error);
		stop(o, why);
		return;
	}
	o->parallel = ready->parallel ? ready->parallel : 1;
	if (o->parallel > PARALLEL_MAX)
		o->parallel = PARALLEL_MAX;
	o->was_ready = true;
	enter(o, READY);
	log_info("plugin %s is ready", o->name);
	wake(o);
}

static void on_message(void *arg, const Isod__V1__FromPlugin *m)
{
	struct outlet *o = arg;

	if (o->state == STARTING && m->body_case == ISOD__V1__FROM_PLUGIN__BODY_READY)
		on_ready(o, m->ready);
	else if (o->state == READY && m->body_case == ISOD__V1__FROM_PLUGIN__BODY_ANSWER)
		on_answer(o, m->answer);
	else if (o->state != ENDING)
		stop(o, o->state == STARTING ? "broke the protocol: an answer before it was ready"
		                             : "broke the protocol: ready for a second time");
}

static void on_drained(void *arg)
{
	wake(arg);
}

static void start(struct outlet *o)
{
	struct plugin_process_options options = {.base = o->o.base,
	                                         .name = o->name,
	                                         .program = o->program,
	                                         .directory = o->directory,
	                                         .confinement = o->o.confinement,
	                                         .message = on_message,
	                                         .drained = on_drained,
	                                         .gone = on_gone,
	                                         .arg = o};
	int r = plugin_process_start(&options, &o->process);

	if (r < 0) {
		char what[ERROR_TEXT_MAX];
		snprintf(what, sizeof(what), "could not be started: %s", strerror(-r));
		remember_error(o, what);
		plan_restart(o);
		o->o.trouble(o->o.arg, o->name, o->last_error);
		return;
	}
	o->starts++;
	o->stray = 0;
	o->was_ready = false;
	o->started_mono = clock_mono();
	enter(o, STARTING);
	plugin_process_send(o->process, buf_str(&o->setup));
}

static void stop_late(struct outlet *o, const char *what)
{
	char why[ERROR_TEXT_MAX];

	snprintf(why, sizeof(why), "%s within %g s", what,
	         (double)o->timeout_ns / (double)NS_PER_SECOND);
	stop(o, why);
}

/* When the alert at the head of the waiting ones has waited long enough for a process. */
static uint64_t waiting_deadline(const struct outlet *o)
{
	uint64_t from = o->waiting.first->queued_mono;

	return (from > o->since_mono ? from : o->since_mono) + o->timeout_ns;
}

static void expire_waiting(struct outlet *o, uint64_t now)
{
	char detail[ERROR_TEXT_MAX + 64];

	while (o->state != READY && o->waiting.first && now >= waiting_deadline(o)) {
		snprintf(detail, sizeof(detail), "plugin is not running%s%s",
		         o->last_error[0] ? ": it " : "", o->last_error);
		finish(o, alert_list_take(&o->waiting),
		       ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_RETRY, detail);
	}
}

static void feed(struct outlet *o, uint64_t now)
{
	while (o->state == READY && !o->closing && o->waiting.first &&
	       o->flying.count < o->parallel) {
		struct alert *a = o->waiting.first;
		if (plugin_process_send(o->process, buf_str(&a->message)) < 0)
			break; /* until it reads on (on_drained) or is gone */
		alert_list_take(&o->waiting);
		a->sent_mono = now;
		if (a->since_mono)
			histogram_count(o->o.latency, clock_mono() - a->since_mono, 1);
		alert_list_add(&o->flying, a);
	}
}

/* The next time at which step() has something to do, or UINT64_MAX. */
static uint64_t next_deadline(const struct outlet *o)
{
	uint64_t at = UINT64_MAX;

	if (o->state == DOWN)
		at = o->restart_mono;
	else if (o->state == STARTING)
		at = o->started_mono + o->timeout_ns;
	else if (o->state == READY && o->flying.first)
		at = o->flying.first->sent_mono + o->timeout_ns;
	if (o->state != READY && o->waiting.first && waiting_deadline(o) < at)
		at = waiting_deadline(o);
	return at;
}

static void step(struct outlet *o)
{
	uint64_t now = clock_mono();

	if (o->state == DOWN && now >= o->restart_mono)
		start(o);
	else if (o->state == STARTING && now >= o->started_mono + o->timeout_ns)
		stop_late(o, "did not become ready");
	else if (o->state == READY && o->flying.first &&
	         now >= o->flying.first->sent_mono + o->timeout_ns)
		stop_late(o, "did not answer");
	expire_waiting(o, now);
	feed(o, now);

	uint64_t at = next_deadline(o);
	if (at == UINT64_MAX) {
		event_del(o->timer);
		return;
	}
	now = clock_mono();
	uint64_t left = at > now ? at - now : 0;
	struct timeval tv = {.tv_sec = (time_t)(left / NS_PER_SECOND),
	                     .tv_usec = (suseconds_t)(left % NS_PER_SECOND / 1000)};
	event_add(o->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	step(arg);
}

void outlet_add(struct outlet *o, struct alert *a)
{
	Isod__V1__PluginOutcome retry = ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_RETRY;

	if (!a->message.n)
		finish(o, a, ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_FAILED,
		       "the incident is too large for a plugin");
	else if (alert_list_has(&o->waiting, a->key) || alert_list_has(&o->flying, a->key))
		finish(o, a, retry, "the attempt before it is not over");
	else if (o->waiting.count + o->flying.count >= ESCALATE_QUEUE_MAX ||
	         o->waiting.bytes + a->message.n > QUEUE_BYTES_MAX)
		finish(o, a, retry, "too many alerts wait for the plugin");
	else {
		a->queued_mono = clock_mono();
		alert_list_add(&o->waiting, a);
		wake(o);
	}
}

static void pack_setup(struct outlet *o, const struct plugin_config *c)
{
	Isod__V1__PluginSetup setup = ISOD__V1__PLUGIN_SETUP__INIT;
	Isod__V1__ToPlugin to = ISOD__V1__TO_PLUGIN__INIT;
	Isod__V1__PluginSetup__OptionsEntry *entries = xcalloc(c->option_count, sizeof(*entries));
	Isod__V1__PluginSetup__OptionsEntry **list = xcalloc(c->option_count, sizeof(*list));

	for (size_t i = 0; i < c->option_count; i++) {
		isod__v1__plugin_setup__options_entry__init(&entries[i]);
		entries[i].key = c->options[i].name;
		entries[i].value = c->options[i].value;
		list[i] = &entries[i];
	}
	setup.protocol = PROTOCOL_VERSION;
	setup.name = c->name;
	setup.n_options = c->option_count;
	setup.options = list;
	to.body_case = ISOD__V1__TO_PLUGIN__BODY_SETUP;
	to.setup = &setup;
	wire_append(&o->setup, &to.base);
	free(list);
	free(entries);
}

/* Where relative paths in a plugin's options begin: beside the file they stand in. */
static char *folder_of(const char *file)
{
	char *beside = file ? path_beside(file, ".") : NULL;
	char *folder = beside ? realpath(beside, NULL) : NULL;

	free(beside);
	return folder;
}

struct outlet *outlet_new(const struct outlet_options *options)
{
	const struct plugin_config *c = options->config;
	struct outlet *o = xcalloc(1, sizeof(*o));

	o->o = *options;
	o->o.config = NULL;
	o->name = xstrdup(c->name);
	o->program = xstrdup(options->program);
	o->o.program = o->program;
	o->directory = folder_of(c->file);
	o->timeout_ns = c->timeout_ns ? c->timeout_ns : TIMEOUT_NS;
	buf_init(&o->setup, 0);
	pack_setup(o, c);
	o->restart_mono = o->since_mono = clock_mono();
	o->timer = event_new(options->base, -1, 0, on_timer, o);
	if (!o->timer)
		abort(); /* as any small allocation */
	wake(o);
	return o;
}

void outlets_close(struct outlet **outlets, size_t count)
{
	struct plugin_process **processes = xcalloc(count, sizeof(struct plugin_process *));
	size_t running = 0;

	for (size_t i = 0; i < count; i++) {
		outlets[i]->closing = true;
		if (outlets[i]->process)
			processes[running++] = outlets[i]->process;
	}
	plugin_process_end(processes, running);
	free(processes);
}

static void forget_all(struct alert_list *list)
{
	struct alert *a;

	while ((a = alert_list_take(list)))
		alert_free(a);
}

void outlet_free(struct outlet *o)
{
	forget_all(&o->flying);
	forget_all(&o->waiting);
	event_free(o->timer);
	buf_release(&o->setup);
	free(o->name);
	free(o->program);
	free(o->directory);
	free(o);
}

const char *outlet_name(const struct outlet *o)
{
	return o->name;
}

Isod__V1__PluginStatus *outlet_status(const struct outlet *o)
{
	Isod__V1__PluginStatus *s = xcalloc(1, sizeof(*s));

	isod__v1__plugin_status__init(s);
	s->name = xstrdup(o->name);
	s->running = o->state == READY;
	s->restarts = o->starts > 1 ? o->starts - 1 : 0;
	s->delivered = o->delivered;
	s->failed = o->failed;
	s->waiting = o->waiting.count + o->flying.count;
	s->stray_answers = o->strays;
	s->last_error = xstrdup(o->last_error);
	return s;
}
