#include "config/config_table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/path.h"

#define CANDIDATES_MAX 128 /* keys one could have meant; the largest table has 50 options */
#define HINT_MAX       160

/* ---- messages ---- */

static void complain(struct option_reader *r, enum diag_severity severity,
                     const struct yaml_node *node, const char *format, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), format, ap);
	diag_add(r->diags, severity, r->file, node ? node->line : 0, node ? node->column : 0, "%s",
	         text);
}

void option_error(struct option_reader *r, const struct yaml_node *node, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	complain(r, DIAG_ERROR, node, format, ap);
	va_end(ap);
}

void option_warning(struct option_reader *r, const struct yaml_node *node, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	complain(r, DIAG_WARNING, node, format, ap);
	va_end(ap);
}

const struct yaml_node *option_at(const struct yaml_node *map, const char *section,
                                  const char *name)
{
	const struct yaml_node *inner = section ? yaml_get(map, section) : map;
	const struct yaml_node *value = name ? yaml_get(inner, name) : NULL;

	return value ? value : inner ? inner : map;
}

bool option_given(const struct yaml_node *map, const char *name)
{
	const struct yaml_node *value = yaml_get(map, name);

	return value && value->kind != YAML_NULL;
}

const char *option_hint(const char *word, const char *const *candidates, size_t count, char *out,
                        size_t size)
{
	const char *near = diag_suggest(word, candidates, count);

	out[0] = '\0';
	if (near)
		snprintf(out, size, ": did you mean `%s`?", near);
	return out;
}

/* ---- values ---- */

struct value_type {
	const char *name;       /* in messages: "a duration like 30s" */
	const char *short_name; /* in the description: "duration" */
	/* False after a complaint; the field is then as before. */
	bool (*read)(struct option_reader *r, const struct option *o, const struct yaml_node *node,
	             char *target);
	void (*release)(const struct option *o, char *target);
};

static const struct value_type types[OPTION_ITEMS + 1];

static bool wrong_kind(struct option_reader *r, const struct option *o,
                       const struct yaml_node *node)
{
	if (node->kind == YAML_NULL)
		option_error(r, node, "`%s` has no value: it must be %s", o->name,
		             types[o->type].name);
	else
		option_error(r, node, "`%s` must be %s, not %s", o->name, types[o->type].name,
		             yaml_kind_name(node));
	return false;
}

/* Text without what no name and no path may hold. */
static bool plain_text(struct option_reader *r, const struct option *o,
                       const struct yaml_node *node)
{
	if (node->kind != YAML_SCALAR)
		return wrong_kind(r, o, node);
	if (node->text.n == 0) {
		option_error(r, node, "`%s` is empty", o->name);
		return false;
	}
	if (str_find(node->text, '\0') >= 0) {
		option_error(r, node, "`%s` holds a NUL character", o->name);
		return false;
	}
	return true;
}

static char *text_value(const struct option_reader *r, const struct option *o,
                        const struct yaml_node *node)
{
	bool path = o->type == OPTION_PATH || o->type == OPTION_PATHS;

	return path ? path_beside(r->file, node->text.p) : xstrdup(node->text.p);
}

static bool read_text(struct option_reader *r, const struct option *o, const struct yaml_node *node,
                      char *target)
{
	char **field = (char **)(target + o->offset);
	bool may_be_none = !o->fallback || (o->flags & OPTION_NULLABLE);

	if (node->kind == YAML_NULL && may_be_none && !(o->flags & OPTION_REQUIRED)) {
		free(*field);
		*field = NULL;
		return true;
	}
	if (!plain_text(r, o, node))
		return false;
	free(*field);
	*field = text_value(r, o, node);
	return true;
}

static void release_text(const struct option *o, char *target)
{
	char **field = (char **)(target + o->offset);

	free(*field);
	*field = NULL;
}

/* Text of a number of that type to the number. */
static int parse_number(enum option_type type, struct str text, uint64_t *ret)
{
	uint64_t mode = 0;

	if (type == OPTION_SIZE)
		return str_to_size(text, ret);
	if (type == OPTION_DURATION)
		return str_to_duration(text, ret);
	if (type != OPTION_MODE)
		return str_to_u64(text, ret);
	if (text.n == 0 || text.n > 4)
		return -EINVAL;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '7')
			return -EINVAL;
		mode = mode * 8 + (uint64_t)(text.p[i] - '0');
	}
	*ret = mode;
	return 0;
}

static bool in_bounds(const struct option *o, uint64_t value)
{
	uint64_t bound;

	if (o->min && parse_number(o->type, str_of(o->min), &bound) == 0 && value < bound)
		return false;
	return !o->max || parse_number(o->type, str_of(o->max), &bound) < 0 || value <= bound;
}

static void append_words(struct buf *out, const struct option_word *words)
{
	for (const struct option_word *w = words; w->word; w++)
		buf_printf(out, "%s%s", w == words ? "" : w[1].word ? ", " : " or ", w->word);
}

static void not_a_number(struct option_reader *r, const struct option *o,
                         const struct yaml_node *node)
{
	const char *known[CANDIDATES_MAX];
	size_t count = 0;
	char hint[HINT_MAX];
	struct buf wanted;

	buf_init(&wanted, 0);
	buf_add(&wanted, str_of(types[o->type].name));
	for (const struct option_word *w = o->words; w && w->word && count < CANDIDATES_MAX; w++)
		known[count++] = w->word;
	if (count) {
		buf_add(&wanted, STR(", "));
		append_words(&wanted, o->words);
	}
	option_error(r, node, "`%s` must be %s, not \"%.60s\"%s", o->name, buf_cstr(&wanted),
	             node->text.p, option_hint(node->text.p, known, count, hint, sizeof(hint)));
	buf_release(&wanted);
}

static bool read_number(struct option_reader *r, const struct option *o,
                        const struct yaml_node *node, char *target)
{
	uint64_t value = 0;
	bool word = false;
	int e = 0;

	if (node->kind != YAML_SCALAR)
		return wrong_kind(r, o, node);
	for (const struct option_word *w = o->words; w && w->word && !word; w++) {
		word = str_eq(node->text, str_of(w->word));
		value = (uint64_t)w->value;
	}
	if (!word)
		e = parse_number(o->type, node->text, &value);
	if (e == -EINVAL) {
		not_a_number(r, o, node);
		return false;
	}
	if (e < 0 || (!word && !in_bounds(o, value))) {
		option_error(r, node, "`%s` is out of range: %.60s is not between %s and %s",
		             o->name, node->text.p, o->min ? o->min : "0",
		             o->max ? o->max : "what fits");
		return false;
	}
	if (o->type == OPTION_NUMBER32)
		*(uint32_t *)(target + o->offset) = (uint32_t)value;
	else
		*(uint64_t *)(target + o->offset) = value;
	return true;
}

static bool read_choice(struct option_reader *r, const struct option *o,
                        const struct yaml_node *node, char *target)
{
	const char *known[CANDIDATES_MAX];
	size_t count = 0;
	char hint[HINT_MAX];
	struct buf words;

	if (node->kind != YAML_SCALAR)
		return wrong_kind(r, o, node);
	for (const struct option_word *w = o->words; w->word; w++) {
		if (str_ieq(node->text, str_of(w->word))) {
			*(int *)(target + o->offset) = w->value;
			return true;
		}
		if (count < CANDIDATES_MAX)
			known[count++] = w->word;
	}
	buf_init(&words, 0);
	append_words(&words, o->words);
	option_error(r, node, "`%s` must be %s, not \"%.60s\"%s", o->name, buf_cstr(&words),
	             node->text.p, option_hint(node->text.p, known, count, hint, sizeof(hint)));
	buf_release(&words);
	return false;
}

static void release_texts(const struct option *o, char *target)
{
	char ***field = (char ***)(target + o->offset);
	size_t *count = (size_t *)(target + o->count);

	path_free_list(*field, *count);
	*field = NULL;
	*count = 0;
}

static bool read_texts(struct option_reader *r, const struct option *o,
                       const struct yaml_node *node, char *target)
{
	struct yaml_node *single = (struct yaml_node *)(uintptr_t)node;
	struct yaml_node **items = &single;
	size_t count = 1;
	bool good = true;

	if (node->kind == YAML_MAP)
		return wrong_kind(r, o, node);
	if (node->kind == YAML_NULL)
		count = 0;
	if (node->kind == YAML_LIST) {
		items = node->items;
		count = node->count;
	}
	for (size_t i = 0; i < count; i++)
		if (!plain_text(r, o, items[i]))
			good = false;
	if (!good)
		return false;
	release_texts(o, target);
	char **texts = xcalloc(count, sizeof(char *));
	for (size_t i = 0; i < count; i++)
		texts[i] = text_value(r, o, items[i]);
	*(char ***)(target + o->offset) = texts;
	*(size_t *)(target + o->count) = count;
	return true;
}

static void release_pairs(const struct option *o, char *target)
{
	struct plugin_option **field = (struct plugin_option **)(target + o->offset);
	size_t *count = (size_t *)(target + o->count);

	for (size_t i = 0; i < *count; i++) {
		free((*field)[i].name);
		free((*field)[i].value);
	}
	free(*field);
	*field = NULL;
	*count = 0;
}

static bool read_pairs(struct option_reader *r, const struct option *o,
                       const struct yaml_node *node, char *target)
{
	bool good = true;

	if (node->kind != YAML_MAP && node->kind != YAML_NULL)
		return wrong_kind(r, o, node);
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_node *value = node->pairs[i].value;
		if (value->kind == YAML_MAP || value->kind == YAML_LIST)
			option_error(r, value, "`%s` under `%s` must be a single value, not %s",
			             node->pairs[i].key.p, o->name, yaml_kind_name(value));
		else if (value->text.n && str_find(value->text, '\0') >= 0)
			option_error(r, value, "`%s` under `%s` holds a NUL character",
			             node->pairs[i].key.p, o->name);
		else
			continue;
		good = false;
	}
	if (!good)
		return false;
	release_pairs(o, target);
	struct plugin_option *pairs = xcalloc(node->count, sizeof(*pairs));
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_node *value = node->pairs[i].value;
		pairs[i].name = xstrdup(node->pairs[i].key.p);
		pairs[i].value = xstrdup(value->kind == YAML_SCALAR ? value->text.p : "");
	}
	*(struct plugin_option **)(target + o->offset) = pairs;
	*(size_t *)(target + o->count) = node->count;
	return true;
}

/* The field is a pointer to whatever struct the items are, so it is not touched as a char *. */
static void release_items(const struct option *o, char *target)
{
	size_t *count = (size_t *)(target + o->count);
	char *items;

	memcpy(&items, target + o->offset, sizeof(items));
	for (size_t i = 0; i < *count; i++)
		options_release(o->items, items + i * o->items->item_size);
	free(items);
	items = NULL;
	memcpy(target + o->offset, &items, sizeof(items));
	*count = 0;
}

/* Every entry of the list becomes an item, also one that is wrong, so that item and node have the same index. */
static bool read_items(struct option_reader *r, const struct option *o,
                       const struct yaml_node *node, char *target)
{
	const struct option_set *set = o->items;

	if (node->kind == YAML_NULL)
		return true;
	if (node->kind != YAML_LIST)
		return wrong_kind(r, o, node);
	char *items = xcalloc(node->count, set->item_size);
	for (size_t i = 0; i < node->count; i++) {
		size_t errors = r->diags->errors;
		void *item = items + i * set->item_size;
		if (set->init)
			set->init(item);
		if (node->items[i]->kind != YAML_MAP)
			option_error(r, node->items[i], "%s must be a map, not %s", set->what,
			             yaml_kind_name(node->items[i]));
		else
			options_read(r, set, node->items[i], item);
		if (set->check && r->diags->errors == errors)
			set->check(r, item, node->items[i]);
	}
	memcpy(target + o->offset, &items, sizeof(items));
	*(size_t *)(target + o->count) = node->count;
	return true;
}

static const struct value_type types[OPTION_ITEMS + 1] = {
	[OPTION_TEXT] = {"text", "text", read_text, release_text},
	[OPTION_PATH] = {"a path", "path", read_text, release_text},
	[OPTION_NUMBER] = {"a number", "number", read_number, NULL},
	[OPTION_NUMBER32] = {"a number", "number", read_number, NULL},
	[OPTION_SIZE] = {"a size like 64KiB or 1MiB", "size", read_number, NULL},
	[OPTION_DURATION] = {"a duration like 500ms, 30s, 15m, 2h or 7d", "duration", read_number,
                             NULL},
	[OPTION_MODE] = {"octal permissions like 0660", "permissions", read_number, NULL},
	[OPTION_CHOICE] = {"a word", "word", read_choice, NULL},
	[OPTION_TEXTS] = {"a list of texts", "list of texts", read_texts, release_texts},
	[OPTION_PATHS] = {"a list of paths", "list of paths", read_texts, release_texts},
	[OPTION_PAIRS] = {"a map", "map", read_pairs, release_pairs},
	[OPTION_ITEMS] = {"a list", "list of maps", read_items, release_items},
};

/* ---- sets ---- */

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static const struct option *find(const struct option_set *set, const char *section, struct str name)
{
	for (size_t i = 0; i < set->count; i++)
		if (same(set->options[i].section, section) &&
		    str_eq(str_of(set->options[i].name), name))
			return &set->options[i];
	return NULL;
}

/* The section of that name, as the table spells it; NULL if there is none. */
static const char *find_section(const struct option_set *set, struct str name)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->options[i].section && str_eq(str_of(set->options[i].section), name))
			return set->options[i].section;
	return NULL;
}

/* All that may stand where `section` names: options and, at the top, sections. */
static size_t keys_of(const struct option_set *set, const char *section, const char **out)
{
	size_t count = 0;

	for (size_t i = 0; i < set->count && count + 1 < CANDIDATES_MAX; i++) {
		const struct option *o = &set->options[i];
		if (same(o->section, section))
			out[count++] = o->name;
		else if (!section && (i == 0 || !same(o->section, o[-1].section)))
			out[count++] = o->section;
	}
	return count;
}

static void unknown_key(struct option_reader *r, const struct option_set *set, const char *section,
                        const struct yaml_pair *pair)
{
	const struct yaml_node at = {.line = pair->line, .column = pair->column};
	const char *known[CANDIDATES_MAX];
	char hint[HINT_MAX];

	option_hint(pair->key.p, known, keys_of(set, section, known), hint, sizeof(hint));
	for (size_t i = 0; !hint[0] && i < set->count; i++) {
		const struct option *o = &set->options[i];
		if (!str_eq(str_of(o->name), pair->key))
			continue;
		if (o->section)
			snprintf(hint, sizeof(hint), ": it belongs under `%s:`", o->section);
		else
			snprintf(hint, sizeof(hint), ": it belongs at the top, not into `%s:`",
			         section ? section : "");
	}
	if (section)
		option_error(r, &at, "unknown key `%.60s` in `%s:`%s", pair->key.p, section, hint);
	else if (set->what)
		option_error(r, &at, "unknown key `%.60s` in %s%s", pair->key.p, set->what, hint);
	else
		option_error(r, &at, "unknown key `%.60s`%s", pair->key.p, hint);
}

static void read_map(struct option_reader *r, const struct option_set *set, const char *section,
                     const struct yaml_node *map, char *target)
{
	for (size_t i = 0; i < map->count; i++) {
		const struct yaml_pair *pair = &map->pairs[i];
		const struct option *o = find(set, section, pair->key);
		const char *inner = section ? NULL : find_section(set, pair->key);
		if (o)
			types[o->type].read(r, o, pair->value, target);
		else if (!inner)
			unknown_key(r, set, section, pair);
		else if (pair->value->kind == YAML_MAP)
			read_map(r, set, inner, pair->value, target);
		else if (pair->value->kind != YAML_NULL)
			option_error(r, pair->value, "`%s` must be a map of options, not %s", inner,
			             yaml_kind_name(pair->value));
	}
}

static void set_defaults(struct option_reader *r, const struct option_set *set, char *target)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct option *o = &set->options[i];
		struct yaml_node node = {.kind = YAML_SCALAR, .text = str_of(o->fallback)};
		if (o->fallback)
			types[o->type].read(r, o, &node, target);
	}
}

void options_read(struct option_reader *r, const struct option_set *set,
                  const struct yaml_node *node, void *target)
{
	set_defaults(r, set, target);
	if (node->kind != YAML_MAP && node->kind != YAML_NULL) {
		option_error(r, node, "a map of options is expected here, not %s",
		             yaml_kind_name(node));
		return;
	}
	if (node->kind == YAML_MAP)
		read_map(r, set, NULL, node, target);
	for (size_t i = 0; i < set->count; i++)
		if ((set->options[i].flags & OPTION_REQUIRED) &&
		    !yaml_get(node, set->options[i].name))
			option_error(r, node, "%s needs `%s`", set->what, set->options[i].name);
}

void options_release(const struct option_set *set, void *target)
{
	for (size_t i = 0; i < set->count; i++)
		if (types[set->options[i].type].release)
			types[set->options[i].type].release(&set->options[i], target);
}

static void describe_bounds(const struct option *o, struct buf *out)
{
	if (o->words) {
		if (o->type != OPTION_CHOICE)
			buf_printf(out, "%s, ", types[o->type].short_name);
		append_words(out, o->words);
	} else {
		buf_add(out, str_of(types[o->type].short_name));
	}
	if (o->min && o->max)
		buf_printf(out, ", %s to %s", o->min, o->max);
}

void options_describe(const struct option_set *set, const char *prefix, struct buf *out)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct option *o = &set->options[i];
		buf_printf(out, "%s%s%s%s (", prefix, o->section ? o->section : "",
		           o->section ? "." : "", o->name);
		describe_bounds(o, out);
		if (o->flags & OPTION_REQUIRED)
			buf_add(out, STR(", required"));
		else
			buf_printf(out, ", default %s", o->fallback ? o->fallback : "none");
		buf_printf(out, "): %s\n", o->help);
		if (o->type != OPTION_ITEMS)
			continue;
		char *inner = xasprintf("%s%s%s%s[].", prefix, o->section ? o->section : "",
		                        o->section ? "." : "", o->name);
		options_describe(o->items, inner, out);
		free(inner);
	}
}
