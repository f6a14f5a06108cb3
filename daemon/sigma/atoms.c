/* Of a text with wildcards the longest piece between them is looked for; letter case and what `?` stands for are left
 * to the test itself. How likely an atom is to fit is a guess from its kind, its length and how many rules mention the
 * same text: `\cmd.exe` stands in hundreds of rules because it stands in millions of events. A wrong guess costs time,
 * never an answer. */
#include "sigma/atoms.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "event/event.h"
#include "sigma/fold.h"

#define TAIL  4     /* bytes */
#define TAILS 65536 /* four half bytes */

/* ---- life ---- */

void atoms_init(struct atoms *g)
{
	*g = (struct atoms){0};
	arena_init(&g->arena, 0);
	map_init(&g->index);
	map_init(&g->mentions);
	g->tails = xcalloc(TAILS, sizeof(*g->tails));
	map_init(&g->slot_index);
	buf_init(&g->key, 0);
	xgrow(&g->slots, &g->slot_cap, 1, sizeof(*g->slots));
	g->slots[g->slot_count++] = (struct slot_name){0}; /* SLOT_KEYWORDS */
}

void atoms_release(struct atoms *g)
{
	for (size_t i = 0; i < g->count; i++)
		free(g->items[i].refs);
	free(g->items);
	free(g->slots);
	map_release(&g->index, NULL);
	map_release(&g->mentions, NULL);
	free(g->tails);
	map_release(&g->slot_index, NULL);
	buf_release(&g->key);
	arena_release(&g->arena);
}

/* ---- atoms ---- */

static uint32_t slot_of(struct atoms *g, const struct item *item)
{
	if (!item->field.p)
		return SLOT_KEYWORDS;
	uintptr_t slot = (uintptr_t)map_get(&g->slot_index, item->field);
	if (!slot) {
		slot = g->slot_count;
		xgrow(&g->slots, &g->slot_cap, g->slot_count + 1, sizeof(*g->slots));
		g->slots[g->slot_count++] = (struct slot_name){item->field, item->hash};
		map_put(&g->slot_index, item->field, (void *)slot);
	}
	return (uint32_t)slot;
}

/* What makes two atoms the same. */
static struct str key_of(struct atoms *g, const struct atom *a)
{
	struct buf *key = &g->key;

	buf_reset(key);
	buf_putc(key, (char)a->kind);
	buf_append(key, &a->slot, sizeof(a->slot));
	buf_add(key, a->text);
	if (a->kind == ATOM_NUMBER || a->kind == ATOM_AT_LEAST || a->kind == ATOM_AT_MOST)
		buf_append(key, &a->number, sizeof(a->number));
	if (a->network)
		buf_append(key, a->network, sizeof(*a->network));
	if (a->regex) {
		buf_putc(key, (char)regex_flags_of(a->regex));
		buf_add(key, regex_text(a->regex));
	}
	return buf_str(key);
}

#define KEY_OF_CONTENT (1 + sizeof(uint32_t)) /* where in a key kind and slot end */

/* The one atom that is like `a`; it is added if need be. */
static struct atom *intern(struct atoms *g, const struct atom *a)
{
	struct str key = key_of(g, a);
	uintptr_t number = (uintptr_t)map_get(&g->index, key);

	if (!number) {
		xgrow(&g->items, &g->cap, g->count + 1, sizeof(*g->items));
		g->items[g->count] = *a;
		g->items[g->count].text = a->text.p ? arena_str(&g->arena, a->text) : STR_NONE;
		number = ++g->count;
		map_put(&g->index, key, (void *)number);
	}
	return &g->items[number - 1];
}

/* ---- from tests to atoms ---- */

/* A text that every fitting value has, and where. */
struct literal {
	enum atom_kind kind; /* PREFIX, SUFFIX, CONTAINS; VALUE: it is the whole value */
	struct str text;
	double chance;
};

/* Roughly how many values contain a text of so many bytes that somebody found worth a rule. */
static double text_chance(size_t n)
{
	static const double chances[] = {1, 0.9, 0.6, 0.35, 0.15, 0.08, 0.04, 0.02, 0.01};

	return n < ARRAY_LEN(chances) ? chances[n] : 0.005;
}

static void better_literal(struct literal *best, enum atom_kind kind, struct str text)
{
	/* An anchored text is looked for faster, and fits less often. */
	double chance = text_chance(text.n) * (kind == ATOM_CONTAINS ? 1 : 0.7);

	if (text.n && chance < best->chance)
		*best = (struct literal){kind, text, chance};
}

static bool is_closed(const struct pattern *p)
{
	return !p->open_start && !p->open_end;
}

static bool is_plain(const struct pattern *p)
{
	return is_closed(p) && (p->count == 0 || (p->count == 1 && p->segments[0].count == 1 &&
	                                          p->segments[0].tokens[0].kind == TOKEN_TEXT));
}

static bool best_literal(const struct pattern *p, struct literal *ret)
{
	struct literal best = {.chance = 2};

	if (is_plain(p)) {
		struct str text = p->count ? p->segments[0].tokens[0].text : STR("");
		*ret = (struct literal){ATOM_VALUE, text, 0};
		return true;
	}
	for (size_t i = 0; i < p->count; i++) {
		const struct segment *s = &p->segments[i];
		for (size_t j = 0; j < s->count; j++) {
			bool first = i == 0 && j == 0 && !p->open_start;
			bool last = i + 1 == p->count && j + 1 == s->count && !p->open_end;
			if (s->tokens[j].kind == TOKEN_TEXT)
				better_literal(&best,
				               first  ? ATOM_PREFIX
				               : last ? ATOM_SUFFIX
				                      : ATOM_CONTAINS,
				               s->tokens[j].text);
		}
	}
	*ret = best;
	return best.chance <= 1;
}

/* Folding looks at pairs of bytes, and a text that is no UTF-8 may begin or end inside one: the value's bytes beside it
 * then decide how its own are folded. Without such a byte at either end the text folds the same everywhere. */
static bool trim_edges(struct str *text)
{
	struct str t = *text;

	if (t.n && ((unsigned char)t.p[0] & 0xc0) == 0x80)
		t = str_skip(t, 1);
	if (t.n && (unsigned char)t.p[t.n - 1] >= 0xc2 && (unsigned char)t.p[t.n - 1] <= 0xdf)
		t.n--;
	bool trimmed = t.n < text->n;
	*text = t;
	return trimmed;
}

static bool is_verbatim(char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '/';
}

bool atom_text_is_verbatim(struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (!is_verbatim(text.p[i]))
			return false;
	return true;
}

/* The longest part of a keyword that is verbatim, if that is no worse to look for than the whole. */
static struct str verbatim_part(struct str text)
{
	struct str best = STR_NONE, rest = text;

	while (rest.n) {
		size_t n = 0;
		while (n < rest.n && is_verbatim(rest.p[n]))
			n++;
		if (n > best.n)
			best = str_head(rest, n);
		rest = str_skip(rest, n + 1);
	}
	return text_chance(best.n) <= 2 * text_chance(text.n) ? best : text;
}

/* False if there is nothing to look for in it. */
static bool text_atom(struct atoms *g, const struct item *item, const struct test *t,
                      struct atom *a)
{
	bool keyword = !item->field.p;
	struct literal l;

	if (!best_literal(&t->pattern, &l) || (keyword && l.kind == ATOM_VALUE))
		return false;
	a->kind = l.kind;
	a->text = l.text;
	if (l.kind != ATOM_VALUE && (item->cased || keyword) && trim_edges(&a->text))
		a->kind = ATOM_CONTAINS;
	if (keyword) { /* it may be looked for in the frame that the value is a part of */
		a->kind = ATOM_CONTAINS;
		a->text = verbatim_part(a->text);
	}
	if (item->cased) {
		char *folded = arena_alloc(&g->arena, a->text.n + 1);
		fold_text(a->text, folded);
		a->text.p = folded;
	}
	if (a->kind == ATOM_SUFFIX && a->text.n > ATOM_TEXT_MAX)
		a->text = str_skip(a->text, a->text.n - ATOM_TEXT_MAX);
	else if (a->kind != ATOM_VALUE)
		a->text = str_head(a->text, ATOM_TEXT_MAX);
	return a->text.n > 0 || a->kind == ATOM_VALUE;
}

static double as_double(const struct number *n)
{
	double d = n->real ? n->d : (double)n->i;

	return d == 0 ? 0 : d; /* not -0 */
}

static enum atom_kind bound_kind(enum compare_op op)
{
	switch (op) {
	case COMPARE_EQ: break;
	case COMPARE_LT:
	case COMPARE_LTE: return ATOM_AT_MOST;
	case COMPARE_GT:
	case COMPARE_GTE: return ATOM_AT_LEAST;
	}
	return ATOM_NUMBER;
}

struct atom *atom_of(struct atoms *g, const struct item *item, const struct test *t)
{
	struct atom a = {.kind = ATOM_PRESENT, .slot = slot_of(g, item)};

	switch (t->kind) {
	case TEST_TEXT:
		if (t->numeric) { /* the same text is the same number */
			a.kind = ATOM_NUMBER;
			a.number = as_double(&t->number);
		} else if (!text_atom(g, item, t, &a)) {
			a.kind = ATOM_PRESENT;
			a.text = STR_NONE;
		}
		break;
	case TEST_REGEX:
		a.kind = ATOM_REGEX;
		a.regex = t->regex;
		break;
	case TEST_CIDR:
		a.kind = ATOM_NETWORK;
		a.network = &t->network;
		break;
	case TEST_COMPARE:
		if (t->compare.part)
			break;
		a.kind = bound_kind(t->compare.op);
		a.number = as_double(&t->number);
		break;
	case TEST_FIELD: break;
	case TEST_EXISTS:
		if (!t->wanted)
			return NULL;
		break;
	case TEST_NULL: return NULL;
	}
	/* Some value or the frame is always there. */
	if (a.kind == ATOM_PRESENT && a.slot == SLOT_KEYWORDS)
		return NULL;
	return intern(g, &a);
}

/* ---- what is searched for ---- */

/* Hyperscan looks for the last few bytes of its texts first, by the halves of each byte, and then whether the rest
 * stands before them. Most texts end in letters, ".dll" or the like, as do most words of events, so that first look is
 * in vain again and again; "::" or "_1(" are seldom there. So a keyword, for which whole frames are searched, may be
 * searched for without its end. (For the value of a field that costs more than it saves: shorter texts are found more
 * often.) What is common is told by the rules themselves: they are about what stands in events. */
static uint32_t *tail_count(const struct atoms *g, const char *p)
{
	size_t class = 0;

	for (size_t i = 0; i < TAIL; i++)
		class = class << 4 | (unsigned char)p[i] >> 4;
	return &g->tails[class];
}

static void count_tails(struct atoms *g, struct str text)
{
	for (size_t i = 0; i + TAIL <= text.n; i++)
		++*tail_count(g, text.p + i);
}

#define SEARCHED_MIN                                                                               \
	8 /* bytes that are left at least: fewer would be found too often for themselves */

struct str atom_searched(const struct atoms *g, const struct atom *a)
{
	struct str best = a->text;
	uint64_t least = UINT64_MAX;

	for (size_t n = a->text.n; a->slot == SLOT_KEYWORDS && n >= SEARCHED_MIN; n--) {
		uint64_t count = *tail_count(g, a->text.p + n - TAIL);
		if (least != UINT64_MAX && 2 * count > least)
			continue; /* not worth the bytes */
		least = count;
		best.n = n;
	}
	return best;
}

/* ---- how likely ---- */

void atom_mention(struct atoms *g, const struct atom *a)
{
	struct str content = str_skip(key_of(g, a), KEY_OF_CONTENT);
	uintptr_t count = (uintptr_t)map_get(&g->mentions, content);

	map_put(&g->mentions, content, (void *)(count + 1));
	count_tails(g, a->text);
}

void atoms_counted(struct atoms *g)
{
	for (size_t i = 0; i < g->count; i++) {
		struct atom *a = &g->items[i];
		struct str content = str_skip(key_of(g, a), KEY_OF_CONTENT);
		a->mentions = (uint32_t)(uintptr_t)map_get(&g->mentions, content);
	}
}

double atom_chance(const struct atom *a)
{
	double many = a->mentions ? (double)(a->mentions - 1) : 0;

	switch (a->kind) {
	case ATOM_PRESENT: return 1;
	case ATOM_VALUE: return fmin(0.9, 0.3 * text_chance(a->text.n) * (1 + 0.2 * many));
	case ATOM_NUMBER: return fmin(0.8, 0.02 + 0.01 * many);
	case ATOM_AT_LEAST:
	case ATOM_AT_MOST: return 0.5;
	case ATOM_NETWORK: return 0.2;
	case ATOM_PREFIX:
	case ATOM_SUFFIX: return fmin(0.9, 0.7 * text_chance(a->text.n) * (1 + 0.2 * many));
	case ATOM_CONTAINS: return fmin(0.9, text_chance(a->text.n) * (1 + 0.2 * many));
	case ATOM_REGEX: return 0.3;
	}
	return 1;
}
