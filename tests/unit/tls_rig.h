/* What the tests of base/tls share: certificates made here, and both ends of a connection in one thread. */
#ifndef ISOD_TESTS_TLS_RIG_H
#define ISOD_TESTS_TLS_RIG_H

#include <criterion/criterion.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/tls.h"

#define DAY 86400L

/* ---- certificates ---- */

struct identity {
	EVP_PKEY *key;
	X509 *cert;
	char certificate[300], file[300]; /* PEM of each, `file` the key's */
};

static char folder[100];
static struct identity ca, other_ca, server_id, client_id, expired_id, stranger_id, nul_id, san_id;

static inline void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	cr_assert_not_null(e);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

/* `issuer` NULL: self-signed CA. `san` may be NULL. */
static inline void make_identity(struct identity *i, const char *name, struct str cn,
                                 const char *san, const struct identity *issuer, long from, long to)
{
	static long serial = 1;
	const struct identity *by = issuer ? issuer : i;
	FILE *f;

	i->key = EVP_EC_gen("P-256");
	i->cert = X509_new();
	X509_set_version(i->cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(i->cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(i->cert), from);
	X509_gmtime_adj(X509_getm_notAfter(i->cert), to);
	X509_set_pubkey(i->cert, i->key);
	if (cn.n)
		X509_NAME_add_entry_by_txt(X509_get_subject_name(i->cert), "CN", MBSTRING_UTF8,
		                           (const unsigned char *)cn.p, (int)cn.n, -1, 0);
	X509_set_issuer_name(i->cert, X509_get_subject_name(by->cert));
	add_extension(i->cert, by->cert, NID_basic_constraints,
	              issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
	if (san)
		add_extension(i->cert, by->cert, NID_subject_alt_name, san);
	cr_assert_gt(X509_sign(i->cert, by->key, EVP_sha256()), 0);
	snprintf(i->certificate, sizeof(i->certificate), "%s/%s.pem", folder, name);
	snprintf(i->file, sizeof(i->file), "%s/%s.key", folder, name);
	f = fopen(i->certificate, "w");
	PEM_write_X509(f, i->cert);
	fclose(f);
	f = fopen(i->file, "w");
	PEM_write_PrivateKey(f, i->key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

static inline void remove_identity(struct identity *i)
{
	unlink(i->certificate);
	unlink(i->file);
	X509_free(i->cert);
	EVP_PKEY_free(i->key);
}

static inline void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	strcpy(folder, "/tmp/isod-tls-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	make_identity(&ca, "ca", STR("Test CA"), NULL, NULL, -DAY, DAY);
	make_identity(&other_ca, "other-ca", STR("Other CA"), NULL, NULL, -DAY, DAY);
	make_identity(&server_id, "server", STR("siem"), "DNS:siem.example,IP:192.0.2.1,IP:::1",
	              &ca, -DAY, DAY);
	make_identity(&client_id, "client", STR("web-01"), NULL, &ca, -DAY, DAY);
	make_identity(&expired_id, "expired", STR("old"), "DNS:siem.example", &ca, -2 * DAY, -DAY);
	make_identity(&stranger_id, "stranger", STR("web-01"), "DNS:siem.example", &other_ca, -DAY,
	              DAY);
	make_identity(&nul_id, "nul", STR("admin\0.evil.example"), NULL, &ca, -DAY, DAY);
	make_identity(&san_id, "san", STR(""), "email:ops@example.org", &ca, -DAY, DAY);
}

static inline void teardown(void)
{
	struct identity *all[] = {&ca,         &other_ca,    &server_id, &client_id,
	                          &expired_id, &stranger_id, &nul_id,    &san_id};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		remove_identity(all[i]);
	cr_expect_eq(rmdir(folder), 0, "nothing is left behind");
}

/* ---- two ends in one thread ---- */

struct pair {
	int fds[2]; /* server, client */
	struct tls *server, *client;
	int server_result, client_result; /* of the handshake */
};

static inline struct tls_context *context(bool server, const struct identity *id,
                                          const struct identity *trusted, enum tls_peer_check peers)
{
	struct tls_settings s = {.certificate = id ? id->certificate : NULL,
	                         .key = id ? id->file : NULL,
	                         .ca = trusted ? trusted->certificate : NULL,
	                         .peers = peers,
	                         .insecure = !server && !trusted};
	struct tls_context *c = NULL;
	char error[300] = "";

	cr_assert_eq(tls_context_new(server, &s, &c, error, sizeof(error)), 0, "%s", error);
	return c;
}

static inline void socket_pair(int fds[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

/* Takes the contexts over. Both ends go on until neither can. */
static inline struct pair handshake(struct tls_context *s, struct tls_context *c, const char *name)
{
	struct pair p = {.server_result = -EAGAIN, .client_result = -EAGAIN};

	socket_pair(p.fds);
	p.server = tls_new(s, p.fds[0], NULL);
	p.client = tls_new(c, p.fds[1], name);
	tls_context_unref(s); /* connections keep what they need */
	tls_context_unref(c);
	for (int i = 0; i < 20; i++) {
		if (p.client_result == -EAGAIN)
			p.client_result = tls_handshake(p.client);
		if (p.server_result == -EAGAIN)
			p.server_result = tls_handshake(p.server);
	}
	cr_assert_eq(ERR_peek_error(), 0, "no error is left for the next connection");
	return p;
}

static inline void end(struct pair *p)
{
	tls_free(p->server);
	tls_free(p->client);
	close(p->fds[0]);
	close(p->fds[1]);
}

static inline void expect_words(const char *got, const char *want)
{
	cr_assert_not_null(strstr(got, want), "\"%s\" should tell \"%s\"", got, want);
}

static inline void expect_exchange(struct tls *from, struct tls *to, const char *text)
{
	char in[100] = "";

	cr_assert_eq(tls_write(from, text, strlen(text)), (ssize_t)strlen(text));
	cr_assert_eq(tls_read(to, in, sizeof(in)), (ssize_t)strlen(text), "%s", tls_error(to));
	cr_assert_str_eq(in, text);
	cr_assert_eq(tls_read(to, in, sizeof(in)), -EAGAIN);
	cr_assert_eq(tls_wants(to), EV_READ);
}

#endif
