#include "escalate/plugin_input.h"

#include <errno.h>

#include "base/wire.h"
#include "escalate/escalate.h"

int plugin_input_take(struct buf *in,
                      bool (*message)(void *arg, const Isod__V1__FromPlugin *message), void *arg)
{
	size_t taken = 0, used;
	bool more = true;
	struct str body;
	int r = 0;

	while (more) {
		r = wire_next(str_skip(buf_str(in), taken), ESCALATE_MESSAGE_MAX, &body, &used);
		if (r < 0)
			break;
		Isod__V1__FromPlugin *m =
			isod__v1__from_plugin__unpack(NULL, body.n, (const uint8_t *)body.p);
		if (!m || m->body_case == ISOD__V1__FROM_PLUGIN__BODY__NOT_SET)
			r = -EPROTO;
		else
			more = message(arg, m);
		if (m)
			isod__v1__from_plugin__free_unpacked(m, NULL);
		if (r < 0)
			break;
		taken += used;
	}
	buf_consume(in, taken); /* once, not per message: a chunk may hold thousands */
	return r == -EAGAIN ? 0 : r;
}

const char *plugin_input_error(int error)
{
	switch (error) {
	case -EMSGSIZE: return "a message longer than 1 MiB";
	case -EBADMSG: return "bytes that are no message length";
	default: return "a message that cannot be understood";
	}
}
