/* The Redis view: the current absolute value of every key that changed, written in one pipelined batch every flush
 * interval. Redis is never the truth: it may be away, slow, restarted or emptied; isod goes on, and rewrites the view
 * whole when Redis is back (or when the marker key it left there is gone).
 *
 * The keys. NODE is the node's name with ':', '%', white space and control characters as %XX. Keys with NODE hold what
 * that node counted: readers add the nodes up. The others belong to the one officer: two independent isods want two
 * databases (redis://HOST/DB). Times are RFC 3339 text in UTC in hashes, and milliseconds since 1970 where they are
 * numbers (scores, fields of iso:metric). Flat fields have the schema's names (view/command.h tells the rules); every
 * field is always there, empty or 0 when there is nothing to tell.
 *
 *   iso:incident:ID                     hash: flat members of isod.v1.Incident (state, severity, title, opened, changed,
 *                                       first, last, matches, entities, tactics, techniques, owner, acknowledged, closed,
 *                                       disposition, note …) and `json`: the whole message
 *   iso:incidents                       sorted set: incident ID by changed time
 *   iso:incidents:open                  sorted set: ID of incidents not closed by severity (0 none, 1 informational …
 *                                       5 critical)
 *   iso:risk:KIND:NAME                  hash of isod.v1.EntityRisk: entity, score, updated, matches, last_incident. The
 *                                       score is that of the time `updated`, and halves every risk_half_life_ms (of
 *                                       iso:node:NODE) after it
 *   iso:risk                            sorted set: KIND:NAME by decayed score, never more than 2 % too high; what has
 *                                       decayed to nothing is not in it
 *   iso:metric:NODE:SCOPE:NAME:total    string: count since the ledger began
 *   iso:metric:NODE:SCOPE:NAME:RES      hash, RES minute, hour or day: start of the span → count. Spans without a count
 *                                       are left out; kept are METRIC_MINUTES, _HOURS, _DAYS before the newest
 *   iso:source:NODE:LISTENER/PEER       hash: flat members of isod.v1.SourceStatus (received, which is the sum of matched,
 *                                       unmatched, undecoded, refused and shed; why: refused_framing, refused_empty,
 *                                       shed_kernel, shed_own_events, shed_rate; truncated, bytes, first_received, last_received,
 *                                       clock_skew_ms). NODE:LISTENER/(kernel): what the kernel dropped of datagrams
 *   iso:notification:ID                 hash: flat members of isod.v1.Notification
 *   iso:node:NODE                       hash, with each flush: version, started, updated, events, matches, incidents,
 *                                       incidents_open, notifications_pending, notifications_dead, sources,
 *                                       risk_half_life_ms, ledger_sequence, ledger_head, view (complete, rewriting)
 *   iso:changes                         stream (MAXLEN ~ VIEW_STREAM_MAX), id LEDGER_SEQUENCE-N: kind (incident,
 *                                       notification), id, json (an incident's without timeline and evidence) of what
 *                                       changed, at most one entry per thing and flush
 *   iso:view:NODE                       string EPOCH:NUMBER of the last batch, ":rewriting" behind it while a whole
 *                                       rewrite runs: what isod knows its view by
 *
 * On an external Redis (5 or later, not a cluster; maxmemory-policy noeviction) an account for isod needs
 *   ACL SETUSER isod on >PASSWORD ~iso:* +@read +@write +@connection +@transaction
 * The process must ignore SIGPIPE. */
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
	const uint8_t *(*head)(void *arg); /* the ledger's head, for iso:node; may be NULL */
	const char *version;               /* of isod, for iso:node; may be NULL */
	/* Redis went away or came back: `reason` in words. The first call tells how the first attempt went. Never called
	 * from inside view_open and view_close. */
	void (*connected)(void *arg, bool connected, const char *reason);
	void *arg; /* of both */
};

/* Starts the embedded server (supervised: restarted with back-off when it dies) or connects to the external one.
 * 0 and *ret (also when Redis cannot be reached yet), or -errno with `error` when it can never work (no such program,
 * bad URL, certificates that do not load). With redis.mode off: 0 and a view that does nothing. To be called in a
 * thread that lives as long as the view (see redis_server_open). The options' pointers must outlive it. */
int view_open(const struct view_options *o, struct view **ret, char *error, size_t error_size);
/* A last flush if Redis is there (at most 2 s), then ends the embedded server. */
void view_close(struct view *v);

/* The effects.dirty of the fold. At most one write per dirty key per flush interval. */
void view_mark(struct view *v, enum view_kind kind, struct str key);

bool view_connected(const struct view *v);
/* Redis holds the whole view and the present value of everything, as far as its last answer tells. */
bool view_settled(const struct view *v);
size_t view_dirty(const struct view *v);
/* Address for people: the embedded socket's path or the URL without its password. */
const char *view_address(const struct view *v);
/* Flushes, refused commands, whole rewrites, lost connections and deaths of the embedded server, by name. */
void view_counters(const struct view *v, void (*count)(void *arg, const char *name, uint64_t value),
                   void *arg);

#endif
