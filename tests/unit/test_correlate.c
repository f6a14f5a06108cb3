/* Correlation over matches: counts and sequences by group and window. */
#include "steps.h"

#define TYPE(x) ISOD__V1__CORRELATION_TYPE__CORRELATION_##x

static struct world w;
static Isod__V1__Settings *settings;

static void begin(Isod__V1__Correlation *c)
{
	world_init(&w);
	settings = settings_new();
	settings_correlation(settings, c);
}

static void ready(void)
{
	world_settings(&w, settings);
}

static void end(void)
{
	isod__v1__settings__free_unpacked(settings, NULL);
	state_release(&w.state);
}

static void fail_login(const char *address, const char *user, uint64_t at_s)
{
	w.now = T0 + at_s * NS_PER_SECOND;
	Isod__V1__Match *m = match_new(&w, "failed", LOW, address, user, "web1");
	m->silent = 1;
	pb_set_text(&m->outcome, "failure");
	world_match(&w, m);
}

static Isod__V1__Correlation *five_in_a_minute(void)
{
	Isod__V1__Correlation *c =
		correlation_new("brute", TYPE(EVENT_COUNT), NS_PER_MINUTE, "src_ip");
	pb_add_text(&c->rules, &c->n_rules, "failed");
	correlation_bound(c, ISOD__V1__COMPARISON__COMPARISON_GTE, 5);
	return c;
}

Test(correlate, event_count_holds_at_the_bound_and_not_before)
{
	begin(five_in_a_minute());
	ready();
	for (uint64_t i = 0; i < 4; i++)
		fail_login("192.0.2.1", "root", i);
	cr_assert_eq(w.state.incident.count, 0);
	fail_login("192.0.2.1", "admin", 4);
	cr_assert_eq(w.state.incident.count, 1);
	const Isod__V1__Incident *i = incident_get(&w.state.incident, 1);
	cr_assert_str_eq(i->title, "brute (192.0.2.1)");
	cr_assert_eq(i->n_evidence, 5, "every counted match is referred to");
	for (size_t e = 0; e < i->n_entities; e++)
		cr_assert_neq(i->entities[e]->kind, ISOD__V1__ENTITY_KIND__ENTITY_USER,
		              "the last guessed user is not what was counted");
	end();
}

Test(correlate, a_window_slides)
{
	begin(five_in_a_minute());
	ready();
	for (uint64_t i = 0; i < 20; i++)
		fail_login("192.0.2.1", "root", i * 16); /* four within any 60 s */
	cr_assert_eq(w.state.incident.count, 0);
	fail_login("192.0.2.1", "root", 19 * 16 + 1);
	cr_assert_eq(w.state.incident.count, 1);
	end();
}

Test(correlate, groups_do_not_mix)
{
	char address[32];

	begin(five_in_a_minute());
	ready();
	for (int i = 0; i < 40; i++) {
		snprintf(address, sizeof(address), "192.0.2.%d", i % 10);
		fail_login(address, "root", 1);
	}
	cr_assert_eq(w.state.incident.count, 0);
	cr_assert_eq(correlate_groups(w.state.correlate), 10);
	for (int i = 0; i < 10; i++) {
		snprintf(address, sizeof(address), "192.0.2.%d", i);
		fail_login(address, "root", 2);
	}
	cr_assert_eq(w.state.incident.count, 10,
	             "one incident per address although all share a host");
	end();
}

Test(correlate, a_match_without_the_group_field_belongs_to_no_group)
{
	begin(five_in_a_minute());
	ready();
	for (int i = 0; i < 10; i++)
		fail_login(NULL, "root", 1);
	cr_assert_eq(correlate_groups(w.state.correlate), 0);
	cr_assert_eq(w.state.incident.count, 0);
	end();
}

Test(correlate, out_of_order_events_count_by_their_own_time)
{
	static const uint64_t at[] = {50, 10, 30, 20, 40};

	begin(five_in_a_minute());
	ready();
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		w.now = T0 + 100 * NS_PER_SECOND;
		Isod__V1__Match *m = match_new(&w, "failed", LOW, "192.0.2.1", NULL, "web1");
		m->silent = 1;
		m->event_time_ns = T0 + at[i] * NS_PER_SECOND;
		world_match(&w, m);
	}
	cr_assert_eq(w.state.incident.count, 1);
	end();
}

Test(correlate, a_clock_further_off_than_the_skew_falls_back_to_arrival)
{
	begin(five_in_a_minute());
	ready();
	for (uint64_t i = 0; i < 5; i++) {
		w.now = T0 + i * NS_PER_SECOND;
		Isod__V1__Match *m = match_new(&w, "failed", LOW, "192.0.2.1", NULL, "web1");
		m->silent = 1;
		m->event_time_ns = T0 - (400 + i * 10) * NS_PER_DAY;
		world_match(&w, m);
	}
	cr_assert_eq(w.state.incident.count, 1);
	end();
}

Test(correlate, aliases_name_the_field_inside_each_rule)
{
	Isod__V1__Correlation *c = correlation_new("same", TYPE(TEMPORAL), NS_PER_MINUTE, "who");
	pb_add_text(&c->rules, &c->n_rules, "a");
	pb_add_text(&c->rules, &c->n_rules, "b");
	static const char *const fields[][2] = {{"a", "user"}, {"b", "src_ip"}};
	for (size_t i = 0; i < 2; i++) {
		Isod__V1__Alias **at = pb_add(&c->aliases, &c->n_aliases, sizeof(*at));
		*at = xmalloc(sizeof(**at));
		isod__v1__alias__init(*at);
		pb_set_text(&(*at)->name, "who");
		pb_set_text(&(*at)->rule, fields[i][0]);
		pb_set_text(&(*at)->field, fields[i][1]);
	}
	begin(c);
	ready();
	Isod__V1__Match *a = match_new(&w, "a", LOW, NULL, "192.0.2.7", NULL);
	Isod__V1__Match *b = match_new(&w, "b", LOW, "192.0.2.7", NULL, NULL);
	a->silent = b->silent = 1;
	world_match(&w, a);
	cr_assert_eq(w.state.incident.count, 0);
	world_match(&w, b);
	cr_assert_eq(w.state.incident.count, 1);
	end();
}

static Isod__V1__Correlation *ordered(void)
{
	Isod__V1__Correlation *c =
		correlation_new("then", TYPE(TEMPORAL_ORDERED), NS_PER_MINUTE, "src_ip");
	pb_add_text(&c->rules, &c->n_rules, "a");
	pb_add_text(&c->rules, &c->n_rules, "b");
	pb_add_text(&c->rules, &c->n_rules, "c");
	return c;
}

static void one(const char *rule, uint64_t at_s)
{
	w.now = T0 + at_s * NS_PER_SECOND;
	Isod__V1__Match *m = match_new(&w, rule, LOW, "192.0.2.1", "eve", "web1");
	m->silent = 1;
	world_match(&w, m);
}

Test(correlate, temporal_ordered_wants_the_order)
{
	begin(ordered());
	ready();
	one("c", 1);
	one("b", 2);
	one("a", 3);
	cr_assert_eq(w.state.incident.count, 0);
	one("b", 4);
	cr_assert_eq(w.state.incident.count, 0);
	one("c", 5);
	cr_assert_eq(w.state.incident.count, 1);
	const Isod__V1__Incident *i = incident_get(&w.state.incident, 1);
	cr_assert_eq(i->n_entities, 3, "the last event's user, host and address");
	end();
}

Test(correlate, temporal_ordered_wants_all_within_the_timespan)
{
	begin(ordered());
	ready();
	one("a", 0);
	one("b", 30);
	one("c", 61);
	cr_assert_eq(w.state.incident.count, 0);
	end();
}

Test(correlate, value_count_counts_distinct_values)
{
	Isod__V1__Correlation *c =
		correlation_new("spray", TYPE(VALUE_COUNT), NS_PER_MINUTE, "src_ip");
	pb_add_text(&c->rules, &c->n_rules, "failed");
	pb_set_text(&c->value_field, "user");
	correlation_bound(c, ISOD__V1__COMPARISON__COMPARISON_GT, 2);
	begin(c);
	ready();
	for (int i = 0; i < 10; i++)
		fail_login("192.0.2.1", i % 2 ? "root" : "admin", 1);
	cr_assert_eq(w.state.incident.count, 0);
	fail_login("192.0.2.1", "oracle", 2);
	cr_assert_eq(w.state.incident.count, 1);
	end();
}

Test(correlate, a_correlation_can_refer_to_another)
{
	Isod__V1__Correlation *chain =
		correlation_new("break-in", TYPE(TEMPORAL_ORDERED), NS_PER_HOUR, "src_ip");
	pb_add_text(&chain->rules, &chain->n_rules, "brute");
	pb_add_text(&chain->rules, &chain->n_rules, "accepted");
	Isod__V1__Correlation *count = five_in_a_minute();
	count->silent = 1;
	begin(count);
	settings_correlation(settings, chain);
	ready();
	for (uint64_t i = 0; i < 5; i++)
		fail_login("192.0.2.1", "root", i);
	cr_assert_eq(w.state.incident.count, 0, "the count alone is silent");
	one("accepted", 10);
	cr_assert_eq(w.state.incident.count, 1);
	cr_assert_str_eq(incident_get(&w.state.incident, 1)->rules[0]->rule, "break-in");
	end();
}

Test(correlate, new_settings_keep_the_groups_of_unchanged_definitions)
{
	begin(five_in_a_minute());
	ready();
	for (uint64_t i = 0; i < 4; i++)
		fail_login("192.0.2.1", "root", i);
	settings->incident_window_ns = 2 * NS_PER_HOUR;
	settings_correlation(settings, ordered());
	world_settings(&w, settings);
	fail_login("192.0.2.1", "root", 5);
	cr_assert_eq(w.state.incident.count, 1);
	end();
}

Test(correlate, groups_are_bounded_and_the_oldest_makes_room, .timeout = 120)
{
	char address[32];

	begin(five_in_a_minute());
	ready();
	for (unsigned i = 0; i < CORRELATE_GROUPS_MAX + 10; i++) {
		snprintf(address, sizeof(address), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		fail_login(address, NULL, 1);
	}
	cr_assert_eq(correlate_groups(w.state.correlate), CORRELATE_GROUPS_MAX);
	cr_assert_eq(correlate_evicted(w.state.correlate), 10);
	end();
}

Test(correlate, groups_that_can_hold_nothing_any_more_are_dropped)
{
	char address[32];

	begin(five_in_a_minute());
	settings->correlation_skew_ns = NS_PER_SECOND;
	ready();
	for (unsigned i = 0; i < 100; i++) {
		snprintf(address, sizeof(address), "10.0.0.%u", i);
		fail_login(address, NULL, 1);
	}
	for (unsigned i = 0; i < 40; i++)
		fail_login("192.0.2.1", NULL, 1000 + i * 100);
	cr_assert_eq(correlate_groups(w.state.correlate), 1);
	end();
}

/* What is fetched ahead may concern no correlation, lack the group's field, or have no group yet. */
Test(correlate, what_is_fetched_ahead_changes_nothing)
{
	const Isod__V1__Match *ahead[CORRELATE_AHEAD * 3];

	begin(five_in_a_minute());
	settings_correlation(settings, ordered());
	ready();
	correlate_prefetch(w.state.correlate, ahead, 0);
	for (size_t i = 0; i < ARRAY_LEN(ahead); i++) {
		char address[32];
		snprintf(address, sizeof(address), "192.0.2.%zu", i / 8);
		ahead[i] = match_new(&w,
		                     i % 4   ? "failed"
		                     : i % 8 ? "a"
		                             : "unknown",
		                     LOW, i % 5 ? address : NULL, "root", "web1");
	}
	for (int round = 0; round < 2; round++) {
		correlate_prefetch(w.state.correlate, ahead, ARRAY_LEN(ahead));
		cr_assert_eq(correlate_groups(w.state.correlate), (size_t)round);
		cr_assert_eq(correlate_bytes(w.state.correlate) > 0, round > 0);
		fail_login("192.0.2.1", "root", (uint64_t)round);
	}
	for (size_t i = 0; i < ARRAY_LEN(ahead); i++)
		match_free((Isod__V1__Match *)(uintptr_t)ahead[i]);
	end();
}
