#include "event/decode.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "event/json.h"
#include "event/stamp.h"

/* Where structured sources put the time of what happened, the surest first: UTC before what may be local. */
static const char *const time_names[] = {
	"@timestamp",
	"timestamp",
	"TimeCreated",
	"Event.System.TimeCreated.#attributes.SystemTime",
	"Event.System.TimeCreated.@SystemTime",
	"Event.System.TimeCreated.SystemTime",
	"UtcTime",
	"Event.EventData.UtcTime",
	"EventTime",
	"eventTime",
	"Timestamp",
	"time",
	"ts",
	"__REALTIME_TIMESTAMP",
	"event.created",
};

struct decoder {
	const struct patterns *patterns;
	struct json *json;
	uint32_t time_hashes[ARRAY_LEN(time_names)];
};

struct decoder *decoder_new(const struct patterns *patterns)
{
	struct decoder *d = xcalloc(1, sizeof(*d));

	d->patterns = patterns;
	d->json = json_new();
	for (size_t i = 0; i < ARRAY_LEN(time_names); i++)
		d->time_hashes[i] = event_name_hash(str_of(time_names[i]));
	return d;
}

void decoder_free(struct decoder *d)
{
	if (!d)
		return;
	json_free(d->json);
	free(d);
}

static void time_from_fields(const struct decoder *d, struct event *e)
{
	for (size_t i = 0; i < ARRAY_LEN(time_names); i++) {
		const struct field *f =
			event_find_hashed(e, str_of(time_names[i]), d->time_hashes[i]);
		uint64_t ns = 0;
		if (!f)
			continue;
		if (!stamp_epoch(f->value, &ns))
			stamp_parse(f->value, e->received_ns, &ns, NULL);
		if (ns) {
			e->time_ns = ns;
			return;
		}
	}
}

void event_decode(struct decoder *d, struct event *e, struct str frame)
{
	e->raw = e->message = frame;
	if (json_decode(d->json, e, frame)) {
		e->decoder = "json";
		time_from_fields(d, e);
	} else {
		event_put(e, STR("message"), frame, VALUE_STRING);
		e->flags |= EVENT_UNDECODED;
		if (!utf8_valid(frame))
			e->flags |= EVENT_BAD_UTF8;
	}
	if (!e->time_ns)
		e->flags |= EVENT_NO_TIME;
}
