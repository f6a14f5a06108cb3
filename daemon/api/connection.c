/* One client: bytes in, requests out of them in order, answers back.
 *
 * A client can be slow, stuck, hostile or gone, and the loop is the officer's. So: requests are taken up only while
 * few answers are waiting to be sent (a client that asks and does not read stops itself); what a watcher does not read
 * is limited by API_OUTPUT_MAX; every state in which we wait for the client has a deadline. A connection is freed only
 * by the callbacks of the loop, never inside a request: a request can reach this very connection through the fold. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "api/api_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"

#define OUTPUT_LOW       ((size_t)256 << 10) /* with more waiting to be sent no request is taken up */
#define VARINT_BYTES_MAX 10
#define TIMELINE_TOLD    20 /* entries that a watcher gets with each change */

/* That a client which does not watch takes some of its answer. */
static const struct timeval send_patience = {30, 0};

static void set_deadline(struct connection *c, enum deadline d)
{
	/* A request's and a handshake's time runs from its beginning. */
	if (d == c->deadline && d != DEADLINE_IDLE)
		return;
	c->deadline = d;
	if (d == DEADLINE_NONE)
		evtimer_del(c->timer);
	else
		evtimer_add(c->timer, &c->api->patience[d]);
}

/* ---- answers ---- */

void connection_send(struct connection *c, const Isod__V1__Response *answer)
{
	struct buf *b = &c->api->scratch;

	buf_reset(b);
	if (wire_append(b, &answer->base) < 0) {
		connection_error(c, answer->id, ISOD__V1__ERROR_CODE__ERROR_TOO_LARGE,
		                 "the answer is too large");
		return;
	}
	bufferevent_write(c->bev, b->p, b->n);
}

void connection_error(struct connection *c, uint64_t id, Isod__V1__ErrorCode code,
                      const char *format, ...)
{
	Isod__V1__Error error = ISOD__V1__ERROR__INIT;
	Isod__V1__Response answer = ISOD__V1__RESPONSE__INIT;
	char message[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	error.code = code;
	error.message = message;
	answer.id = id;
	answer.answer_case = ISOD__V1__RESPONSE__ANSWER_ERROR;
	answer.error = &error;
	connection_send(c, &answer);
}

void connection_finish(struct connection *c)
{
	c->last = true;
	if (c->watch.on)
		c->api->watchers--;
	c->watch.on = false;
	bufferevent_set_timeouts(c->bev, NULL, &send_patience);
}

/* ---- watching ---- */

void connection_watch(struct connection *c, uint64_t id, const Isod__V1__WatchRequest *q)
{
	Isod__V1__WatchStarted started = ISOD__V1__WATCH_STARTED__INIT;
	Isod__V1__Response answer = ISOD__V1__RESPONSE__INIT;

	if (!c->watch.on)
		c->api->watchers++;
	c->watch = (struct watch){.on = true, .id = id, .min_severity = q->min_severity, .next = 1};
	if (q->snapshot)
		c->watch.last = officer_state(c->api->options.officer)->incident.count;
	bufferevent_set_timeouts(c->bev, NULL, NULL);
	answer.id = id;
	answer.answer_case = ISOD__V1__RESPONSE__ANSWER_WATCHING;
	answer.watching = &started;
	connection_send(c, &answer);
}

static void send_watched(struct connection *c, const Isod__V1__Incident *incident)
{
	Isod__V1__Response answer = ISOD__V1__RESPONSE__INIT;
	Isod__V1__Incident shown = *incident;

	if (incident->severity < c->watch.min_severity)
		return;
	shown.n_evidence = 0;
	if (shown.n_timeline > TIMELINE_TOLD) {
		size_t left_out = shown.n_timeline - TIMELINE_TOLD;
		shown.timeline += left_out;
		shown.n_timeline = TIMELINE_TOLD;
		shown.timeline_omitted += left_out;
	}
	answer.id = c->watch.id;
	answer.answer_case = ISOD__V1__RESPONSE__ANSWER_INCIDENT;
	answer.incident = &shown;
	connection_send(c, &answer);
}

/* The next open incident of the snapshot. False when there is none left. */
static bool send_snapshot(struct connection *c)
{
	const struct state *state = officer_state(c->api->options.officer);

	while (c->watch.next <= c->watch.last) {
		const Isod__V1__Incident *i = incident_get(&state->incident, c->watch.next++);
		if (i && incident_is_open(i) && i->severity >= c->watch.min_severity) {
			send_watched(c, i);
			return true;
		}
	}
	return false;
}

/* ---- requests ---- */

static size_t output_bytes(const struct connection *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev));
}

/* Takes one request off the input and answers it. False when no whole one is there. */
static bool next_request(struct connection *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	size_t max = c->api->options.config->api.request_max, n = evbuffer_get_length(in), used;
	struct str body;

	if (n > max + VARINT_BYTES_MAX)
		n = max + VARINT_BYTES_MAX;
	const char *p = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
	int r = wire_next(str_make(p, n), max, &body, &used);
	if (r == -EAGAIN)
		return false;
	if (r == 0) {
		enum request_result result = request_answer(c, body);
		c->later = result == REQUEST_LATER;
		if (c->later)
			return true;
		c->api->counts.requests++;
		set_deadline(c, DEADLINE_IDLE);
		if (result == REQUEST_DONE) {
			evbuffer_drain(in, used);
			return true;
		}
		connection_error(c, 0, ISOD__V1__ERROR_CODE__ERROR_BAD_REQUEST,
		                 "this is no isod.v1.Request");
		c->api->counts.bad_requests++;
	} else if (r == -EMSGSIZE) {
		connection_error(c, 0, ISOD__V1__ERROR_CODE__ERROR_TOO_LARGE,
		                 "a request has at most %zu bytes", max);
		c->api->counts.too_large++;
	} else {
		connection_error(c, 0, ISOD__V1__ERROR_CODE__ERROR_BAD_REQUEST,
		                 "this is no length of a message");
		c->api->counts.bad_requests++;
	}
	connection_finish(c);
	return false;
}

static void drop(struct connection *c, uint64_t *count, const char *why)
{
	(*count)++;
	log_info("api: %s: %s", c->known ? c->peer.name : "a client", why);
	connection_free(c);
}

/* Our last words are out: tell the client so, and wait a little that it reads them. Closing at once while bytes of its
 * are unread would make the kernel reset the connection and take our answer back. */
static void linger(struct connection *c)
{
	if (!c->shut) {
		c->shut = true;
		shutdown(bufferevent_getfd(c->bev), SHUT_WR);
		set_deadline(c, DEADLINE_LINGER);
	}
}

static bool may_go_on(const struct connection *c)
{
	return !c->last && !c->reload && !c->later && !ingest_is_full(c) &&
	       output_bytes(c) < OUTPUT_LOW;
}

/* Does what can be done now, then decides what is waited for. Frees the connection when that is nothing. */
static void advance(struct connection *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	bool more = true;

	while (more && may_go_on(c))
		more = backup_send(c) || send_snapshot(c) || next_request(c);
	if (c->last)
		evbuffer_drain(in, evbuffer_get_length(in));
	/* libevent calls again and again for input that stands at its high watermark: stop reading as well. */
	if (more && !c->last)
		bufferevent_disable(c->bev, EV_READ);
	else if (!c->eof)
		bufferevent_enable(c->bev, EV_READ);
	size_t waiting = output_bytes(c);
	if (waiting > API_OUTPUT_MAX) {
		drop(c, &c->api->counts.slow, "does not read its answers");
		return;
	}
	bool asked = c->ingest.count > 0;
	if (c->eof && (c->last || !more) && waiting == 0 && !asked) {
		connection_free(c);
		return;
	}
	bool half = !c->last && !more && evbuffer_get_length(in) > 0;
	if (c->last && waiting == 0)
		linger(c);
	else if (half)
		set_deadline(c, DEADLINE_REQUEST);
	else if (c->last || c->watch.on || waiting > 0 || more || asked)
		set_deadline(c, DEADLINE_NONE); /* the write timeout holds, or a watcher's limit */
	else if (c->deadline != DEADLINE_IDLE)
		set_deadline(c, DEADLINE_IDLE);
}

void connection_tell(struct connection *c)
{
	const struct state *state = officer_state(c->api->options.officer);
	const struct map_entry *e;
	uint64_t id;

	if (!c->watch.on || c->last)
		return;
	for (size_t at = 0; (e = map_next(&c->api->changed, &at));) {
		memcpy(&id, e->key.p, sizeof(id));
		const Isod__V1__Incident *i = incident_get(&state->incident, id);
		if (i)
			send_watched(c, i);
	}
	advance(c);
}

void connection_ingest_answered(struct connection *c)
{
	c->later = c->later && c->ingest.count > 0;
	advance(c);
}

void connection_reloaded(struct connection *c, uint64_t number,
                         const Isod__V1__RulesReloaded *outcome)
{
	Isod__V1__Response answer = ISOD__V1__RESPONSE__INIT;

	if (!c->reload || c->reload > number)
		return;
	answer.id = c->reload_request;
	answer.answer_case = ISOD__V1__RESPONSE__ANSWER_RULES_RELOADED;
	answer.rules_reloaded = (Isod__V1__RulesReloaded *)(uintptr_t)outcome; /* only packed */
	c->reload = 0;
	connection_send(c, &answer);
	advance(c);
}

/* ---- the loop's callbacks ---- */

static void on_data(struct bufferevent *bev, void *arg)
{
	struct connection *c = arg;
	(void)bev;

	if (c->known)
		advance(c);
}

static void identify(struct connection *c)
{
	char name[PEER_NAME_MAX];

	if (!tls_bufferevent_peer(c->bev, name, sizeof(name))) {
		drop(c, &c->api->counts.tls_failures, "the certificate names nobody");
		return;
	}
	peer_of_certificate(c->api, name, &c->peer);
	c->known = true;
	advance(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct connection *c = arg;
	char words[256];

	if (what & BEV_EVENT_CONNECTED) {
		identify(c);
	} else if (!c->known) {
		tls_bufferevent_error(bev, words, sizeof(words));
		drop(c, &c->api->counts.tls_failures, words[0] ? words : "closed in the handshake");
	} else if ((what & BEV_EVENT_TIMEOUT) && (what & BEV_EVENT_WRITING)) {
		drop(c, &c->api->counts.slow, "does not read its answers");
	} else if ((what & BEV_EVENT_EOF) && !c->watch.on) {
		c->eof = true; /* it may still read: answer what it has asked */
		advance(c);
	} else {
		connection_free(c);
	}
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	(void)fd;
	(void)what;

	switch (c->deadline) {
	case DEADLINE_HANDSHAKE:
		drop(c, &c->api->counts.tls_failures, "the handshake took too long");
		break;
	case DEADLINE_REQUEST:
		drop(c, &c->api->counts.timeouts, "half a request and no more");
		break;
	case DEADLINE_IDLE: drop(c, &c->api->counts.timeouts, "asked nothing for long"); break;
	default: connection_free(c); break;
	}
}

/* ---- life ---- */

static struct bufferevent *wrap(struct api *a, int fd, bool tls)
{
	return tls ? tls_bufferevent(a->options.base, a->tls, fd, true, NULL)
	           : bufferevent_socket_new(a->options.base, fd, BEV_OPT_CLOSE_ON_FREE);
}

void connection_new(struct api *a, int fd, bool tls, const struct peer *peer)
{
	struct connection *c = xcalloc(1, sizeof(*c));

	c->api = a;
	map_init(&c->claims);
	c->tls = tls;
	c->known = !tls;
	if (peer)
		c->peer = *peer;
	c->bev = wrap(a, fd, tls);
	c->timer = evtimer_new(a->options.base, on_deadline, c);
	if (!c->bev || !c->timer)
		abort(); /* no memory */
	c->next = a->connections;
	c->link = &a->connections;
	if (c->next)
		c->next->link = &c->next;
	a->connections = c;
	a->connection_count++;
	a->counts.accepted++;
	bufferevent_setcb(c->bev, on_data, on_data, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0,
	                         a->options.config->api.request_max + VARINT_BYTES_MAX);
	bufferevent_setwatermark(c->bev, EV_WRITE, OUTPUT_LOW / 2, 0);
	bufferevent_set_timeouts(c->bev, NULL, &send_patience);
	set_deadline(c, tls ? DEADLINE_HANDSHAKE : DEADLINE_IDLE);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

void connection_free(struct connection *c)
{
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->api->connection_count--;
	if (c->watch.on)
		c->api->watchers--;
	ingest_forget(c);
	producer_release(c);
	backup_free(c->backup);
	event_free(c->timer);
	if (c->tls)
		tls_bufferevent_free(c->bev);
	else
		bufferevent_free(c->bev);
	free(c);
}
