/* exec: runs a program for each alert, with the alert as JSON on its standard input. Its exit status is the outcome,
 * the last line of its standard error the detail. plugins/README.md lists the options. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/pbjson.h"
#include "plugin.h"

#define TIMEOUT_NS     (10 * NS_PER_SECOND)
#define TERM_WAIT_MS   1000 /* between SIGTERM and SIGKILL for a program that hangs */
#define LINE_MAX_BYTES 400
#define JSON_MAX       ((size_t)8 << 20) /* an alert has at most 1 MiB as protobuf */
#define WORDS_MAX      256
#define ENV_OWN        5 /* the ISOD_ variables */

struct exec {
	char *program;
	char **args;        /* NULL-ended, args[0] is the program */
	char **environment; /* `configured` entries, then room for the ISOD_ ones */
	size_t configured;
	uint64_t timeout_ns;
};

/* How a run of the program ended. */
struct ending {
	int error;  /* -errno: it was not started */
	bool hung;  /* it was killed when its time was over */
	int status; /* else, as wait(2) gives it */
};

/* What the program's last line of standard error is kept in. */
struct last_line {
	char text[LINE_MAX_BYTES];
	size_t n;
	bool ended; /* the next byte begins a new line */
};

/* The child that runs now, for the handler of SIGTERM: isod stops a plugin with it, and then the program, which has
 * a process group of its own, has to go too. 0: none. */
static volatile sig_atomic_t running;

static void on_terminate(int signal)
{
	if (running)
		kill(-(pid_t)running, SIGKILL);
	_exit(128 + signal);
}

static void hold_terminate(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(how, &set, NULL);
}

/* Options. */

static void free_list(char **list)
{
	for (char **item = list; item && *item; item++)
		free(*item);
	free(list);
}

/* Takes the next word off *at, which blanks end; '…' keeps all as it is, "…" and \ take \ as in a shell. NULL at the
 * end; *ret_open tells of a quote that never ends. */
static char *next_word(const char **at, bool *ret_open)
{
	const char *p = *at;
	struct buf word;
	char quote = 0;

	p += strspn(p, " \t\n");
	if (!*p)
		return NULL;
	buf_init(&word, 0);
	for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
		if (*p == quote) {
			quote = 0;
		} else if (!quote && (*p == '\'' || *p == '"')) {
			quote = *p;
		} else {
			if (*p == '\\' && quote != '\'' && p[1])
				p++;
			buf_putc(&word, *p);
		}
	}
	*at = p;
	*ret_open |= quote != 0;
	char *copy = xstrdup(buf_cstr(&word));
	buf_release(&word);
	return copy;
}

static int take_args(struct exec *x, const char *text, char *error, size_t size)
{
	bool open = false;
	size_t n = 0;
	char *word;

	x->args = xcalloc(WORDS_MAX + 2, sizeof(*x->args));
	x->args[n++] = x->program;
	while (text && n <= WORDS_MAX && (word = next_word(&text, &open)))
		x->args[n++] = word;
	if (n > WORDS_MAX)
		snprintf(error, size, "option args: more than %d words", WORDS_MAX - 1);
	else if (open)
		snprintf(error, size, "option args: a quote is not closed");
	return n > WORDS_MAX || open ? -1 : 0;
}

static bool is_variable(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");

	return n && !name[n] && !(name[0] >= '0' && name[0] <= '9');
}

static int take_environment(struct exec *x, const Isod__V1__PluginSetup *s, char *error,
                            size_t size)
{
	x->environment = xcalloc(s->n_options + ENV_OWN + 1, sizeof(*x->environment));
	for (size_t i = 0; i < s->n_options; i++) {
		const char *name = s->options[i]->key;
		if (strncmp(name, "env.", 4) != 0)
			continue;
		if (!is_variable(name + 4)) {
			snprintf(error, size, "option %s: no name for a variable", name);
			return -1;
		}
		x->environment[x->configured++] =
			xasprintf("%s=%s", name + 4, s->options[i]->value);
	}
	return 0;
}

static int setup(void *state, const Isod__V1__PluginSetup *s, char *error, size_t size)
{
	static const char *const names[] = {"program", "args", "timeout", "env."};
	struct exec *x = state;
	const char *program = plugin_option(s, "program");
	uint64_t timeout_ns = TIMEOUT_NS;

	if (plugin_check_options(s, names, ARRAY_LEN(names), error, size) < 0 ||
	    plugin_option_duration(s, "timeout", &timeout_ns, error, size) < 0)
		return -1;
	if (!program || program[0] != '/') {
		snprintf(error, size, "option program: %s",
		         program ? "no absolute path" : "is missing");
		return -1;
	}
	struct stat st;
	if (stat(program, &st) == 0 && !S_ISREG(st.st_mode)) {
		snprintf(error, size, "option program: %s is no file", program);
		return -1;
	}
	if (access(program, X_OK) < 0) {
		snprintf(error, size, "option program: cannot run %s: %s", program,
		         strerror(errno));
		return -1;
	}
	free_list(x->args);
	free_list(x->environment);
	*x = (struct exec){.program = xstrdup(program), .timeout_ns = timeout_ns};
	if (take_args(x, plugin_option(s, "args"), error, size) < 0)
		return -1;
	return take_environment(x, s, error, size);
}

/* Running it. */

static void keep_last_line(struct last_line *l, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n') {
			l->ended = true;
			continue;
		}
		if (l->ended)
			l->n = 0;
		l->ended = false;
		if (l->n < sizeof(l->text) - 1)
			l->text[l->n++] = p[i];
	}
}

/* False once there is nothing more to read now. */
static bool read_errors(struct child *c, struct last_line *l)
{
	char chunk[4096];
	ssize_t n = c->err < 0 ? 0 : read(c->err, chunk, sizeof(chunk));

	if (n > 0)
		keep_last_line(l, chunk, (size_t)n);
	else if (n == 0)
		child_close(&c->err);
	return n > 0;
}

static void write_input(struct child *c, struct str *rest)
{
	ssize_t n = rest->n ? child_write(c->in, rest->p, rest->n) : 0;

	if (n > 0)
		*rest = str_skip(*rest, (size_t)n);
	if (!rest->n || (n < 0 && n != -EAGAIN && n != -EINTR))
		child_close(
			&c->in); /* all said, or it does not want to hear it: its status tells */
}

/* Talks to the child until it ends. False when the time was over first. */
static bool wait_for(struct child *c, struct str input, uint64_t timeout_ns, struct last_line *l)
{
	uint64_t until = clock_mono() + timeout_ns;

	for (;;) {
		struct pollfd fds[] = {{.fd = c->in, .events = POLLOUT},
		                       {.fd = c->err, .events = POLLIN},
		                       {.fd = c->pidfd, .events = POLLIN}};
		uint64_t now = clock_mono();
		if (now >= until)
			return false;
		if (poll(fds, ARRAY_LEN(fds), (int)((until - now) / NS_PER_MS) + 1) < 0)
			continue;
		if (fds[0].revents)
			write_input(c, &input);
		if (fds[1].revents)
			read_errors(c, l);
		if (fds[2].revents)
			return true;
	}
}

static struct ending run(const struct exec *x, struct str input, struct last_line *l)
{
	struct child_options o = {.program = x->program,
	                          .args = x->args,
	                          .environment = x->environment,
	                          .directory = ".",
	                          .discard_output = true};
	struct child c;

	hold_terminate(SIG_BLOCK);
	int r = child_spawn(&o, &c);
	running = r == 0 ? c.pid : 0;
	hold_terminate(SIG_UNBLOCK);
	if (r < 0)
		return (struct ending){.error = r};
	bool hung = !wait_for(&c, input, x->timeout_ns, l);
	if (hung) {
		struct pollfd end = {.fd = c.pidfd, .events = POLLIN};
		child_signal(&c, SIGTERM);
		poll(&end, 1, TERM_WAIT_MS);
	}
	child_signal(&c, SIGKILL);
	for (int i = 0; i < 256 && read_errors(&c, l); i++) /* what the pipe still holds */
		;
	hold_terminate(SIG_BLOCK);
	int status = child_reap(&c);
	running = 0;
	hold_terminate(SIG_UNBLOCK);
	return (struct ending){.hung = hung, .status = status};
}

/* By sysexits(3): a status there that says "this will never work" is FAILED. Everything else that is not 0 may work
 * another time: an alert tried again costs less than an alert lost, and the attempts are counted. */
static enum plugin_outcome outcome_of(const struct ending *end)
{
	static const int hopeless[] = {EX_USAGE,    EX_DATAERR,  EX_NOINPUT, EX_NOUSER,
	                               EX_NOHOST,   EX_SOFTWARE, EX_OSFILE,  EX_CANTCREAT,
	                               EX_PROTOCOL, EX_NOPERM,   EX_CONFIG};

	if (end->error || end->hung || end->status == -1 || !WIFEXITED(end->status))
		return PLUGIN_RETRY;
	if (WEXITSTATUS(end->status) == 0)
		return PLUGIN_DELIVERED;
	for (size_t i = 0; i < ARRAY_LEN(hopeless); i++)
		if (WEXITSTATUS(end->status) == hopeless[i])
			return PLUGIN_FAILED;
	return PLUGIN_RETRY;
}

static void set_own_variables(struct exec *x, const Isod__V1__PluginAlert *a)
{
	char severity[32];
	char **e = x->environment + x->configured;

	for (size_t i = 0; i < ENV_OWN; i++)
		free(e[i]);
	pbjson_enum(&isod__v1__level__descriptor, (int)a->incident->severity, severity,
	            sizeof(severity));
	e[0] = xasprintf("ISOD_KEY=%s", a->key);
	e[1] = xasprintf("ISOD_ATTEMPT=%u", a->attempt);
	e[2] = xasprintf("ISOD_REASON=%s", a->reason);
	e[3] = xasprintf("ISOD_INCIDENT=%llu", (unsigned long long)a->incident->id);
	e[4] = xasprintf("ISOD_SEVERITY=%s", severity);
}

static enum plugin_outcome alert(void *state, const Isod__V1__PluginAlert *a, char *detail,
                                 size_t size)
{
	struct exec *x = state;
	struct last_line line = {0};
	struct buf json;
	char status_text[CHILD_STATUS_MAX];

	buf_init(&json, JSON_MAX);
	set_own_variables(x, a);
	if (pbjson_append(&json, &a->base) < 0 || buf_putc(&json, '\n') < 0) {
		buf_release(&json);
		snprintf(detail, size, "the alert is too long as JSON");
		return PLUGIN_FAILED;
	}
	struct ending end = run(x, buf_str(&json), &line);
	buf_release(&json);
	if (end.error)
		snprintf(detail, size, "cannot start the program: %s", strerror(-end.error));
	else if (end.hung)
		snprintf(detail, size, "the program did not end within %g s%s%.*s",
		         (double)x->timeout_ns / (double)NS_PER_SECOND, line.n ? ": " : "",
		         (int)line.n, line.text);
	else
		snprintf(detail, size, "%s%s%.*s", child_describe(end.status, status_text),
		         line.n ? ": " : "", (int)line.n, line.text);
	return outcome_of(&end);
}

int main(void)
{
	struct exec x = {0};

	signal(SIGTERM, on_terminate);
	int r = plugin_main(&(struct plugin){.setup = setup, .alert = alert, .state = &x});
	free_list(x.args); /* the program is the first of them */
	free_list(x.environment);
	return r;
}
