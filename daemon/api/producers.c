/* Whose a producer's id is. What comes under an id and is known by its number is left out, so whoever used another's id
 * could have that one's events left out: an id is bound to the first who hands in a batch under it, in the ledger, and
 * there is nobody who may pass that by.
 *
 * The same owner twice at one time is no better: two senders that both count on from the same number. One connection has
 * an id, the newest; the other learns of it with its next batch. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api_internal.h"
#include "base/log.h"
#include "base/mem.h"
#include "log/producer.h"

/* Ids that one connection may speak for: a relay of a large site has hundreds. */
#define CLAIMS_MAX 4096

/* Who speaks for a producer now. */
struct claim {
	struct connection *holder;
	char owner[PEER_NAME_MAX];
};

static const struct producer_mark *mark_of(const struct connection *c, const char *producer)
{
	return map_get(&officer_state(c->api->options.officer)->producers, str_of(producer));
}

static bool refuse(struct connection *c, const Isod__V1__Request *q, Isod__V1__ErrorCode code,
                   const char *producer, const char *why, const char *owner)
{
	char reason[PRODUCER_ID_MAX + PEER_NAME_MAX + 128];

	snprintf(reason, sizeof(reason), "producer %s %s%s", producer, why, owner);
	c->api->counts.producer_conflicts++;
	request_refuse(c, q, code, reason);
	return false;
}

static bool unavailable(struct connection *c, const Isod__V1__Request *q, const char *why, int max)
{
	connection_error(c, q->id, ISOD__V1__ERROR_CODE__ERROR_UNAVAILABLE, "%s: %d", why, max);
	return false;
}

static bool bind_to_peer(struct connection *c, const Isod__V1__Request *q, const char *producer)
{
	Isod__V1__ProducerBound bound = ISOD__V1__PRODUCER_BOUND__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	bound.producer = (char *)(uintptr_t)producer; /* only packed */
	bound.owner = c->peer.owner;
	record.body_case = ISOD__V1__RECORD__BODY_PRODUCER_BOUND;
	record.producer_bound = &bound;
	if (officer_record(c->api->options.officer, &record) < 0) {
		connection_error(c, q->id, ISOD__V1__ERROR_CODE__ERROR_UNAVAILABLE,
		                 "the ledger cannot be written now: nobody is bound to producer %s",
		                 producer);
		return false;
	}
	c->api->counts.producers_bound++;
	log_info("api: producer %s is %s's from now on", producer, c->peer.owner);
	return true;
}

static void take_over(struct connection *c, const char *producer)
{
	struct claim *claim = map_get(&c->api->claims, str_of(producer));

	if (!claim) {
		claim = xcalloc(1, sizeof(*claim));
		memcpy(claim->owner, c->peer.owner, sizeof(claim->owner));
		map_put(&c->api->claims, str_of(producer), claim);
	} else if (claim->holder != c) {
		c->api->counts.producer_takeovers++;
		log_notice("api: producer %s: a newer connection of %s has taken over", producer,
		           c->peer.owner);
	}
	claim->holder = c;
	map_put(&c->claims, str_of(producer), c);
}

bool producer_claim(struct connection *c, const Isod__V1__Request *q, const char *producer,
                    uint64_t first)
{
	const struct claim *claim = map_get(&c->api->claims, str_of(producer));
	const struct producer_mark *mark = mark_of(c, producer);
	const char *owner = mark && mark->owner ? mark->owner : claim ? claim->owner : NULL;
	bool spoken = map_get(&c->claims, str_of(producer)) != NULL;

	if (owner && strcmp(owner, c->peer.owner) != 0)
		return refuse(c, q, ISOD__V1__ERROR_CODE__ERROR_FORBIDDEN, producer, "belongs to ",
		              owner);
	if (first && spoken && (!claim || claim->holder != c))
		return refuse(c, q, ISOD__V1__ERROR_CODE__ERROR_CONFLICT, producer,
		              "is spoken for by a newer connection of ", c->peer.owner);
	if (!spoken && c->claims.count >= CLAIMS_MAX)
		return unavailable(c, q, "a connection speaks for so many producers at most",
		                   CLAIMS_MAX);
	/* Not for a batch that will be found to have a gap before it. */
	if (first && !(mark && mark->owner) && (mark || first == 1)) {
		size_t known = officer_state(c->api->options.officer)->producers.count;
		if (!mark && known >= PRODUCERS_MAX)
			return unavailable(c, q, "so many producers are known already",
			                   PRODUCERS_MAX);
		if (!bind_to_peer(c, q, producer))
			return false;
	}
	take_over(c, producer);
	return true;
}

void producer_release(struct connection *c)
{
	const struct map_entry *e;

	for (size_t at = 0; (e = map_next(&c->claims, &at));) {
		struct claim *claim = map_get(&c->api->claims, e->key);
		if (claim && claim->holder == c) {
			map_remove(&c->api->claims, e->key);
			free(claim);
		}
	}
	map_release(&c->claims, NULL);
}
