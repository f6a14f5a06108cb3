/* Detection's share of a worker's turn, and what follows when it does not keep up.
 *
 * Sockets come first: a slice is short, so that an acknowledgement, a window of RELP or the kernel's buffer of datagrams
 * waits a millisecond at most for the rules. What that leaves undone stays in evidence, to be worked off when less comes
 * in. The lag has a limit all the same (limits.lag_max), as evidence that is days behind is found too late and must not be
 * removed: past it streams are not read, and their senders feel it in their own sockets, until a part of it is done.
 * Datagrams are taken in as ever, for the kernel could only drop them.
 *
 * When the officer is behind (his ring is full), or the disk cannot be read, detection stops and is tried again after a
 * pause that grows; taking in goes on meanwhile, up to the same limit. */
#include <errno.h>
#include <time.h>

#include "base/log.h"
#include "ingest/worker.h"

#define SLICE_NS    NS_PER_MS
#define PAUSE_FIRST 1 /* ms */
#define PAUSE_MAX   50
#define TOLD_NS     NS_PER_MINUTE       /* the log tells of streams that wait no more often */
#define FINISH_NS   (5 * NS_PER_SECOND) /* of a stop; the next start detects what is left */
/* Of limits.lag_max: streams are read again when the lag is below. */
#define RESUME_SHARE(max) ((max) - (max) / 4)

/* ---- the limit of the lag ---- */

static void hold_back(struct worker *w, uint64_t bytes)
{
	atomic_store(&w->streams_wait, true);
	count_add(&w->stalls, 1);
	w->hold_told = !w->hold_mono || clock_mono() - w->hold_mono > TOLD_NS;
	if (!w->hold_told)
		return;
	w->hold_mono = clock_mono();
	log_warning("worker %zu: %llu bytes of evidence are not detected yet (limits.lag_max): "
	            "streams and producers wait",
	            w->index, (unsigned long long)bytes);
}

static void read_again(struct worker *w)
{
	atomic_store(&w->streams_wait, false);
	w->stall_end = clock_mono();
	if (w->hold_told)
		log_notice("worker %zu: detection catches up; reading goes on", w->index);
	stream_read_again(w);
	intake_take(w);
}

static void judge_lag(struct worker *w)
{
	uint64_t max = w->shared->config->lag_max, bytes = pipeline_lag(w->pipeline).bytes;

	if (!atomic_load(&w->streams_wait) && bytes >= max)
		hold_back(w, bytes);
	else if (atomic_load(&w->streams_wait) && bytes < RESUME_SHARE(max))
		read_again(w);
}

/* ---- when it cannot go on ---- */

static void held_up(struct worker *w, int r)
{
	if (!w->detect_ms)
		count_add(&w->stalls, 1);
	w->detect_ms = w->detect_ms ? w->detect_ms * 2 : PAUSE_FIRST;
	if (w->detect_ms > PAUSE_MAX)
		w->detect_ms = PAUSE_MAX;
	if (w->detect_ms == PAUSE_MAX && !w->held_up_told && r == -EAGAIN) {
		w->held_up_told = true;
		log_notice("worker %zu: the officer is behind; detection waits", w->index);
	}
	atomic_store(&w->held_up, r == -EAGAIN);
	timer_arm(&w->detect_timer, w->detect_ms * NS_PER_MS);
}

static void goes_on(struct worker *w)
{
	if (!w->detect_ms)
		return;
	if (w->held_up_told)
		log_notice("worker %zu: detection goes on", w->index);
	w->held_up_told = false;
	w->detect_ms = 0;
	atomic_store(&w->held_up, false);
	event_del(&w->detect_timer);
}

static void on_detect(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	w->handled = true; /* tries the ring */
}

/* ---- turns ---- */

void detect_init(struct worker *w)
{
	evtimer_assign(&w->detect_timer, w->base, on_detect, w);
}

void detect_turn(struct worker *w)
{
	uint64_t before = pipeline_detected(w->pipeline);
	int r = 0;

	/* Held up, it waits for its timer whatever else there is to do. */
	if (!evtimer_pending(&w->detect_timer, NULL))
		r = pipeline_detect(w->pipeline, clock_mono() + SLICE_NS);
	else
		r = -EALREADY;
	w->behind = r > 0;
	if (r >= 0 || r == -EINPROGRESS)
		goes_on(w);
	else if (r != -EALREADY)
		held_up(w, r);
	if (pipeline_detected(w->pipeline) != before) {
		if (pipeline_has_tally(w->pipeline))
			timer_arm(&w->tally_timer, w->shared->config->tally_interval_ns);
		/* Matches whose evidence is on the disk already need not wait for another turn. */
		worker_insist(w, pipeline_write);
		durable_turn(w);
	}
	judge_lag(w);
	worker_publish_progress(w);
}

void detect_finish(struct worker *w)
{
	const struct timespec pause = {.tv_nsec = PAUSE_FIRST * (long)NS_PER_MS};
	uint64_t end = clock_mono() + FINISH_NS;
	int r;

	while (!w->gave_up && (r = pipeline_detect(w->pipeline, clock_mono() + SLICE_NS)) != 0 &&
	       clock_mono() < end) {
		worker_insist(w, r == -EINPROGRESS ? pipeline_commit : pipeline_write);
		if (r < 0)
			nanosleep(&pause, NULL);
	}
	worker_publish_progress(w);
	uint64_t left = pipeline_lag(w->pipeline).records;
	if (left)
		log_notice("worker %zu: %llu frames in evidence are detected at the next start",
		           w->index, (unsigned long long)left);
}
