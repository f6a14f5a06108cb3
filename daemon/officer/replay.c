/* Ten million records are to be folded in seconds, so nothing is allocated for one: records are unpacked into an arena,
 * STATE_AHEAD of them, whose groups are then fetched into the cache together. */
#include "officer/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "log/segment.h"

struct replay {
	const char *dir;
	struct state *state;
	struct segment_reader *reader;
	struct arena arena;
	ProtobufCAllocator allocator;
	struct {
		uint64_t sequence, time_ns;
	} at[STATE_AHEAD];
	Isod__V1__Record *records[STATE_AHEAD];
	size_t count;
	struct replay_facts facts;
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

static void fold(struct replay *r)
{
	state_prefetch(r->state, r->records, r->count);
	for (size_t i = 0; i < r->count; i++)
		state_apply(r->state, r->at[i].sequence, r->at[i].time_ns, r->records[i], NULL);
	r->facts.records += r->count;
	r->count = 0;
	arena_reset(&r->arena);
}

static int add(struct replay *r, const struct record *record, char *error, size_t error_size)
{
	Isod__V1__Record *unpacked = isod__v1__record__unpack(&r->allocator, record->body.n,
	                                                      (const uint8_t *)record->body.p);

	if (!unpacked) {
		snprintf(error, error_size, "%s: sequence %" PRIu64 ": no ledger record", r->dir,
		         record->sequence);
		return -EBADMSG;
	}
	r->at[r->count].sequence = record->sequence;
	r->at[r->count].time_ns = record->time_ns;
	r->records[r->count++] = unpacked;
	if (r->count == STATE_AHEAD)
		fold(r);
	return 0;
}

static int replay_all(struct replay *r, uint64_t until, char *error, size_t error_size)
{
	uint64_t last = r->state->sequence;
	struct record record;
	int e = 1;

	while (last < until && (e = segment_read(r->reader, &record, error, error_size)) > 0) {
		last = record.sequence;
		memcpy(r->facts.chain, segment_reader_chain(r->reader), SHA256_BYTES);
		e = add(r, &record, error, error_size);
		if (e < 0)
			break;
	}
	fold(r);
	return e < 0 ? e : 0;
}

/* The record that the state ends with is in the ledger, and everything before it is what it was. */
static int prove(struct replay *r, const uint8_t *chain, char *error, size_t error_size)
{
	uint64_t sequence = r->state->sequence;
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
	struct replay r = {.dir = dir, .state = s};
	uint64_t from = s->sequence + (chain ? 0 : 1);

	int e = segment_reader_open(dir, SEGMENT_LEDGER, from, &r.reader, error, error_size);
	if (e < 0)
		return e;
	if (chain)
		memcpy(r.facts.chain, chain, SHA256_BYTES);
	arena_init(&r.arena, 0);
	r.allocator = (ProtobufCAllocator){take, leave, &r.arena};
	e = chain ? prove(&r, chain, error, error_size) : 0;
	if (e == 0)
		e = replay_all(&r, until, error, error_size);
	segment_reader_close(r.reader);
	arena_release(&r.arena);
	*ret = r.facts;
	return e;
}
