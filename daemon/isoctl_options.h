/* The options behind a command of isoctl: a table of names and where their values go. */
#ifndef ISOD_ISOCTL_OPTIONS_H
#define ISOD_ISOCTL_OPTIONS_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

/* Exactly one of the places is set, it tells what the value must be. */
struct isoctl_option {
	const char *name;  /* "--limit" */
	const char **text; /* any text; points into argv */
	uint64_t *number;  /* decimal, at most `most` (0: any) */
	uint64_t most;
	uint64_t *time; /* RFC 3339, or a duration back from now ("2h"): ns since 1970 UTC */
	bool *flag;     /* takes no value */
	int *choice;    /* a short name of `choices` ("high") */
	const ProtobufCEnumDescriptor *choices;
};

/* Takes the options (ending with a NULL name) out of argv wherever they stand ("--limit 5" and "--limit=5"; "--" ends
 * them) and leaves the other arguments, *argc of them, at most `arguments`. 0, or 2 with a message on stderr. */
int isoctl_options(const struct isoctl_option *options, int *argc, char **argv, int arguments);

#endif
