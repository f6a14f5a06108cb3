#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

/* Between fork and exec only async-signal-safe calls are allowed, since isod has threads: everything that
 * allocates is done before the fork. All signals are blocked across it, so that no handler of ours runs in the
 * child (libevent's would write into the parent's loop). */

#define DESCRIPTORS_MAX 65536 /* closed one by one where close_range(2) is forbidden */

static const char path_variable[] =
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct plan {
	const struct child_options *options;
	char *const *args;
	char **environment;
	int in, out, err; /* the child's ends */
	pid_t parent;
};

void child_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_from(int first)
{
	if (close_range((unsigned)first, ~0U, 0) == 0)
		return;
	struct rlimit limit = {.rlim_cur = DESCRIPTORS_MAX};
	getrlimit(RLIMIT_NOFILE, &limit);
	for (int fd = first; fd < DESCRIPTORS_MAX && (rlim_t)fd < limit.rlim_cur; fd++)
		close(fd);
}

static void complain(const char *what, const char *program, const char *why)
{
	const char *parts[] = {"cannot ", what, " ", program, ": ", why, "\n"};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
			return;
}

/* Descriptors 0 to 2 of the parent may be closed, so ours may be among them: first out of the way, then in
 * place. */
static bool place_descriptors(const struct plan *p)
{
	int in = fcntl(p->in, F_DUPFD, 3), out = fcntl(p->out, F_DUPFD, 3),
	    err = fcntl(p->err, F_DUPFD, 3);

	return in >= 0 && out >= 0 && err >= 0 && dup2(in, STDIN_FILENO) >= 0 &&
	       dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0;
}

/* The filter comes last: it may forbid what is done here. */
static bool confine(const struct child_confinement *c)
{
	for (size_t i = 0; i < c->limit_count; i++) {
		struct rlimit now, limit = {c->limits[i].value, c->limits[i].value};
		if (getrlimit(c->limits[i].resource, &now) < 0)
			return false;
		if (limit.rlim_max > now.rlim_max)
			limit.rlim_cur = limit.rlim_max = now.rlim_max;
		if (setrlimit(c->limits[i].resource, &limit) < 0)
			return false;
	}
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       (c->filter.len == 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &c->filter) == 0);
}

static _Noreturn void run(const struct plan *p)
{
	const struct child_options *o = p->options;
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != p->parent) /* it died before the line above */
		_exit(127);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	if (!place_descriptors(p))
		_exit(127);
	close_from(3);
	if ((!o->directory || chdir(o->directory) < 0) && chdir("/") < 0)
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (o->confinement && !confine(o->confinement)) {
		complain("confine", o->program, strerrordesc_np(errno));
		_exit(127);
	}
	execve(o->program, p->args, p->environment);
	complain("run", o->program, strerrordesc_np(errno));
	_exit(127);
}

/* True when `environment` sets the variable that `entry` sets. */
static bool is_set(char *const *environment, const char *entry)
{
	size_t name = strcspn(entry, "=") + 1;

	for (; environment && *environment; environment++)
		if (strncmp(*environment, entry, name) == 0)
			return true;
	return false;
}

static char **make_environment(char *const *given)
{
	const char *lang = getenv("LANG");
	char *defaults[] = {xstrdup(path_variable), xasprintf("LANG=%s", lang ? lang : "C.UTF-8")};
	size_t count = 0, n = 0;

	while (given && given[count])
		count++;
	char **out = xcalloc(count + ARRAY_LEN(defaults) + 1, sizeof(*out));
	for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
		if (is_set(given, defaults[i]))
			free(defaults[i]);
		else
			out[n++] = defaults[i];
	}
	for (size_t i = 0; i < count; i++)
		out[n++] = xstrdup(given[i]);
	return out;
}

static void free_environment(char **environment)
{
	for (char **e = environment; *e; e++)
		free(*e);
	free(environment);
}

/* The three pipes: `ours` and `theirs` in the order in, out, err. */
static int open_pipes(bool discard_output, int ours[3], int theirs[3])
{
	for (int i = 0; i < 3; i++) {
		int ends[2];
		if (i == 1 && discard_output) {
			theirs[i] = open("/dev/null", O_WRONLY | O_CLOEXEC);
			if (theirs[i] < 0)
				return -errno;
			continue;
		}
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		ours[i] = ends[i == 0];
		theirs[i] = ends[i != 0];
		if (fcntl(ours[i], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	}
	return 0;
}

static pid_t fork_blocked(const struct plan *p)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0)
		run(p);
	int failed = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = failed;
	return pid;
}

int child_spawn(const struct child_options *o, struct child *ret)
{
	int ours[3] = {-1, -1, -1}, theirs[3] = {-1, -1, -1};
	char *const alone[] = {(char *)(uintptr_t)o->program, NULL};
	int r = open_pipes(o->discard_output, ours, theirs);
	struct child c = {.pid = -1, .pidfd = -1};

	if (r == 0) {
		struct plan plan = {.options = o,
		                    .args = o->args ? o->args : alone,
		                    .environment = make_environment(o->environment),
		                    .in = theirs[0],
		                    .out = theirs[1],
		                    .err = theirs[2],
		                    .parent = getpid()};
		c.pid = fork_blocked(&plan);
		r = c.pid < 0 ? -errno : 0;
		free_environment(plan.environment);
	}
	for (int i = 0; i < 3; i++)
		child_close(&theirs[i]);
	c.in = ours[0];
	c.out = ours[1];
	c.err = ours[2];
	if (r == 0) {
		setpgid(c.pid, c.pid); /* also here: whoever is first, the group stands */
		c.pidfd = pidfd_open(c.pid, 0);
		r = c.pidfd < 0 ? -errno : 0;
	}
	if (r < 0) {
		child_reap(&c);
		return r;
	}
	*ret = c;
	return 0;
}

void child_signal(const struct child *c, int signal)
{
	if (c->pid > 0)
		kill(-c->pid, signal);
}

int child_reap(struct child *c)
{
	int status = -1;

	child_close(&c->in);
	child_close(&c->out);
	child_close(&c->err);
	if (c->pid > 0) {
		/* Before the wait: until then the number cannot belong to anybody else. */
		kill(-c->pid, SIGKILL);
		kill(c->pid, SIGKILL);
		while (waitpid(c->pid, &status, 0) < 0) {
			if (errno != EINTR) {
				status = -1;
				break;
			}
		}
	}
	child_close(&c->pidfd);
	c->pid = -1;
	return status;
}

ssize_t child_write(int fd, const void *p, size_t n)
{
	sigset_t pipe_signal, before, pending;
	const struct timespec now = {0};

	sigpending(&pending);
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
	ssize_t written = write(fd, p, n);
	if (written < 0)
		written = -errno;
	if (written == -EPIPE && !sigismember(&pending, SIGPIPE))
		while (sigtimedwait(&pipe_signal, NULL, &now) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return written;
}

char *child_describe(int status, char out[static CHILD_STATUS_MAX])
{
	if (status == -1)
		snprintf(out, CHILD_STATUS_MAX, "status lost");
	else if (WIFSIGNALED(status))
		snprintf(out, CHILD_STATUS_MAX, "signal %d", WTERMSIG(status));
	else
		snprintf(out, CHILD_STATUS_MAX, "exit %d", WEXITSTATUS(status));
	return out;
}
