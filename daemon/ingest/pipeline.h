/* What happens to one frame, in order: evidence, decode, classify, detect, and the records that go to the officer.
 * One pipeline per worker thread; also used to re-detect evidence after a crash. Nothing here knows sockets.
 *
 * pipeline_frame appends to evidence in memory and gathers matches; pipeline_commit writes the evidence first and
 * only then publishes the matches, so that no match ever refers to a frame that a killed process never wrote. */
#ifndef ISOD_INGEST_PIPELINE_H
#define ISOD_INGEST_PIPELINE_H

#include "event/decode.h"
#include "log/evidence.h"
#include "officer/inbox.h"
#include "sigma/match.h"

#define PIPELINE_SOURCES_MAX                                                                       \
	10000 /* sources counted apart between two tallies; past it: "LISTENER/(other)" */

struct pipeline_options {
	size_t worker;                /* whose ring */
	struct segment_log *evidence; /* the worker's own */
	struct inbox *inbox;
	const struct ruleset *rules;
	const struct logsources *logsources;
	const struct patterns *patterns;
	uint64_t skew_ns; /* settings.correlation_skew: only for the reported clock skew */
};

struct pipeline;

struct pipeline *pipeline_new(const struct pipeline_options *o);
void pipeline_free(struct pipeline *p);

/* One frame. `e->source` and `e->frame` are copied where needed. */
void pipeline_frame(struct pipeline *p, uint64_t received_ns, const struct evidence *e);
/* A frame that could not be taken (bad framing, shed): counted as refused for its source. */
void pipeline_refused(struct pipeline *p, uint64_t now_ns, struct str source);

/* Ends a batch: writes evidence, then publishes the matches. 0; -EAGAIN when the ring was full (some are still
 * held back: stop reading from sockets and call again soon); -errno when evidence cannot be written (same). */
int pipeline_commit(struct pipeline *p);
/* True when something was counted since the last tally. */
bool pipeline_has_tally(const struct pipeline *p);
/* Puts a tally of everything up to the last frame behind the matches; publish with pipeline_commit. */
void pipeline_tally(struct pipeline *p);

/* Evidence in folder `dir` of worker `worker` (maybe not this one: the number of workers may have changed) from
 * sequence `from` on is detected again, its matches and a tally published as that worker's. `wait` is called
 * when the ring is full. Returns how many frames, or -errno with `error`. */
int64_t pipeline_redetect(struct pipeline *p, size_t worker, const char *dir, uint64_t from,
                          void (*wait)(void *), void *arg, char *error, size_t error_size);

#endif
