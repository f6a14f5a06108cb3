#include "log/evidence.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define EVIDENCE_VERSION      1
#define EVIDENCE_VERSION_2    2
#define EVIDENCE_VERSION_3    3
#define EVIDENCE_HEAD_BYTES   4
#define EVIDENCE_NUMBER_BYTES 8
#define EVIDENCE_LOSS_BYTES   12
#define EVIDENCE_META_BYTES   2   /* its length */
#define EVIDENCE_PEER_BYTES   4   /* how far back, length */
#define EVIDENCE_SOURCE_MAX   255 /* LISTENER/PEER: a name and an address */

/* Those that an older isod would misread. */
#define FLAGS_2 (EVIDENCE_NUMBERED | EVIDENCE_LOSS | EVIDENCE_META)

static char version_of(uint8_t flags)
{
	if (flags & EVIDENCE_PEER)
		return EVIDENCE_VERSION_3;
	return flags & FLAGS_2 ? EVIDENCE_VERSION_2 : EVIDENCE_VERSION;
}

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

/* What is written of the peer: into `out`, which stands in front of the identity if that is told too. */
static size_t place_peer(const struct segment_log *l, struct evidence_peer *p,
                         char out[static EVIDENCE_PEER_BYTES], bool *ret_tell)
{
	uint64_t sequence = segment_next(l), back = sequence - p->told;

	*ret_tell = p->told == 0 || p->told < segment_first(l) || back > EVIDENCE_BACK_MAX;
	uint16_t fields[2] = {*ret_tell ? 0 : htole16((uint16_t)back),
	                      htole16((uint16_t)p->identity.n)};
	memcpy(out, fields, sizeof(fields));
	if (*ret_tell)
		p->told = sequence;
	return *ret_tell ? sizeof(fields) : sizeof(fields[0]);
}

uint64_t evidence_append(struct segment_log *l, uint64_t received_ns, const struct evidence *e)
{
	if (e->flags & EVIDENCE_LOSS)
		return append_loss(l, received_ns, e);
	struct str source = str_head(e->source, EVIDENCE_SOURCE_MAX);
	bool numbered = e->flags & EVIDENCE_NUMBERED, tell = false;
	uint64_t sequence = htole64(e->sequence);
	struct str number = {(const char *)&sequence, numbered ? sizeof(sequence) : 0};
	char peer[EVIDENCE_PEER_BYTES];
	size_t peer_bytes = e->peer ? place_peer(l, e->peer, peer, &tell) : 0;
	struct str identity = tell ? e->peer->identity : STR_NONE;
	bool has_meta = e->flags & EVIDENCE_META;
	struct str meta = has_meta ? str_head(e->meta, EVIDENCE_META_MAX) : STR_NONE;
	const char meta_bytes[EVIDENCE_META_BYTES] = {(char)meta.n, (char)(meta.n >> 8)};
	struct str meta_length = {meta_bytes, has_meta ? sizeof(meta_bytes) : 0};
	/* Frames are limited far below by configuration; a record's own limit holds whatever that says. */
	struct str frame =
		str_head(e->frame, RECORD_BODY_MAX - EVIDENCE_HEAD_BYTES - source.n - number.n -
	                                   peer_bytes - identity.n - meta_length.n - meta.n);
	uint8_t flags = frame.n < e->frame.n ? e->flags | EVIDENCE_TRUNCATED : e->flags;
	flags = e->peer ? flags | EVIDENCE_PEER : flags;
	char head[EVIDENCE_HEAD_BYTES] = {version_of(flags), (char)flags, (char)source.n, 0};
	const struct str parts[] = {str_make(head, sizeof(head)),
	                            source,
	                            number,
	                            str_make(peer, peer_bytes),
	                            identity,
	                            meta_length,
	                            meta,
	                            frame};

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

static uint16_t get_le16(struct str s)
{
	uint16_t v;

	memcpy(&v, s.p, sizeof(v));
	return le16toh(v);
}

/* Takes what is told of the peer off *rest. */
static int parse_peer(struct str *rest, struct evidence *ret)
{
	if (rest->n < sizeof(uint16_t))
		return -EBADMSG;
	ret->back = get_le16(*rest);
	*rest = str_skip(*rest, sizeof(uint16_t));
	if (ret->back)
		return ret->back <= EVIDENCE_BACK_MAX ? 0 : -EBADMSG;
	if (rest->n < sizeof(uint16_t))
		return -EBADMSG;
	size_t n = get_le16(*rest);
	*rest = str_skip(*rest, sizeof(uint16_t));
	if (n == 0 || n > EVIDENCE_IDENTITY_MAX || n > rest->n)
		return -EBADMSG;
	ret->identity = str_head(*rest, n);
	*rest = str_skip(*rest, n);
	return 0;
}

/* Takes what came around the frame off *rest. */
static int parse_meta(struct str *rest, struct evidence *ret)
{
	if (rest->n < EVIDENCE_META_BYTES)
		return -EBADMSG;
	size_t n = get_le16(*rest);
	*rest = str_skip(*rest, EVIDENCE_META_BYTES);
	if (n > EVIDENCE_META_MAX || n > rest->n)
		return -EBADMSG;
	ret->meta = str_head(*rest, n);
	*rest = str_skip(*rest, n);
	return 0;
}

int evidence_parse(struct str body, struct evidence *ret)
{
	struct evidence e = {0};
	int r = 0;

	if (body.n < EVIDENCE_HEAD_BYTES)
		return -EBADMSG;
	e.flags = (uint8_t)body.p[1];
	if (body.p[0] != version_of(e.flags))
		return -EBADMSG;
	size_t source = (uint8_t)body.p[2] | (size_t)(uint8_t)body.p[3] << 8;
	size_t number = e.flags & EVIDENCE_NUMBERED ? EVIDENCE_NUMBER_BYTES : 0;
	if (source + number > body.n - EVIDENCE_HEAD_BYTES)
		return -EBADMSG;
	e.source = str_make(body.p + EVIDENCE_HEAD_BYTES, source);
	struct str rest = str_skip(body, EVIDENCE_HEAD_BYTES + source);
	if (e.flags & EVIDENCE_LOSS) {
		r = parse_loss(rest, &e);
	} else {
		if (number)
			memcpy(&e.sequence, rest.p, sizeof(e.sequence));
		e.sequence = le64toh(e.sequence);
		rest = str_skip(rest, number);
		if (e.flags & EVIDENCE_PEER)
			r = parse_peer(&rest, &e);
		if (r == 0 && e.flags & EVIDENCE_META)
			r = parse_meta(&rest, &e);
		e.frame = rest;
	}
	if (r == 0)
		*ret = e;
	return r;
}

/* ---- identities ---- */

#define SLOTS (EVIDENCE_BACK_MAX + 1)

struct evidence_peers {
	struct {
		uint64_t sequence;
		char *identity; /* of that record, or NULL */
		size_t n;
	} slots[SLOTS]; /* by sequence, modulo */
};

struct evidence_peers *evidence_peers_new(void)
{
	return xcalloc(1, sizeof(struct evidence_peers));
}

void evidence_peers_free(struct evidence_peers *p)
{
	for (size_t i = 0; p && i < SLOTS; i++)
		free(p->slots[i].identity);
	free(p);
}

void evidence_peers_note(struct evidence_peers *p, uint64_t sequence, struct evidence *e)
{
	size_t at = (sequence - e->back) % SLOTS;

	if (!(e->flags & EVIDENCE_PEER))
		return;
	if (e->back) {
		if (p->slots[at].sequence == sequence - e->back)
			e->identity = str_make(p->slots[at].identity, p->slots[at].n);
		return;
	}
	free(p->slots[at].identity);
	p->slots[at].sequence = sequence;
	p->slots[at].identity = xstrndup(e->identity.p, e->identity.n);
	p->slots[at].n = e->identity.n;
}

uint64_t evidence_peers_begin(const char *dir, uint64_t from)
{
	uint64_t *firsts = NULL, begin = from > EVIDENCE_BACK_MAX ? from - EVIDENCE_BACK_MAX : 1;
	size_t count = 0;

	segment_firsts(dir, &firsts, &count);
	for (size_t i = 0; i < count; i++)
		if (firsts[i] > begin && firsts[i] <= from)
			begin = firsts[i];
	free(firsts);
	return begin < from ? begin : from;
}
