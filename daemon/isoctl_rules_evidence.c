/* Reads worker by worker, segment by segment, in memory that does not grow. Segments that are older than the asked-for
 * time are left out by the time of their first record. Records carry the wall clock, which may be set back: whole
 * segments are left out only when they are further off than that is likely to be. */
#include "isoctl_rules_evidence.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"

#define CLOCK_STEP NS_PER_HOUR /* a clock that is corrected in service moves by less */

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_number(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!isdigit((unsigned char)*s))
			return false;
	return true;
}

/* ---- one worker ---- */

/* The sequences that the segments begin with, in order; the caller frees. */
static uint64_t *list_segments(const char *dir, size_t *ret_count)
{
	uint64_t *firsts = NULL;

	*ret_count = 0;
	segment_firsts(dir, &firsts, ret_count);
	return firsts;
}

/* When the first record of the segment arrived; 0 if that cannot be told. */
static uint64_t begins_at(const char *dir, uint64_t first)
{
	struct segment_reader *r;
	struct record record;
	char error[512];
	uint64_t time = 0;

	if (segment_reader_open(dir, SEGMENT_EVIDENCE, first, &r, error, sizeof(error)) < 0)
		return 0;
	if (segment_read(r, &record, error, sizeof(error)) > 0)
		time = record.time_ns;
	segment_reader_close(r);
	return time;
}

/* The sequence to begin with. */
static uint64_t find_start(const struct walk *w, const char *dir)
{
	size_t count, at = 0;
	uint64_t *firsts = list_segments(dir, &count);
	uint64_t start = 0;

	while (w->from_ns > CLOCK_STEP && at + 1 < count) {
		uint64_t next = begins_at(dir, firsts[at + 1]);
		if (next == 0 || next >= w->from_ns - CLOCK_STEP)
			break;
		start = firsts[++at];
	}
	free(firsts);
	return start;
}

/* True when nothing behind the record is asked for. */
static bool is_past(const struct walk *w, const struct record *r)
{
	return w->to_ns && r->time_ns >= w->to_ns && r->time_ns - w->to_ns > CLOCK_STEP;
}

static void visit(struct walk *w, uint32_t worker, const struct record *r)
{
	struct evidence e;

	int parsed = evidence_parse(r->body, &e);
	if (parsed == 0)
		evidence_peers_note(w->peers, r->sequence, &e);
	if (r->time_ns < w->from_ns || (w->to_ns && r->time_ns >= w->to_ns))
		return;
	if (parsed < 0) {
		fprintf(stderr, "isoctl: worker %u: sequence %llu is no evidence\n", worker,
		        (unsigned long long)r->sequence);
		w->damaged++;
		return;
	}
	if (e.flags & EVIDENCE_LOSS)
		return; /* a note on frames that are not there */
	w->frames++;
	w->frame(w->arg, r, worker, &e);
}

/* Reads from `*from` on. 0 at the end, or -errno after a message; then *from is the next sequence. */
static int read_from(struct walk *w, const char *dir, uint32_t worker, uint64_t *from)
{
	struct segment_reader *reader;
	struct record r;
	char error[512] = "";
	int e = segment_reader_open(dir, SEGMENT_EVIDENCE, *from, &reader, error, sizeof(error));

	if (e == 0) {
		while ((e = segment_read(reader, &r, error, sizeof(error))) > 0) {
			*from = r.sequence + 1;
			if (is_past(w, &r))
				break;
			visit(w, worker, &r);
		}
		segment_reader_close(reader);
	}
	/* A segment whose header is bad says so again when it is tried on its own. */
	if (e < 0 && strcmp(error, w->said) != 0) {
		fprintf(stderr, "isoctl: %s\n", *error ? error : strerror(-e));
		snprintf(w->said, sizeof(w->said), "%s", error);
		w->damaged++;
	}
	return e < 0 ? e : 0;
}

/* The first segment that begins at `from` or later, or 0. */
static uint64_t segment_behind(const char *dir, uint64_t from)
{
	size_t count;
	uint64_t *firsts = list_segments(dir, &count), found = 0;

	for (size_t i = 0; i < count && !found; i++)
		if (firsts[i] >= from)
			found = firsts[i];
	free(firsts);
	return found;
}

/* What is damaged ends the reading of its segment; it goes on with the next one, or with the same one on its own when
 * only the seam to the one before it is wrong. */
static void walk_worker(struct walk *w, const char *dir, uint32_t worker)
{
	uint64_t from = find_start(w, dir), tried = 0;

	w->workers++;
	w->peers = evidence_peers_new();
	while (read_from(w, dir, worker, &from) < 0) {
		uint64_t next = segment_behind(dir, from);
		if (next && next == tried)
			next = segment_behind(dir, from + 1);
		if (!next)
			break;
		from = tried = next;
	}
	evidence_peers_free(w->peers);
}

/* ---- all workers ---- */

static int by_number(const void *a, const void *b)
{
	unsigned long x = strtoul(*(char *const *)a, NULL, 10);
	unsigned long y = strtoul(*(char *const *)b, NULL, 10);

	return x < y ? -1 : x > y;
}

/* Names of the workers' folders in order; path_free_list. */
static char **list_workers(const char *dir, size_t *ret_count)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	char **names = NULL;
	size_t count = 0, cap = 0;

	while (d && (entry = readdir(d))) {
		char *path = xasprintf("%s/%s", dir, entry->d_name);
		if (is_number(entry->d_name) && is_folder(path)) {
			xgrow(&names, &cap, count + 1, sizeof(*names));
			names[count++] = xstrdup(entry->d_name);
		}
		free(path);
	}
	if (d)
		closedir(d);
	if (count)
		qsort(names, count, sizeof(*names), by_number);
	*ret_count = count;
	return names;
}

/* A worker's own folder: its number is its name. */
static void walk_alone(struct walk *w, const char *dir)
{
	char *real = realpath(dir, NULL);
	const char *slash = real ? strrchr(real, '/') : NULL;

	walk_worker(w, dir,
	            slash && is_number(slash + 1) ? (uint32_t)strtoul(slash + 1, NULL, 10) : 0);
	free(real);
}

int walk_evidence(struct walk *w)
{
	char *inside = xasprintf("%s/evidence", w->dir);
	const char *dir = is_folder(inside) ? inside : w->dir;
	size_t workers = 0, segments = 0;
	char **names = list_workers(dir, &workers);
	int r = 0;

	for (size_t i = 0; i < workers; i++) {
		char *path = xasprintf("%s/%s", dir, names[i]);
		walk_worker(w, path, (uint32_t)strtoul(names[i], NULL, 10));
		free(path);
	}
	if (workers == 0) {
		free(list_segments(dir, &segments));
		if (segments)
			walk_alone(w, dir);
	}
	if (workers == 0 && segments == 0) {
		r = access(dir, R_OK | X_OK) < 0 ? -errno : -ENODATA;
		fprintf(stderr, "isoctl: %s: %s\n", dir,
		        r == -ENODATA ? "there is no evidence here" : strerror(-r));
	}
	path_free_list(names, workers);
	free(inside);
	return r;
}
