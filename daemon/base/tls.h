/* TLS through OpenSSL 3: the one place that sees it (besides base/hash.c). Listeners, the API, the Redis
 * client and isoctl share it. RFC 8446 and RFC 5246; RFC 9325 for the defaults: TLS 1.2 and 1.3 only, forward
 * secrecy and AEAD only, no compression, no renegotiation, no session tickets (a client that writes and closes
 * would leave them unread and its kernel would reset what is still in our receive queue) unless asked for.
 * Peers are known by their certificates as in RFC 5425 sections 4.2 and 5.
 * The process ignores SIGPIPE: OpenSSL writes with write(2). */
#ifndef ISOD_BASE_TLS_H
#define ISOD_BASE_TLS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/hash.h"

struct bufferevent;
struct event_base;
struct tls_context; /* settings and certificates, shared read-only by connections and threads */
struct tls;         /* one connection */

enum tls_peer_check {
	TLS_PEER_NONE,     /* ask for no certificate */
	TLS_PEER_OPTIONAL, /* verify one if it is shown */
	TLS_PEER_REQUIRED,
};

struct tls_settings {
	const char *certificate; /* PEM chain; a client may have none */
	const char *key;         /* PEM */
	const char *
		ca; /* PEM bundle that peers are verified against; NULL on a client: the system's */
	enum tls_peer_check peers; /* of a server; a client always verifies unless `insecure` */
	bool insecure;             /* client only: do not verify (for tests and first steps) */

	/* Server only, about the certificates of its peers: */
	const char *crl; /* PEM, certificate revocation lists of the CAs; NULL: none */
	/* Whose certificates are let in; count 0: everybody's that `ca` vouches for. Each is one of
	 *   host.example.org    a name: the common name or a subjectAltName (DNS, e-mail, URI) is that
	 *   *.example.org       any one label in the place of the *
	 *   192.0.2.1           an address among the subjectAltNames
	 *   subject:CN=…,O=…    the whole subject, as RFC 2253 writes it
	 *   sha-256:AB:CD:…     the fingerprint (RFC 5425 section 4.2.2; sha-1: too). Such a certificate needs no CA: it
	 *                       may be self-signed, and `ca` may be NULL if all are of this kind. */
	const char *const *allowed;
	size_t allowed_count;
	bool tickets; /* session tickets for clients that want to resume */
};

#define TLS_NAME_MAX        256 /* of one name, terminated; longer ones are none */
#define TLS_NAMES_BYTES     1024 /* of all names of a certificate, terminated; some hosts have dozens */
#define TLS_SUBJECT_MAX     512
#define TLS_FINGERPRINT_MAX (8 + 3 * SHA256_BYTES) /* "sha-256:AB:CD…", terminated */

/* What a certificate says. */
struct tls_certificate {
	char name[TLS_NAME_MAX]; /* the common name or the first alternative one; "": it has none */
	char subject[TLS_SUBJECT_MAX]; /* RFC 2253, cut if it is longer */
	/* Common name, then DNS, address, e-mail and URI names, each terminated, one behind the other. */
	char names[TLS_NAMES_BYTES];
	size_t names_bytes;
	bool more; /* there are more than that */
	uint8_t fingerprint[SHA256_BYTES];
	uint64_t from_ns, until_ns; /* it is valid */
};

/* The fingerprint as RFC 5425 section 4.2.2 writes it. Returns `out`. */
char *tls_fingerprint(const uint8_t fingerprint[static SHA256_BYTES],
                      char out[static TLS_FINGERPRINT_MAX]);

/* *ret is freed with tls_context_unref. On failure -EINVAL (or -ENOENT …) and the reason, with the file it
 * is about, in `error`. */
int tls_context_new(bool server, const struct tls_settings *settings, struct tls_context **ret,
                    char *error, size_t error_size);
struct tls_context *tls_context_ref(struct tls_context *c);
struct tls_context *tls_context_unref(struct tls_context *c); /* NULL is allowed; returns NULL */

/* Its own certificate; false: it has none. */
bool tls_context_certificate(const struct tls_context *c, struct tls_certificate *ret);
/* Until when its revocation lists hold, the first that ends: then every peer is refused. 0: it has none. */
uint64_t tls_context_crl_until(const struct tls_context *c);

/* A connection on a non-blocking socket, which it does not own. Never NULL. `name` (client): the host name or
 * address to verify and to send as SNI; NULL for a server. */
struct tls *tls_new(struct tls_context *c, int fd, const char *name);
/* Sends close_notify if the handshake was finished, without waiting. NULL is allowed. */
void tls_free(struct tls *t);

/* tls_read takes up to `n` bytes out of as many records as are there. Records are fetched ahead of need, so it must be
 * called until it answers -EAGAIN before waiting for the socket: what is buffered already wakes no event loop.
 * Each returns: 0 done / n > 0 bytes; -EAGAIN (tls_wants tells for what); -EPIPE when the peer has closed in
 * order (close_notify); -ECONNRESET when it closed without; -EPROTO for a TLS error (tls_error tells). */
int tls_handshake(struct tls *t);
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_write(struct tls *t, const void *p, size_t n);
/* Sends close_notify: nothing more can be written, but reading goes on until the peer's own end (-EPIPE) or the alert
 * that tells what it did not like. 0, -EAGAIN or as above. */
int tls_shutdown(struct tls *t);
/* EV_READ or EV_WRITE (libevent's bits): what the last -EAGAIN waits for. */
short tls_wants(const struct tls *t);
/* What went wrong, in words, terminated; "" if nothing. Valid until the next call on `t`. */
const char *tls_error(const struct tls *t);

/* The verified peer certificate's common name (or first SAN), into `out`; false when there was none. */
bool tls_peer_name(const struct tls *t, char *out, size_t size);

/* All of the verified peer's certificate; false when there was none. */
bool tls_peer(const struct tls *t, struct tls_certificate *ret);
/* After a handshake that failed: it did because of the peer's certificate, or because there was none. */
bool tls_refused(const struct tls *t);
/* … and the certificate that was refused; false when there was none. Nothing of what it says is proved. */
bool tls_refused_peer(const struct tls *t, struct tls_certificate *ret);

/* The same behind a bufferevent (it owns `fd`; its callbacks are deferred), for connections that are not on the hot
 * path. `fd` may be -1 and the connection be made with bufferevent_socket_connect. Freed with tls_bufferevent_free, which
 * says close_notify first, or with bufferevent_free. After BEV_EVENT_CONNECTED the peer's name is tls_bufferevent_peer. */
struct bufferevent *tls_bufferevent(struct event_base *base, struct tls_context *c, int fd,
                                    bool server, const char *name);
bool tls_bufferevent_peer(struct bufferevent *bev, char *out, size_t size);
/* What went wrong, in words, into `out`; "" if it was not TLS. Once per error. Returns `out`. */
const char *tls_bufferevent_error(struct bufferevent *bev, char *out, size_t size);
void tls_bufferevent_free(struct bufferevent *bev);

#endif
