/* What isoctl_query.c and isoctl_status.c share. */
#ifndef ISOD_ISOCTL_QUERY_H
#define ISOD_ISOCTL_QUERY_H

#include "isoctl.h"

#define QUERY_WORD 48 /* the longest enum name */

/* An enum value's short name, into `out`. */
const char *query_enum(const ProtobufCEnumDescriptor *d, int value, char out[static QUERY_WORD]);

/* The command `status`. */
int query_status(const struct isoctl *ctl, int argc, char **argv);
/* `metrics --prometheus`. */
int query_prometheus(const struct isoctl *ctl);

#endif
