/* Which of many short texts occur in a long one, letter case aside (ASCII), in one pass. Built once, then read-only and
 * shared by threads. */
#ifndef ISOD_EVENT_NEEDLES_H
#define ISOD_EVENT_NEEDLES_H

#include "base/str.h"

#define NEEDLE_MIN     4     /* bytes of the shortest that can be looked for */
#define NEEDLES_FILTER 16384 /* bits: of what a busy file asks for some hundred are set */

struct needle_gram {
	uint32_t gram;
	uint32_t needle; /* its number + 1; 0: a free place */
	uint32_t offset; /* of the gram in it */
};

struct needles {
	struct str *texts;
	size_t count, cap;
	size_t stride; /* a gram is taken from every so manieth byte of a text; 0: not built */
	struct needle_gram *grams;
	size_t size; /* of `grams`, a power of two */
	uint64_t filter[NEEDLES_FILTER / 64];
};

/* Its number: they are counted from 0. The text, of at least NEEDLE_MIN bytes, must live as long as the needles. */
size_t needles_add(struct needles *n, struct str text);
/* After the last was added. */
void needles_build(struct needles *n);
void needles_release(struct needles *n);

/* Calls `found` with the number of each that occurs in the text; maybe more than once. */
void needles_find(const struct needles *n, struct str text, void (*found)(void *arg, size_t number),
                  void *arg);

#endif
