/* Plugin processes: started from conf/escalation.yaml, spoken to over their standard input and output
 * (proto/plugin.proto), watched, restarted with back-off. A plugin that hangs, crashes or talks nonsense costs an
 * attempt of the alerts it had and nothing else. Runs in the officer's loop; every pipe is non-blocking and capped. */
#ifndef ISOD_ESCALATE_ESCALATE_H
#define ISOD_ESCALATE_ESCALATE_H

#include "api.pb-c.h"
#include "base/histogram.h"
#include "config/config.h"

#define ESCALATE_QUEUE_MAX   1000 /* alerts waiting for one plugin; past it: answered RETRY at once */
#define ESCALATE_MESSAGE_MAX ((size_t)1 << 20) /* bytes of one message either way */

struct event_base;
struct escalate;

struct escalate_options {
	const struct config *config;
	struct event_base *base;
	/* What came of an attempt: becomes a PluginResult record. */
	void (*result)(void *arg, const Isod__V1__PluginResult *result);
	/* A plugin died, hung, broke the protocol or refused its options, for isod's own events; it is started again.
	 * Not logged here. */
	void (*trouble)(void *arg, const char *plugin, const char *what);
	void *arg;
};

/* Starts every configured plugin, from the loop; keeps nothing of the configuration. 0 and *ret, -errno with `error` when a program does not exist. */
int escalate_open(const struct escalate_options *o, struct escalate **ret, char *error,
                  size_t error_size);
/* Closes the plugins' input, waits at most 2 s for them to end, then kills them. Calls `result` for what they still
 * answer in that time. What has no answer by then gets none: a RETRY would cost an attempt, perhaps the last one,
 * because isod was stopped. It is as after a crash: in flight, and tried again at the next start under the same key. */
void escalate_close(struct escalate *e);

/* The effects.notify of the fold: hands one attempt to its plugin. The answer comes through options.result,
 * exactly once unless escalate_close comes first, and never from inside this call. The key the plugin sees is
 * NODE:NOTIFICATION_ID:CREATED_NS: the same for every attempt, another one in a new ledger. */
void escalate_send(struct escalate *e, const Isod__V1__Notification *n,
                   const Isod__V1__Incident *incident);

/* The same of what began at `since_mono` (clock_mono(); 0: nobody knows): how long it took until the plugin was handed it is
 * counted. */
void escalate_send_since(struct escalate *e, const Isod__V1__Notification *n,
                         const Isod__V1__Incident *incident, uint64_t since_mono);
const struct histogram *escalate_latency(const struct escalate *e);

/* *ret_statuses: to be freed each with isod__v1__plugin_status__free_unpacked, the array with free(). */
void escalate_status(const struct escalate *e, Isod__V1__PluginStatus ***ret_statuses,
                     size_t *ret_count);

#endif
