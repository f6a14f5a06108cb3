/* Sockets. Each worker gets a socket of its own on the same address (SO_REUSEPORT), so that the kernel shares out
 * connections and datagrams and no worker ever wakes for another's. The price is that a second daemon of the same
 * user could join in unseen and take half of the traffic; a socket without the option, bound first, finds that out.
 *
 * A socket that was passed to us (base/activation.h) is one, so all workers share it: each waits on a descriptor of its
 * own, whoever is first accepts, and accept.c shares out. Datagrams are read by worker 0 alone, as the kernel's count of
 * dropped ones is the socket's. It outlives us: what waits in it at the end is our successor's. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "ingest/hec_ack.h"
#include "ingest/worker.h"

#define BACKLOG 4096 /* connections waiting for accept; the kernel cuts it to net.core.somaxconn */
/* What the unix socket may hold: its senders wait when it is full. */
#define UNIX_BUFFER (8 << 20)

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Without privilege the kernel cuts the size to net.core.rmem_max: as much as there is. */
static void enlarge(int fd, int bytes)
{
	if (set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes) < 0)
		(void)set_option(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}

static int socket_new(int family, bool stream)
{
	int type = (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
	int fd = socket(family, type, 0);

	return fd < 0 ? -errno : fd;
}

static int buffer_of(int fd)
{
	int bytes = 0;
	socklen_t size = sizeof(bytes);

	return getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size) < 0 ? 0 : bytes;
}

/* Who has bound it may have had the privilege to make it larger than we can: a socket of our own tells what we can. */
static void enlarge_passed(int fd, int bytes)
{
	int own = socket_new(AF_UNIX, false);

	if (own < 0)
		return;
	enlarge(own, bytes);
	if (buffer_of(own) > buffer_of(fd))
		enlarge(fd, bytes);
	close(own);
}

struct address {
	struct sockaddr_storage sa;
	socklen_t length;
	bool stream;
	bool six_only; /* "[::]" names IPv6; "*" names both, whatever the system's default */
	int buffer;    /* of datagrams */
};

/* A bound socket, or -errno. Shared ones also listen; the other kind only finds out whether the address is free. */
static int bind_one(const struct address *a, bool share)
{
	const struct sockaddr_storage *sa = &a->sa;
	bool stream = a->stream;

	int fd = socket_new(sa->ss_family, stream), r = 0;

	if (fd < 0)
		return fd;
	if (stream)
		r = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (r == 0 && share)
		r = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (r == 0 && sa->ss_family == AF_INET6)
		r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, a->six_only);
	if (r == 0 && bind(fd, (const struct sockaddr *)sa, a->length) < 0)
		r = -errno;
	if (r == 0 && stream && share && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	if (!stream) {
		enlarge(fd, a->buffer);
		(void)set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1); /* drops are counted */
	}
	return fd;
}

static bool is_any6(const struct sockaddr_storage *sa)
{
	return sa->ss_family == AF_INET6 &&
	       IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

static in_port_t *port_of(struct sockaddr_storage *sa)
{
	return sa->ss_family == AF_INET ? &((struct sockaddr_in *)sa)->sin_port
	                                : &((struct sockaddr_in6 *)sa)->sin6_port;
}

/* The wildcard on a kernel without IPv6 is IPv4's. */
static void without_ipv6(struct address *a)
{
	int fd = is_any6(&a->sa) ? socket_new(AF_INET6, false) : 0;
	in_port_t port = *port_of(&a->sa);

	if (fd > 0)
		close(fd);
	if (fd != -EAFNOSUPPORT)
		return;
	memset(&a->sa, 0, sizeof(a->sa));
	a->sa.ss_family = AF_INET;
	*port_of(&a->sa) = port;
	a->length = sizeof(struct sockaddr_in);
}

/* Fails when anybody else has the address. */
static int probe(const struct address *a)
{
	int fd = bind_one(a, false);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* Descriptors of a socket that was passed, if there is one. 0, -ENOENT, or -errno with `error`. */
static int take_passed(struct listener *l, struct activation *passed, const struct address *a,
                       char *error, size_t error_size)
{
	const struct listener_config *c = l->config;
	char *what = xasprintf("listener %s", c->name);
	const struct activation_want want = {.name = c->name,
	                                     .what = what,
	                                     .stream = a->stream,
	                                     .dual = !a->six_only,
	                                     .address = a->sa,
	                                     .length = a->length};
	int fd = activation_take(passed, &want, error, error_size);

	free(what);
	if (fd < 0)
		return fd;
	l->passed = true;
	l->fds[0] = fd;
	for (size_t w = 1; a->stream && w < l->workers; w++) {
		l->fds[w] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (l->fds[w] < 0) {
			snprintf(error, error_size, "%s: %s", c->address, strerror(errno));
			return -errno;
		}
	}
	if (!a->stream)
		enlarge_passed(fd, a->buffer);
	if (!a->stream && c->kind == LISTENER_UDP)
		(void)set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	return 0;
}

static int bind_inet(struct listener *l, struct address *a)
{
	int r = *port_of(&a->sa) ? probe(a) : 0;

	for (size_t w = 0; r == 0 && w < l->workers; w++) {
		int fd = bind_one(a, true);
		l->fds[w] = fd;
		/* Port 0: the kernel has chosen for the first; the others share it. */
		if (fd < 0)
			r = fd;
		else if (getsockname(fd, (struct sockaddr *)&a->sa, &a->length) < 0)
			r = -errno;
	}
	return r;
}

static int open_inet(struct listener *l, struct activation *passed, char *error, size_t error_size)
{
	const struct listener_config *c = l->config;
	struct address a = {.stream = listener_is_stream(c),
	                    .six_only = c->address[0] == '[',
	                    .buffer = (int)c->receive_buffer};
	int r = net_parse(str_of(c->address), &a.sa, &a.length);

	if (r < 0) {
		snprintf(error, error_size, "\"%s\" is no HOST:PORT", c->address);
		return r;
	}
	without_ipv6(&a);
	r = take_passed(l, passed, &a, error, error_size);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && getsockname(l->fds[0], (struct sockaddr *)&a.sa, &a.length) < 0)
		r = -errno;
	if (r == -ENOENT)
		r = bind_inet(l, &a);
	if (r < 0) {
		snprintf(error, error_size, "cannot listen on %s: %s", c->address, strerror(-r));
		return r;
	}
	net_text((const struct sockaddr *)&a.sa, l->address);
	return 0;
}

/* ---- unix datagram sockets ---- */

/* Makes way for our socket: removes one that nobody listens on any more. 0 or -errno. */
static int remove_stale(const struct sockaddr_un *sa)
{
	struct stat st;

	if (lstat(sa->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	int fd = socket_new(AF_UNIX, false);
	if (fd < 0)
		return fd;
	bool in_use =
		connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno == EPROTOTYPE;
	close(fd);
	if (in_use)
		return -EADDRINUSE;
	return unlink(sa->sun_path) < 0 ? -errno : 0;
}

/* A socket that was passed: its permissions, and its removal, are the matter of who has bound it. */
static int adopt_unix(struct listener *l, struct sockaddr_un *sa)
{
	socklen_t length = sizeof(*sa);

	if (getsockname(l->fds[0], (struct sockaddr *)sa, &length) < 0)
		return -errno;
	return set_option(l->fds[0], SOL_SOCKET, SO_PASSCRED, 1);
}

static int bind_unix(struct listener *l, const struct sockaddr_un *sa)
{
	int r = remove_stale(sa);

	if (r < 0)
		return r;
	int fd = l->fds[0] = socket_new(AF_UNIX, false);
	if (fd < 0)
		return fd;
	if (bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0)
		return -errno;
	l->unlink = true;
	if (chmod(sa->sun_path, (mode_t)l->config->mode) < 0)
		return -errno;
	enlarge(fd, UNIX_BUFFER);
	return set_option(fd, SOL_SOCKET, SO_PASSCRED, 1);
}

static int open_unix(struct listener *l, struct activation *passed, char *error, size_t error_size)
{
	struct address a = {.length = sizeof(struct sockaddr_un), .buffer = UNIX_BUFFER};
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	size_t n = strlen(l->config->address);
	int r = -ENAMETOOLONG;

	if (n < sizeof(sa.sun_path)) {
		memcpy(sa.sun_path, l->config->address, n);
		memcpy(&a.sa, &sa, sizeof(sa));
		r = take_passed(l, passed, &a, error, error_size);
		if (r < 0 && r != -ENOENT)
			return r;
		r = r == 0 ? adopt_unix(l, &sa) : bind_unix(l, &sa);
	}
	if (r < 0) {
		snprintf(error, error_size, "cannot listen on %s: %s", l->config->address,
		         r == -EEXIST ? "there is a file that is no socket" : strerror(-r));
		return r;
	}
	snprintf(l->address, sizeof(l->address), "%.*s", (int)sizeof(sa.sun_path), sa.sun_path);
	return 0;
}

/* ---- TLS ---- */

struct tls_context *listener_tls(struct listener *l)
{
	pthread_mutex_lock(&l->tls_lock);
	struct tls_context *c = tls_context_ref(l->tls);
	pthread_mutex_unlock(&l->tls_lock);
	return c;
}

void listener_certificate(struct listener *l, struct tls_certificate *ret, uint64_t *ret_crl_until)
{
	pthread_mutex_lock(&l->tls_lock);
	tls_context_certificate(l->tls, ret);
	*ret_crl_until = tls_context_crl_until(l->tls);
	pthread_mutex_unlock(&l->tls_lock);
}

int listener_renew(struct listener *l, const struct listener_config *c, char *error,
                   size_t error_size)
{
	const struct tls_settings settings = listener_tls_settings(c);
	struct tls_context *new;
	int r = tls_context_new(true, &settings, &new, error, error_size);

	if (r < 0)
		return r;
	pthread_mutex_lock(&l->tls_lock);
	struct tls_context *old = l->tls;
	l->tls = new;
	pthread_mutex_unlock(&l->tls_lock);
	tls_context_unref(old);
	return 0;
}

int listener_open(struct listener *l, const struct listener_config *c, size_t workers,
                  struct activation *passed, char *error, size_t error_size)
{
	int r = 0;

	*l = (struct listener){.config = c, .workers = workers};
	pthread_mutex_init(&l->tls_lock, NULL);
	l->fds = xcalloc(workers, sizeof(*l->fds));
	for (size_t w = 0; w < workers; w++)
		l->fds[w] = -1;
	l->counts = aligned_alloc(alignof(struct listener_counts), workers * sizeof(*l->counts));
	if (!l->counts)
		abort();
	memset(l->counts, 0, workers * sizeof(*l->counts));
	if (listener_has_hec(c)) {
		l->acks = xcalloc(1, sizeof(*l->acks));
		hec_acks_init(l->acks);
	}
	if (listener_has_tls(c))
		r = listener_renew(l, c, error, error_size);
	if (r == 0)
		r = c->kind == LISTENER_UNIX ? open_unix(l, passed, error, error_size)
		                             : open_inet(l, passed, error, error_size);
	return r;
}

void listener_close(struct listener *l)
{
	for (size_t w = 0; l->fds && w < l->workers; w++)
		if (l->fds[w] >= 0)
			close(l->fds[w]);
	if (l->unlink)
		unlink(l->address[0] ? l->address : l->config->address);
	tls_context_unref(l->tls);
	if (l->acks)
		hec_acks_release(l->acks);
	free(l->acks);
	pthread_mutex_destroy(&l->tls_lock);
	free(l->fds);
	free(l->counts);
	*l = (struct listener){0};
}
