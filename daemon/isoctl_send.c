/* isoctl send: ships a file to a listener, line by line.
 *
 * "Sent" is not "arrived": what is in our socket buffer when the peer resets the connection is gone without an error.
 * So at the end the connection is closed in order, our half first (close_notify, FIN), and then the peer's is waited
 * for; only its orderly end tells that it read everything. A TLS 1.3 server refuses a client certificate after the
 * client has begun to send: that, too, shows only there. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "isoctl.h"
#include "isoctl_connect.h"
#include "isoctl_options.h"
#include "isoctl_produce.h"
#include "isoctl_output.h"
#include "tools_send.pb-c.h"

#define PROGRESS_MS                                                                                \
	60000 /* a listener that is stalled (full disk, slow officer) may take its time */
#define OUT_BYTES  65536
#define ERROR_TEXT 512
#define HOST_MAX   256
/* Nothing holds a datagram sender back, so it rests after so many: a receiver's usual buffer holds about 250. */
#define DATAGRAM_REST  64
#define DATAGRAM_PAUSE ((long)NS_PER_MS)
#define FILES_MAX      4096 /* more is a mistake of the shell's */
#define PRIORITY       13   /* user.notice */

struct transport {
	const char *name;
	int type;
	bool tls, local;
	bool octet_counting; /* the usual framing */
};

static const struct transport transports[] = {
	{"tls", SOCK_STREAM, true, false, true},
	{"tcp", SOCK_STREAM, false, false, false},
	{"udp", SOCK_DGRAM, false, false, false},
	{"unix", SOCK_DGRAM, false, true, false},
};

struct sender {
	const struct transport *transport;
	const char *address, *ca, *certificate, *key;
	const char *format;
	bool insecure, octet_counting;
	char own_host[HOST_MAX];
	int fd;
	struct tls_context *context;
	struct tls *tls;
	struct buf out, header;
	uint64_t frames, bytes, empty, too_long;
	char error[ERROR_TEXT];
};

/* Keeps the first reason. Returns r. */
static int fail(struct sender *s, int r, const char *what, const char *reason)
{
	if (!s->error[0])
		snprintf(s->error, sizeof(s->error), "%s: %s", what, reason);
	return r;
}

/* What TLS waits for after -EAGAIN. */
static int wait_tls(const struct sender *s)
{
	return connect_wait_tls(s->fd, s->tls, PROGRESS_MS);
}

/* ---- connecting ---- */

static int begin_tls(struct sender *s, const char *host)
{
	int r;

	s->tls = tls_new(s->context, s->fd, host);
	while ((r = tls_handshake(s->tls)) == -EAGAIN) {
		r = wait_tls(s);
		if (r < 0)
			return fail(s, r, "TLS handshake", strerror(-r));
	}
	return r < 0 ? fail(s, r, "TLS handshake", tls_error(s->tls)) : 0;
}

static int begin(struct sender *s)
{
	char host[CONNECT_HOST_MAX] = "";
	const char *port, *why = NULL;
	int r;

	if (s->transport->local)
		r = connect_unix(s->address, s->transport->type, &s->fd);
	else if (connect_split(s->address, host, &port))
		r = connect_inet(host, port, s->transport->type, &s->fd, &why);
	else
		return fail(s, -EINVAL, s->address, "that is no HOST:PORT");
	if (r < 0)
		return fail(s, r, s->address, why ? why : strerror(-r));
	return s->context ? begin_tls(s, host) : 0;
}

/* ---- sending ---- */

static int write_failed(struct sender *s, int r)
{
	const char *words = s->tls ? tls_error(s->tls) : "";

	return fail(s, r, "while sending", words[0] ? words : strerror(-r));
}

static int flush(struct sender *s)
{
	for (size_t at = 0; at < s->out.n;) {
		const char *p = s->out.p + at;
		size_t left = s->out.n - at;
		ssize_t n =
			s->tls ? tls_write(s->tls, p, left) : send(s->fd, p, left, MSG_NOSIGNAL);
		int r = s->tls || n >= 0 ? (int)n : -errno;
		if (n > 0) {
			at += (size_t)n;
			continue;
		}
		if (r == -EAGAIN)
			r = s->tls ? wait_tls(s) : connect_wait(s->fd, POLLOUT, PROGRESS_MS);
		if (r < 0)
			return write_failed(s, r);
	}
	buf_reset(&s->out);
	return 0;
}

static int send_datagram(struct sender *s)
{
	const struct timespec pause = {.tv_nsec = DATAGRAM_PAUSE};

	while (send(s->fd, s->out.p, s->out.n, MSG_NOSIGNAL) < 0) {
		int r = -errno;
		if (r == -EMSGSIZE) {
			s->too_long++;
			return 0;
		}
		if (r == -EAGAIN)
			r = connect_wait(s->fd, POLLOUT, PROGRESS_MS);
		if (r < 0)
			return fail(s, r, "while sending", strerror(-r));
	}
	s->frames++;
	if (!s->transport->local && s->frames % DATAGRAM_REST == 0)
		nanosleep(&pause, NULL);
	return 0;
}

/* What stands before the line, by --format. */
static void make_header(struct sender *s)
{
	char when[CLOCK_TEXT_MAX];
	time_t now = time(NULL);
	struct tm tm;

	buf_reset(&s->header);
	if (strcmp(s->format, "rfc5424") == 0) {
		buf_printf(&s->header, "<%d>1 %s %s isoctl - - - ", PRIORITY,
		           clock_format(clock_now(), when), s->own_host);
	} else if (strcmp(s->format, "rfc3164") == 0) {
		localtime_r(&now, &tm);
		strftime(when, sizeof(when), "%b %e %H:%M:%S", &tm);
		buf_printf(&s->header, "<%d>%s %s isoctl: ", PRIORITY, when, s->own_host);
	}
}

static int send_line(struct sender *s, struct str line)
{
	bool stream = s->transport->type == SOCK_STREAM;

	if (line.n == 0) {
		s->empty++;
		return 0;
	}
	make_header(s);
	size_t size = s->header.n + line.n;
	if (!stream)
		buf_reset(&s->out);
	if (stream && s->octet_counting)
		buf_printf(&s->out, "%zu ", size);
	buf_add(&s->out, buf_str(&s->header));
	buf_add(&s->out, line);
	if (stream && !s->octet_counting)
		buf_putc(&s->out, '\n');
	if (!stream) {
		uint64_t before = s->frames;
		int r = send_datagram(s);
		s->bytes += s->frames > before ? size : 0;
		return r;
	}
	s->frames++;
	s->bytes += size;
	return s->out.n >= OUT_BYTES ? flush(s) : 0;
}

static int send_lines(struct sender *s, FILE *in, const char *name)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = getline(&line, &cap, in)) >= 0) {
		if (n && line[n - 1] == '\n')
			n--;
		r = send_line(s, str_make(line, (size_t)n));
	}
	if (r == 0 && ferror(in))
		r = fail(s, -EIO, name, "cannot be read to its end");
	free(line);
	if (r == 0 && s->transport->type == SOCK_STREAM)
		r = flush(s);
	return r;
}

/* ---- the end ---- */

static int end_tls(struct sender *s)
{
	char rest[256];
	ssize_t r;

	while ((r = tls_shutdown(s->tls)) == -EAGAIN && (r = wait_tls(s)) == 0)
		continue;
	/* Whatever a listener says is of no interest, only how it ends. */
	while (r >= 0 || r == -EAGAIN) {
		r = tls_read(s->tls, rest, sizeof(rest));
		if (r == -EAGAIN && (r = wait_tls(s)) < 0)
			return fail(s, (int)r, "at the end", strerror((int)-r));
	}
	return r == -EPIPE ? 0 : fail(s, (int)r, "at the end", tls_error(s->tls));
}

static int end_tcp(struct sender *s)
{
	char rest[256];

	/* "Not connected" it is only because the peer has reset the connection already. */
	if (shutdown(s->fd, SHUT_WR) < 0)
		return fail(s, -ECONNRESET, "at the end", strerror(ECONNRESET));
	for (;;) {
		ssize_t n = read(s->fd, rest, sizeof(rest));
		int r = n < 0 ? -errno : 0;
		if (n == 0)
			return 0;
		if (r == -EAGAIN)
			r = connect_wait(s->fd, POLLIN, PROGRESS_MS);
		if (r < 0)
			return fail(s, r, "at the end", strerror(-r));
	}
}

static int end(struct sender *s)
{
	if (s->tls)
		return end_tls(s);
	return s->transport->type == SOCK_STREAM ? end_tcp(s) : 0;
}

static void print_report(const struct isoctl *ctl, struct sender *s)
{
	Isod__V1__SendReport report = ISOD__V1__SEND_REPORT__INIT;

	if (!ctl->json) {
		printf("%" PRIu64 " frames, %" PRIu64 " bytes sent to %s %s\n", s->frames, s->bytes,
		       s->transport->name, s->address);
		if (s->empty)
			printf("%" PRIu64 " empty lines left out\n", s->empty);
		if (s->too_long)
			printf("%" PRIu64 " lines too long for a datagram left out\n", s->too_long);
		return;
	}
	char *target = xasprintf("%s %s", s->transport->name, s->address);
	report.target = target;
	report.frames = s->frames;
	report.bytes = s->bytes;
	report.empty = s->empty;
	report.too_long = s->too_long;
	report.error = s->error;
	output_json(&report.base);
	free(target);
}

/* ---- the command ---- */

static int send_file(const struct isoctl *ctl, struct sender *s, const char *file)
{
	const struct tls_settings settings = {
		.certificate = s->certificate, .key = s->key, .ca = s->ca, .insecure = s->insecure};
	FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
	int status = 1;

	if (!in) {
		fprintf(stderr, "isoctl: %s: %s\n", file, strerror(errno));
		return 1;
	}
	if (s->transport->tls &&
	    tls_context_new(false, &settings, &s->context, s->error, sizeof(s->error)) < 0)
		status = 2;
	else if (begin(s) < 0)
		status = 3;
	else if (send_lines(s, in, file) == 0 && end(s) == 0 && !s->too_long)
		status = 0;
	if (s->fd >= 0)
		print_report(ctl, s);
	if (s->error[0])
		fprintf(stderr, "isoctl: %s\n", s->error);
	if (in != stdin)
		fclose(in);
	return status;
}

/* Which transport was chosen: exactly one. NULL with a message. */
static const struct transport *choose(const char *const *addresses, const char **ret_address)
{
	const struct transport *chosen = NULL;

	for (size_t i = 0; i < ARRAY_LEN(transports); i++) {
		if (!addresses[i])
			continue;
		if (chosen) {
			fprintf(stderr, "isoctl: --%s and --%s: only one of them\n", chosen->name,
			        transports[i].name);
			return NULL;
		}
		chosen = &transports[i];
		*ret_address = addresses[i];
	}
	if (!chosen)
		fprintf(stderr, "isoctl: where to? one of --tls, --tcp, --udp, --unix is needed\n");
	return chosen;
}

/* True if `word` is one of the `choices` (the first when NULL, into *word). */
static bool check_choice(const char *option, const char **word, const char *const *choices)
{
	if (!*word)
		*word = choices[0];
	for (const char *const *c = choices; *c; c++)
		if (strcmp(*word, *c) == 0)
			return true;
	fprintf(stderr, "isoctl: %s wants %s, %s%s%s, not '%s'\n", option, choices[0], choices[1],
	        choices[2] ? ", " : "", choices[2] ? choices[2] : "", *word);
	return false;
}

static int run(const struct isoctl *ctl, int argc, char **argv)
{
	static const char *const framings[] = {"octet", "newline", NULL};
	static const char *const formats[] = {"raw", "rfc5424", "rfc3164", NULL};
	struct sender s = {.fd = -1, .ca = ctl->ca, .certificate = ctl->cert, .key = ctl->key};
	const char *addresses[ARRAY_LEN(transports)] = {NULL}, *framing = NULL;
	struct produce_options producer = {0};
	const struct isoctl_option options[] = {
		{.name = "--tls", .text = &addresses[0]},
		{.name = "--tcp", .text = &addresses[1]},
		{.name = "--udp", .text = &addresses[2]},
		{.name = "--unix", .text = &addresses[3]},
		{.name = "--ca", .text = &s.ca},
		{.name = "--cert", .text = &s.certificate},
		{.name = "--key", .text = &s.key},
		{.name = "--insecure", .flag = &s.insecure},
		{.name = "--framing", .text = &framing},
		{.name = "--format", .text = &s.format},
		{.name = "--producer", .text = &producer.producer},
		{.name = "--first", .number = &producer.first},
		{.name = "--source", .text = &producer.source},
		{.name = NULL},
	};

	if (isoctl_options(options, &argc, argv, FILES_MAX))
		return isoctl_usage(&isoctl_send_commands[0]);
	if (producer.producer && argc > 0)
		return produce_files(ctl, &producer, argc, argv);
	s.transport = choose(addresses, &s.address);
	if (!s.transport || argc != 1)
		return isoctl_usage(&isoctl_send_commands[0]);
	bool said = framing;
	if (!check_choice("--framing", &framing, framings) ||
	    !check_choice("--format", &s.format, formats))
		return isoctl_usage(&isoctl_send_commands[0]);
	s.octet_counting = said ? strcmp(framing, "octet") == 0 : s.transport->octet_counting;
	if (gethostname(s.own_host, sizeof(s.own_host) - 1) < 0 || !s.own_host[0])
		snprintf(s.own_host, sizeof(s.own_host), "-");
	signal(SIGPIPE, SIG_IGN); /* TLS writes have no flag for it */
	buf_init(&s.out, 0);
	buf_init(&s.header, 0);
	int status = send_file(ctl, &s, argv[0]);
	tls_free(s.tls);
	tls_context_unref(s.context);
	if (s.fd >= 0)
		close(s.fd);
	buf_release(&s.out);
	buf_release(&s.header);
	return status;
}

const struct isoctl_command isoctl_send_commands[] = {
	{"send", NULL,
         "--tls|--tcp|--udp HOST:PORT | --unix PATH [--ca FILE] [--cert FILE --key FILE] "
         "[--insecure] "
         "[--framing octet|newline] [--format raw|rfc5424|rfc3164] FILE|-, or "
         "--producer ID [--first N] [--source TEXT] FILE…",
         "ship a file line by line to a syslog listener or, numbered and acknowledged, to isod",
         run},
	{0},
};
