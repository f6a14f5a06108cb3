/* state = fold(ledger). Everything the officer knows, and the one function that changes it. */
#ifndef ISOD_OFFICER_STATE_H
#define ISOD_OFFICER_STATE_H

#include "base/arena.h"
#include "officer/access.h"
#include "officer/architecture.h"
#include "officer/correlate.h"
#include "officer/improvement.h"
#include "officer/incident.h"
#include "officer/reporting.h"
#include "officer/risk.h"

/* What is known of one worker's evidence: counted up to `upto`; the matches past it that are already in the ledger
 * (as "N/RULE"), so that re-detection after a crash counts none twice. */
struct cursor {
	uint64_t upto;
	uint64_t seen_max; /* the highest evidence sequence in the ledger, counted or matched */
	struct map matched;
};

/* How far a producer (log/producer.h) is counted, and whose it is. */
struct producer_mark {
	uint64_t upto;
	uint64_t heard_ns; /* of the last record that told of it */
	char *owner;       /* NULL: nobody's yet */
};
void producer_mark_free(void *mark);

struct state {
	uint64_t sequence; /* of the last record applied */
	uint64_t time_ns;
	uint64_t matches;
	uint64_t started_ns; /* of the last Started */
	Isod__V1__Settings *settings;
	struct cursor *cursors; /* by worker */
	size_t cursor_count;
	struct map producers; /* struct producer_mark by producer */
	struct correlate *correlate;
	struct incident_desk incident;
	struct risk_desk risk;
	struct architecture_desk architecture;
	struct improvement_desk improvement;
	struct reporting_desk reporting;
	struct access_desk access;
	uint64_t seed; /* of the hashes of entities */
	struct arena
		ahead; /* what is worked out of the records that are applied next; empty between calls */
};

void state_init(struct state *s);
void state_release(struct state *s);

/* A record of the ledger. */
struct numbered {
	uint64_t sequence, time_ns;
	Isod__V1__Record *record;
};

/* Applies the records, in their order. `effects` may be NULL (replay). What the next STATE_AHEAD records will touch is
 * fetched into the processor's cache together, so that many at once cost far less than one by one; the result is the same. */
#define STATE_AHEAD CORRELATE_AHEAD
void state_apply_all(struct state *s, const struct numbered *records, size_t count,
                     const struct effects *effects);
/* Applies one record. */
void state_apply(struct state *s, uint64_t sequence, uint64_t time_ns,
                 const Isod__V1__Record *record, const struct effects *effects);

/* For loading (officer/save.h): the worker's cursor, made when it has none; NULL past the workers there can be. */
struct cursor *state_cursor(struct state *s, uint32_t worker);
/* Copies the settings and lets every desk that goes by them know. */
void state_take_settings(struct state *s, const Isod__V1__Settings *settings);

/* When something is due even if nothing happens, or NEVER: a Tick record is wanted then. */
uint64_t state_next_deadline(const struct state *s);

/* True if the ledger holds this match already (by worker, evidence sequence, rule). */
bool state_has_match(const struct state *s, const Isod__V1__Match *m);

#endif
