/* How long frames take from their arrival until their evidence is on the disk. Frames arrive in runs with one time and
 * become durable in runs with one sync, so runs are what is kept. Of one worker, for its thread; the histogram may be read
 * from any. */
#ifndef ISOD_INGEST_LATENCY_H
#define ISOD_INGEST_LATENCY_H

#include "base/histogram.h"

/* Runs between two syncs: usually one a read. When there are more the last takes in all further ones, and the frames in it
 * count as if they had come with its first. */
#define LATENCY_RUNS 256

struct latency_run {
	uint64_t upto; /* evidence */
	uint64_t arrived_ns, frames;
};

struct latency {
	struct latency_run runs[LATENCY_RUNS]; /* a ring */
	size_t first, count;
	struct histogram durable;
};

/* The frame of that sequence arrived. */
void latency_arrived(struct latency *l, uint64_t sequence, uint64_t now_ns);
/* Evidence up to there is on the disk. */
void latency_durable(struct latency *l, uint64_t upto, uint64_t now_ns);

#endif
