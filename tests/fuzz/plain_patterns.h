/* sigma/patterns_db.h without Hyperscan, for fuzzers: compiling a database takes Hyperscan longer than all else of an
 * execution together. A fuzzer that includes this gets it instead of the library's (all of the interface is here, so
 * the linker leaves the other out). It finds each pattern only where it really is, which is the least that the
 * interface promises, so whoever builds on it cannot live on Hyperscan's finding too much. One pattern in eight is
 * refused. fuzz_scan.c tests Hyperscan itself. */
#ifndef FUZZ_PLAIN_PATTERNS_H
#define FUZZ_PLAIN_PATTERNS_H

#include <stdlib.h>

#include "base/mem.h"
#include "sigma/patterns_db.h"

struct plain_pattern {
	uint32_t id;
	bool caseless;       /* of a text */
	struct str text;     /* on the heap */
	struct regex *regex; /* NULL: a text */
};

struct pattern_db {
	struct plain_pattern *patterns;
	uint32_t *refused;
	size_t count, refused_count;
};

struct pattern_scratch {
	struct regex_scratch *regex;
};

bool pattern_db_possible(void)
{
	return true;
}

void pattern_db_identity(struct buf *out)
{
	buf_add(out, STR("plain"));
}

static bool plain_refuses(struct str text)
{
	unsigned sum = 0;

	for (size_t i = 0; i < text.n; i++)
		sum = sum * 31 + (unsigned char)text.p[i];
	return sum % 8 == 3;
}

int pattern_db_new(const struct db_pattern *patterns, size_t count, const atomic_bool *stop,
                   struct pattern_db **ret)
{
	struct pattern_db *db = xcalloc(1, sizeof(*db));
	char error[200];
	size_t at;

	(void)stop;
	db->patterns = xcalloc(count, sizeof(*db->patterns));
	db->refused = xcalloc(count, sizeof(*db->refused));
	for (size_t i = 0; i < count; i++) {
		const struct db_pattern *p = &patterns[i];
		struct plain_pattern *x = &db->patterns[db->count];
		if (plain_refuses(p->text)) {
			db->refused[db->refused_count++] = p->id;
			continue;
		}
		*x = (struct plain_pattern){.id = p->id, .caseless = p->flags & REGEX_CASELESS};
		x->text = str_make(xstrndup(p->text.n ? p->text.p : "", p->text.n), p->text.n);
		if (p->regex) {
			x->regex = regex_compile(p->text, p->flags, error, sizeof(error), &at);
			if (!x->regex)
				abort(); /* it was good when the rule was read */
		}
		db->count++;
	}
	*ret = db;
	return 0;
}

void pattern_db_free(struct pattern_db *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < db->count; i++) {
		regex_free(db->patterns[i].regex);
		free((void *)(uintptr_t)db->patterns[i].text.p);
	}
	free(db->patterns);
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
	return db->count;
}

/* Never called: nothing is cached. */
int pattern_db_save(const struct pattern_db *db, struct buf *out)
{
	(void)db, (void)out;
	abort();
}

int pattern_db_load(struct str *in, struct pattern_db **ret)
{
	(void)in, (void)ret;
	abort();
}

struct pattern_scratch *pattern_scratch_new(void)
{
	return xcalloc(1, sizeof(struct pattern_scratch));
}

void pattern_scratch_free(struct pattern_scratch *s)
{
	if (!s)
		return;
	regex_scratch_free(s->regex);
	free(s);
}

int pattern_scratch_fit(struct pattern_scratch *s, const struct pattern_db *db)
{
	for (size_t i = 0; i < db->count && !s->regex; i++)
		if (db->patterns[i].regex)
			s->regex = regex_scratch_new();
	return 0;
}

static bool plain_contains(struct str text, struct str part, bool caseless)
{
	for (; text.n >= part.n; text = str_skip(text, 1)) {
		struct str here = str_head(text, part.n);
		if (caseless ? str_ieq(here, part) : str_eq(here, part))
			return true;
		if (text.n == 0)
			break;
	}
	return false;
}

void pattern_db_scan(const struct pattern_db *db, struct pattern_scratch *s, struct str text,
                     void (*found)(void *arg, uint32_t id), void *arg)
{
	for (size_t i = 0; i < db->count; i++) {
		const struct plain_pattern *p = &db->patterns[i];
		/* Cut short (< 0): it may be there. */
		if (p->regex ? regex_search(p->regex, s->regex, text) != 0
		             : plain_contains(text, p->text, p->caseless))
			found(arg, p->id);
	}
}

#endif
