/* What a person does about a damaged ledger: everything behind the last good record is set aside, never deleted.
 *
 * Newest first, so that after a crash in between the log still ends where it was damaged and the cut can be repeated:
 * the segments behind the cut are moved into the folder, the one that holds it is linked into it, and then its good
 * beginning takes its place. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"
#include "log/segment_internal.h"

#define COPY_BYTES ((size_t)256 << 10)

struct cut {
	const char *dir;
	int dir_fd, aside_fd;
	enum segment_kind kind;
	uint64_t last;    /* the last sequence that is kept */
	struct scan scan; /* the segment that holds it, read up to it */
	bool packed;
};

/* Proves the segment that holds c->last up to it. */
static int find_end(struct cut *c, uint64_t first, char *error, size_t error_size)
{
	struct record record;

	int r = scan_open(c->dir_fd, c->dir, c->kind, first, &c->scan, error, error_size);
	if (r == 0)
		r = segment_error(error, error_size, -ERANGE,
		                  "%s: there is no sequence %" PRIu64 " to cut behind", c->dir,
		                  c->last);
	if (r < 0)
		return r;
	c->packed = c->scan.unpacker != NULL;
	while (c->scan.next <= c->last && (r = scan_next(&c->scan, &record, error, error_size)) > 0)
		;
	if (r > 0)
		return 0;
	if (r == 0)
		r = segment_error(error, error_size, -ERANGE,
		                  "%s: the log ends with sequence %" PRIu64, c->dir,
		                  c->scan.next - 1);
	scan_close(&c->scan);
	return r;
}

static int move_aside(const struct cut *c, uint64_t first, bool link_only)
{
	char names[2][SEGMENT_NAME_BYTES];

	segment_name(first, names[0]);
	segment_packed_name(first, names[1]);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int r = link_only ? linkat(c->dir_fd, names[i], c->aside_fd, names[i], 0)
		                  : renameat(c->dir_fd, names[i], c->aside_fd, names[i]);
		if (r < 0 && errno != ENOENT)
			return -errno;
	}
	return fsync(c->aside_fd) < 0 || fsync(c->dir_fd) < 0 ? -errno : 0;
}

/* The first `size` bytes of the segment's content to `out`. */
static int copy_content(const struct cut *c, uint64_t size, int out)
{
	struct unpacker *u = NULL;
	const char *why;
	uint64_t at = 0, whole;
	int r = c->packed ? unpacker_new(c->scan.fd, &u, &whole, &why) : 0;
	char *piece = xmalloc(COPY_BYTES);

	while (r == 0 && at < size) {
		size_t want = size - at < COPY_BYTES ? (size_t)(size - at) : COPY_BYTES, done = 0;
		ssize_t n = u ? unpacker_read(u, piece, want, &why)
		              : file_read_at(c->scan.fd, piece, want, at);
		if (n >= 0 && (size_t)n < want)
			n = -EIO;
		r = n < 0 ? (int)n : file_write_at(out, piece, want, at, &done);
		at += want;
	}
	free(piece);
	unpacker_free(u);
	return r < 0 ? r : file_sync(out);
}

/* Puts the good beginning into the place of the segment. */
static int replace(const struct cut *c, uint64_t first)
{
	char name[SEGMENT_NAME_BYTES], packed[SEGMENT_NAME_BYTES];
	char temporary[SEGMENT_NAME_BYTES + 4];

	segment_name(first, name);
	segment_packed_name(first, packed);
	snprintf(temporary, sizeof(temporary), "%s.cut", name);
	int fd = openat(c->dir_fd, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	int r = copy_content(c, c->scan.offset, fd);
	close(fd);
	if (r == 0 && renameat(c->dir_fd, temporary, c->dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(c->dir_fd, temporary, 0);
		return r;
	}
	if (fsync(c->dir_fd) < 0 || (unlinkat(c->dir_fd, packed, 0) < 0 && errno != ENOENT))
		return -errno;
	return 0;
}

static int write_note(const struct cut *c, const char *aside)
{
	char when[CLOCK_TEXT_MAX], head[HEX_BYTES(SHA256_BYTES)];
	char *path = xasprintf("%s/README", aside);
	char *text =
		xasprintf("%s: the log in %s was cut behind sequence %" PRIu64
	                  ", chain value %s.\nWhat stood behind it is in this folder; the first "
	                  "segment here also holds what was kept.\n",
	                  clock_format(clock_now(), when), c->dir, c->last,
	                  hex_encode(c->scan.chain, SHA256_BYTES, head));
	int r = path_write_atomic(path, str_of(text), 0640);

	free(text);
	free(path);
	return r;
}

static int set_aside(struct cut *c, const uint64_t *firsts, size_t count, size_t at,
                     const char *aside)
{
	int r = path_make_dirs(aside, 0750);

	c->aside_fd = r < 0 ? -1 : open(aside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && c->aside_fd < 0)
		r = -errno;
	if (r == 0)
		r = write_note(c, aside);
	for (size_t i = count; r == 0 && i-- > at + 1;)
		r = move_aside(c, firsts[i], false);
	if (r == 0 && c->scan.offset < c->scan.size) {
		r = move_aside(c, firsts[at], true);
		if (r == 0)
			r = replace(c, firsts[at]);
	}
	if (c->aside_fd >= 0)
		close(c->aside_fd);
	return r;
}

static int cut_folder(struct cut *c, char **ret_aside, char *error, size_t error_size)
{
	uint64_t *firsts = NULL;
	size_t count = 0, at = 0;

	int r = segment_list(c->dir_fd, &firsts, &count);
	while (at + 1 < count && firsts[at + 1] <= c->last)
		at++;
	if (r < 0)
		segment_error(error, error_size, r, "%s: %s", c->dir, strerror(-r));
	else if (count == 0 || firsts[at] > c->last)
		r = segment_error(error, error_size, -ERANGE,
		                  "%s: there is no sequence %" PRIu64 " to cut behind", c->dir,
		                  c->last);
	else
		r = find_end(c, firsts[at], error, error_size);
	if (r == 0 && at + 1 == count && c->scan.offset == c->scan.size) {
		r = segment_error(error, error_size, -ERANGE,
		                  "%s: nothing stands behind sequence %" PRIu64, c->dir, c->last);
		scan_close(&c->scan);
	} else if (r == 0) {
		char *aside = xasprintf("%s/cut-%" PRIu64 "-%" PRIu64, c->dir, c->last,
		                        clock_now() / NS_PER_SECOND);
		r = set_aside(c, firsts, count, at, aside);
		scan_close(&c->scan);
		if (r < 0) {
			segment_error(error, error_size, r, "%s: %s", aside, strerror(-r));
			free(aside);
		} else {
			*ret_aside = aside;
		}
	}
	free(firsts);
	return r;
}

int segment_cut(const char *dir, enum segment_kind kind, uint64_t last, char **ret_aside,
                char *error, size_t error_size)
{
	struct cut c = {.dir = dir, .kind = kind, .last = last, .aside_fd = -1};
	int r = 0;

	c.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.dir_fd < 0)
		return segment_error(error, error_size, -errno, "%s: %s", dir, strerror(errno));
	if (flock(c.dir_fd, LOCK_EX | LOCK_NB) < 0)
		r = segment_error(error, error_size, -errno, "%s: %s", dir,
		                  errno == EWOULDBLOCK ? "isod writes to it: stop it first"
		                                       : strerror(errno));
	else
		r = cut_folder(&c, ret_aside, error, error_size);
	close(c.dir_fd);
	return r;
}
