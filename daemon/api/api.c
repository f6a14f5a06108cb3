/* The listeners, and telling watchers of changes.
 *
 * The fold reports every change of an incident, thousands a second when a storm of matches goes into one. Watchers want
 * to know what is, not each step: changes are gathered as ids, and after TELL_DELAY each incident is sent once as it is
 * then. So what a watcher costs does not depend on the event rate. */
#include "api/api.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "base/activation.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/path.h"
#include "base/wire.h"

#define CONNECTIONS_KEPT 16 /* of API_CONNECTIONS_MAX, for root and the daemon's own account */
#define BACKLOG          128
#define REASON_MAX       512

static const struct timeval tell_delay = {
	0, 250000}; /* people do not see it, and storms fold into it */
static const struct timeval resume_delay = {1, 0}; /* descriptors ran out: others must end first */

static const struct timeval patience[DEADLINES] = {
	[DEADLINE_HANDSHAKE] = {10, 0}, /* over a bad line it takes a second or two */
	[DEADLINE_REQUEST] = {10, 0},   /* a client writes a request in one go */
	[DEADLINE_IDLE] = {600, 0},     /* a dashboard asks every few minutes */
	[DEADLINE_LINGER] = {2, 0},
};

/* ---- accepting ---- */

/* No room: a local client is told, as far as its socket takes it; before TLS there is nothing to say it in. */
static void turn_away(struct api *a, int fd, bool tls)
{
	static char message[] = "too many connections";
	Isod__V1__Error error = ISOD__V1__ERROR__INIT;
	Isod__V1__Response answer = ISOD__V1__RESPONSE__INIT;

	a->counts.turned_away++;
	if (!tls) {
		error.code = ISOD__V1__ERROR_CODE__ERROR_UNAVAILABLE;
		error.message = message;
		answer.answer_case = ISOD__V1__RESPONSE__ANSWER_ERROR;
		answer.error = &error;
		buf_reset(&a->scratch);
		if (wire_append(&a->scratch, &answer.base) == 0)
			(void)send(fd, a->scratch.p, a->scratch.n, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	close(fd);
}

static bool has_room(const struct api *a, bool trusted)
{
	return a->connection_count < API_CONNECTIONS_MAX - (trusted ? 0 : CONNECTIONS_KEPT);
}

static void on_local(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int length,
                     void *arg)
{
	struct api *a = arg;
	struct peer peer;
	(void)l;
	(void)sa;
	(void)length;

	int r = peer_of_socket(a, fd, &peer);
	if (r < 0) {
		log_warning("api: cannot tell who connects: %s", strerror(-r));
		close(fd);
	} else if (!has_room(a, peer.trusted)) {
		turn_away(a, fd, false);
	} else {
		connection_new(a, fd, false, &peer);
	}
}

static void on_remote(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int length,
                      void *arg)
{
	struct api *a = arg;
	(void)l;
	(void)sa;
	(void)length;

	if (has_room(a, false))
		connection_new(a, fd, true, NULL);
	else
		turn_away(a, fd, true);
}

/* Out of descriptors: the listener would be readable for ever and spin. It rests instead. */
static void on_accept_error(struct evconnlistener *l, void *arg)
{
	struct api *a = arg;

	log_warning("api: cannot accept: %s", strerror(EVUTIL_SOCKET_ERROR()));
	evconnlistener_disable(l);
	evtimer_add(a->resume, &resume_delay);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct api *a = arg;
	(void)fd;
	(void)what;

	if (a->local)
		evconnlistener_enable(a->local);
	if (a->remote)
		evconnlistener_enable(a->remote);
}

/* ---- the sockets ---- */

static int fail(int r, const char *what, const char *where, char *error, size_t error_size)
{
	snprintf(error, error_size, "api: %s %s: %s", what, where, strerror(-r));
	return r;
}

/* Does somebody answer on that unix socket? 1, 0, or -errno when it is no socket or cannot be asked. */
static int is_alive(const struct sockaddr_un *sa)
{
	struct stat st;

	if (lstat(sa->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int r = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 ? -errno : 0;
	close(fd);
	/* EAGAIN: its queue is full, so somebody is there. */
	return r == 0 || r == -EAGAIN ? 1 : r == -ECONNREFUSED ? 0 : r;
}

static int bind_local(const char *path, mode_t mode)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path) + 1);
	int r = is_alive(&sa);
	if (r != 0)
		return r > 0 ? -EADDRINUSE : r;
	unlink(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Closed to all until it has its permissions. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    chmod(path, mode) < 0 || listen(fd, BACKLOG) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static struct evconnlistener *listen_on(struct api *a, int fd, evconnlistener_cb accepted)
{
	struct evconnlistener *l = evconnlistener_new(
		a->options.base, accepted, a, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);

	if (!l)
		abort(); /* no memory */
	evconnlistener_set_error_cb(l, on_accept_error);
	return l;
}

/* A socket that was passed, -ENOENT, or -errno with `error`. */
static int take_passed(struct api *a, const struct activation_want *want, char *error,
                       size_t error_size)
{
	char reason[REASON_MAX];
	int fd = activation_take(a->options.passed, want, reason, sizeof(reason));

	if (fd < 0 && fd != -ENOENT)
		snprintf(error, error_size, "api: %s", reason);
	return fd;
}

static int take_local(struct api *a, const char *path, char *error, size_t error_size)
{
	struct activation_want want = {.name = "api",
	                               .what = "the API",
	                               .stream = true,
	                               .length = sizeof(struct sockaddr_un)};
	struct sockaddr_un *sa = (struct sockaddr_un *)&want.address;

	sa->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(sa->sun_path))
		return -ENOENT;
	memcpy(sa->sun_path, path, strlen(path) + 1);
	return take_passed(a, &want, error, error_size);
}

static int open_local(struct api *a, char *error, size_t error_size)
{
	const struct config *c = a->options.config;
	char *path =
		c->api.socket ? xstrdup(c->api.socket) : xasprintf("%s/isod.sock", c->state_dir);
	char *slash = strrchr(path, '/');
	struct stat st;
	int fd = take_local(a, path, error, error_size);

	/* Who has bound it also sees to its permissions and its end. */
	if (fd != -ENOENT) {
		free(path);
		if (fd >= 0)
			a->local = listen_on(a, fd, on_local);
		return fd < 0 ? fd : 0;
	}
	fd = 0;
	if (slash && slash != path) {
		*slash = '\0';
		fd = path_make_dirs(path, 0755);
		*slash = '/';
	}
	if (fd == 0)
		fd = bind_local(path, (mode_t)c->api.mode);
	if (fd < 0) {
		int r = fd == -EADDRINUSE
		                ? fail(fd, "another process answers on", path, error, error_size)
		                : fail(fd, "cannot listen on", path, error, error_size);
		free(path);
		return r;
	}
	/* Only our own socket is removed at the end, not that of a successor. */
	if (lstat(path, &st) == 0) {
		a->socket_dev = st.st_dev;
		a->socket_ino = st.st_ino;
	}
	a->socket_path = path;
	a->local = listen_on(a, fd, on_local);
	return 0;
}

static int bind_remote(const struct activation_want *want)
{
	const struct sockaddr_storage sa = want->address;
	socklen_t length = want->length;
	int on = 1, off = 0;

	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (sa.ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
	    bind(fd, (const struct sockaddr *)&sa, length) < 0 || listen(fd, BACKLOG) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int remote_socket(struct api *a, const char *address, char *error, size_t error_size)
{
	struct activation_want want = {
		.name = "api-tls", .what = "the API over TLS", .stream = true, .dual = true};
	int r = net_parse(str_of(address), &want.address, &want.length);

	if (r < 0)
		return fail(r, "cannot listen on", address, error, error_size);
	int fd = take_passed(a, &want, error, error_size);
	if (fd == -ENOENT) {
		fd = bind_remote(&want);
		if (fd < 0)
			fail(fd, "cannot listen on", address, error, error_size);
	}
	if (fd < 0)
		return fd;
	want.length = sizeof(want.address);
	if (getsockname(fd, (struct sockaddr *)&want.address, &want.length) == 0)
		net_text((const struct sockaddr *)&want.address, a->address);
	return fd;
}

int api_renew(struct api *a, const struct api_config *c, char *error, size_t error_size)
{
	const struct tls_settings settings = {.certificate = c->certificate,
	                                      .key = c->key,
	                                      .ca = c->ca,
	                                      .peers = TLS_PEER_REQUIRED};
	struct tls_context *new;

	if (!a->options.config->api.address || !c->address)
		return 0;
	int r = tls_context_new(true, &settings, &new, error, error_size);
	if (r < 0)
		return r;
	tls_context_unref(a->tls);
	a->tls = new;
	return 0;
}

const struct tls_context *api_tls(const struct api *a)
{
	return a->tls;
}

static int open_remote(struct api *a, char *error, size_t error_size)
{
	const struct api_config *c = &a->options.config->api;

	if (!c->address)
		return 0;
	int r = api_renew(a, c, error, error_size);
	if (r < 0)
		return r;
	int fd = remote_socket(a, c->address, error, error_size);
	if (fd < 0)
		return fd;
	a->remote = listen_on(a, fd, on_remote);
	return 0;
}

/* ---- telling watchers ---- */

void api_incident_changed(struct api *a, const Isod__V1__Incident *incident)
{
	if (!a || a->watchers == 0)
		return;
	struct str key = str_make((const char *)&incident->id, sizeof(incident->id));
	map_put(&a->changed, key, a);
	if (!evtimer_pending(a->telling, NULL))
		evtimer_add(a->telling, &tell_delay);
}

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
	struct api *a = arg;
	struct connection *next;
	(void)fd;
	(void)what;

	for (struct connection *c = a->connections; c; c = next) {
		next = c->next;
		connection_tell(c);
	}
	map_release(&a->changed, NULL);
	map_init(&a->changed);
}

/* ---- life ---- */

int api_open(const struct api_options *o, struct api **ret, char *error, size_t error_size)
{
	struct api *a = xcalloc(1, sizeof(*a));

	a->options = *o;
	memcpy(a->patience, patience, sizeof(patience));
	buf_init(&a->scratch, API_OUTPUT_MAX);
	arena_init(&a->arena, 0);
	map_init(&a->changed);
	map_init(&a->claims);
	a->telling = evtimer_new(o->base, on_tell, a);
	a->resume = evtimer_new(o->base, on_resume, a);
	if (!a->telling || !a->resume)
		abort();
	roles_load(a);
	int r = open_local(a, error, error_size);
	if (r == 0)
		r = open_remote(a, error, error_size);
	if (r < 0) {
		api_close(a);
		return r;
	}
	*ret = a;
	return 0;
}

static void remove_socket(struct api *a)
{
	struct stat st;

	if (a->socket_path && lstat(a->socket_path, &st) == 0 && st.st_dev == a->socket_dev &&
	    st.st_ino == a->socket_ino)
		unlink(a->socket_path);
	free(a->socket_path);
}

void api_close(struct api *a)
{
	if (!a)
		return;
	if (a->local)
		evconnlistener_free(a->local);
	if (a->remote)
		evconnlistener_free(a->remote);
	while (a->connections)
		connection_free(a->connections);
	remove_socket(a);
	tls_context_unref(a->tls);
	event_free(a->telling);
	event_free(a->resume);
	map_release(&a->changed, NULL);
	map_release(&a->claims, NULL);
	arena_release(&a->arena);
	buf_release(&a->scratch);
	free(a->roles);
	free(a);
}

const char *api_address(const struct api *a)
{
	return a->address;
}

void api_counters(const struct api *a, void (*count)(void *arg, const char *name, uint64_t value),
                  void *arg)
{
	const struct {
		const char *name;
		uint64_t value;
	} counters[] = {
		{"api_connections", a->connection_count},
		{"api_watchers", a->watchers},
		{"api_accepted", a->counts.accepted},
		{"api_turned_away", a->counts.turned_away},
		{"api_requests", a->counts.requests},
		{"api_bad_requests", a->counts.bad_requests},
		{"api_too_large", a->counts.too_large},
		{"api_refusals", a->counts.refusals},
		{"api_refusals_unrecorded", a->counts.refusals_unrecorded},
		{"api_timeouts", a->counts.timeouts},
		{"api_slow_clients", a->counts.slow},
		{"api_tls_failures", a->counts.tls_failures},
		{"api_producers_bound", a->counts.producers_bound},
		{"api_producer_takeovers", a->counts.producer_takeovers},
		{"api_producer_conflicts", a->counts.producer_conflicts},
	};

	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		count(arg, counters[i].name, counters[i].value);
}
