/* From an event and a rule that holds for it to the record that the officer gets. */
#ifndef ISOD_INGEST_MATCH_RECORD_H
#define ISOD_INGEST_MATCH_RECORD_H

#include "base/arena.h"
#include "event/event.h"
#include "ledger.pb-c.h"
#include "sigma/rules.h"

#define MATCH_NAME_MAX     255 /* bytes of an entity's part: host names and account names end there */
#define MATCH_VALUE_MAX    1024 /* bytes of one field's value: enough to group by and to read */
#define MATCH_SUMMARY_MAX  512
#define MATCH_TITLE_MAX    1024
#define MATCH_TAGS_MAX     256   /* tags of one rule; SigmaHQ's widest has 15 */
#define MATCH_FIELDS_BYTES 32768 /* names and values together: what one match may cost the ledger */
#define MATCH_ENTITIES_MAX 3

struct match_record {
	struct arena event_arena; /* what all matches of the event share */
	struct arena rule_arena;  /* what belongs to one of them */
	struct buf text;
	Isod__V1__EvidenceRef evidence;
	Isod__V1__Entity entities[MATCH_ENTITIES_MAX];
	Isod__V1__Entity *entity_list[MATCH_ENTITIES_MAX];
	Isod__V1__Match match;
	Isod__V1__Record record;
};

void match_record_init(struct match_record *r);
void match_record_release(struct match_record *r);

/* Begins with an event: record `sequence` of worker `worker`'s evidence. */
void match_record_event(struct match_record *r, const struct event *e, uint32_t worker,
                        uint64_t sequence);
/* The record for one rule that holds for that event. Every text is valid UTF-8 within the limits above. Valid until
 * the next call. */
const Isod__V1__Record *match_record_rule(struct match_record *r, const struct event *e,
                                          const struct rule *rule);

#endif
