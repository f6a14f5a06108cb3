/* The listeners and the worker threads that serve them. Each worker has its own event loop, pipeline and evidence
 * log; listening sockets are shared out with SO_REUSEPORT. */
#ifndef ISOD_INGEST_INGEST_H
#define ISOD_INGEST_INGEST_H

#include "api.pb-c.h"
#include "config/config.h"
#include "ingest/pipeline.h"

struct ingest;

struct ingest_options {
	const struct config *config;
	struct inbox *inbox; /* one ring per worker */
	const struct ruleset *rules;
	const struct logsources *logsources;
	const struct patterns *patterns;
	const struct cursor *
		cursors; /* from the ledger, by worker: where evidence must be detected again from */
	size_t cursor_count;
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

/* From any thread: an event of isod's own goes through evidence and detection like any other, as source "isod/NODE".
 * `json` is a whole JSON object; its field "product" should be "isod". Dropped (and counted) when a named number
 * wait already. */
void ingest_own_event(struct ingest *i, struct str json);

/* From any thread: the listeners' state. *ret_statuses: `*ret_count` of them, each with its strings to be freed with
 * isod__v1__listener_status__free_unpacked, the array with free(). */
void ingest_status(struct ingest *i, Isod__V1__ListenerStatus ***ret_statuses, size_t *ret_count);
/* Frames that arrived and are not yet counted in the ledger, own events dropped, and the like, by name. */
void ingest_counters(struct ingest *i, void (*count)(void *arg, const char *name, uint64_t value),
                     void *arg);

#endif
