/* isoctl verify: the proof of everything that isod has written, from the files alone: every log's checksums, sequences and
 * hash chain, the anchors against the ledger, and that no evidence is missing which the ledger has counted. Needs no
 * daemon, and does not disturb one that is running: the ledger is read first, and evidence is always ahead of it. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "isoctl.h"
#include "isoctl_options.h"
#include "isoctl_output.h"
#include "isoctl_table.h"
#include "log/anchor.h"
#include "log/ledger.h"
#include "tools_ledger.pb-c.h"

#define STATE_DIR                                                                                  \
	"/var/lib/isod" /* the default of conf/isod.yaml; another one comes from $ISOD_STATE */
#define WORKERS_MAX                                                                                \
	65536 /* more than a configuration allows: a ledger that names more is none of isod's */

struct log {
	enum segment_kind kind;
	char *path;
	struct segment_report report;
	uint64_t counted;
};

struct verify {
	struct log *logs;
	size_t count, cap;
	uint64_t *counted; /* by worker: how far the ledger has counted its evidence */
	size_t workers, workers_cap;
	char *anchors_path; /* NULL: none were looked for */
	struct anchor_report anchors;
	char error[512]; /* the first thing that is wrong; "" if nothing is */
};

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void wrong(struct verify *v, const char *error)
{
	if (!v->error[0])
		snprintf(v->error, sizeof(v->error), "%s", error);
}

/* Takes over `path`. */
static struct log *prove(struct verify *v, enum segment_kind kind, char *path)
{
	xgrow(&v->logs, &v->cap, v->count + 1, sizeof(*v->logs));
	struct log *log = &v->logs[v->count++];

	*log = (struct log){.kind = kind, .path = path};
	int r = segment_verify(path, kind, &log->report);
	if (r == 0 && log->report.segments == 0 && log->report.torn_bytes == 0)
		snprintf(log->report.error, sizeof(log->report.error), "%s: there is no log here",
		         path);
	wrong(v, log->report.error);
	return log;
}

/* ---- the ledger and its anchors ---- */

static int note_counted(void *arg, uint64_t sequence, uint64_t time_ns,
                        const Isod__V1__Record *record)
{
	struct verify *v = arg;

	(void)sequence;
	(void)time_ns;
	if (record->body_case != ISOD__V1__RECORD__BODY_TALLY)
		return 0;
	const Isod__V1__Tally *t = record->tally;
	if (t->worker >= WORKERS_MAX)
		return -ERANGE;
	xgrow(&v->counted, &v->workers_cap, t->worker + 1, sizeof(*v->counted));
	while (v->workers <= t->worker)
		v->counted[v->workers++] = 0;
	if (t->upto > v->counted[t->worker])
		v->counted[t->worker] = t->upto;
	return 0;
}

static void prove_ledger(struct verify *v, const char *path)
{
	char error[512] = "";
	const struct log *log = prove(v, SEGMENT_LEDGER, xstrdup(path));

	if (log->report.error[0])
		return;
	int r = ledger_read(path, 0, note_counted, v, error, sizeof(error));
	if (r == -ERANGE)
		snprintf(error, sizeof(error), "%s: it counts for more workers than there can be",
		         path);
	if (r < 0)
		wrong(v, error);
}

/* `own`: those that isod wrote itself. Takes over `path`. */
static void prove_anchors(struct verify *v, const char *ledger, char *path, const char *key,
                          bool own)
{
	v->anchors_path = path;
	int r = anchors_prove(ledger, path, key, own, &v->anchors);
	/* Until the first one is written there is none. */
	if (own && r == -ENODATA)
		v->anchors.error[0] = '\0';
	wrong(v, v->anchors.error);
}

static void prove_own_anchors(struct verify *v, const char *state, const char *ledger)
{
	char *path = xasprintf("%s/anchors", state), *key = xasprintf("%s/anchors.pub", state);

	if (access(path, F_OK) == 0)
		prove_anchors(v, ledger, path, key, true);
	else
		free(path);
	free(key);
}

/* ---- evidence ---- */

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The workers that have a folder, rising; the caller frees. */
static uint64_t *list_workers(const char *folder, size_t *ret_count)
{
	uint64_t *workers = NULL, w;
	size_t count = 0, cap = 0;
	DIR *d = opendir(folder);
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		if (str_to_u64(str_of(e->d_name), &w) < 0)
			continue;
		xgrow(&workers, &cap, count + 1, sizeof(*workers));
		workers[count++] = w;
	}
	if (d)
		closedir(d);
	if (count)
		qsort(workers, count, sizeof(*workers), by_number);
	*ret_count = count;
	return workers;
}

/* What the ledger has counted was on the disk before. */
static void check_counted(struct verify *v, struct log *log, uint64_t worker)
{
	struct segment_report *r = &log->report;

	log->counted = worker < v->workers ? v->counted[worker] : 0;
	if (r->error[0] || r->next > log->counted)
		return;
	snprintf(r->error, sizeof(r->error),
	         "%s: it ends with sequence %" PRIu64 ", but the ledger has counted it up to "
	         "%" PRIu64 ": its end is missing",
	         log->path, r->next ? r->next - 1 : 0, log->counted);
	wrong(v, r->error);
}

static void prove_evidence(struct verify *v, const char *folder)
{
	size_t count, at = 0;
	uint64_t *workers = list_workers(folder, &count);

	for (size_t i = 0; i < count; i++)
		check_counted(
			v, prove(v, SEGMENT_EVIDENCE, xasprintf("%s/%" PRIu64, folder, workers[i])),
			workers[i]);
	for (uint64_t w = 0; w < v->workers; w++) {
		while (at < count && workers[at] < w)
			at++;
		if (v->counted[w] == 0 || (at < count && workers[at] == w))
			continue;
		char *error = xasprintf("%s/%" PRIu64 ": it is missing, and the ledger has counted "
		                        "it up to sequence %" PRIu64,
		                        folder, w, v->counted[w]);
		wrong(v, error);
		free(error);
	}
	free(workers);
}

/* ---- what is in the folder ---- */

static void prove_state(struct verify *v, const char *dir, const char *anchors, const char *key)
{
	char *ledger = xasprintf("%s/ledger", dir), *evidence = xasprintf("%s/evidence", dir);

	prove_ledger(v, ledger);
	if (anchors)
		prove_anchors(v, ledger, xstrdup(anchors), key, false);
	else
		prove_own_anchors(v, dir, ledger);
	prove_evidence(v, evidence);
	free(ledger);
	free(evidence);
}

static bool holds(const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);
	bool yes = is_folder(path);

	free(path);
	return yes;
}

/* A state folder, the folder of all evidence, or that of one log. Says in v->error when it is none of them, or one that
 * has no anchors. False then. */
static bool prove_folder(struct verify *v, const char *dir, const char *anchors, const char *key)
{
	enum segment_kind kind = SEGMENT_EVIDENCE;
	size_t workers = 0;

	if (holds(dir, "ledger") || holds(dir, "evidence")) {
		prove_state(v, dir, anchors, key);
		return true;
	}
	int r = segment_kind_in(dir, &kind);
	free(list_workers(dir, &workers));
	bool log = r == 0 || r == -EBADMSG;
	if (!log && !workers)
		snprintf(v->error, sizeof(v->error), "%s: %s", dir,
		         r == -ENOENT && is_folder(dir)
		                 ? "this is no state folder, no ledger and no evidence"
		                 : strerror(-r));
	else if (anchors && kind != SEGMENT_LEDGER)
		snprintf(v->error, sizeof(v->error),
		         "%s: anchors are of a ledger, and this is evidence", dir);
	if (v->error[0])
		return false;
	if (!log)
		prove_evidence(v, dir);
	else
		prove(v, kind, xstrdup(dir));
	if (anchors)
		prove_anchors(v, dir, xstrdup(anchors), key, false);
	return true;
}

/* ---- telling ---- */

static const char *kind_name(enum segment_kind kind)
{
	return kind == SEGMENT_LEDGER ? "ledger" : "evidence";
}

static void print_log(const struct log *log)
{
	const struct segment_report *r = &log->report;

	table_line(kind_name(log->kind), "%s", log->path);
	table_line("", "%s", r->error[0] ? "DAMAGED" : "sound");
	if (r->records)
		table_line("",
		           "%" PRIu64 " records (sequence %" PRIu64 " to %" PRIu64 ") in %" PRIu64
		           " segments, %" PRIu64 " of them compressed",
		           r->records, r->first, r->last, r->segments, r->compressed);
	if (r->first > 1)
		table_line("", "what stood before sequence %" PRIu64 " was removed", r->first);
	if (r->torn_bytes)
		table_line("",
		           "%" PRIu64
		           " bytes of an unfinished record at the end: a crash left them "
		           "(or isod is writing)",
		           r->torn_bytes);
	if (r->damaged > 1)
		table_line("", "%" PRIu64 " segments are damaged", r->damaged);
	if (r->error[0])
		table_line("", "%s", r->error);
}

static void print_anchors(const struct verify *v)
{
	const struct anchor_report *a = &v->anchors;

	if (!v->anchors_path) {
		table_line("anchors", "none");
		return;
	}
	table_line("anchors", "%s", v->anchors_path);
	table_line("",
	           "%" PRIu64 " agree with the ledger, %" PRIu64
	           " stand before what is kept of it, %" PRIu64 " lines of the file are none",
	           a->proven, a->before, a->others);
	if (a->torn)
		table_line("", "line %u is cut short, as a crash leaves it", a->torn);
	if (a->first > 1 && a->behind)
		table_line("",
		           "the one for sequence %" PRIu64
		           " proves that what was removed of the ledger was its true beginning",
		           a->behind);
	if (a->error[0])
		table_line("", "%s", a->error);
}

static void print_all(const struct verify *v, const char *dir)
{
	bool has_ledger = false;

	table_line("verified", "%s", dir);
	for (size_t i = 0; i < v->count; i++) {
		print_log(&v->logs[i]);
		has_ledger |= v->logs[i].kind == SEGMENT_LEDGER;
	}
	if (has_ledger)
		print_anchors(v);
	table_line("result", "%s", v->error[0] ? "DAMAGED" : "sound");
	if (v->error[0])
		table_line("first bad", "%s", v->error);
}

static void fill_log(const struct log *log, Isod__V1__LogReport *m)
{
	const struct segment_report *r = &log->report;

	isod__v1__log_report__init(m);
	m->kind = (char *)(uintptr_t)kind_name(log->kind); /* only read */
	m->path = log->path;
	m->sound = !r->error[0];
	m->records = r->records;
	m->segments = r->segments;
	m->compressed = r->compressed;
	m->bytes = r->bytes;
	m->first = r->first;
	m->last = r->last;
	m->torn_bytes = r->torn_bytes;
	m->damaged = r->damaged;
	m->head = (ProtobufCBinaryData){SHA256_BYTES, (uint8_t *)(uintptr_t)r->chain};
	m->counted = log->counted;
	m->error = (char *)(uintptr_t)r->error;
}

static void fill_anchors(struct verify *v, Isod__V1__AnchorReport *m)
{
	m->path = v->anchors_path;
	m->sound = !v->anchors.error[0];
	m->agree = v->anchors.proven;
	m->before = v->anchors.before;
	m->others = v->anchors.others;
	m->torn = v->anchors.torn;
	m->behind = v->anchors.behind;
	m->error = v->anchors.error;
}

static void print_json(struct verify *v, const char *dir)
{
	Isod__V1__VerifyReport report = ISOD__V1__VERIFY_REPORT__INIT;
	Isod__V1__AnchorReport anchors = ISOD__V1__ANCHOR_REPORT__INIT;
	Isod__V1__LogReport *logs = xcalloc(v->count ? v->count : 1, sizeof(*logs));
	Isod__V1__LogReport **list =
		xcalloc(v->count ? v->count : 1, sizeof(Isod__V1__LogReport *));

	for (size_t i = 0; i < v->count; i++) {
		fill_log(&v->logs[i], &logs[i]);
		list[i] = &logs[i];
	}
	report.path = (char *)(uintptr_t)dir;
	report.sound = !v->error[0];
	report.n_logs = v->count;
	report.logs = list;
	if (v->anchors_path) {
		fill_anchors(v, &anchors);
		report.anchors = &anchors;
	}
	report.error = v->error;
	output_json(&report.base);
	free(list);
	free(logs);
}

static void release(struct verify *v)
{
	for (size_t i = 0; i < v->count; i++)
		free(v->logs[i].path);
	free(v->logs);
	free(v->counted);
	free(v->anchors_path);
}

static int verify(const struct isoctl *ctl, int argc, char **argv)
{
	const char *anchors = NULL, *key = NULL, *state = getenv("ISOD_STATE");
	const struct isoctl_option options[] = {{.name = "--anchors", .text = &anchors},
	                                        {.name = "--public-key", .text = &key},
	                                        {0}};
	struct verify v = {0};
	int r = isoctl_options(options, &argc, argv, 1);

	if (r)
		return r;
	if (!anchors != !key) {
		fprintf(stderr, "isoctl: --anchors and --public-key need each other\n");
		return 2;
	}
	const char *dir = argc > 0 ? argv[0] : state && *state ? state : STATE_DIR;
	bool any = prove_folder(&v, dir, anchors, key);
	if (ctl->json)
		print_json(&v, dir);
	else if (any)
		print_all(&v, dir);
	else
		fprintf(stderr, "isoctl: %s\n", v.error);
	r = v.error[0] ? 1 : 0;
	release(&v);
	return output_finish() ? r : 1;
}

const struct isoctl_command isoctl_verify_commands[] = {
	{"verify", NULL, "[DIR] [--anchors FILE --public-key FILE]",
         "prove, offline, everything in the state directory DIR: ledger, evidence and anchors (its "
         "own, or those in FILE); DIR may also be one log or all evidence",
         verify},
	{0},
};
