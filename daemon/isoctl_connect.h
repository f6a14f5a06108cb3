/* Sockets of isoctl: non-blocking, every wait is a poll with a limit. */
#ifndef ISOD_ISOCTL_CONNECT_H
#define ISOD_ISOCTL_CONNECT_H

#include <stdbool.h>

#include "base/tls.h"

#define CONNECT_HOST_MAX 256
#define CONNECT_MS       10000

/* Waits for POLLIN or POLLOUT, `ms` < 0: for ever. 0 (or interrupted: try again), -ETIMEDOUT, -errno. */
int connect_wait(int fd, short events, int ms);
/* The same for what TLS waits for after -EAGAIN. */
int connect_wait_tls(int fd, const struct tls *tls, int ms);

/* A socket connected to a path. `type`: SOCK_STREAM or SOCK_DGRAM. -ENAMETOOLONG: no socket has such a path. */
int connect_unix(const char *path, int type, int *ret_fd);
/* HOST:PORT or [IPv6]:PORT taken apart; the port, a number from 1 to 65535 or a service's
 * name, stands in `address`. False when it is neither. */
bool connect_split(const char *address, char host[static CONNECT_HOST_MAX], const char **ret_port);
/* To the first of the host's addresses that answers. Of an error *ret_why tells in words, until the next strerror(). */
int connect_inet(const char *host, const char *port, int type, int *ret_fd, const char **ret_why);

#endif
