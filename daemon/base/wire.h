/* Protobuf messages on a byte stream, each behind its length as a varint: the delimiting of
 * writeDelimitedTo/parseDelimitedFrom of every protobuf runtime. */
#ifndef ISOD_BASE_WIRE_H
#define ISOD_BASE_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"

/* Appends length and message. 0 or -ENOBUFS (nothing added). */
int wire_append(struct buf *out, const ProtobufCMessage *message);
/* Appends the packed message without a length. 0 or -ENOBUFS. */
int wire_pack(struct buf *out, const ProtobufCMessage *message);

/* Looks for a whole message at the start of `in`. 0: *ret_body is its bytes, *ret_used what to take off
 * the stream. -EAGAIN: more bytes are needed. -EMSGSIZE: its length is over `max`. -EBADMSG: no varint. */
int wire_next(struct str in, size_t max, struct str *ret_body, size_t *ret_used);

#endif
