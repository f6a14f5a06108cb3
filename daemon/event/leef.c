/* IBM QRadar's Log Event Extended Format:
 *   LEEF:1.0|vendor|product|version|event id|key=value<TAB>key=value …
 *   LEEF:2.0|vendor|product|version|event id|delimiter|key=value<delimiter>key=value …
 * The delimiter is one character, or its code as x5E or 0x5E; empty or left out: a tab. A relay that escapes
 * control characters makes "#011" (rsyslog) of a tab. */
#include <ctype.h>

#include "base/mem.h"
#include "event/decoders.h"

static const struct alias aliases[] = {
	{STR_INIT("src"), STR_INIT("src_ip")},
	{STR_INIT("srcPort"), STR_INIT("src_port")},
	{STR_INIT("dst"), STR_INIT("dst_ip")},
	{STR_INIT("dstPort"), STR_INIT("dst_port")},
	{STR_INIT("usrName"), STR_INIT("user")},
	{STR_INIT("accountName"), STR_INIT("target_user")},
	{STR_INIT("proto"), STR_INIT("protocol")},
	{STR_INIT("identHostName"), STR_INIT("host")},
	{STR_INIT("action"), STR_INIT("action")},
	{STR_INIT("identSrc"), STR_INIT("src_ip")},
	{STR_INIT("srcHostName"), STR_INIT("src_host")},
	{STR_INIT("dstHostName"), STR_INIT("dst_host")},
};

static const char *const header_names[] = {"deviceVendor", "deviceProduct", "deviceVersion",
                                           "deviceEventClassId"};

static const char *const time_names[] = {"devTime"};

/* The delimiter that a LEEF 2.0 header names; STR_NONE if the field is none. */
static struct str delimiter_of(struct event *e, struct str s)
{
	struct str hex = STR_NONE;
	unsigned value = 0;

	if (s.n == 0)
		return STR("\t");
	if (s.n == 1)
		return s;
	if (s.p[0] == 'x' || s.p[0] == 'X')
		hex = str_skip(s, 1);
	else if (str_starts(s, STR("0x")) || str_starts(s, STR("0X")))
		hex = str_skip(s, 2);
	if (str_ieq(s, STR("\\t")) || str_ieq(s, STR("tab")))
		return STR("\t");
	if (hex.n < 1 || hex.n > 4)
		return STR_NONE;
	for (size_t i = 0; i < hex.n; i++) {
		if (!isxdigit((unsigned char)hex.p[i]))
			return STR_NONE;
		unsigned char c = (unsigned char)hex.p[i];
		value = value * 16 + (unsigned)(isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
	}
	char *p = value && value < 256 ? arena_alloc(&e->arena, 1) : NULL;
	if (!p)
		return STR_NONE;
	*p = (char)value;
	return str_make(p, 1);
}

static void attributes(struct event *e, struct str s, struct str delimiter)
{
	if (str_eq(delimiter, STR("\t")) && str_find(s, '\t') < 0 &&
	    str_search(s, STR("#011")) >= 0)
		delimiter = STR("#011");
	while (s.p) {
		ptrdiff_t end = str_search(s, delimiter);
		struct str part = end < 0 ? s : str_head(s, (size_t)end);
		s = end < 0 ? STR_NONE : str_skip(s, (size_t)end + delimiter.n);
		ptrdiff_t equals = str_find(part, '=');
		if (equals <= 0)
			continue;
		struct str name = str_trim(str_head(part, (size_t)equals));
		struct str value = str_trim(str_skip(part, (size_t)equals + 1));
		if (name.n)
			event_put_derived(e, name, value, common_type(value));
	}
}

bool leef_decode(struct event *e, struct str body)
{
	size_t first = e->count;

	if (!str_starts(body, STR("LEEF:")))
		return false;
	struct str rest = str_trim(str_skip(body, 5)), delimiter = STR("\t");
	struct str version = common_piped(e, &rest);
	if (version.n == 0 || !isdigit((unsigned char)version.p[0]))
		return false;
	event_put_derived(e, STR("leefVersion"), version, VALUE_STRING);
	if (!common_header(e, first, &rest, header_names, ARRAY_LEN(header_names)))
		return false;
	if (version.p[0] != '1') {
		struct str after = rest;
		struct str named = delimiter_of(e, str_split(&after, '|'));
		if (after.p && named.p) {
			delimiter = named;
			rest = after;
		}
	}
	attributes(e, rest, delimiter);
	common_from_table(e, first, aliases, ARRAY_LEN(aliases));
	common_time(e, time_names, ARRAY_LEN(time_names));
	return true;
}
