/* Written in one pass through a buffer of some hundred kilobytes, whatever the size of the state: a forked child that
 * had to double its memory would be the end of a full machine. zstd at its fastest level: it costs less time than
 * hashing what it saves, and a state is mostly zeros and repeated names. */
#include "officer/snapshot.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/mem.h"
#include "base/path.h"
#include "officer/save.h"

#define VERSION      1
#define HEADER_BYTES 56
#define LEVEL        1
#define BLOCK_BYTES  ((size_t)128 << 10)
#define WINDOW_LOG   23 /* 8 MiB: what a damaged header can make the reader ask for */
#define DIGITS       20
#define SUFFIX       ".snap"
#define UNFINISHED   ".tmp"

static const char magic[8] = {'I', 'S', 'O', 'D', 'S', 'N', 'A', 'P'};

/* ---- the folder ---- */

void snapshot_name(uint64_t sequence, char out[static SNAPSHOT_NAME_BYTES])
{
	snprintf(out, SNAPSHOT_NAME_BYTES, "%020" PRIu64 SUFFIX, sequence);
}

static bool parse_name(const char *name, uint64_t *ret)
{
	struct str s = str_of(name);

	return s.n == SNAPSHOT_NAME_BYTES - 1 && str_ends(s, STR(SUFFIX)) &&
	       str_to_u64(str_head(s, DIGITS), ret) == 0;
}

static int newest_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

int snapshot_list(const char *dir, uint64_t **ret, size_t *ret_count)
{
	DIR *d = opendir(dir);
	uint64_t *found = NULL, sequence = 0;
	size_t count = 0, cap = 0;
	const struct dirent *e;

	if (!d && errno != ENOENT)
		return -errno;
	while (d && (e = readdir(d))) {
		if (!parse_name(e->d_name, &sequence))
			continue;
		xgrow(&found, &cap, count + 1, sizeof(*found));
		found[count++] = sequence;
	}
	if (d)
		closedir(d);
	if (count)
		qsort(found, count, sizeof(*found), newest_first);
	*ret = found;
	*ret_count = count;
	return 0;
}

static void remove_in(const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);

	unlink(path);
	free(path);
}

static void remove_unfinished(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (str_ends(str_of(e->d_name), STR(SUFFIX UNFINISHED)))
			remove_in(dir, e->d_name);
	if (d)
		closedir(d);
}

uint64_t snapshot_prune(const char *dir, size_t keep)
{
	uint64_t *all = NULL, oldest = 0;
	size_t count = 0;
	char name[SNAPSHOT_NAME_BYTES];

	remove_unfinished(dir);
	if (snapshot_list(dir, &all, &count) < 0)
		return 0;
	if (keep && count >= keep)
		oldest = all[keep - 1];
	for (size_t i = keep; i < count; i++) {
		snapshot_name(all[i], name);
		remove_in(dir, name);
	}
	free(all);
	return oldest;
}

/* ---- writing ---- */

struct snapshot_tools {
	ZSTD_CCtx *zstd;
	struct sha256 *hash;
	int fd;
	char out[BLOCK_BYTES];
};

struct snapshot_tools *snapshot_tools_new(void)
{
	struct snapshot_tools *t = xcalloc(1, sizeof(*t));

	t->hash = sha256_new();
	t->zstd = ZSTD_createCCtx();
	if (!t->zstd)
		abort();
	ZSTD_CCtx_setParameter(t->zstd, ZSTD_c_compressionLevel, LEVEL);
	return t;
}

void snapshot_tools_free(struct snapshot_tools *t)
{
	if (!t)
		return;
	ZSTD_freeCCtx(t->zstd);
	sha256_free(t->hash);
	free(t);
}

static int put_hashed(struct snapshot_tools *t, struct str bytes)
{
	sha256_add(t->hash, bytes);
	return path_write_all(t->fd, bytes);
}

static int compress(struct snapshot_tools *t, struct str bytes, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = {.src = bytes.p, .size = bytes.n};
	size_t left;

	do {
		ZSTD_outBuffer out = {.dst = t->out, .size = sizeof(t->out)};
		left = ZSTD_compressStream2(t->zstd, &out, &in, end);
		if (ZSTD_isError(left))
			return -ENOMEM; /* the only thing that can fail in it */
		int r = put_hashed(t, str_make(t->out, out.pos));
		if (r < 0)
			return r;
	} while (in.pos < in.size || (end == ZSTD_e_end && left));
	return 0;
}

static int put_state(void *arg, struct str bytes)
{
	return compress(arg, bytes, ZSTD_e_continue);
}

static void encode_header(uint64_t sequence, const uint8_t chain[static SHA256_BYTES],
                          char out[static HEADER_BYTES])
{
	uint32_t version = htole32(VERSION), flags = 0;

	sequence = htole64(sequence);
	memcpy(out, magic, sizeof(magic));
	memcpy(out + 8, &version, 4);
	memcpy(out + 12, &flags, 4);
	memcpy(out + 16, &sequence, 8);
	memcpy(out + 24, chain, SHA256_BYTES);
}

static int write_file(struct snapshot_tools *t, const struct state *s,
                      const uint8_t chain[static SHA256_BYTES])
{
	char header[HEADER_BYTES];
	uint8_t digest[SHA256_BYTES];

	encode_header(s->sequence, chain, header);
	sha256_begin(t->hash);
	ZSTD_CCtx_reset(t->zstd, ZSTD_reset_session_only);
	int r = put_hashed(t, str_make(header, sizeof(header)));
	if (r == 0)
		r = state_save(s, put_state, t);
	if (r == 0)
		r = compress(t, STR_NONE, ZSTD_e_end);
	if (r < 0)
		return r;
	sha256_end(t->hash, digest);
	r = path_write_all(t->fd, str_make((const char *)digest, sizeof(digest)));
	return r == 0 && fsync(t->fd) < 0 ? -errno : r;
}

static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return r;
}

int snapshot_write(struct snapshot_tools *t, const char *dir, const struct state *s,
                   const uint8_t chain[static SHA256_BYTES])
{
	char name[SNAPSHOT_NAME_BYTES];
	int r = path_make_dirs(dir, 0750);

	if (r < 0)
		return r;
	snapshot_name(s->sequence, name);
	char *path = xasprintf("%s/%s", dir, name), *temporary = xasprintf("%s" UNFINISHED, path);
	t->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (t->fd < 0) {
		r = -errno;
	} else {
		r = write_file(t, s, chain);
		if (close(t->fd) < 0 && r == 0)
			r = -errno;
		if (r == 0 && rename(temporary, path) < 0)
			r = -errno;
		if (r < 0)
			unlink(temporary);
		else
			r = sync_dir(dir);
	}
	free(temporary);
	free(path);
	return r;
}

/* ---- loading ---- */

struct reading {
	int fd;
	uint64_t left; /* bytes of the file before its digest */
	struct sha256 *hash;
	ZSTD_DCtx *zstd;
	bool whole; /* the frame is */
	struct state_loader *loader;
	char in[BLOCK_BYTES], out[BLOCK_BYTES];
};

/* Exactly `n` bytes. 0, -EBADMSG at the file's end, -errno. */
static int get_raw(int fd, void *p, size_t n)
{
	while (n) {
		ssize_t got = read(fd, p, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EBADMSG;
		p = (char *)p + got;
		n -= (size_t)got;
	}
	return 0;
}

static const char *decode_header(const char in[static HEADER_BYTES], uint64_t sequence,
                                 uint8_t chain[static SHA256_BYTES])
{
	uint64_t told;
	uint32_t version;

	memcpy(&version, in + 8, 4);
	memcpy(&told, in + 16, 8);
	memcpy(chain, in + 24, SHA256_BYTES);
	if (memcmp(in, magic, sizeof(magic)) != 0)
		return "this is no snapshot";
	if (le32toh(version) != VERSION)
		return "another version of isod wrote this";
	return le64toh(told) == sequence ? NULL : "it is not of the sequence that its name tells";
}

/* Feeds what was decompressed. NULL or what is wrong. */
static const char *decompress(struct reading *r, struct str bytes)
{
	ZSTD_inBuffer in = {.src = bytes.p, .size = bytes.n};
	bool full = false;

	while (in.pos < in.size || full) {
		ZSTD_outBuffer out = {.dst = r->out, .size = sizeof(r->out)};
		if (r->whole)
			return "something follows the state";
		size_t left = ZSTD_decompressStream(r->zstd, &out, &in);
		if (ZSTD_isError(left))
			return "it cannot be decompressed";
		r->whole = left == 0;
		full = out.pos == out.size && !r->whole;
		if (state_loader_feed(r->loader, str_make(r->out, out.pos)) < 0)
			return state_loader_error(r->loader);
	}
	return NULL;
}

/* Everything behind the header. NULL or what is wrong. */
static const char *read_body(struct reading *r)
{
	uint8_t digest[SHA256_BYTES], told[SHA256_BYTES];
	const char *wrong = NULL;

	while (r->left && !wrong) {
		size_t n = r->left < sizeof(r->in) ? (size_t)r->left : sizeof(r->in);
		if (get_raw(r->fd, r->in, n) < 0)
			return "it cannot be read to its end";
		sha256_add(r->hash, str_make(r->in, n));
		r->left -= n;
		wrong = decompress(r, str_make(r->in, n));
	}
	if (wrong)
		return wrong;
	if (get_raw(r->fd, told, sizeof(told)) < 0)
		return "it cannot be read to its end";
	sha256_end(r->hash, digest);
	if (memcmp(digest, told, sizeof(digest)) != 0)
		return "its SHA-256 does not match";
	if (!r->whole)
		return "the state is cut off";
	return state_loader_end(r->loader) < 0 ? state_loader_error(r->loader) : NULL;
}

static const char *read_file(struct reading *r, uint64_t sequence,
                             uint8_t chain[static SHA256_BYTES])
{
	char header[HEADER_BYTES];
	struct stat st;

	if (fstat(r->fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_size < HEADER_BYTES + SHA256_BYTES || get_raw(r->fd, header, sizeof(header)) < 0)
		return "it is too short";
	const char *wrong = decode_header(header, sequence, chain);
	if (wrong)
		return wrong;
	r->left = (uint64_t)st.st_size - HEADER_BYTES - SHA256_BYTES;
	sha256_begin(r->hash);
	sha256_add(r->hash, str_make(header, sizeof(header)));
	return read_body(r);
}

int snapshot_load(const char *dir, uint64_t sequence, struct state *s,
                  uint8_t chain[static SHA256_BYTES], char *error, size_t error_size)
{
	char name[SNAPSHOT_NAME_BYTES];

	snapshot_name(sequence, name);
	char *path = xasprintf("%s/%s", dir, name);
	struct reading *r = xcalloc(1, sizeof(*r));
	const char *wrong;
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	r->hash = sha256_new();
	r->zstd = ZSTD_createDCtx();
	r->loader = state_loader_new(s);
	if (!r->zstd)
		abort();
	ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, WINDOW_LOG);
	wrong = r->fd < 0 ? strerror(errno) : read_file(r, sequence, chain);
	if (!wrong && s->sequence != sequence)
		wrong = "its state is of another sequence";
	if (wrong)
		snprintf(error, error_size, "%s: %s", path, wrong);
	if (r->fd >= 0)
		close(r->fd);
	state_loader_free(r->loader);
	ZSTD_freeDCtx(r->zstd);
	sha256_free(r->hash);
	free(r);
	free(path);
	return wrong ? -EBADMSG : 0;
}
