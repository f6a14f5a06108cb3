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

static size_t item_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_STRING: return sizeof(char *);
	case PROTOBUF_C_TYPE_MESSAGE: return sizeof(ProtobufCMessage *);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE: return 8;
	default: return 4;
	}
}

static void open_repeated(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	size_t count = *(size_t *)((char *)m + f->quantifier_offset), room = 1;
	void **items = (void **)((char *)m + f->offset);

	if (!count)
		return;
	while (room < count)
		room *= 2;
	*items = xrealloc(*items, room * item_size(f));
	for (size_t i = 0; i < count && f->type == PROTOBUF_C_TYPE_MESSAGE; i++)
		pb_open(((ProtobufCMessage **)*items)[i]);
}

void pb_open(ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			open_repeated(message, f);
		else if (f->type == PROTOBUF_C_TYPE_MESSAGE &&
		         !(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
			ProtobufCMessage *below =
				*(ProtobufCMessage **)((char *)message + f->offset);
			if (below)
				pb_open(below);
		}
	}
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
