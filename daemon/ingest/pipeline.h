/* What happens to one frame, in order: evidence, decode, classify, detect, and the records that go to the officer.
 * One pipeline per worker thread; also used to re-detect evidence after a crash. Nothing here knows sockets.
 *
 * These are two phases. pipeline_frame appends to evidence in memory and pipeline_write writes it: that is all that
 * taking in, and an acknowledgement, depends on. pipeline_detect then works through what was written, in order, as far as
 * its time allows; what it does not come to waits in evidence (ingest/backlog.h), however much that is. Matches are
 * published when the evidence before them is on the disk, so that no match ever refers to a frame that a crash or a power
 * cut took. */
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
	size_t backlog_memory; /* bytes of undetected evidence kept in memory; what follows is read back from the disk */
	/* Evidence that is detected again holds a numbered frame: its producer is that far. May be NULL. */
	void (*numbered)(void *arg, struct str producer, uint64_t sequence);
	void *arg;
};

struct pipeline;

struct pipeline *pipeline_new(const struct pipeline_options *o);
void pipeline_free(struct pipeline *p);

/* One frame, into evidence. `e->source` and `e->frame` are copied. When it is detected, a numbered one's sequence becomes its
 * producer's mark in the next tally; like all records that is published behind its evidence, as a mark that outlived its frames in a power
 * cut would make the producer's own copy of them unwelcome. */
void pipeline_frame(struct pipeline *p, uint64_t received_ns, const struct evidence *e);
/* `lost` frames of the source did not become events: noted in evidence, and counted as refused or shed. */
void pipeline_lost(struct pipeline *p, uint64_t now_ns, struct str source, enum evidence_loss loss,
                   uint64_t lost);

/* Another content, in two steps: prepare does what takes time (and may be repeated with a newer one), switch puts it in
 * the place of the old one. No event is worked on by both: every frame that was detected before the switch is the old
 * one's, every other the new one's. So what waits in evidence at the switch is the new one's too: who loads better rules
 * to catch up with a flood need not wait until the old ones have seen all of it. */
void pipeline_prepare(struct pipeline *p, struct content *content);
void pipeline_switch(struct pipeline *p);

/* Between two frames: takes up the compiled form of the content's rules if there is one by now. Costs nothing else. */
void pipeline_refresh(struct pipeline *p);

/* Ends a batch of frames: writes evidence (write(2)), then publishes the records whose evidence is on the disk by now, as
 * far as the ring has room. 0; -errno when evidence cannot be written (stop reading from sockets and call again soon). */
int pipeline_write(struct pipeline *p);
/* Detects what was written, until nothing waits (0) or, by clock_mono(), it is `until` (1: there is more). It stops early with
 * -EAGAIN when the ring is full (until pipeline_write has found room), -EINPROGRESS when too much waits for the disk (until
 * pipeline_durable), -errno when what waits on the disk cannot be read (the log tells why). */
int pipeline_detect(struct pipeline *p, uint64_t until);
/* pipeline_write with fdatasync(2) of the evidence: afterwards nothing that was detected is held. -EAGAIN when the ring was
 * full: call again soon. */
int pipeline_commit(struct pipeline *p);
/* What waits for detection. */
struct pipeline_lag {
	uint64_t records, bytes; /* of evidence; bytes are an estimate while on_disk */
	uint64_t
		oldest_ns; /* arrival of the oldest, or of one a little before it; 0: nothing waits */
	bool on_disk;      /* more than is kept in memory */
};
struct pipeline_lag pipeline_lag(const struct pipeline *p);
/* Bytes of evidence that wait to be written: what an input that outruns the disk would grow. */
size_t pipeline_pending(const struct pipeline *p);
/* A match waits for its evidence to be on the disk; and evidence up to this sequence is. */
bool pipeline_waits(const struct pipeline *p);
void pipeline_durable(struct pipeline *p, uint64_t upto);
/* What cost too much, since the start. From any thread. */
struct pipeline_counts {
	uint64_t incomplete; /* events of which fields past a limit were left out (event/event.h) */
	uint64_t limited;    /* tests of rules that a bound cut short, and that so did not hold */
	uint64_t left_out;   /* times that damaged evidence was left out */
};
struct pipeline_counts pipeline_counts(const struct pipeline *p);
/* The newest sequence in evidence, and the newest that was detected. */
uint64_t pipeline_evidence(const struct pipeline *p);
uint64_t pipeline_detected(const struct pipeline *p);
/* Records of evidence that are not in a tally yet. */
uint64_t pipeline_untallied(const struct pipeline *p);
/* True when something was counted since the last tally. */
bool pipeline_has_tally(const struct pipeline *p);
/* Puts a tally of everything that was detected behind the matches; it goes out with pipeline_commit, or
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
