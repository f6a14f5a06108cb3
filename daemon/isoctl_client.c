/* Blocking in effect, non-blocking in fact: every wait is a poll with a limit, so that a daemon that hangs makes an
 * error message and not a hanging terminal. */
#include "isoctl_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "base/wire.h"
#include "isoctl_connect.h"

#define ANSWER_MS  30000              /* the officer may be syncing a large batch */
#define ANSWER_MAX ((size_t)64 << 20) /* the daemon's own limit is far below */
#define FOREVER    (-1)

struct client {
	int fd;
	struct tls_context *context;
	struct tls *tls;   /* NULL on the unix socket */
	const char *where; /* for messages */
	struct buf in;
	uint64_t last_id;
	bool quiet;
};

static int unreachable(const struct client *c, const char *where, const char *why)
{
	char safe[512];

	if (c->quiet)
		return ISOCTL_UNREACHABLE;
	fprintf(stderr, "isoctl: %s: %s\n", where, log_escape(str_of(why), safe, sizeof(safe)));
	return ISOCTL_UNREACHABLE;
}

/* ---- connecting ---- */

static int connect_local(struct client *c, const char *path)
{
	c->where = path;
	int r = connect_unix(path, SOCK_STREAM, &c->fd);
	if (r == -ENAMETOOLONG)
		return unreachable(c, path, "the path is too long for a socket");
	if (r == -ENOENT || r == -ECONNREFUSED)
		return unreachable(c, path,
		                   "isod does not run (or has another socket: see --socket)");
	return r < 0 ? unreachable(c, path, strerror(-r)) : 0;
}

static int shake_hands(struct client *c, const char *host)
{
	int r;

	c->tls = tls_new(c->context, c->fd, host);
	while ((r = tls_handshake(c->tls)) == -EAGAIN) {
		r = connect_wait_tls(c->fd, c->tls, CONNECT_MS);
		if (r < 0)
			return unreachable(c, c->where, strerror(-r));
	}
	return r < 0 ? unreachable(c, c->where, tls_error(c->tls)) : 0;
}

static int connect_remote(struct client *c, const struct isoctl *ctl)
{
	const struct tls_settings settings = {
		.certificate = ctl->cert, .key = ctl->key, .ca = ctl->ca};
	char host[CONNECT_HOST_MAX], error[512];
	const char *port, *why;

	c->where = ctl->host;
	if (!connect_split(ctl->host, host, &port))
		return unreachable(c, ctl->host, "this is no HOST:PORT");
	if (tls_context_new(false, &settings, &c->context, error, sizeof(error)) < 0)
		return unreachable(c, ctl->host, error);
	if (connect_inet(host, port, SOCK_STREAM, &c->fd, &why) < 0)
		return unreachable(c, ctl->host, why);
	return shake_hands(c, host);
}

int client_open(const struct isoctl *ctl, struct client **ret)
{
	struct client *c = xcalloc(1, sizeof(*c));

	signal(SIGPIPE, SIG_IGN); /* a daemon that closes is an error message */
	c->fd = -1;
	c->quiet = ctl->quiet;
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
		r = c->tls ? connect_wait_tls(c->fd, c->tls, ms)
		           : connect_wait(c->fd, out ? POLLOUT : POLLIN, ms);
		if (r < 0)
			return r;
	}
}

static int broken(const struct client *c, ssize_t r)
{
	if (r == -EPIPE || r == -ECONNRESET)
		return unreachable(c, c->where, "the daemon closed the connection");
	if (r == -EPROTO)
		return unreachable(c, c->where, tls_error(c->tls));
	return unreachable(c, c->where, r == -ETIMEDOUT ? "no answer" : strerror((int)-r));
}

int client_send(struct client *c, Isod__V1__Request *request)
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
			return *ret ? 0 : unreachable(c, c->where, "this is no answer of isod's");
		}
		if (r != -EAGAIN)
			return unreachable(c, c->where, "this is no answer of isod's");
		if (buf_reserve(&c->in, 65536) < 0)
			return unreachable(c, c->where, "the answer is too long");
		ssize_t n = move_all(c, false, c->in.p + c->in.n, 65536, ms);
		if (n <= 0)
			return broken(c, n == 0 ? -EPIPE : n);
		c->in.n += (size_t)n;
	}
}

int client_refused(const Isod__V1__Error *e)
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
	int r = client_send(c, request);

	if (r == 0)
		r = receive(c, ms, &answer);
	if (r)
		return r;
	if (answer->answer_case == ISOD__V1__RESPONSE__ANSWER_ERROR)
		r = c->quiet && answer->error->code == ISOD__V1__ERROR_CODE__ERROR_UNAVAILABLE
		            ? ISOCTL_UNREACHABLE
		            : client_refused(answer->error);
	else if (answer->answer_case != wanted || answer->id != request->id)
		r = unreachable(c, c->where, "the answer is to another question");
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
