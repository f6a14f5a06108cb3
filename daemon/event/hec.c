#include "event/hec.h"

#include "base/mem.h"
#include "event/decoders.h"
#include "event/json.h"
#include "event/stamp.h"

#define QUERY_FIELDS_MAX 8 /* of a raw request: those that mean something are five */

static const struct str event_prefix = {"event.", 6}, fields_prefix = {"fields.", 7};

bool hec_time(struct str text, uint64_t *ret_ns)
{
	/* stamp_epoch tells units by size; in HEC they are seconds, and whoever sends others means them. */
	return stamp_epoch(str_trim(text), ret_ns);
}

/* ---- queries ---- */

bool hec_query_next(struct str *query, struct str *ret_name, struct str *ret_value)
{
	struct str pair = STR_NONE;

	while (query->n && !pair.n)
		pair = str_split(query, '&');
	if (!pair.n)
		return false;
	*ret_name = str_split(&pair, '=');
	*ret_value = pair;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t hec_unquote(struct str in, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		int high = in.p[i] == '%' && i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(in.p[i + 2]) : -1;
		if (low >= 0) {
			out[n++] = (char)(high << 4 | low);
			i += 2;
		} else {
			out[n++] = in.p[i] == '+' ? ' ' : in.p[i];
		}
	}
	return n;
}

/* ---- the envelope ---- */

static bool open_raw(struct event *e, struct str frame, struct hec_envelope *ret)
{
	struct str query = str_skip(e->meta, STR(HEC_META_RAW).n), name, value;
	struct field *fields = arena_alloc(&e->arena, QUERY_FIELDS_MAX * sizeof(*fields));

	*ret = (struct hec_envelope){.is_text = true, .text = frame, .fields = fields};
	while (fields && ret->count < QUERY_FIELDS_MAX && hec_query_next(&query, &name, &value)) {
		char *plain = arena_alloc(&e->arena, value.n);
		if (!plain)
			break;
		fields[ret->count++] =
			(struct field){.name = name,
		                       .value = str_make(plain, hec_unquote(value, plain)),
		                       .type = VALUE_STRING};
	}
	return true;
}

/* The whole object was flattened: everything is put aside, and what is text of its own is found. */
static bool open_event(struct json *j, struct event *e, struct str frame, struct hec_envelope *ret)
{
	if (!json_decode(j, e, frame))
		return false;
	size_t bytes = e->count * sizeof(*e->fields);
	struct field *fields = arena_alloc(&e->arena, bytes ? bytes : 1);
	*ret = (struct hec_envelope){.fields = fields};
	for (size_t i = 0; fields && i < e->count; i++) {
		const struct field *f = &e->fields[i];
		fields[ret->count++] = *f;
		if (!ret->is_text && str_eq(f->name, STR("event"))) {
			ret->is_text = true;
			ret->text = f->value;
		}
	}
	if (!fields)
		e->flags |= EVENT_INCOMPLETE;
	event_rollback(e, 0);
	return true;
}

bool hec_unwrap(struct json *j, struct event *e, struct str frame, struct hec_envelope *ret)
{
	if (str_starts(e->meta, STR(HEC_META_RAW)))
		return open_raw(e, frame, ret);
	return str_eq(e->meta, STR(HEC_META_EVENT)) && open_event(j, e, frame, ret);
}

static void put(struct event *e, struct str name, const struct field *f)
{
	if (f->derived)
		event_put_derived(e, name, f->value, (enum value_type)f->type);
	else
		event_put(e, name, f->value, (enum value_type)f->type);
}

void hec_put_members(struct event *e, const struct hec_envelope *h)
{
	for (size_t i = 0; i < h->count; i++)
		if (str_starts(h->fields[i].name, event_prefix))
			put(e, str_skip(h->fields[i].name, event_prefix.n), &h->fields[i]);
}

/* ---- what stands around the event ---- */

static void put_host(struct event *e, const struct field *f)
{
	struct str host = event_value(e, STR("host"));

	if (!host.n)
		put(e, STR("host"), f);
	else if (!str_eq(host, f->value) && !event_find(e, STR("relay.host")))
		put(e, STR("relay.host"), f);
}

static void put_unless_there(struct event *e, const struct field *f)
{
	if (!event_find(e, f->name))
		put(e, f->name, f);
}

static void put_time(struct event *e, const struct field *f)
{
	uint64_t ns;

	if (hec_time(f->value, &ns))
		e->time_ns = ns;
}

static const struct {
	struct str name;
	void (*put)(struct event *e, const struct field *f);
} members[] = {
	{{"host", 4}, put_host},           {{"time", 4}, put_time},
	{{"source", 6}, put_unless_there}, {{"sourcetype", 10}, put_unless_there},
	{{"index", 5}, put_unless_there},
};

/* Is it (a part of) the event itself? Of an array of texts only the first. */
static bool is_event(const struct hec_envelope *h, const struct field *f)
{
	if (h->is_text)
		return f->value.p == h->text.p;
	return str_starts(f->name, event_prefix);
}

void hec_put_rest(struct event *e, const struct hec_envelope *h)
{
	for (size_t i = 0; i < h->count; i++) {
		const struct field *f = &h->fields[i];
		size_t m = 0;
		while (m < ARRAY_LEN(members) && !str_eq(f->name, members[m].name))
			m++;
		if (m < ARRAY_LEN(members) && f->value.n)
			members[m].put(e, f);
		else if (str_starts(f->name, fields_prefix))
			put(e, str_skip(f->name, fields_prefix.n), f);
		else if (m == ARRAY_LEN(members) && !is_event(h, f))
			put_unless_there(e, f); /* what no collector knows is not lost either */
	}
}
