/* Events about isod itself: JSON objects that go through evidence and detection like any other. */
#ifndef ISOD_INGEST_OWN_EVENT_H
#define ISOD_INGEST_OWN_EVENT_H

#include "base/buf.h"

/* Appends the object: what happened (`event`), on which node, when, and `pairs`: name, value, name, value …, NULL; a pair
 * whose value is NULL is left out. 0, or -ENOBUFS past the buffer's limit. */
int own_event_write(struct buf *out, const char *node, uint64_t now_ns, const char *event,
                    const char *const *pairs);

#endif
