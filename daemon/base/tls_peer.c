/* Whose certificates are let in, and what certificates say.
 *
 * RFC 5425 knows two ways to trust a peer: its certificate leads to a CA that is known (section 4.2.1, 5.1), or it is
 * known itself, by its fingerprint (4.2.2, 4.2.3). Here OpenSSL first judges as usual. When all it found is that no
 * known CA vouches for the certificate, a listed fingerprint stands in for the CA; what a CA says against the
 * certificate (revoked, made for something else) and its dates count in either case. Whom a CA vouches for must then be
 * one of those allowed. All of this is part of the handshake, so that a refused peer learns of it by an alert and
 * nothing it sends is read. The refused certificate is kept: OpenSSL would not give it out any more, and a person wants
 * to know who that was.
 *
 * A wildcard stands for one left-most label and nothing less, in what is allowed and in certificates alike (section
 * 5.2). In a certificate two labels must follow it: no CA should vouch for *.com, but some have. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/tls_internal.h"

#define SHA1_BYTES 20

/* ---- what a certificate says ---- */

uint64_t tls_time(const ASN1_TIME *t)
{
	struct tm tm;

	if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	int64_t seconds = timegm(&tm);
	if (seconds < 0)
		return 0;
	return (uint64_t)seconds > UINT64_MAX / NS_PER_SECOND ? UINT64_MAX
	                                                      : (uint64_t)seconds * NS_PER_SECOND;
}

/* A name with a NUL or another control character in it, or one that does not fit, is none: a cut name could be somebody
 * else's. */
static bool copy_name(const ASN1_STRING *s, char *out, size_t size)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, s);
	bool good = n > 0 && (size_t)n < size;

	for (int i = 0; good && i < n; i++)
		good = utf8[i] >= ' ' && utf8[i] != 0x7f;
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

static bool address_name(const ASN1_OCTET_STRING *s, char *out, size_t size)
{
	int family = s->length == 4 ? AF_INET : AF_INET6;

	return (s->length == 4 || s->length == 16) &&
	       inet_ntop(family, s->data, out, (socklen_t)size) != NULL;
}

/* The name as text; false when it is of another kind, or none. */
static bool general_name(const GENERAL_NAME *name, char *out, size_t size)
{
	switch (name->type) {
	case GEN_DNS:
	case GEN_EMAIL:
	case GEN_URI: return copy_name(name->d.ia5, out, size);
	case GEN_IPADD: return address_name(name->d.iPAddress, out, size);
	default: return false;
	}
}

/* Calls `visit` for the common name (-1) and each alternative name with its GEN_ type, until that answers true. */
static bool each_name(X509 *x, bool (*visit)(void *arg, int type, const char *name), void *arg)
{
	char name[TLS_NAME_MAX];

	if (common_name(x, name, sizeof(name)) && visit(arg, -1, name))
		return true;
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	bool done = false;
	for (int i = 0; !done && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);
		if (general_name(one, name, sizeof(name)))
			done = visit(arg, one->type, name);
	}
	GENERAL_NAMES_free(names);
	return done;
}

static bool take_name(void *arg, int type, const char *name)
{
	struct tls_certificate *c = arg;
	size_t n = strlen(name) + 1;

	/* An address is what a certificate is called only when there is nothing else. */
	if (!c->name[0] && type != GEN_IPADD)
		memcpy(c->name, name, n);
	if (c->names_bytes + n > sizeof(c->names)) {
		c->more = true;
		return false;
	}
	memcpy(c->names + c->names_bytes, name, n);
	c->names_bytes += n;
	return false;
}

static void subject_of(const X509 *x, char *out, size_t size)
{
	BIO *text = BIO_new(BIO_s_mem());
	int n = 0;

	if (text && X509_NAME_print_ex(text, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) >= 0)
		n = BIO_read(text, out, (int)size - 1);
	out[n > 0 ? n : 0] = '\0';
	BIO_free(text);
}

void tls_certificate_read(X509 *x, struct tls_certificate *ret)
{
	unsigned int n = SHA256_BYTES;

	*ret = (struct tls_certificate){.from_ns = tls_time(X509_get0_notBefore(x)),
	                                .until_ns = tls_time(X509_get0_notAfter(x))};
	X509_digest(x, EVP_sha256(), ret->fingerprint, &n);
	subject_of(x, ret->subject, sizeof(ret->subject));
	each_name(x, take_name, ret);
	/* Then it has addresses only. */
	if (!ret->name[0] && ret->names_bytes)
		memcpy(ret->name, ret->names, strlen(ret->names) + 1);
	ERR_clear_error();
}

static char *fingerprint_text(const char *label, const uint8_t *bytes, size_t n, char *out)
{
	char *at = out + sprintf(out, "%s", label);

	for (size_t i = 0; i < n; i++)
		at += sprintf(at, ":%02X", bytes[i]);
	return out;
}

char *tls_fingerprint(const uint8_t fingerprint[static SHA256_BYTES],
                      char out[static TLS_FINGERPRINT_MAX])
{
	return fingerprint_text("sha-256", fingerprint, SHA256_BYTES, out);
}

/* ---- who is allowed ---- */

enum allowed_kind { ALLOWED_NAME, ALLOWED_ADDRESS, ALLOWED_SUBJECT, ALLOWED_SHA256, ALLOWED_SHA1 };

struct allowed {
	enum allowed_kind kind;
	char *text;                  /* of a name, an address or a subject */
	uint8_t bytes[SHA256_BYTES]; /* of a fingerprint */
};

struct tls_guard {
	struct allowed *allowed;
	size_t count;
};

static const struct {
	const char *label;
	enum allowed_kind kind;
	size_t bytes;
} prefixes[] = {
	{"sha-256:", ALLOWED_SHA256, SHA256_BYTES},
	{"sha-1:", ALLOWED_SHA1, SHA1_BYTES},
	{"subject:", ALLOWED_SUBJECT, 0},
};

/* "AB:CD:…", exactly `n` of them; digits of either case. */
static bool parse_fingerprint(struct str s, uint8_t *out, size_t n)
{
	if (!s.p || s.n != 3 * n - 1)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((i && s.p[3 * i - 1] != ':') ||
		    hex_decode(str_make(s.p + 3 * i, 2), out + i, 1) < 0)
			return false;
	return true;
}

static const char *parse_name(const char *text, struct allowed *ret)
{
	const char *rest = strncmp(text, "*.", 2) == 0 ? text + 2 : text;
	char canonical[NET_TEXT_MAX];

	if (!*rest || strchr(rest, '*'))
		return "a * stands for the whole left-most label only, as in *.example.org";
	if (strlen(text) >= TLS_NAME_MAX)
		return "no name is that long";
	bool address = net_is_address(str_of(text), canonical);
	ret->kind = address ? ALLOWED_ADDRESS : ALLOWED_NAME;
	ret->text = xstrdup(address ? canonical : text);
	return NULL;
}

/* NULL, or what is wrong with it. */
static const char *parse_allowed(const char *text, struct allowed *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		struct str label = str_of(prefixes[i].label);
		if (!str_starts(str_of(text), label))
			continue;
		ret->kind = prefixes[i].kind;
		if (ret->kind == ALLOWED_SUBJECT) {
			ret->text = xstrdup(text + label.n);
			return *ret->text ? NULL : "no subject stands behind subject:";
		}
		return parse_fingerprint(str_skip(str_of(text), label.n), ret->bytes,
		                         prefixes[i].bytes)
		               ? NULL
		               : "a fingerprint is sha-256: and 32 bytes (sha-1: and 20) in "
		                 "hexadecimal with colons between, as in RFC 5425 section 4.2.2";
	}
	return parse_name(text, ret);
}

static bool is_pin(const char *text)
{
	return str_starts(str_of(text), STR("sha-256:")) || str_starts(str_of(text), STR("sha-1:"));
}

bool tls_guard_has_pins(const struct tls_settings *s)
{
	for (size_t i = 0; i < s->allowed_count; i++)
		if (is_pin(s->allowed[i]))
			return true;
	return false;
}

bool tls_guard_is_pinned(const struct tls_settings *s)
{
	for (size_t i = 0; i < s->allowed_count; i++)
		if (!is_pin(s->allowed[i]))
			return false;
	return s->allowed_count > 0;
}

static struct str without_dot(const char *s)
{
	struct str name = str_of(s);

	return name.n > 1 && name.p[name.n - 1] == '.' ? str_head(name, name.n - 1) : name;
}

/* `wild` begins with "*." and `name` is that with one label for the *; `labels`: as many must follow at least. */
static bool fits_wildcard(struct str wild, struct str name, size_t labels)
{
	ptrdiff_t dot = str_find(name, '.');
	struct str domain = str_skip(wild, 2);

	if (!str_starts(wild, STR("*.")) || dot <= 0 || (labels > 1 && str_find(domain, '.') < 0))
		return false;
	return str_ieq(str_skip(name, (size_t)dot + 1), domain);
}

static bool name_is_allowed(void *arg, int type, const char *text)
{
	const struct tls_guard *g = arg;
	struct str name = without_dot(text);

	for (size_t i = 0; i < g->count; i++) {
		const struct allowed *a = &g->allowed[i];
		if (a->kind == ALLOWED_ADDRESS && type == GEN_IPADD && strcmp(a->text, text) == 0)
			return true;
		if (a->kind != ALLOWED_NAME || type == GEN_IPADD)
			continue;
		struct str want = without_dot(a->text);
		if (str_ieq(want, name) || fits_wildcard(want, name, 1) ||
		    fits_wildcard(name, want, 2))
			return true;
	}
	return false;
}

static bool subject_is_allowed(const struct tls_guard *g, const X509 *x)
{
	char subject[TLS_SUBJECT_MAX];

	subject_of(x, subject, sizeof(subject));
	/* A cut one is nobody's. */
	if (strlen(subject) == sizeof(subject) - 1)
		return false;
	for (size_t i = 0; i < g->count; i++)
		if (g->allowed[i].kind == ALLOWED_SUBJECT &&
		    strcmp(g->allowed[i].text, subject) == 0)
			return true;
	return false;
}

static bool is_pinned(const struct tls_guard *g, const X509 *x)
{
	uint8_t sha256[EVP_MAX_MD_SIZE], sha1[EVP_MAX_MD_SIZE];
	unsigned int n;

	if (g->count == 0 || X509_digest(x, EVP_sha256(), sha256, &n) != 1 ||
	    X509_digest(x, EVP_sha1(), sha1, &n) != 1)
		return false;
	for (size_t i = 0; i < g->count; i++) {
		const struct allowed *a = &g->allowed[i];
		if ((a->kind == ALLOWED_SHA256 && memcmp(a->bytes, sha256, SHA256_BYTES) == 0) ||
		    (a->kind == ALLOWED_SHA1 && memcmp(a->bytes, sha1, SHA1_BYTES) == 0))
			return true;
	}
	return false;
}

/* ---- judging ---- */

/* No CA that is known vouches for it, and that is all there is to say. */
static bool lacks_ca(int error)
{
	static const int errors[] = {
		X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
		X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
		X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE};

	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		if (errors[i] == error)
			return true;
	return false;
}

static int check_dates(const X509 *x)
{
	if (X509_cmp_current_time(X509_get0_notBefore(x)) >= 0)
		return X509_V_ERR_CERT_NOT_YET_VALID;
	return X509_cmp_current_time(X509_get0_notAfter(x)) <= 0 ? X509_V_ERR_CERT_HAS_EXPIRED
	                                                         : X509_V_OK;
}

/* OpenSSL's question for each peer that shows a certificate. */
static int verify_peer(X509_STORE_CTX *store, void *arg)
{
	struct tls_guard *g = arg;
	X509 *x = X509_STORE_CTX_get0_cert(store);
	bool pinned = is_pinned(g, x);
	bool good = X509_verify_cert(store) == 1;

	if (!good && pinned && lacks_ca(X509_STORE_CTX_get_error(store))) {
		X509_STORE_CTX_set_error(store, check_dates(x));
		good = X509_STORE_CTX_get_error(store) == X509_V_OK;
	}
	if (good && g->count && !pinned && !each_name(x, name_is_allowed, g) &&
	    !subject_is_allowed(g, x)) {
		X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
		good = false;
	}
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = ssl ? SSL_get_app_data(ssl) : NULL;
	if (!good && t) {
		X509_up_ref(x);
		X509_free(t->refused);
		t->refused = x;
	}
	return good;
}

/* Each certificate of the chain is looked for in the lists, but only the peer's own must be in the charge of one: few
 * have a list of their root's. */
static int verify_with_lists(int good, X509_STORE_CTX *store)
{
	return good || (X509_STORE_CTX_get_error(store) == X509_V_ERR_UNABLE_TO_GET_CRL &&
	                X509_STORE_CTX_get_error_depth(store) > 0);
}

/* ---- the guard of a context ---- */

static void guard_free(struct tls_guard *g)
{
	for (size_t i = 0; g && i < g->count; i++)
		free(g->allowed[i].text);
	if (g)
		free(g->allowed);
	free(g);
}

/* Connections may outlive their struct tls_context, but not the SSL_CTX. */
static void free_with_context(void *parent, void *p, CRYPTO_EX_DATA *data, int at, long l, void *q)
{
	(void)parent;
	(void)data;
	(void)at;
	(void)l;
	(void)q;
	guard_free(p);
}

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int guard_index; /* where an SSL_CTX keeps its guard */

static void make_index(void)
{
	guard_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_with_context);
}

int tls_guard_install(SSL_CTX *ctx, const struct tls_settings *s, char *error, size_t error_size)
{
	struct tls_guard *g = xcalloc(1, sizeof(*g));

	g->allowed = xcalloc(s->allowed_count, sizeof(*g->allowed));
	for (size_t i = 0; i < s->allowed_count; i++) {
		const char *wrong = parse_allowed(s->allowed[i], &g->allowed[g->count++]);
		if (!wrong)
			continue;
		snprintf(error, error_size, "allowed \"%.100s\": %s", s->allowed[i], wrong);
		guard_free(g);
		return -EINVAL;
	}
	pthread_once(&index_once, make_index);
	if (guard_index < 0 || SSL_CTX_set_ex_data(ctx, guard_index, g) != 1)
		abort(); /* out of memory: as in base/mem.h */
	SSL_CTX_set_cert_verify_callback(ctx, verify_peer, g);
	if (s->crl)
		X509_STORE_set_verify_cb(SSL_CTX_get_cert_store(ctx), verify_with_lists);
	return 0;
}

/* ---- who the peer is ---- */

static X509 *verified(const SSL *ssl)
{
	if (!(SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) ||
	    SSL_get_verify_result(ssl) != X509_V_OK)
		return NULL;
	return SSL_get0_peer_certificate(ssl);
}

bool tls_ssl_peer_name(const SSL *ssl, char *out, size_t size)
{
	struct tls_certificate c;
	X509 *x = verified(ssl);

	if (!x)
		return false;
	tls_certificate_read(x, &c);
	size_t n = strlen(c.name);
	if (n == 0 || n >= size)
		return false;
	memcpy(out, c.name, n + 1);
	return true;
}

bool tls_peer_name(const struct tls *t, char *out, size_t size)
{
	return t->established && tls_ssl_peer_name(t->ssl, out, size);
}

bool tls_peer(const struct tls *t, struct tls_certificate *ret)
{
	X509 *x = t->established ? verified(t->ssl) : NULL;

	if (x)
		tls_certificate_read(x, ret);
	return x != NULL;
}

bool tls_refused_peer(const struct tls *t, struct tls_certificate *ret)
{
	if (!t->refused)
		return false;
	tls_certificate_read(t->refused, ret);
	return true;
}
