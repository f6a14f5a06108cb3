/* Where a Redis is: redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], rediss://… for TLS (the scheme names registered with
 * IANA), unix:///PATH. Parts before the '@' may be percent-encoded (RFC 3986 §2.1). */
#ifndef ISOD_BASE_REDIS_URL_H
#define ISOD_BASE_REDIS_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define REDIS_PORT            "6379"
#define REDIS_SOCKET_PATH_MAX 107 /* sockaddr_un.sun_path without its terminator, unix(7) */

struct redis_url {
	bool tls;
	char *host, *port;     /* NULL for a unix socket; an IPv6 address without its brackets */
	char *path;            /* unix socket, else NULL */
	char *user, *password; /* NULL: none */
	unsigned db;
	char *text; /* for people: the URL without its password */
};

/* 0 and *ret (redis_url_release), or -EINVAL and the reason in `error`, which never shows a password. */
int redis_url_parse(struct str text, struct redis_url *ret, char *error, size_t error_size);
/* That of the unix socket `path`. Same errors. */
int redis_url_of_socket(const char *path, struct redis_url *ret, char *error, size_t error_size);
void redis_url_release(struct redis_url *u);

#endif
