/* The append-only log after a crash, and damaged: a torn tail is told from damage, and damage is named. */
#include "segment_rig.h"

#include "disk_faults.h"

TestSuite(segment, .init = begin, .fini = end);

/* The newest segment, 1, is damaged and had `records`: a ledger is refused; evidence goes on in a segment of its own,
 * with a sequence that was never used, and the damaged one stays as it was. */
static void open_damaged(enum segment_kind kind, uint64_t records)
{
	struct buf before = file_content(1);

	cr_assert_eq(try_open(kind), kind == SEGMENT_LEDGER ? -EBADMSG : 0, "%s", error);
	struct buf after = file_content(1);
	cr_assert(str_eq(buf_str(&before), buf_str(&after)));
	if (kind == SEGMENT_EVIDENCE) {
		char why[sizeof(error)];
		memcpy(why, error, sizeof(why));
		cr_assert_eq(segment_count(), 2);
		uint64_t first = segment_at(1);
		cr_assert_gt(first, records);
		struct segment_log *l = open_log(kind, 1 << 20);
		cr_assert_eq(segment_next(l), first);
		append(l, 3);
		segment_close(l);
		cr_assert_eq(read_all(kind, first), 3, "%s", error);
		char *path = segment_path(first);
		unlink(path);
		free(path);
		memcpy(error, why, sizeof(error));
	}
	cr_assert_eq(segment_count(), 1);
	buf_release(&before);
	buf_release(&after);
}

/* ---- a crash ---- */

Test(segment, a_tail_cut_anywhere_is_repaired_and_only_its_record_is_lost)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		size_t offsets[64];
		fill(kind, 3, 4, 1 << 20);
		struct buf b = file_content(1);
		size_t count = record_offsets(kind, buf_str(&b), offsets, 64);
		for (size_t n = SEGMENT_HEADER_BYTES; n < b.n; n++) {
			struct segment_report report;
			put_file(1, str_make(b.p, n));
			size_t whole = 0;
			uint64_t records = 0;
			while (whole < count && offsets[whole + 1] <= n)
				records += !(get_le32(b.p + offsets[whole++]) & SEAL_BIT);
			cr_assert_eq(segment_verify(dir, kind, &report), 0, "%s", report.error);
			cr_assert_eq(report.records, records);
			cr_assert_eq(report.torn_bytes, n - offsets[whole]);
			struct segment_log *l = open_log(kind, 1 << 20);
			cr_assert_eq(segment_next(l), records + 1);
			append(l, 3);
			segment_close(l);
			cr_assert_eq(read_all(kind, 0), (int64_t)records + 3);
			cr_assert_eq(segment_verify(dir, kind, &report), 0, "%s", report.error);
			cr_assert_eq(report.torn_bytes, 0);
		}
		buf_release(&b);
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
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		fill(kind, 1, 40, 1 << 20);
		struct buf b = file_content(1);
		size_t whole = b.n;
		char zeros[9000] = {0};
		buf_append(&b, zeros, sizeof(zeros));
		put_file(1, buf_str(&b));
		struct segment_report report;
		cr_assert_eq(segment_verify(dir, kind, &report), 0, "%s", report.error);
		cr_assert_eq(report.torn_bytes, sizeof(zeros));
		cr_assert_eq(try_open(kind), 0, "%s", error);
		struct buf again = file_content(1);
		cr_assert_eq(again.n, whole);
		buf_release(&again);
		buf_release(&b);
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
	open_damaged(SEGMENT_EVIDENCE, 1);
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
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		for (size_t n = 0; n <= SEGMENT_HEADER_BYTES; n++) {
			char zeros[SEGMENT_HEADER_BYTES] = {0};
			struct segment_report report;
			fill(kind, 2, 5, 1 << 20);
			put_file(11, str_make(zeros, n));
			cr_assert_eq(read_all(kind, 0), 10, "%s", error);
			cr_assert_eq(read_all(kind, 11), 0, "%s", error);
			cr_assert_eq(segment_verify(dir, kind, &report), 0);
			cr_assert_eq(report.torn_bytes, n);
			struct segment_log *l = open_log(kind, 1 << 20);
			cr_assert_eq(segment_next(l), 11);
			append(l, 2);
			segment_close(l);
			cr_assert_eq(read_all(kind, 0), 12);
			cr_assert_eq(segment_count(), 1);
			renew();
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
		enum segment_kind kind = round < 12 ? SEGMENT_EVIDENCE : SEGMENT_LEDGER;
		if (round == 12) {
			renew();
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
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		size_t offsets[64];
		fill(kind, 2, 3, 1 << 20);
		struct buf b = file_content(1);
		size_t count = record_offsets(kind, buf_str(&b), offsets, 64);
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
			cr_assert_eq(segment_verify(dir, kind, &report), -EBADMSG,
			             "byte %zu was not found", at);
			cr_assert(strstr(report.error, expected), "%s, not %s", report.error,
			          expected);
			open_damaged(kind, 6);
			cr_assert(strstr(error, expected), "%s, not %s", error, expected);
			cr_assert_eq(read_all(kind, 0), -EBADMSG);
		}
		buf_release(&b);
	}
}

Test(segment, a_flipped_bit_in_an_older_segment_is_damage)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		struct segment_report report;
		fill(kind, 40, 10, 4000);
		uint64_t first = segment_at(1);
		struct buf b = file_content(first);
		size_t offsets[256];
		size_t count = record_offsets(kind, buf_str(&b), offsets, 256);
		for (size_t i = 0; i < count; i += 7) {
			char expected[64];
			snprintf(expected, sizeof(expected),
			         "%020" PRIu64 ".log: offset %zu:", first, offsets[i]);
			b.p[offsets[i] + 20] ^= 4;
			put_file(first, buf_str(&b));
			b.p[offsets[i] + 20] ^= 4;
			cr_assert_eq(segment_verify(dir, kind, &report), -EBADMSG);
			cr_assert(strstr(report.error, expected), "%s", report.error);
		}
		buf_release(&b);
	}
}

/* Of evidence, which goes on behind its damage, the proof does too. */
Test(segment, every_damaged_segment_of_evidence_is_counted_and_the_rest_is_proven)
{
	struct segment_report before, report;

	fill(SEGMENT_EVIDENCE, 40, 10, 4000);
	cr_assert_eq(segment_verify(dir, SEGMENT_EVIDENCE, &before), 0);
	cr_assert_eq(before.next, before.last + 1);
	size_t count = segment_count();
	cr_assert_geq(count, 5);
	uint64_t lost = 0;
	for (size_t i = 1; i + 1 < count; i += 2) {
		struct buf b = file_content(segment_at(i));
		b.p[i == 1 ? 3 : b.n / 2] ^= 1; /* a header, then a record in the middle */
		put_file(segment_at(i), buf_str(&b));
		lost++;
		buf_release(&b);
	}
	cr_assert_eq(segment_verify(dir, SEGMENT_EVIDENCE, &report), -EBADMSG);
	cr_assert_eq(report.damaged, lost);
	cr_assert_eq(report.last, before.last, "the newest is read");
	cr_assert(report.records < before.records && report.records > before.records / 3);
	char expected[64];
	snprintf(expected, sizeof(expected), "%020" PRIu64 ".log: offset 0:", segment_at(1));
	cr_assert(strstr(report.error, expected), "%s", report.error);
	/* Of a ledger nothing behind the first damage counts. */
	renew();
	fill(SEGMENT_LEDGER, 40, 10, 4000);
	struct buf b = file_content(segment_at(1));
	b.p[b.n / 2] ^= 1;
	put_file(segment_at(1), buf_str(&b));
	buf_release(&b);
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), -EBADMSG);
	cr_assert_eq(report.damaged, 1);
	cr_assert(report.last >= segment_at(1) - 1 && report.last < segment_at(2), "%" PRIu64,
	          report.last);
}

/* Who can write the file can also mend the checksum. */
Test(segment, a_changed_record_with_a_mended_checksum_breaks_the_chain)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		struct segment_report report;
		size_t offsets[64];
		fill(kind, 2, 3, 1 << 20);
		struct buf b = file_content(1);
		record_offsets(kind, buf_str(&b), offsets, 64);
		char *p = b.p + offsets[1];
		uint32_t salt = get_le32(b.p + 56);
		p[RECORD_HEADER_BYTES] ^= 1;
		put_le32(p + 4, record_crc(salt, get_le32(p), p, offsets[2] - offsets[1]));
		put_file(1, buf_str(&b));
		cr_assert_eq(segment_verify(dir, kind, &report), -EBADMSG);
		cr_assert(strstr(report.error, kind == SEGMENT_LEDGER
		                                       ? "sequence 2: the record's chain"
		                                       : "the seal does not match"),
		          "%s", report.error);
		open_damaged(kind, 6);
		buf_release(&b);
	}
}

Test(segment, a_missing_segment_is_damage)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		for (int which = 0; which < 2; which++) {
			struct segment_report report;
			fill(kind, 40, 10, 4000);
			char *path = segment_path(segment_at(which ? 2 : 0));
			cr_assert_eq(unlink(path), 0);
			free(path);
			int r = segment_verify(dir, kind, &report);
			/* Retention may take the oldest evidence, nothing else. */
			bool allowed = which == 0 && kind == SEGMENT_EVIDENCE;
			cr_assert_eq(r, allowed ? 0 : -EBADMSG, "%s", report.error);
			cr_assert_eq(read_all(kind, 0) < 0, !allowed);
			renew();
		}
	}
}

Test(segment, an_older_segment_that_is_cut_is_damage)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		struct segment_report report;
		fill(kind, 40, 10, 4000);
		uint64_t first = segment_at(1);
		struct buf b = file_content(first);
		size_t offsets[256];
		size_t count = record_offsets(kind, buf_str(&b), offsets, 256);
		/* In the middle of a record, and between two. */
		put_file(first, str_make(b.p, offsets[count - 2] + 9));
		cr_assert_eq(segment_verify(dir, kind, &report), -EBADMSG);
		cr_assert(strstr(report.error, "cut short"), "%s", report.error);
		put_file(first, str_make(b.p, offsets[count - 2]));
		cr_assert_eq(segment_verify(dir, kind, &report), -EBADMSG);
		put_file(first, str_make(b.p, 0));
		cr_assert_eq(segment_verify(dir, kind, &report), -EBADMSG);
		cr_assert(strstr(report.error, "no header"), "%s", report.error);
		buf_release(&b);
	}
}

Test(segment, a_segment_of_another_log_does_not_fit_in)
{
	struct segment_report report;

	fill(SEGMENT_LEDGER, 1, 10, 100);
	struct buf other = file_content(11);
	renew();
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
