/* The Prometheus text: its format, the account in it, and how many sources it tells apart. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/prometheus.h"
#include "view/metrics.h"

typedef Isod__V1__SourceStatus Source;

static bool has(struct buf *out, const char *line)
{
	char *text = xasprintf("\n%s\n", line);
	bool found = strstr(buf_cstr(out), text) != NULL;

	free(text);
	return found;
}

Test(metrics, names_labels_and_help_are_escaped)
{
	const struct prometheus_label labels[] = {{"so urce", "a\"b\\c\nd"}, {"b", ""}};
	struct buf out;

	buf_init(&out, 0);
	prometheus_family(&out, "9 view.refused", "gauge", "one\ntwo \\ \"three\"");
	prometheus_sample(&out, "9 view.refused", labels, 2, UINT64_MAX);
	prometheus_sample(&out, "x", NULL, 0, 0);
	prometheus_seconds(&out, "x", NULL, 0, -1500000000);
	prometheus_seconds(&out, "x", NULL, 0, INT64_MIN);
	cr_assert_str_eq(buf_cstr(&out),
	                 "# HELP __view_refused one\\ntwo \\\\ \"three\"\n"
	                 "# TYPE __view_refused gauge\n"
	                 "__view_refused{so_urce=\"a\\\"b\\\\c\\nd\",b=\"\"} 18446744073709551615\n"
	                 "x 0\nx -1.500000000\nx -9223372036.854775808\n");
	buf_release(&out);
}

/* received 10 + 4 + 5, unless told otherwise */
static void source_init(Source *s, char *name)
{
	isod__v1__source_status__init(s);
	s->source = name;
	s->received = 19;
	s->matched = 1;
	s->unmatched = 2;
	s->undecoded = 7;
	s->refused = 4;
	s->refused_framing = 3;
	s->shed = 5;
	s->shed_kernel = 5;
	s->bytes = 1000;
	s->last_received_ns = UINT64_C(1700000000000000000);
	s->clock_skew_ns = -2000000000;
}

Test(metrics, a_source_tells_what_became_of_each_frame_and_why)
{
	Isod__V1__Status status = ISOD__V1__STATUS__INIT;
	Source source, *sources[] = {&source};
	char name[] = "tls/192.0.2.1";
	struct buf out;

	source_init(&source, name);
	status.sources = sources;
	status.n_sources = 1;
	cr_assert_eq(metrics_difference(&source), 0);
	buf_init(&out, 0);
	metrics_render(&out, &status, 10);
	cr_assert(has(&out, "isod_source_received_total{source=\"tls/192.0.2.1\"} 19"));
	cr_assert(
		has(&out,
	            "isod_source_events_total{source=\"tls/192.0.2.1\",outcome=\"undecoded\"} 7"));
	cr_assert(has(&out,
	              "isod_source_refused_total{source=\"tls/192.0.2.1\",reason=\"framing\"} 3"));
	cr_assert(has(&out,
	              "isod_source_refused_total{source=\"tls/192.0.2.1\",reason=\"unknown\"} 1"),
	          "what an older isod counted without a reason");
	cr_assert(
		has(&out, "isod_source_shed_total{source=\"tls/192.0.2.1\",reason=\"kernel\"} 5"));
	cr_assert(has(&out, "isod_source_lag_seconds{source=\"tls/192.0.2.1\"} -2.000000000"));
	cr_assert(has(&out, "isod_account_difference 0"));
	cr_assert_null(strstr(buf_cstr(&out), "reason=\"empty\""));
	buf_release(&out);
}

Test(metrics, an_account_that_does_not_close_says_by_how_much)
{
	Isod__V1__Status status = ISOD__V1__STATUS__INIT;
	Source a, b, *sources[] = {&a, &b};
	char name_a[] = "tls/a", name_b[] = "tls/b";
	struct buf out;

	source_init(&a, name_a);
	source_init(&b, name_b);
	a.received += 3;
	b.received -= 5;
	cr_assert_eq(metrics_difference(&a), 3);
	cr_assert_eq(metrics_difference(&b), -5);
	status.sources = sources;
	status.n_sources = 2;
	buf_init(&out, 0);
	metrics_render(&out, &status, 10);
	cr_assert(has(&out, "isod_account_difference -2"));
	buf_release(&out);
}

Test(metrics, sources_past_the_limit_are_added_up)
{
	enum { SOURCES = 5 };
	Isod__V1__Status status = ISOD__V1__STATUS__INIT;
	Source all[SOURCES], *sources[SOURCES];
	char names[SOURCES][16];
	struct buf out;

	for (size_t i = 0; i < SOURCES; i++) {
		snprintf(names[i], sizeof(names[i]), "udp/%zu", i);
		source_init(&all[i], names[i]);
		all[i].last_received_ns += i;
		sources[i] = &all[i];
	}
	status.sources = sources;
	status.n_sources = SOURCES;
	for (size_t max = 0; max <= SOURCES; max++) {
		char *line = xasprintf("isod_source_received_total{source=\"(other)\"} %zu",
		                       19 * (SOURCES - max));
		buf_init(&out, 0);
		metrics_render(&out, &status, max);
		cr_assert_eq(has(&out, line), max < SOURCES, "%zu", max);
		cr_assert_eq(strstr(buf_cstr(&out), "\"udp/4\"") != NULL, max == SOURCES);
		cr_assert_eq(strstr(buf_cstr(&out), "\"udp/0\"") != NULL, max > 0);
		buf_release(&out);
		free(line);
	}
}
