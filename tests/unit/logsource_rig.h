/* A table of log sources and one event, for tests of what the table makes of the event. */
#ifndef ISOD_TESTS_LOGSOURCE_RIG_H
#define ISOD_TESTS_LOGSOURCE_RIG_H

#include <criterion/criterion.h>

#include "event/logsource_table.h"

static struct logsources *table;
static struct event event;

static inline void release(void)
{
	logsources_free(table);
	event_release(&event);
}

static const char *from = "tls/192.0.2.1"; /* of what classify() makes */

/* Name, value, name, value …, NULL. */
static inline struct logsource_set classify(const char *const *fields)
{
	struct logsource_set set;

	event_reset(&event);
	event.source = str_of(from);
	for (; fields[0]; fields += 2)
		cr_assert(event_put(&event, str_of(fields[0]), str_of(fields[1]), VALUE_STRING));
	logsources_classify(table, &event, &set);
	return set;
}

#define CLASSIFY(...) classify((const char *const[]){__VA_ARGS__, NULL})

static inline bool is(const struct logsource_set *set, const char *product, const char *category,
                      const char *service)
{
	struct logsource_set rule;

	cr_assert_gt(logsources_resolve(table, str_of(product), str_of(category), str_of(service),
	                                &rule),
	             0, "%s/%s/%s is not in the table", product ? product : "-",
	             category ? category : "-", service ? service : "-");
	return logsource_intersects(set, &rule);
}

static inline void expect_value(const char *name, const char *value)
{
	struct str found = event_value(&event, str_of(name));

	cr_expect(value ? str_eq(found, str_of(value)) : found.p == NULL, "%s is '%.*s', not '%s'",
	          name, STR_FMT(found), value ? value : "absent");
}

#endif
