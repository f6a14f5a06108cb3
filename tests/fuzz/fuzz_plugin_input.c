/* Bytes of a plugin through the parser, in pieces as a pipe would bring them: the first byte is the size of a piece. */
#include "escalate/escalate.h"
#include "escalate/plugin_input.h"

static bool look(void *arg, const Isod__V1__FromPlugin *m)
{
	size_t *seen = arg;

	if (m->body_case == ISOD__V1__FROM_PLUGIN__BODY_ANSWER)
		*seen += strlen(m->answer->key) + strlen(m->answer->detail);
	else if (m->body_case == ISOD__V1__FROM_PLUGIN__BODY_READY)
		*seen += strlen(m->ready->error);
	else
		__builtin_trap(); /* a message without body must not come this far */
	return *seen % 7 != 6;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf in;
	size_t piece = size ? (size_t)data[0] + 1 : 1, seen = 0;

	buf_init(&in, ESCALATE_MESSAGE_MAX + 300);
	for (size_t at = 1; at < size; at += piece) {
		size_t n = size - at < piece ? size - at : piece;
		if (buf_append(&in, data + at, n) < 0 || plugin_input_take(&in, look, &seen) < 0)
			break;
	}
	buf_release(&in);
	return 0;
}
