/* A fresh folder for a test to write in, and its end with all that is in it. A test that skips itself after setup has
 * to remove its folder first: no teardown follows. */
#ifndef ISOD_TESTS_FOLDER_H
#define ISOD_TESTS_FOLDER_H

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER_BYTES 64

static inline void folder_new(char dir[static FOLDER_BYTES], const char *name)
{
	snprintf(dir, FOLDER_BYTES, "/tmp/isod-%s-XXXXXX", name);
	cr_assert_not_null(mkdtemp(dir), "%s: %s", dir, strerror(errno));
}

static inline int folder_remove_one(const char *path, const struct stat *st, int flag,
                                    struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void folder_remove(const char *dir)
{
	int r = nftw(dir, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);

	cr_expect_eq(r, 0, "%s is left behind: %s", dir, strerror(errno));
}

#endif
