#include "officer/inbox.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

int inbox_init(struct inbox *in, size_t workers, size_t ring_bytes)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	in->wake_fd = fd;
	in->count = workers;
	/* Rings hold cache-line aligned members, which malloc does not promise. */
	in->rings = aligned_alloc(alignof(struct ring), workers * sizeof(struct ring));
	if (!in->rings)
		abort();
	for (size_t i = 0; i < workers; i++)
		ring_init(&in->rings[i], ring_bytes);
	return 0;
}

void inbox_release(struct inbox *in)
{
	for (size_t i = 0; i < in->count; i++)
		ring_release(&in->rings[i]);
	free(in->rings);
	close(in->wake_fd);
	*in = (struct inbox){.wake_fd = -1};
}

bool inbox_put(struct inbox *in, size_t w, struct str packed)
{
	return ring_put(&in->rings[w], packed);
}

void inbox_publish(struct inbox *in, size_t w)
{
	const uint64_t one = 1;

	/* A full eventfd counter (EAGAIN) means that the officer is already being woken. */
	if (ring_publish(&in->rings[w]) && write(in->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static size_t drain_rings(struct inbox *in, size_t max,
                          void (*take)(void *arg, size_t worker, struct str packed), void *arg)
{
	size_t taken = 0, fair = max / in->count + 1;

	for (size_t w = 0; w < in->count; w++) {
		struct str record;
		size_t n = 0;
		while (n < fair && (record = ring_get(&in->rings[w])).p) {
			take(arg, w, record);
			n++;
		}
		ring_done(&in->rings[w]);
		taken += n;
	}
	return taken;
}

size_t inbox_drain(struct inbox *in, size_t max,
                   void (*take)(void *arg, size_t worker, struct str packed), void *arg)
{
	size_t taken = drain_rings(in, max, take, arg);
	uint64_t count;

	if (taken)
		return taken;
	/* Clear the wake-up first, then look once more: whatever is published after the look wakes anew. */
	if (read(in->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return 0;
	return drain_rings(in, max, take, arg);
}
