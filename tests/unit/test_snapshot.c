/* Snapshot files: what is loaded is what was written, what is damaged or of another ledger is passed over, and a state
 * comes back the same whichever way it comes back. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "folder.h"
#include "log/ledger.h"
#include "officer/digest.h"
#include "officer/recover.h"
#include "officer/snapshot_keeper.h"
#include "random_records.h"

static char dir[FOLDER_BYTES], ledger[FOLDER_BYTES + 16], snapshots[FOLDER_BYTES + 16], error[512];

static void begin(void)
{
	log_setup(LOG_TO_STDERR, LOG_EMERG, "test_snapshot");
	folder_new(dir, "snapshot");
	snprintf(ledger, sizeof(ledger), "%s/ledger", dir);
	snprintf(snapshots, sizeof(snapshots), "%s/snapshots", dir);
	cr_assert_eq(mkdir(ledger, 0700), 0);
}

static void end(void)
{
	folder_remove(dir);
}

TestSuite(snapshot, .init = begin, .fini = end);

/* A state with its ledger: records are appended and folded. */
struct live {
	struct state state;
	struct random_records random;
	struct segment_log *log;
};

static void live_init(struct live *l, uint64_t seed)
{
	const struct segment_options options = {.kind = SEGMENT_LEDGER, .segment_bytes = 100000};

	state_init(&l->state);
	random_init(&l->random, seed, &l->state);
	cr_assert_eq(segment_open(ledger, &options, &l->log, error, sizeof(error)), 0, "%s", error);
}

static void live_run(struct live *l, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		Isod__V1__Record *record = random_next(&l->random);
		uint64_t sequence = ledger_append(l->log, l->random.now, record);
		state_apply(&l->state, sequence, l->random.now, record, NULL);
		isod__v1__record__free_unpacked(record, NULL);
	}
	cr_assert_eq(segment_sync(l->log), 0);
}

static void live_snapshot(struct live *l)
{
	struct snapshot_tools *t = snapshot_tools_new();

	cr_assert_eq(snapshot_write(t, snapshots, &l->state, segment_chain(l->log)), 0);
	snapshot_tools_free(t);
}

static void live_release(struct live *l)
{
	segment_close(l->log);
	state_release(&l->state);
}

static void assert_digest(const struct state *a, const struct state *b)
{
	uint8_t x[SHA256_BYTES], y[SHA256_BYTES];

	state_digest(a, x);
	state_digest(b, y);
	cr_assert_arr_eq(x, y, SHA256_BYTES);
}

/* Recovers, and compares with the live one. */
static struct recovery recover_same(const struct live *l)
{
	struct recovery r;
	struct state s;

	state_init(&s);
	cr_assert_eq(state_recover(&s, ledger, snapshots, &r, error, sizeof(error)), 0, "%s",
	             error);
	assert_digest(&l->state, &s);
	state_release(&s);
	return r;
}

static char *path_of(uint64_t sequence)
{
	char name[SNAPSHOT_NAME_BYTES];

	snapshot_name(sequence, name);
	return xasprintf("%s/%s", snapshots, name);
}

static void flip(uint64_t sequence, off_t at)
{
	char *path = path_of(sequence), byte;
	int fd = open(path, O_RDWR);

	cr_assert_geq(fd, 0);
	at = lseek(fd, at, at < 0 ? SEEK_END : SEEK_SET);
	cr_assert_eq(read(fd, &byte, 1), 1);
	byte ^= 0x40;
	cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
	free(path);
}

Test(snapshot, a_start_folds_only_what_came_after_it)
{
	struct live l;

	live_init(&l, 1);
	live_run(&l, 700);
	cr_assert_eq(recover_same(&l).snapshot, 0, "there is none yet");
	live_snapshot(&l);
	struct recovery r = recover_same(&l);
	cr_assert_eq(r.snapshot, 700);
	cr_assert_eq(r.facts.records, 0);
	cr_assert_arr_eq(r.facts.chain, segment_chain(l.log), SHA256_BYTES);
	live_run(&l, 300);
	r = recover_same(&l);
	cr_assert_eq(r.snapshot, 700);
	cr_assert_eq(r.facts.records, 300);
	cr_assert_eq(r.refused, 0);
	live_release(&l);
}

Test(snapshot, a_damaged_one_is_passed_over_for_the_older_and_then_for_the_whole_ledger)
{
	struct live l;

	live_init(&l, 2);
	live_run(&l, 400);
	live_snapshot(&l);
	live_run(&l, 400);
	live_snapshot(&l);
	live_run(&l, 10);
	cr_assert_eq(recover_same(&l).snapshot, 800);
	flip(800, -1);
	struct recovery r = recover_same(&l);
	cr_assert_eq(r.snapshot, 400);
	cr_assert_eq(r.refused, 1);
	cr_assert_not_null(strstr(r.why, "SHA-256"), "%s", r.why);
	flip(400, 100);
	r = recover_same(&l);
	cr_assert_eq(r.snapshot, 0);
	cr_assert_eq(r.refused, 2);
	cr_assert_eq(r.facts.records, 810);
	live_release(&l);
}

Test(snapshot, every_byte_counts)
{
	struct live l;
	uint8_t chain[SHA256_BYTES];
	struct stat st;

	live_init(&l, 3);
	live_run(&l, 60);
	live_snapshot(&l);
	char *path = path_of(60);
	cr_assert_eq(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at += 1 + at / 100) {
		struct state s;
		flip(60, at);
		state_init(&s);
		error[0] = '\0';
		cr_assert_eq(snapshot_load(snapshots, 60, &s, chain, error, sizeof(error)),
		             -EBADMSG, "byte %lld", (long long)at);
		cr_assert_not_null(strstr(error, path), "%s", error);
		state_release(&s);
		flip(60, at);
	}
	for (off_t size = 0; size < st.st_size; size += 1 + size / 10) {
		char *copy = path_of(61),
		     *command = xasprintf("head -c %lld %s > %s", (long long)size, path, copy);
		struct state s;
		cr_assert_eq(system(command), 0);
		state_init(&s);
		cr_assert_eq(snapshot_load(snapshots, 61, &s, chain, error, sizeof(error)),
		             -EBADMSG);
		state_release(&s);
		free(command);
		free(copy);
	}
	free(path);
	live_release(&l);
}

Test(snapshot, one_of_another_ledger_is_refused)
{
	struct live l;

	live_init(&l, 4);
	live_run(&l, 500);
	live_snapshot(&l);
	live_release(&l);
	folder_remove(ledger);
	cr_assert_eq(mkdir(ledger, 0700), 0);
	live_init(&l, 5);
	live_run(&l, 600);
	struct recovery r = recover_same(&l);
	cr_assert_eq(r.snapshot, 0);
	cr_assert_not_null(strstr(r.why, "is not of the ledger"), "%s", r.why);
	live_release(&l);
	folder_remove(ledger);
	cr_assert_eq(mkdir(ledger, 0700), 0);
	live_init(&l, 4);
	live_run(&l, 300);
	r = recover_same(&l);
	cr_assert_not_null(strstr(r.why, "ends before record 500"), "%s", r.why);
	live_release(&l);
}

Test(snapshot, two_are_kept_and_the_older_one_tells_what_of_the_ledger_is_needed)
{
	struct live l;
	uint64_t *all;
	size_t count;

	live_init(&l, 6);
	cr_assert_eq(snapshot_prune(snapshots, 2), 0, "no folder yet");
	for (int i = 1; i <= 4; i++) {
		live_run(&l, 100);
		live_snapshot(&l);
		cr_assert_eq(snapshot_prune(snapshots, 2), i == 1 ? 0 : (uint64_t)(i - 1) * 100);
	}
	char *left = xasprintf("%s/00000000000000000401.snap.tmp", snapshots);
	close(open(left, O_CREAT | O_WRONLY, 0600));
	snapshot_prune(snapshots, 2);
	cr_assert_neq(access(left, F_OK), 0, "what a killed writer left behind is removed");
	free(left);
	cr_assert_eq(snapshot_list(snapshots, &all, &count), 0);
	cr_assert_eq(count, 2);
	cr_assert_eq(all[0], 400);
	cr_assert_eq(all[1], 300);
	free(all);
	live_release(&l);
}

/* ---- the keeper ---- */

struct outcome {
	unsigned count;
	uint64_t sequence;
	int error;
};

static void on_done(void *arg, uint64_t sequence, int e)
{
	struct outcome *o = arg;

	o->count++;
	o->sequence = sequence;
	o->error = e;
}

static struct snapshot_keeper *keeper(struct event_base *base, struct outcome *o, uint64_t records)
{
	const struct snapshot_options options = {.dir = snapshots,
	                                         .interval_ns = 1,
	                                         .records = records,
	                                         .base = base,
	                                         .done = on_done,
	                                         .arg = o};
	return snapshot_keeper_new(&options, 0);
}

static void until_done(struct event_base *base, const struct outcome *o, unsigned count)
{
	while (o->count < count)
		cr_assert_geq(event_base_loop(base, EVLOOP_ONCE), 0);
}

Test(snapshot, a_child_writes_what_memory_held_when_it_was_begun)
{
	struct live l;
	struct outcome o = {0};
	struct event_base *base = event_base_new();
	struct snapshot_keeper *k = keeper(base, &o, 0);
	uint8_t chain[SHA256_BYTES], before[SHA256_BYTES], after[SHA256_BYTES];
	struct state s;

	live_init(&l, 7);
	snapshot_keeper_consider(k, &l.state, segment_chain(l.log));
	cr_assert_eq(o.count, 0, "nothing to write yet");
	live_run(&l, 500);
	state_digest(&l.state, before);
	snapshot_keeper_consider(k, &l.state, segment_chain(l.log));
	live_run(&l, 500);
	until_done(base, &o, 1);
	cr_assert_eq(o.error, 0, "%s", strerror(-o.error));
	cr_assert_eq(o.sequence, 500);
	state_init(&s);
	cr_assert_eq(snapshot_load(snapshots, 500, &s, chain, error, sizeof(error)), 0, "%s",
	             error);
	state_digest(&s, after);
	cr_assert_arr_eq(before, after, SHA256_BYTES);
	state_release(&s);
	cr_assert_eq(snapshot_keeper_floor(k), 0, "one is not two");
	cr_assert_eq(snapshot_keeper_now(k, &l.state, segment_chain(l.log)), 0);
	cr_assert_eq(snapshot_keeper_now(k, &l.state, segment_chain(l.log)), 0, "it is there");
	cr_assert_eq(o.count, 2);
	cr_assert_eq(snapshot_keeper_counts(k)->written, 2);
	cr_assert_eq(snapshot_keeper_counts(k)->sequence, 1000);
	cr_assert_gt(snapshot_keeper_counts(k)->bytes, 0);
	cr_assert_eq(snapshot_keeper_floor(k), 499);
	snapshot_keeper_free(k);
	event_base_free(base);
	live_release(&l);
}

Test(snapshot, a_folder_that_takes_none_is_told_and_counted)
{
	struct live l;
	struct outcome o = {0};
	struct event_base *base = event_base_new();

	close(open(snapshots, O_CREAT | O_WRONLY, 0600));
	struct snapshot_keeper *k = keeper(base, &o, 0);
	live_init(&l, 8);
	live_run(&l, 100);
	snapshot_keeper_consider(k, &l.state, segment_chain(l.log));
	until_done(base, &o, 1);
	cr_assert_lt(o.error, 0);
	cr_assert_eq(snapshot_keeper_counts(k)->failed, 1);
	live_run(&l, 100);
	snapshot_keeper_consider(k, &l.state, segment_chain(l.log));
	cr_assert_eq(o.count, 1, "not again at once");
	cr_assert_lt(snapshot_keeper_now(k, &l.state, segment_chain(l.log)), 0);
	cr_assert_eq(recover_same(&l).snapshot, 0);
	snapshot_keeper_free(k);
	cr_assert_eq(remove(snapshots), 0);
	event_base_free(base);
	live_release(&l);
}

Test(snapshot, one_that_failed_is_tried_again)
{
	struct live l;
	struct outcome o = {0};
	struct event_base *base = event_base_new();
	const struct snapshot_options options = {.dir = snapshots,
	                                         .interval_ns = 1,
	                                         .retry_ns = 1,
	                                         .base = base,
	                                         .done = on_done,
	                                         .arg = &o};
	uint8_t chain[SHA256_BYTES];
	struct state s;

	close(open(snapshots, O_CREAT | O_WRONLY, 0600)); /* where the folder is to be */
	struct snapshot_keeper *k = snapshot_keeper_new(&options, 0);
	live_init(&l, 10);
	live_run(&l, 100);
	for (unsigned i = 1; i <= 3; i++) {
		snapshot_keeper_consider(k, &l.state, segment_chain(l.log));
		until_done(base, &o, i);
		cr_assert_lt(o.error, 0);
		cr_assert_eq(o.sequence, 100, "the same state, no record came");
	}
	cr_assert_eq(snapshot_keeper_counts(k)->failed, 3);
	cr_assert_eq(remove(snapshots), 0);
	snapshot_keeper_consider(k, &l.state, segment_chain(l.log));
	until_done(base, &o, 4);
	cr_assert_eq(o.error, 0, "%s", strerror(-o.error));
	cr_assert_eq(snapshot_keeper_counts(k)->written, 1);
	state_init(&s);
	cr_assert_eq(snapshot_load(snapshots, 100, &s, chain, error, sizeof(error)), 0, "%s",
	             error);
	state_release(&s);
	snapshot_keeper_consider(k, &l.state, segment_chain(l.log));
	cr_assert_eq(o.count, 4, "nothing new to write");
	snapshot_keeper_free(k);
	event_base_free(base);
	live_release(&l);
}

Test(snapshot, a_child_that_writes_at_the_end_is_ended)
{
	struct live l;
	struct outcome o = {0};
	struct event_base *base = event_base_new();
	struct snapshot_keeper *k = keeper(base, &o, 0);

	live_init(&l, 9);
	live_run(&l, 2000);
	snapshot_keeper_consider(k, &l.state, segment_chain(l.log));
	snapshot_keeper_free(k);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
	recover_same(&l);
	event_base_free(base);
	live_release(&l);
}
