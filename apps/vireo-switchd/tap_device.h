/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_TAP_DEVICE_H
#define SWITCHD_TAP_DEVICE_H

#include "port_spec.h"
#include <jansson.h>

/*
 * Makes (or opens) the TAP interface that spec names and brings it up: one fd per queue, non-blocking, with
 * virtio-net headers of NET_HDR_BYTES, little-endian, and all the offloads that this kernel knows
 * (*ret_offloads, VIREO_OFFLOAD_*). fds has room for spec->queues. On failure a negative errno and in `why`
 * what to do.
 */
int tap_device_open(const struct port_spec *spec, int *fds, unsigned *ret_offloads, char why[SPEC_WHY_BYTES]);

/*
 * Opens a queue of the macvtap interface that spec names, whose number is given: non-blocking, with headers and offloads as above. Nothing of
 * the interface is changed. -errno of open(2); -EXDEV: /dev/tapN is of an interface of another name. Takes RTNL.
 */
int tap_device_open_number(const struct port_spec *spec, int number, int *ret_fd, unsigned *ret_offloads);

/*
 * NULL, or what is wrong (static) with an fd that another process hands over as a queue of the interface of spec; `first` is the one of
 * the first queue. The interface may be called otherwise by now, and lie in another network namespace. Takes RTNL.
 */
const char *tap_device_problem(const struct port_spec *spec, int first, int fd);
const char *tap_device_number_problem(const struct port_spec *spec, int first, int fd); /* the same of a macvtap interface */

#define TAP_OFFLOADS                                                                                                       \
	(VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_TSO6 | VIREO_OFFLOAD_ECN | VIREO_OFFLOAD_UFO | \
	 VIREO_OFFLOAD_USO4 | VIREO_OFFLOAD_USO6) /* that there may be */

/* The carrier, as the kernel shows it. -EINVAL: this kernel has no words for it (before Linux 5.0). Takes RTNL. */
int tap_device_interface(int fd, int *ret_number); /* of the interface, as it is called by now, in this network namespace */
int tap_device_interface_by(int sock, int fd, int *ret_number); /* the same in that of a socket */
int tap_device_carrier(int fd, bool on);

/* The interface's MTU. A negative errno; -EPERM: it may not be changed by this user. Takes RTNL. */
int tap_device_mtu(int fd, uint16_t mtu);

/* What the interface is by now, for `vireoctl port show`: {"driver", "interface", "features"}. NULL: it has gone. Takes RTNL. */
json_t *tap_device_report(int fd);

#endif
