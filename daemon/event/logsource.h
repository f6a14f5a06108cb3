/* conf/logsources.yaml: which Sigma log sources (product, category, service) an event belongs to, and under
 * which further names its fields are known (EVTX JSON, Winlogbeat/ECS, NXLog to Sigma's names).
 * Read-only after load, shared by threads. */
#ifndef ISOD_EVENT_LOGSOURCE_H
#define ISOD_EVENT_LOGSOURCE_H

#include "base/diag.h"
#include "event/event.h"

#define LOGSOURCES_MAX 1024 /* entries of the table: a bit each in a set */

struct logsources;

/* Which entries of the table hold for one event. */
struct logsource_set {
	uint64_t bits[LOGSOURCES_MAX / 64];
	bool any;
};

int logsources_load(const char *file, struct diags *diags, struct logsources **ret);
void logsources_free(struct logsources *l);

/* Adds Sigma's names to the event (field map first), then tells which entries hold. */
void logsources_classify(const struct logsources *l, struct event *e, struct logsource_set *ret);

/* The same, several times as fast for events like those before. One memo per thread; `l` must outlive it. */
struct logsource_memo;
struct logsource_memo *logsource_memo_new(const struct logsources *l);
void logsource_memo_free(struct logsource_memo *m); /* NULL is allowed */
void logsources_classify_with(const struct logsources *l, struct logsource_memo *m, struct event *e,
                              struct logsource_set *ret);

/* For a rule: the entries that can satisfy its log source (a part that the rule leaves out matches any; an
 * entry that leaves a part out does not satisfy a rule that asks for it). Empty parts are STR_NONE.
 * Returns how many there are; 0: the table knows no such log source, and by convention the rule is then tried
 * on events for which `any` is false. */
size_t logsources_resolve(const struct logsources *l, struct str product, struct str category,
                          struct str service, struct logsource_set *ret);

/* The entries of the table one by one: entry `at` is bit `at` of a set. Parts that it leaves out are STR_NONE. */
struct logsource_entry {
	struct str product, category, service;
};
size_t logsources_count(const struct logsources *l);
struct logsource_entry logsources_entry(const struct logsources *l, size_t at);
bool logsource_has(const struct logsource_set *set, size_t at);

bool logsource_intersects(const struct logsource_set *a, const struct logsource_set *b);

#endif
