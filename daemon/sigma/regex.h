/* Sigma's `re`: PCRE2 (10.34 or later), searched for anywhere in the value, case-sensitive unless told otherwise.
 * Values are taken as UTF-8; where they are not, no character matches (PCRE2_MATCH_INVALID_UTF). */
#ifndef ISOD_SIGMA_REGEX_H
#define ISOD_SIGMA_REGEX_H

#include "base/str.h"

#define REGEX_PATTERN_MAX 65536 /* characters; the longest of SigmaHQ has 217 */
/* Steps back that one search may take from one starting point, the bound on patterns that explode. None of SigmaHQ's
 * searches in the 20,000 Windows events of the corpus comes near it. */
#define REGEX_STEPS_MAX   200000
#define REGEX_SUBJECT_MAX 65536 /* bytes of a value that are searched: the default frame limit */

enum regex_flag {
	REGEX_CASELESS = 1 << 0,  /* i */
	REGEX_MULTILINE = 1 << 1, /* m: ^ and $ at line ends too */
	REGEX_DOTALL = 1 << 2,    /* s: . matches line ends too */
};

struct regex;

/* The compiled expression (regex_free), or NULL with the reason and its offset in `pattern`. */
struct regex *regex_compile(struct str pattern, unsigned flags, char *error, size_t error_size,
                            size_t *ret_offset);
void regex_free(struct regex *r);
/* What it was compiled from. */
struct str regex_text(const struct regex *r);
unsigned regex_flags_of(const struct regex *r);

/* Working memory of one thread. */
struct regex_scratch;
struct regex_scratch *regex_scratch_new(void);
void regex_scratch_free(struct regex_scratch *s);

/* 1: found; 0: not found; -E2BIG: not found within REGEX_STEPS_MAX, or not in the first REGEX_SUBJECT_MAX bytes. */
int regex_search(const struct regex *r, struct regex_scratch *s, struct str subject);

#endif
