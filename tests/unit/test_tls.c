/* Real handshakes over socket pairs, with certificates made here: who is trusted and who is not, in which words; orderly
 * and cut ends told apart; other protocols on a TLS port; one connection's failure leaves the next alone. */
#include "tls_rig.h"

TestSuite(tls, .init = setup, .fini = teardown);

Test(tls, a_server_with_a_certificate_and_an_unknown_client)
{
	struct pair p = handshake(context(true, &server_id, NULL, TLS_PEER_NONE),
	                          context(false, NULL, &ca, 0), "siem.example");
	char name[64] = "untouched";

	cr_assert_eq(p.server_result, 0, "%s", tls_error(p.server));
	cr_assert_eq(p.client_result, 0, "%s", tls_error(p.client));
	expect_exchange(p.client, p.server, "<34>1 - - - - - -");
	expect_exchange(p.server, p.client, "hello");
	cr_assert_not(tls_peer_name(p.server, name, sizeof(name)));
	cr_assert_str_eq(name, "untouched");
	cr_assert(tls_peer_name(p.client, name, sizeof(name)));
	cr_assert_str_eq(name, "siem");
	cr_assert_str_eq(tls_error(p.server), "");
	end(&p);
}

Test(tls, the_client_checks_the_name_or_the_address)
{
	static const struct {
		const char *name, *words;
	} cases[] = {{"siem.example", NULL},
	             {"192.0.2.1", NULL},
	             {"::1", NULL},
	             {NULL, NULL},
	             {"other.example", "another host name"},
	             {"192.0.2.2", "another address"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct pair p = handshake(context(true, &server_id, NULL, TLS_PEER_NONE),
		                          context(false, NULL, &ca, 0), cases[i].name);
		cr_assert_eq(p.client_result, cases[i].words ? -EPROTO : 0, "%s: %s",
		             cases[i].name ? cases[i].name : "-", tls_error(p.client));
		if (cases[i].words)
			expect_words(tls_error(p.client), cases[i].words);
		end(&p);
	}
}

Test(tls, a_name_that_no_host_can_have_is_refused_and_harmless)
{
	char name[400];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	struct pair p = handshake(context(true, &server_id, NULL, TLS_PEER_NONE),
	                          context(false, NULL, &ca, 0), name);
	cr_assert_eq(p.client_result, -EPROTO);
	end(&p);
}

Test(tls, a_required_client_certificate_tells_the_name)
{
	struct pair p = handshake(context(true, &server_id, &ca, TLS_PEER_REQUIRED),
	                          context(false, &client_id, &ca, 0), "siem.example");
	char name[64], small[6] = "-";

	cr_assert_eq(p.server_result, 0, "%s", tls_error(p.server));
	cr_assert(tls_peer_name(p.server, name, sizeof(name)));
	cr_assert_str_eq(name, "web-01");
	cr_assert_not(tls_peer_name(p.server, small, sizeof(small)), "a cut name is no name");
	cr_assert_str_eq(small, "-");
	expect_exchange(p.client, p.server, "x");
	end(&p);
}

Test(tls, a_name_with_a_nul_in_it_is_no_name)
{
	struct pair p = handshake(context(true, &server_id, &ca, TLS_PEER_REQUIRED),
	                          context(false, &nul_id, &ca, 0), "siem.example");
	char name[64];

	cr_assert_eq(p.server_result, 0);
	cr_assert_not(tls_peer_name(p.server, name, sizeof(name)));
	end(&p);
}

Test(tls, without_a_common_name_the_alternative_name_counts)
{
	struct pair p = handshake(context(true, &server_id, &ca, TLS_PEER_REQUIRED),
	                          context(false, &san_id, &ca, 0), "siem.example");
	char name[64];

	cr_assert_eq(p.server_result, 0);
	cr_assert(tls_peer_name(p.server, name, sizeof(name)));
	cr_assert_str_eq(name, "ops@example.org");
	end(&p);
}

Test(tls, client_certificates_that_are_refused)
{
	static const struct {
		const struct identity *id;
		enum tls_peer_check peers;
		const char *server_words, *client_words;
	} cases[] = {
		{NULL, TLS_PEER_REQUIRED, "showed no certificate", "requires a certificate of us"},
		{&stranger_id, TLS_PEER_REQUIRED, "signed by no CA we know",
	         "does not know the CA"},
		{&stranger_id, TLS_PEER_OPTIONAL, "signed by no CA we know",
	         "does not know the CA"},
		{&expired_id, TLS_PEER_REQUIRED, "it has expired",
	         "refuses our certificate: expired"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct pair p = handshake(context(true, &server_id, &ca, cases[i].peers),
		                          context(false, cases[i].id, &ca, 0), "siem.example");
		char byte, name[64];
		cr_assert_eq(p.server_result, -EPROTO);
		expect_words(tls_error(p.server), cases[i].server_words);
		cr_assert_not(tls_peer_name(p.server, name, sizeof(name)));
		/* TLS 1.3: the client was done before the server judged it. */
		cr_assert_eq(tls_read(p.client, &byte, 1), -EPROTO);
		expect_words(tls_error(p.client), cases[i].client_words);
		cr_assert_eq(tls_read(p.client, &byte, 1), -EPROTO, "and stays so");
		cr_assert_eq(tls_write(p.client, &byte, 1), -EPROTO);
		cr_assert_eq(tls_handshake(p.server), -EPROTO);
		end(&p);
	}
}

Test(tls, an_optional_certificate_may_be_missing)
{
	struct pair p = handshake(context(true, &server_id, &ca, TLS_PEER_OPTIONAL),
	                          context(false, NULL, &ca, 0), "siem.example");
	char name[64];

	cr_assert_eq(p.server_result, 0);
	cr_assert_not(tls_peer_name(p.server, name, sizeof(name)));
	end(&p);
}

Test(tls, servers_that_the_client_refuses)
{
	static const struct {
		const struct identity *id;
		const char *client_words, *server_words;
	} cases[] = {
		{&stranger_id, "signed by no CA we know", "does not know the CA"},
		{&expired_id, "it has expired", "refuses our certificate: expired"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct pair p = handshake(context(true, cases[i].id, NULL, TLS_PEER_NONE),
		                          context(false, NULL, &ca, 0), "siem.example");
		cr_assert_eq(p.client_result, -EPROTO);
		expect_words(tls_error(p.client), cases[i].client_words);
		cr_assert_eq(p.server_result, -EPROTO);
		expect_words(tls_error(p.server), cases[i].server_words);
		end(&p);
		p = handshake(context(true, cases[i].id, NULL, TLS_PEER_NONE),
		              context(false, NULL, NULL, 0), "siem.example");
		cr_assert_eq(p.client_result, 0, "an insecure client takes everything");
		char name[64];
		cr_assert_not(tls_peer_name(p.client, name, sizeof(name)), "but believes nothing");
		end(&p);
	}
}

Test(tls, an_orderly_end_and_a_cut_one_are_told_apart)
{
	for (int orderly = 0; orderly < 2; orderly++) {
		struct pair p = handshake(context(true, &server_id, NULL, TLS_PEER_NONE),
		                          context(false, NULL, &ca, 0), "siem.example");
		char in[100];
		cr_assert_eq(tls_write(p.client, "last", 4), 4);
		if (orderly) {
			tls_free(p.client);
			p.client = NULL;
		}
		shutdown(p.fds[1], SHUT_RDWR);
		cr_assert_eq(tls_read(p.server, in, sizeof(in)), 4, "data comes first");
		cr_assert_eq(tls_read(p.server, in, sizeof(in)), orderly ? -EPIPE : -ECONNRESET);
		cr_assert_eq(tls_read(p.server, in, sizeof(in)), orderly ? -EPIPE : -ECONNRESET);
		cr_assert_str_neq(tls_error(p.server), "");
		end(&p);
	}
}

Test(tls, a_cut_inside_a_record_is_no_orderly_end)
{
	struct pair p = handshake(context(true, &server_id, NULL, TLS_PEER_NONE),
	                          context(false, NULL, &ca, 0), "siem.example");
	char in[100];

	/* The head of a record that announces 256 bytes, and four of them. */
	cr_assert_eq(write(p.fds[1],
	                   "\x17\x03\x03\x01\x00"
	                   "abcd",
	                   9),
	             9);
	cr_assert_eq(tls_read(p.server, in, sizeof(in)), -EAGAIN);
	shutdown(p.fds[1], SHUT_RDWR);
	cr_assert_eq(tls_read(p.server, in, sizeof(in)), -ECONNRESET);
	end(&p);
}

Test(tls, a_forged_record_is_a_protocol_error)
{
	struct pair p = handshake(context(true, &server_id, NULL, TLS_PEER_NONE),
	                          context(false, NULL, &ca, 0), "siem.example");
	char in[100];

	cr_assert_eq(write(p.fds[1],
	                   "\x17\x03\x03\x00\x20"
	                   "0123456789abcdef0123456789abcdef",
	                   37),
	             37);
	cr_assert_eq(tls_read(p.server, in, sizeof(in)), -EPROTO);
	cr_assert_str_neq(tls_error(p.server), "");
	end(&p);
}

Test(tls, a_peer_that_goes_away_during_the_handshake)
{
	struct tls_context *c = context(true, &server_id, NULL, TLS_PEER_NONE);
	int fds[2];

	socket_pair(fds);
	struct tls *t = tls_new(c, fds[0], NULL);
	cr_assert_eq(tls_handshake(t), -EAGAIN);
	cr_assert_eq(tls_wants(t), EV_READ);
	close(fds[1]);
	cr_assert_eq(tls_handshake(t), -ECONNRESET);
	expect_words(tls_error(t), "during the handshake");
	tls_free(t);
	tls_context_unref(c);
	close(fds[0]);
}

Test(tls, what_is_no_tls)
{
	static const struct {
		struct str bytes;
		const char *words;
	} cases[] = {
		{{"<34>Oct 11 22:14:15 mymachine su: 'su root' failed", 50}, "plain text"},
		{{"52 <34>1 2003-10-11T22:14:15.003Z mymachine su - - -", 52}, "plain text"},
		{{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27}, "HTTP"},
		{{"\x16\x03\x01\x00\x05hello", 10}, ""},
		{{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12}, ""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct tls_context *c = context(true, &server_id, NULL, TLS_PEER_NONE);
		int fds[2];
		socket_pair(fds);
		struct tls *t = tls_new(c, fds[0], NULL);
		cr_assert_eq(write(fds[1], cases[i].bytes.p, cases[i].bytes.n),
		             (ssize_t)cases[i].bytes.n);
		cr_assert_eq(tls_handshake(t), -EPROTO);
		cr_assert_str_neq(tls_error(t), "");
		expect_words(tls_error(t), cases[i].words);
		cr_assert_eq(ERR_peek_error(), 0);
		tls_free(t);
		tls_context_unref(c);
		close(fds[0]);
		close(fds[1]);
	}
}

/* A client of OpenSSL's own, older or poorer than ours may be. */
static void expect_refused_client(int max_version, const char *ciphers, const char *words)
{
	struct tls_context *c = context(true, &server_id, NULL, TLS_PEER_NONE);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int fds[2], r = -EAGAIN;

	SSL_CTX_set_min_proto_version(ctx, 0);
	SSL_CTX_set_max_proto_version(ctx, max_version);
	cr_assert_eq(SSL_CTX_set_cipher_list(ctx, ciphers), 1);
	socket_pair(fds);
	SSL *ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fds[1]);
	SSL_set_connect_state(ssl);
	struct tls *t = tls_new(c, fds[0], NULL);
	for (int i = 0; i < 10 && r == -EAGAIN; i++) {
		ERR_clear_error();
		SSL_do_handshake(ssl);
		r = tls_handshake(t);
	}
	cr_assert_eq(r, -EPROTO);
	expect_words(tls_error(t), words);
	tls_free(t);
	tls_context_unref(c);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fds[0]);
	close(fds[1]);
}

Test(tls, old_versions_and_weak_ciphers_are_refused)
{
	expect_refused_client(TLS1_1_VERSION, "ALL:@SECLEVEL=0", "no TLS version from 1.2 on");
	expect_refused_client(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", "no cipher suite");
	expect_refused_client(TLS1_2_VERSION, "AES128-GCM-SHA256", "no cipher suite");
}

Test(tls, a_failed_connection_does_not_harm_another_one)
{
	struct pair good = handshake(context(true, &server_id, NULL, TLS_PEER_NONE),
	                             context(false, NULL, &ca, 0), "siem.example");

	for (int i = 0; i < 3; i++) {
		struct pair bad = handshake(context(true, &stranger_id, NULL, TLS_PEER_NONE),
		                            context(false, NULL, &ca, 0), "siem.example");
		char in[10];
		cr_assert_eq(bad.client_result, -EPROTO);
		cr_assert_eq(tls_read(good.server, in, sizeof(in)), -EAGAIN);
		expect_exchange(good.client, good.server, "still here");
		end(&bad);
	}
	/* And somebody else's leftover in the queue is not taken for our error. */
	ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
	expect_exchange(good.server, good.client, "still here");
	end(&good);
}

Test(tls, many_records_are_read_in_one_call)
{
	struct pair p = handshake(context(true, &server_id, NULL, TLS_PEER_NONE),
	                          context(false, NULL, &ca, 0), "siem.example");
	size_t total = (size_t)3 << 20, sent = 0, got = 0, largest = 0;
	unsigned char *out = xmalloc(total), *in = xmalloc(128 * 1024);

	for (size_t i = 0; i < total; i++)
		out[i] = (unsigned char)(i * 31 + i / 251);
	while (got < total) {
		while (sent < total) {
			ssize_t n = tls_write(p.client, out + sent, total - sent);
			if (n == -EAGAIN)
				break;
			cr_assert_gt(n, 0, "%s", tls_error(p.client));
			sent += (size_t)n;
		}
		if (sent < total)
			cr_assert_eq(tls_wants(p.client), EV_WRITE);
		for (;;) {
			ssize_t n = tls_read(p.server, in, 128 * 1024);
			if (n == -EAGAIN)
				break;
			cr_assert_gt(n, 0, "%s", tls_error(p.server));
			cr_assert_eq(memcmp(in, out + got, (size_t)n), 0);
			got += (size_t)n;
			if ((size_t)n > largest)
				largest = (size_t)n;
		}
	}
	cr_assert_gt(largest, 64 * 1024, "not one record a call but %zu bytes", largest);
	free(out);
	free(in);
	end(&p);
}

Test(tls, what_was_fetched_ahead_is_given_without_new_bytes)
{
	struct pair p = handshake(context(true, &server_id, NULL, TLS_PEER_NONE),
	                          context(false, NULL, &ca, 0), "siem.example");
	char in[3];

	for (int i = 0; i < 5; i++)
		cr_assert_eq(tls_write(p.client, "abc", 3), 3);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(tls_read(p.server, in, 3), 3);
	cr_assert_eq(tls_read(p.server, in, 3), -EAGAIN);
	cr_assert_eq(tls_read(p.server, in, 0), 0);
	cr_assert_eq(tls_write(p.server, in, 0), 0);
	end(&p);
}

/* ---- contexts that cannot be made ---- */

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
}

static void expect_no_context(bool server, const struct tls_settings *s, int r, const char *words,
                              const char *file)
{
	struct tls_context *c = NULL;
	char error[400] = "";

	cr_assert_eq(tls_context_new(server, s, &c, error, sizeof(error)), r, "%s", error);
	cr_assert_null(c);
	expect_words(error, words);
	expect_words(error, file);
	cr_assert_eq(ERR_peek_error(), 0);
}

Test(tls, files_that_cannot_be_used_are_named_with_the_reason)
{
	const char *cert = server_id.certificate, *key = server_id.file;
	char junk[300], missing[300], encrypted[300];

	snprintf(junk, sizeof(junk), "%s/junk", folder);
	snprintf(missing, sizeof(missing), "%s/missing", folder);
	snprintf(encrypted, sizeof(encrypted), "%s/encrypted", folder);
	write_file(junk, "no PEM at all\n");
	FILE *f = fopen(encrypted, "w");
	PEM_write_PKCS8PrivateKey(f, server_id.key, EVP_aes_256_cbc(), "secret", 6, NULL, NULL);
	fclose(f);

#define SERVER(cert_, key_, ca_, peers_)                                                           \
	true, &(struct tls_settings){.certificate = cert_, .key = key_, .ca = ca_, .peers = peers_}
#define CLIENT(cert_, ca_)                                                                         \
	false, &(struct tls_settings)                                                              \
	{                                                                                          \
		.certificate = cert_, .ca = ca_                                                    \
	}
	expect_no_context(SERVER(missing, key, NULL, 0), -ENOENT, "No such file", missing);
	expect_no_context(SERVER(cert, missing, NULL, 0), -ENOENT, "No such file", missing);
	expect_no_context(SERVER(junk, key, NULL, 0), -EINVAL, "no PEM block", junk);
	expect_no_context(SERVER(cert, junk, NULL, 0), -EINVAL, "key", junk);
	expect_no_context(SERVER(cert, client_id.file, NULL, 0), -EINVAL, "does not belong",
	                  client_id.file);
	expect_no_context(SERVER(cert, encrypted, NULL, 0), -EINVAL, "encrypted", encrypted);
	expect_no_context(SERVER(folder, key, NULL, 0), -EINVAL, "no regular file", folder);
	expect_no_context(SERVER("/dev/zero", key, NULL, 0), -EINVAL, "no regular file",
	                  "/dev/zero");
	expect_no_context(SERVER(cert, NULL, NULL, 0), -EINVAL, "needs its key", "");
	expect_no_context(SERVER(NULL, NULL, NULL, 0), -EINVAL, "needs its key", "");
	expect_no_context(SERVER(cert, key, NULL, TLS_PEER_REQUIRED), -EINVAL, "no CA file", "");
	expect_no_context(SERVER(cert, key, missing, TLS_PEER_REQUIRED), -ENOENT, "CA", missing);
	expect_no_context(SERVER(cert, key, junk, TLS_PEER_REQUIRED), -EINVAL, "CA", junk);
	expect_no_context(CLIENT(NULL, junk), -EINVAL, "CA", junk);
	expect_no_context(CLIENT(cert, NULL), -EINVAL, "needs its key", "");
	unlink(junk);
	unlink(encrypted);
}

Test(tls, a_context_is_shared_and_counted)
{
	struct tls_context *c = context(false, NULL, NULL, 0);

	cr_assert_eq(tls_context_ref(c), c);
	cr_assert_null(tls_context_unref(c));
	cr_assert_null(tls_context_unref(c));
	cr_assert_null(tls_context_unref(NULL));
	tls_free(NULL);
}
