/* The officer's shell on a real ledger: what comes through the inbox is durable before it has effects, a restart folds
 * the same state, and what was re-detected counts once. */
#include <errno.h>
#include <event2/event.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include "base/wire.h"
#include "folder.h"
#include "officer/officer.h"
#include "steps.h"

struct rig {
	char dir[FOLDER_BYTES];
	struct event_base *base;
	struct inbox inbox;
	struct officer *officer;
	size_t incidents;
	uint64_t durable_at_effect; /* records in the ledger file when the last effect ran */
	int stalls;
	bool stalled;
	uint64_t commit_ns; /* group commit: by default a batch waits for nothing */
};

static void on_incident(void *arg, const Isod__V1__Incident *i)
{
	struct rig *rig = arg;
	struct segment_report report;

	(void)i;
	rig->incidents++;
	cr_assert_eq(segment_verify(rig->dir, SEGMENT_LEDGER, &report), 0, "%s", report.error);
	rig->durable_at_effect = report.last;
}

static void on_stalled(void *arg, bool stalled)
{
	struct rig *rig = arg;

	rig->stalls++;
	rig->stalled = stalled;
}

static void rig_open(struct rig *rig)
{
	char error[512] = "";
	Isod__V1__Started started = ISOD__V1__STARTED__INIT;

	rig->base = event_base_new();
	cr_assert_eq(inbox_init(&rig->inbox, 1, 1 << 20), 0);
	const struct officer_options o = {.ledger_dir = rig->dir,
	                                  .segment_bytes = 1 << 20,
	                                  .commit_ns = rig->commit_ns,
	                                  .commit_bytes = 64 << 10,
	                                  .base = rig->base,
	                                  .inbox = &rig->inbox,
	                                  .effects = {.arg = rig, .incident = on_incident},
	                                  .stalled = on_stalled};
	cr_assert_eq(officer_open(&o, &rig->officer, error, sizeof(error)), 0, "%s", error);
	Isod__V1__Settings *settings = settings_new();
	officer_start(rig->officer, &started, settings);
	isod__v1__settings__free_unpacked(settings, NULL);
}

static void rig_close(struct rig *rig)
{
	officer_close(rig->officer);
	inbox_release(&rig->inbox);
	event_base_free(rig->base);
}

static void rig_init(struct rig *rig)
{
	*rig = (struct rig){0};
	folder_new(rig->dir, "officer");
	rig_open(rig);
}

static void rig_remove(struct rig *rig)
{
	rig_close(rig);
	folder_remove(rig->dir);
}

static void put_match(struct rig *rig, uint64_t evidence, const char *rule, const char *address)
{
	struct world w = {.now = T0, .evidence = evidence - 1};
	Isod__V1__Match *m = match_new(&w, rule, HIGH, address, NULL, "web1");
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	struct buf packed;

	record.body_case = ISOD__V1__RECORD__BODY_MATCH;
	record.match = m;
	buf_init(&packed, 0);
	wire_pack(&packed, &record.base);
	cr_assert(inbox_put(&rig->inbox, 0, buf_str(&packed)));
	inbox_publish(&rig->inbox, 0);
	buf_release(&packed);
	match_free(m);
}

static void turn_until_idle(struct rig *rig)
{
	for (int i = 0; i < 10; i++)
		event_base_loop(rig->base, EVLOOP_NONBLOCK);
}

Test(officer, effects_run_after_the_ledger_is_durable)
{
	struct rig rig;

	rig_init(&rig);
	put_match(&rig, 1, "a", "192.0.2.1");
	put_match(&rig, 2, "a", "192.0.2.2");
	turn_until_idle(&rig);
	cr_assert_eq(rig.incidents, 2);
	cr_assert_eq(rig.durable_at_effect, officer_state(rig.officer)->sequence);
	rig_remove(&rig);
}

Test(officer, a_restart_folds_the_same_state)
{
	struct rig rig;
	char address[32];

	rig_init(&rig);
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(address, sizeof(address), "192.0.2.%u", i % 20);
		put_match(&rig, i + 1, i % 2 ? "a" : "b", address);
		if (i % 500 == 499)
			turn_until_idle(&rig);
	}
	turn_until_idle(&rig);
	const struct state *s = officer_state(rig.officer);
	cr_assert_eq(s->matches, 5000);
	Isod__V1__Incident *before = pb_copy(&incident_get(&s->incident, 7)->base);
	uint64_t sequence = s->sequence;
	rig_close(&rig);
	rig_open(&rig);
	s = officer_state(rig.officer);
	cr_assert_eq(s->matches, 5000);
	cr_assert_eq(s->sequence, sequence + 1,
	             "only Started was added: the settings are the same");
	cr_assert(pb_equal(&before->base, &incident_get(&s->incident, 7)->base));
	isod__v1__incident__free_unpacked(before, NULL);
	rig_remove(&rig);
}

Test(officer, matches_detected_again_after_a_crash_count_once)
{
	struct rig rig;

	rig_init(&rig);
	for (unsigned i = 1; i <= 10; i++)
		put_match(&rig, i, "a", "192.0.2.1");
	turn_until_idle(&rig);
	rig_close(&rig);
	rig_open(&rig);
	for (unsigned i = 1; i <= 12; i++)
		put_match(&rig, i, "a", "192.0.2.1");
	turn_until_idle(&rig);
	cr_assert_eq(officer_state(rig.officer)->matches, 12);
	cr_assert_eq(incident_get(&officer_state(rig.officer)->incident, 1)->matches, 12);
	rig_remove(&rig);
}

static uint64_t ledger_end(const struct rig *rig)
{
	struct segment_report report;

	cr_assert_eq(segment_verify(rig->dir, SEGMENT_LEDGER, &report), 0, "%s", report.error);
	return report.last;
}

/* A batch that waits: nothing of it is in the file, in the state or in an anchor, and it has no effects. */
static void check_waiting(struct rig *rig, uint64_t sequence)
{
	uint64_t anchored;
	const uint8_t *head;

	turn_until_idle(rig);
	cr_assert_eq(officer_state(rig->officer)->sequence, sequence);
	cr_assert_eq(officer_anchor(rig->officer, &anchored, &head), 0);
	cr_assert_eq(anchored, sequence);
	cr_assert_eq(ledger_end(rig), sequence);
}

Test(officer, records_gather_until_a_command_takes_them_along)
{
	struct rig rig = {.commit_ns = NS_PER_HOUR};
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	Isod__V1__Tick tick = ISOD__V1__TICK__INIT;

	folder_new(rig.dir, "officer");
	rig_open(&rig);
	uint64_t before = officer_state(rig.officer)->sequence;
	put_match(&rig, 1, "a", "192.0.2.1");
	put_match(&rig, 2, "a", "192.0.2.2");
	check_waiting(&rig, before);
	cr_assert_eq(rig.incidents, 0);
	record.body_case = ISOD__V1__RECORD__BODY_TICK;
	record.tick = &tick;
	cr_assert_eq(officer_record(rig.officer, &record), 0);
	cr_assert_eq(rig.incidents, 2);
	cr_assert_eq(rig.durable_at_effect, before + 3, "one fdatasync for all, before any effect");
	cr_assert_eq(officer_state(rig.officer)->sequence, before + 3);
	put_match(&rig, 3, "a", "192.0.2.3");
	check_waiting(&rig, before + 3);
	officer_drain(rig.officer);
	cr_assert_eq(officer_state(rig.officer)->matches, 3, "at the end nothing waits");
	cr_assert_eq(ledger_end(&rig), before + 4);
	rig_remove(&rig);
}

Test(officer, what_gathers_has_a_size)
{
	struct rig rig = {.commit_ns = NS_PER_HOUR};
	unsigned sent = 0;

	folder_new(rig.dir, "officer");
	rig_open(&rig);
	while (officer_state(rig.officer)->matches == 0 && sent < 10000) {
		put_match(&rig, ++sent, "a", "192.0.2.1");
		turn_until_idle(&rig);
	}
	cr_assert_eq(officer_state(rig.officer)->matches, sent);
	cr_assert(sent > 64 && sent < 2000, "%u records in 64 KiB", sent);
	rig_remove(&rig);
}

Test(officer, what_gathers_waits_no_longer_than_the_interval)
{
	struct rig rig = {.commit_ns = 50 * NS_PER_MS};

	folder_new(rig.dir, "officer");
	rig_open(&rig);
	for (unsigned round = 1; round <= 5; round++) {
		put_match(&rig, round, "a", "192.0.2.1");
		while (officer_state(rig.officer)->matches < round)
			event_base_loop(rig.base, EVLOOP_ONCE);
	}
	rig_remove(&rig);
}

Test(officer, what_gathered_is_written_at_the_end_and_counts_once)
{
	struct rig rig = {.commit_ns = NS_PER_HOUR};

	folder_new(rig.dir, "officer");
	rig_open(&rig);
	uint64_t before = officer_state(rig.officer)->sequence;
	put_match(&rig, 1, "a", "192.0.2.1");
	check_waiting(&rig, before);
	/* At a clean end it is in the ledger, folded at the next start, and known when it comes again. */
	rig_close(&rig);
	rig.commit_ns = 0;
	rig_open(&rig);
	cr_assert_eq(officer_state(rig.officer)->matches, 1);
	put_match(&rig, 1, "a", "192.0.2.1");
	turn_until_idle(&rig);
	cr_assert_eq(officer_state(rig.officer)->matches, 1);
	rig_remove(&rig);
}

struct order {
	unsigned at, matches_before, settings;
};

static int note_order(void *arg, uint64_t sequence, uint64_t time_ns, const Isod__V1__Record *r)
{
	struct order *o = arg;

	(void)sequence;
	(void)time_ns;
	o->at++;
	if (r->body_case == ISOD__V1__RECORD__BODY_MATCH && o->settings == 1)
		o->matches_before++;
	if (r->body_case == ISOD__V1__RECORD__BODY_SETTINGS)
		o->settings++;
	return 0;
}

Test(officer, new_settings_stand_behind_all_that_was_found_before_them)
{
	Isod__V1__Settings *settings = settings_new();
	struct order order = {0};
	char error[256];
	struct rig rig;

	rig_init(&rig);
	for (unsigned i = 1; i <= 3; i++)
		put_match(&rig, i, "a", "192.0.2.1");
	settings->incident_window_ns++;
	cr_assert_eq(officer_settings(rig.officer, settings), 0);
	cr_expect_eq(officer_state(rig.officer)->matches, 3, "the inbox was taken first");
	cr_expect(pb_equal(&settings->base, &officer_state(rig.officer)->settings->base));
	put_match(&rig, 4, "a", "192.0.2.1");
	cr_assert_eq(officer_settings(rig.officer, settings), 0);
	cr_assert_eq(ledger_read(rig.dir, 1, note_order, &order, error, sizeof(error)), 0, "%s",
	             error);
	cr_expect_eq(order.settings, 2, "those of the start, the new ones, and not the same again");
	cr_expect_eq(order.matches_before, 3);
	isod__v1__settings__free_unpacked(settings, NULL);
	rig_remove(&rig);
}

Test(officer, a_record_that_is_none_is_passed_over)
{
	struct rig rig;

	rig_init(&rig);
	cr_assert(inbox_put(&rig.inbox, 0, STR("\xff\xff\xff nonsense")));
	put_match(&rig, 1, "a", "192.0.2.1");
	turn_until_idle(&rig);
	cr_assert_eq(officer_state(rig.officer)->matches, 1);
	rig_remove(&rig);
}

/* The file-size limit makes write(2) fail like a full disk does. */
static void disk_full(bool full)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = full ? 1 : limit.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(officer, a_full_disk_stops_the_intake_and_loses_nothing)
{
	struct rig rig;
	Isod__V1__Refusal refusal = ISOD__V1__REFUSAL__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	record.body_case = ISOD__V1__RECORD__BODY_REFUSAL;
	record.refusal = &refusal;
	rig_init(&rig);
	disk_full(true);
	put_match(&rig, 1, "a", "192.0.2.1");
	turn_until_idle(&rig);
	cr_assert(rig.stalled);
	cr_assert_eq(rig.incidents, 0, "nothing is told that is not durable");
	cr_assert_eq(officer_record(rig.officer, &record), -EAGAIN);
	cr_assert_eq(officer_settings(rig.officer, officer_state(rig.officer)->settings), -EAGAIN);
	officer_post(rig.officer, &record);
	put_match(&rig, 2, "a", "192.0.2.1");
	turn_until_idle(&rig);
	cr_assert_eq(officer_state(rig.officer)->matches, 0);
	disk_full(false);
	while (rig.stalled)
		event_base_loop(rig.base, EVLOOP_ONCE);
	turn_until_idle(&rig);
	cr_assert_eq(officer_state(rig.officer)->matches, 2);
	cr_assert_eq(officer_state(rig.officer)->access.refusals, 1);
	cr_assert_eq(rig.stalls, 2);
	rig_remove(&rig);
}
