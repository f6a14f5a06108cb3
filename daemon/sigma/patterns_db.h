/* Many patterns searched for in one text at once: Hyperscan (libhs; Vectorscan where the processor is not x86), and the
 * only place that sees it. A database is read-only once made and shared by threads; each thread has its own scratch. */
#ifndef ISOD_SIGMA_PATTERNS_DB_H
#define ISOD_SIGMA_PATTERNS_DB_H

#include <stdatomic.h>

#include "base/buf.h"
#include "sigma/regex.h"

/* Patterns go to Hyperscan in lots of this many, each searched for in a pass of its own: its memory and time for one
 * stay bounded whatever the rule set. All of SigmaHQ's of one field fit one lot. */
#define PATTERN_LOT_MAX 20000

struct db_pattern {
	uint32_t id;
	struct str text;
	bool regex; /* else plain bytes */
	unsigned
		flags; /* enum regex_flag; of plain bytes only REGEX_CASELESS, which is about ASCII letters */
};

struct pattern_db;

/* True where Hyperscan can work at all (on x86: SSSE3). */
bool pattern_db_possible(void);

/* 0 and *ret, or -ECANCELED when `stop` (may be NULL) was set. Patterns that Hyperscan does not take are left out:
 * pattern_db_refused(). What is found for a regex may be more than it means, never less, as long as the text is ASCII;
 * each pattern is found at most once a lot and text. */
int pattern_db_new(const struct db_pattern *patterns, size_t count, const atomic_bool *stop,
                   struct pattern_db **ret);
void pattern_db_free(struct pattern_db *db);

size_t pattern_db_refused(const struct pattern_db *db, const uint32_t **ret_ids);
size_t pattern_db_count(const struct pattern_db *db); /* of the patterns it searches for */
size_t pattern_db_bytes(const struct pattern_db *db);

/* As bytes, for a file, and back: takes its part off `*in`. 0 or -EBADMSG (torn, or made by another version or for
 * another processor). The bytes must be known to be what was saved: Hyperscan trusts them. */
int pattern_db_save(const struct pattern_db *db, struct buf *out);
int pattern_db_load(struct str *in, struct pattern_db **ret);
/* Appends what saved bytes depend on besides the patterns: Hyperscan's version, the processor. */
void pattern_db_identity(struct buf *out);

struct pattern_scratch;
struct pattern_scratch *pattern_scratch_new(void);
void pattern_scratch_free(struct pattern_scratch *s);
/* Makes room for searches in `db`: for each database before the first one. 0 or -ENOMEM. */
int pattern_scratch_fit(struct pattern_scratch *s, const struct pattern_db *db);

/* Calls `found` for the patterns found in `text`. */
void pattern_db_scan(const struct pattern_db *db, struct pattern_scratch *s, struct str text,
                     void (*found)(void *arg, uint32_t id), void *arg);

#endif
