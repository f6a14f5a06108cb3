/* Who an event is from, as fields that the sender cannot choose: what it calls so itself is renamed "claimed.…".
 *
 *   isod.listener     the first part of the source
 *   isod.peer         the rest of it: an address, or what the listener knows instead
 *   isod.certificate  each name in the peer's certificate: common name, then subjectAltNames (DNS, address, e-mail, URI)
 *   isod.fingerprint  its fingerprint, as in RFC 5425 section 4.2.2
 *   isod.host         "agrees" when the host that the event names is one of those names, or the peer's address; else
 *                     "differs". Not there when the event names no host, or not all names are known.
 *
 * A host agrees with a name when both are the same, without regard to letter case; when one of them is a single label
 * and the other's first label is that one; or when the name is a wildcard that fits (RFC 5425 section 5.2). */
#ifndef ISOD_EVENT_ORIGIN_H
#define ISOD_EVENT_ORIGIN_H

#include "base/tls.h"

struct event; /* event/event.h; libevent has one of its own, and who knows that may call origin_identity */

/* The identity of a peer as evidence keeps it: 1 byte ORIGIN_*, the fingerprint and all names, each terminated. */
#define ORIGIN_MORE         1 /* there are more names than these */
#define ORIGIN_IDENTITY_MAX (1 + TLS_FINGERPRINT_MAX + TLS_NAMES_BYTES)

/* Returns how many bytes of `out` it takes. */
size_t origin_identity(const struct tls_certificate *c, char out[static ORIGIN_IDENTITY_MAX]);

/* Between event_decode and logsources_classify. The source is e->source; `identity` may be empty, and must live as long as
 * the event. */
void origin_put(struct event *e, struct str identity);

#endif
