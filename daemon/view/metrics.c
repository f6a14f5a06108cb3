#include "view/metrics.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/prometheus.h"

typedef Isod__V1__SourceStatus Source;

/* ---- the account ---- */

#define AT(member) offsetof(Source, member)
const struct metrics_reason metrics_reasons[] = {
	{false, "framing", AT(refused_framing)},
	{false, "empty", AT(refused_empty)},
	{true, "kernel", AT(shed_kernel)},
	{true, "own_events", AT(shed_own_events)},
	{true, "rate", AT(shed_rate)},
	{false, "unknown", 0},
	{true, "unknown", 0},
	{false, NULL, 0},
};

static const size_t summed[] = {
	AT(received),        AT(matched),       AT(unmatched),   AT(undecoded),
	AT(truncated),       AT(refused),       AT(shed),        AT(bytes),
	AT(refused_framing), AT(refused_empty), AT(shed_kernel), AT(shed_own_events),
	AT(shed_rate),
};
#undef AT

static uint64_t number_at(const Source *s, size_t offset)
{
	uint64_t n;

	memcpy(&n, (const char *)s + offset, sizeof(n));
	return n;
}

uint64_t metrics_lost(const Source *s, const struct metrics_reason *reason)
{
	if (reason->at)
		return number_at(s, reason->at);
	uint64_t left = reason->shed ? s->shed : s->refused;
	for (const struct metrics_reason *r = metrics_reasons; r->word; r++)
		if (r->at && r->shed == reason->shed)
			left -= number_at(s, r->at);
	return left;
}

Source metrics_sum(Source *const *sources, size_t count)
{
	static char other[] = METRICS_OTHER;
	Source sum = ISOD__V1__SOURCE_STATUS__INIT;

	sum.source = other;
	for (size_t i = 0; i < count; i++) {
		for (size_t n = 0; n < ARRAY_LEN(summed); n++) {
			uint64_t value =
				number_at(&sum, summed[n]) + number_at(sources[i], summed[n]);
			memcpy((char *)&sum + summed[n], &value, sizeof(value));
		}
		if (sources[i]->last_received_ns > sum.last_received_ns)
			sum.last_received_ns = sources[i]->last_received_ns;
	}
	return sum;
}

int64_t metrics_difference(const Source *s)
{
	return (int64_t)(s->received - s->matched - s->unmatched - s->undecoded - s->refused -
	                 s->shed);
}

/* ---- families of one number ---- */

static void put_one(struct buf *out, const char *name, const char *type, const char *help,
                    uint64_t value)
{
	prometheus_family(out, name, type, help);
	prometheus_sample(out, name, NULL, 0, value);
}

static void put_time(struct buf *out, const char *name, const char *help, uint64_t ns)
{
	prometheus_family(out, name, "gauge", help);
	prometheus_seconds(out, name, NULL, 0, (int64_t)ns);
}

static void put_daemon(struct buf *out, const Isod__V1__Status *s)
{
	const struct prometheus_label info[] = {{"version", s->version}, {"node", s->node}};
	const Source all = metrics_sum(s->sources, s->n_sources);

	prometheus_family(out, "isod_info", "gauge", "Which isod this is.");
	prometheus_sample(out, "isod_info", info, ARRAY_LEN(info), 1);
	put_time(out, "isod_start_time_seconds", "When it was started.", s->started_ns);
	put_one(out, "isod_events_total", "counter", "Frames that became events.", s->events);
	put_one(out, "isod_matches_total", "counter", "Rules that held for events.", s->matches);
	put_one(out, "isod_incidents_total", "counter", "Incidents opened.", s->incidents_total);
	put_one(out, "isod_incidents_open", "gauge", "Incidents not closed.", s->incidents_open);
	put_one(out, "isod_notifications_pending", "gauge", "Notifications without an outcome.",
	        s->notifications_pending);
	put_one(out, "isod_notifications_dead_total", "counter", "Notifications given up.",
	        s->notifications_dead);
	put_one(out, "isod_rules", "gauge", "Rules loaded.", s->rules);
	put_one(out, "isod_correlations", "gauge", "Correlations loaded.", s->correlations);
	put_one(out, "isod_rules_compiled", "gauge", "1: they work at full speed.",
	        s->rules_compiled);
	put_time(out, "isod_rules_loaded_seconds", "When they were loaded.", s->rules_loaded_ns);
	put_one(out, "isod_ledger_sequence", "gauge", "The ledger's newest record.",
	        s->ledger_sequence);
	put_one(out, "isod_view_connected", "gauge", "1: Redis is there.", s->view_connected);
	put_one(out, "isod_view_dirty_keys", "gauge", "Keys of the view to be written.",
	        s->view_dirty);
	prometheus_family(out, "isod_account_difference", "gauge",
	                  "Frames missing in the account of all sources; must be 0.");
	buf_printf(out, "isod_account_difference %lld\n", (long long)metrics_difference(&all));
}

/* ---- families by label ---- */

static void put_labelled(struct buf *out, const char *name, const char *label, const char *of,
                         uint64_t value)
{
	prometheus_sample(out, name, &(struct prometheus_label){label, of}, 1, value);
}

/* One number of each item: where it stands in the message. */
struct number {
	const char *name, *type, *help;
	size_t at;
};

static void put_numbers(struct buf *out, const struct number *numbers, size_t number_count,
                        const char *label, void *const *items, size_t count, size_t name_at)
{
	for (size_t n = 0; n < number_count && count; n++) {
		prometheus_family(out, numbers[n].name, numbers[n].type, numbers[n].help);
		for (size_t i = 0; i < count; i++) {
			const char *item = items[i], *name;
			uint64_t value;
			memcpy(&name, item + name_at, sizeof(name));
			memcpy(&value, item + numbers[n].at, sizeof(value));
			put_labelled(out, numbers[n].name, label, name, value);
		}
	}
}

#define AT(member) offsetof(Isod__V1__ListenerStatus, member)
static const struct number listener_numbers[] = {
	{"isod_listener_connections", "gauge", "Connections open.", AT(connections)},
	{"isod_listener_accepted_total", "counter", "Connections accepted.", AT(accepted)},
	{"isod_listener_frames_total", "counter", "Frames taken in since the start.", AT(frames)},
	{"isod_listener_bytes_total", "counter", "Bytes of them.", AT(bytes)},
	{"isod_listener_refused_total", "counter", "Connections and frames refused.", AT(refused)},
	{"isod_listener_shed_total", "counter", "Datagrams the kernel dropped.", AT(shed)},
	{"isod_listener_tls_failures_total", "counter", "TLS that failed.", AT(tls_failures)},
	{"isod_listener_held_back_total", "counter", "Times a peer sent more than it may.",
         AT(held_back)},
	{"isod_listener_peers_refused_total", "counter",
         "TLS that failed because of the peer's certificate.", AT(peers_refused)},
};
#undef AT

#define AT(member) offsetof(Isod__V1__PluginStatus, member)
static const struct number plugin_numbers[] = {
	{"isod_plugin_restarts_total", "counter", "Times it was started again.", AT(restarts)},
	{"isod_plugin_delivered_total", "counter", "Alerts delivered.", AT(delivered)},
	{"isod_plugin_failed_total", "counter", "Attempts that failed.", AT(failed)},
	{"isod_plugin_waiting", "gauge", "Alerts without an answer.", AT(waiting)},
};
#undef AT

/* Beside isod_listener_refused_total, which has frames in it too. */
static void put_connections_refused(struct buf *out, const Isod__V1__Status *s)
{
	static const char name[] = "isod_listener_connections_refused_total";

	if (s->n_listeners)
		prometheus_family(out, name, "counter", "Connections refused, by the limit.");
	for (size_t i = 0; i < s->n_listeners; i++) {
		const Isod__V1__ListenerStatus *l = s->listeners[i];
		const struct {
			const char *word;
			uint64_t count;
		} reasons[] = {{"connections_max", l->refused_connections_max},
		               {"peer_connections_max", l->refused_peer_connections_max},
		               {"peer_connects", l->refused_peer_connects}};
		for (size_t n = 0; n < ARRAY_LEN(reasons); n++) {
			const struct prometheus_label labels[] = {{"listener", l->name},
			                                          {"reason", reasons[n].word}};
			prometheus_sample(out, name, labels, ARRAY_LEN(labels), reasons[n].count);
		}
	}
}

static void put_plugins_up(struct buf *out, const Isod__V1__Status *s)
{
	if (s->n_plugins)
		prometheus_family(out, "isod_plugin_up", "gauge", "1: it runs.");
	for (size_t i = 0; i < s->n_plugins; i++)
		put_labelled(out, "isod_plugin_up", "plugin", s->plugins[i]->name,
		             s->plugins[i]->running);
}

/* ---- workers ---- */

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t evidence_of(const Isod__V1__WorkerStatus *w)
{
	return w->evidence;
}

static uint64_t undetected_of(const Isod__V1__WorkerStatus *w)
{
	return less(w->evidence, w->detected);
}

static uint64_t unledgered_of(const Isod__V1__WorkerStatus *w)
{
	return less(w->detected, w->ledger);
}

static uint64_t ring_of(const Isod__V1__WorkerStatus *w)
{
	return w->ring_bytes;
}

static uint64_t ring_size_of(const Isod__V1__WorkerStatus *w)
{
	return w->ring_size;
}

static uint64_t redetecting_of(const Isod__V1__WorkerStatus *w)
{
	return w->redetecting;
}

static uint64_t lag_bytes_of(const Isod__V1__WorkerStatus *w)
{
	return w->lag_bytes;
}

static uint64_t stalled_of(const Isod__V1__WorkerStatus *w)
{
	return w->stalled[0] != '\0';
}

static const struct {
	const char *name, *type, *help;
	uint64_t (*of)(const Isod__V1__WorkerStatus *w);
} worker_numbers[] = {
	{"isod_worker_evidence_records", "gauge", "The newest record in its evidence.",
         evidence_of},
	{"isod_worker_detection_lag_records", "gauge",
         "Records in evidence that the rules have not seen.", undetected_of},
	{"isod_worker_detection_lag_bytes", "gauge", "Bytes of them.", lag_bytes_of},
	{"isod_worker_ledger_lag_records", "gauge", "Records that the ledger has not counted.",
         unledgered_of},
	{"isod_worker_queue_bytes", "gauge", "Of records that wait for the officer.", ring_of},
	{"isod_worker_queue_size_bytes", "gauge", "Of those at most.", ring_size_of},
	{"isod_worker_redetecting", "gauge", "1: it goes over evidence once more.", redetecting_of},
	{"isod_worker_stalled", "gauge", "1: it takes nothing in, or nothing from streams.",
         stalled_of},
};

static void put_workers(struct buf *out, const Isod__V1__Status *s)
{
	char index[16];

	for (size_t n = 0; n < ARRAY_LEN(worker_numbers) && s->n_workers; n++) {
		prometheus_family(out, worker_numbers[n].name, worker_numbers[n].type,
		                  worker_numbers[n].help);
		for (size_t i = 0; i < s->n_workers; i++) {
			snprintf(index, sizeof(index), "%u", s->workers[i]->worker);
			put_labelled(out, worker_numbers[n].name, "worker", index,
			             worker_numbers[n].of(s->workers[i]));
		}
	}
	if (s->n_workers)
		prometheus_family(out, "isod_worker_detection_oldest_seconds", "gauge",
		                  "When the oldest record that the rules have not seen arrived; "
		                  "0: there is none.");
	for (size_t i = 0; i < s->n_workers; i++) {
		snprintf(index, sizeof(index), "%u", s->workers[i]->worker);
		prometheus_seconds(out, "isod_worker_detection_oldest_seconds",
		                   &(struct prometheus_label){"worker", index}, 1,
		                   (int64_t)s->workers[i]->lag_oldest_ns);
	}
}

/* ---- latencies ---- */

static const struct {
	const char *name, *family, *help;
} latencies[] = {
	{"durable", "isod_durable_latency_seconds",
         "From a frame's arrival to its evidence on the disk."},
	{"ledger", "isod_ledger_latency_seconds",
         "From a frame's arrival to its match durable in the ledger."},
	{"plugin", "isod_plugin_latency_seconds",
         "From a frame's arrival to the alert being handed to a plugin, first attempts."},
};

static void put_latencies(struct buf *out, const Isod__V1__Status *s)
{
	for (size_t i = 0; i < s->n_latencies; i++) {
		const Isod__V1__Latency *l = s->latencies[i];
		for (size_t n = 0; n < ARRAY_LEN(latencies); n++) {
			if (strcmp(l->name, latencies[n].name) != 0 ||
			    l->n_counts != l->n_bounds_ns + 1)
				continue;
			prometheus_family(out, latencies[n].family, "histogram", latencies[n].help);
			prometheus_histogram(out, latencies[n].family, l->bounds_ns, l->counts,
			                     l->n_bounds_ns, l->sum_ns);
		}
	}
}

/* ---- sources ---- */

static void put_events(struct buf *out, const Source *s)
{
	const struct {
		const char *word;
		uint64_t count;
	} outcomes[] = {
		{"matched", s->matched}, {"unmatched", s->unmatched}, {"undecoded", s->undecoded}};

	for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
		const struct prometheus_label labels[] = {{"source", s->source},
		                                          {"outcome", outcomes[i].word}};
		prometheus_sample(out, "isod_source_events_total", labels, ARRAY_LEN(labels),
		                  outcomes[i].count);
	}
}

static void put_reasons(struct buf *out, const Source *s, bool shed, const char *name)
{
	for (const struct metrics_reason *r = metrics_reasons; r->word; r++) {
		const struct prometheus_label labels[] = {{"source", s->source},
		                                          {"reason", r->word}};
		uint64_t lost = r->shed == shed ? metrics_lost(s, r) : 0;
		if (lost)
			prometheus_sample(out, name, labels, ARRAY_LEN(labels), lost);
	}
}

static void put_refused(struct buf *out, const Source *s)
{
	put_reasons(out, s, false, "isod_source_refused_total");
}

static void put_shed(struct buf *out, const Source *s)
{
	put_reasons(out, s, true, "isod_source_shed_total");
}

static void put_received(struct buf *out, const Source *s)
{
	put_labelled(out, "isod_source_received_total", "source", s->source, s->received);
}

static void put_truncated(struct buf *out, const Source *s)
{
	put_labelled(out, "isod_source_truncated_total", "source", s->source, s->truncated);
}

static void put_bytes(struct buf *out, const Source *s)
{
	put_labelled(out, "isod_source_bytes_total", "source", s->source, s->bytes);
}

static void put_last(struct buf *out, const Source *s)
{
	prometheus_seconds(out, "isod_source_last_received_seconds",
	                   &(struct prometheus_label){"source", s->source}, 1,
	                   (int64_t)s->last_received_ns);
}

static void put_lag(struct buf *out, const Source *s)
{
	prometheus_seconds(out, "isod_source_lag_seconds",
	                   &(struct prometheus_label){"source", s->source}, 1, s->clock_skew_ns);
}

static const struct {
	const char *name, *type, *help;
	void (*put)(struct buf *out, const Source *s);
} source_families[] = {
	{"isod_source_received_total", "counter",
         "Frames that came, those known to be lost among them.", put_received},
	{"isod_source_events_total", "counter", "Frames that became events, by what came of it.",
         put_events},
	{"isod_source_refused_total", "counter",
         "Frames that could not be taken for what they were.", put_refused},
	{"isod_source_shed_total", "counter", "Frames that there was no room for.", put_shed},
	{"isod_source_truncated_total", "counter", "Events longer than the limit, cut.",
         put_truncated},
	{"isod_source_bytes_total", "counter", "Bytes of the events.", put_bytes},
	{"isod_source_last_received_seconds", "gauge", "When the last frame came.", put_last},
	{"isod_source_lag_seconds", "gauge", "Arrival less the time that the last event told.",
         put_lag},
};

static void put_sources(struct buf *out, const Isod__V1__Status *s, size_t max)
{
	size_t shown = s->n_sources < max ? s->n_sources : max;
	const Source other = metrics_sum(s->sources + shown, s->n_sources - shown);

	for (size_t f = 0; f < ARRAY_LEN(source_families) && s->n_sources; f++) {
		prometheus_family(out, source_families[f].name, source_families[f].type,
		                  source_families[f].help);
		for (size_t i = 0; i < shown; i++)
			source_families[f].put(out, s->sources[i]);
		if (shown < s->n_sources)
			source_families[f].put(out, &other);
	}
}

/* ---- all ---- */

static void put_counters(struct buf *out, const Isod__V1__Status *s)
{
	for (size_t i = 0; i < s->n_counters; i++) {
		char *name = xasprintf("isod_%s", s->counters[i]->name);
		prometheus_family(out, name, "untyped", "As isoctl status shows it.");
		prometheus_sample(out, name, NULL, 0, s->counters[i]->value);
		free(name);
	}
}

void metrics_render(struct buf *out, const Isod__V1__Status *s, uint64_t sources_max)
{
	put_daemon(out, s);
	put_numbers(out, listener_numbers, ARRAY_LEN(listener_numbers), "listener",
	            (void *const *)s->listeners, s->n_listeners,
	            offsetof(Isod__V1__ListenerStatus, name));
	put_connections_refused(out, s);
	put_plugins_up(out, s);
	put_numbers(out, plugin_numbers, ARRAY_LEN(plugin_numbers), "plugin",
	            (void *const *)s->plugins, s->n_plugins,
	            offsetof(Isod__V1__PluginStatus, name));
	put_workers(out, s);
	put_latencies(out, s);
	put_counters(out, s);
	put_sources(out, s, sources_max);
}
