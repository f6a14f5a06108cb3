/* JSON (RFC 8259) to flat fields, on simdjson's On-Demand parser; the only place that sees it.
 *
 * {"a":{"b":1},"c":["x","y"],"d":[{"e":2},{"e":3}]} gives a.b=1, c=x, c=y, d.e=2, d.e=3. Numbers keep their
 * text as written. Members of one name are repeated fields. Below EVENT_DEPTH_MAX levels the rest stays as one
 * field with its JSON text, and EVENT_INCOMPLETE is set. A lone half of a surrogate pair becomes U+FFFD and sets
 * EVENT_BAD_UTF8.
 *
 * Windows' named data, whichever way a converter wrote it ("Data":[{"@Name":"Image","#text":"x"}], {"Name":…},
 * {"#attributes":{"Name":…}}), is there twice: as it stands, and derived as PARENT.Image = x. */
#ifndef ISOD_EVENT_JSON_H
#define ISOD_EVENT_JSON_H

#ifdef __cplusplus
extern "C" {
#endif

#include "event/event.h"

struct json; /* the parser and its scratch space: one per thread */

struct json *json_new(void);
void json_free(struct json *j);

/* True and the fields added, if all of `text` is one object, or one array that begins with an object. False
 * and the event as it was before, if it is no valid JSON or no valid UTF-8. `text` must live as long as the
 * event: values without escapes are slices of it. EVENT_JSON is set unless there is a \u escape. */
bool json_decode(struct json *j, struct event *e, struct str text);

#ifdef __cplusplus
}
#endif

#endif
