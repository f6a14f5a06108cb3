/* Why fixed point: the state is a fold that must give the same digest on every machine and compiler, and floating
 * point does not promise that. A score is a count of thousandths; decay multiplies by 2^-(elapsed/half-life), split
 * into whole half-lives (shifts) and 256ths of one (a product of roots in Q32; the error of a step is below 2^-31, far
 * below a thousandth). */
#include "officer/risk.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pb.h"
#include "officer/save.h"

#define CONFIDENCE_PERCENT 100 /* of a match; rules weigh alike until their precision is measured */
#define DECAY_STEPS        256
#define Q32_ONE            (UINT64_C(1) << 32)
#define SCORE_MAX          UINT64_C(1000000000) /* a million points: keeps products inside 64 bits */

/* Points of one match by severity, in thousandths: an order of magnitude from low to critical, so that many small
 * things do not outweigh a large one within a half-life. */
static const uint64_t severity_milli[] = {
	[ISOD__V1__LEVEL__LEVEL_NONE] = 10000, [ISOD__V1__LEVEL__LEVEL_INFORMATIONAL] = 1000,
	[ISOD__V1__LEVEL__LEVEL_LOW] = 5000,   [ISOD__V1__LEVEL__LEVEL_MEDIUM] = 10000,
	[ISOD__V1__LEVEL__LEVEL_HIGH] = 25000, [ISOD__V1__LEVEL__LEVEL_CRITICAL] = 50000,
};

static void free_risk(void *p)
{
	isod__v1__entity_risk__free_unpacked(p, NULL);
}

void risk_init(struct risk_desk *d, uint64_t seed)
{
	map_init_seed(&d->entities, seed);
	d->evicted = 0;
	d->half_life_ns = 0;
}

void risk_release(struct risk_desk *d)
{
	map_release(&d->entities, free_risk);
}

/* 2^-(1/2), 2^-(1/4), … 2^-(1/256) in Q32: each the square root of the one before it, rounded down, from 2^-1 on. */
static const uint64_t roots[] = {
	0xb504f333, 0xd744fcca, 0xeac0c6e7, 0xf5257d14,
	0xfa83b2da, 0xfd3e0c0c, 0xfe9e115c, 0xff4ecb59,
};

/* 2^-(k/256) in Q32 for 0 <= k < 256: the product of the roots for the bits set in k, the highest first. */
static uint64_t decay_factor(unsigned k)
{
	uint64_t factor = Q32_ONE;

	for (unsigned i = 0; i < ARRAY_LEN(roots); i++)
		if (k & DECAY_STEPS / 2 >> i)
			factor = (uint64_t)(((unsigned __int128)factor * roots[i]) >> 32);
	return factor;
}

uint64_t risk_decay(uint64_t score_milli, uint64_t elapsed_ns, uint64_t half_life_ns)
{
	if (half_life_ns == 0 || elapsed_ns == 0)
		return score_milli;
	uint64_t whole = elapsed_ns / half_life_ns;
	if (whole >= 40)
		return 0; /* SCORE_MAX is below 2^40 thousandths */
	uint64_t rest = elapsed_ns % half_life_ns;
	unsigned part = half_life_ns <= UINT64_MAX / DECAY_STEPS
	                        ? (unsigned)(rest * DECAY_STEPS / half_life_ns)
	                        : (unsigned)((unsigned __int128)rest * DECAY_STEPS / half_life_ns);
	return (uint64_t)(((unsigned __int128)(score_milli >> whole) * decay_factor(part)) >> 32);
}

uint64_t risk_score(const struct risk_desk *d, const Isod__V1__EntityRisk *r, uint64_t now_ns)
{
	uint64_t elapsed = now_ns > r->updated_ns ? now_ns - r->updated_ns : 0;
	return risk_decay(r->score_milli, elapsed, d->half_life_ns);
}

static bool asset_fits(const Isod__V1__AssetWeight *a, const Isod__V1__Entity *e)
{
	struct str pattern = str_of(a->entity->name), name = str_of(e->name);

	if (a->entity->kind != e->kind)
		return false;
	if (pattern.n && pattern.p[pattern.n - 1] == '*')
		return str_starts(name, str_head(pattern, pattern.n - 1));
	return str_ieq(pattern, name);
}

static uint64_t asset_percent(const Isod__V1__Settings *settings, const Isod__V1__Entity *e)
{
	for (size_t i = 0; i < settings->n_assets; i++)
		if (asset_fits(settings->assets[i], e))
			return settings->assets[i]->weight_percent;
	return 100;
}

/* Makes room: drops the quarter with the lowest scores (as of now), so that the work is shared by many inserts. */
static void risk_evict(struct risk_desk *d, const struct step *s)
{
	size_t max = d->entities.count, keep = max - max / 4;
	const Isod__V1__EntityRisk **all = xcalloc(max, sizeof(*all));
	size_t count = risk_top(d, ISOD__V1__ENTITY_KIND__ENTITY_UNKNOWN, s->time_ns, all, max);
	char key[ENTITY_KEY_MAX];

	for (size_t i = keep; i < count; i++) {
		struct str k = entity_key(all[i]->entity, key);
		free_risk(map_remove(&d->entities, k));
		step_dirty(s, VIEW_RISK, k);
		d->evicted++;
	}
	free(all);
}

static Isod__V1__EntityRisk *risk_at(struct risk_desk *d, const struct step *s,
                                     const Isod__V1__Entity *e, const struct entity_at *at)
{
	Isod__V1__EntityRisk *r = map_get_at(&d->entities, at->key, at->hash);

	if (r)
		return r;
	if (d->entities.count >= RISK_ENTITIES_MAX)
		risk_evict(d, s);
	r = xmalloc(sizeof(*r));
	isod__v1__entity_risk__init(r);
	r->entity = pb_copy(&e->base);
	map_put_at(&d->entities, at->key, at->hash, r);
	return r;
}

void risk_on_match(struct risk_desk *d, const struct step *s, const Isod__V1__Match *m,
                   const struct match_at *at, uint64_t incident)
{
	unsigned level = m->level > ISOD__V1__LEVEL__LEVEL_CRITICAL ? 0 : (unsigned)m->level;

	for (size_t i = 0; i < m->n_entities; i++) {
		Isod__V1__EntityRisk *r = risk_at(d, s, m->entities[i], &at->entities[i]);
		uint64_t points = severity_milli[level] * CONFIDENCE_PERCENT / 100 *
		                  asset_percent(s->settings, m->entities[i]) / 100;
		uint64_t score = risk_score(d, r, s->time_ns) + points;

		r->score_milli = score < SCORE_MAX ? score : SCORE_MAX;
		r->updated_ns = s->time_ns;
		r->matches++;
		if (incident)
			r->last_incident = incident;
		step_dirty(s, VIEW_RISK, at->entities[i].key);
	}
}

void risk_fetch(const struct map_entry *e)
{
	const char *r = e->value;

	if (!r)
		return;
	__builtin_prefetch(e->key.p);
	__builtin_prefetch(r + offsetof(Isod__V1__EntityRisk, score_milli), 1);
	__builtin_prefetch(r + sizeof(Isod__V1__EntityRisk) - 1, 1);
}

const Isod__V1__EntityRisk *risk_get(const struct risk_desk *d, struct str key)
{
	return map_get(&d->entities, key);
}

struct ranked {
	const Isod__V1__EntityRisk *risk;
	struct str key;
	uint64_t score;
};

static int by_score(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
	int order = memcmp(x->key.p, y->key.p, n);
	return order ? order : (x->key.n > y->key.n) - (x->key.n < y->key.n);
}

size_t risk_top(const struct risk_desk *d, Isod__V1__EntityKind kind, uint64_t now_ns,
                const Isod__V1__EntityRisk **out, size_t max)
{
	struct ranked *all = xcalloc(d->entities.count, sizeof(*all));
	const struct map_entry *e;
	size_t count = 0;

	for (size_t at = 0; (e = map_next(&d->entities, &at));) {
		const Isod__V1__EntityRisk *r = e->value;
		if (kind != ISOD__V1__ENTITY_KIND__ENTITY_UNKNOWN && r->entity->kind != kind)
			continue;
		all[count++] = (struct ranked){r, e->key, risk_score(d, r, now_ns)};
	}
	qsort(all, count, sizeof(*all), by_score);
	if (count > max)
		count = max;
	for (size_t i = 0; i < count; i++)
		out[i] = all[i].risk;
	free(all);
	return count;
}

/* ---- saved ---- */

void risk_save(const struct risk_desk *d, struct saver *to)
{
	Isod__V1__SnapshotRisk m = ISOD__V1__SNAPSHOT_RISK__INIT;
	void **all = save_values(&d->entities);
	SAVE_PART(part, RISK);

	part.risk = &m;
	for (size_t at = 0; at < d->entities.count; at += m.n_entities) {
		m.entities = (Isod__V1__EntityRisk **)all + at;
		m.n_entities = save_fit(all + at, d->entities.count - at);
		save_part(to, &part);
	}
	free(all);
}

int risk_load(struct risk_desk *d, Isod__V1__SnapshotRisk *from)
{
	char text[ENTITY_KEY_MAX];

	for (size_t i = 0; i < from->n_entities; i++) {
		Isod__V1__EntityRisk *r = from->entities[i];
		struct str key = r->entity ? entity_key(r->entity, text) : STR_NONE;
		if (!key.n || r->score_milli > SCORE_MAX || map_get(&d->entities, key))
			return -EBADMSG;
		from->entities[i] = NULL;
		map_put(&d->entities, key, r);
	}
	return 0;
}
