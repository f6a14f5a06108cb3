/* What happens to one frame, in order: evidence, decode, classify, detect, and the records that go to the officer.
 * One pipeline per worker thread; also used to re-detect evidence after a crash. Nothing here knows sockets.
 *
 * pipeline_frame appends to evidence in memory and gathers matches. These are published when the evidence before them is
 * on the disk, so that no match ever refers to a frame that a crash or a power cut took. */
#ifndef ISOD_INGEST_PIPELINE_H
#define ISOD_INGEST_PIPELINE_H

#include "log/evidence.h"
#include "officer/inbox.h"

/* sigma/content.h. Only pointers pass through here, and this way sockets and libevent (which has a `struct event` of
 * its own) stay apart from event/event.h. */
struct content;

#define PIPELINE_SOURCES_MAX                                                                       \
	10000 /* sources counted apart between two tallies; past it: "LISTENER/(other)" */
/* The largest match. Each ring of the inbox must have at least twice this and some. */
#define PIPELINE_RECORD_MAX ((size_t)128 << 10)

struct pipeline_options {
	size_t worker;                /* whose ring */
	struct segment_log *evidence; /* the worker's own */
	struct inbox *inbox;
	struct content *content; /* the pipeline takes a reference; it counts as worker `worker` */
	/* Evidence that is detected again holds a numbered frame: its producer is that far. May be NULL. */
	void (*numbered)(void *arg, struct str producer, uint64_t sequence);
	void *arg;
};

struct pipeline;

struct pipeline *pipeline_new(const struct pipeline_options *o);
void pipeline_free(struct pipeline *p);

/* One frame. `e->source` and `e->frame` are copied where needed. A numbered one's sequence becomes its producer's mark in
 * the next tally; like all records that is published behind its evidence, as a mark that outlived its frames in a power
 * cut would make the producer's own copy of them unwelcome. */
void pipeline_frame(struct pipeline *p, uint64_t received_ns, const struct evidence *e);
/* `lost` frames of the source did not become events: noted in evidence, and counted as refused or shed. */
void pipeline_lost(struct pipeline *p, uint64_t now_ns, struct str source, enum evidence_loss loss,
                   uint64_t lost);

/* Another content, in two steps: prepare does what takes time (and may be repeated with a newer one), switch puts it in
 * the place of the old one. No event is worked on by both: every frame before the switch is the old one's, every frame
 * after it the new one's. */
void pipeline_prepare(struct pipeline *p, struct content *content);
void pipeline_switch(struct pipeline *p);

/* Between two frames: takes up the compiled form of the content's rules if there is one by now. Costs nothing else. */
void pipeline_refresh(struct pipeline *p);

/* Ends a batch: writes evidence (write(2)), then publishes the records whose evidence is on the disk by now. 0; -EAGAIN
 * when the ring was full (some are still held back: stop reading from sockets and call again soon); -errno when evidence
 * cannot be written (same). When very much waits for the disk, as pipeline_commit. */
int pipeline_write(struct pipeline *p);
/* The same, with fdatasync(2) of the evidence: afterwards nothing is held. */
int pipeline_commit(struct pipeline *p);
/* Bytes of evidence that wait to be written, and of records if they are too many: what an input that outruns the
 * disk would grow. */
size_t pipeline_pending(const struct pipeline *p);
/* A match waits for its evidence to be on the disk; and evidence up to this sequence is. */
bool pipeline_waits(const struct pipeline *p);
void pipeline_durable(struct pipeline *p, uint64_t upto);
/* What cost too much, since the start. From any thread. */
struct pipeline_counts {
	uint64_t incomplete; /* events of which fields past a limit were left out (event/event.h) */
	uint64_t limited;    /* tests of rules that a bound cut short, and that so did not hold */
};
struct pipeline_counts pipeline_counts(const struct pipeline *p);
/* The newest sequence in evidence, and the newest that was detected. */
uint64_t pipeline_evidence(const struct pipeline *p);
uint64_t pipeline_detected(const struct pipeline *p);
/* Frames counted and not yet in a tally. */
uint64_t pipeline_untallied(const struct pipeline *p);
/* True when something was counted since the last tally. */
bool pipeline_has_tally(const struct pipeline *p);
/* Puts a tally of everything up to the last frame behind the matches; it goes out with pipeline_commit, or
 * pipeline_write once its evidence is on the disk. */
void pipeline_tally(struct pipeline *p);

/* Evidence in folder `dir` of worker `worker` (maybe not this one: the number of workers may have changed) from
 * sequence `from` on is detected again, its matches and a tally published as that worker's. To be called before the
 * first frame. `go_on` is asked after every batch, with `full` when the ring was full (it should wait a little then);
 * false ends the work early, with a tally of what was done if there is room for it. Returns how many frames, or
 * -errno with `error` (then what came before the bad record is tallied). */
int64_t pipeline_redetect(struct pipeline *p, size_t worker, const char *dir, uint64_t from,
                          bool (*go_on)(void *arg, bool full), void *arg, char *error,
                          size_t error_size);
/* The last sequence that the last pipeline_redetect came to. */
uint64_t pipeline_redetected(const struct pipeline *p);

#endif
