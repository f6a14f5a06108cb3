/* Matching goes from left to right and takes back what does not lead to the end. That is simple and fast where
 * patterns begin with a literal, as they nearly all do; the number of steps per message is bounded, since what
 * stands in a message is the peer's choice.
 *
 * Free text (a user name may hold blanks, whoever knocks chooses it) takes the longest run that lets the rest fit:
 * so a user called "root from 192.0.2.1 port 22" cannot pose as another source address, because the real one comes
 * last. */
#include "event/patterns.h"

#include "base/chars.h"
#include "base/net.h"

#define PROGRAM_NAME_MAX 64
#define ADDRESS_MAX      64

struct match {
	struct str text;
	const struct pattern_node *nodes;
	size_t steps;
	size_t count;
	struct {
		const struct pattern_node *node;
		struct str value;
	} captures[PATTERN_CAPTURES_MAX];
};

static bool fits(struct match *m, size_t node, size_t at);

/* Most tries end at the literal behind the capture: look before the leap. */
static bool can_follow(const struct match *m, size_t node, size_t after)
{
	const struct pattern_node *next = &m->nodes[node + 1];

	return next->kind != NODE_LITERAL ||
	       (after < m->text.n && m->text.p[after] == next->text.p[0] &&
	        str_starts(str_skip(m->text, after), next->text));
}

/* Keeps the value if what comes after it fits. */
static bool keep(struct match *m, size_t node, size_t from, size_t n, size_t after)
{
	size_t count = m->count;

	if (m->steps == 0)
		return false;
	m->steps--;
	if (!can_follow(m, node, after))
		return false;
	if (count < PATTERN_CAPTURES_MAX) {
		m->captures[count].node = &m->nodes[node];
		m->captures[count].value = str_make(m->text.p + from, n);
		m->count++;
	}
	if (fits(m, node + 1, after))
		return true;
	m->count = count;
	return false;
}

static void spend(struct match *m, size_t steps)
{
	m->steps -= steps < m->steps ? steps : m->steps;
}

/* The first byte of the literal behind a capture, -1 if none stands there. Places without it are not tried: each costs
 * a step and nothing more. */
static int first_behind(const struct match *m, size_t node)
{
	const struct pattern_node *next = &m->nodes[node + 1];

	return next->kind == NODE_LITERAL ? (unsigned char)next->text.p[0] : -1;
}

/* Of the places from `from` to `to`, both included, those where a literal can begin: all but the end of the text. */
static size_t places(const struct match *m, size_t from, size_t to)
{
	return (to < m->text.n ? to + 1 : m->text.n) - from;
}

static bool shortest(struct match *m, size_t node, size_t at, size_t least, size_t most)
{
	int first = first_behind(m, node);

	for (size_t n = least; n <= most && m->steps; n++) {
		if (first >= 0) {
			const char *from = m->text.p + at + n;
			const char *found = memchr(from, first, places(m, at + n, at + most));
			size_t skipped = found ? (size_t)(found - from) : most - n + 1;
			spend(m, skipped);
			n += skipped;
			if (!found)
				return false;
		}
		if (keep(m, node, at, n, at + n))
			return true;
	}
	return false;
}

static bool longest(struct match *m, size_t node, size_t at, size_t least, size_t most)
{
	int first = first_behind(m, node);

	for (size_t n = most + 1; n-- > least && m->steps;) {
		if (first >= 0) {
			const char *from = m->text.p + at + least;
			const char *found = memrchr(from, first, places(m, at + least, at + n));
			size_t kept = found ? (size_t)(found - from) + least : 0;
			spend(m, found ? n - kept : n - least + 1);
			n = kept;
			if (!found)
				return false;
		}
		if (keep(m, node, at, n, at + n))
			return true;
	}
	return false;
}

/* The longest; a scope ("%eth0") may stand behind it. */
static bool fits_address(struct match *m, size_t node, size_t at, size_t most)
{
	struct str s = str_make(m->text.p + at, most < ADDRESS_MAX ? most : ADDRESS_MAX);
	size_t bare = char_run(s, CHAR_ADDRESS);
	bool scoped =
		bare && bare < s.n && s.p[bare] == '%' && net_is_address(str_head(s, bare), NULL);

	for (size_t n = scoped ? s.n : bare; n > 1; n--)
		if (can_follow(m, node, at + n) &&
		    (n > bare || net_is_address(str_head(s, n), NULL)) &&
		    keep(m, node, at, n, at + n))
			return true;
	return false;
}

static bool fits_quoted(struct match *m, size_t node, size_t at)
{
	char open = at < m->text.n ? m->text.p[at] : 0, close = open == '`' ? '\'' : open;

	if (open != '"' && open != '\'' && open != '`')
		return false;
	for (size_t n = at + 1; n < m->text.n; n++) {
		if (m->text.p[n] == '\\' && n + 1 < m->text.n)
			n++;
		else if (m->text.p[n] == close)
			return keep(m, node, at + 1, n - at - 1, n + 1);
	}
	return false;
}

static bool fits_capture(struct match *m, size_t node, size_t at)
{
	const struct str s = m->text;
	size_t n = 0, left = s.n - at;

	switch (m->nodes[node].capture) {
	case CAPTURE_WORD:
		n = char_run_not(str_skip(s, at), CHAR_SPACE);
		return shortest(m, node, at, 1, n);
	case CAPTURE_TEXT:
	case CAPTURE_AGAIN: return longest(m, node, at, 0, left);
	case CAPTURE_UNTIL: return shortest(m, node, at, 0, left);
	case CAPTURE_INT:
		n = left && s.p[at] == '-';
		while (n < left && char_is(s.p[at + n], CHAR_DIGIT))
			n++;
		return n && char_is(s.p[at + n - 1], CHAR_DIGIT) && keep(m, node, at, n, at + n);
	case CAPTURE_HOST:
	case CAPTURE_IP:
		n = char_run(str_skip(s, at), CHAR_HOST);
		if (m->nodes[node].capture == CAPTURE_IP)
			return fits_address(m, node, at, n);
		return longest(m, node, at, 1, n);
	case CAPTURE_QUOTED: return fits_quoted(m, node, at);
	case CAPTURE_REST:
	case CAPTURE_PAIRS: return keep(m, node, at, left, s.n);
	default: return false;
	}
}

static bool fits(struct match *m, size_t node, size_t at)
{
	for (;;) {
		const struct pattern_node *p = &m->nodes[node];
		if (m->steps == 0)
			return false;
		m->steps--;
		switch (p->kind) {
		case NODE_LITERAL:
			if (!str_starts(str_skip(m->text, at), p->text))
				return false;
			at += p->text.n;
			node++;
			break;
		case NODE_OPTION:
			if (fits(m, node + 1, at))
				return true;
			node = p->skip;
			break;
		case NODE_CAPTURE: return fits_capture(m, node, at);
		case NODE_END: return at == m->text.n;
		}
	}
}

static bool is_flag(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!char_is(s.p[i], CHAR_UPPER))
			return false;
	return s.n > 0;
}

static void put_pairs(const struct pattern *p, struct event *e, struct str text)
{
	struct pair pair;

	while (pair_next(&text, &pair)) {
		if (!pair.name.p && is_flag(pair.value))
			event_put_derived(e, STR("flags"), pair.value, VALUE_STRING);
		if (!pair.name.p || pair.value.n == 0)
			continue;
		struct str name = pair.name;
		for (size_t i = 0; i < p->rename_count; i++)
			if (str_eq(p->renames[i].name, pair.name))
				name = p->renames[i].value;
		common_add(e, name, pair_value(e, &pair),
		           pair.quoted ? VALUE_STRING : common_type(pair.value));
	}
}

/* Whose patterns are tried: those of the program, if it has any, then those of all programs. */
struct scope {
	const struct program *own;
	const struct program *any;
	bool again; /* inside {:again}, which does not go deeper */
};

static bool try_scope(const struct scope *scope, struct event *e, struct str text);

static void put_match(const struct scope *scope, const struct pattern *p, const struct match *m,
                      struct event *e)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct pattern_node *node = m->captures[i].node;
		struct str value = m->captures[i].value;
		if (node->capture == CAPTURE_PAIRS)
			put_pairs(p, e, value);
		else if (node->capture == CAPTURE_AGAIN && !scope->again)
			try_scope(&(struct scope){scope->own, scope->any, true}, e, value);
		else if (str_eq(value, STR("-")) ||
		         (value.n == 0 && node->capture == CAPTURE_UNTIL))
			continue; /* how logs of columns write that there is none */
		else if (node->text.n && node->text.p[0] != '_')
			common_add(e, node->text, value,
			           node->capture == CAPTURE_INT ? VALUE_NUMBER : VALUE_STRING);
	}
	for (size_t i = 0; i < p->constant_count; i++)
		event_put_derived(e, p->constants[i].name, p->constants[i].value, VALUE_STRING);
}

/* Patterns that stand together often cannot do without the same text. */
struct looked_for {
	struct str needle;
	bool found;
};

static bool has_needle(struct looked_for *l, struct str text, struct str needle)
{
	if (needle.n == 0)
		return true;
	if (!str_eq(l->needle, needle))
		*l = (struct looked_for){needle, str_search(text, needle) >= 0};
	return l->found;
}

static bool try_program(const struct scope *scope, const struct program *program, struct event *e,
                        struct str text)
{
	size_t first = text.n ? (unsigned char)text.p[0] : PATTERN_NO_FIRST;
	struct pattern *const *at = program->firsts[first];
	struct looked_for looked = {0};
	struct match m;

	for (const struct pattern *p; (p = *at); at++) {
		if (p->nodes[0].kind == NODE_LITERAL ? !str_starts(text, p->nodes[0].text)
		                                     : !has_needle(&looked, text, p->needle))
			continue;
		m.text = text;
		m.nodes = p->nodes;
		m.steps = PATTERN_STEPS(text.n);
		m.count = 0;
		if (!fits(&m, 0, 0))
			continue;
		put_match(scope, p, &m, e);
		return true;
	}
	return false;
}

static bool try_scope(const struct scope *scope, struct event *e, struct str text)
{
	return (scope->own && try_program(scope, scope->own, e, text)) ||
	       try_program(scope, scope->any, e, text);
}

static const struct program *lookup(const struct patterns *p, struct str name)
{
	char lower[PROGRAM_NAME_MAX];

	if (name.n == 0 || name.n > sizeof(lower))
		return NULL;
	for (size_t i = 0; i < name.n; i++)
		lower[i] = (char)(name.p[i] | (char_is(name.p[i], CHAR_UPPER) ? 0x20 : 0));
	return map_get(&p->programs, str_make(lower, name.n));
}

/* By its whole name; "postfix/smtpd" also as smtpd and as postfix; "syslogd 1.4.1" as syslogd; Cisco's
 * "%ASA-6-302013" as %asa. */
static const struct program *program_of(const struct patterns *p, struct str name)
{
	const struct program *found = lookup(p, name);
	size_t slash = name.n;

	if (found || name.n == 0)
		return found;
	while (slash > 0 && name.p[slash - 1] != '/')
		slash--;
	if (slash > 0 && (found = lookup(p, str_skip(name, slash))))
		return found;
	for (const char *c = name.p[0] == '%' ? "-" : "/ "; *c; c++) {
		ptrdiff_t at = str_find(name, *c);
		if (at > 0 && (found = lookup(p, str_head(name, (size_t)at))))
			return found;
	}
	return NULL;
}

bool patterns_decode(const struct patterns *p, struct event *e, struct str program, struct str body)
{
	const struct program *own = program_of(p, program);

	while (body.n && char_is(body.p[body.n - 1], CHAR_SPACE))
		body.n--;
	if (body.n == 0)
		body = STR(""); /* not a null pointer, for memchr() */
	return try_scope(&(struct scope){own, &p->any, false}, e, body);
}
