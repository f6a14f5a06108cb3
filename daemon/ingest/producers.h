/* How far each producer is: one table for all workers, so that it is exact whichever worker finds a producer's frames when
 * evidence is detected again. While a producer's frames are taken in, only its own worker (producers_worker) asks. */
#ifndef ISOD_INGEST_PRODUCERS_H
#define ISOD_INGEST_PRODUCERS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/map.h"
#include "log/producer.h"

struct producers {
	pthread_mutex_t lock;
	struct map map; /* uint64_t by producer: its mark */
};

void producers_init(struct producers *p);
void producers_release(struct producers *p);

/* The worker that all of the producer's frames go to. */
size_t producers_worker(struct str producer, size_t workers);
/* From any thread. Raises its mark; however many there are, as these stand in evidence or the ledger. */
void producers_note(struct producers *p, struct str producer, uint64_t upto);
/* From any thread. Whether another one finds room, or it is known. */
bool producers_has_room(struct producers *p, struct str producer);
/* From any thread. The mark, or 0: such a producer is not known, and is not made known either. */
uint64_t producers_ask(struct producers *p, struct str producer);
size_t producers_count(struct producers *p);
/* From any thread. Forgets a producer whose mark is `upto`, an unknown one's being 0. False: it is another. */
bool producers_forget(struct producers *p, struct str producer, uint64_t upto);

#endif
