/* An HTTP server on a socket, over libevent's (RFC 9110, RFC 9112), with the limits that libevent's does not have: how
 * many connections there are, how long a request may take in all, how much memory all requests together may take that
 * have not come whole; and whatever is refused is told, with who it was. Everything from the thread that runs the loop. */
#ifndef ISOD_BASE_HTTPD_H
#define ISOD_BASE_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/net.h"

struct evbuffer;
struct event_base;
struct evhttp_request;
struct httpd;
struct tls_context;

/* What is not as it should be. */
enum httpd_trouble {
	HTTPD_TLS,        /* no handshake */
	HTTPD_CONNECTION, /* `admit` said no */
	HTTPD_REQUEST,    /* too long, too slow, not HTTP */
};

/* One connection, from `admit` to `closed`. */
struct httpd_connection {
	struct sockaddr_storage peer;
	char peer_text[NET_TEXT_MAX]; /* with the port */
	char host[NET_TEXT_MAX];      /* without */
	struct evhttp_request *asked; /* that has not been answered; NULL: none */
	void *data;                   /* the user's */
};

struct httpd_options {
	struct event_base *base;
	/* What a new connection is made by, as of now; the httpd unrefs it. NULL: no TLS. */
	struct tls_context *(*tls)(void *arg);
	size_t head_max; /* bytes of a request's first line and headers */
	size_t body_max; /* and of its body; 0: it may have none */
	size_t buffered_max; /* of all that have not come whole; past it the one that takes longest goes */
	uint64_t requests_max; /* of one connection; then it is closed */
	uint64_t handshake_ns;
	uint64_t
		request_ns; /* from its first byte to its last; and an answer must be read in this time */
	uint64_t idle_ns; /* until the next one; 0: for ever */
	/* May there be one more connection? If not, `refused` is told `why`. */
	bool (*admit)(void *arg, struct httpd_connection *c, int fd, char *why, size_t why_size);
	/* It was admitted, and is freed now. */
	void (*closed)(void *arg, struct httpd_connection *c);
	/* It is closed then. */
	void (*refused)(void *arg, const struct httpd_connection *c, enum httpd_trouble trouble,
	                const char *reason);
	/* No connection was refused, but one that is silent for too long is closed. May be NULL. */
	void (*silent)(void *arg, const struct httpd_connection *c);
	/* accept(2) has failed: httpd_pause is in order. */
	void (*exhausted)(void *arg, int error);
	/* A request, c->asked, has come whole: httpd_answer must follow, now or later, unless `closed` comes first. */
	void (*request)(void *arg, struct httpd_connection *c);
	void *arg;
};

/* Serves a listening socket, which is duplicated. NULL: no memory or no descriptors. */
struct httpd *httpd_new(const struct httpd_options *o, int fd);
/* Closes all connections. NULL is allowed. */
void httpd_free(struct httpd *h);
/* Accepts no connections, or does again. */
void httpd_pause(struct httpd *h, bool pause);
/* Accepts none any more, and closes each with its next answer. */
void httpd_stop(struct httpd *h);
/* Turns the loop until the answers are on their way, or not for long. */
void httpd_flush(struct httpd *h);

/* Answers c->asked with what is in `body`, which is emptied. */
void httpd_answer(struct httpd_connection *c, int status, const char *type, struct evbuffer *body,
                  bool close);

#endif
