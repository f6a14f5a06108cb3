/* state = fold(ledger): cursors, sources, metrics, and the same answer every time. */
#include "log/producer.h"
#include "steps.h"

static void tally(struct world *w, uint32_t worker, uint64_t upto, const char *source,
                  uint64_t received)
{
	Isod__V1__SourceCount count = ISOD__V1__SOURCE_COUNT__INIT, *counts[] = {&count};
	Isod__V1__Tally t = ISOD__V1__TALLY__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	char *name = xstrdup(source);

	count.source = name;
	count.received = received;
	count.matched = received / 2;
	count.unmatched = received - received / 2;
	count.last_received_ns = w->now;
	t.worker = worker;
	t.upto = upto;
	t.n_sources = 1;
	t.sources = counts;
	record.body_case = ISOD__V1__RECORD__BODY_TALLY;
	record.tally = &t;
	world_apply(w, &record);
	free(name);
}

Test(state, cursors_know_what_is_counted_and_what_is_already_matched)
{
	struct world w;

	world_init(&w);
	Isod__V1__Match *m = match_new(&w, "a", LOW, "192.0.2.1", NULL, NULL);
	cr_assert_not(state_has_match(&w.state, m));
	world_match_keep(&w, m);
	cr_assert(state_has_match(&w.state, m));
	pb_set_text(&m->rule, "b");
	cr_assert_not(state_has_match(&w.state, m), "another rule on the same frame");
	tally(&w, 0, 5, "tls/192.0.2.1", 5);
	cr_assert(state_has_match(&w.state, m), "everything up to a tally is done with");
	m->evidence->sequence = 6;
	cr_assert_not(state_has_match(&w.state, m));
	m->evidence->worker = 3;
	m->evidence->sequence = 1;
	cr_assert_not(state_has_match(&w.state, m), "workers are counted apart");
	match_free(m);
	cr_assert_eq(w.state.cursors[0].upto, 5);
	cr_assert_eq(w.state.cursors[0].seen_max, 5);
	state_release(&w.state);
}

Test(state, a_tally_of_a_re_detection_broken_off_keeps_what_is_matched_past_it)
{
	struct world w;

	world_init(&w);
	Isod__V1__Match *early = match_new(&w, "a", LOW, "192.0.2.1", NULL, NULL);
	world_match_keep(&w, early);
	Isod__V1__Match *late = match_new(&w, "a", LOW, "192.0.2.1", NULL, NULL);
	late->evidence->sequence = 12;
	world_match_keep(&w, late);
	/* Killed here; started, stopped when frame 10 was detected again; started again. */
	tally(&w, 0, 10, "tls/192.0.2.1", 10);
	cr_expect(state_has_match(&w.state, early));
	cr_expect(state_has_match(&w.state, late), "it would be counted twice");
	tally(&w, 0, 12, "tls/192.0.2.1", 2);
	cr_expect(state_has_match(&w.state, late));
	cr_expect_eq(w.state.cursors[0].matched.count, 0);
	match_free(early);
	match_free(late);
	state_release(&w.state);
}

Test(state, the_account_of_a_source_closes)
{
	struct world w;
	Isod__V1__SourceCount first = ISOD__V1__SOURCE_COUNT__INIT, second = first, *counts[1];
	Isod__V1__Tally t = ISOD__V1__TALLY__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	char name[] = "udp/(kernel)";

	world_init(&w);
	/* As an older isod wrote it: refused without a reason, and beside what was received. */
	first.source = second.source = name;
	first.received = 6;
	first.matched = 1;
	first.unmatched = 2;
	first.undecoded = 3;
	first.refused = 4;
	second.refused = 5;
	second.refused_framing = 2;
	second.refused_empty = 3;
	second.shed = 13;
	second.shed_kernel = 6;
	second.shed_own_events = 7;
	t.n_sources = 1;
	t.sources = counts;
	record.body_case = ISOD__V1__RECORD__BODY_TALLY;
	record.tally = &t;
	counts[0] = &first;
	world_apply(&w, &record);
	counts[0] = &second;
	world_apply(&w, &record);
	const Isod__V1__SourceStatus *s =
		architecture_get(&w.state.architecture, STR("udp/(kernel)"));
	cr_assert_eq(s->received, 6 + 4 + 5 + 13);
	cr_assert_eq(s->received, s->matched + s->unmatched + s->undecoded + s->refused + s->shed);
	cr_assert_eq(s->refused, 9);
	cr_assert_eq(s->refused_framing, 2);
	cr_assert_eq(s->refused_empty, 3);
	cr_assert_eq(s->shed, 13);
	cr_assert_eq(s->shed_kernel, 6);
	cr_assert_eq(s->shed_own_events, 7);
	cr_assert_eq(w.state.architecture.events, 6, "what never became an event is none");
	state_release(&w.state);
}

Test(state, tallies_add_up_per_source_and_in_metrics)
{
	struct world w;

	world_init(&w);
	tally(&w, 0, 10, "tls/192.0.2.1", 10);
	w.now += NS_PER_MINUTE;
	tally(&w, 1, 7, "tls/192.0.2.1", 7);
	tally(&w, 0, 13, "udp/192.0.2.2", 3);
	const Isod__V1__SourceStatus *s =
		architecture_get(&w.state.architecture, STR("tls/192.0.2.1"));
	cr_assert_eq(s->received, 17);
	cr_assert_eq(s->matched + s->unmatched + s->undecoded, s->received);
	cr_assert_eq(w.state.architecture.events, 20);
	const struct metric_series *m =
		improvement_get(&w.state.improvement, STR("events/received"));
	Isod__V1__MetricPoint points[10];
	cr_assert_eq(m->total, 20);
	size_t n = metric_points(m, ISOD__V1__RESOLUTION__RESOLUTION_MINUTE, w.now, points, 10);
	cr_assert_eq(n, 2);
	cr_assert_eq(points[0].count, 10);
	cr_assert_eq(points[1].count, 10);
	n = metric_points(m, ISOD__V1__RESOLUTION__RESOLUTION_MINUTE, w.now + 3 * NS_PER_MINUTE,
	                  points, 3);
	cr_assert_eq(n, 0, "three minutes with nothing");
	state_release(&w.state);
}

Test(state, metric_rings_forget_what_they_turned_past)
{
	struct world w;
	Isod__V1__MetricPoint points[METRIC_MINUTES];

	world_init(&w);
	for (unsigned i = 0; i < 3 * METRIC_MINUTES; i++) {
		tally(&w, 0, i + 1, "s/1", 1);
		w.now += NS_PER_MINUTE;
	}
	const struct metric_series *m = improvement_get(&w.state.improvement, STR("source/s/1"));
	cr_assert_eq(m->total, 3 * METRIC_MINUTES);
	size_t n = metric_points(m, ISOD__V1__RESOLUTION__RESOLUTION_MINUTE, w.now - NS_PER_MINUTE,
	                         points, METRIC_MINUTES);
	cr_assert_eq(n, METRIC_MINUTES);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(points[i].count, 1);
	w.now += NS_PER_DAY;
	tally(&w, 0, 1000, "s/1", 1);
	n = metric_points(m, ISOD__V1__RESOLUTION__RESOLUTION_MINUTE, w.now, points,
	                  METRIC_MINUTES);
	cr_assert_eq(n, 1, "a gap longer than the ring leaves nothing old in it");
	state_release(&w.state);
}

Test(state, sources_are_bounded)
{
	struct world w;
	char name[64];

	world_init(&w);
	for (unsigned i = 0; i < SOURCES_MAX + 100; i++) {
		snprintf(name, sizeof(name), "udp/%u", i);
		tally(&w, 0, i + 1, name, 1);
	}
	cr_assert_eq(w.state.architecture.sources.count, SOURCES_MAX + 1);
	cr_assert_eq(architecture_get(&w.state.architecture, STR("(other)"))->received, 100);
	cr_assert_leq(w.state.improvement.series.count, METRIC_SERIES_MAX + 10);
	state_release(&w.state);
}

Test(state, time_never_goes_back)
{
	struct world w;

	world_init(&w);
	w.now = T0 + NS_PER_HOUR;
	world_tick(&w);
	w.now = T0;
	world_match(&w, match_new(&w, "a", HIGH, "192.0.2.1", NULL, NULL));
	cr_assert_eq(w.state.time_ns, T0 + NS_PER_HOUR);
	cr_assert_eq(incident_get(&w.state.incident, 1)->opened_ns, T0 + NS_PER_HOUR);
	state_release(&w.state);
}

/* A script of records, the same for every run. */
static void script(struct world *w)
{
	char text[32];

	world_init(w);
	for (unsigned i = 0; i < 3000; i++) {
		w->now += i * 7919 % 100 * NS_PER_SECOND;
		snprintf(text, sizeof(text), "192.0.2.%u", i * 31 % 50);
		world_match(w, match_new(w, i % 3 ? "a" : "b", (Isod__V1__Level)(i % 6),
		                         i % 4 ? text : NULL, i % 5 ? "eve" : NULL, "web1"));
		if (i % 100 == 99)
			tally(w, i % 2, i, text, 50);
	}
}

Test(state, the_same_ledger_gives_the_same_state)
{
	struct world a, b;

	script(&a);
	script(&b);
	cr_assert_gt(a.state.incident.count, 10);
	cr_assert_eq(a.state.incident.count, b.state.incident.count);
	for (uint64_t id = 1; id <= a.state.incident.count; id++)
		cr_assert(pb_equal(&incident_get(&a.state.incident, id)->base,
		                   &incident_get(&b.state.incident, id)->base));
	size_t x = 0, y = 0;
	const struct map_entry *e, *f;
	while ((e = map_next(&a.state.risk.entities, &x))) {
		f = map_next(&b.state.risk.entities, &y);
		cr_assert_not_null(f);
		cr_assert(str_eq(e->key, f->key),
		          "walks go in the same order whatever the hash seed");
		cr_assert(pb_equal(e->value, f->value));
	}
	state_release(&a.state);
	state_release(&b.state);
}

static void mark(struct world *w, uint32_t worker, const char *producer, uint64_t upto)
{
	Isod__V1__ProducerMark m = ISOD__V1__PRODUCER_MARK__INIT, *marks[] = {&m};
	Isod__V1__Tally t = ISOD__V1__TALLY__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	char name[PRODUCER_ID_MAX + 1];

	snprintf(name, sizeof(name), "%s", producer);
	m.producer = name;
	m.upto = upto;
	t.worker = worker;
	t.upto = ++w->evidence;
	t.n_producers = 1;
	t.producers = marks;
	record.body_case = ISOD__V1__RECORD__BODY_TALLY;
	record.tally = &t;
	world_apply(w, &record);
}

static uint64_t mark_of(const struct world *w, const char *producer)
{
	const struct producer_mark *m = map_get(&w->state.producers, str_of(producer));

	return m ? m->upto : 0;
}

Test(state, a_producers_mark_only_rises_whatever_worker_tells_of_it)
{
	struct world w;

	world_init(&w);
	mark(&w, 0, "web", 10);
	mark(&w, 1, "db", 7);
	cr_assert_eq(mark_of(&w, "web"), 10);
	cr_assert_eq(mark_of(&w, "db"), 7);
	mark(&w, 2, "web", 25);
	mark(&w, 0, "web", 11);
	cr_assert_eq(mark_of(&w, "web"), 25);
	cr_assert_eq(w.state.producers.count, 2);
	state_release(&w.state);
}

Test(state, a_producer_is_told_by_its_source)
{
	static const struct {
		const char *source, *id;
	} cases[] = {
		{"producer/web", "web"},
		{"producer/web/10.0.0.1", "web"},
		{"producer/a.b_c-9/", "a.b_c-9"},
		{"producer/", ""},
		{"producer", ""},
		{"producer/a b", ""},
		{"producers/web", ""},
		{"tls/producer/web", ""},
		{"producer//x", ""},
	};
	char longest[PRODUCER_ID_MAX + 1];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		cr_expect(str_eq(producer_of_source(str_of(cases[i].source)), str_of(cases[i].id)),
		          "%s", cases[i].source);
	memset(longest, 'x', sizeof(longest));
	cr_assert(producer_id_is_valid(str_make(longest, PRODUCER_ID_MAX)));
	cr_assert_not(producer_id_is_valid(str_make(longest, PRODUCER_ID_MAX + 1)));
	cr_assert_not(producer_id_is_valid(STR("")));
	cr_assert_not(producer_id_is_valid(STR("a/b")));
}

/* ---- producers ---- */

static void tell(struct world *w, Isod__V1__Record__BodyCase kind, void *body)
{
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	record.body_case = kind;
	record.tally = body; /* a union of pointers */
	world_apply(w, &record);
}

static void tell_bound(struct world *w, char *producer, char *owner)
{
	Isod__V1__ProducerBound b = ISOD__V1__PRODUCER_BOUND__INIT;

	b.producer = producer;
	b.owner = owner;
	tell(w, ISOD__V1__RECORD__BODY_PRODUCER_BOUND, &b);
}

static const struct producer_mark *producer_of(const struct world *w, const char *producer)
{
	return map_get(&w->state.producers, str_of(producer));
}

Test(state, a_producer_has_a_mark_that_rises_one_owner_and_a_time)
{
	char a[] = "a", b[] = "b", first[] = "uid:1", second[] = "cert:x";
	struct world w;

	world_init(&w);
	mark(&w, 0, a, 10);
	uint64_t heard = w.now;
	cr_assert(producer_of(&w, "a"));
	cr_expect_null(producer_of(&w, "a")->owner);
	w.now += NS_PER_DAY;
	mark(&w, 0, a, 7);
	cr_expect_eq(producer_of(&w, "a")->upto, 10);
	cr_expect_eq(producer_of(&w, "a")->heard_ns, heard + NS_PER_DAY);
	tell_bound(&w, a, first);
	tell_bound(&w, a, second);
	cr_expect_str_eq(producer_of(&w, "a")->owner, "uid:1", "the first one stays");
	tell_bound(&w, b, second);
	cr_expect_eq(producer_of(&w, "b")->upto, 0);
	mark(&w, 0, b, 3);
	cr_expect_str_eq(producer_of(&w, "b")->owner, "cert:x");
	state_release(&w.state);
}

Test(state, a_producer_that_is_forgotten_begins_anew)
{
	char a[] = "a", b[] = "b", nobody[] = "nobody", owner[] = "uid:1", other[] = "uid:2";
	char *gone[] = {a, nobody, a};
	Isod__V1__ProducersForgotten f = ISOD__V1__PRODUCERS_FORGOTTEN__INIT;
	struct world w;

	world_init(&w);
	mark(&w, 0, a, 10);
	tell_bound(&w, a, owner);
	mark(&w, 0, b, 5);
	f.n_producers = ARRAY_LEN(gone);
	f.producers = gone;
	tell(&w, ISOD__V1__RECORD__BODY_PRODUCERS_FORGOTTEN, &f);
	cr_expect_null(producer_of(&w, "a"));
	cr_expect_eq(producer_of(&w, "b")->upto, 5);
	tell_bound(&w, a, other);
	mark(&w, 0, a, 2);
	cr_expect_eq(producer_of(&w, "a")->upto, 2);
	cr_expect_str_eq(producer_of(&w, "a")->owner, "uid:2");
	state_release(&w.state);
}
