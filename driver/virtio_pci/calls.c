/* SPDX-License-Identifier: BSD-3-Clause */
/* Functions of the PCI bus, through VFIO or UIO. */
#include "base/calls.h"
#include "base/util.h"
#include <linux/capability.h>
#include <linux/vfio.h>

static const struct call rows[] = {
	CALL_IOCTL(VFIO_GET_API_VERSION, "the container"),
	CALL_IOCTL(VFIO_SET_IOMMU, "the container"),
	CALL_IOCTL(VFIO_IOMMU_MAP_DMA, "memory that the device may reach"),
	CALL_IOCTL(VFIO_GROUP_GET_STATUS, "the group"),
	CALL_IOCTL(VFIO_GROUP_SET_CONTAINER, "the group"),
	CALL_IOCTL(VFIO_GROUP_GET_DEVICE_FD, "the device"),
	CALL_IOCTL(VFIO_DEVICE_GET_REGION_INFO, "its registers"),
	CALL_IOCTL(VFIO_DEVICE_GET_IRQ_INFO, "its interrupts"),
	CALL_IOCTL(VFIO_DEVICE_SET_IRQS, "its interrupts"),
	CALL("io_uring_setup io_uring_register", "a page whose physical address a device knows is pinned; no request is ever entered"),
};

static const struct call_privilege privileges[] = {
	CALL_PRIVILEGE(CAP_SYS_ADMIN, "the whole config space of a device, and the physical address of a page"),
	CALL_PRIVILEGE(CAP_SYS_RAWIO, "VFIO where there is no IOMMU"),
	CALL_PRIVILEGE(CAP_IPC_LOCK, "memory that a device reaches stays where it is"),
};

extern const struct calls pci_calls;
const struct calls pci_calls = {"driver/virtio_pci", rows, ARRAY_SIZE(rows), privileges, ARRAY_SIZE(privileges)};
