/* The embedded redis-server: its life and its end; killed, hung, left over, never two; nothing is left running. */
#include "view_rig.h"

#include <sys/socket.h>
#include <sys/un.h>

Test(view, embedded_life)
{
	struct rig r;
	struct stat st;

	rig_begin_embedded(&r);
	cr_assert_eq(r.ups + r.downs, 0, "nobody is called from inside view_open");
	rig_incident(&r, "192.0.2.1");
	SETTLE(&r);
	cr_assert_eq(r.ups, 1);
	cr_assert_eq(r.downs, 0, "%s", r.reason);

	cr_assert_str_eq(view_address(r.view), r.socket);
	cr_assert_eq(stat(r.socket, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600, "%o", st.st_mode);
	char *dir = xasprintf("%s/redis", r.dir);
	stat(dir, &st);
	cr_assert_eq(st.st_mode & 07777, 0700, "%o", st.st_mode);
	redisContext *c = ask_open(r.socket);
	cr_assert_str_eq(ask_text(&r.text, c, "CONFIG GET port"), "port 0");
	cr_assert_str_eq(ask_text(&r.text, c, "CONFIG GET save"), "save ");
	cr_assert_str_eq(ask_text(&r.text, c, "CONFIG GET appendonly"), "appendonly no");
	cr_assert_str_eq(ask_text(&r.text, c, "HGET iso:incident:1 severity"), "high");
	redisFree(c);
	cr_assert(server_in(r.dir));

	rig_close_view(&r);
	cr_assert(!server_in(r.dir), "the server outlives the view");
	cr_assert_neq(stat(r.socket, &st), 0, "the socket is left");
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "a child is left");
	cr_assert_eq(errno, ECHILD);
	free(dir);
	rig_release(&r);
}

Test(view, off)
{
	struct rig r;

	rig_init(&r);
	r.config.redis.mode = REDIS_OFF;
	rig_open(&r);
	rig_incident(&r, "192.0.2.1");
	rig_turn(&r);
	cr_assert_eq(view_dirty(r.view), 0);
	cr_assert(!view_connected(r.view));
	cr_assert_str_eq(view_address(r.view), "off");
	rig_release(&r);
}

Test(view, embedded_cannot_be)
{
	struct rig r;

	need_redis();
	rig_init(&r);
	r.config.redis.server = (char *)"no-such-redis-server";
	cr_assert_eq(rig_try_open(&r), -ENOENT);
	cr_assert(strstr(r.error, "no-such-redis-server"), "%s", r.error);
	r.config.redis.server = (char *)"/tmp";
	cr_assert_eq(rig_try_open(&r), -ENOENT, "a folder is no program");
	r.config.redis.server = (char *)"redis-server";
	char *deep = xasprintf("%s/%0100d", r.dir, 0);
	r.config.state_dir = deep;
	cr_assert_eq(rig_try_open(&r), -ENAMETOOLONG, "%s", r.error);
	cr_assert(strstr(r.error, "107"), "%s", r.error);
	char *file = xasprintf("%s/file", r.dir);
	cr_assert_eq(path_write_atomic(file, STR("x"), 0600), 0);
	r.config.state_dir = file;
	cr_assert_lt(rig_try_open(&r), 0);
	cr_assert(strstr(r.error, file), "%s", r.error);
	r.config.state_dir = r.dir;
	free(deep);
	free(file);
	rig_release(&r);
}

/* A program that is no redis-server: its end is told with its last words, and it is tried again. */
Test(view, embedded_dies_at_once)
{
	struct rig r;

	rig_init(&r);
	char *program = xasprintf("%s/broken", r.dir);
	cr_assert_eq(path_write_atomic(program, STR("#!/bin/sh\necho cannot be\nexit 3\n"), 0700),
	             0);
	r.config.redis.server = program;
	rig_open(&r);
	rig_incident(&r, "192.0.2.1");
	UNTIL(&r, rig_counter(&r, "view.server_deaths") >= 3);
	cr_assert_gt(view_dirty(r.view), 0);
	cr_assert_eq(r.downs, 1);
	free(program);
	rig_release(&r);
}

static pid_t server_pid(struct rig *r)
{
	redisContext *c = ask_open(r->socket);
	struct str info = str_of(ask_text(&r->text, c, "INFO server"));
	uint64_t pid;

	redisFree(c);
	info = str_skip(info, (size_t)str_search(info, STR("process_id:")) + 11);
	cr_assert_eq(str_to_u64(str_head(info, (size_t)str_find(info, '\r')), &pid), 0);
	return (pid_t)pid;
}

Test(view, embedded_killed_under_marks)
{
	struct rig r;

	rig_begin_embedded(&r);
	for (unsigned kills = 1; kills <= 3; kills++) {
		rig_fill(&r, 300);
		SETTLE(&r);
		pid_t pid = server_pid(&r);
		char *before = view_dump(r.socket);
		rig_fill(&r, 10);
		event_base_loop(r.base, EVLOOP_NONBLOCK);
		kill(pid, SIGKILL);
		rig_fill(&r, 5);
		UNTIL(&r, rig_counter(&r, "view.server_deaths") == kills);
		SETTLE(&r);
		char *after = view_dump(r.socket);
		cr_assert_gt(strlen(after), strlen(before), "what came before and since is there");
		/* The whole view again, by a daemon that starts anew: must be the same. */
		rig_check_whole(&r, r.socket);
		free(before);
		free(after);
	}
	rig_release(&r);
}

/* An isod that is killed leaves no server. */
Test(view, killed_daemon_takes_its_server_along)
{
	struct rig r;
	int fds[2];
	char byte;

	need_redis();
	rig_init(&r);
	cr_assert_eq(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		event_reinit(r.base);
		rig_open(&r);
		SETTLE(&r);
		byte = 'x';
		if (write(fds[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	cr_assert_eq(read(fds[0], &byte, 1), 1);
	cr_assert(server_in(r.dir));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	UNTIL(&r, !server_in(r.dir));
	rig_open(&r);
	SETTLE(&r);
	rig_release(&r);
}

/* Should one be left all the same (or hang): it is ended, never are there two. */
static void leftover(bool hung)
{
	struct rig r;
	struct server old;

	rig_init(&r);
	char *dir = xasprintf("%s/redis", r.dir);
	cr_assert_eq(mkdir(dir, 0700), 0);
	server_start(&old, dir, "redis", 0, NULL);
	cr_assert_str_eq(old.unix_path, r.socket);
	if (hung)
		kill(old.pid, SIGSTOP);
	rig_open(&r);
	cr_assert_eq(waitpid(old.pid, NULL, 0), old.pid);
	rig_incident(&r, "192.0.2.1");
	SETTLE(&r);
	free(dir);
	rig_release(&r);
}

Test(view, leftover_server_is_ended)
{
	need_redis();
	leftover(false);
}

Test(view, hung_leftover_server_is_ended)
{
	need_redis();
	leftover(true);
}

Test(view, embedded_socket_of_somebody_else)
{
	struct rig r;
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	need_redis();
	rig_init(&r);
	char *dir = xasprintf("%s/redis", r.dir);
	cr_assert_eq(mkdir(dir, 0700), 0);
	strncpy(sa.sun_path, r.socket, sizeof(sa.sun_path) - 1);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	cr_assert_eq(listen(fd, 5), 0);
	cr_assert_eq(rig_try_open(&r), -EADDRINUSE);
	cr_assert(strstr(r.error, "no redis-server"), "%s", r.error);
	close(fd);
	rig_open(&r);
	SETTLE(&r);
	free(dir);
	rig_release(&r);
}

Test(view, two_on_one_state_directory)
{
	struct rig r;
	struct view *first;

	rig_begin_embedded(&r);
	SETTLE(&r);
	first = r.view;
	cr_assert_eq(rig_try_open(&r), -EBUSY);
	cr_assert(strstr(r.error, "another isod"), "%s", r.error);
	cr_assert(view_connected(first), "the first one's server is left alone");
	rig_release(&r);
}

Test(view, embedded_hung_is_replaced)
{
	struct rig r;

	rig_begin_embedded(&r);
	rig_fill(&r, 20);
	SETTLE(&r);
	char *before = view_dump(r.socket);
	kill(server_pid(&r), SIGSTOP);
	UNTIL(&r, rig_counter(&r, "view.server_deaths") == 1);
	SETTLE(&r);
	char *after = view_dump(r.socket);
	same_dump(before, after);
	cr_assert(strstr(r.reason, "no answer") || strstr(r.reason, "connect"), "%s", r.reason);
	free(before);
	free(after);
	rig_release(&r);
}
