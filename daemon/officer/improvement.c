#include "officer/improvement.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "officer/save.h"

#define SERIES_KEY_MAX 400 /* scope, slash and a name cut at NAME_MAX_BYTES */
#define NAME_MAX_BYTES 300 /* sources and rule ids are far shorter */

static const uint32_t ring_sizes[] = {0, METRIC_MINUTES, METRIC_HOURS, METRIC_DAYS};
static const char *const level_names[] = {"medium", "informational", "low",
                                          "medium", "high",          "critical"};

uint64_t metric_width(Isod__V1__Resolution r)
{
	static const uint64_t widths[] = {0, NS_PER_MINUTE, NS_PER_HOUR, NS_PER_DAY};
	return (unsigned)r < ARRAY_LEN(widths) ? widths[r] : 0;
}

static void free_series(void *p)
{
	struct metric_series *m = p;

	for (size_t i = 0; i < ARRAY_LEN(m->rings); i++)
		free(m->rings[i].counts);
	free(m->scope);
	free(m->name);
	free(m);
}

void improvement_init(struct improvement_desk *d)
{
	map_init(&d->series);
}

void improvement_release(struct improvement_desk *d)
{
	map_release(&d->series, free_series);
}

/* Counts of spans that the ring has turned past are forgotten; a time before the ring's reach is left out of it
 * (it is still in the total). */
static void ring_add(struct metric_ring *ring, uint64_t span, uint64_t n)
{
	if (ring->size == 0)
		return;
	if (!ring->counts)
		ring->counts = xcalloc(ring->size, sizeof(*ring->counts));
	if (span > ring->newest) {
		uint64_t gap = span - ring->newest;
		for (uint64_t i = 0; i < gap && i < ring->size; i++)
			ring->counts[(span - i) % ring->size] = 0;
		ring->newest = span;
	} else if (ring->newest - span >= ring->size) {
		return;
	}
	ring->counts[span % ring->size] += n;
}

static struct metric_series *series_new(const char *scope, struct str name)
{
	struct metric_series *m = xcalloc(1, sizeof(*m));

	m->scope = xstrdup(scope);
	m->name = xstrndup(name.p, name.n);
	for (size_t i = 0; i < ARRAY_LEN(m->rings); i++)
		m->rings[i].size = ring_sizes[i];
	return m;
}

static struct metric_series *series_at(struct improvement_desk *d, const char *scope,
                                       const char *name, char key[static SERIES_KEY_MAX],
                                       struct str *ret_key)
{
	struct str cut = utf8_cut(str_of(name), NAME_MAX_BYTES);
	size_t n = (size_t)(stpcpy(key, scope) - key); /* one of a few words */

	key[n++] = '/';
	if (cut.n)
		memcpy(key + n, cut.p, cut.n);
	*ret_key = str_make(key, n + cut.n);
	struct metric_series *m = map_get(&d->series, *ret_key);

	if (m)
		return m;
	if (d->series.count >= METRIC_SERIES_MAX && strcmp(name, "(other)") != 0)
		return series_at(d, scope, "(other)", key, ret_key);
	m = series_new(scope, cut);
	map_put(&d->series, *ret_key, m);
	return m;
}

static void metric_add(struct improvement_desk *d, const struct step *s, const char *scope,
                       const char *name, uint64_t n)
{
	char text[SERIES_KEY_MAX];
	struct str key;

	if (n == 0)
		return;
	struct metric_series *m = series_at(d, scope, name, text, &key);
	m->total += n;
	for (unsigned r = 1; r < ARRAY_LEN(m->rings); r++)
		ring_add(&m->rings[r], s->time_ns / metric_width((Isod__V1__Resolution)r), n);
	step_dirty(s, VIEW_METRIC, key);
}

static void count_tally(struct improvement_desk *d, const struct step *s, const Isod__V1__Tally *t)
{
	uint64_t events = 0;

	for (size_t i = 0; i < t->n_sources; i++) {
		metric_add(d, s, "source", t->sources[i]->source, t->sources[i]->received);
		metric_add(d, s, "events", "undecoded", t->sources[i]->undecoded);
		metric_add(d, s, "events", "refused", t->sources[i]->refused);
		metric_add(d, s, "events", "shed", t->sources[i]->shed);
		events += t->sources[i]->received;
	}
	metric_add(d, s, "events", "received", events);
}

void improvement_on_record(struct improvement_desk *d, const struct step *s)
{
	switch (s->record->body_case) {
	case ISOD__V1__RECORD__BODY_TALLY: count_tally(d, s, s->record->tally); break;
	case ISOD__V1__RECORD__BODY_REFUSAL: metric_add(d, s, "access", "refused", 1); break;
	case ISOD__V1__RECORD__BODY_COMMAND:
		if (s->record->command->action_case == ISOD__V1__COMMAND__ACTION_CLOSE)
			metric_add(d, s, "incidents", "closed", 1);
		else if (s->record->command->action_case == ISOD__V1__COMMAND__ACTION_ACKNOWLEDGE)
			metric_add(d, s, "incidents", "acknowledged", 1);
		break;
	default: break;
	}
}

void improvement_on_match(struct improvement_desk *d, const struct step *s,
                          const Isod__V1__Match *m, bool opened_incident)
{
	unsigned level = m->level > ISOD__V1__LEVEL__LEVEL_CRITICAL ? 0 : (unsigned)m->level;

	metric_add(d, s, "rule", m->rule, 1);
	metric_add(d, s, "severity", level_names[level], 1);
	if (opened_incident)
		metric_add(d, s, "incidents", "opened", 1);
}

const struct metric_series *improvement_get(const struct improvement_desk *d, struct str key)
{
	return map_get(&d->series, key);
}

size_t metric_points(const struct metric_series *m, Isod__V1__Resolution r, uint64_t now_ns,
                     Isod__V1__MetricPoint *out, size_t max)
{
	uint64_t width = metric_width(r);

	if (!width || !m->rings[r].counts)
		return 0;
	const struct metric_ring *ring = &m->rings[r];
	uint64_t last = now_ns / width > ring->newest ? now_ns / width : ring->newest;
	uint64_t spans = max < ring->size ? max : ring->size;
	size_t count = 0;

	for (uint64_t i = spans; i-- > 0;) {
		uint64_t span = last - i;
		bool known = span <= ring->newest && ring->newest - span < ring->size;
		uint64_t n = known ? ring->counts[span % ring->size] : 0;
		if (n == 0 && count == 0)
			continue;
		isod__v1__metric_point__init(&out[count]);
		out[count].start_ns = span * width;
		out[count].count = n;
		count++;
	}
	return count;
}

/* ---- saved ---- */

#define RINGS 3 /* those that are in use */

/* The room for what a ring's message points to. */
struct ring_room {
	uint32_t ages[METRIC_DAYS];
	uint64_t counts[METRIC_DAYS];
};
_Static_assert(METRIC_DAYS >= METRIC_MINUTES && METRIC_DAYS >= METRIC_HOURS, "the largest ring");

static void save_ring(const struct metric_ring *ring, struct ring_room *room,
                      Isod__V1__SnapshotRing *m)
{
	isod__v1__snapshot_ring__init(m);
	m->newest = ring->newest;
	m->ages = room->ages;
	m->counts = room->counts;
	for (uint32_t age = 0; ring->counts && age < ring->size && age <= ring->newest; age++) {
		uint64_t count = ring->counts[(ring->newest - age) % ring->size];
		if (!count)
			continue;
		room->ages[m->n_ages++] = age;
		room->counts[m->n_counts++] = count;
	}
}

void improvement_save(const struct improvement_desk *d, struct saver *to)
{
	struct ring_room room[RINGS];
	Isod__V1__SnapshotRing rings[RINGS], *list[RINGS];
	const struct map_entry *e;

	for (size_t at = 0; (e = map_next(&d->series, &at));) {
		const struct metric_series *series = e->value;
		Isod__V1__SnapshotSeries m = ISOD__V1__SNAPSHOT_SERIES__INIT;
		SAVE_PART(part, SERIES);
		part.series = &m;
		m.scope = series->scope;
		m.name = series->name;
		m.total = series->total;
		m.n_rings = RINGS;
		m.rings = list;
		for (size_t r = 0; r < RINGS; r++) {
			list[r] = &rings[r];
			save_ring(&series->rings[r + 1], &room[r], &rings[r]);
		}
		save_part(to, &part);
	}
}

static int load_ring(struct metric_ring *ring, const Isod__V1__SnapshotRing *from)
{
	if (from->n_ages != from->n_counts)
		return -EBADMSG;
	for (size_t i = 0; i < from->n_ages; i++)
		if (from->ages[i] >= ring->size || from->ages[i] > from->newest)
			return -EBADMSG;
	ring->newest = from->newest;
	if (from->n_ages)
		ring->counts = xcalloc(ring->size, sizeof(*ring->counts));
	for (size_t i = 0; i < from->n_ages; i++)
		ring->counts[(ring->newest - from->ages[i]) % ring->size] = from->counts[i];
	return 0;
}

int improvement_load(struct improvement_desk *d, const Isod__V1__SnapshotSeries *from)
{
	char key[SERIES_KEY_MAX];
	int n = snprintf(key, sizeof(key), "%s/%s", from->scope, from->name);

	if (n >= SERIES_KEY_MAX || from->n_rings != RINGS ||
	    map_get(&d->series, str_make(key, (size_t)n)))
		return -EBADMSG;
	struct metric_series *m = series_new(from->scope, str_of(from->name));
	m->total = from->total;
	map_put(&d->series, str_make(key, (size_t)n), m);
	for (size_t r = 0; r < RINGS; r++)
		if (load_ring(&m->rings[r + 1], from->rings[r]) < 0)
			return -EBADMSG;
	return 0;
}
