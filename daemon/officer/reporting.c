#include "officer/reporting.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pb.h"
#include "officer/incident.h"
#include "officer/save.h"

#define STATE(x) ISOD__V1__NOTIFICATION_STATE__NOTIFICATION_##x

/* For a notification whose route is gone from the settings: it is still delivered. */
static const Isod__V1__Route orphan_route = {
	.attempts = 5, .backoff_ns = 30 * NS_PER_SECOND, .backoff_max_ns = 15 * NS_PER_MINUTE};

void reporting_init(struct reporting_desk *d)
{
	*d = (struct reporting_desk){0};
}

void reporting_release(struct reporting_desk *d)
{
	for (size_t i = 0; i < d->count; i++)
		isod__v1__notification__free_unpacked(d->items[i], NULL);
	free(d->items);
	free(d->pending);
}

static const Isod__V1__Route *route_find(const struct step *s, const char *name)
{
	for (size_t i = 0; i < s->settings->n_routes; i++)
		if (strcmp(s->settings->routes[i]->name, name) == 0)
			return s->settings->routes[i];
	return &orphan_route;
}

static bool route_fits(const Isod__V1__Route *r, const Isod__V1__Incident *i)
{
	if (i->severity < r->min_level)
		return false;
	for (size_t a = 0; a < r->n_tactics; a++)
		for (size_t b = 0; b < i->n_tactics; b++)
			if (strcmp(r->tactics[a], i->tactics[b]) == 0)
				return true;
	return r->n_tactics == 0;
}

static Isod__V1__Notification *pending_for(const struct reporting_desk *d, uint64_t incident,
                                           const char *route)
{
	for (size_t i = 0; i < d->pending_count; i++) {
		Isod__V1__Notification *n = d->items[d->pending[i] - 1];
		if (n->incident == incident && n->state == STATE(PENDING) &&
		    strcmp(n->route, route) == 0)
			return n;
	}
	return NULL;
}

/* As the last of the outbox and, unless it is at its end, of what is pending. Returns its id. */
static uint64_t append(struct reporting_desk *d, Isod__V1__Notification *n)
{
	xgrow(&d->items, &d->cap, d->count + 1, sizeof(*d->items));
	d->items[d->count++] = n;
	d->dead += n->state == STATE(DEAD);
	if (n->state > STATE(INFLIGHT))
		return d->count;
	xgrow(&d->pending, &d->pending_cap, d->pending_count + 1, sizeof(*d->pending));
	d->pending[d->pending_count++] = d->count;
	return d->count;
}

static void notify(struct reporting_desk *d, const struct step *s, const Isod__V1__Incident *i,
                   const Isod__V1__Route *r, const char *reason)
{
	Isod__V1__Notification *n = pending_for(d, i->id, r->name);

	if (n) { /* still waiting to be sent: it will tell the newer reason */
		pb_set_text(&n->reason, reason);
		step_dirty_id(s, VIEW_NOTIFICATION, n->id);
		return;
	}
	n = xmalloc(sizeof(*n));
	isod__v1__notification__init(n);
	n->id = append(d, n);
	n->incident = i->id;
	n->state = STATE(PENDING);
	n->created_ns = n->due_ns = s->time_ns;
	pb_set_text(&n->route, r->name);
	pb_set_text(&n->plugin, r->plugin);
	pb_set_text(&n->reason, reason);
	step_dirty_id(s, VIEW_NOTIFICATION, n->id);
}

void reporting_on_incident(struct reporting_desk *d, const struct step *s,
                           const Isod__V1__Incident *i, const char *reason)
{
	for (size_t r = 0; r < s->settings->n_routes; r++)
		if (route_fits(s->settings->routes[r], i))
			notify(d, s, i, s->settings->routes[r], reason);
}

/* Takes the notification at `at` of the pending list to its end. */
static void finish(struct reporting_desk *d, const struct step *s, size_t at,
                   Isod__V1__NotificationState state)
{
	Isod__V1__Notification *n = d->items[d->pending[at] - 1];

	n->state = state;
	n->finished_ns = s->time_ns;
	n->due_ns = 0;
	if (state == STATE(DEAD))
		d->dead++;
	memmove(d->pending + at, d->pending + at + 1,
	        (d->pending_count - at - 1) * sizeof(*d->pending));
	d->pending_count--;
	step_dirty_id(s, VIEW_NOTIFICATION, n->id);
}

void reporting_on_handled(struct reporting_desk *d, const struct step *s, uint64_t incident)
{
	for (size_t i = d->pending_count; i-- > 0;) {
		const Isod__V1__Notification *n = d->items[d->pending[i] - 1];
		if (n->incident == incident && n->state == STATE(PENDING))
			finish(d, s, i, STATE(CANCELLED));
	}
}

/* backoff × 2^(attempts - 1), at most the route's maximum. */
static uint64_t backoff(const Isod__V1__Route *r, uint32_t attempts)
{
	uint64_t wait = r->backoff_ns, max = r->backoff_max_ns;

	for (uint32_t i = 1; i < attempts && wait < max; i++)
		wait = wait > UINT64_MAX / 2 ? max : wait * 2;
	return max && wait > max ? max : wait;
}

void reporting_on_result(struct reporting_desk *d, const struct step *s,
                         const Isod__V1__PluginResult *r)
{
	size_t at = 0;

	while (at < d->pending_count && d->pending[at] != r->notification)
		at++;
	if (at == d->pending_count)
		return;
	Isod__V1__Notification *n = d->items[r->notification - 1];
	if (n->state != STATE(INFLIGHT) || n->attempts != r->attempt)
		return;
	const Isod__V1__Route *route = route_find(s, n->route);
	pb_set_text(&n->detail, r->detail);
	if (r->outcome == ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_DELIVERED) {
		finish(d, s, at, STATE(DELIVERED));
	} else if (r->outcome == ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_RETRY &&
	           n->attempts < route->attempts) {
		n->state = STATE(PENDING);
		n->due_ns = s->time_ns + backoff(route, n->attempts);
		step_dirty_id(s, VIEW_NOTIFICATION, n->id);
	} else {
		finish(d, s, at, STATE(DEAD));
	}
}

void reporting_on_started(struct reporting_desk *d, const struct step *s)
{
	for (size_t i = 0; i < d->pending_count; i++) {
		Isod__V1__Notification *n = d->items[d->pending[i] - 1];
		if (n->state != STATE(INFLIGHT))
			continue;
		n->state = STATE(PENDING);
		n->due_ns = s->time_ns;
		step_dirty_id(s, VIEW_NOTIFICATION, n->id);
	}
}

/* A person took it over after this was to be told: what was in flight then and failed needs no second attempt. */
static bool handled_since(const Isod__V1__Incident *i, const Isod__V1__Notification *n)
{
	return i->acknowledged_ns > n->created_ns || i->closed_ns > n->created_ns;
}

static void begin_attempt(const struct step *s, Isod__V1__Notification *n,
                          const Isod__V1__Incident *incident)
{
	n->state = STATE(INFLIGHT);
	n->attempts++;
	step_dirty_id(s, VIEW_NOTIFICATION, n->id);
	if (s->effects->notify)
		s->effects->notify(s->effects->arg, n, incident);
}

void reporting_on_clock(struct reporting_desk *d, const struct step *s,
                        const struct incident_desk *incidents)
{
	for (size_t at = 0; at < d->pending_count;) {
		Isod__V1__Notification *n = d->items[d->pending[at] - 1];
		const Isod__V1__Incident *incident = incident_get(incidents, n->incident);
		if (n->state != STATE(PENDING) || n->due_ns > s->time_ns) {
			at++;
		} else if (handled_since(incident, n)) {
			finish(d, s, at, STATE(CANCELLED));
		} else {
			begin_attempt(s, n, incident);
			at++;
		}
	}
}

uint64_t reporting_next_deadline(const struct reporting_desk *d)
{
	uint64_t next = NEVER;

	for (size_t i = 0; i < d->pending_count; i++) {
		const Isod__V1__Notification *n = d->items[d->pending[i] - 1];
		if (n->state == STATE(PENDING) && n->due_ns < next)
			next = n->due_ns;
	}
	return next;
}

const Isod__V1__Notification *reporting_get(const struct reporting_desk *d, uint64_t id)
{
	return id >= 1 && id <= d->count ? d->items[id - 1] : NULL;
}

/* ---- saved ---- */

void reporting_save(const struct reporting_desk *d, struct saver *to)
{
	Isod__V1__SnapshotNotifications m = ISOD__V1__SNAPSHOT_NOTIFICATIONS__INIT;
	SAVE_PART(part, NOTIFICATIONS);

	part.notifications = &m;
	for (size_t at = 0; at < d->count; at += m.n_notifications) {
		m.notifications = d->items + at;
		m.n_notifications = save_fit((void *const *)m.notifications, d->count - at);
		save_part(to, &part);
	}
}

int reporting_load(struct reporting_desk *d, Isod__V1__SnapshotNotifications *from,
                   const struct incident_desk *incidents)
{
	for (size_t i = 0; i < from->n_notifications; i++) {
		Isod__V1__Notification *n = from->notifications[i];
		if (n->id != d->count + 1 || !incident_get(incidents, n->incident))
			return -EBADMSG;
		from->notifications[i] = NULL;
		append(d, n);
	}
	return 0;
}
