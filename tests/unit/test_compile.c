/* The compiled matcher against the plain one: on rules and events made up at random, and on the real ones. */
#include "sigma.h"

#include <errno.h>
#include <sys/stat.h>
#include <pthread.h>

#include "base/hash.h"
#include "sigma/compile.h"

/* ---- comparing ---- */

static struct compiled *compile(const struct ruleset *rules, const char *cache_dir,
                                struct diags *diags)
{
	const struct compile_options o = {.cache_dir = cache_dir};
	struct compiled *c = NULL;

	cr_assert_eq(compiled_new(rules, &o, diags, &c), 0);
	return c;
}

struct both {
	struct matcher *plain, *compiled;
	size_t matches;
};

/* Both run over the event; what they find must be the same, rule by rule. */
static void compare(struct both *b, const struct event *e, const struct logsource_set *sources,
                    struct str what)
{
	const struct rule *const *plain, *const *compiled;
	size_t n = matcher_run(b->plain, e, sources, &plain);
	size_t m = matcher_run(b->compiled, e, sources, &compiled);

	b->matches += n;
	for (size_t i = 0; i < n || i < m; i++) {
		if (i < n && i < m && plain[i] == compiled[i])
			continue;
		cr_assert_fail("event %.*s: rule %zu is %s with the plain matcher, %s with the "
		               "compiled one",
		               STR_FMT(what), i, i < n ? plain[i]->title.p : "none",
		               i < m ? compiled[i]->title.p : "none");
	}
}

/* ---- rules and events at random ---- */

static uint64_t state;

static unsigned dice(unsigned sides)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 11) % sides);
}

#define PICK(list) ((list)[dice(ARRAY_LEN(list))])

static const char *const fields[] = {"a", "b", "c.d", "n", "ip", "when", "e f"};

/* Few and short, so that they meet often; the last ones go beyond ASCII and beyond UTF-8. */
static const char *const pieces[] = {"a", "b",  "A",      "ab",  "B",          "\\",  "/",
                                     "-", " ",  "cmd",    "CMD", ".exe",       "x y", "0",
                                     "1", "10", "7",      ".",   "powershell", "é",   "É",
                                     "ж", "Ж",  "\u2013", "ſ",   "K",          "İ",   "€"};

static void put_piece(struct buf *out, bool wild)
{
	static const char *const wilds[] = {"*", "?", "\\*", "\\?", "\\\\"};

	buf_add(out, str_of(wild && dice(5) == 0 ? PICK(wilds) : PICK(pieces)));
}

/* A YAML scalar in single quotes, or a plain number. */
static void put_value(struct buf *out, bool wild)
{
	static const char *const plain[] = {"1", "10", "7", "0x0a", "-1", "1.0", "null", "''"};

	if (dice(6) == 0) {
		buf_add(out, str_of(PICK(plain)));
		return;
	}
	buf_putc(out, '\'');
	for (unsigned n = dice(4) + 1; n; n--)
		put_piece(out, wild);
	buf_putc(out, '\'');
}

static const char *const regexes[] = {
	"a+b",      "^a",          "b$",      "[a-c]{2,}", "(a|b)\\s",  "\\d+",
	"^$",       ".",           "^.{3}$",  "\\bcmd\\b", "[^a]b",     "(?i)CMD",
	"a.*b",     "^[A-Z]+$",    "\\x41",   "é",         "\\w\\W\\w", "(?=a)a",
	"(a)\\1",   "a{1,2}b?",    "^\\s*$",  "x\\sy",     "[\\s\\d]1", "a++b",
	"{a",       "[[:alpha:]]", "\\p{L}",  "(?:a|b)*c", "a|b|CMD",   "\\.exe$",
	"[\\\\/]a", "-?\\d",       "^a(?!b)", "\\R",       "K",         "k"};

static void put_item(struct buf *out, const char *field)
{
	static const char *const chains[] = {"",
	                                     "",
	                                     "|contains",
	                                     "|startswith",
	                                     "|endswith",
	                                     "|contains",
	                                     "|contains|all",
	                                     "|cased",
	                                     "|contains|cased",
	                                     "|startswith|cased",
	                                     "|endswith|cased",
	                                     "|windash|contains",
	                                     "|neq",
	                                     "|contains|neq",
	                                     "|base64offset|contains",
	                                     "|wide|contains",
	                                     "|utf16be|contains|cased"};
	static const char *const compares[] = {"|lt", "|lte", "|gt", "|gte"};
	static const char *const times[] = {"|hour", "|day|gt", "|year", "|month|lte"};
	static const char *const networks[] = {"10.0.0.0/8", "10.1.0.0/16", "::1",
	                                       "10.1.2.3",   "fe80::/10",   "0.0.0.0/0"};
	static const char *const regex_flags[] = {"", "", "|i", "|m", "|s", "|i|s"};
	static const char *const affixes[] = {"", "|contains", "|startswith"};

	switch (dice(20)) {
	case 0: buf_printf(out, "%s|re%s: '%s'\n", field, PICK(regex_flags), PICK(regexes)); return;
	case 1: buf_printf(out, "%s%s: %d\n", field, PICK(compares), (int)dice(12) - 1); return;
	case 2:
		buf_printf(out, "%s|cidr%s: %s\n", field, dice(4) ? "" : "|neq", PICK(networks));
		return;
	case 3: buf_printf(out, "%s|exists: %s\n", field, dice(2) ? "true" : "false"); return;
	case 4: buf_printf(out, "%s|fieldref%s: %s\n", field, PICK(affixes), PICK(fields)); return;
	case 5: buf_printf(out, "%s%s: %u\n", field, PICK(times), dice(12) + 1); return;
	default: break;
	}
	buf_printf(out, "%s%s:\n", field, PICK(chains));
	for (unsigned n = dice(3) + 1; n; n--) {
		buf_add(out, STR("        - "));
		put_value(out, true);
		buf_putc(out, '\n');
	}
}

/* A map of items, or a list of maps. */
static void put_selection(struct buf *out, unsigned name)
{
	bool list = dice(3) == 0;
	unsigned from = dice(ARRAY_LEN(fields));

	buf_printf(out, "  s%u:\n", name);
	for (unsigned n = dice(3) + 1; n; n--) {
		buf_add(out, list ? STR("    - ") : STR("    "));
		put_item(out, fields[from++ % ARRAY_LEN(fields)]);
	}
}

static void put_keywords(struct buf *out, unsigned name)
{
	buf_printf(out, "  s%u:\n", name);
	if (dice(4) == 0) {
		buf_printf(out, "    '|re': '%s'\n", PICK(regexes));
		return;
	}
	buf_printf(out, "    '%s':\n",
	           PICK(((const char *[]){"|all", "|contains", "|cased", "|startswith"})));
	for (unsigned n = dice(3) + 1; n; n--) {
		buf_add(out, STR("      - "));
		put_value(out, true);
		buf_putc(out, '\n');
	}
}

#define SELECTIONS 4

static void put_condition(struct buf *out, unsigned depth)
{
	static const char *const wholes[] = {"1 of s*",        "all of s*", "1 of them",
	                                     "2 of s*",        "3 of them", "not 1 of s*",
	                                     "not all of them"};
	unsigned sort = dice(depth < 3 ? 8 : 2);

	if (sort == 0) {
		buf_add(out, str_of(PICK(wholes)));
	} else if (sort < 4 || depth >= 3) {
		buf_printf(out, "s%u", dice(SELECTIONS));
	} else if (sort == 4) {
		buf_add(out, STR("not ("));
		put_condition(out, depth + 1);
		buf_putc(out, ')');
	} else {
		buf_putc(out, '(');
		put_condition(out, depth + 1);
		buf_add(out, sort < 7 ? STR(" and ") : STR(" or "));
		put_condition(out, depth + 1);
		buf_putc(out, ')');
	}
}

static void put_rule(struct buf *out, unsigned number)
{
	buf_printf(out,
	           "title: rule %u\nid: 00000000-0000-4000-8000-%012u\nlogsource: {product: x}\n"
	           "detection:\n",
	           number, number);
	for (unsigned i = 0; i < SELECTIONS; i++) {
		if (dice(6) == 0)
			put_keywords(out, i);
		else
			put_selection(out, i);
	}
	buf_add(out, STR("  condition: "));
	put_condition(out, 0);
	buf_add(out, STR("\n---\n"));
}

static void put_json_string(struct buf *out)
{
	static const char *const more[] = {"\\u0041", "\\u00c9", "\\n", "\\\\", "\\\"", "\\u000b"};

	buf_putc(out, '"');
	for (unsigned n = dice(6); n; n--) {
		const char *piece = dice(6) ? PICK(pieces) : PICK(more);
		buf_add(out, piece[0] == '\\' && !piece[1] ? STR("\\\\") : str_of(piece));
	}
	buf_putc(out, '"');
}

static void put_json_value(struct buf *out)
{
	static const char *const plain[] = {"null",
	                                    "true",
	                                    "1",
	                                    "10",
	                                    "7.0",
	                                    "-1",
	                                    "0",
	                                    "1e1",
	                                    "\"10.1.2.3\"",
	                                    "\"::ffff:10.9.9.9\"",
	                                    "\"fe80::1%eth0\"",
	                                    "\"2024-03-07T10:11:12Z\"",
	                                    "\"\""};

	if (dice(3) == 0)
		buf_add(out, str_of(PICK(plain)));
	else
		put_json_string(out);
}

/* The frame of an event: mostly JSON; now and then a line that only pieces and odd bytes make up. */
static void put_event(struct buf *out)
{
	if (dice(10) == 0) {
		for (unsigned n = dice(8) + 1; n; n--)
			buf_add(out, str_of(dice(5) ? PICK(pieces) : "\xc3"));
		return;
	}
	buf_putc(out, '{');
	for (unsigned n = dice(8); n; n--) {
		buf_printf(out, "\"%s\":", PICK(fields));
		unsigned values = dice(6) ? 1 : dice(4);
		if (values != 1)
			buf_putc(out, '[');
		for (unsigned i = 0; i < values; i++) {
			if (i)
				buf_putc(out, ',');
			put_json_value(out);
		}
		if (values != 1)
			buf_putc(out, ']');
		buf_putc(out, ',');
	}
	buf_add(out, STR("\"z\":0}"));
}

#define ROUNDS 60
#define RULES  40
#define EVENTS 150

static void random_round(struct decoder *decoder, struct event *e, size_t *matches, size_t *loaded)
{
	const struct ruleset_options options = {0};
	struct both b = {0};
	struct diags diags;
	struct buf text;

	diags_init(&diags);
	buf_init(&text, 0);
	for (unsigned i = 0; i < RULES; i++)
		put_rule(&text, i);
	struct ruleset *set = load_text(buf_cstr(&text), &diags, &options);
	struct compiled *c = compile(set, NULL, &diags);
	b.plain = matcher_new(set);
	b.compiled = matcher_new_with(set, c);
	for (unsigned i = 0; i < EVENTS; i++) {
		buf_reset(&text);
		put_event(&text);
		event_reset(e);
		event_decode(decoder, e, buf_str(&text));
		/* What a later stage may add: a second name, with bytes from the middle of a character. */
		if (dice(8) == 0)
			event_put_derived(e, STR("a"),
			                  STR("\x89"
			                      "ab\xc3"),
			                  VALUE_STRING);
		compare(&b, e, NULL, buf_str(&text));
	}
	*matches += b.matches;
	*loaded += set->count;
	matcher_free(b.plain);
	matcher_free(b.compiled);
	compiled_free(c);
	ruleset_free(set);
	buf_release(&text);
	diags_release(&diags);
}

Test(compile, gives_the_same_answers_for_rules_and_events_at_random, .timeout = 300)
{
	struct decoder *decoder = decoder_new(NULL);
	struct event e;
	size_t matches = 0, loaded = 0;
	const char *seed = getenv("ISOD_TEST_SEED");

	event_setup(&e);
	state = seed ? strtoull(seed, NULL, 0) : 0x9e3779b97f4a7c15;
	for (unsigned i = 0; i < ROUNDS; i++)
		random_round(decoder, &e, &matches, &loaded);
	/* Enough of both to mean something. */
	cr_expect_gt(loaded, ROUNDS * RULES / 2);
	cr_expect_gt(matches, (size_t)ROUNDS * EVENTS);
	cr_log_info("%zu rules, %zu matches\n", loaded, matches);
	event_release(&e);
	decoder_free(decoder);
}

/* ---- real rules and events ---- */

/* Under $ISOD_SHARED (default ../shared): no part of the repository. The caller frees. */
static char *shared(const char *name)
{
	const char *dir = getenv("ISOD_SHARED");

	return xasprintf("%s/%s", dir ? dir : "../shared", name);
}

struct corpus {
	struct logsources *logsources;
	struct patterns *patterns;
	struct ruleset *rules;
	struct compiled *compiled;
	struct decoder *decoder;
	struct event e;
	struct both both;
	size_t events;
};

static bool corpus_load(struct corpus *t)
{
	char *paths[] = {shared("corpus/sigma/rules"),
	                 shared("corpus/sigma/rules-emerging-threats"),
	                 shared("corpus/sigma/rules-threat-hunting")};
	struct ruleset_options o = {0};
	struct diags d;
	bool there = access(paths[0], R_OK) == 0;

	*t = (struct corpus){0};
	diags_init(&d);
	if (there) {
		cr_assert_eq(logsources_load("conf/logsources.yaml", &d, &t->logsources), 0);
		cr_assert_eq(patterns_load("conf/patterns.yaml", &d, &t->patterns), 0);
		o.logsources = t->logsources;
		cr_assert_eq(ruleset_load_with((const char *const *)paths, 3, &o, &d, &t->rules),
		             0);
		t->compiled = compile(t->rules, NULL, &d);
		cr_expect_eq(d.errors, 0);
		t->decoder = decoder_new(t->patterns);
		event_setup(&t->e);
		t->both.plain = matcher_new(t->rules);
		t->both.compiled = matcher_new_with(t->rules, t->compiled);
	}
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		free(paths[i]);
	diags_release(&d);
	return there;
}

static void corpus_release(struct corpus *t)
{
	matcher_free(t->both.plain);
	matcher_free(t->both.compiled);
	event_release(&t->e);
	decoder_free(t->decoder);
	compiled_free(t->compiled);
	ruleset_free(t->rules);
	patterns_free(t->patterns);
	logsources_free(t->logsources);
}

/* Every `every`-th event also against all rules, whatever their log source. */
static void corpus_compare(struct corpus *t, FILE *in, size_t every)
{
	struct logsource_set sources;
	char *line = NULL, number[32];
	size_t cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, in)) > 0) {
		event_reset(&t->e);
		t->e.received_ns = 1;
		event_decode(t->decoder, &t->e, str_make(line, (size_t)n - (line[n - 1] == '\n')));
		logsources_classify(t->logsources, &t->e, &sources);
		snprintf(number, sizeof(number), "%zu", ++t->events);
		compare(&t->both, &t->e, &sources, str_of(number));
		if (every && t->events % every == 0)
			compare(&t->both, &t->e, NULL, str_of(number));
	}
	free(line);
}

Test(compile, agrees_on_the_regression_events, .timeout = 300)
{
	struct corpus t;

	if (!corpus_load(&t))
		cr_skip_test("no corpus");
	char *path = shared("corpus/regression/events.ndjson");
	FILE *in = fopen(path, "re");
	cr_assert(in);
	corpus_compare(&t, in, 1);
	fclose(in);
	cr_expect_gt(t.events, 100);
	cr_expect_gt(t.both.matches, 115);
	free(path);
	corpus_release(&t);
}

Test(compile, agrees_on_recorded_events_and_looks_at_few_rules, .timeout = 300)
{
	struct compiled_facts facts;
	struct corpus t;

	if (!corpus_load(&t))
		cr_skip_test("no corpus");
	char *path = shared("corpus/events/windows-20k.ndjson.gz");
	char *command = xasprintf("zcat '%s'", path);
	FILE *in = popen(command, "r");
	cr_assert(in);
	corpus_compare(&t, in, 50);
	cr_assert_eq(pclose(in), 0);
	cr_expect_gt(t.events, 20000);
	cr_expect_gt(t.both.matches, 100);
	/* A rule looked at for nothing costs time only: this says that guards do what they are for. */
	cr_expect_lt(matcher_tried(t.both.compiled), 4 * t.events);
	compiled_facts(t.compiled, &facts);
	cr_expect_eq(facts.rules, t.rules->count);
	cr_expect_lt(facts.always, 20);
	cr_expect_eq(facts.refused, 0);
	free(command);
	free(path);
	corpus_release(&t);
}

/* ---- the cache ---- */

struct cache {
	char dir[32];
	struct ruleset *rules;
};

static void cache_setup(struct cache *t)
{
	const struct ruleset_options options = {0};
	struct diags d;
	char *text = rule_text("  s:\n    a|contains: needle\n  r:\n    b|re: '^x+y$'\n"
	                       "  condition: s or r\n");

	diags_init(&d);
	strcpy(t->dir, "/tmp/isod-cache-XXXXXX");
	cr_assert(mkdtemp(t->dir));
	t->rules = load_text(text, &d, &options);
	cr_assert_eq(t->rules->count, 1);
	diags_release(&d);
	free(text);
}

static void cache_release(struct cache *t)
{
	char **files;
	size_t count;

	cr_assert_eq(path_list(t->dir, NULL, &files, &count), 0);
	for (size_t i = 0; i < count; i++)
		unlink(files[i]);
	path_free_list(files, count);
	cr_expect_eq(rmdir(t->dir), 0);
	ruleset_free(t->rules);
}

/* Compiles, checks that it works, and tells whether it came from the cache and how many warnings there were. */
static bool cache_use(struct cache *t, size_t *ret_warnings)
{
	struct compiled_facts facts;
	struct diags d;
	struct event e;
	const struct rule *const *hits;

	diags_init(&d);
	struct compiled *c = compile(t->rules, t->dir, &d);
	compiled_facts(c, &facts);
	cr_expect_eq(facts.patterns, 2);
	struct matcher *m = matcher_new_with(t->rules, c);
	event_setup(&e);
	event_reset(&e);
	event_put(&e, STR("a"), STR("a Needle b"), VALUE_STRING);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 1);
	event_reset(&e);
	event_put(&e, STR("b"), STR("xxy"), VALUE_STRING);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 1);
	event_reset(&e);
	event_put(&e, STR("a"), STR("xxy"), VALUE_STRING);
	event_put(&e, STR("b"), STR("needle"), VALUE_STRING);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 0);
	cr_expect_eq(matcher_tried(m), 2);
	*ret_warnings = d.warnings;
	event_release(&e);
	matcher_free(m);
	compiled_free(c);
	diags_release(&d);
	return facts.cached;
}

/* The only file in the folder; the caller frees. */
static char *cache_file(struct cache *t)
{
	char **files, *path;
	size_t count;

	cr_assert_eq(path_list(t->dir, NULL, &files, &count), 0);
	cr_assert_eq(count, 1);
	path = xstrdup(files[0]);
	path_free_list(files, count);
	return path;
}

Test(compile, patterns_are_cached)
{
	struct cache t;
	size_t warnings;

	cache_setup(&t);
	cr_expect_not(cache_use(&t, &warnings));
	cr_expect_eq(warnings, 0);
	cr_expect(cache_use(&t, &warnings));
	cr_expect_eq(warnings, 0);
	cache_release(&t);
}

/* Whatever happens to the file, the answers are right and the file is made anew. */
Test(compile, a_damaged_cache_is_replaced)
{
	struct cache t;
	size_t warnings;
	struct buf good, bad;

	cache_setup(&t);
	cache_use(&t, &warnings);
	char *path = cache_file(&t);
	buf_init(&good, 0);
	buf_init(&bad, 0);
	cr_assert_eq(path_read(path, &good), 0);
	const size_t cuts[] = {0, 7, 8, 71, 72, 80, good.n / 2, good.n - 1};
	for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
		cr_assert_eq(path_write_atomic(path, str_head(buf_str(&good), cuts[i]), 0600), 0);
		cr_expect_not(cache_use(&t, &warnings), "cut at %zu", cuts[i]);
		cr_expect_eq(warnings, 1, "cut at %zu", cuts[i]);
		cr_expect(cache_use(&t, &warnings), "cut at %zu", cuts[i]);
	}
	for (size_t at = 0; at < good.n; at += 1 + good.n / 50) {
		buf_reset(&bad);
		buf_add(&bad, buf_str(&good));
		bad.p[at] ^= 0x10;
		cr_assert_eq(path_write_atomic(path, buf_str(&bad), 0600), 0);
		cr_expect_not(cache_use(&t, &warnings), "bit at %zu", at);
		cr_expect_eq(warnings, 1, "bit at %zu", at);
	}
	buf_release(&good);
	buf_release(&bad);
	free(path);
	cache_release(&t);
}

/* A file under this rule set's name that some other machine's Hyperscan wrote: sound, but of no use here. */
Test(compile, a_cache_of_another_version_is_replaced)
{
	struct cache t;
	size_t warnings;
	struct buf file;
	uint8_t digest[SHA256_BYTES];

	cache_setup(&t);
	cache_use(&t, &warnings);
	char *path = cache_file(&t);
	buf_init(&file, 0);
	cr_assert_eq(path_read(path, &file), 0);
	/* mark, key, digest; counts of patterns, refused ones and databases, a length, then Hyperscan's magic and
	 * its version */
	size_t body = 8 + 2 * SHA256_BYTES, version = body + 4 * 8 + 4;
	file.p[version] ^= 1;
	struct str part = str_skip(buf_str(&file), body);
	sha256(&part, 1, digest);
	memcpy(file.p + 8 + SHA256_BYTES, digest, SHA256_BYTES);
	cr_assert_eq(path_write_atomic(path, buf_str(&file), 0600), 0);
	cr_expect_not(cache_use(&t, &warnings));
	cr_expect_eq(warnings, 1);
	cr_expect(cache_use(&t, &warnings));
	buf_release(&file);
	free(path);
	cache_release(&t);
}

Test(compile, a_cache_that_cannot_be_written_is_a_warning)
{
	struct cache t, where;
	size_t warnings;

	cache_setup(&t);
	where = t;
	strcpy(where.dir, "/dev/null/cache");
	cr_expect_not(cache_use(&where, &warnings));
	cr_expect_geq(warnings, 1);
	cache_release(&t);
}

Test(compile, the_cache_keeps_the_newest_files)
{
	const struct ruleset_options options = {0};
	char **files, text[200];
	struct cache t;
	struct diags d;
	size_t count;

	cache_setup(&t);
	diags_init(&d);
	for (int i = 0; i < 6; i++) {
		snprintf(text, sizeof(text), "  s:\n    a|contains: needle%d\n  condition: s\n", i);
		char *rule = rule_text(text);
		struct ruleset *set = load_text(rule, &d, &options);
		compiled_free(compile(set, t.dir, &d));
		ruleset_free(set);
		free(rule);
	}
	cr_assert_eq(path_list(t.dir, NULL, &files, &count), 0);
	cr_expect_eq(count, 3);
	path_free_list(files, count);
	diags_release(&d);
	cache_release(&t);
}

/* ---- threads ---- */

#define THREADS 4

struct worker {
	const struct ruleset *rules;
	const struct compiled *compiled;
	size_t hits;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct matcher *m = matcher_new_with(w->rules, w->compiled);
	const struct rule *const *hits;
	struct event e;

	event_setup(&e);
	for (int i = 0; i < 1000; i++) {
		event_reset(&e);
		event_put(&e, STR("a"), i % 2 ? STR("a Needle b") : STR("hay"), VALUE_STRING);
		event_put(&e, STR("b"), STR("xxxxy"), VALUE_STRING);
		w->hits += matcher_run(m, &e, NULL, &hits);
	}
	event_release(&e);
	matcher_free(m);
	return NULL;
}

Test(compile, threads_share_it)
{
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	struct cache t;
	struct diags d;

	cache_setup(&t);
	diags_init(&d);
	struct compiled *c = compile(t.rules, NULL, &d);
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){t.rules, c, 0};
		cr_assert_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		cr_expect_eq(workers[i].hits, 1000);
	}
	compiled_free(c);
	diags_release(&d);
	cache_release(&t);
}

Test(compile, can_be_told_to_stop)
{
	atomic_bool stop = true;
	const struct compile_options o = {.stop = &stop};
	struct compiled *c = NULL;
	struct cache t;
	struct diags d;

	cache_setup(&t);
	diags_init(&d);
	cr_expect_eq(compiled_new(t.rules, &o, &d, &c), -ECANCELED);
	cr_expect_null(c);
	diags_release(&d);
	cache_release(&t);
}

/* ---- odd rule sets ---- */

/* What Hyperscan does not take is tried whenever its field is there, and told. */
Test(compile, refused_patterns_work_and_are_told)
{
	const struct ruleset_options options = {0};
	const struct rule *const *hits;
	struct compiled_facts facts;
	struct diags d;
	struct event e;
	char line[400];

	diags_init(&d);
	char *text = rule_text("  s:\n    a|re:\n      - '(x)\\1'\n      - 'é{2}'\n"
	                       "      - '[x-z]{40}w'\n  condition: s\n");
	struct ruleset *set = load_text(text, &d, &options);
	log_diags(&d);
	cr_assert_eq(set->count, 1);
	struct compiled *c = compile(set, NULL, &d);
	compiled_facts(c, &facts);
	cr_expect_eq(facts.refused + facts.patterns, 3);
	cr_expect_geq(facts.refused, 2);
	cr_assert_eq(d.warnings, 1);
	cr_expect(strstr(diag_format(&d.items[0], line, sizeof(line)), "not searched for"), "%s",
	          line);
	struct matcher *m = matcher_new_with(set, c);
	event_setup(&e);
	event_put(&e, STR("a"), STR("éé"), VALUE_STRING);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 1);
	event_reset(&e);
	event_put(&e, STR("a"), STR("-xx-"), VALUE_STRING);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 1);
	event_release(&e);
	matcher_free(m);
	compiled_free(c);
	ruleset_free(set);
	diags_release(&d);
	free(text);
}

Test(compile, a_set_without_rules)
{
	const struct ruleset_options options = {0};
	const struct rule *const *hits;
	struct diags d;
	struct event e;

	diags_init(&d);
	struct ruleset *set = load_text("---\n", &d, &options);
	cr_assert_eq(set->count, 0);
	struct compiled *c = compile(set, NULL, &d);
	struct matcher *m = matcher_new_with(set, c);
	event_setup(&e);
	event_put(&e, STR("a"), STR("x"), VALUE_STRING);
	cr_expect_eq(matcher_run(m, &e, NULL, &hits), 0);
	event_release(&e);
	matcher_free(m);
	compiled_free(c);
	ruleset_free(set);
	diags_release(&d);
}
