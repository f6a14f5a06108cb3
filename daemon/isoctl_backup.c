/* isoctl backup, restore, ledger digest. A backup is only called done when it is whole on the disk; a restore only when
 * every digest, every log's records and the ledger's chain up to the head that the backup tells were proven. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "isoctl_backup_file.h"
#include "isoctl_client.h"
#include "isoctl_options.h"
#include "isoctl_output.h"
#include "isoctl_table.h"
#include "log/anchor.h"
#include "log/ledger.h"
#include "tools_ledger.pb-c.h"

#define ABOUT      "BACKUP"                          /* the member that tells of it, in lines */
#define ABOUT_HEAD "sequence %" PRIu64 "\nhead %s\n" /* its first two */
#define ABOUT_MAX  ((size_t)64 << 10)

static int ledger_digest(const struct isoctl *ctl, int argc, char **argv)
{
	static const struct isoctl_option none[] = {{0}};
	Isod__V1__LedgerDigestRequest ask = ISOD__V1__LEDGER_DIGEST_REQUEST__INIT;
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__Response *a;
	struct client *c;
	char when[CLOCK_TEXT_MAX];
	int r = isoctl_options(none, &argc, argv, 0);

	if (r == 0)
		r = client_open(ctl, &c);
	if (r)
		return r;
	q.ask_case = ISOD__V1__REQUEST__ASK_LEDGER_DIGEST;
	q.ledger_digest = &ask;
	r = client_ask(c, &q, ISOD__V1__RESPONSE__ANSWER_LEDGER_DIGEST, &a);
	client_close(c);
	if (r)
		return r;
	const Isod__V1__LedgerDigest *d = a->ledger_digest;
	if (ctl->json) {
		output_json(&d->base);
	} else {
		table_line("sequence", "%" PRIu64, d->sequence);
		table_line("time", "%s", clock_format(d->time_ns, when));
		table_line("head", "%s", d->head);
		table_line("digest", "%s", d->digest);
		table_line("books", "%s", d->books);
	}
	isod__v1__response__free_unpacked(a, NULL);
	return output_finish() ? 0 : ISOCTL_FAILED;
}

/* ---- backup ---- */

static int failed(const char *what, const char *why)
{
	char safe[1024], *text = xasprintf("%s: %s", what, why);

	fprintf(stderr, "isoctl: %s\n", log_escape(str_of(text), safe, sizeof(safe)));
	free(text);
	return ISOCTL_FAILED;
}

static int write_about(struct backup_writer *w, const Isod__V1__BackupBegin *begin)
{
	char safe[512], when[CLOCK_TEXT_MAX];
	struct buf text;

	buf_init(&text, ABOUT_MAX);
	int r = buf_printf(&text, ABOUT_HEAD "taken %s\nversion %s\n", begin->sequence, begin->head,
	                   clock_format(begin->taken_ns, when),
	                   log_escape(str_of(begin->version), safe, sizeof(safe)));
	if (r == 0)
		r = buf_printf(&text, "node %s\n",
		               log_escape(str_of(begin->node), safe, sizeof(safe)));
	if (r == 0)
		r = buf_printf(&text, "by %s\n",
		               log_escape(str_of(begin->user), safe, sizeof(safe)));
	if (r == 0)
		r = backup_writer_begin(w, STR(ABOUT), text.n, begin->taken_ns);
	if (r == 0)
		r = backup_writer_add(w, buf_str(&text));
	buf_release(&text);
	return r;
}

static int write_part(struct backup_writer *w, const Isod__V1__BackupPart *part)
{
	int r = 0;

	if (part->begin)
		r = write_about(w, part->begin);
	if (r == 0 && part->name[0])
		r = backup_writer_begin(w, str_of(part->name), part->size, part->time_ns);
	if (r == 0 && part->data.len)
		r = backup_writer_add(w, str_make((const char *)part->data.data, part->data.len));
	return r == 0 && part->done ? backup_writer_end(w) : r;
}

/* Every part until the last. 0 and the ledger's sequence, or an exit status. */
static int receive(struct client *c, struct backup_writer *w, const char *file,
                   uint64_t *ret_sequence)
{
	Isod__V1__Response *answer = NULL;
	bool done = false;
	Isod__V1__TakeBackup ask = ISOD__V1__TAKE_BACKUP__INIT;
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;

	q.ask_case = ISOD__V1__REQUEST__ASK_BACKUP;
	q.backup = &ask;
	int r = client_ask(c, &q, ISOD__V1__RESPONSE__ANSWER_BACKUP, &answer);
	if (r == 0 && answer->backup->begin)
		*ret_sequence = answer->backup->begin->sequence;
	while (r == 0 && !done) {
		if (answer->answer_case == ISOD__V1__RESPONSE__ANSWER_BACKUP) {
			int e = write_part(w, answer->backup);
			done = answer->backup->done;
			r = e < 0 ? failed(file, strerror(-e)) : 0;
		} else {
			r = failed("the daemon gave up",
			           answer->answer_case == ISOD__V1__RESPONSE__ANSWER_ERROR
			                   ? answer->error->message
			                   : "its answer is to another question");
		}
		isod__v1__response__free_unpacked(answer, NULL);
		answer = NULL;
		if (r == 0 && !done)
			r = client_next(c, &answer);
	}
	return r;
}

static int backup(const struct isoctl *ctl, int argc, char **argv)
{
	static const struct isoctl_option none[] = {{0}};
	struct backup_writer *w;
	struct client *c;
	uint64_t sequence = 0;
	int r = isoctl_options(none, &argc, argv, 1);

	if (r)
		return r;
	if (argc != 1)
		return isoctl_usage(isoctl_backup_commands);
	r = client_open(ctl, &c);
	if (r)
		return r;
	int e = backup_writer_new(argv[0], &w);
	if (e < 0) {
		client_close(c);
		return failed(argv[0], e == -EEXIST ? "it, or a .part of it, is there already"
		                                    : strerror(-e));
	}
	r = receive(c, w, argv[0], &sequence);
	client_close(c);
	if (r == 0 && !ctl->json)
		printf("%s: %" PRIu64 " files, %" PRIu64 " bytes, to record %" PRIu64
		       " of the ledger\n",
		       argv[0], backup_writer_members(w), backup_writer_bytes(w), sequence);
	backup_writer_free(w);
	return r == 0 && !output_finish() ? ISOCTL_FAILED : r;
}

/* ---- restore ---- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void remove_folder(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* What ABOUT tells. False when there is none, or another. */
static bool read_about(const char *dir, uint64_t *ret_sequence,
                       char head[static HEX_BYTES(SHA256_BYTES)])
{
	char *path = xasprintf("%s/" ABOUT, dir);
	struct buf text;
	struct str rest, line = STR_NONE;
	bool ok = false;

	buf_init(&text, ABOUT_MAX);
	if (path_read(path, &text) == 0) {
		rest = buf_str(&text);
		line = str_split(&rest, '\n');
		ok = str_starts(line, STR("sequence ")) &&
		     str_to_u64(str_skip(line, strlen("sequence ")), ret_sequence) == 0;
		line = str_split(&rest, '\n');
		ok = ok && str_starts(line, STR("head ")) &&
		     line.n == strlen("head ") + 2 * SHA256_BYTES;
	}
	if (ok) {
		memcpy(head, line.p + strlen("head "), 2 * SHA256_BYTES);
		head[2 * SHA256_BYTES] = '\0';
	}
	buf_release(&text);
	free(path);
	return ok;
}

/* The ledger has that record, with that chain value after it. */
static bool has_head(const char *ledger, uint64_t sequence, const char *head, char *error,
                     size_t error_size)
{
	struct segment_reader *reader;
	struct record record;
	char hex[HEX_BYTES(SHA256_BYTES)] = "";

	if (segment_reader_open(ledger, SEGMENT_LEDGER, sequence, &reader, error, error_size) < 0)
		return false;
	int r = segment_read(reader, &record, error, error_size);
	if (r > 0)
		hex_encode(segment_reader_chain(reader), SHA256_BYTES, hex);
	segment_reader_close(reader);
	if (r == 0 || (r > 0 && (record.sequence != sequence || strcmp(hex, head) != 0))) {
		snprintf(error, error_size, "the ledger has not the head that the backup tells");
		return false;
	}
	return r > 0;
}

/* True if there are none. */
static bool prove_anchors(const char *dir, const char *ledger, struct anchor_report *ret)
{
	char *path = xasprintf("%s/anchors", dir), *key = xasprintf("%s/anchors.pub", dir);
	int r = 0;

	*ret = (struct anchor_report){0};
	if (access(path, F_OK) == 0)
		r = anchors_prove(ledger, path, key, true, ret);
	free(path);
	free(key);
	return r == 0 || r == -ENODATA;
}

/* Every log in `dir`. NULL, or what is wrong in `error`. */
static bool prove_logs(const char *dir, struct segment_report *ret_ledger,
                       struct anchor_report *ret_anchors, char *error, size_t error_size)
{
	char *ledger = xasprintf("%s/ledger", dir), head[HEX_BYTES(SHA256_BYTES)] = "";
	struct segment_report report;
	uint64_t sequence = 0;
	bool ok = segment_verify(ledger, SEGMENT_LEDGER, ret_ledger) == 0;

	if (!ok)
		snprintf(error, error_size, "%s", ret_ledger->error);
	if (ok && !read_about(dir, &sequence, head)) {
		snprintf(error, error_size, "%s/" ABOUT " does not tell the ledger's head", dir);
		ok = false;
	}
	ok = ok && has_head(ledger, sequence, head, error, error_size);
	if (ok && !prove_anchors(dir, ledger, ret_anchors)) {
		snprintf(error, error_size, "%s", ret_anchors->error);
		ok = false;
	}
	for (unsigned worker = 0; ok; worker++) {
		char *evidence = xasprintf("%s/evidence/%u", dir, worker);
		bool there = access(evidence, F_OK) == 0;
		if (there && segment_verify(evidence, SEGMENT_EVIDENCE, &report) < 0) {
			snprintf(error, error_size, "%s", report.error);
			ok = false;
		}
		free(evidence);
		if (!there)
			break;
	}
	free(ledger);
	return ok;
}

/* From `part`, which is proven, to `dir`. 0 or -errno. */
static int put_in_place(const char *part, const char *dir)
{
	int fd = open(part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || syncfs(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return r == 0 && rename(part, dir) < 0 ? -errno : r;
}

static int not_restored(const struct isoctl *ctl, char *dir, const char *what, char *why)
{
	Isod__V1__RestoreReport report = ISOD__V1__RESTORE_REPORT__INIT;

	if (!ctl->json)
		return failed(what, why);
	report.path = dir;
	report.error = why;
	output_json(&report.base);
	return ISOCTL_FAILED;
}

static int restore_into(const struct isoctl *ctl, const char *file, const char *part, char *dir)
{
	struct backup_restored done;
	struct segment_report ledger;
	struct anchor_report anchors;
	char error[1024] = "";

	if (backup_unpack(file, part, &done, error, sizeof(error)) < 0 ||
	    !prove_logs(part, &ledger, &anchors, error, sizeof(error)))
		return not_restored(ctl, dir, "nothing was restored", error);
	int r = put_in_place(part, dir);
	if (r < 0) {
		snprintf(error, sizeof(error), "%s",
		         r == -ENOTEMPTY || r == -EEXIST ? "it is not empty" : strerror(-r));
		return not_restored(ctl, dir, dir, error);
	}
	if (ctl->json) {
		Isod__V1__RestoreReport report = ISOD__V1__RESTORE_REPORT__INIT;
		report.path = dir;
		report.files = done.members;
		report.bytes = done.bytes;
		report.records = ledger.records;
		report.last = ledger.last;
		report.anchors = anchors.proven;
		output_json(&report.base);
	} else {
		printf("%s: %" PRIu64 " files, %" PRIu64 " bytes; every digest holds, and the "
		       "ledger is sound: %" PRIu64 " records, the last with sequence %" PRIu64
		       "; %" PRIu64 " anchors agree\n",
		       dir, done.members, done.bytes, ledger.records, ledger.last, anchors.proven);
	}
	return output_finish() ? 0 : ISOCTL_FAILED;
}

static bool is_free(const char *dir)
{
	struct stat st;

	if (lstat(dir, &st) < 0)
		return errno == ENOENT;
	/* An empty folder is taken, anything else is not touched. */
	return S_ISDIR(st.st_mode) && rmdir(dir) == 0;
}

static int restore(const struct isoctl *ctl, int argc, char **argv)
{
	static const struct isoctl_option none[] = {{0}};
	int r = isoctl_options(none, &argc, argv, 2);

	if (r)
		return r;
	if (argc != 2)
		return isoctl_usage(isoctl_backup_commands + 1);
	char *dir = xstrdup(argv[1]);
	for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
		dir[n - 1] = '\0';
	char *part = xasprintf("%s.part", dir);
	if (!is_free(dir)) {
		char why[] = "it is there and not empty; a restore is into an empty folder";
		r = not_restored(ctl, dir, dir, why);
	} else if (mkdir(part, 0750) < 0) {
		r = not_restored(ctl, dir, part, strerror(errno));
	} else {
		r = restore_into(ctl, argv[0], part, dir);
		if (r)
			remove_folder(part);
	}
	free(part);
	free(dir);
	return r;
}

const struct isoctl_command isoctl_backup_commands[] = {
	{"backup", NULL, "FILE",
         "copy evidence, ledger and snapshots of the running daemon into FILE (.tar.zst)", backup},
	{"restore", NULL, "FILE DIR",
         "unpack a backup into the empty folder DIR, to be a state_dir, and prove every digest and "
         "the ledger's chain",
         restore},
	{"ledger", "digest", "",
         "ask the running daemon for the digest of its state; isod --replay gives the same for "
         "the same ledger",
         ledger_digest},
	{0},
};
