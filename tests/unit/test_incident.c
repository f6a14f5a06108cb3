/* Grouping of matches into incidents, and their life cycle. */
#include "steps.h"

#include <errno.h>

static struct world w;

static void setup(void)
{
	world_init(&w);
}

static void teardown(void)
{
	state_release(&w.state);
}

TestSuite(incident, .init = setup, .fini = teardown);

static const Isod__V1__Incident *at(uint64_t id)
{
	return incident_get(&w.state.incident, id);
}

static void match(const char *rule, Isod__V1__Level level, const char *address, const char *user,
                  const char *host)
{
	w.now += NS_PER_SECOND;
	world_match(&w, match_new(&w, rule, level, address, user, host));
}

static void guess(const char *address, const char *user)
{
	w.now += NS_PER_SECOND;
	Isod__V1__Match *m = match_new(&w, "guess", MEDIUM, address, user, "web1");
	pb_set_text(&m->outcome, "failure");
	world_match(&w, m);
}

Test(incident, one_noisy_rule_makes_one_incident_with_a_count)
{
	for (int i = 0; i < 1000; i++)
		match("noisy", MEDIUM, "192.0.2.1", NULL, "web1");
	cr_assert_eq(w.state.incident.count, 1);
	cr_assert_eq(at(1)->matches, 1000);
	cr_assert_eq(at(1)->rules[0]->count, 1000);
	cr_assert_eq(at(1)->n_timeline, 1, "entries of one rule in a row fold");
	cr_assert_eq(at(1)->timeline[0]->count, 1000);
	cr_assert_eq(at(1)->n_evidence + at(1)->evidence_omitted, 1000);
	cr_assert_eq(at(1)->last_ns - at(1)->first_ns, 999 * NS_PER_SECOND);
}

Test(incident, times_do_not_depend_on_the_order_in_which_matches_come)
{
	static const int order[] = {2, 0, 3, 1};
	uint64_t begin = w.now;

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		Isod__V1__Match *m = match_new(&w, "noisy", MEDIUM, "192.0.2.1", NULL, "web1");
		m->event_time_ns = m->received_ns = begin + (uint64_t)order[i] * NS_PER_SECOND;
		world_match(&w, m);
	}
	cr_assert_eq(at(1)->first_ns, begin);
	cr_assert_eq(at(1)->last_ns, begin + 3 * NS_PER_SECOND);
	cr_assert_eq(at(1)->rules[0]->first_ns, begin);
	cr_assert_eq(at(1)->rules[0]->last_ns, begin + 3 * NS_PER_SECOND);
}

Test(incident, an_attack_chain_over_address_user_and_host_is_one_incident)
{
	match("brute", MEDIUM, "192.0.2.1", NULL, "web1");
	match("login", HIGH, "192.0.2.1", "alice", "web1");
	match("sudo", HIGH, NULL, "alice", "web1");
	match("tamper", CRIT, NULL, NULL, "web1");
	cr_assert_eq(w.state.incident.count, 1);
	cr_assert_eq(at(1)->matches, 4);
	cr_assert_eq(at(1)->severity, CRIT);
	cr_assert_eq(at(1)->n_entities, 3);
}

Test(incident, guessers_of_the_same_user_on_the_same_host_stay_apart)
{
	guess("192.0.2.1", "root");
	guess("192.0.2.2", "root");
	guess("192.0.2.1", "root");
	cr_assert_eq(w.state.incident.count, 2);
	cr_assert_eq(at(1)->matches, 2);
	match("sudo", LOW, NULL, "root", "web1");
	cr_assert_eq(w.state.incident.count, 3,
	             "guesses at a name do not bind what its owner does");
}

Test(incident, what_a_user_fails_at_without_an_address_is_one_incident)
{
	for (int i = 0; i < 5; i++)
		guess(NULL, "mia");
	cr_assert_eq(w.state.incident.count, 1);
	cr_assert_eq(at(1)->matches, 5);
	match("sudo", MEDIUM, NULL, "mia", "web1");
	cr_assert_eq(at(1)->matches, 6);
	guess("192.0.2.1", "mia");
	cr_assert_eq(w.state.incident.count, 2, "a guess from elsewhere is a stranger's");
}

Test(incident, same_user_name_on_another_host_is_another_user)
{
	match("sudo", MEDIUM, NULL, "alice", "web1");
	match("sudo", MEDIUM, NULL, "alice", "web2");
	cr_assert_eq(w.state.incident.count, 2);
}

Test(incident, the_window_ends_an_incident_for_newcomers)
{
	match("a", MEDIUM, "192.0.2.1", NULL, NULL);
	w.now += NS_PER_HOUR + NS_PER_SECOND;
	match("a", MEDIUM, "192.0.2.1", NULL, NULL);
	cr_assert_eq(w.state.incident.count, 2);
}

Test(incident, each_match_extends_the_window)
{
	for (int i = 0; i < 10; i++) {
		w.now += NS_PER_HOUR - 2 * NS_PER_SECOND;
		match("a", MEDIUM, "192.0.2.1", NULL, NULL);
	}
	cr_assert_eq(w.state.incident.count, 1);
}

Test(incident, low_matches_join_but_do_not_open_below_the_open_level)
{
	match("info", ISOD__V1__LEVEL__LEVEL_INFORMATIONAL, "192.0.2.1", NULL, NULL);
	cr_assert_eq(w.state.incident.count, 0);
	match("a", LOW, "192.0.2.1", NULL, NULL);
	match("info", ISOD__V1__LEVEL__LEVEL_INFORMATIONAL, "192.0.2.1", NULL, NULL);
	cr_assert_eq(at(1)->matches, 2);
}

Test(incident, a_storm_of_strangers_folds_into_one_incident)
{
	char address[32];

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(address, sizeof(address), "10.0.%u.%u", i / 256, i % 256);
		match("scan", MEDIUM, address, NULL, "fw1");
	}
	cr_assert_eq(w.state.incident.count, INCIDENTS_PER_RULE + 1);
	const Isod__V1__Incident *storm = at(INCIDENTS_PER_RULE + 1);
	cr_assert_eq(storm->matches, 1000 - INCIDENTS_PER_RULE);
	cr_assert_str_eq(storm->title, "Storm: scan");
	cr_assert_leq(storm->n_entities, INCIDENT_ENTITIES_MAX);
	match("other", MEDIUM, "10.0.2.2", NULL, "fw1");
	cr_assert_eq(w.state.incident.count, INCIDENTS_PER_RULE + 2,
	             "another rule's match does not stick to the storm");
}

Test(incident, tags_become_tactics_and_techniques)
{
	Isod__V1__Match *m = match_new(&w, "r", HIGH, "192.0.2.1", NULL, NULL);
	static const char *const tags[] = {"attack.credential-access",
	                                   "attack.t1110.001",
	                                   "attack.initial_access",
	                                   "attack.g0007",
	                                   "attack.s0002",
	                                   "cve.2021-44228",
	                                   "attack.t1110.001",
	                                   "attack."};
	for (size_t i = 0; i < ARRAY_LEN(tags); i++)
		pb_add_text(&m->tags, &m->n_tags, tags[i]);
	world_match(&w, m);
	cr_assert_eq(at(1)->n_tactics, 2);
	cr_assert_str_eq(at(1)->tactics[0], "credential-access");
	cr_assert_str_eq(at(1)->tactics[1], "initial-access");
	cr_assert_eq(at(1)->n_techniques, 1);
	cr_assert_str_eq(at(1)->techniques[0], "T1110.001");
}

static int command(uint64_t id, bool close, Isod__V1__Disposition disposition)
{
	Isod__V1__AcknowledgeIncident ack = ISOD__V1__ACKNOWLEDGE_INCIDENT__INIT;
	Isod__V1__CloseIncident end = ISOD__V1__CLOSE_INCIDENT__INIT;
	Isod__V1__Command c = ISOD__V1__COMMAND__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	char user[] = "anna", note[] = "looking";

	c.user = user;
	c.action_case =
		close ? ISOD__V1__COMMAND__ACTION_CLOSE : ISOD__V1__COMMAND__ACTION_ACKNOWLEDGE;
	if (close)
		c.close = &end;
	else
		c.acknowledge = &ack;
	ack.incident = end.incident = id;
	ack.note = end.note = note;
	end.disposition = disposition;
	int r = incident_check(&w.state.incident, &c);
	record.body_case = ISOD__V1__RECORD__BODY_COMMAND;
	record.command = &c;
	w.now += NS_PER_SECOND;
	world_apply(&w, &record);
	return r;
}

Test(incident, acknowledge_then_close)
{
	match("a", HIGH, "192.0.2.1", NULL, "web1");
	cr_assert_eq(command(1, false, 0), 0);
	cr_assert_eq(at(1)->state, ISOD__V1__INCIDENT_STATE__INCIDENT_TRIAGED);
	cr_assert_str_eq(at(1)->owner, "anna");
	cr_assert_eq(at(1)->acknowledged_ns, w.now);
	cr_assert_eq(command(1, false, 0), -EALREADY);
	cr_assert_eq(command(1, true, ISOD__V1__DISPOSITION__DISPOSITION_BENIGN), 0);
	cr_assert_eq(at(1)->state, ISOD__V1__INCIDENT_STATE__INCIDENT_CLOSED);
	cr_assert_eq(w.state.incident.open, 0);
	cr_assert_eq(command(1, true, 0), -EALREADY);
	cr_assert_eq(command(2, true, 0), -ENOENT);
	cr_assert_eq(at(1)->n_timeline, 3);
	cr_assert_str_eq(at(1)->timeline[2]->text, "closed as benign: looking");
	match("a", HIGH, "192.0.2.1", NULL, "web1");
	cr_assert_eq(w.state.incident.count, 2, "a closed incident takes nothing in");
}

Test(incident, the_timeline_is_bounded_and_what_is_left_out_is_counted)
{
	for (int i = 0; i < 2 * INCIDENT_TIMELINE_MAX; i++)
		match(i % 2 ? "a" : "b", MEDIUM, "192.0.2.1", NULL, NULL);
	cr_assert_eq(at(1)->n_timeline, INCIDENT_TIMELINE_MAX);
	cr_assert_eq(at(1)->timeline_omitted, INCIDENT_TIMELINE_MAX);
}

static void limits(uint64_t kept_ns, uint64_t kept_max, uint64_t open_max)
{
	Isod__V1__Settings *s = settings_new();

	s->incident_kept_ns = kept_ns;
	s->incident_kept_max = kept_max;
	s->incident_open_max = open_max;
	world_settings(&w, s);
	isod__v1__settings__free_unpacked(s, NULL);
}

/* Opens an incident of its own rule and address. */
static void open_one(unsigned n)
{
	char rule[16], address[32];

	snprintf(rule, sizeof(rule), "r%u", n);
	snprintf(address, sizeof(address), "198.51.100.%u", n);
	match(rule, HIGH, address, NULL, "web1");
}

Test(incident, closed_ones_leave_memory_after_a_time)
{
	limits(NS_PER_HOUR, 0, 0);
	open_one(1);
	open_one(2);
	cr_assert_eq(command(1, true, 0), 0);
	size_t dirty = w.dirty[VIEW_INCIDENT];
	w.now += NS_PER_HOUR - 1;
	world_tick(&w);
	cr_assert_not_null(at(1));
	w.now += 1;
	world_tick(&w);
	cr_assert_null(at(1), "closed for an hour");
	cr_assert_not_null(at(2), "open ones stay");
	cr_assert_eq(w.dirty[VIEW_INCIDENT], dirty + 1, "the view is told");
	cr_assert_eq(w.state.incident.count, 2);
	cr_assert_eq(command(1, true, 0), -ENOENT);
	match("r1", HIGH, "198.51.100.1", NULL, "web1");
	cr_assert_eq(at(3)->matches, 1, "its address and rule begin anew, under a new number");
}

Test(incident, of_closed_ones_a_number_stays)
{
	limits(0, 3, 0);
	for (unsigned i = 1; i <= 6; i++)
		open_one(i);
	for (uint64_t id = 6; id >= 2; id--) {
		w.now += NS_PER_SECOND;
		cr_assert_eq(command(id, true, 0), 0);
	}
	cr_assert_null(at(6), "the first to be closed");
	cr_assert_null(at(5));
	for (uint64_t id = 1; id <= 4; id++)
		cr_assert_not_null(at(id));
	limits(0, 1, 0);
	cr_assert_null(at(4), "a lower limit holds at once");
	cr_assert_not_null(at(2));
}

Test(incident, past_the_number_of_open_ones_a_rule_gathers_in_one)
{
	char address[32];

	limits(0, 0, 5);
	for (unsigned i = 1; i <= 5; i++)
		open_one(i);
	for (unsigned i = 1; i <= 10; i++) {
		snprintf(address, sizeof(address), "203.0.113.%u", i);
		match("flood", MEDIUM, address, NULL, "web1");
		w.now += 2 * NS_PER_HOUR; /* past the window: it still gathers */
	}
	cr_assert_eq(w.state.incident.open, 6);
	cr_assert_eq(at(6)->matches, 10);
	cr_assert_str_eq(at(6)->title, "Storm: flood");
	cr_assert_eq(w.state.incident.overflowed, 10);
	cr_assert_not_null(strstr(at(6)->timeline[0]->text, "incidents.open_max"));
	cr_assert_eq(command(1, true, 0), 0);
	cr_assert_eq(command(2, true, 0), 0);
	match("flood", MEDIUM, "203.0.113.99", NULL, "web1");
	cr_assert_eq(at(7)->matches, 1, "there is room again");
}
