/* A random rule on a random event. Checked: a rule and its negation never agree; a Sigma string gives the answer of a
 * table over all prefixes, which is slow and plainly right; doing it twice changes nothing.
 * Input: lines. First the item's key, then its values up to an empty line, then field names and values in turn. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "sigma/condition.h"
#include "sigma/fold.h"
#include "sigma/match.h"

#define VALUES_MAX 16
#define TABLE_MAX  256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- Sigma strings, plainly ---- */

static size_t cut_chars(struct str s, struct str *chars)
{
	size_t n = 0;

	while (s.n && n < TABLE_MAX) {
		size_t used = utf8_sequence(s);
		chars[n++] = str_head(s, used);
		s = str_skip(s, used);
	}
	return n;
}

static bool is_dash(struct str c)
{
	for (size_t i = 0; i < DASH_COUNT; i++)
		if (str_eq(c, dash_forms[i]))
			return true;
	return false;
}

/* holds[j]: the tokens so far fit the first j characters. */
static void add_token(bool *holds, enum token_kind kind, struct str text, const struct str *chars,
                      size_t n)
{
	bool next[TABLE_MAX + 1] = {false};

	for (size_t j = 0; j <= n; j++) {
		if (!holds[j])
			continue;
		if (kind == TOKEN_ANY)
			for (size_t k = j; k <= n; k++)
				next[k] = true;
		else if (j < n && (kind == TOKEN_ONE || (kind == TOKEN_DASH && is_dash(chars[j])) ||
		                   (kind == TOKEN_TEXT && str_eq(text, chars[j]))))
			next[j + 1] = true;
	}
	memcpy(holds, next, sizeof(next));
}

static bool plainly_fits(const struct sigma_string *s, struct str value)
{
	struct str chars[TABLE_MAX], text[TABLE_MAX];
	bool holds[TABLE_MAX + 1] = {true};
	size_t n = cut_chars(value, chars);

	for (size_t i = 0; i < s->count; i++) {
		const struct token *t = &s->tokens[i];
		size_t m = t->kind == TOKEN_TEXT ? cut_chars(t->text, text) : 1;
		for (size_t k = 0; k < m; k++)
			add_token(holds, t->kind, text[k], chars, n);
	}
	return holds[n];
}

static void check_string(struct arena *a, struct str pattern, struct str value, bool windash)
{
	struct sigma_string s;
	struct pattern p;

	if (pattern.n >= TABLE_MAX || value.n >= TABLE_MAX || !utf8_valid(pattern) ||
	    !utf8_valid(value))
		return;
	sigma_string_parse(a, pattern, &s);
	if (windash)
		sigma_string_windash(a, &s, &s);
	pattern_compile(a, &s, true, &p);
	if (pattern_match(&p, value) != plainly_fits(&s, value))
		abort();
}

/* ---- rules ---- */

struct input {
	struct str key;
	struct yaml_node values[VALUES_MAX], *pointers[VALUES_MAX], list;
	struct yaml_pair pair;
	struct yaml_node map;
};

static struct str read_values(struct arena *a, struct input *in, struct str rest)
{
	size_t n = 0;

	in->key = arena_str(a, str_split(&rest, '\n'));
	while (rest.p && n < VALUES_MAX) {
		struct str line = str_split(&rest, '\n');
		if (line.n == 0)
			break;
		bool quoted = line.p[0] == '\'';
		in->values[n] =
			(struct yaml_node){.kind = YAML_SCALAR, .quoted = quoted, .line = 1};
		in->values[n].text = arena_str(a, str_skip(line, quoted));
		if (str_eq(line, STR("null")))
			in->values[n].kind = YAML_NULL;
		in->pointers[n] = &in->values[n];
		n++;
	}
	in->list = (struct yaml_node){.kind = YAML_LIST, .count = n, .items = in->pointers};
	in->pair = (struct yaml_pair){in->key, 1, 1, &in->list};
	in->map = (struct yaml_node){.kind = YAML_MAP, .count = 1, .pairs = &in->pair};
	return rest;
}

static void fill_event(struct event *e, struct str rest)
{
	e->raw = rest;
	while (rest.p) {
		struct str name = str_split(&rest, '\n'), value = str_split(&rest, '\n');
		enum value_type type = name.n % 7 == 6 ? VALUE_NULL : VALUE_STRING;
		event_put(e, name, type == VALUE_NULL ? STR("") : value, type);
	}
}

/* Two rules, the detection and its negation. */
static void check_rule(const struct detection *d, const struct event *e)
{
	struct condition holds = {.kind = CONDITION_SELECTION, .detection = d};
	const struct condition *part = &holds;
	struct condition negated = {.kind = CONDITION_NOT, .parts = &part, .count = 1};
	struct rule rules[2] = {{.condition = &holds}, {.condition = &negated}};
	struct ruleset set = {.rules = rules, .count = 2};
	const struct rule *const *hits;
	struct matcher *m = matcher_new(&set);

	for (int i = 0; i < 2; i++) {
		size_t n = matcher_run(m, e, NULL, &hits);
		if (n != 1)
			abort();
		bool held = hits[0] == &rules[0];
		matcher_run(m, e, NULL, &hits);
		if (held != (hits[0] == &rules[0]))
			abort();
	}
	matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena, kept;
	struct diags diags;
	struct regexes regexes = {0};
	struct input in;
	struct event e;
	struct selection_context c = {&kept, &arena, "f", &diags, NULL, &regexes};

	arena_init(&arena, 0);
	arena_init(&kept, 0);
	diags_init(&diags);
	event_setup(&e);
	event_reset(&e);
	fill_event(&e, read_values(&arena, &in, str_make((const char *)data, size)));
	const struct detection *d = detection_parse(&c, STR("s"), &in.map);
	if ((d == NULL) != (diags.errors > 0))
		abort();
	if (d)
		check_rule(d, &e);
	for (size_t i = 0; i < in.list.count; i++)
		for (size_t j = 0; j < e.count && j < 4; j++)
			check_string(&arena, in.values[i].text, e.fields[j].value, j % 2);
	event_release(&e);
	regexes_release(&regexes);
	diags_release(&diags);
	arena_release(&kept);
	arena_release(&arena);
	return 0;
}
