/* isoctl rules: the commands for the people who write rules. */
#include <string.h>

#include "isoctl_rules.h"

int rules_usage(const char *verb)
{
	const struct isoctl_command *c = isoctl_rules_commands;

	while (c->family && strcmp(c->verb, verb) != 0)
		c++;
	return isoctl_usage(c);
}

const struct isoctl_command isoctl_rules_commands[] = {
	{"rules", "check",
         "[--strict] [--deny-warnings] [--logsources FILE] [--placeholders FILE] PATH…",
         "tells what is wrong with Sigma rules (files or folders), then the totals; status 1 on "
         "errors. Warnings are what makes no sense: dead filters, conditions that never hold, the "
         "same "
         "detection twice; with --logsources also sources that the table does not know; with "
         "--strict also "
         "what SigmaHQ does not do. --deny-warnings: status 1 on warnings",
         rules_check},
	{"rules", "match", "--rules PATH… --events FILE|- [--naive] [--cache DIR] " STAGE_USAGE,
         "which rules hold for each line of FILE; rules with errors are told on stderr, left out, "
         "and make the status 1. --naive tries every rule as it is written, which gives the same "
         "answers, slower; --cache keeps compiled patterns for the next run. " STAGE_HELP,
         rules_match},
	{"rules", "explain", "ID --rules PATH… --event FILE|- [--line N] " STAGE_USAGE,
         "why the rule with that id, name or title holds for line N (1) of FILE or not: log "
         "source, "
         "condition, every selection and value",
         rules_explain},
	{"rules", "test", "PATH… [--tests DIR] [--junit FILE] " STAGE_USAGE,
         "runs the tests of rules: for PATH/a/b.yml those in PATH/a/tests/b.yml, "
         "PATH/tests/a/b.yml, "
         "PATH/../tests/a/b.yml or DIR/a/b.yml; status 1 when one fails. conf/rules/README.md has "
         "the "
         "format",
         rules_test},
	{"rules", "backtest",
         "--rules PATH… --evidence DIR [--from TIME] [--to TIME] [--summary] " STAGE_USAGE,
         "which rules would have held for the frames that isod has stored in DIR (a state "
         "directory, "
         "its evidence, or one worker's), and the sum for each rule; a daemon may be running on it",
         rules_backtest},
	{"rules", "coverage",
         "--rules PATH… [--layer FILE] [--events FILE|-] [--evidence DIR] [--offline] " STAGE_USAGE,
         "which ATT&CK techniques have rules, by tactic, and which of these have a log source that "
         "reports: as the running daemon tells, or the events, or the stored evidence; --offline: "
         "nobody is asked. --layer writes a layer for the ATT&CK Navigator",
         rules_coverage},
	{"rules", "reload", "",
         "the daemon loads rules, log sources, patterns and placeholders anew, all or nothing; "
         "status 1 when something is wrong with them and the old ones go on",
         rules_reload},
	{"rules", "stats", "[--limit N]",
         "what the rules that run have cost and how often they have held, the most expensive "
         "first; "
         "all of them with --json, N (20) without",
         rules_stats},
	{0},
};
