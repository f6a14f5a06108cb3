/* Classes of bytes as the C locale and the formats of logs have them: one look into a table, where ctype.h would ask
 * for the locale's. */
#ifndef ISOD_BASE_CHARS_H
#define ISOD_BASE_CHARS_H

#include "base/str.h"

enum char_class {
	CHAR_SPACE = 1 << 0, /* isspace() */
	CHAR_DIGIT = 1 << 1,
	CHAR_UPPER = 1 << 2,
	CHAR_LOWER = 1 << 3,
	CHAR_ADDRESS = 1 << 4,  /* what IPv4 and IPv6 addresses are written with, but for a scope */
	CHAR_HOST = 1 << 5,     /* names of hosts in messages: alphanumeric or one of . : - _ % */
	CHAR_HOST_TOO = 1 << 6, /* names of hosts in headers may also have / and @ */
	CHAR_TAG = 1 << 7,      /* of a syslog tag: printable, and nothing that only text has */
};

#define CHAR_ALPHA (CHAR_UPPER | CHAR_LOWER)
#define CHAR_ALNUM (CHAR_ALPHA | CHAR_DIGIT)

extern const uint8_t char_classes[256];

static inline bool char_is(char c, unsigned classes)
{
	return (char_classes[(unsigned char)c] & classes) != 0;
}

/* Bytes from the start that are of one of the classes. */
static inline size_t char_run(struct str s, unsigned classes)
{
	size_t n = 0;

	while (n < s.n && char_is(s.p[n], classes))
		n++;
	return n;
}

/* Bytes up to the first that is of one of them, or all. */
static inline size_t char_run_not(struct str s, unsigned classes)
{
	size_t n = 0;

	while (n < s.n && !char_is(s.p[n], classes))
		n++;
	return n;
}

#endif
