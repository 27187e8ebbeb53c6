/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after the above: */
#include "driver/virtio_pci/sysfs.h"
#include "test_tree.h"
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

static struct tree tree;

static int setup(void **state)
{
	tree_new(&tree);
	return 0;
}

static int teardown(void **state)
{
	tree_free(&tree);
	return 0;
}

static void only_an_address_gets_into_a_path(void **state)
{
	assert_true(vireo_pci_address_valid("0000:00:04.0"));
	assert_true(vireo_pci_address_valid("10000:e1:1f.7"));
	assert_false(vireo_pci_address_valid(""));
	assert_false(vireo_pci_address_valid("00:04.0"));
	assert_false(vireo_pci_address_valid("0000:00:04.8"));
	assert_false(vireo_pci_address_valid("0000:00:04.0/"));
	assert_false(vireo_pci_address_valid("0000:00:04.01"));
	assert_false(vireo_pci_address_valid("0000:00:0A.0"));
	assert_false(vireo_pci_address_valid("0000:00:../x"));
}

static void bars_are_told_apart(void **state)
{
	struct pci_bar bars[PCI_BARS];

	tree_function(&tree, "0000:00:04.0", "0x1041\n", "0x1100\n");
	assert_int_equal(pci_sysfs_bars(tree.root, "0000:00:04.0", bars), 0);
	assert_int_equal(bars[0].bytes, 0);
	assert_int_equal(bars[1].bytes, 0x1000);
	assert_true(bars[1].memory);
	assert_int_equal(bars[2].bytes, 0x20);
	assert_false(bars[2].memory);
	assert_int_equal(bars[4].bytes, 0x4000);
	tree_file(&tree, "/sys/bus/pci/devices/0000:00:04.0/resource", "0x0 0x0 0x0\nno\n");
	assert_int_equal(pci_sysfs_bars(tree.root, "0000:00:04.0", bars), -EPROTO);
}

static void a_function_of_the_kernels_has_an_interface(void **state)
{
	struct vireo_pci_function f;

	tree_function(&tree, "0000:00:04.0", "0x1000\n", "0x0001\n");
	tree_driver(&tree, "0000:00:04.0", "virtio-pci");
	tree_interface(&tree, "0000:00:04.0", "eth7", true);
	assert_int_equal(pci_sysfs_function(tree.root, "0000:00:04.0", &f), 0);
	assert_int_equal(f.device_id, 1);
	assert_string_equal(f.driver, "virtio-pci");
	assert_string_equal(f.interface, "eth7");
	assert_string_equal(f.node, "");
	assert_int_equal(f.iommu_group, -1);
	assert_int_equal(pci_sysfs_interface_check(tree.root, &f), -EBUSY);
	tree_interface(&tree, "0000:00:04.0", "eth7", false);
	assert_int_equal(pci_sysfs_interface_check(tree.root, &f), 0);
}

static void a_function_of_ours_has_a_node(void **state)
{
	struct vireo_pci_function f;

	tree_function(&tree, "0000:00:04.0", "0x1041\n", "0x1100\n");
	tree_driver(&tree, "0000:00:04.0", "uio_pci_generic");
	tree_file(&tree, "/sys/bus/pci/devices/0000:00:04.0/uio/uio3/name", "x\n");
	assert_int_equal(pci_sysfs_function(tree.root, "0000:00:04.0", &f), 0);
	assert_string_equal(f.node, "/dev/uio3");
	tree_driver(&tree, "0000:00:04.0", "vfio-pci");
	tree_link(&tree, "/sys/bus/pci/devices/0000:00:04.0/iommu_group", "../../../kernel/iommu_groups/12");
	assert_int_equal(pci_sysfs_function(tree.root, "0000:00:04.0", &f), 0);
	assert_string_equal(f.node, "/dev/vfio/12");
	assert_int_equal(f.iommu_group, 12);
	tree_file(&tree, "/dev/vfio/noiommu-12", "");
	assert_int_equal(pci_sysfs_function(tree.root, "0000:00:04.0", &f), 0);
	assert_string_equal(f.node, "/dev/vfio/noiommu-12");
}

static void what_is_no_virtio_function_is_not_there(void **state)
{
	struct vireo_pci_function f;

	tree_function(&tree, "0000:00:04.0", "0x10d3\n", "0x1100\n");
	assert_int_equal(pci_sysfs_function(tree.root, "0000:00:04.0", &f), -ENODEV);
	assert_int_equal(pci_sysfs_function(tree.root, "0000:00:05.0", &f), -ENODEV);
	assert_int_equal(pci_sysfs_function(tree.root, "../0000:00:04.0", &f), -EINVAL);
	tree_file(&tree, "/sys/bus/pci/devices/0000:00:04.0/vendor", "nonsense\n");
	assert_int_equal(pci_sysfs_function(tree.root, "0000:00:04.0", &f), -EPROTO);
}

static void list_add(void *opaque, const struct vireo_pci_function *f)
{
	char *text = opaque;

	sprintf(text + strlen(text), "%s=%u ", f->address, f->device_id);
}

static void the_list_is_sorted_and_of_virtio_only(void **state)
{
	char text[256] = "";

	tree_function(&tree, "0000:01:00.0", "0x1041\n", "0x1100\n");
	tree_function(&tree, "0000:00:1f.0", "0x1005\n", "0x0004\n");
	tree_function(&tree, "0000:00:02.0", "0x0dd0\n", "0x0000\n");
	tree_file(&tree, "/sys/bus/pci/devices/nonsense/vendor", "0x1af4\n");
	assert_int_equal(vireo_pci_list(tree.root, list_add, text), 0);
	assert_string_equal(text, "0000:00:1f.0=4 0000:01:00.0=1 ");
	tree_remove(&tree, "/sys/bus/pci/devices");
	assert_int_equal(vireo_pci_list(tree.root, list_add, text), -ENOENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_an_address_gets_into_a_path),
		TEST(bars_are_told_apart),
		TEST(a_function_of_the_kernels_has_an_interface),
		TEST(a_function_of_ours_has_a_node),
		TEST(what_is_no_virtio_function_is_not_there),
		TEST(the_list_is_sorted_and_of_virtio_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
