/* Tables for people: columns as wide as what stands in them, cut to the terminal, nothing in them that a terminal
 * obeys. */
#ifndef ISOD_ISOCTL_TABLE_H
#define ISOD_ISOCTL_TABLE_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"

#define TABLE_COLUMNS_MAX 8

struct table_column {
	const char *title;
	size_t widest; /* cells; what is longer is cut; 0: whatever the line leaves (the last column) */
	bool right; /* numbers */
};

struct table {
	const struct table_column *columns;
	size_t count;
	struct buf *cells; /* row after row */
	size_t used, cap;
};

void table_init(struct table *t, const struct table_column *columns, size_t count);
/* The next cell, row by row. */
void table_add(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints the rows under their titles (nothing when there are none) and releases the table. */
void table_print(struct table *t);

/* Cells a line has: of the terminal, else $COLUMNS, else 0: no limit. */
size_t table_width(void);
/* `text` safe for a terminal, cut to `cells` (0: not cut), into `out`. Returns its width in cells. */
size_t table_safe(struct buf *out, const char *text, size_t cells);
/* The same of a format. */
size_t table_vsafe(struct buf *out, size_t cells, const char *format, va_list ap);
/* Prints a safe "name     text" line, text cut to the line. */
void table_line(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "3s", "12m", "5h", "8d" since `then`; "-" for 0; into `out`. Returns `out`. */
const char *table_age(uint64_t then_ns, char out[static 24]);

#endif
