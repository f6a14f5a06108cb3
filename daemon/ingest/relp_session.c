/* An answer that depends on the disk holds up those behind it, so that all go out in the order of the commands. So there
 * are two buffers of finished text: `held`, whose last frame's evidence may not be on the disk yet, and `out`, on its way
 * to the peer. When the worker's sync is over, the first is added to the second.
 *
 * A peer decides how much it sends without reading our answers. Past OUTPUT_MAX it is read no more, and feels that in its
 * own socket, until it has read them or is silent for too long. */
#include "ingest/relp_session.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ingest/relp.h"

#define OUTPUT_KEPT ((size_t)4 << 10) /* of a buffer that is empty: idle connections are many */
#define OUTPUT_MAX                                                                                 \
	((size_t)256 << 10) /* of one peer: some ten thousand answers, more than any window */

#define OK       "200 OK"
#define OFFERS   OK "\nrelp_version=0\nrelp_software=isod\ncommands=syslog"
#define UNKNOWN  "500 unknown command"
#define TWICE    "500 the session is open already"
#define NOT_OPEN "500 the session is not open"

struct relp_session {
	struct relp codec;
	struct connection *connection;
	struct waiter waiter;
	struct buf held, out;
	size_t covered; /* bytes of `held` that the sync under way is for */
	bool opened, closed;
	const char *late; /* the answer to the command whose frame is being skipped */
};

static void on_syncing(struct waiter *w);
static void on_durable(struct waiter *w);

struct relp_session *relp_session_new(struct connection *c)
{
	struct relp_session *s = xcalloc(1, sizeof(*s));

	relp_init(&s->codec, c->worker->shared->config->frame_max);
	s->connection = c;
	s->waiter.syncing = on_syncing;
	s->waiter.durable = on_durable;
	buf_init(&s->held, 0); /* both bounded by OUTPUT_MAX and one read's frames */
	buf_init(&s->out, 0);
	return s;
}

void relp_session_free(struct relp_session *s)
{
	if (!s)
		return;
	worker_forget(s->connection->worker, &s->waiter);
	buf_release(&s->held);
	buf_release(&s->out);
	free(s);
}

const char *relp_session_why(const struct relp_session *s)
{
	return s->codec.why;
}

/* ---- answers ---- */

bool relp_session_is_full(const struct relp_session *s)
{
	return s->held.n + s->out.n >= OUTPUT_MAX;
}

bool relp_session_has_output(const struct relp_session *s)
{
	return s->out.n > 0;
}

bool relp_session_has_answers(const struct relp_session *s)
{
	return s->out.n + s->held.n > 0;
}

static char *put_number(char *end, uint32_t n)
{
	do
		*--end = (char)('0' + n % 10);
	while (n /= 10);
	return end;
}

/* "TXNR rsp LENGTH TEXT": there are as many of them as events, so it is done by hand. */
static void put_answer(struct buf *b, uint32_t txnr, struct str text)
{
	char number[12], *end = number + sizeof(number), *p;

	buf_reserve(b, sizeof(number) * 2 + text.n + 8);
	p = put_number(end, txnr);
	buf_append(b, p, (size_t)(end - p));
	buf_append(b, " rsp ", 5);
	p = put_number(end, (uint32_t)text.n);
	buf_append(b, p, (size_t)(end - p));
	buf_putc(b, ' ');
	buf_add(b, text);
	buf_putc(b, '\n');
}

static void answer(struct relp_session *s, uint32_t txnr, const char *text)
{
	if (txnr == 0)
		return; /* a hint */
	put_answer(waiter_waits(&s->waiter) ? &s->held : &s->out, txnr, str_of(text));
}

int relp_session_write(struct relp_session *s)
{
	bool was_full = relp_session_is_full(s);
	size_t done = 0;
	ssize_t n = 0;

	while (done < s->out.n &&
	       (n = stream_write(s->connection, str_skip(buf_str(&s->out), done))) > 0)
		done += (size_t)n;
	buf_consume(&s->out, done);
	if (s->out.n == 0 && s->out.cap > OUTPUT_KEPT)
		buf_release(&s->out);
	if (was_full && !relp_session_is_full(s))
		stream_resume(s->connection);
	return n < 0 && n != -EAGAIN ? (int)n : 0;
}

static struct relp_session *session_of(struct waiter *w)
{
	return (struct relp_session *)((char *)w - offsetof(struct relp_session, waiter));
}

static void on_syncing(struct waiter *w)
{
	struct relp_session *s = session_of(w);

	s->covered = s->held.n;
}

/* Adds the first `n` bytes of `held` to `out`. */
static void release_held(struct relp_session *s, size_t n)
{
	if (n < s->held.n) {
		buf_append(&s->out, s->held.p, n);
		buf_consume(&s->held, n);
		return;
	}
	if (s->out.n == 0) {
		struct buf empty = s->out;
		s->out = s->held;
		s->held = empty;
	} else {
		buf_add(&s->out, buf_str(&s->held));
	}
	buf_reset(&s->held);
}

/* The evidence of the frames taken before the sync began is on the disk. */
static void on_durable(struct waiter *w)
{
	struct relp_session *s = session_of(w);
	struct connection *c = s->connection;

	release_held(s, waiter_waits(w) ? s->covered : s->held.n);
	if (relp_session_write(s) < 0 || (c->closing && !relp_session_has_answers(s)))
		stream_close(c);
	else
		stream_rearm(c);
}

void relp_session_say_goodbye(struct relp_session *s)
{
	buf_add(waiter_waits(&s->waiter) ? &s->held : &s->out, STR("0 serverclose 0\n"));
}

/* ---- commands ---- */

static const char *do_open(struct relp_session *s, const struct relp_frame *f, uint64_t now_ns)
{
	(void)f;
	(void)now_ns;
	if (s->opened)
		return TWICE;
	s->opened = true;
	return OFFERS;
}

/* Some senders count the line end that they add. */
static struct str without_line_end(struct str s)
{
	if (s.n && s.p[s.n - 1] == '\n')
		s.n--;
	if (s.n && s.p[s.n - 1] == '\r')
		s.n--;
	return s;
}

static const char *do_syslog(struct relp_session *s, const struct relp_frame *f, uint64_t now_ns)
{
	struct connection *c = s->connection;
	struct str frame = f->truncated ? f->data : without_line_end(f->data);

	if (!s->opened) {
		worker_lost(c->worker, c->port->counts, str_of(c->source), LOSS_FRAMING, 1);
		return NOT_OPEN;
	}
	if (frame.n == 0)
		return OK;
	stream_frame(c, now_ns, frame, f->truncated);
	worker_await(c->worker, &s->waiter);
	return OK;
}

static const char *do_close(struct relp_session *s, const struct relp_frame *f, uint64_t now_ns)
{
	(void)f;
	(void)now_ns;
	s->closed = true;
	return OK;
}

static const struct {
	struct str name;
	const char *(*run)(struct relp_session *s, const struct relp_frame *f, uint64_t now_ns);
} commands[] = {
	{{"syslog", 6}, do_syslog},
	{{"open", 4}, do_open},
	{{"close", 5}, do_close},
};

static void take(struct relp_session *s, const struct relp_frame *f, uint64_t now_ns)
{
	const char *text = UNKNOWN;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (str_eq(f->command, commands[i].name)) {
			text = commands[i].run(s, f, now_ns);
			break;
		}
	if (f->truncated)
		s->late = text;
	else
		answer(s, f->txnr, text);
}

enum relp_state relp_session_feed(struct relp_session *s, struct str *in, uint64_t now_ns)
{
	struct relp_frame f;
	enum relp_result r = RELP_FRAME;
	size_t used;

	while (!s->closed && (r = relp_next(&s->codec, *in, &used, &f)) < RELP_MORE) {
		if (r == RELP_FRAME)
			take(s, &f, now_ns);
		else
			answer(s, f.txnr, s->late);
		*in = str_skip(*in, used);
	}
	if (s->closed)
		return RELP_CLOSED;
	*in = str_skip(*in, used);
	return r == RELP_LOST ? RELP_BROKEN : RELP_OPEN;
}
