#include "officer/access.h"

#include "base/mem.h"

#define VIEWER    ISOD__V1__ROLE__ROLE_VIEWER
#define RESPONDER ISOD__V1__ROLE__ROLE_RESPONDER
#define ADMIN     ISOD__V1__ROLE__ROLE_ADMIN
#define PRODUCER  ISOD__V1__ROLE__ROLE_PRODUCER
#define ASK(name) ISOD__V1__REQUEST__ASK_##name

static const struct {
	Isod__V1__Request__AskCase ask;
	const char *name;
	Isod__V1__Role needed;
} requests[] = {
	{ASK(STATUS), "status", VIEWER},
	{ASK(LIST_INCIDENTS), "list_incidents", VIEWER},
	{ASK(SHOW_INCIDENT), "show_incident", VIEWER},
	{ASK(ACKNOWLEDGE), "acknowledge", RESPONDER},
	{ASK(CLOSE), "close", RESPONDER},
	{ASK(RISK), "risk", VIEWER},
	{ASK(METRICS), "metrics", VIEWER},
	{ASK(WATCH), "watch", VIEWER},
	{ASK(LIST_NOTIFICATIONS), "list_notifications", VIEWER},
	{ASK(RELOAD_RULES), "reload_rules", ADMIN},
	{ASK(RULES_STATS), "rules_stats", VIEWER},
	{ASK(INGEST_HELLO), "ingest_hello", PRODUCER},
	{ASK(INGEST_BATCH), "ingest_batch", PRODUCER},
	{ASK(LEDGER_DIGEST), "ledger_digest", ADMIN},
	{ASK(BACKUP), "backup", ADMIN},
};

void access_init(struct access_desk *d)
{
	*d = (struct access_desk){0};
}

void access_on_record(struct access_desk *d, const struct step *s)
{
	switch (s->record->body_case) {
	case ISOD__V1__RECORD__BODY_REFUSAL: d->refusals++; break;
	case ISOD__V1__RECORD__BODY_COMMAND: d->commands++; break;
	default: break;
	}
}

Isod__V1__Role access_needed(Isod__V1__Request__AskCase ask)
{
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		if (requests[i].ask == ask)
			return requests[i].needed;
	return ISOD__V1__ROLE__ROLE_NONE;
}

bool access_allows(Isod__V1__Role role, Isod__V1__Role needed)
{
	if (role == PRODUCER || needed == PRODUCER)
		return role == needed || role == ADMIN;
	return role >= needed;
}

const char *access_role_name(Isod__V1__Role role)
{
	static const char *const names[] = {"no role", "viewer", "responder", "admin", "producer"};

	return (size_t)role < ARRAY_LEN(names) ? names[role] : names[0];
}

const char *access_request_name(Isod__V1__Request__AskCase ask)
{
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		if (requests[i].ask == ask)
			return requests[i].name;
	return "unknown";
}
