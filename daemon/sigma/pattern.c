#include "sigma/pattern.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "sigma/fold.h"

const struct str dash_forms[DASH_COUNT] = {
	{"-", 1}, {"/", 1}, {"\xe2\x80\x93", 3}, {"\xe2\x80\x94", 3}, {"\xe2\x80\x95", 3},
};

/* ---- building ---- */

/* Tokens on the way: text gathers in one block as long as the source, so nothing has to grow. */
struct builder {
	struct token *tokens;
	size_t count, cap;
	char *text; /* where the next plain byte goes */
};

static void builder_init(struct builder *b, struct arena *a, size_t bytes)
{
	*b = (struct builder){.text = arena_alloc(a, bytes + 1)};
}

static void put_special(struct builder *b, enum token_kind kind)
{
	if (kind == TOKEN_ANY && b->count && b->tokens[b->count - 1].kind == TOKEN_ANY)
		return; /* `**` says no more than `*` */
	xgrow(&b->tokens, &b->cap, b->count + 1, sizeof(*b->tokens));
	b->tokens[b->count++] = (struct token){.kind = kind};
}

static void put_text(struct builder *b, struct str s)
{
	if (s.n == 0)
		return;
	if (!b->count || b->tokens[b->count - 1].kind != TOKEN_TEXT) {
		put_special(b, TOKEN_TEXT);
		b->tokens[b->count - 1].text = str_make(b->text, 0);
	}
	memcpy(b->text, s.p, s.n);
	b->text += s.n;
	b->tokens[b->count - 1].text.n += s.n;
}

static void put_tokens(struct builder *b, const struct sigma_string *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->tokens[i].kind == TOKEN_TEXT)
			put_text(b, s->tokens[i].text);
		else
			put_special(b, s->tokens[i].kind);
	}
}

static void builder_finish(struct builder *b, struct arena *a, struct sigma_string *ret)
{
	ret->count = b->count;
	ret->tokens = arena_alloc(a, b->count * sizeof(*b->tokens));
	if (b->count)
		memcpy(ret->tokens, b->tokens, b->count * sizeof(*b->tokens));
	free(b->tokens);
}

static size_t text_bytes(const struct sigma_string *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->count; i++)
		n += s->tokens[i].text.n;
	return n;
}

void sigma_string_parse(struct arena *a, struct str text, struct sigma_string *ret)
{
	struct builder b;

	builder_init(&b, a, text.n);
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c == '\\' && i + 1 < text.n && strchr("*?\\", text.p[i + 1]) && text.p[i + 1])
			put_text(&b, str_make(text.p + ++i, 1));
		else if (c == '*')
			put_special(&b, TOKEN_ANY);
		else if (c == '?')
			put_special(&b, TOKEN_ONE);
		else
			put_text(&b, str_make(text.p + i, 1));
	}
	builder_finish(&b, a, ret);
}

void sigma_string_plain(struct arena *a, struct str text, struct sigma_string *ret)
{
	struct builder b;

	builder_init(&b, a, text.n);
	put_text(&b, text);
	builder_finish(&b, a, ret);
}

bool sigma_string_is_plain(const struct sigma_string *s, struct str *ret)
{
	if (s->count > 1 || (s->count == 1 && s->tokens[0].kind != TOKEN_TEXT))
		return false;
	*ret = s->count ? s->tokens[0].text : STR("");
	return true;
}

void sigma_string_wrap(struct arena *a, const struct sigma_string *s, bool before, bool after,
                       struct sigma_string *ret)
{
	struct builder b;

	builder_init(&b, a, text_bytes(s));
	if (before)
		put_special(&b, TOKEN_ANY);
	put_tokens(&b, s);
	if (after)
		put_special(&b, TOKEN_ANY);
	builder_finish(&b, a, ret);
}

/* The length of the dash that `s` begins with, or 0. */
static size_t dash_length(struct str s)
{
	for (size_t i = 0; i < DASH_COUNT; i++)
		if (str_starts(s, dash_forms[i]))
			return dash_forms[i].n;
	return 0;
}

void sigma_string_windash(struct arena *a, const struct sigma_string *s, struct sigma_string *ret)
{
	struct builder b;

	builder_init(&b, a, text_bytes(s));
	for (size_t i = 0; i < s->count; i++) {
		struct str rest = s->tokens[i].text;
		if (s->tokens[i].kind != TOKEN_TEXT)
			put_special(&b, s->tokens[i].kind);
		while (rest.n) {
			size_t dash = dash_length(rest);
			if (dash)
				put_special(&b, TOKEN_DASH);
			else
				put_text(&b, str_head(rest, 1));
			rest = str_skip(rest, dash ? dash : 1);
		}
	}
	builder_finish(&b, a, ret);
}

static size_t token_min(const struct token *t)
{
	return t->kind == TOKEN_TEXT ? t->text.n : 1;
}

static void set_shape(struct pattern *p)
{
	if (p->count != 1 || p->segments[0].count != 1 ||
	    p->segments[0].tokens[0].kind != TOKEN_TEXT)
		return;
	p->text = p->segments[0].tokens[0].text;
	p->shape = p->open_start && p->open_end ? PATTERN_INSIDE
	           : p->open_start              ? PATTERN_END
	           : p->open_end                ? PATTERN_START
	                                        : PATTERN_WHOLE;
}

void pattern_compile(struct arena *a, const struct sigma_string *s, bool cased, struct pattern *ret)
{
	struct token *tokens = arena_alloc(a, s->count * sizeof(*tokens));
	struct segment *segments = arena_alloc(a, (s->count + 1) * sizeof(*segments));
	struct segment *open = NULL;

	*ret = (struct pattern){.segments = segments};
	for (size_t i = 0; i < s->count; i++) {
		tokens[i] = s->tokens[i];
		if (tokens[i].kind == TOKEN_ANY) {
			ret->open_start |= i == 0;
			ret->open_end |= i + 1 == s->count;
			open = NULL;
			continue;
		}
		if (tokens[i].kind == TOKEN_TEXT) {
			char *copy = arena_alloc(a, tokens[i].text.n);
			if (cased)
				memcpy(copy, tokens[i].text.p, tokens[i].text.n);
			else
				fold_text(tokens[i].text, copy);
			tokens[i].text.p = copy;
		}
		if (!open) {
			open = &segments[ret->count++];
			*open = (struct segment){.tokens = &tokens[i]};
		}
		open->count++;
		open->min += token_min(&tokens[i]);
		ret->min += token_min(&tokens[i]);
	}
	set_shape(ret);
}

/* ---- matching ---- */

static size_t char_length(struct str s)
{
	size_t n = utf8_sequence(s);
	return n ? n : s.n > 0;
}

/* How many bytes of `s` the segment takes from its start, or -1. */
static ptrdiff_t segment_at(const struct segment *g, struct str s)
{
	struct str rest = s;

	for (size_t i = 0; i < g->count; i++) {
		const struct token *t = &g->tokens[i];
		size_t n;
		if (t->kind == TOKEN_TEXT)
			n = str_starts(rest, t->text) ? t->text.n : 0;
		else if (t->kind == TOKEN_DASH)
			n = dash_length(rest);
		else
			n = char_length(rest);
		if (n == 0)
			return -1;
		rest = str_skip(rest, n);
	}
	return (ptrdiff_t)(s.n - rest.n);
}

/* Where the next try may begin: `?` must not begin inside a character, and a text is found faster than tried. */
static bool next_start(const struct segment *g, struct str *rest)
{
	ptrdiff_t at;

	if (g->tokens[0].kind != TOKEN_TEXT)
		return true;
	at = str_search(*rest, g->tokens[0].text);
	if (at < 0)
		return false;
	*rest = str_skip(*rest, (size_t)at);
	return true;
}

/* The segment's first place in `*rest`; *rest becomes what stands after it. The first place is always the right one:
 * a segment takes a fixed number of characters, so an earlier start is an earlier end. */
static bool segment_find(const struct segment *g, struct str *rest)
{
	struct str s = *rest;

	while (s.n >= g->min && next_start(g, &s)) {
		ptrdiff_t n = segment_at(g, s);
		if (n >= 0) {
			*rest = str_skip(s, (size_t)n);
			return true;
		}
		s = str_skip(s, g->tokens[0].kind == TOKEN_ONE ? char_length(s) : 1);
		if (s.n == 0)
			return false;
	}
	return false;
}

/* Does `s` end with the segment? */
static bool segment_ends(const struct segment *g, struct str s)
{
	if (s.n < g->min)
		return false;
	if (g->count == 1 && g->tokens[0].kind == TOKEN_TEXT)
		return str_ends(s, g->tokens[0].text);
	while (s.n >= g->min && next_start(g, &s)) {
		if (segment_at(g, s) == (ptrdiff_t)s.n)
			return true;
		s = str_skip(s, g->tokens[0].kind == TOKEN_ONE ? char_length(s) : 1);
	}
	return false;
}

bool pattern_match_general(const struct pattern *p, struct str value)
{
	const struct segment *first = p->segments, *last = first + p->count;

	if (value.n < p->min)
		return false;
	if (p->count == 0)
		return p->open_start || value.n == 0;
	if (!p->open_start) {
		ptrdiff_t n = segment_at(first++, value);
		if (n < 0)
			return false;
		value = str_skip(value, (size_t)n);
		if (first == last)
			return p->open_end || value.n == 0;
	}
	if (!p->open_end)
		last--;
	for (; first < last; first++)
		if (!segment_find(first, &value))
			return false;
	return p->open_end || segment_ends(last, value);
}
