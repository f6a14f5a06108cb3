/* Fields stand in one array in the order in which they were found; an index of chains over it gives the
 * fields of one name, in that order too. A chain keeps its last field, so that an array of thousands of
 * values, which a peer may send, is added in linear time. */
#include "event/event.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pbjson.h"

_Static_assert(EVENT_FIELDS_MAX < EVENT_NO_FIELD, "a field's place fits the index");
_Static_assert((EVENT_BUCKETS & (EVENT_BUCKETS - 1)) == 0, "the hash is masked");

static void forget_fields(struct event *e)
{
	e->count = 0;
	memset(e->buckets, 0xff, sizeof(e->buckets));
}

void event_setup(struct event *e)
{
	*e = (struct event){0};
	arena_init(&e->arena, EVENT_ARENA_MAX);
	forget_fields(e);
}

void event_release(struct event *e)
{
	arena_release(&e->arena);
	free(e->fields);
	*e = (struct event){0};
}

void event_reset(struct event *e)
{
	arena_reset(&e->arena);
	forget_fields(e);
	e->flags = 0;
	e->raw = e->message = e->source = e->meta = STR_NONE;
	e->time_ns = e->received_ns = 0;
	e->decoder = NULL;
}

/* Eight bytes a step, multiplied and folded: names are short and are hashed once per field and event. */
static inline uint32_t name_hash(struct str name)
{
	uint64_t h = 0x9e3779b97f4a7c15 ^ name.n, word;
	size_t i = 0;

	for (; i + 8 <= name.n; i += 8) {
		memcpy(&word, name.p + i, 8);
		h = (h ^ word) * 0xff51afd7ed558ccd;
		h ^= h >> 32;
	}
	h = (h ^ str_word(str_skip(name, i))) * 0xc4ceb9fe1a85ec53;
	return (uint32_t)(h >> 32);
}

uint32_t event_name_hash(struct str name)
{
	return name_hash(name);
}

static void chain(struct event *e, size_t place)
{
	struct field *f = &e->fields[place];
	size_t bucket = f->hash & (EVENT_BUCKETS - 1);

	f->next = EVENT_NO_FIELD;
	if (e->buckets[bucket] == EVENT_NO_FIELD)
		e->buckets[bucket] = (uint16_t)place;
	else
		e->fields[e->tails[bucket]].next = (uint16_t)place;
	e->tails[bucket] = (uint16_t)place;
}

static bool put(struct event *e, struct str name, struct str value, enum value_type type,
                bool derived)
{
	if (e->count >= EVENT_FIELDS_MAX) {
		e->flags |= EVENT_INCOMPLETE;
		return false;
	}
	if (e->count == e->cap)
		xgrow(&e->fields, &e->cap, e->count + 1, sizeof(*e->fields));
	e->fields[e->count] = (struct field){
		.name = name,
		.value = value,
		.hash = name_hash(name),
		.type = (uint8_t)type,
		.derived = derived,
	};
	chain(e, e->count++);
	return true;
}

bool event_put(struct event *e, struct str name, struct str value, enum value_type type)
{
	return put(e, name, value, type, false);
}

bool event_put_derived(struct event *e, struct str name, struct str value, enum value_type type)
{
	return put(e, name, value, type, true);
}

void event_rename(struct event *e, size_t at, struct str name)
{
	e->fields[at].name = name;
	e->fields[at].hash = name_hash(name);
}

static void reindex(struct event *e, size_t count)
{
	forget_fields(e);
	while (e->count < count)
		chain(e, e->count++);
}

void event_reindex(struct event *e)
{
	reindex(e, e->count);
}

void event_rollback(struct event *e, size_t count)
{
	if (count < e->count)
		reindex(e, count);
}

static const struct field *first_from(const struct event *e, size_t place, struct str name,
                                      uint32_t hash)
{
	while (place != EVENT_NO_FIELD) {
		const struct field *f = &e->fields[place];
		if (f->hash == hash && str_eq(f->name, name))
			return f;
		place = f->next;
	}
	return NULL;
}

const struct field *event_find_hashed(const struct event *e, struct str name, uint32_t hash)
{
	return first_from(e, e->buckets[hash & (EVENT_BUCKETS - 1)], name, hash);
}

const struct field *event_find(const struct event *e, struct str name)
{
	return event_find_hashed(e, name, event_name_hash(name));
}

const struct field *event_next(const struct event *e, const struct field *f)
{
	return first_from(e, f->next, f->name, f->hash);
}

struct str event_value(const struct event *e, struct str name)
{
	const struct field *f = event_find(e, name);
	return f ? f->value : STR_NONE;
}

static size_t digit_run(struct str s, size_t at)
{
	size_t from = at;
	while (at < s.n && isdigit((unsigned char)s.p[at]))
		at++;
	return at - from;
}

bool event_is_number(struct str s)
{
	size_t at = s.n && s.p[0] == '-', n = digit_run(s, at);

	if (n == 0 || (n > 1 && s.p[at] == '0'))
		return false;
	at += n;
	if (at < s.n && s.p[at] == '.') {
		n = digit_run(s, ++at);
		if (n == 0)
			return false;
		at += n;
	}
	if (at < s.n && (s.p[at] == 'e' || s.p[at] == 'E')) {
		at++;
		if (at < s.n && (s.p[at] == '+' || s.p[at] == '-'))
			at++;
		n = digit_run(s, at);
		if (n == 0)
			return false;
		at += n;
	}
	return at == s.n;
}

/* A device's 007 or +1 is a number to Sigma, but would break the JSON: it is quoted. */
static int value_to_json(const struct field *f, struct buf *out)
{
	if (f->type == VALUE_NULL)
		return buf_add(out, STR("null"));
	if (f->type == VALUE_BOOL || (f->type == VALUE_NUMBER && event_is_number(f->value)))
		return buf_add(out, f->value);
	return json_quote(out, f->value);
}

int event_to_json(const struct event *e, struct buf *out)
{
	int r = buf_putc(out, '{');

	for (size_t i = 0; i < e->count && r == 0; i++) {
		if (i)
			r = buf_putc(out, ',');
		if (r == 0)
			r = json_quote(out, e->fields[i].name);
		if (r == 0)
			r = buf_putc(out, ':');
		if (r == 0)
			r = value_to_json(&e->fields[i], out);
	}
	return r < 0 ? r : buf_putc(out, '}');
}
