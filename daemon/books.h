/* Evidence and ledger while the daemon runs: finished segments are compressed and removed in time (log/keeper.h), and the
 * ledger's head is anchored (log/anchor.h): in STATE/anchors, signed with STATE/anchors.key (made at the first start;
 * STATE/anchors.pub is the public one; without it, after a restore, earlier anchors are set aside with theirs as
 * STATE/anchors.until-SECONDS and ….pub), and as the same line to syslog. The view has it too, without a signature, in
 * iso:node:NODE. What happens is logged, told as an event of isod's own and counted. One thread, that of the loop; the work itself
 * is done in the keeper's. */
#ifndef ISOD_BOOKS_H
#define ISOD_BOOKS_H

#include <stdint.h>

#include "config/config.h"

struct books;
struct event_base;
struct state;

struct books_options {
	const struct config *config;
	struct event_base *base;
	const struct state *state; /* read in the loop's thread */
	/* The sequence up to which a durable snapshot covers the ledger; NULL: there is none, the ledger is kept. */
	uint64_t (*snapshot)(void *arg);
	/* The ledger's last record and the chain value after it; a negative errno when there is none now. */
	int (*head)(void *arg, uint64_t *ret_sequence, const uint8_t **ret_head);
	/* An event of isod's own; `pairs` is name, value, name, value …, NULL. */
	void (*event)(void *arg, const char *event, const char *const *pairs);
	void *arg;
};

/* 0 and *ret, or -errno with `error`. */
int books_open(const struct books_options *o, struct books **ret, char *error, size_t error_size);
/* Anchors the ledger once more. Ends the thread; what it was doing is given up and done another time. NULL is allowed. */
void books_close(struct books *b);
void books_counters(const struct books *b,
                    void (*count)(void *arg, const char *name, uint64_t value), void *arg);

#endif
