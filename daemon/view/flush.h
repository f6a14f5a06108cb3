/* The machine that brings Redis up to date through one client: flushes of the dirty set, the check of the marker,
 * whole rewrites. It knows nothing of how the client connects. */
#ifndef ISOD_VIEW_FLUSH_H
#define ISOD_VIEW_FLUSH_H

#include "officer/state.h"
#include "view/redis_client.h"

struct flush;

struct flush_options {
	const struct state *state;
	const char *node;
	const char *version; /* may be NULL */
	const char *address; /* for messages */
	uint64_t interval_ns;
	const uint8_t *(*head)(void *arg); /* may be NULL */
	void *head_arg;
};

struct flush_counters {
	uint64_t flushes;  /* batches that Redis answered */
	uint64_t refused;  /* commands that it answered with an error */
	uint64_t rewrites; /* of the whole view, finished */
};

struct flush *flush_new(const struct flush_options *o);
/* After flush_detach. NULL is allowed. */
void flush_free(struct flush *f);

/* Works through this client, in this loop, from now on. `hurry`: the daemon ends; no interval, no rewrite. */
void flush_attach(struct flush *f, struct event_base *base, struct redis_client *client,
                  bool hurry);
/* Lets go of client and loop; what was sent and not answered is sent again after the next attach. */
void flush_detach(struct flush *f);

void flush_mark(struct flush *f, enum view_kind kind, struct str key);

/* The client's callbacks; `arg` is the struct flush. */
void flush_up(struct flush *f);
void flush_down(struct flush *f);
void flush_reply(struct flush *f, size_t index, const redisReply *reply);
void flush_done(struct flush *f);

/* Keys that wait to be written. */
size_t flush_pending(const struct flush *f);
/* The whole view was written, and nothing says that it is not there any more. */
bool flush_whole(const struct flush *f);
/* Redis holds the present value of everything, as far as the last answer tells. */
bool flush_settled(const struct flush *f);
const struct flush_counters *flush_counters(const struct flush *f);

#endif
