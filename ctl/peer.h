/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_PEER_H
#define CTL_PEER_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Who may use the control socket: root, this process's user, or, if set_group, a process with `group` among its groups
 * (SO_PEERCRED, SO_PEERGROUPS).
 */
bool ctl_peer_allowed(int fd, bool set_group, gid_t group);

#endif
