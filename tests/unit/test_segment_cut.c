/* A log is cut behind its last good record: what is left is sound and goes on, what stood behind it is all still there. */
#include "segment_rig.h"

#include <dirent.h>

TestSuite(segment_cut, .init = begin, .fini = end);

static char *aside;

static int cut(enum segment_kind kind, uint64_t last)
{
	free(aside);
	aside = NULL;
	return segment_cut(dir, kind, last, &aside, error, sizeof(error));
}

static struct buf set_aside(uint64_t first, bool packed)
{
	char *path = xasprintf("%s/%020" PRIu64 ".log%s", aside, first, packed ? ".zst" : "");
	struct buf b = path_content(path);

	free(path);
	return b;
}

Test(segment_cut, at_every_sequence)
{
	for (enum segment_kind kind = 0; each_kind(&kind);)
		for (int packed = 0; packed < 2; packed++)
			for (uint64_t last = 1; last < 20; last++) {
				renew();
				fill(kind, 10, 2, 300);
				if (packed)
					pack_all(kind);
				size_t count = segment_count(), in = 0;
				while (in + 1 < count && segment_at(in + 1) <= last)
					in++;
				uint64_t newest = segment_at(count - 1), first = segment_at(in);
				struct buf before = file_content(newest);
				cr_assert_eq(cut(kind, last), 0, "%s", error);
				struct segment_report report;
				cr_assert_eq(segment_verify(dir, kind, &report), 0, "%s",
				             report.error);
				cr_assert_eq(report.last, last);
				cr_assert_eq(report.torn_bytes, 0);
				cr_assert_eq(segment_count(), in + 1);
				if (newest != first) {
					struct buf kept = set_aside(newest, false);
					cr_assert(str_eq(buf_str(&kept), buf_str(&before)));
					buf_release(&kept);
				}
				buf_release(&before);
				struct segment_log *l = open_log(kind, 300);
				cr_assert_eq(segment_next(l), last + 1);
				append(l, 3);
				segment_close(l);
				cr_assert_eq(read_all(kind, 0), (int64_t)last + 3, "%s", error);
			}
	free(aside);
}

Test(segment_cut, behind_the_damage_there_is_none_and_before_it_all_is_kept)
{
	fill(SEGMENT_LEDGER, 5, 4, 1 << 20);
	struct buf good = file_content(1);
	size_t offsets[32];
	record_offsets(SEGMENT_LEDGER, buf_str(&good), offsets, 32);
	good.p[offsets[12] + 30] ^= 1;
	put_file(1, buf_str(&good));
	struct segment_report report;
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), -EBADMSG);
	cr_assert_eq(report.last, 12);
	cr_assert_eq(cut(SEGMENT_LEDGER, 13), -EBADMSG);
	cr_assert(strstr(error, "sequence 13"), "%s", error);
	cr_assert_eq(cut(SEGMENT_LEDGER, 12), 0, "%s", error);
	struct buf kept = set_aside(1, false);
	cr_assert(str_eq(buf_str(&kept), buf_str(&good)));
	cr_assert_eq(read_all(SEGMENT_LEDGER, 0), 12);
	buf_release(&kept);
	buf_release(&good);
	free(aside);
}

Test(segment_cut, what_cannot_be_cut_is_told_and_stays)
{
	fill(SEGMENT_LEDGER, 5, 4, 1 << 20);
	cr_assert_eq(cut(SEGMENT_LEDGER, 20), -ERANGE);
	cr_assert(strstr(error, "nothing stands behind"), "%s", error);
	cr_assert_eq(cut(SEGMENT_LEDGER, 21), -ERANGE);
	cr_assert(strstr(error, "ends with sequence 20"), "%s", error);
	cr_assert_eq(cut(SEGMENT_LEDGER, 0), -ERANGE);
	struct segment_log *l = open_log(SEGMENT_LEDGER, 300);
	cr_assert_eq(cut(SEGMENT_LEDGER, 5), -EWOULDBLOCK);
	cr_assert(strstr(error, "stop it first"), "%s", error);
	segment_close(l);
	cr_assert_eq(read_all(SEGMENT_LEDGER, 0), 20);
	cr_assert_eq(segment_cut("/nonexistent", SEGMENT_LEDGER, 5, &aside, error, sizeof(error)),
	             -ENOENT);
	cr_assert_null(aside);
}
