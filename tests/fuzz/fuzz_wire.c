/* wire_next() on a stream, every body unpacked as a request and an answer, shown as JSON, packed and delimited again. */
#include <errno.h>
#include <stdlib.h>

#include "api.pb-c.h"
#include "base/pbjson.h"
#include "base/utf8.h"
#include "base/wire.h"

#define MESSAGE_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check(const ProtobufCMessageDescriptor *d, struct str body)
{
	ProtobufCMessage *m = protobuf_c_message_unpack(d, NULL, body.n, (const uint8_t *)body.p);
	struct buf json, again;
	struct str second;
	size_t used;

	if (!m)
		return;
	buf_init(&json, 0);
	buf_init(&again, 0);
	require(pbjson_append(&json, m) == 0 && utf8_valid(buf_str(&json)));
	require(json.n >= 2 && json.p[0] == '{' && json.p[json.n - 1] == '}');
	for (size_t i = 0; i < json.n; i++)
		require((unsigned char)json.p[i] >= 0x20);
	require(wire_append(&again, m) == 0);
	require(wire_next(buf_str(&again), again.n, &second, &used) == 0 && used == again.n);
	protobuf_c_message_free_unpacked(m, NULL);
	buf_release(&json);
	buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str stream = str_make((const char *)data, size), body;
	size_t used;

	while (wire_next(stream, MESSAGE_MAX, &body, &used) == 0) {
		require(used > 0 && used <= stream.n && body.n <= MESSAGE_MAX);
		require(body.p >= stream.p && body.p + body.n == stream.p + used);
		check(&isod__v1__request__descriptor, body);
		check(&isod__v1__response__descriptor, body);
		check(&isod__v1__record__descriptor, body);
		stream = str_skip(stream, used);
	}
	return 0;
}
