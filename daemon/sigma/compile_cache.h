/* Pattern databases in a file, DIR/KEY.hs, so that a restart need not compile them. KEY is the SHA-256 of all that
 * they depend on: patterns, flags, Hyperscan's version, the processor. */
#ifndef ISOD_SIGMA_COMPILE_CACHE_H
#define ISOD_SIGMA_COMPILE_CACHE_H

#include "base/buf.h"
#include "base/hash.h"

/* SigmaHQ takes about 10 MB. */
#define COMPILE_CACHE_MAX ((size_t)1 << 30)
#define COMPILE_CACHE_KEPT                                                                         \
	3 /* files in the folder, the newest: rule sets come back when a change is undone */

/* Appends what was saved under that key. 0, -ENOENT, -EBADMSG (damaged, or of somebody else) or -errno. */
int compile_cache_load(const char *dir, const uint8_t key[static SHA256_BYTES], struct buf *out);
/* Writes the file at once or not at all, and removes the oldest ones. 0 or -errno. */
int compile_cache_save(const char *dir, const uint8_t key[static SHA256_BYTES], struct str body);

#endif
