/* What the writer (segment_write.c), the reader (segment_read.c) and the proof of one file (segment_scan.c) share.
 * The format stands in segment.h. */
#ifndef ISOD_LOG_SEGMENT_INTERNAL_H
#define ISOD_LOG_SEGMENT_INTERNAL_H

#include <endian.h>
#include <stdbool.h>

#include "log/segment.h"

#define SEGMENT_NAME_BYTES 25 /* 20 digits, ".log" and the terminator */
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

void segment_name(uint64_t first, char out[static SEGMENT_NAME_BYTES]);
/* The first sequences of all segments in the folder, rising. The caller frees *ret. 0 or -errno. */
int segment_list(int dir_fd, uint64_t **ret, size_t *ret_count);

/* Fills `error` (cut to fit) and returns `r`. */
int segment_error(char *error, size_t error_size, int r, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* ---- one segment file, read from its start, everything proven ---- */
struct scan {
	int fd;
	char *path;
	struct segment_header header;
	uint64_t size;   /* of the file, when last looked at */
	uint64_t offset; /* of the record that is read next */
	uint64_t next;   /* its sequence */
	uint64_t time_ns;
	uint8_t chain[SHA256_BYTES];
	struct sha256 *hash; /* evidence: begun, over the chain value and all since the last seal */
	bool unsealed;       /* evidence: records since the last seal */
	struct buf window;   /* bytes of the file from window_at on */
	uint64_t window_at;
};

/* Opens and checks the header. 1; 0 when a crash has left the file without a header (*ret is not set then, but
 * ret->size is); -EBADMSG or -errno with `error`. */
int scan_open(int dir_fd, const char *dir, enum segment_kind kind, uint64_t first, struct scan *ret,
              char *error, size_t error_size);
void scan_close(struct scan *s);
/* 1 and *ret (never a seal); 0 when nothing whole follows: s->size - s->offset bytes are a torn tail, or one that is
 * being written (ask again later); -EBADMSG or -errno with `error`. */
int scan_next(struct scan *s, struct record *ret, char *error, size_t error_size);

#endif
