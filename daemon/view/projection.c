/* Why a table: each kind of thing differs in three places only (where it stands in the state, its key, its fields), and
 * all five go through the same writing, removing, walking and recognising.
 *
 * Why metrics remember what was written: a series has up to 748 spans, of which an event changes three. Writing all of
 * them each second for each source and rule would be most of the traffic of the view. */
#include "view/projection.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/pbjson.h"
#include "view/view.h"

#define KEY_INCIDENT  "iso:incident:"
#define SET_INCIDENTS "iso:incidents"
#define SET_OPEN      "iso:incidents:open"
#define SET_RISK      "iso:risk"
#define RESOLUTIONS   4 /* Isod__V1__Resolution; [0] stands for the total */

static const char *const resolution_names[RESOLUTIONS] = {"total", "minute", "hour", "day"};
static const size_t resolution_spans[RESOLUTIONS] = {0, METRIC_MINUTES, METRIC_HOURS, METRIC_DAYS};

const char *const projection_sets[] = {SET_INCIDENTS, SET_OPEN, SET_RISK, NULL};
const struct shared_key projection_shared[PROJECTION_SHARED] = {
	{SET_INCIDENTS, "zset"},
	{SET_OPEN, "zset"},
	{SET_RISK, "zset"},
	{PROJECTION_STREAM, "stream"},
};

/* What was last written of a metric: the number of the newest span by resolution. */
struct written {
	uint64_t newest[RESOLUTIONS];
};

struct projection {
	const struct state *state;
	struct command_sink sink;
	char node[VIEW_NODE_MAX];
	struct command command;
	struct map written; /* metric key → struct written */
	Isod__V1__MetricPoint points[METRIC_DAYS];
};

/* ---- small commands ---- */

static void put_words(struct projection *p, const char *a, const char *b, struct str third)
{
	command_begin(&p->command, a);
	if (b)
		command_text(&p->command, b);
	if (third.p)
		command_str(&p->command, third);
	command_end(&p->command, &p->sink);
}

static void put_member(struct projection *p, const char *set, uint64_t score_milli,
                       struct str member)
{
	command_begin(&p->command, "ZADD");
	command_text(&p->command, set);
	if (score_milli % 1000)
		command_printf(&p->command, "%llu.%03u", (unsigned long long)(score_milli / 1000),
		               (unsigned)(score_milli % 1000));
	else
		command_u64(&p->command, score_milli / 1000);
	command_str(&p->command, member);
	command_end(&p->command, &p->sink);
}

/* ---- the kinds ---- */

/* Only the one way in which isod writes a number: "01" is nobody's id. */
static uint64_t parse_id(struct str key)
{
	uint64_t id;

	if (key.n == 0 || key.p[0] == '0' || str_to_u64(key, &id) < 0)
		return 0;
	return id;
}

static const ProtobufCMessage *get_incident(const struct state *s, struct str key)
{
	return (const ProtobufCMessage *)incident_get(&s->incident, parse_id(key));
}

static const ProtobufCMessage *get_notification(const struct state *s, struct str key)
{
	return (const ProtobufCMessage *)reporting_get(&s->reporting, parse_id(key));
}

static const ProtobufCMessage *get_risk(const struct state *s, struct str key)
{
	return (const ProtobufCMessage *)risk_get(&s->risk, key);
}

static const ProtobufCMessage *get_source(const struct state *s, struct str key)
{
	return (const ProtobufCMessage *)architecture_get(&s->architecture, key);
}

static void sets_incident(struct projection *p, struct str key, const void *message,
                          uint64_t now_ns)
{
	const Isod__V1__Incident *i = message;

	(void)now_ns;
	if (i)
		put_member(p, SET_INCIDENTS, i->changed_ns / NS_PER_MS * 1000, key);
	else
		put_words(p, "ZREM", SET_INCIDENTS, key);
	if (i && incident_is_open(i))
		put_member(p, SET_OPEN, (uint64_t)i->severity * 1000, key);
	else
		put_words(p, "ZREM", SET_OPEN, key);
}

static void sets_risk(struct projection *p, struct str key, const void *message, uint64_t now_ns)
{
	uint64_t score = message ? risk_score(&p->state->risk, message, now_ns) : 0;

	if (score)
		put_member(p, SET_RISK, score, key);
	else
		put_words(p, "ZREM", SET_RISK, key);
}

struct kind {
	const char *name;   /* in the stream */
	const char *prefix; /* of its key */
	bool per_node;      /* NODE: follows */
	bool json;          /* has a member `json` */
	bool told;          /* in the stream */
	const ProtobufCMessage *(*get)(const struct state *s, struct str key);
	void (*sets)(struct projection *p, struct str key, const void *message, uint64_t now_ns);
	/* Where the walk finds them: the next id above *id, or a map. */
	bool (*next)(const struct state *s, uint64_t *id);
	const struct map *(*map)(const struct state *s);
};

static bool next_incident(const struct state *s, uint64_t *id)
{
	return incident_next(&s->incident, id) != NULL;
}

static bool next_notification(const struct state *s, uint64_t *id)
{
	return reporting_next(&s->reporting, id) != NULL;
}

static const struct map *map_risk(const struct state *s)
{
	return &s->risk.entities;
}

static const struct map *map_metric(const struct state *s)
{
	return &s->improvement.series;
}

static const struct map *map_source(const struct state *s)
{
	return &s->architecture.sources;
}

/* A metric has four keys and no message: get is NULL, and put_metric() writes it. */
static const struct kind kinds[VIEW_KINDS] = {
	[VIEW_INCIDENT] = {.name = "incident",
                           .prefix = KEY_INCIDENT,
                           .json = true,
                           .told = true,
                           .get = get_incident,
                           .sets = sets_incident,
                           .next = next_incident},
	[VIEW_RISK] = {.name = "risk",
                       .prefix = "iso:risk:",
                       .get = get_risk,
                       .sets = sets_risk,
                       .map = map_risk},
	[VIEW_METRIC] =
		{.name = "metric", .prefix = "iso:metric:", .per_node = true, .map = map_metric},
	[VIEW_SOURCE] = {.name = "source",
                         .prefix = "iso:source:",
                         .per_node = true,
                         .get = get_source,
                         .map = map_source},
	[VIEW_NOTIFICATION] = {.name = "notification",
                               .prefix = "iso:notification:",
                               .told = true,
                               .get = get_notification,
                               .next = next_notification},
};

/* ---- putting ---- */

/* As one argument of the command under construction. */
static void add_key(struct projection *p, enum view_kind kind, struct str key)
{
	const struct kind *k = &kinds[kind];

	command_printf(&p->command, "%s%s%s%.*s", k->prefix, k->per_node ? p->node : "",
	               k->per_node ? ":" : "", STR_FMT(key));
}

static void put_delete(struct projection *p, enum view_kind kind, struct str key)
{
	command_begin(&p->command, "DEL");
	add_key(p, kind, key);
	command_end(&p->command, &p->sink);
}

static void put_message(struct projection *p, enum view_kind kind, struct str key, bool whole,
                        uint64_t now_ns)
{
	const struct kind *k = &kinds[kind];
	const ProtobufCMessage *m = k->get(p->state, key);

	if (whole && m)
		put_words(p, "MULTI", NULL, STR_NONE);
	if (whole || !m)
		put_delete(p, kind, key);
	if (m) {
		command_begin(&p->command, "HSET");
		add_key(p, kind, key);
		command_fields(&p->command, m);
		if (k->json) {
			command_text(&p->command, "json");
			pbjson_append(&p->command.text, m);
			command_cut(&p->command);
		}
		command_end(&p->command, &p->sink);
	}
	if (k->sets)
		k->sets(p, key, m, now_ns);
	if (whole && m)
		put_words(p, "EXEC", NULL, STR_NONE);
}

/* SCOPE:NAME:RES of a metric's key SCOPE/NAME, as one argument. */
static void add_metric_key(struct projection *p, struct str key, unsigned resolution)
{
	struct str name = key;
	struct str scope = str_split(&name, '/');

	command_printf(&p->command, "%s%s:%.*s:%.*s:%s", kinds[VIEW_METRIC].prefix, p->node,
	               STR_FMT(scope), STR_FMT(name), resolution_names[resolution]);
}

static void put_metric_delete(struct projection *p, struct str key)
{
	command_begin(&p->command, "DEL");
	for (unsigned r = 0; r < RESOLUTIONS; r++)
		add_metric_key(p, key, r);
	command_end(&p->command, &p->sink);
}

/* The spans with a count among the newest `max`. */
static void put_spans(struct projection *p, struct str key, const struct metric_series *m,
                      unsigned resolution, size_t max)
{
	Isod__V1__Resolution r = (Isod__V1__Resolution)resolution;
	size_t count = metric_points(m, r, m->rings[r].newest * metric_width(r), p->points, max);
	bool any = false;

	command_begin(&p->command, "HSET");
	add_metric_key(p, key, resolution);
	for (size_t i = 0; i < count; i++) {
		if (!p->points[i].count)
			continue;
		command_u64(&p->command, p->points[i].start_ns / NS_PER_MS);
		command_u64(&p->command, p->points[i].count);
		any = true;
	}
	if (any)
		command_end(&p->command, &p->sink);
}

/* Removes the spans that went out of the window while its newest one moved from `from` to `to`. */
static void drop_spans(struct projection *p, struct str key, unsigned resolution, uint64_t from,
                       uint64_t to)
{
	size_t size = resolution_spans[resolution];
	uint64_t width_ms = metric_width((Isod__V1__Resolution)resolution) / NS_PER_MS;
	uint64_t oldest = from >= size ? from - size + 1 : 0;
	uint64_t kept = to >= size ? to - size + 1 : 0;

	if (kept > from + 1)
		kept = from + 1;
	if (oldest >= kept)
		return;
	command_begin(&p->command, "HDEL");
	add_metric_key(p, key, resolution);
	for (uint64_t span = oldest; span < kept; span++)
		command_u64(&p->command, span * width_ms);
	command_end(&p->command, &p->sink);
}

static void put_resolution(struct projection *p, struct str key, const struct metric_series *m,
                           unsigned r, struct written *w, bool whole)
{
	uint64_t newest = m->rings[r].newest, last = w->newest[r];

	if (!m->rings[r].counts)
		return;
	uint64_t spans = whole || last > newest ? m->rings[r].size : newest - last + 1;
	put_spans(p, key, m, r, spans < m->rings[r].size ? spans : m->rings[r].size);
	if (!whole && newest > last)
		drop_spans(p, key, r, last, newest);
	w->newest[r] = newest;
}

static void put_metric(struct projection *p, struct str key, bool whole)
{
	const struct metric_series *m = improvement_get(&p->state->improvement, key);
	struct written *w = map_get(&p->written, key);

	if (!m) {
		put_metric_delete(p, key);
		free(map_remove(&p->written, key));
		return;
	}
	if (!w) {
		w = xcalloc(1, sizeof(*w));
		map_put(&p->written, key, w);
		whole = true;
	}
	if (whole) {
		put_words(p, "MULTI", NULL, STR_NONE);
		put_metric_delete(p, key);
	}
	command_begin(&p->command, "SET");
	add_metric_key(p, key, 0);
	command_u64(&p->command, m->total);
	command_end(&p->command, &p->sink);
	for (unsigned r = 1; r < RESOLUTIONS; r++)
		put_resolution(p, key, m, r, w, whole);
	if (whole)
		put_words(p, "EXEC", NULL, STR_NONE);
}

void projection_put(struct projection *p, enum view_kind kind, struct str key, bool whole,
                    uint64_t now_ns)
{
	if (kind == VIEW_METRIC)
		put_metric(p, key, whole);
	else
		put_message(p, kind, key, whole, now_ns);
}

/* An incident's entry leaves out its two long lists: the stream keeps thousands of entries, and the whole stands under
 * the incident's own key. */
static void add_told_json(struct projection *p, enum view_kind kind, const ProtobufCMessage *m)
{
	if (kind == VIEW_INCIDENT) {
		Isod__V1__Incident brief = *(const Isod__V1__Incident *)m;
		brief.n_timeline = 0;
		brief.n_evidence = 0;
		pbjson_append(&p->command.text, &brief.base);
	} else {
		pbjson_append(&p->command.text, m);
	}
	command_cut(&p->command);
}

bool projection_tell(struct projection *p, enum view_kind kind, struct str key, uint64_t sequence,
                     uint64_t n)
{
	const struct kind *k = &kinds[kind];
	const ProtobufCMessage *m = k->told ? k->get(p->state, key) : NULL;

	if (!m)
		return false;
	command_begin(&p->command, "XADD");
	command_text(&p->command, PROJECTION_STREAM);
	command_text(&p->command, "MAXLEN");
	command_text(&p->command, "~");
	command_u64(&p->command, VIEW_STREAM_MAX);
	command_printf(&p->command, "%llu-%llu", (unsigned long long)sequence,
	               (unsigned long long)n);
	command_field(&p->command, "kind", str_of(k->name));
	command_field(&p->command, "id", key);
	command_text(&p->command, "json");
	add_told_json(p, kind, m);
	command_end(&p->command, &p->sink);
	return true;
}

void projection_put_node(struct projection *p, uint64_t now_ns, const uint8_t *head,
                         const char *const *more)
{
	const struct state *s = p->state;
	struct command *c = &p->command;
	char hex[HEX_BYTES(SHA256_BYTES)];

	command_begin(c, "HSET");
	command_printf(c, "iso:node:%s", p->node);
	command_field_time(c, "started", s->started_ns);
	command_field_time(c, "updated", now_ns);
	command_field_u64(c, "events", s->architecture.events);
	command_field_u64(c, "matches", s->matches);
	command_field_u64(c, "incidents", s->incident.count);
	command_field_u64(c, "incidents_open", s->incident.open);
	command_field_u64(c, "notifications_pending", s->reporting.pending_count);
	command_field_u64(c, "notifications_dead", s->reporting.dead);
	command_field_u64(c, "sources", s->architecture.sources.count);
	command_field_u64(c, "risk_half_life_ms", s->risk.half_life_ns / NS_PER_MS);
	command_field_u64(c, "ledger_sequence", s->sequence);
	command_field(c, "ledger_head",
	              head ? str_of(hex_encode(head, SHA256_BYTES, hex)) : STR(""));
	for (; *more; more += 2)
		command_field(c, more[0], str_of(more[1]));
	command_end(c, &p->sink);
}

/* ---- finding ---- */

bool projection_has(const struct projection *p, enum view_kind kind, struct str key)
{
	if (kind == VIEW_METRIC)
		return improvement_get(&p->state->improvement, key) != NULL;
	return kinds[kind].get(p->state, key) != NULL;
}

/* SCOPE:NAME:RES → SCOPE/NAME. The scope has no colon, so the first and the last one are the separators. */
static bool parse_metric(struct str name, char room[static PROJECTION_KEY_MAX], struct str *ret_key)
{
	struct str rest = name;
	struct str scope = str_split(&rest, ':');

	for (unsigned r = 0; rest.p && r < RESOLUTIONS; r++) {
		struct str resolution = str_of(resolution_names[r]);
		if (!str_ends(rest, resolution) || rest.n <= resolution.n ||
		    rest.p[rest.n - resolution.n - 1] != ':')
			continue;
		struct str metric = str_head(rest, rest.n - resolution.n - 1);
		if (scope.n + 1 + metric.n > PROJECTION_KEY_MAX)
			return false;
		memcpy(room, scope.p, scope.n);
		room[scope.n] = '/';
		if (metric.n)
			memcpy(room + scope.n + 1, metric.p, metric.n);
		*ret_key = str_make(room, scope.n + 1 + metric.n);
		return true;
	}
	return false;
}

static bool parse_key(const struct projection *p, enum view_kind kind, struct str name,
                      char room[static PROJECTION_KEY_MAX], struct str *ret_key)
{
	struct str prefix = str_of(kinds[kind].prefix), node = str_of(p->node);

	if (!str_starts(name, prefix))
		return false;
	name = str_skip(name, prefix.n);
	if (kinds[kind].per_node) {
		if (!str_starts(name, node) || name.n <= node.n || name.p[node.n] != ':')
			return false;
		name = str_skip(name, node.n + 1);
	}
	if (kind == VIEW_METRIC)
		return parse_metric(name, room, ret_key);
	*ret_key = name;
	return true;
}

bool projection_parse(const struct projection *p, const char *in, struct str name,
                      char room[static PROJECTION_KEY_MAX], enum view_kind *ret_kind,
                      struct str *ret_key)
{
	if (in) {
		*ret_kind = strcmp(in, SET_RISK) == 0 ? VIEW_RISK : VIEW_INCIDENT;
		*ret_key = name;
		return true;
	}
	for (unsigned k = 0; k < VIEW_KINDS; k++) {
		if (!parse_key(p, (enum view_kind)k, name, room, ret_key))
			continue;
		*ret_kind = (enum view_kind)k;
		return true;
	}
	return false;
}

/* ---- walking ---- */

void projection_walk_begin(struct projection_walk *w, unsigned kinds_wanted)
{
	*w = (struct projection_walk){.kinds = kinds_wanted};
}

/* Squeezing removed entries out moves those behind them towards the front: then this kind is walked again, which is
 * harmless. */
static bool walk_map(const struct map *m, struct projection_walk *w, struct str *ret_key)
{
	if (w->at > m->used || (w->at && m->entries[w->at - 1].key.p != w->last))
		w->at = 0;
	const struct map_entry *e = map_next(m, &w->at);
	if (!e)
		return false;
	w->last = e->key.p;
	*ret_key = e->key;
	return true;
}

bool projection_walk_next(const struct projection *p, struct projection_walk *w,
                          char room[static PROJECTION_KEY_MAX], enum view_kind *ret_kind,
                          struct str *ret_key)
{
	for (; w->kind < VIEW_KINDS; w->kind++, w->at = 0, w->id = 0) {
		const struct kind *k = &kinds[w->kind];
		if (!(w->kinds & 1u << w->kind))
			continue;
		if (k->next && k->next(p->state, &w->id)) {
			int n = snprintf(room, PROJECTION_KEY_MAX, "%" PRIu64, w->id);
			*ret_key = str_make(room, (size_t)n);
		} else if (!k->map || !walk_map(k->map(p->state), w, ret_key)) {
			continue;
		}
		*ret_kind = (enum view_kind)w->kind;
		return true;
	}
	return false;
}

/* ---- life ---- */

/* A node's name must not look like two parts of a key. */
static void escape_node(const char *node, char out[static VIEW_NODE_MAX])
{
	size_t n = 0;

	for (; *node && n + 4 < VIEW_NODE_MAX; node++) {
		unsigned char c = (unsigned char)*node;
		if (c <= ' ' || c == ':' || c == '%' || c == 0x7f)
			n += (size_t)snprintf(out + n, VIEW_NODE_MAX - n, "%%%02X", c);
		else
			out[n++] = (char)c;
	}
	out[n] = '\0';
}

struct projection *projection_new(const struct projection_options *o)
{
	struct projection *p = xcalloc(1, sizeof(*p));

	p->state = o->state;
	p->sink = o->sink;
	escape_node(o->node ? o->node : "", p->node);
	command_init(&p->command);
	map_init(&p->written);
	return p;
}

void projection_free(struct projection *p)
{
	if (!p)
		return;
	command_release(&p->command);
	map_release(&p->written, free);
	free(p);
}

const char *projection_node(const struct projection *p)
{
	return p->node;
}
