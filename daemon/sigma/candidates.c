/* Log sources first: events of the same log sources ask the same of the rules, so what that is (which rules may hold,
 * which fields they look at and how) is worked out once and kept, a route. Then each field that the route looks at, each
 * in the ways that some rule needs. What is found marks rules in a bit set with a summary above it, which gives them
 * back in their order without sorting. */
#include "sigma/candidates.h"

#include <stdlib.h>

#include "base/mem.h"
#include "event/needles.h"
#include "sigma/compiled.h"

/* Routes kept: real networks have some dozens of combinations of log sources. Past it the oldest make room. */
#define ROUTES_MAX   64
#define ROUTES_MIN   16
#define ROUTES_BYTES ((size_t)2 << 20)
#define ROUTE_TRIES  4 /* places where one may stand */

#define NAME_FILTER_BITS 2048

/* So few texts are found faster without Hyperscan, whose every call costs as much as a pass over a short message, and the
 * value need not be folded for it. */
#define FEW_TEXTS 256

/* The few texts that a route looks for in a slot, of all its groups. */
struct few {
	struct needles needles;
	uint32_t *triggers; /* by number of the needle */
};

struct route {
	bool used;
	struct logsource_set sources;
	uint64_t *groups; /* that fit */
	uint8_t *looks;   /* of each slot */
	/* A bit for each hash of a name at which the route looks: most fields are not looked at. */
	uint64_t names[NAME_FILTER_BITS / 64];
	uint32_t *always; /* rules of groups that fit and that nothing guards */
	size_t always_count;
	uint32_t *scan_first; /* of each slot, and the end: where its databases begin among … */
	const struct scan **scans; /* … those of groups that fit */
	struct few **few;          /* of each slot; NULL: its databases search for texts */
};

struct candidates {
	const struct compiled *c;
	struct pattern_scratch *scratch;
	struct route all; /* events without log sources of their own, or a set without */
	struct route *routes;
	size_t route_count; /* power of two */
	size_t next_victim;
	/* Rules of which the first, the second guard was found, and the words of those sets that are in use. */
	uint64_t *found[GUARDS_MAX], *summary;
	size_t words, summary_words;
	size_t at; /* word of the summary */
	/* Of the event at hand: */
	const struct route *route;
	struct evaluator *v;
};

/* ---- life ---- */

static void route_init(const struct compiled *c, struct route *r)
{
	r->groups = xcalloc((c->group_count + 63) / 64, sizeof(*r->groups));
	r->looks = xcalloc(c->slot_count, sizeof(*r->looks));
	r->scan_first = xcalloc(c->slot_count + 1, sizeof(*r->scan_first));
	r->scans = xcalloc(c->scan_count, sizeof(*r->scans));
	r->always = xcalloc(c->facts.always, sizeof(*r->always));
	r->few = xcalloc(c->slot_count, sizeof(struct few *));
}

static void few_free(struct few *few)
{
	if (!few)
		return;
	needles_release(&few->needles);
	free(few->triggers);
	free(few);
}

static void forget_few(const struct compiled *c, struct route *r)
{
	for (size_t i = 0; i < c->slot_count; i++) {
		few_free(r->few[i]);
		r->few[i] = NULL;
	}
}

static void route_release(const struct compiled *c, struct route *r)
{
	forget_few(c, r);
	free(r->few);
	free(r->groups);
	free(r->looks);
	free(r->scan_first);
	free(r->scans);
	free(r->always);
}

static void fill_route(const struct compiled *c, struct route *r,
                       const struct logsource_set *sources);

struct candidates *candidates_new(const struct compiled *c)
{
	struct candidates *x = xcalloc(1, sizeof(*x));
	size_t bytes = sizeof(struct route) + 5 * c->slot_count + c->group_count / 8 +
	               c->scan_count * sizeof(void *) + c->facts.always * sizeof(uint32_t);

	x->c = c;
	x->words = (c->rules->count + 63) / 64;
	for (size_t i = 0; i < GUARDS_MAX; i++)
		x->found[i] = xcalloc(x->words, sizeof(*x->found[i]));
	x->summary_words = (x->words + 63) / 64;
	x->summary = xcalloc(x->summary_words, sizeof(*x->summary));
	x->route_count = ROUTES_MAX;
	while (x->route_count > ROUTES_MIN && x->route_count * bytes > ROUTES_BYTES)
		x->route_count /= 2;
	x->routes = xcalloc(x->route_count, sizeof(*x->routes));
	for (size_t i = 0; i < x->route_count; i++)
		route_init(c, &x->routes[i]);
	route_init(c, &x->all);
	fill_route(c, &x->all, NULL);
	x->scratch = pattern_scratch_new();
	for (size_t i = 0; i < c->scan_count; i++)
		if (pattern_scratch_fit(x->scratch, c->scans[i].db) < 0)
			abort(); /* out of memory: the same as in base/mem.h */
	return x;
}

void candidates_free(struct candidates *x)
{
	if (!x)
		return;
	for (size_t i = 0; i < x->route_count; i++)
		route_release(x->c, &x->routes[i]);
	route_release(x->c, &x->all);
	pattern_scratch_free(x->scratch);
	free(x->routes);
	for (size_t i = 0; i < GUARDS_MAX; i++)
		free(x->found[i]);
	free(x->summary);
	free(x);
}

/* ---- routes ---- */

static bool is_ascii(struct str s)
{
	uint64_t word, all = 0;
	size_t i = 0;

	for (; i + 8 <= s.n; i += 8) {
		memcpy(&word, s.p + i, 8);
		all |= word;
	}
	for (; i < s.n; i++)
		all |= (unsigned char)s.p[i];
	return (all & 0x8080808080808080) == 0;
}

static bool group_fits(const struct group *g, const struct logsource_set *sources)
{
	if (!sources)
		return true;
	if (g->first->unmapped)
		return !sources->any;
	return logsource_intersects(&g->first->sources, sources);
}

static bool has_group(const struct route *r, uint32_t group)
{
	return r->groups[group / 64] >> group % 64 & 1;
}

static unsigned looks_of(const struct slot *s, const struct route *r, size_t words)
{
	unsigned looks = 0;

	for (size_t i = 0; i < LOOKS; i++)
		for (size_t j = 0; s->groups[i] && j < words; j++)
			if (s->groups[i][j] & r->groups[j])
				looks |= 1u << i;
	return looks;
}

static void add_name(struct route *r, uint32_t hash)
{
	r->names[hash / 64 % ARRAY_LEN(r->names)] |= (uint64_t)1 << hash % 64;
}

static bool may_have_name(const struct route *r, uint32_t hash)
{
	return r->names[hash / 64 % ARRAY_LEN(r->names)] >> hash % 64 & 1;
}

static void fill_always(const struct compiled *c, struct route *r)
{
	r->always_count = 0;
	for (size_t i = 0; i < c->group_count; i++)
		for (size_t j = 0; has_group(r, (uint32_t)i) && j < c->groups[i].always_count; j++)
			r->always[r->always_count++] = c->groups[i].always[j];
}

/* ASCII in lower case: then a value, folded, holds it exactly if the value holds it in some case. */
static bool is_needle(struct str text)
{
	return text.n >= NEEDLE_MIN && is_ascii(text);
}

/* Whether some rule of a group that fits has this trigger. */
static bool has_trigger(const struct compiled *c, const struct route *r, const struct trigger *a)
{
	for (uint32_t i = 0; i < a->count; i++)
		if (has_group(r, c->references[a->first + i].group))
			return true;
	return false;
}

/* What the route looks for in the slot, if that is texts only, and few; else NULL. Keywords are looked for in values of
 * their own way. */
static struct few *few_of(const struct compiled *c, const struct route *r, uint32_t slot)
{
	struct few *few;

	if (slot == SLOT_KEYWORDS || !(r->looks[slot] & LOOK_TEXT))
		return NULL;
	few = xcalloc(1, sizeof(*few));
	few->triggers = xcalloc(FEW_TEXTS, sizeof(*few->triggers));
	for (const uint32_t *t = c->slots[slot].texts, *end = t + c->slots[slot].text_count;
	     t < end; t++) {
		const struct trigger *a = &c->triggers[*t];
		if (!has_trigger(c, r, a))
			continue;
		if (!is_needle(a->text) || few->needles.count == FEW_TEXTS) {
			few_free(few);
			return NULL;
		}
		few->triggers[needles_add(&few->needles, a->text)] = *t;
	}
	needles_build(&few->needles);
	return few;
}

static void fill_route(const struct compiled *c, struct route *r,
                       const struct logsource_set *sources)
{
	size_t words = (c->group_count + 63) / 64, scans = 0;

	memset(r->groups, 0, words * sizeof(*r->groups));
	for (size_t i = 0; i < c->group_count; i++)
		if (group_fits(&c->groups[i], sources))
			r->groups[i / 64] |= (uint64_t)1 << i % 64;
	fill_always(c, r);
	memset(r->names, 0, sizeof(r->names));
	forget_few(c, r);
	for (size_t i = 0; i < c->slot_count; i++) {
		const struct slot *s = &c->slots[i];
		r->looks[i] = (uint8_t)looks_of(s, r, words);
		if (r->looks[i])
			add_name(r, s->hash);
		r->few[i] = few_of(c, r, (uint32_t)i);
		r->scan_first[i] = (uint32_t)scans;
		for (size_t j = 0; j < s->scan_count; j++)
			if (has_group(r, c->scans[s->scan_first + j].group))
				r->scans[scans++] = &c->scans[s->scan_first + j];
	}
	r->scan_first[c->slot_count] = (uint32_t)scans;
}

static uint64_t sources_hash(const struct logsource_set *s)
{
	uint64_t h = s->any;

	/* No step waits for the one before. */
	for (size_t i = 0; i < ARRAY_LEN(s->bits); i++)
		h += s->bits[i] * (0x9e3779b97f4a7c15 * (2 * i + 1));
	return probe_end(h);
}

static bool same_sources(const struct logsource_set *a, const struct logsource_set *b)
{
	return a->any == b->any && memcmp(a->bits, b->bits, sizeof(a->bits)) == 0;
}

static const struct route *find_route(struct candidates *x, const struct logsource_set *sources)
{
	if (!sources || !x->c->rules->routed)
		return &x->all;
	if (x->route && x->route != &x->all && same_sources(&x->route->sources, sources))
		return x->route;
	size_t home = sources_hash(sources), mask = x->route_count - 1;
	struct route *r = NULL;
	for (size_t i = 0; i < ROUTE_TRIES; i++) {
		r = &x->routes[(home + i) & mask];
		if (!r->used)
			break;
		if (same_sources(&r->sources, sources))
			return r;
	}
	if (r->used)
		r = &x->routes[(home + x->next_victim++ % ROUTE_TRIES) & mask];
	r->used = true;
	r->sources = *sources;
	fill_route(x->c, r, sources);
	return r;
}

/* ---- marking ---- */

static void mark(struct candidates *x, uint32_t ref)
{
	uint32_t rule = ref / GUARDS_MAX;

	x->found[ref % GUARDS_MAX][rule / 64] |= (uint64_t)1 << rule % 64;
	x->summary[rule / 4096] |= (uint64_t)1 << rule / 64 % 64;
}

static void found(void *arg, uint32_t trigger)
{
	struct candidates *x = arg;
	const struct trigger *a = &x->c->triggers[trigger];
	const struct reference *r = &x->c->references[a->first];

	for (uint32_t i = 0; i < a->count; i++)
		if (has_group(x->route, r[i].group))
			mark(x, r[i].ref);
}

static void found_all(struct candidates *x, const uint32_t *triggers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		found(x, triggers[i]);
}

static void mark_always(struct candidates *x)
{
	for (size_t i = 0; i < x->route->always_count; i++)
		mark(x, guard_ref(x->route->always[i], 0));
}

/* ---- one value ---- */

/* What is looked up by hash: the slot at hand, and what the trigger must be. */
struct wanted {
	uint32_t slot;
	enum atom_kind kind;
	struct str text; /* the whole value */
	double number;
};

static bool is_wanted(const struct trigger *a, const struct wanted *w)
{
	if (a->slot != w->slot || a->kind != w->kind)
		return false;
	switch (a->kind) {
	case ATOM_VALUE: return str_eq(a->text, w->text);
	case ATOM_PREFIX: return str_starts(w->text, a->text);
	case ATOM_SUFFIX: return str_ends(w->text, a->text);
	case ATOM_NUMBER: return !(a->number < w->number) && !(a->number > w->number);
	default: return true;
	}
}

static void probe(struct candidates *x, uint64_t h, const struct wanted *w)
{
	const struct compiled *c = x->c;

	h = probe_end(h);
	if (!slot_filter_has(&c->slots[w->slot], h))
		return;
	for (size_t at = h & (c->probe_size - 1); c->probes[at].trigger != NO_TRIGGER;
	     at = (at + 1) & (c->probe_size - 1))
		if (c->probes[at].tag == (uint32_t)(h >> 32) &&
		    is_wanted(&c->triggers[c->probes[at].trigger], w))
			found(x, c->probes[at].trigger);
}

static void look_for_prefixes(struct candidates *x, uint32_t slot, struct str text)
{
	const struct lengths *lengths = &x->c->slots[slot].prefixes;
	const struct wanted w = {slot, ATOM_PREFIX, text, 0};

	for (size_t i = 0; i < lengths->count && lengths->items[i] <= text.n; i++)
		probe(x,
		      probe_value(probe_seed(slot, ATOM_PREFIX), str_head(text, lengths->items[i])),
		      &w);
}

static void look_for_suffixes(struct candidates *x, uint32_t slot, struct str text)
{
	const struct lengths *lengths = &x->c->slots[slot].suffixes;
	const struct wanted w = {slot, ATOM_SUFFIX, text, 0};

	for (size_t i = 0; i < lengths->count && lengths->items[i] <= text.n; i++)
		probe(x,
		      probe_value(probe_seed(slot, ATOM_SUFFIX),
		                  str_skip(text, text.n - lengths->items[i])),
		      &w);
}

static void look_for_numbers(struct candidates *x, uint32_t slot, struct str text)
{
	const struct slot *s = &x->c->slots[slot];
	struct number n;

	if (number_parse(text, &n) < 0)
		return;
	double d = n.real ? n.d : (double)n.i;
	d = d == 0 ? 0 : d; /* not -0 */
	probe(x, probe_number(probe_seed(slot, ATOM_NUMBER), d),
	      &(struct wanted){slot, ATOM_NUMBER, STR_NONE, d});
	for (size_t i = 0; i < s->lower_count && s->lower[i].at <= d; i++)
		found(x, s->lower[i].trigger);
	for (size_t i = s->upper_count; i > 0 && s->upper[i - 1].at >= d; i--)
		found(x, s->upper[i - 1].trigger);
}

static void look_for_networks(struct candidates *x, uint32_t slot, struct str text)
{
	const struct lengths *lengths = &x->c->slots[slot].networks;
	struct network n;

	if (!address_parse(text, &n))
		return;
	for (size_t i = lengths->count; i > 0; i--) {
		network_widen(&n, lengths->items[i - 1]);
		probe(x, probe_network(probe_seed(slot, ATOM_NETWORK), &n),
		      &(struct wanted){slot, ATOM_NETWORK, STR_NONE, 0});
	}
}

/* Searches `text` with the slot's databases of one sort. */
static void scan(struct candidates *x, uint32_t slot, enum scan_sort sort, struct str text)
{
	const struct route *r = x->route;

	for (uint32_t i = r->scan_first[slot]; text.n && i < r->scan_first[slot + 1]; i++)
		if (r->scans[i]->sort == sort)
			pattern_db_scan(r->scans[i]->db, x->scratch, text, found, x);
}

/* See patterns_db.c for what Hyperscan cannot tell. */
static void look_for_regexes(struct candidates *x, uint32_t slot, struct str text)
{
	const struct slot *s = &x->c->slots[slot];

	if (text.n && is_ascii(text))
		scan(x, slot, SCAN_REGEX, text);
	else
		found_all(x, s->regex_atoms, s->regex_count);
}

static void look_at_text(struct candidates *x, uint32_t slot, unsigned looks, struct str text)
{
	const struct slot *s = &x->c->slots[slot];

	if (looks & LOOK_VALUE && text.n <= s->value_max)
		probe(x, probe_value(probe_seed(slot, ATOM_VALUE), text),
		      &(struct wanted){slot, ATOM_VALUE, text, 0});
	if (looks & LOOK_PREFIX)
		look_for_prefixes(x, slot, text);
	if (looks & LOOK_SUFFIX)
		look_for_suffixes(x, slot, text);
	if (looks & LOOK_TEXT)
		scan(x, slot, SCAN_TEXT, text);
}

struct few_found {
	struct candidates *x;
	const uint32_t *triggers;
};

static void found_few(void *arg, size_t number)
{
	const struct few_found *f = arg;

	found(f->x, f->triggers[number]);
}

static void look_at_field(struct candidates *x, uint32_t slot, unsigned looks, size_t i)
{
	const struct slot *s = &x->c->slots[slot];
	const struct field *f = &x->v->event->fields[i];

	if (looks & LOOK_PRESENT)
		found_all(x, s->present, s->present_count);
	if (f->type == VALUE_NULL)
		return; /* fits nothing else */
	const struct few *few = x->route->few[slot];
	if (few) {
		needles_find(&few->needles, f->value, found_few,
		             &(struct few_found){x, few->triggers});
		looks &= ~(unsigned)LOOK_TEXT;
	}
	if (looks & LOOK_FOLDED)
		look_at_text(x, slot, looks, evaluate_text(x->v, i, false));
	if (looks & LOOK_NUMBER)
		look_for_numbers(x, slot, f->value);
	if (looks & LOOK_NETWORK)
		look_for_networks(x, slot, f->value);
	if (looks & LOOK_REGEX)
		look_for_regexes(x, slot, f->value);
}

/* ---- the event ---- */

/* The field's slot, if the route looks at it; else SLOT_KEYWORDS. */
static uint32_t slot_of(const struct candidates *x, const struct field *f)
{
	const struct compiled *c = x->c;
	size_t mask = c->slot_index_size - 1;
	uint16_t tag = slot_tag(f->hash);

	if (!may_have_name(x->route, f->hash))
		return SLOT_KEYWORDS;
	for (size_t at = f->hash & mask; c->slot_tags[at]; at = (at + 1) & mask) {
		uint32_t slot = c->slot_numbers[at];
		if (c->slot_tags[at] == tag && x->route->looks[slot] &&
		    c->slots[slot].hash == f->hash && str_eq(c->slots[slot].name, f->name))
			return slot;
	}
	return SLOT_KEYWORDS;
}

/* Text that stands as it is in the frame is looked for there, once for all values. */
static bool is_in_frame(const struct event *e, struct str value)
{
	uintptr_t p = (uintptr_t)value.p, frame = (uintptr_t)e->raw.p;

	return p >= frame && p + value.n <= frame + e->raw.n;
}

/* Which sorts of databases the route has for keywords, a bit each. */
static unsigned keyword_sorts(const struct route *r)
{
	unsigned sorts = 0;

	for (uint32_t i = r->scan_first[SLOT_KEYWORDS]; i < r->scan_first[SLOT_KEYWORDS + 1]; i++)
		sorts |= 1u << r->scans[i]->sort;
	return sorts;
}

/* Value `i`, or the frame (event->count), for all that is looked for in any value. */
static void look_at_any(struct candidates *x, unsigned looks, unsigned sorts, size_t i)
{
	const struct event *e = x->v->event;
	bool frame = i == e->count;
	struct str value = frame ? e->raw : e->fields[i].value;
	bool elsewhere = frame || !is_in_frame(e, value);

	if (sorts & 1u << SCAN_FRAME && (frame || (elsewhere && !(e->flags & EVENT_JSON))))
		scan(x, SLOT_KEYWORDS, SCAN_FRAME, value);
	if (sorts & 1u << SCAN_TEXT && elsewhere)
		scan(x, SLOT_KEYWORDS, SCAN_TEXT, evaluate_text(x->v, i, false));
	if (looks & LOOK_REGEX)
		look_for_regexes(x, SLOT_KEYWORDS, value);
}

static void look_at_keywords(struct candidates *x, unsigned looks)
{
	const struct event *e = x->v->event;
	const struct slot *s = &x->c->slots[SLOT_KEYWORDS];
	unsigned sorts = keyword_sorts(x->route);

	if (looks & LOOK_PRESENT)
		found_all(x, s->present, s->present_count);
	bool values = looks & LOOK_REGEX || sorts & ~(1u << SCAN_FRAME) || !(e->flags & EVENT_JSON);
	for (size_t i = 0; values && i < e->count; i++)
		if (!e->fields[i].derived && e->fields[i].type != VALUE_NULL)
			look_at_any(x, looks, sorts, i);
	look_at_any(x, looks, sorts, e->count);
}

void candidates_find(struct candidates *x, struct evaluator *v, const struct logsource_set *sources)
{
	const struct event *e = v->event;

	x->v = v;
	x->at = 0;
	x->route = find_route(x, sources);
	mark_always(x);
	for (size_t i = 0; i < e->count; i++) {
		uint32_t slot = slot_of(x, &e->fields[i]);
		if (slot != SLOT_KEYWORDS)
			look_at_field(x, slot, x->route->looks[slot], i);
	}
	if (x->route->looks[SLOT_KEYWORDS])
		look_at_keywords(x, x->route->looks[SLOT_KEYWORDS]);
}

/* The next word of the sets with a candidate in it: in found[0] those are left, and found[1] says nothing more about
 * them. Words without any are cleared on the way. */
static uint64_t next_word(struct candidates *x, size_t *ret_word)
{
	for (; x->at < x->summary_words; x->at++) {
		while (x->summary[x->at]) {
			size_t word = x->at * 64 + (size_t)__builtin_ctzll(x->summary[x->at]);
			x->found[0][word] &= x->found[1][word] | x->c->single[word];
			x->found[1][word] = ~(uint64_t)0;
			if (x->found[0][word]) {
				*ret_word = word;
				return x->found[0][word];
			}
			x->found[1][word] = 0;
			x->summary[x->at] &= x->summary[x->at] - 1;
		}
	}
	return 0;
}

bool candidates_next(struct candidates *x, size_t *ret_rule)
{
	size_t word;
	uint64_t rules = next_word(x, &word);

	if (!rules)
		return false;
	*ret_rule = word * 64 + (size_t)__builtin_ctzll(rules);
	x->found[0][word] = rules & (rules - 1);
	return true;
}
