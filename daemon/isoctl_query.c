/* The commands that ask the running daemon: incidents, risk, metrics, notifications, watch. (status has a file of its
 * own, isoctl_status.c.) */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/pbjson.h"
#include "isoctl.h"
#include "isoctl_client.h"
#include "isoctl_options.h"
#include "isoctl_output.h"
#include "isoctl_query.h"
#include "isoctl_table.h"

#define ASK(name) ISOD__V1__REQUEST__ASK_##name
#define GOT(name) ISOD__V1__RESPONSE__ANSWER_##name

typedef Isod__V1__Request Request;
typedef Isod__V1__Response Response;

/* ---- shared ---- */

const char *query_enum(const ProtobufCEnumDescriptor *d, int value, char out[static QUERY_WORD])
{
	return pbjson_enum(d, value, out, QUERY_WORD);
}

static const char *level_word(Isod__V1__Level level, char out[static QUERY_WORD])
{
	return query_enum(&isod__v1__level__descriptor, (int)level, out);
}

static const char *state_word(Isod__V1__IncidentState state, char out[static QUERY_WORD])
{
	return query_enum(&isod__v1__incident_state__descriptor, (int)state, out);
}

static const char *kind_word(Isod__V1__EntityKind kind, char out[static QUERY_WORD])
{
	return query_enum(&isod__v1__entity_kind__descriptor, (int)kind, out);
}

static const char *time_word(uint64_t ns, char out[static CLOCK_TEXT_MAX])
{
	return ns ? clock_format(ns, out) : "-";
}

static int id_argument(const char *text, uint64_t *ret)
{
	if (str_to_u64(str_of(text), ret) == 0 && *ret > 0)
		return 0;
	fprintf(stderr, "isoctl: '%s' is no incident's number\n", text);
	return 2;
}

/* Asks one question on a connection of its own. */
static int ask_once(const struct isoctl *ctl, Request *q, Isod__V1__Response__AnswerCase wanted,
                    Response **ret)
{
	struct client *c;
	int r = client_open(ctl, &c);

	if (r)
		return r;
	r = client_ask(c, q, wanted, ret);
	client_close(c);
	return r;
}

/* The table, or in its place, when it is empty, `none` (NULL: nothing). */
static void print_table(const struct isoctl *ctl, struct table *t, const char *none)
{
	bool empty = t->used == 0;

	table_print(t);
	if (empty && none && !ctl->json)
		printf("%s\n", none);
}

/* ---- incidents list ---- */

/* The entity that says most: where it comes from, else who, else where. */
static const char *main_entity(const Isod__V1__Incident *i)
{
	const Isod__V1__Entity *best = NULL;
	static const int rank[] = {0, 2, 1, 3}; /* by kind: unknown, user, host, address */

	for (size_t n = 0; n < i->n_entities; n++) {
		const Isod__V1__Entity *e = i->entities[n];
		if (!best || rank[e->kind & 3] > rank[best->kind & 3])
			best = e;
	}
	return best ? best->name : "-";
}

/* "triaged,closed"; "open" stands for all that are not closed. 0 or 2. */
static int parse_states(const char *text, Isod__V1__IncidentState *states, size_t max,
                        size_t *count)
{
	struct str rest = str_of(text);
	int value;

	while (rest.p) {
		struct str word = str_split(&rest, ',');
		if (str_ieq(word, STR("open"))) {
			for (int s = ISOD__V1__INCIDENT_STATE__INCIDENT_DETECTED;
			     s < ISOD__V1__INCIDENT_STATE__INCIDENT_CLOSED && *count < max; s++)
				states[(*count)++] = (Isod__V1__IncidentState)s;
		} else if (*count < max && pbjson_enum_parse(&isod__v1__incident_state__descriptor,
		                                             word, &value) == 0) {
			states[(*count)++] = (Isod__V1__IncidentState)value;
		} else {
			fprintf(stderr,
			        "isoctl: --state wants open, detected, triaged, contained, "
			        "eradicated, recovered, closed or reviewed, not '%.*s'\n",
			        STR_FMT(word));
			return 2;
		}
	}
	return 0;
}

/* "user:alice", "address:192.0.2.1", or a name of any kind. `canonical` holds an address's canonical text. */
static void parse_entity(const char *text, Isod__V1__Entity *e, char canonical[static NET_TEXT_MAX])
{
	const char *colon = strchr(text, ':');
	int kind;

	e->name = (char *)(uintptr_t)text;
	if (colon && pbjson_enum_parse(&isod__v1__entity_kind__descriptor,
	                               str_make(text, (size_t)(colon - text)), &kind) == 0) {
		e->kind = (Isod__V1__EntityKind)kind;
		e->name = (char *)(uintptr_t)(colon + 1);
	}
	if (net_is_address(str_of(e->name), canonical))
		e->name = canonical;
}

static void add_incident_row(struct table *t, const Isod__V1__Incident *i)
{
	char word[QUERY_WORD], age[24];

	table_add(t, "%" PRIu64, i->id);
	table_add(t, "%s", level_word(i->severity, word));
	table_add(t, "%s", state_word(i->state, word));
	table_add(t, "%s", table_age(i->changed_ns, age));
	table_add(t, "%" PRIu64, i->matches);
	table_add(t, "%s", main_entity(i));
	table_add(t, "%s", i->title);
}

static const struct table_column incident_columns[] = {
	{"ID", 12, true},     {"SEVERITY", 13, false}, {"STATE", 10, false}, {"AGE", 6, true},
	{"MATCHES", 9, true}, {"ENTITY", 20, false},   {"TITLE", 0, false},
};

/* Pages through the list until `limit` (0: the daemon's own first page). */
static int list_pages(const struct isoctl *ctl, Isod__V1__ListIncidentsRequest *ask, uint64_t limit)
{
	Request q = ISOD__V1__REQUEST__INIT;
	Response *a;
	struct client *c;
	struct table table;
	uint64_t shown = 0;
	bool more = true;

	q.ask_case = ASK(LIST_INCIDENTS);
	q.list_incidents = ask;
	int r = client_open(ctl, &c);
	if (r)
		return r;
	table_init(&table, incident_columns, ARRAY_LEN(incident_columns));
	while (r == 0 && more && (shown == 0 || shown < limit)) {
		ask->limit = limit - shown > UINT32_MAX ? UINT32_MAX : (uint32_t)(limit - shown);
		r = client_ask(c, &q, GOT(INCIDENTS), &a);
		if (r)
			break;
		for (size_t i = 0; i < a->incidents->n_incidents; i++, shown++) {
			const Isod__V1__Incident *incident = a->incidents->incidents[i];
			ask->before_id = incident->id;
			if (ctl->json)
				output_json(&incident->base);
			else
				add_incident_row(&table, incident);
		}
		more = a->incidents->more && a->incidents->n_incidents > 0;
		isod__v1__response__free_unpacked(a, NULL);
	}
	client_close(c);
	print_table(ctl, &table, r ? NULL : "no incidents");
	if (r == 0 && more && limit == 0)
		fprintf(stderr, "isoctl: there are more (--limit)\n");
	return r;
}

static int incidents_list(const struct isoctl *ctl, int argc, char **argv)
{
	Isod__V1__ListIncidentsRequest ask = ISOD__V1__LIST_INCIDENTS_REQUEST__INIT;
	Isod__V1__Entity entity = ISOD__V1__ENTITY__INIT;
	Isod__V1__IncidentState states[16];
	const char *state = NULL, *name = NULL;
	char canonical[NET_TEXT_MAX];
	int severity = 0;
	uint64_t limit = 0;
	const struct isoctl_option options[] = {
		{.name = "--state", .text = &state},
		{.name = "--severity",
	         .choice = &severity,
	         .choices = &isod__v1__level__descriptor},
		{.name = "--entity", .text = &name},
		{.name = "--since", .time = &ask.since_ns},
		{.name = "--limit", .number = &limit},
		{0},
	};

	int r = isoctl_options(options, &argc, argv, 0);
	if (r == 0 && state)
		r = parse_states(state, states, ARRAY_LEN(states), &ask.n_states);
	if (r)
		return r;
	ask.states = states;
	ask.min_severity = (Isod__V1__Level)severity;
	if (name) {
		parse_entity(name, &entity, canonical);
		ask.entity = &entity;
	}
	return list_pages(ctl, &ask, limit);
}

/* ---- one incident ---- */

static void print_joined(const char *name, char **words, size_t count)
{
	struct buf line;

	buf_init(&line, 0);
	for (size_t i = 0; i < count; i++)
		buf_printf(&line, "%s%s", i ? ", " : "", words[i]);
	if (count)
		table_line(name, "%s", buf_cstr(&line));
	buf_release(&line);
}

static void print_timeline(const Isod__V1__Incident *i)
{
	static const struct table_column columns[] = {{"TIME (UTC)", 24, false},
	                                              {"TIMES", 7, true},
	                                              {"WHO", 16, false},
	                                              {"WHAT", 0, false}};
	struct table t;
	char time[CLOCK_TEXT_MAX];

	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t n = 0; n < i->n_timeline; n++) {
		const Isod__V1__TimelineEntry *e = i->timeline[n];
		struct str when = str_of(time_word(e->time_ns, time));
		table_add(&t, "%.*s %.*s", STR_FMT(str_head(when, 10)),
		          STR_FMT(str_head(str_skip(when, 11), 8)));
		table_add(&t, "%" PRIu64, e->count ? e->count : 1);
		table_add(&t, "%s", e->who[0] ? e->who : "isod");
		table_add(&t, "%s", e->text);
	}
	if (i->n_timeline)
		printf("\n");
	table_print(&t);
	if (i->timeline_omitted)
		printf("and %" PRIu64 " more\n", i->timeline_omitted);
}

static void print_incident(const Isod__V1__Incident *i)
{
	char word[QUERY_WORD], other[QUERY_WORD], time[CLOCK_TEXT_MAX], age[24];

	table_line("incident", "%" PRIu64 ": %s", i->id, i->title);
	table_line("severity", "%s", level_word(i->severity, word));
	table_line("state", "%s%s%s", state_word(i->state, word), i->owner[0] ? ", by " : "",
	           i->owner);
	if (i->disposition)
		table_line(
			"disposition", "%s",
			query_enum(&isod__v1__disposition__descriptor, (int)i->disposition, word));
	table_line("opened", "%s (%s ago)", time_word(i->opened_ns, time),
	           table_age(i->opened_ns, age));
	table_line("changed", "%s (%s ago)", time_word(i->changed_ns, time),
	           table_age(i->changed_ns, age));
	table_line("first event", "%s", time_word(i->first_ns, time));
	table_line("last event", "%s", time_word(i->last_ns, time));
	table_line("matches", "%" PRIu64, i->matches);
	for (size_t n = 0; n < i->n_entities; n++)
		table_line(kind_word(i->entities[n]->kind, word), "%s", i->entities[n]->name);
	print_joined("tactics", i->tactics, i->n_tactics);
	print_joined("techniques", i->techniques, i->n_techniques);
	for (size_t n = 0; n < i->n_rules; n++)
		table_line("rule", "%" PRIu64 " x %s (%s)", i->rules[n]->count, i->rules[n]->title,
		           level_word(i->rules[n]->level, other));
	if (i->note[0])
		table_line("note", "%s", i->note);
	table_line("evidence", "%zu frames", i->n_evidence + (size_t)i->evidence_omitted);
	print_timeline(i);
}

/* Asks what is answered with one incident, and shows that. */
static int ask_incident(const struct isoctl *ctl, Request *q)
{
	Response *a;
	int r = ask_once(ctl, q, GOT(INCIDENT), &a);

	if (r)
		return r;
	if (ctl->json)
		output_json(&a->incident->base);
	else
		print_incident(a->incident);
	isod__v1__response__free_unpacked(a, NULL);
	return 0;
}

static const struct isoctl_command *command_of(const char *verb)
{
	const struct isoctl_command *c = isoctl_query_commands;

	while (c->family &&
	       !(c->verb && strcmp(c->family, "incidents") == 0 && strcmp(c->verb, verb) == 0))
		c++;
	return c;
}

/* The options, then exactly one argument: an incident's number. */
static int id_and_options(const char *verb, const struct isoctl_option *options, int argc,
                          char **argv, uint64_t *ret)
{
	int r = isoctl_options(options, &argc, argv, 1);

	if (r)
		return r;
	return argc == 1 ? id_argument(argv[0], ret) : isoctl_usage(command_of(verb));
}

static int incidents_show(const struct isoctl *ctl, int argc, char **argv)
{
	static const struct isoctl_option none[] = {{0}};
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__ShowIncidentRequest ask = ISOD__V1__SHOW_INCIDENT_REQUEST__INIT;
	int r = id_and_options("show", none, argc, argv, &ask.incident);

	q.ask_case = ASK(SHOW_INCIDENT);
	q.show_incident = &ask;
	return r ? r : ask_incident(ctl, &q);
}

static int incidents_ack(const struct isoctl *ctl, int argc, char **argv)
{
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__AcknowledgeIncident ask = ISOD__V1__ACKNOWLEDGE_INCIDENT__INIT;
	const char *note = "";
	const struct isoctl_option options[] = {{.name = "--note", .text = &note}, {0}};
	int r = id_and_options("ack", options, argc, argv, &ask.incident);

	ask.note = (char *)(uintptr_t)note;
	q.ask_case = ASK(ACKNOWLEDGE);
	q.acknowledge = &ask;
	return r ? r : ask_incident(ctl, &q);
}

static int incidents_close(const struct isoctl *ctl, int argc, char **argv)
{
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__CloseIncident ask = ISOD__V1__CLOSE_INCIDENT__INIT;
	const char *note = "";
	int disposition = 0;
	const struct isoctl_option options[] = {
		{.name = "--note", .text = &note},
		{.name = "--as",
	         .choice = &disposition,
	         .choices = &isod__v1__disposition__descriptor},
		{0},
	};
	int r = id_and_options("close", options, argc, argv, &ask.incident);

	if (r == 0 && disposition == 0)
		r = isoctl_usage(command_of("close"));
	ask.note = (char *)(uintptr_t)note;
	ask.disposition = (Isod__V1__Disposition)disposition;
	q.ask_case = ASK(CLOSE);
	q.close = &ask;
	return r ? r : ask_incident(ctl, &q);
}

/* ---- risk ---- */

static int risk_top_command(const struct isoctl *ctl, int argc, char **argv)
{
	static const struct table_column columns[] = {{"SCORE", 12, true},
	                                              {"KIND", 8, false},
	                                              {"ENTITY", 40, false},
	                                              {"MATCHES", 10, true},
	                                              {"INCIDENT", 10, true}};
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__RiskRequest ask = ISOD__V1__RISK_REQUEST__INIT;
	Response *a;
	struct table t;
	char word[QUERY_WORD];
	uint64_t limit = 0;
	int kind = 0;
	const struct isoctl_option options[] = {
		{.name = "--kind", .choice = &kind, .choices = &isod__v1__entity_kind__descriptor},
		{.name = "--limit", .number = &limit, .most = 1000},
		{0},
	};
	int r = isoctl_options(options, &argc, argv, 0);

	if (r)
		return r;
	ask.kind = (Isod__V1__EntityKind)kind;
	ask.limit = (uint32_t)limit;
	q.ask_case = ASK(RISK);
	q.risk = &ask;
	r = ask_once(ctl, &q, GOT(RISK), &a);
	if (r)
		return r;
	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < a->risk->n_entities; i++) {
		const Isod__V1__EntityRisk *e = a->risk->entities[i];
		if (ctl->json) {
			output_json(&e->base);
			continue;
		}
		table_add(&t, "%" PRIu64 ".%" PRIu64, e->score_milli / 1000,
		          e->score_milli % 1000 / 100);
		table_add(&t, "%s", kind_word(e->entity->kind, word));
		table_add(&t, "%s", e->entity->name);
		table_add(&t, "%" PRIu64, e->matches);
		table_add(&t, e->last_incident ? "%" PRIu64 : "-", e->last_incident);
	}
	print_table(ctl, &t, "nothing is at risk");
	isod__v1__response__free_unpacked(a, NULL);
	return 0;
}

/* ---- metrics ---- */

/* The newest points as a row of blocks, each as high as its share of the highest. */
static void draw_points(const Isod__V1__MetricSeries *s, size_t max, struct buf *out)
{
	static const char *const blocks[] = {"·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	size_t from = s->n_points > max ? s->n_points - max : 0;
	uint64_t highest = 1;

	for (size_t i = from; i < s->n_points; i++)
		highest = s->points[i]->count > highest ? s->points[i]->count : highest;
	for (size_t i = from; i < s->n_points; i++) {
		uint64_t n = s->points[i]->count;
		size_t share = (size_t)((double)n * 8 / (double)highest);
		buf_printf(out, "%s", blocks[n == 0 ? 0 : share < 1 ? 1 : share]);
	}
}

static void add_metric_row(struct table *t, const Isod__V1__MetricSeries *s)
{
	struct buf drawn;

	buf_init(&drawn, 0);
	draw_points(s, 30, &drawn);
	table_add(t, "%s", s->scope);
	table_add(t, "%s", s->name);
	table_add(t, "%" PRIu64, s->total);
	table_add(t, "%" PRIu64, s->n_points ? s->points[s->n_points - 1]->count : 0);
	table_add(t, "%s", buf_cstr(&drawn));
	buf_release(&drawn);
}

static int metric_pages(const struct isoctl *ctl, Isod__V1__MetricsRequest *ask)
{
	static const struct table_column columns[] = {{"SCOPE", 10, false},
	                                              {"NAME", 24, false},
	                                              {"TOTAL", 9, true},
	                                              {"LAST", 7, true},
	                                              {"TREND", 0, false}};
	Request q = ISOD__V1__REQUEST__INIT;
	Response *a;
	struct client *c;
	struct table t;
	char *after = NULL;
	bool more = true;
	int r = client_open(ctl, &c);

	if (r)
		return r;
	q.ask_case = ASK(METRICS);
	q.metrics = ask;
	table_init(&t, columns, ARRAY_LEN(columns));
	while (more && (r = client_ask(c, &q, GOT(METRICS), &a)) == 0) {
		const Isod__V1__MetricList *list = a->metrics;
		for (size_t i = 0; i < list->n_series; i++) {
			if (ctl->json)
				output_json(&list->series[i]->base);
			else
				add_metric_row(&t, list->series[i]);
		}
		more = list->more && list->n_series > 0;
		if (more) {
			const Isod__V1__MetricSeries *last = list->series[list->n_series - 1];
			free(after);
			ask->after = after = xasprintf("%s/%s", last->scope, last->name);
		}
		isod__v1__response__free_unpacked(a, NULL);
	}
	free(after);
	client_close(c);
	print_table(ctl, &t, r ? NULL : "nothing was counted");
	return r;
}

static int metrics(const struct isoctl *ctl, int argc, char **argv)
{
	Isod__V1__MetricsRequest ask = ISOD__V1__METRICS_REQUEST__INIT;
	const char *scope = "", *name = "";
	uint64_t points = 0;
	int resolution = 0;
	bool prometheus = false;
	const struct isoctl_option options[] = {
		{.name = "--prometheus", .flag = &prometheus},
		{.name = "--scope", .text = &scope},
		{.name = "--name", .text = &name},
		{.name = "--resolution",
	         .choice = &resolution,
	         .choices = &isod__v1__resolution__descriptor},
		{.name = "--points", .number = &points, .most = 400},
		{0},
	};
	int r = isoctl_options(options, &argc, argv, 0);

	if (r)
		return r;
	if (prometheus)
		return query_prometheus(ctl);
	ask.scope = (char *)(uintptr_t)scope;
	ask.name = (char *)(uintptr_t)name;
	ask.resolution = (Isod__V1__Resolution)resolution;
	ask.points = (uint32_t)points;
	return metric_pages(ctl, &ask);
}

/* ---- notifications ---- */

static void add_notification_row(struct table *t, const Isod__V1__Notification *n)
{
	char word[QUERY_WORD], age[24];

	table_add(t, "%" PRIu64, n->id);
	table_add(t, "%" PRIu64, n->incident);
	table_add(t, "%s",
	          query_enum(&isod__v1__notification_state__descriptor, (int)n->state, word));
	table_add(t, "%u", n->attempts);
	table_add(t, "%s", table_age(n->finished_ns ? n->finished_ns : n->created_ns, age));
	table_add(t, "%s", n->plugin);
	table_add(t, "%s%s%s", n->reason, n->detail[0] ? ": " : "", n->detail);
}

static int notifications(const struct isoctl *ctl, int argc, char **argv)
{
	static const struct table_column columns[] = {
		{"ID", 12, true}, {"INCIDENT", 12, true}, {"STATE", 10, false}, {"TRIES", 5, true},
		{"AGE", 6, true}, {"PLUGIN", 16, false},  {"WHAT", 0, false}};
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__ListNotificationsRequest ask = ISOD__V1__LIST_NOTIFICATIONS_REQUEST__INIT;
	Response *a;
	struct table t;
	uint64_t limit = 0;
	const struct isoctl_option options[] = {{.name = "--incident", .number = &ask.incident},
	                                        {.name = "--limit", .number = &limit, .most = 1000},
	                                        {0}};
	int r = isoctl_options(options, &argc, argv, 0);

	if (r)
		return r;
	ask.limit = (uint32_t)limit;
	q.ask_case = ASK(LIST_NOTIFICATIONS);
	q.list_notifications = &ask;
	r = ask_once(ctl, &q, GOT(NOTIFICATIONS), &a);
	if (r)
		return r;
	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < a->notifications->n_notifications; i++) {
		if (ctl->json)
			output_json(&a->notifications->notifications[i]->base);
		else
			add_notification_row(&t, a->notifications->notifications[i]);
	}
	print_table(ctl, &t, "no notifications");
	isod__v1__response__free_unpacked(a, NULL);
	return 0;
}

/* ---- watch ---- */

static void print_change(const Isod__V1__Incident *i)
{
	char level[QUERY_WORD], state[QUERY_WORD], time[CLOCK_TEXT_MAX];
	size_t line = table_width();
	struct buf text, safe;

	buf_init(&text, 0);
	buf_init(&safe, 0);
	/* The time of day is enough for who looks on. */
	struct str day = str_of(time_word(i->changed_ns, time));
	buf_printf(&text, "%.*s  %-8s  %-9s  %4" PRIu64 "  %5" PRIu64 "x  %s  %s",
	           STR_FMT(str_head(str_skip(day, 11), 8)), level_word(i->severity, level),
	           state_word(i->state, state), i->id, i->matches, main_entity(i), i->title);
	table_safe(&safe, buf_cstr(&text), line);
	printf("%s\n", buf_cstr(&safe));
	buf_release(&text);
	buf_release(&safe);
}

static int watch(const struct isoctl *ctl, int argc, char **argv)
{
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__WatchRequest ask = ISOD__V1__WATCH_REQUEST__INIT;
	Response *a;
	struct client *c;
	int severity = 0;
	const struct isoctl_option options[] = {
		{.name = "--severity",
	         .choice = &severity,
	         .choices = &isod__v1__level__descriptor},
		{0},
	};
	int r = isoctl_options(options, &argc, argv, 0);

	if (r == 0)
		r = client_open(ctl, &c);
	if (r)
		return r;
	ask.min_severity = (Isod__V1__Level)severity;
	ask.snapshot = true;
	q.ask_case = ASK(WATCH);
	q.watch = &ask;
	r = client_ask(c, &q, GOT(WATCHING), &a);
	if (r == 0)
		isod__v1__response__free_unpacked(a, NULL);
	while (r == 0 && (r = client_next(c, &a)) == 0) {
		if (a->answer_case == GOT(INCIDENT) && ctl->json)
			output_json(&a->incident->base);
		else if (a->answer_case == GOT(INCIDENT))
			print_change(a->incident);
		isod__v1__response__free_unpacked(a, NULL);
		if (fflush(stdout) != 0)
			break; /* whoever read us has gone */
	}
	client_close(c);
	return r;
}

const struct isoctl_command isoctl_query_commands[] = {
	{"status", NULL, "[--sources]", "what the daemon does, and whom it takes you for",
         query_status},
	{"incidents", "list",
         "[--state STATE,…|open] [--severity LEVEL] [--entity [KIND:]NAME] [--since TIME] [--limit "
         "N]",
         "incidents, newest first", incidents_list},
	{"incidents", "show", "ID", "one incident with its timeline", incidents_show},
	{"incidents", "ack", "ID [--note TEXT]", "acknowledge: you take care of it", incidents_ack},
	{"incidents", "close",
         "ID --as true_positive|false_positive|benign|duplicate [--note TEXT]",
         "close it, and say what it was", incidents_close},
	{"risk", "top", "[--kind user|host|address] [--limit N]",
         "who and what is most at risk now", risk_top_command},
	{"metrics", NULL,
         "[--scope SCOPE] [--name NAME] [--resolution minute|hour|day] [--points N] | --prometheus",
         "what was counted; all that isod knows of itself, as Prometheus reads it", metrics},
	{"notifications", NULL, "[--incident ID] [--limit N]",
         "who was told what, and whether it arrived", notifications},
	{"watch", NULL, "[--severity LEVEL]", "incidents as they change, until interrupted", watch},
	{0},
};
