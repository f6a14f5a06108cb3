#include "sigma/condition.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define COUNT_MAX 100000 /* of `N of`: no rule has as many selections */

struct parser {
	struct selection_context *c;
	const struct yaml_node *node;
	struct str text;
	size_t at;       /* first byte behind the current word */
	struct str word; /* n == 0 at the end */
	struct selection *selections;
	size_t selection_count;
	unsigned depth;
	bool broken; /* a selection that is used has errors of its own */
};

/* ---- words ---- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_single(char c)
{
	return c == '(' || c == ')' || c == '|' || c == ',';
}

static void advance(struct parser *p)
{
	size_t n = 0;

	while (p->at < p->text.n && is_space(p->text.p[p->at]))
		p->at++;
	struct str rest = str_skip(p->text, p->at);
	if (rest.n && is_single(rest.p[0]))
		n = 1;
	else
		while (n < rest.n && !is_space(rest.p[n]) && !is_single(rest.p[n]))
			n++;
	p->word = str_head(rest, n);
	p->at += n;
}

static bool is_word(struct str word, const char *keyword)
{
	return str_ieq(word, str_of(keyword));
}

static bool at_word(const struct parser *p, const char *keyword)
{
	return p->word.n && is_word(p->word, keyword);
}

/* The word after the current one, without taking it. */
static struct str peek(const struct parser *p)
{
	struct parser copy = *p;

	advance(&copy);
	return copy.word;
}

/* A place in a text on one line can be told exactly; in a folded one only where it begins. */
static int column_of(const struct parser *p, struct str word)
{
	if (!p->node->column || !word.p || memchr(p->text.p, '\n', p->text.n))
		return p->node->column;
	return p->node->column + p->node->quoted + (int)(word.p - p->text.p);
}

static const struct condition *complain(const struct parser *p, struct str word, const char *format,
                                        ...) __attribute__((format(printf, 3, 4)));

/* Always NULL, for convenience. */
static const struct condition *complain(const struct parser *p, struct str word, const char *format,
                                        ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	selection_complain(p->c, DIAG_ERROR, p->node->line, column_of(p, word), "%s", text);
	return NULL;
}

#define SHOWN(word) (int)((word).n < 80 ? (word).n : 80), (word).p

/* ---- nodes ---- */

static struct condition *new_node(struct parser *p, enum condition_kind kind)
{
	struct condition *n = arena_alloc(p->c->arena, sizeof(*n));

	*n = (struct condition){.kind = kind};
	return n;
}

static const struct condition *selection_node(struct parser *p, struct selection *s)
{
	struct condition *n = new_node(p, CONDITION_SELECTION);

	s->used = true;
	p->broken |= s->detection == NULL;
	n->name = arena_str(p->c->arena, s->name);
	n->detection = s->detection;
	return n;
}

/* Parts on the way. */
struct parts {
	const struct condition **items;
	size_t count, cap;
};

static void add_part(struct parts *parts, const struct condition *part)
{
	xgrow(&parts->items, &parts->cap, parts->count + 1, sizeof(*parts->items));
	parts->items[parts->count++] = part;
}

/* Frees `parts`; a single part stands for itself. */
static const struct condition *finish_parts(struct parser *p, struct parts *parts,
                                            enum condition_kind kind, size_t need)
{
	const struct condition *ret = parts->count == 1 && need <= 1 ? parts->items[0] : NULL;

	if (!ret) {
		size_t bytes = parts->count * sizeof(*parts->items);
		const struct condition **copy = arena_alloc(p->c->arena, bytes);
		struct condition *n = new_node(p, kind);
		memcpy(copy, parts->items, bytes);
		n->parts = copy;
		n->count = parts->count;
		n->need = need;
		ret = n;
	}
	free(parts->items);
	return ret;
}

/* ---- selections ---- */

static struct selection *find_selection(struct parser *p, struct str name)
{
	for (size_t i = 0; i < p->selection_count; i++)
		if (str_eq(p->selections[i].name, name))
			return &p->selections[i];
	return NULL;
}

static const struct condition *unknown_selection(struct parser *p)
{
	const char **names = xcalloc(p->selection_count + 1, sizeof(*names));
	char *word = xstrndup(p->word.p, p->word.n);
	const char *near;

	for (size_t i = 0; i < p->selection_count; i++)
		names[i] = p->selections[i].name.p; /* terminated: it is a YAML key */
	near = diag_suggest(word, names, p->selection_count);
	if (near)
		complain(p, p->word, "there is no selection `%.*s`: did you mean `%s`?",
		         SHOWN(p->word), near);
	else
		complain(p, p->word, "there is no selection `%.*s`", SHOWN(p->word));
	free(word);
	free(names);
	return NULL;
}

static bool name_fits(struct str pattern, struct str name)
{
	bool open = false; /* a `*` stands before the next piece */

	/* What begins with _ is for the author's own use: only its own name or a pattern with _ means it. */
	if (str_starts(name, STR("_")) && !str_starts(pattern, STR("_")))
		return false;
	if (is_word(pattern, "them"))
		return true;
	for (struct str piece = str_split(&pattern, '*');; piece = str_split(&pattern, '*')) {
		ptrdiff_t at = 0;
		if (!pattern.p && open)
			return str_ends(name, piece); /* the last one */
		if (open)
			at = str_search(name, piece);
		else if (!str_starts(name, piece))
			return false;
		if (at < 0)
			return false;
		name = str_skip(name, (size_t)at + piece.n);
		if (!pattern.p)
			return name.n == 0;
		open = true;
	}
}

/* ---- the grammar ---- */

static const struct condition *parse_or(struct parser *p);

static const struct condition *parse_selection(struct parser *p)
{
	struct selection *s = find_selection(p, p->word);

	if (!s && str_find(p->word, '*') >= 0)
		return complain(p, p->word, "write `1 of %.*s` or `all of %.*s`", SHOWN(p->word),
		                SHOWN(p->word));
	if (!s)
		return unknown_selection(p);
	advance(p);
	return selection_node(p, s);
}

/* How many of them: *ret_all, or *ret_need. The word before `of` is the current one. */
static int parse_quantity(struct parser *p, bool *ret_all, size_t *ret_need)
{
	uint64_t n = 1;

	*ret_all = is_word(p->word, "all");
	if (!*ret_all && !is_word(p->word, "any") &&
	    (str_to_u64(p->word, &n) < 0 || n == 0 || n > COUNT_MAX)) {
		complain(p, p->word, "before `of` stands 1, all or any, not `%.*s`",
		         SHOWN(p->word));
		return -EINVAL;
	}
	*ret_need = (size_t)n;
	return 0;
}

static const struct condition *parse_of(struct parser *p)
{
	struct str quantity = p->word;
	struct parts parts = {0};
	size_t need;
	bool all;

	if (parse_quantity(p, &all, &need) < 0)
		return NULL;
	advance(p);
	advance(p);
	struct str pattern = p->word;
	if (pattern.n == 0 || is_single(pattern.p[0]))
		return complain(p, p->word, "behind `%.*s of` stands `them` or a name with `*`",
		                SHOWN(quantity));
	for (size_t i = 0; i < p->selection_count; i++)
		if (name_fits(pattern, p->selections[i].name))
			add_part(&parts, selection_node(p, &p->selections[i]));
	if (parts.count == 0 && str_find(pattern, '*') < 0 && !is_word(pattern, "them"))
		return unknown_selection(p);
	if (parts.count == 0)
		return complain(p, pattern, "no selection is named like `%.*s`", SHOWN(pattern));
	if (need > parts.count) {
		size_t count = parts.count;
		free(parts.items);
		return complain(p, quantity, "%zu of %zu selections can never hold", need, count);
	}
	advance(p);
	if (need > 1 && need < parts.count)
		return finish_parts(p, &parts, CONDITION_AT_LEAST, need);
	return finish_parts(p, &parts, all || need > 1 ? CONDITION_AND : CONDITION_OR, 0);
}

static const struct condition *parse_brackets(struct parser *p)
{
	struct str open = p->word;
	const struct condition *ret;

	if (++p->depth > CONDITION_DEPTH_MAX)
		return complain(p, open, "brackets nested deeper than %d", CONDITION_DEPTH_MAX);
	advance(p);
	ret = parse_or(p);
	if (!ret)
		return NULL;
	if (!at_word(p, ")"))
		return complain(p, open, "this bracket is never closed");
	p->depth--;
	advance(p);
	return ret;
}

static const struct condition *aggregation(struct parser *p)
{
	return complain(p, p->word,
	                "aggregations (`| count() …`, `| near …`) are no part of Sigma 2: write a "
	                "correlation (type: event_count, value_count or temporal)");
}

static const struct condition *parse_term(struct parser *p)
{
	if (p->word.n == 0)
		return complain(p, p->word, "the condition ends where a selection is expected");
	if (at_word(p, "("))
		return parse_brackets(p);
	if (at_word(p, "|"))
		return aggregation(p);
	if (is_word(peek(p), "of"))
		return parse_of(p);
	if (at_word(p, ")") || at_word(p, ",") || at_word(p, "and") || at_word(p, "or"))
		return complain(p, p->word, "`%.*s` stands where a selection is expected",
		                SHOWN(p->word));
	return parse_selection(p);
}

static const struct condition *parse_not(struct parser *p)
{
	const struct condition **part;
	bool negate = false;

	for (; at_word(p, "not"); advance(p))
		negate = !negate;
	const struct condition *term = parse_term(p);
	if (!term || !negate)
		return term;
	struct condition *n = new_node(p, CONDITION_NOT);
	part = arena_alloc(p->c->arena, sizeof(*part));
	*part = term;
	n->parts = part;
	n->count = 1;
	return n;
}

static const struct condition *parse_chain(struct parser *p, const char *keyword,
                                           enum condition_kind kind,
                                           const struct condition *(*next)(struct parser *))
{
	struct parts parts = {0};

	for (;;) {
		const struct condition *part = next(p);
		if (!part) {
			free(parts.items);
			return NULL;
		}
		add_part(&parts, part);
		if (!at_word(p, keyword))
			return finish_parts(p, &parts, kind, 0);
		advance(p);
	}
}

static const struct condition *parse_and(struct parser *p)
{
	return parse_chain(p, "and", CONDITION_AND, parse_not);
}

static const struct condition *parse_or(struct parser *p)
{
	return parse_chain(p, "or", CONDITION_OR, parse_and);
}

static const struct condition *parse_text(struct selection_context *c, const struct yaml_node *node,
                                          struct selection *selections, size_t count)
{
	struct parser p = {
		.c = c,
		.node = node,
		.text = node->text,
		.selections = selections,
		.selection_count = count,
	};
	const struct condition *ret;

	if (node->kind != YAML_SCALAR)
		return complain(&p, STR_NONE, "a condition is text, not %s", yaml_kind_name(node));
	if (p.text.n > CONDITION_TEXT_MAX)
		return complain(&p, p.text, "the condition is longer than %d bytes",
		                CONDITION_TEXT_MAX);
	advance(&p);
	ret = parse_or(&p);
	if (!ret)
		return NULL;
	if (at_word(&p, "|"))
		return aggregation(&p);
	if (at_word(&p, ")"))
		return complain(&p, p.word, "this bracket was never opened");
	if (p.word.n)
		return complain(&p, p.word, "`%.*s` stands where `and` or `or` is expected",
		                SHOWN(p.word));
	return p.broken ? NULL : ret;
}

const struct condition *condition_parse(struct selection_context *c, const struct yaml_node *node,
                                        struct selection *selections, size_t count)
{
	const struct condition **parts, *part;
	bool good = true;

	if (node->kind != YAML_LIST)
		return parse_text(c, node, selections, count);
	if (node->count == 0) {
		selection_complain(c, DIAG_ERROR, node->line, node->column,
		                   "the condition is empty");
		return NULL;
	}
	if (node->count > CONDITION_LIST_MAX) {
		selection_complain(c, DIAG_ERROR, node->line, node->column,
		                   "more than %d conditions", CONDITION_LIST_MAX);
		return NULL;
	}
	parts = arena_alloc(c->arena, node->count * sizeof(*parts));
	for (size_t i = 0; i < node->count; i++) {
		parts[i] = part = parse_text(c, node->items[i], selections, count);
		good &= part != NULL;
	}
	if (!good || node->count == 1)
		return good ? parts[0] : NULL;
	struct condition *n = arena_alloc(c->arena, sizeof(*n));
	*n = (struct condition){.kind = CONDITION_OR, .parts = parts, .count = node->count};
	return n;
}
