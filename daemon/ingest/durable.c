/* Evidence on its way to the disk, and those who wait for it.
 *
 * An fdatasync takes milliseconds, in which a worker could take in thousands of frames. So another thread waits for it,
 * one sync at a time, and the worker goes on; whoever asks meanwhile waits for the next one. That is the group commit:
 * however many connections wait, they share one fdatasync, and the slower the disk, the more of them share it.
 *
 * Matches wait for it too: see pipeline.h.
 *
 * A sync for somebody who waits begins at once, but no sooner than evidence.ack_interval after the begin of the one
 * before, or with evidence.sync_bytes of new frames. Without anybody waiting it begins within evidence.sync_interval. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "ingest/worker.h"

#define RETRY_NS NS_PER_SECOND /* after one that failed */

/* ---- the other thread ---- */

static void *syncer_main(void *arg)
{
	struct worker *w = arg;
	struct syncer *s = &w->syncer;

	pthread_mutex_lock(&s->lock);
	while (!s->quit || s->fd >= 0) {
		if (s->fd < 0) {
			pthread_cond_wait(&s->wanted, &s->lock);
			continue;
		}
		int fd = s->fd, r = 0;
		s->fd = -1;
		pthread_mutex_unlock(&s->lock);
		while (fdatasync(fd) < 0 && (r = -errno) == -EINTR)
			r = 0;
		close(fd);
		s->result = r;
		atomic_store(&s->ended, true);
		worker_wake(w);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void syncer_begin(struct syncer *s, int fd)
{
	s->running = true;
	atomic_store(&s->ended, false);
	pthread_mutex_lock(&s->lock);
	s->fd = fd;
	pthread_cond_signal(&s->wanted);
	pthread_mutex_unlock(&s->lock);
}

/* ---- who waits ---- */

void worker_await(struct worker *w, struct waiter *x)
{
	if (x->state == WAITER_SYNCING) {
		x->again = true;
	} else if (x->state == WAITER_IDLE) {
		x->state = WAITER_WAITS;
		TAILQ_INSERT_TAIL(&w->waiters, x, link);
	}
}

void worker_forget(struct worker *w, struct waiter *x)
{
	if (x->state == WAITER_WAITS)
		TAILQ_REMOVE(&w->waiters, x, link);
	else if (x->state == WAITER_SYNCING)
		TAILQ_REMOVE(&w->syncing, x, link);
	x->state = WAITER_IDLE;
	x->again = false;
}

static void cover_waiters(struct worker *w)
{
	struct waiter *x;

	while ((x = TAILQ_FIRST(&w->waiters))) {
		TAILQ_REMOVE(&w->waiters, x, link);
		TAILQ_INSERT_TAIL(&w->syncing, x, link);
		x->state = WAITER_SYNCING;
		x->syncing(x);
	}
}

/* Takes the first of those who were covered: it waits no more, or again. */
static struct waiter *uncover_first(struct worker *w)
{
	struct waiter *x = TAILQ_FIRST(&w->syncing);
	bool again = x && x->again;

	if (!x)
		return NULL;
	worker_forget(w, x);
	if (again)
		worker_await(w, x);
	return x;
}

/* ---- syncs ---- */

static void note_result(struct worker *w, int r)
{
	if (r < 0 && !w->sync_failing)
		log_error("worker %zu: evidence does not reach the disk: %s", w->index,
		          strerror(-r));
	if (r == 0 && w->sync_failing)
		log_notice("worker %zu: evidence reaches the disk again", w->index);
	if ((r < 0) != w->sync_failing)
		worker_tell_evidence(w, r);
	w->sync_failing = r < 0;
}

static void retry_later(struct worker *w)
{
	const struct timeval tv = timeval_of(RETRY_NS);

	w->evidence_dirty = true;
	event_add(&w->sync_timer, &tv);
}

static void sync_ended(struct worker *w, int r)
{
	struct waiter *x;

	note_result(w, r);
	if (r == 0) {
		pipeline_durable(w->pipeline, w->sync_upto);
		latency_durable(&w->latency, w->sync_upto, worker_now(w));
		w->handled = true; /* what waited for that goes to the officer */
		while ((x = uncover_first(w)))
			x->durable(x);
		return;
	}
	while ((x = uncover_first(w)))
		worker_await(w, x);
	retry_later(w);
}

static void begin_sync(struct worker *w)
{
	int fd = -1;
	int r = segment_sync_begin(w->evidence, &fd);

	w->sync_upto = pipeline_evidence(w->pipeline);
	w->sync_begun = clock_mono();
	if (r < 0) {
		note_result(w, r);
		retry_later(w);
		return;
	}
	w->evidence_dirty = false;
	w->unsynced_bytes = 0;
	event_del(&w->sync_timer);
	event_del(&w->ack_timer);
	cover_waiters(w);
	if (fd >= 0)
		syncer_begin(&w->syncer, fd);
	else
		sync_ended(w, segment_sync_end(w->evidence, 0));
}

static void on_sync(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	if (!w->syncer.running)
		begin_sync(w);
}

static void pace(struct worker *w)
{
	uint64_t since = clock_mono() - w->sync_begun;
	uint64_t interval = w->shared->config->evidence_ack_ns;

	if (w->sync_failing)
		return; /* the timer of the retry runs */
	if (since >= interval || w->unsynced_bytes >= w->shared->config->evidence_sync_bytes)
		begin_sync(w);
	else
		timer_arm(&w->ack_timer, interval - since);
}

void durable_take(struct worker *w)
{
	struct syncer *s = &w->syncer;

	if (!s->running || !atomic_load(&s->ended))
		return;
	s->running = false;
	sync_ended(w, segment_sync_end(w->evidence, s->result));
}

void durable_turn(struct worker *w)
{
	if (w->syncer.running)
		return;
	if (!TAILQ_EMPTY(&w->waiters) || pipeline_waits(w->pipeline))
		pace(w);
	if (w->evidence_dirty)
		timer_arm(&w->sync_timer, w->shared->config->evidence_sync_ns);
}

void durable_finish(struct worker *w)
{
	struct syncer *s = &w->syncer;
	struct waiter *x;

	durable_release(w); /* the other thread ends its sync first */
	if (s->running)
		segment_sync_end(w->evidence, s->result);
	s->running = false;
	int r = segment_sync(w->evidence);
	if (r < 0) {
		log_error("worker %zu: evidence does not reach the disk: %s", w->index,
		          strerror(-r));
		return;
	}
	while ((x = uncover_first(w)))
		worker_await(w, x);
	cover_waiters(w);
	while ((x = uncover_first(w)))
		x->durable(x);
}

/* ---- life ---- */

void durable_init(struct worker *w)
{
	TAILQ_INIT(&w->waiters);
	TAILQ_INIT(&w->syncing);
	w->syncer.fd = -1;
	/* What an earlier life wrote and never synced may be what somebody asks for. */
	w->evidence_dirty = true;
	evtimer_assign(&w->sync_timer, w->base, on_sync, w);
	evtimer_assign(&w->ack_timer, w->base, on_sync, w);
	pthread_mutex_init(&w->syncer.lock, NULL);
	pthread_cond_init(&w->syncer.wanted, NULL);
}

int thread_start(pthread_t *ret, void *(*run)(void *), void *arg)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(ret, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int durable_start(struct worker *w)
{
	int r = thread_start(&w->syncer.thread, syncer_main, w);

	w->syncer.started = r == 0;
	return r;
}

void durable_release(struct worker *w)
{
	struct syncer *s = &w->syncer;

	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_cond_signal(&s->wanted);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	s->started = false;
}
