/* A request without an ackId is answered when its evidence is on the disk: a sender that has read "Success" may forget its
 * events. One of a token with `ack` is answered at once and asks later. What was refused was not taken, not in part either:
 * it may be sent again. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "event/hec.h"
#include "ingest/hec.h"

#define WAITS_MAX      10000               /* requests of one worker on their way to the disk */
#define EXPANDED_KEPT  ((size_t)1 << 20)   /* of the buffer, between two requests */
#define ASKED_BODY_MAX ((size_t)256 << 10) /* of a question for ackIds */
#define DETAIL_MAX     160

struct request {
	struct hec_door *door;
	struct httpd_connection *connection;
	struct evhttp_request *http;
	const struct hec_token *token;
	struct str body, query;
	char *channel; /* TOKEN/CHANNEL; NULL: none */
	char source[SOURCE_NAME_MAX + 1];
};

/* What was found out about a request, and what else its answer tells. */
struct answer {
	enum hec_code code;
	bool later; /* it comes when the disk has it */
	bool has_number, has_id;
	uint64_t number; /* of the event that is wrong */
	uint64_t id;
	const char *detail; /* for the log, when refused; NULL: the code's words */
};

static struct answer just(enum hec_code code)
{
	return (struct answer){.code = code};
}

static struct answer refused(enum hec_code code, const char *detail)
{
	return (struct answer){.code = code, .detail = detail};
}

/* ---- answers ---- */

#define JSON "application/json; charset=UTF-8"

static void send_answer(struct httpd_connection *c, const struct answer *a)
{
	struct evbuffer *body = evbuffer_new();

	if (!body)
		abort();
	evbuffer_add_printf(body, "{\"text\":\"%s\",\"code\":%d", hec_text(a->code), a->code);
	if (a->has_number)
		evbuffer_add_printf(body, ",\"invalid-event-number\":%llu",
		                    (unsigned long long)a->number);
	if (a->has_id)
		evbuffer_add_printf(body, ",\"ackId\":%llu", (unsigned long long)a->id);
	evbuffer_add_printf(body, "}");
	/* Who guesses tokens is to connect again for each. */
	bool close = a->code == HEC_TOKEN_REQUIRED || a->code == HEC_INVALID_AUTHORIZATION ||
	             a->code == HEC_INVALID_TOKEN || a->code == HEC_TOO_LARGE;
	httpd_answer(c, hec_http_status(a->code), JSON, body, close);
	evbuffer_free(body);
}

/* ---- on the way to the disk ---- */

static void wait_free(struct hec_wait *w)
{
	LIST_REMOVE(w, link);
	w->door->wait_count--;
	free(w->channel);
	free(w);
}

static void on_syncing(struct waiter *x)
{
	(void)x;
}

static void on_durable(struct waiter *x)
{
	struct hec_wait *w = (struct hec_wait *)((char *)x - offsetof(struct hec_wait, waiter));
	struct httpd_connection *c = w->connection;
	const struct answer good = {.code = HEC_SUCCESS};

	if (w->channel)
		hec_acks_durable(w->door->port->listener->acks, str_of(w->channel), w->ack_id);
	if (c)
		send_answer(c, &good);
	wait_free(w);
}

void hec_forget(struct hec_door *d, const struct httpd_connection *c)
{
	struct hec_wait *w;

	/* Only of connections that end while they wait, and an answer takes milliseconds. */
	LIST_FOREACH(w, &d->waits, link)
	if (w->connection == c)
		w->connection = NULL;
}

void hec_forget_waits(struct hec_door *d)
{
	struct hec_wait *w, *next;

	for (w = LIST_FIRST(&d->waits); w; w = next) {
		next = LIST_NEXT(w, link);
		worker_forget(d->port->worker, &w->waiter);
		wait_free(w);
	}
}

static void wait_for_disk(struct request *q, const struct answer *a)
{
	struct hec_wait *w = xcalloc(1, sizeof(*w));

	w->waiter.syncing = on_syncing;
	w->waiter.durable = on_durable;
	w->door = q->door;
	w->connection = a->later ? q->connection : NULL;
	w->channel = a->has_id ? xstrdup(q->channel) : NULL;
	w->ack_id = a->id;
	LIST_INSERT_HEAD(&q->door->waits, w, link);
	q->door->wait_count++;
	worker_await(q->door->port->worker, &w->waiter);
}

/* ---- events ---- */

static void take_frame(struct request *q, uint64_t now_ns, struct str meta, struct str frame)
{
	struct port *p = q->door->port;
	size_t max = p->worker->shared->config->frame_max;
	const struct evidence e = {
		.source = str_of(q->source),
		.flags = EVIDENCE_META | (frame.n > max ? EVIDENCE_TRUNCATED : 0),
		.frame = str_head(frame, max),
		.meta = meta,
	};

	worker_take(p->worker, p->counts, now_ns, &e);
}

/* All is good, and there is something: takes it in. */
static struct answer take_all(struct request *q, struct str meta,
                              bool (*next)(struct str *rest, struct str *ret))
{
	struct worker *w = q->door->port->worker;
	struct answer a = {.later = !q->token->acknowledge};
	struct str rest = q->body, frame;
	uint64_t now = worker_now(w);

	if (q->token->acknowledge) {
		if (hec_acks_take(q->door->port->listener->acks, str_of(q->channel), clock_mono(),
		                  &a.id) < 0)
			return refused(HEC_BUSY,
			               "too many ackIds are outstanding, or too many channels");
		a.has_id = true;
	}
	uint64_t frames = 0;
	while (next(&rest, &frame)) {
		take_frame(q, now, meta, frame);
		frames++;
	}
	(void)peers_charge(w->shared->peers, q->connection->data, q->body.n, frames, clock_mono());
	wait_for_disk(q, &a);
	return a;
}

static struct answer do_events(struct request *q)
{
	size_t count;
	enum hec_code code = hec_check(q->door->reader, q->body, &count);

	if (code == HEC_SUCCESS)
		return take_all(q, STR(HEC_META_EVENT), hec_next_event);
	return (struct answer){.code = code, .has_number = code != HEC_NO_DATA, .number = count};
}

static struct answer do_raw(struct request *q)
{
	struct str rest = q->body, line;

	if (!hec_next_line(&rest, &line))
		return just(HEC_NO_DATA);
	buf_reset(&q->door->meta);
	if (hec_raw_meta(q->query, &q->door->meta) < 0)
		return refused(HEC_INVALID_FORMAT, "the query is too long");
	return take_all(q, buf_str(&q->door->meta), hec_next_line);
}

/* ---- what else is asked ---- */

static struct answer do_health(struct request *q)
{
	const struct worker *w = q->door->port->worker;
	bool full = w->sync_failing || q->door->wait_count >= WAITS_MAX ||
	            atomic_load(&w->streams_wait);

	if (q->door->stopping)
		return just(HEC_STOPPING);
	return just(full ? HEC_UNHEALTHY : HEC_HEALTHY);
}

static struct answer do_ack(struct request *q)
{
	struct hec_acks *acks = q->door->port->listener->acks;
	size_t count = 0;

	if (!q->token->acknowledge)
		return just(HEC_ACK_DISABLED);
	if (q->body.n > ASKED_BODY_MAX)
		return just(HEC_TOO_LARGE);
	uint64_t *ids = xcalloc(HEC_ACKS_ASKED_MAX, sizeof(*ids));
	if (hec_acks_parse(q->body, ids, HEC_ACKS_ASKED_MAX, &count) < 0) {
		free(ids);
		return just(HEC_INVALID_FORMAT);
	}
	struct evbuffer *body = evbuffer_new();
	if (!body)
		abort();
	evbuffer_add_printf(body, "{\"acks\":{");
	for (size_t i = 0; i < count; i++) {
		bool known = hec_acks_ask(acks, str_of(q->channel), ids[i], clock_mono());
		evbuffer_add_printf(body, "%s\"%llu\":%s", i ? "," : "", (unsigned long long)ids[i],
		                    known ? "true" : "false");
	}
	evbuffer_add_printf(body, "}}");
	httpd_answer(q->connection, 200, JSON, body, false);
	evbuffer_free(body);
	free(ids);
	return (struct answer){.later = true};
}

/* ---- finding out what is asked ---- */

static const char *header(const struct request *q, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(q->http), name);
}

/* The value of that name in the query; STR_NONE: it has none. */
static struct str query_value(struct str query, struct str name)
{
	struct str n, value;

	while (hec_query_next(&query, &n, &value))
		if (str_eq(n, name))
			return value;
	return STR_NONE;
}

static enum hec_code find_token(struct request *q)
{
	const struct listener_config *c = q->door->port->listener->config;
	const char *authorization = header(q, "Authorization");

	if (!authorization && query_value(q->query, STR("token")).n)
		return HEC_QUERY_AUTHORIZATION;
	enum hec_code code = hec_authorize(authorization, c->tokens, c->token_count, &q->token);
	if (code == HEC_SUCCESS)
		snprintf(q->source, sizeof(q->source), "%s/%s@%s", c->name, q->token->name,
		         q->connection->host);
	return code;
}

/* A token with `ack` speaks through channels only. */
static enum hec_code find_channel(struct request *q)
{
	struct str channel = str_of(header(q, "X-Splunk-Request-Channel"));

	if (!channel.n)
		channel = query_value(q->query, STR("channel"));
	if (!channel.n)
		return q->token->acknowledge ? HEC_CHANNEL_MISSING : HEC_SUCCESS;
	if (!hec_channel_is_valid(channel))
		return HEC_INVALID_CHANNEL;
	if (q->token->acknowledge)
		q->channel = xasprintf("%s/%.*s", q->token->name, STR_FMT(channel));
	return HEC_SUCCESS;
}

static struct answer find_body(struct request *q)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(q->http);
	size_t n = evbuffer_get_length(in);
	struct str encoding = str_trim(str_of(header(q, "Content-Encoding")));

	q->body = str_make(n ? (const char *)evbuffer_pullup(in, -1) : NULL, n);
	if (n && !q->body.p)
		return just(HEC_INTERNAL_ERROR);
	if (!encoding.n || str_ieq(encoding, STR("identity")))
		return just(HEC_SUCCESS);
	if (!str_ieq(encoding, STR("gzip")) && !str_ieq(encoding, STR("x-gzip")))
		return just(HEC_ENCODING);
	buf_reset(&q->door->expanded);
	int r = hec_gunzip(q->body, &q->door->expanded);
	q->body = buf_str(&q->door->expanded);
	if (r == -EFBIG)
		return refused(HEC_TOO_LARGE, "gzip that unpacks to more than expanded_max");
	if (r == -E2BIG)
		return refused(HEC_TOO_LARGE, "gzip that unpacks to more than 200 times its size");
	return r < 0 ? refused(HEC_INVALID_FORMAT, "gzip that cannot be undone")
	             : just(HEC_SUCCESS);
}

enum need {
	NEED_NOTHING,
	NEED_TOKEN,
	NEED_ROOM, /* events: a token, and evidence must be able to take them */
};

static const struct url {
	const char *path;
	bool get;
	enum need need;
	struct answer (*run)(struct request *q);
} urls[] = {
	{"/services/collector/event", false, NEED_ROOM, do_events},
	{"/services/collector/event/1.0", false, NEED_ROOM, do_events},
	{"/services/collector", false, NEED_ROOM, do_events},
	{"/services/collector/1.0", false, NEED_ROOM, do_events},
	{"/services/collector/raw", false, NEED_ROOM, do_raw},
	{"/services/collector/raw/1.0", false, NEED_ROOM, do_raw},
	{"/services/collector/ack", false, NEED_TOKEN, do_ack},
	{"/services/collector/ack/1.0", false, NEED_TOKEN, do_ack},
	{"/services/collector/health", true, NEED_NOTHING, do_health},
	{"/services/collector/health/1.0", true, NEED_NOTHING, do_health},
};

static const struct url *find_url(const char *path)
{
	struct str p = str_of(path);

	if (p.n > 1 && p.p[p.n - 1] == '/')
		p.n--;
	for (size_t i = 0; i < ARRAY_LEN(urls); i++)
		if (str_eq(p, str_of(urls[i].path)))
			return &urls[i];
	return NULL;
}

static struct answer run(struct request *q, const struct url *url)
{
	const struct hec_door *d = q->door;

	if (url->need == NEED_NOTHING)
		return url->run(q);
	enum hec_code code = find_token(q);
	if (code == HEC_SUCCESS)
		code = find_channel(q);
	if (code == HEC_SUCCESS && d->stopping)
		code = HEC_STOPPING;
	if (code != HEC_SUCCESS)
		return just(code);
	if (url->need == NEED_ROOM && (d->port->worker->sync_failing || d->wait_count >= WAITS_MAX))
		return refused(HEC_BUSY, "evidence cannot be written");
	/* It has used up its share: what it has sent so far is taken, and it must wait a little with more. */
	if (url->need == NEED_ROOM &&
	    peers_charge(d->port->worker->shared->peers, q->connection->data, 0, 0, clock_mono()))
		return refused(HEC_BUSY, "it sends more than peer_bytes or peer_events");
	if (url->need == NEED_ROOM && atomic_load(&d->port->worker->streams_wait))
		return refused(HEC_BUSY, "detection is behind (limits.lag_max)");
	struct answer a = find_body(q);
	if (a.code == HEC_SUCCESS && q->body.n == 0)
		a.code = HEC_NO_DATA;
	return a.code == HEC_SUCCESS ? url->run(q) : a;
}

static struct answer answer_to(struct request *q)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(q->http);
	enum evhttp_cmd_type method = evhttp_request_get_command(q->http);
	const struct url *url = find_url(uri ? evhttp_uri_get_path(uri) : "");

	q->query = str_of(uri ? evhttp_uri_get_query(uri) : NULL);
	if (!url)
		return just(HEC_UNKNOWN_URL);
	bool get = method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD;
	if (url->get ? !get : method != EVHTTP_REQ_POST)
		return just(HEC_METHOD);
	return run(q, url);
}

/* Whoever has a token is known, and what it lost is in the account of its source; others only count at the listener. */
static void tell_refused(struct request *q, const struct answer *a)
{
	struct port *p = q->door->port;
	bool token = a->code >= HEC_TOKEN_REQUIRED && a->code <= HEC_INVALID_TOKEN;
	char detail[DETAIL_MAX];
	int n = snprintf(detail, sizeof(detail), "%s", a->detail ? a->detail : hec_text(a->code));

	if (a->has_number && n > 0 && (size_t)n < sizeof(detail))
		snprintf(detail + n, sizeof(detail) - (size_t)n, " (event %llu)",
		         (unsigned long long)a->number);
	hec_refuse(q->door, q->connection, token ? "token_refused" : "request_refused", detail);
	if (q->token &&
	    (a->code == HEC_INVALID_FORMAT || a->code == HEC_TOO_LARGE || a->has_number)) {
		worker_lost(p->worker, NULL, str_of(q->source), LOSS_FRAMING, 1);
	}
}

void hec_request(struct hec_door *d, struct httpd_connection *c)
{
	struct request q = {.door = d, .connection = c, .http = c->asked};
	const struct answer a = answer_to(&q);
	bool good = a.code == HEC_SUCCESS || a.code == HEC_HEALTHY || a.code == HEC_UNHEALTHY;

	if (!good)
		tell_refused(&q, &a);
	if (!a.later || !good)
		send_answer(c, &a);
	free(q.channel);
	if (d->expanded.cap > EXPANDED_KEPT)
		buf_release(&d->expanded);
}
