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

static void free_item(void *p)
{
	isod__v1__notification__free_unpacked(p, NULL);
}

void reporting_init(struct reporting_desk *d)
{
	*d = (struct reporting_desk){0};
}

void reporting_release(struct reporting_desk *d)
{
	shelf_release(&d->items, free_item);
	departures_release(&d->finished);
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
		Isod__V1__Notification *n = shelf_get(&d->items, d->pending[i]);
		if (n->incident == incident && n->state == STATE(PENDING) &&
		    strcmp(n->route, route) == 0)
			return n;
	}
	return NULL;
}

/* Into the outbox and, unless it is at its end, to what is pending. */
static void append(struct reporting_desk *d, Isod__V1__Notification *n)
{
	shelf_put(&d->items, n->id, n);
	if (d->count < n->id)
		d->count = n->id;
	d->due_ns = 0;
	d->dead += n->state == STATE(DEAD);
	if (n->state > STATE(INFLIGHT)) {
		departures_add(&d->finished, n->finished_ns, n->id);
		return;
	}
	xgrow(&d->pending, &d->pending_cap, d->pending_count + 1, sizeof(*d->pending));
	d->pending[d->pending_count++] = n->id;
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
	n->id = d->count + 1;
	n->incident = i->id;
	n->state = STATE(PENDING);
	append(d, n);
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
	Isod__V1__Notification *n = shelf_get(&d->items, d->pending[at]);

	n->state = state;
	n->finished_ns = s->time_ns;
	n->due_ns = 0;
	if (state == STATE(DEAD))
		d->dead++;
	departures_add(&d->finished, n->finished_ns, n->id);
	memmove(d->pending + at, d->pending + at + 1,
	        (d->pending_count - at - 1) * sizeof(*d->pending));
	d->pending_count--;
	step_dirty_id(s, VIEW_NOTIFICATION, n->id);
}

void reporting_on_handled(struct reporting_desk *d, const struct step *s, uint64_t incident)
{
	for (size_t i = d->pending_count; i-- > 0;) {
		const Isod__V1__Notification *n = shelf_get(&d->items, d->pending[i]);
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
	Isod__V1__Notification *n = shelf_get(&d->items, r->notification);
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
		d->due_ns = 0;
		step_dirty_id(s, VIEW_NOTIFICATION, n->id);
	} else {
		finish(d, s, at, STATE(DEAD));
	}
}

void reporting_on_started(struct reporting_desk *d, const struct step *s)
{
	for (size_t i = 0; i < d->pending_count; i++) {
		Isod__V1__Notification *n = shelf_get(&d->items, d->pending[i]);
		if (n->state != STATE(INFLIGHT))
			continue;
		n->state = STATE(PENDING);
		n->due_ns = s->time_ns;
		d->due_ns = 0;
		step_dirty_id(s, VIEW_NOTIFICATION, n->id);
	}
}

/* A person took it over after this was to be told: what was in flight then and failed needs no second attempt. An incident
 * that has left (NULL) was closed. */
static bool handled_since(const Isod__V1__Incident *i, const Isod__V1__Notification *n)
{
	return !i || i->acknowledged_ns > n->created_ns || i->closed_ns > n->created_ns;
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

static void begin_due(struct reporting_desk *d, const struct step *s,
                      const struct incident_desk *incidents)
{
	for (size_t at = 0; at < d->pending_count;) {
		Isod__V1__Notification *n = shelf_get(&d->items, d->pending[at]);
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
	d->due_ns = reporting_next_deadline(d);
}

void reporting_on_clock(struct reporting_desk *d, const struct step *s,
                        const struct incident_desk *incidents)
{
	uint64_t id;

	/* Hundreds may wait for a plugin that hangs: not each record looks through them. */
	if (s->time_ns >= d->due_ns)
		begin_due(d, s, incidents);
	while ((id = departures_next(&d->finished, s->time_ns, s->settings->notification_kept_ns,
	                             s->settings->notification_kept_max))) {
		Isod__V1__Notification *n = shelf_take(&d->items, id);
		d->dead -= n->state == STATE(DEAD);
		free_item(n);
		step_dirty_id(s, VIEW_NOTIFICATION, id);
	}
}

uint64_t reporting_next_deadline(const struct reporting_desk *d)
{
	uint64_t next = NEVER;

	for (size_t i = 0; i < d->pending_count; i++) {
		const Isod__V1__Notification *n = shelf_get(&d->items, d->pending[i]);
		if (n->state == STATE(PENDING) && n->due_ns < next)
			next = n->due_ns;
	}
	return next;
}

const Isod__V1__Notification *reporting_get(const struct reporting_desk *d, uint64_t id)
{
	return shelf_get(&d->items, id);
}

const Isod__V1__Notification *reporting_next(const struct reporting_desk *d, uint64_t *id)
{
	return shelf_next(&d->items, id);
}

/* ---- saved ---- */

void reporting_save(const struct reporting_desk *d, struct saver *to)
{
	Isod__V1__SnapshotNotifications m = ISOD__V1__SNAPSHOT_NOTIFICATIONS__INIT;
	SAVE_PART(part, NOTIFICATIONS);

	Isod__V1__Notification **all = xcalloc(d->items.held, sizeof(Isod__V1__Notification *));
	Isod__V1__Notification *n;
	size_t count = 0;

	for (uint64_t id = 0; (n = shelf_next(&d->items, &id));)
		all[count++] = n;
	part.notifications = &m;
	for (size_t at = 0; at < count; at += m.n_notifications) {
		m.notifications = all + at;
		m.n_notifications = save_fit((void *const *)m.notifications, count - at);
		save_part(to, &part);
	}
	free(all);
}

/* As with incidents (incident.c). */
static bool id_follows(const struct reporting_desk *d, uint64_t id)
{
	return id > d->loaded && (id <= d->count || (d->loaded == d->count && id == d->count + 1));
}

int reporting_load(struct reporting_desk *d, Isod__V1__SnapshotNotifications *from,
                   const struct incident_desk *incidents)
{
	for (size_t i = 0; i < from->n_notifications; i++) {
		Isod__V1__Notification *n = from->notifications[i];
		if (!id_follows(d, n->id) || n->incident == 0 || n->incident > incidents->count)
			return -EBADMSG;
		from->notifications[i] = NULL;
		append(d, n);
		d->loaded = n->id;
	}
	return 0;
}
