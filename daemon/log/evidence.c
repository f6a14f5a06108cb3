#include "log/evidence.h"

#include <errno.h>

#define EVIDENCE_VERSION    1
#define EVIDENCE_HEAD_BYTES 4
#define EVIDENCE_SOURCE_MAX 255 /* LISTENER/PEER: a name and an address */

uint64_t evidence_append(struct segment_log *l, uint64_t received_ns, const struct evidence *e)
{
	struct str source = str_head(e->source, EVIDENCE_SOURCE_MAX);
	/* Frames are limited far below by configuration; a record's own limit holds whatever that says. */
	struct str frame = str_head(e->frame, RECORD_BODY_MAX - EVIDENCE_HEAD_BYTES - source.n);
	uint8_t flags = frame.n < e->frame.n ? e->flags | EVIDENCE_TRUNCATED : e->flags;
	char head[EVIDENCE_HEAD_BYTES] = {EVIDENCE_VERSION, (char)flags, (char)source.n, 0};
	const struct str parts[] = {str_make(head, sizeof(head)), source, frame};

	return segment_append(l, received_ns, parts, sizeof(parts) / sizeof(parts[0]));
}

int evidence_parse(struct str body, struct evidence *ret)
{
	if (body.n < EVIDENCE_HEAD_BYTES || body.p[0] != EVIDENCE_VERSION)
		return -EBADMSG;
	size_t source = (uint8_t)body.p[2] | (size_t)(uint8_t)body.p[3] << 8;
	if (source > body.n - EVIDENCE_HEAD_BYTES)
		return -EBADMSG;
	*ret = (struct evidence){
		.source = str_make(body.p + EVIDENCE_HEAD_BYTES, source),
		.flags = (uint8_t)body.p[1],
		.frame = str_skip(body, EVIDENCE_HEAD_BYTES + source),
	};
	return 0;
}
