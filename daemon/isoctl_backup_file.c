/* Why not an archive library: of tar this needs one kind of member, and must be strict about it. Whatever a name could do
 * (leave the folder, be a link, replace another) is refused before anything is written. */
#include "isoctl_backup_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/path.h"

#define BLOCK       ((size_t)512)
#define CHUNK       ((size_t)128 << 10)
#define LEVEL       3
#define WINDOW_LOG  23                 /* 8 MiB: what a stranger's file can make us reserve */
#define SUMS_MAX    ((size_t)64 << 20) /* half a million members */
#define OCTAL_MAX   UINT64_C(077777777777)
#define SIZE_FIELD  12
#define REGULAR     '0'
#define ZERO_BLOCKS 2 /* end an archive */

/* The header's fields by offset and length. */
enum {
	AT_NAME = 0,
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_TIME = 136,
	AT_SUM = 148,
	AT_TYPE = 156,
	AT_MAGIC = 257,
	AT_PREFIX = 345,
};

bool backup_name_ok(struct str name)
{
	bool begins = true;

	if (name.n == 0 || name.n > BACKUP_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		             (c >= '0' && c <= '9') || c == '-' || c == '_';
		if (!plain && (begins || (c != '.' && c != '/')))
			return false;
		begins = c == '/';
	}
	return !begins;
}

/* ---- headers ---- */

static const char magic[] = {'u', 's', 't', 'a', 'r', '\0', '0', '0'};

static unsigned header_sum(const char *header)
{
	unsigned sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= AT_SUM && i < AT_SUM + 8 ? ' ' : (unsigned char)header[i];
	return sum;
}

static void header_encode(char header[static BLOCK], struct str name, uint64_t size,
                          uint64_t time_ns)
{
	memset(header, 0, BLOCK);
	memcpy(header + AT_NAME, name.p, name.n);
	snprintf(header + AT_MODE, 8, "%07o", 0640);
	snprintf(header + AT_UID, 8, "%07o", 0);
	snprintf(header + AT_GID, 8, "%07o", 0);
	if (size <= OCTAL_MAX) {
		snprintf(header + AT_SIZE, SIZE_FIELD, "%011" PRIo64, size);
	} else {
		header[AT_SIZE] = (char)0x80;
		for (int i = 0; i < 8; i++)
			header[AT_SIZE + SIZE_FIELD - 1 - i] = (char)(size >> (8 * i));
	}
	snprintf(header + AT_TIME, 12, "%011" PRIo64, time_ns / NS_PER_SECOND & OCTAL_MAX);
	header[AT_TYPE] = REGULAR;
	memcpy(header + AT_MAGIC, magic, sizeof(magic));
	snprintf(header + AT_SUM, 8, "%06o", header_sum(header));
	header[AT_SUM + 7] = ' ';
}

static bool octal(const char *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		v = v << 3 | (uint64_t)(p[i] - '0');
	for (size_t rest = i; rest < n; rest++)
		if (p[rest] != '\0' && p[rest] != ' ')
			return false;
	*ret = v;
	return i > 0;
}

static bool member_size(const char *header, uint64_t *ret)
{
	const unsigned char *p = (const unsigned char *)header + AT_SIZE;
	uint64_t v = 0;

	if (p[0] != 0x80)
		return octal(header + AT_SIZE, SIZE_FIELD, ret);
	for (int i = 1; i < SIZE_FIELD; i++) {
		if (i < SIZE_FIELD - 8 && p[i])
			return false;
		v = v << 8 | p[i];
	}
	*ret = v;
	return v <= INT64_MAX;
}

/* NULL, or what is wrong with it. */
static const char *header_decode(const char header[static BLOCK], struct str *ret_name,
                                 uint64_t *ret_size)
{
	uint64_t sum;

	if (!octal(header + AT_SUM, 8, &sum) || sum != header_sum(header))
		return "a member's header is damaged";
	if (header[AT_TYPE] != REGULAR || header[AT_PREFIX] || !member_size(header, ret_size))
		return "it has members that no backup of isod's has";
	*ret_name = str_make(header + AT_NAME, strnlen(header + AT_NAME, BACKUP_NAME_MAX + 1));
	return backup_name_ok(*ret_name) ? NULL : "it has names that no backup of isod's has";
}

/* ---- writing ---- */

struct backup_writer {
	int fd;
	char *path, *part;
	ZSTD_CCtx *zstd;
	struct sha256 *hash;
	char name[BACKUP_NAME_MAX + 1];
	uint64_t size, left, bytes, members;
	struct buf sums;
	bool ended;
	char out[CHUNK];
};

int backup_writer_new(const char *path, struct backup_writer **ret)
{
	if (access(path, F_OK) == 0)
		return -EEXIST;
	char *part = xasprintf("%s.part", path);
	int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		int r = -errno;
		free(part);
		return r;
	}
	struct backup_writer *w = xcalloc(1, sizeof(*w));
	w->fd = fd;
	w->path = xstrdup(path);
	w->part = part;
	w->hash = sha256_new();
	w->zstd = ZSTD_createCCtx();
	if (!w->zstd)
		abort();
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
	buf_init(&w->sums, SUMS_MAX);
	*ret = w;
	return 0;
}

void backup_writer_free(struct backup_writer *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		close(w->fd);
	if (!w->ended)
		unlink(w->part);
	ZSTD_freeCCtx(w->zstd);
	sha256_free(w->hash);
	buf_release(&w->sums);
	free(w->path);
	free(w->part);
	free(w);
}

uint64_t backup_writer_bytes(const struct backup_writer *w)
{
	return w->bytes;
}

uint64_t backup_writer_members(const struct backup_writer *w)
{
	return w->members;
}

static int compress(struct backup_writer *w, struct str bytes, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = {.src = bytes.p, .size = bytes.n};
	size_t left;

	do {
		ZSTD_outBuffer out = {.dst = w->out, .size = sizeof(w->out)};
		left = ZSTD_compressStream2(w->zstd, &out, &in, end);
		if (ZSTD_isError(left))
			return -ENOMEM;
		int r = path_write_all(w->fd, str_make(w->out, out.pos));
		if (r < 0)
			return r;
	} while (in.pos < in.size || (end == ZSTD_e_end && left));
	return 0;
}

static int pad(struct backup_writer *w)
{
	static const char zeros[BLOCK];
	size_t over = (size_t)(w->size % BLOCK);

	return over ? compress(w, str_make(zeros, BLOCK - over), ZSTD_e_continue) : 0;
}

static int member_end(struct backup_writer *w)
{
	uint8_t digest[SHA256_BYTES];
	char hex[HEX_BYTES(SHA256_BYTES)];

	if (!w->name[0])
		return 0;
	if (w->left)
		return -EINVAL;
	sha256_end(w->hash, digest);
	int r = buf_printf(&w->sums, "%s  %s\n", hex_encode(digest, SHA256_BYTES, hex), w->name);
	w->name[0] = '\0';
	w->members++;
	return r < 0 ? r : pad(w);
}

int backup_writer_begin(struct backup_writer *w, struct str name, uint64_t size, uint64_t time_ns)
{
	char header[BLOCK];
	int r = member_end(w);

	if (r < 0)
		return r;
	if (!backup_name_ok(name) || size > INT64_MAX)
		return -EINVAL;
	memcpy(w->name, name.p, name.n);
	w->name[name.n] = '\0';
	w->size = w->left = size;
	sha256_begin(w->hash);
	header_encode(header, name, size, time_ns);
	return compress(w, str_make(header, BLOCK), ZSTD_e_continue);
}

int backup_writer_add(struct backup_writer *w, struct str bytes)
{
	if (bytes.n > w->left || !w->name[0])
		return -EINVAL;
	w->left -= bytes.n;
	w->bytes += bytes.n;
	sha256_add(w->hash, bytes);
	return compress(w, bytes, ZSTD_e_continue);
}

static int sync_folder(const char *path)
{
	char *copy = xstrdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return r;
}

int backup_writer_end(struct backup_writer *w)
{
	static const char zeros[ZERO_BLOCKS * BLOCK];
	uint64_t bytes = w->bytes;
	int r = member_end(w);

	struct buf sums = w->sums;
	buf_init(&w->sums, SUMS_MAX);
	if (r == 0)
		r = backup_writer_begin(w, STR(BACKUP_SUMS), sums.n, clock_now());
	if (r == 0)
		r = backup_writer_add(w, buf_str(&sums));
	buf_release(&sums);
	if (r == 0)
		r = member_end(w);
	w->bytes = bytes;
	w->members--;
	if (r == 0)
		r = compress(w, str_make(zeros, sizeof(zeros)), ZSTD_e_end);
	if (r == 0 && fsync(w->fd) < 0)
		r = -errno;
	if (r == 0 && close(w->fd) < 0)
		r = -errno;
	if (r == 0)
		w->fd = -1;
	/* Not over a file that came into being meanwhile. */
	if (r == 0 && link(w->part, w->path) < 0 &&
	    (errno == EEXIST || rename(w->part, w->path) < 0))
		r = -errno;
	if (r < 0)
		return r;
	unlink(w->part);
	w->ended = true;
	return sync_folder(w->path);
}

/* ---- restoring ---- */

struct reader {
	int fd, out;
	const char *into;
	ZSTD_DCtx *zstd;
	ZSTD_inBuffer in;
	bool file_ended, frame_ended;
	struct sha256 *hash;
	struct buf sums, told; /* ours, and those of the last member */
	char *made;            /* the folder that was made last */
	struct backup_restored done;
	char in_bytes[CHUNK], bytes[CHUNK];
};

/* Up to `n` decompressed bytes into r->bytes: fewer only at the end. NULL, or what is wrong. */
static const char *take(struct reader *r, size_t n, size_t *ret)
{
	ZSTD_outBuffer out = {.dst = r->bytes, .size = n};

	while (out.pos < n) {
		if (r->in.pos == r->in.size && !r->file_ended) {
			ssize_t got = read(r->fd, r->in_bytes, sizeof(r->in_bytes));
			if (got < 0 && errno == EINTR)
				continue;
			if (got < 0)
				return strerror(errno);
			r->file_ended = got == 0;
			r->in = (ZSTD_inBuffer){.src = r->in_bytes, .size = (size_t)got};
		}
		size_t before = out.pos;
		if (r->frame_ended && r->in.pos < r->in.size)
			return "something follows the archive";
		if (r->frame_ended)
			break;
		size_t left = ZSTD_decompressStream(r->zstd, &out, &r->in);
		if (ZSTD_isError(left))
			return "it is damaged, or no zstd file";
		r->frame_ended = left == 0;
		if (r->file_ended && !r->frame_ended && out.pos == before)
			return "it is cut off";
	}
	*ret = out.pos;
	return NULL;
}

static const char *take_all(struct reader *r, size_t n)
{
	size_t got = 0;
	const char *wrong = take(r, n, &got);

	return wrong ? wrong : got == n ? NULL : "it is cut off";
}

/* Creates the member's file and the folders it stands in. */
static const char *create(struct reader *r, struct str name)
{
	char *path = xasprintf("%s/%.*s", r->into, STR_FMT(name));
	char *folder = xstrdup(path);
	int e = 0;

	*strrchr(folder, '/') = '\0';
	if (!r->made || strcmp(r->made, folder) != 0)
		e = path_make_dirs(folder, 0750);
	free(r->made);
	r->made = folder;
	r->out =
		e < 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (e == 0 && r->out < 0)
		e = -errno;
	free(path);
	return e < 0 ? strerror(-e) : NULL;
}

/* `size` bytes of content and what pads them, into the member's file or, for the sums, into memory. */
static const char *content(struct reader *r, uint64_t size)
{
	size_t over = (size_t)(size % BLOCK);

	while (size) {
		size_t n = size < CHUNK ? (size_t)size : CHUNK;
		const char *wrong = take_all(r, n);
		if (wrong)
			return wrong;
		struct str bytes = str_make(r->bytes, n);
		sha256_add(r->hash, bytes);
		int e = r->out >= 0 ? path_write_all(r->out, bytes) : buf_add(&r->told, bytes);
		if (e < 0)
			return strerror(-e);
		size -= n;
	}
	return over ? take_all(r, BLOCK - over) : NULL;
}

static const char *unpack_member(struct reader *r, struct str name, uint64_t size)
{
	uint8_t digest[SHA256_BYTES];
	char hex[HEX_BYTES(SHA256_BYTES)];

	sha256_begin(r->hash);
	const char *wrong = create(r, name);
	if (!wrong)
		wrong = content(r, size);
	if (!wrong && fdatasync(r->out) < 0)
		wrong = strerror(errno);
	if (r->out >= 0)
		close(r->out);
	r->out = -1;
	if (wrong)
		return wrong;
	sha256_end(r->hash, digest);
	r->done.members++;
	r->done.bytes += size;
	return buf_printf(&r->sums, "%s  %.*s\n", hex_encode(digest, SHA256_BYTES, hex),
	                  STR_FMT(name)) < 0
	               ? "it has too many members"
	               : NULL;
}

/* The end: zero blocks and nothing more. */
static const char *archive_end(struct reader *r)
{
	size_t got = 1;
	const char *wrong = NULL;

	while (!wrong && got) {
		wrong = take(r, CHUNK, &got);
		for (size_t i = 0; !wrong && i < got; i++)
			if (r->bytes[i])
				wrong = "something follows the archive";
	}
	return wrong;
}

/* The last member: the digests as they were told when the backup was made. */
static const char *check_sums(struct reader *r, uint64_t size)
{
	if (size > SUMS_MAX)
		return "it has too many members";
	sha256_begin(r->hash);
	const char *wrong = content(r, size);
	if (!wrong)
		wrong = archive_end(r);
	if (!wrong && !str_eq(buf_str(&r->sums), buf_str(&r->told)))
		wrong = "a member's SHA-256 does not match";
	return wrong;
}

static const char *unpack_all(struct reader *r)
{
	char header[BLOCK];
	struct str name;
	uint64_t size;

	for (;;) {
		const char *wrong = take_all(r, BLOCK);
		if (wrong)
			return wrong;
		memcpy(header, r->bytes, BLOCK);
		if (header[0] == '\0')
			return "the digests are missing";
		wrong = header_decode(header, &name, &size);
		if (!wrong && str_eq(name, STR(BACKUP_SUMS)))
			return check_sums(r, size);
		if (!wrong)
			wrong = unpack_member(r, name, size);
		if (wrong)
			return wrong;
	}
}

int backup_unpack(const char *path, const char *into, struct backup_restored *ret, char *error,
                  size_t error_size)
{
	struct reader *r = xcalloc(1, sizeof(*r));
	int e = 0;

	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	r->out = -1;
	r->into = into;
	r->hash = sha256_new();
	r->zstd = ZSTD_createDCtx();
	if (!r->zstd)
		abort();
	ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, WINDOW_LOG);
	buf_init(&r->sums, SUMS_MAX);
	buf_init(&r->told, SUMS_MAX);
	const char *wrong = r->fd < 0 ? strerror(errno) : unpack_all(r);
	if (wrong) {
		snprintf(error, error_size, "%s: %s", path, wrong);
		e = -EBADMSG;
	} else {
		*ret = r->done;
	}
	if (r->fd >= 0)
		close(r->fd);
	ZSTD_freeDCtx(r->zstd);
	sha256_free(r->hash);
	buf_release(&r->sums);
	buf_release(&r->told);
	free(r->made);
	free(r);
	return e;
}
