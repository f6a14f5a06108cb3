/* JSON (RFC 8259) from any protobuf message, by its descriptor: no hand-written encoder anywhere.
 * Names are the schema's (snake_case); 64-bit numbers are JSON numbers; enum values are lower-case without
 * the prefix that all values of the enum share ("high" for LEVEL_HIGH); bytes are hex; a oneof shows only its
 * set member; unset messages are left out, scalars and lists always stand. Text that is no valid UTF-8 is
 * repaired with U+FFFD. */
#ifndef ISOD_BASE_PBJSON_H
#define ISOD_BASE_PBJSON_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"

/* Appends the message as one line without a line end. 0 or -ENOBUFS. */
int pbjson_append(struct buf *out, const ProtobufCMessage *message);

/* Appends `s` as a JSON string with its quotes. 0 or -ENOBUFS. */
int json_quote(struct buf *out, struct str s);

/* The short name of an enum value ("high"), "?" for an unknown one. Valid for the process's life:
 * points into `out`. */
char *pbjson_enum(const ProtobufCEnumDescriptor *d, int value, char *out, size_t size);
/* The value whose short or full name is `text` (any case). 0 or -EINVAL. */
int pbjson_enum_parse(const ProtobufCEnumDescriptor *d, struct str text, int *ret);

#endif
