/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_VIRTIO_PCI_TEST_TREE_H
#define DRIVER_VIRTIO_PCI_TEST_TREE_H

#include <stdbool.h>

/* A folder with /sys and /dev as the kernel shows them, for tests. */

struct tree {
	char root[64];
};

void tree_new(struct tree *tree);
void tree_free(struct tree *tree);
/* Path below the root; folders are made as needed. */
void tree_file(struct tree *tree, const char *path, const char *text);
void tree_link(struct tree *tree, const char *path, const char *target);
void tree_remove(struct tree *tree, const char *path);
/* What lies in a file, or ""; static. */
const char *tree_text(struct tree *tree, const char *path);

/* A network function, its ids in hexadecimal; without a driver. */
void tree_function(struct tree *tree, const char *address, const char *device, const char *subsystem);
void tree_driver(struct tree *tree, const char *address, const char *driver); /* NULL: none */
/* Its interface, as virtio_net makes it. */
void tree_interface(struct tree *tree, const char *address, const char *name, bool up);

#endif
