/* The state as it was when the daemon ended: from the newest snapshot that fits the ledger, and the ledger after it. */
#ifndef ISOD_OFFICER_RECOVER_H
#define ISOD_OFFICER_RECOVER_H

#include "officer/replay.h"

struct recovery {
	uint64_t snapshot; /* the sequence that was begun from; 0: the ledger's beginning */
	struct replay_facts facts;
	size_t refused; /* snapshots that are damaged or do not fit the ledger … */
	char why[512];  /* … and what is wrong with the first of them */
};

/* Into `s`, which is as state_init() leaves it. `snapshots` NULL: none are looked for. A snapshot that cannot be used is
 * passed over for an older one, and in the end for the whole ledger: each is logged. 0 and *ret, or -errno with `error`,
 * when the ledger is damaged or does not reach back to the snapshot. Then `s` can only be released. */
int state_recover(struct state *s, const char *ledger, const char *snapshots, struct recovery *ret,
                  char *error, size_t error_size);

#endif
