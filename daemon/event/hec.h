/* Events of an HTTP Event Collector, in the form that Splunk's takes and forwarders send ("Format events for HTTP Event
 * Collector" in its documentation). A frame is one of two things, and event->meta tells which:
 *
 *   HEC_META_EVENT    one object, as it came: {"time":…,"host":…,"source":…,"sourcetype":…,"index":…,"fields":{…},"event":…}.
 *                     `event` is what it is about: a text is decoded like a line that came by itself (syslog, CEF, JSON in
 *                     text …), an object or array like a JSON frame.
 *   HEC_META_RAW…     a line, as it came, and behind the prefix the request's query with host, source, sourcetype, index
 *                     and time for all lines of it, percent-encoded.
 *
 * What stands around the event becomes fields after those of the event itself: host (relay.host when the event names another
 * one), source, sourcetype and index unless the event has such, members of `fields` under their own names, and `time` (seconds
 * since 1970, number or text) is the event's time. Frame and meta are all that evidence holds and all that is looked at, so
 * that it decodes alike for ever. */
#ifndef ISOD_EVENT_HEC_H
#define ISOD_EVENT_HEC_H

#include <stdbool.h>

#include "base/str.h"

struct event;
struct field;
struct json;

#define HEC_META_EVENT "hec/event"
#define HEC_META_RAW   "hec/raw?"

/* Seconds since 1970 with or without a fraction, 1973 to 2554, as HEC clients write them. */
bool hec_time(struct str text, uint64_t *ret_ns);

/* The next "name=value" of a query (RFC 3986 section 3.4, as HTML forms write it) is cut off *query. False at its end. */
bool hec_query_next(struct str *query, struct str *ret_name, struct str *ret_value);
/* Undoes %XX and + of `in` into `out`, which holds in.n bytes; a % without two digits stays. How many bytes it became. */
size_t hec_unquote(struct str in, char *out);

/* ---- for event_decode ---- */

struct hec_envelope {
	bool is_text;
	struct str text;            /* the event, if so */
	const struct field *fields; /* all of the envelope: in the event's arena */
	size_t count;
};

/* Takes the envelope apart. False when it is none (a frame that was cut at the limit): the event is as it was. */
bool hec_unwrap(struct json *j, struct event *e, struct str frame, struct hec_envelope *ret);
/* Adds the members of an event that is an object. */
void hec_put_members(struct event *e, const struct hec_envelope *h);
/* Adds what stands around it. */
void hec_put_rest(struct event *e, const struct hec_envelope *h);

#endif
