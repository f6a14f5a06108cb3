/* The owner of listeners and workers. */
#include "ingest/ingest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "ingest/worker.h"
#include "officer/state.h"
#include "sigma/content.h"

#define STOP_STEP_MS  1
#define FILES_BESIDES 512 /* descriptors for everything but connections */
#define ERROR_TEXT    512
/* A peer's certificate that ended, and that nobody has shown for so long, is told of no more. */
#define PEER_FORGOTTEN_AFTER (7 * NS_PER_DAY)

struct ingest {
	struct ingest_shared shared;
	struct listener *listeners;
	size_t listener_count;
	struct worker *workers;
	size_t worker_count;
	struct worker_cursor *cursors;
	size_t cursor_count;
};

/* Connections need descriptors: takes what the hard limit gives. Returns how many of them there may be: the rest is for
 * files, plugins and whoever asks how isod is, which must work while every sender is connected. */
static uint64_t raise_file_limit(uint64_t connections)
{
	struct rlimit limit;
	rlim_t want = (rlim_t)connections + FILES_BESIDES;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return connections;
	if (limit.rlim_cur < want) {
		limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= want)
		return connections;
	rlim_t besides = limit.rlim_cur / 2 < FILES_BESIDES ? limit.rlim_cur / 2 : FILES_BESIDES;
	log_warning("only %llu files may be open: at most %llu connections at one time, not "
	            "connections_max (%llu)",
	            (unsigned long long)limit.rlim_cur,
	            (unsigned long long)(limit.rlim_cur - besides),
	            (unsigned long long)connections);
	return limit.rlim_cur - besides;
}

static int open_listeners(struct ingest *i, struct activation *passed, char *error,
                          size_t error_size)
{
	const struct config *c = i->shared.config;
	char reason[ERROR_TEXT];

	i->listeners = xcalloc(c->listener_count, sizeof(*i->listeners));
	for (size_t n = 0; n < c->listener_count; n++) {
		int r = listener_open(&i->listeners[n], &c->listeners[n], i->worker_count, passed,
		                      reason, sizeof(reason));
		i->listener_count++;
		if (r < 0) {
			snprintf(error, error_size, "listener %s: %s", c->listeners[n].name,
			         reason);
			return r;
		}
	}
	return 0;
}

static int open_evidence(const struct config *c, size_t worker, struct segment_log **ret,
                         char *error, size_t error_size)
{
	const struct segment_options options = {.kind = SEGMENT_EVIDENCE,
	                                        .segment_bytes = c->evidence_segment_bytes};
	char *dir = xasprintf("%s/evidence/%zu", c->state_dir, worker);
	char reason[ERROR_TEXT] = "";
	int r = path_make_dirs(dir, 0700);

	if (r < 0)
		snprintf(reason, sizeof(reason), "%s", strerror(-r));
	else
		r = segment_open(dir, &options, ret, reason, sizeof(reason));
	if (r < 0)
		snprintf(error, error_size, "evidence %s: %s", dir, reason);
	free(dir);
	return r;
}

static void note_producer(void *arg, struct str producer, uint64_t sequence)
{
	producers_note(arg, producer, sequence);
}

/* What the ledger knows. */
static void load_producers(struct producers *p, const struct map *marks)
{
	const struct map_entry *e;

	for (size_t at = 0; marks && (e = map_next(marks, &at));)
		producers_note(p, e->key, ((const struct producer_mark *)e->value)->upto);
}

static int open_worker(struct ingest *i, const struct ingest_options *o, size_t index, char *error,
                       size_t error_size)
{
	struct worker *w = &i->workers[index];
	int r = worker_open(w, &i->shared, index, i->worker_count, i->listeners, i->listener_count);

	if (r < 0) {
		snprintf(error, error_size, "worker %zu: %s", index, strerror(-r));
		return r;
	}
	r = open_evidence(o->config, index, &w->evidence, error, error_size);
	if (r < 0)
		return r;
	w->cursors = i->cursors;
	w->cursor_count = i->cursor_count;
	const struct pipeline_options options = {.worker = index,
	                                         .evidence = w->evidence,
	                                         .inbox = o->inbox,
	                                         .content = o->content,
	                                         .backlog_memory = o->config->backlog_memory,
	                                         .numbered = note_producer,
	                                         .arg = &i->shared.producers};
	w->pipeline = pipeline_new(&options);
	return 0;
}

static void take_own_event(void *arg, struct str json)
{
	ingest_own_event(arg, json);
}

static struct peers *new_peers(const struct config *c)
{
	/* A second's worth at once: what a restart of a relay brings. */
	const struct peers_limits limits = {.connections = c->peer_connections_max,
	                                    .connects = {c->peer_connects, NS_PER_SECOND},
	                                    .bytes = {c->peer_bytes, NS_PER_SECOND},
	                                    .events = {c->peer_events, NS_PER_SECOND}};

	return peers_new(&limits);
}

int ingest_open(const struct ingest_options *o, struct ingest **ret, char *error, size_t error_size)
{
	struct ingest *i = xcalloc(1, sizeof(*i));
	int r;

	i->shared.config = o->config;
	i->shared.clock = o->clock;
	i->shared.own_source = xasprintf("isod/%s", o->config->node);
	i->shared.own_event = take_own_event;
	i->shared.arg = i;
	i->shared.peers = new_peers(o->config);
	producers_init(&i->shared.producers);
	load_producers(&i->shared.producers, o->producers);
	r = answers_init(&i->shared.answers);
	i->shared.swap.parked_all = o->parked;
	i->shared.swap.arg = o->arg;
	i->shared.storage = o->storage;
	i->shared.storage_arg = o->arg;
	i->shared.certificate = o->certificate;
	i->shared.certificate_arg = o->arg;
	peer_certificates_init(&i->shared.certificates);
	i->worker_count = (size_t)o->config->workers;
	i->workers = xcalloc(i->worker_count, sizeof(*i->workers));
	i->shared.workers = i->workers;
	i->cursors = xcalloc(o->cursor_count, sizeof(*i->cursors));
	i->cursor_count = o->cursor_count;
	for (size_t n = 0; n < o->cursor_count; n++)
		i->cursors[n] = (struct worker_cursor){o->cursors[n].upto, o->cursors[n].seen_max};
	i->shared.descriptors = raise_file_limit(o->config->connections_max);
	if (r == 0)
		r = open_listeners(i, o->passed, error, error_size);
	for (size_t n = 0; r == 0 && n < i->worker_count; n++)
		r = open_worker(i, o, n, error, error_size);
	if (r < 0) {
		ingest_free(i);
		return r;
	}
	*ret = i;
	return 0;
}

int ingest_start(struct ingest *i)
{
	for (size_t n = 0; n < i->worker_count; n++) {
		int r = worker_start(&i->workers[n]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Waits for workers `from` … `to - 1`, while the officer goes on. */
static void stop_workers(struct ingest *i, size_t from, size_t to, void (*idle)(void *), void *arg)
{
	const struct timespec step = {.tv_nsec = STOP_STEP_MS * (long)NS_PER_MS};

	for (size_t n = from; n < to; n++)
		worker_stop(&i->workers[n]);
	for (size_t n = from; n < to; n++) {
		struct worker *w = &i->workers[n];
		while (w->started && !atomic_load(&w->ended)) {
			idle(arg);
			nanosleep(&step, NULL);
		}
		worker_join(w);
	}
}

void ingest_stop(struct ingest *i, void (*idle)(void *), void *arg)
{
	/* Worker 0 last: it takes the own events of the others. */
	stop_workers(i, 1, i->worker_count, idle, arg);
	stop_workers(i, 0, 1, idle, arg);
	for (size_t n = 0; n < i->worker_count; n++)
		intake_abandon(&i->workers[n]);
}

void ingest_free(struct ingest *i)
{
	if (!i)
		return;
	for (size_t n = 0; n < i->worker_count; n++) {
		pipeline_free(i->workers[n].pipeline);
		segment_close(i->workers[n].evidence);
		worker_release(&i->workers[n]);
	}
	for (size_t n = 0; n < i->listener_count; n++)
		listener_close(&i->listeners[n]);
	free(i->listeners);
	free(i->workers);
	free(i->cursors);
	content_unref(i->shared.swap.content);
	peers_free(i->shared.peers);
	producers_release(&i->shared.producers);
	peer_certificates_release(&i->shared.certificates);
	answers_release(&i->shared.answers);
	free(i->shared.own_source);
	free(i);
}

void ingest_own_event(struct ingest *i, struct str json)
{
	worker_post(&i->workers[0], json);
}

/* ---- producers ---- */

/* Evidence of one worker may hold what another will be asked to take. */
static bool all_serve(const struct ingest *i)
{
	for (size_t n = 0; n < i->worker_count; n++)
		if (!atomic_load(&i->workers[n].serving))
			return false;
	return true;
}

int ingest_forget_producer(struct ingest *i, struct str producer, uint64_t upto)
{
	if (!all_serve(i))
		return -EAGAIN;
	return producers_forget(&i->shared.producers, producer, upto) ? 0 : -EBUSY;
}

void ingest_remember_producer(struct ingest *i, struct str producer, uint64_t upto)
{
	producers_note(&i->shared.producers, producer, upto);
}

int ingest_take(struct ingest *i, struct producer_batch *b)
{
	if (!all_serve(i))
		return -EAGAIN;
	struct worker *w = &i->workers[producers_worker(str_of(b->producer), i->worker_count)];
	int r = intake_post(w, b);
	if (r == 0)
		worker_wake(w);
	return r;
}

int ingest_answers_fd(const struct ingest *i)
{
	return i->shared.answers.fd;
}

void ingest_answers(struct ingest *i, void (*answered)(void *arg, struct producer_batch *b),
                    void *arg)
{
	struct batch_list list;
	struct producer_batch *b;

	batch_list_init(&list);
	answers_take(&i->shared.answers, &list);
	while ((b = list.first)) {
		list.first = b->next;
		answered(arg, b);
	}
}

/* ---- another content ---- */

void ingest_refresh(struct ingest *i)
{
	/* They look at it in each turn: those that have nothing to do take one. */
	for (size_t n = 0; n < i->worker_count; n++)
		worker_wake(&i->workers[n]);
}

void ingest_swap(struct ingest *i, struct content *content)
{
	struct swap *s = &i->shared.swap;

	content_ref(content);
	content_unref(s->content);
	s->content = content;
	atomic_store(&s->parked, 0);
	atomic_fetch_add(&s->wanted, 1);
	ingest_refresh(i);
}

void ingest_swap_finish(struct ingest *i)
{
	struct swap *s = &i->shared.swap;

	atomic_store(&s->released, atomic_load(&s->wanted));
}

/* ---- certificates ---- */

/* 1: they are renewed; 0: no listener of that kind has this name any more. */
static int renew_one(struct listener *l, const struct config *config, char *error,
                     size_t error_size)
{
	char reason[ERROR_TEXT];

	for (size_t n = 0; n < config->listener_count; n++) {
		const struct listener_config *c = &config->listeners[n];
		if (strcmp(c->name, l->config->name) != 0 || !listener_has_tls(c))
			continue;
		int r = listener_renew(l, c, reason, sizeof(reason));
		if (r < 0)
			snprintf(error, error_size, "listener %s: %s", c->name, reason);
		return r < 0 ? r : 1;
	}
	return 0;
}

int ingest_renew(struct ingest *i, const struct config *config, size_t *ret_count, char *error,
                 size_t error_size)
{
	size_t count = 0;

	for (size_t n = 0; n < i->listener_count; n++) {
		if (!listener_has_tls(i->listeners[n].config))
			continue;
		int r = renew_one(&i->listeners[n], config, error, error_size);
		if (r < 0)
			return r;
		count += (size_t)r;
	}
	*ret_count = count;
	return 0;
}

struct visit {
	void (*visit)(void *arg, const struct ingest_certificate *c);
	void *arg;
};

static void visit_peer(void *arg, const struct peer_certificate *p)
{
	const struct ingest_certificate c = {.peer = true,
	                                     .name = p->name,
	                                     .listener = p->listener,
	                                     .fingerprint = p->fingerprint,
	                                     .until_ns = p->until_ns};
	const struct visit *v = arg;

	v->visit(v->arg, &c);
}

static void visit_listener(struct listener *l, const struct visit *v)
{
	struct tls_certificate own;
	uint64_t crl_until;

	listener_certificate(l, &own, &crl_until);
	const struct ingest_certificate c = {.name = own.name[0] ? own.name : own.subject,
	                                     .listener = l->config->name,
	                                     .fingerprint = own.fingerprint,
	                                     .until_ns = own.until_ns};
	const struct ingest_certificate list = {.revocations = true,
	                                        .name = l->config->crl ? l->config->crl : "crl",
	                                        .listener = l->config->name,
	                                        .until_ns = crl_until};
	v->visit(v->arg, &c);
	if (crl_until)
		v->visit(v->arg, &list);
}

void ingest_certificates(struct ingest *i,
                         void (*visit)(void *arg, const struct ingest_certificate *c), void *arg)
{
	struct visit v = {visit, arg};
	uint64_t now = i->shared.clock ? clock_steady(i->shared.clock) : clock_now();

	for (size_t n = 0; n < i->listener_count; n++)
		if (listener_has_tls(i->listeners[n].config))
			visit_listener(&i->listeners[n], &v);
	peer_certificates_each(&i->shared.certificates,
	                       now > PEER_FORGOTTEN_AFTER ? now - PEER_FORGOTTEN_AFTER : 0,
	                       visit_peer, &v);
}

/* ---- what others may know ---- */

static uint64_t refused_for(const struct listener_counts *c, enum refusal why)
{
	return atomic_load_explicit(&c->connections_refused[why], memory_order_relaxed);
}

static Isod__V1__ListenerStatus *listener_status(const struct listener *l)
{
	Isod__V1__ListenerStatus *s = xmalloc(sizeof(*s));

	isod__v1__listener_status__init(s);
	s->name = xstrdup(l->config->name);
	s->address = xstrdup(l->address);
	for (size_t w = 0; w < l->workers; w++) {
		struct listener_counts *c = &l->counts[w];
		s->connections += atomic_load_explicit(&c->connections, memory_order_relaxed);
		s->accepted += atomic_load_explicit(&c->accepted, memory_order_relaxed);
		s->frames += atomic_load_explicit(&c->frames, memory_order_relaxed);
		s->bytes += atomic_load_explicit(&c->bytes, memory_order_relaxed);
		s->refused += atomic_load_explicit(&c->refused, memory_order_relaxed);
		s->shed += atomic_load_explicit(&c->shed, memory_order_relaxed);
		s->tls_failures += atomic_load_explicit(&c->tls_failures, memory_order_relaxed);
		s->refused_connections_max += refused_for(c, REFUSED_CONNECTIONS_MAX);
		s->refused_peer_connections_max += refused_for(c, REFUSED_PEER_CONNECTIONS_MAX);
		s->refused_peer_connects += refused_for(c, REFUSED_PEER_CONNECTS);
		s->held_back += atomic_load_explicit(&c->held_back, memory_order_relaxed);
		s->peers_refused += atomic_load_explicit(&c->peers_refused, memory_order_relaxed);
	}
	return s;
}

void ingest_status(struct ingest *i, Isod__V1__ListenerStatus ***ret_statuses, size_t *ret_count)
{
	Isod__V1__ListenerStatus **list = xcalloc(i->listener_count, sizeof(*list));

	for (size_t n = 0; n < i->listener_count; n++)
		list[n] = listener_status(&i->listeners[n]);
	*ret_statuses = list;
	*ret_count = i->listener_count;
}

int ingest_storage(struct ingest *i, bool *ret_broken)
{
	int r = 0;

	*ret_broken = false;
	for (size_t n = 0; n < i->worker_count && !*ret_broken; n++) {
		int error = atomic_load(&i->workers[n].storage);
		r = error ? error : r;
		*ret_broken = error && atomic_load(&i->workers[n].storage_broken);
	}
	return r;
}

void ingest_latency(struct ingest *i, uint64_t counts[static HISTOGRAM_STEPS + 1], uint64_t *sum_ns)
{
	for (size_t n = 0; n < i->worker_count; n++)
		histogram_add(counts, sum_ns, &i->workers[n].latency.durable);
}

void ingest_ping(struct ingest *i)
{
	for (size_t n = 0; n < i->worker_count; n++)
		worker_wake(&i->workers[n]);
}

int ingest_hung(struct ingest *i, uint64_t since_mono)
{
	for (size_t n = 0; n < i->worker_count; n++)
		if (atomic_load_explicit(&i->workers[n].turned_mono, memory_order_relaxed) <
		    since_mono)
			return (int)n;
	return -1;
}

/* Why the worker takes nothing in, or not all. */
static const char *stall_text(struct worker *w)
{
	int r = atomic_load(&w->stalled);

	if (r)
		return r == -EAGAIN ? "the officer is behind" : strerror(-r);
	return atomic_load(&w->streams_wait) ? "detection is behind (limits.lag_max)" : "";
}

void ingest_workers(struct ingest *i, Isod__V1__WorkerStatus ***ret_statuses, size_t *ret_count)
{
	Isod__V1__WorkerStatus **list = xcalloc(i->worker_count, sizeof(*list));

	for (size_t n = 0; n < i->worker_count; n++) {
		struct worker *w = &i->workers[n];
		Isod__V1__WorkerStatus *s = list[n] = xmalloc(sizeof(*s));
		isod__v1__worker_status__init(s);
		s->worker = (uint32_t)n;
		s->evidence = atomic_load_explicit(&w->evidence_upto, memory_order_relaxed);
		s->detected = atomic_load_explicit(&w->detected_upto, memory_order_relaxed);
		s->redetecting = !atomic_load(&w->serving);
		s->stalled = xstrdup(stall_text(w));
		s->lag_bytes = atomic_load_explicit(&w->lag_bytes, memory_order_relaxed);
		s->lag_oldest_ns = atomic_load_explicit(&w->lag_oldest_ns, memory_order_relaxed);
		s->lag_on_disk = atomic_load_explicit(&w->lag_on_disk, memory_order_relaxed);
		s->held_up = atomic_load(&w->held_up);
	}
	*ret_statuses = list;
	*ret_count = i->worker_count;
}

void ingest_counters(struct ingest *i, void (*count)(void *arg, const char *name, uint64_t value),
                     void *arg)
{
	uint64_t pauses = 0, untallied = 0, redetecting = 0, redetected = 0, failures = 0,
		 stalls = 0, dropped = 0, incomplete = 0, limited = 0, repeated = 0;

	for (size_t n = 0; n < i->worker_count; n++) {
		struct pipeline_counts counts = pipeline_counts(i->workers[n].pipeline);
		incomplete += counts.incomplete;
		limited += counts.limited;
		repeated +=
			atomic_load_explicit(&i->workers[n].intake.repeated, memory_order_relaxed);
		untallied += atomic_load_explicit(&i->workers[n].untallied, memory_order_relaxed);
		redetecting += !atomic_load(&i->workers[n].serving);
		pauses += atomic_load_explicit(&i->workers[n].accept_pauses, memory_order_relaxed);
		redetected += atomic_load_explicit(&i->workers[n].redetected, memory_order_relaxed);
		failures += atomic_load_explicit(&i->workers[n].redetect_failures,
		                                 memory_order_relaxed) +
		            counts.left_out;
		stalls += atomic_load_explicit(&i->workers[n].stalls, memory_order_relaxed);
		dropped +=
			atomic_load_explicit(&i->workers[n].mailbox_dropped, memory_order_relaxed) +
			atomic_load_explicit(&i->workers[n].reports_dropped, memory_order_relaxed);
	}
	count(arg, "ingest_frames_untallied", untallied);
	count(arg, "ingest_workers_redetecting", redetecting);
	count(arg, "ingest_frames_redetected", redetected);
	count(arg, "ingest_redetect_failures", failures);
	count(arg, "ingest_stalls", stalls);
	count(arg, "ingest_accept_pauses", pauses);
	count(arg, "ingest_own_events_dropped", dropped);
	count(arg, "ingest_events_incomplete", incomplete);
	count(arg, "ingest_tests_limited", limited);
	count(arg, "ingest_producers", producers_count(&i->shared.producers));
	count(arg, "ingest_frames_repeated", repeated);
	count(arg, "ingest_peer_certificates_forgotten",
	      peer_certificates_forgot(&i->shared.certificates));
}
