/* Arbitrary text as a file of Sigma documents, through the loader and, every other time, the linter; what loads is
 * matched with an event once, so that nothing half-made can pass, and the explanation must say what the matcher says. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sigma/explain.h"
#include "sigma/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7 leaks the text of a scalar that it refuses half-way. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml";
}

static void match_and_explain(const struct ruleset *set)
{
	struct matcher *m = matcher_new(set);
	const struct rule *const *hits;
	struct explanation x;
	struct arena arena;
	struct event e;
	size_t hit = 0;

	event_setup(&e);
	event_reset(&e);
	event_put(&e, STR("a"), STR("x"), VALUE_STRING);
	arena_init(&arena, 0);
	size_t n = matcher_run(m, &e, NULL, &hits);
	for (size_t i = 0; i < set->count; i++) {
		bool holds = hit < n && hits[hit] == &set->rules[i];
		hit += holds;
		arena_reset(&arena);
		explain_rule(set, &set->rules[i], &e, NULL, &arena, &x);
		if (x.matches != holds)
			abort();
	}
	arena_release(&arena);
	event_release(&e);
	matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ruleset_options options = {.lint = size & 1 ? LINT_RULES | LINT_CONVENTIONS
	                                                         : 0};
	static int file = -1;
	static char path[64];
	const char *paths[] = {path};
	struct ruleset *set = NULL;
	struct diags diags;

	if (file < 0) {
		file = memfd_create("rules", 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	if (ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size)
		abort();
	diags_init(&diags);
	if (ruleset_load_with(paths, 1, &options, &diags, &set) == 0)
		match_and_explain(set);
	ruleset_free(set);
	diags_release(&diags);
	return 0;
}
