/* The projection alone: which commands each thing of the state becomes. Commands are caught as text, one a line. */
#include "view_rig.h"

#include "view/dirty.h"
#include "view/projection.h"

struct catcher {
	struct rig rig;
	struct buf text;
	size_t commands;
	struct projection *p;
};

static void on_command(void *arg, int argc, const char *const *argv, const size_t *lengths)
{
	struct catcher *c = arg;

	c->commands++;
	for (int i = 0; i < argc; i++)
		buf_printf(&c->text, "%s%.*s", i ? " " : "", (int)lengths[i], argv[i]);
	buf_putc(&c->text, '\n');
}

static void catcher_init(struct catcher *c, const char *node)
{
	*c = (struct catcher){0};
	rig_init(&c->rig);
	c->rig.world.now = T0;
	buf_init(&c->text, 0);
	c->p = projection_new(&(struct projection_options){
		.state = &c->rig.world.state, .node = node, .sink = {on_command, c}});
}

static void catcher_release(struct catcher *c)
{
	projection_free(c->p);
	buf_release(&c->text);
	rig_release(&c->rig);
}

static const char *put(struct catcher *c, enum view_kind kind, const char *key, bool whole)
{
	buf_reset(&c->text);
	projection_put(c->p, kind, str_of(key), whole, c->rig.world.now);
	return buf_cstr(&c->text);
}

Test(view_projection, absent_things_are_removed)
{
	static const struct {
		enum view_kind kind;
		const char *key, *commands;
	} cases[] = {
		{VIEW_INCIDENT, "7",
	         "DEL iso:incident:7\nZREM iso:incidents 7\nZREM iso:incidents:open 7\n"},
		{VIEW_INCIDENT, "01",
	         "DEL iso:incident:01\nZREM iso:incidents 01\nZREM iso:incidents:open 01\n"},
		{VIEW_INCIDENT, "18446744073709551617",
	         "DEL iso:incident:18446744073709551617\nZREM iso:incidents 18446744073709551617\n"
	         "ZREM iso:incidents:open 18446744073709551617\n"},
		{VIEW_RISK, "user:x y", "DEL iso:risk:user:x y\nZREM iso:risk user:x y\n"},
		{VIEW_SOURCE, "udp/::1", "DEL iso:source:n:udp/::1\n"},
		{VIEW_NOTIFICATION, "0", "DEL iso:notification:0\n"},
		{VIEW_METRIC, "rule/a/b:c",
	         "DEL iso:metric:n:rule:a/b:c:total iso:metric:n:rule:a/b:c:minute "
	         "iso:metric:n:rule:a/b:c:hour iso:metric:n:rule:a/b:c:day\n"},
		{VIEW_METRIC, "odd",
	         "DEL iso:metric:n:odd::total iso:metric:n:odd::minute iso:metric:n:odd::hour "
	         "iso:metric:n:odd::day\n"},
	};
	struct catcher c;

	catcher_init(&c, "n");
	rig_incident(&c.rig, "192.0.2.1"); /* incident 1: "01" and 2^64+1 are not it */
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cr_assert_str_eq(put(&c, cases[i].kind, cases[i].key, false), cases[i].commands);
		cr_assert_str_eq(put(&c, cases[i].kind, cases[i].key, true), cases[i].commands);
		cr_assert(!projection_tell(c.p, cases[i].kind, str_of(cases[i].key), 1, 1));
	}
	catcher_release(&c);
}

Test(view_projection, a_source)
{
	struct catcher c;

	catcher_init(&c, "a:b%c d");
	rig_tally(&c.rig, "tls/192.0.2.1", 3);
	cr_assert_str_eq(
		put(&c, VIEW_SOURCE, "tls/192.0.2.1", false),
		"HSET iso:source:a%3Ab%25c%20d:tls/192.0.2.1 source tls/192.0.2.1 "
		"received 3 matched 0 unmatched 3 undecoded 0 truncated 0 refused 0 "
		"bytes 300 first_received 2023-11-14T22:13:20.000Z last_received "
		"2023-11-14T22:13:20.000Z clock_skew_ms -1500 shed 0 "
		"refused_framing 0 refused_empty 0 shed_kernel 0 shed_own_events 0 shed_rate 0\n");
	catcher_release(&c);
}

Test(view_projection, risk_decays_in_the_set_only)
{
	struct catcher c;

	catcher_init(&c, "n");
	rig_incident(&c.rig, "192.0.2.1");
	const char *text = put(&c, VIEW_RISK, "address:192.0.2.1", false);
	cr_assert(strstr(text, " score 25.000 "), "%s", text);
	cr_assert(strstr(text, "ZADD iso:risk 25 address:192.0.2.1\n"), "%s", text);
	c.rig.world.now += NS_PER_DAY; /* a half-life */
	text = put(&c, VIEW_RISK, "address:192.0.2.1", false);
	cr_assert(strstr(text, " score 25.000 "), "%s", text);
	cr_assert(strstr(text, "ZADD iso:risk 12.500 address:192.0.2.1\n"), "%s", text);
	c.rig.world.now += 60 * NS_PER_DAY;
	text = put(&c, VIEW_RISK, "address:192.0.2.1", false);
	cr_assert(strstr(text, "ZREM iso:risk address:192.0.2.1\n"), "%s", text);
	catcher_release(&c);
}

/* Whole the first time; then what changed; what went out of the window goes. */
Test(view_projection, a_metric)
{
	struct catcher c;
	char line[160];
	const uint64_t minute = T0 / NS_PER_MINUTE * 60000, hour = T0 / NS_PER_HOUR * 3600000,
		       day = T0 / NS_PER_DAY * 86400000;
#define METRIC "iso:metric:n:events:received:"
#define HAS(text, ...)                                                                             \
	do {                                                                                       \
		snprintf(line, sizeof(line), __VA_ARGS__);                                         \
		cr_assert(strstr(text, line), "no %s in:\n%s", line, text);                        \
	} while (0)

	catcher_init(&c, "n");
	rig_tally(&c.rig, "s", 3);
	const char *text = put(&c, VIEW_METRIC, "events/received", false);
	cr_assert(str_starts(str_of(text), STR("MULTI\nDEL " METRIC "total ")), "%s", text);
	HAS(text, "SET " METRIC "total 3\n");
	HAS(text, "HSET " METRIC "minute %llu 3\n", (unsigned long long)minute);
	HAS(text, "HSET " METRIC "hour %llu 3\n", (unsigned long long)hour);
	HAS(text, "HSET " METRIC "day %llu 3\nEXEC\n", (unsigned long long)day);

	rig_tally(&c.rig, "s", 4);
	text = put(&c, VIEW_METRIC, "events/received", false);
	cr_assert(!strstr(text, "DEL"), "%s", text);
	HAS(text, "HSET " METRIC "minute %llu 7\n", (unsigned long long)minute);

	c.rig.world.now += 2 * NS_PER_MINUTE;
	rig_tally(&c.rig, "s", 1);
	c.rig.world.now += NS_PER_MINUTE;
	rig_tally(&c.rig, "s", 1);
	text = put(&c, VIEW_METRIC, "events/received", false);
	HAS(text, "HSET " METRIC "minute %llu 7 %llu 1 %llu 1\n", (unsigned long long)minute,
	    (unsigned long long)minute + 120000, (unsigned long long)minute + 180000);
	HAS(text, "HDEL " METRIC "minute %llu ",
	    (unsigned long long)minute - (METRIC_MINUTES - 1) * UINT64_C(60000));

	/* Longer than the window: every span of it goes, and the new one comes. */
	c.rig.world.now += METRIC_MINUTES * NS_PER_MINUTE * 2;
	rig_tally(&c.rig, "s", 5);
	text = put(&c, VIEW_METRIC, "events/received", false);
	HAS(text, "HSET " METRIC "minute %llu 5\n",
	    (unsigned long long)(c.rig.world.now / NS_PER_MINUTE * 60000));
	HAS(text, " %llu", (unsigned long long)minute + 180000);
	const char *removal = strstr(text, "HDEL " METRIC "minute ");
	cr_assert_not_null(removal);
	size_t words = 0;
	for (const char *at = removal; *at != '\n'; at++)
		words += *at == ' ';
	cr_assert_eq(words, 1 + METRIC_MINUTES, "%zu", words);
	catcher_release(&c);
}

/* What is written step by step must be what is written at once, at any times: the hash is kept here as Redis would. */
Test(view_projection, metric_steps_equal_the_whole)
{
	struct catcher c;
	struct server s;
	static const uint64_t pauses[] = {1,    20,    59,    60,    61,    600,   3600,
	                                  7200, 10740, 10800, 10801, 86400, 700000};

	need_redis();
	catcher_init(&c, "n");
	server_start(&s, c.rig.dir, "own", 0, NULL);
	redisContext *r = ask_open(s.unix_path);
	unsigned seed = 12345;
	for (unsigned step = 0; step < 300; step++) {
		seed = seed * 1103515245 + 12345;
		c.rig.world.now += pauses[seed / 65536 % ARRAY_LEN(pauses)] * NS_PER_SECOND;
		rig_tally(&c.rig, "s", step + 1);
		if (seed & 0x100000)
			continue; /* several changes in one flush */
		for (unsigned whole = 0; whole < 2; whole++) {
			struct str rest = str_of(put(&c, VIEW_METRIC, "events/received", whole));
			char *text = xstrndup(rest.p, rest.n);
			for (char *save = NULL, *l = strtok_r(text, "\n", &save); l;
			     l = strtok_r(NULL, "\n", &save))
				ask_do(r, l);
			free(text);
			static char *last;
			char *dump = view_dump(s.unix_path);
			if (whole)
				cr_assert_str_eq(dump, last, "step %u", step);
			free(last);
			last = dump;
		}
	}
	redisFree(r);
	server_stop(&s);
	catcher_release(&c);
}

Test(view_projection, parse)
{
	static const struct {
		const char *in, *name;
		int kind; /* -1: not ours */
		const char *key;
	} cases[] = {
		{NULL, "iso:incident:7", VIEW_INCIDENT, "7"},
		{NULL, "iso:incident:", VIEW_INCIDENT, ""},
		{NULL, "iso:incidents", -1, NULL},
		{NULL, "iso:incidents:open", -1, NULL},
		{NULL, "iso:risk", -1, NULL},
		{NULL, "iso:risk:user:a:b", VIEW_RISK, "user:a:b"},
		{NULL, "iso:metric:n:rule:x:total", VIEW_METRIC, "rule/x"},
		{NULL, "iso:metric:n:rule:x:minute:minute", VIEW_METRIC, "rule/x:minute"},
		{NULL, "iso:metric:n:source:tls/::1:day", VIEW_METRIC, "source/tls/::1"},
		{NULL, "iso:metric:n:rule::hour", VIEW_METRIC, "rule/"},
		{NULL, "iso:metric:n:rule:hour", -1, NULL},
		{NULL, "iso:metric:n:rule:x", -1, NULL},
		{NULL, "iso:metric:n:rule:x:week", -1, NULL},
		{NULL, "iso:metric:n", -1, NULL},
		{NULL, "iso:metric:n:", -1, NULL},
		{NULL, "iso:metric:nn:rule:x:total", -1, NULL},
		{NULL, "iso:source:n:tls/x", VIEW_SOURCE, "tls/x"},
		{NULL, "iso:source:n", -1, NULL},
		{NULL, "iso:source:m:tls/x", -1, NULL},
		{NULL, "iso:notification:3", VIEW_NOTIFICATION, "3"},
		{NULL, "iso:changes", -1, NULL},
		{NULL, "iso:view:n", -1, NULL},
		{NULL, "iso:node:n", -1, NULL},
		{NULL, "", -1, NULL},
		{"iso:risk", "user:x", VIEW_RISK, "user:x"},
		{"iso:incidents", "5", VIEW_INCIDENT, "5"},
		{"iso:incidents:open", "5", VIEW_INCIDENT, "5"},
	};
	struct catcher c;
	char room[PROJECTION_KEY_MAX], *longest;
	enum view_kind kind;
	struct str key;

	catcher_init(&c, "n");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		bool ours = projection_parse(c.p, cases[i].in, str_of(cases[i].name), room, &kind,
		                             &key);
		cr_assert_eq(ours, cases[i].kind >= 0, "%s", cases[i].name);
		if (ours)
			cr_assert(kind == (enum view_kind)cases[i].kind &&
			                  str_eq(key, str_of(cases[i].key)),
			          "%s: %.*s", cases[i].name, STR_FMT(key));
	}
	longest = xasprintf("iso:metric:n:rule:%0*d:total", PROJECTION_KEY_MAX, 0);
	cr_assert(!projection_parse(c.p, NULL, str_of(longest), room, &kind, &key));
	free(longest);
	catcher_release(&c);
}

static size_t walk_all(struct catcher *c, unsigned kinds)
{
	struct projection_walk w;
	char room[PROJECTION_KEY_MAX];
	enum view_kind kind;
	struct str key;
	size_t count = 0;

	projection_walk_begin(&w, kinds);
	while (projection_walk_next(c->p, &w, room, &kind, &key)) {
		cr_assert(kinds & 1u << kind);
		cr_assert(projection_has(c->p, kind, key), "%.*s", STR_FMT(key));
		count++;
	}
	return count;
}

Test(view_projection, walk)
{
	struct catcher c;
	struct map *risks;
	struct projection_walk w;
	char room[PROJECTION_KEY_MAX], text[64];
	enum view_kind kind;
	struct str key;

	catcher_init(&c, "n");
	cr_assert_eq(walk_all(&c, PROJECTION_ALL), 0);
	rig_fill(&c.rig, 100);
	risks = &c.rig.world.state.risk.entities;
	const struct state *s = &c.rig.world.state;
	cr_assert_eq(walk_all(&c, 1u << VIEW_RISK), risks->count);
	cr_assert_eq(walk_all(&c, PROJECTION_ALL),
	             risks->count + s->incident.count + s->reporting.count +
	                     s->improvement.series.count + s->architecture.sources.count);

	/* Half of what was walked is removed on the way, so that the map squeezes: what stays is all visited. */
	struct map seen;
	map_init(&seen);
	projection_walk_begin(&w, 1u << VIEW_RISK);
	for (unsigned i = 0; i < 60; i++) {
		cr_assert(projection_walk_next(c.p, &w, room, &kind, &key));
		map_put(&seen, key, &w);
	}
	for (unsigned i = 0; i < 50; i += 2) {
		snprintf(text, sizeof(text), "address:10.0.0.%u", i + 1);
		isod__v1__entity_risk__free_unpacked(map_remove(risks, str_of(text)), NULL);
	}
	rig_fill(&c.rig, 1); /* "address:10.0.0.1" comes again, at the end */
	for (unsigned i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "203.0.113.%u", i + 1);
		rig_incident(&c.rig, text); /* grows the map */
	}
	while (projection_walk_next(c.p, &w, room, &kind, &key))
		map_put(&seen, key, &w);
	const struct map_entry *e;
	for (size_t at = 0; (e = map_next(risks, &at));)
		cr_assert_not_null(map_get(&seen, e->key), "%.*s was passed over", STR_FMT(e->key));
	map_release(&seen, NULL);
	catcher_release(&c);
}

/* ---- the dirty set ---- */

Test(view_dirty, one_entry_per_key_in_order)
{
	struct dirty d;

	dirty_init(&d);
	for (unsigned i = 0; i < 1000; i++) {
		dirty_mark(&d, VIEW_INCIDENT, i % 2 ? STR("a") : STR("b"));
		dirty_mark(&d, VIEW_RISK, STR("a"));
	}
	cr_assert_eq(d.count, 3);
	cr_assert_null(dirty_take(&d), "nothing before a flush begins");
	dirty_begin_flush(&d);
	cr_assert(str_eq(dirty_key(dirty_take(&d)), STR("b")));
	cr_assert_eq(dirty_take(&d)->kind, VIEW_RISK);
	dirty_mark(&d, VIEW_RISK, STR("a")); /* while it is on the way */
	dirty_mark(&d, VIEW_INCIDENT, STR("b"));
	d.batch[0]->failed = true;
	dirty_settle(&d);
	cr_assert_eq(d.count, 3);
	cr_assert_eq(d.waiting.count, 2);
	cr_assert_eq(d.flushing.count, 1);
	dirty_end_flush(&d);
	dirty_begin_flush(&d);
	struct dirty_entry *e = dirty_take(&d);
	cr_assert(str_eq(dirty_key(e), STR("a")) && e->kind == VIEW_INCIDENT,
	          "what was left goes first");
	e = dirty_take(&d);
	cr_assert(e->whole && e->tell, "what failed is written whole");
	e = dirty_take(&d);
	cr_assert(!e->whole && e->tell);
	cr_assert_null(dirty_take(&d));
	dirty_settle(&d);
	cr_assert_eq(d.count, 0);
	dirty_release(&d);
}

Test(view_dirty, rewrite_is_counted_to_its_end)
{
	struct dirty d;

	dirty_init(&d);
	dirty_mark(&d, VIEW_RISK, STR("a"));
	dirty_touch(&d, VIEW_RISK, STR("a"), true);
	dirty_touch(&d, VIEW_RISK, STR("b"), true);
	dirty_touch(&d, VIEW_RISK, STR("b"), true);
	dirty_touch(&d, VIEW_RISK, STR("c"), false);
	cr_assert_eq(d.rewrite, 2);
	cr_assert_eq(d.flushing.count, 2);
	struct dirty_entry *b = dirty_take(&d);
	cr_assert(b->whole && !b->tell);
	dirty_doubt(&d); /* the connection broke */
	dirty_end_flush(&d);
	cr_assert_eq(d.batch_count, 1);
	cr_assert(b->resent);
	dirty_mark(&d, VIEW_RISK, STR("b"));
	dirty_settle(&d);
	cr_assert_eq(d.rewrite, 1, "b was written; its change since is another thing");
	dirty_begin_flush(&d);
	while (dirty_take(&d))
		;
	dirty_settle(&d);
	cr_assert_eq(d.rewrite, 0);
	cr_assert_eq(d.count, 0);
	dirty_release(&d);
}
