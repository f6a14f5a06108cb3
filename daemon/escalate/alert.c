#include "escalate/alert.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "escalate/escalate.h"

#define DETAIL_MAX 512 /* bytes kept of what a plugin says: it goes into the ledger */

/* Keeps the newest `max` of `*items`, which stand in order of time; returns how many were left out. */
static size_t keep_newest(void *items, size_t *count, size_t size, size_t max)
{
	char **p = items;
	size_t left_out = *count > max ? *count - max : 0;

	*p += left_out * size;
	*count -= left_out;
	return left_out;
}

/* A shallow copy that shares everything with `incident` and shows less of it. */
static Isod__V1__Incident shortened(const Isod__V1__Incident *incident, bool bare)
{
	Isod__V1__Incident i = *incident;

	i.timeline_omitted += keep_newest(&i.timeline, &i.n_timeline, sizeof(*i.timeline),
	                                  bare ? 0 : ALERT_TIMELINE_MAX);
	i.evidence_omitted += keep_newest(&i.evidence, &i.n_evidence, sizeof(*i.evidence),
	                                  bare ? 0 : ALERT_EVIDENCE_MAX);
	if (i.n_entities > ALERT_ENTITIES_MAX)
		i.n_entities = ALERT_ENTITIES_MAX;
	if (i.n_rules > ALERT_RULES_MAX)
		i.n_rules = ALERT_RULES_MAX;
	return i;
}

static int pack(struct alert *a, const char *node, const Isod__V1__Notification *n,
                const Isod__V1__Incident *incident, bool bare)
{
	Isod__V1__PluginAlert body = ISOD__V1__PLUGIN_ALERT__INIT;
	Isod__V1__ToPlugin to = ISOD__V1__TO_PLUGIN__INIT;
	Isod__V1__Incident i;

	if (incident) {
		i = shortened(incident, bare);
		body.incident = &i;
	}
	body.key = a->key;
	body.attempt = n->attempts;
	body.reason = n->reason;
	body.node = (char *)(uintptr_t)node;
	to.body_case = ISOD__V1__TO_PLUGIN__BODY_ALERT;
	to.alert = &body;
	if (protobuf_c_message_get_packed_size(&to.base) > ESCALATE_MESSAGE_MAX)
		return -1;
	return wire_append(&a->message, &to.base);
}

struct alert *alert_new(const char *node, const Isod__V1__Notification *n,
                        const Isod__V1__Incident *incident)
{
	struct alert *a = xcalloc(1, sizeof(*a));

	a->notification = n->id;
	a->attempt = n->attempts;
	a->key = xasprintf("%s:%llu:%llu", node, (unsigned long long)n->id,
	                   (unsigned long long)n->created_ns);
	buf_init(&a->message, 0);
	if (pack(a, node, n, incident, false) < 0)
		pack(a, node, n, incident, true);
	return a;
}

void alert_free(struct alert *a)
{
	if (!a)
		return;
	free(a->key);
	free(a->detail);
	buf_release(&a->message);
	free(a);
}

void alert_finish(struct alert *a, Isod__V1__PluginOutcome outcome, const char *detail)
{
	char safe[DETAIL_MAX];

	a->outcome = outcome;
	free(a->detail);
	a->detail = xstrdup(log_escape(str_of(detail), safe, sizeof(safe)));
}

void alert_list_add(struct alert_list *l, struct alert *a)
{
	a->next = NULL;
	if (l->last)
		l->last->next = a;
	else
		l->first = a;
	l->last = a;
	l->count++;
	l->bytes += a->message.n;
}

static struct alert *take_after(struct alert_list *l, struct alert *before)
{
	struct alert *a = before ? before->next : l->first;

	if (!a)
		return NULL;
	if (before)
		before->next = a->next;
	else
		l->first = a->next;
	if (l->last == a)
		l->last = before;
	a->next = NULL;
	l->count--;
	l->bytes -= a->message.n;
	return a;
}

struct alert *alert_list_take(struct alert_list *l)
{
	return take_after(l, NULL);
}

struct alert *alert_list_remove(struct alert_list *l, const char *key)
{
	struct alert *before = NULL;

	for (struct alert *a = l->first; a; before = a, a = a->next)
		if (strcmp(a->key, key) == 0)
			return take_after(l, before);
	return NULL;
}

bool alert_list_has(const struct alert_list *l, const char *key)
{
	for (const struct alert *a = l->first; a; a = a->next)
		if (strcmp(a->key, key) == 0)
			return true;
	return false;
}
