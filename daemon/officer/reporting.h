/* The reporting desk: who is told what. Settings' routes turn "an incident opened" and "its severity rose" into
 * notifications; each is a durable entry of the outbox with attempts, back-off, and an end: delivered, dead or
 * cancelled. Sending is an effect; what came of it comes back as a PluginResult record. */
#ifndef ISOD_OFFICER_REPORTING_H
#define ISOD_OFFICER_REPORTING_H

#include "officer/desk.h"

struct incident_desk;

struct reporting_desk {
	Isod__V1__Notification **items; /* by id: items[0] has id 1 */
	size_t count, cap;
	uint64_t *pending; /* ids that are pending or in flight, in order */
	size_t pending_count, pending_cap;
	size_t dead;
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
/* Begins every attempt that is due at the step's time. */
void reporting_on_clock(struct reporting_desk *d, const struct step *s,
                        const struct incident_desk *incidents);

void reporting_save(const struct reporting_desk *d, struct saver *to);
int reporting_load(struct reporting_desk *d, Isod__V1__SnapshotNotifications *from,
                   const struct incident_desk *incidents);

/* When the next attempt is due, or NEVER. */
uint64_t reporting_next_deadline(const struct reporting_desk *d);
const Isod__V1__Notification *reporting_get(const struct reporting_desk *d, uint64_t id);

#endif
