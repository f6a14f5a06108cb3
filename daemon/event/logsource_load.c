/* conf/logsources.yaml into tables. Errors are collected, so that one run tells all of them; a name gets its slot
 * where it is first mentioned. */
#include "event/logsource.h"

#include <errno.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "event/logsource_table.h"

struct loader {
	struct logsources *l;
	const char *file;
	struct diags *diags;
	struct map slots; /* name → slot + 1 */
};

static const char *const TOP_KEYS[] = {"strip", "rename", "fields", "derive", "sources"};
static const char *const DERIVE_KEYS[] = {"field", "when", "from",    "value",
                                          "skip",  "only", "displace"};
static const char *const SOURCE_KEYS[] = {"product", "category", "service", "when", "beside"};
static const char *const TESTS[] = {"startswith", "endswith", "contains", "exists"};
static const enum field_test TEST_KINDS[] = {FIELD_STARTS, FIELD_ENDS, FIELD_CONTAINS,
                                             FIELD_EXISTS};
static const char *const PART_NAMES[] = {"word", "path", "all", "list"};
static const enum part_kind PART_KINDS[] = {PART_WORD, PART_PATH, PART_VALUES, PART_NUMBERED};

#define FAIL(loader, node, ...)                                                                    \
	diag_add((loader)->diags, DIAG_ERROR, (loader)->file, (node)->line, (node)->column,        \
	         __VA_ARGS__)

static void *keep(struct loader *x, size_t size)
{
	void *p = arena_alloc(&x->l->arena, size ? size : 1);

	memset(p, 0, size);
	return p;
}

static struct str keep_str(struct loader *x, struct str s)
{
	return arena_str(&x->l->arena, s);
}

/* The number of a name; a new name gets the next one. LOGSOURCE_NO_SLOT past the limit, told at `at`. */
static uint16_t slot_of(struct loader *x, const struct yaml_node *at, struct str name)
{
	struct logsources *l = x->l;
	uintptr_t known = (uintptr_t)map_get(&x->slots, name);

	if (known)
		return (uint16_t)(known - 1);
	if (l->name_count == LOGSOURCE_NAMES_MAX) {
		FAIL(x, at, "more than %d field names in one file", LOGSOURCE_NAMES_MAX);
		return LOGSOURCE_NO_SLOT;
	}
	xgrow(&l->names, &l->name_cap, l->name_count + 1, sizeof(*l->names));
	l->names[l->name_count] = (struct field_name){
		.text = keep_str(x, name),
		.hash = event_name_hash(name),
		.rename = LOGSOURCE_NO_SLOT,
	};
	map_put(&x->slots, name, (void *)(uintptr_t)(l->name_count + 1));
	return (uint16_t)l->name_count++;
}

/* Calls back for the scalar itself or for each scalar of the list; an error for anything else. */
static bool each_text(struct loader *x, const struct yaml_node *node, const char *what,
                      void (*visit)(struct loader *, const struct yaml_node *, void *), void *arg)
{
	if (node->kind == YAML_SCALAR) {
		visit(x, node, arg);
		return true;
	}
	if (node->kind != YAML_LIST || node->count == 0) {
		FAIL(x, node, "%s must be text or a list of texts, not %s", what,
		     yaml_kind_name(node));
		return false;
	}
	bool good = true;
	for (size_t i = 0; i < node->count; i++) {
		if (node->items[i]->kind == YAML_SCALAR) {
			visit(x, node->items[i], arg);
			continue;
		}
		FAIL(x, node->items[i], "%s must be text, not %s", what,
		     yaml_kind_name(node->items[i]));
		good = false;
	}
	return good;
}

struct texts {
	struct str *items;
	size_t count;
};

static void collect_text(struct loader *x, const struct yaml_node *node, void *arg)
{
	struct texts *t = arg;

	t->items[t->count++] = keep_str(x, node->text);
}

/* The scalar, or the scalars of the list. */
static bool texts_of(struct loader *x, const struct yaml_node *node, const char *what,
                     struct texts *ret)
{
	*ret = (struct texts){0};
	ret->items = keep(x, sizeof(*ret->items) * (node->kind == YAML_LIST ? node->count : 1));
	return each_text(x, node, what, collect_text, ret);
}

/* Tells a key that is none of `keys`, with the nearest that is. */
static bool known_keys(struct loader *x, const struct yaml_node *node, const char *what,
                       const char *const *keys, size_t count)
{
	bool good = true;

	if (node->kind != YAML_MAP) {
		FAIL(x, node, "%s must be a map, not %s", what, yaml_kind_name(node));
		return false;
	}
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_pair *p = &node->pairs[i];
		size_t j = 0;
		while (j < count && !str_eq(p->key, str_of(keys[j])))
			j++;
		if (j < count)
			continue;
		const char *near = diag_suggest(p->key.p, keys, count);
		FAIL(x, p, "unknown key '%.*s'%s%s%s", STR_FMT(p->key),
		     near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
		good = false;
	}
	return good;
}

/* --- conditions --- */

static struct when *when_new(struct loader *x, enum when_kind kind, size_t parts)
{
	struct when *w = keep(x, sizeof(*w));

	w->kind = kind;
	w->slot = LOGSOURCE_NO_SLOT;
	w->parts = keep(x, sizeof(struct when *) * parts);
	return w;
}

/* "NAME" or "NAME|TEST". */
static bool when_test(struct loader *x, const struct yaml_pair *pair, const struct yaml_node *at,
                      struct when *w)
{
	struct str test = pair->key, name = str_split(&test, '|');

	w->test = FIELD_EQUALS;
	if (str_eq(name, STR(LOGSOURCE_SOURCE)))
		w->kind = WHEN_SOURCE;
	else if ((w->slot = slot_of(x, at, name)) == LOGSOURCE_NO_SLOT)
		return false;
	if (!test.p)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(TESTS); i++) {
		if (!str_eq(test, str_of(TESTS[i])))
			continue;
		w->test = TEST_KINDS[i];
		return true;
	}
	const char *near = diag_suggest(test.p, TESTS, ARRAY_LEN(TESTS));
	FAIL(x, pair, "unknown test '%.*s'%s%s%s", STR_FMT(test), near ? ", did you mean '" : "",
	     near ? near : "", near ? "'?" : " (known: startswith, endswith, contains, exists)");
	return false;
}

static struct when *when_field(struct loader *x, const struct yaml_pair *pair)
{
	struct when *w = when_new(x, WHEN_FIELD, 0);
	struct texts t;

	if (!when_test(x, pair, pair->value, w))
		return NULL;
	if (w->test == FIELD_EXISTS && w->kind == WHEN_SOURCE) {
		FAIL(x, pair, "every event has a source");
		return NULL;
	}
	if (w->test == FIELD_EXISTS) {
		if (yaml_bool(pair->value, &w->present) == 0)
			return w;
		FAIL(x, pair->value, "'exists' takes true or false");
		return NULL;
	}
	if (!texts_of(x, pair->value, "a value to compare with", &t))
		return NULL;
	w->values = t.items;
	w->value_count = t.count;
	for (size_t i = 0; i < t.count; i++) {
		if (t.items[i].n || w->test == FIELD_EQUALS)
			continue;
		FAIL(x, pair->value, "an empty text is part of every value");
		return NULL;
	}
	return w;
}

static struct when *when_parse(struct loader *x, const struct yaml_node *node, unsigned depth);

static struct when *when_pair(struct loader *x, const struct yaml_pair *pair, unsigned depth)
{
	if (str_eq(pair->key, STR("any"))) {
		if (pair->value->kind == YAML_LIST)
			return when_parse(x, pair->value, depth + 1);
		FAIL(x, pair->value, "'any' takes a list of conditions, not %s",
		     yaml_kind_name(pair->value));
		return NULL;
	}
	if (!str_eq(pair->key, STR("not")))
		return when_field(x, pair);
	struct when *inner = when_parse(x, pair->value, depth + 1);
	if (!inner)
		return NULL;
	struct when *w = when_new(x, WHEN_NOT, 1);
	w->parts[w->count++] = inner;
	return w;
}

/* A map: all of it. A list of maps: any of them. NULL when something is wrong (told). */
static struct when *when_parse(struct loader *x, const struct yaml_node *node, unsigned depth)
{
	if ((node->kind != YAML_MAP && node->kind != YAML_LIST) || node->count == 0) {
		FAIL(x, node, "a condition is a map of fields, or a list of such maps, not %s",
		     node->kind == YAML_MAP || node->kind == YAML_LIST ? "an empty one"
		                                                       : yaml_kind_name(node));
		return NULL;
	}
	if (depth > LOGSOURCE_WHEN_DEPTH) {
		FAIL(x, node, "conditions nested deeper than %d levels", LOGSOURCE_WHEN_DEPTH);
		return NULL;
	}
	struct when *w = when_new(x, node->kind == YAML_MAP ? WHEN_ALL : WHEN_ANY, node->count);
	bool good = true;
	for (size_t i = 0; i < node->count; i++) {
		struct when *part = node->kind == YAML_MAP
		                            ? when_pair(x, &node->pairs[i], depth)
		                            : when_parse(x, node->items[i], depth + 1);
		if (part)
			w->parts[w->count++] = part;
		else
			good = false;
	}
	return good ? w : NULL;
}

/* --- names: strip, rename, fields --- */

static void add_prefix(struct loader *x, const struct yaml_node *node, void *arg)
{
	struct logsources *l = x->l;
	struct prefix *p = &l->prefixes[l->prefix_count];
	struct str text = keep_str(x, node->text);
	ptrdiff_t mark = str_find(text, '?');

	(void)arg;
	if (text.n < 2 || text.p[text.n - 1] != '.' || text.p[0] == '?') {
		FAIL(x, node,
		     "a prefix ends in a dot and begins with a name, like 'winlog.event_data.'");
		return;
	}
	*p = (struct prefix){.head = text};
	if (mark >= 0) {
		p->element = true;
		p->head = str_head(text, (size_t)mark);
		p->tail = str_skip(text, (size_t)mark + 1);
		if (p->tail.p[0] != '.' || str_find(p->tail, '?') >= 0) {
			FAIL(x, node,
			     "'?' stands for one whole element of the path, and only once");
			return;
		}
	}
	size_t n = p->head.n < 8 ? p->head.n : 8;
	memcpy(&p->word, p->head.p, n);
	memset(&p->mask, 0xff, n);
	const struct prefix **last = &l->prefix_from[(unsigned char)text.p[0]];
	while (*last)
		last = &l->prefixes[*last - l->prefixes].next;
	*last = p;
	l->prefix_count++;
}

static void load_strip(struct loader *x, const struct yaml_node *node)
{
	x->l->prefixes =
		keep(x, sizeof(struct prefix) * (node->kind == YAML_LIST ? node->count : 1));
	each_text(x, node, "a prefix", add_prefix, NULL);
}

static void load_rename(struct loader *x, const struct yaml_node *node)
{
	if (node->kind != YAML_MAP) {
		FAIL(x, node, "'rename' must be a map, not %s", yaml_kind_name(node));
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_pair *p = &node->pairs[i];
		if (p->value->kind != YAML_SCALAR || p->value->text.n == 0) {
			FAIL(x, p->value, "a field is renamed to one name");
			continue;
		}
		uint16_t from = slot_of(x, p->value, p->key);
		uint16_t to = slot_of(x, p->value, p->value->text);
		if (from != LOGSOURCE_NO_SLOT && to != LOGSOURCE_NO_SLOT && from != to)
			x->l->names[from].rename = to;
	}
}

static void add_second(struct loader *x, const struct yaml_node *node, void *arg)
{
	const uint16_t *from = arg;
	uint16_t to = node->text.n ? slot_of(x, node, node->text) : LOGSOURCE_NO_SLOT;

	if (!node->text.n || to == *from)
		FAIL(x, node, "a second name must be a name, and another one");
	else if (to != LOGSOURCE_NO_SLOT)
		x->l->names[*from].second[x->l->names[*from].second_count++] = to;
}

static void load_fields(struct loader *x, const struct yaml_node *node)
{
	if (node->kind != YAML_MAP) {
		FAIL(x, node, "'fields' must be a map, not %s", yaml_kind_name(node));
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_pair *p = &node->pairs[i];
		uint16_t from = slot_of(x, p->value, p->key);
		if (from == LOGSOURCE_NO_SLOT)
			return;
		size_t count = p->value->kind == YAML_LIST ? p->value->count : 1;
		uint16_t *second = keep(x, sizeof(uint16_t) * count);
		x->l->names[from].second = second;
		each_text(x, p->value, "a second name", add_second, &from);
	}
}

/* --- derived fields --- */

/* What stands between braces: NAME, NAME:word, NAME:path, NAME:all or NAME0:list. */
static bool part_field(struct loader *x, const struct yaml_node *at, struct str inside,
                       struct part *ret)
{
	struct str kind = inside, name = str_split(&kind, ':');
	uint64_t number = 0;

	*ret = (struct part){.kind = PART_FIELD};
	if (name.n == 0) {
		FAIL(x, at, "a field's name is missing between the braces");
		return false;
	}
	if (kind.p) {
		size_t i = 0;
		while (i < ARRAY_LEN(PART_NAMES) && !str_eq(kind, str_of(PART_NAMES[i])))
			i++;
		if (i == ARRAY_LEN(PART_NAMES)) {
			FAIL(x, at, "unknown ':%.*s' (known: word, path, all, list)",
			     STR_FMT(kind));
			return false;
		}
		ret->kind = PART_KINDS[i];
	}
	if (ret->kind == PART_NUMBERED) {
		size_t n = name.n;
		while (n && name.p[n - 1] >= '0' && name.p[n - 1] <= '9')
			n--;
		ret->text = keep_str(x, str_head(name, n));
		if (str_to_u64(str_skip(name, n), &number) < 0 || number > UINT16_MAX) {
			FAIL(x, at, "':list' follows a name that ends in a number, like a0");
			return false;
		}
		ret->number = (unsigned)number;
	}
	ret->slot = slot_of(x, at, name);
	return ret->slot != LOGSOURCE_NO_SLOT;
}

static bool candidate_add(struct loader *x, const struct yaml_node *at, struct candidate *c,
                          const struct part *p)
{
	if (c->count == LOGSOURCE_PARTS_MAX) {
		FAIL(x, at, "more than %d parts in one template", LOGSOURCE_PARTS_MAX);
		return false;
	}
	c->parts[c->count++] = *p;
	return true;
}

/* "{SubjectDomainName}\{SubjectUserName}", or a bare field name. */
static bool candidate_parse(struct loader *x, const struct yaml_node *node, struct candidate *c)
{
	struct str rest = node->text;
	struct part p;

	c->parts = keep(x, sizeof(struct part) * LOGSOURCE_PARTS_MAX);
	if (str_find(rest, '{') < 0)
		return part_field(x, node, rest, &p) && candidate_add(x, node, c, &p);
	while (rest.n) {
		struct str text = str_split(&rest, '{');
		p = (struct part){.kind = PART_TEXT, .slot = LOGSOURCE_NO_SLOT};
		p.text = keep_str(x, text);
		if (text.n && !candidate_add(x, node, c, &p))
			return false;
		if (!rest.p)
			break;
		struct str inside = str_split(&rest, '}');
		if (!rest.p) {
			FAIL(x, node, "'{' without '}'");
			return false;
		}
		if (!part_field(x, node, inside, &p) || !candidate_add(x, node, c, &p))
			return false;
	}
	return true;
}

static void add_candidate(struct loader *x, const struct yaml_node *node, void *arg)
{
	struct derive *d = arg;

	if (candidate_parse(x, node, &d->from[d->from_count]))
		d->from_count++;
}

static bool derive_only(struct loader *x, const struct yaml_node *node, struct derive *d)
{
	if (!node)
		return true;
	d->address = node->kind == YAML_SCALAR && str_eq(node->text, STR("address"));
	if (!d->address)
		FAIL(x, node, "'only' knows no other kind of value than 'address'");
	return d->address;
}

static bool derive_displace(struct loader *x, const struct yaml_node *node, struct derive *d)
{
	d->displace = LOGSOURCE_NO_SLOT;
	if (!node)
		return true;
	if (node->kind == YAML_SCALAR && node->text.n)
		d->displace = slot_of(x, node, node->text);
	if (d->displace != LOGSOURCE_NO_SLOT && d->displace != d->slot)
		return true;
	FAIL(x, node, "'displace' takes another name");
	return false;
}

/* `from` (templates) or `value` (a constant). */
static bool derive_from(struct loader *x, const struct yaml_node *node, struct derive *d)
{
	const struct yaml_node *from = yaml_get(node, "from"), *value = yaml_get(node, "value");
	struct texts t;

	if (!from == !value) {
		FAIL(x, node, "a derived field needs 'from' or 'value'");
		return false;
	}
	if (from) {
		d->from = keep(x, sizeof(struct candidate) *
		                          (from->kind == YAML_LIST ? from->count : 1));
		return each_text(x, from, "'from'", add_candidate, d) && d->from_count;
	}
	if (!texts_of(x, value, "'value'", &t))
		return false;
	d->from = keep(x, sizeof(struct candidate));
	d->from[0].parts = keep(x, sizeof(struct part));
	d->from[0].parts[0] = (struct part){.kind = PART_TEXT, .text = t.items[0]};
	d->from[0].count = 1;
	d->from_count = 1;
	return true;
}

static bool derive_parse(struct loader *x, const struct yaml_node *node, struct derive *d)
{
	if (!known_keys(x, node, "a derived field", DERIVE_KEYS, ARRAY_LEN(DERIVE_KEYS)))
		return false;
	const struct yaml_node *field = yaml_get(node, "field"), *when = yaml_get(node, "when"),
			       *skip = yaml_get(node, "skip");
	struct texts t = {0};
	if (!field || field->kind != YAML_SCALAR || !field->text.n) {
		FAIL(x, node, "a derived field needs 'field', its name");
		return false;
	}
	if (skip && !texts_of(x, skip, "'skip'", &t))
		return false;
	d->skip = t.items;
	d->skip_count = t.count;
	d->slot = slot_of(x, field, field->text);
	d->when = when ? when_parse(x, when, 1) : NULL;
	return d->slot != LOGSOURCE_NO_SLOT && (!when || d->when) &&
	       derive_only(x, yaml_get(node, "only"), d) &&
	       derive_displace(x, yaml_get(node, "displace"), d) && derive_from(x, node, d);
}

static void load_derive(struct loader *x, const struct yaml_node *node)
{
	if (node->kind != YAML_LIST) {
		FAIL(x, node, "'derive' must be a list, not %s", yaml_kind_name(node));
		return;
	}
	if (node->count > LOGSOURCE_DERIVES_MAX) {
		FAIL(x, node, "more than %d derived fields in one file", LOGSOURCE_DERIVES_MAX);
		return;
	}
	x->l->derives = keep(x, sizeof(struct derive) * node->count);
	for (size_t i = 0; i < node->count; i++)
		if (derive_parse(x, node->items[i], &x->l->derives[x->l->derive_count]))
			x->l->derive_count++;
}

/* --- sources --- */

/* One entry for each combination of the item's products, categories and services. */
static bool add_source_entries(struct loader *x, const struct yaml_node *at, const struct texts *t)
{
	struct logsources *l = x->l;
	size_t counts[3];

	for (size_t i = 0; i < 3; i++)
		counts[i] = t[i].count ? t[i].count : 1;
	for (size_t n = 0; n < counts[0] * counts[1] * counts[2]; n++) {
		size_t p = n / (counts[1] * counts[2]), c = n / counts[2] % counts[1],
		       s = n % counts[2];
		if (l->entry_count == LOGSOURCES_MAX) {
			FAIL(x, at, "more than %d log sources in one file", LOGSOURCES_MAX);
			return false;
		}
		xgrow(&l->entries, &l->entry_cap, l->entry_count + 1, sizeof(*l->entries));
		l->entries[l->entry_count++] = (struct entry){
			.product = t[0].count ? t[0].items[p] : STR_NONE,
			.category = t[1].count ? t[1].items[c] : STR_NONE,
			.service = t[2].count ? t[2].items[s] : STR_NONE,
		};
	}
	return true;
}

static bool source_parse(struct loader *x, const struct yaml_node *node)
{
	struct logsources *l = x->l;
	struct texts t[3] = {0};

	if (!known_keys(x, node, "a log source", SOURCE_KEYS, ARRAY_LEN(SOURCE_KEYS)))
		return false;
	for (size_t i = 0; i < 3; i++) {
		const struct yaml_node *part = yaml_get(node, SOURCE_KEYS[i]);
		if (part && !texts_of(x, part, SOURCE_KEYS[i], &t[i]))
			return false;
	}
	if (!t[0].count && !t[1].count && !t[2].count) {
		FAIL(x, node, "a log source needs a product, a category or a service");
		return false;
	}
	const struct yaml_node *when = yaml_get(node, "when");
	if (!when) {
		FAIL(x, node, "a log source needs 'when', its condition");
		return false;
	}
	const struct yaml_node *beside = yaml_get(node, "beside");
	struct source s = {.when = when_parse(x, when, 1),
	                   .first = (uint16_t)l->entry_count,
	                   .beside = beside && str_eq(beside->text, STR("true"))};
	if (beside && !s.beside) {
		FAIL(x, beside, "'beside' is true, or left out");
		return false;
	}
	if (!s.when || !add_source_entries(x, node, t))
		return false;
	s.count = (uint16_t)(l->entry_count - s.first);
	xgrow(&l->sources, &l->source_cap, l->source_count + 1, sizeof(*l->sources));
	l->sources[l->source_count++] = s;
	return true;
}

static void load_sources(struct loader *x, const struct yaml_node *node)
{
	if (node->kind != YAML_LIST) {
		FAIL(x, node, "'sources' must be a list, not %s", yaml_kind_name(node));
		return;
	}
	for (size_t i = 0; i < node->count; i++)
		source_parse(x, node->items[i]);
}

/* --- the file --- */

static const struct {
	const char *key;
	void (*load)(struct loader *, const struct yaml_node *);
} SECTIONS[] = {
	{"strip", load_strip},   {"rename", load_rename},   {"fields", load_fields},
	{"derive", load_derive}, {"sources", load_sources},
};

static void load_document(struct loader *x, const struct yaml_node *root)
{
	known_keys(x, root, "the file", TOP_KEYS, ARRAY_LEN(TOP_KEYS));
	for (size_t i = 0; i < ARRAY_LEN(SECTIONS); i++) {
		const struct yaml_node *section = yaml_get(root, SECTIONS[i].key);
		if (section)
			SECTIONS[i].load(x, section);
	}
}

int logsources_load(const char *file, struct diags *diags, struct logsources **ret)
{
	struct loader x = {.file = file, .diags = diags, .l = xcalloc(1, sizeof(*x.l))};
	size_t errors = diags->errors, count = 0;
	struct yaml_node **docs;
	struct arena yaml;

	arena_init(&x.l->arena, 0);
	arena_init(&yaml, 0);
	map_init(&x.slots);
	int r = yaml_load(&yaml, file, diags, &docs, &count);
	if (r == 0 && count != 1) {
		diag_add(diags, DIAG_ERROR, file, 0, 0, "must hold one YAML document, not %zu",
		         count);
		r = -EINVAL;
	}
	if (r == 0)
		load_document(&x, docs[0]);
	if (r == 0 && diags->errors > errors)
		r = -EINVAL;
	map_release(&x.slots, NULL);
	arena_release(&yaml);
	if (r < 0) {
		logsources_free(x.l);
		return r;
	}
	logsources_index(x.l);
	*ret = x.l;
	return 0;
}

static void release_texts(struct value_jobs *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(items[i].jobs);
	free(items);
}

void logsources_free(struct logsources *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->name_count; i++) {
		struct field_name *n = &l->names[i];
		for (size_t j = 0; j < n->value_size; j++)
			free(n->values[j].jobs);
		free(n->values);
		free(n->present);
		release_texts(n->starts.items, n->starts.count);
		release_texts(n->ends.items, n->ends.count);
		release_texts(n->contains, n->needles.count);
		needles_release(&n->needles);
	}
	free(l->names);
	free(l->index);
	free(l->sources);
	free(l->entries);
	free(l->source_tests);
	arena_release(&l->arena);
	free(l);
}
