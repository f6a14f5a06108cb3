/* Inside ingest/: who waits for the disk (durable.c). */
#ifndef ISOD_INGEST_WAITER_H
#define ISOD_INGEST_WAITER_H

#include <stdbool.h>
#include <sys/queue.h>

/* Somebody who waits until evidence is on the disk. */
struct waiter {
	TAILQ_ENTRY(waiter) link;
	enum { WAITER_IDLE, WAITER_WAITS, WAITER_SYNCING } state;
	bool again; /* WAITER_SYNCING: and then waits for the next sync */
	/* A sync begins that covers what was taken so far … */
	void (*syncing)(struct waiter *x);
	/* … and it is over. May free the waiter. */
	void (*durable)(struct waiter *x);
};
TAILQ_HEAD(waiter_queue, waiter);

static inline bool waiter_waits(const struct waiter *x)
{
	return x->state != WAITER_IDLE;
}

#endif
