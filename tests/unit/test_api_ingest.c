/* Producers on the protobuf socket: whose an id is, which connection has it, what is answered, how much may be under way.
 * What stands in for ingest/ keeps one mark and answers in the loop's next turn, or when it is told to. */
#include "api_rig.h"

#include "log/producer.h"

#define HELD_MAX 128

static struct {
	uint64_t mark;
	int refuse; /* -errno: takes no batch */
	int result; /* of the next ones */
	bool hold;
	struct producer_batch *held[HELD_MAX];
	size_t count, most;
} desk;

static void answer_one(struct producer_batch *b)
{
	b->result = desk.result;
	b->upto = desk.mark;
	if (b->first && b->first > desk.mark + 1)
		b->result = -ERANGE;
	if (b->first && b->result == 0) {
		uint64_t known = desk.mark - (b->first - 1);
		b->repeated = known < b->count ? known : b->count;
		b->taken = b->count - b->repeated;
		b->upto = desk.mark += b->taken;
	}
	api_ingest_answered(rig.api, b);
}

static void answer_held(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	size_t n = desk.count;
	desk.count = 0;
	for (size_t i = 0; i < n; i++)
		answer_one(desk.held[i]);
}

static int take(void *arg, struct producer_batch *b)
{
	const struct timeval now = {0};
	(void)arg;

	if (desk.refuse)
		return desk.refuse;
	cr_assert_lt(desk.count, HELD_MAX);
	desk.held[desk.count++] = b;
	desk.most = desk.count > desk.most ? desk.count : desk.most;
	if (!desk.hold)
		event_base_once(rig.base, -1, EV_TIMEOUT, answer_held, NULL, &now);
	return 0;
}

static void setup_ingest(void)
{
	memset(&desk, 0, sizeof(desk));
	rig.ingest = take;
	setup();
}

TestSuite(api_ingest, .init = setup_ingest, .fini = teardown);

/* ---- asking ---- */

static uint8_t byte[] = "x";

struct batch {
	Isod__V1__IngestBatch batch;
	Isod__V1__IngestHello hello;
	ProtobufCBinaryData frames[70000];
};

static struct batch asked;

static Request batch_of(const char *producer, uint64_t first, size_t count)
{
	Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__IngestBatch *b = &asked.batch;

	isod__v1__ingest_batch__init(b);
	b->producer = (char *)(uintptr_t)producer;
	b->first = first;
	b->n_frames = count;
	b->frames = asked.frames;
	for (size_t i = 0; i < count; i++)
		asked.frames[i] = (ProtobufCBinaryData){.len = 1, .data = byte};
	q.ask_case = ASK(INGEST_BATCH);
	q.ingest_batch = b;
	return q;
}

static Request hello_of(const char *producer)
{
	Request q = ISOD__V1__REQUEST__INIT;

	isod__v1__ingest_hello__init(&asked.hello);
	asked.hello.producer = (char *)(uintptr_t)producer;
	q.ask_case = ASK(INGEST_HELLO);
	q.ingest_hello = &asked.hello;
	return q;
}

/* Hands in a batch, or with first 0 says hello, and wants that answer: its mark, or the error of which `text` is part. */
static void expect_ack(struct client *c, const char *producer, uint64_t first, size_t count,
                       uint64_t upto, uint64_t repeated)
{
	Request q = first ? batch_of(producer, first, count) : hello_of(producer);
	Response *r = ask(c, &q);

	cr_assert_eq(r->answer_case, GOT(INGEST_ACK), "%s", r->error ? r->error->message : "");
	cr_expect_str_eq(r->ingest_ack->producer, producer);
	cr_expect_eq(r->ingest_ack->upto, upto);
	cr_expect_eq(r->ingest_ack->repeated, repeated);
	cr_expect_eq(r->ingest_ack->taken, first ? count - repeated : 0);
	answer_free(r);
}

static void expect_error(struct client *c, const char *producer, uint64_t first, size_t count,
                         Isod__V1__ErrorCode code, const char *text)
{
	Request q = first ? batch_of(producer, first, count) : hello_of(producer);
	Response *r = ask(c, &q);

	cr_assert_eq(r->answer_case, GOT(ERROR), "an answer of kind %d", r->answer_case);
	cr_expect_eq(r->error->code, code, "%d: %s", r->error->code, r->error->message);
	cr_expect(strstr(r->error->message, text), "\"%s\" in: %s", text, r->error->message);
	answer_free(r);
}

/* The newest connection is somebody else's. */
static struct client client_of(const char *owner)
{
	struct client c = client_new();

	snprintf(rig.api->connections->peer.owner, PEER_NAME_MAX, "%s", owner);
	return c;
}

static const struct producer_mark *mark_of(const char *producer)
{
	return map_get(&officer_state(rig.officer)->producers, str_of(producer));
}

/* ---- whose it is ---- */

Test(api_ingest, an_id_is_whose_first_batch_it_was)
{
	struct client one = client_new(), other = client_of("uid:4711");
	char mine[32];

	snprintf(mine, sizeof(mine), "uid:%u", (unsigned)getuid());
	expect_ack(&one, "web", 0, 0, 0, 0);
	cr_expect_null(mark_of("web"), "a hello binds nobody");
	expect_ack(&one, "web", 1, 3, 3, 0);
	cr_assert(mark_of("web"));
	cr_expect_str_eq(mark_of("web")->owner, mine);
	cr_expect_eq(counter("api_producers_bound"), 1);
	/* Its frames would pass for what is known: refused, counted, recorded, told. */
	expect_error(&other, "web", 1, 3, ERR(FORBIDDEN), "producer web belongs to uid:");
	expect_error(&other, "web", 0, 0, ERR(FORBIDDEN), "belongs to");
	cr_expect_eq(desk.mark, 3);
	cr_expect_eq(counter("api_producer_conflicts"), 2);
	cr_expect_eq(counter("api_refusals"), 2);
	cr_expect_eq(rig.refused, 2);
	cr_expect_eq(officer_state(rig.officer)->access.refusals, 2);
	/* It may have another. */
	desk.mark = 0;
	expect_ack(&other, "db", 1, 1, 1, 0);
	cr_expect_str_eq(mark_of("db")->owner, "uid:4711");
	client_free(&one);
	client_free(&other);
}

Test(api_ingest, whose_an_id_is_survives_a_restart)
{
	struct client one = client_of("cert:web1");

	expect_ack(&one, "web", 1, 2, 2, 0);
	client_free(&one);
	api_close(rig.api);
	rig.api = NULL;
	officer_close(rig.officer);
	open_officer();
	open_api();
	cr_assert(mark_of("web"));
	cr_expect_str_eq(mark_of("web")->owner, "cert:web1");
	struct client other = client_new();
	expect_error(&other, "web", 3, 1, ERR(FORBIDDEN), "belongs to cert:web1");
	client_free(&other);
}

Test(api_ingest, a_hello_holds_an_id_that_is_nobodys_while_it_is_connected)
{
	struct client one = client_new(), other = client_of("uid:4711");

	expect_ack(&one, "new", 0, 0, 0, 0);
	expect_error(&other, "new", 1, 1, ERR(FORBIDDEN), "belongs to uid:");
	client_free(&one);
	turn();
	expect_ack(&other, "new", 1, 1, 1, 0);
	cr_expect_str_eq(mark_of("new")->owner, "uid:4711");
	client_free(&other);
}

Test(api_ingest, a_batch_with_a_gap_before_it_binds_nobody)
{
	struct client one = client_new();

	expect_error(&one, "gap", 5, 1, ERR(GAP), "sequence 1 is next, the batch begins with 5");
	cr_expect_null(mark_of("gap"));
	client_free(&one);
}

Test(api_ingest, no_more_producers_are_bound_than_can_be_known)
{
	struct client one = client_new();
	Isod__V1__ProducerMark *marks = xcalloc(PRODUCERS_MAX, sizeof(*marks)), **list;
	Isod__V1__Tally t = ISOD__V1__TALLY__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	list = xcalloc(PRODUCERS_MAX, sizeof(*list));
	for (size_t i = 0; i < PRODUCERS_MAX; i++) {
		isod__v1__producer_mark__init(&marks[i]);
		marks[i].producer = xasprintf("p%zu", i);
		marks[i].upto = 1;
		list[i] = &marks[i];
	}
	t.n_producers = PRODUCERS_MAX;
	t.producers = list;
	record.body_case = ISOD__V1__RECORD__BODY_TALLY;
	record.tally = &t;
	cr_assert_eq(officer_record(rig.officer, &record), 0);
	expect_error(&one, "more", 1, 1, ERR(UNAVAILABLE), "so many producers are known already: ");
	/* One of an older isod's, which had no owners. */
	desk.mark = 1;
	expect_ack(&one, "p7", 2, 1, 2, 0);
	cr_expect(mark_of("p7")->owner);
	for (size_t i = 0; i < PRODUCERS_MAX; i++)
		free(marks[i].producer);
	free(marks);
	free(list);
	client_free(&one);
}

/* ---- which connection has it ---- */

Test(api_ingest, the_newer_connection_has_the_id)
{
	struct client older = client_new(), newer = client_new();

	expect_ack(&older, "web", 0, 0, 0, 0);
	expect_ack(&older, "web", 1, 2, 2, 0);
	expect_ack(&newer, "web", 0, 0, 2, 0);
	cr_expect_eq(counter("api_producer_takeovers"), 1);
	/* Both would count on from 3. */
	expect_error(&older, "web", 3, 1, ERR(CONFLICT), "spoken for by a newer connection");
	expect_ack(&newer, "web", 3, 1, 3, 0);
	cr_expect_eq(counter("api_producer_conflicts"), 1);
	cr_expect_eq(rig.refused, 1);
	/* Not by itself either when that one is gone: it does not know what was taken meanwhile. */
	client_free(&newer);
	expect_error(&older, "web", 4, 1, ERR(CONFLICT), "newer connection");
	expect_ack(&older, "web", 0, 0, 3, 0);
	expect_ack(&older, "web", 4, 1, 4, 0);
	client_free(&older);
}

Test(api_ingest, who_comes_after_a_connection_has_ended_takes_nothing_over)
{
	struct client one = client_new();

	expect_ack(&one, "web", 1, 1, 1, 0);
	client_free(&one);
	turn();
	one = client_new();
	expect_ack(&one, "web", 2, 1, 2, 0);
	expect_ack(&one, "other", 0, 0, 2, 0);
	cr_expect_eq(counter("api_producer_takeovers"), 0);
	client_free(&one);
}

/* ---- numbers ---- */

Test(api_ingest, numbers_that_go_back_are_known_and_those_at_the_end_are_none)
{
	struct client c = client_new();

	expect_ack(&c, "web", 1, 10, 10, 0);
	expect_ack(&c, "web", 1, 10, 10, 10);
	expect_ack(&c, "web", 8, 5, 12, 3);
	expect_error(&c, "web", 14, 1, ERR(GAP), "sequence 13 is next, the batch begins with 14");
	expect_error(&c, "web", UINT64_MAX, 1, ERR(BAD_REQUEST), "18446744073709551615");
	expect_error(&c, "web", UINT64_MAX - 1, 2, ERR(BAD_REQUEST), "no batch begins with");
	expect_error(&c, "web", UINT64_MAX - 1, 1, ERR(GAP), "sequence 13 is next");
	/* The last there is. */
	desk.mark = UINT64_MAX - 2;
	expect_ack(&c, "web", UINT64_MAX - 1, 1, UINT64_MAX - 1, 0);
	expect_ack(&c, "web", UINT64_MAX - 1, 1, UINT64_MAX - 1, 1);
	expect_error(&c, "web", UINT64_MAX, 1, ERR(BAD_REQUEST), "no batch begins with");
	Request q = batch_of("web", 0, 1);
	ask_error(&c, &q, ERR(BAD_REQUEST));
	client_free(&c);
}

/* ---- what is refused, and what cannot be taken now ---- */

Test(api_ingest, what_is_not_as_it_must_be_is_refused_by_name)
{
	struct client c = client_new();
	char id[PRODUCER_ID_MAX + 2], source[PRODUCER_FROM_MAX + 2];
	Request q;

	memset(id, 'x', sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	memset(source, 's', sizeof(source) - 1);
	source[sizeof(source) - 1] = '\0';
	const char *const ids[] = {"", "a/b", "a b", "\xc3\xa4", id};
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		expect_error(&c, ids[i], 1, 1, ERR(BAD_REQUEST), "a producer's id is 1 to 64");
		expect_error(&c, ids[i], 0, 0, ERR(BAD_REQUEST), "a producer's id is 1 to 64");
	}
	const char *const sources[] = {source, "a\nb", "a\x7f"};
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		q = batch_of("web", 1, 1);
		asked.batch.source = (char *)(uintptr_t)sources[i];
		ask_error(&c, &q, ERR(BAD_REQUEST));
	}
	expect_error(&c, "web", 1, 0, ERR(BAD_REQUEST), "a batch has 1 to 65536 frames");
	cr_expect_eq(desk.most, 0);
	cr_expect_null(mark_of("web"));
	/* The longest that are allowed. */
	id[PRODUCER_ID_MAX] = source[PRODUCER_FROM_MAX] = '\0';
	q = batch_of(id, 1, 1);
	asked.batch.source = source;
	Response *r = ask(&c, &q);
	cr_expect_eq(r->answer_case, GOT(INGEST_ACK));
	answer_free(r);
	client_free(&c);
}

Test(api_ingest, why_nothing_can_be_taken_is_told)
{
	const struct {
		int refuse, result;
		const char *text;
	} cases[] = {
		{-EAGAIN, 0, "isod is starting"},
		{-ESHUTDOWN, 0, "isod is stopping"},
		{0, -ESHUTDOWN, "isod is stopping"},
		{0, -EDQUOT, "10000 producers are known already"},
	};
	struct client c = client_new();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		desk.refuse = cases[i].refuse;
		desk.result = cases[i].result;
		expect_error(&c, "web", 1, 1, ERR(UNAVAILABLE), cases[i].text);
		expect_error(&c, "web", 0, 0, ERR(UNAVAILABLE), cases[i].text);
	}
	desk.refuse = desk.result = 0;
	expect_ack(&c, "web", 1, 1, 1, 0);
	client_free(&c);
}

/* ---- under way ---- */

static void send_batches(struct client *c, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		Request q = batch_of("web", i + 1, 1);
		q.id = i + 1;
		client_send(c, &q);
	}
}

Test(api_ingest, batches_need_not_wait_for_each_other_but_only_so_many_are_under_way)
{
	struct client c = client_new();
	Isod__V1__StatusRequest s;

	desk.hold = true;
	send_batches(&c, 100);
	Request q = status_request(&s);
	q.id = 101;
	client_send(&c, &q);
	for (int i = 0; i < 200; i++)
		turn();
	cr_expect_eq(desk.count, 64, "%zu are under way", desk.count);
	cr_expect_eq(c.in.n, 0);
	desk.hold = false;
	answer_held(-1, 0, NULL);
	for (uint64_t id = 1; id <= 101; id++) {
		Response *r = client_next(&c);
		cr_assert(r);
		cr_assert_eq(r->id, id, "in the order in which they were asked");
		cr_expect_eq(r->answer_case, id <= 100 ? GOT(INGEST_ACK) : GOT(STATUS));
		answer_free(r);
	}
	cr_expect_eq(desk.most, 64);
	client_free(&c);
}

Test(api_ingest, who_has_gone_gets_no_answer_and_its_batches_are_taken_all_the_same)
{
	struct client c = client_new();

	desk.hold = true;
	send_batches(&c, 10);
	while (desk.count < 10)
		turn();
	/* Broken off, not closed: a half-closed one may still read. */
	struct linger at_once = {.l_onoff = 1};
	setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	client_free(&c);
	answer_held(-1, 0, NULL);
	for (int i = 0; i < 20; i++)
		turn();
	cr_expect_eq(desk.mark, 10);
	desk.hold = false;
	c = client_new();
	expect_ack(&c, "web", 0, 0, 10, 0);
	client_free(&c);
	cr_expect_eq(rig.api->ingest_bytes, 0);
}
