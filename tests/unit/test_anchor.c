/* Anchors: signed lines of the ledger's head, and what they find that the chain alone cannot. */
#include "segment_rig.h"

#include "log/anchor.h"

TestSuite(anchor, .init = begin, .fini = end);

#define MINUTE UINT64_C(60000000000)

static char *private_path, *public_path, *file;
static struct sign_key *key;

/* The keys and the file stand beside the log's folder. */
static void open_key(void)
{
	private_path = xasprintf("%s.key", dir);
	public_path = xasprintf("%s.pub", dir);
	file = xasprintf("%s.anchors", dir);
	cr_assert_eq(sign_key_open(private_path, public_path, &key), 0);
}

static void close_key(void)
{
	sign_key_free(key);
	free(private_path);
	free(public_path);
	free(file);
}

static void anchor_now(void)
{
	struct segment_report report;
	char line[ANCHOR_LINE_MAX];

	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), 0, "%s", report.error);
	int n = anchor_line(key, "test", report.last, report.last * MINUTE, report.chain, line);
	cr_assert_gt(n, 0);
	cr_assert_eq(anchor_append(file, str_make(line, (size_t)n)), 0);
}

static struct anchor_report held_against(bool own, int expected)
{
	struct anchor_report report;

	int r = anchors_prove(dir, file, public_path, own, &report);
	cr_assert_eq(r, expected, "%d: %s", r, report.error);
	cr_assert_eq(r == 0, report.error[0] == '\0');
	return report;
}

Test(anchor, keys_are_made_once_and_stay)
{
	struct stat st;
	struct sign_key *again = NULL;
	uint8_t a[SIGNATURE_BYTES], b[SIGNATURE_BYTES];

	open_key();
	cr_assert_eq(stat(private_path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(sign_key_open(private_path, public_path, &again), 0);
	cr_assert_eq(sign(key, STR("x"), a), 0);
	cr_assert_eq(sign(again, STR("x"), b), 0);
	cr_assert_arr_eq(a, b, sizeof(a), "Ed25519 is deterministic: the same key");
	cr_assert_eq(sign_verify(again, STR("x"), a), 0);
	cr_assert_eq(sign_verify(again, STR("y"), a), -EBADMSG);
	a[5] ^= 1;
	cr_assert_eq(sign_verify(again, STR("x"), a), -EBADMSG);
	sign_key_free(again);
	again = NULL;
	put_path(public_path, STR("no key"));
	cr_assert_eq(sign_key_public(public_path, &again), -EBADMSG);
	put_path(private_path, STR(""));
	cr_assert_eq(sign_key_open(private_path, public_path, &again), -EBADMSG);
	cr_assert_null(again);
	cr_assert_eq(sign_key_public("/nonexistent", &again), -ENOENT);
	close_key();
}

Test(anchor, a_ledger_that_grew_agrees_with_all_its_anchors)
{
	open_key();
	for (int i = 0; i < 5; i++) {
		fill(SEGMENT_LEDGER, 3, 4, 500);
		anchor_now();
	}
	pack_all(SEGMENT_LEDGER);
	struct anchor_report report = held_against(true, 0);
	cr_assert_eq(report.proven, 5);
	close_key();
}

Test(anchor, a_ledger_rewritten_as_a_whole_is_found)
{
	open_key();
	fill(SEGMENT_LEDGER, 3, 4, 500);
	anchor_now();
	fill(SEGMENT_LEDGER, 3, 4, 500);
	anchor_now();
	/* Another one of the same length, sound in itself. */
	folder_remove(dir);
	struct segment_log *l = open_log(SEGMENT_LEDGER, 500);
	for (int i = 0; i < 24; i++) {
		struct str body = STR("nothing happened");
		segment_append(l, 1, &body, 1);
	}
	segment_close(l);
	struct segment_report sound;
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &sound), 0);
	struct anchor_report report = held_against(true, -EBADMSG);
	cr_assert(
		strstr(report.error, "sequence 12: the ledger is not the one that was anchored ("),
		"%s", report.error);
	cr_assert_eq(report.proven, 0);
	close_key();
}

Test(anchor, a_ledger_cut_at_its_end_is_found)
{
	char *aside = NULL;

	open_key();
	fill(SEGMENT_LEDGER, 3, 4, 1 << 20);
	anchor_now();
	fill(SEGMENT_LEDGER, 1, 4, 1 << 20);
	anchor_now();
	cr_assert_eq(segment_cut(dir, SEGMENT_LEDGER, 14, &aside, error, sizeof(error)), 0);
	struct anchor_report report = held_against(true, -EBADMSG);
	cr_assert(strstr(report.error, "ends with sequence 14, but sequence 16 was anchored ("),
	          "%s", report.error);
	cr_assert(strstr(report.error, file) && strstr(report.error, ": line 2)"), "%s",
	          report.error);
	cr_assert_eq(report.proven, 1);
	free(aside);
	close_key();
}

Test(anchor, a_changed_anchor_is_found_wherever)
{
	struct anchor a;
	char line[ANCHOR_LINE_MAX];
	const uint8_t head[SHA256_BYTES] = {1, 2, 3};

	open_key();
	int n = anchor_line(key, "node-1.example", 77, 5 * MINUTE, head, line);
	cr_assert_gt(n, 0);
	struct str whole = str_make(line, (size_t)n - 1);
	cr_assert_eq(anchor_parse(whole, key, &a), 0);
	cr_assert_eq(a.sequence, 77);
	cr_assert_arr_eq(a.head, head, sizeof(head));
	for (size_t i = 0; i < whole.n; i++) {
		line[i] ^= 1;
		cr_assert_lt(anchor_parse(whole, key, &a), 0, "byte %zu", i);
		line[i] ^= 1;
		cr_assert_lt(anchor_parse(str_head(whole, i), key, &a), 0);
	}
	char long_name[600];
	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	cr_assert_eq(anchor_line(key, long_name, 77, 1, head, line), -ENAMETOOLONG);
	close_key();
}

/* The two lines of the file's anchors. */
static struct buf two_anchors(struct str *ret_first, struct str *ret_second)
{
	fill(SEGMENT_LEDGER, 3, 4, 500);
	anchor_now();
	fill(SEGMENT_LEDGER, 3, 4, 500);
	anchor_now();
	struct buf lines = path_content(file);
	struct str rest = buf_str(&lines);
	*ret_first = str_split(&rest, '\n');
	*ret_second = str_split(&rest, '\n');
	return lines;
}

/* In any order, with text in front. */
Test(anchor, they_are_found_among_the_lines_of_a_syslog)
{
	struct str first, second;
	struct buf text;

	open_key();
	struct buf lines = two_anchors(&first, &second);
	buf_init(&text, 0);
	buf_printf(&text,
	           "Nov 23 18:00:00 host isod[7]: %.*s\r\nsomething else\n"
	           "Nov 23 17:00:00 host isod[7]: %.*s\n\n",
	           (int)second.n, second.p, (int)first.n, first.p);
	put_path(file, buf_str(&text));
	struct anchor_report report = held_against(false, 0);
	cr_assert_eq(report.proven, 2);
	cr_assert_eq(report.others, 2);
	report = held_against(true, -EBADMSG);
	cr_assert(strstr(report.error, ": line 1: this is no anchor"), "%s", report.error);
	buf_release(&text);
	buf_release(&lines);
	close_key();
}

/* Whatever is changed in a line is told, with file and line; no changed anchor passes for none. */
Test(anchor, a_changed_line_is_named)
{
	struct str first, second;
	char where[600];

	open_key();
	struct buf lines = two_anchors(&first, &second);
	snprintf(where, sizeof(where), "%s: line 2: ", file);
	for (size_t at = first.n + 1; at + 1 < lines.n; at++) {
		lines.p[at] ^= 2;
		put_path(file, buf_str(&lines));
		int expected = anchor_parse(second, key, &(struct anchor){0});
		cr_assert(expected == -EBADMSG || expected == -EKEYREJECTED, "byte %zu", at);
		struct anchor_report report = held_against(true, expected);
		cr_assert(strstr(report.error, where), "%s", report.error);
		/* In a syslog a line that does not even begin like an anchor is one of the others. */
		if (at >= first.n + 1 + strlen("isod-anchor-1 "))
			held_against(false, expected);
		lines.p[at] ^= 2;
	}
	buf_release(&lines);
	close_key();
}

/* A crash leaves a piece of a last line: told, and cut off by the next one. Cut short inside the file it is damage. */
Test(anchor, a_torn_line_is_told_and_goes_away)
{
	struct str first, second;
	struct buf text;

	open_key();
	struct buf lines = two_anchors(&first, &second);
	for (size_t n = first.n + 2; n <= lines.n - 2; n += 7) {
		put_path(file, str_head(buf_str(&lines), n));
		struct anchor_report report = held_against(true, 0);
		cr_assert_eq(report.proven, 1);
		cr_assert_eq(report.torn, 2);
	}
	put_path(file, str_head(buf_str(&lines), first.n + 100));
	anchor_now();
	struct anchor_report report = held_against(true, 0);
	cr_assert_eq(report.proven, 2);
	cr_assert_eq(report.torn, 0);
	buf_init(&text, 0);
	buf_printf(&text, "%.*s\n%.*s\n", 100, first.p, (int)second.n, second.p);
	put_path(file, buf_str(&text));
	report = held_against(true, -EBADMSG);
	cr_assert(strstr(report.error, ": line 1: this is no anchor"), "%s", report.error);
	/* Nothing but a piece, as the first one ever leaves it; and zeros, as a power cut does. */
	put_path(file, str_head(first, 60));
	held_against(true, -ENODATA);
	buf_reset(&text);
	buf_add(&text, first);
	buf_add(&text, STR("\n\0\0\0\0\0\0\0\0"));
	put_path(file, buf_str(&text));
	report = held_against(true, 0);
	cr_assert_eq(report.torn, 2);
	anchor_now();
	cr_assert_eq(held_against(true, 0).proven, 2);
	buf_release(&text);
	buf_release(&lines);
	close_key();
}

/* ---- a ledger whose beginning retention took ---- */

static void remove_oldest(unsigned count)
{
	struct segment_info info;

	while (count--) {
		cr_assert_eq(segment_oldest(dir, SEGMENT_LEDGER, &info), 1);
		cr_assert_eq(segment_remove(dir, SEGMENT_LEDGER, &info, error, sizeof(error)), 0);
	}
}

Test(anchor, a_beginning_that_was_removed_is_proven_by_what_stands_behind_it)
{
	open_key();
	for (int i = 0; i < 6; i++) {
		fill(SEGMENT_LEDGER, 3, 4, 500);
		anchor_now();
	}
	remove_oldest(3);
	uint64_t first = segment_at(0);
	struct anchor_report report = held_against(true, 0);
	cr_assert_eq(report.first, first);
	cr_assert_eq(report.before + report.proven, 6);
	cr_assert(report.before > 0 && report.behind >= first - 1, "%llu",
	          (unsigned long long)report.behind);
	close_key();
}

/* The anchor of the last record that was removed: it is the chain value that the rest begins with. */
Test(anchor, the_anchor_right_before_the_beginning_counts)
{
	char line[ANCHOR_LINE_MAX];
	struct segment_report report;

	open_key();
	fill(SEGMENT_LEDGER, 1, 4, 100); /* the segment is full, the next one is begun */
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &report), 0);
	cr_assert_eq(report.last, 4);
	anchor_now();
	fill(SEGMENT_LEDGER, 1, 4, 1 << 20);
	remove_oldest(1);
	cr_assert_eq(segment_at(0), 5);
	struct anchor_report found = held_against(true, 0);
	cr_assert_eq(found.behind, 4);
	cr_assert_eq(found.proven, 1);
	/* Signed, but of another ledger. */
	report.chain[0] ^= 1;
	int n = anchor_line(key, "test", 4, MINUTE, report.chain, line);
	cr_assert_eq(anchor_append(file, str_make(line, (size_t)n)), 0);
	found = held_against(true, -EBADMSG);
	cr_assert(strstr(found.error, "sequence 4: the ledger is not the one"), "%s", found.error);
	close_key();
}

/* Who makes up a ledger that begins behind everything that was anchored gets no further with it. */
Test(anchor, a_ledger_behind_all_anchors_is_not_proven)
{
	open_key();
	fill(SEGMENT_LEDGER, 1, 3, 500);
	anchor_now();
	fill(SEGMENT_LEDGER, 8, 4, 500);
	remove_oldest(2);
	cr_assert_gt(segment_at(0), 4);
	struct segment_report sound;
	cr_assert_eq(segment_verify(dir, SEGMENT_LEDGER, &sound), 0, "%s", sound.error);
	struct anchor_report found = held_against(true, -EBADMSG);
	cr_assert(strstr(found.error, "begins behind all that was anchored (up to 3 in"), "%s",
	          found.error);
	close_key();
}
