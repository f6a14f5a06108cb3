/* An event that arrives in order is the newest: one window ends with it. One that arrives late is in every window that
 * ends with an entry up to a timespan behind it: those are swept, entries joining on the right and leaving on the left,
 * so that sums and counts cost a step each. Numbers are thousandths in 64 bits, sums of them in 128: nothing rounds,
 * nothing overflows, and averages are compared by multiplying the bound instead of dividing the sum. */
#include "officer/correlate_window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sigma/rules.h"

#define TALLIES_MIN 64
#define ENDS_MAX                                                                                   \
	100 /* windows tried for one late event where each costs a walk; its own is the first */
#define CORRELATION_ORDERED_MAX 8 /* of an ordered condition in words: the loader refuses more */
#define EXPONENT_MAX            1000000 /* no frame has as many digits to make up for it */

typedef __int128 wide;

#define TYPE(x) ISOD__V1__CORRELATION_TYPE__CORRELATION_##x
#define OP(x)   ISOD__V1__CONDITION_OPERATOR__CONDITION_##x

/* ---- scratch ---- */

void window_scratch_release(struct window_scratch *s)
{
	free(s->tallies);
	free(s->rules);
	free(s->stack);
	*s = (struct window_scratch){0};
}

void window_scratch_reserve(struct window_scratch *s, const Isod__V1__Correlation *def)
{
	xgrow(&s->rules, &s->rules_cap, def->n_rules + 1, sizeof(*s->rules));
	xgrow(&s->stack, &s->stack_cap, def->n_condition + 1, sizeof(*s->stack));
}

static void tallies_clear(struct window_scratch *s, uint32_t count)
{
	size_t want = s->tally_size ? s->tally_size : TALLIES_MIN;

	while (want < (size_t)count * 2)
		want *= 2;
	if (want != s->tally_size) {
		s->tallies = xrealloc(s->tallies, want * sizeof(*s->tallies));
		s->tally_size = want;
	}
	memset(s->tallies, 0, want * sizeof(*s->tallies));
}

/* The tally of that value, or the free one for it. Values are seeded hashes: their low bits are as good as any. Emptied
 * tallies stay where they are, so that no chain breaks; there is room for every value of the sweep. */
static struct tally *tally_of(struct window_scratch *s, uint64_t value)
{
	size_t i = value & (s->tally_size - 1);

	while (s->tallies[i].value != value && (s->tallies[i].value || s->tallies[i].count))
		i = (i + 1) & (s->tally_size - 1);
	s->tallies[i].value = value;
	return &s->tallies[i];
}

/* ---- bounds ---- */

static bool compares(Isod__V1__Comparison comparison, wide a, wide b)
{
	switch (comparison) {
	case ISOD__V1__COMPARISON__COMPARISON_GTE: return a >= b;
	case ISOD__V1__COMPARISON__COMPARISON_GT: return a > b;
	case ISOD__V1__COMPARISON__COMPARISON_LTE: return a <= b;
	case ISOD__V1__COMPARISON__COMPARISON_LT: return a < b;
	case ISOD__V1__COMPARISON__COMPARISON_EQ: return a == b;
	case ISOD__V1__COMPARISON__COMPARISON_NEQ: return a != b;
	default: return false;
	}
}

static bool count_holds(const Isod__V1__Correlation *def, uint64_t n)
{
	for (size_t i = 0; i < def->n_bounds; i++)
		if (!compares(def->bounds[i]->comparison, n, def->bounds[i]->value))
			return false;
	return def->n_bounds > 0;
}

/* The number is the fraction sum / parts. */
static bool number_holds(const Isod__V1__Correlation *def, wide sum, uint32_t parts,
                         struct window_span *ret)
{
	for (size_t i = 0; i < def->n_bounds; i++)
		if (!compares(def->bounds[i]->comparison, sum,
		              (wide)def->bounds[i]->value_milli * parts))
			return false;
	wide milli = sum / parts;
	ret->milli = milli > INT64_MAX ? INT64_MAX : milli < INT64_MIN ? INT64_MIN : (int64_t)milli;
	return def->n_bounds > 0;
}

/* ---- a sweep: what moves along the entries ---- */

struct sweep {
	const Isod__V1__Correlation *def;
	struct window_scratch *scratch;
	const struct entry *entries;
	uint32_t from, to; /* the window: [from, to) */
	wide sum;
	uint64_t distinct;
};

static void sum_move(struct sweep *w, const struct entry *e, int sign)
{
	w->sum += (wide)(int64_t)e->value * sign;
}

static void value_move(struct sweep *w, const struct entry *e, int sign)
{
	struct tally *t = tally_of(w->scratch, e->value);

	if (sign > 0)
		w->distinct += t->count++ == 0;
	else
		w->distinct -= --t->count == 0;
}

static void rule_move(struct sweep *w, const struct entry *e, int sign)
{
	uint32_t *n = &w->scratch->rules[e->value];

	if (sign > 0)
		w->distinct += (*n)++ == 0;
	else
		w->distinct -= --*n == 0;
}

static bool event_count(struct sweep *w, struct window_span *ret)
{
	ret->count = w->to - w->from;
	return count_holds(w->def, ret->count);
}

static bool value_count(struct sweep *w, struct window_span *ret)
{
	ret->count = w->distinct;
	return count_holds(w->def, ret->count);
}

static bool value_sum(struct sweep *w, struct window_span *ret)
{
	return number_holds(w->def, w->sum, 1, ret);
}

static bool value_avg(struct sweep *w, struct window_span *ret)
{
	return number_holds(w->def, w->sum, w->to - w->from, ret);
}

static bool value_extreme(struct sweep *w, struct window_span *ret)
{
	bool largest = w->def->type == TYPE(VALUE_MAX);
	int64_t best = (int64_t)w->entries[w->from].value;

	for (uint32_t i = w->from + 1; i < w->to; i++) {
		int64_t v = (int64_t)w->entries[i].value;
		if (largest ? v > best : v < best)
			best = v;
	}
	return number_holds(w->def, best, 1, ret);
}

static uint32_t count_up_to(const struct sweep *w, int64_t limit)
{
	uint32_t n = 0;

	for (uint32_t i = w->from; i < w->to; i++)
		n += (int64_t)w->entries[i].value <= limit;
	return n;
}

/* The value of that rank, from 1, by halving the range that it can be in: 64 walks at most, whatever the values. */
static int64_t value_ranked(const struct sweep *w, uint32_t rank)
{
	int64_t low = INT64_MAX, high = INT64_MIN;

	for (uint32_t i = w->from; i < w->to; i++) {
		int64_t v = (int64_t)w->entries[i].value;
		low = v < low ? v : low;
		high = v > high ? v : high;
	}
	while (low < high) {
		int64_t middle = (int64_t)(low + ((wide)high - low) / 2);
		if (count_up_to(w, middle) >= rank)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool value_median(struct sweep *w, struct window_span *ret)
{
	uint32_t n = w->to - w->from;
	wide low = value_ranked(w, (n + 1) / 2);

	return number_holds(w->def, n % 2 ? low * 2 : low + value_ranked(w, n / 2 + 1), 2, ret);
}

/* Nearest rank: the smallest value that so many per cent of all do not exceed. */
static bool value_percentile(struct sweep *w, struct window_span *ret)
{
	uint64_t n = w->to - w->from, whole = 100000;
	uint64_t rank = (n * w->def->percentile_milli + whole - 1) / whole;

	return number_holds(w->def, value_ranked(w, (uint32_t)(rank ? rank : 1)), 1, ret);
}

/* ---- conditions over rules ---- */

/* `chosen`: the rules that a rule not below `not` may be; NULL: those of the window. */
static bool condition_holds(const struct sweep *w, const uint32_t *chosen)
{
	const uint32_t *seen = w->scratch->rules;
	bool *stack = w->scratch->stack;
	size_t top = 0;

	for (size_t i = 0; i < w->def->n_condition; i++) {
		const Isod__V1__ConditionStep *step = w->def->condition[i];
		uint32_t count = step->operator_ == OP(NOT) ? 1 : step->count, held = 0;
		if (step->operator_ == OP(RULE)) {
			bool in = chosen && !step->negated ? *chosen >> step->rule & 1
			                                   : seen[step->rule] > 0;
			stack[top++] = in;
			continue;
		}
		if (count == 0 || count > top)
			return false; /* no loader writes such a one */
		top -= count;
		for (uint32_t k = 0; k < count; k++)
			held += stack[top + k];
		switch (step->operator_) {
		case OP(NOT): stack[top++] = !held; break;
		case OP(AND): stack[top++] = held == count; break;
		case OP(OR): stack[top++] = held > 0; break;
		case OP(AT_LEAST): stack[top++] = held >= step->need; break;
		default: return false;
		}
	}
	return top == 1 && stack[0];
}

static bool temporal(struct sweep *w, struct window_span *ret)
{
	ret->count = w->distinct;
	if (w->def->n_condition)
		return condition_holds(w, NULL);
	return w->def->n_bounds ? count_holds(w->def, w->distinct) : w->distinct == w->def->n_rules;
}

/* The most rules that follow each other in the listed order: the longest rising run of their places. For each length
 * the lowest place that ends one is enough to know. */
static uint64_t longest_order(const struct sweep *w)
{
	uint32_t *ends = w->scratch->rules;
	size_t length = 0;

	for (uint32_t i = w->from; i < w->to && length < w->def->n_rules; i++) {
		uint32_t rule = (uint32_t)w->entries[i].value;
		size_t low = 0, high = length;
		while (low < high) {
			size_t middle = (low + high) / 2;
			if (ends[middle] < rule)
				low = middle + 1;
			else
				high = middle;
		}
		ends[low] = rule;
		length += low == length;
	}
	return length;
}

/* Every set of rules that occur in the listed order, as bits; a set of rules below `rule` is a number below its bit. */
static bool ordered_condition(struct sweep *w)
{
	bool reached[1 << CORRELATION_ORDERED_MAX] = {true};
	unsigned changes = 1, looked[CORRELATION_ORDERED_MAX] = {0};

	memset(w->scratch->rules, 0, w->def->n_rules * sizeof(*w->scratch->rules));
	for (uint32_t i = w->from; i < w->to; i++) {
		uint32_t rule = (uint32_t)w->entries[i].value;
		w->scratch->rules[rule]++;
		if (rule >= CORRELATION_ORDERED_MAX || looked[rule] == changes)
			continue; /* nothing is new since it was looked at */
		for (uint32_t set = 0; set < 1u << rule; set++) {
			if (!reached[set] || reached[set | 1u << rule])
				continue;
			reached[set | 1u << rule] = true;
			changes++;
		}
		looked[rule] = changes;
	}
	for (uint32_t set = 1; set < ARRAY_LEN(reached); set++)
		if (reached[set] && condition_holds(w, &set))
			return true;
	return false;
}

static bool temporal_ordered(struct sweep *w, struct window_span *ret)
{
	if (w->def->n_condition) {
		ret->count = w->to - w->from;
		return ordered_condition(w);
	}
	ret->count = longest_order(w);
	return w->def->n_bounds ? count_holds(w->def, ret->count) : ret->count == w->def->n_rules;
}

/* ---- types ---- */

static const struct type {
	bool (*holds)(struct sweep *w, struct window_span *ret);
	void (*move)(struct sweep *w, const struct entry *e, int sign); /* NULL: it keeps nothing */
	bool walks;   /* `holds` looks at every entry of the window */
	bool numeric; /* entries' values are numbers */
} types[] = {
	[TYPE(EVENT_COUNT)] = {event_count, NULL, false, false},
	[TYPE(VALUE_COUNT)] = {value_count, value_move, false, false},
	[TYPE(TEMPORAL)] = {temporal, rule_move, false, false},
	[TYPE(TEMPORAL_ORDERED)] = {temporal_ordered, NULL, true, false},
	[TYPE(VALUE_SUM)] = {value_sum, sum_move, false, true},
	[TYPE(VALUE_AVG)] = {value_avg, sum_move, false, true},
	[TYPE(VALUE_MIN)] = {value_extreme, NULL, true, true},
	[TYPE(VALUE_MAX)] = {value_extreme, NULL, true, true},
	[TYPE(VALUE_MEDIAN)] = {value_median, NULL, true, true},
	[TYPE(VALUE_PERCENTILE)] = {value_percentile, NULL, true, true},
};

bool window_is_numeric(Isod__V1__CorrelationType type)
{
	return (unsigned)type < ARRAY_LEN(types) && types[type].numeric;
}

static void sweep_begin(struct sweep *w, const struct type *type, uint32_t count)
{
	if (type->move == value_move)
		tallies_clear(w->scratch, count);
	else if (type->move == rule_move)
		memset(w->scratch->rules, 0, w->def->n_rules * sizeof(*w->scratch->rules));
}

static void sweep_to(struct sweep *w, const struct type *type, uint32_t from, uint32_t to)
{
	if (!type->move) {
		w->from = from;
		w->to = to;
		return;
	}
	while (w->to < to)
		type->move(w, &w->entries[w->to++], 1);
	while (w->from < from)
		type->move(w, &w->entries[w->from++], -1);
}

/* ---- stretches of the timespan ---- */

/* The first entry from `time_ns` on. */
static uint32_t first_from(const struct entry *entries, uint32_t count, uint64_t time_ns)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (entries[middle].time_ns < time_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* More values can only make it hold, and this entry brings none. */
static bool adds_nothing(const struct sweep *w, uint32_t from, uint32_t at)
{
	for (size_t i = 0; i < w->def->n_bounds; i++)
		if (w->def->bounds[i]->comparison != ISOD__V1__COMPARISON__COMPARISON_GTE &&
		    w->def->bounds[i]->comparison != ISOD__V1__COMPARISON__COMPARISON_GT)
			return false;
	for (uint32_t i = at; i > from; i--)
		if (w->entries[i - 1].value == w->entries[at].value)
			return true;
	return false;
}

static bool stretch_holds(struct sweep *w, const struct type *type, uint32_t count, uint32_t at,
                          struct window_span *ret)
{
	uint64_t span = w->def->timespan_ns, own = w->entries[at].time_ns;
	uint32_t from = first_from(w->entries, count, minus(own, span)), ends = 0;

	if (w->def->type == TYPE(VALUE_COUNT) && at + 1 == count && adds_nothing(w, from, at))
		return false;
	w->from = w->to = from;
	sweep_begin(w, type, count - from);
	for (uint32_t j = at; j < count && w->entries[j].time_ns - own <= span; j++) {
		if (j + 1 < count && w->entries[j + 1].time_ns == w->entries[j].time_ns)
			continue; /* a window ends behind all of one time */
		while (w->entries[from].time_ns < minus(w->entries[j].time_ns, span))
			from++;
		sweep_to(w, type, from, j + 1);
		if (type->holds(w, ret)) {
			ret->from = from;
			ret->to = j + 1;
			return true;
		}
		if (type->walks && ++ends == ENDS_MAX)
			break;
	}
	return false;
}

/* What part of all the window's values the entry's own is, in per cent. Only its own window can tell. */
static bool share_holds(const struct sweep *w, uint32_t count, uint32_t at, struct window_span *ret)
{
	uint64_t own = w->entries[at].time_ns;
	uint32_t same = 0, from = first_from(w->entries, count, minus(own, w->def->timespan_ns));
	uint32_t to = at + 1;

	while (to < count && w->entries[to].time_ns == own)
		to++;
	for (uint32_t i = from; i < to; i++)
		same += w->entries[i].value == w->entries[at].value;
	ret->from = from;
	ret->to = to;
	return number_holds(w->def, (wide)same * 100000, to - from, ret);
}

/* ---- sessions ---- */

/* The end of the session that begins at `from`: it grows while entries come within the gap, up to the timespan. */
static uint32_t session_end(const Isod__V1__Correlation *def, const struct entry *e, uint32_t count,
                            uint32_t from)
{
	uint32_t i = from + 1;

	while (i < count && e[i].time_ns - e[i - 1].time_ns <= def->session_gap_ns &&
	       e[i].time_ns - e[from].time_ns <= def->timespan_ns)
		i++;
	return i;
}

static bool session_holds(struct sweep *w, const struct type *type, uint32_t count, uint32_t at,
                          struct window_span *ret)
{
	uint32_t from = 0, to = session_end(w->def, w->entries, count, 0);

	while (to <= at) {
		from = to;
		to = session_end(w->def, w->entries, count, from);
	}
	w->from = w->to = from;
	sweep_begin(w, type, to - from);
	sweep_to(w, type, from, to);
	ret->from = from;
	ret->to = to;
	return type->holds(w, ret);
}

/* ---- from outside ---- */

bool window_holds(const Isod__V1__Correlation *def, struct window_scratch *s,
                  const struct entry *entries, uint32_t count, uint32_t at, struct window_span *ret)
{
	struct sweep w = {.def = def, .scratch = s, .entries = entries};

	*ret = (struct window_span){0};
	if (def->type == TYPE(VALUE_SHARE))
		return share_holds(&w, count, at, ret);
	if ((unsigned)def->type >= ARRAY_LEN(types) || !types[def->type].holds)
		return false;
	if (def->session_gap_ns)
		return session_holds(&w, &types[def->type], count, at, ret);
	return stretch_holds(&w, &types[def->type], count, at, ret);
}

/* A session is stale as a whole, when nothing can join it. */
uint32_t window_stale(const Isod__V1__Correlation *def, const struct entry *entries, uint32_t count,
                      uint64_t watermark_ns)
{
	uint32_t from = 0;

	if (!def->session_gap_ns)
		return first_from(entries, count, minus(watermark_ns, def->timespan_ns));
	while (from < count) {
		uint32_t to = session_end(def, entries, count, from);
		if (entries[to - 1].time_ns >= minus(watermark_ns, def->session_gap_ns))
			break;
		from = to;
	}
	return from;
}

/* ---- numbers ---- */

struct digits {
	wide value; /* of the digits so far, up to what cannot matter any more */
	int scale;  /* value × 10^scale */
	bool any;
};

static struct str read_digits(struct str text, bool fraction, struct digits *d)
{
	for (; text.n && text.p[0] >= '0' && text.p[0] <= '9'; text = str_skip(text, 1)) {
		d->any = true;
		if (d->value < (wide)1 << 100) {
			d->value = d->value * 10 + (text.p[0] - '0');
			d->scale -= fraction;
		} else {
			d->scale += !fraction;
		}
	}
	return text;
}

static int read_exponent(struct str text, int *ret)
{
	struct str digits = str_skip(text, 1);
	bool negative = digits.n && digits.p[0] == '-';
	uint64_t n;

	if (digits.n && (digits.p[0] == '-' || digits.p[0] == '+'))
		digits = str_skip(digits, 1);
	int r = str_to_u64(digits, &n);
	if (r < 0 && r != -ERANGE)
		return r;
	if (r < 0 || n > EXPONENT_MAX)
		n = EXPONENT_MAX;
	*ret = negative ? -(int)n : (int)n;
	return 0;
}

static int scaled(struct digits d, bool negative, int64_t *ret)
{
	const wide limit = negative ? (wide)1 << 63 : INT64_MAX;

	for (; d.scale > 0 && d.value && d.value <= limit; d.scale--)
		d.value *= 10;
	for (; d.scale < -1 && d.value; d.scale++)
		d.value /= 10; /* the last digit that goes decides the rounding */
	if (d.scale == -1)
		d.value = (d.value + 5) / 10;
	if (d.value > limit) {
		*ret = negative ? INT64_MIN : INT64_MAX;
		return -ERANGE;
	}
	*ret = (int64_t)(negative ? -d.value : d.value);
	return 0;
}

int window_number(struct str text, int64_t *ret)
{
	struct digits d = {.scale = 3};
	int exponent = 0;

	text = str_trim(text);
	bool negative = text.n && text.p[0] == '-';
	if (text.n && (text.p[0] == '-' || text.p[0] == '+'))
		text = str_skip(text, 1);
	text = read_digits(text, false, &d);
	if (text.n && text.p[0] == '.')
		text = read_digits(str_skip(text, 1), true, &d);
	if (!d.any)
		return -EINVAL;
	if (text.n && (text.p[0] | 0x20) == 'e') {
		if (read_exponent(text, &exponent) < 0)
			return -EINVAL;
		text = STR_NONE;
	}
	if (text.n)
		return -EINVAL;
	d.scale += exponent;
	return scaled(d, negative, ret);
}
