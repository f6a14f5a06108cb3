/* base/child: how a child is born, talked to and ended. Real programs of the system. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/child.h"

static char *const no_args[] = {(char *)"sh", (char *)"-c", NULL, NULL};

static struct child shell(const char *script, bool discard_output)
{
	char *args[4];
	struct child c;
	struct child_options o = {
		.program = "/bin/sh", .args = args, .discard_output = discard_output};

	memcpy(args, no_args, sizeof(args));
	args[2] = (char *)(uintptr_t)script;
	cr_assert_eq(child_spawn(&o, &c), 0);
	return c;
}

/* All that comes out of a non-blocking descriptor until its end. */
static const char *read_all(int fd, struct buf *out)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char chunk[1000];
	ssize_t n;

	buf_init(out, 100000);
	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n > 0)
			buf_append(out, chunk, (size_t)n);
		else if (errno == EAGAIN)
			poll(&wait, 1, -1);
		else
			break;
	}
	return buf_cstr(out);
}

static void wait_end(const struct child *c)
{
	poll(&(struct pollfd){.fd = c->pidfd, .events = POLLIN}, 1, -1);
}

Test(child, speaks_over_three_pipes)
{
	struct child c = shell("read x; echo out $x; echo err >&2; exit 3", false);
	struct buf out, err;

	cr_expect_eq(child_write(c.in, "hello\n", 6), 6);
	cr_expect_str_eq(read_all(c.out, &out), "out hello\n");
	cr_expect_str_eq(read_all(c.err, &err), "err\n");
	wait_end(&c);
	int status = child_reap(&c);
	char text[CHILD_STATUS_MAX];
	cr_expect_str_eq(child_describe(status, text), "exit 3");
	cr_expect_eq(c.pid, -1);
	cr_expect_eq(c.in, -1);
	buf_release(&out);
	buf_release(&err);
}

Test(child, is_born_right_where_the_parent_has_no_standard_descriptors)
{
	struct buf out;

	close(STDIN_FILENO);
	close(STDOUT_FILENO); /* the pipes now get 0 and 1 themselves */
	struct child c = shell("cat; echo end", false);
	cr_expect_eq(child_write(c.in, "x\n", 2), 2);
	child_close(&c.in);
	cr_expect_str_eq(read_all(c.out, &out), "x\nend\n");
	wait_end(&c);
	cr_expect_eq(child_reap(&c), 0);
	buf_release(&out);
}

Test(child, output_can_be_discarded)
{
	struct child c = shell("head -c 1000000 /dev/zero && echo done >&2", true);
	struct buf err;

	cr_expect_eq(c.out, -1);
	cr_expect_str_eq(read_all(c.err, &err), "done\n");
	wait_end(&c);
	cr_expect_eq(child_reap(&c), 0);
	buf_release(&err);
}

Test(child, a_reader_that_is_gone_is_an_error_and_no_signal)
{
	struct child c = shell("exit 0", false);

	signal(SIGPIPE, SIG_DFL);
	wait_end(&c);
	cr_expect_eq(child_write(c.in, "x", 1), -EPIPE);
	cr_expect_eq(child_write(c.in, "x", 1), -EPIPE);
	sigset_t pending;
	sigpending(&pending);
	cr_assert_not(sigismember(&pending, SIGPIPE));
	cr_expect_eq(child_reap(&c), 0);
}

Test(child, a_full_pipe_does_not_block)
{
	struct child c = shell("exec sleep 1000", false);
	char chunk[4096] = {0};
	ssize_t n;

	while ((n = child_write(c.in, chunk, sizeof(chunk))) > 0)
		;
	cr_expect_eq(n, -EAGAIN);
	int status = child_reap(&c);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

Test(child, a_program_that_is_not_there_says_so)
{
	struct child_options o = {.program = "/nowhere/program"};
	struct child c;
	struct buf err;

	cr_assert_eq(child_spawn(&o, &c), 0);
	cr_expect_str_eq(read_all(c.err, &err),
	                 "cannot run /nowhere/program: No such file or directory\n");
	wait_end(&c);
	cr_expect_eq(WEXITSTATUS(child_reap(&c)), 127);
	buf_release(&err);
}

Test(child, a_signal_reaches_the_whole_group)
{
	/* The pipe ends only when both processes have let go of it. */
	struct child c = shell("sleep 1000 & echo up; wait", false);
	struct buf out;
	char first[3];

	poll(&(struct pollfd){.fd = c.out, .events = POLLIN}, 1, -1);
	cr_expect_eq(read(c.out, first, 3), 3);
	child_signal(&c, SIGTERM);
	cr_expect_str_eq(read_all(c.out, &out), "");
	wait_end(&c);
	int status = child_reap(&c);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	buf_release(&out);
}

Test(child, the_environment_is_path_lang_and_what_is_given)
{
	char *const added[] = {(char *)"A=1", NULL}, *const replaced[] = {(char *)"PATH=/x", NULL};
	const struct {
		char *const *given;
		const char *expected;
	} cases[] = {
		{NULL, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
	               "LANG=de_DE.UTF-8\n"},
		{added, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
	                "LANG=de_DE.UTF-8\nA=1\n"},
		{replaced, "LANG=de_DE.UTF-8\nPATH=/x\n"},
	};

	setenv("SECRET", "x", 1);
	setenv("LANG", "de_DE.UTF-8", 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct child_options o = {.program = "/usr/bin/env", .environment = cases[i].given};
		struct child c;
		struct buf out;
		cr_assert_eq(child_spawn(&o, &c), 0);
		cr_expect_str_eq(read_all(c.out, &out), cases[i].expected);
		wait_end(&c);
		cr_expect_eq(child_reap(&c), 0);
		buf_release(&out);
	}
}
