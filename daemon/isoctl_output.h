/* What every command family prints with. */
#ifndef ISOD_ISOCTL_OUTPUT_H
#define ISOD_ISOCTL_OUTPUT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

/* The message as one line of JSON on stdout. False if that did not take it. */
bool output_json(const ProtobufCMessage *message);
/* True if standard output took everything; else tells why not. */
bool output_finish(void);

#endif
