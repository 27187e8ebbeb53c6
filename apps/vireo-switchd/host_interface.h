/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_HOST_INTERFACE_H
#define SWITCHD_HOST_INTERFACE_H

/*
 * An interface that the host has, and keeps, by its number: its name may change. `fd` is any socket of the namespace that it is in. What
 * asks takes no RTNL; what sets does. Control thread.
 */

#include "daemon/spec.h"
#include <stdbool.h>

struct host_interface {
	char name[16];
	bool running; /* up, with a cable */
	bool bond;    /* of others, by the kernel (IFF_MASTER) */
	unsigned mtu;
};

/* Its number, if it speaks Ethernet; else -EMEDIUMTYPE. -ENODEV: there is none. */
int host_interface_find(int fd, const char *name, int *ret_number);
/* As it is now; false: it has gone. */
bool host_interface_look(int fd, int number, struct host_interface *ret_interface);

/* What comes for others comes, too, until fd, which is a packet socket, is closed. A negative errno. */
int host_interface_promiscuous(int fd, int number);
/* All multicast comes in from now on, until somebody sets it otherwise. -EPERM, or another negative errno: it does not. */
int host_interface_all_multicast(int fd, int number);
/*
 * Lets it leave the tags of VLANs in their frames, or take them out. *ret_changed: it did otherwise before. A negative errno: it is left as
 * it is; -EOPNOTSUPP: it cannot do otherwise than it does.
 */
int host_interface_keep_tags(int fd, int number, bool keep, bool *ret_changed);

/* A socket that becomes readable when any interface changes; read it empty by host_interface_changes_read(). */
int host_interface_changes(int *ret_fd);
void host_interface_changes_read(int fd);

/* Says what of an errno (negative) has to do with the interface itself, for a port of `type`. */
void host_interface_explain(const char *type, const char *name, int err, char why[SPEC_WHY_BYTES]);

#endif
