/* Inside ingest/: an HTTP Event Collector on one worker's socket, over libevent's HTTP server. hec.c has the connections
 * (admission, limits, time-outs), hec_request.c what is asked and how it is answered. */
#ifndef ISOD_INGEST_HEC_H
#define ISOD_INGEST_HEC_H

#include "base/map.h"
#include "ingest/hec_ack.h"
#include "ingest/hec_parse.h"
#include "ingest/worker.h"

struct evhttp;
struct evhttp_bound_socket;
struct evhttp_connection;
struct evhttp_request;
struct bufferevent;
struct evbuffer_cb_entry;

struct hec_connection;
LIST_HEAD(hec_connection_list, hec_connection);

/* A request whose evidence is on its way to the disk. */
struct hec_wait {
	struct waiter waiter;
	LIST_ENTRY(hec_wait) link;
	struct hec_door *door;
	struct hec_connection
		*connection; /* that wants to know; NULL: it has an ackId, or is gone */
	char *channel;       /* TOKEN/CHANNEL of the ackId; NULL: it has none */
	uint64_t ack_id;
};
LIST_HEAD(hec_wait_list, hec_wait);

struct hec_door {
	struct port *port;
	struct evhttp *http;
	struct evhttp_bound_socket *bound;
	struct hec_connection_list connections;
	struct map by_evhttp; /* struct hec_connection by the pointer of libevent's */
	struct hec_wait_list waits;
	size_t wait_count;
	size_t buffered; /* bytes of requests that have not come whole */
	struct hec_reader *reader;
	struct buf expanded, meta;
	bool stopping;
};

/* What a connection's timer waits for. */
enum hec_deadline {
	HEC_UNTIL_NEVER,
	HEC_UNTIL_HANDSHAKE,
	HEC_UNTIL_REQUEST, /* … has come whole */
	HEC_UNTIL_ANSWERED,
	HEC_UNTIL_IDLE,
};

struct hec_connection {
	LIST_ENTRY(hec_connection) all;
	struct hec_door *door;
	struct bufferevent *bev;
	struct evhttp_connection *evhttp; /* NULL: not known yet */
	struct event admit, timer;
	enum hec_deadline deadline;
	struct sockaddr_storage peer;
	char peer_text[NET_TEXT_MAX], host[NET_TEXT_MAX];
	bool admitted;         /* counted */
	bool shut;             /* it ends */
	bool spoken;           /* something has come: TLS has shaken hands */
	bool answering;        /* what goes out is ours */
	bool refused;          /* what goes out is libevent's own refusal: told already */
	size_t request_bytes;  /* of the request that is coming */
	uint64_t request_mono; /* when it began */
	uint64_t requests;
	struct evhttp_request *asked; /* waits for its answer */
};

/* ---- hec.c ---- */

/* Begins to serve the port's socket. 0 or -ENOMEM. */
int hec_open(struct port *p);
/* Takes no more connections, or does again. */
void hec_pause(struct port *p, bool pause);
/* For the end: no more connections and no more events … */
void hec_stop(struct port *p);
/* … and when what was taken is on the disk: sends the last answers and closes. */
void hec_close(struct port *p);
/* The connection ends; nothing more is sent. */
void hec_shut(struct hec_connection *c);
void hec_arm(struct hec_connection *c, enum hec_deadline deadline);
/* Something is refused: counted, logged, an own event. `what`: its name. */
void hec_refuse(struct hec_connection *c, const char *what, const char *reason);

/* ---- hec_request.c ---- */

/* libevent's callback of every request; `arg` is the door. */
void hec_on_request(struct evhttp_request *req, void *arg);
/* All that waits is forgotten. */
void hec_forget_waits(struct hec_door *d);

#endif
