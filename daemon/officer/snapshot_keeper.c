/* What a child forked from a process with threads may do is little: other threads' locks are held for ever in it. glibc
 * makes malloc safe across fork; beyond that the child uses what was made for it before (snapshot_tools), writes its
 * file, and leaves by _exit. All descriptors but the standard ones are closed first: it must not keep the clients'
 * connections or the state folder's lock alive should the daemon be killed. */
#include "officer/snapshot_keeper.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define PATIENCE_NS                                                                                \
	(30 * NS_PER_MINUTE) /* a child that has not come to an end by then hangs on its disk */
#define NICENESS     10
#define FIRST_FD     3
#define STATUS_OTHER 255 /* an errno that fits no exit status */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CANNOT_FORK
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CANNOT_FORK
#endif

struct snapshot_keeper {
	struct snapshot_options options;
	struct snapshot_tools *tools;
	struct snapshot_counts counts;
	uint64_t floor;
	uint64_t last_mono; /* when the last one was begun */
	uint64_t wait_ns;   /* until the next may be */
	pid_t child;        /* 0: none */
	uint64_t child_sequence;
	struct event *ended;
	int pidfd;
};

struct snapshot_keeper *snapshot_keeper_new(const struct snapshot_options *o, uint64_t newest)
{
	struct snapshot_keeper *k = xcalloc(1, sizeof(*k));

	k->options = *o;
	k->options.dir = xstrdup(o->dir);
	if (!o->retry_ns)
		k->options.retry_ns = SNAPSHOT_RETRY_NS;
	k->tools = snapshot_tools_new();
	k->counts.sequence = newest;
	k->last_mono = clock_mono();
	k->wait_ns = o->interval_ns;
	k->pidfd = -1;
	k->floor = snapshot_prune(o->dir, SNAPSHOTS_KEPT);
	return k;
}

static void forget_child(struct snapshot_keeper *k)
{
	if (k->ended)
		event_free(k->ended);
	if (k->pidfd >= 0)
		close(k->pidfd);
	k->ended = NULL;
	k->pidfd = -1;
	k->child = 0;
}

/* Waits for the child, whose end is near or was just brought about. Returns its wait status. */
static int reap(struct snapshot_keeper *k)
{
	int status = 0;

	while (waitpid(k->child, &status, 0) < 0)
		if (errno != EINTR)
			break;
	forget_child(k);
	return status;
}

void snapshot_keeper_free(struct snapshot_keeper *k)
{
	if (!k)
		return;
	if (k->child) {
		kill(k->child, SIGKILL);
		reap(k);
		snapshot_prune(k->options.dir, SNAPSHOTS_KEPT);
	}
	snapshot_tools_free(k->tools);
	free((char *)(uintptr_t)k->options.dir);
	free(k);
}

static void take_size(struct snapshot_keeper *k)
{
	char name[SNAPSHOT_NAME_BYTES];
	struct stat st;

	snapshot_name(k->counts.sequence, name);
	char *path = xasprintf("%s/%s", k->options.dir, name);
	if (stat(path, &st) == 0)
		k->counts.bytes = (uint64_t)st.st_size;
	free(path);
}

/* Tells what came of it. */
static void finish(struct snapshot_keeper *k, uint64_t sequence, int error)
{
	if (error < 0) {
		k->counts.failed++;
		k->wait_ns = k->options.interval_ns > k->options.retry_ns ? k->options.interval_ns
		                                                          : k->options.retry_ns;
		log_error("the snapshot after record %llu was not written to %s: %s",
		          (unsigned long long)sequence, k->options.dir, strerror(-error));
	} else {
		k->counts.written++;
		k->counts.sequence = sequence;
		k->wait_ns = k->options.interval_ns;
		k->floor = snapshot_prune(k->options.dir, SNAPSHOTS_KEPT);
		take_size(k);
		log_info("snapshot after record %llu: %llu bytes", (unsigned long long)sequence,
		         (unsigned long long)k->counts.bytes);
	}
	if (k->options.done)
		k->options.done(k->options.arg, sequence, error);
}

#ifndef CANNOT_FORK

static int error_of(int status)
{
	if (!WIFEXITED(status))
		return -EINTR; /* killed */
	int code = WEXITSTATUS(status);
	return code == STATUS_OTHER ? -EIO : -code;
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct snapshot_keeper *k = arg;
	uint64_t sequence = k->child_sequence;
	(void)fd;
	(void)what;

	finish(k, sequence, error_of(reap(k)));
}

static void close_inherited(void)
{
	if (syscall(SYS_close_range, FIRST_FD, ~0U, 0) == 0)
		return;
	for (int fd = FIRST_FD; fd < sysconf(_SC_OPEN_MAX); fd++)
		close(fd);
}

static void run_child(struct snapshot_keeper *k, const struct state *s,
                      const uint8_t chain[static SHA256_BYTES], pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	close_inherited();
	setpriority(PRIO_PROCESS, 0, NICENESS);
	if (getppid() != parent)
		_exit(STATUS_OTHER);
	int r = snapshot_write(k->tools, k->options.dir, s, chain);
	_exit(r < 0 ? (r > -STATUS_OTHER ? -r : STATUS_OTHER) : 0);
}

static int begin(struct snapshot_keeper *k, const struct state *s,
                 const uint8_t chain[static SHA256_BYTES])
{
	pid_t parent = getpid(), child = fork();

	if (child < 0)
		return -errno;
	if (child == 0)
		run_child(k, s, chain, parent);
	k->child = child;
	k->child_sequence = s->sequence;
	k->pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (k->pidfd < 0) {
		int r = -errno;
		kill(child, SIGKILL);
		reap(k);
		return r;
	}
	k->ended = event_new(k->options.base, k->pidfd, EV_READ, on_ended, k);
	if (!k->ended)
		abort();
	event_add(k->ended, NULL);
	return 0;
}

#else

static int begin(struct snapshot_keeper *k, const struct state *s,
                 const uint8_t chain[static SHA256_BYTES])
{
	int r = snapshot_write(k->tools, k->options.dir, s, chain);

	if (r == 0)
		finish(k, s->sequence, 0);
	return r;
}

#endif

static bool due(const struct snapshot_keeper *k, const struct state *s, uint64_t now_mono)
{
	if (s->sequence == k->counts.sequence)
		return false;
	if (now_mono - k->last_mono >= k->wait_ns)
		return true;
	/* By records, but not again and again on a disk that takes none. */
	return k->options.records && s->sequence - k->counts.sequence >= k->options.records &&
	       k->wait_ns <= k->options.interval_ns && now_mono - k->last_mono >= NS_PER_SECOND;
}

void snapshot_keeper_consider(struct snapshot_keeper *k, const struct state *s,
                              const uint8_t chain[static SHA256_BYTES])
{
	uint64_t now = clock_mono();

	if (k->child) {
		if (now - k->last_mono > PATIENCE_NS)
			kill(k->child, SIGKILL); /* on_ended tells of it */
		return;
	}
	if (!due(k, s, now))
		return;
	k->last_mono = now;
	int r = begin(k, s, chain);
	uint64_t pause = clock_mono() - now;
	if (pause > k->counts.pause_ns)
		k->counts.pause_ns = pause;
	if (r < 0)
		finish(k, s->sequence, r);
}

int snapshot_keeper_now(struct snapshot_keeper *k, const struct state *s,
                        const uint8_t chain[static SHA256_BYTES])
{
	if (s->sequence == k->counts.sequence)
		return 0;
	if (k->child) { /* it writes an older one */
		kill(k->child, SIGKILL);
		reap(k);
	}
	int r = snapshot_write(k->tools, k->options.dir, s, chain);
	finish(k, s->sequence, r);
	return r;
}

uint64_t snapshot_keeper_floor(const struct snapshot_keeper *k)
{
	return k->floor ? k->floor - 1 : 0;
}

const struct snapshot_counts *snapshot_keeper_counts(const struct snapshot_keeper *k)
{
	return &k->counts;
}
