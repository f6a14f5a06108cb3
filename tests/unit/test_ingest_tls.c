/* The TLS listener with real peers: good ones, strangers, those that speak something else or nothing at all. */
#include "ingest_bed.h"

#include <fcntl.h>

#include "base/tls.h"
#include "certificates.h"

static char *pem(const struct bed *b, const char *name)
{
	return xasprintf("%s/%s", b->dir, name);
}

static void tls_bed(struct bed *b, enum tls_peer_check peers)
{
	bed_init(b, NULL);
	certificates_make(b->dir, "client");
	struct listener_config *l = bed_listener(b, LISTENER_TLS, "tls", "127.0.0.1:0");
	l->certificate = pem(b, "server.pem");
	l->key = pem(b, "server.key");
	l->ca = pem(b, "ca.pem");
	l->peers = peers;
}

struct client {
	int fd;
	struct tls_context *context;
	struct tls *tls;
};

static void wait_tls(const struct client *c)
{
	struct pollfd p = {.fd = c->fd, .events = tls_wants(c->tls) == 4 ? POLLOUT : POLLIN};

	cr_assert_gt(poll(&p, 1, BED_PATIENCE_S * 1000), 0);
}

/* `identity`: NULL, "client" or "stranger". Returns what the handshake gives. */
static int client_open(struct client *c, struct bed *b, const char *identity)
{
	char *ca = pem(b, "ca.pem"), error[256] = "";
	char *certificate = identity ? xasprintf("%s/%s.pem", b->dir, identity) : NULL;
	char *key = identity ? xasprintf("%s/%s.key", b->dir, identity) : NULL;
	const struct tls_settings settings = {.ca = ca, .certificate = certificate, .key = key};
	int r;

	cr_assert_eq(tls_context_new(false, &settings, &c->context, error, sizeof(error)), 0, "%s",
	             error);
	c->fd = bed_connect(b, "tls", SOCK_STREAM, "127.0.0.1");
	cr_assert_eq(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
	c->tls = tls_new(c->context, c->fd, "127.0.0.1");
	while ((r = tls_handshake(c->tls)) == -EAGAIN)
		wait_tls(c);
	free(ca);
	free(certificate);
	free(key);
	return r;
}

static void client_send(struct client *c, struct str data)
{
	while (data.n) {
		ssize_t n = tls_write(c->tls, data.p, data.n);
		if (n == -EAGAIN)
			wait_tls(c);
		else
			cr_assert_gt(n, 0, "%s", tls_error(c->tls));
		data = str_skip(data, n > 0 ? (size_t)n : 0);
	}
}

/* What reading ends with. */
static ssize_t client_end(struct client *c)
{
	char rest[256];
	ssize_t n;

	while ((n = tls_read(c->tls, rest, sizeof(rest))) > 0 || n == -EAGAIN)
		if (n == -EAGAIN)
			wait_tls(c);
	return n;
}

static void client_close(struct client *c)
{
	tls_free(c->tls);
	tls_context_unref(c->context);
	close(c->fd);
}

Test(ingest, frames_over_tls)
{
	enum { FRAMES = 30000 };
	struct bed b;
	struct client c;
	struct buf out;

	tls_bed(&b, TLS_PEER_NONE);
	bed_start(&b);
	cr_assert_eq(client_open(&c, &b, NULL), 0);
	buf_init(&out, 0);
	for (size_t i = 0; i < FRAMES; i++) {
		char line[64];
		snprintf(line, sizeof(line), "<13>1 - - - - - - frame %zu", i);
		buf_printf(&out, "%zu %s", strlen(line), line);
	}
	client_send(&c, buf_str(&out));
	cr_expect_eq(tls_shutdown(c.tls), 0);
	cr_expect_eq(client_end(&c), -EPIPE, "%s", tls_error(c.tls));
	client_close(&c);
	buf_release(&out);
	BED_WAIT(&b, bed_count(&b, "tls/127.0.0.1").received == FRAMES);
	cr_expect_eq(bed_status(&b, "tls").tls_failures, 0);
	bed_finish(&b);
}

Test(ingest, client_certificates_are_demanded)
{
	struct bed b;
	struct client none, stranger, good;

	tls_bed(&b, TLS_PEER_REQUIRED);
	bed_start(&b);
	/* With TLS 1.3 the client learns of its refusal only when it reads. */
	if (client_open(&none, &b, NULL) == 0)
		cr_expect_eq(client_end(&none), -EPROTO);
	if (client_open(&stranger, &b, "stranger") == 0)
		cr_expect_eq(client_end(&stranger), -EPROTO);
	cr_assert_eq(client_open(&good, &b, "client"), 0);
	client_send(&good, STR("<13>trusted\n"));
	BED_WAIT(&b, bed_count(&b, "tls/").received == 1 && bed_count(&b, "isod/").received == 2);
	cr_expect_eq(bed_status(&b, "tls").tls_failures, 2);
	cr_expect_eq(bed_status(&b, "tls").peers_refused, 2);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "\"event\":\"peer_refused\""), 2);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "\"certificate\":\"stranger\""), 1);
	client_close(&none);
	client_close(&stranger);
	client_close(&good);
	bed_finish(&b);
}

Test(ingest, tls_cut_off_keeps_what_arrived)
{
	struct bed b;
	struct client c;

	tls_bed(&b, TLS_PEER_NONE);
	bed_start(&b);
	cr_assert_eq(client_open(&c, &b, NULL), 0);
	client_send(&c, STR("<13>whole\n<13>par"));
	shutdown(c.fd, SHUT_RDWR);
	BED_WAIT(&b, bed_count(&b, "tls/").received == 2);
	cr_expect_eq(bed_find(&b, "tls/127.0.0.1", STR("<13>whole"), 0), 1);
	cr_expect_eq(bed_find(&b, "tls/127.0.0.1", STR("<13>par"), EVIDENCE_TRUNCATED), 1);
	client_close(&c);
	bed_finish(&b);
}

Test(ingest, other_protocols_on_the_tls_port)
{
	struct bed b;
	struct client c;

	tls_bed(&b, TLS_PEER_NONE);
	b.config.workers = 1;
	bed_start(&b);
	cr_assert_eq(client_open(&c, &b, NULL), 0);
	int plain = bed_connect(&b, "tls", SOCK_STREAM, "127.0.0.1");
	bed_send(plain, STR("<13>plain text on the TLS port\n"));
	cr_expect(bed_is_closed(plain));
	int gone = bed_connect(&b, "tls", SOCK_STREAM, "127.0.0.1");
	close(gone);
	BED_WAIT(&b, bed_status(&b, "tls").tls_failures == 2);
	client_send(&c, STR("<13>unharmed\n"));
	BED_WAIT(&b, bed_count(&b, "tls/").received == 1 && bed_count(&b, "isod/").received == 2);
	cr_expect_eq(bed_find_part(&b, "isod/testnode", "plain text"), 1);
	client_close(&c);
	close(plain);
	bed_finish(&b);
}

Test(ingest, handshakes_that_never_end_are_ended)
{
	struct bed b;

	tls_bed(&b, TLS_PEER_NONE);
	b.config.handshake_timeout_ns = 100 * NS_PER_MS;
	bed_start(&b);
	int fd = bed_connect(&b, "tls", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, STR("\x16\x03\x01"));
	cr_expect(bed_is_closed(fd));
	BED_WAIT(&b, bed_status(&b, "tls").tls_failures == 1);
	close(fd);
	bed_finish(&b);
}
