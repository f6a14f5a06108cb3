/* The log-source table with any file, and with any event. The input is a YAML file, then a line "---EVENT---", then
 * lines NAME=VALUE; with an empty first part the shipped file is used (run from the repo's top). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "event/logsource.h"

/* libfyaml 0.7 loses a buffer of its own on some broken files. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so";
}

#define MARK STR("---EVENT---\n")

static struct logsources *load(struct str text)
{
	struct logsources *l = NULL;
	struct diags d;
	char path[64];

	diags_init(&d);
	int fd = memfd_create("logsources", MFD_CLOEXEC);
	if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int r = logsources_load(path, &d, &l);
	if ((r < 0) != (d.errors > 0) || (r == 0) != (l != NULL))
		abort();
	close(fd);
	diags_release(&d);
	return l;
}

static void fill(struct event *e, struct str lines)
{
	event_reset(e);
	while (lines.p) {
		struct str value = str_split(&lines, '\n'), name = str_split(&value, '=');
		event_put(e, name, value.p ? value : STR(""), value.p ? VALUE_STRING : VALUE_NULL);
	}
}

/* With a memory the answer is the same, whether it knows the event by now or not. */
static void check_memory(const struct logsources *l, const struct logsources *shipped,
                         struct event *e, struct str lines)
{
	static struct logsource_memo *of_shipped;
	struct logsource_memo *memo = of_shipped;
	struct logsource_set plain, remembered;
	struct event other;

	if (l != shipped || !memo)
		memo = logsource_memo_new(l);
	if (l == shipped)
		of_shipped = memo;
	event_setup(&other);
	fill(&other, lines);
	logsources_classify(l, &other, &plain);
	for (int round = 0; round < 3; round++) {
		fill(e, lines);
		logsources_classify_with(l, memo, e, &remembered);
		if (plain.any != remembered.any ||
		    memcmp(plain.bits, remembered.bits, sizeof(plain.bits)) != 0 ||
		    e->count != other.count)
			abort();
		for (size_t i = 0; i < e->count; i++)
			if (!str_eq(e->fields[i].name, other.fields[i].name) ||
			    !str_eq(e->fields[i].value, other.fields[i].value) ||
			    e->fields[i].derived != other.fields[i].derived)
				abort();
	}
	if (l != shipped)
		logsource_memo_free(memo);
	event_release(&other);
}

static void check(const struct logsources *l, struct event *e)
{
	struct logsource_set set, again;
	size_t count;

	logsources_classify(l, e, &set);
	/* The index agrees with the fields. */
	for (size_t i = 0; i < e->count; i++)
		if (!event_find(e, e->fields[i].name))
			abort();
	/* All names are there now: a second time only what repeats may come. */
	count = e->count;
	logsources_classify(l, e, &again);
	if (e->count < count)
		abort();
	logsources_resolve(l, STR("windows"), STR_NONE, STR_NONE, &again);
	logsource_intersects(&set, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct logsources *shipped;
	struct str input = str_make((const char *)data, size), file = STR_NONE, lines = input;
	ptrdiff_t mark = str_search(input, MARK);
	struct logsources *own = NULL;
	struct event e;

	if (!shipped) {
		struct diags d;
		diags_init(&d);
		if (logsources_load("conf/logsources.yaml", &d, &shipped) < 0)
			abort();
		diags_release(&d);
	}
	if (mark >= 0) {
		file = str_head(input, (size_t)mark);
		lines = str_skip(input, (size_t)mark + MARK.n);
	}
	if (file.n && !(own = load(file)))
		return 0;
	event_setup(&e);
	fill(&e, lines);
	check_memory(own ? own : shipped, shipped, &e, lines);
	fill(&e, lines);
	check(own ? own : shipped, &e);
	event_release(&e);
	logsources_free(own);
	return 0;
}
