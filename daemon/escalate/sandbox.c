/* The filter is made before any fork (libseccomp allocates, a forked child of a program with threads must not) and
 * exported as the BPF program that the kernel takes. A list of what is allowed and not of what is forbidden: a call
 * that a later kernel adds is outside until somebody has looked at it. */
#include "escalate/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

#define PROCESSES_MAX  1024                /* of isod's user in all: a fork bomb ends here */
#define FILES_MAX      1024                /* open at once in one process */
#define FILE_BYTES     ((uint64_t)1 << 30) /* the largest file that it may write */
#define MEMORY_BYTES   ((uint64_t)2 << 30) /* private memory of one process */
#define NAME_MAX_BYTES 64                  /* of a system call */
#define FILTER_BYTES   ((size_t)BPF_MAXINSNS * sizeof(struct sock_filter))

/* By what they are for; the names are words. One that this machine's processor does not have is passed over. */
static const char *const allowed[] = {
	/* memory and the thread itself */
	"arch_prctl brk futex futex_waitv get_robust_list getrandom madvise membarrier "
	"memfd_create mincore mlock mlock2 mmap mprotect mremap munlock munmap rseq "
	"set_robust_list set_tid_address msync",
	/* processes and signals */
	"alarm clone execve execveat exit exit_group fork getitimer getpgid getpgrp getpid "
	"getppid getpriority getrlimit getrusage getsid gettid kill pause pidfd_open "
	"pidfd_send_signal prctl prlimit64 restart_syscall rt_sigaction rt_sigpending "
	"rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait "
	"rt_tgsigqueueinfo sched_getaffinity sched_getparam sched_getscheduler "
	"sched_get_priority_max sched_get_priority_min sched_yield seccomp setitimer setpgid "
	"setpriority setrlimit setsid sigaltstack signalfd signalfd4 tgkill times tkill vfork "
	"wait4 waitid",
	/* who and where it is */
	"capget getcpu getegid geteuid getgid getgroups getresgid getresuid getuid sysinfo "
	"uname umask",
	/* time */
	"clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep time timer_create "
	"timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create "
	"timerfd_gettime timerfd_settime",
	/* descriptors */
	"close close_range copy_file_range dup dup2 dup3 epoll_create epoll_create1 epoll_ctl "
	"epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 fcntl ioctl lseek pipe pipe2 "
	"poll ppoll pread64 preadv preadv2 pselect6 pwrite64 pwritev pwritev2 read readahead "
	"readv select sendfile splice tee write writev",
	/* files */
	"access chdir chmod chown creat faccessat faccessat2 fadvise64 fallocate fchdir "
	"fchmod fchmodat fchown fchownat fdatasync fgetxattr flistxattr flock fstat fstatfs "
	"fsync ftruncate getcwd getdents getdents64 getxattr inotify_add_watch inotify_init "
	"inotify_init1 inotify_rm_watch lchown lgetxattr link linkat listxattr llistxattr "
	"lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 readlink readlinkat "
	"rename renameat renameat2 rmdir stat statfs statx symlink symlinkat sync_file_range "
	"truncate unlink unlinkat utime utimensat utimes",
	/* network; socket itself is below */
	"accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom "
	"recvmmsg recvmsg sendmmsg sendmsg sendto setsockopt shutdown",
};

/* Netlink: name look-ups ask the kernel for its addresses through it. */
static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

#define NAMESPACES                                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	 CLONE_NEWPID | CLONE_NEWNET)

static const struct child_limit limits[] = {
	{RLIMIT_CORE, 0}, /* a message in it may be secret */
	{RLIMIT_NOFILE, FILES_MAX},
	{RLIMIT_NPROC, PROCESSES_MAX},
	{RLIMIT_FSIZE, FILE_BYTES},
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	{RLIMIT_DATA, MEMORY_BYTES}, /* a sanitizer maps terabytes */
#endif
};

struct sandbox {
	struct child_confinement confinement;
	struct sock_filter *program;
};

/* No new namespaces. clone3 hides its flags behind a pointer and so is not on the list. */
static int allow_call(scmp_filter_ctx c, int number)
{
	if (number == SCMP_SYS(clone))
		return seccomp_rule_add(c, SCMP_ACT_ALLOW, number, 1,
		                        SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACES, 0));
	return seccomp_rule_add(c, SCMP_ACT_ALLOW, number, 0);
}

static int allow_calls(scmp_filter_ctx c, struct str names)
{
	char name[NAME_MAX_BYTES];
	int r = 0;

	while (names.n && r == 0) {
		ptrdiff_t end = str_find(names, ' ');
		struct str word = str_head(names, end < 0 ? names.n : (size_t)end);
		snprintf(name, sizeof(name), "%.*s", STR_FMT(word));
		int number = seccomp_syscall_resolve_name(name);
		if (number >= 0)
			r = allow_call(c, number);
		names = str_skip(names, word.n + (end >= 0));
	}
	return r;
}

static int allow_sockets(scmp_filter_ctx c)
{
	const int calls[] = {SCMP_SYS(socket), SCMP_SYS(socketpair)};

	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		for (size_t k = 0; k < ARRAY_LEN(families); k++) {
			int r = seccomp_rule_add(
				c, SCMP_ACT_ALLOW, calls[i], 1,
				SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[k], 0));
			if (r < 0)
				return r;
		}
	return 0;
}

/* The file's bytes are instructions of the filter. */
static int take_program(int fd, struct sandbox *s)
{
	off_t size = lseek(fd, 0, SEEK_END);

	if (size <= 0 || (size_t)size > FILTER_BYTES || (size_t)size % sizeof(*s->program))
		return -EINVAL;
	s->program = xmalloc((size_t)size);
	if (pread(fd, s->program, (size_t)size, 0) != size)
		return -EIO;
	s->confinement.filter.len = (unsigned short)((size_t)size / sizeof(*s->program));
	s->confinement.filter.filter = s->program;
	return 0;
}

static int export_program(scmp_filter_ctx c, struct sandbox *s)
{
	int fd = memfd_create("filter", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	int r = seccomp_export_bpf(c, fd);
	if (r == 0)
		r = take_program(fd, s);
	close(fd);
	return r;
}

int sandbox_new(struct sandbox **ret)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));

	if (!c)
		return -ENOMEM;
	struct sandbox *s = xcalloc(1, sizeof(*s));
	s->confinement.limits = limits;
	s->confinement.limit_count = ARRAY_LEN(limits);
	/* A binary search: the cost of a call does not depend on its place in the list. */
	int r = seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < ARRAY_LEN(allowed) && r == 0; i++)
		r = allow_calls(c, str_of(allowed[i]));
	if (r == 0)
		r = allow_sockets(c);
	if (r == 0)
		r = export_program(c, s);
	seccomp_release(c);
	if (r < 0) {
		sandbox_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void sandbox_free(struct sandbox *s)
{
	if (!s)
		return;
	free(s->program);
	free(s);
}

const struct child_confinement *sandbox_confinement(const struct sandbox *s)
{
	return &s->confinement;
}
