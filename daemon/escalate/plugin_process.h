/* One running plugin: its pipes, its messages, its end. Everything that can go wrong with a process comes out as one
 * call of `gone`, after which nothing of it is left: not the process, not its group, not a zombie. */
#ifndef ISOD_ESCALATE_PLUGIN_PROCESS_H
#define ISOD_ESCALATE_PLUGIN_PROCESS_H

#include "base/child.h"
#include "base/str.h"
#include "plugin.pb-c.h"

struct event_base;
struct plugin_process;

struct plugin_process_options {
	struct event_base *base;
	const char *name;      /* for the log */
	const char *program;   /* a path */
	const char *directory; /* where it runs; NULL: "/" */
	const struct child_confinement
		*confinement; /* base/child.h; lives as long as the process */
	/* A message of the plugin. May call plugin_process_send and _stop. */
	void (*message)(void *arg, const Isod__V1__FromPlugin *message);
	/* All that was handed over is in the pipe: there is room for more. */
	void (*drained)(void *arg);
	/* It has ended; `why` in words that fit behind "plugin ": "died (signal 11)". The process is freed when
	 * this returns. */
	void (*gone)(void *arg, const char *why);
	void *arg;
};

/* The strings of `o` must live as long as the process. 0 and *ret, or -errno; no callback from inside. */
int plugin_process_start(const struct plugin_process_options *o, struct plugin_process **ret);

/* Hands over delimited bytes. 0; -ENOBUFS when the plugin reads too slowly for so much; -EPIPE when it has closed a
 * pipe or was stopped, and will be gone soon. */
int plugin_process_send(struct plugin_process *p, struct str bytes);

/* Nothing it says is heard any more; it is asked to end (SIGTERM) and made to (SIGKILL). `gone` comes later with
 * `why`. */
void plugin_process_stop(struct plugin_process *p, const char *why);

#define PLUGIN_PROCESS_END_NS (2 * UINT64_C(1000000000)) /* for all of them together */
/* Ends `count` processes without the loop: closes their input, hears what they still say, and kills what is left
 * when the time is over. `gone` is called for each before this returns. */
void plugin_process_end(struct plugin_process **processes, size_t count);

#endif
