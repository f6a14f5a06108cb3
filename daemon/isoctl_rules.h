/* What the commands of `isoctl rules` share: isoctl_rules_*.c, one file each. They need no daemon (unless they say so):
 * rules, the log-source table and the patterns are read as the daemon reads them, and events take the same way. */
#ifndef ISOD_ISOCTL_RULES_H
#define ISOD_ISOCTL_RULES_H

#include "event/decode.h"
#include "isoctl.h"
#include "log/evidence.h"
#include "isoctl_options.h"
#include "isoctl_output.h"
#include "sigma/compile.h"
#include "sigma/match.h"
#include "tools.pb-c.h"

/* The commands. Each returns an exit status (isoctl.h). */
int rules_backtest(const struct isoctl *ctl, int argc, char **argv);
int rules_check(const struct isoctl *ctl, int argc, char **argv);
int rules_coverage(const struct isoctl *ctl, int argc, char **argv);
int rules_explain(const struct isoctl *ctl, int argc, char **argv);
int rules_match(const struct isoctl *ctl, int argc, char **argv);
int rules_reload(const struct isoctl *ctl, int argc, char **argv); /* asks the daemon */
int rules_stats(const struct isoctl *ctl, int argc, char **argv);  /* asks the daemon */

int rules_test(const struct isoctl *ctl, int argc, char **argv);

/* Tells how the command is used; returns 2. */
int rules_usage(const char *verb);

/* ---- input ---- */

/* The options and arguments of a command that takes paths of rules, with or without the word "--rules" before them: the
 * options go where they belong, `least` arguments or more are left. 0, or 2 when it is used otherwise. */
int rules_arguments(const char *verb, const struct isoctl_option *options, int least, int *argc,
                    char **argv);

/* Where the other files are; NULL: looked for (rules_find_conf), for placeholders: none. */
struct stage_files {
	const char *logsources, *patterns, *placeholders;
};

/* The options of the same names, for a command's table. */
#define STAGE_OPTIONS(files)                                                                       \
	{.name = "--logsources", .text = &(files).logsources},                                     \
		{.name = "--patterns", .text = &(files).patterns},                                 \
	{                                                                                          \
		.name = "--placeholders", .text = &(files).placeholders                            \
	}
#define STAGE_USAGE "[--logsources FILE] [--patterns FILE] [--placeholders FILE]"
#define STAGE_HELP                                                                                 \
	"logsources.yaml and patterns.yaml are looked for in conf/ beside this program, ../conf, " \
	"../../conf, then /etc/isod"

/* Decode, classify, match: as the daemon wires them. */
struct stages {
	struct logsources *logsources; /* NULL: every rule is tried on every event */
	struct patterns *patterns;
	struct placeholders *placeholders;
	struct ruleset *rules;
	struct compiled *compiled; /* NULL unless stages_compile */
	struct decoder *decoder;
	struct matcher *matcher;
	struct event event; /* the last one that was decoded */
	struct logsource_set sources;
	uint64_t incomplete; /* events of which fields past a limit were left out (event/event.h) */
};

/* Loads everything. Errors in rules leave those rules out and are in `diags`; 0, or -errno when it cannot go on.
 * stages_release in any case. */
int stages_load(struct stages *s, const struct stage_files *files, char **paths, int count,
                struct diags *diags);
/* From now on matches with the compiled rule set, which is worth its making for more than a handful of events.
 * `cache`: where compiled patterns are kept between runs; NULL: nowhere. Warnings are in `diags`. */
void stages_compile(struct stages *s, const char *cache, struct diags *diags);
void stages_release(struct stages *s);
/* Makes s->event and s->sources of a frame, which must stay until the next one. */
#define STAGE_FILE                                                                                 \
	STR("isod/file") /* the source of a file's events: isod's own are believed to be that */
void stages_decode(struct stages *s, struct str frame, struct str source, uint64_t received_ns);
/* The same for a record of evidence. */
void stages_decode_stored(struct stages *s, const struct record *r, const struct evidence *e);
/* The rules that hold for s->event. */
size_t stages_match(struct stages *s, const struct rule *const **ret_hits);

#define EVENT_LINE_MAX                                                                             \
	((size_t)16 << 20) /* bytes of an event's line; past it the rest is left out */

/* A file of events, one a line. */
struct lines {
	FILE *in;
	const char *name;
	char *text;
	size_t cap;
	uint64_t number; /* of the line at hand, from 1 */
	uint64_t cut;    /* lines that were longer than EVENT_LINE_MAX */
};

/* "-" is standard input. 0, or -errno after a message. */
int lines_open(struct lines *l, const char *file);
/* 1 and the next line, without its end (it may be empty); 0 at the end; -EIO after a message. */
int lines_next(struct lines *l, struct str *ret);
/* Tells on stderr what was cut. One of zeros is allowed. */
void lines_close(struct lines *l);

/* NAME in the conf folder that belongs to this isoctl: beside the program, above it (a source tree's build/isoctl), or
 * /etc/isod. NULL if there is none; the caller frees. */
char *rules_find_conf(const char *name);

/* ---- output ---- */

/* The findings, errors only or warnings too. */
void rules_print_problems(FILE *out, const struct diags *diags, bool warnings);
/* "high"; into `out`. */
#define LEVEL_NAME_MAX 32
const char *rules_level(const struct rule *rule, char out[static LEVEL_NAME_MAX]);

#endif
