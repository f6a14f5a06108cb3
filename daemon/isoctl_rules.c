/* isoctl rules: checks Sigma rules, and tries them on a file of events, without the daemon. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pbjson.h"
#include "event/decode.h"
#include "isoctl.h"
#include "isoctl_options.h"
#include "sigma/match.h"
#include "tools.pb-c.h"

#define LINE_MAX_BYTES ((size_t)16 << 20) /* of an event's line; past it the rest is left out */
#define LEVEL_NAME_MAX 32

/* ---- shared ---- */

static void print_message(const ProtobufCMessage *message)
{
	struct buf line;

	buf_init(&line, 0);
	pbjson_append(&line, message);
	buf_putc(&line, '\n');
	fwrite(line.p, 1, line.n, stdout);
	buf_release(&line);
}

static void print_problem_json(const struct diag *d)
{
	Isod__V1__RuleProblem p = ISOD__V1__RULE_PROBLEM__INIT;

	p.file = d->file;
	p.line = (uint32_t)d->line;
	p.column = (uint32_t)d->column;
	p.severity = (char *)(uintptr_t)(d->severity == DIAG_ERROR ? "error" : "warning");
	p.text = d->text;
	print_message(&p.base);
}

static void print_problems(FILE *out, const struct diags *diags, bool warnings)
{
	char line[4096];

	for (size_t i = 0; i < diags->count; i++)
		if (warnings || diags->items[i].severity == DIAG_ERROR)
			fprintf(out, "%s\n", diag_format(&diags->items[i], line, sizeof(line)));
	if (diags->errors + diags->warnings > diags->count)
		fprintf(out, "… and %zu more\n", diags->errors + diags->warnings - diags->count);
}

/* True if standard output took everything. */
static bool finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	fprintf(stderr, "isoctl: cannot write the answer: %s\n", strerror(errno));
	return false;
}

/* NAME in the conf folder that belongs to this isoctl: beside the program, above it (a source tree's build/isoctl), or
 * /etc/isod. NULL if there is none; the caller frees. */
static char *find_conf(const char *name)
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

/* ---- check ---- */

static void print_totals(const struct isoctl *ctl, const struct ruleset *set,
                         const struct diags *diags)
{
	Isod__V1__RuleTotals t = ISOD__V1__RULE_TOTALS__INIT;

	t.files = set ? set->files : 0;
	t.rules = set ? set->count : 0;
	t.correlations = set ? set->correlation_count : 0;
	t.filters = set ? set->filters : 0;
	t.errors = diags->errors;
	t.warnings = diags->warnings;
	if (ctl->json) {
		print_message(&t.base);
		return;
	}
	printf("%llu rules, %llu correlations, %llu filters in %llu files: %llu errors, %llu "
	       "warnings\n",
	       (unsigned long long)t.rules, (unsigned long long)t.correlations,
	       (unsigned long long)t.filters, (unsigned long long)t.files,
	       (unsigned long long)t.errors, (unsigned long long)t.warnings);
}

static int load_placeholders(const char *file, struct diags *diags, struct placeholders **ret)
{
	return file ? placeholders_load(file, diags, ret) : 0;
}

static int rules_check(const struct isoctl *ctl, int argc, char **argv)
{
	const char *placeholders = NULL;
	const struct isoctl_option options[] = {{.name = "--placeholders", .text = &placeholders},
	                                        {0}};
	struct ruleset_options o = {0};
	struct placeholders *p = NULL;
	struct ruleset *set = NULL;
	struct diags diags;

	if (isoctl_options(options, &argc, argv, INT_MAX) != 0)
		return 2;
	if (argc == 0)
		return isoctl_usage(&isoctl_rules_commands[0]);
	diags_init(&diags);
	load_placeholders(placeholders, &diags, &p);
	o.placeholders = p;
	ruleset_load_with((const char *const *)argv, (size_t)argc, &o, &diags, &set);
	if (ctl->json)
		for (size_t i = 0; i < diags.count; i++)
			print_problem_json(&diags.items[i]);
	else
		print_problems(stdout, &diags, true);
	print_totals(ctl, set, &diags);
	int r = diags.errors || !finish_output();
	ruleset_free(set);
	placeholders_free(p);
	diags_release(&diags);
	return r;
}

/* ---- match ---- */

struct match_run {
	const struct isoctl *ctl;
	struct logsources *logsources;
	struct patterns *patterns;
	struct placeholders *placeholders;
	struct ruleset *rules;
	struct decoder *decoder;
	struct matcher *matcher;
	struct event event;
	uint64_t lines, matches, cut;
};

static void print_match(struct match_run *run, const struct rule *rule)
{
	const ProtobufCEnumDescriptor *levels = &isod__v1__level__descriptor;
	char level[LEVEL_NAME_MAX], title[512];
	Isod__V1__RuleMatch m = ISOD__V1__RULE_MATCH__INIT;

	pbjson_enum(levels, rule->level, level, sizeof(level));
	if (!run->ctl->json) {
		printf("%7llu  %-13s  %-36.*s  %s\n", (unsigned long long)run->lines, level,
		       STR_FMT(rule->id), log_escape(rule->title, title, sizeof(title)));
		return;
	}
	m.event = run->lines;
	m.rule = (char *)(uintptr_t)rule->id.p; /* texts of a rule set are terminated */
	m.title = (char *)(uintptr_t)rule->title.p;
	m.level = level;
	m.n_tags = rule->tag_count;
	m.tags = xcalloc(rule->tag_count, sizeof(char *));
	for (size_t i = 0; i < rule->tag_count; i++)
		m.tags[i] = (char *)(uintptr_t)rule->tags[i].p;
	print_message(&m.base);
	free(m.tags);
}

static void match_line(struct match_run *run, struct str line, uint64_t now_ns)
{
	struct logsource_set sources;
	const struct rule *const *hits;
	struct event *e = &run->event;

	event_reset(e);
	e->received_ns = now_ns;
	e->source = STR("file");
	event_decode(run->decoder, e, line);
	if (run->logsources)
		logsources_classify(run->logsources, e, &sources);
	size_t n = matcher_run(run->matcher, e, run->logsources ? &sources : NULL, &hits);
	run->matches += n;
	for (size_t i = 0; i < n; i++)
		print_match(run, hits[i]);
}

/* Every line is an event; empty ones only count as lines. */
static int match_file(struct match_run *run, FILE *in)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	uint64_t now = clock_now();

	while ((n = getline(&line, &cap, in)) >= 0) {
		struct str text = str_make(line, (size_t)n);
		run->lines++;
		if (text.n && text.p[text.n - 1] == '\n')
			text.n--;
		if (text.n && text.p[text.n - 1] == '\r')
			text.n--;
		if (text.n > LINE_MAX_BYTES) {
			run->cut++;
			text.n = LINE_MAX_BYTES;
		}
		if (text.n)
			match_line(run, text, now);
	}
	free(line);
	return ferror(in) ? -EIO : 0;
}

static int load_conf(struct match_run *run, const char *logsources, const char *patterns,
                     const char *placeholders, struct diags *diags)
{
	char *own_logsources = logsources ? xstrdup(logsources) : find_conf("logsources.yaml");
	char *own_patterns = patterns ? xstrdup(patterns) : find_conf("patterns.yaml");
	int r = 0;

	if (!own_logsources)
		fprintf(stderr, "isoctl: no conf/logsources.yaml found: every rule is tried on "
		                "every event, under the names that the events use\n");
	else
		r = logsources_load(own_logsources, diags, &run->logsources);
	if (r == 0 && own_patterns)
		r = patterns_load(own_patterns, diags, &run->patterns);
	if (r == 0)
		r = load_placeholders(placeholders, diags, &run->placeholders);
	free(own_logsources);
	free(own_patterns);
	return r;
}

static void match_release(struct match_run *run)
{
	matcher_free(run->matcher);
	decoder_free(run->decoder);
	event_release(&run->event);
	ruleset_free(run->rules);
	placeholders_free(run->placeholders);
	patterns_free(run->patterns);
	logsources_free(run->logsources);
}

static int match_events(struct match_run *run, const char *events)
{
	bool from_stdin = strcmp(events, "-") == 0;
	FILE *in = from_stdin ? stdin : fopen(events, "re");
	int r;

	if (!in) {
		fprintf(stderr, "isoctl: %s: %s\n", events, strerror(errno));
		return -errno;
	}
	run->decoder = decoder_new(run->patterns);
	run->matcher = matcher_new(run->rules);
	if (!run->ctl->json)
		printf("%7s  %-13s  %-36s  %s\n", "EVENT", "LEVEL", "RULE", "TITLE");
	r = match_file(run, in);
	if (r < 0)
		fprintf(stderr, "isoctl: %s: cannot be read to its end\n", events);
	if (!from_stdin)
		fclose(in);
	return r;
}

static void print_summary(const struct match_run *run, size_t errors)
{
	uint64_t limited = matcher_limited(run->matcher);

	if (!run->ctl->json)
		printf("%llu matches of %zu rules in %llu lines\n",
		       (unsigned long long)run->matches, run->rules->count,
		       (unsigned long long)run->lines);
	if (limited)
		fprintf(stderr, "isoctl: %llu tests were cut short by a bound and did not hold\n",
		        (unsigned long long)limited);
	if (run->cut)
		fprintf(stderr, "isoctl: %llu lines were longer than %zu bytes and cut\n",
		        (unsigned long long)run->cut, LINE_MAX_BYTES);
	if (errors)
		fprintf(stderr, "isoctl: %zu errors: what has them was not tried\n", errors);
}

/* Takes the words "--rules" out: what stands behind them are the arguments that are left. */
static void take_rules(int *argc, char **argv)
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

static int rules_match(const struct isoctl *ctl, int argc, char **argv)
{
	const char *events = NULL, *logsources = NULL, *patterns = NULL, *placeholders = NULL;
	const struct isoctl_option options[] = {
		{.name = "--events", .text = &events},
		{.name = "--logsources", .text = &logsources},
		{.name = "--patterns", .text = &patterns},
		{.name = "--placeholders", .text = &placeholders},
		{0},
	};
	struct match_run run = {.ctl = ctl};
	struct diags diags;

	take_rules(&argc, argv);
	if (isoctl_options(options, &argc, argv, INT_MAX) != 0)
		return 2;
	if (argc == 0 || !events)
		return isoctl_usage(&isoctl_rules_commands[1]);
	diags_init(&diags);
	event_setup(&run.event);
	int r = load_conf(&run, logsources, patterns, placeholders, &diags);
	if (r == 0) {
		struct ruleset_options o = {run.logsources, run.placeholders};
		r = ruleset_load_with((const char *const *)argv, (size_t)argc, &o, &diags,
		                      &run.rules);
	}
	print_problems(stderr, &diags, false);
	if (r == 0)
		r = match_events(&run, events);
	if (r == 0)
		print_summary(&run, diags.errors);
	r = r < 0 || diags.errors || !finish_output();
	match_release(&run);
	diags_release(&diags);
	return r;
}

const struct isoctl_command isoctl_rules_commands[] = {
	{"rules", "check", "[--placeholders FILE] PATH…",
         "tells what is wrong with Sigma rules (files or folders), then the totals; status 1 on "
         "errors",
         rules_check},
	{"rules", "match",
         "--rules PATH… --events FILE|- [--logsources FILE] [--patterns FILE] [--placeholders "
         "FILE]",
         "which rules hold for each line of FILE; rules with errors are told on stderr, left out, "
         "and "
         "make the status 1. logsources.yaml and patterns.yaml are looked for in conf/ beside this "
         "program, ../conf, ../../conf, then /etc/isod",
         rules_match},
	{0},
};
