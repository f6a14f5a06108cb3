/* What the relay notes of every event (relay.c) and the counter compares evidence with (count.c); Python reads the head. */
#ifndef ISOD_TORTURE_BOOK_H
#define ISOD_TORTURE_BOOK_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct book_head {
	uint64_t events;
	uint64_t sent, distinct;      /* by the client: frames, and events among them */
	uint64_t acknowledged;        /* events */
	uint64_t resent_acknowledged; /* frames whose event had been acknowledged before */
	uint64_t refused, strange;    /* answers other than 200; messages without a number */
	uint64_t connections;
};

struct book_event {
	uint8_t sent, acknowledged; /* how often; `sent` stays at 255 */
};

static inline size_t book_bytes(uint64_t events)
{
	return sizeof(struct book_head) + events * sizeof(struct book_event);
}

/* Makes or opens it. NULL with errno. */
static inline struct book_head *book_map(const char *path, uint64_t events)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)book_bytes(events)) < 0)
		return NULL;
	struct book_head *h =
		mmap(NULL, book_bytes(events), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (h == MAP_FAILED)
		return NULL;
	h->events = events;
	return h;
}

static inline struct book_event *book_events(struct book_head *h)
{
	return (struct book_event *)(h + 1);
}

/* The fifth word of a message, a number. */
static inline bool book_number(const char *p, size_t n, uint64_t *ret)
{
	const char *end = p + n;
	uint64_t number = 0;

	for (int word = 0; word < 4; word++) {
		p = memchr(p, ' ', (size_t)(end - p));
		if (!p)
			return false;
		p++;
	}
	if (p == end || *p < '0' || *p > '9')
		return false;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		number = number * 10 + (uint64_t)(*p - '0');
	*ret = number;
	return true;
}

#endif
