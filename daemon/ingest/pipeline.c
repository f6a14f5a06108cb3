/* The order of things is what makes a crash and a power cut harmless (DESIGN.md, "Exactly once"): evidence is on the
 * disk before a match that refers to it is published, and a tally stands behind every match of the frames it counts.
 * Both are kept by gathering records in `out`, in order, each with the evidence it needs. Were a match published sooner,
 * the ledger could hold it after a power cut took its frame; the sender, who was not told that the frame is safe, sends
 * it again, and it would count twice.
 *
 * Detection follows evidence at its own pace, record by record in order, so "detected" is one number: the sequence that the
 * next tally tells. What a crash leaves undetected is what re-detection begins with.
 *
 * A tally must be one record (half a tally in the ledger would count some sources twice after a crash), and a record
 * must fit the ring. So when the sources counted since the last tally would fill what a record may take, a tally is
 * put in at that point, earlier than the clock would. */
#include "ingest/pipeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "event/decode.h"
#include "event/logsource.h"
#include "event/origin.h"
#include "ingest/backlog.h"
#include "ingest/match_record.h"
#include "ingest/marks.h"
#include "ingest/source.h"
#include "sigma/content.h"
#include "sigma/match.h"

#define TALLY_OVERHEAD 64 /* the record around the sources */
/* Between two messages about events that are too large: a source that sends such sends many. */
#define INCOMPLETE_EVERY NS_PER_MINUTE
/* Re-detection writes in steps of this many frames, and notes progress after so many steps. */
#define REDETECT_BATCH 256
#define REDETECT_TALLY 64

/* Records that wait for the disk: past this detection waits too. Some ten thousand matches. */
#define HELD_MAX ((size_t)8 << 20)

/* Detection looks at the clock after so many events, which take microseconds each; where they take longer, after each. */
#define DETECT_STEP 16
#define STEP_LONG   (NS_PER_MS / 4)

struct held {
	size_t size;
	uint64_t after; /* the evidence that must be on the disk first; 0: it is */
};

/* What works on events with one content. */
struct detector {
	struct content *content;
	struct compiled *compiled; /* that the matcher works with; NULL: none yet */
	struct decoder *decoder;
	struct logsource_memo *memo; /* NULL: no table of log sources */
	struct matcher *matcher;
};

struct pipeline {
	struct pipeline_options o;
	struct event event;
	struct detector now, next; /* next.content is NULL unless prepared */
	struct match_record record;
	struct sources sources;
	struct marks marks;
	struct arena tally_arena;
	struct buf out;   /* records for the ring: a struct held and as many bytes each */
	size_t out_at;    /* up to where they are in the ring */
	uint64_t durable; /* evidence up to here is on the disk */
	uint64_t asked;   /* the newest that a match in `out` needs there */
	size_t tally_max;
	bool full; /* the ring was, when last tried */
	uint64_t untallied;
	struct evidence_peers *peers; /* of the records that are being read; NULL: none yet */
	struct backlog backlog;
	unsigned step; /* events to the next look at the clock */
	int unread;    /* with what it could not be read when last tried */
	bool live;     /* frames are being taken in: `backlog` follows evidence */
	/* Whose evidence is being counted: this worker's own or, while re-detecting, maybe another's. */
	size_t worker;
	uint64_t upto;  /* the last sequence that was detected */
	uint64_t again; /* … while re-detecting */
	bool redetecting;
	/* Written by the worker's thread, read by any. */
	_Atomic uint64_t incomplete, limited, left_out;
	uint64_t incomplete_told, incomplete_mono; /* up to which it was logged, and when */
};

/* ---- life ---- */

static struct compiled *compiled_of(struct content *c)
{
	return atomic_load_explicit(&c->compiled, memory_order_acquire);
}

static void make_matcher(struct detector *d, size_t worker)
{
	matcher_free(d->matcher);
	d->compiled = compiled_of(d->content);
	d->matcher = matcher_new_with(d->content->parts.rules, d->compiled);
	matcher_count(d->matcher, &d->content->counts[worker]);
}

static void detector_init(struct detector *d, struct content *content, size_t worker)
{
	d->content = content_ref(content);
	d->decoder = decoder_new(content->parts.patterns);
	if (content->parts.logsources)
		d->memo = logsource_memo_new(content->parts.logsources);
	make_matcher(d, worker);
}

static void detector_release(struct detector *d)
{
	decoder_free(d->decoder);
	logsource_memo_free(d->memo);
	matcher_free(d->matcher);
	content_unref(d->content);
	*d = (struct detector){0};
}

struct pipeline *pipeline_new(const struct pipeline_options *o)
{
	struct pipeline *p = xcalloc(1, sizeof(*p));
	size_t half = o->inbox->rings[o->worker].size / 2;

	p->o = *o;
	p->worker = o->worker;
	p->upto = segment_next(o->evidence) - 1;
	p->step = 1;
	p->tally_max = half < RECORD_BODY_MAX ? half : RECORD_BODY_MAX;
	event_setup(&p->event);
	detector_init(&p->now, o->content, o->worker);
	match_record_init(&p->record);
	sources_init(&p->sources, PIPELINE_SOURCES_MAX);
	marks_init(&p->marks);
	arena_init(&p->tally_arena, 0);
	buf_init(&p->out, 0);
	return p;
}

void pipeline_free(struct pipeline *p)
{
	if (!p)
		return;
	backlog_release(&p->backlog);
	evidence_peers_free(p->peers);
	event_release(&p->event);
	detector_release(&p->now);
	detector_release(&p->next);
	match_record_release(&p->record);
	sources_release(&p->sources);
	marks_release(&p->marks);
	arena_release(&p->tally_arena);
	buf_release(&p->out);
	free(p);
}

void pipeline_prepare(struct pipeline *p, struct content *content)
{
	detector_release(&p->next);
	detector_init(&p->next, content, p->o.worker);
}

void pipeline_switch(struct pipeline *p)
{
	event_reset(&p->event); /* names of its fields may be the old table's */
	detector_release(&p->now);
	p->now = p->next;
	p->next = (struct detector){0};
}

void pipeline_refresh(struct pipeline *p)
{
	if (compiled_of(p->now.content) != p->now.compiled)
		make_matcher(&p->now, p->o.worker);
}

/* ---- records on their way to the ring ---- */

static void put_record(struct pipeline *p, const Isod__V1__Record *record)
{
	size_t size = isod__v1__record__get_packed_size(record);

	struct held held = {size, p->redetecting ? 0 : p->upto};

	if (size > p->tally_max - sizeof(size)) {
		/* Only a rule set with absurd texts gets here: the limits of match_record.h are below. */
		log_error("a record of %zu bytes does not fit the inbox and is lost", size);
		return;
	}
	buf_append(&p->out, &held, sizeof(held));
	buf_reserve(&p->out, size);
	isod__v1__record__pack(record, (uint8_t *)p->out.p + p->out.n);
	p->out.n += size;
}

static uint64_t counted_upto(const struct pipeline *p)
{
	return p->redetecting ? p->again : p->live ? p->upto : pipeline_evidence(p);
}

/* A tally of what was counted; `known` sources stay in the table. */
static void put_tally(struct pipeline *p)
{
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	Isod__V1__Tally tally = ISOD__V1__TALLY__INIT;

	if (p->sources.active == 0)
		return;
	arena_reset(&p->tally_arena);
	tally.worker = (uint32_t)p->worker;
	tally.upto = counted_upto(p);
	sources_tally(&p->sources, &p->tally_arena, &tally);
	marks_tally(&p->marks, &p->tally_arena, &tally);
	record.body_case = ISOD__V1__RECORD__BODY_TALLY;
	record.tally = &tally;
	put_record(p, &record);
	sources_reset(&p->sources);
	marks_reset(&p->marks);
	p->untallied = 0;
}

/* After a frame was counted: the next may be of one more source. */
static void tally_if_full(struct pipeline *p)
{
	size_t next = SOURCE_NAME_MAX * 3 + SOURCE_COUNT_BYTES + MARK_BYTES;

	if (p->sources.active_bytes + p->marks.bytes + next + TALLY_OVERHEAD + sizeof(size_t) >
	    p->tally_max)
		put_tally(p);
}

void pipeline_tally(struct pipeline *p)
{
	put_tally(p);
	sources_forget(&p->sources);
}

bool pipeline_has_tally(const struct pipeline *p)
{
	return p->sources.active > 0;
}

uint64_t pipeline_evidence(const struct pipeline *p)
{
	return segment_next(p->o.evidence) - 1;
}

uint64_t pipeline_detected(const struct pipeline *p)
{
	return counted_upto(p);
}

uint64_t pipeline_untallied(const struct pipeline *p)
{
	return p->untallied + (p->live ? pipeline_evidence(p) - p->upto : 0);
}

struct pipeline_lag pipeline_lag(const struct pipeline *p)
{
	const struct backlog *b = &p->backlog;

	if (!p->live)
		return (struct pipeline_lag){0};
	return (struct pipeline_lag){.records = pipeline_evidence(p) - p->upto,
	                             .bytes = b->bytes + segment_pending(p->o.evidence),
	                             .oldest_ns = b->oldest_ns,
	                             .on_disk = b->on_disk};
}

size_t pipeline_pending(const struct pipeline *p)
{
	return segment_pending(p->o.evidence);
}

bool pipeline_waits(const struct pipeline *p)
{
	return p->asked > p->durable;
}

void pipeline_durable(struct pipeline *p, uint64_t upto)
{
	if (upto > p->durable)
		p->durable = upto;
}

/* Moves records to the ring until it is full or the next one needs more on the disk. */
static int publish(struct pipeline *p)
{
	int r = 0;

	while (p->out_at < p->out.n) {
		struct held held;
		memcpy(&held, p->out.p + p->out_at, sizeof(held));
		if (held.after > p->durable)
			break;
		struct str packed = {p->out.p + p->out_at + sizeof(held), held.size};
		if (!inbox_put(p->o.inbox, p->o.worker, packed)) {
			r = -EAGAIN;
			break;
		}
		p->out_at += sizeof(held) + held.size;
	}
	p->full = r < 0;
	inbox_publish(p->o.inbox, p->o.worker);
	/* What is held moves down only when that is the smaller part. */
	if (p->out_at > p->out.n / 2) {
		buf_consume(&p->out, p->out_at);
		p->out_at = 0;
	}
	return r;
}

int pipeline_write(struct pipeline *p)
{
	int r = segment_pending(p->o.evidence) ? segment_flush(p->o.evidence) : 0;

	if (r == 0 && p->out.n > p->out_at)
		publish(p);
	return r;
}

int pipeline_commit(struct pipeline *p)
{
	int r = segment_sync(p->o.evidence);

	if (r < 0)
		return r;
	pipeline_durable(p, segment_next(p->o.evidence) - 1);
	return p->out.n == p->out_at ? 0 : publish(p);
}

/* ---- one frame ---- */

struct pipeline_counts pipeline_counts(const struct pipeline *p)
{
	return (struct pipeline_counts){counts_get(&p->incomplete), counts_get(&p->limited),
	                                counts_get(&p->left_out)};
}

/* Nothing vanishes in silence: the frame is in evidence whole, but rules did not see all of it. */
static void note_incomplete(struct pipeline *p, struct str source)
{
	uint64_t now = clock_mono();
	char safe[SOURCE_NAME_MAX * 4 + 1];

	counts_add(&p->incomplete, 1);
	if (p->incomplete_told && now - p->incomplete_mono < INCOMPLETE_EVERY)
		return;
	uint64_t all = counts_get(&p->incomplete);
	log_warning("worker %zu: an event of %s has more than rules look at (%d fields, %d "
	            "levels): the rest was left out; %llu such since the last message",
	            p->o.worker, log_escape(source, safe, sizeof(safe)), EVENT_FIELDS_MAX,
	            EVENT_DEPTH_MAX, (unsigned long long)(all - p->incomplete_told));
	p->incomplete_told = all;
	p->incomplete_mono = now;
}

static int64_t skew_of(const struct event *e)
{
	int64_t skew;

	if (__builtin_sub_overflow(e->received_ns, e->time_ns, &skew))
		return e->received_ns < e->time_ns ? INT64_MIN : INT64_MAX;
	return skew;
}

static void count(struct pipeline *p, const struct evidence *frame, size_t hits)
{
	const struct event *e = &p->event;
	Isod__V1__SourceCount *c = sources_count(&p->sources, frame->source);

	c->received++;
	c->bytes += frame->frame.n;
	c->last_received_ns = e->received_ns;
	if (hits)
		c->matched++;
	else if (e->flags & EVENT_UNDECODED)
		c->undecoded++;
	else
		c->unmatched++;
	if (frame->flags & EVIDENCE_TRUNCATED)
		c->truncated++;
	if (e->time_ns)
		c->clock_skew_ns = skew_of(e);
	p->untallied++;
}

static void detect(struct pipeline *p, uint64_t sequence, uint64_t received_ns,
                   const struct evidence *frame)
{
	struct event *e = &p->event;
	struct logsource_set sources = {0};
	const struct rule *const *hits;

	event_reset(e);
	e->received_ns = received_ns;
	e->source = frame->source;
	e->meta = frame->meta;
	if (frame->flags & EVIDENCE_TRUNCATED)
		e->flags |= EVENT_TRUNCATED;
	event_decode(p->now.decoder, e, frame->frame);
	origin_put(e, frame->identity);
	if (p->now.content->parts.logsources) {
		logsources_classify_with(p->now.content->parts.logsources, p->now.memo, e,
		                         &sources);
		content_classified(p->now.content, p->o.worker, &sources, received_ns);
	}
	uint64_t limited = matcher_limited(p->now.matcher);
	size_t n = matcher_run(p->now.matcher, e, &sources, &hits);
	if (matcher_limited(p->now.matcher) != limited)
		counts_add(&p->limited, matcher_limited(p->now.matcher) - limited);
	if (e->flags & EVENT_INCOMPLETE)
		note_incomplete(p, frame->source);
	if (n && !p->redetecting)
		p->asked = sequence;
	if (n)
		match_record_event(&p->record, e, (uint32_t)p->worker, sequence);
	for (size_t i = 0; i < n; i++)
		put_record(p, match_record_rule(&p->record, e, hits[i]));
	count(p, frame, n);
}

/* What is read next is another log, or new connections to this one. */
static void forget_peers(struct pipeline *p)
{
	evidence_peers_free(p->peers);
	p->peers = NULL;
}

/* Few workers have peers that show who they are. */
static void note_peer(struct pipeline *p, uint64_t sequence, struct evidence *frame)
{
	if (!(frame->flags & EVIDENCE_PEER))
		return;
	if (!p->peers)
		p->peers = evidence_peers_new();
	evidence_peers_note(p->peers, sequence, frame);
}

/* The first frame: what evidence held before it was the matter of pipeline_redetect. */
static void go_live(struct pipeline *p)
{
	backlog_init(&p->backlog, p->o.evidence, p->o.backlog_memory);
	p->upto = p->backlog.given;
	forget_peers(p);
	p->live = true;
}

void pipeline_frame(struct pipeline *p, uint64_t received_ns, const struct evidence *e)
{
	if (!p->live)
		go_live(p);
	evidence_append(p->o.evidence, received_ns, e);
}

/* A note in evidence, as read or as written. */
static void count_lost(struct pipeline *p, uint64_t received_ns, const struct evidence *e)
{
	sources_lost(&p->sources, e->source, e->loss, e->lost);
	sources_count(&p->sources, e->source)->last_received_ns = received_ns;
	p->untallied++;
}

void pipeline_lost(struct pipeline *p, uint64_t now_ns, struct str source, enum evidence_loss loss,
                   uint64_t lost)
{
	const struct evidence e = {
		.source = source, .flags = EVIDENCE_LOSS, .loss = loss, .lost = lost};

	pipeline_frame(p, now_ns, &e);
}

static void note_number(struct pipeline *p, const struct evidence *frame)
{
	struct str producer = producer_of_source(frame->source);

	marks_note(&p->marks, producer, frame->sequence);
	if (p->redetecting && producer.n && p->o.numbered)
		p->o.numbered(p->o.arg, producer, frame->sequence);
}

/* One record of evidence, of now or of before. 1 for a frame, 0 for a note, -EBADMSG. */
static int detect_record(struct pipeline *p, const struct record *record)
{
	struct evidence frame;
	int r = evidence_parse(record->body, &frame);

	if (r < 0)
		return r;
	note_peer(p, record->sequence, &frame);
	if (frame.flags & EVIDENCE_LOSS) {
		count_lost(p, record->time_ns, &frame);
	} else {
		if (frame.flags & EVIDENCE_NUMBERED)
			note_number(p, &frame);
		detect(p, record->sequence, record->time_ns, &frame);
		r = 1;
	}
	tally_if_full(p);
	return r;
}

/* ---- what waits ---- */

/* Evidence that this process has written cannot be read. Returns true when it is left out. */
static bool note_unread(struct pipeline *p, int r, const char *error)
{
	if (r != p->unread)
		log_error("worker %zu: what waits for detection cannot be read: %s%s", p->o.worker,
		          error, r == -EBADMSG ? "; it is left out" : "");
	p->unread = r;
	if (r == -EBADMSG)
		counts_add(&p->left_out, 1);
	return r == -EBADMSG;
}

/* The look at the clock: true when the time is over. *last: when it was looked at before. */
static bool time_is_over(struct pipeline *p, uint64_t until, uint64_t *last)
{
	uint64_t now = clock_mono();

	if (now - *last > STEP_LONG)
		p->step = 1;
	else if (p->step < DETECT_STEP)
		p->step *= 2;
	*last = now;
	return now >= until;
}

int pipeline_detect(struct pipeline *p, uint64_t until)
{
	struct record record;
	char error[512] = "";
	unsigned done = 0;
	uint64_t last = clock_mono();
	int r = 0;

	for (;; done++) {
		if (p->full)
			return -EAGAIN;
		if (!p->live)
			return 0;
		if (p->out.n - p->out_at > HELD_MAX)
			return -EINPROGRESS;
		if (done >= p->step) {
			if (time_is_over(p, until, &last))
				return 1;
			done = 0;
		}
		r = backlog_next(&p->backlog, &record, error, sizeof(error));
		if (r == 0)
			break;
		if (r == -EAGAIN || (r < 0 && note_unread(p, r, error)))
			continue;
		if (r < 0)
			return r;
		p->unread = 0;
		p->upto = record.sequence;
		(void)detect_record(p, &record);
	}
	p->upto = p->backlog.given;
	return 0;
}

/* ---- evidence once more ---- */

/* Writes what has gathered, waiting while the ring is full. False: told to give up. */
static bool commit_patiently(struct pipeline *p, bool (*go_on)(void *, bool), void *arg)
{
	while (publish(p) == -EAGAIN)
		if (!go_on(arg, true))
			return false;
	return go_on(arg, false);
}

/* From `from` on; what is read before that only tells who the peers are. */
static int64_t redetect_all(struct pipeline *p, struct segment_reader *reader, uint64_t from,
                            bool (*go_on)(void *, bool), void *arg, char *error, size_t error_size)
{
	struct record record;
	int64_t frames = 0;
	uint64_t records = 0;
	int r;

	while ((r = segment_read(reader, &record, error, error_size)) > 0) {
		uint64_t before = p->again;
		if (record.sequence < from) {
			struct evidence earlier;
			if (evidence_parse(record.body, &earlier) == 0)
				note_peer(p, record.sequence, &earlier);
			continue;
		}
		p->again = record.sequence;
		r = detect_record(p, &record);
		if (r < 0) {
			p->again = before;
			snprintf(error, error_size, "record %llu is no evidence",
			         (unsigned long long)record.sequence);
			break;
		}
		frames += r;
		if (++records % REDETECT_BATCH)
			continue;
		if (records % (REDETECT_BATCH * REDETECT_TALLY) == 0)
			put_tally(p);
		if (!commit_patiently(p, go_on, arg))
			break;
	}
	put_tally(p);
	commit_patiently(p, go_on, arg);
	return r < 0 ? r : frames;
}

int64_t pipeline_redetect(struct pipeline *p, size_t worker, const char *dir, uint64_t from,
                          bool (*go_on)(void *arg, bool full), void *arg, char *error,
                          size_t error_size)
{
	struct segment_reader *reader;
	int r = segment_reader_open(dir, SEGMENT_EVIDENCE, evidence_peers_begin(dir, from), &reader,
	                            error, error_size);

	if (r < 0)
		return r;
	p->worker = worker;
	p->redetecting = true;
	p->again = from - 1;
	forget_peers(p);
	int64_t frames = redetect_all(p, reader, from, go_on, arg, error, error_size);
	segment_reader_close(reader);
	sources_forget(&p->sources);
	p->worker = p->o.worker;
	p->redetecting = false;
	return frames;
}

uint64_t pipeline_redetected(const struct pipeline *p)
{
	return p->again;
}
