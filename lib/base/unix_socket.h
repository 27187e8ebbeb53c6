/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_UNIX_SOCKET_H
#define BASE_UNIX_SOCKET_H

/* UNIX stream sockets by path, of any length (see fd_unix_address()). All are non-blocking and close-on-exec. */

#include <stdbool.h>
#include <sys/types.h>

struct drop;

struct unix_listen_config {
	const char *path;
	mode_t mode; /* (mode_t)-1: what the umask leaves */
	uid_t uid;   /* (uid_t)-1, (gid_t)-1: nobody else's */
	gid_t gid;
	int backlog;
	struct drop *drop; /* or NULL: lets go of what a stranger may be at the other end of */
};

struct unix_listener {
	int fd; /* -1: none */
	char *path;
	dev_t device; /* the socket's inode: what is unlinked in the end is ours */
	ino_t inode;
};

/*
 * Listens at the path, which appears with mode and owner right before anybody can connect. A socket that a dead process has
 * left there is replaced; of all who call this at the same time for one path, in any process, one succeeds. -EADDRINUSE:
 * somebody answers there; -EEXIST: something is there that is no socket; -EACCES: the folder may not be read and written,
 * or what is there may not be removed; -EBUSY: somebody has held a lock (flock(2)) on the folder for a second; or what open,
 * bind and chown say. *ret_listener is untouched then.
 */
int unix_listen(const struct unix_listen_config *config, struct unix_listener *ret_listener);

/*
 * Does somebody hold the lock on the path's folder, which unix_listen() would wait for? Does not wait; false if the folder cannot be
 * opened, because unix_listen() says why.
 */
bool unix_listen_waits(const char *path);

/*
 * Takes the socket away if it is still ours, then refuses whoever comes. Takes an empty one (fd -1). Those who wait for their
 * connection to be accepted may have sent fds already: they are let go of by `drop`.
 */
void unix_unlisten(struct unix_listener *listener, struct drop *drop);

/* Never blocks: AF_UNIX connects at once or not at all. -EAGAIN: a full backlog. */
int unix_connect(const char *path, struct drop *drop, int *ret_fd);

#endif
