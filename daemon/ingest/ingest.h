/* The listeners and the worker threads that serve them. Each worker has its own event loop, pipeline and evidence
 * log; listening sockets are shared out with SO_REUSEPORT. */
#ifndef ISOD_INGEST_INGEST_H
#define ISOD_INGEST_INGEST_H

#include "api.pb-c.h"
#include "base/histogram.h"
#include "config/config.h"
#include "ingest/pipeline.h"
#include "log/producer.h"

struct ingest;

struct ingest_options {
	struct clock_steady *clock; /* when frames arrive; NULL: the system's */
	const struct config *config;
	struct inbox *inbox;     /* one ring per worker */
	struct content *content; /* sigma/content.h; made for config->workers workers */
	/* All workers stand still for another content: see ingest_swap. From a worker's thread. May be NULL. */
	void (*parked)(void *arg);
	/* Evidence cannot be written, or can again: see ingest_storage. From a worker's thread. May be NULL. */
	void (*storage)(void *arg);
	/* A peer has shown a certificate for the first time: see ingest_certificates. As above. */
	void (*certificate)(void *arg);
	void *arg;
	const struct cursor *
		cursors; /* from the ledger, by worker: where evidence must be detected again from */
	size_t cursor_count;
	const struct map
		*producers; /* from the ledger: struct producer_mark by producer; may be NULL */
	struct activation
		*passed; /* base/activation.h: asked before a socket is bound; may be NULL */
};

/* Opens evidence, binds every listener, loads certificates. 0 and *ret, or -errno with the reason (naming the listener
 * and option) in `error`. No thread runs yet. */
int ingest_open(const struct ingest_options *o, struct ingest **ret, char *error,
                size_t error_size);
/* Starts the threads: each first detects again what the ledger has not counted, then serves. */
int ingest_start(struct ingest *i);
/* Stops accepting and reading, tallies, ends the threads. The officer must go on draining the inbox meanwhile:
 * `idle` is called again and again until they have ended. */
void ingest_stop(struct ingest *i, void (*idle)(void *), void *arg);
void ingest_free(struct ingest *i);

/* Numbered frames of a producer (log/producer.h): its worker takes them in and gives the batch back when they are on the
 * disk. 0; -EAGAIN while evidence is being detected again (its mark is not known yet), -ESHUTDOWN: nothing was taken.
 * ingest_answers_fd is readable when there are answered batches, and ingest_answers then calls `answered` for each.
 * All from the thread that made `i`; ingest_stop gives everything back, to be taken by one more ingest_answers. */
int ingest_take(struct ingest *i, struct producer_batch *b);
/* From any thread. Forgets a producer whose mark is `upto`: 0; -EAGAIN while evidence is being detected again; -EBUSY when
 * its mark is another one. And takes that back. */
int ingest_forget_producer(struct ingest *i, struct str producer, uint64_t upto);
void ingest_remember_producer(struct ingest *i, struct str producer, uint64_t upto);
int ingest_answers_fd(const struct ingest *i);
void ingest_answers(struct ingest *i, void (*answered)(void *arg, struct producer_batch *b),
                    void *arg);

/* Another content for all workers, between two events of each. One swap at a time; from the thread that made `i`.
 *
 * ingest_swap tells the workers. Each prepares for the new content while it goes on, then, between two frames, tallies
 * and publishes all that it found with the old one, and parks: it takes in nothing. When the last one has parked,
 * `parked` is called. At that moment everything that the old content found is in the inbox and nothing of the new one
 * is: what must stand between the two (new settings of the officer) is written now. ingest_swap_finish then lets the
 * workers go on with the new content.
 *
 * Frames that are in evidence and wait for detection at that moment are the new content's, as in a start after a crash.
 *
 * A worker that cannot write evidence, or whose ring is full, parks when it can again. Workers that are stopped stop
 * waiting and keep the old content. */
void ingest_swap(struct ingest *i, struct content *content);
void ingest_swap_finish(struct ingest *i);

/* The content that the workers have was compiled: they take that up. */
void ingest_refresh(struct ingest *i);

/* From any thread: an event of isod's own goes through evidence and detection like any other, as source "isod/NODE".
 * `json` is a whole JSON object; its field "product" should be "isod". Dropped (and counted) when a named number
 * wait already. */
void ingest_own_event(struct ingest *i, struct str json);

/* A certificate that is in use, or (with `revocations`) a listener's list of revoked ones. */
struct ingest_certificate {
	bool peer; /* a sender's, not a listener's own */
	bool revocations;
	const char *name, *listener;
	const uint8_t *fingerprint; /* SHA256_BYTES; NULL for a list */
	uint64_t until_ns;
};
/* Calls back for each: those of listeners, and those that peers have shown. From any thread. */
void ingest_certificates(struct ingest *i,
                         void (*visit)(void *arg, const struct ingest_certificate *c), void *arg);
/* Files of certificates, and whom listeners allow, anew: by `config`, whose listeners are those that run, by name. Connections
 * go on; new handshakes are by the new ones. 0, or the first -errno with `error`: the listener that it names and those
 * behind it stay as they were. *ret_count: how many listeners have new ones. From the thread that made `i`. */
int ingest_renew(struct ingest *i, const struct config *config, size_t *ret_count, char *error,
                 size_t error_size);

/* From any thread: the listeners' state. *ret_statuses: `*ret_count` of them, each with its strings to be freed with
 * isod__v1__listener_status__free_unpacked, the array with free(). */
void ingest_status(struct ingest *i, Isod__V1__ListenerStatus ***ret_statuses, size_t *ret_count);
/* From any thread: how far the workers are, but for `ledger`, which the officer knows. As above. */
void ingest_workers(struct ingest *i, Isod__V1__WorkerStatus ***ret_statuses, size_t *ret_count);
/* From any thread: 0, or the negative errno with which some worker's evidence cannot be written. *ret_broken: not even
 * later, because nobody knows any more what of it is on the disk (log/segment.h, segment_sync). */
int ingest_storage(struct ingest *i, bool *ret_broken);
/* From any thread: adds how long frames took from their arrival until their evidence was on the disk. */
void ingest_latency(struct ingest *i, uint64_t counts[static HISTOGRAM_STEPS + 1],
                    uint64_t *sum_ns);
/* Every worker is to go round once; and the first that has not since `since_mono`: its index, or -1. */
void ingest_ping(struct ingest *i);
int ingest_hung(struct ingest *i, uint64_t since_mono);
/* Frames that arrived and are not yet counted in the ledger, own events dropped, and the like, by name. */
void ingest_counters(struct ingest *i, void (*count)(void *arg, const char *name, uint64_t value),
                     void *arg);

#endif
