/* Compressed segments: the same records, the same proofs, at every moment one whole form of each. */
#include "segment_rig.h"

#include <zstd.h>

TestSuite(segment_pack, .init = begin, .fini = end);

static void verify_is(enum segment_kind kind, uint64_t records, uint64_t compressed)
{
	struct segment_report report;

	cr_assert_eq(segment_verify(dir, kind, &report), 0, "%s", report.error);
	cr_assert_eq(report.records, records);
	cr_assert_eq(report.compressed, compressed);
	cr_assert_eq(report.torn_bytes, 0);
}

Test(segment_pack, what_was_written_is_read_from_every_sequence_on)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		struct segment_report before, after;
		fill(kind, 30, 7, 1000);
		size_t count = segment_count();
		cr_assert_gt(count, 5);
		cr_assert_eq(segment_verify(dir, kind, &before), 0);
		size_t finished = finished_count();
		cr_assert_eq(pack_all(kind), (int)finished);
		cr_assert_eq(segment_count(), count);
		cr_assert_eq(segment_verify(dir, kind, &after), 0, "%s", after.error);
		cr_assert_eq(after.compressed, finished);
		cr_assert_eq(after.bytes, before.bytes, "bytes are counted without compression");
		cr_assert_arr_eq(after.chain, before.chain, SHA256_BYTES);
		for (uint64_t from = 0; from <= 212; from++)
			cr_assert_eq(read_all(kind, from), from < 2     ? 210
			                                   : from > 210 ? 0
			                                                : 211 - (int)from);
		cr_assert_eq(pack_all(kind), 0, "all is done");
	}
}

Test(segment_pack, zstd_gives_the_same_file_back)
{
	fill(SEGMENT_LEDGER, 10, 20, 4000);
	uint64_t first = segment_at(0);
	struct buf before = file_content(first);
	cr_assert_gt(pack_all(SEGMENT_LEDGER), 0);
	cr_assert_not(is_there(segment_path(first)));
	char *path = packed_path(first), *plain = xmalloc(before.n);
	struct buf packed = path_content(path);
	cr_assert_eq(ZSTD_decompress(plain, before.n, packed.p, packed.n), before.n);
	cr_assert_arr_eq(plain, before.p, before.n);
	cr_assert_lt(packed.n, before.n);
	free(plain);
	free(path);
	buf_release(&packed);
	buf_release(&before);
}

Test(segment_pack, records_larger_than_the_readers_window)
{
	size_t n = 3 << 20;
	char *big = xmalloc(n);

	for (size_t i = 0; i < n; i++)
		big[i] = (char)((i * 2654435761u) >> 13);
	struct segment_log *l = open_log(SEGMENT_EVIDENCE, 1 << 20);
	for (int i = 0; i < 5; i++) {
		struct str body = str_make(big, n - (size_t)i * 1000);
		segment_append(l, 1, &body, 1);
		cr_assert_eq(segment_sync(l), 0);
	}
	cr_assert_eq(pack_all(SEGMENT_EVIDENCE), 4);
	verify_is(SEGMENT_EVIDENCE, 5, 4);
	struct segment_reader *r;
	struct record record;
	cr_assert_eq(segment_reader_open(dir, SEGMENT_EVIDENCE, 1, &r, error, sizeof(error)), 0);
	for (size_t i = 0; i < 5; i++) {
		cr_assert_eq(segment_read(r, &record, error, sizeof(error)), 1, "%s", error);
		cr_assert_eq(record.body.n, n - i * 1000);
		cr_assert_eq(memcmp(record.body.p, big, record.body.n), 0);
	}
	segment_reader_close(r);
	segment_close(l);
	free(big);
}

Test(segment_pack, the_writer_and_a_reader_go_on_meanwhile)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		struct segment_log *l = open_log(kind, 500);
		struct segment_reader *r;
		struct record record;
		char text[64];
		uint64_t read = 0;
		cr_assert_eq(segment_reader_open(dir, kind, 1, &r, error, sizeof(error)), 0);
		for (int turn = 0; turn < 40; turn++) {
			append(l, 5);
			cr_assert_eq(segment_sync(l), 0);
			/* Three of five: it falls behind, into segments that are compressed under it. */
			for (int i = 0; i < 3; i++) {
				cr_assert_eq(segment_read(r, &record, error, sizeof(error)), 1,
				             "%s", error);
				cr_assert_eq(record.sequence, ++read);
				cr_assert(str_eq(record.body, body_of(read, text)));
			}
			cr_assert_geq(pack_all(kind), 0, "%s", error);
		}
		while (segment_read(r, &record, error, sizeof(error)) > 0)
			cr_assert_eq(record.sequence, ++read);
		cr_assert_eq(read, 200);
		segment_reader_close(r);
		segment_close(l);
		cr_assert_eq(read_all(kind, 0), 200);
	}
}

Test(segment_pack, only_what_is_finished)
{
	struct segment_info info;
	struct segment_log *l = open_log(SEGMENT_LEDGER, 300);

	cr_assert_eq(segment_oldest(dir, SEGMENT_LEDGER, &info), 0);
	append(l, 5);
	cr_assert_eq(segment_sync(l), 0);
	/* A second one was begun, but it holds nothing yet: the writer could still take it back. */
	cr_assert_eq(segment_count(), 2);
	cr_assert_eq(pack_all(SEGMENT_LEDGER), 0);
	cr_assert_eq(segment_oldest(dir, SEGMENT_LEDGER, &info), 0);
	append(l, 1);
	cr_assert_eq(segment_flush(l), 0);
	cr_assert_eq(segment_oldest(dir, SEGMENT_LEDGER, &info), 1);
	cr_assert_eq(info.first, 1);
	cr_assert_eq(info.next, 6);
	cr_assert_eq(info.ended_ns, 1006);
	cr_assert(info.plain && !info.packed);
	cr_assert_eq(pack_all(SEGMENT_LEDGER), 1);
	cr_assert_eq(segment_oldest(dir, SEGMENT_LEDGER, &info), 1);
	cr_assert(!info.plain && info.packed);
	segment_close(l);
	cr_assert_eq(segment_oldest("/nonexistent", SEGMENT_LEDGER, &info), -ENOENT);
}

/* Every byte of a compressed segment, changed: found, and named. */
Test(segment_pack, every_flipped_bit_is_found)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		fill(kind, 4, 4, 300);
		cr_assert_gt(pack_all(kind), 0);
		uint64_t first = segment_at(0);
		char *path = packed_path(first);
		struct buf good = path_content(path);
		struct segment_report report;
		unsigned harmless = 0;
		for (size_t at = 0; at < good.n; at++) {
			good.p[at] ^= 1 << at % 8;
			put_path(path, buf_str(&good));
			good.p[at] ^= 1 << at % 8;
			int r = segment_verify(dir, kind, &report);
			/* A few bits of a zstd frame mean nothing to its content: then that is the same. */
			if (r == 0)
				cr_assert(read_all(kind, 0) == 16 && ++harmless < 8, "byte %zu",
				          at);
			else
				cr_assert(r == -EBADMSG &&
				                  strstr(report.error, ".log.zst: offset "),
				          "byte %zu: %d %s", at, r, report.error);
		}
		for (size_t n = 0; n < good.n; n++) {
			put_path(path, str_head(buf_str(&good), n));
			cr_assert_eq(segment_verify(dir, kind, &report), -EBADMSG, "%zu bytes", n);
		}
		buf_putc(&good, 'x');
		put_path(path, buf_str(&good));
		cr_assert_eq(segment_verify(dir, kind, &report), -EBADMSG);
		cr_assert(strstr(report.error, "something follows"), "%s", report.error);
		buf_release(&good);
		free(path);
	}
}

/* What is compressed was whole: a tail that would be torn in a .log is damage here. */
Test(segment_pack, a_compressed_half_is_damage)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		fill(kind, 1, 9, 1 << 20);
		struct buf content = file_content(1);
		char *plain = segment_path(1), *path = packed_path(1);
		char *packed = xmalloc(ZSTD_compressBound(content.n));
		unlink(plain);
		for (size_t cut = 1; cut < 200; cut += 9) {
			size_t n = ZSTD_compress(packed, ZSTD_compressBound(content.n), content.p,
			                         content.n - cut, 1);
			put_path(path, str_make(packed, n));
			struct segment_report report;
			int r = segment_verify(dir, kind, &report);
			/* A whole record less is another, shorter segment. */
			size_t offsets[16],
				count = record_offsets(kind, buf_str(&content), offsets, 16);
			bool whole = false;
			for (size_t i = 0; i < count && kind == SEGMENT_LEDGER; i++)
				whole |= content.n - cut == offsets[i];
			cr_assert_eq(r, whole ? 0 : -EBADMSG, "%zu: %s", cut, report.error);
			if (kind == SEGMENT_LEDGER)
				cr_assert_eq(try_open(kind), whole ? 0 : -EBADMSG, "%zu: %s", cut,
				             error);
			if (whole)
				unlink(plain);
		}
		free(packed);
		free(path);
		free(plain);
		buf_release(&content);
	}
}

Test(segment_pack, a_frame_that_asks_for_much_memory_is_refused)
{
	fill(SEGMENT_EVIDENCE, 300, 100, 10 << 20);
	struct buf content = file_content(1);
	while (content.n < (9 << 20))
		buf_putc(&content, 0);
	char *path = packed_path(1), *plain = segment_path(1);
	char *packed = xmalloc(ZSTD_compressBound(content.n));
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, 27);
	size_t n = ZSTD_compress2(ctx, packed, ZSTD_compressBound(content.n), content.p, content.n);
	ZSTD_freeCCtx(ctx);
	put_path(path, str_make(packed, n));
	unlink(plain);
	struct segment_report report;
	cr_assert_eq(segment_verify(dir, SEGMENT_EVIDENCE, &report), -EBADMSG);
	cr_assert(strstr(report.error, "memory"), "%s", report.error);
	free(packed);
	free(path);
	free(plain);
	buf_release(&content);
}

Test(segment_pack, a_crash_leaves_one_whole_form)
{
	for (int bad = 0; bad < 3; bad++) {
		fill(SEGMENT_LEDGER, 4, 4, 300);
		uint64_t first = segment_at(0);
		char *packed = packed_path(first), *temporary = xasprintf("%s.tmp", packed);
		struct buf plain = file_content(first);
		cr_assert_gt(pack_all(SEGMENT_LEDGER), 0);
		put_file(first, buf_str(&plain));
		put_path(temporary, STR("the beginning of"));
		if (bad == 1)
			put_path(packed, STR("rubbish"));
		if (bad == 2) {
			/* The compressed form is that of another segment. */
			char *other = packed_path(segment_at(1));
			struct buf b = path_content(other);
			put_path(packed, buf_str(&b));
			buf_release(&b);
			free(other);
		}
		verify_is(SEGMENT_LEDGER, 16, finished_count() - 1);
		cr_assert_eq(pack_all(SEGMENT_LEDGER), 1, "%s", error);
		verify_is(SEGMENT_LEDGER, 16, finished_count());
		cr_assert_not(is_there(segment_path(first)));
		unlink(temporary);
		free(temporary);
		free(packed);
		buf_release(&plain);
		renew();
	}
}

Test(segment_pack, a_damaged_segment_stays_as_it_is)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		fill(kind, 4, 4, 300);
		uint64_t first = segment_at(0);
		struct buf content = file_content(first);
		content.p[content.n / 2] ^= 1;
		put_file(first, buf_str(&content));
		cr_assert_eq(pack_all(kind), -EBADMSG);
		char *temporary = xasprintf("%s/%020" PRIu64 ".log.zst.tmp", dir, first);
		cr_assert(strstr(error, ": offset "), "%s", error);
		cr_assert(is_there(segment_path(first)));
		cr_assert_not(is_there(packed_path(first)));
		cr_assert_not(is_there(temporary));
		/* Cut at a record's end it is whole in itself, but does not lead to the next. */
		content.p[content.n / 2] ^= 1;
		size_t offsets[16], count = record_offsets(kind, buf_str(&content), offsets, 16);
		put_file(first, str_head(buf_str(&content), offsets[count - 1]));
		cr_assert_eq(pack_all(kind), -EBADMSG);
		cr_assert(is_there(segment_path(first)));
		buf_release(&content);
	}
}

Test(segment_pack, it_stops_when_told)
{
	struct segment_info info;
	atomic_bool stop = true;

	fill(SEGMENT_EVIDENCE, 4, 4, 300);
	cr_assert_eq(segment_oldest(dir, SEGMENT_EVIDENCE, &info), 1);
	cr_assert_eq(segment_pack(dir, SEGMENT_EVIDENCE, &info, 3, &stop, error, sizeof(error)),
	             -ECANCELED);
	cr_assert(is_there(segment_path(info.first)));
	verify_is(SEGMENT_EVIDENCE, 16, 0);
}

Test(segment_pack, without_its_newest_segment_the_log_goes_on)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		fill(kind, 4, 4, 300);
		cr_assert_gt(pack_all(kind), 0);
		size_t count = segment_count();
		char *newest = segment_path(segment_at(count - 1));
		unlink(newest);
		free(newest);
		int64_t left = read_all(kind, 0);
		cr_assert_gt(left, 0);
		struct segment_log *l = open_log(kind, 1000);
		append(l, 3);
		segment_close(l);
		cr_assert_eq(read_all(kind, 0), left + 3);
	}
}
