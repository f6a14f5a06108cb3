/* Finished segments: which there are, and how one is compressed.
 *
 * At every moment one whole form of a segment is in the folder under its name. The compressed one is written beside it
 * under a name that no reader looks at, synced, unpacked again and proven up to the chain value that the next segment
 * begins with, and only then renamed; then the .log goes. What a crash leaves is an unfinished .tmp, which the next
 * attempt overwrites, or both forms, of which the next attempt proves the compressed one before the .log goes. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "log/segment_internal.h"

/* ---- which are finished ---- */

struct folder {
	const char *dir;
	int fd;
	uint64_t *firsts;
	size_t count;
};

static void folder_close(struct folder *f)
{
	free(f->firsts);
	if (f->fd >= 0)
		close(f->fd);
}

static int folder_open(struct folder *f, const char *dir)
{
	*f = (struct folder){.dir = dir};
	f->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = f->fd < 0 ? -errno : segment_list(f->fd, &f->firsts, &f->count);
	if (r < 0)
		folder_close(f);
	return r;
}

/* The first record of segment `i`: 1, 0 when it has none, -EBADMSG, -errno. */
static int first_record(const struct folder *f, enum segment_kind kind, size_t i,
                        uint64_t *ret_time_ns)
{
	struct scan s;
	struct record record;
	char error[512];

	int r = scan_open(f->fd, f->dir, kind, f->firsts[i], &s, error, sizeof(error));
	if (r <= 0)
		return r;
	r = scan_next(&s, &record, error, sizeof(error));
	if (r > 0)
		*ret_time_ns = record.time_ns;
	scan_close(&s);
	return r;
}

/* What is known of finished segment `i`: 1, 0 when it is not finished. */
static int inspect(const struct folder *f, enum segment_kind kind, size_t i,
                   struct segment_info *ret)
{
	char name[SEGMENT_NAME_BYTES], packed[SEGMENT_NAME_BYTES];
	struct stat st;

	*ret = (struct segment_info){.first = f->firsts[i]};
	if (i + 1 >= f->count)
		return 0;
	ret->next = f->firsts[i + 1];
	int r = first_record(f, kind, i + 1, &ret->ended_ns);
	/* A newest one without a record may still be taken back by the writer. One without a record between others
	 * tells no time: then that of the one before must do. */
	if (r == 0 && i + 2 >= f->count)
		return 0;
	if (r <= 0 && first_record(f, kind, i, &ret->ended_ns) <= 0)
		ret->ended_ns = UINT64_MAX;
	segment_name(ret->first, name);
	segment_packed_name(ret->first, packed);
	if (fstatat(f->fd, name, &st, 0) == 0) {
		ret->plain = true;
		ret->stored += (uint64_t)st.st_size;
	}
	if (fstatat(f->fd, packed, &st, 0) == 0) {
		ret->packed = true;
		ret->stored += (uint64_t)st.st_size;
	}
	return 1;
}

int segment_oldest(const char *dir, enum segment_kind kind, struct segment_info *ret)
{
	struct folder f;

	int r = folder_open(&f, dir);
	if (r < 0)
		return r;
	r = f.count ? inspect(&f, kind, 0, ret) : 0;
	folder_close(&f);
	return r;
}

int segment_plain_after(const char *dir, enum segment_kind kind, uint64_t after,
                        struct segment_info *ret)
{
	char name[SEGMENT_NAME_BYTES];
	struct folder f;
	size_t i = 0;

	int r = folder_open(&f, dir);
	if (r < 0)
		return r;
	for (; i < f.count; i++) {
		segment_name(f.firsts[i], name);
		if (f.firsts[i] > after && faccessat(f.fd, name, F_OK, 0) == 0)
			break;
	}
	r = i < f.count ? inspect(&f, kind, i, ret) : 0;
	folder_close(&f);
	return r;
}

int segment_stored(const char *dir, uint64_t *ret)
{
	char name[SEGMENT_NAME_BYTES];
	struct folder f;
	struct stat st;

	int r = folder_open(&f, dir);
	if (r < 0)
		return r;
	*ret = 0;
	for (size_t i = 0; i < f.count; i++) {
		segment_name(f.firsts[i], name);
		if (fstatat(f.fd, name, &st, 0) == 0)
			*ret += (uint64_t)st.st_size;
		segment_packed_name(f.firsts[i], name);
		if (fstatat(f.fd, name, &st, 0) == 0)
			*ret += (uint64_t)st.st_size;
	}
	folder_close(&f);
	return 0;
}

/* ---- compressing one ---- */

/* Proves the compressed file `name` of the segment, up to what follows it. 0, -EBADMSG or -errno. */
static int prove(int dir_fd, const char *dir, const char *name, enum segment_kind kind,
                 const struct segment_info *info, char *error, size_t error_size)
{
	struct scan s, next;
	struct record record;

	int r = scan_open_file(dir_fd, dir, name, true, kind, info->first, &s, error, error_size);
	if (r < 0)
		return r;
	while ((r = scan_next(&s, &record, error, error_size)) > 0)
		;
	if (r == 0) {
		r = scan_open(dir_fd, dir, kind, info->next, &next, error, error_size);
		if (r == 0)
			r = segment_error(error, error_size, -EBADMSG,
			                  "%s/%020" PRIu64 ".log: the segment has no header", dir,
			                  info->next);
		if (r > 0) {
			const char *wrong = scan_check_seam(&s, &next);
			r = wrong ? segment_error(error, error_size, -EBADMSG,
			                          "%s: offset %" PRIu64 ": sequence %" PRIu64
			                          ": its end does not lead to the next segment",
			                          s.path, s.offset, s.next)
			          : 0;
			scan_close(&next);
		}
	}
	scan_close(&s);
	return r;
}

static int write_packed(int dir_fd, const char *plain, const char *temporary, int level,
                        const atomic_bool *stop)
{
	struct stat st = {0};
	int in = openat(dir_fd, plain, O_RDONLY | O_CLOEXEC);
	int out = in < 0 ? -1
	                 : openat(dir_fd, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	int r = out < 0 || fstat(in, &st) < 0 ? -errno : 0;

	if (r == 0)
		r = pack_file(in, (uint64_t)st.st_size, out, level, stop);
	if (r == 0)
		r = file_sync(out);
	if (out >= 0)
		close(out);
	if (in >= 0)
		close(in);
	return r;
}

/* Makes the compressed form of the segment, proven and under its name, the only one. */
static int pack(int dir_fd, const char *dir, enum segment_kind kind,
                const struct segment_info *info, int level, const atomic_bool *stop, char *error,
                size_t error_size)
{
	char plain[SEGMENT_NAME_BYTES], packed[SEGMENT_NAME_BYTES];
	char temporary[SEGMENT_NAME_BYTES + 4];
	int r = -ENOENT;

	segment_name(info->first, plain);
	segment_packed_name(info->first, packed);
	snprintf(temporary, sizeof(temporary), "%s.tmp", packed);
	if (info->packed)
		r = prove(dir_fd, dir, packed, kind, info, error, error_size);
	if (r < 0) {
		r = write_packed(dir_fd, plain, temporary, level, stop);
		if (r < 0)
			segment_error(error, error_size, r, "%s/%s: cannot be compressed: %s", dir,
			              plain, strerror(-r));
		else
			r = prove(dir_fd, dir, temporary, kind, info, error, error_size);
		if (r == 0 && renameat(dir_fd, temporary, dir_fd, packed) < 0)
			r = segment_error(error, error_size, -errno, "%s/%s: %s", dir, packed,
			                  strerror(errno));
		if (r < 0) {
			unlinkat(dir_fd, temporary, 0);
			return r;
		}
	}
	if (fsync(dir_fd) < 0 || unlinkat(dir_fd, plain, 0) < 0)
		return segment_error(error, error_size, -errno, "%s/%s: %s", dir, plain,
		                     strerror(errno));
	return 0;
}

int segment_pack(const char *dir, enum segment_kind kind, struct segment_info *info, int level,
                 const atomic_bool *stop, char *error, size_t error_size)
{
	char packed[SEGMENT_NAME_BYTES];
	struct stat st;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return segment_error(error, error_size, -errno, "%s: %s", dir, strerror(errno));
	int r = pack(fd, dir, kind, info, level, stop, error, error_size);
	if (r == 0) {
		segment_packed_name(info->first, packed);
		info->plain = false;
		info->packed = true;
		info->stored = fstatat(fd, packed, &st, 0) == 0 ? (uint64_t)st.st_size : 0;
	}
	close(fd);
	return r;
}
