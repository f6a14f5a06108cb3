/* gzip undone within bounds: however little unpacks to however much, no more memory is taken than the cap of the buffer
 * allows, and what unpacks like nothing honest does is given up as soon as that shows. */
#include <errno.h>
#include <zlib.h>

#include "ingest/hec_parse.h"

#define STEP     ((size_t)64 << 10)
#define GZIP_BIT 16 /* added to the window: gzip's frame, not zlib's */

/* By what has been read so far: it shows long before the end. */
static bool is_bomb(size_t in, size_t out)
{
	return out > HEC_RATIO_FREE && out / HEC_RATIO_MAX > in;
}

/* Unpacks until the end of the input. */
static int unpack(z_stream *z, size_t in_bytes, struct buf *out)
{
	size_t begin = out->n;
	int r = Z_OK;

	for (;;) {
		size_t room = out->max ? out->max - out->n : STEP;
		if (room > STEP)
			room = STEP;
		/* At the cap one byte more shows whether there is more. */
		char beyond = 0;
		bool full = room == 0;
		if (!full && buf_reserve(out, room) < 0)
			return -EFBIG;
		z->next_out = (Bytef *)(full ? &beyond : out->p + out->n);
		z->avail_out = full ? 1 : (uInt)room;
		r = inflate(z, Z_NO_FLUSH);
		size_t got = (full ? 1 : room) - z->avail_out;
		if (full && got)
			return -EFBIG;
		out->n += full ? 0 : got;
		if (is_bomb(in_bytes - z->avail_in, out->n - begin))
			return -E2BIG;
		if (r == Z_STREAM_END && z->avail_in == 0)
			return 0;
		if (r == Z_STREAM_END) /* another member */
			r = inflateReset(z);
		if (r != Z_OK)
			return -EBADMSG;
	}
}

int hec_gunzip(struct str in, struct buf *out)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n};

	if (in.n > UINT32_MAX)
		return -EFBIG;
	if (inflateInit2(&z, MAX_WBITS + GZIP_BIT) != Z_OK)
		return -ENOMEM;
	int r = unpack(&z, in.n, out);
	inflateEnd(&z);
	return r;
}
