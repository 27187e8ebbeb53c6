/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Which driver a function has. driver_override names the only driver that may take it; with an empty one the
 * kernel chooses by the function's ids again. Neither touches other functions with the same ids, as new_id
 * would. A function changes hands in three writes: override, unbind from the driver it has, probe.
 */

#include "driver/virtio_pci/bind.h"
#include "base/log.h"
#include "base/visible.h"
#include "driver/virtio_pci/pci.h"
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

static bool user_space_driver(const char *driver)
{
	return !strcmp(driver, "vfio-pci") || !strcmp(driver, "uio_pci_generic");
}

static int override(const struct pci_bus *bus, const struct vireo_pci_function *function, const char *driver)
{
	char text[64];

	snprintf(text, sizeof(text), "%s\n", driver);
	return attribute_write(bus, function->address, "driver_override", text);
}

/* Leaves the function with `driver` ("": whichever the kernel chooses), if that takes it; without one else.
 */
static int hand_over(const struct pci_bus *bus, const struct vireo_pci_function *function, const char *driver)
{
	int err = override(bus, function, driver);

	if (!err && *function->driver)
		err = attribute_write(bus, function->address, "driver/unbind", function->address);
	return err ? err : probe(bus, function->address);
}

/* As hand_over(), of a function on which that has failed: where it was, as far as it lets itself be. */
static void put_back(const struct pci_bus *bus, const struct vireo_pci_function *before)
{
	const struct pci_bus quiet = { .root = bus->root, .write = bus->write, .opaque = bus->opaque };
	const char *driver = user_space_driver(before->driver) ? before->driver : "";
	struct vireo_pci_function now;

	if (pci_sysfs_function(bus->root, before->address, &now))
		return;
	if (*now.driver && !strcmp(now.driver, before->driver))
		override(&quiet, &now, driver);
	else
		hand_over(&quiet, &now, driver);
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
	if (!user_space_driver(*driver))
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

/*
 * The kernel would take a function away from under the process that drives it (UIO), or wait in the kernel
 * until that lets go of it (VFIO).
 */
static int driven_check(const struct pci_bus *bus, const struct vireo_pci_function *function)
{
	if (!user_space_driver(function->driver) || !pci_sysfs_driven(bus->root, function))
		return 0;
	return complain(bus, -EBUSY, function->address,
			"a process drives it: vireoctl port remove, or end that process");
}

static int interface_check(const struct pci_bus *bus, const struct vireo_pci_function *function)
{
	int err = pci_sysfs_interface_check(bus->root, function);

	if (err == -EXDEV)
		return complain(
			bus, -EBUSY, function->address,
			"its interface is in another network namespace: move it here, and set it down");
	if (err)
		log_error(bus->log, "%s: its interface %s is up: ip link set %s down", function->address,
			  function->interface, function->interface);
	return err;
}

/* The kernel would delete a macvlan or VLAN interface with the card's, and take the card out of its bridge, without a word. */
static int uppers_check(const struct pci_bus *bus, const struct vireo_pci_function *function)
{
	char names[256], shown[512];

	if (!pci_sysfs_uppers(bus->root, function, names, sizeof(names)))
		return 0;
	visible_copy(shown, sizeof(shown), names);
	log_error(bus->log,
		  "%s: on its interface %s lie others, which would go with it or lose it: %s: delete them (ip link del), or take it out of "
		  "the bridge (ip link set %s nomaster)",
		  function->address, function->interface, shown, function->interface);
	return -EBUSY;
}

static int bind_check(const struct pci_bus *bus, const struct vireo_pci_function *function)
{
	int err;

	if (function->device_id != PCI_NET_DEVICE_ID) { /* such as the disk with the root file system */
		log_error(bus->log, "%s: it is no network card (virtio device %u), and may be in use",
			  function->address, function->device_id);
		return -ENOTSUP;
	}
	err = interface_check(bus, function);
	if (!err)
		err = uppers_check(bus, function);
	return err ? err : driven_check(bus, function);
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
	err = bind_check(bus, &before);
	if (err)
		return err;
	err = hand_over(bus, &before, driver);
	if (!err)
		err = function_find(bus, address, &after);
	if (!err && strcmp(after.driver, driver) != 0)
		err = complain(bus, -ENOTSUP, address, refusal(driver));
	if (err)
		put_back(bus, &before);
	return err;
}

int pci_unbind(const struct pci_bus *bus, const char *address)
{
	struct vireo_pci_function function;
	int err = function_find(bus, address, &function);

	if (err)
		return err;
	/* With a driver of the kernel's already, there is no more to do than to make sure that it may stay.
	 */
	if (*function.driver && !user_space_driver(function.driver))
		return override(bus, &function, "");
	err = driven_check(bus, &function);
	return err ? err : hand_over(bus, &function, "");
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
