/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Which driver a function has. driver_override names the only driver that may take it; with an empty one the
 * kernel chooses by the function's ids again. Neither touches other functions with the same ids, as new_id
 * would. A function changes hands in three writes: override, unbind from the driver it has, probe.
 */

#include "driver/virtio_pci/bind.h"
#include "base/log.h"
#include "driver/virtio_pci/sysfs.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int complain(const struct pci_bus *bus, int err, const char *address, const char *what)
{
	log_error(bus->log, "%s: %s", address, what);
	return err;
}

static int write_failed(const struct pci_bus *bus, int err, const char *address, const char *path)
{
	log_error(bus->log, "%s: %s: %s%s", address, path, strerror(-err),
		  err == -EACCES || err == -EPERM ? ": run as root" : "");
	return err;
}

static int attribute_write(const struct pci_bus *bus, const char *address, const char *name, const char *text)
{
	char path[PCI_PATH_BYTES];
	int err = pci_sysfs_path(path, bus->root, address, name);

	if (!err)
		err = bus->write(bus->opaque, path, text);
	return err ? write_failed(bus, err, address, path) : 0;
}

/* A driver's refusal is none of ours: whoever asks which driver the function has now sees it. */
static int probe(const struct pci_bus *bus, const char *address)
{
	char path[PCI_PATH_BYTES];
	int len = snprintf(path, sizeof(path), "%s/sys/bus/pci/drivers_probe", bus->root), err;

	if (len < 0 || (unsigned)len >= sizeof(path))
		return -ENAMETOOLONG;
	err = bus->write(bus->opaque, path, address);
	return err && err != -ENODEV && err != -EINVAL ? write_failed(bus, err, address, path) : 0;
}

static bool driver_there(const struct pci_bus *bus, const char *driver)
{
	char path[PCI_PATH_BYTES];
	int len = snprintf(path, sizeof(path), "%s/sys/bus/pci/drivers/%s", bus->root, driver);

	return len > 0 && (unsigned)len < sizeof(path) && !access(path, F_OK);
}

/* Leaves the function with `driver` ("": whichever the kernel chooses), if that takes it; without one else.
 */
static int hand_over(const struct pci_bus *bus, const struct vireo_pci_function *function, const char *driver)
{
	char text[64];
	int err;

	snprintf(text, sizeof(text), "%s\n", driver);
	err = attribute_write(bus, function->address, "driver_override", text);
	if (!err && *function->driver)
		err = attribute_write(bus, function->address, "driver/unbind", function->address);
	return err ? err : probe(bus, function->address);
}

static int function_find(const struct pci_bus *bus, const char *address, struct vireo_pci_function *ret)
{
	int err = pci_sysfs_function(bus->root, address, ret);

	if (err == -EINVAL)
		return complain(bus, err, address, "expected an address such as 0000:00:04.0");
	if (err)
		return complain(bus, err, address, "no virtio function is there: see vireoctl pci list");
	return 0;
}

/* NULL chooses. */
static int driver_choose(const struct pci_bus *bus, const struct vireo_pci_function *function,
			 const char **driver)
{
	if (!*driver)
		*driver = function->iommu_group >= 0 && driver_there(bus, "vfio-pci") ? "vfio-pci"
										      : "uio_pci_generic";
	if (strcmp(*driver, "vfio-pci") != 0 && strcmp(*driver, "uio_pci_generic") != 0)
		return complain(bus, -EINVAL, function->address,
				"expected the driver vfio-pci or uio_pci_generic");
	if (driver_there(bus, *driver))
		return 0;
	log_error(bus->log, "%s: the driver %s is not there: modprobe %s", function->address, *driver,
		  *driver);
	return -ENOENT;
}

/* Why the driver did not take it, as far as can be told from here. */
static const char *refusal(const char *driver)
{
	return !strcmp(driver, "vfio-pci")
		       ? "vfio-pci does not take it: it needs an IOMMU (intel_iommu=on), or, if this kernel "
			 "has it, "
			 "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode set to Y"
		       : "uio_pci_generic does not take it: the kernel's log says why (dmesg)";
}

int pci_bind(const struct pci_bus *bus, const char *address, const char *driver)
{
	struct vireo_pci_function before, after;
	int err = function_find(bus, address, &before);

	if (!err)
		err = driver_choose(bus, &before, &driver);
	if (err)
		return err;
	if (!strcmp(before.driver, driver))
		return 0;
	if (pci_sysfs_interface_up(bus->root, &before)) {
		log_error(bus->log, "%s: its interface %s is up: ip link set %s down", address,
			  before.interface, before.interface);
		return -EBUSY;
	}
	err = hand_over(bus, &before, driver);
	if (err)
		return err;
	err = function_find(bus, address, &after);
	if (err || !strcmp(after.driver, driver))
		return err;
	hand_over(bus, &after, "");
	return complain(bus, -ENOTSUP, address, refusal(driver));
}

int pci_unbind(const struct pci_bus *bus, const char *address)
{
	struct vireo_pci_function function;
	int err = function_find(bus, address, &function);

	if (err)
		return err;
	/* With a driver of the kernel's already, there is no more to do than to make sure that it may stay.
	 */
	if (*function.driver && strcmp(function.driver, "vfio-pci") != 0 &&
	    strcmp(function.driver, "uio_pci_generic") != 0)
		return attribute_write(bus, address, "driver_override", "\n");
	return hand_over(bus, &function, "");
}

static int sysfs_write(void *opaque, const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int vireo_pci_bind(const char *root, const char *address, const char *driver, const struct vireo_log *log)
{
	const struct pci_bus bus = { .root = root ? root : "", .write = sysfs_write, .log = log };

	return pci_bind(&bus, address, driver);
}

int vireo_pci_unbind(const char *root, const char *address, const struct vireo_log *log)
{
	const struct pci_bus bus = { .root = root ? root : "", .write = sysfs_write, .log = log };

	return pci_unbind(&bus, address);
}
