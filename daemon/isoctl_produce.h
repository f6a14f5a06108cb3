/* isoctl send --producer: lines become numbered frames on the protobuf socket, each taken exactly once. */
#ifndef ISOD_ISOCTL_PRODUCE_H
#define ISOD_ISOCTL_PRODUCE_H

#include "isoctl.h"

struct produce_options {
	const char *producer, *source; /* `source` may be NULL */
	uint64_t first; /* sequence of the first line; 0: one after the last that isod has */
};

/* Sends the files ("-": stdin), one after the other. Returns the exit status. */
int produce_files(const struct isoctl *ctl, const struct produce_options *o, int count,
                  char *const *files);

#endif
