/* Arbitrary bytes as a backup: unpacking must end and leave nothing outside its folder. The first byte chooses what they are:
 * the file itself; an archive, compressed here, so that what reads tar is reached; or the contents of an archive whose
 * headers and digests are right, with one byte of it changed. */
#include <dirent.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* isoctl's files are in no library. */
#include "isoctl_backup_file.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char made[64];

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static void remove_made(void)
{
	nftw(made, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_folder(void)
{
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	snprintf(made, sizeof(made), "%s/isod-fuzz-backup-%d", base, (int)getpid());
	if (mkdir(made, 0700) < 0)
		abort();
}

static void put(const char *path, const void *p, size_t n)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0)
		abort();
}

static void put_packed(const char *path, const uint8_t *p, size_t n)
{
	size_t room = ZSTD_compressBound(n);
	char *packed = xmalloc(room);

	n = ZSTD_compress(packed, room, p, n, 1);
	put(path, packed, n);
	free(packed);
}

/* Some members with what the input says, changed at one byte of the uncompressed archive if `change`. */
static void put_archive(const char *path, const uint8_t *p, size_t n, bool change)
{
	static const char *const names[] = {"BACKUP", "ledger/00000000000000000001.log", "anchors"};
	struct backup_writer *w;
	size_t third = n / 3;

	if (backup_writer_new(path, &w) < 0)
		abort();
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str part = str_make((const char *)p + i * third, third);
		if (backup_writer_begin(w, str_of(names[i]), part.n, 0) < 0 ||
		    backup_writer_add(w, part) < 0)
			abort();
	}
	if (backup_writer_end(w) < 0)
		abort();
	backup_writer_free(w);
	if (!change || n < 3)
		return;
	struct buf file;
	buf_init(&file, 0);
	if (path_read(path, &file) < 0)
		abort();
	size_t room = n + ((size_t)64 << 10);
	uint8_t *plain = xmalloc(room);
	size_t got = ZSTD_decompress(plain, room, file.p, file.n);
	if (ZSTD_isError(got)) {
		/* A stream does not tell its size when there was much: it is left as it is. */
		free(plain);
		buf_release(&file);
		return;
	}
	plain[((size_t)p[1] << 8 | p[2]) % got] ^= (uint8_t)(p[0] | 1);
	put_packed(path, plain, got);
	free(plain);
	buf_release(&file);
}

/* Nothing may stand beside the file and the folder. */
static size_t others(void)
{
	size_t count = 0;
	DIR *d = opendir(made);
	const struct dirent *e;

	while (d && (e = readdir(d)))
		count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	if (d)
		closedir(d);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char file[128], into[128], error[512];
	struct backup_restored done;

	if (size < 1)
		return 0;
	make_folder();
	snprintf(file, sizeof(file), "%s/file", made);
	snprintf(into, sizeof(into), "%s/into", made);
	if (mkdir(into, 0700) < 0)
		abort();
	unsigned form = data[0] & 3;
	if (form == 0)
		put(file, data + 1, size - 1);
	else if (form == 1)
		put_packed(file, data + 1, size - 1);
	else
		put_archive(file, data + 1, size - 1, form == 3);
	int r = backup_unpack(file, into, &done, error, sizeof(error));
	if (form == 2 && r < 0)
		abort();
	if (r < 0 && !strstr(error, file))
		abort();
	if (others() != 2)
		abort();
	remove_made();
	return 0;
}
