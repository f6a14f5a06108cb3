/* The one writer of a log.
 *
 * Appending only fills a buffer in memory; a flush hands it to the kernel at an offset that the writer knows itself
 * (pwrite), so that a call which failed half-way, or was interrupted, can be repeated and writes the same bytes to the
 * same place. A new segment is begun only when nothing is pending: sequence, chain and salt in its header are then
 * those of the next record. Before that the old segment is sealed and synced, so that a later sync needs to think of
 * one file only. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "log/segment_internal.h"

struct segment_log {
	char *dir;
	int dir_fd; /* also holds the lock that keeps a second writer out */
	int fd;     /* of the newest segment */
	enum segment_kind kind;
	uint64_t segment_bytes;
	uint64_t first; /* sequence of the newest segment's first record */
	uint32_t salt;
	uint64_t size;       /* bytes of the newest segment that are written for certain */
	uint64_t next;       /* sequence */
	uint64_t time_ns;    /* of the last record: a seal repeats it */
	struct buf pending;  /* appended since the last flush that was complete … */
	size_t written;      /* … of which so many bytes are in the file */
	size_t absorbed;     /* evidence: … and so many in `hash` */
	bool unsealed;       /* evidence: records since the last seal */
	bool unsynced;       /* bytes written since the last fdatasync … */
	bool wrote_since;    /* … and since segment_sync_begin */
	int broken;          /* the error of a failed fdatasync; 0: none */
	struct sha256 *hash; /* evidence: of the chain value and all since the last seal */
	uint8_t chain[SHA256_BYTES];
	void (*follow)(void *arg, struct buf *bytes);
	void *follow_arg;
};

static int fail(const struct segment_log *l, int r, const char *what, char *error,
                size_t error_size)
{
	return segment_error(error, error_size, r, "%s: %s: %s", l->dir, what, strerror(-r));
}

/* The folder's new entry, and the folder's own entries above it, which may be as new. */
static int sync_dirs(int dir_fd, bool first_segment)
{
	static const char *const above[] = {"..", "../.."};

	if (fsync(dir_fd) < 0)
		return -errno;
	for (size_t i = 0; first_segment && i < ARRAY_LEN(above); i++) {
		/* Not ours to read, perhaps: then it was there before us. */
		int fd = openat(dir_fd, above[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		fsync(fd);
		close(fd);
	}
	return 0;
}

/* Creates the segment that begins with the next record and makes it the newest. Nothing is changed on failure. */
static int begin_segment(struct segment_log *l, uint64_t first)
{
	struct segment_header h = {.kind = l->kind, .first = first};
	char name[SEGMENT_NAME_BYTES], raw[SEGMENT_HEADER_BYTES];
	size_t done = 0;

	memcpy(h.chain, l->chain, SHA256_BYTES);
	if (getrandom(&h.salt, sizeof(h.salt), 0) != sizeof(h.salt))
		return errno ? -errno : -EIO;
	segment_header_encode(&h, raw);
	segment_name(first, name);
	int fd = openat(l->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	int r = file_write_at(fd, raw, sizeof(raw), 0, &done);
	if (r == 0)
		r = file_sync(fd);
	if (r == 0)
		r = sync_dirs(l->dir_fd, l->fd < 0);
	if (r < 0) {
		close(fd);
		unlinkat(l->dir_fd, name, 0);
		return r;
	}
	if (l->fd >= 0)
		close(l->fd);
	l->fd = fd;
	l->first = first;
	l->salt = h.salt;
	l->size = SEGMENT_HEADER_BYTES;
	l->next = first;
	return 0;
}

/* ---- opening ---- */

/* Cuts the newest segment's torn tail. */
static int cut_tail(struct segment_log *l, const struct scan *s)
{
	uint64_t torn = s->size - s->offset;

	if (torn == 0)
		return 0;
	if (ftruncate(l->fd, (off_t)s->offset) < 0)
		return -errno;
	int r = file_sync(l->fd);
	if (r < 0)
		return r;
	log_warning("%s: offset %" PRIu64 ": a torn tail of %" PRIu64
	            " bytes was cut off; the log goes on with sequence %" PRIu64,
	            s->path, s->offset, torn, s->next);
	return 0;
}

/* The newest segment of evidence is damaged at s: it stays as it is, and the log goes on in a new one. */
static int go_on_behind(struct segment_log *l, const struct scan *s, const char *why)
{
	/* No record is shorter than its header: past this the damaged segment has no sequence. */
	uint64_t past = s->next + (s->size - s->offset) / RECORD_HEADER_BYTES + 1;

	if (past <= s->next)
		return -EBADMSG; /* a sequence that only damage makes: there is nothing behind it */
	log_error("%s; the log goes on behind it with sequence %" PRIu64, why, past);
	l->time_ns = s->time_ns;
	memcpy(l->chain, s->chain, SHA256_BYTES);
	l->hash = sha256_new();
	int r = begin_segment(l, past);
	if (r == 0 && l->kind == SEGMENT_EVIDENCE) {
		sha256_begin(l->hash);
		sha256_add(l->hash, str_make((const char *)l->chain, SHA256_BYTES));
	}
	return r;
}

/* The same when not even its header can be read. One that is right, but not of this log, is no damage: a wrong folder. */
static int go_on_behind_header(struct segment_log *l, uint64_t first, const char *why)
{
	char name[SEGMENT_NAME_BYTES], raw[SEGMENT_HEADER_BYTES];
	struct segment_header header;
	struct scan s = {.next = first};
	struct stat st;

	segment_name(first, name);
	int fd = openat(l->dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -EBADMSG;
	bool readable = fstat(fd, &st) == 0 && file_read_at(fd, raw, sizeof(raw), 0) == sizeof(raw);
	close(fd);
	if (!readable || !segment_header_decode(raw, &header))
		return -EBADMSG;
	s.size = (uint64_t)st.st_size;
	return go_on_behind(l, &s, why);
}

/* Proves the segment and takes up writing behind its last record. 1; 0 when it has no header: then it is removed. */
static int take_up(struct segment_log *l, uint64_t first, char *error, size_t error_size)
{
	struct scan s;
	struct record record;
	char name[SEGMENT_NAME_BYTES];

	segment_name(first, name);
	int r = scan_open(l->dir_fd, l->dir, l->kind, first, &s, error, error_size);
	if (r == -EBADMSG && l->kind == SEGMENT_EVIDENCE) {
		r = go_on_behind_header(l, first, error);
		return r < 0 ? r : 1;
	}
	if (r < 0)
		return r;
	if (r == 0) {
		if (unlinkat(l->dir_fd, name, 0) < 0)
			return fail(l, -errno, name, error, error_size);
		log_warning("%s/%s: was begun and has no header: removed", l->dir, name);
		return 0;
	}
	while ((r = scan_next(&s, &record, error, error_size)) > 0)
		;
	if (r == -EBADMSG && l->kind == SEGMENT_EVIDENCE) {
		r = go_on_behind(l, &s, error);
		scan_close(&s);
		return r < 0 ? r : 1;
	}
	if (r == 0 && !s.unpacker) {
		l->fd = openat(l->dir_fd, name, O_RDWR | O_CLOEXEC);
		r = l->fd < 0 ? -errno : cut_tail(l, &s);
		if (r < 0)
			fail(l, r, name, error, error_size);
	}
	if (r == 0) {
		l->first = first;
		l->salt = s.header.salt;
		l->size = s.offset;
		l->next = s.next;
		l->time_ns = s.time_ns;
		l->unsealed = s.unsealed;
		/* What an earlier life wrote and never synced is the first sync's matter. */
		l->unsynced = true;
		memcpy(l->chain, s.chain, SHA256_BYTES);
		l->hash = s.hash;
		s.hash = NULL;
		/* What came after a compressed one is gone: the log goes on in a new one. */
		r = s.unpacker ? begin_segment(l, s.next) : 0;
		if (r < 0)
			fail(l, r, name, error, error_size);
	}
	scan_close(&s);
	return r < 0 ? r : 1;
}

/* The newest segment that has a header, or a first one. */
static int open_newest(struct segment_log *l, char *error, size_t error_size)
{
	uint64_t *firsts = NULL;
	size_t count = 0;

	int r = segment_list(l->dir_fd, &firsts, &count);
	if (r < 0)
		return fail(l, r, "cannot be listed", error, error_size);
	if (count) {
		r = take_up(l, firsts[count - 1], error, error_size);
		/* Only the newest may lack its header: a crash can leave one, not two. */
		if (r == 0 && count > 1) {
			r = take_up(l, firsts[count - 2], error, error_size);
			if (r == 0)
				r = segment_error(error, error_size, -EBADMSG,
				                  "%s: two segments without a header", l->dir);
		}
	}
	free(firsts);
	if (r < 0)
		return r;
	if (r > 0) {
		/* The entry of a segment that an earlier life begun and could not sync. */
		r = sync_dirs(l->dir_fd, false);
		return r < 0 ? fail(l, r, "cannot be synced", error, error_size) : 0;
	}
	l->hash = sha256_new();
	if (l->kind == SEGMENT_EVIDENCE) {
		sha256_begin(l->hash);
		sha256_add(l->hash, str_make((const char *)l->chain, SHA256_BYTES));
	}
	r = begin_segment(l, 1);
	return r < 0 ? fail(l, r, "cannot begin a segment", error, error_size) : 0;
}

static void log_free(struct segment_log *l)
{
	if (l->fd >= 0)
		close(l->fd);
	if (l->dir_fd >= 0)
		close(l->dir_fd);
	sha256_free(l->hash);
	buf_release(&l->pending);
	free(l->dir);
	free(l);
}

int segment_open(const char *dir, const struct segment_options *options, struct segment_log **ret,
                 char *error, size_t error_size)
{
	struct segment_log *l = xcalloc(1, sizeof(*l));

	l->dir = xstrdup(dir);
	l->fd = -1;
	l->kind = options->kind;
	l->segment_bytes = options->segment_bytes;
	buf_init(&l->pending, 0);
	int r = path_make_dirs(dir, 0750);
	l->dir_fd = r < 0 ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && l->dir_fd < 0)
		r = -errno;
	if (r < 0) {
		fail(l, r, "cannot be opened", error, error_size);
	} else if (flock(l->dir_fd, LOCK_EX | LOCK_NB) < 0) {
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
		segment_error(error, error_size, r, "%s: %s", dir,
		              r == -EBUSY ? "another process writes to it" : strerror(-r));
	} else {
		r = open_newest(l, error, error_size);
	}
	if (r < 0) {
		log_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

/* ---- appending ---- */

uint64_t segment_next(const struct segment_log *l)
{
	return l->next;
}

uint64_t segment_first(const struct segment_log *l)
{
	return l->first;
}

const uint8_t *segment_chain(const struct segment_log *l)
{
	return l->chain;
}

const char *segment_dir(const struct segment_log *l)
{
	return l->dir;
}

void segment_follow(struct segment_log *l, void (*written)(void *arg, struct buf *bytes), void *arg)
{
	l->follow = written;
	l->follow_arg = arg;
}

bool segment_take(struct str *bytes, struct record *ret)
{
	while (bytes->n >= RECORD_HEADER_BYTES) {
		const char *p = bytes->p;
		uint32_t length = get_le32(p);
		/* Only evidence has seals, and a ledger's record has a trailer. */
		size_t n = length & ~SEAL_BIT;
		*bytes = str_skip(*bytes, RECORD_HEADER_BYTES + n);
		if (length & SEAL_BIT)
			continue;
		*ret = (struct record){get_le64(p + 8), get_le64(p + 16),
		                       str_make(p + RECORD_HEADER_BYTES, n)};
		return true;
	}
	return false;
}

bool segment_broken(const struct segment_log *l)
{
	return l->broken != 0;
}

size_t segment_pending(const struct segment_log *l)
{
	return l->pending.n - l->written;
}

/* Brings what is pending into the running hash, in one piece: evidence is hashed by the batch. */
static void absorb(struct segment_log *l)
{
	if (l->kind == SEGMENT_EVIDENCE && l->absorbed < l->pending.n)
		sha256_add(l->hash, str_skip(buf_str(&l->pending), l->absorbed));
	l->absorbed = l->pending.n;
}

/* The record begun at `p` has its body: length, checksum and, for the ledger, chain value. */
static void finish_record(struct segment_log *l, char *p, uint32_t length, uint64_t sequence,
                          uint64_t time_ns)
{
	size_t body = length & ~SEAL_BIT, trailer = record_trailer(l->kind);

	put_le32(p, length);
	put_le64(p + 8, sequence);
	put_le64(p + 16, time_ns);
	if (l->kind == SEGMENT_LEDGER) {
		sha256_begin(l->hash);
		sha256_add(l->hash, str_make((const char *)l->chain, SHA256_BYTES));
		sha256_add(l->hash, str_make(p + 8, RECORD_HEADER_BYTES - 8 + body));
		sha256_end(l->hash, l->chain);
		memcpy(p + RECORD_HEADER_BYTES + body, l->chain, SHA256_BYTES);
	}
	put_le32(p + 4, record_crc(l->salt, length, p, RECORD_HEADER_BYTES + body + trailer));
	l->time_ns = time_ns;
}

/* Room for a record at the end of `pending`. The buffer has no cap: this cannot fail. */
static char *begin_record(struct segment_log *l, size_t body)
{
	size_t total = RECORD_HEADER_BYTES + body + record_trailer(l->kind);

	if (buf_reserve(&l->pending, total) < 0)
		abort();
	char *p = l->pending.p + l->pending.n;
	l->pending.n += total;
	return p;
}

char *segment_place(struct segment_log *l, size_t n)
{
	if (n > RECORD_BODY_MAX)
		abort(); /* the caller's promise: a reader would take it for damage */
	return begin_record(l, n) + RECORD_HEADER_BYTES;
}

uint64_t segment_placed(struct segment_log *l, uint64_t time_ns, size_t n)
{
	size_t total = RECORD_HEADER_BYTES + n + record_trailer(l->kind);

	finish_record(l, l->pending.p + l->pending.n - total, (uint32_t)n, l->next, time_ns);
	l->unsealed = l->kind == SEGMENT_EVIDENCE;
	return l->next++;
}

uint64_t segment_append(struct segment_log *l, uint64_t time_ns, const struct str *parts,
                        size_t count)
{
	size_t body = 0;

	for (size_t i = 0; i < count; i++)
		body += parts[i].n;
	char *at = segment_place(l, body);
	for (size_t i = 0; i < count; i++) {
		if (parts[i].n)
			memcpy(at, parts[i].p, parts[i].n);
		at += parts[i].n;
	}
	return segment_placed(l, time_ns, body);
}

static void append_seal(struct segment_log *l)
{
	if (!l->unsealed)
		return;
	absorb(l);
	sha256_end(l->hash, l->chain);
	char *p = begin_record(l, SHA256_BYTES);
	memcpy(p + RECORD_HEADER_BYTES, l->chain, SHA256_BYTES);
	finish_record(l, p, SEAL_BIT | SHA256_BYTES, l->next - 1, l->time_ns);
	l->absorbed = l->pending.n; /* a seal does not cover itself */
	l->unsealed = false;
	sha256_begin(l->hash);
	sha256_add(l->hash, str_make((const char *)l->chain, SHA256_BYTES));
}

/* ---- writing ---- */

static int write_pending(struct segment_log *l)
{
	size_t before = l->written;

	if (l->broken)
		return l->broken;
	if (l->written == l->pending.n)
		return 0;
	absorb(l);
	int r = file_write_at(l->fd, l->pending.p, l->pending.n, l->size, &l->written);
	l->unsynced |= l->written > before;
	l->wrote_since |= l->written > before;
	if (r < 0)
		return r;
	l->size += l->pending.n;
	l->written = l->absorbed = 0;
	if (l->follow)
		l->follow(l->follow_arg, &l->pending);
	buf_reset(&l->pending);
	return 0;
}

static int break_log(struct segment_log *l, int r)
{
	l->broken = r;
	/* The kernel takes pages that it failed to write for clean: they would be believed at the next start. */
	(void)posix_fadvise(l->fd, 0, 0, POSIX_FADV_DONTNEED);
	return r;
}

static int sync_written(struct segment_log *l)
{
	if (!l->unsynced)
		return 0;
	int r = file_sync(l->fd);
	if (r < 0)
		return break_log(l, r);
	l->unsynced = false;
	return 0;
}

/* Seals, writes and syncs all, then begins the segment. */
static int roll(struct segment_log *l, uint64_t first)
{
	append_seal(l);
	int r = write_pending(l);
	if (r == 0)
		r = sync_written(l);
	return r < 0 ? r : begin_segment(l, first);
}

/* Begins a new segment when the newest is full. That it could not be begun is no reason to fail: the old one goes on,
 * and if the disk is full the next write will say so. */
static void roll_if_full(struct segment_log *l)
{
	if (l->size < l->segment_bytes || l->next == l->first)
		return;
	int r = roll(l, l->next);
	if (r < 0 && r != -ENOSPC && r != -EDQUOT)
		log_warning("%s: cannot begin a new segment: %s", l->dir, strerror(-r));
}

int segment_flush(struct segment_log *l)
{
	int r = write_pending(l);

	if (r == 0)
		roll_if_full(l);
	return r;
}

int segment_sync(struct segment_log *l)
{
	append_seal(l);
	int r = write_pending(l);
	if (r == 0)
		r = sync_written(l);
	if (r == 0)
		roll_if_full(l);
	return r;
}

int segment_sync_begin(struct segment_log *l, int *ret_fd)
{
	append_seal(l);
	int r = write_pending(l);
	if (r < 0)
		return r;
	int fd = l->unsynced ? fcntl(l->fd, F_DUPFD_CLOEXEC, 0) : -1;
	/* Without a descriptor to spare it is done here. */
	if (fd < 0)
		r = sync_written(l);
	if (r < 0)
		return r;
	l->wrote_since = false;
	*ret_fd = fd;
	return 0;
}

int segment_sync_end(struct segment_log *l, int result)
{
	if (result < 0 && !l->broken)
		break_log(l, result);
	/* Until here a new segment would have had to sync this one again: it must not reach the disk before this does. */
	l->unsynced = l->unsynced && l->wrote_since;
	return l->broken;
}

int segment_skip_to(struct segment_log *l, uint64_t sequence)
{
	if (sequence <= l->next)
		return 0;
	return l->kind == SEGMENT_LEDGER ? -EINVAL : roll(l, sequence);
}

void segment_close(struct segment_log *l)
{
	if (!l)
		return;
	int r = segment_sync(l);
	if (r < 0)
		log_error("%s: %zu bytes could not be written at the end: %s", l->dir,
		          segment_pending(l), strerror(-r));
	log_free(l);
}
