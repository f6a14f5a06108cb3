#include "officer/improvement.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"

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

static struct metric_series *series_at(struct improvement_desk *d, const char *scope,
                                       const char *name, char key[static SERIES_KEY_MAX],
                                       struct str *ret_key)
{
	struct str cut = utf8_cut(str_of(name), NAME_MAX_BYTES);
	int n = snprintf(key, SERIES_KEY_MAX, "%s/%.*s", scope, STR_FMT(cut));
	*ret_key = str_make(key, (size_t)n);
	struct metric_series *m = map_get(&d->series, *ret_key);

	if (m)
		return m;
	if (d->series.count >= METRIC_SERIES_MAX && strcmp(name, "(other)") != 0)
		return series_at(d, scope, "(other)", key, ret_key);
	m = xcalloc(1, sizeof(*m));
	m->scope = xstrdup(scope);
	m->name = xstrndup(cut.p, cut.n);
	for (size_t i = 0; i < ARRAY_LEN(m->rings); i++)
		m->rings[i].size = ring_sizes[i];
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
