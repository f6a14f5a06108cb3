/* Faults of the machine for scenarios: a library that stands before the C library's calls (LD_PRELOAD) in the process
 * called "isod" and does, when it is told to, what a failing disk, a full disk, a power cut or a wrong clock would do.
 * The processes that isod starts load it too and are left alone. tests/integration/machine.py is the other end.
 *
 * ISOD_FAULTS names a file of FAULTS_BYTES that a test rewrites at any time; it is mapped, so it costs nothing to look.
 * A number in decimal stands in its first and, the same one, in its last eight bytes: unlike while it is being written.
 * Between them are lines:
 *
 *   fail OPERATION ERRNO PREFIX    calls on files below the absolute path PREFIX fail; OPERATION: write (also
 *                                  truncating and allocating), sync, open (for writing or creating, also mkdir, rename)
 *   clock SECONDS                  the wall clock is so far off; the monotonic one is right
 *
 * ISOD_FAULTS_DISK=SHADOW:ROOT records what a power cut would leave of the folder ROOT, as hard as POSIX allows a file
 * system to be: of a file's data what was there at the last fsync or fdatasync of it, of a folder's entries what was
 * there at the last fsync of that folder. In SHADOW:
 *
 *   root        the identity of ROOT
 *   files/ID    a file's bytes, written while the call that makes them durable has not returned yet
 *   folders/ID  a folder's entries, a line each: f or d, mode in octal, identity, name
 *
 * When SHADOW has no `root`, ROOT as it is found is what is durable. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FAULTS_BYTES 4096
#define NUMBER_BYTES 8
#define ID_BYTES     64
#define PATH_BYTES   4096
#define FILES_MAX                                                                                  \
	4096 /* written by one process and told apart; of more all is copied at each sync */
#define COPY_BYTES ((size_t)1 << 20)

static const char *faults; /* mapped; NULL: none */
static char *shadow, *root;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The lowest byte written since the last sync, by file. */
static struct written {
	dev_t device;
	ino_t inode;
	uint64_t from; /* UINT64_MAX: nothing */
} written[FILES_MAX];
static size_t written_count;

#define REAL(name)                                                                                 \
	static __typeof__(&name) real;                                                             \
	if (!real)                                                                                 \
	real = (__typeof__(real))(uintptr_t)dlsym(RTLD_NEXT, #name)

/* ---- what is asked for ---- */

/* A copy that was not being written meanwhile, terminated. */
static bool read_faults(char out[static FAULTS_BYTES + 1])
{
	for (int i = 0; faults && i < 1000; i++) {
		memcpy(out, (const void *)faults, FAULTS_BYTES);
		out[FAULTS_BYTES] = '\0';
		if (memcmp(out, out + FAULTS_BYTES - NUMBER_BYTES, NUMBER_BYTES) == 0)
			return true;
	}
	return false;
}

static bool below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(path, prefix, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* The error with which `operation` on `path` fails, or 0. */
static int fault_of(const char *operation, const char *path)
{
	char text[FAULTS_BYTES + 1], *rest, op[16], prefix[PATH_BYTES];
	int error;

	if (!faults || !path || !read_faults(text))
		return 0;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (sscanf(line, "fail %15s %d %4095s", op, &error, prefix) == 3 &&
		    strcmp(op, operation) == 0 && below(path, prefix))
			return error;
	return 0;
}

static int64_t clock_offset(void)
{
	char text[FAULTS_BYTES + 1];
	long long seconds = 0;

	if (!faults || !read_faults(text))
		return 0;
	const char *line = strstr(text, "\nclock ");
	return line && sscanf(line, "\nclock %lld", &seconds) == 1 ? seconds : 0;
}

/* ---- paths ---- */

/* The path of a regular file or folder, or NULL: no business of ours. */
static const char *path_of(int fd, char out[static PATH_BYTES])
{
	char link[64];
	struct stat st;

	if ((!faults && !shadow) || fstat(fd, &st) < 0 ||
	    (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, out, PATH_BYTES - 1);
	if (n <= 0)
		return NULL;
	out[n] = '\0';
	return out;
}

/* The same of a name in the folder `at`, whether it exists or not. */
static const char *path_at(int at, const char *name, char out[static PATH_BYTES])
{
	char folder[PATH_BYTES] = "";

	if (!faults || !name)
		return NULL;
	if (name[0] != '/' && at == AT_FDCWD && !getcwd(folder, sizeof(folder)))
		return NULL;
	if (name[0] != '/' && at != AT_FDCWD && !path_of(at, folder))
		return NULL;
	int n = snprintf(out, PATH_BYTES, "%s%s%s", folder, folder[0] ? "/" : "", name);
	return n < PATH_BYTES ? out : NULL;
}

static bool fails(const char *operation, const char *path)
{
	int error = fault_of(operation, path);

	if (error)
		errno = error;
	return error != 0;
}

static bool fails_fd(const char *operation, int fd)
{
	char path[PATH_BYTES];

	return faults && fails(operation, path_of(fd, path));
}

/* ---- the shadow: what is durable ---- */

static void die(const char *what)
{
	fprintf(stderr, "faults: %s: %s\n", what, strerror(errno));
	_exit(120);
}

/* Inodes are used again, so the time of birth belongs to the identity. */
static bool identify(int at, const char *name, char id[static ID_BYTES], mode_t *ret_mode)
{
	struct statx s;

	if (statx(at, name, AT_SYMLINK_NOFOLLOW | (name[0] ? 0 : AT_EMPTY_PATH),
	          STATX_BASIC_STATS | STATX_BTIME, &s) < 0)
		return false;
	snprintf(id, ID_BYTES, "%llu-%lld-%u", (unsigned long long)s.stx_ino,
	         (long long)s.stx_btime.tv_sec, s.stx_btime.tv_nsec);
	*ret_mode = s.stx_mode;
	return true;
}

static int real_open(const char *path, int flags)
{
	static int (*real)(int, const char *, int, ...);

	if (!real)
		real = (int (*)(int, const char *, int, ...))(uintptr_t)dlsym(RTLD_NEXT, "openat");
	return real(AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static ssize_t real_pwrite(int fd, const void *p, size_t n, off_t offset)
{
	REAL(pwrite);
	return real(fd, p, n, offset);
}

static uint64_t take_written(const struct stat *st)
{
	uint64_t from = 0;

	for (size_t i = 0; i < written_count; i++) {
		if (written[i].device != st->st_dev || written[i].inode != st->st_ino)
			continue;
		from = written[i].from;
		written[i].from = UINT64_MAX;
		return from;
	}
	if (written_count < FILES_MAX)
		written[written_count++] = (struct written){st->st_dev, st->st_ino, UINT64_MAX};
	return 0;
}

static void note_written(int fd, uint64_t from)
{
	struct stat st;

	if (!shadow || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < written_count; i++)
		if (written[i].device == st.st_dev && written[i].inode == st.st_ino &&
		    from < written[i].from)
			written[i].from = from;
	pthread_mutex_unlock(&lock);
}

/* Copies a file from byte `from` on. */
static void copy_file(int fd, const char *id, uint64_t from, uint64_t size)
{
	char path[PATH_BYTES];
	char *bytes = malloc(COPY_BYTES);

	snprintf(path, sizeof(path), "%s/files/%s", shadow, id);
	int to = real_open(path, O_WRONLY | O_CREAT);
	if (to < 0 || !bytes)
		die(path);
	while (from < size) {
		uint64_t left = size - from;
		ssize_t n = pread(fd, bytes, left < COPY_BYTES ? left : COPY_BYTES, (off_t)from);
		if (n <= 0)
			break;
		if (real_pwrite(to, bytes, (size_t)n, (off_t)from) != n)
			die(path);
		from += (uint64_t)n;
	}
	static int (*real_truncate)(int, off_t);
	if (!real_truncate)
		real_truncate = (int (*)(int, off_t))(uintptr_t)dlsym(RTLD_NEXT, "ftruncate");
	if (real_truncate(to, (off_t)size) < 0)
		die(path);
	close(to);
	free(bytes);
}

static void keep_file(int fd)
{
	char id[ID_BYTES];
	struct stat st;
	mode_t mode;

	/* fsync(2) may be asked of a descriptor that cannot be read. */
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	int from = real_open(link, O_RDONLY);
	if (from < 0 || fstat(from, &st) < 0 || !identify(from, "", id, &mode)) {
		if (from >= 0)
			close(from);
		return;
	}
	copy_file(from, id, take_written(&st), (uint64_t)st.st_size);
	close(from);
}

static void keep_folder(int fd, bool deep)
{
	char id[ID_BYTES], path[PATH_BYTES], temporary[PATH_BYTES + 8];
	mode_t mode;
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = own < 0 ? NULL : fdopendir(own);
	const struct dirent *e;

	if (!d || !identify(own, "", id, &mode))
		die("a folder");
	snprintf(path, sizeof(path), "%s/folders/%s", shadow, id);
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	FILE *out = fdopen(real_open(temporary, O_WRONLY | O_CREAT | O_TRUNC), "w");
	if (!out)
		die(temporary);
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    !identify(own, e->d_name, id, &mode) || (!S_ISREG(mode) && !S_ISDIR(mode)))
			continue;
		fprintf(out, "%c %o %s %s\n", S_ISDIR(mode) ? 'd' : 'f', mode & 07777, id,
		        e->d_name);
		int inner = deep ? openat(own, e->d_name, O_RDONLY | O_CLOEXEC) : -1;
		if (inner >= 0 && S_ISDIR(mode))
			keep_folder(inner, true);
		else if (inner >= 0)
			keep_file(inner);
		if (inner >= 0)
			close(inner);
	}
	fclose(out);
	static int (*real_rename)(const char *, const char *);
	if (!real_rename)
		real_rename =
			(int (*)(const char *, const char *))(uintptr_t)dlsym(RTLD_NEXT, "rename");
	if (real_rename(temporary, path) < 0)
		die(path);
	closedir(d);
}

/* After a sync that worked. */
static void keep(int fd)
{
	char path[PATH_BYTES];
	struct stat st;
	int error = errno;

	if (!shadow || !path_of(fd, path) || !below(path, root) || fstat(fd, &st) < 0)
		return;
	pthread_mutex_lock(&lock);
	if (S_ISDIR(st.st_mode))
		keep_folder(fd, false);
	else
		keep_file(fd);
	pthread_mutex_unlock(&lock);
	errno = error;
}

static void begin_shadow(void)
{
	char path[PATH_BYTES], id[ID_BYTES];
	mode_t mode;

	snprintf(path, sizeof(path), "%s/root", shadow);
	if (access(path, F_OK) == 0)
		return;
	snprintf(path, sizeof(path), "%s/files", shadow);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/folders", shadow);
	mkdir(path, 0700);
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || !identify(fd, "", id, &mode))
		die(root);
	keep_folder(fd, true);
	close(fd);
	snprintf(path, sizeof(path), "%s/root", shadow);
	FILE *out = fdopen(real_open(path, O_WRONLY | O_CREAT | O_TRUNC), "w");
	if (!out || fprintf(out, "%s\n", id) < 0 || fclose(out) != 0)
		die(path);
}

__attribute__((constructor)) static void begin(void)
{
	const char *control = getenv("ISOD_FAULTS"), *disk = getenv("ISOD_FAULTS_DISK");

	if (strcmp(program_invocation_short_name, "isod") != 0)
		return;
	int fd = control ? real_open(control, O_RDONLY) : -1;
	if (control && fd < 0)
		die(control);
	void *p = fd < 0 ? NULL : mmap(NULL, FAULTS_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die(control);
	if (fd >= 0)
		close(fd);
	if (disk) {
		shadow = strdup(disk);
		root = shadow ? strchr(shadow, ':') : NULL;
		if (!root)
			die("ISOD_FAULTS_DISK");
		*root++ = '\0';
		begin_shadow();
	}
	faults = p;
}

/* ---- the calls ---- */

static bool for_writing(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list ap;

	va_start(ap, flags);
	mode_t mode = mode_of(flags, ap);
	va_end(ap);
	return openat(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list ap;

	va_start(ap, flags);
	mode_t mode = mode_of(flags, ap);
	va_end(ap);
	return openat(AT_FDCWD, path, flags, mode);
}

/* What _FORTIFY_SOURCE makes of the two when no mode is given. */
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
	return openat(AT_FDCWD, path, flags, 0);
}

int __openat_2(int at, const char *path, int flags);
int __openat_2(int at, const char *path, int flags)
{
	return openat(at, path, flags, 0);
}

int openat(int at, const char *path, int flags, ...)
{
	char whole[PATH_BYTES];
	va_list ap;
	REAL(openat);

	va_start(ap, flags);
	mode_t mode = mode_of(flags, ap);
	va_end(ap);
	if (for_writing(flags) && fails("open", path_at(at, path, whole)))
		return -1;
	return real(at, path, flags, mode);
}

int mkdir(const char *path, mode_t mode)
{
	char whole[PATH_BYTES];
	REAL(mkdir);

	return fails("open", path_at(AT_FDCWD, path, whole)) ? -1 : real(path, mode);
}

int rename(const char *from, const char *to)
{
	char whole[PATH_BYTES];
	REAL(rename);

	return fails("open", path_at(AT_FDCWD, to, whole)) ? -1 : real(from, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
	char whole[PATH_BYTES];
	REAL(renameat);

	return fails("open", path_at(to_at, to, whole)) ? -1 : real(from_at, from, to_at, to);
}

ssize_t write(int fd, const void *p, size_t n)
{
	REAL(write);

	if (!faults && !shadow)
		return real(fd, p, n);
	if (fails_fd("write", fd))
		return -1;
	off_t at = shadow ? lseek(fd, 0, SEEK_CUR) : 0;
	if (shadow && (fcntl(fd, F_GETFL) & O_APPEND))
		at = 0;
	ssize_t r = real(fd, p, n);
	if (r > 0 && at >= 0)
		note_written(fd, (uint64_t)at);
	return r;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	REAL(writev);

	if (fails_fd("write", fd))
		return -1;
	note_written(fd, 0);
	return real(fd, parts, count);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
	if (fails_fd("write", fd))
		return -1;
	ssize_t r = real_pwrite(fd, p, n, offset);
	if (r > 0)
		note_written(fd, (uint64_t)offset);
	return r;
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t offset)
{
	return pwrite(fd, p, n, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	REAL(pwritev);

	if (fails_fd("write", fd))
		return -1;
	note_written(fd, (uint64_t)offset);
	return real(fd, parts, count, offset);
}

int ftruncate(int fd, off_t size)
{
	REAL(ftruncate);

	if (fails_fd("write", fd))
		return -1;
	note_written(fd, (uint64_t)size);
	return real(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
	REAL(fallocate);

	return fails_fd("write", fd) ? -1 : real(fd, mode, offset, size);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
	REAL(posix_fallocate);

	return fails_fd("write", fd) ? errno : real(fd, offset, size);
}

int fsync(int fd)
{
	REAL(fsync);

	if (fails_fd("sync", fd))
		return -1;
	int r = real(fd);
	if (r == 0)
		keep(fd);
	return r;
}

int fdatasync(int fd)
{
	REAL(fdatasync);

	if (fails_fd("sync", fd))
		return -1;
	int r = real(fd);
	if (r == 0)
		keep(fd);
	return r;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	REAL(clock_gettime);
	int r = real(id, ts);

	if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		ts->tv_sec += clock_offset();
	return r;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	REAL(gettimeofday);
	int r = real(tv, zone);

	if (r == 0)
		tv->tv_sec += clock_offset();
	return r;
}

time_t time(time_t *ret)
{
	REAL(time);
	time_t now = real(NULL) + clock_offset();

	if (ret)
		*ret = now;
	return now;
}
