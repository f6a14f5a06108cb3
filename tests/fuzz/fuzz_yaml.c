/* yaml_parse() and a walk over all it gives: sizes, places, kinds and text must be what the header says. */
#include <stdlib.h>

#include "base/utf8.h"
#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libfyaml 0.7.12 itself loses 4 KiB when a long quoted text has no end. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so\n";
}

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* Returns the number of nodes, aliases followed. */
static size_t walk(const struct yaml_node *n, int depth)
{
	size_t nodes = 1;

	require(depth <= YAML_DEPTH_MAX + 1 && n->line >= 1 && n->column >= 1);
	if (n->kind == YAML_SCALAR || n->kind == YAML_NULL)
		require(utf8_valid(n->text) && n->text.p[n->text.n] == '\0');
	for (size_t i = 0; n->kind == YAML_LIST && i < n->count; i++)
		nodes += walk(n->items[i], depth + 1);
	for (size_t i = 0; n->kind == YAML_MAP && i < n->count; i++) {
		const struct yaml_pair *p = &n->pairs[i];
		require(p->line >= 1 && p->column >= 1 && p->key.p[p->key.n] == '\0');
		require(memchr(p->key.p, '\0', p->key.n) ||
		        yaml_get(n, p->key.p) == p->value); /* so no key stands twice */
		nodes += 1 + walk(p->value, depth + 1);
	}
	return nodes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct yaml_node **docs;
	struct arena arena;
	struct diags diags;
	size_t count, nodes = 0;

	arena_init(&arena, (size_t)64 << 20);
	diags_init(&diags);
	int r = yaml_parse(&arena, "fuzz", str_make((const char *)data, size), &diags, &docs,
	                   &count);
	require((r == 0) == (diags.errors == 0));
	for (size_t i = 0; r == 0 && i < count; i++)
		nodes += walk(docs[i], 1);
	require(nodes <= YAML_NODES_MAX);
	for (size_t i = 0; i < diags.count; i++) {
		char line[200];
		require(utf8_valid(str_of(diag_format(&diags.items[i], line, sizeof(line)))));
	}
	diags_release(&diags);
	arena_release(&arena);
	return 0;
}
