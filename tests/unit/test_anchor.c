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

static struct anchor_report held_against(int expected)
{
	struct sign_key *public = NULL;
	struct anchor *anchors = NULL;
	struct anchor_report report;
	size_t count = 0;

	cr_assert_eq(sign_key_public(public_path, &public), 0);
	cr_assert_eq(anchor_load(file, public, &anchors, &count, error, sizeof(error)), 0, "%s",
	             error);
	int r = anchor_verify(dir, anchors, count, &report);
	cr_assert_eq(r, expected, "%d: %s", r, report.error);
	free(anchors);
	sign_key_free(public);
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
	struct anchor_report report = held_against(0);
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
	struct anchor_report report = held_against(-EBADMSG);
	cr_assert(strstr(report.error,
	                 "sequence 12: the ledger is not the one that was anchored (line 1"),
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
	struct anchor_report report = held_against(-EBADMSG);
	cr_assert(
		strstr(report.error, "ends with sequence 14, but sequence 16 was anchored (line 2"),
		"%s", report.error);
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

/* From a syslog, with other lines and in any order; a line that a crash cut short is none. */
Test(anchor, they_are_found_among_other_lines)
{
	struct buf text;
	struct anchor *anchors = NULL;
	size_t count;

	open_key();
	fill(SEGMENT_LEDGER, 3, 4, 500);
	anchor_now();
	fill(SEGMENT_LEDGER, 3, 4, 500);
	anchor_now();
	struct buf lines = path_content(file);
	struct str rest = buf_str(&lines), first = str_split(&rest, '\n'),
		   second = str_split(&rest, '\n');
	buf_init(&text, 0);
	buf_printf(&text,
	           "Nov 23 18:00:00 host isod[7]: %.*s\r\nsomething else\nisod-anchor-1 test 9\n"
	           "Nov 23 17:00:00 host isod[7]: %.*s\n\n%.*s",
	           (int)second.n, second.p, (int)first.n, first.p, 60, first.p);
	put_path(file, buf_str(&text));
	cr_assert_eq(held_against(0).proven, 2);
	anchor_now();
	cr_assert_eq(held_against(0).proven, 3, "behind a torn line");
	/* One whose signature is wrong is told. */
	text.p[text.n - 100] = text.p[text.n - 100] == '0' ? '1' : '0';
	put_path(file, buf_str(&text));
	int r = anchor_load(file, key, &anchors, &count, error, sizeof(error));
	cr_assert(r == -EKEYREJECTED && strstr(error, ": line 4: the signature"), "%d %s", r,
	          error);
	buf_release(&text);
	buf_release(&lines);
	close_key();
}
