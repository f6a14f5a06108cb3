/* MITRE ATT&CK in the tags of rules (Sigma's tags appendix): attack.TACTIC, attack.t1059[.001], and groups (g0032),
 * software (s0002), data sources (ds0009). */
#ifndef ISOD_SIGMA_ATTACK_H
#define ISOD_SIGMA_ATTACK_H

#include "base/str.h"

struct attack_tactic {
	const char *tag; /* behind "attack.", with hyphens */
	const char *name;
};

/* In the order of the matrix; the enterprise ones first, then those of industrial control systems. */
extern const struct attack_tactic attack_tactics[];
extern const size_t attack_tactic_count;

enum attack_kind { ATTACK_NONE, ATTACK_TACTIC, ATTACK_TECHNIQUE, ATTACK_OTHER, ATTACK_UNKNOWN };

/* What a tag in lower case is: ATTACK_NONE when it is no attack tag, ATTACK_UNKNOWN when it is one of no known form.
 * *ret_tactic: of a tactic its place in the table (words may be joined by - or _); else untouched. */
enum attack_kind attack_tag(struct str tag, size_t *ret_tactic);

#endif
