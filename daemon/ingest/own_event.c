#include "ingest/own_event.h"

#include <errno.h>

#include "base/clock.h"
#include "base/pbjson.h"

int own_event_write(struct buf *out, const char *node, uint64_t now_ns, const char *event,
                    const char *const *pairs)
{
	char when[CLOCK_TEXT_MAX];
	int r = buf_printf(out, "{\"product\":\"isod\",\"@timestamp\":\"%s\",\"host\":",
	                   clock_format(now_ns, when));

	r |= json_quote(out, str_of(node));
	r |= buf_printf(out, ",\"event\":");
	r |= json_quote(out, str_of(event));
	for (; *pairs; pairs += 2) {
		if (!pairs[1])
			continue;
		r |= buf_putc(out, ',');
		r |= json_quote(out, str_of(pairs[0]));
		r |= buf_putc(out, ':');
		r |= json_quote(out, str_of(pairs[1]));
	}
	r |= buf_putc(out, '}');
	return r ? -ENOBUFS : 0;
}
