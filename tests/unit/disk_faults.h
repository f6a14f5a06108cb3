/* Faults of the disk: the pwrite, fdatasync and fsync of the test program stand before the C library's. */
#ifndef ISOD_TESTS_DISK_FAULTS_H
#define ISOD_TESTS_DISK_FAULTS_H

#include <errno.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
	size_t at_most;    /* bytes that one pwrite takes; 0: all */
	int interruptions; /* so many calls fail with EINTR first */
	bool room_limited;
	size_t room; /* bytes until `full` */
	int full;    /* the errno then */
	int sync_error;
	unsigned syncs, writes, dir_syncs;
	size_t wrote;
} disk;

int fsync(int fd)
{
	disk.dir_syncs++;
	return (int)syscall(SYS_fsync, fd);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
	disk.writes++;
	if (disk.interruptions > 0) {
		disk.interruptions--;
		errno = EINTR;
		return -1;
	}
	if (disk.at_most && n > disk.at_most)
		n = disk.at_most;
	if (disk.room_limited && n > disk.room)
		n = disk.room;
	if (n == 0) {
		errno = disk.full;
		return -1;
	}
	ssize_t r = syscall(SYS_pwrite64, fd, p, n, offset);
	if (r > 0) {
		disk.wrote += (size_t)r;
		disk.room -= disk.room_limited ? (size_t)r : 0;
	}
	return r;
}

int fdatasync(int fd)
{
	disk.syncs++;
	if (disk.sync_error) {
		errno = disk.sync_error;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

#endif
