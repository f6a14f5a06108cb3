/* Values for the placeholders that `expand` fills in: %name% in a rule's value becomes each of the name's values.
 * They are Sigma strings of their own (`srv*`). */
#ifndef ISOD_SIGMA_PLACEHOLDERS_H
#define ISOD_SIGMA_PLACEHOLDERS_H

#include "base/arena.h"
#include "base/diag.h"

struct placeholders;

/* A YAML map of names to a value or a list of values. 0 with *ret (placeholders_free), or -EINVAL/-errno with
 * everything that is wrong in `diags`. */
int placeholders_load(const char *file, struct diags *diags, struct placeholders **ret);
void placeholders_free(struct placeholders *p);

/* Fills in `text`: *ret is an array of *ret_count texts in the arena, every combination of the values of its
 * placeholders. `\%` is a plain percent sign. A name that the table (may be NULL) does not have stays as written and is
 * told in *ret_unknown (else STR_NONE). *bytes is how much text may still be made, and is reduced by what was.
 * 0, or -E2BIG when that is not enough or more than `max` texts would come of it. */
int placeholders_expand(const struct placeholders *p, struct arena *arena, struct str text,
                        size_t max, size_t *bytes, struct str **ret, size_t *ret_count,
                        struct str *ret_unknown);

#endif
