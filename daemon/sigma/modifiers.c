/* Each modifier belongs to a class and names the classes that may stand before it, so a combination without a meaning
 * is an error with a hint instead of a rule that never matches.
 *
 * Where the specification leaves room: `expand` is done before all others wherever it stands, since what it fills in
 * is text of the rule; `windash` makes every dash equal without writing out 5^n permutations (it does that only for
 * an encoding behind it, up to VARIANTS_MAX); `re` takes startswith, endswith and contains behind it as anchors. */
#include "sigma/modifiers.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/encode.h"

#define VARIANTS_MAX 3125 /* 5^5: five dashes in one encoded value */

enum class {
	ALL = 1 << 0,
	NEQ = 1 << 1,
	CASED = 1 << 2,
	AFFIX = 1 << 3,
	EXISTS = 1 << 4,
	WINDASH = 1 << 5,
	RE = 1 << 6,
	RE_I = 1 << 7,
	RE_M = 1 << 8,
	RE_S = 1 << 9,
	UTF16 = 1 << 10,
	BASE64 = 1 << 11,
	COMPARE = 1 << 12,
	TIME = 1 << 13,
	CIDR = 1 << 14,
	EXPAND = 1 << 15,
	FIELDREF = 1 << 16,
};
#define LOGIC    (ALL | NEQ | EXPAND) /* may stand before nearly everything */
#define RE_FLAGS (RE_I | RE_M | RE_S)

struct modifier {
	const char *name;
	enum class class;
	uint32_t after; /* classes that may stand before it */
	uint32_t needs; /* classes of which one must */
	int argument;
	int (*apply)(struct draft *d, const struct modifier *m);
	const char *hint; /* for a combination that is none */
};

/* ---- what they do ---- */

static int complain(struct draft *d, const struct draft_value *v, const char *text)
{
	return selection_complain(d->c, DIAG_ERROR, v->node->line, v->node->column, "%s", text);
}

/* No modifier that changes text can change `null`. */
static int need_text(struct draft *d, const struct modifier *m)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->values[i].node->kind == YAML_NULL)
			return selection_complain(
				d->c, DIAG_ERROR, d->values[i].node->line,
				d->values[i].node->column,
				"`%s` needs text, not null (write '' for empty text)", m->name);
	return 0;
}

static int apply_logic(struct draft *d, const struct modifier *m)
{
	d->all |= m->class == ALL;
	d->negate |= m->class == NEQ;
	d->cased |= m->class == CASED;
	return 0;
}

static int apply_affix(struct draft *d, const struct modifier *m)
{
	if (need_text(d, m) < 0)
		return -EINVAL;
	d->affix = (enum affix)m->argument;
	for (size_t i = 0; i < d->count; i++) {
		struct sigma_string *s = &d->values[i].string;
		sigma_string_wrap(d->c->scratch, s, d->affix != AFFIX_START, d->affix != AFFIX_END,
		                  s);
	}
	return 0;
}

static int apply_kind(struct draft *d, const struct modifier *m)
{
	d->kind = (enum test_kind)m->argument;
	return need_text(d, m);
}

static int apply_regex_flag(struct draft *d, const struct modifier *m)
{
	d->regex_flags |= (unsigned)m->argument;
	return 0;
}

static int apply_compare(struct draft *d, const struct modifier *m)
{
	d->kind = TEST_COMPARE;
	d->op = (enum compare_op)m->argument;
	return need_text(d, m);
}

static int apply_time(struct draft *d, const struct modifier *m)
{
	d->kind = TEST_COMPARE;
	d->part = (enum time_part)m->argument;
	return need_text(d, m);
}

static int apply_windash(struct draft *d, const struct modifier *m)
{
	if (need_text(d, m) < 0)
		return -EINVAL;
	for (size_t i = 0; i < d->count; i++)
		sigma_string_windash(d->c->scratch, &d->values[i].string, &d->values[i].string);
	return 0;
}

/* Puts `count` values in the place of all there are; takes the array over. */
static void replace_values(struct draft *d, struct draft_value *values, size_t count)
{
	free(d->values);
	d->values = values;
	d->count = d->cap = count;
}

/* `from` with the dashes that `variant` stands for (its digits to the base of five). */
static void pick_dashes(struct arena *a, const struct sigma_string *from, size_t variant,
                        struct sigma_string *ret)
{
	struct sigma_string s = {arena_alloc(a, from->count * sizeof(*s.tokens)), from->count};

	for (size_t i = 0; i < s.count; i++) {
		s.tokens[i] = from->tokens[i];
		if (s.tokens[i].kind != TOKEN_DASH)
			continue;
		s.tokens[i] = (struct token){TOKEN_TEXT, dash_forms[variant % DASH_COUNT]};
		variant /= DASH_COUNT;
	}
	sigma_string_wrap(a, &s, false, false, ret); /* joins texts that now stand side by side */
}

static size_t variants_of(const struct sigma_string *s)
{
	size_t n = 1;

	for (size_t i = 0; i < s->count && n <= VARIANTS_MAX; i++)
		n *= s->tokens[i].kind == TOKEN_DASH ? DASH_COUNT : 1;
	return n;
}

/* An encoding needs to know which dash it encodes. */
static int write_out_dashes(struct draft *d)
{
	size_t total = 0, bytes = 0, n = 0;

	for (size_t i = 0; i < d->count; i++) {
		size_t variants = variants_of(&d->values[i].string);
		total += variants;
		bytes += variants * d->values[i].text.n;
		if (variants > VARIANTS_MAX || total > SELECTION_VALUES_MAX ||
		    bytes > SELECTION_BYTES_MAX)
			return complain(d, &d->values[i],
			                "too many dashes to write out for the encoding");
	}
	if (total == d->count)
		return 0;
	struct draft_value *values = xcalloc(total, sizeof(*values));
	for (size_t i = 0; i < d->count; i++) {
		size_t variants = variants_of(&d->values[i].string);
		for (size_t j = 0; j < variants; j++) {
			values[n] = d->values[i];
			pick_dashes(d->c->scratch, &d->values[i].string, j, &values[n++].string);
		}
	}
	replace_values(d, values, total);
	return 0;
}

static int apply_utf16(struct draft *d, const struct modifier *m)
{
	if (need_text(d, m) < 0 || write_out_dashes(d) < 0)
		return -EINVAL;
	for (size_t i = 0; i < d->count; i++) {
		struct str text;
		if (!sigma_string_is_plain(&d->values[i].string, &text))
			return complain(d, &d->values[i],
			                "a text with wildcards cannot be encoded");
		text = encode_utf16(d->c->scratch, text, (enum utf16_form)m->argument);
		sigma_string_plain(d->c->scratch, text, &d->values[i].string);
	}
	return 0;
}

static int apply_base64(struct draft *d, const struct modifier *m)
{
	unsigned forms = m->argument ? 3 : 1;
	size_t n = 0;

	if (need_text(d, m) < 0 || write_out_dashes(d) < 0)
		return -EINVAL;
	struct draft_value *values = xcalloc(d->count * forms, sizeof(*values));
	for (size_t i = 0; i < d->count; i++) {
		struct str text, code;
		if (!sigma_string_is_plain(&d->values[i].string, &text)) {
			free(values);
			return complain(d, &d->values[i],
			                "a text with wildcards cannot be encoded");
		}
		for (unsigned j = 0; j < forms; j++) {
			code = m->argument ? encode_base64_offset(d->c->scratch, text, j)
			                   : encode_base64(d->c->scratch, text);
			if (code.n == 0 && text.n) {
				free(values);
				return complain(
					d, &d->values[i],
					"too short: nothing of it is the same at every offset");
			}
			values[n] = d->values[i];
			sigma_string_plain(d->c->scratch, code, &values[n++].string);
		}
	}
	replace_values(d, values, n);
	return 0;
}

/* ---- the table ---- */

#define TEXT_HINT "it compares text"
#define CHAIN(name_, class_, after_, needs_, argument_, apply_, hint_)                             \
	{                                                                                          \
		(name_), (class_), (after_), (needs_), (int)(argument_), (apply_), (hint_)         \
	}

static const struct modifier modifiers[] = {
	CHAIN("all", ALL, ~(uint32_t)(EXISTS | COMPARE | TIME), 0, 0, apply_logic,
              "a field has one number"),
	CHAIN("neq", NEQ, ~(uint32_t)(EXISTS | COMPARE), 0, 0, apply_logic,
              "turn the comparison around instead"),
	CHAIN("cased", CASED, ~(uint32_t)(RE_I | EXISTS | COMPARE | TIME | CIDR), 0, 0, apply_logic,
              "only what is text has letter cases, and `i` means that they do not count"),
	CHAIN("expand", EXPAND, ~(uint32_t)(EXISTS), 0, 0, apply_logic, TEXT_HINT),
	CHAIN("contains", AFFIX,
              LOGIC | CASED | WINDASH | UTF16 | BASE64 | RE | RE_FLAGS | FIELDREF, 0,
              AFFIX_ANYWHERE, apply_affix, "one of startswith, endswith and contains, for text"),
	CHAIN("startswith", AFFIX,
              LOGIC | CASED | WINDASH | UTF16 | BASE64 | RE | RE_FLAGS | FIELDREF, 0, AFFIX_START,
              apply_affix, "one of startswith, endswith and contains, for text"),
	CHAIN("endswith", AFFIX,
              LOGIC | CASED | WINDASH | UTF16 | BASE64 | RE | RE_FLAGS | FIELDREF, 0, AFFIX_END,
              apply_affix, "one of startswith, endswith and contains, for text"),
	CHAIN("windash", WINDASH, LOGIC | CASED | AFFIX, 0, 0, apply_windash,
              "write it before an encoding"),
	CHAIN("utf16", UTF16, LOGIC | CASED | WINDASH | BASE64, 0, UTF16_BOM, apply_utf16,
              "encode first, then search: utf16|contains"),
	CHAIN("utf16le", UTF16, LOGIC | CASED | WINDASH | BASE64, 0, UTF16_LE, apply_utf16,
              "encode first, then search: utf16le|contains"),
	CHAIN("utf16be", UTF16, LOGIC | CASED | WINDASH | BASE64, 0, UTF16_BE, apply_utf16,
              "encode first, then search: utf16be|contains"),
	CHAIN("wide", UTF16, LOGIC | CASED | WINDASH | BASE64, 0, UTF16_LE, apply_utf16,
              "encode first, then search: wide|base64offset|contains"),
	CHAIN("base64", BASE64, LOGIC | CASED | WINDASH | UTF16, 0, 0, apply_base64,
              "encode first, then search: base64|contains"),
	CHAIN("base64offset", BASE64, LOGIC | CASED | WINDASH | UTF16, 0, 1, apply_base64,
              "encode first, then search: base64offset|contains"),
	CHAIN("re", RE, LOGIC | CASED, 0, TEST_REGEX, apply_kind, "write it first: re|i"),
	CHAIN("i", RE_I, LOGIC | RE | RE_FLAGS, RE, REGEX_CASELESS, apply_regex_flag,
              "it belongs behind re: re|i"),
	CHAIN("m", RE_M, LOGIC | CASED | RE | RE_FLAGS, RE, REGEX_MULTILINE, apply_regex_flag,
              "it belongs behind re: re|m"),
	CHAIN("s", RE_S, LOGIC | CASED | RE | RE_FLAGS, RE, REGEX_DOTALL, apply_regex_flag,
              "it belongs behind re: re|s"),
	CHAIN("cidr", CIDR, LOGIC, 0, TEST_CIDR, apply_kind, "it takes networks as they are"),
	CHAIN("lt", COMPARE, EXPAND | TIME, 0, COMPARE_LT, apply_compare, "it compares numbers"),
	CHAIN("lte", COMPARE, EXPAND | TIME, 0, COMPARE_LTE, apply_compare, "it compares numbers"),
	CHAIN("gt", COMPARE, EXPAND | TIME, 0, COMPARE_GT, apply_compare, "it compares numbers"),
	CHAIN("gte", COMPARE, EXPAND | TIME, 0, COMPARE_GTE, apply_compare, "it compares numbers"),
	CHAIN("minute", TIME, NEQ | EXPAND, 0, TIME_MINUTE, apply_time,
              "write it first: minute|gte"),
	CHAIN("hour", TIME, NEQ | EXPAND, 0, TIME_HOUR, apply_time, "write it first: hour|gte"),
	CHAIN("day", TIME, NEQ | EXPAND, 0, TIME_DAY, apply_time, "write it first: day|gte"),
	CHAIN("week", TIME, NEQ | EXPAND, 0, TIME_WEEK, apply_time, "write it first: week|gte"),
	CHAIN("month", TIME, NEQ | EXPAND, 0, TIME_MONTH, apply_time, "write it first: month|gte"),
	CHAIN("year", TIME, NEQ | EXPAND, 0, TIME_YEAR, apply_time, "write it first: year|gte"),
	CHAIN("exists", EXISTS, 0, 0, TEST_EXISTS, apply_kind,
              "it stands alone: field|exists: true"),
	CHAIN("fieldref", FIELDREF, LOGIC | CASED | AFFIX, 0, TEST_FIELD, apply_kind,
              "it names another field: fieldref|contains"),
};

/* What people write that is no slip of the pen. */
static const struct {
	const char *word, *hint;
} confusions[] = {
	{"not", "negate in the condition (`not selection`), or use neq"},
	{"ne", "the modifier is neq"},
	{"eq", "leave it out: equality needs no modifier"},
	{"equals", "leave it out: equality needs no modifier"},
	{"in", "leave it out: a list of values already means any of them"},
	{"any", "leave it out: a list of values already means any of them"},
	{"or", "leave it out: a list of values already means any of them"},
	{"and", "use all"},
	{"regex", "the modifier is re"},
	{"regexp", "the modifier is re"},
	{"like", "use contains, or write wildcards into the value"},
	{"b64", "use base64 or base64offset"},
	{"ip", "use cidr"},
};

static const struct modifier *find_modifier(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(modifiers); i++)
		if (str_ieq(name, str_of(modifiers[i].name)))
			return &modifiers[i];
	return NULL;
}

static int unknown_modifier(struct draft *d, struct str name, int column)
{
	const char *names[ARRAY_LEN(modifiers)], *near;
	int shown = (int)(name.n < 80 ? name.n : 80);

	if (name.n == 0)
		return selection_complain(d->c, DIAG_ERROR, d->line, column,
		                          "a modifier is missing behind `|`");
	for (size_t i = 0; i < ARRAY_LEN(confusions); i++)
		if (str_ieq(name, str_of(confusions[i].word)))
			return selection_complain(d->c, DIAG_ERROR, d->line, column,
			                          "unknown modifier `%.*s`: %s", shown, name.p,
			                          confusions[i].hint);
	for (size_t i = 0; i < ARRAY_LEN(modifiers); i++)
		names[i] = modifiers[i].name;
	char *word = xstrndup(name.p, name.n);
	near = diag_suggest(word, names, ARRAY_LEN(names));
	free(word);
	return selection_complain(d->c, DIAG_ERROR, d->line, column,
	                          near ? "unknown modifier `%.*s`: did you mean `%s`?"
	                               : "unknown modifier `%.*s`",
	                          shown, name.p, near);
}

/* The name of a modifier of one of these classes that stands in `chain`, for the message. */
static struct str first_of(struct str chain, uint32_t classes)
{
	while (chain.p) {
		struct str name = str_split(&chain, '|');
		const struct modifier *m = find_modifier(name);
		if (m && m->class & classes)
			return name;
	}
	return STR("another modifier");
}

static int apply_one(struct draft *d, struct str name, struct str before, int column)
{
	const struct modifier *m = find_modifier(name);

	if (!m)
		return unknown_modifier(d, name, column);
	if (m->needs && !(d->seen & m->needs))
		return selection_complain(d->c, DIAG_ERROR, d->line, column,
		                          "`%s` cannot stand here: %s", m->name, m->hint);
	uint32_t wrong = d->seen & (~m->after | m->class);
	if (wrong) {
		struct str other = first_of(before, wrong);
		return selection_complain(d->c, DIAG_ERROR, d->line, column,
		                          "`%s` cannot stand behind `%.*s`: %s", m->name,
		                          STR_FMT(other), m->hint);
	}
	d->seen |= m->class;
	return m->apply(d, m);
}

/* Fills in the placeholders of every value, before anything else is done. */
static int expand_values(struct draft *d)
{
	struct draft_value *old = d->values;
	size_t count = d->count, bytes = SELECTION_BYTES_MAX;
	int r = 0;

	d->values = NULL;
	d->count = d->cap = 0;
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct str *texts, unknown;
		size_t n;
		r = placeholders_expand(d->c->placeholders, d->c->scratch, old[i].text,
		                        SELECTION_VALUES_MAX - d->count, &bytes, &texts, &n,
		                        &unknown);
		if (r < 0) {
			complain(d, &old[i], "too many combinations of placeholders");
			break;
		}
		if (unknown.p)
			selection_complain(
				d->c, DIAG_WARNING, old[i].node->line, old[i].node->column,
				"no values are known for the placeholder `%%%.*s%%`: it is "
				"compared as it is written",
				(int)(unknown.n < 80 ? unknown.n : 80), unknown.p);
		xgrow(&d->values, &d->cap, d->count + n, sizeof(*d->values));
		for (size_t j = 0; j < n; j++) {
			struct draft_value *v = &d->values[d->count++];
			*v = (struct draft_value){.node = old[i].node, .text = texts[j]};
			sigma_string_parse(d->c->scratch, v->text, &v->string);
		}
	}
	free(old);
	return r < 0 ? -EINVAL : 0;
}

int modifiers_apply(struct draft *d, struct str chain, size_t offset)
{
	struct str rest = chain, scan = chain;

	while (scan.p)
		if (str_ieq(str_split(&scan, '|'), STR("expand"))) {
			if (expand_values(d) < 0)
				return -EINVAL;
			break;
		}
	while (rest.p) {
		struct str name = str_split(&rest, '|');
		size_t at = (size_t)(name.p - chain.p);
		int column = d->column ? d->column + (int)(offset + at) + d->quoted_key : 0;
		if (apply_one(d, name, str_head(chain, at ? at - 1 : 0), column) < 0)
			return -EINVAL;
	}
	if (d->all && d->count == 1 && !(d->seen & EXPAND))
		selection_complain(d->c, DIAG_WARNING, d->line, d->column,
		                   "`all` says nothing about one value");
	return 0;
}

bool modifiers_touched_text(const struct draft *d)
{
	return d->seen & (AFFIX | WINDASH | UTF16 | BASE64);
}

void draft_release(struct draft *d)
{
	free(d->values);
	d->values = NULL;
	d->count = d->cap = 0;
}
