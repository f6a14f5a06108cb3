/* A frame is looked at from its start again with each piece that arrives: its header is at most 54 bytes, and behind it
 * only its length is compared. So there is no state between the calls but of a frame that is being skipped. */
#include "ingest/relp.h"

void relp_init(struct relp *r, size_t frame_max)
{
	*r = (struct relp){.frame_max = frame_max};
}

static enum relp_result lost(struct relp *r, const char *why)
{
	r->why = why;
	return RELP_LOST;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Bytes from `at` on that are of the kind, one more than `max` at most. */
static size_t span(struct str in, size_t at, bool (*is)(char), size_t max)
{
	size_t n = 0;

	while (n <= max && at + n < in.n && is(in.p[at + n]))
		n++;
	return n;
}

/* 1 to 9 digits at *at and what follows them, which must be there to know that the number has ended. */
static enum relp_result number(struct relp *r, struct str in, size_t *at, uint32_t *ret)
{
	size_t n = span(in, *at, is_digit, RELP_DIGITS_MAX);
	uint32_t value = 0;

	if (n > RELP_DIGITS_MAX)
		return lost(r, "a number of more than 9 digits");
	if (*at + n == in.n)
		return RELP_MORE;
	if (n == 0)
		return lost(r, "a number is missing");
	for (size_t i = 0; i < n; i++)
		value = value * 10 + (uint32_t)(in.p[*at + i] - '0');
	*ret = value;
	*at += n;
	return RELP_FRAME;
}

static enum relp_result word(struct relp *r, struct str in, size_t *at, struct str *ret)
{
	size_t n = span(in, *at, is_letter, RELP_COMMAND_MAX);

	if (n > RELP_COMMAND_MAX)
		return lost(r, "a command of more than 32 letters");
	if (*at + n == in.n)
		return RELP_MORE;
	if (n == 0)
		return lost(r, "a command is missing");
	*ret = str_make(in.p + *at, n);
	*at += n;
	return RELP_FRAME;
}

/* in.p[*at] is there. */
static enum relp_result space(struct relp *r, struct str in, size_t *at)
{
	if (in.p[*at] != ' ')
		return lost(r, "a space is missing in the header");
	++*at;
	return RELP_FRAME;
}

/* The header up to the byte behind DATALEN. */
static enum relp_result header(struct relp *r, struct str in, size_t *at, struct relp_frame *ret,
                               uint32_t *ret_length)
{
	enum relp_result result = number(r, in, at, &ret->txnr);

	if (result == RELP_FRAME)
		result = space(r, in, at);
	if (result == RELP_FRAME)
		result = word(r, in, at, &ret->command);
	if (result == RELP_FRAME)
		result = space(r, in, at);
	if (result == RELP_FRAME)
		result = number(r, in, at, ret_length);
	if (result == RELP_FRAME && *ret_length > RELP_DATA_MAX)
		return lost(r, "a frame of more than 16 MiB");
	if (result == RELP_FRAME && *ret_length)
		result = space(r, in, at);
	return result;
}

/* What is left of a frame that was cut. */
static enum relp_result skip(struct relp *r, struct str in, size_t *ret_used,
                             struct relp_frame *ret)
{
	size_t n = r->skip < in.n ? r->skip : in.n;

	r->skip -= (uint32_t)n;
	*ret_used = n;
	if (n == in.n)
		return RELP_MORE;
	if (in.p[n] != '\n')
		return lost(r, "a frame does not end with a newline");
	++*ret_used;
	r->cut = false;
	*ret = (struct relp_frame){.txnr = r->txnr};
	return RELP_END;
}

enum relp_result relp_next(struct relp *r, struct str in, size_t *ret_used, struct relp_frame *ret)
{
	struct relp_frame f = {0};
	uint32_t length = 0;
	size_t at = 0;

	if (r->cut)
		return skip(r, in, ret_used, ret);
	*ret_used = 0;
	enum relp_result result = header(r, in, &at, &f, &length);
	if (result != RELP_FRAME)
		return result;
	size_t keep = length < r->frame_max ? length : r->frame_max, left = in.n - at;
	f.truncated = length > keep;
	if (left < keep || (left == keep && !f.truncated))
		return RELP_MORE;
	f.data = str_make(in.p + at, keep);
	at += keep;
	if (f.truncated) {
		r->cut = true;
		r->skip = length - (uint32_t)keep;
		r->txnr = f.txnr;
	} else if (in.p[at++] != '\n') {
		return lost(r, "a frame does not end with a newline");
	}
	*ret_used = at;
	*ret = f;
	return RELP_FRAME;
}
