/* The append-only log on a disk that is full or fails. */
#include "segment_rig.h"

#include "disk_faults.h"

TestSuite(segment, .init = begin, .fini = end);

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
		renew();
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
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		pid_t child = fork();
		cr_assert_geq(child, 0);
		if (child == 0) {
			struct segment_log *l = open_log(kind, 1 << 20);
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
		struct segment_log *l = open_log(kind, 1 << 20);
		uint64_t next = segment_next(l);
		cr_assert_gt(next, 3);
		cr_assert_lt(next, 23);
		append(l, 4);
		segment_close(l);
		cr_assert_eq(read_all(kind, 0), (int64_t)next + 3);
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
		renew();
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

Test(segment, a_full_disk_leaves_a_segment_uncompressed_until_there_is_room)
{
	for (enum segment_kind kind = 0; each_kind(&kind);) {
		fill(kind, 4, 4, 300);
		size_t finished = finished_count();
		for (size_t room = 0;; room += 11) {
			disk.room_limited = true;
			disk.room = room;
			disk.full = room % 2 ? EIO : ENOSPC;
			int r = pack_all(kind);
			disk.room_limited = false;
			cr_assert_eq(read_all(kind, 0), 16);
			if (r >= 0)
				break;
			cr_assert_eq(r, -disk.full);
			cr_assert(strstr(error, "cannot be compressed"), "%s", error);
		}
		disk.sync_error = EIO;
		struct segment_log *l = NULL;
		struct segment_report report;
		cr_assert_eq(segment_verify(dir, kind, &report), 0);
		cr_assert_eq(report.compressed, finished);
		disk.sync_error = 0;
		l = open_log(kind, 300);
		append(l, 10);
		cr_assert_eq(segment_sync(l), 0);
		append(l, 1);
		cr_assert_eq(segment_sync(l), 0);
		/* What does not reach the disk does not replace what has. */
		disk.sync_error = EIO;
		cr_assert_eq(pack_all(kind), -EIO);
		disk.sync_error = 0;
		cr_assert_eq(segment_verify(dir, kind, &report), 0);
		cr_assert_eq(report.compressed, finished);
		cr_assert_gt(pack_all(kind), 0);
		segment_close(l);
		cr_assert_eq(read_all(kind, 0), 27);
	}
}

/* ---- a sync that another thread waits for ---- */

static int fd_of_begun_sync(struct segment_log *l)
{
	int fd = -2;

	cr_assert_eq(segment_sync_begin(l, &fd), 0);
	return fd;
}

Test(segment, a_sync_in_halves_covers_what_was_there_and_no_more)
{
	struct segment_log *l = open_log(SEGMENT_EVIDENCE, 1 << 20);

	append(l, 5);
	unsigned before = disk.syncs;
	int fd = fd_of_begun_sync(l);
	cr_assert_geq(fd, 0);
	cr_assert_eq(disk.syncs, before, "the waiting is the caller's");
	cr_assert_eq(segment_pending(l), 0);
	append(l, 3);
	cr_assert_eq(segment_flush(l), 0);
	cr_assert_eq(fdatasync(fd), 0);
	close(fd);
	cr_assert_eq(segment_sync_end(l, 0), 0);
	fd = fd_of_begun_sync(l);
	cr_assert_geq(fd, 0, "the three are not synced yet");
	close(fd);
	cr_assert_eq(segment_sync_end(l, 0), 0);
	cr_assert_eq(fd_of_begun_sync(l), -1, "nothing is left");
	cr_assert_eq(segment_sync_end(l, 0), 0);
	segment_close(l);
	cr_assert_eq(read_all(SEGMENT_EVIDENCE, 0), 8);
}

/* The new segment must not be on the disk before the one that is being synced. */
Test(segment, a_segment_begun_amid_a_sync_waits_for_it)
{
	struct segment_log *l = open_log(SEGMENT_EVIDENCE, 2000);

	append(l, 100);
	int fd = fd_of_begun_sync(l);
	unsigned before = disk.syncs;
	cr_assert_eq(segment_flush(l), 0);
	cr_assert_geq(disk.syncs, before + 2, "the old one and the new one's header");
	append(l, 1);
	cr_assert_eq(segment_flush(l), 0);
	cr_assert_eq(segment_sync_end(l, 0), 0);
	close(fd);
	fd = fd_of_begun_sync(l);
	cr_assert_geq(fd, 0, "the new segment's record is not synced");
	close(fd);
	cr_assert_eq(segment_sync_end(l, -EIO), -EIO);
	append(l, 1);
	cr_assert_eq(segment_flush(l), -EIO, "nobody knows what reached the disk");
	segment_close(l);
}
