/* The workers' table goes first and only while its mark is the ledger's: a producer of which more has come than was counted
 * is not idle. What comes of it between that and the record has another life's numbers, and its tally, which nobody takes
 * from the inbox before this function returns, stands behind the record. */
#include "forget.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "ingest/ingest.h"
#include "officer/officer.h"

#define LOOK_MOST   NS_PER_HOUR   /* between two looks, and a quarter of the age … */
#define LOOK_LEAST  NS_PER_SECOND /* … but not less */
#define RECORD_MOST 1000          /* ids in one record: others have their turn with the next look */

struct forget {
	struct forget_options options;
	struct event *timer;
	uint64_t forgotten;
};

static bool is_idle(const struct forget *f, const struct producer_mark *m, uint64_t now)
{
	return now > m->heard_ns && now - m->heard_ns > f->options.config->producers_forget_ns;
}

/* Those that are idle and that the workers have forgotten, as slices of the state's keys. */
static size_t gather(struct forget *f, char **ids)
{
	const struct map *producers = &officer_state(f->options.officer)->producers;
	uint64_t now = clock_steady(f->options.clock);
	const struct map_entry *e;
	size_t n = 0;

	for (size_t at = 0; n < RECORD_MOST && (e = map_next(producers, &at));) {
		const struct producer_mark *m = e->value;
		if (is_idle(f, m, now) &&
		    ingest_forget_producer(f->options.ingest, e->key, m->upto) == 0)
			ids[n++] = xstrndup(e->key.p, e->key.n);
	}
	return n;
}

static void record(struct forget *f, char **ids, size_t n)
{
	Isod__V1__ProducersForgotten forgotten = ISOD__V1__PRODUCERS_FORGOTTEN__INIT;
	Isod__V1__Record body = ISOD__V1__RECORD__INIT;
	const struct map *producers = &officer_state(f->options.officer)->producers;

	forgotten.n_producers = n;
	forgotten.producers = ids;
	body.body_case = ISOD__V1__RECORD__BODY_PRODUCERS_FORGOTTEN;
	body.producers_forgotten = &forgotten;
	if (officer_record(f->options.officer, &body) == 0) {
		f->forgotten += n;
		log_notice("%zu producers were not heard of for longer than producers.forget_after "
		           "and are forgotten, the first of them %s",
		           n, ids[0]);
		return;
	}
	/* The ledger cannot be written: another time. */
	for (size_t i = 0; i < n; i++) {
		const struct producer_mark *m = map_get(producers, str_of(ids[i]));
		if (m)
			ingest_remember_producer(f->options.ingest, str_of(ids[i]), m->upto);
	}
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct forget *f = arg;
	char *ids[RECORD_MOST];
	(void)fd;
	(void)what;

	size_t n = gather(f, ids);
	if (n)
		record(f, ids, n);
	for (size_t i = 0; i < n; i++)
		free(ids[i]);
}

struct forget *forget_new(const struct forget_options *o)
{
	struct forget *f = xcalloc(1, sizeof(*f));
	uint64_t every = o->config->producers_forget_ns / 4;

	f->options = *o;
	f->timer = event_new(o->base, -1, EV_PERSIST, on_look, f);
	if (!f->timer)
		abort(); /* no memory */
	every = every > LOOK_MOST ? LOOK_MOST : every < LOOK_LEAST ? LOOK_LEAST : every;
	const struct timeval tv = {.tv_sec = (time_t)(every / NS_PER_SECOND)};
	if (o->config->producers_forget_ns)
		evtimer_add(f->timer, &tv);
	return f;
}

void forget_free(struct forget *f)
{
	if (!f)
		return;
	event_free(f->timer);
	free(f);
}

void forget_counters(const struct forget *f,
                     void (*count)(void *arg, const char *name, uint64_t value), void *arg)
{
	count(arg, "producers_forgotten", f->forgotten);
}
