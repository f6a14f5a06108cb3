#include "log/evidence.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define EVIDENCE_VERSION      1
#define EVIDENCE_VERSION_2    2
#define EVIDENCE_HEAD_BYTES   4
#define EVIDENCE_NUMBER_BYTES 8
#define EVIDENCE_LOSS_BYTES   12
#define EVIDENCE_META_BYTES   2   /* its length */
#define EVIDENCE_SOURCE_MAX   255 /* LISTENER/PEER: a name and an address */

/* Those that an older isod would misread. */
#define FLAGS_2 (EVIDENCE_NUMBERED | EVIDENCE_LOSS | EVIDENCE_META)

static uint64_t append_loss(struct segment_log *l, uint64_t received_ns, const struct evidence *e)
{
	struct str source = str_head(e->source, EVIDENCE_SOURCE_MAX);
	uint32_t loss = htole32((uint32_t)e->loss);
	uint64_t lost = htole64(e->lost);
	char head[EVIDENCE_HEAD_BYTES] = {EVIDENCE_VERSION_2, EVIDENCE_LOSS, (char)source.n, 0};
	const struct str parts[] = {str_make(head, sizeof(head)), source,
	                            str_make((const char *)&loss, sizeof(loss)),
	                            str_make((const char *)&lost, sizeof(lost))};

	return segment_append(l, received_ns, parts, sizeof(parts) / sizeof(parts[0]));
}

uint64_t evidence_append(struct segment_log *l, uint64_t received_ns, const struct evidence *e)
{
	if (e->flags & EVIDENCE_LOSS)
		return append_loss(l, received_ns, e);
	struct str source = str_head(e->source, EVIDENCE_SOURCE_MAX);
	bool numbered = e->flags & EVIDENCE_NUMBERED;
	uint64_t sequence = htole64(e->sequence);
	struct str number = {(const char *)&sequence, numbered ? sizeof(sequence) : 0};
	bool has_meta = e->flags & EVIDENCE_META;
	struct str meta = has_meta ? str_head(e->meta, EVIDENCE_META_MAX) : STR_NONE;
	const char meta_bytes[EVIDENCE_META_BYTES] = {(char)meta.n, (char)(meta.n >> 8)};
	struct str meta_length = {meta_bytes, has_meta ? sizeof(meta_bytes) : 0};
	/* Frames are limited far below by configuration; a record's own limit holds whatever that says. */
	struct str frame = str_head(e->frame, RECORD_BODY_MAX - EVIDENCE_HEAD_BYTES - source.n -
	                                              number.n - meta_length.n - meta.n);
	uint8_t flags = frame.n < e->frame.n ? e->flags | EVIDENCE_TRUNCATED : e->flags;
	char version = e->flags & FLAGS_2 ? EVIDENCE_VERSION_2 : EVIDENCE_VERSION;
	char head[EVIDENCE_HEAD_BYTES] = {version, (char)flags, (char)source.n, 0};
	const struct str parts[] = {
		str_make(head, sizeof(head)), source, number, meta_length, meta, frame};

	return segment_append(l, received_ns, parts, sizeof(parts) / sizeof(parts[0]));
}

/* Behind the source, nothing else. */
static int parse_loss(struct str rest, struct evidence *ret)
{
	uint32_t loss;
	uint64_t lost;

	if (ret->flags != EVIDENCE_LOSS || rest.n != EVIDENCE_LOSS_BYTES)
		return -EBADMSG;
	memcpy(&loss, rest.p, sizeof(loss));
	memcpy(&lost, rest.p + sizeof(loss), sizeof(lost));
	ret->loss = (enum evidence_loss)le32toh(loss);
	ret->lost = le64toh(lost);
	return 0;
}

int evidence_parse(struct str body, struct evidence *ret)
{
	uint64_t sequence = 0;

	if (body.n < EVIDENCE_HEAD_BYTES)
		return -EBADMSG;
	uint8_t flags = (uint8_t)body.p[1];
	bool numbered = flags & EVIDENCE_NUMBERED;
	if (body.p[0] != (flags & FLAGS_2 ? EVIDENCE_VERSION_2 : EVIDENCE_VERSION))
		return -EBADMSG;
	size_t source = (uint8_t)body.p[2] | (size_t)(uint8_t)body.p[3] << 8;
	size_t number = numbered ? EVIDENCE_NUMBER_BYTES : 0;
	if (source + number > body.n - EVIDENCE_HEAD_BYTES)
		return -EBADMSG;
	struct str rest = str_skip(body, EVIDENCE_HEAD_BYTES + source);
	if (flags & EVIDENCE_LOSS) {
		struct evidence e = {.source = str_make(body.p + EVIDENCE_HEAD_BYTES, source),
		                     .flags = flags};
		int r = parse_loss(rest, &e);
		if (r == 0)
			*ret = e;
		return r;
	}
	if (numbered)
		memcpy(&sequence, rest.p, sizeof(sequence));
	rest = str_skip(rest, number);
	struct str meta = STR_NONE;
	if (flags & EVIDENCE_META) {
		size_t n = rest.n < EVIDENCE_META_BYTES
		                   ? SIZE_MAX
		                   : (uint8_t)rest.p[0] | (size_t)(uint8_t)rest.p[1] << 8;
		if (n > EVIDENCE_META_MAX || n > rest.n - EVIDENCE_META_BYTES)
			return -EBADMSG;
		meta = str_make(rest.p + EVIDENCE_META_BYTES, n);
		rest = str_skip(rest, EVIDENCE_META_BYTES + n);
	}
	*ret = (struct evidence){
		.source = str_make(body.p + EVIDENCE_HEAD_BYTES, source),
		.flags = flags,
		.frame = rest,
		.meta = meta,
		.sequence = le64toh(sequence),
	};
	return 0;
}
