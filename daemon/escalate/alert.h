/* One attempt at one notification on its way to a plugin, and lists of them. */
#ifndef ISOD_ESCALATE_ALERT_H
#define ISOD_ESCALATE_ALERT_H

#include "base/buf.h"
#include "plugin.pb-c.h"

#define ALERT_TIMELINE_MAX 50 /* newest entries a plugin is told; the rest is counted as omitted */
#define ALERT_EVIDENCE_MAX 50
#define ALERT_ENTITIES_MAX 200
#define ALERT_RULES_MAX    200

struct alert {
	struct alert *next;
	char *key; /* NODE:NOTIFICATION:CREATED_NS */
	uint64_t notification;
	uint32_t attempt;
	struct buf message;   /* the delimited ToPlugin */
	uint64_t queued_mono; /* when it began to wait, */
	uint64_t sent_mono;   /* and when it was handed over */
	uint64_t since_mono;  /* when what it tells began; 0: unknown, or counted */

	Isod__V1__PluginOutcome outcome; /* once it is over */
	char *detail;
};

/* The idempotency key holds the notification's creation time beside its number, because numbers begin at 1 again in
 * a new ledger and a receiver must not take the new 1 for the old one.
 * Never NULL; a message longer than ESCALATE_MESSAGE_MAX gives an alert whose `message` is empty. */
struct alert *alert_new(const char *node, const Isod__V1__Notification *n,
                        const Isod__V1__Incident *incident);
void alert_free(struct alert *a);
/* Sets outcome and detail; the detail is made printable and cut to a sane length. */
void alert_finish(struct alert *a, Isod__V1__PluginOutcome outcome, const char *detail);

struct alert_list {
	struct alert *first, *last;
	size_t count, bytes;
};

void alert_list_add(struct alert_list *l, struct alert *a);
/* NULL when empty. */
struct alert *alert_list_take(struct alert_list *l);
/* Takes out the one with this key; NULL when there is none. */
struct alert *alert_list_remove(struct alert_list *l, const char *key);
bool alert_list_has(const struct alert_list *l, const char *key);

#endif
