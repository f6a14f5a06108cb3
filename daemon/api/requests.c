/* What each request means: a table of handlers. All but two only look at the officer's state; acknowledge and close
 * become commands in the ledger, and are answered once they are durable. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api_internal.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/pb.h"
#include "base/utf8.h"

#define POINTS_MAX     ((size_t)METRIC_DAYS) /* the longest series there is */
#define ARENA_KEPT     ((size_t)1 << 20) /* memory that one large answer took is given back past this */
#define NOTE_BYTES_MAX 4096 /* of an operator's note: it stays in the ledger for good */
/* A refusal costs a synced ledger record. A client that is refused over and over is cut off, and however many clients
 * there are, only so many of their refusals are recorded; the rest is counted. */
#define REFUSALS_PER_CONNECTION 20
#define REFUSALS_PER_MINUTE     120

#define ERROR(name) ISOD__V1__ERROR_CODE__ERROR_##name

static const struct state *state_of(const struct connection *c)
{
	return officer_state(c->api->options.officer);
}

/* ---- status ---- */

static void add_source(Isod__V1__Status *s, const Isod__V1__SourceStatus *source)
{
	Isod__V1__SourceStatus **to = pb_add(&s->sources, &s->n_sources, sizeof(*to));

	*to = pb_copy(&source->base);
}

static void fill_sources(const struct architecture_desk *d, const char *after, Isod__V1__Status *s)
{
	struct page page = page_of(0, PAGE_ITEMS_MAX);
	bool begun = after[0] == '\0';
	const struct map_entry *e;

	for (size_t at = 0; (e = map_next(&d->sources, &at));) {
		if (!begun) {
			begun = str_eq(e->key, str_of(after));
			continue;
		}
		const Isod__V1__SourceStatus *source = e->value;
		if (!page_has_room(&page))
			break;
		add_source(s, source);
		page_count(&page, &source->base);
	}
	s->more_sources = page.more;
}

static Isod__V1__Status *new_status(const struct api *api)
{
	const struct api_options *o = &api->options;
	const struct state *state = officer_state(o->officer);
	Isod__V1__Status *s = xmalloc(sizeof(*s));
	char head[HEX_BYTES(SHA256_BYTES)];

	isod__v1__status__init(s);
	if (o->status)
		o->status(o->arg, s);
	s->now_ns = clock_now();
	s->events = state->architecture.events;
	s->matches = state->matches;
	s->incidents_open = state->incident.open;
	s->incidents_total = state->incident.count;
	s->ledger_sequence = state->sequence;
	pb_set_text(&s->ledger_head, hex_encode(officer_head(o->officer), SHA256_BYTES, head));
	s->notifications_pending = state->reporting.pending_count;
	s->notifications_dead = state->reporting.dead;
	pb_set_text(&s->api_address, api_address(api));
	return s;
}

Isod__V1__Status *api_status(const struct api *api)
{
	const struct map *sources = &officer_state(api->options.officer)->architecture.sources;
	Isod__V1__Status *s = new_status(api);
	const struct map_entry *e;

	for (size_t at = 0; (e = map_next(sources, &at));)
		add_source(s, e->value);
	return s;
}

static void ask_status(struct connection *c, const Isod__V1__Request *q)
{
	Isod__V1__Status *s = new_status(c->api);

	pb_set_text(&s->you, c->peer.name);
	s->your_role = c->peer.role;
	if (q->status->sources)
		fill_sources(&state_of(c)->architecture, q->status->sources_after, s);
	Isod__V1__Response a = answer_to(q, ISOD__V1__RESPONSE__ANSWER_STATUS);
	a.status = s;
	connection_send(c, &a);
	isod__v1__status__free_unpacked(s, NULL);
}

/* ---- incidents ---- */

static bool has_state(const Isod__V1__ListIncidentsRequest *q, Isod__V1__IncidentState state)
{
	for (size_t i = 0; i < q->n_states; i++)
		if (q->states[i] == state)
			return true;
	return q->n_states == 0;
}

static bool has_entity(const Isod__V1__Incident *i, const Isod__V1__Entity *wanted)
{
	for (size_t n = 0; wanted && n < i->n_entities; n++) {
		const Isod__V1__Entity *e = i->entities[n];
		if ((wanted->kind == ISOD__V1__ENTITY_KIND__ENTITY_UNKNOWN ||
		     wanted->kind == e->kind) &&
		    (wanted->name[0] == '\0' || strcmp(wanted->name, e->name) == 0))
			return true;
	}
	return !wanted;
}

static void ask_list_incidents(struct connection *c, const Isod__V1__Request *q)
{
	const Isod__V1__ListIncidentsRequest *ask = q->list_incidents;
	const struct incident_desk *desk = &state_of(c)->incident;
	struct page page = page_of(ask->limit, 100);
	Isod__V1__IncidentList list = ISOD__V1__INCIDENT_LIST__INIT;
	Isod__V1__Incident *shown = answer_take(c, page.limit, sizeof(*shown));
	uint64_t id =
		ask->before_id && ask->before_id <= desk->count ? ask->before_id - 1 : desk->count;

	list.incidents = answer_take(c, page.limit, sizeof(*list.incidents));
	for (; id > 0; id--) {
		const Isod__V1__Incident *i = incident_get(desk, id);
		if (!i || i->severity < ask->min_severity || i->changed_ns < ask->since_ns ||
		    !has_state(ask, i->state) || !has_entity(i, ask->entity))
			continue;
		if (!page_has_room(&page))
			break;
		Isod__V1__Incident *s = list.incidents[page.count] = &shown[page.count];
		*s = *i;
		s->n_timeline = s->n_evidence = 0;
		page_count(&page, &s->base);
	}
	list.n_incidents = page.count;
	list.more = page.more;
	Isod__V1__Response a = answer_to(q, ISOD__V1__RESPONSE__ANSWER_INCIDENTS);
	a.incidents = &list;
	connection_send(c, &a);
}

static void no_incident(struct connection *c, const Isod__V1__Request *q, uint64_t id)
{
	if (id && id <= state_of(c)->incident.count)
		connection_error(c, q->id, ERROR(NOT_FOUND),
		                 "incident %" PRIu64 " was closed and is kept no longer "
		                 "(incidents.kept, kept_max); the ledger has it",
		                 id);
	else
		connection_error(c, q->id, ERROR(NOT_FOUND), "there is no incident %" PRIu64, id);
}

static void send_incident(struct connection *c, const Isod__V1__Request *q, uint64_t id)
{
	const Isod__V1__Incident *i = incident_get(&state_of(c)->incident, id);

	if (!i) {
		no_incident(c, q, id);
		return;
	}
	Isod__V1__Response a = answer_to(q, ISOD__V1__RESPONSE__ANSWER_INCIDENT);
	a.incident = (Isod__V1__Incident *)(uintptr_t)i; /* only packed */
	connection_send(c, &a);
}

static void ask_show_incident(struct connection *c, const Isod__V1__Request *q)
{
	send_incident(c, q, q->show_incident->incident);
}

/* ---- commands ---- */

/* Why the command is not taken, in words. */
static void refuse_command(struct connection *c, const Isod__V1__Request *q, uint64_t id)
{
	const Isod__V1__Incident *i = incident_get(&state_of(c)->incident, id);

	if (!i)
		no_incident(c, q, id);
	else if (!incident_is_open(i))
		connection_error(c, q->id, ERROR(CONFLICT), "incident %" PRIu64 " is closed", id);
	else
		connection_error(c, q->id, ERROR(CONFLICT),
		                 "incident %" PRIu64 " was acknowledged by %s", id, i->owner);
}

/* Makes `command` durable, then shows what it has made of the incident. */
static void obey(struct connection *c, const Isod__V1__Request *q, Isod__V1__Command *command,
                 uint64_t id)
{
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	command->user = c->peer.name;
	command->role = c->peer.role;
	if (incident_check(&state_of(c)->incident, command) < 0) {
		refuse_command(c, q, id);
		return;
	}
	record.body_case = ISOD__V1__RECORD__BODY_COMMAND;
	record.command = command;
	int r = officer_record(c->api->options.officer, &record);
	if (r == -EAGAIN)
		connection_error(c, q->id, ERROR(UNAVAILABLE),
		                 "the ledger cannot be written; nothing was changed");
	else if (r < 0)
		connection_error(c, q->id, ERROR(UNAVAILABLE),
		                 "the ledger cannot be written now (%s); this takes effect when "
		                 "it can",
		                 strerror(-r));
	else
		send_incident(c, q, id);
}

/* The note as it may stand in the ledger: valid UTF-8, of limited length. False when it was refused. */
static bool clean_note(struct connection *c, uint64_t request, struct buf *clean, char **note)
{
	struct str text = str_of(*note);

	buf_init(clean, 3 * NOTE_BYTES_MAX + 1);
	if (text.n > NOTE_BYTES_MAX) {
		connection_error(c, request, ERROR(BAD_REQUEST), "a note has at most %d bytes",
		                 NOTE_BYTES_MAX);
		return false;
	}
	if (!utf8_valid(text)) {
		utf8_repair(clean, text);
		*note = (char *)(uintptr_t)buf_cstr(clean);
	}
	return true;
}

static void ask_acknowledge(struct connection *c, const Isod__V1__Request *q)
{
	Isod__V1__Command command = ISOD__V1__COMMAND__INIT;
	Isod__V1__AcknowledgeIncident action = *q->acknowledge;
	struct buf clean;

	command.action_case = ISOD__V1__COMMAND__ACTION_ACKNOWLEDGE;
	command.acknowledge = &action;
	if (clean_note(c, q->id, &clean, &action.note))
		obey(c, q, &command, action.incident);
	buf_release(&clean);
}

static void ask_close(struct connection *c, const Isod__V1__Request *q)
{
	Isod__V1__Command command = ISOD__V1__COMMAND__INIT;
	Isod__V1__CloseIncident action = *q->close;
	struct buf clean;

	if (action.disposition == ISOD__V1__DISPOSITION__DISPOSITION_NONE ||
	    !protobuf_c_enum_descriptor_get_value(&isod__v1__disposition__descriptor,
	                                          (int)action.disposition)) {
		connection_error(c, q->id, ERROR(BAD_REQUEST),
		                 "closing wants a disposition: true_positive, false_positive, "
		                 "benign or duplicate");
		return;
	}
	command.action_case = ISOD__V1__COMMAND__ACTION_CLOSE;
	command.close = &action;
	if (clean_note(c, q->id, &clean, &action.note))
		obey(c, q, &command, action.incident);
	buf_release(&clean);
}

/* ---- risk, metrics, notifications ---- */

static void ask_risk(struct connection *c, const Isod__V1__Request *q)
{
	const struct risk_desk *desk = &state_of(c)->risk;
	struct page page = page_of(q->risk->limit, 20);
	Isod__V1__RiskList list = ISOD__V1__RISK_LIST__INIT;
	const Isod__V1__EntityRisk **top = answer_take(c, page.limit, sizeof(*top));
	Isod__V1__EntityRisk *shown = answer_take(c, page.limit, sizeof(*shown));
	uint64_t now = clock_now();

	list.n_entities = risk_top(desk, q->risk->kind, now, top, page.limit);
	list.entities = answer_take(c, page.limit, sizeof(*list.entities));
	for (size_t i = 0; i < list.n_entities; i++) {
		shown[i] = *top[i];
		shown[i].score_milli = risk_score(desk, top[i], now);
		shown[i].updated_ns = now;
		list.entities[i] = &shown[i];
	}
	Isod__V1__Response a = answer_to(q, ISOD__V1__RESPONSE__ANSWER_RISK);
	a.risk = &list;
	connection_send(c, &a);
}

/* One series with its newest points, in the arena. */
static Isod__V1__MetricSeries *show_series(struct connection *c, const struct metric_series *m,
                                           Isod__V1__Resolution resolution, uint64_t now,
                                           size_t points)
{
	Isod__V1__MetricSeries *s = answer_take(c, 1, sizeof(*s));
	Isod__V1__MetricPoint *at = answer_take(c, points, sizeof(*at));

	isod__v1__metric_series__init(s);
	s->scope = m->scope;
	s->name = m->name;
	s->resolution = resolution;
	s->total = m->total;
	s->n_points = metric_points(m, resolution, now, at, points);
	s->points = answer_take(c, s->n_points, sizeof(*s->points));
	for (size_t i = 0; i < s->n_points; i++)
		s->points[i] = &at[i];
	return s;
}

static void ask_metrics(struct connection *c, const Isod__V1__Request *q)
{
	const Isod__V1__MetricsRequest *ask = q->metrics;
	struct page page = page_of(ask->limit, PAGE_ITEMS_MAX);
	Isod__V1__MetricList list = ISOD__V1__METRIC_LIST__INIT;
	Isod__V1__Resolution resolution =
		ask->resolution ? ask->resolution : ISOD__V1__RESOLUTION__RESOLUTION_MINUTE;
	size_t points = ask->points ? ask->points : 60;
	bool begun = ask->after[0] == '\0';
	uint64_t now = clock_now();
	const struct map_entry *e;

	if (metric_width(resolution) == 0) {
		connection_error(c, q->id, ERROR(BAD_REQUEST), "there is no resolution %d",
		                 (int)resolution);
		return;
	}
	if (points > POINTS_MAX)
		points = POINTS_MAX;
	list.series = answer_take(c, page.limit, sizeof(*list.series));
	for (size_t at = 0; (e = map_next(&state_of(c)->improvement.series, &at));) {
		const struct metric_series *m = e->value;
		if (!begun) {
			begun = str_eq(e->key, str_of(ask->after));
			continue;
		}
		if ((ask->scope[0] && strcmp(ask->scope, m->scope) != 0) ||
		    (ask->name[0] && strcmp(ask->name, m->name) != 0))
			continue;
		if (!page_has_room(&page))
			break;
		list.series[page.count] = show_series(c, m, resolution, now, points);
		page_count(&page, &list.series[page.count]->base);
	}
	list.n_series = page.count;
	list.more = page.more;
	Isod__V1__Response a = answer_to(q, ISOD__V1__RESPONSE__ANSWER_METRICS);
	a.metrics = &list;
	connection_send(c, &a);
}

static void ask_list_notifications(struct connection *c, const Isod__V1__Request *q)
{
	const Isod__V1__ListNotificationsRequest *ask = q->list_notifications;
	const struct reporting_desk *desk = &state_of(c)->reporting;
	struct page page = page_of(ask->limit, 100);
	Isod__V1__NotificationList list = ISOD__V1__NOTIFICATION_LIST__INIT;
	uint64_t id =
		ask->before_id && ask->before_id <= desk->count ? ask->before_id - 1 : desk->count;

	list.notifications = answer_take(c, page.limit, sizeof(*list.notifications));
	for (; id > 0; id--) {
		const Isod__V1__Notification *n = reporting_get(desk, id);
		if (!n || (ask->incident && n->incident != ask->incident))
			continue;
		if (!page_has_room(&page))
			break;
		list.notifications[page.count] = (Isod__V1__Notification *)(uintptr_t)n;
		page_count(&page, &n->base);
	}
	list.n_notifications = page.count;
	list.more = page.more;
	Isod__V1__Response a = answer_to(q, ISOD__V1__RESPONSE__ANSWER_NOTIFICATIONS);
	a.notifications = &list;
	connection_send(c, &a);
}

static void ask_watch(struct connection *c, const Isod__V1__Request *q)
{
	connection_watch(c, q->id, q->watch);
}

/* ---- the table ---- */

#define ASK(name) ISOD__V1__REQUEST__ASK_##name

static const struct {
	Isod__V1__Request__AskCase ask;
	void (*answer)(struct connection *c, const Isod__V1__Request *q);
} handlers[] = {
	{ASK(STATUS), ask_status},
	{ASK(LIST_INCIDENTS), ask_list_incidents},
	{ASK(SHOW_INCIDENT), ask_show_incident},
	{ASK(ACKNOWLEDGE), ask_acknowledge},
	{ASK(CLOSE), ask_close},
	{ASK(RISK), ask_risk},
	{ASK(METRICS), ask_metrics},
	{ASK(WATCH), ask_watch},
	{ASK(LIST_NOTIFICATIONS), ask_list_notifications},
	{ASK(RELOAD_RULES), ask_reload_rules},
	{ASK(RULES_STATS), ask_rules_stats},
	{ASK(INGEST_HELLO), ask_ingest_hello},
	{ASK(INGEST_BATCH), ask_ingest_batch},
	{ASK(LEDGER_DIGEST), ask_ledger_digest},
	{ASK(BACKUP), ask_backup},
};

static bool may_record_refusal(struct api *a)
{
	uint64_t now = clock_mono();

	if (a->refusal_window_mono == 0 || now - a->refusal_window_mono > NS_PER_MINUTE) {
		a->refusal_window_mono = now;
		a->refusals_in_window = 0;
	}
	return a->refusals_in_window++ < REFUSALS_PER_MINUTE;
}

void request_refuse(struct connection *c, const Isod__V1__Request *q, Isod__V1__ErrorCode code,
                    const char *reason)
{
	struct api *a = c->api;
	Isod__V1__Refusal refusal = ISOD__V1__REFUSAL__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	connection_error(c, q->id, code, "%s (%s)", reason, c->peer.name);
	a->counts.refusals++;
	if (++c->refusals >= REFUSALS_PER_CONNECTION)
		connection_finish(c);
	if (!may_record_refusal(a)) {
		a->counts.refusals_unrecorded++;
		return;
	}
	refusal.user = c->peer.name;
	refusal.role = c->peer.role;
	refusal.request = (char *)(uintptr_t)access_request_name(q->ask_case);
	refusal.reason = (char *)(uintptr_t)reason; /* only packed */
	record.body_case = ISOD__V1__RECORD__BODY_REFUSAL;
	record.refusal = &refusal;
	/* A ledger that cannot be written has been told of by the officer; the refusal stands all the same. */
	(void)officer_record(a->options.officer, &record);
	if (a->options.refused)
		a->options.refused(a->options.arg, &refusal);
}

static void refuse(struct connection *c, const Isod__V1__Request *q, Isod__V1__Role needed)
{
	char reason[128];

	snprintf(reason, sizeof(reason), "%s wants the role %s; the asker has %s",
	         access_request_name(q->ask_case), access_role_name(needed),
	         access_role_name(c->peer.role));
	request_refuse(c, q, ERROR(FORBIDDEN), reason);
}

/* Answers come in the order of the requests, but for those of batches, which need not wait for each other. */
static bool must_wait(const struct connection *c, const Isod__V1__Request *q)
{
	return c->ingest.count > 0 && q->ask_case != ASK(INGEST_BATCH) &&
	       q->ask_case != ASK(INGEST_HELLO);
}

enum request_result request_answer(struct connection *c, struct str body)
{
	Isod__V1__Request *q = isod__v1__request__unpack(NULL, body.n, (const uint8_t *)body.p);
	size_t i = 0;

	if (!q)
		return REQUEST_BAD;
	if (must_wait(c, q)) {
		isod__v1__request__free_unpacked(q, NULL);
		return REQUEST_LATER;
	}
	while (i < ARRAY_LEN(handlers) && handlers[i].ask != q->ask_case)
		i++;
	Isod__V1__Role needed = access_needed(q->ask_case);
	if (i == ARRAY_LEN(handlers) || needed == ISOD__V1__ROLE__ROLE_NONE)
		connection_error(c, q->id, ERROR(BAD_REQUEST),
		                 "this version knows no such request");
	else if (!access_allows(c->peer.role, needed))
		refuse(c, q, needed);
	else
		handlers[i].answer(c, q);
	if (c->api->arena.held > ARENA_KEPT)
		arena_release(&c->api->arena);
	else
		arena_reset(&c->api->arena);
	if (!c->api->request_kept)
		isod__v1__request__free_unpacked(q, NULL);
	c->api->request_kept = false;
	return REQUEST_DONE;
}
