/* The same bytes, at once and in pieces, must give the same RELP frames. */
#include "ingest/relp.h"
#include "pieces.h"

static struct relp relp;

static void begin(void)
{
	relp_init(&relp, FRAME_MAX);
}

static void add(struct buf *out, enum relp_result r, const struct relp_frame *f)
{
	if (r == RELP_END) {
		buf_printf(out, "%u$", f->txnr);
		return;
	}
	if (f->data.n > FRAME_MAX || (f->truncated && f->data.n != FRAME_MAX) ||
	    f->command.n == 0 || f->command.n > RELP_COMMAND_MAX)
		abort();
	buf_printf(out, "%u %zu%s ", f->txnr, f->data.n, f->truncated ? "~" : "");
	buf_add(out, f->command);
	buf_add(out, f->data);
}

static enum pieces_result next(struct str in, size_t *ret_used, struct buf *out)
{
	struct relp_frame f;
	enum relp_result r = relp_next(&relp, in, ret_used, &f);

	if (r < RELP_MORE)
		add(out, r, &f);
	return r < RELP_MORE ? PIECES_FRAME : r == RELP_MORE ? PIECES_MORE : PIECES_LOST;
}

static void end(struct str rest, bool lost, struct buf *out)
{
	(void)rest;
	if (lost)
		buf_printf(out, "!%s", relp.why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pieces p = {
		.rest_max = FRAME_MAX + RELP_EXTRA, .begin = begin, .next = next, .end = end};

	pieces_compare(&p, data, size);
	return 0;
}
