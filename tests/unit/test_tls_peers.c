/* Whom a server lets in: names, addresses, subjects and fingerprints that are allowed, self-signed certificates, revoked
 * ones; and what it knows of a peer, or of one it refused. */
#include "tls_rig.h"

TestSuite(tls_peers, .init = setup, .fini = teardown);

static struct identity host_id, wild_id, self_id;

static void more(void)
{
	make_identity(&host_id, "host", STR("Web Server"),
	              "DNS:web1.example.org,DNS:www.example.org,IP:192.0.2.7,IP:2001:db8::7,URI:"
	              "spiffe://x/web",
	              &ca, -DAY, DAY);
	make_identity(&wild_id, "wild", STR("wild"), "DNS:*.example.org,DNS:*.org", &ca, -DAY, DAY);
	make_identity(&self_id, "self", STR("lonely"), NULL, NULL, -DAY, DAY);
}

static void no_more(void)
{
	remove_identity(&host_id);
	remove_identity(&wild_id);
	remove_identity(&self_id);
}

static struct tls_context *server(const char *const *allowed, size_t count, bool with_ca,
                                  const char *crl)
{
	const struct tls_settings s = {.certificate = server_id.certificate,
	                               .key = server_id.file,
	                               .ca = with_ca ? ca.certificate : NULL,
	                               .peers = TLS_PEER_REQUIRED,
	                               .crl = crl,
	                               .allowed = allowed,
	                               .allowed_count = count};
	struct tls_context *c;
	char error[300] = "";

	cr_assert_eq(tls_context_new(true, &s, &c, error, sizeof(error)), 0, "%s", error);
	return c;
}

/* What becomes of `id` where only `allowed` is. */
static struct pair meet(const struct identity *id, const char *allowed, bool with_ca)
{
	return handshake(server(&allowed, 1, with_ca, NULL), context(false, id, &ca, 0),
	                 "siem.example");
}

static char *fingerprint_of(const struct identity *id, const EVP_MD *md, const char *label)
{
	static char text[200];
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n;
	char *at = text + sprintf(text, "%s", label);

	X509_digest(id->cert, md, digest, &n);
	for (unsigned int i = 0; i < n; i++)
		at += sprintf(at, ":%02X", digest[i]);
	return text;
}

Test(tls_peers, names_that_are_allowed)
{
	more();
	const struct {
		const struct identity *id;
		const char *allowed;
		bool in;
	} cases[] = {
		{&host_id, "web1.example.org", true},
		{&host_id, "WEB1.Example.ORG", true},
		{&host_id, "web1.example.org.", true},
		{&host_id, "www.example.org", true},
		{&host_id, "web server", true},
		{&host_id, "*.example.org", true},
		{&host_id, "192.0.2.7", true},
		{&host_id, "2001:DB8:0::7", true},
		{&host_id, "spiffe://x/web", true},
		{&host_id, "subject:CN=Web Server", true},
		{&host_id, "subject:CN=Web", false},
		{&host_id, "subject:CN=web server", false},
		{&host_id, "example.org", false},
		{&host_id, "web1", false},
		{&host_id, "*.org", false},
		{&host_id, "*.web1.example.org", false},
		{&host_id, "192.0.2.70", false},
		{&host_id, "web2.example.org", false},
		/* The certificate's own wildcard. */
		{&wild_id, "web2.example.org", true},
		{&wild_id, "*.example.org", true},
		{&wild_id, "a.web2.example.org", false},
		{&wild_id, "example.org", false}, /* *.org is too wide */
		/* The right name by the wrong CA. */
		{&stranger_id, "web-01", false},
		{&client_id, "web-01", true},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct pair p = meet(cases[i].id, cases[i].allowed, true);
		cr_expect_eq(p.server_result, cases[i].in ? 0 : -EPROTO, "%s: %s", cases[i].allowed,
		             tls_error(p.server));
		cr_expect_eq(tls_refused(p.server), !cases[i].in);
		end(&p);
	}
	no_more();
}

Test(tls_peers, one_of_several_is_enough_and_an_optional_certificate_must_be_one_of_them_too)
{
	const char *allowed[] = {"db-01", "192.0.2.9", "web-01"};
	struct pair p = handshake(server(allowed, 3, true, NULL),
	                          context(false, &client_id, &ca, 0), "siem.example");
	struct tls_context *c;
	char error[300];

	cr_expect_eq(p.server_result, 0, "%s", tls_error(p.server));
	end(&p);
	const struct tls_settings s = {.certificate = server_id.certificate,
	                               .key = server_id.file,
	                               .ca = ca.certificate,
	                               .peers = TLS_PEER_OPTIONAL,
	                               .allowed = allowed,
	                               .allowed_count = 2};
	cr_assert_eq(tls_context_new(true, &s, &c, error, sizeof(error)), 0, "%s", error);
	p = handshake(tls_context_ref(c), context(false, NULL, &ca, 0), "siem.example");
	cr_expect_eq(p.server_result, 0, "none is shown: %s", tls_error(p.server));
	end(&p);
	p = handshake(c, context(false, &client_id, &ca, 0), "siem.example");
	cr_expect_eq(p.server_result, -EPROTO);
	expect_words(tls_error(p.server), "none of those that are allowed");
	end(&p);
}

Test(tls_peers, the_refused_are_known_by_what_they_showed)
{
	const struct {
		const struct identity *id;
		const char *subject; /* NULL: showed none */
	} cases[] = {{&client_id, "CN=web-01"},
	             {&stranger_id, "CN=web-01"},
	             {&expired_id, "CN=old"},
	             {NULL, NULL}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct tls_certificate c;
		struct pair p = meet(cases[i].id, "db-01", true);
		char byte;
		cr_assert_eq(p.server_result, -EPROTO);
		cr_expect(tls_refused(p.server));
		cr_expect_not(tls_peer(p.server, &c), "nothing is proved");
		cr_expect_eq(tls_refused_peer(p.server, &c), cases[i].subject != NULL);
		if (cases[i].subject)
			cr_expect_str_eq(c.subject, cases[i].subject);
		cr_expect_eq(tls_read(p.client, &byte, 1), -EPROTO, "it hears of it");
		end(&p);
	}
	struct pair p = meet(&client_id, "web-01", true);
	struct tls_certificate c;
	cr_expect_not(tls_refused(p.server));
	cr_expect_not(tls_refused_peer(p.server, &c));
	end(&p);
}

Test(tls_peers, a_fingerprint_stands_in_for_a_ca)
{
	more();
	const struct {
		const struct identity *id, *pinned;
		bool sha1, with_ca, in;
		const char *words;
	} cases[] = {
		{&self_id, &self_id, false, false, true, ""},
		{&self_id, &self_id, true, false, true, ""},
		{&self_id, &self_id, false, true, true, ""},
		{&stranger_id, &stranger_id, false, true, true, ""},
		{&stranger_id, &self_id, false, true, false, "signed by no CA"},
		{&self_id, &client_id, false, false, false, "self-signed"},
		{&client_id, &client_id, false, false, true, ""},
		{&client_id, &self_id, false, true, false, "none of those that are allowed"},
		{&expired_id, &expired_id, false, false, false, "has expired"},
		{&expired_id, &expired_id, false, true, false, "has expired"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *allowed =
			fingerprint_of(cases[i].pinned, cases[i].sha1 ? EVP_sha1() : EVP_sha256(),
		                       cases[i].sha1 ? "sha-1" : "sha-256");
		struct pair p = meet(cases[i].id, allowed, cases[i].with_ca);
		struct tls_certificate c;
		cr_expect_eq(p.server_result, cases[i].in ? 0 : -EPROTO, "case %zu: %s", i,
		             tls_error(p.server));
		expect_words(tls_error(p.server), cases[i].words);
		cr_expect_eq(tls_peer(p.server, &c), cases[i].in);
		end(&p);
	}
	no_more();
}

Test(tls_peers, all_that_a_certificate_says)
{
	more();
	struct pair p = meet(&host_id, "www.example.org", true);
	struct tls_certificate c;
	char text[TLS_FINGERPRINT_MAX];
	static const char names[] = "Web Server\0web1.example.org\0www.example.org\0"
				    "192.0.2.7\0"
				    "2001:db8::7\0spiffe://x/web";

	cr_assert(tls_peer(p.server, &c));
	cr_expect_str_eq(c.name, "Web Server");
	cr_expect_eq(c.names_bytes, sizeof(names));
	cr_expect_arr_eq(c.names, names, sizeof(names));
	cr_expect_not(c.more);
	cr_expect_str_eq(tls_fingerprint(c.fingerprint, text),
	                 fingerprint_of(&host_id, EVP_sha256(), "sha-256"));
	uint64_t now = (uint64_t)time(NULL);
	cr_expect_gt(c.until_ns / 1000000000, now + DAY - 600);
	cr_expect_leq(c.until_ns / 1000000000, now + DAY);
	cr_expect_lt(c.from_ns / 1000000000, now);
	end(&p);
	no_more();
}

Test(tls_peers, more_names_than_are_kept_are_told_of)
{
	struct identity many;
	struct tls_certificate c;
	char san[8000] = "DNS:h0.example.org", *at = san + strlen(san);

	for (int i = 1; i < 200; i++)
		at += sprintf(at, ",DNS:h%d.example.org", i);
	make_identity(&many, "many", STR(""), san, &ca, -DAY, DAY);
	struct pair p = meet(&many, "h199.example.org", true);
	cr_expect_eq(p.server_result, 0, "all of them count: %s", tls_error(p.server));
	cr_assert(tls_peer(p.server, &c));
	cr_expect(c.more);
	cr_expect_str_eq(c.name, "h0.example.org");
	cr_expect_leq(c.names_bytes, sizeof(c.names));
	end(&p);
	remove_identity(&many);
}

/* ---- revocation ---- */

/* A list by `by`, valid from/to so many seconds from now, that revokes `revoked` (NULL: nobody). Returns its path. */
static char *make_list(const struct identity *by, const struct identity *revoked, long from,
                       long to)
{
	static char path[300];
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_new();

	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(by->cert));
	X509_CRL_set1_lastUpdate(crl, X509_gmtime_adj(t, from));
	X509_CRL_set1_nextUpdate(crl, X509_gmtime_adj(t, to));
	if (revoked) {
		X509_REVOKED *r = X509_REVOKED_new();
		X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked->cert));
		X509_REVOKED_set_revocationDate(r, X509_gmtime_adj(t, from));
		X509_CRL_add0_revoked(crl, r);
	}
	cr_assert_gt(X509_CRL_sign(crl, by->key, EVP_sha256()), 0);
	snprintf(path, sizeof(path), "%s/list.pem", folder);
	FILE *f = fopen(path, "w");
	PEM_write_X509_CRL(f, crl);
	fclose(f);
	ASN1_TIME_free(t);
	X509_CRL_free(crl);
	return path;
}

Test(tls_peers, revoked_certificates_are_refused)
{
	const struct {
		const struct identity *by, *revoked;
		long from, to;
		const char *words;
	} cases[] = {
		{&ca, NULL, -DAY, DAY, NULL},
		{&ca, &server_id, -DAY, DAY, NULL},
		{&ca, &client_id, -DAY, DAY, "it is revoked"},
		{&ca, NULL, -2 * DAY, -DAY, "has run out"},
		{&ca, NULL, DAY, 2 * DAY, "not valid yet"},
		{&other_ca, NULL, -DAY, DAY, "no revocation list"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *list =
			make_list(cases[i].by, cases[i].revoked, cases[i].from, cases[i].to);
		struct tls_context *s = server(NULL, 0, true, list);
		cr_expect_geq(tls_context_crl_until(s) / 1000000000,
		              (uint64_t)(time(NULL) + cases[i].to - 600));
		struct pair p = handshake(s, context(false, &client_id, &ca, 0), "siem.example");
		cr_expect_eq(p.server_result, cases[i].words ? -EPROTO : 0, "case %zu: %s", i,
		             tls_error(p.server));
		if (cases[i].words)
			expect_words(tls_error(p.server), cases[i].words);
		end(&p);
	}
	/* A fingerprint is no way around it. */
	const char *pin = fingerprint_of(&client_id, EVP_sha256(), "sha-256");
	struct pair p = handshake(server(&pin, 1, true, make_list(&ca, &client_id, -DAY, DAY)),
	                          context(false, &client_id, &ca, 0), "siem.example");
	cr_expect_eq(p.server_result, -EPROTO);
	expect_words(tls_error(p.server), "revoked");
	end(&p);
	unlink(make_list(&ca, NULL, -DAY, DAY));
}

/* ---- settings ---- */

Test(tls_peers, what_is_wrong_with_the_settings)
{
	static const struct {
		const char *allowed, *crl, *words;
		bool no_ca;
	} cases[] = {
		{"", NULL, "left-most label", false},
		{"*", NULL, "left-most label", false},
		{"a*.example.org", NULL, "left-most label", false},
		{"*.*.example.org", NULL, "left-most label", false},
		{"sha-256:AB", NULL, "a fingerprint is", false},
		{"sha-1:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:GG", NULL,
	         "a fingerprint is", false},
		{"subject:", NULL, "no subject", false},
		{"web-01", NULL, "no CA file", true},
		{"web-01", "/nonexistent/list.pem", "/nonexistent/list.pem", false},
		{"web-01", "/dev/null", "no regular file", false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct tls_settings s = {.certificate = server_id.certificate,
		                               .key = server_id.file,
		                               .ca = cases[i].no_ca ? NULL : ca.certificate,
		                               .peers = TLS_PEER_REQUIRED,
		                               .crl = cases[i].crl,
		                               .allowed = &cases[i].allowed,
		                               .allowed_count = 1};
		struct tls_context *c = NULL;
		char error[300] = "";
		cr_expect_lt(tls_context_new(true, &s, &c, error, sizeof(error)), 0, "case %zu", i);
		expect_words(error, cases[i].words);
		cr_expect_null(c);
	}
	/* A certificate where a list belongs. */
	const char *any = "web-01";
	const struct tls_settings s = {.certificate = server_id.certificate,
	                               .key = server_id.file,
	                               .ca = ca.certificate,
	                               .peers = TLS_PEER_REQUIRED,
	                               .crl = ca.certificate,
	                               .allowed = &any,
	                               .allowed_count = 1};
	struct tls_context *c;
	char error[300];
	cr_expect_eq(tls_context_new(true, &s, &c, error, sizeof(error)), -EINVAL);
	expect_words(error, "no PEM block of that kind");
}

Test(tls_peers, tickets_only_if_asked_for)
{
	for (int tickets = 0; tickets < 2; tickets++) {
		const struct tls_settings s = {.certificate = server_id.certificate,
		                               .key = server_id.file,
		                               .tickets = tickets};
		struct tls_context *c;
		char error[300], byte;
		cr_assert_eq(tls_context_new(true, &s, &c, error, sizeof(error)), 0);
		struct pair p = handshake(c, context(false, NULL, &ca, 0), "siem.example");
		/* Tickets are what the server says behind a handshake. */
		cr_expect_eq(recv(p.fds[1], &byte, 1, MSG_PEEK | MSG_DONTWAIT), tickets ? 1 : -1);
		expect_exchange(p.client, p.server, "x");
		end(&p);
	}
}
