/* Escalation with real plugin processes, well-behaved and otherwise (escalate_plugins.h). Every test ends in
 * finish(), which holds what must hold whatever the plugin did: exactly one result for each alert that was sent, and
 * no process left; or in finish_early(), where the end comes before some answers. */
#include <criterion/criterion.h>
#include <event2/event.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/path.h"
#include "escalate/escalate.h"
#include "escalate/plugin_input.h"
#include "escalate_plugins.h"
#include "folder.h"

#define SENT_MAX   1200
#define PATIENCE_S 90 /* for a machine that is very busy */

struct world {
	char dir[FOLDER_BYTES];
	struct event_base *base;
	struct event *tick;
	struct config config;
	struct plugin_config plugin;
	struct plugin_option option;
	struct escalate *e;
	int results[SENT_MAX]; /* by notification id */
	int sent[SENT_MAX];
	Isod__V1__PluginOutcome outcome;
	char detail[600]; /* of the newest result */
	size_t result_count, sent_count, troubles;
	char trouble[600]; /* the newest */
	size_t unanswered; /* at close: expected to get no result */
	bool sending;      /* inside escalate_send */
	uint64_t resend;   /* in the result of this notification, send the one after it */
};

static void send_alert(struct world *w, uint64_t id, size_t timeline)
{
	Isod__V1__Notification n = ISOD__V1__NOTIFICATION__INIT;
	Isod__V1__Incident incident = ISOD__V1__INCIDENT__INIT;
	Isod__V1__TimelineEntry entry = ISOD__V1__TIMELINE_ENTRY__INIT;
	Isod__V1__TimelineEntry **entries = xcalloc(timeline, sizeof(*entries));
	char text[501];

	memset(text, 't', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	entry.text = text;
	for (size_t i = 0; i < timeline; i++)
		entries[i] = &entry;
	incident.id = 1;
	incident.title = (char *)"Password guessing";
	incident.timeline = entries;
	incident.n_timeline = timeline;
	n.id = id;
	n.created_ns = 1700000000000000000;
	n.attempts = 1;
	n.plugin = w->plugin.name;
	n.reason = (char *)"opened";
	w->sent[id]++;
	w->sent_count++;
	w->sending = true;
	escalate_send(w->e, &n, &incident);
	w->sending = false;
	free(entries);
}

static void on_result(void *arg, const Isod__V1__PluginResult *r)
{
	struct world *w = arg;

	cr_assert(!w->sending, "a result from inside escalate_send");
	cr_assert_lt(r->notification, SENT_MAX);
	cr_assert_eq(r->attempt, 1);
	w->results[r->notification]++;
	w->result_count++;
	w->outcome = r->outcome;
	snprintf(w->detail, sizeof(w->detail), "%s", r->detail);
	if (w->resend && w->resend == r->notification)
		send_alert(w, r->notification + 1, 0);
}

static void on_trouble(void *arg, const char *plugin, const char *what)
{
	struct world *w = arg;

	cr_assert_str_eq(plugin, "p");
	w->troubles++;
	snprintf(w->trouble, sizeof(w->trouble), "%s", what);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* A folder with the plugin in it under its name, and the configuration that starts it. */
static struct world *prepare(const char *plugin, uint64_t timeout_ns)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct timeval often = {.tv_usec = 10000};
	char self[4096] = "", path[160];

	folder_new(w->dir, "escalate");
	cr_assert_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	snprintf(path, sizeof(path), "%s/" PLUGIN_PREFIX "%s", w->dir, plugin);
	cr_assert_eq(symlink(self, path), 0);
	snprintf(path, sizeof(path), PLUGIN_PREFIX "%s", plugin);
	w->option = (struct plugin_option){(char *)"report", xasprintf("%s/report", w->dir)};
	w->plugin = (struct plugin_config){.name = (char *)"p",
	                                   .program = xstrdup(path),
	                                   .options = &w->option,
	                                   .option_count = 1,
	                                   .timeout_ns = timeout_ns,
	                                   .file = xasprintf("%s/escalation.yaml", w->dir),
	                                   .line = 3,
	                                   .column = 5};
	w->config = (struct config){.node = (char *)"node1",
	                            .plugin_dir = w->dir,
	                            .plugins = &w->plugin,
	                            .plugin_count = 1};
	w->base = event_base_new();
	w->tick = event_new(w->base, -1, EV_PERSIST, on_tick, NULL);
	event_add(w->tick, &often);
	return w;
}

static struct world *begin(const char *plugin, uint64_t timeout_ns)
{
	struct world *w = prepare(plugin, timeout_ns);
	char error[500] = "";
	struct escalate_options o = {.config = &w->config,
	                             .base = w->base,
	                             .result = on_result,
	                             .trouble = on_trouble,
	                             .arg = w};

	cr_assert_eq(escalate_open(&o, &w->e, error, sizeof(error)), 0, "%s", error);
	return w;
}

static Isod__V1__PluginStatus status_of(const struct world *w)
{
	Isod__V1__PluginStatus **statuses, copy;
	size_t count;

	escalate_status(w->e, &statuses, &count);
	cr_assert_eq(count, 1);
	cr_assert_str_eq(statuses[0]->name, "p");
	copy = *statuses[0];
	isod__v1__plugin_status__free_unpacked(statuses[0], NULL);
	free(statuses);
	copy.name = copy.last_error = NULL;
	return copy;
}

#define RUN_UNTIL(w, condition)                                                                    \
	do {                                                                                       \
		uint64_t until_ = clock_mono() + PATIENCE_S * NS_PER_SECOND;                       \
		while (!(condition)) {                                                             \
			cr_assert_lt(clock_mono(), until_, "never: %s (trouble: %s)", #condition,  \
			             (w)->trouble);                                                \
			event_base_loop((w)->base, EVLOOP_ONCE);                                   \
		}                                                                                  \
	} while (0)

static void wait_ready(struct world *w)
{
	RUN_UNTIL(w, status_of(w).running);
}

static void finish(struct world *w)
{
	escalate_close(w->e);
	cr_assert_eq(w->result_count, w->sent_count - w->unanswered);
	for (size_t i = 0; i < SENT_MAX; i++)
		cr_assert(w->results[i] == w->sent[i] || (w->unanswered && w->results[i] == 0),
		          "notification %zu: %d results", i, w->results[i]);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "a process or a zombie is left");
	cr_assert_eq(errno, ECHILD);
	event_free(w->tick);
	event_base_free(w->base);
	folder_remove(w->dir);
	free(w->plugin.program);
	free((char *)(uintptr_t)w->plugin.file);
	free(w->option.value);
	free(w);
}

/* The same when isod stops before `unanswered` of the alerts have a result. */
static void finish_early(struct world *w, size_t unanswered)
{
	w->unanswered = unanswered;
	finish(w);
}

/* One alert to a plugin that will not deliver it: RETRY with this detail, this trouble. */
static void expect_retry(const char *plugin, uint64_t timeout_ns, const char *detail)
{
	struct world *w = begin(plugin, timeout_ns);

	wait_ready(w);
	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->result_count == 1 && w->troubles >= 1);
	cr_expect_eq(w->outcome, RETRY);
	cr_expect_eq(strncmp(w->detail, "plugin ", 7), 0);
	cr_expect_str_eq(w->detail + 7, detail);
	cr_expect_str_eq(w->trouble, detail);
	RUN_UNTIL(w, status_of(w).running); /* and it is there again */
	cr_assert_geq(status_of(w).restarts, 1);
	cr_expect_eq(status_of(w).failed, 1);
	finish(w);
}

#define LONG  (60 * NS_PER_SECOND)
#define SHORT NS_PER_SECOND

Test(escalate, a_good_plugin_delivers_under_a_key_that_tells_ledgers_apart)
{
	struct world *w = begin("good", LONG);

	for (uint64_t id = 1; id <= 50; id++)
		send_alert(w, id, 3);
	cr_expect_eq(w->result_count, 0);
	RUN_UNTIL(w, w->result_count == 50);
	cr_expect_eq(w->outcome, DELIVERED);
	cr_expect_str_eq(w->detail, "node1:50:1700000000000000000");
	cr_expect_eq(w->troubles, 0);
	cr_expect_eq(status_of(w).delivered, 50);
	cr_expect_eq(status_of(w).waiting, 0);
	finish(w);
}

Test(escalate, a_result_may_send_the_next_alert)
{
	struct world *w = begin("good", LONG);

	w->resend = 1;
	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->result_count == 2);
	finish(w);
}

Test(escalate, answers_may_come_in_any_order)
{
	struct world *w = begin("reverse", LONG);

	for (uint64_t id = 1; id <= 9; id++)
		send_alert(w, id, 0);
	RUN_UNTIL(w, w->result_count == 9);
	cr_expect_eq(status_of(w).delivered, 9);
	cr_expect_eq(w->results[7], 1);
	finish(w);
}

Test(escalate, a_plugin_is_born_clean)
{
	struct world *w = prepare("inspect", LONG);
	char error[500] = "", expected[400];
	struct buf report;
	struct escalate_options o = {.config = &w->config,
	                             .base = w->base,
	                             .result = on_result,
	                             .trouble = on_trouble,
	                             .arg = w};
	int open_in_parent = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */

	setenv("ISOD_SECRET", "x", 1);
	setenv("LANG", "C.UTF-8", 1);
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(escalate_open(&o, &w->e, error, sizeof(error)), 0);
	wait_ready(w);
	buf_init(&report, 10000);
	cr_assert_eq(path_read(w->option.value, &report), 0);
	snprintf(expected, sizeof(expected),
	         "env PATH\nenv LANG\nfds 3\nsignals 0\nleader 1\ncwd %s\n", w->dir);
	cr_expect_str_eq(buf_cstr(&report), expected);
	buf_release(&report);
	close(open_in_parent);
	finish(w);
}

Test(escalate, a_program_that_does_not_exist_is_an_error_with_its_place)
{
	struct world *w = prepare("good", LONG);
	char error[500] = "", expected[300];
	struct escalate_options o = {.config = &w->config, .base = w->base, .arg = w};

	free(w->plugin.program);
	w->plugin.program = xstrdup("nowhere");
	cr_expect_eq(escalate_open(&o, &w->e, error, sizeof(error)), -ENOENT);
	snprintf(expected, sizeof(expected),
	         "%s/escalation.yaml:3:5: error: plugin p: cannot run %s/nowhere: No such file or "
	         "directory",
	         w->dir, w->dir);
	cr_expect_str_eq(error, expected);
	free(w->plugin.program);
	w->plugin.program = xstrdup("/tmp");
	cr_expect_eq(escalate_open(&o, &w->e, error, sizeof(error)), -EACCES);
	finish(w);
}

Test(escalate, a_program_that_cannot_be_executed_is_told_from_the_loop)
{
	struct world *w = prepare("good", LONG);
	char *path = xasprintf("%s/broken", w->dir), expected[400], error[500];
	struct escalate_options o = {.config = &w->config,
	                             .base = w->base,
	                             .result = on_result,
	                             .trouble = on_trouble,
	                             .arg = w};

	cr_assert_eq(path_write_atomic(path, STR("#!/nowhere/python\n"), 0755), 0);
	free(w->plugin.program);
	w->plugin.program = path;
	cr_assert_eq(escalate_open(&o, &w->e, error, sizeof(error)), 0);
	RUN_UNTIL(w, w->troubles >= 2);
	snprintf(expected, sizeof(expected),
	         "died (exit 127): cannot run %s: No such file or directory", path);
	cr_expect_str_eq(w->trouble, expected);
	finish(w);
}

Test(escalate, an_unknown_plugin_fails_for_good_but_not_at_once)
{
	struct world *w = begin("good", LONG);

	w->plugin.name = (char *)"other";
	send_alert(w, 1, 0);
	cr_expect_eq(w->result_count, 0);
	RUN_UNTIL(w, w->result_count == 1);
	cr_expect_eq(w->outcome, FAILED);
	finish(w);
}

Test(escalate, refused_options_are_told_and_tried_again_with_back_off)
{
	struct world *w = begin("refuse", LONG);

	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->result_count == 1);
	cr_expect_eq(w->outcome, RETRY);
	cr_expect_str_eq(w->detail, "plugin refused its options: option url: is \\x1b[31mmissing");
	RUN_UNTIL(w, w->troubles >= 2);
	cr_expect_str_eq(w->trouble, "refused its options: option url: is \\x1b[31mmissing");
	cr_expect(!status_of(w).running);
	finish(w);
}

Test(escalate, an_alert_waits_no_longer_than_its_time_out_for_a_process)
{
	struct world *w = begin("refuse", SHORT);

	RUN_UNTIL(w, w->troubles >= 3); /* the next start is two seconds away */
	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->result_count == 1);
	cr_expect_eq(w->outcome, RETRY);
	cr_expect_eq(strncmp(w->detail, "plugin is not running: it ", 26), 0, "%s", w->detail);
	finish(w);
}

Test(escalate, silence_at_setup_has_an_end)
{
	struct world *w = begin("mute", SHORT);

	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->troubles >= 2 && w->result_count == 1);
	cr_expect_str_eq(w->trouble, "did not become ready within 1 s");
	cr_expect_eq(w->outcome, RETRY);
	finish(w);
}

Test(escalate, a_hanging_plugin_costs_one_attempt)
{
	expect_retry("hang", SHORT, "did not answer within 1 s");
}

Test(escalate, a_plugin_that_ignores_sigterm_is_killed)
{
	expect_retry("stubborn", SHORT, "did not answer within 1 s");
}

Test(escalate, a_crash_is_told_with_its_signal)
{
	expect_retry("crash", LONG, "died (signal 11)");
}

Test(escalate, a_crash_costs_each_alert_it_had_one_attempt)
{
	struct world *w = begin("crash", LONG);

	wait_ready(w);
	for (uint64_t id = 1; id <= 10; id++)
		send_alert(w, id, 0);
	RUN_UNTIL(w, w->result_count == 10);
	cr_assert_geq(w->troubles, 3); /* four at a time */
	finish(w);
}

Test(escalate, an_exit_is_told_with_status_and_last_words)
{
	expect_retry("quit", LONG, "died (exit 3): no more \\x07paper");
}

Test(escalate, an_answer_just_before_the_end_counts)
{
	struct world *w = begin("last-words", LONG);

	for (uint64_t id = 1; id <= 3; id++) {
		wait_ready(w);
		send_alert(w, id, 0);
		RUN_UNTIL(w, w->result_count == id && w->troubles == id);
		cr_expect_eq(w->outcome, DELIVERED);
		cr_expect_str_eq(w->trouble, "died (exit 0)");
	}
	finish(w);
}

Test(escalate, nonsense_ends_the_process)
{
	expect_retry("no-varint", LONG, "broke the protocol: bytes that are no message length");
	expect_retry("too-long", LONG, "broke the protocol: a message longer than 1 MiB");
	expect_retry("garbled", LONG, "broke the protocol: a message that cannot be understood");
	expect_retry("says-nothing", LONG,
	             "broke the protocol: a message that cannot be understood");
	expect_retry("ready-twice", LONG, "broke the protocol: ready for a second time");
	expect_retry("stray-flood", LONG,
	             "broke the protocol: too many answers to alerts it does not have");
}

Test(escalate, nonsense_before_ready_ends_the_process)
{
	static const char *const plugins[] = {"text", "early"};

	for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
		struct world *w = begin(plugins[i], LONG);
		RUN_UNTIL(w, w->troubles >= 1);
		cr_expect_eq(strncmp(w->trouble, "broke the protocol", 18), 0, "%s", w->trouble);
		finish(w);
	}
}

Test(escalate, a_second_answer_is_counted_and_ignored)
{
	struct world *w = begin("twice", LONG);

	for (uint64_t id = 1; id <= 5; id++)
		send_alert(w, id, 0);
	RUN_UNTIL(w, status_of(w).stray_answers == 5);
	cr_expect_eq(status_of(w).delivered, 5);
	cr_expect_eq(w->outcome, DELIVERED);
	cr_expect_eq(w->troubles, 0);
	finish(w);
}

Test(escalate, answers_to_unknown_keys_are_counted_and_ignored)
{
	struct world *w = begin("stray", LONG);

	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->result_count == 1);
	cr_expect_eq(status_of(w).stray_answers, 2);
	cr_expect_eq(w->outcome, FAILED);
	cr_expect_str_eq(w->detail, "bad \\xff\\x01 text");
	cr_expect_eq(w->troubles, 0);
	finish(w);
}

Test(escalate, an_answer_without_an_outcome_is_a_failed_attempt)
{
	struct world *w = begin("no-outcome", LONG);

	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->result_count == 1);
	cr_expect_eq(w->outcome, RETRY);
	finish(w);
}

/* True once `pid` runs no more (it may still be somebody's zombie). */
static bool is_gone(pid_t pid)
{
	char path[64], text[512] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "r");
	if (!f)
		return true;
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	const char *state = strrchr(text, ')');
	return !state || strchr("ZX", state[2]);
}

static pid_t forked_by(struct world *w)
{
	struct buf report;

	buf_init(&report, 10000);
	cr_assert_eq(path_read(w->option.value, &report), 0);
	pid_t pid = atoi(buf_cstr(&report));
	buf_release(&report);
	cr_assert_gt(pid, 1);
	return pid;
}

Test(escalate, what_a_plugin_forks_ends_with_it)
{
	struct world *w = begin("fork", LONG);

	wait_ready(w);
	pid_t pid = forked_by(w);
	cr_expect(!is_gone(pid));
	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->result_count == 1);
	cr_expect_str_eq(w->detail, "plugin died (exit 0)");
	RUN_UNTIL(w, is_gone(pid));
	finish(w);
}

Test(escalate, what_a_plugin_forks_ends_when_isod_does)
{
	struct world *w = begin("fork", LONG);

	wait_ready(w);
	pid_t pid = forked_by(w);
	cr_expect(!is_gone(pid));
	escalate_close(w->e);
	w->e = NULL;
	uint64_t until = clock_mono() + PATIENCE_S * NS_PER_SECOND;
	while (!is_gone(pid) && clock_mono() < until)
		usleep(10000);
	cr_expect(is_gone(pid));
	finish(w);
}

Test(escalate, a_closed_output_ends_the_process)
{
	expect_retry("close-output", LONG, "closed its output");
}

Test(escalate, a_closed_input_ends_the_process)
{
	expect_retry("close-input", LONG, "closed its input");
}

Test(escalate, a_plugin_that_does_not_read_holds_back_nobody)
{
	struct world *w = begin("deaf", 5 * NS_PER_SECOND);

	wait_ready(w);
	for (uint64_t id = 1; id <= 400; id++)
		send_alert(w, id, 100);
	RUN_UNTIL(w, w->troubles >= 1 && w->result_count >= 64);
	cr_expect_str_eq(w->trouble, "did not answer within 5 s");
	finish_early(w, w->sent_count - w->result_count);
}

Test(escalate, ten_megabytes_of_errors_are_read_and_the_answer_too)
{
	struct world *w = begin("loud", LONG);

	fclose(stderr); /* what gets past the limit of the log need not be seen here */
	stderr = fopen("/dev/null", "w");
	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->result_count == 1);
	cr_expect_eq(w->outcome, DELIVERED);
	cr_expect_eq(w->troubles, 0);
	finish(w);
}

Test(escalate, a_full_queue_answers_retry)
{
	struct world *w = begin("mute", LONG);

	for (uint64_t id = 1; id <= ESCALATE_QUEUE_MAX; id++)
		send_alert(w, id, 0);
	event_base_loop(w->base, EVLOOP_ONCE);
	cr_expect_eq(w->result_count, 0);
	send_alert(w, ESCALATE_QUEUE_MAX + 1, 0);
	RUN_UNTIL(w, w->result_count == 1);
	cr_expect_eq(w->results[ESCALATE_QUEUE_MAX + 1], 1);
	cr_expect_eq(w->outcome, RETRY);
	finish_early(w, ESCALATE_QUEUE_MAX);
}

Test(escalate, the_same_attempt_twice_is_answered_twice)
{
	struct world *w = begin("good", LONG);

	send_alert(w, 1, 0);
	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->result_count == 2);
	finish(w);
}

Test(escalate, closing_gives_no_results_that_nobody_gave)
{
	struct world *w = begin("hang", LONG);

	wait_ready(w);
	for (uint64_t id = 1; id <= 5; id++)
		send_alert(w, id, 0);
	RUN_UNTIL(w, status_of(w).waiting == 5);
	finish_early(w, 5);
}

Test(escalate, closing_hears_what_is_still_said)
{
	struct world *w = begin("at-end", LONG);

	wait_ready(w);
	send_alert(w, 1, 0);
	RUN_UNTIL(w, status_of(w).waiting == 1);
	event_base_loop(w->base, EVLOOP_ONCE);
	finish(w); /* not early: the answer came after the input was closed */
}

Test(escalate, closing_before_the_first_turn_of_the_loop_starts_nothing)
{
	struct world *w = begin("good", LONG);

	send_alert(w, 1, 0);
	finish_early(w, 1);
}

Test(escalate, other_children_of_the_process_are_left_alone)
{
	pid_t other = fork();
	int status = 0;

	if (other == 0)
		_exit(42);
	struct world *w = begin("crash", LONG);
	wait_ready(w);
	send_alert(w, 1, 0);
	RUN_UNTIL(w, w->result_count == 1);
	cr_expect_eq(waitpid(other, &status, 0), other);
	cr_expect_eq(WEXITSTATUS(status), 42);
	finish(w);
}

/* The parser by itself. */

static bool count_message(void *arg, const Isod__V1__FromPlugin *m)
{
	(void)m;
	++*(int *)arg;
	return true;
}

Test(plugin_input, takes_whole_messages_byte_by_byte)
{
	/* ready{}, answer{key:"a"} */
	static const char bytes[] = "\x02\x0a\x00\x05\x12\x03\x0a\x01"
				    "a";
	struct buf in;
	int count = 0;

	buf_init(&in, 100);
	for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
		buf_putc(&in, bytes[i]);
		cr_assert_eq(plugin_input_take(&in, count_message, &count), 0);
		cr_expect_eq(count, i >= 8 ? 2 : i >= 2 ? 1 : 0);
	}
	cr_expect_eq(in.n, 0);
	buf_release(&in);
}

Test(plugin_input, refuses_what_is_no_message)
{
	static const struct {
		struct str bytes;
		int error;
	} cases[] = {
		{{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10}, -EBADMSG},
		{{"\x81\x80\x40", 3}, -EMSGSIZE}, /* 1 MiB and 1 */
		{{"\x00", 1}, -EPROTO},
		{{"\x02\x0a\x05", 3}, -EPROTO},
		{{"\x02\x18\x01", 3}, -EPROTO}, /* only a field nobody knows */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf in;
		int count = 0;
		buf_init(&in, 100);
		buf_add(&in, cases[i].bytes);
		cr_expect_eq(plugin_input_take(&in, count_message, &count), cases[i].error,
		             "case %zu", i);
		cr_expect_eq(count, 0);
		buf_release(&in);
	}
}
