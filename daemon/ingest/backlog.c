/* Nothing is copied for it: the writer hands over each buffer that it has written, and gets an empty one back. Only small
 * writes behind others are added to the last buffer, as many small ones in large buffers would take memory for nothing.
 *
 * Past memory_max the rest is read back from the segments, which is the way of re-detection; only the chain is not proven
 * again, as these are the bytes that this process wrote a moment ago. It never reads past what the writer told to be
 * written, so it never sees half a record, and no record twice: when it has come that far, what is written next is in
 * memory again. */
#include "ingest/backlog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define SMALL_WRITE                                                                                \
	((size_t)64 << 10) /* is copied if the last buffer has room: cheaper than one of its own */
#define SPARE_MAX 2        /* empty buffers kept: one is filled while one is read */
#define SKIP_STEP 4096     /* records: a few milliseconds */

struct chunk {
	TAILQ_ENTRY(chunk) link;
	struct buf bytes;
	struct str left; /* what of them was not given yet */
};

/* ---- memory ---- */

static void add_small(struct chunk *c, const struct buf *bytes)
{
	size_t at = (size_t)(c->left.p - c->bytes.p);

	buf_append(&c->bytes, bytes->p, bytes->n);
	c->left = str_skip(buf_str(&c->bytes), at);
}

static void add_chunk(struct backlog *b, struct buf *bytes)
{
	struct chunk *c = TAILQ_FIRST(&b->spare);

	if (c) {
		TAILQ_REMOVE(&b->spare, c, link);
		b->spare_count--;
	} else {
		c = xcalloc(1, sizeof(*c));
		buf_init(&c->bytes, 0);
	}
	struct buf empty = c->bytes;
	c->bytes = *bytes;
	*bytes = empty;
	c->left = buf_str(&c->bytes);
	TAILQ_INSERT_TAIL(&b->chunks, c, link);
	b->memory += c->bytes.cap;
}

static void drop_chunk(struct backlog *b)
{
	struct chunk *c = TAILQ_FIRST(&b->chunks);

	TAILQ_REMOVE(&b->chunks, c, link);
	b->memory -= c->bytes.cap;
	buf_reset(&c->bytes);
	if (b->spare_count < SPARE_MAX) {
		TAILQ_INSERT_HEAD(&b->spare, c, link);
		b->spare_count++;
		return;
	}
	buf_release(&c->bytes);
	free(c);
}

static void close_reader(struct backlog *b)
{
	segment_reader_close(b->reader);
	b->reader = NULL;
}

bool backlog_is_empty(const struct backlog *b)
{
	return b->given == b->written;
}

/* Nothing waits any more: what is written from now on is in memory. */
static void catch_up(struct backlog *b)
{
	close_reader(b);
	while (!TAILQ_EMPTY(&b->chunks))
		drop_chunk(b);
	b->given = b->written;
	b->on_disk = false;
	b->bytes = 0;
}

/* The writer has written. */
static void on_written(void *arg, struct buf *bytes)
{
	struct backlog *b = arg;
	struct str peek = buf_str(bytes);
	struct record first;

	if (!segment_take(&peek, &first))
		return; /* only a seal */
	if (backlog_is_empty(b)) {
		b->oldest_ns = first.time_ns;
		catch_up(b);
	}
	struct chunk *last = TAILQ_LAST(&b->chunks, chunk_queue);
	b->written = segment_next(b->evidence) - 1;
	b->bytes += bytes->n;
	if (b->on_disk)
		return;
	if (last && bytes->n <= SMALL_WRITE && bytes->n <= last->bytes.cap - last->bytes.n)
		add_small(last, bytes);
	else if (!last || b->memory + bytes->cap <= b->memory_max)
		add_chunk(b, bytes);
	else
		b->on_disk = true;
}

static bool take_from_memory(struct backlog *b, struct record *ret)
{
	struct chunk *c;

	while ((c = TAILQ_FIRST(&b->chunks))) {
		size_t before = c->left.n;
		bool found = segment_take(&c->left, ret);
		uint64_t passed = before - c->left.n;
		b->bytes -= passed < b->bytes ? passed : b->bytes;
		if (found)
			return true;
		drop_chunk(b);
	}
	return false;
}

/* ---- the disk ---- */

/* The first sequence of the segment that holds `sequence`, or of the first one behind it. */
static uint64_t segment_of(const struct backlog *b, uint64_t sequence, bool behind)
{
	uint64_t *firsts = NULL, found = 0;
	size_t count = 0;

	if (segment_firsts(segment_dir(b->evidence), &firsts, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (firsts[i] > sequence) {
			found = behind ? firsts[i] : found;
			break;
		}
		found = behind ? 0 : firsts[i];
	}
	free(firsts);
	return found;
}

static int open_reader(struct backlog *b, char *error, size_t error_size)
{
	uint64_t from = segment_of(b, b->given + 1, false);

	int r = segment_reader_open(segment_dir(b->evidence), SEGMENT_EVIDENCE, from, &b->reader,
	                            error, error_size);
	if (r < 0)
		return r;
	segment_reader_trust(b->reader);
	b->read_from = from;
	b->skipped = 0;
	return 0;
}

/* Goes on behind the segment that cannot be read to its end. What is left out was never detected. */
static void leave_out(struct backlog *b)
{
	uint64_t behind = segment_of(b, b->given > b->read_from ? b->given : b->read_from, true);

	close_reader(b);
	if (behind && behind - 1 < b->written)
		b->given = behind - 1;
	else
		catch_up(b);
}

static int take_from_disk(struct backlog *b, struct record *ret, char *error, size_t error_size)
{
	int r = b->reader ? 0 : open_reader(b, error, error_size);

	if (r < 0)
		return r;
	while ((r = segment_read(b->reader, ret, error, error_size)) > 0 &&
	       ret->sequence <= b->given)
		if (++b->skipped % SKIP_STEP == 0)
			return -EAGAIN;
	if (r > 0) {
		uint64_t passed = RECORD_HEADER_BYTES + ret->body.n;
		b->bytes -= passed < b->bytes ? passed : b->bytes;
		return 1;
	}
	/* What was written is not there: as bad as damage. */
	if (r == 0) {
		snprintf(error, error_size, "%s: sequence %llu is missing",
		         segment_dir(b->evidence), (unsigned long long)b->given + 1);
		r = -EBADMSG;
	}
	ret->sequence = b->given;
	if (r == -EBADMSG)
		leave_out(b);
	else
		close_reader(b);
	return r;
}

/* ---- both ---- */

int backlog_next(struct backlog *b, struct record *ret, char *error, size_t error_size)
{
	int r = take_from_memory(b, ret);

	if (r == 0 && b->on_disk && !backlog_is_empty(b))
		r = take_from_disk(b, ret, error, error_size);
	if (r == 0) {
		catch_up(b);
		b->oldest_ns = 0;
	}
	if (r == 1) {
		b->given = ret->sequence;
		b->oldest_ns = ret->time_ns;
	}
	return r;
}

void backlog_init(struct backlog *b, struct segment_log *evidence, size_t memory_max)
{
	*b = (struct backlog){.evidence = evidence, .memory_max = memory_max};
	TAILQ_INIT(&b->chunks);
	TAILQ_INIT(&b->spare);
	b->written = b->given = segment_next(evidence) - 1;
	segment_follow(evidence, on_written, b);
}

void backlog_release(struct backlog *b)
{
	if (!b->evidence)
		return;
	segment_follow(b->evidence, NULL, NULL);
	while (!TAILQ_EMPTY(&b->chunks))
		drop_chunk(b);
	for (struct chunk *c; (c = TAILQ_FIRST(&b->spare));) {
		TAILQ_REMOVE(&b->spare, c, link);
		buf_release(&c->bytes);
		free(c);
	}
	close_reader(b);
	*b = (struct backlog){0};
}
