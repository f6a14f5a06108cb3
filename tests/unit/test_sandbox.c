/* escalate/sandbox: what a confined child can do, and what it cannot. Real programs of the system. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "escalate/sandbox.h"

/* Runs a program confined and gives what it prints on both outputs; `status`: as waitpid tells. */
static const char *run(const char *program, const char *script, struct buf *out, int *status)
{
	char *args[] = {(char *)(uintptr_t)program, (char *)"-c", (char *)(uintptr_t)script, NULL};
	struct sandbox *sandbox;
	struct child c;
	char chunk[1000];

	cr_assert_eq(sandbox_new(&sandbox), 0);
	const struct child_options o = {
		.program = program, .args = args, .confinement = sandbox_confinement(sandbox)};
	cr_assert_eq(child_spawn(&o, &c), 0);
	child_close(&c.in);
	buf_init(out, 100000);
	const int fds[] = {c.out, c.err};
	for (size_t i = 0; i < 2; i++)
		for (;;) {
			ssize_t n = read(fds[i], chunk, sizeof(chunk));
			if (n > 0)
				buf_append(out, chunk, (size_t)n);
			else if (n < 0 && errno == EAGAIN)
				poll(&(struct pollfd){.fd = fds[i], .events = POLLIN}, 1, -1);
			else
				break;
		}
	*status = child_reap(&c);
	sandbox_free(sandbox);
	return buf_cstr(out);
}

static void expect_shell(const char *script, const char *printed)
{
	struct buf out;
	int status;

	cr_expect_str_eq(run("/bin/sh", script, &out, &status), printed, "%s", script);
	cr_expect_eq(status, 0, "%s: status %d", script, status);
	buf_release(&out);
}

/* What a call of libc answers: its errno by name, or OK. */
static void expect_call(const char *call, const char *answer)
{
	char script[1000], expected[64];
	struct buf out;
	int status;

	snprintf(script, sizeof(script),
	         "import ctypes, errno\n"
	         "c = ctypes.CDLL(None, use_errno=True)\n"
	         "r = c.%s\n"
	         "print('OK' if r >= 0 else errno.errorcode[ctypes.get_errno()])",
	         call);
	snprintf(expected, sizeof(expected), "%s\n", answer);
	cr_expect_str_eq(run("/usr/bin/python3", script, &out, &status), expected, "%s", call);
	buf_release(&out);
}

Test(sandbox, programs_do_their_work)
{
	expect_shell("d=$(mktemp -d) && echo x >$d/a && mv $d/a $d/b && sed -i s/x/y/ $d/b && "
	             "sort <$d/b | tr y z; chmod 600 $d/b && rm -r $d",
	             "z\n");
	expect_shell("sleep 0 & wait; kill -0 $$ && nice true && timeout 10 echo late", "late\n");
}

Test(sandbox, sockets_are_those_of_the_internet_and_of_this_machine)
{
	expect_call("socket(2, 1, 0)", "OK");          /* AF_INET */
	expect_call("socket(10, 2, 0)", "OK");         /* AF_INET6 */
	expect_call("socket(1, 1, 0)", "OK");          /* AF_UNIX */
	expect_call("socket(16, 3, 0)", "OK");         /* AF_NETLINK */
	expect_call("socket(17, 3, 0x300)", "ENOSYS"); /* AF_PACKET */
	expect_call("socket(40, 1, 0)", "ENOSYS");     /* AF_VSOCK */
}

Test(sandbox, a_machine_is_not_administered)
{
	expect_call("ptrace(0, 0, 0, 0)", "ENOSYS");
	expect_call("mount(b'none', b'/mnt', b'tmpfs', 0, 0)", "ENOSYS");
	expect_call("umount2(b'/proc', 2)", "ENOSYS");
	expect_call("chroot(b'/')", "ENOSYS");
	expect_call("unshare(0x10000000)", "ENOSYS"); /* CLONE_NEWUSER */
	expect_call("setns(0, 0)", "ENOSYS");
	expect_call("clock_settime(0, ctypes.create_string_buffer(16))", "ENOSYS");
	expect_call("setuid(0)", "ENOSYS");
	expect_call("reboot(0)", "ENOSYS");
	expect_call("swapoff(b'/none')", "ENOSYS");
	expect_call("process_vm_readv(1, 0, 0, 0, 0, 0)", "ENOSYS");
	expect_call("syscall(425, 1, 0)", "ENOSYS"); /* io_uring_setup */
	expect_call("syscall(9999)", "ENOSYS");      /* a call of a later kernel */
}

Test(sandbox, a_clone_makes_no_namespace)
{
	/* clone: 56 on x86-64, 220 on arm64; with SIGCHLD alone a process, which ends at once. */
	expect_call("syscall(56 if __import__('os').uname().machine == 'x86_64' else 220, "
	            "0x10000000 | 17, 0, 0, 0, 0)",
	            "ENOSYS");
	expect_shell("(echo a process)", "a process\n");
}

Test(sandbox, limits_hold_and_privileges_are_not_gained)
{
	expect_shell("ulimit -c; ulimit -n", "0\n1024\n");
	expect_shell("ulimit -n 4096 2>/dev/null && echo more; true", "");
	expect_shell("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status",
	             "NoNewPrivs:\t1\nSeccomp:\t2\n");
}

Test(sandbox, what_a_child_starts_is_confined_too)
{
	expect_shell("sh -c 'grep ^Seccomp: /proc/self/status'", "Seccomp:\t2\n");
}

Test(sandbox, a_child_that_cannot_be_confined_is_not_run)
{
	struct sock_filter nonsense[] = {{.code = 0xffff}};
	const struct child_confinement broken = {.filter = {.len = 1, .filter = nonsense}};
	char *args[] = {(char *)"sh", (char *)"-c", (char *)"echo it ran", NULL};
	const struct child_options o = {.program = "/bin/sh", .args = args, .confinement = &broken};
	struct child c;
	char text[200] = "";

	cr_assert_eq(child_spawn(&o, &c), 0);
	poll(&(struct pollfd){.fd = c.pidfd, .events = POLLIN}, 1, -1);
	cr_expect_eq(read(c.out, text, sizeof(text) - 1), 0, "%s", text);
	cr_expect_gt(read(c.err, text, sizeof(text) - 1), 0);
	cr_expect_str_eq(text, "cannot confine /bin/sh: Invalid argument\n");
	int status = child_reap(&c);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 127);
}
