/* Numbered batches through real workers: taken once whatever is sent again, answered in order and when they are on the
 * disk, given back when the workers end; the marks come back from evidence. */
#include "ingest_bed.h"

#include <errno.h>

#define FRAMES_MAX 16

/* One that is under way, with frames "ID N". */
struct asked {
	struct producer_batch batch;
	ProtobufCBinaryData frames[FRAMES_MAX];
	char texts[FRAMES_MAX][96];
	bool answered;
	size_t place; /* among all answers */
};

static size_t answers;

static void producer_bed(struct bed *b)
{
	bed_init(b, NULL);
	answers = 0;
}

static void fill(struct asked *a, const char *producer, uint64_t first, size_t count)
{
	*a = (struct asked){.batch = {.producer = producer,
	                              .from = "",
	                              .first = first,
	                              .frames = a->frames,
	                              .count = count}};
	for (size_t i = 0; i < count; i++) {
		int n = snprintf(a->texts[i], sizeof(a->texts[i]), "%s %llu", producer,
		                 (unsigned long long)(first + i));
		a->frames[i].data = (uint8_t *)a->texts[i];
		a->frames[i].len = (size_t)n;
		a->batch.bytes += (size_t)n;
	}
}

static void on_answer(void *arg, struct producer_batch *b)
{
	struct asked *a = (struct asked *)b;
	(void)arg;

	cr_assert_not(a->answered);
	a->answered = true;
	a->place = ++answers;
}

static void take_answers(struct bed *b)
{
	ingest_answers(b->ingest, on_answer, NULL);
}

/* Until all workers serve it is told to come again. */
static void post(struct bed *b, struct asked *a)
{
	int r = -EAGAIN;

	BED_WAIT(b, (r = ingest_take(b->ingest, &a->batch)) != -EAGAIN);
	cr_assert_eq(r, 0);
}

static void wait_answer(struct bed *b, struct asked *a)
{
	BED_WAIT(b, (take_answers(b), a->answered));
}

static void expect(struct bed *b, struct asked *a, int result, uint64_t upto, uint64_t taken)
{
	wait_answer(b, a);
	cr_expect_eq(a->batch.result, result, "%s from %llu: %d", a->batch.producer,
	             (unsigned long long)a->batch.first, a->batch.result);
	cr_expect_eq(a->batch.upto, upto);
	cr_expect_eq(a->batch.taken, taken);
}

static void ask(struct bed *b, const char *producer, uint64_t first, size_t count, int result,
                uint64_t upto, uint64_t taken)
{
	struct asked a;

	fill(&a, producer, first, count);
	post(b, &a);
	expect(b, &a, result, upto, taken);
}

struct counted {
	const char *source;
	uint64_t frames, sum;
};

static void count_frame(void *arg, const struct evidence *e)
{
	struct counted *c = arg;

	if (!str_eq(e->source, str_of(c->source)))
		return;
	cr_expect(e->flags & EVIDENCE_NUMBERED);
	c->frames++;
	c->sum += e->sequence;
}

/* Frames 1 to `upto` of the producer are in evidence, each once. */
static void expect_evidence(const struct bed *b, const char *source, uint64_t upto)
{
	struct counted c = {.source = source};

	bed_evidence(b, count_frame, &c);
	cr_expect_eq(c.frames, upto, "%s: %llu frames", source, (unsigned long long)c.frames);
	cr_expect_eq(c.sum, upto * (upto + 1) / 2);
}

/* bed_finish counts what listeners took; here they took nothing. */
static void finish(struct bed *b)
{
	bed_stop(b);
	bed_close(b);
	bed_release(b);
}

Test(ingest_producers, each_frame_is_taken_once_whatever_is_sent_again)
{
	struct bed b;

	producer_bed(&b);
	bed_start(&b);
	ask(&b, "web", 0, 0, 0, 0, 0);
	ask(&b, "web", 1, 10, 0, 10, 10);
	expect_evidence(&b, "producer/web", 10);
	ask(&b, "web", 1, 10, 0, 10, 0);
	ask(&b, "web", 5, 10, 0, 14, 4);
	ask(&b, "web", 16, 3, -ERANGE, 14, 0);
	ask(&b, "web", 15, 1, 0, 15, 1);
	ask(&b, "db", 2, 1, -ERANGE, 0, 0);
	ask(&b, "db", 0, 0, 0, 0, 0);
	cr_expect_eq(bed_counter(&b, "ingest_producers"), 1, "a gap makes nobody known");
	cr_expect_eq(bed_counter(&b, "ingest_frames_repeated"), 16);
	expect_evidence(&b, "producer/web", 15);
	BED_WAIT(&b, bed_count(&b, "producer/web").received == 15);
	finish(&b);
}

Test(ingest_producers, batches_posted_together_are_answered_in_their_order)
{
	enum { BATCHES = 200 };
	struct asked *all = xcalloc(BATCHES, sizeof(*all));
	struct bed b;

	producer_bed(&b);
	b.config.evidence_ack_ns = 20 * NS_PER_MS;
	bed_start(&b);
	/* Every other one is the one before it again: its answer, too, must wait for the disk. */
	for (size_t i = 0; i < BATCHES; i++)
		fill(&all[i], "web", 1 + i / 2 * 4, 4);
	for (size_t i = 0; i < BATCHES; i++)
		post(&b, &all[i]);
	for (size_t i = 0; i < BATCHES; i++) {
		expect(&b, &all[i], 0, 4 + i / 2 * 4, i % 2 ? 0 : 4);
		cr_expect_eq(all[i].batch.repeated, i % 2 ? 4 : 0);
		cr_expect_eq(all[i].place, i + 1);
	}
	expect_evidence(&b, "producer/web", BATCHES * 2);
	finish(&b);
	free(all);
}

Test(ingest_producers, a_frame_over_the_limit_is_cut_and_where_it_came_from_is_kept)
{
	struct asked a;
	struct bed b;

	producer_bed(&b);
	b.config.frame_max = 8;
	bed_start(&b);
	fill(&a, "web", 1, 2);
	memcpy(a.texts[0], "12345678cut", 12);
	a.frames[0].len = 11;
	a.frames[1].len = 0;
	a.batch.from = "10.0.0.9";
	post(&b, &a);
	expect(&b, &a, 0, 2, 2);
	cr_expect_eq(bed_find(&b, "producer/web/10.0.0.9", STR("12345678"),
	                      EVIDENCE_NUMBERED | EVIDENCE_TRUNCATED),
	             1);
	cr_expect_eq(bed_find(&b, "producer/web/10.0.0.9", STR_NONE, EVIDENCE_NUMBERED), 1);
	BED_WAIT(&b, bed_count(&b, "producer/web/").truncated == 1);
	finish(&b);
}

Test(ingest_producers, only_so_many_are_known_and_those_go_on)
{
	struct asked *all = xcalloc(PRODUCERS_MAX, sizeof(*all));
	char(*ids)[16] = xcalloc(PRODUCERS_MAX, sizeof(*ids));
	struct bed b;

	producer_bed(&b);
	bed_start(&b);
	for (size_t i = 0; i < PRODUCERS_MAX; i++) {
		snprintf(ids[i], sizeof(ids[i]), "p%zu", i);
		fill(&all[i], ids[i], 1, 1);
		post(&b, &all[i]);
	}
	for (size_t i = 0; i < PRODUCERS_MAX; i++)
		expect(&b, &all[i], 0, 1, 1);
	ask(&b, "more", 1, 1, -EDQUOT, 0, 0);
	ask(&b, "p77", 2, 1, 0, 2, 1);
	/* One that is forgotten makes room, unless more came of it than was counted. */
	cr_expect_eq(ingest_forget_producer(b.ingest, STR("p77"), 1), -EBUSY);
	cr_expect_eq(ingest_forget_producer(b.ingest, STR("p78"), 1), 0);
	ask(&b, "more", 1, 1, 0, 1, 1);
	ask(&b, "p78", 0, 0, 0, 0, 0);
	ask(&b, "p78", 2, 1, -ERANGE, 0, 0);
	finish(&b);
	free(all);
	free(ids);
}

Test(ingest_producers, marks_come_back_from_evidence_with_any_number_of_workers)
{
	struct asked a;
	struct bed b;

	producer_bed(&b);
	bed_start(&b);
	ask(&b, "web", 1, 16, 0, 16, 16);
	ask(&b, "db", 1, 5, 0, 5, 5);
	bed_stop(&b);
	bed_close(&b);
	for (size_t workers = 1; workers <= 4; workers++) {
		b.config.workers = workers;
		bed_forget(&b);
		bed_open(&b, BED_RING, NULL, 0);
		fill(&a, "web", 0, 0);
		cr_expect_eq(ingest_take(b.ingest, &a.batch), -EAGAIN, "its mark is not known yet");
		cr_expect_eq(ingest_forget_producer(b.ingest, STR("web"), 16), -EAGAIN);
		cr_assert_eq(ingest_start(b.ingest), 0);
		ask(&b, "web", 0, 0, 0, 15 + workers, 0);
		ask(&b, "web", 16 + workers, 1, 0, 16 + workers, 1);
		ask(&b, "db", 0, 0, 0, 5, 0);
		bed_stop(&b);
		bed_close(&b);
	}
	bed_release(&b);
}

Test(ingest_producers, what_was_posted_is_given_back_when_the_workers_end)
{
	enum { BATCHES = 50 };
	struct asked *all = xcalloc(BATCHES, sizeof(*all)), late;
	size_t taken = 0;
	struct bed b;

	producer_bed(&b);
	b.config.evidence_ack_ns = 500 * NS_PER_MS;
	bed_start(&b);
	ask(&b, "web", 1, 1, 0, 1, 1);
	for (size_t i = 0; i < BATCHES; i++) {
		fill(&all[i], "web", 2 + i, 1);
		post(&b, &all[i]);
	}
	bed_stop(&b);
	fill(&late, "web", 2 + BATCHES, 1);
	cr_expect_eq(ingest_take(b.ingest, &late.batch), -ESHUTDOWN);
	take_answers(&b);
	for (size_t i = 0; i < BATCHES; i++) {
		cr_assert(all[i].answered, "batch %zu", i);
		cr_expect(all[i].batch.result == 0 || all[i].batch.result == -ESHUTDOWN);
		taken += all[i].batch.result == 0;
	}
	expect_evidence(&b, "producer/web", 1 + taken);
	bed_close(&b);
	bed_release(&b);
	free(all);
}
