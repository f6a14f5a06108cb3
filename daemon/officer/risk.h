/* The risk desk: the live risk of each user, host and address. Every match adds severity × confidence × asset
 * weight to its entities; a score halves every settings.risk_half_life. Fixed point throughout: scores are
 * thousandths ("milli"), decay is computed from a table of 2^(-k/256) in Q32. */
#ifndef ISOD_OFFICER_RISK_H
#define ISOD_OFFICER_RISK_H

#include "officer/desk.h"

#define RISK_ENTITIES_MAX 100000 /* past this the lowest scores make room */

struct risk_desk {
	struct map entities; /* entity_key → Isod__V1__EntityRisk */
	uint64_t evicted;
	uint64_t half_life_ns; /* of the last settings */
};

/* `seed`: of the hashes in struct match_at. */
void risk_init(struct risk_desk *d, uint64_t seed);
void risk_release(struct risk_desk *d);
/* `incident`: where the match went, 0 for none. */
void risk_on_match(struct risk_desk *d, const struct step *s, const Isod__V1__Match *m,
                   const struct match_at *at, uint64_t incident);

/* Fetches what the entry of `entities` points to into the processor's cache, for a match that is about to come. */
void risk_fetch(const struct map_entry *e);

void risk_save(const struct risk_desk *d, struct saver *to);
int risk_load(struct risk_desk *d, Isod__V1__SnapshotRisk *from);

/* The entity's record, or NULL. */
const Isod__V1__EntityRisk *risk_get(const struct risk_desk *d, struct str key);
/* Its score decayed to `now_ns`, in thousandths. */
uint64_t risk_score(const struct risk_desk *d, const Isod__V1__EntityRisk *r, uint64_t now_ns);
/* `score_milli` after `elapsed_ns` with that half-life. */
uint64_t risk_decay(uint64_t score_milli, uint64_t elapsed_ns, uint64_t half_life_ns);
/* The highest scores at `now_ns` (of that kind; ENTITY_UNKNOWN: all), highest first, ties by key, into `out`.
 * Returns how many. */
size_t risk_top(const struct risk_desk *d, Isod__V1__EntityKind kind, uint64_t now_ns,
                const Isod__V1__EntityRisk **out, size_t max);

#endif
