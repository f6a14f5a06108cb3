/* A Redis command under construction: arguments one after the other, then handed to a sink (the client's batch, or a
 * test). Also the flat fields of a hash, from any message of the schema by its descriptor, so that a field added to
 * the schema is in the view without more code:
 *
 *   numbers           decimal
 *   NAME_ns, uint64   NAME: a time, RFC 3339 in UTC with milliseconds; empty when there is none yet
 *   NAME_ns, int64    NAME_ms: a difference of times in milliseconds
 *   NAME_milli        NAME: decimal with three digits behind the point
 *   enums             lower-case words as in JSON ("high")
 *   entities          KIND:NAME, of several a list with commas (the hash's `json` tells names with commas apart)
 *   lists of text     the same; other lists are not flat and stand in the hash's `json` only */
#ifndef ISOD_VIEW_COMMAND_H
#define ISOD_VIEW_COMMAND_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"

struct command_sink {
	void (*put)(void *arg, int argc, const char *const *argv, const size_t *lengths);
	void *arg;
};

struct command {
	struct buf text; /* all arguments without separators */
	size_t *ends;    /* of each argument in `text` */
	const char **argv;
	size_t *lengths;
	size_t count, ends_cap, argv_cap, lengths_cap;
};

void command_init(struct command *c);
void command_release(struct command *c);

/* Begins anew with the command's name. */
void command_begin(struct command *c, const char *name);
void command_str(struct command *c, struct str argument);
void command_text(struct command *c, const char *argument);
void command_u64(struct command *c, uint64_t argument);
void command_printf(struct command *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* One argument in pieces: what is appended to c->text since the last argument becomes one. */
void command_cut(struct command *c);
void command_end(struct command *c, const struct command_sink *sink);

/* A name and a value each. */
void command_field(struct command *c, const char *name, struct str value);
void command_field_u64(struct command *c, const char *name, uint64_t value);
void command_field_time(struct command *c, const char *name, uint64_t ns);
void command_fields(struct command *c, const ProtobufCMessage *message);

#endif
