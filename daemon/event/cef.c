/* ArcSight Common Event Format, revisions 0 and 1 ("Implementing ArcSight CEF", revision 26):
 *   CEF:0|vendor|product|version|event class|name|severity|key=value key=value …
 * The header becomes deviceVendor, deviceProduct, deviceVersion, deviceEventClassId, name and deviceSeverity (the
 * dictionary's names); each key of the extension is a field of that name. A value reaches to the blank before the
 * next key, because blanks in values are not escaped. A custom field (cs1 with cs1Label) is there under its
 * label as well. */
#include <ctype.h>

#include "base/mem.h"
#include "event/decoders.h"

#define LABELS_MAX 64 /* the format knows 30 custom fields */

static const struct alias aliases[] = {
	{STR_INIT("src"), STR_INIT("src_ip")},
	{STR_INIT("sourceAddress"), STR_INIT("src_ip")},
	{STR_INIT("c6a2"), STR_INIT("src_ip")},
	{STR_INIT("spt"), STR_INIT("src_port")},
	{STR_INIT("sourcePort"), STR_INIT("src_port")},
	{STR_INIT("shost"), STR_INIT("src_host")},
	{STR_INIT("dst"), STR_INIT("dst_ip")},
	{STR_INIT("destinationAddress"), STR_INIT("dst_ip")},
	{STR_INIT("c6a3"), STR_INIT("dst_ip")},
	{STR_INIT("dpt"), STR_INIT("dst_port")},
	{STR_INIT("destinationPort"), STR_INIT("dst_port")},
	{STR_INIT("dhost"), STR_INIT("dst_host")},
	{STR_INIT("suser"), STR_INIT("user")},
	{STR_INIT("sourceUserName"), STR_INIT("user")},
	{STR_INIT("duser"), STR_INIT("target_user")},
	{STR_INIT("destinationUserName"), STR_INIT("target_user")},
	{STR_INIT("duser"), STR_INIT("user")},
	{STR_INIT("destinationUserName"), STR_INIT("user")},
	{STR_INIT("suid"), STR_INIT("uid")},
	{STR_INIT("proto"), STR_INIT("protocol")},
	{STR_INIT("transportProtocol"), STR_INIT("protocol")},
	{STR_INIT("act"), STR_INIT("action")},
	{STR_INIT("deviceAction"), STR_INIT("action")},
	{STR_INIT("requestMethod"), STR_INIT("method")},
	{STR_INIT("dvchost"), STR_INIT("host")},
};

static const char *const header_names[] = {
	"deviceVendor",       "deviceProduct", "deviceVersion",
	"deviceEventClassId", "name",          "deviceSeverity",
};

static const char *const time_names[] = {"rt", "end", "start", "deviceReceiptTime"};

static bool is_key_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-' || c == '[' ||
	       c == ']';
}

/* The first KEY= at or after `from` that stands at the start or behind a blank. */
static bool next_key(struct str s, size_t from, size_t *ret_key, size_t *ret_equals)
{
	for (size_t i = from; i < s.n; i++) {
		if (s.p[i] == '\\') {
			i++;
			continue;
		}
		if (s.p[i] != '=')
			continue;
		size_t key = i;
		while (key > from && is_key_char(s.p[key - 1]))
			key--;
		if (key == i || (key > 0 && !isspace((unsigned char)s.p[key - 1])))
			continue;
		*ret_key = key;
		*ret_equals = i;
		return true;
	}
	return false;
}

static char escape_of(char c)
{
	switch (c) {
	case 'n': return '\n';
	case 'r': return '\r';
	case 't': return '\t';
	case '=':
	case '\\':
	case '|': return c;
	default: return 0;
	}
}

static struct str unescape(struct event *e, struct str s)
{
	size_t n = 0;

	if (str_find(s, '\\') < 0)
		return s;
	char *out = arena_alloc(&e->arena, s.n);
	if (!out) {
		e->flags |= EVENT_INCOMPLETE;
		return s;
	}
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i] == '\\' && i + 1 < s.n ? escape_of(s.p[i + 1]) : 0;
		if (c)
			i++;
		out[n++] = c ? c : s.p[i];
	}
	return str_make(out, n);
}

/* Blanks before the next key belong to nobody; an escaped one at the end does. */
static struct str trim_end(struct str s)
{
	while (s.n && isspace((unsigned char)s.p[s.n - 1]))
		s.n--;
	return s;
}

static void extension(struct event *e, struct str s)
{
	size_t key, equals, next, next_equals;

	if (!next_key(s, 0, &key, &equals))
		return;
	for (bool more = true; more; key = next, equals = next_equals) {
		more = next_key(s, equals + 1, &next, &next_equals);
		size_t end = more ? next : s.n;
		struct str raw = trim_end(str_make(s.p + equals + 1, end - equals - 1));
		event_put_derived(e, str_make(s.p + key, equals - key), unescape(e, raw),
		                  common_type(raw));
		if (!more)
			break;
	}
}

/* cs1Label=Rule and cs1=42 also give Rule=42. */
static void labels(struct event *e, size_t first)
{
	size_t last = e->count, seen = 0;

	for (size_t i = first; i < last && seen < LABELS_MAX; i++) {
		struct field f = e->fields[i];
		if (!str_ends(f.name, STR("Label")) || f.value.n == 0)
			continue;
		seen++;
		const struct field *v = event_find(e, str_head(f.name, f.name.n - 5));
		if (v)
			event_put_derived(e, f.value, v->value, (enum value_type)v->type);
	}
}

bool cef_decode(struct event *e, struct str body)
{
	size_t first = e->count;

	if (!str_starts(body, STR("CEF:")))
		return false;
	struct str rest = str_trim(str_skip(body, 4));
	struct str version = common_piped(e, &rest);
	if (version.n == 0 || !isdigit((unsigned char)version.p[0]))
		return false;
	event_put_derived(e, STR("cefVersion"), version, common_type(version));
	if (!common_header(e, first, &rest, header_names, ARRAY_LEN(header_names)))
		return false;
	extension(e, rest);
	labels(e, first);
	common_from_table(e, first, aliases, ARRAY_LEN(aliases));
	common_time(e, time_names, ARRAY_LEN(time_names));
	return true;
}
