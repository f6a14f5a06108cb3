/* The correlations of conf/rules/README.md: each example loads, fires on its story and not on one that comes near. */
#include "sigma.h"
#include "steps.h"

#include "officer/correlate.h"

/* The rules that the examples refer to. */
static const char *const names[] = {"logon_failed", "logon",       "second_factor",
                                    "backup_begun", "backup_done", "transfer"};

struct line {
	uint64_t second;
	const char *rule, *field, *value;
	unsigned times; /* 0: once */
};

#define DAY 86400

static const struct story {
	const char *title;
	size_t fires;
	struct line lines[8];
} stories[] = {
	{"Logon after failures, without the second factor",
         1,
         {{0, "logon_failed", NULL, NULL, 0}, {600, "logon", NULL, NULL, 0}}},
	{"Logon after failures, without the second factor",
         0,
         {{0, "logon_failed", NULL, NULL, 0},
          {1, "second_factor", NULL, NULL, 0},
          {2, "logon", NULL, NULL, 0}}},
	{"Logon after failures, without the second factor",
         0,
         {{0, "logon", NULL, NULL, 0}, {1, "logon_failed", NULL, NULL, 0}}},
	{"A backup that begins but does not end", 1, {{0, "backup_begun", NULL, NULL, 0}}},
	{"A backup that begins but does not end",
         0,
         {{0, "backup_begun", NULL, NULL, 0}, {7200, "backup_done", NULL, NULL, 0}}},
	{"A backup that begins but does not end",
         1,
         {{0, "backup_begun", NULL, NULL, 0}, {7201, "backup_done", NULL, NULL, 0}}},
	{"A user logs on to a host for the first time",
         1,
         {{0, "logon", "host", "web1", 0},
          {6 * DAY, "logon", "host", "web2", 0},
          {8 * DAY, "logon", "host", "web1", 0},
          {9 * DAY, "logon", "host", "db1", 0},
          {10 * DAY, "logon", "host", "db1", 0}}},
	{"Much data in one sitting",
         1,
         {{0, "transfer", "bytes", "400000000", 0},
          {900, "transfer", "bytes", "400000000", 0},
          {1800, "transfer", "bytes", "200000001", 0}}},
	{"Much data in one sitting",
         0,
         {{0, "transfer", "bytes", "900000000", 0}, {901, "transfer", "bytes", "900000000", 0}}},
	{"Passwords are guessed", 1, {{0, "logon_failed", NULL, NULL, 100}}},
	{"Passwords are guessed", 0, {{0, "logon_failed", NULL, NULL, 9}}},
	{"Passwords are guessed",
         2,
         {{0, "logon_failed", NULL, NULL, 10},
          {3599, "logon_failed", NULL, NULL, 10},
          {3600, "logon_failed", NULL, NULL, 10}}},
};

/* The examples behind "## Correlations", as one file with the rules. Returns how many there are. */
static size_t examples(struct buf *out)
{
	static char readme[65536];
	size_t count = 0;
	FILE *f = fopen("conf/rules/README.md", "r");

	cr_assert(f);
	readme[fread(readme, 1, sizeof(readme) - 1, f)] = '\0';
	fclose(f);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		buf_printf(out,
		           "title: %s\nname: %s\nlogsource: {product: linux}\n"
		           "detection: {s: {a: x}, condition: s}\n---\n",
		           names[i], names[i]);
	const char *at = strstr(readme, "## Correlations"), *end;
	cr_assert(at);
	while ((at = strstr(at, "```yaml\n"))) {
		at += strlen("```yaml\n");
		end = strstr(at, "```");
		cr_assert(end);
		buf_printf(out, "%.*s---\n", (int)(end - at), at);
		at = end + 3;
		count++;
	}
	return count;
}

static size_t tell(struct correlate *c, const Isod__V1__Settings *s, const struct story *story,
                   const struct ruleset *set)
{
	static const struct effects none;
	const Isod__V1__Match *const *ret;
	struct world w = {0};
	size_t fired = 0;

	for (const struct line *l = story->lines; l->rule; l++) {
		for (unsigned i = 0; i < (l->times ? l->times : 1); i++) {
			w.now = T0 + l->second * NS_PER_SECOND;
			const struct step step = {
				.time_ns = w.now, .settings = s, .effects = &none};
			Isod__V1__Match *m =
				match_new(&w, l->rule, LOW, "192.0.2.1", "alice", NULL);
			match_field_add(m, l->field ? l->field : "host",
			                l->value ? l->value : "web1");
			for (size_t r = 0; r < set->count;
			     r++) /* the loader turned names into ids */
				if (str_eq(set->rules[r].name, str_of(l->rule)))
					pb_set(&m->rule, set->rules[r].id);
			fired += correlate_on_match(c, &step, m, &ret);
			match_free(m);
		}
	}
	while (correlate_next_deadline(c) != NEVER) {
		const struct step step = {
			.time_ns = correlate_next_deadline(c), .settings = s, .effects = &none};
		fired += correlate_on_clock(c, &step, &ret);
	}
	return fired;
}

Test(correlation_examples, each_fires_on_its_story_and_not_on_one_that_comes_near)
{
	static const struct ruleset_options options;
	struct diags d;
	struct buf text;
	bool told[64] = {false};

	buf_init(&text, 0);
	diags_init(&d);
	size_t count = examples(&text);
	struct ruleset *set = load_text(buf_cstr(&text), &d, &options);
	log_diags(&d);
	cr_assert_eq(d.errors + d.warnings, 0);
	cr_assert_eq(set->correlation_count, count);
	cr_assert_leq(count, ARRAY_LEN(told));
	for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
		size_t at = 0;
		while (strcmp(set->correlations[at]->title, stories[i].title) != 0)
			cr_assert_lt(++at, count, "no example is called %s", stories[i].title);
		struct correlate *c = correlate_new();
		Isod__V1__Settings s = ISOD__V1__SETTINGS__INIT;
		s.correlations = &set->correlations[at];
		s.n_correlations = 1;
		s.correlation_skew_ns = NS_PER_HOUR;
		s.correlation_lateness_ns = 5 * NS_PER_MINUTE;
		correlate_settings(c, &s);
		cr_expect_eq(tell(c, &s, &stories[i], set), stories[i].fires, "story %zu: %s", i,
		             stories[i].title);
		told[at] |= stories[i].fires > 0;
		correlate_free(c);
	}
	for (size_t i = 0; i < count; i++)
		cr_expect(told[i], "no story of %s", set->correlations[i]->title);
	ruleset_free(set);
	diags_release(&d);
	buf_release(&text);
}
