#include "log/evidence.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define EVIDENCE_VERSION          1
#define EVIDENCE_VERSION_NUMBERED 2
#define EVIDENCE_HEAD_BYTES       4
#define EVIDENCE_NUMBER_BYTES     8
#define EVIDENCE_SOURCE_MAX       255 /* LISTENER/PEER: a name and an address */

uint64_t evidence_append(struct segment_log *l, uint64_t received_ns, const struct evidence *e)
{
	struct str source = str_head(e->source, EVIDENCE_SOURCE_MAX);
	bool numbered = e->flags & EVIDENCE_NUMBERED;
	uint64_t sequence = htole64(e->sequence);
	struct str number = {(const char *)&sequence, numbered ? sizeof(sequence) : 0};
	/* Frames are limited far below by configuration; a record's own limit holds whatever that says. */
	struct str frame =
		str_head(e->frame, RECORD_BODY_MAX - EVIDENCE_HEAD_BYTES - source.n - number.n);
	uint8_t flags = frame.n < e->frame.n ? e->flags | EVIDENCE_TRUNCATED : e->flags;
	char version = numbered ? EVIDENCE_VERSION_NUMBERED : EVIDENCE_VERSION;
	char head[EVIDENCE_HEAD_BYTES] = {version, (char)flags, (char)source.n, 0};
	const struct str parts[] = {str_make(head, sizeof(head)), source, number, frame};

	return segment_append(l, received_ns, parts, sizeof(parts) / sizeof(parts[0]));
}

int evidence_parse(struct str body, struct evidence *ret)
{
	uint64_t sequence = 0;

	if (body.n < EVIDENCE_HEAD_BYTES)
		return -EBADMSG;
	uint8_t flags = (uint8_t)body.p[1];
	bool numbered = flags & EVIDENCE_NUMBERED;
	if (body.p[0] != (numbered ? EVIDENCE_VERSION_NUMBERED : EVIDENCE_VERSION))
		return -EBADMSG;
	size_t source = (uint8_t)body.p[2] | (size_t)(uint8_t)body.p[3] << 8;
	size_t number = numbered ? EVIDENCE_NUMBER_BYTES : 0;
	if (source + number > body.n - EVIDENCE_HEAD_BYTES)
		return -EBADMSG;
	struct str rest = str_skip(body, EVIDENCE_HEAD_BYTES + source);
	if (numbered)
		memcpy(&sequence, rest.p, sizeof(sequence));
	*ret = (struct evidence){
		.source = str_make(body.p + EVIDENCE_HEAD_BYTES, source),
		.flags = flags,
		.frame = str_skip(rest, number),
		.sequence = le64toh(sequence),
	};
	return 0;
}
