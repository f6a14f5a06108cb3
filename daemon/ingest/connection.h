/* Inside ingest/: a connection, as stream.c (bytes in, frames out, life and death) and relp_session.c (answers) share
 * it. */
#ifndef ISOD_INGEST_CONNECTION_H
#define ISOD_INGEST_CONNECTION_H

#include "ingest/framing.h"
#include "ingest/worker.h"

struct relp_session;

struct connection {
	LIST_ENTRY(connection) all;
	TAILQ_ENTRY(connection) unread;
	bool is_unread;
	bool open;         /* TLS: the handshake is done */
	bool closing;      /* nothing more is read; it ends when the answers are out */
	short waits;       /* what `io` is armed for */
	short read_wants;  /* what reading waits for: TLS may have to write first */
	short write_wants; /* … and what writing waits for */
	int fd;
	struct worker *worker;
	struct port *port;
	struct tls *tls;
	struct framing framing;
	struct relp_session *relp; /* instead of framing; NULL: none */
	struct buf rest;           /* of an incomplete frame */
	TAILQ_ENTRY(connection) unfinished;
	size_t unfinished_bytes; /* of `rest`; not 0: it is in the worker's list */
	uint64_t began_ns;       /* clock_mono() when that frame did */
	struct peer *who;        /* among shared->peers */
	bool held_back;          /* not read for a while: more came than a peer may send */
	uint64_t last_ns; /* clock_mono() of the last input, or of the last answer that went out */
	struct event io, timer;
	struct evidence_peer *identity; /* that its certificate proved; NULL: none */
	struct sockaddr_storage peer;
	char peer_text[NET_TEXT_MAX];
	char source[]; /* LISTENER/ADDRESS */
};

/* ---- stream.c ---- */

/* A connection begins: `fd` and the place of `who` are its own from now on. */
void stream_open(struct port *port, int fd, const struct sockaddr_storage *peer, struct peer *who);
/* A frame came in by it. */
void stream_frame(struct connection *c, uint64_t now_ns, struct str frame, bool truncated);
/* Arms the connection for what it may do now: to be called when answers have come or gone. */
void stream_rearm(struct connection *c);
/* Writes some of `data`: how many bytes, or -EAGAIN, -errno. */
ssize_t stream_write(struct connection *c, struct str data);
/* The connection is gone when this returns. */
void stream_close(struct connection *c);
/* What arrives is read no more; when the answers are out, or the peer does not take them in time, it ends. Closes at once
 * when there are none. False: it has. */
bool stream_close_gently(struct connection *c);
/* It is read again: its answers had been too many. */
void stream_resume(struct connection *c);

#endif
