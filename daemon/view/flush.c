/* Redis is never the truth, so the question is only how it is noticed that it does not hold the view any more. Every
 * batch ends with
 *
 *     GET iso:view:NODE                      must give what the last batch wrote there
 *     SET iso:view:NODE EPOCH:NUMBER XX      must find the key
 *
 * The number grows with every batch. A Redis that was emptied (before, between or amidst the commands), replaced by
 * another, restored from an older dump or failed over to a replica that lagged does not have the right marker; then the
 * whole view is written under a new epoch. While nothing changes, the GET alone is sent every PROBE_INTERVAL: one small
 * packet each way, so that an emptied Redis heals without any event, for about 10 microseconds of CPU a second.
 * (CLIENT TRACKING would be told of FLUSHALL without asking, but not of a restored dump, and needs Redis 6.)
 *
 * A rewrite walks the state and puts every key of it into the flush as if it were dirty, in slices; then it looks
 * through Redis (SCAN, and ZSCAN of the sorted sets) for keys of ours that the state does not have, and flushes those
 * too, which removes them. It is finished when all of that was answered without an error.
 *
 * Stream ids are SEQUENCE-N: the ledger's sequence at the first attempt and a number within it. When the connection is
 * lost before the answer, the same batch is sent again first, with the same ids: Redis executed some prefix of it, and
 * refuses those ids as "equal or smaller", which then means done. A fresh id that is refused so means that the stream is
 * that of another ledger; it is deleted. */
#include "view/flush.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "view/dirty.h"
#include "view/projection.h"

#define SLICE_KEYS        500   /* of one batch: some milliseconds of our loop and of Redis' */
#define WALK_KEYS         10000 /* looked at per batch: a millisecond or two */
#define BATCH_BYTES       ((size_t)1 << 20)   /* no further key is added past this */
#define PROBE_INTERVAL_NS (2 * NS_PER_SECOND) /* "heals within seconds" */
#define RETRY_FIRST_NS    (250 * NS_PER_MS)   /* after an error answer, doubling to */
#define RETRY_MAX_NS      (5 * NS_PER_SECOND)
/* Between the beginnings of two rewrites. When the marker was not gone but another's, doubling: two isods of one name
 * on one Redis would else keep each other busy. */
#define REWRITE_GAP_NS     (500 * NS_PER_MS)
#define REWRITE_GAP_MAX_NS (30 * NS_PER_SECOND)
#define SCAN_COUNT         "500" /* hint for SCAN's page */
#define REFRESH_PER_HALF   32 /* scores in iso:risk are never more than 2^(1/32) = 2 % too high */
#define REFRESH_MIN_NS     (10 * NS_PER_SECOND)
#define MARKER_MAX         64
#define ERROR_TEXT_MAX     200

enum doing { DOING_NOTHING, DOING_PROBE, DOING_OPENING, DOING_BATCH, DOING_SWEEP };
enum role {
	ROLE_WRITE,
	ROLE_TELL, /* XADD */
	ROLE_MARKER_GET,
	ROLE_MARKER_SET,
	ROLE_TYPE, /* of projection_shared, one after the other */
	ROLE_SCAN,
};

struct op {
	struct dirty_entry *entry; /* NULL: of no key */
	enum role role;
};

struct flush {
	struct flush_options o;
	struct projection *projection;
	struct dirty dirty;
	struct redis_client *client;
	struct event *timer; /* the next flush, or the end of a back-off */
	struct event *probe;
	bool armed, hurry;
	bool backing_off;
	uint64_t retry_ns;
	uint64_t flush_began; /* monotonic */

	enum doing doing;
	struct op *ops; /* of what was sent, by index */
	size_t op_count, op_cap;
	enum role role;            /* for the commands that are being added */
	struct dirty_entry *entry; /* the same */
	char error[ERROR_TEXT_MAX];
	size_t errors; /* in the present batch */
	bool lost;     /* Redis does not hold the view: a rewrite is needed */
	bool usurped;  /* and a marker that is not ours stands there */

	bool checked;            /* the marker was right since the connection was made */
	char marker[MARKER_MAX]; /* as last acknowledged; "" before the first rewrite */
	char marker_sent[MARKER_MAX];
	uint64_t epoch, batch_number;

	bool rewriting, walking;
	struct projection_walk walk;
	unsigned sweep; /* 0: SCAN, then 1 + index into projection_sets; past them: over */
	bool sweep_over;
	char sweep_cursor[24];
	size_t type_index;
	uint64_t rewrite_began, rewrite_gap_ns; /* monotonic */
	unsigned drop_shared; /* bits: these shared keys are to be deleted first */
	size_t rewritten;
	uint64_t refreshed; /* monotonic */

	uint64_t tell_sequence, tell_n;
	struct flush_counters counters;
};

static void flush_next(struct flush *f);

/* ---- sending ---- */

static void on_put(void *arg, int argc, const char *const *argv, const size_t *lengths)
{
	struct flush *f = arg;

	redis_client_add(f->client, argc, argv, lengths);
	xgrow(&f->ops, &f->op_cap, f->op_count + 1, sizeof(*f->ops));
	f->ops[f->op_count++] = (struct op){.entry = f->entry, .role = f->role};
}

#define WORDS_MAX 8

/* A command of `count` words that belongs to no entry. */
static void put_words(struct flush *f, enum role role, const char *const *words, int count)
{
	size_t lengths[WORDS_MAX];

	for (int i = 0; i < count; i++)
		lengths[i] = strlen(words[i]);
	f->entry = NULL;
	f->role = role;
	on_put(f, count, words, lengths);
}

#define PUT(f, role, ...)                                                                          \
	put_words(f, role, (const char *const[]){__VA_ARGS__},                                     \
	          (int)ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static void flush_send(struct flush *f, enum doing doing)
{
	f->doing = doing;
	f->errors = 0;
	f->type_index = 0;
	redis_client_send(f->client);
}

static void marker_key(const struct flush *f, char *out, size_t size)
{
	snprintf(out, size, "iso:view:%s", projection_node(f->projection));
}

static void next_marker(struct flush *f)
{
	snprintf(f->marker_sent, sizeof(f->marker_sent), "%016llx:%llu%s",
	         (unsigned long long)f->epoch, (unsigned long long)++f->batch_number,
	         f->rewriting ? ":rewriting" : "");
}

static void send_probe(struct flush *f)
{
	char key[VIEW_NODE_MAX + 16];

	marker_key(f, key, sizeof(key));
	PUT(f, ROLE_MARKER_GET, "GET", key);
	flush_send(f, DOING_PROBE);
}

/* A rewrite begins with a marker of a new epoch, and with a look at the keys that are not written as a whole. */
static void send_opening(struct flush *f)
{
	char key[VIEW_NODE_MAX + 16], node[VIEW_NODE_MAX + 16];

	f->rewrite_gap_ns = f->usurped ? f->rewrite_gap_ns * 2 : REWRITE_GAP_NS;
	if (f->rewrite_gap_ns > REWRITE_GAP_MAX_NS)
		f->rewrite_gap_ns = REWRITE_GAP_MAX_NS;
	f->usurped = false;
	f->rewrite_began = clock_mono();
	f->epoch = map_seed();
	f->batch_number = 0;
	f->rewriting = true;
	f->rewritten = 0;
	next_marker(f);
	marker_key(f, key, sizeof(key));
	snprintf(node, sizeof(node), "iso:node:%s", projection_node(f->projection));
	PUT(f, ROLE_MARKER_SET, "SET", key, f->marker_sent);
	PUT(f, ROLE_WRITE, "DEL", node);
	for (size_t i = 0; i < PROJECTION_SHARED; i++)
		PUT(f, ROLE_TYPE, "TYPE", projection_shared[i].key);
	flush_send(f, DOING_OPENING);
}

static void add_entry(struct flush *f, struct dirty_entry *e, uint64_t now_ns)
{
	struct str key = dirty_key(e);

	f->entry = e;
	f->role = ROLE_WRITE;
	projection_put(f->projection, e->kind, key, e->whole, now_ns);
	if (!e->tell)
		return;
	if (!e->sequence) {
		if (f->tell_sequence != f->o.state->sequence) {
			f->tell_sequence = f->o.state->sequence;
			f->tell_n = 0;
		}
		e->sequence = f->tell_sequence;
		e->n = ++f->tell_n;
	}
	f->role = ROLE_TELL;
	if (!projection_tell(f->projection, e->kind, key, e->sequence, e->n))
		e->tell = false;
}

/* The walk adds about as much to the flush as a batch takes from it. What is dirty already is only noted, so that it is
 * not written twice. */
static void feed_walk(struct flush *f)
{
	size_t limit = f->dirty.flushing.count + SLICE_KEYS;
	char room[PROJECTION_KEY_MAX];
	enum view_kind kind;
	struct str key;

	for (size_t i = 0; f->walking && i < WALK_KEYS && f->dirty.flushing.count < limit; i++) {
		if (projection_walk_next(f->projection, &f->walk, room, &kind, &key))
			dirty_touch(&f->dirty, kind, key, f->rewriting);
		else
			f->walking = false;
	}
}

static void add_marker(struct flush *f)
{
	char key[VIEW_NODE_MAX + 16];

	next_marker(f);
	marker_key(f, key, sizeof(key));
	PUT(f, ROLE_MARKER_GET, "GET", key);
	PUT(f, ROLE_MARKER_SET, "SET", key, f->marker_sent, "XX");
}

static void send_batch(struct flush *f)
{
	uint64_t now_ns = clock_now();
	const uint8_t *head = f->o.head ? f->o.head(f->o.head_arg) : NULL;
	const char *const more[] = {"version", f->o.version ? f->o.version : "", "view",
	                            f->rewriting ? "rewriting" : "complete", NULL};
	struct dirty_entry *e;

	for (size_t i = 0; i < PROJECTION_SHARED; i++)
		if (f->drop_shared & 1u << i)
			PUT(f, ROLE_WRITE, "DEL", projection_shared[i].key);
	if (f->dirty.batch_count) {
		for (size_t i = 0; i < f->dirty.batch_count; i++)
			add_entry(f, f->dirty.batch[i], now_ns);
	} else {
		feed_walk(f);
		while (f->dirty.batch_count < SLICE_KEYS &&
		       redis_client_gathered(f->client) < BATCH_BYTES &&
		       (e = dirty_take(&f->dirty)))
			add_entry(f, e, now_ns);
	}
	f->entry = NULL;
	f->role = ROLE_WRITE;
	projection_put_node(f->projection, now_ns, head, more);
	add_marker(f);
	flush_send(f, DOING_BATCH);
}

static void send_sweep(struct flush *f)
{
	if (f->sweep == 0)
		PUT(f, ROLE_SCAN, "SCAN", f->sweep_cursor, "MATCH", "iso:*", "COUNT", SCAN_COUNT);
	else
		PUT(f, ROLE_SCAN, "ZSCAN", projection_sets[f->sweep - 1], f->sweep_cursor, "COUNT",
		    SCAN_COUNT);
	flush_send(f, DOING_SWEEP);
}

/* ---- when to send what ---- */

static void arm(struct flush *f, uint64_t delay_ns)
{
	struct timeval tv = {.tv_sec = (time_t)(delay_ns / NS_PER_SECOND),
	                     .tv_usec = (suseconds_t)(delay_ns % NS_PER_SECOND / 1000)};

	f->armed = true;
	event_add(f->timer, &tv);
}

/* The next flush begins an interval after the last one began. */
static void arm_flush(struct flush *f)
{
	uint64_t passed = clock_mono() - f->flush_began;

	if (!f->armed && f->dirty.waiting.count)
		arm(f, f->hurry || passed >= f->o.interval_ns ? 0 : f->o.interval_ns - passed);
}

static void back_off(struct flush *f, uint64_t delay_ns)
{
	f->backing_off = true;
	dirty_end_flush(&f->dirty);
	arm(f, delay_ns);
}

static void rewrite_finished(struct flush *f)
{
	f->rewriting = false;
	f->counters.rewrites++;
	f->refreshed = clock_mono();
	log_info("redis %s: the view is whole (%zu keys written)", f->o.address, f->rewritten);
	send_batch(f); /* says so in the marker */
}

/* Sends the next thing, if anything is to be sent now and nothing is on the way. */
static void flush_next(struct flush *f)
{
	if (!f->client || !redis_client_ready(f->client) || f->doing || f->backing_off)
		return;
	if (f->checked)
		arm_flush(
			f); /* also what changes during a long rewrite is written every interval */
	if (!f->checked) {
		send_probe(f);
	} else if (f->lost && !f->hurry) {
		uint64_t since = clock_mono() - f->rewrite_began;
		if (f->rewrite_began && since < f->rewrite_gap_ns)
			back_off(f, f->rewrite_gap_ns - since);
		else
			send_opening(f);
	} else if (f->dirty.batch_count || f->dirty.flushing.count || f->walking) {
		send_batch(f);
	} else if (f->rewriting && !f->sweep_over) {
		send_sweep(f);
	} else if (f->rewriting && !f->dirty.rewrite) {
		rewrite_finished(f);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct flush *f = arg;

	(void)fd;
	(void)what;
	f->armed = f->backing_off = false;
	f->flush_began = clock_mono();
	dirty_begin_flush(&f->dirty);
	flush_next(f);
}

/* Scores decay while nothing happens: now and then iso:risk is written anew. */
static void refresh_risk(struct flush *f)
{
	uint64_t period = f->o.state->risk.half_life_ns / REFRESH_PER_HALF;
	uint64_t now = clock_mono();

	if (period < REFRESH_MIN_NS)
		period = REFRESH_MIN_NS;
	if (f->rewriting || f->walking || now - f->refreshed < period)
		return;
	f->refreshed = now;
	if (!f->o.state->risk.half_life_ns || !f->o.state->risk.entities.count)
		return;
	f->walking = true;
	projection_walk_begin(&f->walk, 1u << VIEW_RISK);
}

static void on_probe(evutil_socket_t fd, short what, void *arg)
{
	struct flush *f = arg;

	(void)fd;
	(void)what;
	if (f->doing || f->backing_off || !redis_client_ready(f->client))
		return;
	refresh_risk(f);
	if (f->walking)
		flush_next(f);
	else
		send_probe(f);
}

/* ---- answers ---- */

/* The first error in an answer; an EXEC's is a list. */
static const char *find_error(const redisReply *r)
{
	if (r->type == REDIS_REPLY_ERROR)
		return r->str;
	if (r->type != REDIS_REPLY_ARRAY)
		return NULL;
	for (size_t i = 0; i < r->elements; i++) {
		const char *error = find_error(r->element[i]);
		if (error)
			return error;
	}
	return NULL;
}

static void note_error(struct flush *f, struct dirty_entry *e, const char *error)
{
	if (f->errors++ == 0)
		snprintf(f->error, sizeof(f->error), "%s", error);
	f->counters.refused++;
	if (e)
		e->failed = true;
	/* Somebody put another thing under a key of ours; a rewrite deletes it. */
	if (strncmp(error, "WRONGTYPE", 9) == 0)
		f->lost = true;
}

static struct str reply_str(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS
	               ? str_make(r->str, (size_t)r->len)
	               : STR_NONE;
}

static void told(struct flush *f, struct dirty_entry *e, const char *error)
{
	if (error && !strstr(error, "equal or smaller than")) {
		note_error(f, e, error);
		return;
	}
	if (error && !e->resent) {
		for (size_t i = 0; i < PROJECTION_SHARED; i++)
			if (strcmp(projection_shared[i].key, PROJECTION_STREAM) == 0)
				f->drop_shared |= 1u << i;
		note_error(f, e, "the stream is that of another ledger");
		return;
	}
	e->tell = false;
}

static void marker_seen(struct flush *f, const redisReply *r)
{
	struct str value = reply_str(r);

	if (f->doing == DOING_PROBE)
		f->checked = true;
	if (f->marker[0] && str_eq(value, str_of(f->marker)))
		return;
	/* Of a batch whose answer was lost with the connection it is unknown which marker stands. */
	if (f->doing == DOING_PROBE && f->marker_sent[0] && str_eq(value, str_of(f->marker_sent))) {
		memcpy(f->marker, f->marker_sent, sizeof(f->marker));
		return;
	}
	if (!f->lost && f->marker[0])
		log_warning(
			"redis %s: the view there is not the one we wrote (%s): writing it whole",
			f->o.address, value.p ? "another marker" : "no marker");
	f->lost = true;
}

static void type_seen(struct flush *f, const redisReply *r)
{
	size_t i = f->type_index++;
	struct str type = reply_str(r);

	if (!str_eq(type, STR("none")) && !str_eq(type, str_of(projection_shared[i].type)))
		f->drop_shared |= 1u << i;
}

static void sweep_next(struct flush *f)
{
	snprintf(f->sweep_cursor, sizeof(f->sweep_cursor), "0");
	f->sweep++;
	if (!projection_sets[f->sweep - 1])
		f->sweep_over = true;
}

/* One page of SCAN or ZSCAN: what the state does not have is flushed, which removes it. */
static void swept(struct flush *f, const redisReply *r)
{
	const char *in = f->sweep ? projection_sets[f->sweep - 1] : NULL;
	char room[PROJECTION_KEY_MAX];
	enum view_kind kind;
	struct str key;

	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 ||
	    r->element[1]->type != REDIS_REPLY_ARRAY || !reply_str(r->element[0]).p) {
		note_error(f, NULL, "not the answer to SCAN");
		return;
	}
	const redisReply *page = r->element[1];
	for (size_t i = 0; i < page->elements; i += in ? 2 : 1) {
		struct str name = reply_str(page->element[i]);
		if (name.p && projection_parse(f->projection, in, name, room, &kind, &key) &&
		    !projection_has(f->projection, kind, key))
			dirty_touch(&f->dirty, kind, key, true);
	}
	snprintf(f->sweep_cursor, sizeof(f->sweep_cursor), "%.*s",
	         STR_FMT(reply_str(r->element[0])));
	if (strcmp(f->sweep_cursor, "0") == 0)
		sweep_next(f);
}

void flush_reply(struct flush *f, size_t index, const redisReply *reply)
{
	const struct op *op = &f->ops[index];
	const char *error = find_error(reply);

	if (op->role == ROLE_TELL) {
		told(f, op->entry, error);
		return;
	}
	if (error) {
		note_error(f, op->entry, error);
		/* A marker of a wrong type is a wrong marker. */
		if (op->role == ROLE_MARKER_GET && f->lost)
			f->checked = true;
		return;
	}
	switch (op->role) {
	case ROLE_MARKER_GET: marker_seen(f, reply); break;
	case ROLE_MARKER_SET:
		if (reply->type == REDIS_REPLY_NIL)
			f->lost = true; /* emptied since the GET before it */
		else
			memcpy(f->marker, f->marker_sent, sizeof(f->marker));
		break;
	case ROLE_TYPE: type_seen(f, reply); break;
	case ROLE_SCAN: swept(f, reply); break;
	default: break;
	}
}

static void opening_done(struct flush *f)
{
	if (f->errors) {
		f->rewriting = false;
		return;
	}
	f->lost = false;
	f->walking = true;
	projection_walk_begin(&f->walk, PROJECTION_ALL);
	f->sweep = 0;
	f->sweep_over = false;
	snprintf(f->sweep_cursor, sizeof(f->sweep_cursor), "0");
}

static void batch_done(struct flush *f)
{
	if (f->rewriting)
		f->rewritten += f->dirty.batch_count;
	dirty_settle(&f->dirty);
	f->counters.flushes++;
	if (f->errors)
		return;
	f->drop_shared = 0;
}

void flush_done(struct flush *f)
{
	enum doing doing = f->doing;

	f->doing = DOING_NOTHING;
	f->op_count = 0;
	if (doing == DOING_OPENING)
		opening_done(f);
	else if (doing == DOING_BATCH)
		batch_done(f);
	if (doing != DOING_OPENING && f->lost)
		f->rewriting = f->walking = false;
	if (!f->errors) {
		f->retry_ns = RETRY_FIRST_NS;
		flush_next(f);
		return;
	}
	log_warning("redis %s refuses %zu commands: %s; their keys are tried again in %llu ms",
	            f->o.address, f->errors, f->error,
	            (unsigned long long)(f->retry_ns / NS_PER_MS));
	back_off(f, f->retry_ns);
	f->retry_ns = f->retry_ns * 2 < RETRY_MAX_NS ? f->retry_ns * 2 : RETRY_MAX_NS;
}

/* ---- coming and going ---- */

void flush_up(struct flush *f)
{
	const struct timeval tv = {.tv_sec = PROBE_INTERVAL_NS / NS_PER_SECOND};

	f->checked = false;
	f->retry_ns = RETRY_FIRST_NS;
	event_add(f->probe, &tv);
	flush_next(f);
}

void flush_down(struct flush *f)
{
	event_del(f->timer);
	event_del(f->probe);
	f->armed = f->backing_off = f->checked = false;
	f->op_count = 0;
	/* A rewrite whose opening was not answered has not begun; a batch may have been done in part. */
	if (f->doing == DOING_OPENING)
		f->rewriting = false;
	f->doing = DOING_NOTHING;
	dirty_doubt(&f->dirty);
	dirty_end_flush(&f->dirty);
}

void flush_mark(struct flush *f, enum view_kind kind, struct str key)
{
	dirty_mark(&f->dirty, kind, key);
	if (!f->armed && !f->doing && f->client && f->checked && redis_client_ready(f->client))
		arm_flush(f);
}

void flush_attach(struct flush *f, struct event_base *base, struct redis_client *client, bool hurry)
{
	f->client = client;
	f->hurry = hurry;
	f->timer = evtimer_new(base, on_timer, f);
	f->probe = event_new(base, -1, EV_PERSIST, on_probe, f);
}

void flush_detach(struct flush *f)
{
	if (!f->client)
		return;
	flush_down(f);
	event_free(f->timer);
	event_free(f->probe);
	f->timer = f->probe = NULL;
	f->client = NULL;
}

struct flush *flush_new(const struct flush_options *o)
{
	struct flush *f = xcalloc(1, sizeof(*f));

	f->o = *o;
	f->retry_ns = RETRY_FIRST_NS;
	f->rewrite_gap_ns = REWRITE_GAP_NS;
	dirty_init(&f->dirty);
	f->projection = projection_new(&(struct projection_options){
		.state = o->state, .node = o->node, .sink = {.put = on_put, .arg = f}});
	return f;
}

void flush_free(struct flush *f)
{
	if (!f)
		return;
	dirty_release(&f->dirty);
	projection_free(f->projection);
	free(f->ops);
	free(f);
}

size_t flush_pending(const struct flush *f)
{
	return f->dirty.count;
}

bool flush_whole(const struct flush *f)
{
	return f->marker[0] && !f->lost && !f->rewriting;
}

bool flush_settled(const struct flush *f)
{
	return f->checked && !f->dirty.count && !f->doing && !f->walking && flush_whole(f);
}

const struct flush_counters *flush_counters(const struct flush *f)
{
	return &f->counters;
}
