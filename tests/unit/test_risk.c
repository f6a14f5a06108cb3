/* Live risk: fixed-point decay, weights, ranking, bounds. */
#include <math.h>

#include "steps.h"

/* floor(sqrt(v)) by bits, exact. */
static uint64_t square_root(unsigned __int128 v)
{
	uint64_t root = 0;

	for (int bit = 63; bit >= 0; bit--) {
		uint64_t with = root | UINT64_C(1) << bit;
		if ((unsigned __int128)with * with <= v)
			root = with;
	}
	return root;
}

Test(risk, each_root_is_the_square_root_of_the_one_before_it)
{
	uint64_t root = UINT64_C(1) << 31, half_life = 256, score = 1000000000;

	for (uint64_t part = 128; part; part /= 2) {
		root = square_root((unsigned __int128)root << 32);
		cr_assert_eq(risk_decay(score, part, half_life),
		             (uint64_t)((unsigned __int128)score * root >> 32));
	}
}

Test(risk, decay_halves_each_half_life)
{
	cr_assert_eq(risk_decay(100000, 0, NS_PER_HOUR), 100000);
	cr_assert_eq(risk_decay(100000, NS_PER_HOUR, NS_PER_HOUR), 50000);
	cr_assert_eq(risk_decay(100000, 3 * NS_PER_HOUR, NS_PER_HOUR), 12500);
	cr_assert_eq(risk_decay(100000, 100 * NS_PER_HOUR, NS_PER_HOUR), 0);
	cr_assert_eq(risk_decay(100000, UINT64_MAX, NS_PER_HOUR), 0);
	cr_assert_eq(risk_decay(100000, NS_PER_HOUR, 0), 100000, "no half-life: no decay");
}

Test(risk, decay_follows_the_exponential_within_a_256th_of_a_half_life)
{
	for (uint64_t t = 0; t < 5 * NS_PER_HOUR; t += NS_PER_HOUR / 97) {
		double exact = 1e9 * exp2(-(double)t / (double)NS_PER_HOUR);
		double got = (double)risk_decay(1000000000, t, NS_PER_HOUR);
		cr_assert_lt(fabs(got - exact) / exact, exp2(1.0 / 256) - 1 + 1e-6);
	}
}

Test(risk, decay_never_rises)
{
	uint64_t last = UINT64_MAX;

	for (uint64_t t = 0; t < 3 * NS_PER_HOUR; t += NS_PER_SECOND) {
		uint64_t now = risk_decay(123456789, t, NS_PER_HOUR);
		cr_assert_leq(now, last);
		last = now;
	}
}

Test(risk, scores_add_up_by_severity_and_asset_weight)
{
	struct world w;

	world_init(&w);
	Isod__V1__Settings *s = settings_new();
	Isod__V1__AssetWeight **at = pb_add(&s->assets, &s->n_assets, sizeof(*at));
	*at = xmalloc(sizeof(**at));
	isod__v1__asset_weight__init(*at);
	(*at)->entity = xmalloc(sizeof(Isod__V1__Entity));
	isod__v1__entity__init((*at)->entity);
	(*at)->entity->kind = ISOD__V1__ENTITY_KIND__ENTITY_HOST;
	pb_set_text(&(*at)->entity->name, "db*");
	(*at)->weight_percent = 300;
	world_settings(&w, s);
	isod__v1__settings__free_unpacked(s, NULL);
	world_match(&w, match_new(&w, "a", HIGH, "192.0.2.1", NULL, "db1"));
	world_match(&w, match_new(&w, "a", LOW, "192.0.2.1", NULL, "web1"));
	const struct risk_desk *d = &w.state.risk;
	cr_assert_eq(risk_get(d, STR("host:db1"))->score_milli, 75000);
	cr_assert_eq(risk_get(d, STR("host:web1"))->score_milli, 5000);
	cr_assert_eq(risk_get(d, STR("address:192.0.2.1"))->score_milli, 30000);
	cr_assert_eq(risk_get(d, STR("address:192.0.2.1"))->matches, 2);
	const Isod__V1__EntityRisk *top[2];
	cr_assert_eq(risk_top(d, 0, w.now, top, 2), 2);
	cr_assert_str_eq(top[0]->entity->name, "db1");
	cr_assert_str_eq(top[1]->entity->name, "192.0.2.1");
	cr_assert_eq(risk_top(d, ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS, w.now, top, 2), 1);
	cr_assert_eq(risk_score(d, top[0], w.now + NS_PER_DAY), 15000);
	state_release(&w.state);
}

Test(risk, the_lowest_scores_make_room)
{
	struct world w;
	char address[32];

	world_init(&w);
	world_match(&w, match_new(&w, "a", CRIT, "192.0.2.1", NULL, NULL));
	for (unsigned i = 0; i < RISK_ENTITIES_MAX + 5; i++) {
		snprintf(address, sizeof(address), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		world_match(&w, match_new(&w, "a", ISOD__V1__LEVEL__LEVEL_INFORMATIONAL, address,
		                          NULL, NULL));
	}
	cr_assert_leq(w.state.risk.entities.count, RISK_ENTITIES_MAX);
	cr_assert_gt(w.state.risk.evicted, 0);
	cr_assert_not_null(risk_get(&w.state.risk, STR("address:192.0.2.1")));
	state_release(&w.state);
}
