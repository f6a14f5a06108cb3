/* Inside ingest/: an HTTP Event Collector on one worker's socket. hec.c has the connections (who is let in, what is counted
 * and told), hec_request.c what is asked and how it is answered. */
#ifndef ISOD_INGEST_HEC_H
#define ISOD_INGEST_HEC_H

#include "base/httpd.h"
#include "ingest/hec_ack.h"
#include "ingest/hec_parse.h"
#include "ingest/worker.h"

/* A request whose evidence is on its way to the disk. */
struct hec_wait {
	struct waiter waiter;
	LIST_ENTRY(hec_wait) link;
	struct hec_door *door;
	struct httpd_connection
		*connection; /* that wants to know; NULL: it has an ackId, or is gone */
	char *channel;       /* TOKEN/CHANNEL of the ackId; NULL: it has none */
	uint64_t ack_id;
};
LIST_HEAD(hec_wait_list, hec_wait);

struct hec_door {
	struct port *port;
	struct httpd *httpd;
	struct hec_wait_list waits;
	size_t wait_count;
	struct hec_reader *reader;
	struct buf expanded, meta;
	bool stopping;
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
/* Something is refused: counted, logged, an own event `what`. */
void hec_refuse(struct hec_door *d, const struct httpd_connection *c, const char *what,
                const char *reason);

/* ---- hec_request.c ---- */

/* Answers the request c->asked, now or when the disk has it. */
void hec_request(struct hec_door *d, struct httpd_connection *c);
/* The connection is gone: nobody waits for the answer. */
void hec_forget(struct hec_door *d, const struct httpd_connection *c);
/* All that waits is forgotten. */
void hec_forget_waits(struct hec_door *d);

#endif
