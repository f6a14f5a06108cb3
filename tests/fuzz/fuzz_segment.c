/* Arbitrary bytes as the files of a log: reading, verifying and opening must end, agree and leave a sound log. The
 * first byte chooses the kind and where the rest is cut into two segments; checksums are mended when its low bit is
 * set, so that the code behind them is reached. The top bits of the second choose the form of the first segment: plain;
 * compressed; arbitrary bytes as a compressed one; and compressed with a changed byte. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/log.h"
#include "log/segment_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char made[64];

static void remove_folder(void)
{
	rmdir(made);
}

static const char *folder(void)
{
	if (!made[0]) {
		const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
		snprintf(made, sizeof(made), "%s/isod-fuzz-segment-%d", base, (int)getpid());
		mkdir(made, 0700);
		atexit(remove_folder);
		log_setup(LOG_TO_STDERR, LOG_EMERG, "fuzz_segment");
	}
	return made;
}

enum form { PLAIN, PACKED, RUBBISH, BROKEN };

static void put(const char *dir, uint64_t first, enum form form, const uint8_t *p, size_t n)
{
	char name[SEGMENT_NAME_BYTES], path[128];
	uint8_t *packed = NULL;

	if (form == PLAIN)
		segment_name(first, name);
	else
		segment_packed_name(first, name);
	if (form == PACKED || form == BROKEN) {
		uint8_t at = n ? p[n / 2] : 0;
		packed = malloc(ZSTD_compressBound(n));
		if (!packed)
			abort();
		n = ZSTD_compress(packed, ZSTD_compressBound(n), p, n, 1);
		if (form == BROKEN)
			packed[at % n] ^= 1;
		p = packed;
	}
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	if (!f || fwrite(p, 1, n, f) != n)
		abort();
	fclose(f);
	free(packed);
}

/* Gives header and records the checksums that their other bytes ask for. */
static void mend(char *p, size_t n, enum segment_kind kind)
{
	if (n < SEGMENT_HEADER_BYTES)
		return;
	put_le32(p + 60, crc32c(0, str_make(p, 60)));
	for (size_t at = SEGMENT_HEADER_BYTES; n - at >= RECORD_HEADER_BYTES;) {
		uint32_t length = get_le32(p + at);
		size_t total = RECORD_HEADER_BYTES + (length & ~SEAL_BIT) + record_trailer(kind);
		if (total > n - at)
			break;
		put_le32(p + at + 4, record_crc(get_le32(p + 56), length, p + at, total));
		at += total;
	}
}

static void clean(const char *dir)
{
	char name[SEGMENT_NAME_BYTES], path[128];
	uint64_t *firsts = NULL;
	size_t count = 0;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0 || segment_list(fd, &firsts, &count) < 0)
		abort();
	close(fd);
	for (size_t i = 0; i < count; i++) {
		segment_name(firsts[i], name);
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		unlink(path);
		segment_packed_name(firsts[i], name);
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		unlink(path);
	}
	free(firsts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *dir = folder();
	struct segment_report report, again;
	struct segment_log *l = NULL;
	char error[512], *copy;

	if (size < 2)
		return 0;
	enum segment_kind kind = data[0] & 2 ? SEGMENT_LEDGER : SEGMENT_EVIDENCE;
	size_t n = size - 2, split = (size_t)(data[0] >> 2) * 8;
	copy = malloc(n ? n : 1);
	if (!copy)
		abort();
	memcpy(copy, data + 2, n);
	if (split > n)
		split = n;
	if (data[0] & 1) {
		mend(copy, n - split, kind);
		mend(copy + n - split, split, kind);
	}
	put(dir, 1, data[1] >> 6, (const uint8_t *)copy, n - split);
	if (split)
		put(dir, 1 + (data[1] & 63), PLAIN, (const uint8_t *)copy + n - split, split);
	free(copy);

	if (data[1] & 32) {
		/* Whether it can be compressed or not: the same is read as before. */
		struct segment_info info;
		int before = segment_verify(dir, kind, &report);
		if (segment_oldest(dir, kind, &info) > 0 && info.plain) {
			int done = segment_pack(dir, kind, &info, 1, NULL, error, sizeof(error));
			if (done < 0 && before == 0)
				abort();
			if (segment_verify(dir, kind, &again) != before ||
			    again.records != report.records)
				abort();
		}
	}
	int sound = segment_verify(dir, kind, &report);
	if ((sound < 0) != (report.error[0] != '\0'))
		abort();
	int r = segment_open(dir, &(struct segment_options){kind, 1 << 16}, &l, error,
	                     sizeof(error));
	if (sound == 0 && r < 0)
		abort(); /* what verifies can be opened */
	if (r == 0) {
		struct str body = {"x", 1};
		segment_append(l, 1, &body, 1);
		if (segment_sync(l) < 0)
			abort();
		segment_close(l);
		if (sound == 0 && (segment_verify(dir, kind, &again) < 0 || again.torn_bytes ||
		                   again.records != report.records + 1))
			abort(); /* and what was opened is sound, whole and one longer */
	}
	clean(dir);
	return 0;
}
