/* Connections come in: who may have one, and which worker serves it. The kernel shares connections out among the
 * workers' sockets by a hash of the addresses, which for a few connections is anything but even; so a worker hands a
 * new one on to the worker that has the fewest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "ingest/connection.h"

#define ACCEPT_BATCH 64 /* connections taken per wake-up: others wait their turn */
#define HANDED_MAX                                                                                 \
	1024 /* that wait to be taken over by one worker; further ones stay where they are */
#define REASON_MAX 128

/* A connection on its way to another worker. */
struct arrival {
	struct listener *listener;
	struct peer *who;
	int fd;
	struct sockaddr_storage peer;
};

struct handover {
	pthread_mutex_t lock;
	struct arrival *arrivals;
	size_t count;
	bool closed;
};

/* ---- from one worker to another ---- */

struct handover *handover_new(void)
{
	struct handover *h = xcalloc(1, sizeof(*h));

	pthread_mutex_init(&h->lock, NULL);
	h->arrivals = xcalloc(HANDED_MAX, sizeof(*h->arrivals));
	return h;
}

void handover_free(struct handover *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h->arrivals);
	free(h);
}

static bool hand_over(struct worker *to, const struct arrival *a)
{
	struct handover *h = to->handover;

	pthread_mutex_lock(&h->lock);
	bool taken = !h->closed && h->count < HANDED_MAX;
	if (taken)
		h->arrivals[h->count++] = *a;
	pthread_mutex_unlock(&h->lock);
	if (taken)
		worker_wake(to);
	return taken;
}

static struct port *port_of(struct worker *w, const struct listener *l)
{
	for (size_t i = 0; i < w->port_count; i++)
		if (w->ports[i].listener == l)
			return &w->ports[i];
	return NULL;
}

void accept_handed(struct worker *w, bool last)
{
	struct handover *h = w->handover;
	struct arrival arrivals[ACCEPT_BATCH];
	size_t n;

	do {
		pthread_mutex_lock(&h->lock);
		h->closed |= last;
		n = h->count < ACCEPT_BATCH ? h->count : ACCEPT_BATCH;
		h->count -= n;
		memcpy(arrivals, h->arrivals + h->count, n * sizeof(*arrivals));
		pthread_mutex_unlock(&h->lock);
		for (size_t i = 0; i < n; i++)
			stream_open(port_of(w, arrivals[i].listener), arrivals[i].fd,
			            &arrivals[i].peer, arrivals[i].who);
	} while (n);
}

static uint64_t load_of(const struct worker *w)
{
	return atomic_load_explicit(&w->connection_count, memory_order_relaxed);
}

static bool can_serve(const struct worker *w)
{
	return atomic_load(&w->serving) && !atomic_load(&w->stopping) &&
	       !atomic_load_explicit(&w->stalled, memory_order_relaxed);
}

/* Who is to serve one more; `w` itself unless another has fewer. */
static struct worker *least_loaded(struct worker *w, const struct listener *l)
{
	struct worker *best = w;

	for (size_t i = 0; i < w->workers; i++) {
		struct worker *other = &w->shared->workers[i];
		if (other != w && can_serve(other) && load_of(other) < load_of(best) &&
		    port_of(other, l))
			best = other;
	}
	return best;
}

/* ---- who may ---- */

/* Counts it, and says why into `reason`. */
static void explain(struct port *p, enum refusal why, uint64_t limit, char *reason, size_t size)
{
	static const char *const formats[REFUSALS] = {
		[REFUSED_CONNECTIONS_MAX] = "%llu connections are open (connections_max)",
		[REFUSED_PEER_CONNECTIONS_MAX] =
			"it has %llu connections open (peer_connections_max)",
		[REFUSED_PEER_CONNECTS] =
			"it connects more often than %llu times a second (peer_connects)",
	};

	count_add(&p->counts->connections_refused[why], 1);
	snprintf(reason, size, formats[why], (unsigned long long)limit);
}

bool accept_admit(struct port *p, const struct sockaddr *peer, struct peer **ret, char *reason,
                  size_t size)
{
	struct ingest_shared *s = p->worker->shared;
	const struct config *config = s->config;

	if (atomic_fetch_add(&s->connections, 1) >= config->connections_max) {
		atomic_fetch_sub(&s->connections, 1);
		explain(p, REFUSED_CONNECTIONS_MAX, config->connections_max, reason, size);
		return false;
	}
	enum peers_verdict verdict = peers_enter(s->peers, peer, clock_mono(), ret);
	if (verdict == PEERS_WELCOME)
		return true;
	atomic_fetch_sub(&s->connections, 1);
	if (verdict == PEERS_TOO_MANY)
		explain(p, REFUSED_PEER_CONNECTIONS_MAX, config->peer_connections_max, reason,
		        size);
	else
		explain(p, REFUSED_PEER_CONNECTS, config->peer_connects, reason, size);
	return false;
}

void accept_leave(struct worker *w, struct peer *who)
{
	peers_leave(w->shared->peers, who);
	atomic_fetch_sub(&w->shared->connections, 1);
}

static bool admit(struct port *p, int fd, const struct sockaddr *peer, struct peer **ret)
{
	char text[NET_TEXT_MAX], reason[REASON_MAX];

	if (accept_admit(p, peer, ret, reason, sizeof(reason)))
		return true;
	count_add(&p->counts->refused, 1);
	log_warning("listener %s: connection from %s refused: %s", p->listener->config->name,
	            net_text(peer, text), reason);
	worker_report(p->worker, "connection_refused", p->listener, peer, reason);
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

/* ---- taking them ---- */

static void take(struct port *p, int fd, const struct sockaddr_storage *peer)
{
	struct arrival a = {.listener = p->listener, .fd = fd, .peer = *peer};
	int on = 1;

	/* A peer that lost power must not hold its place for ever. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (!admit(p, fd, (const struct sockaddr *)peer, &a.who))
		return;
	struct worker *to = least_loaded(p->worker, p->listener);
	atomic_fetch_add(&to->connection_count, 1);
	if (to == p->worker)
		stream_open(p, fd, peer, a.who);
	else if (!hand_over(to, &a)) {
		atomic_fetch_sub(&to->connection_count, 1);
		atomic_fetch_add(&p->worker->connection_count, 1);
		stream_open(p, fd, peer, a.who);
	}
}

/* A handshake costs as much as thousands of messages. Those past the rate wait in the kernel's queue. */
bool accept_handshake(struct port *p)
{
	struct ingest_shared *s = p->worker->shared;
	const struct rate_limit limit = {s->config->handshakes, NS_PER_SECOND};

	if (!listener_has_tls(p->listener->config) ||
	    rate_take(&s->handshakes, &limit, 1, clock_mono()))
		return false;
	worker_delay_accepting(p);
	return true;
}

void accept_readable(evutil_socket_t fd, short what, void *arg)
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
		if (s < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (s < 0 && no_resources(errno)) {
			worker_pause_accepting(p->worker, strerror(errno));
			return;
		}
		if (s < 0)
			continue; /* that one connection is gone already (accept(2)) */
		worker_accepted(p->worker);
		take(p, s, &peer);
		if (accept_handshake(p))
			return;
	}
}
