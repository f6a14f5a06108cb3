/* isoctl's side of the protobuf socket: one connection, requests and answers in turn. Failures are told on stderr. */
#ifndef ISOD_ISOCTL_CLIENT_H
#define ISOD_ISOCTL_CLIENT_H

#include "isoctl.h"

#define ISOCTL_FAILED      1
#define ISOCTL_UNREACHABLE 3

struct client;

/* Connects over the unix socket, or over TLS when ctl->host is set. 0 and *ret, or ISOCTL_UNREACHABLE. */
int client_open(const struct isoctl *ctl, struct client **ret);
void client_close(struct client *c);

/* Sends the request (its id is set here) and waits for the answer, which must be of the kind `wanted`. 0 and *ret
 * (freed by the caller with isod__v1__response__free_unpacked), or the exit status to end with. */
int client_ask(struct client *c, Isod__V1__Request *request, Isod__V1__Response__AnswerCase wanted,
               Isod__V1__Response **ret);
/* The same for what takes the daemon as long as it takes: waits without a limit. */
int client_ask_patiently(struct client *c, Isod__V1__Request *request,
                         Isod__V1__Response__AnswerCase wanted, Isod__V1__Response **ret);
/* Sends a request without waiting; its id is set here. 0 or an exit status. */
int client_send(struct client *c, Isod__V1__Request *request);
/* Tells an error that an answer holds. Returns the exit status. */
int client_refused(const Isod__V1__Error *e);
/* The next answer that comes by itself, however long it takes. */
int client_next(struct client *c, Isod__V1__Response **ret);

#endif
