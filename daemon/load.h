/* The configuration and what it names, read with every diagnostic printed to stderr: what a start and `isod --check` share. */
#ifndef ISOD_LOAD_H
#define ISOD_LOAD_H

#include "config/config.h"

struct content;

/* config_load(). 0 and *ret; -EINVAL or -errno. */
int load_config(const char *file, struct config **ret);
/* Rules, log sources, patterns: reload_content(). 0 and *ret, one reference of it; -EINVAL. */
int load_content(const struct config *config, struct content **ret);
/* Everything the configuration names is read and validated, and counted on stdout. Frees `config`. 0, or -EINVAL when there
 * is an error. */
int load_check(struct config *config);

#endif
