/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_LISTEN_H
#define CTL_LISTEN_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

/* The control socket in the file system, and who may use it. */

struct ctl_listener {
	int fd; /* -1: none */
	char *path;
	dev_t dev; /* of the socket that we made: another daemon's is not ours to remove */
	ino_t ino;
};

/* See ctl_server_new() for errors. Fills *ret_listener (fd -1 before) on success. */
int ctl_listen(const char *path, bool set_group, gid_t group, struct ctl_listener *ret_listener);
void ctl_unlisten(struct ctl_listener *listener);

/*
 * Root, this process's user, or, if set_group, a process with `group` among its groups (SO_PEERCRED,
 * SO_PEERGROUPS).
 */
bool ctl_peer_allowed(int fd, bool set_group, gid_t group);

#endif
