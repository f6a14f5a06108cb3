/* Case folding for Sigma's case-insensitive comparison: ASCII, and the simple pairs of Latin, Greek, Cyrillic and
 * Armenian letters in U+0080–U+07FF (Unicode's CaseFolding.txt, status C). All of these keep their length in UTF-8, so
 * a folded text has the offsets of the original and a field's value folds in place. Letters that would change their
 * length (ſ, İ, K for kelvin) and scripts past U+07FF stay as they are. Bytes that are no valid UTF-8 pass unchanged. */
#ifndef ISOD_SIGMA_FOLD_H
#define ISOD_SIGMA_FOLD_H

#include "base/str.h"

/* Writes in.n bytes to `out`, which may be in.p itself. */
void fold_text(struct str in, char *out);

#endif
