#include "sigma/placeholders.h"

#include <errno.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/yaml.h"

struct placeholders {
	struct arena arena;
	struct map lists; /* name → struct list */
};

struct list {
	struct str *values;
	size_t count;
};

/* ---- the table ---- */

static void add_value(struct list *l, const char *file, const struct yaml_node *node,
                      struct diags *diags)
{
	if (node->kind == YAML_SCALAR)
		l->values[l->count++] = node->text;
	else
		diag_add(diags, DIAG_ERROR, file, node->line, node->column,
		         "a placeholder's value must be text, not %s", yaml_kind_name(node));
}

static void add_list(struct placeholders *p, const char *file, const struct yaml_pair *pair,
                     struct diags *diags)
{
	const struct yaml_node *node = pair->value;
	size_t count = node->kind == YAML_LIST ? node->count : 1;
	struct list *l = arena_alloc(&p->arena, sizeof(*l));

	*l = (struct list){.values = arena_alloc(&p->arena, count * sizeof(*l->values))};
	if (node->kind == YAML_LIST)
		for (size_t i = 0; i < count; i++)
			add_value(l, file, node->items[i], diags);
	else
		add_value(l, file, node, diags);
	map_put(&p->lists, pair->key, l);
}

int placeholders_load(const char *file, struct diags *diags, struct placeholders **ret)
{
	struct placeholders *p = xmalloc(sizeof(*p));
	struct yaml_node **docs;
	size_t count, before = diags->errors;

	arena_init(&p->arena, 0);
	map_init(&p->lists);
	int r = yaml_load(&p->arena, file, diags, &docs, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct yaml_node *doc = docs[i];
		if (doc->kind != YAML_MAP)
			diag_add(diags, DIAG_ERROR, file, doc->line, doc->column,
			         "expected a map of placeholder names to values, not %s",
			         yaml_kind_name(doc));
		else
			for (size_t j = 0; j < doc->count; j++)
				add_list(p, file, &doc->pairs[j], diags);
	}
	if (r == 0 && diags->errors > before)
		r = -EINVAL;
	if (r < 0) {
		placeholders_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void placeholders_free(struct placeholders *p)
{
	if (!p)
		return;
	map_release(&p->lists, NULL);
	arena_release(&p->arena);
	free(p);
}

/* ---- filling in ---- */

/* The next placeholder in `s`: *ret_before stands before it (with `\%` still in it), *ret_name is its name, *ret_after
 * follows. */
static bool next_placeholder(struct str s, struct str *ret_before, struct str *ret_name,
                             struct str *ret_after)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n) {
			i++;
			continue;
		}
		if (s.p[i] != '%')
			continue;
		ptrdiff_t n = str_find(str_skip(s, i + 1), '%');
		if (n <= 0)
			continue;
		*ret_before = str_head(s, i);
		*ret_name = str_make(s.p + i + 1, (size_t)n);
		*ret_after = str_skip(s, i + 2 + (size_t)n);
		return true;
	}
	return false;
}

/* Appends with `\%` as `%`; other escapes stay for the Sigma string's own parser. */
static size_t put_plain(char *out, struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n) {
			if (s.p[i + 1] != '%')
				out[n++] = '\\';
			i++;
		}
		out[n++] = s.p[i];
	}
	return n;
}

struct texts {
	struct str *items;
	size_t count;
};

/* Every text of `t` with the plain `middle` and then each of `values`. */
static int multiply(struct arena *arena, struct texts *t, struct str middle,
                    const struct list *values, size_t max, size_t *bytes)
{
	size_t n = 0;

	if (values->count && t->count > max / values->count)
		return -E2BIG;
	struct str *out = arena_alloc(arena, (t->count * values->count + 1) * sizeof(*out));
	for (size_t i = 0; i < t->count; i++)
		for (size_t j = 0; j < values->count; j++) {
			struct str v = values->values[j];
			size_t need = t->items[i].n + middle.n + v.n;
			if (need > *bytes)
				return -E2BIG;
			*bytes -= need;
			char *p = arena_alloc(arena, need + 1);
			size_t used = t->items[i].n;
			if (used)
				memcpy(p, t->items[i].p, used);
			used += put_plain(p + used, middle);
			if (v.n)
				memcpy(p + used, v.p, v.n);
			out[n++] = str_make(p, used + v.n);
		}
	*t = (struct texts){out, n};
	return 0;
}

int placeholders_expand(const struct placeholders *p, struct arena *arena, struct str text,
                        size_t max, size_t *bytes, struct str **ret, size_t *ret_count,
                        struct str *ret_unknown)
{
	struct str empty = STR(""), unknown = STR_NONE, before, name, after;
	struct texts t = {&empty, 1};
	int r = 0;

	while (r == 0 && next_placeholder(text, &before, &name, &after)) {
		const struct list *l = p ? map_get(&p->lists, name) : NULL;
		struct str literal = str_make(name.p - 1, name.n + 2);
		if (!l && !unknown.p)
			unknown = name;
		r = multiply(arena, &t, before, l ? l : &(struct list){&literal, 1}, max, bytes);
		text = after;
	}
	if (r == 0)
		r = multiply(arena, &t, text, &(struct list){&empty, 1}, max, bytes);
	if (r < 0)
		return r;
	*ret = t.items;
	*ret_count = t.count;
	*ret_unknown = unknown;
	return 0;
}
