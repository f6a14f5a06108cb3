/* The same bytes, at once and in pieces, must give the same frames of RFC 6587. */
#include "ingest/framing.h"
#include "pieces.h"

static struct framing framing;

static void begin(void)
{
	framing_init(&framing, FRAME_MAX);
}

static void add(struct buf *out, struct str frame, bool truncated)
{
	if (frame.n == 0 || frame.n > FRAME_MAX)
		abort();
	buf_printf(out, "%zu%s ", frame.n, truncated ? "~" : "");
	buf_add(out, frame);
}

static enum pieces_result next(struct str in, size_t *ret_used, struct buf *out)
{
	struct str frame;
	bool truncated;
	enum framing_result r = framing_next(&framing, in, ret_used, &frame, &truncated);

	if (r == FRAMING_FRAME)
		add(out, frame, truncated);
	return r == FRAMING_FRAME ? PIECES_FRAME : r == FRAMING_LOST ? PIECES_LOST : PIECES_MORE;
}

static void end(struct str rest, bool lost, struct buf *out)
{
	struct str frame;
	bool truncated;

	if (lost)
		buf_putc(out, '!');
	else if (framing_end(&framing, rest, &frame, &truncated))
		add(out, frame, truncated);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pieces p = {
		.rest_max = FRAME_MAX + FRAMING_EXTRA, .begin = begin, .next = next, .end = end};

	pieces_compare(&p, data, size);
	return 0;
}
