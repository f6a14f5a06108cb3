/* UDP (RFC 5426: one datagram, one frame) and unix datagrams. recvmmsg fetches a batch with one system call.
 *
 * What the kernel had to drop because its buffer was full is in the account too, as shed. It counts by socket, a number
 * that runs on and wraps around, and tells it twice: beside each datagram what it was when that one came in
 * (SO_RXQ_OVFL), and when asked what it is now (SO_MEMINFO). The first is exact in time and free; the second is needed
 * since nothing follows the end of a flood. Nobody knows whose the dropped ones were: to guess (all of the sender
 * before, or by shares) would put a wrong number under a right name, so they stand under "LISTENER/(kernel)". What is
 * dropped before isod has a socket, or after it was killed, the kernel tells nobody; of a socket that was passed to isod
 * it tells the sum, of which an earlier isod has counted a part that is not known. Unix senders block instead of losing
 * something. */
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "ingest/worker.h"

#define BATCH         32
#define PER_WAKEUP    (8 * BATCH) /* then other sockets get their turn; the loop comes back at once */
#define PEER_MAX      64          /* an address, or "uid:N" */
#define DROPS_TOLD_NS NS_PER_SECOND /* the log tells of drops no more often */

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(uint32_t))];
};

/* Slots are as large as a frame may be, but only the pages that datagrams have touched take memory. */
struct datagram_batch {
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	struct sockaddr_storage names[BATCH];
	union control controls[BATCH];
	char *bytes;
	size_t slot;
};

static bool is_datagram(const struct port *p)
{
	return p->listener->config->kind == LISTENER_UDP ||
	       p->listener->config->kind == LISTENER_UNIX;
}

/* What the kernel has dropped by now: as at the last look when it cannot tell. */
static uint32_t drops_of(const struct port *p)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t size = sizeof(info);

	if (p->listener->config->kind != LISTENER_UDP ||
	    getsockopt(p->fd, SOL_SOCKET, SO_MEMINFO, info, &size) < 0 ||
	    size <= SK_MEMINFO_DROPS * sizeof(*info))
		return p->overflow;
	return info[SK_MEMINFO_DROPS];
}

void datagram_init(struct worker *w)
{
	bool any = false;

	for (size_t i = 0; i < w->port_count; i++)
		any = any || is_datagram(&w->ports[i]);
	if (!any)
		return;
	for (size_t i = 0; i < w->port_count; i++)
		if (w->ports[i].listener->passed)
			w->ports[i].overflow = drops_of(&w->ports[i]);
	w->batch = xcalloc(1, sizeof(*w->batch));
	w->batch->slot = w->shared->config->frame_max;
	w->batch->bytes = xmalloc(BATCH * w->batch->slot);
}

void datagram_release(struct worker *w)
{
	if (!w->batch)
		return;
	free(w->batch->bytes);
	free(w->batch);
	w->batch = NULL;
}

/* ---- whom it comes from ---- */

static uint32_t sender_uid(struct msghdr *m, bool *ret_known)
{
	uint32_t uid = 0;

	*ret_known = false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct ucred cred;
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&cred, CMSG_DATA(c), sizeof(cred));
		uid = cred.uid;
		*ret_known = true;
	}
	return uid;
}

static void set_source(struct port *p, const char *peer)
{
	snprintf(p->source, sizeof(p->source), "%s/%.*s", p->listener->config->name, PEER_MAX,
	         peer);
	p->has_peer = true;
}

/* The source as text is made anew only when the peer changes. */
static struct str source_of(struct port *p, struct msghdr *m)
{
	char text[NET_TEXT_MAX];

	if (p->listener->config->kind == LISTENER_UNIX) {
		bool known;
		uint32_t uid = sender_uid(m, &known);
		if (!p->has_peer || !known || uid != p->peer_uid) {
			snprintf(text, sizeof(text), known ? "uid:%u" : "local", uid);
			set_source(p, text);
			p->has_peer = known;
			p->peer_uid = uid;
		}
	} else if (!p->has_peer || memcmp(&p->peer, m->msg_name, m->msg_namelen) != 0) {
		memcpy(&p->peer, m->msg_name, m->msg_namelen);
		set_source(p, net_host((const struct sockaddr *)&p->peer, text));
	}
	return str_of(p->source);
}

/* ---- frames ---- */

/* `total`: the kernel's counter at some time, maybe one before that of the last look. */
static void note_drops(struct port *p, uint32_t total)
{
	uint32_t dropped = total - p->overflow;
	uint64_t now = clock_mono();
	char source[SOURCE_NAME_MAX + 1];

	if (dropped == 0 || dropped > INT32_MAX)
		return;
	p->overflow = total;
	if (!p->told_mono || now - p->told_mono > DROPS_TOLD_NS) {
		p->told_mono = now;
		log_warning("listener %s: datagrams come faster than they can be read; the kernel "
		            "has dropped %u by now",
		            p->listener->config->name, total);
	}
	snprintf(source, sizeof(source), "%s/(kernel)", p->listener->config->name);
	worker_lost(p->worker, p->counts, str_of(source), LOSS_KERNEL, dropped);
}

static void note_overflow(struct port *p, struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		uint32_t total;
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
			continue;
		memcpy(&total, CMSG_DATA(c), sizeof(total));
		note_drops(p, total);
	}
}

/* After the last datagram that is there for now. */
static void look_at_drops(struct port *p)
{
	note_drops(p, drops_of(p));
}

static struct str without_line_end(struct str s)
{
	while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '\0'))
		s.n--;
	return s;
}

/* A run of datagrams of one source that were too many: one note in evidence. */
static void note_shed(struct port *p)
{
	if (p->too_many)
		worker_lost(p->worker, p->counts, str_of(p->too_many_source), LOSS_RATE,
		            p->too_many);
	p->too_many = 0;
}

static void take(struct port *p, struct str source, uint64_t now, struct str frame, bool truncated)
{
	if (!frame.n) {
		worker_lost(p->worker, p->counts, source, LOSS_EMPTY, 1);
		return;
	}
	if (peers_datagram(p->worker->datagram_peers, source, frame.n, p->batch_mono)) {
		worker_frame(p->worker, p->counts, source, now, frame, truncated);
		return;
	}
	if (!str_eq(source, str_of(p->too_many_source))) {
		note_shed(p);
		memcpy(p->too_many_source, p->source, sizeof(p->source));
	}
	p->too_many++;
}

static int receive(struct port *p)
{
	struct datagram_batch *b = p->worker->batch;

	for (size_t i = 0; i < BATCH; i++) {
		b->parts[i] = (struct iovec){b->bytes + i * b->slot, b->slot};
		b->messages[i].msg_hdr = (struct msghdr){.msg_name = &b->names[i],
		                                         .msg_namelen = sizeof(b->names[i]),
		                                         .msg_iov = &b->parts[i],
		                                         .msg_iovlen = 1,
		                                         .msg_control = &b->controls[i],
		                                         .msg_controllen = sizeof(b->controls[i])};
	}
	int n = recvmmsg(p->fd, b->messages, BATCH, MSG_DONTWAIT, NULL);
	return n < 0 ? -errno : n;
}

size_t datagram_take(struct port *p, size_t max)
{
	struct datagram_batch *b = p->worker->batch;
	size_t taken = 0;
	int n;

	/* An error is one of an earlier packet (ICMP) or "nothing there": neither needs an answer. */
	while (taken < max && (n = receive(p)) > 0) {
		uint64_t now = worker_now(p->worker);
		p->batch_mono = clock_mono();
		for (int i = 0; i < n; i++) {
			struct msghdr *m = &b->messages[i].msg_hdr;
			struct str frame = without_line_end(
				str_make(b->parts[i].iov_base, b->messages[i].msg_len));
			note_overflow(p, m);
			take(p, source_of(p, m), now, frame, m->msg_flags & MSG_TRUNC);
		}
		note_shed(p);
		taken += (size_t)n;
		if (n < BATCH)
			break;
	}
	look_at_drops(p);
	return taken;
}

void datagram_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	datagram_take(arg, PER_WAKEUP);
}
