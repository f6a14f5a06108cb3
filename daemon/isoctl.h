/* isoctl's command families, one file each (isoctl_*.c), and what they share. Exit status: 0 done, 1 the thing asked for
 * did not hold (a rule is broken, a ledger is damaged, no such incident), 2 usage, 3 the daemon cannot be reached. */
#ifndef ISOD_ISOCTL_H
#define ISOD_ISOCTL_H

#include <stdbool.h>
#include <stdio.h>

#include "api.pb-c.h"

struct isoctl {
	bool json;          /* --json: NDJSON for lists, one object otherwise */
	const char *socket; /* --socket PATH (or $ISOD_SOCKET) */
	const char *host;   /* --host HOST:PORT with --ca, --cert, --key: the API over TLS */
	const char *ca, *cert, *key;
	bool quiet; /* that the daemon is away is not told: the caller tries again */
};

struct isoctl_command {
	const char *family, *verb; /* verb NULL: the family has none ("status") */
	const char *arguments;     /* for usage */
	const char *help;
	int (*run)(const struct isoctl *ctl, int argc,
	           char **argv); /* argv[0] is the first argument */
};

/* Each ends with an entry whose family is NULL. */
extern const struct isoctl_command isoctl_rules_commands[];
extern const struct isoctl_command isoctl_ledger_commands[];
extern const struct isoctl_command isoctl_verify_commands[];
extern const struct isoctl_command isoctl_send_commands[];
extern const struct isoctl_command
	isoctl_query_commands[]; /* status, incidents, risk, metrics, watch … */
extern const struct isoctl_command isoctl_backup_commands[]; /* backup, restore, ledger digest */

/* Prints the command's usage to stderr; returns 2. */
int isoctl_usage(const struct isoctl_command *c);

#endif
