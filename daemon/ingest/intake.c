/* Exactly once, in four steps: a frame's number stands in evidence with the frame; a batch's frames that have a number up
 * to the mark are known and left out; the mark is told only when evidence is on the disk up to it; after a crash it is
 * the higher one of what the ledger's tallies say and what the evidence behind them holds.
 *
 * Answers go out in the order in which batches came in, also those that had nothing to write: a producer's second copy
 * must not be acknowledged before the first is on the disk. */
#include "ingest/intake.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "ingest/producers.h"
#include "ingest/worker.h"

/* ---- lists ---- */

void batch_list_init(struct batch_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

void batch_list_add(struct batch_list *l, struct producer_batch *b)
{
	b->next = NULL;
	*l->end = b;
	l->end = &b->next;
}

void batch_list_move(struct batch_list *to, struct batch_list *from)
{
	if (!from->first)
		return;
	*to->end = from->first;
	to->end = from->end;
	batch_list_init(from);
}

/* ---- answers ---- */

int answers_init(struct answers *a)
{
	pthread_mutex_init(&a->lock, NULL);
	batch_list_init(&a->list);
	a->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return a->fd < 0 ? -errno : 0;
}

void answers_release(struct answers *a)
{
	if (a->fd >= 0)
		close(a->fd);
	pthread_mutex_destroy(&a->lock);
}

void answers_give(struct answers *a, struct batch_list *list)
{
	const uint64_t one = 1;

	if (!list->first)
		return;
	pthread_mutex_lock(&a->lock);
	bool was_empty = !a->list.first;
	batch_list_move(&a->list, list);
	pthread_mutex_unlock(&a->lock);
	if (was_empty && write(a->fd, &one, sizeof(one)) < 0)
		log_debug("the main thread is being woken already");
}

void answers_take(struct answers *a, struct batch_list *to)
{
	uint64_t count;

	if (read(a->fd, &count, sizeof(count)) < 0)
		log_debug("nothing was answered");
	pthread_mutex_lock(&a->lock);
	batch_list_move(to, &a->list);
	pthread_mutex_unlock(&a->lock);
}

/* ---- one batch ---- */

static void take_frames(struct worker *w, const struct producer_batch *b, uint64_t from)
{
	size_t max = w->shared->config->frame_max;
	char source[SOURCE_NAME_MAX + 1];
	uint64_t now = worker_now(w);

	int n = snprintf(source, sizeof(source), PRODUCER_LISTENER "/%s%s%s", b->producer,
	                 b->from[0] ? "/" : "", b->from);
	struct evidence e = {.source = str_make(source, (size_t)n < sizeof(source)
	                                                        ? (size_t)n
	                                                        : sizeof(source) - 1)};
	for (uint64_t i = from; i < b->count; i++) {
		struct str frame = {(const char *)b->frames[i].data, b->frames[i].len};
		e.frame = str_head(frame, max);
		e.flags = EVIDENCE_NUMBERED | (frame.n > max ? EVIDENCE_TRUNCATED : 0);
		e.sequence = b->first + i;
		worker_take(w, NULL, now, &e);
	}
}

static int take_batch(struct worker *w, struct producer_batch *b)
{
	struct producers *p = &w->shared->producers;
	struct str id = str_of(b->producer);

	b->taken = b->repeated = 0;
	b->upto = producers_ask(p, id);
	if (b->first == 0 || b->count == 0)
		return 0;
	if (b->first > b->upto + 1)
		return -ERANGE;
	if (!producers_has_room(p, id))
		return -EDQUOT;
	uint64_t known = b->upto - (b->first - 1);
	b->repeated = known < b->count ? known : b->count;
	b->taken = b->count - b->repeated;
	count_add(&w->intake.repeated, b->repeated);
	take_frames(w, b, b->repeated);
	b->upto += b->taken;
	producers_note(p, id, b->upto);
	return 0;
}

static void take_posted(struct worker *w, bool close_it)
{
	struct intake *in = &w->intake;
	struct batch_list list;
	struct producer_batch *b;

	/* They wait in `posted`: how many there can be is for their producers' windows. */
	if (atomic_load(&w->streams_wait))
		return;
	batch_list_init(&list);
	pthread_mutex_lock(&in->lock);
	batch_list_move(&list, &in->posted);
	in->closed |= close_it;
	pthread_mutex_unlock(&in->lock);
	while ((b = list.first)) {
		list.first = b->next;
		b->result = take_batch(w, b);
		batch_list_add(&in->held, b);
	}
	if (!in->held.first)
		return;
	if (waiter_waits(&in->waiter) || w->evidence_dirty || w->syncer.running)
		worker_await(w, &in->waiter);
	else
		answers_give(&w->shared->answers, &in->held);
}

void intake_take(struct worker *w)
{
	take_posted(w, false);
}

void intake_close(struct worker *w)
{
	take_posted(w, true);
}

int intake_post(struct worker *w, struct producer_batch *b)
{
	struct intake *in = &w->intake;

	pthread_mutex_lock(&in->lock);
	bool closed = in->closed;
	if (!closed)
		batch_list_add(&in->posted, b);
	pthread_mutex_unlock(&in->lock);
	return closed ? -ESHUTDOWN : 0;
}

/* ---- the disk ---- */

static struct worker *worker_of(struct waiter *x)
{
	struct intake *in = (struct intake *)((char *)x - offsetof(struct intake, waiter));

	return (struct worker *)((char *)in - offsetof(struct worker, intake));
}

static void on_syncing(struct waiter *x)
{
	struct intake *in = &worker_of(x)->intake;

	batch_list_move(&in->covered, &in->held);
}

static void on_durable(struct waiter *x)
{
	struct worker *w = worker_of(x);

	answers_give(&w->shared->answers, &w->intake.covered);
}

void intake_init(struct worker *w)
{
	struct intake *in = &w->intake;

	pthread_mutex_init(&in->lock, NULL);
	batch_list_init(&in->posted);
	batch_list_init(&in->held);
	batch_list_init(&in->covered);
	in->waiter.syncing = on_syncing;
	in->waiter.durable = on_durable;
}

void intake_abandon(struct worker *w)
{
	struct intake *in = &w->intake;
	struct producer_batch *b;

	worker_forget(w, &in->waiter);
	batch_list_move(&in->covered, &in->held);
	batch_list_move(&in->covered, &in->posted);
	for (b = in->covered.first; b; b = b->next)
		b->result = -ESHUTDOWN;
	answers_give(&w->shared->answers, &in->covered);
}

void intake_release(struct worker *w)
{
	pthread_mutex_destroy(&w->intake.lock);
}
