/* libevent's server accepts, parses and answers. What it does not do is here: it knows no limit on connections, none on
 * the time that a request may take in all (its time-out begins anew with every byte) or on the memory of all requests
 * together, and what it refuses itself it tells nobody. So each connection's buffers are watched: the first byte of a
 * request starts a clock that only the whole request stops; bytes are added up over all connections, and when they are too
 * many the one that has been at it longest must go (it is hardly an honest one: those take milliseconds); and when
 * something goes out that nobody has answered, libevent is refusing something.
 *
 * libevent asks for a bufferevent before it knows the socket; so a connection is admitted, or shut, one step later, when
 * the loop comes to it. Then the bufferevent's callbacks carry libevent's own connection, which tells when it is freed. */
#include "base/httpd.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/tls.h"

#define FLUSH_TURNS 64 /* of the loop, for the last answers to go out */
#define REASON_MAX  256
#define HEAD_BYTES  12 /* "HTTP/1.1 100": as much of an answer as is looked at */

/* What a connection's timer waits for. */
enum deadline {
	UNTIL_NEVER,
	UNTIL_HANDSHAKE,
	UNTIL_REQUEST, /* … has come whole */
	UNTIL_ANSWERED,
	UNTIL_IDLE,
};

struct connection {
	struct httpd_connection seen; /* by the user; first, so that one is the other */
	LIST_ENTRY(connection) all;
	struct httpd *httpd;
	struct bufferevent *bev;
	struct event admit, timer;
	enum deadline deadline;
	bool admitted;
	bool shut;             /* it ends */
	bool spoken;           /* something has come: TLS has shaken hands */
	bool answering;        /* what goes out is ours */
	bool refused;          /* what goes out is libevent's own refusal, and was told */
	size_t request_bytes;  /* of the request that is coming */
	uint64_t request_mono; /* when it began */
	uint64_t requests;
};
LIST_HEAD(connection_list, connection);

struct httpd {
	struct httpd_options o;
	struct evhttp *http;
	struct evhttp_bound_socket *bound;
	struct connection_list connections;
	struct map by_evhttp; /* struct connection by the pointer of libevent's */
	size_t buffered;
	bool stopping;
	struct httpd *next; /* of this thread */
};

/* libevent tells of a failed accept(2) with nothing but its listener: here is whose that is. */
static _Thread_local struct httpd *servers;

/* ---- the end of a connection ---- */

/* libevent sees the end and frees it: on_close. */
static void shut(struct connection *c)
{
	evutil_socket_t fd = bufferevent_getfd(c->bev);

	c->shut = true;
	evtimer_del(&c->timer);
	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
	bufferevent_enable(c->bev, EV_READ);
}

static void refuse(struct connection *c, enum httpd_trouble trouble, const char *reason)
{
	struct httpd *h = c->httpd;

	h->o.refused(h->o.arg, &c->seen, trouble, reason);
}

/* ---- time ---- */

static void arm(struct connection *c, enum deadline deadline)
{
	const struct httpd_options *o = &c->httpd->o;
	const uint64_t patience[] = {
		[UNTIL_NEVER] = 0,
		[UNTIL_HANDSHAKE] = o->handshake_ns,
		[UNTIL_REQUEST] = o->request_ns,
		[UNTIL_ANSWERED] = o->request_ns,
		[UNTIL_IDLE] = o->idle_ns,
	};
	uint64_t ns = patience[deadline];
	const struct timeval tv = {.tv_sec = (time_t)(ns / NS_PER_SECOND),
	                           .tv_usec = (suseconds_t)(ns % NS_PER_SECOND / 1000)};

	c->deadline = deadline;
	evtimer_del(&c->timer);
	if (ns && !c->shut)
		evtimer_add(&c->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	struct httpd *h = c->httpd;

	(void)fd;
	(void)what;
	if (c->deadline == UNTIL_HANDSHAKE)
		refuse(c, HTTPD_TLS, "the handshake was not finished in time");
	else if (c->deadline == UNTIL_REQUEST)
		refuse(c, HTTPD_REQUEST,
		       "the request did not come whole in time (request_timeout)");
	else if (c->deadline == UNTIL_ANSWERED)
		refuse(c, HTTPD_REQUEST, "the peer does not read its answers");
	else if (h->o.silent)
		h->o.silent(h->o.arg, &c->seen);
	shut(c);
}

static void begin_request(struct connection *c)
{
	c->request_mono = clock_mono();
	arm(c, UNTIL_REQUEST);
}

/* ---- what comes and goes ---- */

static void relieve(struct httpd *h)
{
	struct connection *c, *longest = NULL;

	LIST_FOREACH(c, &h->connections, all)
	if (c->request_bytes && !c->shut && (!longest || c->request_mono < longest->request_mono))
		longest = c;
	if (!longest)
		return;
	refuse(longest, HTTPD_REQUEST,
	       "requests that have not come whole fill the memory there is for them, and this one "
	       "has taken longest");
	h->buffered -= longest->request_bytes;
	longest->request_bytes = 0;
	shut(longest);
}

static void on_input(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct connection *c = arg;
	struct httpd *h = c->httpd;
	size_t most = h->o.body_max + h->o.head_max, n = info->n_added;

	(void)buffer;
	if (n == 0 || c->shut)
		return;
	c->spoken = true;
	if (c->request_bytes == 0 && !c->seen.asked)
		begin_request(c);
	/* What is longer libevent does not keep. */
	if (n > most - c->request_bytes)
		n = most - c->request_bytes;
	c->request_bytes += n;
	h->buffered += n;
	if (h->buffered > h->o.buffered_max)
		relieve(h);
}

/* libevent writes by itself only "100 Continue", and refusals. */
static void on_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct connection *c = arg;
	char head[HEAD_BYTES + 1] = "", reason[REASON_MAX];
	const char *status = head + HEAD_BYTES - 3;

	if (info->n_added == 0 || c->answering || c->refused ||
	    evbuffer_copyout(buffer, head, HEAD_BYTES) < HEAD_BYTES || strcmp(status, "100") == 0)
		return;
	c->refused = true;
	if (strcmp(status, "413") == 0)
		snprintf(reason, sizeof(reason), "a request of more than %zu bytes (body_max)",
		         c->httpd->o.body_max);
	else
		snprintf(reason, sizeof(reason), "no HTTP request that can be taken (status %s)",
		         status);
	refuse(c, HTTPD_REQUEST, reason);
}

/* ---- life of a connection ---- */

static struct str key_of(struct evhttp_connection *const *evhttp)
{
	return str_make((const char *)evhttp, sizeof(*evhttp));
}

static void report_tls(struct connection *c)
{
	char reason[REASON_MAX];

	if (!c->httpd->o.tls || c->spoken || c->shut)
		return;
	tls_bufferevent_error(c->bev, reason, sizeof(reason));
	if (reason[0])
		refuse(c, HTTPD_TLS, reason);
}

static void on_close(struct evhttp_connection *evhttp, void *arg)
{
	struct connection *c = arg;
	struct httpd *h = c->httpd;

	report_tls(c);
	map_remove(&h->by_evhttp, key_of(&evhttp));
	LIST_REMOVE(c, all);
	evtimer_del(&c->timer);
	h->buffered -= c->request_bytes;
	evbuffer_remove_cb(bufferevent_get_input(c->bev), on_input, c);
	evbuffer_remove_cb(bufferevent_get_output(c->bev), on_output, c);
	if (c->admitted)
		h->o.closed(h->o.arg, &c->seen);
	free(c);
}

/* libevent has the socket now, and its connection stands behind the bufferevent's callbacks. */
static void on_admit(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	struct httpd *h = c->httpd;
	const struct sockaddr *peer = (struct sockaddr *)&c->seen.peer;
	socklen_t length = sizeof(c->seen.peer);
	char reason[REASON_MAX] = "";
	void *evhttp = NULL;
	int on = 1;

	(void)what;
	bufferevent_getcb(c->bev, NULL, NULL, NULL, &evhttp);
	bufferevent_decref(c->bev);
	map_put(&h->by_evhttp, key_of(&(struct evhttp_connection *){evhttp}), c);
	evhttp_connection_set_closecb(evhttp, on_close, c);
	fd = bufferevent_getfd(c->bev);
	if (getpeername(fd, (struct sockaddr *)&c->seen.peer, &length) < 0)
		c->seen.peer.ss_family = AF_UNSPEC; /* it is gone already */
	net_text(peer, c->seen.peer_text);
	net_host(peer, c->seen.host);
	c->admitted = h->o.admit(h->o.arg, &c->seen, fd, reason, sizeof(reason));
	if (!c->admitted) {
		refuse(c, HTTPD_CONNECTION, reason);
		shut(c);
		return;
	}
	/* A peer that lost power must not hold its place for ever. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	arm(c, h->o.tls ? UNTIL_HANDSHAKE : UNTIL_REQUEST);
}

static struct bufferevent *new_connection(struct event_base *base, void *arg)
{
	struct httpd *h = arg;
	struct connection *c = xcalloc(1, sizeof(*c));

	c->httpd = h;
	struct tls_context *tls = h->o.tls ? h->o.tls(h->o.arg) : NULL;
	c->bev = tls ? tls_bufferevent(base, tls, -1, true, NULL)
	             : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	tls_context_unref(tls);
	if (!c->bev)
		abort();
	LIST_INSERT_HEAD(&h->connections, c, all);
	evbuffer_add_cb(bufferevent_get_input(c->bev), on_input, c);
	evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c);
	evtimer_assign(&c->timer, base, on_timer, c);
	event_assign(&c->admit, base, -1, 0, on_admit, c);
	bufferevent_incref(c->bev);
	event_active(&c->admit, EV_TIMEOUT, 0);
	return c->bev;
}

/* ---- requests and answers ---- */

static void on_request(struct evhttp_request *http, void *arg)
{
	struct httpd *h = arg;
	struct evhttp_connection *evhttp = evhttp_request_get_connection(http);
	struct connection *c = map_get(&h->by_evhttp, key_of(&evhttp));

	if (!c) {
		evhttp_send_error(http, HTTP_INTERNAL, NULL);
		return;
	}
	h->buffered -= c->request_bytes;
	c->request_bytes = 0;
	c->requests++;
	c->seen.asked = http;
	arm(c, UNTIL_NEVER);
	h->o.request(h->o.arg, &c->seen);
}

static void on_complete(struct evhttp_request *http, void *arg)
{
	struct connection *c = arg;

	(void)http;
	c->answering = false;
	/* The next request may have begun to come before. */
	if (evbuffer_get_length(bufferevent_get_input(c->bev)) > 0)
		begin_request(c);
	else
		arm(c, UNTIL_IDLE);
}

void httpd_answer(struct httpd_connection *seen, int status, const char *type,
                  struct evbuffer *body, bool close)
{
	struct connection *c = (struct connection *)seen;
	struct evhttp_request *http = seen->asked;
	struct evkeyvalq *headers = evhttp_request_get_output_headers(http);

	seen->asked = NULL;
	c->answering = true;
	evhttp_add_header(headers, "Content-Type", type);
	if (close || c->httpd->stopping || c->requests >= c->httpd->o.requests_max)
		evhttp_add_header(headers, "Connection", "close");
	evhttp_request_set_on_complete_cb(http, on_complete, c);
	arm(c, UNTIL_ANSWERED);
	evhttp_send_reply(http, status, NULL, body);
}

/* ---- the server ---- */

static struct evconnlistener *listener_of(const struct httpd *h)
{
	return evhttp_bound_socket_get_listener(h->bound);
}

static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct httpd *h = servers;
	int error = errno;

	(void)arg; /* libevent's own */
	while (h && (!h->bound || listener_of(h) != listener))
		h = h->next;
	if (h)
		h->o.exhausted(h->o.arg, error);
}

static bool listen_on(struct httpd *h, int fd)
{
	int own = dup(fd);

	if (own < 0)
		return false;
	h->bound = evhttp_accept_socket_with_handle(h->http, own);
	if (!h->bound)
		close(own);
	return h->bound;
}

struct httpd *httpd_new(const struct httpd_options *o, int fd)
{
	struct httpd *h = xcalloc(1, sizeof(*h));

	h->o = *o;
	h->next = servers;
	servers = h;
	LIST_INIT(&h->connections);
	map_init(&h->by_evhttp);
	h->http = evhttp_new(o->base);
	if (!h->http || !listen_on(h, fd)) {
		httpd_free(h);
		return NULL;
	}
	evhttp_set_bevcb(h->http, new_connection, h);
	evhttp_set_gencb(h->http, on_request, h);
	evhttp_set_allowed_methods(h->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
	                                            EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
	                                            EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	evhttp_set_max_headers_size(h->http, (ev_ssize_t)o->head_max);
	evhttp_set_max_body_size(h->http, (ev_ssize_t)o->body_max);
	evhttp_set_flags(h->http, EVHTTP_SERVER_LINGERING_CLOSE);
	/* Longer than ours, which know what they wait for. */
	evhttp_set_timeout(h->http, INT32_MAX);
	evconnlistener_set_error_cb(listener_of(h), on_accept_error);
	return h;
}

void httpd_pause(struct httpd *h, bool pause)
{
	if (!h->bound)
		return;
	if (pause)
		evconnlistener_disable(listener_of(h));
	else
		evconnlistener_enable(listener_of(h));
}

void httpd_stop(struct httpd *h)
{
	h->stopping = true;
	if (h->bound)
		evhttp_del_accept_socket(h->http, h->bound);
	h->bound = NULL;
}

static bool is_answering(const struct httpd *h)
{
	const struct connection *c;

	LIST_FOREACH(c, &h->connections, all)
	if (c->answering)
		return true;
	return false;
}

void httpd_flush(struct httpd *h)
{
	for (int i = 0; i < FLUSH_TURNS && is_answering(h); i++)
		event_base_loop(h->o.base, EVLOOP_NONBLOCK);
}

void httpd_free(struct httpd *h)
{
	struct httpd **at = &servers;

	if (!h)
		return;
	while (*at && *at != h)
		at = &(*at)->next;
	if (*at)
		*at = h->next;
	if (h->http)
		evhttp_free(h->http);
	map_release(&h->by_evhttp, NULL);
	free(h);
}
