#include "outside.h"

#include <string.h>

#define ANSWER_MAX_S 90 /* seconds a plugin may take */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The generator of one instant, or of one attempt. */
static struct random_records generator(const struct outside *o, uint64_t number)
{
	return (struct random_records){
		.seed = mix(o->seed + mix(number + 1)) | 1, .now = o->now, .state = o->state};
}

void outside_init(struct outside *o, uint64_t seed, const struct state *state)
{
	*o = (struct outside){
		.seed = mix(seed), .absences = seed % 4 == 0, .now = T0, .state = state};
}

void outside_release(struct outside *o)
{
	for (size_t i = 0; i < o->frame_count; i++)
		for (unsigned m = 0; m < o->frames[i].match_count; m++)
			isod__v1__record__free_unpacked(o->frames[i].matches[m], NULL);
	for (size_t i = 0; i < o->input_count; i++)
		if (o->inputs[i].record)
			isod__v1__record__free_unpacked(o->inputs[i].record, NULL);
	free(o->frames);
	free(o->inputs);
	free(o->deliveries);
}

static struct input *add_input(struct outside *o, enum input_kind kind)
{
	xgrow(&o->inputs, &o->input_cap, o->input_count + 1, sizeof(*o->inputs));
	o->inputs[o->input_count] = (struct input){.kind = kind};
	return &o->inputs[o->input_count++];
}

static void add_frame(struct outside *o, struct random_records *r)
{
	uint32_t worker = (uint32_t)random_below(r, WORKERS);

	xgrow(&o->frames, &o->frame_cap, o->frame_count + 1, sizeof(*o->frames));
	struct frame *f = &o->frames[o->frame_count];
	*f = (struct frame){
		.worker = worker, .sequence = ++o->sequences[worker], .received_ns = o->now};
	snprintf(f->source, sizeof(f->source), "tls/192.0.2.%u", (unsigned)random_below(r, 5));
	f->match_count = (unsigned)random_below(r, MATCHES_MAX + 1);
	for (unsigned i = 0; i < f->match_count; i++) {
		f->matches[i] = random_match(r);
		Isod__V1__Match *m = f->matches[i]->match;
		char rule[16];
		/* One rule holds once for one frame. */
		snprintf(rule, sizeof(rule), "r%u", i * 2 + (unsigned)random_below(r, 2));
		pb_set_text(&m->rule, rule);
		m->evidence->worker = worker;
		m->evidence->sequence = f->sequence;
	}
	add_input(o, INPUT_FRAME)->frame = o->frame_count++;
}

/* Whether something failed to come is judged anew after a start, on purpose (officer/correlate_watch.c): only some
 * worlds have such correlations, and their books may differ. */
static Isod__V1__Record *settings(const struct outside *o, struct random_records *r)
{
	Isod__V1__Record *record = random_settings(r);
	Isod__V1__Settings *s = record->settings;
	size_t kept = 0;

	for (size_t i = 0; i < s->n_correlations; i++)
		if (o->absences || s->correlations[i]->type != RANDOM_TYPE(ABSENCE))
			s->correlations[kept++] = s->correlations[i];
		else
			isod__v1__correlation__free_unpacked(s->correlations[i], NULL);
	s->n_correlations = kept;
	/* Which notifications leave memory is by when they came to their end, which a kill delays; and the books leave routes
	 * out once some have. So only these worlds have them leave. */
	if (!o->absences)
		s->notification_kept_ns = s->notification_kept_max = 0;
	return record;
}

void outside_step(struct outside *o)
{
	struct random_records r = generator(o, o->step);
	unsigned count = random_chance(&r, 80) ? 1 : 2 + (unsigned)random_below(&r, 4);

	for (size_t i = 0; i < o->input_count; i++)
		if (o->inputs[i].record)
			isod__v1__record__free_unpacked(o->inputs[i].record, NULL);
	o->input_count = 0;
	o->now += random_chance(&r, 3) ? random_below(&r, 30) * NS_PER_MINUTE
	                               : random_below(&r, 20) * NS_PER_SECOND;
	if (random_chance(&r, 1))
		o->now -= random_below(&r, 40) * NS_PER_MINUTE;
	r.now = o->now;
	if (o->step++ == 0 || random_below(&r, 1000) < 2)
		add_input(o, INPUT_RECORD)->record = settings(o, &r);
	for (unsigned i = 0; i < count; i++) {
		unsigned roll = (unsigned)random_below(&r, 100);
		if (roll < 75)
			add_frame(o, &r);
		else if (roll < 90)
			add_input(o, INPUT_TALLY)->worker = (uint32_t)random_below(&r, WORKERS);
		else if (roll < 98)
			add_input(o, INPUT_RECORD)->record = random_command(&r);
		else
			add_input(o, INPUT_RECORD)->record = random_refusal();
	}
}

Isod__V1__Record *outside_tally(struct outside *o, uint32_t worker, uint64_t upto)
{
	Isod__V1__Record *record;

	if (upto <= o->tallied[worker])
		return NULL;
	record = RANDOM_BODY(TALLY);
	RANDOM_NEW(record->tally, tally);
	Isod__V1__Tally *t = record->tally;
	t->worker = worker;
	t->upto = upto;
	/* The youngest frames are the last ones: what is not tallied yet is found from the end. */
	for (size_t i = o->frame_count; i-- > 0;) {
		const struct frame *f = &o->frames[i];
		if (f->worker != worker || f->sequence > upto)
			continue;
		if (f->sequence <= o->tallied[worker])
			break;
		Isod__V1__SourceCount **at = pb_add(&t->sources, &t->n_sources, sizeof(*at));
		RANDOM_NEW(*at, source_count);
		pb_set_text(&(*at)->source, f->source);
		(*at)->received = 1;
		(*at)->matched = f->match_count > 0;
		(*at)->unmatched = f->match_count == 0;
		(*at)->last_received_ns = f->received_ns;
	}
	o->tallied[worker] = upto;
	return record;
}

/* ---- plugins ---- */

void outside_notify(struct outside *o, const Isod__V1__Notification *n)
{
	struct random_records r = generator(o, mix(n->id) + n->attempts);
	struct delivery *d = NULL;

	for (size_t i = 0; i < o->delivery_count && !d; i++)
		if (o->deliveries[i].notification == n->id)
			d = &o->deliveries[i];
	if (!d) {
		xgrow(&o->deliveries, &o->delivery_cap, o->delivery_count + 1,
		      sizeof(*o->deliveries));
		d = &o->deliveries[o->delivery_count++];
		*d = (struct delivery){.notification = n->id,
		                       .due_ns = o->now +
		                                 random_below(&r, ANSWER_MAX_S) * NS_PER_SECOND};
	}
	d->attempt = n->attempts;
	d->lost = false;
}

uint64_t outside_next_answer(const struct outside *o)
{
	uint64_t next = NEVER;

	for (size_t i = 0; i < o->delivery_count; i++)
		if (!o->deliveries[i].lost && o->deliveries[i].due_ns < next)
			next = o->deliveries[i].due_ns;
	return next;
}

Isod__V1__Record *outside_answer(struct outside *o)
{
	uint64_t due = outside_next_answer(o);
	size_t at = 0;

	while (o->deliveries[at].lost || o->deliveries[at].due_ns != due)
		at++;
	struct delivery d = o->deliveries[at];
	memmove(o->deliveries + at, o->deliveries + at + 1,
	        (--o->delivery_count - at) * sizeof(*o->deliveries));
	struct random_records r = generator(o, mix(d.notification) ^ d.attempt);
	Isod__V1__Record *record = RANDOM_BODY(PLUGIN_RESULT);
	RANDOM_NEW(record->plugin_result, plugin_result);
	Isod__V1__PluginResult *p = record->plugin_result;
	p->notification = d.notification;
	p->attempt = d.attempt;
	p->outcome = random_chance(&r, 60)   ? ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_DELIVERED
	             : random_chance(&r, 80) ? ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_RETRY
	                                     : ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_FAILED;
	o->delivered += p->outcome == ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_DELIVERED;
	return record;
}

/* ---- the daemon dies and comes back ---- */

void outside_killed(struct outside *o)
{
	for (size_t i = 0; i < o->delivery_count; i++)
		o->deliveries[i].lost = true;
}

void outside_restarted(struct outside *o)
{
	for (uint32_t w = 0; w < WORKERS; w++)
		o->tallied[w] = w < o->state->cursor_count ? o->state->cursors[w].upto : 0;
	/* What was answered before the end and is in the ledger is not asked for again. */
	for (size_t i = 0; i < o->delivery_count;) {
		if (o->deliveries[i].lost)
			o->deliveries[i] = o->deliveries[--o->delivery_count];
		else
			i++;
	}
}
