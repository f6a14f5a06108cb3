/* Why the first byte alone does not decide: RFC 6587 lets a receiver take a digit for an octet count, and then one
 * line such as "2026-11-23T18:00:00Z host app: …" would swallow two thousand bytes of what follows. So the whole
 * prefix is looked at before anything is believed, and a number that no count can be is told apart once more into
 * what is surely broken (close: nothing behind it can be trusted) and what is surely text (keep: nothing is lost). */
#include "ingest/framing.h"

#define DIGITS_LOOKED_AT 24 /* more digits begin a text: no time is written with as many */

#define LINE_END_EXTRA 2 /* bytes of a line's end before the newline: CR, NUL */

enum prefix {
	PREFIX_TEXT,
	PREFIX_COUNT,
	PREFIX_LOST,
	PREFIX_OPEN, /* depends on bytes that have not arrived */
};

void framing_init(struct framing *f, size_t frame_max)
{
	*f = (struct framing){.frame_max = frame_max};
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A date as YYYYMMDD, or as many digits as times since 1970 and longer dates have. */
static bool may_be_time(struct str digits)
{
	const char *p = digits.p;

	if (digits.n > FRAMING_COUNT_DIGITS)
		return true;
	if (digits.n != 8 || (p[0] != '1' && p[0] != '2'))
		return false;
	int month = (p[4] - '0') * 10 + (p[5] - '0'), day = (p[6] - '0') * 10 + (p[7] - '0');
	return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* What `in` (not empty) begins with. For PREFIX_COUNT *ret_count and *ret_header, the bytes before the message. */
static enum prefix prefix_of(struct str in, uint64_t *ret_count, size_t *ret_header)
{
	uint64_t count = 0;
	size_t n = 0;

	while (n < in.n && n <= DIGITS_LOOKED_AT && is_digit(in.p[n])) {
		if (n < FRAMING_COUNT_DIGITS)
			count = count * 10 + (uint64_t)(in.p[n] - '0');
		n++;
	}
	if (n == 0 || n > DIGITS_LOOKED_AT)
		return PREFIX_TEXT;
	if (n == in.n)
		return PREFIX_OPEN;
	if (in.p[n] != ' ')
		return PREFIX_TEXT;
	if (in.p[0] != '0' && n <= FRAMING_COUNT_DIGITS && count <= FRAMING_COUNT_MAX) {
		*ret_count = count;
		*ret_header = n + 1;
		return PREFIX_COUNT;
	}
	if (in.p[0] != '0' && !may_be_time(str_head(in, n)))
		return PREFIX_LOST;
	if (n + 1 == in.n)
		return PREFIX_OPEN;
	return in.p[n + 1] == '<' ? PREFIX_LOST : PREFIX_TEXT;
}

/* Index of the byte that ends the line, or -1. */
static ptrdiff_t line_end(struct framing *f, struct str in)
{
	ptrdiff_t newline = str_find(in, '\n');
	struct str line = newline < 0 ? in : str_head(in, (size_t)newline);
	size_t at = 0;

	for (ptrdiff_t nul; (nul = str_find(str_skip(line, at), '\0')) >= 0;) {
		at += (size_t)nul + 1;
		f->nul_ends |= at < line.n && line.p[at] == '<';
		if (f->nul_ends)
			return (ptrdiff_t)at - 1;
	}
	return newline;
}

/* Throws away what is left of a cut line. False when its end has not arrived. */
static bool skip_line(struct framing *f, struct str in, size_t *at)
{
	ptrdiff_t end = line_end(f, str_skip(in, *at));

	if (end >= 0) {
		*at += (size_t)end + 1;
		f->skip_line = false;
		return true;
	}
	/* A NUL is kept: it ends the line if the next byte says so. */
	*at = in.n > *at && in.p[in.n - 1] == '\0' ? in.n - 1 : in.n;
	return false;
}

/* Throws away what is left of a cut frame. False when its end has not arrived. */
static bool skip_rest(struct framing *f, struct str in, size_t *at)
{
	if (f->skip) {
		size_t left = in.n - *at;
		size_t n = f->skip < left ? (size_t)f->skip : left;
		*at += n;
		f->skip -= n;
		return f->skip == 0;
	}
	return !f->skip_line || skip_line(f, in, at);
}

static bool is_line_end(char c)
{
	return c == '\r' || c == '\0';
}

/* CR before the newline, and the NUL of senders that end messages with both. */
static struct str without_line_end(struct str line)
{
	for (int i = 0; i < LINE_END_EXTRA && line.n && is_line_end(line.p[line.n - 1]); i++)
		line.n--;
	return line;
}

/* Some senders count the line end that they add. */
static struct str without_counted_end(struct str s)
{
	if (s.n && s.p[s.n - 1] == '\n')
		s.n--;
	return without_line_end(s);
}

/* The line that `in` begins with, or false: its end has not arrived. */
static bool take_line(struct framing *f, struct str in, size_t *ret_used, struct str *ret,
                      bool *ret_truncated)
{
	ptrdiff_t end = line_end(f, in);

	/* So far over the limit it cannot become a whole frame, whatever the last bytes turn out to be. */
	if (end < 0 && in.n < f->frame_max + LINE_END_EXTRA + 2)
		return false;
	struct str line = without_line_end(end < 0 ? in : str_head(in, (size_t)end));
	*ret_truncated = end < 0 || line.n > f->frame_max;
	*ret = str_head(line, f->frame_max);
	if (end < 0) {
		*ret_used = f->frame_max;
		f->skip_line = true;
	} else {
		*ret_used = (size_t)end + 1;
	}
	return true;
}

/* The same for `count` bytes behind a header. */
static bool take_counted(struct framing *f, struct str in, uint64_t count, size_t header,
                         size_t *ret_used, struct str *ret, bool *ret_truncated)
{
	size_t keep = count < f->frame_max ? (size_t)count : f->frame_max;

	if (in.n - header < keep)
		return false;
	*ret_truncated = count > keep;
	*ret = str_make(in.p + header, keep);
	if (!*ret_truncated)
		*ret = without_counted_end(*ret);
	*ret_used = header + keep;
	f->skip = count - keep;
	return true;
}

enum framing_result framing_next(struct framing *f, struct str in, size_t *ret_used,
                                 struct str *ret, bool *ret_truncated)
{
	size_t at = 0;

	while (skip_rest(f, in, &at) && at < in.n) {
		struct str rest = str_skip(in, at), frame = STR_NONE;
		uint64_t count = 0;
		size_t header = 0, used = 0;
		bool truncated = false, whole;
		enum prefix prefix = prefix_of(rest, &count, &header);

		if (prefix == PREFIX_LOST) {
			*ret_used = at;
			return FRAMING_LOST;
		}
		if (prefix == PREFIX_COUNT)
			whole = take_counted(f, rest, count, header, &used, &frame, &truncated);
		else
			whole = prefix == PREFIX_TEXT &&
			        take_line(f, rest, &used, &frame, &truncated);
		if (!whole)
			break;
		at += used;
		if (frame.n == 0)
			continue;
		*ret_used = at;
		*ret = frame;
		*ret_truncated = truncated;
		return FRAMING_FRAME;
	}
	*ret_used = at;
	return FRAMING_MORE;
}

bool framing_end(struct framing *f, struct str in, struct str *ret, bool *ret_truncated)
{
	uint64_t count;
	size_t header;

	if (in.n == 0 || f->skip_line)
		return false;
	bool cut = prefix_of(in, &count, &header) == PREFIX_COUNT;
	struct str frame = cut ? str_skip(in, header) : without_line_end(in);
	if (frame.n == 0)
		return false;
	*ret_truncated = cut || frame.n > f->frame_max;
	*ret = str_head(frame, f->frame_max);
	return true;
}
