/* The end of a segment's life. A ledger's oldest segments go only after `begins` tells that they will: a crash in
 * between leaves more than it tells, never less. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "log/segment_internal.h"

#define BEGINS_WORDS "ISODLOG1 begins "

static int parse_begins(struct str text, uint64_t *ret_first,
                        uint8_t ret_chain[static SHA256_BYTES])
{
	uint64_t first;
	uint8_t chain[SHA256_BYTES];

	if (!str_starts(text, STR(BEGINS_WORDS)) || !str_ends(text, STR("\n")))
		return -EBADMSG;
	text = str_head(str_skip(text, strlen(BEGINS_WORDS)), text.n - strlen(BEGINS_WORDS) - 1);
	size_t digits = 0;
	while (digits < text.n && text.p[digits] != ' ')
		digits++;
	if (digits == text.n || str_to_u64(str_head(text, digits), &first) < 0 || first < 2 ||
	    hex_decode(str_skip(text, digits + 1), chain, SHA256_BYTES) < 0)
		return -EBADMSG;
	*ret_first = first;
	memcpy(ret_chain, chain, SHA256_BYTES);
	return 0;
}

int segment_begins(int dir_fd, uint64_t *ret_first, uint8_t ret_chain[static SHA256_BYTES])
{
	char text[BEGINS_BYTES];
	int fd = openat(dir_fd, BEGINS_FILE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	ssize_t n = file_read_at(fd, text, sizeof(text), 0);
	close(fd);
	if (n < 0)
		return (int)n;
	int r = parse_begins(str_make(text, (size_t)n), ret_first, ret_chain);
	return r < 0 ? r : 1;
}

/* The chain value that the segment `first` begins with. */
static int chain_before(const char *dir, int dir_fd, enum segment_kind kind, uint64_t first,
                        uint8_t ret[static SHA256_BYTES], char *error, size_t error_size)
{
	struct scan s;

	int r = scan_open(dir_fd, dir, kind, first, &s, error, error_size);
	if (r == 0)
		return segment_error(error, error_size, -EBADMSG,
		                     "%s/%020" PRIu64 ".log: the segment has no header", dir,
		                     first);
	if (r < 0)
		return r;
	memcpy(ret, s.header.chain, SHA256_BYTES);
	scan_close(&s);
	return 0;
}

static int write_begins(const char *dir, int dir_fd, uint64_t first, char *error, size_t error_size)
{
	uint8_t chain[SHA256_BYTES];
	char hex[HEX_BYTES(SHA256_BYTES)];

	int r = chain_before(dir, dir_fd, SEGMENT_LEDGER, first, chain, error, error_size);
	if (r < 0)
		return r;
	char *path = xasprintf("%s/" BEGINS_FILE, dir);
	char *text = xasprintf(BEGINS_WORDS "%" PRIu64 " %s\n", first,
	                       hex_encode(chain, SHA256_BYTES, hex));
	r = path_write_atomic(path, str_of(text), 0640);
	if (r < 0)
		segment_error(error, error_size, r, "%s: %s", path, strerror(-r));
	free(path);
	free(text);
	return r;
}

static int remove_forms(const char *dir, int dir_fd, uint64_t first, char *error, size_t error_size)
{
	char names[2][SEGMENT_NAME_BYTES];

	segment_packed_name(first, names[0]);
	segment_name(first, names[1]);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (unlinkat(dir_fd, names[i], 0) < 0 && errno != ENOENT)
			return segment_error(error, error_size, -errno, "%s/%s: %s", dir, names[i],
			                     strerror(errno));
	return fsync(dir_fd) < 0
	               ? segment_error(error, error_size, -errno, "%s: %s", dir, strerror(errno))
	               : 0;
}

int segment_remove(const char *dir, enum segment_kind kind, const struct segment_info *info,
                   char *error, size_t error_size)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return segment_error(error, error_size, -errno, "%s: %s", dir, strerror(errno));
	int r = kind == SEGMENT_LEDGER ? write_begins(dir, fd, info->next, error, error_size) : 0;
	if (r == 0)
		r = remove_forms(dir, fd, info->first, error, error_size);
	close(fd);
	return r;
}
