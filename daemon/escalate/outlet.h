/* One configured plugin: the alerts that wait for it, the process that serves them, and its starting again with
 * back-off. What happens to the process costs the alerts it had an attempt each; those that wait go to the next one,
 * unless it never became ready. */
#ifndef ISOD_ESCALATE_OUTLET_H
#define ISOD_ESCALATE_OUTLET_H

#include "api.pb-c.h"
#include "base/histogram.h"
#include "config/config.h"
#include "escalate/alert.h"

struct event_base;
struct outlet;

struct outlet_options {
	struct event_base *base;
	const struct plugin_config *config; /* only looked at by outlet_new */
	const char *program;                /* a path */
	const struct child_confinement
		*confinement; /* of its process; lives as long as the outlet */
	/* The attempt is over (outcome and detail are set); takes the alert over. */
	void (*done)(void *arg, struct alert *a);
	void (*trouble)(void *arg, const char *plugin, const char *what);
	void *arg;
	struct histogram *latency; /* of alerts handed to the plugin: alert.since_mono */
};

/* Starts the process from the loop, not from here. Never NULL. */
struct outlet *outlet_new(const struct outlet_options *o);
/* Ends all `count` processes together (at most PLUGIN_PROCESS_END_NS), hearing the answers they still give. Alerts
 * without an answer get none any more, nor do those that are added from now on. */
void outlets_close(struct outlet **outlets, size_t count);
/* After outlets_close. */
void outlet_free(struct outlet *o);

/* Takes the alert over. `done` may be called from inside. */
void outlet_add(struct outlet *o, struct alert *a);

const char *outlet_name(const struct outlet *o);
/* To be freed with isod__v1__plugin_status__free_unpacked. */
Isod__V1__PluginStatus *outlet_status(const struct outlet *o);

#endif
