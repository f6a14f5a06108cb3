/* Inside base/tls*.c: what contexts (tls_context.c), connections (tls.c) and certificates (tls_peer.c) share. */
#ifndef ISOD_BASE_TLS_INTERNAL_H
#define ISOD_BASE_TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "base/tls.h"

#define TLS_WORDS_MAX 256

struct tls_guard; /* whose certificates a server lets in */

struct tls_context {
	atomic_uint references;
	SSL_CTX *ssl;
	bool server;
	uint64_t crl_until_ns; /* 0: no lists */
};

struct tls {
	SSL *ssl;
	short wants;
	bool established;
	int failed;          /* the negative errno that ended it, 0 while it works */
	X509 *refused;       /* the peer's certificate, if that is why */
	bool no_certificate; /* … or that it showed none */
	char words[TLS_WORDS_MAX];
};

/* A code of OpenSSL's error queue in words. `ssl`: the connection that it is about, or NULL. */
void tls_describe(unsigned long code, const SSL *ssl, char *out, size_t size);

/* ---- tls_peer.c ---- */

/* Until when, in ns; UINT64_MAX past what that can hold, 0 before 1970. */
uint64_t tls_time(const ASN1_TIME *t);
void tls_certificate_read(X509 *x, struct tls_certificate *ret);
bool tls_ssl_peer_name(const SSL *ssl, char *out, size_t size);
/* The context verifies its peers by `s` from now on, and owns what it needs for that. 0 or -EINVAL and `error`. */
int tls_guard_install(SSL_CTX *ctx, const struct tls_settings *s, char *error, size_t error_size);
/* All that are allowed are known by their fingerprints: no CA is needed. */
bool tls_guard_is_pinned(const struct tls_settings *s);
/* … or one of them is: peers that look for their CA in our list might show nothing. */
bool tls_guard_has_pins(const struct tls_settings *s);

#endif
