/* Arbitrary text as a file of Sigma documents, through the loader; what loads is matched with an event once, so that
 * nothing half-made can pass. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sigma/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7 leaks the text of a scalar that it refuses half-way. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	static char path[64];
	const char *paths[] = {path};
	const struct rule *const *hits;
	struct ruleset *set = NULL;
	struct diags diags;
	struct event e;

	if (file < 0) {
		file = memfd_create("rules", 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	if (ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size)
		abort();
	diags_init(&diags);
	if (ruleset_load(paths, 1, NULL, &diags, &set) == 0) {
		struct matcher *m = matcher_new(set);
		event_setup(&e);
		event_reset(&e);
		event_put(&e, STR("a"), STR("x"), VALUE_STRING);
		matcher_run(m, &e, NULL, &hits);
		event_release(&e);
		matcher_free(m);
		ruleset_free(set);
	}
	diags_release(&diags);
	return 0;
}
