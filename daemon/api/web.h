/* isod's state over HTTP, for those who watch over it: GET /metrics (Prometheus' text format), /healthz (200 while everything
 * turns: the officer and all workers; else 503) and /readyz (200 when everything is open, loaded and counted; else 503),
 * the latter two with the reason in words.
 *
 * A thread of its own, so that no client of it ever holds up the officer, and so that there is an answer when the officer
 * hangs. What it tells, the officer's thread is asked for: at most one question is under way, however many ask. */
#ifndef ISOD_API_WEB_H
#define ISOD_API_WEB_H

#include "api.pb-c.h"
#include "base/activation.h"
#include "base/buf.h"

#define WEB_CONNECTIONS_MAX 64 /* scrapers and probes are a handful */

struct web;

struct web_options {
	const char *address;       /* HOST:PORT */
	struct activation *passed; /* asked for "http" before it is bound; may be NULL */
	/* From its thread: web_tell is to follow soon, from another one. */
	void (*ask)(void *arg);
	/* From its thread: /metrics of that status. */
	void (*render)(struct buf *out, const Isod__V1__Status *status);
	void *arg;
};

/* What is known. Freed by who gets it. */
struct web_facts {
	Isod__V1__Status *status; /* with all sources */
	char *unhealthy;          /* why not; NULL: it is */
	char *not_ready;          /* the same */
};

/* Serves. `phase`: as web_phase. 0 and *ret, or -errno with `error`. */
int web_open(const struct web_options *o, const char *phase, struct web **ret, char *error,
             size_t error_size);
/* What is going on while nobody can be asked ("the ledger is folded"): it is healthy then and not ready. NULL: all is done,
 * and from now on it asks. NULL is allowed for `w`. */
void web_phase(struct web *w, const char *phase);
/* The answer to `ask`. Takes over what is in `facts`. */
void web_tell(struct web *w, const struct web_facts *facts);
/* HOST:PORT as bound. */
const char *web_address(const struct web *w);
/* Requests answered, connections refused, by name. From any thread; NULL is allowed for `w`. */
void web_counters(const struct web *w, void (*count)(void *arg, const char *name, uint64_t value),
                  void *arg);
/* NULL is allowed. */
void web_close(struct web *w);

#endif
