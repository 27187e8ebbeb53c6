/* SPDX-License-Identifier: BSD-3-Clause */
#include "test_tree.h"
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices/"

static void must(bool done)
{
	if (!done)
		abort();
}

static const char *below(struct tree *tree, const char *path)
{
	static char full[512];

	snprintf(full, sizeof(full), "%s%s", tree->root, path);
	return full;
}

static void folders_make(const char *full)
{
	char part[512];

	for (const char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - full), full);
		must(!mkdir(part, 0755) || errno == EEXIST);
	}
}

void tree_new(struct tree *tree)
{
	strcpy(tree->root, "/tmp/vireo-pci-XXXXXX");
	must(mkdtemp(tree->root) != NULL);
	folders_make(below(tree, "/sys/bus/pci/drivers/virtio-pci/x"));
	folders_make(below(tree, DEVICES));
	folders_make(below(tree, "/dev/vfio/"));
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void tree_free(struct tree *tree)
{
	nftw(tree->root, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

void tree_file(struct tree *tree, const char *path, const char *text)
{
	const char *full = below(tree, path);
	FILE *file;

	folders_make(full);
	file = fopen(full, "w");
	must(file != NULL);
	fputs(text, file);
	fclose(file);
}

void tree_link(struct tree *tree, const char *path, const char *target)
{
	const char *full = below(tree, path);

	folders_make(full);
	unlink(full);
	must(!symlink(target, full));
}

void tree_remove(struct tree *tree, const char *path)
{
	nftw(below(tree, path), entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

const char *tree_text(struct tree *tree, const char *path)
{
	static char text[256];
	FILE *file = fopen(below(tree, path), "r");

	if (!file)
		return "";
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return text;
}

static const char *of(const char *address, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), DEVICES "%s/%s", address, name);
	return path;
}

void tree_function(struct tree *tree, const char *address, const char *device, const char *subsystem)
{
	tree_file(tree, of(address, "vendor"), "0x1af4\n");
	tree_file(tree, of(address, "device"), device);
	tree_file(tree, of(address, "subsystem_device"), subsystem);
	tree_file(tree, of(address, "driver_override"), "(null)\n");
	tree_file(tree, of(address, "resource"),
		  "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		  "0x00000000febd1000 0x00000000febd1fff 0x0000000000040200\n"
		  "0x000000000000c000 0x000000000000c01f 0x0000000000040101\n"
		  "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		  "0x00000000fe000000 0x00000000fe003fff 0x000000000014220c\n"
		  "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		  "0x00000000feb80000 0x00000000febbffff 0x000000000004e200\n");
}

void tree_driver(struct tree *tree, const char *address, const char *driver)
{
	char target[128];

	tree_remove(tree, of(address, "driver"));
	if (!driver)
		return;
	snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver);
	tree_link(tree, of(address, "driver"), target);
}

void tree_interface(struct tree *tree, const char *address, const char *name, bool up)
{
	char flags[64];

	snprintf(flags, sizeof(flags), "virtio3/net/%s/flags", name);
	tree_file(tree, of(address, flags), up ? "0x1003\n" : "0x1002\n");
}
