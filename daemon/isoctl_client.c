/* Blocking in effect, non-blocking in fact: every wait is a poll with a limit, so that a daemon that hangs makes an
 * error message and not a hanging terminal. */
#include "isoctl_client.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "base/wire.h"

#define CONNECT_MS 10000
#define ANSWER_MS  30000              /* the officer may be syncing a large batch */
#define ANSWER_MAX ((size_t)64 << 20) /* the daemon's own limit is far below */
#define HOST_MAX   256
#define FOREVER    (-1)

struct client {
	int fd;
	struct tls_context *context;
	struct tls *tls;   /* NULL on the unix socket */
	const char *where; /* for messages */
	struct buf in;
	uint64_t last_id;
};

static int unreachable(const char *where, const char *why)
{
	char safe[512];

	fprintf(stderr, "isoctl: %s: %s\n", where, log_escape(str_of(why), safe, sizeof(safe)));
	return ISOCTL_UNREACHABLE;
}

static int wait_for(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n = poll(&p, 1, ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

static int wait_tls(const struct client *c, int ms)
{
	return wait_for(c->fd, tls_wants(c->tls) == EV_WRITE ? POLLOUT : POLLIN, ms);
}

/* ---- connecting ---- */

static int connect_to(const struct sockaddr *sa, socklen_t length, int *ret)
{
	int error = 0, fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(error);

	if (fd < 0)
		return -errno;
	int r = connect(fd, sa, length) < 0 ? -errno : 0;
	if (r == -EINPROGRESS) {
		r = wait_for(fd, POLLOUT, CONNECT_MS);
		if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0)
			r = -error;
	}
	if (r < 0)
		close(fd);
	else
		*ret = fd;
	return r;
}

static int connect_local(struct client *c, const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	c->where = path;
	if (strlen(path) >= sizeof(sa.sun_path))
		return unreachable(path, "the path is too long for a socket");
	memcpy(sa.sun_path, path, strlen(path) + 1);
	int r = connect_to((const struct sockaddr *)&sa, sizeof(sa), &c->fd);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return unreachable(path, "isod does not run (or has another socket: see --socket)");
	return r < 0 ? unreachable(path, strerror(-r)) : 0;
}

static int shake_hands(struct client *c, const char *host)
{
	int r;

	c->tls = tls_new(c->context, c->fd, host);
	while ((r = tls_handshake(c->tls)) == -EAGAIN) {
		r = wait_tls(c, CONNECT_MS);
		if (r < 0)
			return unreachable(c->where, strerror(-r));
	}
	return r < 0 ? unreachable(c->where, tls_error(c->tls)) : 0;
}

static int connect_remote(struct client *c, const struct isoctl *ctl)
{
	const struct tls_settings settings = {
		.certificate = ctl->cert, .key = ctl->key, .ca = ctl->ca};
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	const char *colon = strrchr(ctl->host, ':');
	struct str name = {ctl->host, colon ? (size_t)(colon - ctl->host) : 0};
	struct addrinfo *list, *a;
	char host[HOST_MAX], error[512];

	c->where = ctl->host;
	if (name.n >= 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
		name = str_make(name.p + 1, name.n - 2);
	if (name.n == 0 || name.n >= sizeof(host) || !colon[1])
		return unreachable(ctl->host, "this is no HOST:PORT");
	snprintf(host, sizeof(host), "%.*s", STR_FMT(name));
	int r = tls_context_new(false, &settings, &c->context, error, sizeof(error));
	if (r < 0)
		return unreachable(ctl->host, error);
	r = getaddrinfo(host, colon + 1, &hints, &list);
	if (r)
		return unreachable(ctl->host, gai_strerror(r));
	r = -EHOSTUNREACH;
	for (a = list; a && r < 0; a = a->ai_next)
		r = connect_to(a->ai_addr, a->ai_addrlen, &c->fd);
	freeaddrinfo(list);
	return r < 0 ? unreachable(ctl->host, strerror(-r)) : shake_hands(c, host);
}

int client_open(const struct isoctl *ctl, struct client **ret)
{
	struct client *c = xcalloc(1, sizeof(*c));

	signal(SIGPIPE, SIG_IGN); /* a daemon that closes is an error message */
	c->fd = -1;
	buf_init(&c->in, 2 * ANSWER_MAX);
	int r = ctl->host ? connect_remote(c, ctl) : connect_local(c, ctl->socket);
	if (r) {
		client_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

void client_close(struct client *c)
{
	tls_free(c->tls);
	tls_context_unref(c->context);
	if (c->fd >= 0)
		close(c->fd);
	buf_release(&c->in);
	free(c);
}

/* ---- talking ---- */

/* Bytes moved, or a negative errno: -EAGAIN when it must be waited. */
static ssize_t move(struct client *c, bool out, char *p, size_t n)
{
	ssize_t r;

	if (c->tls)
		return out ? tls_write(c->tls, p, n) : tls_read(c->tls, p, n);
	r = out ? write(c->fd, p, n) : read(c->fd, p, n);
	if (r == 0 && !out)
		return -EPIPE;
	return r < 0 ? -errno : r;
}

/* The same, waiting at most `ms`. */
static ssize_t move_all(struct client *c, bool out, char *p, size_t n, int ms)
{
	for (;;) {
		ssize_t r = move(c, out, p, n);
		if (r == -EINTR)
			continue;
		if (r != -EAGAIN)
			return r;
		r = c->tls ? wait_tls(c, ms) : wait_for(c->fd, out ? POLLOUT : POLLIN, ms);
		if (r < 0)
			return r;
	}
}

static int broken(const struct client *c, ssize_t r)
{
	if (r == -EPIPE || r == -ECONNRESET)
		return unreachable(c->where, "the daemon closed the connection");
	if (r == -EPROTO)
		return unreachable(c->where, tls_error(c->tls));
	return unreachable(c->where, r == -ETIMEDOUT ? "no answer" : strerror((int)-r));
}

static int send_request(struct client *c, Isod__V1__Request *request)
{
	struct buf b;
	size_t done = 0;
	ssize_t r = 0;

	buf_init(&b, 0);
	request->id = ++c->last_id;
	wire_append(&b, &request->base);
	while (done < b.n && r >= 0) {
		r = move_all(c, true, b.p + done, b.n - done, ANSWER_MS);
		done += r > 0 ? (size_t)r : 0;
	}
	buf_release(&b);
	/* Why it was closed may stand in its last answer. */
	return r == -EPIPE || r >= 0 ? 0 : broken(c, r);
}

/* 0 and *ret, or an exit status. */
static int receive(struct client *c, int ms, Isod__V1__Response **ret)
{
	struct str body;
	size_t used;

	for (;;) {
		int r = wire_next(buf_str(&c->in), ANSWER_MAX, &body, &used);
		if (r == 0) {
			*ret = isod__v1__response__unpack(NULL, body.n, (const uint8_t *)body.p);
			buf_consume(&c->in, used);
			return *ret ? 0 : unreachable(c->where, "this is no answer of isod's");
		}
		if (r != -EAGAIN)
			return unreachable(c->where, "this is no answer of isod's");
		if (buf_reserve(&c->in, 65536) < 0)
			return unreachable(c->where, "the answer is too long");
		ssize_t n = move_all(c, false, c->in.p + c->in.n, 65536, ms);
		if (n <= 0)
			return broken(c, n == 0 ? -EPIPE : n);
		c->in.n += (size_t)n;
	}
}

static int refused(const Isod__V1__Error *e)
{
	char safe[1024];

	fprintf(stderr, "isoctl: %s\n", log_escape(str_of(e->message), safe, sizeof(safe)));
	return e->code == ISOD__V1__ERROR_CODE__ERROR_UNAVAILABLE ? ISOCTL_UNREACHABLE
	                                                          : ISOCTL_FAILED;
}

static int ask(struct client *c, Isod__V1__Request *request, Isod__V1__Response__AnswerCase wanted,
               int ms, Isod__V1__Response **ret)
{
	Isod__V1__Response *answer = NULL;
	int r = send_request(c, request);

	if (r == 0)
		r = receive(c, ms, &answer);
	if (r)
		return r;
	if (answer->answer_case == ISOD__V1__RESPONSE__ANSWER_ERROR)
		r = refused(answer->error);
	else if (answer->answer_case != wanted || answer->id != request->id)
		r = unreachable(c->where, "the answer is to another question");
	if (r)
		isod__v1__response__free_unpacked(answer, NULL);
	else
		*ret = answer;
	return r;
}

int client_ask(struct client *c, Isod__V1__Request *request, Isod__V1__Response__AnswerCase wanted,
               Isod__V1__Response **ret)
{
	return ask(c, request, wanted, ANSWER_MS, ret);
}

int client_ask_patiently(struct client *c, Isod__V1__Request *request,
                         Isod__V1__Response__AnswerCase wanted, Isod__V1__Response **ret)
{
	return ask(c, request, wanted, FOREVER, ret);
}

int client_next(struct client *c, Isod__V1__Response **ret)
{
	return receive(c, FOREVER, ret);
}
