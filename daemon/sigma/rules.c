#include "sigma/rules.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/path.h"
#include "sigma/lint.h"

/* ---- one document ---- */

static void read_rule(struct loader *l, const struct yaml_node *doc)
{
	static const char *const skip[] = {"timeframe", NULL};
	const struct yaml_node *detection = yaml_get(doc, "detection"), *timeframe;
	struct rule rule = {.file = l->file, .line = doc->line};
	struct attributes a;
	bool good = attributes_read(l, doc, &a) == 0;

	good &= logsource_read(l, doc, &rule.product, &rule.category, &rule.service) == 0;
	if (detection->kind == YAML_MAP)
		rule.condition = detection_read(l, detection, skip);
	else
		loader_error(l, detection, "`detection` must be a map, not %s",
		             yaml_kind_name(detection));
	if ((timeframe = yaml_get(detection, "timeframe")))
		loader_warn(l, timeframe,
		            "`timeframe` belongs to the aggregations of Sigma 1 and does nothing: "
		            "write a correlation");
	good &= rule.condition != NULL;
	const struct known *k = loader_register(l, doc, &a, DOCUMENT_RULE, l->rule_count, !good);
	if (k->broken)
		return;
	rule.id = a.id;
	rule.name = a.name;
	rule.title = a.title;
	rule.level = a.level;
	rule.tags = a.tags;
	rule.tag_count = a.tag_count;
	rule.fields = a.fields;
	rule.field_count = a.field_count;
	if (l->options->logsources)
		rule.unmapped = logsources_resolve(l->options->logsources, rule.product,
		                                   rule.category, rule.service, &rule.sources) == 0;
	if (l->linter)
		lint_rule(l, doc, &rule);
	xgrow(&l->rules, &l->rule_cap, l->rule_count + 1, sizeof(*l->rules));
	l->rules[l->rule_count++] = rule;
}

static const struct {
	const char *key;
	void (*read)(struct loader *l, const struct yaml_node *doc);
	enum document_kind kind;
} kinds[] = {
	{"detection", read_rule, DOCUMENT_RULE},
	{"correlation", correlation_read, DOCUMENT_CORRELATION},
	{"filter", filter_read, DOCUMENT_FILTER},
};

static void no_kind(struct loader *l, const struct yaml_node *doc)
{
	const char *names[ARRAY_LEN(kinds)];

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		names[i] = kinds[i].key;
	for (size_t i = 0; i < doc->count; i++) {
		const struct yaml_pair *p = &doc->pairs[i];
		const char *near = diag_suggest(p->key.p, names, ARRAY_LEN(names));
		if (!near)
			continue;
		diag_add(l->diags, DIAG_ERROR, l->file, p->line, p->column,
		         "unknown key `%.*s`: did you mean `%s`?",
		         (int)(p->key.n < 80 ? p->key.n : 80), p->key.p, near);
		return;
	}
	loader_error(l, doc,
	             "this is no Sigma document: it has no `detection`, `correlation` or "
	             "`filter`");
}

static void read_document(struct loader *l, const struct yaml_node *doc)
{
	void (*read)(struct loader *, const struct yaml_node *) = NULL;
	enum document_kind kind = DOCUMENT_RULE;

	if (doc->kind == YAML_NULL)
		return;
	if (doc->kind != YAML_MAP) {
		loader_error(l, doc, "a rule must be a map, not %s", yaml_kind_name(doc));
		return;
	}
	/* What such a document lacks comes from another one: what would be said of it would mislead. */
	if (yaml_text(doc, "action")) {
		loader_error(l, yaml_get(doc, "action"),
		             "`action: %s` (rule collections of Sigma 1) is not supported: write "
		             "each rule out",
		             yaml_text(doc, "action"));
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!yaml_get(doc, kinds[i].key))
			continue;
		if (read) {
			loader_error(l, yaml_get(doc, kinds[i].key),
			             "one document is either a detection, a correlation or a "
			             "filter: separate them with `---`");
			return;
		}
		read = kinds[i].read;
		kind = kinds[i].kind;
	}
	if (!read) {
		no_kind(l, doc);
		return;
	}
	read(l, doc);
	if (l->linter)
		lint_document(l, doc, kind);
}

/* ---- files ---- */

static void read_file(struct loader *l, const char *path)
{
	struct yaml_node **docs;
	size_t count, used = 0;

	arena_reset(&l->scratch);
	l->file = l->selections.file = arena_strdup(&l->set->arena, str_of(path));
	l->set->files++;
	if (yaml_load(&l->scratch, path, l->diags, &docs, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		used += docs[i]->kind != YAML_NULL;
		read_document(l, docs[i]);
	}
	if (used == 0)
		diag_add(l->diags, DIAG_WARNING, path, 0, 0, "there is no rule in this file");
}

bool ruleset_is_test(const char *root, const char *file)
{
	size_t n = strlen(root);

	return strncmp(file, root, n) == 0 && strstr(file + n, "/tests/") != NULL;
}

static int read_path(struct loader *l, const char *path)
{
	static const char *const suffixes[] = {".yml", ".yaml", NULL};
	char **files;
	size_t count;
	int r = path_list(path, suffixes, &files, &count);

	if (r < 0) {
		diag_add(l->diags, DIAG_ERROR, path, 0, 0, "%s", strerror(-r));
		return r;
	}
	for (size_t i = 0; i < count; i++)
		if (!ruleset_is_test(path, files[i]))
			read_file(l, files[i]);
	path_free_list(files, count);
	return 0;
}

/* ---- the set ---- */

static void loader_init(struct loader *l, const struct ruleset_options *options,
                        struct diags *diags)
{
	*l = (struct loader){.options = options, .diags = diags};
	l->set = xcalloc(1, sizeof(*l->set));
	arena_init(&l->set->arena, 0);
	arena_init(&l->scratch, 0);
	map_init(&l->ids);
	map_init(&l->names);
	if (options->lint)
		l->linter = linter_new();
	l->set->routed = options->logsources != NULL;
	l->selections = (struct selection_context){
		.arena = &l->set->arena,
		.scratch = &l->scratch,
		.diags = diags,
		.placeholders = options->placeholders,
		.regexes = &l->set->regexes,
	};
}

static void loader_release(struct loader *l)
{
	map_release(&l->ids, NULL);
	map_release(&l->names, NULL);
	free(l->rules);
	free(l->correlations);
	free(l->filters);
	linter_free(l->linter);
	arena_release(&l->scratch);
}

static void finish(struct loader *l)
{
	struct ruleset *set = l->set;

	filters_finish(l);
	correlations_finish(l);
	set->count = l->rule_count;
	set->rules = arena_alloc(&set->arena, l->rule_count * sizeof(*set->rules));
	if (l->rule_count)
		memcpy(set->rules, l->rules, l->rule_count * sizeof(*set->rules));
	set->index = xmalloc(sizeof(*set->index));
	map_init(set->index);
	for (size_t i = 0; i < set->count; i++)
		map_put(set->index, loader_keep(l, set->rules[i].id, true), &set->rules[i]);
}

int ruleset_load_with(const char *const *paths, size_t count, const struct ruleset_options *options,
                      struct diags *diags, struct ruleset **ret)
{
	struct loader l;
	int r = 0;

	loader_init(&l, options, diags);
	for (size_t i = 0; i < count; i++) {
		int one = read_path(&l, paths[i]);
		r = r < 0 ? r : one;
	}
	finish(&l);
	loader_release(&l);
	if (r < 0) {
		ruleset_free(l.set);
		return r;
	}
	*ret = l.set;
	return 0;
}

int ruleset_load(const char *const *paths, size_t count, const struct logsources *logsources,
                 struct diags *diags, struct ruleset **ret)
{
	struct ruleset_options options = {.logsources = logsources};

	return ruleset_load_with(paths, count, &options, diags, ret);
}

void ruleset_free(struct ruleset *r)
{
	if (!r)
		return;
	regexes_release(&r->regexes);
	map_release(r->index, NULL);
	free(r->index);
	arena_release(&r->arena);
	free(r);
}

const struct rule *ruleset_find(const struct ruleset *r, struct str id)
{
	char key[1024];

	if (id.n > sizeof(key))
		return NULL;
	for (size_t i = 0; i < id.n; i++)
		key[i] = (char)(id.p[i] >= 'A' && id.p[i] <= 'Z' ? id.p[i] | 32 : id.p[i]);
	return map_get(r->index, str_make(key, id.n));
}
