/* A peer is remembered while it is connected, and afterwards until its rates have run out, which the next look at a
 * grown table finds. So the table holds no more than the connections there may be and the addresses of the last
 * moment; of those, when there are too many, some are forgotten early, which lets them begin anew. */
#include "ingest/peers.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"

#define REMEMBERED_MAX 65536 /* without a connection: some MiB */
#define IPV6_PREFIX    8     /* bytes: the /64 */
#define KEY_MAX        16

struct peers {
	struct peers_limits limits;
	pthread_mutex_t lock;
	struct map map;    /* struct peer by key */
	size_t look_again; /* when there are so many, the idle ones are forgotten */
};

#define LOOK_FIRST 64

struct peers *peers_new(const struct peers_limits *limits)
{
	struct peers *p = xcalloc(1, sizeof(*p));

	p->limits = *limits;
	p->look_again = LOOK_FIRST;
	pthread_mutex_init(&p->lock, NULL);
	map_init(&p->map);
	return p;
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	map_release(&p->map, free);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* All that come over a Unix socket are one. */
static struct str key_of(const struct sockaddr *sa, char key[static KEY_MAX])
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
		memcpy(key, &in->sin_addr, sizeof(in->sin_addr));
		return str_make(key, sizeof(in->sin_addr));
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)sa;
		if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) {
			memcpy(key, &in->sin6_addr.s6_addr[12], 4);
			return str_make(key, 4);
		}
		memcpy(key, &in->sin6_addr, IPV6_PREFIX);
		return str_make(key, IPV6_PREFIX);
	}
	return str_make("", 0);
}

static bool is_idle(const struct peer *who, uint64_t now)
{
	return who->connections == 0 && rate_is_idle(&who->connects, now) &&
	       rate_is_idle(&who->bytes, now) && rate_is_idle(&who->events, now);
}

static void forget(struct peers *p, uint64_t now)
{
	const struct map_entry *e;
	size_t unconnected = 0;

	for (size_t at = 0; (e = map_next(&p->map, &at));) {
		struct peer *who = e->value;
		bool keep = who->connections ||
		            (!is_idle(who, now) && unconnected < REMEMBERED_MAX / 2);
		unconnected += keep && !who->connections;
		if (!keep) {
			map_remove(&p->map, e->key);
			free(who);
		}
	}
	p->look_again = 2 * p->map.count > LOOK_FIRST ? 2 * p->map.count : LOOK_FIRST;
	/* However many are connected, no more than this come on top of them. */
	if (p->look_again > p->map.count + REMEMBERED_MAX)
		p->look_again = p->map.count + REMEMBERED_MAX;
}

static struct peer *find(struct peers *p, struct str key, uint64_t now)
{
	struct peer *who = map_get(&p->map, key);

	if (who)
		return who;
	if (p->map.count >= p->look_again)
		forget(p, now);
	who = xcalloc(1, sizeof(*who));
	map_put(&p->map, key, who);
	return who;
}

enum peers_verdict peers_enter(struct peers *p, const struct sockaddr *address, uint64_t now_ns,
                               struct peer **ret)
{
	enum peers_verdict verdict = PEERS_WELCOME;
	char key[KEY_MAX];

	pthread_mutex_lock(&p->lock);
	struct peer *who = find(p, key_of(address, key), now_ns);
	if (p->limits.connections && who->connections >= p->limits.connections)
		verdict = PEERS_TOO_MANY;
	else if (!rate_take(&who->connects, &p->limits.connects, 1, now_ns))
		verdict = PEERS_TOO_OFTEN;
	if (verdict == PEERS_WELCOME) {
		who->connections++;
		*ret = who;
	}
	pthread_mutex_unlock(&p->lock);
	return verdict;
}

void peers_leave(struct peers *p, struct peer *who)
{
	pthread_mutex_lock(&p->lock);
	who->connections--;
	pthread_mutex_unlock(&p->lock);
}

uint64_t peers_charge(struct peers *p, struct peer *who, uint64_t bytes, uint64_t events,
                      uint64_t now_ns)
{
	uint64_t a = rate_charge(&who->bytes, &p->limits.bytes, bytes, now_ns);
	uint64_t b = rate_charge(&who->events, &p->limits.events, events, now_ns);

	return a > b ? a : b;
}

bool peers_datagram(struct peers *p, struct str source, uint64_t bytes, uint64_t now_ns)
{
	if (!p->limits.bytes.per_second && !p->limits.events.per_second)
		return true;
	struct peer *who = find(p, source, now_ns);
	return rate_take(&who->events, &p->limits.events, 1, now_ns) &&
	       rate_take(&who->bytes, &p->limits.bytes, bytes, now_ns);
}

size_t peers_count(struct peers *p)
{
	pthread_mutex_lock(&p->lock);
	size_t n = p->map.count;
	pthread_mutex_unlock(&p->lock);
	return n;
}
