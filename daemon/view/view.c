/* The view's life: where Redis is, the embedded server, the connection, and what people are told of them. The work is
 * done by flush.c (the machine), projection.c (state to commands), redis_client.c and redis_server.c. */
#include "view/view.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "view/flush.h"
#include "view/redis_server.h"

#define CLOSE_MAX_S     2 /* for the last flush: nobody waits longer for a daemon to end */
#define HUNG_MAX        2 /* time-outs in a row after which the embedded server is killed */
#define EARLY_MAX       6 /* attempts while our own server starts, some 3 s: nothing to tell anybody */
#define REASON_MAX      512
#define CLIENT_NAME_MAX 300

struct view {
	struct view_options o;
	const struct redis_config *redis;
	struct redis_url url;
	struct tls_context *tls;
	struct redis_server *server; /* embedded */
	struct redis_client *client;
	struct flush *flush;
	char client_name[CLIENT_NAME_MAX];
	bool connected, told;    /* `told`: somebody was told whether */
	char reason[REASON_MAX]; /* why it is away */
	unsigned hung;
	unsigned early; /* attempts before the embedded server was there */
	uint64_t lost_connections, server_deaths;
};

/* ---- the client's callbacks ---- */

/* False when they know already. */
static bool tell(struct view *v, bool connected, const char *reason)
{
	if (v->told && v->connected == connected)
		return false;
	v->told = true;
	v->connected = connected;
	if (v->o.connected)
		v->o.connected(v->o.arg, connected, reason);
	return v->o.connected != NULL;
}

static void on_up(void *arg)
{
	struct view *v = arg;

	v->reason[0] = '\0';
	v->early = 0;
	tell(v, true, "connected");
	flush_up(v->flush);
}

static void on_down(void *arg, const char *reason, bool timeout)
{
	struct view *v = arg;

	flush_down(v->flush);
	if (v->connected)
		v->lost_connections++;
	bool starting = v->server && !v->connected && ++v->early < EARLY_MAX;
	/* The owner logs that it is away; here is logged when it stays away for another reason. */
	if (!starting && !tell(v, false, reason) && strcmp(v->reason, reason) != 0)
		log_warning("redis %s: %s", v->url.text, reason);
	snprintf(v->reason, sizeof(v->reason), "%s", reason);
	v->hung = timeout ? v->hung + 1 : 0;
	if (v->server && v->hung >= HUNG_MAX && redis_server_pid(v->server)) {
		log_warning("the embedded redis-server (process %d) hangs: it is killed",
		            (int)redis_server_pid(v->server));
		v->hung = 0;
		redis_server_kill(v->server);
	}
}

static void on_reply(void *arg, size_t index, const redisReply *reply)
{
	const struct view *v = arg;
	flush_reply(v->flush, index, reply);
}

static void on_done(void *arg)
{
	struct view *v = arg;

	v->hung = 0;
	flush_done(v->flush);
}

/* ---- the server's callbacks ---- */

static void on_started(void *arg)
{
	struct view *v = arg;

	log_notice("the embedded redis-server runs again (process %d)",
	           (int)redis_server_pid(v->server));
	redis_client_retry(v->client);
}

static void on_died(void *arg, const char *how)
{
	struct view *v = arg;

	v->server_deaths++;
	log_warning("%s; it is started again", how);
}

/* ---- opening ---- */

static int prepare_embedded(struct view *v, char *error, size_t error_size)
{
	char *dir = xasprintf("%s/redis", v->o.config->state_dir);
	const struct redis_server_options so = {.base = v->o.base,
	                                        .program = v->redis->server ? v->redis->server
	                                                                    : "redis-server",
	                                        .dir = dir,
	                                        .started = on_started,
	                                        .died = on_died,
	                                        .arg = v};
	int r = redis_server_open(&so, &v->server, error, error_size);

	free(dir);
	if (r == 0)
		r = redis_url_of_socket(redis_server_socket(v->server), &v->url, error, error_size);
	return r;
}

static int prepare_tls(struct view *v, char *error, size_t error_size)
{
	const struct redis_config *c = v->redis;
	const struct tls_settings settings = {
		.certificate = c->certificate, .key = c->key, .ca = c->ca};

	if (v->url.tls)
		return tls_context_new(false, &settings, &v->tls, error, error_size);
	if (!c->certificate && !c->key && !c->ca)
		return 0;
	/* Somebody who configures certificates does not want plain text. */
	snprintf(error, error_size,
	         "redis: ca, certificate and key are for TLS, but the URL does not begin with "
	         "rediss://");
	return -EINVAL;
}

static int prepare_external(struct view *v, char *error, size_t error_size)
{
	char reason[REASON_MAX];
	int r = redis_url_parse(str_of(v->redis->url), &v->url, reason, sizeof(reason));

	if (r < 0) {
		snprintf(error, error_size, "redis.url: %s", reason);
		return r;
	}
	if (v->redis->password_file && access(v->redis->password_file, R_OK) < 0) {
		r = -errno;
		snprintf(error, error_size, "redis.password_file %s: %s", v->redis->password_file,
		         strerror(-r));
		return r;
	}
	return prepare_tls(v, error, error_size);
}

static void make_flush(struct view *v)
{
	/* CLIENT SETNAME takes printable characters without spaces. */
	snprintf(v->client_name, sizeof(v->client_name), "isod-%.200s",
	         v->o.config->node ? v->o.config->node : "");
	for (char *c = v->client_name; *c; c++)
		if (*c <= ' ' || *c > '~')
			*c = '_';
	v->flush = flush_new(&(struct flush_options){.state = v->o.state,
	                                             .node = v->o.config->node,
	                                             .version = v->o.version,
	                                             .address = v->url.text,
	                                             .interval_ns = v->redis->flush_interval_ns,
	                                             .head = v->o.head,
	                                             .head_arg = v->o.arg});
}

static void connect_in(struct view *v, struct event_base *base, bool hurry)
{
	const struct redis_client_options co = {
		.base = base,
		.url = &v->url,
		.tls = v->tls,
		.password_file = v->redis->mode == REDIS_EXTERNAL ? v->redis->password_file : NULL,
		.name = v->client_name,
		.up = on_up,
		.down = on_down,
		.reply = on_reply,
		.done = on_done,
		.arg = v};

	v->client = redis_client_new(&co);
	flush_attach(v->flush, base, v->client, hurry);
}

static void view_free(struct view *v)
{
	if (v->flush)
		flush_detach(v->flush);
	redis_client_free(v->client);
	redis_server_close(v->server);
	flush_free(v->flush);
	if (v->tls)
		tls_context_unref(v->tls);
	redis_url_release(&v->url);
	free(v);
}

int view_open(const struct view_options *o, struct view **ret, char *error, size_t error_size)
{
	struct view *v = xcalloc(1, sizeof(*v));
	int r = 0;

	v->o = *o;
	v->redis = &o->config->redis;
	if (v->redis->mode == REDIS_EMBEDDED)
		r = prepare_embedded(v, error, error_size);
	else if (v->redis->mode == REDIS_EXTERNAL)
		r = prepare_external(v, error, error_size);
	if (r < 0) {
		view_free(v);
		return r;
	}
	if (v->redis->mode != REDIS_OFF) {
		make_flush(v);
		connect_in(v, o->base, false);
	}
	*ret = v;
	return 0;
}

/* ---- closing ---- */

/* In a loop and on a connection of its own: the daemon's loop would run the callbacks of stages that are gone. */
static void last_flush(struct view *v)
{
	struct event_base *base = event_base_new();
	const struct timeval limit = {.tv_sec = CLOSE_MAX_S};
	uint64_t deadline = clock_mono() + CLOSE_MAX_S * NS_PER_SECOND;

	flush_detach(v->flush);
	redis_client_free(v->client);
	v->o.connected = NULL;
	connect_in(v, base, true);
	event_base_loopexit(base, &limit);
	while (flush_pending(v->flush) && clock_mono() < deadline)
		if (event_base_loop(base, EVLOOP_ONCE) != 0)
			break;
	flush_detach(v->flush);
	redis_client_free(v->client);
	v->client = NULL;
	event_base_free(base);
}

void view_close(struct view *v)
{
	if (!v)
		return;
	if (v->client && redis_client_ready(v->client) && flush_whole(v->flush) &&
	    flush_pending(v->flush))
		last_flush(v);
	view_free(v);
}

/* ---- the rest ---- */

void view_mark(struct view *v, enum view_kind kind, struct str key)
{
	if (v->flush)
		flush_mark(v->flush, kind, key);
}

bool view_connected(const struct view *v)
{
	return v->client && redis_client_ready(v->client);
}

bool view_settled(const struct view *v)
{
	return v->flush && flush_settled(v->flush);
}

size_t view_dirty(const struct view *v)
{
	return v->flush ? flush_pending(v->flush) : 0;
}

const char *view_address(const struct view *v)
{
	return v->url.text ? v->url.text : "off";
}

void view_counters(const struct view *v, void (*count)(void *arg, const char *name, uint64_t value),
                   void *arg)
{
	if (!v->flush)
		return;
	const struct flush_counters *c = flush_counters(v->flush);
	count(arg, "view.flushes", c->flushes);
	count(arg, "view.refused", c->refused);
	count(arg, "view.rewrites", c->rewrites);
	count(arg, "view.connections_lost", v->lost_connections);
	count(arg, "view.server_deaths", v->server_deaths);
}
