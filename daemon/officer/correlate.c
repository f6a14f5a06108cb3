/* A window is a small array of entries sorted by time, so that events that arrive out of order count right; it is cut
 * at `timespan` before its newest entry. Groups hang on a list in order of their last change: the longest unchanged
 * stands first, is the one to make room, and is dropped once its window can no longer hold anything.
 * Group keys and walks depend on nothing but the records, so a replay builds the same groups. */
#include "officer/correlate.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pb.h"

#define KEY_MAX          2048 /* a group key: a few values of at most 1 KiB, cut */
#define CONTRIBUTING_MAX 100  /* evidence references carried by a correlation's match: the newest */
#define EXPIRE_PER_MATCH                                                                           \
	4 /* dead groups dropped for each match: more than one, so they never pile up */
#define KEY_SEPARATOR '\x1f'

#define TYPE(x) ISOD__V1__CORRELATION_TYPE__CORRELATION_##x

struct entry {
	uint64_t time_ns;
	uint64_t value; /* value_count: hash of the value */
	uint64_t evidence;
	uint32_t worker;
	uint32_t rule; /* position in the definition's list of rules */
};

struct group {
	struct group *older, *newer; /* by last change */
	struct entry *entries;
	size_t count, cap;
	uint64_t changed_ns; /* record time */
	char *key;
};

struct definition {
	Isod__V1__Correlation *def;
	struct map groups; /* key → struct group */
	struct group *oldest, *newest;
};

/* Where a rule's matches go, and as which of the definition's rules. */
struct target {
	struct definition *definition;
	uint32_t position;
};

struct feed {
	struct target *targets;
	size_t count, cap;
};

struct correlate {
	struct definition **definitions;
	size_t count;
	struct map feeds; /* rule id → struct feed */
	Isod__V1__Match **results;
	size_t result_count, result_cap;
	size_t groups;
	uint64_t evicted;
};

/* ---- definitions ---- */

static void group_free(void *p)
{
	struct group *g = p;
	free(g->entries);
	free(g->key);
	free(g);
}

static void definition_free(struct definition *d)
{
	map_release(&d->groups, group_free);
	isod__v1__correlation__free_unpacked(d->def, NULL);
	free(d);
}

static void feed_free(void *p)
{
	struct feed *feed = p;
	free(feed->targets);
	free(feed);
}

static void results_clear(struct correlate *c)
{
	for (size_t i = 0; i < c->result_count; i++)
		isod__v1__match__free_unpacked(c->results[i], NULL);
	c->result_count = 0;
}

struct correlate *correlate_new(void)
{
	struct correlate *c = xcalloc(1, sizeof(*c));
	map_init(&c->feeds);
	return c;
}

void correlate_free(struct correlate *c)
{
	if (!c)
		return;
	results_clear(c);
	for (size_t i = 0; i < c->count; i++)
		definition_free(c->definitions[i]);
	free(c->definitions);
	free(c->results);
	map_release(&c->feeds, feed_free);
	free(c);
}

static struct definition *take_same(struct correlate *c, const Isod__V1__Correlation *def)
{
	for (size_t i = 0; i < c->count; i++) {
		struct definition *d = c->definitions[i];
		if (d && pb_equal(&d->def->base, &def->base)) {
			c->definitions[i] = NULL;
			return d;
		}
	}
	return NULL;
}

static void feed_add(struct correlate *c, const char *rule, struct definition *d, size_t position)
{
	struct feed *feed = map_get(&c->feeds, str_of(rule));

	if (!feed) {
		feed = xcalloc(1, sizeof(*feed));
		map_put(&c->feeds, str_of(rule), feed);
	}
	xgrow(&feed->targets, &feed->cap, feed->count + 1, sizeof(*feed->targets));
	feed->targets[feed->count++] = (struct target){d, (uint32_t)position};
}

void correlate_settings(struct correlate *c, const Isod__V1__Settings *settings)
{
	struct definition **fresh = xcalloc(settings->n_correlations, sizeof(*fresh));

	for (size_t i = 0; i < settings->n_correlations; i++) {
		fresh[i] = take_same(c, settings->correlations[i]);
		if (fresh[i])
			continue;
		fresh[i] = xcalloc(1, sizeof(*fresh[i]));
		fresh[i]->def = pb_copy(&settings->correlations[i]->base);
		map_init(&fresh[i]->groups);
	}
	for (size_t i = 0; i < c->count; i++) {
		if (!c->definitions[i])
			continue;
		c->groups -= c->definitions[i]->groups.count;
		definition_free(c->definitions[i]);
	}
	free(c->definitions);
	c->definitions = fresh;
	c->count = settings->n_correlations;
	map_release(&c->feeds, feed_free);
	for (size_t i = 0; i < c->count; i++)
		for (size_t r = 0; r < fresh[i]->def->n_rules; r++)
			feed_add(c, fresh[i]->def->rules[r], fresh[i], r);
}

/* ---- groups ---- */

static void group_unlink(struct definition *d, struct group *g)
{
	*(g->older ? &g->older->newer : &d->oldest) = g->newer;
	*(g->newer ? &g->newer->older : &d->newest) = g->older;
}

static void group_link(struct definition *d, struct group *g)
{
	g->older = d->newest;
	g->newer = NULL;
	*(d->newest ? &d->newest->newer : &d->oldest) = g;
	d->newest = g;
}

static void group_drop(struct correlate *c, struct definition *d, struct group *g)
{
	group_unlink(d, g);
	map_remove(&d->groups, str_of(g->key));
	group_free(g);
	c->groups--;
}

/* A group unchanged for its timespan plus the allowed skew can only begin anew. */
static void groups_expire(struct correlate *c, struct definition *d, const struct step *s)
{
	uint64_t reach = d->def->timespan_ns + s->settings->correlation_skew_ns;

	for (int i = 0; i < EXPIRE_PER_MATCH && d->oldest; i++) {
		if (s->time_ns - d->oldest->changed_ns <= reach)
			return;
		group_drop(c, d, d->oldest);
	}
}

static struct group *group_at(struct correlate *c, struct definition *d, const struct step *s,
                              const char *key)
{
	struct group *g = map_get(&d->groups, str_of(key));

	if (g) {
		group_unlink(d, g);
	} else {
		if (d->groups.count >= CORRELATE_GROUPS_MAX) {
			group_drop(c, d, d->oldest);
			c->evicted++;
		}
		g = xcalloc(1, sizeof(*g));
		g->key = xstrdup(key);
		map_put(&d->groups, str_of(key), g);
		c->groups++;
	}
	g->changed_ns = s->time_ns;
	group_link(d, g);
	return g;
}

static const char *match_field(const Isod__V1__Match *m, const char *name)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (strcmp(m->fields[i]->name, name) == 0)
			return m->fields[i]->value;
	return NULL;
}

/* The field that rule `rule` calls the group-by name by (specification: aliases). */
static const char *aliased(const Isod__V1__Correlation *def, const char *name, const char *rule)
{
	for (size_t i = 0; i < def->n_aliases; i++)
		if (strcmp(def->aliases[i]->name, name) == 0 &&
		    strcmp(def->aliases[i]->rule, rule) == 0)
			return def->aliases[i]->field;
	return name;
}

static const char *group_value(const Isod__V1__Correlation *def, const Isod__V1__Match *m,
                               const char *name)
{
	const char *value = match_field(m, aliased(def, name, m->rule));
	/* A correlation's own match already goes by the group-by name. */
	return value ? value : match_field(m, name);
}

/* False when the match lacks one of the group's fields: then it belongs to no group. */
static bool group_key(const Isod__V1__Correlation *def, const Isod__V1__Match *m,
                      char key[static KEY_MAX])
{
	size_t n = 0;

	key[0] = '\0';
	for (size_t i = 0; i < def->n_group_by; i++) {
		const char *value = group_value(def, m, def->group_by[i]);
		if (!value)
			return false;
		int w = snprintf(key + n, KEY_MAX - n, "%s%c", value, KEY_SEPARATOR);
		n += (size_t)w < KEY_MAX - n ? (size_t)w : KEY_MAX - n - 1;
	}
	return true;
}

/* ---- windows ---- */

static void window_add(struct group *g, const struct entry *e, uint64_t timespan)
{
	size_t at = g->count, stale = 0;

	if (g->count && g->entries[g->count - 1].time_ns >= timespan + e->time_ns)
		return; /* older than the window of what is here already */
	xgrow(&g->entries, &g->cap, g->count + 1, sizeof(*g->entries));
	while (at > 0 && g->entries[at - 1].time_ns > e->time_ns)
		at--;
	memmove(g->entries + at + 1, g->entries + at, (g->count - at) * sizeof(*g->entries));
	g->entries[at] = *e;
	g->count++;
	uint64_t newest = g->entries[g->count - 1].time_ns;
	while (newest - g->entries[stale].time_ns > timespan ||
	       g->count - stale > CORRELATE_WINDOW_MAX)
		stale++;
	g->count -= stale;
	memmove(g->entries, g->entries + stale, g->count * sizeof(*g->entries));
}

static bool bound_holds(const Isod__V1__Bound *b, uint64_t n)
{
	switch (b->comparison) {
	case ISOD__V1__COMPARISON__COMPARISON_GTE: return n >= b->value;
	case ISOD__V1__COMPARISON__COMPARISON_GT: return n > b->value;
	case ISOD__V1__COMPARISON__COMPARISON_LTE: return n <= b->value;
	case ISOD__V1__COMPARISON__COMPARISON_LT: return n < b->value;
	case ISOD__V1__COMPARISON__COMPARISON_EQ: return n == b->value;
	case ISOD__V1__COMPARISON__COMPARISON_NEQ: return n != b->value;
	default: return false;
	}
}

static bool bounds_hold(const Isod__V1__Correlation *def, uint64_t n)
{
	for (size_t i = 0; i < def->n_bounds; i++)
		if (!bound_holds(def->bounds[i], n))
			return false;
	return def->n_bounds > 0;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static uint64_t distinct(uint64_t *values, size_t count)
{
	uint64_t n = 0;

	qsort(values, count, sizeof(*values), by_number);
	for (size_t i = 0; i < count; i++)
		n += i == 0 || values[i] != values[i - 1];
	return n;
}

static bool holds_event_count(const Isod__V1__Correlation *def, const struct group *g)
{
	return bounds_hold(def, g->count);
}

static bool holds_value_count(const Isod__V1__Correlation *def, const struct group *g)
{
	uint64_t *values = xcalloc(g->count, sizeof(*values));

	for (size_t i = 0; i < g->count; i++)
		values[i] = g->entries[i].value;
	bool holds = bounds_hold(def, distinct(values, g->count));
	free(values);
	return holds;
}

/* Without a condition of its own: every rule at least once, in any order. */
static bool holds_temporal(const Isod__V1__Correlation *def, const struct group *g)
{
	uint64_t *rules = xcalloc(g->count, sizeof(*rules));

	for (size_t i = 0; i < g->count; i++)
		rules[i] = g->entries[i].rule;
	uint64_t n = distinct(rules, g->count);
	free(rules);
	return def->n_bounds ? bounds_hold(def, n) : n == def->n_rules;
}

/* Each rule after the one before it in the list: the earliest fit of each is enough. */
static bool holds_temporal_ordered(const Isod__V1__Correlation *def, const struct group *g)
{
	size_t next = 0;

	for (size_t i = 0; i < g->count && next < def->n_rules; i++)
		if (g->entries[i].rule == next)
			next++;
	return next == def->n_rules;
}

static bool (*const holds[])(const Isod__V1__Correlation *, const struct group *) = {
	[TYPE(EVENT_COUNT)] = holds_event_count,
	[TYPE(TEMPORAL_ORDERED)] = holds_temporal_ordered,
	[TYPE(VALUE_COUNT)] = holds_value_count,
	[TYPE(TEMPORAL)] = holds_temporal,
};

/* ---- results ---- */

/* True if the entity is what the correlation groups by. A user entity "alice@web1" is also found as "alice". */
static bool entity_grouped(const Isod__V1__Correlation *def, const Isod__V1__Match *m,
                           const Isod__V1__Entity *e)
{
	for (size_t i = 0; i < def->n_group_by; i++) {
		struct str value = str_of(group_value(def, m, def->group_by[i])),
			   name = str_of(e->name);
		if (str_eq(value, name))
			return true;
		if (e->kind == ISOD__V1__ENTITY_KIND__ENTITY_USER && str_starts(name, value) &&
		    name.n > value.n && name.p[value.n] == '@')
			return true;
	}
	return false;
}

/* Counts are about what they group by, and happened on a host: the user whose name was tried last says nothing.
 * An ordered or unordered chain ends with an event whose every entity matters. */
static void result_entities(Isod__V1__Match *r, const Isod__V1__Correlation *def,
                            const Isod__V1__Match *m)
{
	bool all = def->n_group_by == 0 || def->type == TYPE(TEMPORAL) ||
	           def->type == TYPE(TEMPORAL_ORDERED);

	for (size_t i = 0; i < m->n_entities; i++) {
		const Isod__V1__Entity *e = m->entities[i];
		if (!all && e->kind != ISOD__V1__ENTITY_KIND__ENTITY_HOST &&
		    !entity_grouped(def, m, e))
			continue;
		Isod__V1__Entity **at = pb_add(&r->entities, &r->n_entities, sizeof(*at));
		*at = pb_copy(&e->base);
	}
}

static void result_fields(Isod__V1__Match *r, const Isod__V1__Correlation *def,
                          const Isod__V1__Match *m)
{
	for (size_t i = 0; i < def->n_group_by; i++) {
		Isod__V1__Field **at = pb_add(&r->fields, &r->n_fields, sizeof(*at));
		*at = xmalloc(sizeof(**at));
		isod__v1__field__init(*at);
		pb_set_text(&(*at)->name, def->group_by[i]);
		pb_set_text(&(*at)->value, group_value(def, m, def->group_by[i]));
	}
}

static void result_contributing(Isod__V1__Match *r, const struct group *g)
{
	size_t from = g->count > CONTRIBUTING_MAX ? g->count - CONTRIBUTING_MAX : 0;

	for (size_t i = from; i < g->count; i++) {
		Isod__V1__EvidenceRef **at =
			pb_add(&r->contributing, &r->n_contributing, sizeof(*at));
		*at = xmalloc(sizeof(**at));
		isod__v1__evidence_ref__init(*at);
		(*at)->worker = g->entries[i].worker;
		(*at)->sequence = g->entries[i].evidence;
	}
}

static Isod__V1__Match *result_new(const Isod__V1__Correlation *def, const struct group *g,
                                   const Isod__V1__Match *m)
{
	Isod__V1__Match *r = xmalloc(sizeof(*r));

	isod__v1__match__init(r);
	pb_set_text(&r->rule, def->id);
	pb_set_text(&r->title, def->title);
	pb_set_text(&r->source, m->source);
	pb_set_text(&r->outcome, m->outcome);
	char *summary = xasprintf("%zu events, the last: %s", g->count, m->summary);
	pb_set_text(&r->summary, summary);
	free(summary);
	r->level = def->level;
	r->silent = def->silent;
	r->event_time_ns = m->event_time_ns;
	r->received_ns = m->received_ns;
	if (m->evidence)
		r->evidence = pb_copy(&m->evidence->base);
	for (size_t i = 0; i < def->n_tags; i++)
		pb_add_text(&r->tags, &r->n_tags, def->tags[i]);
	result_entities(r, def, m);
	result_fields(r, def, m);
	result_contributing(r, g);
	return r;
}

static void feed_definition(struct correlate *c, struct definition *d, uint32_t position,
                            const struct step *s, const Isod__V1__Match *m)
{
	char key[KEY_MAX];

	groups_expire(c, d, s);
	if ((unsigned)d->def->type >= ARRAY_LEN(holds) || !holds[d->def->type] ||
	    !group_key(d->def, m, key))
		return;
	const char *counted = NULL;
	if (d->def->type == TYPE(VALUE_COUNT) &&
	    !(counted = group_value(d->def, m, d->def->value_field)))
		return;
	struct group *g = group_at(c, d, s, key);
	struct entry e = {.time_ns = match_time(m, s->settings),
	                  .value = counted ? map_hash(0, str_of(counted)) : 0,
	                  .evidence = m->evidence ? m->evidence->sequence : 0,
	                  .worker = m->evidence ? m->evidence->worker : 0,
	                  .rule = position};
	window_add(g, &e, d->def->timespan_ns);
	if (!holds[d->def->type](d->def, g))
		return;
	xgrow(&c->results, &c->result_cap, c->result_count + 1, sizeof(*c->results));
	c->results[c->result_count++] = result_new(d->def, g, m);
	group_drop(c, d, g);
}

static void feed_match(struct correlate *c, const struct step *s, const Isod__V1__Match *m)
{
	const struct feed *feed = map_get(&c->feeds, str_of(m->rule));

	for (size_t i = 0; feed && i < feed->count; i++)
		feed_definition(c, feed->targets[i].definition, feed->targets[i].position, s, m);
}

size_t correlate_on_match(struct correlate *c, const struct step *s, const Isod__V1__Match *m,
                          const Isod__V1__Match *const **ret)
{
	size_t fed = 0;

	results_clear(c);
	feed_match(c, s, m);
	/* Results feed the correlations that refer to them. The loader refuses cycles; the bound holds all the same. */
	for (int depth = 0; depth < CORRELATE_CHAIN_MAX && fed < c->result_count; depth++)
		for (size_t end = c->result_count; fed < end; fed++)
			feed_match(c, s, c->results[fed]);
	*ret = (const Isod__V1__Match *const *)c->results;
	return c->result_count;
}

size_t correlate_groups(const struct correlate *c)
{
	return c->groups;
}

uint64_t correlate_evicted(const struct correlate *c)
{
	return c->evicted;
}
