/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_XDP_PROGRAM_H
#define SWITCHD_XDP_PROGRAM_H

/*
 * The XDP program that hands what comes in at a queue of an interface to the AF_XDP socket that is placed there, and lets the rest pass
 * to the host. There is one for all ports, loaded before the daemon enters its sandbox, within which no program can be loaded. Control
 * thread.
 */

#include <errno.h>

/* Loads it, if there may be one. 0, or a negative errno, which xdp_program_ready() says again. */
#if VIREO_HAS_XDP
int xdp_program_load(void);
int xdp_program_ready(void);
#else
static inline int xdp_program_load(void)
{
	return -EOPNOTSUPP;
}
#endif

/* Attaches it to an interface, until the fd is closed. -EBUSY, -EEXIST: there is another one already; what bpf(2) says. */
int xdp_program_attach(int interface, unsigned flags, int *ret_fd);

/* A socket gets what comes in at the interface's queue, until it is closed. *ret_place is given back by xdp_program_displace(). */
int xdp_program_place(int interface, unsigned queue, int socket_fd, int *ret_place);
void xdp_program_displace(int interface, unsigned queue, int *place); /* or -1 */

#endif
