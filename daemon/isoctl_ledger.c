/* isoctl ledger: the ledger's proof and its records, read from the files themselves. Needs no daemon, and does not
 * disturb one that is running. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "isoctl.h"
#include "isoctl_options.h"
#include "isoctl_output.h"
#include "log/anchor.h"
#include "log/ledger.h"
#include "tools_ledger.pb-c.h"

#define KEY_BYTES_MAX 4096

#define STATE_DIR                                                                                  \
	"/var/lib/isod" /* the default of conf/isod.yaml; another one comes from $ISOD_STATE */

/* The folder to read: the argument, or the ledger inside it when it is a whole state directory. The caller frees. */
static char *ledger_dir(int argc, char **argv)
{
	const char *state = getenv("ISOD_STATE");
	const char *given = argc > 0 ? argv[0] : state && *state ? state : STATE_DIR;
	char *inside = xasprintf("%s/ledger", given);
	struct stat st;

	if (stat(inside, &st) == 0 && S_ISDIR(st.st_mode))
		return inside;
	free(inside);
	return xstrdup(given);
}

static void print_table(const char *dir, const struct segment_report *r,
                        const struct anchor_report *a)
{
	char head[HEX_BYTES(SHA256_BYTES)], safe[1024];

	printf("%-10s%s\n", "ledger", log_escape(str_of(dir), safe, sizeof(safe)));
	printf("%-10s%" PRIu64, "records", r->records);
	if (r->records)
		printf(" (sequence %" PRIu64 " to %" PRIu64 ")", r->first, r->last);
	printf("\n%-10s%" PRIu64 ", %" PRIu64 " of them compressed (%" PRIu64 " bytes without)\n",
	       "segments", r->segments, r->compressed, r->bytes);
	printf("%-10s%s\n", "head", hex_encode(r->chain, SHA256_BYTES, head));
	if (r->torn_bytes)
		printf("%-10s%" PRIu64
		       " bytes of an unfinished record at the end: a crash left them"
		       " (or isod is writing)\n",
		       "tail", r->torn_bytes);
	if (r->first > 1)
		printf("%-10swhat stood before sequence %" PRIu64 " was removed\n", "begins",
		       r->first);
	if (a)
		printf("%-10s%" PRIu64 " agree, %" PRIu64 " stand before what is kept, %" PRIu64
		       " lines of the file are none\n",
		       "anchors", a->proven, a->before, a->others);
	if (a && a->torn)
		printf("%-10sline %u is cut short, as a crash leaves it\n", "", a->torn);
	if (a && r->first > 1 && a->behind)
		printf("%-10sthe one for sequence %" PRIu64
		       " proves that what was removed was the true beginning\n",
		       "", a->behind);
	printf("%-10s%s\n", "result", r->error[0] ? "DAMAGED" : "sound");
	if (r->error[0] && r->records && !(a && a->error[0]))
		printf("%-10s%" PRIu64 " (isoctl ledger cut --at %" PRIu64
		       " sets aside what stands behind it)\n",
		       "last good", r->last, r->last);
	if (r->error[0])
		printf("%-10s%s\n", "first bad", log_escape(str_of(r->error), safe, sizeof(safe)));
}

static int ledger_verify(const struct isoctl *ctl, int argc, char **argv)
{
	const char *anchors = NULL, *key = NULL;
	const struct isoctl_option options[] = {{.name = "--anchors", .text = &anchors},
	                                        {.name = "--public-key", .text = &key},
	                                        {0}};
	struct segment_report report;
	struct anchor_report anchored = {0};
	int r = isoctl_options(options, &argc, argv, 1);

	if (r)
		return r;
	if (!anchors != !key) {
		fprintf(stderr, "isoctl: --anchors and --public-key need each other\n");
		return 2;
	}
	char *dir = ledger_dir(argc, argv);
	r = segment_verify(dir, SEGMENT_LEDGER, &report);
	if (r == 0 && report.segments == 0 && report.torn_bytes == 0) {
		snprintf(report.error, sizeof(report.error), "%s: there is no ledger here", dir);
		r = -ENOENT;
	}
	if (r == 0 && anchors) {
		r = anchors_prove(dir, anchors, key, false, &anchored);
		snprintf(report.error, sizeof(report.error), "%s", anchored.error);
	}
	if (ctl->json) {
		Isod__V1__LedgerReport message = ISOD__V1__LEDGER_REPORT__INIT;
		message.path = dir;
		message.sound = r == 0;
		message.records = report.records;
		message.segments = report.segments;
		message.bytes = report.bytes;
		message.compressed = report.compressed;
		message.anchors = anchored.proven;
		message.anchors_before = anchored.before;
		message.anchors_behind = anchored.behind;
		message.anchors_others = anchored.others;
		message.anchors_torn = anchored.torn;
		message.first = report.first;
		message.last = report.last;
		message.torn_bytes = report.torn_bytes;
		message.head = (ProtobufCBinaryData){SHA256_BYTES, report.chain};
		message.error = report.error;
		output_json(&message.base);
	} else if (r == 0 || r == -EBADMSG) {
		print_table(dir, &report, anchors ? &anchored : NULL);
	} else {
		fprintf(stderr, "isoctl: %s\n", report.error);
	}
	free(dir);
	return r < 0 ? 1 : 0;
}

struct show {
	uint64_t left; /* records still to be shown */
};

static int show_record(void *arg, uint64_t sequence, uint64_t time_ns,
                       const Isod__V1__Record *record)
{
	struct show *show = arg;
	Isod__V1__LedgerEntry entry = ISOD__V1__LEDGER_ENTRY__INIT;
	char time[CLOCK_TEXT_MAX];

	if (show->left == 0)
		return -ECANCELED;
	show->left--;
	entry.sequence = sequence;
	entry.time = clock_format(time_ns, time);
	entry.time_ns = time_ns;
	entry.body = (Isod__V1__Record *)(uintptr_t)record; /* only read */
	return output_json(&entry.base) ? 0 : -EIO;
}

static int ledger_show(const struct isoctl *ctl, int argc, char **argv)
{
	uint64_t from = 0;
	struct show show = {.left = UINT64_MAX};
	const struct isoctl_option options[] = {
		{.name = "--from", .number = &from},
		{.name = "--limit", .number = &show.left},
		{0},
	};
	char error[512];

	(void)ctl; /* records have no other form than JSON */
	int r = isoctl_options(options, &argc, argv, 1);
	if (r)
		return r;
	char *dir = ledger_dir(argc, argv);
	r = ledger_read(dir, from, show_record, &show, error, sizeof(error));
	if (r == -EIO)
		fprintf(stderr, "isoctl: cannot write the answer\n");
	else if (r < 0 && r != -ECANCELED)
		fprintf(stderr, "isoctl: %s\n", error);
	free(dir);
	return r < 0 && r != -ECANCELED ? 1 : 0;
}

static int ledger_key(const struct isoctl *ctl, int argc, char **argv)
{
	static const struct isoctl_option none[] = {{0}};
	struct buf text;
	int r = isoctl_options(none, &argc, argv, 1);

	(void)ctl; /* PEM has one form */
	if (r)
		return r;
	const char *state = getenv("ISOD_STATE");
	char *path = xasprintf("%s/anchors.pub", argc > 0          ? argv[0]
	                                         : state && *state ? state
	                                                           : STATE_DIR);
	buf_init(&text, KEY_BYTES_MAX);
	r = path_read(path, &text);
	if (r < 0)
		fprintf(stderr, "isoctl: %s: %s\n", path, strerror(-r));
	else
		fputs(buf_cstr(&text), stdout);
	buf_release(&text);
	free(path);
	return r < 0 ? 1 : 0;
}

static int ledger_cut(const struct isoctl *ctl, int argc, char **argv)
{
	uint64_t at = 0;
	const struct isoctl_option options[] = {{.name = "--at", .number = &at}, {0}};
	char error[512] = "", *aside = NULL;

	(void)ctl;
	int r = isoctl_options(options, &argc, argv, 1);
	if (r)
		return r;
	if (at == 0) {
		fprintf(stderr, "isoctl: --at SEQUENCE is needed: the last good one, which "
		                "`isoctl ledger verify` tells\n");
		return 2;
	}
	char *dir = ledger_dir(argc, argv);
	r = segment_cut(dir, SEGMENT_LEDGER, at, &aside, error, sizeof(error));
	if (r < 0)
		fprintf(stderr, "isoctl: %s\n", error);
	else
		printf("%s ends with sequence %" PRIu64 " now; what stood behind it is in %s\n",
		       dir, at, aside);
	free(aside);
	free(dir);
	return r < 0 ? 1 : 0;
}

const struct isoctl_command isoctl_ledger_commands[] = {
	{"ledger", "verify", "[DIR] [--anchors FILE --public-key FILE]",
         "prove checksums, sequences and hash chain of the ledger in DIR, offline, and that it is "
         "the one "
         "that was anchored",
         ledger_verify},
	{"ledger", "key", "[DIR]", "print the public key of the anchors of the state directory DIR",
         ledger_key},
	{"ledger", "cut", "--at SEQUENCE [DIR]",
         "set everything behind SEQUENCE aside, into a folder in DIR: after damage, with isod "
         "stopped",
         ledger_cut},
	{"ledger", "show", "[DIR] [--from SEQUENCE] [--limit N]",
         "print the ledger's records as JSON, one a line", ledger_show},
	{0},
};
