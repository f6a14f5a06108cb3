#include "base/prometheus.h"

#include <inttypes.h>
#include <stdbool.h>

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
