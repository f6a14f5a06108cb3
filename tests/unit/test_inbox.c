/* The inbox between real threads: everything put arrives once, in order, and the officer's sleep misses nothing. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>

#include "officer/inbox.h"

#define WORKERS 3
#define RECORDS 200000

struct producer {
	struct inbox *in;
	size_t worker;
};

static void *produce(void *arg)
{
	struct producer *p = arg;

	for (uint32_t i = 0; i < RECORDS; i++) {
		while (!inbox_put(p->in, p->worker, str_make((const char *)&i, sizeof(i))))
			inbox_publish(p->in, p->worker);
		if (i % 37 == 0)
			inbox_publish(p->in, p->worker);
	}
	inbox_publish(p->in, p->worker);
	return NULL;
}

struct consumer {
	uint32_t next[WORKERS];
	size_t total, wrong;
};

static void take(void *arg, size_t worker, struct str packed)
{
	struct consumer *c = arg;
	uint32_t value;

	memcpy(&value, packed.p, sizeof(value));
	c->wrong += packed.n != sizeof(value) || value != c->next[worker];
	c->next[worker] = value + 1;
	c->total++;
}

Test(inbox, workers_records_arrive_once_and_in_order)
{
	struct inbox in;
	struct producer producers[WORKERS];
	pthread_t threads[WORKERS];
	struct consumer c = {0};

	cr_assert_eq(inbox_init(&in, WORKERS, 8192), 0);
	for (size_t w = 0; w < WORKERS; w++) {
		producers[w] = (struct producer){&in, w};
		pthread_create(&threads[w], NULL, produce, &producers[w]);
	}
	while (c.total < (size_t)WORKERS * RECORDS) {
		struct pollfd p = {.fd = in.wake_fd, .events = POLLIN};
		/* A lost wake-up would hang here: the time-out turns it into a failure. */
		if (inbox_drain(&in, 1000, take, &c) == 0)
			cr_assert_eq(poll(&p, 1, 60000), 1, "asleep with %zu taken", c.total);
	}
	for (size_t w = 0; w < WORKERS; w++)
		pthread_join(threads[w], NULL);
	cr_assert_eq(c.wrong, 0);
	cr_assert_eq(inbox_drain(&in, 1000, take, &c), 0);
	inbox_release(&in);
}
