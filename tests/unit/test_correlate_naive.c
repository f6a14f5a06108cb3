/* The engine against the plainest implementation of the same words: random matches of a few groups and rules, out of
 * order and late, through every type that looks at windows. Nothing is pruned, indexed or remembered in the plain one. */
#include "steps.h"

#include "officer/correlate.h"

#define TYPE(x) ISOD__V1__CORRELATION_TYPE__CORRELATION_##x
#define CMP(x)  ISOD__V1__COMPARISON__COMPARISON_##x
#define OP(x)   ISOD__V1__CONDITION_OPERATOR__CONDITION_##x

#define GROUPS  3
#define RULES   3
#define ENTRIES 4000

static uint64_t seed;

static uint64_t roll(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

/* ---- the plain one ---- */

struct plain_entry {
	uint64_t time;
	int64_t milli;
	int value, rule;
};

struct plain_group {
	struct plain_entry entries[ENTRIES];
	size_t count;
	uint64_t newest, quiet;
	bool any;
};

static struct plain {
	const Isod__V1__Correlation *def;
	uint64_t lateness;
	bool (*condition)(const bool *chosen, const bool *seen); /* in words */
	struct plain_group groups[GROUPS];
	uint64_t late, suppressed;
} plain;

static bool compare(Isod__V1__Comparison how, __int128 a, __int128 b)
{
	return how == CMP(GTE)   ? a >= b
	       : how == CMP(GT)  ? a > b
	       : how == CMP(LTE) ? a <= b
	       : how == CMP(LT)  ? a < b
	       : how == CMP(EQ)  ? a == b
	                         : a != b;
}

static bool counted(size_t n)
{
	for (size_t i = 0; i < plain.def->n_bounds; i++)
		if (!compare(plain.def->bounds[i]->comparison, n, plain.def->bounds[i]->value))
			return false;
	return true;
}

static bool measured(__int128 sum, size_t parts)
{
	for (size_t i = 0; i < plain.def->n_bounds; i++)
		if (!compare(plain.def->bounds[i]->comparison, sum,
		             (__int128)plain.def->bounds[i]->value_milli * (int64_t)parts))
			return false;
	return true;
}

static int by_milli(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static bool plain_number(const struct plain_entry *e, size_t n)
{
	static int64_t sorted[ENTRIES];
	__int128 sum = 0;

	for (size_t i = 0; i < n; i++) {
		sorted[i] = e[i].milli;
		sum += e[i].milli;
	}
	qsort(sorted, n, sizeof(*sorted), by_milli);
	switch (plain.def->type) {
	case TYPE(VALUE_SUM): return measured(sum, 1);
	case TYPE(VALUE_AVG): return measured(sum, n);
	case TYPE(VALUE_MIN): return measured(sorted[0], 1);
	case TYPE(VALUE_MAX): return measured(sorted[n - 1], 1);
	case TYPE(VALUE_MEDIAN):
		return n % 2 ? measured(sorted[n / 2], 1)
		             : measured((__int128)sorted[n / 2 - 1] + sorted[n / 2], 2);
	default: break;
	}
	size_t rank = 1;
	while (rank * 100000 < n * plain.def->percentile_milli)
		rank++;
	return measured(sorted[rank - 1], 1);
}

static bool in_order(const struct plain_entry *e, size_t n, unsigned set)
{
	size_t at = 0;

	for (int rule = 0; rule < RULES; rule++) {
		if (!(set >> rule & 1))
			continue;
		while (at < n && e[at].rule != rule)
			at++;
		if (at++ >= n)
			return false;
	}
	return true;
}

static bool plain_rules(const struct plain_entry *e, size_t n)
{
	bool seen[RULES] = {false};
	size_t distinct = 0, longest = 0;

	for (size_t i = 0; i < n; i++) {
		distinct += !seen[e[i].rule];
		seen[e[i].rule] = true;
	}
	if (plain.def->type == TYPE(TEMPORAL)) {
		if (plain.condition)
			return plain.condition(seen, seen);
		return plain.def->n_bounds ? counted(distinct) : distinct == RULES;
	}
	for (unsigned set = 0; set < 1 << RULES; set++) {
		bool chosen[RULES];
		size_t size = 0;
		for (int r = 0; r < RULES; r++)
			size += chosen[r] = set >> r & 1;
		if (!in_order(e, n, set))
			continue;
		if (set && plain.condition && plain.condition(chosen, seen))
			return true;
		longest = size > longest ? size : longest;
	}
	if (plain.condition)
		return false;
	return plain.def->n_bounds ? counted(longest) : longest == RULES;
}

static bool plain_window(const struct plain_entry *e, size_t n)
{
	size_t distinct = 0;

	switch (plain.def->type) {
	case TYPE(EVENT_COUNT): return counted(n);
	case TYPE(VALUE_COUNT):
		for (size_t i = 0; i < n; i++) {
			bool again = false;
			for (size_t j = 0; j < i; j++)
				again |= e[j].value == e[i].value;
			distinct += !again;
		}
		return counted(distinct);
	case TYPE(TEMPORAL):
	case TYPE(TEMPORAL_ORDERED): return plain_rules(e, n);
	default: return plain_number(e, n);
	}
}

/* The window that holds, as [*from, *to), or false. */
static bool plain_holds(const struct plain_group *g, size_t at, size_t *from, size_t *to)
{
	uint64_t span = plain.def->timespan_ns;
	const struct plain_entry *e = g->entries;

	if (plain.def->session_gap_ns) {
		for (*from = 0;; *from = *to) {
			for (*to = *from + 1; *to < g->count; (*to)++)
				if (e[*to].time - e[*to - 1].time > plain.def->session_gap_ns ||
				    e[*to].time - e[*from].time > span)
					break;
			if (at < *to)
				return plain_window(e + *from, *to - *from);
		}
	}
	for (size_t end = at; end < g->count && e[end].time - e[at].time <= span; end++) {
		if (end + 1 < g->count && e[end + 1].time == e[end].time)
			continue;
		size_t same = 0;
		for (*from = 0; e[*from].time + span < e[end].time; (*from)++)
			;
		*to = end + 1;
		for (size_t i = *from; i < *to; i++)
			same += e[i].value == e[at].value;
		if (plain.def->type == TYPE(VALUE_SHARE))
			return measured((__int128)same * 100000, *to - *from);
		if (plain_window(e + *from, *to - *from))
			return true;
	}
	return false;
}

/* How many entries the window that now holds has; 0 when none does. */
static size_t plain_feed(int group, struct plain_entry e)
{
	struct plain_group *g = &plain.groups[group];
	size_t at = g->count, from, to;

	if (g->any && g->newest > plain.lateness && e.time < g->newest - plain.lateness) {
		plain.late++;
		return 0;
	}
	if (e.time < g->quiet) {
		plain.suppressed++;
		return 0;
	}
	cr_assert_lt(g->count, ENTRIES);
	while (at > 0 && g->entries[at - 1].time > e.time)
		at--;
	memmove(g->entries + at + 1, g->entries + at, (g->count - at) * sizeof(e));
	g->entries[at] = e;
	g->count++;
	g->newest = e.time > g->newest ? e.time : g->newest;
	g->any = true;
	if (!plain_holds(g, at, &from, &to))
		return 0;
	uint64_t end = g->entries[to - 1].time;
	g->count = 0;
	if (plain.def->suppress_ns)
		g->quiet = end + plain.def->suppress_ns;
	else
		*g = (struct plain_group){0};
	return to - from;
}

/* ---- definitions at random ---- */

static const char *const rule_names[RULES] = {"a", "b", "c"};

static void add_step(Isod__V1__Correlation *c, Isod__V1__ConditionOperator op, uint32_t n,
                     bool negated)
{
	Isod__V1__ConditionStep **at = pb_add(&c->condition, &c->n_condition, sizeof(*at));

	*at = xmalloc(sizeof(**at));
	isod__v1__condition_step__init(*at);
	(*at)->operator_ = op;
	(*at)->negated = negated;
	if (op == OP(RULE))
		(*at)->rule = n;
	else
		(*at)->count = n;
	(*at)->need = 2;
}

static bool a_and_b_not_c(const bool *chosen, const bool *seen)
{
	return chosen[0] && chosen[1] && !seen[2];
}

static bool a_or_both(const bool *chosen, const bool *seen)
{
	(void)seen;
	return chosen[0] || (chosen[1] && chosen[2]);
}

static bool two_of_them(const bool *chosen, const bool *seen)
{
	(void)seen;
	return chosen[0] + chosen[1] + chosen[2] >= 2;
}

static void random_words(Isod__V1__Correlation *c)
{
	static bool (*const conditions[])(const bool *, const bool *) = {a_and_b_not_c, a_or_both,
	                                                                 two_of_them};
	uint64_t which = roll(ARRAY_LEN(conditions));

	plain.condition = conditions[which];
	add_step(c, OP(RULE), 0, false);
	add_step(c, OP(RULE), 1, false);
	add_step(c, OP(RULE), 2, which == 0);
	if (which == 0) {
		add_step(c, OP(NOT), 1, false);
		add_step(c, OP(AND), 3, false);
	} else if (which == 1) {
		add_step(c, OP(AND), 2, false);
		add_step(c, OP(OR), 2, false);
	} else {
		add_step(c, OP(AT_LEAST), 3, false);
	}
}

static void random_bounds(Isod__V1__Correlation *c)
{
	for (uint64_t n = 1 + (roll(4) == 0); n; n--) {
		correlation_bound(c, (Isod__V1__Comparison)(1 + roll(6)), 1 + roll(8));
		Isod__V1__Bound *b = c->bounds[c->n_bounds - 1];
		if (c->type == TYPE(VALUE_SHARE))
			b->value_milli = (int64_t)roll(100000);
		else
			b->value_milli = ((int64_t)roll(200) - 40) *
			                 (c->type == TYPE(VALUE_SUM) ? 500 : 100);
	}
}

static Isod__V1__Correlation *random_correlation(void)
{
	static const Isod__V1__CorrelationType types[] = {
		TYPE(EVENT_COUNT), TYPE(VALUE_COUNT),      TYPE(TEMPORAL),
		TYPE(TEMPORAL),    TYPE(TEMPORAL_ORDERED), TYPE(TEMPORAL_ORDERED),
		TYPE(VALUE_SUM),   TYPE(VALUE_AVG),        TYPE(VALUE_MIN),
		TYPE(VALUE_MAX),   TYPE(VALUE_MEDIAN),     TYPE(VALUE_PERCENTILE),
		TYPE(VALUE_SHARE),
	};
	Isod__V1__CorrelationType type = types[roll(ARRAY_LEN(types))];
	Isod__V1__Correlation *c =
		correlation_new("corr", type, (2 + roll(20)) * NS_PER_SECOND, roll(4) ? "g" : NULL);
	bool temporal = type == TYPE(TEMPORAL) || type == TYPE(TEMPORAL_ORDERED);

	for (size_t i = 0; i < RULES; i++)
		pb_add_text(&c->rules, &c->n_rules, rule_names[i]);
	plain.condition = NULL;
	if (temporal && roll(2))
		random_words(c);
	else if (!temporal || roll(2))
		random_bounds(c);
	if (!temporal && type != TYPE(EVENT_COUNT))
		pb_set_text(&c->value_field, "v");
	c->percentile_milli = 1 + roll(100000);
	if (type != TYPE(VALUE_SHARE) && roll(4) == 0)
		c->session_gap_ns = 1 + roll(c->timespan_ns);
	if (roll(4) == 0)
		c->suppress_ns = (1 + roll(10)) * NS_PER_SECOND;
	return c;
}

/* ---- both ---- */

static uint64_t fired, late, suppressed; /* in all rounds: that there is something to compare */

static void run(uint64_t round)
{
	static const struct effects none;
	Isod__V1__Settings *s = settings_new();
	struct correlate *engine = correlate_new();
	uint64_t now = T0;

	seed = 88172645463325252u + round * 7919;
	for (int i = 0; i < 10; i++)
		roll(2);
	memset(&plain, 0, sizeof(plain));
	settings_correlation(s, random_correlation());
	plain.def = s->correlations[0];
	plain.lateness = (1 + roll(8)) * NS_PER_SECOND;
	s->correlation_skew_ns = NS_PER_MINUTE;
	s->correlation_lateness_ns = plain.lateness;
	correlate_settings(engine, s);
	for (int i = 0; i < 400; i++) {
		struct world w = {.now = now, .evidence = (uint64_t)i};
		struct plain_entry e = {.rule = (int)roll(RULES), .value = (int)roll(6)};
		int group = plain.def->n_group_by ? (int)roll(GROUPS) : 0;
		Isod__V1__Match *m = match_new(&w, rule_names[e.rule], LOW, NULL, NULL, NULL);
		const Isod__V1__Match *const *ret;
		const struct step step = {.time_ns = now, .settings = s, .effects = &none};
		char text[32];

		now += roll(5) ? roll(3 * NS_PER_SECOND) : 0;
		if (roll(60) == 0)
			now += roll(200 * NS_PER_SECOND); /* long enough for groups to be dropped */
		e.time = now;
		if (roll(3) == 0)
			e.time -= roll(12 * NS_PER_SECOND) / NS_PER_SECOND * NS_PER_SECOND;
		e.milli = (e.value - 1) * 700;
		snprintf(text, sizeof(text), "%s%d.%d", e.milli < 0 ? "-" : "",
		         abs((int)e.milli) / 1000, abs((int)e.milli) % 1000 / 100);
		match_field_add(m, "v", text);
		snprintf(text, sizeof(text), "group %d", group);
		match_field_add(m, "g", text);
		m->event_time_ns = e.time;
		m->received_ns = now;
		const Isod__V1__Match *ahead = m;
		if (i % 3 == 0) /* changes nothing */
			correlate_prefetch(engine, &ahead, 1);
		size_t expected = plain_feed(group, e),
		       got = correlate_on_match(engine, &step, m, &ret);
		cr_assert_eq(got, expected > 0, "round %llu, match %d: type %d fired %zu",
		             (unsigned long long)round, i, plain.def->type, got);
		if (expected)
			cr_assert_eq(ret[0]->n_contributing, expected > 100 ? 100 : expected,
			             "round %llu, match %d: type %d of %zu, not %zu",
			             (unsigned long long)round, i, plain.def->type,
			             ret[0]->n_contributing, expected);
		fired += got;
		match_free(m);
	}
	cr_assert_eq(correlate_counts(engine)->late, plain.late, "round %llu",
	             (unsigned long long)round);
	cr_assert_eq(correlate_counts(engine)->suppressed, plain.suppressed);
	cr_assert_eq(correlate_counts(engine)->dropped, 0);
	late += plain.late;
	suppressed += plain.suppressed;
	correlate_free(engine);
	isod__v1__settings__free_unpacked(s, NULL);
}

Test(correlate_naive, every_type_agrees_with_the_plain_one, .timeout = 300)
{
	for (uint64_t round = 0; round < 1500; round++)
		run(round);
	cr_assert_gt(fired, 10000);
	cr_assert_gt(late, 10000);
	cr_assert_gt(suppressed, 1000);
}
