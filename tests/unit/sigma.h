/* What the tests of sigma/ share: rules from text, events from JSON through the real decoder. */
#ifndef TEST_SIGMA_H
#define TEST_SIGMA_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "event/decode.h"
#include "sigma/match.h"

/* Loads `text` as one file; its path is in `path` afterwards ("x.yml" at its end). */
static inline struct ruleset *load_text(const char *text, struct diags *diags,
                                        const struct ruleset_options *options)
{
	char dir[] = "/tmp/isod-sigma-XXXXXX";
	struct ruleset *set = NULL;

	cr_assert(mkdtemp(dir));
	char *path = xasprintf("%s/x.yml", dir);
	const char *paths[] = {path};
	cr_assert_eq(path_write_atomic(path, str_of(text), 0600), 0);
	cr_assert_eq(ruleset_load_with(paths, 1, options, diags, &set), 0);
	unlink(path);
	rmdir(dir);
	free(path);
	return set;
}

/* A whole rule around a detection (its lines are indented by two). */
static inline char *rule_text(const char *detection)
{
	return xasprintf("title: t\nid: 00000000-0000-4000-8000-000000000000\n"
	                 "logsource:\n  product: linux\ndetection:\n%s",
	                 detection);
}

static inline void log_diags(const struct diags *d)
{
	for (size_t i = 0; i < d->count; i++) {
		char line[512];
		fprintf(stderr, "%s\n", diag_format(&d->items[i], line, sizeof(line)));
	}
}

/* True if the rule with that detection holds for the event; the rule must load without an error. */
static inline bool holds_with(const char *detection, const char *json,
                              const struct ruleset_options *options)
{
	struct diags diags;
	struct event e;
	const struct rule *const *hits;
	char *text = rule_text(detection);

	diags_init(&diags);
	struct ruleset *set = load_text(text, &diags, options);
	if (diags.errors)
		log_diags(&diags);
	cr_assert_eq(diags.errors, 0, "%s", detection);
	cr_assert_eq(set->count, 1);
	struct decoder *decoder = decoder_new(NULL);
	struct matcher *m = matcher_new(set);
	event_setup(&e);
	event_reset(&e);
	event_decode(decoder, &e, str_of(json));
	size_t n = matcher_run(m, &e, NULL, &hits);
	/* A second time, with what the first one left behind. */
	cr_assert_eq(matcher_run(m, &e, NULL, &hits), n);
	event_release(&e);
	matcher_free(m);
	decoder_free(decoder);
	ruleset_free(set);
	diags_release(&diags);
	free(text);
	return n == 1;
}

static inline bool holds(const char *detection, const char *json)
{
	const struct ruleset_options options = {0};

	return holds_with(detection, json, &options);
}

struct match_case {
	const char *detection, *json;
	bool holds;
};

static inline void check_cases(const struct match_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		cr_expect_eq(holds(cases[i].detection, cases[i].json), cases[i].holds,
		             "%s\non %s: should %s", cases[i].detection, cases[i].json,
		             cases[i].holds ? "hold" : "not hold");
}

/* What is wrong with a text that is to be refused: error `i` as "LINE:COLUMN TEXT". */
struct error_case {
	const char *text;
	int line, column;
	const char *part; /* of the message */
};

static inline void check_errors(const struct error_case *cases, size_t count, bool detection)
{
	for (size_t i = 0; i < count; i++) {
		const struct ruleset_options options = {0};
		struct diags d;
		bool found = false;
		char *text = detection ? rule_text(cases[i].text) : xstrdup(cases[i].text);

		diags_init(&d);
		struct ruleset *set = load_text(text, &d, &options);
		cr_expect_geq(d.errors, 1, "%s: no error", cases[i].text);
		for (size_t j = 0; j < d.count; j++)
			found |= d.items[j].severity == DIAG_ERROR &&
			         d.items[j].line == cases[i].line + (detection ? 5 : 0) &&
			         d.items[j].column == cases[i].column &&
			         strstr(d.items[j].text, cases[i].part);
		cr_expect(found, "%s: not told: %d:%d %s", cases[i].text,
		          cases[i].line + (detection ? 5 : 0), cases[i].column, cases[i].part);
		if (!found)
			log_diags(&d);
		cr_expect_eq(set->count, 0, "%s: loaded all the same", cases[i].text);
		ruleset_free(set);
		diags_release(&d);
		free(text);
	}
}

#endif
