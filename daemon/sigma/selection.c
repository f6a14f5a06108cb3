/* From YAML to items. How values of an item are read: null is null; text without quotes that is a number is compared
 * as text and as a number (EventID: 4688 fits 4688, "4688" and 4688.0); everything else is text. */
#include "sigma/selection.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "event/event.h"
#include "sigma/modifiers.h"

int selection_complain(struct selection_context *c, enum diag_severity severity, int line,
                       int column, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	diag_add(c->diags, severity, c->file, line, column, "%s", text);
	return -EINVAL;
}

void regexes_release(struct regexes *r)
{
	for (size_t i = 0; i < r->count; i++)
		regex_free(r->items[i]);
	free(r->items);
	*r = (struct regexes){0};
}

/* ---- values to tests ---- */

static int test_text(struct draft *d, const struct draft_value *v, bool keyword, struct test *ret)
{
	const struct sigma_string *s = &v->string;
	struct sigma_string wrapped;

	if (v->node->kind == YAML_NULL) {
		ret->kind = TEST_NULL;
		return 0;
	}
	if (keyword && d->affix == AFFIX_NONE) {
		sigma_string_wrap(d->c->scratch, s, true, true, &wrapped);
		s = &wrapped;
	}
	pattern_compile(d->c->arena, s, d->cased, &ret->pattern);
	ret->numeric = !keyword && !v->node->quoted && !modifiers_touched_text(d) &&
	               number_parse(v->text, &ret->number) == 0;
	return 0;
}

/* With the anchors that startswith and endswith stand for around it. */
static struct str anchored(struct arena *a, struct str text, enum affix affix)
{
	const struct str none = STR("");
	const struct str parts[] = {
		affix == AFFIX_START ? STR("^(?:")
		: affix == AFFIX_END ? STR("(?:")
				     : none,
		text,
		affix == AFFIX_START ? STR(")")
		: affix == AFFIX_END ? STR(")$")
				     : none,
	};
	char *p = arena_alloc(a, text.n + 8);
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (parts[i].n)
			memcpy(p + n, parts[i].p, parts[i].n);
		n += parts[i].n;
	}
	return str_make(p, n);
}

static int test_regex(struct draft *d, const struct draft_value *v, struct test *ret)
{
	struct regexes *r = d->c->regexes;
	char error[300];
	size_t offset;
	struct str text = anchored(d->c->scratch, v->text, d->affix);

	if (r->count == REGEXES_MAX)
		return selection_complain(d->c, DIAG_ERROR, v->node->line, v->node->column,
		                          "more than %d regular expressions in all rules",
		                          REGEXES_MAX);
	struct regex *regex = regex_compile(text, d->regex_flags, error, sizeof(error), &offset);

	if (!regex)
		return selection_complain(d->c, DIAG_ERROR, v->node->line, v->node->column,
		                          "not a regular expression: %s (at its byte %zu)", error,
		                          offset + 1);
	xgrow(&r->items, &r->cap, r->count + 1, sizeof(struct regex *));
	r->items[r->count++] = regex;
	ret->regex = regex;
	return 0;
}

static int test_cidr(struct draft *d, const struct draft_value *v, struct test *ret)
{
	bool stray;

	if (network_parse(v->text, &ret->network, &stray) < 0)
		return selection_complain(d->c, DIAG_ERROR, v->node->line, v->node->column,
		                          "`%.*s` is no network in CIDR notation",
		                          (int)(v->text.n < 80 ? v->text.n : 80), v->text.p);
	if (stray)
		selection_complain(d->c, DIAG_WARNING, v->node->line, v->node->column,
		                   "`%.*s` has bits set behind its prefix: they are ignored",
		                   STR_FMT(v->text));
	return 0;
}

static int test_compare(struct draft *d, const struct draft_value *v, struct test *ret)
{
	static const struct {
		int64_t min, max;
		const char *name;
	} parts[] = {
		[TIME_MINUTE] = {0, 59, "a minute"}, [TIME_HOUR] = {0, 23, "an hour"},
		[TIME_DAY] = {1, 31, "a day"},       [TIME_WEEK] = {1, 53, "a week"},
		[TIME_MONTH] = {1, 12, "a month"},   [TIME_YEAR] = {1, 9999, "a year"},
	};
	struct number *n = &ret->number;

	ret->compare.op = d->op;
	ret->compare.part = d->part;
	if (number_parse(v->text, n) < 0)
		return selection_complain(d->c, DIAG_ERROR, v->node->line, v->node->column,
		                          "`%.*s` is no number",
		                          (int)(v->text.n < 80 ? v->text.n : 80), v->text.p);
	if (d->part && (n->real || n->i < parts[d->part].min || n->i > parts[d->part].max))
		return selection_complain(d->c, DIAG_ERROR, v->node->line, v->node->column,
		                          "%s is a whole number from %d to %d", parts[d->part].name,
		                          (int)parts[d->part].min, (int)parts[d->part].max);
	return 0;
}

static int test_exists(struct draft *d, const struct draft_value *v, struct test *ret)
{
	if (d->count > 1)
		return selection_complain(d->c, DIAG_ERROR, v->node->line, v->node->column,
		                          "`exists` takes one value, not a list");
	if (yaml_bool(v->node, &ret->wanted) < 0)
		return selection_complain(d->c, DIAG_ERROR, v->node->line, v->node->column,
		                          "`exists` is true or false");
	return 0;
}

static int test_field(struct draft *d, const struct draft_value *v, struct test *ret)
{
	if (v->text.n == 0)
		return selection_complain(d->c, DIAG_ERROR, v->node->line, v->node->column,
		                          "`fieldref` needs the name of a field");
	ret->other.name = arena_str(d->c->arena, v->text);
	ret->other.hash = event_name_hash(v->text);
	ret->other.affix = d->affix;
	return 0;
}

static int build_test(struct draft *d, const struct draft_value *v, bool keyword, struct test *ret)
{
	*ret = (struct test){.kind = d->kind};
	ret->written = v->node->kind == YAML_NULL ? STR("null") : arena_str(d->c->arena, v->text);
	if (keyword &&
	    (v->node->kind == YAML_NULL || (d->kind != TEST_TEXT && d->kind != TEST_REGEX)))
		return selection_complain(d->c, DIAG_ERROR, v->node->line, v->node->column,
		                          "a keyword is text: this needs a field to look at");
	switch (d->kind) {
	case TEST_NULL:
	case TEST_TEXT: return test_text(d, v, keyword, ret);
	case TEST_REGEX: return test_regex(d, v, ret);
	case TEST_CIDR: return test_cidr(d, v, ret);
	case TEST_COMPARE: return test_compare(d, v, ret);
	case TEST_EXISTS: return test_exists(d, v, ret);
	case TEST_FIELD: return test_field(d, v, ret);
	}
	return -EINVAL;
}

/* ---- items ---- */

static const struct detection *join(struct selection_context *c, enum detection_kind kind,
                                    const struct detection **parts, size_t count)
{
	struct detection *ret = arena_alloc(c->arena, sizeof(*ret));

	if (count == 1)
		return parts[0];
	*ret = (struct detection){.kind = kind, .parts = parts, .count = count};
	return ret;
}

static int add_value(struct draft *d, const struct yaml_node *node)
{
	if (node->kind != YAML_SCALAR && node->kind != YAML_NULL)
		return selection_complain(d->c, DIAG_ERROR, node->line, node->column,
		                          "a value is text, a number or null, not %s",
		                          yaml_kind_name(node));
	if (node->text.n > SELECTION_VALUE_MAX)
		return selection_complain(d->c, DIAG_ERROR, node->line, node->column,
		                          "a value of more than %d bytes", SELECTION_VALUE_MAX);
	if (d->count == SELECTION_VALUES_MAX)
		return selection_complain(d->c, DIAG_ERROR, node->line, node->column,
		                          "more than %d values", SELECTION_VALUES_MAX);
	xgrow(&d->values, &d->cap, d->count + 1, sizeof(*d->values));
	struct draft_value *v = &d->values[d->count++];
	*v = (struct draft_value){.node = node, .text = node->text};
	if (!v->text.p)
		v->text = STR("");
	sigma_string_parse(d->c->scratch, v->text, &v->string);
	return 0;
}

/* All values are looked at even if one is wrong, so that one run tells all. */
static int add_values(struct draft *d, const struct yaml_node *node)
{
	int r = 0;

	if (node->kind != YAML_LIST)
		return add_value(d, node);
	if (node->count == 0)
		return selection_complain(d->c, DIAG_ERROR, node->line, node->column,
		                          "an empty list of values can never match");
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_node *item = node->items[i];
		if (add_value(d, item) < 0)
			r = -EINVAL;
		else if (item->kind == YAML_NULL && node->count > 1)
			selection_complain(d->c, DIAG_WARNING, item->line, item->column,
			                   "Sigma knows null only alone, not among other values: "
			                   "give it a selection of its own");
	}
	return r;
}

/* The item with `count` of the draft's values from `first` on. */
static const struct detection *build_item(struct draft *d, struct str key, struct str field,
                                          size_t first, size_t count, bool all)
{
	struct arena *a = d->c->arena;
	struct test *tests = arena_alloc(a, count * sizeof(*tests));
	bool keyword = field.n == 0, texts = true;
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		if (build_test(d, &d->values[first + i], keyword, &tests[i]) < 0)
			r = -EINVAL;
		else
			texts &= tests[i].kind == TEST_TEXT;
	}
	if (r < 0)
		return NULL;
	struct item *item = arena_alloc(a, sizeof(*item));
	*item = (struct item){
		.field = keyword ? STR_NONE : arena_str(a, field),
		.key = key.n ? arena_str(a, key) : STR_NONE,
		.hash = keyword ? 0 : event_name_hash(field),
		.all = all,
		.negate = d->negate,
		.cased = d->cased,
		.texts = texts,
		.tests = tests,
		.count = count,
		.line = d->line,
		.column = d->column,
	};
	struct detection *ret = arena_alloc(a, sizeof(*ret));
	*ret = (struct detection){.kind = DETECT_ITEM, .item = item};
	return ret;
}

/* How many values from `first` on are forms of the one that stands there. */
static size_t forms_of_one(const struct draft *d, size_t first)
{
	const struct draft_value *v = &d->values[first];
	size_t n = 1;

	while (first + n < d->count && v[n].node == v->node && v[n].text.p == v->text.p)
		n++;
	return n;
}

/* `all` wants every value that is written, but of the forms that an encoding makes of one (base64offset, written out
 * dashes) any: an item for each value. */
static const struct detection *build_items(struct draft *d, struct str key, struct str field)
{
	const struct detection **parts;
	size_t count = 0;
	bool good = true;

	for (size_t i = 0; i < d->count; i += forms_of_one(d, i))
		count++;
	if (!d->all || count == d->count)
		return build_item(d, key, field, 0, d->count, d->all);
	parts = arena_alloc(d->c->arena, count * sizeof(*parts));
	count = 0;
	for (size_t i = 0, n; i < d->count; i += n) {
		n = forms_of_one(d, i);
		parts[count] = build_item(d, key, field, i, n, false);
		good &= parts[count++] != NULL;
	}
	return good ? join(d->c, d->negate ? DETECT_ANY : DETECT_ALL, parts, count) : NULL;
}

/* `key` is "field|modifiers"; without a field it is a keyword item. */
static const struct detection *parse_item(struct selection_context *c, struct str key, int line,
                                          int column, const struct yaml_node *value)
{
	struct str chain = key, field = str_split(&chain, '|');
	struct draft d = {.c = c, .line = line, .column = column, .quoted_key = field.n == 0};
	const struct detection *ret = NULL;

	if (add_values(&d, value) == 0 &&
	    modifiers_apply(&d, chain, chain.p ? (size_t)(chain.p - key.p) : 0) == 0)
		ret = build_items(&d, key, field);
	draft_release(&d);
	return ret;
}

/* ---- maps and lists ---- */

static const struct detection *parse_node(struct selection_context *c,
                                          const struct yaml_node *node);

static const struct detection *parse_map(struct selection_context *c, const struct yaml_node *node)
{
	const struct detection **parts = arena_alloc(c->arena, node->count * sizeof(*parts));
	bool good = true;

	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_pair *p = &node->pairs[i];
		if (str_eq(p->key, STR("<<"))) {
			selection_complain(c, DIAG_ERROR, p->line, p->column,
			                   "YAML 1.2, which Sigma is written in, has no merge key "
			                   "`<<`: write the fields out");
			return NULL;
		}
		parts[i] = parse_item(c, p->key, p->line, p->column, p->value);
		good &= parts[i] != NULL;
	}
	return good ? join(c, DETECT_ALL, parts, node->count) : NULL;
}

static bool is_text(const struct yaml_node *node)
{
	return node->kind == YAML_SCALAR || node->kind == YAML_NULL;
}

static const struct detection *parse_list(struct selection_context *c, const struct yaml_node *node)
{
	const struct detection **parts;
	bool good = true, keywords = true;

	for (size_t i = 0; i < node->count; i++)
		keywords &= is_text(node->items[i]);
	if (keywords)
		return parse_item(c, STR(""), node->line, node->column, node);
	parts = arena_alloc(c->arena, node->count * sizeof(*parts));
	for (size_t i = 0; i < node->count; i++) {
		parts[i] = parse_node(c, node->items[i]);
		good &= parts[i] != NULL;
	}
	return good ? join(c, DETECT_ANY, parts, node->count) : NULL;
}

/* As deep as YAML allows (YAML_DEPTH_MAX). */
static const struct detection *parse_node(struct selection_context *c, const struct yaml_node *node)
{
	if (is_text(node))
		return parse_item(c, STR(""), node->line, node->column, node);
	if (node->count == 0) {
		selection_complain(c, DIAG_ERROR, node->line, node->column, "%s without entries",
		                   yaml_kind_name(node));
		return NULL;
	}
	return node->kind == YAML_MAP ? parse_map(c, node) : parse_list(c, node);
}

const struct detection *detection_parse(struct selection_context *c, struct str name,
                                        const struct yaml_node *node)
{
	if (node->kind == YAML_NULL ||
	    ((node->kind == YAML_MAP || node->kind == YAML_LIST) && node->count == 0)) {
		selection_complain(c, DIAG_ERROR, node->line, node->column,
		                   "the selection `%.*s` is empty",
		                   (int)(name.n < 80 ? name.n : 80), name.p);
		return NULL;
	}
	return parse_node(c, node);
}
