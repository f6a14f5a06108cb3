/* Ten million records are to be folded in seconds. So nothing is allocated for one: records are unpacked into an arena, a
 * batch of them at a time, and what those of a batch touch is fetched into the cache together (state_apply_all).
 * And the two halves of the work go on side by side: a thread of its own reads, proves and unpacks, which knows nothing
 * of the state; the caller folds what it hands over, in order. */
#include "officer/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"
#include "log/segment.h"

#define BATCH_RECORDS 128
#define BATCHES       4 /* the reader may be so far ahead */

struct batch {
	struct arena arena;
	ProtobufCAllocator allocator;
	struct numbered records[BATCH_RECORDS];
	size_t count;
	uint8_t chain[SHA256_BYTES]; /* after the last of them */
	bool last;                   /* nothing follows: the end, or what `error` says */
	int error;
	char why[512];
};

struct replay {
	const char *dir;
	struct segment_reader *reader;
	uint64_t next, until;
	struct batch batches[BATCHES];
	/* Between the two threads: batches filled and folded so far. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t filled, folded;
};

static void *take(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void leave(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

/* ---- the reader's half ---- */

static bool add(const struct replay *r, struct batch *b, const struct record *record)
{
	Isod__V1__Record *unpacked = isod__v1__record__unpack(&b->allocator, record->body.n,
	                                                      (const uint8_t *)record->body.p);

	if (!unpacked) {
		snprintf(b->why, sizeof(b->why), "%s: sequence %" PRIu64 ": no ledger record",
		         r->dir, record->sequence);
		b->error = -EBADMSG;
		return false;
	}
	b->records[b->count++] = (struct numbered){record->sequence, record->time_ns, unpacked};
	memcpy(b->chain, segment_reader_chain(r->reader), SHA256_BYTES);
	return true;
}

static void fill(struct replay *r, struct batch *b)
{
	struct record record;

	b->count = 0;
	arena_reset(&b->arena);
	while (b->count < BATCH_RECORDS && !b->last) {
		int e = r->next > r->until
		                ? 0
		                : segment_read(r->reader, &record, b->why, sizeof(b->why));
		b->last = e <= 0;
		b->error = e < 0 ? e : 0;
		if (e <= 0)
			break;
		r->next = record.sequence + 1;
		b->last = !add(r, b, &record);
	}
}

static void *run_reader(void *arg)
{
	struct replay *r = arg;
	bool last = false;

	for (uint64_t n = 0; !last; n++) {
		pthread_mutex_lock(&r->lock);
		while (n - r->folded >= BATCHES)
			pthread_cond_wait(&r->changed, &r->lock);
		pthread_mutex_unlock(&r->lock);
		struct batch *b = &r->batches[n % BATCHES];
		fill(r, b);
		last = b->last;
		pthread_mutex_lock(&r->lock);
		r->filled++;
		pthread_cond_signal(&r->changed);
		pthread_mutex_unlock(&r->lock);
	}
	return NULL;
}

/* ---- the folding half ---- */

static void fold(struct state *s, const struct batch *b, struct replay_facts *facts)
{
	state_apply_all(s, b->records, b->count, NULL);
	if (b->count)
		memcpy(facts->chain, b->chain, SHA256_BYTES);
	facts->records += b->count;
}

/* The batch that is folded next, once it is there. */
static const struct batch *next_batch(struct replay *r, uint64_t n)
{
	pthread_mutex_lock(&r->lock);
	while (r->filled <= n)
		pthread_cond_wait(&r->changed, &r->lock);
	pthread_mutex_unlock(&r->lock);
	return &r->batches[n % BATCHES];
}

static void give_back(struct replay *r)
{
	pthread_mutex_lock(&r->lock);
	r->folded++;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

static int replay_all(struct replay *r, struct state *s, struct replay_facts *facts, char *error,
                      size_t error_size)
{
	pthread_t reader;
	bool beside = pthread_create(&reader, NULL, run_reader, r) == 0, last = false;
	int e = 0;

	for (uint64_t n = 0; !last; n++) {
		const struct batch *b = &r->batches[0];
		if (beside)
			b = next_batch(r, n);
		else
			fill(r, &r->batches[0]); /* no thread to be had: one after the other */
		fold(s, b, facts);
		last = b->last;
		e = b->error;
		if (e < 0)
			snprintf(error, error_size, "%s", b->why);
		if (beside && !last)
			give_back(r);
	}
	if (beside)
		pthread_join(reader, NULL);
	return e;
}

/* The record that the state ends with is in the ledger, and everything before it is what it was. */
static int prove(struct replay *r, uint64_t sequence, const uint8_t *chain, char *error,
                 size_t error_size)
{
	struct record record;

	int e = segment_read(r->reader, &record, error, error_size);
	if (e < 0)
		return e;
	if (e == 0)
		snprintf(error, error_size,
		         "the ledger in %s ends before record %" PRIu64
		         ", which the snapshot ends with",
		         r->dir, sequence);
	else if (record.sequence != sequence ||
	         memcmp(segment_reader_chain(r->reader), chain, SHA256_BYTES) != 0)
		snprintf(error, error_size,
		         "the snapshot of record %" PRIu64 " is not of the ledger in %s", sequence,
		         r->dir);
	else
		return 0;
	return -ESTALE;
}

int replay_ledger(const char *dir, struct state *s, const uint8_t *chain, uint64_t until,
                  struct replay_facts *ret, char *error, size_t error_size)
{
	struct replay *r = xcalloc(1, sizeof(*r));
	struct replay_facts facts = {0};
	uint64_t from = s->sequence + (chain ? 0 : 1);

	r->dir = dir;
	r->next = s->sequence + 1;
	r->until = until;
	int e = segment_reader_open(dir, SEGMENT_LEDGER, from, &r->reader, error, error_size);
	if (e < 0) {
		free(r);
		return e;
	}
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	for (size_t i = 0; i < BATCHES; i++) {
		arena_init(&r->batches[i].arena, 0);
		r->batches[i].allocator = (ProtobufCAllocator){take, leave, &r->batches[i].arena};
	}
	if (chain) {
		memcpy(facts.chain, chain, SHA256_BYTES);
		e = prove(r, s->sequence, chain, error, error_size);
	}
	if (e == 0)
		e = replay_all(r, s, &facts, error, error_size);
	segment_reader_close(r->reader);
	for (size_t i = 0; i < BATCHES; i++)
		arena_release(&r->batches[i].arena);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r);
	*ret = facts;
	return e;
}
