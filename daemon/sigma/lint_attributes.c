/* What a document says about itself: against the specification (2.1.0, its JSON schema and tags appendix), and, when
 * asked, against the conventions of SigmaHQ's repository. Attributes that isod itself needs are checked when they are
 * read (attributes.c); what is wrong with these here does no harm to detection, so all of it is a warning. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "sigma/attack.h"
#include "sigma/lint.h"

#define TITLE_USUAL_MAX       110 /* characters */
#define DESCRIPTION_USUAL_MIN 16  /* characters */
#define FILE_NAME_MAX         90  /* characters, with .yml */

#define SHOWN(s) (int)((s).n < 80 ? (s).n : 80), (s).p ? (s).p : ""

/* ---- keys ---- */

static const char *const known_keys[] = {
	"title",       "id",          "name",       "related",        "taxonomy", "status",
	"description", "license",     "references", "author",         "date",     "modified",
	"logsource",   "detection",   "fields",     "falsepositives", "level",    "tags",
	"scope",       "correlation", "filter",     "generate",       "isod"};
static const char *const logsource_keys[] = {"product", "category", "service", "definition"};

static bool is_one_of(struct str s, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(s, str_of(words[i])))
			return true;
	return false;
}

/* Keys of one's own are allowed; slips are not meant. */
static void check_keys(struct loader *l, const struct yaml_node *map, const char *const *known,
                       size_t count)
{
	if (!map || map->kind != YAML_MAP)
		return;
	for (size_t i = 0; i < map->count; i++) {
		const struct yaml_pair *p = &map->pairs[i];
		if (is_one_of(p->key, known, count))
			continue;
		const char *near = diag_suggest(p->key.p, known, count);
		if (near && !yaml_get(map, near))
			diag_add(l->diags, DIAG_WARNING, l->file, p->line, p->column,
			         "unknown key `%.*s`: did you mean `%s`?", SHOWN(p->key), near);
	}
}

/* ---- dates ---- */

/* YYYY-MM-DD. 0 and *ret, or -EINVAL. */
static int parse_date(struct str s, uint64_t *ret)
{
	int part[3] = {0};

	if (s.n != 10 || s.p[4] != '-' || s.p[7] != '-')
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		if (i == 4 || i == 7)
			continue;
		if (!isdigit((unsigned char)s.p[i]))
			return -EINVAL;
		int *p = &part[i < 4 ? 0 : i < 7 ? 1 : 2];
		*p = *p * 10 + s.p[i] - '0';
	}
	return clock_from_civil(part[0], part[1], part[2], 0, 0, 0, 0, 0, ret);
}

static void check_dates(struct loader *l, const struct yaml_node *doc)
{
	static const char *const keys[] = {"date", "modified"};
	uint64_t times[2] = {0};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct yaml_node *n = yaml_get(doc, keys[i]);
		if (!n || (n->kind == YAML_SCALAR && parse_date(n->text, &times[i]) == 0))
			continue;
		loader_warn(l, n, "`%s` is a date like 2026-11-23, not %s%.*s%s", keys[i],
		            n->kind == YAML_SCALAR ? "`" : yaml_kind_name(n),
		            SHOWN(n->kind == YAML_SCALAR ? n->text : STR("")),
		            n->kind == YAML_SCALAR ? "`" : "");
	}
	if (times[0] && times[1] && times[1] < times[0])
		loader_warn(l, yaml_get(doc, "modified"),
		            "`modified` lies before `date`: one of the two is wrong");
}

/* ---- texts and lists ---- */

static bool is_text(const struct yaml_node *n)
{
	return n->kind == YAML_SCALAR && str_trim(n->text).n > 0;
}

static void check_text(struct loader *l, const struct yaml_node *doc, const char *key)
{
	const struct yaml_node *n = yaml_get(doc, key);

	if (n && !is_text(n))
		loader_warn(l, n, "`%s` is text, not %s: write it or leave the key out", key,
		            n->kind == YAML_SCALAR ? "empty" : yaml_kind_name(n));
}

static void check_list(struct loader *l, const struct yaml_node *doc, const char *key)
{
	const struct yaml_node *n = yaml_get(doc, key);
	struct map seen;

	if (!n)
		return;
	if (n->kind != YAML_LIST || n->count == 0) {
		loader_warn(l, n, "`%s` is a list of texts, not %s", key,
		            n->kind == YAML_LIST ? "an empty one" : yaml_kind_name(n));
		return;
	}
	map_init(&seen);
	for (size_t i = 0; i < n->count; i++) {
		const struct yaml_node *item = n->items[i];
		if (!is_text(item))
			loader_warn(l, item, "an entry of `%s` is text, not %s", key,
			            item->kind == YAML_SCALAR ? "empty" : yaml_kind_name(item));
		else if (map_put(&seen, item->text, (void *)(uintptr_t)item))
			loader_warn(l, item, "`%.*s` stands in `%s` twice: remove one",
			            SHOWN(item->text), key);
	}
	map_release(&seen, NULL);
}

static void check_related(struct loader *l, const struct yaml_node *doc)
{
	static const char *const types[] = {"correlation", "derived", "obsolete",
	                                    "merged",      "renamed", "similar"};
	const struct yaml_node *n = yaml_get(doc, "related");

	if (n && n->kind != YAML_LIST)
		loader_warn(l, n, "`related` is a list of maps with `id` and `type`, not %s",
		            yaml_kind_name(n));
	for (size_t i = 0; n && n->kind == YAML_LIST && i < n->count; i++) {
		const struct yaml_node *id = yaml_get(n->items[i], "id");
		const struct yaml_node *type = yaml_get(n->items[i], "type");
		if (!id || !type || id->kind != YAML_SCALAR || type->kind != YAML_SCALAR) {
			loader_warn(l, n->items[i],
			            "an entry of `related` has an `id` and a `type`");
			continue;
		}
		if (!attributes_is_uuid(id->text))
			loader_warn(l, id, "`%.*s` is no UUID", SHOWN(id->text));
		if (is_one_of(type->text, types, ARRAY_LEN(types)))
			continue;
		const char *near = diag_suggest(type->text.p, types, ARRAY_LEN(types));
		loader_warn(l, type,
		            "a relation is correlation, derived, obsolete, merged, renamed or "
		            "similar, not `%.*s`%s%s%s",
		            SHOWN(type->text), near ? ": did you mean `" : "", near ? near : "",
		            near ? "`?" : "");
	}
}

/* ---- conventions ---- */

static size_t characters(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += (s.p[i] & 0xc0) != 0x80;
	return n;
}

/* The first word that begins with a small letter and should not, or STR_NONE. Names of files and functions keep
 * theirs. */
static struct str small_word(struct str title)
{
	static const char *const small[] = {"a",   "an",   "and",  "as",   "at",     "by",
	                                    "for", "from", "in",   "into", "new",    "of",
	                                    "on",  "or",   "over", "per",  "the",    "through",
	                                    "to",  "via",  "vs",   "with", "without"};

	while (title.n) {
		struct str word = str_split(&title, ' ');
		bool plain = word.n > 0 && islower((unsigned char)word.p[0]) &&
		             !is_one_of(word, small, ARRAY_LEN(small));
		for (size_t i = 0; i < word.n; i++)
			plain &= islower((unsigned char)word.p[i]) || word.p[i] == '-' ||
			         word.p[i] == '\'';
		if (plain)
			return word;
	}
	return STR_NONE;
}

static void convention_title(struct loader *l, const struct yaml_node *doc)
{
	const struct yaml_node *n = yaml_get(doc, "title");

	if (!n || !is_text(n))
		return;
	struct str small = small_word(n->text);
	if (characters(n->text) > TITLE_USUAL_MAX)
		loader_warn(l, n, "the title has more than %d characters: shorten it",
		            TITLE_USUAL_MAX);
	if (small.p)
		loader_warn(l, n,
		            "titles are written in title case: `%.*s` begins with a small letter",
		            SHOWN(small));
	if (str_ends(n->text, STR(".")))
		loader_warn(l, n, "a title ends without a full stop");
	if (str_starts(n->text, STR("Detects ")) || str_starts(n->text, STR("Detect ")))
		loader_warn(l, n, "a title names the thing: leave `Detects` to the description");
}

static void convention_description(struct loader *l, const struct yaml_node *doc)
{
	const struct yaml_node *n = yaml_get(doc, "description");

	if (!n || !is_text(n))
		return;
	if (characters(n->text) < DESCRIPTION_USUAL_MIN)
		loader_warn(l, n,
		            "a description of less than %d characters: say what the rule "
		            "finds, and why that matters",
		            DESCRIPTION_USUAL_MIN);
	if (str_search(n->text, STR("http://")) >= 0 || str_search(n->text, STR("https://")) >= 0)
		loader_warn(l, n, "a link in the description: it belongs into `references`");
}

static void convention_false_positives(struct loader *l, const struct yaml_node *doc)
{
	static const char *const banned[] = {"none", "pentest", "penetration", "n/a"};
	const struct yaml_node *n = yaml_get(doc, "falsepositives");

	for (size_t i = 0; n && n->kind == YAML_LIST && i < n->count; i++) {
		const struct yaml_node *item = n->items[i];
		if (!is_text(item))
			continue;
		struct str rest = item->text, word = str_split(&rest, ' ');
		if (islower((unsigned char)item->text.p[0]))
			loader_warn(l, item, "a false positive begins with a capital letter");
		for (size_t j = 0; j < ARRAY_LEN(banned); j++)
			if (str_ieq(word, str_of(banned[j])))
				loader_warn(l, item,
				            "`%.*s` says nothing about false positives: write "
				            "`Unknown` or `Unlikely`, or what they are",
				            SHOWN(item->text));
	}
}

static void convention_attack_tag(struct loader *l, const struct yaml_node *n, struct str tag,
                                  bool *tactic, bool *technique)
{
	const char *names[32];
	size_t at;

	switch (attack_tag(tag, &at)) {
	case ATTACK_TACTIC:
		*tactic = true;
		if (str_find(tag, '_') >= 0)
			loader_warn(l, n, "tactics are written with hyphens: `attack.%s`",
			            attack_tactics[at].tag);
		break;
	case ATTACK_TECHNIQUE: *technique = true; break;
	case ATTACK_UNKNOWN: {
		for (at = 0; at < attack_tactic_count && at < ARRAY_LEN(names); at++)
			names[at] = attack_tactics[at].tag;
		const char *near = diag_suggest(tag.p + sizeof("attack.") - 1, names, at);
		loader_warn(l, n,
		            "`%.*s` is no tactic, technique (attack.t1059 or attack.t1059.001), "
		            "group or software of ATT&CK%s%s%s",
		            SHOWN(tag), near ? ": did you mean `attack." : "", near ? near : "",
		            near ? "`?" : "");
		break;
	}
	case ATTACK_NONE:
	case ATTACK_OTHER: break;
	}
}

static void convention_tags(struct loader *l, const struct yaml_node *doc)
{
	static const char *const spaces[] = {"attack",    "car", "cve", "d3fend",
	                                     "detection", "stp", "tlp"};
	const struct yaml_node *n = yaml_get(doc, "tags");
	bool tactic = false, technique = false;

	for (size_t i = 0; n && n->kind == YAML_LIST && i < n->count; i++) {
		const struct yaml_node *item = n->items[i];
		if (!is_text(item))
			continue;
		struct str tag = loader_keep(l, item->text, true), rest = tag;
		struct str space = str_split(&rest, '.');
		if (!str_eq(tag, item->text))
			loader_warn(l, item, "tags are written in lower case: `%.*s`", SHOWN(tag));
		if (rest.p && !is_one_of(space, spaces, ARRAY_LEN(spaces)))
			loader_warn(l, item,
			            "unknown namespace of a tag: `%.*s` (attack, car, cve, d3fend, "
			            "detection, stp or tlp)",
			            SHOWN(space));
		convention_attack_tag(l, item, tag, &tactic, &technique);
	}
	if (technique && !tactic)
		loader_warn(l, n,
		            "a technique but no tactic: add the tactics it serves here, like "
		            "`attack.persistence`");
}

static void convention_keys(struct loader *l, const struct yaml_node *doc)
{
	static const char *const wanted[] = {"id",         "status",         "description",
	                                     "references", "author",         "date",
	                                     "tags",       "falsepositives", "level"};

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		if (!yaml_get(doc, wanted[i]))
			loader_warn(l, doc, "there is no `%s`: add it", wanted[i]);
}

static void convention_file_name(struct loader *l, const struct yaml_node *doc)
{
	const char *slash = strrchr(l->file, '/'), *name = slash ? slash + 1 : l->file;
	struct str s = str_of(name);
	bool good = str_ends(s, STR(".yml")) && s.n <= FILE_NAME_MAX;

	for (size_t i = 0; i + 4 < s.n; i++)
		good &= islower((unsigned char)s.p[i]) || isdigit((unsigned char)s.p[i]) ||
		        s.p[i] == '_';
	/* Once, for the first document. */
	if (!good && doc->line <= 1)
		loader_warn(l, doc,
		            "files are named with small letters, digits and _, at most %d "
		            "characters, and .yml at the end",
		            FILE_NAME_MAX);
}

void lint_document(struct loader *l, const struct yaml_node *doc, enum document_kind kind)
{
	static const char *const texts[] = {"description", "author", "license", "taxonomy"};
	static const char *const lists[] = {"references", "falsepositives", "fields", "tags",
	                                    "scope"};

	check_keys(l, doc, known_keys, ARRAY_LEN(known_keys));
	check_keys(l, yaml_get(doc, "logsource"), logsource_keys, ARRAY_LEN(logsource_keys));
	check_dates(l, doc);
	check_related(l, doc);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		check_text(l, doc, texts[i]);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		check_list(l, doc, lists[i]);
	if (!(l->options->lint & LINT_CONVENTIONS))
		return;
	convention_title(l, doc);
	convention_description(l, doc);
	convention_file_name(l, doc);
	if (kind == DOCUMENT_FILTER)
		return;
	convention_keys(l, doc);
	convention_tags(l, doc);
	convention_false_positives(l, doc);
}
