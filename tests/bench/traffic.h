/* What a busy site's machines say, made up: the lines that benchmarks send. The same for the same seed.
 *
 * Programs, hosts, processes, users and addresses vary, headers are those of RFC 3164, of rsyslog's own forwarding and of
 * RFC 5424, about one line in a hundred is something that a rule looks for. The mean length is `bytes`; from 1,000
 * bytes on most frames are JSON. */
#ifndef ISOD_BENCH_TRAFFIC_H
#define ISOD_BENCH_TRAFFIC_H

#include "base/buf.h"

struct traffic {
	uint64_t random;
	size_t bytes;    /* mean length that is aimed at */
	int64_t deficit; /* bytes by which the lines so far are too short */
};

void traffic_init(struct traffic *t, size_t bytes, uint64_t seed);
/* Appends one frame without any framing. */
void traffic_line(struct traffic *t, struct buf *out);

#endif
