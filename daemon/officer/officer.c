/* Durable first, then folded: a batch of records is appended, synced, and only then applied with its effects. So
 * nobody is woken by, and nobody is shown, what a power cut could take back, and a ledger that cannot be written
 * stops the officer from taking more (the rings fill, the workers stop reading) instead of letting it forget.
 *
 * A batch is what was in the inbox when the last fdatasync was done: the slower the disk, the more records share one. On a
 * disk that wears or is shared, ledger.commit_interval lets more gather. What has gathered is in memory only, and so in no
 * tally: after a crash it is detected again. */
#include "officer/officer.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pb.h"
#include "officer/recover.h"
#include "officer/snapshot_keeper.h"

#define BATCH_RECORDS 4096          /* of one group commit: bounds the time between loop turns */
#define RETRY_NS      NS_PER_SECOND /* between attempts at a ledger that cannot be written */
#define TIMER_MAX_NS                                                                               \
	(60 * NS_PER_SECOND) /* a deadline is looked at again after this: the clock may jump */

#define AHEAD_TOLD_NS (5 * NS_PER_SECOND) /* less is the usual work of time synchronisation */

struct officer {
	struct officer_options options;
	char *ledger_dir; /* options.ledger_dir */
	struct segment_log *ledger;
	struct state state;
	struct numbered *batch; /* appended, not yet durable and folded */
	size_t batch_count, batch_cap;
	uint64_t last_ns;                  /* time of the last record appended */
	uint64_t committed_mono;           /* when the last batch began to be made durable */
	uint64_t durable;                  /* the last record that is … */
	uint8_t head[SHA256_BYTES];        /* … and the chain value after it */
	struct snapshot_keeper *snapshots; /* NULL: none are taken */
	struct recovery recovery;
	bool stalled;
	int error; /* why; 0: it is not */
	bool folding;
	struct histogram latency;
	uint64_t since_ns;  /* the first arrival of what is being folded */
	bool set_back;      /* the system's clock is behind the ledger's, and that was told */
	uint64_t malformed; /* records from the inbox that were none */
	struct event *wake, *timer, *commit;
};

/* ---- batches ---- */

/* Now, by the ledger's time. */
static uint64_t officer_now(struct officer *o)
{
	uint64_t system = clock_now();
	uint64_t now = o->options.clock ? clock_steady(o->options.clock) : system;
	uint64_t ahead;

	if (now < o->last_ns)
		now = o->last_ns;
	ahead = now - system < INT64_MAX ? now - system : 0;

	if (ahead > AHEAD_TOLD_NS && !o->set_back) {
		o->set_back = true;
		log_warning("the system's clock is %llu s behind the ledger: was it set back? The "
		            "ledger's time goes on from its own",
		            (unsigned long long)(ahead / NS_PER_SECOND));
	} else if (ahead < AHEAD_TOLD_NS / 2 && o->set_back) {
		o->set_back = false;
		log_notice("the system's clock and the ledger's time agree again");
	}
	return now;
}

static void batch_add(struct officer *o, Isod__V1__Record *record)
{
	o->last_ns = officer_now(o);
	xgrow(&o->batch, &o->batch_cap, o->batch_count + 1, sizeof(*o->batch));
	o->batch[o->batch_count++] = (struct numbered){
		.sequence = ledger_append(o->ledger, o->last_ns, record),
		.time_ns = o->last_ns,
		.record = record,
	};
}

static void set_stalled(struct officer *o, bool stalled, int error)
{
	if (stalled == o->stalled)
		return;
	o->stalled = stalled;
	o->error = error;
	if (stalled)
		log_error(
			"the ledger in %s cannot be written: %s; nothing is taken in until it can",
			o->options.ledger_dir, strerror(-error));
	else
		log_notice("the ledger in %s can be written again", o->options.ledger_dir);
	if (o->options.stalled)
		o->options.stalled(o->options.effects.arg, stalled);
}

/* All that was appended is on the disk. */
static void note_durable(struct officer *o)
{
	o->durable = segment_next(o->ledger) - 1;
	memcpy(o->head, segment_chain(o->ledger), SHA256_BYTES);
}

static void note_latency(struct officer *o, const struct numbered *batch, size_t count)
{
	uint64_t now = officer_now(o);

	o->since_ns = 0;
	for (size_t i = 0; i < count; i++) {
		const Isod__V1__Record *r = batch[i].record;
		uint64_t arrived =
			r->body_case == ISOD__V1__RECORD__BODY_MATCH ? r->match->received_ns : 0;
		if (!arrived)
			continue;
		histogram_count(&o->latency, now > arrived ? now - arrived : 0, 1);
		if (!o->since_ns || arrived < o->since_ns)
			o->since_ns = arrived;
	}
}

static void batch_fold(struct officer *o, const struct numbered *batch, size_t count)
{
	note_latency(o, batch, count);
	o->folding = true;
	state_apply_all(&o->state, batch, count, &o->options.effects);
	o->folding = false;
	o->since_ns = 0;
	for (size_t i = 0; i < count; i++)
		isod__v1__record__free_unpacked(batch[i].record, NULL);
}

/* Makes the batch durable and folds it. 0 or -errno: then it stays and the call can be repeated. Records that an
 * effect posts while the batch is folded come after it: a batch of their own. */
static int batch_commit(struct officer *o)
{
	if (o->batch_count == 0 || o->folding)
		return 0;
	while (o->batch_count) {
		o->committed_mono = clock_mono();
		int r = segment_sync(o->ledger);
		set_stalled(o, r < 0, r);
		if (r < 0)
			return r;
		note_durable(o);
		struct numbered *batch = o->batch;
		size_t count = o->batch_count;
		o->batch = NULL;
		o->batch_count = o->batch_cap = 0;
		batch_fold(o, batch, count);
		free(batch);
	}
	if (o->snapshots)
		snapshot_keeper_consider(o->snapshots, &o->state, o->head);
	return 0;
}

/* The batch, now or when it may be. */
static void commit_or_gather(struct officer *o)
{
	uint64_t since = clock_mono() - o->committed_mono;

	if (since >= o->options.commit_ns ||
	    segment_pending(o->ledger) >= o->options.commit_bytes) {
		batch_commit(o);
	} else if (o->batch_count && !evtimer_pending(o->commit, NULL)) {
		uint64_t wait = o->options.commit_ns - since;
		struct timeval tv = {.tv_sec = (time_t)(wait / NS_PER_SECOND),
		                     .tv_usec = (suseconds_t)(wait % NS_PER_SECOND / 1000 + 1)};
		evtimer_add(o->commit, &tv);
	}
}

/* ---- the inbox ---- */

static void take(void *arg, size_t worker, struct str packed)
{
	struct officer *o = arg;
	Isod__V1__Record *record =
		isod__v1__record__unpack(NULL, packed.n, (const uint8_t *)packed.p);

	if (!record) {
		o->malformed++;
		log_error("worker %zu handed over a record that is none (%zu bytes)", worker,
		          packed.n);
		return;
	}
	if (record->body_case == ISOD__V1__RECORD__BODY_MATCH &&
	    state_has_match(&o->state, record->match)) {
		isod__v1__record__free_unpacked(record, NULL);
		return;
	}
	batch_add(o, record);
}

static void arm_timer(struct officer *o)
{
	uint64_t due = o->stalled ? 0 : state_next_deadline(&o->state), now = officer_now(o), wait;

	if (due == NEVER) {
		evtimer_del(o->timer);
		return;
	}
	if (o->stalled)
		wait = RETRY_NS;
	else
		wait = due > now ? due - now : 0;
	if (wait > TIMER_MAX_NS)
		wait = TIMER_MAX_NS;
	struct timeval tv = {.tv_sec = (time_t)(wait / NS_PER_SECOND),
	                     .tv_usec = (suseconds_t)(wait % NS_PER_SECOND / 1000 + 1)};
	evtimer_add(o->timer, &tv);
}

/* One batch from the inbox. Returns how many records it took. */
static size_t turn(struct officer *o)
{
	if (o->stalled && batch_commit(o) < 0)
		return 0;
	size_t taken = inbox_drain(o->options.inbox, BATCH_RECORDS, take, o);
	commit_or_gather(o);
	return taken;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct officer *o = arg;
	(void)fd;
	(void)what;

	/* A batch a turn, so that clients and plugins are served in between; the descriptor stays readable until
	 * inbox_drain has found nothing. */
	if (turn(o) && !o->stalled)
		event_active(o->wake, EV_READ, 0);
	if (o->stalled)
		event_del(o->wake);
	arm_timer(o);
}

static void on_commit(evutil_socket_t fd, short what, void *arg)
{
	struct officer *o = arg;
	(void)fd;
	(void)what;

	if (!o->stalled)
		batch_commit(o);
	if (o->stalled)
		event_del(o->wake);
	arm_timer(o);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct officer *o = arg;
	(void)fd;
	(void)what;

	if (o->stalled) {
		if (batch_commit(o) == 0) {
			event_add(o->wake, NULL);
			event_active(o->wake, EV_READ, 0);
		}
	} else if (state_next_deadline(&o->state) <= officer_now(o)) {
		Isod__V1__Tick tick = ISOD__V1__TICK__INIT;
		Isod__V1__Record record = ISOD__V1__RECORD__INIT;
		record.body_case = ISOD__V1__RECORD__BODY_TICK;
		record.tick = &tick;
		officer_post(o, &record);
	}
	arm_timer(o);
}

/* ---- life ---- */

static void on_snapshot(void *arg, uint64_t sequence, int error)
{
	struct officer *o = arg;
	char *what;

	if (error == 0 || !o->options.snapshot_trouble)
		return;
	what = xasprintf("the one after record %llu was not written: %s",
	                 (unsigned long long)sequence, strerror(-error));
	o->options.snapshot_trouble(o->options.effects.arg, what);
	free(what);
}

static int recover(struct officer *o, char *error, size_t error_size)
{
	const struct officer_options *options = &o->options;
	const struct snapshot_options keeper = {.dir = options->snapshot_dir,
	                                        .interval_ns = options->snapshot_interval_ns,
	                                        .records = options->snapshot_records,
	                                        .base = options->base,
	                                        .done = on_snapshot,
	                                        .arg = o};
	uint64_t began = clock_mono();
	int r = state_recover(&o->state, options->ledger_dir, options->snapshot_dir, &o->recovery,
	                      error, error_size);

	if (r < 0)
		return r;
	uint64_t records = o->recovery.facts.records, took = clock_mono() - began;
	if (records || o->recovery.snapshot)
		log_notice(
			"the ledger's state is back: snapshot of record %llu, %llu records after "
			"it, in %llu ms",
			(unsigned long long)o->recovery.snapshot, (unsigned long long)records,
			(unsigned long long)(took / NS_PER_MS));
	if (options->snapshot_dir)
		o->snapshots = snapshot_keeper_new(&keeper, o->recovery.snapshot);
	return 0;
}

int officer_open(const struct officer_options *options, struct officer **ret, char *error,
                 size_t error_size)
{
	struct officer *o = xcalloc(1, sizeof(*o));
	const struct segment_options so = {.kind = SEGMENT_LEDGER,
	                                   .segment_bytes = options->segment_bytes};
	o->options = *options;
	o->options.ledger_dir = o->ledger_dir = xstrdup(options->ledger_dir);
	state_init(&o->state);
	int r = segment_open(options->ledger_dir, &so, &o->ledger, error, error_size);
	if (r == 0)
		r = recover(o, error, error_size);
	if (r < 0) {
		officer_close(o);
		return r;
	}
	note_durable(o);
	o->last_ns = o->state.time_ns;
	if (o->options.clock)
		clock_steady_from(o->options.clock, o->last_ns);
	o->wake =
		event_new(options->base, options->inbox->wake_fd, EV_READ | EV_PERSIST, on_wake, o);
	o->timer = evtimer_new(options->base, on_timer, o);
	o->commit = evtimer_new(options->base, on_commit, o);
	if (!o->wake || !o->timer || !o->commit)
		abort();
	*ret = o;
	return 0;
}

void officer_close(struct officer *o)
{
	if (!o)
		return;
	/* What the effects reach may be gone already: a last batch becomes durable, and is folded at the next start. */
	if (o->ledger && o->batch_count && segment_sync(o->ledger) < 0)
		log_error("%zu records were not written to the ledger in %s", o->batch_count,
		          o->options.ledger_dir);
	if (o->snapshots && o->batch_count == 0)
		snapshot_keeper_now(o->snapshots, &o->state, o->head);
	snapshot_keeper_free(o->snapshots);
	for (size_t i = 0; i < o->batch_count; i++)
		isod__v1__record__free_unpacked(o->batch[i].record, NULL);
	free(o->batch);
	if (o->wake)
		event_free(o->wake);
	if (o->timer)
		event_free(o->timer);
	if (o->commit)
		event_free(o->commit);
	segment_close(o->ledger);
	state_release(&o->state);
	free(o->ledger_dir);
	free(o);
}

static void post_settings(struct officer *o, const Isod__V1__Settings *settings)
{
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	if (pb_equal(&settings->base, &o->state.settings->base))
		return;
	record.body_case = ISOD__V1__RECORD__BODY_SETTINGS;
	record.settings = (Isod__V1__Settings *)(uintptr_t)settings;
	officer_post(o, &record);
}

void officer_start(struct officer *o, const Isod__V1__Started *started,
                   const Isod__V1__Settings *settings)
{
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	Isod__V1__Started seeded = *started;
	uint64_t seeds[2] = {map_seed(), map_seed()};

	post_settings(o, settings);
	if (!correlate_seeded(o->state.correlate)) {
		seeded.n_seeds = ARRAY_LEN(seeds);
		seeded.seeds = seeds;
	}
	record.body_case = ISOD__V1__RECORD__BODY_STARTED;
	record.started = &seeded;
	officer_post(o, &record);
	event_add(o->wake, NULL);
	arm_timer(o);
	if (o->recovery.refused && o->options.snapshot_trouble)
		o->options.snapshot_trouble(o->options.effects.arg, o->recovery.why);
}

int officer_settings(struct officer *o, const Isod__V1__Settings *settings)
{
	officer_drain(o);
	if (o->stalled)
		return -EAGAIN;
	post_settings(o, settings);
	return 0;
}

const struct state *officer_state(const struct officer *o)
{
	return &o->state;
}

int officer_storage(const struct officer *o, bool *ret_broken)
{
	*ret_broken = segment_broken(o->ledger);
	return o->error;
}

const uint8_t *officer_head(const struct officer *o)
{
	return o->head;
}

const struct histogram *officer_latency(const struct officer *o)
{
	return &o->latency;
}

uint64_t officer_folding_since(const struct officer *o)
{
	return o->since_ns;
}

uint64_t officer_snapshot_floor(const struct officer *o)
{
	return o->snapshots ? snapshot_keeper_floor(o->snapshots) : 0;
}

void officer_counters(const struct officer *o,
                      void (*count)(void *arg, const char *name, uint64_t value), void *arg)
{
	const struct incident_desk *i = &o->state.incident;
	const struct reporting_desk *r = &o->state.reporting;

	count(arg, "incidents_left", i->count - i->items.held);
	count(arg, "incidents_overflowed", i->overflowed);
	count(arg, "notifications_left", r->count - r->items.held);
	if (!o->snapshots)
		return;
	const struct snapshot_counts *n = snapshot_keeper_counts(o->snapshots);
	count(arg, "snapshot_sequence", n->sequence);
	count(arg, "snapshot_bytes", n->bytes);
	count(arg, "snapshots_written", n->written);
	count(arg, "snapshots_failed", n->failed);
	count(arg, "snapshots_refused", o->recovery.refused);
	count(arg, "snapshot_pause_ns", n->pause_ns);
}

int officer_anchor(const struct officer *o, uint64_t *ret_sequence, const uint8_t **ret_head)
{
	if (o->durable == 0)
		return -ENODATA;
	*ret_sequence = o->durable;
	*ret_head = o->head;
	return 0;
}

int officer_record(struct officer *o, const Isod__V1__Record *record)
{
	if (o->stalled)
		return -EAGAIN;
	batch_add(o, pb_copy(&record->base));
	int r = batch_commit(o);
	arm_timer(o);
	return r;
}

void officer_post(struct officer *o, const Isod__V1__Record *record)
{
	batch_add(o, pb_copy(&record->base));
	if (!o->stalled)
		batch_commit(o);
	arm_timer(o);
}

void officer_drain(struct officer *o)
{
	while (turn(o))
		;
	if (!o->stalled)
		batch_commit(o);
}
