/* What the commands of `isoctl rules` share: reading rules and events, and printing. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/pbjson.h"
#include "event/origin.h"
#include "isoctl_rules.h"

/* ---- input ---- */

static void take_paths(int *argc, char **argv)
{
	static const char name[] = "--rules";
	size_t n = sizeof(name) - 1;
	int kept = 0;

	for (int i = 0; i < *argc; i++) {
		if (strcmp(argv[i], name) == 0)
			continue;
		bool joined = strncmp(argv[i], name, n) == 0 && argv[i][n] == '=';
		argv[kept++] = argv[i] + (joined ? n + 1 : 0);
	}
	*argc = kept;
}

int rules_arguments(const char *verb, const struct isoctl_option *options, int least, int *argc,
                    char **argv)
{
	take_paths(argc, argv);
	if (isoctl_options(options, argc, argv, INT_MAX) != 0)
		return 2;
	return *argc < least ? rules_usage(verb) : 0;
}

char *rules_find_conf(const char *name)
{
	static const char *const places[] = {"conf", "../conf", "../../conf", NULL};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash, *path;

	self[n < 0 ? 0 : n] = '\0';
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && places[i]; i++) {
		path = xasprintf("%.*s/%s/%s", (int)(slash - self), self, places[i], name);
		if (access(path, R_OK) == 0)
			return path;
		free(path);
	}
	path = xasprintf("/etc/isod/%s", name);
	if (access(path, R_OK) == 0)
		return path;
	free(path);
	return NULL;
}

static int load_conf(struct stages *s, const struct stage_files *files, struct diags *diags)
{
	char *logsources =
		files->logsources ? xstrdup(files->logsources) : rules_find_conf("logsources.yaml");
	char *patterns =
		files->patterns ? xstrdup(files->patterns) : rules_find_conf("patterns.yaml");
	int r = 0;

	if (!logsources)
		fprintf(stderr, "isoctl: no conf/logsources.yaml found: every rule is tried on "
		                "every event, under the names that the events use\n");
	else
		r = logsources_load(logsources, diags, &s->logsources);
	if (r == 0 && patterns)
		r = patterns_load(patterns, diags, &s->patterns);
	if (r == 0 && files->placeholders)
		r = placeholders_load(files->placeholders, diags, &s->placeholders);
	free(logsources);
	free(patterns);
	return r;
}

int stages_load(struct stages *s, const struct stage_files *files, char **paths, int count,
                struct diags *diags)
{
	int r;

	*s = (struct stages){0};
	event_setup(&s->event);
	r = load_conf(s, files, diags);
	if (r < 0)
		return r;
	const struct ruleset_options o = {.logsources = s->logsources,
	                                  .placeholders = s->placeholders};
	r = ruleset_load_with((const char *const *)paths, (size_t)count, &o, diags, &s->rules);
	if (r < 0)
		return r;
	s->decoder = decoder_new(s->patterns);
	s->matcher = matcher_new(s->rules);
	return 0;
}

void stages_compile(struct stages *s, const char *cache, struct diags *diags)
{
	const struct compile_options o = {.cache_dir = cache};

	if (compiled_new(s->rules, &o, diags, &s->compiled) < 0)
		return; /* the plain matcher is there */
	matcher_free(s->matcher);
	s->matcher = matcher_new_with(s->rules, s->compiled);
}

void stages_release(struct stages *s)
{
	matcher_free(s->matcher);
	compiled_free(s->compiled);
	decoder_free(s->decoder);
	event_release(&s->event);
	ruleset_free(s->rules);
	placeholders_free(s->placeholders);
	patterns_free(s->patterns);
	logsources_free(s->logsources);
}

static void decode(struct stages *s, const struct evidence *frame, uint64_t received_ns,
                   bool stored)
{
	struct event *e = &s->event;

	event_reset(e);
	e->received_ns = received_ns;
	e->source = frame->source;
	e->meta = frame->meta;
	if (frame->flags & EVIDENCE_TRUNCATED)
		e->flags |= EVENT_TRUNCATED;
	event_decode(s->decoder, e, frame->frame);
	/* Events in a file may tell of their origin what a test wants them to. */
	if (stored)
		origin_put(e, frame->identity);
	s->incomplete += (e->flags & EVENT_INCOMPLETE) != 0;
	s->sources = (struct logsource_set){0};
	if (s->logsources)
		logsources_classify(s->logsources, e, &s->sources);
}

void stages_decode(struct stages *s, struct str frame, struct str source, uint64_t received_ns)
{
	decode(s, &(struct evidence){.frame = frame, .source = source}, received_ns, false);
}

void stages_decode_stored(struct stages *s, const struct record *r, const struct evidence *e)
{
	decode(s, e, r->time_ns, true);
}

size_t stages_match(struct stages *s, const struct rule *const **ret_hits)
{
	return matcher_run(s->matcher, &s->event, s->logsources ? &s->sources : NULL, ret_hits);
}

/* ---- files of events ---- */

int lines_open(struct lines *l, const char *file)
{
	FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");

	if (!in) {
		int r = -errno;
		fprintf(stderr, "isoctl: %s: %s\n", file, strerror(errno));
		return r;
	}
	*l = (struct lines){.in = in, .name = file};
	return 0;
}

int lines_next(struct lines *l, struct str *ret)
{
	ssize_t n = getline(&l->text, &l->cap, l->in);
	struct str line;

	if (n < 0 && ferror(l->in)) {
		fprintf(stderr, "isoctl: %s: cannot be read to its end\n", l->name);
		return -EIO;
	}
	if (n < 0)
		return 0;
	line = str_make(l->text, (size_t)n);
	l->number++;
	if (line.n && line.p[line.n - 1] == '\n')
		line.n--;
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n > EVENT_LINE_MAX) {
		l->cut++;
		line.n = EVENT_LINE_MAX;
	}
	*ret = line;
	return 1;
}

void lines_close(struct lines *l)
{
	if (l->cut)
		fprintf(stderr, "isoctl: %llu lines were longer than %zu bytes and cut\n",
		        (unsigned long long)l->cut, EVENT_LINE_MAX);
	free(l->text);
	if (l->in && l->in != stdin)
		fclose(l->in);
}

/* ---- output ---- */

void rules_print_problems(FILE *out, const struct diags *diags, bool warnings)
{
	char line[4096];

	for (size_t i = 0; i < diags->count; i++)
		if (warnings || diags->items[i].severity == DIAG_ERROR)
			fprintf(out, "%s\n", diag_format(&diags->items[i], line, sizeof(line)));
	if (diags->errors + diags->warnings > diags->count)
		fprintf(out, "… and %zu more\n", diags->errors + diags->warnings - diags->count);
}

const char *rules_level(const struct rule *rule, char out[static LEVEL_NAME_MAX])
{
	return pbjson_enum(&isod__v1__level__descriptor, rule->level, out, LEVEL_NAME_MAX);
}
