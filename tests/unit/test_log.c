/* isod's own log: escaping, levels, the limit of one call site and the count of what it held back. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/utf8.h"

static void expect_escaped(struct str in, const char *want)
{
	char out[200];

	cr_assert_eq(log_escape(in, out, sizeof(out)), out);
	cr_assert_str_eq(out, want);
}

Test(log, control_characters_and_invalid_utf8_are_escaped)
{
	expect_escaped(STR(""), "");
	expect_escaped(STR_NONE, "");
	expect_escaped(STR("plain text"), "plain text");
	expect_escaped(STR("a\nb\tc\0d\x7f"), "a\\x0ab\\x09c\\x00d\\x7f");
	expect_escaped(STR("\x1b[2J"), "\\x1b[2J");
	expect_escaped(STR("\xc2\x9b"), "\\xc2\\x9b");
	expect_escaped(STR("gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac"),
	               "gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac");
	expect_escaped(STR("\xff\xe2\x82 x"), "\\xff\\xe2\\x82 x");
	expect_escaped(STR("\xed\xa0\x80"), "\\xed\\xa0\\x80");
}

Test(log, what_does_not_fit_is_cut_at_a_whole_character)
{
	char in[64], out[64];

	for (size_t i = 0; i + 3 <= sizeof(in); i += 3)
		memcpy(in + i, i % 2 ? "\xe2\x82\xac" : "ab\x01", 3);
	for (size_t size = 0; size <= sizeof(out); size++) {
		memset(out, '#', sizeof(out));
		log_escape(str_make(in, 63), out, size);
		for (size_t i = size; i < sizeof(out); i++)
			cr_assert_eq(out[i], '#', "nothing is written past %zu bytes", size);
		if (size == 0)
			continue;
		cr_assert_not_null(memchr(out, '\0', size));
		cr_assert(utf8_valid(str_of(out)), "%zu bytes", size);
		if (size >= 4)
			cr_assert(str_ends(str_of(out), STR("…")), "%zu bytes", size);
	}
}

/* Standard error of what `speak` logs. */
static void captured(void (*speak)(void), struct buf *out)
{
	char path[] = "/tmp/isod-log-XXXXXX";
	int fd = mkstemp(path), before = dup(STDERR_FILENO);
	char chunk[4096];
	ssize_t n;

	unlink(path);
	dup2(fd, STDERR_FILENO);
	speak();
	dup2(before, STDERR_FILENO);
	close(before);
	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		buf_append(out, chunk, (size_t)n);
	close(fd);
}

static size_t lines(const struct buf *b)
{
	size_t count = 0;

	for (size_t i = 0; i < b->n; i++)
		count += b->p[i] == '\n';
	return count;
}

static void speak_at_all_levels(void)
{
	log_setup(LOG_TO_STDERR, LOG_NOTICE, "tester");
	log_error("first %d", 1);
	log_warning("line\nbreak %s", "\x1b");
	log_notice("third");
	log_info("too quiet");
	log_debug("too quiet");
}

Test(log, one_line_a_call_with_level_and_name)
{
	struct buf out;

	buf_init(&out, 0);
	captured(speak_at_all_levels, &out);
	cr_assert_eq(lines(&out), 3, "%s", buf_cstr(&out));
	cr_assert_geq(str_search(buf_str(&out), STR(" tester error: first 1\n")), 0);
	cr_assert_geq(str_search(buf_str(&out), STR(" tester warning: line\\x0abreak \\x1b\n")), 0);
	cr_assert_geq(str_search(buf_str(&out), STR(" tester notice: third\n")), 0);
	buf_release(&out);
}

static void flood(void)
{
	static struct log_site site;

	log_setup(LOG_TO_STDERR, LOG_INFO, "tester");
	for (int i = 0; i < 1000; i++)
		log_at(&site, LOG_WARNING, "again and again");
	site.window_start = 1; /* long ago */
	log_at(&site, LOG_WARNING, "later");
	static struct log_site other;
	log_at(&other, LOG_WARNING, "another site");
}

Test(log, a_flood_is_held_back_counted_and_harms_no_other_site)
{
	struct buf out;
	char want[100];

	buf_init(&out, 0);
	captured(flood, &out);
	cr_assert_eq(lines(&out), LOG_BURST + 3, "%s", buf_cstr(&out));
	snprintf(want, sizeof(want), "(%d more lines", 1000 - LOG_BURST);
	cr_assert_geq(str_search(buf_str(&out), str_of(want)), 0, "%s", buf_cstr(&out));
	cr_assert_geq(str_search(buf_str(&out), STR("another site")), 0);
	buf_release(&out);
}

static void speak_long(void)
{
	char text[10000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_setup(LOG_TO_STDERR, LOG_INFO, "tester");
	log_info("%s", text);
}

Test(log, a_long_line_is_cut)
{
	struct buf out;

	buf_init(&out, 0);
	captured(speak_long, &out);
	cr_assert_eq(lines(&out), 1);
	cr_assert_lt(out.n, 3000);
	buf_release(&out);
}
