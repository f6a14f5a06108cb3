/* The append-only log: format, torn tails against damage, segments, faults of the disk, readers beside the writer. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "log/segment_internal.h"

/* ---- faults: this program's pwrite and fdatasync stand before the C library's ---- */

static struct {
	size_t at_most;    /* bytes that one pwrite takes; 0: all */
	int interruptions; /* so many calls fail with EINTR first */
	bool room_limited;
	size_t room; /* bytes until `full` */
	int full;    /* the errno then */
	int sync_error;
	unsigned syncs, writes, dir_syncs;
	size_t wrote;
} disk;

int fsync(int fd)
{
	disk.dir_syncs++;
	return (int)syscall(SYS_fsync, fd);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
	disk.writes++;
	if (disk.interruptions > 0) {
		disk.interruptions--;
		errno = EINTR;
		return -1;
	}
	if (disk.at_most && n > disk.at_most)
		n = disk.at_most;
	if (disk.room_limited && n > disk.room)
		n = disk.room;
	if (n == 0) {
		errno = disk.full;
		return -1;
	}
	ssize_t r = syscall(SYS_pwrite64, fd, p, n, offset);
	if (r > 0) {
		disk.wrote += (size_t)r;
		disk.room -= disk.room_limited ? (size_t)r : 0;
	}
	return r;
}

int fdatasync(int fd)
{
	disk.syncs++;
	if (disk.sync_error) {
		errno = disk.sync_error;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

/* ---- and its malloc counts, where no sanitizer has one of its own ---- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t n);
extern void *__libc_realloc(void *p, size_t n);

static unsigned allocations;

void *malloc(size_t n)
{
	allocations++;
	return __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
	allocations++;
	return __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
	allocations++;
	return __libc_realloc(p, n);
}
#endif

/* ---- helpers ---- */

static char *dir; /* fresh for each test, removed after it */
static char error[512];

static void begin(void)
{
	char template[] = "/tmp/isod-segment-XXXXXX";
	log_setup(LOG_TO_STDERR, LOG_EMERG, "test_segment");
	cr_assert(mkdtemp(template));
	dir = xasprintf("%s/log", template);
}

static void end(void)
{
	char *command = xasprintf("rm -rf '%.*s'", (int)(strlen(dir) - 4), dir);
	cr_assert_eq(system(command), 0);
	free(command);
	free(dir);
}

TestSuite(segment, .init = begin, .fini = end);

static struct segment_log *open_log(enum segment_kind kind, uint64_t segment_bytes)
{
	struct segment_log *l = NULL;
	int r = segment_open(dir, &(struct segment_options){kind, segment_bytes}, &l, error,
	                     sizeof(error));
	cr_assert_eq(r, 0, "%s", error);
	return l;
}

static int try_open(enum segment_kind kind)
{
	struct segment_log *l = NULL;
	error[0] = '\0';
	int r = segment_open(dir, &(struct segment_options){kind, 1 << 20}, &l, error,
	                     sizeof(error));
	segment_close(l);
	return r;
}

/* Record n's body, so that what is read can be held against it. */
static struct str body_of(uint64_t n, char out[static 64])
{
	return str_make(out, (size_t)snprintf(out, 64, "record %" PRIu64 " %.*s", n, (int)(n % 23),
	                                      "abcdefghijklmnopqrstuvwxyz"));
}

static void append(struct segment_log *l, unsigned count)
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
static int64_t read_all(enum segment_kind kind, uint64_t from)
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

static struct buf file_content(uint64_t first)
{
	char *path = segment_path(first);
	struct buf b;
	buf_init(&b, 0);
	FILE *f = fopen(path, "r");
	cr_assert(f, "%s", path);
	int c;
	while ((c = getc(f)) != EOF)
		buf_putc(&b, (char)c);
	fclose(f);
	free(path);
	return b;
}

static void put_file(uint64_t first, struct str content)
{
	char *path = segment_path(first);
	FILE *f = fopen(path, "w");
	cr_assert(f);
	cr_assert_eq(fwrite(content.p, 1, content.n, f), content.n);
	fclose(f);
	free(path);
}

static size_t segment_count(void)
{
	uint64_t *firsts = NULL;
	size_t count = 0;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	cr_assert_eq(segment_list(fd, &firsts, &count), 0);
	close(fd);
	free(firsts);
	return count;
}

static uint64_t segment_at(size_t i)
{
	uint64_t *firsts = NULL;
	size_t count = 0;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	cr_assert_eq(segment_list(fd, &firsts, &count), 0);
	close(fd);
	cr_assert_lt(i, count);
	uint64_t first = firsts[i];
	free(firsts);
	return first;
}

/* Offsets at which the records of a segment begin (seals included), then the file's end. */
static size_t record_offsets(enum segment_kind kind, struct str content, size_t *out, size_t max)
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

static void fill(enum segment_kind kind, unsigned batches, unsigned each, uint64_t segment_bytes)
{
	struct segment_log *l = open_log(kind, segment_bytes);

	for (unsigned i = 0; i < batches; i++) {
		append(l, each);
		cr_assert_eq(segment_sync(l), 0);
	}
	segment_close(l);
}

static const enum segment_kind kinds[] = {SEGMENT_EVIDENCE, SEGMENT_LEDGER};

/* ---- the plain life of a log ---- */

Test(segment, what_is_written_is_read_again_in_order)
{
	for (size_t k = 0; k < 2; k++) {
		struct segment_report report;
		fill(kinds[k], 10, 50, 1 << 20);
		cr_assert_eq(read_all(kinds[k], 0), 500);
		cr_assert_eq(read_all(kinds[k], 321), 180);
		cr_assert_eq(read_all(kinds[k], 500), 1);
		cr_assert_eq(read_all(kinds[k], 501), 0);
		cr_assert_eq(segment_verify(dir, kinds[k], &report), 0, "%s", report.error);
		cr_assert_eq(report.records, 500);
		cr_assert_eq(report.first, 1);
		cr_assert_eq(report.last, 500);
		cr_assert_eq(report.segments, 1);
		cr_assert_eq(report.torn_bytes, 0);
		end();
		begin();
	}
}

Test(segment, a_log_goes_on_where_it_ended)
{
	for (size_t k = 0; k < 2; k++) {
		for (unsigned life = 0; life < 5; life++) {
			struct segment_log *l = open_log(kinds[k], 3000);
			cr_assert_eq(segment_next(l), life * 37 + 1);
			append(l, 37);
			cr_assert_eq(segment_flush(l), 0);
			segment_close(l);
		}
		cr_assert_eq(read_all(kinds[k], 0), 5 * 37);
		end();
		begin();
	}
}

Test(segment, the_chain_of_a_reopened_log_is_the_one_it_ended_with)
{
	for (size_t k = 0; k < 2; k++) {
		struct segment_report report;
		uint8_t chain[SHA256_BYTES];
		struct segment_log *l = open_log(kinds[k], 1 << 20);
		append(l, 5);
		segment_sync(l);
		memcpy(chain, segment_chain(l), SHA256_BYTES);
		segment_close(l);
		cr_assert_eq(segment_verify(dir, kinds[k], &report), 0);
		cr_assert_arr_eq(report.chain, chain, SHA256_BYTES);
		l = open_log(kinds[k], 1 << 20);
		cr_assert_arr_eq(segment_chain(l), chain, SHA256_BYTES);
		segment_close(l);
		end();
		begin();
	}
}

/* An independent reading of the format as segment.h has it, with none of the code under test but the hashes. */
Test(segment, the_bytes_are_those_of_the_documented_format)
{
	for (size_t k = 0; k < 2; k++) {
		bool ledger = kinds[k] == SEGMENT_LEDGER;
		struct segment_log *l = open_log(kinds[k], 1 << 20);
		struct str hello = STR("hello"), world = STR("world!");
		segment_append(l, 11, &hello, 1);
		segment_append(l, 22, &world, 1);
		segment_sync(l);
		segment_close(l);
		struct buf b = file_content(1);
		const char *p = b.p;
		cr_assert(memcmp(p, "ISODLOG1", 8) == 0);
		cr_assert_eq(get_le32(p + 8), ledger ? 2 : 1);
		cr_assert_eq(get_le32(p + 12), 0);
		cr_assert_eq(get_le64(p + 16), 1);
		for (int i = 24; i < 56; i++)
			cr_assert_eq(p[i], 0);
		uint32_t salt = get_le32(p + 56);
		cr_assert_eq(get_le32(p + 60), crc32c(0, str_make(p, 60)));

		size_t trailer = ledger ? 32 : 0;
		const char *one = p + 64, *two = one + 24 + 5 + trailer,
			   *end_two = two + 24 + 6 + trailer;
		uint8_t zeros[32] = {0}, chain[32];
		cr_assert_eq(get_le32(one), 5);
		cr_assert_eq(get_le64(one + 8), 1);
		cr_assert_eq(get_le64(one + 16), 11);
		cr_assert(memcmp(one + 24, "hello", 5) == 0);
		cr_assert_eq(get_le32(one + 4), crc32c(crc32c(salt, str_make(one, 4)),
		                                       str_make(one + 8, 16 + 5 + trailer)));
		cr_assert_eq(get_le64(two + 8), 2);
		if (ledger) {
			struct str first[] = {str_make((char *)zeros, 32),
			                      str_make(one + 8, 16 + 5)};
			sha256(first, 2, chain);
			cr_assert_arr_eq(chain, one + 29, 32);
			struct str second[] = {str_make((char *)chain, 32),
			                       str_make(two + 8, 16 + 6)};
			uint8_t next[32];
			sha256(second, 2, next);
			cr_assert_arr_eq(next, two + 30, 32);
			cr_assert_eq(b.n, (size_t)(end_two - p));
		} else {
			struct str all[] = {str_make((char *)zeros, 32),
			                    str_make(one, (size_t)(end_two - one))};
			sha256(all, 2, chain);
			cr_assert_eq(get_le32(end_two), SEAL_BIT | 32);
			cr_assert_eq(get_le64(end_two + 8), 2);
			cr_assert_eq(get_le64(end_two + 16), 22);
			cr_assert_arr_eq(chain, end_two + 24, 32);
			cr_assert_eq(b.n, (size_t)(end_two - p) + 56);
		}
		buf_release(&b);
		end();
		begin();
	}
}

Test(segment, segments_are_chained_and_begin_past_the_size)
{
	for (size_t k = 0; k < 2; k++) {
		struct segment_report report;
		fill(kinds[k], 60, 10, 4000);
		cr_assert_gt(segment_count(), 5);
		cr_assert_eq(read_all(kinds[k], 0), 600);
		for (uint64_t from = 1; from <= 600; from += 41)
			cr_assert_eq(read_all(kinds[k], from), (int64_t)(601 - from));
		cr_assert_eq(segment_verify(dir, kinds[k], &report), 0, "%s", report.error);
		cr_assert_eq(report.segments, segment_count());
		cr_assert_eq(report.records, 600);
		struct stat st;
		uint64_t bytes = 0;
		for (size_t i = 0; i < segment_count(); i++) {
			char *path = segment_path(segment_at(i));
			cr_assert_eq(stat(path, &st), 0);
			bytes += (uint64_t)st.st_size;
			free(path);
		}
		cr_assert_eq(report.bytes, bytes);
		end();
		begin();
	}
}

Test(segment, empty_and_large_bodies_are_whole)
{
	struct segment_log *l = open_log(SEGMENT_LEDGER, 1 << 20);
	char *large = xmalloc(RECORD_BODY_MAX);
	struct segment_reader *r;
	struct record record;

	memset(large, 'x', RECORD_BODY_MAX);
	segment_append(l, 1, NULL, 0);
	segment_append(l, 2, &(struct str){large, RECORD_BODY_MAX}, 1);
	segment_append(l, 3, &(struct str){NULL, 0}, 1);
	cr_assert_eq(segment_sync(l), 0);
	segment_close(l);
	cr_assert_eq(segment_reader_open(dir, SEGMENT_LEDGER, 0, &r, error, sizeof(error)), 0);
	cr_assert_eq(segment_read(r, &record, error, sizeof(error)), 1);
	cr_assert_eq(record.body.n, 0);
	cr_assert_eq(segment_read(r, &record, error, sizeof(error)), 1);
	cr_assert(str_eq(record.body, str_make(large, RECORD_BODY_MAX)));
	cr_assert_eq(segment_read(r, &record, error, sizeof(error)), 1);
	cr_assert_eq(record.body.n, 0);
	cr_assert_eq(segment_read(r, &record, error, sizeof(error)), 0);
	segment_reader_close(r);
	free(large);
}

Test(segment, a_second_writer_is_kept_out)
{
	struct segment_log *l = open_log(SEGMENT_LEDGER, 1 << 20);
	cr_assert_eq(try_open(SEGMENT_LEDGER), -EBUSY);
	segment_close(l);
	cr_assert_eq(try_open(SEGMENT_LEDGER), 0);
}

Test(segment, another_kind_of_log_is_refused)
{
	fill(SEGMENT_LEDGER, 1, 5, 1 << 20);
	cr_assert_eq(try_open(SEGMENT_EVIDENCE), -EBADMSG);
	cr_assert(strstr(error, "another kind"), "%s", error);
	cr_assert_eq(read_all(SEGMENT_EVIDENCE, 0), -EBADMSG);
}

Test(segment, a_folder_that_cannot_be_is_an_error_with_its_name)
{
	struct segment_log *l = NULL;
	struct segment_reader *r;
	struct segment_report report;

	cr_assert_eq(segment_open("/dev/null/log",
	                          &(struct segment_options){SEGMENT_LEDGER, 1 << 20}, &l, error,
	                          sizeof(error)),
	             -ENOTDIR);
	cr_assert(strstr(error, "/dev/null/log"));
	cr_assert_eq(segment_reader_open(dir, SEGMENT_LEDGER, 0, &r, error, sizeof(error)),
	             -ENOENT);
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), -ENOENT);
	cr_assert(strstr(report.error, dir));
}

Test(segment, skipping_leaves_a_gap_only_in_evidence)
{
	struct segment_report report;
	struct segment_log *l = open_log(SEGMENT_EVIDENCE, 1 << 20);

	append(l, 10);
	cr_assert_eq(segment_skip_to(l, 5), 0);
	cr_assert_eq(segment_next(l), 11);
	cr_assert_eq(segment_skip_to(l, 100), 0);
	cr_assert_eq(segment_next(l), 100);
	append(l, 10);
	cr_assert_eq(segment_skip_to(l, 200), 0);
	cr_assert_eq(segment_skip_to(l, 300), 0);
	append(l, 1);
	segment_close(l);
	cr_assert_eq(read_all(SEGMENT_EVIDENCE, 0), 21);
	cr_assert_eq(read_all(SEGMENT_EVIDENCE, 11), 11);
	cr_assert_eq(read_all(SEGMENT_EVIDENCE, 105), 6);
	cr_assert_eq(segment_verify(dir, SEGMENT_EVIDENCE, &report), 0, "%s", report.error);
	cr_assert_eq(report.last, 300);
	l = open_log(SEGMENT_EVIDENCE, 1 << 20);
	cr_assert_eq(segment_next(l), 301);
	segment_close(l);

	end();
	begin();
	l = open_log(SEGMENT_LEDGER, 1 << 20);
	append(l, 1);
	cr_assert_eq(segment_skip_to(l, 2), 0);
	cr_assert_eq(segment_skip_to(l, 3), -EINVAL);
	segment_close(l);
}

/* ---- a crash ---- */

Test(segment, a_tail_cut_anywhere_is_repaired_and_only_its_record_is_lost)
{
	for (size_t k = 0; k < 2; k++) {
		size_t offsets[64];
		fill(kinds[k], 3, 4, 1 << 20);
		struct buf b = file_content(1);
		size_t count = record_offsets(kinds[k], buf_str(&b), offsets, 64);
		for (size_t n = SEGMENT_HEADER_BYTES; n < b.n; n++) {
			struct segment_report report;
			put_file(1, str_make(b.p, n));
			size_t whole = 0;
			uint64_t records = 0;
			while (whole < count && offsets[whole + 1] <= n)
				records += !(get_le32(b.p + offsets[whole++]) & SEAL_BIT);
			cr_assert_eq(segment_verify(dir, kinds[k], &report), 0, "%s", report.error);
			cr_assert_eq(report.records, records);
			cr_assert_eq(report.torn_bytes, n - offsets[whole]);
			struct segment_log *l = open_log(kinds[k], 1 << 20);
			cr_assert_eq(segment_next(l), records + 1);
			append(l, 3);
			segment_close(l);
			cr_assert_eq(read_all(kinds[k], 0), (int64_t)records + 3);
			cr_assert_eq(segment_verify(dir, kinds[k], &report), 0, "%s", report.error);
			cr_assert_eq(report.torn_bytes, 0);
		}
		buf_release(&b);
		end();
		begin();
	}
}

Test(segment, cutting_a_torn_tail_is_told)
{
	char said[1024] = "";
	int ends[2], was = dup(STDERR_FILENO);

	fill(SEGMENT_LEDGER, 1, 2, 1 << 20);
	struct buf b = file_content(1);
	put_file(1, str_head(buf_str(&b), b.n - 3));
	buf_release(&b);
	cr_assert_eq(pipe(ends), 0);
	log_setup(LOG_TO_STDERR, LOG_WARNING, "test_segment");
	fflush(stderr);
	dup2(ends[1], STDERR_FILENO);
	int r = try_open(SEGMENT_LEDGER);
	fflush(stderr);
	dup2(was, STDERR_FILENO);
	close(ends[1]);
	cr_assert_gt(read(ends[0], said, sizeof(said) - 1), 0);
	cr_assert_eq(r, 0);
	cr_assert(strstr(said, "00001.log: offset 130: "), "%s", said);
	cr_assert(strstr(said, "torn tail"), "%s", said);
	cr_assert(strstr(said, "sequence 2"), "%s", said);
	close(ends[0]);
	close(was);
}

Test(segment, a_tail_of_zeros_is_torn)
{
	for (size_t k = 0; k < 2; k++) {
		fill(kinds[k], 1, 40, 1 << 20);
		struct buf b = file_content(1);
		size_t whole = b.n;
		char zeros[9000] = {0};
		buf_append(&b, zeros, sizeof(zeros));
		put_file(1, buf_str(&b));
		struct segment_report report;
		cr_assert_eq(segment_verify(dir, kinds[k], &report), 0, "%s", report.error);
		cr_assert_eq(report.torn_bytes, sizeof(zeros));
		cr_assert_eq(try_open(kinds[k]), 0, "%s", error);
		struct buf again = file_content(1);
		cr_assert_eq(again.n, whole);
		buf_release(&again);
		buf_release(&b);
		end();
		begin();
	}
}

/* The power went while the last record of several sectors was on its way: one of them was never written. */
Test(segment, a_last_record_with_an_unwritten_sector_is_torn)
{
	struct segment_log *l = open_log(SEGMENT_LEDGER, 1 << 20);
	char large[3000];

	append(l, 3);
	memset(large, 'x', sizeof(large));
	segment_append(l, 7, &(struct str){large, sizeof(large)}, 1);
	segment_close(l);
	struct buf b = file_content(1);
	memset(b.p + 1024, 0, 512);
	put_file(1, buf_str(&b));
	l = open_log(SEGMENT_LEDGER, 1 << 20);
	cr_assert_eq(segment_next(l), 4);
	segment_close(l);
	buf_release(&b);
}

/* A peer may send bytes that look like a record with the very sequence that comes next; only the salt, which it cannot
 * know, tells them from one. Else a power cut in the middle of that frame would keep isod from starting. */
Test(segment, a_record_inside_a_torn_frame_is_none)
{
	struct segment_log *l = open_log(SEGMENT_EVIDENCE, 1 << 20);
	char frame[4000];

	append(l, 3);
	memset(frame, 'x', sizeof(frame));
	for (size_t at = 100; at + 200 < sizeof(frame); at += 100) {
		char *p = frame + at;
		put_le64(p + 8, 5);
		put_le64(p + 16, 1005);
		put_le32(p, 70);
		put_le32(p + 4, record_crc(0, 70, p, RECORD_HEADER_BYTES + 70));
	}
	segment_append(l, 7, &(struct str){frame, sizeof(frame)}, 1);
	segment_close(l);
	struct buf b = file_content(1);
	put_file(1, str_head(buf_str(&b), b.n - 500));
	l = open_log(SEGMENT_EVIDENCE, 1 << 20);
	cr_assert_eq(segment_next(l), 4);
	segment_close(l);
	buf_release(&b);
}

/* A search for whole records that a peer's frame makes endless is given up, and a person has to look. */
Test(segment, rubble_that_cannot_be_searched_is_damage)
{
	struct segment_log *l = open_log(SEGMENT_EVIDENCE, 64 << 20);
	size_t n = 4 << 20;
	char *frame = xcalloc(1, n);

	for (size_t at = 0; at + 24 < n; at += 24) {
		put_le32(frame + at, 1 << 20);
		put_le64(frame + at + 8, 2);
	}
	segment_append(l, 7, &(struct str){frame, n}, 1);
	segment_close(l);
	struct buf b = file_content(1);
	put_file(1, str_head(buf_str(&b), b.n - 500));
	int opened = try_open(SEGMENT_EVIDENCE);
	cr_assert_eq(opened, -EBADMSG, "%d %s", opened, error);
	cr_assert(strstr(error, "offset 64: sequence 1: too much rubble"), "%s", error);
	buf_release(&b);
	free(frame);
}

Test(segment, a_new_segments_name_is_made_durable)
{
	struct segment_log *l = open_log(SEGMENT_LEDGER, 1000);
	size_t segments = segment_count();

	for (int i = 0; i < 10; i++) {
		unsigned before = disk.dir_syncs;
		append(l, 10);
		cr_assert_eq(segment_sync(l), 0);
		bool began = segment_count() > segments;
		segments = segment_count();
		cr_assert_eq(disk.dir_syncs > before, began);
	}
	cr_assert_gt(segments, 3);
	segment_close(l);
}

Test(segment, a_segment_without_a_header_is_begun_again)
{
	for (size_t k = 0; k < 2; k++) {
		for (size_t n = 0; n <= SEGMENT_HEADER_BYTES; n++) {
			char zeros[SEGMENT_HEADER_BYTES] = {0};
			struct segment_report report;
			fill(kinds[k], 2, 5, 1 << 20);
			put_file(11, str_make(zeros, n));
			cr_assert_eq(read_all(kinds[k], 0), 10, "%s", error);
			cr_assert_eq(read_all(kinds[k], 11), 0, "%s", error);
			cr_assert_eq(segment_verify(dir, kinds[k], &report), 0);
			cr_assert_eq(report.torn_bytes, n);
			struct segment_log *l = open_log(kinds[k], 1 << 20);
			cr_assert_eq(segment_next(l), 11);
			append(l, 2);
			segment_close(l);
			cr_assert_eq(read_all(kinds[k], 0), 12);
			cr_assert_eq(segment_count(), 1);
			end();
			begin();
		}
	}
}

Test(segment, a_first_segment_without_a_header_is_begun_again)
{
	fill(SEGMENT_LEDGER, 1, 1, 1 << 20);
	put_file(1, STR("ISODL"));
	struct segment_log *l = open_log(SEGMENT_LEDGER, 1 << 20);
	cr_assert_eq(segment_next(l), 1);
	append(l, 2);
	segment_close(l);
	cr_assert_eq(read_all(SEGMENT_LEDGER, 0), 2);
}

/* A child appends and is killed at some instant; what it had flushed must be there, and nothing that is not whole. */
Test(segment, a_killed_writer_loses_nothing_that_it_flushed)
{
	srand(7);
	for (unsigned round = 0; round < 24; round++) {
		enum segment_kind kind = kinds[round / 12];
		if (round == 12) {
			end();
			begin();
		}
		int ends[2];
		cr_assert_eq(pipe(ends), 0);
		pid_t child = fork();
		cr_assert_geq(child, 0);
		if (child == 0) {
			struct segment_log *l = open_log(kind, 20000);
			for (unsigned i = 0; i < 100000; i++) {
				append(l, 1 + i % 7);
				int r = i % 3 ? segment_flush(l) : segment_sync(l);
				uint64_t done = segment_next(l) - 1;
				if (r < 0 || write(ends[1], &done, sizeof(done)) != sizeof(done))
					_exit(1);
			}
			_exit(0);
		}
		close(ends[1]);
		uint64_t done = 0, value;
		unsigned reports = 1 + (unsigned)rand() % 120;
		for (unsigned i = 0; i < reports; i++)
			if (read(ends[0], &value, sizeof(value)) == sizeof(value))
				done = value;
		kill(child, SIGKILL);
		while (read(ends[0], &value, sizeof(value)) == sizeof(value))
			done = value;
		close(ends[0]);
		cr_assert_eq(waitpid(child, NULL, 0), child);
		struct segment_log *l = open_log(kind, 20000);
		cr_assert_geq(segment_next(l), done + 1);
		uint64_t next = segment_next(l);
		segment_close(l);
		cr_assert_eq(read_all(kind, 0), (int64_t)next - 1, "%s", error);
	}
}

/* ---- damage ---- */

/* Every single flipped bit of a log is found and named, wherever it is; none is taken for a crash. */
Test(segment, a_flipped_bit_anywhere_is_damage_named_exactly)
{
	for (size_t k = 0; k < 2; k++) {
		size_t offsets[64];
		fill(kinds[k], 2, 3, 1 << 20);
		struct buf b = file_content(1);
		size_t count = record_offsets(kinds[k], buf_str(&b), offsets, 64);
		for (size_t at = 0; at < b.n; at++) {
			struct segment_report report;
			char expected[64];
			size_t i = 0;
			uint64_t sequence = 1;
			b.p[at] ^= (char)(1 << at % 8);
			put_file(1, buf_str(&b));
			b.p[at] ^= (char)(1 << at % 8);
			while (at >= SEGMENT_HEADER_BYTES && i < count && offsets[i + 1] <= at)
				sequence += !(get_le32(b.p + offsets[i++]) & SEAL_BIT);
			snprintf(expected, sizeof(expected),
			         ".log: offset %zu: sequence %" PRIu64 ":",
			         at < SEGMENT_HEADER_BYTES ? 0 : offsets[i], sequence);
			/* A salt that changed with a header that is right about it is not possible. */
			cr_assert_eq(segment_verify(dir, kinds[k], &report), -EBADMSG,
			             "byte %zu was not found", at);
			cr_assert(strstr(report.error, expected), "%s, not %s", report.error,
			          expected);
			cr_assert_eq(try_open(kinds[k]), -EBADMSG, "byte %zu", at);
			cr_assert(strstr(error, expected), "%s, not %s", error, expected);
			cr_assert_eq(read_all(kinds[k], 0), -EBADMSG);
		}
		buf_release(&b);
		end();
		begin();
	}
}

Test(segment, a_flipped_bit_in_an_older_segment_is_damage)
{
	for (size_t k = 0; k < 2; k++) {
		struct segment_report report;
		fill(kinds[k], 40, 10, 4000);
		uint64_t first = segment_at(1);
		struct buf b = file_content(first);
		size_t offsets[256];
		size_t count = record_offsets(kinds[k], buf_str(&b), offsets, 256);
		for (size_t i = 0; i < count; i += 7) {
			char expected[64];
			snprintf(expected, sizeof(expected),
			         "%020" PRIu64 ".log: offset %zu:", first, offsets[i]);
			b.p[offsets[i] + 20] ^= 4;
			put_file(first, buf_str(&b));
			b.p[offsets[i] + 20] ^= 4;
			cr_assert_eq(segment_verify(dir, kinds[k], &report), -EBADMSG);
			cr_assert(strstr(report.error, expected), "%s", report.error);
		}
		buf_release(&b);
		end();
		begin();
	}
}

/* Who can write the file can also mend the checksum. */
Test(segment, a_changed_record_with_a_mended_checksum_breaks_the_chain)
{
	for (size_t k = 0; k < 2; k++) {
		struct segment_report report;
		size_t offsets[64];
		fill(kinds[k], 2, 3, 1 << 20);
		struct buf b = file_content(1);
		record_offsets(kinds[k], buf_str(&b), offsets, 64);
		char *p = b.p + offsets[1];
		uint32_t salt = get_le32(b.p + 56);
		p[RECORD_HEADER_BYTES] ^= 1;
		put_le32(p + 4, record_crc(salt, get_le32(p), p, offsets[2] - offsets[1]));
		put_file(1, buf_str(&b));
		cr_assert_eq(segment_verify(dir, kinds[k], &report), -EBADMSG);
		cr_assert(strstr(report.error, kinds[k] == SEGMENT_LEDGER
		                                       ? "sequence 2: the record's chain"
		                                       : "the seal does not match"),
		          "%s", report.error);
		cr_assert_eq(try_open(kinds[k]), -EBADMSG);
		buf_release(&b);
		end();
		begin();
	}
}

Test(segment, a_missing_segment_is_damage)
{
	for (size_t k = 0; k < 2; k++) {
		for (int which = 0; which < 2; which++) {
			struct segment_report report;
			fill(kinds[k], 40, 10, 4000);
			char *path = segment_path(segment_at(which ? 2 : 0));
			cr_assert_eq(unlink(path), 0);
			free(path);
			int r = segment_verify(dir, kinds[k], &report);
			/* Retention may take the oldest evidence, nothing else. */
			bool allowed = which == 0 && kinds[k] == SEGMENT_EVIDENCE;
			cr_assert_eq(r, allowed ? 0 : -EBADMSG, "%s", report.error);
			cr_assert_eq(read_all(kinds[k], 0) < 0, !allowed);
			end();
			begin();
		}
	}
}

Test(segment, an_older_segment_that_is_cut_is_damage)
{
	for (size_t k = 0; k < 2; k++) {
		struct segment_report report;
		fill(kinds[k], 40, 10, 4000);
		uint64_t first = segment_at(1);
		struct buf b = file_content(first);
		size_t offsets[256];
		size_t count = record_offsets(kinds[k], buf_str(&b), offsets, 256);
		/* In the middle of a record, and between two. */
		put_file(first, str_make(b.p, offsets[count - 2] + 9));
		cr_assert_eq(segment_verify(dir, kinds[k], &report), -EBADMSG);
		cr_assert(strstr(report.error, "cut short"), "%s", report.error);
		put_file(first, str_make(b.p, offsets[count - 2]));
		cr_assert_eq(segment_verify(dir, kinds[k], &report), -EBADMSG);
		put_file(first, str_make(b.p, 0));
		cr_assert_eq(segment_verify(dir, kinds[k], &report), -EBADMSG);
		cr_assert(strstr(report.error, "no header"), "%s", report.error);
		buf_release(&b);
		end();
		begin();
	}
}

Test(segment, a_segment_of_another_log_does_not_fit_in)
{
	struct segment_report report;

	fill(SEGMENT_LEDGER, 1, 10, 100);
	struct buf other = file_content(11);
	end();
	begin();
	/* The same sequences, other times: another chain. */
	struct segment_log *l = open_log(SEGMENT_LEDGER, 100);
	for (unsigned i = 0; i < 10; i++)
		segment_append(l, 5, NULL, 0);
	segment_close(l);
	put_file(11, buf_str(&other));
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), -EBADMSG);
	cr_assert(strstr(report.error, "00011.log: offset 0"), "%s", report.error);
	buf_release(&other);
}

/* ---- the disk's faults ---- */

Test(segment, short_writes_and_interruptions_are_gone_on_with)
{
	struct segment_log *l = open_log(SEGMENT_EVIDENCE, 1 << 20);

	disk.at_most = 7;
	disk.interruptions = 3;
	append(l, 100);
	cr_assert_eq(segment_sync(l), 0);
	disk.at_most = 0;
	segment_close(l);
	cr_assert_eq(read_all(SEGMENT_EVIDENCE, 0), 100);
}

static void disk_full_at_every_byte(enum segment_kind kind, int code)
{
	for (size_t room = 0; room < 900; room += 13) {
		struct segment_log *l = open_log(kind, 1 << 20);
		append(l, 2);
		cr_assert_eq(segment_sync(l), 0);
		disk.room_limited = true;
		disk.room = room;
		disk.full = code;
		append(l, 20);
		size_t pending = segment_pending(l);
		cr_assert_eq(segment_flush(l), -code);
		cr_assert_eq(segment_pending(l), pending - room);
		cr_assert_eq(segment_sync(l), -code);
		append(l, 3);
		cr_assert_eq(segment_flush(l), -code);
		/* A reader sees what is whole, and no damage. */
		struct segment_report report;
		cr_assert_eq(segment_verify(dir, kind, &report), 0, "%s", report.error);
		cr_assert_lt(report.records, 25);
		/* There is room again. */
		disk.room_limited = false;
		disk.wrote = 0;
		size_t left = segment_pending(l);
		cr_assert_eq(segment_flush(l), 0);
		cr_assert_eq(disk.wrote, left, "written twice");
		cr_assert_eq(segment_pending(l), 0);
		append(l, 1);
		segment_close(l);
		cr_assert_eq(read_all(kind, 0), 26);
		end();
		begin();
	}
}

Test(segment, a_full_disk_keeps_what_is_pending_and_writes_nothing_twice)
{
	disk_full_at_every_byte(SEGMENT_EVIDENCE, ENOSPC);
	disk_full_at_every_byte(SEGMENT_LEDGER, ENOSPC);
}

Test(segment, an_input_output_error_keeps_what_is_pending)
{
	disk_full_at_every_byte(SEGMENT_LEDGER, EIO);
}

Test(segment, a_kill_while_the_disk_is_full_leaves_a_torn_tail)
{
	for (size_t k = 0; k < 2; k++) {
		pid_t child = fork();
		cr_assert_geq(child, 0);
		if (child == 0) {
			struct segment_log *l = open_log(kinds[k], 1 << 20);
			append(l, 2);
			segment_sync(l);
			append(l, 20);
			disk.room_limited = true;
			disk.room = 500;
			disk.full = ENOSPC;
			_exit(segment_flush(l) == -ENOSPC ? 0 : 1);
		}
		int status;
		cr_assert_eq(waitpid(child, &status, 0), child);
		cr_assert_eq(status, 0);
		struct segment_log *l = open_log(kinds[k], 1 << 20);
		uint64_t next = segment_next(l);
		cr_assert_gt(next, 3);
		cr_assert_lt(next, 23);
		append(l, 4);
		segment_close(l);
		cr_assert_eq(read_all(kinds[k], 0), (int64_t)next + 3);
		end();
		begin();
	}
}

Test(segment, a_full_disk_where_a_segment_begins_harms_nothing)
{
	for (size_t room = 0; room <= SEGMENT_HEADER_BYTES; room += 16) {
		struct segment_log *l = open_log(SEGMENT_LEDGER, 100);
		append(l, 10);
		disk.room_limited = true;
		disk.full = ENOSPC;
		disk.room = segment_pending(l) + room;
		cr_assert_eq(segment_sync(l), 0);
		bool fits = room == SEGMENT_HEADER_BYTES;
		cr_assert_eq(segment_count(), fits ? 2 : 1);
		disk.room_limited = false;
		append(l, 1);
		cr_assert_eq(segment_sync(l), 0);
		append(l, 1);
		segment_close(l);
		cr_assert_eq(read_all(SEGMENT_LEDGER, 0), 12);
		cr_assert_geq(segment_count(), 2);
		end();
		begin();
	}
}

/* After a failed fdatasync the kernel may have dropped the pages: a second one that succeeds proves nothing. */
Test(segment, a_failed_sync_is_never_followed_by_a_good_one)
{
	struct segment_log *l = open_log(SEGMENT_LEDGER, 1 << 20);

	append(l, 5);
	disk.sync_error = EIO;
	cr_assert_eq(segment_sync(l), -EIO);
	disk.sync_error = 0;
	append(l, 1);
	cr_assert_eq(segment_sync(l), -EIO);
	cr_assert_eq(segment_flush(l), -EIO);
	segment_close(l);
	cr_assert_eq(read_all(SEGMENT_LEDGER, 0), 5);
	l = open_log(SEGMENT_LEDGER, 1 << 20);
	unsigned before = disk.syncs;
	cr_assert_eq(segment_sync(l), 0);
	cr_assert_gt(disk.syncs, before, "what an earlier life wrote must be synced");
	segment_close(l);
}

/* A real limit of the kernel's, not this program's: the file may not grow. */
Test(segment, the_kernels_own_refusal_is_an_error_that_can_be_waited_out)
{
	signal(SIGXFSZ, SIG_IGN);
	struct segment_log *l = open_log(SEGMENT_EVIDENCE, 1 << 20);
	pid_t child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		struct rlimit_ {
			unsigned long soft, hard;
		} limit = {1000, ~0ul}, none = {~0ul, ~0ul};
		append(l, 100);
		if (syscall(SYS_prlimit64, 0, 1 /* RLIMIT_FSIZE */, &limit, NULL) < 0)
			_exit(1);
		if (segment_flush(l) != -EFBIG || segment_flush(l) != -EFBIG)
			_exit(2);
		if (syscall(SYS_prlimit64, 0, 1, &none, NULL) < 0)
			_exit(3);
		_exit(segment_sync(l) == 0 ? 0 : 4);
	}
	int status;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0, "%x", (unsigned)status);
	segment_close(l);
	cr_assert_eq(read_all(SEGMENT_EVIDENCE, 0), 100);
}

/* ---- cost ---- */

Test(segment, a_batch_is_one_write_and_one_sync)
{
	struct segment_log *l = open_log(SEGMENT_LEDGER, 64 << 20);

	disk.writes = disk.syncs = 0;
	append(l, 10000);
	cr_assert_eq(disk.writes, 0);
	cr_assert_eq(segment_sync(l), 0);
	cr_assert_eq(disk.writes, 1);
	cr_assert_eq(disk.syncs, 1);
	cr_assert_eq(segment_sync(l), 0);
	cr_assert_eq(disk.writes, 1);
	cr_assert_eq(disk.syncs, 1);
	segment_close(l);
	cr_assert_eq(read_all(SEGMENT_LEDGER, 0), 10000);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
Test(segment, nothing_is_allocated_once_warm)
{
	for (size_t k = 0; k < 2; k++) {
		struct segment_log *l = open_log(kinds[k], 64 << 20);
		append(l, 2000);
		segment_sync(l);
		allocations = 0;
		append(l, 1000);
		int r = segment_flush(l);
		append(l, 1000);
		r = r < 0 ? r : segment_sync(l);
		unsigned after = allocations;
		cr_assert_eq(r, 0);
		cr_assert_eq(after, 0, "%u, kind %zu", after, k);
		segment_close(l);
		end();
		begin();
	}
}
#endif

/* ---- readers beside the writer ---- */

Test(segment, a_reader_follows_a_log_while_it_is_written)
{
	for (size_t k = 0; k < 2; k++) {
		struct segment_log *l = open_log(kinds[k], 3000);
		struct segment_reader *r;
		struct record record;
		char text[64];
		uint64_t seen = 0;

		cr_assert_eq(segment_reader_open(dir, kinds[k], 0, &r, error, sizeof(error)), 0);
		for (unsigned i = 0; i < 200; i++) {
			int e;
			append(l, 1 + i % 5);
			/* Half of the times what is there is cut in the middle of a record. */
			disk.room_limited = i % 2;
			disk.room = 30;
			disk.full = ENOSPC;
			if (i % 3 == 0)
				segment_sync(l);
			else
				segment_flush(l);
			disk.room_limited = false;
			while ((e = segment_read(r, &record, error, sizeof(error))) > 0) {
				cr_assert_eq(record.sequence, ++seen);
				cr_assert(str_eq(record.body, body_of(seen, text)));
			}
			cr_assert_eq(e, 0, "%s", error);
		}
		cr_assert_eq(segment_flush(l), 0);
		while (segment_read(r, &record, error, sizeof(error)) > 0)
			seen++;
		cr_assert_eq(seen, segment_next(l) - 1);
		segment_reader_close(r);
		segment_close(l);
		end();
		begin();
	}
}

Test(segment, a_reader_in_another_process_sees_only_what_is_whole)
{
	for (size_t k = 0; k < 2; k++) {
		fill(kinds[k], 1, 1, 50000);
		pid_t child = fork();
		cr_assert_geq(child, 0);
		if (child == 0) {
			struct segment_log *l = open_log(kinds[k], 50000);
			for (unsigned i = 0; i < 3000; i++) {
				append(l, 1 + i % 9);
				if (segment_flush(l) < 0)
					_exit(1);
			}
			_exit(0);
		}
		int status;
		int64_t last = 0;
		pid_t ended = 0;
		do {
			ended = waitpid(child, &status, WNOHANG);
			int64_t now = read_all(kinds[k], 0);
			cr_assert_geq(now, last, "%s", error);
			last = now;
		} while (ended == 0);
		cr_assert_eq(status, 0);
		cr_assert_eq(read_all(kinds[k], 0), 1 + 3000 / 9 * 45 + 1 + 2 + 3);
		end();
		begin();
	}
}

Test(segment, after_damage_a_reader_stays_ended)
{
	struct segment_reader *r;
	struct record record;

	fill(SEGMENT_EVIDENCE, 3, 3, 1 << 20);
	struct buf b = file_content(1);
	b.p[SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES] ^= 1;
	put_file(1, buf_str(&b));
	buf_release(&b);
	cr_assert_eq(segment_reader_open(dir, SEGMENT_EVIDENCE, 0, &r, error, sizeof(error)), 0);
	for (int i = 0; i < 3; i++) {
		error[0] = '\0';
		cr_assert_eq(segment_read(r, &record, error, sizeof(error)), -EBADMSG);
		cr_assert(strstr(error, "offset 64: sequence 1:"), "%s", error);
	}
	segment_reader_close(r);
}
