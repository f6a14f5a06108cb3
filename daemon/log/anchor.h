/* Anchors: what lets an auditor show that even the whole ledger was not rewritten. From time to time the sequence and the
 * chain value of the ledger's last record are signed and written down: appended to STATE/anchors and sent to syslog, from
 * where they leave the machine. Who rewrites the ledger cannot rewrite the copies. One line of text each:
 *
 *   isod-anchor-1 NODE SEQUENCE TIME HEAD SIGNATURE\n
 *
 * NODE: letters, digits, "._-"; SEQUENCE: decimal; TIME: RFC 3339, when the anchor was made; HEAD: the chain value after
 * that record, 64 hexadecimal digits; SIGNATURE: Ed25519, 128 hexadecimal digits, of all bytes of the line before the space
 * in front of it. */
#ifndef ISOD_LOG_ANCHOR_H
#define ISOD_LOG_ANCHOR_H

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
/* Appends the line to the file and syncs it. 0 or -errno. */
int anchor_append(const char *path, struct str line);

/* All anchors of a file, by sequence; other lines than anchors (a whole syslog, say) are passed over, text in front of an
 * anchor too. The caller frees *ret. 0; -EKEYREJECTED when a signature is wrong, -errno; with `error`. */
int anchor_load(const char *path, const struct sign_key *key, struct anchor **ret,
                size_t *ret_count, char *error, size_t error_size);

struct anchor_report {
	uint64_t proven; /* anchors that are what the ledger says */
	uint64_t before; /* … that stand before what is kept of it */
	char error[512]; /* the first that is not; "" if none */
};

/* Holds the anchors against the ledger, which is proven on the way. 0; -EBADMSG with report->error when the ledger is
 * damaged, another one than an anchor tells, or ends before an anchor; -errno. */
int anchor_verify(const char *dir, const struct anchor *anchors, size_t count,
                  struct anchor_report *ret);

#endif
