/* Every Sigma modifier, built and matched, by itself and in chains: an item made of the input is
 *   - refused with an error or taken, never both, never neither;
 *   - looked for in an event by the plain matcher and by the compiled one, alone, negated and as a part of conditions
 *     that need it or something else: both must find the same rules, twice;
 *   - and evaluated a third time by modifiers_plainly.h: the answer must be the same.
 * The compiled matcher stands on plain_patterns.h instead of Hyperscan.
 *
 * Input: lines. The item's key: a field (none: keywords) and modifiers behind `|`; a word that is no modifier stands for
 * one all the same, so that few executions are wasted on spelling. Then values up to an empty line: `null`, or text,
 * quoted if it begins with `'`. Then the event, of which all that follows is the raw frame: lines NAME, a tab and VALUE, or only VALUE
 * for the item's own field; before it `!` makes it null, `-` derived, `+` a copy outside of the frame, `~` puts a text
 * before it that fits the item, `^` behind it, and `@` makes a date of it. A record separator (0x1e) is a line end
 * inside of a value, and what is no UTF-8 in a rule is made so, as YAML would have it.
 * An event that begins with `{` counts as JSON.
 *
 * With ISOD_FUZZ_TALLY set it tells at the end what was refused, taken and fitted, modifier by modifier. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "modifiers_plainly.h"
#include "plain_patterns.h"
#include "sigma/compile.h"
#include "sigma/evaluate.h"
#include "sigma/match.h"

#define CODED_DASHES_MAX 3  /* in all values that are encoded: each makes five of one */
#define PERCENTS_MAX     6  /* in all values that are expanded: two of them make three of one */
#define FIELDS_MAX       16 /* of an event */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const modifiers[] = {
	"contains", "startswith", "endswith", "all",  "exists", "cased",  "neq",
	"windash",  "re",         "i",        "m",    "s",      "base64", "base64offset",
	"utf16le",  "utf16be",    "utf16",    "wide", "lt",     "lte",    "gt",
	"gte",      "minute",     "hour",     "day",  "week",   "month",  "year",
	"cidr",     "expand",     "fieldref",
};

/* ---- what was done, for those who want to know ---- */

static struct {
	unsigned long refused, taken, fitted, compared;
} tally[ARRAY_LEN(modifiers) + 1]; /* the last one: without any */

static void tell_tally(void)
{
	fprintf(stderr, "%-14s %10s %10s %10s %10s\n", "modifier", "refused", "taken", "fitted",
	        "compared");
	for (size_t i = 0; i < ARRAY_LEN(tally); i++)
		fprintf(stderr, "%-14s %10lu %10lu %10lu %10lu\n",
		        i < ARRAY_LEN(modifiers) ? modifiers[i] : "(none)", tally[i].refused,
		        tally[i].taken, tally[i].fitted, tally[i].compared);
}

enum outcome { REFUSED, TAKEN, FITTED, COMPARED };

static void count(const struct plain_item *item, enum outcome outcome)
{
	for (size_t i = 0; i < ARRAY_LEN(tally); i++) {
		if (i < ARRAY_LEN(modifiers) ? !plain_has(item, modifiers[i])
		                             : item->chain_count > 0)
			continue;
		tally[i].refused += outcome == REFUSED;
		tally[i].taken += outcome == TAKEN;
		tally[i].fitted += outcome == FITTED;
		tally[i].compared += outcome == COMPARED;
	}
}

/* ---- from bytes to an item ---- */

static const char *modifier_of(struct str word)
{
	unsigned sum = 0;

	for (size_t i = 0; i < ARRAY_LEN(modifiers); i++)
		if (str_eq(word, str_of(modifiers[i])))
			return modifiers[i];
	for (size_t i = 0; i < word.n; i++)
		sum = sum * 31 + (unsigned char)word.p[i];
	return modifiers[sum % ARRAY_LEN(modifiers)];
}

static struct str readable(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		p[i] = s.p[i] == 0x1e ? '\n' : s.p[i];
	if (!utf8_valid(str_make(p, s.n)))
		for (size_t i = 0; i < s.n; i++)
			p[i] = (unsigned char)p[i] < 0x80 ? p[i] : 'x';
	p[s.n] = '\0';
	return str_make(p, s.n);
}

struct rule_text {
	struct plain_item item;
	char key[256];
	struct yaml_node values[PLAIN_VALUES_MAX], *pointers[PLAIN_VALUES_MAX], list;
	struct yaml_pair pair;
	struct yaml_node map;
};

static void read_key(struct arena *a, struct rule_text *r, struct str key)
{
	struct str chain = key, field = readable(a, str_head(str_split(&chain, '|'), 40));
	size_t n = (size_t)snprintf(r->key, sizeof(r->key), "%s", field.p);

	r->item.field = str_make(r->key, n); /* up to a NUL */
	while (chain.p && r->item.chain_count < PLAIN_CHAIN_MAX) {
		const char *m = modifier_of(str_split(&chain, '|'));
		r->item.chain[r->item.chain_count++] = m;
		n += (size_t)snprintf(r->key + n, sizeof(r->key) - n, "|%s", m);
	}
	r->pair.key = str_make(r->key, n);
}

static void read_value(struct arena *a, struct rule_text *r, struct str line)
{
	size_t i = r->item.value_count++;
	bool quoted = line.n && line.p[0] == '\'';
	struct str text = readable(a, str_skip(line, quoted));
	bool null = str_eq(line, STR("null"));

	r->item.values[i].text = null ? STR("") : text;
	r->item.values[i].quoted = quoted;
	r->item.values[i].null = null;
	r->values[i] = (struct yaml_node){.kind = null ? YAML_NULL : YAML_SCALAR,
	                                  .quoted = quoted,
	                                  .line = (int)i + 2,
	                                  .column = 1,
	                                  .text = text};
	r->pointers[i] = &r->values[i];
}

/* Returns what stands behind the rule. */
static struct str read_rule(struct arena *a, struct rule_text *r, struct str rest)
{
	read_key(a, r, str_split(&rest, '\n'));
	while (rest.p) {
		struct str line = str_split(&rest, '\n');
		if (line.n == 0)
			break;
		if (r->item.value_count < PLAIN_VALUES_MAX)
			read_value(a, r, line);
	}
	if (r->item.value_count == 0)
		read_value(a, r, STR("'"));
	r->list = (struct yaml_node){
		.kind = YAML_LIST, .line = 1, .column = 1, .count = r->item.value_count};
	r->list.items = r->pointers;
	r->pair.line = r->pair.column = 1;
	r->pair.value = r->item.value_count == 1 ? r->pointers[0] : &r->list;
	r->map = (struct yaml_node){.kind = YAML_MAP, .line = 1, .column = 1, .count = 1};
	r->map.pairs = &r->pair;
	return rest;
}

static size_t count_any(struct str text, const char *bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += text.p[i] && strchr(bytes, text.p[i]);
	return n;
}

/* What is multiplied would make an execution slow, and others of its kind with it. */
static bool is_too_wide(const struct plain_item *item)
{
	bool coded = false;
	size_t dashes = 0, percents = 0;

	for (size_t i = 0; i < item->chain_count; i++)
		coded |= plain_is_encoding(item->chain[i]);
	for (size_t i = 0; i < item->value_count; i++) {
		dashes += count_any(item->values[i].text, "-/%\x80");
		percents += count_any(item->values[i].text, "%");
	}
	return (coded && plain_has(item, "windash") && dashes > CODED_DASHES_MAX) ||
	       (plain_has(item, "expand") && percents > PERCENTS_MAX);
}

/* ---- from bytes to an event ---- */

/* A text that fits one of the item's values, if only because a `*` stands for nothing. Only for an item that the daemon
 * took. */
static struct str fitting(struct arena *a, const struct plain_item *item, size_t which)
{
	static struct texts texts;
	struct str value = item->values[which % item->value_count].text;
	struct expanded values = {.items = {value}, .count = 1};
	struct symbols s;
	size_t n = 0;

	if (plain_has(item, "expand")) {
		values.count = 0;
		plain_expand(a, STR(""), value, &values);
	}
	if (!plain_texts(a, item, values.items[which % values.count], &texts))
		return value;
	s = texts.items[which % texts.count];
	char *p = arena_alloc(a, s.count + 1);
	for (size_t i = 0; i < s.count; i++)
		if (s.items[i] != PLAIN_ANY)
			p[n++] = (char)(s.items[i] < 256 ? s.items[i] : '-');
	return str_make(p, n);
}

static struct str date(struct arena *a, struct str seed)
{
	unsigned b[6] = {0};
	char *p = arena_alloc(a, 32);

	for (size_t i = 0; i < ARRAY_LEN(b) && i < seed.n; i++)
		b[i] = (unsigned char)seed.p[i];
	int n = snprintf(p, 32, "%04u-%02u-%02u%c%02u:%02u", (b[0] * 37 + b[1]) % 9999 + 1,
	                 b[2] % 12 + 1, b[3] % 31 + 1, b[4] & 64 ? ' ' : 'T', b[4] % 24, b[5] % 60);
	return str_make(p, (size_t)n);
}

static struct str two(struct arena *a, struct str first, struct str second)
{
	char *p = arena_alloc(a, first.n + second.n + 1);

	if (first.n)
		memcpy(p, first.p, first.n);
	if (second.n)
		memcpy(p + first.n, second.p, second.n);
	return str_make(p, first.n + second.n);
}

/* What is made stands in `a`. */
static void read_field(struct arena *a, struct event *e, const struct plain_item *item,
                       struct str line)
{
	struct str name = item->field, value = line, rest;
	bool null = false, derived = false, made;

	if (str_find(value, '\t') >= 0)
		name = str_split(&value, '\t');
	for (; value.n && (value.p[0] == '!' || value.p[0] == '-'); value = str_skip(value, 1)) {
		null |= value.p[0] == '!';
		derived |= value.p[0] == '-';
	}
	rest = str_skip(value, 1);
	made = value.n && strchr("~^@", value.p[0]) && value.p[0];
	switch (value.n ? value.p[0] : '\0') {
	case '+': value = arena_str(a, rest); break;
	case '~': value = two(a, fitting(a, item, rest.n), rest); break;
	case '^': value = two(a, rest, fitting(a, item, rest.n)); break;
	case '@': value = date(a, rest); break;
	default: break;
	}
	if (made)
		e->flags &= ~(uint32_t)EVENT_JSON; /* it need not stand in the frame */
	(derived ? event_put_derived : event_put)(e, name.n ? name : STR("f"),
	                                          null ? STR("") : value,
	                                          null ? VALUE_NULL : VALUE_STRING);
}

/* `frame` is ours and of its exact size. */
static void read_event(struct arena *a, struct event *e, const struct plain_item *item, char *frame,
                       size_t n)
{
	struct str rest = str_make(frame, n);

	event_reset(e);
	e->raw = rest;
	e->flags |= n && frame[0] == '{' ? EVENT_JSON : 0;
	while (rest.n && e->count < FIELDS_MAX)
		read_field(a, e, item, str_split(&rest, '\n'));
	for (size_t i = 0; i < n; i++)
		frame[i] = frame[i] == 0x1e ? '\n' : frame[i];
}

/* ---- the other parts of conditions, and the placeholders: the same every time ---- */

struct surroundings {
	struct arena arena;
	struct diags diags;
	struct regexes regexes;
	struct placeholders *placeholders;
	const struct detection *others[2];
	struct event event;
};

static struct placeholders *load_lists(struct diags *diags)
{
	struct placeholders *ret;
	struct buf text;
	char path[64];
	int file = memfd_create("lists", 0);

	buf_init(&text, 0);
	for (size_t i = 0; i < ARRAY_LEN(plain_lists); i++) {
		buf_printf(&text, "%s:\n", plain_lists[i].name);
		for (const char *const *v = plain_lists[i].values; *v; v++)
			buf_printf(&text, "  - '%s'\n", *v);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (write(file, text.p, text.n) != (ssize_t)text.n ||
	    placeholders_load(path, diags, &ret) < 0)
		abort();
	close(file);
	buf_release(&text);
	return ret;
}

static const struct detection *other(struct surroundings *s, const char *key, const char *value)
{
	struct selection_context c = {&s->arena, &s->arena,       "others",
	                              &s->diags, s->placeholders, &s->regexes};
	struct yaml_node node = {.kind = YAML_SCALAR, .text = str_of(value)};
	struct yaml_pair pair = {str_of(key), 0, 0, &node};
	struct yaml_node map = {.kind = YAML_MAP, .count = 1, .pairs = &pair};

	return detection_parse(&c, STR("other"), &map);
}

static struct surroundings *surroundings(void)
{
	static struct surroundings s;

	if (s.placeholders)
		return &s;
	arena_init(&s.arena, 0);
	diags_init(&s.diags);
	s.placeholders = load_lists(&s.diags);
	s.others[0] = other(&s, "g|startswith", "seven");
	s.others[1] = other(&s, "n|gte", "5");
	event_setup(&s.event);
	if (getenv("ISOD_FUZZ_TALLY"))
		atexit(tell_tally);
	return &s;
}

/* ---- the rules ---- */

#define RULES 4

struct rules {
	struct condition parts[3], negated, both, two;
	const struct condition *lists[3];
	struct rule rules[RULES];
	struct ruleset set;
};

/* s; not s; s and g; 2 of s, g and n. */
static void make_rules(struct rules *r, const struct detection *d, const struct surroundings *s)
{
	const struct condition *all[RULES] = {&r->parts[0], &r->negated, &r->both, &r->two};
	const struct detection *selections[] = {d, s->others[0], s->others[1]};

	for (size_t i = 0; i < ARRAY_LEN(selections); i++) {
		r->parts[i] =
			(struct condition){.kind = CONDITION_SELECTION, .detection = selections[i]};
		r->lists[i] = &r->parts[i];
	}
	r->negated = (struct condition){.kind = CONDITION_NOT, .parts = r->lists, .count = 1};
	r->both = (struct condition){.kind = CONDITION_AND, .parts = r->lists, .count = 2};
	r->two = (struct condition){
		.kind = CONDITION_AT_LEAST, .need = 2, .parts = r->lists, .count = 3};
	for (size_t i = 0; i < RULES; i++) {
		r->rules[i] = (struct rule){.condition = all[i]};
		r->rules[i].sources = (struct logsource_set){.bits = {i < 2 ? 1 : 2}, .any = true};
	}
	r->set = (struct ruleset){.rules = r->rules, .count = RULES, .routed = true};
}

/* Which rules hold, a bit each. */
static unsigned run(struct matcher *m, const struct rules *r, const struct event *e,
                    const struct logsource_set *sources)
{
	const struct rule *const *hits;
	unsigned ret = 0;
	size_t n = matcher_run(m, e, sources, &hits);

	for (size_t i = 0; i < n; i++) {
		if (i && hits[i] <= hits[i - 1])
			abort(); /* in the set's order */
		ret |= 1u << (hits[i] - r->rules);
	}
	return ret;
}

/* The plain matcher's answer, without a matcher of its own for each execution. */
static unsigned run_plain(const struct rules *r, const struct event *e)
{
	static struct evaluator v;
	unsigned ret = 0;

	if (!v.regex)
		evaluator_init(&v);
	evaluator_begin(&v, e);
	for (unsigned i = 0; i < RULES; i++)
		ret |= (unsigned)evaluate_condition(&v, r->rules[i].condition) << i;
	return ret;
}

/* Both on the event, and the compiled matcher on it as if it came from the log source of half of the rules. Returns
 * whether the item holds. */
static bool match(const struct rules *r, const struct event *e)
{
	const struct compile_options options = {0};
	const struct logsource_set source = {.bits = {2}, .any = true};
	struct compiled *compiled;
	struct diags diags;

	diags_init(&diags);
	if (compiled_new(&r->set, &options, &diags, &compiled) < 0)
		abort();
	struct matcher *m = matcher_new_with(&r->set, compiled);
	unsigned hits = run_plain(r, e);
	if (run(m, r, e, NULL) != hits || run(m, r, e, &source) != (hits & ~3u) ||
	    run(m, r, e, NULL) != hits)
		abort();
	if ((hits & 1) == (hits >> 1 & 1))
		abort(); /* a rule and its negation */
	matcher_free(m);
	compiled_free(compiled);
	diags_release(&diags);
	return hits & 1;
}

/* The item in rules on the event that `rest` makes. */
static void check(struct selection_context *c, const struct rule_text *text, struct str rest)
{
	struct surroundings *s = surroundings();
	const struct detection *d = detection_parse(c, STR("s"), &text->map);
	struct rules rules;

	if ((d == NULL) != (c->diags->errors > 0))
		abort();
	count(&text->item, d ? TAKEN : REFUSED);
	if (!d)
		return;
	char *frame = xmalloc(rest.n);
	if (rest.n)
		memcpy(frame, rest.p, rest.n);
	read_event(c->scratch, &s->event, &text->item, frame, rest.n);
	make_rules(&rules, d, s);
	bool holds = match(&rules, &s->event);
	enum plainly p = plain_item_holds(c->scratch, &text->item, &s->event);
	if (p != PLAINLY_UNKNOWN && holds != (p == PLAINLY_YES))
		abort();
	if (holds != plain_has(&text->item, "neq"))
		count(&text->item, FITTED);
	if (p != PLAINLY_UNKNOWN)
		count(&text->item, COMPARED);
	event_reset(&s->event);
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena kept, scratch;
	struct diags diags;
	struct regexes regexes = {0};
	struct rule_text text = {0};
	struct selection_context c = {&kept,   &scratch, "f", &diags, surroundings()->placeholders,
	                              &regexes};

	arena_init(&kept, 0);
	arena_init(&scratch, 0);
	diags_init(&diags);
	struct str rest = read_rule(&scratch, &text, str_make((const char *)data, size));
	if (!is_too_wide(&text.item))
		check(&c, &text, rest);
	regexes_release(&regexes);
	diags_release(&diags);
	arena_release(&kept);
	arena_release(&scratch);
	return 0;
}
