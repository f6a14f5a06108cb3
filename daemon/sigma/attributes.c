/* The parts that rules, correlations and filters have in common. Unknown keys are none of our business: the
 * specification allows custom ones. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pbjson.h"
#include "sigma/lint.h"

#define TITLE_MAX 256 /* characters, the specification's */
#define SELECTIONS_MAX                                                                             \
	1000 /* of one rule, SigmaHQ has up to 34; conditions look them up one by one */

#define SHOWN(s) (int)((s).n < 120 ? (s).n : 120), (s).p

static void vcomplain(struct loader *l, enum diag_severity severity, const struct yaml_node *at,
                      const char *format, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), format, ap);
	diag_add(l->diags, severity, l->file, at->line, at->column, "%s", text);
}

int loader_error(struct loader *l, const struct yaml_node *at, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vcomplain(l, DIAG_ERROR, at, format, ap);
	va_end(ap);
	return -EINVAL;
}

void loader_warn(struct loader *l, const struct yaml_node *at, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vcomplain(l, DIAG_WARNING, at, format, ap);
	va_end(ap);
}

struct str loader_keep(struct loader *l, struct str text, bool lower)
{
	char *p = arena_strdup(&l->set->arena, text);

	for (size_t i = 0; lower && i < text.n; i++)
		p[i] = (char)tolower((unsigned char)p[i]);
	return str_make(p, text.n);
}

static int take_text(struct loader *l, const struct yaml_node *node, const char *what,
                     struct str *ret)
{
	if (node->kind != YAML_SCALAR || node->text.n == 0)
		return loader_error(l, node, "%s must be text, not %s", what,
		                    node->kind == YAML_SCALAR ? "empty" : yaml_kind_name(node));
	*ret = loader_keep(l, node->text, false);
	return 0;
}

int loader_texts(struct loader *l, const struct yaml_node *node, const char *what, struct str **ret,
                 size_t *ret_count)
{
	bool list = node->kind == YAML_LIST;
	size_t count = list ? node->count : 1, good = 0;
	struct str *texts = arena_alloc(&l->set->arena, count * sizeof(*texts));

	for (size_t i = 0; i < count; i++)
		good += take_text(l, list ? node->items[i] : node, what, &texts[i]) == 0;
	if (good < count)
		return -EINVAL;
	*ret = texts;
	*ret_count = count;
	return 0;
}

const struct yaml_node *loader_require(struct loader *l, const struct yaml_node *map,
                                       const char *key, const char *whose)
{
	const struct yaml_node *node = yaml_get(map, key);
	const char *near;

	if (node)
		return node;
	for (size_t i = 0; i < map->count; i++) {
		near = diag_suggest(map->pairs[i].key.p, &key, 1);
		if (!near)
			continue;
		diag_add(l->diags, DIAG_ERROR, l->file, map->pairs[i].line, map->pairs[i].column,
		         "%s needs `%s`: is `%.*s` meant to be it?", whose, key,
		         SHOWN(map->pairs[i].key));
		return NULL;
	}
	loader_error(l, map, "%s needs `%s`", whose, key);
	return NULL;
}

/* ---- title, id, name ---- */

bool attributes_is_uuid(struct str s)
{
	if (s.n != 36)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? s.p[i] != '-' : !isxdigit((unsigned char)s.p[i]))
			return false;
	}
	return true;
}

static size_t characters(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += (s.p[i] & 0xc0) != 0x80;
	return n;
}

static int read_names(struct loader *l, const struct yaml_node *doc, struct attributes *ret)
{
	const struct yaml_node *title = loader_require(l, doc, "title", "a rule");
	const struct yaml_node *id = yaml_get(doc, "id"), *name = yaml_get(doc, "name");
	int r = title ? take_text(l, title, "`title`", &ret->title) : -EINVAL;

	if (r == 0 && characters(ret->title) > TITLE_MAX)
		loader_warn(l, title, "the title is longer than %d characters", TITLE_MAX);
	if (id && take_text(l, id, "`id`", &ret->id) < 0)
		r = -EINVAL;
	if (ret->id.p && !attributes_is_uuid(ret->id))
		loader_warn(l, id, "the id `%.*s` is no UUID", SHOWN(ret->id));
	if (name && take_text(l, name, "`name`", &ret->name) < 0)
		r = -EINVAL;
	if (!ret->id.p)
		ret->id = ret->title;
	return r;
}

/* ---- words from a list ---- */

static const char *const levels[] = {"informational", "low", "medium", "high", "critical"};
static const char *const statuses[] = {"stable", "test", "experimental", "deprecated",
                                       "unsupported"};

/* *ret: its place in `words`. */
static int read_word(struct loader *l, const struct yaml_node *node, const char *key,
                     const char *const *words, size_t count, size_t *ret)
{
	struct str text = STR_NONE;

	if (take_text(l, node, key, &text) < 0)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		if (str_ieq(text, str_of(words[i]))) {
			*ret = i;
			return 0;
		}
	const char *near = diag_suggest(text.p, words, count);
	if (near)
		return loader_error(l, node, "%s cannot be `%.*s`: did you mean `%s`?", key,
		                    SHOWN(text), near);
	return loader_error(l, node, "%s cannot be `%.*s` (%s, %s, %s, %s or %s)", key, SHOWN(text),
	                    words[0], words[1], words[2], words[3], words[4]);
}

static int read_words(struct loader *l, const struct yaml_node *doc, struct attributes *ret)
{
	const struct yaml_node *level = yaml_get(doc, "level"), *status = yaml_get(doc, "status");
	size_t i = 0;
	int r = 0;

	ret->level = ISOD__V1__LEVEL__LEVEL_MEDIUM;
	if (level && read_word(l, level, "`level`", levels, ARRAY_LEN(levels), &i) < 0)
		r = -EINVAL;
	else if (level)
		ret->level = (Isod__V1__Level)(ISOD__V1__LEVEL__LEVEL_INFORMATIONAL + i);
	if (status && read_word(l, status, "`status`", statuses, ARRAY_LEN(statuses), &i) < 0)
		r = -EINVAL;
	return r;
}

/* Field names of another taxonomy are not translated. */
static void check_taxonomy(struct loader *l, const struct yaml_node *doc)
{
	const struct yaml_node *node = yaml_get(doc, "taxonomy");

	if (node && node->kind == YAML_SCALAR && !str_ieq(node->text, STR("sigma")))
		loader_warn(l, node,
		            "isod knows only the taxonomy `sigma`: names of `%.*s` are compared as "
		            "they are written",
		            SHOWN(node->text));
}

/* ---- lists ---- */

/* namespace.name, as the schema has it. */
static bool is_tag(struct str s)
{
	ptrdiff_t dot = str_find(s, '.');

	if (dot <= 0 || (size_t)dot + 1 == s.n)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!isalnum((unsigned char)s.p[i]) && (!s.p[i] || !strchr("._-", s.p[i])))
			return false;
	return true;
}

static int read_tags(struct loader *l, const struct yaml_node *node, struct attributes *ret)
{
	if (loader_texts(l, node, "a tag", &ret->tags, &ret->tag_count) < 0)
		return -EINVAL;
	for (size_t i = 0; i < ret->tag_count; i++) {
		if (!is_tag(ret->tags[i]))
			loader_warn(l, node->kind == YAML_LIST ? node->items[i] : node,
			            "the tag `%.*s` is not NAMESPACE.NAME", SHOWN(ret->tags[i]));
		ret->tags[i] = loader_keep(l, ret->tags[i], true);
	}
	return 0;
}

int attributes_read(struct loader *l, const struct yaml_node *doc, struct attributes *ret)
{
	const struct yaml_node *tags = yaml_get(doc, "tags"), *fields = yaml_get(doc, "fields");
	const struct yaml_node *generate = yaml_get(doc, "generate");
	int r = 0;

	*ret = (struct attributes){.line = doc->line};
	if (read_names(l, doc, ret) < 0)
		r = -EINVAL;
	if (read_words(l, doc, ret) < 0)
		r = -EINVAL;
	check_taxonomy(l, doc);
	if (tags && tags->kind != YAML_NULL && read_tags(l, tags, ret) < 0)
		r = -EINVAL;
	if (fields && fields->kind != YAML_NULL &&
	    loader_texts(l, fields, "a field's name", &ret->fields, &ret->field_count) < 0)
		r = -EINVAL;
	if (generate && yaml_bool(generate, &ret->generate) < 0)
		r = loader_error(l, generate, "`generate` is true or false");
	return r;
}

/* ---- log source ---- */

static int read_part(struct loader *l, const struct yaml_node *map, const char *key,
                     struct str *ret)
{
	const struct yaml_node *node = yaml_get(map, key);
	struct str text;

	if (!node || node->kind == YAML_NULL)
		return 0;
	if (node->kind != YAML_SCALAR || node->text.n == 0)
		return loader_error(l, node, "`%s` of a log source must be text, not %s", key,
		                    node->kind == YAML_SCALAR ? "empty" : yaml_kind_name(node));
	text = loader_keep(l, node->text, true);
	if (!str_eq(text, node->text))
		loader_warn(l, node, "log sources are written in lower case: `%.*s`", SHOWN(text));
	*ret = text;
	return 0;
}

int logsource_read(struct loader *l, const struct yaml_node *doc, struct str *ret_product,
                   struct str *ret_category, struct str *ret_service)
{
	const struct yaml_node *map = loader_require(l, doc, "logsource", "a rule");
	int r = 0;

	*ret_product = *ret_category = *ret_service = STR_NONE;
	if (!map)
		return -EINVAL;
	if (map->kind != YAML_MAP)
		return loader_error(l, map, "`logsource` must be a map, not %s",
		                    yaml_kind_name(map));
	if (read_part(l, map, "product", ret_product) < 0)
		r = -EINVAL;
	if (read_part(l, map, "category", ret_category) < 0)
		r = -EINVAL;
	if (read_part(l, map, "service", ret_service) < 0)
		r = -EINVAL;
	if (r == 0 && !ret_product->p && !ret_category->p && !ret_service->p)
		return loader_error(l, map,
		                    "`logsource` names no product, no category and no service");
	return r;
}

/* ---- selections and condition ---- */

static bool is_listed(struct str key, const char *const *list)
{
	for (; *list; list++)
		if (str_eq(key, str_of(*list)))
			return true;
	return false;
}

const struct condition *detection_read(struct loader *l, const struct yaml_node *map,
                                       const char *const *skip)
{
	struct selection_context *c = &l->selections;
	struct selection *s = arena_alloc(&l->scratch, map->count * sizeof(*s));
	const struct yaml_node *condition = loader_require(l, map, "condition", "a detection");
	const struct condition *ret = NULL;
	size_t count = 0;
	bool good = true;

	if (map->count > SELECTIONS_MAX) {
		loader_error(l, map, "more than %d selections", SELECTIONS_MAX);
		return NULL;
	}
	for (size_t i = 0; i < map->count; i++) {
		const struct yaml_pair *p = &map->pairs[i];
		if (str_eq(p->key, STR("condition")) || is_listed(p->key, skip))
			continue;
		s[count] = (struct selection){.name = p->key, .line = p->line, .column = p->column};
		s[count].detection = detection_parse(c, p->key, p->value);
		good &= s[count++].detection != NULL;
	}
	if (condition && count == 0)
		loader_error(l, map, "there is a condition but no selection");
	else if (condition)
		ret = condition_parse(c, condition, s, count);
	for (size_t i = 0; ret && i < count; i++)
		if (!s[i].used)
			diag_add(l->diags, DIAG_WARNING, l->file, s[i].line, s[i].column,
			         "no condition uses the selection `%.*s`", SHOWN(s[i].name));
	if (good && ret && l->linter)
		lint_condition(l, condition, s, count, ret);
	return good ? ret : NULL;
}

/* ---- ids and references ---- */

static struct str place_of(const struct known *k, char *out, size_t size)
{
	int n = snprintf(out, size, "%s:%d", k->file, k->line);

	return str_make(out, n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1);
}

static bool enter(struct loader *l, struct map *map, struct str key, struct known *k,
                  const struct yaml_node *at, const char *what, struct str shown)
{
	const struct known *first = map_get(map, key);
	char place[512];

	if (!first) {
		map_put(map, key, k);
		return true;
	}
	struct str where = place_of(first, place, sizeof(place));
	loader_error(l, at, "the %s `%.*s` is used already in %.*s", what, SHOWN(shown),
	             STR_FMT(where));
	return false;
}

struct known *loader_register(struct loader *l, const struct yaml_node *doc,
                              const struct attributes *a, enum document_kind kind, size_t index,
                              bool broken)
{
	struct known *k = arena_alloc(&l->set->arena, sizeof(*k));
	const struct yaml_node *id = yaml_get(doc, "id"), *name = yaml_get(doc, "name");

	*k = (struct known){kind, index, broken, a->id, l->file, a->line};
	/* Nothing refers to a filter: only ids that are written must differ. */
	bool known = a->id.p && (id || kind != DOCUMENT_FILTER);
	bool own = !known || enter(l, &l->ids, loader_keep(l, a->id, true), k, id ? id : doc,
	                           id ? "id" : "title", a->id);
	own &= !a->name.p || enter(l, &l->names, a->name, k, name, "name", a->name);
	k->broken |= !own;
	return k;
}

struct known *loader_find(struct loader *l, struct str reference)
{
	struct known *k = map_get(&l->ids, loader_keep(l, reference, true));

	return k ? k : map_get(&l->names, reference);
}

int references_read(struct loader *l, const struct yaml_node *node, struct reference **ret,
                    size_t *ret_count)
{
	struct str *texts;
	size_t count;

	if (loader_texts(l, node, "a reference to a rule", &texts, &count) < 0)
		return -EINVAL;
	if (count == 0)
		return loader_error(l, node, "`rules` is empty");
	struct reference *refs = arena_alloc(&l->set->arena, count * sizeof(*refs));
	for (size_t i = 0; i < count; i++) {
		const struct yaml_node *at = node->kind == YAML_LIST ? node->items[i] : node;
		refs[i] = (struct reference){texts[i], at->line, at->column, NULL};
	}
	*ret = refs;
	*ret_count = count;
	return 0;
}
