/* The same bytes, at once and in pieces whose sizes the input chooses, must give the same RELP frames. */
#include <stdlib.h>

#include "base/buf.h"
#include "ingest/relp.h"

#define MAX 64

static void add(struct buf *out, enum relp_result r, const struct relp_frame *f)
{
	if (r == RELP_END) {
		buf_printf(out, "%u$", f->txnr);
		return;
	}
	if (f->data.n > MAX || (f->truncated && f->data.n != MAX) || f->command.n == 0 ||
	    f->command.n > RELP_COMMAND_MAX)
		abort();
	buf_printf(out, "%u %zu%s ", f->txnr, f->data.n, f->truncated ? "~" : "");
	buf_add(out, f->command);
	buf_add(out, f->data);
}

static void run(struct str in, struct str sizes, struct buf *out)
{
	struct relp relp;
	struct relp_frame f;
	struct buf rest;
	enum relp_result r = RELP_MORE;
	size_t turn = 0;

	relp_init(&relp, MAX);
	buf_init(&rest, 0);
	buf_init(out, 0);
	while (in.n && r == RELP_MORE) {
		size_t n = sizes.n ? 1 + (size_t)(unsigned char)sizes.p[turn++ % sizes.n] : in.n;
		buf_add(&rest, str_head(in, n));
		in = str_skip(in, n);
		do {
			size_t used = SIZE_MAX;
			r = relp_next(&relp, buf_str(&rest), &used, &f);
			if (used > rest.n)
				abort();
			if (r < RELP_MORE)
				add(out, r, &f);
			buf_consume(&rest, used);
		} while (r < RELP_MORE);
		if (r == RELP_MORE && rest.n >= MAX + RELP_EXTRA)
			abort();
	}
	if (r == RELP_LOST)
		buf_printf(out, "!%s", relp.why);
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
