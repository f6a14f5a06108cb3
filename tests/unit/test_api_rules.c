/* Rules through the socket: a reload is answered when it is done and everything else on the connection after it; what
 * rules cost comes sorted and in pages. */
#include <sys/resource.h>

#include "api_rig.h"
#include "sigma/content.h"
#include "sigma.h"

TestSuite(api, .init = setup, .fini = teardown);

static Request reload_request(uint64_t id)
{
	static Isod__V1__ReloadRules nothing = ISOD__V1__RELOAD_RULES__INIT;
	Request q = ISOD__V1__REQUEST__INIT;

	q.id = id;
	q.ask_case = ASK(RELOAD_RULES);
	q.reload_rules = &nothing;
	return q;
}

/* Lets the daemon take in what was sent, until so many reloads were asked for. */
static void wait_reloads(uint64_t count)
{
	while (rig.reloads < count)
		turn();
}

static bool has_answer(struct client *c)
{
	struct str body;
	size_t used;

	for (int i = 0; i < 20; i++)
		client_pull(c);
	return wire_next(buf_str(&c->in), 64 << 20, &body, &used) == 0;
}

Test(api, a_reload_is_answered_when_it_is_done_and_what_follows_after_it)
{
	Isod__V1__RulesReloaded outcome = ISOD__V1__RULES_RELOADED__INIT;
	struct client first = client_new(), second = client_new();
	Isod__V1__StatusRequest s;
	Request q = reload_request(1);

	client_send(&first, &q);
	wait_reloads(1);
	q = status_request(&s);
	q.id = 2;
	client_send(&first, &q);
	q = reload_request(3);
	client_send(&second, &q);
	wait_reloads(2);
	cr_expect_not(has_answer(&first));
	outcome.loaded = true;
	outcome.rules = 5;
	api_rules_reloaded(rig.api, 1, &outcome);
	Response *r = client_next(&first);
	cr_assert_eq(r->id, 1);
	cr_assert_eq(r->answer_case, GOT(RULES_RELOADED));
	cr_expect_eq(r->rules_reloaded->rules, 5);
	answer_free(r);
	r = client_next(&first);
	cr_assert_eq(r->id, 2);
	cr_expect_eq(r->answer_case, GOT(STATUS));
	answer_free(r);
	cr_expect_not(has_answer(&second), "it asked for the next one");
	outcome.loaded = false;
	api_rules_reloaded(rig.api, 2, &outcome);
	r = client_next(&second);
	cr_assert_eq(r->id, 3);
	cr_expect_not(r->rules_reloaded->loaded);
	answer_free(r);
	client_free(&first);
	client_free(&second);
}

Test(api, who_asked_for_a_reload_is_in_the_ledger)
{
	Isod__V1__RulesReloaded outcome = ISOD__V1__RULES_RELOADED__INIT;
	uint64_t before = officer_state(rig.officer)->access.commands;
	struct client c = client_new();
	Request q = reload_request(1);

	client_send(&c, &q);
	wait_reloads(1);
	cr_expect_eq(officer_state(rig.officer)->access.commands, before + 1);
	api_rules_reloaded(rig.api, 1, &outcome);
	answer_free(client_next(&c));
	client_free(&c);
}

Test(api, a_client_that_leaves_while_rules_are_loaded_harms_nobody)
{
	Isod__V1__RulesReloaded outcome = ISOD__V1__RULES_RELOADED__INIT;
	struct client stays = client_new(), leaves = client_new();
	Request q = reload_request(1);

	client_send(&stays, &q);
	client_send(&leaves, &q);
	wait_reloads(2);
	client_free(&leaves);
	api_rules_reloaded(rig.api, 2, &outcome);
	Response *r = client_next(&stays);
	cr_assert_eq(r->answer_case, GOT(RULES_RELOADED));
	answer_free(r);
	while (rig.api->connection_count > 1)
		turn();
	client_free(&stays);
}

Test(api, no_reload_without_a_ledger_to_note_it)
{
	struct client c = client_new();
	struct rlimit none, now;
	Request q = reload_request(1);

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &none);
	now = none;
	now.rlim_cur = 10;
	setrlimit(RLIMIT_FSIZE, &now);
	ask_error(&c, &q, ERR(UNAVAILABLE));
	cr_expect_eq(rig.reloads, 0);
	setrlimit(RLIMIT_FSIZE, &none);
	client_free(&c);
}

/* ---- stats ---- */

#define RULE(id, level)                                                                            \
	"title: rule " id "\nid: " id "\nlogsource:\n  product: linux\ndetection:\n  s:\n"         \
	"    a: b\n  condition: s\nlevel: " level "\n---\n"

static struct content *three_rules(void)
{
	const struct ruleset_options options = {0};
	struct content_parts parts = {0};
	struct diags diags;

	diags_init(&diags);
	parts.rules = load_text(RULE("one", "low") RULE("two", "high") RULE("three", "medium"),
	                        &diags, &options);
	cr_assert_eq(diags.errors, 0);
	diags_release(&diags);
	return content_new(&parts, 2);
}

Test(api, log_sources_that_report_are_told_to_who_asks)
{
	Isod__V1__RulesStatsRequest ask_for = ISOD__V1__RULES_STATS_REQUEST__INIT;
	const struct logsource_set none = {0};
	struct content *content = three_rules();
	struct client c = client_new();
	Request q = ISOD__V1__REQUEST__INIT;

	content_classified(content, 1, &none, 77);
	rig.content = content;
	q.ask_case = ASK(RULES_STATS);
	q.rules_stats = &ask_for;
	Response *r = ask(&c, &q);
	cr_expect_eq(r->rules_stats->n_log_sources, 0, "only when asked for");
	answer_free(r);
	ask_for.log_sources = true;
	r = ask(&c, &q);
	cr_assert_eq(r->rules_stats->n_log_sources, 1);
	cr_expect_str_eq(r->rules_stats->log_sources[0]->product, "");
	cr_expect_eq(r->rules_stats->log_sources[0]->events, 1);
	cr_expect_eq(r->rules_stats->log_sources[0]->last_ns, 77);
	answer_free(r);
	client_free(&c);
	content_unref(content);
}

static Response *ask_stats(struct client *c, uint32_t limit, uint32_t skip)
{
	Isod__V1__RulesStatsRequest ask_for = ISOD__V1__RULES_STATS_REQUEST__INIT;
	Request q = ISOD__V1__REQUEST__INIT;

	ask_for.limit = limit;
	ask_for.skip = skip;
	q.ask_case = ASK(RULES_STATS);
	q.rules_stats = &ask_for;
	return ask(c, &q);
}

Test(api, rules_come_by_their_cost_added_up_over_the_workers)
{
	struct content *content = three_rules();
	struct client c = client_new();

	counts_add(&content->counts[0].events, 100);
	counts_add(&content->counts[1].events, 20);
	counts_add(&content->counts[1].sampled, 3);
	counts_add(&content->counts[0].rules[1].ns, 50);
	counts_add(&content->counts[1].rules[1].ns, 25);
	counts_add(&content->counts[1].rules[1].tried, 4);
	counts_add(&content->counts[0].rules[2].ns, 60);
	counts_add(&content->counts[0].rules[2].hits, 7);
	rig.content = content;
	Response *r = ask_stats(&c, 2, 0);
	const Isod__V1__RulesStats *s = r->rules_stats;
	cr_assert_eq(r->answer_case, GOT(RULES_STATS));
	cr_assert_eq(s->n_rules, 2);
	cr_expect_str_eq(s->rules[0]->rule, "two");
	cr_expect_eq(s->rules[0]->sampled_ns, 75);
	cr_expect_eq(s->rules[0]->sampled_tries, 4);
	cr_expect_eq(s->rules[0]->level, HIGH);
	cr_expect_str_eq(s->rules[1]->title, "rule three");
	cr_expect_eq(s->rules[1]->hits, 7);
	cr_expect(s->more);
	cr_expect_eq(s->events, 120);
	cr_expect_eq(s->sampled_events, 3);
	cr_expect_eq(s->sampled_ns, 135);
	answer_free(r);
	r = ask_stats(&c, 0, 2);
	cr_assert_eq(r->rules_stats->n_rules, 1);
	cr_expect_str_eq(r->rules_stats->rules[0]->rule, "one");
	cr_expect_not(r->rules_stats->more);
	answer_free(r);
	r = ask_stats(&c, UINT32_MAX, UINT32_MAX);
	cr_expect_eq(r->rules_stats->n_rules, 0);
	cr_expect_not(r->rules_stats->more);
	answer_free(r);
	client_free(&c);
	content_unref(content);
}

Test(api, without_rules_there_are_no_stats)
{
	struct client c = client_new();
	Response *r = ask_stats(&c, 0, 0);

	cr_assert_eq(r->answer_case, GOT(ERROR));
	answer_free(r);
	client_free(&c);
}
