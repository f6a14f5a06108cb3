#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define DEPTH_MAX 32 /* folders inside folders; deeper is a mistake or a loop */

int path_make_dirs(const char *path, mode_t mode)
{
	if (!path[0])
		return -ENOENT;
	char *copy = xstrdup(path);
	int r = 0;

	for (char *at = copy + 1; r == 0; at++) {
		char c = *at;
		if (c != '/' && c != '\0')
			continue;
		*at = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			r = -errno;
		*at = c;
		if (c == '\0')
			break;
	}
	free(copy);
	struct stat st;
	if (r == 0 && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)))
		r = -ENOTDIR;
	return r;
}

int path_read(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = 0;
	char chunk[16384];

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = -errno;
		if (n <= 0)
			break;
		if (buf_append(out, chunk, (size_t)n) < 0) {
			r = -EFBIG;
			break;
		}
	}
	close(fd);
	return r;
}

int path_write_all(int fd, struct str content)
{
	while (content.n) {
		ssize_t n = write(fd, content.p, content.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		content = str_skip(content, (size_t)n);
	}
	return 0;
}

/* So that the new name survives power loss too, not only the contents. */
static int sync_folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	free(folder);
	return r;
}

int path_write_atomic(const char *path, struct str content, mode_t mode)
{
	char *temporary = xasprintf("%s.new", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	int r = fd < 0 ? -errno : path_write_all(fd, content);

	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0 && fd >= 0)
		unlink(temporary);
	free(temporary);
	return r < 0 ? r : sync_folder_of(path);
}

struct listing {
	const char *const *suffixes;
	char **paths;
	size_t count, cap;
};

static bool wanted(const char *name, const char *const *suffixes)
{
	if (!suffixes)
		return true;
	for (; *suffixes; suffixes++)
		if (str_ends(str_of(name), str_of(*suffixes)))
			return true;
	return false;
}

static void listing_add(struct listing *l, const char *path)
{
	xgrow(&l->paths, &l->cap, l->count + 1, sizeof(*l->paths));
	l->paths[l->count++] = xstrdup(path);
}

static int list_dir(struct listing *l, const char *path, int depth)
{
	DIR *dir = depth < DEPTH_MAX ? opendir(path) : NULL;
	struct dirent *d;
	int r = 0;

	if (!dir)
		return depth < DEPTH_MAX ? -errno : -ELOOP;
	while (r == 0 && (d = readdir(dir))) {
		struct stat st;
		if (d->d_name[0] == '.')
			continue;
		char *child = xasprintf("%s/%s", path, d->d_name);
		if (lstat(child, &st) == 0 && S_ISDIR(st.st_mode))
			r = list_dir(l, child, depth + 1);
		else if (stat(child, &st) == 0 && S_ISREG(st.st_mode) &&
		         wanted(d->d_name, l->suffixes))
			listing_add(l, child);
		free(child);
	}
	closedir(dir);
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int path_list(const char *path, const char *const *suffixes, char ***ret_paths, size_t *ret_count)
{
	struct listing l = {.suffixes = suffixes};
	struct stat st;
	int r = 0;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		r = list_dir(&l, path, 0);
	else
		listing_add(&l, path);
	if (r < 0) {
		path_free_list(l.paths, l.count);
		return r;
	}
	if (l.count)
		qsort(l.paths, l.count, sizeof(*l.paths), by_name);
	*ret_paths = l.paths;
	*ret_count = l.count;
	return 0;
}

void path_free_list(char **paths, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(paths[i]);
	free(paths);
}

char *path_beside(const char *beside, const char *name)
{
	const char *slash = strrchr(beside, '/');

	if (name[0] == '/' || !slash)
		return xstrdup(name);
	return xasprintf("%.*s/%s", (int)(slash - beside), beside, name);
}
