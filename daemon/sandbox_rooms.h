/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_SANDBOX_ROOMS_H
#define DAEMON_SANDBOX_ROOMS_H

/* The rooms that declare what they ask of the kernel, each in its calls.c. A daemon lists those that it stands on. */

#include "base/calls.h"

extern const struct calls base_calls, mem_calls, vduse_calls, cuse_calls, work_calls, daemon_calls, disk_calls, nbd_calls, rbd_calls,
	scsi_calls, pci_calls;

#define SANDBOX_ROOMS_OF_ALL &base_calls, &mem_calls, &vduse_calls, &daemon_calls

#endif
