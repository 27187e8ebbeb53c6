/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_SYSTEM_H
#define BASE_SYSTEM_H

/*
 * What Linux can do and not every C library, kernel or container knows: Debian 11 has an older C library and older kernel
 * headers than some of this, musl lacks more, and a container's seccomp filter refuses what it has not heard of, by EPERM as
 * often as by ENOSYS. Calls are made by number, which is the same everywhere, so that there is one way to test; what can be
 * done without a call is done without it.
 */

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif
#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ 22
#endif
/* Bits of system_statx.mask, by the names of statx(2). */
#ifndef STATX_TYPE
#define STATX_TYPE 0x00000001U
#define STATX_INO 0x00000100U
#endif
#ifndef STATX_MNT_ID /* Linux 5.8 */
#define STATX_MNT_ID 0x00001000U
#endif

/* What an errno means, in English and for ever. Any thread. */
const char *system_errno_text(int err);

/*
 * epoll_wait(2) that waits for ns, less than a second. Where the kernel refuses that (Linux before 5.11, old seccomp filters)
 * it waits for whole ms, at least as long. What epoll_wait(2) returns; the errno is EINTR or that of a bad argument.
 */
int system_epoll_wait_ns(int epoll_fd, struct epoll_event *events, int room, uint64_t timeout_ns);

/*
 * Reads what is there already, whether or not the file is non-blocking. -1 with EAGAIN: nothing is. Where the kernel does not
 * know that for this file, it is asked first whether there is something, and who races us to it may make us wait.
 */
ssize_t system_read_now(int fd, void *buffer, size_t bytes);

/* statx(2), whose struct musl has since 1.2.5 only, and no C library under a name for all its fields. */
struct system_statx {
	uint32_t mask, block_bytes;
	uint64_t attributes;
	uint32_t links, uid, gid;
	uint16_t mode, zero;
	uint64_t ino, bytes, blocks, attributes_mask;
	uint64_t times[8];
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t mount; /* with STATX_MNT_ID */
	uint64_t later[13];
};

int system_statx(int folder_fd, const char *name, int flags, unsigned mask, struct system_statx *ret_statx);

/* pidfd_open(2) and pidfd_getfd(2): an fd, or -1 with errno. ENOSYS before Linux 5.3 and 5.6. */
int system_pidfd_open(pid_t process);
int system_pidfd_getfd(int pidfd, int fd);

#endif
