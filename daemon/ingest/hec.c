/* libevent's server accepts, parses and answers. What it does not do is here: it knows no limit on connections, none on
 * the time that a request may take in all (its time-out begins anew with every byte) or on the memory of all requests
 * together, and what it refuses itself it tells nobody. So each connection's buffers are watched: the first byte of a
 * request starts a clock that only the whole request stops; bytes are added up over all connections, and when they are too
 * many the one that has been at it longest must go (it is hardly an honest one: those take milliseconds); and when
 * something goes out that no handler of ours has written, libevent is refusing something, which is counted and told with
 * the peer's name.
 *
 * libevent asks for a bufferevent before it knows the socket; so a connection is admitted, or shut, one step later, when
 * the loop comes to it. Then the bufferevent's callbacks carry libevent's own connection, which tells when it is freed. */
#include "ingest/hec.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"

#define HEADERS_MAX 16384 /* bytes of a request's head: forwarders send less than one KiB */
#define BUFFERED_MAX                                                                               \
	((size_t)128 << 20) /* of all requests of one worker that have not come whole */
#define LAST_TURNS 64       /* of the loop, for the last answers to go out */
#define REASON_MAX 256

/* ---- refusals ---- */

void hec_refuse(struct hec_connection *c, const char *what, const char *reason)
{
	struct port *p = c->door->port;

	log_warning("listener %s: %s: refused: %s", p->listener->config->name, c->peer_text,
	            reason);
	count_add(&p->counts->refused, 1);
	worker_report(p->worker, what, p->listener, (struct sockaddr *)&c->peer, reason);
}

void hec_shut(struct hec_connection *c)
{
	evutil_socket_t fd = bufferevent_getfd(c->bev);

	/* libevent sees the end and frees the connection: on_close. */
	c->shut = true;
	evtimer_del(&c->timer);
	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
	bufferevent_enable(c->bev, EV_READ);
}

/* ---- time ---- */

void hec_arm(struct hec_connection *c, enum hec_deadline deadline)
{
	const struct config *config = c->door->port->worker->shared->config;
	const struct listener_config *l = c->door->port->listener->config;
	const uint64_t patience[] = {
		[HEC_UNTIL_NEVER] = 0,
		[HEC_UNTIL_HANDSHAKE] = config->handshake_timeout_ns,
		[HEC_UNTIL_REQUEST] = l->request_timeout_ns,
		[HEC_UNTIL_ANSWERED] = l->request_timeout_ns,
		[HEC_UNTIL_IDLE] = config->idle_timeout_ns,
	};

	c->deadline = deadline;
	evtimer_del(&c->timer);
	if (patience[deadline] && !c->shut) {
		const struct timeval tv = timeval_of(patience[deadline]);
		evtimer_add(&c->timer, &tv);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct hec_connection *c = arg;
	struct port *p = c->door->port;

	(void)fd;
	(void)what;
	switch (c->deadline) {
	case HEC_UNTIL_HANDSHAKE:
		count_add(&p->counts->tls_failures, 1);
		log_warning("listener %s: TLS with %s failed: the handshake was not finished in "
		            "time",
		            p->listener->config->name, c->peer_text);
		worker_report(p->worker, "tls_failed", p->listener, (struct sockaddr *)&c->peer,
		              "the handshake was not finished in time");
		break;
	case HEC_UNTIL_REQUEST:
		hec_refuse(c, "request_refused",
		           "the request did not come whole in time (request_timeout)");
		break;
	case HEC_UNTIL_ANSWERED:
		hec_refuse(c, "request_refused", "the peer does not read its answers");
		break;
	default:
		log_info("listener %s: %s: silent for too long; connection closed",
		         p->listener->config->name, c->peer_text);
	}
	hec_shut(c);
}

/* ---- what comes and goes ---- */

static void relieve(struct hec_door *d)
{
	struct hec_connection *c, *longest = NULL;

	LIST_FOREACH(c, &d->connections, all)
	if (c->request_bytes && !c->shut && (!longest || c->request_mono < longest->request_mono))
		longest = c;
	if (!longest)
		return;
	hec_refuse(longest, "request_refused",
	           "requests that have not come whole fill the memory there is for them; this one "
	           "has taken longest");
	d->buffered -= longest->request_bytes;
	longest->request_bytes = 0;
	hec_shut(longest);
}

static void on_input(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct hec_connection *c = arg;
	struct hec_door *d = c->door;
	size_t most = d->port->listener->config->body_max + HEADERS_MAX;

	(void)buffer;
	if (info->n_added == 0 || c->shut)
		return;
	c->spoken = true;
	if (c->request_bytes == 0 && !c->asked) {
		c->request_mono = clock_mono();
		hec_arm(c, HEC_UNTIL_REQUEST);
	}
	/* What is longer libevent does not keep. */
	size_t n = info->n_added;
	if (c->request_bytes + n > most)
		n = most > c->request_bytes ? most - c->request_bytes : 0;
	c->request_bytes += n;
	d->buffered += n;
	if (d->buffered > BUFFERED_MAX)
		relieve(d);
}

/* libevent writes by itself only "100 Continue", and refusals. */
static void on_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct hec_connection *c = arg;
	char head[16] = "", reason[REASON_MAX];

	if (info->n_added == 0 || c->answering || c->refused)
		return;
	ssize_t n = evbuffer_copyout(buffer, head, sizeof(head) - 1);
	if (n < 12 || strncmp(head + 9, "100", 3) == 0)
		return;
	c->refused = true;
	if (strncmp(head + 9, "413", 3) == 0)
		snprintf(reason, sizeof(reason), "a request of more than %llu bytes (body_max)",
		         (unsigned long long)c->door->port->listener->config->body_max);
	else
		snprintf(reason, sizeof(reason), "no HTTP request that can be read (status %.3s)",
		         head + 9);
	hec_refuse(c, "request_refused", reason);
}

/* ---- life ---- */

static struct str key_of(const struct evhttp_connection *const *evhttp)
{
	return str_make((const char *)evhttp, sizeof(*evhttp));
}

static void report_tls(struct hec_connection *c)
{
	struct port *p = c->door->port;
	char reason[REASON_MAX];

	if (!p->listener->tls || c->spoken || c->shut)
		return;
	tls_bufferevent_error(c->bev, reason, sizeof(reason));
	if (!reason[0])
		return;
	log_warning("listener %s: TLS with %s failed: %s", p->listener->config->name, c->peer_text,
	            reason);
	count_add(&p->counts->tls_failures, 1);
	worker_report(p->worker, "tls_failed", p->listener, (struct sockaddr *)&c->peer, reason);
}

static void on_close(struct evhttp_connection *evhttp, void *arg)
{
	struct hec_connection *c = arg;
	struct hec_door *d = c->door;
	struct hec_wait *w;

	report_tls(c);
	LIST_FOREACH(w, &d->waits, link)
	if (w->connection == c)
		w->connection = NULL;
	map_remove(&d->by_evhttp, key_of(&(const struct evhttp_connection *){evhttp}));
	LIST_REMOVE(c, all);
	evtimer_del(&c->timer);
	event_del(&c->admit);
	d->buffered -= c->request_bytes;
	if (c->admitted) {
		atomic_fetch_sub(&d->port->worker->shared->connections, 1);
		count_add(&d->port->counts->connections, UINT64_MAX); /* one less */
	}
	evbuffer_remove_cb(bufferevent_get_input(c->bev), on_input, c);
	evbuffer_remove_cb(bufferevent_get_output(c->bev), on_output, c);
	free(c);
}

static void admit(struct hec_connection *c)
{
	struct port *p = c->door->port;
	struct worker *w = p->worker;
	uint64_t max = w->shared->config->connections_max;
	char reason[REASON_MAX];
	int on = 1;

	if (atomic_fetch_add(&w->shared->connections, 1) >= max) {
		atomic_fetch_sub(&w->shared->connections, 1);
		snprintf(reason, sizeof(reason), "%llu connections are open (connections_max)",
		         (unsigned long long)max);
		count_add(&p->counts->connections_refused[REFUSED_CONNECTIONS_MAX], 1);
		hec_refuse(c, "connection_refused", reason);
		hec_shut(c);
		return;
	}
	c->admitted = true;
	count_add(&p->counts->accepted, 1);
	count_add(&p->counts->connections, 1);
	worker_accepted(w);
	/* A peer that lost power must not hold its place for ever. */
	(void)setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	hec_arm(c, p->listener->tls ? HEC_UNTIL_HANDSHAKE : HEC_UNTIL_REQUEST);
}

/* libevent has the socket now, and its connection stands behind the bufferevent's callbacks. */
static void on_admit(evutil_socket_t fd, short what, void *arg)
{
	struct hec_connection *c = arg;
	socklen_t length = sizeof(c->peer);
	void *evhttp = NULL;

	(void)fd;
	(void)what;
	bufferevent_getcb(c->bev, NULL, NULL, NULL, &evhttp);
	bufferevent_decref(c->bev);
	c->evhttp = evhttp;
	map_put(&c->door->by_evhttp, key_of(&(const struct evhttp_connection *){evhttp}), c);
	evhttp_connection_set_closecb(c->evhttp, on_close, c);
	if (getpeername(bufferevent_getfd(c->bev), (struct sockaddr *)&c->peer, &length) < 0)
		c->peer.ss_family = AF_UNSPEC; /* it is gone already */
	net_text((struct sockaddr *)&c->peer, c->peer_text);
	net_host((struct sockaddr *)&c->peer, c->host);
	admit(c);
}

static struct bufferevent *new_connection(struct event_base *base, void *arg)
{
	struct hec_door *d = arg;
	struct hec_connection *c = xcalloc(1, sizeof(*c));

	c->door = d;
	c->bev = d->port->listener->tls
	                 ? tls_bufferevent(base, d->port->listener->tls, -1, true, NULL)
	                 : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev)
		abort();
	LIST_INSERT_HEAD(&d->connections, c, all);
	evbuffer_add_cb(bufferevent_get_input(c->bev), on_input, c);
	evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c);
	evtimer_assign(&c->timer, base, on_timer, c);
	event_assign(&c->admit, base, -1, 0, on_admit, c);
	bufferevent_incref(c->bev);
	event_active(&c->admit, EV_TIMEOUT, 0);
	return c->bev;
}

/* accept(2) has failed. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct hec_door *d = arg;

	(void)listener;
	worker_pause_accepting(d->port->worker, strerror(errno));
}

static struct evconnlistener *listener_of(const struct hec_door *d)
{
	return evhttp_bound_socket_get_listener(d->bound);
}

int hec_open(struct port *p)
{
	struct hec_door *d = p->hec = xcalloc(1, sizeof(*d));
	const struct listener_config *c = p->listener->config;
	/* One of its own: the port's is closed with the listener. */
	int fd = dup(p->fd);

	d->port = p;
	map_init(&d->by_evhttp);
	buf_init(&d->expanded, c->expanded_max);
	buf_init(&d->meta, 0);
	d->reader = hec_reader_new();
	d->http = evhttp_new(p->worker->base);
	if (!d->http || fd < 0)
		return -ENOMEM;
	evhttp_set_bevcb(d->http, new_connection, d);
	evhttp_set_gencb(d->http, hec_on_request, d);
	evhttp_set_allowed_methods(d->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
	                                            EVHTTP_REQ_PUT | EVHTTP_REQ_OPTIONS);
	evhttp_set_max_headers_size(d->http, HEADERS_MAX);
	evhttp_set_max_body_size(d->http, (ev_ssize_t)c->body_max);
	evhttp_set_flags(d->http, EVHTTP_SERVER_LINGERING_CLOSE);
	/* Longer than ours, which know what they wait for. */
	evhttp_set_timeout(d->http, INT32_MAX);
	d->bound = evhttp_accept_socket_with_handle(d->http, fd);
	if (!d->bound)
		return -ENOMEM;
	evconnlistener_set_error_cb(listener_of(d), on_accept_error);
	return 0;
}

void hec_pause(struct port *p, bool pause)
{
	if (!p->hec || !p->hec->bound)
		return;
	if (pause)
		evconnlistener_disable(listener_of(p->hec));
	else
		evconnlistener_enable(listener_of(p->hec));
}

void hec_stop(struct port *p)
{
	struct hec_door *d = p->hec;

	if (!d)
		return;
	d->stopping = true;
	if (d->bound)
		evhttp_del_accept_socket(d->http, d->bound);
	d->bound = NULL;
}

static bool has_output(const struct hec_door *d)
{
	const struct hec_connection *c;

	LIST_FOREACH(c, &d->connections, all)
	if (c->answering)
		return true;
	return false;
}

void hec_close(struct port *p)
{
	struct hec_door *d = p->hec;

	if (!d)
		return;
	for (int i = 0; i < LAST_TURNS && has_output(d); i++)
		event_base_loop(p->worker->base, EVLOOP_NONBLOCK);
	hec_forget_waits(d);
	if (d->http)
		evhttp_free(d->http);
	map_release(&d->by_evhttp, NULL);
	hec_reader_free(d->reader);
	buf_release(&d->expanded);
	buf_release(&d->meta);
	free(d);
	p->hec = NULL;
}
