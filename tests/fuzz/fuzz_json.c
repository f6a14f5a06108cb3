/* Any text as JSON: fields lie inside the frame or the arena, what is no JSON leaves the event alone, and an event
 * written as JSON reads back as the same event. */
#include <stdlib.h>

#include "base/mem.h"
#include "event/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of its exact size, so that the address sanitizer sees a step outside. The caller frees. */
static struct str copy_of(const void *data, size_t size)
{
	char *text = xmalloc(size);

	if (size)
		memcpy(text, data, size);
	return str_make(text, size);
}

static void free_copy(struct str s)
{
	free((void *)(uintptr_t)s.p);
}

/* Of what only stands in the arena or the frame: read every byte. */
static bool same_field(const struct field *a, const struct field *b)
{
	return str_eq(a->name, b->name) && str_eq(a->value, b->value) && a->type == b->type;
}

/* A name that it had to put together may be too long for it a second time, and then it says so. */
static void read_back(struct json *j, const struct event *e, struct str text)
{
	static struct event again;

	if (!again.fields)
		event_setup(&again);
	event_reset(&again);
	if (!json_decode(j, &again, text))
		abort();
	if (again.flags & EVENT_INCOMPLETE)
		return;
	if (again.count != e->count)
		abort();
	for (size_t i = 0; i < e->count; i++)
		if (!same_field(&e->fields[i], &again.fields[i]))
			abort();
}

/* Each field is found by its name, and those of one name in their order. */
static void check_index(const struct event *e)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct field *f = event_find(e, e->fields[i].name), *next;
		if (!f || f > &e->fields[i])
			abort();
		next = event_next(e, &e->fields[i]);
		if (next && (next <= &e->fields[i] || !str_eq(next->name, f->name)))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct json *j;
	static struct event e;
	struct str text = copy_of(data, size);
	struct buf out;

	if (!j) {
		j = json_new();
		event_setup(&e);
	}
	event_reset(&e);
	event_put(&e, STR("before"), STR("x"), VALUE_STRING);
	bool good = json_decode(j, &e, text);
	if (!good && (e.count != 1 || e.flags))
		abort();
	check_index(&e);
	buf_init(&out, 0);
	if (event_to_json(&e, &out) < 0)
		abort();
	struct str written = copy_of(out.p, out.n);
	read_back(j, &e, written);
	free_copy(written);
	buf_release(&out);
	free_copy(text);
	return 0;
}
