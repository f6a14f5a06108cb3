/* Files and folders, in a folder of their own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"

static char folder[64];

static char *inside(const char *name)
{
	static char paths[8][256];
	static size_t turn;
	char *path = paths[turn++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static void setup(void)
{
	strcpy(folder, "/tmp/isod-path-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
}

static void teardown(void)
{
	char *command = xasprintf("chmod -R u+w %s; rm -rf %s", folder, folder);
	cr_expect_eq(system(command), 0);
	free(command);
}

TestSuite(path, .init = setup, .fini = teardown);

static void put(const char *name, const char *text)
{
	cr_assert_eq(path_write_atomic(inside(name), str_of(text), 0600), 0);
}

Test(path, folders_are_made_with_their_parents)
{
	struct stat st;

	cr_assert_eq(path_make_dirs(inside("a/b//c/"), 0700), 0);
	cr_assert_eq(stat(inside("a/b/c"), &st), 0);
	cr_assert(S_ISDIR(st.st_mode));
	cr_assert_eq(st.st_mode & 0777, 0700);
	cr_assert_eq(path_make_dirs(inside("a/b"), 0700), 0, "it may be there");
	cr_assert_eq(path_make_dirs("/", 0700), 0);
	put("file", "x");
	cr_assert_eq(path_make_dirs(inside("file"), 0700), -ENOTDIR);
	cr_assert_lt(path_make_dirs(inside("file/below"), 0700), 0);
	cr_assert_eq(path_make_dirs("", 0700), -ENOENT);
}

Test(path, a_file_is_written_whole_or_not_at_all)
{
	struct buf b;
	struct stat st;

	buf_init(&b, 0);
	put("f", "old");
	cr_assert_eq(path_write_atomic(inside("f"), STR("new\0content"), 0640), 0);
	cr_assert_eq(path_read(inside("f"), &b), 0);
	cr_assert(str_eq(buf_str(&b), STR("new\0content")));
	cr_assert_eq(stat(inside("f.new"), &st), -1, "nothing is left beside it");
	cr_assert_lt(path_write_atomic(inside("missing/f"), STR("x"), 0600), 0);
	cr_assert_eq(path_make_dirs(inside("d"), 0700), 0);
	cr_assert_lt(path_write_atomic(inside("d"), STR("x"), 0600), 0, "a folder is no file");
	cr_assert_eq(stat(inside("d.new"), &st), -1);
	buf_release(&b);
}

Test(path, a_name_without_a_folder_is_written_here)
{
	struct buf b;

	buf_init(&b, 0);
	cr_assert_eq(chdir(folder), 0);
	cr_assert_eq(path_write_atomic("here", STR("x"), 0600), 0);
	cr_assert_eq(path_read(inside("here"), &b), 0);
	cr_assert_eq(chdir("/"), 0);
	buf_release(&b);
}

Test(path, reading_is_bounded)
{
	struct buf b;

	buf_init(&b, 10);
	put("ten", "0123456789");
	put("eleven", "0123456789a");
	cr_assert_eq(path_read(inside("ten"), &b), 0);
	cr_assert_eq(b.n, 10);
	buf_reset(&b);
	cr_assert_eq(path_read(inside("eleven"), &b), -EFBIG);
	buf_reset(&b);
	cr_assert_eq(path_read("/dev/zero", &b), -EFBIG);
	cr_assert_eq(path_read(inside("missing"), &b), -ENOENT);
	cr_assert_eq(path_read(folder, &b), -EISDIR);
	buf_release(&b);
	buf_init(&b, 0);
	buf_add(&b, STR("before "));
	cr_assert_eq(path_read(inside("ten"), &b), 0);
	cr_assert_str_eq(buf_cstr(&b), "before 0123456789", "appended");
	buf_release(&b);
}

Test(path, a_listing_is_ordered_and_follows_no_folder_link)
{
	static const char *const suffixes[] = {".yml", ".yaml", NULL};
	static const char *const want[] = {"B.yml", "a.yml", "linked.yml", "sub/c.yaml",
	                                   "sub/d.yml"};
	char **paths;
	size_t count;

	path_make_dirs(inside("sub/empty"), 0700);
	put("a.yml", "");
	put("B.yml", "");
	put("other.txt", "");
	put(".hidden.yml", "");
	put("sub/d.yml", "");
	put("sub/c.yaml", "");
	cr_assert_eq(symlink(folder, inside("sub/loop")), 0);
	cr_assert_eq(symlink("a.yml", inside("linked.yml")), 0);
	cr_assert_eq(symlink("nowhere.yml", inside("dangling.yml")), 0);
	cr_assert_eq(path_list(folder, suffixes, &paths, &count), 0);
	cr_assert_eq(count, ARRAY_LEN(want));
	for (size_t i = 0; i < count; i++)
		cr_assert_str_eq(paths[i], inside(want[i]));
	path_free_list(paths, count);

	cr_assert_eq(path_list(inside("other.txt"), suffixes, &paths, &count), 0);
	cr_assert_eq(count, 1, "a file that is named itself counts whatever its suffix");
	path_free_list(paths, count);
	cr_assert_eq(path_list(inside("sub/empty"), NULL, &paths, &count), 0);
	cr_assert_eq(count, 0);
	path_free_list(paths, count);
	cr_assert_eq(path_list(inside("missing"), NULL, &paths, &count), -ENOENT);
}

Test(path, folders_too_deep_are_an_error)
{
	char *deep = xstrdup(inside("d"));
	char **paths;
	size_t count;

	for (int i = 0; i < 40; i++) {
		char *deeper = xasprintf("%s/d", deep);
		free(deep);
		deep = deeper;
	}
	cr_assert_eq(path_make_dirs(deep, 0700), 0);
	cr_assert_eq(path_list(folder, NULL, &paths, &count), -ELOOP);
	free(deep);
}

static void expect_beside(const char *beside, const char *name, const char *want)
{
	char *got = path_beside(beside, name);
	cr_assert_str_eq(got, want);
	free(got);
}

Test(path, beside)
{
	expect_beside("/etc/isod/isod.yaml", "rules", "/etc/isod/rules");
	expect_beside("/etc/isod/isod.yaml", "/abs", "/abs");
	expect_beside("/isod.yaml", "rules", "/rules");
	expect_beside("conf/isod.yaml", "rules", "conf/rules");
	expect_beside("isod.yaml", "rules", "rules");
}
