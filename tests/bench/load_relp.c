/* A RELP sender as fast as one can be: frames made beforehand, a window of them under way, answers only counted.
 *
 *   load_relp HOST PORT FRAMES BYTES WINDOW [tls] : sends, waits for every answer, prints the seconds it took
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/net.h"
#include "base/tls.h"

#define PATIENCE_MS 120000

struct load {
	int fd;
	struct tls *tls;
	uint64_t frames, window, sent, answered;
	size_t bytes;
	struct buf out;
	size_t done;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static ssize_t give(struct load *l, const char *p, size_t n)
{
	ssize_t r = l->tls ? tls_write(l->tls, p, n) : send(l->fd, p, n, MSG_NOSIGNAL);

	return r < 0 && !l->tls ? -errno : r;
}

static ssize_t take(struct load *l, char *p, size_t n)
{
	ssize_t r = l->tls ? tls_read(l->tls, p, n) : recv(l->fd, p, n, 0);

	return r < 0 && !l->tls ? -errno : r == 0 ? -EPIPE : r;
}

static void wait_for(const struct load *l, short events)
{
	struct pollfd p = {.fd = l->fd, .events = events};

	if (poll(&p, 1, PATIENCE_MS) <= 0)
		die("nothing moves");
}

/* As many frames as the window and one write take. */
static void fill(struct load *l)
{
	static const char text[] =
		"<134>Nov 23 18:00:00 web1 app[4711]: ordinary line of a program";

	buf_reset(&l->out);
	l->done = 0;
	while (l->sent < l->frames && l->sent - l->answered < l->window && l->out.n < 65536) {
		size_t at = l->out.n;
		buf_printf(&l->out, "%llu syslog %zu ", (unsigned long long)(l->sent + 2),
		           l->bytes);
		at = l->out.n;
		buf_printf(&l->out, "%s %09llu ", text, (unsigned long long)l->sent);
		while (l->out.n - at < l->bytes)
			buf_putc(&l->out, 'x');
		l->out.n = at + l->bytes;
		buf_putc(&l->out, '\n');
		l->sent++;
	}
}

static void count_answers(struct load *l)
{
	char in[65536];
	ssize_t n;

	while ((n = take(l, in, sizeof(in))) > 0)
		for (ssize_t i = 0; i < n; i++)
			l->answered += in[i] == '\n';
	if (n != -EAGAIN) {
		fprintf(stderr, "the receiver ended the connection\n");
		exit(1);
	}
}

static void run(struct load *l)
{
	while (l->answered < l->frames) {
		if (l->done == l->out.n)
			fill(l);
		ssize_t n = 0;
		while (l->done < l->out.n &&
		       (n = give(l, l->out.p + l->done, l->out.n - l->done)) > 0)
			l->done += (size_t)n;
		if (n < 0 && n != -EAGAIN) {
			fprintf(stderr, "the receiver ended the connection\n");
			exit(1);
		}
		count_answers(l);
		bool full = l->sent == l->frames || l->sent - l->answered >= l->window;
		if (l->answered < l->frames && (l->done < l->out.n || full))
			wait_for(l, l->done < l->out.n ? POLLIN | POLLOUT : POLLIN);
	}
}

/* The session; its answer has lines of its own. */
static void hello(struct load *l)
{
	static const char open[] = "1 open 30 relp_version=0\ncommands=syslog\n";
	char in[4096];
	size_t n = 0;
	ssize_t r;

	if (give(l, open, sizeof(open) - 1) != sizeof(open) - 1)
		die("open");
	for (;;) {
		wait_for(l, POLLIN);
		while ((r = take(l, in + n, sizeof(in) - n)) > 0)
			n += (size_t)r;
		/* The offers end it, in whatever order: the last line is whole and nothing follows. */
		unsigned long length;
		char *p = memchr(in, 'p', n);
		if (p && (length = strtoul(p + 1, &p, 10)) &&
		    n >= (size_t)(p - in) + 1 + length + 1)
			return;
	}
}

static void connect_to(struct load *l, const char *host, const char *port, bool tls)
{
	struct sockaddr_storage sa;
	socklen_t length;
	char address[128], error[256];
	int r;

	snprintf(address, sizeof(address), "%s:%s", host, port);
	if (net_parse(str_of(address), &sa, &length) < 0)
		die(address);
	l->fd = socket(sa.ss_family, SOCK_STREAM, 0);
	if (connect(l->fd, (struct sockaddr *)&sa, length) < 0)
		die(address);
	fcntl(l->fd, F_SETFL, O_NONBLOCK);
	if (!tls)
		return;
	struct tls_context *context;
	const struct tls_settings settings = {.insecure = true};
	if (tls_context_new(false, &settings, &context, error, sizeof(error)) < 0)
		die(error);
	l->tls = tls_new(context, l->fd, NULL);
	while ((r = tls_handshake(l->tls)) == -EAGAIN)
		wait_for(l, tls_wants(l->tls) == 4 ? POLLOUT : POLLIN);
	if (r < 0)
		die(tls_error(l->tls));
}

int main(int argc, char **argv)
{
	struct load l = {0};

	if (argc < 6) {
		fprintf(stderr, "usage: load_relp HOST PORT FRAMES BYTES WINDOW [tls]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	l.frames = strtoull(argv[3], NULL, 10);
	l.bytes = strtoull(argv[4], NULL, 10);
	l.window = strtoull(argv[5], NULL, 10);
	buf_init(&l.out, 0);
	connect_to(&l, argv[1], argv[2], argc > 6);
	hello(&l);
	uint64_t begin = clock_mono();
	run(&l);
	printf("%.6f\n", (double)(clock_mono() - begin) / 1e9);
	tls_free(l.tls);
	close(l.fd);
	return 0;
}
