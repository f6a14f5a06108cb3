/* A RELP relay for `make torture`: stands between a client and isod, passes every byte on as it is and keeps a book of what
 * it saw, so that the claims about acknowledged events are checked by somebody who trusts neither side.
 *
 *   relay PORT UPSTREAM_PORT EVENTS FILE [CERTIFICATES]
 *
 * With a folder of certificates it speaks TLS to both: as server.pem to the client, as client.pem to isod, and takes none
 * whom ca.pem has not signed.
 *
 * Events are numbered from 0 in the fifth word of the message (RFC 5424's PROCID). FILE is mapped and shared, so that a
 * kill of the relay loses nothing either: a struct book_head, then for each event a struct book_event (book.h). One
 * thread, poll(2); an end that closes or breaks ends its other half once that has got what was read. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/tls.h"
#include "book.h"

#define PAIRS_MAX                                                                                  \
	64 /* connections at one time: a client has one, and its last one while that dies */
#define BUFFER_BYTES (256u << 10) /* under way in each direction, beside the kernel's */
#define WINDOW_MAX                                                                                 \
	(1u                                                                                        \
	 << 16) /* transactions without an answer that are told apart; librelp's are at most 32768 */
#define HEAD_MAX 256 /* of a frame's data: the number stands in it */

/* What of one direction was seen of the frame that is passing: TXNR SP COMMAND SP DATALEN [SP DATA] LF. */
struct parser {
	enum { TXNR, COMMAND, LENGTH, DATA, END } at;
	uint64_t txnr, length, seen;
	char command[33];
	size_t command_n;
	char head[HEAD_MAX];
};

struct half {
	int fd;          /* that is read from */
	struct tls *tls; /* NULL: plain */
	bool shaken;     /* its handshake is done */
	char *bytes;
	size_t from, to; /* of `bytes`: not yet written to the other end */
	bool ended;
	struct parser parser;
};

struct pair {
	struct half client, server;
	uint64_t *numbers; /* by transaction: the event's number + 1 */
};

struct relay {
	struct book_head *head;
	struct book_event *events;
	struct pair *pairs[PAIRS_MAX];
	int listener;
	uint16_t upstream;
	struct tls_context *as_server, *as_client; /* NULL: plain */
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* ---- what is seen ---- */

static void saw_event(struct relay *r, struct pair *p, const struct parser *f)
{
	uint64_t number;
	size_t n = f->length < HEAD_MAX ? f->length : HEAD_MAX;

	p->numbers[f->txnr % WINDOW_MAX] = 0;
	if (!book_number(f->head, n, &number) || number >= r->head->events) {
		r->head->strange++;
		return;
	}
	p->numbers[f->txnr % WINDOW_MAX] = number + 1;
	if (r->events[number].sent == 0)
		r->head->distinct++;
	else if (r->events[number].acknowledged)
		r->head->resent_acknowledged++;
	if (r->events[number].sent < UINT8_MAX)
		r->events[number].sent++;
	r->head->sent++;
}

static void saw_answer(struct relay *r, struct pair *p, const struct parser *f)
{
	uint64_t number = p->numbers[f->txnr % WINDOW_MAX];

	if (number == 0)
		return; /* to open or close */
	p->numbers[f->txnr % WINDOW_MAX] = 0;
	if (f->length < 3 || memcmp(f->head, "200", 3) != 0) {
		r->head->refused++;
		return;
	}
	if (r->events[number - 1].acknowledged++ == 0)
		r->head->acknowledged++;
}

static void saw_frame(struct relay *r, struct pair *p, const struct parser *f, bool from_client)
{
	if (from_client && strcmp(f->command, "syslog") == 0)
		saw_event(r, p, f);
	else if (!from_client && strcmp(f->command, "rsp") == 0)
		saw_answer(r, p, f);
}

static void parse_byte(struct relay *r, struct pair *p, struct parser *f, char c, bool from_client)
{
	switch (f->at) {
	case TXNR:
		if (c == ' ')
			f->at = COMMAND;
		else
			f->txnr = f->txnr * 10 + (uint64_t)(c - '0');
		return;
	case COMMAND:
		if (c == ' ')
			f->at = LENGTH;
		else if (f->command_n < sizeof(f->command) - 1)
			f->command[f->command_n++] = c;
		return;
	case LENGTH:
		if (c >= '0' && c <= '9')
			f->length = f->length * 10 + (uint64_t)(c - '0');
		else
			f->at = c == '\n' ? END : DATA;
		break;
	case DATA:
		if (f->seen < f->length) {
			if (f->seen < HEAD_MAX)
				f->head[f->seen] = c;
			f->seen++;
			return;
		}
		f->at = END; /* the byte is the line feed */
		break;
	case END: break;
	}
	if (f->at == END) {
		saw_frame(r, p, f, from_client);
		*f = (struct parser){0};
	}
}

/* ---- bytes ---- */

static ssize_t result_of(ssize_t n)
{
	return n >= 0 ? n : errno == EINTR ? -EAGAIN : -errno;
}

/* n > 0, -EAGAIN, or less: the end. */
static ssize_t half_read(struct half *h, char *p, size_t n)
{
	ssize_t r = h->tls ? tls_read(h->tls, p, n) : result_of(read(h->fd, p, n));

	return r == 0 ? -EPIPE : r;
}

static ssize_t half_write(struct half *h, const char *p, size_t n)
{
	return h->tls ? tls_write(h->tls, p, n) : result_of(write(h->fd, p, n));
}

/* True when bytes can pass. */
static bool shake_hands(struct half *h)
{
	if (!h->tls || h->shaken)
		return true;
	int r = tls_handshake(h->tls);
	h->shaken = r == 0;
	if (r < 0 && r != -EAGAIN)
		h->ended = true;
	return h->shaken;
}

/* True when some came: then there may be more, which with TLS nothing tells of. */
static bool take(struct relay *r, struct pair *p, struct half *h, bool from_client)
{
	if (h->ended || h->to == BUFFER_BYTES || !shake_hands(h))
		return false;
	ssize_t n = half_read(h, h->bytes + h->to, BUFFER_BYTES - h->to);
	if (n < 0) {
		h->ended = n != -EAGAIN;
		return false;
	}
	for (ssize_t i = 0; i < n; i++)
		parse_byte(r, p, &h->parser, h->bytes[h->to + (size_t)i], from_client);
	h->to += (size_t)n;
	return true;
}

/* Writes to `to` what was read from `h`. What cannot be written any more is dropped. */
static void give(struct half *h, struct half *to)
{
	while (h->from < h->to && shake_hands(to)) {
		ssize_t n = half_write(to, h->bytes + h->from, h->to - h->from);
		if (n == -EAGAIN)
			break;
		if (n < 0) {
			to->ended = true;
			h->from = h->to;
			break;
		}
		h->from += (size_t)n;
	}
	if (h->from == h->to)
		h->from = h->to = 0;
}

/* ---- pairs ---- */

static void pair_free(struct pair *p)
{
	tls_free(p->client.tls);
	tls_free(p->server.tls);
	close(p->client.fd);
	close(p->server.fd);
	free(p->client.bytes);
	free(p->server.bytes);
	free(p->numbers);
	free(p);
}

static int connect_upstream(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	                         .sin_port = htons(port),
	                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void accept_one(struct relay *r)
{
	const int yes = 1;
	size_t at = 0;
	int client = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (client < 0)
		return;
	while (at < PAIRS_MAX && r->pairs[at])
		at++;
	int server = at < PAIRS_MAX ? connect_upstream(r->upstream) : -1;
	struct pair *p = server < 0 ? NULL : calloc(1, sizeof(*p));
	if (!p) {
		close(client); /* isod is not there: as if nobody listened */
		return;
	}
	fcntl(server, F_SETFL, O_NONBLOCK);
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	p->client = (struct half){.fd = client, .bytes = malloc(BUFFER_BYTES)};
	p->server = (struct half){.fd = server, .bytes = malloc(BUFFER_BYTES)};
	if (r->as_server) {
		p->client.tls = tls_new(r->as_server, client, NULL);
		p->server.tls = tls_new(r->as_client, server, "localhost");
	}
	p->numbers = calloc(WINDOW_MAX, sizeof(*p->numbers));
	if (!p->client.bytes || !p->server.bytes || !p->numbers)
		die("memory");
	r->pairs[at] = p;
	r->head->connections++;
}

static void watch(const struct half *h, const struct half *other, struct pollfd *ret)
{
	*ret = (struct pollfd){.fd = h->ended ? -1 : h->fd};
	if (h->tls && !h->shaken) {
		ret->events = tls_wants(h->tls) & EV_WRITE ? POLLOUT : POLLIN;
		return;
	}
	if (h->to < BUFFER_BYTES)
		ret->events |= POLLIN;
	if (other->from < other->to)
		ret->events |= POLLOUT;
}

/* False when it is over: one end is gone, and the other has what came of it. */
static bool pair_turn(struct relay *r, struct pair *p)
{
	bool more;

	do {
		more = take(r, p, &p->client, true);
		more |= take(r, p, &p->server, false);
		give(&p->client, &p->server);
		give(&p->server, &p->client);
	} while (more);
	return !((p->client.ended && p->client.from == p->client.to) ||
	         (p->server.ended && p->server.from == p->server.to));
}

static void run(struct relay *r)
{
	struct pollfd polled[1 + 2 * PAIRS_MAX];

	for (;;) {
		polled[0] = (struct pollfd){.fd = r->listener, .events = POLLIN};
		for (size_t i = 0; i < PAIRS_MAX; i++) {
			struct pair *p = r->pairs[i];
			polled[1 + 2 * i].fd = polled[2 + 2 * i].fd = -1;
			if (!p)
				continue;
			watch(&p->client, &p->server, &polled[1 + 2 * i]);
			watch(&p->server, &p->client, &polled[2 + 2 * i]);
		}
		if (poll(polled, 1 + 2 * PAIRS_MAX, -1) < 0 && errno != EINTR)
			die("poll");
		for (size_t i = 0; i < PAIRS_MAX; i++) {
			if (!r->pairs[i] || pair_turn(r, r->pairs[i]))
				continue;
			pair_free(r->pairs[i]);
			r->pairs[i] = NULL;
		}
		if (polled[0].revents)
			accept_one(r);
	}
}

static struct tls_context *context(bool server, const char *folder)
{
	const char *name = server ? "server" : "client";
	char *certificate = xasprintf("%s/%s.pem", folder, name);
	char *key = xasprintf("%s/%s.key", folder, name);
	char *ca = xasprintf("%s/ca.pem", folder), error[512];
	const struct tls_settings settings = {
		.certificate = certificate, .key = key, .ca = ca, .peers = TLS_PEER_REQUIRED};
	struct tls_context *c;

	if (tls_context_new(server, &settings, &c, error, sizeof(error)) < 0) {
		fprintf(stderr, "%s\n", error);
		exit(1);
	}
	free(certificate);
	free(key);
	free(ca);
	return c;
}

int main(int argc, char **argv)
{
	struct relay r = {0};
	struct sockaddr_in here = {.sin_family = AF_INET,
	                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int yes = 1;

	if (argc != 5 && argc != 6)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	r.head = book_map(argv[4], strtoull(argv[3], NULL, 10));
	if (!r.head)
		die(argv[4]);
	r.events = book_events(r.head);
	r.upstream = (uint16_t)atoi(argv[2]);
	if (argc == 6) {
		r.as_server = context(true, argv[5]);
		r.as_client = context(false, argv[5]);
	}
	here.sin_port = htons((uint16_t)atoi(argv[1]));
	r.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(r.listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(r.listener, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    listen(r.listener, 16) < 0)
		die("listen");
	run(&r);
}
