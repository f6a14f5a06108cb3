/* What a plugin writes on its standard output, taken apart: varint-delimited isod.v1.FromPlugin messages
 * (proto/plugin.proto) of at most ESCALATE_MESSAGE_MAX bytes. */
#ifndef ISOD_ESCALATE_PLUGIN_INPUT_H
#define ISOD_ESCALATE_PLUGIN_INPUT_H

#include "base/buf.h"
#include "plugin.pb-c.h"

/* Hands every whole message at the front of `in` to `message`, until that returns false, and takes them off. 0, or an
 * error after which nothing more can be read from this stream: -EMSGSIZE (a length past the limit), -EBADMSG (no
 * length), -EPROTO (no FromPlugin, or one that says nothing). */
int plugin_input_take(struct buf *in,
                      bool (*message)(void *arg, const Isod__V1__FromPlugin *message), void *arg);

/* The error in words. */
const char *plugin_input_error(int error);

#endif
