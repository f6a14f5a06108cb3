/* Any text as a file of patterns; what loads is tried on a message cut from the same text. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "event/decoders.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct patterns *p = NULL;
	struct diags diags;
	struct event e;
	char path[64];

	int fd = memfd_create("patterns", 0);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	diags_init(&diags);
	int r = patterns_load(path, &diags, &p);
	close(fd);
	if ((r < 0) != (diags.errors > 0) || (r < 0) != (p == NULL))
		abort();
	if (p) {
		event_setup(&e);
		struct str text = str_make((const char *)data, size);
		while (text.p)
			patterns_decode(p, &e, STR("p"), str_split(&text, '\n'));
		event_release(&e);
		patterns_free(p);
	}
	diags_release(&diags);
	return 0;
}
