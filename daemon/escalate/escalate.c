#include "escalate/escalate.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "escalate/outlet.h"
#include "escalate/sandbox.h"

/* Results wait in a list for a turn of the loop of their own. The officer writes a record for each, the record is
 * folded, the fold may hand out the next attempt: were that to come from inside escalate_send or from the middle of
 * reading a pipe, everything here would have to be re-entrant. */

struct escalate {
	struct escalate_options o;
	char *node;
	struct sandbox *sandbox;
	struct outlet **outlets;
	size_t count;
	struct alert_list done;
	struct histogram latency; /* until an alert is handed to its plugin */
	struct event *deliver;
};

static void deliver_results(struct escalate *e)
{
	struct alert *a;

	while ((a = alert_list_take(&e->done))) {
		Isod__V1__PluginResult result = ISOD__V1__PLUGIN_RESULT__INIT;
		result.notification = a->notification;
		result.attempt = a->attempt;
		result.outcome = a->outcome;
		result.detail = a->detail;
		e->o.result(e->o.arg, &result);
		alert_free(a);
	}
}

static void on_deliver(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	deliver_results(arg);
}

static void on_done(void *arg, struct alert *a)
{
	struct escalate *e = arg;

	buf_release(&a->message);
	alert_list_add(&e->done, a);
	event_active(e->deliver, EV_TIMEOUT, 0);
}

static void on_trouble(void *arg, const char *plugin, const char *what)
{
	struct escalate *e = arg;

	e->o.trouble(e->o.arg, plugin, what);
}

/* The absolute path of a plugin's program (as configured: a path, or a name in plugin_dir), since it runs in another
 * folder. Not resolved further: a program may look at the name it is called by. */
static int find_program(const struct config *c, const struct plugin_config *p, char **ret,
                        char *error, size_t error_size)
{
	char cwd[PATH_MAX] = "";
	char *path = strchr(p->program, '/')
	                     ? xstrdup(p->program)
	                     : xasprintf("%s/%s", c->plugin_dir ? c->plugin_dir : ".", p->program);
	struct stat st;
	int r = 0;

	if (path[0] != '/' && getcwd(cwd, sizeof(cwd))) {
		char *absolute = xasprintf("%s/%s", cwd, path);
		free(path);
		path = absolute;
	}
	if (stat(path, &st) < 0 || access(path, X_OK) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = -EACCES;
	if (r < 0) {
		snprintf(error, error_size, "%s:%d:%d: error: plugin %s: cannot run %s: %s",
		         p->file ? p->file : "(configuration)", p->line, p->column, p->name, path,
		         strerror(-r));
		free(path);
		return r;
	}
	*ret = path;
	return 0;
}

/* Takes over the sandbox. */
static struct escalate *escalate_new(const struct escalate_options *o, struct sandbox *sandbox,
                                     char *const *programs)
{
	const struct config *c = o->config;
	struct escalate *e = xcalloc(1, sizeof(*e));

	e->o = *o;
	e->o.config = NULL;
	e->node = xstrdup(c->node ? c->node : "");
	e->sandbox = sandbox;
	e->deliver = event_new(o->base, -1, 0, on_deliver, e);
	if (!e->deliver)
		abort(); /* as any small allocation */
	e->outlets = xcalloc(c->plugin_count, sizeof(struct outlet *));
	for (size_t i = 0; i < c->plugin_count; i++) {
		const struct outlet_options outlet = {.base = o->base,
		                                      .config = &c->plugins[i],
		                                      .program = programs[i],
		                                      .confinement = sandbox_confinement(sandbox),
		                                      .done = on_done,
		                                      .trouble = on_trouble,
		                                      .arg = e,
		                                      .latency = &e->latency};
		e->outlets[e->count++] = outlet_new(&outlet);
	}
	return e;
}

int escalate_open(const struct escalate_options *o, struct escalate **ret, char *error,
                  size_t error_size)
{
	const struct config *c = o->config;
	char **programs = xcalloc(c->plugin_count, sizeof(*programs));
	struct sandbox *sandbox;
	int r = 0;

	for (size_t i = 0; i < c->plugin_count && r == 0; i++)
		r = find_program(c, &c->plugins[i], &programs[i], error, error_size);
	if (r == 0) {
		r = sandbox_new(&sandbox);
		if (r < 0)
			snprintf(error, error_size, "the filter of system calls for plugins: %s",
			         strerror(-r));
	}
	if (r == 0)
		*ret = escalate_new(o, sandbox, programs);
	for (size_t i = 0; i < c->plugin_count; i++)
		free(programs[i]);
	free(programs);
	return r;
}

void escalate_close(struct escalate *e)
{
	struct alert *a;

	if (!e)
		return;
	outlets_close(e->outlets, e->count);
	deliver_results(e);
	for (size_t i = 0; i < e->count; i++)
		outlet_free(e->outlets[i]);
	while ((a = alert_list_take(&e->done)))
		alert_free(a);
	event_free(e->deliver);
	sandbox_free(e->sandbox);
	free(e->outlets);
	free(e->node);
	free(e);
}

void escalate_send(struct escalate *e, const Isod__V1__Notification *n,
                   const Isod__V1__Incident *incident)
{
	escalate_send_since(e, n, incident, 0);
}

const struct histogram *escalate_latency(const struct escalate *e)
{
	return &e->latency;
}

void escalate_send_since(struct escalate *e, const Isod__V1__Notification *n,
                         const Isod__V1__Incident *incident, uint64_t since_mono)
{
	struct alert *a = alert_new(e->node, n, incident);

	a->since_mono = since_mono;
	for (size_t i = 0; i < e->count; i++) {
		if (strcmp(outlet_name(e->outlets[i]), n->plugin) == 0) {
			outlet_add(e->outlets[i], a);
			return;
		}
	}
	alert_finish(a, ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_FAILED,
	             "no plugin of this name is configured");
	on_done(e, a);
}

void escalate_status(const struct escalate *e, Isod__V1__PluginStatus ***ret_statuses,
                     size_t *ret_count)
{
	Isod__V1__PluginStatus **statuses = xcalloc(e->count, sizeof(*statuses));

	for (size_t i = 0; i < e->count; i++)
		statuses[i] = outlet_status(e->outlets[i]);
	*ret_statuses = statuses;
	*ret_count = e->count;
}
