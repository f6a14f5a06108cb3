/* One child process with pipes on its three standard descriptors, in a process group of its own, with a clean
 * environment and nothing else inherited. Its end is seen through a pidfd (pidfd_open(2), Linux 5.3), so nobody
 * needs SIGCHLD and other children of the process are left alone. For plugins and for what plugins run. */
#ifndef ISOD_BASE_CHILD_H
#define ISOD_BASE_CHILD_H

#include <linux/filter.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

struct child_limit {
	int resource;   /* RLIMIT_… of setrlimit(2) */
	uint64_t value; /* soft and hard; never above what the parent may have itself */
};

/* What the child and all that it starts may do. */
struct child_confinement {
	const struct child_limit *limits;
	size_t limit_count;
	struct sock_fprog filter; /* of system calls, seccomp(2); len 0: none */
};

struct child_options {
	const char *program; /* a path; $PATH is not searched */
	char *const *args;   /* NULL-ended, args[0] is the program's name; NULL: only that */
	char *const
		*environment;  /* NULL-ended NAME=VALUE, beside PATH and LANG unless it sets them */
	const char *directory; /* to run in; NULL or one that is gone: "/" */
	bool discard_output;   /* standard output goes to /dev/null and `out` is -1 */
	/* NULL: as the parent. With it no program gains privileges by execve either (PR_SET_NO_NEW_PRIVS). A child that
	 * cannot be confined is not run: it says so and ends with 127. */
	const struct child_confinement *confinement;
};

struct child {
	pid_t pid;
	int pidfd;        /* readable once it has ended */
	int in, out, err; /* our ends, non-blocking; -1 once closed */
};

/* Starts it. 0 and *ret, or -errno. A program that cannot be executed is a child that says so on its standard
 * error and ends with 127. It gets SIGTERM should the calling thread die first. */
int child_spawn(const struct child_options *o, struct child *ret);

/* To the child's whole group. Nothing happens once it was reaped. */
void child_signal(const struct child *c, int signal);

/* Kills what is left of the group, waits for the child itself and closes all descriptors. Before the pidfd is
 * readable this kills the child. Returns the wait status; -1 when somebody else has reaped it. */
int child_reap(struct child *c);

/* write(2) that gives -EPIPE and no SIGPIPE. Bytes written, or -errno. */
ssize_t child_write(int fd, const void *p, size_t n);

/* Closes *fd unless it is -1, and makes it -1. */
void child_close(int *fd);

#define CHILD_STATUS_MAX 32
/* "exit 3", "signal 11". Returns `out`. */
char *child_describe(int status, char out[static CHILD_STATUS_MAX]);

#endif
