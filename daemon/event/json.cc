/* simdjson wants readable bytes past the end of its input, which a frame in a receive buffer does not promise:
 * the text is copied once into a buffer of our own. Fields then point back into the frame, at the same
 * offset, so that nothing else is copied but names that are put together from several levels and values with
 * escapes. simdjson tells where the tokens stand and checks UTF-8, strings and structure; that each scalar is
 * what it should be is checked here, because On-Demand looks only at what it is asked to convert. */
#include "event/json.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

using namespace simdjson;

namespace
{

constexpr size_t CAPACITY_FIRST =
	64 * 1024; /* the default frame limit: no growth in usual operation */
constexpr size_t NAME_MAX_BYTES =
	16 * 1024; /* of one flattened name; the longest real ones have 200 */

constexpr struct str text(const char *p, size_t n)
{
	return str{p, n};
}

struct str text(std::string_view v)
{
	return str{v.data(), v.size()};
}

/* Sixteen bytes at once, on whatever vectors the processor has. What is read here lies in the padded copy: whole chunks
 * may be read at the end of a text, and what does not belong to it is masked away, so that no loop over single bytes
 * is left, whose number of turns no processor can foresee. */
constexpr size_t CHUNK = 16;
constexpr size_t BLOCK = 2 * CHUNK;
static_assert(BLOCK <= SIMDJSON_PADDING, "a block may be read at the end of a document");

typedef signed char chunk __attribute__((vector_size(CHUNK)));
typedef uint64_t words __attribute__((vector_size(CHUNK)));

#ifndef __SSE2__
/* One bit for each byte of eight: 0xff sets it, 0 does not. */
inline uint32_t gather_bits(uint64_t word)
{
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	return static_cast<uint32_t>((word & 0x0101010101010101) * 0x0102040810204080 >> 56);
}
#endif

/* Which of the CHUNK bytes at `p` are `c`: a bit each. */
inline uint32_t find_in_chunk(const char *p, char c)
{
	chunk v;

	memcpy(&v, p, CHUNK);
	v = (chunk)(v == static_cast<signed char>(c));
#ifdef __SSE2__
	return static_cast<uint32_t>(_mm_movemask_epi8(reinterpret_cast<__m128i>(v)));
#else
	words hits = reinterpret_cast<words>(v);
	return gather_bits(hits[0]) | gather_bits(hits[1]) << 8;
#endif
}

/* The same of the BLOCK bytes at `p`. */
inline uint32_t find_in_block(const char *p, char c)
{
	return find_in_chunk(p, c) | find_in_chunk(p + CHUNK, c) << CHUNK;
}

/* The bits of the first n bytes of a block. */
inline uint32_t first_bits(size_t n)
{
	return n >= BLOCK ? UINT32_MAX : (static_cast<uint32_t>(1) << n) - 1;
}

/* A copy in whole blocks: both have BLOCK bytes more than they use. */
inline void copy_blocks(struct str in, char *out)
{
	memcpy(out, in.p, BLOCK);
	for (size_t i = BLOCK; i < in.n; i += BLOCK)
		memcpy(out + i, in.p + i, BLOCK);
}

/* Is there a backslash? */
inline bool has_escape(struct str s)
{
	size_t i = 0;

	for (; i + BLOCK < s.n; i += BLOCK)
		if (find_in_block(s.p + i, '\\'))
			return true;
	return find_in_block(s.p + i, '\\') & first_bits(s.n - i);
}

bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits of a \u escape, or -1. */
int32_t hex_unit(struct str s)
{
	int32_t v = 0;

	if (s.n < 4)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		int d = hex_digit(s.p[i]);
		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

size_t encode(uint32_t code, char *out)
{
	if (code < 0x80) {
		out[0] = static_cast<char>(code);
		return 1;
	}
	size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = n - 1; i > 0; i--, code >>= 6)
		out[i] = static_cast<char>(0x80 | (code & 0x3f));
	out[0] = static_cast<char>(first[n] | code);
	return n;
}

/* What stands behind a backslash → what it means; 0: nothing. */
struct escapes {
	char of[256];
};

constexpr struct escapes make_escapes()
{
	const char codes[] = "ntrbf\"\\/", meanings[] = "\n\t\r\b\f\"\\/";
	struct escapes e = {};

	for (size_t i = 0; i + 1 < sizeof(codes); i++)
		e.of[static_cast<unsigned char>(codes[i])] = meanings[i];
	return e;
}

constexpr struct escapes simple_escapes = make_escapes();

struct flattener {
	struct event *e;
	struct str source;  /* the frame's own bytes */
	const char *padded; /* the same bytes in simdjson's buffer */
	char *name;         /* the dotted path so far, NAME_MAX_BYTES and a block */
	size_t name_n;
	const char *
		plain; /* the path is a single name that still stands only here; NULL: it is in `name` */
	struct str kept; /* the path as the event keeps it, once it is needed; p == NULL before */
	bool coded;      /* there was a \u escape */

	bool object(ondemand::object &members, unsigned depth);
	bool array(ondemand::array &items, unsigned depth);
	bool value(ondemand::value &v, unsigned depth);

      private:
	struct str in_frame(struct str token) const
	{
		return text(source.p + (token.p - padded), token.n);
	}
	bool unicode(struct str *in, char *out, size_t *ret_n);
	bool unescape(struct str in, char *out, size_t *ret_n);
	bool enter(const ondemand::field &member, size_t *ret_name_n);
	bool key_text(struct str raw, bool escaped);
	void settle();
	bool string(struct str token);
	bool scalar(struct str token);
	bool deep(ondemand::value &v, bool is_object);
	void put(struct str v, enum value_type type);
	struct str path();
	void named_data(size_t from);
};

/* \uXXXX, or two of them for one character: what stands at `in` is read and `in` moved behind it. */
bool flattener::unicode(struct str *in, char *out, size_t *ret_n)
{
	int32_t unit = hex_unit(str_skip(*in, 2));

	if (unit < 0)
		return false;
	coded = true;
	*in = str_skip(*in, 6);
	uint32_t code = static_cast<uint32_t>(unit);
	if (unit >= 0xd800 && unit <= 0xdfff) {
		int32_t low = unit <= 0xdbff && in->n >= 6 && in->p[0] == '\\' && in->p[1] == 'u'
		                      ? hex_unit(str_skip(*in, 2))
		                      : -1;
		if (low >= 0xdc00 && low <= 0xdfff) {
			code = 0x10000 + ((code - 0xd800) << 10) +
			       static_cast<uint32_t>(low - 0xdc00);
			*in = str_skip(*in, 6);
		} else {
			code = 0xfffd;
			e->flags |= EVENT_BAD_UTF8;
		}
	}
	*ret_n = encode(code, out);
	return true;
}

/* `out` holds in.n bytes and a block: no escape is shorter than what it stands for. False for an escape that JSON does
 * not know.
 *
 * Log texts have an escape every few words, paths one a word. So all backslashes of a block are found at once; what
 * stands before each is copied in whole blocks, and what was copied too much is written over by what follows. */
bool flattener::unescape(struct str in, char *out, size_t *ret_n)
{
	char *to = out;

	while (in.n) {
		uint32_t marks = find_in_block(in.p, '\\') & first_bits(in.n);
		const char *from = in.p, *block = in.p;
		while (marks) {
			const char *at = block + __builtin_ctz(marks);
			size_t left = static_cast<size_t>(in.p + in.n - at);
			memcpy(to, from, BLOCK);
			to += at - from;
			char c =
				left < 2 ? 0 : simple_escapes.of[static_cast<unsigned char>(at[1])];
			from = at;
			if (!c)
				break;
			*to++ = c;
			from += 2;
			/* The escaped one may be a backslash. */
			marks &= static_cast<uint32_t>(~(static_cast<uint64_t>(3) << (at - block)));
		}
		if (marks) {
			size_t n;
			in = str_skip(in, static_cast<size_t>(from - in.p));
			if (in.n < 2 || in.p[1] != 'u' || !unicode(&in, to, &n))
				return false;
			to += n;
			continue;
		}
		const char *end = block + (in.n < BLOCK ? in.n : BLOCK);
		if (from < end) {
			memcpy(to, from, BLOCK);
			to += end - from;
			from = end;
		}
		in = str_skip(in, static_cast<size_t>(from - in.p));
	}
	*ret_n = static_cast<size_t>(to - out);
	return true;
}

/* The path as a name that lives as long as the event. */
struct str flattener::path()
{
	if (!kept.p)
		kept = arena_str(&e->arena, text(name, name_n));
	if (!kept.p)
		e->flags |= EVENT_INCOMPLETE;
	return kept;
}

void flattener::put(struct str v, enum value_type type)
{
	struct str n = path();
	if (n.p)
		event_put(e, n, v, type);
}

bool flattener::string(struct str token)
{
	struct str s = text(token.p + 1, token.n - 2);

	if (!has_escape(s)) {
		put(in_frame(s), VALUE_STRING);
		return true;
	}
	char *out = static_cast<char *>(arena_alloc(&e->arena, s.n + BLOCK));
	if (!out) {
		e->flags |= EVENT_INCOMPLETE;
		return true;
	}
	size_t n;
	if (!unescape(s, out, &n))
		return false;
	put(text(out, n), VALUE_STRING);
	return true;
}

bool flattener::scalar(struct str token)
{
	while (token.n && is_blank(token.p[token.n - 1]))
		token.n--; /* up to the next token */
	if (token.n >= 2 && token.p[0] == '"' && token.p[token.n - 1] == '"')
		return string(token);
	if (str_eq(token, text("null", 4)))
		put(text("", 0), VALUE_NULL);
	else if (str_eq(token, text("true", 4)) || str_eq(token, text("false", 5)))
		put(in_frame(token), VALUE_BOOL);
	else if (event_is_number(token))
		put(in_frame(token), VALUE_NUMBER);
	else
		return false;
	return true;
}

/* Past the depth limit: the JSON text itself. */
bool flattener::deep(ondemand::value &v, bool is_object)
{
	std::string_view raw;

	e->flags |= EVENT_INCOMPLETE;
	if (is_object) {
		ondemand::object o;
		if (v.get_object().get(o) || o.raw_json().get(raw))
			return false;
	} else {
		ondemand::array a;
		if (v.get_array().get(a) || a.raw_json().get(raw))
			return false;
	}
	put(in_frame(text(raw)), VALUE_STRING);
	return true;
}

bool flattener::value(ondemand::value &v, unsigned depth)
{
	std::string_view token = v.raw_json_token();

	if (token[0] == '{') {
		ondemand::object members;
		settle();
		if (depth >= EVENT_DEPTH_MAX)
			return deep(v, true);
		return !v.get_object().get(members) && object(members, depth + 1);
	}
	if (token[0] == '[') {
		ondemand::array items;
		settle();
		if (depth >= EVENT_DEPTH_MAX)
			return deep(v, false);
		return !v.get_array().get(items) && array(items, depth + 1);
	}
	return scalar(text(token));
}

bool flattener::array(ondemand::array &items, unsigned depth)
{
	for (auto item : items) {
		ondemand::value v;
		if (std::move(item).get(v) || !value(v, depth))
			return false;
	}
	return true;
}

/* Appends a member's name to the path; a name that makes it too long is left out, its values are not. */
bool flattener::key_text(struct str raw, bool escaped)
{
	size_t n = raw.n, at = name_n + (name_n ? 1 : 0);

	plain = nullptr;
	kept = STR_NONE;
	if (at + raw.n > NAME_MAX_BYTES) {
		e->flags |= EVENT_INCOMPLETE;
		return true;
	}
	if (name_n)
		name[name_n] = '.';
	if (escaped) {
		if (!unescape(raw, name + at, &n))
			return false;
	} else if (at) {
		copy_blocks(raw, name + at);
	} else {
		/* One level without escapes: the frame itself holds the name. */
		kept = in_frame(raw);
		plain = raw.p;
	}
	name_n = at + n;
	return true;
}

/* Before something is added to the path. */
void flattener::settle()
{
	if (plain)
		copy_blocks(text(plain, name_n), name);
	plain = nullptr;
}

/* The text between a name's quotes, of which `start` is behind the first. The second is there: simdjson has looked. */
struct str name_text(const char *start, bool *ret_escaped)
{
	const char *end = start;
	uint32_t quotes = find_in_block(end, '"'), escapes = find_in_block(end, '\\');

	while (!quotes && !escapes) {
		end += BLOCK;
		quotes = find_in_block(end, '"');
		escapes = find_in_block(end, '\\');
	}
	/* Below the first quote no backslash stands. */
	*ret_escaped = escapes & (quotes - 1) & ~quotes;
	if (!*ret_escaped)
		return text(start, static_cast<size_t>(end - start + __builtin_ctz(quotes)));
	while (*end != '"')
		end += *end == '\\' ? 2 : 1;
	return text(start, static_cast<size_t>(end - start));
}

bool flattener::enter(const ondemand::field &member, size_t *ret_name_n)
{
	bool escaped;
	struct str raw = name_text(member.key().raw(), &escaped);

	*ret_name_n = name_n;
	return key_text(raw, escaped);
}

/* simdjson's members are small structs: copied field by field and then read whole they cost more than all else here, so
 * they are used where they are. */
bool flattener::object(ondemand::object &members, unsigned depth)
{
	size_t from = e->count, outer;

	for (auto item : members) {
		if (item.error())
			return false;
		auto &member = const_cast<ondemand::field &>(item.value_unsafe());
		if (!enter(member, &outer) || !value(member.value(), depth))
			return false;
		name_n = outer;
		kept = STR_NONE;
	}
	if (str_eq(text(name, name_n), text("Data", 4)) ||
	    str_ends(text(name, name_n), text(".Data", 5)))
		named_data(from);
	return true;
}

const struct field *find_part(const struct event *e, size_t from, size_t prefix,
                              const struct str *parts, size_t count)
{
	for (size_t i = from; i < e->count; i++)
		for (size_t p = 0; p < count; p++)
			if (str_eq(str_skip(e->fields[i].name, prefix), parts[p]))
				return &e->fields[i];
	return nullptr;
}

/* See json.h: the path is …Data, its fields are those from `from` on. */
void flattener::named_data(size_t from)
{
	static const struct str names[] = {STR("@Name"), STR("Name"), STR("-Name"), STR("_Name"),
	                                   STR("#attributes.Name")};
	static const struct str texts[] = {STR("#text"),    STR("text"),    STR("_text"),
	                                   STR("#content"), STR("content"), STR("Value"),
	                                   STR("value")};
	const struct field *n =
		find_part(e, from, name_n + 1, names, sizeof(names) / sizeof(*names));
	const struct field *t =
		find_part(e, from, name_n + 1, texts, sizeof(texts) / sizeof(*texts));

	if (!n || n->type != VALUE_STRING || n->value.n == 0)
		return;
	struct str full = n->value, value = t ? t->value : text("", 0);
	enum value_type type = t ? static_cast<enum value_type>(t->type) : VALUE_STRING;
	size_t parent = name_n - 4; /* with its dot */
	if (parent) {
		char *p = static_cast<char *>(arena_alloc(&e->arena, parent + full.n));
		if (!p) {
			e->flags |= EVENT_INCOMPLETE;
			return;
		}
		memcpy(p, name, parent);
		memcpy(p + parent, full.p, full.n);
		full = text(p, parent + full.n);
	}
	event_put_derived(e, full, value, type);
}

} // namespace

struct json {
	ondemand::parser parser;
	char *padded = nullptr;
	size_t capacity = 0;
	char name[NAME_MAX_BYTES + BLOCK];

	~json()
	{
		free(padded);
	}
	bool reserve(size_t n);
};

bool json::reserve(size_t n)
{
	size_t want = capacity ? capacity : CAPACITY_FIRST;

	if (n <= capacity)
		return true;
	while (want < n)
		want *= 2;
	char *p = static_cast<char *>(realloc(padded, want + SIMDJSON_PADDING));
	if (!p)
		return false;
	padded = p;
	capacity = want;
	return parser.allocate(want) == SUCCESS;
}

struct json *json_new(void)
{
	struct json *j = new (std::nothrow) json;
	if (!j)
		abort();
	return j;
}

void json_free(struct json *j)
{
	delete j;
}

static bool worth_a_try(struct str s)
{
	if (s.n < 2)
		return false;
	if (s.p[0] == '{')
		return s.p[s.n - 1] == '}';
	if (s.p[0] != '[' || s.p[s.n - 1] != ']')
		return false;
	s = str_trim(str_skip(s, 1));
	return s.n && s.p[0] == '{';
}

static bool flatten(struct json *j, struct event *e, struct str text)
{
	ondemand::document doc;
	flattener f = {e, text, j->padded, j->name, 0, nullptr, STR_NONE, false};

	memcpy(j->padded, text.p, text.n);
	memset(j->padded + text.n, ' ', SIMDJSON_PADDING);
	if (j->parser.iterate(j->padded, text.n, j->capacity + SIMDJSON_PADDING).get(doc))
		return false;
	if (text.p[0] == '{') {
		ondemand::object members;
		if (doc.get_object().get(members) || !f.object(members, 1))
			return false;
	} else {
		ondemand::array items;
		if (doc.get_array().get(items) || !f.array(items, 1))
			return false;
	}
	/* What stands behind the end of the document has a location. */
	const char *trailing;
	if (doc.current_location().get(trailing) != OUT_OF_BOUNDS)
		return false;
	if (!f.coded)
		e->flags |= EVENT_JSON;
	return true;
}

bool json_decode(struct json *j, struct event *e, struct str text)
{
	size_t count = e->count;
	uint32_t flags = e->flags;

	text = str_trim(text);
	if (!worth_a_try(text) || !j->reserve(text.n))
		return false;
	if (flatten(j, e, text))
		return true;
	event_rollback(e, count);
	e->flags = flags;
	return false;
}
