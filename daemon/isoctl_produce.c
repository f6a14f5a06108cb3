/* A producer keeps what is not acknowledged: batches stay in a window, packed, until isod says that they are on its disk.
 * When the connection ends, for whatever reason, there is another one, isod is asked where it was, and what is left of
 * the window is sent again; isod leaves out what it has. */
#include "isoctl_produce.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pbjson.h"
#include "isoctl_client.h"
#include "tools_send.pb-c.h"

#define WINDOW       16 /* batches under way */
#define BATCH_FRAMES 4096
#define BATCH_BYTES                                                                                \
	((size_t)128 << 10) /* api.request_max is at least this unless somebody made it tiny */
#define PATIENCE (60 * NS_PER_SECOND) /* without any progress */
#define PAUSE_MS 200                  /* between two tries to connect */

struct batch {
	uint64_t first;
	struct buf text; /* all lines */
	size_t *ends;    /* of each line in it */
	size_t count, cap;
};

struct producing {
	const struct isoctl *ctl;
	struct isoctl quiet; /* `ctl`, without complaints about a daemon that is away */
	const struct produce_options *o;
	struct client *client;
	char *const *files;
	int file_count, at;
	FILE *in;
	char *line;
	size_t line_cap;
	struct batch window[WINDOW];
	size_t begin, count, sent; /* in the window; `sent` of the `count` on this connection */
	uint64_t next;             /* sequence of the next line; 0: not known yet */
	uint64_t upto;             /* acknowledged */
	uint64_t frames, bytes, empty, known;
	uint64_t progress; /* clock_mono() of the last */
	int status;        /* not 0: the end */
};

static struct batch *batch_at(struct producing *p, size_t i)
{
	return &p->window[(p->begin + i) % WINDOW];
}

/* ---- input ---- */

/* The next line that is not empty, without its newline; false at the end of all files. */
static bool next_line(struct producing *p, struct str *ret)
{
	for (;;) {
		if (!p->in) {
			if (p->at == p->file_count)
				return false;
			const char *name = p->files[p->at++];
			p->in = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
			if (!p->in) {
				fprintf(stderr, "isoctl: %s: %s\n", name, strerror(errno));
				p->status = ISOCTL_FAILED;
				return false;
			}
		}
		ssize_t n = getline(&p->line, &p->line_cap, p->in);
		if (n < 0) {
			if (p->in != stdin)
				fclose(p->in);
			p->in = NULL;
			continue;
		}
		if (n && p->line[n - 1] == '\n')
			n--;
		if (n) {
			*ret = str_make(p->line, (size_t)n);
			return true;
		}
		p->empty++;
	}
}

static void add_line(struct batch *b, struct str line)
{
	xgrow(&b->ends, &b->cap, b->count + 1, sizeof(*b->ends));
	buf_add(&b->text, line);
	b->ends[b->count++] = b->text.n;
}

/* Fills one more batch of the window. False when the input is at its end. What isod has already is left out. */
static bool read_batch(struct producing *p)
{
	struct batch *b = batch_at(p, p->count);
	struct str line;

	buf_reset(&b->text);
	b->count = 0;
	while (b->count < BATCH_FRAMES && b->text.n < BATCH_BYTES && next_line(p, &line)) {
		uint64_t sequence = p->next++;
		p->frames++;
		p->bytes += line.n;
		if (sequence <= p->upto) {
			p->known++;
			continue;
		}
		if (b->count == 0)
			b->first = sequence;
		add_line(b, line);
	}
	p->count += b->count > 0;
	return b->count > 0;
}

/* ---- talking ---- */

static void disconnect(struct producing *p)
{
	if (p->client)
		client_close(p->client);
	p->client = NULL;
	p->sent = 0;
}

/* Everything up to `upto` is done with. */
static void acknowledge(struct producing *p, uint64_t upto)
{
	p->upto = upto;
	while (p->count) {
		const struct batch *b = batch_at(p, 0);
		if (b->first + b->count - 1 > upto)
			break;
		p->begin = (p->begin + 1) % WINDOW;
		p->count--;
		p->sent -= p->sent > 0;
		p->progress = clock_mono();
	}
}

/* What is acknowledged was never sent from here: what is sent next would be taken for a repeat. */
static int somebody_else(const struct producing *p, uint64_t upto)
{
	fprintf(stderr,
	        "isoctl: somebody else sends as producer %s: it is acknowledged up to %" PRIu64
	        ", from here came no more than %" PRIu64 "\n",
	        p->o->producer, upto, p->next - 1);
	return ISOCTL_FAILED;
}

static int hello(struct producing *p)
{
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__IngestHello ask = ISOD__V1__INGEST_HELLO__INIT;
	Isod__V1__Response *answer;

	ask.producer = (char *)(uintptr_t)p->o->producer; /* only packed */
	q.ask_case = ISOD__V1__REQUEST__ASK_INGEST_HELLO;
	q.ingest_hello = &ask;
	int r = client_ask(p->client, &q, ISOD__V1__RESPONSE__ANSWER_INGEST_ACK, &answer);
	if (r)
		return r;
	uint64_t upto = answer->ingest_ack->upto;
	isod__v1__response__free_unpacked(answer, NULL);
	if (p->next && upto >= p->next && upto > p->upto)
		return somebody_else(p, upto);
	if (p->next == 0)
		p->next = p->o->first ? p->o->first : upto + 1;
	acknowledge(p, upto);
	return 0;
}

static void pause_a_little(void)
{
	const struct timespec ts = {.tv_nsec = PAUSE_MS * (long)NS_PER_MS};

	nanosleep(&ts, NULL);
}

/* Connects and asks where isod is, again and again until it answers. False: patience is at its end. */
static bool connect_again(struct producing *p)
{
	for (;;) {
		bool last = clock_mono() - p->progress > PATIENCE;
		int r = client_open(last ? p->ctl : &p->quiet, &p->client);
		if (r == 0) {
			r = hello(p);
			if (r == 0)
				return true;
			disconnect(p);
		}
		if (r != ISOCTL_UNREACHABLE || last) {
			p->status = r;
			return false;
		}
		pause_a_little();
	}
}

static int send_batch(struct producing *p, const struct batch *b)
{
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__IngestBatch batch = ISOD__V1__INGEST_BATCH__INIT;
	ProtobufCBinaryData *frames = xcalloc(b->count, sizeof(*frames));
	size_t at = 0;

	for (size_t i = 0; i < b->count; i++) {
		frames[i].data = (uint8_t *)b->text.p + at;
		frames[i].len = b->ends[i] - at;
		at = b->ends[i];
	}
	batch.producer = (char *)(uintptr_t)p->o->producer;
	batch.source = (char *)(uintptr_t)(p->o->source ? p->o->source : "");
	batch.first = b->first;
	batch.n_frames = b->count;
	batch.frames = frames;
	q.ask_case = ISOD__V1__REQUEST__ASK_INGEST_BATCH;
	q.ingest_batch = &batch;
	int r = client_send(p->client, &q);
	free(frames);
	return r;
}

/* What an error means: try again (0), or the end. */
static int judge(const struct producing *p, const Isod__V1__Error *e)
{
	if (e->code == ISOD__V1__ERROR_CODE__ERROR_UNAVAILABLE &&
	    clock_mono() - p->progress < PATIENCE)
		return 0;
	return client_refused(e);
}

/* Waits for one answer. False: the connection is of no use any more. */
static bool take_answer(struct producing *p)
{
	Isod__V1__Response *answer;
	bool good = false;

	if (client_next(p->client, &answer))
		return false;
	if (answer->answer_case == ISOD__V1__RESPONSE__ANSWER_INGEST_ACK) {
		p->known += answer->ingest_ack->repeated;
		acknowledge(p, answer->ingest_ack->upto);
		good = true;
	} else if (answer->answer_case == ISOD__V1__RESPONSE__ANSWER_ERROR) {
		p->status = judge(p, answer->error);
	}
	isod__v1__response__free_unpacked(answer, NULL);
	return good;
}

static void run(struct producing *p)
{
	bool more = true;

	while (p->status == 0) {
		if (!p->client && !connect_again(p))
			return;
		while (more && p->count < WINDOW)
			more = read_batch(p);
		if (p->count == 0 || p->status)
			return;
		bool good = true;
		while (good && p->sent < p->count) {
			good = send_batch(p, batch_at(p, p->sent)) == 0;
			p->sent += good;
		}
		if (!good || !take_answer(p)) {
			disconnect(p);
			if (p->status == 0)
				pause_a_little();
		}
	}
}

static void print_report(const struct producing *p)
{
	Isod__V1__SendReport report = ISOD__V1__SEND_REPORT__INIT;
	struct buf line;

	if (!p->ctl->json) {
		printf("%" PRIu64 " frames, %" PRIu64 " bytes; %" PRIu64
		       " were known already; producer %s is acknowledged up to %" PRIu64 "\n",
		       p->frames, p->bytes, p->known, p->o->producer, p->upto);
		if (p->empty)
			printf("%" PRIu64 " empty lines left out\n", p->empty);
		return;
	}
	char *target = xasprintf("producer %s", p->o->producer);
	report.target = target;
	report.frames = p->frames;
	report.bytes = p->bytes;
	report.empty = p->empty;
	report.known = p->known;
	report.upto = p->upto;
	buf_init(&line, 0);
	pbjson_append(&line, &report.base);
	puts(buf_cstr(&line));
	buf_release(&line);
	free(target);
}

int produce_files(const struct isoctl *ctl, const struct produce_options *o, int count,
                  char *const *files)
{
	struct producing p = {.ctl = ctl,
	                      .quiet = *ctl,
	                      .o = o,
	                      .files = files,
	                      .file_count = count,
	                      .progress = clock_mono()};

	p.quiet.quiet = true;
	for (size_t i = 0; i < WINDOW; i++)
		buf_init(&p.window[i].text, 0);
	run(&p);
	disconnect(&p);
	if (p.next)
		print_report(&p);
	for (size_t i = 0; i < WINDOW; i++) {
		buf_release(&p.window[i].text);
		free(p.window[i].ends);
	}
	if (p.in && p.in != stdin)
		fclose(p.in);
	free(p.line);
	return p.status;
}
