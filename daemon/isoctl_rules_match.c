/* isoctl rules match: which rules hold for each line of a file. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "isoctl_rules.h"

static void print_match(const struct isoctl *ctl, uint64_t line, const struct rule *rule)
{
	char level[LEVEL_NAME_MAX], title[512];
	Isod__V1__RuleMatch m = ISOD__V1__RULE_MATCH__INIT;

	rules_level(rule, level);
	if (!ctl->json) {
		printf("%7llu  %-13s  %-36.*s  %s\n", (unsigned long long)line, level,
		       STR_FMT(rule->id), log_escape(rule->title, title, sizeof(title)));
		return;
	}
	m.event = line;
	m.rule = (char *)(uintptr_t)rule->id.p; /* texts of a rule set are terminated */
	m.title = (char *)(uintptr_t)rule->title.p;
	m.level = level;
	m.n_tags = rule->tag_count;
	m.tags = xcalloc(rule->tag_count, sizeof(char *));
	for (size_t i = 0; i < rule->tag_count; i++)
		m.tags[i] = (char *)(uintptr_t)rule->tags[i].p;
	output_json(&m.base);
	free(m.tags);
}

static void print_summary(const struct isoctl *ctl, const struct stages *s, uint64_t lines,
                          uint64_t matches)
{
	uint64_t limited = matcher_limited(s->matcher);

	if (!ctl->json)
		printf("%llu matches of %zu rules in %llu lines\n", (unsigned long long)matches,
		       s->rules->count, (unsigned long long)lines);
	if (limited)
		fprintf(stderr, "isoctl: %llu tests were cut short by a bound and did not hold\n",
		        (unsigned long long)limited);
	if (s->incomplete)
		fprintf(stderr,
		        "isoctl: %llu events had more than %d fields, or more than %d levels of "
		        "them: the rest was left out, or left as text\n",
		        (unsigned long long)s->incomplete, EVENT_FIELDS_MAX, EVENT_DEPTH_MAX);
}

/* Every line is an event; empty ones only count as lines. */
static int match_file(const struct isoctl *ctl, struct stages *s, const char *file)
{
	const struct rule *const *hits;
	uint64_t now = clock_now(), matches = 0;
	struct lines lines;
	struct str line;
	int r = lines_open(&lines, file);

	if (r < 0)
		return r;
	if (!ctl->json)
		printf("%7s  %-13s  %-36s  %s\n", "EVENT", "LEVEL", "RULE", "TITLE");
	while ((r = lines_next(&lines, &line)) > 0) {
		if (line.n == 0)
			continue;
		stages_decode(s, line, STAGE_FILE, now);
		size_t n = stages_match(s, &hits);
		matches += n;
		for (size_t i = 0; i < n; i++)
			print_match(ctl, lines.number, hits[i]);
	}
	if (r == 0)
		print_summary(ctl, s, lines.number, matches);
	lines_close(&lines);
	return r;
}

int rules_match(const struct isoctl *ctl, int argc, char **argv)
{
	struct stage_files files = {0};
	const char *events = NULL, *cache = NULL;
	bool naive = false;
	const struct isoctl_option options[] = {{.name = "--events", .text = &events},
	                                        {.name = "--cache", .text = &cache},
	                                        {.name = "--naive", .flag = &naive},
	                                        STAGE_OPTIONS(files),
	                                        {0}};
	struct stages stages;
	struct diags diags;

	if (rules_arguments("match", options, 1, &argc, argv) != 0)
		return 2;
	if (!events)
		return rules_usage("match");
	diags_init(&diags);
	int r = stages_load(&stages, &files, argv, argc, &diags);
	if (r == 0 && !naive)
		stages_compile(&stages, cache, &diags);
	rules_print_problems(stderr, &diags, false);
	if (r == 0)
		r = match_file(ctl, &stages, events);
	if (r == 0 && diags.errors)
		fprintf(stderr, "isoctl: %zu errors: what has them was not tried\n", diags.errors);
	r = r < 0 || diags.errors || !output_finish();
	stages_release(&stages);
	diags_release(&diags);
	return r;
}
