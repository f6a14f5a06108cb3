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
#include "base/tls.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/net.h"

#define READ_AHEAD ((size_t)64 * 1024) /* four full records a system call */
#define WORDS_MAX  256
/* RFC 9325 section 4.2: ephemeral keys, AEAD. TLS 1.3 has nothing else. */
#define CIPHERS_TLS12 "ECDHE+AESGCM:ECDHE+CHACHA20"

struct tls_context {
	atomic_uint references;
	SSL_CTX *ssl;
	bool server;
};

struct tls {
	SSL *ssl;
	short wants;
	bool established;
	int failed; /* the negative errno that ended it, 0 while it works */
	char words[WORDS_MAX];
};

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

static void describe(unsigned long code, const SSL *ssl, char *out, size_t size)
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

/* ---- contexts ---- */

struct report {
	char *text;
	size_t size;
};

/* Why OpenSSL did not take `file`, from the error queue. */
static int bad_file(const struct report *report, const char *what, const char *file)
{
	unsigned long code =
		ERR_peek_error(); /* the first is the cause, the rest are consequences */
	int lib = ERR_GET_LIB(code), reason = ERR_GET_REASON(code);
	char words[WORDS_MAX];

	if (lib == ERR_LIB_PEM && reason == PEM_R_NO_START_LINE)
		snprintf(words, sizeof(words), "there is no PEM block of that kind in it");
	else if (lib == ERR_LIB_PEM &&
	         (reason == PEM_R_BAD_PASSWORD_READ || reason == PEM_R_BAD_DECRYPT))
		snprintf(words, sizeof(words), "it is encrypted; a daemon has nobody to ask");
	else
		describe(code, NULL, words, sizeof(words));
	ERR_clear_error();
	snprintf(report->text, report->size, "%s %s: %s", what, file, words);
	return -EINVAL;
}

static int check_readable(const struct report *report, const char *what, const char *file)
{
	struct stat st;
	int r = stat(file, &st) < 0 || access(file, R_OK) < 0 ? -errno : 0;

	if (r < 0)
		snprintf(report->text, report->size, "%s %s: %s", what, file, strerror(-r));
	else if (!S_ISREG(st.st_mode)) { /* OpenSSL would read a device or a pipe for ever */
		snprintf(report->text, report->size, "%s %s: no regular file", what, file);
		r = -EINVAL;
	}
	return r;
}

/* Without this OpenSSL would ask for the passphrase of an encrypted key on the terminal. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int load_identity(SSL_CTX *ctx, const struct tls_settings *s, const struct report *report)
{
	int r;

	if (!s->certificate || !s->key) {
		snprintf(report->text, report->size,
		         "a certificate needs its key and a key its "
		         "certificate: one of the two is not named");
		return -EINVAL;
	}
	r = check_readable(report, "certificate", s->certificate);
	if (r == 0)
		r = check_readable(report, "key", s->key);
	if (r < 0)
		return r;
	if (SSL_CTX_use_certificate_chain_file(ctx, s->certificate) != 1)
		return bad_file(report, "certificate", s->certificate);
	if (SSL_CTX_use_PrivateKey_file(ctx, s->key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1) {
		unsigned long code = ERR_peek_error();
		if (ERR_GET_LIB(code) == ERR_LIB_X509 &&
		    (ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH ||
		     ERR_GET_REASON(code) == X509_R_KEY_TYPE_MISMATCH)) {
			ERR_clear_error();
			snprintf(report->text, report->size,
			         "key %s does not belong to certificate %s", s->key,
			         s->certificate);
			return -EINVAL;
		}
		return bad_file(report, "key", s->key);
	}
	return 0;
}

static int load_ca(SSL_CTX *ctx, bool server, const struct tls_settings *s,
                   const struct report *report)
{
	int r = check_readable(report, "CA file", s->ca);

	if (r < 0)
		return r;
	if (SSL_CTX_load_verify_file(ctx, s->ca) != 1)
		return bad_file(report, "CA file", s->ca);
	if (!server)
		return 0;
	/* Told to clients, which choose their certificate by it. */
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(s->ca);
	if (!names)
		return bad_file(report, "CA file", s->ca);
	SSL_CTX_set_client_CA_list(ctx, names);
	return 0;
}

static int set_peer_check(SSL_CTX *ctx, bool server, const struct tls_settings *s,
                          const struct report *report)
{
	int mode = SSL_VERIFY_NONE;

	if (server && s->peers != TLS_PEER_NONE) {
		if (!s->ca) {
			snprintf(report->text, report->size,
			         "client certificates are asked for, but no CA file is named");
			return -EINVAL;
		}
		mode = SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE;
		if (s->peers == TLS_PEER_REQUIRED)
			mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	}
	if (!server && !s->insecure)
		mode = SSL_VERIFY_PEER;
	SSL_CTX_set_verify(ctx, mode, NULL);
	if (s->ca)
		return load_ca(ctx, server, s, report);
	if (!server && !s->insecure && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return bad_file(report, "CA files", "of the system");
	return 0;
}

static int set_up(SSL_CTX *ctx, bool server, const struct tls_settings *s,
                  const struct report *report)
{
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) != 1 ||
	    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"isod", 4) != 1 ||
	    SSL_CTX_set_num_tickets(ctx, 0) != 1)
		return bad_file(report, "TLS", "settings");
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	                                 SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (server || s->certificate || s->key) {
		int r = load_identity(ctx, s, report);
		if (r < 0)
			return r;
	}
	return set_peer_check(ctx, server, s, report);
}

int tls_context_new(bool server, const struct tls_settings *settings, struct tls_context **ret,
                    char *error, size_t error_size)
{
	const struct report report = {error, error_size};

	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!ctx)
		return bad_file(&report, "TLS", "library");
	int r = set_up(ctx, server, settings, &report);
	ERR_clear_error();
	if (r < 0) {
		SSL_CTX_free(ctx);
		return r;
	}
	struct tls_context *c = xcalloc(1, sizeof(*c));
	atomic_init(&c->references, 1);
	c->ssl = ctx;
	c->server = server;
	*ret = c;
	return 0;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
	atomic_fetch_add(&c->references, 1);
	return c;
}

struct tls_context *tls_context_unref(struct tls_context *c)
{
	if (c && atomic_fetch_sub(&c->references, 1) == 1) {
		SSL_CTX_free(c->ssl);
		free(c);
	}
	return NULL;
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
	char words[WORDS_MAX];

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
		describe(code, t->ssl, words, sizeof(words));
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
	char rest[256], words[WORDS_MAX];
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

/* ---- who the peer is ---- */

/* A name with a NUL in it, or one that does not fit, is none: a cut name could be somebody else's. */
static bool copy_name(const ASN1_STRING *s, char *out, size_t size)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, s);
	bool good = n > 0 && (size_t)n < size && !memchr(utf8, '\0', (size_t)n);

	if (good) {
		memcpy(out, utf8, (size_t)n);
		out[n] = '\0';
	}
	OPENSSL_free(utf8);
	return good;
}

static bool common_name(X509 *x, char *out, size_t size)
{
	const X509_NAME *subject = X509_get_subject_name(x);
	int last = -1, at;

	/* The last is the most specific (RFC 6125 section 2.3.1). */
	while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, last)) >= 0)
		last = at;
	return last >= 0 &&
	       copy_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)), out, size);
}

static bool alternative_name(X509 *x, char *out, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type == GEN_DNS || name->type == GEN_EMAIL || name->type == GEN_URI)
			found = copy_name(name->d.ia5, out, size);
	}
	GENERAL_NAMES_free(names);
	return found;
}

static bool peer_name(const SSL *ssl, char *out, size_t size)
{
	if (!(SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) ||
	    SSL_get_verify_result(ssl) != X509_V_OK)
		return false;
	ERR_clear_error();
	X509 *x = SSL_get1_peer_certificate(ssl);
	bool found = x && (common_name(x, out, size) || alternative_name(x, out, size));
	X509_free(x);
	ERR_clear_error();
	return found;
}

bool tls_peer_name(const struct tls *t, char *out, size_t size)
{
	return t->established && peer_name(t->ssl, out, size);
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

	return ssl && SSL_is_init_finished(ssl) && peer_name(ssl, out, size);
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
		describe(code, ssl, out, size);
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
