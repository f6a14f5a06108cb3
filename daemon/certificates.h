/* Certificates while the daemon runs: those of its listeners, of the API, and those that senders have shown. Thirty days,
 * seven days and one day before one ends, and when it has, that is logged and told as an event of isod's own,
 * certificate_ends, once each: what was told already stands in STATE/certificates, so that a restart does not tell it again.
 * For a list of revoked certificates, which is short-lived, only the last two. On SIGHUP the files, and whom listeners
 * allow, are read anew. One thread, that of the loop. */
#ifndef ISOD_CERTIFICATES_H
#define ISOD_CERTIFICATES_H

#include "api.pb-c.h"
#include "config/config.h"

struct certificates;
struct api;
struct event_base;
struct ingest;
struct ingest_certificate;

/* How soon a certificate ends: the number of days, or 0 when it has; -1: not soon. */
int certificates_stage(const struct ingest_certificate *c, uint64_t now_ns);

struct certificates_options {
	const struct config *config;
	struct event_base *base;
	struct ingest *ingest;
	struct api *api;
	/* An event of isod's own; `pairs` is name, value, name, value …, NULL. */
	void (*event)(void *arg, const char *event, const char *const *pairs);
	void *arg;
};

struct certificates *certificates_new(const struct certificates_options *o);
void certificates_free(struct certificates *c); /* NULL is allowed */
/* From any thread: a peer has shown a certificate that is new. */
void certificates_look(struct certificates *c);
/* Reads configuration and files anew; what is wrong with them is logged and told, and everything stays as it was. */
void certificates_reload(struct certificates *c);
void certificates_status(struct certificates *c, Isod__V1__Status *status);

#endif
