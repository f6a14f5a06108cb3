/* TLS behind a bufferevent, as the API uses it: much data, an orderly end, why it failed, a cut. */
#include "tls_rig.h"

TestSuite(tls_bufferevent, .init = setup, .fini = teardown);

struct end_state {
	struct bufferevent *bev;
	size_t received, wanted;
	short events;
	char error[256];
	bool connected;
};

static void on_read(struct bufferevent *bev, void *arg)
{
	struct end_state *e = arg;
	struct evbuffer *in = bufferevent_get_input(bev);

	e->received += evbuffer_get_length(in);
	evbuffer_drain(in, evbuffer_get_length(in));
	if (e->wanted && e->received >= e->wanted)
		event_base_loopbreak(bufferevent_get_base(bev));
}

static void on_event(struct bufferevent *bev, short events, void *arg)
{
	struct end_state *e = arg;

	if (events & BEV_EVENT_CONNECTED) {
		e->connected = true;
		return;
	}
	e->events = events;
	tls_bufferevent_error(bev, e->error, sizeof(e->error));
	event_base_loopbreak(bufferevent_get_base(bev));
}

static void watch(struct end_state *e)
{
	bufferevent_setcb(e->bev, on_read, NULL, on_event, e);
	bufferevent_enable(e->bev, EV_READ | EV_WRITE);
}

struct bev_pair {
	struct event_base *base;
	int fds[2];
	struct end_state server, client;
};

static void bev_start(struct bev_pair *p, struct tls_context *s, struct tls_context *c)
{
	p->base = event_base_new();
	socket_pair(p->fds);
	p->server.bev = tls_bufferevent(p->base, s, p->fds[0], true, NULL);
	p->client.bev = tls_bufferevent(p->base, c, p->fds[1], false, "siem.example");
	cr_assert_not_null(p->server.bev);
	cr_assert_not_null(p->client.bev);
	watch(&p->server);
	watch(&p->client);
	tls_context_unref(s);
	tls_context_unref(c);
}

static void bev_end(struct bev_pair *p)
{
	if (p->server.bev)
		tls_bufferevent_free(p->server.bev);
	if (p->client.bev)
		tls_bufferevent_free(p->client.bev);
	event_base_loop(p->base, EVLOOP_NONBLOCK); /* freed in the loop */
	event_base_free(p->base);
}

Test(tls_bufferevent, bufferevents_exchange_more_than_is_read_at_once_and_end_in_order,
     .timeout = 60)
{
	struct bev_pair p = {.server.wanted = 500000};
	char *data = xcalloc(1, 500000), name[64];

	bev_start(&p, context(true, &server_id, &ca, TLS_PEER_REQUIRED),
	          context(false, &client_id, &ca, 0));
	bufferevent_write(p.client.bev, data, 500000);
	event_base_dispatch(p.base);
	cr_assert_eq(p.server.received, 500000);
	cr_assert(p.server.connected);
	cr_assert(tls_bufferevent_peer(p.server.bev, name, sizeof(name)));
	cr_assert_str_eq(name, "web-01");
	tls_bufferevent_free(p.client.bev);
	p.client.bev = NULL;
	event_base_dispatch(p.base);
	cr_assert(p.server.events & BEV_EVENT_EOF, "close_notify was sent");
	cr_assert_not(p.server.events & BEV_EVENT_ERROR);
	cr_assert_str_eq(p.server.error, "");
	free(data);
	bev_end(&p);
}

Test(tls_bufferevent, a_bufferevent_tells_why_it_failed, .timeout = 60)
{
	struct bev_pair p = {0};
	char name[64];

	bev_start(&p, context(true, &stranger_id, NULL, TLS_PEER_NONE),
	          context(false, NULL, &ca, 0));
	cr_assert_not(tls_bufferevent_peer(p.client.bev, name, sizeof(name)));
	while (!p.client.events)
		event_base_loop(p.base, EVLOOP_ONCE);
	cr_assert(p.client.events & BEV_EVENT_ERROR);
	expect_words(p.client.error, "signed by no CA we know");
	while (!p.server.events)
		event_base_loop(p.base, EVLOOP_ONCE);
	expect_words(p.server.error, "does not know the CA");
	bev_end(&p);
}

Test(tls_bufferevent, a_bufferevent_hears_of_a_cut, .timeout = 60)
{
	struct bev_pair p = {.server.wanted = 1};

	bev_start(&p, context(true, &server_id, NULL, TLS_PEER_NONE), context(false, NULL, &ca, 0));
	bufferevent_write(p.client.bev, "x", 1);
	event_base_dispatch(p.base);
	cr_assert_eq(p.server.received, 1);
	shutdown(p.fds[1], SHUT_RDWR);
	while (!p.server.events)
		event_base_loop(p.base, EVLOOP_ONCE);
	cr_assert(p.server.events & BEV_EVENT_ERROR);
	bev_end(&p);
}
