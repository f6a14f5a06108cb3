/* A file is a mark, its key, the SHA-256 of the body, the body. Hyperscan trusts what it is given back, so a body is
 * used only when its digest is right: a torn or rotten file is compiled anew and replaced. */
#include "sigma/compile_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"

#define SUFFIX ".hs"
static const char mark[8] = "isodhs1\n";
#define HEADER (sizeof(mark) + 2 * SHA256_BYTES)

static char *path_of(const char *dir, const uint8_t key[static SHA256_BYTES])
{
	char hex[HEX_BYTES(SHA256_BYTES)];

	return xasprintf("%s/%s" SUFFIX, dir, hex_encode(key, SHA256_BYTES, hex));
}

static bool is_sound(struct str file, const uint8_t key[static SHA256_BYTES])
{
	uint8_t digest[SHA256_BYTES];
	struct str body = str_skip(file, HEADER);

	if (file.n < HEADER || memcmp(file.p, mark, sizeof(mark)) != 0 ||
	    memcmp(file.p + sizeof(mark), key, SHA256_BYTES) != 0)
		return false;
	sha256(&body, 1, digest);
	return memcmp(file.p + sizeof(mark) + SHA256_BYTES, digest, SHA256_BYTES) == 0;
}

int compile_cache_load(const char *dir, const uint8_t key[static SHA256_BYTES], struct buf *out)
{
	char *path = path_of(dir, key);
	struct buf file;

	buf_init(&file, COMPILE_CACHE_MAX);
	int r = path_read(path, &file);
	if (r == 0 && !is_sound(buf_str(&file), key))
		r = -EBADMSG;
	if (r == 0) {
		buf_consume(&file, HEADER);
		r = buf_add(out, buf_str(&file));
		(void)utimensat(AT_FDCWD, path, NULL, 0); /* in use: among the newest again */
	}
	buf_release(&file);
	free(path);
	return r;
}

struct aged {
	char *path;
	struct timespec at;
};

static int newest_first(const void *a, const void *b)
{
	const struct timespec *x = &((const struct aged *)a)->at,
			      *y = &((const struct aged *)b)->at;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? 1 : -1;
	return (x->tv_nsec < y->tv_nsec) - (x->tv_nsec > y->tv_nsec);
}

/* What cannot be removed stays. */
static void remove_oldest(const char *dir)
{
	static const char *const suffixes[] = {SUFFIX, NULL};
	char **paths;
	size_t count;

	if (path_list(dir, suffixes, &paths, &count) < 0)
		return;
	struct aged *files = xcalloc(count, sizeof(*files));
	for (size_t i = 0; i < count; i++) {
		struct stat st = {0};
		(void)stat(paths[i], &st);
		files[i] = (struct aged){paths[i], st.st_mtim};
	}
	qsort(files, count, sizeof(*files), newest_first);
	for (size_t i = COMPILE_CACHE_KEPT; i < count; i++)
		unlink(files[i].path);
	free(files);
	path_free_list(paths, count);
}

int compile_cache_save(const char *dir, const uint8_t key[static SHA256_BYTES], struct str body)
{
	uint8_t digest[SHA256_BYTES];
	char *path = path_of(dir, key);
	struct buf file;

	sha256(&body, 1, digest);
	buf_init(&file, COMPILE_CACHE_MAX);
	buf_append(&file, mark, sizeof(mark));
	buf_append(&file, key, SHA256_BYTES);
	buf_append(&file, digest, SHA256_BYTES);
	int r = buf_add(&file, body);
	if (r == 0)
		r = path_make_dirs(dir, 0700);
	if (r == 0)
		r = path_write_atomic(path, buf_str(&file), 0600);
	if (r == 0)
		remove_oldest(dir);
	buf_release(&file);
	free(path);
	return r;
}
