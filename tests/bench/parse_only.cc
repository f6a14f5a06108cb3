/* On-Demand does the work of a value when it is asked for: here every value is found, its text is not taken out. */
#include "parse_only.h"

#include <utility>

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

using namespace simdjson;

static_assert(PARSE_PADDING >= SIMDJSON_PADDING, "room behind an event");

struct parse_only {
	ondemand::parser parser;
	size_t bytes = 0; /* of names and values, so that they are looked at */
};

struct parse_only *parse_only_new(void)
{
	return new parse_only;
}

void parse_only_free(struct parse_only *p)
{
	delete p;
}

static long walk(struct parse_only *p, ondemand::value v);

static long walk_object(struct parse_only *p, ondemand::object members)
{
	long n = 0;

	for (auto item : members) {
		ondemand::field member;
		if (std::move(item).get(member))
			return -1;
		p->bytes += static_cast<unsigned char>(*member.key().raw());
		long inner = walk(p, member.value());
		if (inner < 0)
			return -1;
		n += inner;
	}
	return n;
}

static long walk_array(struct parse_only *p, ondemand::array items)
{
	long n = 0;

	for (auto item : items) {
		ondemand::value v;
		if (std::move(item).get(v))
			return -1;
		long inner = walk(p, v);
		if (inner < 0)
			return -1;
		n += inner;
	}
	return n;
}

static long walk(struct parse_only *p, ondemand::value v)
{
	ondemand::json_type type;
	ondemand::object members;
	ondemand::array items;

	if (v.type().get(type))
		return -1;
	if (type == ondemand::json_type::object)
		return v.get_object().get(members) ? -1 : walk_object(p, members);
	if (type == ondemand::json_type::array)
		return v.get_array().get(items) ? -1 : walk_array(p, items);
	p->bytes += v.raw_json_token().size();
	return 1;
}

long parse_only_walk(struct parse_only *p, struct str text)
{
	ondemand::document doc;
	ondemand::object members;

	if (p->parser.iterate(text.p, text.n, text.n + SIMDJSON_PADDING).get(doc) ||
	    doc.get_object().get(members))
		return -1;
	return walk_object(p, members);
}
