/* Frames to events: a table of decoders. First the envelope (RFC 5424, RFC 3164, or none; a log line that a file
 * shipper sent as a message is taken out, its sender kept as relay.host and relay.program), then the body: JSON and
 * @cee JSON, CEF, LEEF, auditd, event XML, the program's patterns (conf/patterns.yaml), key=value; the first that
 * understands has it. The log-source map (event/logsource.h) comes after. What no decoder understands stays an event with `message` =
 * the raw text and EVENT_UNDECODED; nothing is ever dropped here. A frame that is JSON has no `message` field but its
 * own. */
#ifndef ISOD_EVENT_DECODE_H
#define ISOD_EVENT_DECODE_H

#include "base/diag.h"
#include "event/event.h"

struct patterns; /* conf/patterns.yaml, compiled; read-only, shared by threads */

/* 0 and *ret, or -EINVAL/-errno with everything that is wrong in `diags`. */
int patterns_load(const char *file, struct diags *diags, struct patterns **ret);
void patterns_free(struct patterns *p);

/* One per thread: scratch space of the JSON parser and of the patterns. */
struct decoder;
/* `patterns` may be NULL; it must outlive the decoder. */
struct decoder *decoder_new(const struct patterns *patterns);
void decoder_free(struct decoder *d);

/* Decodes `frame` into `e`, which the caller has reset and given received_ns and source (received_ns supplies the
 * year that RFC 3164 leaves out). `frame` must stay unchanged until the event is reset. Never fails: see above. */
void event_decode(struct decoder *d, struct event *e, struct str frame);

#endif
