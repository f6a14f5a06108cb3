/* struct isod: owns everything and wires the stages together. */
#ifndef ISOD_DAEMON_H
#define ISOD_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

#define ISOD_VERSION "0.1.0"

struct isod;

/* Opens state, binds sockets, starts Redis, plugins and worker threads. Takes over `config`, also on failure.
 * 0 and *ret, or -errno: the reason has been logged. */
int isod_start(struct config *config, struct isod **ret);
/* Serves until SIGTERM or SIGINT. */
void isod_loop(struct isod *d);
/* Ends in order: stops taking in, counts and makes durable what was taken in, ends children, frees. */
void isod_stop(struct isod *d);

#endif
