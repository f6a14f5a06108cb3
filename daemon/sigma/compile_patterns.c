/* Which databases there are: one for each slot and group of rules, so that an event is searched only for what rules of
 * its own log sources ask; from the cache folder, or compiled. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/compile_cache.h"
#include "sigma/compiled.h"

/* What a database is made of. */
struct draft {
	struct scan scan;
	struct db_pattern *patterns;
	size_t count, cap;
};

struct drafts {
	struct draft *items;
	size_t count, cap;
	struct map index; /* slot, group and sort → place + 1 */
};

/* ---- gathering ---- */

static enum scan_sort sort_of(const struct trigger *a)
{
	if (a->kind == ATOM_REGEX)
		return SCAN_REGEX;
	return a->slot == SLOT_KEYWORDS && atom_text_is_verbatim(a->text) ? SCAN_FRAME : SCAN_TEXT;
}

static struct draft *find_draft(struct drafts *d, uint32_t slot, uint32_t group,
                                enum scan_sort sort)
{
	const uint32_t key[] = {slot, group, (uint32_t)sort};
	struct str text = str_make((const char *)key, sizeof(key));
	uintptr_t place = (uintptr_t)map_get(&d->index, text);

	if (!place) {
		xgrow(&d->items, &d->cap, d->count + 1, sizeof(*d->items));
		d->items[d->count++] =
			(struct draft){.scan = {.slot = slot, .group = group, .sort = sort}};
		place = d->count;
		map_put(&d->index, text, (void *)place);
	}
	return &d->items[place - 1];
}

static void draft_pattern(struct draft *d, uint32_t number, const struct trigger *a)
{
	if (d->count && d->patterns[d->count - 1].id == number)
		return; /* another rule of the group */
	xgrow(&d->patterns, &d->cap, d->count + 1, sizeof(*d->patterns));
	d->patterns[d->count++] = (struct db_pattern){
		.id = number,
		.text = a->regex ? regex_text(a->regex) : a->text,
		.regex = a->regex != NULL,
		.flags = a->regex                     ? regex_flags_of(a->regex)
	                 : d->scan.sort == SCAN_FRAME ? REGEX_CASELESS
	                                              : 0,
	};
}

static int by_place(const void *a, const void *b)
{
	const struct scan *x = &((const struct draft *)a)->scan,
			  *y = &((const struct draft *)b)->scan;

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return (x->sort > y->sort) - (x->sort < y->sort);
}

static void gather(const struct compiled *c, struct drafts *d)
{
	*d = (struct drafts){0};
	map_init(&d->index);
	for (size_t i = 0; i < c->trigger_count; i++) {
		const struct trigger *a = &c->triggers[i];
		if (a->kind != ATOM_CONTAINS && a->kind != ATOM_REGEX)
			continue;
		for (size_t j = 0; j < a->count; j++)
			draft_pattern(find_draft(d, a->slot, c->references[a->first + j].group,
			                         sort_of(a)),
			              (uint32_t)i, a);
	}
	map_release(&d->index, NULL);
	if (d->count)
		qsort(d->items, d->count, sizeof(*d->items), by_place);
}

static void drafts_release(struct drafts *d)
{
	for (size_t i = 0; i < d->count; i++) {
		pattern_db_free(d->items[i].scan.db);
		free(d->items[i].patterns);
	}
	free(d->items);
}

/* ---- cache ---- */

static void hash_number(struct sha256 *h, uint64_t n)
{
	sha256_add(h, str_make((const char *)&n, sizeof(n)));
}

/* Of all that the databases depend on. */
static void key_of(const struct drafts *d, uint8_t key[static SHA256_BYTES])
{
	struct sha256 *h = sha256_new();
	struct buf identity;

	buf_init(&identity, 0);
	pattern_db_identity(&identity);
	sha256_begin(h);
	hash_number(h, identity.n);
	sha256_add(h, buf_str(&identity));
	hash_number(h, PATTERN_LOT_MAX);
	for (size_t i = 0; i < d->count; i++) {
		hash_number(h, d->items[i].count);
		for (size_t j = 0; j < d->items[i].count; j++) {
			const struct db_pattern *p = &d->items[i].patterns[j];
			hash_number(h, (uint64_t)p->id << 32 | p->flags << 1 | p->regex);
			hash_number(h, p->text.n);
			sha256_add(h, p->text);
		}
	}
	sha256_end(h, key);
	sha256_free(h);
	buf_release(&identity);
}

static int load_databases(struct drafts *d, const char *dir, const uint8_t key[static SHA256_BYTES])
{
	struct buf body;

	buf_init(&body, COMPILE_CACHE_MAX);
	int r = compile_cache_load(dir, key, &body);
	struct str in = buf_str(&body);
	for (size_t i = 0; r == 0 && i < d->count; i++)
		r = pattern_db_load(&in, &d->items[i].scan.db);
	if (r == 0 && in.n)
		r = -EBADMSG;
	for (size_t i = 0; r < 0 && i < d->count; i++) {
		pattern_db_free(d->items[i].scan.db);
		d->items[i].scan.db = NULL;
	}
	buf_release(&body);
	return r;
}

static int save_databases(const struct drafts *d, const char *dir,
                          const uint8_t key[static SHA256_BYTES])
{
	struct buf body;
	int r = 0;

	buf_init(&body, COMPILE_CACHE_MAX);
	for (size_t i = 0; r == 0 && i < d->count; i++)
		r = pattern_db_save(d->items[i].scan.db, &body);
	if (r == 0)
		r = compile_cache_save(dir, key, buf_str(&body));
	buf_release(&body);
	return r;
}

static void warn(struct diags *diags, const char *dir, const char *what, int r)
{
	diag_add(diags, DIAG_WARNING, dir, 0, 0, "%s: %s", what, strerror(-r));
}

/* From the cache, or compiled and cached. */
static int make_databases(struct compiled *c, struct drafts *d, const struct compile_options *o,
                          struct diags *diags)
{
	uint8_t key[SHA256_BYTES];
	int r = -ENOENT;

	key_of(d, key);
	if (o->cache_dir)
		r = load_databases(d, o->cache_dir, key);
	c->facts.cached = r == 0;
	if (r == 0)
		return 0;
	if (r != -ENOENT)
		warn(diags, o->cache_dir, "cached patterns cannot be used and are compiled anew",
		     r);
	for (size_t i = 0; i < d->count; i++) {
		struct draft *x = &d->items[i];
		r = pattern_db_new(x->patterns, x->count, o->stop, &x->scan.db);
		if (r < 0)
			return r;
	}
	r = o->cache_dir ? save_databases(d, o->cache_dir, key) : 0;
	if (r < 0)
		warn(diags, o->cache_dir, "compiled patterns cannot be cached", r);
	return 0;
}

/* ---- the result ---- */

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

/* Moves the database of a draft to the set; what it does not search for is refused. */
static void take_database(struct compiled *c, struct draft *d, bool *is_refused,
                          struct numbers *refused)
{
	const uint32_t *ids;
	size_t count = pattern_db_refused(d->scan.db, &ids);

	for (size_t i = 0; i < count; i++) {
		if (!is_refused[ids[i]])
			numbers_add(refused, ids[i]);
		is_refused[ids[i]] = true;
	}
	c->facts.patterns += pattern_db_count(d->scan.db);
	c->facts.bytes += pattern_db_bytes(d->scan.db);
	if (pattern_db_count(d->scan.db) == 0)
		return;
	struct slot *s = &c->slots[d->scan.slot];
	if (!s->scan_count)
		s->scan_first = c->scan_count;
	s->scan_count++;
	c->scans[c->scan_count++] = d->scan;
	d->scan.db = NULL;
}

int compile_patterns(struct compiled *c, const struct compile_options *o, struct diags *diags,
                     struct numbers *refused)
{
	bool *is_refused = xcalloc(c->trigger_count, sizeof(*is_refused));
	struct drafts d;

	gather(c, &d);
	int r = make_databases(c, &d, o, diags);
	c->scans = xcalloc(d.count, sizeof(*c->scans));
	for (size_t i = 0; r == 0 && i < d.count; i++)
		take_database(c, &d.items[i], is_refused, refused);
	c->facts.refused = refused->count;
	if (r == 0)
		tell_refused(c, diags);
	drafts_release(&d);
	free(is_refused);
	return r;
}
