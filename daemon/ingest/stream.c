/* TCP and TLS connections. Bytes are read into the worker's one large buffer and frames are taken in place; only an
 * incomplete rest is copied to the connection's own buffer, which is freed when empty, so that ten thousand idle
 * connections hold nothing but their structs. A short read behind a long rest is appended to the rest instead, so that
 * the cost stays linear in what arrives however small the pieces are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "ingest/framing.h"
#include "ingest/worker.h"

#define ACCEPT_BATCH 64 /* connections taken per wake-up: others wait their turn */
#define FINISH_READS                                                                               \
	64 /* reads per connection at the end: 8 MiB, more than a socket buffer holds */
#define SAMPLE_BYTES 24 /* of what could not be framed, in the log */
#define REASON_MAX   256

struct connection {
	LIST_ENTRY(connection) all;
	TAILQ_ENTRY(connection) unread;
	bool is_unread;
	bool open;   /* TLS: the handshake is done */
	short waits; /* what `io` is armed for */
	int fd;
	struct worker *worker;
	struct port *port;
	struct tls *tls;
	struct framing framing;
	struct buf rest;  /* of an incomplete frame */
	uint64_t last_ns; /* clock_mono() of the last input */
	struct event io, timer;
	struct sockaddr_storage peer;
	char peer_text[NET_TEXT_MAX];
	char source[]; /* LISTENER/ADDRESS */
};

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

/* ---- life ---- */

static void wait_for(struct connection *c, short what)
{
	if (c->waits == what)
		return;
	if (c->waits)
		event_del(&c->io);
	c->waits = what;
	event_assign(&c->io, c->worker->base, c->fd, (short)(what | EV_PERSIST), on_io, c);
	event_add(&c->io, NULL);
}

static void mark_unread(struct connection *c, bool unread)
{
	if (c->is_unread == unread)
		return;
	c->is_unread = unread;
	if (unread)
		TAILQ_INSERT_TAIL(&c->worker->unread, c, unread);
	else
		TAILQ_REMOVE(&c->worker->unread, c, unread);
}

static void connection_close(struct connection *c)
{
	struct listener_counts *counts = c->port->counts;

	mark_unread(c, false);
	LIST_REMOVE(c, all);
	if (c->waits)
		event_del(&c->io);
	event_del(&c->timer);
	tls_free(c->tls);
	close(c->fd);
	buf_release(&c->rest);
	atomic_fetch_sub(&c->worker->shared->connections, 1);
	count_add(&counts->connections, UINT64_MAX); /* one less */
	free(c);
}

static void connection_new(struct port *port, int fd, const struct sockaddr_storage *peer)
{
	struct worker *w = port->worker;
	const char *listener = port->listener->config->name;
	char host[NET_TEXT_MAX];
	size_t size = strlen(listener) + sizeof(host) + 2;
	struct connection *c = xcalloc(1, sizeof(*c) + size);

	c->worker = w;
	c->port = port;
	c->fd = fd;
	c->peer = *peer;
	snprintf(c->source, size, "%s/%s", listener, net_host((const struct sockaddr *)peer, host));
	net_text((const struct sockaddr *)peer, c->peer_text);
	framing_init(&c->framing, w->shared->config->frame_max);
	buf_init(&c->rest, 0); /* framing bounds it: w->headroom */
	if (port->listener->tls)
		c->tls = tls_new(port->listener->tls, fd, NULL);
	c->open = !c->tls;
	c->last_ns = clock_mono();
	LIST_INSERT_HEAD(&w->connections, c, all);
	evtimer_assign(&c->timer, w->base, on_timer, c);
	const struct timeval *timeout = c->tls ? w->handshake_timeout : w->idle_timeout;
	if (timeout)
		evtimer_add(&c->timer, timeout);
	count_add(&port->counts->accepted, 1);
	count_add(&port->counts->connections, 1);
	wait_for(c, EV_READ);
}

/* ---- frames ---- */

static void frame(struct connection *c, uint64_t now_ns, struct str f, bool truncated)
{
	worker_frame(c->worker, c->port->counts, str_of(c->source), now_ns, f, truncated);
}

static void lose_framing(struct connection *c, struct str at)
{
	char sample[4 * SAMPLE_BYTES + 8], reason[REASON_MAX];

	snprintf(reason, sizeof(reason), "no frame can begin with \"%s\"",
	         log_escape(str_head(at, SAMPLE_BYTES), sample, sizeof(sample)));
	log_warning("listener %s: %s: framing is lost: %s; connection closed",
	            c->port->listener->config->name, c->peer_text, reason);
	worker_lost(c->worker, c->port->counts, str_of(c->source), LOSS_FRAMING, 1);
	worker_report(c->worker, "framing_lost", c->port->listener, (struct sockaddr *)&c->peer,
	              reason);
	connection_close(c);
}

/* Where the frames are looked for: `n` new bytes stand in the worker's buffer behind its headroom. *ret_in_rest:
 * they have been appended to the rest. */
static struct str join(struct connection *c, size_t n, bool *ret_in_rest)
{
	char *new = c->worker->read_buffer + c->worker->headroom;
	size_t before = c->rest.n;

	*ret_in_rest = before > n;
	if (*ret_in_rest) {
		buf_append(&c->rest, new, n);
		return buf_str(&c->rest);
	}
	if (before)
		memcpy(new - before, c->rest.p, before);
	return str_make(new - before, before + n);
}

static void keep_rest(struct connection *c, struct str left, bool in_rest)
{
	if (left.n == 0) {
		buf_release(&c->rest);
	} else if (in_rest) {
		buf_consume(&c->rest, c->rest.n - left.n);
	} else {
		buf_reset(&c->rest);
		buf_add(&c->rest, left);
	}
}

/* Takes the frames out of `n` new bytes. False: the connection is gone. */
static bool feed(struct connection *c, size_t n)
{
	uint64_t now = worker_now(c->worker);
	bool in_rest, truncated;
	struct str in = join(c, n, &in_rest), f;
	enum framing_result r;
	size_t used;

	while ((r = framing_next(&c->framing, in, &used, &f, &truncated)) == FRAMING_FRAME) {
		frame(c, now, f, truncated);
		in = str_skip(in, used);
	}
	in = str_skip(in, used);
	if (r == FRAMING_LOST) {
		lose_framing(c, in);
		return false;
	}
	keep_rest(c, in, in_rest);
	return true;
}

/* ---- reading ---- */

static ssize_t receive_tls(struct connection *c, char *p, size_t size)
{
	size_t n = 0;
	ssize_t r = 0;

	while (n < size && (r = tls_read(c->tls, p + n, size - n)) > 0)
		n += (size_t)r;
	/* OpenSSL may hold more, or the end: the kernel will not tell of it again. */
	mark_unread(c, n > 0 && r != -EAGAIN);
	return n ? (ssize_t)n : r;
}

/* n > 0, or -EAGAIN, -EPIPE at the end, -errno. */
static ssize_t receive(struct connection *c, char *p, size_t size)
{
	if (c->tls)
		return receive_tls(c, p, size);
	ssize_t n = read(c->fd, p, size);
	if (n > 0)
		return n;
	if (n == 0)
		return -EPIPE;
	return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static void fail_tls(struct connection *c, const char *reason)
{
	log_warning("listener %s: TLS with %s failed: %s", c->port->listener->config->name,
	            c->peer_text, reason);
	count_add(&c->port->counts->tls_failures, 1);
	worker_report(c->worker, "tls_failed", c->port->listener, (struct sockaddr *)&c->peer,
	              reason);
}

/* The stream is over; `why` is -EPIPE when it ended in order. What has arrived still counts. */
static void end(struct connection *c, int why)
{
	struct str f;
	bool truncated;

	if (framing_end(&c->framing, buf_str(&c->rest), &f, &truncated))
		frame(c, worker_now(c->worker), f, truncated || why != -EPIPE);
	if (why == -EPROTO)
		fail_tls(c, tls_error(c->tls));
	else if (why != -EPIPE)
		log_notice("listener %s: %s: the connection broke off: %s",
		           c->port->listener->config->name, c->peer_text, strerror(-why));
	connection_close(c);
}

enum read_result { READ_SOME, READ_NONE, READ_CLOSED };

static enum read_result read_once(struct connection *c)
{
	struct worker *w = c->worker;
	ssize_t n = receive(c, w->read_buffer + w->headroom, READ_BYTES);

	if (n == -EAGAIN) {
		wait_for(c, c->tls ? tls_wants(c->tls) : EV_READ);
		return READ_NONE;
	}
	if (n < 0) {
		end(c, (int)n);
		return READ_CLOSED;
	}
	c->last_ns = clock_mono();
	if (!feed(c, (size_t)n))
		return READ_CLOSED;
	if (c->waits != EV_READ)
		wait_for(c, EV_READ);
	return READ_SOME;
}

/* ---- TLS handshake ---- */

static void log_handshake(const struct connection *c)
{
	char name[REASON_MAX];
	bool known = tls_peer_name(c->tls, name, sizeof(name));

	log_info("listener %s: %s connected%s%s", c->port->listener->config->name, c->peer_text,
	         known ? " as " : "", known ? name : "");
}

static void shake_hands(struct connection *c)
{
	int r = tls_handshake(c->tls);

	if (r == -EAGAIN) {
		wait_for(c, tls_wants(c->tls));
		return;
	}
	if (r < 0) {
		const char *reason = tls_error(c->tls);
		fail_tls(c, reason[0] ? reason : "the peer went away during the handshake");
		connection_close(c);
		return;
	}
	c->open = true;
	c->last_ns = clock_mono();
	evtimer_del(&c->timer);
	if (c->worker->idle_timeout)
		evtimer_add(&c->timer, c->worker->idle_timeout);
	log_handshake(c);
	/* The first frames may have come along with the end of the handshake. */
	read_once(c);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;

	(void)fd;
	(void)what;
	if (c->open)
		read_once(c);
	else
		shake_hands(c);
}

/* Input does not touch the timer: it looks, when it fires, how long the silence is. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	struct worker *w = c->worker;
	const struct config *config = w->shared->config;
	uint64_t limit = c->open ? config->idle_timeout_ns : config->handshake_timeout_ns;
	uint64_t since = c->last_ns > w->stall_end ? c->last_ns : w->stall_end;
	uint64_t silence = clock_mono() - since;

	(void)fd;
	(void)what;
	if (silence < limit) {
		struct timeval left = timeval_of(limit - silence + NS_PER_MS);
		evtimer_add(&c->timer, &left);
		return;
	}
	if (c->open) {
		log_info("listener %s: %s: silent for too long; connection closed",
		         c->port->listener->config->name, c->peer_text);
		end(c, -EPIPE);
	} else {
		fail_tls(c, "the handshake was not finished in time");
		connection_close(c);
	}
}

void stream_read_unread(struct worker *w)
{
	struct connection *last = TAILQ_LAST(&w->unread, connection_queue), *c;

	/* Those that stay unread queue up behind `last`. */
	while ((c = TAILQ_FIRST(&w->unread))) {
		bool was_last = c == last;
		TAILQ_REMOVE(&w->unread, c, unread);
		c->is_unread = false;
		read_once(c);
		if (was_last)
			break;
	}
}

void stream_finish_all(struct worker *w)
{
	struct connection *c, *next;

	for (c = LIST_FIRST(&w->connections); c; c = next) {
		enum read_result r = c->open ? READ_SOME : READ_NONE;
		next = LIST_NEXT(c, all);
		for (int i = 0; i < FINISH_READS && r == READ_SOME; i++)
			r = read_once(c);
		if (r != READ_CLOSED)
			end(c, c->rest.n ? -ESHUTDOWN : -EPIPE);
	}
}

/* ---- accepting ---- */

/* True if there may be one more connection; it is counted then. */
static bool admit(struct port *p, int fd, const struct sockaddr_storage *peer)
{
	struct worker *w = p->worker;
	uint64_t max = w->shared->config->connections_max;
	char text[NET_TEXT_MAX], reason[REASON_MAX];

	if (atomic_fetch_add(&w->shared->connections, 1) < max)
		return true;
	atomic_fetch_sub(&w->shared->connections, 1);
	count_add(&p->counts->refused, 1);
	snprintf(reason, sizeof(reason), "%llu connections are open (connections_max)",
	         (unsigned long long)max);
	log_warning("listener %s: connection from %s refused: %s", p->listener->config->name,
	            net_text((const struct sockaddr *)peer, text), reason);
	worker_report(w, "connection_refused", p->listener, (const struct sockaddr *)peer, reason);
	close(fd);
	return false;
}

static bool no_resources(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Rotation of evidence, plugins and isoctl need some too. */
static bool has_descriptors(const struct worker *w)
{
	const struct ingest_shared *s = w->shared;

	return s->descriptors >= s->config->connections_max ||
	       atomic_load(&s->connections) < s->descriptors;
}

void stream_accept(evutil_socket_t fd, short what, void *arg)
{
	struct port *p = arg;

	(void)what;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		if (!has_descriptors(p->worker)) {
			worker_pause_accepting(p->worker, "no files are left for them");
			return;
		}
		struct sockaddr_storage peer = {0};
		socklen_t length = sizeof(peer);
		int s = accept4(fd, (struct sockaddr *)&peer, &length,
		                SOCK_NONBLOCK | SOCK_CLOEXEC);
		int on = 1;
		if (s < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (s < 0 && no_resources(errno)) {
			worker_pause_accepting(p->worker, strerror(errno));
			return;
		}
		if (s < 0)
			continue; /* that one connection is gone already (accept(2)) */
		worker_accepted(p->worker);
		/* A peer that lost power must not hold its place for ever. */
		(void)setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		if (admit(p, s, &peer))
			connection_new(p, s, &peer);
	}
}
