/* A worker's side of numbered producers: batches come from the main thread, their frames go the way of every frame, and
 * they are given back, answered, when all that they tell is on the disk. */
#ifndef ISOD_INGEST_INTAKE_H
#define ISOD_INGEST_INTAKE_H

#include <pthread.h>
#include <stdatomic.h>

#include "ingest/waiter.h"
#include "log/producer.h"

struct worker;

struct batch_list {
	struct producer_batch *first, **end;
};

void batch_list_init(struct batch_list *l);
void batch_list_add(struct batch_list *l, struct producer_batch *b);
/* Moves all of `from` behind those of `to`. */
void batch_list_move(struct batch_list *to, struct batch_list *from);

/* Where answered batches of all workers wait for the main thread. */
struct answers {
	pthread_mutex_t lock;
	struct batch_list list; /* locked */
	int fd;                 /* eventfd: there are some */
};

/* 0 or -errno. */
int answers_init(struct answers *a);
void answers_release(struct answers *a);
void answers_give(struct answers *a, struct batch_list *list);
/* The main thread: moves what there is to `to`. */
void answers_take(struct answers *a, struct batch_list *to);

/* In struct worker. */
struct intake {
	pthread_mutex_t lock;
	struct batch_list posted;        /* locked: on their way to the worker */
	bool closed;                     /* locked: it takes no more */
	struct batch_list held, covered; /* taken; wait for a sync, or for the one that has begun */
	struct waiter waiter;
	_Atomic uint64_t repeated; /* frames that were known already */
};

void intake_init(struct worker *w);
void intake_release(struct worker *w);
/* When the worker has ended: gives batches whose evidence never reached the disk back as not taken. */
void intake_abandon(struct worker *w);
/* From any thread: 0, or -ESHUTDOWN. The worker must be woken. */
int intake_post(struct worker *w, struct producer_batch *b);
/* The worker: takes in what was posted. */
void intake_take(struct worker *w);
/* … for the last time: what comes later is refused. */
void intake_close(struct worker *w);

#endif
