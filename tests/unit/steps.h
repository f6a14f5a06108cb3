/* For the desks' tests: a state fed with records of the test's making, at times of its choosing. */
#ifndef ISOD_TESTS_STEPS_H
#define ISOD_TESTS_STEPS_H

#include <criterion/criterion.h>

#include "records.h"

struct world {
	struct state state;
	struct effects effects;
	uint64_t sequence;
	uint64_t now;
	uint64_t evidence;
	/* what the effects saw */
	size_t dirty[VIEW_KINDS];
	size_t incidents;
	size_t notified;
	size_t evicted, evictions_told;
	uint64_t last_notification;
	uint32_t last_attempt;
};

static inline void world_dirty(void *arg, enum view_kind kind, struct str key)
{
	(void)key;
	((struct world *)arg)->dirty[kind]++;
}

static inline void world_incident(void *arg, const Isod__V1__Incident *i)
{
	(void)i;
	((struct world *)arg)->incidents++;
}

static inline void world_notify(void *arg, const Isod__V1__Notification *n,
                                const Isod__V1__Incident *i)
{
	struct world *w = arg;
	cr_assert_not_null(i);
	w->notified++;
	w->last_notification = n->id;
	w->last_attempt = n->attempts;
}

static inline void world_evicted(void *arg, const char *correlation, uint64_t count)
{
	struct world *w = arg;
	cr_assert_neq(correlation[0], '\0');
	w->evicted += count;
	w->evictions_told++;
}

static inline void world_apply(struct world *w, Isod__V1__Record *record)
{
	state_apply(&w->state, ++w->sequence, w->now, record, &w->effects);
}

/* Takes over the settings' correlations and routes (freed with the record). */
static inline void world_settings(struct world *w, Isod__V1__Settings *s)
{
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	record.body_case = ISOD__V1__RECORD__BODY_SETTINGS;
	record.settings = s;
	world_apply(w, &record);
}

static inline void world_init(struct world *w)
{
	*w = (struct world){.now = T0};
	w->effects = (struct effects){.arg = w,
	                              .dirty = world_dirty,
	                              .incident = world_incident,
	                              .notify = world_notify,
	                              .evicted = world_evicted};
	state_init(&w->state);
	Isod__V1__Settings *s = settings_new();
	world_settings(w, s);
	isod__v1__settings__free_unpacked(s, NULL);
}

static inline void world_match_keep(struct world *w, Isod__V1__Match *m)
{
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	record.body_case = ISOD__V1__RECORD__BODY_MATCH;
	record.match = m;
	world_apply(w, &record);
}

/* The next frame's match: see match_of. */
static inline Isod__V1__Match *match_new(struct world *w, const char *rule, Isod__V1__Level level,
                                         const char *address, const char *user, const char *host)
{
	return match_of(++w->evidence, w->now, rule, level, address, user, host);
}

/* Applies and frees. */
static inline void world_match(struct world *w, Isod__V1__Match *m)
{
	world_match_keep(w, m);
	match_free(m);
}

static inline void world_tick(struct world *w)
{
	Isod__V1__Tick tick = ISOD__V1__TICK__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	record.body_case = ISOD__V1__RECORD__BODY_TICK;
	record.tick = &tick;
	world_apply(w, &record);
}

#endif
