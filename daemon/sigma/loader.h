/* What the loading of a rule set shares between documents: only for sigma/rules.c, attributes.c, correlation*.c and
 * filter.c. Rules are read document by document; correlations and filters refer to rules that may come later, so they
 * are kept as drafts and resolved when all files have been read. */
#ifndef ISOD_SIGMA_LOADER_H
#define ISOD_SIGMA_LOADER_H

#include "base/map.h"
#include "sigma/condition.h"
#include "sigma/rules.h"

enum document_kind { DOCUMENT_RULE, DOCUMENT_CORRELATION, DOCUMENT_FILTER };

/* Something with an id that references can lead to; also what has errors, so that they are not told twice. */
struct known {
	enum document_kind kind;
	size_t index; /* in rules or correlations */
	bool broken;
	struct str id;
	const char *file;
	int line;
};

/* What all kinds of documents have. */
struct attributes {
	struct str id, name, title;
	Isod__V1__Level level;
	struct str *tags;
	size_t tag_count;
	struct str *fields;
	size_t field_count;
	bool generate;
	int line;
};

struct reference {
	struct str text; /* id or name, as written */
	int line, column;
	struct known *target; /* once resolved */
};

struct draft_alias {
	struct str name, rule, field;
	int line, column;
	struct known *target;
};

struct draft_correlation {
	struct attributes attributes;
	const char *file;
	struct known *known;
	Isod__V1__Correlation *message; /* without what resolving fills in */
	struct reference *rules;
	size_t rule_count;
	struct draft_alias *aliases;
	size_t alias_count;
	const struct correlation_type *type; /* NULL: it has errors */
	struct str *group_by;
	size_t group_count;
	struct str *values; /* fields whose values count */
	size_t value_count;
	struct reference *words; /* the rules that a condition in words names, each once */
	size_t word_count;
	const struct condition *condition; /* in words, or NULL; in the set's arena */
	int condition_line, condition_column;
	unsigned height; /* of the chain below, from 1; 0: not visited */
	bool open;       /* being visited: meeting it again is a circle */
	bool silent;     /* another correlation without `generate` refers to it */
};

struct draft_filter {
	const char *file;
	struct reference *rules;
	size_t rule_count;
	bool any; /* `rules: any`: all of its log source */
	struct str product, category, service;
	const struct condition *condition;
};

struct loader {
	struct ruleset *set;
	const struct ruleset_options *options;
	struct diags *diags;
	struct arena scratch; /* the trees of the file at hand */
	const char *file;     /* in the set's arena */
	struct selection_context selections;
	struct map ids;   /* in lower case → struct known */
	struct map names; /* → struct known */
	size_t suggested; /* near misses looked for among all names */
	struct rule *rules;
	size_t rule_count, rule_cap;
	struct draft_correlation **correlations;
	size_t correlation_count, correlation_cap;
	struct draft_filter **filters;
	size_t filter_count, filter_cap;
	struct linter *linter; /* sigma/lint.h; NULL: nobody asked */
};

/* Adds an error in the file at hand; returns -EINVAL. */
int loader_error(struct loader *l, const struct yaml_node *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void loader_warn(struct loader *l, const struct yaml_node *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A text of the file at hand as a copy in the set's arena, in lower case if asked. */
struct str loader_keep(struct loader *l, struct str text, bool lower);

/* The scalar texts of `node` (one, or a list of them) in the set's arena. 0, or -EINVAL with an error that calls them
 * `what`. */
int loader_texts(struct loader *l, const struct yaml_node *node, const char *what, struct str **ret,
                 size_t *ret_count);

/* The value under `key`; if there is none an error that suggests the key that was perhaps meant. */
const struct yaml_node *loader_require(struct loader *l, const struct yaml_node *map,
                                       const char *key, const char *whose);

/* title, id, name, status, level, tags, fields, generate. -EINVAL with errors; *ret is filled as far as it goes. */
int attributes_read(struct loader *l, const struct yaml_node *doc, struct attributes *ret);

bool attributes_is_uuid(struct str s);

/* product, category, service. 0 or -EINVAL with errors. */
int logsource_read(struct loader *l, const struct yaml_node *doc, struct str *ret_product,
                   struct str *ret_category, struct str *ret_service);

/* The selections and the condition under `map`, whose keys in `skip` (NULL-ended) are no selections. NULL with
 * errors. */
const struct condition *detection_read(struct loader *l, const struct yaml_node *map,
                                       const char *const *skip);

/* Finds what a reference leads to: by id, then by name. NULL if nothing. */
struct known *loader_find(struct loader *l, struct str reference);
/* A list of references. 0 or -EINVAL with errors. */
int references_read(struct loader *l, const struct yaml_node *node, struct reference **ret,
                    size_t *ret_count);

/* One document each; errors are in the diags, what is good is in the loader. */
void correlation_read(struct loader *l, const struct yaml_node *doc);
void filter_read(struct loader *l, const struct yaml_node *doc);

/* When all files have been read: resolves references, fills set->correlations, and marks rules as silent and with
 * their group fields. Rules are in l->rules. */
void correlations_finish(struct loader *l);
/* Works the filters into the conditions of their rules. */
void filters_finish(struct loader *l);

/* Enters a document under its id and name; tells the double ones. Returns the entry (for a double one, an entry of its
 * own that nothing leads to, with broken set). */
struct known *loader_register(struct loader *l, const struct yaml_node *doc,
                              const struct attributes *a, enum document_kind kind, size_t index,
                              bool broken);

#endif
