#include "base/wire.h"

#include <errno.h>

#define VARINT_MAX 10 /* bytes of a 64-bit varint */

int wire_pack(struct buf *out, const ProtobufCMessage *message)
{
	size_t n = protobuf_c_message_get_packed_size(message);
	int r = buf_reserve(out, n);

	if (r < 0)
		return r;
	protobuf_c_message_pack(message, (uint8_t *)out->p + out->n);
	out->n += n;
	return 0;
}

int wire_append(struct buf *out, const ProtobufCMessage *message)
{
	size_t n = protobuf_c_message_get_packed_size(message), digits = 0;
	uint8_t varint[VARINT_MAX];

	for (uint64_t rest = n; digits == 0 || rest; rest >>= 7)
		varint[digits++] = (uint8_t)((rest & 0x7f) | (rest >> 7 ? 0x80 : 0));
	int r = buf_reserve(out, digits + n);
	if (r < 0)
		return r;
	memcpy(out->p + out->n, varint, digits);
	protobuf_c_message_pack(message, (uint8_t *)out->p + out->n + digits);
	out->n += digits + n;
	return 0;
}

int wire_next(struct str in, size_t max, struct str *ret_body, size_t *ret_used)
{
	uint64_t length = 0;
	size_t digits = 0;
	uint8_t byte;

	do {
		if (digits == in.n)
			return -EAGAIN;
		byte = (uint8_t)in.p[digits];
		if (digits == VARINT_MAX - 1 && byte > 1)
			return -EBADMSG; /* more than 64 bits, or no end */
		length |= (uint64_t)(byte & 0x7f) << (7 * digits);
		digits++;
	} while (byte & 0x80);
	if (length > max)
		return -EMSGSIZE;
	if (in.n - digits < length)
		return -EAGAIN;
	*ret_body = str_make(in.p + digits, (size_t)length);
	*ret_used = digits + (size_t)length;
	return 0;
}
