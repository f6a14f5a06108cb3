/* isoctl rules check: what is wrong with Sigma rules. */
#include <limits.h>
#include <stdio.h>

#include "isoctl_rules.h"

static void print_problem(const struct diag *d)
{
	Isod__V1__RuleProblem p = ISOD__V1__RULE_PROBLEM__INIT;

	p.file = d->file;
	p.line = (uint32_t)d->line;
	p.column = (uint32_t)d->column;
	p.severity = (char *)(uintptr_t)(d->severity == DIAG_ERROR ? "error" : "warning");
	p.text = d->text;
	output_json(&p.base);
}

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
		output_json(&t.base);
		return;
	}
	printf("%llu rules, %llu correlations, %llu filters in %llu files: %llu errors, %llu "
	       "warnings\n",
	       (unsigned long long)t.rules, (unsigned long long)t.correlations,
	       (unsigned long long)t.filters, (unsigned long long)t.files,
	       (unsigned long long)t.errors, (unsigned long long)t.warnings);
}

int rules_check(const struct isoctl *ctl, int argc, char **argv)
{
	const char *placeholders = NULL, *logsources = NULL;
	bool strict = false, deny = false;
	const struct isoctl_option options[] = {{.name = "--strict", .flag = &strict},
	                                        {.name = "--deny-warnings", .flag = &deny},
	                                        {.name = "--logsources", .text = &logsources},
	                                        {.name = "--placeholders", .text = &placeholders},
	                                        {0}};
	struct placeholders *p = NULL;
	struct logsources *sources = NULL;
	struct ruleset *set = NULL;
	struct diags diags;

	if (isoctl_options(options, &argc, argv, INT_MAX) != 0)
		return 2;
	if (argc == 0)
		return rules_usage("check");
	diags_init(&diags);
	if (placeholders)
		placeholders_load(placeholders, &diags, &p);
	if (logsources)
		logsources_load(logsources, &diags, &sources);
	const struct ruleset_options o = {.logsources = sources,
	                                  .placeholders = p,
	                                  .lint = LINT_RULES | (strict ? LINT_CONVENTIONS : 0)};
	size_t before = diags.count;
	ruleset_load_with((const char *const *)argv, (size_t)argc, &o, &diags, &set);
	diags_sort(&diags, before);
	if (ctl->json)
		for (size_t i = 0; i < diags.count; i++)
			print_problem(&diags.items[i]);
	else
		rules_print_problems(stdout, &diags, true);
	print_totals(ctl, set, &diags);
	int r = diags.errors || (deny && diags.warnings) || !output_finish();
	ruleset_free(set);
	logsources_free(sources);
	placeholders_free(p);
	diags_release(&diags);
	return r;
}
