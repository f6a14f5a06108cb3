/* The shape of a segment: its name, its header, the checksum of a record. */
#include "log/segment_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

static const char magic[8] = {'I', 'S', 'O', 'D', 'L', 'O', 'G', '1'};

int segment_error(char *error, size_t error_size, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(error, error_size, format, ap);
	va_end(ap);
	return r;
}

uint32_t record_crc(uint32_t salt, uint32_t length, const char *p, size_t total)
{
	char field[4];

	put_le32(field, length);
	return crc32c(crc32c(salt, str_make(field, sizeof(field))), str_make(p + 8, total - 8));
}

void segment_header_encode(const struct segment_header *h, char out[static SEGMENT_HEADER_BYTES])
{
	memset(out, 0, SEGMENT_HEADER_BYTES);
	memcpy(out, magic, sizeof(magic));
	put_le32(out + 8, (uint32_t)h->kind);
	put_le64(out + 16, h->first);
	memcpy(out + 24, h->chain, SHA256_BYTES);
	put_le32(out + 56, h->salt);
	put_le32(out + 60, crc32c(0, str_make(out, 60)));
}

const char *segment_header_decode(const char in[static SEGMENT_HEADER_BYTES],
                                  struct segment_header *ret)
{
	uint32_t kind = get_le32(in + 8);

	if (memcmp(in, magic, sizeof(magic)) != 0)
		return "the header does not begin with ISODLOG1";
	if (get_le32(in + 60) != crc32c(0, str_make(in, 60)))
		return "the header's checksum does not match";
	if (kind != SEGMENT_EVIDENCE && kind != SEGMENT_LEDGER)
		return "the header names an unknown kind of log";
	if (get_le32(in + 12) != 0)
		return "the header has flags that this version does not know";
	ret->kind = (enum segment_kind)kind;
	ret->first = get_le64(in + 16);
	memcpy(ret->chain, in + 24, SHA256_BYTES);
	ret->salt = get_le32(in + 56);
	return NULL;
}

void segment_name(uint64_t first, char out[static SEGMENT_NAME_BYTES])
{
	snprintf(out, SEGMENT_NAME_BYTES, "%020" PRIu64 ".log", first);
}

void segment_packed_name(uint64_t first, char out[static SEGMENT_NAME_BYTES])
{
	snprintf(out, SEGMENT_NAME_BYTES, "%020" PRIu64 ".log" PACKED_SUFFIX, first);
}

static bool parse_name(const char *name, uint64_t *ret)
{
	struct str s = str_of(name);

	if (str_ends(s, STR(PACKED_SUFFIX)))
		s = str_head(s, s.n - strlen(PACKED_SUFFIX));
	return s.n == 24 && str_ends(s, STR(".log")) && str_to_u64(str_head(s, 20), ret) == 0 &&
	       *ret > 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static size_t sort_once(uint64_t *v, size_t count)
{
	size_t kept = 0;

	if (count)
		qsort(v, count, sizeof(*v), by_value);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || v[i] != v[i - 1])
			v[kept++] = v[i];
	return kept;
}

int segment_list(int dir_fd, uint64_t **ret, size_t *ret_count)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint64_t *firsts = NULL, first;
	size_t count = 0, cap = 0;
	struct dirent *d;

	if (!dir) {
		int r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while ((d = readdir(dir))) {
		if (!parse_name(d->d_name, &first))
			continue;
		xgrow(&firsts, &cap, count + 1, sizeof(*firsts));
		firsts[count++] = first;
	}
	closedir(dir);
	*ret = firsts;
	*ret_count = sort_once(firsts, count);
	return 0;
}

int segment_firsts(const char *dir, uint64_t **ret, size_t *ret_count)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int r = segment_list(fd, ret, ret_count);
	close(fd);
	return r;
}

/* ---- files ---- */

ssize_t file_read_at(int fd, void *p, size_t n, uint64_t offset)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pread(fd, (char *)p + done, n - done, (off_t)(offset + done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

int file_write_at(int fd, const char *p, size_t n, uint64_t offset, size_t *done)
{
	while (*done < n) {
		ssize_t r = pwrite(fd, p + *done, n - *done, (off_t)(offset + *done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -EIO; /* a regular file that takes nothing and says no why */
		*done += (size_t)r;
	}
	return 0;
}

int file_sync(int fd)
{
	while (fdatasync(fd) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}
