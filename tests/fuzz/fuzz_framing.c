/* The same bytes, at once and in pieces whose sizes the input chooses, must give the same frames. */
#include <stdlib.h>

#include "base/buf.h"
#include "ingest/framing.h"

#define MAX 64

static void add(struct buf *out, struct str frame, bool truncated)
{
	if (frame.n == 0 || frame.n > MAX)
		abort();
	buf_printf(out, "%zu%s ", frame.n, truncated ? "~" : "");
	buf_add(out, frame);
}

static void run(struct str in, struct str sizes, struct buf *out)
{
	struct framing f;
	struct buf rest;
	struct str frame;
	bool truncated, lost = false;
	size_t turn = 0;

	framing_init(&f, MAX);
	buf_init(&rest, 0);
	buf_init(out, 0);
	while (in.n && !lost) {
		size_t n = sizes.n ? 1 + (size_t)(unsigned char)sizes.p[turn++ % sizes.n] : in.n;
		enum framing_result r;
		buf_add(&rest, str_head(in, n));
		in = str_skip(in, n);
		do {
			size_t used = SIZE_MAX;
			r = framing_next(&f, buf_str(&rest), &used, &frame, &truncated);
			if (used > rest.n)
				abort();
			if (r == FRAMING_FRAME)
				add(out, frame, truncated);
			buf_consume(&rest, used);
		} while (r == FRAMING_FRAME);
		lost = r == FRAMING_LOST;
		if (!lost && rest.n >= MAX + FRAMING_EXTRA)
			abort();
	}
	if (lost)
		buf_putc(out, '!');
	else if (framing_end(&f, buf_str(&rest), &frame, &truncated))
		add(out, frame, truncated);
	buf_release(&rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4)
		return 0;
	struct str sizes = {(const char *)data, 4}, in = {(const char *)data + 4, size - 4};
	struct buf whole, pieces;

	run(in, STR_NONE, &whole);
	run(in, sizes, &pieces);
	if (!str_eq(buf_str(&whole), buf_str(&pieces)))
		abort();
	buf_release(&whole);
	buf_release(&pieces);
	return 0;
}
