/* What is wrong with a file that a person wrote: collected, so that one run tells everything, each with
 * the place in the file. Rendered as "FILE:LINE:COLUMN: error: TEXT", the shape editors and CI know. */
#ifndef ISOD_BASE_DIAG_H
#define ISOD_BASE_DIAG_H

#include <stdbool.h>
#include <stddef.h>

enum diag_severity { DIAG_ERROR, DIAG_WARNING };

struct diag {
	enum diag_severity severity;
	char *file;
	int line, column; /* from 1; 0: the file as a whole */
	char *text;
};

#define DIAGS_MAX 10000 /* a broken tree of rules is told in full; past this only counted */

struct diags {
	struct diag *items;
	size_t count, cap;
	size_t errors, warnings; /* all that were added, also past DIAGS_MAX */
};

void diags_init(struct diags *d);
void diags_release(struct diags *d);
void diag_add(struct diags *d, enum diag_severity severity, const char *file, int line, int column,
              const char *format, ...) __attribute__((format(printf, 6, 7)));
/* Puts those from index `from` on into the order of file, line and column. */
void diags_sort(struct diags *d, size_t from);
/* One line into `out` (terminated, cut to fit). Returns `out`. */
char *diag_format(const struct diag *d, char *out, size_t size);

/* The candidate nearest to `word` if it is near enough to be a slip (distance at most a third of its
 * length, at least 1), or NULL. */
const char *diag_suggest(const char *word, const char *const *candidates, size_t count);

#endif
