/* Building protobuf-c messages by hand: the desks keep their state in messages of the schema, so that API, view,
 * plugins and snapshots need no other form of it. Everything built with these is freed by the message's
 * free_unpacked(). */
#ifndef ISOD_BASE_PB_H
#define ISOD_BASE_PB_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "base/str.h"

/* Sets a string member of an initialised message to a copy of `text` (valid UTF-8), freeing what it held. */
void pb_set(char **member, struct str text);
void pb_set_text(char **member, const char *text);

/* Makes room in a repeated member for one more item and returns where it goes; counts it. The array grows by
 * doubling at powers of two, as it has no capacity member: never shrink one by hand, and grow it only with this. */
void *pb_add(void *array, size_t *count, size_t item_size);
/* Appends a copy of a string to a repeated string member. */
void pb_add_text(char ***array, size_t *count, const char *text);

/* After unpacking, which leaves arrays exactly as long as they are: makes the room that pb_add takes for granted in every
 * repeated member of the message and of those below it. */
void pb_open(ProtobufCMessage *message);

/* A deep copy, not open for pb_add, to be freed with free_unpacked. */
void *pb_copy(const ProtobufCMessage *message);

/* True if both are the same message with equal contents (by their packed form). */
bool pb_equal(const ProtobufCMessage *a, const ProtobufCMessage *b);

#endif
