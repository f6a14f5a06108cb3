/* The view against real redis-servers: the embedded one and its end; emptied, killed, hung, full, replaced and restored
 * Redises; everything comes back, nothing is told twice, nothing is left running. */
#include "view_rig.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "view/redis_server.h"

static char *embedded_socket(const struct rig *r)
{
	return xasprintf("%s/redis/redis.sock", r->dir);
}

static void use_external(struct rig *r, const char *url)
{
	r->config.redis.mode = REDIS_EXTERNAL;
	r->config.redis.url = (char *)url;
}

static void use_unix(struct rig *r, const struct server *s, char url[static 128])
{
	snprintf(url, 128, "unix://%s", s->unix_path);
	use_external(r, url);
}

static void same_dump(const char *before, const char *after)
{
	size_t at = 0;

	while (before[at] && before[at] == after[at])
		at++;
	cr_assert_str_eq(before, after, "they differ at %zu: \"%.100s\" / \"%.100s\"", at,
	                 before + (at > 40 ? at - 40 : 0), after + (at > 40 ? at - 40 : 0));
}

/* ---- the embedded server ---- */

Test(view, embedded_life)
{
	struct rig r;
	struct stat st;
	struct buf text;

	need_redis();
	rig_init(&r);
	rig_open(&r);
	cr_assert_eq(r.ups + r.downs, 0, "nobody is called from inside view_open");
	rig_incident(&r, "192.0.2.1");
	SETTLE(&r);
	cr_assert_eq(r.ups, 1);
	cr_assert_eq(r.downs, 0, "%s", r.reason);

	char *path = embedded_socket(&r);
	cr_assert_str_eq(view_address(r.view), path);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600, "%o", st.st_mode);
	char *dir = xasprintf("%s/redis", r.dir);
	stat(dir, &st);
	cr_assert_eq(st.st_mode & 07777, 0700, "%o", st.st_mode);
	buf_init(&text, 0);
	redisContext *c = ask_open(path);
	cr_assert_str_eq(ask_text(&text, c, "CONFIG GET port"), "port 0");
	cr_assert_str_eq(ask_text(&text, c, "CONFIG GET save"), "save ");
	cr_assert_str_eq(ask_text(&text, c, "CONFIG GET appendonly"), "appendonly no");
	cr_assert_str_eq(ask_text(&text, c, "HGET iso:incident:1 severity"), "high");
	redisFree(c);
	cr_assert(server_in(r.dir));

	rig_close_view(&r);
	cr_assert(!server_in(r.dir), "the server outlives the view");
	cr_assert_neq(stat(path, &st), 0, "the socket is left");
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "a child is left");
	cr_assert_eq(errno, ECHILD);
	buf_release(&text);
	free(path);
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

Test(view, embedded_killed_under_marks)
{
	struct rig r;

	need_redis();
	rig_init(&r);
	rig_open(&r);
	char *path = embedded_socket(&r);
	for (unsigned kills = 1; kills <= 3; kills++) {
		rig_fill(&r, 300);
		SETTLE(&r);
		redisContext *c = ask_open(path);
		struct buf text;
		buf_init(&text, 0);
		struct str info = str_of(ask_text(&text, c, "INFO server"));
		info = str_skip(info, (size_t)str_search(info, STR("process_id:")) + 11);
		uint64_t pid;
		cr_assert_eq(str_to_u64(str_head(info, (size_t)str_find(info, '\r')), &pid), 0);
		redisFree(c);
		buf_release(&text);
		char *before = view_dump(path);
		rig_fill(&r, 10);
		event_base_loop(r.base, EVLOOP_NONBLOCK);
		kill((pid_t)pid, SIGKILL);
		rig_fill(&r, 5);
		UNTIL(&r, rig_counter(&r, "view.server_deaths") == kills);
		SETTLE(&r);
		char *after = view_dump(path);
		cr_assert_gt(strlen(after), strlen(before), "what came before and since is there");
		/* The whole view again, by a daemon that starts anew: must be the same. */
		uint64_t rewrites = rig_counter(&r, "view.rewrites");
		c = ask_open(path);
		ask_do(c, "FLUSHALL");
		redisFree(c);
		UNTIL(&r, rig_counter(&r, "view.rewrites") > rewrites);
		SETTLE(&r);
		char *whole = view_dump(path);
		same_dump(whole, after);
		free(before);
		free(after);
		free(whole);
	}
	free(path);
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
	char *dir = xasprintf("%s/redis", r.dir), *path = embedded_socket(&r);
	cr_assert_eq(mkdir(dir, 0700), 0);
	server_start(&old, dir, "redis", 0, NULL);
	cr_assert_str_eq(old.unix_path, path);
	if (hung)
		kill(old.pid, SIGSTOP);
	rig_open(&r);
	cr_assert_eq(waitpid(old.pid, NULL, 0), old.pid);
	rig_incident(&r, "192.0.2.1");
	SETTLE(&r);
	free(dir);
	free(path);
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
	char *dir = xasprintf("%s/redis", r.dir), *path = embedded_socket(&r);
	cr_assert_eq(mkdir(dir, 0700), 0);
	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	cr_assert_eq(listen(fd, 5), 0);
	cr_assert_eq(rig_try_open(&r), -EADDRINUSE);
	cr_assert(strstr(r.error, "no redis-server"), "%s", r.error);
	close(fd);
	rig_open(&r);
	SETTLE(&r);
	free(dir);
	free(path);
	rig_release(&r);
}

Test(view, two_on_one_state_directory)
{
	struct rig r;
	struct view *first;

	need_redis();
	rig_init(&r);
	rig_open(&r);
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

	need_redis();
	rig_init(&r);
	rig_open(&r);
	rig_fill(&r, 20);
	SETTLE(&r);
	char *path = embedded_socket(&r), *before = view_dump(path);
	redisContext *c = ask_open(path);
	struct buf text;
	buf_init(&text, 0);
	struct str info = str_of(ask_text(&text, c, "INFO server"));
	redisFree(c);
	info = str_skip(info, (size_t)str_search(info, STR("process_id:")) + 11);
	uint64_t pid;
	cr_assert_eq(str_to_u64(str_head(info, (size_t)str_find(info, '\r')), &pid), 0);
	kill((pid_t)pid, SIGSTOP);
	UNTIL(&r, rig_counter(&r, "view.server_deaths") == 1);
	SETTLE(&r);
	char *after = view_dump(path);
	same_dump(before, after);
	cr_assert(strstr(r.reason, "no answer") || strstr(r.reason, "connect"), "%s", r.reason);
	buf_release(&text);
	free(path);
	free(before);
	free(after);
	rig_release(&r);
}

/* ---- content ---- */

Test(view, content)
{
	struct rig r;
	struct buf text;

	need_redis();
	rig_init(&r);
	rig_open(&r);
	rig_incident(&r, "192.0.2.7");
	rig_incident(&r, "192.0.2.7");
	rig_tally(&r, "tls/192.0.2.7", 5);
	SETTLE(&r);
	char *path = embedded_socket(&r);
	redisContext *c = ask_open(path);
	buf_init(&text, 0);
#define IS(wanted, ...) cr_assert_str_eq(ask_text(&text, c, __VA_ARGS__), wanted)
	IS("detected", "HGET iso:incident:1 state");
	IS("2", "HGET iso:incident:1 matches");
	IS("user:alice@web1,host:web1,address:192.0.2.7", "HGET iso:incident:1 entities");
	IS("", "HGET iso:incident:1 closed");
	cr_assert(strstr(ask_text(&text, c, "HGET iso:incident:1 opened"), "Z"));
	cr_assert(strstr(ask_text(&text, c, "HGET iso:incident:1 json"), "\"severity\":\"high\""));
	IS("1 4", "ZRANGE iso:incidents:open 0 -1 WITHSCORES");
	char changed[32];
	snprintf(changed, sizeof(changed), "%llu", (unsigned long long)(r.world.now / NS_PER_MS));
	IS(changed, "ZSCORE iso:incidents 1");
	IS("50.000", "HGET iso:risk:address:192.0.2.7 score");
	IS("address:192.0.2.7", "HGET iso:risk:address:192.0.2.7 entity");
	IS("1", "HGET iso:risk:address:192.0.2.7 last_incident");
	double score = atof(ask_text(&text, c, "ZSCORE iso:risk address:192.0.2.7"));
	cr_assert(score > 40 && score <= 50, "%f", score);
	IS("2", "GET iso:metric:node1:severity:high:total");
	IS("5", "GET iso:metric:node1:source:tls/192.0.2.7:total");
	snprintf(changed, sizeof(changed), "%llu",
	         (unsigned long long)(r.world.now / NS_PER_HOUR * NS_PER_HOUR / NS_PER_MS));
	IS("5", "HGET iso:metric:node1:source:tls/192.0.2.7:hour %s", changed);
	IS("5", "HGET iso:source:node1:tls/192.0.2.7 received");
	IS("-1500", "HGET iso:source:node1:tls/192.0.2.7 clock_skew_ms");
	IS("1", "HGET iso:node:node1 incidents_open");
	IS("test", "HGET iso:node:node1 version");
	IS("complete", "HGET iso:node:node1 view");
	/* Closed: it stays, and leaves the open ones. */
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	Isod__V1__Command command = ISOD__V1__COMMAND__INIT;
	Isod__V1__CloseIncident closing = ISOD__V1__CLOSE_INCIDENT__INIT;
	closing.incident = 1;
	closing.disposition = ISOD__V1__DISPOSITION__DISPOSITION_BENIGN;
	closing.note = (char *)"a test, \"quoted\"\r\n";
	command.user = (char *)"root";
	command.action_case = ISOD__V1__COMMAND__ACTION_CLOSE;
	command.close = &closing;
	record.body_case = ISOD__V1__RECORD__BODY_COMMAND;
	record.command = &command;
	world_apply(&r.world, &record);
	SETTLE(&r);
	IS("closed", "HGET iso:incident:1 state");
	IS("benign", "HGET iso:incident:1 disposition");
	IS("0", "ZCARD iso:incidents:open");
	IS("1", "ZCARD iso:incidents");
#undef IS
	redisFree(c);
	buf_release(&text);
	free(path);
	rig_release(&r);
}

/* However often a key is marked, a flush writes it once. */
Test(view, one_write_per_key_and_flush)
{
	struct rig r;
	struct buf text;
	char id[32];

	need_redis();
	rig_init(&r);
	r.config.redis.flush_interval_ns = 20 * NS_PER_MS;
	rig_open(&r);
	rig_fill(&r, 1000);
	cr_assert_gt(r.world.state.incident.count, 900);
	SETTLE(&r);
	char *path = embedded_socket(&r);
	redisContext *c = ask_open(path);
	buf_init(&text, 0);
	ask_do(c, "CONFIG RESETSTAT");
	uint64_t flushes = rig_counter(&r, "view.flushes");
	for (unsigned i = 0; i < 100000; i++) {
		snprintf(id, sizeof(id), "%u", i % 900 + 1);
		view_mark(r.view, VIEW_INCIDENT, str_of(id));
	}
	cr_assert_eq(view_dirty(r.view), 900);
	SETTLE(&r);
	/* A slice's batch also has one HSET of iso:node. */
	uint64_t batches = rig_counter(&r, "view.flushes") - flushes;
	unsigned long long writes = 0;
	const char *stats = ask_text(&text, c, "INFO commandstats");
	const char *hset = strstr(stats, "cmdstat_hset:calls=");
	cr_assert_not_null(hset);
	writes = strtoull(hset + 19, NULL, 10);
	cr_assert_eq(writes, 900 + batches, "%llu writes in %llu batches", writes,
	             (unsigned long long)batches);
	redisFree(c);
	buf_release(&text);
	free(path);
	rig_release(&r);
}

/* ---- Redis loses the view ---- */

Test(view, flushall_heals_without_an_event)
{
	struct rig r;

	need_redis();
	rig_init(&r);
	rig_open(&r);
	rig_fill(&r, 700);
	SETTLE(&r);
	char *path = embedded_socket(&r), *before = view_dump(path);
	cr_assert(strstr(before, "iso:source:node1:tls/192.0.2.250"));
	redisContext *c = ask_open(path);
	ask_do(c, "FLUSHALL");
	UNTIL(&r, rig_counter(&r, "view.rewrites") == 2);
	SETTLE(&r);
	char *after = view_dump(path);
	same_dump(before, after);
	redisFree(c);
	free(path);
	free(before);
	free(after);
	rig_release(&r);
}

/* Emptied again and again while it is written: between any two commands of a batch, and amidst a rewrite. */
Test(view, flushall_at_any_moment)
{
	struct rig r;
	struct buf text;

	need_redis();
	rig_init(&r);
	r.config.redis.flush_interval_ns = NS_PER_MS;
	rig_open(&r);
	rig_fill(&r, 600);
	SETTLE(&r);
	char *path = embedded_socket(&r);
	redisContext *c = ask_open(path);
	buf_init(&text, 0);
	pid_t emptier = fork();
	if (emptier == 0) {
		redisContext *own = redisConnectUnix(path);
		for (unsigned i = 0; i < 40; i++) {
			freeReplyObject(redisCommand(own, "FLUSHALL"));
			usleep(7000 + i * 1000);
		}
		_exit(0);
	}
	unsigned step = 0;
	while (waitpid(emptier, NULL, WNOHANG) == 0) {
		rig_tally(&r, "tls/192.0.2.1", ++step);
		rig_turn(&r);
	}
	SETTLE(&r);
	/* settled may be from before the last FLUSHALL: the next look at the marker must not find anything missing. */
	UNTIL(&r, strcmp(ask_text(&text, c, "EXISTS iso:view:node1"), "1") == 0);
	SETTLE(&r);
	char *after = view_dump(path);
	uint64_t rewrites = rig_counter(&r, "view.rewrites");
	ask_do(c, "FLUSHALL");
	UNTIL(&r, rig_counter(&r, "view.rewrites") > rewrites);
	SETTLE(&r);
	char *whole = view_dump(path);
	same_dump(whole, after);
	redisFree(c);
	buf_release(&text);
	free(path);
	free(after);
	free(whole);
	rig_release(&r);
}

/* Restored from an older dump: the marker is there, but that of an earlier batch. */
Test(view, restored_dump)
{
	struct rig r;
	struct server s;
	char url[128], dump[160];

	need_redis();
	rig_init(&r);
	server_start(&s, r.dir, "own", 0, (const char *const[]){"--dbfilename", "old.rdb", NULL});
	use_unix(&r, &s, url);
	rig_open(&r);
	rig_fill(&r, 50);
	SETTLE(&r);
	redisContext *c = ask_open(s.unix_path);
	ask_do(c, "SAVE");
	redisFree(c);
	rig_fill(&r, 50);
	SETTLE(&r);
	char *before = view_dump(s.unix_path);
	server_stop(&s);
	UNTIL(&r, r.downs == 1);
	snprintf(dump, sizeof(dump), "%s/old.rdb", r.dir);
	cr_assert_eq(access(dump, R_OK), 0);
	server_start(&s, r.dir, "own", 0, (const char *const[]){"--dbfilename", "old.rdb", NULL});
	UNTIL(&r, rig_counter(&r, "view.rewrites") == 2);
	SETTLE(&r);
	char *after = view_dump(s.unix_path);
	same_dump(before, after);
	free(before);
	free(after);
	rig_close_view(&r);
	server_stop(&s);
	rig_release(&r);
}

/* Keys of ours that the state does not have are removed; those of others are left alone. */
Test(view, stale_keys_go)
{
	static const char *const stale[] = {
		"SET iso:incident:999 x",
		"HSET iso:incident:01 state detected",
		"HSET iso:incident:abc state detected",
		"ZADD iso:incidents 1 999 2 x",
		"ZADD iso:incidents:open 3 999",
		"ZADD iso:risk 5 user:gone 6 nonsense",
		"HSET iso:risk:user:gone score 5",
		"SET iso:metric:node1:rule:gone:total 5",
		"HSET iso:metric:node1:rule:gone:minute 60000 5",
		"HSET iso:metric:node1:severity:high:minute 60000 5",
		"HSET iso:source:node1:tls/gone received 3",
		"HSET iso:notification:77 state dead",
		"HSET iso:incident:1 leftover yes",
	};
	static const char *const foreign[] = {
		"SET other:key 1",
		"SET iso:metric:node2:rule:x:total 5",
		"HSET iso:source:node2:tls/x received 3",
		"HSET iso:source:node11:tls/x received 3",
		"HSET iso:node:node2 version 1",
		"SET iso:view:node2 x",
		"SET iso:unknown x",
	};
	struct rig r;
	struct server s, clean;
	char url[128];
	struct buf text;

	need_redis();
	rig_init(&r);
	server_start(&s, r.dir, "own", 0, NULL);
	server_start(&clean, r.dir, "clean", 0, NULL);
	redisContext *c = ask_open(s.unix_path);
	for (size_t i = 0; i < ARRAY_LEN(stale); i++)
		ask_do(c, stale[i]);
	for (unsigned i = 0; i < 3000; i++) {
		ask_do(c, "HSET iso:notification:%u state dead", i + 1000);
		ask_do(c, "ZADD iso:risk 1 host:old%u", i);
		ask_do(c, "SET other:%u x", i);
	}
	rig_fill(&r, 20);
	use_unix(&r, &clean, url);
	rig_open(&r);
	SETTLE(&r);
	rig_close_view(&r);
	char *wanted = view_dump(clean.unix_path);
	use_unix(&r, &s, url);
	rig_open(&r);
	SETTLE(&r);
	buf_init(&text, 0);
	cr_assert_str_eq(ask_text(&text, c, "GET other:2999"), "x");
	for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
		ask_do(c, foreign[i]);
	ask_do(c, "DEL iso:view:node1");
	UNTIL(&r, rig_counter(&r, "view.rewrites") == 2);
	SETTLE(&r);
	cr_assert_str_eq(ask_text(&text, c,
	                          "EXISTS other:key iso:metric:node2:rule:x:total "
	                          "iso:source:node2:tls/x iso:source:node11:tls/x "
	                          "iso:node:node2 iso:view:node2 iso:unknown"),
	                 "7");
	ask_do(c, "DEL iso:metric:node2:rule:x:total iso:source:node2:tls/x "
	          "iso:source:node11:tls/x iso:unknown");
	char *got = view_dump(s.unix_path);
	same_dump(wanted, got);
	redisFree(c);
	buf_release(&text);
	free(wanted);
	free(got);
	rig_close_view(&r);
	server_stop(&s);
	server_stop(&clean);
	rig_release(&r);
}

/* Somebody put other things under our keys. */
Test(view, wrong_types_heal)
{
	static const char *const keys[] = {
		"iso:incident:1", "iso:incidents", "iso:incidents:open",
		"iso:risk",       "iso:changes",   "iso:metric:node1:severity:high:minute",
		"iso:node:node1", "iso:view:node1"};
	struct rig r;

	need_redis();
	rig_init(&r);
	rig_open(&r);
	rig_fill(&r, 10);
	SETTLE(&r);
	char *path = embedded_socket(&r);
	redisContext *c = ask_open(path);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		uint64_t rewrites = rig_counter(&r, "view.rewrites");
		ask_do(c, "DEL %s", keys[i]);
		ask_do(c, "RPUSH %s a b", keys[i]);
		rig_fill(&r, 10);
		UNTIL(&r, rig_counter(&r, "view.rewrites") > rewrites);
		SETTLE(&r);
		rig_incident(&r, "10.0.0.1");
		SETTLE(&r);
	}
	char *before = view_dump(path);
	uint64_t rewrites = rig_counter(&r, "view.rewrites");
	ask_do(c, "FLUSHALL");
	UNTIL(&r, rig_counter(&r, "view.rewrites") > rewrites);
	SETTLE(&r);
	char *after = view_dump(path);
	same_dump(before, after);
	redisFree(c);
	free(path);
	free(before);
	free(after);
	rig_release(&r);
}

/* ---- Redis refuses ---- */

Test(view, out_of_memory)
{
	struct rig r;
	struct server s;
	char url[128];

	need_redis();
	rig_init(&r);
	server_start(&s, r.dir, "own", 0, NULL);
	use_unix(&r, &s, url);
	rig_open(&r);
	rig_fill(&r, 50);
	SETTLE(&r);
	redisContext *c = ask_open(s.unix_path);
	ask_do(c, "CONFIG SET maxmemory 1");
	rig_fill(&r, 600);
	UNTIL(&r, rig_counter(&r, "view.refused") > 0);
	uint64_t refused = rig_counter(&r, "view.refused");
	UNTIL(&r, rig_counter(&r, "view.refused") > refused);
	cr_assert(view_connected(r.view));
	cr_assert_gt(view_dirty(r.view), 0);
	ask_do(c, "CONFIG SET maxmemory 0");
	SETTLE(&r);
	struct buf text;
	buf_init(&text, 0);
	/* Every incident was told of once for each time it was settled, none twice and none lost. */
	cr_assert_eq(strtoull(ask_text(&text, c, "XLEN iso:changes"), NULL, 10),
	             50 + r.world.state.incident.count);
	char *after = view_dump(s.unix_path);
	ask_do(c, "FLUSHALL");
	UNTIL(&r, rig_counter(&r, "view.rewrites") == 2);
	SETTLE(&r);
	char *whole = view_dump(s.unix_path);
	same_dump(whole, after);
	redisFree(c);
	buf_release(&text);
	free(after);
	free(whole);
	rig_close_view(&r);
	server_stop(&s);
	rig_release(&r);
}

Test(view, read_only_replica)
{
	struct rig r;
	struct server s;
	char url[128];

	need_redis();
	rig_init(&r);
	server_start(&s, r.dir, "own", 0, NULL);
	redisContext *c = ask_open(s.unix_path);
	ask_do(c, "REPLICAOF 127.0.0.1 1");
	use_unix(&r, &s, url);
	rig_open(&r);
	rig_fill(&r, 5);
	UNTIL(&r, rig_counter(&r, "view.refused") > 0);
	ask_do(c, "REPLICAOF NO ONE");
	SETTLE(&r);
	redisFree(c);
	rig_close_view(&r);
	server_stop(&s);
	rig_release(&r);
}

/* ---- passwords, TLS ---- */

Test(view, tcp_with_password)
{
	struct rig r;
	struct server s;
	char url[128];

	need_redis();
	rig_init(&r);
	int port = free_port();
	char *file = xasprintf("%s/password", r.dir);
	server_start(&s, r.dir, "own", port,
	             (const char *const[]){"--requirepass", "right one", NULL});
	snprintf(url, sizeof(url), "redis://localhost:%d/2", port);
	use_external(&r, url);
	r.config.redis.password_file = file;
	cr_assert_eq(rig_try_open(&r), -ENOENT, "no such file");
	cr_assert(strstr(r.error, file), "%s", r.error);

	cr_assert_eq(path_write_atomic(file, STR("wrong one\n"), 0600), 0);
	rig_open(&r);
	rig_incident(&r, "192.0.2.1");
	UNTIL(&r, r.downs == 1);
	cr_assert(strstr(r.reason, "refuses the password"), "%s", r.reason);
	cr_assert(!strstr(r.reason, "wrong one"), "%s", r.reason);
	cr_assert_gt(view_dirty(r.view), 0);

	cr_assert_eq(path_write_atomic(file, STR("right one\r\n"), 0600), 0);
	SETTLE(&r);
	redisContext *c = ask_open(s.unix_path);
	ask_do(c, "AUTH %s", "right one");
	ask_do(c, "SELECT 2");
	struct buf text;
	buf_init(&text, 0);
	cr_assert_str_eq(ask_text(&text, c, "HGET iso:incident:1 state"), "detected");
	cr_assert(strstr(ask_text(&text, c, "CLIENT LIST"), "name=isod-node1"));
	redisFree(c);
	buf_release(&text);
	rig_close_view(&r);

	r.config.redis.password_file = NULL;
	r.downs = 0;
	rig_open(&r);
	UNTIL(&r, r.downs == 1);
	cr_assert(strstr(r.reason, "asks for a password"), "%s", r.reason);
	rig_close_view(&r);
	server_stop(&s);
	free(file);
	rig_release(&r);
}

/* The rights that view.h asks for are enough; without them the daemon says so and goes on. */
Test(view, acl_user)
{
	struct rig r;
	struct server s;
	char url[128];

	need_redis();
	rig_init(&r);
	int port = free_port();
	server_start(&s, r.dir, "own", port, NULL);
	redisContext *c = ask_open(s.unix_path);
	ask_do(c, "ACL SETUSER isod on >secret ~other:* +@read +@write +@connection +@transaction");
	snprintf(url, sizeof(url), "redis://isod:secret@127.0.0.1:%d", port);
	use_external(&r, url);
	rig_open(&r);
	cr_assert(!strstr(view_address(r.view), "secret"), "%s", view_address(r.view));
	rig_fill(&r, 5);
	UNTIL(&r, rig_counter(&r, "view.refused") > 0);
	ask_do(c, "ACL SETUSER isod on >secret ~iso:* +@read +@write +@connection +@transaction");
	SETTLE(&r);
	redisFree(c);
	rig_close_view(&r);
	server_stop(&s);
	rig_release(&r);
}

static void make_certificates(const char *dir)
{
	char *command = xasprintf(
		"cd %s && exec >/dev/null 2>&1; set -e; for ca in ca strange; do "
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
		"-subj /CN=$ca -keyout $ca.key -out $ca.pem; done; for n in server client; do "
		"openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$n "
		"-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout $n.key -out $n.csr; "
		"openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
		"-copy_extensions copy -out $n.pem; done",
		dir);
	cr_assert_eq(system(command), 0);
	free(command);
}

Test(view, tls_with_client_certificate)
{
	struct rig r;
	struct server s;
	char url[128], tls_port[16], file[6][100];
	static const char *const names[] = {"server.pem", "server.key", "ca.pem",
	                                    "client.pem", "client.key", "strange.pem"};

	need_redis();
	rig_init(&r);
	make_certificates(r.dir);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		snprintf(file[i], sizeof(file[i]), "%s/%s", r.dir, names[i]);
	snprintf(tls_port, sizeof(tls_port), "%d", free_port());
	server_start(&s, r.dir, "own", 0,
	             (const char *const[]){"--tls-port", tls_port, "--tls-cert-file", file[0],
	                                   "--tls-key-file", file[1], "--tls-ca-cert-file", file[2],
	                                   NULL});
	snprintf(url, sizeof(url), "rediss://localhost:%s", tls_port);
	use_external(&r, url);

	/* A CA that did not sign it. */
	r.config.redis.ca = file[5];
	rig_open(&r);
	UNTIL(&r, r.downs == 1);
	cr_assert(strstr(r.reason, "TLS"), "%s", r.reason);
	rig_close_view(&r);
	/* No client certificate. */
	r.config.redis.ca = file[2];
	r.downs = 0;
	rig_open(&r);
	rig_fill(&r, 3);
	UNTIL(&r, r.downs == 1);
	cr_assert(strstr(r.reason, "TLS"), "%s", r.reason);
	rig_close_view(&r);
	/* All is well. */
	r.config.redis.certificate = file[3];
	r.config.redis.key = file[4];
	rig_open(&r);
	rig_fill(&r, 1200);
	SETTLE(&r);
	char *before = view_dump(s.unix_path);
	cr_assert(strstr(before, "iso:incident:900 "));
	redisContext *c = ask_open(s.unix_path);
	ask_do(c, "FLUSHALL");
	UNTIL(&r, rig_counter(&r, "view.rewrites") == 2);
	SETTLE(&r);
	char *after = view_dump(s.unix_path);
	same_dump(before, after);
	rig_incident(&r, "192.0.2.99");
	rig_close_view(&r);
	struct buf text;
	buf_init(&text, 0);
	cr_assert_str_eq(ask_text(&text, c, "EXISTS iso:risk:address:192.0.2.99"), "1",
	                 "the last flush goes over TLS too");
	/* Certificates without TLS in the URL, and broken ones. */
	r.config.redis.url = (char *)"redis://localhost";
	cr_assert_eq(rig_try_open(&r), -EINVAL);
	cr_assert(strstr(r.error, "rediss://"), "%s", r.error);
	r.config.redis.url = url;
	r.config.redis.key = file[1];
	cr_assert_lt(rig_try_open(&r), 0);
	cr_assert(r.error[0]);
	redisFree(c);
	buf_release(&text);
	free(before);
	free(after);
	server_stop(&s);
	rig_release(&r);
}

Test(view, bad_url)
{
	struct rig r;

	rig_init(&r);
	use_external(&r, "http://db");
	cr_assert_eq(rig_try_open(&r), -EINVAL);
	cr_assert(strstr(r.error, "redis.url"), "%s", r.error);
	rig_release(&r);
}

/* ---- Redis is away, hung, or something else ---- */

Test(view, away_then_there)
{
	struct rig r;
	struct server s;
	char url[128];

	need_redis();
	rig_init(&r);
	snprintf(s.unix_path, sizeof(s.unix_path), "%s/own.sock", r.dir);
	use_unix(&r, &s, url);
	rig_open(&r);
	rig_fill(&r, 30);
	UNTIL(&r, r.downs == 1);
	server_start(&s, r.dir, "own", 0, NULL);
	SETTLE(&r);
	cr_assert_eq(r.ups, 1);
	rig_close_view(&r);
	server_stop(&s);
	rig_release(&r);
}

Test(view, unknown_host)
{
	struct rig r;

	rig_init(&r);
	use_external(&r, "redis://no-such-host.invalid");
	rig_open(&r);
	UNTIL(&r, r.downs == 1);
	cr_assert(r.reason[0]);
	rig_release(&r);
}

/* The daemon ends while the name servers are asked. */
Test(view, closed_while_resolving)
{
	for (int turns = 0; turns < 4; turns++) {
		struct rig r;
		rig_init(&r);
		use_external(&r, "redis://no-such-host.invalid");
		rig_open(&r);
		for (int i = 0; i < turns; i++)
			event_base_loop(r.base, EVLOOP_NONBLOCK);
		size_t downs = r.downs;
		rig_close_view(&r);
		for (int i = 0; i < 5; i++)
			event_base_loop(r.base, EVLOOP_NONBLOCK);
		cr_assert_eq(r.downs, downs, "nobody is told after the close");
		rig_release(&r);
	}
}

Test(view, hung_then_well)
{
	struct rig r;
	struct server s;
	char url[128];

	need_redis();
	rig_init(&r);
	server_start(&s, r.dir, "own", 0, NULL);
	use_unix(&r, &s, url);
	rig_open(&r);
	rig_fill(&r, 30);
	SETTLE(&r);
	kill(s.pid, SIGSTOP);
	rig_fill(&r, 60);
	UNTIL(&r, r.downs == 1);
	cr_assert(strstr(r.reason, "no answer"), "%s", r.reason);
	rig_fill(&r, 90);
	kill(s.pid, SIGCONT);
	SETTLE(&r);
	/* It had not lost anything, so nothing was written whole; what was in doubt is right. */
	cr_assert_eq(rig_counter(&r, "view.rewrites"), 1);
	char *after = view_dump(s.unix_path);
	redisContext *c = ask_open(s.unix_path);
	ask_do(c, "FLUSHALL");
	UNTIL(&r, rig_counter(&r, "view.rewrites") == 2);
	SETTLE(&r);
	char *whole = view_dump(s.unix_path);
	same_dump(whole, after);
	redisFree(c);
	free(after);
	free(whole);
	rig_close_view(&r);
	server_stop(&s);
	rig_release(&r);
}

/* A peer of the test's own, in the loop of the view. */
struct peer {
	struct rig *rig;
	struct evconnlistener *listener;
	const char *says;
	size_t length, times;
	size_t accepted;
};

static void on_peer_event(struct bufferevent *bev, short what, void *arg)
{
	(void)arg;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		bufferevent_free(bev);
}

static void on_peer_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int n,
                           void *arg)
{
	struct peer *p = arg;
	struct bufferevent *bev = bufferevent_socket_new(p->rig->base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)l;
	(void)sa;
	(void)n;
	p->accepted++;
	bufferevent_setcb(bev, NULL, NULL, on_peer_event, p);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	for (size_t i = 0; i < p->times; i++)
		bufferevent_write(bev, p->says, p->length);
}

static struct evconnlistener *listen_unix(struct rig *r, const char *path,
                                          evconnlistener_cb callback, void *arg)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	unlink(path);
	struct evconnlistener *l =
		evconnlistener_new_bind(r->base, callback, arg, LEV_OPT_CLOSE_ON_FREE, 5,
	                                (const struct sockaddr *)&sa, sizeof(sa));
	cr_assert_not_null(l);
	return l;
}

/* Whatever answers there: a clear reason, bounded memory, no crash. */
Test(view, peers_that_are_no_redis)
{
	static const struct {
		const char *says;
		size_t length, times;
		const char *reason;
	} cases[] = {
		{"HTTP/1.1 400 Bad Request\r\n\r\n", 0, 1, "no Redis"},
		{"*1000000000\r\n", 0, 1, "no Redis"},
		{"*99999\r\n", 0, 4, "no Redis"},
		{"$-5\r\n", 0, 1, "no Redis"},
		{"$999999999\r\nx", 0, 1, "no answer"},
		{"-DENIED Redis is running in protected mode\r\n", 0, 1, "protected mode"},
		{"+OK\r\n", 0, 20, "no Redis"},
		{"+PONG\r\n", 0, 2000, ""},
		{":1\r\n", 0, 2, "no Redis"},
		{"*1\r\n", 0, 20, "no Redis"},
		{"\0\0\0\0", 4, 10, "no Redis"},
		{"+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, 400000, "longer than"},
		{"-ERR \x1b[2J\r\n", 0, 1, "ERR"},
	};
	struct rig r;

	rig_init(&r);
	char *path = xasprintf("%s/odd.sock", r.dir), *url = xasprintf("unix://%s", path);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct peer p = {.rig = &r,
		                 .says = cases[i].says,
		                 .length =
		                         cases[i].length ? cases[i].length : strlen(cases[i].says),
		                 .times = cases[i].times};
		p.listener = listen_unix(&r, path, on_peer_accept, &p);
		use_external(&r, url);
		r.downs = r.ups = 0;
		rig_open(&r);
		rig_fill(&r, 3);
		UNTIL(&r, r.downs >= 1);
		cr_assert(strstr(r.reason, cases[i].reason), "case %zu: %s", i, r.reason);
		rig_close_view(&r);
		evconnlistener_free(p.listener);
		for (int turn = 0; turn < 3; turn++)
			rig_turn(&r); /* the peer's side sees the end */
	}
	free(path);
	free(url);
	rig_release(&r);
}

/* ---- the stream ---- */

Test(view, stream_tells_each_change)
{
	struct rig r;
	struct buf text;

	need_redis();
	rig_init(&r);
	rig_open(&r);
	SETTLE(&r);
	char *path = embedded_socket(&r);
	redisContext *c = ask_open(path);
	buf_init(&text, 0);
	for (unsigned i = 1; i <= 20; i++) {
		rig_incident(&r, "192.0.2.1");
		SETTLE(&r);
		cr_assert_eq(strtoul(ask_text(&text, c, "XLEN iso:changes"), NULL, 10), i);
	}
	redisReply *last = ask(c, "XREVRANGE iso:changes + - COUNT 1");
	const redisReply *entry = last->element[0];
	unsigned long long sequence = strtoull(entry->element[0]->str, NULL, 10);
	cr_assert_eq(sequence, r.world.sequence, "the id is the ledger's sequence");
	buf_reset(&text);
	reply_text(&text, entry->element[1]);
	const char *fields = buf_cstr(&text);
	cr_assert(str_starts(str_of(fields), STR("kind incident id 1 json {\"id\":1,")), "%s",
	          fields);
	cr_assert(strstr(fields, "\"matches\":20"), "%s", fields);
	cr_assert(!strstr(fields, "\"evidence\":[{"), "%s", fields);
	freeReplyObject(last);
	/* A rewrite is no change. */
	ask_do(c, "DEL iso:view:node1");
	UNTIL(&r, rig_counter(&r, "view.rewrites") == 2);
	SETTLE(&r);
	cr_assert_str_eq(ask_text(&text, c, "XLEN iso:changes"), "20");
	redisFree(c);
	buf_release(&text);
	free(path);
	rig_release(&r);
}

/* Between the view and a Redis: passes on what the view says; of what Redis answers, on demand, nothing, and then it
 * breaks the connection: everything was done and nothing acknowledged. */
struct proxy {
	struct rig *rig;
	struct evconnlistener *listener;
	const char *redis;
	bool swallow;
	size_t swallowed;
	struct bufferevent *view, *server;
};

static void proxy_break(struct proxy *p)
{
	if (p->view)
		bufferevent_free(p->view);
	if (p->server)
		bufferevent_free(p->server);
	p->view = p->server = NULL;
}

static void on_proxy_read(struct bufferevent *bev, void *arg)
{
	struct proxy *p = arg;
	struct evbuffer *in = bufferevent_get_input(bev);

	if (bev == p->view) {
		bufferevent_write_buffer(p->server, in);
	} else if (!p->swallow) {
		bufferevent_write_buffer(p->view, in);
	} else {
		p->swallowed += evbuffer_get_length(in);
		evbuffer_drain(in, evbuffer_get_length(in));
	}
}

static void on_proxy_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		proxy_break(arg);
}

static void on_proxy_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa,
                            int n, void *arg)
{
	struct proxy *p = arg;
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	(void)l;
	(void)sa;
	(void)n;
	proxy_break(p);
	p->view = bufferevent_socket_new(p->rig->base, fd, BEV_OPT_CLOSE_ON_FREE);
	p->server = bufferevent_socket_new(p->rig->base, -1, BEV_OPT_CLOSE_ON_FREE);
	strncpy(to.sun_path, p->redis, sizeof(to.sun_path) - 1);
	bufferevent_setcb(p->view, on_proxy_read, NULL, on_proxy_event, p);
	bufferevent_setcb(p->server, on_proxy_read, NULL, on_proxy_event, p);
	bufferevent_socket_connect(p->server, (const struct sockaddr *)&to, sizeof(to));
	bufferevent_enable(p->view, EV_READ | EV_WRITE);
	bufferevent_enable(p->server, EV_READ | EV_WRITE);
}

Test(view, lost_acknowledgement_tells_nothing_twice)
{
	struct rig r;
	struct server s;
	struct buf text;
	struct proxy p = {.rig = &r};

	need_redis();
	rig_init(&r);
	server_start(&s, r.dir, "own", 0, NULL);
	p.redis = s.unix_path;
	char *path = xasprintf("%s/proxy.sock", r.dir), *url = xasprintf("unix://%s", path);
	p.listener = listen_unix(&r, path, on_proxy_accept, &p);
	use_external(&r, url);
	rig_open(&r);
	SETTLE(&r);
	buf_init(&text, 0);
	redisContext *c = ask_open(s.unix_path);
	unsigned long told = 0;
	for (unsigned i = 0; i < 5; i++) {
		p.swallowed = 0;
		p.swallow = true;
		rig_fill(&r, 30 + i);
		told += 30 + i;
		/* Until Redis has answered all of it. */
		UNTIL(&r, p.swallowed > 0 && strtoul(ask_text(&text, c, "XLEN iso:changes"), NULL,
		                                     10) == told);
		proxy_break(&p);
		p.swallow = false;
		rig_incident(&r, "203.0.113.5"); /* while it is in doubt */
		told++;
		rig_incident(&r, "10.0.0.1"); /* and one of those in doubt changes again */
		told++;
		SETTLE(&r);
		cr_assert_eq(strtoul(ask_text(&text, c, "XLEN iso:changes"), NULL, 10), told);
	}
	cr_assert_eq(rig_counter(&r, "view.rewrites"), 1);
	cr_assert_eq(rig_counter(&r, "view.refused"), 0);
	redisFree(c);
	rig_close_view(&r);
	proxy_break(&p);
	evconnlistener_free(p.listener);
	server_stop(&s);
	buf_release(&text);
	free(path);
	free(url);
	rig_release(&r);
}

/* The Redis was used with another ledger, whose sequences were higher. */
Test(view, stream_of_another_ledger)
{
	struct rig r;
	struct server s;
	struct buf text;
	char url[128];

	need_redis();
	rig_init(&r);
	server_start(&s, r.dir, "own", 0, NULL);
	redisContext *c = ask_open(s.unix_path);
	ask_do(c, "XADD iso:changes 99999999-1 kind incident id 7 json {}");
	use_unix(&r, &s, url);
	rig_open(&r);
	rig_incident(&r, "192.0.2.1");
	SETTLE(&r);
	buf_init(&text, 0);
	cr_assert_str_eq(ask_text(&text, c, "XLEN iso:changes"), "1");
	rig_incident(&r, "192.0.2.1");
	SETTLE(&r);
	cr_assert_str_eq(ask_text(&text, c, "XLEN iso:changes"), "2");
	redisFree(c);
	buf_release(&text);
	rig_close_view(&r);
	server_stop(&s);
	rig_release(&r);
}

/* ---- the end ---- */

Test(view, last_flush)
{
	struct rig r;
	struct server s;
	struct buf text;
	char url[128];

	need_redis();
	rig_init(&r);
	r.config.redis.flush_interval_ns = NS_PER_HOUR;
	server_start(&s, r.dir, "own", 0, NULL);
	use_unix(&r, &s, url);
	rig_open(&r);
	rig_fill(&r, 5);
	SETTLE(&r);
	rig_fill(&r, 800);
	for (int i = 0; i < 3; i++)
		rig_turn(&r);
	cr_assert_gt(view_dirty(r.view), 0, "an hour is not over");
	rig_close_view(&r);
	char *after = view_dump(s.unix_path);
	rig_open(&r);
	SETTLE(&r);
	char *whole = view_dump(s.unix_path);
	same_dump(whole, after);
	buf_init(&text, 0);
	redisContext *c = ask_open(s.unix_path);
	ask_text(&text, c, "GET iso:view:node1");
	cr_assert(!strstr(buf_cstr(&text), "rewriting"), "%s", buf_cstr(&text));
	redisFree(c);
	buf_release(&text);
	free(after);
	free(whole);
	rig_close_view(&r);
	server_stop(&s);
	rig_release(&r);
}

/* A Redis that hangs at the end does not keep the daemon. */
Test(view, last_flush_to_a_hung_redis)
{
	struct rig r;
	struct server s;
	char url[128];

	need_redis();
	rig_init(&r);
	server_start(&s, r.dir, "own", 0, NULL);
	use_unix(&r, &s, url);
	rig_open(&r);
	SETTLE(&r);
	kill(s.pid, SIGSTOP);
	rig_fill(&r, 10);
	rig_close_view(&r);
	server_stop(&s);
	rig_release(&r);
}
