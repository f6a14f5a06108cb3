/* What must reach somebody when isod cannot do its work: an alert that goes straight to the plugins, past ledger and fold,
 * because those are what has failed. It goes once to each plugin that some route names for incidents of any kind, with
 * attempts and back-off as that route says; where every route is for certain tactics only, to those plugins. */
#ifndef ISOD_ALARM_H
#define ISOD_ALARM_H

#include <stdbool.h>

#include "config/config.h"
#include "ledger.pb-c.h"

struct alarm;
struct event_base;

struct alarm_options {
	const struct config *config; /* must outlive it */
	struct event_base *base;
	/* escalate_send */
	void (*send)(void *arg, const Isod__V1__Notification *n,
	             const Isod__V1__Incident *incident);
	void *arg;
};

struct alarm *alarm_new(const struct alarm_options *o);
/* NULL is allowed. */
void alarm_free(struct alarm *a);

void alarm_raise(struct alarm *a, const char *title, const char *detail);
/* `what` (evidence, the ledger) cannot be written. If `broken` (log/segment.h, segment_sync) the process ends: with
 * status EX_IOERR, as soon as the plugins have told it or five seconds later. */
void alarm_storage(struct alarm *a, const char *what, int error, bool broken);
/* A plugin's answer. False: not to an alarm, the ledger's business. */
bool alarm_result(struct alarm *a, const Isod__V1__PluginResult *result);
/* None waits for an answer or for another attempt. */
bool alarm_idle(const struct alarm *a);

#endif
