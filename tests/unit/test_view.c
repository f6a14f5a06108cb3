/* What the view writes into a real Redis, and its stream of changes: each is told once, and the last flush is whole. */
#include "view_rig.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>

/* ---- content ---- */

Test(view, content)
{
	struct rig r;

	rig_begin_embedded(&r);
	rig_incident(&r, "192.0.2.7");
	rig_incident(&r, "192.0.2.7");
	rig_tally(&r, "tls/192.0.2.7", 5);
	SETTLE(&r);
	redisContext *c = ask_open(r.socket);
#define IS(wanted, ...) cr_assert_str_eq(ask_text(&r.text, c, __VA_ARGS__), wanted)
	IS("detected", "HGET iso:incident:1 state");
	IS("2", "HGET iso:incident:1 matches");
	IS("user:alice@web1,host:web1,address:192.0.2.7", "HGET iso:incident:1 entities");
	IS("", "HGET iso:incident:1 closed");
	cr_assert(strstr(ask_text(&r.text, c, "HGET iso:incident:1 opened"), "Z"));
	cr_assert(
		strstr(ask_text(&r.text, c, "HGET iso:incident:1 json"), "\"severity\":\"high\""));
	IS("1 4", "ZRANGE iso:incidents:open 0 -1 WITHSCORES");
	char changed[32];
	snprintf(changed, sizeof(changed), "%llu", (unsigned long long)(r.world.now / NS_PER_MS));
	IS(changed, "ZSCORE iso:incidents 1");
	IS("50.000", "HGET iso:risk:address:192.0.2.7 score");
	IS("address:192.0.2.7", "HGET iso:risk:address:192.0.2.7 entity");
	IS("1", "HGET iso:risk:address:192.0.2.7 last_incident");
	double score = atof(ask_text(&r.text, c, "ZSCORE iso:risk address:192.0.2.7"));
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
	rig_release(&r);
}

/* However often a key is marked, a flush writes it once. */
Test(view, one_write_per_key_and_flush)
{
	struct rig r;
	char id[32];

	need_redis();
	rig_init(&r);
	r.config.redis.flush_interval_ns = 20 * NS_PER_MS;
	rig_open(&r);
	rig_fill(&r, 1000);
	cr_assert_gt(r.world.state.incident.count, 900);
	SETTLE(&r);
	redisContext *c = ask_open(r.socket);
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
	const char *stats = ask_text(&r.text, c, "INFO commandstats");
	const char *hset = strstr(stats, "cmdstat_hset:calls=");
	cr_assert_not_null(hset);
	writes = strtoull(hset + 19, NULL, 10);
	cr_assert_eq(writes, 900 + batches, "%llu writes in %llu batches", writes,
	             (unsigned long long)batches);
	redisFree(c);
	rig_release(&r);
}

/* ---- the stream ---- */

Test(view, stream_tells_each_change)
{
	struct rig r;

	rig_begin_embedded(&r);
	SETTLE(&r);
	redisContext *c = ask_open(r.socket);
	for (unsigned i = 1; i <= 20; i++) {
		rig_incident(&r, "192.0.2.1");
		SETTLE(&r);
		cr_assert_eq(ask_number(c, "XLEN iso:changes"), i);
	}
	redisReply *last = ask(c, "XREVRANGE iso:changes + - COUNT 1");
	const redisReply *entry = last->element[0];
	unsigned long long sequence = strtoull(entry->element[0]->str, NULL, 10);
	cr_assert_eq(sequence, r.world.sequence, "the id is the ledger's sequence");
	buf_reset(&r.text);
	reply_text(&r.text, entry->element[1]);
	const char *fields = buf_cstr(&r.text);
	cr_assert(str_starts(str_of(fields), STR("kind incident id 1 json {\"id\":1,")), "%s",
	          fields);
	cr_assert(strstr(fields, "\"matches\":20"), "%s", fields);
	cr_assert(!strstr(fields, "\"evidence\":[{"), "%s", fields);
	freeReplyObject(last);
	/* A rewrite is no change. */
	ask_do(c, "DEL iso:view:node1");
	UNTIL(&r, rig_counter(&r, "view.rewrites") == 2);
	SETTLE(&r);
	cr_assert_eq(ask_number(c, "XLEN iso:changes"), 20);
	redisFree(c);
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
	struct proxy p = {.rig = &r};

	need_redis();
	rig_init(&r);
	server_start(&r.own, r.dir, "own", 0, NULL);
	p.redis = r.own.unix_path;
	char *path = xasprintf("%s/proxy.sock", r.dir);
	p.listener = listen_unix(&r, path, on_proxy_accept, &p);
	use_external(&r, "unix://%s", path);
	rig_open(&r);
	SETTLE(&r);
	redisContext *c = ask_open(r.own.unix_path);
	unsigned long long told = 0;
	for (unsigned i = 0; i < 5; i++) {
		p.swallowed = 0;
		p.swallow = true;
		rig_fill(&r, 30 + i);
		told += 30 + i;
		/* Until Redis has answered all of it. */
		UNTIL(&r, p.swallowed > 0 && ask_number(c, "XLEN iso:changes") == told);
		proxy_break(&p);
		p.swallow = false;
		rig_incident(&r, "203.0.113.5"); /* while it is in doubt */
		told++;
		rig_incident(&r, "10.0.0.1"); /* and one of those in doubt changes again */
		told++;
		SETTLE(&r);
		cr_assert_eq(ask_number(c, "XLEN iso:changes"), told);
	}
	cr_assert_eq(rig_counter(&r, "view.rewrites"), 1);
	cr_assert_eq(rig_counter(&r, "view.refused"), 0);
	redisFree(c);
	rig_close_view(&r);
	proxy_break(&p);
	evconnlistener_free(p.listener);
	free(path);
	rig_release(&r);
}

/* The Redis was used with another ledger, whose sequences were higher. */
Test(view, stream_of_another_ledger)
{
	struct rig r;

	need_redis();
	rig_init(&r);
	server_start(&r.own, r.dir, "own", 0, NULL);
	redisContext *c = ask_open(r.own.unix_path);
	ask_do(c, "XADD iso:changes 99999999-1 kind incident id 7 json {}");
	use_unix(&r, &r.own);
	rig_open(&r);
	rig_incident(&r, "192.0.2.1");
	SETTLE(&r);
	cr_assert_eq(ask_number(c, "XLEN iso:changes"), 1);
	rig_incident(&r, "192.0.2.1");
	SETTLE(&r);
	cr_assert_eq(ask_number(c, "XLEN iso:changes"), 2);
	redisFree(c);
	rig_release(&r);
}

/* ---- the end ---- */

Test(view, last_flush)
{
	struct rig r;

	need_redis();
	rig_init(&r);
	r.config.redis.flush_interval_ns = NS_PER_HOUR;
	server_start(&r.own, r.dir, "own", 0, NULL);
	use_unix(&r, &r.own);
	rig_open(&r);
	rig_fill(&r, 5);
	SETTLE(&r);
	rig_fill(&r, 800);
	for (int i = 0; i < 3; i++)
		rig_turn(&r);
	cr_assert_gt(view_dirty(r.view), 0, "an hour is not over");
	rig_close_view(&r);
	char *after = view_dump(r.own.unix_path);
	rig_open(&r);
	SETTLE(&r);
	char *whole = view_dump(r.own.unix_path);
	same_dump(whole, after);
	redisContext *c = ask_open(r.own.unix_path);
	ask_text(&r.text, c, "GET iso:view:node1");
	cr_assert(!strstr(buf_cstr(&r.text), "rewriting"), "%s", buf_cstr(&r.text));
	redisFree(c);
	free(after);
	free(whole);
	rig_release(&r);
}

/* A Redis that hangs at the end does not keep the daemon. */
Test(view, last_flush_to_a_hung_redis)
{
	struct rig r;

	rig_begin_own(&r);
	SETTLE(&r);
	kill(r.own.pid, SIGSTOP);
	rig_fill(&r, 10);
	rig_release(&r);
}
