/* Batches of numbered frames: taken up here, written and synced by a worker of ingest/, answered here. Several may be
 * under way on a connection, so that a producer need not wait for the disk; past a window no more is read. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api_internal.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "log/producer.h"

#define WINDOW_ASKS  64                /* batches of one connection that are under way … */
#define WINDOW_BYTES ((size_t)4 << 20) /* … and their frames' bytes */
#define ALL_BYTES    ((size_t)64 << 20) /* with more under way of all connections, each may have one */
#define ERROR(name)  ISOD__V1__ERROR_CODE__ERROR_##name

/* One that is under way. */
struct ingest_ask {
	struct producer_batch batch;     /* first: what comes back is this */
	struct connection *connection;   /* NULL: it is gone */
	struct ingest_ask *next, **link; /* of the connection's */
	uint64_t id;
	Isod__V1__Request *request; /* what the batch points into */
};

bool ingest_is_full(const struct connection *c)
{
	const struct ingest_asks *i = &c->ingest;

	return i->count >= WINDOW_ASKS || i->bytes >= WINDOW_BYTES ||
	       (i->count > 0 && c->api->ingest_bytes >= ALL_BYTES);
}

static void unlink_ask(struct connection *c, struct ingest_ask *a)
{
	*a->link = a->next;
	if (a->next)
		a->next->link = a->link;
	c->ingest.count--;
	c->ingest.bytes -= a->batch.bytes;
	a->connection = NULL;
}

static void free_ask(struct ingest_ask *a)
{
	isod__v1__request__free_unpacked(a->request, NULL);
	free(a);
}

void ingest_forget(struct connection *c)
{
	while (c->ingest.first)
		unlink_ask(c, c->ingest.first);
}

/* ---- answers ---- */

static void send_gap(struct connection *c, uint64_t id, uint64_t expected, uint64_t first)
{
	Isod__V1__Error error = ISOD__V1__ERROR__INIT;
	Isod__V1__Response answer = ISOD__V1__RESPONSE__INIT;
	char message[160];

	snprintf(message, sizeof(message),
	         "frames are missing: sequence %" PRIu64 " is next, the batch begins with %" PRIu64,
	         expected, first);
	error.code = ERROR(GAP);
	error.message = message;
	error.expected = expected;
	answer.id = id;
	answer.answer_case = ISOD__V1__RESPONSE__ANSWER_ERROR;
	answer.error = &error;
	connection_send(c, &answer);
}

static void send_ack(struct connection *c, uint64_t id, const struct producer_batch *b)
{
	Isod__V1__IngestAck ack = ISOD__V1__INGEST_ACK__INIT;
	Isod__V1__Response answer = ISOD__V1__RESPONSE__INIT;

	ack.producer = (char *)(uintptr_t)b->producer; /* only packed */
	ack.upto = b->upto;
	ack.taken = b->taken;
	ack.repeated = b->repeated;
	answer.id = id;
	answer.answer_case = ISOD__V1__RESPONSE__ANSWER_INGEST_ACK;
	answer.ingest_ack = &ack;
	connection_send(c, &answer);
}

static void send_answer(struct connection *c, uint64_t id, const struct producer_batch *b)
{
	switch (b->result) {
	case 0: send_ack(c, id, b); break;
	case -ERANGE: send_gap(c, id, b->upto + 1, b->first); break;
	case -EDQUOT:
		connection_error(c, id, ERROR(UNAVAILABLE), "%d producers are known already",
		                 PRODUCERS_MAX);
		break;
	case -EAGAIN:
		connection_error(c, id, ERROR(UNAVAILABLE),
		                 "isod is starting: evidence is being detected again");
		break;
	default: connection_error(c, id, ERROR(UNAVAILABLE), "isod is stopping"); break;
	}
}

void api_ingest_answered(struct api *a, struct producer_batch *b)
{
	struct ingest_ask *ask = (struct ingest_ask *)b;
	struct connection *c = ask->connection;

	a->ingest_bytes -= b->bytes;
	if (c) {
		send_answer(c, ask->id, b);
		unlink_ask(c, ask);
	}
	free_ask(ask);
	if (c)
		connection_ingest_answered(c);
}

/* ---- requests ---- */

/* Hands a batch over. It points into the request, which is kept for it. */
static void hand_over(struct connection *c, Isod__V1__Request *q, const struct producer_batch *b)
{
	struct api *api = c->api;
	struct ingest_ask *a = xcalloc(1, sizeof(*a));

	a->batch = *b;
	a->id = q->id;
	a->request = q;
	a->connection = c;
	a->next = c->ingest.first;
	a->link = &c->ingest.first;
	if (a->next)
		a->next->link = &a->next;
	c->ingest.first = a;
	c->ingest.count++;
	c->ingest.bytes += b->bytes;
	int r = api->options.ingest ? api->options.ingest(api->options.arg, &a->batch) : -ENOSYS;
	if (r == 0) {
		api->ingest_bytes += b->bytes;
		api->request_kept = true;
		return;
	}
	a->batch.result = r;
	send_answer(c, q->id, &a->batch);
	unlink_ask(c, a);
	free(a);
}

static bool check_producer(struct connection *c, uint64_t id, const char *producer)
{
	if (producer_id_is_valid(str_of(producer)))
		return true;
	connection_error(c, id, ERROR(BAD_REQUEST),
	                 "a producer's id is 1 to %d letters, digits, '.', '_' or '-'",
	                 PRODUCER_ID_MAX);
	return false;
}

/* It becomes a part of a source's name. */
static bool check_source(struct connection *c, uint64_t id, const char *source)
{
	struct str s = str_of(source);
	bool good = s.n <= PRODUCER_FROM_MAX && utf8_valid(s);

	for (size_t i = 0; i < s.n && good; i++)
		good = (unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f;
	if (!good)
		connection_error(c, id, ERROR(BAD_REQUEST),
		                 "a source is at most %d bytes of UTF-8 without control characters",
		                 PRODUCER_FROM_MAX);
	return good;
}

void ask_ingest_hello(struct connection *c, const Isod__V1__Request *q)
{
	const struct producer_batch b = {.producer = q->ingest_hello->producer, .from = ""};

	if (check_producer(c, q->id, b.producer) && producer_claim(c, q, b.producer, 0))
		hand_over(c, (Isod__V1__Request *)(uintptr_t)q, &b);
}

void ask_ingest_batch(struct connection *c, const Isod__V1__Request *q)
{
	const Isod__V1__IngestBatch *i = q->ingest_batch;
	struct producer_batch b = {.producer = i->producer,
	                           .from = i->source,
	                           .first = i->first,
	                           .frames = i->frames,
	                           .count = i->n_frames};

	if (!check_producer(c, q->id, i->producer) || !check_source(c, q->id, i->source))
		return;
	if (i->first == 0 || i->first > UINT64_MAX - i->n_frames) {
		connection_error(c, q->id, ERROR(BAD_REQUEST),
		                 "frames are numbered from 1: no batch begins with %" PRIu64,
		                 i->first);
		return;
	}
	if (i->n_frames == 0 || i->n_frames > PRODUCER_FRAMES_MAX) {
		connection_error(c, q->id, ERROR(BAD_REQUEST), "a batch has 1 to %d frames",
		                 PRODUCER_FRAMES_MAX);
		return;
	}
	if (!producer_claim(c, q, i->producer, i->first))
		return;
	for (size_t n = 0; n < i->n_frames; n++)
		b.bytes += i->frames[n].len;
	hand_over(c, (Isod__V1__Request *)(uintptr_t)q, &b);
}
