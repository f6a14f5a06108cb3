#include "escalate/plugin_process.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "escalate/escalate.h"
#include "escalate/plugin_input.h"

/* The end of a process is one path, whatever began it: the pidfd becomes readable, what is left in its pipes is read
 * (a plugin may answer and exit in one breath), its group is killed, it is reaped, and the owner hears `gone`.
 * stop() only leads there. A pipe that closes first is most often the beginning of that end, so the process gets a
 * moment to finish by itself and to tell with which status. */

#define CHUNK           ((size_t)64 << 10) /* read at once from one pipe; then others have their turn */
#define OUTPUT_MAX      (4 * ESCALATE_MESSAGE_MAX) /* waiting for a plugin that does not read */
#define LINE_MAX_BYTES  1000                       /* of one line on standard error */
#define WHY_MAX         512
#define KILL_AFTER_NS   (2 * NS_PER_SECOND) /* between SIGTERM and SIGKILL */
#define LINGER_AFTER_NS NS_PER_SECOND       /* between a closed pipe and SIGTERM */

struct plugin_process {
	struct plugin_process_options o;
	struct child child;
	struct event *on_in, *on_out, *on_err, *on_end, *on_timer;
	struct buf in, out, line;
	struct log_site
		log_site; /* its own, so that one plugin's chatter does not hide another's */
	bool line_cut;
	char last_line[200];
	const char *lost;  /* which pipe it closed, NULL: none */
	char why[WHY_MAX]; /* why it was stopped, "" while it was not */
	bool killed;
};

static void watch_timer(struct plugin_process *p, uint64_t ns)
{
	struct timeval tv = {.tv_sec = (time_t)(ns / NS_PER_SECOND),
	                     .tv_usec = (suseconds_t)(ns % NS_PER_SECOND / 1000)};
	event_add(p->on_timer, &tv);
}

void plugin_process_stop(struct plugin_process *p, const char *why)
{
	if (p->why[0])
		return;
	snprintf(p->why, sizeof(p->why), "%s", why);
	event_del(p->on_in);
	event_del(p->on_out);
	child_signal(&p->child, SIGTERM);
	watch_timer(p, KILL_AFTER_NS);
}

static void lose(struct plugin_process *p, const char *pipe)
{
	if (p->lost || p->why[0])
		return;
	p->lost = pipe;
	event_del(p->on_in);
	watch_timer(p, LINGER_AFTER_NS);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct plugin_process *p = arg;

	(void)fd;
	(void)what;
	if (!p->why[0]) {
		plugin_process_stop(p, p->lost ? p->lost : "was stopped");
	} else if (!p->killed) {
		p->killed = true;
		child_signal(&p->child, SIGKILL);
	}
}

/* Standard input of the plugin. */

static void write_some(struct plugin_process *p)
{
	while (p->out.n && p->child.in >= 0 && !p->lost && !p->why[0]) {
		ssize_t n = child_write(p->child.in, p->out.p, p->out.n);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN)
			break;
		if (n < 0)
			lose(p, "closed its input");
		else
			buf_consume(&p->out, (size_t)n);
	}
}

static void on_in(evutil_socket_t fd, short what, void *arg)
{
	struct plugin_process *p = arg;

	(void)fd;
	(void)what;
	write_some(p);
	if (p->out.n || p->lost || p->why[0])
		return;
	event_del(p->on_in);
	if (p->o.drained)
		p->o.drained(p->o.arg);
}

int plugin_process_send(struct plugin_process *p, struct str bytes)
{
	if (p->lost || p->why[0])
		return -EPIPE;
	int r = buf_add(&p->out, bytes);
	if (r == 0)
		event_add(p->on_in, NULL);
	return r;
}

/* Standard output. */

static bool hear(void *arg, const Isod__V1__FromPlugin *m)
{
	struct plugin_process *p = arg;

	p->o.message(p->o.arg, m);
	return !p->why[0];
}

/* False when there is nothing more to read now. */
static bool read_output(struct plugin_process *p)
{
	if (p->why[0] || p->child.out < 0 || buf_reserve(&p->in, CHUNK) < 0)
		return false;
	ssize_t n = read(p->child.out, p->in.p + p->in.n, CHUNK);
	if (n < 0)
		return errno == EINTR;
	if (n == 0) {
		event_del(p->on_out);
		child_close(&p->child.out);
		lose(p, "closed its output");
		return false;
	}
	p->in.n += (size_t)n;
	int r = plugin_input_take(&p->in, hear, p);
	if (r < 0) {
		char why[WHY_MAX];
		snprintf(why, sizeof(why), "broke the protocol: %s", plugin_input_error(r));
		plugin_process_stop(p, why);
	}
	return true;
}

static void on_out(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	read_output(arg);
}

/* Standard error. */

static void end_line(struct plugin_process *p)
{
	struct str line = str_trim(buf_str(&p->line));

	if (line.n) {
		log_at(&p->log_site, LOG_NOTICE, "plugin %s: %.*s%s", p->o.name, STR_FMT(line),
		       p->line_cut ? "…" : "");
		log_escape(line, p->last_line, sizeof(p->last_line));
	}
	buf_reset(&p->line);
	p->line_cut = false;
}

static bool read_errors(struct plugin_process *p)
{
	char chunk[4096];

	if (p->child.err < 0)
		return false;
	ssize_t n = read(p->child.err, chunk, sizeof(chunk));
	if (n < 0)
		return errno == EINTR;
	if (n == 0) {
		event_del(p->on_err);
		child_close(&p->child.err);
		return false;
	}
	for (struct str rest = str_make(chunk, (size_t)n); rest.n;) {
		ptrdiff_t end = str_find(rest, '\n');
		struct str part = str_head(rest, end < 0 ? rest.n : (size_t)end);
		struct str kept = str_head(part, LINE_MAX_BYTES - p->line.n);
		buf_add(&p->line, kept);
		p->line_cut |= kept.n < part.n;
		if (end >= 0)
			end_line(p);
		rest = str_skip(rest, end < 0 ? rest.n : (size_t)end + 1);
	}
	return true;
}

static void on_err(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	for (size_t i = 0; i < CHUNK / 4096 && read_errors(arg); i++)
		;
}

/* The end. */

static void process_free(struct plugin_process *p)
{
	struct event *events[] = {p->on_in, p->on_out, p->on_err, p->on_end, p->on_timer};

	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (events[i])
			event_free(events[i]);
	child_reap(&p->child);
	buf_release(&p->in);
	buf_release(&p->out);
	buf_release(&p->line);
	free(p);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct plugin_process *p = arg;
	char status[CHILD_STATUS_MAX], why[WHY_MAX];

	(void)fd;
	(void)what;
	child_signal(&p->child, SIGKILL); /* what it has forked writes no more */
	for (size_t i = 0; i < 2 * ESCALATE_MESSAGE_MAX / CHUNK && read_output(p); i++)
		;
	for (size_t i = 0; i < ESCALATE_MESSAGE_MAX / 4096 && read_errors(p); i++)
		;
	end_line(p);
	for (struct event **e = (struct event *[]){p->on_in, p->on_out, p->on_err, p->on_end,
	                                           p->on_timer, NULL};
	     *e; e++)
		event_del(*e);
	child_describe(child_reap(&p->child), status);
	if (p->why[0])
		snprintf(why, sizeof(why), "%s", p->why);
	else
		snprintf(why, sizeof(why), "died (%s)%s%s", status, p->last_line[0] ? ": " : "",
		         p->last_line);
	p->o.gone(p->o.arg, why);
	process_free(p);
}

int plugin_process_start(const struct plugin_process_options *o, struct plugin_process **ret)
{
	struct child_options child = {
		.program = o->program, .directory = o->directory, .confinement = o->confinement};
	struct plugin_process *p = xcalloc(1, sizeof(*p));

	p->o = *o;
	buf_init(&p->in, ESCALATE_MESSAGE_MAX + 2 * CHUNK);
	buf_init(&p->out, OUTPUT_MAX);
	buf_init(&p->line, LINE_MAX_BYTES);
	int r = child_spawn(&child, &p->child);
	if (r < 0) {
		free(p);
		return r;
	}
	p->on_in = event_new(o->base, p->child.in, EV_WRITE | EV_PERSIST, on_in, p);
	p->on_out = event_new(o->base, p->child.out, EV_READ | EV_PERSIST, on_out, p);
	p->on_err = event_new(o->base, p->child.err, EV_READ | EV_PERSIST, on_err, p);
	p->on_end = event_new(o->base, p->child.pidfd, EV_READ | EV_PERSIST, on_end, p);
	p->on_timer = event_new(o->base, -1, 0, on_timer, p);
	if (!p->on_in || !p->on_out || !p->on_err || !p->on_end || !p->on_timer ||
	    event_add(p->on_out, NULL) < 0 || event_add(p->on_err, NULL) < 0 ||
	    event_add(p->on_end, NULL) < 0) {
		process_free(p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

/* Without the loop. */

static void begin_end(struct plugin_process *p)
{
	event_del(p->on_in);
	event_del(p->on_out);
	event_del(p->on_err);
	event_del(p->on_end);
	write_some(p);
	child_close(&p->child.in);
}

/* Waits for one of them to have something to say or to end; serves it. */
static void serve_once(struct plugin_process **processes, size_t count, struct pollfd *fds,
                       int wait_ms)
{
	for (size_t i = 0; i < count; i++) {
		const struct child *c = processes[i] ? &processes[i]->child : NULL;
		fds[3 * i] = (struct pollfd){.fd = c ? c->out : -1, .events = POLLIN};
		fds[3 * i + 1] = (struct pollfd){.fd = c ? c->err : -1, .events = POLLIN};
		fds[3 * i + 2] = (struct pollfd){.fd = c ? c->pidfd : -1, .events = POLLIN};
	}
	if (poll(fds, (nfds_t)(3 * count), wait_ms) <= 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (fds[3 * i].revents)
			read_output(processes[i]);
		if (fds[3 * i + 1].revents)
			read_errors(processes[i]);
		if (fds[3 * i + 2].revents) {
			on_end(-1, 0, processes[i]);
			processes[i] = NULL;
		}
	}
}

void plugin_process_end(struct plugin_process **processes, size_t count)
{
	/* What to do when nothing else helped until then. */
	static const struct {
		uint64_t at_ns;
		int signal;
	} steps[] = {{PLUGIN_PROCESS_END_NS * 3 / 4, SIGTERM}, {PLUGIN_PROCESS_END_NS, SIGKILL}};
	struct plugin_process **left = xcalloc(count, sizeof(*left));
	struct pollfd *fds = xcalloc(3 * count, sizeof(*fds));
	uint64_t began = clock_mono();
	size_t step = 0;

	for (size_t i = 0; i < count; i++) {
		left[i] = processes[i];
		begin_end(left[i]);
	}
	for (;;) {
		bool any = false;
		for (size_t i = 0; i < count; i++)
			any |= left[i] != NULL;
		if (!any)
			break;
		uint64_t passed = clock_mono() - began;
		if (step < ARRAY_LEN(steps) && passed >= steps[step].at_ns) {
			for (size_t i = 0; i < count; i++)
				if (left[i])
					child_signal(&left[i]->child, steps[step].signal);
			step++;
			continue;
		}
		/* Killed ones end at once: the last wait has no limit. */
		int wait_ms = step < ARRAY_LEN(steps)
		                      ? (int)((steps[step].at_ns - passed) / NS_PER_MS) + 1
		                      : -1;
		serve_once(left, count, fds, wait_ms);
	}
	free(fds);
	free(left);
}
