#include "base/diag.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

void diags_init(struct diags *d)
{
	*d = (struct diags){0};
}

void diags_release(struct diags *d)
{
	for (size_t i = 0; i < d->count; i++) {
		free(d->items[i].file);
		free(d->items[i].text);
	}
	free(d->items);
	diags_init(d);
}

void diag_add(struct diags *d, enum diag_severity severity, const char *file, int line, int column,
              const char *format, ...)
{
	va_list ap;
	char *text;

	if (severity == DIAG_ERROR)
		d->errors++;
	else
		d->warnings++;
	if (d->count == DIAGS_MAX)
		return;
	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = xstrdup("(no memory for the message)");
	va_end(ap);
	xgrow(&d->items, &d->cap, d->count + 1, sizeof(*d->items));
	d->items[d->count++] = (struct diag){
		.severity = severity,
		.file = xstrdup(file ? file : ""),
		.line = line,
		.column = column,
		.text = text,
	};
}

static int by_place(const void *left, const void *right)
{
	const struct diag *a = left, *b = right;
	int r = strcmp(a->file, b->file);

	if (r == 0)
		r = (a->line > b->line) - (a->line < b->line);
	if (r == 0)
		r = (a->column > b->column) - (a->column < b->column);
	return r ? r : strcmp(a->text, b->text);
}

void diags_sort(struct diags *d, size_t from)
{
	if (from < d->count)
		qsort(d->items + from, d->count - from, sizeof(*d->items), by_place);
}

/* The text may quote what stands in the file, so it is escaped like all that goes to a terminal. */
char *diag_format(const struct diag *d, char *out, size_t size)
{
	const char *kind = d->severity == DIAG_ERROR ? "error" : "warning";
	char *line;

	if (d->line <= 0)
		line = xasprintf("%s: %s: %s", d->file, kind, d->text);
	else if (d->column <= 0)
		line = xasprintf("%s:%d: %s: %s", d->file, d->line, kind, d->text);
	else
		line = xasprintf("%s:%d:%d: %s: %s", d->file, d->line, d->column, kind, d->text);
	log_escape(str_of(line), out, size);
	free(line);
	return out;
}

/* Upper case is no difference: NAME is a slip for name. */
static struct str lower(const char *word, char *out, size_t size)
{
	size_t n = 0;

	for (; n < size && word[n]; n++)
		out[n] = (char)tolower((unsigned char)word[n]);
	return str_make(out, n);
}

const char *diag_suggest(const char *word, const char *const *candidates, size_t count)
{
	char a[128], b[128]; /* longer than what str_distance() compares */
	struct str typed = lower(word, a, sizeof(a));
	size_t allowed = typed.n / 3 ? typed.n / 3 : 1;
	const char *nearest = NULL;

	for (size_t i = 0; i < count; i++) {
		struct str known = lower(candidates[i], b, sizeof(b));
		size_t distance = str_distance(typed, known);
		/* A word of two letters is one edit from nearly every other. */
		if (distance > allowed || distance >= known.n)
			continue;
		if (nearest && distance == allowed)
			continue;
		nearest = candidates[i];
		allowed = distance;
	}
	return nearest;
}
