/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_DPDK_DEVICES_H
#define SWITCHD_DPDK_DEVICES_H

/*
 * The DPDK devices of the process. EAL, and what its drivers do to begin, ask the kernel for what no sandbox lets through, so all are made of the SPECs
 * that the daemon is started with, before it enters its own; a port takes the one that has been made for its SPEC, and gives it back. Control thread.
 */

#include "dpdk_module.h"
#include "options.h"

/* What fails is told when a port asks for the device. Nothing is loaded if no SPEC is of a dpdk port. True: there are some. */
#if VIREO_HAS_DPDK
bool dpdk_devices_make(const struct options *options);
#else
static inline bool dpdk_devices_make(const struct options *options)
{
	return false;
}
#endif

/* -ENODEV: none has been made; -EBUSY: another port has it; or why making it has failed. */
int dpdk_device_take(const struct port_spec *spec, struct dpdk_device **ret_device, char why[SPEC_WHY_BYTES]);
void dpdk_device_give(struct dpdk_device *device);

extern const struct dpdk_calls *dpdk; /* while there is a device */

#endif
