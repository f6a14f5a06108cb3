#include "base/chars.h"
#include "base/mem.h"
#include "base/net.h"
#include "event/decoders.h"
#include "event/stamp.h"

#define NAME_PART_MAX 64 /* longest common name that ends in _ip */

enum value_type common_type(struct str s)
{
	if (s.n == 0 || s.n > 20)
		return VALUE_STRING;
	return char_run(s, CHAR_DIGIT) == s.n ? VALUE_NUMBER : VALUE_STRING;
}

struct str common_join(struct event *e, struct str a, struct str separator, struct str b)
{
	size_t n = a.n + separator.n + b.n;
	char *p = arena_alloc(&e->arena, n);

	if (!p) {
		e->flags |= EVENT_INCOMPLETE;
		return STR_NONE;
	}
	if (a.n)
		memcpy(p, a.p, a.n);
	if (separator.n)
		memcpy(p + a.n, separator.p, separator.n);
	if (b.n)
		memcpy(p + a.n + separator.n, b.p, b.n);
	return str_make(p, n);
}

/* Brackets and a scope ("[fe80::1%eth0]") are not part of the address. */
static struct str bare_address(struct str s)
{
	if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		s = str_make(s.p + 1, s.n - 2);
	ptrdiff_t scope = str_find(s, '%');
	return scope > 0 && str_find(s, ':') >= 0 ? str_head(s, (size_t)scope) : s;
}

/* Addresses are compared as text by rules and by the incident's grouping, so one address has one text: an
 * IPv4 address mapped into IPv6 is the IPv4 address. */
static bool address(struct event *e, struct str s, struct str *ret)
{
	char text[NET_TEXT_MAX];

	s = bare_address(s);
	if (!net_is_address(s, text))
		return false;
	struct str canonical = str_of(text);
	if (!str_eq(canonical, s))
		s = arena_str(&e->arena, canonical);
	*ret = s;
	return s.p != NULL;
}

/* src_ip to src_host. */
static struct str host_name_of(struct event *e, struct str name)
{
	if (str_eq(name, STR("src_ip")))
		return STR("src_host");
	if (str_eq(name, STR("dst_ip")))
		return STR("dst_host");
	return common_join(e, str_head(name, name.n - 2), STR("host"), STR(""));
}

void common_add(struct event *e, struct str name, struct str value, enum value_type type)
{
	if (str_ends(name, STR("_ip")) && name.n < NAME_PART_MAX && !address(e, value, &value))
		name = host_name_of(e, name);
	if (name.p)
		event_put_derived(e, name, value, type);
}

void common_put(struct event *e, struct str name, struct str value, enum value_type type)
{
	if (value.n == 0 || str_eq(value, STR("-")) || str_eq(value, STR("?")))
		return;
	if (!event_find(e, name))
		common_add(e, name, value, type);
}

void common_from_table(struct event *e, size_t first, const struct alias *table, size_t count)
{
	size_t last = e->count;

	for (size_t row = 0; row < count; row++) {
		struct str from = table[row].from;
		const struct field *f = event_find(e, from);
		while (f && f < e->fields + first)
			f = event_next(e, f);
		/* By value: adding may move the fields. */
		if (f && f < e->fields + last)
			common_put(e, table[row].to, f->value, (enum value_type)f->type);
	}
}

struct str common_piped(struct event *e, struct str *rest)
{
	size_t n = 0, out = 0;
	bool escaped = false;

	for (; n < rest->n && rest->p[n] != '|'; n++)
		if (rest->p[n] == '\\' && n + 1 < rest->n) {
			escaped = true;
			n++;
		}
	if (n >= rest->n)
		return STR_NONE;
	struct str field = str_head(*rest, n);
	*rest = str_skip(*rest, n + 1);
	char *p = escaped ? arena_alloc(&e->arena, n) : NULL;
	if (!p)
		return field;
	for (size_t i = 0; i < n; i++) {
		if (field.p[i] == '\\' && i + 1 < n &&
		    (field.p[i + 1] == '|' || field.p[i + 1] == '\\'))
			i++;
		p[out++] = field.p[i];
	}
	return str_make(p, out);
}

bool common_header(struct event *e, size_t first, struct str *rest, const char *const *names,
                   size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct str value = common_piped(e, rest);
		if (!value.p && i + 1 == count) {
			value = *rest;
			*rest = STR_NONE;
		}
		if (!value.p) {
			event_rollback(e, first);
			return false;
		}
		event_put_derived(e, str_of(names[i]), value, common_type(value));
	}
	return true;
}

void common_time(struct event *e, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct str v = event_value(e, str_of(names[i]));
		uint64_t ns = 0;
		if (v.n && !stamp_epoch(v, &ns))
			stamp_parse(v, e->received_ns, &ns, NULL);
		if (ns) {
			e->time_ns = ns;
			return;
		}
	}
}

struct str common_skip_uptime(struct str s)
{
	ptrdiff_t close;

	if (s.n == 0 || s.p[0] != '[' || (close = str_find(s, ']')) < 2)
		return s;
	for (ptrdiff_t i = 1; i < close; i++)
		if (!char_is(s.p[i], CHAR_DIGIT) && s.p[i] != '.' && s.p[i] != ' ')
			return s;
	s = str_skip(s, (size_t)close + 1);
	while (s.n && s.p[0] == ' ')
		s = str_skip(s, 1);
	return s;
}
