/* Who may ask what on the protobuf socket: the socket file, accounts and groups, certificates over real TLS. */
#include "api_rig.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <grp.h>
#include <sys/wait.h>

#include "base/net.h"
#include "certificates.h"

TestSuite(api, .init = setup, .fini = teardown);

/* ---- the socket ---- */

Test(api, a_stale_socket_is_replaced_and_a_live_one_is_not)
{
	struct api *second = NULL;
	struct stat st;

	cr_assert_eq(try_api(&second), -EADDRINUSE);
	cr_assert(strstr(rig.error, "another process answers"), "%s", rig.error);
	struct client c = client_new();
	client_free(&c);

	/* What a killed daemon leaves. */
	char *path = xasprintf("%s/isod.sock", rig.dir);
	api_close(rig.api);
	cr_assert_neq(stat(path, &st), 0, "removed at the end");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	strcpy(sa.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	open_api();
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0666);
	c = client_new();
	client_free(&c);

	/* A file in its place is somebody's. */
	api_close(rig.api);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	cr_assert_eq(try_api(&second), -EEXIST);
	cr_assert(strstr(rig.error, path), "%s", rig.error);
	unlink(path);

	char long_path[200];
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[199] = '\0';
	long_path[0] = '/';
	rig.config.api.socket = long_path;
	cr_assert_eq(try_api(&second), -ENAMETOOLONG);
	rig.config.api.socket = NULL;
	open_api();
	free(path);
}

/* ---- roles ---- */

/* A client of another account asks for the status and to acknowledge; exit status: the two error codes (0: none). */
static int ask_as(uid_t uid, gid_t group)
{
	pid_t child = fork();

	if (child == 0) {
		struct sockaddr_un sa = {.sun_family = AF_UNIX};
		Isod__V1__StatusRequest s;
		Isod__V1__AcknowledgeIncident a;
		char empty[] = "";
		Request q[2] = {status_request(&s), acknowledge(&a, 1, empty)};
		int codes[2];
		if (setgroups(1, &group) < 0 || setgid(65534) < 0 || setuid(uid) < 0)
			_exit(255);
		struct client c = {.fd = socket(AF_UNIX, SOCK_STREAM, 0)};
		snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/isod.sock", rig.dir);
		if (connect(c.fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
			_exit(254);
		for (int i = 0; i < 2; i++) {
			struct buf b;
			struct str body;
			size_t used;
			char chunk[4096];
			buf_init(&b, 0);
			wire_append(&b, &q[i].base);
			if (write(c.fd, b.p, b.n) < 0)
				_exit(253);
			while (wire_next(buf_str(&c.in), 1 << 20, &body, &used) < 0) {
				ssize_t n = read(c.fd, chunk, sizeof(chunk));
				if (n <= 0)
					_exit(252);
				buf_append(&c.in, chunk, (size_t)n);
			}
			Response *r =
				isod__v1__response__unpack(NULL, body.n, (const uint8_t *)body.p);
			codes[i] = r->answer_case == GOT(ERROR) ? (int)r->error->code : 0;
			buf_consume(&c.in, used);
		}
		_exit(codes[0] * 10 + codes[1]);
	}
	int status;
	while (waitpid(child, &status, WNOHANG) == 0)
		turn();
	return WEXITSTATUS(status);
}

Test(api, accounts_and_groups_have_the_roles_of_the_configuration)
{
	char nobody[] = "nobody", daemon[] = "daemon", none[] = "no such account here";

	if (geteuid() != 0) {
		teardown();
		cr_skip_test("only root can ask as somebody else");
	}
	incidents(1);
	cr_assert_eq(ask_as(65534, 65534), ERR(FORBIDDEN) * 11);
	cr_assert_eq(rig.refused, 2);
	cr_assert_str_eq(rig.last_refused, "acknowledge");
	cr_assert_eq(officer_state(rig.officer)->access.refusals, 2);

	rig.roles[0] = (struct role_config){.user = none, .role = ISOD__V1__ROLE__ROLE_ADMIN};
	rig.roles[1] =
		(struct role_config){.group = daemon, .role = ISOD__V1__ROLE__ROLE_RESPONDER};
	rig.roles[2] = (struct role_config){.user = nobody, .role = ISOD__V1__ROLE__ROLE_VIEWER};
	rig.config.api.role_count = 3;
	reopen_api();
	cr_assert_eq(ask_as(65534, 65534), ERR(FORBIDDEN));
	cr_assert_eq(ask_as(65534, 1), 0, "by a supplementary group, the first line that fits");
	cr_assert_eq(ask_as(12345, 65534), ERR(FORBIDDEN) * 11);
}

/* ---- TLS ---- */

static char *in_dir(const char *name, const char *suffix)
{
	return xasprintf("%s/%s.%s", rig.dir, name, suffix);
}

struct tls_client {
	struct bufferevent *bev;
	struct tls_context *context;
	bool ended;
};

static void on_tls_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (!(what & BEV_EVENT_CONNECTED))
		((struct tls_client *)arg)->ended = true;
}

static void tls_client_open(struct tls_client *c, const char *name)
{
	char *pem = in_dir(name, "pem"), *key = in_dir(name, "key"), *ca = in_dir("ca", "pem");
	const struct tls_settings s = {.certificate = pem, .key = key, .ca = ca};
	struct sockaddr_storage sa;
	socklen_t length = 0;

	*c = (struct tls_client){0};
	cr_assert_eq(tls_context_new(false, &s, &c->context, rig.error, sizeof(rig.error)), 0, "%s",
	             rig.error);
	cr_assert_eq(net_parse(str_of(api_address(rig.api)), &sa, &length), 0);
	c->bev = tls_bufferevent(rig.base, c->context, -1, false, "127.0.0.1");
	bufferevent_setcb(c->bev, NULL, NULL, on_tls_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	cr_assert_eq(bufferevent_socket_connect(c->bev, (struct sockaddr *)&sa, (int)length), 0);
	free(pem);
	free(key);
	free(ca);
}

static void tls_client_close(struct tls_client *c)
{
	tls_bufferevent_free(c->bev);
	tls_context_unref(c->context);
	turn();
}

/* NULL when the connection ended instead. */
static Response *tls_ask(struct tls_client *c, const Request *q)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct buf b;
	struct str body;
	size_t used;

	buf_init(&b, 0);
	wire_append(&b, &q->base);
	bufferevent_write(c->bev, b.p, b.n);
	buf_release(&b);
	for (;;) {
		size_t n = evbuffer_get_length(in);
		const char *p = (const char *)evbuffer_pullup(in, -1);
		if (n && wire_next(str_make(p, n), 1 << 20, &body, &used) == 0) {
			Response *r =
				isod__v1__response__unpack(NULL, body.n, (const uint8_t *)body.p);
			evbuffer_drain(in, used);
			return r;
		}
		if (c->ended)
			return NULL;
		event_base_loop(rig.base, EVLOOP_ONCE);
	}
}

static void open_tls(void)
{
	static char address[] = "127.0.0.1:0", alice[] = "alice", bob[] = "bob";

	certificates_make(rig.dir, "alice bob eve");
	rig.config.api.address = address;
	rig.config.api.certificate = in_dir("server", "pem");
	rig.config.api.key = in_dir("server", "key");
	rig.config.api.ca = in_dir("ca", "pem");
	rig.roles[0] =
		(struct role_config){.certificate = alice, .role = ISOD__V1__ROLE__ROLE_RESPONDER};
	rig.roles[1] =
		(struct role_config){.certificate = bob, .role = ISOD__V1__ROLE__ROLE_VIEWER};
	rig.config.api.role_count = 2;
	reopen_api();
}

static void close_tls(void)
{
	free(rig.config.api.certificate);
	free(rig.config.api.key);
	free(rig.config.api.ca);
}

Test(api, certificates_have_the_roles_of_the_configuration)
{
	struct tls_client c;
	Isod__V1__StatusRequest s;
	Isod__V1__AcknowledgeIncident a;
	char empty[] = "";
	Request status = status_request(&s), ack = acknowledge(&a, 1, empty);

	open_tls();
	incidents(1);
	tls_client_open(&c, "bob");
	Response *r = tls_ask(&c, &status);
	cr_assert(r);
	cr_assert_str_eq(r->status->you, "cert:bob");
	cr_assert_eq(r->status->your_role, ISOD__V1__ROLE__ROLE_VIEWER);
	answer_free(r);
	r = tls_ask(&c, &ack);
	cr_assert_eq(r->error->code, ERR(FORBIDDEN));
	cr_assert(strstr(r->error->message, "responder"), "%s", r->error->message);
	answer_free(r);
	tls_client_close(&c);

	tls_client_open(&c, "eve");
	r = tls_ask(&c, &status);
	cr_assert_eq(r->error->code, ERR(FORBIDDEN));
	answer_free(r);
	tls_client_close(&c);
	cr_assert_eq(rig.refused, 2);

	tls_client_open(&c, "alice");
	r = tls_ask(&c, &ack);
	cr_assert_eq(r->answer_case, GOT(INCIDENT));
	cr_assert_str_eq(r->incident->owner, "cert:alice");
	answer_free(r);
	tls_client_close(&c);
	close_tls();
}

Test(api, who_is_refused_over_and_over_is_cut_off)
{
	struct tls_client c;
	Isod__V1__StatusRequest s;
	Request q = status_request(&s);
	size_t answered = 0, clients = 0;
	Response *r;

	open_tls();
	for (; clients < 8; clients++) {
		tls_client_open(&c, "eve");
		while ((r = tls_ask(&c, &q))) {
			cr_assert_eq(r->error->code, ERR(FORBIDDEN));
			answer_free(r);
			answered++;
		}
		tls_client_close(&c);
	}
	cr_assert_eq(answered, 20 * clients);
	cr_assert_eq(counter("api_refusals"), answered);
	/* Recorded are at most so many a minute; a test that takes longer than one may see a second lot. */
	cr_assert_eq(rig.refused + counter("api_refusals_unrecorded"), answered);
	cr_assert_eq(officer_state(rig.officer)->access.refusals, rig.refused);
	cr_assert_geq(rig.refused, 120);
	close_tls();
}

Test(api, without_a_certificate_there_is_no_connection)
{
	struct tls_client c = {0};
	struct sockaddr_storage sa;
	socklen_t length = 0;
	char chunk[4096];

	open_tls();
	/* Not even TLS. */
	cr_assert_eq(net_parse(str_of(api_address(rig.api)), &sa, &length), 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, length), 0);
	cr_assert_eq(write(fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	ssize_t n;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EAGAIN))
		turn();
	close(fd);
	cr_assert_eq(counter("api_tls_failures"), 1);

	char *ca = in_dir("ca", "pem");
	const struct tls_settings s = {.ca = ca};
	cr_assert_eq(tls_context_new(false, &s, &c.context, rig.error, sizeof(rig.error)), 0);
	c.bev = tls_bufferevent(rig.base, c.context, -1, false, "127.0.0.1");
	bufferevent_setcb(c.bev, NULL, NULL, on_tls_event, &c);
	bufferevent_enable(c.bev, EV_READ | EV_WRITE);
	cr_assert_eq(bufferevent_socket_connect(c.bev, (struct sockaddr *)&sa, (int)length), 0);
	Isod__V1__StatusRequest ask_status;
	Request q = status_request(&ask_status);
	cr_assert_null(tls_ask(&c, &q));
	tls_client_close(&c);
	while (counter("api_tls_failures") < 2)
		turn();
	cr_assert_eq(counter("api_connections"), 0);

	/* A handshake that does not go on. */
	rig.api->patience[DEADLINE_HANDSHAKE] = (struct timeval){0, 20000};
	fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, length), 0);
	while (counter("api_tls_failures") < 3)
		turn();
	close(fd);
	free(ca);
	close_tls();
}

/* Roles are steps, but for the producer's. */
Test(api_access, a_producer_may_hand_in_events_and_nothing_else)
{
	const Isod__V1__Role viewer = ISOD__V1__ROLE__ROLE_VIEWER,
			     admin = ISOD__V1__ROLE__ROLE_ADMIN,
			     producer = ISOD__V1__ROLE__ROLE_PRODUCER,
			     responder = ISOD__V1__ROLE__ROLE_RESPONDER;

	cr_assert_eq(access_needed(ISOD__V1__REQUEST__ASK_INGEST_BATCH), producer);
	cr_assert_eq(access_needed(ISOD__V1__REQUEST__ASK_INGEST_HELLO), producer);
	cr_assert(access_allows(producer, producer));
	cr_assert(access_allows(admin, producer));
	cr_assert_not(access_allows(responder, producer));
	cr_assert_not(access_allows(ISOD__V1__ROLE__ROLE_NONE, producer));
	cr_assert_not(access_allows(producer, viewer));
	cr_assert_not(access_allows(producer, responder));
	cr_assert_not(access_allows(producer, admin));
	cr_assert(access_allows(responder, viewer));
	cr_assert_not(access_allows(viewer, responder));
	cr_assert_str_eq(access_role_name(producer), "producer");
	cr_assert_str_eq(access_role_name((Isod__V1__Role)99), "no role");
}
