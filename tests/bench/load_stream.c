/* A syslog sender over TLS as cheap as one can be: the frames (traffic.h) are made beforehand, with their octet
 * counts (RFC 6587 §3.4.1), and each connection sends its share of them, in writes of PIECE bytes or, if that is less, of
 * one message: what is written at once becomes one TLS record, or several full ones.
 *
 *   load_stream HOST PORT CONNECTIONS FRAMES BYTES PIECE [RATE]
 *
 * prints "BYTES SECONDS": of messages, and until all was taken. RATE: messages a second in all, as evenly as it can; none:
 * as fast as the receiver lets it.
 *
 * It reads what the server says (session tickets) and closes in order, so that nothing on its way is thrown away. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/tls.h"
#include "traffic.h"

#define POOL_FRAMES     20000 /* made beforehand, sent again and again */
#define POOL_BYTES      ((size_t)16 << 20)
#define CONNECTIONS_MAX 64
#define PATIENCE_MS     120000
#define PACE_MS         1 /* with a rate: how often it looks whether the next ones are due */

struct pool {
	struct buf text;
	size_t count;
	size_t *starts; /* of each frame, and the end */
	size_t piece;   /* bytes of one write */
};

struct peer {
	int fd;
	struct tls *tls;
	uint64_t left; /* frames not begun */
	uint64_t begun;
	uint64_t begin_ns, rate; /* its share; 0: none */
	size_t at, end;          /* in the pool: what is being sent */
	size_t next;             /* frame of the pool that comes then */
	uint64_t bytes;          /* of messages, sent or being sent */
	bool shut;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void fill_pool(struct pool *p, size_t bytes)
{
	struct traffic t;
	struct buf line;

	traffic_init(&t, bytes, 1);
	buf_init(&line, 0);
	buf_init(&p->text, 0);
	p->starts = xcalloc(POOL_FRAMES + 1, sizeof(*p->starts));
	while (p->count < POOL_FRAMES && p->text.n < POOL_BYTES) {
		buf_reset(&line);
		traffic_line(&t, &line);
		buf_printf(&p->text, "%zu ", line.n);
		buf_add(&p->text, buf_str(&line));
		p->starts[++p->count] = p->text.n;
	}
	buf_release(&line);
}

static size_t digits(size_t n)
{
	return n < 10 ? 1 : 1 + digits(n / 10);
}

/* Length of the message in frame `i`: what is left when its count is taken away. */
static size_t message_bytes(const struct pool *p, size_t i)
{
	size_t all = p->starts[i + 1] - p->starts[i];
	size_t count = digits(all);

	return all - 1 - digits(all - 1 - count);
}

/* How many it may have begun by now. */
static uint64_t due(const struct peer *c)
{
	return c->rate ? (uint64_t)((double)(clock_mono() - c->begin_ns) * (double)c->rate / 1e9)
	               : UINT64_MAX;
}

/* Takes up frames until there are `piece` bytes for one write, or the pool's end. */
static void take_frames(const struct pool *p, struct peer *c, size_t piece)
{
	uint64_t upto = due(c);

	c->at = c->end = p->starts[c->next];
	while (c->left && c->next < p->count && c->end - c->at < piece && c->begun < upto) {
		c->begun++;
		c->bytes += message_bytes(p, c->next);
		c->end = p->starts[++c->next];
		c->left--;
	}
	if (c->next == p->count)
		c->next = 0;
}

/* True at the end of what the server says. */
static bool listen_to(struct peer *c)
{
	char in[4096];
	ssize_t n;

	do {
		n = tls_read(c->tls, in, sizeof(in));
	} while (n > 0);
	return n != -EAGAIN;
}

/* Sends what the socket takes. */
static void work(const struct pool *p, struct peer *c)
{
	for (;;) {
		if (c->at == c->end && c->left)
			take_frames(p, c, p->piece);
		if (c->at == c->end && c->left)
			return; /* none is due */
		if (c->at == c->end)
			break;
		ssize_t n = tls_write(c->tls, p->text.p + c->at, c->end - c->at);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			fprintf(stderr, "the receiver ended the connection: %s\n",
			        strerror((int)-n));
			exit(1);
		}
		c->at += (size_t)n;
	}
	if (!c->shut) {
		tls_shutdown(c->tls);
		shutdown(c->fd, SHUT_WR);
		c->shut = true;
	}
}

static void run(const struct pool *p, struct peer *peers, size_t count)
{
	struct pollfd fds[CONNECTIONS_MAX];
	size_t open = count;

	for (size_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){.fd = peers[i].fd, .events = POLLIN | POLLOUT};
	while (open) {
		const struct timespec pace = {.tv_nsec = PACE_MS * 1000000L};
		if (peers[0].rate)
			nanosleep(&pace, NULL);
		if (poll(fds, count, PATIENCE_MS) <= 0)
			die("nothing moves");
		for (size_t i = 0; i < count; i++) {
			if (fds[i].fd < 0)
				continue;
			if (fds[i].revents & POLLOUT)
				work(p, &peers[i]);
			if (peers[i].shut)
				fds[i].events = POLLIN;
			if ((fds[i].revents & ~POLLOUT) && listen_to(&peers[i])) {
				if (!peers[i].shut)
					die("the receiver ended the connection");
				fds[i].fd = -1;
				open--;
			}
		}
	}
}

static void connect_to(struct peer *c, const char *host, const char *port, struct tls_context *tls)
{
	struct sockaddr_storage sa;
	socklen_t length;
	char address[128];
	int r;

	snprintf(address, sizeof(address), "%s:%s", host, port);
	if (net_parse(str_of(address), &sa, &length) < 0)
		die(address);
	c->fd = socket(sa.ss_family, SOCK_STREAM, 0);
	if (connect(c->fd, (struct sockaddr *)&sa, length) < 0)
		die(address);
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	c->tls = tls_new(tls, c->fd, NULL);
	while ((r = tls_handshake(c->tls)) == -EAGAIN) {
		struct pollfd p = {.fd = c->fd,
		                   .events = tls_wants(c->tls) == 4 ? POLLOUT : POLLIN};
		if (poll(&p, 1, PATIENCE_MS) <= 0)
			die("handshake");
	}
	if (r < 0)
		die(tls_error(c->tls));
}

int main(int argc, char **argv)
{
	static struct peer peers[CONNECTIONS_MAX];
	const struct tls_settings settings = {.insecure = true};
	struct tls_context *tls = NULL;
	struct pool pool = {0};
	char error[256];

	if (argc < 7) {
		fprintf(stderr,
		        "usage: load_stream HOST PORT CONNECTIONS FRAMES BYTES PIECE [RATE]\n");
		return 2;
	}
	size_t count = strtoul(argv[3], NULL, 10);
	uint64_t frames = strtoull(argv[4], NULL, 10), bytes = 0;
	if (count < 1 || count > CONNECTIONS_MAX)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	pool.piece = strtoul(argv[6], NULL, 10);
	fill_pool(&pool, strtoul(argv[5], NULL, 10));
	uint64_t rate = argc > 7 ? strtoull(argv[7], NULL, 10) : 0;
	if (tls_context_new(false, &settings, &tls, error, sizeof(error)) < 0)
		die(error);
	for (size_t i = 0; i < count; i++) {
		peers[i].left = frames / count + (i < frames % count);
		peers[i].next = pool.count / count * i;
		connect_to(&peers[i], argv[1], argv[2], tls);
	}
	uint64_t begin = clock_mono();
	for (size_t i = 0; i < count; i++) {
		peers[i].begin_ns = begin;
		peers[i].rate = rate / count;
	}
	run(&pool, peers, count);
	for (size_t i = 0; i < count; i++)
		bytes += peers[i].bytes;
	printf("%llu %.6f\n", (unsigned long long)bytes, (double)(clock_mono() - begin) / 1e9);
	return 0;
}
