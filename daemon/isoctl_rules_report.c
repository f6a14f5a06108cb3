#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "isoctl_rules.h"
#include "isoctl_rules_test.h"
#include "isoctl_table.h"

#define FRAME_CELLS 160 /* of a frame that is shown */

struct totals {
	uint64_t rules, untested, cases, failed_rules, failed;
};

static struct totals add_up(const struct test_report *r)
{
	struct totals t = {.rules = r->count};

	for (size_t i = 0; i < r->count; i++) {
		t.untested += r->suites[i].count == 0;
		t.cases += r->suites[i].count;
		t.failed_rules += r->suites[i].failed > 0;
		t.failed += r->suites[i].failed;
	}
	return t;
}

/* ---- text ---- */

static void print_safe(const char *before, struct str text, const char *after)
{
	char *copy = xstrndup(text.p, text.n);
	struct buf safe;

	buf_init(&safe, 0);
	table_safe(&safe, copy, FRAME_CELLS);
	printf("%s%s%s", before, buf_cstr(&safe), after);
	buf_release(&safe);
	free(copy);
}

static void print_suite(const struct test_suite *s)
{
	print_safe(s->failed ? "FAIL  " : "pass  ", s->title, "");
	printf("  (%zu of %zu)\n", s->count - s->failed, s->count);
	for (size_t i = 0; i < s->count; i++) {
		const struct test_case *c = &s->cases[i];
		if (!c->why)
			continue;
		printf("      %s:%d: %s: %s\n", c->file, c->line, c->name, c->why);
		if (c->frame)
			print_safe("        ", str_of(c->frame), "\n");
	}
}

void report_print(const struct test_report *r)
{
	struct totals t = add_up(r);

	for (size_t i = 0; i < r->count; i++)
		if (r->suites[i].count)
			print_suite(&r->suites[i]);
	printf("%llu rules: %llu passed, %llu failed, %llu without tests; %llu tests, %llu "
	       "failed\n",
	       (unsigned long long)t.rules,
	       (unsigned long long)(t.rules - t.untested - t.failed_rules),
	       (unsigned long long)t.failed_rules, (unsigned long long)t.untested,
	       (unsigned long long)t.cases, (unsigned long long)t.failed);
}

/* ---- JSON ---- */

static void print_suite_json(const struct test_suite *s)
{
	Isod__V1__RuleTest m = ISOD__V1__RULE_TEST__INIT;
	Isod__V1__RuleTestFailure *failures = xcalloc(s->failed, sizeof(*failures));

	m.rule = (char *)(uintptr_t)s->id.p;
	m.title = (char *)(uintptr_t)s->title.p;
	m.file = (char *)(uintptr_t)(s->file ? s->file : "");
	m.tests = s->count;
	m.failures = xcalloc(s->failed, sizeof(*m.failures));
	for (size_t i = 0; i < s->count; i++) {
		const struct test_case *c = &s->cases[i];
		if (!c->why)
			continue;
		Isod__V1__RuleTestFailure *f = &failures[m.n_failures];
		isod__v1__rule_test_failure__init(f);
		f->test = c->name;
		f->file = c->file;
		f->line = (uint32_t)c->line;
		f->why = c->why;
		if (c->frame)
			f->frame = c->frame;
		m.failures[m.n_failures++] = f;
	}
	output_json(&m.base);
	free(m.failures);
	free(failures);
}

void report_print_json(const struct test_report *r)
{
	Isod__V1__RuleTestTotals m = ISOD__V1__RULE_TEST_TOTALS__INIT;
	struct totals t = add_up(r);

	for (size_t i = 0; i < r->count; i++)
		print_suite_json(&r->suites[i]);
	m.rules = t.rules;
	m.untested = t.untested;
	m.failed_rules = t.failed_rules;
	m.tests = t.cases;
	m.failed = t.failed;
	output_json(&m.base);
}

/* ---- XML ---- */

/* Text for an attribute or an element: XML 1.0 has no way to write most control characters, nor what is no character. */
static void add_xml(struct buf *out, struct str s)
{
	static const struct {
		char c;
		const char *entity;
	} entities[] = {{'&', "&amp;"}, {'<', "&lt;"},   {'>', "&gt;"},  {'"', "&quot;"},
	                {'\t', "&#9;"}, {'\n', "&#10;"}, {'\r', "&#13;"}};

	for (size_t n; s.n; s = str_skip(s, n)) {
		const char *entity = NULL;
		n = utf8_sequence(s);
		for (size_t i = 0; i < ARRAY_LEN(entities); i++)
			if (s.p[0] == entities[i].c)
				entity = entities[i].entity;
		bool barred = n == 0 || (unsigned char)s.p[0] < 0x20 ||
		              str_starts(s, STR("\xef\xbf\xbe")) ||
		              str_starts(s, STR("\xef\xbf\xbf"));
		if (entity)
			buf_add(out, str_of(entity));
		else if (barred)
			buf_add(out, STR("\xef\xbf\xbd"));
		else
			buf_append(out, s.p, n);
		n = n ? n : 1;
	}
}

static void add_attribute(struct buf *out, const char *name, struct str value)
{
	buf_printf(out, " %s=\"", name);
	add_xml(out, value);
	buf_putc(out, '"');
}

static void add_case(struct buf *out, const struct test_suite *s, const struct test_case *c)
{
	buf_printf(out, "    <testcase");
	add_attribute(out, "classname", s->title);
	add_attribute(out, "name", str_of(c->name));
	add_attribute(out, "file", str_of(c->file));
	buf_printf(out, " line=\"%d\"", c->line);
	if (!c->why) {
		buf_printf(out, "/>\n");
		return;
	}
	buf_printf(out, "><failure");
	add_attribute(out, "message", str_of(c->why));
	buf_putc(out, '>');
	if (c->frame)
		add_xml(out, str_of(c->frame));
	buf_printf(out, "</failure></testcase>\n");
}

static void add_suite(struct buf *out, const struct test_suite *s)
{
	buf_printf(out, "  <testsuite");
	add_attribute(out, "name", s->title);
	add_attribute(out, "id", s->id);
	buf_printf(out, " tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"0\">\n", s->count,
	           s->failed);
	for (size_t i = 0; i < s->count; i++)
		add_case(out, s, &s->cases[i]);
	buf_printf(out, "  </testsuite>\n");
}

int report_write_junit(const struct test_report *r, const char *file)
{
	struct totals t = add_up(r);
	FILE *out = fopen(file, "we");
	struct buf text;
	int error = 0;

	if (!out)
		return -errno;
	buf_init(&text, 0);
	buf_printf(&text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	buf_printf(&text,
	           "<testsuites name=\"isoctl rules test\" tests=\"%llu\" failures=\"%llu\">\n",
	           (unsigned long long)t.cases, (unsigned long long)t.failed);
	for (size_t i = 0; i < r->count; i++)
		if (r->suites[i].count)
			add_suite(&text, &r->suites[i]);
	buf_printf(&text, "</testsuites>\n");
	if (fwrite(text.p, 1, text.n, out) != text.n)
		error = -EIO;
	if (fclose(out) != 0 && error == 0)
		error = -errno;
	buf_release(&text);
	return error;
}
