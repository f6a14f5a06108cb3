#include "ingest/hec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

#define HEAD_MAX 16384 /* bytes of a request's head: forwarders send less than one KiB */
#define BUFFERED_MAX                                                                               \
	((size_t)128 << 20) /* of all requests of one worker that have not come whole */
#define REQUESTS_MAX 100000 /* of one connection; then it is closed, and its peer spread anew */

/* ---- what is refused ---- */

void hec_refuse(struct hec_door *d, const struct httpd_connection *c, const char *what,
                const char *reason)
{
	struct port *p = d->port;

	log_warning("listener %s: %s: refused: %s", p->listener->config->name, c->peer_text,
	            reason);
	count_add(&p->counts->refused, 1);
	worker_report(p->worker, what, p->listener, (const struct sockaddr *)&c->peer, reason);
}

static void on_refused(void *arg, const struct httpd_connection *c, enum httpd_trouble trouble,
                       const char *reason)
{
	struct hec_door *d = arg;
	struct port *p = d->port;

	if (trouble != HTTPD_TLS) {
		hec_refuse(d, c,
		           trouble == HTTPD_CONNECTION ? "connection_refused" : "request_refused",
		           reason);
		return;
	}
	log_warning("listener %s: TLS with %s failed: %s", p->listener->config->name, c->peer_text,
	            reason);
	count_add(&p->counts->tls_failures, 1);
	worker_report(p->worker, "tls_failed", p->listener, (const struct sockaddr *)&c->peer,
	              reason);
}

static void on_silent(void *arg, const struct httpd_connection *c)
{
	const struct hec_door *d = arg;

	log_info("listener %s: %s: silent for too long; connection closed",
	         d->port->listener->config->name, c->peer_text);
}

/* ---- connections ---- */

static bool on_admit(void *arg, struct httpd_connection *c, int fd, char *why, size_t why_size)
{
	struct hec_door *d = arg;
	struct port *p = d->port;
	struct peer *who;

	(void)fd;
	if (!accept_admit(p, (const struct sockaddr *)&c->peer, &who, why, why_size))
		return false;
	c->data = who;
	atomic_fetch_add(&p->worker->connection_count, 1);
	count_add(&p->counts->accepted, 1);
	count_add(&p->counts->connections, 1);
	worker_accepted(p->worker);
	accept_handshake(p);
	return true;
}

static void on_closed(void *arg, struct httpd_connection *c)
{
	struct hec_door *d = arg;
	struct worker *w = d->port->worker;

	hec_forget(d, c);
	atomic_fetch_sub(&w->connection_count, 1);
	accept_leave(w, c->data);
	count_add(&d->port->counts->connections, UINT64_MAX); /* one less */
}

static void on_exhausted(void *arg, int error)
{
	struct hec_door *d = arg;

	worker_pause_accepting(d->port->worker, strerror(error));
}

static void on_request(void *arg, struct httpd_connection *c)
{
	hec_request(arg, c);
}

static struct tls_context *on_tls(void *arg)
{
	struct hec_door *d = arg;
	return listener_tls(d->port->listener);
}

/* ---- life ---- */

int hec_open(struct port *p)
{
	const struct listener_config *c = p->listener->config;
	const struct config *config = p->worker->shared->config;
	struct hec_door *d = p->hec = xcalloc(1, sizeof(*d));
	const struct httpd_options options = {
		.base = p->worker->base,
		.tls = listener_has_tls(c) ? on_tls : NULL,
		.head_max = HEAD_MAX,
		.body_max = c->body_max,
		.buffered_max = BUFFERED_MAX,
		.requests_max = REQUESTS_MAX,
		.handshake_ns = config->handshake_timeout_ns,
		.request_ns = c->request_timeout_ns,
		.idle_ns = config->idle_timeout_ns,
		.admit = on_admit,
		.closed = on_closed,
		.refused = on_refused,
		.silent = on_silent,
		.exhausted = on_exhausted,
		.request = on_request,
		.arg = d,
	};

	d->port = p;
	buf_init(&d->expanded, c->expanded_max);
	buf_init(&d->meta, 0); /* hec_raw_meta bounds it */
	d->reader = hec_reader_new();
	d->httpd = httpd_new(&options, p->fd);
	return d->httpd ? 0 : -ENOMEM;
}

void hec_pause(struct port *p, bool pause)
{
	if (p->hec && p->hec->httpd)
		httpd_pause(p->hec->httpd, pause);
}

void hec_stop(struct port *p)
{
	struct hec_door *d = p->hec;

	if (!d)
		return;
	d->stopping = true;
	if (d->httpd)
		httpd_stop(d->httpd);
}

void hec_close(struct port *p)
{
	struct hec_door *d = p->hec;

	if (!d)
		return;
	if (d->httpd)
		httpd_flush(d->httpd);
	hec_forget_waits(d);
	httpd_free(d->httpd);
	hec_reader_free(d->reader);
	buf_release(&d->expanded);
	buf_release(&d->meta);
	free(d);
	p->hec = NULL;
}
