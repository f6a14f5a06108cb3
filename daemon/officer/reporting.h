/* The reporting desk: who is told what. Settings' routes turn "an incident opened" and "its severity rose" into
 * notifications; each is a durable entry of the outbox with attempts, back-off, and an end: delivered, dead or
 * cancelled. Sending is an effect; what came of it comes back as a PluginResult record. Those at their end leave memory
 * settings.notification_kept later, or when there are more than notification_kept_max; they stay in the ledger. */
#ifndef ISOD_OFFICER_REPORTING_H
#define ISOD_OFFICER_REPORTING_H

#include "officer/desk.h"
#include "officer/shelf.h"

struct incident_desk;

struct reporting_desk {
	struct shelf
		items; /* Isod__V1__Notification by id: those not at their end, and those that are kept */
	size_t count;      /* ever made: the highest id */
	uint64_t loaded;   /* the last id from a snapshot */
	uint64_t *pending; /* ids that are pending or in flight, in order */
	size_t pending_count, pending_cap;
	uint64_t due_ns; /* no attempt is due before; 0: that is to be worked out */
	struct departures finished;
	size_t dead; /* of those that are kept */
};

void reporting_init(struct reporting_desk *d);
void reporting_release(struct reporting_desk *d);
/* Something about the incident is to be told (reason from incident_on_match). */
void reporting_on_incident(struct reporting_desk *d, const struct step *s,
                           const Isod__V1__Incident *i, const char *reason);
/* Acknowledged or closed: what is still pending for it is cancelled. */
void reporting_on_handled(struct reporting_desk *d, const struct step *s, uint64_t incident);
void reporting_on_result(struct reporting_desk *d, const struct step *s,
                         const Isod__V1__PluginResult *r);
/* A Started record: what was in flight when the daemon stopped is pending again, due now, with the same key. */
void reporting_on_started(struct reporting_desk *d, const struct step *s);
/* Begins every attempt that is due at the step's time; what is kept no longer leaves. */
void reporting_on_clock(struct reporting_desk *d, const struct step *s,
                        const struct incident_desk *incidents);

void reporting_save(const struct reporting_desk *d, struct saver *to);
int reporting_load(struct reporting_desk *d, Isod__V1__SnapshotNotifications *from,
                   const struct incident_desk *incidents);

/* When the next attempt is due, or NEVER. */
uint64_t reporting_next_deadline(const struct reporting_desk *d);
/* NULL when there is none, or when it has left: then its id is not above d->count. Valid until the next step. */
const Isod__V1__Notification *reporting_get(const struct reporting_desk *d, uint64_t id);
/* The one with the lowest id above *id, which becomes that; NULL when there is none. */
const Isod__V1__Notification *reporting_next(const struct reporting_desk *d, uint64_t *id);

#endif
