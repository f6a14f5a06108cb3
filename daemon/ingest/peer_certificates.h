/* The certificates that senders have shown, each once however many connections it makes: so that somebody is told before
 * one ends. All functions may be called from any thread. */
#ifndef ISOD_INGEST_PEER_CERTIFICATES_H
#define ISOD_INGEST_PEER_CERTIFICATES_H

#include <pthread.h>

#include "base/map.h"
#include "base/tls.h"

/* More senders than connections_max usually is; past it those that end last are forgotten. */
#define PEER_CERTIFICATES_MAX 10000

struct peer_certificate {
	uint8_t fingerprint[SHA256_BYTES];
	char *name;           /* that it has, or its subject */
	const char *listener; /* by which it came last; the configuration's */
	uint64_t until_ns;
	uint64_t seen_ns; /* last */
};

struct peer_certificates {
	pthread_mutex_t lock;
	struct map map;  /* by fingerprint */
	uint64_t forgot; /* how many there was no room for */
};

void peer_certificates_init(struct peer_certificates *p);
void peer_certificates_release(struct peer_certificates *p);
/* True when it is a new one. */
bool peer_certificates_note(struct peer_certificates *p, const char *listener,
                            const struct tls_certificate *c, uint64_t now_ns);
/* How many there was no room for. */
uint64_t peer_certificates_forgot(struct peer_certificates *p);
/* Calls `visit` for each, under the lock. Those that were not seen since `forget_ns` and have ended are forgotten first. */
void peer_certificates_each(struct peer_certificates *p, uint64_t forget_ns,
                            void (*visit)(void *arg, const struct peer_certificate *c), void *arg);

#endif
