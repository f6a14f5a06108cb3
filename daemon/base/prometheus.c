#include "base/prometheus.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

static bool in_name(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
	       (!first && c >= '0' && c <= '9');
}

static void put_name(struct buf *out, const char *name)
{
	for (const char *p = name; *p; p++)
		buf_putc(out, in_name(*p, p == name) ? *p : '_');
}

/* `quote`: a label's value, else a help text. */
static void put_escaped(struct buf *out, const char *text, bool quote)
{
	for (; *text; text++) {
		if (*text == '\n')
			buf_add(out, STR("\\n"));
		else if (*text == '\\' || (quote && *text == '"'))
			buf_printf(out, "\\%c", *text);
		else
			buf_putc(out, *text);
	}
}

void prometheus_family(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_add(out, STR("# HELP "));
	put_name(out, name);
	buf_putc(out, ' ');
	put_escaped(out, help, false);
	buf_add(out, STR("\n# TYPE "));
	put_name(out, name);
	buf_printf(out, " %s\n", type);
}

static void put_series(struct buf *out, const char *name, const struct prometheus_label *labels,
                       size_t label_count)
{
	put_name(out, name);
	for (size_t i = 0; i < label_count; i++) {
		buf_putc(out, i ? ',' : '{');
		put_name(out, labels[i].name);
		buf_add(out, STR("=\""));
		put_escaped(out, labels[i].value, true);
		buf_putc(out, '"');
	}
	if (label_count)
		buf_putc(out, '}');
}

void prometheus_sample(struct buf *out, const char *name, const struct prometheus_label *labels,
                       size_t label_count, uint64_t value)
{
	put_series(out, name, labels, label_count);
	buf_printf(out, " %" PRIu64 "\n", value);
}

void prometheus_seconds(struct buf *out, const char *name, const struct prometheus_label *labels,
                        size_t label_count, int64_t ns)
{
	uint64_t size = ns < 0 ? (uint64_t)0 - (uint64_t)ns : (uint64_t)ns;

	put_series(out, name, labels, label_count);
	buf_printf(out, " %s%" PRIu64 ".%09" PRIu64 "\n", ns < 0 ? "-" : "",
	           size / UINT64_C(1000000000), size % UINT64_C(1000000000));
}

/* Nanoseconds as seconds without zeros behind: "0.0025", "60". */
static char *bound_text(uint64_t ns, char *out, size_t size)
{
	int n = snprintf(out, size, "%" PRIu64 ".%09" PRIu64, ns / UINT64_C(1000000000),
	                 ns % UINT64_C(1000000000));

	while (n > 0 && out[n - 1] == '0')
		out[--n] = '\0';
	if (n > 0 && out[n - 1] == '.')
		out[--n] = '\0';
	return out;
}

static void put_suffixed(struct buf *out, const char *name, const char *suffix)
{
	put_name(out, name);
	buf_add(out, str_of(suffix));
}

void prometheus_histogram(struct buf *out, const char *name, const uint64_t *bounds_ns,
                          const uint64_t *counts, size_t bound_count, uint64_t sum_ns)
{
	uint64_t all = 0;
	char bound[32];

	for (size_t i = 0; i <= bound_count; i++) {
		all += counts[i];
		put_suffixed(out, name, "_bucket");
		buf_printf(out, "{le=\"%s\"} %" PRIu64 "\n",
		           i < bound_count ? bound_text(bounds_ns[i], bound, sizeof(bound))
		                           : "+Inf",
		           all);
	}
	put_suffixed(out, name, "_sum");
	buf_printf(out, " %" PRIu64 ".%09" PRIu64 "\n", sum_ns / UINT64_C(1000000000),
	           sum_ns % UINT64_C(1000000000));
	put_suffixed(out, name, "_count");
	buf_printf(out, " %" PRIu64 "\n", all);
}
