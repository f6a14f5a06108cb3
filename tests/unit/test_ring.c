/* The ring: wrapping, filling, and two threads that sleep and wake each other without ever missing a record. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/ring.h"

Test(ring, records_come_out_in_order_after_publishing)
{
	struct ring r;

	ring_init(&r, 1000);
	cr_assert_eq(r.size, 4096, "rounded up");
	cr_assert_null(ring_get(&r).p);
	cr_assert_not(ring_publish(&r), "nothing to publish");
	cr_assert(ring_put(&r, STR("one")));
	cr_assert(ring_put(&r, STR("")));
	cr_assert(ring_put(&r, STR("three")));
	cr_assert_null(ring_get(&r).p, "not published yet");
	cr_assert(ring_publish(&r), "the consumer may be asleep");
	cr_assert_gt(ring_backlog(&r), 0);
	cr_assert(str_eq(ring_get(&r), STR("one")));
	struct str empty = ring_get(&r);
	cr_assert_not_null(empty.p, "an empty record is one");
	cr_assert_eq(empty.n, 0);
	cr_assert(ring_put(&r, STR("four")));
	cr_assert_not(ring_publish(&r), "the consumer has not given back: it is awake");
	cr_assert(str_eq(ring_get(&r), STR("three")));
	cr_assert(str_eq(ring_get(&r), STR("four")));
	cr_assert_null(ring_get(&r).p);
	ring_done(&r);
	cr_assert_eq(ring_backlog(&r), 0);
	ring_release(&r);
}

Test(ring, a_full_ring_takes_nothing_until_space_is_given_back)
{
	struct ring r;
	char record[100];
	size_t count = 0;

	memset(record, 'x', sizeof(record));
	ring_init(&r, 4096);
	while (ring_put(&r, str_make(record, sizeof(record))))
		count++;
	cr_assert_geq(count, 35);
	cr_assert_not(ring_put(&r, str_make(record, sizeof(record))));
	ring_publish(&r);
	for (size_t i = 0; i < 10; i++)
		cr_assert_eq(ring_get(&r).n, sizeof(record));
	cr_assert_not(ring_put(&r, str_make(record, sizeof(record))), "read but not given back");
	ring_done(&r);
	for (size_t i = 0; i < 9; i++)
		cr_assert(ring_put(&r, str_make(record, sizeof(record))));
	ring_release(&r);
}

Test(ring, a_record_may_take_half)
{
	struct ring r;
	char *large = xcalloc(1, 4096);

	ring_init(&r, 4096);
	cr_assert_not(ring_put(&r, str_make(large, 2045)), "more than half with its length");
	for (int i = 0; i < 100; i++) {
		cr_assert(ring_put(&r, str_make(large, 2044)), "always fits an empty ring");
		ring_publish(&r);
		cr_assert_eq(ring_get(&r).n, 2044);
		ring_done(&r);
		cr_assert(ring_put(&r, STR("12345")), "and moves the next start");
		ring_publish(&r);
		cr_assert_eq(ring_get(&r).n, 5);
		ring_done(&r);
	}
	cr_assert_not(ring_put(&r, str_make(large, SIZE_MAX / 2)));
	ring_release(&r);
	free(large);
}

Test(ring, every_length_at_every_place_survives_wrapping)
{
	struct ring r;
	char record[600];
	unsigned random = 3;
	size_t put = 0, got = 0;

	ring_init(&r, 4096);
	while (got < 100000) {
		random = random * 1103515245u + 12345u;
		size_t burst = (random >> 16) % 20;
		for (size_t i = 0; i < burst; i++) {
			size_t n = put * 7 % sizeof(record);
			memset(record, (int)(put & 255), n);
			if (!ring_put(&r, str_make(record, n)))
				break;
			put++;
		}
		ring_publish(&r);
		for (size_t i = (random >> 8) % 20; i > 0; i--) {
			struct str s = ring_get(&r);
			if (!s.p)
				break;
			cr_assert_eq(s.n, got * 7 % sizeof(record));
			cr_assert_eq((uintptr_t)s.p % 4, 0);
			for (size_t j = 0; j < s.n; j++)
				cr_assert_eq((unsigned char)s.p[j], got & 255);
			got++;
		}
		ring_done(&r);
		cr_assert_leq(ring_backlog(&r), r.size);
	}
	ring_release(&r);
}

/* ---- two threads ---- */

struct pipe_ends {
	struct ring ring;
	int wake; /* eventfd that the consumer sleeps on */
	size_t records;
};

static void *produce(void *arg)
{
	struct pipe_ends *e = arg;
	uint64_t one = 1;
	char record[200];

	for (size_t i = 0; i < e->records;) {
		size_t batch = i % 13 + 1;
		for (; batch && i < e->records; batch--) {
			size_t n = i % 150 + sizeof(i);
			memset(record, (int)(i & 255), n);
			memcpy(record, &i, sizeof(i));
			if (!ring_put(&e->ring, str_make(record, n)))
				break;
			i++;
		}
		if (ring_publish(&e->ring) && write(e->wake, &one, sizeof(one)) != sizeof(one))
			abort();
	}
	return NULL;
}

/* Sleeps without any time limit of its own whenever the ring is empty: a lost wake-up hangs the test. */
Test(ring, two_threads_lose_nothing_and_no_wake_up, .timeout = 120)
{
	struct pipe_ends *e = aligned_alloc(RING_CACHE_LINE, sizeof(*e));
	size_t next = 0, slept = 0;
	pthread_t producer;

	e->records = 300000;
	e->wake = eventfd(0, EFD_CLOEXEC);
	ring_init(&e->ring, 8192);
	cr_assert_eq(pthread_create(&producer, NULL, produce, e), 0);
	while (next < e->records) {
		struct str s = ring_get(&e->ring);
		if (!s.p) {
			ring_done(&e->ring);
			s = ring_get(&e->ring);
		}
		if (!s.p) {
			uint64_t count;
			cr_assert_eq(read(e->wake, &count, sizeof(count)), sizeof(count));
			slept++;
			continue;
		}
		size_t i;
		cr_assert_geq(s.n, sizeof(i));
		memcpy(&i, s.p, sizeof(i));
		cr_assert_eq(i, next);
		cr_assert_eq(s.n, next % 150 + sizeof(i));
		for (size_t j = sizeof(i); j < s.n; j++)
			if ((unsigned char)s.p[j] != (next & 255))
				cr_assert_fail("record %zu is damaged", next);
		next++;
		if (next % 64 == 0)
			ring_done(&e->ring);
	}
	cr_assert_gt(slept, 0, "the sleeping was tested");
	pthread_join(producer, NULL);
	ring_release(&e->ring);
	close(e->wake);
	free(e);
}
