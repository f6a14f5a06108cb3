/* Times as devices write them. All without a zone are taken as UTC: a log line does not tell where it was
 * written. */
#ifndef ISOD_EVENT_STAMP_H
#define ISOD_EVENT_STAMP_H

#include "base/str.h"

/* RFC 3339 ("2026-11-23T18:00:00.123+01:00", also with a space or a comma), and what is sent as RFC 3164:
 * "Nov 23 18:00:00", "Nov  3 …", "23 Nov 2026 …", "Nov 23 2026 18:00:00", "2026 Nov 23 …", "Mon Nov 23 …", and of
 * web servers "23/Nov/2026:18:00:00" and "2026/11/23 18:00:00", with
 * fractions, followed by a zone (UTC, CEST, +02:00, TZ-6) and the year, in any sensible order of these.
 * True when `text` begins with something of that shape; *ret_used (may be NULL) is its length. *ret_ns is 0 when
 * the shape is right but there is no such day or hour. A year that is left out is the one that brings the time
 * nearest before received_ns + 1 day. */
bool stamp_parse(struct str text, uint64_t received_ns, uint64_t *ret_ns, size_t *ret_used);

/* Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size, with or without a
 * fraction. False if `text` is no number from 1973 (100,000,000 s) to 2554. */
bool stamp_epoch(struct str text, uint64_t *ret_ns);

#endif
