/* Redises that are emptied, restored, spoilt, full or read-only: everything comes back. */
#include "view_rig.h"

/* ---- Redis loses the view ---- */

Test(view, flushall_heals_without_an_event)
{
	struct rig r;

	rig_begin_embedded(&r);
	rig_fill(&r, 700);
	SETTLE(&r);
	char *before = view_dump(r.socket);
	cr_assert(strstr(before, "iso:source:node1:tls/192.0.2.250"));
	free(before);
	rig_check_whole(&r, r.socket);
	cr_assert_eq(rig_counter(&r, "view.rewrites"), 2);
	rig_release(&r);
}

/* Emptied again and again while it is written: between any two commands of a batch, and amidst a rewrite. */
Test(view, flushall_at_any_moment)
{
	struct rig r;

	need_redis();
	rig_init(&r);
	r.config.redis.flush_interval_ns = NS_PER_MS;
	rig_open(&r);
	rig_fill(&r, 600);
	SETTLE(&r);
	redisContext *c = ask_open(r.socket);
	pid_t emptier = fork();
	if (emptier == 0) {
		redisContext *own = redisConnectUnix(r.socket);
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
	UNTIL(&r, ask_number(c, "EXISTS iso:view:node1") == 1);
	SETTLE(&r);
	rig_check_whole(&r, r.socket);
	redisFree(c);
	rig_release(&r);
}

/* Restored from an older dump: the marker is there, but that of an earlier batch. */
Test(view, restored_dump)
{
	struct rig r;
	char dump[160];

	need_redis();
	rig_init(&r);
	server_start(&r.own, r.dir, "own", 0,
	             (const char *const[]){"--dbfilename", "old.rdb", NULL});
	use_unix(&r, &r.own);
	rig_open(&r);
	rig_fill(&r, 50);
	SETTLE(&r);
	redisContext *c = ask_open(r.own.unix_path);
	ask_do(c, "SAVE");
	redisFree(c);
	rig_fill(&r, 50);
	SETTLE(&r);
	char *before = view_dump(r.own.unix_path);
	server_stop(&r.own);
	UNTIL(&r, r.downs == 1);
	snprintf(dump, sizeof(dump), "%s/old.rdb", r.dir);
	cr_assert_eq(access(dump, R_OK), 0);
	server_start(&r.own, r.dir, "own", 0,
	             (const char *const[]){"--dbfilename", "old.rdb", NULL});
	UNTIL(&r, rig_counter(&r, "view.rewrites") == 2);
	SETTLE(&r);
	char *after = view_dump(r.own.unix_path);
	same_dump(before, after);
	free(before);
	free(after);
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
	struct server clean;

	need_redis();
	rig_init(&r);
	server_start(&r.own, r.dir, "own", 0, NULL);
	server_start(&clean, r.dir, "clean", 0, NULL);
	redisContext *c = ask_open(r.own.unix_path);
	for (size_t i = 0; i < ARRAY_LEN(stale); i++)
		ask_do(c, stale[i]);
	for (unsigned i = 0; i < 3000; i++) {
		ask_do(c, "HSET iso:notification:%u state dead", i + 1000);
		ask_do(c, "ZADD iso:risk 1 host:old%u", i);
		ask_do(c, "SET other:%u x", i);
	}
	rig_fill(&r, 20);
	use_unix(&r, &clean);
	rig_open(&r);
	SETTLE(&r);
	rig_close_view(&r);
	char *wanted = view_dump(clean.unix_path);
	use_unix(&r, &r.own);
	rig_open(&r);
	SETTLE(&r);
	cr_assert_str_eq(ask_text(&r.text, c, "GET other:2999"), "x");
	for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
		ask_do(c, foreign[i]);
	ask_do(c, "DEL iso:view:node1");
	UNTIL(&r, rig_counter(&r, "view.rewrites") == 2);
	SETTLE(&r);
	cr_assert_str_eq(ask_text(&r.text, c,
	                          "EXISTS other:key iso:metric:node2:rule:x:total "
	                          "iso:source:node2:tls/x iso:source:node11:tls/x "
	                          "iso:node:node2 iso:view:node2 iso:unknown"),
	                 "7");
	ask_do(c, "DEL iso:metric:node2:rule:x:total iso:source:node2:tls/x "
	          "iso:source:node11:tls/x iso:unknown");
	char *got = view_dump(r.own.unix_path);
	same_dump(wanted, got);
	redisFree(c);
	free(wanted);
	free(got);
	rig_close_view(&r);
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

	rig_begin_embedded(&r);
	rig_fill(&r, 10);
	SETTLE(&r);
	redisContext *c = ask_open(r.socket);
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
	rig_check_whole(&r, r.socket);
	redisFree(c);
	rig_release(&r);
}

/* ---- Redis refuses ---- */

Test(view, out_of_memory)
{
	struct rig r;

	rig_begin_own(&r);
	rig_fill(&r, 50);
	SETTLE(&r);
	redisContext *c = ask_open(r.own.unix_path);
	ask_do(c, "CONFIG SET maxmemory 1");
	rig_fill(&r, 600);
	UNTIL(&r, rig_counter(&r, "view.refused") > 0);
	uint64_t refused = rig_counter(&r, "view.refused");
	UNTIL(&r, rig_counter(&r, "view.refused") > refused);
	cr_assert(view_connected(r.view));
	cr_assert_gt(view_dirty(r.view), 0);
	ask_do(c, "CONFIG SET maxmemory 0");
	SETTLE(&r);
	/* Every incident was told of once for each time it was settled, none twice and none lost. */
	cr_assert_eq(ask_number(c, "XLEN iso:changes"), 50 + r.world.state.incident.count);
	redisFree(c);
	rig_check_whole(&r, r.own.unix_path);
	cr_assert_eq(rig_counter(&r, "view.rewrites"), 2);
	rig_release(&r);
}

Test(view, read_only_replica)
{
	struct rig r;

	need_redis();
	rig_init(&r);
	server_start(&r.own, r.dir, "own", 0, NULL);
	redisContext *c = ask_open(r.own.unix_path);
	ask_do(c, "REPLICAOF 127.0.0.1 1");
	use_unix(&r, &r.own);
	rig_open(&r);
	rig_fill(&r, 5);
	UNTIL(&r, rig_counter(&r, "view.refused") > 0);
	ask_do(c, "REPLICAOF NO ONE");
	SETTLE(&r);
	redisFree(c);
	rig_release(&r);
}
