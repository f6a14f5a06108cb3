/* Inside ingest/: the pieces that serve sockets and what they share. A worker is a thread with its own event loop,
 * pipeline and evidence; everything reached from a struct worker is touched by its thread alone, except where a
 * member is _Atomic or said to be locked. */
#ifndef ISOD_INGEST_WORKER_H
#define ISOD_INGEST_WORKER_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/un.h>

#include "base/activation.h"
#include "base/clock.h"
#include "base/net.h"
#include "ingest/ingest.h"
#include "ingest/intake.h"
#include "ingest/latency.h"
#include "ingest/peer_certificates.h"
#include "ingest/peers.h"
#include "ingest/producers.h"
#include "ingest/source.h"
#include "ingest/waiter.h"

#define READ_BYTES ((size_t)128 << 10) /* one read: a few hundred usual frames */
/* A worker commits in the middle of a turn of its loop when this much waits: many connections may be readable. */
#define COMMIT_BYTES   ((size_t)1 << 20)
#define OWN_EVENTS_MAX 1000 /* own events waiting: more than that in one turn is a flood */
#define OWN_EVENT_MAX  16384
#define ADDRESS_MAX    (sizeof(((struct sockaddr_un *)0)->sun_path) + 1)

/* ---- listeners ---- */

/* Why a connection is refused. */
enum refusal {
	REFUSED_CONNECTIONS_MAX,
	REFUSED_PEER_CONNECTIONS_MAX,
	REFUSED_PEER_CONNECTS,
	REFUSALS
};

/* One worker's counts of one listener: written by that thread only, read by any. */
struct listener_counts {
	_Atomic uint64_t connections, accepted, frames, bytes, refused, shed, tls_failures,
		held_back, peers_refused;
	_Atomic uint64_t connections_refused[REFUSALS]; /* of `refused` */
} __attribute__((aligned(64)));

struct listener {
	const struct listener_config *config;
	pthread_mutex_t tls_lock;
	struct tls_context *tls;   /* with TLS only; locked: it is exchanged while workers accept */
	char address[ADDRESS_MAX]; /* as bound */
	int *fds;                  /* one per worker, -1 for none */
	struct listener_counts *counts;
	size_t workers;
	bool passed;           /* another has bound the socket and keeps it: all workers share it */
	bool unlink;           /* the unix socket is ours to remove */
	struct hec_acks *acks; /* listener_has_hec() only */
};

/* Takes the socket that `passed` (may be NULL) has for it, or binds for `workers` workers. 0, or -errno with the reason in
 * `error` (then listener_close all the same). */
int listener_open(struct listener *l, const struct listener_config *c, size_t workers,
                  struct activation *passed, char *error, size_t error_size);
void listener_close(struct listener *l);
/* Of one with TLS, by what new connections are made now; tls_context_unref. From any thread. */
struct tls_context *listener_tls(struct listener *l);
/* New handshakes are by the files and names of `c` (of the same listener) as they are now. 0, or -errno with the reason in
 * `error`: then all stays as it was. From any thread. */
int listener_renew(struct listener *l, const struct listener_config *c, char *error,
                   size_t error_size);

/* Of one with TLS: its certificate, and until when its revocation lists hold (0: it has none). From any thread. */
void listener_certificate(struct listener *l, struct tls_certificate *ret, uint64_t *ret_crl_until);

static inline void count_add(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer: no locked instruction needed. */
	uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

/* ---- workers ---- */

static inline struct timeval timeval_of(uint64_t ns)
{
	return (struct timeval){.tv_sec = (time_t)(ns / NS_PER_SECOND),
	                        .tv_usec = (suseconds_t)(ns % NS_PER_SECOND / 1000)};
}

/* Sets the timer, unless it runs already. */
static inline void timer_arm(struct event *timer, uint64_t ns)
{
	const struct timeval tv = timeval_of(ns);

	if (!evtimer_pending(timer, NULL))
		event_add(timer, &tv);
}

/* Another content for all workers: see ingest_swap(). */
struct swap {
	struct content *content;   /* set before `wanted` */
	_Atomic uint64_t wanted;   /* how many swaps were begun */
	_Atomic uint64_t released; /* … and how many of them may be finished */
	_Atomic size_t parked;     /* workers that wait in the last one */
	void (*parked_all)(void *arg);
	void *arg;
};

struct ingest_shared {
	const struct config *config;
	struct clock_steady *clock;   /* NULL: the system's */
	char *own_source;             /* "isod/NODE" */
	_Atomic uint64_t connections; /* of all workers: against connections_max */
	uint64_t descriptors; /* that may be used for connections; others wait to be accepted */
	void (*own_event)(void *arg, struct str json);
	void *arg;
	struct swap swap;
	struct peer_certificates certificates;
	void (*certificate)(void *arg); /* one was shown for the first time; may be NULL */
	void *certificate_arg;
	void (*storage)(void *arg); /* evidence cannot be written, or can again; may be NULL */
	void *storage_arg;
	struct producers producers;
	struct answers answers;
	struct worker *workers;
	struct peers *peers;    /* connections of all workers */
	struct rate handshakes; /* begun in all */
	_Atomic size_t
		unfinished; /* bytes of frames that have not come to their end, of all connections */
};

struct worker;
struct connection;
struct datagram_batch;
struct handover;

/* The thread that waits for the disk in a worker's place: one fdatasync at a time. */
struct syncer {
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	int fd;       /* locked: to be synced, -1: nothing */
	bool quit;    /* locked */
	bool running; /* the worker's: one was begun and its end not yet taken */
	_Atomic bool ended;
	int result; /* of the one that ended */
};
LIST_HEAD(connection_list, connection);
TAILQ_HEAD(connection_queue, connection);

/* One listening or datagram socket of one worker. */
struct port {
	struct worker *worker;
	struct listener *listener;
	struct listener_counts *counts;
	int fd;
	struct event event;
	/* Datagrams: whom the last one came from, and what the kernel has dropped. */
	struct sockaddr_storage peer;
	uint32_t peer_uid;
	bool has_peer;
	char source[SOURCE_NAME_MAX + 1];
	uint32_t overflow;    /* its counter when last looked at: it runs on and wraps around */
	uint64_t told_mono;   /* when the log last told of drops */
	struct hec_door *hec; /* instead of `event`, when it serves HTTP */
	/* … and those of a peer that sends more than it may. */
	uint64_t batch_mono, too_many;
	char too_many_source[SOURCE_NAME_MAX + 1];
};

/* Where evidence must be detected again from. */
struct worker_cursor {
	uint64_t upto, seen_max;
};

struct worker {
	struct ingest_shared *shared;
	size_t index, workers;
	const struct worker_cursor *cursors;
	size_t cursor_count;
	struct segment_log *evidence;
	struct pipeline *pipeline;
	struct event_base *base;
	struct port *ports;
	size_t port_count;
	struct connection_list connections;
	struct connection_queue unread; /* those with bytes that the kernel no longer tells of */
	struct connection_queue unfinished; /* those with a part of a frame, the oldest first */
	struct handover *handover;         /* connections that other workers have accepted for it */
	_Atomic uint64_t connection_count; /* those on their way to it included */
	struct peers *datagram_peers;
	/* Common time-outs: libevent keeps them in a queue instead of a heap. idle may be NULL: none. */
	const struct timeval *handshake_timeout, *idle_timeout;
	struct datagram_batch *batch;
	char *read_buffer; /* frame_max + FRAMING_EXTRA bytes of headroom, then READ_BYTES */
	size_t headroom;

	struct event wake, sync_timer, ack_timer, tally_timer, accept_timer, frame_timer;
	struct event detect_timer;
	int wake_fd;  /* eventfd: own events wait, or the worker shall stop */
	bool handled; /* this turn of the loop gave the pipeline something */
	bool evidence_dirty, sync_failing;
	bool behind;        /* detection has more to do, and can */
	unsigned detect_ms; /* the pause before it is tried again; 0: it is not held up */
	bool held_up_told;  /* the log knows of that */
	bool hold_told;     /* the log knows that streams wait … */
	uint64_t hold_mono; /* … and when it was last told */
	bool own_evidence;  /* while it detects again: that of this worker */
	struct waiter_queue waiters, syncing;
	struct syncer syncer;
	struct intake intake;
	uint64_t sync_begun;   /* clock_mono() of the last one */
	uint64_t sync_upto;    /* the evidence it covers */
	size_t unsynced_bytes; /* of frames since then */
	bool accept_paused;
	bool accept_told;   /* the log knows: since the last connection that was accepted */
	uint64_t stall_end; /* clock_mono() when the last stall was over */
	uint64_t swapped;   /* the last swap it has done */

	pthread_t thread;
	bool started;
	_Atomic bool serving;         /* past re-detection */
	_Atomic uint64_t turned_mono; /* when it last went round, whatever it is at */
	struct latency latency;
	_Atomic bool stopping, ended;
	uint64_t stopping_since;            /* it was first held up after that; 0: not yet */
	bool gave_up;                       /* the rest cannot be written any more */
	_Atomic uint64_t redetect_failures; /* damaged evidence that was left out */
	_Atomic uint64_t stalls, untallied, redetected, reports_dropped;
	_Atomic uint64_t evidence_upto, detected_upto;
	_Atomic uint64_t lag_bytes, lag_oldest_ns; /* struct pipeline_lag */
	_Atomic bool lag_on_disk;
	_Atomic bool streams_wait; /* streams are not read: detection is lag_max behind */
	_Atomic bool held_up;      /* detection waits for the officer */
	_Atomic uint64_t accept_pauses;
	_Atomic int stalled; /* what keeps it from taking anything in, negative errno; or 0 */
	_Atomic int storage; /* with what evidence cannot be written, the same */
	_Atomic bool storage_broken; /* … ever again by this process */
	uint64_t report_window;      /* clock_mono() of its begin, and how many there were in it */
	unsigned reports;
	uint64_t own_shed; /* own events dropped that are in the account already */

	/* Own events on their way to worker 0: locked. */
	pthread_mutex_t mailbox_lock;
	char **mailbox;
	size_t mailbox_count;
	bool mailbox_closed;
	_Atomic uint64_t mailbox_dropped;
};

/* Takes ownership of nothing; `listeners` must outlive it. 0 or -errno. */
int worker_open(struct worker *w, struct ingest_shared *shared, size_t index, size_t workers,
                struct listener *listeners, size_t listener_count);
int worker_start(struct worker *w);
/* Tells it to stop; when `ended` is set, worker_join. */
void worker_stop(struct worker *w);
void worker_join(struct worker *w);
/* From any thread: it looks at what it was told (`stopping`, a swap, own events) soon. */
void worker_wake(struct worker *w);
void worker_release(struct worker *w);
/* From any thread. */
void worker_post(struct worker *w, struct str json);

/* Now, as arrivals are stamped. */
static inline uint64_t worker_now(const struct worker *w)
{
	return w->shared->clock ? clock_steady(w->shared->clock) : clock_now();
}

/* One frame from `source`: what streams and datagrams call. Commits when much waits. */
void worker_frame(struct worker *w, struct listener_counts *counts, struct str source,
                  uint64_t now_ns, struct str frame, bool truncated);
/* The same with all that evidence has of it. `counts` may be NULL. */
void worker_take(struct worker *w, struct listener_counts *counts, uint64_t now_ns,
                 const struct evidence *e);
/* `lost` of them did not become events. `counts` may be NULL, as above: isod's own. */
void worker_lost(struct worker *w, struct listener_counts *counts, struct str source,
                 enum evidence_loss loss, uint64_t lost);
/* An own event about a peer of a listener. */
void worker_report(struct worker *w, const char *event, const struct listener *l,
                   const struct sockaddr *peer, const char *detail);
/* … about one whose certificate was refused, or NULL: it showed none. */
void worker_report_refused(struct worker *w, const struct listener *l, const struct sockaddr *peer,
                           const struct tls_certificate *shown, const char *detail);
/* No file descriptors are left (`why`): no more accepting for a while. Peers wait in the kernel's queue. */
void worker_pause_accepting(struct worker *w, const char *why);
/* The port's peers wait for a moment: there are too many handshakes. */
void worker_delay_accepting(struct port *p);
/* There was room for a connection. */
void worker_accepted(struct worker *w);

/* pipeline_write or pipeline_commit; while that fails the thread stays here. Gives up only when stopping. */
void worker_insist(struct worker *w, int (*act)(struct pipeline *p));
/* Others may know how far it is. */
void worker_publish_progress(struct worker *w);

/* ---- detection (detect.c) ---- */

void detect_init(struct worker *w);
/* Once a turn of the loop, when what was taken in is written: some time for detection. */
void detect_turn(struct worker *w);
/* For the end: all that waits, if that is done soon. */
void detect_finish(struct worker *w);

/* ---- the disk (durable.c) ---- */

void durable_init(struct worker *w);
/* Starts the syncer. 0 or -errno. */
int durable_start(struct worker *w);
/* Ends it. */
void durable_release(struct worker *w);
/* A thread without signals: those are the main thread's. 0 or -errno. */
int thread_start(pthread_t *ret, void *(*run)(void *), void *arg);
/* Once a turn of the loop: takes note of a sync that is over; what waited for it can be published. */
void durable_take(struct worker *w);
/* … and when what was taken in has been written: begins a sync if it is time. */
void durable_turn(struct worker *w);
/* For the end: all that was taken in is synced before this returns (or cannot be), and who waits is told. */
void durable_finish(struct worker *w);

/* `x` is told when everything appended to evidence so far is on the disk. */
void worker_await(struct worker *w, struct waiter *x);
/* It is told no more. */
void worker_forget(struct worker *w, struct waiter *x);
/* Evidence cannot be written (or reach the disk), or can again: an own event. `r`: why, 0: it can. */
void worker_tell_evidence(struct worker *w, int r);

/* ---- new connections (accept.c) ---- */

/* libevent's callback of a listening socket; `arg` is the struct port. */
void accept_readable(evutil_socket_t fd, short what, void *arg);
/* May `peer` have one more connection? True: it is counted then, in all and for its peer, until accept_leave. False: why
 * not is in `reason`, and counted. */
bool accept_admit(struct port *p, const struct sockaddr *peer, struct peer **ret, char *reason,
                  size_t size);
void accept_leave(struct worker *w, struct peer *who);
/* A TLS handshake begins. True: they have been too many lately, and no more connections are accepted for a while. */
bool accept_handshake(struct port *p);
struct handover *handover_new(void);
void handover_free(struct handover *h);
/* Serves what other workers have handed over. `last`: they may not any more. */
void accept_handed(struct worker *w, bool last);

/* ---- connections (stream.c) ---- */

/* Closes those whose frame does not come to its end. */
void stream_expire(struct worker *w);
/* Goes on with the connections in w->unread: once a turn of the loop. */
void stream_read_unread(struct worker *w);
/* w->streams_wait is over: all connections are read again. */
void stream_read_again(struct worker *w);
/* For the end: reads what has arrived on every connection … */
void stream_finish_reading(struct worker *w);
/* … and closes them, when the frames are on the disk: the last answers go out. */
void stream_close_all(struct worker *w);

/* ---- datagrams (datagram.c) ---- */

void datagram_readable(evutil_socket_t fd, short what, void *arg);
/* Takes up to about `max` datagrams; returns how many there were. */
size_t datagram_take(struct port *p, size_t max);
/* Allocates the worker's batch of buffers. */
void datagram_init(struct worker *w);
void datagram_release(struct worker *w);

#endif
