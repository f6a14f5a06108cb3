/* How records reach the officer: the one interface between the workers and it. Today a ring per worker in this
 * process; each record is a packed isod.v1.Record (Match or Tally). */
#ifndef ISOD_OFFICER_INBOX_H
#define ISOD_OFFICER_INBOX_H

#include "base/ring.h"

struct inbox {
	struct ring *rings; /* one per worker */
	size_t count;
	int wake_fd; /* eventfd: readable when something was published to an empty ring */
};

/* `ring_bytes` per worker. 0 or -errno. */
int inbox_init(struct inbox *in, size_t workers, size_t ring_bytes);
void inbox_release(struct inbox *in);

/* Worker `w`'s thread only. inbox_put: false when full (try again after the officer has caught up; nothing was
 * added). inbox_publish makes what was put visible and wakes the officer if it may be asleep. */
bool inbox_put(struct inbox *in, size_t w, struct str packed);
void inbox_publish(struct inbox *in, size_t w);

/* Officer's thread only: calls `take` for at most `max` records, ring by ring in turn; returns how many. When it
 * returns 0 the wake_fd has been cleared and the officer may sleep. */
size_t inbox_drain(struct inbox *in, size_t max,
                   void (*take)(void *arg, size_t worker, struct str packed), void *arg);

#endif
