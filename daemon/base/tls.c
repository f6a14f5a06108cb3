/* Three things about OpenSSL shaped this file.
 *
 * Errors live in a queue per thread. A leftover of one connection would be taken for the error of the next, so each
 * operation begins with an empty queue, and what it leaves there is turned into words at once and thrown away. After a
 * failure a connection is not touched again: it answers with the same error from then on.
 *
 * A record holds at most 16 KiB and SSL_read() gives at most one. With read-ahead one recv(2) fetches several
 * records, and tls_read() goes on until the caller's buffer is full or nothing is left. The buffer of an idle connection is
 * given back (SSL_MODE_RELEASE_BUFFERS), so ten thousand silent senders cost kilobytes each and not READ_AHEAD.
 *
 * libevent's bufferevent asks SSL_pending(), which knows nothing of records fetched ahead, so there read-ahead is off:
 * otherwise the last message would wait in the buffer until the peer sends another. */
#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/net.h"
#include "base/tls_internal.h"

/* ---- errors in words ---- */

static const struct {
	int reason;
	const char *words;
} ssl_words[] = {
	{SSL_R_WRONG_VERSION_NUMBER, "the peer does not speak TLS (plain text on a TLS port?)"},
	{SSL_R_HTTP_REQUEST, "the peer does not speak TLS (a plain HTTP request)"},
	{SSL_R_HTTPS_PROXY_REQUEST, "the peer does not speak TLS (a proxy request)"},
	{SSL_R_UNSUPPORTED_PROTOCOL, "the peer offers no TLS version from 1.2 on"},
	{SSL_R_VERSION_TOO_LOW, "the peer offers no TLS version from 1.2 on"},
	{SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the peer refuses our TLS versions (1.2 and 1.3)"},
	{SSL_R_NO_SHARED_CIPHER, "no cipher suite in common"},
	{SSL_R_NO_SHARED_GROUPS, "no key exchange group in common"},
	{SSL_R_NO_SUITABLE_KEY_SHARE, "no key exchange group in common"},
	{SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "no signature algorithm in common"},
	{SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
         "the peer refuses the handshake (no cipher suite in common, or it wants a certificate)"},
	{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE,
         "the peer showed no certificate, and one is required"},
	{SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "the peer requires a certificate of us"},
	{SSL_R_TLSV1_ALERT_UNKNOWN_CA,
         "the peer refuses our certificate: it does not know the CA that signed it"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the peer refuses our certificate: expired"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "the peer refuses our certificate: revoked"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the peer refuses our certificate"},
	{SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the peer refuses our certificate"},
	{SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "the peer refuses our certificate's type"},
	{SSL_R_TLSV1_ALERT_ACCESS_DENIED, "the peer denies us access"},
	{SSL_R_UNEXPECTED_EOF_WHILE_READING,
         "the peer closed the connection without ending TLS (cut off?)"},
};

static const struct {
	long result;
	const char *words;
} verify_words[] = {
	{X509_V_ERR_CERT_HAS_EXPIRED, "it has expired"},
	{X509_V_ERR_CERT_NOT_YET_VALID, "it is not valid yet (or our clock is wrong)"},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "it is signed by no CA we know"},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "it is signed by no CA we know"},
	{X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "it is signed by no CA we know"},
	{X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "it is self-signed and not among the CAs we know"},
	{X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "its CA is not among those we know"},
	{X509_V_ERR_CERT_REVOKED, "it is revoked"},
	{X509_V_ERR_CERT_REJECTED, "it is none of those that are allowed here"},
	{X509_V_ERR_UNABLE_TO_GET_CRL, "there is no revocation list of its CA"},
	{X509_V_ERR_CRL_HAS_EXPIRED, "the revocation list of its CA has run out"},
	{X509_V_ERR_CRL_NOT_YET_VALID, "the revocation list of its CA is not valid yet"},
	{X509_V_ERR_CRL_SIGNATURE_FAILURE, "the revocation list of its CA is forged"},
	{X509_V_ERR_HOSTNAME_MISMATCH, "it is for another host name"},
	{X509_V_ERR_IP_ADDRESS_MISMATCH, "it is for another address"},
	{X509_V_ERR_INVALID_PURPOSE, "it is not made for this use (extended key usage)"},
};

static void describe_verify(long result, char *out, size_t size)
{
	const char *words = X509_verify_cert_error_string(result);

	for (size_t i = 0; i < ARRAY_LEN(verify_words); i++)
		if (verify_words[i].result == result)
			words = verify_words[i].words;
	snprintf(out, size, "the peer's certificate is refused: %s", words);
}

void tls_describe(unsigned long code, const SSL *ssl, char *out, size_t size)
{
	int reason = ERR_GET_REASON(code);
	const char *words = ERR_reason_error_string(code);

	if (ERR_SYSTEM_ERROR(code)) {
		snprintf(out, size, "%s", strerror(reason));
		return;
	}
	if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED && ssl) {
		describe_verify(SSL_get_verify_result(ssl), out, size);
		return;
	}
	for (size_t i = 0; ERR_GET_LIB(code) == ERR_LIB_SSL && i < ARRAY_LEN(ssl_words); i++)
		if (ssl_words[i].reason == reason)
			words = ssl_words[i].words;
	snprintf(out, size, "%s", words ? words : "TLS failed without a reason");
}

/* ---- connections ---- */

static void set_name(SSL *ssl, const char *name)
{
	if (net_is_address(str_of(name), NULL)) {
		if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) != 1)
			abort();
		return;
	}
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (SSL_set1_host(ssl, name) != 1 || SSL_set_tlsext_host_name(ssl, name) != 1)
		/* Over 255 bytes, no certificate is for it: no name fits. */
		SSL_set1_host(ssl, "invalid.");
}

/* OpenSSL's own allocations end the process when they fail, as ours do. */
static SSL *new_ssl(struct tls_context *c, const char *name)
{
	ERR_clear_error();
	SSL *ssl = SSL_new(c->ssl);
	if (!ssl)
		abort();
	if (!c->server && name)
		set_name(ssl, name);
	ERR_clear_error();
	return ssl;
}

struct tls *tls_new(struct tls_context *c, int fd, const char *name)
{
	struct tls *t = xcalloc(1, sizeof(*t));

	t->ssl = new_ssl(c, name);
	if (SSL_set_fd(t->ssl, fd) != 1)
		abort();
	SSL_set_app_data(t->ssl, t);
	if (c->server)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	t->wants = c->server ? EV_READ : EV_WRITE;
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	if (t->established && (!t->failed || t->failed == -EPIPE)) {
		ERR_clear_error();
		SSL_shutdown(t->ssl);
		ERR_clear_error();
	}
	SSL_free(t->ssl);
	X509_free(t->refused);
	free(t);
}

static int fail(struct tls *t, int r, const char *words)
{
	snprintf(t->words, sizeof(t->words), "%s", words);
	ERR_clear_error();
	return t->failed = r;
}

/* What an operation's answer `got` (not a success) means; `error` is errno right after it. */
static int outcome(struct tls *t, int got, int error)
{
	unsigned long code;
	char words[TLS_WORDS_MAX];

	switch (SSL_get_error(t->ssl, got)) {
	case SSL_ERROR_WANT_READ: t->wants = EV_READ; return -EAGAIN;
	case SSL_ERROR_WANT_WRITE: t->wants = EV_WRITE; return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN: return fail(t, -EPIPE, "the peer closed the connection");
	case SSL_ERROR_SYSCALL:
		snprintf(words, sizeof(words), "%s",
		         error ? strerror(error) : "the peer closed the connection");
		return fail(t, -ECONNRESET, words);
	default:
		code = ERR_peek_error();
		t->no_certificate |=
			ERR_GET_LIB(code) == ERR_LIB_SSL &&
			ERR_GET_REASON(code) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
		tls_describe(code, t->ssl, words, sizeof(words));
		if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
		    ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return fail(
				t, -ECONNRESET,
				t->established
					? words
					: "the peer closed the connection during the handshake");
		return fail(t, -EPROTO, words);
	}
}

static void begin(struct tls *t)
{
	t->words[0] = '\0';
	ERR_clear_error();
	errno = 0;
}

int tls_handshake(struct tls *t)
{
	if (t->failed)
		return t->failed;
	begin(t);
	int got = SSL_do_handshake(t->ssl);
	if (got != 1)
		return outcome(t, got, errno);
	t->established = true;
	return 0;
}

ssize_t tls_read(struct tls *t, void *p, size_t n)
{
	size_t have = 0, part;

	if (t->failed)
		return t->failed;
	begin(t);
	while (have < n) {
		int got = SSL_read_ex(t->ssl, (char *)p + have, n - have, &part);
		if (got != 1) {
			/* What has come counts first; a failure is remembered for the next call. */
			int r = outcome(t, got, errno);
			return have ? (ssize_t)have : r;
		}
		t->established = true;
		have += part;
	}
	return (ssize_t)have;
}

/* Writing has failed because the peer is gone. If it sent an alert before it left, that is the reason (a refused client
 * certificate under TLS 1.3); it is still in our receive buffer. */
static int last_words(struct tls *t)
{
	char rest[256], words[TLS_WORDS_MAX];
	size_t n;
	int got;

	memcpy(words, t->words, sizeof(words));
	begin(t);
	while ((got = SSL_read_ex(t->ssl, rest, sizeof(rest), &n)) == 1)
		continue;
	if (outcome(t, got, errno) == -EPROTO)
		return -EPROTO;
	return fail(t, -ECONNRESET, words);
}

ssize_t tls_write(struct tls *t, const void *p, size_t n)
{
	size_t written;

	if (t->failed)
		return t->failed;
	if (n == 0)
		return 0;
	begin(t);
	int got = SSL_write_ex(t->ssl, p, n, &written);
	if (got != 1) {
		int r = outcome(t, got, errno);
		return r == -ECONNRESET ? last_words(t) : r;
	}
	t->established = true;
	return (ssize_t)written;
}

int tls_shutdown(struct tls *t)
{
	if (t->failed)
		return t->failed;
	begin(t);
	int got = SSL_shutdown(t->ssl);
	return got < 0 ? outcome(t, got, errno) : 0;
}

short tls_wants(const struct tls *t)
{
	return t->wants;
}

const char *tls_error(const struct tls *t)
{
	return t->words;
}

bool tls_refused(const struct tls *t)
{
	return t->refused || t->no_certificate;
}

/* ---- behind a bufferevent ---- */

struct bufferevent *tls_bufferevent(struct event_base *base, struct tls_context *c, int fd,
                                    bool server, const char *name)
{
	SSL *ssl = new_ssl(c, server ? NULL : name);

	SSL_set_read_ahead(ssl, 0);
	/* Frees `ssl` itself when it fails. */
	return bufferevent_openssl_socket_new(
		base, fd, ssl, server ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING,
		BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
}

bool tls_bufferevent_peer(struct bufferevent *bev, char *out, size_t size)
{
	const SSL *ssl = bufferevent_openssl_get_ssl(bev);

	return ssl && SSL_is_init_finished(ssl) && tls_ssl_peer_name(ssl, out, size);
}

const char *tls_bufferevent_error(struct bufferevent *bev, char *out, size_t size)
{
	const SSL *ssl = bufferevent_openssl_get_ssl(bev);
	unsigned long code = 0, next;

	out[0] = '\0';
	/* libevent gives them newest first, the oldest is the cause; before that comes SSL_get_error()'s answer, which
	 * is no code and tells no library. */
	while ((next = bufferevent_get_openssl_error(bev)))
		if (ERR_GET_LIB(next))
			code = next;
	if (code)
		tls_describe(code, ssl, out, size);
	return out;
}

void tls_bufferevent_free(struct bufferevent *bev)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);

	ERR_clear_error();
	if (ssl && SSL_is_init_finished(ssl))
		SSL_shutdown(ssl);
	ERR_clear_error();
	bufferevent_free(bev);
}
