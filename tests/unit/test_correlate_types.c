/* Correlations of numbers, isod's own types (absence, sessions, silence, first sight), late events and limits. */
#include "steps.h"

#include "officer/correlate.h"

#define TYPE(x) ISOD__V1__CORRELATION_TYPE__CORRELATION_##x
#define CMP(x)  ISOD__V1__COMPARISON__COMPARISON_##x

static struct world w;
static Isod__V1__Settings *settings;
static const Isod__V1__Match *const *derived;

static Isod__V1__Correlation *correlation(Isod__V1__CorrelationType type, uint64_t seconds)
{
	Isod__V1__Correlation *c = correlation_new("corr", type, seconds * NS_PER_SECOND, "user");
	pb_add_text(&c->rules, &c->n_rules, "a");
	return c;
}

static void milli_bound(Isod__V1__Correlation *c, Isod__V1__Comparison op, int64_t milli)
{
	correlation_bound(c, op, 0);
	c->bounds[c->n_bounds - 1]->value_milli = milli;
}

static void begin(Isod__V1__Correlation *c)
{
	world_init(&w);
	settings = settings_new();
	settings->correlation_skew_ns = NS_PER_HOUR;
	settings->correlation_lateness_ns = 10 * NS_PER_SECOND;
	settings_correlation(settings, c);
	world_settings(&w, settings);
}

static void end(void)
{
	isod__v1__settings__free_unpacked(settings, NULL);
	state_release(&w.state);
}

/* Straight into the engine, received at w.now. Returns how many correlations held. */
static size_t feed_at(const char *rule, const char *user, const char *value, uint64_t event_ns)
{
	const struct step step = {.sequence = ++w.sequence,
	                          .time_ns = w.now,
	                          .settings = w.state.settings,
	                          .effects = &w.effects};
	Isod__V1__Match *m = match_new(&w, rule, LOW, NULL, user, "web1");

	m->event_time_ns = event_ns;
	if (value)
		match_field_add(m, "v", value);
	size_t n = correlate_on_match(w.state.correlate, &step, m, &derived);
	match_free(m);
	return n;
}

static size_t feed(const char *user, const char *value, uint64_t second)
{
	w.now = T0 + second * NS_PER_SECOND;
	return feed_at("a", user, value, w.now);
}

static const struct correlate_counts *counts(void)
{
	return correlate_counts(w.state.correlate);
}

/* ---- numbers ---- */

Test(correlate_types, sums_are_exact_to_the_thousandth)
{
	Isod__V1__Correlation *c = correlation(TYPE(VALUE_SUM), 60);
	pb_set_text(&c->value_field, "v");
	milli_bound(c, CMP(GT), 1000000);
	begin(c);
	cr_assert_eq(feed("u", "999.999", 0), 0);
	cr_assert_eq(feed("u", "0.001", 1), 0, "1000 is not more than 1000");
	cr_assert_eq(feed("u", "0.0004", 2), 0, "rounds to nothing");
	cr_assert_eq(feed("u", " -5 ", 3), 0);
	cr_assert_eq(feed("u", "5.0005", 4), 1, "half a thousandth rounds up");
	cr_assert_str_eq(derived[0]->summary, "a sum of 1000.001 in 5 events, the last: ");
	end();
}

Test(correlate_types, what_is_no_number_is_counted_and_what_is_too_large_saturates)
{
	static const char *const none[] = {"",   "-", "abc",   "1,000", "0x10", "1e",
	                                   "e5", ".", "1.2.3", "5 MB",  "nan",  "inf"};
	Isod__V1__Correlation *c = correlation(TYPE(VALUE_SUM), 60);
	pb_set_text(&c->value_field, "v");
	milli_bound(c, CMP(GTE), INT64_MAX - 1);
	begin(c);
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		cr_assert_eq(feed("u", none[i], 0), 0, "%s", none[i]);
	cr_assert_eq(counts()->not_numeric, ARRAY_LEN(none));
	cr_assert_eq(correlate_groups(w.state.correlate), 0, "not silently zero");
	cr_assert_eq(feed("u", NULL, 0), 0);
	cr_assert_eq(counts()->not_numeric, ARRAY_LEN(none), "without the field it is not meant");
	cr_assert_eq(feed("u", "-99999999999999999999999999999999", 0), 0);
	cr_assert_eq(feed("u", "1e300", 0), 0, "both ends cancel out but for one");
	cr_assert_eq(counts()->saturated, 2);
	cr_assert_eq(feed("u", "9223372036854775.807", 1), 1);
	cr_assert_eq(counts()->saturated, 2, "the largest itself is not too large");
	cr_assert_str_eq(derived[0]->summary,
	                 "a sum of 9223372036854775.806 in 3 events, the last: ");
	end();
}

Test(correlate_types, averages_are_not_rounded)
{
	Isod__V1__Correlation *c = correlation(TYPE(VALUE_AVG), 60);
	pb_set_text(&c->value_field, "v");
	milli_bound(c, CMP(EQ), 333);
	begin(c);
	cr_assert_eq(feed("u", "1", 0), 0);
	cr_assert_eq(feed("u", "0", 1), 0);
	cr_assert_eq(feed("u", "0", 2), 0, "a third is not 0.333");
	cr_assert_eq(feed("u", "0.332", 3), 1, "1.332 / 4 is 0.333");
	end();
}

Test(correlate_types, median_and_percentile)
{
	Isod__V1__Correlation *c = correlation(TYPE(VALUE_MEDIAN), 60);
	pb_set_text(&c->value_field, "v");
	milli_bound(c, CMP(EQ), 2500);
	begin(c);
	cr_assert_eq(feed("u", "1", 0) + feed("u", "9", 1) + feed("u", "2", 2), 0);
	cr_assert_eq(feed("u", "3", 3), 1, "between 2 and 3");
	end();

	c = correlation(TYPE(VALUE_PERCENTILE), 600);
	pb_set_text(&c->value_field, "v");
	c->percentile_milli = 95000;
	milli_bound(c, CMP(GTE), 95000);
	begin(c);
	char text[16];
	for (unsigned i = 1; i <= 94; i++) {
		snprintf(text, sizeof(text), "%u", i);
		cr_assert_eq(feed("u", text, 10 + i), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(feed("u", "1000", 111 + i), 0, "the 94th of 98 is 94");
	cr_assert_eq(feed("u", "1000", 115), 1, "the 95th of 99 is 1000");
	end();
}

Test(correlate_types, the_share_of_a_value_among_all)
{
	Isod__V1__Correlation *c = correlation(TYPE(VALUE_SHARE), 600);
	pb_set_text(&c->value_field, "v");
	milli_bound(c, CMP(LTE), 1000);
	begin(c);
	for (unsigned i = 0; i < 98; i++)
		cr_assert_eq(feed("u", "svchost", i), 0);
	cr_assert_eq(feed("u", "rare", 98), 0, "1 of 99 is more than 1 per cent");
	cr_assert_eq(feed("u", "svchost", 99), 0);
	cr_assert_eq(feed("u", "mimikatz", 100), 1, "1 of 101 is less");
	cr_assert_str_eq(derived[0]->summary,
	                 "a share per cent of 0.990 in 101 events, the last: ");
	end();
}

Test(correlate_types, several_fields_count_as_one_value)
{
	Isod__V1__Correlation *c = correlation(TYPE(VALUE_COUNT), 60);
	pb_add_text(&c->value_fields, &c->n_value_fields, "v");
	pb_add_text(&c->value_fields, &c->n_value_fields, "user");
	c->group_by[0][0] = '\0';
	c->n_group_by = 0;
	correlation_bound(c, CMP(GTE), 3);
	begin(c);
	cr_assert_eq(feed("alice", "1", 0), 0);
	cr_assert_eq(feed("bob", "1", 0), 0);
	cr_assert_eq(feed("alice", "1", 0), 0);
	cr_assert_eq(feed("bob", NULL, 0), 0, "a pair needs both");
	cr_assert_eq(feed("alice", "2", 0), 1);
	free(settings->correlations[0]->group_by[0]);
	end();
}

Test(correlate_types, extremes)
{
	Isod__V1__Correlation *c = correlation(TYPE(VALUE_MAX), 10);
	pb_set_text(&c->value_field, "v");
	milli_bound(c, CMP(LT), 5000);
	begin(c);
	cr_assert_eq(feed("u", "5", 0), 0);
	cr_assert_eq(feed("u", "1", 10), 0, "5 is still there: the timespan includes its ends");
	cr_assert_eq(feed("u", "1", 11), 1);
	end();
}

/* ---- time ---- */

static Isod__V1__Correlation *three(uint64_t seconds)
{
	Isod__V1__Correlation *c = correlation(TYPE(EVENT_COUNT), seconds);
	correlation_bound(c, CMP(GTE), 3);
	return c;
}

Test(correlate_types, the_timespan_includes_both_ends)
{
	begin(three(10));
	cr_assert_eq(feed("u", NULL, 0) + feed("u", NULL, 5), 0);
	cr_assert_eq(feed("u", NULL, 10), 1);
	cr_assert_eq(feed("u", NULL, 20) + feed("u", NULL, 25), 0);
	w.now = T0 + 30 * NS_PER_SECOND + 1;
	cr_assert_eq(feed_at("a", "u", NULL, w.now), 0, "a nanosecond too late");
	end();
}

Test(correlate_types, events_within_the_lateness_count_and_later_ones_are_counted)
{
	begin(three(10));
	w.now = T0 + 100 * NS_PER_SECOND;
	cr_assert_eq(feed_at("a", "u", NULL, T0 + 50 * NS_PER_SECOND), 0);
	cr_assert_eq(feed_at("a", "u", NULL, T0 + 40 * NS_PER_SECOND), 0, "as late as may be");
	cr_assert_eq(feed_at("a", "u", NULL, T0 + 40 * NS_PER_SECOND - 1), 0);
	cr_assert_eq(counts()->late, 1);
	cr_assert_eq(feed_at("a", "other", NULL, T0 + 20 * NS_PER_SECOND), 0);
	cr_assert_eq(counts()->late, 1, "each group has its own watermark");
	cr_assert_eq(feed_at("a", "u", NULL, T0 + 45 * NS_PER_SECOND), 1);
	end();
}

Test(correlate_types, a_late_event_completes_a_window_that_does_not_reach_the_newest)
{
	begin(three(5));
	w.now = T0 + 100 * NS_PER_SECOND;
	cr_assert_eq(feed_at("a", "u", NULL, T0 + 40 * NS_PER_SECOND), 0);
	cr_assert_eq(feed_at("a", "u", NULL, T0 + 42 * NS_PER_SECOND), 0);
	cr_assert_eq(feed_at("a", "u", NULL, T0 + 50 * NS_PER_SECOND), 0);
	cr_assert_eq(feed_at("a", "u", NULL, T0 + 41 * NS_PER_SECOND), 1);
	cr_assert_eq(derived[0]->n_contributing, 3);
	cr_assert_eq(derived[0]->event_time_ns, T0 + 42 * NS_PER_SECOND);
	end();
}

Test(correlate_types, a_correlation_can_have_a_lateness_of_its_own_and_old_settings_have_the_skew)
{
	Isod__V1__Correlation *c = three(10);
	c->lateness_ns = NS_PER_SECOND;
	begin(c);
	w.now = T0 + 100 * NS_PER_SECOND;
	feed_at("a", "u", NULL, T0 + 50 * NS_PER_SECOND);
	feed_at("a", "u", NULL, T0 + 48 * NS_PER_SECOND);
	cr_assert_eq(counts()->late, 1);
	end();

	begin(three(10));
	settings->correlation_lateness_ns = 0;
	world_settings(&w, settings);
	w.now = T0 + 1000 * NS_PER_SECOND;
	feed_at("a", "u", NULL, T0 + 900 * NS_PER_SECOND);
	feed_at("a", "u", NULL, T0 + 100 * NS_PER_SECOND);
	cr_assert_eq(counts()->late, 0);
	end();
}

Test(correlate_types, a_wild_clock_counts_by_arrival_and_is_marked)
{
	begin(three(10));
	feed("u", NULL, 0);
	w.now = T0 + NS_PER_SECOND;
	cr_assert_eq(feed_at("a", "u", NULL, T0 + 2 * NS_PER_HOUR), 0);
	cr_assert_eq(counts()->wild, 1);
	cr_assert_eq(feed_at("a", "u", NULL, 0), 1, "one without a clock is not wild");
	cr_assert_eq(counts()->wild, 1);
	cr_assert_eq(derived[0]->clock_fallbacks, 1);
	cr_assert_str_eq(derived[0]->summary,
	                 "(1 by arrival, the clock is wild) 3 events, the last: ");
	end();
}

/* ---- chains ---- */

Test(correlate_types, a_chain_groups_by_what_the_inner_one_does_not)
{
	Isod__V1__Correlation *inner =
		correlation_new("inner", TYPE(EVENT_COUNT), NS_PER_MINUTE, "v");
	Isod__V1__Correlation *outer = correlation(TYPE(EVENT_COUNT), 60);
	pb_add_text(&inner->rules, &inner->n_rules, "a");
	correlation_bound(inner, CMP(GTE), 2);
	pb_set_text(&outer->rules[0], "inner");
	correlation_bound(outer, CMP(GTE), 2);
	begin(inner);
	settings_correlation(settings, outer);
	world_settings(&w, settings);
	cr_assert_eq(feed("u", "1.2.3.4", 0), 0);
	cr_assert_eq(feed("u", "1.2.3.4", 1), 1);
	cr_assert_eq(feed("u", "5.6.7.8", 2), 0);
	cr_assert_eq(feed("u", "5.6.7.8", 3), 2, "the inner one, and with it the outer one");
	cr_assert_str_eq(derived[1]->rule, "corr");
	cr_assert_eq(derived[1]->n_contributing, 2);
	end();
}

/* ---- sessions and silence ---- */

Test(correlate_types, a_session_grows_while_events_come_within_the_gap)
{
	Isod__V1__Correlation *c = correlation(TYPE(EVENT_COUNT), 100);
	c->session_gap_ns = 10 * NS_PER_SECOND;
	correlation_bound(c, CMP(GTE), 5);
	begin(c);
	cr_assert_eq(feed("u", NULL, 0) + feed("u", NULL, 9) + feed("u", NULL, 19), 0);
	cr_assert_eq(feed("u", NULL, 30) + feed("u", NULL, 40), 0, "11 s end a session");
	cr_assert_eq(feed("u", NULL, 50) + feed("u", NULL, 60), 0);
	cr_assert_eq(feed("u", NULL, 70), 1, "the fifth since 30, with 10 s between each");
	cr_assert_eq(derived[0]->n_contributing, 5);
	for (uint64_t i = 0; i < 4; i++)
		cr_assert_eq(feed("v", NULL, 200 + i * 10), 0);
	end();
}

Test(correlate_types, a_session_is_no_longer_than_the_timespan)
{
	Isod__V1__Correlation *c = correlation(TYPE(EVENT_COUNT), 20);
	c->session_gap_ns = 10 * NS_PER_SECOND;
	correlation_bound(c, CMP(GTE), 4);
	begin(c);
	for (uint64_t i = 0; i < 50; i++)
		cr_assert_eq(feed("u", NULL, i * 10), 0, "three in 20 s, then another begins");
	end();
}

Test(correlate_types, silence_is_by_group_and_ends)
{
	Isod__V1__Correlation *c = three(10);
	c->suppress_ns = NS_PER_MINUTE;
	begin(c);
	cr_assert_eq(feed("u", NULL, 0) + feed("u", NULL, 0) + feed("u", NULL, 0), 1);
	for (uint64_t i = 0; i < 60; i++)
		cr_assert_eq(feed("u", NULL, i), 0);
	cr_assert_eq(counts()->suppressed, 60);
	cr_assert_eq(feed("v", NULL, 59) + feed("v", NULL, 59) + feed("v", NULL, 59), 1);
	cr_assert_eq(feed("u", NULL, 60) + feed("u", NULL, 60), 0, "silence leaves nothing behind");
	cr_assert_eq(feed("u", NULL, 60), 1);
	end();
}

/* ---- first seen ---- */

static Isod__V1__Correlation *hosts(uint64_t seconds)
{
	Isod__V1__Correlation *c = correlation(TYPE(FIRST_SEEN), seconds);
	pb_set_text(&c->value_field, "v");
	return c;
}

Test(correlate_types, a_value_is_told_the_first_time_for_its_group)
{
	begin(hosts(1000));
	cr_assert_eq(feed("u", "web1", 0), 1);
	cr_assert_str_eq(derived[0]->summary, "for the first time: ");
	cr_assert_eq(feed("u", "web1", 1), 0);
	cr_assert_eq(feed("v", "web1", 2), 1);
	cr_assert_eq(feed("u", "web2", 3), 1);
	cr_assert_eq(feed("u", NULL, 4), 0);
	end();
}

Test(correlate_types, what_a_group_begins_with_is_learned)
{
	Isod__V1__Correlation *c = hosts(1000);
	c->learning_ns = 100 * NS_PER_SECOND;
	begin(c);
	cr_assert_eq(feed("u", "web1", 0) + feed("u", "web2", 99), 0);
	cr_assert_eq(feed("u", "web1", 100) + feed("u", "web2", 100), 0);
	cr_assert_eq(feed("u", "web3", 100), 1);
	cr_assert_eq(feed("v", "web3", 100), 0, "another entity learns by itself");
	cr_assert_eq(counts()->suppressed, 0);
	end();
}

Test(correlate_types, a_value_is_forgotten_when_it_was_not_seen_for_the_timespan)
{
	begin(hosts(100));
	cr_assert_eq(feed("u", "web1", 0), 1);
	cr_assert_eq(feed("u", "web1", 100), 0, "just known");
	cr_assert_eq(feed("u", "web1", 200), 0, "and seen again since");
	cr_assert_eq(feed("u", "web1", 301), 1);
	end();
}

Test(correlate_types, a_late_first_sight_is_one_but_not_of_what_was_seen_since)
{
	begin(hosts(100));
	w.now = T0 + 50 * NS_PER_SECOND;
	cr_assert_eq(feed_at("a", "u", "web1", T0 + 50 * NS_PER_SECOND), 1);
	cr_assert_eq(feed_at("a", "u", "web1", T0 + 45 * NS_PER_SECOND), 0);
	cr_assert_eq(feed_at("a", "u", "web2", T0 + 45 * NS_PER_SECOND), 1);
	cr_assert_eq(feed_at("a", "u", "web2", T0 + 50 * NS_PER_SECOND), 0);
	end();
}

/* ---- absence ---- */

static Isod__V1__Correlation *backup(void)
{
	Isod__V1__Correlation *c = correlation(TYPE(ABSENCE), 60);
	pb_add_text(&c->rules, &c->n_rules, "b");
	return c;
}

static void event(const char *rule, const char *user, uint64_t second)
{
	w.now = T0 + second * NS_PER_SECOND;
	Isod__V1__Match *m = match_new(&w, rule, HIGH, NULL, user, "web1");
	m->silent = 1;
	pb_set_text(&m->summary, "backup begins");
	world_match(&w, m);
}

static void tick(uint64_t second)
{
	w.now = T0 + second * NS_PER_SECOND;
	world_tick(&w);
}

static uint64_t due(void)
{
	uint64_t at = state_next_deadline(&w.state);

	return at == NEVER ? at : (at - T0) / NS_PER_SECOND;
}

Test(correlate_types, what_does_not_follow_is_told_when_the_watermark_has_passed)
{
	begin(backup());
	event("a", "u", 0);
	cr_assert_eq(due(), 70, "60 s, and 10 s for what comes late");
	tick(69);
	cr_assert_eq(w.state.incident.count, 0);
	tick(70);
	cr_assert_eq(w.state.incident.count, 1);
	const Isod__V1__Incident *i = incident_get(&w.state.incident, 1);
	cr_assert_eq(i->n_evidence, 1);
	cr_assert_eq(i->n_entities, 2, "the user and the host of what began");
	cr_assert_eq(due(), NEVER);
	tick(1000);
	cr_assert_eq(w.state.incident.count, 1, "once");
	end();
}

Test(correlate_types, what_follows_in_time_ends_the_waiting_also_when_it_comes_late)
{
	begin(backup());
	event("a", "u", 0);
	event("b", "u", 60);
	cr_assert_eq(due(), NEVER);
	event("a", "v", 100);
	w.now = T0 + 165 * NS_PER_SECOND;
	feed_at("b", "v", NULL, T0 + 160 * NS_PER_SECOND);
	cr_assert_eq(due(), NEVER);
	event("b", "x", 200);
	event("a", "x", 200);
	cr_assert_eq(due(), NEVER, "of one second the order is not known");
	event("a", "y", 300);
	event("b", "y", 361);
	cr_assert_eq(due(), 370, "too late");
	event("b", "other", 362);
	tick(400);
	cr_assert_eq(w.state.incident.count, 1);
	end();
}

Test(correlate_types, an_answer_that_came_before_its_question_counts)
{
	begin(backup());
	w.now = T0 + 50 * NS_PER_SECOND;
	feed_at("b", "u", NULL, T0 + 50 * NS_PER_SECOND);
	feed_at("a", "u", NULL, T0 + 45 * NS_PER_SECOND);
	cr_assert_eq(due(), NEVER);
	feed_at("a", "u", NULL, T0 + 51 * NS_PER_SECOND);
	cr_assert_eq(due(), 121);
	end();
}

Test(correlate_types, a_heartbeat_that_stops_is_told_and_told_again_after_it_came_back)
{
	Isod__V1__Correlation *c = correlation(TYPE(ABSENCE), 60);
	begin(c);
	for (uint64_t i = 0; i < 100; i++)
		event("a", "host", i * 60);
	cr_assert_eq(w.state.incident.count, 0);
	cr_assert_eq(correlate_groups(w.state.correlate), 1);
	cr_assert_eq(due(), 99 * 60 + 70);
	/* A gap of 65 s: known only when nothing can come late any more, and the heart beats again by then. */
	event("a", "host", 99 * 60 + 65);
	tick(99 * 60 + 70);
	cr_assert_eq(incident_get(&w.state.incident, 1)->matches, 1);
	cr_assert_eq(due(), 99 * 60 + 65 + 70, "it waits for the next");
	tick(99 * 60 + 65 + 70);
	cr_assert_eq(incident_get(&w.state.incident, 1)->matches, 2);
	cr_assert_eq(due(), NEVER);
	end();
}

Test(correlate_types, many_that_wait_are_told_in_the_order_they_are_due)
{
	char user[16];

	begin(backup());
	for (uint64_t i = 0; i < 1000; i++) {
		snprintf(user, sizeof(user), "u%llu", (unsigned long long)i);
		w.now = T0 + 500 * NS_PER_SECOND;
		feed_at("a", user, NULL, T0 + (i * 7919 % 500) * NS_PER_SECOND);
	}
	uint64_t last = 0, told = 0;
	while (state_next_deadline(&w.state) != NEVER) {
		const struct step step = {.time_ns = state_next_deadline(&w.state),
		                          .settings = w.state.settings,
		                          .effects = &w.effects};
		cr_assert_geq(step.time_ns, last);
		last = step.time_ns;
		told += correlate_on_clock(w.state.correlate, &step, &derived);
	}
	cr_assert_eq(told, 1000);
	end();
}

Test(correlate_types, what_waited_while_the_daemon_was_down_waits_a_timespan_more)
{
	Isod__V1__Started started = ISOD__V1__STARTED__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	begin(backup());
	event("a", "u", 0);
	event("a", "v", 1);
	w.now = T0 + 5000 * NS_PER_SECOND;
	record.body_case = ISOD__V1__RECORD__BODY_STARTED;
	record.started = &started;
	world_apply(&w, &record);
	cr_assert_eq(w.state.incident.count, 0);
	cr_assert_eq(due(), 5070);
	event("b", "u", 5060);
	tick(5070);
	cr_assert_eq(w.state.incident.count, 1, "v's alone");
	end();
}

Test(correlate_types, an_absence_feeds_the_correlations_that_refer_to_it)
{
	Isod__V1__Correlation *inner = backup(), *outer = correlation(TYPE(EVENT_COUNT), 3600);
	pb_set_text(&inner->id, "inner");
	inner->silent = 1;
	pb_set_text(&outer->rules[0], "inner");
	correlation_bound(outer, CMP(GTE), 2);
	begin(inner);
	settings_correlation(settings, outer);
	world_settings(&w, settings);
	event("a", "u", 0);
	event("a", "u", 100);
	cr_assert_eq(w.state.incident.count, 0);
	tick(170);
	cr_assert_eq(w.state.incident.count, 1);
	cr_assert_str_eq(incident_get(&w.state.incident, 1)->rules[0]->rule, "corr");
	end();
}

/* ---- limits ---- */

Test(correlate_types, a_window_keeps_the_newest_and_counts_what_it_drops)
{
	Isod__V1__Correlation *c = correlation(TYPE(VALUE_COUNT), 3600);
	pb_set_text(&c->value_field, "v");
	correlation_bound(c, CMP(GTE), 2);
	begin(c);
	cr_assert_eq(feed("u", "first", 0), 0);
	for (size_t i = 0; i < CORRELATE_WINDOW_MAX; i++)
		feed("v", "same", 1);
	cr_assert_eq(counts()->dropped, 0);
	feed("v", "same", 1);
	cr_assert_eq(counts()->dropped, 1);
	cr_assert_eq(feed("u", "second", 2), 1, "nobody else's window");
	end();
}

Test(correlate_types, an_event_count_may_count_past_the_ordinary_window)
{
	Isod__V1__Correlation *c = correlation(TYPE(EVENT_COUNT), 3600);
	correlation_bound(c, CMP(GTE), 50000);
	begin(c);
	for (size_t i = 1; i < 50000; i++)
		cr_assert_eq(feed("u", NULL, 1), 0);
	cr_assert_eq(feed("u", NULL, 1), 1);
	cr_assert_eq(derived[0]->n_contributing, 100);
	end();
}

Test(correlate_types, evictions_are_told_at_most_once_a_minute, .timeout = 120)
{
	char user[16];

	begin(three(10));
	settings->correlation_skew_ns = NS_PER_DAY;
	world_settings(&w, settings);
	for (unsigned i = 0; i < CORRELATE_GROUPS_MAX + 100; i++) {
		snprintf(user, sizeof(user), "u%u", i);
		feed(user, NULL, 1);
	}
	cr_assert_eq(correlate_evicted(w.state.correlate), 100);
	cr_assert_eq(w.evictions_told, 1);
	cr_assert_eq(w.evicted, 1, "the first at once");
	feed("another", NULL, 60);
	cr_assert_eq(w.evictions_told, 1);
	feed("yet another", NULL, 61);
	cr_assert_eq(w.evictions_told, 2);
	cr_assert_eq(w.evicted, 102);
	/* The oldest made room: u0 began anew, and the newest is still there. */
	cr_assert_eq(feed("yet another", NULL, 61) + feed("yet another", NULL, 61), 1);
	end();
}

Test(correlate_types, one_correlation_cannot_take_the_memory_of_another)
{
	Isod__V1__Correlation *c = correlation(TYPE(EVENT_COUNT), 3600), *other = three(3600);
	char user[16];

	pb_set_text(&other->id, "other");
	pb_set_text(&other->rules[0], "b");
	correlation_bound(c, CMP(GTE), 100000);
	begin(c);
	settings_correlation(settings, other);
	for (int i = 0; i < 62; i++) /* the more there are, the less each may take */
		settings_correlation(settings, three(1));
	for (size_t i = 2; i < settings->n_correlations; i++)
		pb_set_text(&settings->correlations[i]->rules[0], "nothing");
	world_settings(&w, settings);
	cr_assert_eq(feed_at("b", "u", NULL, T0), 0);
	cr_assert_eq(feed_at("b", "u", NULL, T0), 0);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(user, sizeof(user), "u%u", i);
		for (unsigned n = 0; n < 40000; n++)
			feed_at("a", user, NULL, T0);
	}
	cr_assert_gt(correlate_evicted(w.state.correlate), 0);
	cr_assert_leq(correlate_bytes(w.state.correlate), CORRELATE_SHARE_MIN + 1000);
	cr_assert_eq(feed_at("b", "u", NULL, T0), 1);
	end();
}

/* ---- the same ledger, the same answer ---- */

static uint64_t digest(const Isod__V1__Match *m, uint64_t so_far)
{
	uint8_t packed[4096];
	size_t n = isod__v1__match__pack(m, packed);

	return map_hash(so_far, str_make((const char *)packed, n));
}

static uint64_t answer(void)
{
	uint64_t all = 0, roll = 88172645463325252u;
	char user[16], value[16];
	Isod__V1__Correlation *c = three(20), *n = hosts(50), *a = backup();

	pb_set_text(&n->id, "n");
	pb_set_text(&a->id, "a-absent");
	begin(c);
	settings_correlation(settings, n);
	settings_correlation(settings, a);
	world_settings(&w, settings);
	for (unsigned i = 0; i < 20000; i++) {
		roll = roll * 6364136223846793005u + 1442695040888963407u;
		snprintf(user, sizeof(user), "u%u", (unsigned)(roll >> 33) % 500);
		snprintf(value, sizeof(value), "v%u", (unsigned)(roll >> 40) % 7);
		w.now = T0 + i * NS_PER_SECOND / 10;
		const struct step step = {
			.time_ns = w.now, .settings = w.state.settings, .effects = &w.effects};
		size_t count = feed_at(roll >> 60 & 1 ? "a" : "b", user, value,
		                       w.now - (roll >> 50) % 12 * NS_PER_SECOND);
		for (size_t k = 0; k < count; k++)
			all = digest(derived[k], all);
		count = correlate_on_clock(w.state.correlate, &step, &derived);
		for (size_t k = 0; k < count; k++)
			all = digest(derived[k], all);
	}
	cr_assert_gt(counts()->late, 0);
	end();
	return all;
}

Test(correlate_types, the_same_records_give_the_same_matches_whatever_the_hash_seed)
{
	uint64_t first = answer();

	for (int i = 0; i < 3; i++)
		cr_assert_eq(answer(), first);
}
