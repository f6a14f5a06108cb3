/* Names are optional: systemd calls all sockets of a unit by the unit's name unless FileDescriptorName= is set, and that
 * can be set once per unit. So the address decides, as it stands in both files, and a unit may have many Listen lines. */
#include "base/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/str.h"

#define TEXT_MAX 256

struct passed {
	int fd; /* -1: given away */
	int number;
	char *name;
	int type; /* SOCK_…; 0: it is no socket */
	bool listening, six_only;
	struct sockaddr_storage address;
	socklen_t length;
};

/* A door that found nothing. */
struct miss {
	char *what;
	bool stream;
	struct sockaddr_storage address;
	socklen_t length;
};

struct activation {
	struct passed *sockets;
	size_t count;
	struct miss *misses;
	size_t miss_count;
};

/* ---- what was passed ---- */

static int option_of(int fd, int level, int option)
{
	int value = 0;
	socklen_t size = sizeof(value);

	return getsockopt(fd, level, option, &value, &size) < 0 ? 0 : value;
}

static void look_at(struct passed *p, int fd, const char *name)
{
	/* sd_listen_fds_with_names(3) calls those without a name "unknown". */
	bool named = name && strcmp(name, "unknown") != 0;

	*p = (struct passed){.fd = fd, .number = fd, .name = xstrdup(named ? name : "")};
	p->length = sizeof(p->address);
	if (getsockname(fd, (struct sockaddr *)&p->address, &p->length) < 0)
		return;
	p->type = option_of(fd, SOL_SOCKET, SO_TYPE);
	p->listening = option_of(fd, SOL_SOCKET, SO_ACCEPTCONN);
	if (p->address.ss_family == AF_INET6)
		p->six_only = option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY);
}

struct activation *activation_new(const int *fds, const char *const *names, size_t count)
{
	struct activation *a = xcalloc(1, sizeof(*a));

	a->sockets = xcalloc(count, sizeof(*a->sockets));
	a->count = count;
	for (size_t i = 0; i < count; i++)
		look_at(&a->sockets[i], fds[i], names ? names[i] : NULL);
	return a;
}

int activation_open(struct activation **ret, char *error, size_t error_size)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	if (n < 0) {
		snprintf(error, error_size,
		         "the sockets that LISTEN_FDS and LISTEN_FDNAMES tell of cannot be taken "
		         "over: %s",
		         strerror(-n));
		return n;
	}
	*ret = NULL;
	if (n == 0)
		return 0;
	int *fds = xcalloc((size_t)n, sizeof(*fds));
	for (int i = 0; i < n; i++)
		fds[i] = SD_LISTEN_FDS_START + i;
	*ret = activation_new(fds, (const char *const *)names, (size_t)n);
	for (int i = 0; i < n; i++)
		free(names[i]);
	free((void *)names);
	free(fds);
	return 0;
}

/* ---- addresses ---- */

static bool same_path(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_un *x = (const struct sockaddr_un *)a,
				 *y = (const struct sockaddr_un *)b;

	return x->sun_path[0] && strncmp(x->sun_path, y->sun_path, sizeof(x->sun_path)) == 0;
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const struct sockaddr_in *)a,
				 *b4 = (const struct sockaddr_in *)b;
	const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a,
				  *b6 = (const struct sockaddr_in6 *)b;

	if (a->ss_family != b->ss_family)
		return false;
	switch (a->ss_family) {
	case AF_UNIX: return same_path(a, b);
	case AF_INET:
		return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	case AF_INET6:
		return a6->sin6_port == b6->sin6_port &&
		       IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr);
	default: return false;
	}
}

static const char *type_text(const struct passed *p)
{
	return p->type == SOCK_STREAM ? "stream" : p->type == SOCK_DGRAM ? "datagram" : "other";
}

/* "socket 3 (datagram, [::]:514, udp)" */
static const char *describe(const struct passed *p, char out[static TEXT_MAX])
{
	char address[NET_TEXT_MAX];
	const char *where = address;

	const char *comma = p->name[0] ? ", " : "";

	if (p->type == 0) {
		snprintf(out, TEXT_MAX, "descriptor %d (no socket%s%.64s)", p->number, comma,
		         p->name);
		return out;
	}
	if (p->address.ss_family == AF_UNIX)
		where = ((const struct sockaddr_un *)&p->address)->sun_path;
	else
		net_text((const struct sockaddr *)&p->address, address);
	snprintf(out, TEXT_MAX, "socket %d (%s, %.108s%s%.64s)", p->number, type_text(p), where,
	         comma, p->name);
	return out;
}

/* ---- who gets which ---- */

static bool fits_type(const struct passed *p, bool stream)
{
	return p->type == (stream ? SOCK_STREAM : SOCK_DGRAM);
}

static bool is_inet(const struct sockaddr_storage *sa)
{
	return sa->ss_family == AF_INET || sa->ss_family == AF_INET6;
}

static bool is_any(const struct sockaddr_storage *sa)
{
	return sa->ss_family == AF_INET6 &&
	       IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

/* What is wrong with a socket that is meant for that door; NULL: nothing. */
static const char *objection(const struct passed *p, const struct activation_want *w)
{
	if (!fits_type(p, w->stream))
		return w->stream ? "which takes connections: it must be a stream socket"
		                 : "which takes datagrams: it must be a datagram socket";
	if (w->stream && !p->listening)
		return "but does not listen (Accept=no is needed)";
	if (is_inet(&w->address) ? !is_inet(&p->address)
	                         : p->address.ss_family != w->address.ss_family)
		return "which is of another family of addresses";
	if (w->dual && p->six_only && is_any(&w->address) && is_any(&p->address))
		return "which takes IPv4 too (BindIPv6Only=both is needed)";
	return NULL;
}

static struct passed *find(struct activation *a, const struct activation_want *w)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->sockets[i].fd >= 0 && a->sockets[i].name[0] &&
		    strcmp(a->sockets[i].name, w->name) == 0)
			return &a->sockets[i];
	for (size_t i = 0; i < a->count; i++)
		if (a->sockets[i].fd >= 0 && fits_type(&a->sockets[i], w->stream) &&
		    same_address(&a->sockets[i].address, &w->address))
			return &a->sockets[i];
	return NULL;
}

static void note_miss(struct activation *a, const struct activation_want *w)
{
	a->misses = xrealloc(a->misses, (a->miss_count + 1) * sizeof(*a->misses));
	a->misses[a->miss_count++] =
		(struct miss){xstrdup(w->what), w->stream, w->address, w->length};
}

int activation_take(struct activation *a, const struct activation_want *want, char *error,
                    size_t error_size)
{
	char text[TEXT_MAX];
	struct passed *p = a ? find(a, want) : NULL;

	if (a && !p)
		note_miss(a, want);
	if (!p)
		return -ENOENT;
	const char *wrong = objection(p, want);
	if (wrong) {
		snprintf(error, error_size, "%s is meant for %s, %s", describe(p, text), want->what,
		         wrong);
		return -EPROTOTYPE;
	}
	int flags = fcntl(p->fd, F_GETFL);
	if (flags < 0 || fcntl(p->fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(p->fd, F_SETFD, FD_CLOEXEC) < 0) {
		int r = -errno;
		snprintf(error, error_size, "%s: %s", describe(p, text), strerror(-r));
		return r;
	}
	log_notice("%s uses %s that was passed to isod", want->what, describe(p, text));
	int fd = p->fd;
	p->fd = -1;
	return fd;
}

/* ---- the end ---- */

void activation_free(struct activation *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->count; i++) {
		if (a->sockets[i].fd >= 0)
			close(a->sockets[i].fd);
		free(a->sockets[i].name);
	}
	for (size_t i = 0; i < a->miss_count; i++)
		free(a->misses[i].what);
	free(a->sockets);
	free(a->misses);
	free(a);
}

/* The door at the same address that needs another type. */
static const struct miss *at_odds(const struct activation *a, const struct passed *p)
{
	for (size_t i = 0; p->type && i < a->miss_count; i++)
		if (!fits_type(p, a->misses[i].stream) &&
		    same_address(&p->address, &a->misses[i].address))
			return &a->misses[i];
	return NULL;
}

int activation_finish(struct activation *a, char *error, size_t error_size)
{
	char text[TEXT_MAX];
	int r = 0;

	for (size_t i = 0; a && i < a->count; i++) {
		const struct passed *p = &a->sockets[i];
		const struct miss *m = p->fd < 0 ? NULL : at_odds(a, p);
		if (p->fd < 0)
			continue;
		if (m && r == 0) {
			snprintf(error, error_size, "%s has the address of %s, which takes %s",
			         describe(p, text), m->what,
			         m->stream ? "connections" : "datagrams");
			r = -EPROTOTYPE;
		}
		if (!m)
			log_warning("%s was passed to isod but fits nothing in its configuration: "
			            "nobody reads from it",
			            describe(p, text));
	}
	activation_free(a);
	return r;
}
