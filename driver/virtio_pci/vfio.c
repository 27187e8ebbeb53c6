/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A function bound to vfio-pci (linux/vfio.h). Behind an IOMMU, memory is mapped at addresses of our choice,
 * and the function can reach nothing else; in no-IOMMU mode it is told physical addresses, as with UIO.
 *
 * Each function has a container of its own: its memory is nobody else's business. A group that holds another
 * function of ours can therefore not be opened twice.
 */

#include "base/fd.h"
#include "base/util.h"
#include "driver/virtio_pci/access.h"
#include "driver/virtio_pci/sysfs.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/*
 * Where our memory lies for the function: above what a 32-bit device could be confused about, clear of the
 * x86 interrupt range (0xfee00000), and within the 39 bits that the least of IOMMUs translate.
 */
#define IOVA_FIRST UINT64_C(0x100000000)
#define IOVA_ALIGN UINT64_C(0x200000) /* so that large pages can be used for it */
#define VECTORS_MAX 2048u /* of MSI-X */

struct vfio {
	struct pci_mapped mapped; /* first */
	int container_fd, group_fd, device_fd, line_fd, request_fd;
	struct vfio_region_info regions[VFIO_PCI_CONFIG_REGION_INDEX + 1];
	uint64_t iova_next;
	struct vireo_log log;
};

static struct vfio *vfio_of(struct pci_access *access)
{
	return container_of(access, struct vfio, mapped.access);
}

static int vfio_config_read(struct pci_access *access, uint32_t offset, void *data, uint32_t bytes)
{
	struct vfio *v = vfio_of(access);
	const struct vfio_region_info *region = &v->regions[VFIO_PCI_CONFIG_REGION_INDEX];
	ssize_t n = pread(v->device_fd, data, bytes, (off_t)(region->offset + offset));

	if (n < 0)
		return -errno;
	return (uint32_t)n == bytes ? 0 : -EIO;
}

static int vfio_config_write(struct pci_access *access, uint32_t offset, const void *data, uint32_t bytes)
{
	struct vfio *v = vfio_of(access);
	const struct vfio_region_info *region = &v->regions[VFIO_PCI_CONFIG_REGION_INDEX];
	ssize_t n = pwrite(v->device_fd, data, bytes, (off_t)(region->offset + offset));

	if (n < 0)
		return -errno;
	return (uint32_t)n == bytes ? 0 : -EIO;
}

static int vfio_bar_map(struct pci_access *access, unsigned bar)
{
	struct vfio *v = vfio_of(access);

	if (!(v->regions[bar].flags & VFIO_REGION_INFO_FLAG_MMAP))
		return -ENOTSUP;
	return pci_mapped_map(&v->mapped, bar, v->device_fd, v->regions[bar].offset);
}

static int vfio_dma_map(struct pci_access *access, void *host, uint64_t bytes, uint64_t *ret_address)
{
	struct vfio *v = vfio_of(access);
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)host,
		.iova = v->iova_next,
		.size = bytes,
	};

	if (ioctl(v->container_fd, VFIO_IOMMU_MAP_DMA, &map)) {
		int err = -errno;

		log_error(&v->log, "%llu KiB cannot be mapped for the function: %s%s",
			  (unsigned long long)bytes >> 10, strerror(-err),
			  err == -ENOMEM ? ": raise the limit of locked memory (ulimit -l)" : "");
		return err;
	}
	*ret_address = v->iova_next;
	v->iova_next = (v->iova_next + bytes + IOVA_ALIGN - 1) & ~(IOVA_ALIGN - 1);
	return 0;
}

/* ---- interrupts ---- */

static int irqs_set(struct vfio *v, uint32_t index, uint32_t flags, const int *fds, unsigned count)
{
	union {
		struct vfio_irq_set set;
		uint8_t bytes[sizeof(struct vfio_irq_set) + VECTORS_MAX * sizeof(int)];
	} u = { .set = { .argsz = sizeof(u.set), .flags = flags, .index = index, .count = count } };

	if (fds) {
		u.set.argsz += (uint32_t)(count * sizeof(*fds));
		memcpy(u.set.data, fds, count * sizeof(*fds));
	}
	return ioctl(v->device_fd, VFIO_DEVICE_SET_IRQS, &u.set) ? -errno : 0;
}

static int vfio_vectors_start(struct pci_access *access, const int *fds, unsigned count)
{
	if (count > VECTORS_MAX)
		return -EINVAL;
	return irqs_set(vfio_of(access), VFIO_PCI_MSIX_IRQ_INDEX,
			VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, fds, count);
}

static unsigned irq_count(struct vfio *v, uint32_t index)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };

	if (ioctl(v->device_fd, VFIO_DEVICE_GET_IRQ_INFO, &info) || !(info.flags & VFIO_IRQ_INFO_EVENTFD))
		return 0;
	return info.count;
}

static int vfio_line_start(struct pci_access *access, int *ret_fd)
{
	struct vfio *v = vfio_of(access);
	int err = irq_count(v, VFIO_PCI_INTX_IRQ_INDEX) ? fd_event_new(&v->line_fd) : -ENOTSUP;

	if (!err)
		err = irqs_set(v, VFIO_PCI_INTX_IRQ_INDEX,
			       VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, &v->line_fd, 1);
	if (!err)
		*ret_fd = v->line_fd;
	return err;
}

static int vfio_line_rearm(struct pci_access *access)
{
	struct vfio *v = vfio_of(access);

	fd_event_clear(v->line_fd);
	return irqs_set(v, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, NULL,
			1);
}

/*
 * Who unbinds the function, or unplugs it, waits in the kernel until it is closed here, and cannot even be
 * killed. The kernel raises this every few seconds meanwhile; one that has no such event says nothing.
 */
static int request_start(struct vfio *v)
{
	int err;

	if (!irq_count(v, VFIO_PCI_REQ_IRQ_INDEX))
		return 0;
	err = fd_event_new(&v->request_fd);
	return err ? err
		   : irqs_set(v, VFIO_PCI_REQ_IRQ_INDEX,
			      VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, &v->request_fd, 1);
}

static int vfio_owned(struct pci_access *access)
{
	struct pollfd request = { .fd = vfio_of(access)->request_fd, .events = POLLIN };

	return poll(&request, 1, 0) > 0 ? -ECANCELED : 0;
}

static void vfio_close(struct pci_access *access)
{
	struct vfio *v = vfio_of(access);

	pci_mapped_unmap(&v->mapped);
	fd_close(&v->device_fd); /* takes its interrupts down, and bus mastering */
	fd_close(&v->group_fd);
	fd_close(&v->container_fd); /* and its mappings */
	fd_close(&v->line_fd);
	fd_close(&v->request_fd);
	free(v);
}

static const struct pci_access_ops vfio_ops = {
	.config_read = vfio_config_read,
	.config_write = vfio_config_write,
	.bar_map = vfio_bar_map,
	.read = pci_mapped_read,
	.write = pci_mapped_write,
	.doorbell = pci_mapped_doorbell,
	.dma_map = vfio_dma_map,
	.vectors_start = vfio_vectors_start,
	.line_start = vfio_line_start,
	.line_rearm = vfio_line_rearm,
	.owned = vfio_owned,
	.close = vfio_close,
};

static const struct pci_access_ops vfio_noiommu_ops = {
	.config_read = vfio_config_read,
	.config_write = vfio_config_write,
	.bar_map = vfio_bar_map,
	.read = pci_mapped_read,
	.write = pci_mapped_write,
	.doorbell = pci_mapped_doorbell,
	.vectors_start = vfio_vectors_start,
	.line_start = vfio_line_start,
	.line_rearm = vfio_line_rearm,
	.owned = vfio_owned,
	.close = vfio_close,
};

/* ---- opening ---- */

static int node_open(const char *root, const char *node, const struct vireo_log *log, int *ret_fd)
{
	char path[PCI_PATH_BYTES];
	int len = snprintf(path, sizeof(path), "%s%s", root, node), err;

	if (len < 0 || (unsigned)len >= sizeof(path))
		return -ENAMETOOLONG;
	*ret_fd = open(path, O_RDWR | O_CLOEXEC);
	if (*ret_fd >= 0)
		return 0;
	err = -errno;
	log_error(log, "%s: %s%s", path, strerror(-err),
		  err == -EBUSY ? ": another process uses the function, or one of its group"
		  : err == -EACCES || err == -EPERM ? ": give this user the file, or run as root"
		  : err == -ENOENT		    ? ": modprobe vfio-pci"
						    : "");
	return err;
}

/* Most IOMMUs remap interrupts; a function behind one that does not could forge them. */
static const char *iommu_advice(bool noiommu, int err)
{
	if (err != -EPERM)
		return "";
	return noiommu ? ": no-IOMMU mode needs CAP_SYS_RAWIO"
		       : ": the IOMMU does not remap interrupts: if you trust the function, "
			 "modprobe vfio_iommu_type1 allow_unsafe_interrupts=1";
}

static int group_join(struct vfio *v, bool noiommu, const char *node)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	if (ioctl(v->container_fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
	    ioctl(v->group_fd, VFIO_GROUP_GET_STATUS, &status)) {
		log_error(&v->log, "%s: this is no VFIO that is known here", node);
		return -ENOTSUP;
	}
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
		log_error(&v->log,
			  "%s: another function of its IOMMU group has a driver of the kernel's: "
			  "bind all of them to vfio-pci",
			  node);
		return -EBUSY;
	}
	if (ioctl(v->group_fd, VFIO_GROUP_SET_CONTAINER, &v->container_fd) ||
	    ioctl(v->container_fd, VFIO_SET_IOMMU, noiommu ? VFIO_NOIOMMU_IOMMU : VFIO_TYPE1v2_IOMMU)) {
		int err = -errno;

		log_error(&v->log, "%s: %s%s", node, strerror(-err), iommu_advice(noiommu, err));
		return err;
	}
	return 0;
}

static int regions_read(struct vfio *v)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(v->regions); i++) {
		struct vfio_region_info *region = &v->regions[i];

		*region = (struct vfio_region_info){ .argsz = sizeof(*region), .index = i };
		if (ioctl(v->device_fd, VFIO_DEVICE_GET_REGION_INFO, region) &&
		    i != VFIO_PCI_ROM_REGION_INDEX)
			return -errno;
	}
	return 0;
}

/* VFIO tells sizes; which BARs are I/O ports only sysfs says. What neither knows is absent. */
static int bars_check(struct vfio *v, const char *root, const char *address)
{
	struct pci_bar *bars = v->mapped.access.bars;
	int err = pci_sysfs_bars(root, address, bars);

	if (err)
		log_error(&v->log, "%s: its BARs are not to be read: %s", address, strerror(-err));
	for (unsigned i = 0; !err && i < PCI_BARS; i++)
		if (bars[i].bytes > v->regions[i].size)
			bars[i].bytes = v->regions[i].size;
	return err;
}

static int device_open(struct vfio *v, const char *address)
{
	int err;

	v->device_fd = ioctl(v->group_fd, VFIO_GROUP_GET_DEVICE_FD, address);
	if (v->device_fd < 0) {
		err = -errno;
		log_error(&v->log, "%s: vfio does not hand it out: %s", address, strerror(-err));
		return err;
	}
	err = regions_read(v);
	if (!err)
		err = request_start(v);
	if (err)
		log_error(&v->log, "%s: vfio does not tell of it: %s", address, strerror(-err));
	return err;
}

int pci_vfio_open(const char *root, const struct vireo_pci_function *function, const struct vireo_log *log,
		  struct pci_access **ret_access)
{
	bool noiommu = strstr(function->node, "noiommu") != NULL;
	struct vfio *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	v->mapped.access.ops = noiommu ? &vfio_noiommu_ops : &vfio_ops;
	v->mapped.access.translated = !noiommu;
	v->container_fd = v->group_fd = v->device_fd = v->line_fd = v->request_fd = -1;
	v->iova_next = IOVA_FIRST;
	v->log = *log;
	err = node_open(root, function->node, log, &v->group_fd);
	if (!err)
		err = node_open(root, "/dev/vfio/vfio", log, &v->container_fd);
	if (!err)
		err = group_join(v, noiommu, function->node);
	if (!err)
		err = device_open(v, function->address);
	if (!err)
		err = bars_check(v, root, function->address);
	if (err) {
		vfio_close(&v->mapped.access);
		return err;
	}
	v->mapped.access.vectors = irq_count(v, VFIO_PCI_MSIX_IRQ_INDEX);
	*ret_access = &v->mapped.access;
	return 0;
}
