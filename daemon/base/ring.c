/* Records are contiguous: one that would wrap leaves a skip mark at the end and starts at 0. Each has a
 * 4-byte length in front and is padded to 8 bytes, so that lengths are always aligned and never wrap.
 *
 * "Had been empty" is judged after publishing: the consumer goes to sleep only after it has seen
 * `published == read` with sequential consistency and given everything back, the producer publishes first
 * and looks at `consumed` after. One of the two always sees the other (Dekker), so no wake-up is lost. */
#include "base/ring.h"

#include <stdlib.h>

#include "base/mem.h"

#define LENGTH_BYTES 4u
#define SKIP_MARK    UINT32_MAX
#define ALIGN_UP(n)  (((n) + 7u) & ~(size_t)7u)

void ring_init(struct ring *r, size_t size)
{
	size_t power = 4096;

	while (power < size)
		power *= 2;
	memset(r, 0, sizeof(*r));
	r->data = xmalloc(power);
	r->size = power;
	atomic_init(&r->published, 0);
	atomic_init(&r->consumed, 0);
}

void ring_release(struct ring *r)
{
	free(r->data);
	r->data = NULL;
}

bool ring_put(struct ring *r, struct str record)
{
	size_t need = ALIGN_UP(record.n + LENGTH_BYTES);
	size_t at = r->written & (r->size - 1);
	size_t to_end = r->size - at;
	size_t total = need <= to_end ? need : to_end + need;

	if (need > r->size / 2)
		return false;
	if (r->size - (r->written - r->seen_consumed) < total) {
		r->seen_consumed = atomic_load_explicit(&r->consumed, memory_order_acquire);
		if (r->size - (r->written - r->seen_consumed) < total)
			return false;
	}
	if (need > to_end) {
		uint32_t mark = SKIP_MARK;
		memcpy(r->data + at, &mark, LENGTH_BYTES);
		r->written += to_end;
		at = 0;
	}
	uint32_t length = (uint32_t)record.n;
	memcpy(r->data + at, &length, LENGTH_BYTES);
	if (record.n)
		memcpy(r->data + at + LENGTH_BYTES, record.p, record.n);
	r->written += need;
	return true;
}

bool ring_publish(struct ring *r)
{
	size_t before = atomic_load_explicit(&r->published, memory_order_relaxed);

	if (before == r->written)
		return false;
	atomic_store(&r->published, r->written);
	return atomic_load(&r->consumed) == before;
}

struct str ring_get(struct ring *r)
{
	if (r->read == r->seen_published) {
		r->seen_published = atomic_load(&r->published);
		if (r->read == r->seen_published)
			return STR_NONE;
	}
	uint32_t length;
	memcpy(&length, r->data + (r->read & (r->size - 1)), LENGTH_BYTES);
	if (length == SKIP_MARK) {
		r->read += r->size - (r->read & (r->size - 1));
		memcpy(&length, r->data, LENGTH_BYTES);
	}
	struct str record = {r->data + (r->read & (r->size - 1)) + LENGTH_BYTES, length};
	r->read += ALIGN_UP(length + LENGTH_BYTES);
	return record;
}

void ring_done(struct ring *r)
{
	atomic_store(&r->consumed, r->read);
}

size_t ring_backlog(struct ring *r)
{
	return atomic_load(&r->published) - atomic_load(&r->consumed);
}
