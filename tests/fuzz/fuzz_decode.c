/* Any frame through event_decode() with the shipped patterns. Reads every field, so that the address sanitizer
 * sees a slice that points outside; the frame is a copy of its exact size for the same reason. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "event/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct decoder *start(struct event *e)
{
	struct diags diags;
	struct patterns *patterns;

	diags_init(&diags);
	if (patterns_load("conf/patterns.yaml", &diags, &patterns) < 0) {
		fprintf(stderr, "run from the top of the repository\n");
		exit(1);
	}
	diags_release(&diags);
	event_setup(e);
	return decoder_new(patterns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct decoder *d;
	static struct event e;
	struct buf out;

	if (!d)
		d = start(&e);
	char *frame = xmalloc(size);
	if (size)
		memcpy(frame, data, size);
	event_reset(&e);
	e.received_ns = UINT64_C(1795460000) * NS_PER_SECOND;
	event_decode(d, &e, str_make(frame, size));
	if (e.count > EVENT_FIELDS_MAX || (!(e.flags & EVENT_UNDECODED) && !e.decoder) ||
	    (e.time_ns == 0) != !!(e.flags & EVENT_NO_TIME) || e.raw.n != size)
		abort();
	for (size_t i = 0; i < e.count; i++) {
		const struct field *f = event_find(&e, e.fields[i].name);
		if (!f || f > &e.fields[i])
			abort();
	}
	buf_init(&out, 0);
	if (event_to_json(&e, &out) < 0)
		abort();
	buf_release(&out);
	free(frame);
	return 0;
}
