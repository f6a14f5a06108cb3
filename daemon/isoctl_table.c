#include "isoctl_table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"

#define GAP        2  /* cells between columns */
#define LAST_LEAST 12 /* cells that the last column has however narrow the terminal */
#define NAME_CELLS 14 /* of table_line */

/* ---- text for a terminal ---- */

static uint32_t code_point(const char *p, size_t n)
{
	static const uint8_t lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t c = (uint8_t)p[0] & lead[n];

	for (size_t i = 1; i < n; i++)
		c = c << 6 | ((uint8_t)p[i] & 0x3f);
	return c;
}

/* What terminals obey or hide: C0, DEL, C1, and what turns the direction of text or has no width. */
static bool is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

/* Cells of a code point, near enough: combining marks none, East Asian wide ones and pictures two. */
static size_t cells_of(uint32_t c)
{
	if (c >= 0x300 && c <= 0x36f)
		return 0;
	return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
	                       (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
	                       (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
	                       (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd)
	               ? 2
	               : 1;
}

size_t table_safe(struct buf *out, const char *text, size_t cells)
{
	static const char dots[] = "…";
	struct str s = str_of(text);
	size_t width = 0, room_end = out->n, room_width = 0; /* where "…" still fits */
	char hidden[16];

	for (size_t n; s.n; s = str_skip(s, n)) {
		n = utf8_sequence(s);
		uint32_t c = n ? code_point(s.p, n) : 0;
		struct str piece = str_head(s, n);
		size_t w = cells_of(c);
		if (n == 0 || is_unsafe(c)) {
			int length = n ? snprintf(hidden, sizeof(hidden),
			                          c < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)c)
			               : snprintf(hidden, sizeof(hidden), "\\x%02x",
			                          (unsigned)(uint8_t)s.p[0]);
			piece = str_make(hidden, (size_t)length);
			w = piece.n;
			n = n ? n : 1;
		}
		if (cells && width + w > cells) {
			out->n = room_end;
			buf_append(out, dots, sizeof(dots) - 1);
			return room_width + 1;
		}
		buf_add(out, piece);
		width += w;
		if (width < cells) {
			room_end = out->n;
			room_width = width;
		}
	}
	return width;
}

size_t table_width(void)
{
	struct winsize size;
	const char *columns = getenv("COLUMNS");
	uint64_t n;

	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		return size.ws_col;
	return columns && str_to_u64(str_of(columns), &n) == 0 && n < 10000 ? (size_t)n : 0;
}

/* ---- tables ---- */

void table_init(struct table *t, const struct table_column *columns, size_t count)
{
	*t = (struct table){.columns = columns, .count = count};
}

void table_add(struct table *t, const char *format, ...)
{
	va_list ap;

	xgrow(&t->cells, &t->cap, t->used + 1, sizeof(*t->cells));
	struct buf *cell = &t->cells[t->used++];
	buf_init(cell, 0);
	va_start(ap, format);
	buf_vprintf(cell, format, ap);
	va_end(ap);
}

static void print_cell(const char *text, size_t width, bool right, bool last, bool cut)
{
	struct buf safe;

	buf_init(&safe, 0);
	size_t w = table_safe(&safe, text, cut ? width : 0);
	int pad = width > w ? (int)(width - w) : 0;
	if (right)
		printf("%*s", pad, "");
	fwrite(buf_cstr(&safe), 1, safe.n, stdout);
	if (!right && !last)
		printf("%*s", pad, "");
	printf("%*s", last ? 0 : GAP, "");
	if (last)
		putchar('\n');
	buf_release(&safe);
}

static size_t widest_of(const struct table *t, size_t column)
{
	const struct table_column *c = &t->columns[column];
	size_t width = strlen(c->title);
	struct buf scratch;

	buf_init(&scratch, 0);
	for (size_t i = column; i < t->used; i += t->count) {
		buf_reset(&scratch);
		size_t w = table_safe(&scratch, buf_cstr(&t->cells[i]), c->widest);
		width = w > width ? w : width;
	}
	buf_release(&scratch);
	return width;
}

void table_print(struct table *t)
{
	size_t width[TABLE_COLUMNS_MAX] = {0}, taken = 0, line = table_width();

	if (t->count == 0 || t->count > TABLE_COLUMNS_MAX)
		abort();
	for (size_t i = 0; i < t->count; i++) {
		width[i] = widest_of(t, i);
		if (i + 1 < t->count)
			taken += width[i] + GAP;
	}
	size_t *last = &width[t->count - 1];
	bool cut = line > 0;
	if (cut && taken + *last > line)
		*last = line > taken + LAST_LEAST ? line - taken : LAST_LEAST;
	for (size_t i = 0; t->used && i < t->count; i++)
		print_cell(t->columns[i].title, width[i], t->columns[i].right, i + 1 == t->count,
		           cut && i + 1 == t->count);
	for (size_t i = 0; i < t->used; i++) {
		size_t column = i % t->count;
		bool end = column + 1 == t->count;
		print_cell(buf_cstr(&t->cells[i]), width[column], t->columns[column].right, end,
		           !end || cut);
		buf_release(&t->cells[i]);
	}
	free(t->cells);
}

size_t table_vsafe(struct buf *out, size_t cells, const char *format, va_list ap)
{
	struct buf text;

	buf_init(&text, 0);
	buf_vprintf(&text, format, ap);
	size_t width = table_safe(out, buf_cstr(&text), cells);
	buf_release(&text);
	return width;
}

void table_line(const char *name, const char *format, ...)
{
	struct buf safe;
	size_t line = table_width();
	va_list ap;

	buf_init(&safe, 0);
	va_start(ap, format);
	table_vsafe(&safe,
	            line == 0                        ? 0
	            : line > NAME_CELLS + LAST_LEAST ? line - NAME_CELLS
	                                             : LAST_LEAST,
	            format, ap);
	va_end(ap);
	printf("%-*s%s\n", NAME_CELLS, name, buf_cstr(&safe));
	buf_release(&safe);
}

const char *table_age(uint64_t then_ns, char out[static 24])
{
	uint64_t now = clock_now(), age = now > then_ns ? now - then_ns : 0;
	static const struct {
		uint64_t unit;
		const char *name;
	} units[] = {
		{NS_PER_DAY, "d"}, {NS_PER_HOUR, "h"}, {NS_PER_MINUTE, "m"}, {NS_PER_SECOND, "s"}};
	size_t i = 0;

	if (then_ns == 0)
		return strcpy(out, "-");
	/* Two of a unit at least: 90 minutes say more than one hour. */
	while (i + 1 < ARRAY_LEN(units) && age < 2 * units[i].unit)
		i++;
	snprintf(out, 24, "%llu%s", (unsigned long long)(age / units[i].unit), units[i].name);
	return out;
}
