/* Log sources of one event. This runs for every event that comes in, so it is built around one hash look-up per
 * field: the look-up says what the field is renamed to, which second names it has, and which jobs (derived fields and sources)
 * are worth a look because of the field or of its value. A job is looked at only when the rarest thing its condition
 * needs (logsource_index.c picks it) is there; of the shipped file's 300 jobs that leaves a handful per event,
 * whose conditions are then evaluated as written.
 *
 * Order: names first (rename, then second names, then derived fields in the file's order), conditions after, so
 * that a condition may use any name of a field. */
#include "event/logsource.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/net.h"
#include "event/logsource_table.h"

#define NO_FIELD UINT16_MAX

#define PIECES_MAX                                                                                 \
	2048 /* 1,024 arguments of one command line; of a longer one the beginning is taken */

/* What is known of the event at hand. */
struct look {
	const struct logsources *l;
	struct event *e;
	size_t seen_count;
	uint16_t first[LOGSOURCE_NAMES_MAX]; /* by slot: the first field of that name */
	/* slots in order of appearance; a displaced name may appear again */
	uint16_t seen[LOGSOURCE_NAMES_MAX + LOGSOURCE_DERIVES_MAX];
	uint64_t jobs[LOGSOURCE_JOBS / 64]; /* worth a look */
	size_t field_count;                 /* of the event as it came */
	struct memo_copy copies[MEMO_COPIES_MAX];
	size_t copy_count;
	bool special; /* not to be remembered */
};

static void mark(uint64_t *bits, size_t i)
{
	bits[i / 64] |= (uint64_t)1 << (i % 64);
}

static void mark_jobs(void *arg, const struct value_jobs *v)
{
	struct look *k = arg;

	for (size_t i = 0; i < v->count; i++)
		mark(k->jobs, v->jobs[i]);
}

static bool has_byte(const struct affix_jobs *a, char byte)
{
	unsigned char c = (unsigned char)byte;

	c |= c >= 'A' && c <= 'Z' ? 0x20 : 0;
	return a->bytes[c / 64] >> c % 64 & 1;
}

struct found {
	const struct field_name *n;
	void (*found)(void *arg, const struct value_jobs *v);
	void *arg;
};

static void found_needle(void *arg, size_t number)
{
	const struct found *f = arg;

	f->found(f->arg, &f->n->contains[number]);
}

/* Of the value's beginning, its end and what stands in it. */
static void facts_within(const struct field_name *n, struct str value,
                         void (*found)(void *arg, const struct value_jobs *v), void *arg)
{
	for (size_t i = 0; has_byte(&n->starts, value.p[0]) && i < n->starts.count; i++)
		if (str_ieq(str_head(value, n->starts.items[i].text.n), n->starts.items[i].text))
			found(arg, &n->starts.items[i]);
	for (size_t i = 0; has_byte(&n->ends, value.p[value.n - 1]) && i < n->ends.count; i++) {
		struct str end = n->ends.items[i].text;
		if (value.n >= end.n && str_ieq(str_skip(value, value.n - end.n), end))
			found(arg, &n->ends.items[i]);
	}
	needles_find(&n->needles, value, found_needle, &(struct found){n, found, arg});
}

void logsource_value_facts(const struct field_name *n, struct str value,
                           void (*found)(void *arg, const struct value_jobs *v), void *arg)
{
	if (n->within && value.n)
		facts_within(n, value, found, arg);
	if (!n->values || value.n > n->longest)
		return;
	const struct value_jobs *v = logsource_value(n, value, logsource_value_hash(value));
	if (v->text.p)
		found(arg, v);
}

/* Field `at` carries name `slot`: remembers it and the jobs that it makes worth a look. */
static void look_note(struct look *k, size_t at, uint16_t slot)
{
	const struct field *f = &k->e->fields[at];
	const struct field_name *n = &k->l->names[slot];

	k->special |= n->opaque;
	if (f->type == VALUE_NULL)
		return;
	if (k->first[slot] == NO_FIELD) {
		k->first[slot] = (uint16_t)at;
		k->seen[k->seen_count++] = slot;
		for (size_t i = 0; i < n->present_count; i++)
			mark(k->jobs, n->present[i]);
	}
	if (n->values || n->within)
		logsource_value_facts(n, f->value, mark_jobs, k);
}

static bool look_has(const struct look *k, uint16_t slot)
{
	return k->first[slot] != NO_FIELD;
}

/* The first field of that name, which the caller knows is there. */
static const struct field *look_field(const struct look *k, uint16_t slot)
{
	return &k->e->fields[k->first[slot]];
}

static void look_derive(struct look *k, uint16_t slot, struct str value, enum value_type type)
{
	size_t at = k->e->count;

	if (event_put_derived(k->e, k->l->names[slot].text, value, type))
		look_note(k, at, slot);
}

/* What is left of `name` after the first prefix of those from `first` on that it has, or STR_NONE. */
static struct str strip(const struct prefix *first, struct str name)
{
	uint64_t word = 0;

	memcpy(&word, name.p, name.n < 8 ? name.n : 8);
	for (const struct prefix *p = first; p; p = p->next) {
		if ((word & p->mask) != p->word || !str_starts(name, p->head))
			continue;
		struct str rest = str_skip(name, p->head.n);
		if (p->element) {
			ptrdiff_t dot = str_find(rest, '.');
			if (dot < 1 || !str_starts(str_skip(rest, (size_t)dot), p->tail))
				continue;
			rest = str_skip(rest, (size_t)dot + p->tail.n);
		}
		if (rest.n && rest.p[0] != '#' && rest.p[0] != '@')
			return rest;
	}
	return STR_NONE;
}

static void rename_fields(struct look *k)
{
	const struct logsources *l = k->l;
	struct event *e = k->e;
	bool renamed = false;

	for (size_t i = 0; i < e->count; i++) {
		struct str name = e->fields[i].name;
		const struct prefix *first =
			name.n ? l->prefix_from[(unsigned char)name.p[0]] : NULL;
		if (first) {
			struct str rest = strip(first, name);
			if (rest.p)
				event_rename(e, i, rest);
			renamed |= rest.p != NULL;
		}
		uint16_t slot = logsource_slot(l, e->fields[i].name, e->fields[i].hash);
		if (slot == LOGSOURCE_NO_SLOT)
			continue;
		if (l->names[slot].rename != LOGSOURCE_NO_SLOT) {
			slot = l->names[slot].rename;
			event_rename(e, i, l->names[slot].text);
			renamed = true;
		}
		look_note(k, i, slot);
	}
	k->special |= renamed;
	if (renamed)
		event_reindex(e);
}

/* Field `at` gets the second name `slot`. */
static void note_copy(struct look *k, size_t at, uint16_t slot)
{
	/* A copy of a copy is one of the field itself. */
	if (at >= k->field_count && at - k->field_count < k->copy_count)
		at = k->copies[at - k->field_count].at;
	if (k->copy_count == MEMO_COPIES_MAX || at >= k->field_count)
		k->special = true;
	else
		k->copies[k->copy_count++] = (struct memo_copy){(uint16_t)at, slot};
}

/* Every value of the field under its second names, where the event has no field of that name. */
static void add_second_names(struct look *k)
{
	for (size_t i = 0; i < k->seen_count; i++) {
		const struct field_name *n = &k->l->names[k->seen[i]];
		for (size_t j = 0; j < n->second_count; j++) {
			if (look_has(k, n->second[j]))
				continue;
			size_t at = k->first[k->seen[i]];
			for (;;) {
				const struct field *f = &k->e->fields[at];
				const struct field *next = event_next(k->e, f);
				size_t next_at = next ? (size_t)(next - k->e->fields) : 0;
				note_copy(k, at, n->second[j]);
				look_derive(k, n->second[j], f->value, (enum value_type)f->type);
				if (!next)
					break;
				at = next_at;
			}
		}
	}
}

/* The byte of a needle to look for first: one that is neither letter (of two cases) nor blank, if there is one. */
static size_t rare_byte(struct str needle)
{
	for (size_t i = 0; i < needle.n; i++)
		if (!isalpha((unsigned char)needle.p[i]) && needle.p[i] != ' ')
			return i;
	return 0;
}

/* Messages are long and seldom hold what is looked for: most of them are passed over by memchr. */
static bool contains(struct str value, struct str needle)
{
	if (needle.n == 0 || value.n < needle.n)
		return needle.n == 0;
	size_t at = rare_byte(needle);
	int lower = tolower((unsigned char)needle.p[at]);
	int upper = toupper((unsigned char)needle.p[at]);
	const char *end = value.p + value.n - needle.n + at + 1; /* of where that byte can be */

	for (int pass = 0; pass < (lower == upper ? 1 : 2); pass++)
		for (const char *p = value.p + at;
		     (p = memchr(p, pass ? upper : lower, (size_t)(end - p))); p++)
			if (str_ieq(str_make(p - at, needle.n), needle))
				return true;
	return false;
}

bool logsource_value_passes(const struct when *w, struct str value)
{
	for (size_t i = 0; i < w->value_count; i++) {
		struct str want = w->values[i];
		bool passes = false;
		switch (w->test) {
		case FIELD_EQUALS: passes = str_ieq(value, want); break;
		case FIELD_STARTS: passes = str_ieq(str_head(value, want.n), want); break;
		case FIELD_ENDS:
			passes = value.n >= want.n &&
			         str_ieq(str_skip(value, value.n - want.n), want);
			break;
		case FIELD_CONTAINS: passes = contains(value, want); break;
		case FIELD_EXISTS: break;
		}
		if (passes)
			return true;
	}
	return false;
}

static bool field_passes(const struct look *k, const struct when *w)
{
	if (w->test == FIELD_EXISTS)
		return look_has(k, w->slot) == w->present;
	if (!look_has(k, w->slot))
		return false;
	for (const struct field *f = look_field(k, w->slot); f; f = event_next(k->e, f))
		if (f->type != VALUE_NULL && logsource_value_passes(w, f->value))
			return true;
	return false;
}

static bool when_holds(const struct look *k, const struct when *w)
{
	switch (w->kind) {
	case WHEN_ALL:
		for (size_t i = 0; i < w->count; i++)
			if (!when_holds(k, w->parts[i]))
				return false;
		return true;
	case WHEN_ANY:
		for (size_t i = 0; i < w->count; i++)
			if (when_holds(k, w->parts[i]))
				return true;
		return false;
	case WHEN_NOT: return !when_holds(k, w->parts[0]);
	case WHEN_FIELD: return field_passes(k, w);
	case WHEN_SOURCE: return logsource_value_passes(w, k->e->source);
	}
	return false;
}

/* Glob with `*` at the beginning, the end, or both. */
static bool skipped(const struct derive *d, struct str value)
{
	if (value.n == 0)
		return true;
	for (size_t i = 0; i < d->skip_count; i++) {
		struct str s = d->skip[i];
		bool open = s.n && s.p[0] == '*', end = s.n > 1 && s.p[s.n - 1] == '*';
		s = str_make(s.p + open, s.n - open - end);
		if (open && end ? contains(value, s)
		    : open      ? value.n >= s.n && str_ieq(str_skip(value, value.n - s.n), s)
		    : end       ? str_ieq(str_head(value, s.n), s)
		                : str_ieq(value, s))
			return true;
	}
	return false;
}

/* A template being filled: slices first, copied once at the end if there is more than one. */
struct fill {
	struct str *pieces;
	size_t count, cap, bytes;
};

static bool fill_add(struct fill *t, struct str s)
{
	if (t->count == t->cap)
		return false;
	t->pieces[t->count++] = s;
	t->bytes += s.n;
	return true;
}

static bool fill_values(struct look *k, const struct part *p, struct fill *t)
{
	size_t before = t->count;

	for (const struct field *f = look_field(k, p->slot); f; f = event_next(k->e, f))
		if ((t->count > before && !fill_add(t, STR(" "))) || !fill_add(t, f->value))
			break;
	return true;
}

static bool fill_numbered(struct look *k, const struct part *p, struct fill *t)
{
	const struct field *f = look_field(k, p->slot);
	char name[64];

	for (unsigned i = p->number; f; i++) {
		if ((i > p->number && !fill_add(t, STR(" "))) || !fill_add(t, f->value))
			break;
		int n = snprintf(name, sizeof(name), "%.*s%u", STR_FMT(p->text), i + 1);
		if (n < 0 || (size_t)n >= sizeof(name))
			break;
		f = event_find(k->e, str_make(name, (size_t)n));
	}
	return true;
}

/* False when the part has no value, or "-", Windows' word for none. */
static bool fill_part(struct look *k, const struct part *p, struct fill *t)
{
	if (p->kind == PART_TEXT)
		return fill_add(t, p->text);
	if (!look_has(k, p->slot))
		return false;
	struct str value = look_field(k, p->slot)->value;
	if (value.n == 0 || str_eq(value, STR("-")))
		return false;
	switch (p->kind) {
	case PART_WORD: return fill_add(t, str_split(&value, ' '));
	case PART_PATH: return fill_add(t, str_split(&value, '?'));
	case PART_VALUES: return fill_values(k, p, t);
	case PART_NUMBERED: return fill_numbered(k, p, t);
	case PART_FIELD:
	case PART_TEXT: break;
	}
	return fill_add(t, value);
}

/* What the template gives, with `t` to put its pieces in. */
static bool fill_candidate(struct look *k, const struct candidate *c, struct fill *t,
                           struct str *ret)
{
	for (size_t i = 0; i < c->count; i++)
		if (!fill_part(k, &c->parts[i], t))
			return false;
	if (t->count == 1) {
		*ret = t->pieces[0];
		return true;
	}
	char *p = arena_alloc(&k->e->arena, t->bytes ? t->bytes : 1);
	if (!p)
		return false;
	*ret = str_make(p, t->bytes);
	for (size_t i = 0; i < t->count; i++) {
		if (t->pieces[i].n)
			memcpy(p, t->pieces[i].p, t->pieces[i].n);
		p += t->pieces[i].n;
	}
	return true;
}

/* A function of its own, so that only lists pay for so much stack. */
static __attribute__((noinline)) bool list_value(struct look *k, const struct candidate *c,
                                                 struct str *ret)
{
	struct str pieces[PIECES_MAX];

	return fill_candidate(k, c, &(struct fill){.pieces = pieces, .cap = PIECES_MAX}, ret);
}

static bool candidate_value(struct look *k, const struct candidate *c, struct str *ret)
{
	struct str pieces[LOGSOURCE_PARTS_MAX];

	for (size_t i = 0; i < c->count; i++)
		if (c->parts[i].kind == PART_VALUES || c->parts[i].kind == PART_NUMBERED)
			return list_value(k, c, ret);
	return fill_candidate(k, c, &(struct fill){.pieces = pieces, .cap = ARRAY_LEN(pieces)},
	                      ret);
}

/* Keeps only a remote party's address, in the one form that joins it with the same address from elsewhere. */
static bool as_address(struct look *k, struct str *value)
{
	char text[NET_TEXT_MAX];

	if (!net_is_address(*value, text) || net_is_local(*value))
		return false;
	if (str_eq(str_of(text), *value))
		return true;
	*value = arena_str(&k->e->arena, str_of(text));
	return value->p != NULL;
}

/* Fields of the derived name get the other one. True if there is room for the derived field now. */
static bool displace(struct look *k, const struct derive *d, struct str value)
{
	if (!look_has(k, d->slot))
		return true;
	if (str_ieq(look_field(k, d->slot)->value, value))
		return false;
	struct str from = k->l->names[d->slot].text, to = k->l->names[d->displace].text;
	for (size_t i = k->first[d->slot]; i < k->e->count; i++)
		if (str_eq(k->e->fields[i].name, from))
			event_rename(k->e, i, to);
	event_reindex(k->e);
	for (size_t i = k->first[d->slot]; i < k->e->count; i++)
		if (str_eq(k->e->fields[i].name, to))
			look_note(k, i, d->displace);
	k->first[d->slot] = NO_FIELD;
	return true;
}

static void derive(struct look *k, const struct derive *d)
{
	bool stays = d->displace == LOGSOURCE_NO_SLOT && look_has(k, d->slot);

	if (stays || (d->when && !when_holds(k, d->when)))
		return;
	for (size_t i = 0; i < d->from_count; i++) {
		struct str value;
		if (!candidate_value(k, &d->from[i], &value) || skipped(d, value) ||
		    (d->address && !as_address(k, &value)))
			continue;
		if (displace(k, d, value))
			look_derive(k, d->slot, value, VALUE_STRING);
		return;
	}
}

/* In the file's order; a derived field may make later ones worth a look, which are then still to come. */
static void add_derived(struct look *k)
{
	for (size_t word = 0; word * 64 < k->l->derive_count; word++) {
		uint64_t done = 0, bits;
		while ((bits = (k->jobs[word] | k->l->always[word]) & ~done) != 0) {
			size_t bit = (size_t)__builtin_ctzll(bits);
			done |= ((uint64_t)2 << bit) - 1;
			k->special = true;
			derive(k, &k->l->derives[word * 64 + bit]);
		}
	}
}

static void add_entries(const struct look *k, struct logsource_set *ret)
{
	const uint64_t *jobs = k->jobs + LOGSOURCE_DERIVES_MAX / 64,
		       *always = k->l->always + LOGSOURCE_DERIVES_MAX / 64;

	for (size_t word = 0; word * 64 < k->l->source_count; word++) {
		for (uint64_t bits = jobs[word] | always[word]; bits; bits &= bits - 1) {
			const struct source *s =
				&k->l->sources[word * 64 + (size_t)__builtin_ctzll(bits)];
			if (!when_holds(k, s->when))
				continue;
			for (size_t i = 0; i < s->count; i++)
				mark(ret->bits, (size_t)s->first + i);
			ret->any |= !s->beside;
		}
	}
}

void logsources_classify(const struct logsources *l, struct event *e, struct logsource_set *ret)
{
	logsources_classify_with(l, NULL, e, ret);
}

void logsources_classify_with(const struct logsources *l, struct logsource_memo *m, struct event *e,
                              struct logsource_set *ret)
{
	struct look k;

	if (m && logsource_memo_find(m, e, ret))
		return;
	k.l = l;
	k.e = e;
	k.seen_count = 0;
	k.field_count = e->count;
	k.copy_count = 0;
	k.special = false;
	memset(k.jobs, 0, sizeof(k.jobs));
	memset(k.first, 0xff, l->name_count * sizeof(k.first[0]));
	*ret = (struct logsource_set){0};
	rename_fields(&k);
	add_second_names(&k);
	add_derived(&k);
	add_entries(&k, ret);
	if (m && !k.special)
		logsource_memo_learn(m, e, k.copies, k.copy_count, ret);
}

static bool part_fits(struct str rule, struct str entry)
{
	return rule.n == 0 || str_ieq(rule, entry);
}

size_t logsources_resolve(const struct logsources *l, struct str product, struct str category,
                          struct str service, struct logsource_set *ret)
{
	size_t found = 0;

	*ret = (struct logsource_set){0};
	for (size_t i = 0; i < l->entry_count; i++) {
		const struct entry *x = &l->entries[i];
		if (!part_fits(product, x->product) || !part_fits(category, x->category) ||
		    !part_fits(service, x->service))
			continue;
		mark(ret->bits, i);
		found++;
	}
	ret->any = found > 0;
	return found;
}

bool logsource_intersects(const struct logsource_set *a, const struct logsource_set *b)
{
	for (size_t i = 0; i < LOGSOURCES_MAX / 64; i++)
		if (a->bits[i] & b->bits[i])
			return true;
	return false;
}

size_t logsources_count(const struct logsources *l)
{
	return l->entry_count;
}

struct logsource_entry logsources_entry(const struct logsources *l, size_t at)
{
	const struct entry *e = &l->entries[at];

	return (struct logsource_entry){e->product, e->category, e->service};
}

bool logsource_has(const struct logsource_set *set, size_t at)
{
	return set->bits[at / 64] >> (at % 64) & 1;
}
