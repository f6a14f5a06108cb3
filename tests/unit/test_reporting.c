/* Notifications: routes, attempts, back-off, ends. */
#include "steps.h"

#define OUTCOME(x) ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_##x
#define STATE(x)   ISOD__V1__NOTIFICATION_STATE__NOTIFICATION_##x

static struct world w;

static void add_route(Isod__V1__Settings *s, const char *name, Isod__V1__Level min,
                      const char *tactic)
{
	Isod__V1__Route **at = pb_add(&s->routes, &s->n_routes, sizeof(*at));

	*at = xmalloc(sizeof(**at));
	isod__v1__route__init(*at);
	pb_set_text(&(*at)->name, name);
	pb_set_text(&(*at)->plugin, "pager");
	(*at)->min_level = min;
	(*at)->attempts = 3;
	(*at)->backoff_ns = 10 * NS_PER_SECOND;
	(*at)->backoff_max_ns = 15 * NS_PER_SECOND;
	if (tactic)
		pb_add_text(&(*at)->tactics, &(*at)->n_tactics, tactic);
}

static void setup(void)
{
	world_init(&w);
	Isod__V1__Settings *s = settings_new();
	add_route(s, "night", HIGH, NULL);
	add_route(s, "impact", LOW, "impact");
	world_settings(&w, s);
	isod__v1__settings__free_unpacked(s, NULL);
}

static void teardown(void)
{
	state_release(&w.state);
}

TestSuite(reporting, .init = setup, .fini = teardown);

static void match(Isod__V1__Level level)
{
	world_match(&w, match_new(&w, "r", level, "192.0.2.1", NULL, NULL));
}

static void answer(uint64_t id, uint32_t attempt, Isod__V1__PluginOutcome outcome)
{
	Isod__V1__PluginResult result = ISOD__V1__PLUGIN_RESULT__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	result.notification = id;
	result.attempt = attempt;
	result.outcome = outcome;
	record.body_case = ISOD__V1__RECORD__BODY_PLUGIN_RESULT;
	record.plugin_result = &result;
	world_apply(&w, &record);
}

static const Isod__V1__Notification *at(uint64_t id)
{
	return reporting_get(&w.state.reporting, id);
}

Test(reporting, an_incident_is_told_once_and_again_when_it_gets_worse)
{
	match(MEDIUM);
	cr_assert_eq(w.notified, 0);
	match(HIGH);
	match(HIGH);
	cr_assert_eq(w.notified, 1);
	cr_assert_str_eq(at(1)->reason, "severity raised to high");
	answer(1, 1, OUTCOME(DELIVERED));
	cr_assert_eq(at(1)->state, STATE(DELIVERED));
	match(CRIT);
	cr_assert_eq(w.notified, 2);
	cr_assert_eq(state_next_deadline(&w.state), NEVER);
}

Test(reporting, tactics_choose_the_route)
{
	Isod__V1__Match *m = match_new(&w, "r", LOW, "192.0.2.1", NULL, NULL);
	pb_add_text(&m->tags, &m->n_tags, "attack.impact");
	world_match(&w, m);
	cr_assert_eq(w.notified, 1);
	cr_assert_str_eq(at(1)->route, "impact");
}

Test(reporting, failed_attempts_back_off_and_end_as_a_dead_letter)
{
	match(HIGH);
	answer(1, 1, OUTCOME(RETRY));
	cr_assert_eq(at(1)->state, STATE(PENDING));
	cr_assert_eq(state_next_deadline(&w.state), w.now + 10 * NS_PER_SECOND);
	w.now += 10 * NS_PER_SECOND - 1;
	world_tick(&w);
	cr_assert_eq(w.notified, 1, "not before it is due");
	w.now += 1;
	world_tick(&w);
	cr_assert_eq(w.last_attempt, 2);
	answer(1, 1, OUTCOME(DELIVERED));
	cr_assert_eq(at(1)->state, STATE(INFLIGHT),
	             "the answer to an older attempt counts nothing");
	answer(1, 2, OUTCOME(RETRY));
	cr_assert_eq(state_next_deadline(&w.state), w.now + 15 * NS_PER_SECOND, "capped");
	w.now += 15 * NS_PER_SECOND;
	world_tick(&w);
	answer(1, 3, OUTCOME(RETRY));
	cr_assert_eq(at(1)->state, STATE(DEAD));
	cr_assert_eq(w.state.reporting.dead, 1);
	cr_assert_eq(state_next_deadline(&w.state), NEVER);
}

Test(reporting, a_final_failure_is_not_retried)
{
	match(HIGH);
	answer(1, 1, OUTCOME(FAILED));
	cr_assert_eq(at(1)->state, STATE(DEAD));
}

static void acknowledge(void)
{
	Isod__V1__AcknowledgeIncident ack = ISOD__V1__ACKNOWLEDGE_INCIDENT__INIT;
	Isod__V1__Command c = ISOD__V1__COMMAND__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	ack.incident = 1;
	c.action_case = ISOD__V1__COMMAND__ACTION_ACKNOWLEDGE;
	c.acknowledge = &ack;
	record.body_case = ISOD__V1__RECORD__BODY_COMMAND;
	record.command = &c;
	w.now += 1;
	world_apply(&w, &record);
}

Test(reporting, acknowledging_cancels_what_waits)
{
	match(HIGH);
	answer(1, 1, OUTCOME(RETRY));
	acknowledge();
	cr_assert_eq(at(1)->state, STATE(CANCELLED));
	w.now += NS_PER_HOUR;
	world_tick(&w);
	cr_assert_eq(w.notified, 1);
}

Test(reporting, an_attempt_that_fails_after_acknowledging_is_the_last)
{
	match(HIGH);
	acknowledge();
	cr_assert_eq(at(1)->state, STATE(INFLIGHT));
	answer(1, 1, OUTCOME(RETRY));
	w.now += NS_PER_HOUR;
	world_tick(&w);
	cr_assert_eq(at(1)->state, STATE(CANCELLED));
	cr_assert_eq(w.notified, 1);
}

Test(reporting, what_was_in_flight_at_a_crash_is_sent_again)
{
	Isod__V1__Started started = ISOD__V1__STARTED__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	match(HIGH);
	record.body_case = ISOD__V1__RECORD__BODY_STARTED;
	record.started = &started;
	world_apply(&w, &record);
	cr_assert_eq(w.notified, 2);
	cr_assert_eq(w.last_attempt, 2);
	cr_assert_eq(w.last_notification, 1,
	             "the same notification: the same key for the receiver");
}

Test(reporting, what_came_to_its_end_leaves_memory)
{
	Isod__V1__Settings *s = settings_new();

	add_route(s, "night", LOW, NULL);
	s->notification_kept_ns = NS_PER_HOUR;
	s->notification_kept_max = 2;
	world_settings(&w, s);
	isod__v1__settings__free_unpacked(s, NULL);
	for (unsigned i = 1; i <= 4; i++) {
		char address[32];
		snprintf(address, sizeof(address), "198.51.100.%u", i);
		world_match(&w, match_new(&w, "r", HIGH, address, NULL, NULL));
	}
	answer(1, 1, OUTCOME(FAILED));
	cr_assert_eq(w.state.reporting.dead, 1);
	answer(2, 1, OUTCOME(DELIVERED));
	answer(3, 1, OUTCOME(DELIVERED));
	cr_assert_null(at(1), "three are more than two");
	cr_assert_eq(w.state.reporting.dead, 0, "of those that are kept");
	w.now += NS_PER_HOUR;
	size_t dirty = w.dirty[VIEW_NOTIFICATION];
	world_tick(&w);
	cr_assert_null(at(2));
	cr_assert_null(at(3));
	cr_assert_eq(w.dirty[VIEW_NOTIFICATION], dirty + 2, "the view is told");
	cr_assert_eq(at(4)->state, STATE(INFLIGHT), "what is on its way stays");
	cr_assert_eq(w.state.reporting.count, 4);
	answer(4, 1, OUTCOME(DELIVERED));
	answer(1, 1, OUTCOME(DELIVERED));
	cr_assert_eq(at(4)->state, STATE(DELIVERED));
}

Test(reporting, an_incident_that_left_is_not_told_any_more)
{
	Isod__V1__Settings *s = settings_new();
	Isod__V1__CloseIncident close = ISOD__V1__CLOSE_INCIDENT__INIT;
	Isod__V1__Command command = ISOD__V1__COMMAND__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	add_route(s, "night", LOW, NULL);
	s->incident_kept_ns = NS_PER_SECOND;
	world_settings(&w, s);
	isod__v1__settings__free_unpacked(s, NULL);
	match(HIGH);
	w.now += NS_PER_SECOND;
	close.incident = 1;
	command.action_case = ISOD__V1__COMMAND__ACTION_CLOSE;
	command.close = &close;
	record.body_case = ISOD__V1__RECORD__BODY_COMMAND;
	record.command = &command;
	world_apply(&w, &record);
	w.now += NS_PER_SECOND;
	answer(1, 1, OUTCOME(RETRY));
	cr_assert_null(incident_get(&w.state.incident, 1));
	w.now += NS_PER_MINUTE;
	world_tick(&w);
	cr_assert_eq(at(1)->state, STATE(CANCELLED));
	cr_assert_eq(w.notified, 1);
}
