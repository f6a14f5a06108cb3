/* The XML that the Windows event log makes of an event, and that Sysmon for Linux writes to syslog:
 *   <Event><System><Provider Name="…"/><EventID>1</EventID>…</System>
 *     <EventData><Data Name="Image">…</Data>…</EventData> or <UserData><X><Image>…</Image>…</X></UserData></Event>
 * Its elements become the fields that JSON of the same event has. This is no XML parser: it knows elements, attributes,
 * references and CDATA, takes what it finds, and needs neither the end tags nor the end of a text that was cut. */
#include <ctype.h>

#include "base/mem.h"
#include "event/decoders.h"

#define REFERENCE_MAX 8 /* "&#x007F;" */

struct element {
	struct str name; /* without its namespace */
	struct str attributes;
	bool close; /* </name> */
	bool empty; /* <name/> */
};

enum section { SECTION_NONE, SECTION_SYSTEM, SECTION_DATA, SECTION_USER, SECTION_RENDERING };

static const struct {
	const char *name;
	enum section section;
} sections[] = {
	{"System", SECTION_SYSTEM},
	{"EventData", SECTION_DATA},
	{"UserData", SECTION_USER},
	{"RenderingInfo", SECTION_RENDERING},
};

/* Attributes of System's elements. */
static const struct {
	const char *element, *attribute, *field;
} attribute_names[] = {
	{"Provider", "Name", "Provider_Name"},
	{"Provider", "Guid", "ProviderGuid"},
	{"TimeCreated", "SystemTime", "TimeCreated"},
	{"Execution", "ProcessID", "ExecutionProcessID"},
	{"Execution", "ThreadID", "ExecutionThreadID"},
	{"Security", "UserID", "UserID"},
	{"Security", "UserId", "UserID"},
	{"Correlation", "ActivityID", "ActivityID"},
};

static const struct {
	const char *name;
	char c;
} entities[] = {{"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* "&lt;", "&#10;", "&#xA;" at the start of s: the bytes it takes, and what it stands for; 0 if it is none. Windows
 * writes so only what XML forbids, which is all ASCII: another reference stays as it is. */
static size_t reference(struct str s, char *ret)
{
	ptrdiff_t end = str_find(str_head(s, s.n < REFERENCE_MAX ? s.n : REFERENCE_MAX), ';');
	unsigned code = 0;

	if (end < 2)
		return 0;
	struct str name = str_make(s.p + 1, (size_t)end - 1);
	for (size_t i = 0; i < ARRAY_LEN(entities); i++)
		if (str_eq(name, str_of(entities[i].name))) {
			*ret = entities[i].c;
			return (size_t)end + 1;
		}
	if (name.n < 2 || name.p[0] != '#')
		return 0;
	unsigned base = name.p[1] == 'x' || name.p[1] == 'X' ? 16 : 10;
	for (size_t i = base == 16 ? 2 : 1; i < name.n; i++) {
		int c = tolower((unsigned char)name.p[i]);
		unsigned digit = isdigit(c) ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
		if (!isxdigit(c) || digit >= base)
			return 0;
		code = code * base + digit;
	}
	if (code == 0 || code > 0x7f)
		return 0;
	*ret = (char)code;
	return (size_t)end + 1;
}

static struct str unescape(struct event *e, struct str s)
{
	char *p = str_find(s, '&') < 0 ? NULL : arena_alloc(&e->arena, s.n);
	size_t n = 0;

	if (!p)
		return s;
	while (s.n) {
		char c = s.p[0];
		size_t used = c == '&' ? reference(s, &c) : 0;
		p[n++] = c;
		s = str_skip(s, used ? used : 1);
	}
	return str_make(p, n);
}

static void put(struct event *e, struct str name, struct str value)
{
	struct str text = unescape(e, value);

	if (name.n == 0)
		return;
	/* A keyword search looks at the whole text, in which an escaped value does not stand as it is. */
	if (text.p == value.p)
		event_put_derived(e, unescape(e, name), text, common_type(text));
	else
		event_put(e, unescape(e, name), text, VALUE_STRING);
}

/* name="value" or name='value', cut off *s. */
static bool next_attribute(struct str *s, struct str *ret_name, struct str *ret_value)
{
	ptrdiff_t equals = str_find(*s, '=');

	if (equals <= 0)
		return false;
	*ret_name = str_trim(str_head(*s, (size_t)equals));
	struct str rest = str_trim(str_skip(*s, (size_t)equals + 1));
	if (rest.n < 2 || (rest.p[0] != '"' && rest.p[0] != '\''))
		return false;
	ptrdiff_t end = str_find(str_skip(rest, 1), rest.p[0]);
	if (end < 0)
		return false;
	*ret_value = str_make(rest.p + 1, (size_t)end);
	*s = str_skip(rest, (size_t)end + 2);
	return true;
}

/* The length of the tag that s begins with, up to its '>' outside of quotes; 0: cut off. */
static size_t tag_length(struct str s)
{
	char quote = 0;

	for (size_t i = 1; i < s.n; i++) {
		if (quote)
			quote = s.p[i] == quote ? 0 : quote;
		else if (s.p[i] == '"' || s.p[i] == '\'')
			quote = s.p[i];
		else if (s.p[i] == '>')
			return i + 1;
	}
	return 0;
}

static void split_element(struct str inside, struct element *ret)
{
	size_t n = 0;

	ret->close = str_starts(inside, STR("/"));
	if (ret->close)
		inside = str_skip(inside, 1);
	ret->empty = inside.n && inside.p[inside.n - 1] == '/';
	if (ret->empty)
		inside.n--;
	while (n < inside.n && !is_blank(inside.p[n]))
		n++;
	ret->name = str_head(inside, n);
	ret->attributes = str_skip(inside, n);
	ptrdiff_t colon = str_find(ret->name, ':');
	if (colon >= 0)
		ret->name = str_skip(ret->name, (size_t)colon + 1);
}

/* What begins with `open` ends with `close`: cuts it off *s and gives what is between. */
static bool take_between(struct str *s, struct str open, struct str close, struct str *ret)
{
	if (!str_starts(*s, open))
		return false;
	struct str inside = str_skip(*s, open.n);
	ptrdiff_t end = str_search(inside, close);
	*ret = end < 0 ? inside : str_head(inside, (size_t)end);
	*s = end < 0 ? str_skip(*s, s->n) : str_skip(inside, (size_t)end + close.n);
	return true;
}

/* The next element and the text before it, cut off *s. */
static bool next_element(struct str *s, struct str *ret_text, struct element *ret)
{
	struct str text = STR_NONE, ignored, data;
	ptrdiff_t at;

	while ((at = str_find(*s, '<')) >= 0) {
		if (!text.p)
			text = str_head(*s, (size_t)at);
		*s = str_skip(*s, (size_t)at);
		if (take_between(s, STR("<![CDATA["), STR("]]>"), &data)) {
			text = data;
			continue;
		}
		if (take_between(s, STR("<!--"), STR("-->"), &ignored) ||
		    take_between(s, STR("<?"), STR("?>"), &ignored))
			continue;
		size_t n = tag_length(*s);
		if (n == 0)
			return false;
		split_element(str_make(s->p + 1, n - 2), ret);
		*s = str_skip(*s, n);
		*ret_text = text;
		return true;
	}
	return false;
}

static void put_attributes(struct event *e, const struct element *el)
{
	struct str s = el->attributes, name, value;

	while (next_attribute(&s, &name, &value))
		for (size_t i = 0; i < ARRAY_LEN(attribute_names); i++)
			if (str_eq(el->name, str_of(attribute_names[i].element)) &&
			    str_eq(name, str_of(attribute_names[i].attribute)))
				put(e, str_of(attribute_names[i].field), value);
}

/* <Data Name="Image">: Image. One without a name is called Data, as in JSON. */
static struct str data_name(const struct element *el)
{
	struct str s = el->attributes, name, value;

	while (next_attribute(&s, &name, &value))
		if (str_eq(name, STR("Name")))
			return value;
	return el->name;
}

static void put_leaf(struct event *e, enum section section, const struct element *el,
                     struct str text)
{
	switch (section) {
	case SECTION_NONE: return;
	case SECTION_SYSTEM:
		if (text.n)
			put(e, el->name, text);
		return;
	case SECTION_DATA: put(e, data_name(el), text); return;
	case SECTION_USER: put(e, el->name, text); return;
	case SECTION_RENDERING:
		/* The rest says in words what System says in numbers. */
		if (str_eq(el->name, STR("Message")))
			put(e, el->name, text);
		return;
	}
}

static bool section_of(struct str name, enum section *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(sections); i++)
		if (str_eq(name, str_of(sections[i].name))) {
			*ret = sections[i].section;
			return true;
		}
	return false;
}

bool eventxml_recognise(struct str body)
{
	return str_starts(body, STR("<Event>")) || str_starts(body, STR("<Event ")) ||
	       str_starts(body, STR("<?xml "));
}

bool eventxml_decode(struct event *e, struct str body)
{
	enum section section = SECTION_NONE, other;
	struct element el, open = {0};
	struct str text;
	size_t first = e->count;

	if (!eventxml_recognise(body))
		return false;
	for (;;) {
		struct str rest = body;
		if (!next_element(&body, &text, &el)) {
			/* Cut off: what there is of the value counts. */
			if (open.name.p)
				put_leaf(e, section, &open, str_split(&rest, '<'));
			break;
		}
		if (el.close) {
			if (open.name.p && str_eq(open.name, el.name))
				put_leaf(e, section, &open, text);
			open = (struct element){0};
			if (section_of(el.name, &other) && other == section)
				section = SECTION_NONE;
			continue;
		}
		if (section == SECTION_NONE && section_of(el.name, &section)) {
			open = (struct element){0};
			continue;
		}
		if (section == SECTION_SYSTEM)
			put_attributes(e, &el);
		if (el.empty && section != SECTION_USER)
			put_leaf(e, section, &el, STR(""));
		open = el;
		if (el.empty)
			open.name = STR_NONE;
	}
	const struct field *id = event_find(e, STR("EventID"));
	if (id && id >= e->fields + first)
		return true;
	event_rollback(e, first);
	return false;
}
