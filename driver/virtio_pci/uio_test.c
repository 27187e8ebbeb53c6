/* SPDX-License-Identifier: BSD-3-Clause */

/* A function that is bound to uio_pci_generic, in a folder of files: whose it is. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after the above: */
#include "driver/virtio_pci/access.h"
#include "driver/virtio_pci/sysfs.h"
#include "test_tree.h"
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#define ADDRESS "0000:00:04.0"
#define DEVICE "/sys/bus/pci/devices/" ADDRESS

static struct tree tree;
static char complaint[512];

static void complain(void *opaque, enum vireo_log_level level, const char *line)
{
	snprintf(complaint, sizeof(complaint), "%s", line);
}

static const struct vireo_log to_complaint = { .write = complain, .max_level = VIREO_LOG_ERROR };

static int setup(void **state)
{
	tree_new(&tree);
	tree_function(&tree, ADDRESS, "0x1041\n", "0x1100\n");
	tree_driver(&tree, ADDRESS, "uio_pci_generic");
	tree_file(&tree, DEVICE "/uio/uio3/name", "");
	tree_file(&tree, DEVICE "/config", "");
	tree_file(&tree, "/dev/uio3", "");
	complaint[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	tree_free(&tree);
	return 0;
}

static int uio_open(struct pci_access **ret_access)
{
	struct vireo_pci_function function;

	assert_int_equal(pci_sysfs_function(tree.root, ADDRESS, &function), 0);
	return pci_uio_open(tree.root, &function, &to_complaint, ret_access);
}

static void a_function_has_one_owner(void **state)
{
	struct pci_access *first, *second = NULL;

	assert_int_equal(uio_open(&first), 0);
	tree_remove(&tree, "/dev/uio3"); /* a second opening of that would already do harm */
	assert_int_equal(uio_open(&second), -EBUSY);
	assert_null(second);
	assert_non_null(strstr(complaint, "another process"));
	first->ops->close(first);
	tree_file(&tree, "/dev/uio3", "");
	assert_int_equal(uio_open(&second), 0);
	second->ops->close(second);
}

static void a_function_that_is_unbound_is_not_ours(void **state)
{
	struct pci_access *access;

	assert_int_equal(uio_open(&access), 0);
	assert_int_equal(access->ops->owned(access), 0);
	tree_driver(&tree, ADDRESS, "virtio-pci");
	assert_int_equal(access->ops->owned(access), -ENODEV);
	tree_driver(&tree, ADDRESS, NULL);
	assert_int_equal(access->ops->owned(access), -ENODEV);
	access->ops->close(access);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_function_has_one_owner),
		TEST(a_function_that_is_unbound_is_not_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
