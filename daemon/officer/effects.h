/* What the fold wants done in the world. Desks call these through the effects they are given and do nothing else;
 * the shell runs them only after the ledger batch they come from is durable. While the ledger is replayed at start
 * nothing is called. */
#ifndef ISOD_OFFICER_EFFECTS_H
#define ISOD_OFFICER_EFFECTS_H

#include "incident.pb-c.h"
#include "base/str.h"

/* What a key of the view belongs to. The key within the kind: */
enum view_kind {
	VIEW_INCIDENT,     /* the id in decimal */
	VIEW_RISK,         /* entity_key() */
	VIEW_METRIC,       /* SCOPE/NAME */
	VIEW_SOURCE,       /* LISTENER/PEER */
	VIEW_NOTIFICATION, /* the id in decimal */
	VIEW_KINDS
};

struct effects {
	void *arg;
	/* The value under this key is another one now. */
	void (*dirty)(void *arg, enum view_kind kind, struct str key);
	/* An incident opened or changed; subscribers are told. */
	void (*incident)(void *arg, const Isod__V1__Incident *incident);
	/* Attempt n->attempts at a notification is to be made now. */
	void (*notify)(void *arg, const Isod__V1__Notification *n,
	               const Isod__V1__Incident *incident);
	/* A correlation reached its limits: since this was last told, at most once a minute, `count` of its groups had
	 * to make room. */
	void (*evicted)(void *arg, const char *correlation, uint64_t count);
};

#endif
