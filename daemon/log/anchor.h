/* Anchors: what lets an auditor show that even the whole ledger was not rewritten. From time to time the sequence and the
 * chain value of the ledger's last record are signed and written down: appended to STATE/anchors and sent to syslog, from
 * where they leave the machine. Who rewrites the ledger cannot rewrite the copies. One line of text each:
 *
 *   isod-anchor-1 NODE SEQUENCE TIME HEAD SIGNATURE\n
 *
 * NODE: letters, digits, "._-"; SEQUENCE: decimal; TIME: RFC 3339, when the anchor was made; HEAD: the chain value after
 * that record, 64 hexadecimal digits; SIGNATURE: Ed25519, 128 hexadecimal digits, of all bytes of the line before the space
 * in front of it.
 *
 * Every line of STATE/anchors is one. A crash amid writing one leaves a last line without its newline; it is cut off when
 * the next one is written, so a line that is none is damage everywhere else.
 *
 * Retention takes a ledger's beginning away. An anchor vouches for all of the ledger before it, so whoever takes some of
 * that away and leaves the rest as it was is not found by this (nor meant to be), but who puts another ledger in its place
 * is: at least one anchor must stand in what is kept, or right before it. */
#ifndef ISOD_LOG_ANCHOR_H
#define ISOD_LOG_ANCHOR_H

#include <stdbool.h>

#include "base/hash.h"
#include "base/sign.h"
#include "log/segment.h"

#define ANCHOR_LINE_MAX 512 /* a node's name has 64 bytes: half of this is never reached */

struct anchor {
	uint64_t sequence;
	uint8_t head[SHA256_BYTES];
	unsigned line; /* of the file it was read from */
};

/* The signed line, with its newline, into `ret`; its length or -errno. */
int anchor_line(const struct sign_key *key, const char *node, uint64_t sequence, uint64_t time_ns,
                const uint8_t head[static SHA256_BYTES], char ret[static ANCHOR_LINE_MAX]);
/* 0; -EBADMSG when it is no anchor (`line`: without the newline), -EKEYREJECTED when its signature is wrong. */
int anchor_parse(struct str line, const struct sign_key *key, struct anchor *ret);
/* Appends the line to the file, behind its last whole line, and syncs it. 0 or -errno; then the line is not there. */
int anchor_append(const char *path, struct str line);

struct anchors {
	char *path;
	struct anchor *items; /* by sequence */
	size_t count;
	uint64_t others; /* lines without an anchor that were passed over */
	unsigned torn;   /* the number of a last line that is cut short; 0: there is none */
};

/* All anchors of a file. `own`: of one that isod writes, where every line is one; else other lines (of a whole syslog, say)
 * are passed over, text in front of an anchor too. 0; -EBADMSG when a line is no anchor that can be read, -EKEYREJECTED
 * when the signature of one is wrong, -errno; with `error`, which names file and line. */
int anchors_load(const char *path, const struct sign_key *key, bool own, struct anchors *ret,
                 char *error, size_t error_size);
void anchors_free(struct anchors *a);

struct anchor_report {
	uint64_t proven;        /* anchors that are what the ledger says */
	uint64_t before;        /* … that stand before what is kept of it */
	uint64_t others;        /* lines of the file that are none */
	unsigned torn;          /* struct anchors */
	uint64_t first, behind; /* sequences: where the ledger begins, and the first anchor that
	                         * proves this beginning to be the true one; 0: none */
	char error[512];        /* the first that is not; "" if none */
};

/* Holds the anchors against the ledger, which is proven on the way. 0; -EBADMSG with report->error when the ledger is
 * damaged, another one than an anchor tells, or ends before an anchor; or when all anchors stand before what is kept;
 * -errno. */
int anchors_verify(const char *dir, const struct anchors *a, struct anchor_report *ret);
/* Loads the file and does that. -ENODATA when there is no anchor in it; the other answers of both. */
int anchors_prove(const char *dir, const char *path, const char *public_key, bool own,
                  struct anchor_report *ret);

#endif
