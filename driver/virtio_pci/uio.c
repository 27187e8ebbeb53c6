/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A function bound to uio_pci_generic. Config space and BARs are files of sysfs; /dev/uioN is for its
 * interrupt line.
 *
 * The kernel's handler sets the command register's INTx disable bit and lets a read of /dev/uioN return. Who
 * has served the interrupt (read the ISR, so that the device takes its line down) clears the bit again here.
 *
 * Nothing stands between the device and memory, unless an IOMMU does: then its mappings are the kernel's, and
 * there is no way to add ours.
 *
 * The kernel lets anybody open /dev/uioN any number of times, and ends bus mastering at each closing: who
 * opens it beside us takes the device away from us. A lock on config space keeps ours from that: it is taken
 * before /dev/uioN is opened. The kernel also lets the function be unbound at any time, with everything of it
 * still mapped here.
 */

#include "base/fd.h"
#include "base/util.h"
#include "driver/virtio_pci/access.h"
#include "driver/virtio_pci/sysfs.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct uio {
	struct pci_mapped mapped; /* first */
	int uio_fd, config_fd;
	char root[PCI_PATH_BYTES], address[24];
};

static struct uio *uio_of(struct pci_access *access)
{
	return container_of(access, struct uio, mapped.access);
}

static int uio_config_read(struct pci_access *access, uint32_t offset, void *data, uint32_t bytes)
{
	ssize_t n = pread(uio_of(access)->config_fd, data, bytes, offset);

	if (n < 0)
		return -errno;
	return (uint32_t)n == bytes ? 0 : -EACCES; /* users other than root see its first bytes only */
}

static int uio_config_write(struct pci_access *access, uint32_t offset, const void *data, uint32_t bytes)
{
	ssize_t n = pwrite(uio_of(access)->config_fd, data, bytes, offset);

	if (n < 0)
		return -errno;
	return (uint32_t)n == bytes ? 0 : -EIO;
}

static int uio_bar_map(struct pci_access *access, unsigned bar)
{
	struct uio *uio = uio_of(access);
	char path[PCI_PATH_BYTES], name[16];
	int err, fd;

	snprintf(name, sizeof(name), "resource%u", bar);
	err = pci_sysfs_path(path, uio->root, uio->address, name);
	if (err)
		return err;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = pci_mapped_map(&uio->mapped, bar, fd, 0);
	close(fd);
	return err;
}

static int intx_enable(struct pci_access *access)
{
	uint16_t command;
	int err = uio_config_read(access, PCI_COMMAND, &command, sizeof(command));

	if (err)
		return err;
	command &= (uint16_t)~PCI_COMMAND_INTX_DISABLE;
	return uio_config_write(access, PCI_COMMAND, &command, sizeof(command));
}

static int uio_line_start(struct pci_access *access, int *ret_fd)
{
	struct uio *uio = uio_of(access);
	char irq[16];
	int err = pci_sysfs_read(uio->root, uio->address, "irq", irq, sizeof(irq));

	if (!err && !strcmp(irq, "0")) /* /dev/uioN would say EIO for ever */
		err = -ENOTSUP;
	if (!err)
		err = intx_enable(access);
	if (!err)
		*ret_fd = uio->uio_fd;
	return err;
}

static int uio_owned(struct pci_access *access)
{
	struct uio *uio = uio_of(access);
	char driver[32];
	int err = pci_sysfs_link(uio->root, uio->address, "driver", driver, sizeof(driver));

	return err || strcmp(driver, "uio_pci_generic") != 0 ? -ENODEV : 0;
}

static int uio_line_rearm(struct pci_access *access)
{
	uint32_t count;

	/* Non-blocking; how many interrupts there were does not matter. */
	if (read(uio_of(access)->uio_fd, &count, sizeof(count)) == sizeof(count))
		return intx_enable(access);
	return errno == EAGAIN ? 0 : -ENODEV; /* EIO: it was unbound */
}

static void uio_close(struct pci_access *access)
{
	struct uio *uio = uio_of(access);

	pci_mapped_unmap(&uio->mapped);
	fd_close(&uio->uio_fd);
	fd_close(&uio->config_fd); /* the next one's bus mastering is not to end with our file */
	free(uio);
}

static const struct pci_access_ops uio_ops = {
	.config_read = uio_config_read,
	.config_write = uio_config_write,
	.bar_map = uio_bar_map,
	.read = pci_mapped_read,
	.write = pci_mapped_write,
	.doorbell = pci_mapped_doorbell,
	.line_start = uio_line_start,
	.line_rearm = uio_line_rearm,
	.owned = uio_owned,
	.close = uio_close,
};

/* An IOMMU that passes everything through is as good as none. */
static bool iommu_translates(const char *root, const char *address)
{
	char type[32];

	return !pci_sysfs_read(root, address, "iommu_group/type", type, sizeof(type)) &&
	       strcmp(type, "identity") != 0;
}

static int node_open(const char *path, const struct vireo_log *log, int *ret_fd)
{
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		int err = -errno;

		log_error(log, "%s: %s%s", path, strerror(-err), err == -EACCES ? ": run as root" : "");
		return err;
	}
	*ret_fd = fd;
	return 0;
}

static int config_lock(struct uio *uio, const struct vireo_log *log)
{
	int err = flock(uio->config_fd, LOCK_EX | LOCK_NB) ? -errno : 0;

	if (err == -EWOULDBLOCK)
		err = -EBUSY;
	if (err)
		log_error(log, "%s: %s", uio->address,
			  err == -EBUSY ? "another process drives it" : strerror(-err));
	return err;
}

static int bars_read(struct uio *uio, const struct vireo_log *log)
{
	int err = pci_sysfs_bars(uio->root, uio->address, uio->mapped.access.bars);

	if (err)
		log_error(log, "%s: its BARs are not to be read: %s", uio->address, strerror(-err));
	return err;
}

int pci_uio_open(const char *root, const struct vireo_pci_function *function, const struct vireo_log *log,
		 struct pci_access **ret_access)
{
	struct uio *uio = calloc(1, sizeof(*uio));
	char path[PCI_PATH_BYTES];
	int err;

	if (!uio)
		return -ENOMEM;
	uio->mapped.access.ops = &uio_ops;
	uio->uio_fd = uio->config_fd = -1;
	snprintf(uio->root, sizeof(uio->root), "%s", root);
	snprintf(uio->address, sizeof(uio->address), "%s", function->address);
	uio->mapped.access.translated = iommu_translates(root, function->address);
	err = pci_sysfs_path(path, root, function->address, "config");
	if (!err)
		err = node_open(path, log, &uio->config_fd);
	if (!err)
		err = config_lock(uio, log);
	if (!err) {
		snprintf(path, sizeof(path), "%s%s", root, function->node);
		err = node_open(path, log, &uio->uio_fd);
	}
	if (!err)
		err = bars_read(uio, log);
	if (err)
		uio_close(&uio->mapped.access);
	else
		*ret_access = &uio->mapped.access;
	return err;
}
