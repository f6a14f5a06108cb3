#include "log/anchor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"

#define MAGIC          "isod-anchor-1 "
#define WORDS          6
#define FILE_BYTES_MAX ((size_t)1 << 30) /* an anchor a minute for years; or a whole syslog */

int anchor_line(const struct sign_key *key, const char *node, uint64_t sequence, uint64_t time_ns,
                const uint8_t head[static SHA256_BYTES], char ret[static ANCHOR_LINE_MAX])
{
	char when[CLOCK_TEXT_MAX], hex[HEX_BYTES(SHA256_BYTES)], seal[HEX_BYTES(SIGNATURE_BYTES)];
	uint8_t signature[SIGNATURE_BYTES];
	int n = snprintf(ret, ANCHOR_LINE_MAX, MAGIC "%s %" PRIu64 " %s %s", node, sequence,
	                 clock_format(time_ns, when), hex_encode(head, SHA256_BYTES, hex));

	if (n < 0 || (size_t)n + 2 + sizeof(seal) > ANCHOR_LINE_MAX)
		return -ENAMETOOLONG;
	int r = sign(key, str_make(ret, (size_t)n), signature);
	if (r < 0)
		return r;
	return n + snprintf(ret + n, ANCHOR_LINE_MAX - (size_t)n, " %s\n",
	                    hex_encode(signature, SIGNATURE_BYTES, seal));
}

int anchor_parse(struct str line, const struct sign_key *key, struct anchor *ret)
{
	struct str rest = line, words[WORDS];
	uint8_t signature[SIGNATURE_BYTES];
	struct anchor a = {0};

	if (!str_starts(line, STR(MAGIC)))
		return -EBADMSG;
	for (size_t i = 0; i < WORDS; i++)
		words[i] = str_split(&rest, ' ');
	if (rest.n || str_to_u64(words[2], &a.sequence) < 0 || a.sequence == 0 ||
	    hex_decode(words[4], a.head, SHA256_BYTES) < 0 ||
	    hex_decode(words[5], signature, SIGNATURE_BYTES) < 0)
		return -EBADMSG;
	if (sign_verify(key, str_head(line, line.n - 2 * SIGNATURE_BYTES - 1), signature) < 0)
		return -EKEYREJECTED;
	*ret = a;
	return 0;
}

/* Where the last whole line ends: a full disk or a crash may have left a piece of one behind it. Offset or -errno. */
static off_t whole_lines(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char tail[ANCHOR_LINE_MAX];

	while (size > 0) {
		size_t n = size < (off_t)sizeof(tail) ? (size_t)size : sizeof(tail);
		if (pread(fd, tail, n, size - (off_t)n) != (ssize_t)n)
			return errno ? -errno : -EIO;
		const char *end = memrchr(tail, '\n', n);
		if (end)
			return size - (off_t)n + (end - tail) + 1;
		size -= (off_t)n;
	}
	return size < 0 ? -errno : 0;
}

static int append_line(int fd, struct str line)
{
	off_t end = whole_lines(fd);

	if (end < 0)
		return (int)end;
	if (ftruncate(fd, end) < 0)
		return -errno;
	ssize_t n = pwrite(fd, line.p, line.n, end);
	int r = n < 0 ? -errno : (size_t)n < line.n ? -ENOSPC : 0;
	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	if (r < 0)
		(void)!ftruncate(fd, end); /* else the next attempt does it */
	return r;
}

int anchor_append(const char *path, struct str line)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	int r = append_line(fd, line);
	close(fd);
	return r;
}

/* ---- the file ---- */

static int by_sequence(const void *a, const void *b)
{
	const struct anchor *x = a, *y = b;

	return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

/* `whole`: it has its newline. */
static int take_line(struct anchors *to, size_t *cap, struct str line, unsigned number, bool whole,
                     const struct sign_key *key, bool own)
{
	struct anchor a;
	ptrdiff_t at = own ? 0 : str_search(line, STR(MAGIC));

	if (at < 0) {
		to->others++;
		return 0;
	}
	if (!own)
		line = str_trim(str_skip(line, (size_t)at));
	int r = anchor_parse(line, key, &a);
	if (r == -EBADMSG && !whole) {
		to->torn = number;
		return 0;
	}
	if (r < 0)
		return r;
	a.line = number;
	xgrow(&to->items, cap, to->count + 1, sizeof(*to->items));
	to->items[to->count++] = a;
	return 0;
}

int anchors_load(const char *path, const struct sign_key *key, bool own, struct anchors *ret,
                 char *error, size_t error_size)
{
	struct anchors list = {.path = xstrdup(path)};
	size_t cap = 0;
	unsigned number = 0;
	struct buf text;

	buf_init(&text, FILE_BYTES_MAX);
	int r = path_read(path, &text);
	if (r < 0)
		snprintf(error, error_size, "%s: %s", path, strerror(-r));
	struct str rest = buf_str(&text);
	while (r == 0 && rest.n) {
		bool whole = str_find(rest, '\n') >= 0;
		number++;
		r = take_line(&list, &cap, str_split(&rest, '\n'), number, whole, key, own);
		if (r < 0)
			snprintf(error, error_size, "%s: line %u: %s", path, number,
			         r == -EBADMSG
			                 ? "this is no anchor that can be read: it was changed"
			                 : "the signature is not that of this anchor and key");
	}
	buf_release(&text);
	if (r < 0) {
		anchors_free(&list);
		return r;
	}
	if (list.count)
		qsort(list.items, list.count, sizeof(*list.items), by_sequence);
	*ret = list;
	return 0;
}

void anchors_free(struct anchors *a)
{
	free(a->path);
	free(a->items);
}

/* ---- the proof ---- */

/* Holds the anchors for record `sequence`, from *at on, against its chain value. */
static int compare(const struct anchors *a, size_t *at, uint64_t sequence, const uint8_t *chain,
                   struct anchor_report *ret)
{
	for (; *at < a->count && a->items[*at].sequence == sequence; (*at)++) {
		if (memcmp(a->items[*at].head, chain, SHA256_BYTES) != 0) {
			snprintf(ret->error, sizeof(ret->error),
			         "sequence %" PRIu64
			         ": the ledger is not the one that was anchored (%s: line %u): it "
			         "was rewritten there or before",
			         sequence, a->path, a->items[*at].line);
			return -EBADMSG;
		}
		ret->proven++;
		if (!ret->behind)
			ret->behind = sequence;
	}
	return 0;
}

/* The first record was read. What was anchored before it is gone, but for the anchor right before it: the chain value that
 * the ledger begins with must be that. */
static int begin(const struct segment_reader *reader, const struct anchors *a, size_t *at,
                 uint64_t first, struct anchor_report *ret)
{
	ret->first = first;
	for (; *at < a->count && a->items[*at].sequence + 1 < first; (*at)++)
		ret->before++;
	return compare(a, at, first - 1, segment_reader_before(reader), ret);
}

/* All was read, up to sequence `last`. */
static int finish(const struct anchors *a, size_t at, uint64_t last, struct anchor_report *ret)
{
	if (at < a->count) {
		const struct anchor *newest = &a->items[a->count - 1];
		snprintf(ret->error, sizeof(ret->error),
		         "the ledger ends with sequence %" PRIu64 ", but sequence %" PRIu64
		         " was anchored (%s: line %u): its end is missing",
		         last, newest->sequence, a->path, newest->line);
		return -EBADMSG;
	}
	if (a->count && !ret->proven) {
		snprintf(ret->error, sizeof(ret->error),
		         "sequence %" PRIu64
		         ": the ledger begins behind all that was anchored (up to %" PRIu64
		         " in %s): nothing shows that it is the same one",
		         ret->first, a->items[a->count - 1].sequence, a->path);
		return -EBADMSG;
	}
	return 0;
}

int anchors_verify(const char *dir, const struct anchors *a, struct anchor_report *ret)
{
	struct segment_reader *reader;
	struct record record;
	uint64_t last = 0;
	size_t at = 0;

	*ret = (struct anchor_report){.others = a->others, .torn = a->torn};
	int r = segment_reader_open(dir, SEGMENT_LEDGER, 0, &reader, ret->error,
	                            sizeof(ret->error));
	if (r < 0)
		return r;
	while ((r = segment_read(reader, &record, ret->error, sizeof(ret->error))) > 0) {
		if (last == 0)
			r = begin(reader, a, &at, record.sequence, ret);
		last = record.sequence;
		if (r >= 0)
			r = compare(a, &at, last, segment_reader_chain(reader), ret);
		if (r < 0)
			break;
	}
	segment_reader_close(reader);
	return r < 0 ? r : finish(a, at, last, ret);
}

int anchors_prove(const char *dir, const char *path, const char *public_key, bool own,
                  struct anchor_report *ret)
{
	struct sign_key *key = NULL;
	struct anchors a = {0};

	*ret = (struct anchor_report){0};
	int r = sign_key_public(public_key, &key);
	if (r < 0)
		snprintf(ret->error, sizeof(ret->error), "%s: %s", public_key,
		         r == -EBADMSG ? "no public Ed25519 key" : strerror(-r));
	else
		r = anchors_load(path, key, own, &a, ret->error, sizeof(ret->error));
	if (r == 0 && a.count == 0) {
		snprintf(ret->error, sizeof(ret->error), "%s: there is no anchor in it", path);
		r = -ENODATA;
	}
	if (r == 0)
		r = anchors_verify(dir, &a, ret);
	anchors_free(&a);
	sign_key_free(key);
	return r;
}
