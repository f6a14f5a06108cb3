/* For the tests of the append-only log: a fresh folder, records whose bodies tell what they must be, and what stands in
 * the files. Each test program names the suite itself: TestSuite(segment, .init = begin, .fini = end). */
#ifndef ISOD_TESTS_SEGMENT_RIG_H
#define ISOD_TESTS_SEGMENT_RIG_H

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "folder.h"
#include "log/segment_internal.h"

static char *dir; /* fresh for each test, removed after it */
static char error[512];

static inline void begin(void)
{
	char folder[FOLDER_BYTES];

	log_setup(LOG_TO_STDERR, LOG_EMERG, "test_segment");
	folder_new(folder, "segment");
	dir = xasprintf("%s/log", folder);
}

static inline void end(void)
{
	dir[strlen(dir) - strlen("/log")] = '\0';
	folder_remove(dir);
	free(dir);
}

static inline void renew(void)
{
	end();
	begin();
}

/* for (enum segment_kind kind = 0; each_kind(&kind);): every kind of log, each in a fresh folder. */
static inline bool each_kind(enum segment_kind *kind)
{
	if (*kind == SEGMENT_LEDGER)
		return false;
	if (*kind)
		renew();
	*kind = *kind ? SEGMENT_LEDGER : SEGMENT_EVIDENCE;
	return true;
}

static inline struct segment_log *open_log(enum segment_kind kind, uint64_t segment_bytes)
{
	struct segment_log *l = NULL;
	int r = segment_open(dir, &(struct segment_options){kind, segment_bytes}, &l, error,
	                     sizeof(error));
	cr_assert_eq(r, 0, "%s", error);
	return l;
}

static inline int try_open(enum segment_kind kind)
{
	struct segment_log *l = NULL;
	error[0] = '\0';
	int r = segment_open(dir, &(struct segment_options){kind, 1 << 20}, &l, error,
	                     sizeof(error));
	segment_close(l);
	return r;
}

/* Record n's body, so that what is read can be held against it. */
static inline struct str body_of(uint64_t n, char out[static 64])
{
	return str_make(out, (size_t)snprintf(out, 64, "record %" PRIu64 " %.*s", n, (int)(n % 23),
	                                      "abcdefghijklmnopqrstuvwxyz"));
}

static inline void append(struct segment_log *l, unsigned count)
{
	char text[64];

	for (unsigned i = 0; i < count; i++) {
		uint64_t n = segment_next(l);
		struct str body = body_of(n, text);
		struct str parts[2] = {str_head(body, 5), str_skip(body, 5)};
		cr_assert_eq(segment_append(l, 1000 + n, parts, 2), n);
	}
}

/* Reads all from `from`; every body must be its own. Returns how many, or the error. */
static inline int64_t read_all(enum segment_kind kind, uint64_t from)
{
	struct segment_reader *r;
	struct record record;
	char text[64];
	int64_t count = 0;
	uint64_t last = 0;
	int e;

	cr_assert_eq(segment_reader_open(dir, kind, from, &r, error, sizeof(error)), 0);
	while ((e = segment_read(r, &record, error, sizeof(error))) > 0) {
		cr_assert_gt(record.sequence, last);
		cr_assert_geq(record.sequence, from);
		cr_assert_eq(record.time_ns, 1000 + record.sequence);
		cr_assert(str_eq(record.body, body_of(record.sequence, text)));
		last = record.sequence;
		count++;
	}
	segment_reader_close(r);
	return e < 0 ? e : count;
}

static char *segment_path(uint64_t first)
{
	char name[SEGMENT_NAME_BYTES];
	segment_name(first, name);
	return xasprintf("%s/%s", dir, name);
}

static inline char *packed_path(uint64_t first)
{
	return xasprintf("%s/%020" PRIu64 ".log.zst", dir, first);
}

static inline bool is_there(char *path)
{
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static inline struct buf path_content(const char *path)
{
	struct buf b;
	buf_init(&b, 0);
	FILE *f = fopen(path, "r");
	cr_assert(f, "%s", path);
	int c;
	while ((c = getc(f)) != EOF)
		buf_putc(&b, (char)c);
	fclose(f);
	return b;
}

static inline struct buf file_content(uint64_t first)
{
	char *path = segment_path(first);
	struct buf b = path_content(path);

	free(path);
	return b;
}

static inline void put_path(const char *path, struct str content)
{
	FILE *f = fopen(path, "w");
	cr_assert(f);
	cr_assert_eq(fwrite(content.p, 1, content.n, f), content.n);
	fclose(f);
}

static inline void put_file(uint64_t first, struct str content)
{
	char *path = segment_path(first);

	put_path(path, content);
	free(path);
}

/* The segments' first sequences; the caller frees. */
static inline uint64_t *segments(size_t *ret_count)
{
	uint64_t *firsts = NULL;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	*ret_count = 0;
	cr_assert_eq(segment_list(fd, &firsts, ret_count), 0);
	close(fd);
	return firsts;
}

static inline size_t segment_count(void)
{
	size_t count;

	free(segments(&count));
	return count;
}

static inline uint64_t segment_at(size_t i)
{
	size_t count;
	uint64_t *firsts = segments(&count);

	cr_assert_lt(i, count);
	uint64_t first = firsts[i];
	free(firsts);
	return first;
}

/* Offsets at which the records of a segment begin (seals included), then the file's end. */
static inline size_t record_offsets(enum segment_kind kind, struct str content, size_t *out,
                                    size_t max)
{
	size_t count = 0, at = SEGMENT_HEADER_BYTES;

	while (at < content.n && count + 1 < max) {
		out[count++] = at;
		at += RECORD_HEADER_BYTES + (get_le32(content.p + at) & ~SEAL_BIT) +
		      record_trailer(kind);
	}
	cr_assert_eq(at, content.n);
	out[count] = at;
	return count;
}

static inline void fill(enum segment_kind kind, unsigned batches, unsigned each,
                        uint64_t segment_bytes)
{
	struct segment_log *l = open_log(kind, segment_bytes);

	for (unsigned i = 0; i < batches; i++) {
		append(l, each);
		cr_assert_eq(segment_sync(l), 0);
	}
	segment_close(l);
}

/* How many segments are finished: all but the newest, and not the one before it while that is empty. */
static inline size_t finished_count(void)
{
	size_t count = segment_count();
	struct buf newest = file_content(segment_at(count - 1));
	bool empty = newest.n <= SEGMENT_HEADER_BYTES;

	buf_release(&newest);
	return count - 1 - (empty && count > 1);
}

/* Compresses all finished segments. Returns how many, or the error. */
static inline int pack_all(enum segment_kind kind)
{
	struct segment_info info = {0};
	int r, count = 0;

	while ((r = segment_plain_after(dir, kind, info.first, &info)) > 0) {
		r = segment_pack(dir, kind, &info, 3, NULL, error, sizeof(error));
		if (r < 0)
			return r;
		count++;
	}
	return r < 0 ? r : count;
}

#endif
