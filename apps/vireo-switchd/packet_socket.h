/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PACKET_SOCKET_H
#define SWITCHD_PACKET_SOCKET_H

#include "port_spec.h"
#include <jansson.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Packet sockets (packet(7)) of an interface: all that it receives, whoever it is for, and what is sent out of it. Frames carry a virtio-net
 * header of PACKET_HDR_BYTES (PACKET_VNET_HDR) in this machine's byte order, which is little-endian. A tag that the interface has taken out of a
 * frame comes beside it (PACKET_AUXDATA).
 */

#define PACKET_HDR_BYTES 10u
#define PACKET_TAG_BYTES 4u
#define PACKET_CONTROL_BYTES 64u /* of recvmsg(2) */

/*
 * Opens spec->queues sockets of the interface that it names, non-blocking; flows are spread over them. fds has room for them. On failure a negative
 * errno and in `why` what to do. Takes RTNL, as closing them does.
 */
int packet_socket_open(const struct port_spec *spec, int *fds, char why[SPEC_WHY_BYTES]);

/* NULL, or what is wrong (static) with an fd that another process hands over as such a socket; `first` is the one of the first queue. */
const char *packet_socket_problem(const struct port_spec *spec, int first, int fd);

/* Is its interface still there? It may be down. */
bool packet_socket_bound(int fd);
/* Is it up, with a cable? */
bool packet_socket_running(int fd);

/* What of a received message's control data says of a tag: it is put into `tag`, as it would stand in the frame. False: there is none. */
bool packet_socket_tag(struct msghdr *message, uint8_t tag[PACKET_TAG_BYTES]);

/* How many frames the kernel has had no room for, or no words, since this was asked last. */
uint64_t packet_socket_lost(int fd);

/* {"driver", "interface"}; NULL: the interface has gone. */
json_t *packet_socket_report(int fd);

#endif
