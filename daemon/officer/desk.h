/* What every desk shares. A desk is a pure state machine over ledger records: no clock, no random number, no
 * socket, no file; time comes in on the record. Each has init, release, on_record, on_clock and queries, and save and
 * load: all that it holds as parts of a snapshot (officer/save.h), and back into a desk that was just initialised. What
 * is loaded is proven to make sense: -EBADMSG when it does not; what can be taken from a part is moved out of it. */
#ifndef ISOD_OFFICER_DESK_H
#define ISOD_OFFICER_DESK_H

#include "base/map.h"
#include "ledger.pb-c.h"
#include "officer/effects.h"
#include "snapshot.pb-c.h"

struct saver; /* officer/save.h */

/* One step of the fold, as each desk sees it. */
struct step {
	uint64_t sequence;
	uint64_t time_ns; /* the record's time: the only "now" there is */
	const Isod__V1__Record *record;
	const Isod__V1__Settings *settings; /* never NULL */
	const struct effects *effects;      /* never NULL; members may be NULL */
};

/* "KIND:NAME" (user:alice@web1, host:web1, address:192.0.2.1): the key of an entity everywhere. Into `out`,
 * terminated, cut to fit. Returns the slice. */
#define ENTITY_KEY_MAX 320
struct str entity_key(const Isod__V1__Entity *e, char out[static ENTITY_KEY_MAX]);

/* A match as the desks look it up: hashes worked out once for all of them. */
struct match_at {
	struct entity_at {
		struct str key;
		uint64_t hash; /* by the state's seed for entities (officer/state.h) */
	} * entities;          /* as many as the match has */
	uint64_t rule;         /* map_hash(0, its rule) */
};

void step_dirty(const struct step *s, enum view_kind kind, struct str key);
void step_dirty_id(const struct step *s, enum view_kind kind, uint64_t id);

/* When the match happened: by the event's own clock if that is within settings.correlation_skew of its arrival,
 * else when it arrived. */
uint64_t match_time(const Isod__V1__Match *m, const Isod__V1__Settings *settings);
/* The match's first entity of that kind, or NULL. */
const Isod__V1__Entity *match_entity(const Isod__V1__Match *m, Isod__V1__EntityKind kind);

/* A time that never comes: what next_deadline functions answer when nothing is due. */
#define NEVER UINT64_MAX

#endif
