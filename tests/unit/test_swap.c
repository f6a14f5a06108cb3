/* Another rule set while frames stream in: every frame is found by exactly one of the two, the workers change over
 * together, and whatever else goes on (a stop, a stall, evidence that is detected again) breaks none of it. */
#include "ingest_bed.h"

#include <pthread.h>

#include "sigma/compile.h"

#define RULE(title, id)                                                                            \
	"title: " title "\nid: " id "\nstatus: test\nlogsource:\n  product: anything\n"            \
	"detection:\n  selection:\n    nothing: none\n  condition: not selection\nlevel: low\n"
#define FIRST  "11111111-1111-4111-8111-111111111111"
#define SECOND "22222222-2222-4222-8222-222222222222"

static const char *const ids[] = {FIRST, SECOND};
static const char *const texts[] = {RULE("first", FIRST), RULE("second", SECOND)};

/* ---- a sender of its own: parked workers do not read ---- */

struct sender {
	pthread_t thread;
	int fd;
	size_t frames;
	atomic_bool enough, ended;
};

static void *send_frames(void *arg)
{
	struct sender *s = arg;
	char line[64];

	while (!atomic_load(&s->enough)) {
		int n = snprintf(line, sizeof(line), "<13>frame %zu of %d\n", s->frames, s->fd);
		bed_send(s->fd, str_make(line, (size_t)n));
		s->frames++;
		if (s->frames % 20 == 0)
			usleep(1000);
	}
	atomic_store(&s->ended, true);
	return NULL;
}

static void sender_start(struct sender *s, struct bed *b)
{
	const int bytes =
		16384; /* so that a slow build has not minutes of frames to read at the end */

	*s = (struct sender){.fd = bed_connect(b, "tcp", SOCK_STREAM, "127.0.0.1")};
	cr_assert_eq(setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
	cr_assert_eq(pthread_create(&s->thread, NULL, send_frames, s), 0);
}

/* Drains meanwhile: the sender may hang because the worker does, before its full ring. */
static size_t sender_stop(struct sender *s, struct bed *b)
{
	atomic_store(&s->enough, true);
	BED_WAIT(b, atomic_load(&s->ended));
	cr_assert_eq(pthread_join(s->thread, NULL), 0);
	close(s->fd);
	return s->frames;
}

/* ---- what was found ---- */

/* Checks that everything found since the last call was found by rule `id`, and forgets it. Returns how much. */
static size_t all_found_by(struct bed *b, const char *id)
{
	size_t count = 0;

	bed_drain(b);
	while (b->matches) {
		struct bed_match *m = b->matches;
		cr_assert_str_eq(m->record->match->rule, id);
		b->matches = m->next;
		isod__v1__record__free_unpacked(m->record, NULL);
		free(m);
		count++;
	}
	b->matches_end = &b->matches;
	return count;
}

static void swap(struct bed *b, struct content *next, unsigned number)
{
	ingest_swap(b->ingest, next);
	content_unref(next);
	BED_WAIT(b, atomic_load(&b->parked) == number);
}

Test(swap, every_frame_is_found_by_one_of_the_sets)
{
	struct sender senders[3];
	size_t sent = 0, found = 0;
	struct bed b;

	bed_init(&b, texts[0]);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	for (size_t i = 0; i < ARRAY_LEN(senders); i++)
		sender_start(&senders[i], &b);
	for (unsigned round = 1; round <= 20; round++) {
		size_t before = b.match_count;
		BED_WAIT(&b, b.match_count > before + 50);
		swap(&b, bed_content(&b, texts[round % 2]), round);
		found += all_found_by(&b, ids[(round - 1) % 2]);
		cr_assert_not(inbox_drain(&b.inbox, 1, bed_take, &b),
		              "parked workers find nothing");
		ingest_swap_finish(b.ingest);
	}
	for (size_t i = 0; i < ARRAY_LEN(senders); i++)
		sent += sender_stop(&senders[i], &b);
	BED_WAIT(&b, bed_count(&b, "tcp/").received == sent);
	found += all_found_by(&b, ids[0]);
	cr_expect_eq(found, sent, "%zu found of %zu", found, sent);
	cr_expect_eq(bed_count(&b, "tcp/").matched, sent);
	bed_finish(&b);
}

Test(swap, the_compiled_form_comes_while_frames_stream_in)
{
	const struct compile_options options = {0};
	struct sender sender;
	struct diags diags;
	struct bed b;

	bed_init(&b, texts[0]);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	sender_start(&sender, &b);
	BED_WAIT(&b, b.match_count > 100);
	diags_init(&diags);
	cr_assert_eq(content_compile(b.content, &options, &diags), 0);
	diags_release(&diags);
	ingest_refresh(b.ingest);
	size_t before = b.match_count;
	BED_WAIT(&b, b.match_count > before + 1000);
	size_t sent = sender_stop(&sender, &b);
	BED_WAIT(&b, bed_count(&b, "tcp/").received == sent);
	cr_expect_eq(b.match_count, sent);
	bed_finish(&b);
}

Test(swap, the_old_set_lives_as_long_as_somebody_needs_it)
{
	struct bed b;

	bed_init(&b, texts[0]);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	cr_expect_eq(atomic_load(&b.content->references), 1 + b.config.workers);
	struct content *next = content_ref(bed_content(&b, texts[1]));
	swap(&b, next, 1);
	ingest_swap_finish(b.ingest);
	/* The bed's own, each worker's, and that of the ingest for workers that are late. */
	BED_WAIT(&b, atomic_load(&b.content->references) == 1);
	cr_expect_eq(atomic_load(&next->references), 2 + b.config.workers);
	bed_finish(&b);
	cr_expect_eq(atomic_load(&next->references), 1);
	content_unref(next);
}

Test(swap, a_stop_ends_the_waiting)
{
	struct bed b;

	bed_init(&b, texts[0]);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	bed_send(fd, STR("<13>one\n"));
	BED_WAIT(&b, b.match_count == 1);
	swap(&b, bed_content(&b, texts[1]), 1);
	bed_send(fd, STR("<13>two\n<13>three"));
	close(fd);
	bed_stop(&b); /* never released: what still arrives is the old set's */
	cr_expect_eq(bed_count(&b, "tcp/").received, 3);
	cr_expect_eq(all_found_by(&b, ids[0]), 3);
	bed_finish(&b);
}

Test(swap, a_full_ring_delays_it)
{
	struct sender sender;
	struct bed b;

	bed_init(&b, texts[0]);
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_open(&b, 2 * PIPELINE_RECORD_MAX + 4096, NULL, 0);
	cr_assert_eq(ingest_start(b.ingest), 0);
	sender_start(&sender, &b);
	/* Nobody drains: the worker that has the connection stands before its full ring. */
	uint64_t end = clock_mono() + BED_PATIENCE_S * NS_PER_SECOND;
	uint64_t stalls = 0;
	while (stalls == 0) {
		stalls = bed_counter(&b, "ingest_stalls");
		cr_assert_lt(clock_mono(), end);
		usleep(1000);
	}
	ingest_swap(b.ingest, b.content);
	usleep(20000);
	cr_expect_eq(atomic_load(&b.parked), 0);
	BED_WAIT(&b, atomic_load(&b.parked) == 1);
	ingest_swap_finish(b.ingest);
	size_t sent = sender_stop(&sender, &b);
	BED_WAIT(&b, bed_count(&b, "tcp/").received == sent);
	cr_expect_eq(all_found_by(&b, ids[0]), sent);
	bed_finish(&b);
}

Test(swap, evidence_that_is_detected_again_changes_sets_between_two_frames)
{
	const size_t frames = 20000;
	struct bed b;
	char line[32];

	bed_init(&b, texts[0]);
	b.config.workers = 1;
	bed_listener(&b, LISTENER_TCP, "tcp", "127.0.0.1:0");
	bed_start(&b);
	int fd = bed_connect(&b, "tcp", SOCK_STREAM, "127.0.0.1");
	for (size_t i = 0; i < frames; i++) {
		int n = snprintf(line, sizeof(line), "<13>frame %zu\n", i);
		bed_send(fd, str_make(line, (size_t)n));
		if (i % 1000 == 0)
			bed_drain(&b);
	}
	close(fd);
	BED_WAIT(&b, bed_count(&b, "tcp/").received == frames);
	bed_stop(&b);
	bed_close(&b);
	bed_forget(&b);
	/* The ledger has seen nothing of it: all is detected again, and the swap is there from the beginning. */
	bed_open(&b, BED_RING, NULL, 0);
	struct content *next = bed_content(&b, texts[1]);
	ingest_swap(b.ingest, next);
	content_unref(next);
	cr_assert_eq(ingest_start(b.ingest), 0);
	BED_WAIT(&b, atomic_load(&b.parked) == 1);
	size_t first = all_found_by(&b, ids[0]);
	cr_expect_gt(first, 0);
	cr_expect_lt(first, frames);
	cr_expect_eq(bed_count(&b, "tcp/").received, first, "what was found is tallied");
	ingest_swap_finish(b.ingest);
	BED_WAIT(&b, bed_count(&b, "tcp/").received == frames);
	cr_expect_eq(first + all_found_by(&b, ids[1]), frames);
	bed_stop(&b);
	bed_close(&b);
	bed_release(&b);
}
