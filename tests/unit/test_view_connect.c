/* To get at a Redis: passwords, rights, TLS; one that is away, hung, or something else. */
#include "view_rig.h"

#include <event2/bufferevent.h>

#include "certificates.h"

/* ---- passwords, TLS ---- */

Test(view, tcp_with_password)
{
	struct rig r;

	need_redis();
	rig_init(&r);
	int port = free_port();
	char *file = xasprintf("%s/password", r.dir);
	server_start(&r.own, r.dir, "own", port,
	             (const char *const[]){"--requirepass", "right one", NULL});
	use_external(&r, "redis://localhost:%d/2", port);
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
	redisContext *c = ask_open(r.own.unix_path);
	ask_do(c, "AUTH %s", "right one");
	ask_do(c, "SELECT 2");
	cr_assert_str_eq(ask_text(&r.text, c, "HGET iso:incident:1 state"), "detected");
	cr_assert(strstr(ask_text(&r.text, c, "CLIENT LIST"), "name=isod-node1"));
	redisFree(c);
	rig_close_view(&r);

	r.config.redis.password_file = NULL;
	r.downs = 0;
	rig_open(&r);
	UNTIL(&r, r.downs == 1);
	cr_assert(strstr(r.reason, "asks for a password"), "%s", r.reason);
	rig_close_view(&r);
	free(file);
	rig_release(&r);
}

/* The rights that view.h asks for are enough; without them the daemon says so and goes on. */
Test(view, acl_user)
{
	struct rig r;

	need_redis();
	rig_init(&r);
	int port = free_port();
	server_start(&r.own, r.dir, "own", port, NULL);
	redisContext *c = ask_open(r.own.unix_path);
	ask_do(c, "ACL SETUSER isod on >secret ~other:* +@read +@write +@connection +@transaction");
	use_external(&r, "redis://isod:secret@127.0.0.1:%d", port);
	rig_open(&r);
	cr_assert(!strstr(view_address(r.view), "secret"), "%s", view_address(r.view));
	rig_fill(&r, 5);
	UNTIL(&r, rig_counter(&r, "view.refused") > 0);
	ask_do(c, "ACL SETUSER isod on >secret ~iso:* +@read +@write +@connection +@transaction");
	SETTLE(&r);
	redisFree(c);
	rig_release(&r);
}

Test(view, tls_with_client_certificate)
{
	struct rig r;
	char tls_port[16], file[6][100];
	static const char *const names[] = {"server.pem", "server.key", "ca.pem",
	                                    "client.pem", "client.key", "other.pem"};

	need_redis();
	rig_init(&r);
	certificates_make(r.dir, "client");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		snprintf(file[i], sizeof(file[i]), "%s/%s", r.dir, names[i]);
	snprintf(tls_port, sizeof(tls_port), "%d", free_port());
	server_start(&r.own, r.dir, "own", 0,
	             (const char *const[]){"--tls-port", tls_port, "--tls-cert-file", file[0],
	                                   "--tls-key-file", file[1], "--tls-ca-cert-file", file[2],
	                                   NULL});
	use_external(&r, "rediss://localhost:%s", tls_port);

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
	char *before = view_dump(r.own.unix_path);
	cr_assert(strstr(before, "iso:incident:900 "));
	free(before);
	rig_check_whole(&r, r.own.unix_path);
	cr_assert_eq(rig_counter(&r, "view.rewrites"), 2);
	rig_incident(&r, "192.0.2.99");
	rig_close_view(&r);
	redisContext *c = ask_open(r.own.unix_path);
	cr_assert_eq(ask_number(c, "EXISTS iso:risk:address:192.0.2.99"), 1,
	             "the last flush goes over TLS too");
	redisFree(c);
	/* Certificates without TLS in the URL, and broken ones. */
	r.config.redis.url = (char *)"redis://localhost";
	cr_assert_eq(rig_try_open(&r), -EINVAL);
	cr_assert(strstr(r.error, "rediss://"), "%s", r.error);
	r.config.redis.url = r.url;
	r.config.redis.key = file[1];
	cr_assert_lt(rig_try_open(&r), 0);
	cr_assert(r.error[0]);
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

	need_redis();
	rig_init(&r);
	snprintf(r.own.unix_path, sizeof(r.own.unix_path), "%s/own.sock", r.dir);
	use_unix(&r, &r.own);
	rig_open(&r);
	rig_fill(&r, 30);
	UNTIL(&r, r.downs == 1);
	server_start(&r.own, r.dir, "own", 0, NULL);
	SETTLE(&r);
	cr_assert_eq(r.ups, 1);
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

	rig_begin_own(&r);
	rig_fill(&r, 30);
	SETTLE(&r);
	kill(r.own.pid, SIGSTOP);
	rig_fill(&r, 60);
	UNTIL(&r, r.downs == 1);
	cr_assert(strstr(r.reason, "no answer"), "%s", r.reason);
	rig_fill(&r, 90);
	kill(r.own.pid, SIGCONT);
	SETTLE(&r);
	/* It had not lost anything, so nothing was written whole; what was in doubt is right. */
	cr_assert_eq(rig_counter(&r, "view.rewrites"), 1);
	rig_check_whole(&r, r.own.unix_path);
	cr_assert_eq(rig_counter(&r, "view.rewrites"), 2);
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
	char *path = xasprintf("%s/odd.sock", r.dir);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct peer p = {.rig = &r,
		                 .says = cases[i].says,
		                 .length =
		                         cases[i].length ? cases[i].length : strlen(cases[i].says),
		                 .times = cases[i].times};
		p.listener = listen_unix(&r, path, on_peer_accept, &p);
		use_external(&r, "unix://%s", path);
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
	rig_release(&r);
}
