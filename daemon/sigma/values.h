/* What a rule can compare a field's text with besides text: numbers, networks, and parts of a date. */
#ifndef ISOD_SIGMA_VALUES_H
#define ISOD_SIGMA_VALUES_H

#include "base/str.h"

struct number {
	bool real; /* `d` counts; else `i` */
	int64_t i;
	double d;
};

/* Decimal integers and fractions with optional sign and exponent, and 0x hexadecimal; the whole text.
 * 0 or -EINVAL. */
int number_parse(struct str text, struct number *ret);
/* <0, 0, >0. */
int number_compare(const struct number *a, const struct number *b);

/* A network; IPv4 is held in its IPv6-mapped form, so that ::ffff:10.0.0.1 in an event lies in 10.0.0.0/8. */
struct network {
	uint8_t address[16];
	uint8_t prefix; /* of 128 */
};

/* "10.0.0.0/8", "fe80::/10", or one address. Bits past the prefix are cleared; *ret_stray tells if any were set.
 * 0 or -EINVAL. */
int network_parse(struct str text, struct network *ret, bool *ret_stray);
/* Is `text` an address (a zone such as %eth0 is ignored) inside the network? An IPv4 address lies in no network
 * that is shorter than the mapped range, ::/0 included. */
bool network_contains(const struct network *n, struct str text);

/* An address alone, as the network of only itself; false if `text` is none. */
bool address_parse(struct str text, struct network *ret);
/* Widens a network to a shorter prefix. */
void network_widen(struct network *n, uint8_t prefix);

enum time_part { TIME_NONE, TIME_MINUTE, TIME_HOUR, TIME_DAY, TIME_WEEK, TIME_MONTH, TIME_YEAR };

/* A part of a date that begins with YYYY-MM-DD, and for hour and minute goes on with "T" or a space and HH:MM, as
 * written: no time zone is applied (Sigma's modifier appendix says so). The week is ISO 8601's.
 * 0 or -EINVAL. */
int time_part_of(struct str text, enum time_part part, int64_t *ret);

#endif
