/* Whose numbered frames were taken since the last tally, and how far. One table per pipeline. */
#ifndef ISOD_INGEST_MARKS_H
#define ISOD_INGEST_MARKS_H

#include "base/arena.h"
#include "base/map.h"
#include "ledger.pb-c.h"
#include "log/producer.h"

/* The most that a mark takes in a packed tally. */
#define MARK_BYTES (PRODUCER_ID_MAX + 16)

struct mark {
	Isod__V1__ProducerMark told; /* its text is `id` */
	char id[PRODUCER_ID_MAX + 1];
};

struct marks {
	struct map map;
	struct mark *last; /* frames come in runs */
	size_t bytes;      /* the most that they take in a packed tally */
};

void marks_init(struct marks *m);
void marks_release(struct marks *m);
/* A valid id, or STR_NONE, which is left out. */
void marks_note(struct marks *m, struct str producer, uint64_t sequence);
/* Fills `t->producers` (array from `arena`, which must not be limited; marks stay owned here). */
void marks_tally(const struct marks *m, struct arena *arena, Isod__V1__Tally *t);
/* They are in a packed tally now. */
void marks_reset(struct marks *m);

#endif
