#include "view/command.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pbjson.h"
#include "officer/desk.h"

#define ENUM_TEXT_MAX 64 /* the longest name of the schema has 32 bytes */

void command_init(struct command *c)
{
	*c = (struct command){0};
}

void command_release(struct command *c)
{
	buf_release(&c->text);
	free(c->ends);
	free(c->argv);
	free(c->lengths);
	*c = (struct command){0};
}

void command_cut(struct command *c)
{
	xgrow(&c->ends, &c->ends_cap, c->count + 1, sizeof(*c->ends));
	c->ends[c->count++] = c->text.n;
}

void command_begin(struct command *c, const char *name)
{
	buf_reset(&c->text);
	c->count = 0;
	command_text(c, name);
}

void command_str(struct command *c, struct str argument)
{
	buf_add(&c->text, argument);
	command_cut(c);
}

void command_text(struct command *c, const char *argument)
{
	command_str(c, str_of(argument));
}

void command_u64(struct command *c, uint64_t argument)
{
	command_printf(c, "%llu", (unsigned long long)argument);
}

void command_printf(struct command *c, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	buf_vprintf(&c->text, format, ap);
	va_end(ap);
	command_cut(c);
}

void command_end(struct command *c, const struct command_sink *sink)
{
	size_t start = 0;

	xgrow(&c->argv, &c->argv_cap, c->count, sizeof(*c->argv));
	xgrow(&c->lengths, &c->lengths_cap, c->count, sizeof(*c->lengths));
	const char *text = buf_cstr(&c->text);
	for (size_t i = 0; i < c->count; i++) {
		c->argv[i] = text + start;
		c->lengths[i] = c->ends[i] - start;
		start = c->ends[i];
	}
	sink->put(sink->arg, (int)c->count, c->argv, c->lengths);
}

void command_field(struct command *c, const char *name, struct str value)
{
	command_text(c, name);
	command_str(c, value);
}

void command_field_u64(struct command *c, const char *name, uint64_t value)
{
	command_text(c, name);
	command_u64(c, value);
}

void command_field_time(struct command *c, const char *name, uint64_t ns)
{
	char text[CLOCK_TEXT_MAX];
	command_field(c, name, ns ? str_of(clock_format(ns, text)) : STR(""));
}

/* ---- fields by descriptor ---- */

static void add_u64(struct command *c, struct str name, uint64_t value)
{
	char text[CLOCK_TEXT_MAX];

	if (str_ends(name, STR("_ns"))) {
		command_str(c, str_head(name, name.n - 3));
		command_text(c, value ? clock_format(value, text) : "");
	} else if (str_ends(name, STR("_milli"))) {
		command_str(c, str_head(name, name.n - 6));
		command_printf(c, "%llu.%03u", (unsigned long long)(value / 1000),
		               (unsigned)(value % 1000));
	} else {
		command_str(c, name);
		command_u64(c, value);
	}
}

static void add_i64(struct command *c, struct str name, int64_t value)
{
	if (str_ends(name, STR("_ns"))) {
		command_printf(c, "%.*s_ms", (int)name.n - 3, name.p);
		command_printf(c, "%lld", (long long)(value / (int64_t)NS_PER_MS));
	} else {
		command_str(c, name);
		command_printf(c, "%lld", (long long)value);
	}
}

static void append_entity(struct command *c, const Isod__V1__Entity *e)
{
	char text[ENTITY_KEY_MAX];

	if (e)
		buf_add(&c->text, entity_key(e, text));
}

static void add_single(struct command *c, const ProtobufCFieldDescriptor *f, const void *at)
{
	struct str name = str_of(f->name);
	char text[ENUM_TEXT_MAX];

	switch (f->type) {
	case PROTOBUF_C_TYPE_UINT64: add_u64(c, name, *(const uint64_t *)at); break;
	case PROTOBUF_C_TYPE_UINT32: add_u64(c, name, *(const uint32_t *)at); break;
	case PROTOBUF_C_TYPE_INT64: add_i64(c, name, *(const int64_t *)at); break;
	case PROTOBUF_C_TYPE_INT32: add_i64(c, name, *(const int32_t *)at); break;
	case PROTOBUF_C_TYPE_BOOL: add_u64(c, name, *(const protobuf_c_boolean *)at != 0); break;
	case PROTOBUF_C_TYPE_ENUM:
		command_field(
			c, f->name,
			str_of(pbjson_enum(f->descriptor, *(const int *)at, text, sizeof(text))));
		break;
	case PROTOBUF_C_TYPE_STRING: command_field(c, f->name, str_of(*(char *const *)at)); break;
	case PROTOBUF_C_TYPE_MESSAGE:
		if (f->descriptor != &isod__v1__entity__descriptor)
			break;
		command_str(c, name);
		append_entity(c, *(const Isod__V1__Entity *const *)at);
		command_cut(c);
		break;
	default: break; /* the messages that the view shows have no other type */
	}
}

static void add_list(struct command *c, const ProtobufCFieldDescriptor *f, const void *items,
                     size_t count)
{
	bool entities = f->type == PROTOBUF_C_TYPE_MESSAGE &&
	                f->descriptor == &isod__v1__entity__descriptor;

	if (!entities && f->type != PROTOBUF_C_TYPE_STRING)
		return;
	command_text(c, f->name);
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_putc(&c->text, ',');
		if (entities)
			append_entity(c, ((const Isod__V1__Entity *const *)items)[i]);
		else
			buf_add(&c->text, str_of(((const char *const *)items)[i]));
	}
	command_cut(c);
}

void command_fields(struct command *c, const ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
		const char *at = (const char *)message + f->offset;

		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			add_list(c, f, *(const void *const *)at,
			         *(const size_t *)((const char *)message + f->quantifier_offset));
		else
			add_single(c, f, at);
	}
}
