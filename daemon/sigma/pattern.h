/* Sigma strings (specification 2.1.0, "String Wildcard" and "Escaping"): text with the wildcards `*` (any number of
 * characters) and `?` (exactly one). A backslash makes `*`, `?` and `\` plain; before any other character it is itself
 * plain. `?` stands for one UTF-8 character, or one byte where the value is no valid UTF-8.
 *
 * A rule's value is first a sigma_string, a list of tokens that the modifiers change, and at the end a pattern, which
 * is what events are compared with. Both live in the arena they are made in. */
#ifndef ISOD_SIGMA_PATTERN_H
#define ISOD_SIGMA_PATTERN_H

#include "base/arena.h"

enum token_kind {
	TOKEN_TEXT, /* plain bytes; two never stand side by side, none is empty */
	TOKEN_ANY,  /* `*` */
	TOKEN_ONE,  /* `?` */
	TOKEN_DASH, /* one of the five characters that the modifier windash makes equal */
};

struct token {
	enum token_kind kind;
	struct str text; /* of TOKEN_TEXT */
};

struct sigma_string {
	struct token *tokens;
	size_t count;
};

void sigma_string_parse(struct arena *a, struct str text, struct sigma_string *ret);
/* The same bytes with nothing special about any of them. */
void sigma_string_plain(struct arena *a, struct str text, struct sigma_string *ret);
/* True if there is no wildcard in it: *ret is its text (STR("") when empty). */
bool sigma_string_is_plain(const struct sigma_string *s, struct str *ret);
/* With `*` before, after, or both. */
void sigma_string_wrap(struct arena *a, const struct sigma_string *s, bool before, bool after,
                       struct sigma_string *ret);
/* With every dash, slash, en dash, em dash and horizontal bar as a TOKEN_DASH. */
void sigma_string_windash(struct arena *a, const struct sigma_string *s, struct sigma_string *ret);
/* The UTF-8 forms of what a TOKEN_DASH stands for. */
#define DASH_COUNT 5
extern const struct str dash_forms[DASH_COUNT];

/* A run of tokens between two `*`. */
struct segment {
	const struct token *tokens;
	size_t count;
	size_t min; /* the fewest bytes it takes */
};

/* Nearly all patterns are one plain text with or without a `*` at its ends. */
enum pattern_shape { PATTERN_GENERAL, PATTERN_WHOLE, PATTERN_START, PATTERN_END, PATTERN_INSIDE };

struct pattern {
	const struct segment *segments;
	size_t count;
	size_t min;
	bool open_start, open_end; /* `*` stands before the first, after the last segment */
	enum pattern_shape shape;
	struct str text; /* unless PATTERN_GENERAL */
};

/* Copies what it needs of `s` into the arena. `cased` false: the text is folded (sigma/fold.h), and so must be the
 * values it is compared with. */
void pattern_compile(struct arena *a, const struct sigma_string *s, bool cased,
                     struct pattern *ret);
/* Does the whole value fit? Time: length of the value times length of the longest segment at worst. */
bool pattern_match_general(const struct pattern *p, struct str value);

static inline bool pattern_match(const struct pattern *p, struct str value)
{
	switch (p->shape) {
	case PATTERN_WHOLE: return str_eq(value, p->text);
	case PATTERN_START: return str_starts(value, p->text);
	case PATTERN_END: return str_ends(value, p->text);
	case PATTERN_INSIDE: return value.n >= p->text.n && str_search(value, p->text) >= 0;
	case PATTERN_GENERAL: break;
	}
	return pattern_match_general(p, value);
}

#endif
