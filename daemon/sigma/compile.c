/* From rules to what finds them. Each rule gets a guard (guard.c): a few tests of which one must fit before the rule is
 * worth a look. Only guards are searched for, not every test of every rule: of SigmaHQ's 33,755 tests they are a third,
 * which makes the search as much faster and the databases as much smaller, and the candidates that remain are few
 * enough to evaluate as they are written. Whole values, beginnings and ends of values, numbers and networks are found
 * by hashing; texts anywhere in a value and regular expressions by Hyperscan, one database for each field.
 *
 * Whatever cannot be searched for (no guard, a pattern that Hyperscan refuses) makes its rules be looked at more often.
 * So nothing here decides about a match, and nothing that goes wrong here can lose one. */
#include "sigma/compile.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/compile_cache.h"
#include "sigma/compiled.h"

/* ---- groups and guards ---- */

static void make_groups(struct compiled *c)
{
	const struct ruleset *set = c->rules;
	struct map seen;
	size_t cap = 0;

	map_init(&seen);
	c->group_of = xcalloc(set->count, sizeof(*c->group_of));
	for (size_t i = 0; i < set->count; i++) {
		const struct rule *r = &set->rules[i];
		struct str key = r->unmapped ? STR("unmapped")
		                             : str_make((const char *)r->sources.bits,
		                                        sizeof(r->sources.bits));
		uintptr_t group = (uintptr_t)map_get(&seen, key);
		if (!group) {
			xgrow(&c->groups, &cap, c->group_count + 1, sizeof(*c->groups));
			c->groups[c->group_count++] = (struct group){.first = r};
			group = c->group_count;
			map_put(&seen, key, (void *)group);
		}
		c->group_of[i] = (uint32_t)group - 1;
	}
	map_release(&seen, NULL);
}

/* A list of numbers that grows, then goes to the arena. */
struct numbers {
	uint32_t *items;
	size_t count, cap;
};

static void numbers_add(struct numbers *n, uint32_t number)
{
	xgrow(&n->items, &n->cap, n->count + 1, sizeof(*n->items));
	n->items[n->count++] = number;
}

static const uint32_t *numbers_keep(struct numbers *n, struct arena *a)
{
	uint32_t *copy = NULL;

	if (n->count) {
		copy = arena_alloc(a, n->count * sizeof(*copy));
		memcpy(copy, n->items, n->count * sizeof(*copy));
	}
	free(n->items);
	return copy;
}

static int choose_guards(struct compiled *c, const atomic_bool *stop)
{
	struct numbers *always = xcalloc(c->group_count, sizeof(*always));
	int r = 0;

	for (size_t i = 0; i < c->rules->count; i++)
		guards_count(&c->guards, c->rules->rules[i].condition);
	for (size_t i = 0; i < c->rules->count; i++) {
		if (guards_choose(&c->guards, c->rules->rules[i].condition, (uint32_t)i))
			continue;
		numbers_add(&always[c->group_of[i]], (uint32_t)i);
		c->facts.always++;
	}
	if (stop && atomic_load(stop))
		r = -ECANCELED;
	for (size_t i = 0; i < c->group_count; i++) {
		c->groups[i].always_count = always[i].count;
		c->groups[i].always = numbers_keep(&always[i], &c->arena);
	}
	free(always);
	return r;
}

/* ---- slots ---- */

/* What gathers for one slot while its atoms are gone through. */
struct draft_slot {
	struct numbers present, regexes;
	struct db_pattern *texts, *patterns;
	size_t text_count, text_cap, pattern_count, pattern_cap;
	struct bound *lower, *upper;
	size_t lower_count, lower_cap, upper_count, upper_cap;
	bool prefixes[ATOM_TEXT_MAX + 1], suffixes[ATOM_TEXT_MAX + 1], networks[129];
};

static const enum look looks[ATOM_KINDS] = {
	[ATOM_PRESENT] = LOOK_PRESENT, [ATOM_VALUE] = LOOK_VALUE,     [ATOM_PREFIX] = LOOK_PREFIX,
	[ATOM_SUFFIX] = LOOK_SUFFIX,   [ATOM_NUMBER] = LOOK_NUMBER,   [ATOM_AT_LEAST] = LOOK_NUMBER,
	[ATOM_AT_MOST] = LOOK_NUMBER,  [ATOM_NETWORK] = LOOK_NETWORK, [ATOM_CONTAINS] = LOOK_TEXT,
	[ATOM_REGEX] = LOOK_REGEX,
};

/* The rules of `a` may become candidates by this look at its slot. */
static void note_look(struct compiled *c, const struct atom *a, enum look look)
{
	struct slot *s = &c->slots[a->slot];
	size_t words = (c->group_count + 63) / 64, i = (size_t)__builtin_ctz(look);

	if (!s->groups[i]) {
		s->groups[i] = arena_alloc(&c->arena, words * sizeof(uint64_t));
		memset(s->groups[i], 0, words * sizeof(uint64_t));
	}
	for (size_t j = 0; j < a->count; j++) {
		uint32_t group = c->group_of[a->rules[j]];
		s->groups[i][group / 64] |= (uint64_t)1 << group % 64;
	}
}

static void add_bound(struct bound **items, size_t *count, size_t *cap, double at, uint32_t atom)
{
	xgrow(items, cap, *count + 1, sizeof(**items));
	(*items)[(*count)++] = (struct bound){at, atom};
}

static void add_pattern(struct db_pattern **items, size_t *count, size_t *cap, uint32_t atom,
                        const struct atom *a)
{
	xgrow(items, cap, *count + 1, sizeof(**items));
	(*items)[(*count)++] = (struct db_pattern){
		.id = atom,
		.text = a->regex ? regex_text(a->regex) : a->text,
		.regex = a->regex != NULL,
		.flags = a->regex ? regex_flags_of(a->regex) : 0,
	};
}

static void draft_atom(struct compiled *c, struct draft_slot *d, uint32_t atom)
{
	const struct atom *a = &c->guards.atoms[atom];
	struct slot *s = &c->slots[a->slot];

	switch (a->kind) {
	case ATOM_PRESENT: numbers_add(&d->present, atom); break;
	case ATOM_VALUE:
		if (a->text.n > s->value_max)
			s->value_max = a->text.n;
		break;
	case ATOM_PREFIX: d->prefixes[a->text.n] = true; break;
	case ATOM_SUFFIX: d->suffixes[a->text.n] = true; break;
	case ATOM_NUMBER: break;
	case ATOM_AT_LEAST:
		add_bound(&d->lower, &d->lower_count, &d->lower_cap, a->number, atom);
		break;
	case ATOM_AT_MOST:
		add_bound(&d->upper, &d->upper_count, &d->upper_cap, a->number, atom);
		break;
	case ATOM_NETWORK: d->networks[a->network->prefix] = true; break;
	case ATOM_CONTAINS: add_pattern(&d->texts, &d->text_count, &d->text_cap, atom, a); break;
	case ATOM_REGEX:
		numbers_add(&d->regexes, atom);
		add_pattern(&d->patterns, &d->pattern_count, &d->pattern_cap, atom, a);
		break;
	}
	note_look(c, a, looks[a->kind]);
	c->facts.predicates++;
}

static struct lengths keep_lengths(struct arena *a, const bool *present, size_t count)
{
	uint8_t *items = arena_alloc(a, count);
	struct lengths ret = {.items = items};

	for (size_t i = 0; i < count; i++)
		if (present[i])
			items[ret.count++] = (uint8_t)i;
	return ret;
}

static int by_bound(const void *a, const void *b)
{
	double x = ((const struct bound *)a)->at, y = ((const struct bound *)b)->at;

	return (x > y) - (x < y);
}

static const struct bound *keep_bounds(struct arena *a, struct bound *items, size_t count)
{
	struct bound *copy = arena_alloc(a, count * sizeof(*copy));

	if (count) {
		qsort(items, count, sizeof(*items), by_bound);
		memcpy(copy, items, count * sizeof(*copy));
	}
	free(items);
	return copy;
}

/* Frees the draft but for its patterns. */
static void finish_slot(struct compiled *c, struct slot *s, struct draft_slot *d)
{
	s->prefixes = keep_lengths(&c->arena, d->prefixes, ATOM_TEXT_MAX + 1);
	s->suffixes = keep_lengths(&c->arena, d->suffixes, ATOM_TEXT_MAX + 1);
	s->networks = keep_lengths(&c->arena, d->networks, 129);
	s->lower_count = d->lower_count;
	s->lower = keep_bounds(&c->arena, d->lower, d->lower_count);
	s->upper_count = d->upper_count;
	s->upper = keep_bounds(&c->arena, d->upper, d->upper_count);
	s->present_count = d->present.count;
	s->present = numbers_keep(&d->present, &c->arena);
	s->regex_count = d->regexes.count;
	s->regex_atoms = numbers_keep(&d->regexes, &c->arena);
}

/* ---- what is found by hashing ---- */

static bool atom_hash(const struct atom *a, uint64_t *ret)
{
	uint64_t h = probe_seed(a->slot, a->kind);

	switch (a->kind) {
	case ATOM_VALUE: h = probe_value(h, a->text); break;
	case ATOM_NUMBER: h = probe_number(h, a->number); break;
	case ATOM_NETWORK: h = probe_network(h, a->network); break;
	case ATOM_PREFIX:
		for (size_t i = 0; i < a->text.n; i++)
			h = probe_byte(h, a->text.p[i]);
		break;
	case ATOM_SUFFIX:
		for (size_t i = a->text.n; i > 0; i--)
			h = probe_byte(h, a->text.p[i - 1]);
		break;
	case ATOM_PRESENT:
	case ATOM_AT_LEAST:
	case ATOM_AT_MOST:
	case ATOM_CONTAINS:
	case ATOM_REGEX: return false;
	}
	*ret = probe_end(h);
	return true;
}

static void make_probes(struct compiled *c)
{
	c->probe_size = 64;
	while (c->probe_size < 3 * c->facts.predicates)
		c->probe_size *= 2;
	c->probes = xmalloc(c->probe_size * sizeof(*c->probes));
	memset(c->probes, 0xff, c->probe_size * sizeof(*c->probes));
	for (size_t i = 0; i < c->guards.count; i++) {
		const struct atom *a = &c->guards.atoms[i];
		uint64_t h;
		if (!a->count || !atom_hash(a, &h))
			continue;
		size_t at = h & (c->probe_size - 1);
		while (c->probes[at].atom != NO_ATOM)
			at = (at + 1) & (c->probe_size - 1);
		c->probes[at] = (struct probe){(uint32_t)(h >> 32), (uint32_t)i};
	}
}

static void index_slots(struct compiled *c)
{
	c->slot_index_size = 64;
	while (c->slot_index_size < 4 * c->slot_count)
		c->slot_index_size *= 2;
	c->slot_index = xcalloc(c->slot_index_size, sizeof(*c->slot_index));
	for (size_t i = SLOT_KEYWORDS + 1; i < c->slot_count; i++) {
		const struct slot *s = &c->slots[i];
		bool used = false;
		for (size_t j = 0; j < LOOKS; j++)
			used |= s->groups[j] != NULL;
		size_t at = s->hash & (c->slot_index_size - 1);
		while (used && c->slot_index[at])
			at = (at + 1) & (c->slot_index_size - 1);
		if (used)
			c->slot_index[at] = (uint32_t)i;
	}
}

/* ---- patterns ---- */

/* The two databases that a slot can have, and what they are made of. */
struct draft_db {
	uint32_t slot;
	struct pattern_db **place;
	const struct db_pattern *patterns;
	size_t count;
};

static void hash_number(struct sha256 *h, uint64_t n)
{
	sha256_add(h, str_make((const char *)&n, sizeof(n)));
}

static void key_of(const struct draft_db *drafts, size_t count, uint8_t key[static SHA256_BYTES])
{
	struct sha256 *h = sha256_new();
	struct buf identity;

	buf_init(&identity, 0);
	pattern_db_identity(&identity);
	sha256_begin(h);
	hash_number(h, identity.n);
	sha256_add(h, buf_str(&identity));
	hash_number(h, PATTERN_LOT_MAX);
	for (size_t i = 0; i < count; i++) {
		hash_number(h, drafts[i].count);
		for (size_t j = 0; j < drafts[i].count; j++) {
			const struct db_pattern *p = &drafts[i].patterns[j];
			hash_number(h, (uint64_t)p->id << 32 | p->flags << 1 | p->regex);
			hash_number(h, p->text.n);
			sha256_add(h, p->text);
		}
	}
	sha256_end(h, key);
	sha256_free(h);
	buf_release(&identity);
}

static void drop_databases(const struct draft_db *drafts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		pattern_db_free(*drafts[i].place);
		*drafts[i].place = NULL;
	}
}

static int load_databases(const struct draft_db *drafts, size_t count, const char *dir,
                          const uint8_t key[static SHA256_BYTES])
{
	struct buf body;

	buf_init(&body, COMPILE_CACHE_MAX);
	int r = compile_cache_load(dir, key, &body);
	struct str in = buf_str(&body);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = pattern_db_load(&in, drafts[i].place);
	if (r == 0 && in.n)
		r = -EBADMSG;
	if (r < 0)
		drop_databases(drafts, count);
	buf_release(&body);
	return r;
}

static int save_databases(const struct draft_db *drafts, size_t count, const char *dir,
                          const uint8_t key[static SHA256_BYTES])
{
	struct buf body;
	int r = 0;

	buf_init(&body, COMPILE_CACHE_MAX);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = pattern_db_save(*drafts[i].place, &body);
	if (r == 0)
		r = compile_cache_save(dir, key, buf_str(&body));
	buf_release(&body);
	return r;
}

/* From the cache, or compiled and cached. */
static int make_databases(struct compiled *c, const struct draft_db *drafts, size_t count,
                          const struct compile_options *o, struct diags *diags)
{
	uint8_t key[SHA256_BYTES];
	int r = -ENOENT;

	key_of(drafts, count, key);
	if (o->cache_dir)
		r = load_databases(drafts, count, o->cache_dir, key);
	c->facts.cached = r == 0;
	if (r == 0)
		return 0;
	if (r != -ENOENT)
		diag_add(diags, DIAG_WARNING, o->cache_dir, 0, 0,
		         "the cached patterns cannot be used and are compiled anew: %s",
		         strerror(-r));
	for (size_t i = 0; i < count; i++) {
		r = pattern_db_new(drafts[i].patterns, drafts[i].count, o->stop, drafts[i].place);
		if (r < 0)
			return r;
	}
	r = o->cache_dir ? save_databases(drafts, count, o->cache_dir, key) : 0;
	if (r < 0)
		diag_add(diags, DIAG_WARNING, o->cache_dir, 0, 0,
		         "compiled patterns cannot be cached: %s", strerror(-r));
	return 0;
}

/* Patterns that were refused count as found whenever the field is there. */
static void take_refused(struct compiled *c, const struct draft_db *draft, struct draft_slot *slot)
{
	const uint32_t *ids;
	size_t count = pattern_db_refused(*draft->place, &ids);

	for (size_t i = 0; i < count; i++) {
		numbers_add(&slot->present, ids[i]);
		note_look(c, &c->guards.atoms[ids[i]], LOOK_PRESENT);
	}
	c->facts.refused += count;
	c->facts.patterns += pattern_db_count(*draft->place);
	c->facts.bytes += pattern_db_bytes(*draft->place);
	if (pattern_db_count(*draft->place) == 0) {
		pattern_db_free(*draft->place);
		*draft->place = NULL;
	}
}

static void tell_refused(const struct compiled *c, struct diags *diags)
{
	if (!pattern_db_possible())
		diag_add(diags, DIAG_WARNING, NULL, 0, 0,
		         "Hyperscan does not run on this processor (it needs SSSE3): rules are "
		         "matched without it, slower");
	else if (c->facts.refused > 0)
		diag_add(diags, DIAG_WARNING, NULL, 0, 0,
		         "%zu of %zu patterns are not searched for by Hyperscan: their rules are "
		         "looked at more often",
		         c->facts.refused, c->facts.refused + c->facts.patterns);
}

static int make_patterns(struct compiled *c, struct draft_slot *slots,
                         const struct compile_options *o, struct diags *diags)
{
	struct draft_db *drafts = xcalloc(2 * c->slot_count, sizeof(*drafts));
	size_t count = 0;

	for (size_t i = 0; i < c->slot_count; i++) {
		const struct draft_slot *d = &slots[i];
		struct slot *s = &c->slots[i];
		if (d->text_count)
			drafts[count++] =
				(struct draft_db){(uint32_t)i, &s->texts, d->texts, d->text_count};
		if (d->pattern_count)
			drafts[count++] = (struct draft_db){(uint32_t)i, &s->regexes, d->patterns,
			                                    d->pattern_count};
	}
	int r = make_databases(c, drafts, count, o, diags);
	for (size_t i = 0; r == 0 && i < count; i++)
		take_refused(c, &drafts[i], &slots[drafts[i].slot]);
	free(drafts);
	if (r == 0)
		tell_refused(c, diags);
	return r;
}

/* ---- all of it ---- */

static int make_slots(struct compiled *c, const struct compile_options *o, struct diags *diags)
{
	struct draft_slot *drafts;
	int r;

	c->slot_count = c->guards.slot_count;
	c->slots = xcalloc(c->slot_count, sizeof(*c->slots));
	drafts = xcalloc(c->slot_count, sizeof(*drafts));
	for (size_t i = 0; i < c->slot_count; i++) {
		c->slots[i].name = c->guards.slots[i].text;
		c->slots[i].hash = c->guards.slots[i].hash;
	}
	for (size_t i = 0; i < c->guards.count; i++) {
		const struct atom *a = &c->guards.atoms[i];
		if (a->count)
			draft_atom(c, &drafts[a->slot], (uint32_t)i);
	}
	r = make_patterns(c, drafts, o, diags);
	for (size_t i = 0; i < c->slot_count; i++) {
		finish_slot(c, &c->slots[i], &drafts[i]);
		free(drafts[i].texts);
		free(drafts[i].patterns);
	}
	free(drafts);
	return r;
}

int compiled_new(const struct ruleset *rules, const struct compile_options *options,
                 struct diags *diags, struct compiled **ret)
{
	struct compiled *c = xcalloc(1, sizeof(*c));

	c->rules = rules;
	c->facts.rules = rules->count;
	arena_init(&c->arena, 0);
	guards_init(&c->guards);
	make_groups(c);
	int r = choose_guards(c, options->stop);
	if (r == 0)
		r = make_slots(c, options, diags);
	if (r < 0) {
		compiled_free(c);
		return r;
	}
	index_slots(c);
	make_probes(c);
	*ret = c;
	return 0;
}

void compiled_free(struct compiled *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->slot_count; i++) {
		pattern_db_free(c->slots[i].texts);
		pattern_db_free(c->slots[i].regexes);
	}
	free(c->slots);
	free(c->slot_index);
	free(c->probes);
	free(c->groups);
	free(c->group_of);
	guards_release(&c->guards);
	arena_release(&c->arena);
	free(c);
}

void compiled_facts(const struct compiled *c, struct compiled_facts *ret)
{
	*ret = c->facts;
}
