/* The two types that are no condition on a window: what did not come, and what never came before.
 *
 * Absence: a match of the first rule waits for one of the others (or, when it is the only rule, for the next of its own)
 * for a timespan. It is told when the watermark has passed that, by the time of records: a Tick is asked for. What waited
 * while the daemon was down waits a timespan from its start, as what it waits for may have been held back with it.
 *
 * First seen: the window holds each value once, at the time it was last seen. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/pb.h"
#include "officer/correlate_internal.h"

/* What an entry of an absence is, in its value. */
#define WAITS  1u /* for an answer that has not come */
#define ANSWER 2u

/* ---- absence ---- */

static bool stands_alone(const struct definition *d)
{
	return d->def->n_rules == 1;
}

/* The last moment at which an answer to what came at `time_ns` is in time. */
static uint64_t wait_end(const struct correlate *c, const struct definition *d, uint64_t time_ns)
{
	uint64_t from = time_ns < c->started_ns ? c->started_ns : time_ns;

	return from + d->def->timespan_ns;
}

bool absence_waits(const struct entry *e)
{
	return e->value & WAITS;
}

static uint32_t first_waiting(struct group *g)
{
	const struct entry *e = group_entries(g);
	uint32_t i = 0;

	while (i < g->count && !(e[i].value & WAITS))
		i++;
	return i;
}

static void reschedule(const struct correlate *c, struct definition *d, uint32_t id,
                       struct group *g)
{
	uint32_t first = first_waiting(g);
	uint64_t due = UINT64_MAX;

	if (first < g->count)
		due = wait_end(c, d, group_entries(g)[first].time_ns) + d->lateness_ns;
	if (g->extra || due != UINT64_MAX) {
		groups_extra(&d->groups, g);
		groups_due_at(&d->groups, id, due);
	}
}

void absence_reschedule(const struct correlate *c, struct definition *d)
{
	for (uint32_t id = d->groups.oldest; id != GROUP_NONE;
	     id = groups_at(&d->groups, id)->newer)
		reschedule(c, d, id, groups_at(&d->groups, id));
}

uint32_t absence_stale(const struct definition *d, struct group *g)
{
	const struct entry *e = group_entries(g);
	uint64_t reach = d->lateness_ns + d->def->timespan_ns, newest = e[g->count - 1].time_ns;
	uint32_t i = 0;

	while (i < g->count && !(e[i].value & WAITS) && newest - e[i].time_ns > reach)
		i++;
	return i;
}

/* Ends the waiting of what came before the answer at `at`; of one time the order is not known, so it counts too. */
static void answer(const struct correlate *c, const struct definition *d, struct entry *e,
                   uint32_t count, uint32_t at)
{
	uint32_t end = at;

	while (!stands_alone(d) && end < count && e[end].time_ns == e[at].time_ns)
		end++;
	for (uint32_t i = 0; i < end; i++)
		if (wait_end(c, d, e[i].time_ns) >= e[at].time_ns)
			e[i].value &= ~(uint64_t)WAITS;
}

/* Whether an answer to the entry at `at` came before it did. */
static bool answered(const struct correlate *c, const struct definition *d, const struct entry *e,
                     uint32_t count, uint32_t at)
{
	uint32_t from = at + 1;

	while (!stands_alone(d) && from > 0 && e[from - 1].time_ns == e[at].time_ns)
		from--;
	for (uint32_t i = from; i < count && e[i].time_ns <= wait_end(c, d, e[at].time_ns); i++)
		if (i != at && e[i].value & ANSWER)
			return true;
	return false;
}

static void keep_match(struct groups *t, struct group *g, const Isod__V1__Match *m)
{
	size_t size = isod__v1__match__get_packed_size(m);
	uint8_t *packed = xmalloc(size);

	isod__v1__match__pack(m, packed);
	groups_keep(t, g, packed, size);
	free(packed);
}

void absence_feed(struct correlate *c, struct definition *d, struct feeding *f)
{
	struct group *g = f->group;
	bool begins = f->position == 0, answers = stands_alone(d) || !begins;

	f->entry.value = (begins ? WAITS : 0) | (answers ? ANSWER : 0);
	uint32_t at = definition_insert(c, d, f);
	if (at == UINT32_MAX) {
		reschedule(c, d, f->id, g);
		return;
	}
	struct entry *e = group_entries(g);
	if (begins && answered(c, d, e, g->count, at))
		e[at].value &= ~(uint64_t)WAITS;
	if (answers)
		answer(c, d, e, g->count, at);
	if (e[at].value & WAITS)
		keep_match(&d->groups, g, f->match);
	reschedule(c, d, f->id, g);
}

uint64_t absence_due(const struct definition *d)
{
	uint64_t due = NEVER;

	groups_due_first(&d->groups, &due);
	return due;
}

void absence_tell(struct correlate *c, struct definition *d, const struct step *s)
{
	uint64_t due;
	uint32_t id = groups_due_first(&d->groups, &due);
	struct group *g = groups_at(&d->groups, id);
	struct entry *e = group_entries(g);
	uint32_t at = first_waiting(g);
	uint64_t end = e[at].time_ns + d->def->timespan_ns;
	struct window_span span = {.from = at, .to = at + 1};
	Isod__V1__Match *m =
		isod__v1__match__unpack(NULL, g->extra->kept_size, (const uint8_t *)g->extra->kept);

	result_add(c, d, 0, m, e, &span);
	isod__v1__match__free_unpacked(m, NULL);
	Isod__V1__Match *told = c->results[c->result_count - 1];
	told->event_time_ns = end;
	told->received_ns = s->time_ns;
	/* What else began in that time waits for the same. */
	for (uint32_t i = at; i < g->count && e[i].time_ns <= end; i++)
		e[i].value &= ~(uint64_t)WAITS;
	if (d->def->suppress_ns) {
		g->extra->newest_ns = group_newest(g);
		g->extra->quiet_ns = end + d->def->suppress_ns;
		group_clear(&d->groups, g);
	}
	reschedule(c, d, id, g);
}

/* ---- first seen ---- */

static uint32_t find_value(struct group *g, uint64_t value)
{
	const struct entry *e = group_entries(g);
	uint32_t i = 0;

	while (i < g->count && e[i].value != value)
		i++;
	return i;
}

uint32_t first_seen(struct correlate *c, struct definition *d, struct feeding *f)
{
	struct group *g = f->group;
	uint64_t now = f->entry.time_ns, last = 0;
	uint32_t known = find_value(g, f->entry.value);
	bool is_new = known == g->count;

	if (!is_new) {
		last = group_entries(g)[known].time_ns;
		is_new = last < now && now - last > d->def->timespan_ns;
		if (last >= now)
			return UINT32_MAX;
		group_drop_at(g, known);
	}
	uint32_t at = definition_insert(c, d, f);
	if (!is_new)
		return UINT32_MAX;
	if (group_quiet(g, now)) {
		c->counts.suppressed += d->def->suppress_ns > 0;
		return UINT32_MAX;
	}
	return at;
}
