/* Built from libfyaml's events, not from its document tree: only so are nodes, levels and aliases counted while
 * they arrive, before they cost memory, and duplicate keys are told all in one run with both of their places.
 *
 * An alias shares the node of its anchor, it does not copy it. What a reader then walks is larger than what is held, so
 * an anchor remembers the size of its tree with all aliases in it taken apart ("expanded"), and every alias counts that
 * size against YAML_NODES_MAX: the "billion laughs" file ends at its seventh line. */
#include "base/yaml.h"

#include <errno.h>
#include <libfyaml.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/utf8.h"

#define LINEAR_KEYS 16 /* maps up to this size are searched for duplicates pair by pair */

struct position {
	int line, column;
};

struct anchor {
	struct yaml_node *node;
	size_t size; /* nodes, expanded */
	size_t height;
	bool open; /* its end has not been seen: an alias to it would be a cycle */
};

/* A list or map whose end has not been seen. */
struct frame {
	struct yaml_node *node;
	size_t first; /* its first entry in builder.pairs */
	size_t size;
	size_t height; /* of its highest entry */
	struct anchor *anchor;
	struct position key_at;
	struct str key; /* p == NULL: the next node of a map is a key */
};

struct builder {
	struct arena *arena;
	const char *file;
	struct diags *diags;
	struct frame stack[YAML_DEPTH_MAX];
	size_t depth;
	struct yaml_pair
		*pairs; /* of all open frames, one after the other; items of lists have no key */
	size_t pair_count, pair_cap;
	struct map anchors; /* of this document: name → struct anchor */
	struct yaml_node **docs;
	size_t doc_count, doc_cap;
	size_t nodes; /* so far, expanded */
	struct position last;
	bool bad; /* something wrong was told */
};

static void complain(struct builder *b, struct position at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void complain(struct builder *b, struct position at, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	diag_add(b->diags, DIAG_ERROR, b->file, at.line, at.column, "%s", text);
	b->bad = true;
}

static void *out_of_arena(struct builder *b)
{
	complain(b, b->last, "the file takes more memory than it may (%zu bytes)", b->arena->limit);
	return NULL;
}

static struct yaml_node *new_node(struct builder *b, enum yaml_kind kind, struct position at)
{
	if (b->nodes >= YAML_NODES_MAX) {
		complain(b, at, "more than %d nodes", YAML_NODES_MAX);
		return NULL;
	}
	struct yaml_node *node = arena_alloc(b->arena, sizeof(*node));
	if (!node)
		return out_of_arena(b);
	b->nodes++;
	*node = (struct yaml_node){.kind = kind, .line = at.line, .column = at.column};
	return node;
}

/* ---- keys ---- */

static void duplicate(struct builder *b, const struct yaml_pair *again,
                      const struct yaml_pair *first)
{
	complain(b, (struct position){again->line, again->column},
	         "key `%.*s` stands here a second time (first in line %d)",
	         (int)(again->key.n < 200 ? again->key.n : 200), again->key.p, first->line);
}

static void check_duplicates(struct builder *b, struct yaml_pair *pairs, size_t count)
{
	if (count <= LINEAR_KEYS) {
		for (size_t i = 1; i < count; i++)
			for (size_t j = 0; j < i; j++)
				if (str_eq(pairs[i].key, pairs[j].key)) {
					duplicate(b, &pairs[i], &pairs[j]);
					break;
				}
		return;
	}
	struct map seen;
	map_init(&seen);
	for (size_t i = 0; i < count; i++) {
		const struct yaml_pair *first = map_get(&seen, pairs[i].key);
		if (first)
			duplicate(b, &pairs[i], first);
		else
			map_put(&seen, pairs[i].key, &pairs[i]);
	}
	map_release(&seen, NULL);
}

/* ---- putting nodes into the tree; all return false after a complaint that ends the parsing ---- */

static bool add_entry(struct builder *b, struct yaml_node *node, struct position at, size_t size,
                      size_t height)
{
	if (b->depth == 0) {
		xgrow(&b->docs, &b->doc_cap, b->doc_count + 1, sizeof(struct yaml_node *));
		b->docs[b->doc_count++] = node;
		return true;
	}
	struct frame *f = &b->stack[b->depth - 1];
	f->size += size;
	if (height > f->height)
		f->height = height;
	if (f->node->kind == YAML_MAP && !f->key.p) {
		if (node->kind != YAML_SCALAR && node->kind != YAML_NULL) {
			complain(b, at, "a key must be text, not %s", yaml_kind_name(node));
			return false;
		}
		f->key = node->text;
		f->key_at = at;
		return true;
	}
	xgrow(&b->pairs, &b->pair_cap, b->pair_count + 1, sizeof(*b->pairs));
	b->pairs[b->pair_count++] =
		(struct yaml_pair){f->key, f->key_at.line, f->key_at.column, node};
	f->key = STR_NONE;
	return true;
}

static bool open_frame(struct builder *b, struct yaml_node *node, struct anchor *anchor)
{
	if (b->depth == YAML_DEPTH_MAX) {
		complain(b, (struct position){node->line, node->column},
		         "nested deeper than %d levels", YAML_DEPTH_MAX);
		return false;
	}
	b->stack[b->depth++] =
		(struct frame){.node = node, .first = b->pair_count, .size = 1, .anchor = anchor};
	return true;
}

static bool close_frame(struct builder *b)
{
	struct frame f = b->stack[--b->depth];
	struct yaml_pair *pairs = b->pairs + f.first;
	size_t count = b->pair_count - f.first;

	b->pair_count = f.first;
	f.node->count = count;
	if (f.node->kind == YAML_MAP) {
		check_duplicates(b, pairs, count);
		f.node->pairs = arena_alloc(b->arena, count * sizeof(*pairs));
		if (!f.node->pairs)
			return out_of_arena(b);
		if (count)
			memcpy(f.node->pairs, pairs, count * sizeof(*pairs));
	} else {
		f.node->items = arena_alloc(b->arena, count * sizeof(struct yaml_node *));
		if (!f.node->items)
			return out_of_arena(b);
		for (size_t i = 0; i < count; i++)
			f.node->items[i] = pairs[i].value;
	}
	if (f.anchor) {
		f.anchor->size = f.size;
		f.anchor->height = f.height + 1;
		f.anchor->open = false;
	}
	return add_entry(b, f.node, (struct position){f.node->line, f.node->column}, f.size,
	                 f.height + 1);
}

/* ---- events ---- */

/* libfyaml marks a quoted text behind its quote and an alias behind its star. */
static struct position position_of(struct fy_event *e, struct builder *b)
{
	const struct fy_mark *mark = fy_event_start_mark(e);
	bool behind = e->type == FYET_ALIAS;

	if (e->type == FYET_SCALAR) {
		enum fy_scalar_style style = fy_token_scalar_style(e->scalar.value);
		behind = style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
	}
	if (mark)
		b->last = (struct position){mark->line + 1,
		                            mark->column + (behind && mark->column ? 0 : 1)};
	else if (b->depth && b->stack[b->depth - 1].key.p)
		return b->stack[b->depth - 1].key_at; /* the empty value of that key */
	return b->last;
}

static struct str token_text(struct fy_token *token)
{
	size_t n = 0;
	const char *p = token ? fy_token_get_text(token, &n) : NULL;

	return p ? str_make(p, n) : STR_NONE;
}

/* Remembers `node` under the event's anchor, if it has one (else *ret_anchor is NULL). A name may be used again: the
 * last one counts. */
static bool note_anchor(struct builder *b, struct fy_event *e, struct yaml_node *node,
                        struct anchor **ret_anchor)
{
	struct fy_token *token = fy_event_get_anchor_token(e);

	*ret_anchor = NULL;
	if (!token)
		return true;
	struct anchor *a = arena_alloc(b->arena, sizeof(*a));
	if (!a)
		return out_of_arena(b);
	*a = (struct anchor){.node = node, .size = 1, .open = node->kind >= YAML_LIST};
	map_put(&b->anchors, token_text(token), a);
	*ret_anchor = a;
	return true;
}

/* The tags that say no more than the kind already does pass, `!!str` makes text of anything, others would be
 * misread without a word. */
static bool check_tag(struct builder *b, struct fy_event *e, struct position at, bool *ret_string)
{
	static const char *const standard[] = {"str", "int", "float", "bool", "null", "map", "seq"};
	struct fy_token *token = fy_event_get_tag_token(e);
	struct str tag = token_text(token), rest = tag;

	*ret_string = false;
	if (!token)
		return true;
	if (str_eq(tag, STR("!"))) {
		*ret_string = true;
		return true;
	}
	if (str_starts(tag, STR("tag:yaml.org,2002:")))
		rest = str_skip(tag, sizeof("tag:yaml.org,2002:") - 1);
	for (size_t i = 0; rest.n != tag.n && i < ARRAY_LEN(standard); i++)
		if (str_eq(rest, str_of(standard[i]))) {
			*ret_string = i == 0;
			return true;
		}
	complain(b, at, "the tag `%.*s` is not supported", (int)(tag.n < 200 ? tag.n : 200), tag.p);
	return false;
}

static bool is_null(struct str text)
{
	return text.n == 0 || str_eq(text, STR("~")) || str_eq(text, STR("null")) ||
	       str_eq(text, STR("Null")) || str_eq(text, STR("NULL"));
}

static bool on_scalar(struct builder *b, struct fy_event *e)
{
	struct position at = position_of(e, b);
	struct fy_token *token = fy_event_get_token(e);
	struct str text = token_text(token);
	enum fy_scalar_style style = fy_token_scalar_style(token);
	bool string;

	if (!check_tag(b, e, at, &string))
		return false;
	struct yaml_node *node = new_node(b, YAML_SCALAR, at);
	if (!node)
		return false;
	node->quoted = string || (style != FYSS_PLAIN && style != FYSS_ANY);
	if (!node->quoted && is_null(text))
		node->kind = YAML_NULL;
	if (style == FYSS_DOUBLE_QUOTED && !utf8_valid(text)) {
		complain(b, at, "an escape in this text stands for no character");
		return false;
	}
	node->text = arena_str(b->arena, text);
	if (!node->text.p)
		return out_of_arena(b);
	struct anchor *anchor;
	return note_anchor(b, e, node, &anchor) && add_entry(b, node, at, 1, 0);
}

static bool on_start(struct builder *b, struct fy_event *e, enum yaml_kind kind)
{
	struct position at = position_of(e, b);
	bool string;

	if (!check_tag(b, e, at, &string))
		return false;
	struct yaml_node *node = new_node(b, kind, at);
	if (!node)
		return false;
	struct anchor *anchor;
	return note_anchor(b, e, node, &anchor) && open_frame(b, node, anchor);
}

static bool on_alias(struct builder *b, struct fy_event *e)
{
	struct position at = position_of(e, b);
	struct str name = token_text(e->alias.anchor);
	const struct anchor *a = map_get(&b->anchors, name);
	int shown = (int)(name.n < 200 ? name.n : 200);

	if (!a || a->open) {
		complain(b, at,
		         a ? "`*%.*s` stands inside of what it names"
		           : "`*%.*s` names no anchor above it",
		         shown, name.p);
		return false;
	}
	if (a->size > YAML_NODES_MAX - b->nodes) {
		complain(b, at, "more than %d nodes when `*%.*s` is followed", YAML_NODES_MAX,
		         shown, name.p);
		return false;
	}
	if (b->depth + a->height > YAML_DEPTH_MAX) {
		complain(b, at, "nested deeper than %d levels when `*%.*s` is followed",
		         YAML_DEPTH_MAX, shown, name.p);
		return false;
	}
	b->nodes += a->size;
	return add_entry(b, a->node, at, a->size, a->height);
}

static bool on_event(struct builder *b, struct fy_event *e)
{
	switch (e->type) {
	case FYET_DOCUMENT_START: map_release(&b->anchors, NULL); return true;
	case FYET_SCALAR: return on_scalar(b, e);
	case FYET_ALIAS: return on_alias(b, e);
	case FYET_SEQUENCE_START: return on_start(b, e, YAML_LIST);
	case FYET_MAPPING_START: return on_start(b, e, YAML_MAP);
	case FYET_SEQUENCE_END:
	case FYET_MAPPING_END: return close_frame(b);
	default: return true;
	}
}

/* ---- the whole file ---- */

static void swallow(struct fy_diag *diag, void *user, const char *text, size_t n)
{
	(void)diag;
	(void)user;
	(void)text;
	(void)n;
}

static struct fy_diag *new_diag(void)
{
	struct fy_diag_cfg cfg;

	fy_diag_cfg_default(&cfg);
	cfg.fp = NULL;
	cfg.output_fn = swallow;
	cfg.level = FYET_ERROR;
	cfg.colorize = false;
	struct fy_diag *diag = fy_diag_create(&cfg);
	if (diag)
		fy_diag_set_collect_errors(diag, true);
	return diag;
}

/* The column of a tab in the indentation of that line, 0 if there is none. */
static int tab_in_indentation(struct str text, int line)
{
	struct str head = STR_NONE;

	for (int i = 0; i < line; i++) {
		if (!text.p)
			return 0;
		head = str_split(&text, '\n');
	}
	for (size_t i = 0; i < head.n && (head.p[i] == ' ' || head.p[i] == '\t'); i++)
		if (head.p[i] == '\t')
			return (int)i + 1;
	return 0;
}

/* libfyaml's words, and where they would leave the reader to guess, what it usually is: a tab makes a line the
 * continuation of the one before, and the error is then reported there; an empty item in a list that stands no
 * deeper than its key is refused by libfyaml 0.7 although YAML allows it. */
static void tell_syntax_error(struct builder *b, struct str text, const struct fy_diag_error *error)
{
	struct position at = {error->line, error->column};
	const char *hint = "";

	for (int line = at.line; !strstr(error->msg, "tab ") && line <= at.line + 1; line++) {
		int column = tab_in_indentation(text, line);
		if (column) {
			complain(b, (struct position){line, column},
			         "a tab in the indentation, YAML takes only spaces (%s)",
			         error->msg);
			return;
		}
	}
	if (strstr(error->msg, "did not find expected node content"))
		hint = " (if the list item before this is meant to be empty, write `- ~`)";
	complain(b, at, "%s%s", error->msg, hint);
}

static void tell_syntax_errors(struct builder *b, struct str text, struct fy_diag *diag)
{
	struct fy_diag_error *error;
	void *at = NULL;

	while ((error = fy_diag_errors_iterate(diag, &at)))
		if (error->type >= FYET_ERROR)
			tell_syntax_error(b, text, error);
	if (!b->bad)
		complain(b, b->last, "no YAML from here on");
}

static void run(struct builder *b, struct str text, struct fy_parser *parser, struct fy_diag *diag)
{
	struct fy_event *e;
	bool going = true;

	while (going && (e = fy_parser_parse(parser))) {
		going = on_event(b, e);
		fy_parser_event_free(parser, e);
	}
	if (going && fy_parser_get_stream_error(parser))
		tell_syntax_errors(b, text, diag);
}

/* libfyaml would take both as characters of a text; nobody means them. */
static int check_bytes(const char *file, struct str text, struct diags *diags)
{
	struct position at = {1, 1};

	if (utf8_valid(text) && str_find(text, '\0') < 0)
		return 0;
	while (text.n && text.p[0]) {
		size_t n = utf8_sequence(text);
		if (n == 0)
			break;
		at.column++;
		if (text.p[0] == '\n')
			at = (struct position){at.line + 1, 1};
		text = str_skip(text, n);
	}
	if (text.n && text.p[0] == '\0')
		diag_add(diags, DIAG_ERROR, file, at.line, at.column,
		         "a NUL byte: this is no text file");
	else
		diag_add(diags, DIAG_ERROR, file, at.line, at.column,
		         "byte 0x%02x is no valid UTF-8", text.n ? (unsigned char)text.p[0] : 0u);
	return -EINVAL;
}

int yaml_parse(struct arena *arena, const char *file, struct str text, struct diags *diags,
               struct yaml_node ***ret_docs, size_t *ret_count)
{
	if (check_bytes(file, text, diags) < 0)
		return -EINVAL;
	struct fy_diag *diag = new_diag();
	const struct fy_parse_cfg cfg = {
		.flags = FYPCF_QUIET | FYPCF_JSON_NONE | FYPCF_DEFAULT_VERSION_1_2, .diag = diag};
	struct fy_parser *parser = diag ? fy_parser_create(&cfg) : NULL;
	struct builder *b = xcalloc(1, sizeof(*b));
	struct yaml_node **docs = NULL;

	b->arena = arena;
	b->file = file;
	b->diags = diags;
	b->last = (struct position){1, 1};
	map_init(&b->anchors);
	xgrow(&b->pairs, &b->pair_cap, 1, sizeof(*b->pairs));
	if (!parser || fy_parser_set_string(parser, text.n ? text.p : "", text.n) != 0)
		complain(b, (struct position){0}, "the YAML parser cannot be started");
	else
		run(b, text, parser, diag);
	if (!b->bad) {
		docs = arena_alloc(arena, b->doc_count * sizeof(struct yaml_node *));
		if (!docs)
			out_of_arena(b);
		else if (b->doc_count)
			memcpy(docs, b->docs, b->doc_count * sizeof(struct yaml_node *));
	}
	int r = b->bad ? -EINVAL : 0;
	if (r == 0) {
		*ret_docs = docs;
		*ret_count = b->doc_count;
	}
	fy_parser_destroy(parser);
	if (diag)
		fy_diag_destroy(diag);
	map_release(&b->anchors, NULL);
	free(b->pairs);
	free(b->docs);
	free(b);
	return r;
}

int yaml_load(struct arena *arena, const char *file, struct diags *diags,
              struct yaml_node ***ret_docs, size_t *ret_count)
{
	struct buf text;
	buf_init(&text, YAML_FILE_MAX);
	int r = path_read(file, &text);

	if (r == -EFBIG)
		diag_add(diags, DIAG_ERROR, file, 0, 0, "larger than %zu MiB", YAML_FILE_MAX >> 20);
	else if (r < 0)
		diag_add(diags, DIAG_ERROR, file, 0, 0, "cannot be read: %s", strerror(-r));
	else
		r = yaml_parse(arena, file, buf_str(&text), diags, ret_docs, ret_count);
	buf_release(&text);
	return r;
}

/* ---- reading the tree ---- */

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	struct str name = str_of(key);

	if (!map || map->kind != YAML_MAP)
		return NULL;
	for (size_t i = 0; i < map->count; i++)
		if (str_eq(map->pairs[i].key, name))
			return map->pairs[i].value;
	return NULL;
}

const char *yaml_text(const struct yaml_node *map, const char *key)
{
	const struct yaml_node *node = yaml_get(map, key);

	return node && node->kind == YAML_SCALAR ? node->text.p : NULL;
}

int yaml_bool(const struct yaml_node *node, bool *ret)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {{"true", true}, {"false", false}, {"yes", true},
	             {"no", false},  {"on", true},     {"off", false}};

	if (!node || node->kind != YAML_SCALAR || node->quoted)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_ieq(node->text, str_of(words[i].word))) {
			*ret = words[i].value;
			return 0;
		}
	return -EINVAL;
}

const char *yaml_kind_name(const struct yaml_node *node)
{
	static const char *const names[] = {
		[YAML_NULL] = "nothing",
		[YAML_SCALAR] = "text",
		[YAML_LIST] = "a list",
		[YAML_MAP] = "a map",
	};

	return node ? names[node->kind] : "nothing";
}
