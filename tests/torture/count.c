/* What of numbered events is in evidence, for `make torture`: one JSON object on stdout.
 *
 *   count STATE_DIR LISTENER EVENTS [BOOK]
 *
 * Events are numbered from 0 (book.h). Of LISTENER "producer" the number in the record must be one more than that in the
 * message. With BOOK, what the relay saw: every acknowledged event must be here, none more often than it was sent. All
 * logs of evidence are proven (segment_verify) before they are counted. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "book.h"
#include "log/evidence.h"

#define GAPS_TOLD 100000

struct count {
	uint64_t events;
	const char *listener;
	bool numbered;
	uint8_t *times; /* of each event in evidence; stays at 255 */
	uint64_t frames, bytes, strange, misnumbered, notes;
};

static void fail(const char *what, const char *error)
{
	fprintf(stderr, "%s: %s\n", what, error);
	exit(1);
}

static void count_frame(struct count *c, const struct evidence *e)
{
	uint64_t number;

	c->frames++;
	c->bytes += e->frame.n;
	if (!book_number(e->frame.p, e->frame.n, &number) || number >= c->events) {
		c->strange++;
		return;
	}
	if (c->numbered && e->sequence != number + 1)
		c->misnumbered++;
	if (c->times[number] < UINT8_MAX)
		c->times[number]++;
}

static void count_log(struct count *c, const char *dir)
{
	struct segment_report report;
	struct segment_reader *reader;
	struct record record;
	struct evidence e;
	char error[512];
	size_t n = strlen(c->listener);
	int r = segment_verify(dir, SEGMENT_EVIDENCE, &report);

	if (r < 0)
		fail(dir, report.error);
	r = segment_reader_open(dir, SEGMENT_EVIDENCE, 0, &reader, error, sizeof(error));
	if (r < 0)
		fail(dir, error);
	while ((r = segment_read(reader, &record, error, sizeof(error))) == 1) {
		if (evidence_parse(record.body, &e) < 0)
			fail(dir, "a record that is no evidence");
		if (e.source.n <= n || memcmp(e.source.p, c->listener, n) != 0 ||
		    e.source.p[n] != '/')
			continue;
		if (e.flags & EVIDENCE_LOSS)
			c->notes++;
		else
			count_frame(c, &e);
	}
	if (r < 0)
		fail(dir, error);
	segment_reader_close(reader);
}

static void count_all(struct count *c, const char *state)
{
	char *path = xasprintf("%s/evidence", state);
	DIR *d = opendir(path);
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		char *dir = xasprintf("%s/%s", path, e->d_name);
		count_log(c, dir);
		free(dir);
	}
	if (d)
		closedir(d);
	free(path);
}

/* First and last of each stretch of events that are not there. */
static void print_gaps(const struct count *c)
{
	uint64_t told = 0;

	printf(", \"gaps\": [");
	for (uint64_t i = 0; i < c->events; i++) {
		if (c->times[i])
			continue;
		uint64_t last = i;
		while (last + 1 < c->events && !c->times[last + 1])
			last++;
		if (told++ < GAPS_TOLD)
			printf("%s[%" PRIu64 ", %" PRIu64 "]", told > 1 ? ", " : "", i, last);
		i = last;
	}
	printf("]");
}

static void print_book(const struct count *c, const char *path)
{
	struct book_head *h = book_map(path, c->events);
	uint64_t lost = 0, unsent = 0;

	if (!h)
		fail(path, strerror(errno));
	const struct book_event *events = book_events(h);
	for (uint64_t i = 0; i < c->events; i++) {
		lost += events[i].acknowledged && !c->times[i];
		unsent += c->times[i] > events[i].sent;
	}
	printf(", \"sent\": %" PRIu64 ", \"acknowledged\": %" PRIu64
	       ", \"acknowledged_lost\": %" PRIu64 ", \"more_than_sent\": %" PRIu64
	       ", \"resent_acknowledged\": %" PRIu64 ", \"refused\": %" PRIu64
	       ", \"unnumbered\": %" PRIu64 ", \"connections\": %" PRIu64,
	       h->sent, h->acknowledged, lost, unsent, h->resent_acknowledged, h->refused,
	       h->strange, h->connections);
}

int main(int argc, char **argv)
{
	struct count c = {0};
	uint64_t distinct = 0, worst = 0;

	if (argc < 4)
		return 2;
	c.listener = argv[2];
	c.numbered = strcmp(c.listener, "producer") == 0;
	c.events = strtoull(argv[3], NULL, 10);
	c.times = xcalloc(c.events + 1, 1);
	count_all(&c, argv[1]);
	for (uint64_t i = 0; i < c.events; i++) {
		distinct += c.times[i] > 0;
		worst = c.times[i] > worst ? c.times[i] : worst;
	}
	printf("{\"frames\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"distinct\": %" PRIu64
	       ", \"worst\": %" PRIu64 ", \"strange\": %" PRIu64 ", \"misnumbered\": %" PRIu64
	       ", \"notes\": %" PRIu64,
	       c.frames, c.bytes, distinct, worst, c.strange, c.misnumbered, c.notes);
	print_gaps(&c);
	if (argc > 4)
		print_book(&c, argv[4]);
	printf("}\n");
	free(c.times);
}
