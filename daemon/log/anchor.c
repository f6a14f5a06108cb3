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

/* Does the file end amid a line, as a full disk or a crash leaves it? */
static bool ends_torn(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char last = '\n';

	return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

int anchor_append(const char *path, struct str line)
{
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644), r = 0;

	if (fd < 0)
		return -errno;
	if (ends_torn(fd) && write(fd, "\n", 1) != 1)
		r = -errno;
	ssize_t n = r < 0 ? 0 : write(fd, line.p, line.n);
	if (n < 0 || (r == 0 && (size_t)n < line.n))
		r = n < 0 ? -errno : -ENOSPC;
	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* ---- the file ---- */

static int by_sequence(const void *a, const void *b)
{
	const struct anchor *x = a, *y = b;

	return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

static int take_line(struct str line, unsigned number, const struct sign_key *key,
                     struct anchor **list, size_t *count, size_t *cap)
{
	struct anchor a;
	ptrdiff_t at = str_search(line, STR(MAGIC));

	if (at < 0)
		return 0;
	int r = anchor_parse(str_trim(str_skip(line, (size_t)at)), key, &a);
	if (r == -EKEYREJECTED)
		return r;
	if (r == 0) {
		a.line = number;
		xgrow(list, cap, *count + 1, sizeof(**list));
		(*list)[(*count)++] = a;
	}
	return 0;
}

int anchor_load(const char *path, const struct sign_key *key, struct anchor **ret,
                size_t *ret_count, char *error, size_t error_size)
{
	struct anchor *list = NULL;
	size_t count = 0, cap = 0;
	unsigned number = 0;
	struct buf text;

	buf_init(&text, FILE_BYTES_MAX);
	int r = path_read(path, &text);
	if (r < 0)
		snprintf(error, error_size, "%s: %s", path, strerror(-r));
	struct str rest = buf_str(&text);
	while (r == 0 && rest.n) {
		number++;
		r = take_line(str_split(&rest, '\n'), number, key, &list, &count, &cap);
		if (r < 0)
			snprintf(error, error_size,
			         "%s: line %u: the signature is not that of this anchor and key",
			         path, number);
	}
	buf_release(&text);
	if (r < 0) {
		free(list);
		return r;
	}
	if (count)
		qsort(list, count, sizeof(*list), by_sequence);
	*ret = list;
	*ret_count = count;
	return 0;
}

/* ---- the proof ---- */

/* Holds the anchors for record `sequence`, from *at on, against its chain value. */
static int compare(const struct anchor *anchors, size_t count, size_t *at, uint64_t sequence,
                   const uint8_t *chain, struct anchor_report *ret)
{
	for (; *at < count && anchors[*at].sequence == sequence; (*at)++) {
		if (memcmp(anchors[*at].head, chain, SHA256_BYTES) != 0) {
			snprintf(ret->error, sizeof(ret->error),
			         "sequence %" PRIu64
			         ": the ledger is not the one that was anchored (line %u of the "
			         "anchors): it was rewritten there or before",
			         sequence, anchors[*at].line);
			return -EBADMSG;
		}
		ret->proven++;
	}
	return 0;
}

int anchor_verify(const char *dir, const struct anchor *anchors, size_t count,
                  struct anchor_report *ret)
{
	struct segment_reader *reader;
	struct record record;
	uint64_t last = 0;
	size_t at = 0;

	*ret = (struct anchor_report){0};
	int r = segment_reader_open(dir, SEGMENT_LEDGER, 0, &reader, ret->error,
	                            sizeof(ret->error));
	if (r < 0)
		return r;
	while ((r = segment_read(reader, &record, ret->error, sizeof(ret->error))) > 0) {
		for (; last == 0 && at < count && anchors[at].sequence < record.sequence; at++)
			ret->before++;
		last = record.sequence;
		r = compare(anchors, count, &at, last, segment_reader_chain(reader), ret);
		if (r < 0)
			break;
	}
	segment_reader_close(reader);
	if (r == 0 && at < count) {
		snprintf(ret->error, sizeof(ret->error),
		         "the ledger ends with sequence %" PRIu64 ", but sequence %" PRIu64
		         " was anchored (line %u of the anchors): its end is "
		         "missing",
		         last, anchors[count - 1].sequence, anchors[count - 1].line);
		r = -EBADMSG;
	}
	return r;
}
