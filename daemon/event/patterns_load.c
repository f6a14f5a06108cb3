/* The loader tells everything that is wrong with the file in one go, with line and column, and tries every
 * example on the finished table: a pattern that does not do what its author says is found when it is loaded, not
 * when an attack goes unseen. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/yaml.h"
#include "event/patterns.h"

#define FIELD_NAME_MAX 64

static const char *const capture_names[CAPTURE_COUNT] = {
	"word", "text", "until", "int", "host", "ip", "quoted", "rest", "pairs", "again",
};

struct loader {
	const char *file;
	struct diags *diags;
	struct patterns *p;
	struct pattern_constant *renames; /* of the group being read */
	size_t rename_count;
};

/* One pattern's text being compiled. */
struct compiler {
	struct loader *l;
	const struct yaml_node *at; /* for the place of errors */
	struct str text;
	size_t pos;
	struct pattern_node nodes[PATTERN_NODES_MAX];
	size_t count, captures;
};

__attribute__((format(printf, 3, 4))) static void
wrong(struct loader *l, const struct yaml_node *at, const char *format, ...)
{
	va_list ap;
	char text[512];

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	diag_add(l->diags, DIAG_ERROR, l->file, at->line, at->column, "%s", text);
}

__attribute__((format(printf, 3, 4))) static bool bad_pattern(struct compiler *c, size_t pos,
                                                              const char *format, ...)
{
	va_list ap;
	char text[512];

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	diag_add(c->l->diags, DIAG_ERROR, c->l->file, c->at->line,
	         c->at->column + (c->at->quoted ? 1 : 0) + (int)pos, "%s", text);
	return false;
}

static struct pattern_node *new_node(struct compiler *c, enum node_kind kind)
{
	if (c->count == PATTERN_NODES_MAX) {
		bad_pattern(c, c->pos, "more than %d pieces in one pattern", PATTERN_NODES_MAX - 1);
		return NULL;
	}
	struct pattern_node *n = &c->nodes[c->count++];
	*n = (struct pattern_node){.kind = kind};
	return n;
}

static bool varies(enum capture capture)
{
	return capture == CAPTURE_WORD || capture == CAPTURE_TEXT || capture == CAPTURE_UNTIL ||
	       capture == CAPTURE_HOST || capture == CAPTURE_AGAIN;
}

/* Where one run of free text ends and the next begins could not be told. */
static bool follows_capture(const struct compiler *c)
{
	size_t i = c->count;

	while (i > 0 && c->nodes[i - 1].kind == NODE_OPTION)
		i--;
	return i > 0 && c->nodes[i - 1].kind == NODE_CAPTURE && varies(c->nodes[i - 1].capture);
}

static bool is_field_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!isalnum((unsigned char)s.p[i]) && str_find(STR("_.-@"), s.p[i]) < 0)
			return false;
	return s.n <= FIELD_NAME_MAX;
}

static bool capture_type(struct compiler *c, size_t pos, struct str name, struct str type,
                         enum capture *ret)
{
	char word[FIELD_NAME_MAX];

	if (!type.p) {
		*ret = str_ends(name, STR("_ip"))     ? CAPTURE_HOST
		       : str_ends(name, STR("_port")) ? CAPTURE_INT
		                                      : CAPTURE_WORD;
		return true;
	}
	for (size_t i = 0; i < CAPTURE_COUNT; i++) {
		if (!str_eq(type, str_of(capture_names[i])))
			continue;
		*ret = (enum capture)i;
		return true;
	}
	snprintf(word, sizeof(word), "%.*s", STR_FMT(str_head(type, sizeof(word) - 1)));
	const char *near = diag_suggest(word, capture_names, CAPTURE_COUNT);
	return bad_pattern(c, pos, "no type '%s'%s%s%s", word, near ? ", did you mean '" : "",
	                   near ? near : "", near ? "'?" : "");
}

/* {name}, {name:type}, {:type}; c->pos stands behind the brace. */
static bool compile_capture(struct compiler *c)
{
	size_t from = c->pos;
	ptrdiff_t close = str_find(str_skip(c->text, from), '}');
	enum capture capture = CAPTURE_WORD;

	if (close < 0)
		return bad_pattern(c, from - 1, "'{' without its '}'");
	struct str type = str_make(c->text.p + from, (size_t)close);
	struct str name = str_split(&type, ':');
	if (name.n == 0 && !type.p)
		return bad_pattern(c, from - 1,
		                   "'{}' names no field ('{:word}' takes a word for none)");
	if (!is_field_name(name))
		return bad_pattern(c, from, "'%.*s' is no name of a field",
		                   STR_FMT(str_head(name, 64)));
	if (!capture_type(c, from + name.n + 1, name, type, &capture))
		return false;
	if (follows_capture(c))
		return bad_pattern(c, from - 1, "nothing between this and the part before it");
	if (++c->captures > PATTERN_CAPTURES_MAX)
		return bad_pattern(c, from - 1, "more than %d fields in one pattern",
		                   PATTERN_CAPTURES_MAX);
	struct pattern_node *n = new_node(c, NODE_CAPTURE);
	if (!n)
		return false;
	n->capture = capture;
	n->text = arena_str(&c->l->p->arena, name);
	c->pos = from + (size_t)close + 1;
	return true;
}

static bool compile_literal(struct compiler *c, unsigned depth)
{
	char out[PATTERN_TEXT_MAX];
	size_t n = 0;

	while (c->pos < c->text.n) {
		char b = c->text.p[c->pos];
		bool doubled = c->pos + 1 < c->text.n && c->text.p[c->pos + 1] == b;
		if ((b == '{' && !doubled) || (b == '}' && (depth || !doubled)))
			break;
		out[n++] = b;
		c->pos += b == '{' || b == '}' ? 2 : 1;
	}
	struct pattern_node *node = new_node(c, NODE_LITERAL);
	if (!node)
		return false;
	node->text = arena_str(&c->l->p->arena, str_make(out, n));
	return true;
}

static bool compile_sequence(struct compiler *c, unsigned depth)
{
	while (c->pos < c->text.n) {
		struct str rest = str_skip(c->text, c->pos);
		size_t from = c->pos;
		if (str_starts(rest, STR("{?"))) {
			if (depth == PATTERN_DEPTH_MAX)
				return bad_pattern(c, from,
				                   "more than %d optional parts inside each other",
				                   PATTERN_DEPTH_MAX);
			struct pattern_node *option = new_node(c, NODE_OPTION);
			c->pos += 2;
			if (!option || !compile_sequence(c, depth + 1))
				return false;
			if (c->pos >= c->text.n)
				return bad_pattern(c, from, "'{?' without its '}'");
			c->pos++;
			option->skip = c->count;
			if (option + 1 == c->nodes + c->count)
				return bad_pattern(c, from, "an optional part with nothing in it");
		} else if (rest.p[0] == '{' && !str_starts(rest, STR("{{"))) {
			c->pos++;
			if (!compile_capture(c))
				return false;
		} else if (rest.p[0] == '}' && (depth || !str_starts(rest, STR("}}")))) {
			if (depth == 0)
				return bad_pattern(c, from,
				                   "'}' without its '{' (a brace itself is '}}')");
			return true;
		} else if (!compile_literal(c, depth)) {
			return false;
		}
	}
	return true;
}

static struct str needle_of(const struct pattern_node *nodes)
{
	struct str longest = STR_NONE;

	for (size_t i = 0; nodes[i].kind != NODE_END;
	     i = nodes[i].kind == NODE_OPTION ? nodes[i].skip : i + 1)
		if (i && nodes[i].kind == NODE_LITERAL && nodes[i].text.n > longest.n)
			longest = nodes[i].text;
	/* Blanks are everywhere: what begins with something else is found sooner. */
	return str_trim(longest);
}

static struct pattern *compile(struct loader *l, const struct yaml_node *at)
{
	struct compiler c = {.l = l, .at = at, .text = at->text};

	if (c.text.n == 0 || c.text.n > PATTERN_TEXT_MAX) {
		bad_pattern(&c, 0, "a pattern has 1 to %d bytes", PATTERN_TEXT_MAX);
		return NULL;
	}
	if (!compile_sequence(&c, 0) || !new_node(&c, NODE_END))
		return NULL;
	for (size_t i = 0; i < c.count; i++) {
		bool last =
			c.nodes[i].kind == NODE_CAPTURE &&
			(c.nodes[i].capture == CAPTURE_REST || c.nodes[i].capture == CAPTURE_PAIRS);
		if (last && c.nodes[i + 1].kind != NODE_END) {
			bad_pattern(&c, 0, "'%s' takes all that is left: nothing can follow it",
			            capture_names[c.nodes[i].capture]);
			return NULL;
		}
	}
	struct pattern *p = arena_alloc(&l->p->arena, sizeof(*p));
	*p = (struct pattern){.renames = l->renames, .rename_count = l->rename_count};
	p->nodes = arena_alloc(&l->p->arena, c.count * sizeof(*p->nodes));
	memcpy(p->nodes, c.nodes, c.count * sizeof(*p->nodes));
	p->needle = needle_of(p->nodes);
	return p;
}

static void check_keys(struct loader *l, const struct yaml_node *map, const char *const *keys,
                       size_t count)
{
	for (size_t i = 0; i < map->count; i++) {
		bool known = false;
		for (size_t k = 0; k < count; k++)
			known = known || str_eq(map->pairs[i].key, str_of(keys[k]));
		if (known)
			continue;
		char word[FIELD_NAME_MAX];
		snprintf(word, sizeof(word), "%.*s",
		         STR_FMT(str_head(map->pairs[i].key, sizeof(word) - 1)));
		const char *near = diag_suggest(word, keys, count);
		diag_add(l->diags, DIAG_ERROR, l->file, map->pairs[i].line, map->pairs[i].column,
		         "unknown key '%s'%s%s%s", word, near ? ", did you mean '" : "",
		         near ? near : "", near ? "'?" : "");
	}
}

/* A map of names to texts; NULL is an empty one. */
static void read_constants(struct loader *l, const struct yaml_node *map, const char *what,
                           struct pattern_constant **ret, size_t *ret_count)
{
	*ret = NULL;
	*ret_count = 0;
	if (!map || map->kind == YAML_NULL)
		return;
	if (map->kind != YAML_MAP) {
		wrong(l, map, "'%s' is a map of names, not %s", what, yaml_kind_name(map));
		return;
	}
	*ret = arena_alloc(&l->p->arena, (map->count + 1) * sizeof(**ret));
	for (size_t i = 0; i < map->count; i++) {
		const struct yaml_node *v = map->pairs[i].value;
		if (v->kind != YAML_SCALAR || map->pairs[i].key.n == 0 ||
		    !is_field_name(map->pairs[i].key)) {
			wrong(l, v, "'%s' gives each field's name one text", what);
			continue;
		}
		(*ret)[(*ret_count)++] = (struct pattern_constant){
			arena_str(&l->p->arena, map->pairs[i].key),
			arena_str(&l->p->arena, v->text),
		};
	}
}

static struct program *program_named(struct loader *l, struct str name)
{
	char lower[FIELD_NAME_MAX];

	if (str_eq(name, STR("*")))
		return &l->p->any;
	for (size_t i = 0; i < name.n; i++)
		lower[i] = (char)tolower((unsigned char)name.p[i]);
	struct program *p = map_get(&l->p->programs, str_make(lower, name.n));
	if (!p) {
		p = xcalloc(1, sizeof(*p));
		map_put(&l->p->programs, str_make(lower, name.n), p);
	}
	return p;
}

static void add_to_program(struct loader *l, struct str name, struct pattern *p)
{
	struct program *program = program_named(l, name);

	xgrow(&program->items, &program->cap, program->count + 1, sizeof(*program->items));
	program->items[program->count++] = p;
}

/* One text or a list of texts: item `i`, NULL past the end. */
static const struct yaml_node *one_of(const struct yaml_node *node, size_t i)
{
	if (node->kind == YAML_LIST)
		return i < node->count ? node->items[i] : NULL;
	return i == 0 ? node : NULL;
}

static void check_example_shape(struct loader *l, const struct yaml_node *entry)
{
	static const char *const keys[] = {"line", "fields"};
	const struct yaml_node *list = yaml_get(entry, "examples");

	if (!list || list->kind != YAML_LIST || list->count == 0) {
		wrong(l, list ? list : entry,
		      "a pattern has 'examples': a list of line and fields");
		return;
	}
	for (size_t i = 0; i < list->count; i++) {
		const struct yaml_node *example = list->items[i];
		if (example->kind != YAML_MAP) {
			wrong(l, example, "an example has 'line' and 'fields'");
			continue;
		}
		check_keys(l, example, keys, ARRAY_LEN(keys));
		const struct yaml_node *fields = yaml_get(example, "fields");
		if (!yaml_text(example, "line") || !fields || fields->kind != YAML_MAP)
			wrong(l, example, "an example has 'line' and 'fields'");
	}
}

static void read_entry(struct loader *l, const struct yaml_node *programs,
                       const struct yaml_node *entry)
{
	static const char *const keys[] = {"match", "set", "examples"};
	struct pattern_constant *constants;
	size_t constant_count;

	if (entry->kind != YAML_MAP) {
		wrong(l, entry, "a pattern is a map with 'match', not %s", yaml_kind_name(entry));
		return;
	}
	check_keys(l, entry, keys, ARRAY_LEN(keys));
	check_example_shape(l, entry);
	const struct yaml_node *match = yaml_get(entry, "match");
	if (!match || (match->kind != YAML_SCALAR && match->kind != YAML_LIST) ||
	    (match->kind == YAML_LIST && match->count == 0)) {
		wrong(l, match ? match : entry, "a pattern has 'match': a text or a list of texts");
		return;
	}
	read_constants(l, yaml_get(entry, "set"), "set", &constants, &constant_count);
	const struct yaml_node *text, *name;
	for (size_t i = 0; (text = one_of(match, i)); i++) {
		if (text->kind != YAML_SCALAR) {
			wrong(l, text, "'match' is text, not %s", yaml_kind_name(text));
			continue;
		}
		if (l->p->count == PATTERNS_MAX) {
			wrong(l, text, "more than %d patterns", PATTERNS_MAX);
			return;
		}
		struct pattern *p = compile(l, text);
		if (!p)
			continue;
		l->p->count++;
		p->constants = constants;
		p->constant_count = constant_count;
		for (size_t k = 0; (name = one_of(programs, k)); k++)
			add_to_program(l, name->text, p);
	}
}

/* The names a group is for: false when there is something wrong with them. */
static bool check_programs(struct loader *l, const struct yaml_node *group,
                           const struct yaml_node *programs)
{
	const struct yaml_node *name;
	bool good = programs && (programs->kind == YAML_SCALAR ||
	                         (programs->kind == YAML_LIST && programs->count));

	if (!good) {
		wrong(l, programs ? programs : group,
		      "'program' is a name, a list of names, or '*' for any program");
		return false;
	}
	for (size_t i = 0; (name = one_of(programs, i)); i++) {
		if (name->kind == YAML_SCALAR && name->text.n && name->text.n <= FIELD_NAME_MAX)
			continue;
		wrong(l, name, "the name of a program has 1 to %d bytes", FIELD_NAME_MAX);
		good = false;
	}
	return good;
}

static void read_group(struct loader *l, const struct yaml_node *group)
{
	static const char *const keys[] = {"program", "rename", "patterns"};

	if (group->kind != YAML_MAP) {
		wrong(l, group, "a group is a map with 'program' and 'patterns', not %s",
		      yaml_kind_name(group));
		return;
	}
	check_keys(l, group, keys, ARRAY_LEN(keys));
	const struct yaml_node *programs = yaml_get(group, "program");
	const struct yaml_node *entries = yaml_get(group, "patterns");
	if (!check_programs(l, group, programs))
		return;
	if (!entries || entries->kind != YAML_LIST) {
		wrong(l, entries ? entries : group, "a group has 'patterns': a list");
		return;
	}
	read_constants(l, yaml_get(group, "rename"), "rename", &l->renames, &l->rename_count);
	for (size_t i = 0; i < entries->count; i++)
		read_entry(l, programs, entries->items[i]);
}

/* Some value of that name is the text. */
static bool has_value(const struct event *e, struct str name, struct str value)
{
	for (const struct field *f = event_find(e, name); f; f = event_next(e, f))
		if (str_eq(f->value, value))
			return true;
	return false;
}

static void try_example(struct loader *l, struct event *e, struct str program,
                        const struct yaml_node *example)
{
	const struct yaml_node *line = yaml_get(example, "line"),
			       *fields = yaml_get(example, "fields");

	event_reset(e);
	if (!patterns_decode(l->p, e, program, line->text)) {
		wrong(l, line, "no pattern of '%.*s' fits this example", STR_FMT(program));
		return;
	}
	for (size_t i = 0; i < fields->count; i++) {
		struct yaml_pair *want = &fields->pairs[i];
		struct str got = event_value(e, want->key);
		if (want->value->kind == YAML_NULL ? !got.p
		                                   : has_value(e, want->key, want->value->text))
			continue;
		wrong(l, want->value, "the example gives %.*s = %s%.*s%s", STR_FMT(want->key),
		      got.p ? "'" : "nothing", STR_FMT(str_head(got, 100)), got.p ? "'" : "");
	}
}

static void try_examples(struct loader *l, const struct yaml_node *groups)
{
	struct event e;

	event_setup(&e);
	for (size_t g = 0; g < groups->count; g++) {
		const struct yaml_node *entries = yaml_get(groups->items[g], "patterns");
		struct str program = one_of(yaml_get(groups->items[g], "program"), 0)->text;
		for (size_t i = 0; i < entries->count; i++) {
			const struct yaml_node *list = yaml_get(entries->items[i], "examples");
			for (size_t k = 0; k < list->count; k++)
				try_example(l, &e, program, list->items[k]);
		}
	}
	event_release(&e);
}

/* What a message that fits from node `i` on can begin with. Anything may stand where a capture does. */
static bool can_begin_with(const struct pattern_node *nodes, size_t i, size_t first)
{
	switch (nodes[i].kind) {
	case NODE_LITERAL: return first == (unsigned char)nodes[i].text.p[0];
	case NODE_OPTION:
		return can_begin_with(nodes, i + 1, first) ||
		       can_begin_with(nodes, nodes[i].skip, first);
	case NODE_CAPTURE: return true;
	default: return false;
	}
}

static bool begins_with(const struct pattern *p, size_t first)
{
	return first == PATTERN_NO_FIRST || can_begin_with(p->nodes, 0, first);
}

static void index_program(struct arena *arena, struct program *program)
{
	for (size_t first = 0; first < PATTERN_FIRSTS; first++) {
		size_t n = 0;
		for (size_t i = 0; i < program->count; i++)
			n += begins_with(program->items[i], first);
		struct pattern **list = arena_alloc(arena, (n + 1) * sizeof(struct pattern *));
		list[n] = NULL;
		for (size_t i = program->count; n; i--)
			if (begins_with(program->items[i - 1], first))
				list[--n] = program->items[i - 1];
		program->firsts[first] = list;
	}
}

static void index_programs(struct patterns *p)
{
	const struct map_entry *e;
	size_t at = 0;

	index_program(&p->arena, &p->any);
	while ((e = map_next(&p->programs, &at)))
		index_program(&p->arena, e->value);
}

static void read_document(struct loader *l, const struct yaml_node *doc)
{
	static const char *const keys[] = {"programs"};
	const struct yaml_node *groups = yaml_get(doc, "programs");
	size_t errors = l->diags->errors;

	if (doc->kind != YAML_MAP || !groups || groups->kind != YAML_LIST) {
		wrong(l, doc, "the file is a map with 'programs': a list of groups");
		return;
	}
	check_keys(l, doc, keys, ARRAY_LEN(keys));
	for (size_t i = 0; i < groups->count; i++)
		read_group(l, groups->items[i]);
	index_programs(l->p);
	if (l->diags->errors == errors)
		try_examples(l, groups);
}

static void free_program(void *value)
{
	struct program *p = value;
	free(p->items);
	free(p);
}

void patterns_free(struct patterns *p)
{
	if (!p)
		return;
	map_release(&p->programs, free_program);
	free(p->any.items);
	arena_release(&p->arena);
	free(p);
}

int patterns_load(const char *file, struct diags *diags, struct patterns **ret)
{
	struct loader l = {.file = file, .diags = diags, .p = xcalloc(1, sizeof(*l.p))};
	struct arena tree;
	struct yaml_node **docs;
	size_t count, errors = diags->errors;

	arena_init(&tree, 0);
	arena_init(&l.p->arena, 0);
	map_init(&l.p->programs);
	index_programs(l.p); /* a file without a document has none */
	int r = yaml_load(&tree, file, diags, &docs, &count);
	for (size_t i = 0; r == 0 && i < count; i++)
		read_document(&l, docs[i]);
	arena_release(&tree);
	if (r == 0 && diags->errors > errors)
		r = -EINVAL;
	if (r < 0) {
		patterns_free(l.p);
		return r;
	}
	*ret = l.p;
	return 0;
}
