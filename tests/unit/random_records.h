/* An endless row of random ledger records that keep every desk busy, the same for the same seed: what a test feeds to
 * two states that must stay alike. */
#ifndef ISOD_TESTS_RANDOM_RECORDS_H
#define ISOD_TESTS_RANDOM_RECORDS_H

#include "records.h"

struct random_records {
	uint64_t seed;
	uint64_t now;
	uint64_t evidence[2]; /* by worker */
	uint64_t tallied[2];
	const struct state *state; /* commands and results are about what is in it */
};

static inline uint64_t random_below(struct random_records *r, uint64_t below)
{
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 7;
	r->seed ^= r->seed << 17;
	return (r->seed >> 11) % below;
}

static inline bool random_chance(struct random_records *r, unsigned percent)
{
	return random_below(r, 100) < percent;
}

#define RANDOM_TYPE(x) ISOD__V1__CORRELATION_TYPE__CORRELATION_##x

static inline Isod__V1__Correlation *random_correlation(struct random_records *r, unsigned n)
{
	static const char *const groupings[] = {"src_ip", "user", NULL};
	char id[16], rule[16];
	Isod__V1__CorrelationType type =
		(Isod__V1__CorrelationType)(1 + n % RANDOM_TYPE(FIRST_SEEN));

	snprintf(id, sizeof(id), "c%u", n);
	Isod__V1__Correlation *c = correlation_new(
		id, type, (1 + random_below(r, 40)) * NS_PER_MINUTE, groupings[random_below(r, 3)]);
	unsigned rules = type == RANDOM_TYPE(ABSENCE) ? 1 + n / 2 % 2 : 2;
	for (unsigned i = 0; i < rules; i++) {
		snprintf(rule, sizeof(rule), "r%u", (n + i) % 6);
		pb_add_text(&c->rules, &c->n_rules, rule);
	}
	if (random_chance(r, 20))
		pb_set_text(&c->rules[rules - 1], "c0"); /* a correlation of a correlation */
	if (type == RANDOM_TYPE(FIRST_SEEN) || type == RANDOM_TYPE(VALUE_COUNT))
		pb_set_text(&c->value_field, random_chance(r, 50) ? "user" : "src_ip");
	else if (type >= RANDOM_TYPE(VALUE_SUM) && type <= RANDOM_TYPE(VALUE_SHARE))
		pb_set_text(&c->value_field, "number");
	if (c->value_field[0] && type != RANDOM_TYPE(FIRST_SEEN)) {
		correlation_bound(c, ISOD__V1__COMPARISON__COMPARISON_GTE, 2);
		c->bounds[0]->value_milli = 900000;
	} else if (type == RANDOM_TYPE(EVENT_COUNT)) {
		correlation_bound(c, ISOD__V1__COMPARISON__COMPARISON_GTE, 3 + n % 10);
	}
	c->percentile_milli = 90000;
	c->silent = random_chance(r, 20);
	c->suppress_ns = random_chance(r, 30) ? 5 * NS_PER_MINUTE : 0;
	c->session_gap_ns = random_chance(r, 20) ? NS_PER_MINUTE : 0;
	c->learning_ns = random_chance(r, 20) ? 10 * NS_PER_MINUTE : 0;
	return c;
}

static inline Isod__V1__Record *random_record_new(Isod__V1__Record__BodyCase body)
{
	Isod__V1__Record *record = xmalloc(sizeof(*record));

	isod__v1__record__init(record);
	record->body_case = body;
	return record;
}

#define RANDOM_BODY(x) random_record_new(ISOD__V1__RECORD__BODY_##x)
/* A member of a record: an initialised message. */
#define RANDOM_NEW(at, name) ((at) = xmalloc(sizeof(*(at))), isod__v1__##name##__init(at), (void)0)

static inline Isod__V1__Record *random_settings(struct random_records *r)
{
	Isod__V1__Record *record = RANDOM_BODY(SETTINGS);
	uint64_t was = r->seed;

	record->settings = settings_new();
	record->settings->correlation_lateness_ns = random_below(r, 10) * NS_PER_MINUTE;
	record->settings->risk_half_life_ns = (1 + random_below(r, 24)) * NS_PER_HOUR;
	if (random_chance(r, 60)) {
		record->settings->incident_kept_ns = random_below(r, 120) * NS_PER_MINUTE;
		record->settings->incident_kept_max = random_below(r, 40);
		record->settings->incident_open_max = random_below(r, 60);
		record->settings->notification_kept_ns = random_below(r, 120) * NS_PER_MINUTE;
		record->settings->notification_kept_max = random_below(r, 100);
	}
	/* Most correlations stay as they are, so that their groups do. */
	r->seed = 4711;
	for (unsigned n = 0; n < 26; n++) {
		Isod__V1__Correlation *c = random_correlation(r, n);
		if ((was >> n) % 8 == 0)
			c->timespan_ns += NS_PER_SECOND;
		settings_correlation(record->settings, c);
	}
	r->seed = was;
	for (unsigned n = 0; n < 2; n++) {
		Isod__V1__Settings *s = record->settings;
		Isod__V1__Route **at = pb_add(&s->routes, &s->n_routes, sizeof(*at));
		RANDOM_NEW(*at, route);
		pb_set_text(&(*at)->name, n ? "all" : "worst");
		pb_set_text(&(*at)->plugin, "exec");
		(*at)->min_level = n ? LOW : CRIT;
		(*at)->attempts = 3;
		(*at)->backoff_ns = 20 * NS_PER_SECOND;
		(*at)->backoff_max_ns = NS_PER_MINUTE;
	}
	return record;
}

static inline Isod__V1__Record *random_match(struct random_records *r)
{
	Isod__V1__Record *record = RANDOM_BODY(MATCH);
	char rule[16], address[32], user[32], number[32];
	uint32_t worker = (uint32_t)random_below(r, 2);

	snprintf(rule, sizeof(rule), "r%u", (unsigned)random_below(r, 6));
	snprintf(address, sizeof(address), "192.0.2.%u", (unsigned)random_below(r, 12));
	snprintf(user, sizeof(user), "u%u", (unsigned)random_below(r, 9));
	snprintf(number, sizeof(number), "%d", (int)random_below(r, 2000) - 500);
	Isod__V1__Match *m =
		match_of(0, r->now, rule, (Isod__V1__Level)random_below(r, 6),
	                 random_chance(r, 80) ? address : NULL, random_chance(r, 60) ? user : NULL,
	                 random_chance(r, 70) ? "web1" : NULL);
	if (random_chance(r, 90))
		match_field_add(m, "number", number);
	m->evidence->worker = worker;
	m->evidence->sequence = r->evidence[worker] += random_below(r, 3);
	if (random_chance(r, 30))
		m->event_time_ns -= random_below(r, 600) * NS_PER_SECOND;
	else if (random_chance(r, 5))
		m->event_time_ns -= 40 * NS_PER_DAY;
	m->silent = random_chance(r, 15);
	if (random_chance(r, 30))
		pb_set_text(&m->outcome, "failure");
	pb_set_text(&m->summary, random_chance(r, 50) ? "something happened" : "");
	pb_add_text(&m->tags, &m->n_tags, random_chance(r, 50) ? "attack.t1110" : "attack.impact");
	record->match = m;
	return record;
}

static inline Isod__V1__Record *random_tally(struct random_records *r)
{
	Isod__V1__Record *record = RANDOM_BODY(TALLY);
	uint32_t worker = (uint32_t)random_below(r, 2);
	char source[32];

	RANDOM_NEW(record->tally, tally);
	Isod__V1__Tally *t = record->tally;
	t->worker = worker;
	t->upto = r->tallied[worker] = r->evidence[worker];
	Isod__V1__SourceCount **at = pb_add(&t->sources, &t->n_sources, sizeof(*at));
	RANDOM_NEW(*at, source_count);
	snprintf(source, sizeof(source), "tls/192.0.2.%u", (unsigned)random_below(r, 5));
	pb_set_text(&(*at)->source, source);
	(*at)->received = random_below(r, 100);
	(*at)->unmatched = (*at)->received;
	(*at)->refused = random_below(r, 2);
	(*at)->last_received_ns = r->now;
	(*at)->clock_skew_ns = (int64_t)random_below(r, 5) - 2;
	Isod__V1__ProducerMark **mark = pb_add(&t->producers, &t->n_producers, sizeof(*mark));
	RANDOM_NEW(*mark, producer_mark);
	pb_set_text(&(*mark)->producer, source);
	(*mark)->upto = random_below(r, 1000);
	return record;
}

static inline Isod__V1__Record *random_command(struct random_records *r)
{
	Isod__V1__Record *record = RANDOM_BODY(COMMAND);
	uint64_t incident = 1 + random_below(r, r->state->incident.count + 1);

	RANDOM_NEW(record->command, command);
	Isod__V1__Command *c = record->command;
	pb_set_text(&c->user, "ann");
	if (random_chance(r, 50)) {
		c->action_case = ISOD__V1__COMMAND__ACTION_ACKNOWLEDGE;
		RANDOM_NEW(c->acknowledge, acknowledge_incident);
		c->acknowledge->incident = incident;
	} else {
		c->action_case = ISOD__V1__COMMAND__ACTION_CLOSE;
		RANDOM_NEW(c->close, close_incident);
		c->close->incident = incident;
		c->close->disposition = (Isod__V1__Disposition)random_below(r, 5);
		pb_set_text(&c->close->note, "seen");
	}
	return record;
}

static inline Isod__V1__Record *random_result(struct random_records *r)
{
	Isod__V1__Record *record = RANDOM_BODY(PLUGIN_RESULT);
	const struct reporting_desk *d = &r->state->reporting;

	RANDOM_NEW(record->plugin_result, plugin_result);
	Isod__V1__PluginResult *p = record->plugin_result;
	p->outcome = (Isod__V1__PluginOutcome)(1 + random_below(r, 3));
	if (d->pending_count) {
		p->notification = d->pending[random_below(r, d->pending_count)];
		p->attempt = reporting_get(d, p->notification)->attempts;
	}
	pb_set_text(&p->detail, "as the plugin says");
	return record;
}

static inline Isod__V1__Record *random_started(struct random_records *r)
{
	Isod__V1__Record *record = RANDOM_BODY(STARTED);

	RANDOM_NEW(record->started, started);
	record->started->n_seeds = 2;
	record->started->seeds = xcalloc(2, sizeof(uint64_t));
	record->started->seeds[0] = random_below(r, UINT32_MAX);
	record->started->seeds[1] = random_below(r, UINT32_MAX);
	return record;
}

static inline Isod__V1__Record *random_refusal(void)
{
	Isod__V1__Record *record = RANDOM_BODY(REFUSAL);

	RANDOM_NEW(record->refusal, refusal);
	return record;
}

/* Somebody begins to use an id, or it is forgotten. */
static inline Isod__V1__Record *random_producer(struct random_records *r)
{
	bool bound = random_chance(r, 80);
	Isod__V1__Record *record =
		bound ? RANDOM_BODY(PRODUCER_BOUND) : RANDOM_BODY(PRODUCERS_FORGOTTEN);
	char producer[32];

	snprintf(producer, sizeof(producer), "tls/192.0.2.%u", (unsigned)random_below(r, 5));
	if (bound) {
		RANDOM_NEW(record->producer_bound, producer_bound);
		pb_set_text(&record->producer_bound->producer, producer);
		pb_set_text(&record->producer_bound->owner,
		            random_chance(r, 50) ? "uid:7" : "cert:relay");
	} else {
		RANDOM_NEW(record->producers_forgotten, producers_forgotten);
		pb_add_text(&record->producers_forgotten->producers,
		            &record->producers_forgotten->n_producers, producer);
	}
	return record;
}

static inline Isod__V1__Record *random_other(struct random_records *r)
{
	if (random_chance(r, 25))
		return random_producer(r);
	if (random_chance(r, 50)) {
		Isod__V1__Record *record = RANDOM_BODY(TICK);
		RANDOM_NEW(record->tick, tick);
		return record;
	}
	return random_refusal();
}

static inline void random_init(struct random_records *r, uint64_t seed, const struct state *state)
{
	*r = (struct random_records){
		.seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1, .now = T0, .state = state};
}

/* The next record and its time (r->now). Free with free_unpacked. The first two are settings and a start. */
static inline Isod__V1__Record *random_next(struct random_records *r)
{
	unsigned roll = (unsigned)random_below(r, 1000);

	if (!r->state->sequence)
		return random_settings(r);
	if (r->state->sequence == 1)
		return random_started(r);
	r->now += random_chance(r, 3) ? random_below(r, 30) * NS_PER_MINUTE
	                              : random_below(r, 20) * NS_PER_SECOND;
	return roll < 2     ? random_settings(r)
	       : roll < 6   ? random_started(r)
	       : roll < 100 ? random_tally(r)
	       : roll < 180 ? random_command(r)
	       : roll < 280 ? random_result(r)
	       : roll < 320 ? random_other(r)
	                    : random_match(r);
}

#endif
