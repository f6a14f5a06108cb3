#include "status.h"

#include <stdatomic.h>

#include "api/api.h"
#include "base/mem.h"
#include "base/pb.h"
#include "books.h"
#include "escalate/escalate.h"
#include "forget.h"
#include "ingest/ingest.h"
#include "officer/officer.h"
#include "sigma/content.h"
#include "sigma/rules.h"
#include "view/view.h"
#include "watch.h"

static void add_counter(void *arg, const char *name, uint64_t value)
{
	Isod__V1__Status *status = arg;
	Isod__V1__Counter **at = pb_add(&status->counters, &status->n_counters, sizeof(*at));

	*at = xmalloc(sizeof(**at));
	isod__v1__counter__init(*at);
	pb_set_text(&(*at)->name, name);
	(*at)->value = value;
}

static void add_correlation_counters(Isod__V1__Status *status, const struct correlate *correlate)
{
	const struct correlate_counts *n = correlate_counts(correlate);

	add_counter(status, "correlation_groups_evicted", n->evicted);
	add_counter(status, "correlation_entries_dropped", n->dropped);
	add_counter(status, "correlation_late", n->late);
	add_counter(status, "correlation_clock_wild", n->wild);
	add_counter(status, "correlation_not_numeric", n->not_numeric);
	add_counter(status, "correlation_saturated", n->saturated);
	add_counter(status, "correlation_suppressed", n->suppressed);
}

void status_fill(const struct status_parts *p, Isod__V1__Status *status)
{
	const struct state *state = officer_state(p->officer);

	pb_set_text(&status->version, p->version);
	pb_set_text(&status->node, p->config->node);
	status->started_ns = p->started_ns;
	status->rules = p->content->parts.rules->count;
	status->correlations = p->content->parts.rules->correlation_count;
	status->rules_compiled = atomic_load(&p->content->compiled) != NULL;
	status->rules_loaded_ns = p->content->loaded_ns;
	pb_set_text(&status->rules_error, p->rules_error ? p->rules_error : "");
	status->view_connected = view_connected(p->view);
	status->view_dirty = view_dirty(p->view);
	ingest_status(p->ingest, &status->listeners, &status->n_listeners);
	ingest_workers(p->ingest, &status->workers, &status->n_workers);
	for (size_t i = 0; i < status->n_workers && i < state->cursor_count; i++)
		status->workers[i]->ledger = state->cursors[i].upto;
	status->metrics_sources_max = p->config->metrics_sources_max;
	escalate_status(p->escalate, &status->plugins, &status->n_plugins);
	ingest_counters(p->ingest, add_counter, status);
	api_counters(p->api, add_counter, status);
	books_counters(p->books, add_counter, status);
	forget_counters(p->forget, add_counter, status);
	watch_counters(p->watch, add_counter, status);
	watch_status(p->watch, status);
	officer_counters(p->officer, add_counter, status);
	add_counter(status, "correlation_groups", correlate_groups(state->correlate));
	add_correlation_counters(status, state->correlate);
	add_counter(status, "risk_entities_evicted", state->risk.evicted);
	add_counter(status, "access_refusals", state->access.refusals);
	add_counter(status, "rules_reloads", p->rules_loaded);
	add_counter(status, "rules_reloads_refused", p->rules_refused);
}
