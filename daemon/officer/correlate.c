/* A match goes by its rule to the correlations that watch it, there by what it is grouped by to one group, and there
 * into the window (or what the type keeps instead). Field names are resolved when the settings come, groups are found by
 * hash, and windows grow in place: once warm, a match that makes nothing hold allocates nothing.
 *
 * A group that can only begin anew is dropped. When that is so is told by the latest arrival of any match, not by the
 * record's time: matches that are detected again after a crash arrive in the ledger long after they were received, and
 * must find the groups that they would have found without it. */
#include "officer/correlate.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pb.h"
#include "officer/correlate_internal.h"
#include "sigma/rules.h"

_Static_assert(CORRELATE_EVENTS_MAX >= CORRELATION_EVENTS_MAX, "what rules may count can be kept");
_Static_assert(CORRELATE_WINDOW_MAX >= CORRELATION_VALUES_MAX, "what rules may count can be kept");

#define EXPIRE_PER_MATCH                                                                           \
	4 /* dead groups dropped for each match: more than one, so they never pile up */

/* ---- definitions ---- */

static void definition_free(struct definition *d)
{
	groups_release(&d->groups);
	isod__v1__correlation__free_unpacked(d->def, NULL);
	free(d->names);
	free(d);
}

static void feed_free(void *p)
{
	struct feed *feed = p;
	free(feed->targets);
	free(feed);
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
	free(c->absences);
	free(c->results);
	map_release(&c->feeds, feed_free);
	window_scratch_release(&c->scratch);
	free(c);
}

static size_t value_fields(const Isod__V1__Correlation *def)
{
	if (def->n_value_fields)
		return def->n_value_fields;
	return def->value_field[0] ? 1 : 0;
}

/* The name that the correlation has for its i-th field: those of group-by, then those whose values count. */
static const char *field_name(const Isod__V1__Correlation *def, size_t i)
{
	if (i < def->n_group_by)
		return def->group_by[i];
	return def->n_value_fields ? def->value_fields[i - def->n_group_by] : def->value_field;
}

/* The field that rule `rule` calls the name by (specification: aliases). */
static const char *aliased(const Isod__V1__Correlation *def, const char *name, const char *rule)
{
	for (size_t i = 0; i < def->n_aliases; i++)
		if (strcmp(def->aliases[i]->name, name) == 0 &&
		    strcmp(def->aliases[i]->rule, rule) == 0)
			return def->aliases[i]->field;
	return name;
}

/* A ledger can be damaged or from a later version: what it asks for must at least be within bounds. */
static bool can_run(const Isod__V1__Correlation *def, size_t fields)
{
	bool ordered = def->type == CORRELATION(TEMPORAL_ORDERED);

	if (def->type == CORRELATION(UNKNOWN) || def->type > CORRELATION(FIRST_SEEN))
		return false;
	if (def->type != CORRELATION(EVENT_COUNT) && def->type != CORRELATION(TEMPORAL) &&
	    def->type != CORRELATION(ABSENCE) && !ordered && fields == def->n_group_by)
		return false;
	if (def->timespan_ns > CORRELATION_TIME_MAX || def->suppress_ns > CORRELATION_TIME_MAX ||
	    def->learning_ns > CORRELATION_TIME_MAX || def->lateness_ns > CORRELATION_TIME_MAX)
		return false;
	if (ordered && def->n_condition && def->n_rules > CORRELATION_ORDERED_MAX)
		return false;
	for (size_t i = 0; i < def->n_condition; i++)
		if (def->condition[i]->rule >= def->n_rules)
			return false;
	return true;
}

/* How many entries a group needs for its condition. */
static uint64_t window_max(const Isod__V1__Correlation *def)
{
	uint64_t max = CORRELATE_WINDOW_MAX;

	for (size_t i = 0; def->type == CORRELATION(EVENT_COUNT) && i < def->n_bounds; i++) {
		uint64_t n = def->bounds[i]->value;
		n = n < CORRELATE_EVENTS_MAX / 2 ? n * 2 : CORRELATE_EVENTS_MAX;
		max = n > max ? n : max;
	}
	return max;
}

static struct definition *definition_new(const Isod__V1__Correlation *def)
{
	struct definition *d = xcalloc(1, sizeof(*d));

	d->def = pb_copy(&def->base);
	d->field_count = def->n_group_by + value_fields(def);
	d->names = xcalloc(def->n_rules * d->field_count, sizeof(*d->names));
	for (size_t r = 0; r < def->n_rules; r++)
		for (size_t i = 0; i < d->field_count; i++)
			d->names[r * d->field_count + i] =
				aliased(d->def, field_name(d->def, i), d->def->rules[r]);
	d->runs = can_run(d->def, d->field_count);
	d->window_max = window_max(d->def);
	groups_init(&d->groups);
	return d;
}

static struct definition *take_same(struct correlate *c, const Isod__V1__Correlation *def)
{
	for (size_t i = 0; i < c->count; i++) {
		struct definition *d = c->definitions[i];
		if (d && strcmp(d->def->id, def->id) == 0 && pb_equal(&d->def->base, &def->base)) {
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

static void take_settings(struct correlate *c, struct definition *d, const Isod__V1__Settings *s)
{
	uint64_t lateness =
		s->correlation_lateness_ns ? s->correlation_lateness_ns : s->correlation_skew_ns;

	d->lateness_ns = d->def->lateness_ns ? d->def->lateness_ns : lateness;
	d->skew_ns = s->correlation_skew_ns;
	window_scratch_reserve(&c->scratch, d->def);
	for (size_t r = 0; r < d->def->n_rules; r++)
		feed_add(c, d->def->rules[r], d, r);
	if (d->def->type == CORRELATION(ABSENCE) && d->runs) {
		c->absences[c->absence_count++] = d;
		absence_reschedule(c, d);
	}
}

static size_t share_of(size_t count)
{
	size_t share = CORRELATE_BYTES_MAX / (count ? count : 1);

	if (share > CORRELATE_SHARE_MAX)
		return CORRELATE_SHARE_MAX;
	return share < CORRELATE_SHARE_MIN ? CORRELATE_SHARE_MIN : share;
}

void correlate_settings(struct correlate *c, const Isod__V1__Settings *settings)
{
	size_t count = settings->n_correlations;
	struct definition **fresh = xcalloc(count, sizeof(*fresh));

	for (size_t i = 0; i < count; i++) {
		fresh[i] = take_same(c, settings->correlations[i]);
		if (!fresh[i])
			fresh[i] = definition_new(settings->correlations[i]);
	}
	for (size_t i = 0; i < c->count; i++)
		if (c->definitions[i])
			definition_free(c->definitions[i]);
	free(c->definitions);
	free(c->absences);
	map_release(&c->feeds, feed_free);
	c->definitions = fresh;
	c->count = count;
	c->bytes_max = share_of(count);
	c->absences = xcalloc(count, sizeof(struct definition *));
	c->absence_count = 0;
	for (size_t i = 0; i < count; i++)
		take_settings(c, fresh[i], settings);
}

/* ---- groups ---- */

uint64_t group_newest(struct group *g)
{
	return g->count   ? group_entries(g)[g->count - 1].time_ns
	       : g->extra ? g->extra->newest_ns
	                  : 0;
}

bool group_quiet(const struct group *g, uint64_t time_ns)
{
	return g->extra && time_ns < g->extra->quiet_ns;
}

/* Nothing that may still arrive could meet what the group holds. */
static bool group_dead(const struct correlate *c, const struct definition *d, struct group *g)
{
	uint64_t end = group_newest(g) + d->def->timespan_ns;

	if (g->extra && g->extra->heap)
		return false;
	if (g->extra && g->extra->quiet_ns > end)
		end = g->extra->quiet_ns;
	return end + d->skew_ns < c->arrival_ns;
}

static void groups_expire(struct correlate *c, struct definition *d)
{
	struct groups *t = &d->groups;

	for (int i = 0; i < EXPIRE_PER_MATCH && t->oldest != GROUP_NONE; i++) {
		if (!group_dead(c, d, groups_at(t, t->oldest)))
			return;
		groups_remove(t, t->oldest);
	}
}

static void evict(struct correlate *c, struct definition *d, const struct step *s)
{
	groups_remove(&d->groups, d->groups.oldest);
	c->counts.evicted++;
	d->evicted++;
	if (d->told_ns && s->time_ns - d->told_ns < CORRELATE_EVICTED_EVERY)
		return;
	if (s->effects->evicted)
		s->effects->evicted(s->effects->arg, d->def->id, d->evicted - d->evicted_told);
	d->told_ns = s->time_ns;
	d->evicted_told = d->evicted;
}

static void group_open(struct correlate *c, struct definition *d, struct feeding *f,
                       const uint64_t hash[2])
{
	f->id = groups_find(&d->groups, hash);
	if (f->id != GROUP_NONE) {
		groups_touch(&d->groups, f->id);
		f->group = groups_at(&d->groups, f->id);
		return;
	}
	if (d->groups.count >= CORRELATE_GROUPS_MAX)
		evict(c, d, f->step);
	f->id = groups_add(&d->groups, hash);
	f->group = groups_at(&d->groups, f->id);
	if (d->def->learning_ns)
		groups_extra(&d->groups, f->group)->quiet_ns =
			f->entry.time_ns + d->def->learning_ns;
}

/* A correlation that holds starts over for its group, after the silence if it asks for one. */
static void group_restart(struct definition *d, struct feeding *f, uint64_t time_ns)
{
	if (!d->def->suppress_ns) {
		groups_remove(&d->groups, f->id);
		return;
	}
	struct group_extra *x = groups_extra(&d->groups, f->group);
	x->newest_ns = group_newest(f->group);
	x->quiet_ns = time_ns + d->def->suppress_ns;
	group_clear(&d->groups, f->group);
}

/* ---- what a match brings ---- */

static const char *match_field(const Isod__V1__Match *m, const char *name)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (strcmp(m->fields[i]->name, name) == 0)
			return m->fields[i]->value;
	return NULL;
}

const char *definition_value(const struct definition *d, uint32_t position, size_t i,
                             const Isod__V1__Match *m)
{
	const char *name = d->names[position * d->field_count + i], *own = field_name(d->def, i);
	const char *value = match_field(m, name);

	/* A correlation's own match already goes by the group-by name. */
	return value || name == own ? value : match_field(m, own);
}

/* False when the match lacks one of the group's fields: then it belongs to no group. */
static bool group_hash(const struct correlate *c, const struct target *to, const Isod__V1__Match *m,
                       uint64_t hash[2])
{
	const struct definition *d = to->definition;

	hash[0] = c->seeds[0];
	hash[1] = c->seeds[1];
	for (size_t i = 0; i < d->def->n_group_by; i++) {
		const char *value = definition_value(d, to->position, i, m);
		if (!value)
			return false;
		map_hash_pair(hash, str_of(value));
	}
	return true;
}

static bool entry_number(struct correlate *c, const char *text, uint64_t *ret)
{
	int64_t milli;
	int r = window_number(str_of(text), &milli);

	c->counts.not_numeric += r == -EINVAL;
	c->counts.saturated += r == -ERANGE;
	if (r == -EINVAL)
		return false;
	*ret = (uint64_t)milli;
	return true;
}

/* What the type wants to know of the match. False when it does not tell that. */
static bool entry_value(struct correlate *c, const struct definition *d, struct feeding *f)
{
	uint64_t hash = c->seeds[0];

	f->entry.value = f->position;
	for (size_t i = d->def->n_group_by; i < d->field_count; i++) {
		const char *value = definition_value(d, f->position, i, f->match);
		if (!value)
			return false;
		if (window_is_numeric(d->def->type))
			return entry_number(c, value, &f->entry.value);
		hash = map_hash(hash, str_of(value));
		f->entry.value = hash ? hash : 1; /* 0 marks a free tally */
	}
	return true;
}

/* ---- windows ---- */

uint32_t definition_insert(struct correlate *c, struct definition *d, struct feeding *f)
{
	struct group *g = f->group;
	uint32_t at = group_insert(&d->groups, g, &f->entry), drop = 0;
	uint64_t newest = group_newest(g);

	if (d->def->type == CORRELATION(ABSENCE))
		drop = absence_stale(d, g);
	else if (newest > d->lateness_ns)
		drop = window_stale(d->def, group_entries(g), g->count, newest - d->lateness_ns);
	if (g->count - drop > d->window_max) {
		c->counts.dropped += g->count - drop - d->window_max;
		drop = g->count - (uint32_t)d->window_max;
	}
	group_drop_first(g, drop);
	while (d->groups.bytes > c->bytes_max && d->groups.oldest != f->id)
		evict(c, d, f->step);
	return at < drop ? UINT32_MAX : at - drop;
}

static void feed_window(struct correlate *c, struct definition *d, struct feeding *f)
{
	struct window_span span;
	uint32_t at = definition_insert(c, d, f);

	if (at == UINT32_MAX ||
	    !window_holds(d->def, &c->scratch, group_entries(f->group), f->group->count, at, &span))
		return;
	const struct entry *entries = group_entries(f->group);
	result_add(c, d, f->position, f->match, entries, &span);
	group_restart(d, f, entries[span.to - 1].time_ns);
}

static void feed_first_seen(struct correlate *c, struct definition *d, struct feeding *f)
{
	uint32_t at = first_seen(c, d, f);
	struct window_span span = {.from = at, .to = at + 1};

	if (at == UINT32_MAX)
		return;
	result_add(c, d, f->position, f->match, group_entries(f->group), &span);
	if (d->def->suppress_ns)
		groups_extra(&d->groups, f->group)->quiet_ns =
			f->entry.time_ns + d->def->suppress_ns;
}

static void feed_definition(struct correlate *c, const struct target *to, const struct step *s,
                            const Isod__V1__Match *m)
{
	struct definition *d = to->definition;
	struct feeding f = {.step = s, .match = m, .position = to->position};
	uint64_t hash[2];

	f.entry.time_ns = match_time(m, s->settings);
	if (m->evidence)
		f.entry.origin =
			entry_origin(m->evidence->sequence, m->evidence->worker,
		                     m->event_time_ns && f.entry.time_ns != m->event_time_ns);
	groups_expire(c, d);
	if (!d->runs || !group_hash(c, to, m, hash) || !entry_value(c, d, &f))
		return;
	group_open(c, d, &f, hash);
	uint64_t newest = group_newest(f.group);
	if (newest > d->lateness_ns && f.entry.time_ns < newest - d->lateness_ns) {
		c->counts.late++;
		return;
	}
	if (d->def->type == CORRELATION(FIRST_SEEN)) {
		feed_first_seen(c, d, &f);
	} else if (group_quiet(f.group, f.entry.time_ns)) {
		c->counts.suppressed++;
	} else if (d->def->type == CORRELATION(ABSENCE)) {
		absence_feed(c, d, &f);
	} else {
		feed_window(c, d, &f);
	}
}

static void feed_match(struct correlate *c, const struct step *s, const Isod__V1__Match *m)
{
	const struct feed *feed = map_get(&c->feeds, str_of(m->rule));

	for (size_t i = 0; feed && i < feed->count; i++)
		feed_definition(c, &feed->targets[i], s, m);
}

/* Three rounds, so that what one round waits for comes from memory for all of them together. */
void correlate_prefetch(const struct correlate *c, const Isod__V1__Match *const *matches,
                        size_t count)
{
	struct ahead {
		const struct groups *groups;
		uint64_t hash[2];
		uint32_t id;
	} ahead[2 * CORRELATE_AHEAD];
	const struct feed *feed = NULL;
	size_t n = 0;

	for (size_t i = 0; c->count && i < count; i++) {
		if (i == 0 || strcmp(matches[i]->rule, matches[i - 1]->rule) != 0)
			feed = map_get(&c->feeds, str_of(matches[i]->rule));
		for (size_t k = 0; feed && k < feed->count && n < ARRAY_LEN(ahead); k++) {
			struct ahead *a = &ahead[n];
			const struct definition *d = feed->targets[k].definition;
			if (!d->runs || !group_hash(c, &feed->targets[k], matches[i], a->hash))
				continue;
			a->groups = &d->groups;
			groups_fetch_slot(a->groups, a->hash);
			n++;
		}
	}
	for (size_t i = 0; i < n; i++)
		ahead[i].id = groups_fetch_group(ahead[i].groups, ahead[i].hash);
	for (size_t i = 0; i < n; i++)
		if (ahead[i].id != GROUP_NONE)
			groups_fetch_around(ahead[i].groups, ahead[i].id);
}

/* Results feed the correlations that refer to them. The loader refuses circles; the bound holds all the same. */
static size_t feed_results(struct correlate *c, const struct step *s,
                           const Isod__V1__Match *const **ret)
{
	size_t fed = 0;

	for (int depth = 0; depth < CORRELATE_CHAIN_MAX && fed < c->result_count; depth++)
		for (size_t end = c->result_count; fed < end; fed++)
			feed_match(c, s, c->results[fed]);
	*ret = (const Isod__V1__Match *const *)c->results;
	return c->result_count;
}

size_t correlate_on_match(struct correlate *c, const struct step *s, const Isod__V1__Match *m,
                          const Isod__V1__Match *const **ret)
{
	if (m->received_ns > c->arrival_ns)
		c->arrival_ns = m->received_ns;
	c->counts.wild += m->event_time_ns && match_time(m, s->settings) != m->event_time_ns;
	results_clear(c);
	feed_match(c, s, m);
	return feed_results(c, s, ret);
}

/* ---- the clock ---- */

bool correlate_seeded(const struct correlate *c)
{
	return c->seeds[0] || c->seeds[1];
}

void correlate_on_started(struct correlate *c, const struct step *s)
{
	const Isod__V1__Started *started = s->record->started;

	c->started_ns = s->time_ns;
	if (!correlate_seeded(c) && started->n_seeds == ARRAY_LEN(c->seeds) &&
	    correlate_groups(c) == 0)
		memcpy(c->seeds, started->seeds, sizeof(c->seeds));
	for (size_t i = 0; i < c->absence_count; i++)
		absence_reschedule(c, c->absences[i]);
}

size_t correlate_on_clock(struct correlate *c, const struct step *s,
                          const Isod__V1__Match *const **ret)
{
	if (correlate_next_deadline(c) > s->time_ns)
		return 0;
	results_clear(c);
	for (size_t i = 0; i < c->absence_count; i++)
		while (absence_due(c->absences[i]) <= s->time_ns)
			absence_tell(c, c->absences[i], s);
	return feed_results(c, s, ret);
}

uint64_t correlate_next_deadline(const struct correlate *c)
{
	uint64_t next = NEVER;

	for (size_t i = 0; i < c->absence_count; i++) {
		uint64_t due = absence_due(c->absences[i]);
		next = due < next ? due : next;
	}
	return next;
}

/* ---- queries ---- */

size_t correlate_groups(const struct correlate *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->count; i++)
		n += c->definitions[i]->groups.count;
	return n;
}

size_t correlate_bytes(const struct correlate *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->count; i++)
		n += c->definitions[i]->groups.bytes;
	return n;
}

const struct correlate_counts *correlate_counts(const struct correlate *c)
{
	return &c->counts;
}

uint64_t correlate_evicted(const struct correlate *c)
{
	return c->counts.evicted;
}
