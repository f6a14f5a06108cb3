/* What a plugin process, and every program that it starts, may do: a list of system calls (seccomp(2), through
 * libseccomp), no privileges gained by execve, and limits of resources. Plugins speak to the outside and run the
 * operator's scripts, so this is what programs that compute, read and write files and use the network need; not what
 * administers a machine: mounts, namespaces, modules, clocks, other processes' memory, raw packets. A call outside the
 * list fails with ENOSYS, as on an older kernel, so that programs fall back to another. */
#ifndef ISOD_ESCALATE_SANDBOX_H
#define ISOD_ESCALATE_SANDBOX_H

#include "base/child.h"

struct sandbox;

/* Builds the filter once, for all plugins. 0 and *ret, to be freed with sandbox_free; or -errno. */
int sandbox_new(struct sandbox **ret);
void sandbox_free(struct sandbox *s);
/* For child_spawn. Lives as long as `s`. */
const struct child_confinement *sandbox_confinement(const struct sandbox *s);

#endif
