/* A text test is a pattern. Of two patterns, disjointness is told from what both must begin and end with, and, when one
 * of them is plain text, by matching; inclusion by finding the pieces of one inside the pieces of the other. Both are
 * right whenever they say yes, and see everything that rules contain in practice but `?` and dashes in the middle. */
#include "sigma/relation.h"

#include "sigma/fold.h"

#define MARK 0xff /* stands in no text of a rule, but perhaps in one that was encoded */
#define TEXT_MAX                                                                                   \
	4096 /* bytes of a value that is folded to be compared: longer ones are not told apart */

/* ---- text ---- */

static struct str first_text(const struct pattern *p)
{
	const struct segment *s = p->segments;

	if (p->open_start || p->count == 0 || s->count == 0 || s->tokens[0].kind != TOKEN_TEXT)
		return STR("");
	return s->tokens[0].text;
}

static struct str last_text(const struct pattern *p)
{
	const struct segment *s = p->segments + p->count - 1;

	if (p->open_end || p->count == 0 || s->count == 0 ||
	    s->tokens[s->count - 1].kind != TOKEN_TEXT)
		return STR("");
	return s->tokens[s->count - 1].text;
}

/* True if only one text fits it: *ret. */
static bool is_plain(const struct pattern *p, struct str *ret)
{
	if (p->open_start || p->open_end || p->count > 1)
		return false;
	if (p->count == 1 &&
	    (p->segments->count > 1 ||
	     (p->segments->count == 1 && p->segments->tokens[0].kind != TOKEN_TEXT)))
		return false;
	*ret = first_text(p);
	return true;
}

/* Anything fits it that is text. */
static bool is_everything(const struct pattern *p)
{
	return p->min == 0 && p->open_start && p->open_end && p->count == 0;
}

static struct str folded(struct str s, char *room)
{
	s = str_head(s, TEXT_MAX);
	fold_text(s, room);
	return str_make(room, s.n);
}

/* The two differ within the length of the shorter one, from the front or from the back, whatever the letter case of
 * those for which it does not count. */
static bool differ(struct str a, struct str b, bool back, bool cased)
{
	char room[2][TEXT_MAX];
	size_t n = a.n < b.n ? a.n : b.n;

	if (n > TEXT_MAX)
		n = TEXT_MAX;
	a = back ? str_skip(a, a.n - n) : str_head(a, n);
	b = back ? str_skip(b, b.n - n) : str_head(b, n);
	if (cased)
		return !str_eq(a, b);
	/* A multi-byte letter may be cut at the end where the two are cut, but then it is cut in both. */
	return !str_eq(folded(a, room[0]), folded(b, room[1]));
}

static bool patterns_disjoint(struct item_test a, struct item_test b)
{
	const struct pattern *p = &a.test->pattern, *q = &b.test->pattern;
	bool cased = a.item->cased && b.item->cased, same = a.item->cased == b.item->cased;
	struct str text, other;

	if (is_plain(p, &text) && is_plain(q, &other) && text.n != other.n)
		return true;
	if (is_plain(p, &text) && same)
		return !pattern_match(q, text);
	if (is_plain(q, &text) && same)
		return !pattern_match(p, text);
	return differ(first_text(p), first_text(q), false, cased) ||
	       differ(last_text(p), last_text(q), true, cased);
}

/* Only of patterns of plain pieces and `*` is it told what they contain. */
static bool has_only_text(const struct pattern *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->segments[i].count != 1 || p->segments[i].tokens[0].kind != TOKEN_TEXT ||
		    memchr(p->segments[i].tokens[0].text.p, MARK, p->segments[i].min))
			return false;
	return true;
}

static bool put(char *out, size_t *n, struct str s)
{
	if (*n + s.n > TEXT_MAX)
		return false;
	if (s.n)
		memcpy(out + *n, s.p, s.n);
	*n += s.n;
	return true;
}

/* The pattern with MARK in place of everything that may vary. */
static bool put_pattern(const struct pattern *p, char *out, size_t *n)
{
	static const char mark[] = {(char)MARK};
	const struct str gap = {mark, 1};
	bool fits = !p->open_start || put(out, n, gap);

	for (size_t i = 0; fits && i < p->count; i++) {
		const struct segment *s = &p->segments[i];
		fits = i == 0 || put(out, n, gap);
		for (size_t j = 0; fits && j < s->count; j++)
			fits = put(out, n,
			           s->tokens[j].kind == TOKEN_TEXT ? s->tokens[j].text : gap);
	}
	return fits && (!p->open_end || put(out, n, gap));
}

/* Both compare in the same way. If the second takes the first with a byte in place of its gaps that stands nowhere in
 * the second, then only a `*` can have taken that byte, and takes whatever else may stand there. */
static bool pattern_within(const struct pattern *p, const struct pattern *q)
{
	char room[TEXT_MAX];
	struct str text;
	size_t n = 0;

	if (is_plain(p, &text))
		return pattern_match(q, text);
	return has_only_text(q) && put_pattern(p, room, &n) && pattern_match(q, str_make(room, n));
}

static bool patterns_within(struct item_test a, struct item_test b)
{
	const struct pattern *p = &a.test->pattern, *q = &b.test->pattern;
	char room[TEXT_MAX];
	struct str text;

	if (is_everything(q))
		return true;
	if (a.item->cased == b.item->cased)
		return pattern_within(p, q);
	/* Text of one letter case is one of those that fit when the case does not count. */
	return a.item->cased && is_plain(p, &text) && text.n <= TEXT_MAX &&
	       pattern_match(q, folded(text, room));
}

/* ---- numbers ---- */

/* The values that a comparison accepts, end by end. */
struct interval {
	struct number low, high;
	bool has_low, has_high, open_low, open_high;
};

static struct interval interval_of(const struct test *t)
{
	struct interval v = {.low = t->number, .high = t->number};
	enum compare_op op = t->compare.op;

	v.has_low = op == COMPARE_EQ || op == COMPARE_GT || op == COMPARE_GTE;
	v.has_high = op == COMPARE_EQ || op == COMPARE_LT || op == COMPARE_LTE;
	v.open_low = op == COMPARE_GT;
	v.open_high = op == COMPARE_LT;
	return v;
}

/* Everything that `a` accepts lies below everything that `b` accepts. */
static bool lies_below(const struct interval *a, const struct interval *b)
{
	if (!a->has_high || !b->has_low)
		return false;
	int order = number_compare(&a->high, &b->low);
	return order < 0 || (order == 0 && (a->open_high || b->open_low));
}

static bool interval_within(const struct interval *a, const struct interval *b)
{
	if (b->has_low) {
		int order = a->has_low ? number_compare(&a->low, &b->low) : -1;
		if (order < 0 || (order == 0 && b->open_low && !a->open_low))
			return false;
	}
	if (b->has_high) {
		int order = a->has_high ? number_compare(&a->high, &b->high) : 1;
		if (order > 0 || (order == 0 && b->open_high && !a->open_high))
			return false;
	}
	return true;
}

static bool compares_disjoint(const struct test *t, const struct test *u)
{
	struct interval a = interval_of(t), b = interval_of(u);

	return t->compare.part == u->compare.part && (lies_below(&a, &b) || lies_below(&b, &a));
}

static bool compare_within(const struct test *t, const struct test *u)
{
	struct interval a = interval_of(t), b = interval_of(u);

	return t->compare.part == u->compare.part && interval_within(&a, &b);
}

/* The comparison accepts the number. */
static bool accepts(const struct test *t, const struct number *n)
{
	const struct interval b = interval_of(t);
	const struct interval a = {.low = *n, .high = *n, .has_low = true, .has_high = true};

	return interval_within(&a, &b);
}

/* The comparison accepts the text. */
static bool accepts_text(const struct test *t, struct str text)
{
	struct number n = {0};

	if (t->compare.part ? time_part_of(text, t->compare.part, &n.i) < 0
	                    : number_parse(text, &n) < 0)
		return false;
	return accepts(t, &n);
}

/* ---- networks ---- */

static bool network_within(const struct network *a, const struct network *b)
{
	unsigned whole = b->prefix / 8, bits = b->prefix % 8;

	if (a->prefix < b->prefix || memcmp(a->address, b->address, whole) != 0)
		return false;
	return bits == 0 || (a->address[whole] ^ b->address[whole]) >> (8 - bits) == 0;
}

/* ---- tests of different kinds ---- */

/* The plain text is the only value that fits, but for other spellings of the same number. */
static bool plain_text(struct item_test t, struct str *ret)
{
	return t.test->kind == TEST_TEXT && is_plain(&t.test->pattern, ret);
}

static bool same_number(const struct test *t, struct str text)
{
	struct number n;

	return t->numeric && number_parse(text, &n) == 0 && number_compare(&n, &t->number) == 0;
}

/* A plain text `a` and any other test. */
static bool plain_disjoint(struct item_test a, struct str text, struct item_test b)
{
	const struct test *t = a.test, *u = b.test;
	struct str other;

	switch (u->kind) {
	case TEST_TEXT:
		if (same_number(u, text) || (plain_text(b, &other) && same_number(t, other)))
			return false;
		/* "4688.0" and "0x1250" fit 4688 as well: a pattern may take one of them. */
		if (t->numeric && !plain_text(b, &other))
			return false;
		return patterns_disjoint(a, b);
	case TEST_COMPARE:
		if (t->numeric && !u->compare.part)
			return !accepts(u, &t->number);
		return !t->numeric && !accepts_text(u, text);
	case TEST_CIDR: return !t->numeric && !network_contains(&u->network, text);
	default: return false;
	}
}

static bool looks_at_values(enum test_kind kind)
{
	return kind != TEST_NULL && kind != TEST_EXISTS;
}

/* One of the two is TEST_NULL or TEST_EXISTS. */
static bool presence_disjoint(const struct test *t, const struct test *u)
{
	bool t_absent = t->kind == TEST_EXISTS && !t->wanted;
	bool u_absent = u->kind == TEST_EXISTS && !u->wanted;

	if (t->kind == TEST_NULL || u->kind == TEST_NULL)
		return looks_at_values(t->kind) || looks_at_values(u->kind);
	return t_absent != u_absent;
}

bool tests_disjoint(struct item_test a, struct item_test b)
{
	const struct test *t = a.test, *u = b.test;
	struct str text;

	if (!looks_at_values(t->kind) || !looks_at_values(u->kind))
		return presence_disjoint(t, u);
	if (plain_text(a, &text))
		return plain_disjoint(a, text, b);
	if (plain_text(b, &text))
		return plain_disjoint(b, text, a);
	if (t->kind != u->kind)
		return false;
	switch (t->kind) {
	case TEST_TEXT: return patterns_disjoint(a, b);
	case TEST_COMPARE: return compares_disjoint(t, u);
	case TEST_CIDR:
		return !network_within(&t->network, &u->network) &&
		       !network_within(&u->network, &t->network);
	default: return false;
	}
}

static bool plain_within(struct item_test a, struct str text, struct item_test b)
{
	const struct test *t = a.test, *u = b.test;

	switch (u->kind) {
	case TEST_TEXT:
		if (t->numeric)
			return (u->numeric && number_compare(&t->number, &u->number) == 0) ||
			       is_everything(&u->pattern);
		return same_number(u, text) || patterns_within(a, b);
	case TEST_COMPARE:
		return t->numeric ? !u->compare.part && accepts(u, &t->number)
		                  : accepts_text(u, text);
	case TEST_CIDR: return !t->numeric && network_contains(&u->network, text);
	default: return false;
	}
}

bool test_within(struct item_test a, struct item_test b)
{
	const struct test *t = a.test, *u = b.test;
	struct str text;

	if (u->kind == TEST_EXISTS && u->wanted)
		return looks_at_values(t->kind) || (t->kind == TEST_EXISTS && t->wanted);
	if (!looks_at_values(t->kind) || !looks_at_values(u->kind))
		return (t->kind == TEST_EXISTS && !t->wanted &&
		        (u->kind == TEST_NULL || u->kind == TEST_EXISTS)) ||
		       (t->kind == TEST_NULL && u->kind == TEST_NULL);
	if (plain_text(a, &text))
		return plain_within(a, text, b);
	if (t->kind != u->kind)
		return false;
	switch (t->kind) {
	case TEST_TEXT: return patterns_within(a, b);
	case TEST_COMPARE: return compare_within(t, u);
	case TEST_CIDR: return network_within(&t->network, &u->network);
	case TEST_REGEX:
	case TEST_FIELD: return str_eq(a.item->key, b.item->key) && str_eq(t->written, u->written);
	default: return false;
	}
}
