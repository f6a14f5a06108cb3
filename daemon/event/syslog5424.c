/* RFC 5424, read as tolerantly as it can be told apart from RFC 3164: the version and the time behind the
 * priority decide. Header fields that a sender forgot at the end are nil; structured data that is broken is
 * the start of the message, so that neither the header nor the text is lost. */
#include <ctype.h>

#include "event/decoders.h"
#include "event/stamp.h"

#define PRIORITY_DIGITS_MAX 10 /* "<0000000013>" and "<4294967295>" are still meant as one */
#define PRIORITY_MAX        191

bool syslog_priority(struct str *s, int *ret_priority)
{
	size_t n = 1;
	uint64_t value;

	if (s->n < 3 || s->p[0] != '<')
		return false;
	while (n < s->n && isdigit((unsigned char)s->p[n]))
		n++;
	if (n == 1 || n > PRIORITY_DIGITS_MAX + 1 || n >= s->n || s->p[n] != '>')
		return false;
	if (str_to_u64(str_make(s->p + 1, n - 1), &value) < 0)
		return false;
	*ret_priority = value <= PRIORITY_MAX ? (int)value : -1;
	*s = str_skip(*s, n + 1);
	return true;
}

/* The next header field; STR_NONE for "-" and at the end. */
static struct str header_field(struct str *rest)
{
	while (rest->n && rest->p[0] == ' ')
		*rest = str_skip(*rest, 1);
	size_t n = 0;
	while (n < rest->n && rest->p[n] != ' ')
		n++;
	struct str field = str_head(*rest, n);
	*rest = str_skip(*rest, n);
	return field.n == 0 || str_eq(field, STR("-")) ? STR_NONE : field;
}

static bool version_of(struct str *s)
{
	size_t n = 0;

	while (n < s->n && n < 3 && isdigit((unsigned char)s->p[n]))
		n++;
	if (n == 0 || s->p[0] == '0' || n >= s->n || s->p[n] != ' ')
		return false;
	*s = str_skip(*s, n + 1);
	return true;
}

static bool looks_like_date(struct str s)
{
	return s.n >= 5 && isdigit((unsigned char)s.p[0]) && isdigit((unsigned char)s.p[1]) &&
	       isdigit((unsigned char)s.p[2]) && isdigit((unsigned char)s.p[3]) && s.p[4] == '-';
}

/* One PARAM="value" at the start of `s`: its length, 0 if it is none. */
static size_t param(struct str s, struct str *ret_name, struct str *ret_value)
{
	size_t n = 0;

	while (n < s.n && (unsigned char)s.p[n] > ' ' && s.p[n] != '=' && s.p[n] != ']' &&
	       s.p[n] != '"')
		n++;
	if (n == 0 || n + 1 >= s.n || s.p[n] != '=' || s.p[n + 1] != '"')
		return 0;
	*ret_name = str_head(s, n);
	size_t from = n + 2, to = from;
	while (to < s.n && s.p[to] != '"')
		to += s.p[to] == '\\' && to + 1 < s.n ? 2 : 1;
	if (to >= s.n)
		return 0;
	*ret_value = str_make(s.p + from, to - from);
	return to + 1;
}

static struct str undo_escapes(struct event *e, struct str s)
{
	if (str_find(s, '\\') < 0)
		return s;
	char *out = arena_alloc(&e->arena, s.n);
	size_t n = 0;
	if (!out) {
		e->flags |= EVENT_INCOMPLETE;
		return s;
	}
	for (size_t i = 0; i < s.n; i++) {
		bool escape = s.p[i] == '\\' && i + 1 < s.n &&
		              (s.p[i + 1] == '"' || s.p[i + 1] == '\\' || s.p[i + 1] == ']');
		out[n++] = s.p[escape ? ++i : i];
	}
	return str_make(out, n);
}

/* One [ID PARAM="value" …] at the start of `s`: its length, 0 if it is broken. Adds fields if `e` is given. */
static size_t element(struct str s, struct event *e)
{
	struct str name, value;
	size_t n = 1;

	if (s.n < 3 || s.p[0] != '[')
		return 0;
	while (n < s.n && (unsigned char)s.p[n] > ' ' && s.p[n] != '=' && s.p[n] != ']' &&
	       s.p[n] != '"')
		n++;
	struct str id = str_make(s.p + 1, n - 1);
	if (id.n == 0)
		return 0;
	for (;;) {
		size_t blanks = 0;
		while (n < s.n && s.p[n] == ' ')
			n++, blanks++;
		if (n < s.n && s.p[n] == ']')
			return n + 1;
		size_t used = blanks ? param(str_skip(s, n), &name, &value) : 0;
		if (used == 0)
			return 0;
		n += used;
		if (!e)
			continue;
		struct str full = common_join(e, id, STR("."), name);
		if (full.p)
			event_put(e, full, undo_escapes(e, value), VALUE_STRING);
	}
}

void syslog5424_put(struct event *e, struct str structured)
{
	while (structured.n) {
		size_t n = element(structured, e);
		if (n == 0)
			return;
		structured = str_skip(structured, n);
	}
}

static void structured_of(struct str *rest, struct str *ret)
{
	size_t n = 0, used;

	while (rest->n && rest->p[0] == ' ')
		*rest = str_skip(*rest, 1);
	if (rest->n && rest->p[0] == '-' && (rest->n == 1 || rest->p[1] == ' ')) {
		*rest = str_skip(*rest, 1);
		return;
	}
	while ((used = element(str_skip(*rest, n), NULL)) != 0)
		n += used;
	/* More that begins like an element, or text that touches: it was no structured data. */
	if (n == 0 || (n < rest->n && rest->p[n] != ' '))
		return;
	*ret = str_head(*rest, n);
	*rest = str_skip(*rest, n);
}

bool syslog5424_parse(struct str frame, struct envelope *ret)
{
	struct envelope v = {.decoder = "rfc5424", .priority = -1};
	struct str s = frame;
	size_t used;

	bool has_priority = syslog_priority(&s, &v.priority);
	if (!version_of(&s))
		return false;
	bool nil = str_starts(s, STR("- ")) && has_priority;
	if (!nil && !looks_like_date(s))
		return false;
	struct str stamp = header_field(&s);
	if (stamp.p && (!stamp_parse(stamp, 0, &v.time_ns, &used) || used != stamp.n))
		v.time_ns = 0;
	v.host = header_field(&s);
	v.program = header_field(&s);
	v.pid = header_field(&s);
	v.msgid = header_field(&s);
	structured_of(&s, &v.structured);
	if (s.n && s.p[0] == ' ')
		s = str_skip(s, 1);
	if (str_starts(s, STR("\xef\xbb\xbf")))
		s = str_skip(s, 3);
	v.body = s;
	*ret = v;
	return true;
}
