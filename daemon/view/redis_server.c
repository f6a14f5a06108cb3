/* Why SIGKILL is harmless here: the server is told to save nothing, so there is nothing it could lose; still it is asked
 * first (SHUTDOWN), so that other clients see an orderly end. Why a lock beside the socket: a second isod started on
 * the same state directory by mistake would otherwise take the first one's server for a left-over and end it.
 *
 * The child is watched through a pidfd in the loop and reaped with waitpid(2) on its own pid only, so other children of
 * the process (plugins) and their owners are not disturbed, and SIGCHLD is left alone. */
#include "view/redis_server.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/redis_url.h"

#define BACKOFF_FIRST_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS   (10 * NS_PER_SECOND)
#define STEADY_NS        (30 * NS_PER_SECOND) /* it ran this long: its next death is a new story */
#define GOODBYE_MS       1000                 /* for an orderly end, before SIGKILL, and after it */
#define LOG_KEEP_MAX     (1 << 20)            /* a longer log is begun anew at the next start */
#define CANNOT_RUN       127 /* exit status of a child that could not become redis-server */
#define COMM_MAX         15  /* of a process's name in /proc, proc(5) */

static const char shutdown_command[] = "*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n";

struct redis_server {
	struct redis_server_options o;
	char *program, *dir, *socket, *log;
	int lock_fd;
	pid_t pid; /* 0: not running */
	int pidfd;
	struct event *exited;  /* pidfd is readable */
	struct event *restart; /* the back-off is over */
	uint64_t started_mono, backoff_ns;
};

/* ---- the child ---- */

/* One line of redis.conf with its value in quotes, as sdssplitargs() of Redis reads them. */
static void config_quoted(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "%s \"", name);
	for (; *value; value++)
		buf_printf(out, "\\x%02x", (unsigned char)*value);
	buf_printf(out, "\"\n");
}

/* port 0: no TCP. save and appendonly: nothing on disk, the view is rewritten whole. hz 1: an idle server wakes up once
 * a second instead of ten times; it only paces background work that we have none of. */
static void write_config(const struct redis_server *s, struct buf *out)
{
	config_quoted(out, "unixsocket", s->socket);
	config_quoted(out, "dir", s->dir);
	config_quoted(out, "logfile", s->log);
	buf_printf(out, "unixsocketperm 600\nport 0\ndaemonize no\nsupervised no\n"
	                "save \"\"\nappendonly no\ndatabases 1\nloglevel notice\nhz 1\n");
}

struct spawn {
	const char *argv[3];
	const char *envp[2];
	int config_fd, log_fd;
	pid_t parent;
};

/* In the forked child, where other threads' locks may be held for ever: system calls only. */
static _Noreturn void child_run(const struct spawn *sp)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != sp->parent)
		_exit(CANNOT_RUN); /* isod died before the line above */
	setsid(); /* a ^C at the terminal is for isod, which then ends the server itself */
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(sp->config_fd, STDIN_FILENO) < 0 || dup2(sp->log_fd, STDOUT_FILENO) < 0 ||
	    dup2(sp->log_fd, STDERR_FILENO) < 0)
		_exit(CANNOT_RUN);
	close_range(STDERR_FILENO + 1, ~0U, 0);
	execve(sp->argv[0], (char *const *)(uintptr_t)sp->argv, (char *const *)(uintptr_t)sp->envp);
	_exit(CANNOT_RUN);
}

/* The configuration on a pipe's read end: far smaller than a pipe's 64 KiB, so writing does not block. */
static int config_pipe(const struct redis_server *s)
{
	struct buf text;
	int fds[2], r = 0;

	buf_init(&text, 0);
	write_config(s, &text);
	if (pipe2(fds, O_CLOEXEC) < 0) {
		r = -errno;
	} else {
		fcntl(fds[1], F_SETFL, O_NONBLOCK);
		if (write(fds[1], text.p, text.n) != (ssize_t)text.n)
			r = -EIO;
		close(fds[1]);
		if (r < 0)
			close(fds[0]);
	}
	buf_release(&text);
	return r < 0 ? r : fds[0];
}

static int open_log(const struct redis_server *s)
{
	struct stat st;

	if (stat(s->log, &st) == 0 && st.st_size > LOG_KEEP_MAX)
		unlink(s->log);
	int fd = open(s->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

static void on_exited(evutil_socket_t fd, short what, void *arg);

static int server_watch(struct redis_server *s)
{
	s->pidfd = pidfd_open(s->pid, 0);
	if (s->pidfd < 0) {
		int r = -errno;
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
		s->pid = 0;
		return r;
	}
	s->exited = event_new(s->o.base, s->pidfd, EV_READ, on_exited, s);
	event_add(s->exited, NULL);
	return 0;
}

static int server_spawn(struct redis_server *s)
{
	struct spawn sp = {.argv = {s->program, "-", NULL},
	                   .envp = {"PATH=/usr/local/bin:/usr/bin:/bin", NULL},
	                   .parent = getpid()};

	sp.config_fd = config_pipe(s);
	if (sp.config_fd < 0)
		return sp.config_fd;
	sp.log_fd = open_log(s);
	if (sp.log_fd < 0) {
		close(sp.config_fd);
		return sp.log_fd;
	}
	/* The socket file of a server that was killed: bind(2) would fail on it. */
	unlink(s->socket);
	pid_t pid = fork();
	if (pid == 0)
		child_run(&sp);
	int r = pid < 0 ? -errno : 0;
	close(sp.config_fd);
	close(sp.log_fd);
	if (r < 0)
		return r;
	s->pid = pid;
	s->started_mono = clock_mono();
	return server_watch(s);
}

/* ---- its death ---- */

static void server_unwatch(struct redis_server *s)
{
	if (s->exited)
		event_free(s->exited);
	s->exited = NULL;
	if (s->pidfd >= 0)
		close(s->pidfd);
	s->pidfd = -1;
}

/* The last line that it wrote, without its line end, into `out`. */
static void last_words(const struct redis_server *s, char *out, size_t size)
{
	char tail[1024];
	int fd = open(s->log, O_RDONLY | O_CLOEXEC);
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	ssize_t n = 0;

	if (end > 0)
		n = pread(fd, tail, sizeof(tail),
		          end > (off_t)sizeof(tail) ? end - (off_t)sizeof(tail) : 0);
	if (fd >= 0)
		close(fd);
	struct str rest = str_trim(str_make(tail, n > 0 ? (size_t)n : 0)), line = rest;
	while (rest.p)
		line = str_split(&rest, '\n');
	snprintf(out, size, "%.*s", STR_FMT(line));
}

static void describe_end(const struct redis_server *s, int status, char *out, size_t size)
{
	char words[256];

	if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_RUN) {
		snprintf(out, size, "%s cannot be run", s->program);
		return;
	}
	if (WIFSIGNALED(status)) {
		snprintf(out, size, "redis-server was ended by signal %d (%s)", WTERMSIG(status),
		         strsignal(WTERMSIG(status)));
		return;
	}
	last_words(s, words, sizeof(words));
	snprintf(out, size, "redis-server ended with status %d; its last words in %s: %s",
	         WEXITSTATUS(status), s->log, words);
}

static void schedule_restart(struct redis_server *s)
{
	struct timeval tv = {.tv_sec = (time_t)(s->backoff_ns / NS_PER_SECOND),
	                     .tv_usec = (suseconds_t)(s->backoff_ns % NS_PER_SECOND / 1000)};

	event_add(s->restart, &tv);
	s->backoff_ns = s->backoff_ns * 2 < BACKOFF_MAX_NS ? s->backoff_ns * 2 : BACKOFF_MAX_NS;
}

static void on_exited(evutil_socket_t fd, short what, void *arg)
{
	struct redis_server *s = arg;
	char how[512];
	int status;

	(void)fd;
	(void)what;
	pid_t r = waitpid(s->pid, &status, WNOHANG);
	if (r == 0) {
		event_add(s->exited, NULL);
		return;
	}
	if (r == s->pid)
		describe_end(s, status, how, sizeof(how));
	else
		snprintf(how, sizeof(how), "redis-server ended");
	server_unwatch(s);
	s->pid = 0;
	if (clock_mono() - s->started_mono >= STEADY_NS)
		s->backoff_ns = BACKOFF_FIRST_NS;
	schedule_restart(s);
	s->o.died(s->o.arg, how);
}

static void on_restart(evutil_socket_t fd, short what, void *arg)
{
	struct redis_server *s = arg;
	char how[256];

	(void)fd;
	(void)what;
	int r = server_spawn(s);
	if (r == 0) {
		s->o.started(s->o.arg);
		return;
	}
	snprintf(how, sizeof(how), "cannot start %s: %s", s->program, strerror(-r));
	schedule_restart(s);
	s->o.died(s->o.arg, how);
}

/* ---- what a former life left behind ---- */

/* A connection to the socket, or -errno (-ENOENT, -ECONNREFUSED: nobody is there). */
static int knock(const struct redis_server *s)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memcpy(sa.sun_path, s->socket, strlen(s->socket));
	if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* Reads until the peer has closed. False when it has not within GOODBYE_MS. */
static bool wait_closed(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t deadline = clock_mono() + GOODBYE_MS * NS_PER_MS;
	char junk[256];

	for (;;) {
		uint64_t now = clock_mono();
		if (now >= deadline)
			return false;
		poll(&p, 1, (int)((deadline - now) / NS_PER_MS) + 1);
		ssize_t n = read(fd, junk, sizeof(junk));
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return true;
	}
}

/* Is process `pid` by its name a redis-server (or what is configured as one)? */
static bool is_redis(const struct redis_server *s, pid_t pid)
{
	const char *slash = strrchr(s->program, '/');
	struct str wanted = str_head(str_of(slash ? slash + 1 : s->program), COMM_MAX);
	char path[64];
	struct buf name;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	buf_init(&name, 64);
	bool fits = path_read(path, &name) == 0;
	struct str comm = str_trim(buf_str(&name));
	fits = fits && (str_eq(comm, wanted) || str_starts(comm, STR("redis")));
	buf_release(&name);
	return fits;
}

static int end_leftover(const struct redis_server *s, char *error, size_t error_size)
{
	int fd = knock(s);
	struct ucred peer = {0};
	socklen_t n = sizeof(peer);

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return 0;
	if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && peer.pid > 0 &&
	    is_redis(s, peer.pid)) {
		log_notice("ending redis-server (process %d) that an earlier isod left on %s",
		           (int)peer.pid, s->socket);
		bool gone = send(fd, shutdown_command, sizeof(shutdown_command) - 1, MSG_NOSIGNAL) >
		                    0 &&
		            wait_closed(fd);
		if (!gone && kill(peer.pid, SIGKILL) == 0)
			gone = wait_closed(fd);
		close(fd);
		if (gone)
			return 0;
		snprintf(error, error_size, "%s: the redis-server there (process %d) does not end",
		         s->socket, (int)peer.pid);
		return -EADDRINUSE;
	}
	snprintf(error, error_size, "%s is in use by process %d, which is no redis-server",
	         s->socket, (int)peer.pid);
	if (fd >= 0)
		close(fd);
	return -EADDRINUSE;
}

/* ---- life ---- */

static bool can_run(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* The caller frees; NULL when there is none. */
static char *find_program(const char *name)
{
	if (strchr(name, '/'))
		return can_run(name) ? xstrdup(name) : NULL;
	struct str rest = str_of(getenv("PATH"));
	if (!rest.n)
		rest = STR("/usr/local/bin:/usr/bin:/bin");
	while (rest.p) {
		struct str folder = str_split(&rest, ':');
		char *path = xasprintf("%.*s/%s", STR_FMT(folder), name);
		if (folder.n && can_run(path))
			return path;
		free(path);
	}
	return NULL;
}

static int take_dir(struct redis_server *s, char *error, size_t error_size)
{
	int r = path_make_dirs(s->dir, 0700);

	if (r == 0 && chmod(s->dir, 0700) < 0)
		r = -errno;
	if (r < 0) {
		snprintf(error, error_size, "%s: %s", s->dir, strerror(-r));
		return r;
	}
	char *path = xasprintf("%s/lock", s->dir);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	r = s->lock_fd < 0 ? -errno : 0;
	if (r == 0 && flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (r < 0)
		snprintf(error, error_size, "%s: %s", path,
		         r == -EBUSY ? "another isod uses this state directory" : strerror(-r));
	free(path);
	return r;
}

static int server_prepare(struct redis_server *s, char *error, size_t error_size)
{
	struct redis_url probe;
	int r = redis_url_of_socket(s->socket, &probe, error, error_size);

	if (r < 0)
		return -ENAMETOOLONG;
	redis_url_release(&probe);
	s->program = find_program(s->o.program);
	if (!s->program) {
		snprintf(error, error_size,
		         "redis.server: no program \"%s\" (Debian: redis-server)", s->o.program);
		return -ENOENT;
	}
	r = take_dir(s, error, error_size);
	if (r == 0)
		r = end_leftover(s, error, error_size);
	return r;
}

int redis_server_open(const struct redis_server_options *o, struct redis_server **ret, char *error,
                      size_t error_size)
{
	struct redis_server *s = xcalloc(1, sizeof(*s));

	s->o = *o;
	s->lock_fd = s->pidfd = -1;
	s->backoff_ns = BACKOFF_FIRST_NS;
	s->restart = evtimer_new(o->base, on_restart, s);
	/* The server changes into its folder: a relative path would be another one there. */
	s->dir = realpath(o->dir, NULL);
	if (!s->dir && path_make_dirs(o->dir, 0700) == 0)
		s->dir = realpath(o->dir, NULL);
	if (!s->dir)
		s->dir = xstrdup(o->dir);
	s->socket = xasprintf("%s/redis.sock", s->dir);
	s->log = xasprintf("%s/redis.log", s->dir);
	int r = server_prepare(s, error, error_size);
	if (r == 0) {
		r = server_spawn(s);
		if (r < 0)
			snprintf(error, error_size, "cannot start %s: %s", s->program,
			         strerror(-r));
	}
	if (r < 0) {
		redis_server_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* Asks the server to end, insists with SIGKILL, reaps it. */
static void server_end(struct redis_server *s)
{
	struct pollfd p = {.fd = s->pidfd, .events = POLLIN};
	int fd = knock(s);

	if (fd < 0 || send(fd, shutdown_command, sizeof(shutdown_command) - 1, MSG_NOSIGNAL) < 0)
		kill(s->pid, SIGTERM);
	if (poll(&p, 1, GOODBYE_MS) <= 0)
		kill(s->pid, SIGKILL);
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (fd >= 0)
		close(fd);
	s->pid = 0;
	unlink(s->socket);
}

void redis_server_close(struct redis_server *s)
{
	if (!s)
		return;
	event_free(s->restart);
	if (s->pid)
		server_end(s);
	server_unwatch(s);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->program);
	free(s->dir);
	free(s->socket);
	free(s->log);
	free(s);
}

const char *redis_server_socket(const struct redis_server *s)
{
	return s->socket;
}

pid_t redis_server_pid(const struct redis_server *s)
{
	return s->pid;
}

void redis_server_kill(struct redis_server *s)
{
	if (s->pid)
		kill(s->pid, SIGKILL);
}
