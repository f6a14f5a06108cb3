/* isod --replay: the state anew from a copy of the logs, for an auditor, a bug report, a test. */
#ifndef ISOD_REPLAY_H
#define ISOD_REPLAY_H

#include <stdint.h>

/* Folds the ledger in `dir` (or in `dir`/ledger) up to sequence `until`, from its beginning or, when that was removed,
 * from the oldest snapshot in `dir`/snapshots that fits, and prints how many records it has, the time of
 * the last one, the chain's head, both digests (officer/digest.h) and how long it took. Writes nothing. 0 or -errno: the
 * reason stands on stderr. */
int isod_replay(const char *dir, uint64_t until);

#endif
