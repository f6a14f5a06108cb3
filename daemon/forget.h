/* Producers (log/producer.h) that were not heard of for producers.forget_after are forgotten: by the workers, and with a
 * record in the ledger, so that every fold of it forgets them at the same place whatever the configuration says then. One
 * thread, that of the loop. */
#ifndef ISOD_FORGET_H
#define ISOD_FORGET_H

#include <stdint.h>

struct forget;
struct clock_steady;
struct config;
struct event_base;
struct ingest;
struct officer;

struct forget_options {
	const struct config *config;
	struct event_base *base;
	struct clock_steady *clock; /* the ledger's */
	struct officer *officer;
	struct ingest *ingest;
};

struct forget *forget_new(const struct forget_options *o);
/* NULL is allowed. */
void forget_free(struct forget *f);
void forget_counters(const struct forget *f,
                     void (*count)(void *arg, const char *name, uint64_t value), void *arg);

#endif
