/* The bytes of a compressed segment: one zstd frame (RFC 8878), so that `zstd -d` gives the .log back. It is read and
 * written as a stream, in memory that depends on WINDOW_LOG and not on the segment's size; and only forward, which is
 * how a log is proven anyway. */
#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/mem.h"
#include "log/segment_internal.h"

#define WINDOW_LOG     21 /* written: 2 MiB, with which every level stays under some 60 MiB of memory */
#define WINDOW_LOG_MAX 23 /* read: 8 MiB, what RFC 8878 §3.1.1.1.2 asks every decoder to support */
#define PIECE_BYTES    ((size_t)128 << 10) /* of a file, at once */

/* ---- reading ---- */

struct unpacker {
	ZSTD_DCtx *ctx;
	int fd;
	uint64_t offset; /* in the file, of what is read next */
	bool done;       /* the frame's end was reached and is good */
	ZSTD_inBuffer in;
	char piece[PIECE_BYTES];
};

/* Bytes now in u->in, 0 at the file's end, -errno. */
static ssize_t refill(struct unpacker *u)
{
	ssize_t n = file_read_at(u->fd, u->piece, sizeof(u->piece), u->offset);

	if (n < 0)
		return n;
	u->offset += (uint64_t)n;
	u->in = (ZSTD_inBuffer){u->piece, (size_t)n, 0};
	return n;
}

int unpacker_new(int fd, struct unpacker **ret, uint64_t *ret_size, const char **ret_why)
{
	struct unpacker *u = xcalloc(1, sizeof(*u));

	u->fd = fd;
	u->ctx = ZSTD_createDCtx();
	if (!u->ctx ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(u->ctx, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
		abort(); /* no memory */
	ssize_t n = refill(u);
	unsigned long long size = n < 0 ? 0 : ZSTD_getFrameContentSize(u->piece, (size_t)n);
	if (n >= 0 && (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN)) {
		*ret_why = size == ZSTD_CONTENTSIZE_ERROR ? "the file does not begin a zstd frame"
		                                          : "the zstd frame does not tell its size";
		n = -EBADMSG;
	}
	if (n < 0) {
		unpacker_free(u);
		return (int)n;
	}
	*ret = u;
	*ret_size = size;
	return 0;
}

void unpacker_free(struct unpacker *u)
{
	if (!u)
		return;
	ZSTD_freeDCtx(u->ctx);
	free(u);
}

/* The frame has ended: nothing may follow it. */
static int prove_end(struct unpacker *u, const char **ret_why)
{
	ssize_t n = u->in.pos < u->in.size ? 1 : refill(u);

	if (n < 0)
		return (int)n;
	if (n > 0) {
		*ret_why = "something follows the zstd frame";
		return -EBADMSG;
	}
	u->done = true;
	return 0;
}

ssize_t unpacker_read(struct unpacker *u, char *p, size_t n, const char **ret_why)
{
	ZSTD_outBuffer out = {p, n, 0};

	while (!u->done && out.pos < out.size) {
		if (u->in.pos == u->in.size) {
			ssize_t got = refill(u);
			if (got == 0)
				*ret_why = "the compressed file is cut short";
			if (got <= 0)
				return got < 0 ? got : -EBADMSG;
		}
		size_t left = ZSTD_decompressStream(u->ctx, &out, &u->in);
		if (ZSTD_isError(left)) {
			*ret_why = ZSTD_getErrorName(left);
			return -EBADMSG;
		}
		if (left == 0) {
			int r = prove_end(u, ret_why);
			if (r < 0)
				return r;
		}
	}
	return (ssize_t)out.pos;
}

/* ---- writing ---- */

static ZSTD_CCtx *compressor(uint64_t size, int level)
{
	ZSTD_CCtx *ctx = ZSTD_createCCtx();

	if (!ctx || ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, level)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, WINDOW_LOG)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1)) ||
	    ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(ctx, size)))
		abort(); /* no memory, or a level that the options do not allow */
	return ctx;
}

/* Compresses one piece, the last one with the frame's end. */
static int pack_piece(ZSTD_CCtx *ctx, struct str piece, bool last, int out, uint64_t *offset,
                      char *buffer)
{
	ZSTD_inBuffer in = {piece.p, piece.n, 0};
	size_t left;

	do {
		ZSTD_outBuffer packed = {buffer, PIECE_BYTES, 0};
		size_t done = 0;
		left = ZSTD_compressStream2(ctx, &packed, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return -EIO;
		int r = file_write_at(out, buffer, packed.pos, *offset, &done);
		if (r < 0)
			return r;
		*offset += packed.pos;
	} while (last ? left > 0 : in.pos < in.size);
	return 0;
}

int pack_file(int in, uint64_t size, int out, int level, const atomic_bool *stop)
{
	ZSTD_CCtx *ctx = compressor(size, level);
	char *plain = xmalloc(PIECE_BYTES), *packed = xmalloc(PIECE_BYTES);
	uint64_t at = 0, written = 0;
	int r = 0;

	do {
		size_t want = size - at < PIECE_BYTES ? (size_t)(size - at) : PIECE_BYTES;
		ssize_t n = file_read_at(in, plain, want, at);
		if (n >= 0 && (size_t)n < want)
			n = -EIO; /* shorter than it was a moment ago */
		if (stop && atomic_load(stop))
			n = -ECANCELED;
		r = n < 0 ? (int)n
		          : pack_piece(ctx, str_make(plain, want), at + want == size, out, &written,
		                       packed);
		at += want;
	} while (r == 0 && at < size);
	free(plain);
	free(packed);
	ZSTD_freeCCtx(ctx);
	return r;
}
