/* Many TLS connections that say nothing: opens them one after the other, prints how many there are, and holds them until its
 * standard input ends.
 *
 *   load_idle HOST PORT CONNECTIONS */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/net.h"
#include "base/tls.h"

#define PATIENCE_MS 60000
#define FILES_SPARE 64

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void allow_files(size_t count)
{
	struct rlimit limit = {count + FILES_SPARE, count + FILES_SPARE};

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("so many open files");
}

static void open_one(struct tls_context *context, const struct sockaddr *sa, socklen_t length)
{
	int fd = socket(sa->sa_family, SOCK_STREAM, 0), r;

	if (fd < 0 || connect(fd, sa, length) < 0)
		die("connect");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	struct tls *tls = tls_new(context, fd, NULL);
	while ((r = tls_handshake(tls)) == -EAGAIN) {
		struct pollfd p = {.fd = fd, .events = tls_wants(tls) == 4 ? POLLOUT : POLLIN};
		if (poll(&p, 1, PATIENCE_MS) <= 0)
			die("handshake");
	}
	if (r < 0)
		die(tls_error(tls));
}

int main(int argc, char **argv)
{
	const struct tls_settings settings = {.insecure = true};
	struct sockaddr_storage sa;
	struct tls_context *context;
	socklen_t length;
	char address[128], error[256];

	if (argc != 4) {
		fprintf(stderr, "usage: load_idle HOST PORT CONNECTIONS\n");
		return 2;
	}
	size_t count = strtoul(argv[3], NULL, 10);
	snprintf(address, sizeof(address), "%s:%s", argv[1], argv[2]);
	if (net_parse(str_of(address), &sa, &length) < 0)
		die(address);
	if (tls_context_new(false, &settings, &context, error, sizeof(error)) < 0)
		die(error);
	allow_files(count);
	for (size_t i = 0; i < count; i++)
		open_one(context, (struct sockaddr *)&sa, length);
	printf("%zu\n", count);
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
