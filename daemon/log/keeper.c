/* A thread of low priority, because compressing must stall nobody: neither the worker nor the officer waits for it, and
 * what it reads is what nobody writes any more. It knows nothing of workers and incidents: each job brings the numbers
 * up to which something may be removed, and they are true for as long as the job takes, because they only rise.
 *
 * To tell them costs a walk over all open incidents, so a job without them asks first whether there is any need. */
#include "log/keeper.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define NICE 19
#define RETRY_NS                                                                                   \
	(60 * NS_PER_SECOND) /* after a disk that was full: each attempt writes a segment anew */
#define JUMP_NS       NS_PER_HOUR        /* a clock that is corrected in service moves by less */
#define JUMP_DOUBT_NS (24 * NS_PER_HOUR) /* time for somebody to notice */
#define DAMAGED_MAX   100000             /* remembered, so that each is told once */

struct damaged {
	char *dir;
	uint64_t first;
};

struct keeper {
	struct keeper_options o;
	struct damaged *damaged;
	size_t damaged_count, damaged_cap;
	uint64_t retry_mono; /* nothing is compressed before this */
	bool clock_known;
	uint64_t clock_offset; /* wall minus monotonic clock, as it is believed */
	uint64_t doubt_mono;   /* a jump is believed from then on; 0: there was none */

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct keeper_job *job; /* locked */
	bool ending;            /* locked */
	atomic_bool stop;
};

/* ---- jobs ---- */

struct keeper_job *keeper_job_new(void)
{
	return xcalloc(1, sizeof(struct keeper_job));
}

void keeper_job_add(struct keeper_job *j, enum segment_kind kind, char *dir, uint64_t counted,
                    uint64_t held)
{
	j->logs = xrealloc(j->logs, (j->count + 1) * sizeof(*j->logs));
	j->outcomes = xrealloc(j->outcomes, (j->count + 1) * sizeof(*j->outcomes));
	j->logs[j->count] = (struct keeper_log){dir, kind, counted, held};
	j->outcomes[j->count++] = (struct keeper_outcome){0};
}

void keeper_job_free(struct keeper_job *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < j->count; i++)
		free(j->logs[i].dir);
	free(j->logs);
	free(j->outcomes);
	free(j);
}

/* ---- time ---- */

/* The wall clock, unless it has just jumped forward. */
static uint64_t believed(struct keeper *k, uint64_t now, uint64_t mono)
{
	uint64_t offset = now - mono; /* may wrap: only compared as a difference */

	if (k->clock_known && (int64_t)(offset - k->clock_offset) > (int64_t)JUMP_NS) {
		if (!k->doubt_mono) {
			k->doubt_mono = mono + JUMP_DOUBT_NS;
			log_warning(
				"the clock jumped forward by %" PRIu64
				" s: for a day nothing is removed that was not old enough before",
				(offset - k->clock_offset) / NS_PER_SECOND);
		}
		if (mono < k->doubt_mono)
			return mono + k->clock_offset;
	}
	k->doubt_mono = 0;
	k->clock_known = true;
	k->clock_offset = offset;
	return now;
}

/* Everything in it is older than `age`. */
static bool is_past(const struct segment_info *info, uint64_t age, uint64_t now)
{
	return info->ended_ns <= now && now - info->ended_ns >= age;
}

/* ---- compressing ---- */

static bool known_damaged(const struct keeper *k, const char *dir, uint64_t first)
{
	for (size_t i = 0; i < k->damaged_count; i++)
		if (k->damaged[i].first == first && strcmp(k->damaged[i].dir, dir) == 0)
			return true;
	return false;
}

static void remember_damaged(struct keeper *k, const char *dir, uint64_t first)
{
	if (k->damaged_count == DAMAGED_MAX)
		return;
	xgrow(&k->damaged, &k->damaged_cap, k->damaged_count + 1, sizeof(*k->damaged));
	k->damaged[k->damaged_count++] = (struct damaged){xstrdup(dir), first};
}

/* False when the rest has to wait. */
static bool pack_one(struct keeper *k, const struct keeper_log *log, struct segment_info *info,
                     struct keeper_outcome *out, uint64_t mono)
{
	uint64_t before = info->stored;

	if (known_damaged(k, log->dir, info->first))
		return true;
	int r = segment_pack(log->dir, log->kind, info, k->o.policies[log->kind].level, &k->stop,
	                     out->error, sizeof(out->error));
	if (r == 0) {
		out->packed++;
		out->bytes_before += before;
		out->bytes_after += info->stored;
	} else if (r == -EBADMSG) {
		remember_damaged(k, log->dir, info->first);
		out->damaged++;
	} else if (r != -ECANCELED) {
		out->failed++;
		k->retry_mono = mono + RETRY_NS;
		return false;
	}
	return r != -ECANCELED;
}

static void pack_log(struct keeper *k, const struct keeper_log *log, struct keeper_outcome *out,
                     uint64_t now, uint64_t mono)
{
	const struct keeper_policy *p = &k->o.policies[log->kind];
	struct segment_info info = {0};

	if (p->level == 0 || mono < k->retry_mono)
		return;
	while (segment_plain_after(log->dir, log->kind, info.first, &info) > 0) {
		if (p->at_hand_ns && !is_past(&info, p->at_hand_ns, now))
			break;
		if (!pack_one(k, log, &info, out, mono))
			break;
	}
}

/* ---- removing ---- */

/* False when it could not be removed. */
static bool remove_oldest(const struct keeper_log *log, const struct segment_info *info,
                          struct keeper_outcome *out)
{
	int r = segment_remove(log->dir, log->kind, info, out->error, sizeof(out->error));

	if (r < 0) {
		out->failed++;
		return false;
	}
	if (out->removed++ == 0)
		out->first = info->first;
	out->last = info->next - 1;
	out->removed_bytes += info->stored;
	return true;
}

static void remove_old(const struct keeper *k, struct keeper_job *job, size_t i, uint64_t now)
{
	const struct keeper_log *log = &job->logs[i];
	struct keeper_outcome *out = &job->outcomes[i];
	uint64_t keep = k->o.policies[log->kind].keep_ns;
	struct segment_info info;

	while (keep && !atomic_load(&k->stop) && segment_oldest(log->dir, log->kind, &info) > 0 &&
	       is_past(&info, keep, now)) {
		job->wants_limits |= !job->limits;
		if (!job->limits || info.next - 1 > log->counted)
			break;
		out->held = info.next - 1 >= log->held;
		if (out->held || !remove_oldest(log, &info, out))
			break;
	}
}

/* The log whose oldest segment is the oldest of all that may be removed, or job->count. */
static size_t find_oldest(const struct keeper_job *job, enum segment_kind kind,
                          struct segment_info *ret)
{
	size_t found = job->count;
	struct segment_info info;

	for (size_t i = 0; i < job->count; i++) {
		const struct keeper_log *log = &job->logs[i];
		if (log->kind != kind || job->outcomes[i].failed ||
		    segment_oldest(log->dir, kind, &info) <= 0 || info.next - 1 > log->counted)
			continue;
		if (found == job->count || info.ended_ns < ret->ended_ns) {
			found = i;
			*ret = info;
		}
	}
	return found;
}

static uint64_t stored_by(const struct keeper_job *job, enum segment_kind kind)
{
	uint64_t sum = 0, bytes;

	for (size_t i = 0; i < job->count; i++)
		if (job->logs[i].kind == kind && segment_stored(job->logs[i].dir, &bytes) == 0)
			sum += bytes;
	return sum;
}

static void remove_to_size(const struct keeper *k, struct keeper_job *job, enum segment_kind kind,
                           uint64_t now)
{
	const struct keeper_policy *p = &k->o.policies[kind];
	uint64_t stored = p->keep_bytes ? stored_by(job, kind) : 0;
	struct segment_info info = {0};

	if (!p->keep_bytes || stored <= p->keep_bytes)
		return;
	job->wants_limits |= !job->limits;
	while (job->limits && stored > p->keep_bytes && !atomic_load(&k->stop)) {
		size_t i = find_oldest(job, kind, &info);
		job->over[kind] = i == job->count;
		if (i == job->count)
			break;
		bool early = info.next - 1 >= job->logs[i].held ||
		             (p->keep_ns == 0 || !is_past(&info, p->keep_ns, now));
		if (!remove_oldest(&job->logs[i], &info, &job->outcomes[i]))
			continue;
		job->outcomes[i].removed_early += early;
		stored -= info.stored < stored ? info.stored : stored;
	}
}

/* ---- the pass ---- */

void keeper_pass(struct keeper *k, struct keeper_job *job, uint64_t now_ns, uint64_t mono_ns)
{
	uint64_t now = believed(k, now_ns, mono_ns);

	/* First what goes: there is no point in compressing that, and it makes room. */
	for (size_t i = 0; i < job->count && !atomic_load(&k->stop); i++)
		remove_old(k, job, i, now);
	remove_to_size(k, job, SEGMENT_EVIDENCE, now);
	remove_to_size(k, job, SEGMENT_LEDGER, now);
	for (size_t i = 0; i < job->count && !atomic_load(&k->stop); i++)
		pack_log(k, &job->logs[i], &job->outcomes[i], now, mono_ns);
}

static void *keeper_main(void *arg)
{
	struct keeper *k = arg;

	/* Linux gives each thread a priority of its own. That it cannot be lowered is no reason to do nothing. */
	(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	pthread_mutex_lock(&k->lock);
	while (!k->ending) {
		struct keeper_job *job = k->job;
		if (!job) {
			pthread_cond_wait(&k->wake, &k->lock);
			continue;
		}
		pthread_mutex_unlock(&k->lock);
		keeper_pass(k, job, clock_now(), clock_mono());
		pthread_mutex_lock(&k->lock);
		if (k->ending)
			break;
		k->job = NULL;
		pthread_mutex_unlock(&k->lock);
		k->o.done(k->o.arg, job);
		pthread_mutex_lock(&k->lock);
	}
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

bool keeper_run(struct keeper *k, struct keeper_job *job)
{
	pthread_mutex_lock(&k->lock);
	bool free_now = !k->job;
	if (free_now)
		k->job = job;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
	return free_now;
}

int keeper_new(const struct keeper_options *o, struct keeper **ret)
{
	struct keeper *k = xcalloc(1, sizeof(*k));
	sigset_t all, before;

	k->o = *o;
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->wake, NULL);
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = -pthread_create(&k->thread, NULL, keeper_main, k);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		pthread_mutex_destroy(&k->lock);
		pthread_cond_destroy(&k->wake);
		free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	atomic_store(&k->stop, true);
	pthread_mutex_lock(&k->lock);
	k->ending = true;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->thread, NULL);
	keeper_job_free(k->job);
	for (size_t i = 0; i < k->damaged_count; i++)
		free(k->damaged[i].dir);
	free(k->damaged);
	pthread_mutex_destroy(&k->lock);
	pthread_cond_destroy(&k->wake);
	free(k);
}
