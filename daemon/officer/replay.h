/* state = fold(ledger): the fold of a ledger that is on the disk. */
#ifndef ISOD_OFFICER_REPLAY_H
#define ISOD_OFFICER_REPLAY_H

#include "base/hash.h"
#include "officer/state.h"

struct replay_facts {
	uint64_t records; /* folded */
	uint8_t chain
		[SHA256_BYTES]; /* the chain value after the last record that was read; zeros before the first */
};

/* Folds the records of the ledger in `dir` that come after s->sequence, up to and with `until`, into `s`, without
 * effects. `chain`: NULL, or what the ledger's chain value after the record s->sequence must be; -ESTALE with `error` if
 * the ledger has no such record or another chain value. 0 and *ret; -EBADMSG or -errno with `error`: then `s` holds
 * everything before the bad record. */
int replay_ledger(const char *dir, struct state *s, const uint8_t *chain, uint64_t until,
                  struct replay_facts *ret, char *error, size_t error_size);

#endif
