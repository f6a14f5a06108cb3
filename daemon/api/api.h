/* The protobuf socket: answers other services and isoctl. Runs in the officer's loop. Roles come from the unix
 * peer's uid and gids or the TLS peer's certificate; what each request needs stands in officer/access.h; a refusal is
 * an answer, a ledger record and an event. */
#ifndef ISOD_API_API_H
#define ISOD_API_API_H

#include "api.pb-c.h"
#include "config/config.h"
#include "officer/officer.h"

#define API_CONNECTIONS_MAX 256
#define API_OUTPUT_MAX                                                                             \
	((size_t)16 << 20) /* unread answers of one client; past it the client is closed */

struct api;
struct content;        /* sigma/content.h */
struct producer_batch; /* log/producer.h */

struct api_options {
	const struct config *config;
	struct event_base *base;
	struct officer *officer;
	/* Fills what only the shell knows (listeners, plugins, view, counters, rules) into a zeroed, initialised
	 * status; strings and arrays are allocated, freed with isod__v1__status__free_unpacked. */
	void (*status)(void *arg, Isod__V1__Status *status);
	/* Begins to load the rules anew. Returns a number, later ones higher, that api_rules_reloaded tells again. NULL:
	 * that cannot be asked for. */
	uint64_t (*reload)(void *arg);
	/* The rules that run now: valid until the loop goes on. NULL: their counts cannot be asked for. */
	const struct content *(*content)(void *arg);
	/* Numbered frames: 0, and later api_ingest_answered, or -EAGAIN (starting), -ESHUTDOWN. NULL: none are taken. */
	int (*ingest)(void *arg, struct producer_batch *b);
	/* A request was refused: isod's own event. */
	void (*refused)(void *arg, const Isod__V1__Refusal *refusal);
	struct activation
		*passed; /* base/activation.h: asked before a socket is bound; may be NULL */
	void *arg;
};

/* Takes the sockets that options.passed has under the names "api" and "api-tls" or at the configured addresses, or binds
 * them; a unix socket that nobody answers on any more is replaced. 0 and *ret, or -errno with `error`. */
int api_open(const struct api_options *o, struct api **ret, char *error, size_t error_size);
/* NULL is allowed. */
void api_close(struct api *a);
/* HOST:PORT of the TLS socket as bound, with the port the kernel chose; "" without one. */
const char *api_address(const struct api *a);

/* What a client is told that asks for the status, with all sources. To be freed with isod__v1__status__free_unpacked. */
Isod__V1__Status *api_status(const struct api *a);

/* The effects.incident of the fold: told to whoever watches, a little later. NULL is allowed for `a`. */
void api_incident_changed(struct api *a, const Isod__V1__Incident *incident);
/* What came of the reload of that number and of all before it: the answer to who asked for them. NULL is allowed for
 * `a`. */
void api_rules_reloaded(struct api *a, uint64_t number, const Isod__V1__RulesReloaded *outcome);
/* A batch that options.ingest has taken is done with. */
void api_ingest_answered(struct api *a, struct producer_batch *b);
/* Clients now, requests, refusals and the like, by name. */
void api_counters(const struct api *a, void (*count)(void *arg, const char *name, uint64_t value),
                  void *arg);

/* New handshakes are by these files of certificates as they are now; connections go on. 0, or -errno with `error`: then all
 * stays as it was. */
int api_renew(struct api *a, const struct api_config *c, char *error, size_t error_size);
/* What it shows to peers over TLS; NULL: it does not listen there. */
const struct tls_context *api_tls(const struct api *a);

#endif
