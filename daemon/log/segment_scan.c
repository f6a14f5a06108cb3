/* The proof of one segment file, record by record. Opening a log, reading it and verifying it all go through here, so
 * that there is one opinion on what is whole, what is torn and what is damaged.
 *
 * Why a torn tail needs care: cutting too much loses records that were acknowledged, refusing too much keeps the daemon
 * from starting after every power cut. A killed process leaves a file that simply ends early. A power cut can also
 * leave sectors that were never written inside the file; they read as zeros. A flipped bit does neither. So what is
 * complete, has no unwritten sector and still does not match its checksum was changed, wherever it stands.
 *
 * Whether something whole stands behind a bad record is found by looking at every offset, because the bad record's
 * length cannot be trusted. The salt in the checksum keeps a peer from putting something into its frames that looks
 * like a record; SEARCH_BYTES_MAX keeps it from making the search long. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "log/segment_internal.h"

#define WINDOW_BYTES ((size_t)256 << 10) /* read at once: few calls, small memory */
#define SECTOR_BYTES 512                 /* the smallest unit that a disk writes as a whole */
#define SEARCH_BYTES_MAX                                                                           \
	(UINT64_C(1)                                                                               \
	 << 30) /* checksummed in one search: about a second; past it a person should look */

static int damage(const struct scan *s, const char *what, char *error, size_t error_size)
{
	return segment_error(error, error_size, -EBADMSG,
	                     "%s: offset %" PRIu64 ": sequence %" PRIu64 ": %s", s->path, s->offset,
	                     s->next, what);
}

/* Of a compressed segment: only forward, what stands before `offset` is gone afterwards. */
static int window_packed(struct scan *s, uint64_t offset, size_t n, const char **ret)
{
	struct buf *w = &s->window;

	if (offset + n > s->window_at + w->n) {
		size_t want = n > WINDOW_BYTES ? n : WINDOW_BYTES;
		buf_consume(w, (size_t)(offset - s->window_at));
		s->window_at = offset;
		int r = buf_reserve(w, want - w->n);
		if (r < 0)
			return r;
		ssize_t got = unpacker_read(s->unpacker, w->p + w->n, want - w->n, &s->wrong);
		if (got < 0)
			return (int)got;
		w->n += (size_t)got;
		if (w->n < n)
			return 0;
	}
	*ret = w->p + (offset - s->window_at);
	return 1;
}

/* `n` bytes of the file at `offset`, in place: 1 and *ret, 0 when the file ends before, -errno. */
static int window(struct scan *s, uint64_t offset, size_t n, const char **ret)
{
	struct buf *w = &s->window;

	if (s->unpacker)
		return window_packed(s, offset, n, ret);
	if (offset < s->window_at || offset + n > s->window_at + w->n) {
		size_t want = n > WINDOW_BYTES ? n : WINDOW_BYTES;
		buf_reset(w);
		int r = buf_reserve(w, want);
		if (r < 0)
			return r;
		ssize_t got = file_read_at(s->fd, w->p, want, offset);
		if (got < 0)
			return (int)got;
		w->n = (size_t)got;
		s->window_at = offset;
		if (w->n < n)
			return 0;
	}
	*ret = w->p + (offset - s->window_at);
	return 1;
}

static int file_size(struct scan *s)
{
	struct stat st;

	if (fstat(s->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	s->size = (uint64_t)st.st_size;
	return 0;
}

static bool all_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* The size of a record with that length field, 0 when there can be none. */
static size_t record_bytes(enum segment_kind kind, uint32_t length)
{
	uint32_t n = length & ~SEAL_BIT;

	if ((length & SEAL_BIT) && (kind != SEGMENT_EVIDENCE || n != SHA256_BYTES))
		return 0;
	return n > RECORD_BODY_MAX ? 0 : RECORD_HEADER_BYTES + n + record_trailer(kind);
}

/* The size of the plain file, or of what is in the compressed one. */
static int open_content(struct scan *s, bool packed)
{
	int r = file_size(s);

	if (r == 0 && packed)
		r = unpacker_new(s->fd, &s->unpacker, &s->size, &s->wrong);
	return r;
}

/* The header: 1, 0 when a crash has left none, -EBADMSG with s->wrong, -errno. */
static int read_header(struct scan *s, enum segment_kind kind, uint64_t first)
{
	const char *raw = "";

	int r = window(s, 0, SEGMENT_HEADER_BYTES, &raw);
	if (r < 0)
		return r;
	if (r == 0 && s->unpacker) {
		s->wrong = "the segment has no header";
		return -EBADMSG;
	}
	if (r == 0 || (s->size == SEGMENT_HEADER_BYTES && all_zero(raw, SEGMENT_HEADER_BYTES)))
		return 0;
	s->wrong = segment_header_decode(raw, &s->header);
	if (!s->wrong && s->header.kind != kind)
		s->wrong = "this is another kind of log";
	if (!s->wrong && s->header.first != first)
		s->wrong = "the header's sequence is not that of the file's name";
	return s->wrong ? -EBADMSG : 1;
}

int scan_open_file(int dir_fd, const char *dir, const char *name, bool packed,
                   enum segment_kind kind, uint64_t first, struct scan *ret, char *error,
                   size_t error_size)
{
	struct scan s = {.offset = SEGMENT_HEADER_BYTES, .next = first};

	s.fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (s.fd < 0)
		return segment_error(error, error_size, -errno, "%s/%s: %s", dir, name,
		                     strerror(errno));
	buf_init(&s.window, 0);
	int r = open_content(&s, packed);
	if (r == 0)
		r = read_header(&s, kind, first);
	if (r == 0)
		ret->size = s.size;
	if (r < 0 && s.wrong)
		segment_error(error, error_size, r, "%s/%s: offset 0: sequence %" PRIu64 ": %s",
		              dir, name, first, s.wrong);
	else if (r < 0)
		segment_error(error, error_size, r, "%s/%s: %s", dir, name, strerror(-r));
	if (r <= 0) {
		scan_close(&s);
		return r;
	}
	s.path = xasprintf("%s/%s", dir, name);
	memcpy(s.chain, s.header.chain, SHA256_BYTES);
	s.hash = sha256_new();
	if (kind == SEGMENT_EVIDENCE) {
		sha256_begin(s.hash);
		sha256_add(s.hash, str_make((const char *)s.chain, SHA256_BYTES));
	}
	*ret = s;
	return 1;
}

int scan_open(int dir_fd, const char *dir, enum segment_kind kind, uint64_t first, struct scan *ret,
              char *error, size_t error_size)
{
	char name[SEGMENT_NAME_BYTES], packed[SEGMENT_NAME_BYTES];

	segment_name(first, name);
	segment_packed_name(first, packed);
	int r = scan_open_file(dir_fd, dir, name, false, kind, first, ret, error, error_size);
	/* The .log goes only when the other form is whole. */
	return r != -ENOENT ? r
	                    : scan_open_file(dir_fd, dir, packed, true, kind, first, ret, error,
	                                     error_size);
}

void scan_close(struct scan *s)
{
	close(s->fd);
	free(s->path);
	unpacker_free(s->unpacker);
	sha256_free(s->hash);
	buf_release(&s->window);
}

/* Is there a whole record anywhere behind the bad one at s->offset? 1, 0, -errno; -E2BIG when the search was given up. */
static int whole_behind(struct scan *s)
{
	uint64_t spent = 0;
	const char *p;

	for (uint64_t at = s->offset + 1; at + RECORD_HEADER_BYTES <= s->size; at++) {
		int r = window(s, at, RECORD_HEADER_BYTES, &p);
		if (r <= 0)
			return r;
		uint64_t sequence = get_le64(p + 8);
		uint64_t highest = s->next + (at - s->offset) / RECORD_HEADER_BYTES;
		if (sequence + 1 < s->next || sequence > highest)
			continue;
		uint32_t length = get_le32(p), crc = get_le32(p + 4);
		size_t total = record_bytes(s->header.kind, length);
		if (total == 0 || total > s->size - at)
			continue;
		spent += total;
		if (spent > SEARCH_BYTES_MAX)
			return -E2BIG;
		r = window(s, at, total, &p);
		if (r < 0)
			return r;
		if (r > 0 && record_crc(s->header.salt, length, p, total) == crc)
			return 1;
	}
	return 0;
}

/* Does a sector that was never written lie in the rest of the file? */
static bool has_hole(uint64_t offset, const char *p, size_t n)
{
	while (n) {
		size_t part = SECTOR_BYTES - (size_t)(offset % SECTOR_BYTES);
		if (part > n)
			part = n;
		if (all_zero(p, part))
			return true;
		offset += part;
		p += part;
		n -= part;
	}
	return false;
}

/* The rest of the file is no more than the bad record. Is it complete, so that it was changed, not cut? */
static int complete_but_changed(struct scan *s, uint32_t length)
{
	size_t trailer = record_trailer(s->header.kind), rest;
	const char *p;

	if (s->size - s->offset > RECORD_HEADER_BYTES + RECORD_BODY_MAX + trailer)
		return 0;
	rest = (size_t)(s->size - s->offset);
	int r = window(s, s->offset, rest, &p);
	if (r <= 0 || rest < RECORD_HEADER_BYTES + trailer)
		return r < 0 ? r : 0;
	if (record_bytes(s->header.kind, length) == rest)
		return !has_hole(s->offset, p, rest);
	/* Perhaps it is the length that was changed. */
	uint32_t fits = (uint32_t)(rest - RECORD_HEADER_BYTES - trailer), crc = get_le32(p + 4);
	return record_crc(s->header.salt, fits, p, rest) == crc ||
	       (fits == SHA256_BYTES &&
	        record_crc(s->header.salt, fits | SEAL_BIT, p, rest) == crc);
}

/* What is wrong with the record at s->offset, which is not whole. */
static const char *describe_bad(const struct scan *s, uint32_t length)
{
	size_t total = record_bytes(s->header.kind, length);

	return total == 0                    ? "the record's length is impossible"
	       : total > s->size - s->offset ? "the record is longer than the file"
	                                     : "the record's checksum does not match";
}

/* What to make of that record: 0 (torn) or -EBADMSG or -errno. */
static int judge_tail(struct scan *s, uint32_t length, char *error, size_t error_size)
{
	const char *what = describe_bad(s, length);
	int r = whole_behind(s);

	if (r == 0)
		r = complete_but_changed(s, length);
	if (r == -E2BIG)
		return damage(s, "too much rubble behind a bad record to search", error,
		              error_size);
	if (r < 0)
		return segment_error(error, error_size, r, "%s: offset %" PRIu64 ": %s", s->path,
		                     s->offset, strerror(-r));
	return r ? damage(s, what, error, error_size) : 0;
}

/* The whole record `p` is next in the chain. NULL, or what is wrong. */
static const char *follow_chain(struct scan *s, const char *p, size_t total, bool seal)
{
	uint8_t digest[SHA256_BYTES];

	if (s->trusted) {
		s->unsealed = s->header.kind == SEGMENT_EVIDENCE && !seal;
		return NULL;
	}
	if (s->header.kind == SEGMENT_EVIDENCE && !seal) {
		sha256_add(s->hash, str_make(p, total));
		s->unsealed = true;
		return NULL;
	}
	if (s->header.kind == SEGMENT_LEDGER) {
		sha256_begin(s->hash);
		sha256_add(s->hash, str_make((const char *)s->chain, SHA256_BYTES));
		sha256_add(s->hash, str_make(p + 8, total - 8 - SHA256_BYTES));
	}
	sha256_end(s->hash, digest);
	bool same = memcmp(digest, p + total - SHA256_BYTES, SHA256_BYTES) == 0;
	if (!same)
		return seal ? "the seal does not match the records before it"
		            : "the record's chain value does not match";
	memcpy(s->chain, digest, SHA256_BYTES);
	if (seal) {
		sha256_begin(s->hash);
		sha256_add(s->hash, str_make((const char *)s->chain, SHA256_BYTES));
		s->unsealed = false;
	}
	return NULL;
}

/* The whole record at s->offset, in place: 1 with *ret and *ret_total, 0 when it is not whole; -errno.
 * *ret_length is its length field, 0 when there is not even a header. */
static int whole_record(struct scan *s, const char **ret, size_t *ret_total, uint32_t *ret_length)
{
	const char *p;

	*ret_length = 0;
	int r = window(s, s->offset, RECORD_HEADER_BYTES, &p);
	if (r <= 0)
		return r;
	uint32_t length = *ret_length = get_le32(p);
	size_t total = record_bytes(s->header.kind, length);
	if (total == 0 || (total > s->size - s->offset && !s->unpacker && (r = file_size(s)) < 0))
		return r < 0 ? r : 0;
	if (s->size < s->offset || total > s->size - s->offset)
		return 0;
	r = window(s, s->offset, total, &p);
	if (r <= 0)
		return r;
	if (record_crc(s->header.salt, length, p, total) != get_le32(p + 4))
		return 0;
	*ret = p;
	*ret_total = total;
	return 1;
}

/* What is read next is no whole record: 0 at the end or for a torn tail, -EBADMSG or -errno. */
static int end_of_records(struct scan *s, uint32_t length, char *error, size_t error_size)
{
	if (s->size < s->offset)
		return damage(s, "the file became shorter", error, error_size);
	/* A finished segment was whole when it was compressed. */
	if (s->unpacker && s->size != s->offset)
		return damage(s, describe_bad(s, length), error, error_size);
	if (s->unpacker)
		return s->unsealed ? damage(s, "the segment ends without a seal", error, error_size)
		                   : 0;
	return s->size - s->offset < RECORD_HEADER_BYTES ? 0
	                                                 : judge_tail(s, length, error, error_size);
}

int scan_next(struct scan *s, struct record *ret, char *error, size_t error_size)
{
	bool fresh = false;
	const char *p, *wrong;
	size_t total;
	uint32_t length;

	for (;;) {
		int r = whole_record(s, &p, &total, &length);
		if (r < 0 && s->wrong)
			return damage(s, s->wrong, error, error_size);
		if (r < 0)
			return segment_error(error, error_size, r, "%s: offset %" PRIu64 ": %s",
			                     s->path, s->offset, strerror(-r));
		if (r == 0 && !fresh && !s->unpacker) {
			/* What was read some time ago may have been the half of it. */
			fresh = true;
			buf_reset(&s->window);
			r = file_size(s);
			if (r < 0)
				return segment_error(error, error_size, r, "%s: %s", s->path,
				                     strerror(-r));
			continue;
		}
		if (r == 0)
			return end_of_records(s, length, error, error_size);
		bool seal = length & SEAL_BIT;
		if (get_le64(p + 8) != (seal ? s->next - 1 : s->next))
			return damage(s, "the record has another sequence", error, error_size);
		wrong = follow_chain(s, p, total, seal);
		if (wrong)
			return damage(s, wrong, error, error_size);
		fresh = false;
		s->offset += total;
		s->time_ns = get_le64(p + 16);
		if (seal)
			continue;
		*ret = (struct record){s->next++, s->time_ns,
		                       str_make(p + RECORD_HEADER_BYTES, length)};
		return 1;
	}
}

const char *scan_check_seam(const struct scan *s, const struct scan *next)
{
	const struct segment_header *h = &next->header;

	if (s->unsealed)
		return "the segment before it ends without a seal: its end is missing";
	if (h->first < s->next)
		return "it repeats sequences of the segment before it";
	if (h->first > s->next && h->kind == SEGMENT_LEDGER)
		return "records between it and the segment before it are missing";
	if (!s->trusted && memcmp(h->chain, s->chain, SHA256_BYTES) != 0)
		return "it does not follow the segment before it: one is missing or was replaced";
	return NULL;
}
