/* The file of a backup: a tar archive (POSIX.1-1988 "ustar" headers, sizes past 8 GiB in GNU's base-256 form) in one zstd
 * stream, so that `tar --zstd -xf FILE` opens it anywhere. Only regular files, with plain relative names. Its last member
 * is SHA256SUMS, as sha256sum(1) writes it: the digest of every member before it. */
#ifndef ISOD_ISOCTL_BACKUP_FILE_H
#define ISOD_ISOCTL_BACKUP_FILE_H

#include <stdbool.h>

#include "base/str.h"

#define BACKUP_NAME_MAX 99 /* bytes of a member's name: what a ustar header holds */
#define BACKUP_SUMS     "SHA256SUMS"

/* A relative path of letters, digits, "-", "_" and dots that begin no part of it: neither hidden nor leading outside. */
bool backup_name_ok(struct str name);

/* ---- writing ---- */
struct backup_writer;

/* Creates PATH.part, which must not be there yet, and no PATH. 0 and *ret, or -errno. */
int backup_writer_new(const char *path, struct backup_writer **ret);
/* A member of exactly `size` bytes begins; those of the one before it have all come. 0, -EINVAL or -errno. */
int backup_writer_begin(struct backup_writer *w, struct str name, uint64_t size, uint64_t time_ns);
/* Its next bytes. 0, -EINVAL (more than its size) or -errno. */
int backup_writer_add(struct backup_writer *w, struct str bytes);
/* Adds the digests, syncs, renames to PATH and syncs the folder. 0 or -errno. */
int backup_writer_end(struct backup_writer *w);
/* Bytes and members so far. */
uint64_t backup_writer_bytes(const struct backup_writer *w);
uint64_t backup_writer_members(const struct backup_writer *w);
/* Also removes PATH.part unless it was ended. NULL is allowed. */
void backup_writer_free(struct backup_writer *w);

/* ---- restoring ---- */

struct backup_restored {
	uint64_t members, bytes;
};

/* Unpacks into the folder `into`, which is empty, and proves every digest. 0 and *ret, or -EBADMSG (damaged, cut off, no
 * backup) or -errno with `error`. */
int backup_unpack(const char *path, const char *into, struct backup_restored *ret, char *error,
                  size_t error_size);

#endif
