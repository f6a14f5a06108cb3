#include "isoctl_connect.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

int connect_wait(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n = poll(&p, 1, ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

int connect_wait_tls(int fd, const struct tls *tls, int ms)
{
	return connect_wait(fd, tls_wants(tls) == EV_WRITE ? POLLOUT : POLLIN, ms);
}

static int connect_to(const struct sockaddr *sa, socklen_t length, int type, int *ret_fd)
{
	int error = 0, fd = socket(sa->sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(error);

	if (fd < 0)
		return -errno;
	int r = connect(fd, sa, length) < 0 ? -errno : 0;
	if (r == -EINPROGRESS) {
		r = connect_wait(fd, POLLOUT, CONNECT_MS);
		if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0)
			r = -error;
	}
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int connect_unix(const char *path, int type, int *ret_fd)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path) + 1);
	return connect_to((const struct sockaddr *)&sa, sizeof(sa), type, ret_fd);
}

bool connect_split(const char *address, char host[static CONNECT_HOST_MAX], const char **ret_port)
{
	const char *colon = strrchr(address, ':');
	struct str name = {address, colon ? (size_t)(colon - address) : 0};
	uint64_t number;

	if (!colon || !colon[1])
		return false;
	/* getaddrinfo would take 65537 for 1. */
	if (strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
	    (str_to_u64(str_of(colon + 1), &number) < 0 || number == 0 || number > UINT16_MAX))
		return false;
	if (name.n >= 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
		name = str_make(name.p + 1, name.n - 2);
	if (name.n == 0 || name.n >= CONNECT_HOST_MAX)
		return false;
	memcpy(host, name.p, name.n);
	host[name.n] = '\0';
	*ret_port = colon + 1;
	return true;
}

int connect_inet(const char *host, const char *port, int type, int *ret_fd, const char **ret_why)
{
	const struct addrinfo hints = {.ai_socktype = type};
	struct addrinfo *list, *a;
	int r = getaddrinfo(host, port, &hints, &list);

	if (r) {
		*ret_why = gai_strerror(r);
		return -EHOSTUNREACH;
	}
	r = -EHOSTUNREACH;
	for (a = list; a && r < 0; a = a->ai_next)
		r = connect_to(a->ai_addr, a->ai_addrlen, type, ret_fd);
	freeaddrinfo(list);
	if (r < 0)
		*ret_why = strerror(-r);
	return r;
}
