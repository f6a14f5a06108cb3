/* The incident desk: groups matches into incidents and keeps their life cycle (NIST SP 800-61).
 *
 * A match joins the open incident that changed within settings.incident_window and shares its strongest entity:
 * the source address; else, when it tells none (or told of no failure), the user on that host; else, when it names
 * no user either, the host. When one rule has opened INCIDENTS_PER_RULE incidents within the window, what it would
 * open next folds into one storm incident with a count. Matches below settings.incident_open_level join but never open.
 *
 * Memory is bounded: closed incidents leave it settings.incident_kept after they were closed, or when there are more than
 * incident_kept_max, the first to be closed first; they stay in the ledger. When incident_open_max are open, what a rule
 * would open gathers in the rule's storm, however old that is, until some are closed. */
#ifndef ISOD_OFFICER_INCIDENT_H
#define ISOD_OFFICER_INCIDENT_H

#include <stdbool.h>

#include "officer/desk.h"
#include "officer/shelf.h"

#define INCIDENT_TIMELINE_MAX 500    /* entries kept of one incident; the rest is counted */
#define INCIDENT_EVIDENCE_MAX 1000   /* references kept of one incident; the rest is counted */
#define INCIDENT_ENTITIES_MAX 200    /* kept of one incident, and as many techniques */
#define INCIDENT_KEYS_MAX     200000 /* entities remembered for grouping; stale ones make room */
#define INCIDENTS_PER_RULE    50     /* opened by one rule within the window: more is a storm */

/* What tells at a glance that something is not yet among what an incident has, worked out from the incident. */
#define EVIDENCE_SLOTS 8
#define ENTITY_WORDS   16
#define RULE_HINTS     128
#define RULE_ANYWHERE  UINT8_MAX
struct incident_glance {
	uint64_t highest[EVIDENCE_SLOTS]; /* sequence of its evidence, by worker modulo the slots */
	/* By the rule's hash: 0: it is not among its rules; RULE_ANYWHERE; else its place + 1, or another rule's. */
	uint8_t rules[RULE_HINTS];
	uint64_t entities[ENTITY_WORDS]; /* a bit set for each of its entities, by hash */
};

struct incident_item {
	Isod__V1__Incident *incident;
	struct incident_glance glance;
};

struct incident_desk {
	struct shelf
		items; /* struct incident_item by id: those that are open, and those closed that are kept */
	size_t count;    /* ever opened: the highest id */
	uint64_t loaded; /* the last id from a snapshot */
	size_t open;
	uint64_t
		overflowed; /* matches that would have opened one, past settings.incident_open_max */
	struct departures closed; /* by when they were */
	uint64_t pruned_ns;       /* when by_entity was last looked through for what is stale */
	struct map by_entity;     /* entity_key → the latest incident with it, as (void *)(id) */
	struct map by_rule;       /* rule id → struct opener: what it opened lately */
};

/* `seed`: of the hashes in struct match_at. */
void incident_init(struct incident_desk *d, uint64_t seed);
void incident_release(struct incident_desk *d);
/* A match that is not silent, or one that a correlation produced. Returns the incident it went to, or NULL when it
 * opened and joined none. *ret_reason: "opened", "severity raised to high" or NULL when there is
 * nothing to tell. */
const Isod__V1__Incident *incident_on_match(struct incident_desk *d, const struct step *s,
                                            const Isod__V1__Match *m, const struct match_at *at,
                                            const char **ret_reason);
/* What a match that is about to come will touch, fetched ahead into the processor's cache, in INCIDENT_ROUNDS rounds with
 * other work between them; `e` is the entry in by_entity of its strongest entity. They only read. */
#define INCIDENT_ROUNDS 5
void incident_fetch(const struct incident_desk *d, const struct map_entry *e,
                    const struct match_at *at, int round);
/* Acknowledge and close. The incident, or NULL when the command does not apply to its state. */
const Isod__V1__Incident *incident_on_command(struct incident_desk *d, const struct step *s,
                                              const Isod__V1__Command *c);

/* What is kept no longer leaves. */
void incident_on_clock(struct incident_desk *d, const struct step *s);

void incident_save(const struct incident_desk *d, struct saver *to);
int incident_load(struct incident_desk *d, Isod__V1__SnapshotIncidents *from);
int incident_load_keys(struct incident_desk *d, const Isod__V1__SnapshotIncidentKeys *from);
int incident_load_opener(struct incident_desk *d, const Isod__V1__SnapshotOpener *from);

/* NULL when there is none, or when it has left: then its id is not above d->count. Valid until the next step. */
const Isod__V1__Incident *incident_get(const struct incident_desk *d, uint64_t id);
/* The one with the lowest id above *id, which becomes that; NULL when there is none. */
const Isod__V1__Incident *incident_next(const struct incident_desk *d, uint64_t *id);
bool incident_is_open(const Isod__V1__Incident *i);
/* 0, or why an operator's command would not be taken: -ENOENT, -EALREADY (closed, or acknowledged before). */
int incident_check(const struct incident_desk *d, const Isod__V1__Command *c);

#endif
