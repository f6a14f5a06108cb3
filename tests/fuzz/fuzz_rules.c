/* Arbitrary text as a file of Sigma documents (rules, correlations, filters), through the loader, with the log sources
 * and placeholders of an installation, and half of the time with the linter. What loads must be whole: errors and rules
 * that are missing go together, each rule is found by its id, and both matchers find the same rules in an event, the
 * compiled one on plain_patterns.h instead of Hyperscan.
 *
 * Bytes changed at random are seldom YAML, so most changes are made to lines: to the text of one, or to their order and
 * indentation. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/utf8.h"
#include "plain_patterns.h"
#include "sigma/compile.h"
#include "sigma/match.h"

#define TEXT_MAX ((size_t)16 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7 leaks the text of a scalar that it refuses half-way. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml";
}

/* ---- mutating ---- */

static uint32_t dice(uint32_t *state, size_t sides)
{
	*state = *state * 1664525u + 1013904223u;
	return (uint32_t)((*state >> 8) % sides);
}

/* Line `number` with its line end; they are counted from 0, without an end. */
static struct str line_at(struct str text, size_t number)
{
	struct str rest = text;

	for (;;) {
		ptrdiff_t end = str_find(rest, '\n');
		size_t n = end < 0 ? rest.n : (size_t)end + 1;
		if (number-- == 0 || n == rest.n)
			return str_head(rest, n);
		rest = str_skip(rest, n);
	}
}

static size_t count_lines(struct str text)
{
	size_t n = 1;

	for (size_t i = 0; i + 1 < text.n; i++)
		n += text.p[i] == '\n';
	return n;
}

/* `text` with `by` in the place of `part` of it. Returns its size, 0 if there is no room. */
static size_t put_together(uint8_t *out, size_t max, struct str text, struct str part,
                           struct str by)
{
	size_t before = (size_t)(part.p - text.p), after = text.n - before - part.n;

	if (before + by.n + after > max)
		return 0;
	memcpy(out, text.p, before);
	if (by.n)
		memcpy(out + before, by.p, by.n);
	memcpy(out + before + by.n, part.p + part.n, after);
	return before + by.n + after;
}

/* What follows a line's indentation, dash or key, changed. */
static size_t mutate_inside(uint8_t *out, size_t max, struct str text, struct str line,
                            uint32_t *state)
{
	static uint8_t inside[TEXT_MAX];
	size_t from = 0, n = line.n - (line.n && line.p[line.n - 1] == '\n');

	while (from < n && (line.p[from] == ' ' || line.p[from] == '-'))
		from++;
	ptrdiff_t colon = str_find(str_make(line.p + from, n - from), ':');
	if (colon >= 0 && dice(state, 3))
		from += (size_t)colon + 1;
	struct str part = str_make(line.p + from, n - from);
	if (part.n)
		memcpy(inside, part.p, part.n);
	size_t size =
		LLVMFuzzerMutate(inside, part.n, part.n + 32 < TEXT_MAX ? part.n + 32 : TEXT_MAX);
	return put_together(out, max, text, part, str_make((const char *)inside, size));
}

static size_t mutate_lines(uint8_t *out, size_t max, struct str text, uint32_t *state)
{
	size_t lines = count_lines(text);
	struct str one = line_at(text, dice(state, lines)),
		   other = line_at(text, dice(state, lines));
	struct str start = str_head(one, 0);

	switch (dice(state, 8)) {
	case 0: return put_together(out, max, text, start, other);          /* copied */
	case 1: return put_together(out, max, text, one, other);            /* put over another */
	case 2: return put_together(out, max, text, one, str_head(one, 0)); /* left out */
	case 3: return put_together(out, max, text, start, STR("  "));      /* deeper */
	case 4: return put_together(out, max, text, str_head(one, 2), STR("")); /* less deep */
	default: return mutate_inside(out, max, text, one, state);
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	static char copy[TEXT_MAX];
	uint32_t state = seed;
	size_t n;

	if (size == 0 || size > TEXT_MAX || dice(&state, 6) == 0)
		return LLVMFuzzerMutate(data, size, max);
	memcpy(copy, data, size);
	n = mutate_lines(data, max, str_make(copy, size), &state);
	if (n)
		return n;
	memcpy(data, copy, size);
	return LLVMFuzzerMutate(data, size, max);
}

/* ---- what an installation has ---- */

struct installation {
	struct logsources *logsources;
	struct placeholders *placeholders;
	struct event event;
	struct logsource_set sources;
	int file; /* of rules */
	char path[64];
};

/* One value each: of lists with several a few in a row make thousands of values, and an execution of a second. */
static struct placeholders *load_placeholders(struct diags *diags)
{
	static const char text[] = "admins: adm-*\nhosts: srv?\n";
	struct placeholders *ret;
	char path[64];
	int file = memfd_create("placeholders", 0);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (write(file, text, sizeof(text) - 1) != sizeof(text) - 1 ||
	    placeholders_load(path, diags, &ret) < 0)
		abort();
	close(file);
	return ret;
}

static const struct installation *installation(void)
{
	static const char *const fields[][2] = {
		{"EventID", "1"},
		{"Channel", "Microsoft-Windows-Sysmon/Operational"},
		{"Image", "C:\\Windows\\System32\\cmd.exe"},
		{"CommandLine", "cmd /c whoami"},
		{"User", "adm-ada"},
		{"SourceIp", "10.0.0.7"},
		{"when", "2024-03-07T10:11:12Z"},
		{"a", "x"},
	};
	static struct installation in;
	struct diags diags;

	if (in.placeholders)
		return &in;
	diags_init(&diags);
	if (logsources_load("conf/logsources.yaml", &diags, &in.logsources) < 0) {
		fprintf(stderr, "run from the top of the repository\n");
		exit(1);
	}
	in.placeholders = load_placeholders(&diags);
	event_setup(&in.event);
	event_reset(&in.event);
	in.event.raw = STR("<13>Mar  7 10:11:12 srv1 cmd: whoami");
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		event_put(&in.event, str_of(fields[i][0]), str_of(fields[i][1]), VALUE_STRING);
	logsources_classify(in.logsources, &in.event, &in.sources);
	in.file = memfd_create("rules", 0);
	snprintf(in.path, sizeof(in.path), "/proc/self/fd/%d", in.file);
	diags_release(&diags);
	return &in;
}

/* ---- what loaded ---- */

static void compare(const struct installation *in, const struct ruleset *set)
{
	const struct compile_options options = {0};
	const struct logsource_set *sources[] = {NULL, &in->sources};
	const struct rule *const *plain, *const *fast;
	struct compiled *compiled;
	struct diags diags;

	diags_init(&diags);
	if (compiled_new(set, &options, &diags, &compiled) < 0)
		abort();
	struct matcher *p = matcher_new(set), *f = matcher_new_with(set, compiled);
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		size_t n = matcher_run(p, &in->event, sources[i], &plain);
		if (matcher_run(f, &in->event, sources[i], &fast) != n ||
		    (n && memcmp(plain, fast, n * sizeof(*plain)) != 0))
			abort();
	}
	matcher_free(p);
	matcher_free(f);
	compiled_free(compiled);
	diags_release(&diags);
}

static void check_set(const struct installation *in, const struct ruleset *set)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct rule *r = &set->rules[i];
		if (!r->id.n || !r->title.p || !r->condition || !r->file || r->line < 1 ||
		    (r->id.n <= 1024 && ruleset_find(set, r->id) != r))
			abort();
	}
	for (size_t i = 0; i < set->correlation_count; i++)
		if (isod__v1__correlation__get_packed_size(set->correlations[i]) == 0)
			abort();
	if (set->count)
		compare(in, set);
}

static void check_diags(const struct diags *diags)
{
	char line[300];

	for (size_t i = 0; i < diags->count; i++)
		if (diags->items[i].line < 0 || diags->items[i].column < 0 ||
		    !diag_format(&diags->items[i], line, sizeof(line))[0])
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct installation *in = installation();
	const char *paths[] = {in->path};
	const struct ruleset_options options = {
		.logsources = in->logsources,
		.placeholders = in->placeholders,
		.lint = size % 2 ? LINT_RULES | LINT_CONVENTIONS : 0,
	};
	struct ruleset *set = NULL;
	struct diags diags;

	if (pwrite(in->file, data, size, 0) != (ssize_t)size ||
	    ftruncate(in->file, (off_t)size) < 0)
		abort();
	diags_init(&diags);
	if (ruleset_load_with(paths, 1, &options, &diags, &set) < 0)
		abort();
	if (set->count + set->correlation_count + set->filters == 0 && diags.count == 0)
		abort(); /* nothing there, and not a word about it */
	check_set(in, set);
	check_diags(&diags);
	ruleset_free(set);
	diags_release(&diags);
	return 0;
}
