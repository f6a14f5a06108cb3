/* The dirty set: one entry per key that Redis does not hold the present value of. An entry stands in one of three
 * places: waiting for the next flush, in the present flush, or in the batch that was sent and is not answered. */
#ifndef ISOD_VIEW_DIRTY_H
#define ISOD_VIEW_DIRTY_H

#include <stdbool.h>

#include "base/map.h"
#include "officer/effects.h"

struct dirty_entry {
	struct dirty_entry *next;
	enum view_kind kind;
	bool tell;       /* it changed: the stream is to be told */
	bool whole;      /* what Redis holds of it is unknown: delete and write */
	bool rewrite;    /* the running rewrite waits for it */
	bool sent;       /* in the batch */
	bool again;      /* changed since it was sent, */
	bool again_tell; /* and the stream is to be told of that too */
	bool failed;     /* a command of it was refused */
	/* The stream id under which the change was sent, 0: none yet. Kept while it is unknown whether Redis took it, so
	 * that it cannot be added twice. */
	uint64_t sequence, n;
	bool resent;
	size_t key_length;
	char key[];
};

struct dirty_list {
	struct dirty_entry *first, *last;
	size_t count;
};

struct dirty {
	struct map by_key[VIEW_KINDS];
	struct dirty_list waiting, flushing;
	struct dirty_entry **batch; /* in the order sent */
	size_t batch_count, batch_cap;
	size_t count;   /* entries in all three */
	size_t rewrite; /* entries with `rewrite` */
};

void dirty_init(struct dirty *d);
void dirty_release(struct dirty *d);

static inline struct str dirty_key(const struct dirty_entry *e)
{
	return (struct str){e->key, e->key_length};
}

/* The value under the key changed. */
void dirty_mark(struct dirty *d, enum view_kind kind, struct str key);
/* The key is to be written in the present flush although nothing changed; `rewrite`: whole, as part of a rewrite. */
void dirty_touch(struct dirty *d, enum view_kind kind, struct str key, bool rewrite);

/* What waits becomes the present flush, behind what is left of the last. */
void dirty_begin_flush(struct dirty *d);
/* What is left of the present flush waits again, before all others. */
void dirty_end_flush(struct dirty *d);
/* The first entry of the flush goes to the end of the batch. NULL when the flush is empty. */
struct dirty_entry *dirty_take(struct dirty *d);
/* Every entry of the batch was answered: those that failed or changed again wait, the others are done with. */
void dirty_settle(struct dirty *d);
/* The connection was lost: the batch stays, and is to be sent again before anything else. */
void dirty_doubt(struct dirty *d);

#endif
