/* Socket addresses as text and back. */
#ifndef ISOD_BASE_NET_H
#define ISOD_BASE_NET_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/str.h"

#define NET_TEXT_MAX 64 /* "[IPv6%scope]:port" fits */

/* Numeric only: "192.0.2.1:514", "[::1]:514", "*:514" and ":514" (any IPv6 and, dual-stack, IPv4).
 * Fills *ret and *ret_length; 0 or -EINVAL. */
int net_parse(struct str text, struct sockaddr_storage *ret, socklen_t *ret_length);

/* The address without its port; an IPv4 address mapped into IPv6 as IPv4. `out` holds NET_TEXT_MAX.
 * Anything but IPv4 and IPv6 gives "unix". Returns `out`. */
char *net_host(const struct sockaddr *sa, char out[static NET_TEXT_MAX]);
/* With the port: "192.0.2.1:514", "[::1]:514". */
char *net_text(const struct sockaddr *sa, char out[static NET_TEXT_MAX]);

/* True if `s` is a whole IPv4 or IPv6 address. Writes its canonical text (RFC 5952) to `out` if given. */
bool net_is_address(struct str s, char *out);
/* Loopback or unspecified: names no remote party. */
bool net_is_local(struct str s);

#endif
