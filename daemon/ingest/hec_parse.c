/* A request is looked at as a whole before any of it is taken: what is refused was not taken in, so a sender may send it
 * again without anything counting twice. */
#include "ingest/hec_parse.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "event/hec.h"
#include "event/json.h"
#include "log/evidence.h"

/* ---- answers ---- */

static const struct {
	enum hec_code code;
	int http;
	const char *text;
} answers[] = {
	{HEC_SUCCESS, 200, "Success"},
	{HEC_TOKEN_REQUIRED, 401, "Token is required"},
	{HEC_INVALID_AUTHORIZATION, 401, "Invalid authorization"},
	{HEC_INVALID_TOKEN, 403, "Invalid token"},
	{HEC_NO_DATA, 400, "No data"},
	{HEC_INVALID_FORMAT, 400, "Invalid data format"},
	{HEC_INTERNAL_ERROR, 500, "Internal server error"},
	{HEC_BUSY, 503, "Server is busy"},
	{HEC_CHANNEL_MISSING, 400, "Data channel is missing"},
	{HEC_INVALID_CHANNEL, 400, "Invalid data channel"},
	{HEC_EVENT_REQUIRED, 400, "Event field is required"},
	{HEC_EVENT_BLANK, 400, "Event field cannot be blank"},
	{HEC_ACK_DISABLED, 400, "ACK is disabled"},
	{HEC_INVALID_FIELDS, 400, "Error in handling indexed fields"},
	{HEC_QUERY_AUTHORIZATION, 400, "Query string authorization is not enabled"},
	{HEC_HEALTHY, 200, "HEC is healthy"},
	{HEC_UNHEALTHY, 503, "HEC is unhealthy, queues are full"},
	{HEC_STOPPING, 503, "Server is shutting down"},
	{HEC_TOO_LARGE, 413, "Request entity too large"},
	{HEC_UNKNOWN_URL, 404, "The requested URL was not found on this server."},
	{HEC_METHOD, 405, "The requested URL does not support this method."},
	{HEC_ENCODING, 415, "Unsupported content encoding"},
};

static size_t answer_at(enum hec_code code)
{
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(answers) && answers[i].code != code)
		i++;
	return i;
}

int hec_http_status(enum hec_code code)
{
	return answers[answer_at(code)].http;
}

const char *hec_text(enum hec_code code)
{
	return answers[answer_at(code)].text;
}

/* ---- who asks ---- */

static int base64_digit(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* RFC 4648 section 4. `out` holds 3/4 of in.n. False when it is none. */
static bool base64_decode(struct str in, char *out, size_t *ret_n)
{
	uint32_t bits = 0;
	size_t n = 0, have = 0;

	while (in.n && in.p[in.n - 1] == '=')
		in.n--;
	for (size_t i = 0; i < in.n; i++) {
		int digit = base64_digit(in.p[i]);
		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (char)(bits >> have);
		}
	}
	*ret_n = n;
	return true;
}

#define BASIC_MAX 1024 /* a user's name and a token are far below */

static bool equal_digests(const uint8_t *a, const uint8_t *b)
{
	unsigned different = 0;

	for (size_t i = 0; i < SHA256_BYTES; i++)
		different |= (unsigned)(a[i] ^ b[i]);
	return different == 0;
}

/* Digests are compared, and all of them: how long it takes tells nothing of what a token begins with. */
static enum hec_code find_token(struct str given, const struct hec_token *tokens, size_t count,
                                const struct hec_token **ret)
{
	const struct hec_token *found = NULL;
	uint8_t digest[SHA256_BYTES];

	sha256(&given, 1, digest);
	for (size_t i = 0; i < count; i++)
		if (equal_digests(digest, tokens[i].digest))
			found = &tokens[i];
	if (!found)
		return HEC_INVALID_TOKEN;
	*ret = found;
	return HEC_SUCCESS;
}

enum hec_code hec_authorize(const char *header, const struct hec_token *tokens, size_t count,
                            const struct hec_token **ret)
{
	struct str rest = str_trim(str_of(header));
	char plain[BASIC_MAX];
	size_t n;

	if (!rest.n)
		return HEC_TOKEN_REQUIRED;
	struct str scheme = str_split(&rest, ' ');
	struct str given = str_trim(rest);
	if (str_ieq(scheme, STR("Basic"))) {
		if (given.n > sizeof(plain) || !base64_decode(given, plain, &n))
			return HEC_INVALID_AUTHORIZATION;
		given = str_make(plain, n);
		str_split(&given, ':');
	} else if (!str_ieq(scheme, STR("Splunk"))) {
		return HEC_INVALID_AUTHORIZATION;
	}
	return given.n ? find_token(given, tokens, count, ret) : HEC_TOKEN_REQUIRED;
}

bool hec_channel_is_valid(struct str channel)
{
	for (size_t i = 0; i < channel.n; i++) {
		char c = channel.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && !(c >= '0' && c <= '9') && !(c && strchr("-_.", c)))
			return false;
	}
	return channel.n > 0 && channel.n <= HEC_CHANNEL_MAX;
}

/* ---- JSON, as far as finding where things end ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct str skip_blanks(struct str s)
{
	while (s.n && is_blank(s.p[0]))
		s = str_skip(s, 1);
	return s;
}

/* Length of the string that `s` begins with, with its quotes; 0: it does not end. */
static size_t string_end(struct str s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '"')
			return i + 1;
		if (s.p[i] == '\\')
			i++;
	}
	return 0;
}

/* Length of the object or array that `s` begins with; 0: it does not end. What is in it is not looked at. */
static size_t bracket_end(struct str s)
{
	size_t depth = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '"') {
			size_t n = string_end(str_skip(s, i));
			if (!n)
				return 0;
			i += n - 1;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if ((c == '}' || c == ']') && --depth == 0) {
			return i + 1;
		}
	}
	return 0;
}

/* Length of any value. */
static size_t value_end(struct str s)
{
	size_t n = 0;

	if (s.n && s.p[0] == '"')
		return string_end(s);
	if (s.n && (s.p[0] == '{' || s.p[0] == '['))
		return bracket_end(s);
	while (n < s.n && !is_blank(s.p[n]) && !strchr(",]}", s.p[n]))
		n++;
	return n;
}

/* The member of that name of a good object; STR_NONE: there is none. */
static struct str member(struct str object, struct str name)
{
	struct str rest = skip_blanks(str_skip(object, 1));

	while (rest.n && rest.p[0] == '"') {
		size_t n = string_end(rest);
		struct str key = str_make(rest.p + 1, n - 2);
		rest = skip_blanks(str_skip(rest, n));
		rest = skip_blanks(str_skip(rest, 1)); /* the colon */
		n = value_end(rest);
		if (str_eq(key, name))
			return str_head(rest, n);
		rest = skip_blanks(str_skip(rest, n));
		if (rest.n && rest.p[0] == ',')
			rest = skip_blanks(str_skip(rest, 1));
	}
	return STR_NONE;
}

/* ---- bodies ---- */

struct hec_reader {
	struct json *json;
	struct event event;
};

struct hec_reader *hec_reader_new(void)
{
	struct hec_reader *r = xcalloc(1, sizeof(*r));

	r->json = json_new();
	event_setup(&r->event);
	return r;
}

void hec_reader_free(struct hec_reader *r)
{
	if (!r)
		return;
	json_free(r->json);
	event_release(&r->event);
	free(r);
}

/* Where a body is between its events. */
struct place {
	struct str rest;
	bool in_array, after_item;
};

enum found { FOUND_EVENT, FOUND_END, FOUND_BAD };

/* Steps over what stands between events. */
static enum found find_event(struct place *p)
{
	for (;;) {
		p->rest = skip_blanks(p->rest);
		char c = p->rest.n ? p->rest.p[0] : '\0';
		if (!p->rest.n)
			return p->in_array ? FOUND_BAD : FOUND_END;
		if (p->in_array && c == ']') {
			p->in_array = p->after_item = false;
		} else if (p->in_array && p->after_item) {
			if (c != ',')
				return FOUND_BAD;
			p->after_item = false;
			struct str next = skip_blanks(str_skip(p->rest, 1));
			if (!next.n || next.p[0] != '{')
				return FOUND_BAD;
		} else if (!p->in_array && c == '[') {
			p->in_array = true;
			p->after_item = false;
		} else {
			return c == '{' ? FOUND_EVENT : FOUND_BAD;
		}
		p->rest = str_skip(p->rest, 1);
	}
}

static enum hec_code check_event(struct hec_reader *r, struct str object)
{
	event_reset(&r->event);
	if (!json_decode(r->json, &r->event, object))
		return HEC_INVALID_FORMAT;
	struct str event = member(object, STR("event")), fields = member(object, STR("fields"));
	if (!event.n || str_eq(event, STR("null")))
		return HEC_EVENT_REQUIRED;
	if (str_eq(event, STR("\"\"")))
		return HEC_EVENT_BLANK;
	return fields.n && fields.p[0] != '{' ? HEC_INVALID_FIELDS : HEC_SUCCESS;
}

enum hec_code hec_check(struct hec_reader *r, struct str body, size_t *ret_count)
{
	struct place at = {.rest = body};
	enum hec_code code = HEC_SUCCESS;
	enum found found;

	*ret_count = 0;
	while ((found = find_event(&at)) == FOUND_EVENT) {
		size_t n = bracket_end(at.rest);
		code = n ? check_event(r, str_head(at.rest, n)) : HEC_INVALID_FORMAT;
		if (code != HEC_SUCCESS)
			return code;
		at.rest = str_skip(at.rest, n);
		at.after_item = true;
		++*ret_count;
	}
	if (found == FOUND_BAD)
		return HEC_INVALID_FORMAT;
	return *ret_count ? HEC_SUCCESS : HEC_NO_DATA;
}

bool hec_next_event(struct str *rest, struct str *ret)
{
	while (rest->n && rest->p[0] != '{')
		*rest = str_skip(*rest, 1);
	size_t n = bracket_end(*rest);
	*ret = str_head(*rest, n);
	*rest = str_skip(*rest, n);
	return n > 0;
}

bool hec_next_line(struct str *rest, struct str *ret)
{
	while (rest->n) {
		struct str line = str_split(rest, '\n');
		while (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		*ret = line;
		if (line.n)
			return true;
	}
	return false;
}

int hec_raw_meta(struct str query, struct buf *out)
{
	static const struct str known[] = {
		{"host", 4}, {"source", 6}, {"sourcetype", 10}, {"index", 5}, {"time", 4}};
	struct str name, value;
	size_t begin = out->n;
	int r = buf_add(out, STR(HEC_META_RAW));

	while (r == 0 && hec_query_next(&query, &name, &value))
		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			if (str_eq(name, known[i]) && out->n - begin <= EVIDENCE_META_MAX)
				r = buf_printf(out, "%s%.*s=%.*s",
				               out->p[out->n - 1] == '?' ? "" : "&", STR_FMT(name),
				               STR_FMT(value));
	return r == 0 && out->n - begin > EVIDENCE_META_MAX ? -ENOBUFS : r;
}

int hec_acks_parse(struct str body, uint64_t *ret, size_t max, size_t *ret_count)
{
	struct str object = str_trim(body);
	size_t count = 0;

	if (!object.n || object.p[0] != '{' || bracket_end(object) != object.n)
		return -EINVAL;
	struct str list = member(object, STR("acks"));
	if (list.n < 2 || list.p[0] != '[' || list.p[list.n - 1] != ']')
		return -EINVAL;
	struct str rest = str_trim(str_make(list.p + 1, list.n - 2));
	bool more = rest.n > 0;
	while (more) {
		struct str item = str_trim(str_split(&rest, ','));
		more = rest.p != NULL;
		uint64_t id;
		if (str_to_u64(item, &id) < 0)
			return -EINVAL;
		if (count == max)
			return -E2BIG;
		ret[count++] = id;
	}
	*ret_count = count;
	return 0;
}
