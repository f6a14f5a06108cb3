/* Conditions in words over rules (`rule_a and not rule_b`), for temporal correlations. The grammar is that of a detection's
 * condition, with the rules as its selections: it is parsed when the document is read, with the names as they stand
 * there, and turned into steps over the places of the rules when all references are resolved: a rule can be listed by its
 * id and meant by its name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/correlation.h"

#define SHOWN(s) (int)((s).n < 80 ? (s).n : 80), (s).p
#define OP(x)    ISOD__V1__CONDITION_OPERATOR__CONDITION_##x

#define STEPS_MAX 10000 /* of one condition */
#define TRIED_MAX                                                                                  \
	12 /* rules: so many are tried in every combination to find conditions that never hold */

/* ---- reading ---- */

static bool is_keyword(struct str word)
{
	static const char *const words[] = {"and", "or", "not", "of", "all", "any", "them"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_ieq(word, str_of(words[i])))
			return true;
	return str_find(word, '*') >= 0;
}

/* The next word behind `*rest`, n == 0 at the end. */
static struct str next_word(struct str *rest)
{
	static const char breaks[] = " \t\r\n()|,";
	size_t n = 0;

	while (rest->n && strchr(breaks, rest->p[0]))
		*rest = str_skip(*rest, 1);
	while (n < rest->n && !strchr(breaks, rest->p[n]))
		n++;
	struct str word = str_head(*rest, n);
	*rest = str_skip(*rest, n);
	return word;
}

static bool is_count(struct str word, struct str rest)
{
	uint64_t n;

	return str_to_u64(word, &n) == 0 && str_ieq(next_word(&rest), STR("of"));
}

/* The rules that the text names, each once, in its order. */
static void collect_words(struct loader *l, const struct yaml_node *node,
                          struct draft_correlation *d)
{
	struct str rest = node->text, word;
	size_t most = node->text.n / 2 + 1;

	d->words = arena_alloc(&l->set->arena, most * sizeof(*d->words));
	while ((word = next_word(&rest)).n) {
		bool known = is_keyword(word) || is_count(word, rest);
		for (size_t i = 0; !known && i < d->word_count; i++)
			known = str_eq(d->words[i].text, word);
		if (!known)
			d->words[d->word_count++] = (struct reference){
				loader_keep(l, word, false), node->line, node->column, NULL};
	}
}

static void add_selection(struct selection *s, size_t *count, struct str name)
{
	static const struct detection some = {.kind = DETECT_ALL};

	for (size_t i = 0; i < *count; i++)
		if (str_eq(s[i].name, name))
			return;
	s[(*count)++] = (struct selection){.name = name, .detection = &some};
}

int correlation_read_words(struct loader *l, const struct yaml_node *node,
                           const struct yaml_node *rules, struct draft_correlation *d)
{
	size_t listed = !rules ? 0 : rules->kind == YAML_LIST ? rules->count : 1, count = 0;

	if (node->text.n > CONDITION_TEXT_MAX)
		return loader_error(l, node, "the condition is longer than %d bytes",
		                    CONDITION_TEXT_MAX);
	collect_words(l, node, d);
	struct selection *s = xcalloc(listed + d->word_count, sizeof(*s));
	for (size_t i = 0; i < listed; i++) {
		const struct yaml_node *one = rules->kind == YAML_LIST ? rules->items[i] : rules;
		if (one->kind == YAML_SCALAR && one->text.n)
			add_selection(s, &count, one->text);
	}
	for (size_t i = 0; i < d->word_count; i++)
		add_selection(s, &count, d->words[i].text);
	d->condition = condition_parse(&l->selections, node, s, count);
	d->condition_line = node->line;
	d->condition_column = node->column;
	free(s);
	return d->condition ? 0 : -EINVAL;
}

/* ---- steps ---- */

struct builder {
	struct loader *l;
	struct draft_correlation *d;
	bool *used; /* rules */
	bool failed;
};

static void fail(struct builder *b, const char *text)
{
	if (!b->failed)
		correlation_refuse(b->l, b->d, b->d->condition_line, b->d->condition_column, "%s",
		                   text);
	b->failed = true;
}

static Isod__V1__ConditionStep *add_step(struct builder *b, Isod__V1__ConditionOperator op)
{
	Isod__V1__ConditionStep *step = arena_alloc(&b->l->set->arena, sizeof(*step));
	Isod__V1__Correlation *m = b->d->message;

	isod__v1__condition_step__init(step);
	step->operator_ = op;
	if (m->n_condition == STEPS_MAX)
		fail(b, "the condition is too long");
	else
		m->condition[m->n_condition++] = step;
	return step;
}

static void add_rule(struct builder *b, struct str name, bool negated)
{
	const struct known *target = loader_find(b->l, name);

	for (size_t i = 0; target && i < b->d->rule_count; i++) {
		if (b->d->rules[i].target != target)
			continue;
		Isod__V1__ConditionStep *step = add_step(b, OP(RULE));
		step->rule = (uint32_t)i;
		step->negated = negated;
		b->used[i] = true;
		return;
	}
	char text[200];
	snprintf(text, sizeof(text), "the condition names `%.*s`, which `rules` does not list",
	         SHOWN(name));
	fail(b, text);
}

/* True if an earlier part is the same rule, under whatever name. */
static bool is_repeated(struct builder *b, const struct condition *c, size_t i)
{
	const struct condition *part = c->parts[i];

	if (part->kind != CONDITION_SELECTION)
		return false;
	const struct known *target = loader_find(b->l, part->name);
	for (size_t k = 0; k < i; k++)
		if (c->parts[k]->kind == CONDITION_SELECTION &&
		    loader_find(b->l, c->parts[k]->name) == target)
			return true;
	return false;
}

static void add_steps(struct builder *b, const struct condition *c, bool negated)
{
	static const Isod__V1__ConditionOperator operators[] = {
		[CONDITION_NOT] = OP(NOT),
		[CONDITION_AND] = OP(AND),
		[CONDITION_OR] = OP(OR),
		[CONDITION_AT_LEAST] = OP(AT_LEAST),
	};
	uint32_t count = 0;

	if (c->kind == CONDITION_SELECTION) {
		add_rule(b, c->name, negated);
		return;
	}
	for (size_t i = 0; i < c->count && !b->failed; i++) {
		if (is_repeated(b, c, i))
			continue;
		add_steps(b, c->parts[i], negated ^ (c->kind == CONDITION_NOT));
		count++;
	}
	Isod__V1__ConditionStep *step = add_step(b, operators[c->kind]);
	step->count = count;
	step->need = (uint32_t)c->need;
}

/* ---- what can never, or always, hold ---- */

/* Whether it holds when just the rules of `set` came. */
static bool holds_for(const Isod__V1__Correlation *m, uint64_t set, bool *stack)
{
	size_t top = 0;

	for (size_t i = 0; i < m->n_condition; i++) {
		const Isod__V1__ConditionStep *step = m->condition[i];
		size_t held = 0;
		if (step->operator_ == OP(RULE)) {
			stack[top++] = step->rule < 64 && set >> step->rule & 1;
			continue;
		}
		top -= step->count;
		for (size_t k = 0; k < step->count; k++)
			held += stack[top + k];
		if (step->operator_ == OP(NOT))
			stack[top++] = held == 0;
		else if (step->operator_ == OP(OR))
			stack[top++] = held > 0;
		else
			stack[top++] =
				held >= (step->operator_ == OP(AND) ? step->count : step->need);
	}
	return stack[0];
}

static void check_meaning(struct builder *b)
{
	const Isod__V1__Correlation *m = b->d->message;
	bool *stack = xcalloc(m->n_condition, sizeof(*stack));
	uint64_t sets = m->n_condition && b->d->rule_count <= TRIED_MAX
	                        ? UINT64_C(1) << b->d->rule_count
	                        : 0;
	uint64_t set = 1;

	if (holds_for(m, 0, stack))
		fail(b,
		     "the condition holds when nothing has happened: name a rule that must match, "
		     "or "
		     "use `isod: {type: absence}`");
	while (set < sets && !holds_for(m, set, stack))
		set++;
	if (sets && set == sets)
		fail(b, "no combination of the rules fulfils the condition");
	free(stack);
}

void correlation_finish_condition(struct loader *l, struct draft_correlation *d)
{
	struct builder b = {.l = l, .d = d};

	if (!d->condition || d->known->broken)
		return;
	d->message->condition =
		arena_alloc(&l->set->arena, STEPS_MAX * sizeof(Isod__V1__ConditionStep *));
	b.used = xcalloc(d->rule_count, sizeof(*b.used));
	add_steps(&b, d->condition, false);
	if (d->message->type == ISOD__V1__CORRELATION_TYPE__CORRELATION_TEMPORAL_ORDERED &&
	    d->rule_count > CORRELATION_ORDERED_MAX)
		fail(&b, "temporal_ordered with a condition in words takes 8 rules at most");
	if (!b.failed)
		check_meaning(&b);
	for (size_t i = 0; !b.failed && i < d->rule_count; i++)
		if (!b.used[i])
			diag_add(l->diags, DIAG_WARNING, d->file, d->rules[i].line,
			         d->rules[i].column, "the condition does not use the rule `%.*s`",
			         SHOWN(d->rules[i].text));
	free(b.used);
}
