/* make simulate SEEDS=1000 STEPS=10000: the officer's core under random records, commands, faults and restarts, without a
 * clock, a disk or a thread. Each seed is run twice in the same world: once unbroken, once with a daemon that is killed
 * again and again, in the middle of batches, between the disk and the fold, while it comes back, with a ledger that ends
 * where the power went, and with snapshots that are cut off. A restart takes no time, so both runs must come to the same
 * books (officer/digest.h), no escalation may be left hanging, and the killed run's state must be, byte for byte, the
 * fold of its own ledger from the beginning.
 *
 * What is simulated is the shell around the fold as officer.c is: durable first, then folded, effects last; what workers
 * found again is told from what is in the ledger by state_has_match. */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/wire.h"
#include "officer/digest.h"
#include "officer/save.h"
#include "outside.h"

#define BATCH_MAX 256
#define TURNS_MAX 100000 /* timers due at one instant: more is a storm that would never end */
#define SETTLE_NS                                                                                  \
	(2 * NS_PER_DAY) /* after the last step: every escalation has come to its end by then */
#define KILL_ONE_IN 250  /* batches */
#define SAVE_ONE_IN 400  /* batches */
#define CUT_PERCENT 25   /* of the snapshots that a start finds */
#define SNAPSHOTS   2

struct entry {
	uint64_t sequence, time_ns;
	struct buf packed;
};

struct offer {
	Isod__V1__Record *record;
	bool borrowed; /* the world's own */
};

struct run {
	struct state state;
	struct effects effects;
	struct outside outside;
	struct entry *ledger;
	size_t ledger_count, ledger_cap;
	struct buf snapshots[SNAPSHOTS]; /* the newest first */
	struct offer batch[BATCH_MAX];
	size_t batch_count;
	uint64_t last_ns;
	bool faulty;
	struct random_records faults;
	/* what befell it */
	uint64_t kills, torn, cut, resumed, notified;
	char failure[256];
};

static void fail(struct run *r, const char *what)
{
	if (!r->failure[0])
		snprintf(r->failure, sizeof(r->failure), "step %" PRIu64 ": %.200s",
		         r->outside.step, what);
}

/* ---- the ledger and the fold ---- */

static void on_notify(void *arg, const Isod__V1__Notification *n,
                      const Isod__V1__Incident *incident)
{
	struct run *r = arg;
	const struct entry *last = &r->ledger[r->ledger_count - 1];

	if (r->state.sequence > last->sequence || !incident)
		fail(r, "an effect of what is not durable");
	r->notified++;
	outside_notify(&r->outside, n);
}

static void append(struct run *r, const Isod__V1__Record *record)
{
	xgrow(&r->ledger, &r->ledger_cap, r->ledger_count + 1, sizeof(*r->ledger));
	struct entry *e = &r->ledger[r->ledger_count++];
	*e = (struct entry){.sequence = r->ledger_count, .time_ns = r->last_ns};
	buf_init(&e->packed, 0);
	if (r->faulty) /* else nobody reads it */
		wire_pack(&e->packed, &record->base);
}

static void replay(const struct run *r, struct state *s)
{
	for (size_t i = s->sequence; i < r->ledger_count; i++) {
		const struct entry *e = &r->ledger[i];
		Isod__V1__Record *record =
			isod__v1__record__unpack(NULL, e->packed.n, (const uint8_t *)e->packed.p);
		state_apply(s, e->sequence, e->time_ns, record, NULL);
		isod__v1__record__free_unpacked(record, NULL);
	}
}

static int to_buf(void *arg, struct str bytes)
{
	return buf_add(arg, bytes);
}

static void take_snapshot(struct run *r)
{
	buf_release(&r->snapshots[SNAPSHOTS - 1]);
	memmove(r->snapshots + 1, r->snapshots, (SNAPSHOTS - 1) * sizeof(*r->snapshots));
	buf_init(&r->snapshots[0], 0);
	state_save(&r->state, to_buf, &r->snapshots[0]);
}

static void batch_free(struct run *r)
{
	for (size_t i = 0; i < r->batch_count; i++)
		if (!r->batch[i].borrowed)
			isod__v1__record__free_unpacked(r->batch[i].record, NULL);
	r->batch_count = 0;
}

/* The first `count` of the batch, whose `durable` are the ledger's last: the run with faults as the officer does it, the plain
 * one record by record. */
static void fold(struct run *r, size_t durable, size_t count)
{
	const struct entry *first = &r->ledger[r->ledger_count - durable];
	struct numbered records[BATCH_MAX];

	for (size_t i = 0; i < count; i++) {
		records[i] =
			(struct numbered){first[i].sequence, first[i].time_ns, r->batch[i].record};
		if (!r->faulty)
			state_apply(&r->state, first[i].sequence, first[i].time_ns,
			            r->batch[i].record, &r->effects);
	}
	if (r->faulty)
		state_apply_all(&r->state, records, count, &r->effects);
}

/* Makes the batch durable and folds it. False: the daemon was killed on the way. */
static bool commit(struct run *r)
{
	size_t durable = r->batch_count, folded = r->batch_count;
	bool killed = r->faulty && r->batch_count && random_below(&r->faults, KILL_ONE_IN) == 0;

	if (killed && random_chance(&r->faults, 50)) {
		durable = random_below(&r->faults, r->batch_count + 1);
		folded = 0;
		r->torn += durable < r->batch_count;
	} else if (killed) {
		folded = random_below(&r->faults, r->batch_count + 1);
	}
	if (r->outside.now > r->last_ns)
		r->last_ns = r->outside.now;
	for (size_t i = 0; i < durable; i++)
		append(r, r->batch[i].record);
	fold(r, durable, folded);
	batch_free(r);
	if (!killed && r->faulty && random_below(&r->faults, SAVE_ONE_IN) == 0)
		take_snapshot(r);
	return !killed;
}

static void batch_put(struct run *r, Isod__V1__Record *record, bool borrowed)
{
	if (r->batch_count == BATCH_MAX) {
		fail(r, "a batch too large for the simulation");
		return;
	}
	r->batch[r->batch_count++] = (struct offer){record, borrowed};
}

/* Takes over the record. */
static void batch_add(struct run *r, Isod__V1__Record *record)
{
	batch_put(r, record, false);
}

/* What a frame's rules found, as far as it is not in the ledger. */
static void batch_frame(struct run *r, const struct frame *f)
{
	for (unsigned m = 0; m < f->match_count; m++)
		if (!state_has_match(&r->state, f->matches[m]->match))
			batch_put(r, f->matches[m], true);
}

/* ---- coming back ---- */

/* From the newest snapshot that is whole, else the older one, else from nothing. */
static void load(struct run *r)
{
	for (size_t i = 0; i < SNAPSHOTS && r->snapshots[i].n; i++) {
		struct str bytes = buf_str(&r->snapshots[i]);
		bool cut = random_chance(&r->faults, CUT_PERCENT);
		char error[256];
		if (cut)
			bytes = str_head(bytes, random_below(&r->faults, bytes.n));
		state_init(&r->state);
		bool loaded = state_load(&r->state, bytes, error, sizeof(error)) == 0;
		if (loaded == cut)
			fail(r, cut ? "a snapshot that was cut off was taken" : error);
		if (loaded) {
			r->resumed++;
			return;
		}
		r->cut++;
		state_release(&r->state);
	}
	state_init(&r->state);
}

/* What each worker has in evidence beyond its cursor is detected again, frame by frame as they came. */
static bool redetect(struct run *r, size_t before)
{
	struct outside *o = &r->outside;
	uint64_t last[WORKERS] = {0};

	for (size_t i = 0; i < before; i++) {
		const struct frame *f = &o->frames[i];
		last[f->worker] = f->sequence;
		if (f->sequence <= o->tallied[f->worker])
			continue;
		batch_frame(r, f);
		if (r->batch_count > BATCH_MAX / 2 && !commit(r))
			return false;
	}
	for (uint32_t w = 0; w < WORKERS; w++) {
		Isod__V1__Record *tally = outside_tally(o, w, last[w]);
		if (tally)
			batch_add(r, tally);
	}
	return commit(r);
}

/* Once, with every step of it open to another kill. */
static bool try_restart(struct run *r, size_t before)
{
	r->kills++;
	outside_killed(&r->outside);
	state_release(&r->state);
	load(r);
	replay(r, &r->state);
	r->last_ns = r->state.time_ns;
	batch_add(r, random_started(&r->faults));
	if (!commit(r))
		return false;
	outside_restarted(&r->outside);
	return redetect(r, before);
}

/* `before`: how many frames came before this instant. */
static void restart(struct run *r, size_t before)
{
	while (!try_restart(r, before))
		;
}

/* ---- one instant ---- */

/* What the API asks before it writes a command, and the daemon before it writes settings. */
static bool wanted(const struct run *r, const Isod__V1__Record *record)
{
	if (record->body_case == ISOD__V1__RECORD__BODY_COMMAND)
		return incident_check(&r->state.incident, record->command) == 0;
	if (record->body_case == ISOD__V1__RECORD__BODY_SETTINGS)
		return !pb_equal(&record->settings->base, &r->state.settings->base);
	return true;
}

/* False: killed. */
static bool take_input(struct run *r, const struct input *in, size_t frames)
{
	struct outside *o = &r->outside;
	uint64_t upto = 0;

	switch (in->kind) {
	case INPUT_FRAME: batch_frame(r, &o->frames[in->frame]); return true;
	case INPUT_TALLY:
		for (size_t i = frames; i-- > 0 && !upto;)
			if (o->frames[i].worker == in->worker)
				upto = o->frames[i].sequence;
		Isod__V1__Record *tally = outside_tally(o, in->worker, upto);
		if (tally)
			batch_add(r, tally);
		return true;
	case INPUT_RECORD: break;
	}
	/* A command is written alone: its client waits for the outcome. */
	if (!commit(r))
		return false;
	if (!wanted(r, in->record))
		return true;
	batch_put(r, in->record, true);
	return commit(r);
}

static bool take_inputs(struct run *r, size_t before)
{
	size_t frames = before;

	for (size_t i = 0; i < r->outside.input_count; i++) {
		const struct input *in = &r->outside.inputs[i];
		frames += in->kind == INPUT_FRAME;
		if (!take_input(r, in, frames))
			return false;
	}
	return commit(r);
}

static void add_tick(struct run *r)
{
	Isod__V1__Record *record = RANDOM_BODY(TICK);

	RANDOM_NEW(record->tick, tick);
	batch_add(r, record);
}

/* Timers and plugins' answers until `until`. */
static void pass_time(struct run *r, uint64_t from, uint64_t until, size_t frames)
{
	struct outside *o = &r->outside;

	for (unsigned turns = 0;; turns++) {
		uint64_t deadline = state_next_deadline(&r->state), answer = outside_next_answer(o);
		uint64_t due = answer < deadline ? answer : deadline;
		if (due > until)
			break;
		if (turns > TURNS_MAX) {
			fail(r, "timers that never end");
			break;
		}
		o->now = due > from ? due : from;
		if (answer <= deadline) {
			batch_add(r, outside_answer(o));
		} else {
			add_tick(r);
		}
		if (!commit(r))
			restart(r, frames);
	}
	o->now = until;
}

static void step(struct run *r)
{
	struct outside *o = &r->outside;
	uint64_t from = o->now;
	size_t before = o->frame_count;

	outside_step(o);
	pass_time(r, from, o->now, before);
	while (!take_inputs(r, before))
		restart(r, before);
}

/* ---- a whole run ---- */

static void run_init(struct run *r, uint64_t seed, bool faulty)
{
	memset(r, 0, sizeof(*r));
	r->faulty = faulty;
	r->effects = (struct effects){.arg = r, .notify = on_notify};
	random_init(&r->faults, seed + 1, &r->state);
	state_init(&r->state);
	outside_init(&r->outside, seed, &r->state);
}

static void run_release(struct run *r)
{
	batch_free(r);
	for (size_t i = 0; i < r->ledger_count; i++)
		buf_release(&r->ledger[i].packed);
	for (size_t i = 0; i < SNAPSHOTS; i++)
		buf_release(&r->snapshots[i]);
	free(r->ledger);
	state_release(&r->state);
	outside_release(&r->outside);
}

static void run(struct run *r, uint64_t seed, bool faulty, uint64_t steps)
{
	struct random_records first;
	uint64_t found = 0;

	run_init(r, seed, faulty);
	random_init(&first, seed, &r->state);
	batch_add(r, random_started(&first));
	if (!commit(r))
		restart(r, 0);
	for (uint64_t i = 0; i < steps && !r->failure[0]; i++)
		step(r);
	uint64_t end = r->last_ns > r->outside.now ? r->last_ns : r->outside.now;
	pass_time(r, r->outside.now, end + SETTLE_NS, r->outside.frame_count);
	while (!redetect(r, r->outside.frame_count))
		restart(r, r->outside.frame_count);
	add_tick(r); /* both runs end at the same time: what is closed has left by it */
	if (!commit(r))
		restart(r, r->outside.frame_count);
	for (size_t i = 0; i < r->outside.frame_count; i++)
		found += r->outside.frames[i].match_count;
	if (r->state.matches != found)
		fail(r, "a match is missing or counted twice");
	if (r->state.reporting.pending_count)
		fail(r, "a notification is neither delivered nor given up");
}

/* ---- comparing ---- */

static void tell_rules(const char *whose, const Isod__V1__Incident *i)
{
	fprintf(stderr, "  incident %" PRIu64 ", %s: state %d, %" PRIu64 " matches:", i->id, whose,
	        (int)i->state, i->matches);
	for (size_t n = 0; n < i->n_rules; n++)
		fprintf(stderr, " %s×%" PRIu64, i->rules[n]->rule, i->rules[n]->count);
	fprintf(stderr, "\n");
}

static void tell_incidents(const struct run *a, const struct run *b)
{
	const struct incident_desk *x = &a->state.incident, *y = &b->state.incident;

	fprintf(stderr, "  %" PRIu64 " and %" PRIu64 " matches, %zu and %zu incidents\n",
	        a->state.matches, b->state.matches, x->count, y->count);
	for (uint64_t id = 1; id <= x->count && id <= y->count; id++) {
		const Isod__V1__Incident *i = incident_get(x, id), *j = incident_get(y, id);
		if (!i && !j)
			continue;
		if (i && j && i->matches == j->matches && i->state == j->state)
			continue;
		if (i)
			tell_rules("unbroken", i);
		if (j)
			tell_rules("killed", j);
		return;
	}
}

static void compare(struct run *plain, struct run *broken)
{
	uint8_t a[SHA256_BYTES], b[SHA256_BYTES];
	struct state fold;

	state_books_digest(&plain->state, a);
	state_books_digest(&broken->state, b);
	if (!plain->outside.absences && memcmp(a, b, sizeof(a)) != 0)
		fail(broken, "other books than the unbroken run's");
	state_init(&fold);
	replay(broken, &fold);
	state_digest(&fold, a);
	state_digest(&broken->state, b);
	if (memcmp(a, b, sizeof(a)) != 0)
		fail(broken, "not the fold of its own ledger");
	state_release(&fold);
}

struct sums {
	uint64_t seeds, failed, records, kills, torn, resumed, cut, incidents, left, notified;
};

/* True when nothing differs. */
static bool run_seed(uint64_t seed, uint64_t steps, bool tell, struct sums *sums)
{
	struct run plain, broken;

	run(&plain, seed, false, steps);
	run(&broken, seed, true, steps);
	compare(&plain, &broken);
	const char *failure = plain.failure[0] ? plain.failure : broken.failure;
	bool good = !failure[0];
	if (!good && tell) {
		fprintf(stderr, "seed %" PRIu64 ", %" PRIu64 " steps: %s\n", seed, steps, failure);
		tell_incidents(&plain, &broken);
	}
	sums->seeds++;
	sums->failed += !good;
	sums->records += plain.ledger_count + broken.ledger_count;
	sums->kills += broken.kills;
	sums->torn += broken.torn;
	sums->resumed += broken.resumed;
	sums->cut += broken.cut;
	sums->incidents += plain.state.incident.count;
	sums->left += plain.state.incident.count - plain.state.incident.items.held;
	sums->notified += plain.notified;
	run_release(&plain);
	run_release(&broken);
	return good;
}

/* The fewest steps, by halving, that still show the difference. */
static void narrow(uint64_t seed, uint64_t steps)
{
	uint64_t good = 0, bad = steps;
	struct sums ignored = {0};

	while (bad - good > 1) {
		uint64_t middle = good + (bad - good) / 2;
		if (run_seed(seed, middle, false, &ignored))
			good = middle;
		else
			bad = middle;
	}
	run_seed(seed, bad, true, &ignored);
	fprintf(stderr, "  again: make simulate SEEDS=%" PRIu64 "-%" PRIu64 " STEPS=%" PRIu64 "\n",
	        seed, seed, bad);
}

/* ---- many seeds, on all cores ---- */

static void run_seeds(uint64_t first, uint64_t last, uint64_t every, uint64_t steps, int out)
{
	struct sums sums = {0};

	for (uint64_t seed = first; seed <= last; seed += every)
		if (!run_seed(seed, steps, true, &sums))
			narrow(seed, steps);
	if (write(out, &sums, sizeof(sums)) != sizeof(sums))
		_exit(2);
	_exit(0);
}

static int run_all(uint64_t first, uint64_t last, uint64_t steps, unsigned jobs, struct sums *ret)
{
	int pipes[2], bad = 0, status;
	struct sums part;

	if (pipe(pipes) < 0)
		return 2;
	for (unsigned j = 0; j < jobs; j++)
		if (fork() == 0)
			run_seeds(first + j, last, jobs, steps, pipes[1]);
	close(pipes[1]);
	while (read(pipes[0], &part, sizeof(part)) == sizeof(part))
		for (size_t i = 0; i < sizeof(part) / sizeof(uint64_t); i++)
			((uint64_t *)ret)[i] += ((uint64_t *)&part)[i];
	while (wait(&status) > 0)
		bad |= status != 0;
	return bad;
}

static int usage(const char *name)
{
	fprintf(stderr,
	        "usage: %s [--seeds N|FIRST-LAST] [--steps N] [--jobs N]\n"
	        "runs each seed twice, unbroken and with kills, and compares; status 1 on a "
	        "difference\n",
	        name);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seeds", required_argument, NULL, 's'},
	                                        {"steps", required_argument, NULL, 'n'},
	                                        {"jobs", required_argument, NULL, 'j'},
	                                        {0}};
	uint64_t first = 1, last = 100, steps = 10000;
	unsigned jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	struct sums sums = {0};
	char *rest;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
		uint64_t n = c == '?' ? 0 : strtoull(optarg, &rest, 10);
		if (!n || (*rest && (c != 's' || *rest != '-')))
			return usage(argv[0]);
		if (c == 's') {
			first = *rest ? n : 1;
			last = *rest ? strtoull(rest + 1, NULL, 10) : n;
		} else if (c == 'n') {
			steps = n;
		} else {
			jobs = (unsigned)n;
		}
	}
	uint64_t began = clock_mono();
	int bad = run_all(first, last, steps, jobs, &sums);
	double minutes = (double)(clock_mono() - began) / (double)NS_PER_MINUTE;
	printf("%" PRIu64 " seeds of %" PRIu64 " steps, each unbroken and with kills: %" PRIu64
	       " differ\n"
	       "%" PRIu64 " records, %" PRIu64 " incidents (%" PRIu64 " left memory), %" PRIu64
	       " attempts to notify; %" PRIu64 " kills, %" PRIu64
	       " of them in a batch that was half on the disk; %" PRIu64
	       " starts from a snapshot, %" PRIu64 " snapshots cut off\n"
	       "%.2f million steps a minute\n",
	       sums.seeds, steps, sums.failed, sums.records, sums.incidents, sums.left,
	       sums.notified, sums.kills, sums.torn, sums.resumed, sums.cut,
	       (double)(sums.seeds * steps * 2) / minutes / 1e6);
	return bad || sums.failed || sums.seeds != last - first + 1;
}
