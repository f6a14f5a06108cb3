/* Backups, and what proves that two daemons have the same books.
 *
 * A backup is a copy of the state folder's files as they are at one moment between two batches of the officer: the ledger
 * to its last durable record, and then evidence, which is always ahead of the ledger. Files only grow, so a size that is
 * noted at that moment is a consistent cut however long the copying takes; what is cut of a frame that was just being
 * written is a torn tail, which a start mends. Finished segments may be compressed or removed meanwhile. So the ledger,
 * the snapshots and whatever still grows are held open from the beginning; finished evidence, of which there may be more
 * than there are descriptors, is opened in its turn, in whichever form it then has.
 *
 * It goes out in parts as the client takes them (connection.c), read in small pieces: the officer's loop waits for a disk
 * no longer than for one of them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "officer/digest.h"

#define PART_BYTES  ((size_t)64 << 10)
#define COMPRESSED  ".zst"
#define UNAVAILABLE ISOD__V1__ERROR_CODE__ERROR_UNAVAILABLE

/* ---- digests ---- */

void ask_ledger_digest(struct connection *c, const Isod__V1__Request *q)
{
	struct officer *officer = c->api->options.officer;
	const struct state *state = officer_state(officer);
	Isod__V1__LedgerDigest digest = ISOD__V1__LEDGER_DIGEST__INIT;
	char head[HEX_BYTES(SHA256_BYTES)], all[sizeof(head)], books[sizeof(head)];
	uint8_t hash[SHA256_BYTES];

	/* Requests are answered between batches: the state is that after the last durable record. */
	digest.sequence = state->sequence;
	digest.time_ns = state->time_ns;
	digest.head = hex_encode(officer_head(officer), SHA256_BYTES, head);
	state_digest(state, hash);
	digest.digest = hex_encode(hash, SHA256_BYTES, all);
	state_books_digest(state, hash);
	digest.books = hex_encode(hash, SHA256_BYTES, books);
	Isod__V1__Response a = answer_to(q, ISOD__V1__RESPONSE__ANSWER_LEDGER_DIGEST);
	a.ledger_digest = &digest;
	connection_send(c, &a);
}

/* ---- what is backed up ---- */

struct backup_file {
	char *name; /* in the state folder */
	int fd;     /* -1: opened in its turn */
	uint64_t size;
	uint64_t time_ns;
};

struct backup {
	uint64_t request;
	const char *state_dir;
	struct backup_file *files;
	size_t count, cap, at;
	bool begun; /* the file at `at` was announced */
	uint64_t offset;
};

void backup_free(struct backup *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->count; i++) {
		if (b->files[i].fd >= 0)
			close(b->files[i].fd);
		free(b->files[i].name);
	}
	free(b->files);
	free(b);
}

/* 1; 0 when there is no such file any more; -errno. */
static int open_one(const struct backup *b, const char *name, struct backup_file *f)
{
	char *path = xasprintf("%s/%s", b->state_dir, name);
	struct stat st = {0};
	int r = 1;

	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (f->fd < 0)
		r = errno == ENOENT ? 0 : -errno;
	else if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode))
		r = -EINVAL;
	free(path);
	if (r <= 0) {
		if (f->fd >= 0)
			close(f->fd);
		f->fd = -1;
		return r;
	}
	f->size = (uint64_t)st.st_size;
	f->time_ns = (uint64_t)st.st_mtim.tv_sec * NS_PER_SECOND;
	return 1;
}

static int open_file(const struct backup *b, struct backup_file *f)
{
	int r = open_one(b, f->name, f);

	if (r != 0 || !str_ends(str_of(f->name), STR(".log")))
		return r;
	/* It was compressed since. */
	char *packed = xasprintf("%s" COMPRESSED, f->name);
	r = open_one(b, packed, f);
	if (r > 0) {
		free(f->name);
		f->name = packed;
	} else {
		free(packed);
	}
	return r;
}

static bool wanted(const char *name)
{
	static const char *const unfinished[] = {".tmp", ".new", ".part"};

	if (name[0] == '.')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(unfinished); i++)
		if (str_ends(str_of(name), str_of(unfinished[i])))
			return false;
	return true;
}

static int only_wanted(const struct dirent *e)
{
	return wanted(e->d_name);
}

/* The private key stays where it is: whoever has a copy of it can sign what never was. */
static int only_anchors(const struct dirent *e)
{
	return str_starts(str_of(e->d_name), STR("anchors")) &&
	       !str_ends(str_of(e->d_name), STR(".key")) && wanted(e->d_name);
}

/* The folder's files that `choose` takes, "" being the state folder itself; `held`: the newest so many are opened at
 * once. 0, or -errno. */
static int add_chosen(struct backup *b, const char *folder, size_t held,
                      int (*choose)(const struct dirent *))
{
	char *path = xasprintf("%s/%s", b->state_dir, folder);
	struct dirent **found = NULL;
	int n = scandir(path, &found, choose, alphasort), r = 0;

	if (n < 0)
		r = errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		struct backup_file f = {
			.name = xasprintf("%s%s%s", folder, *folder ? "/" : "", found[i]->d_name),
			.fd = -1};
		if (r == 0 && (size_t)(n - i) <= held)
			r = open_file(b, &f);
		/* What has vanished between the listing and the opening was removed by retention. */
		r = r > 0 || r == -EINVAL ? 0 : r;
		xgrow(&b->files, &b->cap, b->count + 1, sizeof(*b->files));
		b->files[b->count++] = f;
		free(found[i]);
	}
	free(found);
	free(path);
	return r;
}

static int add_folder(struct backup *b, const char *folder, size_t held)
{
	return add_chosen(b, folder, held, only_wanted);
}

static int add_evidence(struct backup *b)
{
	char *path = xasprintf("%s/evidence", b->state_dir);
	struct dirent **found = NULL;
	int n = scandir(path, &found, only_wanted, alphasort), r = 0;

	for (int i = 0; i < n; i++) {
		char *folder = xasprintf("evidence/%s", found[i]->d_name);
		if (r == 0)
			r = add_folder(b, folder, 2);
		free(folder);
		free(found[i]);
	}
	free(found);
	free(path);
	return r;
}

/* The ledger first: what it has counted is then in the evidence. */
static int list_files(struct backup *b)
{
	int r = add_folder(b, "ledger", SIZE_MAX);

	if (r == 0)
		r = add_folder(b, "snapshots", SIZE_MAX);
	if (r == 0)
		r = add_chosen(b, "", SIZE_MAX, only_anchors);
	return r == 0 ? add_evidence(b) : r;
}

/* ---- sending it ---- */

static void send_part(struct connection *c, uint64_t id, Isod__V1__BackupPart *part)
{
	Isod__V1__Response a = ISOD__V1__RESPONSE__INIT;

	a.id = id;
	a.answer_case = ISOD__V1__RESPONSE__ANSWER_BACKUP;
	a.backup = part;
	connection_send(c, &a);
}

static void give_up(struct connection *c, const char *name, int error)
{
	connection_error(c, c->backup->request, UNAVAILABLE, "%s: %s", name, strerror(-error));
	backup_free(c->backup);
	c->backup = NULL;
}

static void next_file(struct backup *b)
{
	struct backup_file *f = &b->files[b->at++];

	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	b->begun = false;
	b->offset = 0;
}

static void announce(struct connection *c, struct backup *b, const struct backup_file *f)
{
	Isod__V1__BackupPart part = ISOD__V1__BACKUP_PART__INIT;

	part.name = f->name;
	part.size = f->size;
	part.time_ns = f->time_ns;
	b->begun = true;
	send_part(c, b->request, &part);
}

static void send_data(struct connection *c, struct backup *b, const struct backup_file *f)
{
	Isod__V1__BackupPart part = ISOD__V1__BACKUP_PART__INIT;
	uint8_t bytes[PART_BYTES];
	uint64_t left = f->size - b->offset;
	ssize_t n = pread(f->fd, bytes, left < sizeof(bytes) ? (size_t)left : sizeof(bytes),
	                  (off_t)b->offset);

	if (n <= 0) {
		give_up(c, f->name, n < 0 ? -errno : -EIO);
		return;
	}
	part.data = (ProtobufCBinaryData){.len = (size_t)n, .data = bytes};
	b->offset += (uint64_t)n;
	send_part(c, b->request, &part);
}

bool backup_send(struct connection *c)
{
	struct backup *b = c->backup;
	Isod__V1__BackupPart part = ISOD__V1__BACKUP_PART__INIT;

	if (!b)
		return false;
	if (b->at == b->count) {
		part.done = true;
		send_part(c, b->request, &part);
		backup_free(b);
		c->backup = NULL;
		return true;
	}
	struct backup_file *f = &b->files[b->at];
	int r = b->begun || f->fd >= 0 ? 1 : open_file(b, f);
	if (r < 0)
		give_up(c, f->name, r);
	else if (r == 0 || (b->begun && b->offset == f->size))
		next_file(b); /* removed by retention, or sent */
	else if (!b->begun)
		announce(c, b, f);
	else
		send_data(c, b, f);
	return true;
}

/* Who takes all evidence and the books is itself in the books, as far as they can be written. */
static void record(struct connection *c, Isod__V1__TakeBackup *ask)
{
	Isod__V1__Command command = ISOD__V1__COMMAND__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	command.user = c->peer.name;
	command.role = c->peer.role;
	command.action_case = ISOD__V1__COMMAND__ACTION_TAKE_BACKUP;
	command.take_backup = ask;
	record.body_case = ISOD__V1__RECORD__BODY_COMMAND;
	record.command = &command;
	if (officer_record(c->api->options.officer, &record) < 0)
		log_warning("a backup by %s is not in the ledger, which cannot be written",
		            c->peer.name);
}

static void send_begin(struct connection *c, const struct backup *b)
{
	const struct api_options *o = &c->api->options;
	Isod__V1__BackupBegin begin = ISOD__V1__BACKUP_BEGIN__INIT;
	Isod__V1__BackupPart part = ISOD__V1__BACKUP_PART__INIT;
	Isod__V1__Status *status = xmalloc(sizeof(*status));
	char head[HEX_BYTES(SHA256_BYTES)];

	isod__v1__status__init(status);
	if (o->status)
		o->status(o->arg, status);
	begin.node = o->config->node;
	begin.version = status->version;
	begin.sequence = officer_state(o->officer)->sequence;
	begin.head = hex_encode(officer_head(o->officer), SHA256_BYTES, head);
	begin.taken_ns = clock_now();
	begin.user = c->peer.name;
	part.begin = &begin;
	send_part(c, b->request, &part);
	isod__v1__status__free_unpacked(status, NULL);
}

void ask_backup(struct connection *c, const Isod__V1__Request *q)
{
	struct backup *b = xcalloc(1, sizeof(*b));

	b->request = q->id;
	b->state_dir = c->api->options.config->state_dir;
	record(c, q->backup);
	log_notice("%s takes a backup", c->peer.name);
	int r = list_files(b);
	if (r < 0) {
		connection_error(c, q->id, UNAVAILABLE, "%s: %s", b->state_dir, strerror(-r));
		backup_free(b);
		return;
	}
	send_begin(c, b);
	c->backup = b;
}
