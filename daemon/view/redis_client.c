/* Why not hiredis' own connections: Debian 12 has hiredis 0.14, which knows no TLS, and its adapter for libevent owns
 * the socket. So hiredis is used for the protocol alone (redisFormatCommandArgv, redisReader), over a bufferevent:
 * plain, unix, or base/tls.h's. A host name is resolved by libevent's evdns, because getaddrinfo(3) would block the
 * officer's loop for as long as the name server likes. */
#include "view/redis_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/tls.h"

/* Back-off between attempts. The longest is short, because "the view is back within seconds" is the promise and a
 * refused connect costs next to nothing. */
#define BACKOFF_FIRST_NS (50 * NS_PER_MS)
#define BACKOFF_MAX_NS   (2 * NS_PER_SECOND)
/* From the beginning of an attempt to its being ready, and from a sent byte to an answered one: far longer than any
 * Redis that is well needs for a batch of ours. */
#define CONNECT_TIMEOUT_NS (5 * NS_PER_SECOND)
#define REPLY_TIMEOUT_NS   (5 * NS_PER_SECOND)
/* One answer: the longest we ask for is a SCAN page of a few hundred keys. What is longer is no Redis of ours. */
#define REPLY_BYTES_MAX    ((size_t)8 << 20)
#define REPLY_ELEMENTS_MAX 100000
#define PASSWORD_MAX       4096 /* the file's size; Redis' own limit on an argument is far above */

enum client_state {
	CLIENT_DOWN,
	CLIENT_RESOLVING,
	CLIENT_CONNECTING,
	CLIENT_TLS,
	CLIENT_HELLO,
	CLIENT_READY
};

/* A resolution may outlive the attempt that asked: its callback comes from the loop, also after a cancel. */
struct resolution {
	struct redis_client *client; /* NULL: nobody waits any more */
	struct evdns_getaddrinfo_request *request;
};

enum hello_step { HELLO_AUTH, HELLO_SELECT, HELLO_PING, HELLO_NAME };

struct redis_client {
	struct redis_client_options o;
	enum client_state state;
	unsigned generation; /* counts connections: tells a callback that its own is gone */
	struct event *timer; /* DOWN: the next attempt; else the deadline */
	uint64_t backoff_ns;
	struct evdns_base *dns;
	struct resolution *resolution;
	struct evutil_addrinfo *addresses, *address; /* all, and the one tried now */
	int fd;                                      /* while connecting; then the bufferevent's */
	struct event *connecting;
	struct bufferevent *bev;
	redisReader *reader;
	redisReplyObjectFunctions functions; /* the reader's, with a limit on arrays */
	void *(*create_array)(const redisReadTask *, int);
	size_t reply_bytes, reply_elements; /* of the answer that is being read */
	struct evbuffer *gathered;
	size_t gathered_count, outstanding, answered;
	enum hello_step hello[4];
};

static void client_attempt(struct redis_client *c);

/* ---- coming and going ---- */

static struct timeval to_timeval(uint64_t ns)
{
	return (struct timeval){.tv_sec = (time_t)(ns / NS_PER_SECOND),
	                        .tv_usec = (suseconds_t)(ns % NS_PER_SECOND / 1000)};
}

static void set_timer(struct redis_client *c, uint64_t ns)
{
	struct timeval tv = to_timeval(ns);
	event_add(c->timer, &tv);
}

static void resolution_forget(struct redis_client *c)
{
	struct resolution *r = c->resolution;

	if (!r)
		return;
	c->resolution = NULL;
	r->client = NULL;
	if (r->request)
		evdns_getaddrinfo_cancel(r->request);
}

/* Lets go of everything that belongs to the present attempt or connection. */
static void client_teardown(struct redis_client *c)
{
	resolution_forget(c);
	if (c->addresses)
		evutil_freeaddrinfo(c->addresses);
	c->addresses = c->address = NULL;
	if (c->connecting)
		event_free(c->connecting);
	c->connecting = NULL;
	if (c->bev)
		bufferevent_free(c->bev);
	else if (c->fd >= 0)
		close(c->fd);
	c->bev = NULL;
	c->fd = -1;
	if (c->reader)
		redisReaderFree(c->reader);
	c->reader = NULL;
	evbuffer_drain(c->gathered, evbuffer_get_length(c->gathered));
	c->gathered_count = c->outstanding = c->answered = 0;
	c->reply_bytes = c->reply_elements = 0;
	c->generation++;
	c->state = CLIENT_DOWN;
	event_del(c->timer);
}

static void client_drop(struct redis_client *c, bool timeout, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void client_drop(struct redis_client *c, bool timeout, const char *format, ...)
{
	va_list ap;
	char reason[512];

	va_start(ap, format);
	vsnprintf(reason, sizeof(reason), format, ap);
	va_end(ap);
	client_teardown(c);
	set_timer(c, c->backoff_ns);
	c->backoff_ns = c->backoff_ns * 2 < BACKOFF_MAX_NS ? c->backoff_ns * 2 : BACKOFF_MAX_NS;
	c->o.down(c->o.arg, reason, timeout);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct redis_client *c = arg;

	(void)fd;
	(void)what;
	switch (c->state) {
	case CLIENT_DOWN: client_attempt(c); break;
	case CLIENT_RESOLVING: client_drop(c, true, "no answer from the name servers"); break;
	case CLIENT_CONNECTING: client_drop(c, true, "no answer to the connection"); break;
	case CLIENT_TLS: client_drop(c, true, "no end of the TLS handshake"); break;
	default:
		client_drop(c, true, "no answer for %llu s",
		            (unsigned long long)(REPLY_TIMEOUT_NS / NS_PER_SECOND));
		break;
	}
}

/* ---- answers ---- */

static void *limited_array(const redisReadTask *task, int elements)
{
	struct redis_client *c = task->privdata;

	if (elements < 0 || (size_t)elements > REPLY_ELEMENTS_MAX - c->reply_elements)
		return NULL; /* the reader turns this into an error */
	c->reply_elements += (size_t)elements;
	return c->create_array(task, elements);
}

static void reader_new(struct redis_client *c)
{
	c->reader = redisReaderCreate();
	if (!c->reader)
		abort(); /* out of memory, like base/mem.h */
	c->functions = *c->reader->fn;
	c->create_array = c->functions.createArray;
	c->functions.createArray = limited_array;
	c->reader->fn = &c->functions;
	c->reader->privdata = c;
}

/* What an error answer to a command of the greeting means to the person who configures isod. */
static const char *hello_hint(enum hello_step step, const char *text)
{
	if (strncmp(text, "LOADING", 7) == 0)
		return "is still loading its data";
	if (strncmp(text, "NOAUTH", 6) == 0)
		return "asks for a password (redis.password_file)";
	if (step == HELLO_AUTH)
		return "refuses the password (redis.password_file)";
	if (step == HELLO_SELECT)
		return "refuses the database number of redis.url";
	return "refuses";
}

static void hello_reply(struct redis_client *c, size_t index, const redisReply *reply)
{
	enum hello_step step = c->hello[index];

	/* An ACL may forbid the name; nothing depends on it. */
	if (reply->type == REDIS_REPLY_ERROR && step != HELLO_NAME) {
		client_drop(c, false, "Redis %s: %s", hello_hint(step, reply->str), reply->str);
		return;
	}
	if (step == HELLO_PING &&
	    (reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, "PONG") != 0)) {
		client_drop(c, false, "what answers is no Redis: PING without PONG");
		return;
	}
	if (step != HELLO_NAME)
		return;
	c->state = CLIENT_READY;
	c->outstanding = c->answered = 0;
	event_del(c->timer);
	c->o.up(c->o.arg);
}

static void handle_reply(struct redis_client *c, const redisReply *reply)
{
	if (c->answered == c->outstanding) {
		client_drop(c, false, "Redis answers what was not asked%s%.200s",
		            reply->type == REDIS_REPLY_ERROR ? ": " : "",
		            reply->type == REDIS_REPLY_ERROR ? reply->str : "");
		return;
	}
	size_t index = c->answered++;
	if (c->state == CLIENT_HELLO) {
		hello_reply(c, index, reply);
		return;
	}
	unsigned generation = c->generation;
	c->o.reply(c->o.arg, index, reply);
	if (c->generation != generation || c->answered < c->outstanding)
		return;
	c->outstanding = c->answered = 0;
	c->backoff_ns = BACKOFF_FIRST_NS;
	event_del(c->timer);
	c->o.done(c->o.arg);
}

/* Answers in what was fed so far. False when the connection is gone. */
static bool read_replies(struct redis_client *c)
{
	unsigned generation = c->generation;
	void *reply;

	for (;;) {
		if (redisReaderGetReply(c->reader, &reply) != REDIS_OK) {
			client_drop(c, false, "what answers is no Redis: %s", c->reader->errstr);
			return false;
		}
		if (!reply)
			break;
		c->reply_bytes = c->reply_elements = 0;
		handle_reply(c, reply);
		freeReplyObject(reply);
		if (c->generation != generation)
			return false;
	}
	if (c->reply_bytes > REPLY_BYTES_MAX) {
		client_drop(c, false, "an answer is longer than %zu bytes", REPLY_BYTES_MAX);
		return false;
	}
	return true;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct redis_client *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t n;

	if (c->outstanding)
		set_timer(c, REPLY_TIMEOUT_NS);
	while ((n = evbuffer_get_contiguous_space(in)) > 0) {
		if (redisReaderFeed(c->reader, (char *)evbuffer_pullup(in, (ev_ssize_t)n), n) !=
		    REDIS_OK) {
			client_drop(c, false, "an answer does not fit into memory");
			return;
		}
		c->reply_bytes += n;
		evbuffer_drain(in, n);
		if (!read_replies(c))
			return;
	}
}

/* ---- the greeting ---- */

static void add_command(struct redis_client *c, enum hello_step step, const char *a, const char *b,
                        const char *third)
{
	const char *argv[] = {a, b, third};
	size_t lengths[] = {strlen(a), b ? strlen(b) : 0, third ? strlen(third) : 0};

	c->hello[c->gathered_count] = step;
	redis_client_add(c, third ? 3 : b ? 2 : 1, argv, lengths);
}

/* *ret_password: the caller frees it; NULL when there is none. 0 or -errno. */
static int read_password(const struct redis_client *c, char **ret_password)
{
	struct buf text;

	if (!c->o.password_file) {
		*ret_password = c->o.url->password ? xstrdup(c->o.url->password) : NULL;
		return 0;
	}
	buf_init(&text, PASSWORD_MAX);
	int r = path_read(c->o.password_file, &text);
	if (r == 0) {
		struct str rest = buf_str(&text);
		struct str line = str_split(&rest, '\n');
		if (str_ends(line, STR("\r")))
			line.n--;
		*ret_password = xstrndup(line.n ? line.p : "", line.n);
		explicit_bzero(text.p, text.n);
	}
	buf_release(&text);
	return r;
}

static void client_hello(struct redis_client *c)
{
	char *password = NULL, db[16];
	int r = read_password(c, &password);

	if (r < 0) {
		client_drop(c, false, "redis.password_file %s: %s", c->o.password_file,
		            strerror(-r));
		return;
	}
	c->state = CLIENT_HELLO;
	reader_new(c);
	if (password && c->o.url->user)
		add_command(c, HELLO_AUTH, "AUTH", c->o.url->user, password);
	else if (password)
		add_command(c, HELLO_AUTH, "AUTH", password, NULL);
	if (password)
		explicit_bzero(password, strlen(password));
	free(password);
	snprintf(db, sizeof(db), "%u", c->o.url->db);
	if (c->o.url->db)
		add_command(c, HELLO_SELECT, "SELECT", db, NULL);
	add_command(c, HELLO_PING, "PING", NULL, NULL);
	add_command(c, HELLO_NAME, "CLIENT", "SETNAME", c->o.name);
	redis_client_send(c);
}

/* With TLS 1.3 a server that wants a certificate of ours says so only after our side of the handshake is done, and its
 * reset may overtake its words. */
static const char *tls_hint(const struct redis_client *c)
{
	bool early = c->o.url->tls && c->state != CLIENT_READY && !c->answered;
	return early ? " in the TLS handshake (does it want a client certificate?)" : "";
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct redis_client *c = arg;
	char text[256];
	int saved = errno;

	if (what & BEV_EVENT_CONNECTED) {
		if (c->state == CLIENT_TLS)
			client_hello(c);
		return;
	}
	if (c->o.url->tls && *tls_bufferevent_error(bev, text, sizeof(text)))
		client_drop(c, false, "TLS: %s", text);
	else
		client_drop(c, false, "%s%s",
		            what & BEV_EVENT_EOF ? "Redis closed the connection"
		            : saved              ? strerror(saved)
		                                 : "the connection broke",
		            tls_hint(c));
}

/* ---- connecting ---- */

static void client_connected(struct redis_client *c)
{
	int one = 1;

	if (c->connecting)
		event_free(c->connecting);
	c->connecting = NULL;
	if (!c->o.url->path) {
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	if (c->o.url->tls)
		c->bev = tls_bufferevent(c->o.base, c->o.tls, c->fd, false, c->o.url->host);
	else
		c->bev = bufferevent_socket_new(c->o.base, c->fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		client_drop(c, false, "no memory for the connection");
		return;
	}
	bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	if (c->o.url->tls)
		c->state = CLIENT_TLS;
	else
		client_hello(c);
}

static void client_try_address(struct redis_client *c, int last_error);

static void on_connecting(evutil_socket_t fd, short what, void *arg)
{
	struct redis_client *c = arg;
	int error = 0;
	socklen_t n = sizeof(error);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error == 0) {
		client_connected(c);
		return;
	}
	event_free(c->connecting);
	c->connecting = NULL;
	close(c->fd);
	c->fd = -1;
	if (c->address)
		c->address = c->address->ai_next;
	client_try_address(c, error);
}

/* 0 when connected or on the way, else errno. */
static int begin_connect(struct redis_client *c, const struct sockaddr *sa, socklen_t length)
{
	c->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return errno;
	c->state = CLIENT_CONNECTING;
	if (connect(c->fd, sa, length) == 0) {
		client_connected(c);
		return 0;
	}
	if (errno == EINPROGRESS) {
		c->connecting = event_new(c->o.base, c->fd, EV_WRITE, on_connecting, c);
		event_add(c->connecting, NULL);
		return 0;
	}
	int error = errno;
	close(c->fd);
	c->fd = -1;
	return error;
}

/* The next address that takes us; what the last one said when none does. */
static void client_try_address(struct redis_client *c, int last_error)
{
	for (; c->address; c->address = c->address->ai_next) {
		last_error =
			begin_connect(c, c->address->ai_addr, (socklen_t)c->address->ai_addrlen);
		if (last_error == 0)
			return;
	}
	client_drop(c, false, "cannot connect: %s", strerror(last_error));
}

static void on_resolved(int result, struct evutil_addrinfo *addresses, void *arg)
{
	struct resolution *r = arg;
	struct redis_client *c = r->client;

	if (!c) {
		if (addresses)
			evutil_freeaddrinfo(addresses);
		free(r);
		return;
	}
	c->resolution = NULL;
	free(r);
	if (result != 0) {
		client_drop(c, false, "no address for \"%s\": %s", c->o.url->host,
		            evutil_gai_strerror(result));
		return;
	}
	c->addresses = c->address = addresses;
	client_try_address(c, EHOSTUNREACH);
}

static void client_resolve(struct redis_client *c)
{
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct resolution *r = xcalloc(1, sizeof(*r));

	/* A fresh one each time: resolv.conf may have changed since. Without name servers it still knows numeric
	 * addresses and /etc/hosts. */
	if (c->dns)
		evdns_base_free(c->dns, 1);
	c->dns = evdns_base_new(c->o.base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (c->dns)
		evdns_base_resolv_conf_parse(c->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
	r->client = c;
	c->resolution = r;
	c->state = CLIENT_RESOLVING;
	/* The callback may come from inside this call; it frees `r` then. */
	unsigned generation = c->generation;
	struct evdns_getaddrinfo_request *request =
		evdns_getaddrinfo(c->dns, c->o.url->host, c->o.url->port, &hints, on_resolved, r);
	if (c->generation == generation && c->resolution == r)
		r->request = request;
}

static void client_attempt(struct redis_client *c)
{
	set_timer(c, CONNECT_TIMEOUT_NS);
	if (!c->o.url->path) {
		client_resolve(c);
		return;
	}
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	memcpy(sa.sun_path, c->o.url->path, strlen(c->o.url->path));
	int error = begin_connect(c, (const struct sockaddr *)&sa, sizeof(sa));
	if (error)
		client_drop(c, false, "cannot connect: %s", strerror(error));
}

/* ---- the owner's side ---- */

struct redis_client *redis_client_new(const struct redis_client_options *o)
{
	struct redis_client *c = xcalloc(1, sizeof(*c));

	c->o = *o;
	c->fd = -1;
	c->backoff_ns = BACKOFF_FIRST_NS;
	c->gathered = evbuffer_new();
	c->timer = evtimer_new(o->base, on_timer, c);
	set_timer(c, 0);
	return c;
}

void redis_client_free(struct redis_client *c)
{
	if (!c)
		return;
	client_teardown(c);
	if (c->dns)
		evdns_base_free(c->dns, 1);
	event_free(c->timer);
	evbuffer_free(c->gathered);
	free(c);
}

void redis_client_retry(struct redis_client *c)
{
	c->backoff_ns = BACKOFF_FIRST_NS;
	if (c->state == CLIENT_DOWN)
		set_timer(c, 0);
}

bool redis_client_ready(const struct redis_client *c)
{
	return c->state == CLIENT_READY;
}

void redis_client_add(struct redis_client *c, int argc, const char *const *argv,
                      const size_t *lengths)
{
	char *text = NULL;
	int n = redisFormatCommandArgv(&text, argc, (const char **)(uintptr_t)argv, lengths);

	if (n < 0 || evbuffer_add(c->gathered, text, (size_t)n) < 0)
		abort(); /* out of memory, like base/mem.h */
	redisFreeCommand(text);
	c->gathered_count++;
}

size_t redis_client_gathered(const struct redis_client *c)
{
	return evbuffer_get_length(c->gathered);
}

size_t redis_client_send(struct redis_client *c)
{
	size_t count = c->gathered_count;

	c->outstanding = count;
	c->answered = 0;
	c->gathered_count = 0;
	bufferevent_write_buffer(c->bev, c->gathered);
	if (c->state == CLIENT_READY)
		set_timer(c, REPLY_TIMEOUT_NS);
	return count;
}
