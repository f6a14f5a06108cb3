/* YAML 1.2 documents as plain trees with the place of every node, on top of libfyaml. Everything lives in
 * the caller's arena. Aliases are resolved; cycles, duplicate keys, more than YAML_NODES_MAX nodes after
 * resolving and more than YAML_DEPTH_MAX levels are errors, so that no file costs more than it shows. */
#ifndef ISOD_BASE_YAML_H
#define ISOD_BASE_YAML_H

#include "base/arena.h"
#include "base/diag.h"

#define YAML_FILE_MAX                                                                              \
	((size_t)4 << 20) /* the largest SigmaHQ rule has 60 KB; a list of hosts may be long */
#define YAML_NODES_MAX 1000000
#define YAML_DEPTH_MAX 64

enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_pair;

struct yaml_node {
	enum yaml_kind kind;
	bool quoted; /* a scalar in quotes or a block scalar: a string whatever it looks like */
	int line, column; /* from 1 */
	struct str text;  /* of a scalar: terminated, in the arena */
	size_t count;
	union {
		struct yaml_node **items; /* of a list */
		struct yaml_pair *pairs;  /* of a map, in the file's order */
	};
};

struct yaml_pair {
	struct str key; /* scalar keys only */
	int line, column;
	struct yaml_node *value;
};

/* Every document of `text`. A plain empty scalar, `~` and `null` are YAML_NULL. 0 with *ret_docs and
 * *ret_count (0 for an empty file), or -EINVAL with at least one error in `diags`. `file` is for messages. */
int yaml_parse(struct arena *arena, const char *file, struct str text, struct diags *diags,
               struct yaml_node ***ret_docs, size_t *ret_count);
/* Reads the file (at most YAML_FILE_MAX) and parses it. -errno as well, with the error in `diags`. */
int yaml_load(struct arena *arena, const char *file, struct diags *diags,
              struct yaml_node ***ret_docs, size_t *ret_count);

/* The value under `key`, or NULL (also when `map` is NULL or no map). */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* The text of the scalar under `key`, or NULL when absent or no scalar. */
const char *yaml_text(const struct yaml_node *map, const char *key);

/* Unquoted true/false/yes/no/on/off. 0 or -EINVAL. */
int yaml_bool(const struct yaml_node *node, bool *ret);

/* "a map", "a list", "text", "nothing": for messages. */
const char *yaml_kind_name(const struct yaml_node *node);

#endif
