/* A plugin for isod in C: two functions and a main. isod starts the program, sends it its options once and alerts
 * after that, over standard input and output (proto/plugin.proto; plugins/README.md tells the rules); plugin_main()
 * does all of that, one alert at a time, until isod closes the input:
 *
 *	#include "plugin.h"
 *
 *	static int setup(void *state, const Isod__V1__PluginSetup *s, char *error, size_t size)
 *	{
 *		return plugin_check_options(s, NULL, 0, error, size);
 *	}
 *
 *	static enum plugin_outcome alert(void *state, const Isod__V1__PluginAlert *a, char *detail, size_t size)
 *	{
 *		fprintf(stderr, "incident %llu: %s\n", (unsigned long long)a->incident->id, a->incident->title);
 *		return PLUGIN_DELIVERED;
 *	}
 *
 *	int main(void)
 *	{
 *		return plugin_main(&(struct plugin){.setup = setup, .alert = alert});
 *	}
 *
 * What the program writes on standard error stands in isod's log, line by line. While it runs, standard output is
 * standard error too, so that a stray printf cannot spoil the conversation. */
#ifndef ISOD_PLUGINS_PLUGIN_H
#define ISOD_PLUGINS_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.pb-c.h"

enum plugin_outcome {
	PLUGIN_DELIVERED = ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_DELIVERED,
	PLUGIN_RETRY = ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_RETRY,   /* may work later */
	PLUGIN_FAILED = ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_FAILED, /* never will */
};

struct plugin {
	/* Takes the options. 0, or -1 with the reason in `error`, in words for the operator; isod tells them and
	 * tries again later. Copy what is to be kept. */
	int (*setup)(void *state, const Isod__V1__PluginSetup *setup, char *error, size_t size);
	/* Delivers one alert, in less time than its `timeout` in conf/escalation.yaml. `detail`: what the operator
	 * should read about the attempt, at most one line. `alert->incident` is never NULL here. */
	enum plugin_outcome (*alert)(void *state, const Isod__V1__PluginAlert *alert, char *detail,
	                             size_t size);
	void *state;
};

/* Returns what main should: 0 when isod closed the input, 1 when the conversation broke. */
int plugin_main(const struct plugin *p);

/* The option's value, or NULL. Valid during setup. */
const char *plugin_option(const Isod__V1__PluginSetup *s, const char *name);
/* Each returns 0 with the value, or with *ret untouched when the option is absent; -1 with the reason in `error`.
 * Booleans are true/false, yes/no, on/off; durations "10s", "500ms", "1m". */
int plugin_option_bool(const Isod__V1__PluginSetup *s, const char *name, bool *ret, char *error,
                       size_t size);
int plugin_option_duration(const Isod__V1__PluginSetup *s, const char *name, uint64_t *ret_ns,
                           char *error, size_t size);
/* 0 when every option's name is in `names`; a name there that ends in a dot ("headers.") stands for all that begin
 * with it. Else -1, and `error` names the option and the nearest known one. */
int plugin_check_options(const Isod__V1__PluginSetup *s, const char *const *names, size_t count,
                         char *error, size_t size);

#endif
