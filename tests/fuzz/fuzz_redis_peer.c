/* A Redis that answers some commands well and others with anything at all: the view must neither crash nor grow, and
 * must not take such a Redis for one that holds the view. One input byte decides on each command's answer. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pb.h"
#include "view/view.h"

#define TURNS 400 /* of the loop for one input; a whole rewrite of this small state takes some 30 */

struct peer {
	const uint8_t *data;
	size_t size;
	redisReader *reader;
	char marker[100];
	struct bufferevent *bev;
};

static struct event_base *base;
static struct peer peer;
static struct state state;
static char path[100];

static uint8_t next_byte(void)
{
	if (!peer.size)
		return 0;
	peer.size--;
	return *peer.data++;
}

static void well(struct evbuffer *out, const redisReply *r)
{
	const char *name = r->elements ? r->element[0]->str : "";

	if (strcmp(name, "PING") == 0) {
		evbuffer_add_printf(out, "+PONG\r\n");
	} else if (strcmp(name, "GET") == 0) {
		evbuffer_add_printf(out, "$%zu\r\n%s\r\n", strlen(peer.marker), peer.marker);
	} else if (strcmp(name, "SET") == 0) {
		if (strncmp(r->element[1]->str, "iso:view", 8) == 0)
			snprintf(peer.marker, sizeof(peer.marker), "%s", r->element[2]->str);
		evbuffer_add_printf(out, "+OK\r\n");
	} else if (strcmp(name, "SCAN") == 0 || strcmp(name, "ZSCAN") == 0) {
		evbuffer_add_printf(out,
		                    "*2\r\n$1\r\n0\r\n*2\r\n$14\r\niso:incident:9\r\n$1\r\n5\r\n");
	} else if (strcmp(name, "TYPE") == 0) {
		evbuffer_add_printf(out, "+none\r\n");
	} else {
		evbuffer_add_printf(out, ":1\r\n");
	}
}

static void odd(struct evbuffer *out, uint8_t kind)
{
	static const char *const errors[] = {
		"-OOM command not allowed\r\n", "-WRONGTYPE no\r\n", "-LOADING\r\n",
		"-ERR The ID specified in XADD is equal or smaller than the target\r\n"};
	size_t n = next_byte();

	if (kind < 160) {
		evbuffer_add_printf(out, "%s", errors[kind % 4]);
	} else if (kind < 200) {
		/* A well-formed string of any bytes. */
		n = n < peer.size ? n : peer.size;
		evbuffer_add_printf(out, "$%zu\r\n", n);
		evbuffer_add(out, peer.data, n);
		evbuffer_add(out, "\r\n", 2);
	} else {
		n = n < peer.size ? n : peer.size;
		evbuffer_add(out, peer.data, n);
	}
	if (kind >= 160) {
		peer.data += n;
		peer.size -= n;
	}
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t n = evbuffer_get_length(in);
	void *request;

	(void)arg;
	redisReaderFeed(peer.reader, (char *)evbuffer_pullup(in, -1), n);
	evbuffer_drain(in, n);
	while (redisReaderGetReply(peer.reader, &request) == REDIS_OK && request) {
		uint8_t kind = next_byte();
		if (kind < 128)
			well(bufferevent_get_output(bev), request);
		else
			odd(bufferevent_get_output(bev), kind);
		freeReplyObject(request);
	}
}

static void peer_end(void)
{
	if (peer.bev)
		bufferevent_free(peer.bev);
	peer.bev = NULL;
	if (peer.reader)
		redisReaderFree(peer.reader);
	peer.reader = NULL;
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)arg;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		peer_end();
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int n,
                      void *arg)
{
	(void)l;
	(void)sa;
	(void)n;
	(void)arg;
	peer_end();
	peer.reader = redisReaderCreate();
	peer.bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(peer.bev, on_read, NULL, on_event, NULL);
	bufferevent_enable(peer.bev, EV_READ | EV_WRITE);
}

static void remove_socket(void)
{
	unlink(path);
}

/* Some tallies: sources and metrics. */
static void setup(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	Isod__V1__SourceCount count = ISOD__V1__SOURCE_COUNT__INIT;
	Isod__V1__SourceCount *counts[] = {&count};
	Isod__V1__Tally tally = ISOD__V1__TALLY__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_TO_STDERR, LOG_EMERG, "fuzz");
	base = event_base_new();
	snprintf(path, sizeof(path), "/tmp/isod-fuzz-%d.sock", (int)getpid());
	atexit(remove_socket);
	memcpy(sa.sun_path, path, strlen(path));
	evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 5,
	                        (const struct sockaddr *)&sa, sizeof(sa));
	state_init(&state);
	count.source = (char *)"tls/192.0.2.1";
	count.received = 3;
	tally.sources = counts;
	tally.n_sources = 1;
	record.body_case = ISOD__V1__RECORD__BODY_TALLY;
	record.tally = &tally;
	state_apply(&state, 1, UINT64_C(1700000000000000000), &record, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config = {.node = (char *)"n",
	                        .redis = {.mode = REDIS_EXTERNAL, .flush_interval_ns = 1}};
	const struct view_options o = {.config = &config, .state = &state};
	struct view_options with_base = o;
	char url[120], error[200];
	struct view *v;

	if (!base)
		setup();
	with_base.base = base;
	snprintf(url, sizeof(url), "unix://%s", path);
	config.redis.url = url;
	peer = (struct peer){.data = data, .size = size};
	if (view_open(&with_base, &v, error, sizeof(error)) < 0)
		abort();
	for (int i = 0; i < TURNS && (peer.size || i < 8); i++) {
		if (i % 16 == 4)
			view_mark(v, VIEW_SOURCE, STR("tls/192.0.2.1"));
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	/* Closed while Redis is away: there is no last flush, which might wait. */
	peer_end();
	for (int i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	view_close(v);
	event_base_loop(base, EVLOOP_NONBLOCK);
	peer_end();
	return 0;
}
