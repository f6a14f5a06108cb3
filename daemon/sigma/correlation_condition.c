/* A correlation's condition: bounds on a number, the fields whose values it is made of, or (in correlation_words.c)
 * words over rules. And isod's own settings of a correlation, which refine it. */
#include <errno.h>
#include <stddef.h>

#include "base/mem.h"
#include "sigma/correlation.h"

#define SHOWN(s) (int)((s).n < 80 ? (s).n : 80), (s).p
#define TYPE(x)  ISOD__V1__CORRELATION_TYPE__CORRELATION_##x

#define MILLI_DIGITS 3   /* decimal places of a bound */
#define EXPONENT_MAX 100 /* of a bound: no number that is kept has as many digits */

typedef __int128 wide;

static const struct {
	const char *name;
	Isod__V1__Comparison comparison;
} comparisons[] = {
	{"gt", ISOD__V1__COMPARISON__COMPARISON_GT}, {"gte", ISOD__V1__COMPARISON__COMPARISON_GTE},
	{"lt", ISOD__V1__COMPARISON__COMPARISON_LT}, {"lte", ISOD__V1__COMPARISON__COMPARISON_LTE},
	{"eq", ISOD__V1__COMPARISON__COMPARISON_EQ}, {"neq", ISOD__V1__COMPARISON__COMPARISON_NEQ},
};

/* ---- bounds ---- */

/* The digits of "12.5" in *ret, and in *ret_places how many of them stand behind the point; *text becomes the rest. */
static int read_digits(struct str *text, wide *ret, int64_t *ret_places)
{
	bool point = false, any = false;
	int64_t places = 0;
	wide v = 0;

	for (; text->n; *text = str_skip(*text, 1)) {
		char c = text->p[0];
		if (c == '.' && !point) {
			point = true;
			continue;
		}
		if (c < '0' || c > '9')
			break;
		if (v > (wide)INT64_MAX * 1000)
			return -ERANGE;
		v = v * 10 + (c - '0');
		places += point;
		any = true;
	}
	*ret = v;
	*ret_places = places;
	return any ? 0 : -EINVAL;
}

/* A decimal number (100, -0.5, 1e6) as thousandths. 0; -EINVAL when it is none or has more digits; -ERANGE. */
static int to_milli(struct str text, int64_t *ret)
{
	bool negative = str_starts(text, STR("-"));
	int64_t places, exponent = 0;
	wide v;

	if (negative || str_starts(text, STR("+")))
		text = str_skip(text, 1);
	int r = read_digits(&text, &v, &places);
	if (r == 0 && text.n && (text.p[0] | 0x20) == 'e') {
		text = str_skip(text, 1);
		if (str_starts(text, STR("+")))
			text = str_skip(text, 1);
		r = str_to_i64(text, &exponent);
		text = STR_NONE;
	}
	if (r < 0 || text.n)
		return r < 0 ? r : -EINVAL;
	if (exponent > EXPONENT_MAX || exponent < -EXPONENT_MAX)
		return -ERANGE;
	for (exponent += MILLI_DIGITS - places; v && exponent > 0; exponent--) {
		v *= 10;
		if (v > INT64_MAX)
			return -ERANGE;
	}
	for (; v && exponent < 0; exponent++) {
		if (v % 10)
			return -EINVAL;
		v /= 10;
	}
	if (v > INT64_MAX)
		return -ERANGE;
	*ret = (int64_t)(negative ? -v : v);
	return 0;
}

static int read_bound(struct loader *l, const char *name, const struct yaml_node *node,
                      const struct correlation_type *type, Isod__V1__Bound *b)
{
	struct str text = node->kind == YAML_SCALAR ? node->text : STR_NONE;

	if (!type->counts) {
		int r = to_milli(text, &b->value_milli);
		if (r == -ERANGE)
			return loader_error(l, node, "`%s`: the number is too large", name);
		return r < 0 ? loader_error(l, node,
		                            "`%s` is a number with at most %d decimal places", name,
		                            MILLI_DIGITS)
		             : 0;
	}
	if (str_to_u64(text, &b->value) < 0)
		return loader_error(l, node, "`%s` is a whole number from 0", name);
	bool must_reach = b->comparison == ISOD__V1__COMPARISON__COMPARISON_GT ||
	                  b->comparison == ISOD__V1__COMPARISON__COMPARISON_GTE ||
	                  b->comparison == ISOD__V1__COMPARISON__COMPARISON_EQ;
	if (type->most && must_reach && b->value > type->most)
		return loader_error(l, node, "`%s`: %s counts at most to %llu", name, type->name,
		                    (unsigned long long)type->most);
	return 0;
}

static int add_bound(struct loader *l, const struct yaml_pair *p, struct draft_correlation *d)
{
	const char *names[ARRAY_LEN(comparisons)], *near;

	for (size_t i = 0; i < ARRAY_LEN(comparisons); i++) {
		names[i] = comparisons[i].name;
		if (!str_eq(p->key, str_of(names[i])))
			continue;
		Isod__V1__Bound *b = arena_alloc(&l->set->arena, sizeof(*b));
		isod__v1__bound__init(b);
		b->comparison = comparisons[i].comparison;
		if (read_bound(l, names[i], p->value, d->type, b) < 0)
			return -EINVAL;
		d->message->bounds[d->message->n_bounds++] = b;
		return 0;
	}
	near = diag_suggest(p->key.p, names, ARRAY_LEN(names));
	diag_add(l->diags, DIAG_ERROR, l->file, p->line, p->column,
	         near ? "unknown comparison `%.*s`: did you mean `%s`?"
	              : "unknown comparison `%.*s` (gt, gte, lt, lte, eq, neq)",
	         SHOWN(p->key), near);
	return -EINVAL;
}

static wide bound_value(const struct correlation_type *type, const Isod__V1__Bound *b)
{
	return type->counts ? (wide)b->value : (wide)b->value_milli;
}

/* Is there a number that all bounds allow? */
static bool can_hold(const struct correlation_type *type, const Isod__V1__Correlation *m)
{
	wide low = type->counts ? 0 : INT64_MIN, high = type->counts ? (wide)UINT64_MAX : INT64_MAX;

	for (size_t i = 0; i < m->n_bounds; i++) {
		wide v = bound_value(type, m->bounds[i]), from = low, to = high;
		switch (m->bounds[i]->comparison) {
		case ISOD__V1__COMPARISON__COMPARISON_GT: from = v + 1; break;
		case ISOD__V1__COMPARISON__COMPARISON_LT: to = v - 1; break;
		case ISOD__V1__COMPARISON__COMPARISON_GTE: from = v; break;
		case ISOD__V1__COMPARISON__COMPARISON_LTE: to = v; break;
		case ISOD__V1__COMPARISON__COMPARISON_EQ: from = to = v; break;
		default: break;
		}
		low = from > low ? from : low;
		high = to < high ? to : high;
	}
	for (size_t i = 0; low == high && i < m->n_bounds; i++)
		if (m->bounds[i]->comparison == ISOD__V1__COMPARISON__COMPARISON_NEQ &&
		    bound_value(type, m->bounds[i]) == low)
			return false;
	return low <= high;
}

/* ---- fields ---- */

static int read_values(struct loader *l, const struct yaml_node *node, struct draft_correlation *d)
{
	if (d->type->fields == 0)
		return loader_error(l, node, "%s looks at no `field`", d->type->name);
	if (loader_texts(l, node, "`field`", &d->values, &d->value_count) < 0)
		return -EINVAL;
	if (d->value_count == 0)
		return loader_error(l, node, "`field` is empty");
	if (d->value_count > d->type->fields)
		return loader_error(l, node, "%s takes %zu `field`%s at most", d->type->name,
		                    d->type->fields, d->type->fields > 1 ? "s" : "");
	return 0;
}

static int read_percentile(struct loader *l, const struct yaml_node *node,
                           struct draft_correlation *d)
{
	int64_t milli;

	if (d->type->type != TYPE(VALUE_PERCENTILE))
		return loader_error(l, node, "%s has no `percentile`", d->type->name);
	if (node->kind != YAML_SCALAR || to_milli(node->text, &milli) < 0 || milli <= 0 ||
	    milli > 100000)
		return loader_error(l, node, "`percentile` is a number above 0 and up to 100");
	d->message->percentile_milli = (uint64_t)milli;
	return 0;
}

/* ---- the whole ---- */

static int read_map(struct loader *l, const struct yaml_node *node, struct draft_correlation *d)
{
	int r = 0;

	d->message->bounds =
		arena_alloc(&l->set->arena, (node->count + 1) * sizeof(Isod__V1__Bound *));
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_pair *p = &node->pairs[i];
		int one = 0;
		if (str_eq(p->key, STR("field")))
			one = read_values(l, p->value, d);
		else if (str_eq(p->key, STR("percentile")))
			one = read_percentile(l, p->value, d);
		else
			one = add_bound(l, p, d);
		r = one < 0 ? -EINVAL : r;
	}
	if (r == 0 && !can_hold(d->type, d->message))
		return loader_error(l, node, "no %s can fulfil this condition",
		                    d->type->counts ? "count" : "number");
	return r;
}

int correlation_read_condition(struct loader *l, const struct yaml_node *map,
                               struct draft_correlation *d)
{
	const struct yaml_node *node = yaml_get(map, "condition");
	const struct correlation_type *type = d->type;
	bool optional = type->temporal || type->type == TYPE(ABSENCE);

	if (!node && optional)
		return 0; /* all of the rules */
	if (!node)
		return loader_require(l, map, "condition", "a correlation") ? 0 : -EINVAL;
	if (type->type == TYPE(ABSENCE))
		return loader_error(l, node, "an absence has no condition: the `timespan` is it");
	if (node->kind == YAML_SCALAR && type->temporal)
		return correlation_read_words(l, node, yaml_get(map, "rules"), d);
	if (node->kind != YAML_MAP)
		return loader_error(l, node,
		                    "the condition of a correlation is a map (gte: 10), not %s",
		                    yaml_kind_name(node));
	if (read_map(l, node, d) < 0)
		return -EINVAL;
	if (type->type == TYPE(FIRST_SEEN) && d->message->n_bounds)
		return loader_error(l, node, "first_seen compares with nothing: only `field`");
	if (d->message->n_bounds == 0 && !type->temporal && type->type != TYPE(FIRST_SEEN))
		return loader_error(l, node, "the condition compares with nothing (gte: 10)");
	if (type->fields && d->value_count == 0)
		return loader_error(l, node, "%s needs the `field` whose values count", type->name);
	/* The specification's own example: how much of all values the event's is, in per cent. */
	if (type->type == TYPE(VALUE_PERCENTILE) && !d->message->percentile_milli)
		d->message->type = TYPE(VALUE_SHARE);
	return 0;
}

/* ---- isod's own ---- */

static const struct {
	const char *name;
	size_t offset; /* in the message, of ns */
} durations[] = {
	{"session", offsetof(Isod__V1__Correlation, session_gap_ns)},
	{"suppress", offsetof(Isod__V1__Correlation, suppress_ns)},
	{"learning", offsetof(Isod__V1__Correlation, learning_ns)},
	{"lateness", offsetof(Isod__V1__Correlation, lateness_ns)},
};

static int read_setting(struct loader *l, const struct yaml_pair *p, struct draft_correlation *d)
{
	const char *names[ARRAY_LEN(durations) + 1], *near;

	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		uint64_t ns;
		names[i] = durations[i].name;
		if (!str_eq(p->key, str_of(names[i])))
			continue;
		if (p->value->kind != YAML_SCALAR || str_to_duration(p->value->text, &ns) < 0 ||
		    ns == 0 || ns > CORRELATION_TIME_MAX)
			return loader_error(l, p->value, "`%s` is a duration: 30s, 15m, 1h, 7d",
			                    names[i]);
		memcpy((char *)d->message + durations[i].offset, &ns, sizeof(ns));
		return 0;
	}
	names[ARRAY_LEN(durations)] = "type";
	if (str_eq(p->key, STR("type")))
		return 0;
	near = diag_suggest(p->key.p, names, ARRAY_LEN(names));
	diag_add(l->diags, DIAG_ERROR, l->file, p->line, p->column,
	         near ? "isod has no setting `%.*s`: did you mean `%s`?"
	              : "isod has no setting `%.*s` (type, session, suppress, learning, lateness)",
	         SHOWN(p->key), near);
	return -EINVAL;
}

int correlation_read_extension(struct loader *l, const struct yaml_node *map,
                               struct draft_correlation *d)
{
	const struct yaml_node *node = yaml_get(map, "isod");
	const Isod__V1__Correlation *m = d->message;
	int r = 0;

	if (!node || node->kind == YAML_NULL)
		return 0;
	if (node->kind != YAML_MAP)
		return loader_error(l, node, "`isod` must be a map, not %s", yaml_kind_name(node));
	for (size_t i = 0; i < node->count; i++)
		if (read_setting(l, &node->pairs[i], d) < 0)
			r = -EINVAL;
	if (r < 0)
		return r;
	if (m->session_gap_ns && (d->type->own || m->type == TYPE(VALUE_SHARE)))
		return loader_error(l, yaml_get(node, "session"), "%s knows no sessions",
		                    d->type->name);
	if (m->session_gap_ns > m->timespan_ns && m->timespan_ns)
		return loader_error(
			l, yaml_get(node, "session"),
			"a gap that is longer than the `timespan`, which is the longest "
			"a session can be");
	for (size_t i = 0; m->session_gap_ns && d->type->counts && i < m->n_bounds; i++)
		if (m->bounds[i]->value > CORRELATION_VALUES_MAX)
			return loader_error(l, yaml_get(node, "session"),
			                    "a session counts at most to %d",
			                    CORRELATION_VALUES_MAX);
	if (m->learning_ns && m->type != TYPE(FIRST_SEEN))
		return loader_error(l, yaml_get(node, "learning"), "only first_seen learns");
	return 0;
}
