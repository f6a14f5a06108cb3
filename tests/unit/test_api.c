/* What a client of the protobuf socket asks and commands, and what it is told as incidents change. */
#include "api_rig.h"

#include <sys/resource.h>

TestSuite(api, .init = setup, .fini = teardown);

/* ---- questions ---- */

Test(api, status_tells_the_daemon_and_who_asks)
{
	struct client c = client_new();
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);

	incidents(3);
	Response *r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(STATUS));
	cr_assert_str_eq(r->status->version, "test");
	cr_assert_eq(r->status->rules, 7);
	cr_assert_eq(r->status->matches, 3);
	cr_assert_eq(r->status->incidents_open, 3);
	cr_assert_eq(r->status->ledger_sequence, 5);
	cr_assert_eq(strlen(r->status->ledger_head), 64);
	cr_assert_eq(r->status->your_role, ISOD__V1__ROLE__ROLE_ADMIN);
	cr_assert_neq(r->status->you[0], '\0');
	answer_free(r);
	client_free(&c);
}

Test(api, sources_come_in_pages)
{
	struct client c = client_new();
	Isod__V1__Tally tally = ISOD__V1__TALLY__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	Isod__V1__SourceCount counts[2500], *pointers[2500];
	char names[2500][16];
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);

	for (size_t i = 0; i < 2500; i++) {
		isod__v1__source_count__init(&counts[i]);
		snprintf(names[i], sizeof(names[i]), "tcp/%zu", i);
		counts[i].source = names[i];
		counts[i].received = i + 1;
		pointers[i] = &counts[i];
	}
	tally.upto = 1;
	tally.n_sources = 2500;
	tally.sources = pointers;
	record.body_case = ISOD__V1__RECORD__BODY_TALLY;
	record.tally = &tally;
	cr_assert_eq(officer_record(rig.officer, &record), 0);

	Response *r = ask(&c, &q);
	cr_assert_eq(r->status->n_sources, 0);
	answer_free(r);
	s.sources = true;
	size_t seen = 0;
	char after[16] = "";
	bool more = true;
	while (more) {
		s.sources_after = after;
		r = ask(&c, &q);
		cr_assert_leq(r->status->n_sources, 1000);
		for (size_t i = 0; i < r->status->n_sources; i++)
			cr_assert_str_eq(r->status->sources[i]->source, names[seen++]);
		more = r->status->more_sources;
		strcpy(after, names[seen - 1]);
		answer_free(r);
	}
	cr_assert_eq(seen, 2500);
	client_free(&c);
}

Test(api, incidents_are_listed_newest_first_in_pages)
{
	struct client c = client_new();
	Isod__V1__ListIncidentsRequest l = ISOD__V1__LIST_INCIDENTS_REQUEST__INIT;
	uint64_t expected = 250;
	bool more = true;

	incidents(250);
	Response *r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 100);
	answer_free(r);
	l.limit = 60;
	while (more) {
		r = list(&c, &l);
		cr_assert_leq(r->incidents->n_incidents, 60);
		for (size_t i = 0; i < r->incidents->n_incidents; i++) {
			cr_assert_eq(r->incidents->incidents[i]->id, expected--);
			cr_assert_eq(r->incidents->incidents[i]->n_timeline, 0);
			cr_assert_eq(r->incidents->incidents[i]->n_evidence, 0);
		}
		l.before_id = expected + 1;
		more = r->incidents->more;
		answer_free(r);
	}
	cr_assert_eq(expected, 0);
	l.before_id = 1;
	r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 0);
	cr_assert(!r->incidents->more);
	answer_free(r);
	l.before_id = UINT64_MAX;
	l.limit = UINT32_MAX;
	r = list(&c, &l);
	cr_assert_eq(r->incidents->n_incidents, 250);
	answer_free(r);
	client_free(&c);
}

/* Wants that many incidents of the list, `first` being the first. Returns when that one changed. */
static uint64_t expect_list(struct client *c, Isod__V1__ListIncidentsRequest *l, size_t count,
                            uint64_t first)
{
	Response *r = list(c, l);
	uint64_t changed = 0;

	cr_assert_eq(r->incidents->n_incidents, count);
	if (count) {
		cr_assert_eq(r->incidents->incidents[0]->id, first);
		changed = r->incidents->incidents[0]->changed_ns;
	}
	answer_free(r);
	return changed;
}

Test(api, incidents_are_filtered)
{
	struct client c = client_new();
	Isod__V1__ListIncidentsRequest l = ISOD__V1__LIST_INCIDENTS_REQUEST__INIT;
	Isod__V1__Entity entity = ISOD__V1__ENTITY__INIT;
	Isod__V1__IncidentState states[] = {ISOD__V1__INCIDENT_STATE__INCIDENT_TRIAGED,
	                                    ISOD__V1__INCIDENT_STATE__INCIDENT_CLOSED};
	Isod__V1__AcknowledgeIncident a;
	char empty[] = "", address[] = "192.0.0.4";

	incidents(10);
	Request q = acknowledge(&a, 3, empty);
	answer_free(ask(&c, &q));

	l.min_severity = HIGH;
	expect_list(&c, &l, 5, 10);

	l.min_severity = 0;
	l.n_states = 2;
	l.states = states;
	uint64_t changed = expect_list(&c, &l, 1, 3);

	l.n_states = 0;
	l.since_ns = changed;
	expect_list(&c, &l, 1, 3);
	l.since_ns = changed + 1;
	expect_list(&c, &l, 0, 0);

	l.since_ns = 0;
	l.entity = &entity;
	entity.name = address;
	expect_list(&c, &l, 1, 4);
	entity.kind = ISOD__V1__ENTITY_KIND__ENTITY_USER;
	expect_list(&c, &l, 0, 0);
	client_free(&c);
}

Test(api, an_incident_is_shown_whole_or_not_found)
{
	struct client c = client_new();
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__ShowIncidentRequest s = ISOD__V1__SHOW_INCIDENT_REQUEST__INIT;

	incidents(1);
	q.ask_case = ASK(SHOW_INCIDENT);
	q.show_incident = &s;
	s.incident = 1;
	Response *r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(INCIDENT));
	cr_assert_eq(r->incident->n_evidence, 1);
	cr_assert_gt(r->incident->n_timeline, 0);
	answer_free(r);
	const uint64_t none[] = {0, 2, UINT64_MAX};
	for (size_t i = 0; i < 3; i++) {
		s.incident = none[i];
		ask_error(&c, &q, ERR(NOT_FOUND));
	}
	client_free(&c);
}

Test(api, risk_metrics_and_notifications_are_answered)
{
	struct client c = client_new();
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__RiskRequest risk = ISOD__V1__RISK_REQUEST__INIT;
	Isod__V1__MetricsRequest metrics = ISOD__V1__METRICS_REQUEST__INIT;
	Isod__V1__ListNotificationsRequest n = ISOD__V1__LIST_NOTIFICATIONS_REQUEST__INIT;
	char scope[] = "rule", name[] = "rule 3";

	incidents(30);
	q.ask_case = ASK(RISK);
	q.risk = &risk;
	Response *r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(RISK));
	cr_assert_eq(r->risk->n_entities, 20);
	for (size_t i = 1; i < 20; i++)
		cr_assert_geq(r->risk->entities[i - 1]->score_milli,
		              r->risk->entities[i]->score_milli);
	answer_free(r);
	risk.kind = ISOD__V1__ENTITY_KIND__ENTITY_HOST;
	r = ask(&c, &q);
	cr_assert_eq(r->risk->n_entities, 1);
	cr_assert_str_eq(r->risk->entities[0]->entity->name, "web1");
	answer_free(r);

	q.ask_case = ASK(METRICS);
	q.metrics = &metrics;
	metrics.scope = scope;
	metrics.limit = 20;
	r = ask(&c, &q);
	cr_assert_eq(r->metrics->n_series, 20);
	cr_assert(r->metrics->more);
	char *after =
		xasprintf("%s/%s", r->metrics->series[19]->scope, r->metrics->series[19]->name);
	answer_free(r);
	metrics.after = after;
	r = ask(&c, &q);
	cr_assert_eq(r->metrics->n_series, 10);
	cr_assert(!r->metrics->more);
	answer_free(r);
	free(after);
	metrics.after = (char *)(uintptr_t) "";
	metrics.name = name;
	metrics.resolution = ISOD__V1__RESOLUTION__RESOLUTION_DAY;
	metrics.points = UINT32_MAX;
	r = ask(&c, &q);
	cr_assert_eq(r->metrics->n_series, 1);
	cr_assert_eq(r->metrics->series[0]->total, 1);
	cr_assert_eq(r->metrics->series[0]->n_points, 1);
	cr_assert_eq(r->metrics->series[0]->points[0]->count, 1);
	answer_free(r);
	metrics.resolution = (Isod__V1__Resolution)77;
	ask_error(&c, &q, ERR(BAD_REQUEST));

	q.ask_case = ASK(LIST_NOTIFICATIONS);
	q.list_notifications = &n;
	r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(NOTIFICATIONS));
	cr_assert_eq(r->notifications->n_notifications, 0);
	answer_free(r);
	client_free(&c);
}

/* ---- commands ---- */

static int count_commands(void *arg, uint64_t sequence, uint64_t time_ns,
                          const Isod__V1__Record *record)
{
	(void)sequence;
	(void)time_ns;
	*(int *)arg += record->body_case == ISOD__V1__RECORD__BODY_COMMAND;
	return 0;
}

static int commands_in_ledger(void)
{
	char *ledger = xasprintf("%s/ledger", rig.dir);
	int count = 0;

	cr_assert_eq(ledger_read(ledger, 0, count_commands, &count, rig.error, sizeof(rig.error)),
	             0);
	free(ledger);
	return count;
}

Test(api, an_incident_that_left_memory_is_told_from_one_that_never_was)
{
	struct client c = client_new();
	Isod__V1__CloseIncident x;
	Isod__V1__Settings *settings = settings_new();
	const uint64_t ids[] = {1, 3};
	static const char *const words[] = {"kept no longer", "there is no incident 3"};

	settings->incident_kept_max = 1;
	cr_assert_eq(officer_settings(rig.officer, settings), 0);
	isod__v1__settings__free_unpacked(settings, NULL);
	incidents(2);
	for (uint64_t id = 1; id <= 2; id++) {
		Request q = close_as(&x, id, ISOD__V1__DISPOSITION__DISPOSITION_BENIGN);
		Response *r = ask(&c, &q);
		cr_assert_eq(r->answer_case, GOT(INCIDENT));
		cr_assert_eq(r->incident->id, id);
		answer_free(r);
	}
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		Isod__V1__ShowIncidentRequest show = ISOD__V1__SHOW_INCIDENT_REQUEST__INIT;
		Request q = ISOD__V1__REQUEST__INIT;
		q.ask_case = ASK(SHOW_INCIDENT);
		q.show_incident = &show;
		show.incident = ids[i];
		Response *r = ask(&c, &q);
		cr_assert_eq(r->answer_case, GOT(ERROR));
		cr_assert_eq(r->error->code, ERR(NOT_FOUND));
		cr_assert_not_null(strstr(r->error->message, words[i]), "%s", r->error->message);
		answer_free(r);
		q = close_as(&x, ids[i], ISOD__V1__DISPOSITION__DISPOSITION_BENIGN);
		ask_error(&c, &q, ERR(NOT_FOUND));
	}
	client_free(&c);
}

Test(api, acknowledging_and_closing_are_durable_when_answered)
{
	struct client c = client_new();
	Isod__V1__AcknowledgeIncident a;
	Isod__V1__CloseIncident x;
	char note[] = "looking \xff\xfe";

	incidents(2);
	Request q = acknowledge(&a, 1, note);
	Response *r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(INCIDENT));
	cr_assert_eq(r->incident->state, ISOD__V1__INCIDENT_STATE__INCIDENT_TRIAGED);
	cr_assert_neq(r->incident->owner[0], '\0');
	cr_assert_gt(r->incident->acknowledged_ns, 0);
	answer_free(r);
	cr_assert_eq(commands_in_ledger(), 1);
	ask_error(&c, &q, ERR(CONFLICT));

	q = close_as(&x, 1, ISOD__V1__DISPOSITION__DISPOSITION_FALSE_POSITIVE);
	r = ask(&c, &q);
	cr_assert_eq(r->incident->state, ISOD__V1__INCIDENT_STATE__INCIDENT_CLOSED);
	cr_assert_eq(r->incident->disposition, ISOD__V1__DISPOSITION__DISPOSITION_FALSE_POSITIVE);
	answer_free(r);
	cr_assert_eq(commands_in_ledger(), 2);
	ask_error(&c, &q, ERR(CONFLICT));
	q = acknowledge(&a, 1, note);
	ask_error(&c, &q, ERR(CONFLICT));
	q = acknowledge(&a, 99, note);
	ask_error(&c, &q, ERR(NOT_FOUND));
	const int nonsense[] = {0, 5, -1, INT32_MAX};
	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
		q = close_as(&x, 2, nonsense[i]);
		ask_error(&c, &q, ERR(BAD_REQUEST));
	}
	char *large = xmalloc(4098);
	memset(large, 'n', 4097);
	large[4097] = '\0';
	client_free(&c);
	rig.config.api.request_max = 8192;
	c = client_new();
	q = acknowledge(&a, 2, large);
	ask_error(&c, &q, ERR(BAD_REQUEST));
	free(large);
	cr_assert_eq(commands_in_ledger(), 2);
	client_free(&c);
}

Test(api, a_ledger_that_cannot_be_written_makes_commands_unavailable)
{
	struct client c = client_new();
	Isod__V1__AcknowledgeIncident a;
	struct rlimit none, now;
	char empty[] = "";
	Request q;

	incidents(2);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &none);
	now = none;
	now.rlim_cur = 10;
	setrlimit(RLIMIT_FSIZE, &now);
	for (uint64_t id = 1; id <= 2; id++) {
		q = acknowledge(&a, id, empty);
		ask_error(&c, &q, ERR(UNAVAILABLE));
	}
	Isod__V1__StatusRequest s;
	q = status_request(&s);
	answer_free(ask(&c, &q));
	setrlimit(RLIMIT_FSIZE, &none);
	client_free(&c);
}

/* ---- watching ---- */

Test(api, a_watcher_sees_incidents_as_they_change)
{
	struct client c = client_new();
	struct client other = client_new();
	Isod__V1__AcknowledgeIncident a;
	char empty[] = "";

	incidents(4); /* 2 and 4 are high */
	watch(&c, HIGH, true);
	for (uint64_t id = 2; id <= 4; id += 2) {
		Response *r = client_next(&c);
		cr_assert_eq(r->answer_case, GOT(INCIDENT));
		cr_assert_eq(r->incident->id, id);
		cr_assert_eq(r->incident->n_evidence, 0);
		answer_free(r);
	}
	Request q = acknowledge(&a, 1, empty); /* low: not told */
	answer_free(ask(&other, &q));
	q = acknowledge(&a, 4, empty);
	answer_free(ask(&other, &q));
	Response *r = client_next(&c);
	cr_assert_eq(r->incident->id, 4);
	cr_assert_eq(r->incident->state, ISOD__V1__INCIDENT_STATE__INCIDENT_TRIAGED);
	answer_free(r);
	/* A watcher may ask as well. */
	Isod__V1__StatusRequest s;
	q = status_request(&s);
	r = ask(&c, &q);
	cr_assert_eq(r->answer_case, GOT(STATUS));
	answer_free(r);
	client_free(&c);
	cr_assert_eq(counter("api_watchers"), 0);
	client_free(&other);
}

Test(api, a_storm_of_changes_is_told_once_with_its_newest_state)
{
	struct client c = client_new();

	watch(&c, 0, false);
	for (int i = 0; i < 500; i++)
		match("storm", HIGH, "192.0.2.1");
	uint64_t told = 0, last = 0;
	while (last < 500) {
		Response *r = client_next(&c);
		cr_assert_eq(r->incident->id, 1);
		cr_assert_leq(r->incident->n_timeline, 20);
		last = r->incident->matches;
		told++;
		answer_free(r);
	}
	cr_assert_lt(told, 100);
	client_free(&c);
}

Test(api, a_watcher_that_does_not_read_is_closed)
{
	struct client c = client_new(), other = client_new();

	incidents(2000);
	watch(&c, 0, false);
	/* Each turn tells all incidents anew, until the limit. */
	for (int i = 0; i < 1000 && counter("api_watchers"); i++) {
		for (uint64_t id = 1; id <= 2000; id++)
			api_incident_changed(
				rig.api, incident_get(&officer_state(rig.officer)->incident, id));
		event_active(rig.api->telling, EV_TIMEOUT, 0);
		turn();
	}
	cr_assert_eq(counter("api_watchers"), 0);
	cr_assert_eq(counter("api_slow_clients"), 1);
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);
	answer_free(ask(&other, &q));
	client_free(&c);
	client_free(&other);
}

Test(api, a_large_snapshot_reaches_a_watcher_that_reads)
{
	struct client c = client_new();
	uint64_t seen = 0;

	incidents(3000);
	watch(&c, 0, true);
	while (seen < 3000) {
		Response *r = client_next(&c);
		cr_assert(r);
		cr_assert_eq(r->incident->id, ++seen);
		answer_free(r);
	}
	client_free(&c);
}
