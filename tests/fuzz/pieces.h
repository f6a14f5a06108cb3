/* What fuzzers of stream parsers share: the same bytes, at once and in pieces whose sizes the input chooses (its first four
 * bytes), must give the same. A parser is a struct pieces; where it looks at what has arrived, and says what it made of
 * it, as text, is its own business. */
#ifndef ISOD_FUZZ_PIECES_H
#define ISOD_FUZZ_PIECES_H

#include <stdlib.h>

#include "base/buf.h"

#define FRAME_MAX 64 /* of the parser: small, so that inputs reach it */

enum pieces_result { PIECES_FRAME, PIECES_MORE, PIECES_LOST };

struct pieces {
	size_t rest_max; /* what may be left when it wants more */
	void (*begin)(void);
	/* Looks for one frame; appends to `out` what came of it. */
	enum pieces_result (*next)(struct str in, size_t *ret_used, struct buf *out);
	void (*end)(struct str rest, bool lost, struct buf *out);
};

static void pieces_run(const struct pieces *p, struct str in, struct str sizes, struct buf *out)
{
	enum pieces_result r = PIECES_MORE;
	struct buf rest;
	size_t turn = 0;

	p->begin();
	buf_init(&rest, 0);
	buf_init(out, 0);
	while (in.n && r == PIECES_MORE) {
		size_t n = sizes.n ? 1 + (size_t)(unsigned char)sizes.p[turn++ % sizes.n] : in.n;
		buf_add(&rest, str_head(in, n));
		in = str_skip(in, n);
		do {
			size_t used = SIZE_MAX;
			r = p->next(buf_str(&rest), &used, out);
			if (used > rest.n)
				abort();
			buf_consume(&rest, used);
		} while (r == PIECES_FRAME);
		if (r == PIECES_MORE && rest.n >= p->rest_max)
			abort();
	}
	p->end(buf_str(&rest), r == PIECES_LOST, out);
	buf_release(&rest);
}

static void pieces_compare(const struct pieces *p, const uint8_t *data, size_t size)
{
	if (size < 4)
		return;
	struct str sizes = {(const char *)data, 4}, in = {(const char *)data + 4, size - 4};
	struct buf whole, some;

	pieces_run(p, in, STR_NONE, &whole);
	pieces_run(p, in, sizes, &some);
	if (!str_eq(buf_str(&whole), buf_str(&some)))
		abort();
	buf_release(&whole);
	buf_release(&some);
}

#endif
