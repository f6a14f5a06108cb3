/* A worker without work sleeps, so it is woken to see whether it turns: before each look all are, and the next look, in
 * seconds, finds out who has not. A worker that waits, for a full disk or for the officer, turns while it waits: starting
 * isod anew would help neither. */
#include "watch.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "api/api.h"
#include "api/web.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pb.h"
#include "escalate/escalate.h"
#include "ingest/ingest.h"
#include "officer/officer.h"
#include "view/metrics.h"

#define HUNG_NS                                                                                    \
	(10 * NS_PER_SECOND) /* the longest that an honest turn takes is a slow disk's write */

struct watch {
	const struct config *config;
	struct watch_parts parts;
	struct event *asked;    /* made active by the web */
	struct event *watchdog; /* systemd's, when it has one */
	struct web *web;        /* NULL: none */
	uint64_t pinged_mono;   /* all workers were told to go round; 0: never */
	bool begun, told_hung;
};

/* ---- does it turn? ---- */

/* The worker that hangs, or -1. *ret_s: for how long. The main thread turns, or it would not be here. */
static int look(struct watch *w, unsigned *ret_s)
{
	uint64_t now = clock_mono();
	int hung = w->pinged_mono ? ingest_hung(w->parts.ingest, w->pinged_mono) : -1;

	*ret_s = (unsigned)((now - w->pinged_mono) / NS_PER_SECOND);
	if (hung >= 0 && now - w->pinged_mono > HUNG_NS)
		return hung;
	if (hung < 0) {
		w->pinged_mono = now;
		ingest_ping(w->parts.ingest);
	}
	return -1;
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	unsigned s;
	int hung = look(w, &s);

	(void)fd;
	(void)what;
	if (hung < 0)
		sd_notify(0, "WATCHDOG=1");
	else if (!w->told_hung)
		log_error("worker %d has not turned for %u s: the watchdog is fed no more", hung,
		          s);
	w->told_hung = hung >= 0;
}

/* Fed in half of the time that it allows. */
static void begin_watchdog(struct watch *w, struct event_base *base)
{
	uint64_t us = 0;

	if (sd_watchdog_enabled(0, &us) <= 0)
		return;
	const struct timeval half = {.tv_sec = (time_t)(us / 2000000),
	                             .tv_usec = (suseconds_t)(us / 2 % 1000000)};
	w->watchdog = event_new(base, -1, EV_PERSIST, on_watchdog, w);
	if (!w->watchdog || event_add(w->watchdog, &half) < 0)
		abort();
}

/* ---- is it ready? ---- */

static char *why_not_ready(const struct watch *w, const Isod__V1__Status *s)
{
	bool broken;
	int r = officer_storage(w->parts.officer, &broken);

	if (r)
		return xasprintf("the ledger cannot be written: %s", strerror(-r));
	r = ingest_storage(w->parts.ingest, &broken);
	if (r)
		return xasprintf("evidence cannot be written: %s", strerror(-r));
	for (size_t i = 0; i < s->n_workers; i++) {
		const Isod__V1__WorkerStatus *worker = s->workers[i];
		uint64_t left = worker->evidence > worker->detected
		                        ? worker->evidence - worker->detected
		                        : 0;
		if (worker->redetecting)
			return xasprintf("worker %u goes over evidence that the ledger has not "
			                 "counted: %llu records are left",
			                 worker->worker, (unsigned long long)left);
	}
	return s->rules_compiled ? NULL : xstrdup("the rules are being compiled");
}

static void on_asked(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	struct web_facts facts = {0};
	unsigned s;

	(void)fd;
	(void)what;
	if (!w->begun)
		return;
	int hung = look(w, &s);
	facts.status = api_status(w->parts.api);
	facts.not_ready = why_not_ready(w, facts.status);
	if (hung >= 0)
		facts.unhealthy = xasprintf("worker %d has not turned for %u s", hung, s);
	web_tell(w->web, &facts);
}

/* From the web's thread. */
static void on_ask(void *arg)
{
	struct watch *w = arg;

	event_active(w->asked, EV_TIMEOUT, 0);
}

static void on_render(struct buf *out, const Isod__V1__Status *status)
{
	metrics_render(out, status, status->metrics_sources_max);
}

/* ---- life ---- */

int watch_open(const struct config *config, struct event_base *base, struct activation *passed,
               const char *phase, struct watch **ret, char *error, size_t error_size)
{
	struct watch *w = xcalloc(1, sizeof(*w));
	const struct web_options web = {.address = config->http_address,
	                                .passed = passed,
	                                .ask = on_ask,
	                                .render = on_render,
	                                .arg = w};
	int r = 0;

	w->config = config;
	w->asked = event_new(base, -1, 0, on_asked, w);
	if (!w->asked)
		abort();
	if (config->http_address)
		r = web_open(&web, phase, &w->web, error, error_size);
	if (r < 0) {
		watch_close(w);
		return r;
	}
	if (w->web)
		log_notice("metrics and health at http://%s/", web_address(w->web));
	*ret = w;
	return 0;
}

void watch_phase(struct watch *w, const char *phase)
{
	if (w)
		web_phase(w->web, phase);
}

void watch_begin(struct watch *w, const struct watch_parts *parts)
{
	w->parts = *parts;
	w->begun = true;
	begin_watchdog(w, event_get_base(w->asked));
	web_phase(w->web, NULL);
}

void watch_end(struct watch *w, const char *phase)
{
	if (!w)
		return;
	web_phase(w->web, phase);
	w->begun = false;
	if (w->watchdog)
		event_free(w->watchdog);
	w->watchdog = NULL;
}

void watch_close(struct watch *w)
{
	if (!w)
		return;
	web_close(w->web);
	if (w->watchdog)
		event_free(w->watchdog);
	event_free(w->asked);
	free(w);
}

/* ---- status ---- */

static void add_latency(Isod__V1__Status *s, const char *name,
                        const uint64_t counts[static HISTOGRAM_STEPS + 1], uint64_t sum_ns)
{
	Isod__V1__Latency **at = pb_add(&s->latencies, &s->n_latencies, sizeof(*at));
	Isod__V1__Latency *l = *at = xmalloc(sizeof(*l));

	isod__v1__latency__init(l);
	pb_set_text(&l->name, name);
	l->n_bounds_ns = HISTOGRAM_STEPS;
	l->bounds_ns = xcalloc(l->n_bounds_ns, sizeof(*l->bounds_ns));
	memcpy(l->bounds_ns, histogram_bounds, sizeof(histogram_bounds));
	l->n_counts = HISTOGRAM_STEPS + 1;
	l->counts = xcalloc(l->n_counts, sizeof(*l->counts));
	memcpy(l->counts, counts, l->n_counts * sizeof(*l->counts));
	l->sum_ns = sum_ns;
}

void watch_status(const struct watch *w, Isod__V1__Status *status)
{
	const struct histogram *histograms[] = {officer_latency(w->parts.officer),
	                                        escalate_latency(w->parts.escalate)};
	static const char *const names[] = {"ledger", "plugin"};
	uint64_t counts[HISTOGRAM_STEPS + 1] = {0}, sum = 0;

	for (size_t i = 0; i < status->n_workers && i < w->parts.inbox->count; i++) {
		struct ring *ring = &w->parts.inbox->rings[i];
		status->workers[i]->ring_bytes = ring_backlog(ring);
		status->workers[i]->ring_size = ring->size;
	}
	ingest_latency(w->parts.ingest, counts, &sum);
	add_latency(status, "durable", counts, sum);
	for (size_t i = 0; i < ARRAY_LEN(histograms); i++) {
		memset(counts, 0, sizeof(counts));
		sum = 0;
		histogram_add(counts, &sum, histograms[i]);
		add_latency(status, names[i], counts, sum);
	}
}

void watch_counters(const struct watch *w,
                    void (*count)(void *arg, const char *name, uint64_t value), void *arg)
{
	web_counters(w->web, count, arg);
}
