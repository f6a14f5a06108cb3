/* Reading a whole log, segment by segment, also while it is written; and its proof, which is a reading that counts.
 *
 * A segment is final once a newer one exists. So the reader, at the end of a file, first looks for a newer segment and
 * only then once more for records that the writer may have added before it began that one. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "log/segment_internal.h"

#define REMOVED_MAX                                                                                \
	100 /* oldest segments that vanish between listing and opening, one after the other */

struct segment_reader {
	char *dir;
	int dir_fd;
	enum segment_kind kind;
	uint64_t from;
	struct scan scan;
	bool open;         /* `scan` is */
	bool trusted;      /* the chain is not proven */
	uint64_t before;   /* bytes of the segments done with */
	uint64_t count;    /* segments begun … */
	uint64_t packed;   /* … and how many of them are compressed */
	uint64_t headless; /* bytes of a newest segment without a header */
	uint64_t damaged;  /* the first sequence of the segment that ended the reading */
	int failed;        /* what ended the reading … */
	char why[512];     /* … in words */
};

/* A ledger's oldest segment is not its first: was what is missing removed on purpose? NULL or what is wrong. */
static const char *check_removed(const struct segment_reader *r, const struct scan *s)
{
	const struct segment_header *h = &s->header;
	uint8_t chain[SHA256_BYTES];
	uint64_t begins = 0;

	int known = segment_begins(r->dir_fd, &begins, chain);
	if (known < 0)
		return "the ledger's beginning is missing, and `" BEGINS_FILE "` cannot be read";
	if (known == 0 || h->first > begins)
		return "the ledger's beginning is missing";
	if (h->first == begins && memcmp(h->chain, chain, SHA256_BYTES) != 0)
		return "it does not follow what was removed before it";
	return NULL;
}

/* The oldest segment there is: is anything missing before it? */
static const char *check_beginning(const struct segment_reader *r, const struct scan *s)
{
	static const uint8_t zeros[SHA256_BYTES];
	const struct segment_header *h = &s->header;

	if (h->first == 1)
		return memcmp(h->chain, zeros, SHA256_BYTES) != 0
		               ? "the log's first segment follows a chain value"
		               : NULL;
	if (h->kind == SEGMENT_EVIDENCE)
		return NULL;
	const char *wrong = check_removed(r, s);
	if (!wrong && r->from && r->from < h->first)
		wrong = "what is asked for stood before it and was removed";
	return wrong;
}

static int seam_error(const struct scan *next, const char *wrong, char *error, size_t error_size)
{
	return segment_error(error, error_size, -EBADMSG, "%s: offset 0: sequence %" PRIu64 ": %s",
	                     next->path, next->header.first, wrong);
}

/* Opens the segment with the highest first sequence that is <= from, or the lowest. 1, 0 when there is none yet. */
static int open_at(struct segment_reader *r, char *error, size_t error_size)
{
	uint64_t *firsts = NULL;
	size_t count = 0, at = 0;

	int e = segment_list(r->dir_fd, &firsts, &count);
	if (e < 0)
		return segment_error(error, error_size, e, "%s: %s", r->dir, strerror(-e));
	while (at + 1 < count && firsts[at + 1] <= r->from)
		at++;
	r->damaged = count ? firsts[at] : 0;
	e = count ? scan_open(r->dir_fd, r->dir, r->kind, firsts[at], &r->scan, error, error_size)
	          : 0;
	if (e == 0 && count && at + 1 == count) {
		r->headless = r->scan.size;
		if (at > 0)
			e = scan_open(r->dir_fd, r->dir, r->kind, firsts[--at], &r->scan, error,
			              error_size);
	}
	if (e == 0 && at + 1 < count)
		e = segment_error(error, error_size, -EBADMSG,
		                  "%s/%020" PRIu64 ".log: offset 0: sequence %" PRIu64
		                  ": the segment has no header",
		                  r->dir, firsts[at], firsts[at]);
	free(firsts);
	if (e <= 0)
		return e;
	r->open = true;
	r->scan.trusted = r->trusted;
	r->count++;
	r->packed += r->scan.unpacker != NULL;
	const char *wrong = at == 0 ? check_beginning(r, &r->scan) : NULL;
	return wrong ? seam_error(&r->scan, wrong, error, error_size) : 1;
}

/* The first sequence of the segment after the open one; *ret_newest if none follows that. 1, 0 or -errno. */
static int find_next(const struct segment_reader *r, uint64_t *ret, bool *ret_newest)
{
	uint64_t *firsts = NULL;
	size_t count = 0, at = 0;

	int e = segment_list(r->dir_fd, &firsts, &count);
	if (e < 0)
		return e;
	while (at < count && firsts[at] <= r->scan.header.first)
		at++;
	if (at < count) {
		*ret = firsts[at];
		*ret_newest = at + 1 == count;
		e = 1;
	}
	free(firsts);
	return e;
}

/* Goes on to the segment `first`. 1; 0 when it is only being begun; -EBADMSG, -errno. */
static int go_on(struct segment_reader *r, uint64_t first, bool newest, char *error,
                 size_t error_size)
{
	struct scan next;

	int e = scan_open(r->dir_fd, r->dir, r->kind, first, &next, error, error_size);
	r->damaged = e > 0 ? r->scan.header.first : first;
	if (e == 0 && newest) {
		r->headless = next.size;
		return 0;
	}
	if (e == 0)
		e = segment_error(error, error_size, -EBADMSG,
		                  "%s/%020" PRIu64 ".log: offset 0: sequence %" PRIu64
		                  ": the segment has no header",
		                  r->dir, first, first);
	if (e < 0)
		return e;
	const char *wrong = scan_check_seam(&r->scan, &next);
	if (r->scan.size != r->scan.offset)
		e = segment_error(error, error_size, -EBADMSG,
		                  "%s: offset %" PRIu64 ": sequence %" PRIu64
		                  ": the record is cut short and newer segments follow",
		                  r->scan.path, r->scan.offset, r->scan.next);
	else if (wrong)
		e = seam_error(&next, wrong, error, error_size);
	if (e < 0) {
		scan_close(&next);
		return e;
	}
	r->before += r->scan.size;
	r->headless = 0;
	r->count++;
	scan_close(&r->scan);
	r->scan = next;
	r->scan.trusted = r->trusted;
	r->packed += next.unpacker != NULL;
	r->damaged = first;
	return 1;
}

static int read_next(struct segment_reader *r, struct record *ret, char *error, size_t error_size)
{
	uint64_t first = 0;
	bool newest = false;

	for (;;) {
		int e = r->open ? 1 : open_at(r, error, error_size);
		for (int i = 0; e == -ENOENT && i < REMOVED_MAX; i++)
			e = open_at(r, error, error_size);
		if (e > 0)
			e = scan_next(&r->scan, ret, error, error_size);
		if (e != 0 || !r->open)
			return e;
		e = find_next(r, &first, &newest);
		if (e < 0)
			return segment_error(error, error_size, e, "%s: %s", r->dir, strerror(-e));
		if (e == 0) {
			r->headless = 0;
			return 0;
		}
		e = scan_next(&r->scan, ret, error, error_size);
		if (e != 0)
			return e;
		e = go_on(r, first, newest, error, error_size);
		if (e <= 0)
			return e;
	}
}

int segment_reader_open(const char *dir, enum segment_kind kind, uint64_t from,
                        struct segment_reader **ret, char *error, size_t error_size)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return segment_error(error, error_size, -errno, "%s: %s", dir, strerror(errno));
	struct segment_reader *r = xcalloc(1, sizeof(*r));
	r->dir = xstrdup(dir);
	r->dir_fd = fd;
	r->kind = kind;
	r->from = from;
	*ret = r;
	return 0;
}

void segment_reader_close(struct segment_reader *r)
{
	if (!r)
		return;
	if (r->open)
		scan_close(&r->scan);
	close(r->dir_fd);
	free(r->dir);
	free(r);
}

void segment_reader_trust(struct segment_reader *r)
{
	r->trusted = true;
}

int segment_read(struct segment_reader *r, struct record *ret, char *error, size_t error_size)
{
	struct record record = {0};
	int e = r->failed;

	while (e == 0) {
		e = read_next(r, &record, r->why, sizeof(r->why));
		if (e == 0)
			return 0;
		if (e > 0 && record.sequence >= r->from) {
			*ret = record;
			return 1;
		}
		if (e > 0)
			e = 0;
	}
	r->failed = e;
	return segment_error(error, error_size, e, "%s", r->why);
}

const uint8_t *segment_reader_chain(const struct segment_reader *r)
{
	return r->scan.chain;
}

const uint8_t *segment_reader_before(const struct segment_reader *r)
{
	return r->scan.header.chain;
}

int segment_kind_in(const char *dir, enum segment_kind *ret)
{
	uint64_t *firsts = NULL;
	size_t count = 0;
	struct scan s;
	char error[512];
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : segment_list(fd, &firsts, &count);

	if (r == 0)
		r = count ? -EBADMSG : -ENOENT;
	for (size_t i = 0; i < count && r < 0; i++)
		for (enum segment_kind k = SEGMENT_EVIDENCE; k <= SEGMENT_LEDGER && r < 0; k++) {
			if (scan_open(fd, dir, k, firsts[i], &s, error, sizeof(error)) <= 0)
				continue;
			scan_close(&s);
			*ret = k;
			r = 0;
		}
	free(firsts);
	if (fd >= 0)
		close(fd);
	return r;
}

/* ---- the proof ---- */

/* What `begins` tells, held against the segments as they pass. */
struct beginning {
	bool known;
	uint64_t first;
	uint8_t chain[SHA256_BYTES];
	bool met; /* a segment begins there */
};

static int beginning_read(const struct segment_reader *r, struct beginning *b, char *error,
                          size_t error_size)
{
	*b = (struct beginning){0};
	int e = r->kind == SEGMENT_LEDGER ? segment_begins(r->dir_fd, &b->first, b->chain) : 0;
	b->known = e > 0;
	if (e == -EBADMSG)
		return segment_error(error, error_size, e,
		                     "%s/" BEGINS_FILE
		                     ": this is no line that tells where the ledger begins",
		                     r->dir);
	return e < 0 ? segment_error(error, error_size, e, "%s/" BEGINS_FILE ": %s", r->dir,
	                             strerror(-e))
	             : 0;
}

static int beginning_pass(const struct segment_reader *r, struct beginning *b, char *error,
                          size_t error_size)
{
	if (!b->known || b->met || r->scan.header.first != b->first)
		return 0;
	b->met = true;
	if (memcmp(r->scan.header.chain, b->chain, SHA256_BYTES) == 0)
		return 0;
	return segment_error(error, error_size, -EBADMSG,
	                     "%s: offset 0: sequence %" PRIu64 ": `" BEGINS_FILE
	                     "` tells another chain value before it",
	                     r->scan.path, b->first);
}

static int beginning_end(const struct segment_reader *r, struct beginning *b, char *error,
                         size_t error_size)
{
	struct beginning now;

	/* The newest segment may be one without a record. */
	int e = r->open ? beginning_pass(r, b, error, error_size) : 0;
	if (e < 0 || !b->known || b->met)
		return e;
	/* It has moved on while the log was read? Then what it told is gone. */
	e = beginning_read(r, &now, error, error_size);
	if (e < 0 || !now.known || now.first != b->first)
		return e;
	return segment_error(error, error_size, -EBADMSG,
	                     "%s/" BEGINS_FILE ": no segment begins with sequence %" PRIu64, r->dir,
	                     b->first);
}

/* Reads on to the end or to the damage. */
static int verify_rest(struct segment_reader *r, struct beginning *b, struct segment_report *ret,
                       char *error, size_t error_size)
{
	struct record record = {0};
	int e;

	while ((e = segment_read(r, &record, error, error_size)) > 0) {
		if (ret->records++ == 0)
			ret->first = record.sequence;
		ret->last = record.sequence;
		e = beginning_pass(r, b, error, error_size);
		if (e < 0)
			break;
	}
	if (e == 0)
		e = beginning_end(r, b, error, error_size);
	return e;
}

static void report_add(const struct segment_reader *r, int e, struct segment_report *ret)
{
	ret->segments += r->count;
	ret->compressed += r->packed;
	ret->bytes += r->before + r->headless;
	if (!r->open)
		return;
	ret->bytes += r->scan.size;
	ret->next = r->scan.next;
	ret->torn_bytes = e < 0 ? 0 : r->scan.size - r->scan.offset + r->headless;
	memcpy(ret->chain, r->scan.chain, SHA256_BYTES);
}

/* The first sequence of the segment behind the damaged one, if it is not read yet. */
static bool behind_damage(const struct segment_reader *r, uint64_t *ret)
{
	uint64_t *firsts = NULL;
	size_t count = 0, at = 0;

	if (segment_list(r->dir_fd, &firsts, &count) < 0)
		return false;
	while (at < count && firsts[at] <= r->damaged)
		at++;
	bool more = at < count && firsts[at] > r->from;
	if (more)
		*ret = firsts[at];
	free(firsts);
	return more;
}

/* From `*from` on. 0; -EBADMSG, -errno with `error`; *ret_more: *from is where it can be gone on behind the damage. */
static int verify_from(const char *dir, enum segment_kind kind, uint64_t *from,
                       struct segment_report *ret, bool *ret_more, char *error, size_t error_size)
{
	struct segment_reader *r = NULL;
	struct beginning b;

	*ret_more = false;
	int e = segment_reader_open(dir, kind, *from, &r, error, error_size);
	if (!r)
		return e;
	e = beginning_read(r, &b, error, error_size);
	if (e == 0)
		e = verify_rest(r, &b, ret, error, error_size);
	report_add(r, e, ret);
	if (e == -EBADMSG) {
		ret->damaged += r->damaged >= *from;
		*ret_more = kind == SEGMENT_EVIDENCE && behind_damage(r, from);
	}
	segment_reader_close(r);
	return e;
}

int segment_verify(const char *dir, enum segment_kind kind, struct segment_report *ret)
{
	uint64_t from = 0;
	bool more;
	char error[sizeof(ret->error)] = "";

	*ret = (struct segment_report){0};
	int r = verify_from(dir, kind, &from, ret, &more, ret->error, sizeof(ret->error));
	while (more)
		(void)verify_from(dir, kind, &from, ret, &more, error, sizeof(error));
	return r;
}
