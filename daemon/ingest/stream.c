/* Connections over TCP or TLS, with syslog frames (RFC 6587, RFC 5425) or RELP in them. Bytes are read into the worker's one large buffer and frames are taken in place; only an
 * incomplete rest is copied to the connection's own buffer, which is freed when empty, so that ten thousand idle
 * connections hold nothing but their structs. A short read behind a long rest is appended to the rest instead, so that
 * the cost stays linear in what arrives however small the pieces are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "event/origin.h"
#include "ingest/connection.h"
#include "ingest/relp_session.h"

#define FINISH_READS                                                                               \
	64 /* reads per connection at the end: 8 MiB, more than a socket buffer holds */
#define SAMPLE_BYTES 24 /* of what could not be framed, in the log */
#define REASON_MAX   256

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
	if (!what)
		return;
	event_assign(&c->io, c->worker->base, c->fd, (short)(what | EV_PERSIST), on_io, c);
	event_add(&c->io, NULL);
}

/* A peer that does not read our answers is not read either, and nobody while detection is too far behind. */
static bool may_read(const struct connection *c)
{
	return !c->closing && !c->held_back && !atomic_load(&c->worker->streams_wait) &&
	       !(c->relp && relp_session_is_full(c->relp));
}

void stream_rearm(struct connection *c)
{
	short what = may_read(c) ? c->read_wants : 0;

	if (c->relp && relp_session_has_output(c->relp))
		what |= c->write_wants;
	wait_for(c, what);
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

/* The rest of a frame that has not come to its end is `bytes` long now. The worker's list has those with one in the order
 * in which their frames began; `new`: another frame than before. */
static void note_unfinished(struct connection *c, size_t bytes, bool new)
{
	struct worker *w = c->worker;

	atomic_fetch_add_explicit(&w->shared->unfinished, bytes - c->unfinished_bytes,
	                          memory_order_relaxed);
	if (c->unfinished_bytes && (new || bytes == 0))
		TAILQ_REMOVE(&w->unfinished, c, unfinished);
	if (bytes && (new || c->unfinished_bytes == 0)) {
		TAILQ_INSERT_TAIL(&w->unfinished, c, unfinished);
		c->began_ns = c->last_ns;
	}
	c->unfinished_bytes = bytes;
	if (bytes)
		timer_arm(&w->frame_timer, w->shared->config->frame_timeout_ns);
}

void stream_close(struct connection *c)
{
	struct listener_counts *counts = c->port->counts;

	mark_unread(c, false);
	note_unfinished(c, 0, false);
	LIST_REMOVE(c, all);
	if (c->waits)
		event_del(&c->io);
	event_del(&c->timer);
	relp_session_free(c->relp);
	tls_free(c->tls);
	free(c->identity);
	close(c->fd);
	buf_release(&c->rest);
	atomic_fetch_sub(&c->worker->shared->connections, 1);
	atomic_fetch_sub(&c->worker->connection_count, 1);
	peers_leave(c->worker->shared->peers, c->who);
	count_add(&counts->connections, UINT64_MAX); /* one less */
	free(c);
}

void stream_open(struct port *port, int fd, const struct sockaddr_storage *peer, struct peer *who)
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
	c->who = who;
	snprintf(c->source, size, "%s/%s", listener, net_host((const struct sockaddr *)peer, host));
	net_text((const struct sockaddr *)peer, c->peer_text);
	framing_init(&c->framing, w->shared->config->frame_max);
	buf_init(&c->rest, 0); /* the framing bounds it: w->headroom */
	if (listener_has_tls(port->listener->config)) {
		struct tls_context *tls = listener_tls(port->listener);
		c->tls = tls_new(tls, fd, NULL);
		tls_context_unref(tls);
	}
	if (listener_has_relp(port->listener->config))
		c->relp = relp_session_new(c);
	c->open = !c->tls;
	c->read_wants = EV_READ;
	c->write_wants = EV_WRITE;
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

void stream_frame(struct connection *c, uint64_t now_ns, struct str frame, bool truncated)
{
	const struct evidence e = {.source = str_of(c->source),
	                           .flags = truncated ? EVIDENCE_TRUNCATED : 0,
	                           .frame = frame,
	                           .peer = c->identity};

	worker_take(c->worker, c->port->counts, now_ns, &e);
}

/* The connection may be gone then: answers to what was good may still be on their way. */
static void lose_framing(struct connection *c, struct str at)
{
	char sample[4 * SAMPLE_BYTES + 8], reason[REASON_MAX];

	log_escape(str_head(at, SAMPLE_BYTES), sample, sizeof(sample));
	if (c->relp)
		snprintf(reason, sizeof(reason), "%s, at \"%s\"", relp_session_why(c->relp),
		         sample);
	else
		snprintf(reason, sizeof(reason), "no frame can begin with \"%s\"", sample);
	log_warning("listener %s: %s: framing is lost: %s; connection closed",
	            c->port->listener->config->name, c->peer_text, reason);
	worker_lost(c->worker, c->port->counts, str_of(c->source), LOSS_FRAMING, 1);
	worker_report(c->worker, "framing_lost", c->port->listener, (struct sockaddr *)&c->peer,
	              reason);
	if (c->relp)
		relp_session_say_goodbye(c->relp);
	stream_close_gently(c);
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

enum feed_result { FEED_ON, FEED_END, FEED_LOST };

/* Takes the frames out of *in, which is advanced to what is left. */
static enum feed_result feed_syslog(struct connection *c, struct str *in, uint64_t now)
{
	bool truncated;
	enum framing_result r;
	struct str f;
	size_t used;

	while ((r = framing_next(&c->framing, *in, &used, &f, &truncated)) == FRAMING_FRAME) {
		stream_frame(c, now, f, truncated);
		*in = str_skip(*in, used);
	}
	*in = str_skip(*in, used);
	return r == FRAMING_LOST ? FEED_LOST : FEED_ON;
}

static enum feed_result feed_relp(struct connection *c, struct str *in, uint64_t now)
{
	enum relp_state state = relp_session_feed(c->relp, in, now);

	return state == RELP_BROKEN ? FEED_LOST : state == RELP_CLOSED ? FEED_END : FEED_ON;
}

/* What is left of a frame that has not come to its end. */
static void take_rest(struct connection *c, bool in_order)
{
	struct str f;
	bool truncated;

	if (c->relp && c->rest.n) /* its sender has it still: it was not acknowledged */
		worker_lost(c->worker, c->port->counts, str_of(c->source), LOSS_FRAMING, 1);
	else if (!c->relp && framing_end(&c->framing, buf_str(&c->rest), &f, &truncated))
		stream_frame(c, worker_now(c->worker), f, truncated || !in_order);
}

/* The peer sends bytes and no end of them: what there is of the frame is taken, cut as it is, and the peer goes. */
static void give_up_frame(struct connection *c, const char *why)
{
	log_warning("listener %s: %s: %s; connection closed", c->port->listener->config->name,
	            c->peer_text, why);
	worker_report(c->worker, "frame_unfinished", c->port->listener, (struct sockaddr *)&c->peer,
	              why);
	count_add(&c->port->counts->refused, 1);
	take_rest(c, false);
	stream_close(c);
}

/* It has sent more than a peer may: it is read again when that is paid off. Meanwhile it feels its own full buffer. */
static void hold_back(struct connection *c, uint64_t ns)
{
	const struct timeval tv = timeval_of(ns + NS_PER_MS);

	c->held_back = true;
	count_add(&c->port->counts->held_back, 1);
	evtimer_add(&c->timer, &tv);
}

/* The rest stays for the next time. False: the connection is gone, as all of them hold too much. */
static bool go_on_with(struct connection *c, struct str left, bool in_rest, bool took_frames)
{
	struct ingest_shared *s = c->worker->shared;

	keep_rest(c, left, in_rest);
	note_unfinished(c, c->rest.n, took_frames);
	while (atomic_load_explicit(&s->unfinished, memory_order_relaxed) > s->config->memory_max &&
	       !TAILQ_EMPTY(&c->worker->unfinished)) {
		struct connection *oldest = TAILQ_FIRST(&c->worker->unfinished);
		give_up_frame(oldest, "unfinished frames take too much memory (memory_max)");
		if (oldest == c)
			return false;
	}
	return true;
}

/* Takes the frames out of `n` new bytes. False: the connection is read no more, and may be gone. */
static bool feed(struct connection *c, size_t n)
{
	struct listener_counts *counts = c->port->counts;
	uint64_t now = worker_now(c->worker), before = counts->frames;
	bool in_rest;
	struct str in = join(c, n, &in_rest);
	enum feed_result r = c->relp ? feed_relp(c, &in, now) : feed_syslog(c, &in, now);
	uint64_t frames = counts->frames - before;
	uint64_t wait = peers_charge(c->worker->shared->peers, c->who, n, frames, c->last_ns);

	if (r == FEED_ON && !go_on_with(c, in, in_rest, frames > 0))
		return false;
	if (r == FEED_ON && wait)
		hold_back(c, wait);
	else if (r == FEED_LOST)
		lose_framing(c, in);
	else if (r == FEED_END)
		stream_close_gently(c);
	return r == FEED_ON;
}

/* ---- answers ---- */

ssize_t stream_write(struct connection *c, struct str data)
{
	ssize_t n = c->tls ? tls_write(c->tls, data.p, data.n)
	                   : send(c->fd, data.p, data.n, MSG_NOSIGNAL);

	if (n < 0 && !c->tls)
		n = errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
	if (n > 0)
		c->last_ns = clock_mono();
	else if (n == -EAGAIN)
		c->write_wants = c->tls ? tls_wants(c->tls) : EV_WRITE;
	return n;
}

void stream_resume(struct connection *c)
{
	/* TLS may hold what the kernel no longer tells of. */
	if (c->tls && !c->closing)
		mark_unread(c, true);
}

bool stream_close_gently(struct connection *c)
{
	bool answers = c->relp && relp_session_has_answers(c->relp);

	mark_unread(c, false);
	note_unfinished(c, 0, false);
	buf_release(&c->rest);
	c->closing = true;
	if (answers && relp_session_write(c->relp) == 0 && relp_session_has_answers(c->relp)) {
		if (c->worker->handshake_timeout)
			evtimer_add(&c->timer, c->worker->handshake_timeout);
		stream_rearm(c);
		return true;
	}
	stream_close(c);
	return false;
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

/* The stream is over; `why` is -EPIPE when it ended in order. What has arrived still counts, and is acknowledged if the
 * peer still listens. */
static void end(struct connection *c, int why)
{
	take_rest(c, why == -EPIPE);
	if (why == -EPROTO)
		fail_tls(c, tls_error(c->tls));
	else if (why != -EPIPE)
		log_notice("listener %s: %s: the connection broke off: %s",
		           c->port->listener->config->name, c->peer_text, strerror(-why));
	if (why == -EPIPE)
		stream_close_gently(c);
	else
		stream_close(c);
}

enum read_result { READ_SOME, READ_NONE, READ_CLOSED };

static enum read_result read_once(struct connection *c)
{
	struct worker *w = c->worker;
	ssize_t n = receive(c, w->read_buffer + w->headroom, READ_BYTES);

	if (n == -EAGAIN) {
		c->read_wants = c->tls ? tls_wants(c->tls) : EV_READ;
		stream_rearm(c);
		return READ_NONE;
	}
	if (n < 0) {
		end(c, (int)n);
		return READ_CLOSED;
	}
	c->last_ns = clock_mono();
	c->read_wants = EV_READ;
	if (!feed(c, (size_t)n))
		return READ_CLOSED;
	if (c->relp && relp_session_has_output(c->relp) && relp_session_write(c->relp) < 0) {
		stream_close(c);
		return READ_CLOSED;
	}
	if (!may_read(c))
		mark_unread(c, false);
	stream_rearm(c);
	return READ_SOME;
}

/* ---- TLS handshake ---- */

/* What the certificate says belongs to each frame from now on. */
static void keep_identity(struct connection *c, const struct tls_certificate *certificate)
{
	char identity[ORIGIN_IDENTITY_MAX];
	size_t n = origin_identity(certificate, identity);

	c->identity = xcalloc(1, sizeof(*c->identity) + n);
	c->identity->identity = str_make((char *)(c->identity + 1), n);
	memcpy(c->identity + 1, identity, n);
}

static void meet(struct connection *c)
{
	const char *listener = c->port->listener->config->name;
	struct tls_certificate certificate;
	struct ingest_shared *s = c->worker->shared;

	if (!tls_peer(c->tls, &certificate)) {
		log_info("listener %s: %s connected", listener, c->peer_text);
		return;
	}
	log_info("listener %s: %s connected as %s", listener, c->peer_text,
	         certificate.name[0] ? certificate.name : certificate.subject);
	keep_identity(c, &certificate);
	if (peer_certificates_note(&s->certificates, listener, &certificate,
	                           worker_now(c->worker)) &&
	    s->certificate)
		s->certificate(s->certificate_arg);
}

static void refuse_peer(struct connection *c, const char *reason)
{
	struct tls_certificate certificate, *shown = NULL;

	if (tls_refused_peer(c->tls, &certificate))
		shown = &certificate;
	log_warning("listener %s: %s%s%s is refused: %s", c->port->listener->config->name,
	            c->peer_text, shown ? ", who shows a certificate of " : "",
	            shown ? shown->subject : "", reason);
	count_add(&c->port->counts->tls_failures, 1);
	count_add(&c->port->counts->peers_refused, 1);
	worker_report_refused(c->worker, c->port->listener, (struct sockaddr *)&c->peer, shown,
	                      reason);
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
		if (tls_refused(c->tls))
			refuse_peer(c, reason);
		else
			fail_tls(c, reason[0] ? reason : "the peer went away during the handshake");
		stream_close(c);
		return;
	}
	c->open = true;
	c->last_ns = clock_mono();
	evtimer_del(&c->timer);
	if (c->worker->idle_timeout)
		evtimer_add(&c->timer, c->worker->idle_timeout);
	meet(c);
	/* The first frames may have come along with the end of the handshake. */
	mark_unread(c, true);
	stream_rearm(c);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;

	(void)fd;
	(void)what;
	if (!c->open) {
		shake_hands(c);
		return;
	}
	if (c->relp && relp_session_has_output(c->relp)) {
		if (relp_session_write(c->relp) < 0 ||
		    (c->closing && !relp_session_has_answers(c->relp))) {
			stream_close(c);
			return;
		}
		stream_rearm(c);
	}
	if (may_read(c))
		read_once(c);
	else
		stream_rearm(c);
}

/* Input does not touch the timer: it looks, when it fires, how long the silence is. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	struct worker *w = c->worker;
	const struct config *config = w->shared->config;
	bool patient = c->open && !c->closing;
	uint64_t limit = patient ? config->idle_timeout_ns : config->handshake_timeout_ns;
	bool unread = patient && atomic_load(&w->streams_wait); /* it may not be silent at all */
	uint64_t stall_end = unread ? clock_mono() : w->stall_end;
	uint64_t since = c->last_ns > stall_end ? c->last_ns : stall_end;
	uint64_t silence = clock_mono() - since;

	(void)fd;
	(void)what;
	if (c->held_back && !c->closing) {
		c->held_back = false;
		const struct timeval again = timeval_of(limit);
		evtimer_add(&c->timer, &again);
		stream_resume(c);
		stream_rearm(c);
		return;
	}
	if (silence < limit) {
		struct timeval left = timeval_of(limit - silence + NS_PER_MS);
		evtimer_add(&c->timer, &left);
		return;
	}
	if (c->closing) {
		stream_close(c);
	} else if (c->open) {
		log_info("listener %s: %s: silent for too long; connection closed",
		         c->port->listener->config->name, c->peer_text);
		if (c->relp)
			relp_session_say_goodbye(c->relp);
		end(c, -EPIPE);
	} else {
		fail_tls(c, "the handshake was not finished in time");
		stream_close(c);
	}
}

void stream_read_unread(struct worker *w)
{
	struct connection *last = TAILQ_LAST(&w->unread, connection_queue), *c, *next;

	if (atomic_load(&w->streams_wait))
		return;
	/* Those that stay unread queue up behind `last`. */
	for (c = TAILQ_FIRST(&w->unread); c; c = next) {
		next = c == last ? NULL : TAILQ_NEXT(c, unread);
		mark_unread(c, false);
		if (may_read(c))
			read_once(c);
	}
}

void stream_expire(struct worker *w)
{
	const uint64_t limit = w->shared->config->frame_timeout_ns;
	struct connection *c, *next;

	if (atomic_load(&w->streams_wait))
		w->stall_end = clock_mono(); /* it is not for them that their frames have no end */
	for (c = TAILQ_FIRST(&w->unfinished); c; c = next) {
		uint64_t since = c->began_ns > w->stall_end ? c->began_ns : w->stall_end;
		uint64_t age = clock_mono() - since;
		next = TAILQ_NEXT(c, unfinished);
		if (age < limit) {
			timer_arm(&w->frame_timer, limit - age + NS_PER_MS);
			return;
		}
		give_up_frame(c, "a frame was not finished in time (frame_timeout)");
	}
}

void stream_read_again(struct worker *w)
{
	for (struct connection *c = LIST_FIRST(&w->connections); c; c = LIST_NEXT(c, all))
		if (c->open && !c->closing) {
			stream_resume(c);
			stream_rearm(c);
		}
}

void stream_finish_reading(struct worker *w)
{
	struct connection *c, *next;

	for (c = LIST_FIRST(&w->connections); c; c = next) {
		enum read_result r = c->open && !c->closing ? READ_SOME : READ_NONE;
		next = LIST_NEXT(c, all);
		c->held_back = false;
		for (int i = 0; i < FINISH_READS && r == READ_SOME && may_read(c); i++)
			r = read_once(c);
		if (r != READ_CLOSED && !c->closing)
			take_rest(c, c->rest.n == 0);
	}
}

void stream_close_all(struct worker *w)
{
	struct connection *c, *next;

	for (c = LIST_FIRST(&w->connections); c; c = next) {
		next = LIST_NEXT(c, all);
		if (c->relp && c->open) {
			relp_session_say_goodbye(c->relp);
			(void)relp_session_write(c->relp);
		}
		stream_close(c);
	}
}
