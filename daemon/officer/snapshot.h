/* Snapshot files: the state after one ledger record, so that a start folds only what came after it. They stand in
 * STATE/snapshots/, named by the sequence, 20 decimal digits and ".snap". Numbers are little-endian:
 *
 *   offset size
 *        0    8  "ISODSNAP"
 *        8    4  version of this format: 1
 *       12    4  flags: 0
 *       16    8  sequence of the last ledger record that the state holds
 *       24   32  the ledger's chain value after that record
 *       56    …  the state (officer/save.h), one zstd frame (RFC 8878)
 *        …   32  SHA-256 of all bytes before it
 *
 * A file is written beside its place (".tmp"), synced and renamed, so that what has the name is whole unless the disk
 * loses it; the SHA-256 tells. It can be lost: the ledger is the truth. */
#ifndef ISOD_OFFICER_SNAPSHOT_H
#define ISOD_OFFICER_SNAPSHOT_H

#include "base/hash.h"
#include "officer/state.h"

#define SNAPSHOT_NAME_BYTES 26 /* 20 digits, ".snap" and the terminator */

void snapshot_name(uint64_t sequence, char out[static SNAPSHOT_NAME_BYTES]);
/* The sequences of the snapshots in the folder, the newest first; none when there is no folder. The caller frees *ret.
 * 0 or -errno. */
int snapshot_list(const char *dir, uint64_t **ret, size_t *ret_count);

/* What a writing needs that may not be made in a forked child of a process with threads. */
struct snapshot_tools;
struct snapshot_tools *snapshot_tools_new(void);
void snapshot_tools_free(struct snapshot_tools *t);

/* Writes the state, whose last record has the chain value `chain`, into the folder, which is made if it is not there.
 * Takes no lock and logs nothing. 0 or -errno; then nothing of it is left behind if that can be removed. */
int snapshot_write(struct snapshot_tools *t, const char *dir, const struct state *s,
                   const uint8_t chain[static SHA256_BYTES]);

/* Loads the snapshot of that sequence into `s`, which is as state_init() leaves it. 0 and the chain value in `chain`;
 * -EBADMSG with `error` saying why not: then `s` can only be released. */
int snapshot_load(const char *dir, uint64_t sequence, struct state *s,
                  uint8_t chain[static SHA256_BYTES], char *error, size_t error_size);

/* Removes the snapshots older than the newest `keep` and what a killed writer left behind. Returns the sequence of the
 * oldest that is kept, 0 if fewer than `keep` are there. */
uint64_t snapshot_prune(const char *dir, size_t keep);

#endif
