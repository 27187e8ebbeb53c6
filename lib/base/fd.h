/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* An fd variable owns its fd: -1 is empty. Closing empties it, taking moves it out. */
void fd_close(int *fd);
int fd_take(int *fd);

int fd_nonblocking(int fd); /* sets O_NONBLOCK; 0 or -errno */

int fd_event_new(int *ret_fd); /* eventfd, non-blocking, close-on-exec */
void fd_event_raise(int fd);   /* async-signal-safe; a full counter is as good as raised */
void fd_event_clear(int fd);

/*
 * What this kernel knows of an fd's file already. fstat(2) would ask the file system, and FUSE its server, who may be the
 * peer that has handed us the fd, and never answer. 0 or -errno.
 */
struct fd_file {
	mode_t type; /* S_IFREG, ...; 0: an anonymous inode */
	dev_t dev;
	ino_t ino;
	bool mounted; /* `mount` holds (Linux 5.8) */
	uint64_t mount; /* as /proc/self/mountinfo numbers it */
};

int fd_look(int fd, struct fd_file *ret_file);
int fd_look_at(int folder_fd, const char *name, int flags, struct fd_file *ret_file); /* as openat(2) finds it; AT_* */

bool fd_is_pipe(int fd);
bool fd_is_eventfd(int fd);

/*
 * Makes an fd, which a peer handed us, fit to notify, and non-blocking. An eventfd stays what it is: the peer shares
 * its open file and may make it block again, see notifier.h. -EINVAL for anything else, which could make a worker block:
 * a pipe among it, whose lock its owner holds for as long as a read of his takes, and O_NONBLOCK does not look at that.
 */
int fd_notifier_take(int fd);
/*
 * The same, but a peer's eventfd stays blocking if it is: the open file is the peer's, who may rely on that.
 * For who never reads it and raises it by a notifier (see notifier.h), or not at all.
 */
int fd_notifier_borrow(int fd);

/*
 * Makes a connected UNIX stream socket fit to notify by fd_socket_raise(): nothing comes in by it any more, so that no
 * peer's file descriptors, which may take their time, are in it when it is closed. -EINVAL for anything else, or if
 * something has come in already.
 */
int fd_socket_take(int fd);
void fd_socket_raise(int fd); /* sends 8 bytes, or none: full is as good as raised */

/*
 * A UNIX address for `path`: one longer than sun_path (107 bytes) is named through an O_PATH fd of its
 * directory (/proc/self/fd/N/name), into which the last component has to fit (about 88 bytes). *ret_dir_fd
 * (or -1) is to be kept until the address has been used, then closed by the caller. -ENAMETOOLONG, -EINVAL
 * (empty), or what open says.
 */
int fd_unix_address(const char *path, struct sockaddr_un *ret_addr, socklen_t *ret_len, int *ret_dir_fd);

#endif
