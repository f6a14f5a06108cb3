#include "base/pb.h"

#include <stdlib.h>

#include "base/mem.h"

/* protobuf-c's default for string members; freeing it would free a constant. */
static bool is_default(const char *text)
{
	return text == NULL || text == (const char *)protobuf_c_empty_string;
}

void pb_set(char **member, struct str text)
{
	char *old = *member;

	*member = text.n ? xstrndup(text.p, text.n) : (char *)(uintptr_t)protobuf_c_empty_string;
	if (!is_default(old))
		free(old);
}

void pb_set_text(char **member, const char *text)
{
	pb_set(member, str_of(text));
}

void *pb_add(void *array, size_t *count, size_t item_size)
{
	char **items = array;

	if ((*count & (*count - 1)) == 0)
		*items = xrealloc(*items, (*count ? *count * 2 : 1) * item_size);
	return *items + (*count)++ * item_size;
}

void pb_add_text(char ***array, size_t *count, const char *text)
{
	char **at = pb_add(array, count, sizeof(char *));
	*at = xstrdup(text);
}

static uint8_t *packed(const ProtobufCMessage *m, size_t *ret_size)
{
	uint8_t *p = xmalloc(protobuf_c_message_get_packed_size(m));
	*ret_size = protobuf_c_message_pack(m, p);
	return p;
}

void *pb_copy(const ProtobufCMessage *message)
{
	size_t n;
	uint8_t *p = packed(message, &n);
	void *copy = protobuf_c_message_unpack(message->descriptor, NULL, n, p);

	free(p);
	if (!copy)
		abort(); /* what was just packed always unpacks, but for memory */
	return copy;
}

bool pb_equal(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	size_t na, nb;
	uint8_t *pa = packed(a, &na), *pb = packed(b, &nb);
	bool same = a->descriptor == b->descriptor && na == nb && memcmp(pa, pb, na) == 0;

	free(pa);
	free(pb);
	return same;
}
