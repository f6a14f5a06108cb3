/* The append-only log: its plain life and format, what it costs, readers beside the writer. */
#include "segment_rig.h"

#include "allocations.h"
#include "disk_faults.h"

TestSuite(segment, .init = begin, .fini = end);

/* ---- the plain life of a log ---- */

Test(segment, what_is_written_is_read_again_in_order)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		struct segment_report report;
		fill(kind, 10, 50, 1 << 20);
		cr_assert_eq(read_all(kind, 0), 500);
		cr_assert_eq(read_all(kind, 321), 180);
		cr_assert_eq(read_all(kind, 500), 1);
		cr_assert_eq(read_all(kind, 501), 0);
		cr_assert_eq(segment_verify(dir, kind, &report), 0, "%s", report.error);
		cr_assert_eq(report.records, 500);
		cr_assert_eq(report.first, 1);
		cr_assert_eq(report.last, 500);
		cr_assert_eq(report.segments, 1);
		cr_assert_eq(report.torn_bytes, 0);
	}
}

Test(segment, a_log_goes_on_where_it_ended)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		for (unsigned life = 0; life < 5; life++) {
			struct segment_log *l = open_log(kind, 3000);
			cr_assert_eq(segment_next(l), life * 37 + 1);
			append(l, 37);
			cr_assert_eq(segment_flush(l), 0);
			segment_close(l);
		}
		cr_assert_eq(read_all(kind, 0), 5 * 37);
	}
}

Test(segment, the_chain_of_a_reopened_log_is_the_one_it_ended_with)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		struct segment_report report;
		uint8_t chain[SHA256_BYTES];
		struct segment_log *l = open_log(kind, 1 << 20);
		append(l, 5);
		segment_sync(l);
		memcpy(chain, segment_chain(l), SHA256_BYTES);
		segment_close(l);
		cr_assert_eq(segment_verify(dir, kind, &report), 0);
		cr_assert_arr_eq(report.chain, chain, SHA256_BYTES);
		l = open_log(kind, 1 << 20);
		cr_assert_arr_eq(segment_chain(l), chain, SHA256_BYTES);
		segment_close(l);
	}
}

/* An independent reading of the format as segment.h has it, with none of the code under test but the hashes. */
Test(segment, the_bytes_are_those_of_the_documented_format)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		bool ledger = kind == SEGMENT_LEDGER;
		struct segment_log *l = open_log(kind, 1 << 20);
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
	}
}

Test(segment, segments_are_chained_and_begin_past_the_size)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		struct segment_report report;
		fill(kind, 60, 10, 4000);
		cr_assert_gt(segment_count(), 5);
		cr_assert_eq(read_all(kind, 0), 600);
		for (uint64_t from = 1; from <= 600; from += 41)
			cr_assert_eq(read_all(kind, from), (int64_t)(601 - from));
		cr_assert_eq(segment_verify(dir, kind, &report), 0, "%s", report.error);
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

	renew();
	l = open_log(SEGMENT_LEDGER, 1 << 20);
	append(l, 1);
	cr_assert_eq(segment_skip_to(l, 2), 0);
	cr_assert_eq(segment_skip_to(l, 3), -EINVAL);
	segment_close(l);
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

#if COUNTS_ALLOCATIONS
Test(segment, nothing_is_allocated_once_warm)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		struct segment_log *l = open_log(kind, 64 << 20);
		append(l, 2000);
		segment_sync(l);
		size_t before = allocations();
		append(l, 1000);
		int r = segment_flush(l);
		append(l, 1000);
		r = r < 0 ? r : segment_sync(l);
		size_t after = allocations() - before;
		cr_assert_eq(r, 0);
		cr_assert_eq(after, 0, "%zu, kind %d", after, kind);
		segment_close(l);
	}
}
#endif

/* ---- readers beside the writer ---- */

Test(segment, a_reader_follows_a_log_while_it_is_written)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		struct segment_log *l = open_log(kind, 3000);
		struct segment_reader *r;
		struct record record;
		char text[64];
		uint64_t seen = 0;

		cr_assert_eq(segment_reader_open(dir, kind, 0, &r, error, sizeof(error)), 0);
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
	}
}

Test(segment, a_reader_in_another_process_sees_only_what_is_whole)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		fill(kind, 1, 1, 50000);
		pid_t child = fork();
		cr_assert_geq(child, 0);
		if (child == 0) {
			struct segment_log *l = open_log(kind, 50000);
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
			int64_t now = read_all(kind, 0);
			cr_assert_geq(now, last, "%s", error);
			last = now;
		} while (ended == 0);
		cr_assert_eq(status, 0);
		cr_assert_eq(read_all(kind, 0), 1 + 3000 / 9 * 45 + 1 + 2 + 3);
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
