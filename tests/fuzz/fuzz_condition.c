/* Arbitrary text as a rule's condition: parsed or refused with an error, never both, never neither. */
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/condition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"selection", "filter", "sel_a", "sel_b", "_x"};
	static const struct detection nothing = {.kind = DETECT_ANY};
	struct selection selections[ARRAY_LEN(names)];
	struct arena arena;
	struct diags diags;
	struct regexes regexes = {0};
	struct yaml_node node = {.kind = YAML_SCALAR, .line = 1, .column = 1};
	struct selection_context c = {&arena, &arena, "f", &diags, NULL, &regexes};

	arena_init(&arena, 0);
	diags_init(&diags);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		selections[i] = (struct selection){.name = str_of(names[i]), .detection = &nothing};
	node.text = arena_str(&arena, str_make((const char *)data, size));
	if ((condition_parse(&c, &node, selections, ARRAY_LEN(names)) == NULL) !=
	    (diags.errors > 0))
		abort();
	diags_release(&diags);
	arena_release(&arena);
	return 0;
}
