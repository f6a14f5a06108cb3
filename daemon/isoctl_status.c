/* isoctl status: what the daemon does, in one look. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "isoctl_client.h"
#include "isoctl_options.h"
#include "isoctl_output.h"
#include "isoctl_query.h"
#include "isoctl_table.h"
#include "view/metrics.h"

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

static void add_connections_refused(struct table *t, const Isod__V1__ListenerStatus *l)
{
	const struct {
		const char *word;
		uint64_t count;
	} reasons[] = {{"connections_max", l->refused_connections_max},
	               {"peer_connections_max", l->refused_peer_connections_max},
	               {"peer_connects", l->refused_peer_connects}};
	struct buf text;

	buf_init(&text, 0);
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].count)
			buf_printf(&text, "%s%s %" PRIu64, text.n ? ", " : "", reasons[i].word,
			           reasons[i].count);
	table_add(t, "%s", buf_cstr(&text));
	buf_release(&text);
}

static void print_listeners(const Isod__V1__Status *s)
{
	static const struct table_column columns[] = {
		{"LISTENER", 12, false},  {"ADDRESS", 22, false}, {"OPEN", 6, true},
		{"FRAMES", 11, true},     {"REFUSED", 8, true},   {"TLS FAILED", 10, true},
		{"TURNED AWAY", 0, false}};
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
		add_connections_refused(&t, l);
	}
	table_print(&t);
}

/* "12 d", "5 h", "ENDED" */
static const char *days_left(uint64_t until_ns, uint64_t now_ns, char out[static 24])
{
	uint64_t left = until_ns > now_ns ? until_ns - now_ns : 0;

	if (!left)
		return strcpy(out, "ENDED");
	if (left > 2 * NS_PER_DAY)
		snprintf(out, 24, "%" PRIu64 " d", left / NS_PER_DAY);
	else
		snprintf(out, 24, "%" PRIu64 " h", left / NS_PER_HOUR);
	return out;
}

static void print_certificates(const Isod__V1__Status *s)
{
	static const struct table_column columns[] = {{"CERTIFICATE", 36, false},
	                                              {"OF", 24, false},
	                                              {"LEFT", 6, true},
	                                              {"UNTIL", 0, false}};
	char left[24], when[CLOCK_TEXT_MAX];
	struct table t;

	if (s->certificates_error[0])
		printf("\ncertificates refused: %s\n", s->certificates_error);
	if (!s->n_certificates)
		return;
	printf("\n");
	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < s->n_certificates; i++) {
		const Isod__V1__CertificateStatus *c = s->certificates[i];
		table_add(&t, "%s", c->name);
		table_add(&t, "%s%s",
		          c->revocations ? "revocations, "
		          : c->peer      ? "a sender to "
		                         : "",
		          c->listener);
		table_add(&t, "%s", days_left(c->until_ns, s->now_ns, left));
		table_add(&t, "%.10s", clock_format(c->until_ns, when));
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

/* ---- the account of the sources ---- */

/* "9999", "12K", "4M" */
static const char *short_number(uint64_t n, char out[static 24])
{
	static const char units[] = " KMGTPE";
	size_t unit = 0;

	for (; n >= 10000; n /= 1000)
		unit++;
	snprintf(out, 24, unit ? "%" PRIu64 "%c" : "%" PRIu64, n, units[unit]);
	return out;
}

/* Arrival less the time that the last event told, in the unit that tells most: "3s", "-2h". */
static const char *short_lag(int64_t ns, char out[static 24])
{
	static const struct {
		double seconds;
		const char *unit;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}, {0.001, "ms"}};
	double seconds = (double)ns / 1e9;

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		double n = seconds / units[i].seconds;
		if (n < 1 && n > -1)
			continue;
		snprintf(out, 24, "%.0f%s", n, units[i].unit);
		return out;
	}
	return strcpy(out, "0");
}

/* "framing 3, kernel 10" */
static void list_reasons(const Isod__V1__SourceStatus *s, struct buf *out)
{
	for (const struct metrics_reason *r = metrics_reasons; r->word; r++) {
		uint64_t lost = metrics_lost(s, r);
		if (lost)
			buf_printf(out, "%s%s %" PRIu64, out->n ? ", " : "", r->word, lost);
	}
}

/* The numbers must be whole, so the name stands where the line may be cut. */
static void add_account(struct table *t, const char *name, const Isod__V1__SourceStatus *s)
{
	int64_t difference = metrics_difference(s);

	table_add(t, "%" PRIu64, s->received);
	table_add(t, "%" PRIu64, s->matched);
	table_add(t, "%" PRIu64, s->unmatched);
	table_add(t, "%" PRIu64, s->undecoded);
	table_add(t, "%" PRIu64, s->refused);
	table_add(t, "%" PRIu64, s->shed);
	if (difference)
		table_add(t, "%+" PRId64, difference);
	else
		table_add(t, "✓");
	table_add(t, "%s", name);
}

static void print_account(const Isod__V1__Status *s)
{
	static const struct table_column columns[] = {
		{"RECEIVED", 20, true},   {"=MATCHED", 20, true}, {"+UNMATCHED", 20, true},
		{"+UNDECODED", 20, true}, {"+REFUSED", 20, true}, {"+SHED", 20, true},
		{"", 20, true},           {"SOURCE", 0, false}};
	const Isod__V1__SourceStatus all = metrics_sum(s->sources, s->n_sources);
	struct table t;

	printf("\n");
	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < s->n_sources; i++)
		add_account(&t, s->sources[i]->source, s->sources[i]);
	add_account(&t, "all sources", &all);
	table_print(&t);
}

static void print_sources(const Isod__V1__Status *s)
{
	static const struct table_column columns[] = {
		{"SOURCE", 28, false}, {"BYTES", 7, true}, {"CUT", 6, true},
		{"LAST", 5, true},     {"LAG", 6, true},   {"WHY REFUSED OR SHED", 0, false}};
	struct table t;
	char text[24];

	if (!s->n_sources)
		return;
	print_account(s);
	printf("\n");
	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < s->n_sources; i++) {
		const Isod__V1__SourceStatus *from = s->sources[i];
		struct buf why;
		buf_init(&why, 0);
		list_reasons(from, &why);
		table_add(&t, "%s", from->source);
		table_add(&t, "%s", short_number(from->bytes, text));
		table_add(&t, "%s", short_number(from->truncated, text));
		table_add(&t, "%s", table_age(from->last_received_ns, text));
		table_add(&t, "%s", short_lag(from->clock_skew_ns, text));
		table_add(&t, "%s", buf_cstr(&why));
		buf_release(&why);
	}
	table_print(&t);
}

/* ---- how far the workers are ---- */

static void print_workers(const Isod__V1__Status *s)
{
	static const struct table_column columns[] = {
		{"WORKER", 6, true}, {"IN EVIDENCE", 12, true}, {"NOT DETECTED", 12, true},
		{"BYTES", 8, true},  {"OLDEST", 8, true},       {"NOT COUNTED", 12, true},
		{"STATE", 0, false}};
	struct table t;
	char text[32];

	if (!s->n_workers)
		return;
	printf("\n");
	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < s->n_workers; i++) {
		const Isod__V1__WorkerStatus *w = s->workers[i];
		table_add(&t, "%u", w->worker);
		table_add(&t, "%" PRIu64, w->evidence);
		table_add(&t, "%" PRIu64,
		          w->evidence > w->detected ? w->evidence - w->detected : 0);
		table_add(&t, "%s", short_number(w->lag_bytes, text));
		table_add(&t, "%s", w->lag_oldest_ns ? table_age(w->lag_oldest_ns, text) : "-");
		table_add(&t, "%" PRIu64, w->detected > w->ledger ? w->detected - w->ledger : 0);
		if (w->stalled[0])
			table_add(&t, "WAITS: %s", w->stalled);
		else
			table_add(&t, "%s",
			          w->redetecting   ? "detects again"
			          : w->held_up     ? "held up"
			          : w->lag_on_disk ? "catches up"
			                           : "serves");
	}
	table_print(&t);
}

/* ---- how long things take ---- */

/* The bound that `share` per cent of them stayed within, as a text; "-" when it is none of the bounds or nothing was
 * counted. */
static char *within(const Isod__V1__Latency *l, unsigned share)
{
	uint64_t all = 0, sum = 0;

	for (size_t i = 0; i < l->n_counts; i++)
		all += l->counts[i];
	for (size_t i = 0; all && i < l->n_bounds_ns && i < l->n_counts; i++) {
		sum += l->counts[i];
		if (sum >= all - all / 100 * (100 - share))
			return xasprintf("%g ms", (double)l->bounds_ns[i] / NS_PER_MS);
	}
	return xstrdup("-");
}

static void print_latencies(const Isod__V1__Status *s)
{
	static const struct table_column columns[] = {{"LATENCY FROM ARRIVAL TO", 0, false},
	                                              {"COUNTED", 12, true},
	                                              {"HALF WITHIN", 12, true},
	                                              {"99 % WITHIN", 12, true}};
	struct table t;

	if (!s->n_latencies)
		return;
	printf("\n");
	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < s->n_latencies; i++) {
		const Isod__V1__Latency *l = s->latencies[i];
		char *half = within(l, 50), *most = within(l, 99);
		uint64_t all = 0;
		for (size_t n = 0; n < l->n_counts; n++)
			all += l->counts[n];
		table_add(&t, "%s", l->name);
		table_add(&t, "%" PRIu64, all);
		table_add(&t, "%s", half);
		table_add(&t, "%s", most);
		free(half);
		free(most);
	}
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

/* The whole status; *ret is the answer that holds it. */
static int ask_status(struct client *c, bool sources, Isod__V1__Response **ret)
{
	Isod__V1__StatusRequest ask = ISOD__V1__STATUS_REQUEST__INIT;
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;

	ask.sources = sources;
	q.ask_case = ISOD__V1__REQUEST__ASK_STATUS;
	q.status = &ask;
	int r = client_ask(c, &q, ISOD__V1__RESPONSE__ANSWER_STATUS, ret);
	if (r == 0 && (r = more_sources(c, (*ret)->status)) != 0)
		isod__v1__response__free_unpacked(*ret, NULL);
	return r;
}

int query_status(const struct isoctl *ctl, int argc, char **argv)
{
	Isod__V1__Response *a;
	struct client *c;
	bool sources = false;
	const struct isoctl_option options[] = {{.name = "--sources", .flag = &sources}, {0}};
	int r = isoctl_options(options, &argc, argv, 0);

	if (r == 0)
		r = client_open(ctl, &c);
	if (r)
		return r;
	r = ask_status(c, sources, &a);
	if (r == 0) {
		if (ctl->json) {
			output_json(&a->status->base);
		} else {
			print_summary(a->status);
			print_listeners(a->status);
			print_certificates(a->status);
			print_workers(a->status);
			print_latencies(a->status);
			print_plugins(a->status);
			print_counters(a->status);
			print_sources(a->status);
		}
		isod__v1__response__free_unpacked(a, NULL);
	}
	client_close(c);
	return r;
}

int query_prometheus(const struct isoctl *ctl)
{
	Isod__V1__Response *a;
	struct client *c;
	struct buf out;
	int r = client_open(ctl, &c);

	if (r)
		return r;
	r = ask_status(c, true, &a);
	if (r == 0) {
		buf_init(&out, 0);
		metrics_render(&out, a->status, a->status->metrics_sources_max);
		fwrite(out.p, 1, out.n, stdout);
		buf_release(&out);
		isod__v1__response__free_unpacked(a, NULL);
	}
	client_close(c);
	return r;
}
