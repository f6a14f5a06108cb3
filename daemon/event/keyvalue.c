/* Bodies made of name=value pairs: netfilter, logfmt, many firewalls. A sentence with a pair or two in it is not
 * one of them: its words would be torn apart for nothing. So the pairs must outweigh the words; words in capitals
 * (netfilter's SYN, DF and the log prefixes that administrators write) weigh nothing. */
#include <ctype.h>

#include "base/mem.h"
#include "event/decoders.h"

#define NAME_MAX_BYTES 64
#define PAIRS_MIN      2

static const struct alias aliases[] = {
	{STR_INIT("SRC"), STR_INIT("src_ip")},
	{STR_INIT("srcip"), STR_INIT("src_ip")},
	{STR_INIT("src"), STR_INIT("src_ip")},
	{STR_INIT("saddr"), STR_INIT("src_ip")},
	{STR_INIT("clientip"), STR_INIT("src_ip")},
	{STR_INIT("client_ip"), STR_INIT("src_ip")},
	{STR_INIT("remote_ip"), STR_INIT("src_ip")},
	{STR_INIT("remote_addr"), STR_INIT("src_ip")},
	{STR_INIT("rhost"), STR_INIT("src_ip")},
	{STR_INIT("addr"), STR_INIT("src_ip")},
	{STR_INIT("SPT"), STR_INIT("src_port")},
	{STR_INIT("srcport"), STR_INIT("src_port")},
	{STR_INIT("sport"), STR_INIT("src_port")},
	{STR_INIT("spt"), STR_INIT("src_port")},
	{STR_INIT("DST"), STR_INIT("dst_ip")},
	{STR_INIT("dstip"), STR_INIT("dst_ip")},
	{STR_INIT("dst"), STR_INIT("dst_ip")},
	{STR_INIT("daddr"), STR_INIT("dst_ip")},
	{STR_INIT("DPT"), STR_INIT("dst_port")},
	{STR_INIT("dstport"), STR_INIT("dst_port")},
	{STR_INIT("dport"), STR_INIT("dst_port")},
	{STR_INIT("dpt"), STR_INIT("dst_port")},
	{STR_INIT("PROTO"), STR_INIT("protocol")},
	{STR_INIT("proto"), STR_INIT("protocol")},
	{STR_INIT("username"), STR_INIT("user")},
	{STR_INIT("usr"), STR_INIT("user")},
	{STR_INIT("srcuser"), STR_INIT("user")},
	{STR_INIT("acct"), STR_INIT("user")},
	{STR_INIT("s_port"), STR_INIT("src_port")},
	{STR_INIT("cmd"), STR_INIT("command")},
	{STR_INIT("IN"), STR_INIT("in_interface")},
	{STR_INIT("OUT"), STR_INIT("out_interface")},
	{STR_INIT("dstuser"), STR_INIT("target_user")},
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_separator(struct str s, size_t at)
{
	return at >= s.n || is_blank(s.p[at]) ||
	       ((s.p[at] == ',' || s.p[at] == ';') && (at + 1 >= s.n || is_blank(s.p[at + 1])));
}

/* Of the name that s begins with and `mark` ends; 0: none. */
static size_t name_length(struct str s, char mark)
{
	size_t n = 0;

	if (s.n == 0 || (!isalpha((unsigned char)s.p[0]) && s.p[0] != '_' && s.p[0] != '@'))
		return 0;
	while (n < s.n && n <= NAME_MAX_BYTES &&
	       (isalnum((unsigned char)s.p[n]) || str_find(STR("_.-@/$#"), s.p[n]) >= 0))
		n++;
	return n <= NAME_MAX_BYTES && n < s.n && s.p[n] == mark ? n : 0;
}

/* Length of a quoted value with its quotes, 0 if it is none. */
static size_t quoted_length(struct str s)
{
	if (s.n < 2 || (s.p[0] != '"' && s.p[0] != '\''))
		return 0;
	for (size_t n = 1; n < s.n; n++) {
		if (s.p[n] == '\\' && s.p[0] == '"')
			n++;
		else if (s.p[n] == s.p[0])
			return is_separator(s, n + 1) ? n + 1 : 0;
	}
	return 0;
}

static size_t word_length(struct str s)
{
	size_t n = 0;

	while (!is_separator(s, n))
		n++;
	return n;
}

bool pair_next(struct str *rest, struct pair *ret)
{
	struct str s = *rest;

	while (s.n && (is_blank(s.p[0]) || is_separator(s, 0)))
		s = str_skip(s, 1);
	if (s.n == 0)
		return false;
	*ret = (struct pair){0};
	size_t name = name_length(s, '=');
	if (name) {
		ret->name = str_head(s, name);
		s = str_skip(s, name + 1);
	}
	size_t n = name ? quoted_length(s) : 0;
	ret->quoted = n > 0;
	if (n == 0)
		n = word_length(s);
	ret->value = ret->quoted ? str_make(s.p + 1, n - 2) : str_head(s, n);
	*rest = str_skip(s, n);
	return true;
}

struct str pair_value(struct event *e, const struct pair *p)
{
	size_t n = 0;

	if (!p->quoted || str_find(p->value, '\\') < 0 || p->value.p[-1] != '"')
		return p->value;
	char *out = arena_alloc(&e->arena, p->value.n);
	if (!out)
		return p->value;
	for (size_t i = 0; i < p->value.n; i++) {
		char c = p->value.p[i];
		if (c == '\\' && i + 1 < p->value.n) {
			char next = p->value.p[i + 1];
			if (next == '"' || next == '\\') {
				c = next;
				i++;
			} else if (next == 'n' || next == 't') {
				c = next == 'n' ? '\n' : '\t';
				i++;
			}
		}
		out[n++] = c;
	}
	return str_make(out, n);
}

/* A word in capitals, like netfilter's flags. */
static bool is_capitals(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (islower((unsigned char)s.p[i]) || (unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

static bool is_mostly_pairs(struct str body)
{
	size_t pairs = 0, words = 0;
	struct pair p;

	if (str_find(body, '=') < 0)
		return false;
	while (pair_next(&body, &p)) {
		if (p.name.p)
			pairs++;
		else if (!is_capitals(p.value))
			words++;
	}
	return pairs >= PAIRS_MIN && words * 2 <= pairs;
}

static bool is_flag(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!isupper((unsigned char)s.p[i]))
			return false;
	return s.n > 0;
}

/* The next of Check Point's name:"value"; pairs, which have the escapes of quoted values too. False at the end, or
 * when something else stands there. */
static bool colon_pair_next(struct str *rest, struct pair *ret)
{
	struct str s = str_trim(*rest);
	size_t name = name_length(s, ':'), end;

	if (name == 0 || !str_starts(str_skip(s, name + 1), STR("\"")))
		return false;
	for (end = name + 2; end < s.n && s.p[end] != '"'; end++)
		if (s.p[end] == '\\')
			end++;
	if (end >= s.n)
		return false;
	*ret = (struct pair){
		.name = str_head(s, name),
		.value = str_make(s.p + name + 2, end - name - 2),
		.quoted = true,
	};
	s = str_skip(s, end + 1);
	*rest = str_skip(s, str_starts(s, STR(";")) ? 1 : 0);
	return true;
}

/* [action:"Drop"; src:"192.0.2.7"; …] */
static bool colon_pairs_decode(struct event *e, struct str body)
{
	size_t first = e->count;
	struct pair p;

	if (!str_starts(body, STR("[")))
		return false;
	body = str_skip(body, 1);
	while (colon_pair_next(&body, &p))
		event_put_derived(e, p.name, pair_value(e, &p), common_type(p.value));
	if (e->count - first < PAIRS_MIN) {
		event_rollback(e, first);
		return false;
	}
	common_from_table(e, first, aliases, ARRAY_LEN(aliases));
	return true;
}

bool keyvalue_decode(struct event *e, struct str body)
{
	size_t first = e->count;
	struct pair p;

	if (colon_pairs_decode(e, body))
		return true;
	if (!is_mostly_pairs(body))
		return false;
	bool netfilter = str_search(body, STR("SRC=")) >= 0 && str_search(body, STR("DST=")) >= 0;
	while (pair_next(&body, &p)) {
		if (p.name.p)
			event_put_derived(e, p.name, pair_value(e, &p),
			                  p.quoted ? VALUE_STRING : common_type(p.value));
		else if (netfilter && e->count > first && is_flag(p.value))
			event_put_derived(e, STR("flags"), p.value, VALUE_STRING);
	}
	common_from_table(e, first, aliases, ARRAY_LEN(aliases));
	return true;
}
