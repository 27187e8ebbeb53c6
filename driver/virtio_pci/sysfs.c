/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/virtio_pci/sysfs.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define UPPER "upper_"
#define DEVICES "/sys/bus/pci/devices"
/* Flags in a resource line: the kernel's IORESOURCE_IO and IORESOURCE_MEM. */
#define RESOURCE_IO 0x100u
#define RESOURCE_MEMORY 0x200u

static bool hex_digits(const char **at, unsigned min, unsigned max)
{
	unsigned n = 0;

	while (n < max && isxdigit((unsigned char)**at) && !isupper((unsigned char)**at)) {
		++*at;
		n++;
	}
	return n >= min;
}

bool vireo_pci_address_valid(const char *address)
{
	return hex_digits(&address, 4, 8) && *address++ == ':' && hex_digits(&address, 2, 2) &&
	       *address++ == ':' && hex_digits(&address, 2, 2) && *address++ == '.' && *address >= '0' &&
	       *address <= '7' && !address[1];
}

int pci_sysfs_path(char path[PCI_PATH_BYTES], const char *root, const char *address, const char *name)
{
	int len = snprintf(path, PCI_PATH_BYTES, "%s" DEVICES "/%s/%s", root, address, name);

	return len < 0 || (unsigned)len >= PCI_PATH_BYTES ? -ENAMETOOLONG : 0;
}

/* A whole attribute, zero-terminated. */
static int attribute_read(const char *root, const char *address, const char *name, char *text, size_t bytes)
{
	char path[PCI_PATH_BYTES];
	int err = pci_sysfs_path(path, root, address, name), fd;
	ssize_t n;

	if (err)
		return err;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, bytes - 1);
	err = n < 0 ? -errno : 0;
	close(fd);
	if (!err)
		text[n] = '\0';
	return err;
}

int pci_sysfs_read(const char *root, const char *address, const char *name, char *text, size_t bytes)
{
	int err = attribute_read(root, address, name, text, bytes);

	if (!err)
		text[strcspn(text, "\n")] = '\0';
	return err;
}

int pci_sysfs_link(const char *root, const char *address, const char *name, char *target, size_t bytes)
{
	char path[PCI_PATH_BYTES], full[PCI_PATH_BYTES];
	int err = pci_sysfs_path(path, root, address, name);
	const char *last;
	ssize_t n;

	if (err)
		return err;
	n = readlink(path, full, sizeof(full) - 1);
	if (n < 0)
		return -errno;
	full[n] = '\0';
	last = strrchr(full, '/');
	last = last ? last + 1 : full;
	if (strlen(last) >= bytes)
		return -ENAMETOOLONG;
	memcpy(target, last, strlen(last) + 1);
	return 0;
}

int pci_sysfs_entry(const char *root, const char *address, const char *name, const char *prefix, char *entry,
		    size_t bytes)
{
	char path[PCI_PATH_BYTES];
	int err = pci_sysfs_path(path, root, address, name);
	const struct dirent *e;
	DIR *dir;

	if (err)
		return err;
	dir = opendir(path);
	if (!dir)
		return -errno;
	err = -ENOENT;
	while (err && (e = readdir(dir))) {
		if (e->d_name[0] == '.' || strncmp(e->d_name, prefix, strlen(prefix)) != 0 ||
		    strlen(e->d_name) >= bytes)
			continue;
		memcpy(entry, e->d_name, strlen(e->d_name) + 1);
		err = 0;
	}
	closedir(dir);
	return err;
}

/* A line for each BAR: first address, last address, flags. An absent one is all zeroes. */
int pci_sysfs_bars(const char *root, const char *address, struct pci_bar bars[PCI_BARS])
{
	char text[2048], *line = text;
	int err = attribute_read(root, address, "resource", text, sizeof(text));

	if (err)
		return err;
	for (unsigned i = 0; i < PCI_BARS; i++) {
		unsigned long long start, end, flags;

		if (sscanf(line, "%llx %llx %llx", &start, &end, &flags) != 3)
			return -EPROTO;
		bars[i] = (struct pci_bar){ 0 };
		if (flags & (RESOURCE_MEMORY | RESOURCE_IO) && end >= start)
			bars[i] = (struct pci_bar){ end - start + 1, flags & RESOURCE_MEMORY };
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return 0;
}

static int number_read(const char *root, const char *address, const char *name, unsigned long *ret)
{
	char text[32], *end;
	int err = pci_sysfs_read(root, address, name, text, sizeof(text));

	if (err)
		return err;
	errno = 0;
	*ret = strtoul(text, &end, 16);
	return errno || end == text || *end ? -EPROTO : 0;
}

/* Of a function that the kernel's virtio_net drives: its interface lies below its virtio device. */
static void interface_find(const char *root, struct vireo_pci_function *f)
{
	char device[32], folder[64];

	if (pci_sysfs_entry(root, f->address, "", "virtio", device, sizeof(device)))
		return;
	snprintf(folder, sizeof(folder), "%s/net", device);
	pci_sysfs_entry(root, f->address, folder, "", f->interface, sizeof(f->interface));
}

/* What a user-space driver opens: /dev/vfio/GROUP, /dev/vfio/noiommu-GROUP or /dev/uioN. */
static void node_find(const char *root, struct vireo_pci_function *f)
{
	char path[PCI_PATH_BYTES], uio[32];

	if (!strcmp(f->driver, "vfio-pci") && f->iommu_group >= 0) {
		snprintf(path, sizeof(path), "%s/dev/vfio/noiommu-%d", root, f->iommu_group);
		snprintf(f->node, sizeof(f->node), "/dev/vfio/%s%d", access(path, F_OK) ? "" : "noiommu-",
			 f->iommu_group);
	} else if (!strcmp(f->driver, "uio_pci_generic") &&
		   !pci_sysfs_entry(root, f->address, "uio", "uio", uio, sizeof(uio))) {
		snprintf(f->node, sizeof(f->node), "/dev/%s", uio);
	}
}

int pci_sysfs_function(const char *root, const char *address, struct vireo_pci_function *ret)
{
	struct vireo_pci_function f = { .iommu_group = -1 };
	unsigned long vendor, device, subsystem;
	struct pci_layout layout = { 0 };
	char group[16];
	int err;

	if (!vireo_pci_address_valid(address))
		return -EINVAL;
	snprintf(f.address, sizeof(f.address), "%s", address);
	err = number_read(root, address, "vendor", &vendor);
	if (!err)
		err = number_read(root, address, "device", &device);
	if (!err)
		err = number_read(root, address, "subsystem_device", &subsystem);
	if (!err)
		err = pci_identify((uint16_t)vendor, (uint16_t)device, (uint16_t)subsystem, &layout);
	if (err)
		return err == -ENOENT ? -ENODEV : err;
	f.device_id = layout.device_id;
	if (!pci_sysfs_link(root, address, "iommu_group", group, sizeof(group)))
		f.iommu_group = atoi(group);
	pci_sysfs_link(root, address, "driver", f.driver, sizeof(f.driver));
	interface_find(root, &f);
	node_find(root, &f);
	*ret = f;
	return 0;
}

int pci_sysfs_interface_check(const char *root, const struct vireo_pci_function *f)
{
	char device[32], name[128], path[PCI_PATH_BYTES];
	unsigned long flags;

	if (pci_sysfs_entry(root, f->address, "", "virtio", device, sizeof(device)))
		return 0;
	snprintf(name, sizeof(name), "%s/net", device);
	if (!*f->interface) /* its folder shows this network namespace only */
		return !pci_sysfs_path(path, root, f->address, name) && !access(path, F_OK) ? -EXDEV : 0;
	snprintf(name, sizeof(name), "%s/net/%s/flags", device, f->interface);
	return !number_read(root, f->address, name, &flags) && (flags & IFF_UP) ? -EBUSY : 0;
}

/* Whatever lies on an interface or has it as a part is an entry upper_NAME in its folder. */
bool pci_sysfs_uppers(const char *root, const struct vireo_pci_function *f, char *names, size_t room)
{
	char device[32], name[128], path[PCI_PATH_BYTES];
	const struct dirent *entry;
	size_t have = 0;
	DIR *folder;

	*names = '\0';
	if (!*f->interface || pci_sysfs_entry(root, f->address, "", "virtio", device, sizeof(device)))
		return false;
	snprintf(name, sizeof(name), "%s/net/%s", device, f->interface);
	folder = pci_sysfs_path(path, root, f->address, name) ? NULL : opendir(path);
	while (folder && (entry = readdir(folder)))
		if (!strncmp(entry->d_name, UPPER, strlen(UPPER)) && have < room)
			have += (size_t)snprintf(names + have, room - have, "%s%s", have ? ", " : "", entry->d_name + strlen(UPPER));
	if (folder)
		closedir(folder);
	return have;
}

/* The lock is uio.c's; a group that is open is VFIO's own business. */
bool pci_sysfs_driven(const char *root, const struct vireo_pci_function *f)
{
	bool uio = !strcmp(f->driver, "uio_pci_generic"), driven = false;
	char path[PCI_PATH_BYTES];
	int fd;

	if (!uio)
		snprintf(path, sizeof(path), "%s%s", root, f->node);
	else if (pci_sysfs_path(path, root, f->address, "config"))
		return false;
	fd = open(path, (uio ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == EBUSY;
	if (uio)
		driven = flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
	close(fd);
	return driven;
}

static int is_address(const struct dirent *entry)
{
	return vireo_pci_address_valid(entry->d_name);
}

int vireo_pci_list(const char *root, void (*each)(void *opaque, const struct vireo_pci_function *function),
		   void *opaque)
{
	char path[PCI_PATH_BYTES];
	struct dirent **entries;
	int err = pci_sysfs_path(path, root ? root : "", "", ""), count;

	if (err)
		return err;
	count = scandir(path, &entries, is_address, alphasort);
	if (count < 0)
		return -errno;
	for (int i = 0; i < count; i++) {
		struct vireo_pci_function function;

		if (!pci_sysfs_function(root ? root : "", entries[i]->d_name, &function))
			each(opaque, &function);
		free(entries[i]);
	}
	free(entries);
	return 0;
}
