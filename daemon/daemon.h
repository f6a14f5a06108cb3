/* struct isod: owns everything and wires the stages together. */
#ifndef ISOD_DAEMON_H
#define ISOD_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

#define ISOD_VERSION "0.1.0"

struct isod;

/* config_load with every diagnostic printed to stderr. */
int isod_load_config(const char *file, struct config **ret);

/* Everything the configuration names is read and validated: rules, log sources, patterns. Prints every diagnostic to
 * stderr and frees `config`. 0, or -EINVAL when there is an error. */
int isod_check(const struct config *config);

/* Opens state, binds sockets, starts Redis, plugins and worker threads. Takes over `config`, also on failure.
 * 0 and *ret, or -errno: the reason has been logged. */
int isod_start(struct config *config, struct isod **ret);
/* Serves until SIGTERM or SIGINT. */
void isod_loop(struct isod *d);
/* Ends in order: stops taking in, counts and makes durable what was taken in, ends children, frees. */
void isod_stop(struct isod *d);

#endif
