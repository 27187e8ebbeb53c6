/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_BRIDGE_TALK_H
#define SWITCHD_BRIDGE_TALK_H

/*
 * A talk with the kernel about one of its interfaces and the bridge that it is a port of. The kernel answers when it has RTNL, the lock of all
 * interfaces, which others may hold for long: so all of this is for a thread that may wait (daemon/errand.h).
 */

#include "bridge_netlink.h"

struct bridge_seen {
	struct bridge_link bridge; /* of_bridge: the interface is a port of this one */
	uint16_t pvid;		   /* of frames without a tag, where it filters; 0: they go nowhere */
	struct bridge_address *addresses; /* whose room is given: what we, or somebody like us, have told the bridge of this port */
	uint32_t count, room;
	bool more; /* there are others, for which there was no room */
};

int bridge_talk_open(int *ret_fd);
/* What is there? -ENODEV: no such interface; -EINTR, -ENOBUFS: something has changed meanwhile, ask again; others: the kernel's. */
int bridge_talk_look(int fd, int interface, struct bridge_seen *seen);
/*
 * Has the changes made, some in one send, with what the kernel says of each; -EEXIST: the bridge has the address for itself, or was told of it by hand,
 * and keeps it as it is. An error: of the talk itself, and what is not answered has -EIO.
 */
int bridge_talk_tell(int fd, int interface, const struct bridge_change *changes, unsigned count, int *ret_errs);

#endif
