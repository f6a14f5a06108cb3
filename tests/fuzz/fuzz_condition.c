/* Arbitrary text as a rule's condition: parsed or refused with an error, never both, never neither; and what is parsed
 * means what a second, plainer reading of the text gives, for whatever holds of its selections.
 * Input: a condition; one that begins with `-` is a list of them, each in a line of its own. */
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/condition.h"
#include "sigma/evaluate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"selection", "filter", "sel_a", "sel_b", "_x"};

#define NAMES       ARRAY_LEN(names)
#define SYMBOLS_MAX 256
#define LINES_MAX   16

/* ---- the second reading: words become symbols, and symbols are replaced until one is left ---- */

struct symbols {
	char items[SYMBOLS_MAX]; /* T F ! & | ( ) */
	size_t count;
};

/* Replaces `n` symbols at `at` by one. */
static void replace(struct symbols *s, size_t at, size_t n, char by)
{
	s->items[at] = by;
	memmove(s->items + at + 1, s->items + at + n, s->count - at - n);
	s->count -= n - 1;
}

static bool is_truth(const struct symbols *s, size_t at)
{
	return at < s->count && (s->items[at] == 'T' || s->items[at] == 'F');
}

static bool reduce_brackets(struct symbols *s)
{
	for (size_t i = 0; i + 2 < s->count; i++)
		if (s->items[i] == '(' && is_truth(s, i + 1) && s->items[i + 2] == ')') {
			replace(s, i, 3, s->items[i + 1]);
			return true;
		}
	return false;
}

static bool reduce_not(struct symbols *s)
{
	for (size_t i = 0; i + 1 < s->count; i++)
		if (s->items[i] == '!' && is_truth(s, i + 1)) {
			replace(s, i, 2, s->items[i + 1] == 'T' ? 'F' : 'T');
			return true;
		}
	return false;
}

/* Never takes an operand that something stronger beside it wants. */
static bool reduce_pair(struct symbols *s, char operator, const char * stronger)
{
	for (size_t i = 1; i + 1 < s->count; i++) {
		char before = i >= 2 ? s->items[i - 2] : '(',
		     after = i + 2 < s->count ? s->items[i + 2] : ')';
		if (s->items[i] != operator|| !is_truth(s, i - 1) || !is_truth(s, i + 1) ||
		    strchr(stronger, before) || strchr(stronger, after))
			continue;
		bool a = s->items[i - 1] == 'T', b = s->items[i + 1] == 'T';
		replace(s, i - 1, 3, (operator== '&' ? a && b : a || b) ? 'T' : 'F');
		return true;
	}
	return false;
}

/* Does the name fit, `*` being any text? holds[j]: the pattern so far fits the first j bytes. */
static bool fits(struct str pattern, const char *name)
{
	bool holds[32] = {true};
	size_t n = strlen(name);

	for (size_t i = 0; i < pattern.n; i++) {
		bool any = pattern.p[i] == '*', before = holds[0];
		holds[0] = any && before;
		for (size_t j = 1; j <= n; j++) {
			bool here = holds[j];
			holds[j] =
				any ? here || holds[j - 1] : before && pattern.p[i] == name[j - 1];
			before = here;
		}
	}
	return holds[n];
}

/* How many of the selections that `pattern` means hold, and how many there are. */
static unsigned count_of(struct str pattern, unsigned truth, unsigned *ret_all)
{
	bool them = str_ieq(pattern, STR("them"));
	unsigned held = 0;

	*ret_all = 0;
	for (size_t i = 0; i < NAMES; i++) {
		if (them ? names[i][0] == '_' : !fits(pattern, names[i]))
			continue;
		++*ret_all;
		held += truth >> i & 1;
	}
	return held;
}

static struct str next_word(struct str *rest)
{
	size_t n = 0;

	while (rest->n && strchr(" \t\r\n", rest->p[0]) && rest->p[0])
		*rest = str_skip(*rest, 1);
	while (n < rest->n && (!rest->p[n] || !strchr(" \t\r\n()", rest->p[n])))
		n++;
	struct str word = str_head(*rest, n ? n : 1);
	*rest = str_skip(*rest, word.n);
	return word;
}

static char symbol_of(struct str word, struct str *rest, unsigned truth)
{
	static const struct {
		const char *word;
		char symbol;
	} fixed[] = {{"(", '('}, {")", ')'}, {"and", '&'}, {"or", '|'}, {"not", '!'}};
	struct str after = *rest;
	unsigned all, held, need = 0;

	if (str_ieq(next_word(&after), STR("of"))) {
		struct str pattern = next_word(&after);
		held = count_of(pattern, truth, &all);
		*rest = after;
		if (str_ieq(word, STR("all")))
			return held == all ? 'T' : 'F';
		for (size_t i = 0; i < word.n && need < 1000; i++)
			need = need * 10 + (unsigned)(word.p[i] - '0');
		return held >= (str_ieq(word, STR("any")) ? 1 : need) ? 'T' : 'F';
	}
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if (str_ieq(word, str_of(fixed[i].word)))
			return fixed[i].symbol;
	for (size_t i = 0; i < NAMES; i++)
		if (str_eq(word, str_of(names[i])))
			return truth >> i & 1 ? 'T' : 'F';
	abort(); /* such a condition must not parse */
}

/* 1 or 0; -1: too long for this. Only for a text that was parsed. */
static int read_again(struct str text, unsigned truth)
{
	struct symbols s = {.count = 0};

	for (struct str word = next_word(&text); word.n; word = next_word(&text)) {
		if (s.count == SYMBOLS_MAX)
			return -1;
		s.items[s.count++] = symbol_of(word, &text, truth);
	}
	while (s.count > 1)
		if (!reduce_brackets(&s) && !reduce_not(&s) && !reduce_pair(&s, '&', "!") &&
		    !reduce_pair(&s, '|', "!&"))
			abort(); /* it makes no sense, yet it was parsed */
	return s.items[0] == 'T';
}

/* ---- both readings ---- */

struct input {
	struct yaml_node lines[LINES_MAX], *pointers[LINES_MAX], node;
};

static void read_input(struct arena *a, struct input *in, struct str text)
{
	bool list = text.n && text.p[0] == '-';
	struct str rest = str_skip(text, list);
	size_t n = 0;

	while (list && rest.p && n < LINES_MAX) {
		struct str line = str_split(&rest, '\n');
		in->lines[n] = (struct yaml_node){.kind = YAML_SCALAR, .line = 1, .column = 1};
		in->lines[n].text = arena_str(a, line);
		in->pointers[n] = &in->lines[n];
		n++;
	}
	in->node = (struct yaml_node){
		.kind = list ? YAML_LIST : YAML_SCALAR, .line = 1, .column = 1, .count = n};
	in->node.items = in->pointers;
	in->node.text = arena_str(a, rest);
}

static int read_all_again(const struct input *in, unsigned truth)
{
	int ret = 0;

	if (in->node.kind == YAML_SCALAR)
		return read_again(in->node.text, truth);
	for (size_t i = 0; i < in->node.count; i++) {
		int one = read_again(in->lines[i].text, truth);
		if (one < 0)
			return -1;
		ret |= one;
	}
	return ret;
}

static void compare(const struct condition *c, const struct input *in, struct detection *truths)
{
	static struct evaluator v;
	static struct event e;

	if (!v.regex) {
		evaluator_init(&v);
		event_setup(&e);
		event_reset(&e);
		evaluator_begin(&v, &e);
	}
	for (unsigned truth = 0; truth < 1 << NAMES; truth += 1 + truth % 3) {
		/* Of no parts all hold, and not one. */
		for (size_t i = 0; i < NAMES; i++)
			truths[i].kind = truth >> i & 1 ? DETECT_ALL : DETECT_ANY;
		int again = read_all_again(in, truth);
		if (again >= 0 && evaluate_condition(&v, c) != again)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct detection truths[NAMES] = {{.count = 0}};
	struct selection selections[NAMES];
	struct arena arena;
	struct diags diags;
	struct regexes regexes = {0};
	struct input in;
	struct selection_context c = {&arena, &arena, "f", &diags, NULL, &regexes};

	arena_init(&arena, 0);
	diags_init(&diags);
	for (size_t i = 0; i < NAMES; i++)
		selections[i] =
			(struct selection){.name = str_of(names[i]), .detection = &truths[i]};
	read_input(&arena, &in, str_make((const char *)data, size));
	const struct condition *parsed = condition_parse(&c, &in.node, selections, NAMES);
	if ((parsed == NULL) != (diags.errors > 0))
		abort();
	if (parsed)
		compare(parsed, &in, truths);
	diags_release(&diags);
	arena_release(&arena);
	return 0;
}
