/* Hyperscan itself behind sigma/patterns_db.h: texts are found exactly where they are, regular expressions wherever
 * PCRE2 finds them in ASCII (and perhaps elsewhere); each at most once; what is refused is told; and a database that was
 * saved and loaded again finds the same. Slow: compiling is what costs.
 *
 * Input: lines. Patterns up to an empty one, each with flags before a colon (`r` a regular expression, with `m`, `s`,
 * or else a text; `i` without regard to case), then texts to search in. A record separator (0x1e) is a line end. */
#include <stdlib.h>

#include "base/mem.h"
#include "sigma/patterns_db.h"

#define PATTERNS_MAX 12
#define PATTERN_MAX  200 /* bytes: Hyperscan takes seconds for some that are longer */
#define TEXTS_MAX    8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	struct db_pattern patterns[PATTERNS_MAX];
	struct regex *regexes[PATTERNS_MAX]; /* NULL: a text */
	size_t count;
	char *bytes; /* patterns and texts are slices of it */
};

/* ---- reading ---- */

static bool has_flag(struct str flags, char c)
{
	return str_find(flags, c) >= 0;
}

/* Hyperscan unrolls repeats: {n} with large numbers costs seconds and says nothing more. */
static bool is_costly(struct str text)
{
	size_t digits = 0;

	for (size_t i = 0; i < text.n; i++) {
		digits = text.p[i] >= '0' && text.p[i] <= '9' ? digits + 1 : 0;
		if (digits > 1 && memchr(text.p, '{', i))
			return true;
	}
	return text.n > PATTERN_MAX;
}

static void read_pattern(struct input *in, struct str line)
{
	struct str text = line, flags = STR(""), found;
	char error[200];
	size_t at;

	if (str_find(line, ':') >= 0)
		flags = str_split(&text, ':');
	bool regex = has_flag(flags, 'r');
	if (in->count == PATTERNS_MAX || !text.n || is_costly(text))
		return;
	found = text;
	struct db_pattern p = {.id = (uint32_t)in->count * 3 + 7, .text = found, .regex = regex};
	p.flags |= has_flag(flags, 'i') ? REGEX_CASELESS : 0;
	p.flags |= regex && has_flag(flags, 'm') ? REGEX_MULTILINE : 0;
	p.flags |= regex && has_flag(flags, 's') ? REGEX_DOTALL : 0;
	struct regex *r = regex ? regex_compile(text, p.flags, error, sizeof(error), &at) : NULL;
	if (regex && !r)
		return; /* such a rule does not load */
	in->regexes[in->count] = r;
	in->patterns[in->count++] = p;
}

/* ---- searching ---- */

struct hits {
	const struct input *in;
	unsigned found; /* a bit each */
};

static size_t place_of(const struct input *in, uint32_t id)
{
	for (size_t i = 0; i < in->count; i++)
		if (in->patterns[i].id == id)
			return i;
	abort();
}

static void on_found(void *arg, uint32_t id)
{
	struct hits *h = arg;
	unsigned bit = 1u << place_of(h->in, id);

	if (h->found & bit)
		abort(); /* a second time */
	h->found |= bit;
}

static bool contains(struct str text, struct str part, bool caseless)
{
	for (; text.n >= part.n; text = str_skip(text, 1))
		if (caseless ? str_ieq(str_head(text, part.n), part) : str_starts(text, part))
			return true;
	return false;
}

static bool is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

static void check_text(const struct input *in, unsigned refused, struct str text, unsigned found)
{
	static struct regex_scratch *scratch;

	if (!scratch)
		scratch = regex_scratch_new();
	if (found & refused)
		abort();
	for (size_t i = 0; i < in->count; i++) {
		const struct db_pattern *p = &in->patterns[i];
		bool is_found = found >> i & 1;
		if (refused >> i & 1)
			continue;
		if (!p->regex && is_found != contains(text, p->text, p->flags & REGEX_CASELESS))
			abort();
		if (p->regex && !is_found && is_ascii(text) &&
		    regex_search(in->regexes[i], scratch, text) > 0)
			abort();
	}
}

static unsigned search(const struct pattern_db *db, const struct input *in, struct str text)
{
	struct pattern_scratch *s = pattern_scratch_new();
	struct hits h = {.in = in};

	if (pattern_scratch_fit(s, db) < 0)
		abort();
	pattern_db_scan(db, s, text, on_found, &h);
	pattern_scratch_free(s);
	return h.found;
}

static struct pattern_db *saved_and_loaded(const struct pattern_db *db)
{
	struct pattern_db *ret;
	struct buf bytes;

	buf_init(&bytes, 0);
	if (pattern_db_save(db, &bytes) < 0)
		abort();
	struct str in = buf_str(&bytes);
	if (pattern_db_load(&in, &ret) < 0 || in.n)
		abort();
	buf_release(&bytes);
	return ret;
}

static void check(const struct input *in, struct str rest)
{
	struct pattern_db *db, *again;
	const uint32_t *ids;
	unsigned refused = 0;

	if (pattern_db_new(in->patterns, in->count, NULL, &db) < 0)
		abort();
	size_t count = pattern_db_refused(db, &ids);
	for (size_t i = 0; i < count; i++)
		refused |= 1u << place_of(in, ids[i]);
	if (count + pattern_db_count(db) != in->count ||
	    (size_t)__builtin_popcount(refused) != count)
		abort();
	again = saved_and_loaded(db);
	for (size_t i = 0; rest.p && i < TEXTS_MAX; i++) {
		struct str text = str_split(&rest, '\n');
		if (!text.n)
			continue;
		unsigned found = search(db, in, text);
		check_text(in, refused, text, found);
		if (search(again, in, text) != found)
			abort();
	}
	pattern_db_free(again);
	pattern_db_free(db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {.bytes = xmalloc(size)};
	struct str rest = str_make(in.bytes, size);

	if (size)
		memcpy(in.bytes, data, size);
	while (rest.p) {
		struct str line = str_split(&rest, '\n');
		if (line.n == 0)
			break;
		read_pattern(&in, line);
	}
	for (size_t i = 0; i < size; i++)
		if (in.bytes[i] == 0x1e)
			in.bytes[i] = '\n';
	check(&in, rest);
	for (size_t i = 0; i < in.count; i++)
		regex_free(in.regexes[i]);
	free(in.bytes);
	return 0;
}
