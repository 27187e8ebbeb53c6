/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_DPDK_H
#define SWITCHD_PORT_DPDK_H

/* What a dpdk port has of its own in its SPEC. */

#define PORT_DPDK_BYTES 512u

struct port_dpdk_spec {
	char arguments[PORT_DPDK_BYTES]; /* the device's own, each with a comma before it: ",iface=tap0" */
};

#endif
