/* config_load() on a folder of its own: an odd first byte makes the rest the escalation file, an even one isod.yaml. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/path.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libfyaml 0.7.12 itself loses 4 KiB when a long quoted text has no end. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so\n";
}

static char folder[] = "/tmp/isod-fuzz-config-XXXXXX";
static char files[2][64];

static void clean_up(void)
{
	unlink(files[0]);
	unlink(files[1]);
	rmdir(folder);
}

static void put(const char *path, struct str text)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(text.n ? text.p : "", 1, text.n, f) != text.n || fclose(f) != 0) {
		perror(path); /* no finding: somebody took the folder away, or the disk is full */
		exit(1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *config = NULL;
	struct diags diags;

	if (!files[0][0]) {
		if (!mkdtemp(folder)) {
			perror(folder);
			exit(1);
		}
		snprintf(files[0], sizeof(files[0]), "%s/isod.yaml", folder);
		snprintf(files[1], sizeof(files[1]), "%s/escalation.yaml", folder);
		atexit(clean_up);
	}
	if (size == 0)
		return 0;
	struct str text = str_make((const char *)data + 1, size - 1);
	put(files[0], data[0] & 1 ? STR("") : text);
	put(files[1], data[0] & 1 ? text : STR(""));
	diags_init(&diags);
	int r = config_load(files[0], &diags, &config);
	if ((r == 0) != (diags.errors == 0) || (r == 0) != (config != NULL))
		abort();
	config_free(config);
	diags_release(&diags);
	return 0;
}
