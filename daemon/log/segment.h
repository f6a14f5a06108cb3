/* The file format of both append-only logs, evidence and ledger: a folder of segment files.
 *
 * A segment is named by the sequence of its first record, 20 decimal digits and ".log". All numbers are
 * little-endian. It begins with a header of 64 bytes:
 *
 *   offset size
 *        0    8  "ISODLOG1"
 *        8    4  kind: 1 evidence, 2 ledger
 *       12    4  flags: 0
 *       16    8  sequence of the first record
 *       24   32  chain value before the first record (SHA-256; zeros for a log's very first segment)
 *       56    4  salt: random, the start value of the CRC of every record in this segment, so that no bytes which
 *               a peer sends, and no old block of the disk, can pass for a record
 *       60    4  CRC32C of bytes 0-59 (start value 0)
 *
 * Records follow without gaps:
 *
 *        0    4  length n of the body
 *        4    4  CRC32C, begun with the salt, of everything of this record but this field
 *        8    8  sequence: one more than the record before
 *       16    8  time, ns since 1970 UTC
 *       24    n  body
 *     24+n   32  ledger only: chain value = SHA-256(chain value before ‖ bytes 8 … 24+n)
 *
 * The ledger is chained record by record, so that the first changed one can be named. Evidence is chained once per
 * commit by a seal: a record with bit 31 of its length set, whose body is the 32-byte chain value =
 * SHA-256(chain value before ‖ all record bytes since the last seal), and whose sequence and time are those of the
 * last record before it (a seal uses up no sequence). The last record of a segment that is not the newest is a seal.
 *
 * Across segments: a header repeats the chain value that the segment before ends with, and the sequence goes on. Only
 * evidence may leave sequences out, and only at the start of a segment. The oldest segments may be gone: of evidence
 * without more; of a ledger only up to what the file "begins" beside the segments tells, one line of text:
 *
 *   ISODLOG1 begins SEQUENCE CHAIN\n
 *
 * SEQUENCE in decimal: the first segment that is kept; CHAIN: the 64 hexadecimal digits of the chain value that its
 * header must have. It is written before anything is removed, so segments before it may still be there. It tells
 * retention from loss; that the removed part was the true one is what an anchor for SEQUENCE - 1 proves.
 *
 * A finished segment may be compressed: then NAME.log.zst stands in the place of NAME.log. It is exactly one zstd
 * frame (RFC 8878) that tells its content's size, has a checksum of it, asks for a window of at most 8 MiB, and has the
 * bytes of NAME.log as content; nothing stands behind it. So `zstd -d` gives the same file back. Checksums, chain and
 * all offsets in messages are those of that content. A compressed segment was whole when it was made: it has no torn
 * tail, what is wrong with it is damage. While both forms are there (a crash in between) NAME.log is read.
 * NAME.log.zst.tmp is one that is being made, and nothing to readers.
 *
 * A torn tail is what a crash leaves at the end of the newest segment: a record that is cut short, or one of full
 * length with a wrong CRC in which a whole disk sector (512 bytes by file offset, as far as they belong to the record)
 * reads as zeros, with no whole record behind it; or a newest segment that has not even its header (shorter than 64
 * bytes, or 64 zeros). It is cut off at open, with a message. Everything else that is wrong is damage, also in the
 * last record: reading fails with -EBADMSG and says where, and so does opening a ledger. Evidence goes on behind its
 * damage, because new evidence is worth more than none: opening it begins a new segment, with a sequence past all that
 * the damaged one can hold, whose header follows the last good chain value. */
#ifndef ISOD_LOG_SEGMENT_H
#define ISOD_LOG_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/hash.h"

#define SEGMENT_HEADER_BYTES 64
#define RECORD_HEADER_BYTES  24
#define RECORD_BODY_MAX      ((size_t)16 << 20) /* a 64 KiB frame, a settings record: far below */

enum segment_kind { SEGMENT_EVIDENCE = 1, SEGMENT_LEDGER = 2 };

struct record {
	uint64_t sequence;
	uint64_t time_ns;
	struct str body; /* points into the reader's buffer, valid until the next read */
};

/* ---- writing: one writer per log ---- */
struct segment_log;

struct segment_options {
	enum segment_kind kind;
	uint64_t segment_bytes; /* a new segment is begun past this size */
};

/* Opens or creates the log in folder `dir`, proves its newest segment, repairs a torn tail (a warning is logged),
 * positions after the last record. 0 and *ret; -EBADMSG (a damaged ledger), -EBUSY (another writer has it open), -errno.
 * `error` says what and where. */
int segment_open(const char *dir, const struct segment_options *options, struct segment_log **ret,
                 char *error, size_t error_size);
/* Flushes, syncs and closes. NULL is allowed. */
void segment_close(struct segment_log *l);

/* The sequence the next record will get (the first one ever is 1). */
uint64_t segment_next(const struct segment_log *l);
/* The sequence of the first record in the segment that the next one goes to. */
uint64_t segment_first(const struct segment_log *l);
/* Makes the next record's sequence at least `sequence` (evidence lost in a power cut must not be re-used). A gap is
 * only possible at a segment's start: what is pending is flushed and a new segment is begun. 0 or -errno; -EINVAL for
 * a gap in a ledger. */
int segment_skip_to(struct segment_log *l, uint64_t sequence);
/* The chain value after the last sealed or chained record. */
const uint8_t *segment_chain(const struct segment_log *l);

/* Appends to the buffer in memory: the body is the parts one after the other. Returns the record's sequence.
 * The caller keeps bodies under RECORD_BODY_MAX. */
uint64_t segment_append(struct segment_log *l, uint64_t time_ns, const struct str *parts,
                        size_t count);
/* The same for a body that is packed in place: room for `n` bytes, to be filled and then made a record before anything
 * else is asked of the log. */
char *segment_place(struct segment_log *l, size_t n);
uint64_t segment_placed(struct segment_log *l, uint64_t time_ns, size_t n);
/* Bytes appended and not yet written. */
size_t segment_pending(const struct segment_log *l);
/* write(2)s what is pending: it survives the process's death. 0 or -errno, then what is pending stays pending and
 * the call can be repeated. */
int segment_flush(struct segment_log *l);
/* segment_flush, and for evidence a seal, and fdatasync(2): it survives power loss. 0 or -errno. When fdatasync itself
 * fails nobody knows what reached the disk, and asking again would answer "done" without being true: from then on
 * every flush and sync of this log fails with that error until it is opened anew. */
int segment_sync(struct segment_log *l);
/* True after such a failure. What the log has in the file is then thrown out of the kernel's cache, so that whoever opens
 * it anew reads what the disk really holds. */
bool segment_broken(const struct segment_log *l);
/* segment_sync in two halves, so that another thread can wait for the disk. The first does all but the fdatasync: *ret_fd
 * (the caller's to close) is to be fdatasync'ed, -1 when there is nothing to sync. 0 or -errno. The second is told how
 * that went: 0 or -errno. In between the log may be used as ever; what is appended then belongs to the next sync. */
int segment_sync_begin(struct segment_log *l, int *ret_fd);
int segment_sync_end(struct segment_log *l, int result);

/* The folder it was opened with. */
const char *segment_dir(const struct segment_log *l);

/* Whoever follows the log in memory is called after each write that was complete, with all that it wrote: whole records as
 * they stand in the file. It may take the buffer and leave an empty one in its place. NULL: nobody. */
void segment_follow(struct segment_log *l, void (*written)(void *arg, struct buf *bytes),
                    void *arg);
/* Of evidence: the first record of such bytes, which are advanced past it; its body points into them. False: there is none (a seal is
 * left out). */
bool segment_take(struct str *bytes, struct record *ret);

/* ---- reading: any number of readers, also of a log that is being written ---- */
struct segment_reader;

/* Begins at the first record with sequence >= `from`; a ledger that begins behind `from` is an error of the first
 * segment_read, unless `from` is 0. 0 and *ret, or -errno; `error` says what and where. */
int segment_reader_open(const char *dir, enum segment_kind kind, uint64_t from,
                        struct segment_reader **ret, char *error, size_t error_size);
void segment_reader_close(struct segment_reader *r);
/* Of evidence, before the first segment_read, for the writer's own process that reads what it has just written: the checksums are proven,
 * the chain is not. */
void segment_reader_trust(struct segment_reader *r);
/* 1 and *ret; 0 at the end (ask again later: what was written since is read then); -EBADMSG with `error` naming file,
 * offset and sequence, or -errno. Proves CRC, sequence and chain of all it passes, from the start of the segment
 * that holds `from`. */
int segment_read(struct segment_reader *r, struct record *ret, char *error, size_t error_size);
/* Of a ledger: the chain value after the record that was read last. Not before the first. */
const uint8_t *segment_reader_chain(const struct segment_reader *r);
/* The chain value that the segment of that record begins with. */
const uint8_t *segment_reader_before(const struct segment_reader *r);

struct segment_report {
	uint64_t records, segments, bytes; /* bytes: without compression */
	uint64_t compressed;               /* so many of the segments are */
	uint64_t first, last;              /* sequences */
	uint64_t next;                     /* what the next record's will be at least */
	uint64_t torn_bytes;               /* an unfinished tail: no damage */
	uint64_t damaged;                  /* segments with damage; of a ledger the first only */
	uint8_t chain[SHA256_BYTES];       /* the head */
	char error[512];                   /* the first bad record, "" if none */
};

/* Reads the whole log and proves CRCs, sequences and the chain across segments, and of a ledger what `begins` tells. 0 when
 * sound, -EBADMSG with report->error, or -errno. Writes nothing. Of a damaged ledger the rest is not read: nothing behind
 * the damage can be believed. Of damaged evidence it is, from the next segment on, as the writer went on there. */
int segment_verify(const char *dir, enum segment_kind kind, struct segment_report *ret);

/* Which kind of log is in the folder, by the first header that can be read. 0 and *ret; -ENOENT when there is no segment;
 * -EBADMSG, -errno. */
int segment_kind_in(const char *dir, enum segment_kind *ret);

/* ---- looking after finished segments: by one at a time for each log, beside its writer and its readers ---- */

/* A segment is finished once the next one holds a record: the writer then never touches it again. */
struct segment_info {
	uint64_t first, next; /* sequences that it and the next segment begin with */
	uint64_t
		ended_ns; /* time of the next segment's first record: nothing in this one is younger, unless the
	                       * clock was set back. UINT64_MAX when it cannot be told. */
	uint64_t stored;    /* bytes on disk */
	bool plain, packed; /* the forms that are there */
};

/* The sequences that the segments begin with, rising, whatever form they have. The caller frees *ret. 0 or -errno. */
int segment_firsts(const char *dir, uint64_t **ret, size_t *ret_count);
/* The log's oldest segment: 1 and *ret; 0 when it is not finished or there is none; -errno. */
int segment_oldest(const char *dir, enum segment_kind kind, struct segment_info *ret);
/* The oldest one behind sequence `after` of which there is a .log: the same answers. */
int segment_plain_after(const char *dir, enum segment_kind kind, uint64_t after,
                        struct segment_info *ret);
/* Bytes on disk of all segments. 0 or -errno. */
int segment_stored(const char *dir, uint64_t *ret);

/* Compresses finished segment `info`, which is brought up to date. Memory: some 60 MiB at the highest level, 10 at the
 * default, whatever the segment's size. `level`: zstd's, 1 to 19. `stop` may be NULL; when it becomes true the work is
 * given up: -ECANCELED. 0; -EBADMSG when the segment is damaged (it stays as it is), -errno; with `error`. A failure
 * leaves what was there. */
int segment_pack(const char *dir, enum segment_kind kind, struct segment_info *info, int level,
                 const atomic_bool *stop, char *error, size_t error_size);

/* Removes finished segment `info`, the log's oldest, as segment_oldest() gave it. 0 or -errno with `error`. What may be
 * removed is for the caller to know (log/keeper.h). */
int segment_remove(const char *dir, enum segment_kind kind, const struct segment_info *info,
                   char *error, size_t error_size);

/* ---- after damage ---- */

/* Cuts the log behind sequence `last`: everything behind it, and the whole file it stands in, is set aside in a new folder
 * "cut-LAST-SECONDS" in `dir`, with a README that tells so; nothing is deleted. The segment that holds `last` is proven
 * up to it. 0 and the folder in *ret_aside (the caller frees); -EBADMSG when `last` stands behind the damage, -ERANGE
 * when there is no such sequence or nothing behind it, -EWOULDBLOCK while somebody writes to the log, -errno; with
 * `error`. */
int segment_cut(const char *dir, enum segment_kind kind, uint64_t last, char **ret_aside,
                char *error, size_t error_size);

#endif
