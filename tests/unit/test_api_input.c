/* Clients of the protobuf socket that send what is no request, too much or too slowly, or do not read: each harms only
 * itself. */
#include "api_rig.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>

TestSuite(api, .init = setup, .fini = teardown);

/* What is sent gets that error, and then the connection ends; the daemon goes on. */
static void expect_end(const char *p, size_t n, Isod__V1__ErrorCode code)
{
	struct client c = client_new(), other = client_new();
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);

	client_write(&c, p, n);
	Response *r = client_next(&c);
	cr_assert(r, "closed without an answer");
	cr_assert_eq(r->answer_case, GOT(ERROR));
	cr_assert_eq(r->error->code, code, "%s", r->error->message);
	answer_free(r);
	wait_eof(&c);
	client_free(&c);
	answer_free(ask(&other, &q));
	client_free(&other);
	cr_assert_eq(counter("api_connections"), 0);
}

Test(api, a_request_over_the_limit_is_refused_by_its_length)
{
	char large[REQUEST_MAX + 100] = "\x81\x20"; /* 4097 */

	expect_end("\x81\x20", 2, ERR(TOO_LARGE));
	expect_end("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, ERR(TOO_LARGE));
	expect_end(large, sizeof(large), ERR(TOO_LARGE));
	cr_assert_eq(counter("api_too_large"), 3);
}

Test(api, what_is_no_request_ends_the_connection)
{
	expect_end("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10, ERR(BAD_REQUEST));
	expect_end("\x03\xff\xff\xff", 4, ERR(BAD_REQUEST));
	expect_end("GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: a client that took the wrong door, "
	           "and says a lot\r\n\r\n",
	           90, ERR(BAD_REQUEST));
	cr_assert_eq(counter("api_bad_requests"), 3);
}

Test(api, an_unknown_request_is_answered_and_the_connection_goes_on)
{
	struct client c = client_new();
	Isod__V1__StatusRequest s;
	Request q = ISOD__V1__REQUEST__INIT, good = status_request(&s);

	ask_error(&c, &q, ERR(BAD_REQUEST));
	/* Field 99, as of a later version. */
	client_write(&c, "\x05\x08\x05\x9a\x06\x00", 6);
	Response *r = client_next(&c);
	cr_assert_eq(r->id, 5);
	cr_assert_eq(r->error->code, ERR(BAD_REQUEST));
	answer_free(r);
	answer_free(ask(&c, &good));
	client_free(&c);
}

Test(api, a_request_byte_by_byte_is_a_request)
{
	struct client c = client_new();
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);
	struct buf b;

	buf_init(&b, 0);
	q.id = 300;
	wire_append(&b, &q.base);
	for (size_t i = 0; i < b.n; i++) {
		client_write(&c, b.p + i, 1);
		turn();
	}
	Response *r = client_next(&c);
	cr_assert_eq(r->id, 300);
	cr_assert_eq(r->answer_case, GOT(STATUS));
	answer_free(r);
	buf_release(&b);
	client_free(&c);
}

Test(api, half_a_request_is_waited_for_only_so_long)
{
	struct client c = client_new(), watcher = client_new(), idle = client_new();

	rig.api->patience[DEADLINE_REQUEST] = (struct timeval){0, 20000};
	watch(&watcher, 0, false);
	client_write(&c, "\x20\x08", 2);
	wait_eof(&c);
	cr_assert_eq(counter("api_timeouts"), 1);
	cr_assert_eq(counter("api_connections"), 2);
	client_free(&c);
	rig.api->patience[DEADLINE_IDLE] = (struct timeval){0, 20000};
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);
	answer_free(ask(&idle, &q));
	wait_eof(&idle);
	cr_assert_eq(counter("api_connections"), 1);
	client_free(&idle);
	incidents(1);
	Response *r = client_next(&watcher);
	cr_assert_eq(r->answer_case, GOT(INCIDENT), "a watcher may be silent for ever");
	answer_free(r);
	client_free(&watcher);
}

Test(api, a_client_that_asks_and_does_not_read_stops_itself)
{
	struct client c = client_new();
	Isod__V1__ListIncidentsRequest l = ISOD__V1__LIST_INCIDENTS_REQUEST__INIT;
	Request q = ISOD__V1__REQUEST__INIT;
	struct buf b;
	size_t at = 0;

	incidents(200);
	q.ask_case = ASK(LIST_INCIDENTS);
	q.list_incidents = &l;
	l.limit = 200;
	buf_init(&b, 0);
	for (q.id = 1; q.id <= 2000; q.id++)
		wire_append(&b, &q.base);
	for (int i = 0; i < 2000 && at < b.n; i++) {
		ssize_t n = write(c.fd, b.p + at, b.n - at);
		at += n > 0 ? (size_t)n : 0;
		turn();
		cr_assert_lt(evbuffer_get_length(bufferevent_get_output(rig.api->connections->bev)),
		             (size_t)1 << 20);
	}
	cr_assert_lt(counter("api_requests"), 500);
	/* Now it reads, and gets every answer, in order. */
	for (uint64_t id = 1; id <= 2000; id++) {
		if (at < b.n) {
			ssize_t n = write(c.fd, b.p + at, b.n - at);
			at += n > 0 ? (size_t)n : 0;
		}
		Response *r = client_next(&c);
		cr_assert(r);
		cr_assert_eq(r->id, id);
		answer_free(r);
	}
	buf_release(&b);
	client_free(&c);
}

Test(api, who_asks_and_shuts_its_side_gets_all_answers)
{
	struct client c = client_new();
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);

	for (q.id = 1; q.id <= 3000; q.id++)
		client_send(&c, &q);
	shutdown(c.fd, SHUT_WR);
	for (uint64_t id = 1; id <= 3000; id++) {
		Response *r = client_next(&c);
		cr_assert(r, "closed before answer %lu", id);
		cr_assert_eq(r->id, id);
		answer_free(r);
	}
	wait_eof(&c);
	cr_assert_eq(counter("api_connections"), 0);
	client_free(&c);
}

Test(api, connections_are_limited)
{
	struct client c[API_CONNECTIONS_MAX];

	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++)
		c[i] = client_new();
	turn();
	cr_assert_eq(counter("api_connections"), API_CONNECTIONS_MAX);
	struct client over = client_new();
	Response *r = client_next(&over);
	cr_assert_eq(r->error->code, ERR(UNAVAILABLE));
	answer_free(r);
	wait_eof(&over);
	client_free(&over);
	cr_assert_eq(counter("api_turned_away"), 1);
	client_free(&c[7]);
	c[7] = client_new();
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);
	answer_free(ask(&c[7], &q));
	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++)
		client_free(&c[i]);
	cr_assert_eq(counter("api_connections"), 0);
}
