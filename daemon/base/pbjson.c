/* One walk over a message's descriptor. A map<> field reaches us as a list of generated KEY/VALUE messages, as it is on
 * the wire; it is shown as a JSON object, as every protobuf runtime does. */
#include "base/pbjson.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/utf8.h"

#define ENUM_NAME_MAX 128 /* the longest value name of the schema has 32 bytes */

/* ---- text ---- */

/* Bytes from the start that stand in a JSON string as they are. */
static size_t plain_run(struct str s)
{
	size_t i = 0;

	while (i < s.n && (unsigned char)s.p[i] >= 0x20 && (unsigned char)s.p[i] < 0x7f &&
	       s.p[i] != '"' && s.p[i] != '\\')
		i++;
	return i;
}

/* One byte that has to be escaped. */
static int escape(struct buf *out, unsigned char c)
{
	static const char named[][2] = {{'"', '"'},  {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'},
	                                {'\t', 't'}, {'\b', 'b'},  {'\f', 'f'}};

	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++)
		if (c == (unsigned char)named[i][0])
			return buf_append(out, (char[]){'\\', named[i][1]}, 2);
	return buf_printf(out, "\\u%04x", c);
}

/* The first character of `s` that is not plain; *ret_used: its bytes. */
static int append_special(struct buf *out, struct str s, size_t *ret_used)
{
	size_t n = utf8_sequence(s);

	*ret_used = n ? n : 1;
	if (n == 0)
		return buf_append(out, "\xef\xbf\xbd", 3);
	if (n == 1)
		return escape(out, (unsigned char)s.p[0]);
	if (n == 2 && s.p[0] == '\xc2' && (unsigned char)s.p[1] < 0xa0)
		return escape(out, (unsigned char)s.p[1]); /* C1: terminals obey them */
	return buf_append(out, s.p, n);
}

static int quote(struct buf *out, struct str s)
{
	int r = buf_putc(out, '"');

	while (r == 0 && s.n) {
		size_t n = plain_run(s);
		r = n ? buf_append(out, s.p, n) : append_special(out, s, &n);
		s = str_skip(s, n);
	}
	return r < 0 ? r : buf_putc(out, '"');
}

int json_quote(struct buf *out, struct str s)
{
	size_t start = out->n;
	int r = quote(out, s);

	if (r < 0)
		out->n = start;
	return r;
}

/* ---- enums ---- */

/* Length of the prefix that all value names share, up to and with an underscore. */
static size_t enum_prefix(const ProtobufCEnumDescriptor *d)
{
	size_t n = d->n_values ? strlen(d->values[0].name) : 0;

	for (unsigned i = 1; i < d->n_values; i++) {
		size_t same = 0;
		while (same < n && d->values[0].name[same] == d->values[i].name[same])
			same++;
		n = same;
	}
	while (n && d->values[0].name[n - 1] != '_')
		n--;
	return n;
}

char *pbjson_enum(const ProtobufCEnumDescriptor *d, int value, char *out, size_t size)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);

	snprintf(out, size, "%s", v ? v->name + enum_prefix(d) : "?");
	for (char *c = out; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return out;
}

int pbjson_enum_parse(const ProtobufCEnumDescriptor *d, struct str text, int *ret)
{
	size_t prefix = enum_prefix(d);

	for (unsigned i = 0; i < d->n_values; i++) {
		struct str full = str_of(d->values[i].name);
		if (str_ieq(text, full) || str_ieq(text, str_skip(full, prefix))) {
			*ret = d->values[i].value;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- values ---- */

static int append_message(struct buf *out, const ProtobufCMessage *message);

static int append_bytes(struct buf *out, const ProtobufCBinaryData *b)
{
	int r = buf_reserve(out, 2 * b->len + 3);

	if (r < 0)
		return r;
	out->p[out->n] = '"';
	hex_encode(b->data, b->len, out->p + out->n + 1);
	out->p[out->n + 1 + 2 * b->len] = '"';
	out->n += 2 * b->len + 2;
	return 0;
}

static int append_double(struct buf *out, double d, int digits)
{
	return isfinite(d) ? buf_printf(out, "%.*g", digits, d) : buf_add(out, STR("null"));
}

/* Size of one value in a repeated field's array. */
static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64: return sizeof(uint64_t);
	case PROTOBUF_C_TYPE_FLOAT: return sizeof(float);
	case PROTOBUF_C_TYPE_DOUBLE: return sizeof(double);
	case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
	default: return sizeof(uint32_t);
	}
}

static int append_value(struct buf *out, const ProtobufCFieldDescriptor *f, const void *p)
{
	char name[ENUM_NAME_MAX];

	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32: return buf_printf(out, "%" PRId32, *(const int32_t *)p);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32: return buf_printf(out, "%" PRIu32, *(const uint32_t *)p);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64: return buf_printf(out, "%" PRId64, *(const int64_t *)p);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64: return buf_printf(out, "%" PRIu64, *(const uint64_t *)p);
	case PROTOBUF_C_TYPE_FLOAT: return append_double(out, *(const float *)p, 9);
	case PROTOBUF_C_TYPE_DOUBLE: return append_double(out, *(const double *)p, 17);
	case PROTOBUF_C_TYPE_BOOL:
		return buf_add(out, *(const protobuf_c_boolean *)p ? STR("true") : STR("false"));
	case PROTOBUF_C_TYPE_ENUM:
		return quote(out, str_of(pbjson_enum(f->descriptor, *(const int *)p, name,
		                                     sizeof(name))));
	case PROTOBUF_C_TYPE_STRING: return quote(out, str_of(*(char *const *)p));
	case PROTOBUF_C_TYPE_BYTES: return append_bytes(out, p);
	case PROTOBUF_C_TYPE_MESSAGE:
		if (!*(const ProtobufCMessage *const *)p)
			return buf_add(out, STR("null"));
		return append_message(out, *(const ProtobufCMessage *const *)p);
	}
	return -EINVAL;
}

/* ---- fields ---- */

/* protoc makes a message NameEntry {key = 1; value = 2} of a map field `name`; protobuf-c keeps no other trace. */
static bool is_map(const ProtobufCFieldDescriptor *f)
{
	if (f->type != PROTOBUF_C_TYPE_MESSAGE || f->label != PROTOBUF_C_LABEL_REPEATED)
		return false;
	const ProtobufCMessageDescriptor *d = f->descriptor;
	return d->n_fields == 2 && d->fields[0].id == 1 && strcmp(d->fields[0].name, "key") == 0 &&
	       d->fields[1].id == 2 && strcmp(d->fields[1].name, "value") == 0 &&
	       str_ends(str_of(d->short_name), STR("Entry"));
}

static int append_map_entry(struct buf *out, const ProtobufCMessage *entry)
{
	const ProtobufCFieldDescriptor *key = &entry->descriptor->fields[0];
	const ProtobufCFieldDescriptor *value = &entry->descriptor->fields[1];
	const char *base = (const char *)entry;
	bool text = key->type == PROTOBUF_C_TYPE_STRING;
	int r = text ? 0 : buf_putc(out, '"');

	if (r == 0)
		r = append_value(out, key, base + key->offset);
	if (r == 0)
		r = buf_add(out, text ? STR(":") : STR("\":"));
	return r < 0 ? r : append_value(out, value, base + value->offset);
}

static int append_repeated(struct buf *out, const ProtobufCFieldDescriptor *f, const char *base)
{
	size_t count = *(const size_t *)(base + f->quantifier_offset);
	const char *items = *(const char *const *)(base + f->offset);
	bool map = is_map(f);
	int r = buf_putc(out, map ? '{' : '[');

	for (size_t i = 0; r == 0 && i < count; i++) {
		const void *item = items + i * value_size(f->type);
		if (i)
			r = buf_putc(out, ',');
		if (r == 0)
			r = map ? append_map_entry(out, *(const ProtobufCMessage *const *)item)
			        : append_value(out, f, item);
	}
	return r < 0 ? r : buf_putc(out, map ? '}' : ']');
}

static bool is_set(const ProtobufCFieldDescriptor *f, const char *base)
{
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return true;
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)(base + f->quantifier_offset) == f->id;
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)(base + f->offset) != NULL;
	if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type == PROTOBUF_C_TYPE_STRING)
		return *(const void *const *)(base + f->offset) != NULL;
	if (f->label == PROTOBUF_C_LABEL_OPTIONAL)
		return *(const protobuf_c_boolean *)(base + f->quantifier_offset) != 0;
	return true;
}

static int append_message(struct buf *out, const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *d = message->descriptor;
	const char *base = (const char *)message;
	bool first = true;
	int r = buf_putc(out, '{');

	/* Sorted by field number. */
	for (unsigned i = 0; r == 0 && i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		if (!is_set(f, base))
			continue;
		r = buf_printf(out, first ? "\"%s\":" : ",\"%s\":", f->name);
		first = false;
		if (r == 0)
			r = f->label == PROTOBUF_C_LABEL_REPEATED
			            ? append_repeated(out, f, base)
			            : append_value(out, f, base + f->offset);
	}
	return r < 0 ? r : buf_putc(out, '}');
}

int pbjson_append(struct buf *out, const ProtobufCMessage *message)
{
	size_t start = out->n;
	int r = append_message(out, message);

	if (r < 0)
		out->n = start;
	return r;
}
