/* What the writer (segment_write.c), the reader (segment_read.c) and the proof of one file (segment_scan.c) share.
 * The format stands in segment.h. */
#ifndef ISOD_LOG_SEGMENT_INTERNAL_H
#define ISOD_LOG_SEGMENT_INTERNAL_H

#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "log/segment.h"

#define SEGMENT_NAME_BYTES 29 /* 20 digits, ".log.zst" and the terminator */
#define SEAL_BIT           UINT32_C(0x80000000)

static inline uint32_t get_le32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t get_le64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void put_le32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put_le64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

/* Bytes behind a record's body: the ledger's chain value. */
static inline size_t record_trailer(enum segment_kind kind)
{
	return kind == SEGMENT_LEDGER ? SHA256_BYTES : 0;
}

/* The CRC of a record of `total` bytes at `p`, whose length field is taken as `length`. */
uint32_t record_crc(uint32_t salt, uint32_t length, const char *p, size_t total);

struct segment_header {
	enum segment_kind kind;
	uint64_t first;
	uint8_t chain[SHA256_BYTES];
	uint32_t salt;
};

void segment_header_encode(const struct segment_header *h, char out[static SEGMENT_HEADER_BYTES]);
/* NULL and *ret, or what is wrong with it, in words. */
const char *segment_header_decode(const char in[static SEGMENT_HEADER_BYTES],
                                  struct segment_header *ret);

#define PACKED_SUFFIX ".zst"
void segment_name(uint64_t first, char out[static SEGMENT_NAME_BYTES]);
void segment_packed_name(uint64_t first, char out[static SEGMENT_NAME_BYTES]);
/* The first sequences of all segments in the folder, plain or compressed, rising, each once. The caller frees *ret.
 * 0 or -errno. */
int segment_list(int dir_fd, uint64_t **ret, size_t *ret_count);

/* The file that tells where a ledger begins after its oldest segments were removed. */
#define BEGINS_FILE  "begins"
#define BEGINS_BYTES 128 /* more than it ever has */
/* 1 with the sequence and the chain value before it, 0 when there is no such file, -EBADMSG, -errno. */
int segment_begins(int dir_fd, uint64_t *ret_first, uint8_t ret_chain[static SHA256_BYTES]);

/* Fills `error` (cut to fit) and returns `r`. */
int segment_error(char *error, size_t error_size, int r, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Fills `p` from the file, fewer bytes than `n` at its end. Bytes or -errno. */
ssize_t file_read_at(int fd, void *p, size_t n, uint64_t offset);
/* Writes p[*done] to p[n - 1]; *done tells how far it came. 0 or -errno. */
int file_write_at(int fd, const char *p, size_t n, uint64_t offset, size_t *done);
/* fdatasync(2). 0 or -errno. */
int file_sync(int fd);

/* ---- a compressed segment's bytes, forward only (segment_zstd.c) ---- */
struct unpacker;
/* Reads `fd`, which stays the caller's, from its start. 0 with *ret and the .log's size in *ret_size; -EBADMSG, or
 * -errno. *ret_why: what is wrong, in words. */
int unpacker_new(int fd, struct unpacker **ret, uint64_t *ret_size, const char **ret_why);
void unpacker_free(struct unpacker *u);
/* The next bytes of the .log, fewer than `n` only at its end, where the frame's checksum is proven and that nothing
 * follows. Bytes; -EBADMSG, -errno, with *ret_why. */
ssize_t unpacker_read(struct unpacker *u, char *p, size_t n, const char **ret_why);
/* Compresses the first `size` bytes of `in` to the empty file `out`. `stop` may be NULL; when it becomes true:
 * -ECANCELED. 0 or -errno. */
int pack_file(int in, uint64_t size, int out, int level, const atomic_bool *stop);

/* ---- one segment file, read from its start, everything proven ---- */
struct scan {
	int fd;
	struct unpacker *
		unpacker; /* of a compressed one; all offsets and sizes are those of the .log in it */
	char *path;
	struct segment_header header;
	uint64_t size;   /* of the file, when last looked at */
	uint64_t offset; /* of the record that is read next */
	uint64_t next;   /* its sequence */
	uint64_t time_ns;
	uint8_t chain[SHA256_BYTES];
	struct sha256 *hash; /* evidence: begun, over the chain value and all since the last seal */
	bool unsealed;       /* evidence: records since the last seal */
	bool trusted;        /* the chain is not proven */
	struct buf window;   /* bytes of the file from window_at on */
	uint64_t window_at;
	const char *wrong; /* what a failed read or a bad header means, in words; else NULL */
};

/* Opens the segment, the .log if it is there in both forms, and checks the header. 1; 0 when a crash has left the file without a header (*ret is not set then, but
 * ret->size is); -EBADMSG or -errno with `error`. */
int scan_open(int dir_fd, const char *dir, enum segment_kind kind, uint64_t first, struct scan *ret,
              char *error, size_t error_size);
/* The same of one form of it, in a file of any name. */
int scan_open_file(int dir_fd, const char *dir, const char *name, bool packed,
                   enum segment_kind kind, uint64_t first, struct scan *ret, char *error,
                   size_t error_size);
void scan_close(struct scan *s);
/* 1 and *ret (never a seal); 0 when nothing whole follows: s->size - s->offset bytes are a torn tail, or one that is
 * being written (ask again later); -EBADMSG or -errno with `error`. */
int scan_next(struct scan *s, struct record *ret, char *error, size_t error_size);
/* `next` follows `s`, of which everything was read, without a seam? NULL or what is wrong. */
const char *scan_check_seam(const struct scan *s, const struct scan *next);

#endif
