/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_VIRTIO_PCI_SYSFS_H
#define DRIVER_VIRTIO_PCI_SYSFS_H

/* What the kernel tells of PCI functions under /sys/bus/pci. `root` stands before /sys and /dev; never NULL
 * here. */

#include "driver/virtio_pci/caps.h"
#include "vireo/pci.h"
#include <stddef.h>

#define PCI_PATH_BYTES 512u

/* Path of a function's attribute. -ENAMETOOLONG. */
int pci_sysfs_path(char path[PCI_PATH_BYTES], const char *root, const char *address, const char *name);
/* The attribute's first line. -ENOENT, ... */
int pci_sysfs_read(const char *root, const char *address, const char *name, char *text, size_t bytes);
/* The last part of what the link `name` points at: "vfio-pci" for driver. -ENOENT: there is none. */
int pci_sysfs_link(const char *root, const char *address, const char *name, char *target, size_t bytes);
/* The first entry of the folder `name` that begins with `prefix`: "uio0" in uio. -ENOENT. */
int pci_sysfs_entry(const char *root, const char *address, const char *name, const char *prefix, char *entry,
		    size_t bytes);

int pci_sysfs_bars(const char *root, const char *address, struct pci_bar bars[PCI_BARS]);

/* All that vireo_pci_list() tells. -EINVAL: no address; -ENODEV: no such function, or no virtio function. */
int pci_sysfs_function(const char *root, const char *address, struct vireo_pci_function *ret);
/*
 * Whether taking it away would cut somebody off. -EBUSY: its network interface is up; -EXDEV: it has one that
 * is not to be seen from here, so it is in use.
 */
int pci_sysfs_interface_check(const char *root, const struct vireo_pci_function *function);
/* The names of what lies on its interface (macvlan, VLAN) or has it as a part (bridge, bond), in this network namespace. False: nothing. */
bool pci_sysfs_uppers(const char *root, const struct vireo_pci_function *function, char *names, size_t room);
/* Whether a process has a function open that is bound to uio_pci_generic (one of ours: others take no lock)
 * or vfio-pci. */
bool pci_sysfs_driven(const char *root, const struct vireo_pci_function *function);

#endif
