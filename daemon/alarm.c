#include "alarm.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

/* Numbers of notifications that no ledger gives out. */
#define FIRST_ID     (UINT64_C(1) << 63)
#define LAST_GASP_NS (5 * NS_PER_SECOND) /* for plugins to tell that isod has to end */
#define WAITING_MAX  100 /* more trouble than that at once is told by the log only */

struct message {
	struct message *next;
	uint64_t id, created_ns;
	uint64_t due_mono; /* of the next attempt; 0: one is under way */
	uint64_t backoff_ns;
	uint32_t attempts;
	const Isod__V1__Route *route;
	char *title, *detail;
};

struct alarm {
	struct alarm_options o;
	struct message *messages;
	size_t count;
	uint64_t next_id;
	struct event *timer;
	uint64_t dying_mono; /* when it was decided to end; 0: it was not */
	struct event *last_gasp;
};

static void message_free(struct message *m)
{
	free(m->title);
	free(m->detail);
	free(m);
}

static void attempt(struct alarm *a, struct message *m)
{
	Isod__V1__Notification n = ISOD__V1__NOTIFICATION__INIT;
	Isod__V1__Incident i = ISOD__V1__INCIDENT__INIT;

	m->attempts++;
	m->due_mono = 0;
	n.id = m->id;
	n.route = m->route->name;
	n.plugin = m->route->plugin;
	n.reason = m->detail;
	n.state = ISOD__V1__NOTIFICATION_STATE__NOTIFICATION_INFLIGHT;
	n.attempts = m->attempts;
	n.created_ns = m->created_ns;
	i.title = m->title;
	i.severity = ISOD__V1__LEVEL__LEVEL_CRITICAL;
	i.state = ISOD__V1__INCIDENT_STATE__INCIDENT_DETECTED;
	i.opened_ns = i.changed_ns = i.first_ns = i.last_ns = m->created_ns;
	a->o.send(a->o.arg, &n, &i);
}

/* For the attempt that is due first. */
static void arm(struct alarm *a)
{
	uint64_t now = clock_mono(), first = UINT64_MAX;

	for (const struct message *m = a->messages; m; m = m->next)
		if (m->due_mono && m->due_mono < first)
			first = m->due_mono;
	if (first == UINT64_MAX)
		return;
	uint64_t wait = first > now ? first - now : 0;
	struct timeval tv = {.tv_sec = (time_t)(wait / NS_PER_SECOND),
	                     .tv_usec = (suseconds_t)(wait % NS_PER_SECOND / 1000 + 1)};
	evtimer_add(a->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct alarm *a = arg;
	uint64_t now = clock_mono();

	(void)fd;
	(void)what;
	for (struct message *m = a->messages; m; m = m->next)
		if (m->due_mono && m->due_mono <= now)
			attempt(a, m);
	arm(a);
}

struct alarm *alarm_new(const struct alarm_options *o)
{
	struct alarm *a = xcalloc(1, sizeof(*a));

	a->o = *o;
	a->next_id = FIRST_ID;
	a->timer = evtimer_new(o->base, on_timer, a);
	if (!a->timer)
		abort();
	return a;
}

void alarm_free(struct alarm *a)
{
	struct message *m;

	if (!a)
		return;
	while ((m = a->messages)) {
		a->messages = m->next;
		message_free(m);
	}
	event_free(a->timer);
	if (a->last_gasp)
		event_free(a->last_gasp);
	free(a);
}

/* ---- whom it goes to ---- */

/* The route by which a plugin is told: its first for all tactics or, if `any`, its first. */
static bool is_route_of_plugin(const struct config *c, size_t route, bool any)
{
	if (!any && c->routes[route].n_tactics)
		return false;
	for (size_t i = 0; i < route; i++)
		if (strcmp(c->routes[i].plugin, c->routes[route].plugin) == 0 &&
		    (any || c->routes[i].n_tactics == 0))
			return false;
	return true;
}

static void add(struct alarm *a, const Isod__V1__Route *route, const char *title,
                const char *detail)
{
	struct message *m;

	if (a->count >= WAITING_MAX)
		return;
	m = xcalloc(1, sizeof(*m));
	m->id = a->next_id++;
	m->created_ns = clock_now();
	m->backoff_ns = route->backoff_ns;
	m->route = route;
	m->title = xstrdup(title);
	m->detail = xstrdup(detail);
	m->next = a->messages;
	a->messages = m;
	a->count++;
	attempt(a, m);
}

void alarm_raise(struct alarm *a, const char *title, const char *detail)
{
	const struct config *c = a->o.config;
	uint64_t before = a->next_id;

	for (int any = 0; any <= 1 && a->next_id == before; any++)
		for (size_t i = 0; i < c->route_count; i++)
			if (is_route_of_plugin(c, i, any))
				add(a, &c->routes[i], title, detail);
}

/* ---- what came of it ---- */

static void try_again(struct alarm *a, struct message *m, const char *why)
{
	uint64_t next = m->backoff_ns * 2, most = m->route->backoff_max_ns;

	log_warning("plugin %s did not take the alarm \"%s\": %s; it is tried again",
	            m->route->plugin, m->title, why);
	m->due_mono = clock_mono() + m->backoff_ns;
	m->backoff_ns = next < most ? next : most;
	arm(a);
}

bool alarm_result(struct alarm *a, const Isod__V1__PluginResult *result)
{
	struct message **at = &a->messages, *m;

	if (result->notification < FIRST_ID)
		return false;
	while (*at && (*at)->id != result->notification)
		at = &(*at)->next;
	m = *at;
	if (!m)
		return true;
	if (result->outcome == ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_RETRY &&
	    m->attempts < m->route->attempts) {
		try_again(a, m, result->detail);
		return true;
	}
	if (result->outcome == ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_DELIVERED)
		log_notice("plugin %s took the alarm \"%s\"", m->route->plugin, m->title);
	else
		log_error("plugin %s did not take the alarm \"%s\": %s", m->route->plugin, m->title,
		          result->detail);
	*at = m->next;
	a->count--;
	message_free(m);
	return true;
}

bool alarm_idle(const struct alarm *a)
{
	return a->messages == NULL;
}

/* ---- storage that fails ---- */

static void on_last_gasp(evutil_socket_t fd, short what, void *arg)
{
	const struct alarm *a = arg;

	(void)fd;
	(void)what;
	if (alarm_idle(a) || clock_mono() - a->dying_mono > LAST_GASP_NS)
		_exit(EX_IOERR);
}

/* As PostgreSQL does, and for its reason: after a failed fdatasync the kernel has dropped what it could not write and
 * calls the rest clean. To go on would be to build on records that are perhaps not there; to read them back and write
 * them again would read the same cache. At the next start everything is read from the disk and proven. What senders
 * had acknowledged was synced before; what was not, they send again. */
static void die(struct alarm *a, const char *what, int r)
{
	static const struct timeval poll = {.tv_usec = 50000};

	if (a->dying_mono)
		return;
	a->dying_mono = clock_mono();
	char *detail =
		xasprintf("%s did not reach the disk: %s. What the kernel holds of it cannot be "
	                  "trusted: isod ends, and must be started anew",
	                  what, strerror(-r));
	log_error("%s", detail);
	alarm_raise(a, "isod has ended: its disk fails", detail);
	free(detail);
	a->last_gasp = event_new(a->o.base, -1, EV_PERSIST, on_last_gasp, a);
	if (!a->last_gasp || event_add(a->last_gasp, &poll) < 0)
		_exit(EX_IOERR);
}

void alarm_storage(struct alarm *a, const char *what, int error, bool broken)
{
	char *detail;

	if (broken) {
		die(a, what, error);
		return;
	}
	detail = xasprintf("%s cannot be written: %s. Nothing is taken in until it can", what,
	                   strerror(-error));
	alarm_raise(a, "isod cannot write its books", detail);
	free(detail);
}
