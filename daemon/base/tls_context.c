/* Contexts: what of TLS is on and off, and the files. A file is read whole here and now; what is wrong with it is said with
 * its name, because that is what a person can mend. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/tls_internal.h"

#define READ_AHEAD ((size_t)64 * 1024) /* four full records a system call */
/* RFC 9325 section 4.2: ephemeral keys, AEAD. TLS 1.3 has nothing else. */
#define CIPHERS_TLS12 "ECDHE+AESGCM:ECDHE+CHACHA20"
#define GROUPS        "X25519:P-256:X448:P-384:P-521"
#define TICKETS       2 /* as OpenSSL's default: a client may open a second connection */

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
	char words[TLS_WORDS_MAX];

	if (lib == ERR_LIB_PEM && reason == PEM_R_NO_START_LINE)
		snprintf(words, sizeof(words), "there is no PEM block of that kind in it");
	else if (lib == ERR_LIB_PEM &&
	         (reason == PEM_R_BAD_PASSWORD_READ || reason == PEM_R_BAD_DECRYPT))
		snprintf(words, sizeof(words), "it is encrypted; a daemon has nobody to ask");
	else
		tls_describe(code, NULL, words, sizeof(words));
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
	if (!server || tls_guard_has_pins(s))
		return 0;
	/* Told to clients, which choose their certificate by it. */
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(s->ca);
	if (!names)
		return bad_file(report, "CA file", s->ca);
	SSL_CTX_set_client_CA_list(ctx, names);
	return 0;
}

/* The lists that stand one behind the other in the file. *ret_until: when the first of them runs out. */
static int add_lists(X509_STORE *store, BIO *in, uint64_t *ret_until)
{
	X509_CRL *crl;
	int lists = 0;

	*ret_until = UINT64_MAX;
	while ((crl = PEM_read_bio_X509_CRL(in, NULL, no_passphrase, NULL))) {
		const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
		uint64_t until = next ? tls_time(next) : UINT64_MAX;
		int added = X509_STORE_add_crl(store, crl);
		X509_CRL_free(crl);
		if (!added)
			return -EINVAL;
		*ret_until = until < *ret_until ? until : *ret_until;
		lists++;
	}
	/* The end of the file is told as that no further block begins. */
	bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	if (lists == 0 || !end)
		return -EINVAL;
	ERR_clear_error();
	return 0;
}

static int load_lists(struct tls_context *c, const struct tls_settings *s,
                      const struct report *report)
{
	X509_STORE *store = SSL_CTX_get_cert_store(c->ssl);
	int r = check_readable(report, "CRL file", s->crl);

	if (r < 0)
		return r;
	BIO *in = BIO_new_file(s->crl, "r");
	r = in ? add_lists(store, in, &c->crl_until_ns) : -EINVAL;
	BIO_free(in);
	if (r < 0)
		return bad_file(report, "CRL file", s->crl);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

static int set_peer_check(SSL_CTX *ctx, bool server, const struct tls_settings *s,
                          const struct report *report)
{
	int mode = SSL_VERIFY_NONE;

	if (server && s->peers != TLS_PEER_NONE) {
		if (!s->ca && !tls_guard_is_pinned(s)) {
			snprintf(report->text, report->size,
			         "client certificates are asked for, but no CA file is named, and "
			         "not all that are allowed are known by fingerprint");
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

static int set_tickets(SSL_CTX *ctx, bool tickets)
{
	if (!tickets)
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	/* Nothing is kept here: a ticket holds all there is. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return SSL_CTX_set_num_tickets(ctx, tickets ? TICKETS : 0);
}

static int set_up(struct tls_context *c, const struct tls_settings *s, const struct report *report)
{
	SSL_CTX *ctx = c->ssl;
	int r = 0;

	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) != 1 ||
	    SSL_CTX_set1_groups_list(ctx, GROUPS) != 1 ||
	    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"isod", 4) != 1 ||
	    set_tickets(ctx, s->tickets) != 1)
		return bad_file(report, "TLS", "settings");
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (c->server || s->certificate || s->key)
		r = load_identity(ctx, s, report);
	if (r == 0)
		r = set_peer_check(ctx, c->server, s, report);
	if (r == 0 && c->server && s->crl)
		r = load_lists(c, s, report);
	if (r == 0 && c->server && s->peers != TLS_PEER_NONE)
		r = tls_guard_install(ctx, s, report->text, report->size);
	return r;
}

int tls_context_new(bool server, const struct tls_settings *settings, struct tls_context **ret,
                    char *error, size_t error_size)
{
	const struct report report = {error, error_size};

	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!ctx)
		return bad_file(&report, "TLS", "library");
	struct tls_context *c = xcalloc(1, sizeof(*c));
	atomic_init(&c->references, 1);
	c->ssl = ctx;
	c->server = server;
	int r = set_up(c, settings, &report);
	ERR_clear_error();
	if (r < 0) {
		tls_context_unref(c);
		return r;
	}
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

bool tls_context_certificate(const struct tls_context *c, struct tls_certificate *ret)
{
	X509 *x = SSL_CTX_get0_certificate(c->ssl);

	if (x)
		tls_certificate_read(x, ret);
	return x != NULL;
}

uint64_t tls_context_crl_until(const struct tls_context *c)
{
	return c->crl_until_ns;
}
