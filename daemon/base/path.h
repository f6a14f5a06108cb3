/* Files and folders. */
#ifndef ISOD_BASE_PATH_H
#define ISOD_BASE_PATH_H

#include <sys/types.h>

#include "base/buf.h"

/* Makes `path` and its missing parents with `mode`. 0 or -errno. */
int path_make_dirs(const char *path, mode_t mode);

/* Appends the whole file to `out`, whose cap bounds the size. 0, -errno, or -EFBIG past the cap. */
int path_read(const char *path, struct buf *out);

/* write(2) until everything is written. 0 or -errno. Takes no lock: a forked child may call it. */
int path_write_all(int fd, struct str content);

/* Writes `content` to a file beside `path`, syncs it, renames it over `path` and syncs the folder. 0 or -errno. */
int path_write_atomic(const char *path, struct str content, mode_t mode);

/* Every regular file under `path` (itself, if it is one) whose name ends in one of `suffixes` (NULL-ended
 * list; NULL: all), in byte order of the whole path; hidden names and symlinked folders are skipped.
 * *ret_paths: array of *ret_count strings; the caller frees each and the array (path_free_list).
 * 0 or -errno. */
int path_list(const char *path, const char *const *suffixes, char ***ret_paths, size_t *ret_count);
void path_free_list(char **paths, size_t count);

/* `name` if absolute, else DIR of `beside` + "/" + name. The caller frees. */
char *path_beside(const char *beside, const char *name);

#endif
