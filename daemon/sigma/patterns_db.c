/* Regular expressions are PCRE2's (sigma/regex.h); Hyperscan only says where one is worth trying. It is therefore given
 * only what both read alike: no bytes past ASCII, and of what begins with a backslash or `(?` only what is in the
 * tables below. Some of it is rewritten so that no difference is left. The rest is refused, and PCRE2 tries it whenever
 * the field is there. Texts that are not ASCII are the caller's care: Hyperscan takes them for bytes, PCRE2 for
 * characters.
 *
 * HS_FLAG_PREFILTER lets Hyperscan take more than it can do exactly, and find too much rather than too little. */
#include "sigma/patterns_db.h"

#include <ctype.h>
#include <errno.h>
#include <hs/hs.h>
#include <stdlib.h>

#include "base/mem.h"

#define PATTERN_REFUSED_TRIES                                                                      \
	1000 /* of one lot; past it the lot is split until the culprits stand alone */

struct lot {
	hs_database_t *hs;
	size_t bytes;
};

struct pattern_db {
	struct lot *lots;
	size_t lot_count, lot_cap;
	uint32_t *refused;
	size_t refused_count, refused_cap;
	size_t count;
};

struct pattern_scratch {
	hs_scratch_t *hs;
};

bool pattern_db_possible(void)
{
	return hs_valid_platform() == HS_SUCCESS;
}

void pattern_db_identity(struct buf *out)
{
	hs_platform_info_t platform;

	buf_add(out, str_of(hs_version()));
	if (hs_populate_platform(&platform) == HS_SUCCESS)
		buf_printf(out, " %u %llu", platform.tune,
		           (unsigned long long)platform.cpu_features);
}

/* ---- regular expressions that both read alike ---- */

struct rewrite {
	struct str in;
	size_t at;
	struct buf *out;
	bool class; /* inside [ ] */
};

static char peek(const struct rewrite *w, size_t ahead)
{
	return w->at + ahead < w->in.n ? w->in.p[w->at + ahead] : '\0';
}

static void take(struct rewrite *w, size_t n)
{
	buf_append(w->out, w->in.p + w->at, n);
	w->at += n;
}

static bool rewrite_escape(struct rewrite *w)
{
	char c = peek(w, 1);

	if (c == 's') { /* a vertical tab is a space to one of them, in some versions */
		buf_add(w->out, w->class ? STR("\\x09-\\x0d\\x20") : STR("[\\x09-\\x0d\\x20]"));
		w->at += 2;
		return true;
	}
	if (c == 'x') {
		if (peek(w, 2) < '0' || peek(w, 2) > '7' || !isxdigit((unsigned char)peek(w, 3)))
			return false;
		take(w, 4);
		return true;
	}
	bool known = ispunct((unsigned char)c) || (c && strchr("dDwWSnrtf", c)) ||
	             (!w->class && (c == 'b' || c == 'B'));
	if (known)
		take(w, 2);
	return known;
}

/* The length of {n}, {n,} or {n,m} where `w` is, or 0. */
static size_t repeat_length(const struct rewrite *w)
{
	size_t n = 1, digits = 0;

	while (isdigit((unsigned char)peek(w, n)))
		n++, digits++;
	if (peek(w, n) == ',')
		n++;
	while (isdigit((unsigned char)peek(w, n)))
		n++;
	return digits && peek(w, n) == '}' ? n + 1 : 0;
}

static bool rewrite_repeat(struct rewrite *w)
{
	size_t n = peek(w, 0) == '{' ? repeat_length(w) : 1;

	if (n == 0) { /* a brace that only stands for itself */
		buf_add(w->out, STR("\\{"));
		w->at++;
		return true;
	}
	take(w, n);
	return peek(w, 0) != '+'; /* possessive */
}

static bool rewrite_class(struct rewrite *w)
{
	take(w, 1);
	if (peek(w, 0) == '^')
		take(w, 1);
	if (peek(w, 0) == ']')
		return false;
	w->class = true;
	while (w->at < w->in.n && peek(w, 0) != ']') {
		char c = peek(w, 0);
		if (c == '[' || (unsigned char)c >= 0x80 || c == '\0')
			return false;
		if (c == '\\' && !rewrite_escape(w))
			return false;
		if (c != '\\')
			take(w, 1);
	}
	w->class = false;
	if (w->at == w->in.n)
		return false;
	take(w, 1);
	return true;
}

static bool rewrite_one(struct rewrite *w)
{
	char c = peek(w, 0);

	switch (c) {
	case '\\': return rewrite_escape(w);
	case '[': return rewrite_class(w);
	case '(':
		if (peek(w, 1) == '*' || (peek(w, 1) == '?' && peek(w, 2) != ':'))
			return false;
		take(w, peek(w, 1) == '?' ? 3 : 1);
		return true;
	case '*':
	case '+':
	case '?':
	case '{': return rewrite_repeat(w);
	default:
		if (c == '\0' || (unsigned char)c >= 0x80)
			return false;
		take(w, 1);
		return true;
	}
}

/* Appends the expression as Hyperscan gets it. False if they may not agree about it. */
static bool rewrite_regex(const struct db_pattern *p, struct buf *out, unsigned *flags)
{
	struct rewrite w = {.in = p->text, .out = out};

	*flags = HS_FLAG_SINGLEMATCH | HS_FLAG_PREFILTER | HS_FLAG_ALLOWEMPTY;
	*flags |= p->flags & REGEX_CASELESS ? HS_FLAG_CASELESS : 0;
	*flags |= p->flags & REGEX_MULTILINE ? HS_FLAG_MULTILINE : 0;
	*flags |= p->flags & REGEX_DOTALL ? HS_FLAG_DOTALL : 0;
	if (str_starts(w.in, STR("(?i)"))) {
		*flags |= HS_FLAG_CASELESS;
		w.at = 4;
	}
	while (w.at < w.in.n)
		if (!rewrite_one(&w))
			return false;
	return true;
}

/* ---- compiling ---- */

/* The arrays that Hyperscan wants. */
struct batch {
	const char **texts;
	size_t *lengths;
	unsigned *flags, *ids;
	size_t count;
	bool regex;
};

static void refuse(struct pattern_db *db, uint32_t id)
{
	xgrow(&db->refused, &db->refused_cap, db->refused_count + 1, sizeof(*db->refused));
	db->refused[db->refused_count++] = id;
}

static void batch_remove(struct batch *b, size_t i)
{
	b->count--;
	b->texts[i] = b->texts[b->count];
	b->lengths[i] = b->lengths[b->count];
	b->flags[i] = b->flags[b->count];
	b->ids[i] = b->ids[b->count];
}

static struct batch batch_part(const struct batch *b, size_t from, size_t count)
{
	return (struct batch){b->texts + from, b->lengths + from, b->flags + from, b->ids + from,
	                      count,           b->regex};
}

static hs_error_t compile_once(const struct batch *b, hs_database_t **ret, int *ret_culprit)
{
	hs_compile_error_t *error = NULL;
	hs_error_t r;

	if (b->regex)
		r = hs_compile_multi(b->texts, b->flags, b->ids, (unsigned)b->count, HS_MODE_BLOCK,
		                     NULL, ret, &error);
	else
		r = hs_compile_lit_multi(b->texts, b->flags, b->ids, b->lengths, (unsigned)b->count,
		                         HS_MODE_BLOCK, NULL, ret, &error);
	*ret_culprit = error ? error->expression : -1;
	hs_free_compile_error(error);
	return r;
}

static void add_lot(struct pattern_db *db, hs_database_t *hs, size_t count)
{
	struct lot lot = {.hs = hs};

	hs_database_size(hs, &lot.bytes);
	xgrow(&db->lots, &db->lot_cap, db->lot_count + 1, sizeof(*db->lots));
	db->lots[db->lot_count++] = lot;
	db->count += count;
}

/* Leaves out what Hyperscan names as refused; when it refuses a lot as a whole, its halves are tried. */
static int compile_batch(struct pattern_db *db, struct batch b, const atomic_bool *stop)
{
	for (unsigned tries = 0; b.count; tries++) {
		hs_database_t *hs;
		int culprit;
		if (stop && atomic_load(stop))
			return -ECANCELED;
		if (compile_once(&b, &hs, &culprit) == HS_SUCCESS) {
			add_lot(db, hs, b.count);
			return 0;
		}
		bool named = culprit >= 0 && (size_t)culprit < b.count;
		if (b.count == 1 || (named && tries < PATTERN_REFUSED_TRIES)) {
			size_t i = named ? (size_t)culprit : 0;
			refuse(db, b.ids[i]);
			batch_remove(&b, i);
			continue;
		}
		size_t half = b.count / 2;
		int r = compile_batch(db, batch_part(&b, 0, half), stop);
		return r < 0 ? r : compile_batch(db, batch_part(&b, half, b.count - half), stop);
	}
	return 0;
}

static int compile_lots(struct pattern_db *db, const struct batch *b, const atomic_bool *stop)
{
	for (size_t at = 0; at < b->count; at += PATTERN_LOT_MAX) {
		size_t n = b->count - at < PATTERN_LOT_MAX ? b->count - at : PATTERN_LOT_MAX;
		int r = compile_batch(db, batch_part(b, at, n), stop);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The patterns of one sort as Hyperscan takes them; `texts` keeps what was rewritten. */
static void gather(struct pattern_db *db, const struct db_pattern *patterns, size_t count,
                   struct batch *b, struct buf *texts)
{
	for (size_t i = 0; i < count; i++) {
		const struct db_pattern *p = &patterns[i];
		size_t at = texts->n;
		unsigned flags =
			HS_FLAG_SINGLEMATCH | (p->flags & REGEX_CASELESS ? HS_FLAG_CASELESS : 0);
		if (p->regex != b->regex)
			continue;
		bool good = p->regex ? rewrite_regex(p, texts, &flags)
		                     : p->text.n && buf_add(texts, p->text) == 0;
		if (!good) {
			texts->n = at;
			refuse(db, p->id);
			continue;
		}
		b->lengths[b->count] = texts->n - at;
		b->flags[b->count] = flags;
		b->ids[b->count++] = p->id;
		buf_putc(texts, '\0');
	}
	const char *text = texts->p;
	for (size_t i = 0; i < b->count; i++) {
		b->texts[i] = text;
		text += b->lengths[i] + 1;
	}
}

static int compile_sort(struct pattern_db *db, const struct db_pattern *patterns, size_t count,
                        bool regex, const atomic_bool *stop)
{
	struct batch b = {xcalloc(count, sizeof(char *)),
	                  xcalloc(count, sizeof(size_t)),
	                  xcalloc(count, sizeof(unsigned)),
	                  xcalloc(count, sizeof(unsigned)),
	                  0,
	                  regex};
	struct buf texts;

	buf_init(&texts, 0);
	gather(db, patterns, count, &b, &texts);
	int r = compile_lots(db, &b, stop);
	buf_release(&texts);
	free(b.texts);
	free(b.lengths);
	free(b.flags);
	free(b.ids);
	return r;
}

int pattern_db_new(const struct db_pattern *patterns, size_t count, const atomic_bool *stop,
                   struct pattern_db **ret)
{
	struct pattern_db *db = xcalloc(1, sizeof(*db));
	int r = 0;

	if (pattern_db_possible()) {
		r = compile_sort(db, patterns, count, false, stop);
		if (r == 0)
			r = compile_sort(db, patterns, count, true, stop);
	} else {
		for (size_t i = 0; i < count; i++)
			refuse(db, patterns[i].id);
	}
	if (r < 0) {
		pattern_db_free(db);
		return r;
	}
	*ret = db;
	return 0;
}

void pattern_db_free(struct pattern_db *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < db->lot_count; i++)
		hs_free_database(db->lots[i].hs);
	free(db->lots);
	free(db->refused);
	free(db);
}

size_t pattern_db_refused(const struct pattern_db *db, const uint32_t **ret_ids)
{
	*ret_ids = db->refused;
	return db->refused_count;
}

size_t pattern_db_count(const struct pattern_db *db)
{
	return db->count;
}

size_t pattern_db_bytes(const struct pattern_db *db)
{
	size_t n = 0;

	for (size_t i = 0; i < db->lot_count; i++)
		n += db->lots[i].bytes;
	return n;
}

/* ---- as bytes: count, refused, lots; each number in eight bytes of this machine ---- */

static void put_number(struct buf *out, uint64_t n)
{
	buf_append(out, &n, sizeof(n));
}

static bool get_number(struct str *in, uint64_t *ret)
{
	if (in->n < sizeof(*ret))
		return false;
	memcpy(ret, in->p, sizeof(*ret));
	*in = str_skip(*in, sizeof(*ret));
	return true;
}

int pattern_db_save(const struct pattern_db *db, struct buf *out)
{
	put_number(out, db->count);
	put_number(out, db->refused_count);
	buf_append(out, db->refused, db->refused_count * sizeof(*db->refused));
	put_number(out, db->lot_count);
	for (size_t i = 0; i < db->lot_count; i++) {
		char *bytes = NULL;
		size_t n = 0;
		if (hs_serialize_database(db->lots[i].hs, &bytes, &n) != HS_SUCCESS)
			return -ENOMEM;
		put_number(out, n);
		int r = buf_append(out, bytes, n);
		free(bytes);
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_lot(struct pattern_db *db, struct str *in)
{
	hs_database_t *hs;
	uint64_t n;

	if (!get_number(in, &n) || n > in->n ||
	    hs_deserialize_database(in->p, (size_t)n, &hs) != HS_SUCCESS)
		return -EBADMSG;
	*in = str_skip(*in, (size_t)n);
	add_lot(db, hs, 0);
	return 0;
}

int pattern_db_load(struct str *in, struct pattern_db **ret)
{
	struct pattern_db *db = xcalloc(1, sizeof(*db));
	uint64_t count, refused, lots = 0;
	int r = -EBADMSG;

	if (get_number(in, &count) && get_number(in, &refused) &&
	    refused <= in->n / sizeof(*db->refused)) {
		for (; refused; refused--) {
			uint32_t id;
			memcpy(&id, in->p, sizeof(id));
			refuse(db, id);
			*in = str_skip(*in, sizeof(id));
		}
		db->count = (size_t)count;
		r = get_number(in, &lots) ? 0 : -EBADMSG;
	}
	for (; r == 0 && lots; lots--)
		r = load_lot(db, in);
	if (r < 0) {
		pattern_db_free(db);
		return r;
	}
	*ret = db;
	return 0;
}

/* ---- searching ---- */

struct pattern_scratch *pattern_scratch_new(void)
{
	return xcalloc(1, sizeof(struct pattern_scratch));
}

void pattern_scratch_free(struct pattern_scratch *s)
{
	if (!s)
		return;
	hs_free_scratch(s->hs);
	free(s);
}

int pattern_scratch_fit(struct pattern_scratch *s, const struct pattern_db *db)
{
	for (size_t i = 0; i < db->lot_count; i++)
		if (hs_alloc_scratch(db->lots[i].hs, &s->hs) != HS_SUCCESS)
			return -ENOMEM;
	return 0;
}

struct finder {
	void (*found)(void *arg, uint32_t id);
	void *arg;
};

static int on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags,
                    void *arg)
{
	const struct finder *f = arg;

	(void)from, (void)to, (void)flags;
	f->found(f->arg, id);
	return 0;
}

void pattern_db_scan(const struct pattern_db *db, struct pattern_scratch *s, struct str text,
                     void (*found)(void *arg, uint32_t id), void *arg)
{
	struct finder f = {found, arg};

	for (size_t i = 0; i < db->lot_count; i++)
		hs_scan(db->lots[i].hs, text.p, (unsigned)text.n, 0, s->hs, on_match, &f);
}
