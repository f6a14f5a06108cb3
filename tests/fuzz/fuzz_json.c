/* Any text as JSON: fields lie inside the frame or the arena, and what is no JSON leaves the event alone. */
#include <stdlib.h>

#include "base/mem.h"
#include "event/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct json *j;
	static struct event e;
	struct buf out;

	if (!j) {
		j = json_new();
		event_setup(&e);
	}
	char *text = xmalloc(size);
	if (size)
		memcpy(text, data, size);
	event_reset(&e);
	event_put(&e, STR("before"), STR("x"), VALUE_STRING);
	if (!json_decode(j, &e, str_make(text, size)) && (e.count != 1 || e.flags))
		abort();
	buf_init(&out, 0);
	if (event_to_json(&e, &out) < 0)
		abort();
	buf_release(&out);
	free(text);
	return 0;
}
