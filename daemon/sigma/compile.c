/* From rules to what finds them. Each rule gets a guard (guard.c): a few tests of which one must fit before the rule is
 * worth a look. Only guards are searched for, not every test of every rule: of SigmaHQ's 33,755 tests they are a third,
 * which makes the search as much faster and the databases as much smaller, and the candidates that remain are few
 * enough to evaluate as they are written. Whole values, beginnings and ends of values, numbers and networks are found
 * by hashing; texts anywhere in a value and regular expressions by Hyperscan (compile_patterns.c).
 *
 * Whatever cannot be searched for (no guard, a pattern that Hyperscan refuses) makes its rules be looked at more often.
 * So nothing here decides about a match, and nothing that goes wrong here can lose one. */
#include "sigma/compile.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/compiled.h"
#include "sigma/rule_groups.h"

/* ---- groups and guards ---- */

static void make_groups(struct compiled *c)
{
	const struct rule **first;

	c->group_of = xcalloc(c->rules->count, sizeof(*c->group_of));
	c->group_count = rule_groups_make(c->rules, c->group_of, &first);
	c->groups = xcalloc(c->group_count, sizeof(*c->groups));
	for (size_t i = 0; i < c->group_count; i++)
		c->groups[i].first = first[i];
	free(first);
}

void numbers_add(struct numbers *n, uint32_t number)
{
	xgrow(&n->items, &n->cap, n->count + 1, sizeof(*n->items));
	n->items[n->count++] = number;
}

/* As a list that stays; frees the other. */
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

static void choose_guards(struct compiled *c, struct atoms *atoms)
{
	struct numbers *always = xcalloc(c->group_count, sizeof(*always));

	for (size_t i = 0; i < c->rules->count; i++)
		guard_count(atoms, c->rules->rules[i].condition);
	atoms_counted(atoms);
	c->single = xcalloc((c->rules->count + 63) / 64, sizeof(*c->single));
	for (size_t i = 0; i < c->rules->count; i++) {
		unsigned guards = guard_choose(atoms, c->rules->rules[i].condition, (uint32_t)i);
		if (guards < GUARDS_MAX)
			c->single[i / 64] |= (uint64_t)1 << i % 64;
		if (guards)
			continue;
		numbers_add(&always[c->group_of[i]], (uint32_t)i);
		c->facts.always++;
	}
	for (size_t i = 0; i < c->group_count; i++) {
		c->groups[i].always_count = always[i].count;
		c->groups[i].always = numbers_keep(&always[i], &c->arena);
	}
	free(always);
}

/* What is used of the atoms. */
static void make_triggers(struct compiled *c, const struct atoms *atoms)
{
	size_t references = 0;

	for (size_t i = 0; i < atoms->count; i++) {
		c->trigger_count += atoms->items[i].count > 0;
		references += atoms->items[i].count;
	}
	c->triggers = xcalloc(c->trigger_count, sizeof(*c->triggers));
	c->references = xcalloc(references, sizeof(*c->references));
	c->facts.predicates = c->trigger_count;
	c->trigger_count = references = 0;
	for (size_t i = 0; i < atoms->count; i++) {
		const struct atom *a = &atoms->items[i];
		if (!a->count)
			continue;
		struct str text = a->kind == ATOM_CONTAINS ? atom_searched(atoms, a) : a->text;
		c->triggers[c->trigger_count++] = (struct trigger){
			.kind = a->kind,
			.slot = a->slot,
			.text = text.p ? arena_str(&c->arena, text) : STR_NONE,
			.number = a->number,
			.regex = a->regex,
			.network = a->network,
			.first = (uint32_t)references,
			.count = (uint32_t)a->count,
		};
		for (size_t j = 0; j < a->count; j++)
			c->references[references++] = (struct reference){
				a->refs[j], c->group_of[a->refs[j] / GUARDS_MAX]};
	}
}

/* ---- slots ---- */

/* What gathers for one slot while its atoms are gone through. */
struct draft_slot {
	struct numbers present, texts, regexes;
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

/* Rules that `a` guards may become candidates by this look at its slot. */
static void note_look(struct compiled *c, const struct trigger *a, enum look look)
{
	struct slot *s = &c->slots[a->slot];
	size_t words = (c->group_count + 63) / 64, i = (size_t)__builtin_ctz(look);

	if (!s->groups[i]) {
		s->groups[i] = arena_alloc(&c->arena, words * sizeof(uint64_t));
		memset(s->groups[i], 0, words * sizeof(uint64_t));
	}
	for (size_t j = 0; j < a->count; j++) {
		uint32_t group = c->references[a->first + j].group;
		s->groups[i][group / 64] |= (uint64_t)1 << group % 64;
	}
}

static void add_bound(struct bound **items, size_t *count, size_t *cap, double at, uint32_t trigger)
{
	xgrow(items, cap, *count + 1, sizeof(**items));
	(*items)[(*count)++] = (struct bound){at, trigger};
}

static void draft_trigger(struct compiled *c, struct draft_slot *d, uint32_t number)
{
	const struct trigger *a = &c->triggers[number];
	struct slot *s = &c->slots[a->slot];

	switch (a->kind) {
	case ATOM_PRESENT: numbers_add(&d->present, number); break;
	case ATOM_VALUE:
		if (a->text.n > s->value_max)
			s->value_max = a->text.n;
		break;
	case ATOM_PREFIX: d->prefixes[affix_key(a->text.n)] = true; break;
	case ATOM_SUFFIX: d->suffixes[affix_key(a->text.n)] = true; break;
	case ATOM_NUMBER: break;
	case ATOM_AT_LEAST:
		add_bound(&d->lower, &d->lower_count, &d->lower_cap, a->number, number);
		break;
	case ATOM_AT_MOST:
		add_bound(&d->upper, &d->upper_count, &d->upper_cap, a->number, number);
		break;
	case ATOM_NETWORK: d->networks[a->network->prefix] = true; break;
	case ATOM_CONTAINS: numbers_add(&d->texts, number); break;
	case ATOM_REGEX: numbers_add(&d->regexes, number); break;
	}
	note_look(c, a, looks[a->kind]);
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
	s->text_count = d->texts.count;
	s->texts = numbers_keep(&d->texts, &c->arena);
	s->regex_count = d->regexes.count;
	s->regex_atoms = numbers_keep(&d->regexes, &c->arena);
}

/* ---- what is found by hashing ---- */

static bool trigger_hash(const struct trigger *a, uint64_t *ret)
{
	uint64_t h = probe_seed(a->slot, a->kind);

	switch (a->kind) {
	case ATOM_VALUE: h = probe_value(h, a->text); break;
	case ATOM_NUMBER: h = probe_number(h, a->number); break;
	case ATOM_NETWORK: h = probe_network(h, a->network); break;
	case ATOM_PREFIX: h = probe_value(h, str_head(a->text, affix_key(a->text.n))); break;
	case ATOM_SUFFIX:
		h = probe_value(h, str_skip(a->text, a->text.n - affix_key(a->text.n)));
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

/* An empty filter for each slot, as large as it must be. */
static void make_filters(struct compiled *c, const uint32_t *hashed)
{
	for (size_t i = 0; i < c->slot_count; i++) {
		size_t bits = 64;
		while (bits < (size_t)SLOT_FILTER_SPARSE * hashed[i])
			bits *= 2;
		c->slots[i].filter = arena_alloc(&c->arena, bits / 8);
		memset(c->slots[i].filter, 0, bits / 8);
		c->slots[i].filter_mask = bits - 1;
	}
}

static void make_probes(struct compiled *c)
{
	uint32_t *of_slot = xcalloc(c->slot_count, sizeof(*of_slot));
	size_t hashed = 0;
	uint64_t h;

	for (size_t i = 0; i < c->trigger_count; i++) {
		bool is_hashed = trigger_hash(&c->triggers[i], &h);
		hashed += is_hashed;
		of_slot[c->triggers[i].slot] += is_hashed;
	}
	make_filters(c, of_slot);
	free(of_slot);
	c->probe_size = 64;
	while (c->probe_size < 2 * hashed)
		c->probe_size *= 2;
	c->probes = xmalloc(c->probe_size * sizeof(*c->probes));
	memset(c->probes, 0xff, c->probe_size * sizeof(*c->probes));
	for (size_t i = 0; i < c->trigger_count; i++) {
		const struct trigger *a = &c->triggers[i];
		if (!trigger_hash(a, &h))
			continue;
		slot_filter_add(&c->slots[a->slot], h);
		size_t at = h & (c->probe_size - 1);
		while (c->probes[at].trigger != NO_TRIGGER)
			at = (at + 1) & (c->probe_size - 1);
		c->probes[at] = (struct probe){(uint32_t)(h >> 32), (uint32_t)i};
	}
}

static void index_slots(struct compiled *c)
{
	c->slot_index_size = 64;
	while (c->slot_index_size < 3 * c->slot_count)
		c->slot_index_size *= 2;
	c->slot_tags = xcalloc(c->slot_index_size, sizeof(*c->slot_tags));
	c->slot_numbers = xcalloc(c->slot_index_size, sizeof(*c->slot_numbers));
	for (size_t i = SLOT_KEYWORDS + 1; i < c->slot_count; i++) {
		const struct slot *s = &c->slots[i];
		bool used = false;
		for (size_t j = 0; j < LOOKS; j++)
			used |= s->groups[j] != NULL;
		if (!used)
			continue;
		size_t at = s->hash & (c->slot_index_size - 1);
		while (c->slot_tags[at])
			at = (at + 1) & (c->slot_index_size - 1);
		c->slot_tags[at] = slot_tag(s->hash);
		c->slot_numbers[at] = (uint32_t)i;
	}
}

/* ---- all of it ---- */

static int make_slots(struct compiled *c, const struct atoms *atoms,
                      const struct compile_options *o, struct diags *diags)
{
	struct draft_slot *drafts;
	struct numbers refused = {0};
	int r;

	c->slot_count = atoms->slot_count;
	c->slots = xcalloc(c->slot_count, sizeof(*c->slots));
	drafts = xcalloc(c->slot_count, sizeof(*drafts));
	for (size_t i = 0; i < c->slot_count; i++) {
		c->slots[i].name = atoms->slots[i].text;
		c->slots[i].hash = atoms->slots[i].hash;
	}
	for (size_t i = 0; i < c->trigger_count; i++)
		draft_trigger(c, &drafts[c->triggers[i].slot], (uint32_t)i);
	r = compile_patterns(c, o, diags, &refused);
	/* They count as found whenever the field is there. */
	for (size_t i = 0; i < refused.count; i++) {
		const struct trigger *a = &c->triggers[refused.items[i]];
		numbers_add(&drafts[a->slot].present, refused.items[i]);
		note_look(c, a, LOOK_PRESENT);
	}
	free(refused.items);
	for (size_t i = 0; i < c->slot_count; i++)
		finish_slot(c, &c->slots[i], &drafts[i]);
	free(drafts);
	return r;
}

int compiled_new(const struct ruleset *rules, const struct compile_options *options,
                 struct diags *diags, struct compiled **ret)
{
	struct compiled *c = xcalloc(1, sizeof(*c));
	struct atoms atoms;

	c->rules = rules;
	c->facts.rules = rules->count;
	arena_init(&c->arena, 0);
	atoms_init(&atoms);
	make_groups(c);
	choose_guards(c, &atoms);
	make_triggers(c, &atoms);
	int r = make_slots(c, &atoms, options, diags);
	atoms_release(&atoms);
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
	for (size_t i = 0; i < c->scan_count; i++)
		pattern_db_free(c->scans[i].db);
	free(c->scans);
	free(c->slots);
	free(c->slot_tags);
	free(c->slot_numbers);
	free(c->probes);
	free(c->groups);
	free(c->group_of);
	free(c->triggers);
	free(c->references);
	free(c->single);
	arena_release(&c->arena);
	free(c);
}

void compiled_facts(const struct compiled *c, struct compiled_facts *ret)
{
	*ret = c->facts;
}
