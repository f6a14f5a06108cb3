/* What is counted per source between two tallies. One table per pipeline, so nothing here is shared. */
#ifndef ISOD_INGEST_SOURCE_H
#define ISOD_INGEST_SOURCE_H

#include "base/arena.h"
#include "base/map.h"
#include "ledger.pb-c.h"
#include "log/evidence.h"

#define SOURCE_NAME_MAX                                                                            \
	255 /* as evidence keeps it: a re-detected frame counts for the same source */
/* The most that an entry of a packed tally takes beside the name: tags, lengths, fifteen numbers of 12 bytes. */
#define SOURCE_COUNT_BYTES 190

struct source {
	char *name;                   /* valid UTF-8 */
	Isod__V1__SourceCount counts; /* since the last tally; its `source` is `name` */
	bool active;                  /* something was counted since the last tally */
};

struct sources {
	struct map map;
	struct source *last; /* the one asked for last: frames come in runs */
	struct str last_key;
	size_t max;
	size_t active;
	size_t active_bytes; /* the most that a tally of the active ones takes when packed */
};

/* `max`: sources told apart; past it all further ones of a listener count as "LISTENER/(other)". */
void sources_init(struct sources *s, size_t max);
void sources_release(struct sources *s);

/* The counters of `name`, marked active. Valid until sources_forget. */
Isod__V1__SourceCount *sources_count(struct sources *s, struct str name);

/* Adds `lost` frames that did not become events to the counters of `name`, under their reason. */
void sources_lost(struct sources *s, struct str name, enum evidence_loss loss, uint64_t lost);

/* Fills `t->sources` with the active ones (array from `arena`, which must not be limited; names stay owned here). */
void sources_tally(struct sources *s, struct arena *arena, Isod__V1__Tally *t);
/* All counts to zero: they are in a packed tally now. The names stay known. */
void sources_reset(struct sources *s);
/* Forgets the names too. */
void sources_forget(struct sources *s);

#endif
