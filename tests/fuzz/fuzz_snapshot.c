/* A snapshot file of anybody's making, through snapshot_load(): refused with a reason, or loaded; never a crash, nor memory
 * by what it promises. The first byte says how the rest becomes a file: as it is; with a SHA-256 that is right, so that the
 * head and the zstd frame are looked at; as the state within a file whose head and frame are right, too. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "officer/snapshot.h"

#define SEQUENCE 7

enum form { AS_IT_IS, HASHED, FRAMED, FORMS };

static void put_framed(struct buf *file, struct str state)
{
	static const char head[56] = "ISODSNAP\1\0\0\0\0\0\0\0\7";
	size_t room = ZSTD_compressBound(state.n);
	char *packed = xmalloc(room);
	size_t n = ZSTD_compress(packed, room, state.p, state.n, 1);

	if (ZSTD_isError(n))
		abort();
	buf_add(file, str_make(head, sizeof(head)));
	buf_add(file, str_make(packed, n));
	free(packed);
}

static void put_hash(struct buf *file)
{
	uint8_t hash[SHA256_BYTES];
	struct str all = buf_str(file);

	sha256(&all, 1, hash);
	buf_add(file, str_make((const char *)hash, sizeof(hash)));
}

static void write_file(const char *path, struct str bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, bytes.p, bytes.n) != (ssize_t)bytes.n)
		abort();
	close(fd);
}

static const char *folder(void)
{
	static char dir[64];

	if (!dir[0]) {
		const char *tmp = getenv("TMPDIR");
		snprintf(dir, sizeof(dir), "%.40s/isod-fuzz-XXXXXX", tmp ? tmp : "/tmp");
		if (!mkdtemp(dir))
			abort();
	}
	return dir;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t chain[SHA256_BYTES];
	char name[SNAPSHOT_NAME_BYTES], error[512] = "";
	struct state s;
	struct buf file;

	if (size == 0)
		return 0;
	struct str rest = str_make((const char *)data + 1, size - 1);
	enum form form = (enum form)(data[0] % FORMS);
	buf_init(&file, 0);
	if (form == FRAMED)
		put_framed(&file, rest);
	else
		buf_add(&file, rest);
	if (form != AS_IT_IS)
		put_hash(&file);
	snapshot_name(SEQUENCE, name);
	char *path = xasprintf("%s/%s", folder(), name);
	write_file(path, buf_str(&file));
	state_init(&s);
	int r = snapshot_load(folder(), SEQUENCE, &s, chain, error, sizeof(error));
	if ((r < 0) != (error[0] != '\0') || (r == 0 && s.sequence != SEQUENCE))
		abort();
	state_release(&s);
	unlink(path);
	free(path);
	buf_release(&file);
	return 0;
}
