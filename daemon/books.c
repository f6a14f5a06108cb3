/* The keeper's jobs: every few seconds one pass over all logs. It is first run without the numbers up to which evidence
 * may be removed, because the lowest sequences that open incidents refer to take a walk over all of them; when it finds
 * that something could go, it is run once more at once, with them. */
#include "books.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "log/anchor.h"
#include "log/keeper.h"
#include "officer/state.h"

#define PASS_SECONDS 5 /* between passes: a finished segment waits for that long at most */

#define KINDS (SEGMENT_LEDGER + 1)

static const char *const kind_names[KINDS] = {
	[SEGMENT_EVIDENCE] = "evidence", [SEGMENT_LEDGER] = "ledger"};

/* What was done to all logs of a kind since the start. */
struct kept {
	uint64_t packed, bytes_before, bytes_after;
	uint64_t removed, removed_bytes, removed_early;
	uint64_t damaged, failures;
	bool held, over, failing;
};

struct books {
	struct books_options o;
	struct keeper *keeper;
	struct event *timer, *done;
	bool busy; /* the keeper has a job, or its answer was not taken yet */
	_Atomic(struct keeper_job *) finished; /* by the keeper's thread, for the loop's */
	struct kept kept[KINDS];

	struct event *anchor_timer;
	struct sign_key *key; /* NULL: no anchors */
	char *anchor_path;
	uint64_t anchored; /* the last sequence that was */
	uint64_t anchors, anchor_failures;
	bool anchor_failing;
};

/* ---- jobs ---- */

/* The lowest evidence sequence of each worker that an open incident refers to; UINT64_MAX: none. The caller frees. */
static uint64_t *held_by_incidents(const struct state *s, size_t workers)
{
	uint64_t *held = xcalloc(workers ? workers : 1, sizeof(*held));
	const Isod__V1__Incident *i;

	for (size_t w = 0; w < workers; w++)
		held[w] = UINT64_MAX;
	for (uint64_t id = 0; (i = incident_next(&s->incident, &id));) {
		for (size_t e = 0; incident_is_open(i) && e < i->n_evidence; e++) {
			const Isod__V1__EvidenceRef *ref = i->evidence[e];
			if (ref->worker < workers && ref->sequence < held[ref->worker])
				held[ref->worker] = ref->sequence;
		}
	}
	return held;
}

static void add_evidence(const struct books *b, struct keeper_job *job)
{
	const struct state *s = b->o.state;
	char *folder = xasprintf("%s/evidence", b->o.config->state_dir);
	uint64_t *held = job->limits ? held_by_incidents(s, s->cursor_count) : NULL;
	DIR *d = opendir(folder);
	const struct dirent *e;
	uint64_t w;

	/* Also those of workers that are no more. */
	while (d && (e = readdir(d)))
		if (str_to_u64(str_of(e->d_name), &w) == 0)
			keeper_job_add(job, SEGMENT_EVIDENCE, xasprintf("%s/%s", folder, e->d_name),
			               w < s->cursor_count ? s->cursors[w].upto : 0,
			               held && w < s->cursor_count ? held[w] : UINT64_MAX);
	if (d)
		closedir(d);
	free(held);
	free(folder);
}

static void anchor(struct books *b);

static void run(struct books *b, bool limits)
{
	if (b->busy)
		return; /* it goes on when that is done */
	/* Something may go: what is kept must not begin behind the last anchor. */
	if (limits)
		anchor(b);
	struct keeper_job *job = keeper_job_new();

	job->limits = limits;
	add_evidence(b, job);
	keeper_job_add(job, SEGMENT_LEDGER, xasprintf("%s/ledger", b->o.config->state_dir),
	               b->o.snapshot ? b->o.snapshot(b->o.arg) : 0, UINT64_MAX);
	b->busy = keeper_run(b->keeper, job);
	if (!b->busy)
		keeper_job_free(job);
}

static void arm(struct books *b)
{
	const struct timeval tv = {.tv_sec = PASS_SECONDS};

	evtimer_add(b->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run(arg, false);
}

/* ---- outcomes ---- */

static void tell(const struct books *b, enum segment_kind kind, const char *what,
                 const char *detail, bool failure)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_%s", kind_names[kind], what);
	b->o.event(b->o.arg, name,
	           (const char *const[]){"detail", detail, "outcome",
	                                 failure ? "failure" : "success", NULL});
}

static void tell_removed(const struct books *b, const struct keeper_log *log,
                         const struct keeper_outcome *out)
{
	char *text = xasprintf("%s: sequences %" PRIu64 " to %" PRIu64 " in %" PRIu64
	                       " segments (%" PRIu64 " bytes)",
	                       log->dir, out->first, out->last, out->removed, out->removed_bytes);
	char *early = out->removed_early
	                      ? xasprintf("; %" PRIu64 " segments before their time, for keep_size",
	                                  out->removed_early)
	                      : xstrdup("");
	char *all = xasprintf("%s%s", text, early);

	log_notice("removed as retention says: %s", all);
	tell(b, log->kind, out->removed_early ? "removed_early" : "removed", all, false);
	free(all);
	free(early);
	free(text);
}

static void take_outcome(struct books *b, const struct keeper_log *log,
                         const struct keeper_outcome *out)
{
	struct kept *k = &b->kept[log->kind];

	k->packed += out->packed;
	k->bytes_before += out->bytes_before;
	k->bytes_after += out->bytes_after;
	k->removed += out->removed;
	k->removed_bytes += out->removed_bytes;
	k->removed_early += out->removed_early;
	k->damaged += out->damaged;
	k->failures += out->failed;
	k->held |= out->held;
	if (out->packed)
		log_info("%s: %" PRIu64 " segments compressed, %" PRIu64 " bytes to %" PRIu64,
		         log->dir, out->packed, out->bytes_before, out->bytes_after);
	if (out->removed)
		tell_removed(b, log, out);
	if (out->damaged) {
		log_error("%" PRIu64 " finished segments are damaged and stay as they are: %s",
		          out->damaged, out->error);
		tell(b, log->kind, "damaged", out->error, true);
	}
}

/* An attempt that fails is repeated; only the first of a row is told. */
static void take_failures(struct books *b, const struct keeper_job *job)
{
	bool failing[KINDS] = {false};

	for (size_t i = 0; i < job->count; i++) {
		enum segment_kind kind = job->logs[i].kind;
		const struct keeper_outcome *out = &job->outcomes[i];
		if (!out->failed || failing[kind])
			continue;
		failing[kind] = true;
		if (b->kept[kind].failing)
			continue;
		log_warning("it will be tried again: %s", out->error);
		tell(b, kind, "upkeep_failed", out->error, true);
	}
	for (enum segment_kind kind = SEGMENT_EVIDENCE; kind < KINDS; kind++) {
		b->kept[kind].failing = failing[kind];
		if (job->limits && job->over[kind] && !b->kept[kind].over) {
			log_warning(
				"%s is larger than its keep_size, and none of it may be removed",
				kind_names[kind]);
			tell(b, kind, "over_size", "none of it may be removed", true);
		}
		if (job->limits || !job->wants_limits)
			b->kept[kind].over = job->over[kind];
	}
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct books *b = arg;
	struct keeper_job *job = atomic_exchange(&b->finished, NULL);

	(void)fd;
	(void)what;
	if (!job)
		return;
	b->busy = false;
	/* Without limits, and with something that could go, nothing is known yet. */
	bool known = job->limits || !job->wants_limits;
	for (size_t kind = 0; kind < KINDS; kind++)
		b->kept[kind].held = b->kept[kind].held && !known;
	for (size_t i = 0; i < job->count; i++)
		take_outcome(b, &job->logs[i], &job->outcomes[i]);
	take_failures(b, job);
	bool again = job->wants_limits;
	keeper_job_free(job);
	arm(b);
	if (again)
		run(b, true);
}

/* In the keeper's thread. */
static void job_done(void *arg, struct keeper_job *job)
{
	struct books *b = arg;

	atomic_store(&b->finished, job);
	event_active(b->done, EV_READ, 0);
}

/* ---- anchors ---- */

static void tell_anchor(struct books *b, int r)
{
	if (r == 0 && b->anchor_failing)
		log_notice("%s can be written again", b->anchor_path);
	if (r < 0 && !b->anchor_failing) {
		log_error("the ledger could not be anchored in %s: %s", b->anchor_path,
		          strerror(-r));
		tell(b, SEGMENT_LEDGER, "anchor_failed", strerror(-r), true);
	}
	b->anchor_failing = r < 0;
	b->anchor_failures += r < 0;
	b->anchors += r == 0;
}

/* Signs the ledger's head, if it is another one than the last time. */
static void anchor(struct books *b)
{
	char line[ANCHOR_LINE_MAX];
	const uint8_t *head;
	uint64_t sequence;

	if (!b->key || b->o.head(b->o.arg, &sequence, &head) < 0 || sequence == b->anchored)
		return;
	int n = anchor_line(b->key, b->o.config->node, sequence, clock_now(), head, line);
	if (n > 0) {
		syslog(LOG_NOTICE | LOG_DAEMON, "%.*s", n - 1, line);
		int r = anchor_append(b->anchor_path, str_make(line, (size_t)n));
		n = r < 0 ? r : n;
	}
	if (n > 0)
		b->anchored = sequence;
	tell_anchor(b, n < 0 ? n : 0);
}

static void arm_anchor(struct books *b)
{
	const uint64_t ns = b->o.config->anchor_interval_ns;
	const struct timeval tv = {.tv_sec = (time_t)(ns / NS_PER_SECOND),
	                           .tv_usec = (suseconds_t)(ns % NS_PER_SECOND / 1000)};

	evtimer_add(b->anchor_timer, &tv);
}

static void on_anchor(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	anchor(arg);
	arm_anchor(arg);
}

/* Without the key that signed them (a backup has it not) the anchors cannot be gone on with: they and the public key get
 * another name, and a new key is made. 0 or -errno. */
static int set_aside(const char *path, const char *public)
{
	char *aside = xasprintf("%s.until-%" PRIu64, path, clock_now() / NS_PER_SECOND);
	char *key = xasprintf("%s.pub", aside);
	int r = rename(public, key) < 0 && errno != ENOENT ? -errno : 0;

	if (r == 0 && rename(path, aside) < 0)
		r = -errno;
	if (r == 0)
		log_notice("the key of %s is not here: they are in %s now, and a new key is made",
		           path, aside);
	free(key);
	free(aside);
	return r;
}

static int open_anchors(struct books *b, char *error, size_t error_size)
{
	const char *state = b->o.config->state_dir;

	b->anchor_path = xasprintf("%s/anchors", state);
	if (b->o.config->anchor_interval_ns == 0)
		return 0;
	char *private = xasprintf("%s/anchors.key", state);
	char *public = xasprintf("%s/anchors.pub", state);
	int r = 0;
	if (access(private, F_OK) < 0 && errno == ENOENT && access(b->anchor_path, F_OK) == 0)
		r = set_aside(b->anchor_path, public);
	if (r == 0)
		r = sign_key_open(private, public, &b->key);
	if (r < 0)
		snprintf(error, error_size, "%s: %s", private,
		         r == -EBADMSG ? "no Ed25519 key" : strerror(-r));
	else
		arm_anchor(b);
	free(private);
	free(public);
	return r;
}

/* ---- life ---- */

static struct keeper_policy policy_of(const struct keep_config *c)
{
	struct keeper_policy p = {.level = (int)c->compress, .keep_bytes = c->keep_bytes};

	config_retention(c, &p.keep_ns, &p.at_hand_ns);
	return p;
}

int books_open(const struct books_options *o, struct books **ret, char *error, size_t error_size)
{
	struct books *b = xcalloc(1, sizeof(*b));
	const struct keeper_options options = {
		.policies = {[SEGMENT_EVIDENCE] = policy_of(&o->config->evidence_keep),
	                     [SEGMENT_LEDGER] = policy_of(&o->config->ledger_keep)},
		.done = job_done,
		.arg = b,
	};

	b->o = *o;
	b->timer = evtimer_new(o->base, on_timer, b);
	b->done = event_new(o->base, -1, EV_PERSIST, on_done, b);
	b->anchor_timer = evtimer_new(o->base, on_anchor, b);
	if (!b->timer || !b->done || !b->anchor_timer)
		abort();
	int r = open_anchors(b, error, error_size);
	if (r == 0)
		r = keeper_new(&options, &b->keeper);
	if (r < 0) {
		books_close(b);
		return r;
	}
	arm(b);
	*ret = b;
	return 0;
}

void books_close(struct books *b)
{
	if (!b)
		return;
	anchor(b);
	keeper_free(b->keeper);
	keeper_job_free(atomic_load(&b->finished));
	event_free(b->timer);
	event_free(b->done);
	event_free(b->anchor_timer);
	sign_key_free(b->key);
	free(b->anchor_path);
	free(b);
}

void books_counters(const struct books *b,
                    void (*count)(void *arg, const char *name, uint64_t value), void *arg)
{
	for (enum segment_kind kind = SEGMENT_EVIDENCE; kind < KINDS; kind++) {
		const struct kept *k = &b->kept[kind];
		const struct {
			const char *name;
			uint64_t value;
		} counters[] = {
			{"segments_compressed", k->packed},
			{"bytes_compressed", k->bytes_before},
			{"bytes_compressed_to", k->bytes_after},
			{"segments_removed", k->removed},
			{"bytes_removed", k->removed_bytes},
			{"segments_removed_early", k->removed_early},
			{"segments_damaged", k->damaged},
			{"upkeep_failures", k->failures},
			{"removal_waits_for_incident", k->held},
			{"over_keep_size", k->over},
		};
		for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
			char name[64];
			snprintf(name, sizeof(name), "%s_%s", kind_names[kind], counters[i].name);
			count(arg, name, counters[i].value);
		}
	}
	count(arg, "ledger_anchors", b->anchors);
	count(arg, "ledger_anchor_failures", b->anchor_failures);
}
