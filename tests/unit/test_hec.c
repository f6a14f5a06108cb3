/* The HTTP Event Collector without HTTP: who may send, what a body holds, what is wrong with it, gzip and its bombs, ackIds. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ingest/hec_ack.h"
#include "ingest/hec_parse.h"

/* ---- tokens ---- */

Test(hec, who_may_send)
{
	struct hec_token tokens[2] = {{0}};
	const struct hec_token *found = NULL;

	sha256(&STR("secret-a"), 1, tokens[0].digest);
	sha256(&STR("secret-b"), 1, tokens[1].digest);
	const struct {
		const char *header;
		enum hec_code code;
		const struct hec_token *token;
	} cases[] = {
		{NULL, HEC_TOKEN_REQUIRED, NULL},
		{"", HEC_TOKEN_REQUIRED, NULL},
		{"  ", HEC_TOKEN_REQUIRED, NULL},
		{"Splunk", HEC_TOKEN_REQUIRED, NULL},
		{"Splunk ", HEC_TOKEN_REQUIRED, NULL},
		{"Splunk secret-a", HEC_SUCCESS, &tokens[0]},
		{"splunk   secret-b  ", HEC_SUCCESS, &tokens[1]},
		{"Splunk secret-", HEC_INVALID_TOKEN, NULL},
		{"Splunk secret-aa", HEC_INVALID_TOKEN, NULL},
		{"Splunk secret-a secret-b", HEC_INVALID_TOKEN, NULL},
		{"Bearer secret-a", HEC_INVALID_AUTHORIZATION, NULL},
		{"secret-a", HEC_INVALID_AUTHORIZATION, NULL},
		{"Basic eDpzZWNyZXQtYQ==", HEC_SUCCESS, &tokens[0]}, /* x:secret-a */
		{"Basic OnNlY3JldC1i", HEC_SUCCESS, &tokens[1]},     /* :secret-b */
		{"Basic c2VjcmV0LWE=", HEC_TOKEN_REQUIRED, NULL},    /* secret-a */
		{"Basic !!!!", HEC_INVALID_AUTHORIZATION, NULL},
		{"Basic", HEC_TOKEN_REQUIRED, NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		found = NULL;
		cr_expect_eq(hec_authorize(cases[i].header, tokens, 2, &found), cases[i].code, "%s",
		             cases[i].header);
		cr_expect_eq(found, cases[i].token, "%s", cases[i].header);
	}
	char *long_one = xasprintf("Basic %01500d", 0);
	cr_expect_eq(hec_authorize(long_one, tokens, 2, &found), HEC_INVALID_AUTHORIZATION);
	free(long_one);
	cr_expect_eq(hec_authorize("Splunk x", NULL, 0, &found), HEC_INVALID_TOKEN);
}

Test(hec, channels)
{
	char text[HEC_CHANNEL_MAX + 2];

	memset(text, 'a', sizeof(text));
	cr_expect(hec_channel_is_valid(STR("FE0ECFAD-13D5-401B-847D-77833BD77131")));
	cr_expect(hec_channel_is_valid(str_make(text, HEC_CHANNEL_MAX)));
	cr_expect_not(hec_channel_is_valid(str_make(text, HEC_CHANNEL_MAX + 1)));
	cr_expect_not(hec_channel_is_valid(STR("")));
	cr_expect_not(hec_channel_is_valid(STR("a/b")));
	cr_expect_not(hec_channel_is_valid(str_make("a\0b", 3)));
}

/* ---- bodies ---- */

Test(hec, bodies_are_good_or_not)
{
	static const struct {
		const char *body;
		enum hec_code code;
		size_t count; /* of events, or the number of the wrong one */
	} cases[] = {
		{"{\"event\":1}", HEC_SUCCESS, 1},
		{" {\"event\":\"a\"}{\"event\":{}}\r\n\t{\"event\":[]} ", HEC_SUCCESS, 3},
		{"[{\"event\":1},{\"event\":2}]", HEC_SUCCESS, 2},
		{"[ {\"event\":1} , {\"event\":2} ] {\"event\":3}[{\"event\":4}]", HEC_SUCCESS, 4},
		{"{\"event\":\"}{[\\\"\"}", HEC_SUCCESS, 1},
		{"{\"time\":1.5,\"fields\":{\"event\":\"\"},\"event\":false}", HEC_SUCCESS, 1},
		{"", HEC_NO_DATA, 0},
		{" \n", HEC_NO_DATA, 0},
		{"[]", HEC_NO_DATA, 0},
		{"x", HEC_INVALID_FORMAT, 0},
		{"\"event\"", HEC_INVALID_FORMAT, 0},
		{"[1]", HEC_INVALID_FORMAT, 0},
		{"[[{\"event\":1}]]", HEC_INVALID_FORMAT, 0},
		{"[{\"event\":1}", HEC_INVALID_FORMAT, 1},
		{"[{\"event\":1},]", HEC_INVALID_FORMAT, 1},
		{"[,{\"event\":1}]", HEC_INVALID_FORMAT, 0},
		{"[{\"event\":1}{\"event\":1}]", HEC_INVALID_FORMAT, 1},
		{"{\"event\":1},{\"event\":1}", HEC_INVALID_FORMAT, 1},
		{"{\"event\":1}]", HEC_INVALID_FORMAT, 1},
		{"{\"event\":1}}", HEC_INVALID_FORMAT, 1},
		{"{\"event\":1]}", HEC_INVALID_FORMAT, 0},
		{"{\"event\":}", HEC_INVALID_FORMAT, 0},
		{"{\"event\":\"a}", HEC_INVALID_FORMAT, 0},
		{"{\"event\":\"a\\", HEC_INVALID_FORMAT, 0},
		{"{\"event\":01}", HEC_INVALID_FORMAT, 0},
		{"{\"event\":1,}", HEC_INVALID_FORMAT, 0},
		{"{}", HEC_EVENT_REQUIRED, 0},
		{"{\"event\":1}{\"Event\":1}", HEC_EVENT_REQUIRED, 1},
		{"{\"a\":{\"event\":1}}", HEC_EVENT_REQUIRED, 0},
		{"{\"event\":null}", HEC_EVENT_REQUIRED, 0},
		{"{\"event\":\"\"}", HEC_EVENT_BLANK, 0},
		{"{\"event\":1,\"fields\":[]}", HEC_INVALID_FIELDS, 0},
	};
	struct hec_reader *r = hec_reader_new();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct str rest = str_of(cases[i].body), event;
		size_t count = 99, n = 0;
		cr_expect_eq(hec_check(r, rest, &count), cases[i].code, "%s", cases[i].body);
		cr_expect_eq(count, cases[i].count, "%s: %zu", cases[i].body, count);
		while (cases[i].code == HEC_SUCCESS && hec_next_event(&rest, &event))
			n++;
		cr_expect(cases[i].code != HEC_SUCCESS || n == count, "%s", cases[i].body);
	}
	hec_reader_free(r);
}

Test(hec, events_come_out_exactly_as_they_came)
{
	struct str rest = STR("[ { \"event\" : \"\\u0041\" } ,\n{\"event\":{\"b\":\"}\"}}]"), event;

	cr_assert(hec_next_event(&rest, &event));
	cr_expect(str_eq(event, STR("{ \"event\" : \"\\u0041\" }")));
	cr_assert(hec_next_event(&rest, &event));
	cr_expect(str_eq(event, STR("{\"event\":{\"b\":\"}\"}}")));
	cr_expect_not(hec_next_event(&rest, &event));
}

Test(hec, raw_bodies_are_lines)
{
	struct str rest = str_make("\r\none\r\n\n\0two\xff\nthree", 19), line;

	cr_assert(hec_next_line(&rest, &line));
	cr_expect(str_eq(line, STR("one")));
	cr_assert(hec_next_line(&rest, &line));
	cr_expect(str_eq(line, str_make("\0two\xff", 5)));
	cr_assert(hec_next_line(&rest, &line));
	cr_expect(str_eq(line, STR("three")));
	cr_expect_not(hec_next_line(&rest, &line));
}

Test(hec, only_what_means_something_of_a_query_is_kept)
{
	char *text = xasprintf("host=%03000d", 0);
	struct buf out;

	buf_init(&out, 0);
	cr_assert_eq(hec_raw_meta(STR("channel=1&host=a%20b&token=secret&&time=17&x&index="), &out),
	             0);
	cr_expect(str_eq(buf_str(&out), STR("hec/raw?host=a%20b&time=17&index=")), "%s",
	          buf_cstr(&out));
	buf_reset(&out);
	cr_assert_eq(hec_raw_meta(STR_NONE, &out), 0);
	cr_expect(str_eq(buf_str(&out), STR("hec/raw?")));
	buf_reset(&out);
	cr_expect_eq(hec_raw_meta(str_of(text), &out), -ENOBUFS);
	free(text);
	buf_release(&out);
}

Test(hec, questions_for_ackids)
{
	uint64_t ids[3];
	size_t n = 9;

	cr_assert_eq(hec_acks_parse(STR(" {\"acks\": [1, 22 ,333]} "), ids, 3, &n), 0);
	cr_expect_eq(n, 3);
	cr_expect_eq(ids[2], 333);
	cr_assert_eq(hec_acks_parse(STR("{\"acks\":[]}"), ids, 3, &n), 0);
	cr_expect_eq(n, 0);
	cr_expect_eq(hec_acks_parse(STR("{\"acks\":[1,2,3,4]}"), ids, 3, &n), -E2BIG);
	static const char *const bad[] = {"",
	                                  "[]",
	                                  "{}",
	                                  "{\"acks\":",
	                                  "{\"acks\":1}",
	                                  "{\"acks\":[1,]}",
	                                  "{\"acks\":[-1]}",
	                                  "{\"acks\":[1.0]}",
	                                  "{\"acks\":[\"1\"]}",
	                                  "{\"acks\":[1]}x",
	                                  "{\"acks\":[18446744073709551616]}"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_eq(hec_acks_parse(str_of(bad[i]), ids, 3, &n), -EINVAL, "%s", bad[i]);
}

/* ---- gzip ---- */

static struct buf pack(size_t size, char what)
{
	struct buf in, out;
	z_stream z = {0};

	buf_init(&in, 0);
	buf_init(&out, 0);
	buf_reserve(&in, size + 1);
	for (in.n = 0; in.n < size; in.n++)
		in.p[in.n] = what ? what : (char)(in.n * 2654435761u >> 13);
	cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, MAX_WBITS + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
	buf_reserve(&out, deflateBound(&z, size));
	z.next_in = (Bytef *)in.p;
	z.avail_in = (uInt)size;
	z.next_out = (Bytef *)out.p;
	z.avail_out = (uInt)out.cap;
	cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	out.n = z.total_out;
	deflateEnd(&z);
	buf_release(&in);
	return out;
}

static int unpack(struct str in, size_t max, size_t *ret_n, size_t *ret_cap)
{
	struct buf out;

	buf_init(&out, max);
	int r = hec_gunzip(in, &out);
	*ret_n = out.n;
	*ret_cap = out.cap;
	buf_release(&out);
	return r;
}

Test(hec, gzip_within_bounds)
{
	struct buf small = pack(100000, '\0'), same = pack(3 << 20, 'a'),
		   bomb = pack(64 << 20, 'a');
	size_t n, cap;

	cr_expect_eq(unpack(buf_str(&small), 1 << 20, &n, &cap), 0);
	cr_expect_eq(n, 100000);
	cr_expect_eq(unpack(buf_str(&small), 100000, &n, &cap), 0,
	             "exactly as much as there may be");
	cr_expect_eq(unpack(buf_str(&small), 99999, &n, &cap), -EFBIG);
	cr_expect_leq(cap, 1 << 18);
	cr_expect_eq(unpack(buf_str(&same), 8 << 20, &n, &cap), 0, "little may be all the same");
	cr_expect_eq(unpack(buf_str(&bomb), 2 << 20, &n, &cap), -EFBIG);
	cr_expect_leq(cap, 4 << 20);
	cr_expect_eq(unpack(buf_str(&bomb), 128 << 20, &n, &cap), -E2BIG);
	cr_expect_leq(n, HEC_RATIO_FREE + (1 << 20), "given up at once");
	/* Two members are one text (RFC 1952 section 2.2). */
	size_t one = small.n;
	char *copy = xmalloc(one);
	memcpy(copy, small.p, one);
	buf_append(&small, copy, one);
	cr_expect_eq(unpack(buf_str(&small), 1 << 20, &n, &cap), 0);
	cr_expect_eq(n, 200000);
	for (size_t cut = 0; cut < one; cut += 97)
		cr_expect_eq(unpack(str_make(copy, cut), 1 << 20, &n, &cap), -EBADMSG, "%zu", cut);
	copy[one - 5] ^= 1; /* its checksum */
	cr_expect_eq(unpack(str_make(copy, one), 1 << 20, &n, &cap), -EBADMSG);
	cr_expect_eq(unpack(STR("plain text"), 1 << 20, &n, &cap), -EBADMSG);
	free(copy);
	buf_release(&small);
	buf_release(&same);
	buf_release(&bomb);
}

/* ---- ackIds ---- */

Test(hec, ackids_are_told_once_and_when_they_are_durable)
{
	struct hec_acks a;
	uint64_t id[3];

	hec_acks_init(&a);
	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(hec_acks_take(&a, STR("t/c"), 1, &id[i]), 0);
		cr_expect_eq(id[i], i);
	}
	cr_expect_not(hec_acks_ask(&a, STR("t/c"), 1, 1));
	hec_acks_durable(&a, STR("t/c"), 1);
	cr_expect_not(hec_acks_ask(&a, STR("other"), 1, 1));
	cr_expect(hec_acks_ask(&a, STR("t/c"), 1, 1));
	cr_expect_not(hec_acks_ask(&a, STR("t/c"), 1, 1));
	cr_expect_not(hec_acks_ask(&a, STR("t/c"), 3, 1), "never given out");
	cr_expect_eq(hec_acks_count(&a), 3, "0 is outstanding still");
	hec_acks_durable(&a, STR("t/c"), 0);
	cr_expect(hec_acks_ask(&a, STR("t/c"), 0, 1));
	cr_expect_eq(hec_acks_count(&a), 1);
	hec_acks_durable(&a, STR("gone"), 5);
	hec_acks_release(&a);
}

Test(hec, ackids_and_channels_are_bounded)
{
	const uint64_t later = (HEC_CHANNEL_IDLE_S + 1) * NS_PER_SECOND;
	struct hec_acks a;
	char name[32];
	uint64_t id;

	hec_acks_init(&a);
	for (size_t i = 0; i < HEC_ACKS_MAX; i++) {
		cr_assert_eq(hec_acks_take(&a, STR("c0"), 1, &id), 0);
		cr_assert_eq(id, i);
	}
	cr_expect_eq(hec_acks_take(&a, STR("c0"), 1, &id), -EBUSY);
	hec_acks_durable(&a, STR("c0"), 0);
	cr_expect(hec_acks_ask(&a, STR("c0"), 0, 1));
	cr_expect_eq(hec_acks_take(&a, STR("c0"), later, &id), 0, "there is room again");
	cr_expect_eq(id, HEC_ACKS_MAX);
	for (size_t i = 1; i < HEC_CHANNELS_MAX; i++) {
		snprintf(name, sizeof(name), "c%zu", i);
		cr_assert_eq(hec_acks_take(&a, str_of(name), 1, &id), 0);
	}
	cr_expect_eq(hec_acks_take(&a, STR("more"), 2, &id), -EBUSY);
	cr_expect_eq(hec_acks_take(&a, STR("more"), later, &id), 0, "idle ones make room");
	cr_expect_eq(hec_acks_count(&a), HEC_ACKS_MAX + 1, "c0 was in use");
	hec_acks_release(&a);
}
