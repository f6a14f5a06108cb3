#include "webhook/template.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/diag.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pbjson.h"

#define FIELD_NAME_MAX 64

const char template_default[] =
	"{\"key\":\"{{key}}\",\"attempt\":{{attempt}},\"reason\":\"{{reason}}\","
	"\"node\":\"{{node}}\",\"test\":{{test}},\"summary\":\"{{summary}}\","
	"\"incident\":{{json}}}\n";

/* The fields. Each appends plain text; escaping is done once, around them. A text that does not fit is cut: `out` is
 * the scratch buffer of render_field. */

static void put_time(struct buf *out, uint64_t ns)
{
	char text[CLOCK_TEXT_MAX];

	if (ns)
		buf_add(out, str_of(clock_format(ns, text)));
}

static void put_enum(struct buf *out, const ProtobufCEnumDescriptor *d, int value)
{
	char text[64];

	buf_add(out, str_of(pbjson_enum(d, value, text, sizeof(text))));
}

static void put_list(struct buf *out, char *const *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%s%s", i ? ", " : "", items[i]);
}

/* Of one kind only the names, of all (ENTITY_UNKNOWN) with their kinds. */
static void put_entities(struct buf *out, const Isod__V1__Incident *i, Isod__V1__EntityKind kind)
{
	bool all = kind == ISOD__V1__ENTITY_KIND__ENTITY_UNKNOWN;
	const char *between = "";

	for (size_t n = 0; n < i->n_entities; n++) {
		const Isod__V1__Entity *e = i->entities[n];
		if (!all && e->kind != kind)
			continue;
		buf_add(out, str_of(between));
		if (all) {
			put_enum(out, &isod__v1__entity_kind__descriptor, (int)e->kind);
			buf_putc(out, ' ');
		}
		buf_add(out, str_of(e->name));
		between = ", ";
	}
}

static void put_key(struct buf *out, const Isod__V1__PluginAlert *a)
{
	buf_add(out, str_of(a->key));
}

static void put_attempt(struct buf *out, const Isod__V1__PluginAlert *a)
{
	buf_printf(out, "%" PRIu32, a->attempt);
}

static void put_reason(struct buf *out, const Isod__V1__PluginAlert *a)
{
	buf_add(out, str_of(a->reason));
}

static void put_node(struct buf *out, const Isod__V1__PluginAlert *a)
{
	buf_add(out, str_of(a->node));
}

static void put_test(struct buf *out, const Isod__V1__PluginAlert *a)
{
	buf_add(out, a->test ? STR("true") : STR("false"));
}

static void put_id(struct buf *out, const Isod__V1__PluginAlert *a)
{
	buf_printf(out, "%" PRIu64, a->incident->id);
}

static void put_title(struct buf *out, const Isod__V1__PluginAlert *a)
{
	buf_add(out, str_of(a->incident->title));
}

static void put_severity(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_enum(out, &isod__v1__level__descriptor, (int)a->incident->severity);
}

static void put_state(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_enum(out, &isod__v1__incident_state__descriptor, (int)a->incident->state);
}

static void put_opened(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_time(out, a->incident->opened_ns);
}

static void put_changed(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_time(out, a->incident->changed_ns);
}

static void put_first(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_time(out, a->incident->first_ns);
}

static void put_last(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_time(out, a->incident->last_ns);
}

static void put_matches(struct buf *out, const Isod__V1__PluginAlert *a)
{
	buf_printf(out, "%" PRIu64, a->incident->matches);
}

static void put_all_entities(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_entities(out, a->incident, ISOD__V1__ENTITY_KIND__ENTITY_UNKNOWN);
}

static void put_users(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_entities(out, a->incident, ISOD__V1__ENTITY_KIND__ENTITY_USER);
}

static void put_hosts(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_entities(out, a->incident, ISOD__V1__ENTITY_KIND__ENTITY_HOST);
}

static void put_addresses(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_entities(out, a->incident, ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS);
}

static void put_tactics(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_list(out, a->incident->tactics, a->incident->n_tactics);
}

static void put_techniques(struct buf *out, const Isod__V1__PluginAlert *a)
{
	put_list(out, a->incident->techniques, a->incident->n_techniques);
}

static void put_rules(struct buf *out, const Isod__V1__PluginAlert *a)
{
	for (size_t i = 0; i < a->incident->n_rules; i++)
		buf_printf(out, "%s%s", i ? ", " : "", a->incident->rules[i]->title);
}

static void put_owner(struct buf *out, const Isod__V1__PluginAlert *a)
{
	buf_add(out, str_of(a->incident->owner));
}

static void put_note(struct buf *out, const Isod__V1__PluginAlert *a)
{
	buf_add(out, str_of(a->incident->note));
}

/* One line for a person: chat, subject, pager. */
static void put_summary(struct buf *out, const Isod__V1__PluginAlert *a)
{
	const Isod__V1__Incident *i = a->incident;

	buf_add(out, STR("["));
	put_severity(out, a);
	buf_printf(out, "] incident %" PRIu64 ": %s", i->id, i->title);
	if (i->n_entities) {
		buf_add(out, STR("; "));
		put_all_entities(out, a);
	}
	buf_printf(out, "; %" PRIu64 " match%s", i->matches, i->matches == 1 ? "" : "es");
	if (i->first_ns) {
		buf_add(out, STR(", "));
		put_first(out, a);
	}
	if (i->last_ns > i->first_ns) {
		buf_add(out, STR(" to "));
		put_last(out, a);
	}
}

static const struct field {
	const char *name;
	void (*put)(struct buf *out, const Isod__V1__PluginAlert *a); /* NULL: json */
} fields[] = {
	{"json", NULL},
	{"summary", put_summary},
	{"key", put_key},
	{"attempt", put_attempt},
	{"reason", put_reason},
	{"node", put_node},
	{"test", put_test},
	{"id", put_id},
	{"title", put_title},
	{"severity", put_severity},
	{"state", put_state},
	{"opened", put_opened},
	{"changed", put_changed},
	{"first", put_first},
	{"last", put_last},
	{"matches", put_matches},
	{"entities", put_all_entities},
	{"users", put_users},
	{"hosts", put_hosts},
	{"addresses", put_addresses},
	{"tactics", put_tactics},
	{"techniques", put_techniques},
	{"rules", put_rules},
	{"owner", put_owner},
	{"note", put_note},
};

/* The template: literal text and fields in turn. */

struct part {
	struct str literal;        /* in `text`; stands before the field */
	const struct field *field; /* NULL at the end */
};

struct template
{
	char *text;
	struct part *parts;
	size_t count, cap;
};

static const struct field *find_field(struct str name, char *error, size_t size)
{
	char safe[FIELD_NAME_MAX];
	const char *names[ARRAY_LEN(fields)];

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		names[i] = fields[i].name;
		if (str_eq(name, str_of(names[i])))
			return &fields[i];
	}
	log_escape(name, safe, sizeof(safe));
	const char *near = diag_suggest(safe, names, ARRAY_LEN(names));
	snprintf(error, size,
	         near ? "unknown field \"%s\"; did you mean \"%s\"?" : "unknown field \"%s\"", safe,
	         near);
	return NULL;
}

static void add_part(struct template *t, struct str literal, const struct field *field)
{
	xgrow(&t->parts, &t->cap, t->count + 1, sizeof(*t->parts));
	t->parts[t->count++] = (struct part){literal, field};
}

static int parse(struct template *t, struct str text, struct str *ret_at, char *error, size_t size)
{
	for (;;) {
		ptrdiff_t open = str_search(text, STR("{{"));
		if (open < 0)
			break;
		struct str inside = str_skip(text, (size_t)open + 2);
		ptrdiff_t close = str_search(inside, STR("}}"));
		*ret_at = inside;
		if (close < 0) {
			snprintf(error, size, "\"{{\" without \"}}\"");
			return -EINVAL;
		}
		const struct field *field =
			find_field(str_trim(str_head(inside, (size_t)close)), error, size);
		if (!field)
			return -EINVAL;
		add_part(t, str_head(text, (size_t)open), field);
		text = str_skip(inside, (size_t)close + 2);
	}
	add_part(t, text, NULL);
	return 0;
}

int template_new(struct str text, struct template **ret, char *error, size_t size)
{
	struct template *t;
	char why[FIELD_NAME_MAX * 2 + 64];
	struct str at = STR_NONE;

	if (text.n > TEMPLATE_MAX) {
		snprintf(error, size, "template: longer than %zu bytes", TEMPLATE_MAX);
		return -EINVAL;
	}
	t = xcalloc(1, sizeof(*t));
	t->text = xstrndup(text.n ? text.p : "", text.n);
	if (parse(t, str_make(t->text, text.n), &at, why, sizeof(why)) < 0) {
		int line = 1;
		for (const char *p = t->text; p < at.p; p++)
			line += *p == '\n';
		snprintf(error, size, "template, line %d: %s", line, why);
		template_free(t);
		return -EINVAL;
	}
	*ret = t;
	return 0;
}

void template_free(struct template *t)
{
	if (!t)
		return;
	free(t->text);
	free(t->parts);
	free(t);
}

/* `scratch` and `quoted` are emptied and used again. */
static int render_field(const struct field *field, const Isod__V1__PluginAlert *a,
                        struct buf *scratch, struct buf *quoted, struct buf *out)
{
	if (!field->put)
		return pbjson_append(out, &a->incident->base);
	buf_reset(scratch);
	buf_reset(quoted);
	field->put(scratch, a);
	int r = json_quote(quoted, buf_str(scratch));
	if (r == 0) /* without its quotes: the template has them */
		r = buf_append(out, quoted->p + 1, quoted->n - 2);
	return r;
}

int template_render(const struct template *t, const Isod__V1__PluginAlert *a, struct buf *out)
{
	struct buf scratch, quoted;
	int r = 0;

	buf_init(&scratch, out->max);
	buf_init(&quoted, out->max);
	for (size_t i = 0; i < t->count && r == 0; i++) {
		r = buf_add(out, t->parts[i].literal);
		if (r == 0 && t->parts[i].field)
			r = render_field(t->parts[i].field, a, &scratch, &quoted, out);
	}
	buf_release(&scratch);
	buf_release(&quoted);
	return r;
}
