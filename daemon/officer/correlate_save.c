/* The groups of correlations as parts of a snapshot, and back. A million of them are usual, so they go as arrays, some
 * thousands to a part, and their windows' entries as one row over all groups of a correlation.
 *
 * What is worked out from the rest is not saved: when a group is due, the table by hash, the definitions themselves
 * (they are in the settings). What looks like detail but decides what is evicted, and so is saved: numbers of groups,
 * the order in which free ones are used again, and the room in a window, for which a group is charged. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pb.h"
#include "officer/correlate_internal.h"
#include "officer/save.h"

/* ---- saving ---- */

void correlate_save_head(const struct correlate *c, Isod__V1__SnapshotCorrelate *ret)
{
	ret->n_seeds = ARRAY_LEN(c->seeds);
	ret->seeds = (uint64_t *)(uintptr_t)c->seeds;
	ret->arrival_ns = c->arrival_ns;
	ret->started_ns = c->started_ns;
	ret->evicted = c->counts.evicted;
	ret->dropped = c->counts.dropped;
	ret->late = c->counts.late;
	ret->wild = c->counts.wild;
	ret->not_numeric = c->counts.not_numeric;
	ret->saturated = c->counts.saturated;
	ret->suppressed = c->counts.suppressed;
}

/* Arrays for one part. */
struct room {
	uint32_t ids[SAVE_PART_ITEMS], counts[SAVE_PART_ITEMS], caps[SAVE_PART_ITEMS],
		heads[SAVE_PART_ITEMS];
	uint64_t hashes[2 * SAVE_PART_ITEMS];
	uint64_t times[SAVE_PART_ITEMS], values[SAVE_PART_ITEMS], origins[SAVE_PART_ITEMS];
};

static void save_definition(const struct definition *d, uint32_t place, struct room *room,
                            struct saver *to)
{
	Isod__V1__SnapshotDefinition m = ISOD__V1__SNAPSHOT_DEFINITION__INIT;
	const struct groups *t = &d->groups;
	SAVE_PART(part, DEFINITION);

	part.definition = &m;
	m.place = place;
	m.evicted = d->evicted;
	m.evicted_told = d->evicted_told;
	m.told_ns = d->told_ns;
	m.made = t->made;
	m.free = room->ids;
	for (uint32_t id = t->free; id != GROUP_NONE; id = groups_at(t, id)->newer) {
		if (m.n_free == SAVE_PART_ITEMS) {
			save_part(to, &part);
			m.n_free = 0;
		}
		m.free[m.n_free++] = id;
	}
	save_part(to, &part);
}

static void save_groups(const struct groups *t, struct room *room, struct saver *to)
{
	Isod__V1__SnapshotGroups m = ISOD__V1__SNAPSHOT_GROUPS__INIT;
	SAVE_PART(part, GROUPS);
	uint32_t id = t->oldest;

	part.groups = &m;
	m.ids = room->ids;
	m.hashes = room->hashes;
	m.counts = room->counts;
	m.caps = room->caps;
	m.heads = room->heads;
	while (id != GROUP_NONE) {
		size_t n = 0;
		for (; id != GROUP_NONE && n < SAVE_PART_ITEMS; n++) {
			const struct group *g = groups_at(t, id);
			room->ids[n] = id;
			room->hashes[2 * n] = g->hash[0];
			room->hashes[2 * n + 1] = g->hash[1];
			room->counts[n] = g->count;
			room->caps[n] = g->cap;
			room->heads[n] = g->cap ? g->head : 0;
			id = g->newer;
		}
		m.n_ids = m.n_counts = m.n_caps = m.n_heads = n;
		m.n_hashes = 2 * n;
		save_part(to, &part);
	}
}

static void save_extras(const struct groups *t, struct saver *to)
{
	for (uint32_t id = t->oldest; id != GROUP_NONE; id = groups_at(t, id)->newer) {
		const struct group_extra *x = groups_at(t, id)->extra;
		Isod__V1__SnapshotExtra m = ISOD__V1__SNAPSHOT_EXTRA__INIT;
		SAVE_PART(part, EXTRA);
		if (!x)
			continue;
		part.extra = &m;
		m.id = id;
		m.newest_ns = x->newest_ns;
		m.quiet_ns = x->quiet_ns;
		m.kept = save_bytes(str_make(x->kept, x->kept_size));
		save_part(to, &part);
	}
}

static void save_entries(const struct groups *t, struct room *room, struct saver *to)
{
	Isod__V1__SnapshotEntries m = ISOD__V1__SNAPSHOT_ENTRIES__INIT;
	SAVE_PART(part, ENTRIES);
	size_t n = 0;

	part.entries = &m;
	m.times_ns = room->times;
	m.values = room->values;
	m.origins = room->origins;
	for (uint32_t id = t->oldest; id != GROUP_NONE; id = groups_at(t, id)->newer) {
		struct group *g = groups_at(t, id);
		const struct entry *e = group_entries(g);
		for (uint32_t i = 0; i < g->count; i++) {
			if (n == SAVE_PART_ITEMS) {
				save_part(to, &part);
				n = 0;
			}
			room->times[n] = e[i].time_ns;
			room->values[n] = e[i].value;
			room->origins[n++] = e[i].origin;
			m.n_times_ns = m.n_values = m.n_origins = n;
		}
	}
	if (n)
		save_part(to, &part);
}

void correlate_save(const struct correlate *c, struct saver *to)
{
	struct room *room = xmalloc(sizeof(*room));

	for (size_t i = 0; i < c->count; i++) {
		const struct definition *d = c->definitions[i];
		save_definition(d, (uint32_t)i, room, to);
		save_groups(&d->groups, room, to);
		save_extras(&d->groups, to);
		save_entries(&d->groups, room, to);
	}
	free(room);
}

/* ---- loading ---- */

enum { NUMBER_FREE = 1, NUMBER_USED = 2 };

/* What the groups and windows of one correlation are charged for at most: its share and one window beyond it. */
#define LOAD_BYTES_MAX (CORRELATE_SHARE_MAX + 2 * (size_t)CORRELATE_EVENTS_MAX * ENTRY_COST)

struct correlate_loader {
	struct correlate *correlate;
	struct definition *definition; /* what the parts that come belong to */
	size_t place;
	uint32_t last_free, free_count;
	uint8_t *known;    /* by number: what it is, once that was told */
	uint32_t filling;  /* the group that the next entry goes to, */
	uint32_t filled;   /* and its place there */
	uint64_t expected; /* entries that are to come */
};

int correlate_load_head(struct correlate *c, const Isod__V1__SnapshotCorrelate *from)
{
	if (from->n_seeds != ARRAY_LEN(c->seeds))
		return -EBADMSG;
	memcpy(c->seeds, from->seeds, sizeof(c->seeds));
	c->arrival_ns = from->arrival_ns;
	c->started_ns = from->started_ns;
	c->counts = (struct correlate_counts){.evicted = from->evicted,
	                                      .dropped = from->dropped,
	                                      .late = from->late,
	                                      .wild = from->wild,
	                                      .not_numeric = from->not_numeric,
	                                      .saturated = from->saturated,
	                                      .suppressed = from->suppressed};
	return 0;
}

struct correlate_loader *correlate_loader_new(struct correlate *c)
{
	struct correlate_loader *l = xcalloc(1, sizeof(*l));

	l->correlate = c;
	l->filling = GROUP_NONE;
	return l;
}

void correlate_loader_free(struct correlate_loader *l)
{
	if (!l)
		return;
	free(l->known);
	free(l);
}

/* What a group of an absence waits on must be there, or telling of it would find nothing. */
static bool absence_sound(const struct definition *d, struct group *g)
{
	bool waits = false;

	for (uint32_t i = 0; i < g->count; i++)
		waits |= absence_waits(&group_entries(g)[i]);
	if (!waits)
		return true;
	if (!g->extra || !g->extra->kept)
		return false;
	Isod__V1__Match *m =
		isod__v1__match__unpack(NULL, g->extra->kept_size, (const uint8_t *)g->extra->kept);
	bool sound = m != NULL;
	for (size_t i = 0; m && i < d->def->n_group_by; i++)
		sound &= definition_value(d, 0, i, m) != NULL;
	if (m)
		isod__v1__match__free_unpacked(m, NULL);
	return sound;
}

static bool window_sound(const struct definition *d, struct group *g)
{
	const struct entry *e = group_entries(g);
	bool by_rule = d->field_count == d->def->n_group_by && d->def->type != CORRELATION(ABSENCE);

	for (uint32_t i = 0; i < g->count; i++)
		if ((i && e[i].time_ns < e[i - 1].time_ns) ||
		    (by_rule && e[i].value >= d->def->n_rules))
			return false;
	return d->def->type != CORRELATION(ABSENCE) || absence_sound(d, g);
}

/* Ends the definition whose parts came last. */
static int definition_done(struct correlate_loader *l)
{
	struct definition *d = l->definition;

	if (!d)
		return 0;
	if (l->expected || d->groups.count + l->free_count != d->groups.made)
		return -EBADMSG;
	for (uint32_t id = d->groups.oldest; id != GROUP_NONE;
	     id = groups_at(&d->groups, id)->newer)
		if (!window_sound(d, groups_at(&d->groups, id)))
			return -EBADMSG;
	if (d->def->type == CORRELATION(ABSENCE) && d->runs)
		absence_reschedule(l->correlate, d);
	return 0;
}

static int definition_begin(struct correlate_loader *l, const Isod__V1__SnapshotDefinition *from)
{
	if (definition_done(l) < 0 || from->place >= l->correlate->count ||
	    from->place != l->place || from->made > CORRELATE_GROUPS_MAX)
		return -EBADMSG;
	struct definition *d = l->definition = l->correlate->definitions[l->place++];
	d->evicted = from->evicted;
	d->evicted_told = from->evicted_told;
	d->told_ns = from->told_ns;
	groups_restore(&d->groups, from->made);
	free(l->known);
	l->known = xcalloc(from->made, sizeof(*l->known));
	l->free_count = 0;
	l->filling = GROUP_NONE;
	l->filled = 0;
	return 0;
}

/* The number is one of the definition's and was not used so far: now it is. */
static bool take_number(struct correlate_loader *l, uint32_t id, uint8_t as)
{
	if (id >= l->definition->groups.made || l->known[id])
		return false;
	l->known[id] = as;
	return true;
}

int correlate_load_definition(struct correlate_loader *l, const Isod__V1__SnapshotDefinition *from)
{
	bool goes_on = l->definition && from->place + 1 == l->place;

	if (goes_on ? l->definition->groups.count > 0 : definition_begin(l, from) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < from->n_free; i++) {
		if (!take_number(l, from->free[i], NUMBER_FREE))
			return -EBADMSG;
		groups_restore_free(&l->definition->groups, from->free[i], &l->last_free);
		l->free_count++;
	}
	return 0;
}

int correlate_load_groups(struct correlate_loader *l, const Isod__V1__SnapshotGroups *from)
{
	size_t n = from->n_ids;

	if (!l->definition || from->n_hashes != 2 * n || from->n_counts != n || from->n_caps != n ||
	    from->n_heads != n || l->filling != GROUP_NONE)
		return -EBADMSG;
	struct groups *t = &l->definition->groups;
	for (size_t i = 0; i < n; i++) {
		const uint64_t *hash = from->hashes + 2 * i;
		uint32_t cap = from->caps[i], count = from->counts[i], head = from->heads[i];
		bool fits = cap ? head <= cap && count <= cap - head : count <= 1 && head == 0;
		if (!fits || t->bytes + (size_t)cap * ENTRY_COST > LOAD_BYTES_MAX ||
		    groups_find(t, hash) != GROUP_NONE ||
		    !take_number(l, from->ids[i], NUMBER_USED))
			return -EBADMSG;
		groups_restore_group(t, from->ids[i], hash, cap, head, count);
		l->expected += count;
	}
	return 0;
}

int correlate_load_extra(struct correlate_loader *l, const Isod__V1__SnapshotExtra *from)
{
	if (!l->definition || from->id >= l->definition->groups.made ||
	    l->known[from->id] != NUMBER_USED)
		return -EBADMSG;
	struct groups *t = &l->definition->groups;
	struct group *g = groups_at(t, from->id);
	if (g->extra)
		return -EBADMSG;
	struct group_extra *x = groups_extra(t, g);
	x->newest_ns = from->newest_ns;
	x->quiet_ns = from->quiet_ns;
	if (from->kept.len)
		groups_keep(t, g, from->kept.data, from->kept.len);
	return 0;
}

int correlate_load_entries(struct correlate_loader *l, const Isod__V1__SnapshotEntries *from)
{
	size_t n = from->n_times_ns;

	if (!l->definition || from->n_values != n || from->n_origins != n || n > l->expected)
		return -EBADMSG;
	const struct groups *t = &l->definition->groups;
	if (l->filling == GROUP_NONE)
		l->filling = t->oldest;
	for (size_t i = 0; i < n; i++) {
		while (l->filled == groups_at(t, l->filling)->count) {
			l->filling = groups_at(t, l->filling)->newer;
			l->filled = 0;
		}
		group_entries(groups_at(t, l->filling))[l->filled++] = (struct entry){
			.time_ns = from->times_ns[i],
			.value = from->values[i],
			.origin = from->origins[i],
		};
	}
	l->expected -= n;
	return 0;
}

int correlate_loader_done(struct correlate_loader *l)
{
	return l->place == l->correlate->count ? definition_done(l) : -EBADMSG;
}
