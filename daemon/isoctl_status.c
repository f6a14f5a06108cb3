/* isoctl status: what the daemon does, in one look. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/mem.h"
#include "isoctl_client.h"
#include "isoctl_options.h"
#include "isoctl_output.h"
#include "isoctl_query.h"
#include "isoctl_table.h"

static void print_summary(const Isod__V1__Status *s)
{
	char word[QUERY_WORD], time[CLOCK_TEXT_MAX], age[24];

	table_line("isod", "%s on %s", s->version, s->node);
	table_line("running since", "%s (%s)",
	           s->started_ns ? clock_format(s->started_ns, time) : "-",
	           table_age(s->started_ns, age));
	table_line("you", "%s, %s", s->you,
	           query_enum(&isod__v1__role__descriptor, (int)s->your_role, word));
	if (s->api_address[0])
		table_line("API over TLS", "%s", s->api_address);
	table_line("rules", "%" PRIu64 ", and %" PRIu64 " correlations, loaded %s ago%s", s->rules,
	           s->correlations, table_age(s->rules_loaded_ns, age),
	           s->rules_compiled ? "" : "; being compiled");
	if (s->rules_error[0])
		table_line("newer rules", "REFUSED: %s", s->rules_error);
	table_line("events", "%" PRIu64 ", %" PRIu64 " matches", s->events, s->matches);
	table_line("incidents", "%" PRIu64 " open of %" PRIu64, s->incidents_open,
	           s->incidents_total);
	table_line("notifications", "%" PRIu64 " pending, %" PRIu64 " given up",
	           s->notifications_pending, s->notifications_dead);
	table_line("ledger", "sequence %" PRIu64 ", head %.16s…", s->ledger_sequence,
	           s->ledger_head);
	table_line("view", "%s, %" PRIu64 " keys to write",
	           s->view_connected ? "connected" : "NOT connected", s->view_dirty);
}

static void print_listeners(const Isod__V1__Status *s)
{
	static const struct table_column columns[] = {
		{"LISTENER", 12, false}, {"ADDRESS", 26, false}, {"OPEN", 6, true},
		{"FRAMES", 11, true},    {"REFUSED", 8, true},   {"TLS FAILED", 10, true}};
	struct table t;

	if (!s->n_listeners)
		return;
	printf("\n");
	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < s->n_listeners; i++) {
		const Isod__V1__ListenerStatus *l = s->listeners[i];
		table_add(&t, "%s", l->name);
		table_add(&t, "%s", l->address);
		table_add(&t, "%" PRIu64, l->connections);
		table_add(&t, "%" PRIu64, l->frames);
		table_add(&t, "%" PRIu64, l->refused);
		table_add(&t, "%" PRIu64, l->tls_failures);
	}
	table_print(&t);
}

static void print_plugins(const Isod__V1__Status *s)
{
	static const struct table_column columns[] = {
		{"PLUGIN", 16, false},   {"RUNS", 4, false},  {"RESTARTS", 8, true},
		{"DELIVERED", 10, true}, {"FAILED", 8, true}, {"LAST ERROR", 0, false}};
	struct table t;

	if (!s->n_plugins)
		return;
	printf("\n");
	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < s->n_plugins; i++) {
		const Isod__V1__PluginStatus *p = s->plugins[i];
		table_add(&t, "%s", p->name);
		table_add(&t, "%s", p->running ? "yes" : "NO");
		table_add(&t, "%" PRIu64, p->restarts);
		table_add(&t, "%" PRIu64, p->delivered);
		table_add(&t, "%" PRIu64, p->failed);
		table_add(&t, "%s", p->last_error);
	}
	table_print(&t);
}

static void print_counters(const Isod__V1__Status *s)
{
	static const struct table_column columns[] = {{"COUNTER", 40, false}, {"VALUE", 20, true}};
	struct table t;
	bool any = false;

	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < s->n_counters; i++) {
		if (s->counters[i]->value == 0)
			continue;
		any = true;
		table_add(&t, "%s", s->counters[i]->name);
		table_add(&t, "%" PRIu64, s->counters[i]->value);
	}
	if (any)
		printf("\n");
	table_print(&t);
}

static void print_sources(const Isod__V1__Status *s)
{
	static const struct table_column columns[] = {{"SOURCE", 28, false}, {"RECEIVED", 10, true},
	                                              {"MATCHED", 9, true},  {"UNDECODED", 9, true},
	                                              {"CUT", 6, true},      {"REFUSED", 8, true},
	                                              {"LAST", 5, true}};
	struct table t;
	char age[24];

	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < s->n_sources; i++) {
		const Isod__V1__SourceStatus *from = s->sources[i];
		table_add(&t, "%s", from->source);
		table_add(&t, "%" PRIu64, from->received);
		table_add(&t, "%" PRIu64, from->matched);
		table_add(&t, "%" PRIu64, from->undecoded);
		table_add(&t, "%" PRIu64, from->truncated);
		table_add(&t, "%" PRIu64, from->refused);
		table_add(&t, "%s", table_age(from->last_received_ns, age));
	}
	if (s->n_sources)
		printf("\n");
	table_print(&t);
}

/* Adds the sources that did not fit into the first answer. */
static int more_sources(struct client *c, Isod__V1__Status *s)
{
	Isod__V1__StatusRequest ask = ISOD__V1__STATUS_REQUEST__INIT;
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__Response *a;

	ask.sources = true;
	q.ask_case = ISOD__V1__REQUEST__ASK_STATUS;
	q.status = &ask;
	while (s->more_sources && s->n_sources) {
		ask.sources_after = s->sources[s->n_sources - 1]->source;
		int r = client_ask(c, &q, ISOD__V1__RESPONSE__ANSWER_STATUS, &a);
		if (r)
			return r;
		size_t count = a->status->n_sources;
		s->sources = xrealloc(s->sources, (s->n_sources + count) * sizeof(*s->sources));
		for (size_t i = 0; i < count; i++)
			s->sources[s->n_sources++] = a->status->sources[i];
		s->more_sources = a->status->more_sources && count > 0;
		a->status->n_sources = 0; /* they are ours now */
		isod__v1__response__free_unpacked(a, NULL);
	}
	return 0;
}

int query_status(const struct isoctl *ctl, int argc, char **argv)
{
	Isod__V1__StatusRequest ask = ISOD__V1__STATUS_REQUEST__INIT;
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__Response *a;
	struct client *c;
	bool sources = false;
	const struct isoctl_option options[] = {{.name = "--sources", .flag = &sources}, {0}};
	int r = isoctl_options(options, &argc, argv, 0);

	if (r == 0)
		r = client_open(ctl, &c);
	if (r)
		return r;
	ask.sources = sources;
	q.ask_case = ISOD__V1__REQUEST__ASK_STATUS;
	q.status = &ask;
	r = client_ask(c, &q, ISOD__V1__RESPONSE__ANSWER_STATUS, &a);
	if (r == 0) {
		r = more_sources(c, a->status);
		if (r == 0 && ctl->json) {
			output_json(&a->status->base);
		} else if (r == 0) {
			print_summary(a->status);
			print_listeners(a->status);
			print_plugins(a->status);
			print_counters(a->status);
			print_sources(a->status);
		}
		isod__v1__response__free_unpacked(a, NULL);
	}
	client_close(c);
	return r;
}
