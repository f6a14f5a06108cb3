/* One connection to a Redis: made, authenticated, watched and made again with back-off. Commands are gathered into a
 * batch and sent together (pipelined); the next batch is sent after the last answer to this one, so what can be
 * outstanding is what the owner put into one batch. Everything runs in the owner's event loop and nothing blocks. */
#ifndef ISOD_VIEW_REDIS_CLIENT_H
#define ISOD_VIEW_REDIS_CLIENT_H

#include <hiredis/hiredis.h>

#include "base/redis_url.h"

struct event_base;
struct redis_client;
struct tls_context;

struct redis_client_options {
	struct event_base *base;
	const struct redis_url *url;
	struct tls_context *tls; /* for rediss:// */
	const char *
		password_file; /* read at each connection, so that it may change; before the URL's password */
	const char *name; /* CLIENT SETNAME: no spaces */
	/* None of these may free the client; none is called from inside redis_client_new. */
	void (*up)(void *arg); /* authenticated and ready for a batch */
	/* The connection is gone, or an attempt at one failed; another is made by and by. What was sent and is not
	 * answered may or may not have been done. `timeout`: Redis said nothing for too long. */
	void (*down)(void *arg, const char *reason, bool timeout);
	void (*reply)(void *arg, size_t index, const redisReply *reply); /* to command `index` */
	void (*done)(void *arg); /* the whole batch is answered */
	void *arg;
};

/* The options' pointers must outlive the client. The first attempt is made when the loop runs. */
struct redis_client *redis_client_new(const struct redis_client_options *o);
/* NULL is allowed. A question to the name servers that is still open is let go of when the loop turns the next time. */
void redis_client_free(struct redis_client *c);

/* Connects now rather than after the back-off (there is reason to believe that it works now). */
void redis_client_retry(struct redis_client *c);
/* True between up() and down(). */
bool redis_client_ready(const struct redis_client *c);

/* Adds a command to the batch that is gathered. */
void redis_client_add(struct redis_client *c, int argc, const char *const *argv,
                      const size_t *lengths);
/* Bytes gathered so far. */
size_t redis_client_gathered(const struct redis_client *c);
/* Sends the batch; returns the number of commands in it. Only when ready and with nothing outstanding. */
size_t redis_client_send(struct redis_client *c);

#endif
