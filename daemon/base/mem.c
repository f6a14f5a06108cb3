#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(size_t size)
{
	fprintf(stderr, "isod: out of memory (%zu bytes wanted)\n", size);
	abort();
}

void *xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);
	if (!p)
		out_of_memory(size);
	return p;
}

void *xcalloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);
	if (!p)
		out_of_memory(count * size);
	return p;
}

void *xrealloc(void *p, size_t size)
{
	p = realloc(p, size ? size : 1);
	if (!p)
		out_of_memory(size);
	return p;
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t n)
{
	char *copy = xmalloc(n + 1);
	memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

char *xasprintf(const char *format, ...)
{
	char *out;
	va_list ap;
	va_start(ap, format);
	int n = vasprintf(&out, format, ap);
	va_end(ap);
	if (n < 0)
		out_of_memory(0);
	return out;
}

void xgrow(void *items, size_t *cap, size_t need, size_t size)
{
	size_t to = *cap ? *cap : 8;
	void *p;

	if (need <= *cap)
		return;
	if (need > SIZE_MAX / 4 || (size && need > SIZE_MAX / 4 / size))
		out_of_memory(SIZE_MAX);
	while (to < need)
		to *= 2;
	/* `items` points to a pointer of some type, which a void ** must not alias. */
	memcpy(&p, items, sizeof(p));
	p = xrealloc(p, to * size);
	memcpy(items, &p, sizeof(p));
	*cap = to;
}
