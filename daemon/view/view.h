/* The Redis view: the current absolute value of every key that changed, written in one pipelined batch every flush
 * interval. Redis is never the truth: it may be away, slow, restarted or emptied; isod goes on, and rewrites the view
 * whole when Redis is back (or when the marker key it left there is gone). The keys:
 *
 *   iso:incident:ID            hash: one field per member of isod.v1.Incident that a dashboard needs, and `json`
 *   iso:incidents              sorted set: incident id by changed time (ms)
 *   iso:incidents:open         sorted set: open incidents by severity
 *   iso:risk:KIND:NAME         hash: score, updated, matches, last_incident
 *   iso:risk                   sorted set: entity key by score at the time it was written
 *   iso:metric:NODE:SCOPE:NAME:RES   hash: span start (s) → count, the newest spans
 *   iso:metric:NODE:SCOPE:NAME  string: total
 *   iso:source:NODE:LISTENER/PEER    hash: the source's account
 *   iso:notification:ID        hash
 *   iso:node:NODE              hash: version, started, events, matches, ledger sequence and head
 *   iso:changes                stream (MAXLEN ~ VIEW_STREAM_MAX): kind, id, json of what changed
 *   iso:view:NODE              the marker: epoch of the last whole rewrite */
#ifndef ISOD_VIEW_VIEW_H
#define ISOD_VIEW_VIEW_H

#include "config/config.h"
#include "officer/state.h"

#define VIEW_STREAM_MAX 10000

struct event_base;
struct view;

struct view_options {
	const struct config *config;
	struct event_base *base;
	const struct state *state;         /* read in the same thread */
	const uint8_t *(*head)(void *arg); /* the ledger's head, for iso:node */
	/* Redis went away or came back: `reason` in words. */
	void (*connected)(void *arg, bool connected, const char *reason);
	void *arg;
};

/* Starts the embedded server (supervised: restarted with back-off when it dies) or connects to the external one.
 * 0 and *ret (also when Redis cannot be reached yet), or -errno with `error` when it can never work (no such program,
 * bad URL). With redis.mode off: 0 and a view that does nothing. */
int view_open(const struct view_options *o, struct view **ret, char *error, size_t error_size);
/* A last flush if Redis is there (at most 2 s), then ends the embedded server. */
void view_close(struct view *v);

/* The effects.dirty of the fold. At most one write per dirty key per flush interval. */
void view_mark(struct view *v, enum view_kind kind, struct str key);

bool view_connected(const struct view *v);
size_t view_dirty(const struct view *v);
/* Address for people: the embedded socket's path or the URL without its password. */
const char *view_address(const struct view *v);

#endif
