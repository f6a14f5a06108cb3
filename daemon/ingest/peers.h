/* Who is connected, by address: how many connections each peer has and how much it sends, so that one peer cannot take
 * the places or the time of the others. An IPv6 peer is its /64: whoever has one address there has them all (RFC 6177).
 * Shared by all workers; connections come and go under a lock, bytes and events are counted without one. */
#ifndef ISOD_INGEST_PEERS_H
#define ISOD_INGEST_PEERS_H

#include <sys/socket.h>

#include "base/rate.h"
#include "base/str.h"

struct peers;

struct peers_limits {
	uint64_t connections;                      /* of one peer at one time; 0: no limit */
	struct rate_limit connects, bytes, events; /* of one peer */
};

/* One of them. Counts of connections belong to peers.c. */
struct peer {
	struct rate connects, bytes, events;
	uint64_t connections;
};

enum peers_verdict { PEERS_WELCOME, PEERS_TOO_MANY, PEERS_TOO_OFTEN };

struct peers *peers_new(const struct peers_limits *limits);
/* Nobody may be connected any more. */
void peers_free(struct peers *p);

/* Somebody connects. PEERS_WELCOME: *ret is who, until peers_leave. Otherwise the reason why it may not now:
 * it has too many connections, or has made too many lately. */
enum peers_verdict peers_enter(struct peers *p, const struct sockaddr *address, uint64_t now_ns,
                               struct peer **ret);
void peers_leave(struct peers *p, struct peer *who);

/* It has sent so much: for how long nothing more should be read from it. */
uint64_t peers_charge(struct peers *p, struct peer *who, uint64_t bytes, uint64_t events,
                      uint64_t now_ns);
/* A datagram of `source`, whatever name that is: false when it is to be shed. In a table of its own, and by one thread
 * alone. */
bool peers_datagram(struct peers *p, struct str source, uint64_t bytes, uint64_t now_ns);

/* Remembered now. */
size_t peers_count(struct peers *p);

#endif
