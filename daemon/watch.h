/* For those who watch over isod: whether it turns (systemd's watchdog, GET /healthz), whether it is ready (/readyz), and what
 * /metrics and the API tell of queues and latencies. In the main thread, but for the web's own (api/web.h). */
#ifndef ISOD_WATCH_H
#define ISOD_WATCH_H

#include "api.pb-c.h"
#include "config/config.h"

struct api;
struct activation;
struct escalate;
struct event_base;
struct inbox;
struct ingest;
struct officer;
struct watch;

/* Opens http.address, if there is one, or takes the socket that `passed` (may be NULL) has for it; until watch_begin it answers with what is going on: `phase`. 0 and *ret, or -errno
 * with `error`. */
int watch_open(const struct config *config, struct event_base *base, struct activation *passed,
               const char *phase, struct watch **ret, char *error, size_t error_size);
/* NULL is allowed, for `phase` not. */
void watch_phase(struct watch *w, const char *phase);

/* All of them outlive the watch, or watch_end comes first. */
struct watch_parts {
	struct ingest *ingest;
	struct officer *officer;
	struct escalate *escalate;
	struct api *api;
	struct inbox *inbox;
};
/* Everything is open, and the loop is about to turn. */
void watch_begin(struct watch *w, const struct watch_parts *parts);
/* It is not any more: `phase`. NULL is allowed for `w`. */
void watch_end(struct watch *w, const char *phase);
/* NULL is allowed. */
void watch_close(struct watch *w);

/* Adds to a status what is known here: queues, latencies. After watch_begin. */
void watch_status(const struct watch *w, Isod__V1__Status *status);
/* As others count. */
void watch_counters(const struct watch *w,
                    void (*count)(void *arg, const char *name, uint64_t value), void *arg);

#endif
