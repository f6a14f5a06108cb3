/* A worker's thread: re-detect what the ledger has not counted, then serve sockets until told to stop.
 *
 * A turn of the loop takes in first: what sockets have, into evidence, and the answers that the disk allows. Then it gives
 * detection a slice of time (detect.c), and while that has more to do, the loop does not wait for sockets, it only looks.
 * So a burst is taken in and acknowledged at the speed of the disk, whatever the rules cost.
 *
 * When evidence cannot be written, back-pressure needs no bookkeeping: the thread simply does not return to its loop but
 * tries again, so nothing of this worker is read, accepted or taken from the mailbox, and peers feel it through their own
 * full socket buffers. Time-outs count from the end of such a stall.
 *
 * Nothing ticks while nothing happens: the sync timer runs only while evidence is dirty, the tally timer only while
 * there is something to tally. */
#include "ingest/worker.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "ingest/framing.h"
#include "ingest/own_event.h"
#include "ingest/hec.h"
#include "ingest/relp.h"

#define STALL_FIRST_MS     1
#define STALL_LONGEST_MS   50
#define STOP_PATIENCE_MS   10000 /* a stopping worker gives a full ring or a full disk this long */
#define ACCEPT_PAUSE_MS    500
#define ACCEPT_DELAY_MS    10
#define REPORTS_PER_SECOND 100 /* own events about peers: the listener's counts tell of all */
#define LAST_DATAGRAMS                                                                             \
	100000 /* taken at the end from a full buffer: more only come while being read */
#define ERROR_TEXT 512
/* In front of what is read: the longest rest of any framing. */
#define HEADROOM_EXTRA (RELP_EXTRA > FRAMING_EXTRA ? RELP_EXTRA : FRAMING_EXTRA)

/* ---- what is told about oneself ---- */

/* `pairs` as own_event_write takes them. */
static void tell(struct worker *w, const char *event, const char *const *pairs)
{
	struct buf out;

	buf_init(&out, OWN_EVENT_MAX);
	if (own_event_write(&out, w->shared->config->node, worker_now(w), event, pairs) == 0)
		w->shared->own_event(w->shared->arg, buf_str(&out));
	buf_release(&out);
}

/* The event itself waits until it can be taken in: its time tells when it was. */
void worker_tell_evidence(struct worker *w, int r)
{
	char *detail = xasprintf("worker %zu%s%s", w->index, r ? ": " : "", r ? strerror(-r) : "");
	const char *const pairs[] = {"detail", detail, "outcome", r ? "failure" : "success", NULL};

	tell(w, r ? "evidence_stalled" : "evidence_resumed", pairs);
	free(detail);
	atomic_store(&w->storage_broken, segment_broken(w->evidence));
	atomic_store(&w->storage, r);
	if (w->shared->storage)
		w->shared->storage(w->shared->storage_arg);
}

/* ---- stalls ---- */

/* Not a wait for wake_fd: what wakes (own events) cannot be taken now either. */
static void stall_sleep(unsigned ms)
{
	const struct timespec ts = {.tv_nsec = (long)(ms * NS_PER_MS)};

	nanosleep(&ts, NULL);
}

static void log_stall(const struct worker *w, int r)
{
	if (r == -EAGAIN)
		log_notice("worker %zu: the officer is behind; everything waits", w->index);
	else
		log_error("worker %zu: cannot write evidence: %s; reading waits", w->index,
		          strerror(-r));
}

void worker_publish_progress(struct worker *w)
{
	struct pipeline *p = w->pipeline;
	struct pipeline_lag lag = pipeline_lag(p);

	atomic_store_explicit(&w->lag_bytes, lag.bytes, memory_order_relaxed);
	atomic_store_explicit(&w->lag_oldest_ns, lag.oldest_ns, memory_order_relaxed);
	atomic_store_explicit(&w->lag_on_disk, lag.on_disk, memory_order_relaxed);
	atomic_store_explicit(&w->untallied, pipeline_untallied(p), memory_order_relaxed);
	atomic_store_explicit(&w->evidence_upto, pipeline_evidence(p), memory_order_relaxed);
	atomic_store_explicit(&w->detected_upto, pipeline_detected(p), memory_order_relaxed);
}

/* One patience for all that is left to do at the end: every frame comes here again. */
static bool out_of_patience(struct worker *w, uint64_t now, int error)
{
	if (!atomic_load(&w->stopping))
		return false;
	if (!w->stopping_since)
		w->stopping_since = now;
	if (now - w->stopping_since <= STOP_PATIENCE_MS * NS_PER_MS)
		return false;
	if (!w->gave_up)
		log_error("worker %zu: %zu bytes and what still comes are lost at the end: %s",
		          w->index, pipeline_pending(w->pipeline), strerror(-error));
	w->gave_up = true;
	return true;
}

/* Whatever it is at, it is alive. */
static void note_turn(struct worker *w)
{
	atomic_store_explicit(&w->turned_mono, clock_mono(), memory_order_relaxed);
}

void worker_insist(struct worker *w, int (*act)(struct pipeline *p))
{
	uint64_t begin = 0;
	unsigned ms = STALL_FIRST_MS;
	int r, said = 0, failed = 0;

	while ((r = act(w->pipeline)) < 0) {
		uint64_t now = clock_mono();
		if (!begin) {
			begin = now;
			count_add(&w->stalls, 1);
			worker_publish_progress(w);
		}
		atomic_store(&w->stalled, r);
		if (r != said && !w->gave_up && (r != -EAGAIN || ms == STALL_LONGEST_MS))
			log_stall(w, said = r);
		if (r != -EAGAIN && !failed)
			worker_tell_evidence(w, failed = r);
		if (out_of_patience(w, now, r))
			break;
		stall_sleep(ms);
		note_turn(w);
		ms = ms * 2 < STALL_LONGEST_MS ? ms * 2 : STALL_LONGEST_MS;
	}
	if (begin)
		w->stall_end = clock_mono();
	if (said && r == 0)
		log_notice("worker %zu: reading goes on", w->index);
	if (failed && r == 0)
		worker_tell_evidence(w, 0);
	atomic_store(&w->stalled, 0);
	worker_publish_progress(w);
}

/* ---- another content ---- */

/* Between two frames: goes over to the content that ingest_swap has brought, or to the compiled form of the one that
 * it has, if there is such a thing. */
static void swap_content(struct worker *w)
{
	struct swap *s = &w->shared->swap;
	uint64_t wanted = atomic_load(&s->wanted);
	unsigned ms = STALL_FIRST_MS;

	pipeline_refresh(w->pipeline);
	if (wanted == w->swapped)
		return;
	pipeline_prepare(w->pipeline, s->content);
	pipeline_tally(w->pipeline);
	worker_insist(w, pipeline_commit);
	if (atomic_fetch_add(&s->parked, 1) + 1 == w->workers && s->parked_all)
		s->parked_all(s->arg);
	while (atomic_load(&s->released) < wanted) {
		if (atomic_load(&w->stopping))
			return;
		stall_sleep(ms);
		note_turn(w);
		ms = ms * 2 < STALL_LONGEST_MS ? ms * 2 : STALL_LONGEST_MS;
	}
	pipeline_switch(w->pipeline);
	w->swapped = wanted;
	w->stall_end = clock_mono();
}

/* ---- timers ---- */

static void account_dropped(struct worker *w);

static void on_tally(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	account_dropped(w);
	pipeline_tally(w->pipeline);
	w->handled = true;
}

/* What a turn of the loop has left to do. */
static void after_turn(struct worker *w)
{
	note_turn(w);
	durable_take(w);
	if (w->handled) {
		w->handled = false;
		worker_insist(w, pipeline_write);
	}
	durable_turn(w);
	detect_turn(w);
}

/* ---- what streams and datagrams call ---- */

void worker_take(struct worker *w, struct listener_counts *counts, uint64_t now_ns,
                 const struct evidence *e)
{
	pipeline_frame(w->pipeline, now_ns, e);
	latency_arrived(&w->latency, pipeline_evidence(w->pipeline), now_ns);
	w->handled = true;
	w->evidence_dirty = true;
	w->unsynced_bytes += e->frame.n;
	if (counts) {
		count_add(&counts->frames, 1);
		count_add(&counts->bytes, e->frame.n);
	}
	if (pipeline_pending(w->pipeline) >= COMMIT_BYTES)
		worker_insist(w, pipeline_write);
}

void worker_frame(struct worker *w, struct listener_counts *counts, struct str source,
                  uint64_t now_ns, struct str frame, bool truncated)
{
	const struct evidence e = {
		.source = source, .flags = truncated ? EVIDENCE_TRUNCATED : 0, .frame = frame};

	worker_take(w, counts, now_ns, &e);
}

void worker_lost(struct worker *w, struct listener_counts *counts, struct str source,
                 enum evidence_loss loss, uint64_t lost)
{
	pipeline_lost(w->pipeline, worker_now(w), source, loss, lost);
	w->handled = true;
	w->evidence_dirty = true;
	if (counts)
		count_add(loss_is_shed(loss) ? &counts->shed : &counts->refused, lost);
}

/* A peer that fails on purpose, again and again, must not fill evidence with it. */
static bool may_report(struct worker *w)
{
	uint64_t now = clock_mono();

	if (now - w->report_window > NS_PER_SECOND) {
		w->report_window = now;
		w->reports = 0;
	}
	return w->reports++ < REPORTS_PER_SECOND;
}

static void report(struct worker *w, const char *event, const char *const *pairs)
{
	if (may_report(w))
		tell(w, event, pairs);
	else
		count_add(&w->reports_dropped, 1);
	/* What was dropped is put into the account with the next tally: a peer must not fill evidence with it either. */
	timer_arm(&w->tally_timer, w->shared->config->tally_interval_ns);
}

static const char *address_of(const struct sockaddr *peer, char out[static NET_TEXT_MAX])
{
	return peer->sa_family == AF_UNIX ? NULL : net_host(peer, out);
}

void worker_report(struct worker *w, const char *event, const struct listener *l,
                   const struct sockaddr *peer, const char *detail)
{
	char host[NET_TEXT_MAX];
	const char *const pairs[] = {
		"listener", l->config->name, "src_ip", address_of(peer, host), "detail", detail,
		"outcome",  "failure",       NULL,
	};

	report(w, event, pairs);
}

void worker_report_refused(struct worker *w, const struct listener *l, const struct sockaddr *peer,
                           const struct tls_certificate *shown, const char *detail)
{
	char host[NET_TEXT_MAX], fingerprint[TLS_FINGERPRINT_MAX];
	const char *const pairs[] = {
		"listener",    l->config->name,
		"src_ip",      address_of(peer, host),
		"certificate", shown && shown->name[0] ? shown->name : NULL,
		"subject",     shown ? shown->subject : NULL,
		"fingerprint", shown ? tls_fingerprint(shown->fingerprint, fingerprint) : NULL,
		"detail",      detail,
		"outcome",     "failure",
		NULL,
	};

	report(w, "peer_refused", pairs);
}

/* ---- own events ---- */

void worker_wake(struct worker *w)
{
	const uint64_t one = 1;

	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		log_debug("worker %zu is being woken already", w->index);
}

void worker_post(struct worker *w, struct str json)
{
	bool taken = false;

	pthread_mutex_lock(&w->mailbox_lock);
	if (!w->mailbox_closed && w->mailbox_count < OWN_EVENTS_MAX && json.n <= OWN_EVENT_MAX) {
		w->mailbox[w->mailbox_count++] = xstrndup(json.p, json.n);
		taken = true;
	}
	pthread_mutex_unlock(&w->mailbox_lock);
	if (!taken)
		atomic_fetch_add(&w->mailbox_dropped, 1);
	worker_wake(w);
}

/* What of isod's own events was dropped since the last time. */
static void account_dropped(struct worker *w)
{
	uint64_t dropped = atomic_load(&w->mailbox_dropped) + atomic_load(&w->reports_dropped);

	if (dropped == w->own_shed)
		return;
	worker_lost(w, NULL, str_of(w->shared->own_source), LOSS_OWN_EVENTS, dropped - w->own_shed);
	w->own_shed = dropped;
}

static void take_mailbox(struct worker *w, bool close_it)
{
	char *events[OWN_EVENTS_MAX];

	pthread_mutex_lock(&w->mailbox_lock);
	size_t n = w->mailbox_count;
	memcpy(events, w->mailbox, n * sizeof(*events));
	w->mailbox_count = 0;
	w->mailbox_closed = close_it;
	pthread_mutex_unlock(&w->mailbox_lock);
	for (size_t i = 0; i < n; i++) {
		worker_frame(w, NULL, str_of(w->shared->own_source), worker_now(w),
		             str_of(events[i]), false);
		free(events[i]);
	}
	account_dropped(w);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	take_mailbox(w, false);
	intake_take(w);
	accept_handed(w, false);
}

/* ---- accepting pauses when there are no descriptors ---- */

static bool is_stream(const struct port *p)
{
	return listener_is_stream(p->listener->config);
}

static bool is_hec(const struct port *p)
{
	return listener_has_hec(p->listener->config);
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	w->accept_paused = false;
	for (size_t i = 0; i < w->port_count; i++) {
		if (is_hec(&w->ports[i]))
			hec_pause(&w->ports[i], false);
		else
			event_add(&w->ports[i].event, NULL);
	}
}

void worker_accepted(struct worker *w)
{
	if (w->accept_told)
		log_notice("worker %zu: connections are accepted again", w->index);
	w->accept_told = false;
}

void worker_pause_accepting(struct worker *w, const char *why)
{
	if (w->accept_paused)
		return;
	if (!w->accept_told)
		log_error("worker %zu: no more connections can be accepted: %s; others wait",
		          w->index, why);
	w->accept_told = true;
	w->accept_paused = true;
	count_add(&w->accept_pauses, 1);
	for (size_t i = 0; i < w->port_count; i++) {
		if (is_hec(&w->ports[i]))
			hec_pause(&w->ports[i], true);
		else if (is_stream(&w->ports[i]))
			event_del(&w->ports[i].event);
	}
	timer_arm(&w->accept_timer, ACCEPT_PAUSE_MS * NS_PER_MS);
}

void worker_delay_accepting(struct port *p)
{
	if (is_hec(p))
		hec_pause(p, true);
	else
		event_del(&p->event);
	count_add(&p->worker->accept_pauses, 1);
	timer_arm(&p->worker->accept_timer, ACCEPT_DELAY_MS * NS_PER_MS);
}

static void on_frame_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	stream_expire(arg);
}

/* ---- the thread ---- */

static bool go_on(void *arg, bool full)
{
	struct worker *w = arg;

	note_turn(w);
	if (w->own_evidence)
		atomic_store_explicit(&w->detected_upto, pipeline_detected(w->pipeline),
		                      memory_order_relaxed);
	if (full)
		stall_sleep(STALL_FIRST_MS);
	else
		swap_content(w);
	return !atomic_load(&w->stopping);
}

static char *evidence_dir(const struct worker *w, size_t worker)
{
	return xasprintf("%s/evidence/%zu", w->shared->config->state_dir, worker);
}

/* What an earlier life wrote and never synced is on the disk before the ledger hears of it: see pipeline_frame. */
static void sync_first(struct worker *w, const char *dir)
{
	const struct segment_options options = {.kind = SEGMENT_EVIDENCE,
	                                        .segment_bytes =
	                                                w->shared->config->evidence_segment_bytes};
	char error[ERROR_TEXT] = "";
	struct segment_log *log;
	int r;

	if (w->own_evidence) {
		r = segment_sync(w->evidence);
		snprintf(error, sizeof(error), "%s: %s", dir, strerror(-r));
	} else {
		r = segment_open(dir, &options, &log, error, sizeof(error));
		if (r == 0)
			segment_close(log);
	}
	if (r < 0)
		log_error("worker %zu: evidence does not reach the disk: %s", w->index, error);
}

/* The sequence that the first segment behind `from` begins with; 0: there is none. */
static uint64_t segment_behind(const char *dir, uint64_t from)
{
	uint64_t *firsts = NULL, found = 0;
	size_t count = 0;

	segment_firsts(dir, &firsts, &count);
	for (size_t i = 0; i < count && !found; i++)
		if (firsts[i] > from)
			found = firsts[i];
	free(firsts);
	return found;
}

/* What is damaged is told and left out; it goes on with the segment behind it. */
static void redetect(struct worker *w, size_t whose)
{
	char *dir = evidence_dir(w, whose), error[ERROR_TEXT] = "";
	uint64_t from = (whose < w->cursor_count ? w->cursors[whose].upto : 0) + 1;
	uint64_t tried = 0;
	int64_t frames = 0;

	w->own_evidence = whose == w->index;
	if (w->own_evidence) {
		atomic_store(&w->evidence_upto, pipeline_evidence(w->pipeline));
		atomic_store(&w->detected_upto, from - 1);
	}
	sync_first(w, dir);
	while (from && !atomic_load(&w->stopping)) {
		int64_t n = pipeline_redetect(w->pipeline, whose, dir, from, go_on, w, error,
		                              sizeof(error));
		frames += n > 0 ? n : 0;
		if (n >= 0 || n == -ENOENT)
			break;
		log_error("evidence of worker %zu cannot all be detected again: %s", whose, error);
		count_add(&w->redetect_failures, 1);
		if (n != -EBADMSG)
			break;
		/* The damage is in the segment of what comes next. Where only its seam is wrong it is good by itself. */
		from = segment_behind(dir, pipeline_redetected(w->pipeline));
		if (from && from <= tried)
			from = segment_behind(dir, tried);
		tried = from;
	}
	if (frames > 0) {
		log_notice("worker %zu: %lld frames of %s detected again", w->index,
		           (long long)frames, dir);
		count_add(&w->redetected, (uint64_t)frames);
	}
	free(dir);
}

/* Evidence of workers that are no more falls to those that are, in turn. */
static void redetect_left_over(struct worker *w)
{
	char *path = xasprintf("%s/evidence", w->shared->config->state_dir);
	DIR *d = opendir(path);
	const struct dirent *e;
	uint64_t whose;

	while (d && !atomic_load(&w->stopping) && (e = readdir(d)))
		if (str_to_u64(str_of(e->d_name), &whose) == 0 && whose >= w->workers &&
		    whose <= UINT32_MAX && whose % w->workers == w->index)
			redetect(w, (size_t)whose);
	if (d)
		closedir(d);
	free(path);
}

/* New frames must not take sequences that the ledger has seen, even if a power cut took their evidence. */
static void skip_lost(struct worker *w)
{
	if (w->index >= w->cursor_count)
		return;
	const struct worker_cursor *c = &w->cursors[w->index];
	uint64_t last = c->upto > c->seen_max ? c->upto : c->seen_max;
	int r;

	if (last < segment_next(w->evidence))
		return;
	log_warning("worker %zu: evidence up to %llu was lost; it goes on behind", w->index,
	            (unsigned long long)last);
	while ((r = segment_skip_to(w->evidence, last + 1)) < 0 && !atomic_load(&w->stopping)) {
		log_error("worker %zu: cannot begin a new segment of evidence: %s", w->index,
		          strerror(-r));
		stall_sleep(STALL_LONGEST_MS);
	}
}

static void begin_serving(struct worker *w)
{
	for (size_t i = 0; i < w->port_count; i++) {
		struct port *p = &w->ports[i];
		if (is_hec(p)) {
			int r = hec_open(p);
			if (r < 0)
				log_error("worker %zu: listener %s does not serve: %s", w->index,
				          p->listener->config->name, strerror(-r));
			continue;
		}
		event_assign(&p->event, w->base, p->fd, EV_READ | EV_PERSIST,
		             is_stream(p) ? accept_readable : datagram_readable, p);
		event_add(&p->event, NULL);
	}
	take_mailbox(w, false);
	worker_publish_progress(w);
	w->serving = true;
}

/* Peers count as delivered what the kernel took for us: read it before the sockets close. Who waits at a socket that
 * outlives us is better served whole by whom it is passed to next. */
static void finish_serving(struct worker *w)
{
	for (size_t i = 0; i < w->port_count; i++) {
		struct port *p = &w->ports[i];
		if (is_hec(p)) {
			hec_stop(p);
			continue;
		}
		event_del(&p->event);
		if (!is_stream(p))
			datagram_take(p, LAST_DATAGRAMS);
		else if (!p->listener->passed)
			accept_readable(p->fd, EV_READ, p);
	}
	accept_handed(w, true);
	atomic_store(&w->streams_wait, false);
	stream_finish_reading(w);
	take_mailbox(w, true);
	intake_close(w);
	worker_insist(w, pipeline_write);
	detect_finish(w);
	pipeline_tally(w->pipeline);
	worker_insist(w, pipeline_commit);
	durable_finish(w);
	stream_close_all(w);
	for (size_t i = 0; i < w->port_count; i++)
		hec_close(&w->ports[i]);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	char name[16];

	snprintf(name, sizeof(name), "worker %zu", w->index);
	pthread_setname_np(pthread_self(), name);
	redetect(w, w->index);
	redetect_left_over(w);
	skip_lost(w);
	if (!atomic_load(&w->stopping))
		begin_serving(w);
	after_turn(w);
	while (!atomic_load(&w->stopping)) {
		bool more = w->behind || w->handled ||
		            (!TAILQ_EMPTY(&w->unread) && !atomic_load(&w->streams_wait));
		event_base_loop(w->base, EVLOOP_ONCE | (more ? EVLOOP_NONBLOCK : 0));
		stream_read_unread(w);
		after_turn(w);
		swap_content(w);
	}
	/* Stopped while re-detecting: nothing may be counted past what was, so there is nothing to finish. */
	if (w->serving)
		finish_serving(w);
	atomic_store(&w->ended, true);
	return NULL;
}

/* ---- life ---- */

static void open_ports(struct worker *w, struct listener *listeners, size_t count)
{
	w->ports = xcalloc(count, sizeof(*w->ports));
	for (size_t i = 0; i < count; i++) {
		struct listener *l = &listeners[i];
		if (l->fds[w->index] < 0)
			continue;
		w->ports[w->port_count++] = (struct port){.worker = w,
		                                          .listener = l,
		                                          .counts = &l->counts[w->index],
		                                          .fd = l->fds[w->index]};
	}
}

static const struct timeval *common_timeout(struct worker *w, uint64_t ns)
{
	struct timeval tv = timeval_of(ns);

	return ns ? event_base_init_common_timeout(w->base, &tv) : NULL;
}

int worker_open(struct worker *w, struct ingest_shared *shared, size_t index, size_t workers,
                struct listener *listeners, size_t listener_count)
{
	w->shared = shared;
	w->index = index;
	w->workers = workers;
	pthread_mutex_init(&w->mailbox_lock, NULL);
	w->mailbox = xcalloc(OWN_EVENTS_MAX, sizeof(*w->mailbox));
	w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->wake_fd < 0)
		return -errno;
	struct event_config *config = event_config_new();
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	w->base = event_base_new_with_config(config);
	event_config_free(config);
	if (!w->base)
		return -ENOMEM;
	w->headroom = shared->config->frame_max + HEADROOM_EXTRA;
	w->read_buffer = xmalloc(w->headroom + READ_BYTES);
	LIST_INIT(&w->connections);
	TAILQ_INIT(&w->unread);
	TAILQ_INIT(&w->unfinished);
	w->handover = handover_new();
	w->datagram_peers = peers_new(&(struct peers_limits){
		.bytes = {shared->config->peer_bytes, NS_PER_SECOND},
		.events = {shared->config->peer_events, NS_PER_SECOND},
	});
	w->handshake_timeout = common_timeout(w, shared->config->handshake_timeout_ns);
	w->idle_timeout = common_timeout(w, shared->config->idle_timeout_ns);
	event_assign(&w->wake, w->base, w->wake_fd, EV_READ | EV_PERSIST, on_wake, w);
	event_add(&w->wake, NULL);
	evtimer_assign(&w->tally_timer, w->base, on_tally, w);
	evtimer_assign(&w->accept_timer, w->base, on_accept_again, w);
	evtimer_assign(&w->frame_timer, w->base, on_frame_timer, w);
	open_ports(w, listeners, listener_count);
	datagram_init(w);
	durable_init(w);
	detect_init(w);
	intake_init(w);
	return 0;
}

int worker_start(struct worker *w)
{
	int r = durable_start(w);

	if (r == 0)
		r = thread_start(&w->thread, worker_main, w);
	w->started = r == 0;
	return r;
}

void worker_stop(struct worker *w)
{
	atomic_store(&w->stopping, true);
	worker_wake(w);
}

void worker_join(struct worker *w)
{
	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
}

void worker_release(struct worker *w)
{
	if (!w->mailbox)
		return;
	for (size_t i = 0; i < w->mailbox_count; i++)
		free(w->mailbox[i]);
	free(w->mailbox);
	handover_free(w->handover);
	peers_free(w->datagram_peers);
	datagram_release(w);
	durable_release(w);
	intake_release(w);
	if (w->base) {
		event_del(&w->wake);
		event_base_free(w->base);
	}
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	free(w->ports);
	free(w->read_buffer);
	pthread_mutex_destroy(&w->mailbox_lock);
	*w = (struct worker){0};
}
