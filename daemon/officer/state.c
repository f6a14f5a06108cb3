#include "officer/state.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/pb.h"

#define WORKERS_MAX 4096 /* a record that names a worker past this is damaged */

void state_init(struct state *s)
{
	*s = (struct state){0};
	s->settings = xmalloc(sizeof(*s->settings));
	isod__v1__settings__init(s->settings);
	s->correlate = correlate_new();
	map_init(&s->producers);
	s->seed = map_seed();
	incident_init(&s->incident, s->seed);
	risk_init(&s->risk, s->seed);
	architecture_init(&s->architecture);
	improvement_init(&s->improvement);
	reporting_init(&s->reporting);
	access_init(&s->access);
	arena_init(&s->ahead, 0);
}

void state_release(struct state *s)
{
	isod__v1__settings__free_unpacked(s->settings, NULL);
	for (size_t i = 0; i < s->cursor_count; i++)
		map_release(&s->cursors[i].matched, NULL);
	free(s->cursors);
	map_release(&s->producers, producer_mark_free);
	correlate_free(s->correlate);
	incident_release(&s->incident);
	risk_release(&s->risk);
	architecture_release(&s->architecture);
	improvement_release(&s->improvement);
	reporting_release(&s->reporting);
	arena_release(&s->ahead);
}

/* ---- cursors ---- */

struct cursor *state_cursor(struct state *s, uint32_t worker)
{
	if (worker >= WORKERS_MAX)
		return NULL;
	if (worker >= s->cursor_count) {
		s->cursors = xrealloc(s->cursors, (worker + 1) * sizeof(*s->cursors));
		for (size_t i = s->cursor_count; i <= worker; i++) {
			s->cursors[i] = (struct cursor){0};
			map_init(&s->cursors[i].matched);
		}
		s->cursor_count = worker + 1;
	}
	return &s->cursors[worker];
}

#define DIGITS_MAX    20  /* of a sequence */
#define MATCH_KEY_MAX 600 /* a sequence and a rule's id, which the loader bounds */

static struct str match_key(const Isod__V1__Match *m, char out[static MATCH_KEY_MAX])
{
	struct str rule = str_head(str_of(m->rule), MATCH_KEY_MAX - DIGITS_MAX - 1);
	char digits[DIGITS_MAX];
	size_t at = sizeof(digits), n;

	for (uint64_t v = m->evidence->sequence; v || at == sizeof(digits); v /= 10)
		digits[--at] = (char)('0' + v % 10);
	n = sizeof(digits) - at;
	memcpy(out, digits + at, n);
	out[n++] = '/';
	if (rule.n)
		memcpy(out + n, rule.p, rule.n);
	return str_make(out, n + rule.n);
}

static void cursor_match(struct state *s, const Isod__V1__Match *m)
{
	struct cursor *c = m->evidence ? state_cursor(s, m->evidence->worker) : NULL;
	char key[MATCH_KEY_MAX];

	if (!c || m->evidence->sequence <= c->upto)
		return;
	map_put(&c->matched, match_key(m, key), c);
	if (m->evidence->sequence > c->seen_max)
		c->seen_max = m->evidence->sequence;
}

/* Matches up to a tally stand before it. Past it there are some only after a kill: they were written before it, and
 * the tally is of a re-detection that was broken off. */
static void forget_matched(struct cursor *c)
{
	const struct map_entry *e;

	if (c->seen_max <= c->upto) {
		map_clear(&c->matched, NULL);
		return;
	}
	for (size_t at = 0; (e = map_next(&c->matched, &at));)
		if (strtoull(e->key.p, NULL, 10) <= c->upto)
			map_remove(&c->matched, e->key);
}

static void cursor_tally(struct state *s, const Isod__V1__Tally *t)
{
	struct cursor *c = state_cursor(s, t->worker);

	if (!c || t->upto < c->upto)
		return;
	c->upto = t->upto;
	if (t->upto > c->seen_max)
		c->seen_max = t->upto;
	forget_matched(c);
}

bool state_has_match(const struct state *s, const Isod__V1__Match *m)
{
	char key[MATCH_KEY_MAX];

	if (!m->evidence || m->evidence->worker >= s->cursor_count)
		return false;
	const struct cursor *c = &s->cursors[m->evidence->worker];
	if (m->evidence->sequence > c->seen_max)
		return false;
	return m->evidence->sequence <= c->upto || map_get(&c->matched, match_key(m, key));
}

/* ---- the fold ---- */

static const struct match_at *match_at(struct state *s, const Isod__V1__Match *m)
{
	struct match_at *at = arena_alloc(&s->ahead, sizeof(*at));
	char text[ENTITY_KEY_MAX];

	at->rule = map_hash(0, str_of(m->rule));
	at->entities = arena_alloc(&s->ahead, m->n_entities * sizeof(*at->entities));
	for (size_t i = 0; i < m->n_entities; i++) {
		struct entity_at *e = &at->entities[i];
		e->key = arena_str(&s->ahead, entity_key(m->entities[i], text));
		e->hash = map_hash(s->seed, e->key);
	}
	return at;
}

/* A match that counts for itself visits the desks in their order. */
static void visit_desks(struct state *s, const struct step *step, const Isod__V1__Match *m,
                        const struct match_at *at)
{
	const char *reason;
	const Isod__V1__Incident *i = incident_on_match(&s->incident, step, m, at, &reason);

	risk_on_match(&s->risk, step, m, at, i ? i->id : 0);
	improvement_on_match(&s->improvement, step, m, i && i->matches == 1);
	if (reason)
		reporting_on_incident(&s->reporting, step, i, reason);
}

static void visit_derived(struct state *s, const struct step *step,
                          const Isod__V1__Match *const *derived, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!derived[i]->silent)
			visit_desks(s, step, derived[i], match_at(s, derived[i]));
}

static void apply_match(struct state *s, const struct step *step, const Isod__V1__Match *m,
                        const struct match_at *at)
{
	const Isod__V1__Match *const *derived;

	s->matches++;
	cursor_match(s, m);
	if (!m->silent)
		visit_desks(s, step, m, at);
	size_t count = correlate_on_match(s->correlate, step, m, &derived);
	visit_derived(s, step, derived, count);
}

/* What time alone brings about. */
static void apply_clock(struct state *s, const struct step *step)
{
	const Isod__V1__Match *const *derived = NULL;
	size_t count = correlate_on_clock(s->correlate, step, &derived);

	visit_derived(s, step, derived, count);
	incident_on_clock(&s->incident, step);
	reporting_on_clock(&s->reporting, step, &s->incident);
}

/* ---- producers ---- */

void producer_mark_free(void *mark)
{
	free(((struct producer_mark *)mark)->owner);
	free(mark);
}

static struct producer_mark *heard_of(struct state *s, const char *producer)
{
	struct producer_mark *mark = map_get(&s->producers, str_of(producer));

	if (!mark) {
		mark = xcalloc(1, sizeof(*mark));
		map_put(&s->producers, str_of(producer), mark);
	}
	mark->heard_ns = s->time_ns;
	return mark;
}

/* Marks only rise, whatever the order in which workers come to tell of one. */
static void mark_producers(struct state *s, const Isod__V1__Tally *t)
{
	for (size_t i = 0; i < t->n_producers; i++) {
		struct producer_mark *mark = heard_of(s, t->producers[i]->producer);
		if (t->producers[i]->upto > mark->upto)
			mark->upto = t->producers[i]->upto;
	}
}

/* The first one stays. */
static void bind_producer(struct state *s, const Isod__V1__ProducerBound *b)
{
	struct producer_mark *mark = heard_of(s, b->producer);

	if (!mark->owner)
		mark->owner = xstrdup(b->owner);
}

static void forget_producers(struct state *s, const Isod__V1__ProducersForgotten *f)
{
	for (size_t i = 0; i < f->n_producers; i++) {
		void *mark = map_remove(&s->producers, str_of(f->producers[i]));
		if (mark)
			producer_mark_free(mark);
	}
}

/* ---- records ---- */

void state_take_settings(struct state *s, const Isod__V1__Settings *settings)
{
	isod__v1__settings__free_unpacked(s->settings, NULL);
	s->settings = pb_copy(&settings->base);
	s->risk.half_life_ns = settings->risk_half_life_ns;
	correlate_settings(s->correlate, s->settings);
}

static void apply_command(struct state *s, const struct step *step, const Isod__V1__Command *c)
{
	const Isod__V1__Incident *i = incident_on_command(&s->incident, step, c);

	if (i)
		reporting_on_handled(&s->reporting, step, i->id);
}

/* `at`: of a match that is not silent. */
static void apply(struct state *s, const struct numbered *n, const struct match_at *at,
                  const struct effects *effects)
{
	static const struct effects none = {0};
	const Isod__V1__Record *record = n->record;

	s->sequence = n->sequence;
	s->time_ns = n->time_ns > s->time_ns ? n->time_ns : s->time_ns;
	if (record->body_case == ISOD__V1__RECORD__BODY_SETTINGS)
		state_take_settings(s, record->settings);
	const struct step step = {.sequence = n->sequence,
	                          .time_ns = s->time_ns,
	                          .record = record,
	                          .settings = s->settings,
	                          .effects = effects ? effects : &none};

	switch (record->body_case) {
	case ISOD__V1__RECORD__BODY_STARTED:
		s->started_ns = s->time_ns;
		correlate_on_started(s->correlate, &step);
		reporting_on_started(&s->reporting, &step);
		break;
	case ISOD__V1__RECORD__BODY_MATCH: apply_match(s, &step, record->match, at); break;
	case ISOD__V1__RECORD__BODY_TALLY:
		cursor_tally(s, record->tally);
		mark_producers(s, record->tally);
		architecture_on_tally(&s->architecture, &step, record->tally);
		break;
	case ISOD__V1__RECORD__BODY_COMMAND: apply_command(s, &step, record->command); break;
	case ISOD__V1__RECORD__BODY_PLUGIN_RESULT:
		reporting_on_result(&s->reporting, &step, record->plugin_result);
		break;
	case ISOD__V1__RECORD__BODY_PRODUCER_BOUND: bind_producer(s, record->producer_bound); break;
	case ISOD__V1__RECORD__BODY_PRODUCERS_FORGOTTEN:
		forget_producers(s, record->producers_forgotten);
		break;
	default: break;
	}
	improvement_on_record(&s->improvement, &step);
	access_on_record(&s->access, &step);
	apply_clock(s, &step);
}

/* ---- ahead ---- */

#define FETCHED_MAX 4 /* entities of a match that are fetched ahead; most have three at most */

/* One match on its way into the cache. */
struct touch {
	const struct match_at *at;
	size_t count;     /* of its entities, and */
	size_t strongest; /* the one that it is grouped by first */
	const struct map_entry *risk[FETCHED_MAX], *incident[FETCHED_MAX];
};

static void touch_begin(struct state *s, struct touch *t, const Isod__V1__Match *m)
{
	*t = (struct touch){.at = match_at(s, m)};
	t->count = m->n_entities < FETCHED_MAX ? m->n_entities : FETCHED_MAX;
	for (size_t i = 0; i < t->count; i++) {
		map_fetch_slot(&s->risk.entities, t->at->entities[i].hash);
		map_fetch_slot(&s->incident.by_entity, t->at->entities[i].hash);
		if (m->entities[i]->kind == ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS)
			t->strongest = i;
	}
}

static void touch_entries(const struct state *s, struct touch *t)
{
	for (size_t i = 0; i < t->count; i++) {
		uint64_t hash = t->at->entities[i].hash;
		t->risk[i] = map_fetch_entry(&s->risk.entities, hash);
		t->incident[i] = map_fetch_entry(&s->incident.by_entity, hash);
	}
}

static void touch_values(const struct state *s, const struct touch *t)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->risk[i])
			risk_fetch(t->risk[i]);
		if (t->incident[i])
			__builtin_prefetch(t->incident[i]->key.p);
	}
	if (t->count && t->incident[t->strongest])
		incident_fetch(&s->incident, t->incident[t->strongest], t->at, 0);
}

/* In rounds: what one waits for comes from memory for all matches together. */
static void fetch_touches(const struct state *s, struct touch *touches, size_t count)
{
	for (size_t i = 0; i < count; i++)
		touch_entries(s, &touches[i]);
	for (size_t i = 0; i < count; i++)
		touch_values(s, &touches[i]);
	for (int round = 1; round < INCIDENT_ROUNDS; round++)
		for (size_t i = 0; i < count; i++) {
			const struct touch *t = &touches[i];
			if (t->count && t->incident[t->strongest])
				incident_fetch(&s->incident, t->incident[t->strongest], t->at,
				               round);
		}
}

/* Works out how the matches among the records are looked up, and fetches what all of them will touch. */
static void look_ahead(struct state *s, const struct numbered *records, size_t count,
                       const struct match_at **at)
{
	const Isod__V1__Match *matches[STATE_AHEAD];
	struct touch touches[STATE_AHEAD];
	size_t n = 0, touched = 0;

	for (size_t i = 0; i < count; i++) {
		const Isod__V1__Match *m = records[i].record->match;
		at[i] = NULL;
		if (records[i].record->body_case != ISOD__V1__RECORD__BODY_MATCH)
			continue;
		matches[n++] = m;
		if (m->silent)
			continue;
		touch_begin(s, &touches[touched], m);
		at[i] = touches[touched++].at;
	}
	if (count < 2)
		return; /* nothing to wait for together */
	correlate_prefetch(s->correlate, matches, n);
	fetch_touches(s, touches, touched);
}

void state_apply_all(struct state *s, const struct numbered *records, size_t count,
                     const struct effects *effects)
{
	const struct match_at *at[STATE_AHEAD];

	for (size_t done = 0; done < count;) {
		size_t n = count - done < STATE_AHEAD ? count - done : STATE_AHEAD;
		look_ahead(s, records + done, n, at);
		for (size_t i = 0; i < n; i++)
			apply(s, &records[done + i], at[i], effects);
		arena_reset(&s->ahead);
		done += n;
	}
}

void state_apply(struct state *s, uint64_t sequence, uint64_t time_ns,
                 const Isod__V1__Record *record, const struct effects *effects)
{
	const struct numbered one = {sequence, time_ns, (Isod__V1__Record *)(uintptr_t)record};

	state_apply_all(s, &one, 1, effects);
}

uint64_t state_next_deadline(const struct state *s)
{
	uint64_t reporting = reporting_next_deadline(&s->reporting),
		 correlate = correlate_next_deadline(s->correlate);

	return reporting < correlate ? reporting : correlate;
}
